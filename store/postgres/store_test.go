package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/block"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
)

func TestNodesThatShareADatabase(t *testing.T) {
	url := pgtest.Start(t)
	stores := make([]*Store, 4)
	var wg sync.WaitGroup
	for i := range stores { // all at once make the schema, a map and a day
		wg.Go(func() {
			s, err := Open(context.Background(), Config{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
			if _, err := s.Keys(context.Background(), "k"); err != nil {
				t.Error(err)
			}
			err = s.Records().Post(context.Background(), nil, []rouse.Line{{Function: rouse.Ref{Namespace: "n", Name: "f"}, Time: time.Now(), Text: fmt.Sprint(i)}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	const workers, rounds = 3, 15
	for _, s := range stores {
		defer s.Close()
		k := keysOf(t, s)
		for range workers {
			wg.Go(func() {
				for range rounds {
					err := k.Update(context.Background(), func(w rouse.KeyWriter) error {
						v, err := w.Get([]byte("n"))
						if err != nil {
							return err
						}
						w.Put([]byte("n"), []byte(fmt.Sprint(atoi(v[0])+1)))
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	check(t, keysOf(t, stores[0]).View(t.Context(), func(r rouse.KeyReader) error {
		v, err := r.Get([]byte("n"))
		if want := len(stores) * workers * rounds; err == nil && atoi(v[0]) != want {
			t.Errorf("%s, want %d", v[0], want)
		}
		return err
	}))
	ls, err := stores[1].Records().Lines(t.Context(), rouse.LineQuery{Function: rouse.Ref{Namespace: "n", Name: "f"}})
	if len(ls) != len(stores) || err != nil {
		t.Errorf("%d lines, %v; want that of each", len(ls), err)
	}
}

// Another node makes the schema, and is between two of its statements.
func TestASchemaThatIsHalfMadeIsFinished(t *testing.T) {
	for n := range 3 {
		url := pgtest.Start(t)
		db, err := pgtest.Connect(url)
		check(t, err)
		defer db.Close()
		for _, query := range []string{"CREATE SCHEMA rouse", "CREATE TABLE rouse.version(id INTEGER PRIMARY KEY, number INTEGER NOT NULL)"}[:n] {
			_, err := db.Exec(query)
			check(t, err)
		}
		openStore(t, url)
	}
}

func atoi(b []byte) (n int) {
	for _, c := range b {
		n = 10*n + int(c-'0')
	}
	return n
}

// One node forgets a day to which another goes on posting.
func TestADayThatIsForgottenElsewhereIsMadeAnew(t *testing.T) {
	url := pgtest.Start(t)
	mine, theirs := openStore(t, url), openStore(t, url)
	line := rouse.Line{Function: rouse.Ref{Namespace: "n", Name: "f"}, Time: time.Now(), Text: "before"}
	check(t, mine.Records().Post(t.Context(), nil, []rouse.Line{line}))
	check(t, theirs.Records().Trim(t.Context(), time.Now().Add(48*time.Hour), 0))
	line.Text = "after"
	check(t, mine.Records().Post(t.Context(), nil, []rouse.Line{line}))
	ls, err := theirs.Records().Lines(t.Context(), rouse.LineQuery{Function: line.Function})
	if err != nil || len(ls) != 1 || ls[0].Text != "after" {
		t.Errorf("lines %v, %v; want the one posted after", ls, err)
	}
}

func TestNamesOfRecordsAreAnyBytes(t *testing.T) {
	s := openStore(t, pgtest.Start(t))
	for _, name := range []string{"a\x00b", "\xff", "'; DROP SCHEMA rouse", ""} {
		line := rouse.Line{Function: rouse.Ref{Namespace: rouse.Namespace("n" + name), Name: "f" + name}, Time: time.Now().UTC(), Stream: rouse.Stdout, Text: name}
		check(t, s.Records().Post(t.Context(), nil, []rouse.Line{line}))
		ls, err := s.Records().Lines(t.Context(), rouse.LineQuery{Function: line.Function})
		if err != nil || len(ls) != 1 || ls[0] != line {
			t.Errorf("%q: lines %v, %v", name, ls, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	url := pgtest.Start(t)
	is := func(url string, kind rouse.Kind, says string) {
		t.Helper()
		s, err := Open(t.Context(), Config{URL: url})
		if err == nil {
			t.Fatal(s.Close())
		}
		if rouse.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v (%v), want one that is %v and says %q", err, rouse.KindOf(err), kind, says)
		}
	}
	is("postgres://%zz", rouse.Invalid, "read the URL")
	is("postgres:///x?host=/nowhere", rouse.Unavailable, "check that it runs")
	is(strings.Replace(url, "user=postgres", "user=nobody", 1), rouse.Denied, "check the user")
	is(strings.Replace(url, "/test", "/missing", 1), rouse.NotFound, "no such database")
	check(t, openStore(t, url).Close())
	sqlExec(t, url, "UPDATE rouse.version SET number=2")
	is(url, rouse.Invalid, "run a newer version")
}

func TestASessionKeepsWhatItCommits(t *testing.T) {
	url := pgtest.Start(t)
	sqlExec(t, url, "ALTER ROLE postgres SET synchronous_commit = off")
	defer sqlExec(t, url, "ALTER ROLE postgres RESET synchronous_commit")
	var commit string
	check(t, openStore(t, url).write.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&commit))
	if commit != "on" {
		t.Errorf("synchronous_commit is %s", commit)
	}
}

// A context may end while its change waits; the change may then still be made,
// and no other is harmed.
func TestAContextThatEndsWhileAChangeRuns(t *testing.T) {
	s := openStore(t, pgtest.Start(t))
	k := keysOf(t, s)
	running, release := make(chan struct{}, 8), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		result <- k.Update(ctx, func(w rouse.KeyWriter) error {
			running <- struct{}{}
			<-release
			w.Put([]byte("a"), nil)
			return nil
		})
	}()
	<-running
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || rouse.KindOf(err) != rouse.Unavailable {
		t.Errorf("error %v, want context.Canceled", err)
	}
	close(release)
	check(t, k.Update(t.Context(), func(w rouse.KeyWriter) error { w.Put([]byte("b"), nil); return nil }))
}

// A joint transaction runs changes side by side: what one reads and another
// writes must come out as if they ran one after the other.
func TestChangesSideBySideAreSerial(t *testing.T) {
	s := openStore(t, pgtest.Start(t))
	k := keysOf(t, s).(*keys)
	const n = 20
	batch := make([]*request, n)
	for i := range batch { // each appends after the last one, found in one of three ways
		batch[i] = &request{until: time.Now().Add(time.Minute), done: make(chan struct{}), f: func(w rouse.KeyWriter) error {
			var next int64
			switch i % 3 {
			case 0:
				last, err := w.Scan(rouse.Span{From: []byte("r"), To: []byte("s"), Limit: 1, Reverse: true})
				if err != nil {
					return err
				}
				if len(last) > 0 {
					next = int64(last[0].Key[1]) + 1
				}
			case 1:
				var err error
				if next, err = w.Count([]byte("r"), []byte("s")); err != nil {
					return err
				}
			default:
				for {
					v, err := w.Get([]byte{'r', byte(next)})
					if err != nil {
						return err
					}
					if v[0] == nil {
						break
					}
					next++
				}
			}
			if i == 7 {
				w.Clear([]byte("x"), nil)
				w.Put([]byte("x"), nil)
			}
			w.Put([]byte{'r', byte(next)}, []byte{byte(i)})
			return nil
		}}
	}
	k.write(batch)
	for i, r := range batch {
		if <-r.done; r.err != nil {
			t.Errorf("change %d: %v", i, r.err)
		}
	}
	check(t, k.View(t.Context(), func(r rouse.KeyReader) error {
		ps, err := r.Scan(rouse.Span{})
		if len(ps) != n+1 {
			t.Errorf("%d keys, want %d: %v", len(ps), n+1, ps)
		}
		return err
	}))
}

// Small tables too: a plan that reads all of one would meet every writer.
func TestQueriesUseTheirIndexes(t *testing.T) {
	s := openStore(t, pgtest.Start(t))
	k := keysOf(t, s).(*keys)
	check(t, s.Records().Post(t.Context(), nil, []rouse.Line{{Function: rouse.Ref{Namespace: "n", Name: "f"}, Time: time.Now()}}))
	c, err := s.read.Acquire(t.Context())
	check(t, err)
	defer c.Release()
	explainPlan := func(query string, args ...any) string {
		rows, err := c.Query(t.Context(), "EXPLAIN "+query, args...)
		check(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		check(t, err)
		return strings.Join(lines, "\n")
	}
	for _, plan := range []string{
		explainPlan(k.sql.get, [][]byte{[]byte("a")}), explainPlan(k.sql.count, []byte("a"), []byte("b")),
		explainPlan(k.sql.up, []byte("a"), []byte("b"), nil), explainPlan(k.sql.down, []byte("a"), []byte("b"), int64(3)),
		explainPlan(k.sql.clear, []byte("a"), []byte("b")), explainPlan(k.sql.remove, [][]byte{[]byte("a")}),
	} {
		if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort") || !strings.Contains(plan, "Index Cond") {
			t.Error(plan)
		}
	}
	d := &day{store: s, name: time.Now().UTC().Format(dayLayout)}
	for _, p := range []block.Page{{}, {Function: "f"}, {Statuses: 4}, {Function: "f", Statuses: 4}, {Statuses: 2}, {Function: "f", Statuses: 6}} {
		query, args := d.page(p)
		if plan := explainPlan(query, args...); strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort") || p.Unusual() != strings.Contains(plan, "unusual") {
			t.Errorf("%+v:\n%s", p, plan)
		}
	}
}
