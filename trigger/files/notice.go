package files

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A notice is what the kernel says: something happened to name in a watched folder.
type notice struct {
	watch int32
	mask  uint32
	name  string // "" is the folder itself
}

// decode reads what one read of an inotify descriptor returned; see inotify(7).
// It calls do for each notice and stops at the first that is cut off.
func decode(b []byte, do func(notice)) error {
	for len(b) > 0 {
		if len(b) < unix.SizeofInotifyEvent {
			return fmt.Errorf("%d bytes are no notice", len(b))
		}
		n := notice{watch: int32(binary.NativeEndian.Uint32(b)), mask: binary.NativeEndian.Uint32(b[4:])}
		size := binary.NativeEndian.Uint32(b[12:])
		b = b[unix.SizeofInotifyEvent:]
		if uint64(size) > uint64(len(b)) {
			return fmt.Errorf("a name of %d bytes has %d", size, len(b))
		}
		name, _, _ := bytes.Cut(b[:size], []byte{0}) // it is padded with zeros
		n.name = string(name)
		b = b[size:]
		do(n)
	}
	return nil
}

// An inotify is the kernel's descriptor.
type inotify struct {
	fd   int
	file *os.File // of fd; with it a read ends when it is closed
}

func openInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify (see fs.inotify.max_user_instances): %w", err)
	}
	return &inotify{fd, os.NewFile(uintptr(fd), "inotify")}, nil
}

func (i *inotify) add(path string, mask uint32) (int32, error) {
	w, err := unix.InotifyAddWatch(i.fd, path, mask|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW|unix.IN_EXCL_UNLINK)
	return int32(w), err
}

func (i *inotify) remove(watch int32) {
	_, _ = unix.InotifyRmWatch(i.fd, uint32(watch)) // fails where the folder is gone, and the watch with it
}

// A node is what there is to know of a file: as long as it is the same, so is
// the file's content.
type node struct {
	inode   uint64
	size    int64 // -1 where it was announced as created only
	mtime   int64 // nanoseconds since 1970, as is ctime
	changed int64 // ctime, which is new with each rename and each change of rights
}

// same reports whether the content is.
func (n node) same(o node) bool {
	return n.inode == o.inode && n.size == o.size && n.mtime == o.mtime
}

// stat returns what a file is; ok is false where there is none, or none with content.
func stat(path string) (n node, ok bool) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil || s.Mode&unix.S_IFMT != unix.S_IFREG {
		return n, false
	}
	return node{s.Ino, s.Size, s.Mtim.Nano(), s.Ctim.Nano()}, true
}

// isWritten reports whether somebody has a file open to write. The kernel gives
// a read lease only where nobody has; where it gives none at all, for instance on
// network drives, nobody is presumed.
func isWritten(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err == nil {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) // closing would do as well
	}
	return err == unix.EAGAIN
}
