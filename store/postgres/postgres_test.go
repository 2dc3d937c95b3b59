package postgres

import (
	"testing"
	"time"

	"github.com/rouse-run/rouse/store/postgres/pgtest"
	"github.com/rouse-run/rouse/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) func(t *testing.T) storetest.Store {
		url := pgtest.Start(t)
		return func(t *testing.T) storetest.Store {
			s, err := Open(t.Context(), Config{URL: url, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}
