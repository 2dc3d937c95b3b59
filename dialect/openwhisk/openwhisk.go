// Package openwhisk is the API of Apache OpenWhisk: what wsk, the OpenWhisk
// client libraries, wskdeploy and Composer ask for, under /api/v1.
//
// An action is a Function, whose Notes hold what only OpenWhisk knows of it; a
// trigger is an event.Trigger; packages and rules are documents of their own.
// What was deployed natively is seen here as well, and the other way round.
package openwhisk

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// Name is the key of OpenWhisk's Notes, and its contract's name.
const Name = openwhisk.Name

// The contracts of functions that a Door itself answers for.
const (
	contractSequence  = "openwhisk-sequence"
	contractConductor = "openwhisk-conductor"
	contractTrigger   = "openwhisk-trigger"
	contractSystem    = "openwhisk-system" // what systemNamespace has besides code: feeds, and what only the Door knows
)

// Config bounds what the API takes. The zero value is fit for use.
type Config struct {
	Log    *slog.Logger     // nil discards
	Now    func() time.Time // nil is time.Now
	Wait   time.Duration    // how long a blocking invocation waits; 0 is 60 s
	Build  string           // names the build to clients that ask
	Memory int64            // bytes that an action may ask for; 0 is 4 GB
	URL    string           // of the server as others reach it, such as https://rouse.example.com; GitHub is told
	GitHub string           // URL of GitHub's API; "" is DefaultGitHub
}

// Services are what the API stands on.
type Services struct {
	rouse.Services
	Compiler rouse.Compiler
	Direct   rouse.Invoker // runs a function's own code also where the Door answers for it
	Meta     rouse.Meta
	Blobs    rouse.Blobs
	Subjects rouse.Subjects
	Rules    event.Rules
	Control  event.Control
	Streams  data.Streams // nil is none
}

// A Door serves the API, and answers for the functions that OpenWhisk composes
// of others. Concurrent calls are safe once Use was called.
type Door struct {
	Config
	Services
	mux      *http.ServeMux
	packages documents[pack]
	rules    documents[rule]
	apis     documents[api]
	feeds    documents[feed]
	actions  actions
	system   system
	ours     *http.Client // for the GitHub that the operator named
	theirs   *http.Client // for those that users name
	throttle throttle
	invoke   func(*call) error
	locks    locks

	unpacking room
}

// New returns a Door. Use must be called before it is asked for anything.
func New(c Config) *Door {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wait == 0 {
		c.Wait = time.Minute
	}
	if c.Memory == 0 {
		c.Memory = 4 << 30
	}
	c.GitHub = strings.TrimSuffix(cmp.Or(c.GitHub, DefaultGitHub), "/")
	d := &Door{Config: c, mux: http.NewServeMux(), unpacking: make(room, maxUnpacked)}
	d.throttle.now = c.Now
	d.ours, d.theirs = operators(), outsider()
	d.invoke = d.checked(d.invokeAction)
	d.routes()
	return d
}

// Use says what the Door stands on.
func (d *Door) Use(s Services) {
	d.Services = s
	d.packages = documents[pack]{meta: s.Meta, kind: "openwhisk.package", prepare: d.prepare}
	d.rules = documents[rule]{meta: s.Meta, kind: "openwhisk.rule"}
	d.apis = documents[api]{meta: s.Meta, kind: "openwhisk.api"}
	d.feeds = documents[feed]{meta: s.Meta, kind: "openwhisk.feed"}
}

// Handlers are those of the contracts that the Door answers for.
func (d *Door) Handlers() map[string]rouse.Handler {
	return map[string]rouse.Handler{
		contractSequence:  handler(d.runSequence),
		contractConductor: handler(d.runConductor),
		contractTrigger:   handler(d.runTrigger),
		contractSystem:    handler(d.runSystem),
	}
}

// Contracts are those that actions are written for, by name.
func Contracts() map[string]rouse.Contract {
	return map[string]rouse.Contract{Name: openwhisk.Contract{}, contractConductor: openwhisk.Contract{}}
}

