package node

import (
	"context"
	"runtime/debug"
	"time"
)

// lookAgain is how many bytes of new records are worth a look at all of them: so
// far, or a megabyte, they may be over what is kept.
func (c Config) lookAgain() int64 { return max(c.KeepSize/20, 1<<20) }

// trim forgets old records and code that no version needs, now and every hour; and
// records that take too much room whenever a good part of it was filled anew.
func (n *Node) trim(ctx context.Context) error {
	tick := time.NewTicker(min(time.Hour, max(n.KeepFor/4, time.Second)))
	defer tick.Stop()
	for all := true; ; {
		var before time.Time
		if all {
			before = time.Now().Add(-n.KeepFor)
		}
		if err := n.recorder.Trim(ctx, before, n.KeepSize); err != nil && ctx.Err() == nil {
			n.Log.Error("trim records", "error", err)
		}
		if all {
			if _, err := n.registry.sweep(ctx, 24*time.Hour); err != nil && ctx.Err() == nil {
				n.Log.Error("sweep code", "error", err)
			}
			// Every function was read for that: what it left is not kept until there is more.
			debug.FreeOSMemory()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			all = true
		case <-n.grown:
			all = false
		}
	}
}
