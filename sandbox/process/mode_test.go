package process_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	contracthttp "github.com/rouse-run/rouse/contract/http"
	"github.com/rouse-run/rouse/contract/stdio"
	"github.com/rouse-run/rouse/sandbox/process"
)

// under boots f with a contract.
func under(t testing.TB, d *process.Driver, c rouse.Contract, f rouse.Function, dir string) *house {
	t.Helper()
	f = function(f)
	h := &house{}
	s, err := d.Open(t.Context(), rouse.Spec{Function: f, Code: dir, Program: c.Program(f), Log: h.log})
	if err != nil {
		t.Fatal(err)
	}
	h.sandbox = s
	t.Cleanup(func() { _ = s.Close() })
	if h.Instance, err = c.Boot(t.Context(), f, s, h.log); err != nil {
		t.Fatalf("%v\n%s", err, h.printed())
	}
	return h
}

// goProgram compiles a Go program into a folder as "bootstrap".
func goProgram(t testing.TB, source string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "bootstrap"), filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return dir
}

const goServer = `package main
import ("fmt"; "io"; "net/http"; "os")
func main() {
	http.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Println("serving", r.URL)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, b)
	}))
}`

func TestHTTPServersOfAnyKind(t *testing.T) { each(t, testHTTPServersOfAnyKind) }

func testHTTPServersOfAnyKind(t *testing.T, d *process.Driver) {
	for what, c := range map[string]struct{ runtime, handler, dir string }{
		"python": {"python3", "main.py", code(t, map[string]string{"main.py": `
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        print('serving', self.path)
        out = ('%s %s %s' % (self.command, self.path, body.decode())).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(out))); self.end_headers(); self.wfile.write(out)
    def log_message(self, *a): pass
http.server.HTTPServer(('', int(os.environ['PORT'])), H).serve_forever()
`})},
		"node": {"nodejs", "main.js", code(t, map[string]string{"main.js": `
require('http').createServer((q, s) => { let b = ''; q.on('data', d => b += d); q.on('end', () => {
  console.log('serving', q.url); s.end(q.method + ' ' + q.url + ' ' + b) }) }).listen(process.env.PORT)`})},
		"node module": {"nodejs", "main.mjs", code(t, map[string]string{"main.mjs": `
import http from 'http'
http.createServer((q, s) => { let b = ''; q.on('data', d => b += d); q.on('end', () => {
  console.log('serving', q.url); s.end(q.method + ' ' + q.url + ' ' + b) }) }).listen(process.env.PORT)`})},
		"go": {"executable", "bootstrap", goProgram(t, goServer)},
	} {
		t.Run(what, func(t *testing.T) {
			h := under(t, d, contracthttp.Contract{}, rouse.Function{Runtime: c.runtime, Handler: c.handler, Contract: "http"}, c.dir)
			for i := range 3 {
				in := rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte("body"), HTTP: &rouse.Request{Method: "POST", Path: fmt.Sprint("/", i), Query: "q=1"}}}
				a, err := h.Answer(t.Context(), in)
				if err != nil || a.Status != rouse.StatusAnswered || string(a.Result) != fmt.Sprintf("POST /%d?q=1 body", i) {
					t.Fatalf("%v %+v %s\n%s", err, a, a.Result, h.printed())
				}
			}
			if !strings.Contains(h.printed(), "stdout: serving /2?q=1") {
				t.Errorf("printed %q", h.printed())
			}
		})
	}
}

func TestProgramsFromInputToOutput(t *testing.T) { each(t, testProgramsFromInputToOutput) }

