package trigger

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/shape"
)

// A Kind describes the triggers of one kind to people.
type Kind struct {
	Name    string  `json:"name"`
	About   string  `json:"about"` // what makes their events
	Fields  []Field `json:"fields"`
	Event   Event   `json:"event"`
	Example string  `json:"example"` // a config, as a manifest has it
}

// An Event describes what a trigger makes. Its data has Fields.
type Event struct {
	Type    string  `json:"type"`
	Subject string  `json:"subject"`
	ID      string  `json:"id"` // what makes two of them one
	Data    []Field `json:"data"`
}

// A Field is one of a config or of the data of an event.
type Field struct {
	Name     string   `json:"name"` // with dots where it is in another
	Type     string   `json:"type"` // such as "a list of texts"
	Default  string   `json:"default,omitempty"`
	Required bool     `json:"required,omitempty"`
	Values   []string `json:"values,omitempty"` // all it may be; none is any
	About    string   `json:"about"`
}

// Describe returns the fields of v, a struct with the defaults in it. What they
// are for is in their tags "doc", all values they may have in "values", and that
// they must be given in "required".
func Describe(v any) []Field { return describe("", reflect.ValueOf(v)) }

func describe(at string, v reflect.Value) (fields []Field) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name = at + name; f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
			fields = append(fields, describe(name+".", v.Field(i))...)
			continue
		}
		d := Field{Name: name, Type: typeOf(f.Type), Default: shown(v.Field(i)), Required: f.Tag.Get("required") != "", About: f.Tag.Get("doc")}
		if all := f.Tag.Get("values"); all != "" {
			d.Values = strings.Split(all, ",")
		}
		if def, ok := f.Tag.Lookup("default"); ok {
			d.Default = def
		}
		fields = append(fields, d)
	}
	return fields
}

func typeOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[rouse.Duration]():
		return "a duration"
	case t == reflect.TypeFor[json.RawMessage]():
		return "any JSON"
	case t == reflect.TypeFor[time.Time]():
		return "a time"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return "a list of texts"
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.String:
		return "an object of texts"
	}
	return shape.Of(t)
}

// shown is a default as a manifest has it; "" is none.
func shown(v reflect.Value) string {
	if d, ok := v.Interface().(rouse.Duration); ok {
		if d == 0 {
			return ""
		}
		return d.String()
	}
	if v.IsZero() && v.Kind() != reflect.Bool {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v.Interface()); err != nil {
		return ""
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), `","`, `", "`)
}
