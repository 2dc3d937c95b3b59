package process_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process"
)

// python is a Python function whose code does what the event says: it runs the
// event's text and returns the variable r.
var python = map[string]string{"main.py": `
import os, sys, ctypes, socket, time, errno, json
libc = ctypes.CDLL(None, use_errno=True)
CODE, TMP = os.path.dirname(os.path.abspath(__file__)), os.environ['TMPDIR']
def call(number, *args):
    "Makes a system call; 0 or the name of its error."
    r = libc.syscall(number, *args)
    return 0 if r >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(f):
    try:
        return f()
    except OSError as e:
        return errno.errorcode[e.errno]
def main(event):
    names = dict(globals())
    exec(event, names)
    return names.get('r')
`}

func evil(t testing.TB, d *process.Driver, l rouse.Limits) *house {
	t.Helper()
	return boot(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Limits: l}, python)
}

// call is code that makes a system call.
func call(number int, arguments string) string {
	return fmt.Sprintf("r = call(%d, %s)", number, arguments)
}

// System calls that must fail, and how.
func TestForbiddenCallsFail(t *testing.T) { each(t, testForbiddenCallsFail) }

func testForbiddenCallsFail(t *testing.T, d *process.Driver) {
	h := evil(t, d, rouse.Limits{})
	for what, c := range map[string]struct{ code, want, landlock string }{
		"clone3":               {call(unix.SYS_CLONE3, "0, 0"), `"ENOSYS"`, ""},
		"clone newuser":        {call(unix.SYS_CLONE, "0x10000000 | 17, 0, 0, 0, 0"), `"EPERM"`, ""},
		"unshare":              {call(unix.SYS_UNSHARE, "0x10000000"), `"EPERM"`, ""},
		"setns":                {call(unix.SYS_SETNS, "0, 0"), `"EPERM"`, ""},
		"mount":                {call(unix.SYS_MOUNT, "b'x', TMP.encode(), b'tmpfs', 0, 0"), `"EPERM"`, ""},
		"umount":               {call(unix.SYS_UMOUNT2, "TMP.encode(), 2"), `"EPERM"`, ""},
		"move_mount":           {call(unix.SYS_MOVE_MOUNT, "-1, b'', -1, b'', 0"), `"EPERM"`, ""},
		"pivot_root":           {call(unix.SYS_PIVOT_ROOT, "b'/', b'/'"), `"EPERM"`, ""},
		"chroot":               {call(unix.SYS_CHROOT, "b'/'"), `"EPERM"`, ""},
		"ptrace":               {call(unix.SYS_PTRACE, "0, 0, 0, 0"), `"EPERM"`, ""},
		"process_vm_readv":     {call(unix.SYS_PROCESS_VM_READV, "1, 0, 0, 0, 0, 0"), `"EPERM"`, ""},
		"bpf":                  {call(unix.SYS_BPF, "0, 0, 0"), `"EPERM"`, ""},
		"keyctl":               {call(unix.SYS_KEYCTL, "0, 0, 0, 0, 0"), `"EPERM"`, ""},
		"add_key":              {call(unix.SYS_ADD_KEY, "b'user', b'x', b'y', 1, -1"), `"EPERM"`, ""},
		"perf_event_open":      {call(unix.SYS_PERF_EVENT_OPEN, "0, 0, -1, -1, 0"), `"EPERM"`, ""},
		"io_uring_setup":       {call(unix.SYS_IO_URING_SETUP, "1, 0"), `"EPERM"`, ""},
		"userfaultfd":          {call(unix.SYS_USERFAULTFD, "0"), `"EPERM"`, ""},
		"open_by_handle_at":    {call(unix.SYS_OPEN_BY_HANDLE_AT, "0, 0, 0"), `"EPERM"`, ""},
		"kexec_load":           {call(unix.SYS_KEXEC_LOAD, "0, 0, 0, 0"), `"EPERM"`, ""},
		"init_module":          {call(unix.SYS_INIT_MODULE, "0, 0, 0"), `"EPERM"`, ""},
		"reboot":               {call(unix.SYS_REBOOT, "0, 0, 0, 0"), `"EPERM"`, ""},
		"swapon":               {call(unix.SYS_SWAPON, "b'/tmp/x', 0"), `"EPERM"`, ""},
		"settimeofday":         {call(unix.SYS_SETTIMEOFDAY, "0, 0"), `"EPERM"`, ""},
		"syslog":               {call(unix.SYS_SYSLOG, "3, 0, 0"), `"EPERM"`, ""},
		"x32 getpid":           {"r = call(0x40000000 | 39)", `"ENOSYS"`, ""},
		"vsock":                {"r = attempt(lambda: socket.socket(40, socket.SOCK_STREAM).fileno())", `"EAFNOSUPPORT"`, ""},
		"packet socket":        {"r = attempt(lambda: socket.socket(17, socket.SOCK_RAW).fileno())", `"EAFNOSUPPORT"`, ""},
		"raw socket":           {"r = attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno())", `"EPERM"`, `"EAFNOSUPPORT"`},
		"setuid":               {"r = attempt(lambda: os.setuid(0))", `"EPERM"`, ""},
		"a file in the root":   {"r = attempt(lambda: open('/x', 'w'))", `"EROFS"`, `"EACCES"`},
		"a file in /usr":       {"r = attempt(lambda: open('/usr/x', 'w'))", `"EROFS"`, `"EACCES"`},
		"a file in its code":   {"r = attempt(lambda: open(CODE + '/x', 'w'))", `"EROFS"`, `"EACCES"`},
		"chmod of its code":    {"r = attempt(lambda: os.chmod(CODE + '/main.py', 0o777))", `"EROFS"`, `"EPERM"`},
		"a device":             {"r = attempt(lambda: os.mknod(TMP + '/d', 0o20666, os.makedev(1, 3)))", `"EPERM"`, `"EACCES"`},
		"the host's files":     {"r = attempt(lambda: os.listdir('/var/lib'))", `"ENOENT"`, `"EACCES"`},
		"the host's passwords": {"r = attempt(lambda: open('/etc/shadow').read())", `"ENOENT"`, `"EACCES"`},
		"a sysctl":             {"r = attempt(lambda: open('/proc/sys/kernel/hostname', 'w').write('x'))", `"EACCES"`, ""},
		"the kernel's log":     {"r = attempt(lambda: open('/proc/kmsg', 'rb').read(1))", `"EACCES"`, ""},
		"the way out":          {"r = attempt(lambda: os.listdir('/proc/1/root/var/lib'))", `"ENOENT"`, `"EACCES"`},
		"the internet":         {"r = attempt(lambda: socket.create_connection(('192.0.2.1', 80), 2))", `"ENETUNREACH"`, `"EAFNOSUPPORT"`},
	} {
		if d.Isolation() == process.Landlock && c.landlock != "" {
			c.want = c.landlock
		}
		t.Run(what, func(t *testing.T) { h.expect(t, c.code, c.want) })
	}
}

