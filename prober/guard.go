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

// guard says which endpoints may be asked at all.
type guard struct {
	allow, deny []netip.Prefix
	ports       map[uint16]bool
}

func newGuard(cfg Config) *guard {
	g := &guard{ports: make(map[uint16]bool, len(cfg.DenyPorts))}
	for _, p := range cfg.Allow {
		g.allow = append(g.allow, p.Masked())
	}
	for _, p := range cfg.Deny {
		g.deny = append(g.deny, p.Masked())
	}
	for _, port := range cfg.DenyPorts {
		g.ports[port] = true
	}
	return g
}

// refuse tells why an address and port may not be asked, "" if it may.
func (g *guard) refuse(addr netip.Addr, port uint16) string {
	addr = minecanary.CanonicalAddr(addr)
	switch {
	case port == 0:
		return "port 0 is no service"
	case g.ports[port]:
		return fmt.Sprintf("port %d is on the deny list", port)
	case contains(g.deny, addr):
		return "the address is on the deny list"
	case contains(g.allow, addr):
		return ""
	}
	if reason := minecanary.Reserved(addr); reason != "" {
		return "the address is not public: " + reason
	}
	return ""
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
