package process

import (
	"slices"

	"golang.org/x/sys/unix"
)

// landlockFilter is the seccomp program of a function in the landlock tier. It
// refuses besides what namespaces would have made harmless. With tcp, it may
// open TCP sockets, about whose ports Landlock decides. With shared, its user
// is the server's own, whose files it must not touch.
func landlockFilter(tcp, shared bool) []byte {
	refused, also := hostCalls, landlockConditions
	if shared {
		refused = slices.Concat(refused, metadataCalls, archMetadataCalls)
		also = slices.Concat(also, sharedConditions)
	}
	if tcp {
		also = append(also[:len(also):len(also)], tcpOnly)
	} else {
		refusedFamily := condition{unix.SYS_SOCKET, []argument{{}}, unix.EAFNOSUPPORT}
		also = append(also[:len(also):len(also)], refusedFamily)
	}
	allowed := slices.Concat(calls, archCalls)
	return assemble(slices.DeleteFunc(allowed, func(c uint32) bool { return slices.Contains(refused, c) }), also)
}

// hostCalls reach what all processes of a host share where there are no ipc
// and mount namespaces, or hold memory that no limit of a process counts.
var hostCalls = []uint32{unix.SYS_MQ_GETSETATTR, unix.SYS_MQ_NOTIFY, unix.SYS_MQ_OPEN, unix.SYS_MQ_TIMEDRECEIVE, unix.SYS_MQ_TIMEDSEND,
	unix.SYS_MQ_UNLINK, unix.SYS_MSGCTL, unix.SYS_MSGGET, unix.SYS_MSGRCV, unix.SYS_MSGSND, unix.SYS_SEMCTL, unix.SYS_SEMGET,
	unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_SHMAT, unix.SYS_SHMCTL, unix.SYS_SHMDT, unix.SYS_SHMGET,
	unix.SYS_MEMFD_CREATE, unix.SYS_INOTIFY_ADD_WATCH}

// metadataCalls change what Landlock does not guard: modes, owners, times and
// attributes of files that belong to the function's user.
var metadataCalls = []uint32{unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
	unix.SYS_FSETXATTR, unix.SYS_LSETXATTR, unix.SYS_SETXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_REMOVEXATTR,
	unix.SYS_UTIMENSAT}

// fastOpen is MSG_FASTOPEN, with which sending connects and Landlock is not asked.
const fastOpen = 0x20000000

// tcpOnly keeps to the sockets whose ports Landlock knows: MPTCP, SCTP and SMC
// have the same families, and UDP is not covered.
var tcpOnly = condition{unix.SYS_SOCKET, []argument{{index: 0, values: []uint32{unix.AF_INET, unix.AF_INET6}},
	{index: 1, mask: 0xf, values: []uint32{unix.SOCK_STREAM}}, {index: 2, values: []uint32{0, unix.IPPROTO_TCP}}}, unix.EAFNOSUPPORT}

// self is 0 where a call asks for a process.
var self = []uint32{0}

// landlockConditions keep a function from processes and files that are not
// its own, and from its label (see labelled).
var landlockConditions = []condition{
	{unix.SYS_SOCKETPAIR, []argument{{values: []uint32{unix.AF_UNIX}}}, unix.EAFNOSUPPORT},
	{unix.SYS_PERSONALITY, []argument{{values: personalities}}, unix.EPERM},
	{unix.SYS_SENDTO, []argument{{index: 3, mask: fastOpen, values: []uint32{0}}}, unix.EPERM},
	{unix.SYS_SENDMSG, []argument{{index: 2, mask: fastOpen, values: []uint32{0}}}, unix.EPERM},
	{unix.SYS_SENDMMSG, []argument{{index: 3, mask: fastOpen, values: []uint32{0}}}, unix.EPERM},
	{unix.SYS_PRLIMIT64, []argument{{index: 0, values: self}, {index: 1, values: []uint32{unix.RLIMIT_MSGQUEUE}, not: true}}, unix.EPERM},
	{unix.SYS_SETRLIMIT, []argument{{index: 0, values: []uint32{unix.RLIMIT_MSGQUEUE}, not: true}}, unix.EPERM},
	{unix.SYS_PRCTL, []argument{{index: 0, values: []uint32{unix.PR_SET_PDEATHSIG}, not: true}}, unix.EPERM},
	{unix.SYS_FCNTL, []argument{{index: 1, values: []uint32{unix.F_SETLEASE, unix.F_NOTIFY}, not: true}}, unix.EPERM},
	{unix.SYS_SETPRIORITY, []argument{{index: 0, values: []uint32{unix.PRIO_PROCESS}}, {index: 1, values: self}}, unix.EPERM},
	{unix.SYS_IOPRIO_SET, []argument{{index: 0, values: []uint32{1}}, {index: 1, values: self}}, unix.EPERM}, // IOPRIO_WHO_PROCESS
	{unix.SYS_SCHED_SETAFFINITY, []argument{{index: 0, values: self}}, unix.EPERM},
	{unix.SYS_SCHED_SETATTR, []argument{{index: 0, values: self}}, unix.EPERM},
	{unix.SYS_SCHED_SETPARAM, []argument{{index: 0, values: self}}, unix.EPERM},
	{unix.SYS_SCHED_SETSCHEDULER, []argument{{index: 0, values: self}}, unix.EPERM},
}

// sharedConditions keep a function of the server's own user from changing the
// attributes of that user's files by ioctl_iflags(2), whose requests are 'f'.
var sharedConditions = []condition{
	{unix.SYS_IOCTL, []argument{{index: 1, mask: 0xff00, values: []uint32{'f' << 8}, not: true}}, unix.EPERM},
}
