package bundle

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rouse-run/rouse"
)

// blobs are Blobs of which only Open is needed; it counts.
type blobs struct {
	rouse.Blobs
	held   map[rouse.Digest][]byte
	opened atomic.Int64
}

func (b *blobs) Open(_ context.Context, d rouse.Digest) (io.ReadCloser, error) {
	b.opened.Add(1)
	if z, ok := b.held[d]; ok {
		return io.NopCloser(bytes.NewReader(z)), nil
	}
	return nil, rouse.Errorf(rouse.NotFound, "open blob", string(d), "there is no such blob")
}

func (b *blobs) hold(z []byte) rouse.Digest {
	d := rouse.DigestOf(z)
	b.held[d] = z
	return d
}

func open(t *testing.T, cfg CacheConfig) *Cache {
	t.Helper()
	c, err := OpenCache(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestCacheUnpacksOnce(t *testing.T) {
	b := &blobs{held: map[rouse.Digest][]byte{}}
	d := b.hold(archive(t, "x", named("main.py")...))
	cfg := CacheConfig{Dir: t.TempDir(), Blobs: b}
	c := open(t, cfg)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			dir, err := c.Dir(t.Context(), d)
			if err != nil {
				t.Error(err)
			} else if _, err := os.Stat(filepath.Join(dir, "main.py")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := b.opened.Load(); n != 1 {
		t.Errorf("unpacked %d times", n)
	}
	if _, err := open(t, cfg).Dir(t.Context(), d); err != nil || b.opened.Load() != 1 {
		t.Errorf("unpacked anew after opening: %v", err)
	}
	if _, err := c.Dir(t.Context(), rouse.DigestOf(nil)); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
	if _, err := c.Dir(t.Context(), b.hold([]byte("no zip"))); rouse.KindOf(err) != rouse.Invalid {
		t.Errorf("got %v, want Invalid", err)
	}
}

// Between the look for a folder and the turn to make it somebody else may have
// made it.
func TestCacheUnpacksNotAgain(t *testing.T) {
	b := &blobs{held: map[rouse.Digest][]byte{}}
	d := b.hold(archive(t, "x", named("main.py")...))
	c := open(t, CacheConfig{Dir: t.TempDir(), Blobs: b})
	for range 2 {
		err := c.unpack(t.Context(), d, func(ctx context.Context) (io.ReaderAt, int64, func(), error) { return c.fetch(ctx, d) })
		if err != nil {
			t.Error(err)
		}
	}
	if n := b.opened.Load(); n != 1 {
		t.Errorf("unpacked %d times", n)
	}
}

func TestCacheRemovesWhatNobodyUses(t *testing.T) {
	b := &blobs{held: map[rouse.Digest][]byte{}}
	var ds []rouse.Digest
	for _, name := range []string{"a", "b", "c", "d"} {
		ds = append(ds, b.hold(archive(t, strings.Repeat("x", 1000), named(name)...)))
	}
	c := open(t, CacheConfig{Dir: t.TempDir(), Blobs: b, Bytes: 2500})
	a, release, err := c.Use(t.Context(), ds[0])
	if err != nil {
		t.Fatal(err)
	}
	use := func(d rouse.Digest) string {
		dir, release, err := c.Use(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		release()
		return dir
	}
	second := use(ds[1])
	use(ds[2])
	gone := func(dir string) bool { _, err := os.Stat(dir); return os.IsNotExist(err) }
	if gone(a) || !gone(second) {
		t.Errorf("the used one is gone: %v; the unused one is gone: %v", gone(a), gone(second))
	}
	release()
	use(ds[3])
	if !gone(a) {
		t.Error("a released bundle stayed beyond the bound")
	}
	if left, _ := filepath.Glob(filepath.Join(c.cfg.Dir, unfinished+"*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	use(ds[0])
	if gone(a) {
		t.Error("a removed bundle did not come back")
	}
}

func TestCacheRemovesLeftovers(t *testing.T) {
	b := &blobs{held: map[rouse.Digest][]byte{}}
	d := b.hold(archive(t, "x", named("main.py")...))
	cfg := CacheConfig{Dir: t.TempDir(), Blobs: b}
	dir, err := open(t, cfg).Dir(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(cfg.Dir, unfinished+"123", "deep")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Error("a half bundle stayed")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error("a whole bundle went:", err)
	}
	// As after a restart of the machine, which may have lost what was not on disk.
	if err := os.WriteFile(filepath.Join(cfg.Dir, bootFile), []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("a bundle of another boot stayed")
	}
}

func TestSpool(t *testing.T) {
	c := open(t, CacheConfig{Dir: t.TempDir()})
	for _, size := range []int{0, 10, inMemory - 1, inMemory, inMemory + 1, inMemory * 2} {
		want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		s, err := c.Spool(bytes.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s.Reader())
		if err != nil || !bytes.Equal(got, want) || s.Size() != int64(size) || s.Digest() != rouse.DigestOf(want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.cfg.Dir, unfinished+"*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
