package rule

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// document returns an event as patterns and templates see it: the fields of its
// data, and its own with an @ before their names.
func document(entry *data.Entry) map[string]any { return documentOf(&entry.Event) }

func documentOf(e *rouse.Event) map[string]any {
	doc := map[string]any{}
	if v, err := decode(e.Data); err == nil {
		if fields, ok := v.(map[string]any); ok {
			doc = maps.Clone(fields)
		}
		doc["@data"] = v
	} else if utf8.Valid(e.Data) {
		doc["@data"] = string(e.Data)
	}
	for k, a := range e.Attributes {
		doc["@"+k] = a
	}
	doc["@id"], doc["@type"], doc["@source"] = e.ID, e.Type, e.Source
	if e.Subject != "" {
		doc["@subject"] = e.Subject
	}
	if !e.Time.IsZero() {
		doc["@time"] = e.Time.UTC().Format(timeFormat)
	}
	return doc
}

// decode decodes JSON, its numbers as they are written: of some, no float64 has
// all digits.
func decode(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err = d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err = d.Token(); err != io.EOF {
		return nil, errors.New("there is more after its end")
	}
	return v, nil
}

const timeFormat = "2006-01-02T15:04:05.999999999Z07:00"

// input returns the JSON that a rule's target gets for an event.
func (c *compiled) input(e *rouse.Event) ([]byte, error) {
	if c.template != nil {
		return c.template.Execute(documentOf(e))
	}
	return cloudEvent(e)
}

// cloudEvent returns an event in the JSON format of CloudEvents 1.0.
func cloudEvent(e *rouse.Event) ([]byte, error) {
	m := map[string]any{}
	for k, v := range e.Attributes {
		m[k] = v
	}
	m["specversion"], m["id"], m["type"], m["source"] = "1.0", e.ID, orText(e.Type, typeAny), orText(e.Source, "rouse")
	if e.Subject != "" {
		m["subject"] = e.Subject
	}
	if !e.Time.IsZero() {
		m["time"] = e.Time.UTC().Format(timeFormat)
	}
	if e.ContentType != "" {
		m["datacontenttype"] = e.ContentType
	}
	switch {
	case len(e.Data) == 0:
	case json.Valid(e.Data):
		m["data"] = json.RawMessage(e.Data)
	case utf8.Valid(e.Data):
		m["data"] = string(e.Data)
	default:
		m["data_base64"] = e.Data
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func orText(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// hops returns how many activations led to an event, one after the other.
func hops(e *rouse.Event) int {
	return event.CauseIn(e).Hops
}

// batchOf returns how many of es make the next batch, and whether it is full.
func batchOf(b *event.Batch, es []data.Entry) (n int, full bool) {
	if b == nil {
		return 1, true
	}
	size := 0
	for i := range es {
		if size += len(es[i].Event.Data); i > 0 && size > b.Bytes {
			return i, true
		}
		if i+1 >= b.Size {
			return i + 1, true
		}
	}
	return len(es), false
}
