// Package spar holds sparring partners for the prober: mining pools that answer as the real software was recorded to
// answer, and everything else a prober may meet, from innocent mail servers to those that mean it harm. They are real
// servers on a loopback address, for tests, demonstrations and trying out a configuration. They mine nothing.
package spar

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a server.
const (
	maxConnections = 256      // open at once unless told otherwise; more are closed at accept
	maxLine        = 64 << 10 // of a request
	maxMethods     = 64       // different ones that are counted
)

// TLS says whether a server speaks TLS.
type TLS uint8

// The ways.
const (
	Plain TLS = iota
	Only      // plain bytes are closed upon
	Auto      // found out from the first byte, as xmrig-proxy does
)

// Foreign says what a pool does with requests of another dialect.
type Foreign uint8

// The ways. AsRecorded is what the software does that the pool is modelled on.
const (
	AsRecorded Foreign = iota
	CloseOn
	SilentOn
	Triple // [20,"Not supported.",null], also to mining.authorize
)

// Options say what a server is.
type Options struct {
	// Addr is the loopback address and port to listen on, "127.0.0.1:0" for any port.
	Addr string
	// All has the server listen on every address of 127.0.0.0/8 at once; Addr gives the port.
	All bool
	// Connections is how many may be open at once, more are closed at accept; 0 for 256.
	Connections int
	// Dialect is one of Pools or Others.
	Dialect string
	TLS     TLS
	// Segments is in how many segments each answer is sent, 0 for one.
	Segments int
	// Delay is how long the first answer of each connection takes.
	Delay time.Duration
	// Foreign is what a pool does with requests of another dialect.
	Foreign Foreign
	// ServerFirst has a pool of the Stratum family send mining.set_difficulty at accept.
	ServerFirst bool
	// CheckWallet has a CryptoNote pool refuse every login, as it does with a wallet that can't be.
	CheckWallet bool
}

// Server is a running sparring partner.
type Server struct {
	opts     Options
	listener net.Listener
	tls      *tls.Config
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	accepted int
	open     map[net.Conn]bool
	methods  map[string]int
	seen     Seen
}

// Seen is the most that a server saw of any one connection.
type Seen struct {
	// Bytes came on one connection, those of TLS included.
	Bytes int64
	// Time is how long one was open, as far as they have ended.
	Time time.Duration
}

// counted counts the bytes that come on a connection.
type counted struct {
	net.Conn
	began time.Time
	read  atomic.Int64
}

// Read counts.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// Pools gives the names of the pools: the four dialects.
func Pools() []string { return slices.Sorted(maps.Keys(pools())) }

// Others gives the names of all that is no pool, innocent or hostile.
func Others() []string { return slices.Sorted(maps.Keys(others())) }

// Start begins to serve, until the context ends or Close is called. Only loopback addresses are served.
func Start(ctx context.Context, opts Options) (*Server, error) {
	ap, err := netip.ParseAddrPort(opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("spar: %w", err)
	}
	if !ap.Addr().Unmap().IsLoopback() {
		return nil, fmt.Errorf("spar: %s is no loopback address", opts.Addr)
	}
	if pools()[opts.Dialect] == nil && others()[opts.Dialect] == nil {
		return nil, fmt.Errorf("spar: unknown dialect %q, want one of %s", opts.Dialect,
			strings.Join(append(Pools(), Others()...), ", "))
	}
	s := &Server{opts: opts, open: make(map[net.Conn]bool), methods: make(map[string]int)}
	if opts.TLS != Plain {
		if s.tls, err = selfSigned(ap.Addr()); err != nil {
			return nil, fmt.Errorf("spar: make a certificate: %w", err)
		}
	}
	var listen net.ListenConfig
	if opts.All {
		// On all addresses of the machine: enter turns away who comes to another than a loopback one.
		ap = netip.AddrPortFrom(netip.IPv4Unspecified(), ap.Port())
	}
	if s.opts.Connections <= 0 {
		s.opts.Connections = maxConnections
	}
	if s.listener, err = listen.Listen(ctx, "tcp", ap.String()); err != nil {
		return nil, fmt.Errorf("spar: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	context.AfterFunc(s.ctx, s.closeAll)
	s.wg.Go(s.accept)
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort {
	ap, err := netip.ParseAddrPort(s.listener.Addr().String())
	if err != nil { // a TCP listener always has an address and port
		return netip.AddrPort{}
	}
	return ap
}

// Accepted is how many connections came so far.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Methods counts the JSON-RPC methods that were asked for.
func (s *Server) Methods() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.methods)
}

// Seen is the most that the server saw so far, of connections that have ended.
func (s *Server) Seen() Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// Close ends all connections and waits for them.
func (s *Server) Close() {
	s.cancel()
	s.closeAll()
	s.wg.Wait()
}

func (s *Server) closeAll() {
	_ = s.listener.Close() // a second time it is closed already
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		_ = conn.Close() // nobody is to be told
	}
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of file descriptors, or the like
			case <-s.ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		conn = &counted{Conn: conn, began: time.Now()}
		if !s.enter(conn) {
			_ = conn.Close()
			continue
		}
		s.wg.Go(func() {
			defer s.leave(conn)
			s.serve(conn)
		})
	}
}

