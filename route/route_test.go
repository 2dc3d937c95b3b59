package route

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/store/sqlite"
)

var (
	_     rouse.Routes = (*Table)(nil)
	start              = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
)

// open opens the table of a folder, with functions of the names hello and items
// in two namespaces.
func open(t testing.TB, dir string) (*Table, func()) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.Keys(t.Context(), "meta")
	if err != nil {
		t.Fatal(err)
	}
	p := nativetest.New()
	for _, ns := range []rouse.Namespace{"default", "other"} {
		for _, name := range []string{"hello", "items"} {
			if _, err := p.Deploy(t.Context(), rouse.Function{Ref: rouse.Ref{Namespace: ns, Name: name}}, bytes.NewReader([]byte("PK..")), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	table, err := Open(t.Context(), Config{Meta: meta.New(keys), Registry: p, Reserved: []string{"/v1", "/fn", "/api/v1"}, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	return table, func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func pattern1(p string) rouse.Ref { return rouse.Ref{Namespace: "default", Name: p} }

func set(t testing.TB, table *Table, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if _, err := table.SetRoute(t.Context(), rouse.Route{Ref: pattern1(p), To: "hello"}); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
}

func TestMatch(t *testing.T) {
	table, end := open(t, t.TempDir())
	defer end()
	if _, ok := table.Match("GET", "/hello"); ok {
		t.Error("an empty table matches")
	}
	set(t, table, "/hello", "GET /items/{id}", "PUT /items/{id}", "/items/{id}/parts/{part}", "/files/", "POST /deep/{path...}", "/{$}", "GET /a%2Fb/{x}", "/any/{a}/{b}")
	for _, c := range []struct{ method, path, pattern, below, values string }{
		{"GET", "/hello", "/hello", "/", ""},
		{"BREW", "/hello", "/hello", "/", ""},
		{"GET", "/items/7", "GET /items/{id}", "/7", "id=7"},
		{"HEAD", "/items/7", "GET /items/{id}", "/7", "id=7"},
		{"PUT", "/items/a%20b%2Fc", "PUT /items/{id}", "/a b/c", "id=a b/c"},
		{"GET", "/items/7/parts/8", "/items/{id}/parts/{part}", "/7/parts/8", "id=7 part=8"},
		{"GET", "/files/", "/files/", "/", ""},
		{"GET", "/files/a/b/", "/files/", "/a/b/", ""},
		{"POST", "/deep/a/b", "POST /deep/{path...}", "/a/b", "path=a/b"},
		{"GET", "/", "/{$}", "/", ""},
		{"GET", "/a%2Fb/1", "GET /a%2Fb/{x}", "/1", "x=1"},
		{"GET", "/hello/", "", "", ""},
		{"GET", "/v1/any/1", "", "", ""},
		{"GET", "/nothing", "", "", ""},
		{"GET", "/%zz", "", "", ""},
	} {
		m, ok := table.Match(c.method, c.path)
		if ok != (c.pattern != "") || ok && m.Route.Name != c.pattern {
			t.Errorf("%s %s is led to %q", c.method, c.path, m.Route.Name)
			continue
		}
		var values []string
		for _, k := range slices.Sorted(maps.Keys(m.Values)) {
			values = append(values, k+"="+m.Values[k])
		}
		if m.Path != c.below || strings.Join(values, " ") != c.values {
			t.Errorf("%s %s: path %q, values %q", c.method, c.path, m.Path, values)
		}
	}
	if m, ok := table.Match("DELETE", "/items/7"); ok || !slices.Equal(m.Allowed, []string{"GET", "HEAD", "PUT"}) {
		t.Errorf("another method: %+v", m)
	}
	if m, ok := table.Match("GET", "/files"); ok || m.Redirect != "/files/" {
		t.Errorf("a folder without its slash: %+v", m)
	}
}

// What is the server's own is not led to a function, whatever the pattern.
func TestReserved(t *testing.T) {
	table, end := open(t, t.TempDir())
	defer end()
	set(t, table, "/{rest...}", "/fnord", "/api/v2")
	for _, path := range []string{"/v1", "/v1/functions", "/fn/hello", "/api/v1/x"} {
		if m, ok := table.Match("GET", path); ok || m.Allowed != nil {
			t.Errorf("%s: %+v", path, m)
		}
	}
	for _, path := range []string{"/v1x", "/fnord", "/api/v2", "/api"} {
		if _, ok := table.Match("GET", path); !ok {
			t.Errorf("%s is not led", path)
		}
	}
	for _, p := range []string{"/v1", "/v1/", "GET /v1/{x}", "/fn/{name}", "/api/v1/{path...}", "/%761/x"} {
		_, err := table.SetRoute(t.Context(), rouse.Route{Ref: pattern1(p), To: "hello"})
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "server's own") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	table, end := open(t, t.TempDir())
	defer end()
	set(t, table, "GET /items/{id}")
	for p, word := range map[string]string{
		"":                              "slash",
		"hello":                         "slash",
		"GET":                           "slash",
		"example.org/hello":             "slash",
		"GET example.org/x":             "slash",
		"get /hello":                    "capitals",
		" /hello":                       "space",
		"GET  /hello":                   "slash",
		"GET /a b":                      "space",
		"/a?b=1":                        "query",
		"/{a}{b}":                       "bad wildcard",
		"/{a}/{a}":                      "duplicate",
		"/{a...}/b":                     "not at end",
		"/{größe}":                      "header",
		"/%zz":                          "escape",
		"G@T /x":                        "method",
		"/" + strings.Repeat("a", 2000): "bytes",
	} {
		_, err := table.SetRoute(t.Context(), rouse.Route{Ref: pattern1(p), To: "hello"})
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, c := range []struct {
		r    rouse.Route
		kind rouse.Kind
		word string
	}{
		{rouse.Route{Ref: pattern1("/x")}, rouse.Invalid, "to is missing"},
		{rouse.Route{Ref: pattern1("/x"), To: "nobody"}, rouse.NotFound, "nobody"},
		{rouse.Route{Ref: pattern1("GET /{kind}/7"), To: "hello"}, rouse.Conflict, `"GET /items/{id}"`},
		{rouse.Route{Ref: pattern1("GET /items/{name}"), To: "hello"}, rouse.Conflict, `"GET /items/{id}"`},
		{rouse.Route{Ref: rouse.Ref{Namespace: "other", Name: "GET /items/{id}"}, To: "hello"}, rouse.Conflict, "namespace default"},
	} {
		_, err := table.SetRoute(t.Context(), c.r)
		if rouse.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", c.r.Name, err)
		}
	}
	for _, r := range []rouse.Ref{pattern1("/x"), {Namespace: "other", Name: "GET /items/{id}"}} {
		if err := table.RemoveRoute(t.Context(), r); rouse.KindOf(err) != rouse.NotFound {
			t.Errorf("remove %v: %v", r, err)
		}
		if _, err := table.Route(t.Context(), r); rouse.KindOf(err) != rouse.NotFound {
			t.Errorf("find %v: %v", r, err)
		}
	}
}

// What was set is there after a restart, in every namespace, and can be listed,
// replaced and removed.
func TestATableIsKept(t *testing.T) {
	dir := t.TempDir()
	table, end := open(t, dir)
	set(t, table, "/a", "/b", "/c")
	if _, err := table.SetRoute(t.Context(), rouse.Route{Ref: rouse.Ref{Namespace: "other", Name: "/d"}, To: "items", Public: true, Notes: rouse.Notes{"x": []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := table.SetRoute(t.Context(), rouse.Route{Ref: pattern1("/b"), To: "items", Qualifier: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := table.RemoveRoute(t.Context(), pattern1("/c")); err != nil {
		t.Fatal(err)
	}
	end()
	table, end = open(t, dir)
	defer end()
	all, err := table.Routes(t.Context(), "default", "", 0)
	if err != nil || len(all) != 2 || all[0].Name != "/a" || all[1].To != "items" || all[1].Qualifier != "1" || !all[1].Created.Equal(start) {
		t.Errorf("%+v %v", all, err)
	}
	if all, err := table.Routes(t.Context(), "default", "/a", 1); err != nil || len(all) != 1 || all[0].Name != "/b" {
		t.Errorf("%+v %v", all, err)
	}
	if r, err := table.Route(t.Context(), rouse.Ref{Namespace: "other", Name: "/d"}); err != nil || !r.Public || string(r.Notes["x"]) != "1" {
		t.Errorf("%+v %v", r, err)
	}
	if m, ok := table.Match("GET", "/d"); !ok || m.Route.Namespace != "other" {
		t.Errorf("%+v", m)
	}
	if _, ok := table.Match("GET", "/c"); ok {
		t.Error("a removed route is there")
	}
	if err := table.RemoveRoute(t.Context(), pattern1("/b")); err != nil {
		t.Error(err)
	}
	set(t, table, "/b")
}

// Of many that set conflicting routes at once, one does.
func TestRoutesAreSetOneAfterTheOther(t *testing.T) {
	table, end := open(t, t.TempDir())
	defer end()
	done := make(chan error)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		go func() {
			_, err := table.SetRoute(t.Context(), rouse.Route{Ref: pattern1("/x/{" + name + "}"), To: "hello"})
			done <- err
		}()
	}
	set := 0
	for range 5 {
		err := <-done
		if err == nil {
			set++
		} else if rouse.KindOf(err) != rouse.Conflict {
			t.Error(err)
		}
	}
	if set != 1 {
		t.Errorf("%d of 5 were set", set)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	table.turn = make(chan struct{}) // somebody has it
	if err := table.RemoveRoute(ctx, pattern1("/x")); !errors.Is(err, ctx.Err()) {
		t.Errorf("%v", err)
	}
}

// Whatever is taken as a pattern can be stored and matched, and nothing panics.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"/", "GET /items/{id}", "/files/", "/{$}", "/{a}/{b...}", "/a%2fb/{x}", "/{", "POST /{}", "/a//b"} {
		f.Add(s, "/items/7")
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := parse(text)
		if err != nil {
			if rouse.KindOf(err) != rouse.Invalid {
				t.Errorf("%v", err)
			}
			return
		}
		m := newMux(map[string]*entry{text: {Route: rouse.Route{Ref: pattern1(text)}, pattern: p}})
		if found, ok := m.match("GET", path); ok && (found.Route.Name != text || !strings.HasPrefix(found.Path, "/")) {
			t.Errorf("%q at %q: %+v", text, path, found)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	table, end := open(b, b.TempDir())
	defer end()
	set(b, table, "/hello", "GET /items/{id}", "/files/")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := table.Match("GET", "/items/7"); !ok {
			b.Fatal("no match")
		}
	}
}
