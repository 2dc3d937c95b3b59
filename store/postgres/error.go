package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-run/rouse"
)

// Codes of PostgreSQL's appendix A.
const (
	diskFull        = "53100"
	duplicateSchema = "42P06"
	duplicateTable  = "42P07"
	duplicateObject = "42710" // of a type, which each table has
	undefinedObject = "42704"
	undefinedTable  = "42P01"
	uniqueViolation = "23505"
	readOnly        = "25006" // a standby that was not promoted yet
)

var errClosed = rouse.Errorf(rouse.Unavailable, "write", "store", "the store is closed")

// damaged says that a stored payload is not what was written.
func damaged(op, row string) *rouse.Error {
	return rouse.Errorf(rouse.Internal, op, row, "its bytes do not match their checksum: restore it from a backup or delete it")
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
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return &rouse.Error{Op: op, Kind: rouse.Unavailable, On: on, Err: err}
	case class(err) == "28":
		return rouse.Errorf(rouse.Denied, op, on, "the database refuses the user: check the user and the password in the URL (%w)", err)
	case code(err) == "3D000":
		return rouse.Errorf(rouse.NotFound, op, on, "there is no such database: create it or check the URL (%w)", err)
	case code(err) == "42501":
		return rouse.Errorf(rouse.Denied, op, on, "the user lacks a permission in the database: grant it (%w)", err)
	case code(err) == diskFull:
		return rouse.Errorf(rouse.Unavailable, op, on, "the database's disk is full: free some space (%w)", err)
	case conflict(err):
		return rouse.Errorf(rouse.Unavailable, op, on, "others keep changing the same: try again later (%w)", err)
	case lost(err):
		return rouse.Errorf(rouse.Unavailable, op, on, "the database can't be reached: check that it runs and that the URL is right (%w)", err)
	}
	return &rouse.Error{Op: op, Kind: rouse.Internal, On: on, Err: err}
}

func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

func class(err error) string {
	if c := code(err); len(c) == 5 {
		return c[:2]
	}
	return ""
}

// conflict reports whether a transaction met another and may be repeated.
func conflict(err error) bool {
	c := code(err)
	return c == "40001" || c == "40P01"
}

// lost reports whether the connection broke, or the server can't serve now.
func lost(err error) bool {
	switch class(err) {
	case "":
		return true // not an answer of the server's
	case "08", "53", "57":
		return code(err) != diskFull
	}
	return code(err) == readOnly
}

// refused reports whether the server has said no, so that nothing is committed.
func refused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.SeverityUnlocalized == "ERROR" || pgconn.SafeToRetry(err)
}

// A backoff waits longer each time, at random.
type backoff struct{ n int }

// wait returns an error where ctx ends or stop closes before.
func (b *backoff) wait(ctx context.Context, stop <-chan struct{}) error {
	most := min(time.Millisecond<<min(b.n, 10), time.Second/2)
	b.n++
	t := time.NewTimer(most/4 + rand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-stop:
		return errClosed
	}
}