func TestWhatASandboxIsLike(t *testing.T) { each(t, testWhatASandboxIsLike) }

func testWhatASandboxIsLike(t *testing.T, d *process.Driver) {
	cases := map[string]struct{ code, want string }{
		"no capabilities": {"r = [l.split()[1] for l in open('/proc/self/status') if l.startswith('Cap') and not l.startswith('CapBnd')]", `["0000000000000000","0000000000000000","0000000000000000","0000000000000000"]`},
		"no new ones":     {"r = [l.split()[1] for l in open('/proc/self/status') if l.startswith('NoNewPrivs')]", `["1"]`},
		"own user":        {"r = os.getuid() >= 1000 and os.getuid() == os.geteuid() == os.getgid() and os.getgroups() == []", `true`},
		"its descriptors": {"r = sorted(os.readlink('/proc/self/fd/' + f).split(':')[0] for f in os.listdir('/proc/self/fd') if int(f) > 2 and os.path.exists('/proc/self/fd/' + f))", `["pipe","pipe"]`},
		"tmp":             {"open(TMP + '/x', 'w').write('y'); r = open(TMP + '/x').read()", `"y"`},
		"a folder of tmp": {"os.makedirs(TMP + '/a/b'); open(TMP + '/a/x', 'w'); os.rename(TMP + '/a/x', TMP + '/a/b/y'); os.chmod(TMP + '/a/b/y', 0o600); r = os.listdir(TMP + '/a/b')", `["y"]`},
		"a program":       {"f = open(TMP + '/p', 'w'); f.write('#!/bin/sh\\necho ran'); f.close(); os.chmod(TMP + '/p', 0o755); import subprocess; r = subprocess.run([TMP + '/p'], capture_output=True, text=True).stdout", `"ran\n"`},
		"threads":         {"import threading; l = []; t = threading.Thread(target=lambda: l.append(1)); t.start(); t.join(); r = l", `[1]`},
		"subprocess":      {"import subprocess; r = subprocess.run(['sh', '-c', 'echo $((6*7))'], capture_output=True, text=True).stdout", `"42\n"`},
		"a pair":          {"a, b = socket.socketpair(); a.send(b'x'); r = b.recv(1).decode()", `"x"`},
		"nothing":         {"open('/dev/null', 'w').write('x'); r = len(open('/dev/urandom', 'rb').read(8))", `8`},
		"gives way":       {"r = os.sched_getscheduler(0) == os.SCHED_BATCH", `true`},
		"its home":        {"r = os.environ['HOME'] == TMP and os.getcwd() == CODE", `true`},
	}
	if d.Isolation() == process.Namespaces {
		maps.Copy(cases, map[string]struct{ code, want string }{
			"alone":         {"r = sorted(p for p in os.listdir('/proc') if p.isdigit())", `["1"]`},
			"bounded":       {"r = [l.split()[1] for l in open('/proc/self/status') if l.startswith('CapBnd')]", `["0000000000000000"]`},
			"own host name": {"r = os.uname().nodename", `"rouse"`},
			"loopback":      {"s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname(), 2); r = 'up'", `"up"`},
			"cgroup hidden": {"r = os.path.exists('/sys/fs/cgroup')", `false`},
			"shared memory": {"import multiprocessing; q = multiprocessing.Value('i', 7); r = q.value", `7`},
		})
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) { evil(t, d, rouse.Limits{}).expect(t, c.code, c.want) })
	}
}

