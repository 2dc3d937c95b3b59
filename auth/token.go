// Package auth knows who asks: it makes the platform's credentials at the first
// start and checks what callers show.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rouse-run/rouse"
)

const (
	prefix    = "rouse_" // lets scanners for leaked secrets find our tokens
	minLength = 32       // of a token that an operator wrote himself
	maxLength = 1024
)

// Tokens is a rouse.Authenticator over the one token of a data folder. Whoever
// shows it is the Principal "admin", an operator. Concurrent calls are safe.
type Tokens struct {
	sum [sha256.Size]byte
}

// Path returns the file in dataDir that holds the token.
func Path(dataDir string) string { return filepath.Join(dataDir, "token") }

// Open reads the token of dataDir, or makes both where they are missing.
// Errors: Denied where others can read the file, Invalid where it holds no token.
func Open(dataDir string) (*Tokens, error) {
	token, err := Read(dataDir)
	if rouse.KindOf(err) == rouse.NotFound {
		token, err = create(dataDir)
	}
	if err != nil {
		return nil, err
	}
	return &Tokens{sum: sha256.Sum256([]byte(token))}, nil
}

// Read returns the token of dataDir. Errors: NotFound where there is none yet,
// Denied where we may not read the file or others can, Invalid where it holds
// no token.
func Read(dataDir string) (string, error) {
	const op = "read token"
	path := Path(dataDir)
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", rouse.Errorf(rouse.NotFound, op, path, "there is no such file")
	case errors.Is(err, fs.ErrPermission):
		return "", rouse.Errorf(rouse.Denied, op, path, "this user may not read it")
	case err != nil:
		return "", fmt.Errorf("%s: %w", op, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	if !info.Mode().IsRegular() {
		return "", rouse.Errorf(rouse.Invalid, op, path, "it is no regular file; remove it")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", rouse.Errorf(rouse.Denied, op, path, "other users can get at it (mode %04o); run: chmod 600 %s", mode, path)
	}
	buf := make([]byte, maxLength+1)
	n, err := f.Read(buf)
	if err != nil && info.Size() > 0 {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	token := strings.TrimSpace(string(buf[:n]))
	if len(token) < minLength || n > maxLength || strings.ContainsFunc(token, unfit) {
		return "", rouse.Errorf(rouse.Invalid, op, path,
			"it must hold one token of %d to %d printable characters; remove the file and start again to have a new one made", minLength, maxLength)
	}
	return token, nil
}

// unfit reports whether r can't stand in an HTTP header's bearer token.
func unfit(r rune) bool { return r <= ' ' || r > '~' }

// create makes a token whole or not at all: a crash leaves no half file.
func create(dataDir string) (string, error) {
	token := newToken()
	if err := write(dataDir, token+"\n"); err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	return token, nil
}

func write(dir, text string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".token-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by then where all went well
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), Path(dir)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Token returns the Principal "admin" for the right token. Errors: Unauthenticated.
func (t *Tokens) Token(_ context.Context, token string) (rouse.Principal, error) {
	if !matches(t.sum, token) {
		return rouse.Principal{}, rouse.Errorf(rouse.Unauthenticated, "authenticate", "", "the token is not the one of this server")
	}
	return rouse.Principal{Name: "admin", Operator: true}, nil
}
