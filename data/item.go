package data

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

// An Item is values by the names of their attributes.
type Item map[string]Value

// A Value is one of the ValueTypes; the zero Value is none of them. Values that
// were handed in or out must not be changed.
//
// As JSON a Value is plain where JSON has its type: "text", 12.5, true, null,
// [1, 2] or {"a": 1}. The others are objects of one member: {"$binary":
// "base64"}, {"$strings": ["a"]}, {"$numbers": [1]} and {"$binaries":
// ["base64"]}. A Map whose only member begins with "$" is {"$map": {…}}.
type Value struct {
	Type ValueType
	Text string  // of a String; of a Number, in decimal
	Data []byte  // of a Binary
	Bool bool    // of a Boolean
	List []Value // of a List; the members of a set
	Map  Item    // of a Map
}

// A ValueType is a type of Values.
type ValueType uint8

// The ValueTypes. A Number has up to 38 significant digits and is from 1e-130
// to 1e126 in size, or 0. A set has at least one member, and none twice.
const (
	NoType ValueType = iota
	String
	Number
	Binary
	Boolean
	Null
	List
	Map
	StringSet
	NumberSet
	BinarySet
)

var valueTypes = words{"", "string", "number", "binary", "boolean", "null", "list", "map", "strings", "numbers", "binaries"}

func (t ValueType) String() string { return valueTypes.word(uint8(t)) }

// MarshalText writes the ValueType's word.
func (t ValueType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the ValueType's word.
func (t *ValueType) UnmarshalText(b []byte) error {
	n, err := valueTypes.read("type", string(b))
	*t = ValueType(n)
	return err
}

// IsSet reports whether Values of the type are sets.
func (t ValueType) IsSet() bool { return t >= StringSet && t <= BinarySet }

// Member is the type of the members of a set.
func (t ValueType) Member() ValueType {
	if !t.IsSet() {
		return NoType
	}
	return t - StringSet + String
}

// Text returns a String.
func Text(s string) Value { return Value{Type: String, Text: s} }

// Num returns a Number of decimal text, such as "-12.5" or "1e3". It is checked
// where it is stored.
func Num(s string) Value { return Value{Type: Number, Text: s} }

// Int returns a Number.
func Int(n int64) Value { return Num(strconv.FormatInt(n, 10)) }

// Bytes returns a Binary.
func Bytes(b []byte) Value { return Value{Type: Binary, Data: b} }

// Bool returns a Boolean.
func Bool(b bool) Value { return Value{Type: Boolean, Bool: b} }

// Nothing returns a Null.
func Nothing() Value { return Value{Type: Null} }

// ListOf returns a List.
func ListOf(vs ...Value) Value { return Value{Type: List, List: vs} }

// MapOf returns a Map.
func MapOf(m Item) Value { return Value{Type: Map, Map: m} }

// SetOf returns a set of values of one type: String, Number or Binary.
func SetOf(vs ...Value) Value {
	v := Value{List: vs}
	if len(vs) > 0 && vs[0].Type >= String && vs[0].Type <= Binary {
		v.Type = vs[0].Type - String + StringSet
	}
	return v
}

const maxDepth = 64 // of JSON; what is stored may be less deep

// MarshalJSON writes the form that Value describes.
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil) }

func (v Value) appendJSON(to []byte) ([]byte, error) {
	switch v.Type {
	case String:
		return appendText(to, v.Text)
	case Number:
		n := json.Number(v.Text)
		b, err := json.Marshal(n)
		return append(to, b...), err
	case Binary:
		return fmt.Appendf(to, `{"$binary":"%s"}`, base64.StdEncoding.EncodeToString(v.Data)), nil
	case Boolean:
		return strconv.AppendBool(to, v.Bool), nil
	case Null:
		return append(to, "null"...), nil
	case List:
		return appendList(to, v.List)
	case Map:
		if wrapped(v.Map) {
			to, err := v.Map.appendJSON(append(to, `{"$map":`...))
			return append(to, '}'), err
		}
		return v.Map.appendJSON(to)
	case StringSet, NumberSet:
		to, err := appendList(fmt.Appendf(to, `{"$%s":`, v.Type), v.List)
		return append(to, '}'), err
	case BinarySet:
		plain := make([]Value, len(v.List))
		for i, m := range v.List {
			plain[i] = Text(base64.StdEncoding.EncodeToString(m.Data))
		}
		to, err := appendList(append(to, `{"$binaries":`...), plain)
		return append(to, '}'), err
	}
	return nil, errors.New("a value has no type")
}

