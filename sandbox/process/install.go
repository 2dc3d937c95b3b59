package process

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// installTime is how long an installation may take.
const installTime = 15 * time.Minute

// passed are the beginnings of names of environment variables that tell a
// package manager about the host's network: mirrors, proxies, certificates.
var passed = []string{"PIP_", "NPM_CONFIG_", "npm_config_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
	"no_proxy", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}

// An Installation is a set of packages to be installed.
type Installation struct {
	Runtime  string       // name of one
	Code     string       // host folder with a requirements.txt (Python) or package.json (Node)
	Own      bool         // folders of Code, or its scripts, are part of it
	Out      string       // host folder to be filled, which is empty
	Progress func(string) // gets the package manager's lines; may be nil
}

// Install installs packages in a sandbox with network. They run code of their
// own when they are installed, so it is no more trusted than a function. Errors:
// Invalid with what the package manager said.
func (d *Driver) Install(ctx context.Context, in Installation) error {
	rt, err := d.runtime(in.Runtime)
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
	j := job{what: "install dependencies", binds: binds, code: in.Code, out: in.Out, args: installer(rt, in), env: installEnv(rt), limit: installTime, network: true}
	said, failure, err := d.work(ctx, j, in.Progress)
	if err != nil {
		return err
	}
	if failure != nil {
		return rouse.Errorf(rouse.Invalid, j.what, "", "%s", said.explain(rt, failure))
	}
	if rt.Family == "node" {
		if err := d.Client.join(in.Out); err != nil {
			return err
		}
	}
	return settle(in.Out)
}

// installer is the command that installs what is asked for in /fn to /out. Where
// folders of the code are part of it the packages are built in a copy: /fn can't
// be written to.
func installer(rt rouse.Runtime, in Installation) []string {
	if rt.Family == "python" {
		// Other options than those of old versions of pip go by the environment.
		pip := []string{"-m", "pip", "install", "--no-input", "--no-warn-script-location", "--progress-bar=off", "--target", "/out", "-r"}
		if !in.Own {
			return slices.Concat([]string{rt.Path}, pip, []string{"/fn/requirements.txt"})
		}
		if rt.Name != "python2.7" {
			pip = append([]string{"-I"}, pip...) // or pip would import what the code has
		}
		return slices.Concat([]string{"/bin/sh", "-ec", `cp -r /fn /tmp/fn; cd /tmp/fn; exec "$@"`, "sh", rt.Path}, pip, []string{"requirements.txt"})
	}
	install, files := "install", "/fn/package*.json"
	if _, err := os.Stat(filepath.Join(in.Code, "package-lock.json")); err == nil {
		install = "ci"
	}
	if in.Own {
		files = "-r /fn/."
	}
	return []string{"/bin/sh", "-ec", "cp " + files + " /out; exec npm " + install + " --omit=dev --no-audit --no-fund --no-update-notifier"}
}

func installEnv(rt rouse.Runtime) []string {
	env := []string{"PATH=" + filepath.Dir(rt.Path) + ":/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8",
		"PIP_NO_CACHE_DIR=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore", "npm_config_cache=/tmp/npm"}
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
	tool, asks := "pip", "requirements.txt"
	if rt.Family == "node" {
		tool, asks = "npm", "package.json"
	}
	if !strings.Contains(f.Message, "exited with code") {
		return fmt.Sprintf("%s was ended: %s\n%s", tool, f.Message, said)
	}
	return fmt.Sprintf("%s can't install what %s asks for; mend it and deploy again. It said:\n%s", tool, asks, said)
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
