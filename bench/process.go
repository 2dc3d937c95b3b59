package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A stat is a process's line in /proc.
type stat struct {
	parent int
	cpu    time.Duration // its own
}

// tick is the unit of times in /proc: USER_HZ, the same on every machine.
const tick = 10 * time.Millisecond

// stats are those of all processes by pid.
func stats() map[int]stat {
	all := map[int]stat{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// After the name, which may hold anything: state, parent, and as 12th and
		// 13th utime and stime (proc_pid_stat(5)).
		pid, fields := 0, strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		var parent, user, system int
		if _, err := fmt.Sscan(string(b), &pid); err != nil || len(fields) < 13 {
			continue
		}
		_, _ = fmt.Sscan(fields[1]+" "+fields[11]+" "+fields[12], &parent, &user, &system) // the kernel writes numbers
		all[pid] = stat{parent, time.Duration(user+system) * tick}
	}
	return all
}

// cpu is what a process and its descendants have spent.
func cpu(pid int) time.Duration {
	all := stats()
	sum := all[pid].cpu
	for _, d := range descendants(pid) {
		sum += all[d].cpu
	}
	return sum
}

// descendants are the processes that pid started, and theirs.
func descendants(pid int) []int {
	children := map[int][]int{}
	for own, s := range stats() {
		children[s.parent] = append(children[s.parent], own)
	}
	var all []int
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		all = append(all, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

// instances are those of pid's descendants that have become a function: they
// work in its folder and are no longer the root of their user namespace.
func instances(pid int) []int {
	const sandboxRoot = 300000 // as root of the host sees it
	var found []int
	for _, d := range descendants(pid) {
		dir := fmt.Sprintf("/proc/%d", d)
		at, err := os.Readlink(dir + "/cwd")
		info, statErr := os.Stat(dir)
		if err != nil || statErr != nil || at != "/fn" {
			continue
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && owner != sandboxRoot {
			found = append(found, d)
		}
	}
	return found
}

// memory sums fields of a file in /proc such as "Private_Clean:  12 kB", in
// bytes.
func memory(file string, fields ...string) (float64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		for _, f := range fields {
			var kB float64
			if name == f {
				if _, err := fmt.Sscan(rest, &kB); err != nil {
					return 0, fmt.Errorf("read %s: %w", file, err)
				}
				sum += kB * 1024
			}
		}
	}
	return sum, nil
}

// private is what only the process pid holds, in bytes.
func private(pid int) (float64, error) {
	return memory(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Private_Clean", "Private_Dirty")
}

// resident is what the process pid holds, in bytes.
func resident(pid int) (float64, error) {
	return memory(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
}

// storeReaders is how many connections read one file of the store at most; they
// are opened when they are first needed, and kept. One more writes.
const storeReaders = 4

// descriptors counts those that the process pid has open. A file of the store,
// which is in the folder store, counts as all the connections that it may get,
// unless it has more: else one that is opened late would look like a leak.
func descriptors(pid int, store string) (int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	open, err := os.ReadDir(dir)
	n, times := 0, map[string]int{}
	for _, d := range open {
		to, err := os.Readlink(filepath.Join(dir, d.Name()))
		if err == nil && filepath.Dir(to) == store {
			times[to]++
			continue
		}
		n++
	}
	for _, k := range times {
		n += max(k, 1+storeReaders)
	}
	return n, err
}

// cgroups counts the control groups below those of a name.
func cgroups(name string) int {
	n := 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, "/"+name+"/") {
			n++
		}
		return nil // groups come and go while we look
	})
	return n
}

// groupOf is the name of the platform's control groups: "rouse-...", as of any
// process that it started.
func groupOf(pid int) (string, error) {
	for _, d := range descendants(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", d))
		if err != nil {
			continue
		}
		for part := range strings.FieldsFuncSeq(string(b), func(r rune) bool { return r == '/' || r == '\n' }) {
			if strings.HasPrefix(part, "rouse-") {
				return part, nil
			}
		}
	}
	return "", fmt.Errorf("no process of %d is in a control group of the platform", pid)
}
