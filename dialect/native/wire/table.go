package wire

import (
	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// TableOptions are what a table is to be.
type TableOptions struct {
	Key     data.Attribute `json:"key"`
	Sort    data.Attribute `json:"sort,omitzero"`
	Indexes []data.Index   `json:"indexes,omitempty"`
	TTL     string         `json:"ttl,omitempty"`
	Changes rouse.Duration `json:"changes,omitempty"`
}

// Tables is a page of tables; Next, where not "", is the "after" of the next one.
type Tables struct {
	Tables []data.Table `json:"tables"`
	Next   string       `json:"next,omitempty"`
}

// Get asks for the item of a key, or for those of several.
type Get struct {
	Key  data.Item   `json:"key,omitempty"`
	Keys []data.Item `json:"keys,omitempty"`
}

// Got is the item of a Get's Key; null where there is none.
type Got struct {
	Item data.Item `json:"item"`
}

// GotMany are the items of a Get's Keys, in order; null where there is none.
type GotMany struct {
	Items []data.Item `json:"items"`
}

// Put replaces an item.
type Put struct {
	Item   data.Item  `json:"item"`
	If     *data.Cond `json:"if,omitempty"`
	Return Return     `json:"return,omitempty"`
}

// Update changes attributes of an item, and makes it where there is none.
type Update struct {
	Key    data.Item  `json:"key"`
	Edits  data.Edits `json:"edits"`
	If     *data.Cond `json:"if,omitempty"`
	Return Return     `json:"return,omitempty"`
}

// DeleteItem removes an item.
type DeleteItem struct {
	Key    data.Item  `json:"key"`
	If     *data.Cond `json:"if,omitempty"`
	Return Return     `json:"return,omitempty"`
}

// Return says what of an item to return: "" none, or "old", "new" or "both".
// Where it is not "", a condition that does not hold is answered with the item
// as it is.
type Return string

// Query is a data.Query without its table, which the path names.
type Query struct {
	Index   string      `json:"index,omitempty"`
	Key     data.Value  `json:"key"`
	Sort    *data.Range `json:"sort,omitempty"`
	Reverse bool        `json:"reverse,omitempty"`
	data.Select
}

// Scan is a data.Scan without its table, which the path names.
type Scan struct {
	Index    string `json:"index,omitempty"`
	Segment  int    `json:"segment,omitempty"`
	Segments int    `json:"segments,omitempty"`
	data.Select
}

// Transact makes writes of any tables, all or none.
type Transact struct {
	Writes []Write `json:"writes"`
	Return Return  `json:"return,omitempty"`
}

// Write is a data.Write whose table is of the request's namespace.
type Write struct {
	Op    data.WriteOp `json:"op"`
	Table string       `json:"table"`
	Key   data.Item    `json:"key,omitempty"`
	Item  data.Item    `json:"item,omitempty"`
	Edits data.Edits   `json:"edits,omitempty"`
	If    *data.Cond   `json:"if,omitempty"`
}

// Transacted are the items of a Transact's writes, in their order.
type Transacted struct {
	Writes []data.Written `json:"writes"`
}

// RefusedWrite is one whose condition did not hold.
type RefusedWrite struct {
	Index int       `json:"index"`          // among the writes
	Item  data.Item `json:"item,omitempty"` // as it is; none where there is none, or it was not asked for
}
