package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/node"
)

//go:embed templates
var templates embed.FS

func initCommand(a *app) *cobra.Command {
	var template string
	c := &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Write a first function to begin from",
		Long: `Write a first function, with a README that says how to deploy it, into a folder
(default: this one), which is made where it is missing. Files that are there are
never overwritten.

Templates: ` + strings.Join(templateNames(), ", ") + `.`,
		Example: `  rouse init hello --template python
  rouse init shop --template http`,
		Args: between(0, "FOLDER"),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(templateNames(), template) {
				return usage(c, "there is no template %q; there is %s", template, strings.Join(templateNames(), ", "))
			}
			return a.begin(first(append(args, ".")...), template)
		},
	}
	c.Flags().StringVarP(&template, "template", "t", "python", "what to begin `from`: "+strings.Join(templateNames(), ", "))
	_ = c.RegisterFlagCompletionFunc("template", cobra.FixedCompletions(templateNames(), cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
	return c
}

func templateNames() []string {
	entries, err := templates.ReadDir("templates")
	if err != nil {
		panic(err) // the binary was built without them
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// begin writes a template's files and prints the commands in its README, which
// are the lines of four spaces.
func (a *app) begin(folder, template string) error {
	name, err := nameOf(folder, "choose another")
	if err != nil {
		return err
	}
	root := "templates/" + template
	files := map[string]string{}
	err = fs.WalkDir(templates, root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := templates.ReadFile(path)
		files[filepath.Join(folder, strings.TrimPrefix(path, root+"/"))] = strings.ReplaceAll(string(b), "hello", name)
		return err
	})
	if err != nil {
		return fmt.Errorf("read template: %w", err)
	}
	for path := range files {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return rouse.Errorf(rouse.Conflict, "write template", path, "it is there already; choose another folder")
		}
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write template: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write template: %w", err)
		}
	}
	if a.json {
		return nil
	}
	fmt.Fprintf(a.out, "%s is a function to begin from; next:\n\n", name)
	if folder != "." {
		fmt.Fprintf(a.out, "    cd %s\n", quoted(folder))
	}
	for line := range strings.Lines(files[filepath.Join(folder, "README.md")]) {
		if strings.HasPrefix(line, "    ") {
			if rest, ok := strings.CutPrefix(line, "    rouse "); ok {
				line = "    " + a.command() + " " + rest
			}
			server := strings.TrimPrefix(first(a.server, a.env("ROUSE_SERVER"), node.DefaultListen), "http://")
			fmt.Fprint(a.out, strings.ReplaceAll(line, node.DefaultListen, server))
		}
	}
	return nil
}
