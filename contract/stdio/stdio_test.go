package stdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/wasm"
)

// shared is where all tests keep the program, as built and as compiled again.
var shared string

func TestMain(m *testing.M) {
	var err error
	if shared, err = os.MkdirTemp("", "stdio"); err != nil {
		panic(err)
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(shared, "code", "main.wasm"), "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(shared)
	os.Exit(code)
}

// platform is a real driver and a real program.
type platform struct {
	driver   *wasm.Driver
	spec     rouse.Spec
	patience time.Duration
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	d, err := wasm.New(wasm.Config{CacheDir: filepath.Join(shared, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return &platform{driver: d, spec: rouse.Spec{Code: filepath.Join(shared, "code"), Program: Contract{}.Program(rouse.Function{}), Function: rouse.Function{
		Ref: rouse.Ref{Namespace: "default", Name: "guest"}, Code: "guest", Handler: "main.wasm",
		Limits: rouse.Limits{Memory: 32 << 20, Answer: 1 << 20},
	}}}
}

func (p *platform) boot(t *testing.T) rouse.Instance {
	t.Helper()
	s, err := p.driver.Open(t.Context(), p.spec)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Contract{Patience: p.patience}.Boot(t.Context(), p.spec.Function, s, func(rouse.Line) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// A reply is a rouse.Reply that keeps what it gets.
type reply struct {
	starts int
	kind   string
	pieces []string
	err    error
}

func (r *reply) Start(status int, h map[string][]string) {
	r.starts++
	r.kind = h["Content-Type"][0]
}

func (r *reply) Write(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.pieces = append(r.pieces, string(b))
	return len(b), nil
}

func event(text string) rouse.Invocation {
	return rouse.Invocation{Event: rouse.Event{Data: []byte(text)}}
}

func TestAnswer(t *testing.T) {
	p := newPlatform(t)
	for in, want := range map[string]struct {
		status  rouse.Status
		result  string
		kind    string
		failure string
		says    string
	}{
		`echo {"a":1}`:     {rouse.StatusAnswered, `{"a":1}`, "", "", ""},
		"echo hällo":       {rouse.StatusAnswered, "hällo", "text/plain; charset=utf-8", "", ""},
		"echo \xff\xfe":    {rouse.StatusAnswered, "\xff\xfe", "application/octet-stream", "", ""},
		"nothing":          {rouse.StatusAnswered, "", "text/plain; charset=utf-8", "", ""},
		"exit 3":           {rouse.StatusFailed, "", "", "Exit", "code 3"},
		"grow":             {rouse.StatusOutOfMemory, "", "", "OutOfMemory", "memory"},
		"huge":             {rouse.StatusFailed, "", "", "AnswerTooLarge", "limit of 1048576 bytes"},
		"echo " + long(20): {rouse.StatusAnswered, long(20), "text/plain; charset=utf-8", "", ""},
		"echo " + long(21): {rouse.StatusFailed, "", "", "AnswerTooLarge", ""},
	} {
		a, err := p.boot(t).Answer(t.Context(), event(in))
		if err != nil {
			t.Fatal(err)
		}
		failure, says := "", ""
		if a.Failure != nil {
			failure, says = a.Failure.Type, a.Failure.Message
		}
		if a.Status != want.status || string(a.Result) != want.result || a.ContentType != want.kind || failure != want.failure ||
			!strings.Contains(says, want.says) || a.Status == rouse.StatusAnswered && a.Size != int64(len(want.result)) {
			t.Errorf("%.20s: got %v %.20q %q %s: %s (%d bytes), want %+v", in, a.Status, a.Result, a.ContentType, failure, says, a.Size, want)
		}
	}
}

// long is a text of 2 to the nth bytes.
func long(n int) string { return strings.Repeat("x", 1<<n) }

func TestAnswerIsStreamed(t *testing.T) {
	p := newPlatform(t)
	p.patience = time.Hour
	for in, want := range map[string]struct {
		pieces, kind string
		status       rouse.Status
		starts       int
	}{
		"words one two":  {"onetwo", "text/plain; charset=utf-8", rouse.StatusAnswered, 1},
		"pages a b":      {strings.Repeat("a", 70<<10) + "|" + strings.Repeat("b", 70<<10), "text/plain; charset=utf-8", rouse.StatusAnswered, 1},
		"pages \xff b":   {strings.Repeat("\xff", 70<<10) + "|" + strings.Repeat("b", 70<<10), "application/octet-stream", rouse.StatusAnswered, 1},
		`echo [1]`:       {"[1]", "application/json", rouse.StatusAnswered, 1},
		"words \xff two": {"\xfftwo", "application/octet-stream", rouse.StatusAnswered, 1},
		"nothing":        {"", "text/plain; charset=utf-8", rouse.StatusAnswered, 1},
		"exit 3":         {"", "", rouse.StatusFailed, 0},      // half an answer is none
		"grow":           {"", "", rouse.StatusOutOfMemory, 0}, // the door may still say so
	} {
		r := &reply{}
		ev := event(in)
		ev.Reply = r
		a, err := p.boot(t).Answer(t.Context(), ev)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.pieces, "|"); got != want.pieces || r.kind != want.kind || a.Status != want.status || r.starts != want.starts || a.Result != nil {
			t.Errorf("%s: got %.50q %q %v, %d starts, result %.50q, want %.200s", in, got, r.kind, a.Status, r.starts, a.Result, fmt.Sprintf("%+v", want))
		}
	}
	ev := event("huge")
	ev.Reply = &reply{err: errors.New("gone")}
	a, err := p.boot(t).Answer(t.Context(), ev)
	if err != nil || a.Status != rouse.StatusFailed || a.Failure.Type != "ReplyClosed" {
		t.Errorf("got %+v, %v", a, err)
	}
}

// ending is a Reply that ends a context once something was written.
type ending struct {
	reply
	cancel context.CancelFunc
}

func (e *ending) Write(b []byte) (int, error) { e.cancel(); return e.reply.Write(b) }

func TestContextEnds(t *testing.T) {
	i := newPlatform(t).boot(t)
	ctx, cancel := context.WithCancel(t.Context())
	ev := event("spin")
	ev.Reply = &ending{cancel: cancel}
	if _, err := i.Answer(ctx, ev); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWhole(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abc", "ä": "ä", "aä\xc3": "aä", "\xe2\x82": "", "€\xf0\x9f\x98": "€", "\xff": "\xff", "\x80": "\x80"} {
		if got := string(whole([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
