package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

type deploy struct {
	*app
	name, alias, envFile string
	env                  []string
	memory, tmp          bytesFlag
	answer, log          bytesFlag
	timeout              time.Duration
	retries              int
	options              wire.Options
}

func deployCommand(a *app) *cobra.Command {
	d := &deploy{app: a}
	c := &cobra.Command{
		Use:   "deploy PATH",
		Short: "Deploy a file, a folder or a zip as the next version of a function",
		Long: `Deploy a file, a folder or a zip as the next version of a function.

The function is named for the file or folder. Runtime, contract and handler
follow from the files where they are not given. Dependencies in
requirements.txt or package.json are installed by the server. Calls that run
finish on the old version.`,
		Example: `  rouse deploy hello.py
  rouse deploy ./shop --name shop-api --contract http --public
  rouse deploy hello.py --runtime python3.11 --handler hello.main --memory 256MB --timeout 30s
  rouse deploy hello.py --env CITY=Turin --env API_KEY --env-file .env
  rouse deploy hello.py --allow "table:seen rw" --allow "queue:jobs w"
  rouse deploy hello.py --alias prod`,
		Args: exactly("PATH"),
		RunE: func(c *cobra.Command, args []string) error { return d.run(c, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&d.name, "name", "", "`name` of the function (default: that of the file or folder)")
	f.StringVar(&d.options.Runtime, "runtime", "", "`runtime`, such as python3.11, nodejs20, wasm or executable")
	f.StringVar(&d.options.Handler, "handler", "", "entry `point`, such as main.main")
	f.StringVar(&d.options.Contract, "contract", "", "what the code expects: native, http, stdio, wasi or openwhisk")
	f.Var(&d.memory, "memory", "memory of an instance, such as 256MB")
	f.DurationVar(&d.timeout, "timeout", 0, "`time` for one event, such as 30s")
	f.Var(&d.tmp, "tmp", "size of /tmp, part of the memory")
	f.IntVar(&d.options.Limits.Concurrency, "concurrency", 0, "events that an instance answers at once")
	f.IntVar(&d.options.Limits.Min, "min", 0, "instances kept warm")
	f.IntVar(&d.options.Limits.Max, "max", 0, "instances at most")
	f.IntVar(&d.options.Limits.Queue, "queue", 0, "calls that may wait for an instance")
	f.IntVar(&d.options.Limits.Processes, "processes", 0, "processes and threads of an instance")
	f.Var(&d.answer, "answer", "size of one answer, such as 6MB")
	f.Var(&d.log, "log", "size of the log kept of one call")
	f.StringArrayVarP(&d.env, "env", "e", nil, "environment variable as `NAME=VALUE`, or NAME to take it from here; may be repeated")
	f.StringVar(&d.envFile, "env-file", "", "`file` of NAME=VALUE lines")
	f.BoolVar(&d.options.Egress, "egress", false, "let it open connections to the outside")
	f.BoolVar(&d.options.Public, "public", false, "let anyone call its HTTP route, without the token")
	f.StringArrayVar(&d.options.Allow, "allow", nil, "what it may use of the platform, a `grant` such as \"table:seen rw\"; may be repeated")
	f.IntVar(&d.retries, "retries", 0, "how often an asynchronous invocation is tried again")
	f.StringVar(&d.alias, "alias", "", "point this `alias` at the new version")
	return c
}

func (d *deploy) run(c *cobra.Command, path string) error {
	if err := d.complete(c, path); err != nil {
		return err
	}
	cl, err := d.client()
	if err != nil {
		return err
	}
	start := time.Now()
	f, err := d.send(c.Context(), cl, path)
	if err != nil {
		return err
	}
	if d.alias != "" {
		if _, err := cl.SetAlias(c.Context(), d.name, d.alias, wire.AliasTarget{Version: f.Version}); err != nil {
			return fmt.Errorf("version %d is deployed, but: %w", f.Version, err)
		}
	}
	if d.json {
		return d.printJSON(f)
	}
	fmt.Fprintf(d.out, "deployed %s version %d (%s, %s, %s) in %s\n", f.Name, f.Version, f.Runtime, f.Contract, size(f.CodeSize), span(rouse.Duration(time.Since(start))))
	try := d.tryInvoke(f)
	if f.Contract == "http" && f.Namespace == rouse.DefaultNamespace {
		try = d.tryRoute(cl.Server(), f)
	}
	fmt.Fprintln(d.out, "try:", try)
	return nil
}

// complete turns what flags say into options.
func (d *deploy) complete(c *cobra.Command, path string) (err error) {
	if d.name == "" {
		if d.name, err = nameOf(path, "give one with --name"); err != nil {
			return err
		}
	}
	if err := rouse.CheckName(d.name); err != nil {
		return err
	}
	if d.alias != "" {
		if err := rouse.CheckName(d.alias); err != nil {
			return err
		}
	}
	o := &d.options
	if o.Contract == openwhisk.Name && o.Handler == "" {
		o.Handler = "main" // of the code's own file, as in OpenWhisk
	}
	o.Limits.Memory, o.Limits.Tmp, o.Limits.Timeout = int64(d.memory), int64(d.tmp), rouse.Duration(d.timeout)
	o.Limits.Answer, o.Limits.Log = int64(d.answer), int64(d.log)
	for _, name := range []string{"timeout", "concurrency", "queue", "processes"} {
		if f := c.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") { // to the server that is the default
			return usage(c, "--%s must not be 0: leave it out for the default", name)
		}
	}
	if c.Flags().Changed("retries") {
		if d.retries < 0 {
			return usage(c, "--retries must not be negative")
		}
		o.Retry.Attempts = d.retries + 1
	}
	o.Env, err = d.environment()
	return err
}

// nameOf is the name of a function that a path says: of "dir/hello.py" "hello".
// Where it says none, otherwise is what else can be done than to name it so.
func nameOf(path, otherwise string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	base := filepath.Base(abs)
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		base = strings.TrimSuffix(base, filepath.Ext(base))
	}
	fit := func(r rune) rune {
		if strings.ContainsRune("._-", r) || r < 128 && (r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z') {
			return r
		}
		return '-'
	}
	name := strings.Trim(strings.Map(fit, base), "._-")
	if name == "" {
		return "", rouse.Errorf(rouse.Invalid, "name function", path, "no name can be made of it; %s", otherwise)
	}
	if name != base {
		return "", rouse.Errorf(rouse.Invalid, "name function", path, "a function can't be named %q, but %s: name the file or folder so, or %s", base, name, otherwise)
	}
	return name, nil
}

