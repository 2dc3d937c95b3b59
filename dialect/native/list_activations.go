package native

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listActivations(s *server, c *call) error {
	q, err := c.activationQuery()
	if err != nil {
		return err
	}
	as, err := s.Records.Activations(c.r.Context(), q)
	if err != nil {
		return err
	}
	slices.SortStableFunc(as, func(a, b rouse.Activation) int {
		return cmp.Or(strings.Compare(b.ID, a.ID), b.Started.Compare(a.Started)) // those of one ID are attempts
	})
	page := wire.Activations{Activations: make([]wire.Activation, len(as))}
	for i, a := range as {
		page.Activations[i] = wire.ActivationOf(a)
	}
	if len(as) == q.Limit {
		page.Next = as[q.Limit-1].ID
	}
	return c.answer(http.StatusOK, page)
}

func (c *call) activationQuery() (q rouse.ActivationQuery, err error) {
	if q.Namespace, err = c.namespace(); err != nil {
		return q, err
	}
	if q.Function = c.query.Get("function"); q.Function != "" {
		if err := rouse.CheckFunction(q.Function); err != nil {
			return q, err
		}
	}
	if q.Statuses, err = readStatuses(c.query.Get("status")); err != nil {
		return q, err
	}
	if q.Since, err = c.moment("since"); err != nil {
		return q, err
	}
	if q.Until, err = c.moment("until"); err != nil {
		return q, err
	}
	if q.Before = c.query.Get("before"); q.Before != "" {
		if err := checkID(q.Before); err != nil {
			return q, err
		}
	}
	q.Limit, err = c.limit(50, 1000)
	return q, err
}

// readStatuses reads "failed,timed-out": a "-" or "_" stands for a space.
func readStatuses(list string) (ss []rouse.Status, err error) {
	if list == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		var st rouse.Status
		word = strings.NewReplacer("-", " ", "_", " ").Replace(strings.TrimSpace(word))
		if err := st.UnmarshalText([]byte(word)); err != nil {
			return nil, err
		}
		ss = append(ss, st)
	}
	return ss, nil
}

// checkID refuses what can't be an Activation's ID.
func checkID(id string) error {
	if len(id) == 32 && strings.Trim(id, "0123456789abcdef") == "" {
		return nil
	}
	return invalid("%q is no activation's id, which is 32 digits of lowercase hex", id)
}
