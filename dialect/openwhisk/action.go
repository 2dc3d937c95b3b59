package openwhisk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
)

// A note is what only OpenWhisk knows of an action, in the Function's Notes.
type note struct {
	openwhisk.Note
	Publish     bool     `json:"publish,omitempty"`
	Main        string   `json:"main,omitempty"`
	Image       string   `json:"image,omitempty"`
	Binary      bool     `json:"binary,omitempty"`  // the code came in base64
	Program     bool     `json:"program,omitempty"` // the code came as an executable by itself
	Source      bool     `json:"source,omitempty"`  // the code came as what the program was compiled from
	Components  []string `json:"components,omitempty"`
	Parameters  pairs    `json:"parameters,omitempty"` // the action's own
	Annotations pairs    `json:"annotations,omitempty"`
	Limits      limits   `json:"limits"`
	Updated     int64    `json:"updated"` // ms since 1970
	Of          *origin  `json:"of,omitempty"`
}

// An action is a Function as OpenWhisk sees it. It is never changed once made.
type action struct {
	note
	path  path
	f     rouse.Function
	final bool // its parameters can't be overridden
}

// native reports whether its code was not written as an action's.
func (a *action) native() bool {
	return !slices.Contains([]string{"", Name, contractConductor, contractSequence, contractSystem}, a.f.Contract)
}

// given are the arguments of an invocation of a. Code that was deployed natively
// knows of no parameters, and so they are added here; what is no object stays as
// it is.
func (a *action) given(args []byte) []byte {
	if len(a.Arguments) == 0 || !a.native() {
		return args
	}
	if all, err := a.Overlay(rouse.Event{Data: args}); err == nil {
		return all
	}
	return args
}

// exported reports whether the action answers HTTP by itself.
func (a *action) exported() bool { return a.Annotations.isTrue("web-export") }

// actionOf reads what a Function is as an action; one that was deployed natively
// is one as well.
func (d *Door) actionOf(f rouse.Function) (*action, error) {
	if a := d.actions.get(f.Ref); a != nil && a.f.Version == f.Version && a.f.Created.Equal(f.Created) {
		return a, nil
	}
	a := &action{path: pathOf(f.Ref), f: f}
	if raw := f.Notes[Name]; raw != nil {
		if err := json.Unmarshal(raw, &a.note); err != nil {
			return nil, fmt.Errorf("read note of %s: %w", f.Ref, err)
		}
	} else {
		a.note = note{Limits: limitsOf(f.Limits), Main: f.Handler, Binary: true, Updated: f.Created.UnixMilli()}
		a.Kind, a.Version, a.Path = openwhisk.KindOf(f.Runtime), fmt.Sprintf("0.0.%d", f.Version), a.path.String()
		a.Annotations = pairs{text("exec", a.Kind)}
	}
	a.Parameters, a.Annotations = a.Parameters.keyed(), a.Annotations.keyed()
	if a.Of != nil {
		a.Of.Parameters = a.Of.Parameters.keyed()
	}
	a.final = a.Annotations.is("final")
	d.actions.add(a)
	return a, nil
}

// An actionBody is what a client puts.
type actionBody struct {
	Version     string   `json:"version"`
	Publish     *bool    `json:"publish"`
	Exec        *exec    `json:"exec"`
	Parameters  *pairs   `json:"parameters"`
	Annotations pairs    `json:"annotations"`
	Deleted     []string `json:"delAnnotations"`
	Limits      *limits  `json:"limits"`
}

// An actionSeen is an action as clients see it.
type actionSeen struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Publish     bool      `json:"publish"`
	Annotations pairs     `json:"annotations"`
	Parameters  pairs     `json:"parameters"`
	Limits      limits    `json:"limits"`
	Exec        exec      `json:"exec"`
	Updated     int64     `json:"updated"`
	Binding     *pathLike `json:"binding,omitempty"`
}

// seen shows an action, with its code where there is any to be shown.
func (a *action) seen(code *string) actionSeen {
	s := actionSeen{Namespace: a.path.where(), Name: a.path.name, Version: a.Version, Publish: a.Publish, Annotations: a.Annotations.orEmpty(),
		Parameters: a.Parameters.orEmpty(), Limits: a.Limits, Updated: a.Updated,
		Exec: exec{Kind: a.Kind, Code: code, Main: a.Main, Image: a.Image, Components: a.Components, Binary: a.Binary}}
	if a.Of != nil {
		s.Parameters = a.Of.Parameters.orEmpty()
		s.Binding = a.Of.Binding
	}
	if a.Kind == kindSequence {
		list, _ := json.Marshal(a.Components) // strings always marshal
		s.Parameters = s.Parameters.with(keyValue{Key: "_actions", Value: list})
	}
	return s
}

