package process

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/cgroup"
)

// zygoteMemory bounds a zygote: imports are foreign code.
const zygoteMemory = 2 << 30

// preloaded are the parts of the standard library that a base zygote imports
// ahead: those that functions use most, as far as they cost little memory, for
// a fork costs by the page.
var preloaded = strings.Fields("abc argparse asyncio base64 bisect collections contextlib copy csv dataclasses datetime decimal " +
	"email.message email.parser email.utils enum fractions functools glob hashlib heapq hmac html http http.client inspect io itertools json " +
	"logging math operator os pathlib pickle queue random re secrets shutil signal socket ssl statistics string struct " +
	"subprocess tempfile textwrap threading time traceback types typing urllib.error urllib.parse urllib.request uuid weakref zlib")

// A zygote is a warm Python interpreter with one set of dependencies, of which
// instances are forked.
type zygote struct {
	driver  *Driver
	cmd     *exec.Cmd
	control *net.UnixConn
	group   *cgroup.Group
	log     *tap
	reading sync.WaitGroup
	reap    func() // kills and waits, once

	mu    sync.Mutex
	rooms map[int64]*room // guarded by mu; nil once the zygote has ended
	send  sync.Mutex      // one request at a time
}

// setup is a zygote's first message.
type setup struct {
	Deps       bool     `json:"deps"`
	Preload    []string `json:"preload"`
	Shims      []string `json:"shims"`
	Filter     string   `json:"filter"`     // of the children, in hex
	Namespaces bool     `json:"namespaces"` // the children get some
}

// report is what a zygote says.
type report struct {
	Up     int    `json:"up"`
	ID     int64  `json:"id"`
	Status int    `json:"status"`
	Error  string `json:"error"`
}

// newZygote starts an interpreter, with the dependencies in the host folder
// deps where that is not "", and returns once it can fork.
func (d *Driver) newZygote(rt rouse.Runtime, deps string, preload []string) (*zygote, error) {
	binds := append(prefix(rt), bind{from: d.inside, to: d.own})
	if deps != "" {
		binds = append(binds, bind{from: deps, to: "/deps"})
	}
	plan, mounts, err := d.tier.plan(binds...)
	if err != nil {
		return nil, err
	}
	plan.Filter = zygoteFilter()
	plan.Loopback = true
	plan.Tmp = 64 << 20
	plan.Keep = true
	if d.name == Namespaces {
		plan.Dir = "/fn" // what is imported now may ask where it is
	}
	plan.Args = []string{rt.Path, "-I", "-S", "-B", "-X", "utf8", d.own + "/zygote.py"}
	plan.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"}
	z := &zygote{driver: d, rooms: map[int64]*room{}}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for _, fd := range pair {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	}
	if z.control, err = packetConn(pair[0]); err != nil {
		return nil, err
	}
	out, inside, err := pipe(false)
	if err != nil {
		return nil, err
	}
	z.log = newTap(out, rouse.Stderr)
	z.reading.Go(z.log.run)
	stderr := os.NewFile(uintptr(inside), "stderr")
	z.group, err = d.tier.group(fmt.Sprintf("zygote-%d", d.ids.Add(1)), cgroup.Limits{Memory: zygoteMemory, Processes: 4096})
	if err != nil {
		return nil, err
	}
	z.cmd, err = d.launch(launch{plan: plan, mounts: mounts, ends: &ends{control: pair[1]}, cgroup: groupFD(z.group), stderr: stderr}, z.control)
	if err != nil {
		_ = z.control.Close()
		_ = stderr.Close()
		z.reading.Wait()
		return nil, errors.Join(err, closeGroup(z.group))
	}
	_ = stderr.Close()
	z.reap = sync.OnceFunc(func() {
		_ = z.cmd.Process.Kill()
		_ = z.cmd.Wait()
	})
	if err := z.begin(setup{Deps: deps != "", Preload: preload, Shims: d.shimNames(), Filter: hex.EncodeToString(d.filter),
		Namespaces: d.name == Namespaces}); err != nil {
		said := z.log.recent()
		z.close()
		if said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return nil, fmt.Errorf("start %s: %w", rt.Name, err)
	}
	if said := z.log.recent(); said != "" {
		d.log.Warn("zygote is missing an import", "runtime", rt.Name, "said", said)
	}
	z.log.listen(func(l rouse.Line) { d.log.Debug("zygote", "said", l.Text) })
	z.reading.Go(z.read)
	return z, nil
}

