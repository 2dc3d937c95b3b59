package bucket

import (
	"bytes"
	"testing"
)

func FuzzDecodeRecord(f *testing.F) {
	r := record{revision: 7, null: true, etag: "abc", modified: -5, header: map[string]string{"A": "b"}, meta: map[string]string{"\xff": "", "x": "y"}, chunks: []chunk{{digest{1}, 5}, {digest{2}, 0}}, uploaded: true}
	f.Add(r.encode())
	f.Add((&record{marker: true}).encode())
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 2, 1, 'a', 0, 1, 'a', 0, 0, 0, 0})
	f.Add([]byte{recordVersion, 0, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := decodeRecord(r.encode())
		if err != nil || !bytes.Equal(again.encode(), r.encode()) || len(again.chunks) != len(r.chunks) || again.null != r.null {
			t.Errorf("%x became %x: %v", b, r.encode(), err)
		}
	})
}

func FuzzDecodeSmall(f *testing.F) {
	f.Add(part{chunk: chunk{digest{1}, 5}, md5: [16]byte{2}, modified: 7}.encode())
	f.Add(change{removed: true, marker: true, key: "k", etag: "e", version: "v", size: 9}.encode())
	f.Add(blob{state: counted, count: 3}.encode())
	f.Add(blob{state: deleting, due: -3}.encode())
	f.Add(versionKey(1, "a\x00b", 9))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodePart(b); err == nil {
			if again, err := decodePart(p.encode()); err != nil || again != p {
				t.Errorf("part %+v became %+v, %v", p, again, err)
			}
		}
		if c, err := decodeChange(b); err == nil {
			if again, err := decodeChange(c.encode()); err != nil || again != c {
				t.Errorf("change %+v became %+v, %v", c, again, err)
			}
		}
		if x, err := decodeBlob(b); err == nil && b != nil && !bytes.Equal(x.encode(), b) {
			t.Errorf("blob %x became %x", b, x.encode())
		}
		if key, n, err := readVersionKey(b); err == nil && !bytes.Equal(versionKey(0, key, n)[9:], b[9:]) {
			t.Errorf("key %x is %q, %d", b, key, n)
		}
		if d, err := decodeDefinition(b); err == nil && d == nil {
			t.Error("no definition and no error")
		}
	})
}

func TestVersionNames(t *testing.T) {
	for _, s := range []string{"", "null", "1", "000000000000000G", "00000000000000001", "-000000000000001", "+000000000000001"} {
		if n, ok := readVersion(s); ok {
			t.Errorf("%q was taken as %d", s, n)
		}
	}
	if n, ok := readVersion(versionName(1 << 63)); !ok || n != 1<<63 {
		t.Errorf("%d %v", n, ok)
	}
	if d, err := digestOf("ab"); err == nil {
		t.Errorf("a short digest is %v", d)
	}
}
