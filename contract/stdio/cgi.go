package stdio

import (
	"bytes"
	"maps"
	"net"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

// environment is what a program finds in its environment of an event: the
// meta-variables of RFC 3875, section 4.1, where it is an HTTP request.
func environment(in rouse.Invocation) map[string]string {
	env := map[string]string{"ROUSE_ACTIVATION": in.ID}
	r := in.Event.HTTP
	if r == nil {
		return env
	}
	maps.Copy(env, map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "rouse",
		"REQUEST_METHOD": r.Method, "PATH_INFO": r.Path, "QUERY_STRING": r.Query, "SCRIPT_NAME": "/fn/" + in.Function.Name,
		"CONTENT_LENGTH": strconv.Itoa(len(in.Event.Data)),
	})
	if host, _, err := net.SplitHostPort(r.Remote); err == nil {
		env["REMOTE_ADDR"] = host
	}
	for k, v := range r.Header {
		switch k {
		case "Content-Type":
			env["CONTENT_TYPE"] = strings.Join(v, ", ")
		case "Content-Length", "Authorization", "Proxy": // the last would be HTTP_PROXY, which programs believe
		default:
			env["HTTP_"+strings.ToUpper(strings.ReplaceAll(k, "-", "_"))] = strings.Join(v, ", ")
		}
	}
	for k, v := range env {
		if strings.ContainsRune(v, 0) || strings.ContainsAny(k, "=\x00") {
			delete(env, k) // an environment can't hold it
		}
	}
	return env
}

// A head is what a program says of its answer before the body.
type head struct {
	status int
	header map[string][]string
}

// parseHead takes the head off a program's output, which has one only where it
// begins with a line "Status: ". Whole is false where the head does not end in
// b. One that can't be read is part of the body.
func parseHead(b []byte) (h head, body []byte, whole bool) {
	plain := head{status: 200}
	const key = "status:"
	if n := min(len(b), len(key)); n == 0 || !strings.EqualFold(string(b[:n]), key[:n]) {
		return plain, b, true
	}
	text, body, found := bytes.Cut(b, []byte("\n\n"))
	if t, rest, ok := bytes.Cut(b, []byte("\r\n\r\n")); ok && (!found || len(t) < len(text)) {
		text, body, found = t, rest, true
	}
	if !found {
		return plain, b, false
	}
	h = head{header: map[string][]string{}}
	for line := range strings.Lines(string(text)) {
		k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		k, v = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(k)), strings.TrimSpace(v)
		if !ok || k == "" || strings.ContainsAny(v, "\r\x00") {
			return plain, b, true
		}
		if k == "Status" {
			word, _, _ := strings.Cut(v, " ")
			n, err := strconv.Atoi(word)
			if err != nil || n < 200 || n > 999 {
				return plain, b, true
			}
			h.status = n
			continue
		}
		h.header[k] = append(h.header[k], v)
	}
	return h, body, true
}
