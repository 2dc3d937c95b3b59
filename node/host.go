package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// lock makes the data folder and takes it for this process.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unfit(dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unfit(dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, rouse.Errorf(rouse.Conflict, "start", dir, "another server has this data folder; stop it, or name another folder with --data")
	}
	return f, nil
}

// private makes a folder, or the one that is there, nobody else's to look into.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// unfit is the error of a data folder that can't be made or written to.
func unfit(dir string, err error) error {
	return rouse.Errorf(rouse.Invalid, "start", dir, "%w; name a folder that this user can write to with --data", err)
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, unix.EADDRINUSE):
		return nil, rouse.Errorf(rouse.Conflict, "listen", addr, "something listens there already; stop it, or name another address with --listen")
	case errors.Is(err, unix.EACCES):
		return nil, rouse.Errorf(rouse.Denied, "listen", addr, "this user may not; name a port from 1024 up with --listen, or run as root")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	return nil, rouse.Errorf(rouse.Invalid, "listen", addr, "%w; name an address of this machine with --listen, such as 127.0.0.1:8700", err)
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

// busy says whether more wants to run at this moment than the processors can. It
// needs no past, for it is asked seldom.
func busy() bool {
	b, err := os.ReadFile("/proc/loadavg") // /proc/stat says it too, after a line for each interrupt of the machine
	return err == nil && runnable(string(b)) >= 2*runtime.NumCPU()
}

// runnable is the number of threads that run or want to: the fourth field of
// proc_loadavg(5), before its slash; 0 where it is not there.
func runnable(loadavg string) int {
	if fields := strings.Fields(loadavg); len(fields) > 3 {
		n, _, _ := strings.Cut(fields[3], "/")
		if n, err := strconv.Atoi(n); err == nil {
			return n
		}
	}
	return 0
}

// MachineMemory is the memory of the host in bytes; 4 GB where that can't be told.
func MachineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 4 << 30
	}
	return int64(info.Totalram) * int64(info.Unit)
}
