// Package mqtt makes events of what devices publish, as a client of a broker or
// as one itself.
//
// A message of QoS 1 is acknowledged when its event is durable. MQTT gives
// messages no ID: a sender that gets no acknowledgment sends the message again
// with the same packet identifier and a mark. The last messages of a trigger are
// kept in the store with their events' IDs, in one transaction; one with the
// mark that is among them gets the same ID, and so is one event. A message that
// comes again later than after 256 others is a new event.
//
// As a broker it keeps sessions and retained messages in memory only.
//
// Source: "MQTT Version 5.0", OASIS; clients of version 3.1.1 are served too.
package mqtt

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger"
)

// A Config says with what a Source works.
type Config struct {
	Emitter event.Emitter
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // nil discards
}

// A Source serves triggers of the kind "mqtt". Those that listen on the same
// address share a broker. It implements event.Source.
type Source struct {
	Config
	trigger.Healths
	emitter trigger.Patient

	mu      sync.Mutex
	brokers map[place]*broker // guarded by mu
}

// New returns a Source that needs no closing: it holds nothing but what its
// triggers do.
func New(c Config) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Log = trigger.Logger(c.Log)
	return &Source{Config: c, emitter: trigger.Patient{Emitter: c.Emitter, Log: c.Log}, brokers: map[place]*broker{}}
}

// Kind implements event.Source.
func (s *Source) Kind() string { return "mqtt" }

// Secrets implements event.Secretive.
func (s *Source) Secrets() []string { return []string{"password", "users"} }

// Check implements event.Source.
func (s *Source) Check(raw json.RawMessage) (json.RawMessage, error) {
	c, err := read(raw)
	if err != nil {
		return nil, err
	}
	return trigger.Encode(c)
}

// Start implements event.Source.
func (s *Source) Start(t event.Trigger) (func(), error) {
	c, err := read(t.Config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := newIntake(s, t.Ref, ctx)
	var wait sync.WaitGroup
	wait.Go(in.run)
	var leave func()
	if c.Broker != "" {
		leave, err = s.connect(in, c)
	} else {
		leave = s.join(in, c)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		wait.Wait()
		if leave != nil {
			leave()
		}
		s.Drop(t.Ref)
	})
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
