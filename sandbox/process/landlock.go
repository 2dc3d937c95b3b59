package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/cgroup"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// Versions of Landlock's interface and the kernels that they came with.
const (
	landlockTruncate = 3 // Linux 6.2: rules cover truncate(2)
	landlockTCP      = 4 // Linux 6.7: rules for TCP ports
	landlockIoctl    = 5 // Linux 6.10: rules for ioctl(2) on devices
	landlockScope    = 6 // Linux 6.12: signals and abstract sockets stay inside
)

// leastLandlock is the oldest version with which the tier is safe. A function
// that has the server's own user must be kept from signalling it.
func leastLandlock(shared bool) int {
	if shared {
		return landlockScope
	}
	return landlockTruncate
}

// landlock is the tier for hosts and containers that give no namespaces: rooms
// are walled off by Landlock rules, a stricter seccomp filter, resource limits
// and, where the server is root, a user each. It sees the host's file tree,
// network and clock; see docs for what that leaves.
type landlock struct {
	Config
	version int
	shared  bool   // rooms have the server's own user
	base    string // folder that rooms may enter
	block   block
	rules   []rule // of every room
	serving []byte // seccomp program of code that listens
	slots   chan int
	views   *views
	ports   ports
	warned  atomic.Bool
	waiting sync.WaitGroup // for what ends rooms
	stop    func()

	mu   sync.Mutex
	open map[*landlockWalls]*room // guarded by mu; those whose memory is watched
}

func newLandlock(c Config, d Diagnosis) (_ *landlock, err error) {
	if err := refused(Landlock, d); err != nil {
		return nil, err
	}
	l := &landlock{Config: c, shared: os.Geteuid() != 0, open: map[*landlockWalls]*room{}, slots: make(chan int, blockSize)}
	if l.version, err = stage.LandlockVersion(); err != nil {
		return nil, err
	}
	if l.base, err = makeBase(c, l.shared); err != nil {
		return nil, fmt.Errorf("make a folder that functions may enter: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(l.base)
		}
	}()
	if l.block, err = claimBlock(l.shared); err != nil {
		return nil, err
	}
	for i := range blockSize {
		l.slots <- i
	}
	sweep(l.block.labels())
	// Those whose parent ends become ours, so that none of them is ever out of reach.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("adopt orphans: %w", err)
	}
	l.serving = landlockFilter(true, l.shared)
	l.rules = hostRules()
	l.views = newViews(filepath.Join(l.base, "code"), l.shared)
	l.watch()
	return l, nil
}

