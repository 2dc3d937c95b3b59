package openwhisk

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

// kindGitHub is the native kind of triggers that GitHub calls.
const kindGitHub = "github"

// A hook is a webhook that was made at GitHub. Its token is there to take it away
// again, for clients do not say it once more then; nobody is shown it.
type hook struct {
	API        string   `json:"api"`
	Username   string   `json:"username,omitempty"`
	Owner      string   `json:"owner"`
	Repository string   `json:"repository"`
	Events     []string `json:"events"`
	URL        string   `json:"url"`          // that GitHub calls
	ID         int64    `json:"id,omitempty"` // GitHub's, of the hook
	Token      string   `json:"token"`
	Secret     string   `json:"secret"`
}

// githubFeed is the feed of the package github.
type githubFeed struct{ *Door }

// DefaultGitHub is where GitHub's API is.
const DefaultGitHub = "https://api.github.com"

// segment is what GitHub takes as a name of a user or a repository.
var segment = regexp.MustCompile(`\A[A-Za-z0-9._-]{1,100}\z`)

// maxToken bounds a token of GitHub's: bytes.
const maxToken = 1024

// asked reads what a new hook is to be.
func (g githubFeed) asked(o order) (h hook, err error) {
	p := o.given
	for _, name := range []string{"repository", "accessToken", "events"} {
		if !p.has(name) {
			return h, refuse(http.StatusBadRequest, "github webhook feed is missing the %s parameter", name)
		}
	}
	h = hook{API: g.GitHub, Username: p.text("username"), Token: p.text("accessToken")}
	h.Owner, h.Repository = h.Username, p.text("repository")
	if owner, name, ok := strings.Cut(h.Repository, "/"); ok {
		h.Owner, h.Repository = owner, name
	}
	if h.Owner == "" {
		return h, refuse(http.StatusBadRequest, "github webhook feed is missing the username parameter")
	}
	if !segment.MatchString(h.Owner) || !segment.MatchString(h.Repository) || strings.Trim(h.Owner, ".") == "" || strings.Trim(h.Repository, ".") == "" {
		return h, refuse(http.StatusBadRequest, "repository parameter '%s' is not the name of a repository, such as octocat/hello", p.text("repository"))
	}
	if len(h.Token) > maxToken || strings.ContainsFunc(h.Token, unprintable) {
		return h, refuse(http.StatusBadRequest, "the accessToken parameter is no token of GitHub's")
	}
	if h.Events, err = hookEvents(p["events"]); err != nil {
		return h, err
	}
	if p.has("baseUrl") {
		if h.API, err = g.base(p.text("baseUrl")); err != nil {
			return h, err
		}
	}
	h.URL = strings.TrimSuffix(g.URL, "/") + "/on/" + url.PathEscape(encode(o.name))
	if o.ns != rouse.DefaultNamespace {
		h.URL = strings.TrimSuffix(g.URL, "/") + "/on/" + url.PathEscape(string(o.ns)+":"+encode(o.name))
	}
	h.Secret = rand.Text()
	return h, nil
}

// base checks the address of somebody's own GitHub. Only the operator's may be
// one that is not encrypted.
func (g githubFeed) base(text string) (string, error) {
	text = strings.TrimSuffix(text, "/")
	if text == g.GitHub {
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", refuse(http.StatusBadRequest, "baseUrl parameter '%s' is not the https address of an API, such as https://github.example.com/api/v3", text)
	}
	return text, nil
}

// hookEvents reads a list of events, which may be a text with commas.
func hookEvents(v json.RawMessage) ([]string, error) {
	var list []string
	var text string
	if json.Unmarshal(v, &text) == nil {
		list = strings.Split(text, ",")
	} else if json.Unmarshal(v, &list) != nil {
		return nil, refuse(http.StatusBadRequest, "the events parameter must be a list such as push,delete")
	}
	var events []string
	for _, e := range list {
		e = strings.TrimSpace(e)
		if e == "" || e != "*" && strings.Trim(e, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, refuse(http.StatusBadRequest, "events parameter '%s' has an event that GitHub has not, '%s'", shownDate(v), e)
		}
		if !slices.Contains(events, e) {
			events = append(events, e)
		}
	}
	return events, nil
}

// native is what the trigger of a hook is told: GitHub says ping first, and
// actions hear of it.
func (h hook) native() any {
	return map[string]any{"secret": h.Secret, "events": append(slices.Clone(h.Events), "ping")}
}

// create implements feeder. The trigger knows the secret before GitHub does,
// which calls at once.
func (g githubFeed) create(ctx context.Context, o order) (any, error) {
	h, err := g.asked(o)
	if err != nil {
		return nil, err
	}
	old, _, _, err := g.feeds.get(ctx, o.ns, o.name)
	if err != nil {
		return nil, err
	}
	if err := g.Door.native(ctx, o, kindGitHub, h.native(), feed{Hook: &h}); err != nil {
		return nil, err
	}
	if old.Hook != nil { // of a trigger of this name that was removed without its feed
		old.Hook.Token = h.Token
		_ = g.take(ctx, old.Hook) // it may be gone, or be another's: who makes a new one need not know
	}
	id, err := g.register(ctx, h)
	if err != nil {
		if e := g.unfeed(ctx, o); e != nil {
			return nil, e
		}
		return nil, err
	}
	h.ID = id
	if err := g.keep(ctx, o, feed{Hook: &h}); err != nil {
		return nil, err
	}
	return map[string]any{"status": "success", "hook": id, "url": h.URL, "events": h.Events}, nil
}