func appendText(to []byte, s string) ([]byte, error) {
	b, err := json.Marshal(s)
	return append(to, b...), err
}

func appendList(to []byte, vs []Value) (_ []byte, err error) {
	to = append(to, '[')
	for i, v := range vs {
		if i > 0 {
			to = append(to, ',')
		}
		if to, err = v.appendJSON(to); err != nil {
			return nil, err
		}
	}
	return append(to, ']'), nil
}

// wrapped reports whether m could be taken for a typed value.
func wrapped(m Item) bool {
	for k := range m {
		return len(m) == 1 && strings.HasPrefix(k, "$")
	}
	return false
}

// MarshalJSON writes an object, its members in the order of their names.
func (i Item) MarshalJSON() ([]byte, error) {
	if i == nil {
		return []byte("null"), nil
	}
	return i.appendJSON(nil)
}

func (i Item) appendJSON(to []byte) (_ []byte, err error) {
	to = append(to, '{')
	for n, k := range slices.Sorted(maps.Keys(i)) {
		if n > 0 {
			to = append(to, ',')
		}
		if to, err = appendText(to, k); err != nil {
			return nil, err
		}
		if to, err = i[k].appendJSON(append(to, ':')); err != nil {
			return nil, fmt.Errorf("attribute %q: %w", k, err)
		}
	}
	return append(to, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(b []byte) error {
	tree, err := readTree(b)
	if err == nil {
		*v, err = valueOf(tree, 0)
	}
	return err
}

// UnmarshalJSON reads an object of Values, or null.
func (i *Item) UnmarshalJSON(b []byte) error {
	tree, err := readTree(b)
	if err != nil {
		return err
	}
	switch tree := tree.(type) {
	case nil:
		*i = nil
	case map[string]any:
		*i, err = itemOf(tree, 0)
	default:
		return errors.New(`an item is an object such as {"name": "value"}`)
	}
	return err
}

// readTree reads JSON with its numbers as they are written.
func readTree(b []byte) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the value")
	}
	return tree, nil
}

