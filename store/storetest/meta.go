package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

var metaTests = map[string]func(*testing.T, *subject[Meta]){
	"a document is missing until it is put": func(t *testing.T, s *subject[Meta]) {
		_, err := s.it.Get(t.Context(), "function", ref("a"))
		is(t, err, rouse.NotFound)
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "one")}))
		wantDoc(t, s, "a", 1, "one")
	},
	"a revision counts changes from 1": func(t *testing.T, s *subject[Meta]) {
		for n := range int64(3) {
			ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", n, fmt.Sprint(n))}))
			wantDoc(t, s, "a", n+1, fmt.Sprint(n))
		}
	},
	"a document may be empty": func(t *testing.T, s *subject[Meta]) {
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "")}))
		wantDoc(t, s, "a", 1, "")
	},
	"no data deletes": func(t *testing.T, s *subject[Meta]) {
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "one"), put("b", 0, "two")}))
		ok(t, s.it.Apply(t.Context(), []rouse.Change{{Kind: "function", Ref: ref("a"), Revision: 1}}))
		_, err := s.it.Get(t.Context(), "function", ref("a"))
		is(t, err, rouse.NotFound)
		wantDoc(t, s, "b", 1, "two")
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "again")}))
		wantDoc(t, s, "a", 1, "again")
	},
	"a wrong revision is a conflict": func(t *testing.T, s *subject[Meta]) {
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "one")}))
		for _, c := range []rouse.Change{put("a", 0, "x"), put("a", 2, "x"), put("b", 1, "x"),
			{Kind: "function", Ref: ref("a"), Revision: 3}, {Kind: "function", Ref: ref("b"), Revision: 1}} {
			is(t, s.it.Apply(t.Context(), []rouse.Change{c}), rouse.Conflict)
		}
		wantDoc(t, s, "a", 1, "one")
	},
	"a conflict leaves nothing half done": func(t *testing.T, s *subject[Meta]) {
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "one"), put("b", 0, "two")}))
		is(t, s.it.Apply(t.Context(), []rouse.Change{
			put("a", 1, "changed"), {Kind: "function", Ref: ref("b"), Revision: 1}, put("c", 0, "new"), put("d", 7, "conflict"), put("e", 0, "new"),
		}), rouse.Conflict)
		wantDoc(t, s, "a", 1, "one")
		wantDoc(t, s, "b", 1, "two")
		if docs := must[[]rouse.Doc](t)(s.it.List(t.Context(), rouse.DocQuery{Kind: "function", Namespace: "default"})); len(docs) != 2 {
			t.Fatalf("%d documents, want 2", len(docs))
		}
	},
	"changes are made in order": func(t *testing.T, s *subject[Meta]) {
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "one"), put("a", 1, "two")}))
		wantDoc(t, s, "a", 2, "two")
	},
	"one of many that change the same revision wins": func(t *testing.T, s *subject[Meta]) {
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "0")}))
		var wg sync.WaitGroup
		errs := make([]error, 32)
		for i := range errs {
			wg.Go(func() {
				errs[i] = s.it.Apply(t.Context(), []rouse.Change{put("a", 1, "x"), put(fmt.Sprint("mine", i), 0, "x")})
			})
		}
		wg.Wait()
		won := 0
		for i, err := range errs {
			_, missing := s.it.Get(t.Context(), "function", ref(fmt.Sprint("mine", i)))
			if err == nil {
				won++
				ok(t, missing)
				continue
			}
			is(t, err, rouse.Conflict)
			is(t, missing, rouse.NotFound)
		}
		if won != 1 {
			t.Fatalf("%d won, want 1", won)
		}
	},
	"a list is by name, by bytes": func(t *testing.T, s *subject[Meta]) {
		names := []string{"A", "Z", "a", "a-b", "a.b", "a0", "aa", "ab", "b", "é"}
		for i := range names {
			ok(t, s.it.Apply(t.Context(), []rouse.Change{put(names[(i*7)%len(names)], 0, "x")}))
		}
		for _, c := range []struct {
			prefix, after string
			limit         int
			want          []string
		}{
			{"", "", 0, names},
			{"", "", 3, names[:3]},
			{"", "a", 2, []string{"a-b", "a.b"}},
			{"a", "", 0, []string{"a", "a-b", "a.b", "a0", "aa", "ab"}},
			{"a", "a0", 0, []string{"aa", "ab"}},
			{"a", "Z", 2, []string{"a", "a-b"}},
			{"a", "b", 0, nil},
			{"zz", "", 0, nil},
		} {
			docs := must[[]rouse.Doc](t)(s.it.List(t.Context(), rouse.DocQuery{
				Kind: "function", Namespace: "default", Prefix: c.prefix, After: c.after, Limit: c.limit}))
			var got []string
			for _, d := range docs {
				got = append(got, d.Ref.Name)
				if d.Kind != "function" || d.Ref.Namespace != "default" || d.Revision != 1 || string(d.Data) != "x" {
					t.Errorf("document %+v", d)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("prefix %q after %q limit %d (-want +got):\n%s", c.prefix, c.after, c.limit, diff)
			}
		}
	},
	"kinds and namespaces are kept apart": func(t *testing.T, s *subject[Meta]) {
		other := rouse.Ref{Namespace: "other", Name: "a"}
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "one"),
			{Kind: "alias", Ref: ref("a"), Data: []byte("two")}, {Kind: "function", Ref: other, Data: []byte("three")}}))
		wantDoc(t, s, "a", 1, "one")
		if d := must[rouse.Doc](t)(s.it.Get(t.Context(), "alias", ref("a"))); string(d.Data) != "two" {
			t.Errorf("alias %q", d.Data)
		}
		docs := must[[]rouse.Doc](t)(s.it.List(t.Context(), rouse.DocQuery{Kind: "function", Namespace: "other"}))
		if len(docs) != 1 || docs[0].Ref != other || string(docs[0].Data) != "three" {
			t.Errorf("other namespace lists %+v", docs)
		}
	},
	"all namespaces are listed at once": func(t *testing.T, s *subject[Meta]) {
		var want []rouse.Ref
		var changes []rouse.Change
		for _, ns := range []rouse.Namespace{"", "A", "a", "a\x00", "a\x00b", "b"} {
			for _, name := range []string{"", "f", "f\x00"} {
				r := rouse.Ref{Namespace: ns, Name: name}
				want = append(want, r)
				changes = append(changes, rouse.Change{Kind: "function", Ref: r, Data: []byte(r.String())})
			}
		}
		changes = append(changes, rouse.Change{Kind: "functions", Ref: ref("a"), Data: []byte("another kind's")}, rouse.Change{Kind: "functio", Ref: ref("a"), Data: []byte("another kind's")})
		ok(t, s.it.Apply(t.Context(), changes))
		for _, limit := range []int{0, 4} {
			var got []rouse.Ref
			for _, d := range must[[]rouse.Doc](t)(s.it.List(t.Context(), rouse.DocQuery{Kind: "function", All: true, Limit: limit})) {
				got = append(got, d.Ref)
				if d.Kind != "function" || d.Revision != 1 || string(d.Data) != d.Ref.String() {
					t.Errorf("document %+v", d)
				}
			}
			most := len(want)
			if limit > 0 {
				most = limit
			}
			if diff := cmp.Diff(want[:most], got); diff != "" {
				t.Errorf("limit %d (-want +got):\n%s", limit, diff)
			}
		}
	},
	"what is applied outlives the store": func(t *testing.T, s *subject[Meta]) {
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 0, "one"), put("b", 0, "two")}))
		ok(t, s.it.Apply(t.Context(), []rouse.Change{put("a", 1, "three"), {Kind: "function", Ref: ref("b"), Revision: 1}}))
		s.reopen(t)
		wantDoc(t, s, "a", 2, "three")
		_, err := s.it.Get(t.Context(), "function", ref("b"))
		is(t, err, rouse.NotFound)
	},
	"a context that has ended does nothing": func(t *testing.T, s *subject[Meta]) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.it.Apply(ctx, []rouse.Change{put("a", 0, "one")}); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want context.Canceled", err)
		}
		_, err := s.it.Get(t.Context(), "function", ref("a"))
		is(t, err, rouse.NotFound)
	},
	"ten thousand documents load at once": func(t *testing.T, s *subject[Meta]) {
		var changes []rouse.Change
		for i := range 10_000 {
			changes = append(changes, put(fmt.Sprintf("f%05d", i), 0, fmt.Sprintf("{%0800d}", i)))
		}
		ok(t, s.it.Apply(t.Context(), changes))
		docs := must[[]rouse.Doc](t)(s.it.List(t.Context(), rouse.DocQuery{Kind: "function", Namespace: "default"}))
		if len(docs) != len(changes) || docs[9999].Ref.Name != "f09999" {
			t.Fatalf("%d documents", len(docs))
		}
	},
}

func ref(name string) rouse.Ref { return rouse.Ref{Namespace: "default", Name: name} }

func put(name string, revision int64, data string) rouse.Change {
	return rouse.Change{Kind: "function", Ref: ref(name), Revision: revision, Data: []byte(data)}
}

func wantDoc(t *testing.T, s *subject[Meta], name string, revision int64, data string) {
	t.Helper()
	d := must[rouse.Doc](t)(s.it.Get(t.Context(), "function", ref(name)))
	want := rouse.Doc{Kind: "function", Ref: ref(name), Revision: revision, Data: []byte(data)}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Fatalf("document (-want +got):\n%s", diff)
	}
}
