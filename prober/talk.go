package prober

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/minecanary/minecanary/prober/dialect"
)

// Outcome is how a connection ended.
type Outcome string

// The outcomes.
const (
	Answered       Outcome = "answered"         // whole messages came
	Silent         Outcome = "silent"           // it stayed open and no whole message came
	Closed         Outcome = "closed"           // the server closed without a message
	Reset          Outcome = "reset"            // the server reset without a message
	Refused        Outcome = "refused"          // the connect was refused
	Unreachable    Outcome = "unreachable"      // no route, or ICMP said so
	ConnectTimeout Outcome = "connect-timeout"  // nobody answered the connect
	NoHandshake    Outcome = "no-tls-handshake" // the ClientHello drew no TLS handshake
	OverBounds     Outcome = "over-bounds"      // more bytes, or a longer line, than are read
	CutOff         Outcome = "cut-off"          // we ended it: the time was over or the question answered
	Guarded        Outcome = "guarded"          // the guard refused the address in the last moment; no packet was sent
	NoProxy        Outcome = "no-proxy"         // the SOCKS5 proxy cannot be used; nothing was sent to the endpoint
	Failed         Outcome = "failed"           // another error of the network
)

// unconnected tells that no connection came about.
func (o Outcome) unconnected() bool {
	return o == Refused || o == Unreachable || o == ConnectTimeout || o == Guarded || o == NoProxy || o == Failed
}

// Talk is one connection of a probe.
type Talk struct {
	// Dialect is what was spoken; "jarm" for a connection of the TLS fingerprint.
	Dialect string
	TLS     bool
	// Local is the address we asked from; the zero value if no connection came about.
	Local netip.AddrPort
	// BytesSent and BytesRead count the connection's bytes, those of TLS included.
	BytesSent, BytesRead int64
	Started              time.Time
	Duration             time.Duration
	Outcome              Outcome
	// HTTP tells that the server answered in HTTP, Lines that it sent a JSON object, Noise that it sent nothing but as many
	// bytes as a Stratum V2 responder, WantsTLS that it asked for TLS on this plain connection.
	// Switching that in HTTP it offered or took up another protocol (426, 101), or could not answer for now (429, 502 to 504).
	HTTP, Lines, Noise, WantsTLS, Switching bool
	// Finding is what this connection alone tells.
	Finding dialect.Finding
	// Certificate is one printable line about the server's certificate, "" without TLS.
	Certificate string
	// Transcript holds what was said: at most MaxTranscript elements of at most MaxMessage bytes.
	Transcript []string
}

// task is a connection to make.
type task struct {
	dialect  string
	requests []dialect.Request
	write    func(*task)            // writes requests, again and confirm down before the connection is made; nil if they are
	session  func() dialect.Session // instead of requests
	http     bool                   // the session begins with an HTTP request
	tls      bool
	listen   bool // the server may speak first
	brief    bool // a connection before it has waited for what may follow the answer
	// again is asked next if this form is closed upon; confirm if the answer is strong.
	again, confirm []dialect.Request
}

// signal is what a running talk tells while it runs.
type signal uint8

const (
	heard signal = iota // the first byte came, below TLS
	shook               // the TLS handshake is done
	quiet               // we asked, and for a while no message came
)

// speaker makes connections to one endpoint.
type speaker struct {
	cfg    *Config
	guard  *guard
	addr   netip.AddrPort
	name   string // SNI
	signal func(signal)
}

// talk makes one connection and says what the task says. The context ends it at any time.
func (s *speaker) talk(ctx context.Context, t task) (out Talk) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectionTime)
	defer cancel()
	began := time.Now()
	out = Talk{Dialect: t.dialect, TLS: t.tls, Started: began.UTC()}
	defer func() { out.Duration = time.Since(began) }()

	conn, err := s.guard.dial(ctx, s.cfg.Connect, s.addr)
	if err != nil {
		out.Outcome = dialOutcome(ctx, err)
		return out
	}
	defer conn.Close() //nolint:errcheck // nothing is left to be written
	// Closing is the one way to end a read that needs no deadline.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		out.Local = local.AddrPort()
	}
	bound := &boundConn{Conn: conn}
	c := &conversation{speaker: s, conn: bound, bound: bound, reader: dialect.NewReader()}
	defer func() {
		out.BytesSent, out.BytesRead = bound.sent, bound.read
		out.Transcript = c.said.lines()
	}()
	if t.tls {
		secured, err := s.handshake(ctx, bound)
		if err != nil {
			out.Outcome = NoHandshake
			if ctx.Err() != nil {
				out.Outcome = CutOff
			}
			return out
		}
		c.conn = secured
		out.Certificate = describe(secured.ConnectionState())
		s.signal(shook)
	}
	if t.session != nil {
		session := t.session()
		err = c.lead(session)
		session.End()
		out.Finding = session.Finding()
	} else {
		err = c.run(t)
	}
	out.Outcome = c.outcome(ctx, err)
	out.HTTP, out.Lines = c.reader.HTTP(), c.reader.Objects() > 0
	out.Switching = c.reader.Switching()
	out.Noise = c.got == noiseLength && c.binary && c.reader.Objects() == 0
	if out.WantsTLS = !t.tls && (c.alert || c.reader.WantsTLS()); out.WantsTLS {
		out.Finding = dialect.Finding{Level: dialect.Noise, Summary: "it wants TLS"}
	}
	if f := c.reader.End(); out.Finding.Level == dialect.Nothing {
		out.Finding = f
	} else {
		out.Outcome = Answered
	}
	return out
}