// ends asks for something that the instance does not survive.
func ends(t *testing.T, d *process.Driver, l rouse.Limits, code string, status rouse.Status, message string) {
	t.Helper()
	h := evil(t, d, l)
	a := h.ask(t, code)
	if a.Status != status || a.Failure == nil || !strings.Contains(a.Failure.Message, message) {
		t.Errorf("%v %+v, not %v %q", a.Status, a.Failure, status, message)
	}
	select {
	case <-h.sandbox.Done():
	case <-time.After(10 * time.Second):
		t.Error("the sandbox lives on")
	}
}

func TestTheEndsOfAFunction(t *testing.T) { each(t, testTheEndsOfAFunction) }

func testTheEndsOfAFunction(t *testing.T, d *process.Driver) {
	for what, c := range map[string]struct {
		code    string
		status  rouse.Status
		message string
	}{
		"sys.exit":      {"sys.exit(3)", rouse.StatusCrashed, "code 3"},
		"os._exit":      {"os._exit(4)", rouse.StatusCrashed, "code 4"},
		"segfault":      {"ctypes.string_at(0)", rouse.StatusCrashed, "SIGSEGV"},
		"abort":         {"os.abort()", rouse.StatusCrashed, "SIG"},
		"memory":        {"x = []\nwhile True: x.append(bytearray(1 << 20))", rouse.StatusOutOfMemory, "more memory than its limit"},
		"closes pipes":  {"os.closerange(0, 100); time.sleep(60)", rouse.StatusCrashed, "closed its connection"},
		"garbage":       {"[os.write(fd, b'\\xff' * 64) for fd in range(3, 10) if attempt(lambda: os.fstat(fd)) not in ('EBADF',) and attempt(lambda: os.write(fd, b'')) == 0]; time.sleep(60)", rouse.StatusFailed, "limit"},
		"short garbage": {"[os.write(fd, b'\\x01\\0\\0\\0' * 64) for fd in range(3, 10) if attempt(lambda: os.write(fd, b'')) == 0]; time.sleep(60)", rouse.StatusCrashed, "wrote to its connection"},
	} {
		t.Run(what, func(t *testing.T) {
			ends(t, d, rouse.Limits{}, c.code, c.status, c.message)
		})
	}
}

func TestAFailureLeavesTheInstanceAlive(t *testing.T) { each(t, testAFailureLeavesTheInstanceAlive) }