// routes are the paths of the API.
func (d *Door) routes() {
	for path, h := range d.operations() {
		d.mux.HandleFunc(path, d.authorized(h))
	}
	for path, h := range map[string]func(*call) error{
		"GET /{$}":        d.getServer,
		"GET /api/v1":     d.getAPI,
		"GET /api/v1/{$}": d.getAPI,
		prefixWeb:         d.web,
		prefixWeb + "whisk.system/apimgmt/{name}": d.manage,
		"GET /ping":            d.ping,
		"GET /api/v1/api-docs": d.getSwagger,
		"GET /api/v1/docs":     d.getDocs,
		"GET /invokers":        d.getInvokers,
		"GET /invokers/{$}":    d.getInvokers,
		"/api/":                d.refusePath,
		"/invokers/":           d.refusePath,

		"GET /invokers/healthy/count": d.countInvokers,
		"GET /invokers/ready":         d.getReady,
	} {
		d.mux.HandleFunc(path, d.open(h))
	}
}

// operations are what those ask for who have shown a key, by pattern.
func (d *Door) operations() map[string]func(*call) error {
	const ns = "/api/v1/namespaces/{ns}"
	return map[string]func(*call) error{
		"GET /api/v1/namespaces":      d.listNamespaces,
		"GET /api/v1/namespaces/{$}":  d.listNamespaces,
		"GET " + ns + "/limits":       reading("function", d.getLimits),
		"GET " + ns + "/actions":      reading("function", d.listActions),
		"GET " + ns + "/actions/{$}":  reading("function", d.listActions),
		"GET " + ns + "/actions/":     d.getAction,
		"PUT " + ns + "/actions/":     d.putAction,
		"DELETE " + ns + "/actions/":  d.deleteAction,
		"POST " + ns + "/actions/":    d.invokeAction,
		"GET " + ns + "/packages":     reading("function", d.listPackages),
		"GET " + ns + "/packages/{$}": reading("function", d.listPackages),
		"GET " + ns + "/packages/":    reading("function", d.getPackage),
		"PUT " + ns + "/packages/":    d.putPackage,
		"DELETE " + ns + "/packages/": d.deletePackage,
		"GET " + ns + "/triggers":     reading("trigger", d.listTriggers),
		"GET " + ns + "/triggers/{$}": reading("trigger", d.listTriggers),
		"GET " + ns + "/triggers/":    d.getTrigger,
		"PUT " + ns + "/triggers/":    d.putTrigger,
		"DELETE " + ns + "/triggers/": d.deleteTrigger,
		"POST " + ns + "/triggers/":   d.fireTrigger,
		"GET " + ns + "/rules":        reading("function", d.listRules),
		"GET " + ns + "/rules/{$}":    reading("function", d.listRules),
		"GET " + ns + "/rules/":       reading("function", d.getRule),
		"PUT " + ns + "/rules/":       d.putRule,
		"DELETE " + ns + "/rules/":    d.deleteRule,
		"POST " + ns + "/rules/":      d.setRuleStatus,
		"GET " + ns + "/activations":  reading("function", d.listActivations),
		"GET " + ns + "/activations/": reading("function", d.getActivation),
		"/api/v1/namespaces/":         d.other,
		ns + "/actions":               d.other, // or else "/actions/" would be asked for instead
		ns + "/packages":              d.other,
		ns + "/triggers":              d.other,
		ns + "/rules":                 d.other,
		ns + "/activations":           d.other,
	}
}

// reading is h for those who may read all of a service.
func reading(service string, h func(*call) error) func(*call) error {
	return func(c *call) error {
		if err := c.reads(service); err != nil {
			return err
		}
		return h(c)
	}
}

// ServeHTTP implements http.Handler. Invocations, which are what is asked for
// most, need not be looked for among the patterns.
// The paths of web actions, and of APIs, are theirs, and so not to be cleaned.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, prefixGateway) {
		d.serve(&call{w: w, r: r}, d.gateway)
		return
	}
	if strings.HasPrefix(r.URL.Path, prefixWeb) && !strings.HasPrefix(r.URL.Path, prefixWeb+"whisk.system/apimgmt/") {
		d.serve(&call{w: w, r: r}, d.web)
		return
	}
	if r.Method == http.MethodPost {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/"); ok {
			ns, rest, _ := strings.Cut(rest, "/")
			if name, ok := strings.CutPrefix(rest, "actions/"); ok && rouse.CheckFunction(name) == nil {
				d.serve(&call{w: w, r: r, ns: ns}, d.invoke)
				return
			}
		}
	}
	d.mux.ServeHTTP(w, r)
}

// Paths returns the paths that are the API's own, with all below.
func Paths() []string { return []string{"/api", "/ping", "/invokers"} }
