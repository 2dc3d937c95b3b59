package node

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/blob/s3"
	"github.com/rouse-run/rouse/bucket"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native"
	"github.com/rouse-run/rouse/dialect/openwhisk"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/postgres"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/stream"
	"github.com/rouse-run/rouse/table"
)

// A store is the memory of the platform.
type store interface {
	Keys(ctx context.Context, name string) (rouse.Keys, error)
	Records() rouse.Records
	Close() error
}

// openStore opens the store that a Config names.
func openStore(ctx context.Context, c Config) (store, error) {
	switch {
	case c.Store == "":
		return sqlite.Open(ctx, sqlite.Config{Dir: filepath.Join(c.Data, "store"), Log: c.Log})
	case strings.HasPrefix(c.Store, "postgres://"), strings.HasPrefix(c.Store, "postgresql://"):
		return postgres.Open(ctx, postgres.Config{URL: c.Store, Log: c.Log})
	}
	return nil, rouse.Errorf(rouse.Invalid, "open store", "store", "a store is named by a URL such as postgres://user:password@host/database, or by none for files in the data folder")
}

// openBlobs opens a place of its own for bytes, in the folder or bucket that a
// Config names.
func openBlobs(ctx context.Context, c Config, name string) (rouse.Blobs, error) {
	if c.Blobs == "" {
		return file.Open(filepath.Join(c.Data, name))
	}
	at, err := s3.Parse(c.Blobs, os.Getenv)
	if err != nil {
		return nil, err
	}
	at.Prefix = path.Join(at.Prefix, name)
	return s3.Open(ctx, at)
}

// services are what is made of a store.
type services struct {
	meta    *meta.Meta
	rules   rouse.Keys
	ready   rouse.Keys
	inbox   *inbox.Inbox
	streams *stream.Streams
	queues  *queue.Queues
	tables  *table.Tables
	buckets *bucket.Buckets
}

func openServices(ctx context.Context, s store, c Config) (*services, error) {
	keys := map[string]rouse.Keys{}
	for _, name := range []string{"meta", "rule", "event", "stream", "queue", "table", "bucket", "ready"} {
		k, err := s.Keys(ctx, name)
		if err != nil {
			return nil, err
		}
		keys[name] = k
	}
	// What no object refers to is deleted from these: they must not be those of code.
	objects, err := openBlobs(ctx, c, "objects")
	if err != nil {
		return nil, err
	}
	return &services{
		meta:    meta.New(keys["meta"]),
		ready:   keys["ready"],
		rules:   keys["rule"],
		inbox:   inbox.New(inbox.Config{Keys: keys["event"], Keep: c.KeepEvents, Log: c.Log}),
		streams: stream.New(stream.Config{Keys: keys["stream"], Log: c.Log}),
		queues:  queue.New(queue.Config{Keys: keys["queue"], Log: c.Log}),
		tables:  table.New(table.Config{Keys: keys["table"], Log: c.Log}),
		buckets: bucket.New(bucket.Config{Keys: keys["bucket"], Blobs: objects, Log: c.Log}),
	}, nil
}

func (s *services) ports() data.Services {
	return data.Services{Streams: s.streams, Queues: s.queues, Tables: s.tables, Buckets: s.buckets}
}

// run removes what is too old until ctx ends.
func (s *services) run(ctx context.Context) error {
	var g errgroup.Group
	for _, run := range []func(context.Context) error{s.streams.Run, s.queues.Run, s.tables.Run, s.buckets.Run} {
		g.Go(func() error { return run(ctx) })
	}
	return g.Wait()
}

// close ends what is under way.
func (s *services) close() error {
	return errors.Join(s.streams.Close(), s.queues.Close())
}

// keepEvents is how long events are kept where nobody says.
const keepEvents = 7 * 24 * time.Hour

// ownPaths are those of the server's own APIs: no route leads them to functions.
func ownPaths() []string {
	return append(native.Paths(), openwhisk.Paths()...)
}
