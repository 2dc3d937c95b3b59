package process_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/native"
	"github.com/rouse-run/rouse/sandbox/process"
)

// A platform is what a function reaches: it says its name and what it was asked.
type platform struct {
	name     string
	accepted atomic.Int32
	asked    atomic.Int32
	ended    chan struct{}
	full     chan struct{} // gets one each time that as many as may be are open
	waits    chan struct{} // gets one for each request that waits for its end
	idle     time.Duration // after which a connection is closed; 0 is never
	idled    chan struct{} // gets one for each that was
}

func newPlatform(name string) *platform {
	return &platform{name: name, ended: make(chan struct{}), full: make(chan struct{}, 1), waits: make(chan struct{}, 1), idled: make(chan struct{}, 10)}
}

const bound = 64 // connections of one sandbox

// Accept counts.
type counting struct {
	net.Listener
	*platform
}

func (c counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil && c.accepted.Add(1) == bound {
		c.full <- struct{}{}
	}
	return conn, err
}

func (p *platform) access() *rouse.Access {
	return &rouse.Access{Token: "token of " + p.name, Serve: func(l net.Listener) {
		defer close(p.ended)
		var open sync.WaitGroup
		server := http.Server{Handler: p, IdleTimeout: p.idle, ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Done()
				if p.idle > 0 {
					p.idled <- struct{}{}
				}
			}
		}}
		_ = server.Serve(counting{l, p})
		open.Wait()
	}}
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	if r.URL.Path == "/wait" {
		p.waits <- struct{}{}
		<-r.Context().Done()
		return
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, `{"platform":%q,"path":%q,"token":%q,"body":%q}`, p.name, r.URL.Path, r.Header.Get("Authorization"), body)
}

func (p *platform) boot(t testing.TB, f rouse.Function, files map[string]string) *house {
	t.Helper()
	h, err := tryWith(t, drivers[process.Namespaces], f, files, p.access())
	if err != nil {
		t.Fatalf("%v\n%s", err, h.printed())
	}
	return h
}

func (p *platform) evil(t testing.TB) *house {
	t.Helper()
	return p.boot(t, rouse.Function{Runtime: "python3", Handler: "main.main"}, python)
}

const get = `
from http.client import HTTPConnection
def get(path):
    c = HTTPConnection(os.environ['ROUSE_API'][7:])
    c.request('GET', path, headers={'Authorization': 'Bearer ' + os.environ['ROUSE_TOKEN']})
    return json.loads(c.getresponse().read())
`

func TestWithoutAccessNothingListens(t *testing.T) {
	h := evil(t, drivers[process.Namespaces], rouse.Limits{})
	h.expect(t, "r = attempt(lambda: socket.create_connection(('127.0.0.1', 8700), 2))", `"ECONNREFUSED"`)
	h.expect(t, "r = [k for k in os.environ if k in ('ROUSE_API', 'ROUSE_TOKEN')]", `[]`)
}

func TestAccessReachesItsPlatformAndNothingElse(t *testing.T) {
	a, b := newPlatform("a"), newPlatform("b")
	for _, p := range []*platform{a, b} {
		p.evil(t).expect(t, get+"r = get('/x')", fmt.Sprintf(`{"platform":%q,"path":"/x","token":"Bearer token of %s","body":""}`, p.name, p.name))
	}
	if a.asked.Load() != 1 || b.asked.Load() != 1 {
		t.Errorf("a was asked %d times, b %d", a.asked.Load(), b.asked.Load())
	}
	h := newPlatform("c").evil(t)
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	port := host.Addr().(*net.TCPAddr).Port
	h.expect(t, fmt.Sprintf("r = attempt(lambda: socket.create_connection(('127.0.0.1', %d), 2))", port), `"ECONNREFUSED"`)
	h.expect(t, "r = attempt(lambda: socket.create_connection(('192.0.2.1', 80), 2))", `"ENETUNREACH"`)
	h.expect(t, "r = attempt(lambda: socket.create_server(('0.0.0.0', 8700)))", `"EADDRINUSE"`)
}

func TestTheHostCanNotConnectToAnAccess(t *testing.T) {
	p := newPlatform("inside")
	p.evil(t)
	c, err := net.Dial("tcp", "127.0.0.1:8700")
	if err != nil {
		return // nothing of the host's listens there
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if strings.Contains(string(body), "inside") {
			t.Error("the host reached the listener in a sandbox")
		}
	}
}

