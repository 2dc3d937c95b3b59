package openwhisk

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// Who has done too much in a minute is told when the next one begins.
func TestTheNextMinuteIsTold(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 18, 500, time.UTC)
	d := New(Config{Now: func() time.Time { return at }})
	q := rouse.Quota{Invocations: 1, Fires: 1}
	for what, count := range map[string]func() error{
		"invocations": func() error { return d.throttle.minute("ns", q) }, "fires": func() error { return d.throttle.fire("ns", q) },
	} {
		if err := count(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		w := httptest.NewRecorder()
		d.serve(&call{w: w, r: httptest.NewRequest(http.MethodPost, "/", nil)}, func(*call) error { return count() })
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "42" {
			t.Errorf("%s: %d %v %s", what, w.Code, w.Header(), w.Body)
		}
	}
}
