package process

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// landlockWalls are a user, where the server is root, a label, a scratch
// folder, and rules.
type landlockWalls struct {
	tier *landlock
	id   int64
	slot int

	view       *view // nil until the room is a function's
	scratch    string
	told, port int   // the port that the contract asks for, and the real one
	memory     int64 // limit
	processes  int   // limit

	proc int // holds the room's entry of /proc, which a rule is about; 0 is none

	labelled atomic.Bool
	held     atomic.Int64 // bytes when last looked
	peak     atomic.Int64
	starved  atomic.Bool
}

// slack is what a process may map beyond its memory limit, which counts what
// is used: interpreters map more than they touch.
const slack = 256 << 20

// codeRange is what an interpreter maps besides, writable from its start, for
// nothing but the code that it compiles: 512 MB since the V8 of Node 23.
func codeRange(rt rouse.Runtime) uint64 {
	if rt.Family == "node" && compareVersions(rt.Version, "23.0.0") >= 0 {
		return 512 << 20
	}
	return 0
}

// openFiles bounds the descriptors of a process.
const openFiles = 4096

// sharedProcesses bounds what a user without powers has running at all while
// the watch has not yet seen that one room makes too many.
const sharedProcesses = 8192

func (w *landlockWalls) cgroup() int { return -1 }

func (w *landlockWalls) enter(*room) error { return nil }

func (w *landlockWalls) label() uint64 { return w.tier.block.labels().first + uint64(w.slot) }

// limit sets what the kernel bounds of each process, while it is still ours.
func (w *landlockWalls) limit(r *room, l rouse.Limits) error {
	w.memory, w.processes = l.Memory, l.Processes
	w.labelled.Store(true)
	limits := map[int]uint64{
		unix.RLIMIT_MSGQUEUE: w.label(),
		unix.RLIMIT_FSIZE:    uint64(l.Tmp),
		unix.RLIMIT_NOFILE:   openFiles,
		unix.RLIMIT_CORE:     0,
	}
	limits[unix.RLIMIT_NPROC] = uint64(l.Processes)
	if w.tier.shared { // its processes are counted all together: see look
		limits[unix.RLIMIT_NPROC] = sharedProcesses
	}
	for resource, n := range limits {
		if err := lower(r.pid, resource, n); err != nil {
			return err
		}
	}
	return nil
}

// lower sets a limit of a process, where it was not lower already.
func lower(pid, resource int, n uint64) error {
	var old unix.Rlimit
	err := unix.Prlimit(pid, resource, nil, &old)
	if err == nil {
		n = min(n, old.Max)
		err = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: n, Max: n}, nil)
	}
	return os.NewSyscallError("prlimit", err)
}

// usage is that of the room's first process, and of the others when they were
// last looked at.
func (w *landlockWalls) usage(r *room) rouse.Usage {
	u := rouse.Usage{Memory: max(w.held.Load(), resident(r.pid)), CPU: processorTime(r.pid)}
	u.Peak = max(w.peak.Load(), u.Memory)
	if w.starved.Load() {
		u.OOM = 1
	}
	return u
}

func (w *landlockWalls) dial(ctx context.Context, _ *room, port int) (net.Conn, error) {
	if port != w.told || w.port == 0 {
		return nil, rouse.Errorf(rouse.Invalid, "dial", strconv.Itoa(port), "the function was not told to listen there")
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)))
}

func (w *landlockWalls) kill(r *room) {
	if r.pidfd >= 0 {
		_ = unix.PidfdSendSignal(r.pidfd, unix.SIGKILL, nil, 0)
	}
	if w.labelled.Load() {
		w.killAll()
	}
}

// killAll signals all that runs in the room, and says whether there was any.
func (w *landlockWalls) killAll() bool {
	if !w.tier.shared {
		user := w.tier.user(w.slot)
		if _, err := unix.Getpriority(unix.PRIO_USER, user); errors.Is(err, unix.ESRCH) {
			return false
		}
		// In one step that no fork escapes; the kernel does not say whether it hit any.
		if err := w.asUser(func() error { return unix.Kill(-1, unix.SIGKILL) }); err != nil {
			w.tier.Log.Error("kill a function's processes", "user", user, "error", err)
		}
		return true
	}
	pids := members(labels{w.label(), w.label()})[w.label()]
	for _, pid := range pids {
		// What it forks meanwhile has this limit, and so forks no more.
		_ = unix.Prlimit(pid, unix.RLIMIT_NPROC, &unix.Rlimit{}, nil)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return len(pids) > 0
}

// measure is what processes hold together. What forks share is looked at only
// where it matters: that takes the kernel a millisecond for each.
func (w *landlockWalls) measure(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		sum += resident(pid)
	}
	if sum <= w.memory || len(pids) == 1 {
		return sum
	}
	_ = w.asUser(func() error {
		sum = 0
		for _, pid := range pids {
			sum += share(pid)
		}
		return nil
	})
	return sum
}

