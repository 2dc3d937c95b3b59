package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/bundle"
)

const opDeploy = "deploy"

// Deploy implements rouse.Registry. What it can't know to be wrong it takes;
// until its last step nothing of a deploy can be seen.
func (g *Registry) Deploy(ctx context.Context, f rouse.Function, archive io.Reader, progress func(step string)) (rouse.Function, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if err := checkNames(f); err != nil {
		return rouse.Function{}, err
	}
	if archive == nil && f.Code == "" && g.cfg.Handlers[f.Contract] != nil {
		return g.deployHandled(ctx, f)
	}
	progress("reading code")
	if archive == nil { // code that is here already
		stored, err := g.cfg.Blobs.Open(ctx, f.Code)
		if err != nil {
			return rouse.Function{}, about(f, err)
		}
		defer stored.Close()
		archive = stored
	}
	spool, err := g.read(f, archive)
	if err != nil {
		return rouse.Function{}, err
	}
	defer spool.Close()
	f.Code, f.CodeSize = spool.Digest(), spool.Size()
	dir, release, err := g.cfg.Cache.Add(ctx, f.Code, spool, spool.Size())
	if err != nil {
		return rouse.Function{}, about(f, err)
	}
	defer release()
	d := &deploy{Registry: g, f: f, dir: dir, progress: progress}
	if err := d.check(); err != nil {
		return rouse.Function{}, err
	}
	if err := d.dependencies(ctx); err != nil {
		return rouse.Function{}, about(f, err)
	}
	if err := d.prepare(ctx); err != nil {
		return rouse.Function{}, err
	}
	progress("storing version")
	return d.store(ctx, spool)
}

// deployHandled deploys a function that needs no code.
func (g *Registry) deployHandled(ctx context.Context, f rouse.Function) (rouse.Function, error) {
	d := &deploy{Registry: g, f: f}
	if err := d.checkRequest(); err != nil {
		return rouse.Function{}, err
	}
	return d.publish(ctx)
}

// about says which function an Error of a package below is about.
func about(f rouse.Function, err error) error {
	if e, ok := errors.AsType[*rouse.Error](err); ok {
		return &rouse.Error{Op: opDeploy, Kind: e.Kind, On: f.Ref.String(), Err: e.Err}
	}
	return fmt.Errorf("deploy %s: %w", f.Ref, err)
}

func (g *Registry) read(f rouse.Function, archive io.Reader) (*bundle.Spool, error) {
	spool, err := g.cfg.Cache.Spool(io.LimitReader(archive, g.cfg.MaxCode+1))
	if err != nil {
		return nil, about(f, err)
	}
	if spool.Size() > g.cfg.MaxCode {
		spool.Close()
		return nil, rouse.Errorf(rouse.TooLarge, opDeploy, f.Ref.String(),
			"the packed code is larger than the %d MB allowed; list what it does not need in .rouseignore", g.cfg.MaxCode>>20)
	}
	return spool, nil
}

// A deploy is one Deploy on its way.
type deploy struct {
	*Registry
	f        rouse.Function
	dir      string // the unpacked bundle
	deps     string // folder of its dependencies; "" is none
	driver   rouse.Driver
	runtime  rouse.Runtime
	document []byte // of the version, as it is stored
	progress func(string)
}

func (d *deploy) refuse(format string, args ...any) error {
	return rouse.Errorf(rouse.Invalid, opDeploy, d.f.Ref.String(), format, args...)
}

func (d *deploy) check() error {
	if err := d.checkRequest(); err != nil {
		return err
	}
	b, err := look(d.dir)
	if err != nil {
		return fmt.Errorf("deploy %s: %w", d.f.Ref, err)
	}
	if err := d.chooseRuntime(b); err != nil {
		return err
	}
	if err := d.chooseContract(); err != nil {
		return err
	}
	return d.chooseHandler(b)
}

// checkRequest checks what does not hang on the code, and fills it in.
func (d *deploy) checkRequest() error {
	d.f.Limits = filled(d.f.Limits, d.cfg.Defaults)
	if d.f.Limits.Tmp > d.f.Limits.Memory && d.cfg.Defaults.Tmp == d.f.Limits.Tmp {
		d.f.Limits.Tmp = d.f.Limits.Memory // the default must not refuse a small function
	}
	if d.f.Retry.Attempts == 0 {
		d.f.Retry.Attempts = d.cfg.Retry.Attempts
	}
	if d.f.Retry.Backoff == 0 {
		d.f.Retry.Backoff = d.cfg.Retry.Backoff
	}
	if err := checkLimits(d.f, d.cfg.Memory); err != nil {
		return err
	}
	if err := checkEnv(d.f); err != nil {
		return err
	}
	var err error
	d.f.Allow, err = checkAllow(d.f)
	return err
}

