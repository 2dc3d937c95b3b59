package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cloudhttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger/triggertest"
)

func example(id string) cloudevents.Event {
	e := cloudevents.NewEvent()
	e.SetID(id)
	e.SetSource("/orders")
	e.SetType("com.example.placed")
	e.SetSubject("o1")
	e.SetTime(time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC))
	e.SetExtension("region", "eu")
	e.SetExtension("level", 5)
	if err := e.SetData("application/json", map[string]int{"n": 1}); err != nil {
		panic(err)
	}
	return e
}

// The three modes, as the client of the CloudEvents SDK sends them.
func TestTheSDKsClient(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{}`)
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(url))
	if err != nil {
		t.Fatal(err)
	}
	for i, ctx := range []context.Context{binding.WithForceStructured(t.Context()), binding.WithForceBinary(t.Context())} {
		for range 2 { // is sent again, and is one event
			if err := client.Send(ctx, example(fmt.Sprint(i))); !cloudevents.IsACK(err) {
				t.Fatal(err)
			}
		}
	}
	r, err := cloudhttp.NewHTTPRequestFromEvents(t.Context(), url, []cloudevents.Event{example("1"), example("2"), example("3")})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if b, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 202 || string(b) != `{"events":["/orders#1","/orders#2","/orders#3"],"ignored":0}`+"\n" {
		t.Errorf("%d %s %v", answer.StatusCode, b, err)
	}
	es := s.All(t)
	if len(es) != 4 {
		t.Fatalf("%d events", len(es))
	}
	for i, e := range es {
		want := rouse.Event{ID: fmt.Sprint("/orders#", i), Type: "com.example.placed", Source: "/orders", Subject: "o1", Time: example("").Time(), ContentType: "application/json",
			Data: []byte(`{"n":1}`), Attributes: map[string]string{"originalid": fmt.Sprint(i), "region": "eu", "level": "5"}}
		if got, wanted := fmt.Sprintf("%+v", e), fmt.Sprintf("%+v", want); got != wanted {
			t.Errorf("%s\nwant %s", got, wanted)
		}
	}
	s.Down = rouse.Errorf(rouse.Unavailable, "emit", "x", "away")
	if err := client.Send(t.Context(), example("9")); !cloudevents.IsNACK(err) || !strings.Contains(err.Error(), "503") {
		t.Errorf("without a store: %v", err)
	}
}

const (
	structured = "application/cloudevents+json; charset=utf-8"
	batch      = "application/cloudevents-batch+json; charset=utf-8"
)

func TestMalformedEvents(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{}`)
	good := `"specversion": "1.0", "id": "1", "source": "/a", "type": "t"`
	for body, attribute := range map[string]string{
		`{"specversion": "1.0", "source": "/a", "type": "t"}`:            "id",
		`{"specversion": "1.0", "id": "", "source": "/a", "type": "t"}`:  "id",
		`{"specversion": "1.0", "id": "1", "type": "t"}`:                 "source",
		`{"specversion": "1.0", "id": "1", "source": "/a"}`:              "type",
		`{"specversion": "1.0", "id": 1, "source": "/a", "type": "t"}`:   "id",
		`{"id": "1", "source": "/a", "type": "t"}`:                       "specversion",
		`{"specversion": "7", "id": "1", "source": "/a", "type": "t"}`:   "specversion",
		`{"specversion": "0.3", "id": "1", "source": "/a", "type": "t"}`: "specversion",
		`{` + good + `, "time": "noon"}`:                                 "time",
		`{` + good + `, "dataschema": ":"}`:                              "dataschema",
		`{` + good + `, "Shout": "x"}`:                                   "Shout",
		`{` + good + `, "data": 1, "data_base64": "MQ=="}`:               "data_base64",
		`{`: "",
		``:  "",
	} {
		if status, answer, _ := triggertest.Do(t, "POST", url, body, "Content-Type", structured); status != 400 || !strings.Contains(answer, `"read event `+attribute) && attribute != "" {
			t.Errorf("%s: %d %s", body, status, answer)
		}
		if status, answer, _ := triggertest.Do(t, "POST", url, `[{`+good+`}, `+body+`]`, "Content-Type", batch); status != 400 || !strings.Contains(answer, `"read event 1 `+attribute) && attribute != "" && body != "" {
			t.Errorf("in a batch, %s: %d %s", body, status, answer)
		}
	}
	ok := []string{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/a", "Ce-Type", "t"}
	for i := 0; i < len(ok); i += 2 {
		attribute := strings.ToLower(strings.TrimPrefix(ok[i], "Ce-"))
		without := append(append([]string{}, ok[:i]...), ok[i+2:]...)
		if status, answer, _ := triggertest.Do(t, "POST", url, "", without...); (status != 400 || !strings.Contains(answer, "read event "+attribute)) && i > 0 || i == 0 && status != 415 {
			t.Errorf("without %s: %d %s", attribute, status, answer)
		}
	}
	for _, c := range [][2]string{{"Ce-Time", "noon"}, {"Ce-Specversion", "2.0"}, {"Ce-Dataschema", ":"}} {
		attribute := strings.ToLower(strings.TrimPrefix(c[0], "Ce-"))
		if status, answer, _ := triggertest.Do(t, "POST", url, "", append(append([]string{}, ok...), c[0], c[1])...); status != 400 || !strings.Contains(answer, "read event "+attribute) {
			t.Errorf("%s: %d %s", c, status, answer)
		}
	}
	if status, _, _ := triggertest.Do(t, "POST", url, "{}", "Content-Type", "application/json"); status != 415 {
		t.Errorf("no event: %d", status)
	}
	if status, _, _ := triggertest.Do(t, "POST", url, strings.Repeat(" ", 1<<20+1), "Content-Type", structured); status != 413 {
		t.Errorf("too large: %d", status)
	}
	if es := s.All(t); len(es) != 0 {
		t.Errorf("%v were taken", es)
	}
}

