// Package node is one running platform: it alone knows all the parts, and
// wires them by hand.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/bundle"
	webcontract "github.com/rouse-run/rouse/contract/http"
	nativecontract "github.com/rouse-run/rouse/contract/native"
	openwhiskcontract "github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/contract/stdio"
	"github.com/rouse-run/rouse/dialect/native"
	"github.com/rouse-run/rouse/dialect/openwhisk"
	"github.com/rouse-run/rouse/invoke"
	"github.com/rouse-run/rouse/pool"
	"github.com/rouse-run/rouse/registry"
	"github.com/rouse-run/rouse/route"
	"github.com/rouse-run/rouse/rule"
	"github.com/rouse-run/rouse/sandbox/process"
	"github.com/rouse-run/rouse/sandbox/wasm"
)

// A Config says how a Node is to run. The zero value of each field but Data is
// fit for one machine.
type Config struct {
	Data       string // folder for all that is kept
	Store      string // URL of a PostgreSQL database for what the platform remembers; "" is files in Data
	Blobs      string // URL of an S3 bucket for code and objects, as s3.Parse takes it; "" is files in Data
	Listen     string // address; "" is 127.0.0.1:8700
	Isolation  string // the tier: "namespaces", "landlock"; "" or "auto" is the stronger one that works
	Memory     int64  // bytes that instances may hold; 0 is three quarters of the machine's
	Idle       time.Duration
	Spares     int           // sandboxes kept ready of each kind in use; 0 is 2
	KeepFor    time.Duration // age of records; 0 is 30 days
	KeepSize   int64         // bytes of records; 0 is 10 GB
	KeepEvents time.Duration // age of events that triggers made; 0 is 7 days
	Lease      time.Duration // after which what a dead server had begun is run again; 0 is 30 s
	Defaults   rouse.Limits
	URL        string // of the server as others reach it; "" is http and where it listens
	GitHub     string // URL of GitHub's API; "" is GitHub's own
	Version    string
	Log        *slog.Logger
}

// A Node is one running platform.
type Node struct {
	Config
	lock       *os.File
	store      store
	owner      *owner // nil where the store is in a folder, which has a lock
	services   *services
	processes  *process.Driver
	modules    *wasm.Driver
	registry   *deployments
	recorder   *invoke.Recorder
	grown      <-chan struct{} // records take a good part more room
	pool       *pool.Pool
	invoker    *invoke.Invoker
	dispatcher *invoke.Dispatcher
	rules      *rule.Engine
	handler    http.Handler
	listener   net.Listener
	started    time.Time
}

// DefaultListen is where a Node listens unless told otherwise.
const DefaultListen = "127.0.0.1:8700"

