package openwhisk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
)

// evil answers by itself, with what its argument says in Python.
const evil = `
import gc
pipe = [o for o in gc.get_objects() if type(o).__name__ == 'Pipe'][-1]
count = 1
def main(args):
    global count
    count += 1
    if 'answer' in args:
        kind, body = eval(args['answer'])
        pipe.send(kind, count, body)
        count += 1
        while pipe.read()[0] != 69: pass
    return {'a': 1}
`

// What code in a sandbox writes to its pipe can harm its own answers only.
func TestHostileAnswers(t *testing.T) {
	const invalid = "The action did not produce a valid JSON or JSON Array response: "
	for what, c := range map[string]struct {
		said    string
		status  rouse.Status
		kind    string
		message string
		result  string
	}{
		"no JSON":         {`('A', b'\0{nonsense')`, rouse.StatusFailed, developer, invalid + "{nonsense", ""},
		"two values":      {`('A', b'\0{},{}')`, rouse.StatusFailed, developer, invalid + "{},{}", ""},
		"a string":        {`('A', b'\0"text"')`, rouse.StatusFailed, developer, invalid + `"text"`, ""},
		"nothing":         {`('A', b'\0')`, rouse.StatusFailed, developer, invalid, ""},
		"text":            {`('A', b'\1{}')`, rouse.StatusFailed, developer, invalid + "{}", ""},
		"bytes":           {`('A', b'\2\xff\xfe')`, rouse.StatusFailed, developer, invalid + "\uFFFD", ""},
		"another Failure": {`('F', b'{"type":"Strange","message":"odd","stack":"s"}')`, rouse.StatusFailed, developer, invalid + "odd", ""},
		"ours":            {`('F', b'{"type":"DeveloperError","message":"odd","stack":"DeveloperError: odd"}')`, rouse.StatusFailed, developer, "odd", ""},
		"a lying size":    {`('F', b'{"type":"TooLarge","message":"the answer has -5 bytes"}')`, rouse.StatusFailed, application, "The action produced a response that exceeded the allowed length: -5 > 1048576 bytes.", `{"error":"The action produced a response that exceeded the allowed length: -5 > 1048576 bytes."}`},
		"no size":         {`('F', b'{"type":"TooLarge","message":"x"}')`, rouse.StatusFailed, developer, invalid + "x", ""},
		"an error twice":  {`('A', b'\0{"error":"a","error":"b"}')`, rouse.StatusFailed, application, "b", `{"error":"a","error":"b"}`},
		"no frame":        {`('Q', b'')`, rouse.StatusCrashed, developer, "The action did not produce a valid response and exited unexpectedly.", ""},
		"no Failure":      {`('F', b'x')`, rouse.StatusCrashed, developer, "The action did not produce a valid response and exited unexpectedly.", ""},
	} {
		t.Run(what, func(t *testing.T) {
			h := python(evil).boot(t)
			h.expect(t, `{}`, `{"a":1}`)
			arguments, err := json.Marshal(map[string]string{"answer": c.said})
			if err != nil {
				t.Fatal(err)
			}
			h.fails(t, string(arguments), c.status, c.kind, c.message, c.result)
		})
	}
}

func TestResultsThatAreTooLarge(t *testing.T) {
	for language, code := range map[string]string{
		"python": "def main(args): return {'a': args['of'] * args['n']}\n",
		"node":   "function main (args) { return { a: args.of.repeat(args.n) } }",
	} {
		t.Run(language, func(t *testing.T) {
			h := both()[language](code).boot(t)
			whole := `{"a":"` + strings.Repeat("x", 1<<20-8) + `"}`
			h.expect(t, `{"of":"x","n":`+strconv.Itoa(1<<20-8)+`}`, whole)
			const said = "The action produced a response that exceeded the allowed length: 1048577 > 1048576 bytes."
			result := `{"error":"` + said + ` The truncated response was: {\"a\":\"` + strings.Repeat("x", 1<<20-7) + `\""}`
			h.fails(t, `{"of":"x","n":`+strconv.Itoa(1<<20-7)+`}`, rouse.StatusFailed, application, said, result)
			const more = "The action produced a response that exceeded the allowed length: 8000008 > 1048576 bytes."
			h.fails(t, `{"of":"x","n":8000000}`, rouse.StatusFailed, application, more, `{"error":"`+more+`"}`)
			h.expect(t, `{"of":"x","n":1}`, `{"a":"x"}`)

			small := both()[language](code)
			small.note = &openwhisk.Note{Result: 12}
			h = small.boot(t)
			h.expect(t, `{"of":"é","n":2}`, `{"a":"éé"}`)
			h.fails(t, `{"of":"é","n":5}`, rouse.StatusFailed, application, "The action produced a response that exceeded the allowed length: 18 > 12 bytes.",
				`{"error":"The action produced a response that exceeded the allowed length: 18 > 12 bytes. The truncated response was: {\"a\":\"ééé"}`)
		})
	}
}

