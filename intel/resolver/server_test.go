package resolver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zone is what a test server knows: name (with trailing dot, lower case) to records in the form of a zone file.
type zone map[string][]string

// ServeDNS answers as a recursive server would that has the whole zone: CNAMEs followed, NXDOMAIN for what is not there.
func (z zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	name := strings.ToLower(q.Question[0].Name)
	for range 40 {
		records, ok := z[name]
		if !ok {
			m.Rcode = dns.RcodeNameError
			break
		}
		next := ""
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			if c, is := rr.(*dns.CNAME); is {
				next = strings.ToLower(c.Target)
				m.Answer = append(m.Answer, rr)
			} else if rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			} else if rr.Header().Rrtype == dns.TypeSOA {
				m.Ns = append(m.Ns, rr)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = int(opt.UDPSize())
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		m.Truncate(size)
	} else {
		m.Truncate(dns.MaxMsgSize)
	}
	_ = w.WriteMsg(m)
}

// benchServer answers every A and AAAA question with one record.
func benchServer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 300}
	if h.Rrtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.IPv4(192, 0, 2, 1)}}
	} else {
		m.Answer = []dns.RR{&dns.AAAA{Hdr: h, AAAA: net.ParseIP("2001:db8::1")}}
	}
	_ = w.WriteMsg(m)
}

// counted counts the queries that reach a handler.
type counted struct {
	dns.Handler
	udp, tcp atomic.Int32
}

func (c *counted) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		c.udp.Add(1)
	} else {
		c.tcp.Add(1)
	}
	c.Handler.ServeDNS(w, q)
}

// serve runs a server on UDP and TCP of one port of a loopback address, and gives its address.
func serve(tb testing.TB, host string, h dns.Handler) string {
	tb.Helper()
	var pc net.PacketConn
	var l net.Listener
	for range 20 { // the UDP port may be taken for TCP
		var err error
		if pc, err = net.ListenPacket("udp", net.JoinHostPort(host, "0")); err != nil {
			tb.Skipf("no UDP on %s: %v", host, err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		pc.Close()
	}
	if l == nil {
		tb.Fatal("no port for both UDP and TCP")
	}
	start(tb, &dns.Server{PacketConn: pc, Handler: h})
	start(tb, &dns.Server{Listener: l, Handler: h})
	return pc.LocalAddr().String()
}

// serveTLS runs a server of DNS over TLS whose certificate is for name, and gives its address and authority.
func serveTLS(t *testing.T, name string, h dns.Handler) (string, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	})
	if err != nil {
		t.Fatal(err)
	}
	start(t, &dns.Server{Listener: l, Handler: h})
	return l.Addr().String(), pool
}

func start(tb testing.TB, s *dns.Server) {
	tb.Helper()
	up := make(chan struct{})
	down := make(chan error, 1)
	s.NotifyStartedFunc = func() { close(up) }
	go func() { down <- s.ActivateAndServe() }()
	select {
	case <-up:
	case err := <-down:
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = s.Shutdown()
		if err := <-down; err != nil {
			tb.Error(err)
		}
	})
}

// newResolver makes a resolver without limit unless the configuration has one.
func newResolver(tb testing.TB, cfg Config) *Resolver {
	tb.Helper()
	if cfg.PerZone == 0 {
		cfg.PerZone = Unlimited
	}
	r, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