func (s *Server) enter(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	if local, ok := conn.LocalAddr().(*net.TCPAddr); !ok || !local.IP.IsLoopback() {
		return false
	}
	if len(s.open) >= s.opts.Connections || s.ctx.Err() != nil {
		return false
	}
	s.open[conn] = true
	return true
}

func (s *Server) leave(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
	if c, ok := conn.(*counted); ok {
		s.seen.Bytes, s.seen.Time = max(s.seen.Bytes, c.read.Load()), max(s.seen.Time, time.Since(c.began))
	}
}

// peeked is a connection whose first bytes were looked at.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

// Read gives the bytes that were looked at first.
func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// recordHandshake is the first byte of a ClientHello (RFC 8446 section 5.1).
const recordHandshake = 0x16

func (s *Server) serve(conn net.Conn) {
	switch s.opts.TLS {
	case Only:
		conn = tls.Server(conn, s.tls)
	case Auto:
		r := bufio.NewReader(conn)
		first, err := r.Peek(1)
		if err != nil {
			return
		}
		conn = peeked{conn, r}
		if first[0] == recordHandshake {
			conn = tls.Server(conn, s.tls)
		}
	}
	if secured, ok := conn.(*tls.Conn); ok {
		if err := secured.HandshakeContext(s.ctx); err != nil {
			return
		}
	}
	c := &session{Server: s, conn: conn, in: bufio.NewReaderSize(conn, maxLine)}
	if pool := pools()[s.opts.Dialect]; pool != nil {
		c.serve(pool)
		return
	}
	others()[s.opts.Dialect](c)
}

// session is one connection.
type session struct {
	*Server
	conn     net.Conn
	in       *bufio.Reader
	answered bool
}

// wait passes time; false means that the server ends.
func (c *session) wait(d time.Duration) bool {
	if d <= 0 {
		return c.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// pause is how far the segments of an answer are apart.
const pause = 20 * time.Millisecond

// answer sends a text in the configured segments and after the configured delay.
func (c *session) answer(text string) bool {
	if !c.answered {
		c.answered = true
		if !c.wait(c.opts.Delay) {
			return false
		}
	}
	return c.send(text)
}

// send sends a text in the configured segments, now.
func (c *session) send(text string) bool {
	segments := min(max(c.opts.Segments, 1), max(len(text), 1))
	for i := range segments {
		if i > 0 && !c.wait(pause) {
			return false
		}
		if _, err := io.WriteString(c.conn, text[len(text)*i/segments:len(text)*(i+1)/segments]); err != nil {
			return false
		}
	}
	return true
}

// line reads one line without its end.
func (c *session) line() (string, bool) {
	b, err := c.in.ReadSlice('\n')
	if err != nil {
		return "", false
	}
	return strings.TrimRight(string(b), "\r\n"), true
}

// request is what a client says.
type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// next reads the next request; ok is false at the end. What is no JSON has no method and stands in text.
func (c *session) next() (r request, text string, ok bool) {
	text, ok = c.line()
	if !ok {
		return r, "", false
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return request{}, text, true
	}
	if len(r.ID) == 0 {
		r.ID = json.RawMessage("null")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.methods[r.Method] > 0 || len(c.methods) < maxMethods {
		c.methods[r.Method]++
	}
	return r, text, true
}

// selfSigned makes a certificate as pools have them.
func selfSigned(addr netip.Addr) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "spar.minecanary.invalid", Organization: []string{"Minecanary sparring pool"}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
		DNSNames:     []string{"spar.minecanary.invalid"},
		IPAddresses:  []net.IP{addr.Unmap().AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
