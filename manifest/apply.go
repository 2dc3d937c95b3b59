package manifest

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Apply does what a Plan says, and calls done after each step, of how many. A
// step that fails undoes those before it: the server is then as it was, but for
// version numbers. Removals come last and are not undone.
func (p *Plan) Apply(ctx context.Context, done func(s Step, n, of int)) error {
	steps := slices.Clone(p.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int {
		switch {
		case a.last == b.last:
			return 0
		case b.last:
			return -1
		}
		return 1
	})
	for i, s := range steps {
		err := s.do(ctx)
		if err == nil {
			if done != nil {
				done(s, i+1, len(steps))
			}
			continue
		}
		err = fmt.Errorf("%s %s %s: %w", s.Action, s.Kind, s.Name, err)
		if s.last {
			return err
		}
		return errors.Join(err, undo(context.WithoutCancel(ctx), steps[:i]))
	}
	return nil
}

// undo takes back steps that were done, the last one first.
func undo(ctx context.Context, steps []Step) error {
	var errs []error
	for _, s := range slices.Backward(steps) {
		if err := s.undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("undo %s of %s %s: %w", s.Action, s.Kind, s.Name, err))
		}
	}
	return errors.Join(errs...)
}
