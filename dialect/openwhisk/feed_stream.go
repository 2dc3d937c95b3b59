package openwhisk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
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
}

// streamFeed is the feed of the package messaging.
type streamFeed struct{ *Door }

// typeRecord is the type of the events of streams.
const typeRecord = "stream.record"

// create implements feeder.
func (s streamFeed) create(ctx context.Context, o order) (any, error) {
	name := o.given.text("stream")
	if name == "" {
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
		err = refuse(http.StatusNotFound, "stream '%s' does not exist", name)
	}
	return nil, err
}

// read reads how values are shown.
func (f *fedStream) read(p parameters) error {
	if p["isJSONData"] != nil {
		f.JSON = p.is("isJSONData")
	}
	if p["isBinaryValue"] != nil {
		f.Binary = p.is("isBinaryValue")
	}
	if f.JSON && f.Binary {
		return refuse(http.StatusBadRequest, "isJSONData and isBinaryValue cannot both be enabled")
	}
	return nil
}

// read implements feeder.
func (s streamFeed) read(_ order, f feed) (map[string]any, error) {
	if f.Stream == nil {
		return nil, errOtherFeed
	}
	return map[string]any{"stream": f.Stream.Name, "isJSONData": f.Stream.JSON, "isBinaryValue": f.Stream.Binary}, nil
}

// update implements feeder.
func (s streamFeed) update(ctx context.Context, o order, f feed) error {
	if f.Stream == nil {
		return errOtherFeed
	}
	if o.given["isJSONData"] == nil && o.given["isBinaryValue"] == nil {
		return refuse(http.StatusBadRequest, textNothingNew)
	}
	next := *f.Stream
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

// produce appends a record to a stream.
func (d *Door) produce(ctx context.Context, ns rouse.Namespace, given parameters) (any, error) {
	name := given.text("stream")
	switch {
	case d.Streams == nil:
		return nil, refuse(http.StatusServiceUnavailable, "this server has no streams")
	case name == "":
		return nil, refuse(http.StatusBadRequest, "the stream parameter is missing")
	case given["value"] == nil:
		return nil, refuse(http.StatusBadRequest, "the value parameter is missing")
	}
	ref, value := rouse.Ref{Namespace: ns, Name: name}, []byte(given.text("value"))
	if given.is("base64DecodeValue") {
		raw, err := base64.StdEncoding.DecodeString(string(value))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "the value parameter is not Base64 encoded")
		}
		value = raw
	}
	at, err := d.Streams.Append(ctx, ref, []data.Record{{Key: given.text("key"), Data: value}})
	if rouse.KindOf(err) == rouse.NotFound {
		err = refuse(http.StatusNotFound, "stream '%s' does not exist", name)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"success": true, "partition": partition(at[0].Shard), "offset": at[0].Sequence}, nil
}
