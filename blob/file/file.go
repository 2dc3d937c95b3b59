// Package file keeps blobs as files, each named by the digest of its bytes:
// ab/cdef… below one folder.
package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rouse-run/rouse"
)

// tempPrefix begins the name of a file that is still being written.
const tempPrefix = "tmp-"

// Blobs implements rouse.Blobs. What cannot be written for want of space is
// Unavailable, and leaves nothing behind.
type Blobs struct{ dir string }

// Open makes the folder where it is missing, with mode 0700, and removes what a
// process that ended in the middle of a Put has left. One process at a time may
// have it open. Errors: Unavailable.
func Open(dir string) (*Blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explain("open blobs", dir, err)
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return nil, explain("open blobs", dir, err)
	}
	return &Blobs{dir}, nil
}

// path returns where a blob is; ok is false for what is no digest.
func (b *Blobs) path(d rouse.Digest) (path string, ok bool) {
	if !isDigest(string(d)) {
		return "", false
	}
	return filepath.Join(b.dir, string(d[:2]), string(d[2:])), true
}

func isDigest(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// Put writes to a file of another name, which gets its own once all of it is on
// the disk.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (rouse.Digest, int64, error) {
	tmp, err := os.CreateTemp(b.dir, tempPrefix) // mode 0600
	if err != nil {
		return "", 0, explain("put blob", b.dir, err)
	}
	d, n, err := b.write(ctx, tmp, r)
	if err != nil {
		_ = tmp.Close()           // the first error is the one to tell
		_ = os.Remove(tmp.Name()) // likewise; Open tries again
		return "", 0, err
	}
	return d, n, nil
}

func (b *Blobs) write(ctx context.Context, tmp *os.File, r io.Reader) (rouse.Digest, int64, error) {
	sum := sha256.New()
	n, err := copyAll(ctx, tmp, sum, r)
	if err != nil {
		return "", 0, err
	}
	d := rouse.Digest(hex.EncodeToString(sum.Sum(nil)))
	if err := b.keep(tmp, d, n); err != nil {
		return "", 0, explain("put blob", string(d), err)
	}
	return d, n, nil
}

// copyAll returns errors of r as they are.
func copyAll(ctx context.Context, tmp *os.File, sum hash.Hash, r io.Reader) (n int64, err error) {
	buf := make([]byte, 128<<10)
	for {
		if err := ctx.Err(); err != nil {
			return n, explain("put blob", tmp.Name(), err)
		}
		m, err := r.Read(buf)
		if m > 0 {
			sum.Write(buf[:m])
			if _, err := tmp.Write(buf[:m]); err != nil {
				return n, explain("put blob", tmp.Name(), err)
			}
			n += int64(m)
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// keep gives tmp its name, durably, and closes it.
func (b *Blobs) keep(tmp *os.File, d rouse.Digest, n int64) error {
	path, _ := b.path(d)
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o700); err == nil {
		if err := syncFolder(b.dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.Size() == n {
		if err := errors.Join(tmp.Close(), os.Remove(tmp.Name())); err != nil {
			return err
		}
		// Another Put may have renamed it a moment ago and not come further.
		return syncFolder(folder)
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes what was created, renamed or removed in it durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open returns a reader that compares the bytes with the digest and, where they
// differ, returns an Internal Error in place of io.EOF.
func (b *Blobs) Open(ctx context.Context, d rouse.Digest) (io.ReadCloser, error) {
	path, ok := b.path(d)
	if !ok {
		return nil, missing("open blob", d)
	}
	if err := ctx.Err(); err != nil {
		return nil, explain("open blob", string(d), err)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing("open blob", d)
	}
	if err != nil {
		return nil, explain("open blob", string(d), err)
	}
	return &reader{file: f, digest: d, sum: sha256.New()}, nil
}

type reader struct {
	file   *os.File
	digest rouse.Digest
	sum    hash.Hash
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	r.sum.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(r.sum.Sum(nil)) != string(r.digest) {
		err = rouse.Errorf(rouse.Internal, "read blob", string(r.digest),
			"its bytes are not those that were stored: restore %s from a backup or delete it", r.file.Name())
	}
	return n, err
}

func (r *reader) Close() error { return r.file.Close() }

// Stat returns a blob's size.
func (b *Blobs) Stat(ctx context.Context, d rouse.Digest) (int64, error) {
	path, ok := b.path(d)
	if !ok {
		return 0, missing("stat blob", d)
	}
	if err := ctx.Err(); err != nil {
		return 0, explain("stat blob", string(d), err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, missing("stat blob", d)
	}
	if err != nil {
		return 0, explain("stat blob", string(d), err)
	}
	return info.Size(), nil
}

// Delete removes a blob; who reads it reads on.
func (b *Blobs) Delete(ctx context.Context, d rouse.Digest) error {
	path, ok := b.path(d)
	if !ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return explain("delete blob", string(d), err)
	}
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	return explain("delete blob", string(d), err)
}

// List goes by digest.
func (b *Blobs) List(ctx context.Context, f func(rouse.Digest, int64) bool) error {
	folders, err := os.ReadDir(b.dir)
	if err != nil {
		return explain("list blobs", b.dir, err)
	}
	for _, folder := range folders {
		if len(folder.Name()) != 2 || !folder.IsDir() {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(b.dir, folder.Name()))
		if err != nil {
			return explain("list blobs", b.dir, err)
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return explain("list blobs", b.dir, err)
			}
			d := folder.Name() + e.Name()
			info, err := e.Info()
			if !isDigest(d) || errors.Is(err, fs.ErrNotExist) {
				continue // not ours, or deleted just now
			}
			if err != nil {
				return explain("list blobs", d, err)
			}
			if !f(rouse.Digest(d), info.Size()) {
				return nil
			}
		}
	}
	return nil
}

func missing(op string, d rouse.Digest) error {
	return rouse.Errorf(rouse.NotFound, op, string(d), "there is none")
}

// explain makes err an Error: a disk that says no may say yes later.
func explain(op, on string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("the disk is full: free some space (%w)", err)
	}
	return &rouse.Error{Op: op, Kind: rouse.Unavailable, On: on, Err: err}
}
