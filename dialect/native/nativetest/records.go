package nativetest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
)

func (p *Platform) print(l rouse.Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, l)
	for tail, r := range p.tails {
		if r == l.Function {
			select {
			case tail <- l:
			default: // lossy, as the port says
			}
		}
	}
}

// Print adds a line as if a function had printed it.
func (p *Platform) Print(l rouse.Line) { p.print(l) }

// EndTails ends every Follow once it has handed out what was printed so far.
func (p *Platform) EndTails() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tail := range p.tails {
		close(tail)
	}
	clear(p.tails)
}

// Post implements rouse.Records.
func (p *Platform) Post(_ context.Context, as []rouse.Activation, ls []rouse.Line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.activations = append(p.activations, as...)
	p.lines = append(p.lines, ls...)
	close(p.posted)
	p.posted = make(chan struct{})
	return nil
}

// Await returns the activations of functions of a name, oldest first, once there
// are n of them. Errors: that of a ctx that ends before.
func (p *Platform) Await(ctx context.Context, name string, n int) ([]rouse.Activation, error) {
	for {
		p.mu.Lock()
		var as []rouse.Activation
		for _, a := range p.activations {
			if a.Function.Name == name {
				as = append(as, a)
			}
		}
		posted := p.posted
		p.mu.Unlock()
		if len(as) >= n {
			return as, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-posted:
		}
	}
}

// Activation implements rouse.Records.
func (p *Platform) Activation(_ context.Context, id string) (rouse.Activation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.activations {
		if a.ID == id {
			return a, nil
		}
	}
	return rouse.Activation{}, rouse.Errorf(rouse.NotFound, "get activation", id, "there is no such activation")
}

// Activations implements rouse.Records.
func (p *Platform) Activations(_ context.Context, q rouse.ActivationQuery) ([]rouse.Activation, error) {
	p.mu.Lock()
	as := slices.Clone(p.activations)
	p.mu.Unlock()
	as = slices.DeleteFunc(as, func(a rouse.Activation) bool {
		return a.Function.Namespace != q.Namespace ||
			(q.Function != "" && a.Function.Name != q.Function) ||
			(len(q.Statuses) > 0 && !slices.Contains(q.Statuses, a.Status)) ||
			(!q.Since.IsZero() && a.Started.Before(q.Since)) ||
			(!q.Until.IsZero() && !a.Started.Before(q.Until)) ||
			(q.Before != "" && a.ID >= q.Before)
	})
	slices.SortFunc(as, func(a, b rouse.Activation) int { return cmp.Compare(b.ID, a.ID) })
	return as[:min(len(as), q.Limit)], nil
}

// Lines implements rouse.Records.
func (p *Platform) Lines(_ context.Context, q rouse.LineQuery) ([]rouse.Line, error) {
	p.mu.Lock()
	ls := slices.Clone(p.lines)
	p.mu.Unlock()
	ls = slices.DeleteFunc(ls, func(l rouse.Line) bool {
		return l.Function != q.Function || (q.Activation != "" && l.Activation != q.Activation) || l.Time.Before(q.Since)
	})
	return ls[max(0, len(ls)-q.Limit):], nil
}

// Trim implements rouse.Records; it never forgets for size.
func (p *Platform) Trim(_ context.Context, before time.Time, _ int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.activations = slices.DeleteFunc(p.activations, func(a rouse.Activation) bool { return a.Started.Before(before) })
	p.lines = slices.DeleteFunc(p.lines, func(l rouse.Line) bool { return l.Time.Before(before) })
	return nil
}

// Follow implements rouse.Tail.
func (p *Platform) Follow(ctx context.Context, r rouse.Ref, f func(rouse.Line) bool) error {
	tail := make(chan rouse.Line, 100)
	p.mu.Lock()
	p.tails[tail] = r
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.tails, tail)
	}()
	p.following <- struct{}{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l, ok := <-tail:
			if !ok || !f(l) {
				return nil
			}
		}
	}
}
