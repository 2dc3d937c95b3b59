package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/rouse-run/rouse"
)

// command is how this program can be run again, where it was told where the
// server is.
func (a *app) command() string {
	text := self()
	for _, flag := range []struct{ name, value string }{{"server", a.server}, {"data", a.data}, {"namespace", a.namespace}} {
		if flag.value != "" {
			text += " --" + flag.name + " " + quoted(flag.value)
		}
	}
	return text
}

// tryInvoke is a command that calls f.
func (a *app) tryInvoke(f rouse.Function) string {
	return fmt.Sprintf("%s invoke %s -d '{\"name\":\"ada\"}'", a.command(), f.Name)
}

// tryRoute is a command that asks f over HTTP, with the token that was taken.
func (a *app) tryRoute(server string, f rouse.Function) string {
	header := ""
	if !f.Public {
		token := "$ROUSE_TOKEN"
		if a.tokenFrom != token[1:] {
			token = "$(cat " + quoted(a.tokenFrom) + ")"
		}
		header = fmt.Sprintf(" -H \"Authorization: Bearer %s\"", token)
	}
	return fmt.Sprintf("curl%s %s/fn/%s/", header, server, f.Name)
}

// self is what a shell calls this program by: its name, where that leads to it.
func self() string {
	own, err := os.Executable()
	if err != nil {
		return "rouse"
	}
	if found, err := exec.LookPath("rouse"); err == nil {
		a, errA := os.Stat(own)
		b, errB := os.Stat(found)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return "rouse"
		}
	}
	return quoted(own)
}

// quoted is s as a word of a shell.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._:-[]", r)
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
