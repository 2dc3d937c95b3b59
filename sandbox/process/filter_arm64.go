package process

import "golang.org/x/sys/unix"

// auditArch is AUDIT_ARCH_AARCH64 (linux/audit.h).
const auditArch = 0xc00000b7

// archCalls are those that only this architecture has.
var archCalls = []uint32{unix.SYS_FSTATAT, unix.SYS_RENAMEAT}

// archMetadataCalls are those of metadataCalls that only this architecture has.
var archMetadataCalls []uint32
