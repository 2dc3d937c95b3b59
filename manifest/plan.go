package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A Server is what is compared and changed.
type Server interface {
	// Do calls an operation of the native API below /v1. In and out are JSON;
	// nil is none.
	Do(ctx context.Context, method string, path []string, query url.Values, in, out any) error
	Function(ctx context.Context, name, qualifier string) (rouse.Function, error)
	Deploy(ctx context.Context, name string, o wire.Options, code io.Reader, progress func(step string)) (rouse.Function, error)
	Remove(ctx context.Context, name string) error
}

// An Action is what a Step does.
type Action string

// The Actions.
const (
	Create Action = "create"
	Change Action = "change"
	Remove Action = "remove"
)

// A Step is one difference.
type Step struct {
	Action  Action   `json:"action"`
	Kind    string   `json:"kind"` // such as "function"
	Name    string   `json:"name"`
	Details []string `json:"details,omitempty"` // what changes, such as "keep: 24h0m0s -> 48h0m0s"

	phase phase
	do    func(context.Context) (undo func(context.Context) error, err error)
}

// A phase says when a Step is done. What can't be taken back comes last.
type phase int

const (
	setting    phase = iota // what is made or changed is as it was again when it is taken back
	clearing                // rules and routes that keep those from being set that are to be there
	leading                 // rules and routes are set
	removing                // what is removed and can be put back: rules, routes, and triggers without secrets
	forgetting              // triggers with secrets, functions with their versions, and what holds data
)

// A Plan is what makes a server as a File says.
type Plan struct {
	Steps []Step `json:"steps"`
	Same  int    `json:"same"` // things that are as they should be
}

// Equal reports whether two Plans show the same Steps.
func (p *Plan) Equal(q *Plan) bool {
	return slices.EqualFunc(p.Steps, q.Steps, func(a, b Step) bool {
		return a.Action == b.Action && a.Kind == b.Kind && a.Name == b.Name && slices.Equal(a.Details, b.Details)
	})
}

// A document is what there is of a thing, or is to be, as JSON.
type document = map[string]any

// kinds are in the order in which they can be made: what comes later names what
// came before.
var kinds = []struct{ one, many string }{{"stream", "streams"}, {"queue", "queues"}, {"table", "tables"}, {"bucket", "buckets"},
	{"function", "functions"}, {"trigger", "triggers"}, {"rule", "rules"}, {"route", "routes"}}

// Plan compares, and asks the server whether what is to be done can be; nothing
// is changed. With prune, what the server has beyond the File is to be removed,
// with all that it holds. Errors: Invalid, NotFound and Conflict, with all that
// the server would refuse.
func (f *File) Plan(ctx context.Context, s Server, prune bool) (*Plan, error) {
	p := &planner{ctx: ctx, s: s, file: f, plan: &Plan{}, code: map[string][]byte{}, have: map[string]map[string]document{}, bars: map[string]bool{}}
	var err error
	if p.want, err = f.documents(); err != nil {
		return nil, err
	}
	if err := p.pack(); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if len(p.want[k.one]) > 0 || prune {
			if p.have[k.one], err = p.list(k.many); err != nil {
				return nil, err
			}
		}
	}
	if err := p.check(prune); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		for _, name := range p.order(k.one) {
			compare := p.document
			if k.one == "function" {
				compare = p.function
			}
			if err := compare(k.one, k.many, name); err != nil {
				return nil, err
			}
		}
	}
	if prune {
		p.prune()
	}
	slices.SortStableFunc(p.plan.Steps, func(a, b Step) int { return int(a.phase) - int(b.phase) })
	return p.plan, nil
}

type planner struct {
	ctx  context.Context
	s    Server
	file *File
	plan *Plan
	want map[string]map[string]document // by kind and name; once checked as the server would have it
	have map[string]map[string]document // as the server lists it
	code map[string][]byte              // of functions, packed
	bars map[string]bool                // kinds of which what is to be removed keeps others from being set
}

// order is by name, but for queues, each of which comes after the one that gets
// its dead letters.
func (p *planner) order(kind string) (names []string) {
	if kind != "queue" {
		return keys(p.want[kind])
	}
	seen := map[string]bool{"": true}
	var add func(name string)
	add = func(name string) {
		if seen[name] || p.want[kind][name] == nil {
			return
		}
		seen[name] = true
		add(p.file.Queues[name].DeadLetter)
		names = append(names, name)
	}
	for _, name := range keys(p.want[kind]) {
		add(name)
	}
	return names
}

// list returns what there is of a kind.
func (p *planner) list(many string) (map[string]document, error) {
	all := map[string]document{}
	q := url.Values{"limit": {"1000"}}
	for {
		var page map[string]json.RawMessage
		if err := p.s.Do(p.ctx, http.MethodGet, []string{many}, q, nil, &page); err != nil {
			return nil, err
		}
		var docs []document
		next := ""
		err := json.Unmarshal(page[many], &docs)
		if page["next"] != nil {
			err = errors.Join(err, json.Unmarshal(page["next"], &next))
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", many, err)
		}
		for _, d := range docs {
			name, _ := d["name"].(string)
			all[name] = d
		}
		if next == "" {
			return all, nil
		}
		q.Set("after", next)
	}
}

