package bucket_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/bucket"
	"github.com/rouse-run/rouse/data"
)

// events returns "type subject data" of all events there are.
func (b *bench) events() (all []string) {
	b.Helper()
	shards, err := b.Shards(b.Context(), ref)
	b.ok(err)
	for _, s := range shards {
		q := data.FeedQuery{Ref: ref, Shard: s.ID, Limit: 2}
		for {
			batch, err := b.Read(b.Context(), q)
			b.ok(err)
			for _, e := range batch.Entries {
				if e.Event.ID != fmt.Sprintf("default/b/%s/%d", s.ID, e.Sequence) || e.Event.Source != "bucket:b" || e.Key != e.Event.Subject {
					b.Errorf("%+v", e)
				}
				all = append(all, e.Event.Type+" "+e.Event.Subject+" "+string(e.Event.Data))
			}
			if len(batch.Entries) == 0 {
				break
			}
			q.After = batch.After
		}
	}
	return all
}

func TestEventsAreFed(t *testing.T) {
	b := open(t)
	b.put("a", "hello")
	_, err := b.CopyObject(t.Context(), data.ObjectCopy{From: data.ObjectGet{Bucket: ref, Key: "a"}, To: data.ObjectPut{Bucket: ref, Key: "a"}})
	b.ok(err)
	b.remove(data.ObjectDelete{Key: "a"}, data.ObjectDelete{Key: "a"}, data.ObjectDelete{Key: "none"})
	_, err = b.ChangeBucket(t.Context(), data.Bucket{Ref: ref, Versioned: true})
	b.ok(err)
	v := b.put("a", "x").Version
	m := b.remove(data.ObjectDelete{Key: "a"})[0].Version
	b.remove(data.ObjectDelete{Key: "a", Version: m}, data.ObjectDelete{Key: "a", Version: v})
	hello, x := etag("hello"), etag("x")
	want := []string{
		`object.created a {"key":"a","size":5,"etag":"` + hello + `","version":"null"}`,
		`object.created a {"key":"a","size":5,"etag":"` + hello + `","version":"null","copied":true}`,
		`object.removed a {"key":"a","size":5,"etag":"` + hello + `","version":"null"}`,
		`object.created a {"key":"a","size":1,"etag":"` + x + `","version":"` + v + `"}`,
		`object.removed a {"key":"a","size":1,"etag":"` + x + `","version":"` + m + `","marker":true}`,
		`object.removed a {"key":"a","size":1,"etag":"` + x + `","version":"` + v + `"}`,
	}
	if got := b.events(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	b.clock.add(24 * time.Hour)
	b.put("a", "y")
	b.clock.add(time.Second)
	b.sweep()
	if got := b.events(); len(got) != 1 {
		t.Errorf("after a day: %q", got)
	}
	_, err = b.ChangeBucket(t.Context(), data.Bucket{Ref: ref, Changes: -1})
	b.ok(err)
	b.put("a", "z")
	_, err = b.Shards(t.Context(), ref)
	b.wantKind(err, rouse.NotFound, nil)
	_, err = b.Read(t.Context(), data.FeedQuery{Ref: ref, Shard: "0"})
	b.wantKind(err, rouse.NotFound, nil)
}

func TestReadWaitsForAnEvent(t *testing.T) {
	b := open(t)
	other := bucket.New(bucket.Config{Keys: b.keys, Blobs: b.blobs}) // another node: it wakes nobody here
	for n, writer := range []*bucket.Buckets{b.Buckets, other} {
		key := fmt.Sprint(n)
		var wg sync.WaitGroup
		got := make(chan data.Entry, 4)
		ctx, cancel := context.WithCancel(t.Context())
		for shard := range 4 {
			last, err := b.Read(t.Context(), data.FeedQuery{Ref: ref, Shard: fmt.Sprint(shard)})
			b.ok(err)
			wg.Go(func() {
				batch, err := b.Read(ctx, data.FeedQuery{Ref: ref, Shard: fmt.Sprint(shard), After: last.After, Wait: time.Minute})
				if err == nil {
					got <- batch.Entries[0]
				} else if ctx.Err() == nil {
					t.Error(err)
				}
			})
		}
		_, err := writer.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: key}, strings.NewReader("x"))
		b.ok(err)
		e := <-got
		cancel()
		wg.Wait()
		if e.Event.Type != "object.created" || e.Key != key {
			t.Errorf("writer %d: %+v", n, e)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	b := open(t)
	b.idle("body")
	deleted := make(chan struct{})
	b.blobs.beforeDelete = func(rouse.Digest) error { close(deleted); return nil }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	<-deleted
	cancel()
	b.ok(<-ended)
}

func TestARemovedBucketLeavesNothing(t *testing.T) {
	b := open(t)
	b.put("a", "x")
	up, err := b.StartUpload(t.Context(), data.ObjectPut{Bucket: ref, Key: "u"})
	b.ok(err)
	_, err = b.PutPart(t.Context(), up.UploadRef, data.PartPut{Number: 1}, strings.NewReader("part"))
	b.ok(err)
	b.wantKind(b.RemoveBucket(t.Context(), ref), rouse.Conflict, nil)
	b.remove(data.ObjectDelete{Key: "a"})
	b.ok(b.RemoveBucket(t.Context(), ref))
	b.wantKind(b.RemoveBucket(t.Context(), ref), rouse.NotFound, nil)
	_, err = b.CreateBucket(t.Context(), data.Bucket{Ref: ref})
	b.ok(err)
	_, err = b.Parts(t.Context(), up.UploadRef, 0, 0)
	b.wantKind(err, rouse.NotFound, nil)
	if all, err := b.Buckets.Buckets(t.Context(), ref.Namespace, "", 0); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	b.ok(b.RemoveBucket(t.Context(), ref))
	b.clock.add(7 * 24 * time.Hour)
	for range 3 { // the upload, its blob, and the mark of that
		b.sweep()
		b.clock.add(time.Hour)
	}
	b.ok(b.keys.View(t.Context(), func(r rouse.KeyReader) error {
		pairs, err := r.Scan(rouse.Span{})
		if len(pairs) != 1 { // the next id
			t.Errorf("%d keys are left, such as %q", len(pairs), pairs[0].Key)
		}
		return err
	}))
	if b.stored() != 0 {
		t.Errorf("%d blobs are left", b.stored())
	}
}
