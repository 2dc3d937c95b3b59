package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
)

// Unpack makes the folder dir from the zip of size bytes in r. It may be given
// any bytes: nothing is written outside of dir, and no more than l allows. Files
// get mode 0644 or 0755, folders 0755. The folder appears at once or not at
// all; it must not be there yet. It returns the bytes of all files.
//
// Errors: Invalid for what is no zip, is damaged, or holds names that lead
// outside, links, devices or the same name twice; TooLarge.
func Unpack(r io.ReaderAt, size int64, dir string, l Limits) (int64, error) {
	u := unpacker{limits: l, kinds: map[string]bool{}}
	if err := u.plan(r, size); err != nil {
		return 0, err
	}
	// The name begins with a dot so that a crash's leftovers can be told from bundles.
	temp, err := os.MkdirTemp(filepath.Dir(dir), unfinished+"*")
	if err != nil {
		return 0, fmt.Errorf("unpack: %w", err)
	}
	n, err := u.write(temp)
	if err == nil {
		err = os.Rename(temp, dir)
	}
	if err != nil {
		os.RemoveAll(temp)
		return 0, err
	}
	return n, nil
}

// unfinished begins the names of folders that are not whole.
const unfinished = ".unpack-"

type unpacker struct {
	limits  Limits
	files   []entry
	folders []string
	kinds   map[string]bool // of each path that is there: true is a folder
	ranges  [][2]int64      // where in the archive each file's bytes are
	total   int64
}

type entry struct {
	*zip.File
	path string
}

func refuse(format string, args ...any) error {
	return rouse.Errorf(rouse.Invalid, "unpack", "", format, args...)
}

func tooLarge(format string, args ...any) error {
	return rouse.Errorf(rouse.TooLarge, "unpack", "", format, args...)
}

// plan reads the archive's directory and checks all that can be known from it.
func (u *unpacker) plan(r io.ReaderAt, size int64) error {
	if n, ok := directorySize(r, size); !ok {
		return refuse("this is not a whole zip archive: its end is missing or damaged; pack it again")
	} else if n > int64(u.limits.Files)*256+4096 {
		// The reader keeps the directory in memory, so its size is bounded before it is read.
		return tooLarge("the archive lists more files than the %d allowed", u.limits.Files)
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are checked below
		return refuse("this is not a zip archive that can be read: %w", err)
	}
	for _, f := range z.File {
		if err := u.entry(f); err != nil {
			return err
		}
	}
	if len(u.files) == 0 {
		return refuse("the archive holds no file")
	}
	if u.limits.Ratio > 0 && u.total > 64<<20 && u.total/u.limits.Ratio > size {
		return tooLarge("the archive unpacks to more than %d times its size", u.limits.Ratio)
	}
	slices.SortFunc(u.ranges, func(a, b [2]int64) int { return int(min(max(a[0]-b[0], -1), 1)) })
	for i := 1; i < len(u.ranges); i++ {
		if u.ranges[i][0] < u.ranges[i-1][1] {
			return refuse("two files of the archive share the same bytes")
		}
	}
	return nil
}

func (u *unpacker) entry(f *zip.File) error {
	name, err := cleanName(f.Name)
	if err != nil {
		return refuse("%w", err)
	}
	folder := strings.HasSuffix(f.Name, "/")
	m := f.Mode()
	switch {
	case m&fs.ModeSymlink != 0:
		return refuse("%q is a symbolic link; pack what it leads to instead", f.Name)
	case !m.IsRegular() && !m.IsDir() || m.IsDir() != folder:
		return refuse("%q is neither a file nor a folder", f.Name)
	case f.Flags&1 != 0:
		return refuse("%q is encrypted", f.Name)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return refuse("%q is compressed by method %d; only stored and deflated files are understood", f.Name, f.Method)
	}
	if name == "." {
		if folder {
			return nil
		}
		return refuse("%q is no name for a file", f.Name)
	}
	if err := u.place(name, folder); err != nil || folder {
		return err
	}
	if f.UncompressedSize64 > uint64(u.limits.Bytes) || u.total+int64(f.UncompressedSize64) > u.limits.Bytes {
		return tooLarge("the archive unpacks to more than %d MB", u.limits.Bytes>>20)
	}
	start, err := f.DataOffset()
	if err != nil {
		return refuse("%q is damaged: %w", f.Name, err)
	}
	if f.CompressedSize64 > 0 {
		u.ranges = append(u.ranges, [2]int64{start, start + int64(min(f.CompressedSize64, 1<<62))})
	}
	u.total += int64(f.UncompressedSize64)
	u.files = append(u.files, entry{f, name})
	return nil
}

