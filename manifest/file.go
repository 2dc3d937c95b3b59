// Package manifest reads rouse.yaml, which says what there is to be: functions,
// triggers, rules, routes, streams, queues, tables and buckets; tells how that
// differs from what a server has, and makes it so.
package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// A File is a manifest.
type File struct {
	Functions map[string]Function `yaml:"functions"`
	Tables    map[string]Table    `yaml:"tables"`
	Queues    map[string]Queue    `yaml:"queues"`
	Streams   map[string]Stream   `yaml:"streams"`
	Buckets   map[string]Bucket   `yaml:"buckets"`
	Triggers  map[string]Trigger  `yaml:"triggers"`
	Rules     []Rule              `yaml:"rules"`
	Routes    map[string]Route    `yaml:"routes"` // by pattern, such as "GET /items/{id}"

	dir string // that paths are relative to
}

// A Trigger is one kind and its config.
type Trigger map[string]any

// A Function says what to deploy, and with which options.
type Function struct {
	Code        string            `yaml:"code" required:"true"` // path of a file, folder or zip
	Runtime     string            `yaml:"runtime"`
	Handler     string            `yaml:"handler"`
	Contract    string            `yaml:"contract"`
	Env         map[string]string `yaml:"env"`
	Memory      Size              `yaml:"memory"`
	Tmp         Size              `yaml:"tmp"`
	Timeout     Span              `yaml:"timeout"`
	Concurrency int               `yaml:"concurrency"`
	Min         int               `yaml:"min"`
	Max         int               `yaml:"max"`
	Queue       int               `yaml:"queue"`
	Answer      Size              `yaml:"answer"`
	Log         Size              `yaml:"log"`
	Processes   int               `yaml:"processes"`
	Egress      bool              `yaml:"egress"`
	Public      bool              `yaml:"public"`
	Allow       []string          `yaml:"allow"`
	Retry       Retry             `yaml:"retry"`
}

// A Retry is event.Retry as it is written.
type Retry struct {
	Attempts int  `yaml:"attempts"`
	Backoff  Span `yaml:"backoff"`
	Age      Span `yaml:"age"`
}

// An Attribute is a table's: its name, or its name and type.
type Attribute struct {
	Name string `yaml:"name"`
	Type string `yaml:"type"`
}

// A Table is data.Table as it is written.
type Table struct {
	Key     Attribute        `yaml:"key" required:"true"`
	Sort    Attribute        `yaml:"sort"`
	Indexes map[string]Index `yaml:"indexes"`
	TTL     string           `yaml:"ttl"`
	Changes Span             `yaml:"changes"`
}

// An Index is data.Index as it is written.
type Index struct {
	Key        Attribute `yaml:"key"`
	Sort       Attribute `yaml:"sort"`
	Attributes []string  `yaml:"attributes"`
	KeysOnly   bool      `yaml:"keys-only"`
}

// A Queue is data.Queue as it is written.
type Queue struct {
	Visibility  *Span  `yaml:"visibility"`
	Delay       Span   `yaml:"delay"`
	Keep        *Span  `yaml:"keep"` // 0s is for ever
	MaxReceives int    `yaml:"max-receives"`
	DeadLetter  string `yaml:"dead-letter"`
	Fifo        bool   `yaml:"fifo"`
	DedupByBody bool   `yaml:"dedup-by-body"`
}

// A Stream is data.Stream as it is written.
type Stream struct {
	Shards *int `yaml:"shards" least:"1"` // none leaves a stream as it is divided
	Keep   Span `yaml:"keep"`
}

// A Bucket is data.Bucket as it is written.
type Bucket struct {
	Versioned bool `yaml:"versioned"`
	Changes   Span `yaml:"changes"`
}

