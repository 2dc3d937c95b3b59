package stream

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

func TestReadWaitsForWhatIsAppended(t *testing.T) {
	w := open(t)
	w.create(2)
	long := 24 * time.Hour
	got := make(chan data.Batch)
	go func() {
		b, err := w.Read(t.Context(), data.FeedQuery{Ref: hits, Shard: id(0), Wait: long})
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	w.at(math.MaxUint64, "elsewhere")
	w.at(0, "here")
	if b := <-got; texts(b) != "here" {
		t.Fatalf("%+v", b)
	}
	go func() {
		b, err := w.Read(t.Context(), data.FeedQuery{Ref: hits, Shard: id(0), After: 1, Wait: long})
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	w.ok(w.Scale(t.Context(), hits, 1))
	if b := <-got; !b.Ended || b.After != 1 {
		t.Fatalf("%+v", b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := w.Read(ctx, data.FeedQuery{Ref: hits, Shard: id(2), Wait: long})
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// Two Streams over the same Keys are two nodes: one does not wake the other.
func TestReadFindsWhatOtherNodesAppend(t *testing.T) {
	drivers.Ready(t)
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		w.create(1)
		other := New(Config{Keys: w.Keys, Now: w.now})
		defer other.Close()
		began := time.Now()
		go func() {
			time.Sleep(3500 * time.Millisecond)
			if _, err := other.Append(t.Context(), hits, []data.Record{{Data: []byte("a")}}); err != nil {
				t.Error(err)
			}
		}()
		b, err := w.Read(t.Context(), data.FeedQuery{Ref: hits, Shard: id(0), Wait: time.Minute})
		w.ok(err)
		if took := time.Since(began); texts(b) != "a" || took > 4*time.Second {
			t.Fatalf("%q after %v", texts(b), took)
		}
		began = time.Now()
		b, err = w.Read(t.Context(), data.FeedQuery{Ref: hits, Shard: id(0), After: 1, Wait: 2500 * time.Millisecond})
		w.ok(err)
		if took := time.Since(began); len(b.Entries) != 0 || took != 2500*time.Millisecond {
			t.Fatalf("%q after %v", texts(b), took)
		}
	})
}

func TestRunTrims(t *testing.T) {
	drivers.Ready(t)
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		w.create(1)
		w.put("a")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Streams.Run(ctx) }()
		w.advance(25 * time.Hour)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		w.wantTexts(id(0), 0, "")
		cancel()
		w.ok(<-ended)
	})
}

func TestClosed(t *testing.T) {
	w := open(t)
	w.create(1)
	w.ok(w.Close())
	_, err := w.Append(t.Context(), hits, []data.Record{{}})
	w.is(err, rouse.Unavailable, "closed")
}
