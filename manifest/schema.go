package manifest

import (
	"encoding/json"
	"reflect"
	"strconv"
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
		return map[string]any{"oneOf": []any{map[string]any{"type": "string", "description": "the name of a function, alone or as NAME:VERSION"},
			object(map[string]any{"to": text, "qualifier": text, "public": map[string]any{"type": "boolean"}})}}
	case reflect.TypeFor[Trigger]():
		return triggerSchema()
	case reflect.TypeFor[On]():
		return oneThing("the name of a trigger, or such as stream:clicks", "trigger", "stream", "queue", "table", "bucket", "function", "outcome")
	case reflect.TypeFor[Target]():
		return oneThing("the name of a function, alone or as NAME:VERSION, a URL, or such as queue:jobs", "function", "queue", "stream", "webhook", "qualifier")
	case reflect.TypeFor[Dead]():
		return oneThing("the name of a queue, or such as stream:lost", "function", "queue", "stream", "webhook", "qualifier")
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
		var required []string
		for i := range t.NumField() {
			f := t.Field(i)
			name := fieldName(f)
			if name == "" {
				continue
			}
			v := schemaOf(f.Type)
			if least, err := strconv.Atoi(f.Tag.Get("least")); err == nil {
				v["minimum"] = least
			}
			if fields[name] = v; f.Tag.Get("required") != "" {
				required = append(required, name)
			}
		}
		s := object(fields)
		if required != nil {
			s["required"] = required
		}
		return s
	}
	return map[string]any{} // any
}

func object(fields map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": false, "properties": fields}
}

// oneThing is a text that names one thing, or an object that names one of any
// kind.
func oneThing(alone string, fields ...string) map[string]any {
	m := map[string]any{}
	for _, f := range fields {
		m[f] = map[string]any{"type": "string"}
	}
	return map[string]any{"oneOf": []any{map[string]any{"type": "string", "description": alone}, object(m)}}
}
