package rouse

import (
	"context"
	"io"
	"time"
)

// A Function is one version of code that answers Events, and what it needs to
// run. A version never changes once deployed.
type Function struct {
	Ref
	Version  int               `json:"version"`  // 1, 2, 3 ...
	Code     Digest            `json:"code"`     // names the bundle in Blobs
	CodeSize int64             `json:"codeSize"` // bytes, packed
	Deps     Digest            `json:"deps,omitempty"`
	Handler  string            `json:"handler"`  // the entry point, in the words of its Contract
	Runtime  string            `json:"runtime"`  // as asked for, such as "python3.11", "nodejs" or "wasm"
	Contract string            `json:"contract"` // what the code expects: "native", "http", "stdio" ...
	Env      map[string]string `json:"env,omitempty"`
	Limits   Limits            `json:"limits"`
	Egress   bool              `json:"egress,omitempty"` // may open TCP connections and resolve names
	Allow    []string          `json:"allow,omitempty"`  // the Grants that it has on the platform, such as "bucket:photos rw"
	Public   bool              `json:"public,omitempty"` // its HTTP route asks for no credentials
	Retry    Retry             `json:"retry"`
	Created  time.Time         `json:"created"`
	Notes    Notes             `json:"notes,omitempty"`
	Recorded Notes             `json:"recorded,omitempty"` // what each of its Activations keeps as its own Notes: the Function may be another soon, or gone
}

// Limits bound the Instances of a Function. A zero field stands for the
// platform's default.
type Limits struct {
	Memory      int64    `json:"memory"`      // bytes an Instance may hold
	Tmp         int64    `json:"tmp"`         // bytes in its /tmp, part of Memory
	Timeout     Duration `json:"timeout"`     // of one Event
	Concurrency int      `json:"concurrency"` // Events an Instance answers at once
	Min         int      `json:"min"`         // Instances kept warm
	Max         int      `json:"max"`         // Instances at once; 0 leaves it to the node's memory
	Queue       int      `json:"queue"`       // Invocations that may wait for an Instance
	Answer      int64    `json:"answer"`      // bytes of one answer
	Log         int64    `json:"log"`         // bytes of log kept of one Activation
	Processes   int      `json:"processes"`   // processes and threads in an Instance
}

// Retry says how often an asynchronous Invocation is tried.
type Retry struct {
	Attempts int      `json:"attempts"` // in all; 0 stands for the platform's default
	Backoff  Duration `json:"backoff"`  // before the second attempt; doubled before each further one
}

// A FunctionChecker is a Registry that says beforehand what Deploy would of all
// but the code. Concurrent calls are safe.
type FunctionChecker interface {
	// CheckFunction fills in the defaults that do not hang on the code. Errors:
	// Invalid, TooLarge.
	CheckFunction(f Function) (Function, error)
}

// An Alias is a name for one version of a Function, or for two of which the
// second gets Weight of the calls.
type Alias struct {
	Function Ref     `json:"function"`
	Name     string  `json:"name"`
	Version  int     `json:"version"`
	Other    int     `json:"other,omitempty"`  // 0 is none
	Weight   float64 `json:"weight,omitempty"` // 0 to 1
}

// A Runtime is a language or machine that this host can boot.
type Runtime struct {
	Name    string   `json:"name"`              // such as "python3.11" or "nodejs20"
	Aliases []string `json:"aliases,omitempty"` // such as "python3"
	Version string   `json:"version"`
	Path    string   `json:"path,omitempty"` // of the interpreter on the host
	Family  string   `json:"family"`         // "python", "node", "wasm", "executable"
}

// A Compiler makes programs of source code, which it does not trust.
type Compiler interface {
	// Version is that of a language, such as "1.26" of "go"; "" where this host
	// can't compile it.
	Version(language string) string

	// Compile makes a program of a zip archive of source. Errors: Invalid with what
	// the compiler said; NotImplemented where this host can't.
	Compile(ctx context.Context, language string, archive []byte) (program []byte, err error)
}

// A Registry knows what is deployed. All methods may be called concurrently.
type Registry interface {
	// Deploy adds the next version of f.Ref from code, a zip archive, and makes
	// it the newest. Where code is nil it is that of an earlier deploy, f.Code.
	// Defaults are filled in; the result is what was stored. Errors: Invalid,
	// TooLarge, Conflict; NotFound where there is no such code.
	Deploy(ctx context.Context, f Function, code io.Reader, progress func(step string)) (Function, error)

	// Function returns one version: the newest for qualifier "", a number, or
	// what an alias of that name picks now. Errors: NotFound.
	Function(ctx context.Context, r Ref, qualifier string) (Function, error)

	// Functions lists the newest versions in a namespace by name, at most limit
	// from the first name after "after".
	Functions(ctx context.Context, ns Namespace, after string, limit int) ([]Function, error)

	// Versions lists all versions of a Function, oldest first.
	Versions(ctx context.Context, r Ref) ([]Function, error)

	// Remove takes away a Function, its versions and aliases; calls that run
	// finish. Errors: NotFound.
	Remove(ctx context.Context, r Ref) error

	// SetAlias adds or replaces a; RemoveAlias takes it away.
	SetAlias(ctx context.Context, a Alias) error
	RemoveAlias(ctx context.Context, r Ref, name string) error
	Aliases(ctx context.Context, r Ref) ([]Alias, error)
}
