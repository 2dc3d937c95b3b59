package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// accessPort is where code finds the platform, on the loopback of its sandbox.
const accessPort = 8700

// accessConnections bounds those of one sandbox that are served at once, and
// those that wait for it.
const accessConnections = 64

// An access is a listener in a room's network namespace, for its code alone. It
// implements net.Listener.
type access struct {
	*net.TCPListener
	slots chan struct{} // holds one for each connection
	ended chan struct{}

	mu   sync.Mutex
	open map[*accessConn]struct{} // guarded by mu; nil once it is closed
}

// newAccess makes the listener in the network namespace that the caller's
// thread is in. The host's loopback is another one: nobody else can connect.
func newAccess() (*access, error) {
	a := &access{slots: make(chan struct{}, accessConnections), ended: make(chan struct{}), open: map[*accessConn]struct{}{}}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // a socket more, and there is one path
	l, err := lc.Listen(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", accessPort))
	if err != nil {
		return nil, fmt.Errorf("open the function's way to the platform: %w", err)
	}
	a.TCPListener = l.(*net.TCPListener)
	if err := a.shorten(); err != nil {
		a.close()
		return nil, fmt.Errorf("open the function's way to the platform: %w", err)
	}
	return a, nil
}

// shorten bounds the connections that wait: as many as are usual on the host
// would let a function fill the kernel's memory.
func (a *access) shorten() error {
	raw, err := a.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), accessConnections) })
	return errors.Join(err, failed)
}

// Accept implements net.Listener. At the bound it waits for a connection to end.
func (a *access) Accept() (net.Conn, error) {
	select {
	case a.slots <- struct{}{}:
	case <-a.ended:
		return nil, net.ErrClosed
	}
	t, err := a.AcceptTCP()
	if err != nil {
		<-a.slots
		return nil, err
	}
	c := &accessConn{TCPConn: t, access: a}
	a.mu.Lock()
	closed := a.open == nil
	if !closed {
		a.open[c] = struct{}{}
	}
	a.mu.Unlock()
	if closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close implements net.Listener.
func (a *access) Close() error {
	a.close()
	return nil
}

// close ends the listener and what it accepted. It is safe to call twice.
func (a *access) close() {
	a.mu.Lock()
	open := a.open
	a.open = nil
	a.mu.Unlock()
	if open == nil {
		return
	}
	close(a.ended)
	_ = a.TCPListener.Close()
	for c := range open {
		_ = c.Close()
	}
}

// An accessConn is one connection of a function.
type accessConn struct {
	*net.TCPConn
	access *access
	once   sync.Once
	err    error
}

// Close implements net.Conn.
func (c *accessConn) Close() error {
	c.once.Do(func() {
		c.err = c.TCPConn.Close()
		c.access.mu.Lock()
		delete(c.access.open, c)
		c.access.mu.Unlock()
		<-c.access.slots
	})
	return c.err
}

// connect opens s's ways out, to the world and to the platform, until s is
// closed. The code has not begun: it finds the ports taken.
func (s *sandbox) connect(egress bool, with *rouse.Access) error {
	if !egress && with == nil {
		return nil
	}
	var a *access
	err := s.inside(func() (err error) {
		if egress {
			if s.net, err = newNetwork(s.driver.log); err != nil {
				return err
			}
		}
		if with != nil {
			a, err = newAccess()
		}
		return err
	})
	if err != nil {
		return err
	}
	if s.net != nil {
		s.net.serve()
	}
	if a == nil {
		return nil
	}
	return s.serve(a, with)
}

func (s *sandbox) serve(a *access, with *rouse.Access) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		a.close()
		return errors.New("the sandbox is closed")
	}
	s.access = a
	s.driver.waiting.Go(func() {
		with.Serve(a)
		a.close()
	})
	return nil
}

// A Client is the source of a module named rouse, with which code uses the
// platform. Code that has a module of that name gets its own.
type Client struct {
	Python string
	Node   string
}

// Folders of the Client's modules, below what sandboxes see as their own.
const (
	pythonModules = "lib/python"
	nodeModules   = "lib/node_modules"
)

// files are the Client's, by path.
func (c Client) files() map[string]string {
	return map[string]string{
		pythonModules + "/rouse.py":         c.Python,
		nodeModules + "/rouse/index.js":     c.Node,
		nodeModules + "/rouse/package.json": `{"name": "rouse", "main": "index.js", "type": "commonjs"}` + "\n",
	}
}

// introduce tells code, by its environment, how it can use the platform.
func (d *Driver) introduce(env map[string]string, with *rouse.Access) {
	for name, dir := range map[string]string{"PYTHONPATH": pythonModules, "NODE_PATH": nodeModules} {
		env[name] = strings.TrimPrefix(env[name]+":"+filepath.Join(d.own, dir), ":")
	}
	if with != nil {
		env["ROUSE_API"] = fmt.Sprintf("http://127.0.0.1:%d", accessPort)
	}
	if with != nil && with.Token != "" {
		env["ROUSE_TOKEN"] = with.Token
	}
}

// join adds the Client to the packages installed in the host folder out, where
// the code brings no package of that name: Node's import, unlike its require,
// looks nowhere else.
func (c Client) join(out string) error {
	root, err := os.OpenRoot(out) // packages may have put links to anywhere
	if err != nil {
		return err
	}
	defer root.Close()
	home := filepath.Base(nodeModules)
	if err := root.Mkdir(filepath.Join(home, "rouse"), 0o755); err != nil {
		return nil // they bring their own, or there are no packages at all
	}
	for name, content := range c.files() {
		if rest, ok := strings.CutPrefix(name, nodeModules); ok {
			if err := root.WriteFile(home+rest, []byte(content), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
