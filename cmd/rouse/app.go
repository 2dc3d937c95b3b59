package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/dialect/native/client"
)

const (
	exitFunction  = 1
	exitPlatform  = 2
	exitInterrupt = 130 // 128 and SIGINT, as shells have it
)

// An app is what all commands share: the terminal, the environment and the
// flags that every command has.
type app struct {
	in       *os.File
	out, err io.Writer
	env      func(string) string

	server, data, namespace string
	json                    bool

	tokenFrom string // where the token was looked for, to be told if it is not taken
}

func newApp() *app {
	return &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv}
}

// client returns a client of the server that flags and environment name.
func (a *app) client() (*client.Client, error) {
	server := first(a.server, a.env("ROUSE_SERVER"))
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	c, err := client.New(server, token, nil)
	if err != nil {
		return nil, err
	}
	ns := first(a.namespace, a.env("ROUSE_NAMESPACE"))
	if ns != "" {
		if err := rouse.CheckName(ns); err != nil {
			return nil, err
		}
	}
	c.Namespace = rouse.Namespace(ns)
	return c, nil
}

// token returns ROUSE_TOKEN, or the one in the data folder; none where neither
// is there, for the server to refuse.
func (a *app) token() (string, error) {
	if t := strings.TrimSpace(a.env("ROUSE_TOKEN")); t != "" { // "$(cat token)" may end its line
		a.tokenFrom = "ROUSE_TOKEN"
		return t, nil
	}
	dir, err := a.dataDir()
	if err != nil {
		return "", err
	}
	a.tokenFrom = auth.Path(dir)
	t, err := auth.Read(dir)
	if rouse.KindOf(err) == rouse.NotFound {
		a.tokenFrom += " (there is no such file)"
		return "", nil
	}
	return t, err
}

// dataDir returns the folder that a server on this machine keeps its data in:
// --data, ROUSE_DATA, $XDG_DATA_HOME/rouse, /var/lib/rouse for root, and
// ~/.local/share/rouse for everyone else.
func (a *app) dataDir() (string, error) {
	if dir := first(a.data, a.env("ROUSE_DATA")); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := a.env("XDG_DATA_HOME"); filepath.IsAbs(dir) { // others are to be ignored, its specification says
		return filepath.Join(dir, "rouse"), nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/rouse", nil
	}
	home := a.env("HOME")
	if home == "" {
		return "", rouse.Errorf(rouse.Invalid, "find data folder", "", "HOME is not set; name the folder with --data or ROUSE_DATA")
	}
	return filepath.Join(home, ".local", "share", "rouse"), nil
}

// read returns what f reads of standard input, or the error of a ctx that ends
// first: a read of a terminal can't be broken off.
func read[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func first(s ...string) string {
	for _, s := range s {
		if s != "" {
			return s
		}
	}
	return ""
}

// An exit ends the program with a code; all was said already.
type exit struct{ code int }

func (e exit) Error() string { return fmt.Sprintf("exit with code %d", e.code) }

// report says in one line what went wrong and what to do, and returns the exit code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[exit](err); ok {
		return e.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupt
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok && len(all.Unwrap()) > 1 {
		for _, err := range all.Unwrap() {
			a.complain(err)
		}
		return exitPlatform
	}
	a.complain(err)
	return exitPlatform
}

// complain says what is wrong, in one line.
func (a *app) complain(err error) {
	text := strings.Join(strings.Fields(err.Error()), " ")
	e, _ := errors.AsType[*rouse.Error](err)
	switch {
	case client.Unreachable(err):
		text = fmt.Sprintf("no server answers at %s (%v); is it running? start it with: rouse up", e.On, e.Err)
	case e != nil && e.Kind == rouse.Unauthenticated:
		text = fmt.Sprintf("the server does not take the token from %s; set ROUSE_TOKEN, or --data to the server's data folder", a.tokenFrom)
	case e != nil && e.Kind == rouse.NotFound && e.Op == "route request":
		text = fmt.Sprintf("the server does not know this operation (%v): is it of another version than this program? see: rouse version", e.Err)
	case e != nil && e.Kind == rouse.NotFound && strings.Contains(e.Err.Error(), "no such function"):
		text += "; what is deployed is listed by: rouse functions"
	}
	fmt.Fprintf(a.err, "%s %s\n", a.paint(a.err, red, "rouse:"), text)
}

// usage is the error of a command line that can't be understood.
func usage(c *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s; see: %s --help", fmt.Sprintf(format, args...), c.CommandPath())
}

// unknown refuses what is no command of a group, and says what may be meant.
func unknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	if like := c.SuggestionsFor(args[0]); len(like) > 0 {
		return usage(c, "unknown command %q; did you mean %s?", args[0], strings.Join(like, " or "))
	}
	return usage(c, "unknown command %q", args[0])
}

// help is what a group does without a command.
func help(c *cobra.Command, _ []string) error { return c.Help() }

// exactly is cobra.ExactArgs, but says what is missing: names are the
// arguments', such as "NAME".
func exactly(names ...string) cobra.PositionalArgs {
	return between(len(names), names...)
}

// between takes at least as many arguments as least and at most those of names.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(c, "%s is missing", names[len(args)])
		case len(args) > len(names):
			return usage(c, "%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// printJSON prints v as the API would, with line breaks for people.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table prints rows in columns. The first row is the header.
func (a *app) table(rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// Colours, as SGR parameters of ECMA-48.
const (
	red   = "31"
	bold  = "1"
	faint = "2"
)

// paint colours s where w is a terminal and nobody asked for none.
func (a *app) paint(w io.Writer, colour, s string) string {
	if !terminal(w) || a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// terminal reports whether x is one.
func terminal(x any) bool {
	f, ok := x.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
