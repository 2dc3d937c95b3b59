package block

import (
	"encoding/binary"
	"time"

	"github.com/rouse-run/rouse"
)

// A lines payload is one function's, in the order of their times:
//
//	version  the first time, in nanoseconds  the function's name
//	how many activations  each: its id, 16 bytes
//	how many lines  each: nanoseconds since the one before, stream (1 byte),
//	  the activation's place among them from 1 or 0 for none, text
func appendLines(b []byte, ls []*rouse.Line, ids []id) []byte {
	b = append(b, codecVersion)
	last := ls[0].Time.UnixNano()
	b = binary.AppendVarint(b, last)
	b = appendText(b, ls[0].Function.Name)
	places := make(map[id]uint64, 8)
	var distinct []id
	for i, l := range ls {
		if l.Activation != "" && places[ids[i]] == 0 {
			distinct = append(distinct, ids[i])
			places[ids[i]] = uint64(len(distinct))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(distinct)))
	for _, d := range distinct {
		b = append(b, d[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(ls)))
	for i, l := range ls {
		ns := l.Time.UnixNano()
		b = binary.AppendUvarint(b, uint64(ns-last))
		last = ns
		b = append(b, byte(l.Stream))
		if l.Activation == "" {
			b = append(b, 0)
		} else {
			b = binary.AppendUvarint(b, places[ids[i]])
		}
		b = appendText(b, l.Text)
	}
	return b
}

// readLines calls each for every Line of a payload, oldest first.
func readLines(payload []byte, ns rouse.Namespace, each func(rouse.Line)) error {
	r := reader{b: payload}
	if version := r.byte(); version != codecVersion {
		return errMalformed
	}
	at := r.varint()
	function := rouse.Ref{Namespace: ns, Name: string(r.text())}
	activations := []string{""}
	for range r.count() {
		var d id
		copy(d[:], r.take(16))
		if r.bad {
			return errMalformed
		}
		activations = append(activations, d.String())
	}
	for range r.count() {
		at += int64(r.uvarint())
		l := rouse.Line{Function: function, Time: time.Unix(0, at).UTC(), Stream: rouse.Stream(r.byte())}
		place := r.uvarint()
		l.Text = string(r.text())
		if r.bad || place >= uint64(len(activations)) {
			return errMalformed
		}
		l.Activation = activations[place]
		each(l)
	}
	if r.bad || len(r.b) > 0 {
		return errMalformed
	}
	return nil
}
