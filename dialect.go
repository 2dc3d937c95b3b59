package rouse

import (
	"context"
	"time"
)

// Services are all that a Dialect may use.
type Services struct {
	Registry      Registry
	Invoker       Invoker
	Acceptor      Acceptor
	Records       Records
	Tail          Tail
	Authenticator Authenticator
	Node          func() Node
}

// A Node says what one running platform is and how it does.
type Node struct {
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	Isolation string    `json:"isolation"` // the tier that functions run in
	Network   bool      `json:"network"`   // which lets functions out, where they may, and in to the platform
	Runtimes  []Runtime `json:"runtimes"`
	Defaults  Limits    `json:"defaults"`
	Retry     Retry     `json:"retry"`
	Instances int       `json:"instances"` // alive
	Memory    int64     `json:"memory"`    // bytes that instances hold
	Budget    int64     `json:"budget"`    // bytes that instances may hold

	Interpreters []Runtime `json:"interpreters,omitempty"` // no Runtimes, but programs that code may start in its Sandbox
}

// An Authenticator knows principals by what they show.
type Authenticator interface {
	// Token returns whom a bearer token stands for. Errors: Unauthenticated.
	Token(ctx context.Context, token string) (Principal, error)
}