func testAFailureLeavesTheInstanceAlive(t *testing.T, d *process.Driver) {
	full := map[string]string{process.Namespaces: "No space left", process.Landlock: "File too large"}[d.Isolation()]
	h := evil(t, d, rouse.Limits{Answer: 1 << 20})
	for what, c := range map[string]struct{ code, kind, message string }{
		"exception": {"raise ValueError('no luck')", "ValueError", "no luck"},
		"not JSON":  {"r = object()", "NotJSON", "not JSON"},
		"NaN":       {"r = float('nan')", "NotJSON", "not JSON"},
		"recursion": {"def f(): f()\nf()", "RecursionError", "recursion"},
		"too large": {"r = 'x' * (2 << 20)", "AnswerTooLarge", "limit is 1048576"},
		"fills tmp": {"f = open(TMP + '/big', 'wb', 0)\nwhile True: f.write(b'x' * 65536)", "OSError", full},
		"syntax":    {"if", "SyntaxError", ""},
	} {
		t.Run(what, func(t *testing.T) {
			a := h.ask(t, c.code)
			if a.Status != rouse.StatusFailed || a.Failure.Type != c.kind || !strings.Contains(a.Failure.Message, c.message) {
				t.Errorf("%v %+v", a.Status, a.Failure)
			}
			if what == "exception" && (!strings.Contains(a.Failure.Stack, `File "/fn/main.py"`) || strings.Contains(a.Failure.Stack, "/rouse/")) {
				t.Errorf("the stack is not the function's own:\n%s", a.Failure.Stack)
			}
			h.ask(t, "import glob; [os.remove(f) for f in glob.glob(TMP + '/*')]")
			h.expect(t, "r = 1", "1")
		})
	}
}

func TestForksWithoutEndAreBounded(t *testing.T) { each(t, testForksWithoutEndAreBounded) }

func testForksWithoutEndAreBounded(t *testing.T, d *process.Driver) {
	h := evil(t, d, rouse.Limits{Processes: 64})
	a := h.ask(t, `
n = 0
try:
    while n < 10000:
        if os.fork() == 0: time.sleep(1000)
        n += 1
except BlockingIOError: r = n
`)
	if a.Status != rouse.StatusAnswered || string(a.Result) > "64" && len(a.Result) > 2 {
		t.Errorf("%v %s %+v", a.Status, a.Result, a.Failure)
	}
	pids := h.sandbox.Usage()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	<-h.sandbox.Done()
	if pids.Memory == 0 {
		t.Error("no usage was measured")
	}
}

func TestAFunctionThatNeverReturnsIsEnded(t *testing.T) {
	each(t, testAFunctionThatNeverReturnsIsEnded)
}

func testAFunctionThatNeverReturnsIsEnded(t *testing.T, d *process.Driver) {
	for what, code := range map[string]string{
		"loop":  "while True: pass",
		"sleep": "time.sleep(1000)",
		"stubborn": "import signal\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)\n  except OSError: pass\n" +
			"if os.fork() == 0:\n  os.setsid()\n  while True: time.sleep(1)\nwhile True: time.sleep(1)",
	} {
		t.Run(what, func(t *testing.T) {
			h := evil(t, d, rouse.Limits{})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := h.Answer(ctx, rouse.Invocation{ID: "id", Event: rouse.Event{Data: fmt.Appendf(nil, "%q", code)}})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v", err)
			}
			_ = h.Close()
			<-h.sandbox.Done()
		})
	}
}

func TestAFloodOfLogsIsCarried(t *testing.T) { each(t, testAFloodOfLogsIsCarried) }

func testAFloodOfLogsIsCarried(t *testing.T, d *process.Driver) {
	h := evil(t, d, rouse.Limits{})
	h.expect(t, "for i in range(20000): print('x' * 100)\nr = 1", "1")
	h.sandbox.Drain()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lines) != 20000 {
		t.Errorf("%d lines came", len(h.lines))
	}
}

func TestTheHostsLoopbackIsOutOfReach(t *testing.T) {
	d := drivers[process.Namespaces]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reached := make(chan struct{}, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			reached <- struct{}{}
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	code := fmt.Sprintf("r = attempt(lambda: socket.create_connection(('127.0.0.1', %d), 2))", port)
	for _, egress := range []bool{false, true} {
		h := boot(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Egress: egress}, python)
		h.expect(t, code, `"ECONNREFUSED"`)
		// The link-local address of cloud metadata services.
		a := h.ask(t, "r = attempt(lambda: socket.create_connection(('169.254.169.254', 80), 2).recv(1))")
		if a.Status == rouse.StatusAnswered && !strings.Contains(string(a.Result), "E") {
			t.Errorf("egress %v: link-local answered %s", egress, a.Result)
		}
	}
	select {
	case <-reached:
		t.Error("a function reached the host's loopback")
	default:
	}
}

