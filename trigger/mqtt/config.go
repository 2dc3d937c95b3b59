package mqtt

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	server "github.com/mochi-mqtt/server/v2"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/trigger"
)

// A config is what a trigger of this kind is told: either a broker that is
// there, or where to listen as one.
type config struct {
	Topics []string `json:"topics" doc:"filters, such as sensors/+/temp or sensors/#" required:"true"`

	Broker   string `json:"broker,omitempty" doc:"URL of a broker that is there, such as tcp://host:1883"`
	QoS      *int   `json:"qos,omitempty" doc:"of the subscription at broker: 0, or 1" default:"1"`
	User     string `json:"user,omitempty" doc:"at broker"`
	Password string `json:"password,omitempty" doc:"at broker; it is a secret"`
	ClientID string `json:"clientId,omitempty" doc:"at broker; made of the trigger's name by default"`

	Listen string            `json:"listen,omitempty" doc:"an address to be a broker at, such as 127.0.0.1:1883"`
	Users  map[string]string `json:"users,omitempty" doc:"with listen: the passwords of devices by their names, of 8 characters at least; none lets all in, on this machine only. They are secrets"`
	TLS    certificate       `json:"tls,omitzero"`
}

// A certificate is what the broker shows to devices; none is no TLS.
type certificate struct {
	Cert string `json:"cert" doc:"with listen: a file with the certificate and those that vouch for it, in PEM; absolute. It is read anew for each connection"`
	Key  string `json:"key" doc:"with listen: the file with its private key"`
}

// minPassword is how many characters a device's password has at least.
const minPassword = 8

// schemes are those of brokers' URLs.
var schemes = []string{"tcp", "mqtt", "tls", "ssl", "mqtts", "ws", "wss"}

// Describe says what triggers of this kind are.
func Describe() trigger.Kind {
	return trigger.Kind{Name: "mqtt", About: "What devices publish: at a broker that is there, with broker, or to Rouse itself, with listen.",
		Fields:  trigger.Describe(config{}),
		Event:   trigger.Event{Type: "mqtt.message", Subject: "the topic", ID: "of QoS 1 the message, where the sender marks it as sent again; else a new one", Data: trigger.Describe(body{})},
		Example: "sensors: {mqtt: {listen: \"0.0.0.0:1883\", topics: [\"rooms/+/temperature\"], users: {kitchen: \"${KITCHEN_PASSWORD}\"}}}"}
}

func read(raw json.RawMessage) (config, error) {
	var c config
	if err := trigger.Decode(raw, &c); err != nil {
		return c, err
	}
	if len(c.Topics) == 0 {
		return c, invalid("topics", "none is named, such as sensors/+/temp")
	}
	for _, t := range c.Topics {
		if !server.IsValidFilter(t, false) || strings.HasPrefix(t, "$") && c.Listen != "" || strings.ContainsRune(t, 0) || badPlus(t) {
			return c, invalid("topics", "%q is no filter of topics such as sensors/+/temp or sensors/#", t)
		}
	}
	if (c.Broker == "") == (c.Listen == "") {
		return c, invalid("broker", "either broker or listen is wanted")
	}
	if c.Broker != "" {
		return c, c.checkBroker()
	}
	return c, c.checkListen()
}

// badPlus reports whether a plus sign is not all of its level.
func badPlus(filter string) bool {
	return slices.ContainsFunc(strings.Split(filter, "/"), func(l string) bool {
		return len(l) > 1 && strings.ContainsAny(l, "+#")
	})
}

func (c *config) checkBroker() error {
	u, err := url.Parse(c.Broker)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" || u.User != nil {
		return invalid("broker", "%q is no URL such as tcp://host:1883; schemes are %s, and user and password have their own fields", c.Broker, strings.Join(schemes, ", "))
	}
	if c.QoS == nil {
		one := 1
		c.QoS = &one
	}
	switch {
	case *c.QoS != 0 && *c.QoS != 1:
		return invalid("qos", "it is %d; it must be 0 or 1: events are deduplicated anyway", *c.QoS)
	case c.Password != "" && c.User == "":
		return invalid("user", "there is a password for nobody")
	case c.Users != nil:
		return invalid("users", "those of a broker elsewhere are its own")
	case c.TLS != (certificate{}):
		return invalid("tls", "it is for listen; a broker elsewhere has a URL such as tls://host:8883")
	}
	return nil
}

func (c *config) checkListen() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 {
		return invalid("listen", "%q is no address such as 127.0.0.1:1883", c.Listen)
	}
	switch {
	case c.QoS != nil:
		return invalid("qos", "with listen it is what devices publish with")
	case c.User != "" || c.Password != "" || c.ClientID != "":
		return invalid("user", "user, password and clientId are for broker; devices are named in users")
	case len(c.Users) == 0 && !loopback(host):
		return invalid("users", "%s can be reached from other machines, so devices must be named here with their passwords", c.Listen)
	}
	for field, file := range map[string]string{"tls.cert": c.TLS.Cert, "tls.key": c.TLS.Key} {
		if c.TLS != (certificate{}) && !filepath.IsAbs(file) {
			return invalid(field, "%q is no absolute path of a file", file)
		}
	}
	for name, password := range c.Users {
		if name == "" || len(password) < minPassword {
			return invalid("users", "%q has a password of %d characters, %d are the least", name, len(password), minPassword)
		}
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func invalid(field, format string, args ...any) error {
	return &rouse.Error{Op: "read config", Kind: rouse.Invalid, On: field, Err: fmt.Errorf(format, args...)}
}

// fits reports whether a topic is among those of a filter. It may be a filter
// itself: then all of its topics must be.
func fits(filter, topic string) bool {
	want, have := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false // wildcards do not stand for these; see 4.7.2 of the specification
	}
	for i, l := range want {
		switch {
		case l == "#":
			return true
		case i >= len(have), l != "+" && l != have[i], l == "+" && have[i] == "#":
			return false
		}
	}
	return len(want) == len(have)
}

func (c *config) wants(topic string) bool {
	return slices.ContainsFunc(c.Topics, func(f string) bool { return fits(f, topic) })
}
