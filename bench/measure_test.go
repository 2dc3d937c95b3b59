package main

import (
	"context"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		goal        goal
		ours, limit float64
		met         bool
		says, text  string
	}{
		{goal{ratioLeast, 0.8}, 80, 100, true, "met", ">= 0.8 x"},
		{goal{ratioLeast, 0.8}, 72, 100, false, "short by 10 %", ">= 0.8 x"},
		{goal{ratioMost, 1.5}, 3, 2, true, "met", "<= 1.5 x"},
		{goal{ratioMost, 1.5}, 6, 2, false, "short by 100 %", "<= 1.5 x"},
		{goal{ratioMost, 1.5}, 3.001, 2, false, "short by 1 %", "<= 1.5 x"},
		{goal{ratioMost, 1.5}, 3, 0, false, "no figure", "<= 1.5 x"},
		{goal{least, 20_000}, 15_000, 0, false, "short by 25 %", ">= 20,000 ms"},
		{goal{most, 5}, 5, 0, true, "met", "<= 5 ms"},
		{goal{beyondMost, 50}, 151, 101, true, "met", "<= 50 ms more"},
		{goal{beyondMost, 0}, 7, 5, false, "short by 2", "<= 0 ms more"},
		{goal{beyondShare, 0.1}, 120, 100, false, "short by 100 %", "<= 10 % more"},
		{goal{}, 1, 0, true, "", ""},
	} {
		met, says := c.goal.verdict(c.ours, c.limit)
		if met != c.met || says != c.says || c.goal.text("ms") != c.text {
			t.Errorf("%+v: %v %q %q", c, met, says, c.goal.text("ms"))
		}
	}
}

func TestMedian(t *testing.T) {
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Error(m)
	}
	if m := median([]time.Duration{4, 1, 2, 3}); m != 2 { // 2.5 ns
		t.Error(m)
	}
	if m := median([]float64(nil)); m != 0 {
		t.Error(m)
	}
}

func TestFigure(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.0625: "0.062", 1.5: "1.50", 23.45: "23.4", 250.4: "250", 999: "999",
		1234567: "1,234,567", -1000: "-1,000", 20_000: "20,000", math.NaN(): "-"} {
		if got := figure(x); got != want {
			t.Errorf("%v: %s, not %s", x, got, want)
		}
	}
}

// Rounds go through all measurements, each ours and then the limit; what is
// absent is said so, and what was opened is closed.
func TestRoundsAlternate(t *testing.T) {
	var order []string
	probe := func(name string, values ...float64) probe {
		return func(context.Context) (float64, error) {
			order = append(order, name)
			v := values[0]
			values = values[1:]
			return v, nil
		}
	}
	closed := false
	g := group{name: "g", measurements: []measurement{
		{name: "a", unit: "ms", limit: "l", goal: goal{ratioMost, 2}, open: func(_ context.Context, e *env) (round, error) {
			e.onClose(func() error { closed = true; return nil })
			return alternate(probe("A", 3, 90, 6), probe("B", 2, 3, 1)), nil
		}},
		{name: "b", once: true, open: func(context.Context, *env) (round, error) { return alone(probe("C", 7)), nil }},
		{name: "c", open: func(context.Context, *env) (round, error) { return nil, absent{"no luck"} }},
		{name: "other", open: func(context.Context, *env) (round, error) { return nil, errors.New("opened though not asked for") }},
	}}
	got, err := g.run(t.Context(), &bench{rounds: 3, progress: io.Discard}, regexp.MustCompile("g/[abc]$"))
	if err != nil || len(got) != 3 || !closed {
		t.Fatalf("%+v %v", got, err)
	}
	if want := []string{"A", "B", "C", "A", "B", "A", "B"}; !slices.Equal(order, want) {
		t.Errorf("%v", order)
	}
	if a := got[0]; a.Ours != 6 || a.Limit != 2 || a.Ratio != 3 || a.Met || a.Verdict != "short by 50 %" {
		t.Errorf("%+v", a)
	}
	if got[1].Ours != 7 || got[2].Absent != "no luck" {
		t.Errorf("%+v", got[1:])
	}
	r := report{Results: got, Skipped: []string{"slow"}}
	if met, of := r.count(); met != 0 || of != 1 {
		t.Errorf("%d of %d", met, of)
	}
	var page strings.Builder
	r.table(&page)
	for _, want := range []string{"g/a", "6 ms", "2 ms", "3.00", "short by 50 %", "not measured: no luck", "0 of 1 targets met"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s", want, page.String())
		}
	}
	if s := r.shortfalls(); !strings.Contains(s, "- g/a: 6 ms where the limit is 2 ms; the target is <= 2 x (short by 50 %)") ||
		!strings.Contains(s, "g/c: not measured") || !strings.Contains(s, "- slow: not measured") {
		t.Error(s)
	}
}
