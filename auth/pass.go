package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/rouse-run/rouse"
)

// A Pass is a rouse.Authenticator over one token that is nowhere stored: it is
// good for as long as somebody keeps the Pass. Concurrent calls are safe.
type Pass struct {
	sum       [sha256.Size]byte
	principal rouse.Principal
}

// NewPass makes a token of 32 random bytes that stands for p.
func NewPass(p rouse.Principal) (pass *Pass, token string) {
	token = newToken()
	return &Pass{sum: sha256.Sum256([]byte(token)), principal: p}, token
}

func newToken() string {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	return prefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// Token implements rouse.Authenticator.
func (p *Pass) Token(_ context.Context, token string) (rouse.Principal, error) {
	if !matches(p.sum, token) {
		return rouse.Principal{}, rouse.Errorf(rouse.Unauthenticated, "authenticate", "", "the token is not the one of this instance; use $ROUSE_TOKEN")
	}
	return p.principal, nil
}

// matches compares sums: they have one length, so that the time it takes tells
// not even that.
func matches(sum [sha256.Size]byte, token string) bool {
	shown := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(shown[:], sum[:]) == 1
}

// Known is a rouse.Authenticator for what was authenticated before: where a
// context has a Principal, that one asks. Next is asked about the rest.
type Known struct{ Next rouse.Authenticator }

// Token implements rouse.Authenticator.
func (k Known) Token(ctx context.Context, token string) (rouse.Principal, error) {
	if p, ok := rouse.PrincipalOf(ctx); ok {
		return p, nil
	}
	return k.Next.Token(ctx, token)
}
