package table_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/table"
)

var _ data.Tables = (*table.Tables)(nil)

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

func open(t testing.TB) (*table.Tables, *clock, rouse.Keys) {
	t.Helper()
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	keys := drivers.Site(t).Keys(t, "table")
	return table.New(table.Config{Keys: keys, Now: c.Now}), c, keys
}

var ref = rouse.Ref{Namespace: "default", Name: "t"}

func create(t testing.TB, ts *table.Tables, d data.Table) {
	t.Helper()
	if d.Ref == (rouse.Ref{}) {
		d.Ref = ref
	}
	if d.Key.Name == "" {
		d.Key.Name = "pk"
	}
	if _, err := ts.CreateTable(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func item(t testing.TB, text string) data.Item {
	t.Helper()
	var i data.Item
	if err := json.Unmarshal([]byte(text), &i); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return i
}

func cond(t testing.TB, text string) *data.Cond {
	t.Helper()
	if text == "" {
		return nil
	}
	c := new(data.Cond)
	if err := json.Unmarshal([]byte(text), c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func edits(t testing.TB, text string) data.Edits {
	t.Helper()
	var e data.Edits
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func write(t testing.TB, ts *table.Tables, w data.Write) data.Written {
	t.Helper()
	if w.Table == (rouse.Ref{}) {
		w.Table = ref
	}
	got, err := ts.Write(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func put(t testing.TB, ts *table.Tables, text string) data.Written {
	t.Helper()
	return write(t, ts, data.Write{Op: data.WritePut, Item: item(t, text)})
}

func get(t testing.TB, ts *table.Tables, key string) string {
	t.Helper()
	items, err := ts.GetItems(t.Context(), []data.ItemKey{{Table: ref, Key: item(t, key)}})
	if err != nil {
		t.Fatal(err)
	}
	return text(t, items[0])
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantKind(t testing.TB, err error, k rouse.Kind) {
	t.Helper()
	if err == nil || rouse.KindOf(err) != k {
		t.Errorf("got %v, of the kind %v, not %v", err, rouse.KindOf(err), k)
	}
}

func TestItemsComeBackAsTheyWere(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{Sort: data.Attribute{Name: "n", Type: data.Number}})
	const all = `{"bin":{"$binary":"AP8="},"bins":{"$binaries":["AA==","AQ=="]},"list":[1,"a",null,[true]],"map":{"$map":{"$binary":"x"}},"n":12345678901234567890123456789012345678,"no":false,"nums":{"$numbers":[-1,2.5,10]},"pk":"a","strs":{"$strings":["a","b"]},"tiny":1e-130}`
	got := put(t, ts, all)
	if got.Old != nil || text(t, got.New) != all {
		t.Errorf("put: %s", text(t, got))
	}
	if got := get(t, ts, `{"pk":"a","n":12345678901234567890123456789012345678}`); got != all {
		t.Errorf("got %s", got)
	}
	again := put(t, ts, `{"pk":"a","n":12345678901234567890123456789012345678.0,"x":1.50}`)
	if text(t, again.Old) != all || text(t, again.New["x"]) != "1.5" {
		t.Errorf("put again: %s", text(t, again))
	}
	gone := write(t, ts, data.Write{Op: data.WriteDelete, Key: item(t, `{"pk":"a","n":12345678901234567890123456789012345678}`)})
	if gone.New != nil || text(t, gone.Old["x"]) != "1.5" {
		t.Errorf("delete: %s", text(t, gone))
	}
	if got := get(t, ts, `{"pk":"a","n":12345678901234567890123456789012345678}`); got != "null" {
		t.Errorf("after delete: %s", got)
	}
}

func TestRefusals(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{Sort: data.Attribute{Name: "s"}, Indexes: []data.Index{{Name: "x", Key: data.Attribute{Name: "k", Type: data.Number}}}})
	for name, c := range map[string]struct {
		w    data.Write
		kind rouse.Kind
		says string
	}{
		"no table":      {data.Write{Op: data.WritePut, Table: rouse.Ref{Name: "none"}}, rouse.NotFound, "none"},
		"no key":        {data.Write{Op: data.WritePut, Item: item(t, `{"s":"a"}`)}, rouse.Invalid, `"pk"`},
		"wrong type":    {data.Write{Op: data.WritePut, Item: item(t, `{"pk":1,"s":"a"}`)}, rouse.Invalid, `"pk"`},
		"39 digits":     {data.Write{Op: data.WritePut, Item: item(t, `{"pk":"a","s":"a","n":[123456789012345678901234567890123456789]}`)}, rouse.Invalid, "38"},
		"too large":     {data.Write{Op: data.WritePut, Item: item(t, `{"pk":"a","s":"a","n":1e126}`)}, rouse.Invalid, "1e126"},
		"too small":     {data.Write{Op: data.WritePut, Item: item(t, `{"pk":"a","s":"a","n":1e-131}`)}, rouse.Invalid, "1e-130"},
		"no number":     {data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("a"), "s": data.Text("a"), "n": data.Num("NaN")}}, rouse.Invalid, "NaN"},
		"empty set":     {data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("a"), "s": data.Text("a"), "n": {Type: data.StringSet}}}, rouse.Invalid, "set"},
		"twice in set":  {data.Write{Op: data.WritePut, Item: item(t, `{"pk":"a","s":"a","n":{"$numbers":[1,1.0]}}`)}, rouse.Invalid, "twice"},
		"index type":    {data.Write{Op: data.WritePut, Item: item(t, `{"pk":"a","s":"a","k":"a"}`)}, rouse.Invalid, `"x"`},
		"long sort key": {data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("a"), "s": data.Text(strings.Repeat("x", 1025))}}, rouse.Invalid, `"s"`},
		"item too big":  {data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("a"), "s": data.Text("a"), "n": data.Bytes(make([]byte, 400<<10))}}, rouse.TooLarge, "409600"},
		"key changed":   {data.Write{Op: data.WriteUpdate, Key: item(t, `{"pk":"a","s":"a"}`), Edits: edits(t, `{"set":{"s":"b"}}`)}, rouse.Invalid, `"s"`},
		"two edits":     {data.Write{Op: data.WriteUpdate, Key: item(t, `{"pk":"a","s":"a"}`), Edits: edits(t, `{"set":{"a":1},"remove":["a.b"]}`)}, rouse.Invalid, "two edits"},
		"missing term":  {data.Write{Op: data.WriteUpdate, Key: item(t, `{"pk":"a","s":"a"}`), Edits: edits(t, `{"set":{"a":{"$path":"b"}}}`)}, rouse.Invalid, "missing"},
		"bad sum":       {data.Write{Op: data.WriteUpdate, Key: item(t, `{"pk":"a","s":"a"}`), Edits: edits(t, `{"set":{"a":{"$plus":[1,"b"]}}}`)}, rouse.Invalid, "numbers"},
		"no op":         {data.Write{}, rouse.Invalid, "op"},
		"more key":      {data.Write{Op: data.WriteDelete, Key: item(t, `{"pk":"a","s":"a","z":1}`)}, rouse.Invalid, "key"},
		"bad condition": {data.Write{Op: data.WriteDelete, Key: item(t, `{"pk":"a","s":"a"}`), If: &data.Cond{Op: data.Between, Args: []data.Term{data.At(data.Attr("a"))}}}, rouse.Invalid, "between"},
	} {
		if c.w.Table == (rouse.Ref{}) {
			c.w.Table = ref
		}
		_, err := ts.Write(t.Context(), c.w)
		if err == nil || rouse.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%v)", name, err, rouse.KindOf(err))
		}
	}
}

