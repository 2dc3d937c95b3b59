package node

import (
	"context"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// A readiness says whether the node can take work: whether its store keeps what
// it is told. Anybody may ask, so it looks once a second at most.
type readiness struct {
	keys rouse.Keys

	mu     sync.Mutex
	looked time.Time // guarded by mu
	err    error     // guarded by mu; what was seen then
}

// check implements native.Config.Ready.
func (r *readiness) check() error {
	const patience = 5 * time.Second
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.looked) >= time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.err = r.keys.Update(ctx, func(w rouse.KeyWriter) error {
			w.Put([]byte("ready"), now.UTC().AppendFormat(nil, time.RFC3339))
			return nil
		})
		r.looked = time.Now()
	}
	return r.err
}
