package manifest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A late is a server whose one thing somebody else has stored, which is not seen
// yet: to put it fails some times, whatever GET shows.
type late struct {
	conflicts int
	puts      int
}

func (l *late) Do(_ context.Context, method string, path []string, _ url.Values, _, _ any) error {
	if method == http.MethodGet {
		return rouse.Errorf(rouse.NotFound, "find", path[1], "there is none")
	}
	l.puts++
	if l.puts <= l.conflicts {
		return rouse.Errorf(rouse.Conflict, "change", path[1], "it is at revision 1, not 0: read it again")
	}
	return nil
}

func (l *late) Function(context.Context, string, string) (rouse.Function, error) {
	panic("there are no functions")
}

func (l *late) Deploy(context.Context, string, wire.Options, io.Reader, func(string)) (rouse.Function, error) {
	panic("there are no functions")
}

func (l *late) Remove(context.Context, string) error { panic("there are no functions") }

// A Conflict is tried again also where nothing else than before is seen; one that
// stays is told as it is.
func TestConflictsAreTriedAgain(t *testing.T) {
	for conflicts, kind := range map[int]rouse.Kind{1: 0, attempts - 1: 0, attempts: rouse.Conflict} {
		l := &late{conflicts: conflicts}
		undo, err := (&setter{l, "trigger", []string{"triggers", "t"}, document{"kind": "manual"}}).set(t.Context())
		if (err == nil) != (kind == 0) || err != nil && rouse.KindOf(err) != kind || (undo == nil) != (err != nil) {
			t.Errorf("after %d conflicts: %v", conflicts, err)
		}
		if want := min(conflicts+1, attempts); l.puts != want {
			t.Errorf("after %d conflicts it was put %d times, want %d", conflicts, l.puts, want)
		}
	}
}
