package openwhisk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// prefixStream is that of the native rule that brings a stream's records to a
// trigger.
const prefixStream = "stream"

func streamRule(ns rouse.Namespace, trigger string) rouse.Ref {
	return rouse.Ref{Namespace: ns, Name: prefixStream + ":" + encode(trigger)}
}

// Bounds of how many messages fire a trigger once.
const (
	streamBatch = 100
	streamBytes = 512 << 10 // in an action's arguments they take up to a third more
)

// A fedStream is a stream whose records fire a trigger.
type fedStream struct {
	Name   string `json:"name"`
	JSON   bool   `json:"json,omitempty"`   // values are JSON, not texts of it
	Binary bool   `json:"binary,omitempty"` // values are shown in base64
	Keys   bool   `json:"keys,omitempty"`   // keys are shown in base64
}

// streamFeed is a feed of the package messaging. Those of Kafka's are about our
// own streams as well, whatever brokers they name.
type streamFeed struct {
	*Door
	called string // what the parameter with the stream's name is called
}

// What feeds, and what produces, call a stream.
const (
	calledStream = "stream"
	calledTopic  = "topic"
)

// typeRecord is the type of the events of streams.
const typeRecord = "stream.record"

// create implements feeder.
func (s streamFeed) create(ctx context.Context, o order) (any, error) {
	name := o.given.text(s.called)
	switch {
	case name == "" && s.called == calledTopic:
		return nil, refuse(http.StatusBadRequest, "You must supply a 'topic' parameter.")
	case name == "":
		return nil, refuse(http.StatusBadRequest, "stream trigger feed is missing the stream parameter")
	}
	f := fedStream{Name: name}
	if err := f.read(o.given); err != nil {
		return nil, err
	}
	// The rule is what makes it fire, so that comes last.
	if err := s.Door.native(ctx, o, kindManual, struct{}{}, feed{Stream: &f}); err != nil {
		return nil, err
	}
	err := s.attached(ctx, o.ns, o.name)
	if err == nil {
		_, err = s.Rules.SetRule(ctx, event.Rule{Ref: streamRule(o.ns, o.name), On: event.On{Stream: name}, To: event.Target{Function: handOver(o.ns, o.name).Name},
			Batch: &event.Batch{Size: streamBatch, Bytes: streamBytes}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 20}}})
	}
	if err == nil {
		return success, nil
	}
	if e := s.unfeed(ctx, o); e != nil {
		return nil, e
	}
	if e := s.settle(ctx, o.ns, o.name); e != nil {
		return nil, e
	}
	if rouse.KindOf(err) == rouse.NotFound {
		err = noStream(s.called, name)
	}
	return nil, err
}

// read reads how keys and values are shown.
func (f *fedStream) read(p parameters) error {
	for name, at := range f.shown() {
		if p[name] != nil {
			*at = strings.EqualFold(strings.TrimSpace(p.text(name)), "true") // clients send it as text, too
		}
	}
	if f.JSON && f.Binary {
		return refuse(http.StatusBadRequest, "isJSONData and isBinaryValue cannot both be enabled.")
	}
	return nil
}

// shown are the parameters of how keys and values are shown.
func (f *fedStream) shown() map[string]*bool {
	return map[string]*bool{"isJSONData": &f.JSON, "isBinaryValue": &f.Binary, "isBinaryKey": &f.Keys}
}

// read implements feeder.
func (s streamFeed) read(_ order, f feed) (map[string]any, error) {
	if f.Stream == nil {
		return nil, errOtherFeed
	}
	config := map[string]any{s.called: f.Stream.Name}
	for name, is := range f.Stream.shown() {
		config[name] = *is
	}
	return config, nil
}

// update implements feeder.
func (s streamFeed) update(ctx context.Context, o order, f feed) error {
	if f.Stream == nil {
		return errOtherFeed
	}
	next := *f.Stream
	if !slices.ContainsFunc(slices.Collect(maps.Keys(next.shown())), func(name string) bool { return o.given[name] != nil }) {
		return refuse(http.StatusBadRequest, textNothingNew)
	}
	if err := next.read(o.given); err != nil {
		return err
	}
	return s.keep(ctx, o, feed{Stream: &next, Paused: f.Paused})
}

// pause implements feeder. What comes in meanwhile waits, for as long as the
// stream keeps it.
func (s streamFeed) pause(ctx context.Context, o order, f feed) (err error) {
	if f.Stream == nil {
		return errOtherFeed
	}
	if f.Paused {
		err = s.Control.Pause(ctx, streamRule(o.ns, o.name), "its feed was told to pause")
	} else {
		err = s.Control.Resume(ctx, streamRule(o.ns, o.name))
	}
	if err != nil {
		return err
	}
	return s.keep(ctx, o, f)
}

