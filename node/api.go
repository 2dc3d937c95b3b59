package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/dialect/native"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/dialect/openwhisk"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/sandbox/process"
)

// Bounds of what one instance may ask for; the sandbox bounds its connections.
const (
	apiHeader = 16 << 10 // bytes
	apiBodies = 32 << 20 // bytes of all bodies that are held in memory at once
	apiBody   = 8 << 20  // what a body counts whose length is not told
	apiSlow   = 10 * time.Second
	apiIdle   = 2 * time.Minute // longer than clients keep a connection that they don't use
	maxHops   = 16              // activations in a row; the rules' own bound is the same
)

// An operation is what functions may ask for of what the native API has. All
// others are refused: they are the operator's.
type operation struct {
	method  string
	plural  string // of the service, as paths have it
	op      string // what follows the name in a path; "" is the thing itself
	service string
	write   bool
}

var operations = []operation{
	{"GET", "buckets", "", "bucket", false},
	{"GET", "buckets", "objects", "bucket", false}, // the list
	{"GET", "buckets", "objects/", "bucket", false},
	{"HEAD", "buckets", "objects/", "bucket", false},
	{"PUT", "buckets", "objects/", "bucket", true},
	{"DELETE", "buckets", "objects/", "bucket", true},
	{"GET", "queues", "", "queue", false},
	{"GET", "queues", "messages", "queue", false},
	{"POST", "queues", "messages", "queue", true},
	{"POST", "queues", "receive", "queue", false}, // to read a queue is to take from it
	{"POST", "queues", "delete", "queue", false},
	{"POST", "queues", "extend", "queue", false},
	{"GET", "streams", "", "stream", false},
	{"GET", "streams", "shards", "stream", false},
	{"GET", "streams", "records", "stream", false},
	{"POST", "streams", "records", "stream", true},
	{"GET", "tables", "", "table", false},
	{"POST", "tables", "get", "table", false},
	{"POST", "tables", "query", "table", false},
	{"POST", "tables", "scan", "table", false},
	{"POST", "tables", "put", "table", true},
	{"POST", "tables", "update", "table", true},
	{"POST", "tables", "delete", "table", true},
	{"POST", "functions", "invoke", "function", true},
	{"POST", "functions", "batch", "function", true},
	{"POST", "triggers", "fire", "trigger", true},
}

// asked finds the operation of a request and the name of what it is about. The
// name has no character that a path could hide: the API reads the same one.
func asked(r *http.Request) (operation, string, bool) {
	parts := strings.SplitN(r.URL.EscapedPath(), "/", 6)
	if len(parts) < 4 || parts[0] != "" || parts[1] != "v1" || rouse.CheckName(parts[3]) != nil || len(parts) == 5 && parts[4] == "" {
		return operation{}, "", false
	}
	op := strings.Join(parts[4:min(5, len(parts))], "")
	if len(parts) == 6 {
		op += "/"
	}
	for _, o := range operations {
		if o.method == r.Method && o.plural == parts[2] && o.op == op {
			return o, parts[3], true
		}
	}
	return operation{}, "", false
}

// An entrance is one instance's way to the API.
type entrance struct {
	pass    rouse.Authenticator
	action  bool // OpenWhisk's API is there as it is from outside
	owner   bool // and the instance's token is its namespace's key to it
	running func() (id string, hops int)
	next    func() http.Handler
	bodies  *semaphore.Weighted
	log     *slog.Logger
}

// access makes the entrance of a new instance of f, where that is allowed
// anything or is an action. It implements pool.Config.Access.
func (n *Node) access(f rouse.Function, running func() (id string, hops int)) (*rouse.Access, error) {
	action, _ := openwhisk.Inside(f)
	if len(f.Allow) == 0 && !(action && n.processes.Isolation() == process.Namespaces) {
		return nil, nil
	}
	e, token, err := n.entrance(f, running)
	if err != nil {
		return nil, err
	}
	if len(f.Allow) == 0 {
		token = "" // there is nothing that it would open
	}
	return &rouse.Access{Token: token, Serve: e.serve}, nil
}

func (n *Node) entrance(f rouse.Function, running func() (id string, hops int)) (e *entrance, token string, err error) {
	p := rouse.Principal{Name: "function:" + f.Ref.String(), Namespace: f.Namespace}
	for _, text := range f.Allow {
		g, err := rouse.ParseGrant(text)
		if err != nil {
			return nil, "", fmt.Errorf("boot %s: %w", f.Ref, err)
		}
		if openwhisk.Foreign(f) { // whoever bound its package has granted nothing else
			if g.Read = false; !g.Write || g.Service != "function" && g.Service != "trigger" {
				continue
			}
		}
		p.Grants = append(p.Grants, g)
	}
	e = &entrance{running: running, next: func() http.Handler { return n.handler }, bodies: semaphore.NewWeighted(apiBodies), log: n.Log}
	e.action, e.owner = openwhisk.Inside(f)
	e.pass, token = auth.NewPass(p)
	return e, token, nil
}

