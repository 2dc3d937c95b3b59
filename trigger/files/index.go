package files

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// An index knows which files were announced, and keeps that on disk: a log of
// changes that is written anew when most of it is old. It is not synced: what a
// power cut takes is announced again under the same ID.
//
// The file: for each record its length and the CRC32C of its body, four bytes
// each, then the body. The first body is what the index is of; all others are a
// path's length, the path, and four numbers, or none where the file is gone.
type index struct {
	path    string
	of      string
	nodes   map[string]node
	file    *os.File
	records int  // in the file
	broken  bool // it may end in half a record
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const maxRecord = 1 << 16

// openIndex reads the index at path. fresh is true where there was none, or one
// of something else; then there is no file until the first rewrite.
func openIndex(path, of string) (x *index, fresh bool, err error) {
	x = &index{path: path, of: of, nodes: map[string]node{}}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return x, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open index: %w", err)
	}
	good, records, err := load(f, of, x.nodes)
	if err == nil && records == 0 {
		f.Close()
		return x, true, nil
	}
	if err == nil {
		// What follows the last whole record was cut off by a crash.
		if err = f.Truncate(good); err == nil {
			_, err = f.Seek(good, io.SeekStart)
		}
	}
	if err != nil {
		f.Close()
		return nil, false, fmt.Errorf("read index: %w", err)
	}
	x.file, x.records = f, records
	return x, false, nil
}

// load reads records up to the first that is damaged. It returns how many bytes
// and records are good; none are where the index is of something else.
func load(r io.Reader, of string, nodes map[string]node) (good int64, records int, err error) {
	b := bufio.NewReaderSize(r, 1<<16)
	for {
		body, err := readRecord(b)
		if err != nil || body == nil {
			return good, records, err
		}
		if records == 0 {
			if string(body) != of {
				return 0, 0, nil
			}
		} else {
			path, n, ok := readEntry(body)
			if !ok {
				return good, records, nil
			}
			if n == nil {
				delete(nodes, path)
			} else {
				nodes[path] = *n
			}
		}
		good, records = good+8+int64(len(body)), records+1
	}
}

// readRecord returns nil at the end and at what is damaged.
func readRecord(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, unlessCut(err)
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size == 0 || size > maxRecord {
		return nil, nil
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, unlessCut(err)
	}
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, nil
	}
	return body, nil
}

func unlessCut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func readEntry(b []byte) (path string, n *node, ok bool) {
	size, k := binary.Uvarint(b)
	if k <= 0 || size > uint64(len(b)-k) {
		return "", nil, false
	}
	path, b = string(b[k:k+int(size)]), b[k+int(size):]
	if len(b) == 0 {
		return path, nil, true
	}
	if len(b) != 32 {
		return "", nil, false
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return path, &node{number(0), int64(number(1)), int64(number(2)), int64(number(3))}, true
}

func appendRecord(b, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

func appendEntry(b []byte, path string, n *node) []byte {
	body := append(binary.AppendUvarint(nil, uint64(len(path))), path...)
	if n != nil {
		for _, v := range []uint64{n.inode, uint64(n.size), uint64(n.mtime), uint64(n.changed)} {
			body = binary.LittleEndian.AppendUint64(body, v)
		}
	}
	return appendRecord(b, body)
}

// A change is of one path; a nil node takes it away.
type change struct {
	path string
	node *node
}

// apply makes changes. Where they can't be written they are known until the end,
// and the next call writes all anew.
func (x *index) apply(changes []change) error {
	var b []byte
	for _, c := range changes {
		b = appendEntry(b, c.path, c.node)
		if c.node == nil {
			delete(x.nodes, c.path)
		} else {
			x.nodes[c.path] = *c.node
		}
	}
	x.records += len(changes)
	if x.broken || x.records > 2*len(x.nodes)+1000 {
		return x.rewrite()
	}
	if _, err := x.file.Write(b); err != nil {
		x.broken = true
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// rewrite puts a new file in the place of the old one.
func (x *index) rewrite() error {
	if err := os.MkdirAll(filepath.Dir(x.path), 0o700); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	f, err := os.OpenFile(x.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	_, err = w.Write(appendRecord(nil, []byte(x.of)))
	for path, n := range x.nodes {
		if err == nil {
			_, err = w.Write(appendEntry(nil, path, &n))
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(x.path+".new", x.path)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("write index: %w", err)
	}
	_ = x.close()
	x.file, x.records, x.broken = f, len(x.nodes)+1, false
	return nil
}

func (x *index) close() error {
	if x.file == nil {
		return nil
	}
	return x.file.Close()
}