// Access holds for every way in which code is run.
func TestAccessInEveryMode(t *testing.T) {
	d := drivers[process.Namespaces]
	t.Run("node", func(t *testing.T) {
		p := newPlatform("node")
		p.boot(t, rouse.Function{Runtime: "nodejs", Handler: "main.main"}, map[string]string{"main.js": `
exports.main = async () => (await (await fetch(process.env.ROUSE_API + '/x')).json()).platform`}).expect(t, nil, `"node"`)
	})
	once := func(rt string, files map[string]string, handler, want string) {
		t.Run(rt, func(t *testing.T) {
			p := newPlatform(rt)
			f := function(rouse.Function{Runtime: rt, Handler: handler, Contract: "stdio"})
			s, err := d.Open(t.Context(), rouse.Spec{Function: f, Code: code(t, files), Program: rouse.Program{Mode: rouse.ModeOnce}, Log: func(l rouse.Line) { t.Log(l.Text) }, Access: p.access()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var out strings.Builder
			if status, err := s.Run(t.Context(), rouse.Input{Body: strings.NewReader("")}, &out); err != nil || status != 0 || out.String() != want {
				t.Errorf("%d %v %q", status, err, out.String())
			}
		})
	}
	once("python3", map[string]string{"main.py": "import urllib.request as u, os\nprint(u.urlopen(os.environ['ROUSE_API'] + '/y').read().decode())"}, "main.py",
		`{"platform":"python3","path":"/y","token":"","body":""}`+"\n")
	once("executable", map[string]string{"run": "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/${ROUSE_API##*:}\nprintf 'GET /%s HTTP/1.0\\r\\n\\r\\n' \"${ROUSE_TOKEN// /-}\" >&3\ntail -n 1 <&3"}, "run",
		`{"platform":"executable","path":"/token-of-executable","token":"","body":""}`)
}

// What is left of an access when its sandbox has ended, however busy, is nothing.
func TestAnAccessEndsWithItsSandbox(t *testing.T) {
	for range 3 {
		p := newPlatform("p")
		h := p.evil(t)
		h.expect(t, `
sys.kept = [socket.create_connection(('127.0.0.1', 8700), 2) for _ in range(5)]
sys.kept[0].send(b'GET /wait HTTP/1.1\r\nHost: x\r\n\r\n')
sys.kept[1].send(b'POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n')
sys.kept[2].send(b'GE')
r = 1`, `1`)
		<-p.waits
		_ = h.Close()
		<-p.ended
	}
	sockets, goroutines := 0, ""
	for range 1000 { // what served a connection has said so before it ends itself
		if sockets, goroutines = left(t); sockets == 0 && goroutines == "" {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d sockets are left, and\n%s", sockets, goroutines)
}

// left counts the process's internet sockets, and returns the goroutines that
// serve them.
func left(t *testing.T) (sockets int, goroutines string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_INET {
			sockets++
		}
	}
	buf := make([]byte, 1<<20)
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "(*access") || strings.Contains(g, "http.(*conn).serve") {
			goroutines += g + "\n\n"
		}
	}
	return sockets, goroutines
}

// A function that opens all connections that it can harms itself alone.
func TestAFloodOfConnectionsIsBounded(t *testing.T) {
	p, other := newPlatform("flooded"), newPlatform("other")
	h, calm := p.evil(t), other.evil(t)
	h.expect(t, `
flood = []
for _ in range(1000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(('127.0.0.1', 8700))
    flood.append(s)
sys.flood = flood
r = len(flood)`, `1000`)
	<-p.full
	calm.expect(t, get+"r = get('/')['platform']", `"other"`)
	if n := p.accepted.Load(); n != bound {
		t.Errorf("%d connections are open at once, not %d", n, bound)
	}
	h.expect(t, get+"for s in sys.flood: s.close()\nr = get('/')['platform']", `"flooded"`)
}

func TestLandlockGivesNoAccess(t *testing.T) {
	d := drivers[process.Landlock]
	for what, c := range map[string]struct {
		allow  []string
		access *rouse.Access
	}{"with access": {nil, newPlatform("p").access()}, "allowed": {[]string{"table:t r"}, nil}} {
		_, err := tryWith(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Allow: c.allow}, python, c.access)
		if rouse.KindOf(err) != rouse.NotImplemented || !strings.Contains(err.Error(), "landlock") {
			t.Errorf("%s: %v", what, err)
		}
		f := function(rouse.Function{Runtime: "python3", Handler: "main.main", Allow: c.allow})
		err = d.Prepare(context.Background(), rouse.Spec{Function: f, Code: code(t, python), Program: native.Contract{}.Program(f), Access: c.access})
		if rouse.KindOf(err) != rouse.NotImplemented {
			t.Errorf("%s: prepared: %v", what, err)
		}
	}
}

func TestTheClientIsThereAndAUsersOwnWins(t *testing.T) { each(t, testTheClientIsThere) }

