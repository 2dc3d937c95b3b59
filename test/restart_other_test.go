package test

import (
	"net/http"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A namespace need not be a subject's for its triggers and rules to be there
// after a restart, nor does what is in it go with the subject.
func TestARestartKeepsTheRulesOfAllNamespaces(t *testing.T) {
	s := start(t, "")
	if _, err := s.SetSubject(t.Context(), "eve", wire.SubjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []rouse.Namespace{"other", "eve"} {
		s.Namespace = ns
		s.set("streams", "s", map[string]any{"shards": 1})
		s.set("queues", "q", map[string]any{})
		s.set("rules", "r", map[string]any{"on": map[string]any{"stream": "s"}, "to": map[string]any{"queue": "q"}})
		s.set("triggers", "t", map[string]any{"kind": "manual"})
	}
	s.Namespace = ""
	if err := s.RemoveSubject(t.Context(), "eve"); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s = start(t, s.data)
	for _, ns := range []rouse.Namespace{"other", "eve"} {
		s.Namespace = ns
		if _, err := s.Append(t.Context(), "s", data.Record{Data: []byte(`{"n":1}`)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the record of "+string(ns)+" is in the queue", func() bool {
			q, err := s.Queue(t.Context(), "q")
			return err == nil && q.Counts.Visible == 1
		})
		if err := s.Do(t.Context(), http.MethodGet, []string{"triggers", "t"}, nil, nil, nil); err != nil {
			t.Errorf("its trigger: %v", err)
		}
		if err := s.RemoveRule(t.Context(), "r"); err != nil {
			t.Errorf("its rule: %v", err)
		}
	}
}
