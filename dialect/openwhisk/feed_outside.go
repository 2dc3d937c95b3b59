package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of what GitHub is asked.
const (
	outsideTimeout = 20 * time.Second
	outsideAnswer  = 4 << 20 // bytes
)

// outsider returns a client for addresses that users name: it connects to none
// that is inside, whatever name leads there, and by no proxy that could.
func outsider() *http.Client {
	dialer := net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && inside(at.Addr()) {
			err = errInside
		}
		return err
	}}
	return client(&http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true})
}

var errInside = errors.New("it leads to an address that is not public")

// client does not follow where it is led: that is another address, with a token.
func client(t *http.Transport) *http.Client {
	return &http.Client{Transport: t, Timeout: outsideTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// operators returns a client for the address that the operator named.
func operators() *http.Client {
	return client(&http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true})
}

// notPublic are what netip has no word for (RFC 6890 and its registries).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
}

// inside reports whether an address is one of the host, of its network, or of no
// single machine.
func inside(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ask asks GitHub about the hooks of a repository; the answer, where not nil, is
// read into it. Errors are refusals that say what GitHub said.
func (g githubFeed) ask(ctx context.Context, h hook, method, path string, body, answer any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, h.API+"/repos/"+h.Owner+"/"+h.Repository+"/hooks"+path, &b)
	if err != nil {
		return refuse(http.StatusBadRequest, "baseUrl parameter '%s' is no address", h.API)
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + h.Token, "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "Rouse"} {
		r.Header.Set(k, v)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	c := g.theirs
	if h.API == g.GitHub {
		c = g.ours
	}
	a, err := c.Do(r)
	if err != nil {
		return refuse(http.StatusBadGateway, "GitHub at %s can't be asked: %s", h.API, reasonOf(err))
	}
	defer a.Body.Close()
	said, err := io.ReadAll(io.LimitReader(a.Body, outsideAnswer))
	if err != nil {
		return refuse(http.StatusBadGateway, "GitHub at %s broke off its answer", h.API)
	}
	if a.StatusCode/100 != 2 {
		return refused(h, a.StatusCode, said)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(said, answer); err != nil {
		return refuse(http.StatusBadGateway, "GitHub at %s answered what is no JSON of a hook", h.API)
	}
	return nil
}

// reasonOf is why a request came to nothing, without its address.
func reasonOf(err error) string {
	if errors.Is(err, errInside) {
		return errInside.Error()
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "it does not answer"
	}
	if e := errors.Unwrap(err); e != nil {
		err = e
	}
	return err.Error()
}

// refused is the error of what GitHub refuses. What it says is shown only where
// it is in GitHub's form: the address may be of something else.
func refused(h hook, status int, said []byte) error {
	var e struct {
		Message string `json:"message"`
		Errors  []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(said, &e) // what is in another form is not shown
	text := fmt.Sprintf("GitHub answered %d", status)
	parts := []string{}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	for _, x := range e.Errors {
		if x.Message != "" {
			parts = append(parts, x.Message)
		}
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ": ")
	}
	if status == http.StatusNotFound || status == http.StatusForbidden {
		text += "; the accessToken must be allowed to administer the webhooks of " + h.Owner + "/" + h.Repository
	}
	if status/100 == 3 {
		text += "; baseUrl must be the address of the API itself"
	}
	if status != http.StatusNotFound {
		status = http.StatusBadGateway
	}
	return refuse(status, "%s", text)
}