// asUser runs f on a thread with no other powers than the room's user has.
func (w *landlockWalls) asUser(f func() error) error {
	if w.tier.shared {
		return f()
	}
	const kept = ^uintptr(0)
	group := uintptr(os.Getgid())
	become := func(call, id, saved uintptr) error {
		if _, _, e := unix.RawSyscall(call, id, id, saved); e != 0 {
			return e
		}
		return nil
	}
	return onThread(func() error {
		id := uintptr(w.tier.user(w.slot))
		if err := become(unix.SYS_SETRESGID, id, kept); err != nil {
			return err
		}
		if err := become(unix.SYS_SETRESUID, id, kept); err != nil {
			return err
		}
		err := f()
		// Back by the saved user: a thread that lives on would count as that user's.
		return errors.Join(err, become(unix.SYS_SETRESUID, 0, 0), become(unix.SYS_SETRESGID, group, group))
	})
}

// clear kills and reaps what the first process left behind.
func (w *landlockWalls) clear(r *room) bool {
	w.tier.mu.Lock()
	delete(w.tier.open, w)
	w.tier.mu.Unlock()
	if !w.labelled.Load() {
		return false
	}
	for pause := 100 * time.Microsecond; w.killAll(); pause = min(2*pause, 10*time.Millisecond) {
		left := members(labels{w.label(), w.label()})[w.label()]
		living := slices.ContainsFunc(left, alive)
		reap(left, -1) // after the look: one that ends between the two has another turn
		if !living {
			break // the rest is for an init to reap that a former server left it to
		}
		time.Sleep(pause) // nothing tells of the end of those that are not our children
	}
	// A process that was refused memory mostly ends itself by a signal.
	return w.starved.Load() || r.exit.Signal != "" && w.memory > 0 && w.peak.Load() >= w.memory/10*9
}

// reap lets go of those of pids that ended and, their parent having ended too,
// had become ours; first is waited for by others.
func reap(pids []int, first int) {
	for _, pid := range pids {
		if pid != first {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

func (w *landlockWalls) free() {
	l := w.tier
	l.waiting.Go(func() {
		if w.scratch != "" {
			if err := removeScratch(w.scratch); err != nil {
				l.Log.Warn("remove a scratch folder", "error", err)
			}
		}
		if w.proc > 0 {
			_ = unix.Close(w.proc)
		}
		if w.view != nil {
			l.views.release(w.view)
		}
		if w.port != 0 {
			l.ports.release(w.port)
		}
		l.slots <- w.slot
	})
}

// removeScratch removes a folder that a function may have made hard to enter.
func removeScratch(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	open(dir)
	return os.RemoveAll(dir)
}

// open makes the folders below dir ours to enter and to change, through
// descriptors: dir's content is foreign, and may hold links to anywhere.
func open(dir string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer root.Close()
	openAll(root)
}

func openAll(root *os.Root) {
	f, err := root.Open(".")
	if err != nil {
		return
	}
	entries, _ := f.ReadDir(-1)
	_ = f.Close()
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		_ = root.Chmod(e.Name(), 0o700)
		if below, err := root.OpenRoot(e.Name()); err == nil {
			openAll(below)
			_ = below.Close()
		}
	}
}

// watch looks at the memory of all rooms, often at their first processes and
// less often at all, and ends those that hold more than they may.
func (l *landlock) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.look(n%10 == 0)
			}
		}
	}()
}

// look measures each room once; all its processes, where it says so.
func (l *landlock) look(all bool) {
	l.mu.Lock()
	rooms := make(map[*landlockWalls]*room, len(l.open))
	for w, r := range l.open {
		rooms[w] = r
	}
	l.mu.Unlock()
	if len(rooms) == 0 {
		return
	}
	var by map[uint64][]int
	if all {
		by = members(l.block.labels())
	}
	for w, r := range rooms {
		held, processes := resident(r.pid), 1
		if all {
			held, processes = w.measure(by[w.label()]), len(by[w.label()])
			w.held.Store(held)
			reap(by[w.label()], r.pid)
		}
		w.peak.Store(max(w.peak.Load(), held))
		switch {
		case w.memory > 0 && held > w.memory:
			w.starved.Store(true)
		case l.shared && w.processes > 0 && processes > w.processes:
			l.Log.Warn("end a function with too many processes", "processes", processes, "limit", w.processes)
		default:
			continue
		}
		w.killAll()
	}
}
