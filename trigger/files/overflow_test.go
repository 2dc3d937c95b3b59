package files

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// More happens than the kernel remembers while the store takes its time: all of
// it is found all the same.
func TestTheKernelsQueueOverflows(t *testing.T) {
	var most int
	b, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err == nil {
		_, err = fmt.Sscan(string(b), &most)
	}
	if err != nil || most > 100_000 {
		t.Skipf("the kernel remembers %d notices, %v: too many to be made here", most, err)
	}
	w := newWorld(t)
	w.write("kept", "1")
	w.write("gone", "1")
	w.start(`{"recursive": true, "existing": true}`)
	w.begun()
	w.settle()
	w.mu.Lock()
	w.held = make(chan struct{})
	before := len(w.emits)
	w.mu.Unlock()
	w.write("first", "1")
	for waiting, end := false, time.Now().Add(time.Minute); !waiting; runtime.Gosched() {
		w.mu.Lock()
		waiting = len(w.emits) > before
		w.mu.Unlock()
		if time.Now().After(end) {
			t.Fatal("nothing is handed over")
		}
	}
	// Two notices a file, and what has been read already.
	want := []string{"written first"}
	for i := range (most + 8192) / 2 {
		name := fmt.Sprintf("f%06d", i)
		w.write(name, "")
		want = append(want, "written "+name)
	}
	w.write("kept", "more")
	w.remove("gone")
	w.mkdir("new/below")
	w.write("new/below/a", "1")
	want = append(want, "written kept", "removed gone", "written new/below/a")
	w.mu.Lock()
	close(w.held)
	w.held = nil
	w.mu.Unlock()
	slices.Sort(want)
	w.until(func(seen []string) bool { return len(seen) >= len(want)+4 }) // two files that were there, and a sentinel, twice
	w.write("new/below/b", "1")                                           // is noticed: the folder is watched
	want = append(want, "written new/below/b")
	got := w.settle()
	got = slices.DeleteFunc(got[2:], func(s string) bool { return strings.Contains(s, "sentinel") })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d are announced, want %d; the last are %q", len(got), len(want), got[max(0, len(got)-5):])
	}
	w.stop()
	if !bytes.Contains(w.log.Bytes(), []byte("the kernel dropped notices")) {
		t.Error("the kernel did not say that it dropped any")
	}
}
