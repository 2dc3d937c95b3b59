package test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A call is told of the memory that its own processes wanted, not of that of
// calls before.
func TestAnEarlierLackOfMemoryIsNoReason(t *testing.T) {
	s := start(t, "")
	s.python("f", `
import os, subprocess, sys
def main(event):
    if event == "child":
        return subprocess.run([sys.executable, "-c", "a = []\nwhile 1: a.append(bytearray(10**7))"]).returncode
    if event == "exit":
        os._exit(3)
    raise ValueError("ordinary")
`, wire.Options{Limits: rouse.Limits{Memory: 64 << 20, Max: 1}})
	if a := s.call("f", "x"); a.Status != rouse.StatusFailed {
		t.Fatalf("%+v", a)
	}
	if a := s.call("f", "child"); a.Status != rouse.StatusAnswered || string(a.Result) != "-9" {
		t.Fatalf("%+v %s", a, a.Result)
	}
	for range 2 {
		if a := s.call("f", "x"); a.Status != rouse.StatusFailed || a.Cold {
			t.Errorf("%+v", a)
		}
	}
	if a := s.call("f", "exit"); a.Status != rouse.StatusCrashed || a.Failure == nil || !strings.Contains(a.Failure.Message, "code 3") {
		t.Errorf("%+v %+v", a, a.Failure)
	}
}

// A lost promise ends its own call, and no other.
func TestALostPromiseEndsOneCall(t *testing.T) {
	s := start(t, "")
	s.deploy("f", wire.Options{}, map[string]string{"index.js": `
exports.main = async event => {
  if (event === 'ok') return 'ok'
  Promise.reject(new Error('lost'))
  await new Promise(resolve => setTimeout(resolve, 50))
}`})
	for range 8 {
		if a := s.call("f", "reject"); a.Status != rouse.StatusFailed || a.Failure.Message != "lost" {
			t.Errorf("%+v %+v", a, a.Failure)
		}
		if a := s.call("f", "ok"); a.Status != rouse.StatusAnswered {
			t.Errorf("the next call: %+v %+v", a, a.Failure)
		}
	}
}

// An event that an instance has not read, because its code ended, goes to another.
func TestAnEventThatNobodyReadGoesToAnother(t *testing.T) {
	s := start(t, "")
	s.deploy("f", wire.Options{}, map[string]string{"index.js": "exports.main = async () => { setImmediate(() => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100); process.exit(7) }); return 'bye' }\n"})
	for range 6 {
		if a := s.call("f", nil); a.Status != rouse.StatusAnswered {
			t.Errorf("%+v %+v", a, a.Failure)
		}
	}
}

// Whoever leaves before an instance is free leaves a record.
func TestACallerWhoLeavesIsRecorded(t *testing.T) {
	s := start(t, "")
	s.python("f", "import time\ndef main(event): time.sleep(event)\n", wire.Options{Limits: rouse.Limits{Max: 1}})
	s.call("f", 0)
	if _, err := s.Accept(t.Context(), client.Call{Function: "f", Payload: []byte("20")}); err != nil {
		t.Fatal(err)
	}
	q := rouse.ActivationQuery{Namespace: "default", Function: "f"}
	pending := func(n int) func() bool {
		q := q
		q.Statuses = []rouse.Status{rouse.StatusPending}
		return func() bool {
			as, _, err := s.Activations(t.Context(), q)
			return err == nil && len(as) == n
		}
	}
	eventually(t, "the first call runs", pending(1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := make(chan error, 1)
	go func() {
		_, err := s.Invoke(ctx, client.Call{Function: "f", Payload: []byte("0")})
		left <- err
	}()
	eventually(t, "the second call waits", pending(2))
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	eventually(t, "a record says that it left", func() bool {
		as, _, err := s.Activations(t.Context(), q)
		return err == nil && len(as) == 3 && as[0].Status == rouse.StatusRefused && as[0].Failure != nil && as[0].Failure.Type == "Canceled"
	})
}
