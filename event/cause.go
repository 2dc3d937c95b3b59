package event

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

// A Cause is what led to something that is written: it goes with it into the
// Event that it becomes. The zero value is none.
type Cause struct {
	ID   string // of an Activation
	Hops int    // how many Activations led to it, one after the other
}

type causeKey struct{}

// WithCause returns a context of what c led to.
func WithCause(ctx context.Context, c Cause) context.Context {
	return context.WithValue(ctx, causeKey{}, c)
}

// CauseOf returns what led to what is done with a context: what WithCause said,
// or the Activation that asks.
func CauseOf(ctx context.Context) Cause {
	if c, ok := ctx.Value(causeKey{}).(Cause); ok {
		return c
	}
	if p, ok := rouse.PrincipalOf(ctx); ok && p.Activation != "" {
		return Cause{p.Activation, p.Hops + 1}
	}
	return Cause{}
}

// CauseIn returns the Cause that is in an Event's Attributes.
func CauseIn(e *rouse.Event) Cause {
	if len(e.Attributes) == 0 {
		return Cause{}
	}
	c := Cause{ID: e.Attributes[AttributeCause]}
	if text := e.Attributes[AttributeHops]; text != "" { // an error of Atoi costs memory
		if n, err := strconv.Atoi(text); err == nil {
			c.Hops = n
		}
	}
	return c
}

// HopHeader is the header that tells a webhook what led to what it gets, so that a
// server knows what comes back to it. Only who signed the value can read it.
const HopHeader = "Rouse-Hop"

// ours begins the names of the Attributes that the platform gives. Who brings
// Events or Messages must not have said them.
const ours = "rouse"

// In returns attributes that came from outside, with those of c: none of their own
// is left that only the platform may give. Where that changes nothing it returns
// them themselves. All that comes in passes here, once.
func (c Cause) In(attributes map[string]string) map[string]string {
	forged := 0
	for k := range attributes {
		if strings.HasPrefix(k, ours) {
			forged++
		}
	}
	if c == (Cause{}) && forged == 0 {
		return attributes
	}
	out := make(map[string]string, len(attributes)-forged+2)
	for k, v := range attributes {
		if !strings.HasPrefix(k, ours) {
			out[k] = v
		}
	}
	if c.ID != "" {
		out[AttributeCause] = c.ID
	}
	if c != (Cause{}) {
		out[AttributeHops] = strconv.Itoa(c.Hops)
	}
	return out
}

type activationKey struct{}

// WithActivation returns a context of what makes an Event which the rule of a
// name, that has no Batch, is to run as the Activation of an ID: who brought it
// was told of that.
func WithActivation(ctx context.Context, rule, id string) context.Context {
	return context.WithValue(ctx, activationKey{}, rule+"/"+id)
}

// ActivationOf returns the AttributeActivation of what a context makes; "" is
// none.
func ActivationOf(ctx context.Context) string {
	text, _ := ctx.Value(activationKey{}).(string)
	return text
}

// wrapped begins what has a Cause before it. Nothing that is wrapped may begin
// with it itself.
const wrapped = 0xca

// Wrap returns what is stored of something with its Cause before it; the same
// where there is none.
func (c Cause) Wrap(body []byte) []byte {
	if c == (Cause{}) {
		return body
	}
	b := make([]byte, 0, 1+2*binary.MaxVarintLen32+len(c.ID)+len(body))
	b = append(binary.AppendUvarint(append(b, wrapped), uint64(len(c.ID))), c.ID...)
	return append(binary.AppendVarint(b, int64(c.Hops)), body...)
}

// Unwrap takes apart what Wrap returned. The body is a part of b.
func Unwrap(b []byte) (c Cause, body []byte, err error) {
	if len(b) == 0 || b[0] != wrapped {
		return c, b, nil
	}
	broken := errors.New("what is stored has no cause where it should have one")
	n, size := binary.Uvarint(b[1:])
	if rest := b[1+max(size, 0):]; size > 0 && n <= uint64(len(rest)) {
		hops, used := binary.Varint(rest[n:])
		if c = (Cause{string(rest[:n]), int(hops)}); used > 0 && c != (Cause{}) {
			return c, rest[int(n)+used:], nil
		}
	}
	return Cause{}, nil, broken
}
