// Package test holds what is checked of the house as a whole.
package test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rouse-run/rouse"

// floors is the plan of the house, from the ground up. A package imports only
// from the floors below its own.
var floors = []struct {
	name  string
	knows []string // the only lower floors it may use; nil is all of them
	rooms []string
}{
	{"tools", nil, []string{"internal"}},
	{"language", []string{}, []string{".", "data", "event"}},
	{"drivers", []string{"tools", "language"}, []string{"store", "blob", "bus", "sandbox"}},
	{"engine", []string{"tools", "language"}, []string{"auth", "bundle", "dispatch", "meta", "invoke", "meter", "pool", "registry", "route", "rule", "workflow", "stream", "queue", "table", "bucket"}},
	{"doors", []string{"tools", "language"}, []string{"console", "contract", "dialect", "trigger"}},
	{"wiring", nil, []string{"bench", "cmd", "manifest", "node", "test"}},
}

// neighbours are the imports allowed along one floor. Keep it short.
var neighbours = map[string][]string{
	"data":               {"."},
	"event":              {"."},
	"registry":           {"bundle"},
	"table":              {"stream/journal"},
	"bucket":             {"stream/journal"},
	"invoke":             {"dispatch", "pool"},
	"rule":               {"dispatch", "rule/inbox", "rule/pattern", "rule/template"},
	"stream":             {"stream/journal"},
	"rule/inbox":         {"stream/journal"},
	"store/sqlite":       {"store/block", "store/pending"},
	"store/postgres":     {"store/block", "store/pending"},
	"trigger/events":     {"trigger"},
	"trigger/files":      {"trigger"},
	"trigger/manual":     {"trigger"},
	"contract/openwhisk": {"contract/native"},
	"dialect/openwhisk":  {"contract/openwhisk"}, // an action's note
	"trigger/mqtt":       {"trigger"},
	"trigger/schedule":   {"trigger"},
	"trigger/web":        {"trigger"},
	"trigger/webhook":    {"trigger"},
	"cmd/rouse":          {"manifest", "node"},
	"bench":              {"node"},
}

// testRooms may know all, as tests do, and only tests may know them.
var testRooms = []string{"store/storetest/both", "trigger/triggertest"}

// doors are the foreign libraries and the one folder that may import each.
var doors = map[string]string{
	"github.com/tetratelabs/wazero":       "sandbox/wasm",
	"modernc.org/sqlite":                  "store/sqlite",
	"github.com/jackc/pgx":                "store/postgres",
	"github.com/minio/minio-go":           "blob/s3",
	"github.com/robfig/cron":              "trigger/schedule",
	"github.com/mochi-mqtt/server":        "trigger/mqtt",
	"github.com/eclipse/paho.golang":      "trigger/mqtt",
	"github.com/cloudevents/sdk-go":       "trigger/events",
	"github.com/cockroachdb/apd":          "table",
	"github.com/elastic/go-seccomp-bpf":   "sandbox/process",
	"github.com/landlock-lsm/go-landlock": "sandbox/process",
	"github.com/google/nftables":          "sandbox/process",
	"github.com/vishvananda/netlink":      "sandbox/process",
	"github.com/spf13/cobra":              "cmd/rouse",
	"github.com/goccy/go-yaml":            "manifest",
	"github.com/fsnotify/fsnotify":        "cmd/rouse",
}

// clouds are words that the core must not say; only a dialect may.
var clouds = regexp.MustCompile(`(?i)\b(aws|lambda|azure|openwhisk|kinesis|dynamodb|sqs)\b`)

func TestImportsRunDown(t *testing.T) {
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return err
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := path.Dir(strings.TrimPrefix(filepath.ToSlash(file), "../"))
		for _, spec := range f.Imports {
			to, _ := strconv.Unquote(spec.Path.Value)
			for library, room := range doors {
				if strings.HasPrefix(to+"/", library+"/") && !strings.HasPrefix(from+"/", room+"/") {
					t.Errorf("%s imports %s: only %s may", file, to, room)
				}
			}
			if rest, ok := strings.CutPrefix(to+"/", module+"/"); ok {
				if why := forbidden(from, path.Clean(rest)); why != "" {
					t.Errorf("%s imports %s: %s", file, to, why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheCoreNamesNoCloud(t *testing.T) {
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			return err
		}
		from := path.Dir(strings.TrimPrefix(filepath.ToSlash(file), "../"))
		if f := floor(from); f < 0 || floors[f].name == "doors" || floors[f].name == "wiring" {
			return nil
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if said := clouds.FindString(string(src)); said != "" {
			t.Errorf("%s says %q: leave that to a dialect", file, said)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func forbidden(from, to string) string {
	a, b := floor(from), floor(to)
	switch {
	case slices.Contains(testRooms, from):
		return ""
	case slices.Contains(testRooms, to):
		return "only tests may"
	case a < 0 || b < 0:
		return "one of them is on no floor"
	case a == b && (slices.Contains(neighbours[from], to) || family(from) == family(to)):
		return ""
	case b >= a:
		return "imports run down"
	case floors[a].knows != nil && !slices.Contains(floors[a].knows, floors[b].name):
		return floors[a].name + " must not know " + floors[b].name
	}
	return ""
}

func floor(pkg string) int {
	room, _, _ := strings.Cut(pkg, "/") // "." is the language
	for i, f := range floors {
		if slices.Contains(f.rooms, room) {
			return i
		}
	}
	return -1
}

// family is the folder whose packages may import each other, such as
// dialect/aws or sandbox/process; the tools are all of one.
func family(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	if len(parts) > 1 && parts[0] != "internal" {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}
