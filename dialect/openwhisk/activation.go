package openwhisk

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
)

// The status codes of an activation.
const (
	codeSuccess = iota
	codeApplication
	codeDeveloper
	codeInternal
)

var statusNames = [...]string{"success", "application error", "action developer error", "whisk internal error"}

// Texts of what becomes of actions.
const (
	textNoInit     = "The action did not initialize and exited unexpectedly."
	textNoResponse = "The action did not produce a valid response and exited unexpectedly."
	textMemory     = "The action exhausted its memory and was aborted."
	textProvision  = "Failed to provision resources to run the action."
)

// A response is how an activation ended.
type response struct {
	Status     string          `json:"status"`
	StatusCode *int            `json:"statusCode,omitempty"`
	Success    bool            `json:"success"`
	Result     json.RawMessage `json:"result"`
	Size       int             `json:"size,omitempty"`

	code int
}

// failureApplication is the Type of a Failure that the code itself returned.
const failureApplication = "ApplicationError"

// responseOf says in OpenWhisk's words how an activation of a ended.
func responseOf(a *action, act rouse.Activation) response {
	r := response{}
	failed := func(code int, text string) response {
		result, _ := json.Marshal(map[string]string{"error": text}) // strings always marshal
		return finished(code, result)
	}
	booting := act.Cold && act.Run == 0
	switch act.Status {
	case rouse.StatusAnswered:
		return finished(codeSuccess, resultOf(act))
	case rouse.StatusFailed:
		switch {
		case act.Failure == nil:
			return failed(codeDeveloper, textNoResponse)
		case act.Failure.Type == failureApplication && len(act.Result) > 0:
			return finished(codeApplication, act.Result)
		case act.Failure.Type == failureApplication, a != nil && a.native():
			return failed(codeApplication, act.Failure.Message)
		}
		return failed(codeDeveloper, act.Failure.Message)
	case rouse.StatusTimedOut:
		end := "."
		if booting {
			end = " during initialization."
		}
		var limit int64
		if a != nil {
			limit = time.Duration(a.f.Limits.Timeout).Milliseconds()
		}
		return failed(codeDeveloper, fmt.Sprintf("The action exceeded its time limits of %d milliseconds%s", limit, end))
	case rouse.StatusOutOfMemory:
		return failed(codeDeveloper, textMemory)
	case rouse.StatusCrashed:
		if booting {
			return failed(codeDeveloper, textNoInit)
		}
		return failed(codeDeveloper, textNoResponse)
	}
	text := textProvision
	if act.Failure != nil {
		text += " " + act.Failure.Message
	}
	r = failed(codeInternal, text)
	return r
}

func finished(code int, result json.RawMessage) response {
	return response{Status: statusNames[code], StatusCode: &code, Success: code == codeSuccess, Result: result, Size: len(result), code: code}
}

// resultOf is a result in JSON: what is not is in a string.
func resultOf(act rouse.Activation) json.RawMessage {
	switch {
	case act.ContentType == "" && len(act.Result) > 0:
		return act.Result
	case act.Digest != "":
		b, _ := json.Marshal(map[string]string{"error": fmt.Sprintf("The result of %d bytes is too large to be kept; its SHA-256 is %s.", act.Size, act.Digest)})
		return b
	case len(act.Result) == 0:
		return json.RawMessage("{}")
	}
	b, _ := json.Marshal(string(act.Result)) // a string always can be
	return b
}

// An activationSeen is an activation as clients see it.
type activationSeen struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Publish     bool      `json:"publish"`
	Subject     string    `json:"subject,omitempty"`
	ID          string    `json:"activationId"`
	Start       int64     `json:"start"`
	End         int64     `json:"end,omitempty"`
	Duration    *int64    `json:"duration,omitempty"`
	Cause       string    `json:"cause,omitempty"`
	StatusCode  *int      `json:"statusCode,omitempty"` // of a summary
	Response    *response `json:"response,omitempty"`
	Logs        []string  `json:"logs,omitzero"`
	Annotations pairs     `json:"annotations"`
}

func raw(key string, v any) keyValue {
	b, _ := json.Marshal(v) // numbers, flags and limits always marshal
	return keyValue{Key: key, Value: b}
}

// A record is what an activation keeps of its action, as it was then.
type record struct {
	Kind     string    `json:"kind"`
	Version  string    `json:"version"`
	Limits   limits    `json:"limits"`
	Contract string    `json:"contract,omitempty"` // where it is not that of actions with code
	Path     string    `json:"path,omitempty"`     // where it is another's
	Binding  *pathLike `json:"binding,omitempty"`
}

