package openwhisk_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process"
)

// tiers runs a test once per tier.
func tiers(t *testing.T, f func(*testing.T, *process.Driver)) {
	t.Helper()
	for _, tier := range []string{process.Namespaces, process.Landlock} {
		t.Run(tier, func(t *testing.T) { f(t, drivers[tier]) })
	}
}

const sentinel = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"

const script = `#!/bin/sh
case "$1" in
*'"echo"'*) echo "got $1"; echo aside >&2; echo; echo '{"answer": '"$1"'}' ;;
*stdin*) read line; echo "$line" ;;
*all*) cat ;;
*env*) echo '{"id":"'$__OW_ACTIVATION_ID'","name":"'$__OW_ACTION_NAME'"}' ;;
*here*) echo '{"here":"'$(cat data.txt)'"}' ;;
*list*) echo '[1, 2]' ;;
*open*) printf '{"no":"line end"}' ;;
*error*) echo '{"error":"no luck"}' ;;
*sentinel*) echo log; echo ` + sentinel + ` >&2; echo '{"a":1}'; echo ` + sentinel + ` ;;
*text*) echo text ;;
*nothing*) exit 3 ;;
*kill*) kill -9 $$ ;;
*null*) echo null ;;
esac
`

func TestAProgramForEachEvent(t *testing.T) { tiers(t, testAProgramForEachEvent) }

func testAProgramForEachEvent(t *testing.T, d *process.Driver) {
	a := program("blackbox", script)
	a.driver, a.files["data.txt"] = d, "data"
	h := a.boot(t)
	h.expect(t, `{"do":"echo"}`, `{"answer":{"do":"echo"}}`)
	if got, want := h.printed(), "stdout: got {\"do\": \"echo\"}\nstdout: \nstderr: aside\n"; sorted(got) != sorted(want) {
		t.Errorf("printed %q, not %q", got, want)
	}
	h.expect(t, `{"do":"stdin"}`, `{"do":"stdin"}`)
	h.expect(t, `{"do":"all"}`, `{"do":"all"}`)
	h.expect(t, `{"do":"env"}`, `{"id":"id","name":"/guest/hello"}`)
	h.expect(t, `{"do":"here"}`, `{"here":"data"}`)
	h.expect(t, `["list"]`, `[1,2]`)
	h.expect(t, `{"do":"open"}`, `{"no":"line end"}`)
	h.fails(t, `{"do":"error"}`, rouse.StatusFailed, application, "no luck", `{"error":"no luck"}`)
	h.printed()
	h.expect(t, `{"do":"sentinel"}`, `{"a":1}`)
	if got := h.printed(); got != "stdout: log\n" {
		t.Errorf("printed %q", got)
	}
	const noObject = "The action did not return a dictionary or array."
	h.fails(t, `{"do":"text"}`, rouse.StatusFailed, developer, noObject, "")
	if got := h.printed(); got != "stdout: text\n" {
		t.Errorf("printed %q", got)
	}
	h.fails(t, `{"do":"nothing"}`, rouse.StatusFailed, developer, noObject, "")
	h.fails(t, `{"do":"null"}`, rouse.StatusFailed, developer, "The action did not produce a valid JSON or JSON Array response: null", "")
	h.printed()
	h.fails(t, `{"do":"kill"}`, rouse.StatusFailed, developer, noObject, "")
	if got := h.printed(); got != "stderr: exec was ended by signal 9\n" {
		t.Errorf("printed %q", got)
	}
	h.expect(t, `["list"]`, `[1,2]`)
}

func sorted(lines string) string {
	parts := strings.SplitAfter(lines, "\n")
	var out, err []string
	for _, p := range parts {
		if strings.HasPrefix(p, "stderr") {
			err = append(err, p)
		} else {
			out = append(out, p)
		}
	}
	return strings.Join(append(out, err...), "")
}

// Arguments that are too long for the kernel come by standard input alone.
func TestAProgramWithLongArguments(t *testing.T) {
	h := program("blackbox", "#!/bin/sh\nwc -c | tr -d '\\n' > /tmp/n\necho '{\"arguments\":'$#',\"read\":'$(cat /tmp/n)'}'\n").boot(t)
	h.expect(t, `{"a":"`+strings.Repeat("x", 131000)+`"}`, `{"arguments":1,"read":131009}`)
	if got := h.printed(); got != "" {
		t.Errorf("printed %q", got)
	}
	h.expect(t, `{"a":"`+strings.Repeat("x", 900000)+`"}`, `{"arguments":0,"read":900009}`)
	if got := h.printed(); !strings.Contains(got, "stderr: exec gets its arguments on standard input only: they have 900009 bytes") {
		t.Errorf("printed %q", got)
	}
	long := program("blackbox", "#!/bin/sh\ncat; yes log | head -c 2000000; cat; echo; echo '{}'\n").boot(t)
	long.expect(t, `{"a":"`+strings.Repeat("x", 900000)+`"}`, `{}`)
}

