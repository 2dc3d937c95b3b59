package node

import (
	"os"
	"testing"
)

func TestRunnable(t *testing.T) {
	for loadavg, want := range map[string]int{"6.93 7.15 7.07 6/376 1306\n": 6, "0.00 0.00 0.00 12/90": 12, "": 0, "1 2 3": 0, "1 2 3 x/y 5": 0} {
		if n := runnable(loadavg); n != want {
			t.Errorf("%q: %d, want %d", loadavg, n, want)
		}
	}
	b, err := os.ReadFile("/proc/loadavg")
	if n := runnable(string(b)); err != nil || n < 1 {
		t.Errorf("this test runs, and %q has %d, %v", b, n, err)
	}
}
