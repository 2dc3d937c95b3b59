package mqtt

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"sync"
	"time"

	server "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rouse-run/rouse/trigger"
)

// relisten is how long to wait for an address that is taken.
const relisten = 500 * time.Millisecond

// A broker listens on one address for one or more triggers.
type broker struct {
	server.HookBase
	source  *Source
	address string
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.RWMutex
	members []*member // guarded by mu
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
	b := s.brokers[c.Listen]
	if b == nil {
		b = &broker{source: s, address: c.Listen, done: make(chan struct{})}
		var ctx context.Context
		ctx, b.cancel = context.WithCancel(context.Background())
		s.brokers[c.Listen] = b
		go func() {
			defer close(b.done)
			b.run(ctx)
		}()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members = append(b.members, m)
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
		delete(s.brokers, b.address)
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
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", b.address)
		if err == nil {
			if err = b.serve(ctx, l); err == nil {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
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

func (b *broker) serve(ctx context.Context, l net.Listener) error {
	limits := server.NewDefaultServerCapabilities()
	limits.MaximumPacketSize = trigger.MaxBody + 64<<10 // a topic has up to 64 KiB
	srv := server.New(&server.Options{Capabilities: limits, Logger: b.source.Log.With("listen", b.address)})
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
	return bytes.IndexByte([]byte{server.OnConnectAuthenticate, server.OnACLCheck, server.OnPublish}, hook) >= 0
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
// or has no name where one on this machine only needs none.
func (b *broker) OnConnectAuthenticate(_ *server.Client, p packets.Packet) bool {
	name, password := string(p.Connect.Username), p.Connect.Password
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
	user := string(c.Properties.Username)
	return len(b.matching(func(m *member) bool { return m.admits(user, topic) })) > 0
}

// OnPublish implements server.Hook. The server acknowledges a message when it
// returns.
func (b *broker) OnPublish(c *server.Client, p packets.Packet) (packets.Packet, error) {
	user := string(c.Properties.Username)
	ms := b.matching(func(m *member) bool { return m.admits(user, p.TopicName) })
	stored := make([]chan error, len(ms))
	for i, m := range ms {
		stored[i] = make(chan error, 1)
		m.put(message{topic: p.TopicName, payload: p.Payload, client: c.ID, packet: p.PacketID, qos: p.FixedHeader.Qos, again: p.FixedHeader.Dup,
			retain: p.FixedHeader.Retain, done: func(err error) { stored[i] <- err }})
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
