package bucket_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/bucket"
	"github.com/rouse-run/rouse/data"
)

// idle leaves a blob of body that nothing refers to and whose time has come.
func (b *bench) idle(body string) {
	b.Helper()
	b.put("idle", body)
	b.remove(data.ObjectDelete{Key: "idle"})
	b.clock.add(time.Hour)
}

func (b *bench) try(body string) error {
	_, err := b.PutObject(b.Context(), data.ObjectPut{Bucket: ref, Key: "a"}, strings.NewReader(body))
	return err
}

// whole fails where an object that was acknowledged can't be read.
func (b *bench) whole(body string, err error) {
	b.Helper()
	got := b.get(data.ObjectGet{Key: "a"})
	if err == nil && got != body {
		b.Errorf("it was stored, and is %s", got)
	}
	if err != nil && (rouse.KindOf(err) != rouse.Unavailable || got != "not found") {
		b.Errorf("%v, and it is %s", err, got)
	}
}

func TestBytesThatAreDeletedAfterTheyWereStored(t *testing.T) {
	b := open(t)
	b.idle("body")
	b.blobs.afterPut = func() { // the Put has found the blob, and the sweep deletes it
		b.blobs.afterPut = nil
		b.sweep()
		if b.stored() != 0 {
			t.Error("it was not deleted")
		}
	}
	err := b.try("body")
	if err == nil {
		t.Error("it was acknowledged")
	}
	b.whole("body", err)
	b.whole("body", b.try("body"))
	b.clock.add(2 * time.Hour) // and it stays when the mark of its deletion goes
	b.sweep()
	b.whole("body", nil)
}

// However long a Put takes to return after it has found the blob, up to when no
// mark of its deletion is left.
func TestBytesThatWereDeletedLongAgoWhenAPutReturns(t *testing.T) {
	b := open(t)
	b.idle("body")
	b.blobs.afterPut = func() {
		b.blobs.afterPut = nil
		b.sweep()
		b.clock.add(2 * time.Hour)
		b.sweep()
	}
	err := b.try("body")
	if err == nil {
		t.Error("it was acknowledged")
	}
	b.whole("body", err)
	b.whole("body", b.try("body"))
}

func TestBytesThatAreStoredAgainWhileTheyAreDeleted(t *testing.T) {
	b := open(t)
	b.idle("body")
	var during error
	b.blobs.beforeDelete = func(rouse.Digest) error {
		b.blobs.beforeDelete = nil
		during = b.try("body")
		return nil
	}
	b.sweep()
	if during == nil {
		t.Error("it was acknowledged")
	}
	b.whole("body", during)
	b.whole("body", b.try("body"))
}

func TestADeletionThatWasCutShortGoesOn(t *testing.T) {
	b := open(t)
	b.idle("body")
	b.blobs.beforeDelete = func(rouse.Digest) error { return errors.New("the disk is gone") }
	if err := b.Sweep(t.Context(), false); err == nil {
		t.Error("the error was not reported")
	}
	b.blobs.beforeDelete = nil
	b.sweep() // its owner may still be at it
	b.whole("body", b.try("body"))
	b.clock.add(time.Minute)
	b.sweep()
	if b.stored() != 0 {
		t.Error("it was not deleted")
	}
	b.whole("body", b.try("body"))
}

func TestBytesThatWaitTooLongForTheirTransaction(t *testing.T) {
	b := open(t)
	late := bucket.New(bucket.Config{Keys: b.keys, Blobs: b.blobs, Now: func() func() time.Time {
		at := b.clock.Now()
		return func() time.Time { at = at.Add(31 * time.Minute); return at } // each look at the clock is that much later
	}()})
	_, err := late.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: "a"}, strings.NewReader("body"))
	b.whole("body", err)
	if err == nil {
		t.Error("it was acknowledged")
	}
}

// A process that ends between the bytes and the transaction leaves a blob.
func TestBlobsThatNobodyKnowsAreDeleted(t *testing.T) {
	b := open(t)
	b.put("a", "known")
	for i := range 120 {
		_, _, err := b.blobs.Put(t.Context(), strings.NewReader(fmt.Sprint(i)))
		b.ok(err)
	}
	b.sweep()
	if b.stored() != 121 {
		t.Errorf("%d blobs: they have an hour", b.stored())
	}
	b.whole("5", b.try("5"))
	b.put("known", "known")
	b.clock.add(time.Hour)
	b.sweep()
	if b.stored() != 2 {
		t.Errorf("%d blobs", b.stored())
	}
	b.whole("5", nil)
}

// Many put, copy and delete objects of the same few bytes while the sweeps run
// with hardly any grace. Each object that there is must be whole at any time
// that it was acknowledged, and nothing may be left in the end.
func TestSweepsBesideWriters(t *testing.T) {
	keys := drivers.Site(t).Keys(t, "bucket")
	blobs, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const grace = 10 * time.Millisecond
	b := bucket.New(bucket.Config{Keys: keys, Blobs: blobs, Grace: grace})
	if _, err := b.CreateBucket(t.Context(), data.Bucket{Ref: ref, Changes: -1}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var sweeps, writers sync.WaitGroup
	for range 2 {
		sweeps.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if err := b.Sweep(t.Context(), n%5 == 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var refused, stored sync.Map
	for w := range 4 {
		writers.Go(func() {
			for i := range 150 {
				key, body := fmt.Sprintf("%d/%d", w, i%3), fmt.Sprint(rand.IntN(12))
				_, err := b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: key}, strings.NewReader(body))
				if rouse.KindOf(err) == rouse.Unavailable && err != nil {
					refused.Store([2]int{w, i}, true)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				stored.Store([2]int{w, i}, true)
				check(t, b, key, body)
				if _, err := b.DeleteObjects(t.Context(), ref, []data.ObjectDelete{{Key: key}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	sweeps.Wait()
	count := func(m *sync.Map) (n int) { m.Range(func(any, any) bool { n++; return true }); return n }
	t.Logf("%d stored, %d refused", count(&stored), count(&refused))
	if count(&stored) == 0 {
		t.Error("nothing was stored")
	}
	l, err := b.ListObjects(t.Context(), data.ObjectList{Bucket: ref})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range l.Objects { // of Puts that were refused after another's
		if _, err := b.DeleteObjects(t.Context(), ref, []data.ObjectDelete{{Key: o.Key}}); err != nil {
			t.Error(err)
		}
	}
	late := bucket.New(bucket.Config{Keys: keys, Blobs: blobs, Now: func() time.Time { return time.Now().Add(time.Hour) }, Grace: grace})
	later := bucket.New(bucket.Config{Keys: keys, Blobs: blobs, Now: func() time.Time { return time.Now().Add(2 * time.Hour) }, Grace: grace})
	for _, b := range []*bucket.Buckets{late, later} {
		if err := b.Sweep(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	left := 0
	if err := blobs.List(t.Context(), func(rouse.Digest, int64) bool { left++; return true }); err != nil || left > 0 {
		t.Errorf("%d blobs are left, %v", left, err)
	}
}

func check(t *testing.T, b *bucket.Buckets, key, body string) {
	_, r, err := b.GetObject(t.Context(), data.ObjectGet{Bucket: ref, Key: key})
	if err != nil {
		t.Errorf("%s was acknowledged: %v", key, err)
		return
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != body {
		t.Errorf("%s was acknowledged and is %q, %v", key, got, err)
	}
}
