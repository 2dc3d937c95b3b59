// Package blobtest is what every driver of rouse.Blobs must pass.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

// An Open returns a function that opens one and the same place for blobs, empty
// at first, each time it is called.
type Open func(t *testing.T) (reopen func(t *testing.T) rouse.Blobs)

// Run tests a driver.
func Run(t *testing.T, open Open) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reopen := open(t)
			test(t, reopen(t), reopen)
		})
	}
}

var tests = map[string]func(t *testing.T, b rouse.Blobs, reopen func(*testing.T) rouse.Blobs){
	"a blob comes back as it was": func(t *testing.T, b rouse.Blobs, reopen func(*testing.T) rouse.Blobs) {
		for _, size := range []int{0, 1, 1000, 1 << 20, 5<<20 + 7} {
			want := noise(size)
			d := put(t, b, want)
			if d != rouse.DigestOf(want) {
				t.Fatalf("digest %s, want %s", d, rouse.DigestOf(want))
			}
			for _, b := range []rouse.Blobs{b, reopen(t)} {
				if got := read(t, b, d); !bytes.Equal(got, want) {
					t.Fatalf("%d bytes came back, not the %d that were put", len(got), size)
				}
				if n, err := b.Stat(t.Context(), d); n != int64(size) || err != nil {
					t.Fatalf("stat says %d, %v; want %d", n, err, size)
				}
			}
		}
	},
	"one that is not there is not found": func(t *testing.T, b rouse.Blobs, _ func(*testing.T) rouse.Blobs) {
		put(t, b, []byte("a"))
		for _, d := range []rouse.Digest{"", "x", "../../etc/passwd", rouse.DigestOf([]byte("b")), rouse.Digest(strings.Repeat("../", 21) + "x"),
			rouse.Digest(strings.ToUpper(string(rouse.DigestOf([]byte("a")))))} {
			if _, err := b.Open(t.Context(), d); rouse.KindOf(err) != rouse.NotFound {
				t.Errorf("open %q: %v", d, err)
			}
			if _, err := b.Stat(t.Context(), d); rouse.KindOf(err) != rouse.NotFound {
				t.Errorf("stat %q: %v", d, err)
			}
			if err := b.Delete(t.Context(), d); err != nil {
				t.Errorf("delete %q: %v", d, err)
			}
		}
		read(t, b, rouse.DigestOf([]byte("a")))
	},
	"the same bytes are one blob": func(t *testing.T, b rouse.Blobs, _ func(*testing.T) rouse.Blobs) {
		first := put(t, b, []byte("a"))
		if again := put(t, b, []byte("a")); again != first {
			t.Errorf("digests %s and %s of the same bytes", first, again)
		}
		wantList(t, b, map[rouse.Digest]int64{rouse.DigestOf([]byte("a")): 1})
	},
	"an error of the reader is the caller's own": func(t *testing.T, b rouse.Blobs, _ func(*testing.T) rouse.Blobs) {
		mine := errors.New("mine")
		for _, before := range []int{0, 10, 300_000} {
			_, _, err := b.Put(t.Context(), io.MultiReader(bytes.NewReader(noise(before)), iotest.ErrReader(mine)))
			if err != mine { // not merely errors.Is: as it is
				t.Fatalf("error %v, want the reader's", err)
			}
		}
		wantList(t, b, map[rouse.Digest]int64{})
	},
	"a reader may give little at a time": func(t *testing.T, b rouse.Blobs, _ func(*testing.T) rouse.Blobs) {
		want := noise(3000)
		d, n, err := b.Put(t.Context(), iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(want))))
		if err != nil || n != 3000 || d != rouse.DigestOf(want) {
			t.Fatalf("put %s, %d, %v", d, n, err)
		}
	},
	"delete removes one": func(t *testing.T, b rouse.Blobs, reopen func(*testing.T) rouse.Blobs) {
		a, c := put(t, b, []byte("a")), put(t, b, []byte("c"))
		if err := b.Delete(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		for _, b := range []rouse.Blobs{b, reopen(t)} {
			if _, err := b.Open(t.Context(), a); rouse.KindOf(err) != rouse.NotFound {
				t.Errorf("error %v, want not found", err)
			}
			wantList(t, b, map[rouse.Digest]int64{c: 1})
		}
		put(t, b, []byte("a"))
		read(t, b, a)
	},
	"list ends when it is told to": func(t *testing.T, b rouse.Blobs, _ func(*testing.T) rouse.Blobs) {
		want := map[rouse.Digest]int64{}
		for i := range 20 {
			want[put(t, b, noise(i+1))] = int64(i + 1)
		}
		wantList(t, b, want)
		n := 0
		if err := b.List(t.Context(), func(rouse.Digest, int64) bool { n++; return n < 3 }); err != nil || n != 3 {
			t.Fatalf("%d were listed, want 3; %v", n, err)
		}
	},
	"a context that has ended does nothing": func(t *testing.T, b rouse.Blobs, _ func(*testing.T) rouse.Blobs) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := b.Put(ctx, strings.NewReader("a")); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want context.Canceled", err)
		}
		wantList(t, b, map[rouse.Digest]int64{})
	},
	"many put, read and delete at once": func(t *testing.T, b rouse.Blobs, _ func(*testing.T) rouse.Blobs) {
		shared := noise(100_000)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 10 {
					for _, want := range [][]byte{shared, noise(50_000)} {
						d, _, err := b.Put(t.Context(), bytes.NewReader(want))
						if err != nil {
							t.Error(err)
							return
						}
						r, err := b.Open(t.Context(), d)
						if err != nil {
							t.Error(err)
							return
						}
						got, err := io.ReadAll(r)
						if err != nil || !bytes.Equal(got, want) {
							t.Error("read", len(got), err)
						}
						if err := r.Close(); err != nil {
							t.Error(err)
						}
						if len(want) != len(shared) {
							if err := b.Delete(t.Context(), d); err != nil {
								t.Error(err)
							}
						}
					}
				}
			})
		}
		wg.Wait()
		wantList(t, b, map[rouse.Digest]int64{rouse.DigestOf(shared): int64(len(shared))})
	},
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func put(t *testing.T, b rouse.Blobs, data []byte) rouse.Digest {
	t.Helper()
	d, n, err := b.Put(t.Context(), bytes.NewReader(data))
	if err != nil || n != int64(len(data)) {
		t.Fatalf("put %d bytes: %d, %v", len(data), n, err)
	}
	return d
}

func read(t *testing.T, b rouse.Blobs, d rouse.Digest) []byte {
	t.Helper()
	r, err := b.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

func wantList(t *testing.T, b rouse.Blobs, want map[rouse.Digest]int64) {
	t.Helper()
	got := map[rouse.Digest]int64{}
	if err := b.List(t.Context(), func(d rouse.Digest, n int64) bool { got[d] = n; return true }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("list (-want +got):\n%s", diff)
	}
}
