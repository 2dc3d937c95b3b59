package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
)

func openStore(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url})
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sqlExec(t testing.TB, url, query string, args ...any) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	check(t, err)
	_, err = c.Exec(t.Context(), query, args...)
	check(t, errors.Join(err, c.Close(t.Context())))
}

func count(b []byte) uint64 {
	n, _ := binary.Uvarint(b)
	return n
}

// A load changes a store from several goroutines and knows what was
// acknowledged.
type load struct {
	store *Store
	keys  rouse.Keys

	mu      sync.Mutex
	heard   *sync.Cond // of mu; somebody was answered
	answers int        // guarded by mu
	put     []string   // guarded by mu
	posted  []string   // guarded by mu
	added   uint64     // guarded by mu
	unknown uint64     // increments that may or may not be made; guarded by mu
}

func (l *load) change(ctx context.Context, worker, i int) error {
	key := fmt.Sprintf("key %d.%d", worker, i)
	err := l.keys.Update(ctx, func(w rouse.KeyWriter) error {
		v, err := w.Get([]byte("counter"))
		if err != nil {
			return err
		}
		w.Put([]byte("counter"), binary.AppendUvarint(nil, count(v[0])+1))
		w.Put([]byte(key), []byte(key))
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.put, l.added = append(l.put, key), l.added+1
	case rouse.KindOf(err) == rouse.Unavailable:
		l.unknown++
	default:
		return err
	}
	return nil
}

func (l *load) post(ctx context.Context) error {
	now := time.Now()
	a := rouse.Activation{ID: fmt.Sprintf("%012x7%03x%016x", now.UnixMilli(), rand.IntN(1<<12), rand.Uint64()&(1<<62-1)|1<<63),
		Function: rouse.Ref{Namespace: "n", Name: "f"}, Status: rouse.StatusAnswered, Started: now}
	err := l.store.Records().Post(ctx, []rouse.Activation{a}, nil)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.posted = append(l.posted, a.ID)
	} else if rouse.KindOf(err) == rouse.Unavailable {
		err = nil
	}
	return err
}

func (l *load) look(ctx context.Context) error {
	return l.keys.View(ctx, func(r rouse.KeyReader) error {
		ps, err := r.Scan(rouse.Span{Limit: 10})
		if err == nil && len(ps) == 0 {
			err = errors.New("there is nothing")
		}
		return err
	})
}

// The server is killed again and again while others change what it holds.
func TestServerKilledUnderLoad(t *testing.T) {
	url := pgtest.Start(t)
	s := openStore(t, url)
	l := &load{store: s, keys: keysOf(t, s)}
	l.heard = sync.NewCond(&l.mu)
	check(t, l.change(t.Context(), -1, 0))
	check(t, l.post(t.Context()))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for worker := range 9 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				var err error
				switch {
				case worker < 6:
					err = l.change(t.Context(), worker, i)
				case worker < 8:
					err = l.post(t.Context())
				default:
					err = l.look(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
				l.mu.Lock()
				l.answers++
				l.mu.Unlock()
				l.heard.Broadcast()
			}
		})
	}
	for round, end := range []func(testing.TB){pgtest.Kill, pgtest.Stop, pgtest.Kill, pgtest.Stop} {
		l.follow(300 + 300*round)
		end(t)
		pgtest.Resume(t)
	}
	l.follow(500)
	stop.Store(true)
	wg.Wait()
	check(t, s.Close())
	l.compare(t, openStore(t, url))
	t.Logf("%d changes and %d postings acknowledged, %d changes unknown", l.added, len(l.posted), l.unknown)
}

// follow returns after so many more answers.
func (l *load) follow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for until := l.answers + n; l.answers < until; {
		l.heard.Wait()
	}
}

// compare looks for all that was acknowledged, and nothing twice.
func (l *load) compare(t *testing.T, s *Store) {
	t.Helper()
	check(t, keysOf(t, s).View(t.Context(), func(r rouse.KeyReader) error {
		v, err := r.Get([]byte("counter"))
		if err != nil {
			return err
		}
		if n := count(v[0]); n < l.added || n > l.added+l.unknown {
			t.Errorf("the counter is %d, want %d and %d at most more", n, l.added, l.unknown)
		}
		for _, key := range l.put {
			if v, err := r.Get([]byte(key)); err != nil || string(v[0]) != key {
				t.Errorf("%s is %q, %v", key, v[0], err)
			}
		}
		return nil
	}))
	for _, id := range l.posted {
		if _, err := s.Records().Activation(t.Context(), id); err != nil {
			t.Errorf("activation %s: %v", id, err)
		}
	}
}

func TestAServerThatIsAwayIsUnavailable(t *testing.T) {
	url := pgtest.Start(t)
	s := openStore(t, url)
	k := keysOf(t, s)
	pgtest.Stop(t)
	defer pgtest.Resume(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	unavailable := func(err error) {
		t.Helper()
		if rouse.KindOf(err) != rouse.Unavailable {
			t.Errorf("error %v (%v), want one that is unavailable", err, rouse.KindOf(err))
		}
	}
	unavailable(k.Update(ctx, func(w rouse.KeyWriter) error { w.Put([]byte("k"), nil); return nil }))
	unavailable(k.View(ctx, func(r rouse.KeyReader) error { _, err := r.Get([]byte("k")); return err }))
	unavailable(s.Records().Post(ctx, nil, []rouse.Line{{Function: rouse.Ref{Namespace: "n", Name: "f"}, Time: time.Now()}}))
	_, err := Open(t.Context(), Config{URL: url})
	unavailable(err)
	if err == nil || !strings.Contains(err.Error(), "check that it runs") {
		t.Errorf("error %v, want one that says what to check", err)
	}
}

func TestAFlippedBitHarmsNoNeighbour(t *testing.T) {
	url := pgtest.Start(t)
	s := openStore(t, url)
	k := keysOf(t, s)
	check(t, k.Update(t.Context(), func(w rouse.KeyWriter) error {
		for _, key := range []string{"a", "b", "c"} {
			w.Put([]byte(key), []byte("the value of "+key))
		}
		return nil
	}))
	sqlExec(t, url, `UPDATE rouse.keys_k SET value=set_bit(value, 17, 1-get_bit(value, 17)) WHERE key='b'`)
	damagedOn := func(err error) {
		t.Helper()
		if err == nil || rouse.KindOf(err) != rouse.Internal || !strings.Contains(err.Error(), "key 62") {
			t.Errorf("error %v, want an internal one that names the key", err)
		}
	}
	look := func(r rouse.KeyReader) {
		values, err := r.Get([]byte("a"), []byte("b"), []byte("c"))
		damagedOn(err)
		if string(values[0]) != "the value of a" || values[1] != nil || string(values[2]) != "the value of c" {
			t.Errorf("values %q", values)
		}
		ps, err := r.Scan(rouse.Span{})
		damagedOn(err)
		if len(ps) != 3 || ps[1].Value != nil || string(ps[2].Value) != "the value of c" {
			t.Errorf("pairs %q", ps)
		}
	}
	check(t, k.View(t.Context(), func(r rouse.KeyReader) error { look(r); return nil }))
	check(t, k.Update(t.Context(), func(w rouse.KeyWriter) error { look(w); w.Put([]byte("b"), []byte("anew")); return nil }))
	check(t, k.View(t.Context(), func(r rouse.KeyReader) error {
		v, err := r.Get([]byte("b"))
		if err == nil && string(v[0]) != "anew" {
			t.Errorf("value %q", v[0])
		}
		return err
	}))
}
