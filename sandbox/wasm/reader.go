package wasm

import (
	"errors"
	"fmt"
)

// A reader walks the bytes of a module. After the first error it reads zeros.
type reader struct {
	b   []byte
	at  int
	err error
}

var errEnds = errors.New("it ends in the middle")

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
		r.at = len(r.b)
	}
}

func (r *reader) more() bool { return r.err == nil && r.at < len(r.b) }

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.fail(errEnds)
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b)-r.at {
		r.fail(errEnds)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

// u32 reads an unsigned LEB128 number of at most five bytes.
func (r *reader) u32() uint32 {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if n > 1<<32-1 {
				break
			}
			return uint32(n)
		}
	}
	r.fail(errors.New("a number is too long"))
	return 0
}

// skipLEB passes a LEB128 number of at most ten bytes, signed or not.
func (r *reader) skipLEB() {
	for range 10 {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(errors.New("a number is too long"))
}

// count reads how many items follow, each of at least one byte.
func (r *reader) count() int {
	n := r.u32()
	if int64(n) > int64(len(r.b)-r.at) {
		r.fail(errEnds)
		return 0
	}
	return int(n)
}

// sized reads a length and so many bytes.
func (r *reader) sized() []byte { return r.take(r.count()) }

func appendU32(b []byte, n uint32) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func appendS32(b []byte, n int32) []byte {
	for n < -64 || n > 63 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n)&0x7f)
}

func appendSized(b, part []byte) []byte {
	return append(appendU32(b, uint32(len(part))), part...)
}

// An operand says what has to be known of an instruction.
type operand uint8

const (
	plain  operand = iota
	block          // opens a block
	loop           // opens a loop
	end            // closes what was opened last
	call           // may enter a function
	direct         // has a function's index as operand
	global         // has a global's index as operand
	leave          // returns from the function
	bulk           // works on as many items as the top of the stack says
)

// instruction passes one instruction. Where its operand is an index, that begins
// at the byte "from". WebAssembly Core 2.0, section 5.4.
func (r *reader) instruction() (kind operand, index uint32, from int) {
	switch op := r.byte(); {
	case op == 0x02, op == 0x04: // block, if
		r.skipLEB()
		return block, 0, 0
	case op == 0x03:
		r.skipLEB()
		return loop, 0, 0
	case op == 0x0b:
		return end, 0, 0
	case op == 0x0f: // return
		return leave, 0, 0
	case op == 0x10, op == 0xd2: // call, ref.func
		from = r.at
		return direct, r.u32(), from
	case op == 0x23, op == 0x24: // global.get, global.set
		from = r.at
		return global, r.u32(), from
	case op == 0x11: // call_indirect
		r.u32()
		r.u32()
		return call, 0, 0
	case op == 0x0c, op == 0x0d, op >= 0x20 && op <= 0x26, op == 0x3f, op == 0x40:
		r.u32()
	case op == 0x0e: // br_table
		for range r.count() + 1 {
			r.u32()
		}
	case op == 0x1c: // select with types
		r.sized()
	case op >= 0x28 && op <= 0x3e: // loads and stores
		r.u32()
		r.u32()
	case op == 0x41, op == 0x42, op == 0xd0: // integers, ref.null
		r.skipLEB()
	case op == 0x43:
		r.take(4)
	case op == 0x44:
		r.take(8)
	case op == 0xfc:
		return r.misc(), 0, 0
	case op == 0xfd:
		r.vector()
	case op <= 0x01, op == 0x05, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	default:
		r.fail(fmt.Errorf("it uses instruction 0x%02x, which is not in WebAssembly 2.0", op))
	}
	return plain, 0, 0
}

func (r *reader) misc() operand {
	switch op := r.u32(); op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating truncation
	case 9, 13, 16: // data.drop, elem.drop, table.size
		r.u32()
	case 8, 10, 12, 14: // memory.init, memory.copy, table.init, table.copy
		r.u32()
		r.u32()
		return bulk
	case 11, 15, 17: // memory.fill, table.grow, table.fill
		r.u32()
		return bulk
	default:
		r.fail(fmt.Errorf("it uses instruction 0xfc %d, which is not in WebAssembly 2.0", op))
	}
	return plain
}

func (r *reader) vector() {
	switch op := r.u32(); {
	case op <= 11, op == 92, op == 93: // loads and stores
		r.u32()
		r.u32()
	case op == 12, op == 13: // v128.const, i8x16.shuffle
		r.take(16)
	case op >= 21 && op <= 34: // lanes
		r.byte()
	case op >= 84 && op <= 91: // loads and stores of a lane
		r.u32()
		r.u32()
		r.byte()
	case op > 255:
		r.fail(fmt.Errorf("it uses instruction 0xfd %d, which is not in WebAssembly 2.0", op))
	}
}