// serve answers until l is closed and what runs has ended.
func (e *entrance) serve(l net.Listener) {
	var open sync.WaitGroup
	s := &http.Server{Handler: e, ReadHeaderTimeout: apiSlow, IdleTimeout: apiIdle, MaxHeaderBytes: apiHeader,
		ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed, http.StateHijacked:
				open.Done()
			}
		}}
	_ = s.Serve(l) // the listener was closed: nothing else ends it
	_ = s.Close()
	open.Wait()
}

// ServeHTTP implements http.Handler.
func (e *entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, o, err := e.admit(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if o.op != "objects/" { // all else is read into memory
		size := r.ContentLength
		if size < 0 {
			size = apiBody
			r.Body = http.MaxBytesReader(w, r.Body, apiBody)
		}
		size = min(size, apiBodies)
		if err := e.bodies.Acquire(r.Context(), size); err != nil {
			return // it hung up
		}
		defer e.bodies.Release(size)
	}
	e.next().ServeHTTP(w, r.WithContext(rouse.WithPrincipal(r.Context(), p)))
}

// admit finds out who asks, and whether he may. It makes r one about his
// namespace.
func (e *entrance) admit(r *http.Request) (p rouse.Principal, o operation, err error) {
	const op = "ask the platform"
	p, err = e.pass.Token(r.Context(), shown(r))
	if e.action && strings.HasPrefix(r.URL.Path, openwhisk.PathAPI) {
		return e.relayed(p, err == nil), o, nil
	}
	if err != nil {
		return p, o, err
	}
	if strings.HasPrefix(r.URL.Path, whiskPath) { // it checks what each may
		p.Activation, p.Hops = e.running()
		return p, o, nil
	}
	o, name, ok := asked(r)
	if !ok {
		return p, o, rouse.Errorf(rouse.Denied, op, r.URL.Path, "a function can't ask for %s %s", r.Method, r.URL.Path)
	}
	q := r.URL.Query()
	if ns := q.Get("namespace"); ns != "" && ns != string(p.Namespace) || len(q["namespace"]) > 1 {
		return p, o, rouse.Errorf(rouse.Denied, op, name, "a function has its own namespace, %s, and no other", p.Namespace)
	}
	q.Set("namespace", string(p.Namespace))
	if !p.May(o.service, rouse.Ref{Namespace: p.Namespace, Name: name}, o.write) {
		g := rouse.Grant{Service: o.service, Name: name, Read: !o.write, Write: o.write}
		return p, o, rouse.Errorf(rouse.Denied, op, name, "%s is not allowed that; deploy it with allow %q", p.Name, g)
	}
	u := *r.URL
	u.RawQuery = q.Encode()
	r.URL = &u
	p.Activation, p.Hops = e.running()
	return p, o, nil
}

// relayed is who asks OpenWhisk's API from inside an action: p, where it has shown
// the instance's token, and else nobody, of whom that API wants to see a key.
func (e *entrance) relayed(p rouse.Principal, own bool) rouse.Principal {
	if !own {
		p = rouse.Principal{}
	}
	p.Owner = own && e.owner
	p.Activation, p.Hops = e.running()
	return p
}

// whiskPath is where functions that are no actions may ask OpenWhisk's API.
const whiskPath = "/api/v1/namespaces/"

// shown is the token of a request, which is a password to some clients.
func shown(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return token
}

// refuse answers as the API does.
func refuse(w http.ResponseWriter, err error) {
	e, status := wire.Error{Kind: rouse.KindOf(err).String(), Message: err.Error()}, http.StatusForbidden
	if rouse.KindOf(err) == rouse.Unauthenticated {
		status = http.StatusUnauthorized
	}
	body, _ := json.Marshal(wire.ErrorBody{Error: e}) // strings always marshal
	w.Header().Set("Content-Type", wire.JSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error is the connection's
}

// asFunctions lets s be asked by functions too: they were authenticated at
// their entrance, and what they lead to names the activation that asked.
func asFunctions(s native.Services) native.Services {
	s.Authenticator = auth.Known{Next: s.Authenticator}
	s.Invoker = causedInvoker{s.Invoker}
	s.Acceptor = causedAcceptor{s.Acceptor}
	return s
}

// cause adds to in what asked for it. Errors: Throttled where functions seem to
// call each other without end.
func cause(ctx context.Context, in *rouse.Invocation) error {
	c := event.CauseOf(ctx)
	if c == (event.Cause{}) {
		return nil
	}
	if c.Hops >= maxHops {
		return rouse.Errorf(rouse.Throttled, "invoke", in.Function.String(), "%d activations in a row led here: functions seem to call each other without end", c.Hops)
	}
	in.Cause, in.Hops = c.ID, c.Hops
	return nil
}

type causedInvoker struct{ rouse.Invoker }

// Invoke implements rouse.Invoker.
func (c causedInvoker) Invoke(ctx context.Context, in rouse.Invocation) (rouse.Activation, error) {
	if err := cause(ctx, &in); err != nil {
		return rouse.Activation{}, err
	}
	return c.Invoker.Invoke(ctx, in)
}

type causedAcceptor struct{ rouse.Acceptor }

// Accept implements rouse.Acceptor.
func (c causedAcceptor) Accept(ctx context.Context, ins []rouse.Invocation) ([]string, error) {
	for i := range ins {
		if err := cause(ctx, &ins[i]); err != nil {
			return nil, err
		}
	}
	return c.Acceptor.Accept(ctx, ins)
}
