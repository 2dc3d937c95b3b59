package openwhisk

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

func (p *platform) produce(given fields, want string) {
	p.t.Helper()
	_, said := p.ask(rouse.DefaultNamespace, "POST", "whisk.system/actions/messaging/streamProduce?blocking=true&result=true", given)
	if !strings.Contains(said, want) {
		p.t.Errorf("%v: %s", given, said)
	}
}

func TestAStreamFeedsATrigger(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		const feed = "messaging/streamFeed"
		do := func(life string, given fields, want string) {
			t.Helper()
			if _, said := p.feed(feed, "t", life, given); !strings.Contains(said, want) {
				t.Errorf("%s: %s", life, said)
			}
		}
		p.must(rouse.DefaultNamespace, "PUT", "_/triggers/t", fields{})
		do("CREATE", fields{}, "missing the stream parameter")
		do("CREATE", fields{"stream": "clicks"}, "stream 'clicks' does not exist")
		do("CREATE", fields{"stream": "clicks", "isJSONData": true, "isBinaryValue": true}, "cannot both be enabled")
		do("READ", fields{}, "is fed by no feed") // nothing is left of it
		if _, err := p.Streams.Create(t.Context(), data.Stream{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "clicks"}}); err != nil {
			t.Fatal(err)
		}
		do("CREATE", fields{"stream": "clicks"}, "success")
		p.lead("t")
		time.Sleep(time.Second)
		p.produce(fields{"stream": "clicks", "key": "k", "value": "text"}, `"offset":1`)
		time.Sleep(time.Second)
		p.want("t", "text", `00:00:01 {"messages":[{"key":"k","value":"text","topic":"clicks","partition":0,"offset":1}]}`)
		// A record knows what led to it, so that a circle is seen.
		b, err := p.Streams.Read(t.Context(), data.FeedQuery{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "clicks"}, Shard: "000000000000"})
		if err != nil || len(b.Entries) != 1 || event.CauseIn(&b.Entries[0].Event).Hops != 1 {
			t.Errorf("%+v %v", b.Entries, err)
		}
		p.produce(fields{"stream": "clicks", "value": fields{"a": 1}}, `"offset":2`)
		time.Sleep(time.Second)
		p.want("t", "JSON as text", `00:00:02 {"messages":[{"key":"","value":"{\"a\":1}","topic":"clicks","partition":0,"offset":2}]}`)
		do("UPDATE", fields{"isJSONData": true}, "success")
		do("READ", fields{}, `"isJSONData":true`)
		do("PAUSE", fields{}, "success")
		do("READ", fields{}, `"active":false`)
		p.produce(fields{"stream": "clicks", "value": fields{"a": 1}}, `"offset":3`)
		p.produce(fields{"stream": "clicks", "value": "/w==", "base64DecodeValue": true}, `"offset":4`)
		time.Sleep(time.Minute)
		p.want("t", "paused")
		do("UNPAUSE", fields{}, "success")
		time.Sleep(59 * time.Second)
		p.want("t", "what waited, at once", `00:01:03 {"messages":[{"key":"","value":{"a":1},"topic":"clicks","partition":0,"offset":3},{"key":"","value":"\ufffd","topic":"clicks","partition":0,"offset":4}]}`)
		do("UPDATE", fields{"isJSONData": false, "isBinaryValue": true}, "success")
		p.produce(fields{"stream": "clicks", "value": "/w==", "base64DecodeValue": true}, `"offset":5`)
		time.Sleep(time.Second)
		p.want("t", "bytes", `00:02:02 {"messages":[{"key":"","value":"/w==","topic":"clicks","partition":0,"offset":5}]}`)
		// The last rule goes, and it may have another.
		p.must(rouse.DefaultNamespace, "DELETE", "_/rules/rule-t", nil)
		p.produce(fields{"stream": "clicks", "value": "x"}, `"offset":6`)
		time.Sleep(time.Second)
		p.lead("t")
		p.produce(fields{"stream": "clicks", "value": "x"}, `"offset":7`)
		time.Sleep(time.Second)
		if ran := p.seen("probe-t"); len(ran) != 1 || !strings.Contains(ran[0], `"offset":7`) {
			t.Errorf("%q", ran)
		}
		do("DELETE", fields{}, "success")
		p.produce(fields{"stream": "clicks", "value": "x"}, `"offset":8`)
		time.Sleep(time.Second)
		p.want("t", "deleted")
		if rules, err := p.Rules.Rules(t.Context(), rouse.DefaultNamespace, "", 10); err != nil || len(rules) != 1 { // that of OpenWhisk's rule
			t.Errorf("%v %v", rules, err)
		}
		for _, c := range []struct {
			given fields
			want  string
		}{
			{fields{"value": "x"}, "the stream parameter is missing"}, {fields{"stream": "clicks"}, "the value parameter is missing"},
			{fields{"stream": "none", "value": "x"}, "stream 'none' does not exist"}, {fields{"stream": "clicks", "value": "?", "base64DecodeValue": true}, "not Base64"},
		} {
			p.produce(c.given, c.want)
		}
	})
}

