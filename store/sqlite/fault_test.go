package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/queue"
)

const childEnv = "ROUSE_TEST_STORE_DIR"

// TestMain is the child of the tests that kill one where it is told a folder.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := work(context.Background(), dir); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// work changes a store from several goroutines for as long as it lives, and
// says what was acknowledged, a line each.
func work(ctx context.Context, dir string) error {
	s, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	e, err := openEngines(ctx, s, nil)
	if err != nil {
		return err
	}
	ended := make(chan error)
	for w := range 4 {
		who := fmt.Sprintf("%d.%d", os.Getpid(), w)
		go func() { ended <- sendAndDelete(ctx, e.queue, who, say) }()
		go func() { ended <- postMany(ctx, s.Records(), who, say) }()
		go func() { ended <- changeOne(ctx, e.meta, who, say) }()
		go func() { ended <- count(ctx, e.keys, who, say) }()
	}
	return <-ended
}

// engines are what stands on a store: one of each, and a map of its own.
type engines struct {
	meta  rouse.Meta
	queue rouse.Queue
	keys  rouse.Keys
	close func() error
}

// openEngines makes those of a store; now may be nil.
func openEngines(ctx context.Context, s *Store, now func() time.Time) (engines, error) {
	var ks [3]rouse.Keys
	for i, name := range []string{"meta", "queue", "k"} {
		var err error
		if ks[i], err = s.Keys(ctx, name); err != nil {
			return engines{}, err
		}
	}
	queues := queue.New(queue.Config{Keys: ks[1], Now: now})
	return engines{meta.New(ks[0]), queues.Plain(), ks[2], queues.Close}, nil
}

func sendAndDelete(ctx context.Context, q rouse.Queue, who string, say func(string, ...any)) error {
	for i := 0; ; i++ {
		var ms []rouse.Message
		for k := range 5 {
			ms = append(ms, rouse.Message{Body: fmt.Appendf(nil, "%s.%d.%d", who, i, k)})
		}
		if _, err := q.Send(ctx, "q", ms); err != nil {
			return err
		}
		for _, m := range ms {
			say("sent %s", m.Body)
		}
		ls, err := q.Receive(ctx, "q", 2, time.Hour)
		if err != nil {
			return err
		}
		var rs []rouse.Receipt
		for _, l := range ls {
			say("deleting %s", l.Body)
			rs = append(rs, l.Receipt)
		}
		if _, err := q.Delete(ctx, "q", rs); err != nil {
			return err
		}
		for _, l := range ls {
			say("deleted %s", l.Body)
		}
	}
}

func postMany(ctx context.Context, r rouse.Records, who string, say func(string, ...any)) error {
	for i := 0; ; i++ {
		as := made(time.Now(), 0, 5, 1, func(n int) string { return fmt.Sprint("f", n%2) })
		var ls []rouse.Line
		for _, a := range as {
			ls = append(ls, rouse.Line{Function: a.Function, Activation: a.ID, Time: a.Started, Text: who})
		}
		if err := r.Post(ctx, as, ls); err != nil {
			return err
		}
		for _, a := range as {
			say("posted %s", a.ID)
		}
	}
}

func changeOne(ctx context.Context, m rouse.Meta, who string, say func(string, ...any)) error {
	for i := int64(0); ; i++ {
		err := m.Apply(ctx, []rouse.Change{{Kind: "k", Ref: rouse.Ref{Namespace: "n", Name: who}, Revision: i, Data: fmt.Append(nil, i+1)}})
		if err != nil {
			return err
		}
		say("changed %s %d", who, i+1)
	}
}

// count makes a key for each number up to which it has counted, and keeps the
// number beside them.
func count(ctx context.Context, k rouse.Keys, who string, say func(string, ...any)) error {
	for i := 1; ; i++ {
		err := k.Update(ctx, func(w rouse.KeyWriter) error {
			w.Put(fmt.Append(nil, who), fmt.Append(nil, i))
			w.Put(fmt.Appendf(nil, "%s %08d", who, i), nil)
			return nil
		})
		if err != nil {
			return err
		}
		say("counted %s %d", who, i)
	}
}

// An outcome is what children have said.
type outcome struct {
	sent, deleting, deleted, posted map[string]bool
	changed, counted                map[string]int64
	lines                           int
}

func newOutcome() *outcome {
	return &outcome{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]int64{}, map[string]int64{}, 0}
}

