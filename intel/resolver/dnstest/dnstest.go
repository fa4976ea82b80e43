// Package dnstest is a DNS server on a loopback address for tests: what it answers is a function, so a zone can change with
// a clock that the test moves, and a server can fail, loop or lie.
package dnstest

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Code says how a server answers when it has nothing to tell.
type Code string

// The codes. A NoError without addresses and alias is a name that exists and has none.
const (
	NoError  Code = ""
	NXDomain Code = "nxdomain"
	ServFail Code = "servfail"
	Refused  Code = "refused"
)

// DefaultTTL is that of records without one.
const DefaultTTL = time.Minute

// Answer is what a server says of one name.
type Answer struct {
	Code Code
	// Addrs are the addresses of both families, as they are told: any number, any order, any address.
	Addrs []netip.Addr
	// Alias is the target of a CNAME; then Addrs do not count. The server follows it through its own zone.
	Alias string
	// TTL is of all records, to the second; 0 is DefaultTTL.
	TTL time.Duration
}

// Zone says what the server answers of a name, in lower case and without the trailing dot. It is called from several
// goroutines at once.
type Zone func(name string) Answer

// maxAliases is how many aliases the server follows by itself, as recursive servers do.
const maxAliases = 8

// ServeDNS implements dns.Handler. What does not fit into a datagram is truncated.
func (z Zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Compress = true
	name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	for range maxAliases {
		a := z(strings.TrimSuffix(name, "."))
		if m.Rcode = rcode(a.Code); m.Rcode != dns.RcodeSuccess {
			break
		}
		if a.TTL == 0 {
			a.TTL = DefaultTTL
		}
		head := dns.RR_Header{Name: name, Rrtype: qtype, Class: dns.ClassINET, Ttl: uint32(a.TTL / time.Second)}
		if a.Alias != "" {
			head.Rrtype, name = dns.TypeCNAME, dns.Fqdn(a.Alias)
			m.Answer = append(m.Answer, &dns.CNAME{Hdr: head, Target: name})
			continue
		}
		for _, addr := range a.Addrs {
			switch {
			case addr.Is4() && qtype == dns.TypeA:
				m.Answer = append(m.Answer, &dns.A{Hdr: head, A: addr.AsSlice()})
			case addr.Is6() && qtype == dns.TypeAAAA:
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: head, AAAA: addr.AsSlice()})
			}
		}
		break
	}
	size := dns.MaxMsgSize
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size = dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
	}
	m.Truncate(size)
	_ = w.WriteMsg(m) // who asked may have gone
}

func rcode(c Code) int {
	switch c {
	case NXDomain:
		return dns.RcodeNameError
	case ServFail:
		return dns.RcodeServerFailure
	case Refused:
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

// Serve runs a server for a zone on a port of 127.0.0.1 until the test ends, and gives its address for resolver.Config.
func Serve(tb testing.TB, z Zone) string {
	tb.Helper()
	return Listen(tb, "127.0.0.1", z)
}

// attempts is how many ports are tried: that of UDP may be taken for TCP.
const attempts = 20

// Listen runs a handler on UDP and TCP of one port of a loopback address until the test ends, and gives its address. The
// test is skipped if the machine has no such address.
func Listen(tb testing.TB, host string, h dns.Handler) string {
	tb.Helper()
	for range attempts {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			tb.Skipf("no UDP on %s: %v", host, err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			_ = pc.Close()
			continue
		}
		Start(tb, &dns.Server{PacketConn: pc, Handler: h})
		Start(tb, &dns.Server{Listener: l, Handler: h})
		return pc.LocalAddr().String()
	}
	tb.Fatal("no port for both UDP and TCP")
	return ""
}

// Start runs a server whose listener is open until the test ends.
func Start(tb testing.TB, s *dns.Server) {
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
		_ = s.Shutdown() // it may have ended
		if err := <-down; err != nil {
			tb.Error(err)
		}
	})
}
