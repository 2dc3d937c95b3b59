package dispatch

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
)

// A held message is leased to the Dispatcher, which handles it when it is due.
type held struct {
	queue string
	lease rouse.Lease
	due   time.Time
}

// holding is a heap of held messages by when they are due; see container/heap.
type holding []held

func (h holding) Len() int           { return len(h) }
func (h holding) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h holding) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *holding) Push(x any)        { *h = append(*h, x.(held)) }

func (h *holding) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = held{}
	*h = old[:len(old)-1]
	return last
}

// Room returns how many messages of a queue can be held for one moment; 0 where
// they are to be received as all others are.
func (d *Dispatcher) Room(ctx context.Context, queue string) int {
	how := d.Lane(ctx, queue)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil || how.Window > 0 {
		return 0
	}
	return how.Parallel * max(how.Batch, 1)
}

// Hold handles a message when it is due; its lease is to last well beyond that.
// Where the Dispatcher ends before, the message stays leased.
func (d *Dispatcher) Hold(queue string, l rouse.Lease, due time.Time) {
	d.hands.take(queue, []rouse.Lease{l}, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	heap.Push(&d.held, held{queue, l, due})
	d.holds[queue]++
	if d.held[0].due.Equal(due) {
		signal(d.sooner)
	}
}

// Drop holds nothing of a queue any more, which is to be emptied. Where it is not,
// its messages are handled when their leases end.
func (d *Dispatcher) Drop(queue string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holds[queue] == 0 {
		return
	}
	delete(d.holds, queue)
	d.held = slices.DeleteFunc(d.held, func(h held) bool {
		if h.queue == queue {
			d.hands.leave(queue, h.lease.ID)
		}
		return h.queue == queue
	})
	heap.Init(&d.held)
}

// Stats returns those of one queue, in which what is held is not Leased.
func (d *Dispatcher) Stats(ctx context.Context, queue string) (rouse.QueueStats, error) {
	d.mu.Lock()
	held := d.holds[queue] // first: what is held from now on may be missing in the stats
	d.mu.Unlock()
	all, err := d.Queue.Stats(ctx, queue)
	return besides(all[queue], held), err
}

// besides returns stats without what is held; some of that may be gone.
func besides(s rouse.QueueStats, held int) rouse.QueueStats {
	s.Leased = max(s.Leased-int64(held), 0)
	return s
}

// longestNap is after which the clock is looked at, as it may have been set.
const longestNap = time.Second

// release has held messages handled as they become due, until ctx ends.
func (d *Dispatcher) release(ctx context.Context) {
	timer := time.NewTimer(longestNap)
	defer timer.Stop()
	for {
		due, nap := d.takeDue()
		d.begin(ctx, due)
		timer.Reset(nap)
		select {
		case <-timer.C:
		case <-d.sooner:
		case <-ctx.Done():
			return
		}
	}
}

// takeDue takes the held messages that are due, those of one queue together, and
// says when there may be more.
func (d *Dispatcher) takeDue() (due [][]held, nap time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := map[string]int{}
	for len(d.held) > 0 {
		if wait := d.held[0].due.Sub(d.Now()); wait > 0 {
			return due, min(wait, longestNap)
		}
		h := heap.Pop(&d.held).(held)
		if d.holds[h.queue]--; d.holds[h.queue] == 0 {
			delete(d.holds, h.queue)
		}
		i, ok := at[h.queue]
		if !ok {
			i = len(due)
			at[h.queue], due = i, append(due, nil)
		}
		due[i] = append(due[i], h)
	}
	return due, longestNap
}

// begin has messages that are due handled, those of one queue together. Where
// there is a lane already it receives them: it knows when it has room. All lanes
// are known to be urgent before the first of them runs.
func (d *Dispatcher) begin(ctx context.Context, due [][]held) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var begun []*lane
	for _, hs := range due {
		l := newLane(hs[0].queue)
		for _, h := range hs {
			l.first = append(l.first, h.lease)
		}
		if d.lanes[l.queue] == nil {
			d.lanes[l.queue] = l
			l.urgent.Store(true)
			d.urgent.Add(1)
			begun = append(begun, l)
			continue
		}
		d.work.Go(func() {
			d.giveBack(ctx, l.queue, l.first)
			d.Serve(l.queue)
		})
	}
	for _, l := range begun {
		d.work.Go(func() { d.drive(ctx, l) })
	}
}

// calm notes that a lane is not urgent, or no more.
func (d *Dispatcher) calm(l *lane) {
	if l.urgent.CompareAndSwap(true, false) && d.urgent.Add(-1) == 0 {
		signal(d.begun)
	}
}

// giveBack makes leased messages visible.
func (d *Dispatcher) giveBack(ctx context.Context, queue string, leases []rouse.Lease) {
	for _, l := range leases {
		d.putBack(ctx, queue, d.hands.leave(queue, l.ID))
	}
}

func (d *Dispatcher) putBack(ctx context.Context, queue string, r rouse.Receipt) {
	if _, err := d.Queue.Extend(context.WithoutCancel(ctx), queue, r, 0); err != nil {
		d.Log.Warn("give back a message", "queue", queue, "error", err)
	}
}
