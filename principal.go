package rouse

import (
	"context"
	"slices"
	"strings"
	"time"
)

// A Principal is who asks.
type Principal struct {
	Name      string
	Operator  bool      // may do all there is
	Owner     bool      // may do all there is in its Namespace
	Namespace Namespace // whose things the Grants are about
	Grants    []Grant   // all that anybody but an operator may do; none is nothing

	// Where a Function asks, the ID of the Activation that does, as far as it is
	// known, and how many led to that.
	Activation string
	Hops       int
}

// A Grant lets somebody read or write things of one service, or both.
//
// Its text is SERVICE:NAME and "r", "w" or "rw", such as "bucket:photos rw".
// The services are bucket, queue, stream and table; function, where w is to
// invoke; and trigger, where w is to make it fire. A NAME that ends in "*" is
// each that begins so.
type Grant struct {
	Service string
	Name    string
	Read    bool
	Write   bool
}

var grantable = []string{"bucket", "function", "queue", "stream", "table", "trigger"}

// maxGrant bounds the bytes of a Grant's text.
const maxGrant = 512

// ParseGrant reads a Grant's text. Errors: Invalid.
func ParseGrant(s string) (Grant, error) {
	refuse := func(format string, args ...any) (Grant, error) {
		return Grant{}, Errorf(Invalid, "read grant", "", `allow %q: `+format+`; write it as in "bucket:photos rw"`, append([]any{s}, args...)...)
	}
	if len(s) > maxGrant {
		s = s[:20] + "..."
		return refuse("it has more than %d bytes", maxGrant)
	}
	words := strings.Fields(s)
	if len(words) != 2 {
		return refuse("it is not a thing and what may be done with it")
	}
	var g Grant
	var ok bool
	if g.Service, g.Name, ok = strings.Cut(words[0], ":"); !ok || !slices.Contains(grantable, g.Service) {
		return refuse("%q does not begin with one of %s and a colon", words[0], strings.Join(grantable, ", "))
	}
	if g.Name == "" {
		return refuse("the name is missing; * is all of them")
	}
	if strings.Contains(g.Name[:len(g.Name)-1], "*") {
		return refuse("a * may stand at the end of a name only")
	}
	g.Read, g.Write = strings.Contains(words[1], "r"), strings.Contains(words[1], "w")
	if words[1] != g.rights() {
		return refuse("%q is not r, w or rw", words[1])
	}
	return g, nil
}

func (g Grant) rights() string {
	switch {
	case g.Read && g.Write:
		return "rw"
	case g.Write:
		return "w"
	case g.Read:
		return "r"
	}
	return ""
}

// String is the text that ParseGrant reads.
func (g Grant) String() string { return g.Service + ":" + g.Name + " " + g.rights() }

func (g Grant) covers(name string) bool {
	if prefix, ok := strings.CutSuffix(g.Name, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return name == g.Name
}

// May says whether p may read, or with write write, a thing of a service.
func (p Principal) May(service string, r Ref, write bool) bool {
	if p.Operator || p.Owner && r.Namespace == p.Namespace {
		return true
	}
	return r.Namespace == p.Namespace && slices.ContainsFunc(p.Grants, func(g Grant) bool {
		return g.Service == service && g.covers(r.Name) && (write && g.Write || !write && g.Read)
	})
}

// An AccessKey is a pair with which a client proves who it is, or signs what it
// asks.
type AccessKey struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// AccessKeys know principals by their AccessKeys.
type AccessKeys interface {
	// Secret returns whom the key with an id stands for, and its secret, which
	// the caller compares, or checks a signature with. Errors: Unauthenticated.
	Secret(ctx context.Context, id string) (Principal, string, error)
}

// A Subject owns a namespace of its own.
type Subject struct {
	Namespace Namespace `json:"namespace"`
	Key       AccessKey `json:"key"`
	Quota     Quota     `json:"quota"`
	Blocked   bool      `json:"blocked,omitempty"` // its key opens nothing
	Rotated   int       `json:"rotated,omitempty"` // how often its key was changed
	Created   time.Time `json:"created"`
}

// A Quota bounds what is done in a namespace. A zero field sets no bound.
type Quota struct {
	Invocations int `json:"invocations,omitempty"` // a minute, of functions
	Fires       int `json:"fires,omitempty"`       // a minute, of triggers
	Concurrent  int `json:"concurrent,omitempty"`  // invocations at once
}

// Subjects knows who may use the platform besides its operator. All methods may
// be called concurrently.
type Subjects interface {
	AccessKeys

	// SetSubject adds s, or replaces its quota and whether it is blocked. With
	// rotate it gets a new key, and the old one opens nothing any more.
	SetSubject(ctx context.Context, s Subject, rotate bool) (Subject, error)

	// Subject returns one; the default namespace's is always there. Errors: NotFound.
	Subject(ctx context.Context, ns Namespace) (Subject, error)

	// Subjects lists all by namespace.
	Subjects(ctx context.Context) ([]Subject, error)

	// RemoveSubject takes a key away; what is in its namespace stays. Errors:
	// NotFound; Invalid for the default namespace's.
	RemoveSubject(ctx context.Context, ns Namespace) error
}

type principalKey struct{}

// WithPrincipal returns a context of what p asks for. Only what has made sure
// of p may call it.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns who asks, where that is known.
func PrincipalOf(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
