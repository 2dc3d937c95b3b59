package table

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse/data"
)

func sample(t testing.TB, text string) data.Item {
	t.Helper()
	var raw data.Item
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatal(err)
	}
	item, err := clean(raw)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

const everything = `{"a":"text","b":{"$binary":"AAEC"},"c":-1.5e10,"d":true,"e":null,"f":[1,[2,{"x":[]}]],"g":{"y":{}},"h":{"$strings":["p","q"]},"i":{"$numbers":[1,2]},"j":{"$binaries":["AQ=="]}}`

func FuzzDecodeItem(f *testing.F) {
	f.Add(encodeItem(sample(f, everything)))
	f.Add(encodeItem(data.Item{}))
	f.Add([]byte{codecVersion, 1, 1, 'a', 99})
	f.Add([]byte{codecVersion, 2, 1, 'a', 5, 1, 'a', 5})
	f.Add(append([]byte{codecVersion, 1, 0}, bytes.Repeat([]byte{6, 1}, 100)...))
	f.Add([]byte{codecVersion, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		item, err := decodeItem(b)
		if err != nil {
			return
		}
		again, err := decodeItem(encodeItem(item))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(item, again); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzDecodeChange(f *testing.F) {
	item := sample(f, everything)
	f.Add(encodeChange(nil, item, false))
	f.Add(encodeChange(item, item, false))
	f.Add(encodeChange(item, nil, true))
	f.Add([]byte{changeVersion, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		from, to, expired, err := decodeChange(b)
		if err != nil {
			return
		}
		f2, t2, e2, err := decodeChange(encodeChange(from, to, expired))
		if err != nil || e2 != expired || !cmp.Equal(from, f2) || !cmp.Equal(to, t2) {
			t.Errorf("%x: %v %v %v %v", b, f2, t2, e2, err)
		}
	})
}

func FuzzDecodeDefinition(f *testing.F) {
	d := &definition{Table: data.Table{Key: data.Attribute{Name: "a", Type: data.String}, Indexes: []data.Index{{Name: "x"}}}, ID: 1, IndexIDs: []uint64{2}}
	raw, err := d.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeDefinition(b); err == nil && len(d.Indexes) != len(d.IndexIDs) {
			t.Errorf("%+v", d)
		}
	})
}

func FuzzNumbersSortAsTheyCompare(f *testing.F) {
	for _, s := range []string{"0", "-0", "1", "1.0", "-1", "1e125", "9.99e125", "-9e125", "1e-130", "-1e-130", "1.05", "10", "99", "100", "0.001", "12345678901234567890123456789012345678", "1e126", "1e-131", "+5", "1e99999999999", "NaN", "Inf", "-", "1_0", "0x1"} {
		f.Add(s, "1")
		f.Add("-1.23", s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errX := parseNumber(a)
		y, errY := parseNumber(b)
		if errX != nil || errY != nil {
			return
		}
		ca, cb := canonical(x), canonical(y)
		ka, errX := appendNumber(nil, ca)
		kb, errY := appendNumber(nil, cb)
		if errX != nil || errY != nil {
			t.Fatal(ca, errX, cb, errY)
		}
		if got, want := bytes.Compare(ka, kb), x.Cmp(y); got != want || compareNumbers(ca, cb) != want {
			t.Errorf("%s as %x and %s as %x: %d, not %d", ca, ka, cb, kb, got, want)
		}
		if x.Cmp(y) != 0 && (bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka)) {
			t.Errorf("%x begins as %x", ka, kb)
		}
		if again, err := parseNumber(ca); err != nil || canonical(again) != ca || again.Cmp(x) != 0 {
			t.Errorf("%s is written as %s", a, ca)
		}
		if !json.Valid([]byte(ca)) {
			t.Errorf("%s is no JSON", ca)
		}
	})
}

func TestNumbersKeepTheirDigits(t *testing.T) {
	for in, want := range map[string]string{
		"1.50": "1.5", "-0.0": "0", "100": "100", "1e3": "1000", "1E+37": "1" + strings.Repeat("0", 37), "1e38": "1e38",
		"0.1e-2": "0.001", "1.2345e-100": "1.2345e-100", "9.9999999999999999999999999999999999999e125": "9.9999999999999999999999999999999999999e125",
	} {
		d, err := parseNumber(in)
		if err != nil || canonical(d) != want {
			t.Errorf("%s: %v, %v", in, d, err)
		}
	}
	for _, c := range []struct {
		a, b  string
		minus bool
		want  string // "" is an error
	}{
		{"0.1", "0.2", false, "0.3"},
		{"99999999999999999999999999999999999999", "1", false, "1e38"},
		{"99999999999999999999999999999999999999", "0.1", false, ""},
		{"9e125", "9e125", false, ""},
		{"1e100", "1e-100", false, ""},
		{"5", "5.0", true, "0"},
	} {
		got, err := add(c.a, c.b, c.minus)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

func FuzzItemJSON(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"a":{"$map":{"$binary":"x"}}}`))
	f.Add([]byte(`{"a":{"$binary":1}}`))
	f.Add([]byte(`{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var item, again data.Item
		if json.Unmarshal(b, &item) != nil {
			return
		}
		out, err := json.Marshal(item)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if err := json.Unmarshal(out, &again); err != nil || !cmp.Equal(item, again) {
			t.Errorf("%s became %s: %v", b, out, err)
		}
	})
}

func FuzzCondJSON(f *testing.F) {
	f.Add([]byte(`{"a.b[0]":{"size":{"gt":1}},"c":{"in":[1,{"$path":"d"}]},"$or":[{"e":null},{"$not":{"f":{"exists":false}}}]}`))
	f.Add([]byte(`{"$not":{}}`))
	f.Add([]byte(`{"a":{"size":{"size":1}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c data.Cond
		if json.Unmarshal(b, &c) != nil {
			return
		}
		if _, err := cleanCond(&c, 0); err == nil {
			holds(data.Item{"a": data.Text("x"), "c": data.Int(1)}, &c)
		}
		out, err := json.Marshal(&c)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		var again data.Cond
		if err := json.Unmarshal(out, &again); err != nil {
			t.Errorf("%s became %s: %v", b, out, err)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a[0]", `a\.b.c[1][2].d`, "", ".", "a..b", "a[", "[0]", "a[-1]", "a]", `a\`, "a[0]b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := data.ParsePath(s)
		if err != nil {
			return
		}
		again, err := data.ParsePath(p.String())
		if err != nil || !cmp.Equal(p, again) {
			t.Errorf("%q became %q: %v", s, p, err)
		}
	})
}
