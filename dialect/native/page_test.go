package native

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// page is where people read the table of operations.
const page = "../../docs/API.md"

// TestThePageIsTheTable keeps docs/API.md true. "go test -update" writes it.
func TestThePageIsTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# API

Made from the table of operations in dialect/native; a running server tells the same at GET /v1.

HTTP and JSON. Every request but the open ones has the header ` + "`Authorization: Bearer TOKEN`" + ` with the token in the data
folder. An error is ` + "`{\"error\": {\"kind\", \"message\", ...}}`" + `. Durations are numbers of milliseconds.

| method | path | what | query | open |
|---|---|---|---|---|
`)
	for _, o := range operations() {
		open := ""
		if o.Open {
			open = "yes"
		}
		method := o.Method
		if method == anyMethod {
			method = "any"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", method, o.Path, o.Summary, strings.Join(o.Query, ", "), open)
	}
	b.WriteString("\n| error | HTTP status |\n|---|---|\n")
	for _, k := range slices.Sorted(maps.Keys(kindStatus)) {
		fmt.Fprintf(&b, "| %s | %d |\n", k, kindStatus[k])
	}
	b.WriteString("\n| how a function ended | HTTP status |\n|---|---|\n")
	for _, k := range slices.Sorted(maps.Keys(endStatus)) {
		fmt.Fprintf(&b, "| %s | %d |\n", k, endStatus[k])
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is not what the table says; run: go test ./dialect/native -update", page)
	}
}
