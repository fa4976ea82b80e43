package minecanary

import (
	"fmt"
	"net/netip"
	"strings"
)

// Transport is the transport protocol of an endpoint, with IANA's protocol numbers.
type Transport uint8

// The transports a record may name. Other protocol numbers are kept as they are.
const (
	TransportUnknown Transport = 0
	ICMP             Transport = 1
	TCP              Transport = 6
	UDP              Transport = 17
	ICMPv6           Transport = 58
)

// String gives the lower-case name used by Zeek and ECS (tcp, udp, icmp), or the number.
func (t Transport) String() string {
	switch t {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMP:
		return "icmp"
	case ICMPv6:
		return "ipv6-icmp"
	case TransportUnknown:
		return "unknown"
	}
	return fmt.Sprintf("proto-%d", uint8(t))
}

// Endpoint is a server's address, port and transport. Verdicts, probes and feed entries belong to endpoints.
// Addr is canonical: an IPv4 address is never in its IPv4-mapped form and carries no zone (see NewEndpoint).
type Endpoint struct {
	Addr      netip.Addr
	Port      uint16
	Transport Transport
}

// NewEndpoint gives the canonical endpoint: IPv4-mapped addresses become IPv4, zones are dropped.
func NewEndpoint(addr netip.Addr, port uint16, transport Transport) Endpoint {
	return Endpoint{Addr: CanonicalAddr(addr), Port: port, Transport: transport}
}

// CanonicalAddr turns an IPv4-mapped IPv6 address into IPv4 and drops a zone, so that one host has one spelling.
func CanonicalAddr(addr netip.Addr) netip.Addr {
	return addr.Unmap().WithZone("")
}

// ParseEndpoint reads "1.2.3.4:3333" or "[::1]:3333" as a TCP endpoint.
func ParseEndpoint(s string) (Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q is not address:port", s)
	}
	if ap.Port() == 0 {
		return Endpoint{}, fmt.Errorf("%q has no port", s)
	}
	return NewEndpoint(ap.Addr(), ap.Port(), TCP), nil
}

// String gives "1.2.3.4:3333" or "[::1]:3333"; a transport other than TCP is added as "/udp". The zero Endpoint gives "".
func (e Endpoint) String() string {
	if !e.Addr.IsValid() {
		return ""
	}
	s := netip.AddrPortFrom(e.Addr, e.Port).String()
	if e.Transport != TCP {
		s += "/" + e.Transport.String()
	}
	return s
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it reads what MarshalText wrote for TCP and UDP.
func (e *Endpoint) UnmarshalText(b []byte) error {
	s, transport := string(b), TCP
	if rest, ok := strings.CutSuffix(s, "/udp"); ok {
		s, transport = rest, UDP
	}
	parsed, err := ParseEndpoint(s)
	if err != nil {
		return err
	}
	parsed.Transport = transport
	*e = parsed
	return nil
}

// Compare orders endpoints by address, port and transport.
func (e Endpoint) Compare(o Endpoint) int {
	if c := e.Addr.Compare(o.Addr); c != 0 {
		return c
	}
	if e.Port != o.Port {
		return int(e.Port) - int(o.Port)
	}
	return int(e.Transport) - int(o.Transport)
}
