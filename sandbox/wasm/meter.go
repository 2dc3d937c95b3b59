package wasm

import (
	"errors"
	"fmt"
	"slices"
)

// Compiled code runs outside of what Go's scheduler can interrupt: a loop would
// hold its core for ever and, with it, the next garbage collection and so the
// whole server. The runtime's own remedy leaves compiled code at every turn of
// every loop, which makes it several times slower, and never looks at functions
// that call themselves. So the module is given a meter before it is compiled: a
// counter that each loop's turn and each function's entry lower by what they
// cost, and a call to the host when it runs out. There Go may interrupt, and the
// host may end the run.
//
// The depth of calls is counted, too. The runtime would let the stack, which is
// the server's memory and no limit's, grow to 400 MB.

const (
	meterModule   = "rouse"
	meterYield    = "yield"
	meterOverflow = "overflow"
	meterImports  = 2

	// slice is how much is run between two calls to the host; one is about an
	// instruction or 64 bytes that are copied. It takes some 0.1 ms.
	slice = 100_000

	// longest is how many instructions without a call or a loop run unmetered.
	longest = 200

	// maxStack bounds the stack, in words of 8 bytes as guessed from the code.
	maxStack = 4 << 20

	// maxTable bounds the elements of each table: they are memory that no limit counts.
	maxTable = 1 << 20
)

// Sections by their numbers. WebAssembly Core 2.0, section 5.5.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	sections
)

// order is how sections follow each other.
var order = []int{secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart, secElement,
	secDataCount, secCode, secData}

// A metered module is one whose runs can be ended.
type metered struct {
	code   []byte
	memory uint64 // bytes it begins with
}

// A meterer rewrites one module.
type meterer struct {
	parts     [sections][]byte
	names     []byte   // of functions, as in the custom section "name"
	params    []int    // of each type
	blocks    [][]byte // how a block with each type's results is written
	functions []uint32 // the types of the module's own functions
	plain     uint32   // the type of the meter's own functions
	imports   uint32   // functions that are imported
	globals   uint32   // all of them
	memory    uint64
}

// meter returns module with a meter. The error says what is wrong with it.
func meter(module []byte) (metered, error) {
	m := &meterer{}
	if err := m.split(module); err != nil {
		return metered{}, err
	}
	steps := []struct {
		section int
		rewrite func(r *reader) []byte
	}{
		{secType, m.types}, {secImport, m.importSection}, {secFunction, m.functionSection}, {secTable, m.tables},
		{secMemory, m.memories}, {secGlobal, m.globalSection}, {secExport, m.exports}, {secStart, m.start},
		{secElement, m.elements}, {secCode, m.code},
	}
	for _, s := range steps {
		part := m.parts[s.section]
		if part == nil {
			if s.section != secType && s.section != secImport && s.section != secGlobal {
				continue
			}
			part = []byte{0} // these three are needed: empty
		}
		r := &reader{b: part}
		out := s.rewrite(r)
		if r.more() {
			r.fail(errors.New("a section is longer than what it holds"))
		}
		if r.err != nil {
			return metered{}, r.err
		}
		m.parts[s.section] = out
	}
	out := slices.Clone(module[:8])
	for _, id := range order {
		if m.parts[id] != nil {
			out = appendSized(append(out, byte(id)), m.parts[id])
		}
	}
	if named := m.nameSection(); named != nil {
		out = appendSized(append(out, secCustom), named)
	}
	return metered{code: out, memory: m.memory}, nil
}

func (m *meterer) split(module []byte) error {
	if len(module) < 8 || string(module[:4]) != "\x00asm" {
		return errors.New("it is not a WebAssembly module")
	}
	if string(module[4:8]) != "\x01\x00\x00\x00" {
		return errors.New("it is not a core module of version 1: build for wasip1 (WASI preview 1), not as a component")
	}
	r := &reader{b: module, at: 8}
	for r.more() {
		id, part := r.byte(), r.sized()
		switch {
		case r.err != nil:
		case id == secCustom:
			// Debugging data would tell wrong places in the rewritten code; names stay right.
			if c := (&reader{b: part}); string(c.sized()) == "name" && c.err == nil {
				m.names = c.b[c.at:]
			}
		case id >= sections || m.parts[id] != nil:
			r.fail(fmt.Errorf("section %d is unknown or there twice", id))
		default:
			m.parts[id] = part
		}
	}
	return r.err
}

