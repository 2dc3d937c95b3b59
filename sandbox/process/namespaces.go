package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/cgroup"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// firstUser and users are the host's ids that stand behind those inside.
const (
	firstUser = 300000
	users     = 65536
)

// namespaces is the tier of namespaces and control groups.
type namespaces struct {
	Config
	tree    *cgroup.Tree
	users   chan int
	waiting sync.WaitGroup // for what ends rooms
}

func newNamespaces(c Config, d Diagnosis) (*namespaces, error) {
	if err := refused(Namespaces, d); err != nil {
		return nil, err
	}
	n := &namespaces{Config: c, users: make(chan int, users-2000)}
	for id := 1000; id < cap(n.users)+1000; id++ {
		n.users <- id
	}
	var err error
	if n.tree, err = cgroup.Open(c.Name); err != nil {
		return nil, fmt.Errorf("open control groups: %w", err)
	}
	return n, nil
}

func (n *namespaces) traits() traits {
	return traits{name: Namespaces, inside: filepath.Join(n.Dir, "inside"), own: "/rouse", filter: functionFilter(),
		usable: func(string) bool { return true }}
}

func (n *namespaces) plan(more ...bind) (stage.Plan, []int, error) { return root(more...) }

func (n *namespaces) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: firstUser, Size: users}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: firstUser, Size: users}},
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
		Pdeathsig:                  syscall.SIGKILL,
	}
}

func (n *namespaces) group(name string, l cgroup.Limits) (*cgroup.Group, error) {
	g, err := n.tree.Create(name)
	if err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	if err := g.Set(l); err != nil {
		return nil, errors.Join(fmt.Errorf("limit a control group: %w", err), g.Close())
	}
	return g, nil
}

func (n *namespaces) lend(id int64) (walls, int, error) {
	var user int
	select {
	case user = <-n.users:
	default:
		return nil, 0, rouse.Errorf(rouse.Unavailable, "open sandbox", "", "all %d users are taken", cap(n.users))
	}
	group, err := n.group(fmt.Sprintf("room-%d", id), usual)
	if err != nil {
		n.users <- user
		return nil, 0, err
	}
	return &namespaceWalls{tier: n, user: user, group: group}, user, nil
}

func (n *namespaces) adapt(k kind, _ rouse.Runtime, _ rouse.Spec) (kind, error) { return k, nil }

// place mounts, or has the code of ours inside mount, the bundle at /fn and its
// dependencies at /deps.
func (n *namespaces) place(s *sandbox, k kind, rt rouse.Runtime, spec rouse.Spec) (place, error) {
	p := place{code: "/fn", tmp: "/tmp", port: spec.Program.Port, mounts: []string{"/fn"}}
	if spec.Deps != "" {
		p.deps = "/deps"
	}
	if err := s.connect(spec.Function.Egress, spec.Access); err != nil {
		return p, err
	}
	code, err := detach(spec.Code, readOnly)
	if err != nil {
		return p, err
	}
	p.fds = []int{code}
	from := spec.Deps
	if from == "" && spec.Access != nil && rt.Family == "node" {
		from = filepath.Join(n.traits().inside, filepath.Dir(nodeModules)) // import, unlike require, looks nowhere else
	}
	if from != "" && k.deps == "" {
		deps, err := detach(from, readOnly)
		if err != nil {
			_ = unix.Close(code)
			return p, err
		}
		p.fds, p.mounts = append(p.fds, deps), append(p.mounts, "/deps")
	}
	if k.how != "node" {
		return p, nil
	}
	err = s.furnish(p.fds, p.mounts, spec.Function.Limits.Tmp)
	closeAll(p.fds)
	p.fds = nil
	return p, err
}

func (n *namespaces) close() error {
	n.waiting.Wait()
	return n.tree.Close()
}

// usual are the limits that rooms wait with; a function that has the same
// saves the time to set them.
var usual = limits(rouse.Limits{Memory: 256 << 20, Processes: 64})

// limits are a function's, as the kernel takes them: the processor is shared
// by memory, 256 MB being the usual part.
func limits(l rouse.Limits) cgroup.Limits {
	return cgroup.Limits{Memory: l.Memory, Processes: l.Processes, Weight: int(min(10000, max(1, l.Memory*100/(256<<20))))}
}

// namespaceWalls are a user, a control group and the namespaces of the room's
// first process.
type namespaceWalls struct {
	tier  *namespaces
	user  int
	group *cgroup.Group
	seen  atomic.Int64 // processes killed for want of memory, when that was last asked
}

func (w *namespaceWalls) cgroup() int { return w.group.FD() }

func (w *namespaceWalls) enter(r *room) error { return w.group.Add(r.pid) }

func (w *namespaceWalls) limit(_ *room, l rouse.Limits) error { return w.group.Set(limits(l)) }

func (w *namespaceWalls) usage(*room) rouse.Usage {
	now, peak := w.group.Memory()
	u := rouse.Usage{Memory: now, Peak: peak, CPU: w.group.CPU(), OOM: w.group.OOM()}
	w.seen.Store(int64(u.OOM))
	return u
}

func (w *namespaceWalls) dial(ctx context.Context, r *room, port int) (net.Conn, error) {
	var c net.Conn
	err := r.inside(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		return err
	})
	return c, err
}

// kill ends the first process of a pid namespace, which takes all others along.
func (w *namespaceWalls) kill(r *room) {
	if r.pidfd >= 0 {
		_ = unix.PidfdSendSignal(r.pidfd, unix.SIGKILL, nil, 0)
	}
}

// clear looks at what the kernel did. Who was killed was killed for that; who
// ended otherwise may have had a child killed long ago.
func (w *namespaceWalls) clear(r *room) bool {
	n := int64(w.group.OOM())
	return n > 0 && (r.exit.Signal == "SIGKILL" || n > w.seen.Load())
}

func (w *namespaceWalls) free() {
	w.tier.waiting.Go(func() {
		if err := w.group.Close(); err != nil {
			w.tier.Log.Warn("remove a control group", "error", err)
		}
		w.tier.users <- w.user // only now is nothing left that has it
	})
}
