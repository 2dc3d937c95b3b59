package pool

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
)

// An instance is one live copy of a function.
type instance struct {
	group   *group
	sandbox rouse.Sandbox
	live    rouse.Instance
	release func()       // gives back its code; may be nil
	peak    atomic.Int64 // bytes, as last measured
	asked   atomic.Int64 // when it was measured, in ns since 1970
	killed  atomic.Int64 // processes ended for want of memory, as last measured

	busy    int       // slots in use; guarded by group.mu
	used    time.Time // when it was last freed; guarded by group.mu
	charged int64     // bytes of the node's memory; guarded by group.mu
	weighed bool      // charged for what it holds, since it was last used; guarded by group.mu
	gone    bool      // guarded by group.mu

	logging sync.Mutex
	current []*journal // guarded by logging; the activations that run, in order
	outside journal    // guarded by logging; for lines of none; of what it is booted for, until it answers
}

// A journal counts what one activation prints.
type journal struct {
	activation string
	hops       int
	size       int64
	cut        bool
}

// running returns what Config.Access promises.
func (i *instance) running() (id string, hops int) {
	i.logging.Lock()
	defer i.logging.Unlock()
	if n := len(i.current); n > 0 {
		return i.current[n-1].activation, i.current[n-1].hops
	}
	return "", 0
}

// log hands on a line, as one of the activation that runs; with several, and
// where the code does not say, of the one that began last.
func (i *instance) log(l rouse.Line) {
	f := i.group.f
	i.logging.Lock()
	j := &i.outside
	for _, c := range i.current {
		if l.Activation == "" || c.activation == l.Activation {
			j = c
		}
	}
	l.Activation, l.Function = j.activation, f.Ref
	j.size += int64(len(l.Text)) + 1
	over, first := j.size > f.Limits.Log, !j.cut
	j.cut = over
	i.logging.Unlock()
	if over {
		if !first {
			return
		}
		l.Stream, l.Text = rouse.Platform, fmt.Sprintf("log cut here: it is over the limit of %d bytes", f.Limits.Log)
	}
	i.group.pool.Log(l)
}

// Answer runs one event, from a time on that is now, in the leased slot. What it
// printed has been logged when it returns. An error of ctx means that the function
// was ended.
func (l *Lease) Answer(ctx context.Context, in rouse.Invocation, now time.Time) (rouse.Answer, error) {
	i := l.instance
	j := &l.journal
	*j = journal{activation: in.ID, hops: in.Hops}
	i.logging.Lock()
	i.current = append(i.current, j)
	i.outside = journal{}
	i.logging.Unlock()
	a, err := i.live.Answer(ctx, in)
	l.ended = time.Now()
	l.Ran = l.ended.Sub(now)
	if err != nil {
		_ = i.live.Close() // ends it with all its processes
	}
	i.sandbox.Drain()
	i.logging.Lock()
	for k, c := range i.current {
		if c == j {
			i.current = append(i.current[:k], i.current[k+1:]...)
			break
		}
	}
	i.logging.Unlock()
	return a, err
}

// Peak returns the bytes that the instance held at most, measured after Answer
// where the last time was a second before or precise is asked for.
func (l *Lease) Peak(precise bool) int64 {
	i := l.instance
	now, last := l.ended.UnixNano(), i.asked.Load()
	if (precise || now-last > int64(time.Second)) && i.asked.CompareAndSwap(last, now) {
		u := i.sandbox.Usage()
		i.peak.Store(u.Peak)
		i.killed.Store(int64(u.OOM))
	}
	return i.peak.Load()
}

// OutOfMemory says whether the kernel has killed a process of the instance for
// want of memory, since this was last asked or Peak last measured.
func (l *Lease) OutOfMemory() bool {
	now := int64(l.instance.sandbox.Usage().OOM)
	return now > l.instance.killed.Swap(now)
}

// ended says whether the code has ended.
func (i *instance) ended() bool {
	select {
	case <-i.sandbox.Done():
		return true
	default:
		return false
	}
}

// Release frees the slot. An instance whose code has ended is let go, and so is
// one that the caller says is broken.
func (l *Lease) Release(broken bool) {
	if l.released {
		return
	}
	l.released = true
	i, g := l.instance, l.instance.group
	broken = broken || i.ended()
	g.mu.Lock()
	i.busy--
	g.running = average(g.running, l.Ran)
	if i.used = l.ended; i.used.IsZero() { // it was not used at all
		i.used = time.Now()
	}
	remove := !i.gone && (broken || g.retired && i.busy == 0 && len(g.waiters) == 0)
	if remove {
		g.remove(i)
	} else if !i.gone {
		g.offer(i, 0, i.used)
	}
	idle := i.busy == 0
	var freed int64
	if idle && !i.gone {
		freed = i.lighten()
	}
	g.mu.Unlock()
	switch {
	case remove:
		g.pool.work.Go(func() { g.end(i) })
	case idle:
		g.pool.release(freed)
	}
}

// lighten charges an instance that idles for what it held at most, as far as
// that is known, in place of all that it may hold, and says how much that frees.
// The caller holds group.mu, and releases it.
func (i *instance) lighten() (freed int64) {
	if peak := i.peak.Load(); peak > 0 && peak < i.charged {
		freed, i.charged = i.charged-peak, peak
	}
	return freed
}
