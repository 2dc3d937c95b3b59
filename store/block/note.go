package block

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"github.com/rouse-run/rouse"
)

// sharedNotes are those that a payload has once for all activations with the
// same: the last one's, as a function that was deployed anew goes on as it is.
// Nil is none.
func sharedNotes(as []*rouse.Activation) rouse.Notes {
	if n := as[len(as)-1].Notes; len(n) > 0 {
		return n
	}
	return nil
}

func sameNotes(a, b rouse.Notes) bool {
	return maps.EqualFunc(a, b, func(x, y json.RawMessage) bool { return bytes.Equal(x, y) })
}

// Notes are how many, and then each name and note.
func appendNotes(b []byte, n rouse.Notes) []byte {
	b = binary.AppendUvarint(b, uint64(len(n)))
	if len(n) == 1 { // as mostly, and then there is nothing to sort
		for name, note := range n {
			b = appendText(appendText(b, name), note)
		}
		return b
	}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		b = appendText(appendText(b, name), n[name])
	}
	return b
}

func (r *reader) notes() rouse.Notes {
	n := rouse.Notes{}
	for range r.count() {
		name := string(r.text())
		n[name] = append(json.RawMessage{}, r.text()...)
	}
	return n
}
