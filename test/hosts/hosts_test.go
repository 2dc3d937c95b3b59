package hosts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// functions are what is deployed there, by the file or folder's name.
var functions = map[string]string{
	"hello.py": "def main(event): return 'Hello, ' + event['name']\n",
	"hi.mjs":   "export const main = event => `Hi, ${event.name}`\n",
	"greet":    "#!/bin/sh\nread -r event; printf '\"Good day\"'\n",
	"uses.py": `import os, time
def main(how):
    if how == 'memory':
        kept = []
        while True: kept.append(bytearray(1 << 20))
    if how == 'processes':
        n = 0
        try:
            while True:
                if os.fork() == 0: time.sleep(1000)
                n += 1
        except OSError: return n
    if how == 'time':
        while True: pass
    return 'well'
`,
}

func TestHosts(t *testing.T) {
	asked := os.Getenv("ROUSE_HOSTS")
	if asked == "" {
		t.Skip("set ROUSE_HOSTS=amd64,arm64 to boot virtual machines")
	}
	dir := t.TempDir()
	for name, code := range functions {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build(t, filepath.Join(dir, "wave.wasm"), "../../sandbox/wasm/testdata/guest", "GOOS=wasip1", "GOARCH=wasm")
	for _, arch := range strings.Split(asked, ",") {
		t.Run(arch, func(t *testing.T) {
			build(t, filepath.Join(dir, "rouse"), "../../cmd/rouse", "GOARCH="+arch)
			build(t, filepath.Join(dir, "process.test"), "test ../../sandbox/process", "GOARCH="+arch)
			m := boot(t, arch)
			m.send(t, filepath.Join(dir, "rouse"), "/usr/local/bin/rouse")
			for name := range functions {
				m.send(t, filepath.Join(dir, name), "/srv/"+name)
			}
			m.send(t, filepath.Join(dir, "wave.wasm"), "/srv/wave.wasm")
			t.Run("root", func(t *testing.T) { m.platform(t, "root", "namespaces") })
			t.Run("user", func(t *testing.T) { m.platform(t, "ada", "landlock") })
			t.Run("service", m.service)
			m.send(t, filepath.Join(dir, "process.test"), "/srv/process.test")
			t.Run("sandbox", m.sandboxes)
		})
	}
}

// platform starts Rouse as a user who has logged in does, and uses it.
func (m *machine) platform(t *testing.T, user, tier string) {
	said, err := m.try(user, "rouse doctor")
	t.Logf("rouse doctor: %v\n%s", err, said)
	if err != nil || !strings.Contains(said, "isolation tier: "+tier+"\n") {
		t.Errorf("the doctor does not say %s", tier)
	}
	m.up(t, user)
	t.Cleanup(func() { _, _ = m.try(user, "kill -9 $(cat up.pid)") }) // where the test fails, else it has ended
	if status := m.run(t, user, "grep isolation up.log"); !strings.Contains(status, tier) {
		t.Errorf("the server says %s", status)
	}
	t.Logf("it is in %s", m.run(t, user, "cat /proc/$(cat up.pid)/cgroup"))
	m.run(t, user, "cd /srv && rouse deploy hello.py && rouse deploy hi.mjs && rouse deploy greet && rouse deploy wave.wasm && rouse deploy uses.py --timeout 20s --memory 64MB --processes 20")
	for name, want := range map[string]string{"hello": `"Hello, Ada"`, "hi": `"Hi, Ada"`, "greet": `"Good day"`} {
		for range 2 {
			if got := m.run(t, user, `rouse invoke `+name+` -d '{"name":"Ada"}'`); got != want {
				t.Errorf("%s answers %s", name, got)
			}
		}
	}
	if a := m.invoke(t, user, "wave", "1"); a.Status != "answered" {
		t.Errorf("wasm: %+v", a)
	}
	t.Run("limits", func(t *testing.T) { m.limits(t, user, tier) })
	t.Run("kill", func(t *testing.T) { m.kill(t, user, tier) })
	m.run(t, user, "kill -INT $(cat up.pid) && while kill -0 $(cat up.pid) 2>/dev/null; do sleep 0.1; done")
	if left := m.left(t); left != "" {
		t.Errorf("a server that has stopped left %s", left)
	}
}

// service has systemd start and stop Rouse.
func (m *machine) service(t *testing.T) {
	said := m.run(t, "root", `systemd-run --quiet --unit rouse -p Delegate=yes rouse up --data /srv/data --listen 127.0.0.1:8702
until journalctl -u rouse | grep -q 'Try, in another'; do systemctl is-active --quiet rouse || { journalctl -u rouse; exit 1; }; sleep 0.2; done
journalctl -u rouse | grep -o 'isolation.*'
cat /proc/$(systemctl show -P MainPID rouse)/cgroup
export ROUSE_SERVER=127.0.0.1:8702 ROUSE_DATA=/srv/data
cd /srv && rouse deploy hello.py >/dev/null 2>&1 && rouse invoke hello -d '{"name":"Ada"}'
systemctl stop rouse`)
	if want := "isolation  namespaces\n0::/system.slice/rouse.service/rouse-server\n\"Hello, Ada\""; said != want {
		t.Errorf("it says %q, want %q", said, want)
	}
	if left := m.left(t); left != "" {
		t.Errorf("a service that has stopped left %s", left)
	}
}

// up starts the server and returns when it says that it is up.
func (m *machine) up(t *testing.T, user string) {
	t.Helper()
	m.run(t, user, `rm -f up.log
nohup rouse up >up.log 2>up.err </dev/null &
echo $! >up.pid
until grep -q 'Try, in another' up.log; do kill -0 $(cat up.pid) || { cat up.log up.err; exit 1; }; sleep 0.2; done`)
}

// An activation is what is of interest here of one.
type activation struct {
	Status  string
	Result  json.RawMessage
	Failure struct{ Type, Message string }
	Memory  int64
}

// invoke returns the record of a call.
func (m *machine) invoke(t *testing.T, user, name, payload string) (a activation) {
	t.Helper()
	said, _ := m.try(user, fmt.Sprintf("rouse invoke %s --json -d '%s'", name, payload)) // the exit code is the function's
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		t.Fatalf("invoke %s: %v in %s", name, err, said)
	}
	return a
}

