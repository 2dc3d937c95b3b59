//go:build wasip1

// Command guest is what the tests run as a wasm module: it does what the first
// word of its input says.
package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() { os.Exit(do()) }

var calls int

//go:wasmexport handle
func handle() {
	if code := do(); code != 0 {
		os.Exit(code)
	}
}

func say(s ...string) { os.Stdout.WriteString(strings.Join(s, " ")) }

func do() int {
	calls++
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	word, rest, _ := strings.Cut(string(in), " ")
	switch word {
	case "echo":
		say(rest)
	case "calls":
		say(strconv.Itoa(calls))
	case "exit":
		code, _ := strconv.Atoi(rest)
		return code
	case "panic":
		panic(rest)
	case "env":
		say(os.Args[0], os.Getenv(rest))
	case "log":
		os.Stderr.WriteString(rest + "\n")
		os.Stderr.WriteString("no end")
	case "read":
		b, err := os.ReadFile(rest)
		say(string(b), strconv.FormatBool(err != nil))
	case "write":
		err1 := os.WriteFile(rest, []byte("x"), 0o644)
		f, err2 := os.OpenFile("/fn/data.txt", os.O_RDWR, 0)
		if err2 == nil {
			_, err2 = f.Write([]byte("x"))
		}
		say(strconv.FormatBool(err1 != nil), strconv.FormatBool(err2 != nil), strconv.FormatBool(os.Remove("/fn/data.txt") != nil))
	case "files":
		n := 0
		for n < 10_000 {
			if _, err := os.Open("/fn/data.txt"); err != nil {
				break
			}
			n++
		}
		say(strconv.Itoa(n))
	case "grow":
		var held [][]byte
		for {
			held = append(held, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "huge":
		b := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		for range 1024 {
			if _, err := os.Stdout.Write(b); err != nil {
				return 9
			}
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "spin":
		for {
			calls++
		}
	case "random":
		say(strconv.FormatUint(rand.Uint64(), 16))
	case "work":
		say(strconv.Itoa(work(2_000_000)))
	}
	return 0
}

//go:noinline
func work(n int) int {
	primes := 0
	for i := 2; i < n/100; i++ {
		prime := true
		for j := 2; j*j <= i; j++ {
			if i%j == 0 {
				prime = false
				break
			}
		}
		if prime {
			primes++
		}
	}
	return primes
}