func itemOf(tree map[string]any, depth int) (Item, error) {
	item := make(Item, len(tree))
	for k, t := range tree {
		v, err := valueOf(t, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		item[k] = v
	}
	return item, nil
}

func valueOf(tree any, depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, fmt.Errorf("it is more than %d levels deep", maxDepth)
	}
	switch t := tree.(type) {
	case nil:
		return Nothing(), nil
	case bool:
		return Bool(t), nil
	case string:
		return Text(t), nil
	case json.Number:
		return Num(t.String()), nil
	case []any:
		vs := make([]Value, len(t))
		for i := range t {
			var err error
			if vs[i], err = valueOf(t[i], depth+1); err != nil {
				return Value{}, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return ListOf(vs...), nil
	case map[string]any:
		for k, inner := range t {
			if len(t) == 1 && strings.HasPrefix(k, "$") {
				return typedOf(k, inner, depth)
			}
		}
		m, err := itemOf(t, depth)
		return MapOf(m), err
	}
	return Value{}, fmt.Errorf("a value can't be %T", tree)
}

// typedOf reads an object whose only member begins with "$".
func typedOf(name string, inner any, depth int) (Value, error) {
	switch name {
	case "$map":
		if m, ok := inner.(map[string]any); ok {
			item, err := itemOf(m, depth)
			return MapOf(item), err
		}
		return Value{}, errors.New("$map wants an object")
	case "$binary":
		return binaryOf(name, inner)
	case "$strings", "$numbers", "$binaries":
		members, ok := inner.([]any)
		if !ok || len(members) == 0 {
			return Value{}, fmt.Errorf("%s wants a list with at least one member", name)
		}
		var vs []Value
		for _, m := range members {
			v, err := memberOf(name, m)
			if err != nil {
				return Value{}, err
			}
			vs = append(vs, v)
		}
		return SetOf(vs...), nil
	}
	return Value{}, fmt.Errorf(`%q is no type: there are $binary, $strings, $numbers and $binaries; a map that has only this member is {"$map": {…}}`, name)
}

func memberOf(name string, m any) (Value, error) {
	switch m := m.(type) {
	case string:
		if name == "$strings" {
			return Text(m), nil
		}
		if name == "$binaries" {
			return binaryOf(name, m)
		}
	case json.Number:
		if name == "$numbers" {
			return Num(m.String()), nil
		}
	}
	return Value{}, fmt.Errorf("a member of %s has another type", name)
}

func binaryOf(name string, inner any) (Value, error) {
	s, ok := inner.(string)
	b, err := base64.StdEncoding.DecodeString(s)
	if !ok || err != nil {
		return Value{}, fmt.Errorf("%s wants base64", name)
	}
	return Bytes(b), nil
}

// A Path leads to a value inside an Item. As text it is "a", "a.b" or "a.b[0]";
// a backslash before one of . [ ] \ makes it a part of a name.
type Path []Step

// A Step leads from a Map to one of its members or, where Name is "", from a
// List to one of its elements.
type Step struct {
	Name  string
	Index int // from 0
}

// Attr returns the Path of an attribute.
func Attr(name string) Path { return Path{{Name: name}} }

var escapes = strings.NewReplacer(`\`, `\\`, ".", `\.`, "[", `\[`, "]", `\]`)

func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch {
		case s.Name == "":
			fmt.Fprintf(&b, "[%d]", s.Index)
		case i > 0:
			b.WriteByte('.')
			fallthrough
		default:
			b.WriteString(escapes.Replace(s.Name))
		}
	}
	return b.String()
}

// ParsePath reads a Path's text. Errors: Invalid.
func ParsePath(s string) (Path, error) {
	bad := func(why string) (Path, error) {
		return nil, rouse.Errorf(rouse.Invalid, "read path", s, "%s; a path is such as a.b[0]", why)
	}
	var p Path
	rest := s
	for rest != "" {
		if rest[0] == '[' && len(p) > 0 {
			number, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.ParseUint(number, 10, 31)
			if !ok || err != nil {
				return bad("there is no number between [ and ]")
			}
			p, rest = append(p, Step{Index: int(n)}), after
			continue
		}
		if len(p) > 0 {
			if rest[0] != '.' {
				return bad("after ] comes . or [")
			}
			rest = rest[1:]
		}
		name, after, ok := cutName(rest)
		if !ok {
			return bad("a name is missing or broken")
		}
		p, rest = append(p, Step{Name: name}), after
	}
	if len(p) == 0 {
		return bad("it is empty")
	}
	return p, nil
}

// cutName reads a name up to the next . or [.
func cutName(s string) (name, rest string, ok bool) {
	var b strings.Builder
	i := 0
	for ; i < len(s) && s[i] != '.' && s[i] != '['; i++ {
		if s[i] == ']' {
			return "", "", false
		}
		if s[i] == '\\' {
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), s[i:], i > 0
}

// MarshalText writes the Path's text.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a Path's text.
func (p *Path) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePath(string(b))
	return err
}

// words are what the values of a small type are called.
type words []string

func (w words) word(n uint8) string {
	if int(n) < len(w) {
		return w[n]
	}
	return ""
}

func (w words) read(what, s string) (uint8, error) {
	if n := slices.Index(w, s); n > 0 || s == "" && n == 0 {
		return uint8(n), nil
	}
	return 0, rouse.Errorf(rouse.Invalid, "read "+what, s, "it is one of %s", strings.Join(w[1:], ", "))
}
