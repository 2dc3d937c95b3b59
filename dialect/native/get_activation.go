package native

import (
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

const (
	maxWait  = 15 * time.Minute
	minDelay = 5 * time.Millisecond // between two looks at the records
	maxDelay = time.Second
)

func getActivation(s *server, c *call) error {
	a, err := s.activation(c)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.ActivationOf(a))
}

// activation finds the one that the path names. With a "wait" in the query it
// waits as long for the record of one that has not ended, or is tried again.
func (s *server) activation(c *call) (rouse.Activation, error) {
	ns, err := c.namespace()
	if err != nil {
		return rouse.Activation{}, err
	}
	id := c.r.PathValue("id")
	if err := checkID(id); err != nil {
		return rouse.Activation{}, err
	}
	wait, err := c.span("wait", maxWait)
	if err != nil {
		return rouse.Activation{}, err
	}
	for end, delay := time.Now().Add(wait), minDelay; ; delay = min(2*delay, maxDelay) {
		a, err := s.Records.Activation(c.r.Context(), id)
		if err == nil && a.Function.Namespace != ns {
			return rouse.Activation{}, rouse.Errorf(rouse.NotFound, "get activation", id, "there is no such activation in namespace %s", ns)
		}
		ended := err == nil && a.Status != rouse.StatusPending && !a.Again
		left := time.Until(end)
		if ended || left <= 0 || (err != nil && rouse.KindOf(err) != rouse.NotFound) {
			return a, err
		}
		select {
		case <-c.r.Context().Done():
			return a, c.r.Context().Err()
		case <-time.After(min(delay, left)):
		}
	}
}
