package main

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bareName is the first argument by which this program is a bare server.
const bareName = "bare"

//go:embed bare
var bare embed.FS

// unpackBare writes the limit's scripts to a folder, once.
func (b *bench) unpackBare() (string, error) {
	dir := filepath.Join(b.dir, "bare")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, os.CopyFS(b.dir, bare)
}

// bareServe is the limit of the warm path: net/http and nothing else. Args are
// the body that it answers with, or "workers", a number and the command of a
// worker, to whose standard input each request's body goes in a frame, and
// whose frame is the answer. It ends with its standard input.
func bareServe(args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answer := func(body []byte) ([]byte, error) { return []byte(args[0]), nil }
	if args[0] == "workers" {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		free := make(chan *worker, n)
		for range n {
			w, err := startWorker(args[2:]...)
			if err != nil {
				return err
			}
			free <- w
		}
		answer = func(body []byte) ([]byte, error) {
			w := <-free
			defer func() { free <- w }()
			got, err := w.ask(body)
			return bytes.Clone(got), err // the worker's next answer overwrites it
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body, err = answer(body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
}

// A server is a bare one that runs.
type server struct {
	addr string
	took time.Duration // from exec until it listened
	cmd  *exec.Cmd
	in   io.Closer
}

// bareServer starts a bare server.
func (b *bench) bareServer(args ...string) (*server, error) {
	s := &server{cmd: exec.Command("/proc/self/exe", append([]string{bareName}, args...)...)}
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.in = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a bare server did not come up: %w", err), s.stop())
	}
	s.addr = strings.TrimSpace(s.addr)
	if err := s.call().once(context.Background()); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.took = time.Since(began)
	return s, nil
}

// call is the one that it answers.
func (s *server) call() call {
	c := post(s.addr, "/", "", payload).wants(answer)
	c.server = s.cmd.Process.Pid
	return c
}

// stop ends the server and its workers.
func (s *server) stop() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }

// A worker is a process that answers frames.
type worker struct {
	cmd *exec.Cmd
	pipes
}

func startWorker(command ...string) (*worker, error) {
	w := &worker{cmd: exec.Command(command[0], command[1:]...)}
	w.cmd.Stderr = os.Stderr
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.pipes = pipes{to: in, from: out}
	return w, w.cmd.Start()
}

// close ends the process.
func (w *worker) close() error {
	return errors.Join(w.to.Close(), w.cmd.Wait())
}

// pipes are the two ways to a process that answers frames: length (4 bytes,
// little-endian) and JSON.
type pipes struct {
	to      io.WriteCloser
	from    io.ReadCloser
	out, in []byte
}

// ask writes a frame and reads the next, which is valid until the next call.
func (p *pipes) ask(body []byte) ([]byte, error) {
	p.out = binary.LittleEndian.AppendUint32(p.out[:0], uint32(len(body)))
	if _, err := p.to.Write(append(p.out, body...)); err != nil {
		return nil, err
	}
	return p.read()
}

func (p *pipes) read() ([]byte, error) {
	if p.in == nil {
		p.in = make([]byte, 4<<10)
	}
	have := 0
	for have < 4 || have < 4+int(binary.LittleEndian.Uint32(p.in)) {
		if have == len(p.in) {
			return nil, errors.New("a frame that is too long")
		}
		n, err := p.from.Read(p.in[have:])
		if err != nil {
			return nil, fmt.Errorf("a worker ended: %w", err)
		}
		have += n
	}
	return p.in[4:have], nil
}
