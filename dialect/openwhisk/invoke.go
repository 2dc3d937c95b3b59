package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/internal/ident"
)

// headerActivation tells of the activation that a request made.
const headerActivation = "X-Openwhisk-Activation-Id"

func itoa(n int) string { return strconv.Itoa(n) }

// accepted answers that something will run.
func (c *call) accepted(id string) {
	c.w.Header()[headerActivation] = []string{id}
	c.write(http.StatusAccepted, []byte(`{"activationId":"`+id+`"}`))
}

// quota is what may be done in a namespace.
func (d *Door) quota(ctx context.Context, ns rouse.Namespace) (rouse.Quota, error) {
	s, err := d.Subjects.Subject(ctx, ns)
	if rouse.KindOf(err) == rouse.NotFound { // an operator asks, about one without a subject
		return rouse.Quota{}, nil
	}
	return s.Quota, err
}

// arguments reads the body of an invocation: an object. OpenWhisk takes lists
// from the component before in a sequence, but from no client.
func (c *call) arguments(a *action) ([]byte, error) {
	size := c.r.ContentLength
	if size == 0 {
		return nil, nil
	}
	body := http.MaxBytesReader(c.w, c.r.Body, maxPayload)
	var b []byte
	var err error
	if size > 0 && size <= maxPayload {
		b = make([]byte, size)
		_, err = io.ReadFull(body, b)
	} else {
		b, err = io.ReadAll(body)
	}
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || string(b) == "null" {
		return nil, nil
	}
	if !json.Valid(b) || b[0] != '{' {
		return nil, refuse(http.StatusBadRequest, "The request content was malformed:\n"+textNoObject)
	}
	if a.final {
		return b, a.checkFinal(b)
	}
	return b, nil
}

// checkFinal refuses arguments in the place of parameters that are final.
func (a *action) checkFinal(b []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(b, &given); err != nil {
		return err
	}
	for key := range given {
		if value, ok := a.Arguments[key]; ok && string(value) != "null" {
			return refuse(http.StatusBadRequest, textReserved)
		}
	}
	return nil
}

// waitOf reads how long a blocking invocation is waited for; most don't say.
func (d *Door) waitOf(r *http.Request) (time.Duration, error) {
	if !strings.Contains(r.URL.RawQuery, "timeout") {
		return d.Wait, nil
	}
	text := r.URL.Query().Get("timeout")
	if text == "" {
		return d.Wait, nil
	}
	n, err := strconv.Atoi(text)
	if most := int(d.Wait.Milliseconds()); err != nil || n < 1 || n > most {
		return 0, refuse(http.StatusBadRequest, "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to %d.", most)
	}
	return time.Duration(n) * time.Millisecond, nil
}

// invocation is the one of a that a request makes. Where the client has named no
// transaction, the activation's ID is that: the code is told of it then anyway.
func (d *Door) invocation(c *call, a *action, args []byte) rouse.Invocation {
	in := rouse.Invocation{ID: c.transaction, Function: a.f.Ref, Event: rouse.Event{Data: a.given(args)}}
	if c.named {
		in.ID, in.Event.Attributes = ident.New(), map[string]string{openwhisk.Transaction: c.transaction}
	}
	return in
}

func (d *Door) invokeAction(c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	p, err := parse(ns, c.rest("actions"))
	if err != nil {
		return err
	}
	if err := c.may("function", p.ref().Name, true); err != nil {
		return err
	}
	ctx := context.WithoutCancel(c.r.Context())
	a, err := d.find(ctx, c.own(), p)
	if err != nil {
		return d.missing(c, p, err)
	}
	args, err := c.arguments(a)
	if err == nil && c.owner() != nil {
		err = d.entitled(ctx, c.own(), a, args)
	}
	if err != nil {
		return err
	}
	at, err := d.admit(ctx, c.own())
	if err != nil {
		return err
	}
	in := d.invocation(c, a, args)
	blocking, result := flags(c.r.URL.RawQuery)
	if !blocking {
		if _, err := d.Acceptor.Accept(ctx, []rouse.Invocation{in}); err != nil {
			at.free()
			return err
		}
		at.keep(in)
		c.accepted(in.ID)
		return nil
	}
	wait, err := d.waitOf(c.r)
	if err != nil {
		at.free()
		return err
	}
	got, ok := d.await(c, in, wait, at, func() { c.accepted(in.ID) })
	switch {
	case !ok:
		return nil
	case got.err != nil && got.ID == "": // it came to no activation
		return got.err
	}
	return d.answered(c, a, got.Activation, result)
}

// flags reads what most invocations say, without parsing the query in full.
func flags(query string) (blocking, result bool) {
	for query != "" {
		var one string
		one, query = cut(query)
		switch one {
		case "blocking=true":
			blocking = true
		case "result=true":
			result = true
		}
	}
	return blocking, result
}

func cut(query string) (first, rest string) {
	for i := range len(query) {
		if query[i] == '&' {
			return query[:i], query[i+1:]
		}
	}
	return query, ""
}

// An outcome is what an Invoker returned.
type outcome struct {
	rouse.Activation
	err error
}

// await runs an invocation to its end. Where that takes longer than wait, be it
// that it runs so long or that it waits for an instance, late answers meanwhile,
// and ok is false. It runs here: to have another goroutine wait for it would cost
// a short call a good part of its time.
func (d *Door) await(c *call, in rouse.Invocation, wait time.Duration, at slot, late func()) (got outcome, ok bool) {
	var answering sync.Mutex // guards the answer, and who has given it
	ended, tooLate := false, false
	timer := time.AfterFunc(wait, func() {
		answering.Lock()
		defer answering.Unlock()
		if ended {
			return
		}
		tooLate = true
		c.w.Header().Set("Connection", "close") // until the end it is not free for another request
		late()
		_ = http.NewResponseController(c.w).Flush() // an error is the connection's
	})
	defer timer.Stop()
	defer at.free()
	got.Activation, got.err = d.Invoker.Invoke(context.WithoutCancel(c.r.Context()), in)
	answering.Lock()
	defer answering.Unlock()
	ended = true
	return got, !tooLate
}

// answered answers a blocking invocation.
func (d *Door) answered(c *call, a *action, act rouse.Activation, resultOnly bool) error {
	r := responseOf(a, act)
	status := http.StatusOK
	switch r.code {
	case codeApplication, codeDeveloper:
		status = http.StatusBadGateway
	case codeInternal:
		status = http.StatusInternalServerError
	}
	c.w.Header()[headerActivation] = []string{act.ID}
	if resultOnly {
		c.write(status, r.Result)
		return nil
	}
	s, err := d.activation(c.r.Context(), act, a)
	if err != nil {
		return err
	}
	s.Response.StatusCode = nil
	if composed(a) {
		if s.Logs, err = d.logs(c.r.Context(), act); err != nil {
			return err
		}
	}
	return c.answer(status, s)
}