// remove implements feeder.
func (s streamFeed) remove(ctx context.Context, o order, f feed) error {
	if f.Stream == nil {
		return errOtherFeed
	}
	if err := s.leave(ctx, o.ns, o.name); err != nil {
		return err
	}
	if err := s.unfeed(ctx, o); err != nil {
		return err
	}
	return s.settle(ctx, o.ns, o.name)
}

// leave ends that a stream's records come to a trigger.
func (d *Door) leave(ctx context.Context, ns rouse.Namespace, trigger string) error {
	if err := d.Rules.RemoveRule(ctx, streamRule(ns, trigger)); err != nil && rouse.KindOf(err) != rouse.NotFound {
		return err
	}
	return nil
}

// A message is a record as an action sees it.
type message struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Topic     string          `json:"topic"`
	Partition int             `json:"partition"`
	Offset    uint64          `json:"offset"`
}

// messages are what actions get of records that came in.
func (f fedStream) messages(records []occurrence) (json.RawMessage, error) {
	all := make([]message, len(records))
	for i, r := range records {
		all[i] = message{Key: r.Subject, Topic: f.Name}
		if f.Keys {
			all[i].Key = base64.StdEncoding.EncodeToString([]byte(r.Subject))
		}
		parts := strings.Split(r.ID, "/") // namespace, name, shard, sequence
		if len(parts) >= 2 {
			all[i].Partition = partition(parts[len(parts)-2])
			all[i].Offset, _ = strconv.ParseUint(parts[len(parts)-1], 10, 64) // 0 where it is no record's
		}
		value, err := f.value(r)
		if err != nil {
			return nil, err
		}
		all[i].Value = value
	}
	return json.Marshal(map[string]any{"messages": all})
}

// partition is the number of a shard, 0 where its name is none.
func partition(shard string) int {
	n, _ := strconv.Atoi(shard) // all are numbers so far
	return n
}

func (f fedStream) value(r occurrence) (json.RawMessage, error) {
	content := []byte(r.Binary)
	var text string
	switch {
	case content != nil:
	case json.Unmarshal(r.Data, &text) == nil && len(r.Data) > 0 && r.Data[0] == '"':
		content = []byte(text)
	default:
		content = r.Data
	}
	switch {
	case f.Binary:
		return json.Marshal(base64.StdEncoding.EncodeToString(content))
	case f.JSON && json.Valid(content):
		return content, nil
	}
	return json.Marshal(string(content))
}

// produce appends a record to a stream, whose name is what is given as called.
func (d *Door) produce(ctx context.Context, ns rouse.Namespace, called string, given parameters) (any, error) {
	name := given.text(called)
	if d.Streams == nil {
		return nil, refuse(http.StatusServiceUnavailable, "this server has no streams")
	}
	if err := missing(called, given); err != nil {
		return nil, err
	}
	key, err := content(given, "key", "base64DecodeKey")
	if err != nil {
		return nil, err
	}
	value, err := content(given, "value", "base64DecodeValue")
	if err != nil {
		return nil, err
	}
	at, err := d.Streams.Append(ctx, rouse.Ref{Namespace: ns, Name: name}, []data.Record{{Key: string(key), Data: value}})
	if rouse.KindOf(err) == rouse.NotFound {
		err = noStream(called, name)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"success": true, "partition": partition(at[0].Shard), "offset": at[0].Sequence}, nil
}

// noStream is the error for a stream that is not there. Who calls it a topic may
// look for it elsewhere.
func noStream(called, name string) error {
	if called == calledTopic {
		return refuse(http.StatusNotFound, "topic '%s' does not exist: topics are streams of this namespace, which rouse stream create makes", name)
	}
	return refuse(http.StatusNotFound, "%s '%s' does not exist", called, name)
}

// missing refuses a message without a stream or a value, in the words of the
// package whose parameters these are.
func missing(called string, given parameters) error {
	var lacking []string
	if given.text(called) == "" {
		lacking = append(lacking, called)
	}
	if given["value"] == nil {
		lacking = append(lacking, "value")
	}
	switch {
	case len(lacking) == 0:
		return nil
	case called == calledTopic:
		return refuse(http.StatusBadRequest, "You must supply all of the following parameters: %s", strings.Join(lacking, ", "))
	}
	return refuse(http.StatusBadRequest, "the %s parameter is missing", lacking[0])
}

// content is what is given as a key or a value, decoded where another parameter
// says so.
func content(given parameters, name, decode string) ([]byte, error) {
	text := given.text(name)
	if !strings.EqualFold(strings.TrimSpace(given.text(decode)), "true") {
		return []byte(text), nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) == 0 {
		return nil, refuse(http.StatusBadRequest, "%s parameter is not Base64 encoded", name)
	}
	return raw, nil
}
