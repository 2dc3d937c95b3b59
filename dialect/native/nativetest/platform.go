// Package nativetest is a platform in memory for tests of what speaks the
// native API: functions are Go code, and nothing outlives the test.
package nativetest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/ident"
)

// Token is the one that the platform takes.
const Token = "rouse_test_token_that_is_long_enough"

// A Code is a function's behaviour. What it prints is logged.
type Code func(ctx context.Context, in rouse.Invocation, print func(text string)) rouse.Answer

// Platform implements every port of rouse.Services. Concurrent calls are safe.
type Platform struct {
	mu          sync.Mutex
	codes       map[string]Code                  // guarded by mu
	functions   map[rouse.Ref][]rouse.Function   // guarded by mu
	aliases     map[rouse.Ref][]rouse.Alias      // guarded by mu
	activations []rouse.Activation               // guarded by mu
	lines       []rouse.Line                     // guarded by mu
	dead        map[rouse.Ref][]rouse.DeadLetter // guarded by mu
	tails       map[chan rouse.Line]rouse.Ref    // guarded by mu
	following   chan struct{}                    // holds one for each Follow that has begun
	broken      error                            // guarded by mu
	posted      chan struct{}                    // guarded by mu; closed by the next Post
}

// New returns a platform that holds no function.
func New() *Platform {
	return &Platform{
		codes:     map[string]Code{},
		functions: map[rouse.Ref][]rouse.Function{},
		aliases:   map[rouse.Ref][]rouse.Alias{},
		dead:      map[rouse.Ref][]rouse.DeadLetter{},
		tails:     map[chan rouse.Line]rouse.Ref{},
		following: make(chan struct{}, 100),
		posted:    make(chan struct{}),
	}
}

// Services returns the platform as a dialect sees it.
func (p *Platform) Services() rouse.Services {
	started := time.Now()
	return rouse.Services{
		Registry: p, Invoker: p, Acceptor: p, Records: p, Tail: p, Authenticator: p,
		Node: func() rouse.Node {
			return rouse.Node{
				Version: "0.0-test", Started: started, Isolation: "none",
				Runtimes: []rouse.Runtime{{Name: "python3.12", Aliases: []string{"python3"}, Version: "3.12.1", Family: "python"}},
			}
		},
	}
}

// Code says what functions of that name do; others answer with their payload.
func (p *Platform) Code(name string, c Code) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[name] = c
}

// Break makes every Registry.Function call fail with err; nil mends it.
func (p *Platform) Break(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
}

// Following receives once for each Follow that has begun.
func (p *Platform) Following() <-chan struct{} { return p.following }

// Token knows Token alone.
func (p *Platform) Token(_ context.Context, token string) (rouse.Principal, error) {
	if token != Token {
		return rouse.Principal{}, rouse.Errorf(rouse.Unauthenticated, "authenticate", "", "the token is not the one of this server")
	}
	return rouse.Principal{Name: "admin"}, nil
}

// Deploy implements rouse.Registry: it reports each step of a deploy with
// dependencies where the runtime asked for is "steps", and none else.
func (p *Platform) Deploy(_ context.Context, f rouse.Function, code io.Reader, progress func(string)) (rouse.Function, error) {
	b, err := io.ReadAll(code)
	if err != nil {
		return f, fmt.Errorf("read code: %w", err)
	}
	switch f.Runtime {
	case "", "python3":
		f.Runtime = "python3.12"
	case "python3.12":
	case "steps":
		progress("resolving dependencies")
		progress("installing dependencies")
	default:
		return f, rouse.Errorf(rouse.Invalid, "deploy", f.Ref.String(), "there is no runtime %q on this host; it has python3.12 (python3)", f.Runtime)
	}
	if len(b) < 4 || string(b[:2]) != "PK" {
		return f, rouse.Errorf(rouse.Invalid, "deploy", f.Ref.String(), "the code is not a zip archive")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Contract == "" {
		f.Contract = "native"
	}
	if f.Handler == "" {
		f.Handler = "main.main"
	}
	if f.Limits.Memory == 0 {
		f.Limits.Memory = 128 << 20
	}
	if f.Limits.Timeout == 0 {
		f.Limits.Timeout = rouse.Duration(time.Minute)
	}
	if f.Retry.Attempts == 0 {
		f.Retry.Attempts = 3
	}
	f.Version = len(p.functions[f.Ref]) + 1
	f.Code, f.CodeSize, f.Created = rouse.DigestOf(b), int64(len(b)), time.Now()
	p.functions[f.Ref] = append(p.functions[f.Ref], f)
	return f, nil
}

// Function implements rouse.Registry; of an alias it picks the first version.
func (p *Platform) Function(_ context.Context, r rouse.Ref, qualifier string) (rouse.Function, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return rouse.Function{}, p.broken
	}
	return p.function(r, qualifier)
}

