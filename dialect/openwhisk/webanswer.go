package openwhisk

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// media are the types that the ways to answer have, but for .http, which says.
var media = map[string]string{".json": "application/json", ".html": "text/html; charset=UTF-8", ".svg": "image/svg+xml", ".text": "text/plain; charset=UTF-8"}

func invalidMedia(ext string) error {
	of := "message/http"
	if ext != ".http" {
		of, _, _ = strings.Cut(media[ext], ";")
	}
	return refuse(http.StatusBadRequest, "Response is not valid '%s'.", of)
}

// reply makes an HTTP answer of what an action returned. The error that it
// returned is looked at in the place of a result.
func (w *webCall) reply(r response) error {
	if r.code > codeApplication {
		return refuse(http.StatusBadRequest, "There was an error processing your request.")
	}
	value := r.Result
	var at []string
	switch {
	case r.code == codeApplication:
		at = []string{"error"}
	case w.ext == ".http":
	case w.rest != "" && w.rest != "/":
		at = strings.Split(strings.Trim(w.rest, "/"), "/")
	case w.ext != ".json":
		at = []string{w.ext[1:]}
	}
	for _, field := range at {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil || object[field] == nil {
			return refuse(http.StatusNotFound, "Response does not include requested property.")
		}
		value = object[field]
	}
	value = bytes.TrimSpace(value)
	if w.ext == ".http" {
		return w.http(value)
	}
	var s string
	isText := json.Unmarshal(value, &s) == nil
	switch {
	case w.ext == ".json" && (value[0] == '{' || value[0] == '['):
		w.send(http.StatusOK, media[w.ext], value)
	case w.ext == ".text" && isText, w.ext == ".html" && isText, w.ext == ".svg" && isText:
		w.send(http.StatusOK, media[w.ext], []byte(s))
	case w.ext == ".text":
		w.send(http.StatusOK, media[w.ext], pretty(value))
	default:
		return invalidMedia(w.ext)
	}
	return nil
}

// http makes an answer of {statusCode, headers, body}.
func (w *webCall) http(value json.RawMessage) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil || object == nil {
		return invalidMedia(w.ext)
	}
	if err := w.setHeaders(object["headers"]); err != nil {
		return err
	}
	body := object["body"]
	if string(body) == "null" || string(body) == `""` {
		body = nil
	}
	status := http.StatusOK
	if body == nil {
		status = http.StatusNoContent
	}
	if given := object["statusCode"]; given != nil && string(given) != "null" {
		n, err := strconv.Atoi(strings.Trim(string(given), `"`))
		if err != nil || n < 200 || n > 599 {
			return invalidMedia(w.ext)
		}
		status = n
	}
	contentType := w.w.Header().Get("Content-Type")
	if body == nil {
		w.w.WriteHeader(status)
		return nil
	}
	of, _, err := mime.ParseMediaType(contentType)
	if contentType != "" && err != nil {
		return refuse(http.StatusBadRequest, "Response did not specify a known content-type.")
	}
	var s string
	if json.Unmarshal(body, &s) == nil {
		content := []byte(s)
		if contentType == "" {
			contentType = media[".html"]
		} else if isBinary(of) {
			if content, err = base64.StdEncoding.DecodeString(s); err != nil {
				return invalidMedia(w.ext)
			}
		}
		w.send(status, contentType, content)
		return nil
	}
	if contentType == "" {
		contentType = media[".json"]
	} else if of != "application/json" && !strings.HasSuffix(of, "+json") {
		return refuse(http.StatusBadRequest, "Response type in header did not match generated content type.")
	}
	w.send(status, contentType, pretty(body))
	return nil
}

// ourHeaders are those of a connection, which an action does not see.
var ourHeaders = []string{"Connection", "Content-Length", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade"}

// setHeaders sets the headers that an action wants, each of one value or several.
func (w *webCall) setHeaders(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var headers map[string]any
	if json.Unmarshal(raw, &headers) != nil {
		return invalidMedia(w.ext)
	}
	for name, value := range headers {
		if slices.ContainsFunc(ourHeaders, func(h string) bool { return strings.EqualFold(h, name) }) {
			continue
		}
		values, ok := value.([]any)
		if !ok {
			values = []any{value}
		}
		w.w.Header().Del(name)
		for _, v := range values {
			text, ok := v.(string)
			if !ok {
				b, _ := json.Marshal(v) // came from JSON
				text = string(b)
			}
			if strings.ContainsAny(name+text, "\r\n\x00") || name == "" {
				return invalidMedia(w.ext)
			}
			w.w.Header().Add(name, text)
		}
	}
	return nil
}

func (w *webCall) send(status int, contentType string, body []byte) {
	h := w.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.w.WriteHeader(status)
	if w.r.Method != http.MethodHead {
		_, _ = w.w.Write(body) // an error is the connection's
	}
}

func pretty(value json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return value
	}
	return b.Bytes()
}
