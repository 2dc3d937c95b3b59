package native

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

const (
	maxSteps  = 32        // back from an activation, and on from it
	maxSeen   = 1000      // activations that are looked at, each way
	maxFinds  = 100       // events that are looked up for them
	aroundFor = time.Hour // how far from an activation it is looked
)

// explain walks from an activation back to what led to it, and on to what it
// led to. Causes are kept, and so going back is exact; effects are looked for
// among what ran within an hour.
func explain(s *server, c *call) error {
	a, err := s.activation(c)
	if err != nil {
		return err
	}
	x := &explainer{server: s, c: c, out: wire.Explanation{Activation: wire.ActivationOf(a)}}
	for _, step := range []func(rouse.Activation) error{x.causes, x.earlier, x.later} {
		if err := step(a); err != nil {
			return err
		}
	}
	slices.SortFunc(x.out.Attempts, func(a, b wire.Activation) int { return a.Started.Compare(b.Started) })
	return c.answer(http.StatusOK, x.out)
}

type explainer struct {
	*server
	c   *call
	out wire.Explanation
}

// brief leaves an activation's result out, which a chain need not repeat.
func brief(a rouse.Activation) wire.Activation {
	a.Result = nil
	return wire.ActivationOf(a)
}

// causes walks back. An event says which activation made it.
func (x *explainer) causes(a rouse.Activation) error {
	ctx, ns := x.c.r.Context(), a.Function.Namespace
	seen := map[string]bool{a.ID: true}
	for a.Cause != "" {
		if len(x.out.Causes) == maxSteps {
			x.out.Truncated = true
			return nil
		}
		step := wire.Cause{ID: a.Cause, Rule: a.Rule}
		if a.Rule != "" && x.Rules != nil {
			if r, err := x.Rules.Rule(ctx, rouse.Ref{Namespace: ns, Name: a.Rule}); err == nil {
				step.On = listensTo(r.On)
			}
		}
		from := cmp.Or(a.Maker, a.Cause)
		ev, err := x.event(ns, a.Cause)
		if err != nil {
			return err
		}
		if ev != nil {
			w := wire.EventOf(*ev)
			step.Event = &w
			from = cmp.Or(a.Maker, ev.Attributes[event.AttributeCause])
			if waited := a.Started.Sub(ev.Time); !ev.Time.IsZero() && waited > 0 {
				step.Waited = rouse.Duration(waited)
			}
		}
		var before rouse.Activation
		if from != "" && !seen[from] && checkID(from) == nil {
			before, err = x.Records.Activation(ctx, from)
			if err != nil && rouse.KindOf(err) != rouse.NotFound {
				return err
			}
			if err == nil && before.Function.Namespace == ns {
				w := brief(before)
				step.Activation = &w
			} else {
				before = rouse.Activation{}
			}
		}
		x.out.Causes = append(x.out.Causes, step)
		seen[from] = true
		a = before
	}
	return nil
}

