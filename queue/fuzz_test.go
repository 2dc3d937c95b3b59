package queue

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

func FuzzDecode(f *testing.F) {
	f.Add(content{body: []byte("b"), attributes: map[string]string{"k": "v"}, group: "g", dedup: "d", origin: &data.Origin{Queue: jobs, ID: 7, Count: 3}}.encode())
	f.Add(content{body: []byte("b")}.encode())
	f.Add(state{epoch: 1, count: 2, sent: 3, first: 4, expires: 5}.encode(false))
	f.Add(state{epoch: 1, count: 2, held: true}.encode(false))
	f.Add(state{epoch: -1, group: groupOf("g")}.encode(true))
	f.Add(dead{sent: 1, buried: 2, count: 3, damaged: true, reason: "why", content: []byte{0}}.encode())
	f.Add(slot{1, 2, 3, 4, 5}.encode())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeState(b); err == nil && !bytes.Equal(s.encode(len(b) >= 52), b) {
			t.Errorf("state %x is written again as %x", b, s.encode(len(b) >= 52))
		}
		if s, err := decodeSlot(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Errorf("slot %x is written again as %x", b, s.encode())
		}
		if d, err := decodeDead(b); err == nil {
			again, err := decodeDead(d.encode())
			if diff := cmp.Diff(d, again, cmp.AllowUnexported(dead{})); diff != "" || err != nil {
				t.Errorf("dead %x: %v\n%s", b, err, diff)
			}
			letter(1, b)
		}
		if c, err := decodeContent(b); err == nil {
			again, err := decodeContent(c.encode())
			if diff := cmp.Diff(c, again, cmp.AllowUnexported(content{})); diff != "" || err != nil {
				t.Errorf("content %x: %v\n%s", b, err, diff)
			}
		}
		_, _, _, _ = decodeLeased(rouse.Pair{Key: b, Value: b})
		_, _ = idOf(b)
		groupOfKey(b)
	})
}

func FuzzDecodeDocument(f *testing.F) {
	f.Add(documentKey(jobs), []byte(`{"queue":{"name":"x"},"dead":"/w=="}`))
	f.Add([]byte("q"), []byte(`{}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		d, err := decodeDocument(rouse.Pair{Key: key, Value: value})
		if err == nil && !bytes.HasPrefix(append([]byte{documentKind}, bytes.TrimPrefix(key, []byte{documentKind})...), documentKey(d.Queue.Ref)) {
			t.Errorf("key %x is that of %+v", key, d.Queue.Ref)
		}
	})
}

func FuzzReceipt(f *testing.F) {
	f.Add("1f-2e")
	f.Add("+1-2")
	f.Add("-1--2")
	f.Add("01-2")
	f.Fuzz(func(t *testing.T, s string) {
		if r := decodeReceipt(s); r != (rouse.Receipt{}) && encodeReceipt(r) != s {
			t.Errorf("%q is written again as %q", s, encodeReceipt(r))
		}
	})
}
