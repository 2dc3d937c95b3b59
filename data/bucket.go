package data

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rouse-run/rouse"
)

// Buckets hold objects by key. A bucket's Feed is what came and went; an Event
// has the Type "object.created" or "object.removed", the object's key as its
// Subject and an ObjectChange as its Data. All methods may be called
// concurrently; what they did is durable on return.
type Buckets interface {
	BucketAdmin
	Objects
	Uploads
	Feed
}

// BucketAdmin makes, changes and lists buckets.
type BucketAdmin interface {
	// CreateBucket makes an empty bucket and returns it as stored. Errors:
	// Conflict where there is one, Invalid.
	CreateBucket(ctx context.Context, b Bucket) (Bucket, error)

	// ChangeBucket replaces Versioned, Changes and Notes. Errors: NotFound,
	// Invalid.
	ChangeBucket(ctx context.Context, b Bucket) (Bucket, error)

	// Bucket returns one. Errors: NotFound.
	Bucket(ctx context.Context, r rouse.Ref) (Bucket, error)

	// Buckets lists those of a namespace by name, at most limit (0 is all) after
	// a name.
	Buckets(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]Bucket, error)

	// RemoveBucket takes an empty bucket away; its uploads end. Errors: NotFound,
	// Conflict where it holds an object or a version.
	RemoveBucket(ctx context.Context, r rouse.Ref) error
}

// Objects are what is in buckets. Conditions that do not hold are a Conflict
// that wraps ErrCondition.
type Objects interface {
	// PutObject stores all of body under a key. Nothing is seen of it before it
	// is complete, nor where body fails, whose error is returned as it is.
	// Errors: NotFound for the bucket, Conflict, Invalid, Unavailable.
	PutObject(ctx context.Context, p ObjectPut, body io.Reader) (Object, error)

	// GetObject opens an object, whose body the caller closes. Errors: NotFound,
	// also where the newest version is a Marker, Conflict, and Invalid that wraps
	// ErrRange where the range is outside.
	GetObject(ctx context.Context, g ObjectGet) (Object, io.ReadCloser, error)

	// StatObject is GetObject without the body.
	StatObject(ctx context.Context, g ObjectGet) (Object, error)

	// DeleteObjects removes up to 1,000 objects or versions and says what it did
	// for each, in order; where it fails in the middle, for those it has done.
	// What is not there is no error. Errors: NotFound for the bucket, Invalid.
	DeleteObjects(ctx context.Context, bucket rouse.Ref, ds []ObjectDelete) ([]Deleted, error)

	// CopyObject makes an object of the bytes of another, in any bucket, which are
	// not copied. Errors: those of GetObject and PutObject.
	CopyObject(ctx context.Context, c ObjectCopy) (Object, error)

	// ChangeObject replaces the Header, Meta and Tags of an object in place: its
	// version, ETag and time stay. Errors: NotFound, Conflict, Invalid.
	ChangeObject(ctx context.Context, p ObjectPut) (Object, error)

	// ListObjects lists objects in the order of their keys.
	ListObjects(ctx context.Context, q ObjectList) (Listing, error)

	// ListVersions lists all versions and Markers in the order of their keys, the
	// newest of a key first.
	ListVersions(ctx context.Context, q ObjectList) (Listing, error)
}

// Uploads make an object of parts that come in any order, and at once. An upload
// that is not completed ends after seven days.
type Uploads interface {
	// StartUpload begins the upload of an object. Errors: NotFound, Invalid.
	StartUpload(ctx context.Context, p ObjectPut) (Upload, error)

	// PutPart stores a part, in place of an earlier one of the same number, from
	// 1 to 50,000. Errors: NotFound, Invalid, and those of PutObject.
	PutPart(ctx context.Context, u UploadRef, p PartPut, body io.Reader) (Part, error)

	// Parts lists the parts by number, at most limit (0 is all) after one.
	Parts(ctx context.Context, u UploadRef, after, limit int) ([]Part, error)

	// CompleteUpload makes the object of the parts in the order given, each with
	// the ETag it was stored with; other parts are forgotten. Errors: NotFound,
	// Invalid where the list is not in order or names what is not there,
	// Conflict for a condition.
	CompleteUpload(ctx context.Context, u UploadRef, parts []Part, p ObjectIf) (Object, error)

	// AbortUpload forgets the upload and its parts. Errors: NotFound.
	AbortUpload(ctx context.Context, u UploadRef) error

	// ListUploads lists those under way by key and ID, at most limit (0 is 1,000)
	// after one whose Bucket may be left out.
	ListUploads(ctx context.Context, bucket rouse.Ref, prefix string, after UploadRef, limit int) ([]Upload, error)
}

// What an Error wraps where a door must tell apart.
var (
	ErrCondition = errors.New("the object's condition does not hold")
	ErrUnchanged = errors.New("the object is not modified") // NoMatch or Since of a GetObject
	ErrRange     = errors.New("the range is outside the object")
)