// actionPath is what the path of a request names, in one's own namespace.
func (c *call) actionPath() (path, error) {
	ns, err := c.mine()
	if err != nil {
		return path{}, err
	}
	return parse(ns, c.rest("actions"))
}

func (d *Door) putAction(c *call) error {
	p, err := c.actionPath()
	if err == nil {
		err = c.owner()
	}
	if err != nil {
		return err
	}
	var in actionBody
	if err := c.read(&in, maxBody); err != nil {
		return err
	}
	if in.Exec != nil && in.Exec.Kind == kindSequence { // of two at once, each would not yet see the other
		defer d.locks.hold(lockSequences)()
	}
	defer d.locks.hold(p.String())()
	if _, err := d.home(c.r.Context(), p); err != nil {
		return err
	}
	old, err := d.existing(c.r.Context(), p)
	if err != nil {
		return err
	}
	switch {
	case old != nil && c.r.URL.Query().Get("overwrite") != "true":
		return refuse(http.StatusConflict, textExists)
	case old == nil && p.pack == "":
		if err := d.elsewhere(c, p.ns, p.name, "actions"); err != nil {
			return err
		}
	}
	a, code, err := d.edit(c.r.Context(), p, old, &in)
	if err != nil {
		return err
	}
	if a, err = d.place(c.r.Context(), a, code); err != nil {
		return err
	}
	var shown *string
	if in.Exec != nil && !a.Binary {
		shown = in.Exec.Code
	}
	return c.answer(http.StatusOK, a.seen(shown))
}

// place deploys an action in its package, which is neither removed nor changed
// meanwhile.
func (d *Door) place(ctx context.Context, a *action, code []byte) (*action, error) {
	if a.path.pack != "" {
		defer d.locks.hold(a.path.where())()
	}
	pk, err := d.home(ctx, a.path)
	if err != nil {
		return nil, err
	}
	return d.deploy(ctx, a, pk.Parameters, code)
}

// home is the package that an action is to lie in; the zero one where in none.
func (d *Door) home(ctx context.Context, p path) (pack, error) {
	if p.pack == "" {
		return pack{}, nil
	}
	pk, _, ok, err := d.packages.get(ctx, p.ns, p.pack)
	switch {
	case err != nil:
		return pk, err
	case !ok:
		return pk, errNotFound
	case pk.Binding != nil:
		return pk, refuse(http.StatusBadRequest, "Operation not permitted on package binding.")
	}
	return pk, nil
}

// existing is the action of a path, nil where there is none.
func (d *Door) existing(ctx context.Context, p path) (*action, error) {
	f, err := d.Registry.Function(ctx, p.ref(), "")
	if rouse.KindOf(err) == rouse.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := d.actionOf(f)
	if err != nil || a.Of != nil { // a copy is left where its binding was removed while somebody used it
		return nil, err
	}
	return a, nil
}

// edit makes of old, which may be nil, what in asks for, and packs its code; nil
// where that stays.
func (d *Door) edit(ctx context.Context, p path, old *action, in *actionBody) (*action, []byte, error) {
	a := &action{path: p}
	if old != nil {
		*a = *old
	}
	var err error
	if a.Version, err = nextVersion(in.Version, a.Version); err != nil {
		return nil, nil, err
	}
	if in.Publish != nil {
		a.Publish = *in.Publish
	}
	if in.Parameters != nil {
		a.Parameters = merged(*in.Parameters)
	}
	if old == nil && in.Annotations.get("provide-api-key") == nil {
		a.Annotations = a.Annotations.with(keyValue{Key: "provide-api-key", Value: json.RawMessage("false")})
	}
	a.Annotations = a.Annotations.with(in.Annotations...).without(in.Deleted...)
	for what, list := range map[string]pairs{"parameters": a.Parameters, "annotations": a.Annotations} {
		if err := checkPairs(what, list); err != nil {
			return nil, nil, err
		}
	}
	var asked limits
	if in.Limits != nil {
		asked = *in.Limits
	}
	if a.Limits, err = d.over(asked, a.Limits); err != nil {
		return nil, nil, err
	}
	if err := d.fits(ctx, p.ns, asked.Instances); err != nil {
		return nil, nil, err
	}
	a.Path, a.Updated = p.String(), d.millis()
	var code []byte
	switch {
	case in.Exec != nil:
		code, err = d.setExec(ctx, a, in.Exec)
	case old == nil:
		err = refuse(http.StatusBadRequest, "The request content was malformed:\nexec undefined")
	}
	if err != nil {
		return nil, nil, err
	}
	a.ProvideKey = a.Annotations.is("provide-api-key")
	a.Annotations = a.Annotations.with(text("exec", a.Kind))
	return a, code, nil
}

