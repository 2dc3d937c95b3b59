package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
)

// lateness notes how late events are when they are handed over, and when they
// are durable.
type lateness struct {
	*inbox.Inbox
	mu            sync.Mutex
	handed, saved []time.Duration
	all           int
	done          chan struct{}
}

func (l *lateness) Emit(ctx context.Context, r rouse.Ref, es []rouse.Event, state []byte) error {
	return l.EmitMany(ctx, []event.Emission{{Trigger: r, Events: es, State: state}})[0]
}

func (l *lateness) EmitMany(ctx context.Context, all []event.Emission) []error {
	handed := time.Now()
	errs := l.AddMany(ctx, all)
	saved := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, m := range all {
		for _, e := range m.Events {
			var d struct{ Due time.Time }
			if err := json.Unmarshal(e.Data, &d); err != nil {
				errs[i] = err
			}
			l.handed, l.saved = append(l.handed, handed.Sub(d.Due)), append(l.saved, saved.Sub(d.Due))
			if len(l.saved) == l.all {
				close(l.done)
			}
		}
	}
	return errs
}

// 10,000 schedules fire within one second: their times are spread over it, or
// with together all are due at its beginning.
func BenchmarkSchedules(b *testing.B) {
	for _, together := range []bool{false, true} {
		b.Run(fmt.Sprintf("together=%v", together), func(b *testing.B) {
			for range b.N {
				fireAll(b, 10_000, together)
			}
		})
	}
}

func fireAll(b *testing.B, n int, together bool) {
	store, err := sqlite.Open(b.Context(), sqlite.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	keys, err := store.Keys(b.Context(), "event")
	if err != nil {
		b.Fatal(err)
	}
	l := &lateness{Inbox: inbox.New(inbox.Config{Keys: keys}), all: n, done: make(chan struct{})}
	s := New(Config{Emitter: l})
	begin := time.Now().Add(5 * time.Second).Truncate(time.Second)
	var stops []func()
	for i := range n {
		at := begin
		if !together {
			at = at.Add(time.Duration(i) * time.Second / time.Duration(n))
		}
		stop, err := s.Start(event.Trigger{Ref: rouse.Ref{Namespace: "default", Name: fmt.Sprint(i)},
			Config: json.RawMessage(fmt.Sprintf(`{"at": %q}`, at.Format(time.RFC3339Nano)))})
		if err != nil {
			b.Fatal(err)
		}
		stops = append(stops, stop)
	}
	<-l.done
	stopping := time.Now()
	for _, stop := range stops {
		stop()
	}
	b.ReportMetric(float64(time.Since(stopping).Milliseconds()), "stop-ms")
	for name, ds := range map[string][]time.Duration{"handed": l.handed, "durable": l.saved} {
		slices.Sort(ds)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		b.ReportMetric(ms(ds[len(ds)/2]), name+"-p50-ms")
		b.ReportMetric(ms(ds[len(ds)*99/100]), name+"-p99-ms")
		b.ReportMetric(ms(ds[len(ds)-1]), name+"-max-ms")
	}
}
