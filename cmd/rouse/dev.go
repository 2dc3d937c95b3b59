package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/manifest"
)

// quiet is how long nothing must have been written before it is applied: editors
// write a file in several steps.
const quiet = 150 * time.Millisecond

func devCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "dev [FILE]",
		Short: "Apply a manifest each time something in its folder is saved",
		Long: `Apply a manifest, rouse.yaml where no other is named, now and each time something
in its folder is saved, until Ctrl-C. Nothing is asked and nothing is removed.
An error is shown, and the next save is another try.

See what your functions print, in another terminal, with "rouse logs -f NAME".`,
		Example: "  rouse dev",
		Args:    between(0, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.dev(c, manifestName(args))
		},
	}
}

func (a *app) dev(c *cobra.Command, name string) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch folder: %w", err)
	}
	defer w.Close()
	dir := filepath.Dir(name)
	if err := watch(w, dir); err != nil {
		return err
	}
	a.redo(c, name)
	fmt.Fprintf(a.err, "watching %s; Ctrl-C ends\n", dir)
	return a.watched(c.Context(), w, func() { a.redo(c, name) })
}

// watched calls redo when something was saved and it is quiet again.
func (a *app) watched(ctx context.Context, w *fsnotify.Watcher, redo func()) error {
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return nil
			}
			if ignored(e.Name) || e.Op == fsnotify.Chmod {
				continue
			}
			if info, err := os.Stat(e.Name); err == nil && info.IsDir() && e.Has(fsnotify.Create) {
				if err := watch(w, e.Name); err != nil {
					fmt.Fprintln(a.err, err)
				}
			}
			settled.Reset(quiet)
		case err := <-w.Errors:
			fmt.Fprintln(a.err, "watch folder:", err)
			settled.Reset(quiet) // something may have been missed
		case <-settled.C:
			redo()
		}
	}
}

// watch watches a folder and those in it.
func watch(w *fsnotify.Watcher, dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case name != dir && ignored(name):
			return filepath.SkipDir
		}
		return w.Add(name)
	})
}

// ignored reports whether a path is none of a function's.
func ignored(name string) bool {
	base := filepath.Base(name)
	return strings.HasPrefix(base, ".") && base != "." && base != ".." || base == "node_modules" || base == "__pycache__" || strings.HasSuffix(base, "~")
}

// redo applies the manifest and says what came of it.
func (a *app) redo(c *cobra.Command, name string) {
	start := time.Now()
	err := a.inTurn(c, func() error {
		p, err := a.plan(c, name, false)
		if err != nil {
			return err
		}
		return p.Apply(c.Context(), func(r manifest.Report) {
			if r.Back {
				fmt.Fprintln(a.err, reported(r))
				return
			}
			fmt.Fprintf(a.out, "%s %s %s (%s)\n", past(r.Action), r.Kind, r.Name, time.Since(start).Round(time.Millisecond))
		})
	})
	if err != nil && c.Context().Err() == nil {
		fmt.Fprintln(a.err, "rouse:", err)
	}
}