func testProgramsFromInputToOutput(t *testing.T, d *process.Driver) {
	for what, c := range map[string]struct{ runtime, handler, dir string }{
		"python":     {"python3", "main.py", code(t, map[string]string{"main.py": "import sys\nprint('hello ' + sys.stdin.read())\nprint('aside', file=sys.stderr)\n"})},
		"node":       {"nodejs", "main.js", code(t, map[string]string{"main.js": "console.log('hello ' + require('fs').readFileSync(0)); console.error('aside')"})},
		"shell":      {"executable", "run.sh", code(t, map[string]string{"run.sh": "#!/bin/sh\nprintf 'hello '; cat; echo; echo aside >&2\n"})},
		"python 2.7": {"python2.7", "main.py", code(t, map[string]string{"main.py": "import sys\nprint 'hello ' + sys.stdin.read()\nsys.stderr.write('aside\\n')\n"})},
	} {
		t.Run(what, func(t *testing.T) {
			has(t, d, c.runtime)
			for range 2 { // a process each
				h := under(t, d, stdio.Contract{}, rouse.Function{Runtime: c.runtime, Handler: c.handler, Contract: "stdio"}, c.dir)
				a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte("ada")}})
				if err != nil || a.Status != rouse.StatusAnswered || string(a.Result) != "hello ada\n" {
					t.Fatalf("%v %+v %q\n%s", err, a, a.Result, h.printed())
				}
				if got := h.printed(); got != "stderr: aside\n" {
					t.Errorf("printed %q", got)
				}
				<-h.sandbox.Done()
			}
		})
	}
}

// has skips a test of a runtime that this host lacks.
func has(t *testing.T, d *process.Driver, runtime string) {
	t.Helper()
	for _, rt := range d.Runtimes() {
		if rt.Name == runtime {
			return
		}
		for _, a := range rt.Aliases {
			if a == runtime {
				return
			}
		}
	}
	t.Skipf("this host has no %s", runtime)
}

func TestAnExecutableThatIsNone(t *testing.T) { each(t, testAnExecutableThatIsNone) }

func testAnExecutableThatIsNone(t *testing.T, d *process.Driver) {
	dir := code(t, map[string]string{"run": "this is no program"})
	h := under(t, d, stdio.Contract{}, rouse.Function{Runtime: "executable", Handler: "run", Contract: "stdio"}, dir)
	a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id"})
	if err != nil || a.Status == rouse.StatusAnswered || !strings.Contains(h.printed(), "exec format error") {
		t.Errorf("%v %+v %q", err, a, h.printed())
	}
}

func TestAsyncHandlersAndStreams(t *testing.T) { each(t, testAsyncHandlersAndStreams) }

func testAsyncHandlersAndStreams(t *testing.T, d *process.Driver) {
	for what, c := range map[string]struct {
		runtime string
		files   map[string]string
	}{
		"python": {"python3", map[string]string{"main.py": `
import asyncio
async def main(event, context):
    await asyncio.sleep(0.001)
    if event == 'stream':
        async def chunks():
            for i in range(3):
                yield 'chunk %d\n' % i
        return chunks()
    if event == 'lines': return (v for v in ({'a': 1}, [2], 3, 'four', b'!'))
    if event == 'fail': raise ValueError('late')
    return [event, context.activation, context.remaining_ms() > 0]
`}},
		"node": {"nodejs", map[string]string{"main.mjs": `
export async function main (event, context) {
  await new Promise(resolve => setTimeout(resolve, 1))
  if (event === 'stream') return (async function * () { for (let i = 0; i < 3; i++) yield 'chunk ' + i + '\n' })()
  if (event === 'lines') return [{ a: 1 }, [2], 3, 'four', new Uint8Array([33])][Symbol.iterator]()
  if (event === 'fail') throw new TypeError('late')
  return [event, context.activation, context.remainingMs() > 0]
}`}},
	} {
		t.Run(what, func(t *testing.T) {
			h := boot(t, d, rouse.Function{Runtime: c.runtime, Handler: "main.main"}, c.files)
			for range 3 {
				h.expect(t, "x", `["x","id",true]`)
			}
			h.expect(t, "stream", "chunk 0\nchunk 1\nchunk 2\n")
			h.expect(t, "lines", "{\"a\":1}\n[2]\n3\nfour!")
			if a := h.ask(t, "fail"); a.Status != rouse.StatusFailed || a.Failure.Message != "late" || !strings.Contains(a.Failure.Stack, "main.") {
				t.Errorf("%v %+v", a.Status, a.Failure)
			}
			h.expect(t, "y", `["y","id",true]`)
		})
	}
}

