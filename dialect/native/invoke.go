package native

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/internal/shape"
)

// invoke is on the hot path: it allocates and copies no more than it must, and
// logs nothing.
func invoke(s *server, c *call) error {
	async, err := c.flag("async")
	if err != nil {
		return err
	}
	record, err := c.flag("record")
	if err != nil {
		return err
	}
	in, err := c.invocation(s.MaxPayload)
	if err != nil {
		return err
	}
	if async {
		return accept(s, c, in)
	}
	a, err := s.Invoker.Invoke(c.r.Context(), in)
	if err != nil {
		if a.ID != "" {
			c.w.Header().Set(wire.HeaderActivation, a.ID)
		}
		return err
	}
	if record {
		c.describe(&a)
		return c.answer(http.StatusOK, wire.ActivationOf(a))
	}
	c.answerActivation(&a)
	return nil
}

func accept(s *server, c *call, in rouse.Invocation) error {
	ids, err := s.Acceptor.Accept(c.r.Context(), []rouse.Invocation{in})
	if err != nil {
		return err
	}
	c.w.Header().Set(wire.HeaderActivation, ids[0])
	return c.answer(http.StatusAccepted, wire.Accepted{Activation: ids[0]})
}

// invocation reads what is to run, and on what.
func (c *call) invocation(limit int64) (in rouse.Invocation, err error) {
	if in.Function, err = c.ref(); err != nil {
		return in, err
	}
	in.Qualifier = c.query.Get("qualifier")
	if in.Event.Data, err = c.readBody(limit); err != nil {
		return in, err
	}
	in.Event.ContentType, err = payloadType(c.r.Header.Get("Content-Type"), in.Event.Data)
	return in, err
}

// payloadType returns a payload's content type as an Event has it, "" for JSON,
// and refuses what says that it is JSON and is not.
func payloadType(contentType string, data []byte) (string, error) {
	if contentType == "application/x-www-form-urlencoded" && len(data) > 0 && (data[0] == '{' || data[0] == '[') && json.Valid(data) {
		return "", nil // what "curl -d" says of everything
	}
	if !wire.IsJSON(contentType) {
		return contentType, nil
	}
	if len(data) > 0 && !json.Valid(data) {
		return "", invalid("the payload is not JSON: %s; send another Content-Type where it is not meant to be", validate(data))
	}
	return "", nil
}

// validate says why data is not JSON. It costs more than json.Valid.
func validate(data []byte) string {
	var v json.RawMessage
	if err := json.Unmarshal(data, &v); err != nil {
		return shape.Fault(err)
	}
	return "it is damaged"
}

// answerActivation sends what the function made of the event, or why it failed.
func (c *call) answerActivation(a *rouse.Activation) {
	c.describe(a)
	if a.Status != rouse.StatusAnswered {
		c.fail(endStatus[a.Status], failure(a))
		return
	}
	t := a.ContentType
	if t == "" {
		t = wire.JSON
	}
	h := c.w.Header()
	h["Content-Type"] = c.value(5, t)
	h["Content-Length"] = []string{strconv.Itoa(len(a.Result))}
	_, _ = c.w.Write(a.Result) // an error is the connection's
}

// failure is the body for an Activation that was not answered.
func failure(a *rouse.Activation) wire.ErrorBody {
	b := wire.ErrorBody{Activation: a.ID, Error: wire.Error{Kind: a.Status.String(), Message: "the function did not answer: " + a.Status.String()}}
	if f := a.Failure; f != nil {
		b.Error.Type, b.Error.Message, b.Error.Stack = f.Type, f.Message, f.Stack
	}
	return b
}

// describe puts an Activation's facts into the headers. Their names are in
// canonical form, so that the map can be written to directly.
func (c *call) describe(a *rouse.Activation) {
	h := c.w.Header()
	h[wire.HeaderActivation] = c.value(0, a.ID)
	h[wire.HeaderStatus] = c.value(1, a.Status.String())
	h[wire.HeaderCold] = c.value(2, strconv.FormatBool(a.Cold))
	h[wire.HeaderDuration] = c.value(3, milliseconds(a.Run))
	if a.Queued > 0 {
		h[wire.HeaderQueued] = []string{milliseconds(a.Queued)}
	}
	if a.Init > 0 {
		h[wire.HeaderInit] = c.value(4, milliseconds(a.Init))
	}
}

// value returns a header's value, a slice of one, from the i-th place of c.headers.
func (c *call) value(i int, s string) []string {
	c.headers[i] = s
	return c.headers[i : i+1 : i+1]
}

func milliseconds(d rouse.Duration) string {
	var b [24]byte
	return string(strconv.AppendFloat(b[:0], float64(d)/float64(time.Millisecond), 'f', 3, 64))
}
