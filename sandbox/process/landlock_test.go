package process_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	contracthttp "github.com/rouse-run/rouse/contract/http"
	"github.com/rouse-run/rouse/contract/native"
	"github.com/rouse-run/rouse/contract/stdio"
	"github.com/rouse-run/rouse/sandbox/process"
)

// What a room of the landlock tier could reach, for want of namespaces, were
// it not for the filter and the rules. Numbers are those of x86-64.
func TestWithoutNamespacesTheHostIsOutOfReach(t *testing.T) {
	unreachable(t, drivers[process.Landlock])
}

func unreachable(t *testing.T, d *process.Driver) {
	h := evil(t, d, rouse.Limits{})
	neighbour := evil(t, d, rouse.Limits{})
	neighbour.expect(t, "open(TMP + '/secret', 'w').write('x'); r = 1", "1")
	a := neighbour.ask(t, "r = [os.getpid(), TMP, CODE]")
	other := strings.Trim(string(a.Result), "[]")
	parts := strings.Split(other, ",")
	pid, tmp, bundle := parts[0], strings.Trim(parts[1], `"`), strings.Trim(parts[2], `"`)
	for what, c := range map[string]struct{ code, want string }{
		"a neighbour's file":       {fmt.Sprintf("r = attempt(lambda: open(%q).read())", tmp+"/secret"), "EACCES"},
		"a neighbour's folder":     {fmt.Sprintf("r = attempt(lambda: os.listdir(%q))", tmp), "EACCES"},
		"writing there":            {fmt.Sprintf("r = attempt(lambda: open(%q, 'w'))", tmp+"/mine"), "EACCES"},
		"a neighbour's code":       {fmt.Sprintf("r = attempt(lambda: open(%q).read())", bundle+"/main.py"), "EACCES"},
		"a neighbour's signal":     {fmt.Sprintf("r = attempt(lambda: os.kill(%s, 0))", pid), "EPERM"},
		"the server's signal":      {fmt.Sprintf("r = attempt(lambda: os.kill(%d, 0))", os.Getpid()), "EPERM"},
		"a neighbour's secrets":    {fmt.Sprintf("r = attempt(lambda: open('/proc/%s/environ', 'rb').read())", pid), "EACCES"},
		"a neighbour's memory":     {fmt.Sprintf("r = attempt(lambda: open('/proc/%s/mem', 'rb').read(1))", pid), "EACCES"},
		"a neighbour's arguments":  {fmt.Sprintf("r = attempt(lambda: open('/proc/%s/cmdline', 'rb').read())", pid), "EACCES"},
		"a neighbour's pipes":      {fmt.Sprintf("r = attempt(lambda: os.open('/proc/%s/fd/1', os.O_WRONLY))", pid), "EACCES"},
		"a neighbour's limits":     {fmt.Sprintf("import resource; r = attempt(lambda: resource.prlimit(%s, resource.RLIMIT_NOFILE, (0, 0)))", pid), "EPERM"},
		"a neighbour's processors": {fmt.Sprintf("r = attempt(lambda: os.sched_setaffinity(%s, [0]))", pid), "EPERM"},
		"a neighbour's priority":   {fmt.Sprintf("r = attempt(lambda: os.setpriority(os.PRIO_PROCESS, %s, 19))", pid), "EPERM"},
		"its user's priority":      {"r = attempt(lambda: os.setpriority(os.PRIO_USER, 0, 19))", "EPERM"},
		"the server's secrets":     {fmt.Sprintf("r = attempt(lambda: open('/proc/%d/environ', 'rb').read())", os.Getpid()), "EACCES"},
		"the list of processes":    {"r = attempt(lambda: os.listdir('/proc'))", "EACCES"},
		"the host's folders":       {"r = attempt(lambda: os.listdir('/'))", "EACCES"},
		"the host's users":         {"r = attempt(lambda: open('/etc/passwd').read())", "EACCES"},
		"the shared /tmp":          {"r = attempt(lambda: open('/tmp/x', 'w'))", "EACCES"},
		"shared memory":            {"r = attempt(lambda: open('/dev/shm/x', 'w'))", "EACCES"},
		"its terminal":             {"r = attempt(lambda: open('/dev/tty', 'w'))", "EACCES"},
		"its own priority in dire": {"r = attempt(lambda: open('/proc/self/oom_score_adj', 'w'))", "EACCES"},
		"cutting a file short":     {"r = attempt(lambda: os.truncate(CODE + '/main.py', 0))", "EACCES"},
		"linking its code":         {"r = attempt(lambda: os.link(CODE + '/main.py', TMP + '/l')) in ('EACCES', 'EPERM', 'EXDEV') and 'refused'", "refused"},
		"its label, old call":      {call(unix.SYS_SETRLIMIT, "12, b'\\0' * 16"), "EPERM"},
		"living on":                {call(unix.SYS_PRCTL, "1, 0, 0, 0, 0"), "EPERM"},
		"a lease":                  {"import fcntl; f = open(CODE + '/main.py'); r = attempt(lambda: fcntl.fcntl(f, 1024, fcntl.F_RDLCK))", "EPERM"},
		"a message queue":          {call(unix.SYS_MQ_OPEN, "b'/q', 0o102, 0o600, 0"), "EPERM"},
		"shared memory, System V":  {call(unix.SYS_SHMGET, "1, 4096, 0o1777"), "EPERM"},
		"semaphores, System V":     {call(unix.SYS_SEMGET, "1, 1, 0o1777"), "EPERM"},
		"messages, System V":       {call(unix.SYS_MSGGET, "1, 0o1777"), "EPERM"},
		"memory that is a file":    {call(unix.SYS_MEMFD_CREATE, "b'x', 0"), "EPERM"},
		"a watch on the host":      {call(unix.SYS_INOTIFY_ADD_WATCH, "0, b'/tmp', 0xfff"), "EPERM"},
		"TCP":                      {"r = attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).fileno())", "EAFNOSUPPORT"},
		"UDP":                      {"r = attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).fileno())", "EAFNOSUPPORT"},
		"IPv6":                     {"r = attempt(lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).fileno())", "EAFNOSUPPORT"},
		"sockets of the host":      {"r = attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).fileno())", "EAFNOSUPPORT"},
		"netlink":                  {"r = attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).fileno())", "EAFNOSUPPORT"},
	} {
		t.Run(what, func(t *testing.T) { h.expect(t, c.code, strconv.Quote(c.want)) })
	}
	neighbour.expect(t, "r = open(TMP + '/secret').read()", `"x"`)
}