// A promise that nobody waits for, or that nobody settles, ends the call with a
// failure that says so.
func TestPromisesThatAreLost(t *testing.T) { each(t, testPromisesThatAreLost) }

func testPromisesThatAreLost(t *testing.T, d *process.Driver) {
	files := map[string]string{"main.js": `
exports.main = event => {
  if (event === 'rejected') { Promise.reject(new TypeError('lost')); return new Promise(resolve => setTimeout(resolve, 10000)) }
  if (event === 'thrown') { setTimeout(() => { throw new RangeError('late') }, 1); return new Promise(resolve => setTimeout(resolve, 10000)) }
  return new Promise(() => {})
}`}
	for event, want := range map[string]string{"rejected": "TypeError: lost", "thrown": "RangeError: late", "never": "NeverSettled: the promise that the function returned was never resolved"} {
		h := boot(t, d, rouse.Function{Runtime: "nodejs", Handler: "main.main"}, files)
		a := h.ask(t, event)
		if a.Status != rouse.StatusFailed || !strings.HasPrefix(a.Failure.Type+": "+a.Failure.Message, want) {
			t.Errorf("%s: %v %+v", event, a.Status, a.Failure)
		}
		if !a.Last {
			t.Errorf("%s: the instance may be used again", event)
		}
		if event != "never" && !strings.Contains(a.Failure.Stack, "/fn/main.js:") {
			t.Errorf("%s: %s", event, a.Failure.Stack)
		}
		<-h.sandbox.Done() // such an instance is not used again
	}
}

// All calls that are open in an instance are told what ends it.
func TestACrowdOfNodeIsToldWhy(t *testing.T) { each(t, testACrowdOfNodeIsToldWhy) }

func testACrowdOfNodeIsToldWhy(t *testing.T, d *process.Driver) {
	h := boot(t, d, rouse.Function{Runtime: "nodejs", Handler: "main.main", Limits: rouse.Limits{Concurrency: 3}}, map[string]string{"main.js": `
let open = 0
exports.main = () => { if (++open === 3) Promise.reject(new TypeError('mine')); return new Promise(resolve => setTimeout(resolve, 10000)) }`})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			a, err := h.Answer(context.Background(), rouse.Invocation{ID: "id"})
			if err != nil || a.Status != rouse.StatusFailed || a.Failure.Message != "mine" || !a.Last {
				t.Errorf("%v %+v %+v", err, a, a.Failure)
			}
		})
	}
	wg.Wait()
}

// What an exception says is told, however long.
func TestALongFailure(t *testing.T) {
	for runtime, files := range map[string]map[string]string{
		"python3": {"main.py": "def main(event): raise ValueError('x' * 10_000_000)\n"},
		"nodejs":  {"main.js": "exports.main = () => { throw new RangeError('x'.repeat(10000000)) }\n"},
	} {
		h := boot(t, drivers[process.Namespaces], rouse.Function{Runtime: runtime, Handler: "main.main"}, files)
		a := h.ask(t, nil)
		if a.Status != rouse.StatusFailed || !strings.HasSuffix(a.Failure.Type, "Error") || !strings.HasPrefix(a.Failure.Message, "xxx") || len(a.Failure.Message) > 70000 || !strings.Contains(a.Failure.Stack, "main.") {
			t.Errorf("%s: %v %s, %d bytes, %d of stack", runtime, a.Status, a.Failure.Type, len(a.Failure.Message), len(a.Failure.Stack))
		}
	}
}

// A reply keeps what came.
type reply struct {
	status int
	header map[string][]string
	body   strings.Builder
	writes int
}

