package native

import (
	"net/http"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// serveTrigger hands a request to what serves its trigger. Triggers that are not
// there and those that ask for a token look the same to who has none.
func serveTrigger(s *server, c *call) error {
	address := c.r.PathValue("name")
	ref, err := triggerAt(address)
	if err != nil {
		return err
	}
	t, missing := s.Rules.Trigger(c.r.Context(), ref)
	var server event.Server
	if missing == nil && s.Servers != nil {
		server = s.Servers(t.Kind)
	}
	denied := s.authenticate(c)
	if denied == nil {
		c.r.Header.Del("Authorization") // the platform's token is no part of an event
	}
	switch {
	case denied != nil && (server == nil || !server.Open(t)):
		return denied
	case missing != nil:
		return missing
	case server == nil:
		return rouse.Errorf(rouse.NotFound, "route request", ref.String(), "a trigger of the kind %s takes no requests", t.Kind)
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, s.MaxBatch)
	server.Serve(c.w, c.r, t, strings.TrimPrefix(c.r.URL.Path, "/on/"+address))
	return nil
}

// triggerAt is the trigger of an address: NAME of the default namespace, or
// NAMESPACE:NAME of any. A dialect may have spelt the name as CheckFunction has it.
func triggerAt(address string) (rouse.Ref, error) {
	ref := rouse.Ref{Namespace: rouse.DefaultNamespace, Name: address}
	if ns, name, ok := strings.Cut(address, ":"); ok {
		ref = rouse.Ref{Namespace: rouse.Namespace(ns), Name: name}
	}
	if err := rouse.CheckName(string(ref.Namespace)); err != nil {
		return ref, err
	}
	return ref, rouse.CheckFunction(ref.Name)
}