// function is where function i is after the meter's were imported.
func (m *meterer) function(i uint32) uint32 {
	if i >= m.imports {
		return i + meterImports
	}
	return i
}

// types adds a type without parameters for each that has several results, for
// blocks, and that of the meter's functions at the end.
func (m *meterer) types(r *reader) []byte {
	n := r.count()
	same, more, added := r.b[r.at:], []byte(nil), n
	for range n {
		if form := r.byte(); form != 0x60 {
			r.fail(fmt.Errorf("type 0x%02x is not in WebAssembly 2.0", form))
		}
		m.params = append(m.params, len(r.sized()))
		switch results := r.sized(); len(results) {
		case 0:
			m.blocks = append(m.blocks, []byte{0x40})
		case 1:
			m.blocks = append(m.blocks, results)
		default:
			m.blocks = append(m.blocks, appendS32(nil, int32(added)))
			more = appendSized(append(more, 0x60, 0), results)
			added++
		}
	}
	m.plain = uint32(added)
	return append(append(append(appendU32(nil, uint32(added+1)), same...), more...), 0x60, 0, 0)
}

func (m *meterer) importSection(r *reader) []byte {
	n := r.count()
	out := append(appendU32(nil, uint32(n+meterImports)), r.b[r.at:]...)
	for range n {
		r.sized()
		r.sized()
		switch kind := r.byte(); kind {
		case 0:
			r.u32()
			m.imports++
		case 1:
			r.byte()
			limits(r)
		case 2:
			limits(r)
		case 3:
			r.byte()
			r.byte()
			m.globals++
		default:
			r.fail(fmt.Errorf("import of kind %d is not in WebAssembly 2.0", kind))
		}
	}
	for _, name := range []string{meterYield, meterOverflow} {
		out = appendSized(appendSized(out, []byte(meterModule)), []byte(name))
		out = appendU32(append(out, 0), m.plain)
	}
	return out
}

func limits(r *reader) (least uint32, most uint32, bounded bool) {
	flag := r.byte()
	least = r.u32()
	if flag == 1 {
		most = r.u32()
	} else if flag != 0 {
		r.fail(errors.New("its memory or a table is shared or has 64-bit indices, which is not in WebAssembly 2.0"))
	}
	return least, most, flag == 1
}

func (m *meterer) functionSection(r *reader) []byte {
	for range r.count() {
		m.functions = append(m.functions, r.u32())
	}
	return r.b
}

func (m *meterer) tables(r *reader) []byte {
	n := r.count()
	out := appendU32(nil, uint32(n))
	for range n {
		out = append(out, r.byte(), 1)
		least, most, bounded := limits(r)
		if least > maxTable {
			r.fail(fmt.Errorf("a table of %d elements is larger than the %d allowed", least, maxTable))
		}
		if !bounded || most > maxTable {
			most = maxTable
		}
		out = appendU32(appendU32(out, least), most)
	}
	return out
}

func (m *meterer) memories(r *reader) []byte {
	for range r.count() {
		least, _, _ := limits(r)
		m.memory += uint64(least) * pageSize
	}
	return r.b
}

// globalSection adds the meter and the depth as last globals, so that the others
// keep their places.
func (m *meterer) globalSection(r *reader) []byte {
	n := r.count()
	out := appendU32(nil, uint32(n+2))
	for range n {
		out = append(out, r.byte(), r.byte())
		out = m.constant(out, r)
	}
	m.globals += uint32(n)
	out = appendS32(append(out, 0x7f, 1, 0x41), slice)
	return append(out, 0x0b, 0x7f, 1, 0x41, 0, 0x0b)
}

// constant copies an expression.
func (m *meterer) constant(out []byte, r *reader) []byte {
	for r.err == nil {
		begin := r.at
		kind, f, from := r.instruction()
		switch kind {
		case direct:
			out = appendU32(append(out, r.b[begin:from]...), m.function(f))
		case end:
			return append(out, 0x0b)
		default:
			out = append(out, r.b[begin:r.at]...)
		}
	}
	return out
}

