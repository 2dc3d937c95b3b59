// Command main is a function: the payload comes in on standard input, and what
// it writes to standard output is the result.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	event := struct{ Name string }{Name: "world"}
	if err := json.NewDecoder(os.Stdin).Decode(&event); err != nil && err != io.EOF {
		fmt.Fprintln(os.Stderr, "the payload is not JSON:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "greeting", event.Name) // goes to the log
	answer := map[string]string{"message": "Hello, " + event.Name + "!"}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		os.Exit(1)
	}
}
