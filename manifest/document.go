package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// documents returns what the File wants, by kind and name, as the server takes
// it.
func (f *File) documents() (map[string]map[string]document, error) {
	all := map[string]map[string]document{}
	for _, k := range kinds {
		all[k.one] = map[string]document{}
	}
	add := func(kind, name string, v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		var m document
		if err := json.Unmarshal(b, &m); err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		all[kind][name] = bare(m)
		return nil
	}
	for n, fn := range f.Functions {
		if err := add("function", n, fn.options()); err != nil {
			return nil, err
		}
	}
	for n, s := range f.Streams {
		d := wire.StreamOptions{Keep: rouse.Duration(s.Keep)}
		if s.Shards != nil {
			d.Shards = *s.Shards
		}
		if err := add("stream", n, d); err != nil {
			return nil, err
		}
	}
	for n, q := range f.Queues {
		if err := add("queue", n, q.document()); err != nil {
			return nil, err
		}
	}
	for n, t := range f.Tables {
		if err := add("table", n, t.document()); err != nil {
			return nil, err
		}
	}
	for n, b := range f.Buckets {
		d := wire.BucketOptions{Versioned: b.Versioned, Changes: rouse.Duration(cmp.Or(b.Changes, Span(24*time.Hour)))}
		if err := add("bucket", n, d); err != nil {
			return nil, err
		}
	}
	for n, t := range f.Triggers {
		for kind, config := range t {
			if err := add("trigger", n, map[string]any{"kind": kind, "config": config}); err != nil {
				return nil, err
			}
		}
	}
	for i := range f.Rules {
		r, err := f.Rules[i].rule()
		if err != nil {
			return nil, err
		}
		if err := add("rule", r.Name, r); err != nil {
			return nil, err
		}
	}
	for pattern, r := range f.Routes {
		if err := add("route", pattern, wire.RouteOptions{To: r.To, Qualifier: r.Qualifier, Public: r.Public}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (q Queue) document() wire.QueueOptions {
	o := wire.QueueOptions{Visibility: (*rouse.Duration)(q.Visibility), Keep: (*rouse.Duration)(q.Keep), Delay: rouse.Duration(q.Delay),
		MaxReceives: q.MaxReceives, Fifo: q.Fifo, DedupByBody: q.DedupByBody, DeadLetter: q.DeadLetter}
	if q.DeadLetter != "" {
		o.MaxReceives = cmp.Or(o.MaxReceives, 5)
	}
	return o
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
