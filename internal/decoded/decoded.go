// Package decoded remembers what stored bytes mean, so that what is read often
// and changed seldom is decoded once.
package decoded

import (
	"bytes"
	"sync"
)

// maxKnown bounds how many values a Cache keeps; then it begins anew.
const maxKnown = 10_000

// A Cache keeps decoded values by key, each with the bytes that it was decoded
// from: other bytes are decoded again. The zero value is empty. Its methods may
// be called concurrently.
type Cache[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]entry[V] // guarded by mu
}

type entry[V any] struct {
	stored []byte
	value  V
}

// Get returns what decode makes of stored, which is kept and must not be
// changed. The value is shared by all who get it. What decode refuses is not
// kept.
func (c *Cache[K, V]) Get(key K, stored []byte, decode func() (V, error)) (V, error) {
	c.mu.Lock()
	e, ok := c.known[key]
	c.mu.Unlock()
	if ok && bytes.Equal(e.stored, stored) {
		return e.value, nil
	}
	v, err := decode()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxKnown {
		c.known = map[K]entry[V]{}
	}
	c.known[key] = entry[V]{stored, v}
	return v, nil
}
