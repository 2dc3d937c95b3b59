package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/rouse-run/rouse"
)

// damaged says that a stored payload is not what was written.
func damaged(op, row string) *rouse.Error {
	return rouse.Errorf(rouse.Internal, op, row, "its bytes do not match their checksum: restore it from a backup or delete it")
}

func newer(path string, has, want int) error {
	return rouse.Errorf(rouse.Invalid, "open store", path,
		"it has schema %d and this program knows only %d: run a newer version", has, want)
}

// explain makes err an Error of the right Kind; one it already is, it stays.
func explain(op, on string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*rouse.Error](err); ok {
		if e == errClosed {
			return rouse.Errorf(rouse.Unavailable, op, on, "%w", e.Err)
		}
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case lib.SQLITE_FULL:
			return rouse.Errorf(rouse.Unavailable, op, on, "the disk is full: free some space (%w)", err)
		case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
			return rouse.Errorf(rouse.Internal, op, on, "the file is damaged: move it away or restore it from a backup (%w)", err)
		case lib.SQLITE_TOOBIG:
			return rouse.Errorf(rouse.TooLarge, op, on, "it is too large to be stored (%w)", err)
		}
	}
	return &rouse.Error{Op: op, Kind: kindOf(err), On: on, Err: err}
}

// kindOf says Unavailable of all that may go away by itself or by making room.
func kindOf(err error) rouse.Kind {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_CANTOPEN,
			lib.SQLITE_NOMEM, lib.SQLITE_READONLY, lib.SQLITE_INTERRUPT, lib.SQLITE_PROTOCOL:
			return rouse.Unavailable
		}
		return rouse.Internal
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return rouse.Unavailable
	}
	return rouse.KindOf(err)
}
