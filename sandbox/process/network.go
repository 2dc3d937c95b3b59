package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// gatewayPort is where a sandbox's outgoing connections arrive.
const gatewayPort = 15001

// maxConnections bounds what one sandbox may have open.
const maxConnections = 1024

// A network lets a sandbox out: its kernel takes every address for its own
// and redirects outgoing TCP to a listener of ours that lives in its namespace
// and dials for it. There is no interface to the host, so nothing gets past.
type network struct {
	tcp  net.Listener
	dns  net.PacketConn
	dnst net.Listener
	log  *slog.Logger
	work sync.WaitGroup
	stop context.CancelFunc
	ctx  context.Context
	slot chan struct{}
}

// newNetwork lets the code whose network namespace the caller's thread is in
// open TCP connections and resolve names, once the network is served.
func newNetwork(log *slog.Logger) (*network, error) {
	n := &network{log: log, slot: make(chan struct{}, maxConnections)}
	n.ctx, n.stop = context.WithCancel(context.Background())
	if err := n.listen(); err != nil {
		n.close()
		return nil, fmt.Errorf("open the function's network: %w", err)
	}
	return n, nil
}

func (n *network) listen() (err error) {
	if err = claimAllAddresses(); err != nil {
		return fmt.Errorf("route: %w", err)
	}
	if err = redirect(gatewayPort); err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // a socket more for each, and there is one path
	if n.tcp, err = lc.Listen(n.ctx, "tcp4", fmt.Sprintf(":%d", gatewayPort)); err != nil {
		return err
	}
	if n.dns, err = lc.ListenPacket(n.ctx, "udp4", "127.0.0.1:53"); err != nil {
		return err
	}
	n.dnst, err = lc.Listen(n.ctx, "tcp4", "127.0.0.1:53")
	return err
}

// serve serves the network until it is closed.
func (n *network) serve() {
	n.work.Go(func() { n.accept(n.tcp, n.forward) })
	n.work.Go(func() { n.accept(n.dnst, n.forwardDNS) })
	n.work.Go(n.resolve)
}

func (n *network) close() {
	n.stop()
	if n.tcp != nil {
		_ = n.tcp.Close()
	}
	if n.dns != nil {
		_ = n.dns.Close()
	}
	if n.dnst != nil {
		_ = n.dnst.Close()
	}
	n.work.Wait()
}

// loopback is the index of lo in every network namespace (LOOPBACK_IFINDEX of
// the kernel's net_namespace.h).
const loopback = 1

// claimAllAddresses makes every IPv4 address local.
func claimAllAddresses() error {
	_, all, err := net.ParseCIDR("0.0.0.0/0")
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: loopback, Dst: all, Type: unix.RTN_LOCAL,
		Scope: netlink.SCOPE_HOST, Table: unix.RT_TABLE_MAIN})
}

// redirect sends outgoing TCP but that to 127.0.0.0/8 to port.
func redirect(port uint16) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "rouse"})
	chain := c.AddChain(&nftables.Chain{Name: "out", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 1}, // first byte of the destination
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{127}},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1, Flags: 2}, // NF_NAT_RANGE_PROTO_SPECIFIED
	}})
	return c.Flush()
}

// accept serves each connection until the listener is closed.
func (n *network) accept(l net.Listener, serve func(*net.TCPConn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		select {
		case n.slot <- struct{}{}:
		default:
			_ = c.Close() // over the bound
			continue
		}
		n.work.Go(func() {
			defer func() { <-n.slot }()
			defer c.Close()
			stop := context.AfterFunc(n.ctx, func() { _ = c.Close() })
			defer stop()
			serve(c.(*net.TCPConn))
		})
	}
}

// forward dials where the function meant to go.
func (n *network) forward(c *net.TCPConn) {
	to, err := destination(c)
	if err == nil && !public(to.Addr()) {
		err = errors.New("not an address that a function may reach")
	}
	if err != nil {
		n.log.Debug("refuse a function's connection", "to", to, "error", err)
		_ = c.SetLinger(0) // a reset, as from a host that does not listen
		return
	}
	n.join(c, to.String())
}

func (n *network) forwardDNS(c *net.TCPConn) { n.join(c, nameserver()) }

func (n *network) join(c *net.TCPConn, to string) {
	up, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(n.ctx, "tcp", to)
	if err != nil {
		_ = c.SetLinger(0)
		return
	}
	defer up.Close()
	stop := context.AfterFunc(n.ctx, func() { _ = up.Close() })
	defer stop()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, up)
		_ = c.CloseWrite()
	})
	_, _ = io.Copy(up, c)
	_ = up.(*net.TCPConn).CloseWrite()
	back.Wait()
}

// public says whether a function with egress may reach a: not the host's
// loopback or link, where services trust whoever comes.
func public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsLinkLocalMulticast() &&
		!a.IsInterfaceLocalMulticast() && !a.IsMulticast() && !a.IsUnspecified() &&
		!netip.MustParsePrefix("0.0.0.0/8").Contains(a) && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// destination is where a redirected connection was to go (SO_ORIGINAL_DST of
// linux/netfilter_ipv4.h).
func destination(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var to netip.AddrPort
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		const originalDestination = 80
		var sa unix.RawSockaddrInet4
		size := uint32(unsafe.Sizeof(sa))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_IP, originalDestination,
			uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
		if e != 0 {
			sockErr = e
			return
		}
		port := (*[2]byte)(unsafe.Pointer(&sa.Port))
		to = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(port[0])<<8|uint16(port[1]))
	})
	return to, errors.Join(err, sockErr)
}

// resolve relays questions to the host's name server.
func (n *network) resolve() {
	buf := make([]byte, 64<<10)
	for {
		size, from, err := n.dns.ReadFrom(buf)
		if err != nil {
			return
		}
		question := append([]byte(nil), buf[:size]...)
		select {
		case n.slot <- struct{}{}:
		default:
			continue // over the bound: the function asks again
		}
		n.work.Go(func() {
			defer func() { <-n.slot }()
			n.relay(question, from)
		})
	}
}

func (n *network) relay(question []byte, from net.Addr) {
	up, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(n.ctx, "udp", nameserver())
	if err != nil {
		return
	}
	defer up.Close()
	_ = up.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := up.Write(question); err != nil {
		return
	}
	answer := make([]byte, 64<<10)
	size, err := up.Read(answer)
	if err != nil {
		return
	}
	_, _ = n.dns.WriteTo(answer[:size], from)
}

// nameserver is the host's first, with its port.
func nameserver() string {
	b, _ := os.ReadFile("/etc/resolv.conf")
	for line := range strings.Lines(string(b)) {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "nameserver" {
			return net.JoinHostPort(w[1], "53")
		}
	}
	return "127.0.0.1:53" // as resolv.conf(5) says
}
