package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
)

// A world is a Source over a real store, and a folder.
type world struct {
	t      testing.TB
	inbox  *inbox.Inbox
	source *Source
	dir    string // of indexes
	own    string // see Config
	in     string // that is watched
	stop   func()
	read   [8]uint64 // how far each shard of the inbox was
	all    []string  // what was read

	mu    sync.Mutex
	down  bool          // whether the store can't be reached
	held  chan struct{} // what is handed over waits for its end; nil does not
	log   bytes.Buffer  // what the Source said; to be read once it is stopped
	news  chan struct{}
	emits []time.Time // when events were handed over
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store, err := sqlite.Open(context.Background(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.Keys(t.Context(), "event")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, inbox: inbox.New(inbox.Config{Keys: keys}), dir: t.TempDir(), in: filepath.Join(t.TempDir(), "in"), news: make(chan struct{}, 1), stop: func() {}}
	w.mkdir("")
	t.Cleanup(func() {
		w.stop()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) Emit(ctx context.Context, r rouse.Ref, es []rouse.Event, state []byte) error {
	w.mu.Lock()
	down, held := w.down, w.held
	w.emits = append(w.emits, time.Now())
	w.mu.Unlock()
	if held != nil {
		<-held
	}
	if down {
		return rouse.Errorf(rouse.Unavailable, "emit", r.String(), "the store can't be reached")
	}
	err := w.inbox.Add(ctx, r, es, state)
	select {
	case w.news <- struct{}{}:
	default:
	}
	return err
}

func (w *world) State(ctx context.Context, r rouse.Ref) ([]byte, error) { return w.inbox.State(ctx, r) }

func (w *world) start(config string) {
	w.t.Helper()
	s := New(Config{Emitter: w, Dir: w.dir, Own: w.own, Poll: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.MultiWriter(w.t.Output(), &w.log), nil))})
	var c map[string]any
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		w.t.Fatal(err)
	}
	c["path"] = w.in
	raw, err := json.Marshal(c)
	if err == nil {
		raw, err = s.Check(raw)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.source = s
	stop, err := s.Start(event.Trigger{Ref: rouse.Ref{Namespace: "../a", Name: "f/.."}, Config: raw})
	if err != nil {
		w.t.Fatal(err)
	}
	w.stop = stop
}

// seen returns what was announced, such as "written a/b".
func (w *world) seen() []string {
	w.t.Helper()
	for shard := range w.read {
		for {
			b, err := w.inbox.Read(w.t.Context(), data.FeedQuery{Ref: rouse.Ref{Namespace: "../a", Name: inbox.Name}, Shard: fmt.Sprint(shard), After: w.read[shard]})
			if err != nil {
				w.t.Fatal(err)
			}
			if len(b.Entries) == 0 {
				break
			}
			for _, e := range b.Entries {
				w.all = append(w.all, w.describe(e.Event))
			}
			w.read[shard] = b.After
		}
	}
	return slices.Clone(w.all)
}

func (w *world) describe(e rouse.Event) string {
	w.t.Helper()
	var d body
	if err := json.Unmarshal(e.Data, &d); err != nil {
		w.t.Fatal(err)
	}
	if d.Path != e.Subject || e.Type != "file."+d.Event || d.Dir+"/"+d.Name != d.Path {
		w.t.Errorf("%+v of %s", e, e.Data)
	}
	s := d.Event + " " + strings.TrimPrefix(d.Path, w.in+"/")
	if d.From != "" {
		s += " from " + strings.TrimPrefix(d.From, w.in+"/")
	}
	return s
}

// until waits until ok says so of what was announced.
func (w *world) until(ok func(seen []string) bool) []string {
	w.t.Helper()
	end := time.After(60 * time.Second)
	for {
		seen := w.seen()
		if ok(seen) {
			return seen
		}
		select {
		case <-w.news:
		case <-end:
			w.t.Fatalf("it did not come so far within 60 s: %d events, the last of them %q", len(seen), seen[max(0, len(seen)-20):])
		}
	}
}

// settle waits until all that happened before was announced: a file that is
// removed is announced after a while.
func (w *world) settle() []string {
	w.t.Helper()
	name := fmt.Sprintf("sentinel-%d", time.Now().UnixNano())
	w.write(name, "x")
	w.until(func(seen []string) bool { return slices.Contains(seen, "written "+name) })
	w.remove(name)
	seen := w.until(func(seen []string) bool { return slices.Contains(seen, "removed "+name) })
	return slices.DeleteFunc(seen, func(s string) bool { return strings.Contains(s, "sentinel") })
}

func (w *world) want(want ...string) {
	w.t.Helper()
	got := w.settle()
	if !slices.Equal(got, want) {
		w.t.Errorf("announced are %q, want %q", got, want)
	}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.in, name) }

