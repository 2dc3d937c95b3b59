package sqlite

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
)

const (
	window    = 1000     // milliseconds that a block spans at most, aligned
	blockSize = 64 << 10 // bytes after which a block is full
)

// The kinds of blocks.
const (
	activations = iota
	lines
)

// A block is what one posting has of one namespace and one second: a part for
// each function, one after the other.
type block struct {
	kind      int
	namespace rouse.Namespace
	span      span  // of its ids or its lines
	statuses  int64 // a bit for each
	of        span  // of the activations that its lines name
	body      []byte
	parts     []part
}

// A part is one function's frame within the body of a block.
type part struct {
	name     string
	last     int64 // milliseconds
	statuses int64
	start    int
	length   int
}

// A span is from one millisecond to another, both included; it is empty where
// first > last.
type span struct{ first, last int64 }

var nothing = span{first: 1<<63 - 1, last: -1 << 63}

func (s *span) include(first, last int64) { s.first, s.last = min(s.first, first), max(s.last, last) }

func (s span) has(ms int64) bool { return s.first <= ms && ms <= s.last }

// A posted is one Activation or Line on its way into a block.
type posted struct {
	ref        rouse.Ref
	at         int64 // milliseconds: the id's of an Activation, the Line's own
	ns         int64 // a Line's time
	id         id
	activation *rouse.Activation
	line       *rouse.Line
}

// A packer makes blocks of what is posted. It is used for one posting at a
// time, and its blocks live until the next.
type packer struct {
	items   []posted
	blocks  []block
	payload []byte
	scratch []byte
	ids     []id
	as      []*rouse.Activation
	ls      []*rouse.Line
	lag     int64 // the most that an Activation was started after its id was made, milliseconds
	lead    int64 // and before
}

// forget lets go of what was posted, which p would otherwise keep alive.
func (p *packer) forget() {
	clear(p.items[:cap(p.items)])
	clear(p.as[:cap(p.as)])
	clear(p.ls[:cap(p.ls)])
}

func (p *packer) pack(as []rouse.Activation, ls []rouse.Line) error {
	p.blocks, p.lag, p.lead = p.blocks[:0], 0, 0
	p.items = p.items[:0]
	for i := range as {
		a := &as[i]
		d, ok := parseID(a.ID)
		if !ok || a.Status > 62 {
			return rouse.Errorf(rouse.Invalid, "post", a.ID, "an activation has an id of 32 lowercase hex digits and a known status")
		}
		at := d.ms()
		if !a.Started.IsZero() {
			behind := a.Started.UnixMilli() - at
			p.lag, p.lead = max(p.lag, behind), max(p.lead, -behind)
		}
		p.items = append(p.items, posted{ref: a.Function, at: at, id: d, activation: a})
	}
	p.cut(activations)
	p.items = p.items[:0]
	for i := range ls {
		l := &ls[i]
		d, ok := parseID(l.Activation)
		if !ok && l.Activation != "" {
			return rouse.Errorf(rouse.Invalid, "post", l.Activation, "a line's activation has an id of 32 lowercase hex digits or none")
		}
		p.items = append(p.items, posted{ref: l.Function, at: l.Time.UnixMilli(), ns: l.Time.UnixNano(), id: d, line: l})
	}
	p.cut(lines)
	return nil
}

// order puts together what shares a block and, in it, a part.
func order(a, b posted) int {
	if c := strings.Compare(string(a.ref.Namespace), string(b.ref.Namespace)); c != 0 {
		return c
	}
	if c := cmp.Compare(a.at/window, b.at/window); c != 0 {
		return c
	}
	if c := strings.Compare(a.ref.Name, b.ref.Name); c != 0 {
		return c
	}
	if a.line != nil {
		return cmp.Compare(a.ns, b.ns)
	}
	return a.id.compare(b.id)
}

// cut turns p.items into blocks.
func (p *packer) cut(kind int) {
	if !slices.IsSortedFunc(p.items, order) {
		slices.SortStableFunc(p.items, order)
	}
	var b *block
	for items := p.items; len(items) > 0; {
		n := together(items)
		head := items[0]
		if b == nil || b.namespace != head.ref.Namespace || b.span.first/window != head.at/window || len(b.body) >= blockSize {
			b = p.begin(kind, head.ref.Namespace)
		}
		p.add(b, items[:n])
		items = items[n:]
	}
}

func (p *packer) begin(kind int, ns rouse.Namespace) *block {
	n := len(p.blocks)
	if n < cap(p.blocks) {
		p.blocks = p.blocks[:n+1]
	} else {
		p.blocks = append(p.blocks, block{})
	}
	b := &p.blocks[n]
	*b = block{kind: kind, namespace: ns, span: nothing, of: nothing, body: b.body[:0], parts: b.parts[:0]}
	return b
}

// together says how many of items make the next part.
func together(items []posted) int {
	size := 0
	for i, it := range items {
		if i > 0 && (size >= blockSize || it.ref != items[0].ref || it.at/window != items[0].at/window) {
			return i
		}
		if a := it.activation; a != nil {
			size += 48 + len(a.Result) + len(a.Cause)
			if a.Failure != nil {
				size += len(a.Failure.Message) + len(a.Failure.Stack)
			}
		} else {
			size += 8 + len(it.line.Text)
		}
	}
	return len(items)
}

// add appends a part of items, which are of one function.
func (p *packer) add(b *block, items []posted) {
	pt := part{name: items[0].ref.Name, start: len(b.body)}
	p.ids, p.as, p.ls = p.ids[:0], p.as[:0], p.ls[:0]
	span := nothing
	for _, it := range items {
		span.include(it.at, it.at)
		p.ids = append(p.ids, it.id)
		if it.activation != nil {
			pt.statuses |= 1 << it.activation.Status
			p.as = append(p.as, it.activation)
			continue
		}
		p.ls = append(p.ls, it.line)
		if it.line.Activation != "" {
			b.of.include(it.id.ms(), it.id.ms())
		}
	}
	if b.kind == activations {
		p.payload, p.scratch = appendActivations(p.payload[:0], pt.name, p.ids, p.as, p.scratch)
	} else {
		p.payload = appendLines(p.payload[:0], p.ls, p.ids)
	}
	b.body = appendFrame(b.body, p.payload)
	pt.last, pt.length = span.last, len(b.body)-pt.start
	b.span.include(span.first, span.last)
	b.statuses |= pt.statuses
	b.parts = append(b.parts, pt)
}
