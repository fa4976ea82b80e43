package prober

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/spar"
)

// counter accepts connections, counts them and closes them.
func counter(t *testing.T) (netip.AddrPort, *atomic.Int64) {
	t.Helper()
	count := new(atomic.Int64)
	return serve(t, func(net.Conn) { count.Add(1) }), count
}

// serve listens on loopback and runs do with each connection, which is closed after it.
func serve(t *testing.T, do func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	open := map[net.Conn]bool{}
	var mu sync.Mutex
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				do(conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// proxy is a SOCKS5 server that connects to whatever it is asked for, and keeps what it was asked.
type proxy struct {
	user, password string
	reply          byte // other than 0: refuse with it
	mu             sync.Mutex
	asked          []string
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// serve speaks RFC 1928 and RFC 1929 with one client.
func (p *proxy) serve(conn net.Conn) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	say := func(b ...byte) bool {
		_, err := conn.Write(b)
		return err == nil
	}
	head := read(2)
	methods := read(int(head[1]))
	if len(methods) == 0 {
		return // it went before it said anything
	}
	method := methods[0]
	if p.user == "" && method != 0 || p.user != "" && method != 2 {
		say(5, 0xff)
		return
	}
	say(5, method)
	if method == 2 {
		user := string(read(int(read(2)[1])))
		password := string(read(int(read(1)[0])))
		if user != p.user || password != p.password {
			say(1, 1)
			return
		}
		say(1, 0)
	}
	head = read(4)
	var addr netip.Addr
	switch head[3] {
	case 1:
		addr, _ = netip.AddrFromSlice(read(4))
	case 4:
		addr, _ = netip.AddrFromSlice(read(16))
	default:
		return
	}
	port := read(2)
	to := netip.AddrPortFrom(addr, uint16(port[0])<<8|uint16(port[1]))
	p.mu.Lock()
	p.asked = append(p.asked, to.String())
	p.mu.Unlock()
	if p.reply != 0 {
		say(5, p.reply, 0, 1, 0, 0, 0, 0, 0, 0)
		return
	}
	server, err := net.Dial("tcp", to.String())
	if err != nil {
		say(5, 5, 0, 1, 0, 0, 0, 0, 0, 0)
		return
	}
	defer server.Close()
	say(5, 0, 0, 3, 4, 'h', 'o', 's', 't', 0, 80)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(conn, server)
		_ = conn.Close()
	}()
	_, _ = io.Copy(server, conn)
	_ = server.Close()
	<-done
}

// proxied is a configuration that asks on loopback through a proxy.
func proxied(addr netip.AddrPort, user, password string) Config {
	cfg := DefaultConfig()
	cfg.Allow = prefixes("127.0.0.0/8")
	cfg.DenyPorts = nil
	cfg.Connect, cfg.Handshake, cfg.Listen, cfg.Timeout, cfg.Settle = 10*time.Second, 10*time.Second, 50*time.Millisecond, 10*time.Second, time.Second
	cfg.Proxy = SOCKS5{Addr: addr, User: user, Password: password}
	return cfg
}

// TestSOCKS5 asks a pool through a proxy.
func TestSOCKS5(t *testing.T) {
	t.Parallel()
	pool, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: "stratum-v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	ep := minecanary.NewEndpoint(pool.Addr().Addr(), pool.Addr().Port(), minecanary.TCP)
	tests := []struct {
		name   string
		server *proxy
		user   string
		status minecanary.VerdictStatus
		reason string
	}{
		{"without login", &proxy{}, "", minecanary.Confirmed, ""},
		{"with login", &proxy{user: "u", password: "secret"}, "u", minecanary.Confirmed, ""},
		{"wrong user", &proxy{user: "v", password: "secret"}, "u", minecanary.Blocked, "SOCKS5 proxy"},
		{"login wanted", &proxy{user: "v", password: "secret"}, "", minecanary.Blocked, "SOCKS5 proxy"},
		{"not allowed", &proxy{reply: 2}, "", minecanary.Blocked, "SOCKS5 proxy"},
		{"general failure", &proxy{reply: 1}, "", minecanary.Blocked, "SOCKS5 proxy"},
		{"refused", &proxy{reply: 5}, "", minecanary.Inconclusive, "refused"},
		{"no route", &proxy{reply: 3}, "", minecanary.Inconclusive, "unreachable"},
		{"no host", &proxy{reply: 4}, "", minecanary.Inconclusive, "unreachable"},
		{"too far", &proxy{reply: 6}, "", minecanary.Inconclusive, "connect-timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			password := ""
			if tt.user != "" {
				password = "secret"
			}
			p, err := New(proxied(serve(t, tt.server.serve), tt.user, password), silentTrail{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := p.Probe(t.Context(), ep, ProbeOptions{})
			if r.Status != tt.status || !strings.Contains(r.Reason, tt.reason) || strings.Contains(r.Reason, "secret") {
				t.Errorf("%s: %s; want %s, %q", r.Status, r.Reason, tt.status, tt.reason)
			}
			for _, asked := range tt.server.requests() {
				if asked != ep.String() {
					t.Errorf("the proxy was asked for %s, want %s", asked, ep)
				}
			}
		})
	}
}

// TestSOCKS5Guard: the proxy hears nothing of an address that must not be asked, and it alone is dialled.
func TestSOCKS5Guard(t *testing.T) {
	t.Parallel()
	at, opened := counter(t)
	cfg := proxied(at, "", "")
	cfg.Allow = nil
	p, err := New(cfg, silentTrail{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"127.0.0.1:3333", "10.0.0.1:3333", "169.254.169.254:80", "[::1]:3333", "[::ffff:10.0.0.1]:3333", "[64:ff9b::8.8.8.8]:3333", at.String(),
	} {
		to := netip.MustParseAddrPort(s)
		r := p.Probe(t.Context(), minecanary.NewEndpoint(to.Addr(), to.Port(), minecanary.TCP), ProbeOptions{})
		if r.Status != minecanary.Blocked {
			t.Errorf("%s: %s, %s", s, r.Status, r.Reason)
		}
		if _, err := p.guard.dial(t.Context(), time.Second, to); !errors.Is(err, errGuard) {
			t.Errorf("dial %s: %v", s, err)
		}
	}
	if err := cfg.Proxy.control("tcp4", "127.0.0.1:1", nil); !errors.Is(err, errGuard) {
		t.Errorf("control of another address than the proxy's = %v", err)
	}
	if n := opened.Load(); n != 0 {
		t.Errorf("%d connections to the proxy", n)
	}
	// What may be asked goes there: the counter hangs up, and that is the proxy's fault.
	if _, err := p.guard.dial(t.Context(), time.Second, netip.MustParseAddrPort("8.8.8.8:3333")); !errors.Is(err, errProxy) {
		t.Errorf("dial through a proxy that hangs up = %v", err)
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections to the proxy, want 1", n)
	}
}

// TestSOCKS5Stalls: a proxy that says nothing costs the time of a connect.
func TestSOCKS5Stalls(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string][]byte{"greeting": nil, "connect": {5, 0}} {
		at := serve(t, func(conn net.Conn) {
			_, _ = conn.Write(answer)
			_, _ = io.Copy(io.Discard, conn)
		})
		g := newGuard(proxied(at, "", ""))
		began := time.Now()
		conn, err := g.dial(t.Context(), time.Second, netip.MustParseAddrPort("127.0.0.1:3333"))
		if err == nil {
			_ = conn.Close()
		}
		if took := time.Since(began); err == nil || took > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		want := ConnectTimeout
		if name == "greeting" {
			want = NoProxy
		}
		if got := dialOutcome(t.Context(), err); got != want {
			t.Errorf("%s: outcome %s, want %s: %v", name, got, want, err)
		}
	}
	// Nobody listens there.
	g := newGuard(proxied(netip.MustParseAddrPort("127.0.0.1:1"), "", ""))
	_, err := g.dial(t.Context(), time.Second, netip.MustParseAddrPort("127.0.0.1:3333"))
	if got := dialOutcome(t.Context(), err); got != NoProxy {
		t.Errorf("outcome %s, want %s: %v", got, NoProxy, err)
	}
}

// script answers from a text and keeps what was said.
type script struct {
	io.Reader
	said bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) { return s.said.Write(b) }

// TestSOCKS5Bytes compares what is said with RFC 1928, and leaves the server's first words where they are.
func TestSOCKS5Bytes(t *testing.T) {
	tests := []struct {
		name   string
		proxy  SOCKS5
		to     string
		answer string
		said   string
		left   string
		fails  string
	}{
		{"IPv4", SOCKS5{}, "192.0.2.1:3333", "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38hello", "\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x0d\x05", "hello", ""},
		{"IPv6", SOCKS5{}, "[2001:db8::1]:443", "\x05\x00\x05\x00\x00\x04" + strings.Repeat("\x00", 18) + "x", "\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb", "x", ""},
		{"login", SOCKS5{User: "ab", Password: "c"}, "192.0.2.1:1", "\x05\x02\x01\x00\x05\x00\x00\x03\x02hi\x00\x01x", "\x05\x01\x02\x01\x02ab\x01c\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x01", "x", ""},
		{"bad login", SOCKS5{User: "ab", Password: "c"}, "192.0.2.1:1", "\x05\x02\x01\x01", "\x05\x01\x02\x01\x02ab\x01c", "", "login is refused"},
		{"SOCKS4", SOCKS5{}, "192.0.2.1:1", "\x00\x5a", "\x05\x01\x00", "", "version 0"},
		{"HTTP", SOCKS5{}, "192.0.2.1:1", "HTTP/1.1 400", "\x05\x01\x00", "TP/1.1 400", "version 72"},
		{"another method", SOCKS5{}, "192.0.2.1:1", "\x05\x02", "\x05\x01\x00", "", "method 2"},
		{"no method", SOCKS5{}, "192.0.2.1:1", "\x05\xff", "\x05\x01\x00", "", "method 255"},
		{"cut off", SOCKS5{}, "192.0.2.1:1", "\x05\x00\x05\x00", "\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x01", "", "EOF"},
		{"bad type", SOCKS5{}, "192.0.2.1:1", "\x05\x00\x05\x00\x00\x07xx", "\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x01", "xx", "address type 7"},
		{"other version", SOCKS5{}, "192.0.2.1:1", "\x05\x00\x04\x00\x00\x01xx", "\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x01", "xx", "version 4"},
	}
	for _, tt := range tests {
		s := &script{Reader: strings.NewReader(tt.answer)}
		err := tt.proxy.connect(s, netip.MustParseAddrPort(tt.to))
		if (err == nil) != (tt.fails == "") || err != nil && (!strings.Contains(err.Error(), tt.fails) || !errors.Is(err, errProxy)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.fails)
		}
		if diff := cmp.Diff(tt.said, s.said.String()); diff != "" {
			t.Errorf("%s: said (-want +got):\n%s", tt.name, diff)
		}
		left, _ := io.ReadAll(s.Reader)
		if string(left) != tt.left {
			t.Errorf("%s: %q is left, want %q", tt.name, left, tt.left)
		}
	}
}

// FuzzSOCKS5: whatever a proxy answers, no panic, no more read than a reply has, and an agreement only if it said so.
func FuzzSOCKS5(f *testing.F) {
	f.Add([]byte("\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38hello"), false)
	f.Add([]byte("\x05\x02\x01\x00\x05\x00\x00\x03\x02hi\x00\x01x"), true)
	f.Add([]byte("\x05\x00\x05\x05\x00\x04"), false)
	f.Fuzz(func(t *testing.T, answer []byte, login bool) {
		proxy := SOCKS5{}
		at := 2
		if login {
			proxy.User, proxy.Password = "u", "p"
			at = 4
		}
		r := bytes.NewReader(answer)
		err := proxy.connect(&script{Reader: r}, netip.MustParseAddrPort("192.0.2.1:3333"))
		read := len(answer) - r.Len()
		if read > at+4+1+255+2 {
			t.Errorf("%d bytes were read", read)
		}
		if err == nil && (answer[0] != 5 || answer[at] != 5 || answer[at+1] != 0) {
			t.Errorf("%q is taken for an agreement", answer[:read])
		}
	})
}

// TestSource: connections come from the configured address.
func TestSource(t *testing.T) {
	t.Parallel()
	from := make(chan string, 100)
	at := serve(t, func(conn net.Conn) { from <- conn.RemoteAddr().String() })
	cfg := proxied(netip.AddrPort{}, "", "")
	cfg.Proxy = SOCKS5{}
	cfg.Source = []netip.Addr{netip.MustParseAddr("127.0.0.77")}
	p, err := New(cfg, silentTrail{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Probe(t.Context(), minecanary.NewEndpoint(at.Addr(), at.Port(), minecanary.TCP), ProbeOptions{})
	if len(r.Talks) == 0 || len(from) == 0 {
		t.Fatalf("no connection: %s", r.Reason)
	}
	seen := netip.MustParseAddrPort(<-from)
	if seen.Addr().String() != "127.0.0.77" {
		t.Errorf("the server saw %s", seen)
	}
	// The prober knows its connections again, and no others.
	if !p.Made(seen, at) {
		t.Errorf("Made(%s, %s) = false", seen, at)
	}
	other := netip.AddrPortFrom(seen.Addr(), seen.Port()^1)
	if p.Made(other, at) || p.Made(seen, netip.AddrPortFrom(at.Addr(), at.Port()^1)) || p.Made(at, seen) {
		t.Error("Made knows connections that were not made")
	}
	six := minecanary.NewEndpoint(netip.MustParseAddr("2606:4700::1111"), 3333, minecanary.TCP)
	if r := p.Probe(t.Context(), six, ProbeOptions{}); r.Status != minecanary.Blocked {
		t.Errorf("IPv6 without a source: %s, %s", r.Status, r.Reason)
	}
}

// ends is a connection with nothing but its ends.
type ends struct {
	net.Conn
	local, remote *net.TCPAddr
}

func (e ends) LocalAddr() net.Addr  { return e.local }
func (e ends) RemoteAddr() net.Addr { return e.remote }

// TestConnectionsAreBounded: the oldest are forgotten.
func TestConnectionsAreBounded(t *testing.T) {
	var c connections
	at := func(i int) ends {
		ip := net.IPv4(192, byte(i>>16), byte(i>>8), byte(i))
		return ends{local: &net.TCPAddr{IP: ip, Port: 40000}, remote: &net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 3333}}
	}
	const all = MaxTracked + 1000
	for i := range all {
		c.add(at(i))
		c.add(at(i))
	}
	if len(c.known) != MaxTracked || len(c.ring) != MaxTracked {
		t.Errorf("%d known, %d in order; want %d", len(c.known), len(c.ring), MaxTracked)
	}
	for _, i := range []int{all - 1, all - MaxTracked} {
		e := at(i)
		if _, ok := c.known[made{plainAddr(e.local.AddrPort()), plainAddr(e.remote.AddrPort())}]; !ok {
			t.Errorf("connection %d of %d is forgotten", i, all)
		}
	}
}

// TestEgressConfig tries what must not be configured.
func TestEgressConfig(t *testing.T) {
	addr := netip.MustParseAddr
	good := netip.MustParseAddrPort("192.0.2.9:1080")
	tests := []struct {
		name   string
		source []netip.Addr
		proxy  SOCKS5
		ok     bool
	}{
		{"nothing", nil, SOCKS5{}, true},
		{"both families", []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}, SOCKS5{}, true},
		{"two of one", []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}, SOCKS5{}, false},
		{"mapped", []netip.Addr{addr("::ffff:192.0.2.1")}, SOCKS5{}, false},
		{"zone", []netip.Addr{addr("fe80::1%eth0")}, SOCKS5{}, false},
		{"none", []netip.Addr{{}}, SOCKS5{}, false},
		{"unspecified", []netip.Addr{addr("::")}, SOCKS5{}, false},
		{"proxy", nil, SOCKS5{Addr: good}, true},
		{"login", nil, SOCKS5{Addr: good, User: "u", Password: "p"}, true},
		{"half a login", nil, SOCKS5{Addr: good, User: "u"}, false},
		{"login without a proxy", nil, SOCKS5{User: "u", Password: "p"}, false},
		{"long login", nil, SOCKS5{Addr: good, User: "u", Password: strings.Repeat("p", maxLogin+1)}, false},
		{"no port", nil, SOCKS5{Addr: netip.AddrPortFrom(good.Addr(), 0)}, false},
		{"source of the other family", []netip.Addr{addr("2001:db8::1")}, SOCKS5{Addr: good}, false},
	}
	for _, tt := range tests {
		cfg := DefaultConfig()
		cfg.Source, cfg.Proxy = tt.source, tt.proxy
		if err := cfg.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}

// TestDialEnds: a context that ends leaves no connection through the proxy behind.
func TestDialEnds(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	at := serve(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte{5, 0})
		cancel()
		_, _ = io.Copy(io.Discard, conn)
		close(gone)
	})
	g := newGuard(proxied(at, "", ""))
	if _, err := g.dial(ctx, 30*time.Second, netip.MustParseAddrPort("127.0.0.1:3333")); err == nil {
		t.Error("no error")
	}
	<-gone
}
