package event_test

import (
	"context"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/bucket"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/store/storetest/both"
	"github.com/rouse-run/rouse/stream"
	"github.com/rouse-run/rouse/table"
)

// drivers are those that the tests run on.
var drivers = both.Drivers()

func TestOnPostgreSQL(t *testing.T) { drivers.Again(t) }

var thing = rouse.Ref{Namespace: "default", Name: "x"}

// feedOf returns the events of a feed.
func feedOf(t *testing.T, f data.Feed) (es []rouse.Event) {
	t.Helper()
	shards, err := f.Shards(t.Context(), thing)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		b, err := f.Read(t.Context(), data.FeedQuery{Ref: thing, Shard: s.ID})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			es = append(es, e.Event)
		}
	}
	return es
}

// What an activation writes, to whatever service, becomes an event that knows
// the activation and how many led to it. What others write knows of none.
func TestWhatIsWrittenKnowsItsCause(t *testing.T) {
	store := drivers.Site(t).Open(t)
	keys := func(name string) rouse.Keys {
		t.Helper()
		k, err := store.Keys(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	streams := stream.New(stream.Config{Keys: keys("stream")})
	queues := queue.New(queue.Config{Keys: keys("queue")})
	tables := table.New(table.Config{Keys: keys("table")})
	blobs, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	buckets := bucket.New(bucket.Config{Keys: keys("bucket"), Blobs: blobs})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	_, err = streams.Create(ctx, data.Stream{Ref: thing, Shards: 1})
	must(err)
	_, err = queues.Create(ctx, data.DefaultQueue(thing))
	must(err)
	_, err = tables.CreateTable(ctx, data.Table{Ref: thing, Key: data.Attribute{Name: "k", Type: data.String}, Changes: 1 << 40})
	must(err)
	_, err = buckets.CreateBucket(ctx, data.Bucket{Ref: thing})
	must(err)
	write := func(ctx context.Context, text string) {
		t.Helper()
		_, err := streams.Append(ctx, thing, []data.Record{{Key: text, Data: []byte(text)}})
		must(err)
		_, err = queues.Send(ctx, thing, []data.Message{{Body: []byte(text), Attributes: map[string]string{"k": "v", event.AttributeHops: "40", event.AttributeActivation: "r/id"}}})
		must(err)
		_, err = tables.Transact(ctx, []data.Write{{Op: data.WritePut, Table: thing, Item: data.Item{"k": data.Text(text)}}})
		must(err)
		_, err = buckets.PutObject(ctx, data.ObjectPut{Bucket: thing, Key: text}, strings.NewReader(text))
		must(err)
	}
	write(ctx, "free")
	write(rouse.WithPrincipal(ctx, rouse.Principal{Name: "f", Activation: "a1", Hops: 4}), "asked")
	write(event.WithCause(ctx, event.Cause{ID: "a2", Hops: 7}), "said")
	want := map[string]event.Cause{"free": {}, "asked": {ID: "a1", Hops: 5}, "said": {ID: "a2", Hops: 7}}
	for name, f := range map[string]data.Feed{"stream": streams, "table": tables, "bucket": buckets} {
		es := feedOf(t, f)
		if len(es) != 3 {
			t.Errorf("%s has %d events", name, len(es))
		}
		for _, e := range es {
			for text, cause := range want {
				if strings.Contains(e.Subject, text) && event.CauseIn(&e) != cause {
					t.Errorf("%s: %s has %v, want %+v", name, e.Subject, e.Attributes, cause)
				}
			}
		}
	}
	ds, err := queues.Receive(ctx, data.Receive{Queue: thing, Max: 10})
	must(err)
	if len(ds) != 3 {
		t.Errorf("%d messages", len(ds))
	}
	for _, d := range ds {
		text := string(d.Body)
		if got := event.CauseIn(&rouse.Event{Attributes: d.Attributes}); got != want[text] || d.Attributes["k"] != "v" || d.Attributes[event.AttributeActivation] != "" {
			t.Errorf("the message %s has %v", text, d.Attributes)
		}
	}
	must(streams.Close())
	must(queues.Close())
	must(store.Close())
}