// A function that listens has TCP, with its own port and nothing else.
func TestAListenerHasOnePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h := under(t, drivers[process.Landlock], contracthttp.Contract{}, rouse.Function{Runtime: "python3", Handler: "main.py", Contract: "http"},
		code(t, map[string]string{"main.py": `
import http.server, os, socket, errno, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def attempt(f):
    try: return str(f())
    except OSError as e: return errno.errorcode[e.errno]
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        out = attempt(lambda: eval(self.rfile.read(int(self.headers['Content-Length'])))).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(out))); self.end_headers(); self.wfile.write(out)
    def log_message(self, *a): pass
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()
`}))
	port := l.Addr().(*net.TCPAddr).Port
	for what, c := range map[string]struct{ code, want string }{
		"the host's loopback":  {fmt.Sprintf("socket.create_connection(('127.0.0.1', %d), 2)", port), "EACCES"},
		"the internet":         {"socket.create_connection(('192.0.2.1', 80), 2)", "EACCES"},
		"by sending":           {fmt.Sprintf("socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', %d))", port), "EPERM"},
		"by a message":         {fmt.Sprintf("socket.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', %d))", port), "EPERM"},
		"another port":         {"socket.create_server(('127.0.0.1', 31999))", "EACCES"},
		"any port":             {"socket.create_server(('127.0.0.1', 0))", "EACCES"},
		"MPTCP":                {"socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)", "EAFNOSUPPORT"},
		"SCTP":                 {"socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)", "EAFNOSUPPORT"},
		"SMC":                  {"socket.socket(socket.AF_INET, socket.SOCK_STREAM, 256)", "EAFNOSUPPORT"},
		"UDP":                  {"socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "EAFNOSUPPORT"},
		"a raw socket":         {"socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "EAFNOSUPPORT"},
		"a socket of the host": {"socket.socket(socket.AF_UNIX)", "EAFNOSUPPORT"},
	} {
		t.Run(what, func(t *testing.T) {
			a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte(c.code)}})
			if err != nil || string(a.Result) != c.want {
				t.Errorf("%v %s, not %s", err, a.Result, c.want)
			}
		})
	}
}

func TestLandlockRefusesWhatItCantKeepSafe(t *testing.T) {
	d := drivers[process.Landlock]
	_, err := try(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Egress: true}, python)
	if rouse.KindOf(err) != rouse.NotImplemented || !strings.Contains(err.Error(), "egress") {
		t.Errorf("egress: %v", err)
	}
	err = d.Install(t.Context(), process.Installation{Runtime: "python3", Code: code(t, map[string]string{"requirements.txt": "six\n"}), Out: t.TempDir()})
	if rouse.KindOf(err) != rouse.NotImplemented {
		t.Errorf("install: %v", err)
	}
}

