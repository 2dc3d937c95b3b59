package native

import (
	"context"
	"sync"
	"testing"

	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

// A rule that is set while something that it names is removed: one of the two
// is refused.
func TestWhatARuleNamesIsNotRemovedMeanwhile(t *testing.T) {
	w := newWorld(t, Config{})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for kind, k := range map[string]struct {
		make, remove func(context.Context) error
		rule         event.Rule
	}{
		"trigger": {
			func(ctx context.Context) error {
				_, err := w.SetTrigger(ctx, "it", wire.TriggerOptions{Kind: "button"})
				return err
			},
			func(ctx context.Context) error { return w.RemoveTrigger(ctx, "it") },
			event.Rule{On: event.On{Trigger: "it"}, To: event.Target{Queue: "junk"}},
		},
		"queue": {
			func(ctx context.Context) error { _, err := w.SetQueue(ctx, "it", wire.QueueOptions{}); return err },
			func(ctx context.Context) error { return w.RemoveQueue(ctx, "it") },
			event.Rule{On: event.On{Trigger: "t"}, To: event.Target{Queue: "it"}},
		},
		"stream": {
			func(ctx context.Context) error { _, err := w.SetStream(ctx, "it", wire.StreamOptions{}); return err },
			func(ctx context.Context) error { return w.RemoveStream(ctx, "it") },
			event.Rule{On: event.On{Stream: "it"}, To: event.Target{Queue: "junk"}},
		},
	} {
		_, err := w.SetQueue(ctx, "junk", wire.QueueOptions{})
		must(err)
		_, err = w.SetTrigger(ctx, "t", wire.TriggerOptions{Kind: "button"})
		must(err)
		for range 30 {
			must(k.make(ctx))
			var set, removed error
			var both sync.WaitGroup
			both.Go(func() { _, set = w.SetRule(ctx, "r", k.rule) })
			both.Go(func() { removed = k.remove(ctx) })
			both.Wait()
			if (set == nil) == (removed == nil) {
				t.Fatalf("%s: the rule: %v; its removal: %v", kind, set, removed)
			}
			if set == nil {
				must(w.RemoveRule(ctx, "r"))
				must(k.remove(ctx))
			}
		}
	}
}