// recorded is what the activations of f, which is to be an action of note n, keep.
func recorded(n note, f rouse.Function) (rouse.Notes, error) {
	r := record{Kind: n.Kind, Version: n.Version, Limits: n.Limits}
	if f.Contract != Name {
		r.Contract = f.Contract
	}
	if n.Of != nil {
		r.Path, r.Binding = n.Of.Path, n.Of.Binding
	}
	b, err := json.Marshal(r)
	return rouse.Notes{Name: b}, err
}

// action is as much of the action as an activation shows.
func (r record) action(of rouse.Ref) *action {
	a := &action{path: pathOf(of), f: rouse.Function{Ref: of, Contract: cmp.Or(r.Contract, Name), Limits: r.Limits.function()}}
	a.Kind, a.Version, a.Limits = r.Kind, r.Version, r.Limits
	if r.Contract == contractSequence {
		a.f.Limits.Timeout = longest
	}
	if r.Path != "" {
		a.Of = &origin{Path: r.Path, Binding: r.Binding}
	}
	return a
}

// ran is the action that an activation was of, as it was when that began; nil
// where nobody knows: it was deployed natively, and is there no more.
func (d *Door) ran(ctx context.Context, act rouse.Activation) (*action, error) {
	if raw := act.Notes[Name]; raw != nil {
		var r record
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("read note of activation %s: %w", act.ID, err)
		}
		if l := r.Limits; l.Timeout != nil && l.Memory != nil && l.Logs != nil && l.Concurrency != nil { // else it is not ours
			return r.action(act.Function), nil
		}
	}
	f, err := d.Registry.Function(ctx, act.Function, strconv.Itoa(act.Version))
	if rouse.KindOf(err) == rouse.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d.actionOf(f)
}

// activation shows an activation of a, which may be nil, without its log.
func (d *Door) activation(ctx context.Context, act rouse.Activation, a *action) (activationSeen, error) {
	p := pathOf(act.Function)
	s := activationSeen{Namespace: string(act.Function.Namespace), Name: p.name, Version: "0.0." + itoa(max(1, act.Version)), Subject: string(act.Function.Namespace),
		ID: act.ID, Start: began(act).UnixMilli(), Logs: []string{}}
	r := responseOf(a, act)
	s.Response = &r
	if isTrigger(act.Function) {
		s.Annotations = pairs{raw("path", p.String())}
		return s.caused(act.Cause), nil
	}
	s.End = began(act).Add(time.Duration(act.Init + act.Run)).UnixMilli()
	duration := s.End - s.Start
	s.Duration = &duration
	at := p.String()
	if a != nil {
		s.Version = a.Version
		if a.Of != nil {
			at = a.Of.Path
		}
	}
	s.Annotations = pairs{raw("path", at)}
	if a != nil {
		s.Annotations = append(s.Annotations, text("kind", a.Kind), raw("limits", a.Limits))
		if a.Of != nil && a.Of.Binding != nil {
			s.Annotations = append(s.Annotations, text("binding", a.Of.Binding.Namespace+"/"+a.Of.Binding.Name))
		}
	}
	s.Annotations = append(s.Annotations, raw("timeout", act.Status == rouse.StatusTimedOut))
	if a == nil || !composed(a) {
		s.Annotations = append(s.Annotations, raw("waitTime", time.Duration(act.Queued).Milliseconds()))
	}
	if act.Cold {
		s.Annotations = append(s.Annotations, raw("initTime", time.Duration(act.Init).Milliseconds()))
	}
	return d.composition(ctx, s, act, a)
}

// over reports whether an activation has ended: neither does it run, nor will what
// was accepted be tried again, be it for want of room or because it failed.
func over(act rouse.Activation) bool { return act.Status != rouse.StatusPending && !act.Again }

// began is when an activation no longer waited: its code was loaded, or run.
func began(act rouse.Activation) time.Time { return act.Started.Add(time.Duration(act.Queued)) }

// composition adds what an activation has to do with one that composes others.
func (d *Door) composition(ctx context.Context, s activationSeen, act rouse.Activation, a *action) (activationSeen, error) {
	if a != nil && a.f.Contract == contractConductor {
		s.Annotations = append(s.Annotations, raw("conductor", true))
	}
	topmost := a != nil && composed(a)
	if act.Cause != "" && len(act.Cause) == idLength {
		parent, err := d.Records.Activation(ctx, act.Cause)
		if err != nil && rouse.KindOf(err) != rouse.NotFound {
			return s, err
		}
		if err == nil {
			by, err := d.ran(ctx, parent)
			if err != nil {
				return s, err
			}
			if by != nil && composed(by) {
				s.Cause, topmost = act.Cause, false
				s.Annotations = append(s.Annotations, text("causedBy", "sequence"))
			}
		}
	}
	if topmost {
		s.Annotations = append(s.Annotations, raw("topmost", true))
	}
	return s.caused(act.Cause), nil
}

// caused names what led to it, be it an activation or an event.
func (s activationSeen) caused(cause string) activationSeen {
	if cause != "" {
		s.Annotations = append(s.Annotations, text("cause", cause))
	}
	return s
}

