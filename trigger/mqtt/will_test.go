package mqtt

import (
	"fmt"
	"testing"
)

// The will of a device that is gone without a word is an event; that of one that
// says so is not.
func TestAWill(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	w.start("a", fmt.Sprintf(`{"listen": %q, "topics": ["a/#"], "users": {"ann": "ann's password"}}`, address))
	w.start("b", fmt.Sprintf(`{"listen": %q, "topics": ["b/#"], "users": {"bob": "bob's password"}}`, address))
	quiet, code := dialAs(t, address, "quiet", "ann", "ann's password", &will{"a/quiet", "gone"})
	if code != 0 {
		t.Fatal(code)
	}
	quiet.write(0xe0, nil)
	lost, code := dialAs(t, address, "lost", "ann", "ann's password", &will{"a/lost", `{"online": false}`})
	if code != 0 {
		t.Fatal(code)
	}
	if err := lost.Close(); err != nil {
		t.Fatal(err)
	}
	w.until("the will has come", func() bool { return len(w.seen("a")) > 0 })
	w.want("a", `a/lost {"online":false}`)
	if got := w.bodies("a")[0]; got.Client != "lost" || got.QoS != 1 {
		t.Errorf("%+v", got)
	}
	// Nobody asks when a will is published: one for the topic of others is refused.
	if _, code := dialAs(t, address, "eve", "ann", "ann's password", &will{"b/x", "1"}); code == 0 {
		t.Error("a will for the topic of others is taken")
	}
	w.want("b")
}