func testTheClientIsThere(t *testing.T, d *process.Driver) {
	for _, rt := range d.Runtimes() {
		use, own, file := "import rouse\ndef main():\n    try:\n        rouse.table('t').get({'a': 1})\n    except rouse.Error as e:\n        return e.kind\n",
			"import rouse\ndef main(): return rouse.mine\n", "rouse.py"
		mine := "mine = 'mine'\n"
		switch rt.Family {
		case "node":
			use = "const rouse = require('rouse'); exports.main = () => rouse.table('t').get({ a: 1 }).catch(e => e.kind)"
			own, file, mine = "exports.main = () => require('rouse').mine", "node_modules/rouse.js", "exports.mine = 'mine'"
		case "python":
		default:
			continue
		}
		main := map[string]string{"node": "main.js", "python": "main.py"}[rt.Family]
		t.Run(rt.Name, func(t *testing.T) {
			boot(t, d, rouse.Function{Runtime: rt.Name, Handler: "main.main"}, map[string]string{main: use}).expect(t, nil, `"denied"`)
			dir := code(t, map[string]string{main: own})
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(mine), 0o644); err != nil {
				t.Fatal(err)
			}
			f := function(rouse.Function{Runtime: rt.Name, Handler: "main.main"})
			h := &house{}
			var err error
			if h.sandbox, err = d.Open(t.Context(), rouse.Spec{Function: f, Code: dir, Program: native.Contract{}.Program(f), Log: h.log}); err != nil {
				t.Fatal(err)
			}
			defer h.sandbox.Close()
			if h.Instance, err = (native.Contract{}).Boot(t.Context(), f, h.sandbox, h.log); err != nil {
				t.Fatalf("%v\n%s", err, h.printed())
			}
			h.expect(t, nil, `"mine"`)
		})
	}
}

func TestAModuleImportsTheClient(t *testing.T) {
	p := newPlatform("p")
	p.boot(t, rouse.Function{Runtime: "nodejs", Handler: "main.main"}, map[string]string{"main.mjs": `
import rouse, { bucket } from 'rouse'
export const main = async () => [rouse.bucket === bucket, JSON.parse(await bucket('b').get('a b/c')).path]`}).expect(t, nil, `[true,"/v1/buckets/b/objects/a b/c"]`)
}

// With installed packages, import finds the client among them, and they can't
// lead it elsewhere.
func TestInstalledPackagesHaveTheClient(t *testing.T) {
	d, out := drivers[process.Namespaces], t.TempDir()
	if err := d.Install(t.Context(), process.Installation{Runtime: "nodejs", Code: code(t, map[string]string{"package.json": `{"dependencies":{"is-number":"7.0.0"}}`}), Out: out}); err != nil {
		t.Fatal(err)
	}
	h, f, p := &house{}, function(rouse.Function{Runtime: "nodejs", Handler: "main.main"}), newPlatform("p")
	var err error
	h.sandbox, err = d.Open(t.Context(), rouse.Spec{Function: f, Deps: out, Program: native.Contract{}.Program(f), Log: h.log, Access: p.access(), Code: code(t, map[string]string{
		"main.mjs": "import rouse from 'rouse'\nimport isNumber from 'is-number'\nexport const main = async () => [isNumber(1), typeof rouse.table]"})})
	if err != nil {
		t.Fatal(err)
	}
	defer h.sandbox.Close()
	if h.Instance, err = (native.Contract{}).Boot(t.Context(), f, h.sandbox, h.log); err != nil {
		t.Fatalf("%v\n%s", err, h.printed())
	}
	h.expect(t, nil, `[true,"function"]`)

	elsewhere := t.TempDir()
	evil := fmt.Sprintf(`{"dependencies":{"is-number":"7.0.0"},"scripts":{"postinstall":"rm -rf node_modules && ln -s %s node_modules"}}`, elsewhere)
	out = t.TempDir()
	if err := d.Install(t.Context(), process.Installation{Runtime: "nodejs", Code: code(t, map[string]string{"package.json": evil}), Out: out}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(out, "node_modules")); err != nil || to != elsewhere {
		t.Fatalf("the packages made no link: %q %v", to, err)
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
		t.Errorf("%v %v was written outside", entries, err)
	}
}

// A connection that the platform has closed meanwhile is no failure.
func TestTheClientOutlivesItsConnections(t *testing.T) {
	for rt, files := range map[string]map[string]string{
		"python3": {"main.py": "import rouse\ndef main(event): return rouse.bucket('b').get(event).decode()[:15]\n"},
		"nodejs":  {"main.js": "const rouse = require('rouse'); exports.main = async event => String(await rouse.bucket('b').get(event)).slice(0, 15)"},
	} {
		t.Run(rt, func(t *testing.T) {
			p := newPlatform("p")
			p.idle = time.Millisecond
			h := p.boot(t, rouse.Function{Runtime: rt, Handler: "main.main"}, files)
			for range 5 {
				h.expect(t, "k", `"{\"platform\":\"p\""`)
				<-p.idled
			}
			if n := p.accepted.Load(); n != 5 {
				t.Errorf("%d connections", n)
			}
		})
	}
}
