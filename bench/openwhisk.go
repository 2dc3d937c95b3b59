package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// distinct is how many actions are called in turn.
const distinct = 100

// whiskCode is the function of the warm paths as an action.
const whiskCode = "def main(args):\n    return {\"message\": \"hello\", \"answer\": 42}\n"

// whiskGroup measures OpenWhisk's API: beside our own, with many actions
// beside one, and cold.
func whiskGroup() group {
	return group{name: "openwhisk", measurements: []measurement{
		{name: "blocking invoke of a warm action, p50 of 1 connection", unit: "ms", limit: "the native API's invoke of the same code", goal: goal{ratioMost, 1.2},
			open: func(ctx context.Context, e *env) (round, error) {
				w, err := e.whisk(ctx)
				if err != nil {
					return nil, err
				}
				if err := w.deploy(ctx, e.bench, "native-hello", hello["python3"], wire.Options{Runtime: "python3"}); err != nil {
					return nil, err
				}
				if err := w.put(ctx, "hello"); err != nil {
					return nil, err
				}
				ours, limit := w.blocking("hello"), w.invoke("native-hello", payload).wants(answer)
				latency := func(c call) probe {
					return func(ctx context.Context) (float64, error) { return c.latency(ctx, e.span) }
				}
				return alternate(latency(ours), latency(limit)), warmUp(ctx, e, ours, limit)
			}},
		{name: fmt.Sprintf("%d warm actions in turn, 16 connections", distinct), unit: "/s", limit: "one of them", goal: goal{ratioLeast, 0.6},
			open: func(ctx context.Context, e *env) (round, error) {
				w, err := e.whisk(ctx)
				if err != nil {
					return nil, err
				}
				one := w.blocking("action-0")
				all := call{addr: one.addr, server: one.server}
				for n := range distinct {
					name := fmt.Sprintf("action-%d", n)
					if err := w.put(ctx, name); err != nil {
						return nil, err
					}
					all.ring = append(all.ring, w.blocking(name))
				}
				return alternate(e.crowd(all), e.crowd(one)), warmUp(ctx, e, all, one)
			}},
		{name: fmt.Sprintf("%d cold actions, 16 connections", distinct), unit: "/s", goal: goal{least, 200},
			open: func(ctx context.Context, e *env) (round, error) {
				w, err := e.whisk(ctx)
				if err != nil {
					return nil, err
				}
				return alone(w.cold), nil
			}},
	}}
}

// plainGroup measures what many processes cost a machine more than few, with
// nothing of a platform around them.
func plainGroup() group {
	return group{name: "plain", measurements: []measurement{
		{name: fmt.Sprintf("%d workers in turn, 16 connections", distinct), unit: "/s", limit: fmt.Sprintf("%d of them", workers),
			open: func(ctx context.Context, e *env) (round, error) {
				all, err := e.plain(ctx, "python3", distinct)
				if err != nil {
					return nil, err
				}
				few, err := e.plain(ctx, "python3", workers)
				if err != nil {
					return nil, err
				}
				return alternate(e.crowd(all), e.crowd(few)), warmUp(ctx, e, all, few)
			}},
	}}
}

// A whisk is a platform that is asked as OpenWhisk.
type whisk struct {
	*platform
	auth string
}

func (e *env) whisk(ctx context.Context) (*whisk, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	s, err := p.Subject(ctx, rouse.DefaultNamespace)
	return &whisk{p, base64.StdEncoding.EncodeToString([]byte(s.Key.ID + ":" + s.Key.Secret))}, err
}

const whiskActions = "/api/v1/namespaces/_/actions/"

// do asks for an action, and wants a good answer.
func (w *whisk) do(ctx context.Context, method, name, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+w.addr+whiskActions+name, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Basic "+w.auth)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, name, resp.Status)
	}
	return nil
}

func (w *whisk) put(ctx context.Context, name string) error {
	return w.do(ctx, http.MethodPut, name+"?overwrite=true", fmt.Sprintf(`{"exec":{"kind":"python:default","code":%q}}`, whiskCode))
}

// blocking calls an action and wants its result.
func (w *whisk) blocking(name string) call {
	c := post(w.addr, whiskActions+name+"?blocking=true&result=true", "", payload)
	c.request = []byte(strings.Replace(string(c.request), "\r\n", "\r\nAuthorization: Basic "+w.auth+"\r\n", 1))
	c.server = w.cmd.Process.Pid
	return c.wants(answer)
}

// cold calls as many actions as are new, each once.
func (w *whisk) cold(ctx context.Context) (float64, error) {
	all := w.blocking("cold-0")
	all.ring = nil
	for n := range distinct {
		name := fmt.Sprintf("cold-%d", n)
		if err := w.put(ctx, name); err != nil {
			return 0, err
		}
		all.ring = append(all.ring, w.blocking(name))
	}
	time.Sleep(time.Second) // what deploys set off is over
	n, took, err := all.load(ctx, distinct/4, func(done int) bool { return done < 4 })
	if err != nil {
		return 0, err
	}
	for n := range distinct {
		if err := w.do(ctx, http.MethodDelete, fmt.Sprintf("cold-%d", n), ""); err != nil {
			return 0, err
		}
	}
	return float64(n) / took.Seconds(), nil
}