// Sort keys may be as long as DynamoDB's, in indexes as well.
func TestLongSortKeys(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{Sort: data.Attribute{Name: "s", Type: data.Binary}, TTL: "ttl",
		Indexes: []data.Index{{Name: "x", Key: data.Attribute{Name: "k", Type: data.String}, Sort: data.Attribute{Name: "s", Type: data.Binary}}}})
	for i, fill := range []byte{0, 'x'} {
		long := data.Bytes(bytes.Repeat([]byte{fill}, 1024))
		write(t, ts, data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text(strings.Repeat("p", 2000)), "s": long, "k": data.Text(strings.Repeat("k", 2000)), "ttl": data.Num("9999999999")}})
		for _, q := range []data.Query{{Table: ref, Key: data.Text(strings.Repeat("p", 2000))}, {Table: ref, Index: "x", Key: data.Text(strings.Repeat("k", 2000))}} {
			q.Sort = &data.Range{Op: data.Ge, Values: []data.Value{long}}
			if page, err := ts.Query(t.Context(), q); err != nil || len(page.Items) != 1 {
				t.Errorf("%d: %d items, %v", i, len(page.Items), err)
			}
		}
	}
}

func TestConditions(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{})
	put(t, ts, `{"pk":"a","n":5,"m":5.0,"s":"hello","l":[1,{"x":"y"}],"set":{"$strings":["a","b"]},"b":{"$binary":"AQID"},"nul":null}`)
	for c, want := range map[string]bool{
		`{"n":5}`:                                 true,
		`{"n":{"ne":5.00}}`:                       false,
		`{"n":{"gt":4,"lt":6}}`:                   true,
		`{"n":{"gt":4,"lt":5}}`:                   false,
		`{"n":{"between":[5,6]}}`:                 true,
		`{"n":{"between":[5.1,6]}}`:               false,
		`{"n":{"ge":"4"}}`:                        false,
		`{"n":{"in":[1,2,5]}}`:                    true,
		`{"n":{"in":[]}}`:                         false,
		`{"n":{"eq":{"$path":"m"}}}`:              true,
		`{"n":{"lt":{"$size":"s"}}}`:              false,
		`{"n":{"le":{"$size":"s"}}}`:              true,
		`{"s":{"begins":"he"}}`:                   true,
		`{"s":{"contains":"ell"}}`:                true,
		`{"s":{"contains":"x"}}`:                  false,
		`{"l":{"contains":1}}`:                    true,
		`{"l[1].x":"y"}`:                          true,
		`{"l[2]":{"exists":true}}`:                false,
		`{"l[2]":{"exists":false}}`:               true,
		`{"set":{"contains":"b"}}`:                true,
		`{"set":{"size":{"gt":2}}}`:               false,
		`{"set":{"size":2}}`:                      true,
		`{"set":{"eq":{"$strings":["b","a"]}}}`:   true,
		`{"b":{"begins":{"$binary":"AQI="}}}`:     true,
		`{"s":{"type":"string"}}`:                 true,
		`{"set":{"type":"string"}}`:               false,
		`{"nul":null}`:                            true,
		`{"none":{"lt":1}}`:                       false,
		`{"none":{"ne":1}}`:                       true,
		`{"$not":{"none":{"lt":1}}}`:              true,
		`{"$or":[{"n":1},{"n":5}]}`:               true,
		`{"$and":[{"n":1},{"n":5}]}`:              false,
		`{"l":{"eq":[1,{"x":"y"}]}}`:              true,
		`{"pk":"a","n":{"in":[4,{"$path":"m"}]}}`: true,
	} {
		w := data.Write{Op: data.WriteCheck, Table: ref, Key: item(t, `{"pk":"a"}`), If: cond(t, c)}
		_, err := ts.Write(t.Context(), w)
		if (err == nil) != want {
			t.Errorf("%s: %v", c, err)
		}
		if err != nil && rouse.KindOf(err) != rouse.Conflict {
			t.Errorf("%s: kind %v: %v", c, rouse.KindOf(err), err)
		}
		back := text(t, w.If)
		if diff := cmp.Diff(w.If, cond(t, back)); diff != "" {
			t.Errorf("%s is written as %s: %s", c, back, diff)
		}
	}
	_, err := ts.Write(t.Context(), data.Write{Op: data.WritePut, Table: ref, Item: item(t, `{"pk":"a"}`), If: cond(t, `{"pk":{"exists":false}}`)})
	r, ok := errors.AsType[*data.Refused](err)
	if !ok || len(r.Writes) != 1 || text(t, r.Writes[0].Item["s"]) != `"hello"` {
		t.Errorf("refused: %v %+v", err, r)
	}
}

