package pool

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// A group is all instances of one version of a function, and who waits for one.
type group struct {
	pool *Pool
	f    rouse.Function

	mu        sync.Mutex
	free      []*instance            // guarded by mu; those with a free slot, last used last
	instances map[*instance]struct{} // guarded by mu
	waiters   []*waiter              // guarded by mu; first come, first served
	watcher   *time.Timer            // guarded by mu; calls watch, where watched
	watched   bool                   // guarded by mu
	booting   int                    // guarded by mu
	running   time.Duration          // guarded by mu; what a call takes, as a moving average
	cost      time.Duration          // guarded by mu; what a boot takes, likewise
	booted    time.Time              // guarded by mu; when the last boot ended
	lost      time.Duration          // guarded by mu; what calls have waited since then, fading
	looked    time.Time              // guarded by mu; when it last asked whether the processors are busy
	busy      bool                   // guarded by mu; what it was told
	min       int                    // guarded by mu
	faults    int                    // guarded by mu; how often in a row what is kept could not be booted
	paused    time.Time              // guarded by mu; until then none is booted that nobody waits for
	retired   bool                   // guarded by mu; close what gets free
}

// A waiter is a call that waits for a slot. It is used again for another.
type waiter struct {
	id    string // of its activation
	boots bool   // an instance is being booted for it; guarded by group.mu
	since time.Time
	ready chan struct{} // told once that lease or err is there
	lease *Lease
	err   error
}

// waiter returns one that waits from now on; it goes back to waiters.
func (p *Pool) waiter(id string) *waiter {
	w, ok := p.waiters.Get().(*waiter)
	if !ok {
		w = &waiter{ready: make(chan struct{}, 1)}
	}
	w.id, w.boots = id, false
	w.since, w.lease, w.err = time.Now(), nil, nil
	return w
}

// lease implements Pool.Lease.
func (g *group) lease(ctx context.Context, id string) (*Lease, error) {
	g.mu.Lock()
	for len(g.free) > 0 && len(g.waiters) == 0 {
		i := g.free[len(g.free)-1]
		if i.ended() { // while nobody asked
			g.remove(i)
			g.pool.work.Go(func() { g.end(i) })
			continue
		}
		l := g.take(i)
		g.lost -= g.lost / 32
		g.mu.Unlock()
		return l, nil
	}
	if len(g.waiters) >= g.f.Limits.Queue {
		waiting := len(g.waiters)
		g.mu.Unlock()
		return nil, rouse.Errorf(rouse.Throttled, "invoke", g.f.Ref.String(), "%d calls wait for an instance already; try again later, or deploy it with a larger --max or --queue", waiting)
	}
	w := g.pool.waiter(id)
	defer g.pool.waiters.Put(w)
	g.waiters = append(g.waiters, w)
	if !g.watched {
		g.watched = true
		g.watchAgain(w.since)
	}
	more := g.wantsMore(w.since)
	g.mu.Unlock()
	if more {
		g.bootMore()
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		if g.leave(w) {
			return nil, g.late(w, time.Now())
		}
		<-w.ready // it was served this moment
	}
	if w.err != nil {
		return nil, w.err
	}
	w.lease.Queued = max(0, time.Since(w.since)-w.lease.Init)
	return w.lease, nil
}

// late is the error of a waiter that was not served.
func (g *group) late(w *waiter, now time.Time) error {
	return rouse.Errorf(rouse.Throttled, "invoke", g.f.Ref.String(), "no instance got free in %v", now.Sub(w.since).Round(time.Millisecond))
}

// watch looks after those who wait, all at once: a timer of its own for each
// would cost a short call more than its wait. It turns away who has waited for
// too long, and looks at a boot again, which may now seem the quicker.
func (g *group) watch() {
	g.mu.Lock()
	now := time.Now()
	g.waiters = slices.DeleteFunc(g.waiters, func(w *waiter) bool {
		if !g.overdue(w, now) {
			return false
		}
		w.err = g.late(w, now)
		w.ready <- struct{}{}
		return true
	})
	g.watched = len(g.waiters) > 0
	if g.watched {
		g.watchAgain(now)
	}
	g.mu.Unlock()
	g.bootMore()
}

// overdue reports whether w has waited for too long. For whom an instance is being
// booted, or who waits for the first of all, hears of that when it ends, and what
// he waited for it does not count. The caller holds mu.
func (g *group) overdue(w *waiter, now time.Time) bool {
	booting := w.boots || len(g.instances) == 0 && g.booting > 0
	return !booting && now.Sub(w.since) >= g.pool.Wait && now.Sub(g.booted) >= g.pool.Wait
}

