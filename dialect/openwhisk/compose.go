package openwhisk

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/internal/ident"
)

// maxComponents bounds a sequence, those in it counted as well, and the actions
// that a conductor calls.
const maxComponents = 50

// longest is how long a composition may take; its components have limits of
// their own.
const longest = rouse.Duration(24 * time.Hour)

// composed reports whether an action runs others.
func composed(a *action) bool {
	return a.f.Contract == contractSequence || a.f.Contract == contractConductor
}

// handler is a rouse.Handler.
type handler func(context.Context, rouse.Function, rouse.Invocation, func(rouse.Line)) (rouse.Answer, error)

// Handle implements rouse.Handler.
func (h handler) Handle(ctx context.Context, f rouse.Function, in rouse.Invocation, log func(rouse.Line)) (rouse.Answer, error) {
	return h(ctx, f, in, log)
}

// setComponents makes an action a sequence of others, all of which must be there.
func (d *Door) setComponents(ctx context.Context, a *action, components []string) error {
	if len(components) == 0 {
		return refuse(http.StatusBadRequest, "No component specified for the sequence.")
	}
	for _, name := range components {
		p, err := parseQualified(a.path.ns, name)
		if err != nil {
			return err
		}
		if p == a.path {
			return refuse(http.StatusBadRequest, "Sequence may not refer to itself.")
		}
		a.Components = append(a.Components, "/"+p.String())
	}
	return (&counting{Door: d, self: a.path}).add(ctx, a.Components)
}

// counting counts the components of a sequence and of those in it, and refuses
// one that comes back to itself. Those in it may do so as well, where two were
// changed at once or by way of a binding, and so they are counted, too.
type counting struct {
	*Door
	self             path
	plain, sequences int
}

