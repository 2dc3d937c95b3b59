// Package invoke carries one invocation from request to activation: it finds
// the function, leases an instance, bounds the run and records what happened;
// at once, or later from a durable queue.
package invoke

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/ident"
	"github.com/rouse-run/rouse/pool"
)

// keptResult is how many bytes of a result an activation's record keeps; of a
// larger one only the digest.
const keptResult = 1 << 20

// longRun is from when on a run's memory is worth a measurement of its own.
const longRun = 5 * time.Millisecond

// A Config says with what an Invoker works.
type Config struct {
	Registry rouse.Registry
	Handlers map[string]rouse.Handler // answer for functions of these contracts, where it is not Direct
	Pool     *pool.Pool
	Recorder *Recorder
	Log      *slog.Logger
}

// An Invoker runs invocations. It implements rouse.Invoker.
type Invoker struct {
	Config
}

// New returns an Invoker.
func New(c Config) *Invoker { return &Invoker{c} }

// Invoke implements rouse.Invoker. A caller who goes away does not end the
// function: what it does, it does to the end.
func (v *Invoker) Invoke(ctx context.Context, in rouse.Invocation) (rouse.Activation, error) {
	f, err := v.Registry.Function(ctx, in.Function, in.Qualifier)
	if err != nil {
		v.unfound(in, err)
		return rouse.Activation{}, err
	}
	if in.ID == "" {
		in.ID = ident.New()
	}
	a := rouse.Activation{ID: in.ID, Function: f.Ref, Version: f.Version, Cause: in.Cause, Maker: in.Maker, Rule: in.Rule, Hops: in.Hops,
		Attempt: in.Attempt, Replayed: in.Replayed, Started: time.Now(), Notes: f.Recorded}
	v.Recorder.Begin(a)
	if h := v.Handlers[f.Contract]; h != nil {
		return v.handle(ctx, h, f, in, a)
	}
	for tries := 1; ; tries++ {
		lease, err := v.Pool.Lease(ctx, f, in.ID)
		if err != nil {
			return v.unleased(ctx, in, a, err)
		}
		if again := v.run(ctx, f, in, &a, lease, tries < tryInstances); !again {
			break
		}
	}
	a.Again = retried(in, a.Status)
	v.Recorder.Add(a)
	return a, nil
}

// tryInstances is how many instances get an event, one after the other, of which
// each ended before it had read it.
const tryInstances = 3

// run runs one invocation in a leased instance. With again, one that the code has
// not begun is left to another.
func (v *Invoker) run(ctx context.Context, f rouse.Function, in rouse.Invocation, a *rouse.Activation, lease *pool.Lease, again bool) bool {
	a.Cold, a.Queued, a.Init = lease.Cold, rouse.Duration(lease.Queued), rouse.Duration(lease.Init)
	limit := time.Duration(f.Limits.Timeout)
	began := a.Started // nothing came between
	if lease.Cold || lease.Queued > 0 {
		began = time.Now()
	}
	running := newDeadline(ctx, began.Add(limit))
	answer, err := lease.Answer(running, in, began)
	running.close()
	if again && errors.Is(err, rouse.ErrNotBegun) {
		lease.Release(true)
		return true
	}
	v.conclude(a, answer, err, limit, lease.OutOfMemory)
	a.Run = rouse.Duration(lease.Ran)
	a.GBSeconds = float64(f.Limits.Memory) / (1 << 30) * (lease.Ran + lease.Init).Seconds()
	a.Memory = lease.Peak(lease.Ran > longRun)
	lease.Release(err != nil || answer.Last)
	return false
}

// unfound records the end of an invocation that was accepted, and has no function
// any more: who waits for it learns that nothing will come.
func (v *Invoker) unfound(in rouse.Invocation, err error) {
	if in.Attempt == 0 || in.ID == "" || rouse.KindOf(err) != rouse.NotFound {
		return
	}
	v.Recorder.Add(rouse.Activation{ID: in.ID, Function: in.Function, Cause: in.Cause, Maker: in.Maker, Rule: in.Rule, Hops: in.Hops,
		Attempt: in.Attempt, Replayed: in.Replayed, Started: time.Now(), Status: rouse.StatusRefused,
		Failure: &rouse.Failure{Type: rouse.NotFound.String(), Message: err.Error()}})
}

// Direct returns an Invoker that runs a function's own code, also where a
// Handler answers for it.
func (v *Invoker) Direct() *Invoker {
	c := v.Config
	c.Handlers = nil
	return New(c)
}

