package manifest

import (
	"cmp"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of a manifest: aliases can make much of little.
const (
	maxNodes = 2_000_000
	maxDepth = 200
)

// A shorthand is a struct for which a text alone may stand.
type shorthand interface {
	alone(text string) error
}

// A decoder makes Go values of YAML. It says of what is wrong in which line and
// field that is, and takes no longer than in proportion to the text.
type decoder struct {
	anchors map[string]ast.Node
	nodes   int
}

// decode reads a document into v, a pointer to a struct.
func decode(text []byte, v any) error {
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		return fmt.Errorf("%s", strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if len(f.Docs) > 1 {
		return fmt.Errorf("there are %d documents in it: one is enough", len(f.Docs))
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		return nil
	}
	d := &decoder{anchors: map[string]ast.Node{}}
	return d.value("", f.Docs[0].Body, reflect.ValueOf(v).Elem(), 0)
}

// wrong is an error about what is at a place.
func wrong(at string, n ast.Node, format string, args ...any) error {
	line := ""
	if t := n.GetToken(); t != nil && t.Position != nil {
		line = fmt.Sprintf("line %d: ", t.Position.Line)
	}
	return fmt.Errorf("%s%s: "+format, append([]any{line, cmp.Or(at, "the manifest")}, args...)...)
}

// plain follows anchors, aliases and tags to what they stand for.
func (d *decoder) plain(at string, n ast.Node, depth int) (ast.Node, error) {
	for ; ; depth++ {
		if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
			return nil, wrong(at, n, "it is too large, or nested too deeply")
		}
		switch x := n.(type) {
		case *ast.AnchorNode:
			d.anchors[x.Name.GetToken().Value] = x.Value
			n = x.Value
		case *ast.AliasNode:
			to, ok := d.anchors[x.Value.GetToken().Value]
			if !ok {
				return nil, wrong(at, n, "there is no anchor &%s before it", x.Value.GetToken().Value)
			}
			n = to
		case *ast.TagNode:
			n = x.Value
		case nil:
			return nil, fmt.Errorf("%s: it is empty", cmp.Or(at, "the manifest"))
		default:
			return n, nil
		}
	}
}

// value reads a node into v.
func (d *decoder) value(at string, n ast.Node, v reflect.Value, depth int) error {
	n, err := d.plain(at, n, depth)
	if err != nil {
		return err
	}
	if _, null := n.(*ast.NullNode); null {
		return nil
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(at, n, v.Elem(), depth+1)
	}
	if s, ok := v.Addr().Interface().(shorthand); ok {
		if t, ok := scalarText(n); ok {
			return about(at, n, s.alone(t))
		}
	}
	if s, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		t, ok := scalarText(n)
		if !ok {
			return wrong(at, n, "it is %s, and a text is wanted", kindOf(n))
		}
		return about(at, n, s.UnmarshalText([]byte(t)))
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.structure(at, n, v, depth)
	case reflect.Map:
		return d.mapping(at, n, v, depth)
	case reflect.Slice:
		return d.list(at, n, v, depth)
	case reflect.Interface:
		x, err := d.any(at, n, depth)
		if err == nil && x != nil {
			v.Set(reflect.ValueOf(x))
		}
		return err
	}
	return scalar(at, n, v)
}

func about(at string, n ast.Node, err error) error {
	if err == nil {
		return nil
	}
	return wrong(at, n, "%w", err)
}

// scalarText is what is written where a node is a scalar.
func scalarText(n ast.Node) (string, bool) {
	switch x := n.(type) {
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		return x.Value.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "an object"
	case *ast.SequenceNode:
		return "a list"
	}
	return strconv.Quote(n.GetToken().Value)
}

func scalar(at string, n ast.Node, v reflect.Value) error {
	t, ok := scalarText(n)
	want := map[reflect.Kind]string{reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Float64: "a number"}[v.Kind()]
	if ok {
		switch v.Kind() {
		case reflect.String:
			v.SetString(t)
			return nil
		case reflect.Bool:
			if b, is := n.(*ast.BoolNode); is {
				v.SetBool(b.Value)
				return nil
			}
		case reflect.Int:
			if i, err := strconv.Atoi(strings.ReplaceAll(t, "_", "")); err == nil {
				v.SetInt(int64(i))
				return nil
			}
		case reflect.Float64:
			if f, err := strconv.ParseFloat(t, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
				v.SetFloat(f)
				return nil
			}
		}
	}
	return wrong(at, n, "it is %s, and %s is wanted", kindOf(n), want)
}

