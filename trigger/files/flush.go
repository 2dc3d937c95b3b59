package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
)

// atOnce is how many files are announced in one transaction.
const atOnce = 200

// A step is what is announced of a file, and what is noted of it then.
type step struct {
	events  []rouse.Event
	changes []change
}

// flush looks at the files whose time has come, and announces what is new.
func (w *watcher) flush(ctx context.Context) error {
	w.last = time.Now()
	var due []string
	for p, m := range w.dirty {
		if !m.due.After(w.last) {
			due = append(due, p)
		}
	}
	slices.Sort(due)
	for part := range slices.Chunk(due, atOnce) {
		var all step
		for _, p := range part {
			m := w.dirty[p]
			if m == nil {
				continue // it was moved, and that was announced
			}
			delete(w.dirty, p)
			s, err := w.look(p, m.complete)
			if err != nil {
				return err
			}
			all.events, all.changes = append(all.events, s.events...), append(all.changes, s.changes...)
			for _, c := range s.changes { // so that the next one sees it
				w.note(c)
			}
		}
		if len(all.events) > 0 {
			if err := w.source.emitter.Emit(ctx, w.ref, all.events, nil); err != nil {
				return err
			}
		}
		if len(all.changes) > 0 {
			if err := w.index.apply(all.changes); err != nil {
				w.log.Error("what was announced can't be noted", "error", err)
			}
		}
	}
	if len(w.dirty) == 0 {
		clear(w.leaving)
	}
	return nil
}

func (w *watcher) note(c change) {
	if c.node == nil {
		delete(w.index.nodes, c.path)
	} else {
		w.index.nodes[c.path] = *c.node
	}
}

// look compares a file with what is known of it.
func (w *watcher) look(p string, complete bool) (s step, err error) {
	n, there := stat(w.abs(p))
	old, known := w.index.nodes[p]
	switch {
	case !there && !known:
		return s, nil
	case !there:
		if w.leaving[old.inode] == p {
			delete(w.leaving, old.inode)
		}
		s.changes = []change{{p, nil}}
		return s, w.announce(&s, removed, p, "", old)
	case known && old.same(n):
		return s, nil
	}
	if from, ok := w.origin(p, n, known); ok {
		delete(w.leaving, n.inode)
		delete(w.dirty, from)
		s.changes = []change{{from, nil}, {p, &n}}
		return s, w.announce(&s, moved, p, from, n)
	}
	if !known {
		if err := w.announce(&s, created, p, "", n); err != nil {
			return s, err
		}
	}
	if !complete && isWritten(w.abs(p)) {
		if len(s.events) > 0 {
			s.changes = []change{{p, &node{n.inode, -1, n.mtime, n.changed}}}
		}
		return s, nil // we hear when it is closed
	}
	s.changes = []change{{p, &n}}
	return s, w.announce(&s, written, p, "", n)
}

// origin returns from where a file was moved, if it was, and that counts: one
// that takes another's place is new content there, and one whose moves nobody
// wants to hear of is new where it is.
func (w *watcher) origin(p string, n node, known bool) (string, bool) {
	from, ok := w.leaving[n.inode]
	if !ok || known || from == p || !slices.Contains(w.config.Events, moved) || !w.index.nodes[from].same(n) {
		return "", false
	}
	_, still := stat(w.abs(from))
	return from, !still
}

// A body is the data of an event.
type body struct {
	Event    string    `json:"event" doc:"what happened" values:"written,created,moved,removed"`
	Path     string    `json:"path" doc:"of the file, absolute"`
	Name     string    `json:"name" doc:"its last part"`
	Dir      string    `json:"dir" doc:"the folder it is in"`
	Size     int64     `json:"size" doc:"bytes"`
	Modified time.Time `json:"modified" doc:"when it was, last"`
	From     string    `json:"from,omitempty" doc:"the path before, of one that was moved"`
}

// announce adds an event where it is wanted. The ID is made of what the file is,
// so that the same thing seen twice is one event.
func (w *watcher) announce(s *step, kind, p, from string, n node) error {
	if !slices.Contains(w.config.Events, kind) {
		return nil
	}
	full := w.abs(p)
	b := body{kind, full, filepath.Base(full), filepath.Dir(full), max(n.size, 0), time.Unix(0, n.mtime).UTC(), ""}
	if from != "" {
		b.From = w.abs(from)
	}
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("announce %s: %w", full, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d %d %d %d", kind, full, b.From, n.inode, n.mtime, n.size, n.changed))
	s.events = append(s.events, rouse.Event{ID: hex.EncodeToString(sum[:16]), Type: "file." + kind, Source: "trigger:" + w.ref.Name,
		Subject: full, Time: time.Now().UTC(), ContentType: "application/json", Data: data})
	return nil
}