func (d *deploy) environment() (map[string]string, error) {
	env := map[string]string{}
	if d.envFile != "" {
		if err := readEnvFile(d.envFile, env); err != nil {
			return nil, err
		}
	}
	for _, e := range d.env {
		k, v, ok := strings.Cut(e, "=")
		if !ok {
			if v, ok = os.LookupEnv(k); !ok {
				return nil, rouse.Errorf(rouse.Invalid, "read --env", k, "it is not set here; write --env %s=VALUE", k)
			}
		}
		env[k] = v
	}
	return env, nil
}

// readEnvFile reads NAME=VALUE lines; empty ones and those with # in front are
// left out, and a pair of quotes around a value is taken off.
func readEnvFile(name string, env map[string]string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read --env-file: %w", err)
	}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(b), "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, v, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return rouse.Errorf(rouse.Invalid, "read --env-file", fmt.Sprintf("%s:%d", name, n), "a line must be NAME=VALUE")
		}
		v = strings.TrimSpace(v)
		if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
			v = v[1 : len(v)-1]
		}
		env[strings.TrimSpace(k)] = v
	}
	return nil
}

// send packs the code into a file, whose size the bar needs, and uploads it.
func (d *deploy) send(ctx context.Context, cl *client.Client, path string) (f rouse.Function, err error) {
	zip, err := os.CreateTemp("", "rouse-*.zip")
	if err != nil {
		return f, fmt.Errorf("pack code: %w", err)
	}
	defer func() { err = errors.Join(err, zip.Close(), os.Remove(zip.Name())) }()
	if err := bundle.Pack(zip, path); err != nil {
		return f, err
	}
	total, err := zip.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = zip.Seek(0, io.SeekStart)
	}
	if err != nil {
		return f, fmt.Errorf("pack code: %w", err)
	}
	p := newProgress(d.err, terminal(d.err))
	defer p.close()
	return cl.Deploy(ctx, d.name, d.options, p.reader(zip, total), p.next)
}
