package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

var recordsTests = map[string]func(*testing.T, *subject[Store]){
	"an activation comes back as it was": func(t *testing.T, s *subject[Store]) {
		full := activation(s, "f", 0)
		full.Cause, full.Attempt, full.Status, full.Cold = "an event", 2, rouse.StatusFailed, true
		full.Rule, full.Hops, full.Replayed, full.Maker = "a rule", 3, true, "an activation"
		full.Notes = rouse.Notes{"one": json.RawMessage(`{"of":"two"}`), "two": json.RawMessage(`2`)}
		full.Version, full.Queued, full.Init, full.Run = 7, 3, rouse.Duration(time.Millisecond+1), rouse.Duration(time.Hour)
		full.Memory, full.GBSeconds, full.Result, full.ContentType = 1<<40, 0.1+0.2, []byte("{\x00\xff}"), "text/plain"
		full.Digest, full.Size = rouse.DigestOf(nil), 1<<33
		full.Failure = &rouse.Failure{Type: "ValueError", Message: "bäd", Stack: "a\nb"}
		bare := rouse.Activation{ID: activation(s, "f", 1).ID, Function: ref("f")}
		large := activation(s, "f", 2)
		large.Result, large.Notes = make([]byte, 64<<10), rouse.Notes{"two": json.RawMessage(`3`)}
		for _, reopen := range []bool{false, true} {
			if reopen {
				s.reopen(t)
			} else {
				post(t, s, full, bare, large)
			}
			for _, want := range []rouse.Activation{full, bare, large} {
				if diff := cmp.Diff(want, must[rouse.Activation](t)(s.it.Records().Activation(t.Context(), want.ID))); diff != "" {
					t.Fatalf("activation (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff([]rouse.Activation{large, bare, full}, list(t, s, rouse.ActivationQuery{})); diff != "" {
				t.Fatalf("list (-want +got):\n%s", diff)
			}
		}
	},
	"one that is not there is not found": func(t *testing.T, s *subject[Store]) {
		post(t, s, activation(s, "f", 0))
		for _, id := range []string{activation(s, "f", 0).ID, activation(s, "f", 3600_000).ID, "", "x", "ABCDEFABCDEFABCDEFABCDEFABCDEFAB"} {
			_, err := s.it.Records().Activation(t.Context(), id)
			is(t, err, rouse.NotFound)
		}
	},
	"what is malformed is refused, and takes nothing along": func(t *testing.T, s *subject[Store]) {
		var as []rouse.Activation
		for i, id := range []string{"", "x", strings.Repeat("0", 33), strings.Repeat("0", 31) + "G"} {
			good := activation(s, "f", i)
			as = append([]rouse.Activation{good}, as...)
			is(t, s.it.Records().Post(t.Context(), []rouse.Activation{{ID: id, Function: ref("f")}, good}, nil), rouse.Invalid)
			is(t, s.it.Records().Post(t.Context(), []rouse.Activation{{ID: id, Function: ref("f")}}, nil), rouse.Invalid)
		}
		good := activation(s, "f", len(as))
		as = append([]rouse.Activation{good}, as...)
		line := func(activation string) rouse.Line {
			return rouse.Line{Activation: activation, Function: ref("f"), Time: s.clock.now(), Text: "hi"}
		}
		is(t, s.it.Records().Post(t.Context(), []rouse.Activation{good}, []rouse.Line{line("x"), line(good.ID)}), rouse.Invalid)
		wantIDs(t, s, rouse.ActivationQuery{}, ids(as))
		if ls := must[[]rouse.Line](t)(s.it.Records().Lines(t.Context(), rouse.LineQuery{Function: ref("f"), Activation: good.ID})); len(ls) != 1 || ls[0].Text != "hi" {
			t.Errorf("lines %+v", ls)
		}
	},
	"a query names a namespace": func(t *testing.T, s *subject[Store]) {
		_, err := s.it.Records().Activations(t.Context(), rouse.ActivationQuery{Function: "f"})
		is(t, err, rouse.Invalid)
		_, err = s.it.Records().Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Before: "x"})
		is(t, err, rouse.Invalid)
	},
	"the newest come first, however they came in": func(t *testing.T, s *subject[Store]) {
		as := various(s, 400)
		shuffled := slices.Clone(as)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(as), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for c := range slices.Chunk(shuffled, 37) {
			post(t, s, c...)
		}
		for _, fn := range []string{"", "f0", "f1", "missing"} {
			for _, limit := range []int{0, 1, 7, 1000, 5000} {
				wantPicked(t, s, as, rouse.ActivationQuery{Function: fn, Limit: limit})
			}
		}
	},
	"pages follow each other without a gap": func(t *testing.T, s *subject[Store]) {
		as := various(s, 300) // many in one millisecond
		for c := range slices.Chunk(as, 50) {
			post(t, s, c...)
		}
		for _, fn := range []string{"", "f1"} {
			for _, size := range []int{1, 7, 100} {
				q := rouse.ActivationQuery{Namespace: "default", Function: fn, Limit: size}
				var got []rouse.Activation
				for {
					page := must[[]rouse.Activation](t)(s.it.Records().Activations(t.Context(), q))
					if len(page) == 0 {
						break
					}
					got = append(got, page...)
					q.Before = page[len(page)-1].ID
				}
				if diff := cmp.Diff(ids(pick(as, rouse.ActivationQuery{Function: fn, Limit: 1000})), ids(got)); diff != "" {
					t.Fatalf("%q in pages of %d (-want +got):\n%s", fn, size, diff)
				}
			}
		}
	},
	"statuses, since and until pick": func(t *testing.T, s *subject[Store]) {
		as := various(s, 400)
		for c := range slices.Chunk(as, 60) {
			post(t, s, c...)
		}
		start := s.clock.now()
		for _, fn := range []string{"", "f0"} {
			for _, statuses := range [][]rouse.Status{nil, {rouse.StatusAnswered}, {rouse.StatusFailed}, {rouse.StatusRefused, rouse.StatusFailed},
				{rouse.StatusAnswered, rouse.StatusCrashed}, {rouse.StatusOutOfMemory}} {
				for _, since := range []time.Time{{}, start, start.Add(time.Second), start.Add(2500 * time.Millisecond), start.Add(2 * time.Hour)} {
					for _, until := range []time.Time{{}, start, start.Add(2500 * time.Millisecond), start.Add(3 * time.Second), start.Add(2 * time.Hour)} {
						wantPicked(t, s, as, rouse.ActivationQuery{Function: fn, Statuses: statuses, Since: since, Until: until, Limit: 1000})
					}
				}
			}
		}
		wantPicked(t, s, as, rouse.ActivationQuery{Function: "f0", Statuses: []rouse.Status{rouse.StatusFailed}, Limit: 2, Before: as[350].ID})
	},
	"since and until go by when it was started": func(t *testing.T, s *subject[Store]) {
		late := activation(s, "f", 0) // accepted now, run two hours later
		late.Started = s.clock.now().Add(2 * time.Hour)
		early := activation(s, "f", 1000) // by a clock that is behind
		early.Started = s.clock.now().Add(-time.Minute)
		post(t, s, late)
		post(t, s, early)
		for _, fn := range []string{"", "f"} {
			wantIDs(t, s, rouse.ActivationQuery{Function: fn, Since: s.clock.now().Add(time.Hour)}, []string{late.ID})
			wantIDs(t, s, rouse.ActivationQuery{Function: fn, Since: late.Started}, []string{late.ID})
			wantIDs(t, s, rouse.ActivationQuery{Function: fn, Until: late.Started}, []string{early.ID})
			wantIDs(t, s, rouse.ActivationQuery{Function: fn, Until: s.clock.now()}, []string{early.ID})
		}
	},
	"namespaces are kept apart": func(t *testing.T, s *subject[Store]) {
		mine, theirs := activation(s, "f", 0), activation(s, "f", 0)
		theirs.Function.Namespace = "other"
		post(t, s, mine, theirs)
		wantIDs(t, s, rouse.ActivationQuery{}, []string{mine.ID})
		wantIDs(t, s, rouse.ActivationQuery{Namespace: "other"}, []string{theirs.ID})
		wantIDs(t, s, rouse.ActivationQuery{Namespace: "other", Function: "f"}, []string{theirs.ID})
		wantIDs(t, s, rouse.ActivationQuery{Namespace: "third"}, nil)
		if a := must[rouse.Activation](t)(s.it.Records().Activation(t.Context(), theirs.ID)); a.Function.Namespace != "other" {
			t.Errorf("function %v", a.Function)
		}
	},
	"the last attempt stands for all": func(t *testing.T, s *subject[Store]) {
		a := activation(s, "f", 0)
		first := a.Started
		want := func(attempt int) {
			t.Helper()
			if got := must[rouse.Activation](t)(s.it.Records().Activation(t.Context(), a.ID)); got.Attempt != attempt {
				t.Errorf("attempt %d, want %d", got.Attempt, attempt)
			}
		}
		for _, a.Attempt = range []int{1, 3, 2} { // in the order in which they are posted
			a.Started = first.Add(time.Duration(a.Attempt) * time.Minute)
			post(t, s, a)
		}
		want(3)
		a.Attempt = 4 // at the same time
		a.Started = first.Add(3 * time.Minute)
		post(t, s, a)
		want(4)
		a.Attempt, a.Started = 1, first.Add(time.Hour) // redriven
		post(t, s, a)
		want(1)
		if got := list(t, s, rouse.ActivationQuery{}); len(got) != 5 {
			t.Errorf("%d listed, want all 5", len(got))
		}
	},
	"days follow each other": func(t *testing.T, s *subject[Store]) {
		var as []rouse.Activation
		for range 4 {
			a := activation(s, "f", 0)
			s.clock.advance(13 * time.Hour)
			b := activation(s, "f", 0)
			as = append(as, a, b)
			post(t, s, b, a) // a is posted half a day after it was made
		}
		for _, reopen := range []bool{false, true} {
			if reopen {
				s.reopen(t)
			}
			for _, fn := range []string{"", "f"} {
				wantPicked(t, s, as, rouse.ActivationQuery{Function: fn, Limit: 100})
				wantPicked(t, s, as, rouse.ActivationQuery{Function: fn, Limit: 3, Before: as[5].ID})
				wantPicked(t, s, as, rouse.ActivationQuery{Function: fn, Since: as[2].Started, Until: as[6].Started})
			}
			for _, a := range as {
				must[rouse.Activation](t)(s.it.Records().Activation(t.Context(), a.ID))
			}
		}
	},
	"a clock that is set back loses nothing": func(t *testing.T, s *subject[Store]) {
		a := activation(s, "f", 0)
		post(t, s, a)
		s.clock.advance(-48 * time.Hour)
		b := activation(s, "f", 0)
		post(t, s, b)
		s.reopen(t)
		wantIDs(t, s, rouse.ActivationQuery{}, []string{a.ID, b.ID})
		must[rouse.Activation](t)(s.it.Records().Activation(t.Context(), b.ID))
	},
	"many post at once": func(t *testing.T, s *subject[Store]) {
		var all []rouse.Activation
		for i := range 1600 {
			all = append(all, activation(s, fmt.Sprint("f", i%5), i/16))
		}
		var wg sync.WaitGroup
		for c := range slices.Chunk(all, 100) {
			wg.Go(func() {
				for part := range slices.Chunk(c, 9) {
					if err := s.it.Records().Post(t.Context(), part, nil); err != nil {
						t.Error(err)
					}
					if _, err := s.it.Records().Activations(t.Context(), rouse.ActivationQuery{Namespace: "default"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for n := range 5 {
			wantPicked(t, s, all, rouse.ActivationQuery{Function: fmt.Sprint("f", n), Limit: 1000})
		}
	},
	"what is posted may be changed afterwards": func(t *testing.T, s *subject[Store]) {
		a := activation(s, "f", 0)
		a.Result = []byte("before")
		as := []rouse.Activation{a}
		ok(t, s.it.Records().Post(t.Context(), as, nil))
		copy(a.Result, "after!")
		as[0] = activation(s, "f", 1)
		if got := must[rouse.Activation](t)(s.it.Records().Activation(t.Context(), a.ID)); string(got.Result) != "before" {
			t.Errorf("result %q", got.Result)
		}
	},
	"a context that has ended does nothing": func(t *testing.T, s *subject[Store]) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.it.Records().Post(ctx, []rouse.Activation{activation(s, "f", 0)}, nil); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want context.Canceled", err)
		}
		wantIDs(t, s, rouse.ActivationQuery{}, nil)
	},
}

// activation makes one whose id is of some milliseconds after now.
func activation(s *subject[Store], function string, ms int) rouse.Activation {
	at := s.clock.now().Add(time.Duration(ms) * time.Millisecond)
	return rouse.Activation{
		ID:       fmt.Sprintf("%012x7%03x%016x", at.UnixMilli(), rand.IntN(1<<12), rand.Uint64()&(1<<62-1)|1<<63),
		Function: ref(function), Version: 1, Status: rouse.StatusAnswered, Started: at, Run: 1_234_567, Result: []byte("{}"),
	}
}

// various makes n activations within five seconds, oldest first, of three
// functions and several statuses.
func various(s *subject[Store], n int) []rouse.Activation {
	var as []rouse.Activation
	for i := range n {
		a := activation(s, fmt.Sprint("f", i%3), i*5000/n/20*20)
		switch {
		case i%41 == 0:
			a.Status = rouse.StatusFailed
		case i%97 == 0:
			a.Status = rouse.StatusRefused
		}
		as = append(as, a)
	}
	slices.SortFunc(as, byID)
	return as
}

func byID(a, b rouse.Activation) int {
	if a.ID < b.ID {
		return -1
	}
	return 1
}

// pick does slowly what Activations does.
func pick(as []rouse.Activation, q rouse.ActivationQuery) (picked []rouse.Activation) {
	limit := q.Limit
	if limit == 0 {
		limit = 50
	}
	for _, a := range slices.Backward(slices.SortedFunc(slices.Values(as), byID)) {
		if len(picked) < min(limit, 1000) &&
			(q.Function == "" || a.Function.Name == q.Function) &&
			(len(q.Statuses) == 0 || slices.Contains(q.Statuses, a.Status)) &&
			(q.Since.IsZero() || !a.Started.Before(q.Since)) &&
			(q.Until.IsZero() || a.Started.Before(q.Until)) &&
			(q.Before == "" || a.ID < q.Before) {
			picked = append(picked, a)
		}
	}
	return picked
}

func wantPicked(t *testing.T, s *subject[Store], as []rouse.Activation, q rouse.ActivationQuery) {
	t.Helper()
	wantIDs(t, s, q, ids(pick(as, q)))
}

func wantIDs(t *testing.T, s *subject[Store], q rouse.ActivationQuery, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, ids(list(t, s, q))); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", q, diff)
	}
}

func list(t *testing.T, s *subject[Store], q rouse.ActivationQuery) []rouse.Activation {
	t.Helper()
	if q.Namespace == "" {
		q.Namespace = "default"
	}
	return must[[]rouse.Activation](t)(s.it.Records().Activations(t.Context(), q))
}

func post(t *testing.T, s *subject[Store], as ...rouse.Activation) {
	t.Helper()
	ok(t, s.it.Records().Post(t.Context(), as, nil))
}

func ids(as []rouse.Activation) (ids []string) {
	for _, a := range as {
		ids = append(ids, a.ID)
	}
	return ids
}
