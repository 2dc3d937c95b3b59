// Package pgtest starts a real PostgreSQL server for tests: one for each test
// process, in a folder of its own, behind a Unix socket.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The server outlives each test and ends with the process, so that it is the one
// thing here that belongs to no test.
var shared server

// A server is one that runs, or none yet.
type server struct {
	mu        sync.Mutex
	bin, dir  string               // guarded by mu
	process   *os.Process          // guarded by mu; nil where it does not run
	ended     chan error           // takes one once process has; guarded by mu
	as        *syscall.SysProcAttr // whom it runs as; guarded by mu
	databases int                  // guarded by mu
	disk      int64                // bytes of a disk for its data alone; 0 where they are on the host's
	keeper    *exec.Cmd            // waits for the end of life; guarded by mu
	life      io.Closer            // once closed, also by the end of the process, the server is stopped and its folder removed; guarded by mu
}

// Start returns the URL of a database that is empty, on a server that keeps what
// it commits. It is dropped when the test ends. Where PostgreSQL is not
// installed the test is skipped.
func Start(t testing.TB) (url string) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if err := shared.start(t); err != nil {
		t.Fatalf("start PostgreSQL: %v\n%s", err, shared.log())
	}
	shared.databases++
	name := fmt.Sprint("test", shared.databases)
	if err := shared.exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	t.Cleanup(func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if err := shared.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the database: %v", err)
		}
	})
	return shared.url(name)
}

// Restart kills the server as a crash does and starts it again; it returns when
// the server answers.
func Restart(t testing.TB) {
	t.Helper()
	Kill(t)
	Resume(t)
}

// Stop ends the server in the way in which an operator does who is in haste:
// clients are cut off, and nothing is flushed.
func Stop(t testing.TB) { t.Helper(); end(t, syscall.SIGQUIT) }

// Kill ends the server with kill -9.
func Kill(t testing.TB) { t.Helper(); end(t, syscall.SIGKILL) }

func end(t testing.TB, s syscall.Signal) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.process == nil {
		t.Fatal("the server does not run")
	}
	if err := shared.process.Signal(s); err != nil {
		t.Fatal(err)
	}
	<-shared.ended
	shared.process = nil
}

// Resume starts the server after Stop or Kill.
func Resume(t testing.TB) {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if err := shared.run(); err != nil {
		t.Fatalf("start PostgreSQL again: %v\n%s", err, shared.log())
	}
}

func (s *server) url(database string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=postgres", database, s.dir)
}

func (s *server) log() []byte {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return b
}

// start makes the server where there is none.
func (s *server) start(t testing.TB) error {
	if s.process != nil {
		return nil
	}
	if s.dir != "" {
		return errors.New("it was stopped: call Resume")
	}
	if s.bin = find(); s.bin == "" {
		t.Skip("PostgreSQL is not installed: apt-get install postgresql")
	}
	dir, err := os.MkdirTemp("", "pgtest") // not the test's own: a socket's path is short
	if err != nil {
		return err
	}
	s.dir, s.as = dir, &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // as whom the server refuses to run
		if err := s.giveTo("postgres"); err != nil {
			return err
		}
	}
	if err := s.watch(); err != nil {
		return err
	}
	if s.disk > 0 {
		if err := s.mount(); err != nil {
			return err
		}
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = s.as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s.run()
}

// find returns the folder of the newest server that is installed, "" for none.
func find() string {
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if p, err := exec.LookPath("postgres"); err == nil {
		paths = append(paths, p)
	}
	for _, p := range slices.Backward(paths) {
		if _, err := os.Stat(filepath.Join(filepath.Dir(p), "initdb")); err == nil {
			return filepath.Dir(p)
		}
	}
	return ""
}

func (s *server) giveTo(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, uid, gid)
}

// watch starts what cleans up once this process has ended, however it ends.
func (s *server) watch() error {
	c := exec.Command("/bin/sh", "-c", `cat >/dev/null; p=$(head -n 1 data/postmaster.pid) && kill -QUIT "$p" &&
		while kill -0 "$p"; do sleep 0.1; done; umount data; cd / && rm -rf "$0"`, s.dir)
	c.Dir, c.SysProcAttr = s.dir, &syscall.SysProcAttr{Setpgid: true}
	in, err := c.StdinPipe()
	s.life, s.keeper = in, c
	return errors.Join(err, c.Start())
}

// run starts the server and returns when it answers.
func (s *server) run() error {
	until := time.Now().Add(time.Minute)
	for {
		err := s.try(until)
		if err == nil || time.Now().After(until) {
			return err
		}
		time.Sleep(50 * time.Millisecond) // what was killed still lets go of its memory
	}
}

func (s *server) try(until time.Time) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(filepath.Join(s.bin, "postgres"), "-D", filepath.Join(s.dir, "data"), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "max_connections=200")
	c.Dir, c.SysProcAttr, c.Stdout, c.Stderr = s.dir, s.as, log, log
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for time.Now().Before(until) {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended: %w", err)
		default:
		}
		if err := s.exec("SELECT 1"); err == nil {
			s.process, s.ended = c.Process, ended
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("it does not answer")
}

func (s *server) exec(query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, query)
	return errors.Join(err, c.Close(ctx))
}
