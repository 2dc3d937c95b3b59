package openwhisk

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// Whoever holds one name and takes another does not wait for himself.
func TestNamesDoNotWaitForEachOther(t *testing.T) {
	var l locks
	var releases []func()
	for i := range 300 {
		releases = append(releases, l.hold(fmt.Sprint("default/", i)))
	}
	for _, release := range releases {
		release()
	}
	if len(l.held) != 0 {
		t.Errorf("%d locks that nobody holds are kept", len(l.held))
	}
	n := 0
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			defer l.hold("default/one")()
			n++
		})
	}
	all.Wait()
	if n != 100 || len(l.held) != 0 {
		t.Errorf("%d changes, %d locks kept", n, len(l.held))
	}
}

// What is known of actions is bounded, whoever removes them.
func TestKnownActionsAreBounded(t *testing.T) {
	var k actions
	created := time.Unix(1_000_000_000, 0)
	add := func(name string, version int, at time.Time) {
		k.add(&action{f: rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: name}, Version: version, Created: at}})
	}
	for i := range maxActions {
		add(fmt.Sprint(i), 1, created)
	}
	add("1", 2, created.Add(1))
	add("1", 1, created) // an old activation's
	if a := k.get(rouse.Ref{Namespace: "default", Name: "1"}); a == nil || a.f.Version != 2 || k.n.Load() != maxActions {
		t.Errorf("%+v of %d", a, k.n.Load())
	}
	add("more", 1, created)
	if n := k.n.Load(); n > maxActions {
		t.Errorf("%d actions are kept", n)
	}
	add("last", 1, created)
	k.drop(rouse.Ref{Namespace: "default", Name: "last"})
	if a := k.get(rouse.Ref{Namespace: "default", Name: "last"}); a != nil || k.n.Load() != 0 {
		t.Errorf("%+v is kept, of %d", a, k.n.Load())
	}
}

// Large actions count as more, and what they count is given back.
func TestLargeActionsAreKeptLess(t *testing.T) {
	var k actions
	large := func(i, size int) *action {
		return &action{f: rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: fmt.Sprint(i)}, Version: 1, Notes: rouse.Notes{Name: make([]byte, size)}}}
	}
	k.add(large(0, 1<<20))
	k.add(large(0, 10))
	k.add(large(1, 1<<20))
	k.drop(large(1, 0).f.Ref)
	if k.n.Load() != 1 {
		t.Errorf("%d is counted", k.n.Load())
	}
	for i := range 1000 {
		k.add(large(i, 1<<20))
	}
	kept := 0
	k.known.Range(func(any, any) bool { kept++; return true })
	if kept == 0 || kept > maxActions>>10 {
		t.Errorf("%d are kept", kept)
	}
}

// Anybody may ask for any namespace: those that are empty are not kept.
func TestNamespacesThatAreEmptyAreNotKept(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	p.must(rouse.DefaultNamespace, "PUT", "_/packages/pk", fields{})
	p.must(rouse.DefaultNamespace, "GET", "_/packages/pk", nil)
	for i := range 20 {
		p.get(fmt.Sprintf("/api/v1/web/nobody%d/pk/x", i))
		p.get(fmt.Sprintf("/api/gw/nobody%d/x", i))
	}
	if len(p.packages.known) != 1 || len(p.apis.known) != 0 {
		t.Errorf("%v %v", p.packages.known, p.apis.known)
	}
}

// A meddler changes a document while others are being read.
type meddler struct {
	rouse.Meta
	meddle func()
}

func (m *meddler) List(ctx context.Context, q rouse.DocQuery) ([]rouse.Doc, error) {
	docs, err := m.Meta.List(ctx, q)
	if f := m.meddle; f != nil {
		m.meddle = nil
		f()
	}
	return docs, err
}