// A Rule is event.Rule as it is written. Without a Name it has one made of what
// it is on and goes to.
type Rule struct {
	Name       string         `yaml:"name"`
	On         On             `yaml:"on" required:"true"`
	When       map[string]any `yaml:"when"`
	Input      any            `yaml:"input"`
	To         Target         `yaml:"to" required:"true"`
	Batch      *Batch         `yaml:"batch"`
	Parallel   int            `yaml:"parallel"`
	Retry      Retry          `yaml:"retry"`
	DeadLetter *Dead          `yaml:"dead-letter"`
	Success    *Target        `yaml:"success"`
	Failure    *Target        `yaml:"failure"`
	From       string         `yaml:"from"`
	Budget     float64        `yaml:"budget"`
}

// On is what a rule is on: the name of a trigger, or one thing of another kind.
type On event.On

// A Target is where a rule goes: the name of a function, or one thing of another
// kind.
type Target event.Target

// Dead is a Target whose name alone is a queue's.
type Dead event.Target

// A Route is rouse.Route as it is written: the name of a function, or more.
type Route struct {
	To        string `yaml:"to"`
	Qualifier string `yaml:"qualifier"`
	Public    bool   `yaml:"public"`
}

// A Batch is event.Batch as it is written.
type Batch struct {
	Size   int  `yaml:"size"`
	Window Span `yaml:"window"`
	Bytes  Size `yaml:"bytes"`
	Bisect bool `yaml:"bisect"`
}

// A Size is bytes, written as a number or such as 256MB.
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := units.RAMInBytes(string(text))
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no size such as 256MB", text)
	}
	*s = Size(n)
	return nil
}

// A Span is a duration, written such as 30s, 24h or 7d.
type Span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			*s = Span(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no duration such as 30s, 24h or 7d", text)
	}
	*s = Span(d)
	return nil
}

func (a *Attribute) alone(name string) error { a.Name = name; return nil }

func (r *Route) alone(name string) error {
	r.To, r.Qualifier = versioned(name)
	return nil
}

// alone takes the name of a trigger, or what else there is with its kind before
// it, such as stream:clicks.
func (o *On) alone(text string) error {
	kind, name, ok := strings.Cut(text, ":")
	to := map[string]*string{"trigger": &o.Trigger, "stream": &o.Stream, "queue": &o.Queue, "table": &o.Table, "bucket": &o.Bucket, "function": &o.Function}[kind]
	switch {
	case !ok:
		o.Trigger = text
	case to == nil || name == "":
		return fmt.Errorf("%q is neither the name of a trigger nor such as stream:clicks; there are trigger, stream, queue, table, bucket and function", text)
	default:
		*to = name
	}
	return nil
}

// alone takes the name of a function, with a version or an alias after it or
// without, a URL, or what else there is with its kind before it, such as
// queue:jobs.
func (t *Target) alone(text string) error {
	kind, name, _ := strings.Cut(text, ":")
	switch {
	case strings.Contains(text, "://"):
		t.Webhook = text
	case kind == "queue":
		t.Queue = name
	case kind == "stream":
		t.Stream = name
	case kind == "function":
		t.Function, t.Qualifier = versioned(name)
	default:
		t.Function, t.Qualifier = versioned(text)
	}
	return nil
}

// alone takes what a Target does, but a name is that of a queue.
func (d *Dead) alone(text string) error {
	if !strings.Contains(text, ":") {
		d.Queue = text
		return nil
	}
	return (*Target)(d).alone(text)
}

// versioned takes apart NAME:VERSION.
func versioned(text string) (function, qualifier string) {
	function, qualifier, _ = strings.Cut(text, ":")
	return function, qualifier
}