func (w *world) write(name, content string) {
	w.t.Helper()
	w.check(os.WriteFile(w.path(name), []byte(content), 0o600))
}

func (w *world) mkdir(name string)      { w.t.Helper(); w.check(os.MkdirAll(w.path(name), 0o700)) }
func (w *world) remove(name string)     { w.t.Helper(); w.check(os.RemoveAll(w.path(name))) }
func (w *world) rename(from, to string) { w.t.Helper(); w.check(os.Rename(w.path(from), w.path(to))) }

// begun waits until what is there was looked at: then there is an index.
func (w *world) begun() {
	index := New(Config{Dir: w.dir}).indexPath(rouse.Ref{Namespace: "../a", Name: "f/.."})
	for _, err := os.Stat(index); err != nil; _, err = os.Stat(index) {
		runtime.Gosched()
	}
}

func TestFilesAreAnnounced(t *testing.T) {
	w := newWorld(t)
	w.write("old", "x")
	w.start(`{"recursive": true, "events": ["written", "created", "moved", "removed"], "ignore": ["*.tmp", "hidden"]}`)
	w.begun()
	clean := func() []string { return w.settle() }
	before := len(clean())
	step := func(do func(), want ...string) {
		t.Helper()
		do()
		got := clean()
		if !slices.Equal(got[before:], want) {
			t.Errorf("announced are %q, want %q", got[before:], want)
		}
		before = len(got)
	}
	step(func() { w.write("a", "1") }, "created a", "written a")
	step(func() { w.write("a", "12") }, "written a")
	step(func() { w.rename("a", "b") }, "moved b from a")
	step(func() { w.remove("b") }, "removed b")
	step(func() { w.mkdir("d/e/f"); w.write("d/e/f/g", "1") }, "created d/e/f/g", "written d/e/f/g")
	step(func() { w.rename("d", "h") }, "moved h/e/f/g from d/e/f/g")
	step(func() { w.write("h/e/f/g", "22") }, "written h/e/f/g")
	step(func() { w.remove("h") }, "removed h/e/f/g")
	step(func() { w.write("x.tmp", "1"); w.mkdir("hidden"); w.write("hidden/y", "1") })
	step(func() { w.rename("x.tmp", "x") }, "created x", "written x")
	step(func() { w.rename("x", "x.tmp") }, "removed x")
	step(func() { w.write("p", "1"); w.write("q", "2") }, "created p", "written p", "created q", "written q")
	step(func() { w.rename("p", "q") }, "written q", "removed p") // q is new, and p is gone
	step(func() { w.check(os.Link(w.path("q"), w.path("r"))) }, "created r", "written r")
	step(func() { w.check(os.Symlink("/etc", w.path("s"))); w.check(os.Symlink("q", w.path("t"))) })
	step(func() { w.check(unix.Mkfifo(w.path("fifo"), 0o600)) })
	step(func() { w.check(os.Chmod(w.path("q"), 0o644)) })
	step(func() { // moved in from outside
		out := filepath.Join(t.TempDir(), "out")
		w.check(os.MkdirAll(out+"/k", 0o700))
		w.check(os.WriteFile(out+"/k/l", []byte("1"), 0o600))
		w.check(os.Rename(out, w.path("m")))
	}, "created m/k/l", "written m/k/l")
	step(func() { // opened to write, and left as it is
		f, err := os.OpenFile(w.path("q"), os.O_RDWR, 0)
		w.check(err)
		w.check(f.Close())
	})
}