func TestUpdates(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{})
	for _, c := range []struct{ edits, want string }{
		{`{"set":{"n":1,"m":{"a":{"b":1}},"l":[0,1,2,3]}}`, `{"l":[0,1,2,3],"m":{"a":{"b":1}},"n":1,"pk":"a"}`},
		{`{"add":{"n":0.5,"new":3,"set":{"$numbers":[2,1]}}}`, `{"l":[0,1,2,3],"m":{"a":{"b":1}},"n":1.5,"new":3,"pk":"a","set":{"$numbers":[1,2]}}`},
		{`{"add":{"set":{"$numbers":[2,3]}},"remove":["new","l[0]","l[2]"]}`, `{"l":[1,3],"m":{"a":{"b":1}},"n":1.5,"pk":"a","set":{"$numbers":[1,2,3]}}`},
		{`{"delete":{"set":{"$numbers":[1,2,3,4]}},"set":{"m.a.c":{"$path":"n"},"n":{"$minus":[{"$path":"n"},2]},"l[9]":"end"}}`, `{"l":[1,3,"end"],"m":{"a":{"b":1,"c":1.5}},"n":-0.5,"pk":"a"}`},
		{`{"set":{"l":{"$append":[{"$default":[{"$path":"l"},[]]},[4]]},"k":{"$append":[{"$default":[{"$path":"k"},[]]},[5]]}},"remove":["m.a.b"]}`, `{"k":[5],"l":[1,3,"end",4],"m":{"a":{"c":1.5}},"n":-0.5,"pk":"a"}`},
		{`{"remove":["l","k","m","gone","m2.x"],"set":{"swap":{"$default":[{"$path":"nope"},{"$path":"n"}]},"n":7}}`, `{"n":7,"pk":"a","swap":-0.5}`},
	} {
		e := edits(t, c.edits)
		if diff := cmp.Diff(e, edits(t, text(t, e))); diff != "" {
			t.Errorf("%s is written as %s: %s", c.edits, text(t, e), diff)
		}
		before := get(t, ts, `{"pk":"a"}`)
		got := write(t, ts, data.Write{Op: data.WriteUpdate, Key: item(t, `{"pk":"a"}`), Edits: e})
		if text(t, got.Old) != before && !(got.Old == nil && before == "null") {
			t.Errorf("%s: old is %s, not %s", c.edits, text(t, got.Old), before)
		}
		if text(t, got.New) != c.want || get(t, ts, `{"pk":"a"}`) != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", c.edits, text(t, got.New), c.want)
		}
	}
}

