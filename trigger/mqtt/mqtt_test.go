package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	server "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
)

// A world is a Source over a real store that can be out of reach.
type world struct {
	t      *testing.T
	inbox  *inbox.Inbox
	source *Source

	mu    sync.Mutex
	down  bool
	tries int
	news  chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := sqlite.Open(context.Background(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	keys, err := store.Keys(t.Context(), "event")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, inbox: inbox.New(inbox.Config{Keys: keys}), news: make(chan struct{}, 1)}
	w.source = New(Config{Emitter: w, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	return w
}

func (w *world) Emit(ctx context.Context, r rouse.Ref, es []rouse.Event, state []byte) error {
	w.mu.Lock()
	down := w.down
	w.tries++
	w.mu.Unlock()
	defer func() {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}()
	if down {
		return rouse.Errorf(rouse.Unavailable, "emit", r.String(), "the store can't be reached")
	}
	return w.inbox.Add(ctx, r, es, state)
}

func (w *world) State(ctx context.Context, r rouse.Ref) ([]byte, error) { return w.inbox.State(ctx, r) }

func (w *world) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.tries = down, 0
}

func (w *world) start(name, config string) (stop func()) {
	w.t.Helper()
	raw, err := w.source.Check(json.RawMessage(config))
	if err != nil {
		w.t.Fatal(err)
	}
	stop, err = w.source.Start(event.Trigger{Ref: rouse.Ref{Namespace: "default", Name: name}, Config: raw})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(stop)
	return stop
}

// seen returns the events of a trigger as topics and payloads.
func (w *world) seen(name string) (all []string) {
	w.t.Helper()
	for _, d := range w.bodies(name) {
		all = append(all, d.Topic+" "+string(d.Payload))
	}
	return all
}

// bodies returns the data of the events of a trigger.
func (w *world) bodies(name string) (all []body) {
	w.t.Helper()
	for shard := range 8 {
		after := uint64(0)
		for {
			b, err := w.inbox.Read(w.t.Context(), data.FeedQuery{Ref: rouse.Ref{Namespace: "default", Name: inbox.Name}, Shard: fmt.Sprint(shard), After: after})
			if err != nil {
				w.t.Fatal(err)
			}
			if len(b.Entries) == 0 {
				break
			}
			for _, e := range b.Entries {
				if e.Key != name {
					continue
				}
				var d body
				if err := json.Unmarshal(e.Event.Data, &d); err != nil || e.Event.Subject != d.Topic || e.Event.Type != "mqtt.message" || e.Event.Source != "trigger:"+name {
					w.t.Errorf("%+v %v", e.Event, err)
				}
				all = append(all, d)
			}
			after = b.After
		}
	}
	return all
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	end := time.After(20 * time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-w.news:
		case <-poll.C:
		case <-end:
			w.t.Fatalf("within 20 s it did not come so far: %s", what)
		}
	}
}

func (w *world) want(name string, want ...string) {
	w.t.Helper()
	w.until(fmt.Sprintf("%s sees %q", name, want), func() bool { return len(w.seen(name)) >= len(want) })
	if got := w.seen(name); !slices.Equal(got, want) {
		w.t.Errorf("%s saw %q, want %q", name, got, want)
	}
}

func (w *world) tried(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tries >= n
}

// free returns an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A device speaks MQTT 3.1.1, byte by byte.
type device struct {
	net.Conn
	t *testing.T
}

func text(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

// dial connects; code is what the broker answers, 0 is well.
func dial(t *testing.T, address, id, user, password string) (d *device, code byte) {
	t.Helper()
	return dialAs(t, address, id, user, password, nil)
}

// A will is what the broker is to publish when a device is gone.
type will struct{ topic, payload string }

func dialAs(t *testing.T, address, id, user, password string, last *will) (d *device, code byte) {
	t.Helper()
	var c net.Conn
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if c, err = net.Dial("tcp", address); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond) // nothing says when a broker listens
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	body := append(text("MQTT"), 4, 0, 0, 60)
	body = append(body, text(id)...)
	if last != nil {
		body[7] |= 0x0c // of QoS 1
		body = append(append(body, text(last.topic)...), text(last.payload)...)
	}
	if user != "" {
		body[7] |= 0xc0
		body = append(append(body, text(user)...), text(password)...)
	}
	d = &device{c, t}
	d.write(0x10, body)
	var ack [4]byte
	if _, err := io.ReadFull(c, ack[:]); err != nil || ack[0] != 0x20 {
		t.Fatal(ack, err)
	}
	return d, ack[3]
}

func (d *device) write(kind byte, body []byte) {
	d.t.Helper()
	n := len(body)
	head := []byte{kind}
	for ; n > 127; n >>= 7 {
		head = append(head, byte(n)|0x80)
	}
	if _, err := d.Write(append(append(head, byte(n)), body...)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) publish(packet byte, again bool, topic, payload string) {
	d.t.Helper()
	kind := byte(0x32)
	if again {
		kind |= 8
	}
	d.write(kind, append(append(text(topic), 0, packet), payload...))
}

// acked waits for an acknowledgment.
func (d *device) acked(packet byte) {
	d.t.Helper()
	var ack [4]byte
	if err := d.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		d.t.Fatal(err)
	}
	if _, err := io.ReadFull(d, ack[:]); err != nil || ack != [4]byte{0x40, 2, 0, packet} {
		d.t.Fatalf("%v is no acknowledgment of %d: %v", ack, packet, err)
	}
}

func TestAsABroker(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	stop := w.start("temp", fmt.Sprintf(`{"listen": %q, "topics": ["sensors/+/temp"]}`, address))
	stopAll := w.start("all", fmt.Sprintf(`{"listen": %q, "topics": ["sensors/#"]}`, address)) // shares it
	d, code := dial(t, address, "d1", "", "")
	if code != 0 {
		t.Fatal(code)
	}
	d.publish(1, false, "sensors/a/temp", `{"c": 21}`)
	d.acked(1)
	w.want("temp", `sensors/a/temp {"c":21}`) // is durable when it is acknowledged
	d.publish(2, false, "sensors/a/hum", "text")
	d.acked(2)
	d.publish(3, false, "sensors/b/temp", "\xff")
	d.acked(3)
	w.want("temp", `sensors/a/temp {"c":21}`, `sensors/b/temp "/w=="`)
	w.want("all", `sensors/a/temp {"c":21}`, `sensors/a/hum "text"`, `sensors/b/temp "/w=="`)
	stop()
	d.publish(4, false, "sensors/c/temp", "4")
	d.acked(4)
	w.want("all", `sensors/a/temp {"c":21}`, `sensors/a/hum "text"`, `sensors/b/temp "/w=="`, `sensors/c/temp 4`)
	stopAll()
	l, err := net.Listen("tcp", address) // is free again
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// A message is not acknowledged before its event is durable; sent again it is
// the same event, also after the platform was started anew.
func TestAcknowledgmentsWait(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	config := fmt.Sprintf(`{"listen": %q, "topics": ["#"]}`, address)
	stop := w.start("a", config)
	d, _ := dial(t, address, "d1", "", "")
	d.publish(1, false, "x", "1")
	d.acked(1)
	d.publish(1, false, "x", "1") // is another one, as it has no mark
	d.acked(1)
	w.setDown(true)
	d.publish(2, false, "x", "2")
	w.until("it is tried", func() bool { return w.tried(2) })
	if err := d.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Read(make([]byte, 1)); n > 0 || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "timeout") {
		t.Errorf("it is acknowledged: %v", err)
	}
	w.setDown(false)
	d.acked(2)
	stop()
	w.start("a", config)
	d, _ = dial(t, address, "d1", "", "")
	d.publish(2, true, "x", "2") // as if the acknowledgment had been lost
	d.acked(2)
	d.publish(3, true, "x", "3") // as if the message had been
	d.acked(3)
	w.want("a", "x 1", "x 1", "x 2", "x 3")
}

func TestAStoreThatIsDownAtTheEnd(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	config := fmt.Sprintf(`{"listen": %q, "topics": ["#"]}`, address)
	stop := w.start("a", config)
	d, _ := dial(t, address, "d1", "", "")
	w.setDown(true)
	d.publish(1, false, "x", "1")
	w.until("it is tried", func() bool { return w.tried(1) })
	stop() // returns, and the device is cut off without an acknowledgment
	rest, _ := io.ReadAll(d)
	if slices.Contains(rest, 0x40) {
		t.Errorf("%v", rest)
	}
	w.setDown(false)
	w.start("a", config)
	d, _ = dial(t, address, "d1", "", "")
	d.publish(1, true, "x", "1")
	d.acked(1)
	w.want("a", "x 1")
}

func TestUsers(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	w.start("a", fmt.Sprintf(`{"listen": %q, "topics": ["a/#"], "users": {"ann": "ann's password"}}`, address))
	w.start("b", fmt.Sprintf(`{"listen": %q, "topics": ["b/#"], "users": {"bob": "bob's password"}}`, address))
	for _, c := range [][2]string{{"", ""}, {"ann", "bob's password"}, {"ann", ""}, {"eve", ""}, {"eve", "ann's password"}} {
		if _, code := dial(t, address, "d", c[0], c[1]); code == 0 {
			t.Errorf("%q with %q is let in", c[0], c[1])
		}
	}
	ann, code := dial(t, address, "ann", "ann", "ann's password")
	if code != 0 {
		t.Fatal(code)
	}
	ann.publish(1, false, "a/x", "1")
	ann.acked(1)
	ann.publish(2, false, "b/x", "1") // is not hers: version 3.1.1 can only cut her off
	if rest, err := io.ReadAll(ann); slices.Contains(rest, 0x40) {
		t.Errorf("%v %v", rest, err)
	}
	bob, _ := dial(t, address, "bob", "bob", "bob's password")
	bob.publish(1, false, "b/y", "2")
	bob.acked(1)
	w.want("a", "a/x 1")
	w.want("b", "b/y 2")
}

// allow lets everybody in.
type allow struct{ server.HookBase }

func (allow) ID() string { return "allow" }

func (allow) Provides(hook byte) bool {
	return hook == server.OnConnectAuthenticate || hook == server.OnACLCheck
}

func (allow) OnConnectAuthenticate(*server.Client, packets.Packet) bool { return true }

func (allow) OnACLCheck(*server.Client, string, bool) bool { return true }

// A real broker elsewhere.
func elsewhere(t *testing.T, address string) (stop func()) {
	t.Helper()
	s := server.New(&server.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(allow), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: address})); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// publisher is a real client that connects again by itself.