func isTrigger(r rouse.Ref) bool {
	return strings.HasPrefix(r.Name, prefixTrigger+":") && !strings.Contains(r.Name, "/")
}

// logs are the lines of an activation.
func (d *Door) logs(ctx context.Context, act rouse.Activation) ([]string, error) {
	lines, err := d.Records.Lines(ctx, rouse.LineQuery{Function: act.Function, Activation: act.ID, Limit: maxLines + 1})
	if err != nil {
		return nil, err
	}
	if len(lines) > maxLines { // the newest are what it came to
		lines = lines[1:]
		lines[0] = rouse.Line{Time: lines[0].Time, Stream: rouse.Stderr, Text: textCut}
	}
	a, err := d.ran(ctx, act)
	if err != nil {
		return nil, err
	}
	if a != nil && a.Limits.Logs != nil && *a.Limits.Logs == 0 {
		return []string{}, nil // the platform says that there were some
	}
	plain := isTrigger(act.Function) || a != nil && composed(a)
	list := make([]string, len(lines))
	for i, l := range lines {
		switch {
		case plain:
			list[i] = l.Text
		case l.Stream == rouse.Platform && a != nil:
			list[i] = fmt.Sprintf("%-30s stderr: Logs were truncated because the total bytes size exceeds the limit of %d bytes.", l.Time.UTC().Format(time.RFC3339Nano), a.f.Limits.Log)
		default:
			stream := l.Stream
			if stream == rouse.Platform {
				stream = rouse.Stderr
			}
			list[i] = fmt.Sprintf("%-30s %s: %s", l.Time.UTC().Format(time.RFC3339Nano), stream, l.Text)
		}
	}
	return list, nil
}

const (
	idLength = 32
	maxLines = 100_000
	textCut  = "Lines before this one are not shown: there are more than 100000."
)

// getActivation answers for one activation, its logs, or its result.
func (d *Door) getActivation(c *call) error {
	ns, err := c.mine()
	if err != nil {
		return err
	}
	id, part, _ := strings.Cut(c.rest("activations"), "/")
	if len(id) != idLength {
		return refuse(http.StatusBadRequest, "Activation id length is %d but must be %d.", len(id), idLength)
	}
	if strings.Trim(id, "0123456789abcdefABCDEF") != "" {
		return refuse(http.StatusBadRequest, "The activation id is not valid.")
	}
	ctx := c.r.Context()
	act, err := d.Records.Activation(ctx, strings.ToLower(id))
	if err != nil {
		return err
	}
	if act.Function.Namespace != ns || !over(act) { // as if not there, until it ends
		return errNotFound
	}
	a, err := d.ran(ctx, act)
	if err != nil {
		return err
	}
	switch part {
	case "result":
		return c.answer(http.StatusOK, responseOf(a, act))
	case "logs":
		logs, err := d.logs(ctx, act)
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, map[string][]string{"logs": logs})
	case "":
	default:
		return errNotFound
	}
	s, err := d.document(ctx, act, a)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, s)
}

// document shows an activation whole.
func (d *Door) document(ctx context.Context, act rouse.Activation, a *action) (activationSeen, error) {
	s, err := d.activation(ctx, act, a)
	if err == nil {
		s.Logs, err = d.logs(ctx, act)
	}
	return s, err
}

// sendDocuments answers with activations, whole. Each is read when those before it
// are sent: with their logs, all of them may be more than memory holds.
func (d *Door) sendDocuments(c *call, found []rouse.Activation) error {
	begun := false
	piece := func(b []byte) {
		if !begun {
			begun = true
			c.w.Header()["Content-Type"] = typeJSON
			c.w.WriteHeader(http.StatusOK)
		}
		if c.r.Method != http.MethodHead {
			_, _ = c.w.Write(b) // an error is the connection's
		}
	}
	next := []byte("[")
	for _, f := range found {
		b, err := d.encodedDocument(c.r.Context(), f.ID)
		switch {
		case rouse.KindOf(err) == rouse.NotFound: // it is kept no more
			continue
		case err != nil && begun:
			d.Log.Error("list activations", "transaction", c.transaction, "error", err)
			panic(http.ErrAbortHandler) // who reads sees that this is not all
		case err != nil:
			return err
		}
		piece(append(next, b...))
		next = []byte(",")
	}
	if !begun {
		piece(next)
	}
	piece([]byte("]"))
	return nil
}

func (d *Door) encodedDocument(ctx context.Context, id string) ([]byte, error) {
	act, err := d.Records.Activation(ctx, id)
	if err != nil {
		return nil, err
	}
	a, err := d.ran(ctx, act)
	if err != nil {
		return nil, err
	}
	s, err := d.document(ctx, act, a)
	if err != nil {
		return nil, err
	}
	return encoded(s)
}
