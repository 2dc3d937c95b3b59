package process

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// A kind is what rooms in waiting are alike in.
type kind struct {
	how     string // "python", "node", "program", or "worker" for a program that speaks frames
	runtime string // name of the interpreter
	deps    string // host folder of the dependencies that a zygote has imported
}

// A nursery keeps a few rooms of one kind waiting, so that making namespaces
// and entering control groups is off the path of a request.
type nursery struct {
	driver *Driver
	make   func(wanted bool) (*room, error) // wanted by somebody who waits for it
	parked chan *room
	work   sync.WaitGroup

	mu      sync.Mutex
	zygote  *zygote // guarded by mu; of kind "python", once it is needed
	filling bool    // guarded by mu
	wanted  int     // guarded by mu; rooms in the making that somebody waits for
	closed  bool    // guarded by mu
}

// kindOf says in what kind of room spec's code starts.
func (d *Driver) kindOf(spec rouse.Spec) (kind, rouse.Runtime, error) {
	rt, err := d.runtime(spec.Function.Runtime)
	if err != nil {
		return kind{}, rt, err
	}
	k := kind{how: "program", runtime: rt.Name}
	switch {
	case rt.Family == "python" && rt.Name != "python2.7":
		k.how, k.deps = "python", spec.Deps
	case rt.Family == "node" && spec.Program.Mode != rouse.ModeOnce:
		k.how = "node"
	case spec.Program.Mode == rouse.ModeWorker && rt.Family == "python": // 2.7 lacks what a zygote needs
		k.how = "worker"
	case spec.Program.Mode == rouse.ModeWorker && rt.Family == "executable":
		return k, rt, rouse.Errorf(rouse.Invalid, "open sandbox", spec.Function.Ref.String(),
			"an executable speaks the contract http or stdio; deploy it with one of them")
	}
	k, err = d.tier.adapt(k, rt, spec)
	return k, rt, err
}

func (d *Driver) nursery(k kind, rt rouse.Runtime, spec rouse.Spec) (*nursery, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, rouse.Errorf(rouse.Unavailable, "open sandbox", spec.Function.Ref.String(), "the server is stopping")
	}
	n := d.nurseries[k]
	if n != nil {
		return n, nil
	}
	n = &nursery{driver: d, parked: make(chan *room, d.Spares)}
	switch k.how {
	case "python":
		n.make = func(wanted bool) (*room, error) {
			z, err := n.warm(rt, k.deps, spec.Code)
			if err != nil {
				return nil, err
			}
			return z.fork(wanted)
		}
	case "node":
		n.make = func(bool) (*room, error) { return d.newNodeRoom(rt) }
	default:
		var more []bind
		if rt.Path != "" {
			more = prefix(rt)
		}
		n.make = func(bool) (*room, error) { return d.newProgramRoom(more...) }
	}
	d.nurseries[k] = n
	return n, nil
}

// warm returns the nursery's zygote and starts it where there is none.
func (n *nursery) warm(rt rouse.Runtime, deps, code string) (*zygote, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errors.New("the server is stopping")
	}
	if n.zygote == nil {
		preload := preloaded
		if deps != "" {
			preload = append(preload[:len(preload):len(preload)], imports(code)...)
		}
		z, err := n.driver.newZygote(rt, deps, preload)
		if err != nil && deps != "" {
			// Imports that leave threads, or die: the function must import for itself.
			n.driver.log.Warn("preload dependencies", "runtime", rt.Name, "error", err)
			z, err = n.driver.newZygote(rt, deps, preloaded)
		}
		if err != nil {
			return nil, err
		}
		n.zygote = z
	}
	return n.zygote, nil
}

// forget lets go of a zygote that has ended, so that the next room starts one.
func (d *Driver) forget(z *zygote) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.nurseries {
		d.waiting.Go(func() {
			n.mu.Lock()
			gone := n.zygote == z
			if gone {
				n.zygote = nil
			}
			n.mu.Unlock()
			if gone {
				z.close()
			}
		})
	}
}

// respite is how long after one room was taken the next is made: not at once,
// for it would compete with the one that starts.
const respite = 15 * time.Millisecond

// take returns a waiting room, or makes one where none waits, and sees to it
// that others will.
func (n *nursery) take() (*room, error) {
	defer time.AfterFunc(respite, n.fill)
	for {
		select {
		case r := <-n.parked:
			select {
			case <-r.done: // it died waiting
				n.driver.waiting.Go(r.close)
				continue
			default:
				return r, nil
			}
		default:
			return n.makeNow()
		}
	}
}

// makeNow makes a room for somebody who waits for it.
func (n *nursery) makeNow() (*room, error) {
	n.mu.Lock()
	n.wanted++
	n.mu.Unlock()
	r, err := n.make(true)
	n.mu.Lock()
	n.wanted--
	n.mu.Unlock()
	return r, err
}

// fill makes rooms until enough wait, or somebody waits for one: while many
// start in a row the machine is theirs, and who is the last fills again.
func (n *nursery) fill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.filling || n.closed || n.wanted > 0 || len(n.parked) == cap(n.parked) {
		return
	}
	n.filling = true
	n.work.Go(func() {
		for {
			r, err := n.make(false)
			if err != nil {
				n.driver.log.Warn("make a room ahead", "error", err)
			}
			n.mu.Lock()
			stop := err != nil || n.closed
			if !stop {
				n.parked <- r
				r = nil
				stop = n.wanted > 0 || len(n.parked) == cap(n.parked)
			}
			if stop {
				n.filling = false
			}
			n.mu.Unlock()
			if r != nil {
				r.close()
			}
			if stop {
				return
			}
		}
	})
}

func (n *nursery) close() {
	n.mu.Lock()
	n.closed = true
	z := n.zygote
	n.zygote = nil
	n.mu.Unlock()
	n.work.Wait()
	for len(n.parked) > 0 {
		(<-n.parked).close()
	}
	if z != nil {
		z.close()
	}
}

// Prepare implements rouse.Driver: it starts what Open would fork from, and
// the first rooms in waiting.
func (d *Driver) Prepare(ctx context.Context, spec rouse.Spec) error {
	k, rt, err := d.kindOf(spec)
	if err != nil {
		return err
	}
	n, err := d.nursery(k, rt, spec)
	if err != nil {
		return err
	}
	if k.how == "python" {
		if _, err := n.warm(rt, k.deps, spec.Code); err != nil {
			return err
		}
	}
	n.fill()
	return nil
}
