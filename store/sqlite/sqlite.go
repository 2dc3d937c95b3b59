// Package sqlite keeps what the platform remembers in SQLite files, one folder
// of them: maps of keys, and the records of what ran.
//
// Each file has one goroutine that writes. It commits everything that queued up
// during its last commit in one transaction with one fsync, and only then tells
// the callers: what was acknowledged survives a power cut. Reading goes beside
// it through a few connections of its own.
//
// Where a context ends while a change waits, the call returns at once and the
// change may or may not still happen; bytes handed to the call must then not be
// changed. Errors that SQLite reports for want of space, time or a working disk
// are Unavailable: the store goes on, and works again when the cause is gone.
// Payloads carry a CRC32C; a damaged one is an Internal Error that names its
// row, and harms no neighbour. Where a list meets one, it returns what it could
// read beside that Error.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rouse-run/rouse"
)

// A Config says where a Store is.
type Config struct {
	Dir string           // made with mode 0700 where it is missing
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil is time.Now
}

// A Store is the open files of one folder. Its methods may be called
// concurrently.
type Store struct {
	lock    *os.File
	records *records
	config  Config

	mu   sync.Mutex
	keys map[string]*keys // guarded by mu; nil once closed

	closing sync.Once
	closed  error // what Close returned
}

// Open opens the files in a folder and makes those that are missing. One
// process at a time may have a folder open. Errors: Conflict where another one
// has, Invalid where a newer version of the program wrote it, Unavailable.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "open store", c.Dir, "find the folder: %w", err)
	}
	c.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, rouse.Errorf(rouse.Unavailable, "open store", dir, "make the folder: %w", err)
	}
	s := &Store{config: c, keys: map[string]*keys{}}
	if s.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	if s.records, err = openRecords(ctx, c); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Records returns what ran.
func (s *Store) Records() rouse.Records { return s.records }

// Keys returns the map of a name, with a file and a writer of its own.
func (s *Store) Keys(ctx context.Context, name string) (rouse.Keys, error) {
	if err := rouse.CheckName(name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		return nil, explain("open", name, errClosed)
	}
	if k := s.keys[name]; k != nil {
		return k, nil
	}
	k, err := openKeys(ctx, s.config, "keys-"+name)
	if err != nil {
		return nil, err
	}
	s.keys[name] = k
	return k, nil
}

// Close commits what was accepted, refuses what comes later and lets go of the
// folder. It may be called again.
func (s *Store) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Store) close() error {
	var errs []error
	s.mu.Lock()
	for _, k := range s.keys {
		errs = append(errs, k.file.close())
	}
	s.keys = nil
	s.mu.Unlock()
	if s.records != nil {
		errs = append(errs, s.records.close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// lockFolder keeps other processes out for as long as the file is open: the
// kernel lets go of it however the process ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, rouse.Errorf(rouse.Unavailable, "open store", dir, "make the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = rouse.Errorf(rouse.Conflict, "open store", dir,
			"another process has this folder open: stop it or choose another folder (%w)", err)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// syncFolder makes what was created, renamed or removed in dir durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync folder: %w", err), d.Close())
	}
	return d.Close()
}
