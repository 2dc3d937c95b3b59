package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// What code prints while it is loaded is in the log of the activation for which
// that was, also where it comes to nothing.
func TestOpenWhiskLogsOfLoading(t *testing.T) {
	w := start(t, "").whisk("default")
	logs := func(name string, status int) (id string, logs []string) {
		t.Helper()
		r := w.ask("POST", "_/actions/"+name+"?blocking=true", "{}")
		if r.status != status {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		id = r.text(t, "activationId")
		list, _ := w.ask("GET", "_/activations/"+id+"/logs", nil).get(t, "logs").([]any)
		for _, l := range list {
			_, text, _ := strings.Cut(l.(string), "Z ")
			logs = append(logs, strings.TrimSpace(text))
		}
		return id, logs
	}
	w.python("talks", "print('loading')\ndef main(args):\n    print('running')\n    return {}\n", nil)
	if _, got := logs("talks", 200); strings.Join(got, "|") != "stdout: loading|stdout: running" {
		t.Errorf("%q", got)
	}
	if _, got := logs("talks", 200); strings.Join(got, "|") != "stdout: running" {
		t.Errorf("warm: %q", got)
	}
	w.python("broken", "print('loading')\nimport nothing_of_that_name\ndef main(args): return {}\n", nil)
	_, got := logs("broken", 502)
	if all := strings.Join(got, "|"); !strings.Contains(all, "stdout: loading") || !strings.Contains(all, "nothing_of_that_name") || !strings.Contains(all, "stderr: Traceback") {
		t.Errorf("%q", got)
	}
	w.python("quiet", "print('loading')\ndef main(args):\n    print('running')\n    return {}\n", map[string]any{"limits": map[string]any{"logs": 0}})
	if _, got := logs("quiet", 200); len(got) != 0 {
		t.Errorf("without a log: %q", got)
	}
}

// An activation lasts from when its code is loaded to its end; and loading has no
// more time than an event.
func TestOpenWhiskTimesOfActivations(t *testing.T) {
	w := start(t, "").whisk("default")
	w.python("loads", "import time\ntime.sleep(0.3)\ndef main(args): return {}\n", nil)
	for _, cold := range []bool{true, false} {
		r := w.ask("POST", "_/actions/loads?blocking=true", "{}")
		number := func(key string) float64 { n, _ := r.get(t, key).(float64); return n }
		if lasted := number("end") - number("start"); lasted != number("duration") || cold && lasted < 300 {
			t.Errorf("cold %v: %s", cold, r.body)
		}
		at := r.get(t, "start").(float64)
		for query, want := range map[string]int{"since": 1, "upto": 1} {
			list := w.ask("GET", "_/activations?name=loads&"+query+"="+strconv.FormatInt(int64(at), 10), nil)
			if n := strings.Count(string(list.body), r.text(t, "activationId")); n != want {
				t.Errorf("%s its start: %s", query, list.body)
			}
		}
	}
	w.python("slow", "import time\ntime.sleep(5)\ndef main(args): return {}\n", map[string]any{"limits": map[string]any{"timeout": 150}})
	r := w.ask("POST", "_/actions/slow?blocking=true", "{}")
	if r.status != 502 || r.text(t, "response.result.error") != "The action exceeded its time limits of 150 milliseconds during initialization." {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// A version may be shorter than OpenWhisk shows it.
func TestOpenWhiskVersions(t *testing.T) {
	w := start(t, "").whisk("default")
	for _, c := range []struct{ asked, shown string }{{"1.0", "1.0.0"}, {"", "1.0.1"}, {"2", "2.0.0"}, {"2.0", "2.0.1"}, {"2.1.3", "2.1.3"}} {
		for _, path := range []string{"_/packages/box", "_/triggers/bell", "_/actions/echo"} {
			body := object{"version": c.asked, "exec": object{"kind": "python:default", "code": echoes}}
			if r := w.ask("PUT", path+"?overwrite=true", body); r.status != 200 || r.text(t, "version") != c.shown {
				t.Errorf("%s, %q: %d %s", path, c.asked, r.status, r.body)
			}
		}
	}
}

// A function that is deployed for OpenWhisk begins where its actions do; one that
// is not can't be copied to an action.
func TestOpenWhiskAndDeploy(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	file := filepath.Join(t.TempDir(), "__main__.py")
	if err := os.WriteFile(file, []byte("def main(args): return {'got': args}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "deploy", file, "--name", "m", "--contract", "openwhisk", "--data", s.data, "--server", s.addr).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if r := w.ask("POST", "_/actions/m?blocking=true&result=true", `{"a":1}`); r.status != 200 || r.get(t, "got.a") != 1.0 {
		t.Errorf("%d %s", r.status, r.body)
	}
	s.python("native", "def main(event): return event\n", wire.Options{})
	if r := w.ask("PUT", "_/actions/copy", object{"exec": w.ask("GET", "_/actions/native", nil).get(t, "exec")}); r.status != 400 || !strings.Contains(r.text(t, "error"), "has no __main__.py or exec at its top") || !strings.Contains(r.text(t, "error"), "it has: main.py") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Whatever an action is written in, it finds the API at its host, and nothing
// that opens it unless it asked for that.
func TestOpenWhiskActionsKnowTheirHost(t *testing.T) {
	w := start(t, "").whisk("default")
	const program = "#!/bin/sh\necho \"{\\\"host\\\":\\\"$__OW_API_HOST\\\",\\\"key\\\":\\\"$__OW_API_KEY$ROUSE_TOKEN\\\"}\"\n"
	const loop = `#!/usr/bin/env python3
import json, os, sys
out = os.fdopen(3, 'w')
out.write('{"ok":true}\n'); out.flush()
for line in sys.stdin:
    out.write(json.dumps({'host': os.environ['__OW_API_HOST'], 'key': os.environ.get('__OW_API_KEY', '') + os.environ.get('ROUSE_TOKEN', '')}) + '\n'); out.flush()
`
	for kind, code := range map[string]string{
		"python:default": "import os\ndef main(args): return {'host': os.environ['__OW_API_HOST'], 'key': os.environ.get('__OW_API_KEY', '') + os.environ.get('ROUSE_TOKEN', '')}\n",
		"nodejs:default": "function main () { return { host: process.env.__OW_API_HOST, key: (process.env.__OW_API_KEY || '') + (process.env.ROUSE_TOKEN || '') } }",
		"blackbox":       program,
		"rust:1.34":      loop,
	} {
		w.must("PUT", "actions/host?overwrite=true", object{"exec": object{"kind": kind, "code": code}})
		r := w.ask("POST", "_/actions/host?blocking=true&result=true", "{}")
		if r.status != 200 || !strings.HasPrefix(r.text(t, "host"), "http://127.0.0.1:") || r.text(t, "key") != "" {
			t.Errorf("%s: %d %s", kind, r.status, r.body)
		}
	}
}

// Who sets a subject is told what is wrong with its name, and what is counted.
func TestSubjectsByTheCommand(t *testing.T) {
	s := start(t, "")
	run := func(args ...string) string {
		out, _ := exec.CommandContext(t.Context(), binary, append(args, "--data", s.data, "--server", s.addr)...).CombinedOutput() // what it says counts
		return string(out)
	}
	if said := run("subject", "set", ""); !strings.Contains(said, "a name is 1 to 128 of") {
		t.Errorf("%s", said)
	}
	if said := run("subject", "set", "--help"); !strings.Contains(said, "--concurrent int") || !strings.Contains(said, "--fires int") {
		t.Errorf("%s", said)
	}
}

// A function that was deployed natively has the parameters that it was given as
// an action, by every way on which it is one.
func TestParametersOfNativeFunctions(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	s.python("plain", "def main(event, context):\n    return {'body': event}\n", wire.Options{})
	parameters := func(key, value string) map[string]any {
		return map[string]any{"parameters": []any{map[string]any{"key": key, "value": value}}}
	}
	given := parameters("a", "action")
	given["annotations"] = []any{map[string]any{"key": "web-export", "value": true}}
	w.must("PUT", "actions/plain?overwrite=true", given)
	w.must("PUT", "actions/row", map[string]any{"exec": map[string]any{"kind": "sequence", "components": []string{"/_/plain"}}})
	w.conductor("leads", "def main(args):\n    return {'params': args} if 'body' in args else {'action': '/_/plain', 'params': args}\n")
	for _, own := range []bool{false, true} {
		sent, want := "{}", "action"
		if own {
			sent, want = `{"a":"own"}`, "own"
		}
		for _, name := range []string{"plain", "row", "leads"} {
			if r := w.ask("POST", "_/actions/"+name+"?blocking=true&result=true", sent); r.status != 200 || r.get(t, "body.a") != want {
				t.Errorf("%s with %s: %d %s", name, sent, r.status, r.body)
			}
		}
		if r := w.visit("POST", webRoot+"plain", sent, "Content-Type", "application/json"); r.status != 200 || r.get(t, "a") != want {
			t.Errorf("the web with %s: %d %s", sent, r.status, r.body)
		}
	}
	w.must("PUT", "triggers/t", map[string]any{})
	w.must("PUT", "rules/r", map[string]any{"trigger": "/_/t", "action": "/_/plain"})
	before := w.count("plain")
	w.must("POST", "triggers/t", map[string]any{"b": 1})
	eventually(t, "the rule has run it", func() bool { return w.count("plain") > before })
	var list []struct {
		Response struct{ Result struct{ Body map[string]any } }
	}
	w.read("activations?name=plain&docs=true&limit=1", &list)
	if len(list) != 1 || list[0].Response.Result.Body["a"] != "action" || list[0].Response.Result.Body["b"] != 1.0 {
		t.Errorf("%+v", list)
	}
}

// The code is told the transaction that the request is part of, and so are the
// components of a sequence; one that the client does not name is told to both.
func TestOpenWhiskTransactions(t *testing.T) {
	w := start(t, "").whisk("default")
	w.python("tells", "import os\ndef main(args):\n    return {'ids': args.get('ids', []) + [os.environ['__OW_TRANSACTION_ID']]}\n", annotations(map[string]any{"web-export": true}))
	w.must("PUT", "actions/row", map[string]any{"exec": map[string]any{"kind": "sequence", "components": []string{"/_/tells", "/_/tells"}}})
	for _, named := range [][]string{{"X-Request-ID", "mine"}, nil} {
		for name, n := range map[string]int{"tells": 1, "row": 2} {
			r := w.ask("POST", "_/actions/"+name+"?blocking=true&result=true", "{}", named...)
			want := r.header.Get("X-Request-Id")
			ids, _ := r.get(t, "ids").([]any)
			if want == "" || named != nil && want != "mine" || len(ids) != n || slices.ContainsFunc(ids, func(id any) bool { return id != want }) {
				t.Errorf("%s in %s: %s", name, want, r.body)
			}
		}
		r := w.visit("GET", webRoot+"tells.json", "", named...)
		if ids, _ := r.get(t, "ids").([]any); len(ids) != 1 || ids[0] != r.header.Get("X-Request-Id") {
			t.Errorf("%v %s", r.header, r.body)
		}
	}
}

// An action may have as many instances as its namespace may run at once.
func TestOpenWhiskInstances(t *testing.T) {
	s := start(t, "")
	w := s.whisk("guest")
	put := func(instances int) reply {
		return w.ask("PUT", "_/actions/few?overwrite=true", map[string]any{"exec": map[string]any{"kind": "python:default", "code": echoes}, "limits": map[string]any{"instances": instances}})
	}
	if r := put(31); r.status != 200 || r.get(t, "limits.instances") != 31.0 {
		t.Errorf("without a quota: %d %s", r.status, r.body)
	}
	if r := put(0); r.status != 400 || !strings.Contains(r.text(t, "error"), "Action container concurrency must be greater than or equal to 1.") {
		t.Errorf("none: %d %s", r.status, r.body)
	}
	if _, err := s.SetSubject(t.Context(), "guest", wire.SubjectOptions{Quota: rouse.Quota{Concurrent: 30}}); err != nil {
		t.Fatal(err)
	}
	if r := put(31); r.status != 400 || r.text(t, "error") != "Max action instance concurrency must not exceed your namespace concurrency of 30." {
		t.Errorf("over the quota: %d %s", r.status, r.body)
	}
	if r := put(30); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.ask("GET", "_/limits", nil); r.get(t, "maxActionInstances") != 30.0 {
		t.Errorf("%s", r.body)
	}
	if r := w.ask("POST", "_/actions/few?blocking=true", "{}"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Of a log with very many lines the newest are shown, and that there were others.
func TestOpenWhiskLongLogs(t *testing.T) {
	w := start(t, "").whisk("default")
	w.python("talks", "def main(args):\n    for i in range(args['n']): print(i)\n    return {}\n", nil)
	for n, first := range map[int]string{100_000: "stdout: 0", 100_001: "stderr: Lines before this one are not shown: there are more than 100000."} {
		id := w.ask("POST", "_/actions/talks?blocking=true", map[string]any{"n": n}).text(t, "activationId")
		logs, _ := w.ask("GET", "_/activations/"+id+"/logs", nil).get(t, "logs").([]any)
		if len(logs) != 100_000 || !strings.HasSuffix(logs[0].(string), first) || !strings.HasSuffix(logs[len(logs)-1].(string), "stdout: "+strconv.Itoa(n-1)) {
			t.Errorf("%d of %d lines", len(logs), n)
		}
	}
}
