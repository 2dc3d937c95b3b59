package node

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse/event"
)

// A hopKey signs what led to a delivery to a webhook. Where that is a trigger or a
// function of this server the circle has an end, and nobody else can say of an event
// how far it has come.
type hopKey []byte

// sign returns HOPS.ID.MAC.
func (k hopKey) sign(c event.Cause) string {
	text := strconv.Itoa(c.Hops) + "." + c.ID
	return text + "." + hex.EncodeToString(k.mac(text))
}

func (k hopKey) mac(text string) []byte {
	h := hmac.New(sha256.New, k)
	_, _ = h.Write([]byte(text)) // a hash takes all
	return h.Sum(nil)
}

// read returns what sign was given; false where the text is not from there.
func (k hopKey) read(signed string) (c event.Cause, ok bool) {
	cut := max(strings.LastIndexByte(signed, '.'), 0)
	if !hmac.Equal([]byte(strings.TrimPrefix(signed[cut:], ".")), []byte(hex.EncodeToString(k.mac(signed[:cut])))) {
		return c, false
	}
	hops, id, _ := strings.Cut(signed[:cut], ".")
	n, err := strconv.Atoi(hops)
	return event.Cause{ID: id, Hops: n}, err == nil && n >= 0
}

// admit returns a request with what led to it, where it says so and this server
// signed it. Nobody sees the header.
func (k hopKey) admit(r *http.Request) *http.Request {
	signed := r.Header.Get(event.HopHeader)
	if signed == "" {
		return r
	}
	c, ok := k.read(signed)
	ctx := r.Context()
	if ok {
		ctx = event.WithCause(ctx, c)
	}
	r = r.Clone(ctx)
	r.Header.Del(event.HopHeader)
	return r
}
