package block

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

func sample() ([]rouse.Activation, []rouse.Line) {
	start := time.UnixMilli(1_772_600_767_123).UTC()
	as := []rouse.Activation{
		{ID: "019cb7a5d293" + "7abc8123456789abcdef", Function: rouse.Ref{Namespace: "n", Name: "f"}},
		{ID: "019cb7a5d294" + "7abc8123456789abcdef", Function: rouse.Ref{Namespace: "n", Name: "f"}, Version: -1, Cause: "c", Rule: "r", Hops: 2, Attempt: 3,
			Status: rouse.StatusFailed, Cold: true, Started: start.Add(-time.Hour), Queued: 1, Init: math.MaxInt64, Run: -5, Memory: math.MinInt64,
			GBSeconds: math.SmallestNonzeroFloat64, Result: []byte{}, ContentType: "a/b", Digest: "d", Size: 9, Maker: "m", Again: true,
			Failure: &rouse.Failure{Type: "T", Message: "M", Stack: "S"}, Notes: rouse.Notes{"a": json.RawMessage(`{"x":1}`), "b": json.RawMessage(`2`)}},
		{ID: "019cb7a5d294" + "7abc8123456789abcdf0", Function: rouse.Ref{Namespace: "n", Name: "f"}, Notes: rouse.Notes{"b": json.RawMessage(`3`)}},
		{ID: "019cb7a5d294" + "7abc8123456789abcdf1", Function: rouse.Ref{Namespace: "n", Name: "f"}, Notes: rouse.Notes{"b": json.RawMessage(`3`)}},
	}
	ls := []rouse.Line{
		{Function: as[0].Function, Time: start, Stream: rouse.Stdout, Text: "a"},
		{Function: as[0].Function, Activation: as[1].ID, Time: start.Add(1), Stream: rouse.Stderr, Text: strings.Repeat("x", 300)},
		{Function: as[0].Function, Activation: as[0].ID, Time: start.Add(1), Stream: rouse.Platform},
		{Function: as[0].Function, Activation: as[1].ID, Time: start.Add(9), Stream: rouse.Platform},
	}
	return as, ls
}

// packed are the bodies that a posting makes, by kind.
func packed(t testing.TB, as []rouse.Activation, ls []rouse.Line) (bodies [2][]byte) {
	p := &Packer{}
	if err := p.Pack(as, ls); err != nil {
		t.Fatal(err)
	}
	for _, b := range p.Blocks {
		bodies[b.Kind] = append(bodies[b.Kind], b.Body...)
	}
	return bodies
}

func TestRecordsComeBackFromTheirBytes(t *testing.T) {
	as, ls := sample()
	bodies := packed(t, as, ls)
	run, err := loadActivations("x", Row{Body: bodies[OfActivations]}, "n", anyStatus, func(stored) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	var got []rouse.Activation
	for _, s := range run {
		a, err := s.activation()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a)
	}
	if diff := cmp.Diff(as, got); diff != "" {
		t.Errorf("activations (-want +got):\n%s", diff)
	}
	printed, err := loadLines(0, "x", Row{Body: bodies[OfLines]}, "n", func(rouse.Line) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	var back []rouse.Line
	for _, l := range printed {
		back = append(back, l.line)
	}
	if diff := cmp.Diff(ls, back); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// Any single bit that is wrong is noticed, and no other function's part is lost
// to one that is wrong within a payload.
func TestEveryFlippedBitOfABlockIsNoticed(t *testing.T) {
	as, _ := sample()
	as[1].Function.Name = "g"
	body := packed(t, as, nil)[OfActivations]
	for i := range body {
		for bit := range 8 {
			body[i] ^= 1 << bit
			run, err := loadActivations("x", Row{Body: body}, "n", anyStatus, func(stored) bool { return true })
			if err == nil || rouse.KindOf(err) != rouse.Internal {
				t.Fatalf("bit %d of byte %d: error %v with %d read", bit, i, err, len(run))
			}
			for _, s := range run {
				if name := s.function.Name; name != "f" && name != "g" {
					t.Fatalf("bit %d of byte %d: function %q", bit, i, name)
				}
			}
			if payload, rest, _ := cutFrame(packed(t, as, nil)[OfActivations]); i > 5 && i < len(payload) && len(rest) > 0 && len(run) != 1 {
				t.Fatalf("bit %d of byte %d: %d are read, want the neighbour", bit, i, len(run))
			}
			body[i] ^= 1 << bit
		}
	}
}

func FuzzReadRecords(f *testing.F) {
	as, ls := sample()
	for _, body := range packed(f, as, ls) {
		f.Add(body)
		payload, _, _ := cutFrame(body)
		f.Add(payload)
	}
	f.Add([]byte{codecVersion, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{codecVersion, 0, 1, 'f', 2, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{codecNotes, 0, 1, 'f', 2, 0xff, 0x0f, 1, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum keeps most bytes from the decoders: these go past it.
		_ = readActivations(b, "n", anyStatus, func(s stored) {
			if a, err := s.activation(); err == nil && len(a.ID) != 32 {
				t.Errorf("id %q", a.ID)
			}
		})
		n := 0
		_ = readLines(b, "n", func(rouse.Line) { n++ })
		if n > len(b) {
			t.Errorf("%d lines of %d bytes", n, len(b))
		}
		_, _ = loadActivations("x", Row{Body: b}, "n", anyStatus, func(stored) bool { return true })
	})
}

func FuzzActivationRoundTrip(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint8(1), int64(5), int64(-7), 0.5, []byte("{}"), "name", "text")
	f.Add(uint64(math.MaxUint64), uint64(0), uint8(62), int64(math.MaxInt64), int64(math.MinInt64), math.Inf(1), []byte(nil), "", "\xff")
	f.Fuzz(func(t *testing.T, high, low uint64, status uint8, a, b int64, g float64, result []byte, name, text string) {
		var d id
		for i := range 8 {
			d[i], d[8+i] = byte(high>>(8*i)), byte(low>>(8*i))
		}
		if g != g {
			g = 0
		}
		want := rouse.Activation{ID: d.String(), Function: rouse.Ref{Namespace: "n", Name: name}, Status: rouse.Status(status % 63),
			Version: int(a), Cause: text, Rule: name, Hops: int(a), Attempt: int(b), Cold: a < b, Queued: rouse.Duration(b), Init: rouse.Duration(a), Run: rouse.Duration(b),
			Memory: a, GBSeconds: g, Result: result, ContentType: name, Digest: rouse.Digest(text), Size: b}
		if b > 0 {
			want.Notes = rouse.Notes{name: append(json.RawMessage{}, text...)}
		}
		if a > 0 {
			want.Failure = &rouse.Failure{Type: name, Message: text, Stack: text}
			want.Started = time.Unix(0, b).UTC()
		}
		n := 0
		run, err := loadActivations("x", Row{Body: packed(t, []rouse.Activation{want}, nil)[OfActivations]}, "n", anyStatus, func(stored) bool { n++; return true })
		if err != nil || n != 1 {
			t.Fatalf("%d read, %v", n, err)
		}
		got, err := run[0].activation()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	})
}