func (r *reply) Start(status int, header map[string][]string) {
	r.status, r.header = status, maps.Clone(header)
}

func (r *reply) Write(b []byte) (int, error) {
	r.writes++
	return r.body.Write(b)
}

func TestHTTPEventsAndAnswers(t *testing.T) { each(t, testHTTPEventsAndAnswers) }

func testHTTPEventsAndAnswers(t *testing.T, d *process.Driver) {
	for what, c := range map[string]struct {
		runtime string
		files   map[string]string
	}{
		"python": {"python3", map[string]string{"main.py": `
def main(event, context):
    path = event['path']
    if path == '/text': return 'plain'
    if path == '/bytes': return b'\x00\xff'
    if path == '/json': return {'query': event['query'], 'header': event['headers']['x-a'], 'body': event['body'], 'method': event['method']}
    if path == '/made': return {'status': 201, 'headers': {'X-B': 'c', 'Set-Cookie': ['a=1', 'b=2']}, 'body': 'made'}
    if path == '/binary': return {'status': 200, 'body': event['body'] + str(event['isBase64Encoded'])}
    if path == '/coded': return {'status': 200, 'body': 'AP8A\n/w==\n', 'isBase64Encoded': True}
    if path == '/miscoded': return {'status': 200, 'body': event['body'], 'isBase64Encoded': True}
    if path == '/lies': return {'status': 200, 'headers': {'content-length': '1'}, 'body': 'xyz'}
    if path == '/stream': return {'status': 200, 'headers': {'Content-Type': 'text/csv'}, 'body': (str(i) for i in range(3))}
`}},
		"node": {"nodejs", map[string]string{"main.js": `
exports.main = (event, context) => {
  const path = event.path
  if (path === '/text') return 'plain'
  if (path === '/bytes') return Buffer.from([0, 255])
  if (path === '/json') return { query: event.query, header: event.headers['x-a'], body: event.body, method: event.method }
  if (path === '/made') return { status: 201, headers: { 'X-B': 'c', 'Set-Cookie': ['a=1', 'b=2'] }, body: 'made' }
  if (path === '/binary') return { status: 200, body: event.body + (event.isBase64Encoded ? 'True' : 'False') }
  if (path === '/coded') return { status: 200, body: 'AP8A\n/w==\n', isBase64Encoded: true }
  if (path === '/miscoded') return { status: 200, body: event.body, isBase64Encoded: true }
  if (path === '/lies') return { status: 200, headers: { 'content-length': '1' }, body: 'xyz' }
  if (path === '/stream') return { status: 200, headers: { 'Content-Type': 'text/csv' }, body: [0, 1, 2].map(String)[Symbol.iterator]() }
}`}},
	} {
		t.Run(what, func(t *testing.T) {
			h := boot(t, d, rouse.Function{Runtime: c.runtime, Handler: "main.main"}, c.files)
			ask := func(path, body string) (rouse.Answer, *reply, error) {
				r := &reply{}
				a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id", Reply: r, Event: rouse.Event{Data: []byte(body),
					HTTP: &rouse.Request{Method: "PUT", Path: path, Query: "a=1+2", Header: map[string][]string{"X-A": {"v"}}}}})
				return a, r, err
			}
			for _, c := range []struct {
				path, body, want, kind string
				status                 int
			}{
				{"/text", "", "plain", "text/plain; charset=utf-8", 200},
				{"/bytes", "", "\x00\xff", "application/octet-stream", 200},
				{"/json", "bödy", `{"query":{"a":"1 2"},"header":"v","body":"bödy","method":"PUT"}`, "application/json", 200},
				{"/made", "", "made", "text/plain; charset=utf-8", 201},
				{"/binary", "\xff\xfe", "//4=True", "text/plain; charset=utf-8", 200},
				{"/stream", "", "012", "text/csv", 200},
				{"/coded", "", "\x00\xff\x00\xff", "", 200},
				{"/lies", "", "xyz", "text/plain; charset=utf-8", 200},
				{"/none", "", "null", "application/json", 200},
			} {
				a, r, err := ask(c.path, c.body)
				if err != nil || a.Status != rouse.StatusAnswered || r.status != c.status || r.body.String() != c.want || a.Result != nil || a.Size != int64(len(c.want)) {
					t.Errorf("%s: %v %+v %d %q", c.path, err, a, r.status, r.body.String())
				}
				if got := r.header["Content-Type"]; strings.Join(got, ", ") != c.kind {
					t.Errorf("%s: %v", c.path, r.header)
				}
				if c.path == "/made" && (len(r.header["Set-Cookie"]) != 2 || r.header["X-B"][0] != "c") {
					t.Errorf("%v", r.header)
				}
				if c.path == "/lies" && (len(r.header) != 2 || r.header["Content-Length"][0] != "3") {
					t.Errorf("%v", r.header)
				}
				if c.path == "/stream" && r.writes != 3 {
					t.Errorf("%d writes for three chunks", r.writes)
				}
			}
			for _, body := range []string{"AP8A/w=", "AP8A/w==AP8A", "AP8A!", "äöü=", "_-8="} {
				if a, r, err := ask("/miscoded", body); err != nil || a.Status != rouse.StatusFailed || !strings.Contains(a.Failure.Message, "not in base64") || r.status != 0 {
					t.Errorf("%s is taken for base64: %v %+v %d", body, err, a, r.status)
				}
			}
		})
	}
}