// setExec gives an action other code.
func (d *Door) setExec(ctx context.Context, a *action, e *exec) ([]byte, error) {
	a.Main, a.Image, a.Components, a.Binary, a.Program, a.Source = e.Main, "", nil, false, false, false
	a.f = rouse.Function{}
	if e.Kind == kindSequence {
		a.Kind = kindSequence
		return nil, d.setComponents(ctx, a, e.Components)
	}
	if e.Kind == kindBlackbox && e.Image != "" && !strings.HasPrefix(e.Image, "openwhisk/dockerskeleton") {
		return nil, refuse(http.StatusBadRequest, "The request content was malformed:\nexec.image: this platform runs no images, such as %s; send the program itself: a zip archive that holds an executable named 'exec', with --native", e.Image)
	}
	k, err := d.kind(e.Kind)
	if err != nil {
		return nil, err
	}
	a.Kind, a.Image = k.Kind, e.Image
	if e.Code == nil || *e.Code == "" {
		return nil, refuse(http.StatusBadRequest, "The request content was malformed:\n'code' must be a string or attachment object defined in 'exec' for '%s' actions", k.Kind)
	}
	pk, ok, err := d.compiled(ctx, a.Kind, e.Main, *e.Code)
	if !ok && err == nil {
		pk, err = packCode(a.Kind, *e.Code)
		if err == nil {
			err = checkEntry(a.Kind, e.Main, pk.archive)
		}
	}
	if err != nil {
		return nil, err
	}
	a.Binary, a.Program, a.Source = pk.binary, pk.program, pk.source
	a.f.Runtime = k.runtime
	return pk.archive, nil
}

// deploy makes an action the newest version of its Function, with the defaults
// of the package around it. Without code it keeps what it has.
func (d *Door) deploy(ctx context.Context, a *action, around pairs, code []byte) (*action, error) {
	a.Arguments, a.Env = arguments(merged(around, a.Parameters))
	raw, err := json.Marshal(a.note)
	if err != nil {
		return nil, err
	}
	f := d.function(a)
	f.Ref, f.Notes = a.path.ref(), maps.Clone(a.f.Notes)
	if f.Notes == nil {
		f.Notes = rouse.Notes{}
	}
	f.Notes[Name] = raw
	if f.Recorded, err = recorded(a.note, f); err != nil {
		return nil, err
	}
	var archive io.Reader
	if code != nil {
		archive = bytes.NewReader(code)
	}
	deployed, err := d.Registry.Deploy(ctx, f, archive, nil)
	if err != nil {
		return nil, err
	}
	return d.actionOf(deployed)
}

// function is what an action is to be. One that was deployed natively stays what
// it is, but for the limits that OpenWhisk has.
func (d *Door) function(a *action) rouse.Function {
	limits := a.Limits.function()
	if a.native() {
		f := a.f
		f.Limits.Timeout, f.Limits.Memory, f.Limits.Log = limits.Timeout, limits.Memory, limits.Log
		f.Limits.Concurrency, f.Limits.Max = limits.Concurrency, limits.Max
		return f
	}
	f := rouse.Function{Runtime: a.f.Runtime, Code: a.f.Code, Contract: Name, Handler: cmp.Or(a.Main, "main"), Limits: limits, Retry: rouse.Retry{Attempts: 1}}
	switch {
	case a.Kind == kindSequence:
		f.Contract, f.Runtime, f.Code = contractSequence, kindSequence, ""
		f.Limits.Timeout = longest
	case a.Kind == kindNative:
		f.Contract, f.Runtime, f.Code = contractSystem, kindNative, ""
	case a.Annotations.is("conductor"):
		f.Contract = contractConductor
	}
	// As OpenWhisk's actions have it. Where the tier can't, they do without.
	f.Egress = d.Node().Network && f.Contract != contractSequence && f.Contract != contractSystem
	if a.ProvideKey && d.Node().Network {
		f.Allow = []string{"function:* w", "trigger:* w"}
	}
	return f
}

func (d *Door) getAction(c *call) error {
	if strings.HasSuffix(c.r.URL.Path, "/") {
		return d.listPackaged(c)
	}
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	p, err := parse(ns, c.rest("actions"))
	if err != nil {
		return err
	}
	if err := c.may("function", p.ref().Name, false); err != nil {
		return err
	}
	a, err := d.find(c.r.Context(), c.own(), p)
	if err != nil {
		return d.missing(c, p, err)
	}
	var code *string
	if c.r.URL.Query().Get("code") != "false" && a.Kind != kindSequence {
		text, err := d.code(c.r.Context(), a)
		if err != nil {
			return err
		}
		code = &text
	}
	return c.answer(http.StatusOK, a.seen(code))
}