// beyond are the names of a kind that the server has and the File does not.
func (p *planner) beyond(kind string) (names []string) {
	for _, name := range keys(p.have[kind]) {
		if p.want[kind][name] == nil {
			names = append(names, name)
		}
	}
	return names
}

// check has the server check all that is to be set or removed, together. What is
// wanted is then as the server would have it.
func (p *planner) check(prune bool) error {
	var in wire.Check
	add := func(kind, name string, set document) error {
		ch := wire.CheckChange{Kind: kind, Name: name}
		var err error
		if set != nil {
			ch.Set, err = json.Marshal(set)
		}
		in.Changes = append(in.Changes, ch)
		return err
	}
	var err error
	for _, k := range kinds {
		for _, name := range p.order(k.one) {
			err = errors.Join(err, add(k.one, name, p.want[k.one][name]))
		}
	}
	if prune {
		for _, k := range kinds {
			for _, name := range p.beyond(k.one) {
				err = errors.Join(err, add(k.one, name, nil))
			}
		}
	}
	if err != nil {
		return err
	}
	checked, err := ask(p.ctx, p.s, in)
	if err != nil {
		return err
	}
	if err := p.bar(in, checked); err != nil {
		return err
	}
	var refused []error
	for i, ch := range in.Changes {
		switch got := checked[i]; {
		case got.Error != nil:
			err := refusal(ch, *got.Error)
			if ch.Set == nil && rouse.KindOf(err) == rouse.Conflict {
				err = fmt.Errorf("%w, or put %s under %ss: in the manifest", err, ch.Name, ch.Kind)
			}
			refused = append(refused, err)
		case ch.Set != nil:
			set := bare(got.Set)
			reveal(set, p.want[ch.Kind][ch.Name])
			p.want[ch.Kind][ch.Name] = set
		}
	}
	return errors.Join(refused...)
}

// bar finds out what can be set only when other things have been removed, such as
// the rule on a queue that takes the place of another.
func (p *planner) bar(in wire.Check, checked []checked) error {
	set := slices.IndexFunc(in.Changes, func(ch wire.CheckChange) bool { return ch.Set == nil })
	if set < 0 {
		return nil
	}
	before, err := ask(p.ctx, p.s, wire.Check{Changes: in.Changes[:set]})
	for i := range before {
		if before[i].Error != nil && checked[i].Error == nil {
			p.bars[in.Changes[i].Kind] = true
		}
	}
	return err
}

// A checked is what the server says of one change.
type checked struct {
	Set   document    `json:"set"`
	Error *wire.Error `json:"error"`
}

func ask(ctx context.Context, s Server, in wire.Check) ([]checked, error) {
	if len(in.Changes) == 0 {
		return nil, nil
	}
	var out struct{ Changes []checked }
	if err := s.Do(ctx, http.MethodPost, []string{"check"}, nil, in, &out); err != nil {
		return nil, err
	}
	if len(out.Changes) != len(in.Changes) {
		return nil, fmt.Errorf("check: the server said something of %d changes, and there are %d", len(out.Changes), len(in.Changes))
	}
	return out.Changes, nil
}

// refusal names what of the manifest is refused.
func refusal(ch wire.CheckChange, e wire.Error) error {
	op := ch.Kind
	if ch.Set == nil {
		op = string(Remove) + " " + op
	}
	err := e.Err()
	if err.On != "" && err.On != ch.Name && !strings.HasSuffix(err.On, "/"+ch.Name) { // it is the field
		return rouse.Errorf(err.Kind, op, ch.Name, "%s: %w", err.On, err.Err)
	}
	return rouse.Errorf(err.Kind, op, ch.Name, "%w", err.Err)
}

// prune plans to remove what the File does not have.
func (p *planner) prune() {
	for _, k := range slices.Backward(kinds) {
		for _, name := range p.beyond(k.one) {
			p.plan.Steps = append(p.plan.Steps, p.removal(k.one, k.many, name))
		}
	}
}

// removal removes a thing.
func (p *planner) removal(one, many, name string) Step {
	path := []string{many, name}
	have := bare(p.have[one][name])
	step := Step{Action: Remove, Kind: one, Name: name, phase: forgetting}
	var undo func(context.Context) error
	if one == "rule" || one == "route" || one == "trigger" && !hidden(have) {
		if step.phase = removing; p.bars[one] || one == "rule" && (p.bars["table"] || p.bars["bucket"]) {
			step.phase = clearing
		}
		undo = func(ctx context.Context) error { return p.s.Do(ctx, http.MethodPut, path, nil, have, nil) }
	}
	step.do = func(ctx context.Context) (func(context.Context) error, error) {
		err := p.s.Do(ctx, http.MethodDelete, path, nil, nil, nil)
		if rouse.KindOf(err) == rouse.NotFound { // somebody else did it
			return nil, nil
		}
		return undo, err
	}
	return step
}
