package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// compileTime bounds a compilation, and the making of the cache before the first.
const compileTime = 5 * time.Minute

// A toolchain is the Go of this host, and what it has compiled of its own library.
type toolchain struct {
	mu    sync.Mutex // held while the cache is made
	root  string     // guarded by mu; GOROOT
	cache string     // guarded by mu; folder that compilations read
}

// warm imports what most programs do: it is compiled once for all of them.
const warm = `package main

import (
	_ "bufio"
	_ "bytes"
	_ "context"
	_ "crypto/sha256"
	_ "encoding/base64"
	_ "encoding/hex"
	_ "encoding/json"
	_ "errors"
	_ "fmt"
	_ "io"
	_ "log"
	_ "math/rand"
	_ "net/http"
	_ "net/url"
	_ "os"
	_ "os/exec"
	_ "path/filepath"
	_ "regexp"
	_ "sort"
	_ "strconv"
	_ "strings"
	_ "sync"
	_ "time"
)

func main() {}
`

// Compile compiles the Go package in the host folder source to the program
// "exec" in the empty host folder out, in a sandbox without network. What it does
// not bring along in a vendor folder, but for Go's own library, there is not.
// Errors: Invalid with what the compiler said; NotImplemented where the host has
// no Go, or no namespaces.
func (d *Driver) Compile(ctx context.Context, source, out string, progress func(string)) error {
	const what = "compile"
	if d.name != Namespaces {
		return rouse.Errorf(rouse.NotImplemented, what, "", "the isolation tier %s compiles nothing: bring the program, or run the server where namespaces are allowed (rouse doctor says what to change)", d.name)
	}
	root, cache, err := d.golang.ready(ctx, d, progress)
	if err != nil {
		return err
	}
	// Files that are there already are links into the cache, which nobody can
	// write to: no program can leave anything behind for the next.
	const build = `cp -rs /cache /tmp/cache && cp -r /fn /tmp/src && cd /tmp/src && { [ -e go.mod ] || go mod init action 2>/dev/null; } && exec go build -trimpath -ldflags '-s -w' -o /out/exec .`
	j := job{what: what, binds: append(goroot(root), bind{from: cache, to: "/cache"}), code: source, out: out,
		args: []string{"/bin/sh", "-ec", build}, env: goEnv(root), limit: compileTime}
	said, failure, err := d.work(ctx, j, progress)
	if err != nil {
		return err
	}
	if failure != nil {
		return rouse.Errorf(rouse.Invalid, what, "", "%s", strings.ReplaceAll(said.tail(), "/tmp/src/", ""))
	}
	return settle(out)
}

// GoVersion is that of the Go which this host has, such as "1.26"; "" is none.
func GoVersion() string {
	root, err := findGo()
	if err != nil {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(root, "VERSION"))
	version, _, _ := strings.Cut(strings.TrimPrefix(string(text), "go"), "\n")
	if parts := strings.Split(version, "."); err == nil && len(parts) >= 2 {
		return parts[0] + "." + parts[1]
	}
	return ""
}

// findGo returns GOROOT.
func findGo() (string, error) {
	path, err := exec.LookPath("go")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", rouse.Errorf(rouse.NotImplemented, "compile", "", "this host has no Go: install it (https://go.dev/dl), or bring the program that it makes")
	}
	return filepath.Dir(filepath.Dir(path)), nil
}

// ready returns GOROOT and the cache of compiled packages, which is made once.
func (t *toolchain) ready(ctx context.Context, d *Driver, progress func(string)) (root, cache string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cache != "" {
		return t.root, t.cache, nil
	}
	if root, err = findGo(); err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return "", "", err
	}
	cache = filepath.Join(d.Dir, "go-"+string(rouse.DigestOf([]byte(root + "\n" + string(text))))[:16])
	if _, err := os.Stat(cache); err != nil {
		if err := t.fill(ctx, d, root, cache, progress); err != nil {
			return "", "", err
		}
	}
	t.root, t.cache = root, cache
	return root, cache, nil
}

// fill compiles the library into a new cache.
func (t *toolchain) fill(ctx context.Context, d *Driver, root, cache string, progress func(string)) error {
	if progress != nil {
		progress("compiling Go's library, once for all")
	}
	left, err := filepath.Glob(filepath.Join(d.Dir, "making-*")) // by a server that was killed
	if err != nil {
		return err
	}
	for _, l := range left {
		if err := os.RemoveAll(l); err != nil {
			return err
		}
	}
	source, err := os.MkdirTemp(d.Dir, "making-source-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(source)
	out, err := os.MkdirTemp(d.Dir, "making-go-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	for _, err := range []error{os.Chmod(source, 0o755), os.Chmod(out, 0o755), os.WriteFile(filepath.Join(source, "main.go"), []byte(warm), 0o644)} {
		if err != nil {
			return err
		}
	}
	env := append(goEnv(root), "GOCACHE=/out")
	const build = `cp -r /fn /tmp/src && cd /tmp/src && go mod init warm 2>/dev/null && go build -trimpath -ldflags '-s -w' -o /tmp/warm .`
	j := job{what: "compile Go's library", binds: goroot(root), code: source, out: out, args: []string{"/bin/sh", "-ec", build}, env: env, limit: compileTime}
	said, failure, err := d.work(ctx, j, nil)
	if err != nil {
		return err
	}
	if failure != nil {
		return fmt.Errorf("%s: %s\n%s", j.what, failure.Message, said.tail())
	}
	if err := settle(out); err != nil {
		return err
	}
	return os.Rename(out, cache)
}

// goroot binds the toolchain, where the usual folders do not hold it.
func goroot(root string) []bind {
	if strings.HasPrefix(root, "/usr/") {
		return nil
	}
	return []bind{{from: root, to: root}}
}

func goEnv(root string) []string {
	return []string{"PATH=" + root + "/bin:/usr/bin:/bin", "GOROOT=" + root, "GOPATH=/tmp/go", "GOCACHE=/tmp/cache", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8",
		"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOPROXY=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off", "GOMAXPROCS=2"}
}
