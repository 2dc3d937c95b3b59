package block

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/rouse-run/rouse"
)

// The versions of a payload. One of the second has notes that its activations
// share.
const (
	codecVersion = 1
	codecNotes   = 2
)

// The parts of an Activation that most lack; a bit each.
const (
	hasCold = 1 << iota
	hasStarted
	hasCause
	hasAttempt
	hasQueued
	hasInit
	hasMemory
	hasResult
	hasContentType
	hasDigest
	hasSize
	hasFailure
	hasRule
	hasHops
	hasReplayed
	hasNotes       // of its own
	hasSharedNotes // the payload's
	hasMaker
	hasAgain
)

// An activations payload is one function's, in the order of their ids:
//
//	version  the base, in milliseconds  the function's name
//	in the second version, notes that activations share  how many
//	then each: its length, and
//	  status (1 byte)  milliseconds after the base  the id's last 10 bytes
//	  the parts it has  its fields
//
// Numbers are varints. The head of an Activation is enough to pick it.
func appendActivations(b []byte, name string, ids []id, as []*rouse.Activation, scratch []byte) (payload, spare []byte) {
	base, shared := ids[0].ms(), sharedNotes(as)
	if shared == nil {
		b = append(b, codecVersion)
	} else {
		b = append(b, codecNotes)
	}
	b = binary.AppendUvarint(b, uint64(base))
	b = appendText(b, name)
	if shared != nil {
		scratch = appendNotes(scratch[:0], shared)
		b = appendText(b, scratch)
	}
	b = binary.AppendUvarint(b, uint64(len(as)))
	for i, a := range as {
		scratch = appendActivation(scratch[:0], base, ids[i], a, shared)
		b = appendText(b, scratch)
	}
	return b, scratch
}

func appendActivation(b []byte, base int64, d id, a *rouse.Activation, shared rouse.Notes) []byte {
	b = append(b, byte(a.Status))
	b = binary.AppendUvarint(b, uint64(d.ms()-base))
	b = append(b, d[6:]...)
	parts := partsOf(a)
	if parts&hasNotes != 0 && sameNotes(a.Notes, shared) {
		parts ^= hasNotes | hasSharedNotes
	}
	b = binary.AppendUvarint(b, parts)
	if parts&hasStarted != 0 {
		b = binary.AppendVarint(b, a.Started.UnixNano()-d.ms()*int64(time.Millisecond))
	}
	b = binary.AppendVarint(b, int64(a.Version))
	b = binary.AppendVarint(b, int64(a.Run))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(a.GBSeconds))
	if parts&hasCause != 0 {
		b = appendText(b, a.Cause)
	}
	for _, v := range [...]struct {
		part uint64
		v    int64
	}{{hasAttempt, int64(a.Attempt)}, {hasQueued, int64(a.Queued)}, {hasInit, int64(a.Init)}, {hasMemory, a.Memory}, {hasSize, a.Size}, {hasHops, int64(a.Hops)}} {
		if parts&v.part != 0 {
			b = binary.AppendVarint(b, v.v)
		}
	}
	if parts&hasResult != 0 {
		b = appendText(b, a.Result)
	}
	if parts&hasContentType != 0 {
		b = appendText(b, a.ContentType)
	}
	if parts&hasDigest != 0 {
		b = appendText(b, a.Digest)
	}
	if parts&hasFailure != 0 {
		b = appendText(b, a.Failure.Type)
		b = appendText(b, a.Failure.Message)
		b = appendText(b, a.Failure.Stack)
	}
	if parts&hasRule != 0 {
		b = appendText(b, a.Rule)
	}
	if parts&hasMaker != 0 {
		b = appendText(b, a.Maker)
	}
	if parts&hasNotes != 0 {
		b = appendNotes(b, a.Notes)
	}
	return b
}

func partsOf(a *rouse.Activation) (parts uint64) {
	set := func(part uint64, has bool) {
		if has {
			parts |= part
		}
	}
	set(hasCold, a.Cold)
	set(hasStarted, !a.Started.IsZero())
	set(hasCause, a.Cause != "")
	set(hasAttempt, a.Attempt != 0)
	set(hasQueued, a.Queued != 0)
	set(hasInit, a.Init != 0)
	set(hasMemory, a.Memory != 0)
	set(hasResult, a.Result != nil)
	set(hasContentType, a.ContentType != "")
	set(hasDigest, a.Digest != "")
	set(hasSize, a.Size != 0)
	set(hasFailure, a.Failure != nil)
	set(hasRule, a.Rule != "")
	set(hasHops, a.Hops != 0)
	set(hasReplayed, a.Replayed)
	set(hasMaker, a.Maker != "")
	set(hasAgain, a.Again)
	set(hasNotes, len(a.Notes) > 0)
	return parts
}

