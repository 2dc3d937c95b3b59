package openwhisk

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/ident"
)

// A call is one request on its way through the API.
type call struct {
	w           http.ResponseWriter
	r           *http.Request
	who         rouse.Principal
	user        string // the ID of the key that was shown
	transaction string
	named       bool   // by the client, the transaction
	ns          string // of the path, where it was read ahead
}

// A refusal is an error in OpenWhisk's words.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

// A later is a refusal that ends after so many seconds.
type later struct {
	error
	seconds int64
}

func (e *later) Unwrap() error { return e.error }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// Texts of OpenWhisk's that clients know.
const (
	textNotFound  = "The requested resource does not exist."
	textExists    = "resource already exists"
	textElsewhere = "Resource by this name exists but is not in this collection."
	textChanged   = "Concurrent modification to resource detected."
	textDenied    = "The supplied authentication is not authorized to access this resource."
	textNoAuth    = "The resource requires authentication, which was not supplied with the request"
	textBadAuth   = "The supplied authentication is invalid"
	textReserved  = "Request defines parameters that are not allowed (e.g., reserved properties)."
	textOverload  = "The server is currently unavailable (because it is overloaded or down for maintenance)."
	textInternal  = "There was an internal server error."
)

var errNotFound = &refusal{http.StatusNotFound, textNotFound}

// refusalOf is the one table from Kind to status and text.
func refusalOf(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("Request larger than allowed: %d > %d bytes.", tooLarge.Limit+1, tooLarge.Limit)}
	}
	text := err.Error()
	if e, ok := errors.AsType[*rouse.Error](err); ok {
		text = e.Err.Error()
	}
	switch rouse.KindOf(err) {
	case rouse.Invalid, rouse.NotImplemented:
		return &refusal{http.StatusBadRequest, text}
	case rouse.NotFound:
		return errNotFound
	case rouse.Conflict:
		return &refusal{http.StatusConflict, textChanged}
	case rouse.Denied:
		return &refusal{http.StatusForbidden, textDenied}
	case rouse.Unauthenticated:
		return &refusal{http.StatusUnauthorized, textBadAuth}
	case rouse.Throttled:
		return &refusal{http.StatusTooManyRequests, text}
	case rouse.TooLarge:
		return &refusal{http.StatusRequestEntityTooLarge, text}
	case rouse.Unavailable:
		return &refusal{http.StatusServiceUnavailable, textOverload}
	}
	return &refusal{http.StatusInternalServerError, textInternal}
}

// open serves a request that needs no key.
func (d *Door) open(h func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d.serve(&call{w: w, r: r}, h)
	}
}

func (d *Door) serve(c *call, h func(*call) error) {
	c.transaction, c.named = c.r.Header.Get("X-Request-Id"), true
	if c.transaction == "" || len(c.transaction) > 128 || strings.ContainsFunc(c.transaction, unprintable) {
		c.transaction, c.named = ident.New(), false
	}
	c.header()
	if err := h(c); err != nil {
		d.fail(c, err)
	}
}

// authorized serves a request of somebody who has shown a key.
func (d *Door) authorized(h func(*call) error) http.HandlerFunc {
	return d.open(d.checked(h))
}

