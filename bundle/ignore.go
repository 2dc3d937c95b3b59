package bundle

import (
	"path"
	"slices"
	"strings"
)

// ignoreFile lists, in a folder that is packed, what to leave out.
const ignoreFile = ".rouseignore"

// always are the names that are never packed, wherever they are.
var always = []string{".git", "__pycache__", "node_modules", ".venv", ".DS_Store", ignoreFile}

// ignore is a list of patterns as in .gitignore; the last that matches decides.
type ignore []pattern

type pattern struct {
	parts   []string // of the path; "**" stands for any number
	keep    bool     // "!": what matches is packed after all
	folders bool     // "/" at the end: only folders match
}

// parseIgnore reads patterns, one a line. Blank lines and those that begin
// with # say nothing; a pattern with a slash before its end counts from the
// folder's root, any other matches at every depth.
func parseIgnore(text string) ignore {
	var list ignore
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		var p pattern
		line, p.keep = strings.CutPrefix(line, "!")
		line, p.folders = strings.CutSuffix(line, "/")
		rooted := strings.Contains(line, "/")
		p.parts = strings.Split(strings.TrimPrefix(line, "/"), "/")
		if !rooted {
			p.parts = append([]string{"**"}, p.parts...)
		}
		list = append(list, p)
	}
	return list
}

// skips says whether name, a clean path below the root, is left out.
func (list ignore) skips(name string, folder bool) bool {
	if slices.Contains(always, path.Base(name)) {
		return true
	}
	for i := len(list) - 1; i >= 0; i-- {
		p := list[i]
		if (folder || !p.folders) && matches(p.parts, strings.Split(name, "/")) {
			return !p.keep
		}
	}
	return false
}

func matches(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			// Two in a row match as one; trying both at every depth would cost exponentially.
			for len(pattern) > 1 && pattern[1] == "**" {
				pattern = pattern[1:]
			}
			if len(pattern) == 1 {
				return len(name) > 0
			}
			for i := range name {
				if matches(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); !ok || err != nil {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}
