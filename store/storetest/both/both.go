// Package both names both stores for the tests of what stands on rouse.Keys.
package both

import (
	"context"

	"github.com/rouse-run/rouse/store/postgres"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/store/storetest"
)

// Drivers returns those that the tests of one package run on.
func Drivers() *storetest.Drivers {
	return &storetest.Drivers{
		SQLite: func(ctx context.Context, dir string) (storetest.Store, error) {
			return sqlite.Open(ctx, sqlite.Config{Dir: dir})
		},
		Postgres: func(ctx context.Context, url string) (storetest.Store, error) {
			return postgres.Open(ctx, postgres.Config{URL: url})
		},
		Database: pgtest.Start,
		Connect:  pgtest.Connect,
	}
}
