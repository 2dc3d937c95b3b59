package manifest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
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

	do, undo func(context.Context) error
	last     bool // when all else is done: what it does can't be undone
}

// A Plan is what makes a server as a File says.
type Plan struct {
	Steps []Step `json:"steps"`
	Same  int    `json:"same"` // things that are as they should be
}

// kinds are those that are JSON documents, in the order in which they can be
// made: what comes later names what came before. Functions come before triggers.
var kinds = []struct{ one, many string }{{"stream", "streams"}, {"queue", "queues"}, {"table", "tables"}, {"bucket", "buckets"},
	{"trigger", "triggers"}, {"rule", "rules"}, {"route", "routes"}}

// given are fields that a server adds to what it was told.
var given = []string{"namespace", "name", "created", "notes", "counts", "status", "paused", "resumed", "filling"}

// Plan compares. With prune, what the server has beyond the File is to be
// removed, with all that it holds.
func (f *File) Plan(ctx context.Context, s Server, prune bool) (*Plan, error) {
	want, err := f.documents()
	if err != nil {
		return nil, err
	}
	p := &planner{ctx: ctx, s: s, plan: &Plan{}}
	for i, k := range kinds {
		if k.one == "trigger" {
			for _, name := range keys(f.Functions) {
				if err := p.function(name, f); err != nil {
					return nil, err
				}
			}
		}
		docs := want[i]
		for _, name := range order(k.one, docs, f) {
			if err := p.document(k.one, k.many, name, docs[name]); err != nil {
				return nil, err
			}
		}
	}
	if prune {
		for i, k := range slices.Backward(kinds) {
			if k.one == "bucket" { // rules and triggers are gone by then
				if err := p.pruneFunctions(f); err != nil {
					return nil, err
				}
			}
			if err := p.prune(k.one, k.many, want[i]); err != nil {
				return nil, err
			}
		}
	}
	return p.plan, nil
}

// order is by name, but for queues, of which dead-letter queues come first.
func order(kind string, docs map[string]map[string]any, f *File) []string {
	names := keys(docs)
	if kind != "queue" {
		return names
	}
	dead := map[string]bool{}
	for _, q := range f.Queues {
		dead[q.DeadLetter] = true
	}
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case dead[a] == dead[b]:
			return 0
		case dead[a]:
			return -1
		}
		return 1
	})
	return names
}

type planner struct {
	ctx  context.Context
	s    Server
	plan *Plan
}

// document compares one JSON document.
func (p *planner) document(one, many, name string, want map[string]any) error {
	path := []string{many, name}
	var have map[string]any
	err := p.s.Do(p.ctx, http.MethodGet, path, nil, nil, &have)
	put := func(doc map[string]any) func(context.Context) error {
		return func(ctx context.Context) error { return p.s.Do(ctx, http.MethodPut, path, nil, doc, nil) }
	}
	switch {
	case rouse.KindOf(err) == rouse.NotFound:
		p.plan.Steps = append(p.plan.Steps, Step{Action: Create, Kind: one, Name: name, do: put(want), undo: func(ctx context.Context) error {
			return p.s.Do(ctx, http.MethodDelete, path, nil, nil, nil)
		}})
		return nil
	case err != nil:
		return err
	}
	for _, k := range given {
		delete(have, k)
	}
	details := compare("", want, have)
	if len(details) == 0 {
		p.plan.Same++
		return nil
	}
	p.plan.Steps = append(p.plan.Steps, Step{Action: Change, Kind: one, Name: name, Details: details, do: put(want), undo: put(have)})
	return nil
}

// compare says in which fields two documents differ. What only the server has
// counts where it is not a zero value, but in the config of a trigger, which
// the server completes.
func compare(at string, want, have map[string]any) (details []string) {
	for _, k := range keys(want) {
		name := strings.TrimPrefix(at+"."+k, ".")
		w, h := want[k], have[k]
		wm, wok := w.(map[string]any)
		hm, hok := h.(map[string]any)
		foreign := k == "when" || k == "input" // its zero values mean something
		switch {
		case wok && hok && !foreign:
			details = append(details, compare(name, wm, hm)...)
		case !foreign && same(w, h), secret(h) && event.IsOf(h.(string), fmt.Sprint(w)):
		case !reflect.DeepEqual(w, h):
			details = append(details, fmt.Sprintf("%s: %s -> %s", name, show(k, h), show(k, w)))
		}
	}
	if strings.HasPrefix(at, "config") {
		return details
	}
	for _, k := range keys(have) {
		if _, known := want[k]; !known && !zero(have[k]) {
			details = append(details, fmt.Sprintf("%s: %s -> none", strings.TrimPrefix(at+"."+k, "."), show(k, have[k])))
		}
	}
	return details
}

// same reports whether two values mean the same: a zero value is the same as
// none.
func same(a, b any) bool {
	if zero(a) && zero(b) {
		return true
	}
	if x, ok := a.([]any); ok {
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, same)
	}
	x, ok := a.(map[string]any)
	y, both := b.(map[string]any)
	if !ok || !both {
		return reflect.DeepEqual(a, b)
	}
	for k := range x {
		if !same(x[k], y[k]) {
			return false
		}
	}
	for k := range y {
		if _, known := x[k]; !known && !zero(y[k]) {
			return false
		}
	}
	return true
}

func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for _, e := range v {
			if !zero(e) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

// secret reports whether a value of the server's is one that it hides.
func secret(v any) bool {
	text, ok := v.(string)
	return ok && event.IsHidden(text)
}

// show is a value as people read it; secrets are not.
func show(name string, v any) string {
	if v == nil {
		return "none"
	}
	if low := strings.ToLower(name); secret(v) || strings.Contains(low, "secret") || strings.Contains(low, "password") || low == "users" {
		return event.Hidden
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 80 {
		return string(b[:77]) + "..."
	}
	return string(b)
}

// prune plans to remove the documents that are not wanted.
func (p *planner) prune(one, many string, want map[string]map[string]any) error {
	after := ""
	for {
		var page map[string]json.RawMessage
		if err := p.s.Do(p.ctx, http.MethodGet, []string{many}, following(after), nil, &page); err != nil {
			return err
		}
		var docs []struct{ Name string }
		if err := json.Unmarshal(page[many], &docs); err != nil {
			return fmt.Errorf("list %s: %w", many, err)
		}
		for _, d := range docs {
			if want[d.Name] == nil {
				p.plan.Steps = append(p.plan.Steps, Step{Action: Remove, Kind: one, Name: d.Name, last: true, do: func(ctx context.Context) error {
					return p.s.Do(ctx, http.MethodDelete, []string{many, d.Name}, nil, nil, nil)
				}})
			}
		}
		next := ""
		if err := json.Unmarshal(page["next"], &next); err != nil || next == "" {
			return nil
		}
		after = next
	}
}

// following asks for the page after a name.
func following(after string) url.Values {
	if after == "" {
		return nil
	}
	return url.Values{"after": {after}}
}

func (p *planner) pruneFunctions(f *File) error {
	after := ""
	for {
		var page wire.Functions
		if err := p.s.Do(p.ctx, http.MethodGet, []string{"functions"}, following(after), nil, &page); err != nil {
			return err
		}
		for _, fn := range page.Functions {
			if _, wanted := f.Functions[fn.Name]; !wanted {
				p.plan.Steps = append(p.plan.Steps, Step{Action: Remove, Kind: "function", Name: fn.Name, last: true, do: func(ctx context.Context) error {
					return p.s.Remove(ctx, fn.Name)
				}})
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}
