package native

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

// Bounds of what is checked at once.
const (
	maxChanges = 10_000
	maxCheck   = 64 << 20 // bytes
)

// check says what would come of changes, each as if all others had been made,
// and makes none.
func check(s *server, c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	var in wire.Check
	if err := readJSONUpTo(c.r.Body, maxCheck, &in); err != nil {
		return err
	}
	if n := len(in.Changes); n > maxChanges {
		return invalid("changes has %d members; %d are the most", n, maxChanges)
	}
	k := &checker{server: s, c: c, ns: ns, soon: event.Prospect{There: map[string]bool{}, Rules: map[string]*event.Rule{}}, routes: map[string]*rouse.Route{}, changes: map[string]rouse.Duration{}}
	out := wire.Checked{Changes: make([]wire.CheckedChange, len(in.Changes))}
	for i, ch := range in.Changes {
		if err := k.expect(ch); err != nil {
			e := s.wireError(c, err)
			out.Changes[i].Error = &e
		}
	}
	for i, ch := range in.Changes {
		if out.Changes[i].Error != nil {
			continue
		}
		if out.Changes[i].Set, err = k.check(ch); err != nil {
			e := s.wireError(c, err)
			out.Changes[i] = wire.CheckedChange{Error: &e}
		}
	}
	return c.answer(http.StatusOK, out)
}

// A checker knows what there will be.
type checker struct {
	*server
	c       *call
	ns      rouse.Namespace
	soon    event.Prospect
	routes  map[string]*rouse.Route   // that will be set; nil will be gone
	queues  []wire.CheckChange        // of queues
	changes map[string]rouse.Duration // of tables that will be set
	left    []*event.Rule             // that will be there; nil until it is asked for
	dead    map[string]string         // queues by where their dead letters will go; nil until it is asked for
}

// settable are the kinds of things that can be checked, each by what is to be
// set.
var settable = map[string]func(k *checker, r rouse.Ref, set json.RawMessage) (any, error){
	"function": (*checker).function, "stream": (*checker).stream, "queue": (*checker).queue, "table": (*checker).table, "bucket": (*checker).bucket,
	"trigger": (*checker).trigger, "rule": (*checker).rule, "route": (*checker).route,
}

func (k *checker) ref(name string) rouse.Ref { return rouse.Ref{Namespace: k.ns, Name: name} }

// expect notes a change, which the others may stand on.
func (k *checker) expect(ch wire.CheckChange) error {
	switch {
	case settable[ch.Kind] == nil:
		return invalid("kind is %q; there are function, stream, queue, table, bucket, trigger, rule and route", ch.Kind)
	case ch.Kind == "route":
	case ch.Kind == "function", ch.Set == nil: // what is there may have a dialect's name
		if err := rouse.CheckFunction(ch.Name); err != nil {
			return err
		}
	default:
		if err := rouse.CheckName(ch.Name); err != nil {
			return err
		}
	}
	if ch.Kind == "table" && ch.Set != nil {
		var o wire.TableOptions
		if err := readSet(ch.Set, &o); err != nil {
			return err
		}
		k.changes[ch.Name] = o.Changes
	}
	if ch.Set != nil && ch.Kind != "rule" && ch.Kind != "route" {
		k.soon.There[ch.Kind+" "+ch.Name] = true
	}
	switch ch.Kind {
	case "rule":
		k.soon.Rules[ch.Name] = nil
		if ch.Set != nil {
			r, err := readRule(k.ref(ch.Name), ch.Set)
			k.soon.Rules[ch.Name] = &r
			return err
		}
	case "route":
		k.routes[ch.Name] = nil
		if ch.Set != nil {
			r, err := readRoute(k.ref(ch.Name), ch.Set)
			k.routes[ch.Name] = &r
			return err
		}
	case "queue":
		k.queues = append(k.queues, ch)
	}
	return nil
}

func (k *checker) check(ch wire.CheckChange) (any, error) {
	if ch.Set == nil {
		return nil, k.removal(ch.Kind, ch.Name)
	}
	return settable[ch.Kind](k, k.ref(ch.Name), ch.Set)
}

// readSet reads what a thing is to be.
func readSet(set json.RawMessage, v any) error { return readJSON(bytes.NewReader(set), v) }

func readRule(ref rouse.Ref, set json.RawMessage) (event.Rule, error) {
	var in wire.Rule
	err := readSet(set, &in)
	in.Ref = ref
	return in.Rule, err
}

func readRoute(ref rouse.Ref, set json.RawMessage) (rouse.Route, error) {
	var o wire.RouteOptions
	err := readSet(set, &o)
	return rouse.Route{Ref: ref, To: o.To, Qualifier: o.Qualifier, Public: o.Public}, err
}

