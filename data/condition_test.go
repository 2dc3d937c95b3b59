package data

import (
	"encoding/json"
	"strings"
	"testing"
)

// A word that is misspelt is refused: it must not change nothing, silently.
func TestEditsThatAreNone(t *testing.T) {
	for form, says := range map[string]string{`{"sett": {"n": 1}}`: "sett", `{"set": {"": 1}}`: "", `[]`: ""} {
		var es Edits
		err := json.Unmarshal([]byte(form), &es)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v", form, es, err)
		}
	}
	var es Edits
	if err := json.Unmarshal([]byte(`{"set": {"n": 1}, "remove": ["m"]}`), &es); err != nil || len(es) != 2 {
		t.Errorf("%v, %v", es, err)
	}
}
