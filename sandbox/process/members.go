package process

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// Where there is no pid namespace and no control group, a label says which room
// a process belongs to: its hard limit for POSIX message queues, RLIMIT_MSGQUEUE.
// It is inherited by all that a process starts, however far it detaches itself;
// the filter of the landlock tier refuses those queues and every change of that
// limit. The kernel's default, 819200, is not exceeded, so that no power is
// needed to set it.

// blockSize is how many rooms one server has at most.
const blockSize = 2000

// blocks is how many servers a host has at most.
const blocks = 400

// A block is a server's share of the labels, and of the users where it is
// root, of a host.
type block struct {
	number    int
	firstUser int // 0 where there is none
	claim     net.Listener
}

// labels are those from first to last.
type labels struct{ first, last uint64 }

func (b block) labels() labels {
	first := uint64(b.number*blockSize) + 1 // 0 is a limit that others may set
	return labels{first, first + blockSize - 1}
}

func (b block) release() error { return b.claim.Close() }

// claimBlock takes the first free block. The claim is an abstract socket: it
// ends with the server, however that ends.
func claimBlock(shared bool) (block, error) {
	base, count := 0, blocks
	if !shared {
		base, count = usersFrom()
	}
	for n := range count {
		l, err := net.Listen("unix", fmt.Sprintf("@rouse-%d-block-%d", os.Geteuid(), n))
		if err != nil {
			continue
		}
		b := block{number: n, claim: l}
		if !shared {
			b.firstUser = base + n*blockSize
		}
		return b, nil
	}
	return block{}, rouse.Errorf(rouse.Unavailable, "open sandboxes", "", "%d servers run on this host already; stop one", count)
}

// usersFrom is the first user of the first block, and how many blocks there
// are: above those that namespaces use, but in a container that has only the
// usual 65536.
func usersFrom() (first, count int) {
	b, _ := os.ReadFile("/proc/self/uid_map")
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) != 3 {
			continue
		}
		from, _ := strconv.Atoi(w[0])
		size, _ := strconv.Atoi(w[2])
		if first := firstUser + users; from <= first && from+size >= first+blocks*blockSize {
			return first, blocks
		}
	}
	return 20000, 20
}

// members are the processes with one of the labels ls, by label.
func members(ls labels) map[uint64][]int {
	found := map[uint64][]int{}
	dir, err := os.Open("/proc")
	if err != nil {
		return found
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	buf := make([]byte, 4096)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if l := labelOf(pid, buf); l >= ls.first && l <= ls.last {
			found[l] = append(found[l], pid)
		}
	}
	return found
}

// labelOf is a process's label; 0 where it has none or is gone.
func labelOf(pid int, buf []byte) uint64 {
	data := readProc(pid, "limits", buf)
	_, rest, ok := bytes.Cut(data, []byte("Max msgqueue size"))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	w := bytes.Fields(line)
	if len(w) < 2 {
		return 0
	}
	n, _ := strconv.ParseUint(string(w[1]), 10, 64)
	return n
}

// alive says whether a process has not ended; one that waits to be reaped has.
func alive(pid int) bool {
	data := readProc(pid, "stat", make([]byte, 4096))
	i := bytes.LastIndexByte(data, ')') // what is before may hold anything
	return i >= 0 && i+2 < len(data) && data[i+2] != 'Z' && data[i+2] != 'X'
}

// readProc reads a file of a process into buf; nil where it is gone.
func readProc(pid int, file string, buf []byte) []byte {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/"+file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// sweep kills what a former server with the same labels left.
func sweep(ls labels) {
	for range 100 {
		left := slices.Collect(func(yield func(int) bool) {
			for _, pids := range members(ls) {
				for _, pid := range pids {
					if alive(pid) && !yield(pid) {
						return
					}
				}
			}
		})
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Prlimit(pid, unix.RLIMIT_NPROC, &unix.Rlimit{}, nil)
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond) // they are not our children: nothing tells of their end
	}
}

// resident are the bytes of memory that a process holds, files not counted.
// Pages that forks share count for each.
func resident(pid int) int64 {
	data := readProc(pid, "status", make([]byte, 4096))
	return kilobytes(data, "RssAnon:") + kilobytes(data, "RssShmem:")
}

// share is resident with what several processes share divided among them. The
// kernel tells it to a process's own user.
func share(pid int) int64 {
	data := readProc(pid, "smaps_rollup", make([]byte, 4096))
	if data == nil {
		return resident(pid)
	}
	return kilobytes(data, "Pss_Anon:") + kilobytes(data, "Pss_Shmem:")
}

func kilobytes(status []byte, key string) int64 {
	_, rest, ok := bytes.Cut(status, []byte("\n"+key))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	w := bytes.Fields(line)
	if len(w) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(w[0]), 10, 64)
	return n << 10
}

// processorTime is what a process has used, and its children that ended.
func processorTime(pid int) time.Duration {
	data := readProc(pid, "stat", make([]byte, 4096))
	i := bytes.LastIndexByte(data, ')') // what is before may hold anything
	if i < 0 {
		return 0
	}
	w := bytes.Fields(data[i+1:])
	var ticks int64
	for _, n := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime: fields 14 to 17 of proc(5)
		if n < len(w) {
			t, _ := strconv.ParseInt(string(w[n]), 10, 64)
			ticks += t
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on every architecture that we build for
}
