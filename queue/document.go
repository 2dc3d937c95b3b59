package queue

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/decoded"
	"github.com/rouse-run/rouse/internal/tuple"
)

// The kinds of keys. What a box is called: "p" and a name, or "d" and the ID of
// a document.
const (
	documentKind = 'q' // a namespace and a name: a document
	garbageKind  = 'g' // what a box is called: it is to be cleared
	counterKind  = 'c' // what a box is called, and a slot's number: a slot
	messageKind  = 'm' // what a box is called, and one of the kinds of box.go

	plainBox = 'p'
	dataBox  = 'd'
)

// A document is what is stored of a queue but its messages. One that was loaded
// is shared and must not be changed.
type document struct {
	Queue data.Queue `json:"queue"`
	ID    uint64     `json:"id"`             // another one once the queue is purged or removed
	Dead  []byte     `json:"dead,omitempty"` // Queue.DeadLetter's name, as it is
}

func documentKey(r rouse.Ref) []byte {
	return tuple.String(tuple.String([]byte{documentKind}, r.Namespace), r.Name)
}

func (d *document) box() []byte { return tuple.Uint([]byte{dataBox}, d.ID) }

func (d *document) save(w rouse.KeyWriter) error {
	d.Dead = []byte(d.Queue.DeadLetter.Name)
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	w.Put(documentKey(d.Queue.Ref), b)
	return nil
}

// decodeDocument takes the name of the key: JSON has no word for all bytes.
func decodeDocument(p rouse.Pair) (*document, error) {
	broken := func(err error) (*document, error) {
		return nil, rouse.Errorf(rouse.Internal, "read queue", fmt.Sprintf("key %x", p.Key), "its document is broken: %w", err)
	}
	ns, rest, err := tuple.ReadString(bytes.TrimPrefix(p.Key, []byte{documentKind}))
	if err != nil {
		return broken(err)
	}
	name, _, err := tuple.ReadString(rest)
	if err != nil {
		return broken(err)
	}
	d := &document{}
	if err := json.Unmarshal(p.Value, d); err != nil {
		return broken(err)
	}
	d.Queue.Ref = rouse.Ref{Namespace: rouse.Namespace(ns), Name: string(name)}
	d.Queue.DeadLetter = rouse.Ref{}
	if len(d.Dead) > 0 {
		d.Queue.DeadLetter = rouse.Ref{Namespace: d.Queue.Namespace, Name: string(d.Dead)}
	}
	return d, nil
}

// documents remember what stored bytes mean. The zero value remembers none.
type documents struct {
	decoded.Cache[rouse.Ref, *document]
}

// load reads the document of a queue. Errors: NotFound.
func (ds *documents) load(r rouse.KeyReader, ref rouse.Ref) (*document, error) {
	key := documentKey(ref)
	values, err := r.Get(key)
	if err != nil {
		return nil, err
	}
	stored := values[0]
	if stored == nil {
		return nil, rouse.Errorf(rouse.NotFound, "find queue", ref.String(), "there is no queue of this name")
	}
	return ds.Get(ref, stored, func() (*document, error) { return decodeDocument(rouse.Pair{Key: key, Value: stored}) })
}
