package openwhisk

import (
	"net/http"
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
	concurrent         int
}

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

// invoke counts an invocation; done must be called at its end.
func (t *throttle) invoke(ns rouse.Namespace, q rouse.Quota) (done func(), err error) {
	if q.Invocations == 0 && q.Concurrent == 0 {
		return func() {}, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ns)
	if n.invocations++; q.Invocations > 0 && n.invocations > q.Invocations {
		return nil, refuse(http.StatusTooManyRequests, textMinute, n.invocations, q.Invocations)
	}
	if q.Concurrent > 0 && n.concurrent >= q.Concurrent {
		return nil, refuse(http.StatusTooManyRequests, textConcurrent, n.concurrent+1, q.Concurrent)
	}
	n.concurrent++
	return func() {
		t.mu.Lock()
		n.concurrent--
		t.mu.Unlock()
	}, nil
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
		return refuse(http.StatusTooManyRequests, textMinute, n.fires, q.Fires)
	}
	return nil
}
