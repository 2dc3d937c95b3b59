// Package trigger holds what all sources of events do in the same way: read
// their configs, hand events over until they are durable, and answer requests.
package trigger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/shape"
)

// Decode reads a config into v, a pointer to a struct. No config is an empty
// one. Errors: Invalid, which names the field that is wrong, or is unknown, and
// then those that there are.
func Decode(config json.RawMessage, v any) error {
	if len(bytes.TrimSpace(config)) == 0 {
		config = json.RawMessage("{}")
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(config, &given); err != nil || given == nil {
		return rouse.Errorf(rouse.Invalid, "read config", "", "a config is a JSON object with some of %s", strings.Join(Fields(v), ", "))
	}
	known := Fields(v)
	for name := range given {
		if !slices.Contains(known, name) {
			return rouse.Errorf(rouse.Invalid, "read config", name, "there is no such field; there are %s", strings.Join(known, ", "))
		}
	}
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return invalid(given, v, err)
	}
	return nil
}

// invalid says in which field err is.
func invalid(given map[string]json.RawMessage, v any, err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		return rouse.Errorf(rouse.Invalid, "read config", e.Field, "it is %s, and %s is wanted", shape.Named(e.Value), shape.Of(e.Type))
	}
	// A type that reads itself reports no field: find it by trying each alone.
	for name, value := range given {
		one, _ := json.Marshal(map[string]json.RawMessage{name: value})
		d := json.NewDecoder(bytes.NewReader(one))
		d.DisallowUnknownFields()
		if err := d.Decode(reflect.New(reflect.TypeOf(v).Elem()).Interface()); err != nil {
			return rouse.Errorf(rouse.Invalid, "read config", name, "%w", err)
		}
	}
	return rouse.Errorf(rouse.Invalid, "read config", "", "%w", err)
}

// Fields returns the names that v, a pointer to a struct, has in JSON.
func Fields(v any) []string {
	t := reflect.TypeOf(v).Elem()
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// Encode writes a config that was read and filled in.
func Encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "write config", "", "%w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// How long Patient waits after the first failure, and at most.
const (
	firstWait = 50 * time.Millisecond
	maxWait   = 5 * time.Second
)

// Patient is an Emitter that does not give up while a store can't be reached.
// Calls end with an error only when their context ends, or for what no further
// attempt changes: NotFound, Invalid, TooLarge.
type Patient struct {
	event.Emitter
	Log *slog.Logger
}

// Emit implements event.Emitter.
func (p Patient) Emit(ctx context.Context, trigger rouse.Ref, es []rouse.Event, state []byte) error {
	return p.retry(ctx, trigger, func() error { return p.Emitter.Emit(ctx, trigger, es, state) })
}

// PatientMany is a Patient that emits for many triggers together.
type PatientMany struct {
	event.ManyEmitter
	Log *slog.Logger
}

// EmitMany implements event.ManyEmitter.
func (p PatientMany) EmitMany(ctx context.Context, all []event.Emission) (errs []error) {
	var wait error
	_ = Patient{Log: p.Log}.retry(ctx, first(all), func() error {
		errs, wait = p.ManyEmitter.EmitMany(ctx, all), nil
		for _, err := range errs { // of the store's errors all have the same
			if err != nil && !permanent(err) {
				wait = err
			}
		}
		return wait
	})
	return errs
}

func first(all []event.Emission) rouse.Ref {
	if len(all) == 0 {
		return rouse.Ref{}
	}
	return all[0].Trigger
}

// State implements event.Emitter.
func (p PatientMany) State(ctx context.Context, trigger rouse.Ref) ([]byte, error) {
	return Patient{p.ManyEmitter, p.Log}.State(ctx, trigger)
}

// State implements event.Emitter.
func (p Patient) State(ctx context.Context, trigger rouse.Ref) (state []byte, err error) {
	err = p.retry(ctx, trigger, func() (err error) {
		state, err = p.Emitter.State(ctx, trigger)
		return err
	})
	return state, err
}

func (p Patient) retry(ctx context.Context, trigger rouse.Ref, do func() error) error {
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		err := do()
		if err == nil || ctx.Err() != nil || permanent(err) {
			return err
		}
		p.Log.Warn("events can't be stored and are tried again", "trigger", trigger.String(), "error", err, "wait", wait)
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return err
		}
	}
}

func permanent(err error) bool {
	k := rouse.KindOf(err)
	return k == rouse.NotFound || k == rouse.Invalid || k == rouse.TooLarge
}

// Logger returns l, or one that discards where it is nil.
func Logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
