package process

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse/internal/cgroup"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// A Check is one thing that was attempted on this host.
type Check struct {
	Name   string   `json:"name"`
	OK     bool     `json:"ok"`
	Detail string   `json:"detail,omitempty"` // what was found, or why not
	Hint   string   `json:"hint,omitempty"`   // what to change, where it failed
	Needed []string `json:"needed,omitempty"` // by these tiers
}

// A Diagnosis is what a host allows.
type Diagnosis struct {
	Checks []Check `json:"checks"`
	Tier   string  `json:"tier"` // Namespaces, Landlock, or "none" where functions can't be isolated
	Next   string  `json:"next"` // what to do for a better one; "" at the best
}

// Doctor attempts each step of making a sandbox in a child process.
func Doctor() Diagnosis {
	const (
		userns    = "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=65536; in a container run it with --security-opt seccomp=unconfined"
		container = "in a container: run it with --privileged, or with --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
	)
	var d Diagnosis
	best, both := []string{Namespaces}, []string{Namespaces, Landlock}
	shared := os.Geteuid() != 0
	add := func(name string, needed []string, detail string, err error, hint string) {
		c := Check{Name: name, OK: err == nil, Detail: strings.TrimSpace(detail), Needed: needed}
		if err != nil {
			c.Hint = hint
			if c.Detail == "" {
				c.Detail = err.Error()
			}
		}
		d.Checks = append(d.Checks, c)
	}
	try := func(name, probe string, flags uintptr, needed []string, hint string) {
		a := &syscall.SysProcAttr{}
		if flags != 0 {
			a = namespaceAttributes(flags)
		}
		out, err := stage.Probe(probe, a)
		add(name, needed, out, err, hint)
	}
	var root error
	ownUsers := both
	if shared {
		root = fmt.Errorf("this is user %d", os.Geteuid())
		ownUsers = best
	}
	add("root", best, "", root, "run as root: sudo rouse up")
	try("user namespace", "nothing", unix.CLONE_NEWUSER, best, userns)
	try("mount namespace", "tmpfs", unix.CLONE_NEWUSER|unix.CLONE_NEWNS, best, container)
	try("read-only bind mounts (Linux 5.12)", "bind", unix.CLONE_NEWUSER|unix.CLONE_NEWNS, best, "update the kernel to 5.12 or later; "+container)
	try("pivot_root", "pivot", unix.CLONE_NEWUSER|unix.CLONE_NEWNS, best, container)
	try("pid namespace with its own /proc", "proc", unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID, best, container)
	try("network namespace", "loopback", unix.CLONE_NEWUSER|unix.CLONE_NEWNET, best, container)
	try("ipc and uts namespaces", "nothing", unix.CLONE_NEWUSER|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS, best, container)
	try("other users", "user", 0, ownUsers, "run as root with CAP_SETUID and CAP_SETGID")
	try("seccomp filter", "seccomp", 0, both, "use a kernel with CONFIG_SECCOMP_FILTER")
	try("pidfd (Linux 5.3)", "pidfd", 0, both, "update the kernel to 5.12 or later")
	version, err := tryCgroups()
	add("control groups: memory, pids, cpu", best, version, err, "mount cgroup2 writable; under systemd run with Delegate=yes; in a container with --privileged")
	err = tryEgress()
	add("network address translation for egress", nil, "", err, "load the kernel modules nf_tables and nft_redir; without them functions with --egress are refused")
	try("landlock", "landlock", 0, []string{Landlock}, "use a kernel with CONFIG_SECURITY_LANDLOCK, in its lsm= list; in a container with a seccomp profile that allows it")
	least := leastLandlock(shared)
	if v, err := stage.LandlockVersion(); err == nil && v < least {
		c := &d.Checks[len(d.Checks)-1]
		c.OK, c.Hint = false, "update the kernel to 6.2 or later (6.12 or later where the server is not root)"
	}
	d.Tier, d.Next = verdict(d.Checks)
	return d
}

// verdict is the best tier that lacks nothing, and what to do for a better one.
func verdict(checks []Check) (tier, next string) {
	var all []string
	for _, tier := range []string{Namespaces, Landlock} {
		hint := ""
		for _, c := range checks {
			if !c.OK && hint == "" && slices.Contains(c.Needed, tier) {
				hint = c.Hint
			}
		}
		if hint == "" {
			return tier, next
		}
		next = hint
		if !slices.Contains(all, hint) {
			all = append(all, hint)
		}
	}
	return none, strings.Join(all, "; or ")
}

// tryEgress makes what lets functions out, in a child's namespaces and in one
// of ours.
func tryEgress() error {
	if out, err := stage.Probe("loopback", namespaceAttributes(unix.CLONE_NEWUSER|unix.CLONE_NEWNET)); err != nil {
		return fmt.Errorf("%s %w", out, err)
	}
	return tryRedirect()
}

// namespaceAttributes are clone attributes as a sandbox has them.
func namespaceAttributes(flags uintptr) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: flags}
	if os.Geteuid() == 0 {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: firstUser, Size: users}}
		a.GidMappings = a.UidMappings
		a.GidMappingsEnableSetgroups = true
		a.Credential = &syscall.Credential{Uid: 0, Gid: 0}
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	return a
}

// tryCgroups makes a limited group with a process in it.
func tryCgroups() (string, error) {
	tree, err := cgroup.Open(fmt.Sprintf("rouse-doctor-%d", os.Getpid()))
	if err != nil {
		return "", err
	}
	defer func() { _ = tree.Close() }()
	g, err := tree.Create("probe")
	if err != nil {
		return "", err
	}
	return tree.Version(), g.Set(usual)
}

// tryRedirect makes the rule that lets functions out, in a network namespace
// that ends with its thread.
func tryRedirect() error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := stage.Loopback(); err != nil {
			return err
		}
		if err := claimAllAddresses(); err != nil {
			return err
		}
		return redirect(gatewayPort)
	})
}
