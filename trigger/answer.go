package trigger

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/rouse-run/rouse"
)

// MaxBody is how many bytes of a request are read at most: as many as the data
// of an event has.
const MaxBody = 1 << 20

// Body reads the body of a request. Errors: TooLarge, Invalid where it breaks off.
func Body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, rouse.Errorf(rouse.TooLarge, "read request", "body", "it has more than %d bytes", e.Limit)
	}
	if err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "read request", "body", "it breaks off: %w", err)
	}
	return b, nil
}

// Answer writes v as JSON.
func Answer(w http.ResponseWriter, status int, v any) {
	b, err := Encode(v)
	if err != nil {
		Refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// statuses are the HTTP statuses of Kinds; all others are 500.
var statuses = map[rouse.Kind]int{
	rouse.Invalid:         http.StatusBadRequest,
	rouse.NotFound:        http.StatusNotFound,
	rouse.Conflict:        http.StatusConflict,
	rouse.Denied:          http.StatusForbidden,
	rouse.Unauthenticated: http.StatusUnauthorized,
	rouse.Throttled:       http.StatusTooManyRequests,
	rouse.TooLarge:        http.StatusRequestEntityTooLarge,
	rouse.Unavailable:     http.StatusServiceUnavailable,
}

// A refusal is what the caller is told.
type refusal struct {
	Error struct {
		Kind    rouse.Kind `json:"kind"`
		Message string     `json:"message"`
	} `json:"error"`
}

// Refuse answers a request with an error; of an Internal one it shows nothing.
func Refuse(w http.ResponseWriter, err error) {
	kind, message := rouse.KindOf(err), err.Error()
	status, ok := statuses[kind]
	if !ok {
		status, message = http.StatusInternalServerError, "internal error"
	}
	RefuseAs(w, status, kind, message)
}

// RefuseAs answers with a status of HTTP that no Kind has.
func RefuseAs(w http.ResponseWriter, status int, k rouse.Kind, message string) {
	var body refusal
	body.Error.Kind, body.Error.Message = k, message
	b, _ := json.Marshal(body) // strings always can be
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}
