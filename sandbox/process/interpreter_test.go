package process

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestInterpretersAreFound(t *testing.T) {
	dir := t.TempDir()
	for name, version := range map[string]string{"php8.1": "8.1.2", "php8.10": "8.10.0", "ruby3.1": "3.1.2", "php7.4": "", "phpize": "9.9.9", "ruby": "what"} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "#!/bin/sh\nprintf '%s'\n", version), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"php", "php8"} {
		if err := os.Symlink("php8.1", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range findInterpreters(t.Context(), dir, filepath.Join(dir, "none"), dir) {
		got = append(got, r.Family+" "+r.Name+" "+r.Version+" "+filepath.Base(r.Path))
	}
	if want := "[php php8.10 8.10.0 php8.10 php php8.1 8.1.2 php8.1 ruby ruby3.1 3.1.2 ruby3.1]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}
