package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/blobtest"
)

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func(t *testing.T) rouse.Blobs {
		dir := filepath.Join(t.TempDir(), "blobs [x]")
		return func(t *testing.T) rouse.Blobs { return open(t, dir) }
	})
}

func open(t testing.TB, dir string) *Blobs {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, b *Blobs, data []byte) string {
	t.Helper()
	d, _, err := b.Put(t.Context(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	path, _ := b.path(d)
	return path
}

// files lists what is below a folder, folders left out.
func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestNamesAndModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	b := open(t, dir)
	path := put(t, b, []byte("hello"))
	if want := filepath.Join(dir, "2c", "f24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Dir(path): 0o700, path: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

func TestDamageIsAnErrorAtTheEnd(t *testing.T) {
	b := open(t, t.TempDir())
	whole := bytes.Repeat([]byte("0123456789"), 50_000)
	for name, damage := range map[string]func(path string) error{
		"flipped bit": func(path string) error {
			data := bytes.Clone(whole)
			data[250_000] ^= 4
			return os.WriteFile(path, data, 0o600)
		},
		"truncated": func(path string) error { return os.Truncate(path, 400_000) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"longer":    func(path string) error { return os.Truncate(path, 500_001) },
	} {
		path := put(t, b, whole)
		neighbour := put(t, b, []byte("neighbour"))
		if err := damage(path); err != nil {
			t.Fatal(err)
		}
		r, err := b.Open(t.Context(), rouse.DigestOf(whole))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(r)
		if rouse.KindOf(err) != rouse.Internal || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want an internal one that names the file", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if data, err := os.ReadFile(neighbour); string(data) != "neighbour" || err != nil {
			t.Errorf("%s: neighbour %q, %v", name, data, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPutRepairsABlobOfTheWrongSize(t *testing.T) {
	b := open(t, t.TempDir())
	path := put(t, b, []byte("hello"))
	if err := os.Truncate(path, 2); err != nil {
		t.Fatal(err)
	}
	put(t, b, []byte("hello"))
	if data, err := os.ReadFile(path); string(data) != "hello" {
		t.Errorf("blob %q, %v", data, err)
	}
}

const childEnv = "ROUSE_TEST_BLOB_DIR"

// TestMain is the child of TestKilledInPut where it is told a folder.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

func child(dir string) {
	b, err := Open(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	d, _, err := b.Put(context.Background(), strings.NewReader("acknowledged"))
	fmt.Println(d, err)
	// This one never ends: half of it is written when the process is killed.
	_, _, err = b.Put(context.Background(), io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), stuck{}))
	fmt.Println("put returned", err)
	os.Exit(1)
}

// stuck says that it was reached and then blocks.
type stuck struct{}

func (stuck) Read([]byte) (int, error) {
	fmt.Println("half written")
	select {}
}

func TestKilledInPut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var said string
	for buf := make([]byte, 1000); err == nil && !strings.Contains(said, "half written"); {
		var n int
		n, err = out.Read(buf)
		said += string(buf[:n])
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !strings.Contains(said, "half written") {
		t.Fatalf("child: %v, said %q", err, said)
	}
	if got := files(t, dir); len(got) != 2 {
		t.Fatalf("files %q, want the blob and the half", got)
	}
	b := open(t, dir)
	path, _ := b.path(rouse.DigestOf([]byte("acknowledged")))
	if got := files(t, dir); len(got) != 1 || got[0] != path {
		t.Errorf("files %q, want only %s", got, path)
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small disk needs root and tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	b := open(t, dir)
	first := put(t, b, []byte("first"))
	large := bytes.Repeat([]byte("large"), 1<<20)
	_, _, err := b.Put(t.Context(), bytes.NewReader(large))
	if rouse.KindOf(err) != rouse.Unavailable || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "full") {
		t.Fatalf("error %v, want one that is unavailable and says that the disk is full", err)
	}
	if got := files(t, dir); len(got) != 1 || got[0] != first {
		t.Errorf("files %q, want only %s", got, first)
	}
	put(t, b, large[:1<<20])
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20, 50 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b, b.TempDir())
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				data[i%size]++
				put(b, s, data)
			}
		})
	}
}

func BenchmarkRead50M(b *testing.B) {
	s := open(b, b.TempDir())
	data := make([]byte, 50<<20)
	put(b, s, data)
	d := rouse.DigestOf(data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r, err := s.Open(b.Context(), d)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