// A stored is an Activation of which only the head is read.
type stored struct {
	id       id
	function rouse.Ref
	status   rouse.Status
	started  time.Time
	parts    uint64
	rest     []byte // shared with the block, as are the notes
	notes    []byte // the payload's
}

// readActivations calls each for every Activation of a payload that has one of
// statuses, oldest first.
func readActivations(payload []byte, ns rouse.Namespace, statuses int64, each func(stored)) error {
	r := reader{b: payload}
	version := r.byte()
	if version != codecVersion && version != codecNotes {
		return errMalformed
	}
	base, name := int64(r.uvarint()), r.text()
	var notes []byte
	if version == codecNotes {
		notes = r.text()
	}
	var function rouse.Ref
	for range r.count() {
		one := reader{b: r.text()}
		s := stored{status: rouse.Status(one.byte()), notes: notes}
		if !r.bad && statuses&(1<<s.status) == 0 {
			continue
		}
		if function.Name == "" {
			function = rouse.Ref{Namespace: ns, Name: string(name)}
		}
		s.function = function
		binary.BigEndian.PutUint64(s.id[:], uint64(base+int64(one.uvarint()))<<16)
		copy(s.id[6:], one.take(10))
		s.parts = one.uvarint()
		if s.parts&hasStarted != 0 {
			s.started = time.Unix(0, s.id.ms()*int64(time.Millisecond)+one.varint()).UTC()
		}
		s.rest = one.b
		if r.bad || one.bad {
			return errMalformed
		}
		each(s)
	}
	if r.bad || len(r.b) > 0 {
		return errMalformed
	}
	return nil
}

// activation reads what the head leaves out.
func (s stored) activation() (rouse.Activation, error) {
	r := reader{b: s.rest}
	a := rouse.Activation{ID: s.id.String(), Function: s.function, Status: s.status,
		Started: s.started, Cold: s.parts&hasCold != 0, Replayed: s.parts&hasReplayed != 0, Again: s.parts&hasAgain != 0}
	a.Version = int(r.varint())
	a.Run = rouse.Duration(r.varint())
	if b := r.take(8); b != nil {
		a.GBSeconds = math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	if s.parts&hasCause != 0 {
		a.Cause = string(r.text())
	}
	if s.parts&hasAttempt != 0 {
		a.Attempt = int(r.varint())
	}
	if s.parts&hasQueued != 0 {
		a.Queued = rouse.Duration(r.varint())
	}
	if s.parts&hasInit != 0 {
		a.Init = rouse.Duration(r.varint())
	}
	if s.parts&hasMemory != 0 {
		a.Memory = r.varint()
	}
	if s.parts&hasSize != 0 {
		a.Size = r.varint()
	}
	if s.parts&hasHops != 0 {
		a.Hops = int(r.varint())
	}
	if s.parts&hasResult != 0 {
		a.Result = append([]byte{}, r.text()...)
	}
	if s.parts&hasContentType != 0 {
		a.ContentType = string(r.text())
	}
	if s.parts&hasDigest != 0 {
		a.Digest = rouse.Digest(r.text())
	}
	if s.parts&hasFailure != 0 {
		a.Failure = &rouse.Failure{Type: string(r.text()), Message: string(r.text()), Stack: string(r.text())}
	}
	if s.parts&hasRule != 0 {
		a.Rule = string(r.text())
	}
	if s.parts&hasMaker != 0 {
		a.Maker = string(r.text())
	}
	switch {
	case s.parts&hasNotes != 0:
		a.Notes = r.notes()
	case s.parts&hasSharedNotes != 0:
		shared := reader{b: s.notes}
		a.Notes = shared.notes()
		r.bad = r.bad || shared.bad || len(shared.b) > 0
	}
	if r.bad || len(r.b) > 0 {
		return rouse.Activation{}, errMalformed
	}
	return a, nil
}
