package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A ledger knows what was acknowledged.
type ledger struct {
	mu       sync.Mutex
	records  map[string]bool // IDs of events of the stream
	pressed  map[string]bool // IDs of events of the trigger
	messages map[string]bool // bodies in the queue that nothing takes from
	jobs     map[string]bool // bodies in the queue that a rule takes from
	items    map[string]int  // of the table: the value last acknowledged
	objects  map[string]string
	n        int
}

func newLedger() *ledger {
	return &ledger{records: map[string]bool{}, pressed: map[string]bool{}, messages: map[string]bool{}, jobs: map[string]bool{}, items: map[string]int{}, objects: map[string]string{}}
}

func (l *ledger) String() string {
	return fmt.Sprintf("%d records, %d events, %d and %d messages, %d items, %d objects", len(l.records), len(l.pressed), len(l.messages), len(l.jobs), len(l.items), len(l.objects))
}

// next numbers what is written, so that each is told from all others.
func (l *ledger) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return l.n
}

func (l *ledger) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// write writes to everything at once until ctx ends, and notes what the server
// has acknowledged.
func (l *ledger) write(ctx context.Context, s *server) {
	var g sync.WaitGroup
	for who := range 2 {
		for _, work := range []func(context.Context, *server, int) error{l.append, l.press, l.send, l.put, l.store} {
			g.Go(func() {
				for ctx.Err() == nil {
					if work(ctx, s, who) != nil {
						return // the server is gone; what it had begun may be there or not
					}
				}
			})
		}
	}
	g.Wait()
}

func (l *ledger) append(ctx context.Context, s *server, who int) error {
	var answer struct {
		Positions []struct {
			Shard    string
			Sequence uint64
		}
	}
	var rs []map[string]any
	for range 3 {
		rs = append(rs, map[string]any{"key": fmt.Sprint(who), "data": map[string]int{"n": l.next()}})
	}
	err := s.Do(ctx, http.MethodPost, []string{"streams", "clicks", "records"}, nil, map[string]any{"records": rs}, &answer)
	if err == nil {
		l.note(func() {
			for _, p := range answer.Positions {
				l.records[fmt.Sprintf("default/clicks/%s/%d", p.Shard, p.Sequence)] = true
			}
		})
	}
	return err
}

func (l *ledger) press(ctx context.Context, s *server, _ int) error {
	id := fmt.Sprint("press-", l.next())
	err := s.Do(ctx, http.MethodPost, []string{"triggers", "button", "fire"}, nil, map[string]any{"events": []any{map[string]any{"id": id, "type": "pressed", "data": 1}}}, nil)
	if err == nil {
		l.note(func() { l.pressed[id] = true })
	}
	return err
}

func (l *ledger) send(ctx context.Context, s *server, who int) error {
	queue, into := "kept", l.messages
	if who == 0 {
		queue, into = "jobs", l.jobs
	}
	body := fmt.Sprint("message ", l.next())
	err := s.Do(ctx, http.MethodPost, []string{"queues", queue, "messages"}, nil, map[string]any{"messages": []any{map[string]any{"body": body}}}, nil)
	if err == nil {
		l.note(func() { into[body] = true })
	}
	return err
}

func (l *ledger) put(ctx context.Context, s *server, who int) error {
	n := l.next()
	key := fmt.Sprintf("%d-%d", who, n%7)
	err := s.Do(ctx, http.MethodPost, []string{"tables", "seen", "put"}, nil, map[string]any{"item": map[string]any{"name": key, "n": n}}, nil)
	if err == nil {
		l.note(func() { l.items[key] = n })
	}
	return err
}

func (l *ledger) store(ctx context.Context, s *server, who int) error {
	n := l.next()
	key, content := fmt.Sprintf("%d/%d", who, n), strings.Repeat(fmt.Sprintln("content", n), 1+n%500)
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+s.addr+"/v1/buckets/photos/objects/"+key, strings.NewReader(content))
	if err != nil {
		return err
	}
	resp, err := s.do(r)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s", resp.Status)
	}
	l.note(func() { l.objects[key] = content })
	return nil
}

// do sends a request with the server's token and reads the answer's body.
func (s *server) do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp, err
}

// set makes something by its JSON.
func (s *server) set(kind, name string, doc map[string]any) {
	s.t.Helper()
	if err := s.Do(s.t.Context(), http.MethodPut, []string{kind, name}, nil, doc, nil); err != nil {
		s.t.Fatalf("set %s %s: %v\n%s", kind, name, err, s.log)
	}
}

// kills is how often TestKillUnderEvents kills the server.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("ROUSE_KILLS"))
	if os.Getenv("ROUSE_KILLS") != "" && err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return 5
	}
	return n
}

// A server that is killed under load, each time at another moment, loses nothing
// that it acknowledged: every record, message, item and object is there, and
// every event is delivered at least once, those of a shard in order.
func TestKillUnderEvents(t *testing.T) {
	t.Parallel()
	testKills(t)
}

