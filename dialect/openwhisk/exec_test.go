package openwhisk

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/rouse-run/rouse"
)

// A slow is a compiler that ends when it is told to.
type slow struct {
	working atomic.Int64
	end     chan struct{}
}

// Version implements rouse.Compiler.
func (*slow) Version(string) string { return "1.26" }

// Compile implements rouse.Compiler.
func (c *slow) Compile(context.Context, string, []byte) ([]byte, error) {
	c.working.Add(1)
	defer c.working.Add(-1)
	<-c.end
	return []byte("program"), nil
}

// However many archives of source come in at once, few are unpacked.
func TestFewArchivesAreUnpackedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &slow{end: make(chan struct{})}
		d := New(Config{})
		d.Compiler = c
		archive, err := archiveOfAll(map[string][]byte{"src/main.go": []byte("package main\n\nfunc main() {}\n"), "other": nil})
		if err != nil {
			t.Fatal(err)
		}
		code := base64.StdEncoding.EncodeToString(archive)
		gone, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if pk, ok, err := d.compiled(t.Context(), "go:1.26", "", code); err != nil || !ok || !pk.source {
					t.Errorf("%v %v %v", pk, ok, err)
				}
			})
		}
		synctest.Wait()
		all.Go(func() {
			if _, _, err := d.compiled(gone, "go:1.26", "", code); rouse.KindOf(err) != rouse.Unavailable {
				t.Errorf("who went away: %v", err)
			}
		})
		synctest.Wait()
		if n := c.working.Load(); n != maxUnpacked {
			t.Errorf("%d are unpacked", n)
		}
		leave()
		synctest.Wait()
		close(c.end)
		all.Wait()
	})
}

// Source is found by the names in an archive alone.
func TestWhatIsSource(t *testing.T) {
	for _, c := range []struct {
		files []string
		want  []string
	}{
		{[]string{"main.go", "lib/x.go", "data"}, []string{"data", "lib/x.go", "main.go"}},
		{[]string{"src/main.go", "src/lib/x.go", "readme"}, []string{"lib/x.go", "main.go"}},
		{[]string{"main.go", "exec"}, nil},
		{[]string{"lib/main.go"}, nil},
		{[]string{"source/main.go"}, nil},
		{nil, nil},
	} {
		files := map[string][]byte{}
		for _, name := range c.files {
			files[name] = []byte(name)
		}
		archive, err := archiveOfAll(files)
		if err != nil {
			t.Fatal(err)
		}
		z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if below, ok := goSource(z); ok {
			found, err := unpacked(z, below)
			if err != nil {
				t.Fatal(err)
			}
			got = slices.Sorted(maps.Keys(found))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.files, got, c.want)
		}
	}
}
