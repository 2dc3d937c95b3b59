package openwhisk

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// The statuses of a rule. An event that comes while it is inactive is not kept
// for it.
const (
	statusActive   = "active"
	statusInactive = "inactive"
)

// A rule leads from a trigger to an action.
type rule struct {
	Version     string `json:"version"`
	Publish     bool   `json:"publish,omitempty"`
	Annotations pairs  `json:"annotations,omitempty"`
	Trigger     string `json:"trigger"` // its name, in the rule's own namespace
	To          target `json:"to"`
	Status      string `json:"status"`
	Updated     int64  `json:"updated"`
}

// UnmarshalJSON reads a rule as it was stored.
func (r *rule) UnmarshalJSON(b []byte) error {
	type plain rule
	err := json.Unmarshal(b, (*plain)(r))
	r.Annotations = r.Annotations.keyed()
	return err
}

// A target is the path of an action, as it is stored.
type target struct {
	Namespace string `json:"namespace"`
	Package   string `json:"package,omitempty"`
	Name      string `json:"name"`
}

func (r rule) action() path { return path{rouse.Namespace(r.To.Namespace), r.To.Package, r.To.Name} }

type namedRule struct {
	rule
	name     string
	revision int64
}

// rulesOf are the rules of a trigger, by name.
func (d *Door) rulesOf(ctx context.Context, ns rouse.Namespace, trigger string) ([]namedRule, error) {
	var list []namedRule
	for s, err := range d.rules.each(ctx, ns) {
		if err != nil {
			return nil, err
		}
		if s.value.Trigger == trigger {
			list = append(list, namedRule{s.value, s.name, s.revision})
		}
	}
	slices.SortFunc(list, func(a, b namedRule) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// A ruleBody is what a client puts.
type ruleBody struct {
	Version     string  `json:"version"`
	Publish     *bool   `json:"publish"`
	Annotations pairs   `json:"annotations"`
	Trigger     *string `json:"trigger"`
	Action      *string `json:"action"`
	Status      string  `json:"status"`
}

// A ruleSeen is a rule as clients see it.
type ruleSeen struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Publish     bool      `json:"publish"`
	Annotations pairs     `json:"annotations"`
	Trigger     *pathSeen `json:"trigger"`
	Action      *pathSeen `json:"action"`
	Status      string    `json:"status"`
	Updated     int64     `json:"updated"`
}

func (r rule) seen(ns rouse.Namespace, name string) ruleSeen {
	return ruleSeen{Namespace: string(ns), Name: name, Version: r.Version, Publish: r.Publish, Annotations: r.Annotations.orEmpty(),
		Trigger: seen(path{ns: ns, name: r.Trigger}), Action: seen(r.action()), Status: r.Status, Updated: r.Updated}
}

func (d *Door) putRule(c *call) error {
	ns, name, err := c.namePath("rules")
	if err != nil {
		return err
	}
	var in ruleBody
	if err := c.read(&in, maxEntity); err != nil {
		return err
	}
	ctx := c.r.Context()
	defer d.locks.hold(string(ns) + "/" + name)()
	r, revision, exists, err := d.rules.get(ctx, ns, name)
	switch {
	case err != nil:
		return err
	case exists && c.r.URL.Query().Get("overwrite") != "true":
		return refuse(http.StatusConflict, textExists)
	case !exists:
		if err := d.elsewhere(c, ns, name, "rules"); err != nil {
			return err
		}
		r.Status = statusActive
		if in.Trigger == nil || in.Action == nil {
			return refuse(http.StatusBadRequest, "rule requires a valid trigger and a valid action")
		}
	}
	before := r.Trigger
	if err := d.lead(ctx, ns, &r, in); err != nil {
		return err
	}
	if in.Status == statusActive || in.Status == statusInactive {
		r.Status = in.Status
	}
	if r.Version, err = nextVersion(in.Version, r.Version); err != nil {
		return err
	}
	if in.Publish != nil {
		r.Publish = *in.Publish
	}
	r.Annotations, r.Updated = r.Annotations.with(in.Annotations...), d.millis()
	if err := checkPairs("annotations", r.Annotations); err != nil {
		return err
	}
	if err := d.setRule(ctx, ns, namedRule{r, name, revision}); err != nil {
		return err
	}
	if before != "" && before != r.Trigger {
		if err := d.settle(ctx, ns, before); err != nil {
			return err
		}
	}
	return d.showRule(c, ns, r, name)
}

// showRule answers with a rule, and says of one that is paused that it is inactive.
func (d *Door) showRule(c *call, ns rouse.Namespace, r rule, name string) error {
	why, err := d.paused(c.r.Context(), ns, r.Trigger)
	if err != nil {
		return err
	}
	if why != "" {
		r.Status = statusInactive
	}
	return c.answer(http.StatusOK, r.seen(ns, name))
}

// paused says why what a trigger makes comes to no rule for now: an operator has
// said so, or its events led to others without end. "" is that it does, or would:
// where an operator has removed what brings it to rules that are active, that is
// made anew.
func (d *Door) paused(ctx context.Context, ns rouse.Namespace, trigger string) (why string, err error) {
	r, err := d.Rules.Rule(ctx, handOver(ns, trigger))
	if rouse.KindOf(err) == rouse.NotFound {
		return "", d.restore(ctx, ns, trigger)
	}
	return r.Paused, err
}

// restore attaches a trigger that is there and has an active rule.
func (d *Door) restore(ctx context.Context, ns rouse.Namespace, trigger string) error {
	active := func() (bool, error) {
		rules, err := d.rulesOf(ctx, ns, trigger)
		return slices.ContainsFunc(rules, func(r namedRule) bool { return r.Status == statusActive }), err
	}
	if ok, err := active(); !ok || err != nil { // mostly, and nobody need wait for that
		return err
	}
	defer d.holdRules(ns, trigger)()
	if ok, err := active(); !ok || err != nil {
		return err
	}
	_, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: ns, Name: encode(trigger)})
	if rouse.KindOf(err) == rouse.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return d.attach(ctx, ns, trigger)
}

