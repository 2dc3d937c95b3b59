package rule

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/rule/inbox"
)

// A reader reads one feed for all rules on it: each shard by a tap, those of
// children when their parents have been read to the end.
type reader struct {
	e      *Engine
	feed   feed
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // rules or shards have changed

	mu    sync.Mutex
	rules map[rouse.Ref]*compiled // guarded by mu
	taps  map[string]*tap         // guarded by mu; ended ones as well
}

// reconcile has a reader for each feed that rules listen to, and none for
// others.
func (e *Engine) reconcile(ctx context.Context) {
	e.mu.Lock()
	wanted := map[feed]map[rouse.Ref]*compiled{}
	for r, c := range e.rules {
		if f := c.feed(); f != (feed{}) {
			if wanted[f] == nil {
				wanted[f] = map[rouse.Ref]*compiled{}
			}
			wanted[f][r] = c
		}
	}
	var gone []*reader
	for f, r := range e.readers {
		if wanted[f] == nil {
			gone = append(gone, r)
			delete(e.readers, f)
		}
	}
	for f, rules := range wanted {
		r := e.readers[f]
		if r == nil {
			r = &reader{e: e, feed: f, done: make(chan struct{}), wake: make(chan struct{}, 1), taps: map[string]*tap{}}
			e.readers[f] = r
			var run context.Context
			run, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
			r.rules = rules
			go r.run(run)
			continue
		}
		r.mu.Lock()
		same := maps.Equal(r.rules, rules)
		r.rules = rules
		r.mu.Unlock()
		if !same {
			signal(r.wake)
		}
	}
	e.mu.Unlock()
	for _, r := range gone {
		r.stop()
	}
}

// stop ends a reader; what it has begun to deliver is finished.
func (r *reader) stop() {
	r.cancel()
	<-r.done
}

// retry is how long to wait after the platform itself could not do its work.
const retry = time.Second

// run keeps a tap for each shard.
func (r *reader) run(ctx context.Context) {
	defer close(r.done)
	var taps sync.WaitGroup
	defer taps.Wait()
	poll := time.NewTicker(r.e.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		shards, err := r.e.source(r.feed).Shards(ctx, r.feed.ref)
		if err != nil && ctx.Err() == nil && rouse.KindOf(err) != rouse.NotFound {
			r.e.Log.Error("look for shards", "feed", r.feed.kind, "of", r.feed.ref.String(), "error", err)
		}
		r.mu.Lock()
		rules := slices.Collect(maps.Values(r.rules))
		for _, s := range shards {
			switch t := r.taps[s.ID]; {
			case t != nil:
				t.setRules(r.of(s.ID, rules))
			case r.ready(s, shards):
				t = newTap(r, s.ID, r.of(s.ID, rules))
				r.taps[s.ID] = t
				taps.Go(func() {
					t.run(ctx)
					signal(r.wake) // its children may begin
				})
			}
		}
		r.mu.Unlock()
		wait := time.NewTimer(retry)
		if err == nil {
			wait.Stop()
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-poll.C:
		case <-wait.C:
		}
		wait.Stop()
	}
}

// of returns those of rules for which there can be something in a shard.
func (r *reader) of(shard string, rules []*compiled) []*compiled {
	if r.feed.kind != "events" {
		return rules
	}
	var some []*compiled
	for _, c := range rules {
		if inbox.Shard(c.from()) == shard {
			some = append(some, c)
		}
	}
	return some
}

// ready reports whether all that came before a shard has been delivered; r.mu
// is held.
func (r *reader) ready(s data.Shard, all []data.Shard) bool {
	for _, p := range s.Parents {
		there := slices.ContainsFunc(all, func(o data.Shard) bool { return o.ID == p })
		if t := r.taps[p]; there && (t == nil || !t.ended()) {
			return false
		}
	}
	return true
}
