package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
)

// choice is the environment variable that says "postgres" where the tests of a
// package are to run on PostgreSQL; otherwise they run on SQLite.
const choice = "ROUSE_TEST_STORE"

// Drivers open the stores on which a package is tested that stands on Keys.
// Package both names them.
type Drivers struct {
	SQLite   func(ctx context.Context, dir string) (Store, error)
	Postgres func(ctx context.Context, url string) (Store, error)
	Database func(t testing.TB) (url string)   // makes one that is empty, or skips the test
	Connect  func(url string) (*sql.DB, error) // to a Database

	mu    sync.Mutex
	url   string // of the Database that all Sites share, which takes a third of a second to make; guarded by mu
	sites int    // guarded by mu
}

// Again runs all tests of a package once more, on PostgreSQL, in a process of
// their own.
func (d *Drivers) Again(t *testing.T) {
	if onPostgres() {
		t.Skip("this is the second run")
	}
	exe, err := os.Executable()
	ok(t, err)
	c := exec.CommandContext(t.Context(), exe, "-test.v")
	c.Env = append(os.Environ(), choice+"=postgres")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, failures(string(out)))
	}
	if strings.Contains(string(out), "PostgreSQL is not installed") {
		t.Skip("PostgreSQL is not installed")
	}
}

func onPostgres() bool { return os.Getenv(choice) == "postgres" }

// failures leaves out what went well.
func failures(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if s := strings.TrimSpace(line); !strings.HasPrefix(s, "=== ") && !strings.HasPrefix(s, "--- PASS") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// A Site is where a store is.
type Site struct {
	drivers  *Drivers
	dir, url string // of which one is empty
	suffix   string // of the names of its maps in the Database
}

// Site makes an empty one, on the driver of this run.
func (d *Drivers) Site(t testing.TB) *Site {
	t.Helper()
	if !onPostgres() {
		return &Site{drivers: d, dir: filepath.Join(t.TempDir(), "store")}
	}
	d.Ready(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sites++
	return &Site{drivers: d, url: d.url, suffix: fmt.Sprint("_", d.sites)}
}

// Ready starts what the driver needs: a test must do so before it opens a Site in
// a bubble of synctest, which nothing may outlive that was started in it.
func (d *Drivers) Ready(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if onPostgres() && d.url == "" {
		d.url = d.Database(keeper{t})
	}
}

// A keeper is a test that cleans nothing up. What is made for it ends with the
// process.
type keeper struct{ testing.TB }

// Cleanup forgets f.
func (keeper) Cleanup(func()) {}

// A suffixed store has maps of its own beside those of other Sites.
type suffixed struct {
	Store
	suffix string
}

// Keys implements Store.
func (s suffixed) Keys(ctx context.Context, name string) (rouse.Keys, error) {
	return s.Store.Keys(ctx, name+s.suffix)
}

// Open opens the store, which its caller closes.
func (s *Site) Open(t testing.TB) Store {
	t.Helper()
	open, where := s.drivers.SQLite, s.dir
	if s.url != "" {
		open, where = s.drivers.Postgres, s.url
	}
	store, err := open(context.WithoutCancel(t.Context()), where)
	if err != nil {
		t.Fatal(err)
	}
	return suffixed{store, s.suffix}
}

// Keys opens a map, and closes it with its store when the test ends.
func (s *Site) Keys(t testing.TB, name string) rouse.Keys {
	t.Helper()
	store := s.Open(t)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	k, err := store.Keys(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Spoil changes stored bytes of a map behind the driver's back: each value whose
// key is in a span and ends, written in hexadecimal, with suffix. There must be
// one.
func (s *Site) Spoil(t testing.TB, name string, in rouse.Span, suffix string) {
	t.Helper()
	query := `UPDATE pair SET value=CAST(value||'x' AS BLOB) WHERE key>=? AND key<? AND hex(key) LIKE ?`
	connect, where := openFile, filepath.Join(s.dir, "keys-"+name+".db")
	if s.url != "" {
		query = `UPDATE rouse.keys_` + name + s.suffix + ` SET value=value||'x'::bytea WHERE key>=$1 AND key<$2 AND upper(encode(key, 'hex')) LIKE $3`
		connect, where = s.drivers.Connect, s.url
	}
	db, err := connect(where)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	from, to := append([]byte{}, in.From...), in.To
	if to == nil {
		to = []byte{0xff, 0xff}
	}
	res, err := db.ExecContext(t.Context(), query, from, to, "%"+strings.ToUpper(suffix))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		t.Fatalf("nothing was spoilt, %v", err)
	}
}

func openFile(path string) (*sql.DB, error) { return sql.Open("sqlite", path) }
