package files

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/trigger"
)

// The kinds of events.
const (
	written = "written"
	created = "created"
	moved   = "moved"
	removed = "removed"
)

var kinds = []string{written, created, moved, removed}

// scratch are the names that editors and tools give to files while they write.
var scratch = []string{"*~", ".*.sw?", "4913", ".#*", "#*#", ".goutputstream-*", ".~lock.*#"}

// A config is what a trigger of this kind is told.
type config struct {
	Path      string         `json:"path" doc:"of the folder; absolute" required:"true"`
	Recursive bool           `json:"recursive" doc:"watch the folders in it as well"`
	Events    []string       `json:"events" doc:"what is announced: a file that was written and closed, that is there though nothing may be in it yet, that was moved within the folder, that is gone" values:"written,created,moved,removed"`
	Match     []string       `json:"match" doc:"patterns of the names of files, or of their paths below the folder where there is a slash, such as *.jpg or in/**/*.csv; none is all"`
	Ignore    []string       `json:"ignore" doc:"patterns of files that are not announced, and of folders that are not looked into; by default what editors write beside"`
	Existing  bool           `json:"existing" doc:"announce what is there when the trigger begins"`
	Settle    rouse.Duration `json:"settle" doc:"for how long a file must have been left alone, up to 24h; for who writes one in several goes"`
}

// Describe says what triggers of this kind are.
func Describe() trigger.Kind {
	return trigger.Kind{Name: "files", About: "What happens to the files in a folder of the server's machine. A file is announced when it is complete; links are not followed, and what the server keeps in its own data folder is no event.",
		Fields: trigger.Describe(defaults()),
		Event: trigger.Event{Type: "file.written, file.created, file.moved, file.removed", Subject: "the path of the file",
			ID: "what the file is: its inode, size and time of change", Data: trigger.Describe(body{})},
		Example: "inbox: {files: {path: /srv/in, match: [\"*.jpg\"], settle: 2s}}"}
}

func defaults() config {
	return config{Recursive: true, Events: []string{written, moved, removed}, Match: []string{}, Ignore: slices.Clone(scratch)}
}

func read(raw json.RawMessage) (config, error) {
	c := defaults()
	if err := trigger.Decode(raw, &c); err != nil {
		return c, err
	}
	if !filepath.IsAbs(c.Path) || strings.ContainsRune(c.Path, 0) {
		return c, invalid("path", "%q is no absolute path, such as /srv/in", c.Path)
	}
	c.Path = filepath.Clean(c.Path)
	if len(c.Events) == 0 {
		return c, invalid("events", "none is named; there are %s", strings.Join(kinds, ", "))
	}
	for _, e := range c.Events {
		if !slices.Contains(kinds, e) {
			return c, invalid("events", "there is no %q; there are %s", e, strings.Join(kinds, ", "))
		}
	}
	if err := checkPatterns("match", c.Match); err != nil {
		return c, err
	}
	if err := checkPatterns("ignore", c.Ignore); err != nil {
		return c, err
	}
	if c.Settle < 0 || c.Settle > rouse.Duration(24*time.Hour) {
		return c, invalid("settle", "it is %v; it must be from 0s to 24h", c.Settle)
	}
	return c, nil
}

func checkPatterns(field string, patterns []string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return invalid(field, "%q is no pattern such as *.jpg or in/**/*.csv", p)
		}
	}
	return nil
}

func invalid(field, format string, args ...any) error {
	return &rouse.Error{Op: "read config", Kind: rouse.Invalid, On: field, Err: fmt.Errorf(format, args...)}
}

// wants reports whether a file is watched, by its path below the folder. That no
// folder above it is ignored must be known.
func (c *config) wants(file string) bool {
	return !fits(c.Ignore, file) && (len(c.Match) == 0 || fits(c.Match, file))
}

// enters reports whether a folder is looked into.
func (c *config) enters(folder string) bool { return c.Recursive && !fits(c.Ignore, folder) }

func fits(patterns []string, file string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if !strings.Contains(p, "/") {
			ok, _ := path.Match(p, path.Base(file))
			return ok
		}
		return along(strings.Split(strings.Trim(p, "/"), "/"), strings.Split(file, "/"))
	})
}

// along matches a path part by part; ** stands for any number of them.
func along(pattern, parts []string) bool {
	if len(pattern) == 0 {
		return len(parts) == 0
	}
	if pattern[0] == "**" {
		return along(pattern[1:], parts) || len(parts) > 0 && along(pattern, parts[1:])
	}
	if len(parts) == 0 {
		return false
	}
	ok, _ := path.Match(pattern[0], parts[0])
	return ok && along(pattern[1:], parts[1:])
}
