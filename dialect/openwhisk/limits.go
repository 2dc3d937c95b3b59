package openwhisk

import (
	"context"
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
)

// limits are those of an action: milliseconds, megabytes.
type limits struct {
	Timeout     *int64 `json:"timeout,omitempty"`
	Memory      *int64 `json:"memory,omitempty"`
	Logs        *int64 `json:"logs,omitempty"`
	Concurrency *int64 `json:"concurrency,omitempty"`
	Instances   *int64 `json:"instances,omitempty"`
}

// A span is what a limit may be.
type span struct{ least, usual, most int64 }

// spans of the limits that do not hang on the machine. OpenWhisk's own are
// narrower: what it takes is taken here.
var (
	spanTimeout     = span{100, 60_000, 24 * 3600 * 1000}
	spanLogs        = span{0, 10, 100}
	spanConcurrency = span{1, 1, 1000}
	spanInstances   = span{1, 1, 100_000}
)

func (d *Door) spanMemory() span { return span{16, 256, d.Memory >> 20} }

// over returns l with the fields of old where it says nothing, and then the usual.
func (d *Door) over(l, old limits) (limits, error) {
	memory := d.spanMemory()
	for _, f := range []struct {
		at         **int64
		old        *int64
		span       span
		above, low string
	}{
		{&l.Timeout, old.Timeout, spanTimeout, "duration %d milliseconds exceeds allowed threshold of %d milliseconds", "duration %d milliseconds below allowed threshold of %d milliseconds"},
		{&l.Memory, old.Memory, memory, "memory size %d MB exceeds allowed threshold of %d MB", "memory size %d MB below allowed threshold of %d MB"},
		{&l.Logs, old.Logs, spanLogs, "log size %d MB exceeds allowed threshold of %d MB", "log size %d MB below allowed threshold of %d MB"},
		{&l.Concurrency, old.Concurrency, spanConcurrency, "concurrency %d exceeds allowed threshold of %d", "concurrency %d below allowed threshold of %d"},
		{&l.Instances, old.Instances, spanInstances, "instances %d exceeds allowed threshold of %d", "Action container concurrency must be greater than or equal to %[2]d."},
	} {
		if *f.at == nil {
			*f.at = f.old
		}
		if *f.at == nil && f.at != &l.Instances {
			usual := min(f.span.usual, f.span.most)
			*f.at = &usual
		}
		if *f.at == nil {
			continue
		}
		if n := **f.at; n > f.span.most {
			return l, refuse(http.StatusBadRequest, "The request content was malformed:\nrequirement failed: "+f.above, n, f.span.most)
		} else if n < f.span.least {
			return l, refuse(http.StatusBadRequest, "The request content was malformed:\nrequirement failed: "+f.low, n, f.span.least)
		}
	}
	return l, nil
}

// fits refuses instances that could not all run at once in the namespace.
func (d *Door) fits(ctx context.Context, ns rouse.Namespace, instances *int64) error {
	if instances == nil {
		return nil
	}
	q, err := d.quota(ctx, ns)
	if err == nil && q.Concurrent > 0 && *instances > int64(q.Concurrent) {
		err = refuse(http.StatusBadRequest, "Max action instance concurrency must not exceed your namespace concurrency of %d.", q.Concurrent)
	}
	return err
}

// maxResult is what a function may answer before the contract has cut it.
const maxResult = 8 << 20

// function is what l asks of the platform.
func (l limits) function() rouse.Limits {
	f := rouse.Limits{
		Timeout: rouse.Duration(time.Duration(*l.Timeout) * time.Millisecond), Memory: *l.Memory << 20,
		Log: max(1, *l.Logs<<20), Concurrency: int(*l.Concurrency), Answer: maxResult,
	}
	if l.Instances != nil {
		f.Max = int(*l.Instances)
	}
	return f
}

// limitsOf is the other way round, for what was deployed natively.
func limitsOf(f rouse.Limits) limits {
	timeout, memory, logs, concurrency := time.Duration(f.Timeout).Milliseconds(), f.Memory>>20, max(1, f.Log>>20), int64(max(1, f.Concurrency))
	l := limits{Timeout: &timeout, Memory: &memory, Logs: &logs, Concurrency: &concurrency}
	if instances := int64(f.Max); instances > 0 {
		l.Instances = &instances
	}
	return l
}