// dialOutcome tells why a connect failed.
func dialOutcome(ctx context.Context, err error) Outcome {
	var timeout net.Error
	switch {
	case errors.Is(err, errGuard):
		return Guarded
	case errors.Is(err, errProxy):
		return NoProxy
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case ctx.Err() != nil:
		return CutOff
	case errors.As(err, &timeout) && timeout.Timeout():
		return ConnectTimeout
	}
	return Failed
}

// handshake does one TLS handshake. The certificate is never verified: pools sign their own, and nothing we say is
// secret. Old versions and ciphers are taken for the same reason.
func (s *speaker) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Handshake)
	defer cancel()
	var suites []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		suites = append(suites, suite.ID)
	}
	secured := tls.Client(conn, &tls.Config{
		ServerName:             s.name,
		InsecureSkipVerify:     true,
		MinVersion:             tls.VersionTLS10,
		CipherSuites:           suites,
		SessionTicketsDisabled: true,
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return secured, nil
}

// mostNames is how many names of a certificate are told.
const mostNames = 5

// describe gives one printable line about a TLS connection's certificate.
func describe(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return tls.VersionName(state.Version) + " without a certificate"
	}
	leaf := state.PeerCertificates[0]
	names := certificateNames(leaf)
	more := ""
	if len(names) > mostNames {
		more = fmt.Sprintf(" and %d more", len(names)-mostNames)
		names = names[:mostNames]
	}
	return fmt.Sprintf("%s, certificate sha256 %x, valid %s to %s, subject %s, names %s%s", tls.VersionName(state.Version),
		sha256.Sum256(leaf.Raw), leaf.NotBefore.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.DateOnly),
		dialect.Quote([]byte(leaf.Subject.String()), 128), dialect.Quote([]byte(strings.Join(names, " ")), 128), more)
}

