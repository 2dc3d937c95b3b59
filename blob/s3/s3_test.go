package s3

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/blobtest"
)

// serve starts a server of the protocol with one bucket.
func serve(t *testing.T) Config {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("blobs"); err != nil {
		t.Fatal(err)
	}
	server := gofakes3.New(backend).Server()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.Header.Get("Content-Length") == "" { // this server wants it said, others do not
			r.Header.Set("Content-Length", "0")
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return Config{Endpoint: strings.TrimPrefix(s.URL, "http://"), Plain: true, Region: "us-east-1", Bucket: "blobs", Prefix: "rouse", Key: "k", Secret: "s", Temp: t.TempDir()}
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func(t *testing.T) rouse.Blobs {
		c := serve(t)
		return func(t *testing.T) rouse.Blobs {
			b, err := Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	})
}

func TestPlacesThatAreNone(t *testing.T) {
	c := serve(t)
	c.Bucket = "other"
	if _, err := Open(t.Context(), c); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("a bucket that is not there: %v", err)
	}
	c.Endpoint = "127.0.0.1:1"
	if _, err := Open(t.Context(), c); rouse.KindOf(err) != rouse.Unavailable {
		t.Errorf("a server that is not there: %v", err)
	}
}

// What is in the bucket beside the blobs is left alone.
func TestStrangers(t *testing.T) {
	c := serve(t)
	b, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := b.Put(t.Context(), strings.NewReader("mine"))
	if err != nil {
		t.Fatal(err)
	}
	c.Prefix = ""
	whole, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.List(t.Context(), func(d rouse.Digest, _ int64) bool { t.Errorf("%s is listed", d); return true }); err != nil {
		t.Error(err)
	}
	r, err := b.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != "mine" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestParse(t *testing.T) {
	env := func(name string) string { return "value of " + name }
	c, err := Parse("s3://bucket/a/b/?endpoint=http://127.0.0.1:9000&region=eu", env)
	if want := (Config{Endpoint: "127.0.0.1:9000", Plain: true, Region: "eu", Bucket: "bucket", Prefix: "a/b",
		Key: "value of AWS_ACCESS_KEY_ID", Secret: "value of AWS_SECRET_ACCESS_KEY"}); c != want || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for s, says := range map[string]string{"s3:///x": "s3://bucket", "http://bucket": "s3://bucket", "s3://b": "endpoint is missing",
		"s3://b?endpoint=x": "no http", "s3://b?endpoint=https://h&zone=x": `"zone" is unknown`} {
		if _, err := Parse(s, env); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", s, err)
		}
	}
}
