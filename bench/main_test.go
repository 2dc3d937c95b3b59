package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// This program starts itself as the bare server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bareName {
		if err := bareServe(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A whole run, as short as can be, with a platform and limits of each kind.
func TestRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the namespaces tier needs root")
	}
	dir := t.TempDir()
	err := run(t.Context(), []string{"--rounds", "1", "--seconds", "0.2", "--settle", "20ms", "--dir", dir, "--functions", "20", "--soak", "--invocations", "200",
		"--only", "warm/.*route, (p50|CPU)|wasm/|cold/(python3|nodejs|wasm|executable)$|memory/|accept/.*running|sleeping/|soak/",
		"--json", dir + "/out.json", "--markdown", dir + "/out.md"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(dir + "/out.json")
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 24 {
		t.Errorf("%d results", len(r.Results))
	}
	for _, one := range r.Results {
		if one.Absent == "" && (one.Ours <= 0 || one.LimitIs != "" && one.Limit <= 0 || len(one.Rounds) != 1) {
			t.Errorf("%+v", one)
		}
	}
	page, err := os.ReadFile(dir + "/out.md")
	if err != nil || !strings.Contains(string(page), "| cold/python3 |") || !strings.Contains(string(page), "## Short-falls") {
		t.Errorf("%v\n%s", err, page)
	}
	left, err := filepath.Glob(dir + "/rouse-bench-*")
	if err != nil || left != nil {
		t.Errorf("%v is left, %v", left, err)
	}
}
