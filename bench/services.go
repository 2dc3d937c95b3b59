package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/store/postgres"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/stream"
	"github.com/rouse-run/rouse/table"
)

const (
	clients     = 32
	itemBody    = 200 // bytes
	itemsStored = 5000
	together    = 100 // records in a batch, items in a query
)

// A keyStore is a driver that is open.
type keyStore interface {
	Keys(ctx context.Context, name string) (rouse.Keys, error)
	Close() error
}

// servicesGroup measures the data services, in process, on a store.
func servicesGroup(name string, goals bool, open func(context.Context, *env) (keyStore, error)) group {
	g := group{name: name}
	body := strings.Repeat("x", itemBody)
	want := func(goal_ goal) goal {
		if goals {
			return goal_
		}
		return goal{}
	}
	limit := func(what int) string { return fmt.Sprintf("append and fdatasync of %d at once", what) }
	g.measurements = []measurement{
		{name: "stream append, batches of 100", unit: "/s", goal: want(goal{least, 20_000}), limit: limit(together),
			open: func(ctx context.Context, e *env) (round, error) {
				s, ref, err := openStreams(ctx, e, open)
				if err != nil {
					return nil, err
				}
				rs := make([]data.Record, together)
				for i := range rs {
					rs[i] = data.Record{Key: fmt.Sprint(i), Data: []byte(body)}
				}
				return alternate(func(ctx context.Context) (float64, error) {
					rate, err := crowdRate(ctx, 4, e.span, func(context.Context, int64) error {
						_, err := s.Append(ctx, ref, rs)
						return err
					})
					return rate * together, err
				}, fileRate(e, together)), nil
			}},
		{name: "table put, 32 clients", unit: "/s", goal: want(goal{least, 10_000}), limit: limit(clients),
			open: func(ctx context.Context, e *env) (round, error) {
				ts, ref, err := openTables(ctx, e, open, body)
				if err != nil {
					return nil, err
				}
				return alternate(func(ctx context.Context) (float64, error) {
					return crowdRate(ctx, clients, e.span, func(ctx context.Context, n int64) error {
						_, err := ts.Write(ctx, data.Write{Op: data.WritePut, Table: ref, Item: benchItem(n, body)})
						return err
					})
				}, fileRate(e, clients)), nil
			}},
		{name: "table get, 32 clients", unit: "/s", goal: want(goal{least, 10_000}), limit: "pread of an item",
			open: func(ctx context.Context, e *env) (round, error) {
				ts, ref, err := openTables(ctx, e, open, body)
				if err != nil {
					return nil, err
				}
				return alternate(func(ctx context.Context) (float64, error) {
					return crowdRate(ctx, clients, e.span, func(ctx context.Context, n int64) error {
						items, err := ts.GetItems(ctx, []data.ItemKey{{Table: ref, Key: benchKey(n % itemsStored)}})
						if err == nil && items[0] == nil {
							err = errors.New("an item is missing")
						}
						return err
					})
				}, preadRate(e, 1)), nil
			}},
		{name: "table query of 100 items", unit: "ms", goal: want(goal{most, 2}), limit: "pread of 100 items at once",
			open: func(ctx context.Context, e *env) (round, error) {
				ts, ref, err := openTables(ctx, e, open, body)
				if err != nil {
					return nil, err
				}
				bare := preadRate(e, together)
				return alternate(func(ctx context.Context) (float64, error) {
					rate, err := crowdRate(ctx, 1, e.span, func(ctx context.Context, n int64) error {
						page, err := ts.Query(ctx, data.Query{Table: ref, Key: data.Text(fmt.Sprint(n % (itemsStored / together))), Select: data.Select{Limit: together}})
						if err == nil && len(page.Items) != together {
							err = fmt.Errorf("a query returned %d items", len(page.Items))
						}
						return err
					})
					return 1000 / rate, err
				}, func(ctx context.Context) (float64, error) {
					rate, err := bare(ctx)
					return 1000 / rate, err
				}), nil
			}},
	}
	return g
}

// newRef names something that no other measurement and no earlier run has.
func newRef() rouse.Ref {
	return rouse.Ref{Namespace: rouse.DefaultNamespace, Name: fmt.Sprint("bench-", time.Now().UnixNano())}
}