// The actions of the packages for Kafka and Message Hub work on our own streams.
func TestTopicsAreStreams(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		if _, err := p.Streams.Create(t.Context(), data.Stream{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "clicks"}}); err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			kind   string
			around fields
		}{
			{"kafka", fields{"brokers": []string{"mykafka:9093"}}},
			{"messageHub", fields{"kafka_brokers_sasl": []string{"hub:9093"}, "kafka_admin_url": "https://hub", "user": "u", "password": "secret"}},
		} {
			given := func(more fields) fields {
				maps.Copy(more, c.around)
				return more
			}
			feed, name := "messaging/"+c.kind+"Feed", c.kind
			refused := func(life string, with fields, want string) {
				t.Helper()
				if status, said := p.feed(feed, name, life, given(with)); status != 502 || said != `{"error":"`+want+`"}` {
					t.Errorf("%s: %d %s", life, status, said)
				}
			}
			produce := func(with fields, want string) {
				t.Helper()
				if _, said := p.ask(rouse.DefaultNamespace, "POST", "whisk.system/actions/messaging/"+c.kind+"Produce?blocking=true&result=true", given(with)); said != want {
					t.Errorf("%s, want %s", said, want)
				}
			}
			p.must(rouse.DefaultNamespace, "PUT", "_/triggers/"+name, fields{})
			refused("CREATE", fields{}, "You must supply a 'topic' parameter.")
			refused("CREATE", fields{"topic": "none"}, "topic 'none' does not exist: topics are streams of this namespace, which rouse stream create makes")
			refused("CREATE", fields{"topic": "clicks", "isJSONData": "true", "isBinaryValue": true}, "isJSONData and isBinaryValue cannot both be enabled.")
			if status, said := p.feed(feed, name, "CREATE", given(fields{"topic": "clicks", "isJSONData": "true", "isBinaryKey": true})); status != 200 {
				t.Fatalf("%d %s", status, said)
			}
			p.lead(name)
			_, said := p.feed(feed, name, "READ", fields{})
			if !strings.Contains(said, `"isBinaryKey":true,"isBinaryValue":false,"isJSONData":true,`) || !strings.Contains(said, `"topic":"clicks"`) || strings.Contains(said, "secret") {
				t.Errorf("%s", said)
			}
			refused("UPDATE", fields{}, textNothingNew)
			produce(fields{}, `{"error":"You must supply all of the following parameters: topic, value"}`)
			produce(fields{"topic": "clicks"}, `{"error":"You must supply all of the following parameters: value"}`)
			produce(fields{"topic": "clicks", "value": "x", "key": "?", "base64DecodeKey": true}, `{"error":"key parameter is not Base64 encoded"}`)
			produce(fields{"topic": "clicks", "value": "?", "base64DecodeValue": "true"}, `{"error":"value parameter is not Base64 encoded"}`)
			produce(fields{"topic": "none", "value": "x"}, `{"error":"topic 'none' does not exist: topics are streams of this namespace, which rouse stream create makes"}`)
			time.Sleep(time.Second)
			at := time.Now().UTC().Format(time.TimeOnly)
			produce(fields{"topic": "clicks", "value": `eyJhIjoxfQ==`, "key": "a2V5", "base64DecodeValue": true, "base64DecodeKey": true}, fmt.Sprintf(`{"offset":%d,"partition":0,"success":true}`, i+1))
			time.Sleep(time.Second)
			p.want(name, "JSON", fmt.Sprintf(`%s {"messages":[{"key":"a2V5","value":{"a":1},"topic":"clicks","partition":0,"offset":%d}]}`, at, i+1))
			if status, said := p.feed(feed, name, "DELETE", fields{}); status != 200 {
				t.Errorf("%d %s", status, said)
			}
		}
	})
}

// A trigger that is another feed's now, or was removed and made anew, is fed by
// that alone.
func TestATriggerIsFedByTheLastFeed(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		if _, err := p.Streams.Create(t.Context(), data.Stream{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "clicks"}}); err != nil {
			t.Fatal(err)
		}
		p.fed("t", "messaging/streamFeed", fields{"stream": "clicks"})
		if status, said := p.feed("alarms/once", "t", "CREATE", fields{"date": "2000-01-01T00:01:00Z", "trigger_payload": fields{}}); status != 200 {
			t.Fatal(said)
		}
		p.produce(fields{"stream": "clicks", "value": "x"}, `"offset":1`)
		time.Sleep(2 * time.Minute)
		p.want("t", "an alarm now", "00:01:00 {}")
		p.must(rouse.DefaultNamespace, "DELETE", "_/triggers/t", nil)
		p.must(rouse.DefaultNamespace, "PUT", "_/triggers/t", fields{})
		if status, said := p.feed("messaging/streamFeed", "t", "CREATE", fields{"stream": "clicks"}); status != 200 {
			t.Fatal(said)
		}
		p.must(rouse.DefaultNamespace, "DELETE", "_/triggers/t", nil) // without its feed
		if rules, err := p.Rules.Rules(t.Context(), rouse.DefaultNamespace, "", 10); err != nil || len(rules) != 0 {
			t.Errorf("%v %v", rules, err)
		}
	})
}

func FuzzMessages(f *testing.F) {
	for _, seed := range []string{`{"id": "n/s/0/1", "subject": "k", "data": "x"}`, `[{"id": "x", "data": {"a": 1}}, {"data_base64": "/w=="}]`, `[]`, `{}`, `[null]`, `{"data": 1}`, `"x"`, ``} {
		f.Add([]byte(seed), true, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, asJSON, binary bool) {
		os, err := occurrencesOf(b)
		if err != nil {
			return
		}
		got, err := fedStream{Name: "s", JSON: asJSON, Binary: binary}.messages(os)
		var said struct{ Messages []message }
		if err != nil || json.Unmarshal(got, &said) != nil || len(said.Messages) != len(os) {
			t.Errorf("%s became %s, %v", b, got, err)
		}
	})
}
