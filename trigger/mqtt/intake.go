package mqtt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/ident"
	"github.com/rouse-run/rouse/trigger"
)

// A message is what was published.
type message struct {
	topic   string
	payload []byte
	client  string // who published it here, or who we are elsewhere
	packet  uint16 // its identifier, of a QoS above 0
	qos     byte
	again   bool // it was sent before, and maybe received
	retain  bool

	properties map[string]string // of the user's

	done func(error) // is called when its event is durable, or never will be
}

// An intake stores the messages of one trigger in the order they come.
type intake struct {
	source *Source
	ref    rouse.Ref
	ctx    context.Context // ends when the trigger stops
	queue  chan message    // bounded: who publishes waits
	recent recent
}

// atOnce is how many messages are stored in one transaction.
const atOnce = 100

func newIntake(s *Source, r rouse.Ref, ctx context.Context) *intake {
	return &intake{source: s, ref: r, ctx: ctx, queue: make(chan message, atOnce)}
}

// put hands over a message; false says that the trigger stopped.
func (in *intake) put(m message) bool {
	select {
	case in.queue <- m:
		return true
	case <-in.ctx.Done():
		return false
	}
}

// run stores what comes until the trigger stops. What waits then is not
// acknowledged, and will be sent again.
func (in *intake) run() {
	log := in.source.Log.With("trigger", in.ref.String())
	b, err := in.source.emitter.State(in.ctx, in.ref)
	if err == nil {
		err = in.recent.decode(b)
	}
	if err != nil && in.ctx.Err() == nil {
		log.Error("the last messages are not known: those that are sent again may come twice", "error", err)
	}
	for {
		var batch []message
		select {
		case m := <-in.queue:
			batch = append(batch, m)
		case <-in.ctx.Done():
			return
		}
		for more := true; more && len(batch) < atOnce; {
			select {
			case m := <-in.queue:
				batch = append(batch, m)
			default:
				more = false
			}
		}
		err := in.store(batch)
		if err != nil && len(batch) > 1 { // one of them can't be stored, maybe
			for _, m := range batch {
				if in.ctx.Err() == nil {
					in.settle([]message{m}, in.store([]message{m}))
				}
			}
			continue
		}
		in.settle(batch, err)
	}
}

// settle tells those who published.
func (in *intake) settle(batch []message, err error) {
	if in.ctx.Err() != nil && err != nil {
		return
	}
	if err != nil {
		in.source.Log.Error("a message is dropped", "trigger", in.ref.String(), "topic", batch[0].topic, "error", err)
	}
	for _, m := range batch {
		m.done(err)
	}
}

func (in *intake) store(batch []message) error {
	es := make([]rouse.Event, len(batch))
	after := in.recent.clone()
	noted := false
	for i, m := range batch {
		e, err := in.event(m)
		if err != nil {
			return err
		}
		if m.qos > 0 {
			e.ID, noted = after.id(m), true
		} else {
			e.ID = ident.New()
		}
		es[i] = e
	}
	var state []byte
	if noted {
		state = after.encode()
	}
	if err := in.source.emitter.Emit(in.ctx, in.ref, es, state); err != nil {
		return err
	}
	in.recent = after
	return nil
}

// A body is the data of an event.
type body struct {
	Topic      string            `json:"topic" doc:"that it was published to"`
	Payload    json.RawMessage   `json:"payload" doc:"what was published: JSON as it is, other text as a text, other bytes in base64"`
	Encoding   string            `json:"encoding" doc:"which of these payload is" values:"json,text,base64"`
	QoS        byte              `json:"qos" doc:"of the message"`
	Retain     bool              `json:"retain,omitempty" doc:"the broker had kept it"`
	Client     string            `json:"client,omitempty" doc:"who published it, where Rouse is the broker"`
	Properties map[string]string `json:"properties,omitempty" doc:"those of the user, as MQTT 5 has them"`
}

func (in *intake) event(m message) (rouse.Event, error) {
	p := trigger.Read(m.payload)
	data, err := trigger.Encode(body{m.topic, p.Value, p.Encoding, m.qos, m.retain, m.client, m.properties})
	if err != nil {
		return rouse.Event{}, err
	}
	return rouse.Event{Type: "mqtt.message", Source: "trigger:" + in.ref.Name, Subject: m.topic, Time: in.source.Now().UTC(), ContentType: "application/json", Data: data}, nil
}

// recent are the last messages of a trigger, the newest at the end.
type recent []seen

// A seen is a message and the ID of its event.
type seen struct {
	message [8]byte
	id      [16]byte
}

const (
	maxRecent = 256 // more than can be under way from one client, and than most brokers have at a time
	sizeSeen  = 24
)

// id returns the ID of a message: a new one, or that which it had before.
func (r *recent) id(m message) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %q %x", m.client, m.packet, m.topic, sha256.Sum256(m.payload)))
	s := seen{message: [8]byte(sum[:8])}
	if m.again {
		for _, old := range slices.Backward(*r) {
			if old.message == s.message {
				return hex.EncodeToString(old.id[:])
			}
		}
	}
	id := ident.New()
	_, _ = hex.Decode(s.id[:], []byte(id)) // it was made of 16 bytes
	*r = append(*r, s)
	*r = (*r)[max(0, len(*r)-maxRecent):]
	return id
}

func (r recent) clone() recent { return slices.Clone(r) }

func (r recent) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(r)))
	for _, s := range r {
		b = append(append(b, s.message[:]...), s.id[:]...)
	}
	return b
}

func (r *recent) decode(b []byte) error {
	if b == nil {
		return nil
	}
	if len(b) < 2 || int(binary.BigEndian.Uint16(b)) > maxRecent || len(b) != 2+sizeSeen*int(binary.BigEndian.Uint16(b)) {
		return fmt.Errorf("read state: %d bytes are not what was stored", len(b))
	}
	*r = nil
	for part := range slices.Chunk(b[2:], sizeSeen) {
		*r = append(*r, seen{[8]byte(part[:8]), [16]byte(part[8:])})
	}
	return nil
}