// begin sends the setup and waits until the zygote is up.
func (z *zygote) begin(s setup) error {
	if z.group != nil && z.group.FD() < 0 {
		if err := z.group.Add(z.cmd.Process.Pid); err != nil {
			return err
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if _, err := z.control.Write(b); err != nil {
		return err
	}
	_ = z.control.SetReadDeadline(time.Now().Add(time.Minute)) // large imports
	buf := make([]byte, 4096)
	n, err := z.control.Read(buf)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(buf[:n], &r); err != nil || r.Up == 0 {
		return fmt.Errorf("a zygote said %q", buf[:n])
	}
	return z.control.SetReadDeadline(time.Time{})
}

// read takes the zygote's reports until it ends, and its children with it.
func (z *zygote) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := z.control.Read(buf)
		if err != nil || n == 0 {
			break
		}
		var r report
		if err := json.Unmarshal(buf[:n], &r); err != nil {
			z.driver.log.Error("zygote speaks garbage", "error", err)
			break
		}
		z.mu.Lock()
		room := z.rooms[r.ID]
		delete(z.rooms, r.ID)
		z.mu.Unlock()
		if room == nil {
			continue
		}
		if r.Error != "" {
			z.driver.log.Warn("fork", "error", r.Error)
			r.Status = 125 << 8
		}
		room.ended(unix.WaitStatus(r.Status))
	}
	z.reap()
	z.mu.Lock()
	rooms := z.rooms
	z.rooms = nil
	z.mu.Unlock()
	for _, r := range rooms {
		r.ended(unix.WaitStatus(unix.SIGKILL))
	}
	z.driver.forget(z)
}

// fork makes a room that waits for its start. One that is wanted at once does
// not warm up before.
func (z *zygote) fork(wanted bool) (*room, error) {
	r, inside, err := z.driver.newRoom()
	if err != nil {
		return nil, err
	}
	defer inside.close()
	z.mu.Lock()
	if z.rooms == nil {
		z.mu.Unlock()
		close(r.done)
		r.close()
		return nil, errors.New("the zygote has ended")
	}
	z.rooms[r.id] = r
	z.mu.Unlock()
	message := fmt.Appendf(nil, `{"id":%d,"wanted":%t}`, r.id, wanted)
	z.send.Lock()
	_, _, err = z.control.WriteMsgUnix(message, unix.UnixRights(inside.list()...), nil)
	z.send.Unlock()
	if err != nil {
		z.mu.Lock()
		delete(z.rooms, r.id)
		z.mu.Unlock()
		close(r.done)
		r.close()
		return nil, fmt.Errorf("ask a zygote to fork: %w", err)
	}
	inside.close() // so that the end of the child is the end of its pipes
	err = r.hello(10 * time.Second)
	if err == nil {
		err = r.walls.enter(r)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// close ends the zygote and all that was forked of it.
func (z *zygote) close() {
	_ = z.control.Close()
	z.reap()
	z.reading.Wait()
	if err := closeGroup(z.group); err != nil {
		z.driver.log.Warn("remove a zygote's control group", "error", err)
	}
}

// prefix are the binds of an interpreter that lives outside of /usr.
func prefix(rt rouse.Runtime) []bind {
	home := home(rt.Path)
	if strings.HasPrefix(home+"/", "/usr/") {
		return nil
	}
	return []bind{{from: home, to: home}}
}
