package manifest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse/trigger"
)

// generated is a part of docs/TRIGGERS.md that is made from the code.
var generated = regexp.MustCompile(`(?s)(<!-- made from the code: (\S+) -->\n).*?(<!-- end -->)`)

// The fields of triggers in the docs are those of this program. "go test -update"
// writes them.
func TestTheTriggersPage(t *testing.T) {
	const name = "../docs/TRIGGERS.md"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	want := generated.ReplaceAllFunc(page, func(part []byte) []byte {
		m := generated.FindSubmatch(part)
		found = append(found, string(m[2]))
		for _, k := range TriggerKinds() {
			if k.Name == string(m[2]) {
				return slices.Concat(m[1], []byte(section(k)), m[3])
			}
		}
		t.Errorf("there is no kind %s", m[2])
		return part
	})
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != string(want) {
		t.Errorf("%s is not what it should be: go test ./manifest -update", name)
	}
	for _, k := range TriggerKinds() {
		if !slices.Contains(found, k.Name) {
			t.Errorf("%s has nothing of %s", name, k.Name)
		}
	}
}

func section(k trigger.Kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n```yaml\n%s\n```\n\n", k.About, k.Example)
	if len(k.Fields) > 0 {
		b.WriteString("| field | what | default | for |\n|---|---|---|---|\n")
		for _, f := range k.Fields {
			def := f.Default
			if def != "" {
				def = "`" + def + "`"
			}
			if f.Required {
				def = "required"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, what(f), def, f.About)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "| its event | |\n|---|---|\n| `type` | %s |\n| `subject` | %s |\n| `id` | %s |\n", k.Event.Type, k.Event.Subject, k.Event.ID)
	for _, f := range k.Event.Data {
		fmt.Fprintf(&b, "| `data.%s` | %s: %s |\n", f.Name, what(f), f.About)
	}
	return strings.ReplaceAll(b.String(), "`data.(all)`", "`data`")
}

func what(f trigger.Field) string {
	if len(f.Values) == 0 {
		return f.Type
	}
	return "`" + strings.Join(f.Values, "`, `") + "`"
}

// What is described is taken: the examples are of their kinds, and so are all the
// fields.
func TestTheExamplesAreTaken(t *testing.T) {
	for _, k := range TriggerKinds() {
		f, err := parse("rouse.yaml", "/", []byte("triggers:\n  "+k.Example), func(string) (string, bool) { return "open sesame", true })
		if err != nil || len(f.Triggers) != 1 {
			t.Errorf("%s: %v", k.Name, err)
			continue
		}
		for _, of := range f.Triggers {
			config, ok := of[k.Name].(map[string]any)
			if !ok {
				t.Errorf("%s is not of its kind: %v", k.Example, of)
			}
			for field := range config {
				if !slices.ContainsFunc(k.Fields, func(f trigger.Field) bool { return f.Name == field }) {
					t.Errorf("%s has no field %s", k.Name, field)
				}
			}
		}
		for _, f := range slices.Concat(k.Fields, k.Event.Data) {
			if f.About == "" || f.Type == "" || f.Type == "another value" {
				t.Errorf("%s: nothing is said of %+v", k.Name, f)
			}
		}
	}
}
