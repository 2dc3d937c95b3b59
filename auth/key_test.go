package auth

import (
	"bytes"
	"testing"
)

func TestKey(t *testing.T) {
	dir := t.TempDir()
	open := func(dir string) *Tokens {
		t.Helper()
		tokens, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	key := open(dir).Key("a")
	if len(key) != 32 || !bytes.Equal(key, open(dir).Key("a")) {
		t.Errorf("%x is another at the next start", key)
	}
	if bytes.Equal(key, open(dir).Key("b")) || bytes.Equal(key, open(t.TempDir()).Key("a")) {
		t.Error("it is the same for another purpose, or at another server")
	}
}
