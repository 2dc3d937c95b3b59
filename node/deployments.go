package node

import (
	"context"
	"io"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/pool"
)

// deployments is the registry, which tells the pool what changed.
type deployments struct {
	rouse.Registry
	pool  *pool.Pool
	sweep func(ctx context.Context, age time.Duration) (int, error)
}

// Deploy implements rouse.Registry.
func (d *deployments) Deploy(ctx context.Context, f rouse.Function, code io.Reader, progress func(string)) (rouse.Function, error) {
	f, err := d.Registry.Deploy(ctx, f, code, progress)
	if err == nil {
		d.pool.Keep(f)
	}
	return f, err
}

// Remove implements rouse.Registry.
func (d *deployments) Remove(ctx context.Context, r rouse.Ref) error {
	err := d.Registry.Remove(ctx, r)
	if err == nil {
		d.pool.Forget(r)
	}
	return err
}

// keepAll boots what is to be kept warm, at the start of the node.
func (d *deployments) keepAll(ctx context.Context, namespaces []rouse.Namespace) error {
	for _, ns := range namespaces {
		if err := d.keep(ctx, ns); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployments) keep(ctx context.Context, ns rouse.Namespace) error {
	after := ""
	for {
		fs, err := d.Functions(ctx, ns, after, 1000)
		if err != nil || len(fs) == 0 {
			return err
		}
		for _, f := range fs {
			if f.Limits.Min > 0 {
				d.pool.Keep(f)
			}
		}
		after = fs[len(fs)-1].Name
	}
}