// watchAgain has watch called once a boot would have been quicker, or the first
// of those who wait has waited for too long. The caller holds mu.
func (g *group) watchAgain(now time.Time) {
	waited, patience := now.Sub(g.waiters[0].since), max(g.cost, time.Millisecond)
	if waited < patience {
		patience -= waited
	}
	if left := g.pool.Wait - waited; left > 0 {
		patience = min(patience, left)
	} else {
		patience = max(patience, time.Second) // it waits for a boot
	}
	if g.watcher == nil {
		g.watcher = time.AfterFunc(patience, g.watch)
	} else {
		g.watcher.Reset(patience)
	}
}

// leave takes a waiter out of the queue; false where it was served already.
func (g *group) leave(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiters, w)
	if i < 0 {
		return false
	}
	g.waiters = slices.Delete(g.waiters, i, i+1)
	return true
}

// take fills a slot of i. The caller holds mu.
func (g *group) take(i *instance) *Lease {
	i.busy++
	if i.busy == g.f.Limits.Concurrency {
		if k := slices.Index(g.free, i); k >= 0 {
			g.free = slices.Delete(g.free, k, k+1)
		}
	}
	i.weighed = false
	if i.busy == 1 && i.charged != g.f.Limits.Memory { // it was measured while idle
		g.pool.charge.Add(g.f.Limits.Memory - i.charged)
		i.charged = g.f.Limits.Memory
	}
	return &Lease{instance: i}
}

// bootMore boots instances as far as callers wait, or Min asks, and there is room.
func (g *group) bootMore() {
	for {
		g.mu.Lock()
		if !g.wantsMore(time.Now()) {
			g.mu.Unlock()
			return
		}
		g.booting++
		g.mu.Unlock()
		if !g.pool.reserve(g, g.f.Limits.Memory) {
			g.mu.Lock()
			g.booting--
			g.mu.Unlock()
			return
		}
		g.pool.work.Go(g.boot)
	}
}

// wantsMore says whether a new instance would serve those who wait sooner than
// the next that is freed: by the queue's length and what calls and boots took
// lately. What is wrong with the guess, who waits the longest puts right. While
// fewer instances are there than keep the processors at work, a boot is worth it
// once those who waited a little each have lost as much as it takes. Beyond, and
// with processors that are busy, another instance would only slow the others, so
// then it takes a wait that is long: the calls may wait for each other. The
// caller holds mu.
func (g *group) wantsMore(now time.Time) bool {
	total, waiting := len(g.instances)+g.booting, len(g.waiters)
	switch {
	case g.f.Limits.Max > 0 && total >= g.f.Limits.Max:
		return false
	case total < g.min && !now.Before(g.paused):
		return true
	case waiting == 0 || g.booting >= waiting:
		return false
	case total == 0:
		return true
	}
	waited := now.Sub(g.waiters[0].since)
	slow := time.Duration(waiting)*g.running/time.Duration(total*g.f.Limits.Concurrency) > g.cost
	switch {
	case g.booting == 0 && g.lost > g.cost && total < perProcessor*runtime.GOMAXPROCS(0):
		return true
	case !slow && waited < g.cost:
		return false
	case g.processorsBusy(now):
		return waited >= longWait && g.booting == 0
	case slow:
		return true
	case g.running == 0: // no call has ended yet: they may take hours
		return g.booting < (waiting+1)/2
	}
	return g.booting == 0
}

// perProcessor is how many instances of one function keep a processor at work:
// while one waits for its next call another runs.
const perProcessor = 2

// processorsBusy asks Config.Busy. What it said holds for a while: to look takes
// longer than many a call. The caller holds mu.
func (g *group) processorsBusy(now time.Time) bool {
	const fresh = 10 * time.Millisecond
	if now.Sub(g.looked) >= fresh {
		g.looked, g.busy = now, g.pool.Busy()
	}
	return g.busy
}

// longWait is a wait for an instance that does not come of busy processors alone.
const longWait = 100 * time.Millisecond

// average moves a moving average towards a new value.
func average(old, new time.Duration) time.Duration { return old + (new-old)/8 }

// bootTurn is how long others wait for a boot at most. Code that takes longer to
// load may take as long as its timeout, which is nothing to them.
const bootTurn = 250 * time.Millisecond

