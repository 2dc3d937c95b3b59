package process_test

import (
	"testing"

	"github.com/rouse-run/rouse/sandbox/process"
)

// A driver was made, so the doctor must find all that it needs.
func TestDoctorFindsWhatThisHostHas(t *testing.T) {
	d := process.Doctor()
	for _, c := range d.Checks {
		t.Logf("%v %s: %s %s", c.OK, c.Name, c.Detail, c.Hint)
		if len(c.Needed) > 0 && !c.OK {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
		if !c.OK && c.Hint == "" {
			t.Errorf("%s failed without a hint", c.Name)
		}
	}
	if d.Tier != "namespaces" || d.Next != "" {
		t.Errorf("tier %s, next %q", d.Tier, d.Next)
	}
}