func (o *outcome) read(line string) error {
	o.lines++
	f := strings.Fields(line)
	switch f[0] {
	case "sent":
		o.sent[f[1]] = true
	case "deleting":
		o.deleting[f[1]] = true
	case "deleted":
		o.deleted[f[1]] = true
	case "posted":
		o.posted[f[1]] = true
	case "changed", "counted":
		what := o.changed
		if f[0] == "counted" {
			what = o.counted
		}
		var n int64
		_, err := fmt.Sscan(f[2], &n)
		what[f[1]] = max(what[f[1]], n)
		return err
	default:
		return errors.New(line)
	}
	return nil
}

// A worker is a child that runs work.
type worker struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startWorker(t *testing.T, dir string) *worker {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	c := exec.Command(exe)
	c.Env = append(os.Environ(), childEnv+"="+dir)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	check(t, err)
	check(t, c.Start())
	return &worker{c, bufio.NewReader(out)}
}

// follow reads until so many lines are read, or to the end where n is 0.
func (w *worker) follow(t *testing.T, o *outcome, n int) {
	t.Helper()
	for i := 0; n == 0 || i < n; i++ {
		line, err := w.out.ReadString('\n')
		if n == 0 && err == io.EOF {
			return // what is left of a line was cut by the signal
		}
		check(t, err)
		check(t, o.read(line))
	}
}

// kill ends the child at once and reads what it still said.
func (w *worker) kill(t *testing.T, o *outcome) {
	t.Helper()
	check(t, w.cmd.Process.Kill())
	w.follow(t, o, 0)
	if err := w.cmd.Wait(); err == nil {
		t.Error("the child ended well: nothing was killed")
	}
}

// compare looks for all that was acknowledged, once each.
func (o *outcome) compare(t *testing.T, dir string) {
	t.Helper()
	s := openStore(t, dir)
	defer closeStore(t, s)
	// Whatever the children have leased is theirs no more.
	later := time.Now().Add(2 * time.Hour)
	e, err := openEngines(t.Context(), s, func() time.Time { return later })
	check(t, err)
	o.compareQueue(t, e.queue)
	check(t, e.close())
	o.compareRecords(t, s)
	o.compareKeys(t, e.keys)
	for who, revision := range o.changed {
		d, err := e.meta.Get(t.Context(), "k", rouse.Ref{Namespace: "n", Name: who})
		if err != nil || d.Revision < revision || string(d.Data) != fmt.Sprint(d.Revision) {
			t.Errorf("document %s is at revision %d with %q, %v; %d was acknowledged", who, d.Revision, d.Data, err, revision)
		}
	}
	files := []*file{s.records.periods[0].file}
	for _, k := range s.keys {
		files = append(files, k.file)
	}
	for _, f := range files {
		var said string
		check(t, f.read.QueryRow("PRAGMA integrity_check").Scan(&said))
		if said != "ok" {
			t.Errorf("%s: %s", f.path, said)
		}
	}
}

