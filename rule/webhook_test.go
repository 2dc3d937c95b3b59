package rule

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// A webhook that has moved did not get the event.
func TestAWebhookThatHasMoved(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	got := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/in" {
			http.Redirect(rw, r, "/in/", http.StatusMovedPermanently)
			return
		}
		got <- r.Method + " " + string(b)
	}))
	defer server.Close()
	to := func(path string) {
		w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Webhook: server.URL + path}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 1}}})
	}
	to("/in")
	w.press("red", `{"n": 1}`)
	d := w.dead("r", 1)[0]
	if !strings.Contains(d.Reason, "301") || !strings.Contains(d.Reason, `"/in/"`) || len(got) != 0 {
		t.Errorf("%s; %d came", d.Reason, len(got))
	}
	to("/in/")
	if _, err := w.Redrive(t.Context(), ref("r"), nil); err != nil {
		t.Fatal(err)
	}
	if said := <-got; !strings.HasPrefix(said, "POST ") || !strings.Contains(said, `"n":1`) {
		t.Errorf("%s", said)
	}
}