func query(t testing.TB, ts *table.Tables, q data.Query) (names []string, pages int) {
	t.Helper()
	q.Table = ref
	for pages = 1; ; pages++ {
		p, err := ts.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Items {
			names = append(names, i["s"].Text)
		}
		if q.After = p.After; p.After == nil {
			return names, pages
		}
	}
}

func TestQueriesByRange(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{Sort: data.Attribute{Name: "s"}})
	for _, s := range []string{"a", "ab", "abc", "b", "b\x00", "c"} {
		write(t, ts, data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("p"), "s": data.Text(s), "odd": data.Bool(len(s)%2 == 1)}})
		write(t, ts, data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("p\x00"), "s": data.Text("not " + s)}})
	}
	rng := func(op data.CondOp, vs ...string) *data.Range {
		r := &data.Range{Op: op}
		for _, v := range vs {
			r.Values = append(r.Values, data.Text(v))
		}
		return r
	}
	for _, c := range []struct {
		r    *data.Range
		want string
	}{
		{nil, "a ab abc b b\x00 c"},
		{rng(data.Eq, "b"), "b"},
		{rng(data.Lt, "b"), "a ab abc"},
		{rng(data.Le, "b"), "a ab abc b"},
		{rng(data.Gt, "b"), "b\x00 c"},
		{rng(data.Ge, "b"), "b b\x00 c"},
		{rng(data.Between, "ab", "b"), "ab abc b"},
		{rng(data.Between, "b", "ab"), ""},
		{rng(data.Begins, "ab"), "ab abc"},
		{rng(data.Begins, "b"), "b b\x00"},
		{rng(data.Begins, ""), "a ab abc b b\x00 c"},
	} {
		want := strings.Fields(c.want)
		for _, limit := range []int{0, 1, 2, 3} {
			q := data.Query{Key: data.Text("p"), Sort: c.r, Select: data.Select{Limit: limit}}
			got, pages := query(t, ts, q)
			if !slices.Equal(got, want) || limit > 0 && pages > max(1, (len(want)+limit-1)/limit) {
				t.Errorf("%+v, limit %d: %q in %d pages, not %q", c.r, limit, got, pages, want)
			}
			q.Reverse = true
			got, _ = query(t, ts, q)
			slices.Reverse(got)
			if !slices.Equal(got, want) {
				t.Errorf("%+v, limit %d, reverse: %q, not %q", c.r, limit, got, want)
			}
		}
	}
	p, err := ts.Query(t.Context(), data.Query{Table: ref, Key: data.Text("p"), Select: data.Select{Limit: 4, Filter: cond(t, `{"odd":false}`), Attributes: []data.Path{data.Attr("odd")}}})
	if err != nil || text(t, p.Items) != `[{"odd":false}]` || p.Seen != 4 || p.After["s"].Text != "b" {
		t.Errorf("filtered: %s, %v", text(t, p), err)
	}
	for _, q := range []data.Query{
		{Key: data.Int(1)}, {Key: data.Text("p"), Sort: &data.Range{Op: data.Eq}}, {Key: data.Text("p"), Sort: rng(data.In, "a")},
		{Key: data.Text("p"), Sort: &data.Range{Op: data.Lt, Values: []data.Value{data.Int(1)}}},
		{Key: data.Text("p"), Select: data.Select{After: item(t, `{"pk":"p"}`)}},
	} {
		q.Table = ref
		_, err := ts.Query(t.Context(), q)
		wantKind(t, err, rouse.Invalid)
	}
	_, err = ts.Query(t.Context(), data.Query{Table: ref, Index: "none", Key: data.Text("p")})
	wantKind(t, err, rouse.NotFound)
}