func (m *machine) limits(t *testing.T, user, tier string) {
	if a := m.invoke(t, user, "uses", `"memory"`); a.Status != "out of memory" && tier == "namespaces" || a.Status == "answered" {
		t.Errorf("memory: %+v", a)
	} else {
		t.Logf("memory: %s", a.Status)
	}
	if a := m.invoke(t, user, "uses", `"time"`); a.Status != "timed out" {
		t.Errorf("time: %+v", a)
	}
	a := m.invoke(t, user, "uses", `"processes"`)
	if tier == "namespaces" && string(a.Result) != "19" { // and itself
		t.Errorf("processes: %+v", a)
	} else {
		t.Logf("processes: %s %s", a.Status, a.Result)
	}
	if a := m.invoke(t, user, "uses", `"nothing"`); a.Status != "answered" {
		t.Errorf("after all that: %+v", a)
	}
}

// kill ends the server while functions run; the next one finds nothing of it.
func (m *machine) kill(t *testing.T, user, tier string) {
	m.run(t, user, `rouse invoke uses -d '"time"' >/dev/null 2>&1 &
until rouse activations uses | grep -q pending; do sleep 0.2; done`)
	if tier == "namespaces" {
		// 64 MB is a quarter of the usual, and so is the share of the processor.
		limits := m.run(t, user, `cd /sys/fs/cgroup/$(cut -d: -f3 /proc/$(cat up.pid)/cgroup)/..; for room in rouse-*/room-*; do (cd $room; echo $(cat memory.max pids.max cpu.weight memory.oom.group)); done`)
		if !slices.Contains(strings.Split(limits, "\n"), "67108864 20 25 1") {
			t.Errorf("the control groups are limited to %s", limits)
		}
	}
	m.run(t, user, "kill -9 $(cat up.pid); while kill -0 $(cat up.pid) 2>/dev/null; do sleep 0.1; done")
	m.up(t, user)
	if a := m.invoke(t, user, "hello", `{"name":"again"}`); string(a.Result) != `"Hello, again"` {
		t.Errorf("%+v", a)
	}
}

// left are processes, control groups and mounts of a server that is gone.
func (m *machine) left(t *testing.T) string {
	t.Helper()
	return m.run(t, "root", `pgrep -a -f '[z]ygote|[w]orker\.|[r]ouse up' || true
find /sys/fs/cgroup -type d \( -name 'rouse-*' -o -name 'room-*' \) | grep -v rouse-server || true
grep -i rouse /proc/self/mounts || true`)
}

// sandboxes runs the tests of sandbox/process there.
func (m *machine) sandboxes(t *testing.T) {
	said, err := m.try("root", "cd /srv && systemd-run --quiet --scope -p Delegate=yes ./process.test -test.v -test.timeout 18m "+
		"-test.run 'Forbidden|WhatASandboxIsLike|TheEnds|ForksWithoutEnd|NeverReturns|OutOfReach|Hello|AListenerHasOnePort|ClosedRoom|InAContainer|AsAPlainUser|Programs'")
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "--- ") || strings.Contains(line, "--- FAIL") {
			t.Log(strings.TrimRight(line, "\n"))
		}
	}
	if err != nil || !strings.Contains(said, "PASS: TestForbiddenCallsFail") {
		t.Errorf("%.30000s", said)
	}
}
