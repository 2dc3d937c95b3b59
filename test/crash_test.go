package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A server is killed while it runs functions of every kind and accepts
// invocations. At the next start nothing of it may be left, and all that it
// accepted must run.
func TestKillUnderLoad(t *testing.T) {
	s := start(t, "")
	s.python("work", "def main(event):\n    print('ran', event)\n    return event\n", wire.Options{})
	s.python("stuck", "import os, time\ndef main(event):\n    os.fork()\n    time.sleep(1000)\n", wire.Options{})
	s.deploy("node", wire.Options{}, map[string]string{"main.js": "exports.main = () => new Promise(() => {})"})
	s.deploy("program", wire.Options{Handler: "run.sh", Runtime: "executable"}, map[string]string{"run.sh": "#!/bin/sh\nsleep 1000\n"})
	var wg sync.WaitGroup
	for _, name := range []string{"stuck", "node", "program"} {
		for range 3 {
			wg.Go(func() { _, _ = s.Invoke(t.Context(), client.Call{Function: name}) }) // ends with the server
		}
	}
	var mu sync.Mutex
	var accepted []string
	stop := make(chan struct{})
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id, err := s.Accept(t.Context(), client.Call{Function: "work", Payload: fmt.Appendf(nil, "%d", i*1_000_000+n)})
				if err != nil {
					return // killed
				}
				mu.Lock()
				accepted = append(accepted, id)
				mu.Unlock()
			}
		})
	}
	eventually(t, "1000 invocations are accepted and the stuck ones run", func() bool {
		n, err := s.Node(t.Context())
		mu.Lock()
		defer mu.Unlock()
		return err == nil && n.Instances >= 8 && len(accepted) >= 1000
	})
	left := descendants(s.cmd.Process.Pid)
	if len(s.cgroups()) == 0 {
		t.Error("the server's control groups were not found") // so that their absence later means something
	}
	if len(left) < 10 {
		t.Errorf("only %d processes ran", len(left))
	}
	s.kill()
	close(stop)
	wg.Wait()
	eventually(t, "all processes of the killed server are gone", func() bool {
		for _, pid := range left {
			if alive(pid) {
				return false
			}
		}
		return true
	})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), s.data) {
		t.Errorf("mounts are left: %v", err)
	}

	again := start(t, s.data)
	t.Logf("%d invocations had been accepted", len(accepted))
	for _, id := range accepted {
		a, err := again.Activation(t.Context(), id, 0)
		for rouse.KindOf(err) == rouse.NotFound || err == nil && a.Status == rouse.StatusPending {
			eventually(t, "invocation "+id+" is run", func() bool {
				a, err = again.Activation(t.Context(), id, 0)
				return err == nil
			})
		}
		if err != nil || a.Status != rouse.StatusAnswered {
			t.Fatalf("%s: %+v %v", id, a, err)
		}
	}
	for _, g := range again.cgroups() {
		procs, err := os.ReadFile(filepath.Join(g, "cgroup.procs"))
		if err != nil {
			continue // it went away since
		}
		for _, pid := range strings.Fields(string(procs)) {
			for _, old := range left {
				if pid == fmt.Sprint(old) {
					t.Errorf("control group %s holds process %s of the killed server", g, pid)
				}
			}
		}
	}
	again.stop()
	if groups := again.cgroups(); len(groups) > 0 {
		t.Errorf("control groups are left: %q", groups)
	}
	for _, pattern := range []string{"deps/building-*", "code/*tmp*", "code/*.new*"} {
		if found, _ := filepath.Glob(filepath.Join(s.data, pattern)); len(found) > 0 {
			t.Errorf("scratch folders are left: %q", found)
		}
	}
}
