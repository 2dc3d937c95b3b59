package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/rouse-run/rouse/event"
)

const (
	sessionExpiry = 7 * 24 * 60 * 60 // seconds for which the broker keeps what comes while we are away
	patience      = 10 * time.Second // for one answer of the broker
	firstBackoff  = 100 * time.Millisecond
	maxBackoff    = 30 * time.Second
)

// A client subscribes at a broker for one trigger.
type client struct {
	in     *intake
	config config
	id     string
	epoch  atomic.Int64 // of the connection: what came over an old one can't be acknowledged
	wait   sync.WaitGroup
}

// connect begins to connect, and goes on until leave is called after the
// intake's context ended.
func (s *Source) connect(in *intake, c config) (leave func(), err error) {
	u, err := url.Parse(c.Broker)
	if err != nil {
		return nil, invalid("broker", "it is no URL: %w", err)
	}
	k := &client{in: in, config: c, id: c.ClientID}
	if k.id == "" {
		k.id = fmt.Sprintf("rouse-%s-%s", in.ref.Namespace, in.ref.Name)
	}
	log := s.Log.With("trigger", in.ref.String(), "broker", u.Host)
	m, err := autopaho.NewConnection(in.ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{u}, KeepAlive: 30, SessionExpiryInterval: sessionExpiry, ConnectTimeout: patience,
		ConnectUsername: c.User, ConnectPassword: []byte(c.Password), ReconnectBackoff: backoff,
		ConnectPacketBuilder: func(p *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			most := uint16(atOnce)
			p.Properties.ReceiveMaximum = &most
			p.Properties.RequestProblemInfo = true // else some brokers leave out users' properties
			return p, nil
		},
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) {
			epoch := k.epoch.Add(1)
			log.Info("a broker is connected")
			k.wait.Go(func() { k.subscribe(m, epoch) }) // this callback must not wait
		},
		OnConnectionDown: func() bool {
			k.epoch.Add(1)
			if in.ctx.Err() == nil {
				s.Set(in.ref, event.Failing, errors.New("the connection is down"))
			}
			return true
		},
		OnConnectError: func(err error) {
			if in.ctx.Err() == nil {
				s.Set(in.ref, event.Failing, err)
				log.Warn("a broker can't be reached and is tried again", "error", err)
			}
		},
		ClientConfig: paho.ClientConfig{ClientID: k.id, EnableManualAcknowledgment: true, SendAcksInterval: 5 * time.Millisecond,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){k.received}},
	})
	if err != nil {
		return nil, invalid("broker", "it can't be used: %w", err)
	}
	return func() {
		<-m.Done()
		k.wait.Wait()
	}, nil
}

func backoff(attempt int) time.Duration {
	if attempt == 0 {
		return 0
	}
	return min(firstBackoff<<min(attempt-1, 20), maxBackoff)
}

// subscribe tries until it succeeds or another connection is up.
func (k *client) subscribe(m *autopaho.ConnectionManager, epoch int64) {
	ask := &paho.Subscribe{}
	for _, t := range k.config.Topics {
		// Retained messages come only with a new subscription, not with each connection.
		ask.Subscriptions = append(ask.Subscriptions, paho.SubscribeOptions{Topic: t, QoS: byte(*k.config.QoS), RetainHandling: 1})
	}
	for attempt := 1; k.epoch.Load() == epoch && k.in.ctx.Err() == nil; attempt++ {
		ctx, cancel := context.WithTimeout(k.in.ctx, patience)
		_, err := m.Subscribe(ctx, ask)
		cancel()
		if err == nil {
			k.in.source.Set(k.in.ref, event.Running, nil)
			return
		}
		if k.in.ctx.Err() == nil {
			k.in.source.Set(k.in.ref, event.Failing, fmt.Errorf("subscribe: %w", err))
		}
		k.in.source.Log.Warn("topics can't be subscribed and are tried again", "trigger", k.in.ref.String(), "error", err)
		timer := time.NewTimer(backoff(attempt))
		select {
		case <-timer.C:
		case <-k.in.ctx.Done():
			timer.Stop()
		}
	}
}

// received hands on a message and acknowledges it when it is durable, or can
// never be.
func (k *client) received(r paho.PublishReceived) (bool, error) {
	p, epoch := r.Packet, k.epoch.Load()
	properties := map[string]string{}
	if p.Properties != nil {
		for _, u := range p.Properties.User {
			properties[u.Key] = u.Value
		}
	}
	k.in.put(message{properties: properties, topic: p.Topic, payload: p.Payload, packet: p.PacketID, qos: p.QoS, again: p.Duplicate(), retain: p.Retain,
		done: func(error) {
			if k.epoch.Load() != epoch {
				return // it will be sent again, and is known then
			}
			if err := r.Client.Ack(p); err != nil {
				k.in.source.Log.Warn("acknowledge message", "trigger", k.in.ref.String(), "error", err)
			}
		}})
	return true, nil
}