var variable = regexp.MustCompile(`\$\$?\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// Load reads a manifest. "${NAME}" in it stands for a variable of the
// environment, as env finds it, where it is in capitals; "$${NAME}" for itself.
// Errors: Invalid, which says where.
func Load(name string, env func(string) (string, bool)) (*File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	return parse(name, dir, b, env)
}

func parse(name, dir string, b []byte, env func(string) (string, bool)) (*File, error) {
	var unset []string
	b = variable.ReplaceAllFunc(b, func(m []byte) []byte {
		n := string(variable.FindSubmatch(m)[1])
		if n != strings.ToUpper(n) { // a name of a template
			return m
		}
		if strings.HasPrefix(string(m), "$$") {
			return m[1:]
		}
		v, ok := env(n)
		if !ok {
			unset = append(unset, n)
		}
		return []byte(v)
	})
	if len(unset) > 0 {
		return nil, rouse.Errorf(rouse.Invalid, "read manifest", name, "%s is not set in the environment", list(unset))
	}
	f := &File{dir: dir}
	if len(bytes.TrimSpace(b)) == 0 {
		return f, nil
	}
	if err := decode(b, f); err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "read manifest", name, "%w", err)
	}
	if err := f.check(); err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "read manifest", name, "%w", err)
	}
	return f, nil
}

func list(names []string) string { return strings.Join(sorted(names), ", ") }

// check refuses names that can't be, and fills in those of rules.
func (f *File) check() error {
	for kind, names := range map[string][]string{"functions": keys(f.Functions), "tables": keys(f.Tables), "queues": keys(f.Queues),
		"streams": keys(f.Streams), "buckets": keys(f.Buckets), "triggers": keys(f.Triggers)} {
		for _, n := range names {
			if err := rouse.CheckName(n); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
	}
	for n, fn := range f.Functions {
		if fn.Code == "" {
			return fmt.Errorf("functions.%s: code is missing: the path of a file, a folder or a zip", n)
		}
	}
	for n, s := range f.Streams {
		if s.Shards != nil && *s.Shards < 1 {
			return fmt.Errorf("streams.%s.shards: it is %d; it must be 1 or more, or left out", n, *s.Shards)
		}
	}
	for n, t := range f.Triggers {
		if len(t) != 1 {
			return fmt.Errorf("triggers.%s: it must have one kind, such as schedule, and has %d", n, len(t))
		}
	}
	for p, r := range f.Routes {
		if r.To == "" {
			return fmt.Errorf("routes.%q: to is missing: the name of a function", p)
		}
	}
	taken := map[string]bool{}
	for i := range f.Rules {
		r := &f.Rules[i]
		if r.Name == "" {
			r.Name = f.name(r, taken)
		}
		if taken[r.Name] {
			return fmt.Errorf("rules[%d]: there is another rule of the name %s", i, r.Name)
		}
		taken[r.Name] = true
		if err := rouse.CheckName(r.Name); err != nil {
			return fmt.Errorf("rules[%d]: %w", i, err)
		}
	}
	return nil
}

// name makes a name for a rule that has none.
func (f *File) name(r *Rule, taken map[string]bool) string {
	on := first(r.On.Trigger, r.On.Stream, r.On.Queue, r.On.Table, r.On.Bucket, r.On.Function, "nothing")
	if r.On.Outcome != "" {
		on += "-" + r.On.Outcome
	}
	to := first(r.To.Function, r.To.Queue, r.To.Stream, "webhook")
	base := on + "-to-" + to
	name := base
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

func first(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// rule returns r as the server takes it.
func (r *Rule) rule() (event.Rule, error) {
	e := event.Rule{Ref: rouse.Ref{Name: r.Name}, On: event.On(r.On), To: event.Target(r.To), Parallel: r.Parallel, From: r.From, Budget: r.Budget,
		Retry:      event.Retry{Retry: rouse.Retry{Attempts: r.Retry.Attempts, Backoff: rouse.Duration(r.Retry.Backoff)}, Age: rouse.Duration(r.Retry.Age)},
		DeadLetter: (*event.Target)(r.DeadLetter), Success: (*event.Target)(r.Success), Failure: (*event.Target)(r.Failure)}
	if b := r.Batch; b != nil {
		e.Batch = &event.Batch{Size: b.Size, Window: rouse.Duration(b.Window), Bytes: int(b.Bytes), Bisect: b.Bisect}
	}
	var err error
	if r.When != nil {
		if e.When, err = json.Marshal(r.When); err != nil {
			return e, fmt.Errorf("rule %s: when: %w", r.Name, err)
		}
	}
	if r.Input != nil {
		if e.Input, err = json.Marshal(r.Input); err != nil {
			return e, fmt.Errorf("rule %s: input: %w", r.Name, err)
		}
	}
	e.Fill()
	return e, nil
}
