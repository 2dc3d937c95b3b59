package openwhisk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// A webCall is a request to a web action: one that answers HTTP itself.
type webCall struct {
	*call
	action *action
	ext    string            // how the result becomes an answer, such as ".http"
	rest   string            // of the path, as it came, with a leading slash, or ""
	user   string            // who asks, where he has shown a key
	values map[string]string // arguments that the path holds
}

// prefixWeb is that of the paths of web actions.
const prefixWeb = "/api/v1/web/"

// exts are the ways to answer. The first is that of a path that names none.
var exts = []string{".http", ".json", ".html", ".svg", ".text"}

// web answers a request to /api/v1/web/NAMESPACE/PACKAGE/NAME[.EXT][/REST].
func (d *Door) web(c *call) error {
	w, err := d.webCall(c)
	if err != nil {
		c.cors()
		return err
	}
	return d.serveWeb(w)
}

// serveWeb runs a web action and answers with what it returned.
func (d *Door) serveWeb(w *webCall) error {
	c := w.call
	custom := w.action.Annotations.isTrue("web-custom-options")
	if !custom {
		c.cors()
	} else {
		for _, h := range []string{"Origin", "Headers", "Methods"} {
			c.w.Header().Del("Access-Control-Allow-" + h)
		}
	}
	if c.r.Method == http.MethodOptions && !custom {
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	if !slices.Contains(webMethods, c.r.Method) {
		return refuse(http.StatusMethodNotAllowed, "HTTP method not allowed, supported methods: %s", strings.Join(webMethods, ", "))
	}
	args, err := d.webArguments(w)
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(c.r.Context())
	at, err := d.admit(ctx, w.action.f.Namespace)
	if err != nil {
		return err
	}
	in := d.invocation(c, w.action, args)
	c.w.Header()[headerActivation] = []string{in.ID}
	got, ok := d.await(c, in, d.Wait, at, func() {
		_ = c.answer(http.StatusAccepted, errorBody{"Response not yet ready.", c.transaction}) // it always can be written
	})
	switch {
	case !ok:
		return nil
	case got.err != nil && got.ID == "":
		return got.err
	}
	return w.reply(responseOf(w.action, got.Activation))
}

var webMethods = []string{http.MethodOptions, http.MethodGet, http.MethodDelete, http.MethodPost, http.MethodPut, http.MethodHead, http.MethodPatch}

// cors lets browsers of other sites read the answer.
func (c *call) cors() {
	h := c.w.Header()
	h.Set("Access-Control-Allow-Methods", strings.Join(webMethods, ", "))
	if asked := c.r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
}

// webCall finds the web action that a path names. One that is not exported is as
// if it was not there.
func (d *Door) webCall(c *call) (*webCall, error) {
	parts := strings.SplitN(after(c.r.URL, prefixWeb), "/", 4)
	w := &webCall{call: c, ext: exts[0]}
	if len(parts) == 4 { // the action's to decode: a slash may be encoded in it
		w.rest = "/" + parts[3]
	}
	parts = decoded(parts[:min(3, len(parts))])
	if len(parts) < 3 || rouse.CheckName(parts[0]) != nil && parts[0] != "_" {
		return nil, errNotFound
	}
	name := parts[2]
	for _, ext := range exts {
		if cut, ok := strings.CutSuffix(name, ext); ok {
			name, w.ext = cut, ext
			break
		}
	}
	who, _, err := d.authenticated(c.r)
	if err == nil {
		w.user, c.who = string(who.Namespace), who
	}
	ns := rouse.Namespace(parts[0])
	if parts[0] == "_" {
		if err != nil {
			return nil, errNotFound
		}
		ns = c.own()
	}
	if err := d.admitted(c, ns); err != nil {
		return nil, err
	}
	p := path{ns, parts[1], name}
	if p.pack == "default" {
		p.pack = ""
	}
	if w.action, err = d.find(c.r.Context(), ns, p); err != nil {
		if refusalOf(err).status < http.StatusInternalServerError {
			return nil, errNotFound
		}
		return nil, err
	}
	if !w.action.exported() {
		return nil, errNotFound
	}
	return w, w.admit()
}

// after is what follows a prefix of a path, as it came.
func after(u *url.URL, prefix string) string {
	rest := u.EscapedPath()
	for range strings.Count(prefix, "/") {
		_, rest, _ = strings.Cut(rest, "/")
	}
	return rest
}

// decoded are pieces of a path as they were meant.
func decoded(pieces []string) []string {
	all := make([]string, len(pieces))
	for i, piece := range pieces {
		all[i], _ = url.PathUnescape(piece) // the whole was decoded before
	}
	return all
}

// admitted refuses the web actions of a namespace whose subject is blocked, as if
// they were not there.
func (d *Door) admitted(c *call, ns rouse.Namespace) error {
	s, err := d.Subjects.Subject(c.r.Context(), ns)
	switch {
	case rouse.KindOf(err) == rouse.NotFound: // what a subject leaves behind stays open
		return nil
	case err == nil && s.Blocked:
		return errNotFound
	}
	return err
}

// admit checks what the annotation require-whisk-auth wants to see.
func (w *webCall) admit() error {
	if w.r.Method == http.MethodOptions { // browsers ask before they show anything
		return nil
	}
	var want any
	if json.Unmarshal(w.action.Annotations.get("require-whisk-auth"), &want) != nil || want == nil {
		return nil
	}
	switch want := want.(type) {
	case bool:
		if want && w.user == "" {
			return refuse(http.StatusUnauthorized, textNoAuth)
		}
	case string:
		return w.secret(want)
	case float64:
		return w.secret(string(w.action.Annotations.get("require-whisk-auth")))
	default: // whatever was meant, it is not that all may come in
		return refuse(http.StatusUnauthorized, textNoAuth)
	}
	return nil
}

// headerSecret is that in which an action is shown what it wants to see.
const headerSecret = "X-Require-Whisk-Auth"

func (w *webCall) secret(want string) error {
	if given := w.r.Header.Values(headerSecret); len(given) != 1 || !sameSecret(given[0], want) {
		return refuse(http.StatusUnauthorized, textNoAuth)
	}
	return nil
}

// reserved are the arguments that only we set.
var reserved = []string{"__ow_method", "__ow_headers", "__ow_path", "__ow_user", "__ow_body", "__ow_query"}

// webArguments makes the arguments of a web action of a request: those of the
// query, over them those of the body, and what the request was.
func (d *Door) webArguments(w *webCall) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w.w, w.r.Body, maxPayload))
	if err != nil {
		return nil, err
	}
	args := map[string]json.RawMessage{}
	raw := w.action.Annotations.isTrue("raw-http")
	if raw {
		args["__ow_query"] = quoted(w.r.URL.RawQuery)
		args["__ow_body"] = quoted(bodyText(body, w.r.Header.Get("Content-Type"), true))
	} else if err := w.merge(args, body); err != nil {
		return nil, err
	}
	for name, value := range w.values {
		if args[name] == nil && !slices.Contains(reserved, name) && !w.fixed(name) {
			args[name] = quoted(value)
		}
	}
	args["__ow_method"] = quoted(strings.ToLower(w.r.Method))
	args["__ow_path"] = quoted(w.rest)
	args["__ow_headers"] = w.headers()
	if w.user != "" {
		args["__ow_user"] = quoted(w.user)
	}
	return json.Marshal(args)
}

