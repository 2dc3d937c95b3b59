package wasm

import (
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
)

// maxFiles is how many files one Sandbox may have open: they are the server's
// own descriptors.
const maxFiles = 64

// A folder shows what is below a folder of the host, to be read. Neither ".."
// nor a link leads out of it.
type folder struct {
	dir  string
	open atomic.Int32
}

// Open implements fs.FS.
func (d *folder) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if d.open.Add(1) > maxFiles {
		d.open.Add(-1)
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	f, err := os.OpenInRoot(d.dir, name)
	if err != nil {
		d.open.Add(-1)
		return nil, err
	}
	return &file{File: f, of: d}, nil
}

type file struct {
	*os.File
	of *folder
}

// Close implements fs.File.
func (f *file) Close() error {
	err := f.File.Close()
	if err == nil {
		f.of.open.Add(-1)
	}
	return err
}
