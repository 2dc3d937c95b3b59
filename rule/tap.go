package rule

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/rule/pattern"
)

// A tap reads one shard once and hands each entry to the rules that it matches:
// to the queue of a rule that delivers side by side, to the line of one that
// delivers in order. A line that falls behind reads for itself until it has
// caught up, and so holds up no other.
type tap struct {
	r     *reader
	e     *Engine
	shard string
	moved chan struct{} // lines have come further
	over  chan struct{} // it has read its shard to the end and all is delivered

	mu      sync.Mutex
	front   uint64             // guarded by mu: what was matched and given to lines
	handed  uint64             // guarded by mu: what is in the queues as well
	all     []*compiled        // guarded by mu: as they are to be
	stale   bool               // guarded by mu: they are not what set and lines were made of
	wake    context.CancelFunc // guarded by mu: ends what waits for news, where something does
	sets    sets               // guarded by mu; do not change once made
	lines   map[string]*line   // guarded by mu; by name of the rule
	written map[string]bool    // guarded by mu: rules that have a stored position
	starts  map[string]uint64  // guarded by mu: stored positions of rules that have not begun
}

// sets find the rules for an entry. Those that listen to one of the many things
// whose events a feed has are apart, by its name: of ten thousand triggers with
// a rule each, one rule is looked at.
type sets map[string]*pattern.Set[*compiled]

func (s sets) add(c *compiled) {
	from := c.from()
	if s[from] == nil {
		s[from] = &pattern.Set[*compiled]{}
	}
	s[from].Add(c, c.pattern)
}

func (s sets) match(entry *data.Entry) (all []*compiled) {
	var doc map[string]any
	for i, from := range [...]string{"", entry.Key} {
		set := s[from]
		if set == nil || i > 0 && from == "" {
			continue
		}
		if doc == nil {
			doc = document(entry)
		}
		for _, c := range set.Match(doc) {
			if c.matches(entry) {
				all = append(all, c)
			}
		}
	}
	return all
}

func newTap(r *reader, shard string, rules []*compiled) *tap {
	return &tap{r: r, e: r.e, shard: shard, all: rules, stale: true, moved: make(chan struct{}, 1), over: make(chan struct{}),
		lines: map[string]*line{}, written: map[string]bool{}, starts: map[string]uint64{}}
}

func (t *tap) ended() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

func (t *tap) setRules(rules []*compiled) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Equal(sorted(rules), sorted(t.all)) {
		t.all, t.stale = rules, true
		if t.wake != nil {
			t.wake()
		}
	}
}

func sorted(rules []*compiled) []*compiled {
	return slices.SortedFunc(slices.Values(rules), func(a, b *compiled) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// run reads until ctx ends, or the shard.
func (t *tap) run(ctx context.Context) {
	if !t.load(ctx) {
		return
	}
	keeping := make(chan struct{})
	keep, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(keeping)
		t.keep(keep)
	}()
	t.read(ctx)
	t.mu.Lock()
	lines := slices.Collect(maps.Values(t.lines))
	t.mu.Unlock()
	for _, l := range lines {
		l.stop()
	}
	stopKeeping()
	<-keeping
	if ctx.Err() == nil {
		close(t.over)
	}
}

// load finds out where to begin.
func (t *tap) load(ctx context.Context) bool {
	for ctx.Err() == nil {
		p, err := t.e.positions(ctx, t.r.feed, t.shard)
		if err == nil {
			t.begin(p)
			return true
		}
		t.complain(ctx, "read the positions of rules", err)
	}
	return false
}

// begin takes over what is stored. Rules that begin later than the front, and
// others that are behind it, get there in their own time.
func (t *tap) begin(p positions) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.front, t.starts = p.front, p.rules
	for name := range p.rules {
		t.written[name] = true
	}
	// Where every rule has gone beyond the front, nobody waits for what is
	// between: a feed that had no rules for a while.
	first, all := uint64(0), len(t.all) > 0
	for _, c := range t.all {
		at, ok := p.rules[c.Name]
		if !ok {
			all = false
			break
		}
		if first == 0 || at < first {
			first = at
		}
	}
	if all && (!p.known || first > t.front) {
		t.front = first
	}
	t.handed = t.front
}

// complain logs an error of the platform's own and waits before the next try.
func (t *tap) complain(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	t.e.Log.Error(what, "feed", t.r.feed.kind, "of", t.r.feed.ref.String(), "shard", t.shard, "error", err)
	pause(ctx, retry)
}

// longPoll is how long one Read waits.
const longPoll = 20 * time.Second

// read hands out entries until ctx ends or there will be no more.
func (t *tap) read(ctx context.Context) {
	for ctx.Err() == nil {
		all := t.renew(ctx)
		batch, err := t.next(ctx)
		switch {
		case t.changed(): // while it waited
		case err != nil && rouse.KindOf(err) == rouse.NotFound: // the thing was removed
			pause(ctx, retry)
		case err != nil:
			t.complain(ctx, "read events", err)
		case !t.hand(ctx, all, batch):
			return
		case batch.Ended && len(batch.Entries) == 0:
			if t.idle() {
				return
			}
			pause(ctx, retry/20) // a shard that has ended makes nobody wait
		}
	}
}