// event finds one; nil where it is not kept any more, or never was one.
func (x *explainer) event(ns rouse.Namespace, id string) (*rouse.Event, error) {
	if x.Control == nil {
		return nil, nil
	}
	ev, err := x.Control.Find(x.c.r.Context(), ns, id)
	switch {
	case rouse.KindOf(err) == rouse.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &ev, nil
}

// listensTo says in two words what a rule is for.
func listensTo(on event.On) string {
	for _, o := range []struct{ kind, name string }{{"trigger", on.Trigger}, {"stream", on.Stream}, {"queue", on.Queue},
		{"table", on.Table}, {"bucket", on.Bucket}, {"function", on.Function}} {
		if o.name != "" {
			return o.kind + " " + o.name
		}
	}
	return ""
}

// earlier looks at what ran of the function before: for the attempts at the same
// event, and for why no instance was warm.
func (x *explainer) earlier(a rouse.Activation) error {
	q := rouse.ActivationQuery{Namespace: a.Function.Namespace, Function: a.Function.Name, Since: a.Started.Add(-aroundFor), Until: a.Started, Limit: maxSeen}
	before, err := x.Records.Activations(x.c.r.Context(), q)
	if err != nil {
		return err
	}
	x.addAttempts(a, before)
	if a.Cold {
		x.out.Cold = whyCold(a, before)
	}
	return nil
}

func (x *explainer) addAttempts(a rouse.Activation, others []rouse.Activation) {
	for _, o := range others {
		if o.ID != a.ID && a.Cause != "" && o.Cause == a.Cause && o.Rule == a.Rule && o.Function == a.Function {
			x.out.Attempts = append(x.out.Attempts, brief(o))
		}
	}
}

// whyCold tells from what ran before why an instance had to be booted.
func whyCold(a rouse.Activation, before []rouse.Activation) string {
	var same, busy, other int
	var last time.Time // when the version was used last
	for _, b := range before {
		if b.ID == a.ID {
			continue
		}
		if b.Version != a.Version {
			other = b.Version
			continue
		}
		same++
		end := b.Started.Add(time.Duration(b.Queued + b.Init + b.Run))
		if end.After(a.Started) {
			busy++
		}
		if end.After(last) {
			last = end
		}
	}
	switch {
	case busy > 0:
		return fmt.Sprintf("%d others of version %d ran at that moment", busy, a.Version)
	case same > 0:
		return fmt.Sprintf("version %d had not run for %v, and its instances were gone", a.Version, a.Started.Sub(last).Round(time.Millisecond))
	case other > 0:
		return fmt.Sprintf("it is the first run of version %d within an hour; others were of version %d", a.Version, other)
	}
	return "it is the function's first run, or the first within an hour"
}

// later looks at what ran after an activation for what it led to.
func (x *explainer) later(a rouse.Activation) error {
	q := rouse.ActivationQuery{Namespace: a.Function.Namespace, Since: a.Started, Until: a.Started.Add(aroundFor), Limit: maxSeen}
	after, err := x.Records.Activations(x.c.r.Context(), q)
	if err != nil {
		return err
	}
	x.out.Truncated = x.out.Truncated || len(after) == maxSeen
	x.addAttempts(a, after)
	byCause, err := x.group(a, after)
	if err != nil {
		return err
	}
	x.out.Effects = effects(a.ID, byCause, map[string]bool{a.ID: true}, maxSteps)
	return nil
}

// group sorts activations by the one that led to each. Where that was by an event
// which a function had made, the event says so.
func (x *explainer) group(a rouse.Activation, after []rouse.Activation) (map[string][]rouse.Activation, error) {
	ran := map[string]bool{a.ID: true}
	for _, o := range after {
		ran[o.ID] = true
	}
	byCause, makers := map[string][]rouse.Activation{}, map[string]string{}
	for _, o := range after {
		by := o.Cause
		if by == "" {
			continue
		}
		if o.Maker != "" {
			by = o.Maker
		} else if o.Rule != "" && o.Hops > a.Hops && !ran[by] {
			maker, known := makers[by]
			if !known && len(makers) < maxFinds {
				ev, err := x.event(a.Function.Namespace, by)
				if err != nil {
					return nil, err
				}
				if ev != nil {
					maker = ev.Attributes[event.AttributeCause]
				}
				makers[by] = maker
			} else if !known {
				x.out.Truncated = true
			}
			by = cmp.Or(maker, by)
		}
		byCause[by] = append(byCause[by], o)
	}
	return byCause, nil
}

// effects are what an activation led to, oldest first. The event of how it ended
// has its ID.
func effects(id string, byCause map[string][]rouse.Activation, seen map[string]bool, steps int) []wire.Effect {
	if steps == 0 {
		return nil
	}
	led := slices.Clone(byCause[id])
	slices.SortFunc(led, func(a, b rouse.Activation) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	var out []wire.Effect
	for _, a := range led {
		if seen[a.ID] {
			continue
		}
		seen[a.ID] = true
		out = append(out, wire.Effect{Activation: brief(a), Effects: effects(a.ID, byCause, seen, steps-1)})
	}
	return out
}
