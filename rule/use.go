package rule

import (
	"context"
	"hash/fnv"
	"sync"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// uses keeps the removal of what a rule may name apart from the setting of rules,
// each a check and what follows from it. Rules can be set side by side.
type uses [64]sync.RWMutex // by namespaces

func (u *uses) of(ns rouse.Namespace) *sync.RWMutex {
	h := fnv.New32a()
	_, _ = h.Write([]byte(ns))
	return &u[h.Sum32()%uint32(len(u))]
}

// set lets no thing of a namespace be removed until the function is called that
// it returns.
func (u *uses) set(ns rouse.Namespace) (done func()) {
	m := u.of(ns)
	m.RLock()
	return m.RUnlock
}

// remove lets no rule of a namespace be set until the function is called that it
// returns.
func (u *uses) remove(ns rouse.Namespace) (done func()) {
	m := u.of(ns)
	m.Lock()
	return m.Unlock
}

// RemoveUnused implements event.Control.
func (e *Engine) RemoveUnused(ctx context.Context, kind string, r rouse.Ref, remove func(context.Context) error) error {
	defer e.uses.remove(r.Namespace)()
	if err := e.unused(kind, r); err != nil {
		return err
	}
	return remove(ctx)
}

// unused refuses to remove a thing that a rule listens to or delivers to; it names
// the first of them.
func (e *Engine) unused(kind string, r rouse.Ref) error {
	user, how := "", ""
	e.mu.Lock()
	for _, c := range e.rules {
		if c.Namespace != r.Namespace || user != "" && c.Name > user {
			continue
		}
		if does := use(&c.Rule, kind+" "+r.Name); does != "" {
			user, how = c.Name, does
		}
	}
	e.mu.Unlock()
	if user == "" {
		return nil
	}
	return rouse.Errorf(rouse.Conflict, "remove "+kind, r.String(), "rule %s %s it: remove that first", user, how)
}

// use says what a rule does with a thing, such as "queue jobs"; "" is nothing.
func use(r *event.Rule, thing string) string {
	if origin(r.On) == thing {
		return "listens to"
	}
	for _, t := range []*event.Target{&r.To, r.DeadLetter, r.Success, r.Failure} {
		if t != nil && destination(*t) == thing {
			return "delivers to"
		}
	}
	return ""
}