func TestAProgramWithoutItsMode(t *testing.T) {
	tiers(t, func(t *testing.T, d *process.Driver) {
		a := program("blackbox", script)
		a.driver = d
		a.files = files{"exec": "\n" + script} // is no script to the kernel
		h := a.boot(t)
		h.fails(t, `{"do":"open"}`, rouse.StatusFailed, developer, "The action did not return a dictionary or array.", "")
		if got := h.printed(); got != "stderr: .exec: [Errno 8] Exec format error\n" {
			t.Errorf("printed %q", got)
		}
		dir := goProgram(t, onceInGo)
		binary, err := os.ReadFile(filepath.Join(dir, "exec"))
		if err != nil {
			t.Fatal(err)
		}
		a.files = files{"exec": string(binary), "mode": "lost"}
		a.boot(t).expect(t, `{"a":1}`, `{"args":1,"first":"{\"a\": 1}"}`)
	})
}

func TestCodeWithoutItsProgram(t *testing.T) {
	for _, kind := range []string{"blackbox", "go:1.20", "swift:5.3"} {
		a := program(kind, "")
		a.files = files{"main.go": "package main"}
		boot, h := a.refused(t, rouse.StatusFailed)
		if boot.Message != "The action failed to generate or locate a binary. See logs for details." {
			t.Errorf("%s: %+v", kind, boot)
		}
		if got := h.printed(); !strings.HasPrefix(got, "stderr: There is no file exec at the top of the code, which has: main.go\n") {
			t.Errorf("printed %q", got)
		}
	}
}

// goProgram compiles a Go program into a folder as "exec".
func goProgram(t testing.TB, source string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "exec"), filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return dir
}

const onceInGo = `package main
import ("encoding/json"; "os")
func main() { json.NewEncoder(os.Stdout).Encode(map[string]any{"args": len(os.Args) - 1, "first": os.Args[1]}) }
`

// loopInGo is what the launcher of a Go action does.
const loopInGo = `package main
import ("bufio"; "encoding/json"; "fmt"; "os"; "strings"; "time")
func main() {
	out := os.NewFile(3, "out")
	in := bufio.NewReader(os.Stdin)
	if _, err := os.Stat("fail.txt"); err == nil {
		fmt.Fprintln(os.Stderr, "no start")
		os.Exit(4)
	}
	fmt.Println("starting", os.Getenv("__OW_ACTION_NAME"))
	if os.Getenv("__OW_WAIT_FOR_ACK") != "" { fmt.Fprintln(out, "{ \"ok\": true}") }
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil { return }
		var r struct { Value json.RawMessage; Namespace, Action_name, Action_version, Activation_id, Transaction_id, Deadline string }
		if err := json.Unmarshal(line, &r); err != nil { fmt.Fprintln(out, "{\"error\":\"bad line\"}"); continue }
		var v struct { Do string; Size int }
		json.Unmarshal(r.Value, &v)
		switch v.Do {
		case "log": fmt.Println("to stdout"); fmt.Fprintln(os.Stderr, "to stderr"); fmt.Print("open"); fmt.Fprintln(out, "{}")
		case "sentinel": fmt.Println("before\nXXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"); fmt.Fprintln(os.Stderr, "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"); fmt.Fprintln(out, "{}")
		case "flood": fmt.Println(strings.Repeat("0123456789abcde\n", 1<<16)); fmt.Fprintln(out, "{}")
		case "exit": os.Exit(5)
		case "panic": panic("no luck")
		case "close": out.Close(); time.Sleep(time.Hour)
		case "text": fmt.Fprintln(out, "text")
		case "garbage": fmt.Fprintln(out, "\xff\xfe{")
		case "null": fmt.Fprintln(out, "null")
		case "error": fmt.Fprintln(out, "{\"error\":\"no luck\"}")
		case "large": fmt.Fprintf(out, "{\"a\":%q}\n", strings.Repeat("x", v.Size))
		default:
			b, _ := json.Marshal(map[string]any{"n": n, "value": r.Value, "name": r.Action_name, "version": r.Action_version, "namespace": r.Namespace,
				"ids": r.Activation_id + " " + r.Transaction_id, "digits": len(r.Deadline)})
			fmt.Fprintf(out, "%s\n", b)
		}
	}
}
`

func TestAProgramThatLoops(t *testing.T) {
	binary, err := os.ReadFile(filepath.Join(goProgram(t, loopInGo), "exec"))
	if err != nil {
		t.Fatal(err)
	}
	tiers(t, func(t *testing.T, d *process.Driver) { testAProgramThatLoops(t, d, string(binary)) })
}