func TestIsolationThatIsNone(t *testing.T) {
	if _, err := open(t.TempDir(), "firecracker"); rouse.KindOf(err) != rouse.Invalid {
		t.Errorf("%v", err)
	}
}

// What is left when a room is closed: no process, however it hid, and no file.
func TestAClosedRoomLeavesNothing(t *testing.T) {
	for range 30 { // what ends between two looks was left once in a hundred times
		leavesNothing(t, drivers[process.Landlock])
	}
}

// hide leaves processes that have nothing in common any more with the one that
// made them, and returns the scratch folder and their numbers.
const hide = `
def hide():
    come, go = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        os.write(go, b'%d ' % os.getpid())
        libc.prctl(4, 0, 0, 0, 0)
        os.closerange(0, 100)
        time.sleep(1000)
    return int(os.read(come, 10))
os.makedirs(TMP + '/closed/inside')
os.mkdir(TMP + '/shut', 0)
r = [TMP] + [hide() for _ in range(3)]
`

func leavesNothing(t *testing.T, d *process.Driver) {
	for _, how := range []string{"close", "exit"} {
		h := evil(t, d, rouse.Limits{})
		a := h.ask(t, hide)
		var left []any
		if err := json.Unmarshal(a.Result, &left); err != nil || len(left) != 4 {
			t.Fatalf("%s %+v", a.Result, a.Failure)
		}
		for _, pid := range left[1:] {
			if err := unix.Kill(int(pid.(float64)), 0); err != nil {
				t.Errorf("%s: %v: %v", how, pid, err)
			}
		}
		if how == "exit" {
			h.ask(t, "os._exit(3)")
			<-h.sandbox.Done()
		}
		_ = h.Close()
		for _, pid := range left[1:] {
			// It was killed; its parent, which is not we, has yet to hear of it.
			eventuallyGone(t, fmt.Sprintf("/proc/%d", int(pid.(float64))))
		}
		eventuallyGone(t, left[0].(string))
	}
}

// eventuallyGone waits for the end of a folder, which is removed aside, or of a
// process's.
func eventuallyGone(t *testing.T, dir string) {
	t.Helper()
	for t.Context().Err() == nil {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		time.Sleep(time.Millisecond) // nothing tells of it
	}
}

func TestPackagesBesideTheCode(t *testing.T) {
	deps := t.TempDir()
	for file, content := range map[string]string{"answer.py": "value = 42\n", "node_modules/answer/index.js": "module.exports = 42\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(deps, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(deps, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	each(t, func(t *testing.T, d *process.Driver) {
		for what, c := range map[string]struct {
			runtime string
			files   map[string]string
		}{
			"python":      {"python3", map[string]string{"main.py": "import answer\ndef main(): return answer.value\n"}},
			"node":        {"nodejs", map[string]string{"main.js": "exports.main = () => require('answer')"}},
			"node module": {"nodejs", map[string]string{"main.mjs": "import answer from 'answer'\nexport const main = () => answer"}},
		} {
			t.Run(what, func(t *testing.T) {
				h := &house{}
				f := function(rouse.Function{Runtime: c.runtime, Handler: "main.main"})
				f.Deps = rouse.DigestOf([]byte(deps))
				var k native.Contract
				s, err := d.Open(t.Context(), rouse.Spec{Function: f, Code: code(t, c.files), Deps: deps, Program: k.Program(f), Log: h.log})
				if err != nil {
					t.Fatal(err)
				}
				h.sandbox = s
				defer s.Close()
				if h.Instance, err = k.Boot(t.Context(), f, s, h.log); err != nil {
					t.Fatal(err)
				}
				h.expect(t, nil, `42`)
			})
		}
	})
}

// greets answers hello with a worker of each kind and an executable.
func greets(t *testing.T, d *process.Driver) {
	for rt, files := range hello {
		t.Run(rt, func(t *testing.T) {
			h := boot(t, d, rouse.Function{Runtime: rt, Handler: "main.main"}, files)
			h.expect(t, map[string]string{"name": "ada"}, `{"hello":"ada"}`)
		})
	}
	t.Run("executable", func(t *testing.T) {
		h := under(t, d, stdio.Contract{}, rouse.Function{Runtime: "executable", Handler: "run.sh", Contract: "stdio"},
			code(t, map[string]string{"run.sh": "#!/bin/sh\nprintf 'hello '; cat\n"}))
		a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte("ada")}})
		if err != nil || string(a.Result) != "hello ada" {
			t.Errorf("%v %+v %q\n%s", err, a, a.Result, h.printed())
		}
	})
}