// makeBase makes an empty folder, below Config.Dir where every user can get
// there, else where temporary files are.
func makeBase(c Config, shared bool) (string, error) {
	base := filepath.Join(c.Dir, "landlock")
	if !shared && !reachable(c.Dir) {
		base = filepath.Join(os.TempDir(), "rouse-"+c.Name)
	}
	if info, err := os.Lstat(base); err == nil {
		// Anyone may have made it in a folder for temporary files.
		if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() || !info.IsDir() {
			return "", fmt.Errorf("%s is there and belongs to user %d; remove it", base, owner)
		}
		if err := removeScratch(base); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{base, filepath.Join(base, "code"), filepath.Join(base, "rooms")} {
		if err := os.Mkdir(dir, 0o711); err != nil {
			return "", err
		}
		if err := os.Chmod(dir, 0o711); err != nil { // whatever the umask
			return "", err
		}
	}
	if !shared && !reachable(base) {
		return "", fmt.Errorf("%s can't be entered by other users; set TMPDIR to a folder that can", base)
	}
	return base, nil
}

func (l *landlock) traits() traits {
	own := filepath.Join(l.base, "inside")
	return traits{name: Landlock, inside: own, own: own, filter: landlockFilter(false, l.shared), usable: l.usable}
}

// usable says whether rooms can start the interpreter at path.
func (l *landlock) usable(path string) bool {
	if l.shared || reachable(path) {
		return true
	}
	l.Log.Warn("leave out a runtime: other users can't enter its folder, and each function has its own", "path", path)
	return false
}

func (l *landlock) plan(...bind) (stage.Plan, []int, error) { return stage.Plan{Bare: true}, nil, nil }

func (l *landlock) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

func (l *landlock) group(string, cgroup.Limits) (*cgroup.Group, error) { return nil, nil }

func (l *landlock) lend(id int64) (walls, int, error) {
	select {
	case slot := <-l.slots:
		w := &landlockWalls{tier: l, id: id, slot: slot}
		return w, l.user(slot), nil
	default:
		return nil, 0, rouse.Errorf(rouse.Unavailable, "open sandbox", "", "all %d users are taken", blockSize)
	}
}

// user is that of a slot; 0 is the server's own.
func (l *landlock) user(slot int) int {
	if l.shared {
		return 0
	}
	return l.block.firstUser + slot
}

// adapt has zygotes without dependencies only: what they import would run
// behind no rules. Node can't take on rules once it runs, so it is started
// for each room.
func (l *landlock) adapt(k kind, rt rouse.Runtime, spec rouse.Spec) (kind, error) {
	f := spec.Function
	if f.Egress {
		return k, rouse.Errorf(rouse.NotImplemented, "open sandbox", f.Ref.String(),
			"egress can't be kept from this host's loopback in the isolation tier landlock; deploy it without, or run the server where namespaces are allowed (rouse doctor says what to change)")
	}
	if spec.Access != nil || len(f.Allow) > 0 {
		return k, rouse.Errorf(rouse.NotImplemented, "open sandbox", f.Ref.String(),
			"a function can't be given access to the platform in the isolation tier landlock, where it has no network of its own; deploy it without allow, or run the server where namespaces are allowed (rouse doctor says what to change)")
	}
	if spec.Program.Mode == rouse.ModeServe && l.version < landlockTCP {
		return k, rouse.Errorf(rouse.NotImplemented, "open sandbox", f.Ref.String(),
			"a function that listens needs Linux 6.7 or later in the isolation tier landlock; deploy it with another contract, or update the kernel")
	}
	k.deps = ""
	if k.how == "node" {
		k.how = "worker"
		if spec.Program.Mode == rouse.ModeServe {
			k.how = "program"
		}
	}
	return k, nil
}

// place puts the bundle where the room's user can read it, and makes its
// scratch folder, its port and its rules.
func (l *landlock) place(s *sandbox, k kind, rt rouse.Runtime, spec rouse.Spec) (p place, err error) {
	w := s.walls.(*landlockWalls)
	if w.view, err = l.views.open(spec.Code, spec.Deps, rt.Family == "node"); err != nil {
		return p, err
	}
	w.scratch = filepath.Join(l.base, "rooms", fmt.Sprint(w.id))
	p = place{code: w.view.code, deps: w.view.deps, tmp: w.scratch, data: uint64(w.memory+slack) + codeRange(rt)}
	if k.how == "python" { // forked, and so already what it will be
		if err := lower(s.pid, unix.RLIMIT_DATA, p.data); err != nil {
			return p, err
		}
	}
	if err := os.Mkdir(w.scratch, 0o700); err != nil {
		return p, err
	}
	if !l.shared {
		if err := os.Chown(w.scratch, s.user, s.user); err != nil {
			return p, err
		}
	}
	if spec.Program.Mode == rouse.ModeServe {
		if p.port, err = l.ports.take(); err != nil {
			return p, err
		}
		w.told, w.port, p.filter = spec.Program.Port, p.port, l.serving
		if !l.warned.Swap(true) {
			l.Log.Warn("functions that listen share the host's network in the isolation tier landlock: one that binds 0.0.0.0 instead of 127.0.0.1 can be reached from outside")
		}
	}
	fd, err := l.ruleset(s, rt, p)
	if err != nil {
		return p, err
	}
	p.fds = []int{fd}
	l.mu.Lock()
	l.open[w] = s.room
	l.mu.Unlock()
	return p, nil
}

func (l *landlock) close() error {
	l.waiting.Wait()
	l.stop()
	for _, r := range l.rules {
		_ = unix.Close(r.fd)
	}
	return errors.Join(removeScratch(l.base), l.block.release())
}

// ports are those that functions are told to listen on.
type ports struct {
	mu    sync.Mutex
	last  int          // guarded by mu
	taken map[int]bool // guarded by mu
}

// Ports are taken in turn from below those that the kernel gives to outgoing
// connections.
const (
	firstPort = 20000
	lastPort  = 32000
)

// take finds a port that nobody listens on.
func (p *ports) take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == nil {
		p.taken, p.last = map[int]bool{}, firstPort+os.Getpid()%(lastPort-firstPort)
	}
	for range lastPort - firstPort {
		p.last++
		if p.last > lastPort {
			p.last = firstPort
		}
		if p.taken[p.last] {
			continue
		}
		probe, err := net.Listen("tcp", fmt.Sprintf(":%d", p.last))
		if err != nil {
			continue
		}
		_ = probe.Close()
		p.taken[p.last] = true
		return p.last, nil
	}
	return 0, rouse.Errorf(rouse.Unavailable, "open sandbox", "", "all ports from %d to %d are taken", firstPort, lastPort)
}

func (p *ports) release(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, port)
}
