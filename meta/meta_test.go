package meta

import (
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/storetest"
)

var _ rouse.Meta = (*Meta)(nil)

// documents are those of a store.
type documents struct {
	*Meta
	storetest.Store
}

func TestConformance(t *testing.T) {
	storetest.RunMeta(t, func(t *testing.T, _ func() time.Time) func(*testing.T) storetest.Meta {
		site := drivers.Site(t)
		return func(t *testing.T) storetest.Meta {
			s := site.Open(t)
			keys, err := s.Keys(t.Context(), "meta")
			if err != nil {
				t.Fatal(err)
			}
			return documents{New(keys), s}
		}
	})
}
