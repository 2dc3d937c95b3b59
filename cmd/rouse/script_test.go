package main

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rouse": main})
}

// TestScripts plays the sessions in testdata, each against a server of its own
// in which a function answers with its payload unless its name is below.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			p := platform()
			all, end, err := services(p, e.WorkDir+"/data")
			if err != nil {
				return err
			}
			s := httptest.NewServer(native.New(all, native.Config{}))
			e.Defer(func() {
				s.Close()
				if err := end(); err != nil {
					e.T().Fatal(err)
				}
			})
			closed, err := closedPort()
			if err != nil {
				return err
			}
			e.Values["platform"] = p
			e.Setenv("SERVER", s.URL)
			e.Setenv("ROUSE_SERVER", strings.TrimPrefix(s.URL, "http://"))
			e.Setenv("ROUSE_TOKEN", nativetest.Token)
			e.Setenv("CLOSED", closed)
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector's second at each exit adds up
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// print FUNCTION TEXT waits for a follower and logs a line.
			"print": func(ts *testscript.TestScript, _ bool, args []string) {
				p := ts.Value("platform").(*nativetest.Platform)
				<-p.Following()
				p.Print(rouse.Line{Function: rouse.Ref{Namespace: "default", Name: args[0]}, Time: time.Now(), Stream: rouse.Stderr, Text: args[1]})
				p.EndTails()
			},
			// ran FUNCTION N waits until a function has run so often, and sets ID
			// to the last activation's.
			"ran": func(ts *testscript.TestScript, _ bool, args []string) {
				p := ts.Value("platform").(*nativetest.Platform)
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				as, err := p.Await(ctx, args[0], n)
				ts.Check(err)
				ts.Setenv("ID", as[len(as)-1].ID)
			},
		},
	})
}

func platform() *nativetest.Platform {
	p := nativetest.New()
	p.Code("fails", func(_ context.Context, _ rouse.Invocation, print func(string)) rouse.Answer {
		print("looking up the city")
		return rouse.Answer{Status: rouse.StatusFailed, Failure: &rouse.Failure{Type: "KeyError", Message: "'city'",
			Stack: "Traceback (most recent call last):\n  File \"main.py\", line 2, in main\nKeyError: 'city'\n"}}
	})
	p.Code("hungry", func(context.Context, rouse.Invocation, func(string)) rouse.Answer {
		return rouse.Answer{Status: rouse.StatusOutOfMemory, Failure: &rouse.Failure{Type: "OutOfMemory", Message: "deploy it with a larger --memory"}}
	})
	p.Code("busy", func(context.Context, rouse.Invocation, func(string)) rouse.Answer {
		return rouse.Answer{Status: rouse.StatusThrottled}
	})
	p.Code("talks", func(_ context.Context, _ rouse.Invocation, print func(string)) rouse.Answer {
		print("one")
		print("two")
		return rouse.Answer{Status: rouse.StatusAnswered, Result: []byte(`{"said":2}`)}
	})
	return p
}

// closedPort returns an address at which nobody listens.
func closedPort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func TestDataDir(t *testing.T) {
	for _, c := range []struct {
		flag string
		env  map[string]string
		want string
	}{
		{"/a", map[string]string{"ROUSE_DATA": "/b", "XDG_DATA_HOME": "/c", "HOME": "/h"}, "/a"},
		{"", map[string]string{"ROUSE_DATA": "/b", "XDG_DATA_HOME": "/c", "HOME": "/h"}, "/b"},
		{"", map[string]string{"XDG_DATA_HOME": "/c", "HOME": "/h"}, "/c/rouse"},
		{"", map[string]string{"XDG_DATA_HOME": "relative", "HOME": "/h"}, home("/h/.local/share/rouse")},
		{"", map[string]string{"HOME": "/h"}, home("/h/.local/share/rouse")},
	} {
		a := &app{data: c.flag, env: func(k string) string { return c.env[k] }}
		if got, err := a.dataDir(); got != c.want || err != nil {
			t.Errorf("%q, %v: %s, %v, want %s", c.flag, c.env, got, err, c.want)
		}
	}
}

// home is where a user's data is, unless that user is root.
func home(dir string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/rouse"
	}
	return dir
}

func TestReadEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := make(chan struct{})
	defer close(never)
	if _, err := read(ctx, func() (int, error) { <-never; return 0, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Every command teaches by example, and one with commands refuses what is none.
func TestHelpTeaches(t *testing.T) {
	root := rootCommand(newApp())
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			look(sub)
		}
		if c.HasSubCommands() && c.Use == c.Name() && (c.Args == nil || c.Args(c, []string{"nothing"}) == nil) {
			t.Errorf("%s takes any command", c.CommandPath())
		}
		if c == root {
			return
		}
		if c.Short == "" || !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no summary or no example", c.CommandPath())
		}
		root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
			if c.Flags().Lookup(f.Name) != nil {
				t.Errorf("--%s of %s is not what it is everywhere else", f.Name, c.CommandPath())
			}
		})
	}
	look(root)
}
