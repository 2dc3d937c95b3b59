package process

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestNothingIsMadeAheadWhileSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := map[bool]int{}
		release := make(chan struct{})
		n := &nursery{parked: make(chan *room, 2)}
		n.make = func(wanted bool) (*room, error) {
			if wanted {
				<-release
			}
			n.mu.Lock()
			made[wanted]++
			n.mu.Unlock()
			return &room{done: make(chan struct{})}, nil
		}
		counts := func() (wanted, ahead int) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return made[true], made[false]
		}
		take := func() {
			if _, err := n.take(); err != nil {
				t.Error(err)
			}
		}
		for range 3 {
			go take()
		}
		synctest.Wait()
		n.fill()
		time.Sleep(2 * respite)
		if wanted, ahead := counts(); wanted != 0 || ahead != 0 {
			t.Errorf("while three wait, %d were made, and %d ahead", wanted, ahead)
		}
		release <- struct{}{}
		time.Sleep(2 * respite)
		if wanted, ahead := counts(); wanted != 1 || ahead != 0 {
			t.Errorf("while two wait, %d were made, and %d ahead", wanted, ahead)
		}
		close(release)
		time.Sleep(2 * respite)
		if wanted, ahead := counts(); wanted != 3 || ahead != 2 {
			t.Errorf("once nobody waits, %d were made, and %d ahead; want 3 and 2", wanted, ahead)
		}
		take()
		time.Sleep(2 * respite)
		if wanted, ahead := counts(); wanted != 3 || ahead != 3 {
			t.Errorf("after one was taken, %d were made, and %d ahead; want 3 and 3", wanted, ahead)
		}
	})
}
