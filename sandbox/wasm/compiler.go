package wasm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/unix"
)

// compilerName is the argv[0] by which this program is started to compile one
// module: its arguments are the folder of compiled modules, the seconds of
// processor time and the bytes of memory that it may take. The module is its
// standard input; when descriptor 3 ends, nobody wants it any more.
const compilerName = "rouse-wasm-compiler"

// What a compilation may take. The compiler's passes are more than linear: 29 KB
// that are made for it took 3 s, and 120 KB more than two minutes, with memory to
// match.
const (
	compileTime   = 5 * time.Minute // of processor time
	compileMemory = 4 << 30         // bytes
)

// small is how many bytes a module may have that is compiled where we are: the
// worst that was tried took 28 ms.
const small = 2 << 10

// faulty is the exit code of a compiler whose module is no good; it has said why.
const faulty = 3

func init() {
	if len(os.Args) == 4 && os.Args[0] == compilerName {
		os.Exit(beCompiler(os.Args[1], os.Args[2], os.Args[3]))
	}
}

// beCompiler leaves the compiled module in the cache dir.
func beCompiler(dir, seconds, bytes string) int {
	go func() {
		_, _ = os.NewFile(3, "server").Read(make([]byte, 1))
		os.Exit(1) // it has ended
	}()
	err := bound(seconds, bytes)
	var source []byte
	if err == nil {
		source, err = io.ReadAll(os.Stdin)
	}
	var cache wazero.CompilationCache
	if err == nil {
		cache, err = wazero.NewCompilationCacheWithDir(dir)
	}
	if err != nil {
		fmt.Fprint(os.Stderr, err)
		return 1
	}
	ctx := context.Background()
	if _, err := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(cache)).CompileModule(ctx, source); err != nil {
		fmt.Fprint(os.Stderr, err)
		return faulty
	}
	return 0
}

// bound has the kernel end this process where it takes too much. Calls of
// functions go first.
func bound(seconds, bytes string) error {
	s, err := strconv.ParseUint(seconds, 10, 64)
	if err != nil {
		return err
	}
	b, err := strconv.ParseUint(bytes, 10, 64)
	if err != nil {
		return err
	}
	return errors.Join(unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: s, Max: s}),
		unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: b, Max: b}),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		unix.Setpriority(unix.PRIO_PROCESS, 0, 5))
}

// An unfit module can't be compiled, and it says why.
type unfit string

func (u unfit) Error() string { return string(u) }

func tooCostly(what string) unfit {
	return unfit("that takes more than " + what + "; split its largest functions, or build it with less inlining")
}

// A compiler compiles modules in processes of their own, into a cache.
type compiler struct {
	alive  context.Context // ends with the Driver
	end    context.CancelFunc
	dir    string
	time   time.Duration // of processor time for one module
	memory int64         // bytes for one module
	turns  chan struct{} // holds one for each that runs
}

func newCompiler(dir string) *compiler {
	c := &compiler{dir: dir, time: compileTime, memory: compileMemory, turns: make(chan struct{}, runtime.NumCPU())}
	c.alive, c.end = context.WithCancel(context.Background())
	return c
}

// compile sees to it that code's compiled form is in the cache. An error that is
// the code's own is unfit.
func (c *compiler) compile(code []byte) error {
	if len(code) <= small {
		return nil
	}
	// What was compiled once is known to take no longer, even where its compiled
	// form was trimmed from the cache.
	sum := sha256.Sum256(code)
	known := filepath.Join(c.dir, "known", hex.EncodeToString(sum[:]))
	if _, err := os.Stat(known); err == nil {
		return nil
	}
	c.turns <- struct{}{}
	defer func() { <-c.turns }()
	if err := c.run(code); err != nil {
		return err
	}
	err := os.MkdirAll(filepath.Dir(known), 0o700)
	if err == nil {
		err = os.WriteFile(known, nil, 0o600)
	}
	return err
}

func (c *compiler) run(code []byte) error {
	theirs, ours, err := os.Pipe() // which ends with this process, and with it the compiler
	if err != nil {
		return err
	}
	defer theirs.Close()
	defer ours.Close()
	seconds := max(1, int64(c.time.Round(time.Second)/time.Second))
	said := &head{most: 4 << 10}
	cmd := exec.CommandContext(c.alive, "/proc/self/exe")
	cmd.Args = []string{compilerName, c.dir, strconv.FormatInt(seconds, 10), strconv.FormatInt(c.memory, 10)}
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = bytes.NewReader(code), said, []*os.File{theirs}
	err = cmd.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !ended:
		return fmt.Errorf("start the compiler: %w", err)
	case exit.ExitCode() == faulty:
		return unfit(said.kept.String())
	case c.alive.Err() != nil:
		return errors.New("compile module: the server is stopping")
	case exit.UserTime()+exit.SystemTime() >= time.Duration(seconds)*time.Second*9/10:
		return tooCostly(fmt.Sprintf("%v of processor time", c.time))
	case exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL || outOfMemory.Match(said.kept.Bytes()):
		return tooCostly(fmt.Sprintf("%d MB of memory", c.memory>>20))
	}
	return fmt.Errorf("the compiler ended with %v: %s", exit, cmp.Or(said.kept.String(), "it said nothing"))
}

// outOfMemory is in what a program says that gets no more of it: in so many
// words, or where a thread was to have a stack.
var outOfMemory = regexp.MustCompile("memory|pthread_create failed|failed to create new OS thread")

// head keeps the first of what is written to it.
type head struct {
	kept bytes.Buffer
	most int
}

// Write implements io.Writer.
func (h *head) Write(b []byte) (int, error) {
	h.kept.Write(b[:min(len(b), h.most-h.kept.Len())])
	return len(b), nil
}