// With concurrency, events meet in one instance, and each has its own lines.
func TestManyEventsAtOnce(t *testing.T) { each(t, testManyEventsAtOnce) }

func testManyEventsAtOnce(t *testing.T, d *process.Driver) {
	const n = 8
	for what, c := range map[string]struct {
		runtime string
		files   map[string]string
	}{
		"python threads": {"python3", map[string]string{"main.py": fmt.Sprintf(`
import threading
gate = threading.Barrier(%d)
def main(event, context):
    print('in', event)
    gate.wait(10)
    print('out', event)
    return event
`, n)}},
		"python coroutines": {"python3", map[string]string{"main.py": fmt.Sprintf(`
import asyncio
count, gate = 0, asyncio.Event()
async def main(event, context):
    global count
    print('in', event)
    count += 1
    if count == %d: gate.set()
    await asyncio.wait_for(gate.wait(), 10)
    print('out', event)
    return event
`, n)}},
		"node": {"nodejs", map[string]string{"main.js": fmt.Sprintf(`
let count = 0
let open
const gate = new Promise(resolve => { open = resolve })
exports.main = async event => {
  console.log('in', event)
  if (++count === %d) open()
  await gate
  console.log('out', event)
  return event
}`, n)}},
	} {
		t.Run(what, func(t *testing.T) {
			h := boot(t, d, rouse.Function{Runtime: c.runtime, Handler: "main.main", Limits: rouse.Limits{Concurrency: n}}, c.files)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					in := rouse.Invocation{ID: fmt.Sprint("id-", i), Event: rouse.Event{Data: fmt.Append(nil, i)}}
					a, err := h.Answer(t.Context(), in)
					if err != nil || string(a.Result) != fmt.Sprint(i) {
						t.Errorf("%d: %v %s %+v", i, err, a.Result, a.Failure)
					}
				})
			}
			wg.Wait()
			h.sandbox.Drain()
			h.mu.Lock()
			defer h.mu.Unlock()
			got := map[string]int{}
			for _, l := range h.lines {
				word, number, _ := strings.Cut(l.Text, " ")
				if l.Activation != "id-"+number {
					t.Errorf("line %q is said to be of %q", l.Text, l.Activation)
				}
				got[word]++
			}
			if got["in"] != n || got["out"] != n {
				t.Errorf("lines %v", got)
			}
		})
	}
}