func TestAFileIsAnnouncedWhenItIsComplete(t *testing.T) {
	w := newWorld(t)
	w.start(`{"recursive": true, "events": ["created", "written", "removed"]}`)
	w.begun()
	w.mkdir("d") // with the file in it before it is watched, or after
	f, err := os.Create(w.path("d/a"))
	w.check(err)
	_, err = f.WriteString("half")
	w.check(err)
	w.until(func(seen []string) bool { return slices.Contains(seen, "created d/a") })
	if seen := w.settle(); slices.Contains(seen, "written d/a") {
		t.Error("it was announced while it was written")
	}
	_, err = f.WriteString(", and all")
	w.check(err)
	w.check(f.Close())
	w.until(func(seen []string) bool { return slices.Contains(seen, "written d/a") })
	w.stop() // also by the scan of a new start
	f, err = os.OpenFile(w.path("d/a"), os.O_APPEND|os.O_WRONLY, 0)
	w.check(err)
	_, err = f.WriteString("and more")
	w.check(err)
	w.start(`{"recursive": true, "events": ["created", "written", "removed"]}`)
	seen := w.settle()
	w.check(f.Close())
	again := w.settle()
	if len(again) != len(seen)+1 || again[len(seen)] != "written d/a" {
		t.Errorf("%q, and then %q", seen, again)
	}
}

// As vim, sed -i and others write files.
func TestEditorsWriteOnce(t *testing.T) {
	for _, ignore := range []string{``, `, "ignore": []`} {
		w := newWorld(t)
		w.write("notes", "1")
		w.start(`{"events": ["written", "moved", "removed"]` + ignore + `}`)
		w.begun()
		synced := func(name, content string) {
			f, err := os.Create(w.path(name))
			w.check(err)
			_, err = f.WriteString(content)
			w.check(err)
			w.check(f.Sync())
			w.check(f.Close())
		}
		if ignore == "" { // vim, with a backup
			w.write("4913", "")
			w.remove("4913")
			w.rename("notes", "notes~")
			synced("notes", "2")
			w.remove("notes~")
			w.want("written notes")
		}
		n := len(w.settle())
		w.write("sedAbC", "33") // sed
		w.rename("sedAbC", "notes")
		if got := w.settle()[n:]; slices.Index(got, "written notes") < 0 || len(got) > 1 && ignore == "" && got[0] != "written sedAbC" {
			t.Errorf("%q", got)
		}
		w.stop()
	}
}

