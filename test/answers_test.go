package test

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A status that has no body is answered without, whatever the function returns.
func TestAStatusWithoutABody(t *testing.T) {
	s := start(t, "")
	s.python("py", "def main(event): return {'status': int(event['query']['s']), 'body': 'x', 'headers': {'X-A': 'b'}}\n", wire.Options{Public: true})
	s.deploy("js", wire.Options{Public: true}, map[string]string{"index.js": "exports.main = event => ({ status: Number(event.query.s), body: { a: 1 }, headers: { 'X-A': 'b' } })\n"})
	for _, name := range []string{"py", "js"} {
		for _, status := range []int{204, 304} {
			r, body := s.get("/fn/" + name + "/?s=" + strconv.Itoa(status))
			if r.StatusCode != status || body != "" || r.Header.Get("X-A") != "b" {
				t.Errorf("%s: %d %q %v", name, r.StatusCode, body, r.Header)
			}
		}
		as, _, err := s.Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Function: name})
		if err != nil || len(as) != 2 || as[0].Status != rouse.StatusAnswered || as[0].Cold {
			t.Errorf("%s: %v %+v", name, err, as)
		}
	}
}

// servers answer in two pieces, /large with much, /acks with how often the
// kernel held back an acknowledgement.
const servers = `
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.do_GET()
    def do_GET(self):
        body = b'x' * (20 << 20) if self.path == '/large' else b'small'
        if self.path == '/acks':
            names, values = [l.split() for l in open('/proc/self/net/netstat') if l.startswith('TcpExt:')]
            body = values[names.index('DelayedACKs')].encode()
        self.send_response(200)
        if self.path == '/large':
            self.send_header('Transfer-Encoding', 'chunked'); self.end_headers()
            for i in range(0, len(body), 1 << 20):
                self.wfile.write(b'100000\r\n' + body[i:i + (1 << 20)] + b'\r\n')
            self.wfile.write(b'0\r\n\r\n')
            return
        self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.HTTPServer(('', int(os.environ['PORT'])), H).serve_forever()
`

// What a program streams over HTTP has no limit, and one that writes its answer
// in two pieces does not wait for the kernel between them.
func TestServersThatStream(t *testing.T) {
	s := start(t, "")
	s.deploy("web", wire.Options{Public: true, Contract: "http"}, map[string]string{"main.py": servers})
	s.deploy("cat", wire.Options{Public: true, Contract: "stdio"}, map[string]string{"run.sh": "#!/bin/sh\nhead -c 20971520 /dev/zero\n"})
	for _, path := range []string{"/fn/web/large", "/fn/cat/"} {
		r, err := http.Get("http://" + s.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != 20<<20 || r.StatusCode != 200 {
			t.Errorf("%s: %d, %d bytes, %v", path, r.StatusCode, n, err)
		}
		_ = r.Body.Close()
	}
	for range 50 {
		if r, body := s.get("/fn/web/small"); r.StatusCode != 200 || body != "small" {
			t.Fatalf("%d %s", r.StatusCode, body)
		}
	}
	for range 50 {
		r, err := http.Post("http://"+s.addr+"/fn/web/small", "application/octet-stream", bytes.NewReader(make([]byte, 10_000)))
		if err != nil || r.StatusCode != 200 {
			t.Fatal(r, err)
		}
		_ = r.Body.Close()
	}
	_, body := s.get("/fn/web/acks")
	if n, err := strconv.Atoi(strings.TrimSpace(body)); err != nil || n > 10 {
		t.Errorf("%s acknowledgements were held back in 102 answers", body)
	}
}
