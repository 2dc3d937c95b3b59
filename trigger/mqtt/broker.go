package mqtt

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	server "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger"
)

// relisten is how long to wait for an address that is taken.
const relisten = 500 * time.Millisecond

// A place is where a broker listens, and what it shows to devices.
type place struct {
	address string
	tls     certificate
}

// A broker listens on one address for one or more triggers.
type broker struct {
	server.HookBase
	source *Source
	place
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.RWMutex
	members []*member   // guarded by mu
	state   event.State // guarded by mu, as is failure
	failure error
}

// A member is a trigger of a broker.
type member struct {
	*intake
	config config
}

// join adds a trigger to the broker of its address, which is started for the
// first and stopped with the last.
func (s *Source) join(in *intake, c config) (leave func()) {
	m := &member{in, c}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{c.Listen, c.TLS}
	b := s.brokers[at]
	if b == nil {
		b = &broker{source: s, place: at, state: event.Starting, done: make(chan struct{})}
		var ctx context.Context
		ctx, b.cancel = context.WithCancel(context.Background())
		s.brokers[at] = b
		go func() {
			defer close(b.done)
			b.run(ctx)
		}()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members = append(b.members, m)
	b.source.Set(m.ref, b.state, b.failure)
	return func() { s.leave(b, m) }
}

func (s *Source) leave(b *broker, m *member) {
	s.mu.Lock()
	b.mu.Lock()
	for i, other := range b.members {
		if other == m {
			b.members = append(b.members[:i:i], b.members[i+1:]...)
			break
		}
	}
	last := len(b.members) == 0
	b.mu.Unlock()
	if last {
		delete(s.brokers, b.place)
	}
	s.mu.Unlock()
	if last {
		b.cancel()
		<-b.done
	}
}

// run listens, when the address is free, until ctx ends.
func (b *broker) run(ctx context.Context) {
	log := b.source.Log.With("listen", b.address)
	for said := false; ; said = true {
		l, err := b.listen(ctx)
		if err == nil {
			b.say(event.Running, nil)
			if err = b.serve(ctx, l); err == nil {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		b.say(event.Failing, err)
		if !said {
			log.Warn("a broker can't listen and tries again", "error", err)
		}
		timer := time.NewTimer(relisten)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (p place) listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(p.tls.Cert, p.tls.Key)
		return &c, err
	}
	if p.tls == (certificate{}) {
		return lc.Listen(ctx, "tcp", p.address)
	}
	if _, err := load(nil); err != nil { // devices would not learn why
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	l, err := lc.Listen(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: load}), nil
}

// A named handler names what the server says without a message.
type named struct{ slog.Handler }

// Handle implements slog.Handler.
func (n named) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "" {
		r.Message = "a broker met an error"
	}
	return n.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (n named) WithAttrs(as []slog.Attr) slog.Handler { return named{n.Handler.WithAttrs(as)} }

// WithGroup implements slog.Handler.
func (n named) WithGroup(name string) slog.Handler { return named{n.Handler.WithGroup(name)} }

// say notes how the broker does, and so its triggers.
func (b *broker) say(s event.State, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state, b.failure = s, err
	for _, m := range b.members {
		b.source.Set(m.ref, s, err)
	}
}

func (b *broker) serve(ctx context.Context, l net.Listener) error {
	limits := server.NewDefaultServerCapabilities()
	limits.MaximumPacketSize = trigger.MaxBody + 64<<10 // a topic has up to 64 KiB
	srv := server.New(&server.Options{Capabilities: limits, Logger: slog.New(named{b.source.Log.With("listen", b.address).Handler()})})
	if err := errors.Join(srv.AddHook(b, nil), srv.AddListener(listeners.NewNet(b.address, l))); err != nil {
		_ = l.Close()
		return err
	}
	if err := srv.Serve(); err != nil {
		return errors.Join(err, srv.Close())
	}
	<-ctx.Done()
	return srv.Close()
}

// ID implements server.Hook.
func (b *broker) ID() string { return "rouse" }

// Provides implements server.Hook.
func (b *broker) Provides(hook byte) bool {
	return bytes.IndexByte([]byte{server.OnConnectAuthenticate, server.OnACLCheck, server.OnPublish, server.OnPacketEncode, server.OnWillSent}, hook) >= 0
}

// matching returns the triggers for which ok.
func (b *broker) matching(ok func(*member) bool) (ms []*member) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, m := range b.members {
		if ok(m) {
			ms = append(ms, m)
		}
	}
	return ms
}

// OnConnectAuthenticate implements server.Hook: a device is that of a trigger,
// or has no name where one on this machine only needs none. Its will must be
// within the topics of its triggers, for nobody asks when that is published.
func (b *broker) OnConnectAuthenticate(_ *server.Client, p packets.Packet) bool {
	name, password := string(p.Connect.Username), p.Connect.Password
	if p.Connect.WillFlag && !b.admits(name, p.Connect.WillTopic) {
		return false
	}
	return len(b.matching(func(m *member) bool {
		if len(m.config.Users) == 0 {
			return name == ""
		}
		want, ok := m.config.Users[name]
		return subtle.ConstantTimeCompare([]byte(want), password) == 1 && ok
	})) > 0
}

// admits reports whether a device that has shown its password may use a topic.
func (m *member) admits(user, topic string) bool {
	_, known := m.config.Users[user]
	return (known || len(m.config.Users) == 0 && user == "") && m.config.wants(topic)
}

// OnACLCheck implements server.Hook: devices publish and subscribe within the
// topics of their triggers.
func (b *broker) OnACLCheck(c *server.Client, topic string, _ bool) bool {
	return b.admits(string(c.Properties.Username), topic)
}

func (b *broker) admits(user, topic string) bool {
	return len(b.matching(func(m *member) bool { return m.admits(user, topic) })) > 0
}

// OnPacketEncode implements server.Hook. The server acknowledges with the
// properties of the message, and with the QoS as the reason: clients take both
// for an error of protocol. See 3.4.2.1 of the specification.
func (b *broker) OnPacketEncode(_ *server.Client, p packets.Packet) packets.Packet {
	switch p.FixedHeader.Type {
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		p.Properties = packets.Properties{}
		if p.ReasonCode == packets.CodeGrantedQos1.Code || p.ReasonCode == packets.CodeGrantedQos2.Code {
			p.ReasonCode = packets.CodeSuccess.Code
		}
	}
	return p
}

// properties are what a client said besides of a message.
func properties(p packets.Packet) map[string]string {
	all := map[string]string{}
	for _, u := range p.Properties.User {
		all[u.Key] = u.Val
	}
	return all
}

// published is what a device published, or the server as its will.
func published(c *server.Client, p packets.Packet, done func(error)) message {
	return message{topic: p.TopicName, properties: properties(p), payload: p.Payload, client: c.ID, packet: p.PacketID, qos: p.FixedHeader.Qos, again: p.FixedHeader.Dup,
		retain: p.FixedHeader.Retain, done: done}
}

// OnWillSent implements server.Hook. The server publishes the will of a device
// that is gone by another way than what a device publishes.
func (b *broker) OnWillSent(c *server.Client, p packets.Packet) {
	user := string(c.Properties.Username)
	for _, m := range b.matching(func(m *member) bool { return m.admits(user, p.TopicName) }) {
		m.put(published(c, p, func(error) {})) // what can't be stored was logged, and nobody waits for it
	}
}

// OnPublish implements server.Hook. The server acknowledges a message when it
// returns.
func (b *broker) OnPublish(c *server.Client, p packets.Packet) (packets.Packet, error) {
	user := string(c.Properties.Username)
	ms := b.matching(func(m *member) bool { return m.admits(user, p.TopicName) })
	stored := make([]chan error, len(ms))
	for i, m := range ms {
		stored[i] = make(chan error, 1)
		m.put(published(c, p, func(err error) { stored[i] <- err }))
	}
	for i, m := range ms {
		select {
		case err := <-stored[i]:
			if err != nil && p.FixedHeader.Qos > 0 {
				return p, packets.ErrImplementationSpecificError // it was logged, and no further attempt helps
			}
		case <-m.ctx.Done():
			// Not acknowledged, so that it is sent again over a new connection.
			c.Stop(packets.ErrServerUnavailable)
			return p, packets.ErrRejectPacket
		}
	}
	return p, nil
}
