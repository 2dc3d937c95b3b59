package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/store/block"
)

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keysOf(t testing.TB, s *Store, name string) *keys {
	t.Helper()
	k, err := s.Keys(t.Context(), name)
	check(t, err)
	return k.(*keys)
}

// put stores an empty value.
func put(ctx context.Context, k rouse.Keys, key string) error {
	return k.Update(ctx, func(w rouse.KeyWriter) error { w.Put([]byte(key), nil); return nil })
}

// keyCount is how many keys there are.
func keyCount(ctx context.Context, k rouse.Keys) (n int64, err error) {
	err = k.View(ctx, func(r rouse.KeyReader) (err error) {
		n, err = r.Count(nil, nil)
		return err
	})
	return n, err
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data?x=1#%41[*]") // what a URL or a pattern would trip over
	s := openStore(t, dir)
	for _, name := range []string{"meta", "queue"} {
		check(t, put(t.Context(), keysOf(t, s, name), "a"))
	}
	check(t, s.Records().Post(t.Context(), made(s.records.now(), 0, 1, 1, hot), nil))
	seen := 0
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if seen++; err == nil && info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	}))
	if seen < 8 { // the folder, the lock and three files, some with logs beside them
		t.Errorf("%d files", seen)
	}
	closeStore(t, s)
	s = openStore(t, dir)
	as, err := s.Records().Activations(t.Context(), rouse.ActivationQuery{Namespace: "default"})
	if len(as) != 1 || err != nil {
		t.Errorf("%d activations, %v", len(as), err)
	}
	closeStore(t, s)
}

func TestAFolderIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	_, err := Open(t.Context(), Config{Dir: dir})
	if rouse.KindOf(err) != rouse.Conflict || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want a conflict that names the folder", err)
	}
	closeStore(t, s)
	closeStore(t, openStore(t, dir))
}

func TestANewerSchemaIsRefused(t *testing.T) {
	open := func(dir string) error {
		s, err := Open(t.Context(), Config{Dir: dir})
		if err != nil {
			return err
		}
		_, err = s.Keys(t.Context(), "k")
		closeStore(t, s)
		return err
	}
	for _, name := range []string{"keys-k.db", "records-20260304.db"} {
		dir := t.TempDir()
		p, err := openPeriod(t.Context(), dir, "20260304")
		check(t, err)
		check(t, p.file.close())
		check(t, open(dir))
		path := filepath.Join(dir, name)
		db, err := connect(path, 1)
		check(t, err)
		_, err = db.Exec("PRAGMA user_version=99")
		check(t, errors.Join(err, db.Close()))
		before, err := os.ReadFile(path)
		check(t, err)
		err = open(dir)
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "99") || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one that names the file and its version", err)
		}
		if after, err := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s was changed; %v", name, err)
		}
	}
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	defer closeStore(t, s)
	for _, name := range []string{"keys-k.db", "records-20260304.db"} {
		check(t, os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("nonsense"), 1000), 0o600))
	}
	refused := func(err error, name string) {
		t.Helper()
		if rouse.KindOf(err) != rouse.Internal || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("error %v, want one that names the damaged file", err)
		}
	}
	_, err := s.Keys(t.Context(), "k")
	refused(err, "keys-k.db")
	_, err = openPeriod(t.Context(), dir, "20260304")
	refused(err, "records-20260304.db")
	check(t, put(t.Context(), keysOf(t, s, "other"), "a"))
}

func TestAFileThatACrashLeftEmptyIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"keys-k.db", "records-20260304.db"} {
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	s := openStore(t, dir)
	defer closeStore(t, s)
	check(t, put(t.Context(), keysOf(t, s, "k"), "a"))
	check(t, s.Records().Post(t.Context(), made(s.records.now(), 0, 1, 1, hot), nil))
}

