package wire

import "github.com/rouse-run/rouse"

// SubjectOptions are what a subject is to be.
type SubjectOptions struct {
	Quota   rouse.Quota `json:"quota"`
	Blocked bool        `json:"blocked,omitempty"` // its key opens nothing
	Rotate  bool        `json:"rotate,omitempty"`  // it gets a new key
}

// Subjects are all there are, by namespace.
type Subjects struct {
	Subjects []rouse.Subject `json:"subjects"`
}
