package bucket

import (
	"bytes"
	"context"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// ListObjects implements data.Objects. Of the keys with a common prefix only a
// few are read: what it costs goes with what it returns.
func (b *Buckets) ListObjects(ctx context.Context, q data.ObjectList) (data.Listing, error) {
	q.Version = ""
	return b.list(ctx, q, &lister{
		prefix: func(id uint64, s string) []byte { return objectKey(id, s) },
		after:  func(id uint64, key string) []byte { return append(objectKey(id, key), 0) },
		read: func(key []byte) (string, error) {
			if len(key) < 9 {
				return "", errBroken
			}
			return string(key[9:]), nil
		},
		newest: func(string) bool { return true },
	})
}

// ListVersions implements data.Objects.
func (b *Buckets) ListVersions(ctx context.Context, q data.ObjectList) (data.Listing, error) {
	seen := "" // the key of the version before
	if q.Version != "" {
		seen = q.After
	}
	return b.list(ctx, q, &lister{
		prefix: func(id uint64, s string) []byte { return tuple.Prefix(idKey(versionKind, id), s) },
		after:  func(id uint64, key string) []byte { return tuple.After(versionsOf(id, key)) },
		read: func(b []byte) (string, error) {
			key, _, err := readVersionKey(b)
			return key, err
		},
		newest: func(key string) bool {
			yes := key != seen
			seen = key
			return yes
		},
	})
}

// A lister knows the keys of what is listed.
type lister struct {
	prefix func(id uint64, s string) []byte   // of the keys of all that begins with s
	after  func(id uint64, key string) []byte // the first key after all of an object
	read   func(key []byte) (string, error)   // the object's key
	newest func(key string) bool              // asked in the order of the list
	steps  bool                               // the last pair that was taken had a common prefix
}

// list goes from key to key, and over a common prefix with one step.
func (b *Buckets) list(ctx context.Context, q data.ObjectList, l *lister) (out data.Listing, err error) {
	if q.Limit <= 0 || q.Limit > maxList {
		q.Limit = maxList
	}
	err = b.keys.View(ctx, func(r rouse.KeyReader) error {
		out = data.Listing{}
		d, err := b.load(r, q.Bucket)
		if err != nil {
			return err
		}
		from, err := l.start(r, d, q)
		if err != nil {
			return err
		}
		to := tuple.After(l.prefix(d.ID, q.Prefix))
		for chunk := 16; bytes.Compare(from, to) < 0; chunk *= 4 {
			if l.steps { // from prefix to prefix most of a large chunk would be for nothing
				chunk = 4
			}
			limit := min(q.Limit-len(out.Objects)-len(out.Prefixes)+1, chunk, 1024)
			pairs, err := r.Scan(rouse.Span{From: from, To: to, Limit: limit, Size: 1 << 20})
			if err != nil {
				return err
			}
			if len(pairs) == 0 {
				return nil
			}
			if from, err = l.take(&out, d, q, pairs); err != nil || from == nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// start returns where a list begins.
func (l *lister) start(r rouse.KeyReader, d *definition, q data.ObjectList) ([]byte, error) {
	first := l.prefix(d.ID, q.Prefix)
	if q.After == "" {
		return first, nil
	}
	from := l.after(d.ID, q.After)
	if common, ok := group(q, q.After); ok && common == q.After {
		from = tuple.After(l.prefix(d.ID, q.After))
	} else if q.Version != "" {
		rec, err := d.version(r, q.After, q.Version)
		if err != nil {
			return nil, err
		}
		switch n, ok := readVersion(q.Version); {
		case rec != nil:
			from = append(versionKey(d.ID, q.After, rec.revision), 0)
		case ok: // it was removed meanwhile
			from = append(versionKey(d.ID, q.After, n), 0)
		}
	}
	if bytes.Compare(from, first) < 0 {
		from = first
	}
	return from, nil
}

// group returns what a key is listed as together with others.
func group(q data.ObjectList, key string) (common string, ok bool) {
	rest, ok := strings.CutPrefix(key, q.Prefix)
	if !ok || q.Delimiter == "" {
		return "", false
	}
	n := strings.Index(rest, q.Delimiter)
	if n < 0 {
		return "", false
	}
	return key[:len(q.Prefix)+n+len(q.Delimiter)], true
}

// take puts pairs on the list and returns where to go on, nil where it is full.
func (l *lister) take(out *data.Listing, d *definition, q data.ObjectList, pairs []rouse.Pair) ([]byte, error) {
	for i, p := range pairs {
		key, err := l.read(p.Key)
		if err != nil {
			return nil, rouse.Errorf(rouse.Internal, "list objects", d.Ref.String(), "key %x: %w", p.Key, err)
		}
		common, grouped := group(q, key)
		l.steps = grouped
		if grouped && len(out.Prefixes) > 0 && out.Prefixes[len(out.Prefixes)-1] == common {
			if i == len(pairs)-1 {
				return tuple.After(l.prefix(d.ID, common)), nil
			}
			continue
		}
		if len(out.Objects)+len(out.Prefixes) >= q.Limit {
			out.More = true
			return nil, nil
		}
		if grouped {
			out.Prefixes = append(out.Prefixes, common)
			out.After, out.Version = common, ""
			if i == len(pairs)-1 {
				return tuple.After(l.prefix(d.ID, common)), nil
			}
			continue
		}
		rec, err := d.decode(key, p.Value)
		if err != nil {
			return nil, err
		}
		out.Objects = append(out.Objects, rec.object(key, l.newest(key)))
		out.After, out.Version = key, rec.version()
	}
	return append(bytes.Clone(pairs[len(pairs)-1].Key), 0), nil
}
