package resolver

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// The bounds of connections.
const (
	// ednsSize is the UDP payload we take, in bytes: what the DNS flag day of 2020 settled on, for it is not fragmented.
	ednsSize = 1232
	// maxMessage is the greatest DNS message: its length has 16 bits. Servers that ignore ednsSize are read all the same.
	maxMessage = 1<<16 - 1
	// socketQueries is after how many queries a UDP socket gives way to one with another port.
	socketQueries = 1000
	// streamQueries is the same for TCP and TLS: there are servers that close at 128 (CoreDNS's library does).
	streamQueries = 100
	// socketOdd is after how many datagrams that answer nothing it does so: somebody may be guessing.
	socketOdd = 64
	// perSocket is how many names are asked at once, for each of Config.Sockets. With DefaultSockets all questions under
	// way fit into one socket of the server: the usual receive buffer (212,992 bytes) holds 277 short datagrams, which
	// take 768 bytes each.
	perSocket = 32
)

// The ports of DNS and of DNS over TLS (RFC 7858).
const (
	dnsPort = 53
	dotPort = 853
)

var errConnClosed = errors.New("connection closed")

// server is one configured server and the connections to it.
type server struct {
	label  string // as it was configured
	addr   netip.AddrPort
	stream bool        // never by UDP
	tls    *tls.Config // nil without TLS
	source netip.Addr  // invalid for any

	mu      sync.Mutex
	sockets []*conn // UDP; nil until they are needed
	turn    int
	tcp     *conn
	closed  bool
	// gate is held while a stream is being opened, so that there is one of it.
	gate chan struct{}
}

// parseServer reads "127.0.0.1", "127.0.0.1:53", "[::1]:53", "udp://…", "tcp://…" or "tls://…#name".
func parseServer(s string, cfg Config) (*server, error) {
	sv := &server{label: s, sockets: make([]*conn, cfg.Sockets), gate: make(chan struct{}, 1)}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "udp", s
	}
	port := uint16(dnsPort)
	rest, name, hasName := strings.Cut(rest, "#")
	switch scheme {
	case "udp":
	case "tcp":
		sv.stream = true
	case "tls":
		sv.stream, port = true, dotPort
	default:
		return nil, fmt.Errorf("server %q: only udp, tcp and tls are known", s)
	}
	if hasName && (scheme != "tls" || name == "") {
		return nil, fmt.Errorf("server %q: #name is the name in a TLS server's certificate", s)
	}
	addr, err := netip.ParseAddrPort(rest)
	if err != nil {
		host, parseErr := netip.ParseAddr(strings.Trim(rest, "[]"))
		if parseErr != nil {
			return nil, fmt.Errorf("server %q is no address with or without port", s)
		}
		addr = netip.AddrPortFrom(host, port)
	}
	if addr.Port() == 0 {
		return nil, fmt.Errorf("server %q has port 0", s)
	}
	sv.addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if scheme == "tls" {
		if name == "" {
			name = sv.addr.Addr().WithZone("").String()
		}
		sv.tls = &tls.Config{ServerName: name, RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}
	}
	if cfg.Source.IsValid() {
		if cfg.Source.Unmap().Is4() != sv.addr.Addr().Is4() {
			return nil, fmt.Errorf("server %q: the source %s is of the other family", s, cfg.Source)
		}
		sv.source = cfg.Source.Unmap()
	}
	return sv, nil
}

// datagram gives a UDP socket for n questions. Who has it releases it.
func (s *server) datagram(ctx context.Context, n int) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.turn = (s.turn + 1) % len(s.sockets)
	c := s.sockets[s.turn]
	if c.take(n) {
		return c, nil
	}
	d := net.Dialer{}
	if s.source.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.source, 0))
	}
	nc, err := d.DialContext(ctx, "udp", s.addr.String()) // sends nothing
	if err != nil {
		return nil, err
	}
	s.sockets[s.turn] = newConn(nc, false, n)
	return s.sockets[s.turn], nil
}

// streamed gives the TCP or TLS connection for n questions, opening it if there is none. Who has it releases it.
func (s *server) streamed(ctx context.Context, n int) (*conn, error) {
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	c, closed := s.tcp, s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if c.take(n) {
		return c, nil
	}
	d := &net.Dialer{}
	if s.source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.source, 0))
	}
	var nc net.Conn
	var err error
	if s.tls != nil {
		nc, err = (&tls.Dialer{NetDialer: d, Config: s.tls}).DialContext(ctx, "tcp", s.addr.String())
	} else {
		nc, err = d.DialContext(ctx, "tcp", s.addr.String())
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = nc.Close() // nothing was sent
		return nil, ErrClosed
	}
	s.tcp = newConn(nc, true, n)
	return s.tcp, nil
}

// close ends all connections and refuses further ones.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	all := append([]*conn{s.tcp}, s.sockets...)
	s.mu.Unlock()
	for _, c := range all {
		if c != nil {
			c.fail()
			<-c.gone
		}
	}
}

// conn is one connection on which many questions are under way at once. Its reader hands each reply to who asked.
type conn struct {
	net    net.Conn
	stream bool
	gone   chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	calls   map[uint16]*call
	users   int // who took it and did not release it
	taken   int // questions it was taken for
	odd     int
	heard   time.Time // when something last came in
	retired bool      // nobody takes it any more; it closes with its last user
	closed  bool
}

