package openwhisk

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

// A keyValue is a parameter or an annotation.
type keyValue struct {
	Key        string          `json:"key"`
	Value      json.RawMessage `json:"value"`
	Init       bool            `json:"init,omitempty"`       // environment, not argument
	Encryption json.RawMessage `json:"encryption,omitempty"` // kept as it came
}

// UnmarshalJSON reads a pair, whose value may be missing: null then.
func (kv *keyValue) UnmarshalJSON(b []byte) error {
	type plain keyValue
	if err := json.Unmarshal(b, (*plain)(kv)); err != nil {
		return err
	}
	if kv.Value == nil {
		kv.Value = json.RawMessage("null")
	}
	if string(kv.Encryption) == "null" {
		kv.Encryption = nil
	}
	return nil
}

// pairs are parameters or annotations, none of which has the key of another.
type pairs []keyValue

// UnmarshalJSON reads pairs, as far as there are not so many that reading them
// would take the server's memory.
func (p *pairs) UnmarshalJSON(b []byte) error {
	if len(b) > maxPairsText {
		return refuse(http.StatusRequestEntityTooLarge, "parameters or annotations larger than allowed: %d > %d bytes.", len(b), maxPairs)
	}
	return json.Unmarshal(b, (*[]keyValue)(p))
}

// get returns the value of a key; nil where there is none.
func (p pairs) get(key string) json.RawMessage {
	if i := slices.IndexFunc(p, func(kv keyValue) bool { return kv.Key == key }); i >= 0 {
		return p[i].Value
	}
	return nil
}

// is reports whether the value of a key is true, or anything that is neither
// false, nor null, nor 0, nor empty text.
func (p pairs) is(key string) bool {
	value := p.get(key)
	if value == nil {
		return false
	}
	switch string(bytes.TrimSpace(value)) {
	case "false", "null", "0", `""`:
		return false
	}
	return true
}

// isTrue reports whether the value of a key is true, and not only like it.
func (p pairs) isTrue(key string) bool { return string(bytes.TrimSpace(p.get(key))) == "true" }

// text is the value of a key, where it is a string.
func (p pairs) text(key string) string {
	var s string
	_ = json.Unmarshal(p.get(key), &s) // another value is no text
	return s
}

// with returns p with those of others added or, where a key is there, in place.
func (p pairs) with(others ...keyValue) pairs {
	all := slices.Clone(p)
	at := make(map[string]int, len(all)+len(others)) // there may be very many
	for i, kv := range all {
		at[kv.Key] = i
	}
	for _, kv := range others {
		if i, ok := at[kv.Key]; ok {
			all[i] = kv
		} else {
			at[kv.Key] = len(all)
			all = append(all, kv)
		}
	}
	return all
}

// without returns p without the keys.
func (p pairs) without(keys ...string) pairs {
	gone := make(map[string]bool, len(keys))
	for _, key := range keys {
		gone[key] = true
	}
	return slices.DeleteFunc(slices.Clone(p), func(kv keyValue) bool { return gone[kv.Key] })
}

// keyed returns p without pairs that have no key. None is stored any more, and
// clients that send back what they read would be refused.
func (p pairs) keyed() pairs {
	if slices.ContainsFunc(p, unkeyed) {
		return slices.DeleteFunc(slices.Clone(p), unkeyed)
	}
	return p
}

func unkeyed(kv keyValue) bool { return kv.Key == "" }

func text(key, value string) keyValue {
	b, _ := json.Marshal(value) // a string always can be
	return keyValue{Key: key, Value: b}
}

// size is what p counts against a limit.
func (p pairs) size() int {
	n := 0
	for _, kv := range p {
		n += len(kv.Key) + len(kv.Value)
	}
	return n
}

// maxPairs bounds the parameters, or annotations, of an entity, and maxPairsText
// the JSON that they come in: bytes.
const (
	maxPairs     = 1 << 20
	maxPairsText = 8 * maxPairs
)

// checkPairs refuses pairs that are too large, or of which one has no key.
func checkPairs(what string, p pairs) error {
	if slices.ContainsFunc(p, unkeyed) {
		return refuse(http.StatusBadRequest, "The request content was malformed:\n%s malformed!", what)
	}
	if n := p.size(); n > maxPairs {
		return refuse(http.StatusRequestEntityTooLarge, "%s larger than allowed: %d > %d bytes.", what, n, maxPairs)
	}
	return nil
}

// orEmpty makes nil an empty list, as clients want it.
func (p pairs) orEmpty() pairs {
	if p == nil {
		return pairs{}
	}
	return p
}

// nextVersion is the version of what changes: as asked for, or one patch further.
func nextVersion(asked, old string) (string, error) {
	if asked != "" {
		v, err := version(asked)
		if err != nil || v != old {
			return v, err
		}
	}
	if old == "" {
		return "0.0.1", nil
	}
	i := strings.LastIndexByte(old, '.') + 1
	n, _ := strconv.Atoi(old[i:]) // it was checked, or is ours
	return old[:i] + strconv.Itoa(n+1), nil
}

