package native

import (
	"fmt"
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func sendMessages(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Messages
	if err := readJSONUpTo(c.r.Body, s.MaxBatch, &in); err != nil {
		return err
	}
	if len(in.Messages) == 0 {
		return invalid("messages is empty; give one or more")
	}
	ms := make([]data.Message, len(in.Messages))
	for i, m := range in.Messages {
		at := fmt.Sprintf("messages[%d].", i)
		ms[i] = data.Message{Attributes: m.Attributes, Dedup: m.Dedup, Group: m.Group}
		if ms[i].Body, err = wire.Bytes(at+"body", m.Body, m.BodyBase64); err != nil {
			return err
		}
		if ms[i].Delay, err = ownOr(at+"delay", m.Delay); err != nil {
			return err
		}
		if ms[i].TTL, err = ownOr(at+"ttl", m.TTL); err != nil {
			return err
		}
	}
	sent, err := s.Data.Queues.Send(c.r.Context(), ref, ms)
	if err != nil {
		return err
	}
	out := wire.Sent{Messages: make([]wire.SentMessage, len(sent))}
	for i, x := range sent {
		out.Messages[i] = wire.SentMessage(x)
	}
	return c.answer(http.StatusOK, out)
}

// ownOr returns a message's own duration as a data.Message has it: 0 is the
// queue's, and below 0 none.
func ownOr(field string, d *rouse.Duration) (time.Duration, error) {
	switch {
	case d == nil:
		return 0, nil
	case *d < 0:
		return 0, invalid("%s is %v; it must not be negative", field, *d)
	case *d == 0:
		return -1, nil
	}
	return time.Duration(*d), nil
}
