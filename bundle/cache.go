package bundle

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/rouse-run/rouse"
)

// CacheConfig says where a Cache keeps what.
type CacheConfig struct {
	Dir    string // of the unpacked bundles; made where missing
	Blobs  rouse.Blobs
	Bytes  int64  // of unpacked bundles kept; 0 is 16 GB
	Limits Limits // of one bundle; the zero value is DefaultLimits
	Log    *slog.Logger
}

// A Cache keeps bundles unpacked, each in a folder of its own. Beyond its bound
// it removes the one not used for longest that nobody uses. All methods may be
// called concurrently.
type Cache struct {
	cfg    CacheConfig
	flight singleflight.Group
	work   sync.WaitGroup

	mu      sync.Mutex
	entries map[rouse.Digest]*list.Element // guarded by mu
	order   *list.List                     // of *unpacked, the last used first; guarded by mu
	bytes   int64                          // guarded by mu
}

type unpacked struct {
	digest rouse.Digest
	dir    string
	bytes  int64
	users  int
}

// kept is the name of a bundle's folder: its digest and size.
var kept = regexp.MustCompile(`^([0-9a-f]{64})\.([0-9]{1,15})$`)

// bootFile names the boot in which the folders were written.
const bootFile = "boot"

// OpenCache returns the Cache in cfg.Dir with what it held before. What a crash
// left half done is removed; after a restart of the machine all is, as folders
// are written without waiting for the disk.
func OpenCache(cfg CacheConfig) (*Cache, error) {
	if cfg.Bytes == 0 {
		cfg.Bytes = 16 << 30
	}
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// Code is nobody's business but that of its sandboxes, which mount it. What is
	// above may be open to others.
	if err := errors.Join(os.MkdirAll(cfg.Dir, 0o700), os.Chmod(cfg.Dir, 0o700)); err != nil {
		return nil, fmt.Errorf("open bundle cache: %w", err)
	}
	c := &Cache{cfg: cfg, entries: map[rouse.Digest]*list.Element{}, order: list.New()}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("open bundle cache: %w", err)
	}
	return c, nil
}