// setRule stores a rule. What its trigger makes comes to it then, unless nobody
// is to see that.
func (d *Door) setRule(ctx context.Context, ns rouse.Namespace, r namedRule) error {
	defer d.holdRules(ns, r.Trigger)()
	if r.Status == statusActive {
		if _, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: ns, Name: encode(r.Trigger)}); rouse.KindOf(err) == rouse.NotFound {
			return refuse(http.StatusNotFound, "Only rules with existing triggers can be activated")
		} else if err != nil {
			return err
		}
		if err := d.attach(ctx, ns, r.Trigger); err != nil {
			return err
		}
	}
	return d.rules.put(ctx, ns, r.name, r.rule, r.revision)
}

// holdRules lets one change at a time decide whether anything is to see what a
// trigger makes.
func (d *Door) holdRules(ns rouse.Namespace, trigger string) (release func()) {
	return d.locks.hold("rules of " + string(ns) + "/" + trigger)
}

// attached is attach, on its own.
func (d *Door) attached(ctx context.Context, ns rouse.Namespace, trigger string) error {
	defer d.holdRules(ns, trigger)()
	return d.attach(ctx, ns, trigger)
}

// lead sets from where to where a rule leads; both must be there.
func (d *Door) lead(ctx context.Context, ns rouse.Namespace, r *rule, in ruleBody) error {
	if in.Trigger != nil {
		p, err := parseQualified(ns, *in.Trigger)
		if err != nil || p.pack != "" {
			return refuse(http.StatusBadRequest, "rule requires a valid trigger and a valid action")
		}
		if p.ns != ns {
			return refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s'.", p)
		}
		if _, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: ns, Name: encode(p.name)}); rouse.KindOf(err) == rouse.NotFound {
			return refuse(http.StatusBadRequest, "trigger /%s does not exist", p)
		} else if err != nil {
			return err
		}
		r.Trigger = p.name
	}
	if in.Action != nil {
		p, err := parseQualified(ns, *in.Action)
		if err != nil {
			return refuse(http.StatusBadRequest, "rule requires a valid trigger and a valid action")
		}
		if _, err := d.find(ctx, ns, p); err != nil {
			if refusalOf(err).status == http.StatusNotFound {
				return refuse(http.StatusBadRequest, "action /%s does not exist", p)
			}
			return err
		}
		r.To = target{string(p.ns), p.pack, p.name}
	}
	return nil
}