// hold keeps the writer of f busy until the function it returns is called.
func hold(t *testing.T, f *file) (release func()) {
	t.Helper()
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- f.update(context.Background(), func(*tx) error {
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun
	return func() {
		close(end)
		check(t, <-ended)
	}
}

// waiting returns once so many requests wait for the writer of f.
func waiting(f *file, n int) {
	for len(f.requests) < n {
		runtime.Gosched()
	}
}

func TestAContextThatEndsWhileAChangeWaits(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer closeStore(t, s)
	k := keysOf(t, s, "k")
	release := hold(t, k.file)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- put(ctx, k, "a") }()
	waiting(k.file, 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || rouse.KindOf(err) != rouse.Unavailable {
		t.Errorf("error %v, want an unavailable one of the context", err)
	}
	release() // only now: Update did not wait for the writer
	check(t, put(t.Context(), k, "b"))
	check(t, k.View(t.Context(), func(r rouse.KeyReader) error {
		ps, err := r.Scan(rouse.Span{})
		if len(ps) != 1 || string(ps[0].Key) != "b" {
			t.Errorf("pairs %q; want what was not withdrawn", ps)
		}
		return err
	}))
}

func TestEachOfABatchHasItsOwnOutcome(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer closeStore(t, s)
	k := keysOf(t, s, "k")
	f, m := k.file, meta.New(k)
	release := hold(t, f)
	change := func(name string, revision int64) error {
		r := rouse.Ref{Namespace: "n", Name: name}
		return m.Apply(t.Context(), []rouse.Change{{Kind: "k", Ref: r, Revision: revision, Data: []byte("x")},
			{Kind: "k", Ref: rouse.Ref{Namespace: "n", Name: name + "2"}, Revision: revision, Data: []byte("x")}})
	}
	done := make(map[string]chan error)
	start := func(name string, do func() error) {
		outcome := make(chan error, 1)
		done[name] = outcome
		go func() { outcome <- do() }()
		waiting(f, len(done))
	}
	for i := range 5 {
		start(fmt.Sprint("good", i), func() error { return change(fmt.Sprint("good", i), 0) })
		start(fmt.Sprint("conflict", i), func() error { return change(fmt.Sprint("conflict", i), 7) })
		start(fmt.Sprint("broken", i), func() error {
			return f.update(t.Context(), func(x *tx) error {
				if _, err := x.exec(putPair, fmt.Append(nil, "broken", i), 1, []byte{}); err != nil {
					return err
				}
				_, err := x.exec("INSERT INTO pair(key) VALUES(NULL)")
				return err
			})
		})
	}
	release()
	for name, err := range done {
		err := <-err
		if (strings.HasPrefix(name, "good")) != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.HasPrefix(name, "conflict") && rouse.KindOf(err) != rouse.Conflict {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	docs, err := m.List(t.Context(), rouse.DocQuery{Kind: "k", Namespace: "n"})
	if len(docs) != 10 || err != nil {
		t.Errorf("%d documents, %v; want the two of each of the five that went well", len(docs), err)
	}
	if n, err := keyCount(t.Context(), k); n != 10 || err != nil {
		t.Errorf("%d keys, %v; want none of what broke", n, err)
	}
}

func TestCloseCommitsWhatWaitsAndRefusesTheRest(t *testing.T) {
	dir := t.TempDir()
	before := runtime.NumGoroutine()
	s := openStore(t, dir)
	k := keysOf(t, s, "k")
	release := hold(t, k.file)
	sent := make(chan error, 20)
	for i := range 20 {
		go func() { sent <- put(context.Background(), k, fmt.Sprint(i)) }()
	}
	waiting(k.file, 20)
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	<-k.file.closing
	release()
	check(t, <-closed)
	for range 20 {
		check(t, <-sent)
	}
	if err := put(t.Context(), k, "late"); rouse.KindOf(err) != rouse.Unavailable {
		t.Errorf("error %v, want unavailable", err)
	}
	if err := s.Records().Post(t.Context(), made(s.records.now(), 0, 1, 1, hot), nil); rouse.KindOf(err) != rouse.Unavailable {
		t.Errorf("error %v, want unavailable", err)
	}
	if _, err := keyCount(t.Context(), k); rouse.KindOf(err) != rouse.Unavailable || err == nil {
		t.Errorf("error %v, want unavailable", err)
	}
	if _, err := s.Keys(t.Context(), "k"); rouse.KindOf(err) != rouse.Unavailable || err == nil {
		t.Errorf("error %v, want unavailable", err)
	}
	check(t, s.Close())
	fds, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, fd := range fds {
		if path, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(path, dir) {
			t.Errorf("%s is still open", path)
		}
	}
	for runtime.NumGoroutine() > before { // hangs where one is left behind
		runtime.Gosched()
	}
	s = openStore(t, dir)
	defer closeStore(t, s)
	if n, err := keyCount(t.Context(), keysOf(t, s, "k")); n != 20 || err != nil {
		t.Errorf("%d keys, %v; want 20", n, err)
	}
}

// No query of the hot paths may read a table from end to end or sort.
func TestQueriesUseTheirIndexes(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer closeStore(t, s)
	check(t, s.Records().Post(t.Context(), made(s.records.now(), 0, 1, 1, hot), nil))
	f := s.records.periods[0].file
	for _, query := range []string{partsOfAny, partsOfStatus, partsUnusual, blocksOfAny, blocksOfStatus, blocksOfUnusual} {
		args := make([]any, strings.Count(query, "?"))
		rows, err := f.read.Query("EXPLAIN QUERY PLAN "+query, args...)
		check(t, err)
		for rows.Next() {
			var a, b, c int
			var detail string
			check(t, rows.Scan(&a, &b, &c, &detail))
			if strings.Contains(detail, "SCAN") || strings.Contains(detail, "TEMP") || // the rest: an index, but not for the range
				(strings.Contains(detail, "_time") || strings.Contains(detail, "_unusual") || strings.HasPrefix(detail, "SEARCH p ")) &&
					!strings.Contains(detail, "last") {
				t.Errorf("%s\n%s", query, detail)
			}
		}
		check(t, rows.Err())
	}
}

// Trim deletes in steps; each goes on where the one before ended.
func TestTrimInManySteps(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer closeStore(t, s)
	start := time.UnixMilli(s.records.now().UnixMilli() / block.Window * block.Window)
	for second := range 3 {
		for range 5 {
			as := made(start.Add(time.Duration(second)*time.Second), 0, 2*forgetAtOnce, 10, func(n int) string { return fmt.Sprint("f", n%1999) })
			check(t, s.Records().Post(t.Context(), as, nil))
		}
	}
	p := s.records.periods[0]
	before, err := p.size(t.Context())
	check(t, err)
	check(t, s.Records().Trim(t.Context(), start.Add(2*time.Second+500*time.Millisecond), 0))
	for query, want := range map[string]int{
		"SELECT count(*) FROM part": 5 * 1999, "SELECT count(*) FROM block": 5 * 4, "SELECT count(*) FROM part p JOIN block b ON b.id=p.block": 5 * 1999,
	} {
		var n int
		check(t, p.file.read.QueryRow(query).Scan(&n))
		if n < want || n > want*3/2 { // a block ends where it is full
			t.Errorf("%s: %d, want %d or a few more", query, n, want)
		}
	}
	var pages, free, size int64
	check(t, p.file.read.QueryRow("PRAGMA page_count").Scan(&pages))
	check(t, p.file.read.QueryRow("PRAGMA freelist_count").Scan(&free))
	check(t, p.file.read.QueryRow("PRAGMA page_size").Scan(&size))
	if free != 0 || size != int64(p.file.layout.pageSize) || pages*size > before/2 {
		t.Errorf("%d pages of %d bytes, %d free, of the %d bytes before", pages, size, free, before)
	}
	check(t, s.Records().Trim(t.Context(), start.Add(3*time.Second), 0))
	as, err := s.Records().Activations(t.Context(), rouse.ActivationQuery{Namespace: "default"})
	if len(as) != 0 || err != nil {
		t.Errorf("%d activations, %v; want none", len(as), err)
	}
}
