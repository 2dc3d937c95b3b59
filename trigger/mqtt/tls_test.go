package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// vouch writes a certificate for this machine and its key, and returns who trusts
// it.
func vouch(t *testing.T, cert, key string) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: secret}, cert: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return pool
}

// Devices publish over TLS, once there is a certificate, and over nothing else.
func TestTLS(t *testing.T) {
	w := newWorld(t)
	address, dir := free(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	w.start("a", fmt.Sprintf(`{"listen": %q, "topics": ["#"], "users": {"ann": "ann's password"}, "tls": {"cert": %q, "key": %q}}`, address, cert, key))
	is := func(s event.State) {
		t.Helper()
		w.until(string(s), func() bool { return w.source.Health(rouse.Ref{Namespace: "default", Name: "a"}).State == s })
	}
	is(event.Failing)
	pool := vouch(t, cert, key)
	is(event.Running)
	publish := func(pool *x509.CertPool, payload string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		m, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{ServerUrls: []*url.URL{{Scheme: "tls", Host: address}}, TlsCfg: &tls.Config{RootCAs: pool}, KeepAlive: 30,
			ConnectUsername: "ann", ConnectPassword: []byte("ann's password"), ClientConfig: paho.ClientConfig{ClientID: "device"}})
		if err == nil {
			err = m.AwaitConnection(ctx)
		}
		if err == nil {
			_, err = m.Publish(ctx, &paho.Publish{Topic: "x", QoS: 1, Payload: []byte(payload)})
		}
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-m.Done()
	}
	publish(pool, "1")
	w.want("a", "x 1")
	second := vouch(t, cert, key) // it is another by now
	if c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool}); err == nil {
		t.Errorf("the first certificate is still shown: %v", c.Close())
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{0x10, 0x0f, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 30, 0, 3, 'a', 'b', 'c'}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(c); len(answer) > 0 && answer[0] == 0x20 {
		t.Error("a device is answered without TLS")
	}
	publish(second, "2") // last, for the server's end does not go well with refusals that are on their way
	w.want("a", "x 1", "x 2")
}
