package client_test

import (
	"context"
	"testing"

	"github.com/rouse-run/rouse/dialect/native/client"
)

// One client of a namespace has its turn, and the next when that one says so or
// is gone; another namespace's need not wait.
func TestTurn(t *testing.T) {
	_, c := dial(t)
	other := *c
	other.Namespace = "other"
	first, err := c.Turn(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := other.Turn(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	done()

	type turn struct {
		done func()
		err  error
	}
	ask := func(ctx context.Context, c *client.Client) (waits chan bool, got chan turn) {
		waits, got = make(chan bool, 1), make(chan turn, 1)
		go func() {
			done, err := c.Turn(ctx, func() { waits <- true })
			got <- turn{done, err}
		}()
		return waits, got
	}
	ctx, leave := context.WithCancel(t.Context())
	waits, gone := ask(ctx, c)
	<-waits
	life, killed := context.WithCancel(t.Context())
	waits, second := ask(life, c)
	<-waits
	waits, third := ask(t.Context(), c)
	<-waits
	leave() // who waits no longer is not waited for
	if got := <-gone; got.err != context.Canceled {
		t.Errorf("who gave up has %v", got.err)
	}
	first()
	if got := <-second; got.err != nil {
		t.Fatal(got.err)
	}
	select {
	case <-third:
		t.Error("two have their turn at once")
	default:
	}
	killed()
	got := <-third
	if got.err != nil {
		t.Fatal(got.err)
	}
	got.done()
	got.done() // twice is once
}
