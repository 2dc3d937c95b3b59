package native

import (
	"context"

	"github.com/rouse-run/rouse"
)

const (
	maxLogLines = 10_000
	tailBuffer  = 1024 // lines that wait for a slow client; beyond them the Tail drops
)

func functionLogs(s *server, c *call) error {
	q, follow, err := c.lineQuery()
	if err != nil {
		return err
	}
	_, missing := s.Registry.Function(c.r.Context(), q.Function, "")
	out := &stream{c: c}
	if follow {
		// A tail of a function that is not there would wait for ever.
		if missing != nil {
			return missing
		}
		return s.follow(out, q)
	}
	ls, err := s.Records.Lines(c.r.Context(), q)
	switch {
	case err != nil:
		return err
	case len(ls) == 0 && missing != nil: // lines outlive their function
		return missing
	}
	out.start()
	e := lines(c.w)
	for i := range ls {
		if e.Encode(&ls[i]) != nil {
			break
		}
	}
	return nil
}

func (c *call) lineQuery() (q rouse.LineQuery, follow bool, err error) {
	if q.Function, err = c.ref(); err != nil {
		return q, false, err
	}
	if q.Activation = c.query.Get("activation"); q.Activation != "" {
		if err := checkID(q.Activation); err != nil {
			return q, false, err
		}
	}
	if q.Since, err = c.moment("since"); err != nil {
		return q, false, err
	}
	if q.Limit, err = c.limit(1000, maxLogLines); err != nil {
		return q, false, err
	}
	follow, err = c.flag("follow")
	return q, follow, err
}

// follow sends the stored lines and then new ones until the client goes.
func (s *server) follow(out *stream, q rouse.LineQuery) error {
	ctx, cancel := context.WithCancel(out.c.r.Context())
	tail := make(chan rouse.Line, tailBuffer)
	ended := make(chan error, 1)
	// The tail begins before the stored lines are read, so that none falls
	// between the two; those in both are sent once.
	go func() {
		defer close(tail)
		ended <- s.Tail.Follow(ctx, q.Function, func(l rouse.Line) bool {
			select {
			case tail <- l:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	defer func() {
		cancel()
		<-ended
	}()
	stored, err := s.Records.Lines(ctx, q)
	if err != nil {
		return err
	}
	out.start()
	sent := make(map[lineKey]bool, len(stored))
	for _, l := range stored {
		sent[keyOf(l)] = true
		if !out.send(l) {
			return nil
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case l, ok := <-tail:
			if !ok {
				return nil
			}
			ofAll := l.Stream == rouse.Platform && l.Activation == "" // such as that lines are missing
			wanted := q.Activation == "" || l.Activation == q.Activation || ofAll
			if wanted && !sent[keyOf(l)] && !out.write(l) {
				return nil
			}
			if len(tail) == 0 {
				clear(sent) // whatever was in both has come by now
				if !out.flush() {
					return nil
				}
			}
		}
	}
}

// A lineKey tells lines apart. A store may keep time to the microsecond.
type lineKey struct {
	activation, text string
	stream           rouse.Stream
	micros           int64
}

func keyOf(l rouse.Line) lineKey {
	return lineKey{l.Activation, l.Text, l.Stream, l.Time.UnixMicro()}
}