func TestEgressReachesOtherAddresses(t *testing.T) {
	d := drivers[process.Namespaces]
	// An address of this host that is not loopback stands for the world.
	var ip string
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			ip = n.IP.String()
		}
	}
	if ip == "" {
		t.Skip("this host has no address but loopback")
	}
	l, err := net.Listen("tcp4", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("welcome"))
			_ = c.Close()
		}
	}()
	code := fmt.Sprintf("r = attempt(lambda: socket.create_connection(('%s', %d), 2).recv(100).decode())", ip, l.Addr().(*net.TCPAddr).Port)
	for egress, want := range map[bool]string{false: `"ENETUNREACH"`, true: `"welcome"`} {
		h := boot(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Egress: egress}, python)
		h.expect(t, code, want)
	}
}

// ownFrame is what tells nobody more of code.
var ownFrame = regexp.MustCompile(`\bat .*(shim_|worker\.)|shim_native\.` + "[A-Z]")

func TestCodeThatCantBeLoadedSaysWhy(t *testing.T) { each(t, testCodeThatCantBeLoadedSaysWhy) }

func testCodeThatCantBeLoadedSaysWhy(t *testing.T, d *process.Driver) {
	for what, c := range map[string]struct {
		runtime, handler, file, code string
		status                       rouse.Status
		kind, message                string
	}{
		"no module":        {"python3", "other.main", "main.py", "", rouse.StatusFailed, "ModuleNotFoundError", "other"},
		"no function":      {"python3", "main.handle", "main.py", "def main(): pass", rouse.StatusFailed, "HandlerNotFound", "it has: main"},
		"syntax":           {"python3", "main.main", "main.py", "def main(:", rouse.StatusFailed, "SyntaxError", ""},
		"import":           {"python3", "main.main", "main.py", "import nothing_here", rouse.StatusFailed, "ModuleNotFoundError", "nothing_here"},
		"raises":           {"python3", "main.main", "main.py", "1/0", rouse.StatusFailed, "ZeroDivisionError", "division"},
		"exits":            {"python3", "main.main", "main.py", "import os; os._exit(9)", rouse.StatusCrashed, "Crashed", "code 9"},
		"node no module":   {"nodejs", "other.main", "main.js", "", rouse.StatusFailed, "HandlerNotFound", "main.js"},
		"node no function": {"nodejs", "main.handle", "main.js", "exports.main = () => 1", rouse.StatusFailed, "HandlerNotFound", "it exports: main"},
		"node syntax":      {"nodejs", "main.main", "main.js", "exports.main = (", rouse.StatusFailed, "SyntaxError", ""},
		"node import":      {"nodejs", "main.main", "main.js", "require('nothing-here')", rouse.StatusFailed, "Error", "nothing-here"},
		"node exits":       {"nodejs", "main.main", "main.js", "process.exit(9)", rouse.StatusCrashed, "Crashed", "code 9"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := try(t, d, rouse.Function{Runtime: c.runtime, Handler: c.handler}, map[string]string{c.file: c.code})
			var b *rouse.BootError
			if !errors.As(err, &b) || b.Status != c.status || b.Type != c.kind || !strings.Contains(b.Message, c.message) || ownFrame.MatchString(b.Stack) {
				t.Errorf("%v\n%s", err, b.Stack)
			}
		})
	}
}

func TestALoadThatNeverEndsIsTimedOut(t *testing.T) { each(t, testALoadThatNeverEndsIsTimedOut) }

func testALoadThatNeverEndsIsTimedOut(t *testing.T, d *process.Driver) {
	_, err := try(t, d, rouse.Function{Runtime: "python3", Handler: "main.main", Limits: rouse.Limits{Timeout: rouse.Duration(300 * time.Millisecond)}},
		map[string]string{"main.py": "while True: pass"})
	var b *rouse.BootError
	if !errors.As(err, &b) || b.Status != rouse.StatusTimedOut {
		t.Errorf("%v", err)
	}
}

func TestClosedSandboxesLeaveNothing(t *testing.T) { each(t, testClosedSandboxesLeaveNothing) }

func testClosedSandboxesLeaveNothing(t *testing.T, d *process.Driver) {
	const rounds = 40
	fds := len(entries(t, "/proc/self/fd"))
	for range rounds {
		h := evil(t, d, rouse.Limits{})
		h.expect(t, "r = [os.fork() or time.sleep(1000) for _ in range(5)] and 1", "1")
		_ = h.Close()
	}
	// Meanwhile rooms are made ahead, a few of each kind.
	if now := len(entries(t, "/proc/self/fd")); now >= fds+rounds {
		t.Errorf("%d descriptors before %d sandboxes, %d after", fds, rounds, now)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
