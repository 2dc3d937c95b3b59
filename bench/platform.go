package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A platform is "rouse up" as a user starts it.
type platform struct {
	*client.Client
	data, addr, token string
	cmd               *exec.Cmd
	log               bytes.Buffer
	took              time.Duration // from exec until it said that it lives
}

var greeting = regexp.MustCompile(`API +http://([^/]+)/v1`)

// start starts a platform over a data folder.
func (b *bench) start(ctx context.Context, data string, flags ...string) (*platform, error) {
	p := &platform{data: data}
	p.cmd = exec.Command(b.rouse, append([]string{"up", "--data", data, "--listen", "127.0.0.1:0"}, flags...)...)
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(out); p.addr == "" && lines.Scan(); {
		if m := greeting.FindStringSubmatch(lines.Text()); m != nil {
			p.addr = m[1]
		}
	}
	if p.addr == "" {
		_ = p.cmd.Wait()
		return nil, fmt.Errorf("the platform did not come up: %s", p.log.Bytes())
	}
	alive, err := http.Get("http://" + p.addr + "/healthz")
	p.took = time.Since(began)
	if err == nil {
		_ = alive.Body.Close()
		if alive.StatusCode != http.StatusOK {
			err = fmt.Errorf("the platform is not well: %s", alive.Status)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the platform
	if err == nil {
		p.token, err = auth.Read(data)
	}
	if err == nil {
		p.Client, err = client.New(p.addr, p.token, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}})
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// stop ends the platform as Ctrl-C does.
func (p *platform) stop() error {
	if p.cmd.ProcessState != nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the platform ended with %w: %s", err, p.log.Bytes())
	}
	return nil
}

// files are a function's code by name.
type files map[string]string

// pack makes a bundle.
func (f files) pack(b *bench) ([]byte, error) {
	dir, err := f.folder(b)
	if err != nil {
		return nil, err
	}
	var zip bytes.Buffer
	err = bundle.Pack(&zip, dir)
	return zip.Bytes(), err
}

// folder writes the files to a new folder, for every user to read.
func (f files) folder(b *bench) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "code-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	for name, content := range f {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755)
		}
	}
	return dir, err
}

// deploy deploys a function.
func (p *platform) deploy(ctx context.Context, b *bench, name string, code files, o wire.Options) error {
	zip, err := code.pack(b)
	if err != nil {
		return err
	}
	_, err = p.Deploy(ctx, name, o, bytes.NewReader(zip), nil)
	return err
}

// invoke is the call of a function by the API.
func (p *platform) invoke(name, payload string) call {
	c := post(p.addr, "/v1/functions/"+name+"/invoke", p.token, payload)
	c.server = p.cmd.Process.Pid
	return c
}

// route is the call of a public function by its HTTP route.
func (p *platform) route(name, payload string) call {
	c := post(p.addr, "/fn/"+name, "", payload)
	c.server = p.cmd.Process.Pid
	return c
}

// runtime finds one that the platform has, by its name or an alias.
func (p *platform) runtime(ctx context.Context, name string) (rouse.Runtime, error) {
	n, err := p.Node(ctx)
	if err != nil {
		return rouse.Runtime{}, err
	}
	for _, rt := range n.Runtimes {
		if rt.Name == name || slices.Contains(rt.Aliases, name) {
			return rt, nil
		}
	}
	return rouse.Runtime{}, absent{"this host has no " + name}
}

// An env is what the measurements of one group share. What it starts it ends
// in close.
type env struct {
	*bench
	flags      []string
	shared     *platform
	onPostgres bool
	sleepers   *crowded
	soaking    *[2]state // before and after
	filled     rouse.Records
	closers    []func() error
}

// platform starts the group's platform at the first call.
func (e *env) platform(ctx context.Context) (*platform, error) {
	if e.shared != nil {
		return e.shared, nil
	}
	if e.onPostgres {
		if e.postgres == "" {
			return nil, noDatabase
		}
		e.flags = append(e.flags, "--store", e.postgres)
	}
	data, err := e.folder("data-")
	if err != nil {
		return nil, err
	}
	p, err := e.start(ctx, data, e.flags...)
	if err != nil {
		return nil, err
	}
	e.onClose(p.stop)
	e.shared = p
	return p, nil
}

// folder makes one that is removed with the env.
func (e *env) folder(prefix string) (string, error) {
	dir, err := os.MkdirTemp(e.dir, prefix)
	e.onClose(func() error { return os.RemoveAll(dir) })
	return dir, err
}

func (e *env) onClose(f func() error) { e.closers = append(e.closers, f) }

// close ends in reverse what was started.
func (e *env) close() error {
	var errs []error
	for _, f := range slices.Backward(e.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