func (c *Cache) load() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	was, err := os.ReadFile(filepath.Join(c.cfg.Dir, bootFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	names, err := os.ReadDir(c.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		name := filepath.Join(c.cfg.Dir, e.Name())
		m := kept.FindStringSubmatch(e.Name())
		switch {
		case m != nil && bytes.Equal(boot, was):
			n, _ := strconv.ParseInt(m[2], 10, 64)
			c.put(&unpacked{digest: rouse.Digest(m[1]), dir: name, bytes: n})
		case m != nil, strings.HasPrefix(e.Name(), unfinished):
			if err := os.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(c.cfg.Dir, bootFile), boot, 0o644)
}

// Close waits until nothing is being unpacked. Folders stay.
func (c *Cache) Close() error {
	c.work.Wait()
	return nil
}

// Dir returns the folder that holds bundle d unpacked, at first use from Blobs.
// It stays until the Cache is opened anew. Errors: NotFound, those of Unpack.
func (c *Cache) Dir(ctx context.Context, d rouse.Digest) (string, error) {
	dir, _, err := c.Use(ctx, d)
	return dir, err
}

// Use is as Dir, but the folder stays only until release is called, which must
// be done once.
func (c *Cache) Use(ctx context.Context, d rouse.Digest) (dir string, release func(), err error) {
	return c.use(ctx, d, func(ctx context.Context) (io.ReaderAt, int64, func(), error) { return c.fetch(ctx, d) })
}

// Add is as Use for a bundle at hand: r holds the zip of size bytes that d names.
func (c *Cache) Add(ctx context.Context, d rouse.Digest, r io.ReaderAt, size int64) (dir string, release func(), err error) {
	return c.use(ctx, d, func(context.Context) (io.ReaderAt, int64, func(), error) { return r, size, func() {}, nil })
}

type opener func(context.Context) (r io.ReaderAt, size int64, done func(), err error)

func (c *Cache) use(ctx context.Context, d rouse.Digest, open opener) (string, func(), error) {
	for {
		if e := c.take(d); e != nil {
			return e.dir, sync.OnceFunc(func() { c.drop(e) }), nil
		}
		// What several wait for does not end because the first of them leaves.
		c.work.Add(1)
		_, err, _ := c.flight.Do(string(d), func() (any, error) {
			return nil, c.unpack(context.WithoutCancel(ctx), d, open)
		})
		c.work.Done()
		if err != nil {
			return "", nil, err
		}
	}
}

// unpack makes the folder of a bundle, where nobody has since it was looked for.
func (c *Cache) unpack(ctx context.Context, d rouse.Digest, open opener) error {
	c.mu.Lock()
	there := c.entries[d] != nil
	c.mu.Unlock()
	if there {
		return nil
	}
	r, size, done, err := open(ctx)
	if err != nil {
		return err
	}
	defer done()
	temp := filepath.Join(c.cfg.Dir, unfinished+string(d))
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	n, err := Unpack(r, size, temp, c.cfg.Limits)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.cfg.Dir, fmt.Sprintf("%s.%d", d, n))
	if err := os.Rename(temp, dir); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	c.mu.Lock()
	c.put(&unpacked{digest: d, dir: dir, bytes: n})
	c.mu.Unlock()
	c.trim()
	return nil
}

// fetch gets bundle d where it can be read at any place: in memory where it is
// small, else in a file.
func (c *Cache) fetch(ctx context.Context, d rouse.Digest) (io.ReaderAt, int64, func(), error) {
	in, err := c.cfg.Blobs.Open(ctx, d)
	if err != nil {
		return nil, 0, nil, err
	}
	defer in.Close()
	f, err := c.Spool(in)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("read bundle: %w", err)
	}
	return f, f.Size(), func() { f.Close() }, nil
}

func (c *Cache) take(d rouse.Digest) *unpacked {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.entries[d]
	if el == nil {
		return nil
	}
	c.order.MoveToFront(el)
	e := el.Value.(*unpacked)
	e.users++
	return e
}

func (c *Cache) drop(e *unpacked) {
	c.mu.Lock()
	e.users--
	c.mu.Unlock()
	c.trim()
}

// put is called with mu held, or before others know the Cache.
func (c *Cache) put(e *unpacked) {
	c.entries[e.digest] = c.order.PushFront(e)
	c.bytes += e.bytes
}

// trim removes what is over the bound.
func (c *Cache) trim() {
	for {
		gone := c.evict()
		if gone == "" {
			return
		}
		if err := os.RemoveAll(gone); err != nil {
			c.cfg.Log.Warn("unpacked bundle not removed", "dir", gone, "error", err)
		}
	}
}

// evict takes the bundle not used for longest out of the Cache where it is over
// its bound and returns the folder to remove, "" where there is none. The last
// one stays, so that a bundle larger than the bound can be used at all.
func (c *Cache) evict() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes <= c.cfg.Bytes {
		return ""
	}
	for el := c.order.Back(); el != nil && el != c.order.Front(); el = el.Prev() {
		e := el.Value.(*unpacked)
		if e.users > 0 {
			continue
		}
		// Renamed under the lock: the same bundle may be unpacked again at once.
		gone, err := os.MkdirTemp(c.cfg.Dir, unfinished+"gone-*")
		if err == nil {
			err = os.Rename(e.dir, filepath.Join(gone, "bundle"))
		}
		if err != nil {
			c.cfg.Log.Warn("unpacked bundle not removed", "dir", e.dir, "error", err)
			return ""
		}
		c.order.Remove(el)
		delete(c.entries, e.digest)
		c.bytes -= e.bytes
		return gone
	}
	return ""
}