// function checks what does not take the code.
func (k *checker) function(r rouse.Ref, set json.RawMessage) (any, error) {
	var o wire.Options
	if err := readSet(set, &o); err != nil {
		return nil, err
	}
	c, ok := k.Registry.(rouse.FunctionChecker)
	if !ok {
		return o, nil
	}
	f := functionOf(o)
	f.Ref = r
	f, err := c.CheckFunction(f)
	o.Limits, o.Retry, o.Allow = f.Limits, f.Retry, f.Allow
	return o, err
}

func refuse(op string, r rouse.Ref, err error) error {
	if err == nil {
		return nil
	}
	return rouse.Errorf(rouse.Invalid, op, r.String(), "%w", err)
}

func (k *checker) stream(r rouse.Ref, set json.RawMessage) (any, error) {
	var o wire.StreamOptions
	if err := readSet(set, &o); err != nil {
		return nil, err
	}
	st := data.Stream{Ref: r, Shards: o.Shards, Keep: o.Keep}
	old, err := k.Data.Streams.Stream(k.c.r.Context(), r)
	if err == nil && o.Shards == 0 {
		st.Shards = old.Shards
	}
	if err != nil && rouse.KindOf(err) != rouse.NotFound {
		return nil, err
	}
	return &st, refuse("set stream", r, st.Check())
}

func (k *checker) queue(r rouse.Ref, set json.RawMessage) (any, error) {
	var o wire.QueueOptions
	if err := readSet(set, &o); err != nil {
		return nil, err
	}
	q, err := queueOf(r, o)
	if err == nil {
		err = refuse("set queue", r, q.Check())
	}
	if err == nil {
		err = k.deadLetter(k.c.r.Context(), q, k.soon)
	}
	if err != nil {
		return nil, err
	}
	old, err := k.Data.Queues.Queue(k.c.r.Context(), r)
	switch {
	case err == nil && old.Fifo != q.Fifo:
		return nil, rouse.Errorf(rouse.Conflict, "set queue", r.String(), "fifo can't be changed: make another queue")
	case err != nil && rouse.KindOf(err) != rouse.NotFound:
		return nil, err
	}
	return wire.QueueOf(q, data.QueueCounts{Next: -1}), nil
}

func (k *checker) table(r rouse.Ref, set json.RawMessage) (any, error) {
	var o wire.TableOptions
	if err := readSet(set, &o); err != nil {
		return nil, err
	}
	t := data.Table{Ref: r, Key: o.Key, Sort: o.Sort, Indexes: o.Indexes, TTL: o.TTL, Changes: o.Changes}
	if err := t.Check(); err != nil {
		return nil, refuse("set table", r, err)
	}
	old, err := k.Data.Tables.Table(k.c.r.Context(), r)
	switch {
	case err == nil && (old.Key != t.Key || old.Sort != t.Sort):
		return nil, rouse.Errorf(rouse.Conflict, "set table", r.String(), "key and sort can't be changed: make another table")
	case err != nil && rouse.KindOf(err) != rouse.NotFound:
		return nil, err
	}
	if t.Changes == 0 {
		err = k.mute("table", r)
	} else {
		err = nil
	}
	return &t, err
}

// mute is the server's, with the rules that there will be. What is wrong with one
// that is to be set is said of that.
func (k *checker) mute(kind string, ref rouse.Ref) error {
	rules, err := k.rules()
	for _, r := range rules {
		if listens(r.On, kind, ref.Name) && k.soon.Rules[r.Name] == nil {
			return muted(r, kind, ref)
		}
	}
	return err
}

func (k *checker) bucket(r rouse.Ref, set json.RawMessage) (any, error) {
	var o wire.BucketOptions
	err := readSet(set, &o)
	if err == nil && o.Changes < 0 {
		err = k.mute("bucket", r)
	}
	return data.Bucket{Ref: r, Versioned: o.Versioned, Changes: o.Changes}, err
}

func (k *checker) trigger(r rouse.Ref, set json.RawMessage) (any, error) {
	t, err := readTrigger(r, set)
	if err == nil {
		t, err = k.Control.CheckTrigger(k.c.r.Context(), t)
	}
	if err != nil {
		return nil, err
	}
	return k.Control.Show(t, false), nil
}

func (k *checker) rule(r rouse.Ref, _ json.RawMessage) (any, error) {
	rule, err := k.Control.CheckRule(k.c.r.Context(), *k.soon.Rules[r.Name], k.soon)
	if kept, soon := k.changes[rule.On.Table]; err == nil && soon && kept == 0 {
		err = rouse.Errorf(rouse.Invalid, "set rule", r.String(), "on.table: %s keeps no changes: set how long it is to keep them", rule.On.Table)
	}
	return wire.Rule{Rule: rule}, err
}

func (k *checker) route(r rouse.Ref, _ json.RawMessage) (any, error) {
	route, err := k.Routes.CheckRoute(k.c.r.Context(), *k.routes[r.Name], k.routes)
	if err == nil && !k.soon.Has("function", route.To, route.Qualifier) {
		_, err = k.Registry.Function(k.c.r.Context(), k.ref(route.To), route.Qualifier)
	}
	return route, err
}
