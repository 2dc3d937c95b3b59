package postgres

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
)

// A database whose disk is full says so, keeps what it acknowledged, and goes
// on when there is room again.
func TestADiskThatIsFull(t *testing.T) {
	url, disk := pgtest.StartOnDisk(t)
	s := openStore(t, url)
	k := keysOf(t, s)
	var put, posted []string
	large := func(i int) []byte {
		b := make([]byte, 50_000) // at random: PostgreSQL would compress others
		_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(b)
		return b
	}
	changes := map[string]func(i int) error{
		"keys": func(i int) error {
			key := fmt.Sprint("key ", i)
			err := k.Update(t.Context(), func(w rouse.KeyWriter) error {
				w.Put([]byte(key), large(i))
				return nil
			})
			if err == nil {
				put = append(put, key)
			}
			return err
		},
		"records": func(i int) error {
			a := rouse.Activation{ID: fmt.Sprintf("%012x7000%016x", time.Now().UnixMilli(), uint64(i)|1<<63), Function: rouse.Ref{Namespace: "n", Name: "f"},
				Status: rouse.StatusAnswered, Started: time.Now(), Result: large(i)}
			err := s.Records().Post(t.Context(), []rouse.Activation{a}, nil)
			if err == nil {
				posted = append(posted, a.ID)
			}
			return err
		},
	}
	n, full := 0, 0
	for round := range 3 {
		for what, change := range changes {
			disk.Fill(t, 3<<20)
			before := n
			var err error
			for ; err == nil; n++ {
				err = change(n)
			}
			t.Logf("round %d: %s until %v", round, what, err)
			if rouse.KindOf(err) != rouse.Unavailable {
				t.Errorf("error %v (%v), want one that is unavailable", err, rouse.KindOf(err))
			}
			// Where there is no room for its log of changes, the server ends.
			if strings.Contains(err.Error(), "disk is full") {
				full++
			}
			if n == before+1 {
				t.Errorf("nothing was acknowledged before the disk was full")
			}
			disk.Free(t)
			for done := false; !done; n++ { // it may still recover
				err := change(n)
				if done = err == nil; !done && rouse.KindOf(err) != rouse.Unavailable {
					t.Fatal(err)
				}
			}
		}
	}
	if full == 0 {
		t.Error("no error says that the disk is full")
	}
	look := func(s *Store) {
		t.Helper()
		check(t, keysOf(t, s).View(t.Context(), func(r rouse.KeyReader) error {
			for _, key := range put {
				if v, err := r.Get([]byte(key)); err != nil || len(v[0]) != 50_000 {
					return errors.Join(err, fmt.Errorf("%s has %d bytes", key, len(v[0])))
				}
			}
			return nil
		}))
		for _, id := range posted {
			if a, err := s.Records().Activation(t.Context(), id); err != nil || len(a.Result) != 50_000 {
				t.Errorf("activation %s: %d bytes, %v", id, len(a.Result), err)
			}
		}
	}
	look(s)
	look(openStore(t, url))
	t.Logf("%d keys and %d activations acknowledged", len(put), len(posted))
}
