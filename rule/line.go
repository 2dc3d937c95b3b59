package rule

import (
	"context"
	"hash/fnv"
	"sync"
	"time"

	"github.com/rouse-run/rouse/data"
)

// Bounds of what a line holds that is not delivered yet; beyond them it falls
// behind.
const (
	maxHeld      = 2000
	maxHeldBytes = 16 << 20
)

// A line is what one rule has before it of one shard. All its fields are
// guarded by the tap's mu, and so are its methods unless they say otherwise.
type line struct {
	t     *tap
	rule  *compiled
	lanes []*lane       // of a rule that delivers in order, by key
	room  chan struct{} // lanes have delivered some

	skip   uint64 // what came before the rule
	behind bool   // it reads for itself, from at on
	at     uint64
	held   int // entries in lanes
	bytes  int // of their data

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// A lane delivers entries one after the other.
type lane struct {
	entries []data.Entry // not delivered, the first ones perhaps under way
	since   time.Time    // when the first of them came
	more    chan struct{}
	runs    bool
}

func newLine(t *tap, c *compiled) *line {
	l := &line{t: t, rule: c, room: make(chan struct{}, 1)}
	if c.ordered() {
		for range max(c.Parallel, 1) {
			l.lanes = append(l.lanes, &lane{more: make(chan struct{}, 1)})
		}
	}
	return l
}

// from has the line begin after an entry.
func (l *line) from(at, front uint64) {
	if at >= front {
		l.skip = at
		return
	}
	l.behind, l.at = true, at
}

// start begins to deliver, until ctx ends or stop is called.
func (l *line) start(ctx context.Context) {
	l.ctx, l.cancel = context.WithCancel(ctx)
	if l.behind && !l.rule.paused.Load() {
		l.work.Go(l.catchUp)
	}
}

// stop waits until what is under way is done. The tap's mu must not be held.
func (l *line) stop() {
	l.cancel()
	l.work.Wait()
}

// end returns where a stopped line has come to; nil is the front. The tap's mu
// must not be held.
func (l *line) end() *uint64 {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if at, behind := l.position(); behind {
		return &at
	}
	return nil
}

// position returns up to where all is delivered, and whether that is not the
// front.
func (l *line) position() (at uint64, behind bool) {
	for _, ln := range l.lanes {
		if len(ln.entries) > 0 && (!behind || ln.entries[0].Sequence-1 < at) {
			at, behind = ln.entries[0].Sequence-1, true
		}
	}
	switch {
	case behind:
		return at, true
	case l.behind:
		return l.at, true
	case l.skip > l.t.handed:
		return l.skip, true
	}
	return 0, false
}

// wanted returns those of es that came after the rule.
func (l *line) wanted(es []data.Entry) []data.Entry {
	for len(es) > 0 && es[0].Sequence <= l.skip {
		es = es[1:]
	}
	return es
}

// push takes entries from the tap, whose front is before them.
func (l *line) push(es []data.Entry, front uint64) {
	if len(es) == 0 {
		return
	}
	if l.rule.paused.Load() || l.held > maxHeld || l.bytes > maxHeldBytes || l.ctx.Err() != nil {
		l.behind, l.at = true, max(front, l.skip)
		if !l.rule.paused.Load() && l.ctx.Err() == nil {
			l.work.Go(l.catchUp)
		}
		return
	}
	l.add(es)
}

// add gives entries to lanes.
func (l *line) add(es []data.Entry) {
	for _, e := range es {
		ln := l.lanes[0]
		if n := len(l.lanes); n > 1 {
			h := fnv.New32a()
			_, _ = h.Write([]byte(e.Key))
			ln = l.lanes[h.Sum32()%uint32(n)]
		}
		if len(ln.entries) == 0 {
			ln.since = time.Now()
		}
		ln.entries = append(ln.entries, e)
		l.held++
		l.bytes += len(e.Event.Data)
		if !ln.runs {
			ln.runs = true
			l.work.Go(func() { l.run(ln) })
		} else {
			signal(ln.more)
		}
	}
}

// catchUp reads for a line that is behind until it is at the front.
func (l *line) catchUp() {
	t, ctx := l.t, l.ctx
	for ctx.Err() == nil && !l.rule.paused.Load() {
		t.mu.Lock()
		if l.at >= t.front {
			l.behind, l.skip = false, l.at
			t.mu.Unlock()
			signal(t.moved)
			return
		}
		at, full := l.at, l.held > maxHeld/2 || l.bytes > maxHeldBytes/2
		t.mu.Unlock()
		if full {
			select {
			case <-ctx.Done():
			case <-l.room:
			}
			continue
		}
		batch, err := t.e.source(t.r.feed).Read(ctx, data.FeedQuery{Ref: t.r.feed.ref, Shard: t.shard, After: at})
		if err != nil {
			t.complain(ctx, "read events", err)
			continue
		}
		var es []data.Entry
		for i := range batch.Entries {
			entry := &batch.Entries[i]
			if l.rule.matches(entry) && l.rule.pattern.Match(document(entry)) {
				es = append(es, *entry)
			}
		}
		if !l.rule.ordered() {
			es = t.e.announce(t.r.feed.ref.Namespace, es)
			if err := t.e.enqueue(ctx, map[*compiled][]data.Entry{l.rule: es}); err != nil {
				t.complain(ctx, "queue events", err)
				continue
			}
			es = nil
		}
		t.mu.Lock()
		l.add(es)
		if l.at = batch.After; batch.After <= at { // what was there is too old now
			l.at = max(at, t.front)
		}
		t.mu.Unlock()
		signal(t.moved)
	}
}

// run delivers what a lane has until it is empty. The tap's mu must not be held.
func (l *line) run(ln *lane) {
	t := l.t
	for {
		es := l.take(ln)
		if len(es) == 0 {
			return
		}
		if !t.e.inOrder(l.ctx, l.rule, es) {
			l.leave(ln)
			return
		}
		t.mu.Lock()
		ln.entries = ln.entries[len(es):]
		ln.since = time.Now()
		l.held -= len(es)
		for _, e := range es {
			l.bytes -= len(e.Event.Data)
		}
		t.mu.Unlock()
		signal(t.moved)
		signal(l.room)
	}
}

// leave puts a lane to rest that could not deliver: the rule rests, or all does.
func (l *line) leave(ln *lane) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	ln.runs = false
}

// take returns the next batch of a lane, when it is full or its window is over;
// none where the lane is empty, and at rest from then on.
func (l *line) take(ln *lane) []data.Entry {
	b := l.rule.Batch
	for {
		l.t.mu.Lock()
		if len(ln.entries) == 0 {
			ln.runs = false
			l.t.mu.Unlock()
			return nil
		}
		n, full := batchOf(b, ln.entries)
		es, since := ln.entries[:n:n], ln.since
		l.t.mu.Unlock()
		if b == nil || full || b.Window == 0 {
			return es
		}
		left := time.NewTimer(time.Duration(b.Window) - time.Since(since))
		select {
		case <-l.ctx.Done():
			left.Stop()
			l.leave(ln)
			return nil
		case <-left.C:
			return es
		case <-ln.more:
			left.Stop()
		}
	}
}
