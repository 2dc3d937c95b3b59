package bucket_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/bucket"
	"github.com/rouse-run/rouse/data"
)

var _ data.Buckets = (*bucket.Buckets)(nil)

// A clock is set by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A bench is all that a test works with.
type bench struct {
	testing.TB
	*bucket.Buckets
	clock *clock
	keys  rouse.Keys
	blobs *hooked
}

// hooked are real Blobs, with a look at what is done to them.
type hooked struct {
	*file.Blobs
	afterPut     func()
	beforeDelete func(d rouse.Digest) error
}

func (h *hooked) Put(ctx context.Context, r io.Reader) (rouse.Digest, int64, error) {
	d, n, err := h.Blobs.Put(ctx, r)
	if h.afterPut != nil {
		h.afterPut()
	}
	return d, n, err
}

func (h *hooked) Delete(ctx context.Context, d rouse.Digest) error {
	if h.beforeDelete != nil {
		if err := h.beforeDelete(d); err != nil {
			return err
		}
	}
	return h.Blobs.Delete(ctx, d)
}

var ref = rouse.Ref{Namespace: "default", Name: "b"}

func open(t testing.TB) *bench {
	t.Helper()
	b := &bench{TB: t, clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, keys: drivers.Site(t).Keys(t, "bucket")}
	blobs, err := file.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b.blobs = &hooked{Blobs: blobs}
	b.Buckets = bucket.New(bucket.Config{Keys: b.keys, Blobs: b.blobs, Now: b.clock.Now})
	if _, err := b.CreateBucket(t.Context(), data.Bucket{Ref: ref}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) wantKind(err error, k rouse.Kind, is error) {
	b.Helper()
	if err == nil || rouse.KindOf(err) != k || is != nil && !errors.Is(err, is) {
		b.Errorf("got %v, of the kind %v, not %v, %v", err, rouse.KindOf(err), k, is)
	}
}

func (b *bench) put(key, body string) data.Object {
	b.Helper()
	o, err := b.PutObject(b.Context(), data.ObjectPut{Bucket: ref, Key: key}, strings.NewReader(body))
	b.ok(err)
	return o
}

// get returns the body, or the Kind of what went wrong.
func (b *bench) get(g data.ObjectGet) string {
	b.Helper()
	g.Bucket = ref
	o, r, err := b.GetObject(b.Context(), g)
	if err != nil {
		return rouse.KindOf(err).String()
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	b.ok(err)
	if g.Range == nil && int64(len(body)) != o.Size {
		b.Errorf("%s has %d bytes, not %d", g.Key, len(body), o.Size)
	}
	return string(body)
}

func (b *bench) remove(ds ...data.ObjectDelete) []data.Deleted {
	b.Helper()
	out, err := b.DeleteObjects(b.Context(), ref, ds)
	b.ok(err)
	return out
}

func (b *bench) sweep() {
	b.Helper()
	b.ok(b.Sweep(b.Context(), true))
}

// stored counts the blobs that are there.
func (b *bench) stored() (n int) {
	b.Helper()
	b.ok(b.blobs.List(b.Context(), func(rouse.Digest, int64) bool { n++; return true }))
	return n
}

func etag(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestObjectsComeBack(t *testing.T) {
	b := open(t)
	sum := md5.Sum([]byte("hello"))
	p := data.ObjectPut{Bucket: ref, Key: "a\x00/\U0010ffff", Header: map[string]string{"Content-Type": "text/plain"}, Meta: map[string]string{"k": "\xfe"}, Tags: map[string]string{"t": "1"}, MD5: sum[:]}
	put, err := b.PutObject(t.Context(), p, strings.NewReader("hello"))
	b.ok(err)
	want := data.Object{Key: p.Key, Version: data.NullVersion, Size: 5, ETag: etag("hello"), Modified: b.clock.Now(), Header: p.Header, Meta: p.Meta, Tags: p.Tags, Newest: true}
	if diff := cmp.Diff(want, put); diff != "" {
		t.Error(diff)
	}
	got, r, err := b.GetObject(t.Context(), data.ObjectGet{Bucket: ref, Key: p.Key})
	b.ok(err)
	body, err := io.ReadAll(r)
	b.ok(err)
	b.ok(r.Close())
	if diff := cmp.Diff(want, got); diff != "" || string(body) != "hello" {
		t.Error(diff, body)
	}
	p.MD5, p.Header, p.Meta = nil, nil, map[string]string{"new": "1"}
	want.Header, want.Meta = nil, p.Meta
	b.clock.add(time.Hour)
	changed, err := b.ChangeObject(t.Context(), p)
	b.ok(err)
	stat, err := b.StatObject(t.Context(), data.ObjectGet{Bucket: ref, Key: p.Key, Version: data.NullVersion})
	b.ok(err)
	if diff := cmp.Diff([]data.Object{want, want}, []data.Object{changed, stat}); diff != "" {
		t.Error(diff)
	}
	b.put("empty", "")
	if got := b.get(data.ObjectGet{Key: "empty"}); got != "" {
		t.Errorf("empty: %q", got)
	}
	if d := b.remove(data.ObjectDelete{Key: p.Key}, data.ObjectDelete{Key: "none"}); d[0].Version != data.NullVersion || d[1] != (data.Deleted{}) {
		t.Errorf("%+v", d)
	}
	if got := b.get(data.ObjectGet{Key: p.Key}); got != "not found" {
		t.Errorf("after delete: %s", got)
	}
}

func TestWhatFailsLeavesNothingVisible(t *testing.T) {
	b := open(t)
	gone := errors.New("the client went away")
	_, err := b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: "a"}, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(gone)))
	if err != gone {
		t.Errorf("a body's error: %v", err)
	}
	sum := md5.Sum([]byte("other"))
	_, err = b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: "a", MD5: sum[:]}, strings.NewReader("body"))
	b.wantKind(err, rouse.Invalid, nil)
	_, err = b.PutObject(t.Context(), data.ObjectPut{Bucket: rouse.Ref{Name: "none"}, Key: "a"}, iotest.ErrReader(errors.New("it was read")))
	b.wantKind(err, rouse.NotFound, nil)
	for _, key := range []string{"", strings.Repeat("x", 1025), "a\xff"} {
		_, err = b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: key}, strings.NewReader("x"))
		b.wantKind(err, rouse.Invalid, nil)
	}
	_, err = b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: "a", Meta: map[string]string{"m": strings.Repeat("x", 1<<16)}}, strings.NewReader("x"))
	b.wantKind(err, rouse.Invalid, nil)
	if got := b.get(data.ObjectGet{Key: "a"}); got != "not found" {
		t.Errorf("it is %s", got)
	}
	if b.stored() != 1 {
		t.Fatalf("%d blobs; that of the wrong md5 should wait for the sweep", b.stored())
	}
	b.clock.add(time.Hour)
	b.sweep()
	if b.stored() != 0 {
		t.Errorf("%d blobs are left", b.stored())
	}
	b.put(strings.Repeat("x", 1000), "long")
	b.put(strings.Repeat("\x00", 500), "zeros")
}