// below is the place of a field.
func below(at, field string) string {
	switch {
	case strings.ContainsAny(field, ". /"):
		return fmt.Sprintf("%s[%q]", at, field)
	case at == "":
		return field
	}
	return at + "." + field
}

// each calls f with the fields of an object; those that are merged in come first,
// so that its own take their place.
func (d *decoder) each(at string, n ast.Node, depth int, f func(key string, at string, n ast.Node) error) error {
	n, err := d.plain(at, n, depth)
	if err != nil {
		return err
	}
	var all []*ast.MappingValueNode
	switch x := n.(type) {
	case *ast.MappingNode:
		all = x.Values
	case *ast.MappingValueNode:
		all = []*ast.MappingValueNode{x}
	default:
		return wrong(at, n, "it is %s, and an object is wanted", kindOf(n))
	}
	for _, merged := range []bool{true, false} {
		for _, kv := range all {
			if _, is := kv.Key.(*ast.MergeKeyNode); is != merged {
				continue
			}
			if merged {
				err = d.merge(at, kv.Value, depth+1, f)
			} else {
				key := kv.Key.GetToken().Value
				err = f(key, below(at, key), kv.Value)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *decoder) merge(at string, n ast.Node, depth int, f func(key, at string, n ast.Node) error) error {
	n, err := d.plain(at, n, depth)
	if err != nil {
		return err
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.each(at, n, depth+1, f)
	}
	for i := len(list.Values) - 1; i >= 0; i-- { // the first is the strongest
		if err := d.each(at, list.Values[i], depth+1, f); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) structure(at string, n ast.Node, v reflect.Value, depth int) error {
	t := v.Type()
	index := map[string]int{}
	for i := range t.NumField() {
		if name := fieldName(t.Field(i)); name != "" {
			index[name] = i
		}
	}
	return d.each(at, n, depth, func(key, at string, n ast.Node) error {
		i, ok := index[key]
		if !ok {
			return wrong(at, n, "there is no such field; there are %s", list(keys(index)))
		}
		field := v.Field(i)
		field.SetZero() // it may have been merged in
		return d.value(at, n, field, depth+1)
	})
}

// fieldName is how a field is written; "" is not at all.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(cmp.Or(f.Tag.Get("yaml"), f.Tag.Get("json")), ",")
	return name
}

func (d *decoder) mapping(at string, n ast.Node, v reflect.Value, depth int) error {
	v.Set(reflect.MakeMap(v.Type()))
	return d.each(at, n, depth, func(key, at string, n ast.Node) error {
		e := reflect.New(v.Type().Elem()).Elem()
		err := d.value(at, n, e, depth+1)
		v.SetMapIndex(reflect.ValueOf(key), e)
		return err
	})
}

func (d *decoder) list(at string, n ast.Node, v reflect.Value, depth int) error {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		return wrong(at, n, "it is %s, and a list is wanted", kindOf(n))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, e := range s.Values {
		if err := d.value(fmt.Sprintf("%s[%d]", at, i), e, v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// any reads what JSON can say as well.
func (d *decoder) any(at string, n ast.Node, depth int) (any, error) {
	n, err := d.plain(at, n, depth)
	if err != nil {
		return nil, err
	}
	switch x := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		m := map[string]any{}
		err := d.each(at, n, depth, func(key, at string, n ast.Node) (err error) {
			m[key], err = d.any(at, n, depth+1)
			return err
		})
		return m, err
	case *ast.SequenceNode:
		l := make([]any, len(x.Values))
		for i, e := range x.Values {
			if l[i], err = d.any(fmt.Sprintf("%s[%d]", at, i), e, depth+1); err != nil {
				return nil, err
			}
		}
		return l, nil
	case *ast.NullNode:
		return nil, nil
	case *ast.InfinityNode, *ast.NanNode:
		return nil, wrong(at, n, "JSON has no such number")
	case *ast.LiteralNode:
		return x.Value.Value, nil
	case ast.ScalarNode:
		return x.GetValue(), nil
	}
	return nil, wrong(at, n, "%s can't be read", kindOf(n))
}
