package dispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// A finished message was handled, and is to be deleted.
type finished struct {
	lane *lane
	id   int64
}

// deletedAtOnce bounds how many finished messages wait to be deleted, and are
// deleted together.
const deletedAtOnce = 1000

// patience is how long what is finished waits for what is due at most.
const patience = 100 * time.Millisecond

// giveWay waits until all that is due has begun: it is more urgent than to delete
// what is finished.
func (d *Dispatcher) giveWay(ctx context.Context) {
	if d.urgent.Load() == 0 {
		return
	}
	end := time.NewTimer(patience)
	defer end.Stop()
	for d.urgent.Load() > 0 {
		select {
		case <-d.begun:
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// delete takes finished messages out of their queues, those of all lanes
// together, when what they led to is stored: a server that is killed between the
// two handles them again. It ends with ctx, when nothing is finished any more.
func (d *Dispatcher) delete(ctx context.Context) {
	for {
		var all []finished
		select {
		case <-ctx.Done():
			return
		case f := <-d.finished:
			all = append(all, f)
		}
		d.giveWay(ctx)
		for len(d.finished) > 0 && len(all) < deletedAtOnce {
			all = append(all, <-d.finished)
		}
		d.deleteFinished(context.WithoutCancel(ctx), all)
	}
}

func (d *Dispatcher) deleteFinished(ctx context.Context, all []finished) {
	receipts := map[string][]rouse.Receipt{}
	for _, f := range all {
		receipts[f.lane.queue] = append(receipts[f.lane.queue], d.hands.valid(f.lane.queue, f.id))
	}
	d.Settle(ctx)
	deleted, err := d.DeleteAll(ctx, receipts)
	if err != nil {
		d.Log.Error("delete handled messages", "queues", len(receipts), "error", err)
	}
	var again []finished
	for _, f := range all {
		q := f.lane.queue
		oks, tried := deleted[q], receipts[q][0]
		receipts[q] = receipts[q][1:]
		if len(oks) > 0 {
			deleted[q] = oks[1:]
		}
		switch {
		case len(oks) == 0: // it failed: it will be handled again when the lease is over
		case oks[0]:
			f.lane.alone.Add(-1)
		case d.hands.valid(q, f.id) != tried: // it was received once more meanwhile
			again = append(again, f)
			continue
		default:
			d.Log.Warn("a handled message was in other hands and is handled again", "queue", q, "message", f.id)
		}
		d.hands.leave(q, f.id)
		f.lane.deleting.Done()
		signal(f.lane.settled)
	}
	if len(again) > 0 {
		d.deleteFinished(ctx, again)
	}
}

// deleteEach deletes the messages of each queue by itself.
func (d *Dispatcher) deleteEach(ctx context.Context, all map[string][]rouse.Receipt) (map[string][]bool, error) {
	deleted := map[string][]bool{}
	var errs []error
	var mu sync.Mutex // guards both
	var work sync.WaitGroup
	for queue, rs := range all {
		work.Go(func() {
			defer d.turn()()
			oks, err := d.Queue.Delete(ctx, queue, rs)
			mu.Lock()
			defer mu.Unlock()
			deleted[queue], errs = oks, append(errs, err)
		})
	}
	work.Wait()
	return deleted, errors.Join(errs...)
}
