package stage

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of landlock(7), which have no wrappers.

// LandlockVersion is that of the kernel's interface; an error where the kernel
// has none, or it is switched off.
func LandlockVersion() (int, error) {
	v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0, e
	}
	return int(v), nil
}

// NewRuleset makes an empty ruleset that forbids what attr names. Fields that
// the kernel does not know must be 0.
func NewRuleset(attr unix.LandlockRulesetAttr) (int, error) {
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e != 0 {
		return -1, fmt.Errorf("make a landlock ruleset: %w", e)
	}
	return int(fd), nil
}

// AllowBeneath adds to a ruleset that access is allowed to the file or folder
// at the descriptor, and below it.
func AllowBeneath(ruleset, fd int, access uint64) error {
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	return addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&attr))
}

// AllowPort adds to a ruleset that access is allowed to a TCP port.
func AllowPort(ruleset, port int, access uint64) error {
	const netPort = 2 // LANDLOCK_RULE_NET_PORT
	attr := struct{ access, port uint64 }{access, uint64(port)}
	return addRule(ruleset, netPort, unsafe.Pointer(&attr))
}

func addRule(ruleset int, kind uintptr, attr unsafe.Pointer) error {
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(attr), 0, 0, 0); e != 0 {
		return fmt.Errorf("add a landlock rule: %w", e)
	}
	return nil
}

// Restrict enforces a ruleset on the calling thread and what it starts, for
// ever. It needs no-new-privileges.
func Restrict(ruleset int) error {
	if _, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); e != 0 {
		return e
	}
	return nil
}
