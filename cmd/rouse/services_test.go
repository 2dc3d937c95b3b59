package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/bucket"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/route"
	"github.com/rouse-run/rouse/rule"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/stream"
	"github.com/rouse-run/rouse/table"
)

// services returns p with real data services and rules whose files are in dir,
// and what ends them. Triggers are of the kind "button", which nobody presses.
func services(p *nativetest.Platform, dir string) (s native.Services, end func() error, err error) {
	store, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir + "/store"})
	if err != nil {
		return s, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	keys := map[string]rouse.Keys{}
	for _, name := range []string{"stream", "queue", "table", "bucket", "meta", "rule", "event"} {
		if keys[name], err = store.Keys(context.Background(), name); err != nil {
			return s, nil, err
		}
	}
	blobs, err := file.Open(dir + "/blobs")
	if err != nil {
		return s, nil, err
	}
	streams, queues := stream.New(stream.Config{Keys: keys["stream"]}), queue.New(queue.Config{Keys: keys["queue"]})
	d := data.Services{Streams: streams, Queues: queues, Tables: table.New(table.Config{Keys: keys["table"]}),
		Buckets: bucket.New(bucket.Config{Keys: keys["bucket"], Blobs: blobs})}
	rules := rule.New(rule.Config{Meta: meta.New(keys["meta"]), Keys: keys["rule"], Queue: queues.Plain(),
		Inbox: inbox.New(inbox.Config{Keys: keys["event"], Poll: 10 * time.Millisecond}), Data: d, Registry: p, Invoker: p, Poll: 20 * time.Millisecond})
	rules.Use(button{})
	if err := rules.Load(context.Background()); err != nil {
		return s, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rules.Run(ctx) }()
	end = func() error {
		cancel()
		return errors.Join(<-done, streams.Close(), queues.Close(), store.Close())
	}
	routes, err := route.Open(context.Background(), route.Config{Meta: meta.New(keys["meta"]), Registry: p, Reserved: native.Paths()})
	if err != nil {
		return s, end, err
	}
	tokens, err := auth.Open(dir + "/subjects")
	if err != nil {
		return s, end, err
	}
	subjects, err := auth.NewSubjects(context.Background(), meta.New(keys["meta"]), tokens)
	return native.Services{Services: p.Services(), Data: d, Rules: rules, Control: rules, Routes: routes, Subjects: subjects}, end, err
}

type button struct{}

func (button) Kind() string { return "button" }

func (button) Check(c json.RawMessage) (json.RawMessage, error) {
	var config struct {
		Color string `json:"color,omitempty"`
		Size  int    `json:"size,omitempty"`
	}
	if err := json.Unmarshal(c, &config); err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "check", "color", "%w", err)
	}
	return json.Marshal(config)
}

func (button) Start(event.Trigger) (func(), error) { return func() {}, nil }
