package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rouse-run/rouse"
)

// Subjects implements rouse.Subjects. No key is stored: each follows from the
// token of the data folder, its namespace and how often it was rotated, so that
// who can read the store alone can't ask for anything.
type Subjects struct {
	meta rouse.Meta
	seed [sha256.Size]byte
	now  func() time.Time

	setting sync.Mutex // held while one is set or removed, so that all is known as it is stored

	mu   sync.RWMutex
	byID map[string]rouse.Subject // guarded by mu
	all  map[rouse.Namespace]rouse.Subject
}

// kindSubject is that of the documents, which lie in no namespace and are named
// by the subject's.
const kindSubject = "subject"

// A record is what is stored of a subject.
type record struct {
	Quota   rouse.Quota `json:"quota"`
	Blocked bool        `json:"blocked,omitempty"`
	Rotated int         `json:"rotated,omitempty"`
	Created time.Time   `json:"created"`
	First   time.Time   `json:"first,omitzero"` // part of what the key follows from
}

// NewSubjects reads the subjects of meta, whose keys follow from t.
func NewSubjects(ctx context.Context, meta rouse.Meta, t *Tokens) (*Subjects, error) {
	s := &Subjects{meta: meta, seed: t.sum, now: time.Now, byID: map[string]rouse.Subject{}, all: map[rouse.Namespace]rouse.Subject{}}
	s.keep(rouse.DefaultNamespace, record{})
	docs, err := meta.List(ctx, rouse.DocQuery{Kind: kindSubject})
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		var r record
		if err := json.Unmarshal(d.Data, &r); err != nil {
			return nil, fmt.Errorf("read subject %s: %w", d.Ref.Name, err)
		}
		s.keep(rouse.Namespace(d.Ref.Name), r)
	}
	return s, nil
}

// keep puts a subject in place of the one that was there.
func (s *Subjects) keep(ns rouse.Namespace, r record) rouse.Subject {
	subject := rouse.Subject{Namespace: ns, Key: s.key(ns, r), Quota: r.Quota, Blocked: r.Blocked, Rotated: r.Rotated, Created: r.Created}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.all[ns]; ok {
		delete(s.byID, old.Key.ID)
	}
	s.all[ns], s.byID[subject.Key.ID] = subject, subject
	return subject
}

// key is that of a namespace: a UUID, and 64 characters. One that was removed and
// is made again has another.
func (s *Subjects) key(ns rouse.Namespace, r record) rouse.AccessKey {
	var first int64
	if !r.First.IsZero() {
		first = r.First.UnixNano()
	}
	derive := func(what string) []byte {
		h := hmac.New(sha256.New, s.seed[:])
		fmt.Fprintf(h, "%s of %d:%s, %d, %d", what, len(ns), ns, r.Rotated, first)
		return h.Sum(nil)
	}
	id := uuid.UUID(derive("id")[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // as RFC 9562 wants one of version 4
	return rouse.AccessKey{ID: id.String(), Secret: hex.EncodeToString(derive("secret"))}
}

// Secret implements rouse.AccessKeys.
func (s *Subjects) Secret(_ context.Context, id string) (rouse.Principal, string, error) {
	s.mu.RLock()
	subject, ok := s.byID[id]
	s.mu.RUnlock()
	if !ok || subject.Blocked {
		return rouse.Principal{}, "", rouse.Errorf(rouse.Unauthenticated, "authenticate", "", "there is no such key")
	}
	return rouse.Principal{Name: string(subject.Namespace), Namespace: subject.Namespace, Owner: true}, subject.Key.Secret, nil
}

// SetSubject implements rouse.Subjects.
func (s *Subjects) SetSubject(ctx context.Context, in rouse.Subject, rotate bool) (rouse.Subject, error) {
	const op = "set subject"
	if err := rouse.CheckName(string(in.Namespace)); err != nil {
		return rouse.Subject{}, err
	}
	for name, n := range map[string]int{"invocations": in.Quota.Invocations, "fires": in.Quota.Fires, "concurrent": in.Quota.Concurrent} {
		if n < 0 {
			return rouse.Subject{}, rouse.Errorf(rouse.Invalid, op, string(in.Namespace), "quota.%s is %d: it is 0 for no bound, or more", name, n)
		}
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	ref := rouse.Ref{Name: string(in.Namespace)}
	r := record{Created: s.now().UTC()}
	if in.Namespace != rouse.DefaultNamespace { // whose key was there before its document
		r.First = r.Created
	}
	var revision int64
	doc, err := s.meta.Get(ctx, kindSubject, ref)
	switch {
	case err == nil:
		if err := json.Unmarshal(doc.Data, &r); err != nil {
			return rouse.Subject{}, fmt.Errorf("read subject %s: %w", in.Namespace, err)
		}
		revision = doc.Revision
	case rouse.KindOf(err) != rouse.NotFound:
		return rouse.Subject{}, err
	}
	r.Quota, r.Blocked = in.Quota, in.Blocked
	if rotate {
		r.Rotated++
	}
	data, err := json.Marshal(r)
	if err != nil {
		return rouse.Subject{}, err
	}
	if err := s.meta.Apply(ctx, []rouse.Change{{Kind: kindSubject, Ref: ref, Revision: revision, Data: data}}); err != nil {
		return rouse.Subject{}, err
	}
	return s.keep(in.Namespace, r), nil
}

// Subject implements rouse.Subjects.
func (s *Subjects) Subject(_ context.Context, ns rouse.Namespace) (rouse.Subject, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	subject, ok := s.all[ns]
	if !ok {
		return subject, noSubject("get subject", ns)
	}
	return subject, nil
}

func noSubject(op string, ns rouse.Namespace) error {
	return rouse.Errorf(rouse.NotFound, op, string(ns), "there is no such subject; rouse subject set %s makes it", ns)
}

// Subjects implements rouse.Subjects.
func (s *Subjects) Subjects(context.Context) ([]rouse.Subject, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]rouse.Subject, 0, len(s.all))
	for _, subject := range s.all {
		list = append(list, subject)
	}
	slices.SortFunc(list, func(a, b rouse.Subject) int { return cmp.Compare(a.Namespace, b.Namespace) })
	return list, nil
}

// RemoveSubject implements rouse.Subjects.
func (s *Subjects) RemoveSubject(ctx context.Context, ns rouse.Namespace) error {
	const op = "remove subject"
	if ns == rouse.DefaultNamespace {
		return rouse.Errorf(rouse.Invalid, op, string(ns), "this one is always there; rotate its key, or block it")
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	doc, err := s.meta.Get(ctx, kindSubject, rouse.Ref{Name: string(ns)})
	if rouse.KindOf(err) == rouse.NotFound {
		return noSubject(op, ns)
	}
	if err != nil {
		return err
	}
	if err := s.meta.Apply(ctx, []rouse.Change{{Kind: kindSubject, Ref: doc.Ref, Revision: doc.Revision}}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, s.all[ns].Key.ID)
	delete(s.all, ns)
	return nil
}
