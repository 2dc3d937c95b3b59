package native

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// kindStatus is the one table from Kind to HTTP status.
var kindStatus = map[rouse.Kind]int{
	rouse.Internal:        http.StatusInternalServerError,
	rouse.Invalid:         http.StatusBadRequest,
	rouse.NotFound:        http.StatusNotFound,
	rouse.Conflict:        http.StatusConflict,
	rouse.Denied:          http.StatusForbidden,
	rouse.Unauthenticated: http.StatusUnauthorized,
	rouse.Throttled:       http.StatusTooManyRequests,
	rouse.TooLarge:        http.StatusRequestEntityTooLarge,
	rouse.Unavailable:     http.StatusServiceUnavailable,
	rouse.NotImplemented:  http.StatusNotImplemented,
}

// endStatus is the one table from how an Activation ended to HTTP status. To
// the caller the function is the upstream and the platform the gateway.
var endStatus = map[rouse.Status]int{
	rouse.StatusPending:     http.StatusAccepted,
	rouse.StatusAnswered:    http.StatusOK,
	rouse.StatusFailed:      http.StatusBadGateway,
	rouse.StatusCrashed:     http.StatusBadGateway,
	rouse.StatusTimedOut:    http.StatusGatewayTimeout,
	rouse.StatusOutOfMemory: http.StatusBadGateway,
	rouse.StatusThrottled:   http.StatusTooManyRequests,
	rouse.StatusRefused:     http.StatusServiceUnavailable,
}

// fail answers with err, or logs it where only the operator may see it.
func (s *server) fail(c *call, err error) {
	err = s.brokenOff(c, err)
	body := wire.ErrorBody{Error: s.wireError(c, err), Activation: c.w.Header().Get(wire.HeaderActivation)}
	if r, ok := errors.AsType[*data.Refused](err); ok {
		for _, w := range r.Writes {
			if !c.tell {
				w.Item = nil
			}
			body.Refused = append(body.Refused, wire.RefusedWrite(w))
		}
	}
	c.fail(statusOf(err), body)
}

// brokenOff returns the error of a call whose context has ended: the client hung
// up, and reads no answer, or we are to end. Any other is returned as it is.
func (s *server) brokenOff(c *call, err error) error {
	if c.r.Context().Err() == nil || !errors.Is(err, context.Canceled) || rouse.KindOf(err) != rouse.Internal {
		return err
	}
	s.Log.Debug("a call was broken off", "method", c.r.Method, "path", c.r.URL.Path, "err", err)
	return rouse.Errorf(rouse.Unavailable, "answer", "", "the server is stopping; try again")
}

// statusOf is kindStatus, but for what HTTP has statuses of its own (RFC 9110,
// sections 13.2.2 and 14.4).
func statusOf(err error) int {
	switch {
	case errors.Is(err, data.ErrCondition):
		return http.StatusPreconditionFailed
	case errors.Is(err, data.ErrRange):
		return http.StatusRequestedRangeNotSatisfiable
	}
	return kindStatus[rouse.KindOf(err)]
}

func (c *call) fail(status int, body wire.ErrorBody) {
	h := c.w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="rouse"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge:
		// The rest of the body is not worth reading.
		h.Set("Connection", "close")
	}
	_ = c.answer(status, body)
}

func (s *server) wireError(c *call, err error) wire.Error {
	e, ok := errors.AsType[*rouse.Error](err)
	if ok && e.Kind != rouse.Internal {
		return wire.Error{Kind: e.Kind.String(), Op: e.Op, On: e.On, Message: e.Err.Error()}
	}
	id := errorID()
	s.Log.Error("internal error", "id", id, "method", c.r.Method, "path", c.r.URL.Path, "err", err)
	return wire.Error{Kind: rouse.Internal.String(), Message: "internal error", ID: id}
}

func errorID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// refuseMethod answers for a path whose operations have other methods. Kind has
// no word for it, and HTTP wants its own status (RFC 9110, section 15.5.6).
func (s *server) refuseMethod(allowed []string) http.HandlerFunc {
	if slices.Contains(allowed, http.MethodGet) && !slices.Contains(allowed, http.MethodHead) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", list)
		c := &call{w: w, r: r}
		c.fail(http.StatusMethodNotAllowed, wire.ErrorBody{
			Error: s.wireError(c, invalid("%s has no method %q; it has %s", r.URL.Path, r.Method, list)),
		})
	}
}

func refusePath(r *http.Request) error {
	return rouse.Errorf(rouse.NotFound, "route request", "", "there is nothing at %s; GET /v1 lists what there is", r.URL.Path)
}
