package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
)

// given returns what a flag or argument says: itself, or what is in the file
// after "@", or for "-" what comes in.
func (a *app) given(ctx context.Context, s string) ([]byte, error) {
	name, file := strings.CutPrefix(s, "@")
	switch {
	case s == "-" || file && name == "-":
		return read(ctx, func() ([]byte, error) { return io.ReadAll(a.in) })
	case file:
		return os.ReadFile(name)
	}
	return []byte(s), nil
}

// givenJSON reads JSON that a flag or argument gives; what says which.
func (a *app) givenJSON(ctx context.Context, what, s string, v any) error {
	b, err := a.given(ctx, s)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		if _, ours := errors.AsType[*rouse.Error](err); ours {
			return err
		}
		return rouse.Errorf(rouse.Invalid, "read "+what, "", "%w; mind that a shell takes quotation marks away: write it in single quotes", err)
	}
	return nil
}

// pairs reads arguments such as color=red.
func pairs(c *cobra.Command, flag string, list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usage(c, "%s %q is not such as name=value", flag, s)
		}
		m[k] = v
	}
	return m, nil
}

// show prints bytes that people can read on a line, and the size of others.
func show(b []byte) string {
	if !utf8.Valid(b) {
		return fmt.Sprintf("(%s of binary data)", size(int64(len(b))))
	}
	return strings.TrimRight(string(b), "\n")
}
