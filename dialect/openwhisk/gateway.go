package openwhisk

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

// An api is what "wsk api" makes: paths below a base path that lead to web
// actions, written down as Swagger 2.0.
type api struct {
	Doc     json.RawMessage `json:"doc"`
	Updated int64           `json:"updated"`

	parsed swaggerDoc
}

// UnmarshalJSON reads an api and what its document says.
func (a *api) UnmarshalJSON(b []byte) error {
	type plain api
	if err := json.Unmarshal(b, (*plain)(a)); err != nil {
		return err
	}
	return json.Unmarshal(a.Doc, &a.parsed)
}

// A swaggerDoc is as much of a document as we understand.
type swaggerDoc struct {
	Swagger  string                                `json:"swagger"`
	BasePath string                                `json:"basePath"`
	Info     swaggerInfo                           `json:"info"`
	Paths    map[string]map[string]json.RawMessage `json:"paths"`
}

type swaggerInfo struct {
	Title   string `json:"title"`
	Version string `json:"version"`
}

type swaggerOperation struct {
	ID        string          `json:"operationId"`
	Responses json.RawMessage `json:"responses"`
	To        *swaggerTarget  `json:"x-openwhisk,omitempty"`
}

type swaggerTarget struct {
	Namespace string `json:"namespace"`
	Package   string `json:"package"`
	Action    string `json:"action"`
	URL       string `json:"url"`

	// Secret is what the action wants to be shown, text or a number.
	Secret json.RawMessage `json:"secureKey,omitempty"`
}

// secret is what the action is shown, "" where that is nothing.
func (t *swaggerTarget) secret() string {
	var s string
	if json.Unmarshal(t.Secret, &s) != nil {
		return string(t.Secret)
	}
	return s
}

// verbs are the methods that a path may have.
var verbs = []string{"get", "put", "post", "delete", "options", "head", "patch"}

// operation returns what a path does with a method; nil where it has none.
func (s *swaggerDoc) operation(path, verb string) *swaggerOperation {
	raw, ok := s.Paths[path][verb]
	if !ok {
		return nil
	}
	var o swaggerOperation
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return &o
}

// manage answers the web actions of the system that "wsk api" asks.
func (d *Door) manage(c *call) error {
	if err := d.authenticate(c); err != nil {
		return err
	}
	if err := c.owner(); err != nil {
		return err
	}
	var err error
	switch name := strings.TrimSuffix(c.r.PathValue("name"), exts[0]); {
	case name == "createApi" && c.r.Method == http.MethodPost:
		err = d.createAPI(c)
	case name == "getApi" && c.r.Method == http.MethodGet:
		err = d.getAPIs(c)
	case name == "deleteApi" && c.r.Method == http.MethodDelete:
		err = d.deleteAPI(c)
	default:
		return errNotFound
	}
	if r := (*refusal)(nil); errors.As(err, &r) && r.status == http.StatusBadGateway { // as from an action that says no
		return c.answer(r.status, map[string]string{"error": r.text})
	}
	return err
}

func badGateway(format string, args ...any) error {
	return refuse(http.StatusBadGateway, format, args...)
}

// An apiBody is what "wsk api create" puts.
type apiBody struct {
	Doc struct {
		Name       string          `json:"apiName"`
		BasePath   string          `json:"gatewayBasePath"`
		Path       string          `json:"gatewayPath"`
		Method     string          `json:"gatewayMethod"`
		Swagger    string          `json:"swagger"`
		Parameters json.RawMessage `json:"pathParameters"`
		Action     *struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			URL       string `json:"backendUrl"`

			Secret json.RawMessage `json:"secureKey"`
		} `json:"action"`
	} `json:"apidoc"`
}