func (m *meterer) exports(r *reader) []byte {
	n := r.count()
	out := appendU32(nil, uint32(n))
	for range n {
		out = appendSized(out, r.sized())
		kind, i := r.byte(), r.u32()
		if kind == 0 {
			i = m.function(i)
		}
		out = appendU32(append(out, kind), i)
	}
	return out
}

func (m *meterer) start(r *reader) []byte { return appendU32(nil, m.function(r.u32())) }

func (m *meterer) elements(r *reader) []byte {
	n := r.count()
	out := appendU32(nil, uint32(n))
	for range n {
		flag := r.u32()
		if flag > 7 {
			r.fail(fmt.Errorf("element segment of kind %d is not in WebAssembly 2.0", flag))
		}
		out = appendU32(out, flag)
		if flag&1 == 0 { // active
			if flag&2 != 0 {
				out = appendU32(out, r.u32())
			}
			out = m.constant(out, r)
		}
		if flag&3 != 0 {
			out = append(out, r.byte())
		}
		items := r.count()
		out = appendU32(out, uint32(items))
		for range items {
			if flag&4 != 0 {
				out = m.constant(out, r)
			} else {
				out = appendU32(out, m.function(r.u32()))
			}
		}
	}
	return out
}

func (m *meterer) nameSection() []byte {
	r := &reader{b: m.names}
	for r.more() {
		id, part := r.byte(), r.sized()
		if id != 1 {
			continue
		}
		p := &reader{b: part}
		n := p.count()
		out := appendU32([]byte{}, uint32(n))
		for range n {
			i := p.u32()
			out = appendSized(appendU32(out, m.function(i)), p.sized())
		}
		if p.err == nil && r.err == nil {
			return appendSized(append(appendSized(nil, []byte("name")), 1), out)
		}
	}
	return nil // names are a comfort only
}

func (m *meterer) code(r *reader) []byte {
	n := r.count()
	if n != len(m.functions) {
		r.fail(errors.New("functions are declared without code"))
		return nil
	}
	out := appendU32(make([]byte, 0, len(r.b)*5/4), uint32(n))
	for _, t := range m.functions {
		if int(t) >= len(m.params) {
			r.fail(errors.New("a function has no type"))
			return nil
		}
		b := &reader{b: r.sized()}
		body := m.body(b, t)
		if r.err == nil && b.err != nil {
			r.fail(b.err)
		}
		if r.err != nil {
			return nil
		}
		out = appendSized(out, body)
	}
	return out
}

// An edit replaces the bytes from "from" to "to".
type edit struct {
	from, to int
	by       []byte
	leaves   bool // it is a return, to be replaced where depth is counted
}

func (m *meterer) body(r *reader, t uint32) []byte {
	local := uint32(m.params[t])
	groups := r.count()
	declared := r.at
	for range groups {
		n := r.u32()
		r.byte()
		if n > 50_000 || local+n > 100_000 {
			r.fail(errors.New("a function has more than 50,000 locals"))
		}
		local += n
	}
	first := r.at
	edits, cost, calls := m.edits(r, local)
	if r.err != nil {
		return nil
	}
	// The meter needs a local of its own: one more group, after the others.
	out := appendU32(make([]byte, 0, len(r.b)+64), uint32(groups+1))
	out = append(out, r.b[declared:first]...)
	out = append(out, 1, 0x7f)
	frame := int32(8 + local + uint32(cost)/8)
	if calls {
		// A function that calls none needs no counting: it is no deeper than its caller.
		out = append(m.deepen(out, local, frame), 0x02) // block
		out = append(out, m.blocks[t]...)
	}
	if calls || cost > longest {
		out = m.charge(out, local, int32(cost))
	}
	at := first
	for _, e := range edits {
		if e.leaves && !calls {
			continue
		}
		out = append(out, r.b[at:e.from]...)
		out = append(out, e.by...)
		at = e.to
	}
	out = append(out, r.b[at:]...)
	if calls {
		out = appendU32(append(out, 0x23), m.globals+1)       // global.get
		out = appendS32(append(out, 0x41), frame)             // i32.const
		out = appendU32(append(out, 0x6b, 0x24), m.globals+1) // i32.sub, global.set
		out = append(out, 0x0b)
	}
	return out
}

