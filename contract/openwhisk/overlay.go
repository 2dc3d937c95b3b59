package openwhisk

import "github.com/rouse-run/rouse"

// Overlay returns what the code of an action is given of an event: its data over
// the action's defaults. The error is of data that is no object.
func (n Note) Overlay(e rouse.Event) ([]byte, error) {
	w := newWriter(n)
	return w.appendArguments(nil, e)
}
