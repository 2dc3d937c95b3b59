package openwhisk

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/textproto"
	"strings"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// web is an HTTP request as a raw web action gets it.
type web struct {
	Method  string            `json:"__ow_method"`
	Headers map[string]string `json:"__ow_headers"`
	Path    string            `json:"__ow_path"`
	Query   string            `json:"__ow_query"`
	Body    string            `json:"__ow_body"`
}

// webArguments makes an HTTP request arguments.
func webArguments(e rouse.Event) []byte {
	a := web{Method: strings.ToLower(e.HTTP.Method), Headers: make(map[string]string, len(e.HTTP.Header)), Path: e.HTTP.Path, Query: e.HTTP.Query}
	for name, values := range e.HTTP.Header {
		a.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if isText(a.Headers["content-type"]) && utf8.Valid(e.Data) {
		a.Body = string(e.Data)
	} else {
		a.Body = base64.StdEncoding.EncodeToString(e.Data)
	}
	data, _ := json.Marshal(a) // strings always can be
	return data
}

// isText says whether a body of this type is handed on as it is; all others are
// in base64. So is JSON: raw web actions always had it so.
func isText(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "" || strings.HasPrefix(kind, "text/") || kind == "application/x-www-form-urlencoded" ||
		strings.HasSuffix(kind, "xml") || strings.HasSuffix(kind, "javascript")
}

// An httpResult is what a web action says of the answer to its request.
type httpResult struct {
	Status  int             `json:"statusCode"`
	Headers map[string]any  `json:"headers"`
	Body    json.RawMessage `json:"body"`
}

// reply writes a result to whom it is for: the answer of a web action where the
// event was an HTTP request and the result is one, else the result itself.
func reply(to rouse.Reply, isHTTP bool, a *rouse.Answer) {
	status, header, body := 200, map[string][]string{"Content-Type": {"application/json"}}, a.Result
	if isHTTP {
		if s, h, b, ok := parseWeb(a.Result); ok {
			status, header, body = s, h, b
		}
	}
	a.Result, a.Size = nil, int64(len(body))
	to.Start(status, header)
	if len(body) > 0 {
		_, _ = to.Write(body) // the caller who went away sees no answer
	}
}

// parseWeb reads {statusCode, headers, body}. It is none where it has nothing of
// these, or not in the right type.
func parseWeb(result []byte) (status int, header map[string][]string, body []byte, ok bool) {
	var keys map[string]json.RawMessage
	if json.Unmarshal(result, &keys) != nil {
		return 0, nil, nil, false
	}
	var r httpResult
	for name, into := range map[string]any{"statusCode": &r.Status, "headers": &r.Headers, "body": &r.Body} {
		raw, there := keys[name]
		if ok = ok || there; there && json.Unmarshal(raw, into) != nil {
			return 0, nil, nil, false
		}
	}
	if !ok || r.Status != 0 && (r.Status < 200 || r.Status > 999) {
		return 0, nil, nil, false
	}
	header = headers(r.Headers)
	if header["Content-Type"] == nil {
		header["Content-Type"] = []string{"text/html; charset=utf-8"}
		if len(r.Body) > 0 && r.Body[0] != '"' && string(r.Body) != "null" {
			header["Content-Type"] = []string{"application/json"}
		}
	}
	body = webBody(header["Content-Type"][0], r.Body)
	if status = r.Status; status == 0 && len(body) == 0 {
		status = 204
	} else if status == 0 {
		status = 200
	}
	return status, header, body, true
}

// headers are those of a result: each has a value, or a list of them.
func headers(given map[string]any) map[string][]string {
	header := make(map[string][]string, len(given)+1)
	for name, value := range given {
		name = textproto.CanonicalMIMEHeaderKey(name)
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, one := range list {
			s, ok := one.(string)
			if !ok {
				raw, _ := json.Marshal(one) // came from JSON
				s = string(raw)
			}
			header[name] = append(header[name], s)
		}
	}
	return header
}

// webBody is a result's body as it goes out: a string is text, or base64 where
// the type is of bytes; anything else is its JSON.
func webBody(contentType string, raw json.RawMessage) []byte {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil
	case json.Unmarshal(raw, &s) != nil:
		return raw
	case !isText(contentType) && !strings.Contains(contentType, "json"):
		if b, err := base64.StdEncoding.DecodeString(s); err == nil {
			return b
		}
	}
	return []byte(s)
}