// fixed reports whether a parameter of the action can't be overridden.
func (w *webCall) fixed(name string) bool {
	have, ok := w.action.Arguments[name]
	return ok && w.action.final && string(have) != "null"
}

// merge adds what the query and the body say.
func (w *webCall) merge(args map[string]json.RawMessage, body []byte) error {
	query, err := url.ParseQuery(w.r.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "The request content was malformed:\n%s", err)
	}
	add := func(key string, value json.RawMessage) error {
		if slices.Contains(reserved, key) {
			return refuse(http.StatusBadRequest, textReserved)
		}
		if w.fixed(key) {
			return refuse(http.StatusBadRequest, textReserved)
		}
		args[key] = value
		return nil
	}
	form := func(values url.Values) error {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if err := add(key, quoted(values[key][len(values[key])-1])); err != nil {
				return err
			}
		}
		return nil
	}
	if err := form(query); err != nil {
		return err
	}
	if len(body) == 0 {
		return nil
	}
	media, _, _ := mime.ParseMediaType(w.r.Header.Get("Content-Type"))
	switch { // others are the action's to read
	case media == "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return refuse(http.StatusBadRequest, "The request content was malformed:\n%s", err)
		}
		return form(values)
	case isJSON(media):
		var value json.RawMessage
		if err := json.Unmarshal(body, &value); err != nil {
			return refuse(http.StatusBadRequest, "The request content was malformed:\n%s", err)
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil || object == nil { // it is no object
			args["__ow_body"] = value
			return nil
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if err := add(key, object[key]); err != nil {
				return err
			}
		}
		return nil
	}
	args["__ow_body"] = quoted(bodyText(body, media, false))
	return nil
}

// headers are those of the request, but for those that prove to us who asks.
func (w *webCall) headers() json.RawMessage {
	headers := map[string]string{"host": w.r.Host}
	for k, v := range w.r.Header {
		if !strings.EqualFold(k, "Authorization") && !strings.EqualFold(k, "Proxy-Authorization") {
			headers[strings.ToLower(k)] = strings.Join(v, ", ")
		}
	}
	b, _ := json.Marshal(headers) // strings always marshal
	return b
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always can be
	return b
}

// bodyText is a body as an action gets it: in base64 where it is not text, and,
// as ever in OpenWhisk, raw where it is JSON.
func bodyText(body []byte, contentType string, raw bool) string {
	media, _, _ := mime.ParseMediaType(contentType)
	if isBinary(media) || raw && media == "application/json" || !utf8.Valid(body) {
		return base64.StdEncoding.EncodeToString(body)
	}
	return string(body)
}

// isJSON reports whether a media type is JSON, or is made of it.
func isJSON(media string) bool {
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// isBinary reports whether a media type is not text.
func isBinary(media string) bool {
	kind, of, _ := strings.Cut(media, "/")
	if isJSON(media) {
		return false
	}
	switch kind {
	case "", "text", "message", "multipart":
		return false
	case "image":
		return of != "svg+xml"
	case "application":
		return !slices.Contains([]string{"xml", "javascript", "x-www-form-urlencoded", "ecmascript", "graphql", "x-javascript", "soap+xml", "rss+xml", "atom+xml", "xhtml+xml", "yaml", "x-yaml", "x-ndjson"}, of) &&
			!strings.HasSuffix(of, "+xml")
	}
	return true
}
