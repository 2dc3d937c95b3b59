package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func TestRetriesBackOffAndDeadLetters(t *testing.T) {
	s := start(t, "")
	s.python("flaky", "def main(event, context):\n    print('attempt')\n    raise ValueError('never')\n",
		wire.Options{Retry: rouse.Retry{Attempts: 3, Backoff: rouse.Duration(10 * time.Millisecond)}})
	id, err := s.Accept(t.Context(), client.Call{Function: "flaky", Payload: []byte(`{"n":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	// Who waits for the end waits for the last attempt.
	if a, err := s.Activation(t.Context(), id, time.Minute); err != nil || a.Attempt != 3 || a.Again || a.Status != rouse.StatusFailed {
		t.Errorf("waited for %+v %v", a, err)
	}
	var dead []rouse.DeadLetter
	eventually(t, "the invocation is among the dead letters", func() bool {
		dead, _, err = s.DeadLetters(t.Context(), "flaky", 0, 10)
		return err == nil && len(dead) == 1
	})
	if dead[0].Count != 3 || !strings.Contains(dead[0].Reason, "never") || !strings.Contains(string(dead[0].Body), id) {
		t.Errorf("%+v %s", dead[0], dead[0].Body)
	}
	as, _, err := s.Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Function: "flaky"})
	if err != nil || len(as) != 3 {
		t.Fatalf("%d activations, %v", len(as), err)
	}
	for i, a := range as { // newest first
		if a.Attempt != 3-i || a.Again != (i > 0) {
			t.Errorf("%d: attempt %d, again %v", i, a.Attempt, a.Again)
		}
	}
	a, err := s.Activation(t.Context(), id, 0)
	if err != nil || a.Attempt != 3 || a.Status != rouse.StatusFailed {
		t.Errorf("the last attempt is %+v %v", a, err)
	}
	// Mended, it runs when it is sent again.
	s.python("flaky", "def main(event): return event['n'] + 1\n", wire.Options{})
	node, err := s.Node(t.Context())
	f, errOf := s.Function(t.Context(), "flaky", "")
	if err != nil || errOf != nil || node.Retry != f.Retry || node.Defaults != f.Limits {
		t.Errorf("the node has %+v and %+v for who says nothing, the function got %+v and %+v; %v, %v", node.Defaults, node.Retry, f.Limits, f.Retry, err, errOf)
	}
	if n, err := s.Redrive(t.Context(), "flaky"); n != 1 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	eventually(t, "the redriven invocation is answered", func() bool {
		a, err = s.Activation(t.Context(), id, 0)
		return err == nil && a.Status == rouse.StatusAnswered
	})
	if string(a.Result) != "2" {
		t.Errorf("answered %s", a.Result)
	}
}

func TestADeployLetsRunningCallsFinish(t *testing.T) {
	s := start(t, "")
	s.python("f", "import time\ndef main(event):\n    print('begun', flush=True)\n    time.sleep(1)\n    return 'old'\n", wire.Options{})
	done := make(chan rouse.Activation)
	following, stop := context.WithCancel(t.Context())
	begun := make(chan struct{})
	go func() {
		_ = s.Logs(following, "f", client.LogQuery{Follow: true}, func(l rouse.Line) bool {
			if l.Text == "begun" {
				close(begun)
				return false
			}
			return true
		})
	}()
	go func() { done <- s.call("f", nil) }()
	<-begun
	stop()
	s.python("f", "def main(event): return 'new'\n", wire.Options{})
	if a := s.call("f", nil); string(a.Result) != `"new"` || a.Version != 2 {
		t.Errorf("%s of version %d", a.Result, a.Version)
	}
	if a := <-done; string(a.Result) != `"old"` || a.Version != 1 {
		t.Errorf("%s of version %d", a.Result, a.Version)
	}
}

func TestAliasesAndWeights(t *testing.T) {
	s := start(t, "")
	for i := 1; i <= 2; i++ {
		s.python("f", fmt.Sprintf("def main(): return %d\n", i), wire.Options{})
	}
	if _, err := s.SetAlias(t.Context(), "f", "live", wire.AliasTarget{Version: 1, Other: 2, Weight: 0.5}); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for range 60 {
		a, err := s.Invoke(t.Context(), client.Call{Function: "f", Qualifier: "live"})
		if err != nil {
			t.Fatal(err)
		}
		got[string(a.Result)]++
	}
	if got["1"] == 0 || got["2"] == 0 || got["1"]+got["2"] != 60 { // either is missed once in 2^59 runs
		t.Errorf("%v", got)
	}
	for qualifier, want := range map[string]string{"": "2", "1": "1", "2": "2"} {
		if a, err := s.Invoke(t.Context(), client.Call{Function: "f", Qualifier: qualifier}); err != nil || string(a.Result) != want {
			t.Errorf("%q: %s %v", qualifier, a.Result, err)
		}
	}
	if _, err := s.Invoke(t.Context(), client.Call{Function: "f", Qualifier: "9"}); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
}

func TestFailuresHaveStatusStackAndLogs(t *testing.T) {
	s := start(t, "")
	s.python("f", `
import os, time
def main(event):
    print('doing', event)
    if event == 'raise': raise KeyError('city')
    if event == 'exit': os._exit(7)
    if event == 'hang': time.sleep(100)
    if event == 'eat':
        x = []
        while True: x.append(bytearray(1 << 20))
    if event == 'huge': return 'x' * (8 << 20)
    if event == 'object': return object()
    return 'fine'
`, wire.Options{Limits: rouse.Limits{Timeout: rouse.Duration(time.Second), Memory: 64 << 20}})
	for event, c := range map[string]struct {
		status  rouse.Status
		kind    string
		message string
	}{
		"raise":  {rouse.StatusFailed, "KeyError", "city"},
		"exit":   {rouse.StatusCrashed, "Crashed", "code 7"},
		"hang":   {rouse.StatusTimedOut, "Timeout", "1s"},
		"eat":    {rouse.StatusOutOfMemory, "OutOfMemory", "--memory"},
		"huge":   {rouse.StatusFailed, "AnswerTooLarge", "limit"},
		"object": {rouse.StatusFailed, "NotJSON", "JSON"},
	} {
		a := s.call("f", event)
		if a.Status != c.status || a.Failure == nil || a.Failure.Type != c.kind || !strings.Contains(a.Failure.Message, c.message) {
			t.Errorf("%s: %v %+v", event, a.Status, a.Failure)
		}
		if event == "raise" && !strings.Contains(a.Failure.Stack, `File "/fn/main.py", line 5, in main`) {
			t.Errorf("stack %s", a.Failure.Stack)
		}
		lines, err := s.ActivationLines(t.Context(), a.ID, 0)
		if err != nil || len(lines) != 1 || lines[0].Text != "doing "+event || lines[0].Stream != rouse.Stdout {
			t.Errorf("%s: lines %+v %v", event, lines, err)
		}
		stored, err := s.Activation(t.Context(), a.ID, 0)
		if err != nil || stored.Status != c.status {
			t.Errorf("%s: stored %+v %v", event, stored, err)
		}
	}
	if a := s.call("f", "ok"); a.Status != rouse.StatusAnswered {
		t.Errorf("after all that: %+v", a)
	}
	failed, _, err := s.Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Function: "f", Statuses: []rouse.Status{rouse.StatusFailed}})
	if err != nil || len(failed) != 3 {
		t.Errorf("%d failed, %v", len(failed), err)
	}
}

func TestAFloodOfLogsIsCut(t *testing.T) {
	s := start(t, "")
	s.python("flood", `
import os
def main(event):
    line = b'x' * 1023 + b'\n'
    block = line * 1024
    for _ in range(event): os.write(1, block)
    return 'done'
`, wire.Options{Limits: rouse.Limits{Timeout: rouse.Duration(2 * time.Minute), Log: 1 << 20}})
	a := s.call("flood", 1024) // 1 GB
	if string(a.Result) != `"done"` {
		t.Fatalf("%+v", a)
	}
	lines, err := s.ActivationLines(t.Context(), a.ID, 0)
	if err != nil || len(lines) == 0 {
		t.Fatal(err)
	}
	size := 0
	for _, l := range lines {
		size += len(l.Text) + 1
	}
	last := lines[len(lines)-1]
	if size > 1<<20+1024 || last.Stream != rouse.Platform || !strings.Contains(last.Text, "cut") {
		t.Errorf("%d bytes in %d lines are kept, the last is %v %q", size, len(lines), last.Stream, last.Text)
	}
}

func TestRoutesStreamAndAskForTheToken(t *testing.T) {
	s := start(t, "")
	code := `
def main(event):
    if event['path'] == '/stream':
        def chunks():
            for i in range(3): yield 'chunk %d\n' % i
        return {'status': 203, 'headers': {'X-From': 'function'}, 'body': chunks()}
    return [event['method'], event['path'], event['query'], event['body'], event['headers'].get('x-a')]
`
	s.python("private", code, wire.Options{})
	s.python("open", code, wire.Options{Public: true})
	if r, body := s.get("/fn/private/x"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if r, body := s.get("/fn/none"); r.StatusCode != http.StatusUnauthorized && r.StatusCode != http.StatusNotFound {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	q, err := http.NewRequestWithContext(t.Context(), "PATCH", "http://"+s.addr+"/fn/open/a/b?c=d", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-A", "b")
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if string(b) != `["PATCH","/a/b",{"c":"d"},"body","b"]` || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Rouse-Activation") == "" {
		t.Errorf("%s %v", b, r.Header)
	}
	if r, body := s.get("/fn/open/stream"); r.StatusCode != 203 || body != "chunk 0\nchunk 1\nchunk 2\n" || r.Header.Get("X-From") != "function" {
		t.Errorf("%d %q %v", r.StatusCode, body, r.Header)
	}
}

func TestProgramsSeeAndAnswerHTTP(t *testing.T) {
	s := start(t, "")
	for name, files := range map[string]map[string]string{
		"shell":  {"main": "#!/bin/sh\nprintf 'Status: 201 Created\\nX-Said: %s\\n\\n%s %s %s ' \"$HTTP_X_A\" \"$REQUEST_METHOD\" \"$PATH_INFO\" \"$QUERY_STRING\"; cat\n"},
		"python": {"main.py": "import os, sys\ne = os.environ\nprint('Status: 201\\nX-Said: %s\\n' % e['HTTP_X_A'])\nprint(e['REQUEST_METHOD'], e['PATH_INFO'], e['QUERY_STRING'], sys.stdin.read(), end='')\n"},
	} {
		s.deploy(name, wire.Options{Contract: "stdio", Public: true}, files)
		q, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+s.addr+"/fn/"+name+"/a/b?c=d", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("X-A", "value")
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != 201 || r.Header.Get("X-Said") != "value" || string(b) != "PUT /a/b c=d body" {
			t.Errorf("%s: %d %v %q", name, r.StatusCode, r.Header, b)
		}
	}
}

func TestBadDeploysAreRefusedAndLeaveNothing(t *testing.T) {
	s := start(t, "")
	for what, c := range map[string]struct {
		options wire.Options
		files   map[string]string
		kind    rouse.Kind
		message string
	}{
		"unknown runtime":  {wire.Options{Runtime: "cobol"}, map[string]string{"main.py": "x"}, rouse.Invalid, "python3"},
		"no handler file":  {wire.Options{Runtime: "python3", Handler: "other.main"}, map[string]string{"main.py": "x"}, rouse.Invalid, "main.py"},
		"negative timeout": {wire.Options{Limits: rouse.Limits{Timeout: -1}}, map[string]string{"main.py": "x"}, rouse.Invalid, "timeout"},
		"tiny memory":      {wire.Options{Limits: rouse.Limits{Memory: 1}}, map[string]string{"main.py": "x"}, rouse.Invalid, "memory"},
		"unknown contract": {wire.Options{Contract: "corba"}, map[string]string{"main.py": "x"}, rouse.Invalid, "native"},
		"bad env":          {wire.Options{Env: map[string]string{"A B": "c"}}, map[string]string{"main.py": "x"}, rouse.Invalid, "A B"},
		"broken wasm":      {wire.Options{}, map[string]string{"main.wasm": "nonsense"}, rouse.Invalid, ""},
		"no such package":  {wire.Options{}, map[string]string{"main.py": "x", "requirements.txt": "no-such-package-of-rouse==1"}, rouse.Invalid, "no-such-package-of-rouse"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := s.tryDeploy("bad", c.options, c.files)
			if rouse.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("%v", err)
			}
			if _, err := s.Function(t.Context(), "bad", ""); rouse.KindOf(err) != rouse.NotFound {
				t.Errorf("something was deployed: %v", err)
			}
		})
	}
}

func TestDependenciesAreBuiltOnceAndShared(t *testing.T) {
	s := start(t, "")
	files := map[string]string{"main.py": "import six\ndef main(): return six.__version__\n", "requirements.txt": "six==1.16.0\n"}
	a := s.deploy("a", wire.Options{}, files)
	files["main.py"] += "# another\n"
	b := s.deploy("b", wire.Options{}, files)
	if a.Deps == "" || a.Deps != b.Deps || a.Code == b.Code {
		t.Errorf("%+v %+v", a, b)
	}
	for _, name := range []string{"a", "b"} {
		if got := s.call(name, nil); string(got.Result) != `"1.16.0"` {
			t.Errorf("%s: %s %+v", name, got.Result, got.Failure)
		}
	}
	n := s.deploy("n", wire.Options{}, map[string]string{"index.mjs": "import isNumber from 'is-number'\nexport const main = () => isNumber('5')\n", "package.json": `{"dependencies":{"is-number":"7.0.0"}}`})
	if got := s.call("n", nil); string(got.Result) != "true" {
		t.Errorf("%s %+v of %+v", got.Result, got.Failure, n)
	}
}

func TestTooManyCallsAreThrottled(t *testing.T) {
	s := start(t, "")
	s.python("f", "import time\ndef main(event): time.sleep(event)\n", wire.Options{Limits: rouse.Limits{Max: 1, Queue: 2}})
	s.call("f", 0)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[rouse.Status]int{}
	for range 12 {
		wg.Go(func() {
			a, err := s.Invoke(t.Context(), client.Call{Function: "f", Payload: []byte("0.3")})
			if err != nil && rouse.KindOf(err) != rouse.Throttled {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				a.Status = rouse.StatusThrottled
			}
			got[a.Status]++
		})
	}
	wg.Wait()
	if got[rouse.StatusAnswered] < 1 || got[rouse.StatusThrottled] < 1 || got[rouse.StatusAnswered]+got[rouse.StatusThrottled] != 12 {
		t.Errorf("%v", got)
	}
}

func TestANeighbourIsUnharmed(t *testing.T) {
	s := start(t, "")
	s.python("good", "def main(event): return event\n", wire.Options{})
	s.python("evil", `
import os, time
def main(event):
    try:
        while True: os.fork()
    except OSError: pass
    while True: pass
`, wire.Options{Limits: rouse.Limits{Timeout: rouse.Duration(3 * time.Second)}})
	done := make(chan rouse.Activation)
	go func() { done <- s.call("evil", nil) }()
	for i := range 50 {
		if a := s.call("good", i); string(a.Result) != fmt.Sprint(i) {
			t.Fatalf("%+v", a)
		}
	}
	if a := <-done; a.Status != rouse.StatusTimedOut {
		t.Errorf("%+v", a)
	}
	if a := s.call("good", "after"); string(a.Result) != `"after"` {
		t.Errorf("%+v", a)
	}
}

func TestMetricsCount(t *testing.T) {
	s := start(t, "")
	s.python("f", "def main(): return 1\n", wire.Options{})
	s.call("f", nil)
	r, body := s.get("/metrics")
	if r.StatusCode != 200 || !strings.Contains(body, `rouse_activations_total{status="answered"} 1`) || !strings.Contains(body, "rouse_cold_starts_total 1") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	for _, line := range []string{"# TYPE rouse_run_seconds histogram", `rouse_run_seconds_bucket{le="+Inf"} 1`, "rouse_run_seconds_count 1", "# TYPE rouse_instances gauge", "# TYPE rouse_activations_total counter"} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is missing in %s", line, body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if r, body := s.get(path); r.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, r.StatusCode, body)
		}
	}
}

func TestASecondServerOnTheSameDataIsRefused(t *testing.T) {
	s := start(t, "")
	second := refused(t, s.data)
	if !strings.Contains(second, "another server has this data folder") {
		t.Errorf("%s", second)
	}
}

// What has begun and not ended is pending, in lists and by itself.
func TestWhatRunsIsSeen(t *testing.T) {
	s := start(t, "")
	s.python("f", "import time\ndef main(event):\n    time.sleep(2)\n    return 1\n", wire.Options{Limits: rouse.Limits{Timeout: rouse.Duration(20 * time.Second)}})
	id, err := s.Accept(t.Context(), client.Call{Function: "f", Payload: nil})
	if err != nil {
		t.Fatal(err)
	}
	q := rouse.ActivationQuery{Namespace: "default", Function: "f"}
	eventually(t, "the list shows what runs", func() bool {
		as, _, err := s.Activations(t.Context(), q)
		return err == nil && len(as) == 1 && as[0].ID == id && as[0].Status == rouse.StatusPending
	})
	if a, err := s.Activation(t.Context(), id, 0); err != nil || a.Status != rouse.StatusPending || a.Started.IsZero() {
		t.Errorf("%+v %v", a, err)
	}
	ended := q
	ended.Statuses = []rouse.Status{rouse.StatusAnswered}
	if as, _, err := s.Activations(t.Context(), ended); err != nil || len(as) != 0 {
		t.Errorf("%+v %v", as, err)
	}
	if a, err := s.Activation(t.Context(), id, time.Minute); err != nil || a.Status != rouse.StatusAnswered || string(a.Result) != "1" {
		t.Errorf("%+v %v", a, err)
	}
	if as, _, err := s.Activations(t.Context(), q); err != nil || len(as) != 1 {
		t.Errorf("%+v %v", as, err)
	}
}

// Whatever the folder is in which a server keeps its data: what is in it is
// nobody else's to see.
func TestTheDataAreOursAlone(t *testing.T) {
	data := t.TempDir()
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := start(t, data)
		s.python("f", "def main(): return 1", wire.Options{})
		s.call("f", nil)
		all, err := os.ReadDir(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if info, err := e.Info(); err != nil || info.Mode()&0o077 != 0 {
				t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
			}
		}
		s.stop()
		for _, dir := range []string{"code", "deps"} { // as they were once
			if err := os.Chmod(filepath.Join(data, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}
