// Package registry knows what is deployed: functions, their versions and
// aliases. It keeps documents in a Meta and code in Blobs.
package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/bundle"
)

// Config says what a Registry stands on. Builder may be nil: bundles that need
// dependencies are then refused.
type Config struct {
	Meta      rouse.Meta
	Blobs     rouse.Blobs
	Cache     *bundle.Cache
	Drivers   []rouse.Driver
	Contracts map[string]rouse.Contract
	Handlers  map[string]rouse.Handler // of contracts whose functions may have no code
	Builder   Builder
	Defaults  rouse.Limits // stand for zero fields; its own zero fields are filled in
	Retry     rouse.Retry  // likewise
	Memory    int64        // bytes that one Instance may ask for; 0 is 1 TB
	MaxCode   int64        // bytes of a packed bundle; 0 is 250 MB
	Log       *slog.Logger
	Now       func() time.Time // nil is time.Now
}

// A Builder makes folders of dependencies. Concurrent calls are safe.
type Builder interface {
	// Build makes the dependencies that s asks for, all or none. Errors: Invalid
	// where what is asked for can't be had; Unavailable.
	Build(ctx context.Context, s BuildSpec, progress func(step string)) error

	// Dir returns the folder that was built for key, false where there is none.
	Dir(key rouse.Digest) (string, bool)

	// Trim removes the folders that are not needed and that Dir has not returned
	// for at least age.
	Trim(ctx context.Context, needed func(key rouse.Digest) bool, age time.Duration) error
}

// A BuildSpec says which dependencies are needed.
type BuildSpec struct {
	Runtime rouse.Runtime
	Family  string       // "python": Code has a requirements.txt; "node": a package.json
	Code    string       // the unpacked bundle, read-only
	Own     bool         // folders of Code are part of it, or its scripts: no other code shares it
	Key     rouse.Digest // the same for what may share one folder
}

// standard are the limits where nobody says otherwise.
var standard = rouse.Limits{
	Memory: 256 << 20, Tmp: 64 << 20, Timeout: rouse.Duration(30 * time.Second), Concurrency: 1,
	Queue: 1000, Answer: 6 << 20, Log: 1 << 20, Processes: 64,
}

// A Registry implements rouse.Registry.
type Registry struct {
	cfg     Config
	known   *known
	builds  builds
	storing sync.RWMutex // read-held while a deploy stores code; held while code is swept
}

// New returns a Registry. It holds nothing that must be closed.
func New(cfg Config) *Registry {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxCode == 0 {
		cfg.MaxCode = 250 << 20
	}
	if cfg.Memory == 0 {
		cfg.Memory = 1 << 40
	}
	cfg.Defaults = filled(cfg.Defaults, standard)
	if cfg.Retry.Attempts == 0 {
		cfg.Retry.Attempts = 3
	}
	if cfg.Retry.Backoff == 0 {
		cfg.Retry.Backoff = rouse.Duration(time.Second)
	}
	return &Registry{cfg: cfg, known: newKnown()}
}

// Defaults are the limits of a function that says nothing of them.
func (g *Registry) Defaults() rouse.Limits { return g.cfg.Defaults }

// Kinds of documents. A head is the Function's newest version and carries its
// name; versions and aliases are named "function@which", which no function can
// be, and so lie next to each other.
const (
	kindHead    = "function"
	kindVersion = "version"
	kindAlias   = "alias"
	kindCode    = "code"
)

// A code document counts the versions that need a blob, so that one that no
// version needs can be found and removed. Its name is the digest.
type code struct {
	Versions int       `json:"versions"`
	Since    time.Time `json:"since"` // of the last change
}

func versionRef(r rouse.Ref, version int) rouse.Ref {
	return rouse.Ref{Namespace: r.Namespace, Name: fmt.Sprintf("%s@%010d", r.Name, version)}
}

func aliasRef(r rouse.Ref, name string) rouse.Ref {
	return rouse.Ref{Namespace: r.Namespace, Name: r.Name + "@" + name}
}

func codeRef(d rouse.Digest) rouse.Ref { return rouse.Ref{Name: string(d)} }

