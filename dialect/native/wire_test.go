package native

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/rouse-run/rouse/dialect/native/nativetest"
)

var update = flag.Bool("update", false, "rewrite the responses in testdata")

// TestWire plays the files in testdata: requests, one after the other against
// one platform, and the exact responses. "go test -update" writes the latter.
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { play(t, file) })
	}
}

func play(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Config{MaxPayload: 64, MaxBatch: 256})
	var out []txtar.File
	id := "00000000000000000000000000000000"
	receipt := ""
	for _, f := range a.Files {
		if f.Name != "request" {
			continue
		}
		got := exchange(t, w.url, strings.NewReplacer("$ID", id, "$RECEIPT", receipt).Replace(string(f.Data)))
		if m := regexp.MustCompile(`"(?:id|activation)":"([0-9a-f]{32})"`).FindStringSubmatch(got); m != nil {
			id = m[1]
		}
		if m := regexp.MustCompile(`"receipt":"([^"]+)"`).FindStringSubmatch(got); m != nil {
			receipt = m[1]
		}
		out = append(out, f, txtar.File{Name: "response", Data: []byte(mask(got))})
	}
	played := txtar.Format(&txtar.Archive{Comment: a.Comment, Files: out})
	if *update {
		if err := os.WriteFile(file, played, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := txtar.Format(a); !bytes.Equal(played, want) {
		t.Errorf("%s differs; got:\n%s", file, played)
	}
}

// exchange sends one request as it is written, with the token where it does not
// say "Authorization", and returns the response as text.
func exchange(t *testing.T, server, text string) string {
	t.Helper()
	ask, body, _ := strings.Cut(text, "\n\n")
	body = strings.TrimSuffix(body, "\n")
	lines := strings.Split(strings.TrimSpace(ask), "\n")
	raw := lines[0] + " HTTP/1.1\r\nHost: rouse\r\n"
	for _, l := range lines[1:] {
		raw += l + "\r\n"
	}
	if !strings.Contains(ask, "Authorization") {
		raw += "Authorization: Bearer " + nativetest.Token + "\r\n"
	}
	raw += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, raw)
	}
	r = r.WithContext(t.Context())
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", strings.TrimPrefix(server, "http://")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	head, err := httputil.DumpResponse(resp, false)
	if err != nil {
		t.Fatal(err)
	}
	// The body goes in without the chunks it came in.
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	b := append(head, answer...)
	return strings.TrimRight(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n") + "\n"
}

// mask hides what differs from run to run.
func mask(s string) string {
	for _, m := range []struct{ pattern, with string }{
		{`(?m)^Date: .*\n`, ""},
		{`[0-9a-f]{32}`, "ID"},
		{`"id":"[0-9a-f]{16}"`, `"id":"ERROR-ID"`},
		{`(?m)^(Rouse-Duration|Rouse-Init|Rouse-Queued): .*`, "$1: MS"},
		{`"(created|started|since|next|time|sent|buried|visible|expires|first|modified|resumed|receipt)":"[^"]*"`, `"$1":"TIME"`},
		{`"version":"[0-9a-f]{16}"`, `"version":"VERSION"`},
		{`(?m)^Rouse-Version: [0-9a-f]{16}`, "Rouse-Version: VERSION"},
		{`"id":\d{12,}`, `"id":NUMBER`},
		{`(?m)^Last-Modified: .*\n`, "Last-Modified: TIME\n"},
		{`("visible":\d+,[^}]*"next":)[0-9.]+`, `${1}MS`},
		{`"waited":[0-9.e-]+`, `"waited":MS`},
		{`"run":[0-9.e-]+`, `"run":MS`},
		{`"code":"[0-9a-fID]+"`, `"code":"DIGEST"`},
		{`(?m)^Content-Length: .*\n`, ""}, // of what was masked
	} {
		s = regexp.MustCompile(m.pattern).ReplaceAllString(s, m.with)
	}
	return s
}
