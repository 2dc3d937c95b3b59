package data

import (
	"context"
	"fmt"
	"time"

	"github.com/rouse-run/rouse"
)

// Tables hold Items by key. A table's Feed are its changes; the Event of one
// has the Type "table.inserted", "table.modified" or "table.removed", the key as
// its Subject and a TableChange as its Data. All methods may be called concurrently;
// what they did is durable on return.
type Tables interface {
	TableAdmin
	Items
	Feed
}

// TableAdmin makes, changes and lists tables.
type TableAdmin interface {
	// CreateTable makes an empty table and returns it as stored. Errors:
	// Conflict where there is one, Invalid.
	CreateTable(ctx context.Context, t Table) (Table, error)

	// ChangeTable replaces the Indexes, TTL, Changes and Notes of a table. A new
	// index is filled before it returns; until then it can't be queried. Errors:
	// NotFound, Invalid, Conflict where Key or Sort differ.
	ChangeTable(ctx context.Context, t Table) (Table, error)

	// Table returns one. Errors: NotFound.
	Table(ctx context.Context, r rouse.Ref) (Table, error)

	// Tables lists those of a namespace by name, at most limit (0 is all) after a
	// name.
	Tables(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]Table, error)

	// RemoveTable takes a table away with all its items. Errors: NotFound.
	RemoveTable(ctx context.Context, r rouse.Ref) error
}

// Items are what is in tables.
type Items interface {
	// GetItems returns the Item of each key, nil where there is none, all at one
	// moment. Errors: NotFound for a table, Invalid.
	GetItems(ctx context.Context, keys []ItemKey) ([]Item, error)

	// Write makes one change. Errors: Conflict with a *Refused where its
	// condition does not hold, NotFound for a table, Invalid, TooLarge.
	Write(ctx context.Context, w Write) (Written, error)

	// Transact makes up to 100 changes of different items, of any tables, or
	// none of them. Errors: those of Write.
	Transact(ctx context.Context, ws []Write) ([]Written, error)

	// Query returns items of one partition, or of one key of an index, in the
	// order of their sort attribute. Errors: NotFound for a table or index,
	// Unavailable for an index that is being filled, Invalid.
	Query(ctx context.Context, q Query) (Page, error)

	// Scan returns items of all a table or index in no order that means
	// anything. Errors: those of Query.
	Scan(ctx context.Context, s Scan) (Page, error)
}

// A Table says how its items are found. Attributes may hold any bytes in their
// names.
type Table struct {
	rouse.Ref
	Key     Attribute      `json:"key"`               // items with the same are one partition
	Sort    Attribute      `json:"sort,omitzero"`     // tells the items of a partition apart; none where it has no Name
	Indexes []Index        `json:"indexes,omitempty"` // other ways to find them
	TTL     string         `json:"ttl,omitempty"`     // the attribute that says, in seconds since 1970, when an item expires
	Changes rouse.Duration `json:"changes,omitempty"` // how long the Feed keeps a change; 0 is no Feed
	Created time.Time      `json:"created,omitzero"`
	Notes   rouse.Notes    `json:"notes,omitempty"`
}

// An Attribute is one by which items are found: a String, Number or Binary.
type Attribute struct {
	Name string    `json:"name"`
	Type ValueType `json:"type"` // none stands for String
}

// An Index finds the items that have its attributes; others are not in it. Any
// number of items may have the same ones.
type Index struct {
	Name       string    `json:"name"`
	Key        Attribute `json:"key"`
	Sort       Attribute `json:"sort,omitzero"`
	Attributes []string  `json:"attributes,omitempty"` // besides the keys, those it returns; none is all
	KeysOnly   bool      `json:"keysOnly,omitempty"`   // it returns none but the keys
	Filling    bool      `json:"filling,omitempty"`    // it can't be queried yet; ignored in input
}

// An ItemKey names one Item by the attributes of its table's key.
type ItemKey struct {
	Table rouse.Ref
	Key   Item
}

