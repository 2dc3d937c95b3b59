package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// What somebody said yes to is what is done, or nothing is.
func TestApplyDoesWhatWasShown(t *testing.T) {
	all, end, err := services(platform(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(native.New(all, native.Config{}))
	t.Cleanup(func() {
		s.Close()
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	name := filepath.Join(t.TempDir(), "rouse.yaml")
	if err := os.WriteFile(name, []byte("queues: {a: {}, b: {}}"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	settings := map[string]string{"ROUSE_SERVER": s.URL, "ROUSE_TOKEN": nativetest.Token}
	a := &app{out: &out, err: &out, env: func(k string) string { return settings[k] }}
	c := &cobra.Command{}
	c.SetContext(t.Context())
	shown, err := a.plan(c, name, false)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := a.client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.SetQueue(t.Context(), "a", wire.QueueOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := a.apply(c, name, false, shown); rouse.KindOf(err) != rouse.Conflict || !strings.Contains(err.Error(), "no longer what was shown") {
		t.Errorf("%v", err)
	}
	if _, err := cl.Queue(t.Context(), "b"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("it was done: %v", err)
	}
	if shown, err = a.plan(c, name, false); err != nil {
		t.Fatal(err)
	}
	if err := a.apply(c, name, false, shown); err != nil {
		t.Error(err)
	}
	if got := out.String(); strings.Count(got, "created queue") != 1 || !strings.Contains(got, "1/1 created queue b") {
		t.Errorf("it says %s", got)
	}
}