func (d *Door) createAPI(c *call) error {
	var in apiBody
	if err := c.read(&in, maxEntity); err != nil {
		return err
	}
	ns := c.own()
	defer d.locks.hold("api " + string(ns))()
	if in.Doc.Swagger != "" {
		return d.importAPI(c, ns, in.Doc.Swagger)
	}
	base, verb := in.Doc.BasePath, strings.ToLower(in.Doc.Method)
	switch {
	case !strings.HasPrefix(base, "/") || !strings.HasPrefix(in.Doc.Path, "/"):
		return badGateway("the base path and the path begin with /")
	case !slices.Contains(verbs, verb):
		return badGateway("'%s' is not a valid API verb. Valid values are: %s", in.Doc.Method, strings.Join(verbs, ", "))
	case in.Doc.Action == nil:
		return badGateway("apidoc is missing the action field")
	}
	p, err := parseQualified(ns, "/"+in.Doc.Action.Namespace+"/"+in.Doc.Action.Name)
	if err == nil {
		_, err = d.exported(c, ns, p)
	}
	if err != nil {
		return err
	}
	a, revision, _, err := d.apis.get(c.r.Context(), ns, base)
	if err != nil {
		return err
	}
	doc := map[string]any{"swagger": "2.0", "basePath": base, "info": map[string]any{"title": base, "version": "1.0.0"}, "paths": map[string]any{}}
	if a.Doc != nil {
		if err := json.Unmarshal(a.Doc, &doc); err != nil {
			return err
		}
	}
	if in.Doc.Name != "" {
		doc["info"] = map[string]any{"title": in.Doc.Name, "version": "1.0.0"}
	}
	paths := object(doc, "paths")
	at := object(paths, in.Doc.Path)
	at[verb] = map[string]any{
		"operationId": operationID(verb, in.Doc.Path), "responses": map[string]any{"default": map[string]any{"description": "Default response"}},
		"x-openwhisk": swaggerTarget{string(p.ns), cmp.Or(p.pack, "default"), p.name, in.Doc.Action.URL, in.Doc.Action.Secret},
	}
	if len(in.Doc.Parameters) > 2 {
		at["parameters"] = in.Doc.Parameters
	}
	return d.putAPI(c, ns, base, doc, revision)
}

// object is the one at a key of m, which is made where there is none.
func object(m map[string]any, key string) map[string]any {
	o, ok := m[key].(map[string]any)
	if !ok {
		o = map[string]any{}
		m[key] = o
	}
	return o
}

var notLetter = regexp.MustCompile(`[^A-Za-z0-9]+(.?)`)

// operationID names an operation: getUsersId.
func operationID(verb, path string) string {
	return verb + notLetter.ReplaceAllStringFunc(path, func(s string) string { return strings.ToUpper(strings.Trim(s, "/{}-_.~ ")) })
}

// importAPI stores a document that a user wrote. Each operation says where it
// leads.
func (d *Door) importAPI(c *call, ns rouse.Namespace, text string) error {
	var doc map[string]any
	var parsed swaggerDoc
	if err := errors.Join(json.Unmarshal([]byte(text), &doc), json.Unmarshal([]byte(text), &parsed)); err != nil {
		return badGateway("the swagger document is not JSON: %v", err)
	}
	if !strings.HasPrefix(parsed.BasePath, "/") {
		return badGateway("swagger is missing the basePath field")
	}
	if parsed.Info.Title == "" || len(parsed.Paths) == 0 {
		return badGateway("swagger is missing the info.title or the paths field")
	}
	for path, item := range parsed.Paths {
		for verb := range item {
			if !slices.Contains(verbs, verb) {
				continue
			}
			o := parsed.operation(path, verb)
			if o == nil || o.To == nil || o.To.Action == "" {
				return badGateway("swagger: %s %s has no x-openwhisk that names its action", verb, path)
			}
			if _, err := d.exported(c, ns, o.To.path(ns)); err != nil {
				return err
			}
		}
	}
	_, revision, _, err := d.apis.get(c.r.Context(), ns, parsed.BasePath)
	if err != nil {
		return err
	}
	return d.putAPI(c, ns, parsed.BasePath, doc, revision)
}

func (t *swaggerTarget) path(own rouse.Namespace) path {
	p := path{own, t.Package, t.Action}
	if t.Namespace != "_" && t.Namespace != "" {
		p.ns = rouse.Namespace(t.Namespace)
	}
	if p.pack == "default" {
		p.pack = ""
	}
	return p
}

// exported is the web action of a path.
func (d *Door) exported(c *call, ns rouse.Namespace, p path) (*action, error) {
	a, err := d.find(c.r.Context(), ns, p)
	if err != nil {
		return nil, badGateway("API action '/%s' does not exist", p)
	}
	if !a.exported() {
		return nil, badGateway("API action '/%s' is not a web action. Issue 'wsk action update \"%s\" --web true' to convert the action to a web action.", p, p.name)
	}
	return a, nil
}

