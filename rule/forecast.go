package rule

import (
	"context"
	"time"

	"github.com/rouse-run/rouse/event"
)

// Next implements event.Viewer.
func (e *Engine) Next(ctx context.Context, t event.Trigger) (at time.Time, known bool, err error) {
	s, ok := e.sources[t.Kind].(event.Forecaster)
	if !ok {
		return at, false, nil
	}
	state, err := e.Inbox.State(ctx, t.Ref)
	if err != nil {
		return at, false, err
	}
	at, err = s.Next(t.Config, state)
	return at, err == nil, err
}
