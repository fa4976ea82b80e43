package prober

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	minecanary "github.com/minecanary/minecanary"
)

// SOCKS5 names a proxy that all connections go through (RFC 1928). It is given literal addresses alone, so that no name is
// ever resolved on the way, and only those that the guard has agreed to.
type SOCKS5 struct {
	// Addr is the proxy's address and port; the zero value for none. The guard's rules do not hold for it, as it is
	// dialled exactly as it stands here.
	Addr netip.AddrPort
	// User and Password are what we log in with (RFC 1929), at most 255 bytes each; "" for no login.
	User, Password string
}

// maxLogin is the longest user or password in bytes (RFC 1929 section 2).
const maxLogin = 255

// check tells what is wrong with it.
func (s SOCKS5) check() error {
	switch {
	case s == SOCKS5{}:
		return nil
	case !s.Addr.IsValid() || s.Addr.Port() == 0 || s.Addr.Addr().Is4In6():
		return fmt.Errorf("SOCKS5 proxy %v is not an address with a port", s.Addr)
	case len(s.User) > maxLogin || len(s.Password) > maxLogin || (s.User == "") != (s.Password == ""):
		return fmt.Errorf("user and password of the SOCKS5 proxy go together and have at most %d bytes", maxLogin)
	}
	return nil
}

// egress is the way out.
type egress struct {
	source []netip.Addr
	proxy  SOCKS5
}

func newEgress(cfg Config) egress { return egress{source: cfg.Source, proxy: cfg.Proxy} }

// refuse tells why an address cannot be reached on the configured way, "" if it can: who names a source address does not
// want to be seen with another one.
func (e egress) refuse(addr netip.Addr) string {
	if !e.proxy.Addr.IsValid() && len(e.source) > 0 && e.from(addr) == nil {
		return "no source address of its family is configured"
	}
	return ""
}

// from gives the configured source address for a destination, nil if there is none.
func (e egress) from(to netip.Addr) net.Addr {
	i := slices.IndexFunc(e.source, func(a netip.Addr) bool { return a.Is4() == to.Is4() })
	if i < 0 {
		return nil
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(e.source[i], 0))
}

// errProxy marks that the proxy cannot be used: nothing is known of the endpoint then.
var errProxy = errors.New("SOCKS5 proxy")

