package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// recordWait is how long a record may take to be stored after the answer.
const recordWait = 10 * time.Second

type invoke struct {
	*app
	data, contentType, qualifier string
	async, logs                  bool
}

func invokeCommand(a *app) *cobra.Command {
	v := &invoke{app: a}
	c := &cobra.Command{
		Use:   "invoke NAME",
		Short: "Run a function and print its result",
		Long: `Run a function and print its result, and nothing else, on standard output.

The payload is -d, a file with -d @FILE, or what is piped in. It must be JSON
unless --content-type says otherwise. Where the function fails, its message and
stack go to standard error, and the exit code is 1.`,
		Example: `  rouse invoke hello -d '{"name":"ada"}'
  rouse invoke hello -d @event.json --logs
  echo '{"name":"ada"}' | rouse invoke hello | jq .
  rouse invoke resize -d @cat.png --content-type image/png > small.png
  rouse invoke hello --qualifier prod --json
  rouse invoke hello -d '{"name":"ada"}' --async`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE:              func(c *cobra.Command, args []string) error { return v.run(c.Context(), args[0]) },
	}
	f := c.Flags()
	f.StringVarP(&v.data, "payload", "d", "", "the `payload`, or @FILE, or @- for standard input")
	f.StringVar(&v.contentType, "content-type", "", "`type` of the payload, where it is not JSON")
	f.StringVarP(&v.qualifier, "qualifier", "q", "", "`version` or alias to run (default: the newest)")
	f.BoolVar(&v.async, "async", false, "only store the invocation and print the activation's id")
	f.BoolVar(&v.logs, "logs", false, "print what the function logged on standard error")
	return c
}

func (v *invoke) run(ctx context.Context, name string) error {
	cl, err := v.client()
	if err != nil {
		return err
	}
	k := client.Call{Function: name, Qualifier: v.qualifier, ContentType: v.contentType}
	if k.Payload, err = v.payload(ctx); err != nil {
		return err
	}
	switch {
	case v.async:
		return v.accept(ctx, cl, k)
	case v.json:
		a, err := cl.Record(ctx, k)
		if err != nil {
			return err
		}
		if err := v.printJSON(wire.ActivationOf(a)); err != nil {
			return err
		}
		return v.end(ctx, cl, name, &a)
	}
	a, err := cl.Invoke(ctx, k)
	if err != nil {
		return err
	}
	if a.Status == rouse.StatusAnswered {
		if err := v.print(&a); err != nil {
			return err
		}
	}
	return v.end(ctx, cl, name, &a)
}

func (v *invoke) accept(ctx context.Context, cl *client.Client, k client.Call) error {
	id, err := cl.Accept(ctx, k)
	if err != nil {
		return err
	}
	if v.json {
		return v.printJSON(wire.Accepted{Activation: id})
	}
	fmt.Fprintln(v.out, id)
	return nil
}

// payload reads -d or what is piped in. A terminal, /dev/null or nothing at all
// is no payload.
func (v *invoke) payload(ctx context.Context) ([]byte, error) {
	name, file := strings.CutPrefix(v.data, "@")
	switch {
	case file && name != "-":
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read payload: %w", err)
		}
		return b, nil
	case v.data != "" && !file:
		return []byte(v.data), nil
	}
	info, err := v.in.Stat()
	if err != nil || (!file && info.Mode()&fs.ModeCharDevice != 0) {
		return nil, nil // a closed standard input can't be asked
	}
	b, err := read(ctx, func() ([]byte, error) { return io.ReadAll(v.in) })
	if err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	return b, nil
}

// print ends JSON and text with a line break; other bytes stay as they are.
func (v *invoke) print(a *rouse.Activation) error {
	b := a.Result
	if (wire.IsJSON(a.ContentType) || strings.HasPrefix(a.ContentType, "text/")) && len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	if _, err := v.out.Write(b); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// end shows the log, and a failure with the function's own stack.
func (v *invoke) end(ctx context.Context, cl *client.Client, name string, a *rouse.Activation) error {
	if v.logs {
		ls, err := cl.ActivationLines(ctx, a.ID, recordWait)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		for _, l := range ls {
			fmt.Fprintln(v.err, l.Text)
		}
	}
	if a.Status == rouse.StatusAnswered {
		return nil
	}
	if !v.json {
		v.explain(name, a)
	}
	return exit{exitFunction}
}

func (v *invoke) explain(name string, a *rouse.Activation) {
	text := name + " " + a.Status.String()
	if a.Status == rouse.StatusOutOfMemory {
		text = name + " ran out of memory"
	}
	if f := a.Failure; f != nil {
		text += fmt.Sprintf(": %s: %s", f.Type, f.Message)
		if f.Stack != "" {
			text += "\n" + strings.TrimRight(f.Stack, "\n")
		}
	}
	fmt.Fprintln(v.err, v.paint(v.err, red, text))
}
