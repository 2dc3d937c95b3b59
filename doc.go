// Package rouse is the language of the platform: the nouns every other package
// shares, and the few interfaces through which they meet.
//
// A Trigger makes Events. A Rule sends the Events it matches to a Function. An
// Invocation carries one Event to one Function; an Instance, alive in a
// Sandbox, answers it; an Activation records what happened.
//
// The package imports only the standard library. It knows no cloud, no
// transport and no store.
package rouse
