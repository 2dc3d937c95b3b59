package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

var _ rouse.Authenticator = (*Tokens)(nil)

func TestOpenMakesATokenOnceAndKeepsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(token, "rouse_") || len(token) != len("rouse_")+43 {
		t.Errorf("token %q is not rouse_ and 32 bytes in base64url", token)
	}
	info, err := os.Stat(Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if *first != *second {
		t.Error("the second Open made another token")
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	other, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if *first == *other {
		t.Error("two data folders have one token")
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	tokens, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	right, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := tokens.Token(t.Context(), right); err != nil || p.Name != "admin" {
		t.Errorf("the right token: %v, %v", p, err)
	}
	for _, wrong := range []string{"", "x", right + "x", right[:len(right)-1], strings.ToUpper(right), " " + right} {
		if p, err := tokens.Token(t.Context(), wrong); rouse.KindOf(err) != rouse.Unauthenticated || p.Name != "" {
			t.Errorf("token %q: %v, %v", wrong, p, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := "rouse_" + strings.Repeat("a", 43)
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		kind       rouse.Kind
		says       string
	}{
		{"group can read", good, 0o640, rouse.Denied, "chmod 600"},
		{"others can write", good, 0o602, rouse.Denied, "chmod 600"},
		{"empty", "", 0o600, rouse.Invalid, "remove the file"},
		{"short", "rouse_abc", 0o600, rouse.Invalid, "remove the file"},
		{"two words", good + " " + good, 0o600, rouse.Invalid, "remove the file"},
		{"huge", strings.Repeat("a", 4096), 0o600, rouse.Invalid, "remove the file"},
		{"bytes", good + "\x00", 0o600, rouse.Invalid, "remove the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(Path(dir), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(Path(dir), c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			if rouse.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v saying %q", err, c.kind, c.says)
			}
			if b, _ := os.ReadFile(Path(dir)); string(b) != c.text {
				t.Error("the refused file was changed")
			}
		})
	}
	t.Run("folder", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(Path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); rouse.KindOf(err) != rouse.Invalid {
			t.Errorf("got %v, want invalid", err)
		}
	})
	t.Run("an operator's own", func(t *testing.T) {
		dir := t.TempDir()
		own := strings.Repeat("k", 32)
		if err := os.WriteFile(Path(dir), []byte(own+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Token(t.Context(), own); err != nil {
			t.Error(err)
		}
	})
}