func (d *Door) putAPI(c *call, ns rouse.Namespace, base string, doc map[string]any, revision int64) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if len(raw) > maxPairs {
		return refuse(http.StatusRequestEntityTooLarge, "API larger than allowed: %d > %d bytes.", len(raw), maxPairs)
	}
	a := api{Doc: raw, Updated: d.millis()}
	if err := d.apis.put(c.r.Context(), ns, base, a, revision); err != nil {
		return err
	}
	return c.answer(http.StatusOK, d.seenAPI(c, a, ns, base))
}

// An apiSeen is an api as clients see it.
type apiSeen struct {
	Namespace string          `json:"namespace"`
	URL       string          `json:"gwApiUrl"`
	Active    bool            `json:"gwApiActivated"`
	Tenant    string          `json:"tenantId"`
	Doc       json.RawMessage `json:"apidoc"`
}

// prefixGateway is that of the paths that apis answer at.
const prefixGateway = "/api/gw/"

// seenAPI shows an api.
func (d *Door) seenAPI(c *call, a api, ns rouse.Namespace, base string) apiSeen {
	at := "http://" + c.r.Host
	if _, inside := rouse.PrincipalOf(c.r.Context()); inside { // where nobody else comes to that host
		at = strings.TrimSuffix(d.URL, "/")
	} else if c.r.TLS != nil {
		at = "https://" + c.r.Host
	}
	return apiSeen{string(ns), at + prefixGateway + string(ns) + base, true, string(ns), a.Doc}
}

// asked are the apis that a query picks, by base path: basepath is that, or the
// name of an api.
func (d *Door) asked(c *call) (names []string, all map[string]stored[api], err error) {
	all = map[string]stored[api]{}
	want := c.r.URL.Query().Get("basepath")
	for s, err := range d.apis.each(c.r.Context(), c.own()) {
		if err != nil {
			return nil, nil, err
		}
		if want == "" || want == s.name || want == s.value.parsed.Info.Title {
			all[s.name] = s
		}
	}
	return slices.Sorted(maps.Keys(all)), all, nil
}

func (d *Door) getAPIs(c *call) error {
	names, all, err := d.asked(c)
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	skip, _ := strconv.Atoi(q.Get("skip"))
	names = names[min(max(skip, 0), len(names)):]
	if limit, _ := strconv.Atoi(q.Get("limit")); limit > 0 {
		names = names[:min(limit, len(names))]
	}
	list := []map[string]any{}
	for _, base := range names {
		a := all[base].value
		if !a.has(q.Get("relpath"), q.Get("operation")) {
			continue
		}
		list = append(list, map[string]any{"id": "API:" + string(c.own()) + ":" + base, "key": base, "value": d.seenAPI(c, a, c.own(), base)})
	}
	return c.answer(http.StatusOK, map[string]any{"apis": list})
}

// has reports whether an api has a path, and a method at it; "" is any.
func (a api) has(path, verb string) bool {
	if path == "" {
		return true
	}
	at, ok := a.parsed.Paths[path]
	if !ok || verb == "" {
		return ok
	}
	_, ok = at[strings.ToLower(verb)]
	return ok
}

