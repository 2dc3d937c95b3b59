package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// patience is how long something may take before a bar is shown.
const patience = time.Second

// A progress shows on a terminal how far a deploy or a copy is, once it takes
// longer than a second; elsewhere it prints each step as a line.
type progress struct {
	out   io.Writer
	bars  bool
	start time.Time

	mu          sync.Mutex
	bar         *progressbar.ProgressBar // guarded by mu; nil while there is none to be seen
	step        string                   // guarded by mu
	what        string                   // guarded by mu: what bytes do, such as "uploading"
	total, read int64                    // guarded by mu: bytes

	stop chan struct{}
	done chan struct{}
}

// newProgress returns a progress that shows bars, or else lines. Its close must
// be called.
func newProgress(out io.Writer, bars bool) *progress {
	p := &progress{out: out, bars: bars, start: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	go p.spin()
	return p
}

// spin turns the wheel of a step of which nobody knows how long it takes.
func (p *progress) spin() {
	defer close(p.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			if p.bars && p.step != "" && time.Since(p.start) > patience {
				if p.bar == nil {
					p.bar = p.newBar(-1, p.step)
				}
				_ = p.bar.Add(1) // the terminal's error is not ours
			}
			p.mu.Unlock()
		}
	}
}

// next is called when a step begins.
func (p *progress) next(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.bars {
		fmt.Fprintln(p.out, step)
		return
	}
	p.clear()
	p.step = step
}

// close takes the bar away.
func (p *progress) close() {
	close(p.stop)
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// clear wants p.mu held.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}

func (p *progress) newBar(total int64, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(total > 0), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetSpinnerChangeInterval(0)) // spin turns the wheel; its own goroutine would not end
}

// expect says that so many more bytes are to move the bar, and what they do.
func (p *progress) expect(what string, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
	p.total += bytes
}

// reader returns r, whose bytes, total in all, move a bar.
func (p *progress) reader(r io.Reader, total int64) io.Reader {
	p.expect("uploading", total)
	return p.counting(r)
}

// counting returns r, whose bytes are some of those that are expected. Several
// may be read at once.
func (p *progress) counting(r io.Reader) io.Reader {
	if !p.bars {
		return r
	}
	return &counted{r: r, p: p}
}

type counted struct {
	r io.Reader
	p *progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.read += int64(n); p.step == "" && time.Since(p.start) > patience && p.read < p.total {
		if p.bar == nil {
			p.bar = p.newBar(p.total, p.what)
		}
		_ = p.bar.Set64(p.read)
	}
	return n, err
}
