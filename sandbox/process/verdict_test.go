package process

import "testing"

func TestVerdict(t *testing.T) {
	no := func(hint string, tiers ...string) Check { return Check{Hint: hint, Needed: tiers} }
	for _, c := range []struct {
		checks     []Check
		tier, next string
	}{
		{[]Check{{OK: true, Needed: []string{Namespaces, Landlock}}, no("load a module")}, Namespaces, ""},
		{[]Check{no("be root", Namespaces), no("later", Namespaces)}, Landlock, "be root"},
		{[]Check{no("be root", Namespaces), no("update", Landlock)}, none, "be root; or update"},
		{[]Check{no("update", Namespaces, Landlock)}, none, "update"},
	} {
		if tier, next := verdict(c.checks); tier != c.tier || next != c.next {
			t.Errorf("%+v: tier %s, next %q", c.checks, tier, next)
		}
	}
}