// next reads the entries after the front. It waits for them, but no longer than
// the rules stay as they are.
func (t *tap) next(ctx context.Context) (data.Batch, error) {
	wait, wake := context.WithCancel(ctx)
	defer wake()
	t.mu.Lock()
	t.wake = wake
	if t.stale {
		wake()
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.wake = nil
		t.mu.Unlock()
	}()
	return t.e.source(t.r.feed).Read(wait, data.FeedQuery{Ref: t.r.feed.ref, Shard: t.shard, After: t.front, Wait: longPoll})
}

func (t *tap) changed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stale
}

// idle reports whether the lines have done with all that they were given.
func (t *tap) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		if _, busy := l.position(); busy {
			return false
		}
	}
	return true
}

// renew makes set and lines of the rules as they are to be.
func (t *tap) renew(ctx context.Context) sets {
	t.mu.Lock()
	if !t.stale {
		defer t.mu.Unlock()
		return t.sets
	}
	all := t.all
	t.stale = false
	old := maps.Clone(t.lines)
	t.mu.Unlock()
	wanted := map[string]*compiled{}
	for _, c := range all {
		wanted[c.Name] = c
	}
	ends := map[string]*uint64{} // where lines came to that are replaced
	for name, l := range old {
		if wanted[name] != l.rule {
			l.stop()
			ends[name] = l.end()
		}
	}
	fresh := t.late(ctx, all, old)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sets = sets{}
	for name := range ends {
		delete(t.lines, name)
	}
	for name, at := range fresh {
		t.starts[name], t.written[name] = at, true
	}
	for _, c := range all {
		t.sets.add(c)
		if t.lines[c.Name] != nil {
			continue
		}
		l := newLine(t, c)
		at, stored := t.starts[c.Name]
		if end, had := ends[c.Name]; had {
			if stored = end != nil; stored {
				at = *end
			}
		}
		delete(t.starts, c.Name)
		if stored {
			l.from(at, t.front)
		}
		t.lines[c.Name] = l
		l.start(ctx)
	}
	return t.sets
}

// late returns the stored positions of rules that were made after this tap
// began.
func (t *tap) late(ctx context.Context, all []*compiled, old map[string]*line) map[string]uint64 {
	for ctx.Err() == nil {
		t.mu.Lock()
		missing := false
		for _, c := range all {
			_, ok := t.starts[c.Name]
			missing = missing || !ok && old[c.Name] == nil
		}
		t.mu.Unlock()
		if !missing {
			return nil
		}
		p, err := t.e.positions(ctx, t.r.feed, t.shard)
		if err == nil {
			fresh := map[string]uint64{}
			for _, c := range all {
				if at, ok := p.rules[c.Name]; ok && old[c.Name] == nil {
					fresh[c.Name] = at
				}
			}
			return fresh
		}
		t.complain(ctx, "read the positions of rules", err)
	}
	return nil
}

// hand gives the entries of a batch to the rules that they match.
func (t *tap) hand(ctx context.Context, all sets, batch data.Batch) bool {
	matched := map[*compiled][]data.Entry{}
	for i := range batch.Entries {
		entry := &batch.Entries[i]
		for _, c := range all.match(entry) {
			matched[c] = append(matched[c], *entry)
		}
	}
	t.mu.Lock()
	side := map[*compiled][]data.Entry{}
	for c, es := range matched {
		l := t.lines[c.Name]
		switch {
		case l == nil || l.rule != c || l.behind: // it reads them by itself
		case c.ordered():
			l.push(l.wanted(es), t.front)
		default:
			if es = t.e.announce(t.r.feed.ref.Namespace, l.wanted(es)); len(es) > 0 {
				side[c] = es
			}
		}
	}
	t.front = batch.After
	t.mu.Unlock()
	for {
		err := t.e.enqueue(ctx, side)
		if err == nil {
			break
		}
		if t.complain(ctx, "queue events", err); ctx.Err() != nil {
			return false
		}
	}
	t.mu.Lock()
	t.handed = batch.After
	t.mu.Unlock()
	signal(t.moved)
	return true
}

// keep stores positions as they change, until ctx ends.
func (t *tap) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			t.store(context.WithoutCancel(ctx))
			return
		case <-t.moved:
		}
		if !t.store(ctx) {
			signal(t.moved)
		}
		// What is not stored is delivered again after a crash; that costs less
		// than a transaction for each.
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// store writes how far the tap and its lines are.
func (t *tap) store(ctx context.Context) bool {
	t.mu.Lock()
	front := t.handed
	rules := map[string]*uint64{}
	for name, l := range t.lines {
		at, behind := l.position()
		switch {
		case behind:
			rules[name] = &at
			t.written[name] = true
		case t.written[name]:
			rules[name] = nil
			delete(t.written, name)
		}
	}
	t.mu.Unlock()
	t.e.Settle(ctx) // what was delivered has its records before it counts as done
	if err := t.e.move(ctx, t.r.feed, t.shard, front, rules); err != nil {
		t.mu.Lock()
		for name, at := range rules {
			t.written[name] = t.written[name] || at == nil
		}
		t.mu.Unlock()
		t.complain(ctx, "store the positions of rules", err)
		return false
	}
	return true
}