// place takes name, and the folders it implies, into the plan.
func (u *unpacker) place(name string, folder bool) error {
	if was, ok := u.kinds[name]; ok {
		if was && folder {
			return nil // implied by an earlier file, or listed twice
		}
		return refuse("%q is in the archive twice", name)
	}
	if dir := path.Dir(name); dir != "." {
		if isFolder, ok := u.kinds[dir]; ok && !isFolder {
			return refuse("%q is both a file and a folder", dir)
		} else if !ok {
			if err := u.place(dir, true); err != nil {
				return err
			}
		}
	}
	if len(u.kinds) >= u.limits.Files {
		return tooLarge("the archive holds more than the %d files and folders allowed", u.limits.Files)
	}
	u.kinds[name] = folder
	if folder {
		u.folders = append(u.folders, name) // after its parent
	}
	return nil
}

func (u *unpacker) write(temp string) (int64, error) {
	root, err := os.OpenRoot(temp)
	if err != nil {
		return 0, fmt.Errorf("unpack: %w", err)
	}
	defer root.Close()
	// Modes are set by name, as the umask may have taken the bits that let
	// another user read.
	for _, dir := range append([]string{"."}, u.folders...) {
		if dir != "." {
			if err := root.Mkdir(dir, 0o755); err != nil {
				return 0, fmt.Errorf("unpack: %w", err)
			}
		}
		if err := root.Chmod(dir, 0o755); err != nil {
			return 0, fmt.Errorf("unpack: %w", err)
		}
	}
	for _, f := range u.files {
		if err := writeFile(root, f); err != nil {
			return 0, err
		}
	}
	return u.total, nil
}

func writeFile(root *os.Root, f entry) error {
	in, err := f.Open()
	if err != nil {
		return refuse("%q is damaged: %w", f.path, err)
	}
	defer in.Close()
	out, err := root.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer out.Close()
	if err := out.Chmod(mode(f.Mode())); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	// The declared size was counted against the limit; the real one may not differ.
	src := &source{r: io.LimitReader(in, int64(f.UncompressedSize64)+1)}
	n, err := io.Copy(out, src)
	switch {
	case src.err != nil:
		return refuse("%q is damaged: %w", f.path, src.err)
	case err != nil:
		return fmt.Errorf("unpack: %w", err)
	case uint64(n) != f.UncompressedSize64:
		return refuse("%q is damaged: it has not the %d bytes that the archive says", f.path, f.UncompressedSize64)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}

// A source remembers its reader's error, to tell it from the writer's.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// directorySize returns at least how many bytes of the archive zip.NewReader
// takes for its directory; false where there is no end record. APPNOTE 6.3.10,
// sections 4.3.14 to 4.3.16.
func directorySize(r io.ReaderAt, size int64) (int64, bool) {
	tail := make([]byte, min(size, 22+65535))
	if len(tail) < 22 {
		return 0, false
	}
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return 0, false
	}
	i := bytes.LastIndex(tail[:len(tail)-18], []byte("PK\x05\x06"))
	if i < 0 {
		return 0, false
	}
	end := size - int64(len(tail)) + int64(i)
	length := int64(binary.LittleEndian.Uint32(tail[i+12:]))
	offset := int64(binary.LittleEndian.Uint32(tail[i+16:]))
	if length == 0xffffffff || offset == 0xffffffff || binary.LittleEndian.Uint16(tail[i+10:]) == 0xffff {
		length, offset = directory64(r, end, length, offset)
	}
	// A reader may trust the offset or, where the archive has a prefix, the length.
	return max(length, end-offset), length >= 0 && offset >= 0 && offset <= size
}

func directory64(r io.ReaderAt, end, length, offset int64) (int64, int64) {
	var locator [20]byte
	if _, err := r.ReadAt(locator[:], end-20); end < 20 || err != nil || string(locator[:4]) != "PK\x06\x07" {
		return length, offset
	}
	at := int64(binary.LittleEndian.Uint64(locator[8:]))
	var record [56]byte
	if _, err := r.ReadAt(record[:], at); at < 0 || err != nil || string(record[:4]) != "PK\x06\x06" {
		return length, offset
	}
	return int64(binary.LittleEndian.Uint64(record[40:])), int64(binary.LittleEndian.Uint64(record[48:]))
}
