package process

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// Bounds of an installation.
const (
	installMemory = 4 << 30
	installTmp    = 2 << 30
	installTime   = 15 * time.Minute
)

// passed are the beginnings of names of environment variables that tell a
// package manager about the host's network: mirrors, proxies, certificates.
var passed = []string{"PIP_", "NPM_CONFIG_", "npm_config_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
	"no_proxy", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}

// Install installs what code's requirements.txt (Python) or package.json (Node)
// asks for into the empty host folder out, in a sandbox with network. Packages
// run code of their own when they are installed, so it is no more trusted than
// a function. Progress gets the package manager's lines. Errors: Invalid with
// what the package manager said.
func (d *Driver) Install(ctx context.Context, runtime, code, out string, progress func(string)) error {
	rt, err := d.runtime(runtime)
	if err != nil {
		return err
	}
	if d.name != Namespaces {
		return rouse.Errorf(rouse.NotImplemented, "install dependencies", "",
			"an installation needs a network of its own, which the isolation tier %s has not; bring the packages in the bundle (pip install --target, npm install), or run the server where namespaces are allowed (rouse doctor says what to change)", d.name)
	}
	binds := prefix(rt)
	for _, config := range []string{"/etc/pip.conf", "/etc/npmrc"} {
		if _, err := os.Stat(config); err == nil {
			binds = append(binds, bind{from: config, to: config})
		}
	}
	j := job{what: "install dependencies", binds: binds, code: code, out: out, args: installer(rt, code), env: installEnv(rt), limit: installTime, network: true}
	said, failure, err := d.work(ctx, j, progress)
	if err != nil {
		return err
	}
	if failure != nil {
		return rouse.Errorf(rouse.Invalid, j.what, "", "%s", said.explain(rt, failure))
	}
	if rt.Family == "node" {
		if err := d.Client.join(out); err != nil {
			return err
		}
	}
	return settle(out)
}

// A job is a program of the host that works on foreign files, in a sandbox of
// its own, when something is deployed.
type job struct {
	what    string // for errors
	binds   []bind
	code    string // host folder that it reads as /fn
	out     string // host folder that it fills as /out
	args    []string
	env     []string
	limit   time.Duration
	network bool
}

// work runs a job to its end. It returns what was said, and how the job failed,
// where it did.
func (d *Driver) work(ctx context.Context, j job, progress func(string)) (*transcript, *rouse.Failure, error) {
	r, err := d.newProgramRoom(append(j.binds, bind{from: j.out, to: "/out", writable: true})...)
	if err != nil {
		return nil, nil, err
	}
	defer r.close()
	if err := os.Chown(j.out, firstUser+r.user, firstUser+r.user); err != nil {
		return nil, nil, err
	}
	if err := r.walls.limit(r, rouse.Limits{Memory: installMemory, Processes: 1024}); err != nil {
		return nil, nil, err
	}
	if j.network {
		var n *network
		err := r.inside(func() (err error) {
			n, err = newNetwork(d.log)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		defer n.close()
		n.serve()
	}
	said := &transcript{progress: progress}
	r.stdout.listen(said.line)
	r.stderr.listen(said.line)
	fd, err := detach(j.code, readOnly)
	if err != nil {
		return nil, nil, err
	}
	if err := r.start(stage.Start{Args: j.args, Env: j.env, Dir: "/out", Tmp: installTmp, Mounts: []string{"/fn"}}, []int{fd}); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.limit)
	defer cancel()
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, nil, rouse.Errorf(rouse.Invalid, j.what, "", "not done within %v; last it said: %s", j.limit, said.tail())
	}
	r.stdout.drain()
	r.stderr.drain()
	if r.exit != (rouse.Exit{}) {
		_, failure := r.exit.Failure()
		return said, failure, nil
	}
	return said, nil, nil
}

// installer is the command that installs what is asked for in /fn to /out.
func installer(rt rouse.Runtime, code string) []string {
	if rt.Family == "python" {
		return []string{rt.Path, "-m", "pip", "install", "--no-input", "--no-warn-script-location", "--root-user-action=ignore",
			"--progress-bar=off", "--target", "/out", "-r", "/fn/requirements.txt"}
	}
	install := "install"
	if _, err := os.Stat(filepath.Join(code, "package-lock.json")); err == nil {
		install = "ci"
	}
	return []string{"/bin/sh", "-ec", "cp /fn/package*.json /out; exec npm " + install + " --omit=dev --no-audit --no-fund --no-update-notifier"}
}

func installEnv(rt rouse.Runtime) []string {
	env := []string{"PATH=" + filepath.Dir(rt.Path) + ":/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8",
		"PIP_NO_CACHE_DIR=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "npm_config_cache=/tmp/npm"}
	for _, e := range os.Environ() {
		for _, p := range passed {
			if strings.HasPrefix(e, p) {
				env = append(env, e)
				break
			}
		}
	}
	return env
}

// transcript keeps what an installer said last.
type transcript struct {
	progress func(string)

	mu    sync.Mutex
	lines []string // guarded by mu
}

func (s *transcript) line(l rouse.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 20 {
		s.lines = append(s.lines[:0], s.lines[1:]...)
	}
	s.lines = append(s.lines, l.Text)
	if s.progress != nil {
		s.progress(l.Text)
	}
}

func (s *transcript) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *transcript) explain(rt rouse.Runtime, f *rouse.Failure) string {
	said := s.tail()
	switch {
	case strings.Contains(said, "No module named pip"):
		return fmt.Sprintf("%s has no pip on this host: install it (Debian: apt-get install python3-pip), or bring the packages in the bundle", rt.Name)
	case strings.Contains(said, "npm: not found"):
		return fmt.Sprintf("%s has no npm on this host: install it (Debian: apt-get install npm), or bring node_modules in the bundle", rt.Name)
	}
	return fmt.Sprintf("%s\n%s", f.Message, said)
}

// settle makes what was installed the server's own, readable by every function.
func settle(out string) error {
	return filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, 0, 0); err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return err
		}
		mode := fs.FileMode(0o644)
		if e.IsDir() || info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
}