// version reads one as OpenWhisk does: parts that are missing are 0.
func version(s string) (string, error) {
	parts := strings.Split(s, ".")
	if len(parts) > 3 || slices.ContainsFunc(parts, notNumber) {
		return "", refuse(http.StatusBadRequest, "The request content was malformed:\nsemantic version %q is not of the form 0.0.1", s)
	}
	numbers := [3]uint64{}
	for i, part := range parts {
		numbers[i], _ = strconv.ParseUint(part, 10, 31) // it was checked
	}
	if numbers == [3]uint64{} {
		return "", refuse(http.StatusBadRequest, "The request content was malformed:\nbad semantic version 0.0.0")
	}
	return fmt.Sprintf("%d.%d.%d", numbers[0], numbers[1], numbers[2]), nil
}

func notNumber(s string) bool { _, err := strconv.ParseUint(s, 10, 31); return err != nil }

// A page says which part of a list is asked for.
type page struct {
	limit, skip int
	count       bool
}

// page reads limit, skip and count.
func (c *call) page(collection string) (page, error) {
	p := page{limit: 30}
	q := c.r.URL.Query()
	for name, at := range map[string]*int{"limit": &p.limit, "skip": &p.skip} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		malformed := func(format string, args ...any) (page, error) {
			return p, refuse(http.StatusBadRequest, "The query parameter '"+name+"' was malformed:\n"+format, args...)
		}
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return malformed("The value '%s' is not an integer for %s.", text, collection)
		case name == "limit" && (n < 0 || n > 200):
			return malformed("The value '%d' is not in the range of 0 to 200 for %s.", n, collection)
		case n < 0:
			return malformed("The value '%d' is not greater than or equal to 0 for %s.", n, collection)
		}
		*at = n
	}
	if p.limit == 0 {
		p.limit = 200
	}
	p.count = q.Get("count") == "true"
	return p, nil
}

// An item is what a list shows of an entity.
type item struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Publish     bool      `json:"publish"`
	Annotations pairs     `json:"annotations"`
	Updated     int64     `json:"updated"`
	Limits      *limits   `json:"limits,omitempty"`
	Exec        *execSeen `json:"exec,omitempty"`
	Binding     any       `json:"binding,omitempty"`
	Trigger     *pathSeen `json:"trigger,omitempty"`
	Action      *pathSeen `json:"action,omitempty"`

	fill func(*item) error // adds what is read where it is shown alone; may be nil
}

// execSeen is what a list shows of an action's code.
type execSeen struct {
	Binary bool `json:"binary"`
}

// pathSeen names an entity in another.
type pathSeen struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

func seen(p path) *pathSeen { return &pathSeen{p.where(), p.name} }

// list answers with a page of items, the last updated first.
func (c *call) list(collection string, items []item) error {
	p, err := c.page(collection)
	if err != nil {
		return err
	}
	if p.count {
		return c.answer(http.StatusOK, map[string]int{collection: max(0, len(items)-p.skip)})
	}
	slices.SortStableFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(b.Updated, a.Updated), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	items = items[min(p.skip, len(items)):]
	items = items[:min(p.limit, len(items))]
	for i := range items {
		if items[i].fill == nil {
			continue
		}
		if err := items[i].fill(&items[i]); err != nil {
			return err
		}
	}
	if items == nil {
		items = []item{}
	}
	return c.answer(http.StatusOK, items)
}

// millis is a time as OpenWhisk writes it.
func (d *Door) millis() int64 { return d.Now().UnixMilli() }

// merged are parameters, the later ones over the earlier.
func merged(all ...pairs) pairs {
	var sum pairs
	for _, p := range all {
		sum = sum.with(p...)
	}
	return sum
}

// arguments sets parameters apart into arguments and environment.
func arguments(p pairs) (args, env map[string]json.RawMessage) {
	for _, kv := range p {
		at := &args
		if kv.Init {
			at = &env
		}
		if *at == nil {
			*at = map[string]json.RawMessage{}
		}
		(*at)[kv.Key] = kv.Value
	}
	return args, env
}

// elsewhere refuses the name of an entity of another collection: OpenWhisk's
// have one space of names.
func (d *Door) elsewhere(c *call, ns rouse.Namespace, name, collection string) error {
	ctx := c.r.Context()
	conflict := refuse(http.StatusConflict, textElsewhere)
	if collection != "packages" {
		if _, _, ok, err := d.packages.get(ctx, ns, name); ok || err != nil {
			return cmp.Or(err, conflict)
		}
	}
	if collection != "rules" {
		if _, _, ok, err := d.rules.get(ctx, ns, name); ok || err != nil {
			return cmp.Or(err, conflict)
		}
	}
	if collection != "triggers" {
		if _, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: ns, Name: encode(name)}); err == nil {
			return conflict
		}
	}
	if collection != "actions" {
		if _, err := d.Registry.Function(ctx, path{ns: ns, name: name}.ref(), ""); err == nil {
			return conflict
		}
	}
	return nil
}

// missing is err, or that what p names is no action, where its owner asks.
func (d *Door) missing(c *call, p path, err error) error {
	if p.pack != "" || p.ns != c.own() || c.owner() != nil || refusalOf(err).status != http.StatusNotFound {
		return err
	}
	return cmp.Or(d.elsewhere(c, p.ns, p.name, "actions"), err)
}
