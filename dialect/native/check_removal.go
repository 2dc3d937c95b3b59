package native

import (
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

// removal refuses to remove what is used by what will be there.
func (k *checker) removal(kind, name string) error {
	user, err := k.user(kind, name)
	switch {
	case err != nil:
		return err
	case user != "":
		what, _, _ := strings.Cut(user, " ")
		return rouse.Errorf(rouse.Conflict, "remove "+kind, k.ref(name).String(), "%s: remove that %s as well", user, what)
	case kind == "bucket":
		return k.empty(name)
	}
	return nil
}

// user says what uses a thing, and how; "" is nothing.
func (k *checker) user(kind, name string) (string, error) {
	rules, err := k.rules()
	if err != nil {
		return "", err
	}
	for _, r := range rules {
		if listens(r.On, kind, name) {
			return "rule " + r.Name + " listens to it", nil
		}
		for _, t := range []*event.Target{&r.To, r.DeadLetter, r.Success, r.Failure} {
			if t != nil && leads(*t, kind, name) {
				return "rule " + r.Name + " delivers to it", nil
			}
		}
	}
	switch kind {
	case "function":
		return k.routeTo(name)
	case "queue":
		return k.deadLettersTo(name)
	}
	return "", nil
}

func listens(on event.On, kind, name string) bool {
	return map[string]string{"trigger": on.Trigger, "stream": on.Stream, "queue": on.Queue, "table": on.Table, "bucket": on.Bucket, "function": on.Function}[kind] == name
}

func leads(t event.Target, kind, name string) bool {
	return map[string]string{"stream": t.Stream, "queue": t.Queue, "function": t.Function}[kind] == name
}

// rules are those that will be there.
func (k *checker) rules() ([]*event.Rule, error) {
	if k.left != nil {
		return k.left, nil
	}
	there, err := k.Rules.Rules(k.c.r.Context(), k.ns, "", 0)
	k.left = []*event.Rule{}
	for i := range there {
		if _, another := k.soon.Rules[there[i].Name]; !another {
			k.left = append(k.left, &there[i])
		}
	}
	for _, r := range k.soon.Rules {
		if r != nil {
			k.left = append(k.left, r)
		}
	}
	return k.left, err
}

// routeTo says which route leads to a function; "" is none.
func (k *checker) routeTo(function string) (string, error) {
	if k.Routes == nil {
		return "", nil
	}
	there, err := k.Routes.Routes(k.c.r.Context(), k.ns, "", 0)
	for _, r := range there {
		if _, another := k.routes[r.Name]; r.To == function && !another {
			return "route " + r.Name + " leads to it", err
		}
	}
	for pattern, r := range k.routes {
		if r != nil && r.To == function {
			return "route " + pattern + " leads to it", err
		}
	}
	return "", err
}

// deadLettersTo says which queue has another for its dead letters; "" is none.
func (k *checker) deadLettersTo(queue string) (string, error) {
	if k.dead == nil {
		there, err := k.Data.Queues.List(k.c.r.Context(), k.ns, "", 0)
		if err != nil {
			return "", err
		}
		to := map[string]string{}
		for _, q := range there {
			to[q.Name] = q.DeadLetter.Name
		}
		for _, ch := range k.queues {
			var o wire.QueueOptions
			if ch.Set != nil {
				_ = readSet(ch.Set, &o) // what is wrong with it is said of that change
			}
			to[ch.Name] = o.DeadLetter
		}
		k.dead = map[string]string{}
		for q, dead := range to {
			k.dead[dead] = q
		}
	}
	if q := k.dead[queue]; q != "" {
		return "queue " + q + " sends its dead letters to it", nil
	}
	return "", nil
}

// empty refuses to remove a bucket in which there is something.
func (k *checker) empty(bucket string) error {
	l, err := k.Data.Buckets.ListVersions(k.c.r.Context(), data.ObjectList{Bucket: k.ref(bucket), Limit: 1})
	if err == nil && len(l.Objects) > 0 {
		return rouse.Errorf(rouse.Conflict, "remove bucket", k.ref(bucket).String(), "it holds objects, such as %q: remove them first", l.Objects[0].Key)
	}
	return err
}