// read implements feeder.
func (g githubFeed) read(_ order, f feed) (map[string]any, error) {
	h := f.Hook
	if h == nil {
		return nil, errOtherFeed
	}
	shown := map[string]any{"username": h.Username, "repository": h.Owner + "/" + h.Repository, "events": strings.Join(h.Events, ","), "url": h.URL, "hook": h.ID}
	if h.API != g.GitHub {
		shown["baseUrl"] = h.API
	}
	return shown, nil
}

// update implements feeder: the events may change, and the token.
func (g githubFeed) update(ctx context.Context, o order, f feed) (err error) {
	if f.Hook == nil {
		return errOtherFeed
	}
	h := *f.Hook
	if !o.given.has("events") {
		return refuse(http.StatusBadRequest, textNothingNew)
	}
	if h.Events, err = hookEvents(o.given["events"]); err != nil {
		return err
	}
	h.renew(o.given)
	if err := g.change(ctx, h, map[string]any{"events": h.Events, "active": true}); err != nil {
		return err
	}
	return g.Door.native(ctx, o, kindGitHub, h.native(), feed{Hook: &h})
}

// renew takes the token that is given, where one is.
func (h *hook) renew(p parameters) {
	if t := p.text("accessToken"); p.has("accessToken") && len(t) <= maxToken && !strings.ContainsFunc(t, unprintable) {
		h.Token = t
	}
}

// pause implements feeder: GitHub calls no more, or again.
func (g githubFeed) pause(ctx context.Context, o order, f feed) error {
	if f.Hook == nil {
		return errOtherFeed
	}
	h := *f.Hook
	h.renew(o.given)
	if err := g.change(ctx, h, map[string]any{"active": !f.Paused}); err != nil {
		return err
	}
	return g.keep(ctx, o, feed{Hook: &h, Paused: f.Paused})
}

// remove implements feeder.
func (g githubFeed) remove(ctx context.Context, o order, f feed) error {
	if f.Hook == nil {
		return errOtherFeed
	}
	h := *f.Hook
	h.renew(o.given)
	if err := g.take(ctx, &h); err != nil {
		return err
	}
	return g.unfeed(ctx, o)
}

// A registered hook is how GitHub shows one.
type registered struct {
	ID     int64 `json:"id"`
	Config struct {
		URL string `json:"url"`
	} `json:"config"`
}

// register makes a hook at GitHub.
func (g githubFeed) register(ctx context.Context, h hook) (int64, error) {
	var made registered
	err := g.ask(ctx, h, http.MethodPost, "", map[string]any{"name": "web", "active": true, "events": h.Events,
		"config": map[string]string{"url": h.URL, "content_type": "json", "secret": h.Secret, "insecure_ssl": "0"}}, &made)
	return made.ID, err
}

// change changes a hook at GitHub.
func (g githubFeed) change(ctx context.Context, h hook, what map[string]any) error {
	if err := g.locate(ctx, &h); err != nil {
		return err
	}
	return g.ask(ctx, h, http.MethodPatch, "/"+strconv.FormatInt(h.ID, 10), what, nil)
}

// take takes a hook away at GitHub. One that is not there is no error.
func (g githubFeed) take(ctx context.Context, h *hook) error {
	err := g.locate(ctx, h)
	if err == nil && h.ID != 0 {
		err = g.ask(ctx, *h, http.MethodDelete, "/"+strconv.FormatInt(h.ID, 10), nil, nil)
	}
	if err != nil && refusalOf(err).status == http.StatusNotFound {
		return nil
	}
	return err
}

// locate finds a hook whose ID is not known: the server ended before it could keep
// what GitHub had answered.
func (g githubFeed) locate(ctx context.Context, h *hook) error {
	if h.ID != 0 {
		return nil
	}
	var all []registered
	if err := g.ask(ctx, *h, http.MethodGet, "?per_page=100", nil, &all); err != nil {
		return err
	}
	for _, r := range all {
		if r.Config.URL == h.URL {
			h.ID = r.ID
		}
	}
	return nil
}

// unhook takes away the hook of a trigger that was removed without its feed. Where
// GitHub says no it is kept, for who tells the feed to.
func (d *Door) unhook(ctx context.Context, ns rouse.Namespace, trigger string) {
	f, revision, _, err := d.feeds.get(ctx, ns, trigger)
	if err == nil && f.Hook != nil {
		if err = (githubFeed{d}).take(ctx, f.Hook); err == nil {
			err = d.feeds.remove(ctx, ns, trigger, revision)
		}
	}
	if err != nil {
		d.Log.Warn("the webhook of a removed trigger is left at GitHub", "namespace", string(ns), "trigger", trigger, "error", err)
	}
}
