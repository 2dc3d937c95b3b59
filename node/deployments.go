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
	warm  func(ctx context.Context) ([]rouse.Function, error)
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

// CheckFunction implements rouse.FunctionChecker.
func (d *deployments) CheckFunction(f rouse.Function) (rouse.Function, error) {
	if c, ok := d.Registry.(rouse.FunctionChecker); ok {
		return c.CheckFunction(f)
	}
	return f, nil
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
func (d *deployments) keepAll(ctx context.Context) error {
	fs, err := d.warm(ctx)
	for _, f := range fs {
		d.pool.Keep(f)
	}
	return err
}
