package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

func TestWhatANoteLeavesOpen(t *testing.T) {
	f := rouse.Function{Ref: rouse.Ref{Namespace: "space", Name: "name"}, Version: 7}
	for runtime, kind := range map[string]string{"python3.11": "python:3.11", "python3": "python:3", "nodejs20": "nodejs:20", "nodejs": "nodejs:default", "executable": "executable"} {
		f.Runtime = runtime
		n, err := noteOf(f)
		if err != nil || n.Kind != kind || n.Version != "0.0.7" || n.Path != "space/name" || n.namespace != "space" || n.Result != 1<<20 {
			t.Errorf("%s: %+v %v", runtime, n, err)
		}
	}
}

// message is an event as the code reads it.
type message struct {
	Value                                                                           json.RawMessage
	Namespace, Action_name, Action_version, Activation_id, Transaction_id, Deadline string
}

// FuzzPayload holds that no data, path or id makes of an event anything but one
// object with the fields that it has.
func FuzzPayload(f *testing.F) {
	for _, data := range []string{``, `{}`, `[]`, `{"a":1}`, ` {"a":{"b":[1]}} `, `{},"activation_id":"x","y":{}`, `null`, `{"value":1}`, "{\"a\":\"\xff\"}", `{"a":1,"a":2}`, "{\n}", `[[[[`, "\ufeff{}"} {
		f.Add([]byte(data), "guest/pkg/hello", "id", "", true)
		f.Add([]byte(data), "a\"b/\x00c\xff", "i\\d\"", "t\u2028", false)
	}
	f.Fuzz(func(t *testing.T, data []byte, path, id, transaction string, defaults bool) {
		n := Note{Kind: "go:1.20", Path: path, Version: "0.0.1"}
		if defaults {
			n.Arguments = map[string]json.RawMessage{"a": []byte(`"default"`), "b": []byte(`[1]`)}
			n.Env = map[string]json.RawMessage{"secret": []byte(`1`)}
		}
		w := newWriter(n)
		b, err := w.append(context.Background(), nil, rouse.Invocation{ID: id, Event: rouse.Event{Data: data, Attributes: map[string]string{Transaction: transaction}}})
		if err != nil {
			if json.Valid(data) && (data[0] == '{' || data[0] == '[') {
				t.Fatalf("%q was refused: %v", data, err)
			}
			return
		}
		n.Kind = "python:3"
		w = newWriter(n)
		loaded, err := w.append(context.Background(), nil, rouse.Invocation{ID: id, Event: rouse.Event{Data: data, Attributes: map[string]string{Transaction: transaction}}})
		if err != nil {
			t.Fatal(err)
		}
		parts := json.NewDecoder(bytes.NewReader(loaded))
		if transaction != "" {
			var first string
			if err := parts.Decode(&first); err != nil || utf8.ValidString(transaction) && first != transaction {
				t.Fatalf("%q became %q: %v", transaction, loaded, err)
			}
		}
		var arguments json.RawMessage
		if err := parts.Decode(&arguments); err != nil || parts.More() {
			t.Fatalf("%q became %q: %v", data, loaded, err)
		}
		checkArguments(t, data, arguments, n)
		var m message
		strict := json.NewDecoder(bytes.NewReader(b))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&m); err != nil || strict.More() || !utf8.Valid(b) {
			t.Fatalf("%q became %q: %v", data, b, err)
		}
		valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
		if len([]rune(m.Activation_id)) != len([]rune(id)) || utf8.ValidString(path) && m.Action_name != "/"+path || transaction != "" && utf8.ValidString(transaction) && m.Transaction_id != valid(transaction) {
			t.Fatalf("%q became %q", data, b)
		}
		checkArguments(t, data, m.Value, n)
	})
}

