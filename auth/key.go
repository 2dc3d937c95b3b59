package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
)

// Key returns a key of 32 bytes for one purpose, which follows from the token:
// who knows it knows neither that nor the key for another purpose.
func (t *Tokens) Key(purpose string) []byte {
	h := hmac.New(sha256.New, t.sum[:])
	fmt.Fprintf(h, "key for %s", purpose)
	return h.Sum(nil)
}
