package block

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
)

const (
	// Window is how many milliseconds a block spans at most; its edges are
	// multiples of it.
	Window = 1000

	blockSize = 64 << 10 // bytes after which a block is full
)

// A Kind is what a block holds.
type Kind int

// The Kinds.
const (
	OfActivations Kind = iota
	OfLines
)

// A Block is what one posting has of one namespace and one second: a part for
// each function, one after the other.
type Block struct {
	Kind      Kind
	Namespace rouse.Namespace
	Span      Span  // of its ids or its lines
	Statuses  int64 // a bit for each
	Of        Span  // of the activations that its lines name
	Body      []byte
	Parts     []Part
}

// A Part is one function's frame within the body of a Block.
type Part struct {
	Name     string
	Last     int64 // milliseconds
	Statuses int64 // a bit for each
	Start    int   // in the body
	Length   int
}

// A Span is from one millisecond to another, both included; it is empty where
// First > Last.
type Span struct{ First, Last int64 }

// Nothing is a Span that is empty and may be widened.
var Nothing = Span{First: 1<<63 - 1, Last: -1 << 63}

// Include widens s.
func (s *Span) Include(first, last int64) { s.First, s.Last = min(s.First, first), max(s.Last, last) }

func (s Span) has(ms int64) bool { return s.First <= ms && ms <= s.Last }

// EndOfWindow is the last millisecond that a block with ms in it can have.
func EndOfWindow(ms int64) int64 { return ms - ms%Window + Window - 1 }

// A posted is one Activation or Line on its way into a block.
type posted struct {
	ref        rouse.Ref
	at         int64 // milliseconds: the id's of an Activation, the Line's own
	ns         int64 // a Line's time
	id         id
	activation *rouse.Activation
	line       *rouse.Line
}

// A Packer makes Blocks of what is posted. It is used for one posting at a
// time, and its Blocks live until the next.
type Packer struct {
	Blocks []Block
	Lag    int64 // the most that an Activation was started after its id was made, milliseconds
	Lead   int64 // and before

	items   []posted
	payload []byte
	scratch []byte
	ids     []id
	as      []*rouse.Activation
	ls      []*rouse.Line
}

// Forget lets go of what was posted, which p would otherwise keep alive.
func (p *Packer) Forget() {
	clear(p.items[:cap(p.items)])
	clear(p.as[:cap(p.as)])
	clear(p.ls[:cap(p.ls)])
}

// Pack makes the Blocks of one posting, without what no block can hold: that is
// not to take the others along. Errors: Invalid for the first of those, beside
// the Blocks of the others.
func (p *Packer) Pack(as []rouse.Activation, ls []rouse.Line) (refused error) {
	p.Blocks, p.Lag, p.Lead = p.Blocks[:0], 0, 0
	p.items = p.items[:0]
	for i := range as {
		a := &as[i]
		d, ok := parseID(a.ID)
		if !ok || a.Status > 62 {
			refused = cmp.Or(refused, error(rouse.Errorf(rouse.Invalid, "post", a.ID, "an activation has an id of 32 lowercase hex digits and a known status")))
			continue
		}
		at := d.ms()
		if !a.Started.IsZero() {
			behind := a.Started.UnixMilli() - at
			p.Lag, p.Lead = max(p.Lag, behind), max(p.Lead, -behind)
		}
		p.items = append(p.items, posted{ref: a.Function, at: at, id: d, activation: a})
	}
	p.cut(OfActivations)
	p.items = p.items[:0]
	for i := range ls {
		l := &ls[i]
		d, ok := parseID(l.Activation)
		if !ok && l.Activation != "" {
			refused = cmp.Or(refused, error(rouse.Errorf(rouse.Invalid, "post", l.Activation, "a line's activation has an id of 32 lowercase hex digits or none")))
			continue
		}
		p.items = append(p.items, posted{ref: l.Function, at: l.Time.UnixMilli(), ns: l.Time.UnixNano(), id: d, line: l})
	}
	p.cut(OfLines)
	return refused
}

// order puts together what shares a block and, in it, a part.
func order(a, b posted) int {
	if c := strings.Compare(string(a.ref.Namespace), string(b.ref.Namespace)); c != 0 {
		return c
	}
	if c := cmp.Compare(a.at/Window, b.at/Window); c != 0 {
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
func (p *Packer) cut(kind Kind) {
	if !slices.IsSortedFunc(p.items, order) {
		slices.SortStableFunc(p.items, order)
	}
	var b *Block
	for items := p.items; len(items) > 0; {
		n := together(items)
		head := items[0]
		if b == nil || b.Namespace != head.ref.Namespace || b.Span.First/Window != head.at/Window || len(b.Body) >= blockSize {
			b = p.begin(kind, head.ref.Namespace)
		}
		p.add(b, items[:n])
		items = items[n:]
	}
}

func (p *Packer) begin(kind Kind, ns rouse.Namespace) *Block {
	n := len(p.Blocks)
	if n < cap(p.Blocks) {
		p.Blocks = p.Blocks[:n+1]
	} else {
		p.Blocks = append(p.Blocks, Block{})
	}
	b := &p.Blocks[n]
	*b = Block{Kind: kind, Namespace: ns, Span: Nothing, Of: Nothing, Body: b.Body[:0], Parts: b.Parts[:0]}
	return b
}

// together says how many of items make the next part.
func together(items []posted) int {
	size := 0
	for i, it := range items {
		if i > 0 && (size >= blockSize || it.ref != items[0].ref || it.at/Window != items[0].at/Window) {
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
func (p *Packer) add(b *Block, items []posted) {
	pt := Part{Name: items[0].ref.Name, Start: len(b.Body)}
	p.ids, p.as, p.ls = p.ids[:0], p.as[:0], p.ls[:0]
	span := Nothing
	for _, it := range items {
		span.Include(it.at, it.at)
		p.ids = append(p.ids, it.id)
		if it.activation != nil {
			pt.Statuses |= 1 << it.activation.Status
			p.as = append(p.as, it.activation)
			continue
		}
		p.ls = append(p.ls, it.line)
		if it.line.Activation != "" {
			b.Of.Include(it.id.ms(), it.id.ms())
		}
	}
	if b.Kind == OfActivations {
		p.payload, p.scratch = appendActivations(p.payload[:0], pt.Name, p.ids, p.as, p.scratch)
	} else {
		p.payload = appendLines(p.payload[:0], p.ls, p.ids)
	}
	b.Body = appendFrame(b.Body, p.payload)
	pt.Last, pt.Length = span.Last, len(b.Body)-pt.Start
	b.Span.Include(span.First, span.Last)
	b.Statuses |= pt.Statuses
	b.Parts = append(b.Parts, pt)
}
