package openwhisk

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
)

// A search says which activations are asked for.
type search struct {
	rouse.ActivationQuery
	since time.Time // zero is any
	names []string  // of functions; none is all
	page  page
	docs  bool
}

// has reports whether an activation began when it is looked for. Records know
// when it was taken, and that may be a while before.
func (s search) has(act rouse.Activation) bool {
	at := began(act)
	return !at.Before(s.since) && (s.Until.IsZero() || at.Before(s.Until))
}

// maxQueued is how long an activation may wait for an instance.
const maxQueued = time.Minute

func (d *Door) search(c *call, ns rouse.Namespace) (s search, err error) {
	if s.page, err = c.page("activations"); err != nil {
		return s, err
	}
	q := c.r.URL.Query()
	s.docs = q.Get("docs") == "true"
	if s.docs && s.page.count {
		return s, refuse(http.StatusBadRequest, "The parameter 'docs' is not permitted with 'count'.")
	}
	s.Namespace = ns
	for name, at := range map[string]*time.Time{"since": &s.since, "upto": &s.Until} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return s, refuse(http.StatusBadRequest, "The query parameter '%s' was malformed:\nParameter is not a valid value for epoch seconds: %s", name, text)
		}
		*at = time.UnixMilli(min(n, lastMillis))
		if name == "upto" {
			*at = at.Add(time.Millisecond) // it includes that one
		}
	}
	if !s.since.IsZero() {
		s.Since = s.since.Add(-maxQueued)
	}
	if name := q.Get("name"); name != "" {
		p, err := parse(ns, name)
		if err != nil || strings.Count(name, "/") > 1 {
			return s, refuse(http.StatusBadRequest, "The query parameter 'name' was malformed:\nParameter may be a 'simple' name or 'package-name/simple' name: %s", name)
		}
		if s.names, err = d.named(c.r.Context(), p); err != nil {
			return s, err
		}
	}
	return s, nil
}

// named are the functions whose activations are those of a path: a trigger may
// have its name, and what is used of another's package has it as well.
func (d *Door) named(ctx context.Context, p path) ([]string, error) {
	name := p.ref().Name
	if p.pack == "" {
		return []string{name, handOver(p.ns, p.name).Name}, nil
	}
	names := []string{name, string(systemNamespace) + ":" + name}
	for f, err := range d.functions(ctx, p.ns, "") {
		if err != nil {
			return names, err
		}
		if _, of, ok := strings.Cut(f.Name, ":"); ok && of == name && !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names, nil
}

// maxSkip is how many activations can be skipped: more are not kept.
const maxSkip = 1 << 40

// lastMillis is the last time that activations can be looked for by, in 2262: ms
// since 1970.
const lastMillis = (1<<63-1)/1_000_000 - 1

// pageLeast and pageMost are how many activations are read at once: each comes
// with its result, which may have a megabyte.
const (
	pageLeast = 25
	pageMost  = 200
)

// each calls f with the activations of one function, or of all, the newest first,
// without their results: all that f keeps would be more than memory holds.
func (d *Door) each(ctx context.Context, q rouse.ActivationQuery, f func(rouse.Activation) bool) error {
	q.Limit = pageLeast
	for {
		as, err := d.Records.Activations(ctx, q)
		if err != nil {
			return err
		}
		size := 0
		for _, a := range as {
			size += len(a.Result)
			a.Result = nil
			if over(a) && !f(a) {
				return nil
			}
		}
		if len(as) < q.Limit {
			return nil
		}
		q.Before = as[len(as)-1].ID
		if q.Limit = min(2*q.Limit, pageMost); size > 1<<20 {
			q.Limit = pageLeast
		}
	}
}

func (d *Door) listActivations(c *call) error {
	ns, err := c.mine()
	if err != nil {
		return err
	}
	s, err := d.search(c, ns)
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	want, n := min(s.page.skip, maxSkip)+s.page.limit, 0
	var found []rouse.Activation
	names := s.names
	if names == nil {
		names = []string{""}
	}
	for _, name := range names {
		s.Function = name
		of := 0
		err := d.each(ctx, s.ActivationQuery, func(a rouse.Activation) bool {
			if !s.has(a) {
				return true
			}
			n++
			if s.page.count {
				return true
			}
			if of++; len(names) > 1 || of > s.page.skip { // of two, those before are not known yet
				found = append(found, a)
			}
			return of < want
		})
		if err != nil {
			return err
		}
	}
	if s.page.count {
		return c.answer(http.StatusOK, map[string]int{"activations": max(0, n-s.page.skip)})
	}
	slices.SortStableFunc(found, func(a, b rouse.Activation) int { return cmp.Compare(b.ID, a.ID) })
	if len(names) > 1 {
		found = found[min(s.page.skip, len(found)):]
	}
	found = found[:min(s.page.limit, len(found))]
	if s.docs {
		return d.sendDocuments(c, found)
	}
	list := make([]activationSeen, len(found))
	for i, act := range found {
		a, err := d.ran(ctx, act)
		if err != nil {
			return err
		}
		if list[i], err = d.activation(ctx, act, a); err != nil {
			return err
		}
		list[i].StatusCode, list[i].Response, list[i].Logs, list[i].Subject = list[i].Response.StatusCode, nil, nil, ""
	}
	return c.answer(http.StatusOK, list)
}
