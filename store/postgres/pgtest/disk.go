package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// smallest is the size of a Disk: what an empty server takes, and a little.
const smallest = 128 << 20

// A Disk is a small one that holds the data of a server of its own, and its log
// of changes. It is for one goroutine.
type Disk struct {
	server  *server
	ballast string // file that takes up room
}

// StartOnDisk starts a server on a disk of its own and returns the URL of an
// empty database there. All ends with the test, which is skipped where it has
// not the powers to mount a disk.
func StartOnDisk(t testing.TB) (url string, d *Disk) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a small disk needs root")
	}
	s := &server{disk: smallest}
	d = &Disk{server: s}
	t.Cleanup(func() { d.close(t) })
	if err := s.start(t); err != nil {
		t.Fatalf("start PostgreSQL: %v\n%s", err, s.log())
	}
	d.ballast = filepath.Join(s.dir, "data", "ballast")
	if err := s.exec("CREATE DATABASE test"); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	return s.url("test"), d
}

// Fill leaves so many bytes of the disk free.
func (d *Disk) Fill(t testing.TB, left int64) {
	t.Helper()
	var free syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(d.ballast), &free); err != nil {
		t.Fatal(err)
	}
	take := int64(free.Bavail)*free.Bsize - left
	if take <= 0 {
		t.Fatalf("%d bytes are not free any more", left)
	}
	if err := os.WriteFile(d.ballast, make([]byte, take), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Free gives back what Fill took, and starts the server where it has ended for
// want of room.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast); err != nil {
		t.Fatal(err)
	}
	s := d.server
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
		t.Log("the server had ended")
		if err := s.run(); err != nil {
			t.Fatalf("start PostgreSQL again: %v\n%s", err, s.log())
		}
	default:
	}
}

// close ends the server and takes its disk away.
func (d *Disk) close(t testing.TB) {
	t.Helper()
	s := d.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeper == nil {
		return
	}
	if err := errors.Join(s.life.Close(), s.keeper.Wait()); err != nil {
		t.Errorf("end PostgreSQL: %v", err)
	}
}

// mount gives the data a disk of their own.
func (s *server) mount() error {
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	who := s.as.Credential
	return syscall.Mount("tmpfs", data, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700,uid=%d,gid=%d", s.disk, who.Uid, who.Gid))
}
