package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

var linesTests = map[string]func(*testing.T, *subject[Store]){
	"a line comes back as it was": func(t *testing.T, s *subject[Store]) {
		a := activation(s, "f", 0)
		want := []rouse.Line{
			{Activation: a.ID, Function: ref("f"), Time: s.clock.now().Add(1), Stream: rouse.Stdout, Text: "bäd \x00\xff"},
			{Function: ref("f"), Time: s.clock.now().Add(2), Stream: rouse.Platform, Text: ""},
			{Activation: a.ID, Function: ref("f"), Time: s.clock.now().Add(3), Stream: rouse.Stderr, Text: string(make([]byte, 200<<10))},
		}
		ok(t, s.it.Records().Post(t.Context(), nil, []rouse.Line{want[2], want[0], want[1]}))
		wantLines(t, s, rouse.LineQuery{Function: ref("f")}, want)
		s.reopen(t)
		wantLines(t, s, rouse.LineQuery{Function: ref("f")}, want)
		wantLines(t, s, rouse.LineQuery{Function: ref("f"), Activation: a.ID}, []rouse.Line{want[0], want[2]})
	},
	"a query names a function or an activation": func(t *testing.T, s *subject[Store]) {
		for _, q := range []rouse.LineQuery{{}, {Function: rouse.Ref{Name: "f"}}, {Function: rouse.Ref{Namespace: "default"}}} {
			_, err := s.it.Records().Lines(t.Context(), q)
			is(t, err, rouse.Invalid)
		}
		wantLines(t, s, rouse.LineQuery{Activation: "no such"}, nil)
		wantLines(t, s, rouse.LineQuery{Activation: activation(s, "f", 0).ID}, nil)
	},
	"lines are of one function, the oldest first, the newest so many": func(t *testing.T, s *subject[Store]) {
		var all, other []rouse.Line
		for i := range 2500 {
			l := rouse.Line{Function: ref("f"), Time: s.clock.now().Add(time.Duration(i/3) * 10 * time.Millisecond), Stream: rouse.Stdout, Text: fmt.Sprint(i)}
			all = append(all, l)
			l.Function.Name = "g"
			other = append(other, l)
			theirs := l
			theirs.Function.Namespace = "other"
			if i%100 == 99 {
				ok(t, s.it.Records().Post(t.Context(), nil, slices.Concat(other[i-99:], []rouse.Line{theirs}, all[i-99:])))
			}
		}
		wantLines(t, s, rouse.LineQuery{Function: ref("f")}, all[1500:])
		wantLines(t, s, rouse.LineQuery{Function: ref("f"), Limit: 5}, all[2495:])
		wantLines(t, s, rouse.LineQuery{Function: ref("f"), Limit: 9000}, all)
		wantLines(t, s, rouse.LineQuery{Function: ref("g"), Limit: 1}, other[2499:])
		wantLines(t, s, rouse.LineQuery{Function: ref("f"), Since: all[2400].Time}, all[2400:])
		wantLines(t, s, rouse.LineQuery{Function: ref("f"), Since: all[2400].Time, Limit: 3}, all[2497:])
		wantLines(t, s, rouse.LineQuery{Function: ref("f"), Since: all[2499].Time.Add(1)}, nil)
		wantLines(t, s, rouse.LineQuery{Function: ref("h")}, nil)
	},
	"lines of one time stay in order": func(t *testing.T, s *subject[Store]) {
		var all []rouse.Line
		for i := range 60 {
			all = append(all, rouse.Line{Function: ref("f"), Time: s.clock.now(), Stream: rouse.Stdout, Text: fmt.Sprint(i)})
			if i%20 == 19 {
				ok(t, s.it.Records().Post(t.Context(), nil, all[i-19:]))
			}
		}
		wantLines(t, s, rouse.LineQuery{Function: ref("f")}, all)
	},
	"an activation's lines are found wherever they are": func(t *testing.T, s *subject[Store]) {
		// Ten run at once for some minutes; each prints now and then, and is
		// posted at its end.
		var as []rouse.Activation
		mine := map[string][]rouse.Line{}
		for i := range 10 {
			a := activation(s, fmt.Sprint("f", i%3), i)
			a.Run = rouse.Duration(3 * time.Minute)
			as = append(as, a)
		}
		for i := range 30 {
			var ls []rouse.Line
			for _, a := range as {
				for range rand.IntN(3) {
					l := rouse.Line{Activation: a.ID, Function: a.Function, Time: s.clock.now().Add(time.Duration(len(ls))), Stream: rouse.Stderr, Text: fmt.Sprint(i)}
					ls, mine[a.ID] = append(ls, l), append(mine[a.ID], l)
				}
			}
			ls = append(ls, rouse.Line{Function: ref("f0"), Time: s.clock.now(), Stream: rouse.Stdout, Text: "of nobody"})
			ok(t, s.it.Records().Post(t.Context(), nil, ls))
			s.clock.advance(6 * time.Second)
		}
		for _, ended := range []bool{false, true} {
			if ended {
				post(t, s, as...)
				s.clock.advance(24 * time.Hour)
				ok(t, s.it.Records().Post(t.Context(), nil, []rouse.Line{{Function: ref("f0"), Time: s.clock.now(), Text: "the next day"}}))
			}
			for _, a := range as {
				wantLines(t, s, rouse.LineQuery{Activation: a.ID}, mine[a.ID])
				wantLines(t, s, rouse.LineQuery{Activation: a.ID, Function: a.Function}, mine[a.ID])
				wantLines(t, s, rouse.LineQuery{Activation: a.ID, Function: ref("other")}, nil)
				n := len(mine[a.ID])
				wantLines(t, s, rouse.LineQuery{Activation: a.ID, Limit: 2}, mine[a.ID][n-2:])
				wantLines(t, s, rouse.LineQuery{Activation: a.ID, Since: mine[a.ID][n-1].Time}, mine[a.ID][n-1:])
			}
		}
	},
	"trim forgets what is older": func(t *testing.T, s *subject[Store]) {
		var as []rouse.Activation
		var ls []rouse.Line
		for range 40 {
			a := activation(s, "f", 0)
			l := rouse.Line{Activation: a.ID, Function: a.Function, Time: a.Started, Stream: rouse.Stdout, Text: "text"}
			as, ls = append(as, a), append(ls, l)
			ok(t, s.it.Records().Post(t.Context(), []rouse.Activation{a}, []rouse.Line{l}))
			s.clock.advance(90 * time.Minute)
		}
		ok(t, s.it.Records().Trim(t.Context(), time.Time{}, 0))
		for _, n := range []int{0, 3, 30, 31} {
			ok(t, s.it.Records().Trim(t.Context(), as[n].Started, 0))
			for _, fn := range []string{"", "f"} {
				wantPicked(t, s, as[n:], rouse.ActivationQuery{Function: fn, Limit: 100})
			}
			wantLines(t, s, rouse.LineQuery{Function: ref("f")}, ls[n:])
			must[rouse.Activation](t)(s.it.Records().Activation(t.Context(), as[n].ID))
			if n > 0 {
				_, err := s.it.Records().Activation(t.Context(), as[n-1].ID)
				is(t, err, rouse.NotFound)
				wantLines(t, s, rouse.LineQuery{Activation: as[n-1].ID}, nil)
			}
		}
		s.reopen(t)
		wantPicked(t, s, as[31:], rouse.ActivationQuery{Limit: 100})
		s.clock.advance(72 * time.Hour)
		ok(t, s.it.Records().Trim(t.Context(), s.clock.now(), 0))
		wantIDs(t, s, rouse.ActivationQuery{}, nil)
		a := activation(s, "f", 0)
		post(t, s, a)
		wantIDs(t, s, rouse.ActivationQuery{}, []string{a.ID})
	},
	"trim bounds the size, the oldest go": func(t *testing.T, s *subject[Store]) {
		var as []rouse.Activation
		for i := range 400 {
			a := activation(s, fmt.Sprint("f", i%2), 0)
			a.Result = make([]byte, 20<<10)
			for j := range a.Result {
				a.Result[j] = byte(rand.Uint32())
			}
			as = append(as, a)
			post(t, s, a)
			s.clock.advance(6 * time.Minute)
		}
		ok(t, s.it.Records().Trim(t.Context(), time.Time{}, 1<<30))
		wantPicked(t, s, as, rouse.ActivationQuery{Limit: 1000})
		for _, size := range []int64{5 << 20, 1 << 20} {
			ok(t, s.it.Records().Trim(t.Context(), time.Time{}, size))
			left := list(t, s, rouse.ActivationQuery{Limit: 1000})
			var bytes int64
			for _, a := range left {
				bytes += int64(len(a.Result))
			}
			if len(left) < 10 || bytes > size {
				t.Fatalf("%d left, of %d bytes, where %d are allowed", len(left), bytes, size)
			}
			wantPicked(t, s, as[len(as)-len(left):], rouse.ActivationQuery{Limit: 1000})
		}
	},
	"trim and post go together": func(t *testing.T, s *subject[Store]) {
		done := make(chan error)
		go func() {
			var err error
			for range 30 {
				err = s.it.Records().Post(t.Context(), []rouse.Activation{activation(s, "f", 0)}, nil)
				s.clock.advance(6 * time.Hour)
				if err != nil {
					break
				}
			}
			done <- err
		}()
		for running := true; running; {
			select {
			case err := <-done:
				ok(t, err)
				running = false
			default:
				ok(t, s.it.Records().Trim(t.Context(), s.clock.now().Add(-24*time.Hour), 0))
				list(t, s, rouse.ActivationQuery{})
			}
		}
		if got := list(t, s, rouse.ActivationQuery{}); len(got) < 4 {
			t.Fatalf("%d are left of the last day, want 4 or more", len(got))
		}
	},
}

func wantLines(t *testing.T, s *subject[Store], q rouse.LineQuery, want []rouse.Line) {
	t.Helper()
	if diff := cmp.Diff(want, must[[]rouse.Line](t)(s.it.Records().Lines(t.Context(), q))); diff != "" {
		t.Fatalf("%+v (-want +got):\n%.2000s", q, diff)
	}
}