func testAProgramThatLoops(t *testing.T, d *process.Driver, binary string) {
	a := program("go:1.20", binary)
	a.driver = d
	h := a.boot(t)
	if got := h.printed(); got != "stdout: starting /guest/hello\n" {
		t.Errorf("printed %q", got)
	}
	same := func(arguments, n, value string) {
		t.Helper()
		a := h.ask(t, arguments)
		want := `{"digits":13,"ids":"id id","n":` + n + `,"name":"/guest/hello","namespace":"guest","value":` + value + `,"version":"0.0.1"}`
		if string(a.Result) != want || a.Failure != nil {
			t.Errorf("%s: %s %+v, not %s", arguments, a.Result, a.Failure, want)
		}
	}
	same(`{"a":1}`, "1", `{"a":1}`)
	same("{\"a\":\n\r\n1}", "2", `{"a":1}`)
	same(`[1]`, "3", `[1]`)
	h.printed()
	h.expect(t, `{"do":"log"}`, `{}`)
	if got := sorted(h.printed()); got != "stdout: to stdout\nstdout: open\nstderr: to stderr\n" {
		t.Errorf("printed %q", got)
	}
	h.expect(t, `{"do":"sentinel"}`, `{}`)
	if got := h.printed(); got != "stdout: before\n" {
		t.Errorf("printed %q", got)
	}
	h.expect(t, `{"do":"flood"}`, `{}`)
	if got := h.printed(); strings.Count(got, "stdout: 0123456789abcde\n") != 1<<16 {
		t.Errorf("printed %d bytes", len(got))
	}
	failed := rouse.StatusFailed
	const noObject = "The action did not return a dictionary or array."
	h.fails(t, `{"do":"text"}`, failed, developer, noObject, "")
	h.fails(t, `{"do":"garbage"}`, failed, developer, noObject, "")
	h.fails(t, `{"do":"null"}`, failed, developer, "The action did not produce a valid JSON or JSON Array response: null", "")
	h.fails(t, `{"do":"error"}`, failed, application, "no luck", `{"error":"no luck"}`)
	h.expect(t, `{"do":"large","size":500000,"pad":"`+strings.Repeat("x", 500000)+`"}`, `{"a":"`+strings.Repeat("x", 500000)+`"}`)
	for do, how := range map[string]string{"exit": "code 5", "panic": "code 2", "close": "code 137"} {
		h := a.boot(t)
		gone := h.fails(t, `{"do":"`+do+`"}`, rouse.StatusCrashed, developer, "The action did not produce a valid response and exited unexpectedly.", "")
		if !strings.Contains(gone.Failure.Stack, how) {
			t.Errorf("%s: %q", do, gone.Failure.Stack)
		}
		if got := h.printed(); do == "panic" && !strings.Contains(got, "stderr: panic: no luck") {
			t.Errorf("printed %q", got)
		}
	}
	a.files["fail.txt"] = ""
	boot, h := a.refused(t, rouse.StatusFailed)
	if boot.Message != "Cannot start action. Check logs for details." {
		t.Errorf("%+v", boot)
	}
	if got := h.printed(); !strings.HasPrefix(got, "stderr: no start\n") {
		t.Errorf("printed %q", got)
	}
}

func TestAProgramThatNeverIsReady(t *testing.T) {
	for said, want := range map[string]string{
		`echo '{"ok":false}' >&3; sleep 100`: "The action did not initialize properly.",
		`echo '[]' >&3; sleep 100`:           "The action did not initialize properly.",
		`echo nonsense >&3; sleep 100`:       "Cannot start action. Check logs for details.",
		`exec 3>&-; sleep 100`:               "Cannot start action. Check logs for details.",
	} {
		if boot, _ := program("rust:1.34", "#!/bin/sh\n"+said+"\n").refused(t, rouse.StatusFailed); boot.Message != want {
			t.Errorf("%s: %+v", said, boot)
		}
	}
}

func TestMemoryRunsOut(t *testing.T) {
	const hog = "exec awk 'BEGIN { x = \"x\"; while (1) x = x x }'\n"
	atStart := program("go:1.20", "#!/bin/sh\n"+hog)
	if _, err := atStart.try(t); !outOfMemory(err) {
		t.Errorf("%v", err)
	}
	for kind, code := range map[string]string{"go:1.20": "#!/bin/sh\necho '{\"ok\":true}' >&3\nread line\n" + hog, "blackbox": "#!/bin/sh\n" + hog} {
		h := program(kind, code).boot(t)
		// Where the instance outlives it, whoever asks looks at its usage.
		if a := h.ask(t, `{}`); a.Status != rouse.StatusOutOfMemory && (a.Status != rouse.StatusFailed || h.sandbox.Usage().OOM == 0) {
			t.Errorf("%s: %v %+v", kind, a.Status, a.Failure)
		}
	}
	loads := python("x = bytearray(400000000)\nfor i in range(0, len(x), 4096): x[i] = 1\n")
	if _, err := loads.try(t); !outOfMemory(err) {
		t.Errorf("%v", err)
	}
}

func outOfMemory(err error) bool {
	boot, ok := errors.AsType[*rouse.BootError](err)
	return ok && boot.Status == rouse.StatusOutOfMemory
}
