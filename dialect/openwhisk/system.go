package openwhisk

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// systemNamespace holds the packages that every OpenWhisk brings along.
const systemNamespace rouse.Namespace = "whisk.system"

// kindNative is the kind of an action that has no code.
const kindNative = "native"

//go:embed system
var systemFiles embed.FS

// A systemPackage is a package of systemNamespace as packages.json has it.
type systemPackage struct {
	Description string                     `json:"description"`
	Parameters  json.RawMessage            `json:"parameters,omitempty"`
	Bound       map[string]json.RawMessage `json:"bound,omitempty"`
	Actions     map[string]systemAction    `json:"actions"`
}

// A systemAction is an action in it. One without a file is the Door's own.
type systemAction struct {
	File            string          `json:"file,omitempty"`
	Feed            bool            `json:"feed,omitempty"`
	Description     string          `json:"description"`
	Parameters      json.RawMessage `json:"parameters,omitempty"`
	SampleInput     json.RawMessage `json:"sampleInput,omitempty"`
	SampleOutput    json.RawMessage `json:"sampleOutput,omitempty"`
	SampleLogOutput string          `json:"sampleLogOutput,omitempty"`
}

// system says whether the packages of systemNamespace are there.
type system struct {
	mu    sync.Mutex
	ready atomic.Bool
}

// prepare puts the packages of systemNamespace there when somebody first asks for
// one, so that nobody waits for them who does not need them.
func (d *Door) prepare(ctx context.Context, ns rouse.Namespace) error {
	if ns != systemNamespace || d.system.ready.Load() {
		return nil
	}
	d.system.mu.Lock()
	defer d.system.mu.Unlock()
	if d.system.ready.Load() {
		return nil
	}
	if err := d.install(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("install packages of %s: %w", systemNamespace, err)
	}
	d.system.ready.Store(true)
	return nil
}

// install deploys the packages that are not there, or no longer as they are in
// this build or on this host.
func (d *Door) install(ctx context.Context) error {
	b, err := systemFiles.ReadFile("system/packages.json")
	if err != nil {
		return err
	}
	var all map[string]systemPackage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	there := documents[pack]{meta: d.Meta, kind: d.packages.kind} // which do not ask for what is being made
	for _, name := range slices.Sorted(maps.Keys(all)) {
		digest, err := d.digest(all[name])
		if err != nil {
			return err
		}
		p, revision, _, err := there.get(ctx, systemNamespace, name)
		if err != nil {
			return err
		}
		if p.Source == digest {
			continue
		}
		if p.Version, err = nextVersion("", p.Version); err != nil {
			return err
		}
		p = all[name].pack(p.Version, digest, d.millis())
		if err := d.installActions(ctx, name, all[name], p); err != nil {
			return err
		}
		if err := there.put(ctx, systemNamespace, name, p, revision); err != nil {
			return err
		}
	}
	return nil
}

// digest tells a package from what it was, or is on a host of other runtimes.
func (d *Door) digest(p systemPackage) (rouse.Digest, error) {
	all, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
		a := p.Actions[name]
		if a.File == "" {
			continue
		}
		code, err := systemFiles.ReadFile("system/" + a.File)
		if err != nil {
			return "", err
		}
		all = append(append(all, a.runtime(d).runtime...), code...)
	}
	return rouse.DigestOf(all), nil
}

// pack is the document of a package.
func (p systemPackage) pack(version string, digest rouse.Digest, now int64) pack {
	out := pack{Version: version, Publish: true, Source: digest, Updated: now, Annotations: described(p.Description, p.Parameters)}
	for _, name := range slices.Sorted(maps.Keys(p.Bound)) {
		out.Parameters = append(out.Parameters, keyValue{Key: name, Value: p.Bound[name]})
	}
	return out
}

func described(description string, parameters json.RawMessage) pairs {
	list := pairs{text("description", description)}
	if parameters != nil {
		list = append(list, keyValue{Key: "parameters", Value: parameters})
	}
	return list
}

// runtime is what an action's code runs on; of no kind where the host can't.
func (s systemAction) runtime(d *Door) kindInfo {
	families := map[string]string{".py": "python", ".js": "nodejs"}
	k, err := d.kind(families[filepath.Ext(s.File)] + ":default")
	if err != nil {
		return kindInfo{}
	}
	return k
}

// installActions deploys the actions of a package and removes all others.
func (d *Door) installActions(ctx context.Context, name string, p systemPackage, around pack) error {
	for _, action := range slices.Sorted(maps.Keys(p.Actions)) {
		at := path{systemNamespace, name, action}
		if err := d.installAction(ctx, at, p.Actions[action], around); err != nil {
			return fmt.Errorf("install %s: %w", at, err)
		}
	}
	members, err := d.members(ctx, systemNamespace, name)
	if err != nil {
		return err
	}
	for _, f := range members {
		if _, ok := p.Actions[pathOf(f).name]; ok {
			continue
		}
		if err := d.Registry.Remove(ctx, f); err != nil && rouse.KindOf(err) != rouse.NotFound {
			return err
		}
		d.actions.drop(f)
	}
	return nil
}

