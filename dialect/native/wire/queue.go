package wire

import (
	"encoding/json"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// QueueOptions are what a queue is to be; what is left out has its default.
type QueueOptions struct {
	Visibility  *rouse.Duration `json:"visibility,omitempty"`
	Delay       rouse.Duration  `json:"delay,omitempty"`
	Keep        *rouse.Duration `json:"keep,omitempty"`
	MaxReceives int             `json:"maxReceives,omitempty"`
	DeadLetter  string          `json:"deadLetter,omitempty"` // a queue of the same namespace
	Fifo        bool            `json:"fifo,omitempty"`
	DedupByBody bool            `json:"dedupByBody,omitempty"`
}

// Queue is a data.Queue with its counts.
type Queue struct {
	data.Queue
	DeadLetter string      `json:"deadLetter,omitempty"`
	Counts     QueueCounts `json:"counts"`
}

// QueueCounts are data.QueueCounts whose Next is milliseconds; none where no
// message will become visible.
type QueueCounts struct {
	Visible int64           `json:"visible"`
	Leased  int64           `json:"leased"`
	Delayed int64           `json:"delayed"`
	Damaged int64           `json:"damaged,omitempty"`
	Next    *rouse.Duration `json:"next,omitempty"`
}

// QueueOf makes a Queue.
func QueueOf(q data.Queue, n data.QueueCounts) Queue {
	w := Queue{Queue: q, DeadLetter: q.DeadLetter.Name, Counts: QueueCounts{Visible: n.Visible, Leased: n.Leased, Delayed: n.Delayed, Damaged: n.Damaged}}
	if n.Next >= 0 {
		next := rouse.Duration(n.Next)
		w.Counts.Next = &next
	}
	return w
}

// Queues is a page of queues; Next, where not "", is the "after" of the next one.
type Queues struct {
	Queues []Queue `json:"queues"`
	Next   string  `json:"next,omitempty"`
}

// A Message is to be sent: Body is any JSON, of which a string stands for its
// text, or BodyBase64 is any bytes. No Delay and no TTL are the queue's; a TTL
// of 0 is for ever.
type Message struct {
	Body       json.RawMessage   `json:"body,omitempty"`
	BodyBase64 []byte            `json:"bodyBase64,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Delay      *rouse.Duration   `json:"delay,omitempty"`
	TTL        *rouse.Duration   `json:"ttl,omitempty"`
	Dedup      string            `json:"dedup,omitempty"`
	Group      string            `json:"group,omitempty"`
}

// Messages are sent together, all or none.
type Messages struct {
	Messages []Message `json:"messages"`
}

// Sent says what became of messages, in their order.
type Sent struct {
	Messages []SentMessage `json:"messages"`
}

// A SentMessage is what became of one.
type SentMessage struct {
	ID        int64     `json:"id"`
	Receipt   string    `json:"receipt,omitempty"`
	Visible   time.Time `json:"visible,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
	Duplicate bool      `json:"duplicate,omitempty"`
}

// Receive says what to receive.
type Receive struct {
	Max        int             `json:"max,omitempty"`        // 0 is 1
	Visibility *rouse.Duration `json:"visibility,omitempty"` // none is the queue's
	Wait       rouse.Duration  `json:"wait,omitempty"`       // for a first message
}

// Deliveries are messages that were received, or peeked at.
type Deliveries struct {
	Messages []Delivery `json:"messages"`
}

// A Delivery is a data.Delivery.
type Delivery struct {
	ID         int64             `json:"id"`
	Receipt    string            `json:"receipt,omitempty"`
	Body       json.RawMessage   `json:"body,omitempty"`
	BodyBase64 []byte            `json:"bodyBase64,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Dedup      string            `json:"dedup,omitempty"`
	Group      string            `json:"group,omitempty"`
	Count      int               `json:"count"`
	Sent       time.Time         `json:"sent"`
	First      time.Time         `json:"first,omitzero"`
	Visible    time.Time         `json:"visible,omitzero"`
	Expires    time.Time         `json:"expires,omitzero"`
	Origin     *data.Origin      `json:"origin,omitempty"`
}

// DeliveriesOf makes Deliveries.
func DeliveriesOf(ds []data.Delivery) Deliveries {
	out := Deliveries{Messages: make([]Delivery, len(ds))}
	for i, d := range ds {
		w := Delivery{ID: d.ID, Receipt: d.Receipt, Attributes: d.Attributes, Dedup: d.Dedup, Group: d.Group, Count: d.Count,
			Sent: d.Sent, First: d.First, Visible: d.Visible, Expires: d.Expires, Origin: d.Origin}
		w.Body, w.BodyBase64 = Content(d.Body)
		out.Messages[i] = w
	}
	return out
}

// Bytes returns the message's body.
func (d *Delivery) Bytes() ([]byte, error) { return Bytes("body", d.Body, d.BodyBase64) }

// Receipts are those of messages to be deleted.
type Receipts struct {
	Receipts []string `json:"receipts"`
}

// DeletedMessages says of each receipt whether it was good.
type DeletedMessages struct {
	Deleted []bool `json:"deleted"`
}

// Extend makes a message visible after a time, 0 at once.
type Extend struct {
	Receipt    string         `json:"receipt"`
	Visibility rouse.Duration `json:"visibility"`
}

// Extended is the message's new receipt.
type Extended struct {
	Receipt string `json:"receipt"`
}

// RedriveQueue sends messages to another queue; no To is where each came from,
// and no Limit is all.
type RedriveQueue struct {
	To    string `json:"to,omitempty"`
	Limit int    `json:"limit,omitempty"`
}