func TestConditions(t *testing.T) {
	b := open(t)
	put := func(c data.ObjectIf) error {
		_, err := b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: "a", If: c}, strings.NewReader("v"))
		return err
	}
	b.wantKind(put(data.ObjectIf{Match: []string{"*"}}), rouse.Conflict, data.ErrCondition)
	b.ok(put(data.ObjectIf{NoMatch: []string{"*"}}))
	b.wantKind(put(data.ObjectIf{NoMatch: []string{"*"}}), rouse.Conflict, data.ErrCondition)
	b.wantKind(put(data.ObjectIf{Match: []string{"other"}}), rouse.Conflict, data.ErrCondition)
	b.ok(put(data.ObjectIf{Match: []string{"other", etag("v")}}))
	now := b.clock.Now()
	get := func(c data.ObjectIf) error {
		_, err := b.StatObject(t.Context(), data.ObjectGet{Bucket: ref, Key: "a", If: c})
		return err
	}
	b.ok(get(data.ObjectIf{Match: []string{etag("v")}, NotSince: now, Since: now.Add(-time.Second)}))
	b.wantKind(get(data.ObjectIf{NoMatch: []string{etag("v")}}), rouse.Conflict, data.ErrUnchanged)
	b.wantKind(get(data.ObjectIf{Since: now}), rouse.Conflict, data.ErrUnchanged)
	b.wantKind(get(data.ObjectIf{NotSince: now.Add(-time.Second)}), rouse.Conflict, data.ErrCondition)
	b.wantKind(get(data.ObjectIf{Match: []string{"x"}}), rouse.Conflict, data.ErrCondition)
	d := b.remove(data.ObjectDelete{Key: "a", If: data.ObjectIf{Match: []string{"x"}}})
	b.wantKind(d[0].Err, rouse.Conflict, data.ErrCondition)

	// Of many who make the same object one succeeds.
	var wg sync.WaitGroup
	won := make(chan int, 8)
	for i := range 8 {
		wg.Go(func() {
			_, err := b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: "one", If: data.ObjectIf{NoMatch: []string{"*"}}}, strings.NewReader(fmt.Sprint(i)))
			if err == nil {
				won <- i
			} else if !errors.Is(err, data.ErrCondition) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || b.get(data.ObjectGet{Key: "one"}) != fmt.Sprint(<-won) {
		t.Errorf("%d have won", len(won))
	}
}

