// Command rouse is the platform and its command line in one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends us whatever we do
	code := run(ctx, newApp(), os.Args[1:])
	stop()
	os.Exit(code)
}

// run runs one command line and returns the exit code: 0, 1 where a function
// failed, 2 where we did, 130 where a signal ended it.
func run(ctx context.Context, a *app, args []string) int {
	root := rootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return a.report(ctx, root.ExecuteContext(ctx))
}