// installAction deploys one action. On a host that can't run its code there is none.
func (d *Door) installAction(ctx context.Context, at path, s systemAction, around pack) error {
	old, err := d.existing(ctx, at)
	if err != nil {
		return err
	}
	a := &action{path: at}
	if old != nil {
		a.Version = old.Version
	}
	if a.Version, err = nextVersion("", a.Version); err != nil {
		return err
	}
	if a.Limits, err = d.over(limits{}, limits{}); err != nil {
		return err
	}
	a.Path, a.Publish, a.Updated, a.Annotations = at.String(), true, d.millis(), s.annotations()
	if s.File == "" {
		a.Kind, a.Main = kindNative, at.pack+"/"+at.name
		a.Annotations = a.Annotations.with(text("exec", a.Kind))
		_, err = d.deploy(ctx, a, around.Parameters, nil)
		return err
	}
	k := s.runtime(d)
	if k.Kind == "" {
		if old != nil {
			err = d.Registry.Remove(ctx, old.f.Ref)
			d.actions.drop(old.f.Ref)
		}
		return err
	}
	code, err := systemFiles.ReadFile("system/" + s.File)
	if err != nil {
		return err
	}
	packed, err := packCode(k.Kind, string(code))
	if err != nil {
		return err
	}
	a.Kind, a.f.Runtime = k.Kind, k.runtime
	a.Annotations = a.Annotations.with(text("exec", a.Kind))
	_, err = d.deploy(ctx, a, around.Parameters, packed.archive)
	return err
}

// annotations are what clients show of an action.
func (s systemAction) annotations() pairs {
	list := described(s.Description, s.Parameters)
	for _, kv := range []keyValue{{Key: "sampleInput", Value: s.SampleInput}, {Key: "sampleOutput", Value: s.SampleOutput}} {
		if kv.Value != nil {
			list = append(list, kv)
		}
	}
	if s.SampleLogOutput != "" {
		list = append(list, text("sampleLogOutput", s.SampleLogOutput))
	}
	if s.Feed {
		list = append(list, raw("feed", true))
	}
	return list.with(raw("provide-api-key", false))
}

// runSystem answers for a function of systemNamespace that has no code, or rather
// for its copy in the namespace of who asks.
func (d *Door) runSystem(ctx context.Context, f rouse.Function, in rouse.Invocation, _ func(rouse.Line)) (rouse.Answer, error) {
	a, err := d.actionOf(f)
	if err != nil {
		return rouse.Answer{}, err
	}
	args, err := a.Overlay(in.Event)
	if err != nil {
		return failure("DeveloperError", err.Error()), nil
	}
	given := parameters{}
	if err := json.Unmarshal(args, &given); err != nil {
		return applicationError("the arguments are a JSON object"), nil
	}
	said, err := d.answer(event.WithCause(ctx, event.Cause{ID: in.ID, Hops: in.Hops + 1}), f, given)
	if err != nil {
		if r := refusalOf(err); r.status != http.StatusInternalServerError {
			return applicationError(r.text), nil
		}
		return rouse.Answer{}, err
	}
	result, err := json.Marshal(said)
	return rouse.Answer{Status: rouse.StatusAnswered, Result: result, Size: int64(len(result))}, err
}

// answer is what a function of systemNamespace says.
func (d *Door) answer(ctx context.Context, f rouse.Function, given parameters) (any, error) {
	feeders := map[string]feeder{
		"alarms/alarm":    alarmFeed{d, alarmCron},
		"alarms/interval": alarmFeed{d, alarmInterval},
		"alarms/once":     alarmFeed{d, alarmOnce},
		"github/webhook":  githubFeed{d},

		"messaging/streamFeed":     streamFeed{d, calledStream},
		"messaging/kafkaFeed":      streamFeed{d, calledTopic},
		"messaging/messageHubFeed": streamFeed{d, calledTopic},
	}
	if s, ok := feeders[f.Handler]; ok {
		return d.live(ctx, s, f.Namespace, given)
	}
	switch f.Handler {
	case "utils/hosturl":
		return d.hostURL(f.Namespace, given)
	case "messaging/streamProduce":
		return d.produce(ctx, f.Namespace, calledStream, given)
	case "messaging/kafkaProduce", "messaging/messageHubProduce":
		return d.produce(ctx, f.Namespace, calledTopic, given)
	}
	return nil, fmt.Errorf("answer for %s: there is no %q", f.Ref, f.Handler)
}

// hostURL is where an action or a trigger is asked for.
func (d *Door) hostURL(ns rouse.Namespace, given parameters) (any, error) {
	at, web, trigger := given.text("path"), given.is("web"), given.is("trigger")
	ext := given.text("ext")
	switch {
	case web && trigger:
		return nil, refuse(http.StatusBadRequest, "triggers are not allowed for web actions.")
	case web && ext != "" && !slices.Contains([]string{".json", ".text", ".html", ".http"}, ext):
		return nil, refuse(http.StatusBadRequest, `extension for web action must be one of [".json", ".text", ".html", ".http"].`)
	case trigger && strings.Contains(at, "/"):
		return nil, refuse(http.StatusBadRequest, "triggers are not allowed in packages.")
	}
	base := strings.TrimSuffix(d.URL, "/") + "/api/v1/namespaces/" + string(ns) + "/actions"
	switch {
	case web:
		base = strings.TrimSuffix(d.URL, "/") + "/api/v1/web/" + string(ns)
	case trigger:
		base = strings.TrimSuffix(base, "/actions") + "/triggers"
	}
	if at == "" {
		return map[string]string{"url": base}, nil
	}
	if web {
		if !strings.Contains(at, "/") {
			at = "default/" + at
		}
		if ext == "" {
			ext = ".json"
		}
		at += ext
	}
	return map[string]string{"url": base + "/" + at}, nil
}
