package auth

import (
	"testing"

	"github.com/rouse-run/rouse"
)

func TestAPassIsOneToken(t *testing.T) {
	a, tokenA := NewPass(rouse.Principal{Name: "a"})
	b, tokenB := NewPass(rouse.Principal{Name: "b"})
	if len(tokenA) != len(prefix)+43 || tokenA == tokenB {
		t.Errorf("%q %q", tokenA, tokenB)
	}
	if p, err := a.Token(t.Context(), tokenA); err != nil || p.Name != "a" || p.Operator {
		t.Errorf("%+v %v", p, err)
	}
	for _, wrong := range []string{"", tokenB, tokenA + "x", tokenA[:len(tokenA)-1]} {
		if p, err := a.Token(t.Context(), wrong); rouse.KindOf(err) != rouse.Unauthenticated || p.Name != "" {
			t.Errorf("%q is %+v %v", wrong, p, err)
		}
	}
	if _, err := b.Token(t.Context(), tokenA); rouse.KindOf(err) != rouse.Unauthenticated {
		t.Errorf("%v", err)
	}
}

func TestKnown(t *testing.T) {
	pass, token := NewPass(rouse.Principal{Name: "next"})
	k := Known{pass}
	if p, err := k.Token(t.Context(), token); err != nil || p.Name != "next" {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := k.Token(t.Context(), "wrong"); rouse.KindOf(err) != rouse.Unauthenticated {
		t.Errorf("%v", err)
	}
	ctx := rouse.WithPrincipal(t.Context(), rouse.Principal{Name: "before"})
	if p, err := k.Token(ctx, "any"); err != nil || p.Name != "before" {
		t.Errorf("%+v %v", p, err)
	}
}
