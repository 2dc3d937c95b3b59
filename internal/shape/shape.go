// Package shape says in words of JSON what a Go type holds, to people who know
// nothing of Go.
package shape

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
)

// Fault says what is wrong with a JSON that encoding/json does not take.
func Fault(err error) string {
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err.Error() == "unexpected end of JSON input" {
		return "it ends too early"
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "it"
		if t.Field != "" {
			what = strconv.Quote(t.Field)
		}
		return fmt.Sprintf("%s is %s where %s is expected", what, Named(t.Value), Of(t.Type))
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// Of returns what a type is in JSON, such as "a list".
func Of(t reflect.Type) string {
	if t == nil {
		return "another value"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "a text"
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a text in base64"
		}
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	}
	return "another value"
}

// Named is what encoding/json calls a value, in the same words: "array" is
// "a list".
func Named(value string) string {
	words := map[string]string{"string": "a text", "number": "a number", "bool": "true or false", "array": "a list", "object": "an object"}
	if w, ok := words[value]; ok {
		return w
	}
	return value // such as "number 1.5"
}
