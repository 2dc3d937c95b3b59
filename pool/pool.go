// Package pool keeps live instances of functions: it boots them, hands out
// those that are free, and lets go of those that nobody needs.
package pool

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
)

// A Config says how a Pool is to work.
type Config struct {
	Drivers   []rouse.Driver
	Contracts map[string]rouse.Contract

	// Code finds what an instance of a function is made of.
	Code func(ctx context.Context, f rouse.Function) (Code, error)

	// Access makes a new instance's way to the platform; nil is none, for all
	// functions or for this one. Running returns the ID and the hops of what the
	// instance answers, of several what began last; "" where there is none.
	Access func(f rouse.Function, running func() (id string, hops int)) (*rouse.Access, error)

	Log    func(rouse.Line) // takes what functions print; called concurrently
	Memory int64            // bytes that instances may hold in all
	Idle   time.Duration    // after which an unused instance is closed; 0 is 10 minutes
	Busy   func() bool      // whether the processors are; nil is never
	Wait   time.Duration    // that a call waits for an instance at most; 0 is a minute
	Boots  int              // instances booted at once; 0 is 4
	Logger *slog.Logger
}

// Code is what an instance is made of, on the host, until Release.
type Code struct {
	Dir     string // folder of the unpacked bundle
	Deps    string // folder of its dependencies; "" is none
	Release func() // may be nil
}

// A Pool hands out instances. Its methods may be called concurrently.
type Pool struct {
	Config
	boots  chan struct{} // one for each that may boot now
	charge atomic.Int64  // bytes reserved by booting and busy instances, held by idle ones
	alive  atomic.Int64
	work   sync.WaitGroup

	waiters sync.Pool // of *waiter

	mu      sync.RWMutex
	groups  map[key]*group // guarded by mu
	closed  bool           // guarded by mu
	starved []*group       // guarded by mu; wait for memory
	hungry  atomic.Bool    // some group is starved
}

// firstCost is what a boot is believed to take before one was seen.
const firstCost = 5 * time.Millisecond

// key names one version of a function.
type key struct {
	rouse.Ref
	version int
}

// New returns an empty Pool. Run must be running for it to shrink.
func New(c Config) *Pool {
	if c.Idle == 0 {
		c.Idle = 10 * time.Minute
	}
	if c.Busy == nil {
		c.Busy = func() bool { return false }
	}
	if c.Wait == 0 {
		c.Wait = time.Minute
	}
	if c.Boots == 0 {
		c.Boots = 4
	}
	return &Pool{Config: c, boots: make(chan struct{}, c.Boots), groups: map[key]*group{}}
}

// A Lease is one slot of an instance, until Release.
type Lease struct {
	Cold   bool          // the instance was booted while the caller waited, for this call
	Queued time.Duration // how long the caller waited for anything but the boot
	Init   time.Duration // how long the boot took, where Cold
	Ran    time.Duration // how long Answer took

	instance *instance
	journal  journal   // guarded by instance.logging
	ended    time.Time // when Answer was done
	released bool
}

// Lease returns a free slot of an instance of f: a warm one where there is
// one, else whichever is first, one that is freed or a new one. Errors: a
// *rouse.BootError where the code can't be made ready; Throttled where too many
// wait already or memory is short for as long as ctx lasts.
//
// What the code prints while an instance is booted for it is logged as id's, which
// may be "".
func (p *Pool) Lease(ctx context.Context, f rouse.Function, id string) (*Lease, error) {
	g, err := p.group(f)
	if err != nil {
		return nil, err
	}
	return g.lease(ctx, id)
}

