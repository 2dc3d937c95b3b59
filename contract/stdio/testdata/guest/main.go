//go:build wasip1

// Command guest does what the first word of its input says.
package main

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	word, rest, _ := strings.Cut(string(in), " ")
	switch word {
	case "echo":
		os.Stdout.WriteString(rest)
	case "words":
		for w := range strings.FieldsSeq(rest) {
			os.Stdout.WriteString(w)
		}
	case "pages": // more than is held back
		for w := range strings.FieldsSeq(rest) {
			os.Stdout.WriteString(strings.Repeat(w, 70<<10))
		}
	case "exit":
		os.Stdout.WriteString("half")
		code, _ := strconv.Atoi(rest)
		os.Exit(code)
	case "grow":
		var held [][]byte
		for {
			held = append(held, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "huge":
		for {
			if _, err := os.Stdout.Write(make([]byte, 64<<10)); err != nil {
				os.Exit(9)
			}
		}
	case "spin":
		os.Stdout.WriteString("spinning")
		for n := 0; ; n++ {
		}
	}
}