func TestWhatHappensWhileDown(t *testing.T) {
	w := newWorld(t)
	config := `{"recursive": true, "existing": true}`
	w.mkdir("d")
	for _, name := range []string{"same", "changed", "removed", "moved", "d/deep"} {
		w.write(name, name)
	}
	w.start(config)
	w.until(func(seen []string) bool { return len(seen) == 5 })
	for range 2 {
		w.stop()
		w.start(config)
	}
	if n := len(w.settle()); n != 5 {
		t.Errorf("%d events after two more starts", n)
	}
	w.stop()
	w.write("changed", "otherwise")
	w.remove("removed")
	w.rename("moved", "d/there")
	w.write("new", "")
	w.start(config)
	got := w.settle()[5:]
	slices.Sort(got)
	if want := []string{"moved d/there from moved", "removed removed", "written changed", "written new"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// A torn index, as after a power cut, costs nothing: the IDs are the same.
	w.stop()
	index := New(Config{Dir: w.dir}).indexPath(rouse.Ref{Namespace: "../a", Name: "f/.."})
	b, err := os.ReadFile(index)
	w.check(err)
	w.check(os.WriteFile(index, b[:len(b)*2/3], 0o600))
	before := len(w.seen())
	w.start(config)
	if got := w.settle(); len(got) != len(slices.DeleteFunc(w.seen()[:before], func(s string) bool { return strings.Contains(s, "sentinel") })) {
		t.Errorf("announced again: %q", got)
	}
}

func TestExistingFilesAreNoNews(t *testing.T) {
	w := newWorld(t)
	w.write("old", "1")
	w.start(`{}`)
	w.begun()
	w.want()
	w.stop()
	w.start(`{}`)
	w.write("old", "22")
	if got := w.settle(); got[len(got)-1] != "written old" || slices.Index(got, "written old") != len(got)-1 {
		t.Errorf("%q", got)
	}
	// One that is made anew begins anew.
	w.stop()
	w.check(w.inbox.Forget(t.Context(), rouse.Ref{Namespace: "../a", Name: "f/.."}))
	w.check(os.RemoveAll(w.dir))
	w.write("between", "1")
	w.start(`{}`)
	w.begun()
	if got := w.settle(); slices.Contains(got, "written between") {
		t.Errorf("%q", got)
	}
}

func TestAFolderIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.remove("")
	w.start(`{"recursive": true}`)
	made := func(content string) {
		next := w.in + ".next"
		w.check(os.MkdirAll(next+"/d", 0o700))
		w.check(os.WriteFile(next+"/d/a", []byte(content), 0o600))
		w.check(os.Rename(next, w.in))
	}
	w.begun()
	made("1")
	w.until(func(seen []string) bool { return slices.Equal(seen, []string{"written d/a"}) })
	w.remove("")
	w.until(func(seen []string) bool { return slices.Equal(seen, []string{"written d/a", "removed d/a"}) })
	made("22")
	w.until(func(seen []string) bool { return len(seen) == 3 && seen[2] == "written d/a" })
	w.check(os.Rename(w.in, w.in+".away")) // and another one in its place
	made("333")
	w.until(func(seen []string) bool { return len(seen) == 4 && seen[3] == "written d/a" })
}

// Folders are made, filled and renamed at once, by many.
func TestThousandsOfFilesAreFound(t *testing.T) {
	w := newWorld(t)
	w.start(`{"recursive": true}`)
	w.begun()
	const writers, each = 8, 300
	var wait sync.WaitGroup
	want := map[string]int{}
	var mu sync.Mutex
	for i := range writers {
		wait.Go(func() {
			for k := range each {
				dir := fmt.Sprintf("w%d/%d/%d/%d", i, k%7, k%11, k)
				if err := os.MkdirAll(w.path(dir), 0o700); err != nil {
					t.Error(err)
				}
				if err := os.WriteFile(w.path(dir+"/f"), []byte("1"), 0o600); err != nil {
					t.Error(err)
				}
				final := dir + "/f"
				if k%5 == 0 {
					if err := os.Rename(w.path(dir), w.path(dir+"-renamed")); err != nil {
						t.Error(err)
					}
					final = dir + "-renamed/f"
				}
				mu.Lock()
				want[final] = 0
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	missing := func(seen []string) int {
		clear := 0
		known := map[string]bool{}
		for _, s := range seen {
			f := strings.Fields(s)
			known[f[1]] = true
		}
		for p := range want {
			if !known[p] {
				clear++
			}
		}
		return clear
	}
	w.until(func(seen []string) bool { return missing(seen) == 0 })
	counts := map[string]int{}
	for _, s := range w.settle() {
		if counts[s]++; counts[s] > 1 {
			t.Errorf("%s comes %d times", s, counts[s])
		}
	}
}

func TestAStoreThatIsDownIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.start(`{}`)
	w.begun()
	set := func(down bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.down = down
		w.emits = nil
	}
	set(true)
	w.write("a", "1")
	for n := 0; n < 2; runtime.Gosched() {
		w.mu.Lock()
		n = len(w.emits)
		w.mu.Unlock()
	}
	w.write("b", "1")
	w.stop() // returns though it is being tried
	set(false)
	w.start(`{}`)
	got := w.settle()
	slices.Sort(got)
	if !slices.Equal(got, []string{"written a", "written b"}) {
		t.Errorf("%q", got)
	}
}

// What is dropped by the kernel is found by a scan. The notice comes as the
// kernel writes it; see inotify(7).
func TestOverflowLeadsToAScan(t *testing.T) {
	w := newWorld(t)
	s := New(Config{Emitter: w, Dir: w.dir})
	c, err := read(json.RawMessage(fmt.Sprintf(`{"path": %q, "recursive": true}`, w.in)))
	w.check(err)
	x, _, err := openIndex(filepath.Join(w.dir, "i"), "x")
	w.check(err)
	wt := &watcher{source: s, config: c, log: s.Log, index: x, dirty: map[string]*mark{}, leaving: map[uint64]string{}}
	wt.attend()
	defer wt.shut()
	w.check(x.rewrite())
	w.mkdir("d")
	w.write("d/a", "1")
	if len(wt.dirty) != 0 {
		t.Fatal("it is known without a notice")
	}
	b := binary.NativeEndian.AppendUint32(nil, 0xffffffff)
	b = binary.NativeEndian.AppendUint32(b, unix.IN_Q_OVERFLOW)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	w.check(decode(b, wt.hint))
	if wt.dirty["d/a"] == nil || len(wt.folders) != 2 {
		t.Errorf("%v %v", wt.dirty, wt.folders)
	}
	w.check(x.close())
}

func TestSettle(t *testing.T) {
	w := newWorld(t)
	w.start(`{"settle": "150ms"}`)
	w.begun()
	f, err := os.Create(w.path("a"))
	w.check(err)
	for range 3 { // closed in between, but not left alone
		_, err := f.WriteString("more")
		w.check(err)
		w.write("b", fmt.Sprint(time.Now()))
	}
	w.check(f.Close())
	got := w.settle()
	slices.Sort(got)
	if !slices.Equal(got, []string{"written a", "written b"}) {
		t.Errorf("%q", got)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.start(`{}`)
	w.begun()
	w.settle()
	w.stop()
	held := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		w.check(err)
		for _, fd := range fds {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && (strings.Contains(to, "inotify") || strings.HasPrefix(to, w.dir)) {
				n++
			}
		}
		stacks := make([]byte, 1<<20)
		return n + strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "files.(*watcher)") + strings.Count(string(stacks), "files.pump")
	}
	for range 5 {
		w.start(`{}`)
		w.settle()
		if n := held(); n < 4 { // two of each
			t.Errorf("%d goroutines and descriptors while it runs", n)
		}
		w.stop()
		// A goroutine that has said that it ends is there for a moment yet.
		for end := time.Now().Add(60 * time.Second); held() != 0; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines and descriptors at last", held())
			}
		}
	}
}