// deepen counts a function's frame, which the end of its body takes back, and
// calls the host where the stack is too deep.
func (m *meterer) deepen(out []byte, local uint32, frame int32) []byte {
	out = appendU32(append(out, 0x23), m.globals+1)                   // global.get
	out = appendS32(append(out, 0x41), frame)                         // i32.const
	out = appendU32(append(out, 0x6a, 0x22), local)                   // i32.add, local.tee
	out = appendU32(append(out, 0x24), m.globals+1)                   // global.set
	out = appendU32(append(out, 0x20), local)                         // local.get
	out = appendS32(append(out, 0x41), maxStack)                      // i32.const
	out = appendU32(append(out, 0x4a, 0x04, 0x40, 0x10), m.imports+1) // i32.gt_s, if, call: it does not return
	return append(out, 0x0b)
}

// edits walks the instructions of a function and returns what to change, how
// many there are and whether they call functions.
func (m *meterer) edits(r *reader, local uint32) (edits []edit, cost int, calls bool) {
	type opened struct {
		edit int // the loop's; -1 is none
		cost int // before it
	}
	var open []opened
	for r.err == nil {
		begin := r.at
		kind, f, from := r.instruction()
		cost++
		switch kind {
		case block:
			open = append(open, opened{edit: -1})
		case loop:
			open = append(open, opened{edit: len(edits), cost: cost})
			edits = append(edits, edit{from: r.at, to: r.at})
		case end:
			if len(open) == 0 {
				if r.more() {
					r.fail(errors.New("code follows a function's end"))
				}
				return edits, cost, calls
			}
			o := open[len(open)-1]
			open = open[:len(open)-1]
			if o.edit >= 0 {
				edits[o.edit].by = m.charge(nil, local, int32(cost-o.cost))
			}
		case call:
			calls = true
		case leave: // to the end of the block around the body
			edits = append(edits, edit{from: begin, to: r.at, by: appendU32([]byte{0x0c}, uint32(len(open))), leaves: true})
		case direct:
			calls = true
			edits = append(edits, edit{from: from, to: r.at, by: appendU32(nil, m.function(f))})
		case global:
			// Else code could wind up its own meter, whose global is the next one.
			if f >= m.globals {
				r.fail(errors.New("it uses a global that it has not"))
			}
		case bulk:
			edits = append(edits, edit{from: begin, to: begin, by: m.chargeBulk(local)})
		}
	}
	return nil, 0, false
}

// charge lowers the meter by a constant.
func (m *meterer) charge(out []byte, local uint32, cost int32) []byte {
	out = appendU32(append(out, 0x23), m.globals) // global.get
	out = appendS32(append(out, 0x41), cost)      // i32.const
	return m.settle(append(out, 0x6b), local)     // i32.sub
}

// chargeBulk lowers the meter by a 64th of the top of the stack, which stays.
// That is less than half of what the meter can go below zero.
func (m *meterer) chargeBulk(local uint32) []byte {
	out := appendU32([]byte{0x22}, local)         // local.tee
	out = appendU32(append(out, 0x23), m.globals) // global.get
	out = appendU32(append(out, 0x20), local)     // local.get
	out = append(out, 0x41, 6, 0x76, 0x6b)        // i32.const 6, i32.shr_u, i32.sub
	// The local is needed by settle: its value is saved on the stack already.
	return m.settle(out, local)
}

// settle stores the meter and lets the host have its turn where it ran out.
func (m *meterer) settle(out []byte, local uint32) []byte {
	out = appendU32(append(out, 0x22), local)     // local.tee
	out = appendU32(append(out, 0x24), m.globals) // global.set
	out = appendU32(append(out, 0x20), local)     // local.get
	out = append(out, 0x41, 0, 0x48, 0x04, 0x40)  // i32.const 0, i32.lt_s, if
	out = appendU32(append(out, 0x10), m.imports) // call: the first that the meter imports
	out = appendS32(append(out, 0x41), slice)     // i32.const
	out = appendU32(append(out, 0x24), m.globals) // global.set
	return append(out, 0x0b)                      // end
}