// A Bucket says how its objects are kept.
type Bucket struct {
	rouse.Ref
	Versioned bool           `json:"versioned,omitempty"` // what is replaced or deleted is kept as an older version
	Changes   rouse.Duration `json:"changes,omitempty"`   // how long the Feed keeps an Event; 0 is 24 h, < 0 is no Feed
	Created   time.Time      `json:"created,omitzero"`
	Notes     rouse.Notes    `json:"notes,omitempty"`
}

// NullVersion is the Version of an object that was put while its bucket was not
// versioned. A key has at most one.
const NullVersion = "null"

// An Object is one version of what a bucket holds under a key.
type Object struct {
	Key      string            `json:"key"`
	Version  string            `json:"version"` // NullVersion, or one that sorts after those before it
	Size     int64             `json:"size"`
	ETag     string            `json:"etag"`             // the MD5 in hex, of an upload that of its parts' and "-n"; without quotes
	Parts    []int64           `json:"parts,omitempty"`  // the sizes of an upload's
	Modified time.Time         `json:"modified"`         // in microseconds
	Header   map[string]string `json:"header,omitempty"` // such as Content-Type, in canonical form
	Meta     map[string]string `json:"meta,omitempty"`   // the user's
	Tags     map[string]string `json:"tags,omitempty"`
	Marker   bool              `json:"marker,omitempty"` // says that the object was deleted; it has no body
	Newest   bool              `json:"newest,omitempty"` // of its key
}

// An ObjectIf is what must hold of the object that is there. Several must hold
// together; one ETag of a list is enough, and "*" is any.
type ObjectIf struct {
	Match    []string  // its ETag is one of these
	NoMatch  []string  // its ETag is none of these; "*" is that there is no object
	Since    time.Time // it was modified later than this, to the second
	NotSince time.Time // it was not
}

// An ObjectPut is an object to come.
type ObjectPut struct {
	Bucket  rouse.Ref
	Key     string // 1 to 1,024 bytes of UTF-8
	Version string // only of ChangeObject: "" is the newest
	Header  map[string]string
	Meta    map[string]string
	Tags    map[string]string
	MD5     []byte // that the body must have; nil is any
	If      ObjectIf
}

// An ObjectGet asks for one object.
type ObjectGet struct {
	Bucket  rouse.Ref
	Key     string
	Version string // "" is the newest
	Range   *ByteRange
	If      ObjectIf
}

// A ByteRange is a part of a body.
type ByteRange struct {
	From   int64 // the first byte; < 0 counts from the end
	Length int64 // <= 0 is up to the end; what goes beyond the end is left out
}

// An ObjectDelete names what to remove.
type ObjectDelete struct {
	Key     string
	Version string // "" puts a Marker on a versioned bucket's object
	If      ObjectIf
}

// Deleted says what one ObjectDelete did.
type Deleted struct {
	Version string // of what was removed, or of the Marker that was made; "" is none
	Marker  bool   // a Marker was made or removed
	Err     error  // of its condition, Conflict
}

// An ObjectCopy makes the object To of the object From.
type ObjectCopy struct {
	From    ObjectGet // without a Range
	To      ObjectPut // without MD5
	Replace bool      // take Header, Meta and Tags of To, and not those of From
}

// An ObjectList asks for objects.
type ObjectList struct {
	Bucket    rouse.Ref
	Prefix    string
	Delimiter string // keys that have it after the Prefix are listed as one; "" is none
	After     string // a key or one of Prefixes: only what comes after it
	Version   string // of ListVersions: only what comes after it and the key After
	Limit     int    // objects and prefixes; 0 is 1,000, which is the most
}

// A Listing is what a list returns.
type Listing struct {
	Objects  []Object
	Prefixes []string // up to and with the Delimiter
	More     bool     // go on After and, for versions, Version
	After    string
	Version  string
}

// An UploadRef names an upload.
type UploadRef struct {
	Bucket rouse.Ref
	Key    string
	ID     string
}

// An Upload is an object in the making.
type Upload struct {
	UploadRef
	Started time.Time
	Header  map[string]string
	Meta    map[string]string
	Tags    map[string]string
}

// A PartPut is a part to come.
type PartPut struct {
	Number int
	MD5    []byte // that the body must have; nil is any
}

// A Part is one of an upload.
type Part struct {
	Number   int
	Size     int64
	ETag     string // the MD5 in hex
	Modified time.Time
}

// An ObjectChange is the Data of the Event of an object, as JSON.
type ObjectChange struct {
	Key     string `json:"key"`
	Size    int64  `json:"size"`
	ETag    string `json:"etag,omitempty"`
	Version string `json:"version,omitempty"`
	Marker  bool   `json:"marker,omitempty"` // it was removed by a Marker
	Copied  bool   `json:"copied,omitempty"` // it was made by CopyObject
}
