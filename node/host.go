package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// lock makes the data folder and takes it for this process.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, rouse.Errorf(rouse.Conflict, "start", dir, "another server has this data folder; stop it, or name another folder with --data")
	}
	return f, nil
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, rouse.Errorf(rouse.Conflict, "listen", addr, "something listens there already; stop it, or name another address with --listen")
	}
	return l, err
}

// groupName names the control groups of the server whose data are in dir, the
// same at each start, so that it finds what a killed one left.
func groupName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	sum := sha256.Sum256([]byte(dir))
	return "rouse-" + hex.EncodeToString(sum[:6])
}

// A load watches the host's processors.
type load struct {
	mu          sync.Mutex
	asked       time.Time // guarded by mu
	idle, total int64     // guarded by mu; ticks since the boot
	busy        bool      // guarded by mu
}

// window is how old an answer of busy may be, and over what time it looks.
const window = 40 * time.Millisecond

// Busy says whether the processors were hardly idle of late (proc_stat(5)).
func (l *load) Busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	since := now.Sub(l.asked)
	if since < window {
		return l.busy
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return false
	}
	var idle, total int64
	line, _, _ := strings.Cut(string(b), "\n")
	for i, word := range strings.Fields(line) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			continue // the name, "cpu"
		}
		if total += n; i == 4 || i == 5 { // idle and waiting for a disk
			idle += n
		}
	}
	// Over a long time the processors were idle when nothing was asked of us.
	l.busy = since < 25*window && total > l.total && (idle-l.idle)*10 < total-l.total
	l.asked, l.idle, l.total = now, idle, total
	return l.busy
}

// machineMemory is the memory of the host in bytes.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 4 << 30
	}
	return int64(info.Totalram) * int64(info.Unit)
}