// CheckFunction implements rouse.FunctionChecker.
func (g *Registry) CheckFunction(f rouse.Function) (rouse.Function, error) {
	d := &deploy{Registry: g, f: f}
	err := checkNames(f)
	if err == nil {
		err = d.checkRequest()
	}
	return d.f, err
}

// prepare lets the driver compile or start what it can. That shows code that
// can't run before anybody calls it.
func (d *deploy) prepare(ctx context.Context) error {
	d.progress("preparing " + d.runtime.Name)
	err := d.driver.Prepare(ctx, rouse.Spec{
		Function: d.f, Code: d.dir, Deps: d.deps, Program: d.cfg.Contracts[d.f.Contract].Program(d.f), Log: func(rouse.Line) {},
	})
	if boot, ok := errors.AsType[*rouse.BootError](err); ok {
		text := boot.Error()
		if boot.Stack != "" {
			text += "\n" + strings.TrimSpace(boot.Stack)
		}
		return d.refuse("%s", text)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if rouse.KindOf(err) == rouse.NotImplemented { // it never can run here
		return about(d.f, err)
	}
	if err != nil {
		d.cfg.Log.Warn("function not prepared", "function", d.f.Ref.String(), "error", err)
	}
	return nil
}

// store makes the version. The code's document comes before its blob and says
// that no version needs it yet, so that a crash leaves nothing that Sweep does
// not find.
func (d *deploy) store(ctx context.Context, spool *bundle.Spool) (rouse.Function, error) {
	d.storing.RLock()
	defer d.storing.RUnlock()
	err := retry(ctx, func() error {
		revision, err := d.get(ctx, kindCode, codeRef(d.f.Code), &code{})
		if err != nil || revision > 0 {
			return err
		}
		return d.cfg.Meta.Apply(ctx, []rouse.Change{change(kindCode, codeRef(d.f.Code), 0, code{Since: d.cfg.Now()})})
	})
	if err != nil {
		return rouse.Function{}, err
	}
	if digest, _, err := d.cfg.Blobs.Put(ctx, spool.Reader()); err != nil {
		return rouse.Function{}, err
	} else if digest != d.f.Code {
		return rouse.Function{}, fmt.Errorf("deploy %s: the blob store says %s to code %s", d.f.Ref, digest, d.f.Code)
	}
	return d.publish(ctx)
}

// publish makes d.f the next version, and known: its first call is mostly the next
// that is asked of it.
func (d *deploy) publish(ctx context.Context) (rouse.Function, error) {
	mark := d.known.mark()
	if err := retry(ctx, func() error { return d.apply(ctx) }); err != nil {
		d.known.forget(d.f.Ref) // it may be stored nevertheless
		return rouse.Function{}, err
	}
	var stored rouse.Function // as it would be read, and nobody else's
	if err := json.Unmarshal(d.document, &stored); err != nil {
		return rouse.Function{}, fmt.Errorf("read %s: %w", d.f.Ref, err)
	}
	d.known.replace(stored, mark)
	return d.f, nil
}

// apply makes d.f the next version, in one transaction with what points at it.
func (d *deploy) apply(ctx context.Context) error {
	var newest rouse.Function
	revision, err := d.get(ctx, kindHead, d.f.Ref, &newest)
	if err != nil {
		return err
	}
	now := d.cfg.Now().UTC()
	d.f.Version, d.f.Created = newest.Version+1, now
	changes := []rouse.Change{
		change(kindHead, d.f.Ref, revision, d.f),
		change(kindVersion, versionRef(d.f.Ref, d.f.Version), 0, d.f),
	}
	d.document = changes[0].Data
	if d.f.Code != "" {
		var c code
		used, err := d.get(ctx, kindCode, codeRef(d.f.Code), &c)
		if err != nil {
			return err
		}
		changes = append(changes, change(kindCode, codeRef(d.f.Code), used, code{Versions: c.Versions + 1, Since: now}))
	}
	return d.cfg.Meta.Apply(ctx, changes)
}
