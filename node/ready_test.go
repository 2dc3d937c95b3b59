package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/sqlite"
)

// refusing are Keys that take nothing while full.
type refusing struct {
	rouse.Keys
	full  bool
	asked int
}

func (r *refusing) Update(ctx context.Context, f func(rouse.KeyWriter) error) error {
	r.asked++
	if r.full {
		return errors.New("the disk is full")
	}
	return nil
}

// A node whose store takes nothing is not ready, and is again when it does.
func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &refusing{}
		r := &readiness{keys: keys}
		for _, full := range []bool{false, true, false} {
			keys.full = full
			for range 100 {
				if err := r.check(); (err != nil) != full {
					t.Errorf("full %v: %v", full, err)
				}
			}
			time.Sleep(time.Second)
		}
		if keys.asked != 3 {
			t.Errorf("the store was asked %d times", keys.asked)
		}
	})
}

func TestReadinessWrites(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keys, err := s.Keys(t.Context(), "ready")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&readiness{keys: keys}).check(); err != nil {
		t.Error(err)
	}
}