// compareQueue receives all messages, and gives them back.
func (o *outcome) compareQueue(t *testing.T, q rouse.Queue) {
	t.Helper()
	counted, err := q.Stats(t.Context(), "q")
	check(t, err)
	has := map[string]int{}
	var all []rouse.Lease
	for {
		ls, err := q.Receive(t.Context(), "q", 1000, time.Minute)
		check(t, err)
		if len(ls) == 0 {
			break
		}
		all = append(all, ls...)
	}
	var wg sync.WaitGroup
	for _, l := range all {
		has[string(l.Body)]++
		wg.Go(func() {
			if _, err := q.Extend(t.Context(), "q", l.Receipt, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	dead, err := q.Dead(t.Context(), "q", 0, 0)
	check(t, err)
	if c := counted["q"]; c.Visible != int64(len(all)) || c.Leased != 0 || len(dead) != 0 {
		t.Errorf("%d messages and %d dead letters, counted as %+v", len(all), len(dead), c)
	}
	for b, n := range has {
		if n != 1 || o.deleted[b] {
			t.Errorf("message %s is there %d times; deleted: %v", b, n, o.deleted[b])
		}
	}
	for b := range o.sent {
		if !o.deleting[b] && has[b] == 0 {
			t.Errorf("message %s is lost", b)
		}
	}
}

func (o *outcome) compareKeys(t *testing.T, k rouse.Keys) {
	t.Helper()
	check(t, k.View(t.Context(), func(r rouse.KeyReader) error {
		for who, acknowledged := range o.counted {
			v, err := r.Get([]byte(who))
			check(t, err)
			var n int64
			_, err = fmt.Sscan(string(v[0]), &n)
			check(t, err)
			keys, err := r.Count(fmt.Appendf(nil, "%s ", who), fmt.Appendf(nil, "%s!", who))
			if err != nil || n < acknowledged || keys != n {
				t.Errorf("%s has counted to %d, %d of it there, %v; want %d or more", who, n, keys, err, acknowledged)
			}
		}
		return nil
	}))
}

func (o *outcome) compareRecords(t *testing.T, s *Store) {
	t.Helper()
	has := map[string]int{}
	q := rouse.ActivationQuery{Namespace: "default", Limit: 1000}
	for {
		as, err := s.Records().Activations(t.Context(), q)
		check(t, err)
		for _, a := range as {
			has[a.ID]++
		}
		if len(as) < 1000 {
			break
		}
		q.Before = as[999].ID
	}
	printed := map[string]int{}
	for _, fn := range []string{"f0", "f1"} {
		ls, err := s.Records().Lines(t.Context(), rouse.LineQuery{Function: rouse.Ref{Namespace: "default", Name: fn}, Limit: 1 << 30})
		check(t, err)
		for _, l := range ls {
			printed[l.Activation]++
		}
	}
	for id := range o.posted {
		if has[id] != 1 || printed[id] != 1 {
			t.Errorf("activation %s is there %d times, its line %d times", id, has[id], printed[id])
		}
	}
	for id := range has {
		if has[id] != 1 || printed[id] != 1 { // what was not acknowledged is there whole or not at all
			t.Errorf("activation %s is there %d times, its line %d times", id, has[id], printed[id])
		}
	}
}

func TestKilledUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	o := newOutcome()
	for round := range 4 {
		w := startWorker(t, dir)
		w.follow(t, o, 500+1500*round)
		w.kill(t, o)
		o.compare(t, dir)
	}
	t.Logf("%d acknowledgements, %d sent, %d posted", o.lines, len(o.sent), len(o.posted))
}

// disk mounts a fresh file system that lives in a file, and says where.
func disk(t *testing.T) (image, mount string) {
	t.Helper()
	dir := t.TempDir()
	image, mount = filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if os.Getuid() != 0 {
		t.Skip("a disk of its own needs root")
	}
	for _, tool := range []string{"mkfs.ext4", "losetup", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("a disk of its own needs %s: %v", tool, err)
		}
	}
	check(t, os.Mkdir(mount, 0o700))
	check(t, os.WriteFile(image, nil, 0o600))
	check(t, os.Truncate(image, 96<<20))
	run(t, "mkfs.ext4", "-q", "-F", image)
	mountImage(t, image, mount)
	return image, mount
}

func mountImage(t *testing.T, image, mount string) {
	t.Helper()
	run(t, "mount", "-o", "loop", image, mount)
	t.Cleanup(func() { run(t, "umount", mount) })
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// The power is cut: what the file system had not yet given to its disk is gone.
func TestPowerCut(t *testing.T) {
	image, mount := disk(t)
	dir := filepath.Join(mount, "data")
	o := newOutcome()
	w := startWorker(t, dir)
	w.follow(t, o, 4000)
	check(t, w.cmd.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(w.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the child is not stopped: %v, %v", status, err)
	}
	left := filepath.Join(t.TempDir(), "left")
	run(t, "cp", "--sparse=always", image, left)
	w.kill(t, o)
	after := t.TempDir()
	mountImage(t, left, after)
	o.compare(t, filepath.Join(after, "data"))
	t.Logf("%d acknowledgements, %d sent, %d posted", o.lines, len(o.sent), len(o.posted))
}

func TestFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("a small disk needs root and tmpfs: %v", err)
	}
	t.Cleanup(func() { check(t, syscall.Unmount(mount, 0)) })
	ballast := filepath.Join(mount, "ballast")
	check(t, os.WriteFile(ballast, make([]byte, 6<<20), 0o600))
	s := openStore(t, filepath.Join(mount, "data"))
	defer closeStore(t, s)
	doc := rouse.Ref{Namespace: "n", Name: "d"}
	e, err := openEngines(t.Context(), s, nil)
	check(t, err)
	defer func() { check(t, e.close()) }()
	changes := []func(i int) error{
		func(i int) error {
			_, err := e.queue.Send(t.Context(), "q", []rouse.Message{{Body: make([]byte, 50_000)}})
			return err
		},
		func(i int) error {
			as := made(time.Now(), 0, 1, 1, hot)
			as[0].Result = make([]byte, 50_000)
			return s.Records().Post(t.Context(), as, nil)
		},
		func(i int) error {
			return e.meta.Apply(t.Context(), []rouse.Change{{Kind: "k", Ref: doc, Revision: int64(i), Data: make([]byte, 50_000)}})
		},
		func(i int) error {
			return e.keys.Update(t.Context(), func(w rouse.KeyWriter) error {
				w.Put(fmt.Append(nil, i), make([]byte, 50_000))
				return nil
			})
		},
	}
	acknowledged := make([]int, len(changes))
	for k, change := range changes {
		var err error
		for err == nil {
			if err = change(acknowledged[k]); err == nil {
				acknowledged[k]++
			}
		}
		if rouse.KindOf(err) != rouse.Unavailable || !strings.Contains(err.Error(), "full") {
			t.Fatalf("error %v (%v), want one that is unavailable and says that the disk is full", err, rouse.KindOf(err))
		}
	}
	look := func() {
		t.Helper()
		all, err := e.queue.Stats(t.Context(), "q")
		st := all["q"]
		as, err2 := s.Records().Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Limit: 1000})
		check(t, errors.Join(err, err2))
		if int(st.Visible) != acknowledged[0] || len(as) != acknowledged[1] {
			t.Errorf("%d messages and %d activations, want %v", st.Visible, len(as), acknowledged)
		}
		check(t, e.keys.View(t.Context(), func(r rouse.KeyReader) error {
			if n, err := r.Count(nil, nil); err != nil || int(n) != acknowledged[3] {
				t.Errorf("%d keys, %v; want %v", n, err, acknowledged)
			}
			return nil
		}))
		if acknowledged[2] > 0 {
			d, err := e.meta.Get(t.Context(), "k", doc)
			if err != nil || int(d.Revision) != acknowledged[2] {
				t.Errorf("revision %d, %v, want %v", d.Revision, err, acknowledged)
			}
		}
	}
	look()
	check(t, os.Remove(ballast))
	for k, change := range changes {
		check(t, change(acknowledged[k]))
		acknowledged[k]++
	}
	look()
}

