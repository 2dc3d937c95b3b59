// Command bench measures the platform, and in the same run the physical limit
// of each figure: the barest thing of the same kind that does the same work
// with no platform around it. On a shared machine the ratio is the result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is one run of the program.
type bench struct {
	dir      string // for data, code and programs; removed at the end
	rouse    string // the platform's program
	cell     string // the limit's
	rounds   int
	span     time.Duration // of one sample of a rate
	settle   time.Duration // before each cold start
	many     int           // functions that sleep
	soak     int           // invocations
	postgres string        // URL of a database; "" is none
	progress io.Writer
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, format+"\n", args...)
}

func groups() []group {
	return []group{warmGroup(), moduleGroup(), coldGroup(), memoryGroup(), acceptGroup(), recordsGroup(),
		servicesGroup("sqlite", true, onSQLite), servicesGroup("postgresql", false, onPostgreSQL), eventsGroup("events", false), eventsGroup("events on postgresql", true),
		scheduleGroup("schedule", false), scheduleGroup("schedule on postgresql", true), whiskGroup(), plainGroup(), sleepingGroup(), soakGroup()}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) > 0 && args[0] == bareName {
		return bareServe(args[1:])
	}
	b := &bench{progress: os.Stderr}
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	only := f.String("only", "", "measure only what matches this `regexp`, such as cold/ or warm/python")
	list := f.Bool("list", false, "list what can be measured")
	soak := f.Bool("soak", false, "measure a million invocations as well, which takes minutes")
	asJSON := f.String("json", "", "write the results to this `file`")
	asMarkdown := f.String("markdown", "", "write a page to this `file`, such as docs/BENCHMARKS.md")
	seconds := f.Float64("seconds", 1, "that one sample of a rate takes")
	parent := f.String("dir", "", "`folder` on the disk to be measured (default: the system's for temporary files)")
	f.StringVar(&b.postgres, "postgres", "", "`URL` of a PostgreSQL database to measure, which is left with what was written")
	f.IntVar(&b.rounds, "rounds", 5, "samples of each figure")
	f.DurationVar(&b.settle, "settle", 50*time.Millisecond, "`pause` before each cold start")
	f.IntVar(&b.many, "functions", 10_000, "deployed functions that sleep")
	f.IntVar(&b.soak, "invocations", 1_000_000, "of the soak")
	_ = f.Parse(args) // exits at an error
	b.span = time.Duration(*seconds * float64(time.Second))
	if b.rounds < 1 || b.span <= 0 || b.many < 1 || b.soak < many {
		return errors.New("--rounds, --seconds and --functions must be more than 0, --invocations at least 16")
	}
	pick, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if *list {
		for _, g := range groups() {
			for _, m := range g.measurements {
				fmt.Printf("%s/%s\n", g.name, m.name)
			}
		}
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("it makes namespaces, as the platform does: run it as root")
	}
	if b.dir, err = os.MkdirTemp(*parent, "rouse-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	r := report{Began: time.Now(), Machine: b.machine(ctx), Rounds: b.rounds, Span: b.span.Seconds()}
	for _, g := range groups() {
		if g.slow && !*soak {
			r.Skipped = append(r.Skipped, g.name)
			continue
		}
		results, err := g.run(ctx, b, pick)
		if err != nil {
			return err
		}
		r.Results = append(r.Results, results...)
	}
	r.Took = time.Since(r.Began).Seconds()
	r.table(os.Stdout)
	return errors.Join(r.writeJSON(*asJSON), r.writeMarkdown(*asMarkdown))
}

// build builds the platform and the limit's cell, as make does.
func (b *bench) build(ctx context.Context) error {
	b.rouse, b.cell = filepath.Join(b.dir, "rouse"), filepath.Join(b.dir, "cell")
	for out, pkg := range map[string]string{b.rouse: "github.com/rouse-run/rouse/cmd/rouse", b.cell: "github.com/rouse-run/rouse/bench/cell"} {
		b.say("building %s", pkg)
		if err := goBuild(ctx, out, pkg); err != nil {
			return err
		}
	}
	return nil
}

// goBuild builds a static program of this module.
func goBuild(ctx context.Context, out, pkg string) error { return goBuildIn(ctx, "", out, pkg) }

// goBuildIn builds a static program of the module in a folder.
func goBuildIn(ctx context.Context, folder, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, said)
	}
	return nil
}
