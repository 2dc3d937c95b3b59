package data

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
)

// Bounds of what there may be.
const (
	MaxShards  = 4096 // open ones of a Stream
	MaxIndexes = 20   // of a Table
)

// Check fills in the defaults of a Stream that is to be made or changed, and
// says what is wrong with it, by field.
func (s *Stream) Check() error {
	if s.Shards == 0 {
		s.Shards = 1
	}
	if s.Keep == 0 {
		s.Keep = rouse.Duration(24 * time.Hour)
	}
	switch {
	case s.Keep < 0:
		return fmt.Errorf("keep: %v is less than nothing", s.Keep)
	case s.Shards < 1 || s.Shards > MaxShards:
		return fmt.Errorf("shards: %d is not from 1 to %d", s.Shards, MaxShards)
	}
	return nil
}

// Check says what is wrong with a Queue that is to be made or changed, by field.
func (q *Queue) Check() error {
	switch {
	case q.Visibility < 0:
		return fmt.Errorf("visibility: %v is less than nothing", q.Visibility)
	case q.Delay < 0:
		return fmt.Errorf("delay: %v is less than nothing", q.Delay)
	case q.Keep < 0:
		return fmt.Errorf("keep: %v is less than nothing; 0 is for ever", q.Keep)
	case q.MaxReceives < 0:
		return fmt.Errorf("maxReceives: %d is less than nothing; 0 is no bound", q.MaxReceives)
	case q.MaxReceives > 0 && q.DeadLetter.Name == "":
		return errors.New("deadLetter: maxReceives wants a queue for what was received too often")
	case q.DeadLetter == q.Ref:
		return errors.New("deadLetter: a queue can't be its own")
	case q.DeadLetter.Name != "" && q.DeadLetter.Namespace != q.Namespace:
		return fmt.Errorf("deadLetter: %v is in another namespace", q.DeadLetter)
	}
	return nil
}

// Check fills in the types of the attributes of a Table that is to be made or
// changed, and says what is wrong with it, by field.
func (t *Table) Check() error {
	if t.Name == "" {
		return errors.New("name: a table has one")
	}
	if err := checkKeys("", &t.Key, &t.Sort); err != nil {
		return err
	}
	if len(t.Indexes) > MaxIndexes {
		return fmt.Errorf("indexes: there are %d, %d are the most", len(t.Indexes), MaxIndexes)
	}
	t.Indexes = slices.Clone(t.Indexes)
	for i := range t.Indexes {
		x := &t.Indexes[i]
		x.Filling = false
		if x.Name == "" || slices.ContainsFunc(t.Indexes[:i], func(o Index) bool { return o.Name == x.Name }) {
			return fmt.Errorf("indexes: the name %q is empty or used twice", x.Name)
		}
		if err := checkKeys(fmt.Sprintf("index %q: ", x.Name), &x.Key, &x.Sort); err != nil {
			return err
		}
	}
	if t.TTL != "" && (t.TTL == t.Key.Name || t.TTL == t.Sort.Name) {
		return errors.New("ttl: it can't be an attribute of the key")
	}
	if t.Changes < 0 {
		return errors.New("changes: how long they are kept can't be negative")
	}
	return nil
}

func checkKeys(where string, key, sort *Attribute) error {
	if key.Name == "" || key.Name == sort.Name {
		return fmt.Errorf("%skey: it names an attribute, another than sort does", where)
	}
	for _, a := range []*Attribute{key, sort} {
		if a.Name == "" {
			*a = Attribute{}
			continue
		}
		if a.Type == NoType {
			a.Type = String
		}
		if a.Type < String || a.Type > Binary {
			return fmt.Errorf("%sthe key attribute %q is a string, number or binary, not a %s", where, a.Name, a.Type)
		}
	}
	return nil
}
