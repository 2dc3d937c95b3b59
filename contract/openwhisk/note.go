package openwhisk

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

// A Note is what an action is besides a Function. It is kept, in JSON, in
// Function.Notes under Name. A Function without one works as well.
type Note struct {
	Kind       string                     `json:"kind"`                 // "nodejs:20", "python:3.11", "go:1.20", "blackbox"
	Version    string                     `json:"version"`              // "0.0.1"
	Path       string                     `json:"path"`                 // "guest/pkg/hello"
	Arguments  map[string]json.RawMessage `json:"arguments,omitempty"`  // defaults; an event's own win
	Env        map[string]json.RawMessage `json:"env,omitempty"`        // more environment; a string as it is, else its JSON
	ProvideKey bool                       `json:"provideKey,omitempty"` // the code is told a key for the API
	Result     int64                      `json:"result,omitempty"`     // bytes of a result that is not cut; 0 is 1 MiB

	namespace string // in which it runs; the Path may be another's
}

// defaultResult is a Note's Result where it says none.
const defaultResult = 1 << 20

// noteOf reads f's Note and fills in what it leaves open.
func noteOf(f rouse.Function) (Note, error) {
	var n Note
	if raw := f.Notes[Name]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &n); err != nil {
			return Note{}, err
		}
	}
	n.Kind = cmp.Or(n.Kind, KindOf(f.Runtime))
	n.Version = cmp.Or(n.Version, "0.0."+strconv.Itoa(max(f.Version, 1)))
	n.Path = cmp.Or(n.Path, f.Ref.String())
	if n.Result <= 0 {
		n.Result = defaultResult
	}
	n.namespace = string(f.Namespace)
	return n, nil
}

// KindOf is the kind that a runtime stands for, such as "python:3.11".
func KindOf(runtime string) string {
	for _, family := range []string{"python", "nodejs"} {
		if number, ok := strings.CutPrefix(runtime, family); ok {
			return family + ":" + cmp.Or(number, "default")
		}
	}
	return runtime
}

// loaded says whether the code is loaded by a worker; else it is a program.
func (n Note) loaded() bool {
	return strings.HasPrefix(n.Kind, "python") || strings.HasPrefix(n.Kind, "nodejs")
}