// checkArguments compares what came of data with what the note says must.
func checkArguments(t *testing.T, data, value []byte, n Note) {
	t.Helper()
	data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	}
	var own, got map[string]json.RawMessage
	if json.Unmarshal(data, &own) != nil { // an array stays what it is
		if !bytes.Equal(bytes.TrimSpace(data), bytes.TrimSpace(value)) {
			t.Fatalf("%q became %q", data, value)
		}
		return
	}
	if err := json.Unmarshal(value, &got); err != nil {
		t.Fatalf("%q became %q: %v", data, value, err)
	}
	want := maps.Clone(n.Arguments)
	if want == nil {
		want = map[string]json.RawMessage{}
	}
	maps.Copy(want, own)
	delete(want, "secret")
	if n.Arguments == nil {
		want = own
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Fatalf("%q became %q", data, value)
	}
	for name, raw := range want {
		if !same(raw, got[name]) {
			t.Fatalf("%q: %s became %q", data, name, got[name])
		}
	}
}

// same compares JSON, whatever its spaces and escapes are.
func same(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b) // such as numbers too large for Go
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

// FuzzNote holds that no stored note makes Boot panic, and that what it reads of
// one is whole.
func FuzzNote(f *testing.F) {
	for _, note := range []string{``, `{}`, `null`, `{"kind":"nodejs:20","version":"0.0.1","path":"a/b","arguments":{"a":1},"env":{"B":"c","D":[1]},"provideKey":true,"result":5}`,
		`{"result":-1}`, `{"path":"/"}`, `{"arguments":{"a":null}}`, `[]`, `{"kind":5}`} {
		f.Add([]byte(note))
	}
	f.Fuzz(func(t *testing.T, note []byte) {
		n, err := noteOf(rouse.Function{Ref: rouse.Ref{Namespace: "n", Name: "f"}, Notes: rouse.Notes{Name: note}})
		if err != nil {
			return
		}
		if n.Result <= 0 || n.Path == "" || n.Version == "" {
			t.Fatalf("%+v", n)
		}
		for name, value := range environment(n) {
			if name == "" && value == "" && n.Env == nil {
				t.Fatal("a variable out of nothing")
			}
		}
		w := newWriter(n)
		b, err := w.append(context.Background(), nil, rouse.Invocation{ID: "i"})
		if err != nil || !json.Valid(b) {
			t.Fatalf("%q %v", b, err)
		}
	})
}

// FuzzJudge holds that no answer of a worker passes for a result that is none.
func FuzzJudge(f *testing.F) {
	for _, result := range []string{``, `{}`, `[]`, `{"error":1}`, `{"error":"x"}`, `{"error":null}`, `{"a":{"error":1}}`, `{"a":"\"error\""}`, `{},{}`, `5`, "{\"error\":\"\xff\"}", strings.Repeat(`{"a":`, 100), `{"error":1,"error":2}`} {
		f.Add([]byte(result), uint8(rouse.StatusAnswered), int64(1<<20))
		f.Add([]byte(result), uint8(rouse.StatusFailed), int64(3))
	}
	f.Fuzz(func(t *testing.T, result []byte, status uint8, limit int64) {
		given := rouse.Answer{Status: rouse.Status(status), Result: result, Size: int64(len(result))}
		if given.Status != rouse.StatusAnswered {
			given.Failure = &rouse.Failure{Type: string(result), Message: string(result), Stack: string(result)}
		}
		a := (&instance{limit: max(limit, 1)}).judge(given)
		var keys map[string]json.RawMessage
		isObject := json.Unmarshal(a.Result, &keys) == nil
		_, isError := keys["error"]
		switch {
		case a.Status == rouse.StatusAnswered:
			if a.Failure != nil || !json.Valid(a.Result) || a.Result[0] != '{' && a.Result[0] != '[' || isObject && isError || a.Size > max(limit, 1) {
				t.Fatalf("%q passed: %+v", result, a)
			}
		case a.Status == rouse.StatusFailed:
			if a.Failure == nil || a.Failure.Type != applicationError && a.Failure.Type != developerError || a.Failure.Type == applicationError && !isError {
				t.Fatalf("%q: %+v %+v", result, a, a.Failure)
			}
		}
		code, header, _, ok := parseWeb(result)
		if ok && (code < 200 || code > 999 || len(header["Content-Type"]) == 0) {
			t.Fatalf("%q: %d %v", result, code, header)
		}
		for name := range header {
			if name != http.CanonicalHeaderKey(name) { // as a door relies on
				t.Fatalf("%q: header %q is not canonical", result, name)
			}
		}
	})
}