func TestNumbersSort(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{Sort: data.Attribute{Name: "n", Type: data.Number}})
	want := []string{"-9.9e125", "-1000", "-10.5", "-10", "-1.25", "-1.2", "-1", "-1e-130", "0", "1e-130", "0.1", "0.12", "1", "1.05", "2", "9", "10", "10.01", "99", "100", "1e125"}
	for _, i := range rand.Perm(len(want)) {
		write(t, ts, data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("p"), "n": data.Num(want[i])}})
	}
	p, err := ts.Query(t.Context(), data.Query{Table: ref, Key: data.Text("p")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range p.Items {
		got = append(got, i["n"].Text)
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("short", func(s string) string { return strings.Replace(s, "9.9e125", "99e124", 1) })); diff != "" {
		t.Errorf("%v\n%s", got, diff)
	}
	if got := get(t, ts, `{"pk":"p","n":10.010}`); got != `{"n":10.01,"pk":"p"}` {
		t.Errorf("by another writing of its key: %s", got)
	}
}

// A limit below 0 is refused: it is no way to ask for all.
func TestALimitIsNotNegative(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{})
	_, query := ts.Query(t.Context(), data.Query{Table: ref, Key: data.Text("p"), Select: data.Select{Limit: -1}})
	_, scan := ts.Scan(t.Context(), data.Scan{Table: ref, Select: data.Select{Limit: -1}})
	for _, err := range []error{query, scan} {
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "limit: it is -1") {
			t.Errorf("%v", err)
		}
	}
}

func TestScanSegmentsAreAll(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{Indexes: []data.Index{{Name: "x", Key: data.Attribute{Name: "g", Type: data.Number}, KeysOnly: true}}})
	const n = 300
	for i := range n {
		put(t, ts, fmt.Sprintf(`{"pk":"%d","g":%d,"more":1}`, i, i))
	}
	for _, index := range []string{"", "x"} {
		for _, segments := range []int{0, 1, 3, 7} {
			seen := map[string]int{}
			for segment := range max(segments, 1) {
				s := data.Scan{Table: ref, Index: index, Segment: segment, Segments: segments, Select: data.Select{Limit: 17}}
				for {
					p, err := ts.Scan(t.Context(), s)
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range p.Items {
						seen[i["pk"].Text]++
						if _, all := i["more"]; all != (index == "") {
							t.Fatalf("index %q returns %v", index, i)
						}
					}
					if s.After = p.After; p.After == nil {
						break
					}
				}
			}
			for k, times := range seen {
				if times != 1 {
					t.Errorf("%s came %d times", k, times)
				}
			}
			if len(seen) != n {
				t.Errorf("index %q in %d segments: %d items", index, segments, len(seen))
			}
		}
	}
	_, err := ts.Scan(t.Context(), data.Scan{Table: ref, Segment: 2, Segments: 2})
	wantKind(t, err, rouse.Invalid)
}

