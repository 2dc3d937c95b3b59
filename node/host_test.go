package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

func TestWhatCantBeStartedSaysWhatToDo(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:99999", "192.0.2.1:0", ":http-or-so"} {
		l, err := listen(addr)
		if err == nil {
			l.Close()
		}
		if rouse.KindOf(err) != rouse.Invalid || !strings.HasPrefix(err.Error(), "listen "+addr+": ") || !strings.HasSuffix(err.Error(), "--listen, such as 127.0.0.1:8700") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "data")} {
		if _, err := lock(dir); rouse.KindOf(err) != rouse.Invalid || !strings.HasSuffix(err.Error(), "with --data") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

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
