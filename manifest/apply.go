package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/rouse-run/rouse"
)

// A Report says what became of a Step.
type Report struct {
	Step
	N, Of int   // how many were done with it, of how many
	Back  bool  // it was taken back
	Err   error // why that could not be
}

// Apply does what a Plan says, and calls tell of each Step; nil is nobody. What
// the server was asked about when it was planned is not asked again.
//
// A Step that fails has those before it taken back, the last one first: the
// server is then as it was, but for version numbers. What somebody else has
// changed meanwhile, or come to use, stays as it is, and a rule that is put back
// delivers what happens from then on. Steps that can't be taken
// back come last: they remove triggers with secrets, functions, and what holds
// data. Once the first of them is done, a failure leaves what was done, and the
// rest is what there still is to do.
func (p *Plan) Apply(ctx context.Context, tell func(Report)) error {
	if tell == nil {
		tell = func(Report) {}
	}
	undos := make([]func(context.Context) error, len(p.Steps))
	for i, late := 0, 0; i < len(p.Steps); i++ {
		s := p.Steps[i]
		undo, err := s.do(ctx)
		if undos[i] = undo; err == nil {
			late = 0
			tell(Report{Step: s, N: i + 1, Of: len(p.Steps)})
			continue
		}
		// It may want the place that one after it is to leave.
		if others := p.settings(i); rouse.KindOf(err) == rouse.Conflict && late < len(others)-1 {
			copy(others, others[1:])
			others[len(others)-1] = s
			i, late = i-1, late+1
			continue
		}
		err = fmt.Errorf("%s %s %s: %w", s.Action, s.Kind, s.Name, err)
		if i > 0 && p.Steps[i-1].phase == forgetting {
			return fmt.Errorf("%w; what was done before can't be taken back and stays", err)
		}
		return errors.Join(err, p.undo(context.WithoutCancel(ctx), undos[:i], tell))
	}
	return nil
}

// settings returns a Step and those after it that set things, or make room for
// that.
func (p *Plan) settings(i int) []Step {
	n := 0
	for _, s := range p.Steps[i:] {
		if s.phase > leading {
			break
		}
		n++
	}
	return p.Steps[i : i+n]
}

// undo takes back the first Steps, the last one first.
func (p *Plan) undo(ctx context.Context, undos []func(context.Context) error, tell func(Report)) error {
	var errs []error
	for i := len(undos) - 1; i >= 0; i-- {
		if undos[i] == nil { // somebody else had done it
			continue
		}
		s := p.Steps[i]
		err := undos[i](ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("undo %s of %s %s: %w", s.Action, s.Kind, s.Name, err))
		}
		tell(Report{Step: s, Back: true, Err: err})
	}
	return errors.Join(errs...)
}
