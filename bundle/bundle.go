// Package bundle keeps code as archives: it packs a folder into a zip, unpacks
// a zip that nobody vouches for, and caches what it unpacked by digest.
package bundle

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits bound what one bundle may unpack to.
type Limits struct {
	Files int   // files and folders, those included that a path only implies
	Bytes int64 // of all files together, unpacked
	Ratio int64 // unpacked bytes for each packed one, beyond the first 64 MB; 0 sets no bound
}

// DefaultLimits are those of a platform that nobody told otherwise.
var DefaultLimits = Limits{Files: 100_000, Bytes: 1 << 30, Ratio: 100}

var drive = regexp.MustCompile(`^[A-Za-z]:`)

// cleanName returns the one way to write a path in an archive, or says why it
// must not be there.
func cleanName(name string) (string, error) {
	switch {
	case strings.ContainsRune(name, 0):
		return "", fmt.Errorf("%q has a NUL in its name", name)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%q is not named in UTF-8", name)
	case strings.ContainsRune(name, '\\'):
		return "", fmt.Errorf("%q has a backslash in its name: separate folders by /", name)
	case strings.HasPrefix(name, "/"), drive.MatchString(name):
		return "", fmt.Errorf("%q is an absolute path: names must be below the bundle's root", name)
	case len(name) > 2048:
		return "", fmt.Errorf("%q...: a path has at most 2,048 bytes", name[:64])
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q leads out of the bundle", name)
		}
		if len(part) > 255 {
			return "", fmt.Errorf("%q...: a name has at most 255 bytes", part[:64])
		}
	}
	return path.Clean(name), nil
}