// benchKey is that of one of the items; a hundred of them are one partition.
func benchKey(n int64) data.Item {
	return data.Item{"p": data.Text(fmt.Sprint(n / together)), "s": data.Int(n % together)}
}

func benchItem(n int64, body string) data.Item {
	i := benchKey(n % itemsStored)
	i["n"], i["body"] = data.Int(n), data.Text(body)
	return i
}

func openStreams(ctx context.Context, e *env, open func(context.Context, *env) (keyStore, error)) (*stream.Streams, rouse.Ref, error) {
	ref := newRef()
	store, err := open(ctx, e)
	if err != nil {
		return nil, ref, err
	}
	keys, err := store.Keys(ctx, "stream")
	if err != nil {
		return nil, ref, err
	}
	s := stream.New(stream.Config{Keys: keys})
	e.onClose(func() error { return errors.Join(s.Close(), store.Close()) })
	_, err = s.Create(ctx, data.Stream{Ref: ref, Shards: 4})
	return s, ref, err
}

func openTables(ctx context.Context, e *env, open func(context.Context, *env) (keyStore, error), body string) (*table.Tables, rouse.Ref, error) {
	ref := newRef()
	store, err := open(ctx, e)
	if err != nil {
		return nil, ref, err
	}
	e.onClose(store.Close)
	keys, err := store.Keys(ctx, "table")
	if err != nil {
		return nil, ref, err
	}
	ts := table.New(table.Config{Keys: keys})
	if _, err := ts.CreateTable(ctx, data.Table{Ref: ref, Key: data.Attribute{Name: "p"}, Sort: data.Attribute{Name: "s", Type: data.Number}}); err != nil {
		return nil, ref, err
	}
	for n := int64(0); n < itemsStored; n += together {
		var ws []data.Write
		for i := range int64(together) {
			ws = append(ws, data.Write{Op: data.WritePut, Table: ref, Item: benchItem(n+i, body)})
		}
		if _, err := ts.Transact(ctx, ws); err != nil {
			return nil, ref, err
		}
	}
	return ts, ref, nil
}

// crowdRate has so many callers call f for d, and returns calls a second.
func crowdRate(ctx context.Context, callers int, d time.Duration, f func(ctx context.Context, n int64) error) (float64, error) {
	var calls atomic.Int64
	var g sync.WaitGroup
	errs := make([]error, callers)
	began := time.Now()
	for i := range callers {
		g.Go(func() {
			for time.Since(began) < d && errs[i] == nil {
				errs[i] = f(ctx, calls.Add(1))
			}
		})
	}
	g.Wait()
	return float64(calls.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

// fileRate is the rate of items in a plain file that gets so many at once,
// durably.
func fileRate(e *env, at int) probe {
	return func(context.Context) (float64, error) {
		rate, err := appendRate(e.dir, bytes.Repeat([]byte("x"), itemBody*at), e.span)
		return rate * float64(at), err
	}
}

// preadRate is how often a second so many items can be read from a plain file.
func preadRate(e *env, at int) probe {
	return func(context.Context) (rate float64, err error) {
		f, err := os.CreateTemp(e.dir, "pread-")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
		if _, err := f.Write(make([]byte, itemBody*itemsStored)); err != nil {
			return 0, err
		}
		b := make([]byte, itemBody*at)
		n, began := 0, time.Now()
		for ; time.Since(began) < e.span; n++ {
			if _, err := f.ReadAt(b, int64(n%(itemsStored/at)*at*itemBody)); err != nil {
				return 0, err
			}
		}
		return float64(n) / time.Since(began).Seconds(), nil
	}
}

// onSQLite opens a store in a new folder.
func onSQLite(ctx context.Context, e *env) (keyStore, error) {
	dir, err := e.folder("store-")
	if err != nil {
		return nil, err
	}
	return sqlite.Open(ctx, sqlite.Config{Dir: filepath.Join(dir, "store")})
}

var noDatabase = absent{"no database is named with --postgres"}

// onPostgreSQL opens the database that --postgres names.
func onPostgreSQL(ctx context.Context, e *env) (keyStore, error) {
	if e.postgres == "" {
		return nil, noDatabase
	}
	return postgres.Open(ctx, postgres.Config{URL: e.postgres})
}
