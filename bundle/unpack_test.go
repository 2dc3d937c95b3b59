package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// archive makes a zip of headers, each with text.
func archive(t testing.TB, text string, headers ...zip.FileHeader) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, h := range headers {
		w, err := z.CreateHeader(&h)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, "/") {
			if _, err := w.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func named(list ...string) []zip.FileHeader {
	var hs []zip.FileHeader
	for _, n := range list {
		hs = append(hs, zip.FileHeader{Name: n, Method: zip.Deflate})
	}
	return hs
}

func moded(name string, m fs.FileMode) zip.FileHeader {
	h := zip.FileHeader{Name: name}
	h.SetMode(m)
	return h
}

// bomb is a small archive of n files that all share one run of zeros.
func bomb(t testing.TB, n int) []byte {
	one := archive(t, strings.Repeat("\x00", 1<<20), named("0000")...)
	at := bytes.Index(one, []byte("PK\x01\x02"))
	end := bytes.LastIndex(one, []byte("PK\x05\x06"))
	b := bytes.Clone(one[:at])
	for i := range n {
		record := bytes.Clone(one[at:end])
		copy(record[46:], fmt.Sprintf("%04d", i))
		b = append(b, record...)
	}
	tail := bytes.Clone(one[end:])
	binary.LittleEndian.PutUint16(tail[8:], uint16(n))
	binary.LittleEndian.PutUint16(tail[10:], uint16(n))
	binary.LittleEndian.PutUint32(tail[12:], uint32(n*(end-at)))
	return append(b, tail...)
}

// sized is an archive whose only file says that it has n bytes.
func sized(t testing.TB, n uint32) []byte {
	b := archive(t, "hello", named("a.txt")...)
	at := bytes.Index(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[at+24:], n)
	return b
}

func TestUnpackRefuses(t *testing.T) {
	whole := archive(t, "print('hello')", named("main.py")...)
	damaged := bytes.Clone(whole)
	damaged[bytes.Index(damaged, []byte("main.py"))+9] ^= 0xff
	small := Limits{Files: 10, Bytes: 1 << 20, Ratio: 100}
	wide := Limits{Files: 1000, Bytes: 10 << 30}
	for name, c := range map[string]struct {
		zip    []byte
		limits Limits
		kind   rouse.Kind
		says   string
	}{
		"nothing":            {nil, small, rouse.Invalid, "not a whole zip"},
		"no zip":             {[]byte(strings.Repeat("#!/bin/sh\n", 100)), small, rouse.Invalid, "not a whole zip"},
		"truncated":          {whole[:len(whole)-10], small, rouse.Invalid, "not a whole zip"},
		"headless":           {whole[40:], small, rouse.Invalid, ""},
		"damaged":            {damaged, small, rouse.Invalid, "damaged"},
		"no file":            {archive(t, ""), small, rouse.Invalid, "no file"},
		"only folders":       {archive(t, "", named("a/", "a/b/")...), small, rouse.Invalid, "no file"},
		"parent":             {archive(t, "x", named("../evil")...), small, rouse.Invalid, "leads out"},
		"parent inside":      {archive(t, "x", named("a/../../evil")...), small, rouse.Invalid, "leads out"},
		"parent of the root": {archive(t, "x", named("a/..")...), small, rouse.Invalid, "leads out"},
		"absolute":           {archive(t, "x", named("/etc/passwd")...), small, rouse.Invalid, "absolute"},
		"drive":              {archive(t, "x", named("C:/evil")...), small, rouse.Invalid, "absolute"},
		"backslash":          {archive(t, "x", named(`a\..\evil`)...), small, rouse.Invalid, "backslash"},
		"NUL":                {archive(t, "x", named("a\x00b")...), small, rouse.Invalid, "NUL"},
		"not UTF-8":          {archive(t, "x", zip.FileHeader{Name: "a\xff", NonUTF8: true}), small, rouse.Invalid, "UTF-8"},
		"long name":          {archive(t, "x", named(strings.Repeat("a", 256))...), small, rouse.Invalid, "255"},
		"symbolic link":      {archive(t, "/etc", moded("a", fs.ModeSymlink|0o777)), small, rouse.Invalid, "symbolic link"},
		"device":             {archive(t, "", moded("a", fs.ModeDevice|0o666)), small, rouse.Invalid, "neither"},
		"pipe":               {archive(t, "", moded("a", fs.ModeNamedPipe|0o666)), small, rouse.Invalid, "neither"},
		"folder named so":    {archive(t, "x", moded("a", fs.ModeDir|0o755)), small, rouse.Invalid, "neither"},
		"twice":              {archive(t, "x", named("a", "a")...), small, rouse.Invalid, "twice"},
		"twice otherwise":    {archive(t, "x", named("a/b", "a//./b")...), small, rouse.Invalid, "twice"},
		"file over folder":   {archive(t, "x", named("a/b", "a")...), small, rouse.Invalid, "twice"},
		"folder over file":   {archive(t, "x", named("a", "a/b")...), small, rouse.Invalid, "both a file and a folder"},
		"root as a file":     {archive(t, "x", named(".")...), small, rouse.Invalid, "no name"},
		"many files":         {archive(t, "", named(strings.Split("abcdefghijk", "")...)...), small, rouse.TooLarge, "more than the 10"},
		"many folders":       {archive(t, "x", named("a/b/c/d/e/f/g/h/i/j/k")...), small, rouse.TooLarge, "more than the 10"},
		"large directory":    {bomb(t, 200), Limits{Files: 2, Bytes: 1 << 30}, rouse.TooLarge, "lists more files"},
		"large file":         {archive(t, strings.Repeat("x", 1<<20+1), named("a")...), small, rouse.TooLarge, "more than 1 MB"},
		"says larger":        {sized(t, 6), small, rouse.Invalid, "damaged"},
		"says smaller":       {sized(t, 4), small, rouse.Invalid, "damaged"},
		"says huge":          {sized(t, 1<<31), small, rouse.TooLarge, "more than 1 MB"},
		"overlapping bomb":   {bomb(t, 200), wide, rouse.Invalid, "share the same bytes"},
		"dense bomb":         {bomb(t, 200), Limits{Files: 1000, Bytes: 1 << 30, Ratio: 100}, rouse.TooLarge, "100 times"},
	} {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			_, err := Unpack(bytes.NewReader(c.zip), int64(len(c.zip)), filepath.Join(above, "out"), c.limits)
			if rouse.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.says)
			}
			if left, err := os.ReadDir(above); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestUnpackMakesFilesReadable(t *testing.T) {
	z := archive(t, "x", moded("bin/run", 0o100), moded("a.py", 0), moded("set", fs.ModeSetuid|0o4711), moded("empty/", fs.ModeDir|0o700))
	out := filepath.Join(t.TempDir(), "out")
	n, err := Unpack(bytes.NewReader(z), int64(len(z)), out, DefaultLimits)
	if err != nil || n != 3 {
		t.Fatal(n, err)
	}
	for name, want := range map[string]fs.FileMode{
		"": fs.ModeDir | 0o755, "bin": fs.ModeDir | 0o755, "bin/run": 0o755, "a.py": 0o644, "set": 0o755, "empty": fs.ModeDir | 0o755,
	} {
		info, err := os.Stat(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%q: %v, want %v", name, info.Mode(), want)
		}
	}
	if _, err := Unpack(bytes.NewReader(z), int64(len(z)), out, DefaultLimits); err == nil {
		t.Error("unpacked over a folder that is there")
	}
}

func TestUnpackReadsWhatOthersPack(t *testing.T) {
	// Some write "./" before names, and self-extracting archives have a prefix.
	plain := archive(t, "x", named("./a.py", "dir/", "dir/b.py")...)
	for name, z := range map[string][]byte{"plain": plain, "prefix": append([]byte("#!/bin/sh\n"), plain...)} {
		out := filepath.Join(t.TempDir(), "out")
		if _, err := Unpack(bytes.NewReader(z), int64(len(z)), out, DefaultLimits); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(out, "dir/b.py")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var many []zip.FileHeader
	for i := range 66_000 { // more than the plain end record can count
		many = append(many, zip.FileHeader{Name: fmt.Sprint(i)})
	}
	z := archive(t, "", many...)
	if n, ok := directorySize(bytes.NewReader(z), int64(len(z))); !ok || n < 66_000*46 {
		t.Errorf("directory of %d bytes, %v", n, ok)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("PK"))
	f.Add(archive(f, "x", named("a", "b/c", "../d")...))
	f.Add(archive(f, "#!/bin/sh", moded("run", 0o755), moded("l", fs.ModeSymlink|0o777)))
	f.Add(bomb(f, 3))
	f.Add(sized(f, 1<<31))
	f.Add(append(archive(f, "y", named("x")...), make([]byte, 30)...))
	l := Limits{Files: 20, Bytes: 1 << 16}
	f.Fuzz(func(t *testing.T, z []byte) {
		above := t.TempDir()
		in := filepath.Join(above, "in")
		if err := os.Mkdir(in, 0o755); err != nil {
			t.Fatal(err)
		}
		n, err := Unpack(bytes.NewReader(z), int64(len(z)), filepath.Join(in, "out"), l)
		if err != nil && rouse.KindOf(err) == rouse.Internal {
			t.Errorf("foreign bytes made an internal error: %v", err)
		}
		var files, bytes int64
		filepath.WalkDir(above, func(name string, d fs.DirEntry, werr error) error {
			if werr != nil || name == above || name == in || name == filepath.Join(in, "out") && err == nil {
				return werr
			}
			if err != nil || !strings.HasPrefix(name, filepath.Join(in, "out")+"/") {
				t.Errorf("written: %s (%v)", name, err)
			}
			if !d.IsDir() && !d.Type().IsRegular() {
				t.Errorf("%s is a %v", name, d.Type())
			}
			files++
			if info, ierr := d.Info(); ierr == nil && !d.IsDir() {
				bytes += info.Size()
			}
			return nil
		})
		if files > int64(l.Files) || bytes > l.Bytes || bytes != n {
			t.Errorf("%d files with %d bytes, said %d", files, bytes, n)
		}
	})
}