// boot makes one instance and gives it to who waits longest. Boots wait for
// each other: meanwhile a freed instance may make one needless.
func (g *group) boot() {
	p := g.pool
	p.boots <- struct{}{}
	g.mu.Lock()
	needed := len(g.waiters) > 0 || len(g.instances)+g.booting <= g.min
	id := g.next()
	g.mu.Unlock()
	if !needed {
		<-p.boots
		g.mu.Lock()
		g.booting--
		g.mu.Unlock()
		p.release(g.f.Limits.Memory)
		return
	}
	began := time.Now()
	pass := sync.OnceFunc(func() { <-p.boots })
	turn := time.AfterFunc(bootTurn, pass)
	i, err := g.open(id)
	took := time.Since(began)
	turn.Stop()
	pass()
	g.mu.Lock()
	g.booting--
	if err != nil {
		var w *waiter
		if len(g.waiters) > 0 {
			w, g.waiters = g.waiters[0], g.waiters[1:]
		}
		g.pause()
		g.mu.Unlock()
		p.release(g.f.Limits.Memory)
		if w != nil {
			w.err = err
			w.ready <- struct{}{}
		} else {
			p.Logger.Warn("boot an instance ahead", "function", g.f.Ref.String(), "error", err)
		}
		g.bootMore()
		return
	}
	g.cost = average(g.cost, took)
	g.faults, g.paused = 0, time.Time{}
	g.instances[i] = struct{}{}
	p.alive.Add(1)
	g.booted, g.lost = time.Now(), 0
	g.offer(i, took, g.booted)
	g.mu.Unlock()
	g.bootMore()
}

// pause has nothing booted ahead for a while, after a boot that failed: longer each
// time, for code that can't be loaded would be tried without end, and not for ever,
// for what it lacked may be there again. The caller holds mu.
func (g *group) pause() {
	now := time.Now()
	if g.min == 0 || now.Before(g.paused) { // others began with this one
		return
	}
	pause := min(time.Second<<min(g.faults, 9), 5*time.Minute)
	g.faults++
	g.paused = now.Add(pause)
	time.AfterFunc(pause, g.bootMore)
}

// offer gives i's free slots to those who wait, and keeps the rest. The caller
// holds mu. Init is how long i took to boot, 0 where it did not.
func (g *group) offer(i *instance, init time.Duration, now time.Time) {
	for len(g.waiters) > 0 && i.busy < g.f.Limits.Concurrency {
		w := g.waiters[0]
		g.waiters = g.waiters[1:]
		g.lost += max(0, min(now.Sub(w.since), now.Sub(g.booted)))
		w.lease = g.take(i)
		w.lease.Cold, w.lease.Init = init > 0, init
		init = 0
		w.ready <- struct{}{}
	}
	if i.busy < g.f.Limits.Concurrency && !slices.Contains(g.free, i) {
		g.free = append(g.free, i)
	}
}

// next is the activation that an instance is booted for: of those that wait, the
// first for whom none is yet; "" where it is booted ahead. The caller holds mu.
func (g *group) next() string {
	for _, w := range g.waiters {
		if !w.boots {
			w.boots = true
			return w.id
		}
	}
	return ""
}