// Nothing is left of a trigger that is removed, and another's index stays.
func TestForget(t *testing.T) {
	w := newWorld(t)
	w.start(`{}`)
	w.begun()
	w.stop()
	s := New(Config{Emitter: w, Dir: w.dir})
	others := s.indexPath(rouse.Ref{Namespace: "other", Name: "f/.."})
	w.check(os.MkdirAll(filepath.Dir(others), 0o700))
	w.check(os.WriteFile(others, []byte("x"), 0o600))
	if _, err := os.Stat(s.indexPath(rouse.Ref{Namespace: "../a", Name: "f/.."})); err != nil {
		t.Fatalf("there was no index: %v", err)
	}
	for range 2 { // there is none the second time
		w.check(s.Forget(rouse.Ref{Namespace: "../a", Name: "f/.."}))
	}
	var left []string
	w.check(filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if path != w.dir {
			left = append(left, path)
		}
		return err
	}))
	if !slices.Equal(left, []string{filepath.Dir(filepath.Dir(others)), filepath.Dir(others), others}) {
		t.Errorf("left is %q", left)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, file string
		want          bool
	}{
		{"*.jpg", "a/b.jpg", true}, {"*.jpg", "a/b.jpeg", false}, {"a/*.jpg", "a/b.jpg", true}, {"a/*.jpg", "b.jpg", false},
		{"a/*", "a/b/c", false}, {"a/**", "a/b/c", true}, {"**/c", "c", true}, {"**/c", "a/b/c", true}, {"a/**/c", "a/c", true},
		{"a/**/c", "a/x/y/c", true}, {"a/**/c", "b/x/c", false}, {"/a/b", "a/b", true}, {"*~", "x/notes~", true},
	} {
		if got := fits([]string{c.pattern}, c.file); got != c.want {
			t.Errorf("%s fits %s: %v", c.pattern, c.file, got)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	for config, field := range map[string]string{
		`{}`: "path", `{"path": "in"}`: "path", `{"path": 5}`: "path", `{"path": "/a", "events": ["opened"]}`: "events", `{"path": "/a", "events": []}`: "events",
		`{"path": "/a", "match": ["["]}`: "match", `{"path": "/a", "ignore": [""]}`: "ignore", `{"path": "/a", "settle": "-1s"}`: "settle",
		`{"path": "/a", "settle": []}`: "settle", `{"path": "/a", "recurse": true}`: "recurse",
	} {
		_, err := New(Config{}).Check(json.RawMessage(config))
		e, ok := errors.AsType[*rouse.Error](err)
		if !ok || e.Kind != rouse.Invalid || e.On != field {
			t.Errorf("%s: %v", config, err)
		}
	}
	got, err := New(Config{}).Check(json.RawMessage(`{"path": "/srv/in/", "settle": "1s"}`))
	if err != nil || !strings.HasPrefix(string(got), `{"path":"/srv/in","recursive":true,"events":["written","moved","removed"],"match":[],"ignore":["*~",`) {
		t.Errorf("%s %v", got, err)
	}
}

// What the platform writes is no event, wherever its folder is: else each would
// lead to the next.
func TestOwnWritesAreNotAnnounced(t *testing.T) {
	w := newWorld(t)
	w.mkdir("srv/data")
	w.own, w.dir = w.path("srv/data"), w.path("srv/data/files")
	w.write("srv/data/before", "x")
	w.start(`{"existing": true, "events": ["written", "created", "moved", "removed"]}`)
	w.begun()
	w.write("a", "1")
	w.write("srv/data/records", "1")
	w.mkdir("srv/data/deep")
	w.write("srv/data/deep/b", "1")
	w.write("srv/data2", "1")
	w.want("created a", "written a", "created srv/data2", "written srv/data2")
	w.rename("srv", "moved") // as a whole, with what is not announced in it
	w.write("moved/data/records", "2")
	w.want("created a", "written a", "created srv/data2", "written srv/data2", "moved moved/data2 from srv/data2")
	w.rename("moved/data/records", "c")
	w.want("created a", "written a", "created srv/data2", "written srv/data2", "moved moved/data2 from srv/data2", "created c", "written c")
}

// Nor is the platform's folder watched, or one in it, as one or by a link.
func TestTheOwnFolderIsNotWatched(t *testing.T) {
	dir := t.TempDir()
	own, other := filepath.Join(dir, "data"), filepath.Join(dir, "data2")
	for _, err := range []error{os.MkdirAll(filepath.Join(own, "in"), 0o700), os.Mkdir(other, 0o700),
		os.Symlink(filepath.Join(own, "in"), filepath.Join(other, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := New(Config{Own: own})
	for path, refused := range map[string]bool{own: true, own + "/in": true, own + "/to/come": true, other + "/link": true, other: false, dir: false, "/srv/none": false} {
		_, err := s.Check(fmt.Appendf(nil, `{"path": %q}`, path))
		if e, ok := errors.AsType[*rouse.Error](err); (err != nil) != refused || refused && (!ok || e.Kind != rouse.Invalid || e.On != "path") {
			t.Errorf("%s: %v", path, err)
		}
	}
	w := newWorld(t)
	w.own, w.in = own, filepath.Join(other, "later")
	w.start(`{}`)
	w.check(os.MkdirAll(filepath.Join(own, "later"), 0o700))
	w.check(os.Rename(own, filepath.Join(other, "later")))
	w.does(event.Failing, "keeps its data")
}

// Folders in the folder are watched where nobody says otherwise.
func TestFoldersInItAreWatched(t *testing.T) {
	for config, want := range map[string][]string{`{}`: {"written a", "written d/e/f"}, `{"recursive": false}`: {"written a"}} {
		w := newWorld(t)
		w.start(config)
		w.begun()
		w.mkdir("d/e")
		w.write("d/e/f", "1")
		w.write("a", "1")
		got := w.settle()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s announces %q, want %q", config, got, want)
		}
		w.stop()
		w.stop = func() {}
	}
}

// That a folder is not there is seen, and that it has come.
// does waits until a trigger does as is said.
func (w *world) does(s event.State, says string) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		h := w.source.Health(rouse.Ref{Namespace: "../a", Name: "f/.."})
		if h.State == s && strings.Contains(h.Error, says) && !h.Since.IsZero() {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%+v, want %s", h, s)
		}
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	w.remove("")
	w.start(`{}`)
	w.does(event.Failing, "no such file")
	w.mkdir("")
	w.does(event.Running, "")
	w.remove("")
	w.does(event.Failing, w.in)
}

func FuzzDecode(f *testing.F) {
	one := binary.NativeEndian.AppendUint32(nil, 1)
	one = binary.NativeEndian.AppendUint32(one, unix.IN_CREATE)
	one = append(one, 0, 0, 0, 0, 16, 0, 0, 0)
	one = append(one, "name\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	f.Add(one)
	f.Add(append(one, one...))
	f.Add(one[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := decode(b, func(x notice) {
			n++
			if strings.ContainsRune(x.name, 0) {
				t.Errorf("%q", x.name)
			}
		})
		if n*unix.SizeofInotifyEvent > len(b) || err == nil && n == 0 && len(b) > 0 {
			t.Errorf("%d notices in %d bytes, %v", n, len(b), err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	whole := appendEntry(appendEntry(appendRecord(nil, []byte("x")), "a/b", &node{1, 2, 3, 4}), "a/b", nil)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(appendEntry(appendRecord(nil, []byte("x")), "c", &node{1, -1, -3, 4}))
	f.Add(appendRecord(nil, []byte("y")))
	f.Fuzz(func(t *testing.T, b []byte) {
		nodes := map[string]node{}
		good, records, err := load(bytes.NewReader(b), "x", nodes)
		if err != nil || good > int64(len(b)) || len(nodes) > records {
			t.Fatalf("%d bytes and %d records of %d bytes: %v", good, records, len(b), err)
		}
		again := map[string]node{}
		if g, r, err := load(bytes.NewReader(b[:good]), "x", again); g != good || r != records || err != nil || len(again) != len(nodes) {
			t.Errorf("what is good of it is read otherwise: %d, %d, %v", g, r, err)
		}
	})
}

func TestIndexIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "index")
	x, fresh, err := openIndex(path, "x")
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	if err := x.rewrite(); err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		if err := x.apply([]change{{fmt.Sprint(i % 10), &node{inode: uint64(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.apply([]change{{"3", nil}}); err != nil {
		t.Fatal(err)
	}
	if err := x.close(); err != nil {
		t.Fatal(err)
	}
	if s, err := os.Stat(path); err != nil || s.Size() > 60<<10 {
		t.Errorf("%d bytes, %v", s.Size(), err)
	}
	y, fresh, err := openIndex(path, "x")
	if err != nil || fresh || len(y.nodes) != 9 || y.nodes["9"].inode != 4999 {
		t.Fatal(fresh, err, y)
	}
	if err := y.close(); err != nil {
		t.Fatal(err)
	}
	if _, fresh, err := openIndex(path, "other"); err != nil || !fresh {
		t.Error(fresh, err)
	}
}

func BenchmarkLatency(b *testing.B) {
	w := newWorld(b)
	w.start(`{}`)
	w.begun()
	var late []time.Duration
	for i := 0; b.Loop(); i++ {
		w.mu.Lock()
		w.emits = nil
		w.mu.Unlock()
		w.write(fmt.Sprint(i), "x")
		closed := time.Now()
		for {
			<-w.news
			w.mu.Lock()
			n := len(w.emits)
			if n > 0 {
				late = append(late, w.emits[0].Sub(closed))
			}
			w.mu.Unlock()
			if n > 0 {
				break
			}
		}
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[len(late)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(late[len(late)*99/100].Microseconds())/1000, "p99-ms")
}