func notFound(op string, r rouse.Ref) error {
	return rouse.Errorf(rouse.NotFound, op, r.String(), "there is no such function; deploy it first")
}

// get reads a document into v and returns its revision, 0 where there is none.
func (g *Registry) get(ctx context.Context, kind string, r rouse.Ref, v any) (int64, error) {
	doc, err := g.cfg.Meta.Get(ctx, kind, r)
	if rouse.KindOf(err) == rouse.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(doc.Data, v); err != nil {
		return 0, fmt.Errorf("read %s %s: %w", kind, r, err)
	}
	return doc.Revision, nil
}

// list reads all documents of one kind whose name begins with "function@".
func (g *Registry) list(ctx context.Context, kind string, r rouse.Ref) ([]rouse.Doc, error) {
	return g.cfg.Meta.List(ctx, rouse.DocQuery{Kind: kind, Namespace: r.Namespace, Prefix: r.Name + "@"})
}

func change(kind string, r rouse.Ref, revision int64, v any) rouse.Change {
	b, err := json.Marshal(v)
	if err != nil {
		// Notes are the only foreign JSON, and they are checked.
		panic(fmt.Sprintf("write %s %s: %v", kind, r, err))
	}
	return rouse.Change{Kind: kind, Ref: r, Revision: revision, Data: b}
}

// patience is how long a change is tried that others come before.
const patience = 30 * time.Second

// retry calls f, which reads what it changes, until nobody else changed it in
// between. Those who meet wait for a time of their own, so that they part.
func retry(ctx context.Context, f func() error) error {
	wait := 100 * time.Microsecond
	for began := time.Now(); ; {
		err := f()
		if err == nil || rouse.KindOf(err) != rouse.Conflict || ctx.Err() != nil || time.Since(began) > patience {
			return err
		}
		time.Sleep(rand.N(wait))
		wait = min(2*wait, 50*time.Millisecond)
	}
}

// Sweep removes the code and the dependencies that no version has needed for at
// least age: what deploys that went wrong left, and what belonged to removed
// functions. It returns how many blobs it removed.
func (g *Registry) Sweep(ctx context.Context, age time.Duration) (int, error) {
	docs, err := g.cfg.Meta.List(ctx, rouse.DocQuery{Kind: kindCode})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, doc := range docs {
		var c code
		if err := json.Unmarshal(doc.Data, &c); err != nil {
			return n, fmt.Errorf("read code %s: %w", doc.Ref.Name, err)
		}
		if c.Versions > 0 || g.cfg.Now().Sub(c.Since) < age {
			continue
		}
		gone, err := g.sweep(ctx, doc)
		if err != nil {
			return n, err
		}
		if gone {
			n++
		}
	}
	return n, g.trimDeps(ctx, age)
}

// trimDeps removes dependencies of which no version says that it has them.
func (g *Registry) trimDeps(ctx context.Context, age time.Duration) error {
	if g.cfg.Builder == nil {
		return nil
	}
	docs, err := g.cfg.Meta.List(ctx, rouse.DocQuery{Kind: kindVersion, All: true})
	if err != nil {
		return err
	}
	versions, err := decode[rouse.Function](docs)
	if err != nil {
		return err
	}
	needed := map[rouse.Digest]bool{}
	for _, f := range versions {
		needed[f.Deps] = true
	}
	return g.cfg.Builder.Trim(ctx, func(key rouse.Digest) bool { return needed[key] }, age)
}

// sweep removes the blob before its document: a crash in between leaves a
// document that is swept again.
func (g *Registry) sweep(ctx context.Context, doc rouse.Doc) (bool, error) {
	g.storing.Lock()
	defer g.storing.Unlock()
	now, err := g.cfg.Meta.Get(ctx, kindCode, doc.Ref)
	if rouse.KindOf(err) == rouse.NotFound || err == nil && now.Revision != doc.Revision {
		return false, nil // in use again
	}
	if err != nil {
		return false, err
	}
	if err := g.cfg.Blobs.Delete(ctx, rouse.Digest(doc.Ref.Name)); err != nil {
		return false, err
	}
	return true, g.cfg.Meta.Apply(ctx, []rouse.Change{{Kind: kindCode, Ref: doc.Ref, Revision: doc.Revision}})
}
