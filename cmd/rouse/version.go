package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
)

// A build says what a binary was made from.
type build struct {
	Version string      `json:"version"`
	Go      string      `json:"go"`
	OS      string      `json:"os"`
	Arch    string      `json:"arch"`
	Server  *rouse.Node `json:"server,omitempty"`
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print this program's version, and the server's where one answers",
		Example: `  rouse version
  rouse version --json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			b := build{Version: version(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			where, err := a.askServer(c.Context(), &b)
			if a.json {
				return a.printJSON(b)
			}
			fmt.Fprintf(a.out, "rouse %s, %s %s/%s\n", b.Version, b.Go, b.OS, b.Arch)
			switch {
			case b.Server != nil:
				fmt.Fprintf(a.out, "server %s at %s, isolation %s, started %s\n", b.Server.Version, where, b.Server.Isolation, ago(b.Server.Started))
			case err != nil:
				a.report(c.Context(), err) // no reason to fail: the version was printed
			}
			return nil
		},
	}
}

func (a *app) askServer(ctx context.Context, b *build) (where string, err error) {
	cl, err := a.client()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	n, err := cl.Node(ctx)
	if err == nil {
		b.Server = &n
	}
	return cl.Server(), err
}

// version is the one that the Go toolchain wrote into the binary: a tag, or
// one made from the commit.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
