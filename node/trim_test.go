package node

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/invoke"
)

// A drawer counts how often it is looked through.
type drawer struct {
	rouse.Records
	all, large atomic.Int32
}

func (d *drawer) Post(context.Context, []rouse.Activation, []rouse.Line) error { return nil }

func (d *drawer) Trim(_ context.Context, before time.Time, size int64) error {
	if before.IsZero() {
		d.large.Add(1)
	} else {
		d.all.Add(1)
	}
	return nil
}

// What is kept is bounded also where an hour brings more than that.
func TestRecordsAreTrimmedAsTheyGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &drawer{}
		n := &Node{Config: Config{KeepFor: 24 * time.Hour, KeepSize: 40 << 20, Log: slog.New(slog.DiscardHandler)}, recorder: invoke.NewRecorder(d, 0, slog.New(slog.DiscardHandler)),
			registry: &deployments{sweep: func(context.Context, time.Duration) (int, error) { return 0, nil }}}
		n.grown = n.recorder.Grown(n.lookAgain())
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = n.recorder.Run(ctx) }()
		go func() { _ = n.trim(ctx) }()
		for range 90 {
			n.recorder.Line(rouse.Line{Text: strings.Repeat("x", 100<<10)})
			time.Sleep(time.Second)
		}
		if all, large := d.all.Load(), d.large.Load(); all != 1 || large != 4 {
			t.Errorf("looked %d times for what is old, and %d times, after 9 MB of 40, for what is too much", all, large)
		}
		time.Sleep(3 * time.Hour)
		if all := d.all.Load(); all != 4 {
			t.Errorf("looked %d times for what is old in three hours", all)
		}
		cancel()
		synctest.Wait()
	})
}
