package manual

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

func TestManual(t *testing.T) {
	var s event.Source = Source{}
	config, err := s.Check(nil)
	if err != nil || string(config) != "{}" || s.Kind() != "manual" {
		t.Errorf("%s %v", config, err)
	}
	if _, err := s.Check(json.RawMessage(`{"every":"1s"}`)); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "every") {
		t.Errorf("%v", err)
	}
	stop, err := s.Start(event.Trigger{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	stop()
}
