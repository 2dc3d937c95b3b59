package table_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/rouse-run/rouse/store/postgres"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/store/storetest"
)

// drivers are those that the tests run on.
var drivers = &storetest.Drivers{
	SQLite: func(ctx context.Context, dir string) (storetest.Store, error) {
		return sqlite.Open(ctx, sqlite.Config{Dir: dir})
	},
	Postgres: func(ctx context.Context, url string) (storetest.Store, error) {
		return postgres.Open(ctx, postgres.Config{URL: url})
	},
	Database: pgtest.Start,
	Connect: func(url string) (*sql.DB, error) {
		c, err := pgx.ParseConfig(url)
		if err != nil {
			return nil, err
		}
		return stdlib.OpenDB(*c), nil
	},
}

func TestOnPostgreSQL(t *testing.T) { drivers.Again(t) }
