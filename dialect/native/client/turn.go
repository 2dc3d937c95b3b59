package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Turn waits until no other client changes many things of the namespace
// together, and keeps all others that ask for a turn from it until done is called,
// ctx ends, or the process does. It calls waits once it has waited for a second;
// nil is nobody.
func (c *Client) Turn(ctx context.Context, waits func()) (done func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	resp, err := c.send(ctx, request{method: http.MethodPost, path: []string{"turn"}})
	if err != nil {
		cancel()
		return nil, err
	}
	done = func() {
		cancel()
		resp.Body.Close()
	}
	for in := json.NewDecoder(resp.Body); ; {
		var now wire.Turn
		switch err := in.Decode(&now); {
		case err != nil && ctx.Err() != nil:
			done()
			return nil, ctx.Err()
		case err != nil:
			done()
			return nil, c.garbled(err)
		case now.Mine:
			return done, nil
		case waits != nil:
			waits()
			waits = nil
		}
	}
}
