package bucket

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// The first byte of a key says what it is. A revision is larger for a later
// version of an object, and inverted in a key, so that the newest comes first.
const (
	definitionKind = 'b' // namespace, name -> a definition
	nextKind       = 'n' // -> the next id
	objectKind     = 'o' // id, key as it is -> the record of the newest version, where it is no Marker
	versionKind    = 'v' // id, key, revision -> the record of each version
	uploadKind     = 'u' // id, key, upload -> an upload
	partKind       = 'q' // upload, number -> a part
	staleKind      = 'e' // microsecond at which it ends, id, upload -> the key of an upload
	blobKind       = 'r' // digest -> what is known of a blob
	dueKind        = 'p' // microsecond, digest -> nothing: when to look at a blob
	journalKind    = 'j' // id, shard: a journal of events
)

func idKey(kind byte, id uint64) []byte {
	return tuple.Uint(append(make([]byte, 0, 64), kind), id)
}

func namespaceKey(ns rouse.Namespace) []byte { return tuple.String([]byte{definitionKind}, ns) }

func definitionKey(r rouse.Ref) []byte { return tuple.String(namespaceKey(r.Namespace), r.Name) }

func objectKey(id uint64, key string) []byte { return append(idKey(objectKind, id), key...) }

// versionsOf is what the versions of an object begin with.
func versionsOf(id uint64, key string) []byte { return tuple.String(idKey(versionKind, id), key) }

func versionKey(id uint64, key string, revision uint64) []byte {
	return tuple.Uint(versionsOf(id, key), ^revision)
}

// readVersionKey returns the object's key and the revision.
func readVersionKey(b []byte) (key string, revision uint64, err error) {
	if len(b) < 9 {
		return "", 0, errBroken
	}
	s, rest, err := tuple.ReadString(b[9:])
	if err != nil {
		return "", 0, err
	}
	n, rest, err := tuple.ReadUint(rest)
	if err != nil || len(rest) > 0 {
		return "", 0, errBroken
	}
	return string(s), ^n, nil
}

func uploadKey(id uint64, key, upload string) []byte {
	return append(tuple.String(idKey(uploadKind, id), key), upload...)
}

func partsOf(upload string) []byte { return append([]byte{partKind}, upload...) }

func partKey(upload string, number int) []byte {
	return tuple.Uint(partsOf(upload), uint64(number))
}

func staleKey(at int64, id uint64, upload string) []byte {
	return append(tuple.Uint(tuple.Int([]byte{staleKind}, at), id), upload...)
}

func blobKey(d digest) []byte { return append([]byte{blobKind}, d[:]...) }

func dueKey(at int64, d digest) []byte { return append(tuple.Int([]byte{dueKind}, at), d[:]...) }

// A digest is a rouse.Digest in bytes.
type digest [sha256.Size]byte

func digestOf(d rouse.Digest) (out digest, err error) {
	n, err := hex.Decode(out[:], []byte(d)[:min(len(d), 2*len(out))])
	if err == nil && n != len(out) {
		err = errBroken
	}
	return out, err
}

func (d digest) String() string { return hex.EncodeToString(d[:]) }

func (d digest) name() rouse.Digest { return rouse.Digest(d.String()) }

var errBroken = errors.New("what is stored is not what a bucket writes")

// versionName is what a revision is called outside.
func versionName(revision uint64) string { return fmt.Sprintf("%016x", revision) }

// readVersion returns the revision of a Version other than data.NullVersion.
func readVersion(s string) (revision uint64, ok bool) {
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil && versionName(n) == s && s != data.NullVersion
}

// checkKey fails where a string can't be an object's key.
func checkKey(s string) error {
	if s == "" {
		return errors.New("key: it is empty")
	}
	if len(s) > maxKey {
		return fmt.Errorf("key: it has %d bytes, %d are the most", len(s), maxKey)
	}
	return nil
}