// certificateNames gives the subject alternative names that are host names or addresses.
func certificateNames(leaf *x509.Certificate) []string {
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// segmentSize is how much is read at once: more than most answers have, as thousands of connections may wait for one.
const segmentSize = 2 << 10

// conversation is one connection under way.
type conversation struct {
	*speaker
	conn   net.Conn // TLS or not
	bound  *boundConn
	reader *dialect.Reader
	said   transcript
	buf    [segmentSize]byte
	heard  bool
	alert  bool
	got    int  // bytes, those of TLS left out
	binary bool // some of them are no text
}

// errDecided ends a conversation that has given its proof, for or against.
var errDecided = errors.New("decided")

// run listens if it shall, then says one message after the other, each when the one before was answered. nil means that
// the time for an answer, or for more after it, is over.
func (c *conversation) run(t task) error {
	if t.listen {
		if err := c.listen(); err != nil {
			return err
		}
	}
	for i, request := range t.requests {
		if err := c.conn.SetWriteDeadline(time.Now().Add(c.cfg.Connect)); err != nil {
			return err
		}
		if _, err := c.conn.Write(request.Line); err != nil {
			return err
		}
		c.reader.Sent(request)
		c.said.sent(request.Line)
		answered, err := c.hear(i == len(t.requests)-1, t.brief)
		if err != nil || !answered {
			return err
		}
	}
	return nil
}

// maxTurns bounds the messages of ours in a session.
const maxTurns = 8

// noiseLength is what a Stratum V2 responder says to any 64 bytes (specification, 04 Protocol Security, act 2).
const noiseLength = 234

// isAlert tells a TLS alert (RFC 8446 sections 5.1 and 6): record type, version 3.0 to 3.4, a length of two, level and
// description. All of it is looked at, as noise may begin with any two bytes.
func isAlert(b []byte) bool {
	return len(b) >= 7 && b[0] == 0x15 && b[1] == 3 && b[2] <= 4 && b[3] == 0 && b[4] == 2 && (b[5] == 1 || b[5] == 2)
}

// first takes note of a segment, of the first above all: a TLS alert is what a server of TLS says to plain text, and no message.
func (c *conversation) first(b []byte) {
	c.got += len(b)
	c.binary = c.binary || !utf8.Valid(b)
	if c.heard || c.alert {
		return
	}
	if _, secured := c.conn.(*tls.Conn); !secured && isAlert(b) {
		c.alert = true
		return
	}
	c.heard = true
	c.signal(heard)
}

// lead speaks a dialect that is not spoken in lines.
func (c *conversation) lead(session dialect.Session) error {
	say := session.Open()
	for range maxTurns {
		if err := c.conn.SetWriteDeadline(time.Now().Add(c.cfg.Connect)); err != nil {
			return err
		}
		if _, err := c.conn.Write(say); err != nil {
			return err
		}
		c.said.sent(say)
		say = nil
		now := time.Now()
		until, quietAt, told := now.Add(c.cfg.Timeout), now.Add(c.cfg.Quiet), false
		for say == nil {
			wait := until
			if !told && quietAt.Before(until) {
				wait = quietAt
			}
			b, err := c.segment(wait)
			if len(b) > 0 {
				quietAt = time.Now().Add(c.cfg.Quiet)
				_ = c.reader.Feed(b) // a line too long for it may be none in this dialect
				var done bool
				if say, done = session.Take(b); done {
					return errDecided
				}
			}
			switch now := time.Now(); {
			case errors.Is(err, os.ErrDeadlineExceeded) && now.Before(until):
				if !told && !now.Before(quietAt) {
					told = true
					c.signal(quiet)
				}
			case err != nil && say == nil:
				return err
			}
		}
	}
	return nil
}

// listen gives the server time to speak first. One that speaks in something other than messages is not asked.
func (c *conversation) listen() error {
	until := time.Now().Add(c.cfg.Listen)
	for {
		err := c.read(until)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.reader.Alien() {
				return errDecided
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// hear reads until the last request was answered, or the time for it is over. After the last request it listens on for
// what may follow the answer, briefly if that was waited for before.
func (c *conversation) hear(last, brief bool) (answered bool, err error) {
	now := time.Now()
	until, quietAt := now.Add(c.cfg.Timeout), now.Add(c.cfg.Quiet)
	before, lines := c.reader.Answers(), c.reader.Lines()
	told, settling := false, false
	for {
		wait := until
		if !told && quietAt.Before(until) {
			wait = quietAt
		}
		err := c.read(wait)
		now := time.Now()
		if n := c.reader.Lines(); n > lines {
			lines, quietAt = n, now.Add(c.cfg.Quiet)
		}
		answered = c.reader.Answers() > before
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && now.Before(until):
			// Beside one that has proved itself no other is begun.
			if !told && !now.Before(quietAt) && c.reader.Finding().Level < dialect.Proof {
				told = true
				c.signal(quiet)
			}
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return answered, nil
		case err != nil:
			return answered, err
		case answered && !last:
			return true, nil
		}
		if !settling && (answered || c.reader.Finding().Level == dialect.Proof) {
			settling = true
			more := c.cfg.Settle
			if brief || c.reader.Finding().Level < dialect.Strong && !c.reader.HTTP() {
				more /= 4 // little follows a refusal; an HTTP response has a body
			}
			if end := now.Add(more); end.Before(until) {
				until = end
			}
		}
	}
}

// segment takes one segment, which is good until the next, and what ended the read; both may come together.
func (c *conversation) segment(until time.Time) ([]byte, error) {
	if err := c.conn.SetReadDeadline(until); err != nil {
		return nil, err
	}
	n, err := c.conn.Read(c.buf[:])
	if n > 0 {
		c.first(c.buf[:n])
		c.said.received(c.buf[:n])
	}
	return c.buf[:n], err
}

// read takes one segment, or fails with os.ErrDeadlineExceeded, errDecided or what ended the connection.
func (c *conversation) read(until time.Time) error {
	b, err := c.segment(until)
	if len(b) > 0 {
		if err := c.reader.Feed(b); err != nil {
			return err
		}
		if c.reader.Decided() {
			return errDecided
		}
	}
	return err
}

// outcome names how the conversation ended.
func (c *conversation) outcome(ctx context.Context, err error) Outcome {
	switch {
	case errors.Is(err, dialect.ErrLine), errors.Is(err, errReadBound), errors.Is(err, errSendBound):
		return OverBounds
	case c.reader.Lines() > 0, errors.Is(err, errDecided):
		return Answered
	case ctx.Err() != nil:
		return CutOff
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return Silent
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Closed
	}
	return Failed
}
