package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// What rules can allow of a file, and of a folder besides.
const (
	readFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
	readAll  = readFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	useFile  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	devices  = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	sockets  = unix.LANDLOCK_ACCESS_FS_MAKE_SOCK

	// all of version 3: what rules forbid where they do not allow it
	everything = 1<<15 - 1
	scratchAll = everything &^ (devices | sockets)
)

// hostFiles are what every room of the landlock tier may read besides shared:
// what programs ask about the machine.
var hostFiles = []string{"/etc/hosts", "/etc/nsswitch.conf", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime",
	"/proc/version", "/proc/filesystems", "/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage"}

// A rule allows access to what is at, and below, a descriptor.
type rule struct {
	fd     int
	access uint64
}

// hostRules are those of every room. The descriptors stay open: an entry of
// /proc is the same only as long as somebody holds it.
func hostRules() []rule {
	var rules []rule
	for _, path := range append(append([]string{}, shared...), hostFiles...) {
		access := uint64(readAll)
		switch path {
		case "/dev/null", "/dev/zero", "/dev/full":
			access = useFile
		}
		if r, err := allow(path, access); err == nil { // not every host has all
			rules = append(rules, r)
		}
	}
	return rules
}

// allow opens path for a rule.
func allow(path string, access uint64) (rule, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return rule{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return rule{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= readFile | useFile
	}
	return rule{fd, access}, nil
}

// ruleset makes the rules of one room.
func (l *landlock) ruleset(s *sandbox, rt rouse.Runtime, p place) (_ int, err error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: everything}
	if l.version >= landlockTCP {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if l.version >= landlockIoctl {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if l.version >= landlockScope {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	set, err := stage.NewRuleset(attr)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(set)
		}
	}()
	for _, r := range l.rules {
		if err := stage.AllowBeneath(set, r.fd, r.access); err != nil {
			return -1, err
		}
	}
	self, err := allow(fmt.Sprintf("/proc/%d", s.pid), readAll&^unix.LANDLOCK_ACCESS_FS_EXECUTE)
	if err != nil {
		return -1, err
	}
	s.walls.(*landlockWalls).proc = self.fd
	if err := stage.AllowBeneath(set, self.fd, self.access); err != nil {
		return -1, err
	}
	own := map[string]uint64{p.code: readAll, s.driver.inside: readAll, p.tmp: scratchAll}
	if p.deps != "" {
		own[p.deps] = readAll
	}
	for _, b := range prefix(rt) {
		own[b.from] = readAll
	}
	for path, access := range own {
		r, err := allow(path, access)
		if err != nil {
			return -1, err
		}
		err = errors.Join(stage.AllowBeneath(set, r.fd, r.access), unix.Close(r.fd))
		if err != nil {
			return -1, err
		}
	}
	if p.port != 0 {
		if err := stage.AllowPort(set, p.port, unix.LANDLOCK_ACCESS_NET_BIND_TCP); err != nil {
			return -1, err
		}
	}
	return set, nil
}
