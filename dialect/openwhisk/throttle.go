package openwhisk

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// A throttle counts what namespaces do against their quotas.
type throttle struct {
	now func() time.Time

	mu sync.Mutex
	by map[rouse.Namespace]*counts // guarded by mu
}

type counts struct {
	minute             int64 // since 1970
	invocations, fires int   // in it
	concurrent         int   // that somebody waits for

	// accepted are those that nobody waits for. Nobody says when one has ended,
	// and so they are looked for where there is no room for another. Those that
	// were accepted before the server started are not among them.
	accepted []accepted
}

// An accepted invocation will be run, or was.
type accepted struct {
	id       string
	function rouse.Ref
	at       time.Time
}

// maxAccepted is after which an invocation counts no more that nobody has heard of.
const maxAccepted = 25 * time.Hour

// of returns the counts of a namespace. It is called with mu held.
func (t *throttle) of(ns rouse.Namespace) *counts {
	if t.by == nil {
		t.by = map[rouse.Namespace]*counts{}
	}
	n := t.by[ns]
	if n == nil {
		n = &counts{}
		t.by[ns] = n
	}
	if minute := t.now().Unix() / 60; n.minute != minute {
		n.minute, n.invocations, n.fires = minute, 0, 0
	}
	return n
}

const (
	textMinute     = "Too many requests in the last minute (count: %d, allowed: %d)."
	textConcurrent = "Too many concurrent requests in flight (count: %d, allowed: %d)."
)

// A slot is the place of an invocation among those that run at once. The zero
// one is that of a namespace that has no bound.
type slot struct {
	t  *throttle
	ns rouse.Namespace
}

// admit counts an invocation. Its slot must be freed at its end, or kept where
// nobody waits for that.
func (d *Door) admit(ctx context.Context, ns rouse.Namespace) (slot, error) {
	q, err := d.quota(ctx, ns)
	if err != nil || q.Invocations == 0 && q.Concurrent == 0 {
		return slot{}, err
	}
	t := &d.throttle
	if err := t.minute(ns, q); err != nil || q.Concurrent == 0 {
		return slot{}, err
	}
	if t.start(ns, q) {
		return slot{t, ns}, nil
	}
	if err := d.sweep(ctx, ns); err != nil {
		return slot{}, err
	}
	if t.start(ns, q) {
		return slot{t, ns}, nil
	}
	return slot{}, refuse(http.StatusTooManyRequests, textConcurrent, q.Concurrent+1, q.Concurrent)
}

// minute counts an invocation among those of the minute.
func (t *throttle) minute(ns rouse.Namespace, q rouse.Quota) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ns)
	if n.invocations++; q.Invocations > 0 && n.invocations > q.Invocations {
		return t.nextMinute(refuse(http.StatusTooManyRequests, textMinute, n.invocations, q.Invocations))
	}
	return nil
}

// nextMinute is a refusal that ends with the minute.
func (t *throttle) nextMinute(err error) error { return &later{err, 60 - t.now().Unix()%60} }

// start counts an invocation among those that run, where there is room.
func (t *throttle) start(ns rouse.Namespace, q rouse.Quota) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ns)
	if n.concurrent+len(n.accepted) >= q.Concurrent {
		return false
	}
	n.concurrent++
	return true
}

// free is the end of an invocation.
func (s slot) free() {
	if s.t == nil {
		return
	}
	s.t.mu.Lock()
	s.t.of(s.ns).concurrent--
	s.t.mu.Unlock()
}

// keep makes the slot that of an accepted invocation.
func (s slot) keep(in rouse.Invocation) {
	if s.t == nil {
		return
	}
	s.t.mu.Lock()
	n := s.t.of(s.ns)
	n.concurrent--
	n.accepted = append(n.accepted, accepted{in.ID, in.Function, s.t.now()})
	s.t.mu.Unlock()
}

// sweep counts no more an accepted invocation that has ended. It looks for one
// among the next few, and no further where it has found it.
func (d *Door) sweep(ctx context.Context, ns rouse.Namespace) error {
	t := &d.throttle
	t.mu.Lock()
	n := t.of(ns)
	some := slices.Clone(n.accepted[:min(sweptAtOnce, len(n.accepted))])
	n.accepted = append(n.accepted[len(some):], some...) // the others are next
	t.mu.Unlock()
	for _, a := range some {
		ended, err := d.ended(ctx, a)
		if err != nil {
			return err
		}
		if ended {
			t.mu.Lock()
			n.accepted = slices.DeleteFunc(n.accepted, func(other accepted) bool { return other.id == a.id })
			t.mu.Unlock()
			return nil
		}
	}
	return nil
}

// sweptAtOnce is how many accepted invocations are looked for at once.
const sweptAtOnce = 64

// ended reports whether an invocation was run, or never will be.
func (d *Door) ended(ctx context.Context, a accepted) (bool, error) {
	if d.Now().Sub(a.at) > maxAccepted {
		return true, nil
	}
	act, err := d.Records.Activation(ctx, a.id)
	if err == nil && (over(act) || act.Status == rouse.StatusPending) {
		return over(act), nil
	}
	if err != nil && rouse.KindOf(err) != rouse.NotFound {
		return false, err
	}
	if _, err = d.Registry.Function(ctx, a.function, ""); rouse.KindOf(err) == rouse.NotFound {
		return true, nil // it waited for what was removed
	}
	return false, err
}

// fire counts that a trigger was fired.
func (t *throttle) fire(ns rouse.Namespace, q rouse.Quota) error {
	if q.Fires == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ns)
	if n.fires++; n.fires > q.Fires {
		return t.nextMinute(refuse(http.StatusTooManyRequests, textMinute, n.fires, q.Fires))
	}
	return nil
}