func TestWhatIsTaken(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{"types": ["a", "b"]}`)
	one := func(id, kind, source string) string {
		return fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": %q, "type": %q, "rousehops": "3", "rousereplayed": "true", "data_base64": "/w=="}`, id, source, kind)
	}
	long := strings.Repeat("x", 600)
	status, answer, _ := triggertest.Do(t, "POST", url, "["+one("1", "a", "/s")+","+one("1", "c", "/s")+","+one("1", "b", "/other")+","+one(long, "b", "/s")+"]", "Content-Type", batch)
	if status != 202 || !strings.Contains(answer, `"ignored":1`) {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer, _ := triggertest.Do(t, "POST", url, one("1", "c", "/s"), "Content-Type", structured); status != 200 || answer != `{"events":[],"ignored":1}` {
		t.Errorf("%d %s", status, answer)
	}
	es := s.All(t)
	if len(es) != 3 || es[0].ID != "/s#1" || es[1].ID != "/other#1" || len(es[2].ID) != 64 || es[2].Attributes["originalid"] != long {
		t.Fatalf("%+v", es)
	}
	if e := es[0]; string(e.Data) != "\xff" || e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
}

// Two events are one only where both the source and the ID are the same.
// Headers can have no more than ASCII: what is beyond it is encoded.
func TestEncodedHeaders(t *testing.T) {
	s := triggertest.Open(t)
	at := triggertest.Serve(t, New(Config{Emitter: s}), `{}`)
	values := map[string]string{
		"r%C3%A9sum%C3%A9%20%25": "résumé %",
		`"a \"b\" %7E"`:          `a "b" ~`,
		"100% sure":              "100% sure", // what is not well encoded
		"%ff":                    "%ff",
	}
	for value, want := range values {
		status, answer, _ := triggertest.Do(t, "POST", at, "", "Ce-Specversion", "1.0", "Ce-Id", value, "Ce-Source", "/a", "Ce-Type", "t", "Ce-Subject", value, "Ce-Note", value)
		if status != 202 {
			t.Fatalf("%s: %d %s", value, status, answer)
		}
		es := s.All(t)
		if e := es[len(es)-1]; e.Subject != want || e.Attributes["note"] != want || e.ID != "/a#"+want {
			t.Errorf("%s is %+v", value, e)
		}
	}
	for kind, body := range map[string]string{batch: "{}", structured: "[]"} {
		if status, answer, _ := triggertest.Do(t, "POST", at, body, "Content-Type", kind); status != 400 || strings.Contains(answer, "Go ") {
			t.Errorf("%d %s", status, answer)
		}
	}
}

func TestIdentity(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{}`)
	for _, c := range [][2]string{{"/a", "b#c"}, {"/a#b", "c"}, {"/a%23b", "c"}, {"/a%25b", "c"}, {"/a%2523b", "c"}, {"/a", "b#c"}} {
		body := fmt.Sprintf(`{"specversion": "1.0", "id": %q, "source": %q, "type": "t"}`, c[1], c[0])
		if status, answer, _ := triggertest.Do(t, "POST", url, body, "Content-Type", structured); status != 202 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	if es := s.All(t); len(es) != 5 {
		t.Errorf("%d events: %+v", len(es), es)
	}
}

func TestCheckNamesTheField(t *testing.T) {
	source := New(Config{})
	for config, field := range map[string]string{`{"types": [""]}`: "types", `{"types": "a"}`: "types", `{"type": "a"}`: "type"} {
		_, err := source.Check(json.RawMessage(config))
		e, ok := errors.AsType[*rouse.Error](err)
		if !ok || e.Kind != rouse.Invalid || e.On != field {
			t.Errorf("%s: %v", config, err)
		}
	}
	if source.Open(event.Trigger{Config: json.RawMessage(`{}`)}) || !source.Open(event.Trigger{Config: json.RawMessage(`{"public": true}`)}) {
		t.Error("public is not what opens it")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(structured, `{"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": {"a": 1}}`)
	f.Add(structured, `{"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "time": "x", "A": []}`)
	f.Add(batch, `[{"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data_base64": "/w=="}, {}]`)
	f.Add(batch, `[null, 1]`)
	f.Add("text/plain", "x")
	s := New(Config{})
	f.Fuzz(func(t *testing.T, kind, body string) {
		es, err := decode(http.Header{"Content-Type": {kind}, "Ce-Id": {"1"}, "Ce-Source": {"/a"}, "Ce-Type": {kind}}, []byte(body))
		if err != nil {
			return
		}
		for _, g := range es {
			e, err := s.convert(g)
			if err == nil && (e.ID == "" || len(e.ID) > maxID || e.Type == "" || e.Source == "") {
				t.Errorf("%+v of %s", e, body)
			}
		}
	})
}
