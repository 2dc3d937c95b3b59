package openwhisk

import (
	_ "embed"
	"strings"
	"unicode"

	"github.com/rouse-run/rouse"
)

//go:embed launcher.go.txt
var launcher string

// LauncherFile is what the file that GoLauncher makes is called.
const LauncherFile = "rouse_launcher.go"

// GoLauncher returns the source of a Go file that makes a program of a package
// main with the function that main names: one that speaks ActionLoop. "" is
// Main. Errors: Invalid.
func GoLauncher(main string) (string, error) {
	if main == "" {
		main = "main"
	}
	letter := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	first, rest := []rune(main)[0], string([]rune(main)[1:])
	if !unicode.IsLetter(first) || strings.ContainsFunc(rest, func(r rune) bool { return !letter(r) }) {
		return "", rouse.Errorf(rouse.Invalid, "compile", "main", "%q is no name of a function", main)
	}
	return strings.ReplaceAll(launcher, "HANDLER", string(unicode.ToUpper(first))+rest), nil
}
