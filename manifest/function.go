package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// options returns what a deploy says of a function.
func (fn Function) options() wire.Options {
	return wire.Options{Runtime: fn.Runtime, Handler: fn.Handler, Contract: fn.Contract, Env: fn.Env, Egress: fn.Egress, Public: fn.Public, Allow: fn.Allow,
		Limits: rouse.Limits{Memory: int64(fn.Memory), Tmp: int64(fn.Tmp), Timeout: rouse.Duration(fn.Timeout), Concurrency: fn.Concurrency, Min: fn.Min, Max: fn.Max,
			Queue: fn.Queue, Answer: int64(fn.Answer), Log: int64(fn.Log), Processes: fn.Processes},
		Retry: rouse.Retry{Attempts: fn.Retry.Attempts, Backoff: rouse.Duration(fn.Retry.Backoff)}}
}

// optionsOf returns those that deploy a version as it is.
func optionsOf(f rouse.Function) wire.Options {
	return wire.Options{Runtime: f.Runtime, Handler: f.Handler, Contract: f.Contract, Env: f.Env, Limits: f.Limits, Egress: f.Egress, Public: f.Public,
		Allow: f.Allow, Retry: f.Retry, Code: f.Code}
}

// function compares one function, code and options.
func (p *planner) function(name string, f *File) error {
	fn := f.Functions[name]
	path := fn.Code
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.dir, path)
	}
	var code bytes.Buffer
	if err := bundle.Pack(&code, path); err != nil {
		return fmt.Errorf("functions.%s.code: %w", name, err)
	}
	o := fn.options()
	step := Step{Action: Create, Kind: "function", Name: name, do: func(ctx context.Context) error {
		_, err := p.s.Deploy(ctx, name, o, bytes.NewReader(code.Bytes()), nil)
		return err
	}, undo: func(ctx context.Context) error { return p.s.Remove(ctx, name) }}
	have, err := p.s.Function(p.ctx, name, "")
	switch {
	case rouse.KindOf(err) == rouse.NotFound:
		p.plan.Steps = append(p.plan.Steps, step)
		return nil
	case err != nil:
		return err
	}
	step.Action, step.Details = Change, differences(o, rouse.DigestOf(code.Bytes()), have)
	if len(step.Details) == 0 {
		p.plan.Same++
		return nil
	}
	step.undo = func(ctx context.Context) error {
		_, err := p.s.Deploy(ctx, name, optionsOf(have), nil, nil)
		return err
	}
	p.plan.Steps = append(p.plan.Steps, step)
	return nil
}

// differences say in which fields a version is not what o and the digest of its
// code say. What o leaves to the platform differs from nothing.
func differences(o wire.Options, code rouse.Digest, have rouse.Function) (details []string) {
	if have.Code != code {
		details = append(details, "code")
	}
	set := func(name string, want, has any) {
		if !zero(want) && !reflect.DeepEqual(want, has) {
			details = append(details, fmt.Sprintf("%s: %s -> %s", name, text(has), text(want)))
		}
	}
	set("runtime", o.Runtime, have.Runtime)
	set("handler", o.Handler, have.Handler)
	set("contract", o.Contract, have.Contract)
	want, has := reflect.ValueOf(o.Limits), reflect.ValueOf(have.Limits)
	for i := range want.NumField() {
		set(want.Type().Field(i).Name, want.Field(i).Interface(), has.Field(i).Interface())
	}
	set("retry.attempts", o.Retry.Attempts, have.Retry.Attempts)
	set("retry.backoff", o.Retry.Backoff, have.Retry.Backoff)
	for _, b := range []struct {
		name      string
		want, has bool
	}{{"egress", o.Egress, have.Egress}, {"public", o.Public, have.Public}} {
		if b.want != b.has {
			details = append(details, fmt.Sprintf("%s: %v -> %v", b.name, b.has, b.want))
		}
	}
	if !slices.Equal(o.Allow, have.Allow) {
		details = append(details, fmt.Sprintf("allow: %s -> %s", text(have.Allow), text(o.Allow)))
	}
	for _, k := range keys(o.Env) {
		if v, ok := have.Env[k]; !ok || v != o.Env[k] {
			details = append(details, "env."+k)
		}
	}
	for _, k := range keys(have.Env) {
		if _, wanted := o.Env[k]; !wanted {
			details = append(details, "env."+k+" goes")
		}
	}
	return details
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
