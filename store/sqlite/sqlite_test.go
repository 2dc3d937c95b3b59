package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/rouse-run/rouse/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) func(t *testing.T) storetest.Store {
		dir := filepath.Join(t.TempDir(), "data")
		return func(t *testing.T) storetest.Store {
			s, err := Open(t.Context(), Config{Dir: dir, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}