// Keys may be as long as those of S3, of any characters.
func TestLongKeys(t *testing.T) {
	b := open(t)
	if _, err := b.ChangeBucket(t.Context(), data.Bucket{Ref: ref, Versioned: true}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{strings.Repeat("x", 1024), strings.Repeat("\x00", 1024), strings.Repeat("ü", 512)} {
		for _, body := range []string{"1", "2"} {
			b.put(key, body)
		}
		if got := b.get(data.ObjectGet{Key: key}); !strings.Contains(got, "2") {
			t.Errorf("%.10q: %s", key, got)
		}
		up, err := b.StartUpload(t.Context(), data.ObjectPut{Bucket: ref, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.AbortUpload(t.Context(), up.UploadRef); err != nil {
			t.Error(err)
		}
	}
	list, err := b.ListVersions(t.Context(), data.ObjectList{Bucket: ref})
	if err != nil || len(list.Objects) != 6 {
		t.Errorf("%d versions are listed: %v", len(list.Objects), err)
	}
}

func TestRanges(t *testing.T) {
	b := open(t)
	b.put("a", "0123456789")
	up, err := b.StartUpload(t.Context(), data.ObjectPut{Bucket: ref, Key: "parts"})
	b.ok(err)
	var parts []data.Part
	for i, body := range []string{"0123", "", "456", "789"} {
		p, err := b.PutPart(t.Context(), up.UploadRef, data.PartPut{Number: i + 1}, strings.NewReader(body))
		b.ok(err)
		parts = append(parts, p)
	}
	_, err = b.CompleteUpload(t.Context(), up.UploadRef, parts, data.ObjectIf{})
	b.ok(err)
	for _, c := range []struct {
		from, length int64
		want         string
	}{
		{0, 0, "0123456789"}, {0, 1, "0"}, {3, 2, "34"}, {4, 3, "456"}, {9, 5, "9"}, {-3, 0, "789"}, {-3, 2, "78"}, {-100, 2, "01"}, {5, 100, "56789"}, {10, 1, "invalid"},
	} {
		for _, key := range []string{"a", "parts"} {
			if got := b.get(data.ObjectGet{Key: key, Range: &data.ByteRange{From: c.from, Length: c.length}}); got != c.want {
				t.Errorf("%s from %d, %d bytes: %s, not %s", key, c.from, c.length, got, c.want)
			}
		}
	}
	_, _, err = b.GetObject(t.Context(), data.ObjectGet{Bucket: ref, Key: "a", Range: &data.ByteRange{From: 10}})
	b.wantKind(err, rouse.Invalid, data.ErrRange)
	_, r, err := b.GetObject(t.Context(), data.ObjectGet{Bucket: ref, Key: "parts"})
	b.ok(err)
	b.ok(iotest.TestReader(r, []byte("0123456789")))
	b.ok(r.Close())
}

func TestVersions(t *testing.T) {
	b := open(t)
	null := b.put("a", "null")
	_, err := b.ChangeBucket(t.Context(), data.Bucket{Ref: ref, Versioned: true})
	b.ok(err)
	one := b.put("a", "one")
	b.clock.add(-time.Minute) // versions keep their order also where the clock goes back
	two := b.put("a", "two")
	gone := b.remove(data.ObjectDelete{Key: "a"})[0]
	if !gone.Marker || gone.Version <= two.Version || two.Version <= one.Version {
		t.Errorf("%+v after %s and %s", gone, two.Version, one.Version)
	}
	for version, want := range map[string]string{"": "not found", data.NullVersion: "null", one.Version: "one", two.Version: "two", gone.Version: "not found", "x": "not found"} {
		if got := b.get(data.ObjectGet{Key: "a", Version: version}); got != want {
			t.Errorf("version %q: %s, not %s", version, got, want)
		}
	}
	versions := func(q data.ObjectList) (all []string) {
		q.Bucket = ref
		for {
			l, err := b.ListVersions(t.Context(), q)
			b.ok(err)
			for _, o := range l.Objects {
				all = append(all, fmt.Sprintf("%s %s %v %v", o.Key, o.Version, o.Marker, o.Newest))
			}
			if !l.More {
				return all
			}
			q.After, q.Version = l.After, l.Version
		}
	}
	want := []string{"a " + gone.Version + " true true", "a " + two.Version + " false false", "a " + one.Version + " false false", "a " + null.Version + " false false"}
	for limit := range 5 {
		if got := versions(data.ObjectList{Limit: limit}); !slices.Equal(got, want) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
	b.wantKind(b.RemoveBucket(t.Context(), ref), rouse.Conflict, nil)
	if l, err := b.ListObjects(t.Context(), data.ObjectList{Bucket: ref}); err != nil || len(l.Objects) > 0 {
		t.Errorf("%+v, %v", l, err)
	}
	if d := b.remove(data.ObjectDelete{Key: "a", Version: gone.Version})[0]; !d.Marker {
		t.Errorf("%+v", d)
	}
	if got := b.get(data.ObjectGet{Key: "a"}); got != "two" {
		t.Errorf("without its marker it is %s", got)
	}
	_, err = b.ChangeBucket(t.Context(), data.Bucket{Ref: ref})
	b.ok(err)
	b.put("a", "new null")
	if got := b.get(data.ObjectGet{Key: "a", Version: data.NullVersion}); got != "new null" {
		t.Errorf("the null version is %s", got)
	}
	if got := versions(data.ObjectList{}); len(got) != 3 || got[0] != "a null false true" {
		t.Errorf("%q", got)
	}
	b.remove(data.ObjectDelete{Key: "a"}) // a marker in place of the null version
	if got := versions(data.ObjectList{}); len(got) != 3 || got[0] != "a null true true" {
		t.Errorf("%q", got)
	}
	b.remove(data.ObjectDelete{Key: "a", Version: data.NullVersion}, data.ObjectDelete{Key: "a", Version: two.Version}, data.ObjectDelete{Key: "a", Version: one.Version})
	b.ok(b.RemoveBucket(t.Context(), ref))
	b.clock.add(2 * time.Hour)
	b.sweep()
	if b.stored() != 0 {
		t.Errorf("%d blobs are left", b.stored())
	}
}

func TestLists(t *testing.T) {
	b := open(t)
	keys := []string{"a", "dir", "dir/", "dir/1", "dir/2/x", "dir/2/y", "dir0", "e/1", "e/2", "z", "z\U0010ffff"}
	for i := range 60 {
		keys = append(keys, fmt.Sprintf("many/%02d", i))
	}
	slices.Sort(keys)
	for _, k := range keys {
		b.put(k, "x")
	}
	// The plain way to say what is listed.
	list := func(q data.ObjectList) (all []string) {
		for _, k := range keys {
			rest, ok := strings.CutPrefix(k, q.Prefix)
			if !ok || k <= q.After {
				continue
			}
			if n := strings.Index(rest, q.Delimiter); q.Delimiter != "" && n >= 0 {
				k = q.Prefix + rest[:n+len(q.Delimiter)] + "*"
				if strings.TrimSuffix(k, "*") == q.After {
					continue
				}
			}
			if len(all) == 0 || all[len(all)-1] != k {
				all = append(all, k)
			}
		}
		return all
	}
	for _, prefix := range []string{"", "d", "dir", "dir/", "dir/2", "many/", "none", "z"} {
		for _, delimiter := range []string{"", "/", "r/"} {
			for _, after := range []string{"", "a", "dir/", "dir/1", "many/", "many/30", "zz"} {
				q := data.ObjectList{Bucket: ref, Prefix: prefix, Delimiter: delimiter, After: after}
				want := list(q)
				for _, q.Limit = range []int{0, 1, 2, 5} {
					q.After = after
					var got []string
					for pages := 0; ; pages++ {
						l, err := b.ListObjects(t.Context(), q)
						b.ok(err)
						var page []string
						for _, o := range l.Objects {
							page = append(page, o.Key)
						}
						for _, p := range l.Prefixes {
							page = append(page, p+"*")
						}
						if slices.Sort(page); q.Limit > 0 && len(page) > q.Limit || l.More && len(page) == 0 {
							t.Fatalf("%+v: a page of %d", q, len(page))
						}
						got = append(got, page...)
						if q.After = l.After; !l.More {
							break
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%q by %q after %q, limit %d: %q, not %q", prefix, delimiter, after, q.Limit, got, want)
					}
				}
			}
		}
	}
}

func TestCopiesShareBytes(t *testing.T) {
	b := open(t)
	other := rouse.Ref{Namespace: "other", Name: "\xff"}
	_, err := b.CreateBucket(t.Context(), data.Bucket{Ref: other})
	b.ok(err)
	_, err = b.PutObject(t.Context(), data.ObjectPut{Bucket: other, Key: "from", Meta: map[string]string{"m": "1"}}, strings.NewReader("body"))
	b.ok(err)
	c := data.ObjectCopy{From: data.ObjectGet{Bucket: other, Key: "from"}, To: data.ObjectPut{Bucket: ref, Key: "to", Tags: map[string]string{"t": "1"}}}
	o, err := b.CopyObject(t.Context(), c)
	b.ok(err)
	if o.Meta["m"] != "1" || o.Tags != nil || o.ETag != etag("body") {
		t.Errorf("%+v", o)
	}
	c.Replace = true
	if o, err = b.CopyObject(t.Context(), c); err != nil || o.Meta != nil || o.Tags["t"] != "1" {
		t.Errorf("%+v, %v", o, err)
	}
	c.From.If.Match = []string{"x"}
	_, err = b.CopyObject(t.Context(), c)
	b.wantKind(err, rouse.Conflict, data.ErrCondition)
	_, err = b.DeleteObjects(t.Context(), other, []data.ObjectDelete{{Key: "from"}})
	b.ok(err)
	b.clock.add(3 * time.Hour)
	b.sweep()
	if got := b.get(data.ObjectGet{Key: "to"}); got != "body" || b.stored() != 1 {
		t.Errorf("%s, %d blobs", got, b.stored())
	}
	self := data.ObjectCopy{From: data.ObjectGet{Bucket: ref, Key: "to"}, To: data.ObjectPut{Bucket: ref, Key: "to"}}
	_, err = b.CopyObject(t.Context(), self)
	b.ok(err)
	b.remove(data.ObjectDelete{Key: "to"})
	b.clock.add(time.Hour)
	b.sweep()
	if b.stored() != 0 {
		t.Errorf("%d blobs are left", b.stored())
	}
}

func TestUploads(t *testing.T) {
	b := open(t)
	start := func(key string) data.UploadRef {
		up, err := b.StartUpload(t.Context(), data.ObjectPut{Bucket: ref, Key: key, Meta: map[string]string{"m": "1"}})
		b.ok(err)
		return up.UploadRef
	}
	up := start("big")
	put := func(u data.UploadRef, n int, body string) data.Part {
		p, err := b.PutPart(t.Context(), u, data.PartPut{Number: n}, strings.NewReader(body))
		b.ok(err)
		return p
	}
	put(up, 2, "replaced")
	three, two, one := put(up, 3, "unused"), put(up, 2, "second"), put(up, 1, "first,")
	if got, err := b.Parts(t.Context(), up, 0, 0); err != nil || !cmp.Equal(got, []data.Part{one, two, three}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := b.Parts(t.Context(), up, 1, 1); err != nil || !cmp.Equal(got, []data.Part{two}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, list := range [][]data.Part{nil, {two, one}, {one, one}, {one, {Number: 4, ETag: one.ETag}}, {{Number: 1, ETag: two.ETag}}} {
		_, err := b.CompleteUpload(t.Context(), up, list, data.ObjectIf{})
		b.wantKind(err, rouse.Invalid, nil)
	}
	_, err := b.CompleteUpload(t.Context(), up, []data.Part{one, two}, data.ObjectIf{Match: []string{"*"}})
	b.wantKind(err, rouse.Conflict, data.ErrCondition)
	if got := b.get(data.ObjectGet{Key: "big"}); got != "not found" {
		t.Errorf("before it is complete it is %s", got)
	}
	o, err := b.CompleteUpload(t.Context(), up, []data.Part{one, two}, data.ObjectIf{})
	b.ok(err)
	a, c := md5.Sum([]byte("first,")), md5.Sum([]byte("second"))
	whole := md5.Sum(append(a[:], c[:]...))
	if o.ETag != hex.EncodeToString(whole[:])+"-2" || !slices.Equal(o.Parts, []int64{6, 6}) || o.Meta["m"] != "1" || b.get(data.ObjectGet{Key: "big"}) != "first,second" {
		t.Errorf("%+v", o)
	}
	_, err = b.CompleteUpload(t.Context(), up, []data.Part{one, two}, data.ObjectIf{})
	b.wantKind(err, rouse.NotFound, nil)

	abort, stale, later := start("abort"), start("big"), start("c")
	put(abort, 1, "aborted")
	put(stale, 1, "stale")
	list, err := b.ListUploads(t.Context(), ref, "", data.UploadRef{}, 2)
	b.ok(err)
	rest, err := b.ListUploads(t.Context(), ref, "", list[1].UploadRef, 0)
	b.ok(err)
	if list[0].UploadRef != abort || list[1].UploadRef != stale || len(rest) != 1 || rest[0].UploadRef != later || rest[0].Meta["m"] != "1" {
		t.Errorf("%+v, %+v", list, rest)
	}
	if got, err := b.ListUploads(t.Context(), ref, "b", data.UploadRef{Key: "abort"}, 0); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	b.ok(b.AbortUpload(t.Context(), abort))
	b.wantKind(b.AbortUpload(t.Context(), abort), rouse.NotFound, nil)
	_, err = b.PutPart(t.Context(), abort, data.PartPut{Number: 1}, strings.NewReader("late"))
	b.wantKind(err, rouse.NotFound, nil)
	b.clock.add(time.Hour)
	b.sweep()
	if b.stored() != 3 { // of the object two, of the stale upload one
		t.Errorf("%d blobs", b.stored())
	}
	b.clock.add(7 * 24 * time.Hour)
	b.sweep()
	b.clock.add(time.Hour)
	b.sweep()
	if b.stored() != 2 || b.get(data.ObjectGet{Key: "big"}) != "first,second" {
		t.Errorf("%d blobs", b.stored())
	}
	_, err = b.Parts(t.Context(), stale, 0, 0)
	b.wantKind(err, rouse.NotFound, nil)
}

func TestLargeObjectsAreStreamed(t *testing.T) {
	b := open(t)
	const size = 20 << 20
	o, err := b.PutObject(t.Context(), data.ObjectPut{Bucket: ref, Key: "large"}, io.LimitReader(pattern{}, size))
	b.ok(err)
	_, r, err := b.GetObject(t.Context(), data.ObjectGet{Bucket: ref, Key: "large", Range: &data.ByteRange{From: size - 5}})
	b.ok(err)
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil || o.Size != size || !bytes.Equal(body, bytes.Repeat([]byte("p"), 5)) {
		t.Errorf("%+v: %q, %v", o, body, err)
	}
}

type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'p'
	}
	return len(p), nil
}
