package wire

import (
	"encoding/json"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// StreamOptions are what a stream is to be. No Shards leaves a stream as it is
// divided, and a new one gets one; no Keep is 24 hours.
type StreamOptions struct {
	Shards int            `json:"shards,omitempty"`
	Keep   rouse.Duration `json:"keep,omitempty"`
}

// Streams is a page of streams; Next, where not "", is the "after" of the next
// one.
type Streams struct {
	Streams []data.Stream `json:"streams"`
	Next    string        `json:"next,omitempty"`
}

// Shards are the shards of a stream, parents before their children.
type Shards struct {
	Shards []data.Shard `json:"shards"`
}

// A Record is one to be appended: Data is any JSON, of which a string stands
// for its text, or DataBase64 is any bytes.
type Record struct {
	Key        string          `json:"key"`
	Data       json.RawMessage `json:"data,omitempty"`
	DataBase64 []byte          `json:"dataBase64,omitempty"`
}

// Records are appended together, all or none.
type Records struct {
	Records []Record `json:"records"`
}

// Positions are where records came to be, in their order.
type Positions struct {
	Positions []data.Position `json:"positions"`
}

// A StreamRecord is one that was read.
type StreamRecord struct {
	Shard      string          `json:"shard"`
	Sequence   uint64          `json:"sequence"`
	Key        string          `json:"key"`
	Time       time.Time       `json:"time"`
	Data       json.RawMessage `json:"data,omitempty"`
	DataBase64 []byte          `json:"dataBase64,omitempty"`
}

// RecordOf makes a StreamRecord of a stream's Entry.
func RecordOf(shard string, e *data.Entry) StreamRecord {
	r := StreamRecord{Shard: shard, Sequence: e.Sequence, Key: e.Event.Subject, Time: e.Event.Time}
	r.Data, r.DataBase64 = Content(e.Event.Data)
	return r
}

// Bytes returns the record's data.
func (r *StreamRecord) Bytes() ([]byte, error) { return Bytes("data", r.Data, r.DataBase64) }

// RecordPage is what one read of a stream returns: the records of each shard
// are in order.
type RecordPage struct {
	Records []StreamRecord `json:"records"`
	Shards  []ShardRead    `json:"shards"`
}

// A ShardRead says how far a shard was read.
type ShardRead struct {
	Shard  string `json:"shard"`
	After  uint64 `json:"after"`           // where to go on
	Newest uint64 `json:"newest"`          // the last record of the shard
	Ended  bool   `json:"ended,omitempty"` // it is closed and was read to its end
}

// Scale is how many shards a stream is to have.
type Scale struct {
	Shards int `json:"shards"`
}

// Split divides a shard; no At is its middle.
type Split struct {
	Shard string  `json:"shard"`
	At    *uint64 `json:"at,omitempty"` // the first hash key of the second half
}

// Merge joins two shards.
type Merge struct {
	Shards []string `json:"shards"`
}
