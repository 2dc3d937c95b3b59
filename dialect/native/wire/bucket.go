package wire

import (
	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// The headers of an object, beside those of HTTP.
const (
	HeaderMeta    = "Rouse-Meta-" // and a name of the user's, which is read in lower case
	HeaderVersion = "Rouse-Version"
)

// BucketOptions are what a bucket is to be.
type BucketOptions struct {
	Versioned bool           `json:"versioned,omitempty"`
	Changes   rouse.Duration `json:"changes,omitempty"` // 0 is 24 hours, below 0 none
}

// Buckets is a page of buckets; Next, where not "", is the "after" of the next
// one.
type Buckets struct {
	Buckets []data.Bucket `json:"buckets"`
	Next    string        `json:"next,omitempty"`
}

// Objects is a page of objects. Where there are more, Next and, for versions,
// Version are the "after" and "version" of the next one.
type Objects struct {
	Objects  []data.Object `json:"objects"`
	Prefixes []string      `json:"prefixes,omitempty"`
	Next     string        `json:"next,omitempty"`
	Version  string        `json:"version,omitempty"`
}

// DeletedObject says what a delete did.
type DeletedObject struct {
	Version string `json:"version,omitempty"` // of what was removed, or of the marker that was made
	Marker  bool   `json:"marker,omitempty"`  // a marker was made or removed
}

// Copy makes the object To of another; no Bucket is the same one.
type Copy struct {
	From CopyFrom `json:"from"`
	To   string   `json:"to"`
}

// CopyFrom is what is copied; no Version is the newest.
type CopyFrom struct {
	Bucket  string `json:"bucket,omitempty"`
	Key     string `json:"key"`
	Version string `json:"version,omitempty"`
}