// A Write is one change of one Item, or the check of it.
type Write struct {
	Op    WriteOp   `json:"op"`
	Table rouse.Ref `json:"table"`
	Key   Item      `json:"key,omitempty"`  // the attributes of the table's key; not for WritePut
	Item  Item      `json:"item,omitempty"` // for WritePut: all of it
	Edits Edits     `json:"edits,omitempty"`
	If    *Cond     `json:"if,omitempty"` // nil holds always
}

// A WriteOp is what a Write does.
type WriteOp uint8

// The WriteOps. WritePut replaces the whole Item. WriteUpdate changes attributes,
// and makes the Item where there is none. WriteDelete removes it, or does
// nothing where there is none. WriteCheck only looks whether the condition holds.
const (
	WritePut WriteOp = iota + 1
	WriteUpdate
	WriteDelete
	WriteCheck
)

var writeOps = words{"", "put", "update", "delete", "check"}

func (o WriteOp) String() string { return writeOps.word(uint8(o)) }

// MarshalText writes the WriteOp's word.
func (o WriteOp) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the WriteOp's word.
func (o *WriteOp) UnmarshalText(b []byte) error {
	n, err := writeOps.read("write", string(b))
	*o = WriteOp(n)
	return err
}

// Written is an Item before and after a Write; nil where there was none.
type Written struct {
	Old Item `json:"old,omitempty"`
	New Item `json:"new,omitempty"`
}

// Refused says which Writes of a Transact did not hold; it is what an Error of
// the Kind Conflict wraps.
type Refused struct {
	Writes []RefusedWrite
}

// A RefusedWrite is one whose condition did not hold.
type RefusedWrite struct {
	Index int  // in the Writes
	Item  Item // as it is; nil where there is none
}

func (r *Refused) Error() string {
	if len(r.Writes) == 1 && r.Writes[0].Index == 0 {
		return "the condition does not hold"
	}
	var at []int
	for _, w := range r.Writes {
		at = append(at, w.Index)
	}
	return fmt.Sprintf("the conditions of the writes %v, counted from 0, do not hold", at)
}

// A Query asks for Items by key.
type Query struct {
	Table   rouse.Ref `json:"table"`
	Index   string    `json:"index,omitempty"` // "" is the table's own key
	Key     Value     `json:"key"`             // of the partition
	Sort    *Range    `json:"sort,omitempty"`  // nil is all
	Reverse bool      `json:"reverse,omitempty"`
	Select
}

// A Range picks values of a sort attribute: Op is Eq, Lt, Le, Gt, Ge or Begins
// with one value, or Between with two, both included.
type Range struct {
	Op     CondOp  `json:"op"`
	Values []Value `json:"values"`
}

// A Scan asks for all Items, or for those of one of several segments that
// together are all.
type Scan struct {
	Table    rouse.Ref `json:"table"`
	Index    string    `json:"index,omitempty"`
	Segment  int       `json:"segment,omitempty"`  // from 0
	Segments int       `json:"segments,omitempty"` // 0 is 1; at most 65,536
	Select
}

// Select says what to return of the Items that were found.
type Select struct {
	Filter     *Cond  `json:"filter,omitempty"`     // nil is all
	Attributes []Path `json:"attributes,omitempty"` // none is all
	Limit      int    `json:"limit,omitempty"`      // items looked at, before the Filter; 0 is as many as have 1 MiB
	After      Item   `json:"after,omitempty"`      // Page.After, to go on
}

// A Page is what one Query or Scan returns. It may hold no Items though there
// are more.
type Page struct {
	Items []Item `json:"items"`
	Seen  int    `json:"seen"`            // looked at, before the Filter
	After Item   `json:"after,omitempty"` // the keys of the last that was looked at; nil at the end
}

// A TableChange is the Data of the Event of a change, as JSON.
type TableChange struct {
	Key     Item `json:"key"`
	Old     Item `json:"old,omitempty"`
	New     Item `json:"new,omitempty"`
	Expired bool `json:"expired,omitempty"` // removed because its time had come
}
