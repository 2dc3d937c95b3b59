package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A Call asks a function to answer a payload.
type Call struct {
	Function    string
	Qualifier   string // a version or an alias; "" is the newest
	Payload     []byte
	ContentType string // of Payload; "" is JSON
}

func (k Call) request(operation string) request {
	r := request{method: http.MethodPost, path: []string{"functions", k.Function, operation}, query: url.Values{}, contentType: k.ContentType}
	if k.Qualifier != "" {
		r.query.Set("qualifier", k.Qualifier)
	}
	if r.contentType == "" {
		r.contentType = wire.JSON
	}
	r.body = bytes.NewReader(k.Payload)
	return r
}

// Invoke runs a function. A function that fails is no error: the Activation
// says so. The Activation has its ID, Status, times, Result and Failure, and
// none of what only its record holds.
func (c *Client) Invoke(ctx context.Context, k Call) (a rouse.Activation, err error) {
	resp, err := c.roundTrip(ctx, k.request("invoke"))
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	h := resp.Header
	a.ID = h.Get(wire.HeaderActivation)
	status := h.Get(wire.HeaderStatus)
	if status == "" {
		return a, readError(resp).err
	}
	if err := a.Status.UnmarshalText([]byte(status)); err != nil {
		return a, c.garbled(err)
	}
	a.Cold = h.Get(wire.HeaderCold) == "true"
	a.Queued, a.Init, a.Run = milliseconds(h, wire.HeaderQueued), milliseconds(h, wire.HeaderInit), milliseconds(h, wire.HeaderDuration)
	if a.Status != rouse.StatusAnswered {
		e := readError(resp).body.Error
		a.Failure = &rouse.Failure{Type: e.Type, Message: e.Message, Stack: e.Stack}
		return a, nil
	}
	if t := h.Get("Content-Type"); t != wire.JSON {
		a.ContentType = t
	}
	if a.Result, err = io.ReadAll(resp.Body); err != nil {
		return a, c.garbled(err)
	}
	a.Size = int64(len(a.Result))
	return a, nil
}

func milliseconds(h http.Header, name string) rouse.Duration {
	ms, err := strconv.ParseFloat(h.Get(name), 64)
	if err != nil {
		return 0
	}
	return rouse.Duration(ms * float64(time.Millisecond))
}

// Record runs a function, as Invoke does, and returns all of the Activation.
func (c *Client) Record(ctx context.Context, k Call) (rouse.Activation, error) {
	r := k.request("invoke")
	r.query.Set("record", "true")
	var w wire.Activation
	if err := c.call(ctx, r, nil, &w); err != nil {
		return rouse.Activation{}, err
	}
	return w.Unwrap()
}

// Accept has a function run later and returns the ID of the Activation to come.
func (c *Client) Accept(ctx context.Context, k Call) (string, error) {
	r := k.request("invoke")
	r.query.Set("async", "true")
	var out wire.Accepted
	err := c.call(ctx, r, nil, &out)
	return out.Activation, err
}

// AcceptBatch has a function run later on each payload, all of them or none,
// and returns the IDs in their order. Payloads are JSON.
func (c *Client) AcceptBatch(ctx context.Context, function, qualifier string, payloads [][]byte) ([]string, error) {
	var b bytes.Buffer
	for i, p := range payloads {
		// A line break inside of a payload would end its line.
		if err := json.Compact(&b, p); err != nil {
			return nil, rouse.Errorf(rouse.Invalid, "write batch", function, "payload %d is not JSON: %w", i, err)
		}
		b.WriteByte('\n')
	}
	r := Call{Function: function, Qualifier: qualifier, Payload: b.Bytes(), ContentType: wire.NDJSON}.request("batch")
	var out wire.AcceptedBatch
	err := c.call(ctx, r, nil, &out)
	return out.Activations, err
}
