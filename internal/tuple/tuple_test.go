package tuple

import (
	"bytes"
	"cmp"
	"testing"
)

func FuzzOrder(f *testing.F) {
	f.Add([]byte("a"), int64(1), []byte("a"), int64(2))
	f.Add([]byte("a"), int64(1), []byte("ab"), int64(0))
	f.Add([]byte("a\x00"), int64(-1), []byte("a"), int64(1))
	f.Add([]byte("a\x00\xff"), int64(-1), []byte("a\x00\x01"), int64(-2))
	f.Add([]byte{}, int64(-1<<63), []byte{0xff}, int64(1<<63-1))
	f.Fuzz(func(t *testing.T, a []byte, m int64, b []byte, n int64) {
		x, y := Int(String(nil, a), m), Int(String(nil, b), n)
		want := cmp.Or(bytes.Compare(a, b), cmp.Compare(m, n))
		if got := bytes.Compare(x, y); got != want {
			t.Errorf("%x and %x: %d, not %d", x, y, got, want)
		}
		s, rest, err := ReadString(x)
		if err != nil || !bytes.Equal(s, a) {
			t.Fatalf("%x: read %q, %v", x, s, err)
		}
		if k, rest, err := ReadInt(rest); err != nil || k != m || len(rest) != 0 {
			t.Errorf("%x: read %d %x, %v", x, k, rest, err)
		}
		if p := Prefix(nil, a); bytes.HasPrefix(b, a) != bytes.HasPrefix(y, p) {
			t.Errorf("%q begins with %q: %x has not %x in front", b, a, y, p)
		}
		if end := After(x); end != nil && (bytes.Compare(x, end) >= 0 || bytes.HasPrefix(end, x)) {
			t.Errorf("after %x comes %x", x, end)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("a\x00\x01rest"))
	f.Add([]byte("a\x00\x02"))
	f.Add([]byte("a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, err := ReadString(b)
		if err != nil {
			return
		}
		if again := append(String(nil, s), rest...); !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x", b, again)
		}
	})
}

func TestAfter(t *testing.T) {
	for _, c := range []struct{ prefix, want []byte }{
		{[]byte("a"), []byte("b")},
		{[]byte{'a', 0xff}, []byte("b")},
		{[]byte{0xff, 0xff}, nil},
		{nil, nil},
	} {
		if got := After(c.prefix); !bytes.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%x: %x, not %x", c.prefix, got, c.want)
		}
	}
}
