package test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// The examples of docs/DATA.md run, and it names all that the clients have.
func TestTheDataPage(t *testing.T) {
	raw, err := os.ReadFile("../docs/DATA.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	block := func(language string) string {
		t.Helper()
		_, rest, ok := strings.Cut(page, "\n```"+language+"\n")
		code, _, end := strings.Cut(rest, "\n```\n")
		if !ok || !end {
			t.Fatalf("it has nothing in %s", language)
		}
		return code
	}
	s := start(t, "")
	s.shell(t, t.TempDir(), block("sh"))
	allow := []string{"table:seen rw", "queue:jobs rw", "stream:clicks w", "bucket:photos rw"}
	s.python("python", block("python"), wire.Options{Allow: allow})
	s.deploy("node", wire.Options{Allow: allow, Handler: "main.main"}, map[string]string{"main.js": block("js")})
	for _, name := range []string{"python", "node"} {
		if a := s.call(name, nil); string(a.Result) != `"done"` {
			t.Errorf("the example in %s: %s %+v", name, a.Result, a.Failure)
		}
	}
	for file, method := range map[string]string{"client.py": `(?m)^    def ([a-z]\w*)\(self`, "client.cjs": `(?m)^  (?:async )?(?:\* )?([a-z]\w*) \(`} {
		text, err := os.ReadFile("../contract/native/" + file)
		if err != nil {
			t.Fatal(err)
		}
		_, things, _ := strings.Cut(string(text), "class Thing")
		for _, m := range regexp.MustCompile(method).FindAllStringSubmatch(things, -1) {
			inner := map[string]bool{"change": true, "pages": true, "at": true, "constructor": true, "post": true, "if": true, "return": true}
			if !inner[m[1]] && !strings.Contains(page, "."+m[1]+"(") {
				t.Errorf("it does not name %s of %s", m[1], file)
			}
		}
	}
	s.testLanguage(block("conditions"), block("edits"), page)
}

// testLanguage sees that each condition holds of the page's item, and each edit
// changes it.
func (s *server) testLanguage(conditions, edits, page string) {
	t := s.t
	t.Helper()
	var item data.Item
	_, text, _ := strings.Cut(page, "holds of the item\n`")
	text, _, _ = strings.Cut(text, "`:")
	if err := json.Unmarshal([]byte(text), &item); err != nil {
		t.Fatalf("the item %s: %v", text, err)
	}
	if _, err := s.SetTable(t.Context(), "people", wire.TableOptions{Key: data.Attribute{Name: "user"}}); err != nil {
		t.Fatal(err)
	}
	key := data.Item{"user": item["user"]}
	change := func(path string, body map[string]any) error {
		return s.Do(t.Context(), "POST", []string{"tables", "people", path}, nil, body, nil)
	}
	put := func(condition json.RawMessage) error {
		body := map[string]any{"item": item}
		if condition != nil {
			body["if"] = condition
		}
		return change("put", body)
	}
	if err := put(nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(conditions) {
		if err := put(json.RawMessage(line)); err != nil {
			t.Errorf("%s %v", line, err)
		}
		if err := put(json.RawMessage(`{"$not": ` + line + `}`)); rouse.KindOf(err) != rouse.Conflict {
			t.Errorf("not %s %v", line, err)
		}
	}
	for line := range strings.Lines(edits) {
		if err := change("update", map[string]any{"key": key, "edits": json.RawMessage(line)}); err != nil {
			t.Errorf("%s %v", line, err)
		}
		if err := put(nil); err != nil {
			t.Error(err)
		}
	}
}