func (p *Platform) function(r rouse.Ref, qualifier string) (rouse.Function, error) {
	fs := p.functions[r]
	if len(fs) == 0 {
		return rouse.Function{}, rouse.Errorf(rouse.NotFound, "get function", r.String(), "there is no such function")
	}
	v := len(fs)
	if qualifier != "" {
		v, _ = strconv.Atoi(qualifier) // 0, which is no version, where it is an alias
		for _, a := range p.aliases[r] {
			if a.Name == qualifier {
				v = a.Version
			}
		}
	}
	if v < 1 || v > len(fs) {
		return rouse.Function{}, rouse.Errorf(rouse.NotFound, "get function", r.String()+":"+qualifier, "there is no such version or alias")
	}
	return fs[v-1], nil
}

// Functions implements rouse.Registry.
func (p *Platform) Functions(_ context.Context, ns rouse.Namespace, after string, limit int) ([]rouse.Function, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fs []rouse.Function
	byName := func(a, b rouse.Ref) int { return cmp.Compare(a.Name, b.Name) }
	for _, r := range slices.SortedFunc(maps.Keys(p.functions), byName) {
		if r.Namespace == ns && r.Name > after && len(fs) < limit {
			fs = append(fs, p.functions[r][len(p.functions[r])-1])
		}
	}
	return fs, nil
}

// Versions implements rouse.Registry.
func (p *Platform) Versions(_ context.Context, r rouse.Ref) ([]rouse.Function, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.function(r, ""); err != nil {
		return nil, err
	}
	return slices.Clone(p.functions[r]), nil
}

// Remove implements rouse.Registry.
func (p *Platform) Remove(_ context.Context, r rouse.Ref) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.function(r, ""); err != nil {
		return err
	}
	delete(p.functions, r)
	delete(p.aliases, r)
	return nil
}

// SetAlias implements rouse.Registry.
func (p *Platform) SetAlias(_ context.Context, a rouse.Alias) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range []int{a.Version, a.Other} {
		if v == 0 && a.Version != 0 {
			continue
		}
		if _, err := p.function(a.Function, strconv.Itoa(v)); err != nil {
			return err
		}
	}
	p.aliases[a.Function] = append(without(p.aliases[a.Function], a.Name), a)
	return nil
}

// RemoveAlias implements rouse.Registry.
func (p *Platform) RemoveAlias(_ context.Context, r rouse.Ref, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := without(p.aliases[r], name)
	if len(left) == len(p.aliases[r]) {
		return rouse.Errorf(rouse.NotFound, "remove alias", r.String()+":"+name, "there is no such alias")
	}
	p.aliases[r] = left
	return nil
}

func without(as []rouse.Alias, name string) []rouse.Alias {
	return slices.DeleteFunc(slices.Clone(as), func(a rouse.Alias) bool { return a.Name == name })
}

// Aliases implements rouse.Registry.
func (p *Platform) Aliases(_ context.Context, r rouse.Ref) ([]rouse.Alias, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.function(r, ""); err != nil {
		return nil, err
	}
	return slices.Clone(p.aliases[r]), nil
}

