// Package openwhisk is the contract of the code of Apache OpenWhisk actions:
// main(args), which returns an object, in Python and Node; and programs named
// exec, which are run once per event or answer lines of JSON.
//
// An instance is the native contract's, with another shim. Its first event
// initializes the code, as /init does in OpenWhisk's runtimes. The texts of failures are OpenWhisk's
// own, for there are programs that read them.
//
// Where an instance answers several events at once, the environment is that of
// the one that came last.
package openwhisk

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/native"
)

// Name is what a Function calls this contract, a worker its shim, and Notes a
// Note.
const Name = "openwhisk"

// Transaction is the attribute of an Event that names the transaction which the
// code is told; without one it is the Invocation's ID.
const Transaction = "transactionid"

var (
	//go:embed shim.cjs
	shimNode string
	//go:embed client.cjs
	clientNode string
)

// Python and Node are the halves of the contract that workers load. Node brings
// the module named openwhisk, for code that has none of its own.
var (
	//go:embed shim.py
	Python string
	Node   = shimNode + "\nsources.client = " + string(quote(clientNode)) + "\n"
)

// Contract implements rouse.Contract. Its zero value is ready.
type Contract struct{}

// shimmed is what does the work.
var shimmed = native.Contract{Shim: Name}

// Program implements rouse.Contract.
func (Contract) Program(f rouse.Function) rouse.Program { return shimmed.Program(f) }

// Boot implements rouse.Contract.
func (Contract) Boot(ctx context.Context, f rouse.Function, s rouse.Sandbox, log func(rouse.Line)) (rouse.Instance, error) {
	n, err := noteOf(f)
	if err != nil {
		_ = s.Close()
		return nil, rouse.Errorf(rouse.Invalid, "boot", f.Ref.String(), "its note %s does not describe an action: %w", Name, err)
	}
	live, err := shimmed.Boot(ctx, f, s, log)
	if err != nil {
		return nil, unready(err)
	}
	if err := initialize(ctx, f, n, live); err != nil {
		err = unready(err)
		if boot, ok := errors.AsType[*rouse.BootError](err); ok && boot.Status == rouse.StatusFailed && s.Usage().OOM > 0 {
			boot.Status = rouse.StatusOutOfMemory // of a program that the code began
		}
		_ = live.Close()
		return nil, err
	}
	return newInstance(n, live), nil
}

// first is the event that initializes.
type first struct {
	Kind       string            `json:"kind"`
	Main       string            `json:"main"`
	Env        map[string]string `json:"env"`
	ProvideKey bool              `json:"provideKey"`
	Loop       *loop             `json:"loop,omitempty"` // of a language whose code a program of ours runs
}

// initialized is what it is answered with.
type initialized struct {
	OK      bool   `json:"ok"`
	Message string `json:"message"`
	Stack   string `json:"stack"`
}

// initialize has the code loaded, for which it has as long as for an event, as in
// OpenWhisk: what else a boot takes, the pool bounds. The error is a
// *rouse.BootError.
func initialize(ctx context.Context, f rouse.Function, n Note, live rouse.Instance) error {
	if limit := time.Duration(f.Limits.Timeout); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	data, err := json.Marshal(first{Kind: n.Kind, Main: cmp.Or(f.Handler, "main"), Env: environment(n), ProvideKey: n.ProvideKey, Loop: loopOf(n.Kind)})
	if err != nil {
		return err
	}
	a, err := live.Answer(ctx, rouse.Invocation{Function: f.Ref, Event: rouse.Event{Data: data}})
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return &rouse.BootError{Status: rouse.StatusTimedOut, Failure: rouse.Failure{Type: "Timeout",
				Message: fmt.Sprintf("the action was not initialized within %v", f.Limits.Timeout)}}
		}
		return err
	}
	if a.Failure != nil {
		return &rouse.BootError{Status: a.Status, Failure: *a.Failure}
	}
	var done initialized
	if err := json.Unmarshal(a.Result, &done); err != nil {
		return &rouse.BootError{Status: rouse.StatusFailed, Failure: rouse.Failure{Type: developerError, Message: notInitialized}}
	}
	if !done.OK {
		return &rouse.BootError{Status: rouse.StatusFailed, Failure: rouse.Failure{Type: developerError,
			Message: cut([]byte(done.Message), maxText), Stack: cut([]byte(done.Stack), maxText)}}
	}
	return nil
}

// environment is what the code finds in its environment from the beginning.
func environment(n Note) map[string]string {
	env := make(map[string]string, len(n.Env)+3)
	for name, raw := range n.Env {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		env[name] = s
	}
	env["__OW_NAMESPACE"], env["__OW_ACTION_NAME"], env["__OW_ACTION_VERSION"] = n.namespace, "/"+n.Path, n.Version
	return env
}

// unready gives the end of code that never became ready its name in OpenWhisk.
func unready(err error) error {
	boot, ok := errors.AsType[*rouse.BootError](err)
	if !ok {
		return err
	}
	switch {
	case boot.Status == rouse.StatusCrashed:
		boot.Failure = rouse.Failure{Type: developerError, Message: notInitialized, Stack: boot.Message}
	case boot.Status == rouse.StatusFailed && boot.Type != developerError:
		boot.Failure = rouse.Failure{Type: developerError, Message: failedInitialization + boot.Message, Stack: boot.Stack}
	}
	return boot
}
