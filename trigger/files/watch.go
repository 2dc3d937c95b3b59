package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// Waits.
const (
	pause = 2 * time.Millisecond   // after a hint, as a rename may follow
	grace = 100 * time.Millisecond // before a file counts as removed, as it may be on its way elsewhere
	crowd = 50 * time.Millisecond  // between two looks at very many files
	blind = 10 * time.Second       // between two scans where the kernel gives too few watches
)

// A watcher watches one folder for one trigger. Paths are relative to it, "."
// is the folder itself.
type watcher struct {
	source *Source
	config config
	ref    rouse.Ref
	log    *slog.Logger
	index  *index

	in      *inotify // nil while the folder is not there
	notices chan []byte
	closed  chan struct{}
	reading chan struct{}
	root    unix.Stat_t
	folders map[int32]string // by watch

	lost     bool             // the folder was gone when it was looked at last
	fresh    bool             // what is there now is not news
	dirty    map[string]*mark // files to look at
	leaving  map[uint64]string
	last     time.Time // when dirty was looked at
	scanned  time.Time
	isBlind  bool
	reported string // what kept the folder from being watched
}

// A mark says when to look at a file, and whether it is known to be complete.
type mark struct {
	due      time.Time
	complete bool
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for {
		var err error
		if w.fresh, err = w.prepare(ctx); err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		w.source.Set(w.ref, event.Failing, err)
		w.log.Error("a folder can't be watched and is tried again", "error", err)
		if !sleep(ctx, max(w.source.Poll, time.Second)) {
			return
		}
	}
	defer func() {
		w.shut()
		if err := w.index.close(); err != nil {
			w.log.Warn("close index", "error", err)
		}
	}()
	poll := time.NewTicker(w.source.Poll)
	defer poll.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	w.attend()
	for {
		timer.Reset(w.wait())
		select {
		case <-ctx.Done():
			return
		case b := <-w.notices:
			if err := decode(b, w.hint); err != nil {
				w.log.Error("the kernel's notices can't be read", "error", err)
			}
		case <-poll.C:
			w.attend()
		case <-timer.C:
			if err := w.flush(ctx); err != nil {
				if ctx.Err() == nil {
					w.log.Error("a trigger stands still", "error", err)
					w.source.Set(w.ref, event.Stopped, err)
				}
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// wait returns how long there is nothing to flush.
func (w *watcher) wait() time.Duration {
	if len(w.dirty) == 0 {
		return time.Hour
	}
	if len(w.dirty) > 1000 { // looking for the first would take longer than the wait
		return max(0, time.Until(w.last.Add(crowd)))
	}
	var first time.Time
	for _, m := range w.dirty {
		if first.IsZero() || m.due.Before(first) {
			first = m.due
		}
	}
	return max(0, time.Until(first))
}

// attend begins to watch the folder when it comes, and ends when another one is
// in its place.
func (w *watcher) attend() {
	var now unix.Stat_t
	err := unix.Lstat(w.config.Path, &now)
	if err == nil && now.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if w.in != nil && (err != nil || now.Ino != w.root.Ino || now.Dev != w.root.Dev) {
		// What was said of it before it went is heard first: the kernel's last
		// word on it is IN_IGNORED, but not where a folder above was moved.
		if w.lost = !w.lost; w.lost || w.pending() {
			w.lost = true
			return
		}
		w.shut()
	} else {
		w.lost = false
	}
	if err == nil && w.in == nil {
		w.root = now
		if err = w.source.refuseOwn(w.config.Path); err == nil {
			err = w.open()
		}
	} else if w.isBlind && time.Since(w.scanned) > blind {
		w.scan()
	}
	said, state := "", event.Running
	if err != nil {
		said, state = err.Error(), event.Failing
		err = fmt.Errorf("watch %s: %w", w.config.Path, err)
	}
	w.source.Set(w.ref, state, err)
	if said != w.reported {
		w.log.Info("a folder is watched when it is there", "path", w.config.Path, "error", said)
	}
	w.reported = said
	if w.fresh && (err == nil || errors.Is(err, unix.ENOENT)) {
		// The trigger has begun: from here on all is news.
		w.fresh = false
		if err := w.index.rewrite(); err != nil {
			w.log.Error("what was announced can't be noted", "error", err)
		}
	}
}

func (w *watcher) open() (err error) {
	if w.in, err = openInotify(); err != nil {
		return err
	}
	w.notices, w.closed, w.reading = make(chan []byte), make(chan struct{}), make(chan struct{})
	w.folders = map[int32]string{}
	go pump(w.in.file, w.notices, w.closed, w.reading)
	w.scan()
	return nil
}

// pump hands on what it reads until the file is closed.
func pump(from io.Reader, to chan<- []byte, closed <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			select {
			case to <- slices.Clone(buffer[:n]):
			case <-closed:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pending reports whether there are notices that were not read.
func (w *watcher) pending() bool {
	n, err := unix.IoctlGetInt(w.in.fd, unix.TIOCINQ) // which is FIONREAD; see inotify(7)
	return err == nil && n > 0
}

func (w *watcher) shut() {
	w.lost = false
	if w.in == nil {
		return
	}
	close(w.closed)
	_ = w.in.file.Close() // nothing was written to it
	<-w.reading
	w.in, w.notices, w.folders = nil, nil, nil
}

// scan looks at the whole folder, and at all that was announced.
func (w *watcher) scan() {
	w.scanned, w.isBlind = time.Now(), false
	w.enter(".")
	var gone []string
	for p := range w.index.nodes {
		if _, ok := stat(w.abs(p)); !ok {
			gone = append(gone, p)
		}
	}
	for _, p := range gone {
		w.leave(p)
	}
}

// enters reports whether a folder in the folder is looked into.
func (w *watcher) enters(p string) bool { return w.config.enters(p) && !w.source.isOwn(w.abs(p)) }

func (w *watcher) abs(p string) string { return filepath.Join(w.config.Path, p) }

// enter watches a folder and those in it, and then looks what is in them: what
// comes in between is seen twice and not missed.
func (w *watcher) enter(folder string) {
	mask := uint32(unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE)
	if w.config.Settle > 0 {
		mask |= unix.IN_MODIFY
	}
	if folder == "." {
		mask |= unix.IN_MOVE_SELF
	}
	watch, err := w.in.add(w.abs(folder), mask)
	switch {
	case errors.Is(err, unix.ENOSPC):
		w.log.Warn("the kernel gives too few watches (see fs.inotify.max_user_watches): the folder is scanned now and then", "path", w.abs(folder))
		w.isBlind = true
	case err != nil:
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			w.log.Warn("a folder can't be watched", "path", w.abs(folder), "error", err)
		}
		return
	default:
		w.folders[watch] = folder
	}
	f, err := os.Open(w.abs(folder))
	if err != nil {
		return // it has gone
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(1000)
		for _, e := range entries {
			p := path.Join(folder, e.Name())
			switch {
			case e.IsDir() && w.enters(p):
				w.enter(p)
			case e.Type().IsRegular() && w.config.wants(p):
				w.found(p)
			}
		}
		if err != nil {
			return
		}
	}
}

// found marks a file that a scan met, where it is not as announced.
func (w *watcher) found(p string) {
	n, ok := stat(w.abs(p))
	if old, known := w.index.nodes[p]; !ok || known && old.same(n) {
		return
	}
	if w.fresh && !w.config.Existing {
		if !isWritten(w.abs(p)) {
			w.index.nodes[p] = n
		}
		return
	}
	w.touch(p, false)
}

// leave marks a file that was announced and is not there.
func (w *watcher) leave(p string) {
	n, known := w.index.nodes[p]
	if !known && w.dirty[p] == nil {
		return
	}
	if known {
		w.leaving[n.inode] = p
	}
	w.dirty[p] = &mark{due: time.Now().Add(max(time.Duration(w.config.Settle), grace))}
}

// touch marks a file that is there.
func (w *watcher) touch(p string, complete bool) {
	m := w.dirty[p]
	if m == nil {
		m = &mark{}
		w.dirty[p] = m
	}
	m.due, m.complete = time.Now().Add(max(time.Duration(w.config.Settle), pause)), complete
}

// hint marks what a notice is about.
func (w *watcher) hint(n notice) {
	if n.mask&unix.IN_Q_OVERFLOW != 0 {
		w.log.Warn("the kernel dropped notices: the folder is scanned")
		if w.in != nil {
			w.scan()
		}
		return
	}
	folder, ok := w.folders[n.watch]
	switch {
	case !ok || w.in == nil:
		return
	case n.mask&(unix.IN_IGNORED|unix.IN_UNMOUNT|unix.IN_MOVE_SELF) != 0:
		delete(w.folders, n.watch)
		if folder == "." {
			w.shut()
		}
		return
	}
	p := path.Join(folder, n.name)
	if n.mask&unix.IN_ISDIR != 0 {
		switch {
		case !w.enters(p):
		case n.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
			w.enter(p)
		case n.mask&unix.IN_MOVED_FROM != 0:
			w.forget(p)
		}
		return
	}
	switch {
	case !w.config.wants(p):
	case n.mask&(unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO) != 0:
		w.touch(p, true)
	case n.mask&(unix.IN_CREATE|unix.IN_MODIFY) != 0:
		w.touch(p, false)
	default:
		w.leave(p)
	}
}

// forget watches a folder no more, nor those in it: it was moved, and is entered
// anew if it is still in reach.
func (w *watcher) forget(folder string) {
	for watch, p := range maps.Clone(w.folders) {
		if p == folder || strings.HasPrefix(p, folder+"/") {
			w.in.remove(watch)
			delete(w.folders, watch)
		}
	}
	for p := range w.index.nodes {
		if strings.HasPrefix(p, folder+"/") {
			w.leave(p)
		}
	}
}
