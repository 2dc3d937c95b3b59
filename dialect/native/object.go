package native

import (
	"encoding/base64"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// keptHeaders are what an object keeps of the request that stores it.
var keptHeaders = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires"}

// objectIf reads the conditions of a request (RFC 9110, section 13.1).
func (c *call) objectIf() (o data.ObjectIf, err error) {
	h := c.r.Header
	o.Match, o.NoMatch = etags(h.Get("If-Match")), etags(h.Get("If-None-Match"))
	// A date beside an ETag is for those who don't know ETags.
	if s := h.Get("If-Modified-Since"); s != "" && o.NoMatch == nil && (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) {
		if o.Since, err = http.ParseTime(s); err != nil {
			return o, invalid("If-Modified-Since is %q, which is no date of HTTP", s)
		}
	}
	if s := h.Get("If-Unmodified-Since"); s != "" && o.Match == nil {
		if o.NotSince, err = http.ParseTime(s); err != nil {
			return o, invalid("If-Unmodified-Since is %q, which is no date of HTTP", s)
		}
	}
	return o, nil
}

// etags reads a list of ETags, of which none has a comma in it.
func etags(list string) (all []string) {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.Trim(strings.TrimPrefix(strings.TrimSpace(one), "W/"), `"`)
		if one != "" {
			all = append(all, one)
		}
	}
	return all
}

func (c *call) objectGet() (g data.ObjectGet, err error) {
	if g.Bucket, err = c.ref(); err != nil {
		return g, err
	}
	g.Key, g.Version = c.r.PathValue("key"), c.query.Get("version")
	g.If, err = c.objectIf()
	return g, err
}

func (c *call) objectPut() (p data.ObjectPut, err error) {
	if p.Bucket, err = c.ref(); err != nil {
		return p, err
	}
	p.Key = c.r.PathValue("key")
	if p.If, err = c.objectIf(); err != nil {
		return p, err
	}
	if sum := c.r.Header.Get("Content-MD5"); sum != "" {
		if p.MD5, err = base64.StdEncoding.DecodeString(sum); err != nil || len(p.MD5) != 16 {
			return p, invalid("Content-MD5 is %q; it must be the base64 of an MD5", sum)
		}
	}
	p.Header, p.Meta = map[string]string{}, map[string]string{}
	for _, k := range keptHeaders {
		if v := c.r.Header.Get(k); v != "" {
			p.Header[k] = v
		}
	}
	for k, vs := range c.r.Header {
		if name, ok := strings.CutPrefix(k, wire.HeaderMeta); ok && name != "" {
			p.Meta[strings.ToLower(name)] = strings.Join(vs, ", ")
		}
	}
	return p, nil
}

// describeObject puts all that is known of an object into the headers.
func (c *call) describeObject(o *data.Object) {
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	for k, v := range o.Header {
		h.Set(k, v)
	}
	for k, v := range o.Meta {
		h.Set(wire.HeaderMeta+k, v)
	}
	c.identify(o)
	h.Set("Last-Modified", o.Modified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Content-Type-Options", "nosniff")
}

func (c *call) identify(o *data.Object) {
	c.w.Header().Set("ETag", `"`+o.ETag+`"`)
	c.w.Header().Set(wire.HeaderVersion, o.Version)
}

// byteRange reads a Range of one part; another, or one that can't be read, is
// as none (RFC 9110, section 14.2).
func byteRange(s string) *data.ByteRange {
	spec, ok := strings.CutPrefix(strings.TrimSpace(s), "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok || !dash || first == "" && last == "" {
		return nil
	}
	var from, to uint64
	var err error
	if first != "" {
		if from, err = strconv.ParseUint(first, 10, 63); err != nil {
			return nil
		}
	}
	if last != "" {
		if to, err = strconv.ParseUint(last, 10, 63); err != nil {
			return nil
		}
	}
	switch {
	case first == "" && to == 0: // the last no bytes: outside of any object
		return &data.ByteRange{From: math.MaxInt64}
	case first == "":
		return &data.ByteRange{From: -int64(to)}
	case last == "":
		return &data.ByteRange{From: int64(from)}
	case to < from:
		return nil
	}
	return &data.ByteRange{From: int64(from), Length: int64(min(to-from+1, math.MaxInt64))}
}

// extent returns which bytes of an object of a size a range that is inside of
// it picks.
func extent(r *data.ByteRange, size int64) (from, length int64) {
	if r == nil {
		return 0, size
	}
	if from = r.From; from < 0 {
		from = max(size+from, 0)
	}
	if length = r.Length; length <= 0 || length > size-from {
		length = size - from
	}
	return from, length
}

// sameObject reports whether a Range is still meant: If-Range names the object
// by its ETag, or by its date, as it was when a part of it was fetched.
func sameObject(ifRange string, o *data.Object) bool {
	if t, err := http.ParseTime(ifRange); err == nil {
		return o.Modified.Truncate(time.Second).Equal(t)
	}
	return ifRange == `"`+o.ETag+`"`
}
