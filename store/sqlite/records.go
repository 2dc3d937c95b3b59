package sqlite

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/block"
)

// records are the files of all days. What is posted goes to the newest, so that
// one posting is one transaction of one file, whatever the age of its ids.
type records struct {
	dir string
	log *slog.Logger
	now func() time.Time

	packers  sync.Pool  // of *block.Packer
	trimming sync.Mutex // held by Trim

	mu      sync.Mutex
	periods []*period // oldest first; guarded by mu
	closed  bool      // guarded by mu
}

func openRecords(ctx context.Context, c Config) (*records, error) {
	r := &records{dir: c.Dir, log: c.Log, now: c.Now}
	paths, err := filepath.Glob(filepath.Join(escape(c.Dir), "records-????????.db"))
	if err != nil {
		return nil, explain("open records", c.Dir, err)
	}
	slices.Sort(paths)
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "records-"), ".db")
		p, err := openPeriod(ctx, c.Dir, name)
		if err != nil {
			return nil, errors.Join(explain("open records", path, err), r.close())
		}
		r.periods = append(r.periods, p)
	}
	return r, nil
}

// escape keeps Glob from reading a folder's name as a pattern.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "*", `\*`, "?", `\?`).Replace(dir)
}

func (r *records) close() error {
	r.mu.Lock()
	r.closed = true
	all := r.periods
	r.periods = nil
	r.mu.Unlock()
	var errs []error
	for _, p := range all {
		p.users.Wait()
		errs = append(errs, p.file.close())
	}
	return errors.Join(errs...)
}

// use returns the periods, oldest first, and what must be called once they are
// no longer needed.
func (r *records) use() ([]*period, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, errClosed
	}
	all := slices.Clone(r.periods)
	for _, p := range all {
		p.users.Add(1)
	}
	return all, func() {
		for _, p := range all {
			p.users.Done()
		}
	}, nil
}

// newest returns the period of today, which it begins where it must, or a later
// one that a clock set back has left. Its user calls users.Done.
func (r *records) newest(ctx context.Context) (*period, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	name := r.now().UTC().Format(day)
	if n := len(r.periods); n == 0 || r.periods[n-1].name < name {
		p, err := openPeriod(ctx, r.dir, name)
		if err != nil {
			return nil, err
		}
		r.log.Info("records begin a new file", "day", name)
		r.periods = append(r.periods, p)
	}
	p := r.periods[len(r.periods)-1]
	p.users.Add(1)
	return p, nil
}

func (r *records) Post(ctx context.Context, as []rouse.Activation, ls []rouse.Line) error {
	if len(as)+len(ls) == 0 {
		return nil
	}
	k, _ := r.packers.Get().(*block.Packer)
	if k == nil {
		k = &block.Packer{}
	}
	refused := k.Pack(as, ls)
	err := refused
	if len(k.Blocks) > 0 {
		err = cmp.Or(r.post(ctx, k), refused)
	}
	if ctx.Err() == nil { // otherwise the writer may still read from it
		k.Forget()
		r.packers.Put(k)
	}
	return explain("post", "records", err)
}

func (r *records) post(ctx context.Context, k *block.Packer) error {
	p, err := r.newest(ctx)
	if err != nil {
		return err
	}
	defer p.users.Done()
	p.note(k)
	return p.file.update(ctx, func(t *tx) error { return p.insert(t, k) })
}