func TestWhatWasReadBeforeAChangeIsNotKept(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	m := &meddler{Meta: p.Meta}
	docs := documents[rule]{meta: m, kind: "test"}
	ctx := t.Context()
	for i, name := range []string{"a", "b"} {
		if err := docs.put(ctx, "default", name, rule{Updated: int64(i)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	m.meddle = func() {
		if err := docs.remove(ctx, "default", "a", 1); err != nil {
			t.Error(err)
		}
	}
	if _, err := docs.whole(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	if _, _, ok, err := docs.get(ctx, "default", "a"); ok || err != nil {
		t.Errorf("what was removed is there: %v", err)
	}
}

// bulky is a Meta with so many documents of a size in each namespace.
type bulky struct {
	rouse.Meta
	n, size int
	lists   int
	most    int // documents that were read at once
}

func (b *bulky) doc(ns rouse.Namespace, name string) rouse.Doc {
	return rouse.Doc{Ref: rouse.Ref{Namespace: ns, Name: name}, Revision: 7, Data: fmt.Appendf(nil, "%q", name+strings.Repeat(" ", b.size))}
}

func (b *bulky) List(_ context.Context, q rouse.DocQuery) (docs []rouse.Doc, err error) {
	b.lists++
	for i := range b.n {
		if name := fmt.Sprintf("%04d", i); name > q.After && (q.Limit == 0 || len(docs) < q.Limit) {
			docs = append(docs, b.doc(q.Namespace, name))
		}
	}
	b.most = max(b.most, len(docs))
	return docs, nil
}

func (b *bulky) Get(_ context.Context, _ string, r rouse.Ref) (rouse.Doc, error) {
	if i, err := strconv.Atoi(r.Name); err != nil || i >= b.n {
		return rouse.Doc{}, rouse.Errorf(rouse.NotFound, "get", r.Name, "it is not there")
	}
	return b.doc(r.Namespace, r.Name), nil
}

func (b *bulky) Apply(context.Context, []rouse.Change) error { return nil }

// A namespace that holds more than can be kept is read in parts, and one of it by
// itself.
func TestANamespaceThatIsTooLargeToBeKept(t *testing.T) {
	m := &bulky{n: 200, size: maxWhole / 100}
	docs := documents[string]{meta: m}
	ctx := t.Context()
	see := func(name string, want bool) {
		t.Helper()
		v, revision, ok, err := docs.get(ctx, "large", name)
		if err != nil || ok != want || ok && (strings.TrimSpace(v) != name || revision != 7) {
			t.Errorf("%s: %q, %d, %v, %v", name, strings.TrimSpace(v), revision, ok, err)
		}
	}
	see("0000", true)
	lists := m.lists
	see("0199", true)
	see("0200", false)
	if m.lists != lists || docs.size != 0 {
		t.Errorf("%d more lists were read for one, %d bytes are kept", m.lists-lists, docs.size)
	}
	seen := map[string]bool{}
	for s, err := range docs.each(ctx, "large") {
		if err != nil || strings.TrimSpace(s.value) != s.name || seen[s.name] {
			t.Fatalf("%s: %q, %v", s.name, strings.TrimSpace(s.value), err)
		}
		seen[s.name] = true
	}
	if len(seen) != m.n || m.most > pageOfDocuments {
		t.Errorf("%d are there, and %d were read at once", len(seen), m.most)
	}
	// It is kept once it is smaller.
	m.n = 40
	if err := docs.remove(ctx, "large", "0199", 7); err != nil {
		t.Fatal(err)
	}
	see("0039", true)
	lists = m.lists
	see("0000", true)
	see("0199", false)
	for range docs.each(ctx, "large") {
	}
	if m.lists != lists || docs.size == 0 {
		t.Errorf("%d more lists were read of what is kept, %d bytes", m.lists-lists, docs.size)
	}
}

// All namespaces together are bounded as well.
func TestManyNamespacesThatAreLarge(t *testing.T) {
	m := &bulky{n: 3, size: maxWhole / 4}
	docs := documents[string]{meta: m}
	const all = 2 * maxSize / (3 * maxWhole / 4)
	for i := range all {
		if _, _, ok, err := docs.get(t.Context(), rouse.Namespace(fmt.Sprint(i)), "0002"); !ok || err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, w := range docs.known {
			size += w.size
		}
		if docs.size != size || size > maxSize {
			t.Fatalf("%d bytes are kept of %d namespaces, %d are counted", size, len(docs.known), docs.size)
		}
	}
	if len(docs.known) < all/3 {
		t.Errorf("%d of %d are kept", len(docs.known), all)
	}
}