func (d *Door) deleteAction(c *call) error {
	p, err := c.actionPath()
	if err == nil {
		err = c.owner()
	}
	if err != nil {
		return err
	}
	defer d.locks.hold(p.String())()
	if _, err := d.home(c.r.Context(), p); err != nil {
		return err
	}
	a, err := d.existing(c.r.Context(), p)
	if err != nil {
		return err
	}
	if a == nil {
		return d.missing(c, p, errNotFound)
	}
	if err := d.Registry.Remove(c.r.Context(), a.f.Ref); err != nil {
		return err
	}
	d.actions.drop(a.f.Ref)
	return c.answer(http.StatusOK, a.seen(nil))
}

// fewFunctions are read at once where their notes are large: parameters and
// annotations may have a megabyte each.
const fewFunctions = 8

// functions are those of a namespace whose names come after one, few at once.
func (d *Door) functions(ctx context.Context, ns rouse.Namespace, after string) iter.Seq2[rouse.Function, error] {
	return func(yield func(rouse.Function, error) bool) {
		for limit := fewFunctions; ; {
			fs, err := d.Registry.Functions(ctx, ns, after, limit)
			if err != nil {
				yield(rouse.Function{}, err)
				return
			}
			size := 0
			for _, f := range fs {
				size += len(f.Notes[Name])
				if !yield(f, nil) {
					return
				}
			}
			if len(fs) == 0 {
				return
			}
			after = fs[len(fs)-1].Name
			if limit = min(2*limit, 1000); size > 1<<20 {
				limit = fewFunctions
			}
		}
	}
}

// own are all Functions of a namespace that are actions of its own.
func (d *Door) own(ctx context.Context, ns rouse.Namespace) iter.Seq2[*action, error] {
	return func(yield func(*action, error) bool) {
		for f, err := range d.functions(ctx, ns, "") {
			if err == nil && strings.Contains(f.Name, ":") {
				continue // another namespace's, or a trigger's
			}
			var a *action
			if err == nil {
				a, err = d.actionOf(f)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if a.Of == nil && !yield(a, nil) {
				return
			}
		}
	}
}

// item is what a list shows of an action. Annotations that are large are read
// again where it is on the page, so that no others are held.
func (d *Door) item(ctx context.Context, a *action) item {
	ref, limits := a.f.Ref, a.Limits
	i := item{Namespace: a.path.where(), Name: a.path.name, Version: a.Version, Publish: a.Publish, Annotations: a.Annotations.orEmpty(),
		Updated: a.Updated, Limits: &limits, Exec: &execSeen{a.Binary}}
	if a.Annotations.size() < 1<<12 {
		return i
	}
	i.Annotations = pairs{}
	i.fill = func(i *item) error {
		f, err := d.Registry.Function(ctx, ref, "")
		if rouse.KindOf(err) == rouse.NotFound { // it was removed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		a, err := d.actionOf(f)
		if err == nil {
			i.Annotations = a.Annotations
		}
		return err
	}
	return i
}

func (d *Door) listActions(c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	if err := d.prepare(c.r.Context(), ns); err != nil {
		return err
	}
	var items []item
	for a, err := range d.own(c.r.Context(), ns) {
		if err != nil {
			return err
		}
		if ok, err := d.visible(c, a.path); err != nil {
			return err
		} else if ok {
			items = append(items, d.item(c.r.Context(), a))
		}
	}
	return c.list("actions", items)
}

// listPackaged lists the actions of one package.
func (d *Door) listPackaged(c *call) error {
	if err := c.reads("function"); err != nil {
		return err
	}
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(c.rest("actions"), "/")
	if err := checkName(name); err != nil {
		return err
	}
	pk, _, ok, err := d.packages.get(c.r.Context(), ns, name)
	if err != nil {
		return err
	}
	if !ok || ns != c.own() && !c.who.Operator && !pk.Publish {
		return errNotFound
	}
	at := path{ns: ns, pack: name}
	if pk.Binding != nil {
		at = pk.Binding.path()
		if _, err := d.provider(c.r.Context(), ns, pk); err != nil {
			return err
		}
	}
	var items []item
	for a, err := range d.own(c.r.Context(), at.ns) {
		if err != nil {
			return err
		}
		if a.path.pack == at.pack {
			items = append(items, d.item(c.r.Context(), a))
		}
	}
	return c.list("actions", items)
}

// visible reports whether who asks may see an action in a list.
func (d *Door) visible(c *call, p path) (bool, error) {
	if p.ns == c.own() || c.who.Operator {
		return true, nil
	}
	if p.pack == "" {
		return false, nil
	}
	pk, _, ok, err := d.packages.get(c.r.Context(), p.ns, p.pack)
	return ok && pk.Publish, err
}
