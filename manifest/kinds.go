package manifest

import (
	"strings"

	"github.com/rouse-run/rouse/trigger"
	"github.com/rouse-run/rouse/trigger/events"
	"github.com/rouse-run/rouse/trigger/files"
	"github.com/rouse-run/rouse/trigger/manual"
	"github.com/rouse-run/rouse/trigger/mqtt"
	"github.com/rouse-run/rouse/trigger/schedule"
	"github.com/rouse-run/rouse/trigger/web"
	"github.com/rouse-run/rouse/trigger/webhook"
)

// TriggerKinds describes all kinds of triggers, by name.
func TriggerKinds() []trigger.Kind {
	return []trigger.Kind{events.Describe(), files.Describe(), webhook.DescribeGitHub(), manual.Describe(), mqtt.Describe(), schedule.Describe(), web.Describe(), webhook.Describe()}
}

// triggerSchema allows one kind, with its fields.
func triggerSchema() map[string]any {
	all := map[string]any{}
	for _, k := range TriggerKinds() {
		s := object(map[string]any{})
		s["description"] = k.About
		for _, f := range k.Fields {
			addField(s, f.Name, f)
		}
		all[k.Name] = s
	}
	s := object(all)
	s["minProperties"], s["maxProperties"] = 1, 1
	return s
}

// addField adds a field to the schema of an object; one with a dot in its name is
// in an object within.
func addField(s map[string]any, name string, f trigger.Field) {
	fields := s["properties"].(map[string]any)
	if outer, inner, ok := strings.Cut(name, "."); ok {
		if fields[outer] == nil {
			fields[outer] = object(map[string]any{})
		}
		addField(fields[outer].(map[string]any), inner, f)
		return
	}
	v := map[string]any{"a text": map[string]any{"type": "string"}, "true or false": map[string]any{"type": "boolean"}, "a whole number": map[string]any{"type": "integer"},
		"a duration":      map[string]any{"type": []string{"string", "number"}},
		"a list of texts": map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, "an object of texts": map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
		"any JSON": map[string]any{}}[f.Type].(map[string]any)
	if len(f.Values) > 0 {
		if items, ok := v["items"].(map[string]any); ok {
			items["enum"] = f.Values
		} else {
			v["enum"] = f.Values
		}
	}
	v["description"] = f.About
	if fields[name] = v; f.Required {
		required, _ := s["required"].([]string)
		s["required"] = append(required, name)
	}
}
