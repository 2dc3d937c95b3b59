package openwhisk

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/rouse-run/rouse"
)

// A path names an entity: /namespace/[package/]name.
type path struct {
	ns   rouse.Namespace
	pack string // "" is none
	name string
}

// String is the path without a leading slash, as activations show it.
func (p path) String() string {
	if p.pack == "" {
		return string(p.ns) + "/" + p.name
	}
	return string(p.ns) + "/" + p.pack + "/" + p.name
}

// where is the entity's namespace as entities show it: with the package.
func (p path) where() string {
	if p.pack == "" {
		return string(p.ns)
	}
	return string(p.ns) + "/" + p.pack
}

// ref names the function of an action.
func (p path) ref() rouse.Ref {
	name := encode(p.name)
	if p.pack != "" {
		name = encode(p.pack) + "/" + name
	}
	return rouse.Ref{Namespace: p.ns, Name: name}
}

// pathOf is the path of a function's action.
func pathOf(r rouse.Ref) path {
	name := r.Name
	if at, rest, ok := strings.Cut(name, ":"); ok { // another namespace's: see mirror
		if at == prefixTrigger {
			return path{ns: r.Namespace, name: decode(rest)}
		}
		r.Namespace, name = rouse.Namespace(at), rest
	}
	if pack, name, ok := strings.Cut(name, "/"); ok {
		return path{r.Namespace, decode(pack), decode(name)}
	}
	return path{ns: r.Namespace, name: decode(name)}
}

// wellFormed is what OpenWhisk takes as the name of an entity.
var wellFormed = regexp.MustCompile(`\A([\w]|[\w][\w@ .&-]{0,254}[\w@.&-])\z`)

const maxName = 256

// checkName refuses what can't name an entity, in OpenWhisk's words.
func checkName(s string) error {
	if rouse.CheckName(s) == nil { // mostly; it costs less
		return nil
	}
	if len(s) > maxName {
		return refuse(http.StatusBadRequest, "Name segement longer than allowed: %d > %d.", len(s), maxName)
	}
	if !wellFormed.MatchString(s) {
		return refuse(http.StatusBadRequest, "The name of the entity contains illegal characters.")
	}
	if n := len(encode(s)); n > maxSpelled {
		return tooLong(n, maxSpelled)
	}
	return nil
}

// maxSpelled bounds a name as it is spelled for the platform, and maxPath one with
// its package: with room for the namespace that sets copies apart.
const (
	maxSpelled = 580
	maxPath    = 600
)

func tooLong(n, most int) error {
	return refuse(http.StatusBadRequest, "The name of the entity is too long: %d > %d, where what is no letter of A to Z, digit, '.', '_' or '-' counts three times.", n, most)
}

// parse reads NAME or PACKAGE/NAME of a namespace.
func parse(ns rouse.Namespace, s string) (path, error) {
	p := path{ns: ns, name: s}
	if pack, name, ok := strings.Cut(s, "/"); ok {
		p.pack, p.name = pack, name
		if err := checkName(pack); err != nil {
			return p, err
		}
	}
	if err := checkName(p.name); err != nil {
		return p, err
	}
	if n := len(p.ref().Name); n > maxPath {
		return p, tooLong(n, maxPath)
	}
	return p, nil
}

// parseQualified reads /NS/NAME or /NS/PACKAGE/NAME; "_" is own, as is a name
// without a namespace.
func parseQualified(own rouse.Namespace, s string) (path, error) {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		if strings.Count(s, "/") == 2 { // clients leave out the first slash as well
			rest = s
		} else {
			return parse(own, s)
		}
	}
	ns, name, ok := strings.Cut(rest, "/")
	if !ok {
		return path{}, refuse(http.StatusBadRequest, "The name of the entity contains illegal characters.")
	}
	if ns != "_" {
		if rouse.CheckName(ns) != nil {
			return path{}, refuse(http.StatusBadRequest, "The namespace contains illegal characters.")
		}
		own = rouse.Namespace(ns)
	}
	return parse(own, name)
}

// encode spells a name as rouse.CheckFunction wants it: what it does not take is
// "~" and two hex digits.
func encode(s string) string {
	if rouse.CheckName(s) == nil {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if letter || i > 0 && (c == '.' || c == '_' || c == '-') {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('~')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// decode is encode's way back.
func decode(s string) string {
	if !strings.Contains(s, "~") {
		return s
	}
	digit := func(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '~' && i+2 < len(s) && digit(s[i+1]) >= 0 && digit(s[i+2]) >= 0 {
			b.WriteByte(byte(digit(s[i+1])<<4 | digit(s[i+2])))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
