package openwhisk

import (
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// A sequence that has grown by what is in it runs no more than a sequence may.
func TestASequenceThatGrew(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("one")
	p.must(ns, "PUT", "_/actions/part", sequence("/_/one"))
	p.must(ns, "PUT", "_/actions/whole", sequence("/_/part", "/_/part", "/_/part"))
	if status, said := p.ask(ns, "POST", "_/actions/whole?blocking=true&result=true", fields{}); status != 200 {
		t.Errorf("%d %s", status, said)
	}
	if ran := p.seen("one"); len(ran) != 3 {
		t.Errorf("%d components ran", len(ran))
	}
	p.must(ns, "PUT", "_/actions/part?overwrite=true", sequence(slices.Repeat([]string{"/_/one"}, 30)...))
	if status, said := p.ask(ns, "POST", "_/actions/whole?blocking=true&result=true", fields{}); status != 502 || !strings.Contains(said, "Too many actions in the sequence.") {
		t.Errorf("%d %s", status, said)
	}
	if ran := p.seen("one"); len(ran) != maxComponents {
		t.Errorf("%d components ran, not %d", len(ran), maxComponents)
	}
}
