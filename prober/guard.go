package prober

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	minecanary "github.com/minecanary/minecanary"
)

// errGuard marks a refusal of the guard, also when the dialer wrapped it.
var errGuard = errors.New("refused by the guard")

// guard says which endpoints may be asked at all, and makes the connections, so that none is made without its word.
type guard struct {
	allow, deny, own []netip.Prefix
	ports            map[uint16]bool
	lists            func(minecanary.Endpoint) string // nil: there are none
	egress           egress
	made             connections
}

func newGuard(cfg Config) *guard {
	g := &guard{ports: make(map[uint16]bool, len(cfg.DenyPorts)), lists: cfg.Refuse, egress: newEgress(cfg)}
	for _, p := range cfg.Allow {
		g.allow = append(g.allow, p.Masked())
	}
	for _, p := range cfg.Deny {
		g.deny = append(g.deny, p.Masked())
	}
	for _, p := range cfg.Own {
		g.own = append(g.own, p.Masked())
	}
	for _, port := range cfg.DenyPorts {
		g.ports[port] = true
	}
	return g
}

// refuse tells why an address and port may not be asked, "" if it may.
//
// An IPv6 address that carries IPv4 ones to be reached by a translator or a relay is judged by those as well: where
// somebody has allowed the translator's network, the address behind it still has to be one that may be asked.
func (g *guard) refuse(addr netip.Addr, port uint16) string {
	addr = minecanary.CanonicalAddr(addr)
	switch {
	case port == 0:
		return "port 0 is no service"
	case g.ports[port]:
		return fmt.Sprintf("port %d is on the deny list", port)
	}
	if reason := g.refuseAddr(addr); reason != "" {
		return reason
	}
	for _, inside := range carried(addr) {
		if reason := g.refuseAddr(inside); reason != "" {
			return fmt.Sprintf("it carries %s: %s", inside, reason)
		}
	}
	if g.lists != nil {
		for _, a := range append(carried(addr), addr) {
			if reason := g.lists(minecanary.NewEndpoint(a, port, minecanary.TCP)); reason != "" {
				return reason
			}
		}
	}
	return g.egress.refuse(addr)
}

// refuseAddr judges one address, not what it carries.
func (g *guard) refuseAddr(addr netip.Addr) string {
	switch {
	case contains(g.deny, addr):
		return "the address is on the deny list"
	case contains(g.allow, addr):
		return ""
	case contains(g.own, addr):
		return "the address is in a network of our own"
	}
	if reason := minecanary.Reserved(addr); reason != "" {
		return "the address is not public: " + reason
	}
	return ""
}

// Networks whose addresses carry IPv4 addresses: IPv4-compatible (RFC 4291 section 2.5.5.1), IPv4-translated (RFC 2765),
// NAT64 (RFC 6052 section 2.1; RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380).
var (
	compatible = netip.MustParsePrefix("::/96")
	translated = netip.MustParsePrefix("::ffff:0:0:0/96")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

// carried gives the IPv4 addresses in an IPv6 address: of Teredo the server's and the client's. Where in 64:ff9b:1::/48 it
// stands depends on a configuration that is not ours (RFC 6052 section 2.2), so that every place counts.
func carried(addr netip.Addr) []netip.Addr {
	if !addr.Is6() || addr.IsLoopback() {
		return nil // ::1 stands among the IPv4-compatible ones and carries nothing
	}
	b := addr.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case nat64Local.Contains(addr):
		return []netip.Addr{
			last,
			netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}),
			netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]}),
			netip.AddrFrom4([4]byte(b[9:])),
		}
	case compatible.Contains(addr), translated.Contains(addr), nat64.Contains(addr):
		return []netip.Addr{last}
	case sixToFour.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte(b[2:]))}
	case teredo.Contains(addr):
		// Section 4: the client's address stands there with all bits inverted.
		return []netip.Addr{netip.AddrFrom4([4]byte(b[4:])), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214 section 6.1
		return []netip.Addr{last}
	}
	return nil
}

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// control is the last word before the connect call: it judges the literal address that the system will be given
// (net.Dialer.Control).
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no literal address", errGuard, address)
	}
	if reason := g.refuse(ap.Addr(), ap.Port()); reason != "" {
		return fmt.Errorf("%w: %s", errGuard, reason)
	}
	return nil
}