// dial makes one connection on the configured way, within the time, if the address may be asked.
func (g *guard) dial(ctx context.Context, within time.Duration, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	to = plainAddr(to)
	// The control hook judges it once more, but of a proxied connection it sees the proxy's address alone.
	if reason := g.refuse(to.Addr(), to.Port()); reason != "" {
		return nil, fmt.Errorf("%w: %s", errGuard, reason)
	}
	hop, control := to, g.control
	proxy := g.egress.proxy
	if proxy.Addr.IsValid() {
		hop, control = proxy.Addr, proxy.control
	}
	network := "tcp6"
	if hop.Addr().Is4() {
		network = "tcp4"
	}
	dialer := net.Dialer{KeepAlive: -1, Control: control, LocalAddr: g.egress.from(hop.Addr())}
	conn, err := dialer.DialContext(ctx, network, hop.String())
	if err != nil {
		if proxy.Addr.IsValid() {
			return nil, fmt.Errorf("%w: %v", errProxy, err) //nolint:errorlint // how it failed says nothing about the endpoint
		}
		return nil, err
	}
	g.made.add(conn)
	if !proxy.Addr.IsValid() {
		return conn, nil
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = proxy.connect(conn, to)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, errProxy) {
			err = ctx.Err()
		}
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// control lets nothing pass but the proxy as it is configured.
func (s SOCKS5) control(_, address string, _ syscall.RawConn) error {
	if address != s.Addr.String() {
		return fmt.Errorf("%w: %s is not the proxy", errGuard, address)
	}
	return nil
}

// The numbers of RFC 1928 and RFC 1929 that are used.
const (
	socksVersion  = 5
	loginVersion  = 1
	methodNone    = 0
	methodLogin   = 2
	commandTCP    = 1
	addressIPv4   = 1
	addressDomain = 3
	addressIPv6   = 4
)

// replies are those of RFC 1928 section 6 that tell about the endpoint; the others are about the proxy.
var replies = map[byte]error{
	3: syscall.ENETUNREACH,
	4: syscall.EHOSTUNREACH,
	5: syscall.ECONNREFUSED,
	6: syscall.ETIMEDOUT, // TTL expired
}

// connect has the proxy make a connection. It reads no byte beyond the proxy's reply.
func (s SOCKS5) connect(conn io.ReadWriter, to netip.AddrPort) error {
	method := byte(methodNone)
	if s.User != "" {
		method = methodLogin
	}
	var buf [maxLogin + 2]byte
	read := func(n int) error {
		_, err := io.ReadFull(conn, buf[:n])
		return err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", errProxy, fmt.Sprintf(format, args...))
	}
	if _, err := conn.Write([]byte{socksVersion, 1, method}); err != nil {
		return fail("greet: %v", err)
	}
	if err := read(2); err != nil {
		return fail("greet: %v", err)
	}
	if buf[0] != socksVersion || buf[1] != method {
		return fail("it answers version %d, method %d; want %d, %d", buf[0], buf[1], socksVersion, method)
	}
	if method == methodLogin {
		login := append([]byte{loginVersion, byte(len(s.User))}, s.User...)
		login = append(append(login, byte(len(s.Password))), s.Password...)
		if _, err := conn.Write(login); err != nil {
			return fail("log in: %v", err)
		}
		if err := read(2); err != nil {
			return fail("log in: %v", err)
		}
		if buf[0] != loginVersion || buf[1] != 0 {
			return fail("the login is refused with %d", buf[1])
		}
	}
	family := byte(addressIPv6)
	if to.Addr().Is4() {
		family = addressIPv4
	}
	request := append([]byte{socksVersion, commandTCP, 0, family}, to.Addr().AsSlice()...)
	request = append(request, byte(to.Port()>>8), byte(to.Port()))
	if _, err := conn.Write(request); err != nil {
		return fail("ask for a connection: %v", err)
	}
	if err := read(4); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return err // the time was over, while the proxy tried
		}
		return fail("ask for a connection: %v", err)
	}
	version, reply := buf[0], buf[1]
	rest := 0
	switch buf[3] {
	case addressIPv4:
		rest = 4
	case addressIPv6:
		rest = 16
	case addressDomain:
		if err := read(1); err != nil {
			return fail("read its reply: %v", err)
		}
		rest = int(buf[0])
	default:
		return fail("address type %d is none", buf[3])
	}
	if version != socksVersion {
		return fail("it answers version %d", version)
	}
	if err := read(rest + 2); err != nil {
		return fail("read its reply: %v", err)
	}
	if reply == 0 {
		return nil
	}
	if err, ok := replies[reply]; ok {
		return fmt.Errorf("the proxy says: %w", err)
	}
	return fail("it refuses with %d", reply)
}

// made is one of our connections.
type made struct{ local, remote netip.AddrPort }

// connections remembers the last MaxTracked that were made.
type connections struct {
	mu    sync.RWMutex
	known map[made]struct{}
	ring  []made // the oldest at next once it is full
	next  int
}

// add remembers a connection.
func (c *connections) add(conn net.Conn) {
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	remote, okay := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !okay {
		return
	}
	m := made{plainAddr(local.AddrPort()), plainAddr(remote.AddrPort())}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[made]struct{})
	}
	if _, again := c.known[m]; again {
		return
	}
	if len(c.ring) < MaxTracked {
		c.ring = append(c.ring, m)
	} else {
		delete(c.known, c.ring[c.next])
		c.ring[c.next] = m
		c.next = (c.next + 1) % MaxTracked
	}
	c.known[m] = struct{}{}
}

// plainAddr gives the canonical spelling.
func plainAddr(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(minecanary.CanonicalAddr(ap.Addr()), ap.Port())
}

// Made tells whether a connection from local to remote, both canonical, is one of the last MaxTracked that this Prober
// made: a sensor that sees it saw us. It is cheap, and safe for concurrent use.
func (p *Prober) Made(local, remote netip.AddrPort) bool {
	c := &p.guard.made
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, ok := c.known[made{local, remote}]
	return ok
}