func (d *counting) add(ctx context.Context, components []string) error {
	for _, name := range components {
		p, err := parseQualified(d.self.ns, name)
		if err != nil {
			return err
		}
		if p == d.self {
			return refuse(http.StatusBadRequest, "Sequence may not refer to itself.")
		}
		c, err := d.find(ctx, d.self.ns, p)
		if err != nil {
			if refusalOf(err).status == http.StatusNotFound {
				return refuse(http.StatusBadRequest, "Sequence component does not exist.")
			}
			return err
		}
		if c.Kind == kindSequence {
			d.sequences++
		} else {
			d.plain++
		}
		if d.plain > maxComponents || d.sequences > maxComponents*maxDepth {
			return refuse(http.StatusBadRequest, "Too many actions in the sequence.")
		}
		if c.Kind == kindSequence {
			if err := d.add(ctx, c.Components); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxDepth bounds compositions within compositions.
const maxDepth = 16

const textTooMany = "Too many actions in the composition."

// An account is what a conductor, and all conductors that it led to, have run so
// far: they share the bounds of one. It goes down with the context, so that
// nobody who calls can say another, and is used by one goroutine at a time, as
// each composition waits for its components.
type account struct {
	components int // called by conductors, but for other conductors
	conductors int // runs of conductors
}

type accountKey struct{}

// withAccount returns the account of the composition that a conductor is part
// of, which begins with it where there is none.
func withAccount(ctx context.Context) (context.Context, *account) {
	if c, ok := ctx.Value(accountKey{}).(*account); ok {
		return ctx, c
	}
	c := &account{}
	return context.WithValue(ctx, accountKey{}, c), c
}

// A tally is what a sequence, and all sequences in it, have run so far. When they
// were made they were not too long; what is in them may have changed since.
type tally struct{ plain, sequences int }

type tallyKey struct{}

// withTally returns the tally of the sequence that a sequence is part of.
func withTally(ctx context.Context) (context.Context, *tally) {
	if t, ok := ctx.Value(tallyKey{}).(*tally); ok && t != nil {
		return ctx, t
	}
	t := &tally{}
	return context.WithValue(ctx, tallyKey{}, t), t
}

// count counts a component, and says whether there is room for it.
func (t *tally) count(c *action) bool {
	if c.f.Contract == contractSequence {
		t.sequences++
	} else {
		t.plain++
	}
	return t.plain <= maxComponents && t.sequences <= maxComponents*maxDepth
}

func tooDeep(in rouse.Invocation) (rouse.Answer, bool) {
	if in.Hops < maxDepth {
		return rouse.Answer{}, false
	}
	return failure("DeveloperError", fmt.Sprintf("%d activations in a row led here: actions seem to call each other without end.", in.Hops)), true
}

func failure(kind, text string) rouse.Answer {
	return rouse.Answer{Status: rouse.StatusFailed, Failure: &rouse.Failure{Type: kind, Message: text}}
}

// applicationError is the answer of code that says no.
func applicationError(text string) rouse.Answer {
	result, _ := json.Marshal(map[string]string{"error": text}) // strings always marshal
	a := failure(failureApplication, text)
	a.Result, a.Size = result, int64(len(result))
	return a
}

// answerOf makes the answer of a composition of what its last component did.
func answerOf(act rouse.Activation) rouse.Answer {
	return rouse.Answer{Status: act.Status, Result: act.Result, ContentType: act.ContentType, Size: act.Size, Failure: act.Failure}
}

// component runs one action of a composition and logs its activation.
func (d *Door) component(ctx context.Context, by rouse.Invocation, invoker rouse.Invoker, f rouse.Ref, args []byte, log func(rouse.Line)) (rouse.Activation, error) {
	e := rouse.Event{Data: args, Attributes: map[string]string{openwhisk.Transaction: cmp.Or(by.Event.Attributes[openwhisk.Transaction], by.ID)}}
	in := rouse.Invocation{ID: ident.New(), Function: f, Event: e, Cause: by.ID, Hops: by.Hops + 1}
	// It is the composition that asks, whoever asked for that.
	ctx = rouse.WithPrincipal(ctx, rouse.Principal{Namespace: by.Function.Namespace})
	act, err := invoker.Invoke(ctx, in)
	if err != nil && act.ID == "" {
		return act, err
	}
	log(rouse.Line{Time: d.Now(), Stream: rouse.Stdout, Text: act.ID})
	return act, nil
}

// runSequence runs the components of a sequence, each with the result of the one
// before.
func (d *Door) runSequence(ctx context.Context, f rouse.Function, in rouse.Invocation, log func(rouse.Line)) (rouse.Answer, error) {
	if no, deep := tooDeep(in); deep {
		return no, nil
	}
	a, err := d.actionOf(f)
	if err != nil {
		return rouse.Answer{}, err
	}
	args, err := a.Overlay(in.Event)
	if err != nil {
		return failure("DeveloperError", err.Error()), nil
	}
	ctx, run := withTally(ctx)
	var last rouse.Activation
	for _, name := range a.Components {
		p, err := parseQualified(f.Namespace, name)
		if err != nil {
			return rouse.Answer{}, err
		}
		c, err := d.find(ctx, f.Namespace, p)
		if err != nil {
			return applicationError("Sequence component does not exist."), nil
		}
		if !run.count(c) {
			return applicationError("Too many actions in the sequence."), nil
		}
		if Foreign(f) {
			if err := d.entitled(ctx, f.Namespace, c, args); err != nil {
				return applicationError(refusalOf(err).text), nil
			}
		}
		if last, err = d.component(ctx, in, d.Invoker, c.f.Ref, c.given(args), log); err != nil {
			return applicationError(refusalOf(err).text), nil
		}
		if last.Status != rouse.StatusAnswered {
			break
		}
		args = last.Result
	}
	return answerOf(last), nil
}

// A step is what a conductor answers.
type step struct {
	action json.RawMessage
	params json.RawMessage
	state  json.RawMessage
}

// stepOf reads a conductor's answer.
func stepOf(result []byte) (s step, object map[string]json.RawMessage) {
	if json.Unmarshal(result, &object) != nil || object == nil {
		return s, nil
	}
	return step{object["action"], object["params"], object["state"]}, object
}

// boxed is v where it is an object, and else an object that holds it.
func boxed(v json.RawMessage, name string) map[string]json.RawMessage {
	object := map[string]json.RawMessage{}
	if len(v) == 0 || string(v) == "null" {
		return object
	}
	if json.Unmarshal(v, &object) != nil {
		return map[string]json.RawMessage{name: v}
	}
	return object
}

// runConductor runs a conductor and the actions that it names, in turn, until it
// names none. What goes wrong with one is the conductor's to see.
func (d *Door) runConductor(ctx context.Context, f rouse.Function, in rouse.Invocation, log func(rouse.Line)) (rouse.Answer, error) {
	if no, deep := tooDeep(in); deep {
		return no, nil
	}
	ctx, run := withAccount(ctx)
	args := in.Event.Data
	for {
		if run.conductors++; run.conductors > 2*maxComponents+1 {
			return applicationError(textTooMany), nil
		}
		act, err := d.component(ctx, in, d.Direct, f.Ref, args, log)
		if err != nil {
			return applicationError(refusalOf(err).text), nil
		}
		if act.Status != rouse.StatusAnswered {
			return answerOf(act), nil
		}
		s, object := stepOf(act.Result)
		if len(s.action) == 0 || string(s.action) == "null" {
			if p := s.params; object != nil && len(p) > 0 {
				result, err := json.Marshal(boxed(p, "value"))
				return rouse.Answer{Status: rouse.StatusAnswered, Result: result, Size: int64(len(result))}, err
			}
			return answerOf(act), nil
		}
		result, err := d.step(ctx, run, f, in, s, log)
		if err != nil {
			return rouse.Answer{}, err
		}
		next := boxed(result, "value")
		for k, v := range boxed(s.state, "state") {
			next[k] = v
		}
		if args, err = json.Marshal(next); err != nil {
			return rouse.Answer{}, err
		}
	}
}

// step runs the action that a conductor named and returns its result, which is
// an error where it could not be run.
func (d *Door) step(ctx context.Context, run *account, f rouse.Function, in rouse.Invocation, s step, log func(rouse.Line)) (json.RawMessage, error) {
	no := func(format string, args ...any) (json.RawMessage, error) {
		return applicationError(fmt.Sprintf(format, args...)).Result, nil
	}
	ns := f.Namespace
	var name string
	if json.Unmarshal(s.action, &name) != nil {
		return no("Failed to parse action name from json value %s during composition.", s.action)
	}
	p, err := parseQualified(ns, name)
	if err != nil {
		return no("Failed to parse action name from json value %s during composition.", s.action)
	}
	if run.components >= maxComponents {
		return no(textTooMany)
	}
	c, err := d.find(ctx, ns, p)
	if err != nil {
		if refusalOf(err).status == http.StatusForbidden {
			return no("Failed entitlement check for action with name '%s' during composition.", p)
		}
		return no("Failed to resolve action with name '%s' during composition.", p)
	}
	if c.f.Contract != contractConductor { // else its own runs count
		run.components++
	}
	params, err := json.Marshal(boxed(s.params, "value"))
	if err != nil {
		return nil, err
	}
	if Foreign(f) {
		if err := d.entitled(ctx, ns, c, params); err != nil {
			return no("%s", refusalOf(err).text)
		}
	}
	// A sequence that is called begins anew to count its components.
	act, err := d.component(context.WithValue(ctx, tallyKey{}, (*tally)(nil)), in, d.Invoker, c.f.Ref, c.given(params), log)
	if err != nil {
		return no("%s", refusalOf(err).text)
	}
	return responseOf(c, act).Result, nil
}