func (d *Door) checked(h func(*call) error) func(*call) error {
	return func(c *call) error {
		if c.r.Method == http.MethodOptions {
			return h(c)
		}
		if err := d.authenticate(c); err != nil {
			return err
		}
		return h(c)
	}
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

// header sets what all answers have.
func (c *call) header() {
	h := c.w.Header()
	h["X-Request-Id"] = []string{c.transaction}
	h["Access-Control-Allow-Origin"] = corsOrigin
	h["Access-Control-Allow-Headers"] = corsHeaders
	h["Access-Control-Allow-Methods"] = corsMethods
}

// What browsers of other sites are told; never changed, and so shared by all answers.
var (
	corsOrigin  = []string{"*"}
	corsHeaders = []string{"Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"}
	corsMethods = []string{"GET, DELETE, POST, PUT, HEAD"}
)

// authenticate finds out who asks: by a key, or by what brought the request here.
func (d *Door) authenticate(c *call) error {
	who, user, err := d.authenticated(c.r)
	if err != nil {
		return err
	}
	c.who, c.user = who, user
	return nil
}

func (d *Door) authenticated(r *http.Request) (rouse.Principal, string, error) {
	id, secret, basic := r.BasicAuth()
	at, inside := rouse.PrincipalOf(r.Context())
	if inside && at.Name != "" { // a function, at its own entrance
		return at, id, nil
	}
	if token, ok := bearer(r); ok && !inside { // an operator's is for nobody's code
		who, err := d.Authenticator.Token(r.Context(), token)
		return who, "", err
	}
	if !basic {
		return rouse.Principal{}, "", refuse(http.StatusUnauthorized, textNoAuth)
	}
	who, want, err := d.Subjects.Secret(r.Context(), id)
	if err != nil || subtle.ConstantTimeCompare([]byte(secret), []byte(want)) != 1 {
		return rouse.Principal{}, "", refuse(http.StatusUnauthorized, textBadAuth)
	}
	return who, id, nil
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, ok && strings.EqualFold(scheme, "bearer")
}

// own is the namespace of who asks.
func (c *call) own() rouse.Namespace {
	if c.who.Namespace == "" {
		return rouse.DefaultNamespace
	}
	return c.who.Namespace
}

// namespace is the one that the path names.
func (c *call) namespace() (rouse.Namespace, error) {
	if c.ns != "" {
		return c.resolve(c.ns)
	}
	return c.resolve(c.r.PathValue("ns"))
}

func (c *call) resolve(ns string) (rouse.Namespace, error) {
	if ns == "_" || ns == string(c.own()) {
		return c.own(), nil
	}
	if rouse.CheckName(ns) != nil {
		return "", refuse(http.StatusBadRequest, "The namespace contains illegal characters.")
	}
	return rouse.Namespace(ns), nil
}

// mine is the namespace that the path names, which must be one's own.
func (c *call) mine() (rouse.Namespace, error) {
	ns, err := c.namespace()
	if err == nil && ns != c.own() && !c.who.Operator {
		err = refuse(http.StatusForbidden, textDenied)
	}
	return ns, err
}

// may refuses what who asks may not do with a thing.
func (c *call) may(service, name string, write bool) error {
	if c.who.May(service, rouse.Ref{Namespace: c.own(), Name: name}, write) {
		return nil
	}
	return refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s/%s'.", c.own(), name)
}

// reads refuses who may not see all of a service in the namespace, as a function
// that was granted only some.
func (c *call) reads(service string) error { return c.may(service, "*", false) }

// owner refuses who does not own the namespace, such as a function.
func (c *call) owner() error {
	if c.who.Operator || c.who.Owner {
		return nil
	}
	return refuse(http.StatusForbidden, textDenied)
}

// rest is what follows a collection in the path, decoded.
func (c *call) rest(collection string) string {
	_, name, _ := strings.Cut(c.r.URL.Path, "/namespaces/")
	_, name, _ = strings.Cut(name, "/"+collection+"/")
	return name
}

// Bounds of requests: maxBody of those with code, of 48 MB in base64 and what is
// around it, and maxEntity of others. Bytes.
const (
	maxBody   = 72 << 20
	maxEntity = 2*maxPairsText + 1<<20
)

// read decodes the body, bounded by most bytes, into v.
func (c *call) read(v any, most int64) error {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		if r, ok := errors.AsType[*refusal](err); ok {
			return r
		}
		return refuse(http.StatusBadRequest, "The request content was malformed:\n%s", jsonReason(err))
	}
	return nil
}

// textNoObject is OpenWhisk's word for a body of another form.
const textNoObject = "JSON object expected"

// jsonReason names the field that is wrong, where it is one.
func jsonReason(err error) string {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return err.Error()
	case e.Field == "":
		return textNoObject
	}
	given, _, _ := strings.Cut(e.Value, " ") // a number says which it is
	return fmt.Sprintf("%s is %s, %s is wanted", e.Field, article(given), article(wordOf(e.Type)))
}

// wordOf is what JSON calls what a Go type holds.
func wordOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wordOf(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Struct, reflect.Map:
		return "object"
	}
	return "whole number"
}

func article(word string) string {
	switch word {
	case "array", "object":
		return "an " + word
	case "bool":
		return "a boolean"
	}
	return "a " + word
}

// answer writes v as JSON.
func (c *call) answer(status int, v any) error {
	b, err := encoded(v)
	if err != nil {
		return err
	}
	c.write(status, b)
	return nil
}

func encoded(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

var typeJSON = []string{"application/json"}

// write answers with JSON.
func (c *call) write(status int, body []byte) {
	h := c.w.Header()
	h["Content-Type"] = typeJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // an error is the connection's
	}
}

// An errorBody is what a refusal looks like; clients want both fields.
type errorBody struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

// fail answers with err, or logs it where only the operator may see it.
func (d *Door) fail(c *call, err error) {
	r := refusalOf(err)
	if r.status == http.StatusInternalServerError {
		d.Log.Error("internal error", "transaction", c.transaction, "method", c.r.Method, "path", c.r.URL.Path, "error", err)
	}
	h := c.w.Header()
	switch r.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="OpenWhisk secure realm"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
		if e, ok := errors.AsType[*later](err); ok {
			h.Set("Retry-After", strconv.FormatInt(e.seconds, 10))
		}
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close")
	}
	_ = c.answer(r.status, errorBody{r.text, c.transaction})
}

func (d *Door) refusePath(*call) error { return errNotFound }

// other answers what browsers ask before a request from another site, and
// refuses what there is not.
func (d *Door) other(c *call) error {
	if c.r.Method == http.MethodOptions {
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	_, rest, _ := strings.Cut(c.r.URL.Path, "/namespaces/")
	_, rest, _ = strings.Cut(rest, "/")
	collection, name, _ := strings.Cut(rest, "/")
	switch {
	case !slices.Contains(collections, collection):
		return errNotFound
	case name == "" || collection == "activations" || collection == "limits":
		return refuse(http.StatusMethodNotAllowed, "HTTP method not allowed, supported methods: GET")
	}
	return refuse(http.StatusMethodNotAllowed, "HTTP method not allowed, supported methods: GET, PUT, POST, DELETE")
}

var collections = []string{"actions", "activations", "limits", "packages", "rules", "triggers"}
