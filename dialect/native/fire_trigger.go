package native

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/internal/ident"
)

// maxEvents bounds the events of one request.
const maxEvents = 1000

// reserved are the names that CloudEvents gives to what an event has of its own.
var reserved = []string{"data", "datacontenttype", "id", "source", "specversion", "subject", "time", "type"}

// isAttribute reports whether a name is that of an extension attribute of an event
// (CloudEvents 1.0, section 3.1).
func isAttribute(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == "" && !slices.Contains(reserved, name)
}

func fireTrigger(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Events
	if err := readJSONUpTo(c.r.Body, s.MaxBatch, &in); err != nil {
		return err
	}
	if n := len(in.Events); n < 1 || n > maxEvents {
		return invalid("events has %d members; give from 1 to %d", n, maxEvents)
	}
	es := make([]rouse.Event, len(in.Events))
	out := wire.Fired{IDs: make([]string, len(es))}
	for i, w := range in.Events {
		if es[i], err = w.Unwrap(); err != nil {
			return err
		}
		for name := range es[i].Attributes {
			if !isAttribute(name) {
				return invalid("events[%d].attributes has %q; CloudEvents want names of the letters a to z and digits, and those that an event has of its own are beside attributes", i, name)
			}
		}
		if es[i].ID == "" {
			es[i].ID = ident.New()
		}
		out.IDs[i] = es[i].ID
	}
	if err := s.Control.Emit(c.r.Context(), ref, es, nil); err != nil {
		return err
	}
	return c.answer(http.StatusOK, out)
}
