package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rouse-run/rouse"
)

// How long a node that is gone keeps others from its database, and how often one
// that is there says so.
const (
	ownedFor  = 20 * time.Second
	ownedSaid = 5 * time.Second
)

// An owner keeps a database for one node: what this one remembers of what is
// stored would not be true if others wrote there.
type owner struct {
	keys rouse.Keys
	claim
}

// A claim is what the database says of its owner.
type claim struct {
	ID    string    `json:"id"`
	Host  string    `json:"host"`
	Until time.Time `json:"until"`
}

var ownerKey = []byte("owner")

// own makes a store the node's of a data folder. One that was killed takes its
// store back at once. Errors: Conflict where it is another's.
func own(ctx context.Context, s store, data string) (*owner, error) {
	keys, err := s.Keys(ctx, "node")
	if err != nil {
		return nil, err
	}
	o := &owner{keys: keys}
	if o.ID, err = identity(filepath.Join(data, "node-id")); err != nil {
		return nil, err
	}
	if o.Host, err = os.Hostname(); err != nil {
		return nil, err
	}
	return o, o.say(ctx)
}

// identity reads the name of this data folder's node, or makes one.
func identity(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil && len(b) > 0 {
		return string(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the node's name: %w", err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails, its documentation says
	text := hex.EncodeToString(id)
	return text, os.WriteFile(file, []byte(text), 0o600)
}

// say says that the store is this node's for a while.
func (o *owner) say(ctx context.Context) error {
	return o.keys.Update(ctx, func(w rouse.KeyWriter) error {
		vs, err := w.Get(ownerKey)
		if err != nil {
			return err
		}
		var c claim
		if vs[0] != nil {
			if err := json.Unmarshal(vs[0], &c); err != nil {
				return fmt.Errorf("read the store's owner: %w", err)
			}
		}
		now := time.Now()
		if c.ID != "" && c.ID != o.ID && now.Before(c.Until) {
			return rouse.Errorf(rouse.Conflict, "open store", "store", "the node on %s uses this database; one at a time may. Stop it, or wait %v where it is gone", c.Host, c.Until.Sub(now).Round(time.Second))
		}
		mine := o.claim
		mine.Until = now.Add(ownedFor).UTC()
		b, err := json.Marshal(mine)
		if err == nil {
			w.Put(ownerKey, b)
		}
		return err
	})
}

// keep says so again and again until ctx ends, and lets go then. It ends with an
// error where the store is another's: this node was away too long.
func (o *owner) keep(ctx context.Context) error {
	tick := time.NewTicker(ownedSaid)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return o.keys.Update(context.WithoutCancel(ctx), func(w rouse.KeyWriter) error { w.Delete(ownerKey); return nil })
		case <-tick.C:
		}
		if err := o.say(ctx); rouse.KindOf(err) == rouse.Conflict {
			return err
		}
	}
}

// recover makes free what a server held here that was killed: one node has the
// store, so all that is held was held by one that has ended.
func (n *Node) recover(ctx context.Context) error {
	count, err := n.services.queues.Recover(ctx, max(n.Lease, defaultLease), n.rules.Taken()...)
	if err != nil {
		return fmt.Errorf("recover what the last server had begun: %w", err)
	}
	if count > 0 {
		n.Log.Info("what the last server had begun is begun again", "count", count)
	}
	return nil
}

// defaultLease is that of what is worked off, where Config says nothing.
const defaultLease = 30 * time.Second