// attach sees to it that what a trigger makes comes to its rules: a native rule
// brings it to a function that the Door answers for. It is called with holdRules.
func (d *Door) attach(ctx context.Context, ns rouse.Namespace, trigger string) error {
	ref := handOver(ns, trigger)
	if _, err := d.Rules.Rule(ctx, ref); err == nil {
		return nil
	} else if rouse.KindOf(err) != rouse.NotFound {
		return err
	}
	if _, err := d.Registry.Function(ctx, ref, ""); rouse.KindOf(err) == rouse.NotFound {
		f := rouse.Function{Ref: ref, Runtime: prefixTrigger, Contract: contractTrigger, Handler: prefixTrigger, Retry: rouse.Retry{Attempts: 1}}
		if _, err := d.Registry.Deploy(ctx, f, nil, nil); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	_, err := d.Rules.SetRule(ctx, event.Rule{Ref: ref, On: event.On{Trigger: encode(trigger)}, To: event.Target{Function: ref.Name},
		Parallel: 16, Retry: event.Retry{Retry: rouse.Retry{Attempts: 20}}})
	return err
}

// detach is the end of what attach did. It is called with holdRules.
func (d *Door) detach(ctx context.Context, ns rouse.Namespace, trigger string) error {
	ref := handOver(ns, trigger)
	if err := d.leave(ctx, ns, trigger); err != nil {
		return err
	}
	if err := d.Rules.RemoveRule(ctx, ref); err != nil && rouse.KindOf(err) != rouse.NotFound {
		return err
	}
	if err := d.Registry.Remove(ctx, ref); err != nil && rouse.KindOf(err) != rouse.NotFound {
		return err
	}
	d.actions.drop(ref)
	return nil
}

// settle detaches a trigger that has no rules left.
func (d *Door) settle(ctx context.Context, ns rouse.Namespace, trigger string) error {
	defer d.holdRules(ns, trigger)()
	rules, err := d.rulesOf(ctx, ns, trigger)
	if err != nil || len(rules) > 0 {
		return err
	}
	if kept, err := d.keeps(ctx, ns, trigger); kept || err != nil {
		return err
	}
	return d.detach(ctx, ns, trigger)
}

// rule is the one that a request names.
func (d *Door) rule(c *call) (ns rouse.Namespace, r namedRule, err error) {
	if ns, err = c.mine(); err != nil {
		return ns, r, err
	}
	name := c.rest("rules")
	if err := checkName(name); err != nil {
		return ns, r, err
	}
	value, revision, ok, err := d.rules.get(c.r.Context(), ns, name)
	if err != nil {
		return ns, r, err
	}
	if !ok {
		if d.elsewhere(c, ns, name, "rules") != nil {
			return ns, r, refuse(http.StatusConflict, textElsewhere)
		}
		return ns, r, errNotFound
	}
	return ns, namedRule{value, name, revision}, nil
}

// ruleHeld is the one that a request of its owner names, which nobody else may
// change until it is released.
func (d *Door) ruleHeld(c *call) (ns rouse.Namespace, r namedRule, release func(), err error) {
	if ns, err = c.mine(); err == nil {
		err = c.owner()
	}
	if err != nil {
		return ns, r, nil, err
	}
	release = d.locks.hold(string(ns) + "/" + c.rest("rules"))
	if ns, r, err = d.rule(c); err != nil {
		release()
	}
	return ns, r, release, err
}

func (d *Door) getRule(c *call) error {
	ns, r, err := d.rule(c)
	if err != nil {
		return err
	}
	return d.showRule(c, ns, r.rule, r.name)
}

func (d *Door) deleteRule(c *call) error {
	ns, r, release, err := d.ruleHeld(c)
	if err != nil {
		return err
	}
	defer release()
	if err := d.removeRule(c.r.Context(), ns, r); err != nil {
		return err
	}
	if err := d.settle(c.r.Context(), ns, r.Trigger); err != nil {
		return err
	}
	r.Status = statusInactive
	return c.answer(http.StatusOK, r.seen(ns, r.name))
}

func (d *Door) removeRule(ctx context.Context, ns rouse.Namespace, r namedRule) error {
	defer d.holdRules(ns, r.Trigger)()
	return d.rules.remove(ctx, ns, r.name, r.revision)
}

func (d *Door) setRuleStatus(c *call) error {
	var in ruleBody
	if err := c.read(&in, maxEntity); err != nil {
		return err
	}
	if in.Status != statusActive && in.Status != statusInactive {
		return refuse(http.StatusBadRequest, "The request content was malformed:\n'%s' is not a recognized rule state", in.Status)
	}
	ns, r, release, err := d.ruleHeld(c)
	if err != nil {
		return err
	}
	defer release()
	if r.Status != in.Status || in.Status == statusActive {
		r.Status = in.Status
		if err := d.setRule(c.r.Context(), ns, r); err != nil {
			return err
		}
	}
	why, err := d.paused(c.r.Context(), ns, r.Trigger)
	if err == nil && why != "" && in.Status == statusActive {
		err = d.Control.Resume(c.r.Context(), handOver(ns, r.Trigger))
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (d *Door) listRules(c *call) error {
	ns, err := c.mine()
	if err != nil {
		return err
	}
	var items []item
	for s, err := range d.rules.each(c.r.Context(), ns) {
		if err != nil {
			return err
		}
		r := s.value
		items = append(items, item{Namespace: string(ns), Name: s.name, Version: r.Version, Publish: r.Publish,
			Updated: r.Updated, Trigger: seen(path{ns: ns, name: r.Trigger}), Action: seen(r.action()), fill: func(i *item) error {
				r, _, _, err := d.rules.get(c.r.Context(), ns, i.Name)
				i.Annotations = r.Annotations.orEmpty()
				return err
			}})
	}
	return c.list("rules", items)
}