func publisher(t *testing.T, address string) *autopaho.ConnectionManager {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{ServerUrls: []*url.URL{{Scheme: "tcp", Host: address}}, KeepAlive: 30,
		ReconnectBackoff: func(int) time.Duration { return 20 * time.Millisecond }, ClientConfig: paho.ClientConfig{ClientID: "publisher"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		<-m.Done()
	})
	return m
}

func publish(t *testing.T, m *autopaho.ConnectionManager, topic, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if err := m.AwaitConnection(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Publish(ctx, &paho.Publish{Topic: topic, Payload: []byte(payload), QoS: 1}); err == nil {
			return
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// reach publishes until a message comes through: then the trigger is subscribed.
func (w *world) reach(m *autopaho.ConnectionManager, name, topic string) {
	w.t.Helper()
	n := len(w.seen(name))
	w.until(name+" is subscribed", func() bool {
		publish(w.t, m, topic, `"hello"`)
		return len(w.seen(name)) > n
	})
}

func (w *world) without(name, payload string) []string {
	return slices.DeleteFunc(w.seen(name), func(s string) bool { return strings.HasSuffix(s, payload) })
}

func TestAsAClient(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	stop := w.start("a", fmt.Sprintf(`{"broker": "tcp://%s", "topics": ["s/+/t", "other"]}`, address)) // is not there yet
	halt := elsewhere(t, address)
	m := publisher(t, address)
	w.reach(m, "a", "other")
	publish(t, m, "s/1/t", `1`)
	publish(t, m, "s/1/x", `2`)
	publish(t, m, "s/2/t", `3`)
	want := func(all ...string) {
		t.Helper()
		w.until(fmt.Sprint(all), func() bool { return len(w.without("a", `"hello"`)) >= len(all) })
		if got := w.without("a", `"hello"`); !slices.Equal(got, all) {
			t.Errorf("%q, want %q", got, all)
		}
	}
	want("s/1/t 1", "s/2/t 3")
	halt() // the broker is started anew, and has forgotten all
	elsewhere(t, address)
	w.reach(m, "a", "other")
	publish(t, m, "s/3/t", `4`)
	want("s/1/t 1", "s/2/t 3", "s/3/t 4")
	stop()
	publish(t, m, "s/4/t", `5`) // is kept by the broker for us
	w.start("a", fmt.Sprintf(`{"broker": "tcp://%s", "topics": ["s/+/t", "other"]}`, address))
	want("s/1/t 1", "s/2/t 3", "s/3/t 4", "s/4/t 5")
}

// What was not stored is not acknowledged, and comes again.
func TestAsAClientWithoutAStore(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	elsewhere(t, address)
	config := fmt.Sprintf(`{"broker": "tcp://%s", "topics": ["t", "other"]}`, address)
	stop := w.start("a", config)
	m := publisher(t, address)
	w.reach(m, "a", "other")
	w.setDown(true)
	for i := range 20 {
		publish(t, m, "t", fmt.Sprint(i))
	}
	w.until("it is tried", func() bool { return w.tried(2) })
	stop()
	w.setDown(false)
	w.start("a", config)
	w.until("all come", func() bool { return len(w.without("a", `"hello"`)) >= 20 })
	got := w.without("a", `"hello"`)
	for i := range 20 { // in any order: this broker keeps none for what it sends again
		if !slices.Contains(got, fmt.Sprint("t ", i)) || len(got) != 20 {
			t.Fatalf("%q", got)
		}
	}
}

func TestRecent(t *testing.T) {
	var r recent
	a := message{topic: "t", payload: []byte("x"), client: "c", packet: 1}
	first := r.id(a)
	if r.id(a) == first {
		t.Error("two messages have one id")
	}
	a.again = true
	second := r.id(a)
	for range maxRecent - 1 {
		r.id(message{topic: "other"})
	}
	if r.id(a) != second {
		t.Error("it is forgotten too early")
	}
	for _, other := range []message{{topic: "u", payload: a.payload, client: "c", packet: 1, again: true}, {topic: "t", payload: a.payload, client: "d", packet: 1, again: true},
		{topic: "t", payload: a.payload, client: "c", packet: 2, again: true}, {topic: "t", client: "c", packet: 1, again: true}} {
		if r.id(other) == second {
			t.Errorf("%+v is taken for another", other)
		}
	}
	var read recent
	if err := read.decode(r.encode()); err != nil || len(read) != maxRecent || !slices.Equal(read, r) {
		t.Error(err, len(read))
	}
	r.id(message{})
	if len(read) != len(r) || read[1] != r[0] {
		t.Error("the oldest is not what is forgotten")
	}
}

func FuzzRecent(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add(recent{{id: [16]byte{1}}, {message: [8]byte{2}}}.encode())
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r recent
		if r.decode(b) == nil && b != nil && string(r.encode()) != string(b) {
			t.Errorf("%x is written as %x", b, r.encode())
		}
	})
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a", "a/b", false}, {"a/+", "a/b", true}, {"a/+", "a", false}, {"a/+", "a/b/c", false}, {"a/#", "a", true},
		{"a/#", "a/b/c", true}, {"#", "a/b", true}, {"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"+/b", "/b", true},
		{"a/+", "a/#", false}, {"a/#", "a/#", true}, {"a/#", "#", false}, {"a/+", "a/+", true}, {"a/b", "a/+", false}, {"a/#", "a/+/c", true},
	} {
		if got := fits(c.filter, c.topic); got != c.want {
			t.Errorf("%s has %s: %v", c.filter, c.topic, got)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	for config, field := range map[string]string{
		`{}`: "topics", `{"topics": []}`: "topics", `{"topics": ["a#"]}`: "topics", `{"topics": ["a/#/b"]}`: "topics", `{"topics": ["a+/b"]}`: "topics", `{"topics": ["a"]}`: "broker",
		`{"topics": ["a"], "broker": "tcp://h:1", "listen": "127.0.0.1:1"}`: "broker", `{"topics": ["a"], "broker": "h:1883"}`: "broker",
		`{"topics": ["a"], "broker": "http://h"}`: "broker", `{"topics": ["a"], "broker": "tcp://u:p@h"}`: "broker", `{"topics": ["a"], "broker": "tcp://h", "qos": 2}`: "qos",
		`{"topics": ["a"], "broker": "tcp://h", "password": "x"}`: "user", `{"topics": ["a"], "broker": "tcp://h", "users": {}}`: "users",
		`{"topics": ["a"], "listen": "1883"}`: "listen", `{"topics": ["a"], "listen": "127.0.0.1:0"}`: "listen", `{"topics": ["a"], "listen": "0.0.0.0:1883"}`: "users",
		`{"topics": ["a"], "listen": "127.0.0.1:1883", "tls": {"cert": "/c"}}`: "tls.key", `{"topics": ["a"], "listen": "127.0.0.1:1883", "tls": {"cert": "c", "key": "/k"}}`: "tls.cert",
		`{"topics": ["a"], "broker": "tcp://h", "tls": {"cert": "/c", "key": "/k"}}`: "tls", `{"topics": ["a"], "listen": "127.0.0.1:1883", "tls": {"cret": "/c"}}`: "tls",
		`{"topics": ["a"], "listen": ":1883"}`: "users", `{"topics": ["a"], "listen": "127.0.0.1:1883", "users": {"a": "short"}}`: "users",
		`{"topics": ["a"], "listen": "127.0.0.1:1883", "qos": 1}`: "qos", `{"topics": ["a"], "listen": "127.0.0.1:1883", "user": "x"}`: "user", `{"topic": "a"}`: "topic",
	} {
		_, err := New(Config{}).Check(json.RawMessage(config))
		e, ok := errors.AsType[*rouse.Error](err)
		if !ok || e.Kind != rouse.Invalid || e.On != field {
			t.Errorf("%s: %v", config, err)
		}
	}
	got, err := New(Config{}).Check(json.RawMessage(`{"topics": ["a"], "broker": "tcp://h:1883"}`))
	if want := `{"topics":["a"],"broker":"tcp://h:1883","qos":1}`; err != nil || string(got) != want {
		t.Errorf("%s %v", got, err)
	}
}
