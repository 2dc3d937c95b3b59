package block

import (
	"context"
)

// most rows that a source reads at once.
const maxPage = 64

// A source reads rows of one period, newest first, a page at a time: no
// connection is held while others are read.
type source struct {
	day  Day
	n    int  // of the day
	page Page // the next one
	rows []Row
	done bool
}

// bound is the last millisecond that a row to come can have.
func (s *source) bound() (ms int64, more bool) {
	if len(s.rows) > 0 {
		return s.rows[0].Last, true
	}
	return s.page.Before.Last, !s.done
}

func (s *source) fetch(ctx context.Context) error {
	s.page.Limit = min(max(2, 2*s.page.Limit), maxPage)
	rows, err := s.day.Page(ctx, s.page)
	if err != nil {
		return err
	}
	s.rows, s.done = rows, len(rows) < s.page.Limit
	if n := len(rows); n > 0 {
		s.page.Before = rows[n-1]
		s.page.Before.Body = nil
	}
	return nil
}

// A feed merges what its sources hold, newest first. R is what it hands out.
type feed[R any] struct {
	sources []*source
	ms      func(R) int64
	compare func(a, b R) int
	// load reads a row: what it could, oldest first, and an error for what it
	// couldn't.
	load func(s *source, r Row) ([]R, error)

	runs [][]R // a heap by the last element of each
	bad  []error
}

// next returns the newest that is left.
func (f *feed[R]) next(ctx context.Context) (r R, ok bool, err error) {
	for {
		s := f.latest()
		if s == nil {
			break
		}
		bound, _ := s.bound()
		if len(f.runs) > 0 && f.ms(f.top()) > bound {
			break
		}
		if len(s.rows) == 0 {
			if err := s.fetch(ctx); err != nil {
				return r, false, err
			}
			continue
		}
		run, err := f.load(s, s.rows[0])
		s.rows = s.rows[1:]
		if err != nil {
			f.bad = append(f.bad, err)
		}
		if len(run) > 0 {
			f.runs = append(f.runs, run)
			f.up(len(f.runs) - 1)
		}
	}
	if len(f.runs) == 0 {
		return r, false, nil
	}
	r = f.top()
	if f.runs[0] = f.runs[0][:len(f.runs[0])-1]; len(f.runs[0]) == 0 {
		f.runs[0] = f.runs[len(f.runs)-1]
		f.runs = f.runs[:len(f.runs)-1]
	}
	f.down()
	return r, true, nil
}

// latest is the source that may have the newest of what is not loaded yet.
func (f *feed[R]) latest() (best *source) {
	var high int64
	for _, s := range f.sources {
		if ms, more := s.bound(); more && (best == nil || ms > high) {
			best, high = s, ms
		}
	}
	return best
}

func (f *feed[R]) top() R { return f.runs[0][len(f.runs[0])-1] }

func (f *feed[R]) newer(i, j int) bool {
	a, b := f.runs[i], f.runs[j]
	return f.compare(a[len(a)-1], b[len(b)-1]) > 0
}

func (f *feed[R]) up(i int) {
	for i > 0 && f.newer(i, (i-1)/2) {
		f.runs[i], f.runs[(i-1)/2] = f.runs[(i-1)/2], f.runs[i]
		i = (i - 1) / 2
	}
}

func (f *feed[R]) down() {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(f.runs) {
			return
		}
		if child+1 < len(f.runs) && f.newer(child+1, child) {
			child++
		}
		if !f.newer(child, i) {
			return
		}
		f.runs[i], f.runs[child] = f.runs[child], f.runs[i]
		i = child
	}
}