func TestAnAnswerWithoutAllBounds(t *testing.T) {
	h := python(evil).boot(t)
	h.expect(t, `{}`, `{"a":1}`)
	h.fails(t, `{"answer":"('A', b'\\0' + bytes(9 << 20))"}`, rouse.StatusFailed, application,
		"The action produced a response that exceeded the allowed length: 9437185 > 1048576 bytes.",
		`{"error":"The action produced a response that exceeded the allowed length: 9437185 > 1048576 bytes."}`)
}

func TestSeveralAtOnce(t *testing.T) {
	for name, a := range map[string]action{
		"node": node(`let gate, waiting = 0
const open = new Promise(resolve => { gate = resolve })
async function main (args) { console.log('in', args.n); if (++waiting === 4) gate(); await open; if (args.n === 3) throw new Error('third'); return { n: args.n } }`),
		"coroutines": python("import asyncio\nopen, waiting = None, 0\nasync def main(args):\n    global open, waiting\n    open = open or asyncio.Event()\n    print('in', args['n'])\n" +
			"    waiting += 1\n    if waiting == 4: open.set()\n    await open.wait()\n    if args['n'] == 3: raise Exception('third')\n    return {'n': args['n']}\n"),
		"threads": python("import threading\nopen = threading.Barrier(4)\ndef main(args):\n    print('in', args['n'])\n    open.wait()\n    if args['n'] == 3: raise Exception('third')\n    return {'n': args['n']}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			a.function.Limits.Concurrency = 4
			h := a.boot(t)
			var wg sync.WaitGroup
			for n := range 4 {
				wg.Go(func() {
					id := "id" + strconv.Itoa(n)
					a, err := h.Answer(t.Context(), rouse.Invocation{ID: id, Event: rouse.Event{Data: fmt.Appendf(nil, `{"n":%d}`, n)}})
					switch {
					case err != nil:
						t.Error(err)
					case n == 3 && (a.Status != rouse.StatusFailed || a.Failure.Message != "third" && !strings.Contains(a.Failure.Message, `"message":"third"`)):
						t.Errorf("%d: %v %s %+v", n, a.Status, a.Result, a.Failure)
					case n < 3 && string(a.Result) != fmt.Sprintf(`{"n":%d}`, n):
						t.Errorf("%d: %v %s %+v", n, a.Status, a.Result, a.Failure)
					}
				})
			}
			wg.Wait()
			h.sandbox.Drain()
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, l := range h.lines {
				if n, ok := strings.CutPrefix(l.Text, "in "); ok && l.Activation != "id"+n {
					t.Errorf("%q was printed by %s", l.Text, l.Activation)
				}
			}
		})
	}
	loop := program("go:1.20", "#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read line; do echo \"$line\" | sed 's/.*\"value\":\\({[^}]*}\\).*/\\1/' >&3; done\n")
	loop.function.Limits.Concurrency = 4
	h := loop.boot(t)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() { h.expect(t, fmt.Sprintf(`{"n":%d}`, n), fmt.Sprintf(`{"n":%d}`, n)) })
	}
	wg.Wait()
}