// Invoke implements rouse.Invoker. The first call of a version is cold.
func (p *Platform) Invoke(ctx context.Context, in rouse.Invocation) (rouse.Activation, error) {
	p.mu.Lock()
	f, err := p.function(in.Function, in.Qualifier)
	code := p.codes[in.Function.Name]
	cold := !slices.ContainsFunc(p.activations, func(a rouse.Activation) bool { return a.Function == f.Ref && a.Version == f.Version })
	p.mu.Unlock()
	if err != nil {
		return rouse.Activation{}, err
	}
	if in.ID == "" {
		in.ID = ident.New()
	}
	if code == nil {
		code = echo
	}
	a := rouse.Activation{ID: in.ID, Function: f.Ref, Version: f.Version, Cause: in.Cause, Rule: in.Rule, Hops: in.Hops, Attempt: in.Attempt, Replayed: in.Replayed, Cold: cold, Started: time.Now(), Memory: 12 << 20}
	if cold {
		a.Init = rouse.Duration(2 * time.Millisecond)
	}
	answer := code(ctx, in, func(text string) {
		p.print(rouse.Line{Activation: in.ID, Function: f.Ref, Time: time.Now(), Stream: rouse.Stdout, Text: text})
	})
	a.Run = rouse.Duration(time.Since(a.Started))
	a.Status, a.Result, a.ContentType, a.Size, a.Failure = answer.Status, answer.Result, answer.ContentType, int64(len(answer.Result)), answer.Failure
	if err := p.Post(ctx, []rouse.Activation{a}, nil); err != nil {
		return a, err
	}
	if a.Status == rouse.StatusThrottled {
		return a, rouse.Errorf(rouse.Throttled, "invoke", f.Ref.String(), "all its instances are busy; try again")
	}
	return a, nil
}

func echo(_ context.Context, in rouse.Invocation, _ func(string)) rouse.Answer {
	if in.Reply != nil {
		in.Reply.Start(200, map[string][]string{"Content-Type": {in.Event.ContentType}})
		_, _ = in.Reply.Write(in.Event.Data) // an error is the caller's, who has gone
		return rouse.Answer{Status: rouse.StatusAnswered}
	}
	return rouse.Answer{Status: rouse.StatusAnswered, Result: in.Event.Data, ContentType: in.Event.ContentType}
}

// Accept implements rouse.Acceptor. It runs the invocations before it returns;
// one that fails becomes a dead letter.
func (p *Platform) Accept(ctx context.Context, ins []rouse.Invocation) ([]string, error) {
	ids := make([]string, len(ins))
	for i, in := range ins {
		in.ID, in.Attempt = ident.New(), 1
		a, err := p.Invoke(ctx, in)
		if err != nil {
			return nil, err
		}
		ids[i] = a.ID
		if a.Status != rouse.StatusAnswered {
			p.bury(in, a)
		}
	}
	return ids, nil
}

func (p *Platform) bury(in rouse.Invocation, a rouse.Activation) {
	body, err := json.Marshal(in)
	if err != nil {
		panic(err) // an Invocation always marshals
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ds := p.dead[in.Function]
	p.dead[in.Function] = append(ds, rouse.DeadLetter{ID: int64(len(ds) + 1), Body: body, Count: 1, Reason: a.Status.String(), Sent: a.Started, Buried: time.Now()})
}

// DeadLetters implements rouse.Acceptor.
func (p *Platform) DeadLetters(_ context.Context, r rouse.Ref, after int64, limit int) ([]rouse.DeadLetter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ds []rouse.DeadLetter
	for _, d := range p.dead[r] {
		if d.ID > after && len(ds) < limit {
			ds = append(ds, d)
		}
	}
	return ds, nil
}

// Redrive implements rouse.Acceptor: the letters are gone, and do not run.
func (p *Platform) Redrive(_ context.Context, r rouse.Ref, ids []int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.dead[r])
	p.dead[r] = slices.DeleteFunc(p.dead[r], func(d rouse.DeadLetter) bool { return ids == nil || slices.Contains(ids, d.ID) })
	return before - len(p.dead[r]), nil
}
