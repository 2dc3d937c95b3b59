// Package files makes events of what happens to the files in a folder.
//
// A file is announced as written when it was closed after writing, or moved in
// whole: so it is complete. What happened while the platform was down is found
// by comparing the folder with an index of what was announced. A file whose
// inode, size and time of change are as announced is not announced again.
//
// What the kernel says is a hint where to look; what is announced comes from
// comparing files with the index. So hints may be lost, or come too late, and
// a file that was written and renamed at once is one event.
//
// Links are not followed, and only regular files are announced.
package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/ident"
	"github.com/rouse-run/rouse/trigger"
)

// A Config says with what a Source works.
type Config struct {
	Emitter event.Emitter
	Dir     string        // for an index of each trigger; must be on a local disk
	Own     string        // a folder that is there, in which nothing is announced: what the platform writes must not rouse it; "" is none
	Poll    time.Duration // how often to look for a folder that is not there; 0 is 1 s
	Log     *slog.Logger  // nil discards
}

// A Source watches folders for triggers of the kind "files", each with an
// inotify instance of its own. It implements event.Source.
type Source struct {
	Config
	trigger.Healths
	emitter trigger.Patient
	own     fs.FileInfo // of Own; nil is none
}

// New returns a Source that needs no closing: it holds nothing but what its
// triggers do.
func New(c Config) *Source {
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	c.Log = trigger.Logger(c.Log)
	s := &Source{Config: c, emitter: trigger.Patient{Emitter: c.Emitter, Log: c.Log}}
	if own, err := os.Stat(c.Own); err == nil {
		s.own = own
	}
	return s
}

// Kind implements event.Source.
func (s *Source) Kind() string { return "files" }

// Check implements event.Source.
func (s *Source) Check(raw json.RawMessage) (json.RawMessage, error) {
	c, err := read(raw)
	if err == nil {
		err = s.refuseOwn(c.Path)
	}
	if err != nil {
		return nil, err
	}
	return trigger.Encode(c)
}

// isOwn reports whether a folder is the platform's, by whatever path it is reached.
func (s *Source) isOwn(folder string) bool {
	at, err := os.Stat(folder)
	return err == nil && s.own != nil && os.SameFile(at, s.own)
}

// refuseOwn returns an error where a folder is the platform's own, or in it.
func (s *Source) refuseOwn(folder string) error {
	at, err := filepath.EvalSymlinks(folder)
	if err != nil { // it may come yet: then it is looked at once more
		at = folder
	}
	for ; !s.isOwn(at); at = filepath.Dir(at) {
		if at == filepath.Dir(at) {
			return nil
		}
	}
	return invalid("path", "%s is in %s, where the server keeps its data: what it writes there would rouse it again and again", folder, s.Own)
}

// Start implements event.Source.
func (s *Source) Start(t event.Trigger) (func(), error) {
	c, err := read(t.Config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{source: s, config: c, ref: t.Ref, log: s.Log.With("trigger", t.Ref.String()),
		dirty: map[string]*mark{}, leaving: map[uint64]string{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx)
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
		s.Drop(t.Ref)
	}), nil
}

// Forget implements event.Keeper.
func (s *Source) Forget(r rouse.Ref) error {
	dir := filepath.Dir(s.indexPath(r))
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the index of %s: %w", r, err)
	}
	_ = os.Remove(filepath.Dir(dir)) // of its namespace, if it was the last
	return nil
}

// indexPath is where the index of a trigger is; any name makes a path.
func (s *Source) indexPath(r rouse.Ref) string {
	return filepath.Join(s.Dir, fileName(string(r.Namespace)), fileName(r.Name), "index")
}

func fileName(s string) string {
	name := strings.ReplaceAll(url.PathEscape(s), ".", "%2E")
	if len(name) > 0 && len(name) < 200 {
		return name
	}
	sum := sha256.Sum256([]byte(s))
	return "%" + hex.EncodeToString(sum[:])
}

// A state says which index belongs to a trigger, so that one that was removed
// and made anew begins anew.
type state struct {
	Index string `json:"index"`
}

// prepare opens the index. fresh says that the trigger begins.
func (w *watcher) prepare(ctx context.Context) (fresh bool, err error) {
	var st state
	b, err := w.source.emitter.State(ctx, w.ref)
	if err != nil {
		return false, err
	}
	if b == nil || json.Unmarshal(b, &st) != nil {
		st.Index = ident.New()
		if b, err = json.Marshal(st); err != nil {
			return false, err
		}
		if err := w.source.emitter.Emit(ctx, w.ref, nil, b); err != nil {
			return false, err
		}
	}
	// An index knows only what matched, so it is of the patterns, too.
	of, err := json.Marshal([]any{st.Index, w.config.Path, w.config.Recursive, w.config.Match, w.config.Ignore})
	if err != nil {
		return false, err
	}
	w.index, fresh, err = openIndex(w.source.indexPath(w.ref), string(of))
	return fresh, err
}