// call is a question under way.
type call struct {
	question
	index int
	done  chan<- arrival // with room for it
}

// arrival is a reply with the index of its call. It has code unreachable if the connection broke.
type arrival struct {
	index int
	reply
}

// newConn makes a connection that is taken for n questions.
func newConn(nc net.Conn, stream bool, n int) *conn {
	c := &conn{net: nc, stream: stream, calls: map[uint16]*call{}, users: 1, taken: n, gone: make(chan struct{})}
	go c.read()
	return c
}

// take takes the connection for n questions. It is false if there is none, or it has had enough, and then retires.
func (c *conn) take(n int) bool {
	if c == nil {
		return false
	}
	limit := socketQueries
	if c.stream {
		limit = streamQueries
	}
	c.mu.Lock()
	if c.closed || c.retired || c.taken+n > limit || c.odd >= socketOdd {
		c.retired = true
		last := c.users == 0
		c.mu.Unlock()
		if last {
			c.fail()
		}
		return false
	}
	c.users++
	c.taken += n
	c.mu.Unlock()
	return true
}

// release ends what take or newConn began.
func (c *conn) release() {
	c.mu.Lock()
	c.users--
	last := c.retired && c.users == 0
	c.mu.Unlock()
	if last {
		c.fail()
	}
}

// send puts a question. Its reply goes to done, once, also if it cannot be sent, unless the id that send gives is
// forgotten before. After an error nothing goes there.
func (c *conn) send(cl *call, edns bool, timeout time.Duration) (id uint16, err error) {
	var m dns.Msg
	m.SetQuestion(cl.name+".", cl.qtype)
	if edns {
		m.SetEdns0(ednsSize, false)
	}
	var space [2 + 512]byte // the length before a message on a stream, and room for any question
	b, err := m.PackBuffer(space[2:])
	if err != nil {
		return 0, err
	}

	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, errConnClosed
	}
	// At most a few hundred of 65,536 ids are taken. The generator is ChaCha8, seeded by the system.
	for id = uint16(rand.Uint32()); c.calls[id] != nil; id = uint16(rand.Uint32()) {
	}
	c.calls[id] = cl
	c.mu.Unlock()

	binary.BigEndian.PutUint16(b, id)
	if c.stream {
		b = append(binary.BigEndian.AppendUint16(space[:0], uint16(len(b))), b...)
		err = c.net.SetWriteDeadline(time.Now().Add(timeout))
	}
	if err == nil {
		_, err = c.net.Write(b)
	}
	if err != nil {
		// Half a message may be on the stream. On a socket the error can be that an earlier datagram came back as
		// unreachable, which the reader then does not hear.
		c.fail()
	}
	return id, nil
}

// forget gives up a question.
func (c *conn) forget(id uint16) {
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
}

// silent tells whether nothing has come in since t.
func (c *conn) silent(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.heard.After(t)
}

// fail closes the connection; whoever waits is told.
func (c *conn) fail() {
	c.mu.Lock()
	calls := c.calls
	closed := c.closed
	c.calls, c.closed = nil, true
	c.mu.Unlock()
	if closed {
		return
	}
	_ = c.net.Close() // it is of no more use, whatever this says
	for _, cl := range calls {
		cl.done <- arrival{cl.index, reply{code: unreachable}}
	}
}

// read hands out replies until the connection ends.
func (c *conn) read() {
	defer close(c.gone)
	defer c.fail()
	buf := make([]byte, maxMessage)
	for {
		n, err := c.receive(buf)
		if err != nil {
			return // a stream that ended, or a datagram that came back as unreachable
		}
		if !c.hand(buf[:n]) && c.stream {
			return // what answers nothing has no business on a stream
		}
	}
}

// receive reads one message.
func (c *conn) receive(buf []byte) (int, error) {
	if !c.stream {
		return c.net.Read(buf)
	}
	var length [2]byte
	if _, err := io.ReadFull(c.net, length[:]); err != nil {
		return 0, err
	}
	return io.ReadFull(c.net, buf[:binary.BigEndian.Uint16(length[:])])
}

// hand gives a message to the call it answers. It is false if there is none such, unless the call was just given up.
func (c *conn) hand(b []byte) bool {
	if len(b) < 2 {
		return c.stray()
	}
	id := binary.BigEndian.Uint16(b)
	c.mu.Lock()
	cl := c.calls[id]
	c.heard = time.Now()
	c.mu.Unlock()
	if cl == nil {
		// On a stream that is the late reply to a question that was given up.
		return c.stray() || c.stream
	}
	r, ok := decode(b, cl.question)
	if !ok {
		return c.stray()
	}
	c.mu.Lock()
	mine := c.calls[id] == cl
	if mine {
		delete(c.calls, id)
	}
	c.mu.Unlock()
	if mine {
		cl.done <- arrival{cl.index, r}
	}
	return true
}

// stray counts a message that answers nothing. It is always false.
func (c *conn) stray() bool {
	c.mu.Lock()
	c.odd++
	c.mu.Unlock()
	return false
}