// flip changes one bit of the payload that contains text, on the disk.
func flip(t *testing.T, path, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	at := bytes.LastIndex(data, []byte(text))
	if at < 0 {
		t.Fatalf("%q is not in %s", text, path)
	}
	data[at+len(text)/2] ^= 1
	check(t, os.WriteFile(path, data, 0o600))
}

func TestAFlippedBitHarmsNoNeighbour(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	e, err := openEngines(t.Context(), s, nil)
	check(t, err)
	ref := func(name string) rouse.Ref { return rouse.Ref{Namespace: "default", Name: name} }
	as := made(s.records.now(), 0, 3, 1, func(n int) string { return fmt.Sprint("f", n) })
	for i := range as {
		as[i].Result = fmt.Appendf(nil, "the result number %d", i)
		ls := []rouse.Line{{Function: as[i].Function, Activation: as[i].ID, Time: as[i].Started, Stream: rouse.Stdout, Text: fmt.Sprint("the line number ", i)}}
		check(t, s.Records().Post(t.Context(), nil, ls))
		check(t, e.meta.Apply(t.Context(), []rouse.Change{{Kind: "k", Ref: ref(fmt.Sprint("f", i)), Data: fmt.Append(nil, "the document number ", i)}}))
	}
	check(t, s.Records().Post(t.Context(), as, nil))
	_, err = e.queue.Send(t.Context(), "q", []rouse.Message{
		{Body: []byte("the message number 0")}, {Body: []byte("the message number 1")}, {Body: []byte("the message number 2")}})
	check(t, err)
	check(t, e.keys.Update(t.Context(), func(w rouse.KeyWriter) error {
		for _, key := range []string{"a", "b", "c"} {
			w.Put([]byte(key), []byte("the value of "+key))
		}
		return nil
	}))
	records := s.records.periods[0].file.path
	check(t, e.close())
	closeStore(t, s)
	flip(t, filepath.Join(dir, "keys-k.db"), "the value of b")
	flip(t, filepath.Join(dir, "keys-meta.db"), "the document number 1")
	flip(t, filepath.Join(dir, "keys-queue.db"), "the message number 0")
	flip(t, records, "the result number 1")
	flip(t, records, "the line number 1")

	s = openStore(t, dir)
	defer closeStore(t, s)
	e, err = openEngines(t.Context(), s, nil)
	check(t, err)
	defer func() { check(t, e.close()) }()
	damagedOn := func(err error, row string) {
		t.Helper()
		if err == nil || rouse.KindOf(err) != rouse.Internal || !strings.Contains(err.Error(), row) {
			t.Errorf("error %v, want an internal one that names %s", err, row)
		}
	}
	_, err = e.meta.Get(t.Context(), "k", ref("f1"))
	damagedOn(err, "default/f1")
	docs, err := e.meta.List(t.Context(), rouse.DocQuery{Kind: "k", Namespace: "default"})
	damagedOn(err, "default/f1")
	if len(docs) != 2 || docs[1].Ref.Name != "f2" {
		t.Errorf("documents %v, want the other two", docs)
	}

	ls, err := e.queue.Receive(t.Context(), "q", 1, time.Minute)
	if err != nil || len(ls) != 1 || string(ls[0].Body) != "the message number 1" {
		t.Errorf("received %v, %v; want the one after the damaged one", ls, err)
	}
	dead, err := e.queue.Dead(t.Context(), "q", 0, 10)
	if err != nil || len(dead) != 1 || !strings.Contains(dead[0].Reason, "damaged") || dead[0].Body != nil {
		t.Errorf("dead letters %+v, %v; want the damaged one", dead, err)
	}
	if n, err := e.queue.Redrive(t.Context(), "q", nil); n != 0 || err != nil {
		t.Errorf("%d were sent again, %v; want none that is damaged", n, err)
	}

	look := func(r rouse.KeyReader) {
		values, err := r.Get([]byte("a"), []byte("b"), []byte("c"))
		damagedOn(err, "key 62")
		if string(values[0]) != "the value of a" || values[1] != nil || string(values[2]) != "the value of c" {
			t.Errorf("values %q", values)
		}
		ps, err := r.Scan(rouse.Span{})
		damagedOn(err, "key 62")
		if len(ps) != 3 || ps[1].Value != nil || string(ps[2].Value) != "the value of c" {
			t.Errorf("pairs %q", ps)
		}
	}
	check(t, e.keys.View(t.Context(), func(r rouse.KeyReader) error { look(r); return nil }))
	check(t, e.keys.Update(t.Context(), func(w rouse.KeyWriter) error { look(w); w.Put([]byte("d"), nil); return nil }))
	check(t, e.keys.Update(t.Context(), func(w rouse.KeyWriter) error {
		w.Put([]byte("b"), []byte("anew"))
		ps, err := w.Scan(rouse.Span{})
		if len(ps) != 4 || string(ps[1].Value) != "anew" {
			t.Errorf("pairs %q", ps)
		}
		return err
	}))

	_, err = s.Records().Activation(t.Context(), as[1].ID)
	damagedOn(err, records)
	for _, i := range []int{0, 2} {
		if a, err := s.Records().Activation(t.Context(), as[i].ID); err != nil || string(a.Result) != string(as[i].Result) {
			t.Errorf("neighbour %d: %q, %v", i, a.Result, err)
		}
		if as, err := s.Records().Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Function: fmt.Sprint("f", i)}); len(as) != 1 || err != nil {
			t.Errorf("neighbour's list: %v, %v", as, err)
		}
	}
	got, err := s.Records().Activations(t.Context(), rouse.ActivationQuery{Namespace: "default"})
	damagedOn(err, records)
	if len(got) != 2 {
		t.Errorf("%d activations, want the other two", len(got))
	}
	printed, err := s.Records().Lines(t.Context(), rouse.LineQuery{Function: ref("f1")})
	damagedOn(err, records)
	if len(printed) != 0 {
		t.Errorf("lines %v", printed)
	}
	printed, err = s.Records().Lines(t.Context(), rouse.LineQuery{Function: ref("f2")})
	if len(printed) != 1 || err != nil {
		t.Errorf("neighbour's lines %v, %v", printed, err)
	}
}