// handle has the platform itself answer.
func (v *Invoker) handle(ctx context.Context, h rouse.Handler, f rouse.Function, in rouse.Invocation, a rouse.Activation) (rouse.Activation, error) {
	limit := time.Duration(f.Limits.Timeout)
	running := newDeadline(ctx, a.Started.Add(limit))
	answer, err := h.Handle(running, f, in, func(l rouse.Line) {
		l.Activation, l.Function = in.ID, f.Ref
		v.Recorder.Line(l)
	})
	running.close()
	v.conclude(&a, answer, err, limit, func() bool { return false })
	a.Run = rouse.Duration(time.Since(a.Started))
	a.Again = retried(in, a.Status)
	v.Recorder.Add(a)
	return a, nil
}

// refused reports whether an error is the platform's answer, and no fault.
func refused(err error) bool {
	e, ok := errors.AsType[*rouse.Error](err)
	return ok && e.Kind != rouse.Internal
}

// retried reports whether an invocation that ended so will be tried again.
func retried(in rouse.Invocation, s rouse.Status) bool {
	return s != rouse.StatusAnswered && in.Attempt < in.Attempts
}

// conclude says how the run ended.
func (v *Invoker) conclude(a *rouse.Activation, answer rouse.Answer, err error, limit time.Duration, outOfMemory func() bool) {
	switch {
	case err == nil:
		a.Status, a.Failure = answer.Status, answer.Failure
		a.Result, a.ContentType, a.Size = answer.Result, answer.ContentType, answer.Size
		if a.Status == rouse.StatusFailed && outOfMemory() {
			// One of its processes was killed, and what is left of it complains.
			a.Status = rouse.StatusOutOfMemory
		}
	case errors.Is(err, context.DeadlineExceeded):
		a.Status = rouse.StatusTimedOut
		a.Failure = &rouse.Failure{Type: "Timeout", Message: "the function ran longer than its timeout of " + limit.String()}
	case errors.Is(err, context.Canceled):
		a.Status = rouse.StatusFailed
		a.Failure = &rouse.Failure{Type: "Canceled", Message: "the caller went away while the answer was being sent"}
	case errors.Is(err, rouse.ErrNotBegun):
		a.Status = rouse.StatusCrashed
		a.Failure = &rouse.Failure{Type: "Crashed", Message: "the function's processes ended, one after the other, before they had read the event"}
	case refused(err):
		a.Status = rouse.StatusRefused
		a.Failure = &rouse.Failure{Type: rouse.KindOf(err).String(), Message: err.Error()}
	default:
		a.Status = rouse.StatusCrashed
		a.Failure = &rouse.Failure{Type: "Crashed", Message: "the platform lost the function's process"}
		v.Log.Error("answer", "function", a.Function.String(), "activation", a.ID, "error", err)
	}
}

// unleased is how an invocation ends that got no instance. A function whose
// code can't be made ready has failed; the rest is the platform's error.
func (v *Invoker) unleased(ctx context.Context, in rouse.Invocation, a rouse.Activation, err error) (rouse.Activation, error) {
	var boot *rouse.BootError
	if errors.As(err, &boot) {
		a.Status, a.Failure, a.Cold = boot.Status, &boot.Failure, true
		a.Init = rouse.Duration(time.Since(a.Started))
		a.Again = retried(in, a.Status)
		v.Recorder.Add(a)
		return a, nil
	}
	a.Queued = rouse.Duration(time.Since(a.Started))
	a.Status = rouse.StatusRefused
	a.Failure = &rouse.Failure{Type: rouse.KindOf(err).String(), Message: err.Error()}
	kind := rouse.KindOf(err)
	// Where its code was not tried, that is no attempt.
	a.Again = retried(in, a.Status) || in.Attempts > 0 && (kind == rouse.Throttled || kind == rouse.Unavailable)
	switch {
	case kind == rouse.Throttled && ctx.Err() != nil && a.Attempt > 0:
		v.Recorder.Forget(a.ID) // it will be tried again
		return a, err
	case kind == rouse.Throttled && ctx.Err() != nil:
		a.Failure = &rouse.Failure{Type: "Canceled", Message: "the caller went away before an instance was free"}
	case kind == rouse.Throttled:
		a.Status = rouse.StatusThrottled
	case kind == rouse.Internal:
		v.Log.Error("lease", "function", a.Function.String(), "activation", a.ID, "error", err)
		a.Failure.Message = "internal error; the platform's log has more under activation " + a.ID
	}
	v.Recorder.Add(a)
	return a, err
}
