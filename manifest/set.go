package manifest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// document compares one thing that is a JSON document.
func (p *planner) document(one, many, name string) error {
	want, have := p.want[one][name], p.have[one][name]
	if one == "trigger" && hidden(have) { // a list shows no digests
		if err := p.s.Do(p.ctx, http.MethodGet, []string{many, name}, nil, nil, &have); err != nil {
			return err
		}
	}
	step := Step{Action: Create, Kind: one, Name: name, do: (&setter{p.s, one, []string{many, name}, want}).set}
	if one == "rule" || one == "route" {
		step.phase = leading
	}
	if have != nil {
		step.Action, step.Details = Change, compare("", want, bare(have))
		if len(step.Details) == 0 {
			p.plan.Same++
			return nil
		}
	}
	p.plan.Steps = append(p.plan.Steps, step)
	return nil
}

// A setter makes one thing as it is wanted. Others may do the same at the same
// time: it takes back only what it did itself.
type setter struct {
	s    Server
	kind string
	path []string
	want document
}

// attempts is how often a thing is set while others change it, and patience how
// long to wait before the second time; then it is twice as long each time.
const (
	attempts = 5
	patience = 20 * time.Millisecond
)

func (s *setter) get(ctx context.Context) (document, error) {
	var have document
	err := s.s.Do(ctx, http.MethodGet, s.path, nil, nil, &have)
	if rouse.KindOf(err) == rouse.NotFound {
		return nil, nil
	}
	return bare(have), err
}

func (s *setter) put(ctx context.Context, d document) error {
	return s.s.Do(ctx, http.MethodPut, s.path, nil, d, nil)
}

func (s *setter) set(ctx context.Context) (undo func(context.Context) error, err error) {
	for i := 0; ; i++ {
		before, err := s.get(ctx)
		if err != nil {
			return nil, err
		}
		if before != nil && len(compare("", s.want, before)) == 0 {
			return nil, nil // somebody else did it
		}
		err = s.put(ctx, s.want)
		switch {
		case err == nil:
			return func(ctx context.Context) error { return s.undo(ctx, before) }, nil
		case rouse.KindOf(err) != rouse.Conflict || i == attempts-1:
			return nil, err
		}
		// Somebody else may have changed it, which need not be seen yet.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(patience << i):
		}
	}
}

// undo makes a thing what it was before, nil for none, unless somebody changed it
// or came to use it since.
func (s *setter) undo(ctx context.Context, before document) error {
	now, err := s.get(ctx)
	switch {
	case err != nil:
		return err
	case now == nil || len(compare("", s.want, now)) > 0:
		return errOthers
	case before != nil:
		return s.put(ctx, before)
	}
	if err := unused(ctx, s.s, s.kind, s.path[1]); err != nil {
		return err
	}
	return s.s.Do(ctx, http.MethodDelete, s.path, nil, nil, nil)
}

var errOthers = fmt.Errorf("somebody else has changed it since: it stays")

// unused refuses to remove what something else uses.
func unused(ctx context.Context, s Server, kind, name string) error {
	ch := wire.CheckChange{Kind: kind, Name: name}
	got, err := ask(ctx, s, wire.Check{Changes: []wire.CheckChange{ch}})
	if err == nil && got[0].Error != nil {
		err = refusal(ch, *got[0].Error)
	}
	return err
}
