package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// A report is what one run found.
type report struct {
	Began   time.Time `json:"began"`
	Took    float64   `json:"took"` // seconds
	Machine machine   `json:"machine"`
	Rounds  int       `json:"rounds"`
	Span    float64   `json:"span"` // seconds of one sample of a rate
	Results []result  `json:"results"`
	Skipped []string  `json:"skipped,omitempty"` // groups that are only measured with --soak
}

// A machine is where a run was made.
type machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Memory string  `json:"memory"`
	Kernel string  `json:"kernel"`
	Load   float64 `json:"load"` // of the minute before
	Go     string  `json:"go"`
	Python string  `json:"python"`
	Node   string  `json:"node"`
}

// machine looks at the one that this runs on.
func (b *bench) machine(ctx context.Context) machine {
	m := machine{CPU: "unknown", Cores: runtime.NumCPU(), Go: strings.TrimPrefix(runtime.Version(), "go")}
	info, _ := os.ReadFile("/proc/cpuinfo") // without it the page says unknown
	if found := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(info); found != nil {
		m.CPU = string(found[1])
	}
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load, _ = strconv.ParseFloat(strings.Fields(string(load) + " 0")[0], 64)
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.Memory = fmt.Sprintf("%.0f GB", float64(s.Totalram)*float64(s.Unit)/1e9)
	}
	p, err := b.start(ctx, b.dir+"/machine")
	if err != nil {
		return m
	}
	for name, at := range map[string]*string{"python3": &m.Python, "nodejs": &m.Node} {
		if rt, err := p.runtime(ctx, name); err == nil {
			said, _ := exec.CommandContext(ctx, rt.Path, "--version").Output()
			*at = strings.TrimLeft(strings.TrimSpace(string(said)), "Python v")
		}
	}
	_ = p.stop()
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s of memory, Linux %s; Go %s, Python %s, Node %s; load before the run %.1f",
		m.CPU, m.Cores, m.Memory, m.Kernel, m.Go, m.Python, m.Node, m.Load)
}

// figure writes a number with about three digits.
func figure(x float64) string {
	switch abs := math.Abs(x); {
	case math.IsNaN(x):
		return "-"
	case abs >= 1000:
		s := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
		for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
			s = s[:at] + "," + s[at:]
		}
		return s
	case abs >= 100 || x == math.Trunc(x):
		return strconv.FormatFloat(x, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case abs >= 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}

// amount writes a number with its unit.
func amount(x float64, unit string) string { return strings.TrimSpace(figure(x) + " " + unit) }

// cells are a result's in the tables.
func (r *result) cells() []string {
	what := r.Group + "/" + r.Name
	if r.Absent != "" {
		return []string{what, "", "", "", r.Target, "not measured: " + r.Absent}
	}
	ours, limit, ratio := amount(r.Ours, r.Unit), "", ""
	if r.LimitIs != "" {
		limit = amount(r.Limit, r.Unit)
		if r.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", r.Ratio)
		}
	}
	return []string{what, ours, limit, ratio, r.Target, r.Verdict}
}

var columns = []string{"measurement", "ours", "limit", "ratio", "target", ""}

// table prints the results for people.
func (r *report) table(w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", r.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(columns, "\t"))
	for i := range r.Results {
		fmt.Fprintln(t, strings.Join(r.Results[i].cells(), "\t"))
	}
	_ = t.Flush() // a broken terminal is no result
	met, of := r.count()
	fmt.Fprintf(w, "\n%d of %d targets met, in %.0f s\n", met, of, r.Took)
}

// count says how many of the results that have a target reach it.
func (r *report) count() (met, of int) {
	for _, one := range r.Results {
		if one.Target != "" && one.Absent == "" {
			of++
			if one.Met {
				met++
			}
		}
	}
	return met, of
}

// writeJSON writes all samples; "" writes nothing.
func (r *report) writeJSON(name string) error {
	if name == "" {
		return nil
	}
	out, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(out, '\n'), 0o644)
}

// writeMarkdown writes the page for the documents; "" writes nothing.
func (r *report) writeMarkdown(name string) error {
	if name == "" {
		return nil
	}
	var b bytes.Buffer
	met, of := r.count()
	fmt.Fprintf(&b, "# Benchmarks\n\nMade by `make bench ARGS=\"--markdown docs/BENCHMARKS.md\"` on %s, in %.0f s.\n\n", r.Began.UTC().Format("2006-01-02 15:04 MST"), r.Took)
	fmt.Fprintf(&b, "%s.\n\n", r.Machine)
	fmt.Fprintf(&b, "Each figure stands beside its limit: the barest thing of the same kind, measured in the same run, in turn with ours.\n")
	fmt.Fprintf(&b, "Figures are medians of %d rounds. On a shared machine only the ratio means much. %d of %d targets are met.\n\n", r.Rounds, met, of)
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(columns)
	fmt.Fprintln(&b, "|---|---:|---:|---:|---|---|")
	for i := range r.Results {
		row(r.Results[i].cells())
	}
	fmt.Fprintf(&b, "\n## The limits\n\n")
	seen := map[string]bool{}
	for _, one := range r.Results {
		if one.LimitIs != "" && !seen[one.Group+one.LimitIs] {
			seen[one.Group+one.LimitIs] = true
			fmt.Fprintf(&b, "- %s: %s\n", one.Group, one.LimitIs)
		}
	}
	fmt.Fprintf(&b, "\n## Short-falls\n\n%s", r.shortfalls())
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// shortfalls lists what is not met or not measured.
func (r *report) shortfalls() string {
	var b strings.Builder
	for i := range r.Results {
		switch one := &r.Results[i]; {
		case one.Absent != "":
			fmt.Fprintf(&b, "- %s/%s: not measured: %s\n", one.Group, one.Name, one.Absent)
		case !one.Met:
			c := one.cells()
			fmt.Fprintf(&b, "- %s: %s", c[0], c[1])
			if c[2] != "" {
				fmt.Fprintf(&b, " where the limit is %s", c[2])
			}
			fmt.Fprintf(&b, "; the target is %s (%s)\n", one.Target, one.Verdict)
		}
	}
	for _, name := range r.Skipped {
		fmt.Fprintf(&b, "- %s: not measured in this run; it needs --soak\n", name)
	}
	if b.Len() == 0 {
		return "None.\n"
	}
	return b.String()
}