// Code that can't be loaded says so where it would answer several at once, too.
func TestSeveralAtOnceThatDoNotLoad(t *testing.T) {
	for what, a := range map[string]action{"python": python("import nowhere"), "node": node("import nowhere")} {
		t.Run(what, func(t *testing.T) {
			a.function.Limits.Concurrency = 2
			if boot, _ := a.refused(t, rouse.StatusFailed); !strings.Contains(boot.Message, "nowhere") && !strings.Contains(boot.Message, "SyntaxError") {
				t.Errorf("%+v", boot)
			}
		})
	}
	exit := python("import sys\nsys.exit(1)")
	exit.function.Limits.Concurrency = 2
	if boot, _ := exit.refused(t, rouse.StatusCrashed); boot.Message != "The action did not initialize and exited unexpectedly." {
		t.Errorf("%+v", boot)
	}
}

// A caller is what an answer goes to.
type caller struct {
	status int
	header http.Header
	bytes.Buffer
}

func (c *caller) Start(status int, header map[string][]string) { c.status, c.header = status, header }

func TestAnHTTPRequestIsArguments(t *testing.T) {
	h := node("function main (args) { return args }").boot(t)
	in := rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte("a=1&b=ü"), HTTP: &rouse.Request{Method: "POST", Path: "/x/y", Query: "q=1&q=2",
		Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Many": {"a", "b"}}}}}
	sent := func(want string) {
		t.Helper()
		if a := h.send(t, in); string(a.Result) != want {
			t.Errorf("%s %+v, not %s", a.Result, a.Failure, want)
		}
	}
	sent(`{"__ow_method":"post","__ow_headers":{"content-type":"application/x-www-form-urlencoded","x-many":"a, b"},"__ow_path":"/x/y","__ow_query":"q=1&q=2","__ow_body":"a=1&b=ü"}`)
	in.Event.HTTP = &rouse.Request{Method: "GET", Path: "/"}
	in.Event.Data = nil
	sent(`{"__ow_method":"get","__ow_headers":{},"__ow_path":"/","__ow_query":"","__ow_body":""}`)
	in.Event.HTTP.Header = map[string][]string{"Content-Type": {"application/json; charset=utf-8"}}
	in.Event.Data = []byte("{}")
	sent(`{"__ow_method":"get","__ow_headers":{"content-type":"application/json; charset=utf-8"},"__ow_path":"/","__ow_query":"","__ow_body":"e30="}`)
	in.Event.HTTP.Header = nil
	in.Event.Data = []byte{0xff}
	sent(`{"__ow_method":"get","__ow_headers":{},"__ow_path":"/","__ow_query":"","__ow_body":"/w=="}`)

	a := node("function main (args) { return args }")
	a.note = &openwhisk.Note{Arguments: map[string]json.RawMessage{"a": []byte("1"), "__ow_path": []byte(`"mine"`)}}
	h = a.boot(t)
	in.Event.Data = nil
	sent(`{"__ow_body":"","__ow_headers":{},"__ow_method":"get","__ow_path":"/","__ow_query":"","a":1}`)
}

func TestReplies(t *testing.T) {
	h := node("function main (args) { return args.__ow_body === undefined ? args : JSON.parse(args.__ow_body) }").boot(t)
	for result, want := range map[string]struct {
		status int
		kind   string
		body   string
	}{
		`{"a":1}`:                           {200, "application/json", `{"a":1}`},
		`[1]`:                               {200, "application/json", `[1]`},
		`{"body":"<b>hi</b>"}`:              {200, "text/html; charset=utf-8", `<b>hi</b>`},
		`{"statusCode":201,"body":{"a":1}}`: {201, "application/json", `{"a":1}`},
		`{"statusCode":302,"headers":{"location":"/x","content-type":"text/plain"}}`: {302, "text/plain", ``},
		`{"headers":{"Content-Type":"image/png"},"body":"iVBO"}`:                     {200, "image/png", "\x89PN"},
		`{"headers":{"Content-Type":"application/json"},"body":"{}"}`:                {200, "application/json", `{}`},
		`{"body":null}`:       {204, "text/html; charset=utf-8", ``},
		`{"body":""}`:         {204, "text/html; charset=utf-8", ``},
		`{"statusCode":99}`:   {200, "application/json", `{"statusCode":99}`},
		`{"statusCode":"no"}`: {200, "application/json", `{"statusCode":"no"}`},
		`{"headers":{"n":5,"content-type":["a/b"]},"statusCode":200,"body":"!"}`: {200, "a/b", `!`},
	} {
		c := &caller{}
		a := h.send(t, rouse.Invocation{ID: "id", Reply: c, Event: rouse.Event{Data: []byte(result), HTTP: &rouse.Request{Method: "POST", Path: "/", Header: map[string][]string{"Content-Type": {"text/plain"}}}}})
		if c.status != want.status || c.header.Get("Content-Type") != want.kind || c.String() != want.body || a.Result != nil || a.Size != int64(len(want.body)) || a.Status != rouse.StatusAnswered {
			t.Errorf("%s: %d %v %q %+v", result, c.status, c.header, c.String(), a)
		}
	}
	several := &caller{}
	h.send(t, rouse.Invocation{Reply: several, Event: rouse.Event{Data: []byte(`{"headers":{"Set-Cookie":["a=1","b=2"],"X-N":5}}`), HTTP: &rouse.Request{Method: "POST", Path: "/"}}})
	if !slices.Equal(several.header["Set-Cookie"], []string{"a=1", "b=2"}) || several.header.Get("X-N") != "5" {
		t.Errorf("%v", several.header)
	}
	plain := &caller{}
	if a := h.send(t, rouse.Invocation{Reply: plain, Event: rouse.Event{Data: []byte(`{"statusCode":404}`)}}); plain.status != 200 || plain.String() != `{"statusCode":404}` || a.Result != nil {
		t.Errorf("%+v %s", a, plain.String())
	}
	failed := &caller{}
	if a := h.send(t, rouse.Invocation{Reply: failed, Event: rouse.Event{Data: []byte(`{"error":"x"}`)}}); failed.status != 0 || failed.Len() > 0 || string(a.Result) != `{"error":"x"}` {
		t.Errorf("%+v %+v", a, failed)
	}
}

// A function that was deployed natively has no note.
func TestAFunctionWithoutNote(t *testing.T) {
	a := python("import os\ndef main(args): return {k: v for k, v in os.environ.items() if k in ('__OW_ACTION_NAME', '__OW_ACTION_VERSION', '__OW_NAMESPACE')}\n")
	a.boot(t).expect(t, ``, `{"__OW_ACTION_NAME":"/guest/hello","__OW_ACTION_VERSION":"0.0.1","__OW_NAMESPACE":"guest"}`)
	h, err := action{function: rouse.Function{Runtime: "python3"}, files: files{"__main__.py": ""}, note: nil}.tryWithNote(t, `{"kind":5}`)
	if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "does not describe an action") {
		t.Errorf("%v", err)
	}
	<-h.sandbox.Done()
}

// What a failure says is bounded, however long the code that it is about.
func TestLongFailures(t *testing.T) {
	long := strings.Repeat("x", 500000)
	if boot, _ := node("throw new Error('"+long+"')").refused(t, rouse.StatusFailed); len(boot.Message) != 4<<10 || len(boot.Stack) != 4<<10 {
		t.Errorf("%d bytes, %d of stack", len(boot.Message), len(boot.Stack))
	}
	a := node("function main () { throw new Error('"+long+"') }").boot(t).ask(t, `{}`)
	if a.Status != rouse.StatusFailed || len(a.Failure.Message) != 4<<10 || len(a.Failure.Stack) != 4<<10 {
		t.Errorf("%v: %d bytes, %d of stack", a.Status, len(a.Failure.Message), len(a.Failure.Stack))
	}
	a = python("def main(args): raise Exception('"+long+"')").boot(t).ask(t, `{}`)
	if a.Status != rouse.StatusFailed || len(a.Failure.Message) != 4<<10 || len(a.Result) != len(`{"error":""}`)+len(long) {
		t.Errorf("%v: %d bytes, %d of result", a.Status, len(a.Failure.Message), len(a.Result))
	}
}
