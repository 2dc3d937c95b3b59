package auth

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/store/sqlite"
)

var _ rouse.Subjects = (*Subjects)(nil)

// memory opens documents that last as long as the test.
func memory(t *testing.T) rouse.Meta {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	keys, err := store.Keys(t.Context(), "meta")
	if err != nil {
		t.Fatal(err)
	}
	return meta.New(keys)
}

func subjects(t *testing.T, m rouse.Meta, data string) *Subjects {
	t.Helper()
	tokens, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSubjects(t.Context(), m, tokens)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opens reports whether a key opens a namespace.
func opens(t *testing.T, s *Subjects, k rouse.AccessKey, ns rouse.Namespace) bool {
	t.Helper()
	p, secret, err := s.Secret(t.Context(), k.ID)
	if err != nil {
		if rouse.KindOf(err) != rouse.Unauthenticated {
			t.Fatal(err)
		}
		return false
	}
	return secret == k.Secret && p.Namespace == ns && p.Owner && !p.Operator && p.May("queue", rouse.Ref{Namespace: ns, Name: "q"}, true) &&
		!p.May("queue", rouse.Ref{Namespace: ns + "x", Name: "q"}, false)
}

// Who sets a subject at the same time as others says what it is to be, and not
// what it was.
func TestASubjectIsSetByMany(t *testing.T) {
	m, data := memory(t), t.TempDir()
	s := subjects(t, m, data)
	const many = 16
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if _, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "guest", Quota: rouse.Quota{Fires: i + 1}}, true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	known, err := s.Subject(t.Context(), "guest")
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := subjects(t, m, data).Subject(t.Context(), "guest"); err != nil || stored != known {
		t.Errorf("known is %+v, stored %+v, %v", known, stored, err)
	}
}

func TestSubjects(t *testing.T) {
	m, data := memory(t), t.TempDir()
	s := subjects(t, m, data)
	first, err := s.Subject(t.Context(), rouse.DefaultNamespace)
	if err != nil || !opens(t, s, first.Key, rouse.DefaultNamespace) || len(first.Key.ID) != 36 || len(first.Key.Secret) != 64 {
		t.Fatalf("%+v %v", first, err)
	}
	guest, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "guest", Quota: rouse.Quota{Fires: 3}}, false)
	if err != nil || guest.Quota.Fires != 3 || guest.Created.IsZero() || !opens(t, s, guest.Key, "guest") || guest.Key == first.Key {
		t.Fatalf("%+v %v", guest, err)
	}
	// The same after a restart; others with another token.
	again := subjects(t, m, data)
	for _, k := range []struct {
		rouse.AccessKey
		ns rouse.Namespace
	}{{first.Key, rouse.DefaultNamespace}, {guest.Key, "guest"}} {
		if !opens(t, again, k.AccessKey, k.ns) {
			t.Errorf("after a restart the key of %s opens nothing", k.ns)
		}
		if opens(t, subjects(t, m, t.TempDir()), k.AccessKey, k.ns) {
			t.Errorf("with another token the key of %s still opens it", k.ns)
		}
	}
	if all, err := again.Subjects(t.Context()); err != nil || len(all) != 2 || all[0].Namespace != "default" || all[1].Quota.Fires != 3 {
		t.Errorf("%+v %v", all, err)
	}
	// What is not asked for stays; a new key shuts the old one.
	rotated, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "guest", Quota: guest.Quota}, true)
	if err != nil || rotated.Rotated != 1 || !opens(t, s, rotated.Key, "guest") || opens(t, s, guest.Key, "guest") {
		t.Errorf("rotated: %+v %v", rotated, err)
	}
	if blocked, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "guest", Blocked: true}, false); err != nil || opens(t, s, blocked.Key, "guest") {
		t.Errorf("blocked: %+v %v", blocked, err)
	}
	if open, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "guest"}, false); err != nil || open.Key != rotated.Key || !opens(t, s, open.Key, "guest") {
		t.Errorf("open again: %+v %v", open, err)
	}
	// Removed and made again, it has another key.
	if err := s.RemoveSubject(t.Context(), "guest"); err != nil || opens(t, s, rotated.Key, "guest") {
		t.Errorf("removed: %v", err)
	}
	if _, err := s.Subject(t.Context(), "guest"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("removed: %v", err)
	}
	if made, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "guest"}, false); err != nil || made.Key == guest.Key || made.Key == rotated.Key {
		t.Errorf("made again: %+v %v", made, err)
	}
}

func TestSubjectsRefuse(t *testing.T) {
	s := subjects(t, memory(t), t.TempDir())
	for name, err := range map[string]error{
		"name": func() error { _, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "a b"}, false); return err }(),
		"quota": func() error {
			_, err := s.SetSubject(t.Context(), rouse.Subject{Namespace: "a", Quota: rouse.Quota{Concurrent: -1}}, false)
			return err
		}(),
		"default": s.RemoveSubject(t.Context(), rouse.DefaultNamespace),
	} {
		if rouse.KindOf(err) != rouse.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.RemoveSubject(t.Context(), "nobody"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
	if _, _, err := s.Secret(t.Context(), "nobody"); rouse.KindOf(err) != rouse.Unauthenticated {
		t.Errorf("%v", err)
	}
}
