package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

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

// pack packs the code of all functions.
func (p *planner) pack() error {
	for _, name := range keys(p.file.Functions) {
		path := p.file.Functions[name].Code
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.file.dir, path)
		}
		var code bytes.Buffer
		if err := bundle.Pack(&code, path); err != nil {
			return fmt.Errorf("functions.%s.code: %w", name, err)
		}
		p.code[name] = code.Bytes()
	}
	return nil
}

// function compares one function, code and options.
func (p *planner) function(kind, _, name string) error {
	code, o := p.code[name], p.file.Functions[name].options()
	step := Step{Action: Create, Kind: kind, Name: name, do: func(ctx context.Context) (func(context.Context) error, error) {
		made, err := p.s.Deploy(ctx, name, o, bytes.NewReader(code), nil)
		return func(ctx context.Context) error { return undeploy(ctx, p.s, made) }, err
	}}
	have, err := p.s.Function(p.ctx, name, "")
	switch {
	case rouse.KindOf(err) == rouse.NotFound:
	case err != nil:
		return err
	default:
		var want wire.Options // with the defaults of the server
		b, err := json.Marshal(p.want[kind][name])
		if err == nil {
			err = json.Unmarshal(b, &want)
		}
		if err != nil {
			return fmt.Errorf("function %s: %w", name, err)
		}
		step.Action, step.Details = Change, differences(want, rouse.DigestOf(code), have)
		if len(step.Details) == 0 {
			p.plan.Same++
			return nil
		}
	}
	p.plan.Steps = append(p.plan.Steps, step)
	return nil
}

// undeploy deploys what there was before a version, or removes the function
// where there was none, unless somebody has deployed another since.
func undeploy(ctx context.Context, s Server, made rouse.Function) error {
	now, err := s.Function(ctx, made.Name, "")
	switch {
	case err != nil:
		return err
	case now.Version != made.Version:
		return errOthers
	case made.Version == 1:
		if err := unused(ctx, s, "function", made.Name); err != nil {
			return err
		}
		return s.Remove(ctx, made.Name)
	}
	before, err := s.Function(ctx, made.Name, strconv.Itoa(made.Version-1))
	if err == nil {
		_, err = s.Deploy(ctx, made.Name, optionsOf(before), nil, nil)
	}
	return err
}

// differences say in which fields a version is not what o and the digest of its
// code say. What o leaves to the platform differs from nothing.
func differences(o wire.Options, code rouse.Digest, have rouse.Function) (details []string) {
	if have.Code != code {
		details = append(details, "code")
	}
	set := func(name string, want, has any) {
		if !zero(want) && !reflect.DeepEqual(want, has) {
			details = append(details, fmt.Sprintf("%s: %s -> %s", name, said(has), said(want)))
		}
	}
	set("runtime", o.Runtime, have.Runtime)
	set("handler", o.Handler, have.Handler)
	set("contract", o.Contract, have.Contract)
	want, has := reflect.ValueOf(o.Limits), reflect.ValueOf(have.Limits)
	for i := range want.NumField() {
		set(strings.ToLower(want.Type().Field(i).Name), want.Field(i).Interface(), has.Field(i).Interface())
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
		details = append(details, fmt.Sprintf("allow: %s -> %s", said(have.Allow), said(o.Allow)))
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

func said(v any) string {
	if d, ok := v.(rouse.Duration); ok {
		return shortSpan(time.Duration(d))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
