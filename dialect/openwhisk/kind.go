package openwhisk

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Kinds that are no runtime of the host.
const (
	kindSequence = "sequence"
	kindBlackbox = "blackbox"
)

// programs are the families whose code is, or becomes, an executable "exec" that
// speaks the protocol of ActionLoop.
var programs = []string{"go", "rust", "swift"}

// former are kinds that OpenWhisk had once: their code runs on the nearest
// version that the host has.
var former = map[string][]string{
	"nodejs": {"nodejs:6", "nodejs:8", "nodejs:10", "nodejs:12", "nodejs:14", "nodejs:16", "nodejs:18", "nodejs:20", "nodejs:22"},
	"python": {"python:2", "python:3", "python:3.6", "python:3.7", "python:3.9", "python:3.10", "python:3.11", "python:3.12"},
	"go":     {"go:1.11", "go:1.13", "go:1.15", "go:1.17", "go:1.19", "go:1.20"},
	"rust":   {"rust:1.34"},
	"swift":  {"swift:5.1", "swift:5.3", "swift:5.7"},
	"php":    {"php:7.3", "php:7.4", "php:8.0", "php:8.1"},
	"ruby":   {"ruby:2.5", "ruby:2.6"},
}

// interpreted are the families whose code a program of ours runs, in their own
// language, and the file that code by itself becomes.
var interpreted = map[string]string{"php": "index.php", "ruby": "main.rb"}

// A kindInfo is a runtime as clients see it.
type kindInfo struct {
	Kind        string `json:"kind"`
	Default     bool   `json:"default"`
	Deprecated  bool   `json:"deprecated"`
	Attached    bool   `json:"attached"`
	Image       string `json:"image"`
	RequireMain bool   `json:"requireMain"`

	runtime string // of the host
}

// kinds are the runtimes of the host, and what runs on them, by family.
func (d *Door) kinds() map[string][]kindInfo {
	have := map[string][]kindInfo{}
	for _, r := range d.Node().Runtimes {
		family := map[string]string{"python": "python", "node": "nodejs"}[r.Family]
		number, ok := strings.CutPrefix(r.Name, family)
		if family == "" || !ok || number == "" {
			continue
		}
		have[family] = append(have[family], kindInfo{Kind: family + ":" + number, Default: len(have[family]) == 0, runtime: r.Name})
	}
	if py := have["python"]; len(py) > 0 {
		if d.Compiler != nil {
			if version := d.Compiler.Version("go"); version != "" {
				have["go"] = append(have["go"], kindInfo{Kind: "go:" + version, Default: true, runtime: py[0].runtime})
			}
		}
		for _, r := range d.Node().Interpreters {
			if number, ok := strings.CutPrefix(r.Name, r.Family); ok && interpreted[r.Family] != "" {
				have[r.Family] = append(have[r.Family], kindInfo{Kind: r.Family + ":" + number, Default: len(have[r.Family]) == 0, runtime: py[0].runtime})
			}
		}
		for _, family := range programs { // a worker of Python's hands them their events
			if len(have[family]) > 0 {
				continue // the rest is former
			}
			for i, kind := range slices.Backward(former[family]) {
				have[family] = append(have[family], kindInfo{Kind: kind, Default: i == len(former[family])-1, runtime: py[0].runtime})
			}
		}
	}
	for family, list := range have {
		for _, kind := range former[family] {
			if !slices.ContainsFunc(list, func(k kindInfo) bool { return k.Kind == kind }) {
				have[family] = append(have[family], kindInfo{Kind: kind, Deprecated: true, runtime: nearest(kind, list)})
			}
		}
	}
	for family, list := range have {
		for i := range list {
			list[i].Attached, list[i].Image = true, "rouse/"+strings.ReplaceAll(list[i].Kind, ":", "-")
		}
		have[family] = list
	}
	return have
}

// nearest is the runtime of list whose major version is that of kind, or else
// the newest.
func nearest(kind string, list []kindInfo) string {
	for _, k := range list {
		if k.Kind == kind || strings.HasPrefix(k.Kind, kind+".") {
			return k.runtime
		}
	}
	return list[0].runtime
}

// kind finds what a kind that was asked for runs on.
func (d *Door) kind(asked string) (kindInfo, error) {
	all := d.kinds()
	family, number, _ := strings.Cut(asked, ":")
	if asked == kindBlackbox {
		family, number = "python", "default" // whose worker starts the program
	}
	for _, k := range all[family] {
		if k.Kind == asked || k.Default && number == "default" {
			if asked == kindBlackbox {
				k.Kind = kindBlackbox
			}
			return k, nil
		}
	}
	var valid []string
	for _, family := range slices.Sorted(maps.Keys(all)) {
		for _, k := range all[family] {
			valid = append(valid, "'"+k.Kind+"'")
		}
	}
	return kindInfo{}, refuse(http.StatusBadRequest, "The specified runtime '%s' is not supported by this platform. Valid values are: %s.", asked, strings.Join(valid, ", "))
}

// isProgram reports whether the code of a kind is an executable.
func isProgram(kind string) bool {
	family, _, _ := strings.Cut(kind, ":")
	return kind == kindBlackbox || slices.Contains(programs, family)
}
