//go:build wasip1

// Command hello-wasm-go is a reactor: its module is kept, and handle is called
// for each event. The payload is standard input, the result standard output.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var calls int

// handle answers one event.
//
//go:wasmexport handle
func handle() {
	event := struct{ Name string }{Name: "world"}
	if err := json.NewDecoder(os.Stdin).Decode(&event); err != nil {
		fmt.Fprintln(os.Stderr, "the payload is not JSON:", err)
		os.Exit(1)
	}
	calls++
	fmt.Printf(`{"message":"Hello, %s!","calls":%d}`, event.Name, calls)
}

func main() {} // a reactor has none, but Go wants one
