package process

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in the kernel's struct seccomp_data (linux/seccomp.h); arguments are
// 64 bits, low half first.
const (
	seccompNumber = 0
	seccompArch   = 4
	seccompArg0   = 16
)

// namespaceFlags are clone's flags that make a namespace.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// families are the sockets that a function may open. AF_VSOCK is not covered
// by network namespaces and reaches the host.
var families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// personalities change little: Linux, its 32-bit form, and either without
// address randomisation, and the question which it is.
var personalities = []uint32{0, 8, 0x20000, 0x20008, 0xffffffff}

// A condition allows a call only with such arguments.
type condition struct {
	call uint32
	args []argument // all must hold
	no   unix.Errno // otherwise
}

// An argument of a call, its low 32 bits, is one of values, or with not none.
type argument struct {
	index  int
	mask   uint32 // what is looked at; 0 is all
	values []uint32
	not    bool
}

// conditions hold in every sandbox.
var conditions = []condition{
	{unix.SYS_SOCKET, []argument{{values: families}}, unix.EAFNOSUPPORT},
	{unix.SYS_SOCKETPAIR, []argument{{values: families}}, unix.EAFNOSUPPORT},
	{unix.SYS_PERSONALITY, []argument{{values: personalities}}, unix.EPERM},
}

// functionFilter is the seccomp program of code in a sandbox: an allow-list.
func functionFilter() []byte { return assemble(slices.Concat(calls, archCalls), conditions) }

// jobFilter is that of a job, which writes to the host's disk: it fills it no
// faster than it writes.
func jobFilter() []byte {
	never := condition{unix.SYS_FALLOCATE, []argument{{index: 1, values: []uint32{math.MaxUint32}}}, unix.EOPNOTSUPP} // a mode that there is not
	return assemble(slices.Concat(calls, archCalls), append(slices.Clone(conditions), never))
}

// zygoteFilter is that of a zygote, which besides makes its children's
// namespaces, mounts and identities.
func zygoteFilter() []byte { return assemble(slices.Concat(calls, archCalls, zygoteCalls), conditions) }

// assemble writes a seccomp program (struct sock_filter[]) that allows calls
// and refuses the rest with EPERM, or with ENOSYS what is newer than any we
// know, so that a C library falls back.
func assemble(allowed []uint32, conditions []condition) []byte {
	deny := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	unknown := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: seccompArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: seccompNumber, Size: 4},
		// clone3 hides its flags in memory; glibc falls back to clone.
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE3, SkipTrue: 1}, unknown,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE, SkipTrue: 4},
		bpf.LoadAbsolute{Off: seccompArg0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: namespaceFlags, SkipFalse: 1}, deny, allow,
	}
	for _, c := range conditions {
		p = append(p, c.program()...)
	}
	slices.Sort(allowed)
	allowed = slices.Compact(allowed)
	for i := 0; i < len(allowed); {
		j := i
		for j+1 < len(allowed) && allowed[j+1] == allowed[j]+1 {
			j++
		}
		// In ascending order: what is below a range and came past the one before it is refused.
		p = append(p,
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: allowed[i], SkipTrue: 1}, deny,
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: allowed[j], SkipTrue: 1}, allow)
		i = j + 1
	}
	p = append(p, bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: newestCall, SkipTrue: 1}, deny, unknown)
	raw, err := bpf.Assemble(p)
	if err != nil {
		panic(fmt.Sprintf("assemble the seccomp filter: %v", err)) // a constant program
	}
	out := make([]byte, 0, 8*len(raw))
	for _, r := range raw {
		out = binary.NativeEndian.AppendUint16(out, r.Op)
		out = append(out, r.Jt, r.Jf)
		out = binary.NativeEndian.AppendUint32(out, r.K)
	}
	return out
}

