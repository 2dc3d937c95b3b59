package openwhisk_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// The code, and what it starts, see the variables of each event anew, and what
// the code sets itself.
func TestVariablesOfEachEvent(t *testing.T) {
	for name, a := range map[string]action{
		"python": python(`
import os, resource, subprocess
os.environ['MINE'] = '1'
def main(args):
    os.environ['LATER'] = args.get('later', 'none')
    child = subprocess.run(['/bin/sh', '-c', 'echo $__OW_ACTIVATION_ID $__OW_TRANSACTION_ID $MINE $LATER $__OW_DEADLINE'], capture_output=True, text=True).stdout.split()
    return {'own': [os.environ['__OW_ACTIVATION_ID'], os.environ['__OW_TRANSACTION_ID'], os.environ['MINE'], os.environ['LATER'], os.environ['__OW_DEADLINE']], 'child': child}
`),
		"nodejs": node(`
const { execFileSync } = require('child_process')
process.env.MINE = 1
function main (args) {
  const env = process.env
  env.LATER = args.later || 'none'
  const child = execFileSync('/bin/sh', ['-c', 'echo $__OW_ACTIVATION_ID $__OW_TRANSACTION_ID $MINE $LATER $__OW_DEADLINE']).toString().trim().split(' ')
  return { own: [env.__OW_ACTIVATION_ID, env.__OW_TRANSACTION_ID, env.MINE, env.LATER, env.__OW_DEADLINE], child }
}
`),
	} {
		t.Run(name, func(t *testing.T) {
			h := a.boot(t)
			for _, later := range []string{"first", "second"} {
				var got struct{ Own, Child []string }
				if err := json.Unmarshal(h.ask(t, `{"later":"`+later+`"}`).Result, &got); err != nil {
					t.Fatal(err)
				}
				if len(got.Own) != 5 || got.Own[0] == "" || got.Own[0] != got.Own[1] || got.Own[2] != "1" || got.Own[3] != later || len(got.Own[4]) != 13 {
					t.Errorf("%q", got.Own)
				}
				if strings.Join(got.Own, " ") != strings.Join(got.Child, " ") {
					t.Errorf("a child sees %q, not %q", got.Child, got.Own)
				}
			}
		})
	}
}

// No value of a variable is kept: an instance does not grow with its events.
func TestVariablesAreNotKept(t *testing.T) {
	h := python("import resource\ndef main(args):\n    return {'kilobytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n").boot(t)
	held := func(events int) int {
		t.Helper()
		var got struct{ Kilobytes int }
		for n := range events {
			a := h.send(t, rouse.Invocation{ID: fmt.Sprintf("%032d", events+n), Event: rouse.Event{Data: []byte("{}")}})
			if err := json.Unmarshal(a.Result, &got); err != nil {
				t.Fatal(err)
			}
		}
		return got.Kilobytes
	}
	if before, after := held(2_000), held(20_000); after > before+2_000 {
		t.Errorf("it holds %d KB, and after 20,000 events %d", before, after)
	}
}
