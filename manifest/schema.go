package manifest

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema returns the JSON Schema (draft 2020-12) of a manifest, by which editors
// complete and check one.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[File]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "rouse.yaml"
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// schemaOf follows a type by its yaml tags.
func schemaOf(t reflect.Type) map[string]any {
	text := map[string]any{"type": "string"}
	switch t {
	case reflect.TypeFor[Size]():
		return map[string]any{"type": []string{"string", "integer"}, "description": "bytes, such as 256MB"}
	case reflect.TypeFor[Span]():
		return map[string]any{"type": "string", "description": "a duration, such as 30s, 24h or 7d", "pattern": `^([0-9]+d|([0-9.]+(ns|us|µs|ms|s|m|h))+)$`}
	case reflect.TypeFor[Attribute]():
		return map[string]any{"oneOf": []any{text, object(map[string]any{"name": text, "type": map[string]any{"enum": []string{"string", "number", "binary"}}})}}
	case reflect.TypeFor[Route]():
		return map[string]any{"oneOf": []any{map[string]any{"type": "string", "description": "the name of a function"},
			object(map[string]any{"to": text, "qualifier": text, "public": map[string]any{"type": "boolean"}})}}
	case reflect.TypeFor[On]():
		return oneThing("a trigger", "trigger", "stream", "queue", "table", "bucket", "function", "outcome")
	case reflect.TypeFor[Target]():
		return oneThing("a function", "function", "queue", "stream", "webhook", "qualifier")
	case reflect.TypeFor[Dead]():
		return oneThing("a queue", "function", "queue", "stream", "webhook", "qualifier")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.String:
		return text
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return map[string]any{"type": "number", "minimum": 0}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Struct:
		fields := map[string]any{}
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" {
				fields[name] = schemaOf(t.Field(i).Type)
			}
		}
		return object(fields)
	}
	return map[string]any{} // any
}

func object(fields map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": false, "properties": fields}
}

// oneThing is the name alone of one kind of thing, or an object that names one of
// any kind.
func oneThing(alone string, fields ...string) map[string]any {
	m := map[string]any{}
	for _, f := range fields {
		m[f] = map[string]any{"type": "string"}
	}
	return map[string]any{"oneOf": []any{map[string]any{"type": "string", "description": "the name of " + alone}, object(m)}}
}