// program decides about c's call; it begins with the call's number loaded and
// falls through for every other.
func (c condition) program() []bpf.Instruction {
	refuse := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(c.no)}
	var p []bpf.Instruction
	for _, a := range c.args {
		p = append(p, bpf.LoadAbsolute{Off: uint32(seccompArg0 + 8*a.index), Size: 4})
		if a.mask != 0 {
			p = append(p, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: a.mask})
		}
		for i, v := range a.values {
			if a.not {
				p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, refuse)
			} else {
				p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(a.values) - i)}) // past refuse
			}
		}
		if !a.not {
			p = append(p, refuse)
		}
	}
	p = append(p, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
	return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.call, SkipTrue: uint8(len(p))}}, p...)
}

// newestCall is the newest system call that this list was made with regard to.
const newestCall = unix.SYS_MSEAL

// zygoteCalls need powers that a function has given up.
var zygoteCalls = []uint32{unix.SYS_MOUNT, unix.SYS_MOVE_MOUNT, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_SETHOSTNAME, unix.SYS_UMOUNT2, unix.SYS_MOUNT_SETATTR}

// calls are those that a function may make on every architecture: what
// programs use that need no power over the machine.
var calls = []uint32{
	// files
	unix.SYS_CHDIR, unix.SYS_CLOSE, unix.SYS_CLOSE_RANGE, unix.SYS_COPY_FILE_RANGE, unix.SYS_DUP, unix.SYS_DUP3,
	unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_FADVISE64, unix.SYS_FALLOCATE, unix.SYS_FCHDIR, unix.SYS_FCHMOD,
	unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_FCNTL, unix.SYS_FDATASYNC,
	unix.SYS_FGETXATTR, unix.SYS_FLISTXATTR, unix.SYS_FLOCK, unix.SYS_FREMOVEXATTR, unix.SYS_FSETXATTR, unix.SYS_FSTAT,
	unix.SYS_FSTATFS, unix.SYS_FSYNC, unix.SYS_FTRUNCATE, unix.SYS_GETCWD, unix.SYS_GETDENTS64, unix.SYS_GETXATTR,
	unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_RM_WATCH, unix.SYS_IOCTL, unix.SYS_LGETXATTR,
	unix.SYS_LINKAT, unix.SYS_LISTXATTR, unix.SYS_LLISTXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_LSEEK, unix.SYS_LSETXATTR,
	unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_PIPE2, unix.SYS_PREAD64, unix.SYS_PREADV,
	unix.SYS_PREADV2, unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_PWRITEV2, unix.SYS_READ, unix.SYS_READAHEAD,
	unix.SYS_READLINKAT, unix.SYS_READV, unix.SYS_REMOVEXATTR, unix.SYS_RENAMEAT2, unix.SYS_SENDFILE, unix.SYS_SETXATTR,
	unix.SYS_SPLICE, unix.SYS_STATFS, unix.SYS_STATX, unix.SYS_SYMLINKAT, unix.SYS_SYNC, unix.SYS_SYNCFS,
	unix.SYS_SYNC_FILE_RANGE, unix.SYS_TEE, unix.SYS_TRUNCATE, unix.SYS_UMASK, unix.SYS_UNLINKAT, unix.SYS_UTIMENSAT,
	unix.SYS_VMSPLICE, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_IO_SETUP, unix.SYS_IO_DESTROY, unix.SYS_IO_SUBMIT,
	unix.SYS_IO_CANCEL, unix.SYS_IO_GETEVENTS,
	// waiting
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_EVENTFD2, unix.SYS_PPOLL,
	unix.SYS_PSELECT6, unix.SYS_SIGNALFD4, unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_GETTIME, unix.SYS_TIMERFD_SETTIME,
	// memory
	unix.SYS_BRK, unix.SYS_GET_MEMPOLICY, unix.SYS_MADVISE, unix.SYS_MEMBARRIER, unix.SYS_MEMFD_CREATE, unix.SYS_MINCORE,
	unix.SYS_MLOCK, unix.SYS_MLOCK2, unix.SYS_MLOCKALL, unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MSEAL,
	unix.SYS_MSYNC, unix.SYS_MUNLOCK, unix.SYS_MUNLOCKALL, unix.SYS_MUNMAP, unix.SYS_PKEY_ALLOC, unix.SYS_PKEY_FREE,
	unix.SYS_PKEY_MPROTECT, unix.SYS_REMAP_FILE_PAGES,
	// processes, threads, signals
	unix.SYS_CAPGET, unix.SYS_CAPSET, unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_FUTEX,
	unix.SYS_FUTEX_REQUEUE, unix.SYS_FUTEX_WAIT, unix.SYS_FUTEX_WAITV, unix.SYS_FUTEX_WAKE, unix.SYS_GETCPU, unix.SYS_GETEGID,
	unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETGROUPS, unix.SYS_GETPGID, unix.SYS_GETPID, unix.SYS_GETPPID,
	unix.SYS_GETPRIORITY, unix.SYS_GETRANDOM, unix.SYS_GETRESGID, unix.SYS_GETRESUID, unix.SYS_GETRLIMIT, unix.SYS_GETRUSAGE,
	unix.SYS_GETSID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GET_ROBUST_LIST, unix.SYS_IOPRIO_GET, unix.SYS_IOPRIO_SET,
	unix.SYS_KILL, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_RESTRICT_SELF,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_PRCTL, unix.SYS_PRLIMIT64, unix.SYS_RESTART_SYSCALL, unix.SYS_RSEQ,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_SIGRETURN,
	unix.SYS_RT_SIGSUSPEND, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_SCHED_GETATTR, unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER, unix.SYS_SCHED_GET_PRIORITY_MAX,
	unix.SYS_SCHED_GET_PRIORITY_MIN, unix.SYS_SCHED_RR_GET_INTERVAL, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETATTR,
	unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_YIELD, unix.SYS_SECCOMP, unix.SYS_SETFSGID,
	unix.SYS_SETFSUID, unix.SYS_SETGID, unix.SYS_SETGROUPS, unix.SYS_SETITIMER, unix.SYS_GETITIMER, unix.SYS_SETPGID,
	unix.SYS_SETPRIORITY, unix.SYS_SETREGID, unix.SYS_SETRESGID, unix.SYS_SETRESUID, unix.SYS_SETREUID, unix.SYS_SETRLIMIT,
	unix.SYS_SETSID, unix.SYS_SETUID, unix.SYS_SET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS, unix.SYS_SIGALTSTACK, unix.SYS_SYSINFO,
	unix.SYS_TGKILL, unix.SYS_TIMES, unix.SYS_TKILL, unix.SYS_UNAME, unix.SYS_WAIT4, unix.SYS_WAITID,
	// clocks
	unix.SYS_ADJTIMEX, unix.SYS_CLOCK_GETRES, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
	unix.SYS_NANOSLEEP, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_DELETE, unix.SYS_TIMER_GETOVERRUN, unix.SYS_TIMER_GETTIME,
	unix.SYS_TIMER_SETTIME,
	// sockets and messages
	unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_BIND, unix.SYS_CONNECT, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKNAME,
	unix.SYS_GETSOCKOPT, unix.SYS_LISTEN, unix.SYS_MQ_GETSETATTR, unix.SYS_MQ_NOTIFY, unix.SYS_MQ_OPEN, unix.SYS_MQ_TIMEDRECEIVE,
	unix.SYS_MQ_TIMEDSEND, unix.SYS_MQ_UNLINK, unix.SYS_MSGCTL, unix.SYS_MSGGET, unix.SYS_MSGRCV, unix.SYS_MSGSND,
	unix.SYS_RECVFROM, unix.SYS_RECVMMSG, unix.SYS_RECVMSG, unix.SYS_SEMCTL, unix.SYS_SEMGET, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP,
	unix.SYS_SENDMMSG, unix.SYS_SENDMSG, unix.SYS_SENDTO, unix.SYS_SETSOCKOPT, unix.SYS_SHMAT, unix.SYS_SHMCTL, unix.SYS_SHMDT,
	unix.SYS_SHMGET, unix.SYS_SHUTDOWN,
}