// open boots an instance. What the code prints meanwhile is the activation's of
// that id.
func (g *group) open(id string) (*instance, error) {
	f := g.f
	limit := time.Duration(f.Limits.Timeout)
	if limit < minBoot {
		limit = minBoot
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	contract := g.pool.Contracts[f.Contract]
	if contract == nil {
		return nil, rouse.Errorf(rouse.Unavailable, "boot", f.Ref.String(), "this server lacks the contract %q", f.Contract)
	}
	driver := g.pool.driver(f.Runtime)
	if driver == nil {
		return nil, rouse.Errorf(rouse.Unavailable, "boot", f.Ref.String(), "this host no longer has the runtime %s; install it or deploy with another --runtime", f.Runtime)
	}
	i := &instance{group: g, charged: f.Limits.Memory, used: time.Now(), outside: journal{activation: id}}
	var access *rouse.Access
	var err error
	if g.pool.Access != nil {
		if access, err = g.pool.Access(f, i.running); err != nil {
			return nil, err
		}
	}
	code, err := g.pool.Code(ctx, f)
	if err != nil {
		return nil, err
	}
	i.release = code.Release
	i.sandbox, err = driver.Open(ctx, rouse.Spec{Function: f, Code: code.Dir, Deps: code.Deps, Program: contract.Program(f), Log: i.log, Access: access})
	if err == nil {
		if i.live, err = contract.Boot(ctx, f, i.sandbox, i.log); err == nil {
			return i, nil
		}
		i.sandbox.Drain()
	}
	if code.Release != nil {
		code.Release()
	}
	return nil, timedOut(ctx, err, limit)
}

// minBoot is how long code may take to load where its timeout is shorter.
const minBoot = 10 * time.Second

func timedOut(ctx context.Context, err error, limit time.Duration) error {
	if ctx.Err() == nil || errors.As(err, new(*rouse.BootError)) {
		return err
	}
	return &rouse.BootError{Status: rouse.StatusTimedOut, Failure: rouse.Failure{Type: "Timeout",
		Message: "the function was not ready within " + limit.String()}}
}

func (p *Pool) driver(runtime string) rouse.Driver {
	for _, d := range p.Drivers {
		for _, rt := range d.Runtimes() {
			if rt.Name == runtime || slices.Contains(rt.Aliases, runtime) {
				return d
			}
		}
	}
	return nil
}

// setMin changes how many instances are kept.
func (g *group) setMin(n int) {
	g.mu.Lock()
	g.min = n
	g.mu.Unlock()
	g.bootMore()
}

// retire closes what is idle now, and the rest when it gets free.
func (g *group) retire() {
	g.mu.Lock()
	g.retired, g.min = true, 0
	g.mu.Unlock()
	g.closeIdle(func(*instance) bool { return true })
}

// shut closes all, busy or not, and turns away who waits.
func (g *group) shut() {
	g.mu.Lock()
	g.retired, g.min = true, 0
	waiters, instances := g.waiters, g.instances
	g.waiters, g.free, g.instances = nil, nil, map[*instance]struct{}{}
	for i := range instances {
		i.gone = true
	}
	g.mu.Unlock()
	for _, w := range waiters {
		w.err = rouse.Errorf(rouse.Unavailable, "invoke", g.f.Ref.String(), "the server is stopping")
		w.ready <- struct{}{}
	}
	for i := range instances {
		g.pool.work.Go(func() { g.end(i) })
	}
}

func (g *group) tidy(now time.Time) {
	g.closeIdle(func(i *instance) bool {
		return now.Sub(i.used) > g.pool.Idle && len(g.instances) > g.min
	})
	g.mu.Lock()
	idle := make([]*instance, 0, len(g.free))
	for _, i := range g.free {
		if i.busy == 0 && now.Sub(i.used) > time.Second && !i.weighed {
			idle = append(idle, i)
		}
	}
	g.mu.Unlock()
	for _, i := range idle {
		g.weigh(i)
	}
}

// weigh charges an idle instance for what it holds, in place of all that it may
// hold, until it is used again. It says whether that freed any.
func (g *group) weigh(i *instance) bool {
	held := i.sandbox.Usage().Memory
	var freed int64
	g.mu.Lock()
	if i.busy == 0 && !i.gone {
		i.weighed = true
		if held > 0 && held < i.charged {
			freed = i.charged - held
			i.charged = held
		}
	}
	g.mu.Unlock()
	if freed > 0 {
		g.pool.release(freed)
	}
	return freed > 0
}

// closeIdle closes the idle instances that which picks; it is called under mu.
func (g *group) closeIdle(which func(*instance) bool) {
	g.mu.Lock()
	var out []*instance
	for _, i := range slices.Clone(g.free) {
		if i.busy == 0 && which(i) {
			g.remove(i)
			out = append(out, i)
		}
	}
	g.mu.Unlock()
	for _, i := range out {
		g.end(i)
	}
}

// remove takes i out of the group. The caller holds mu, and then calls end.
func (g *group) remove(i *instance) {
	delete(g.instances, i)
	if k := slices.Index(g.free, i); k >= 0 {
		g.free = slices.Delete(g.free, k, k+1)
	}
	i.gone = true
}

// end closes an instance that was removed.
func (g *group) end(i *instance) {
	if err := i.live.Close(); err != nil {
		g.pool.Logger.Warn("close an instance", "function", g.f.Ref.String(), "error", err)
	}
	if i.release != nil {
		i.release()
	}
	g.pool.alive.Add(-1)
	g.pool.release(i.charged)
	g.bootMore()
}

// retireEmpty says whether nothing is in the group, and nobody looks after it
// from now on: a call that has just found it gets an instance, but leaves none.
func (g *group) retireEmpty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	empty := len(g.instances)+g.booting+len(g.waiters)+g.min == 0
	g.retired = g.retired || empty
	return empty
}

// oldestIdle is the instance of those that which picks that idles the longest; it
// is called under mu.
func (g *group) oldestIdle(which func(*instance) bool) *instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	var oldest *instance
	for _, i := range g.free {
		if i.busy == 0 && which(i) && (oldest == nil || i.used.Before(oldest.used)) {
			oldest = i
		}
	}
	return oldest
}

// discardIdle closes i where it is still idle.
func (g *group) discardIdle(i *instance) bool {
	g.mu.Lock()
	ok := !i.gone && i.busy == 0
	if ok {
		g.remove(i)
	}
	g.mu.Unlock()
	if ok {
		g.end(i)
	}
	return ok
}