func TestACrowdSharesTheEnd(t *testing.T) { each(t, testACrowdSharesTheEnd) }

func testACrowdSharesTheEnd(t *testing.T, d *process.Driver) {
	h := boot(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Limits: rouse.Limits{Concurrency: 4}},
		map[string]string{"main.py": "import os, time\ndef main(event):\n    time.sleep(0.05) if event else time.sleep(100)\n    os._exit(5)\n"})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			a, err := h.Answer(context.Background(), rouse.Invocation{ID: "id", Event: rouse.Event{Data: fmt.Append(nil, i)}})
			if err != nil || a.Status != rouse.StatusCrashed || !strings.Contains(a.Failure.Message, "code 5") {
				t.Errorf("%v %+v", err, a)
			}
		})
	}
	wg.Wait()
}

// A program may be open for writing for a moment in a process that was forked
// while it was unpacked.
// Where one call of a crowd ends the instance, the others are told so.
func TestACrowdIsToldWhoEndedIt(t *testing.T) { each(t, testACrowdIsToldWhoEndedIt) }

func testACrowdIsToldWhoEndedIt(t *testing.T, d *process.Driver) {
	h := boot(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Limits: rouse.Limits{Concurrency: 2}},
		map[string]string{"main.py": "import time\ndef main(event):\n    print('begun', flush=True)\n    time.sleep(100)\n"})
	told := make(chan rouse.Answer)
	go func() {
		a, err := h.Answer(context.Background(), rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte("1")}})
		if err != nil {
			t.Error(err)
		}
		told <- a
	}()
	for !strings.Contains(h.printed(), "begun") {
		runtime.Gosched()
	}
	_ = h.Instance.Close() // as the pool does when a call runs out of time
	if a := <-told; a.Status != rouse.StatusCrashed || !strings.Contains(a.Failure.Message, "another call") {
		t.Errorf("%+v %+v", a, a.Failure)
	}
}

func TestAnExecutableThatIsStillOpen(t *testing.T) { each(t, testAnExecutableThatIsStillOpen) }

func testAnExecutableThatIsStillOpen(t *testing.T, d *process.Driver) {
	dir := code(t, map[string]string{"run": "#!/bin/sh\necho fine\n"})
	f, err := os.OpenFile(filepath.Join(dir, "run"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() })
	h := under(t, d, stdio.Contract{}, rouse.Function{Runtime: "executable", Handler: "run", Contract: "stdio"}, dir)
	a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id"})
	if err != nil || a.Status != rouse.StatusAnswered || string(a.Result) != "fine\n" {
		t.Errorf("%v %+v %q %q", err, a, a.Result, h.printed())
	}
}

// A handler is given as many of event and context as it takes, whatever it is
// made of.
func TestWhatAHandlerTakes(t *testing.T) {
	files := map[string]string{"main.py": `
import functools
def none(): return 0
def one(event): return 1
def two(event, context): return 2
def more(event, context=None, third=3, *, named=4): return third
def any(*args): return len(args)
def first(event, *rest): return 1 + len(rest)
async def later(event): return 5
def wraps(f):
    @functools.wraps(f)
    def inner(*args): return f(*args)
    return inner
@wraps
def wrapped(event): return 1
part = functools.partial(more, third=7)
class Callable:
    def __call__(self, event): return 8
    def method(self, event, context): return 9
called = Callable()
method = called.method
built = len
`}
	for handler, want := range map[string]string{"none": "0", "one": "1", "two": "2", "more": "3", "any": "2", "first": "2", "later": "5", "wrapped": "1", "part": "7",
		"called": "8", "method": "9", "built": "1"} {
		t.Run(handler, func(t *testing.T) {
			h, err := try(t, drivers[process.Namespaces], rouse.Function{Runtime: "python3", Handler: "main." + handler}, files)
			if err != nil {
				t.Fatal(err)
			}
			h.expect(t, map[string]int{"n": 1}, want)
		})
	}
}