// services makes what a ledger writes to, and the function "see", which sees the
// events of it.
func (s *server) services() {
	s.python("see", "def main(event):\n    pass\n", wire.Options{Limits: rouse.Limits{Concurrency: 1}})
	s.set("streams", "clicks", map[string]any{"shards": 2})
	s.set("queues", "kept", map[string]any{})
	s.set("queues", "jobs", map[string]any{"visibility": "2s"})
	s.set("tables", "seen", map[string]any{"key": map[string]any{"name": "name"}})
	s.set("buckets", "photos", map[string]any{})
	s.set("triggers", "button", map[string]any{"kind": "web", "config": map[string]any{}})
	for name, on := range map[string]any{"s": map[string]any{"stream": "clicks"}, "t": map[string]any{"trigger": "button"}, "q": map[string]any{"queue": "jobs"}} {
		s.set("rules", name, map[string]any{"on": on, "to": map[string]any{"function": "see"}})
	}
}

func testKills(t *testing.T, flags ...string) {
	s := start(t, "", append(flags, "--memory", "1GB")...)
	s.services()
	l := newLedger()
	for range kills(t) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(400))*time.Millisecond+20*time.Millisecond)
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.write(ctx, s)
		}()
		<-ctx.Done() // somewhere in the middle of it
		s.kill()
		cancel()
		<-done
		s = start(t, s.data, append(flags, "--memory", "1GB")...)
	}
	t.Logf("acknowledged: %s", l)
	for what, n := range map[string]int{"records": len(l.records), "events": len(l.pressed), "messages": len(l.messages), "jobs": len(l.jobs), "items": len(l.items), "objects": len(l.objects)} {
		if n == 0 {
			t.Errorf("no %s were acknowledged: nothing was tested", what)
		}
	}
	l.checkData(t, s)
	l.checkDeliveries(t, s)
}

func (l *ledger) checkData(t *testing.T, s *server) {
	t.Helper()
	for key, n := range l.items {
		var got struct{ Item map[string]any }
		if err := s.Do(t.Context(), http.MethodPost, []string{"tables", "seen", "get"}, nil, map[string]any{"key": map[string]any{"name": key}}, &got); err != nil {
			t.Fatal(err)
		}
		if v, _ := got.Item["n"].(float64); int(v) < n {
			t.Errorf("item %s is at %v, and %d was acknowledged", key, got.Item["n"], n)
		}
	}
	for key, content := range l.objects {
		r, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/v1/buckets/photos/objects/"+key, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.do(r)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != content {
			t.Errorf("object %s has %d bytes, not %d (%s)", key, len(b), len(content), resp.Status)
		}
	}
	found := map[string]bool{}
	for {
		var got struct{ Messages []struct{ Body any } }
		if err := s.Do(t.Context(), http.MethodPost, []string{"queues", "kept", "receive"}, nil, map[string]any{"max": 1000, "visibility": "1h"}, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) == 0 {
			break
		}
		for _, m := range got.Messages {
			found[fmt.Sprint(m.Body)] = true
		}
	}
	for m := range l.messages {
		if !found[m] {
			t.Errorf("%s was acknowledged and is lost", m)
		}
	}
}

// activationsOf returns all activations of a function, oldest first.
func (s *server) activationsOf(function string) (all []rouse.Activation) {
	s.t.Helper()
	q := rouse.ActivationQuery{Function: function, Limit: 1000}
	for {
		as, next, err := s.Activations(s.t.Context(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, as...)
		if next == "" {
			slices.Reverse(all)
			return all
		}
		q.Before = next
	}
}

func (l *ledger) checkDeliveries(t *testing.T, s *server) {
	t.Helper()
	missing := map[string]bool{}
	maps.Copy(missing, l.records)
	maps.Copy(missing, l.pressed)
	var as []rouse.Activation
	jobs := 0
	for end := time.Now().Add(time.Minute); ; {
		as = s.activationsOf("see")
		jobs = 0
		seen := map[string]bool{}
		for _, a := range as {
			delete(missing, a.Cause)
			if strings.HasPrefix(a.Cause, "default/jobs/") && !seen[a.Cause] {
				seen[a.Cause] = true
				jobs++
			}
		}
		if len(missing) == 0 && jobs >= len(l.jobs) || time.Now().After(end) {
			break
		}
		time.Sleep(100 * time.Millisecond) // deliveries give no signal that all are done
	}
	if len(missing) > 0 || jobs < len(l.jobs) {
		t.Errorf("%d events were never delivered, such as %v; %d of %d jobs were", len(missing), slices.Sorted(maps.Keys(missing))[:min(3, len(missing))], jobs, len(l.jobs))
	}
	last := map[string]uint64{}
	for _, a := range as {
		rest, ok := strings.CutPrefix(a.Cause, "default/clicks/")
		if !ok {
			continue
		}
		shard, number, _ := strings.Cut(rest, "/")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n > last[shard]+1 {
			t.Errorf("of shard %s, %d was delivered after %d", shard, n, last[shard])
		}
		last[shard] = max(last[shard], n)
	}
}

// waiting is how long a test waits for what is bound to come.
const waiting = time.Minute

// awaitActivations waits until a function has run so often, and returns its
// activations.
func (s *server) awaitActivations(function string, n int) []rouse.Activation {
	s.t.Helper()
	for end := time.Now().Add(waiting); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // there is no signal to wait for
		if as := s.activationsOf(function); len(as) >= n {
			return as
		}
	}
	s.t.Fatalf("%s did not run %d times within %v\n%s", function, n, waiting, s.log)
	return nil
}
