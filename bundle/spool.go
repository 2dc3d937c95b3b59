package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"github.com/rouse-run/rouse"
)

// inMemory is how many bytes of an archive are held in memory; a larger one
// goes to a file.
const inMemory = 8 << 20

// A Spool holds an archive that came as a stream, to be read at any place.
type Spool struct {
	io.ReaderAt
	digest rouse.Digest
	size   int64
	file   *os.File
}

// Spool reads all of r. The Spool must be closed. An error of r is returned as
// it is.
func (c *Cache) Spool(r io.Reader) (*Spool, error) {
	sum := sha256.New()
	r = io.TeeReader(r, sum)
	head, err := io.ReadAll(io.LimitReader(r, inMemory))
	if err != nil {
		return nil, err
	}
	s := &Spool{ReaderAt: bytes.NewReader(head), size: int64(len(head))}
	if s.size == inMemory {
		if err := s.spill(c.cfg.Dir, head, r); err != nil {
			s.Close()
			return nil, err
		}
	}
	s.digest = rouse.Digest(hex.EncodeToString(sum.Sum(nil)))
	return s, nil
}

func (s *Spool) spill(dir string, head []byte, rest io.Reader) (err error) {
	if s.file, err = os.CreateTemp(dir, unfinished+"*.zip"); err != nil {
		return err
	}
	// Without a name it goes away with the process, however that ends.
	if err := os.Remove(s.file.Name()); err != nil {
		return err
	}
	if _, err := s.file.Write(head); err != nil {
		return err
	}
	n, err := io.Copy(s.file, rest)
	s.size += n
	s.ReaderAt = s.file
	return err
}

// Digest names what is held.
func (s *Spool) Digest() rouse.Digest { return s.digest }

// Size is how many bytes are held.
func (s *Spool) Size() int64 { return s.size }

// Reader reads it from the start. Any number may read at once.
func (s *Spool) Reader() io.Reader { return io.NewSectionReader(s.ReaderAt, 0, s.size) }

// Close frees the Spool.
func (s *Spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
