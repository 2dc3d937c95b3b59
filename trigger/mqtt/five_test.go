package mqtt

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// A message of version 5 with properties of its user is acknowledged as the
// specification says, by a reason that is no error and without them, and its
// event has them.
func TestPropertiesOfVersion5(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	w.start("a", fmt.Sprintf(`{"listen": %q, "topics": ["#"]}`, address))
	w.until("it listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	send := func(p packets.Packet) {
		t.Helper()
		if _, err := p.WriteTo(c); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() packets.Packet {
		t.Helper()
		p, err := packets.ReadPacket(c)
		if err != nil {
			t.Fatal(err)
		}
		return p.Content
	}
	send(&packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "five", CleanStart: true, KeepAlive: 30, Properties: &packets.Properties{}})
	if ack := answer().(*packets.Connack); ack.ReasonCode != 0 {
		t.Fatal(ack)
	}
	user := &packets.Properties{User: []packets.User{{Key: "a", Value: "b"}, {Key: "Room No.", Value: "é"}}}
	send(&packets.Publish{Topic: "x", QoS: 1, PacketID: 1, Payload: []byte("1"), Properties: user})
	if ack := answer().(*packets.Puback); ack.ReasonCode != 0 || ack.PacketID != 1 || ack.Properties != nil && len(ack.Properties.User) > 0 {
		t.Errorf("%+v %+v", ack, ack.Properties)
	}
	send(&packets.Publish{Topic: "x", QoS: 2, PacketID: 2, Payload: []byte("2"), Properties: user})
	if ack := answer().(*packets.Pubrec); ack.ReasonCode != 0 || ack.PacketID != 2 || ack.Properties != nil && len(ack.Properties.User) > 0 {
		t.Errorf("%+v %+v", ack, ack.Properties)
	}
	send(&packets.Pubrel{PacketID: 2, Properties: &packets.Properties{}})
	if ack := answer().(*packets.Pubcomp); ack.ReasonCode != 0 || ack.PacketID != 2 {
		t.Errorf("%+v", ack)
	}
	// So does a client of that version take it, and does not send the message again.
	m := publisher(t, address)
	if err := m.AwaitConnection(t.Context()); err != nil {
		t.Fatal(err)
	}
	for qos := range byte(3) {
		sent := &paho.Publish{Topic: "x", QoS: qos, Payload: []byte("3"), Properties: &paho.PublishProperties{User: paho.UserProperties{{Key: "a", Value: "b"}, {Key: "Room No.", Value: "é"}}}}
		if got, err := m.Publish(t.Context(), sent); err != nil || got != nil && got.ReasonCode != 0 {
			t.Errorf("QoS %d: %+v %v", qos, got, err)
		}
	}
	w.want("a", "x 1", "x 2", "x 3", "x 3", "x 3")
	for _, b := range w.bodies("a") {
		if !maps.Equal(b.Properties, map[string]string{"a": "b", "Room No.": "é"}) {
			t.Errorf("%+v", b)
		}
	}
}

// So is one that comes from a broker elsewhere.
func TestPropertiesFromElsewhere(t *testing.T) {
	w := newWorld(t)
	address := free(t)
	elsewhere(t, address)
	w.start("a", fmt.Sprintf(`{"broker": "tcp://%s", "topics": ["x/#"]}`, address))
	m := publisher(t, address)
	w.reach(m, "a", "x/hello")
	if _, err := m.Publish(t.Context(), &paho.Publish{Topic: "x/y", QoS: 1, Payload: []byte("7"), Properties: &paho.PublishProperties{User: paho.UserProperties{{Key: "a", Value: "b"}}}}); err != nil {
		t.Fatal(err)
	}
	w.until("it comes", func() bool {
		for _, b := range w.bodies("a") {
			if b.Topic == "x/y" {
				return maps.Equal(b.Properties, map[string]string{"a": "b"})
			}
		}
		return false
	})
}

// A broker that can't be reached and an address that is taken are seen, and so is
// that they can be had.
func TestHealth(t *testing.T) {
	w := newWorld(t)
	is := func(name string, s event.State, says string) {
		t.Helper()
		w.until(fmt.Sprintf("%s is %s", name, s), func() bool {
			h := w.source.Health(rouse.Ref{Namespace: "default", Name: name})
			return h.State == s && (says == "") == (h.Error == "") && strings.Contains(h.Error, says) && !h.Since.IsZero()
		})
	}
	address := free(t)
	taken, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w.start("listens", fmt.Sprintf(`{"listen": %q, "topics": ["a"]}`, address))
	is("listens", event.Failing, "address already in use")
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	is("listens", event.Running, "")
	w.start("too", fmt.Sprintf(`{"listen": %q, "topics": ["b"]}`, address))
	is("too", event.Running, "")
	broker := free(t)
	stop := w.start("asks", fmt.Sprintf(`{"broker": "tcp://%s", "topics": ["a"]}`, broker))
	is("asks", event.Failing, "connection refused")
	down := elsewhere(t, broker)
	is("asks", event.Running, "")
	down()
	is("asks", event.Failing, "connect")
	stop()
	if h := w.source.Health(rouse.Ref{Namespace: "default", Name: "asks"}); h.State != event.Starting {
		t.Errorf("of one that was stopped is left %+v", h)
	}
}