func (p *Pool) group(f rouse.Function) (*group, error) {
	k := key{f.Ref, f.Version}
	p.mu.RLock()
	g, closed := p.groups[k], p.closed
	p.mu.RUnlock()
	if closed {
		return nil, rouse.Errorf(rouse.Unavailable, "invoke", f.Ref.String(), "the server is stopping")
	}
	// Removed and deployed again, a function counts its versions anew.
	if g != nil && g.f.Created.Equal(f.Created) {
		return g, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.groups[k]; old != nil {
		if old.f.Created.Equal(f.Created) {
			return old, nil
		}
		p.work.Go(old.retire)
	}
	g = &group{pool: p, f: f, instances: map[*instance]struct{}{}, cost: firstCost}
	p.groups[k] = g
	return g, nil
}

// Keep boots as many instances of f as its Limits.Min says and keeps them, and
// lets go of what is idle of its other versions.
func (p *Pool) Keep(f rouse.Function) {
	p.mu.RLock()
	var others []*group
	for k, g := range p.groups {
		if k.Ref == f.Ref && k.version != f.Version {
			others = append(others, g)
		}
	}
	p.mu.RUnlock()
	for _, g := range others {
		g.setMin(0)
	}
	if f.Limits.Min > 0 {
		if g, err := p.group(f); err == nil {
			g.setMin(f.Limits.Min)
		}
	}
}

// Forget closes the instances of a function that was removed, once they are free.
func (p *Pool) Forget(r rouse.Ref) {
	p.mu.Lock()
	var gone []*group
	for k, g := range p.groups {
		if k.Ref == r {
			gone = append(gone, g)
			delete(p.groups, k)
		}
	}
	p.mu.Unlock()
	for _, g := range gone {
		g.retire()
	}
}

// Usage counts the instances that live and the bytes that they hold or have
// been promised.
func (p *Pool) Usage() (instances int, bytes int64) { return int(p.alive.Load()), p.charge.Load() }

// Run lets go of idle instances until ctx ends, then closes all.
func (p *Pool) Run(ctx context.Context) error {
	tick := time.NewTicker(max(time.Second, min(p.Idle/10, 30*time.Second)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.close()
			return nil
		case <-tick.C:
			p.tidy(time.Now())
		}
	}
}

// tidy closes what was idle for too long and measures what idles on.
func (p *Pool) tidy(now time.Time) {
	p.mu.RLock()
	groups := make([]*group, 0, len(p.groups))
	for _, g := range p.groups {
		groups = append(groups, g)
	}
	p.mu.RUnlock()
	for _, g := range groups {
		g.tidy(now)
	}
	p.mu.Lock()
	for k, g := range p.groups {
		if g.retireEmpty() {
			delete(p.groups, k)
		}
	}
	p.mu.Unlock()
}

func (p *Pool) close() {
	p.mu.Lock()
	p.closed = true
	groups := p.groups
	p.groups = map[key]*group{}
	p.mu.Unlock()
	for _, g := range groups {
		g.shut()
	}
	p.work.Wait()
}

// reserve promises bytes to a new instance, and weighs idle ones, then
// evicts them, least recently used first, where the node's memory would not do. It says no where
// all is in use; the group is then called again when something is freed.
func (p *Pool) reserve(g *group, bytes int64) bool {
	for {
		now := p.charge.Load()
		if now+bytes <= p.Memory || now == 0 { // one instance may always run
			if p.charge.CompareAndSwap(now, now+bytes) {
				return true
			}
			continue
		}
		if !p.weigh() && !p.evict() {
			p.mu.Lock()
			p.starved = append(p.starved, g)
			p.hungry.Store(true)
			p.mu.Unlock()
			// What was freed meanwhile has called nobody.
			return p.charge.Load()+bytes <= p.Memory && p.reserve(g, bytes)
		}
	}
}

func (p *Pool) release(bytes int64) {
	p.charge.Add(-bytes)
	p.feed()
}

// feed lets the groups that wait for memory try again: some was freed, or is
// held by an instance that now idles and can be evicted.
func (p *Pool) feed() {
	if !p.hungry.Load() {
		return
	}
	p.mu.Lock()
	starved := p.starved
	p.starved = nil
	p.hungry.Store(false)
	p.mu.Unlock()
	for _, g := range starved {
		g.bootMore()
	}
}

// weigh charges the instance that idles the longest, of those that are charged
// for all they may hold, for what it does hold. Many that idle fit where few
// that work would: they need not be closed.
func (p *Pool) weigh() bool {
	for {
		i := p.oldestIdle(func(i *instance) bool { return !i.weighed })
		if i == nil {
			return false
		}
		if i.group.weigh(i) {
			return true
		}
	}
}

// evict closes the idle instance that was used the longest ago.
func (p *Pool) evict() bool {
	oldest := p.oldestIdle(func(i *instance) bool { return len(i.group.instances) > i.group.min })
	return oldest != nil && oldest.group.discardIdle(oldest)
}

func (p *Pool) oldestIdle(which func(*instance) bool) *instance {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var oldest *instance
	for _, g := range p.groups {
		if i := g.oldestIdle(which); i != nil && (oldest == nil || i.used.Before(oldest.used)) {
			oldest = i
		}
	}
	return oldest
}