func TestPagesAreBoundInBytes(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{Sort: data.Attribute{Name: "s"}})
	for i := range 10 {
		write(t, ts, data.Write{Op: data.WritePut, Item: data.Item{"pk": data.Text("p"), "s": data.Text(fmt.Sprint(i)), "b": data.Bytes(make([]byte, 300<<10))}})
	}
	got, pages := query(t, ts, data.Query{Key: data.Text("p")})
	if len(got) != 10 || pages < 3 {
		t.Errorf("%v in %d pages", got, pages)
	}
}

func TestIndexesFollowTheItems(t *testing.T) {
	ts, _, _ := open(t)
	x := data.Index{Name: "by color", Key: data.Attribute{Name: "color"}, Sort: data.Attribute{Name: "price", Type: data.Number}, Attributes: []string{"name"}}
	create(t, ts, data.Table{Indexes: []data.Index{x}})
	long := strings.Repeat("long", 100) // its hash is in the key
	put(t, ts, `{"pk":"a","color":"red","price":4,"s":"a","other":1,"name":"A"}`)
	put(t, ts, `{"pk":"b","color":"red","price":5,"s":"b"}`)
	put(t, ts, `{"pk":"c","color":"red","s":"c"}`)
	put(t, ts, `{"pk":"`+long+`","color":"red","price":-1,"s":"d"}`)
	find := func(color string) string {
		t.Helper()
		p, err := ts.Query(t.Context(), data.Query{Table: ref, Index: "by color", Key: data.Text(color), Select: data.Select{Limit: 1}})
		if err != nil {
			t.Fatal(err)
		}
		all := p.Items
		for p.After != nil {
			if p, err = ts.Query(t.Context(), data.Query{Table: ref, Index: "by color", Key: data.Text(color), Select: data.Select{Limit: 1, After: p.After}}); err != nil {
				t.Fatal(err)
			}
			all = append(all, p.Items...)
		}
		return text(t, all)
	}
	if got, want := find("red"), `[{"color":"red","pk":"`+long+`","price":-1},{"color":"red","name":"A","pk":"a","price":4},{"color":"red","pk":"b","price":5}]`; got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	write(t, ts, data.Write{Op: data.WriteUpdate, Key: item(t, `{"pk":"a"}`), Edits: edits(t, `{"set":{"color":"blue"}}`)})
	write(t, ts, data.Write{Op: data.WriteUpdate, Key: item(t, `{"pk":"b"}`), Edits: edits(t, `{"remove":["price"]}`)})
	write(t, ts, data.Write{Op: data.WriteDelete, Key: data.Item{"pk": data.Text(long)}})
	if red, blue := find("red"), find("blue"); red != "null" || blue != `[{"color":"blue","name":"A","pk":"a","price":4}]` {
		t.Errorf("red %s, blue %s", red, blue)
	}

	d, err := ts.Table(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	d.Indexes = append(d.Indexes, data.Index{Name: "s", Key: data.Attribute{Name: "s"}})
	d.Indexes[0].Name = "again"
	if d, err = ts.ChangeTable(t.Context(), d); err != nil || d.Indexes[1].Filling {
		t.Fatalf("%+v, %v", d, err)
	}
	p, err := ts.Query(t.Context(), data.Query{Table: ref, Index: "s", Key: data.Text("c")})
	if err != nil || text(t, p.Items) != `[{"color":"red","pk":"c","s":"c"}]` {
		t.Errorf("a new index: %s, %v", text(t, p), err)
	}
	_, err = ts.Query(t.Context(), data.Query{Table: ref, Index: "by color", Key: data.Text("c")})
	wantKind(t, err, rouse.NotFound)
	d.Key.Name = "other"
	_, err = ts.ChangeTable(t.Context(), d)
	wantKind(t, err, rouse.Conflict)
}
