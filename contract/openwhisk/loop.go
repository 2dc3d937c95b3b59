package openwhisk

import (
	_ "embed"
	"strings"
)

// A loop is a program of ours, in a language that has no worker, which loads an
// action and speaks ActionLoop for it.
type loop struct {
	File    string   `json:"file"`    // that the code must have at its top
	Missing string   `json:"missing"` // what is said where it has not
	Args    []string `json:"args"`    // of the interpreter; main comes after them
}

var (
	//go:embed loop.php.txt
	loopPHP string
	//go:embed loop.rb.txt
	loopRuby string
)

// loopOf is the loop for a kind; nil where there is none, as the code is loaded by
// a worker, or is a program.
func loopOf(kind string) *loop {
	family, _, _ := strings.Cut(kind, ":")
	switch family {
	case "php":
		return &loop{File: "index.php", Missing: "Zipped actions must contain index.php at the root.",
			Args: []string{"-d", "display_errors=stderr", "-d", "html_errors=0", "-d", "memory_limit=-1", "-r", strings.TrimPrefix(loopPHP, "<?php\n"), "--"}}
	case "ruby":
		return &loop{File: "main.rb", Missing: "Invalid Ruby Code: zipped actions must contain main.rb at the root.", Args: []string{"-e", loopRuby, "--"}}
	}
	return nil
}
