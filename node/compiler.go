package node

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/sandbox/process"
)

// A compiler is a rouse.Compiler whose work is done in sandboxes.
type compiler struct {
	dir    string // for what is under way
	driver *process.Driver
}

// Version implements rouse.Compiler.
func (c compiler) Version(language string) string {
	if language != "go" || c.driver.Isolation() != process.Namespaces {
		return ""
	}
	return process.GoVersion()
}

// Compile implements rouse.Compiler.
func (c compiler) Compile(ctx context.Context, language string, archive []byte) ([]byte, error) {
	if language != "go" {
		return nil, rouse.Errorf(rouse.NotImplemented, "compile", language, "this server compiles go only")
	}
	dir, err := os.MkdirTemp(c.dir, "compiling-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, out := filepath.Join(dir, "source"), filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := bundle.Unpack(bytes.NewReader(archive), int64(len(archive)), source, bundle.DefaultLimits); err != nil {
		return nil, err
	}
	if err := c.driver.Compile(ctx, source, out, nil); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(out, "exec"))
}
