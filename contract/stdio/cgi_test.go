package stdio

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

func TestEnvironmentIsThatOfCGI(t *testing.T) {
	in := rouse.Invocation{ID: "id", Function: rouse.Ref{Name: "f"}, Event: rouse.Event{Data: []byte("four"), HTTP: &rouse.Request{
		Method: "PUT", Path: "/a b", Query: "c=d", Remote: "192.0.2.1:80",
		Header: map[string][]string{"Content-Type": {"text/plain"}, "X-A": {"1", "2"}, "Authorization": {"secret"}, "Proxy": {"evil"}, "X-N": {"a\x00b"}},
	}}}
	want := map[string]string{"ROUSE_ACTIVATION": "id", "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "rouse",
		"REQUEST_METHOD": "PUT", "PATH_INFO": "/a b", "QUERY_STRING": "c=d", "SCRIPT_NAME": "/fn/f", "CONTENT_LENGTH": "4",
		"CONTENT_TYPE": "text/plain", "REMOTE_ADDR": "192.0.2.1", "HTTP_X_A": "1, 2"}
	if diff := cmp.Diff(want, environment(in)); diff != "" {
		t.Error(diff)
	}
	if got := environment(rouse.Invocation{ID: "id"}); !maps.Equal(got, map[string]string{"ROUSE_ACTIVATION": "id"}) {
		t.Errorf("%v", got)
	}
}

func TestParseHead(t *testing.T) {
	for in, want := range map[string]struct {
		status int
		body   string
		whole  bool
		header map[string][]string
	}{
		"":                              {200, "", true, nil},
		"plain\n\ntext":                 {200, "plain\n\ntext", true, nil},
		"Status: 404 Not Found\n\ngone": {404, "gone", true, map[string][]string{}},
		"status: 201\r\nX-A: b\r\nx-a: c\r\n\r\n": {201, "", true, map[string][]string{"X-A": {"b", "c"}}},
		"Status: 201\nX-A: b":                     {200, "Status: 201\nX-A: b", false, nil},
		"Stat":                                    {200, "Stat", false, nil},
		"Status: many\n\n":                        {200, "Status: many\n\n", true, nil},
		"Status: 42\n\n":                          {200, "Status: 42\n\n", true, nil},
		"Status: 200\nno header\n\n":              {200, "Status: 200\nno header\n\n", true, nil},
	} {
		h, body, whole := parseHead([]byte(in))
		if h.status != want.status || string(body) != want.body || whole != want.whole || !cmp.Equal(h.header, want.header) {
			t.Errorf("%q: %+v %q %v", in, h, body, whole)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	for _, s := range []string{"", "Status: 200\n\n", "Status: 200\r\nA: b\r\n\r\nc", "Statu", "status:\n\n", "Status: 300\n:\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, whole := parseHead(b)
		if h.status < 200 || h.status > 999 || !bytes.HasSuffix(b, body) {
			t.Errorf("%+v %q", h, body)
		}
		for k, v := range h.header {
			if k == "" || strings.ContainsAny(k+strings.Join(v, ""), "\r\n") {
				t.Errorf("header %q: %q", k, v)
			}
		}
		if !whole && !bytes.Equal(b, body) {
			t.Errorf("of a head that is not whole %q is left", body)
		}
	})
}
