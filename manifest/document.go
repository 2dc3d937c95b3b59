package manifest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// documents returns what the File wants, in the order of kinds, as the server
// would show it.
func (f *File) documents() ([]map[string]map[string]any, error) {
	all := make([]map[string]map[string]any, len(kinds))
	for i := range all {
		all[i] = map[string]map[string]any{}
	}
	add := func(kind int, name string, v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kinds[kind].one, name, err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			return fmt.Errorf("%s %s: %w", kinds[kind].one, name, err)
		}
		for _, k := range given {
			delete(m, k)
		}
		all[kind][name] = m
		return nil
	}
	for n, s := range f.Streams {
		d := data.Stream{Shards: max(s.Shards, 1), Keep: orSpan(s.Keep, 24*time.Hour)}
		if err := add(0, n, d); err != nil {
			return nil, err
		}
	}
	for n, q := range f.Queues {
		if err := add(1, n, q.document()); err != nil {
			return nil, err
		}
	}
	for n, t := range f.Tables {
		if err := add(2, n, t.document()); err != nil {
			return nil, err
		}
	}
	for n, b := range f.Buckets {
		d := data.Bucket{Versioned: b.Versioned, Changes: orSpan(b.Changes, 24*time.Hour)}
		if err := add(3, n, d); err != nil {
			return nil, err
		}
	}
	for n, t := range f.Triggers {
		for kind, config := range t {
			if err := add(4, n, map[string]any{"kind": kind, "config": config}); err != nil {
				return nil, err
			}
		}
	}
	for i := range f.Rules {
		r, err := f.Rules[i].rule()
		if err != nil {
			return nil, err
		}
		if err := add(5, r.Name, r); err != nil {
			return nil, err
		}
	}
	for pattern, r := range f.Routes {
		if err := add(6, pattern, wire.RouteOptions{To: r.To, Qualifier: r.Qualifier, Public: r.Public}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func orSpan(s Span, def time.Duration) rouse.Duration {
	if s == 0 {
		return rouse.Duration(def)
	}
	return rouse.Duration(s)
}

func (q Queue) document() map[string]any {
	d := data.DefaultQueue(rouse.Ref{})
	m := map[string]any{"visibility": orSpan(q.Visibility, time.Duration(d.Visibility)), "keep": orSpan(q.Keep, time.Duration(d.Keep)), "delay": rouse.Duration(q.Delay),
		"maxReceives": q.MaxReceives, "fifo": q.Fifo, "dedupByBody": q.DedupByBody}
	if q.DeadLetter != "" {
		m["deadLetter"] = q.DeadLetter
		if q.MaxReceives == 0 {
			m["maxReceives"] = 5
		}
	}
	return m
}

func (a Attribute) attribute() map[string]any {
	if a.Name == "" {
		return nil
	}
	return map[string]any{"name": a.Name, "type": first(a.Type, "string")}
}

func (t Table) document() map[string]any {
	m := map[string]any{"key": t.Key.attribute(), "sort": t.Sort.attribute(), "ttl": t.TTL, "changes": rouse.Duration(t.Changes)}
	var indexes []any
	for _, n := range keys(t.Indexes) {
		x := t.Indexes[n]
		indexes = append(indexes, map[string]any{"name": n, "key": x.Key.attribute(), "sort": x.Sort.attribute(), "attributes": x.Attributes, "keysOnly": x.KeysOnly})
	}
	m["indexes"] = indexes
	return m
}
