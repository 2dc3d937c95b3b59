package registry

import (
	"context"
	"testing"

	"github.com/rouse-run/rouse"
)

type silent struct{}

func (silent) Handle(context.Context, rouse.Function, rouse.Invocation, func(rouse.Line)) (rouse.Answer, error) {
	return rouse.Answer{}, nil
}

// A function of a contract that the platform answers for needs no code.
func TestAFunctionWithoutCode(t *testing.T) {
	p := open(t, func(c *Config) { c.Handlers = map[string]rouse.Handler{"handled": silent{}} })
	f := rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: "box/f"}, Contract: "handled", Runtime: "none"}
	for want := 1; want <= 2; want++ {
		got, err := p.Deploy(t.Context(), f, nil, nil)
		if err != nil || got.Version != want || got.Code != "" || got.Limits.Timeout == 0 {
			t.Fatalf("%+v %v", got, err)
		}
	}
	if got, err := p.Function(t.Context(), f.Ref, ""); err != nil || got.Version != 2 {
		t.Errorf("%+v %v", got, err)
	}
	if err := p.Remove(t.Context(), f.Ref); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Function(t.Context(), f.Ref, ""); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
	// Another contract's function has code.
	f.Contract = "native"
	if _, err := p.Deploy(t.Context(), f, nil, nil); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("without code: %v", err)
	}
}

// A function may lie in a folder; its versions are not those of another that
// begins alike.
func TestFunctionsInFolders(t *testing.T) {
	p := open(t, nil)
	for _, name := range []string{"box", "box/f", "box/f2"} {
		if _, err := p.deploy(t, rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: name}}, "main.py", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Remove(t.Context(), rouse.Ref{Namespace: "default", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	fs, err := p.Functions(t.Context(), "default", "", 0)
	if err != nil || len(fs) != 2 || fs[0].Name != "box/f" || fs[1].Name != "box/f2" {
		t.Errorf("%v %v", fs, err)
	}
	if vs, err := p.Versions(t.Context(), fs[0].Ref); err != nil || len(vs) != 1 {
		t.Errorf("%v %v", vs, err)
	}
}