func (d *Door) deleteAPI(c *call) error {
	q := c.r.URL.Query()
	defer d.locks.hold("api " + string(c.own()))()
	names, all, err := d.asked(c)
	if err != nil {
		return err
	}
	if q.Get("basepath") == "" || len(names) == 0 {
		return badGateway("API '%s' does not exist", q.Get("basepath"))
	}
	path, verb := q.Get("relpath"), strings.ToLower(q.Get("operation"))
	for _, base := range names {
		a := all[base]
		if !a.value.has(path, verb) {
			return badGateway("API '%s' has no operation at '%s' with verb '%s'", base, path, verb)
		}
		if err := d.shrink(c, base, a, path, verb); err != nil {
			return err
		}
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// shrink takes a method, a path or all away from an api.
func (d *Door) shrink(c *call, base string, a stored[api], path, verb string) error {
	var doc map[string]any
	if err := json.Unmarshal(a.value.Doc, &doc); err != nil {
		return err
	}
	paths := object(doc, "paths")
	if path != "" {
		at := object(paths, path)
		delete(at, verb)
		if verb == "" || !slices.ContainsFunc(verbs, func(v string) bool { return at[v] != nil }) {
			delete(paths, path)
		}
	}
	if path == "" || len(paths) == 0 {
		return d.apis.remove(c.r.Context(), c.own(), base, a.revision)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return d.apis.put(c.r.Context(), c.own(), base, api{Doc: raw, Updated: d.millis()}, a.revision)
}

// gateway leads a request to the web action that an api has for it.
func (d *Door) gateway(c *call) error {
	ns, rest, _ := strings.Cut(after(c.r.URL, prefixGateway), "/")
	ns = decoded([]string{ns})[0]
	plain := "/" + strings.Join(decoded(strings.Split(rest, "/")), "/")
	rest = "/" + rest
	if err := d.admitted(c, rouse.Namespace(ns)); err != nil {
		return err
	}
	var found stored[api]
	for s, err := range d.apis.each(c.r.Context(), rouse.Namespace(ns)) { // the longest
		if err != nil {
			return err
		}
		if len(s.name) >= len(found.name) && (plain == s.name || strings.HasPrefix(plain, strings.TrimSuffix(s.name, "/")+"/")) {
			found = s
		}
	}
	base := found.name
	if base == "" {
		return refuse(http.StatusNotFound, "Error: Whoops. Verify your URI.")
	}
	for range strings.Count(strings.TrimSuffix(base, "/"), "/") {
		_, rest, _ = strings.Cut(rest[1:], "/")
		rest = "/" + rest
	}
	doc := found.value.parsed
	template, values := matched(doc.Paths, rest)
	if template == "" {
		return refuse(http.StatusNotFound, "Error: Whoops. Verify your URI.")
	}
	o := doc.operation(template, strings.ToLower(c.r.Method))
	switch {
	case o == nil && c.r.Method == http.MethodOptions:
		c.cors()
		c.w.WriteHeader(http.StatusOK)
		return nil
	case o == nil || o.To == nil:
		return refuse(http.StatusMethodNotAllowed, "Error: Whoops. Verify your method.")
	}
	w := &webCall{call: c, ext: extOf(o.To.URL)}
	if len(values) > 0 {
		w.rest, w.values = rest, values
	}
	action, err := d.find(c.r.Context(), rouse.Namespace(ns), o.To.path(rouse.Namespace(ns)))
	if w.action = action; err != nil || !w.action.exported() {
		return badGateway("the action of this API does not exist, or is no web action any more")
	}
	if who, _, err := d.authenticated(c.r); err == nil {
		w.user = string(who.Namespace)
	}
	if secret := o.To.secret(); secret != "" {
		c.r.Header.Set(headerSecret, secret)
	}
	if err := w.admit(); err != nil {
		c.cors()
		return err
	}
	return d.serveWeb(w)
}

// extOf is how the URL of a web action has its result become an answer.
func extOf(backend string) string {
	if u, err := url.Parse(backend); err == nil {
		for _, ext := range exts {
			if strings.HasSuffix(u.Path, ext) {
				return ext
			}
		}
	}
	return exts[0]
}

// matched finds the template that fits a path, as it came, best, and what its
// parameters are: the one with the most pieces that are no parameters.
func matched(paths map[string]map[string]json.RawMessage, path string) (template string, values map[string]string) {
	pieces := decoded(strings.Split(strings.Trim(path, "/"), "/"))
	best := -1
	for _, t := range slices.Sorted(maps.Keys(paths)) {
		want := strings.Split(strings.Trim(t, "/"), "/")
		if len(want) != len(pieces) {
			continue
		}
		got, plain, ok := map[string]string{}, 0, true
		for i, piece := range want {
			if name, is := parameter(piece); is && pieces[i] != "" {
				got[name] = pieces[i]
			} else if ok = ok && piece == pieces[i]; ok {
				plain++
			}
		}
		if ok && plain > best {
			template, values, best = t, got, plain
		}
	}
	return template, values
}

func parameter(piece string) (string, bool) {
	name, ok := strings.CutPrefix(piece, "{")
	name, closed := strings.CutSuffix(name, "}")
	return name, ok && closed && name != ""
}
