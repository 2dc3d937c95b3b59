package openwhisk

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
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
	named := w.ext != ".http" && w.ext != ".json"
	switch {
	case r.code == codeApplication:
		at = []string{"error"}
	case w.ext != ".http" && w.rest != "" && w.rest != "/":
		at, named = decoded(strings.Split(strings.Trim(w.rest, "/"), "/")), false
	}
	for _, field := range at {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil || object[field] == nil {
			return refuse(http.StatusNotFound, "Response does not include requested property.")
		}
		value = object[field]
	}
	var object map[string]json.RawMessage
	if named && json.Unmarshal(value, &object) == nil && object != nil {
		ok := false
		if value, ok = object["body"]; !ok {
			value, ok = object[w.ext[1:]]
		}
		if !ok {
			return refuse(http.StatusNotFound, "Response does not include requested property.")
		}
	}
	if value = bytes.TrimSpace(value); len(value) == 0 {
		return invalidMedia(w.ext)
	}
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

const textOtherType = "Response type in header did not match generated content type."

// http makes an answer of {statusCode, headers, body}.
func (w *webCall) http(value json.RawMessage) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil || object == nil {
		return invalidMedia(w.ext)
	}
	headers, err := w.headersOf(object["headers"])
	if err != nil {
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
		n, err := strconv.ParseFloat(strings.Trim(string(given), `"`), 64)
		if err != nil || n < 200 || n > 599 || n != math.Trunc(n) {
			return invalidMedia(w.ext)
		}
		status = int(n)
	}
	contentType := headers.Get("Content-Type")
	if body == nil || status == http.StatusNoContent || status == http.StatusNotModified {
		maps.Copy(w.w.Header(), headers)
		w.w.WriteHeader(status)
		return nil
	}
	of, _, err := mime.ParseMediaType(contentType)
	if contentType != "" && (err != nil || !strings.Contains(of, "/")) {
		return refuse(http.StatusBadRequest, "Response did not specify a known content-type.")
	}
	var s string
	if json.Unmarshal(body, &s) == nil {
		content := []byte(s)
		switch raw, encoded := binary(s); {
		case contentType == "":
			contentType = media[".html"]
		case isBinary(of):
			if content, err = base64.StdEncoding.DecodeString(s); err != nil {
				return refuse(http.StatusBadRequest, textOtherType)
			}
		case encoded && (isJSON(of) && !json.Valid(content) || of == "image/svg+xml"): // which actions of old encode
			content = raw
		}
		maps.Copy(w.w.Header(), headers)
		w.send(status, contentType, content)
		return nil
	}
	if contentType == "" {
		contentType = media[".json"]
	} else if !isJSON(of) {
		return refuse(http.StatusBadRequest, textOtherType)
	}
	maps.Copy(w.w.Header(), headers)
	w.send(status, contentType, pretty(body))
	return nil
}

// ourHeaders are those of a connection, which an action does not see.
var ourHeaders = []string{"Connection", "Content-Length", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade"}

// headersOf are the headers that an action wants, each of one value or several.
func (w *webCall) headersOf(raw json.RawMessage) (http.Header, error) {
	headers := http.Header{}
	if len(raw) == 0 || string(raw) == "null" {
		return headers, nil
	}
	var given map[string]json.RawMessage
	if json.Unmarshal(raw, &given) != nil {
		return nil, invalidMedia(w.ext)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.ContainsFunc(ourHeaders, func(h string) bool { return strings.EqualFold(h, name) }) {
			continue
		}
		var values []json.RawMessage
		if json.Unmarshal(given[name], &values) != nil || values == nil {
			values = []json.RawMessage{given[name]}
		}
		headers.Del(name)
		for _, v := range values {
			var text string
			if json.Unmarshal(v, &text) != nil || string(v) == "null" {
				text = string(v) // a number as it is written
			}
			if strings.ContainsAny(text, "\r\n\x00") || name == "" || strings.ContainsFunc(name, notToken) {
				return nil, invalidMedia(w.ext)
			}
			headers.Add(name, text)
		}
	}
	return headers, nil
}

// notToken reports whether a name of a header can't hold a rune (RFC 9110, 5.6.2).
func notToken(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
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
