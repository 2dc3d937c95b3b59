package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/sqlite"
)

// The records that are searched: those of one function that is called all the
// time, and among them those of many that are called now and then.
const (
	recordsKept = 1_000_000
	recordsPage = 50
	rarely      = 20 // one call in so many is that of a rare function
	rareOnes    = recordsKept / rarely / recordsPage
)

// recordsGroup measures queries of the records of a million activations.
func recordsGroup() group {
	g := group{name: "records"}
	for _, m := range []struct {
		name  string
		query rouse.ActivationQuery
		goal  goal
	}{
		{"newest 50 of a function, of 1 million", rouse.ActivationQuery{Function: "hot"}, goal{most, 5}},
		{"all 50 of a rare one among them", rouse.ActivationQuery{Function: "rare7"}, goal{most, 5}},
		{"newest 50 that failed, of any, one in 10,000", rouse.ActivationQuery{Statuses: []rouse.Status{rouse.StatusFailed}}, goal{}},
	} {
		m.query.Namespace, m.query.Limit = rouse.DefaultNamespace, recordsPage
		g.measurements = append(g.measurements, measurement{name: m.name, unit: "ms", goal: m.goal,
			open: func(ctx context.Context, e *env) (round, error) {
				r, err := e.records(ctx)
				if err != nil {
					return nil, err
				}
				return alone(func(ctx context.Context) (float64, error) {
					rate, err := crowdRate(ctx, 1, e.span, func(ctx context.Context, _ int64) error {
						as, err := r.Activations(ctx, m.query)
						if err == nil && len(as) != recordsPage {
							err = fmt.Errorf("%d activations came, not %d", len(as), recordsPage)
						}
						return err
					})
					return 1000 / rate, err
				}), nil
			}})
	}
	return g
}

// records fills a store, once.
func (e *env) records(ctx context.Context) (rouse.Records, error) {
	if e.filled != nil {
		return e.filled, nil
	}
	dir, err := e.folder("records-")
	if err != nil {
		return nil, err
	}
	s, err := sqlite.Open(ctx, sqlite.Config{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return nil, err
	}
	e.onClose(s.Close)
	const batch = 500
	began := time.Now().Add(-time.Hour)
	for n := 0; n < recordsKept; n += batch {
		as := make([]rouse.Activation, batch)
		for i := range as {
			as[i] = record(began, n+i)
		}
		if err := s.Records().Post(ctx, as, nil); err != nil {
			return nil, err
		}
	}
	e.filled = s.Records()
	return e.filled, nil
}

// record is the nth activation: 20 begin in a millisecond, one in 10,000 fails.
func record(began time.Time, n int) rouse.Activation {
	at := began.Add(time.Duration(n/20) * time.Millisecond)
	id := uuid.New()
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|0x7000|uint64(n%20))
	a := rouse.Activation{ID: hex.EncodeToString(id[:]), Function: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "hot"}, Version: 3,
		Status: rouse.StatusAnswered, Started: at, Run: rouse.Duration(time.Millisecond), Memory: 31 << 20, GBSeconds: 0.0005, Result: []byte(answer), Size: int64(len(answer))}
	if n%rarely == 0 {
		a.Function.Name = fmt.Sprint("rare", n/rarely%rareOnes)
	}
	if n%10_000 == 1 {
		a.Status, a.Failure = rouse.StatusFailed, &rouse.Failure{Type: "ValueError", Message: "no"}
	}
	return a
}