// New opens what a Node stands on and listens; Run serves. Errors say what to
// do; nothing is left open after one.
func New(ctx context.Context, c Config) (_ *Node, err error) {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.KeepFor == 0 {
		c.KeepFor = 30 * 24 * time.Hour
	}
	if c.KeepSize == 0 {
		c.KeepSize = 10 << 30
	}
	if c.KeepEvents == 0 {
		c.KeepEvents = keepEvents
	}
	if c.Memory == 0 {
		c.Memory = MachineMemory() / 4 * 3
	}
	n := &Node{Config: c, started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if n.lock, err = lock(c.Data); err != nil {
		return nil, err
	}
	tokens, err := auth.Open(c.Data)
	if err != nil {
		return nil, err
	}
	if n.listener, err = listen(c.Listen); err != nil {
		return nil, err
	}
	if err := n.openDrivers(ctx); err != nil {
		return nil, err
	}
	if err := n.wire(ctx, tokens); err != nil {
		return nil, err
	}
	return n, nil
}

// openDrivers opens the store and what runs code.
func (n *Node) openDrivers(ctx context.Context) (err error) {
	if n.store, err = openStore(ctx, n.Config); err != nil {
		return err
	}
	if n.Store != "" {
		if n.owner, err = own(ctx, n.store, n.Data); err != nil {
			return err
		}
	}
	if n.services, err = openServices(ctx, n.store, n.Config); err != nil {
		return err
	}
	n.processes, err = process.New(ctx, process.Config{
		Dir: filepath.Join(n.Data, "process"), Name: groupName(n.Data), Isolation: n.Isolation, Spares: n.Spares, Log: n.Log,
		Shims: map[string]process.Shim{
			nativecontract.Name:    {Python: nativecontract.Python, Node: nativecontract.Node},
			openwhiskcontract.Name: {Python: openwhiskcontract.Python, Node: openwhiskcontract.Node},
		},
		Client: process.Client{Python: nativecontract.ClientPython, Node: nativecontract.ClientNode},
	})
	if err != nil {
		return fmt.Errorf("open sandboxes: %w", err)
	}
	n.modules, err = wasm.New(wasm.Config{CacheDir: filepath.Join(n.Data, "wasm"), Log: n.Log})
	return err
}

// wire puts the parts together.
func (n *Node) wire(ctx context.Context, tokens *auth.Tokens) error {
	blobs, err := openBlobs(ctx, n.Config, "blobs")
	if err != nil {
		return err
	}
	code, err := bundle.OpenCache(bundle.CacheConfig{Dir: filepath.Join(n.Data, "code"), Blobs: blobs, Log: n.Log})
	if err != nil {
		return err
	}
	deps, err := openDeps(filepath.Join(n.Data, "deps"), n.processes)
	if err != nil {
		return err
	}
	drivers := []rouse.Driver{n.processes, n.modules}
	contracts := map[string]rouse.Contract{
		nativecontract.Name: nativecontract.Contract{},
		"http":              webcontract.Contract{},
		"stdio":             stdio.Contract{},
		"wasi":              stdio.Contract{},
	}
	whisk := openwhisk.New(openwhisk.Config{Log: n.Log, Build: n.Version, Memory: n.Memory, URL: cmp.Or(n.URL, "http://"+n.Addr()), GitHub: n.GitHub})
	maps.Copy(contracts, openwhisk.Contracts())
	handlers := whisk.Handlers()
	n.recorder = invoke.NewRecorder(n.store.Records(), 0, n.Log)
	n.grown = n.recorder.Grown(n.lookAgain())
	n.pool = pool.New(pool.Config{Drivers: drivers, Contracts: contracts, Code: fetch(code, deps), Access: n.access, Log: n.recorder.Line,
		Memory: n.Memory, Idle: n.Idle, Busy: busy, Logger: n.Log})
	r := registry.New(registry.Config{Meta: n.services.meta, Blobs: blobs, Cache: code, Drivers: drivers,
		Contracts: contracts, Handlers: handlers, Builder: deps, Defaults: n.Defaults, Retry: retry, Memory: n.Memory, Log: n.Log})
	n.Defaults = r.Defaults()
	n.registry = &deployments{Registry: r, pool: n.pool, warm: r.Warm, sweep: r.Sweep}
	metrics := newMetrics(n)
	n.invoker = invoke.New(invoke.Config{Registry: n.registry, Handlers: handlers, Pool: n.pool, Recorder: n.recorder, Log: n.Log})
	measured := metrics.around(n.invoker)
	n.dispatcher = invoke.NewDispatcher(invoke.DispatcherConfig{Queue: n.services.queues.Plain(), Registry: n.registry, Invoker: measured, Settle: n.recorder.Settle,
		Retry: retry, Lease: n.Lease, Log: n.Log})
	hops := hopKey(tokens.Key("hops"))
	n.rules = rule.New(rule.Config{Meta: n.services.meta, Keys: n.services.rules, Queue: n.services.queues.Plain(), Inbox: n.services.inbox,
		Data: n.services.ports(), Take: n.services.queues.Take, SendAll: n.services.queues.SendAll, DeleteAll: n.services.queues.DeleteAll, Purge: n.services.queues.PurgePlain, Hop: hops.sign, Registry: n.registry, Invoker: measured, Settle: n.recorder.Settle, Lease: n.Lease, Log: n.Log})
	n.recorder.Tell(n.rules.Outcomes, n.rules.Hears)
	sources := n.sources()
	n.rules.Use(sources...)
	subjects, err := auth.NewSubjects(ctx, n.services.meta, tokens)
	if err != nil {
		return err
	}
	if err := n.rules.Load(ctx); err != nil {
		return err
	}
	if err := n.recover(ctx); err != nil {
		return err
	}
	routes, err := route.Open(ctx, route.Config{Meta: n.services.meta, Registry: n.registry, Reserved: ownPaths()})
	if err != nil {
		return err
	}
	s := asFunctions(native.Services{Services: rouse.Services{Registry: n.registry, Invoker: measured, Acceptor: n.dispatcher, Records: n.recorder,
		Tail: n.recorder, Authenticator: tokens, Node: n.Describe},
		Data: n.services.ports(), Rules: n.rules, Control: n.rules, Routes: routes, Subjects: subjects, Servers: servers(sources)})
	whisk.Use(openwhisk.Services{Services: s.Services, Compiler: compiler{n.Data, n.processes}, Direct: metrics.around(n.invoker.Direct()), Meta: n.services.meta, Blobs: blobs, Subjects: subjects,
		Rules: n.rules, Control: s.Control, Streams: n.services.streams})
	n.handler = doors{native.New(s, native.Config{Log: n.Log, Metrics: metrics.write, Ready: (&readiness{keys: n.services.ready}).check}), whisk, hops}
	return n.registry.keepAll(ctx)
}

// retry is how asynchronous invocations are tried of functions that say nothing
// of it.
var retry = rouse.Retry{Attempts: 3, Backoff: rouse.Duration(time.Second)}

// Addr is where the node listens.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// Describe says what the node is and how it does.
func (n *Node) Describe() rouse.Node {
	instances, memory := n.pool.Usage()
	return rouse.Node{Version: n.Version, Started: n.started, Isolation: n.processes.Isolation(), Network: n.processes.Isolation() == process.Namespaces, Runtimes: slices.Concat(n.processes.Runtimes(), n.modules.Runtimes()), Interpreters: n.processes.Interpreters(),
		Defaults: n.Defaults, Retry: retry, Instances: instances, Memory: memory, Budget: n.Memory}
}

// Run serves until ctx ends, then lets what runs finish, ten seconds at most,
// and closes the node.
func (n *Node) Run(ctx context.Context) error {
	// Each layer ends when those above it have.
	calls, endCalls := context.WithCancel(context.WithoutCancel(ctx))
	queue, endQueue := context.WithCancel(context.WithoutCancel(ctx))
	rest, endRest := context.WithCancel(context.WithoutCancel(ctx))
	defer endCalls()
	defer endQueue()
	defer endRest()
	server := &http.Server{Handler: n.handler, ReadHeaderTimeout: 30 * time.Second, BaseContext: func(net.Listener) context.Context { return calls },
		ErrorLog: slog.NewLogLogger(n.Log.Handler(), slog.LevelDebug)}
	var dispatching, running errgroup.Group
	dispatching.Go(func() error { return n.dispatcher.Run(queue) })
	dispatching.Go(func() error { return n.rules.Run(queue) })
	running.Go(func() error { return n.recorder.Run(rest) })
	running.Go(func() error { return n.pool.Run(rest) })
	running.Go(func() error { return n.trim(rest) })
	running.Go(func() error { return n.services.run(rest) })
	lost := make(chan error, 1) // the store, to another node
	if n.owner != nil {
		running.Go(func() error {
			if err := n.owner.keep(rest); err != nil {
				lost <- err
			}
			return nil
		})
	}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(n.listener) }()
	var err error
	select {
	case err = <-serving:
	case err = <-lost:
		err = errors.Join(err, server.Close())
	case <-ctx.Done():
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		endCalls()
		err = server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stop()
	}
	endQueue()
	dispatched := make(chan error, 1)
	go func() { dispatched <- dispatching.Wait() }()
	select {
	case e := <-dispatched:
		err = errors.Join(err, e)
	case <-time.After(10 * time.Second):
		// What still runs is ended with the pool; its queue has it.
	}
	endRest()
	return errors.Join(err, running.Wait(), n.close())
}

// close closes what is open.
func (n *Node) close() error {
	var errs []error
	if n.listener != nil {
		if err := n.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if n.processes != nil {
		errs = append(errs, n.processes.Close())
	}
	if n.modules != nil {
		errs = append(errs, n.modules.Close())
	}
	if n.services != nil {
		errs = append(errs, n.services.close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}
