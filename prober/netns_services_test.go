//go:build services && linux

package prober

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/internal/netns"
)

// TestNoPacketToDeniedRanges steers the prober towards every range that it must not touch, in a network where each of
// these addresses listens, and counts the packets.
func TestNoPacketToDeniedRanges(t *testing.T) {
	if !netns.Inside(t) {
		return
	}
	const port = 3333
	accepted := netns.Listen(t, "3333")
	denied := netns.Denied()
	for _, s := range []string{"9.9.9.1", "2620:fe::1", "8.8.4.4", "1.1.1.1", "2606:4700:4700::1001"} { // ours, denied, opted out
		denied = append(denied, netip.MustParseAddr(s))
	}
	cfg := DefaultConfig()
	cfg.Connect, cfg.Listen, cfg.Timeout = 2*time.Second, 50*time.Millisecond, 200*time.Millisecond
	cfg.Source = []netip.Addr{netns.Source4, netns.Source6}
	cfg.Own = prefixes("9.9.9.0/24", "2620:fe::/48")
	cfg.Deny = prefixes("8.8.4.0/24", "1.1.1.0/24")
	cfg.Refuse = func(ep minecanary.Endpoint) string {
		if ep.Addr == netip.MustParseAddr("2606:4700:4700::1001") {
			return "opted out"
		}
		return ""
	}
	cfg.GlobalRate, cfg.GlobalBurst, cfg.ClientPerHour, cfg.NetworkPerHour = 1000, 10000, 10000, 10000
	p, err := New(cfg, silentTrail{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddr("10.0.0.7")
	ask := func(addr netip.Addr) minecanary.VerdictStatus {
		t.Helper()
		ep := minecanary.Endpoint{Addr: addr, Port: port, Transport: minecanary.TCP} // in whatever spelling
		r := p.Probe(t.Context(), ep, ProbeOptions{})
		v, err := p.Verify(t.Context(), minecanary.Question{Endpoint: ep, Client: client, Reply: true, Payload: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != v.Status {
			t.Errorf("%s: by hand %s, for a suspect %s", addr, r.Status, v.Status)
		}
		return v.Status
	}

	// What may be asked is asked, so the counting counts.
	packets := netns.Watch(t)
	allowed := []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2606:4700:4700::1111"), netip.MustParseAddr("::ffff:9.8.7.6")}
	for _, addr := range allowed {
		if status := ask(addr); status != minecanary.Inconclusive {
			t.Errorf("%s: %s", addr, status)
		}
	}
	sent := packets.Sent()
	for _, addr := range allowed {
		if n := sent[netns.Target{Protocol: 6, AddrPort: netip.AddrPortFrom(addr.Unmap(), port)}]; n == 0 {
			t.Errorf("no packet to %s was counted", addr)
		}
	}
	if len(accepted()) == 0 || len(sent) != len(allowed) {
		t.Errorf("%d connections, packets to %v", len(accepted()), sent)
	}

	// Nothing else is: not by hand, not for a suspect, not past the first judgement, not while allowed ones are asked.
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3 {
		rng.Shuffle(len(denied), func(i, j int) { denied[i], denied[j] = denied[j], denied[i] })
		for i, addr := range denied {
			if status := ask(addr); status != minecanary.Blocked {
				t.Errorf("%s: %s", addr, status)
			}
			conn, err := p.guard.dial(t.Context(), cfg.Connect, netip.AddrPortFrom(addr, port))
			if !errors.Is(err, errGuard) {
				t.Errorf("dial %s: %v", addr, err)
			}
			if err == nil {
				_ = conn.Close()
			}
			if i%20 == 0 {
				_, err := p.Verify(t.Context(), minecanary.Question{
					Endpoint: minecanary.NewEndpoint(allowed[0], uint16(40000+i), minecanary.TCP), Client: client, Reply: true, Payload: true,
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for target, n := range packets.Sent() {
		if !slices.ContainsFunc(allowed, func(a netip.Addr) bool { return a.Unmap() == target.Addr() }) {
			t.Errorf("%d packets to %v", n, target)
		}
	}
	for _, to := range accepted() {
		if !slices.ContainsFunc(allowed, func(a netip.Addr) bool { return a.Unmap() == to.Addr() }) {
			t.Errorf("a connection to %v", to)
		}
	}

	// The same addresses without the guard: there are packets, to nearly all of them. The rest is what a kernel does not
	// connect to at all: multicast, broadcast, this network, link-local without an interface.
	before := packets.Sent()
	tried := 0
	for _, addr := range denied {
		if addr.IsMulticast() || addr == netns.Source4 || addr == netns.Source6 {
			continue
		}
		tried++
		dialer := net.Dialer{Timeout: time.Second}
		if conn, err := dialer.DialContext(t.Context(), "tcp", netip.AddrPortFrom(addr, port).String()); err == nil {
			_ = conn.Close()
		}
	}
	reached := map[netip.Addr]bool{}
	for target := range maps.Keys(packets.Sent()) {
		if before[target] == 0 && target.Port() == port {
			reached[target.Addr()] = true
		}
	}
	t.Logf("%d addresses refused; without the guard %d of %d get packets", len(denied), len(reached), tried)
	for _, s := range []string{
		"127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "192.168.0.1", "fc00::1", "64:ff9b::a00:1", "2002:7f00:1::1", "2001:0:a00:1::f5ff:fffe", "8.8.4.4",
	} {
		if !reached[netip.MustParseAddr(s)] {
			t.Errorf("without the guard no packet to %s is seen: the counting does not count", s)
		}
	}
}
