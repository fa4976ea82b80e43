package prober

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/audit"
)

func prefixes(s ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(s))
	for i := range s {
		out[i] = netip.MustParsePrefix(s[i])
	}
	return out
}

// TestRefuse judges every form in which an address that must not be asked can be written, and the neighbours of each
// range.
func TestRefuse(t *testing.T) {
	const ok = ""
	bare := func(*Config) {}
	translators := func(c *Config) {
		c.Allow = prefixes("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "2606:4700::/64")
	}
	tests := []struct {
		address string
		change  func(*Config)
		reason  string // a part of it; "" for what may be asked
	}{
		{"8.8.8.8", bare, ok},
		{"2606:4700::1111", bare, ok},
		{"::ffff:8.8.8.8", bare, ok},
		{"0.0.0.0", bare, "unspecified"},
		{"0.255.255.255", bare, "this network"},
		{"1.0.0.0", bare, ok},
		{"9.255.255.255", bare, ok},
		{"10.0.0.0", bare, "private"},
		{"10.255.255.255", bare, "private"},
		{"11.0.0.0", bare, ok},
		{"100.63.255.255", bare, ok},
		{"100.64.0.0", bare, "CGNAT"},
		{"100.127.255.255", bare, "CGNAT"},
		{"100.128.0.0", bare, ok},
		{"126.255.255.255", bare, ok},
		{"127.0.0.1", bare, "loopback"},
		{"127.255.255.255", bare, "loopback"},
		{"169.254.169.254", bare, "link-local"},
		{"172.15.255.255", bare, ok},
		{"172.16.0.0", bare, "private"},
		{"172.31.255.255", bare, "private"},
		{"172.32.0.0", bare, ok},
		{"192.0.2.1", bare, "documentation"},
		{"192.88.99.1", bare, "6to4"},
		{"192.168.0.1", bare, "private"},
		{"198.18.0.1", bare, "benchmarking"},
		{"223.255.255.255", bare, ok},
		{"224.0.0.1", bare, "multicast"},
		{"239.255.255.255", bare, "multicast"},
		{"240.0.0.1", bare, "reserved"},
		{"255.255.255.255", bare, "broadcast"},
		{"::", bare, "unspecified"},
		{"::1", bare, "loopback"},
		{"::8.8.8.8", bare, "IPv4-compatible"},
		{"::ffff:127.0.0.1", bare, "loopback"},
		{"::ffff:10.0.0.1", bare, "private"},
		{"::ffff:169.254.169.254", bare, "link-local"},
		{"::ffff:0:8.8.8.8", bare, "IPv4-translated"},
		{"64:ff9b::8.8.8.8", bare, "NAT64"},
		{"64:ff9b::10.0.0.1", bare, "NAT64"},
		{"64:ff9b:1::8.8.8.8", bare, "NAT64"},
		{"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", bare, "NAT64"},
		{"2001::1", bare, "Teredo"},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", bare, "Teredo"},
		{"2001:db8::1", bare, "documentation"},
		{"2002:808:808::1", bare, "6to4"},
		{"2002:a00:1::1", bare, "6to4"},
		{"2606:4700::5efe:8.8.8.8", bare, "ISATAP"},
		{"2606:4700::200:5efe:8.8.8.8", bare, "ISATAP"},
		{"fc00::1", bare, "unique local"},
		{"fdff:ffff::1", bare, "unique local"},
		{"fe80::1", bare, "link-local"},
		{"fe80::1%eth0", bare, "link-local"},
		{"fec0::1", bare, "site-local"},
		{"ff02::1", bare, "multicast"},
		{"4000::1", bare, "reserved"},

		// Who allows a translator does not allow what is behind it.
		{"64:ff9b::8.8.8.8", translators, ok},
		{"64:ff9b::10.0.0.1", translators, "carries 10.0.0.1: the address is not public: private"},
		{"64:ff9b::127.0.0.1", translators, "loopback"},
		{"64:ff9b::169.254.169.254", translators, "link-local"},
		{"64:ff9b:1:a00:0:100::", translators, "it carries"},
		{"64:ff9b:1:0:a:0:1::", translators, "it carries"},
		{"64:ff9b:1::10.0.0.1", translators, "it carries"},
		{"::10.0.0.1", translators, "private"},
		{"::ffff:0:10.0.0.1", translators, "private"},
		{"2002:808:808::1", translators, ok},
		{"2002:a00:1::1", translators, "carries 10.0.0.1"},
		{"2002:7f00:1::1", translators, "loopback"},
		{"2001:0:808:808::f7f7:f7f7", translators, ok},                 // 8.8.8.8 on both sides
		{"2001:0:808:808::f5ff:fffe", translators, "carries 10.0.0.1"}, // the client
		{"2001:0:a00:1::f7f7:f7f7", translators, "carries 10.0.0.1"},   // the server
		{"2606:4700::5efe:8.8.8.8", translators, ok},
		{"2606:4700::5efe:10.0.0.1", translators, "carries 10.0.0.1"},
		{"64:ff9b::10.0.0.1", func(c *Config) { c.Allow = prefixes("64:ff9b::/96", "10.0.0.0/24") }, ok},
		{"64:ff9b::8.8.8.8", func(c *Config) { c.Allow, c.Deny = prefixes("64:ff9b::/96"), prefixes("8.8.8.0/24") }, "deny list"},

		// Ours, and those who said no.
		{"9.9.9.9", func(c *Config) { c.Own = prefixes("9.9.9.0/24") }, "our own"},
		{"::ffff:9.9.9.9", func(c *Config) { c.Own = prefixes("9.9.9.0/24") }, "our own"},
		{"9.9.9.9", func(c *Config) { c.Own, c.Allow = prefixes("9.9.9.0/24"), prefixes("9.9.9.9/32") }, ok},
		{"9.9.9.9", func(c *Config) { c.Allow, c.Deny = prefixes("9.9.9.9/32"), prefixes("9.9.9.0/24") }, "deny list"},
		{"9.9.9.9", func(c *Config) {
			c.Allow = prefixes("9.9.9.9/32")
			c.Refuse = func(ep minecanary.Endpoint) string { return "asked about " + ep.String() }
		}, "asked about 9.9.9.9:3333"},
		{"::ffff:9.9.9.9", func(c *Config) {
			c.Refuse = func(ep minecanary.Endpoint) string { return "asked about " + ep.String() }
		}, "asked about 9.9.9.9:3333"},
		{"64:ff9b::9.9.9.9", func(c *Config) {
			c.Allow = prefixes("64:ff9b::/96")
			c.Refuse = func(ep minecanary.Endpoint) string {
				if ep.Addr.Is4() {
					return "asked about " + ep.String()
				}
				return ""
			}
		}, "asked about 9.9.9.9:3333"},
		{"2606:4700::1111", func(c *Config) { c.Source = []netip.Addr{netip.MustParseAddr("198.51.100.1")} }, "no source address"},
		{"8.8.8.8", func(c *Config) { c.Source = []netip.Addr{netip.MustParseAddr("198.51.100.1")} }, ok},
	}
	for _, tt := range tests {
		cfg := DefaultConfig()
		tt.change(&cfg)
		g := newGuard(cfg)
		addr := netip.MustParseAddr(tt.address)
		got := g.refuse(addr, 3333)
		if (got == "") != (tt.reason == "") || !strings.Contains(got, tt.reason) {
			t.Errorf("refuse(%s) = %q, want %q", tt.address, got, tt.reason)
		}
		// The dialer's hook says the same of the same address.
		err := g.control("tcp", netip.AddrPortFrom(addr, 3333).String(), nil)
		if (err == nil) != (tt.reason == "") || err != nil && !errors.Is(err, errGuard) {
			t.Errorf("control(%s) = %v, want %q", tt.address, err, tt.reason)
		}
	}
}

// TestNoTranslatorHelps: whatever translator is allowed, an address that is refused is refused in every wrapping.
func TestNoTranslatorHelps(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Allow = prefixes("::/1", "8000::/1")
	g := newGuard(cfg)
	rapid.Check(t, func(t *rapid.T) {
		v4 := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
		fill := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "rest")
		b := v4.As4()
		wrap := func(prefix netip.Prefix, at int, invert byte) netip.Addr {
			var out [16]byte
			copy(out[:], fill)
			p := prefix.Addr().As16()
			copy(out[:prefix.Bits()/8], p[:])
			for i := range 4 {
				out[at+i] = b[i] ^ invert
			}
			return netip.AddrFrom16(out)
		}
		forms := []netip.Addr{
			netip.AddrFrom16(v4.As16()),
			wrap(nat64, 12, 0), wrap(compatible, 12, 0), wrap(translated, 12, 0), wrap(sixToFour, 2, 0), wrap(teredo, 12, 0xff), wrap(teredo, 4, 0),
			wrap(nat64Local, 12, 0), wrap(nat64Local, 9, 0),
		}
		refused := g.refuse(v4, 3333) != ""
		for _, form := range forms {
			if refused && g.refuse(form, 3333) == "" {
				t.Errorf("%s is refused, as %s it is not", v4, form)
			}
		}
	})
}

// TestFlips: the lists may change between the first word and the dialer's; the last one counts.
func TestFlips(t *testing.T) {
	open, opened := counter(t)
	calls := 0
	cfg := DefaultConfig()
	cfg.Allow = prefixes("127.0.0.0/8")
	cfg.DenyPorts = nil
	cfg.Refuse = func(minecanary.Endpoint) string {
		if calls++; calls == 1 {
			return ""
		}
		return "opted out in the meantime"
	}
	p, err := New(cfg, silentTrail{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Probe(t.Context(), minecanary.NewEndpoint(open.Addr(), open.Port(), minecanary.TCP), ProbeOptions{})
	if r.Status != minecanary.Blocked || calls < 2 || opened.Load() != 0 {
		t.Errorf("%s after %d words, %d connections: %s", r.Status, calls, opened.Load(), r.Reason)
	}
}

// budgetTrail keeps when, for whom and whom the prober asked.
type budgetTrail struct {
	mu     sync.Mutex
	probes []audit.Record
	// connections are the times of the probes that the connections belong to, by endpoint.
	connections map[string][]time.Time
}

func (b *budgetTrail) Append(rec audit.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if rec.Event == audit.EventProbe {
		b.probes = append(b.probes, rec)
	} else { // probes are made one after the other
		b.connections[rec.Endpoint] = append(b.connections[rec.Endpoint], b.probes[len(b.probes)-1].Time)
	}
	return nil
}

// TestFlood: somebody makes up flows of some hundred clients to a whole range, in order to have it probed. Without a session
// in both directions not one is asked; with one, every budget is kept at any time.
func TestFlood(t *testing.T) {
	t.Parallel()
	flows := 1_000_000
	if testing.Short() {
		flows = 100_000
	}
	const clients = 300
	const span = 3 * time.Hour
	// The range is loopback, where nobody listens: a connect is refused without a packet on any wire.
	question := func(rng *rand.Rand) minecanary.Question {
		n := rng.Uint32()
		addr := netip.AddrFrom4([4]byte{127, 64, byte(n >> 8), byte(n)})
		if n>>30 == 0 { // a quarter is about a few servers
			addr = netip.AddrFrom4([4]byte{127, 64, 0, byte(n % 3)})
		}
		c := rng.IntN(clients)
		client := netip.AddrFrom4([4]byte{10, 0, byte(c >> 8), byte(c)})
		return minecanary.Question{
			Endpoint: minecanary.NewEndpoint(addr, uint16(1+n>>16%2), minecanary.TCP), Client: client, Why: "flood",
		}
	}
	run := func(t *testing.T, complete func(*minecanary.Question, *rand.Rand)) (*budgetTrail, Config) {
		t.Helper()
		now := epoch
		cfg := DefaultConfig()
		cfg.Allow = prefixes("127.0.0.0/8")
		cfg.DenyPorts = nil
		trail := &budgetTrail{connections: map[string][]time.Time{}}
		p, err := New(cfg, trail, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range flows {
			now = now.Add(span / time.Duration(flows))
			q := question(rng)
			complete(&q, rng)
			if _, err := p.Verify(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		return trail, cfg
	}
	t.Run("one way", func(t *testing.T) {
		trail, _ := run(t, func(q *minecanary.Question, rng *rand.Rand) {
			switch rng.IntN(3) {
			case 0:
				q.Reply = true
			case 1:
				q.Payload = true
			}
		})
		if len(trail.probes)+len(trail.connections) != 0 {
			t.Errorf("%d probes, %d endpoints connected to", len(trail.probes), len(trail.connections))
		}
	})
	t.Run("both ways", func(t *testing.T) {
		trail, cfg := run(t, func(q *minecanary.Question, _ *rand.Rand) { q.Reply, q.Payload = true, true })
		clients, networks := map[string][]time.Time{}, map[string][]time.Time{}
		tokens, last := float64(cfg.GlobalBurst), epoch
		for _, rec := range trail.probes {
			clients[rec.Client] = append(clients[rec.Client], rec.Time)
			n := network(netip.MustParseAddrPort(rec.Endpoint).Addr()).String()
			networks[n] = append(networks[n], rec.Time)
			tokens = min(float64(cfg.GlobalBurst), tokens+rec.Time.Sub(last).Seconds()*cfg.GlobalRate)
			if last = rec.Time; tokens < 1-1e-6 {
				t.Errorf("%v: the rate is exceeded", rec.Time)
			}
			tokens--
		}
		for what, b := range map[string]struct {
			times map[string][]time.Time
			limit int
		}{
			"client":   {clients, cfg.ClientPerHour},
			"network":  {networks, cfg.NetworkPerHour},
			"endpoint": {trail.connections, cfg.ConnectionsPerHour},
		} {
			for who, times := range b.times {
				for i := b.limit; i < len(times); i++ {
					if times[i].Sub(times[i-b.limit]) < time.Hour {
						t.Errorf("%s %s: more than %d from %v to %v", what, who, b.limit, times[i-b.limit], times[i])
					}
				}
			}
		}
		// Five an hour for each client: in three hours the first wave and two more have room.
		if n := len(trail.probes); n < 2*5*len(clients) || n > 3*5*len(clients) {
			t.Errorf("%d probes; the flood should use the budgets up", n)
		}
		t.Logf("%d flows: %d probes for %d clients in %d networks", flows, len(trail.probes), len(clients), len(networks))
	})
}

// BenchmarkRefuse is the guard's word on an address that may be asked.
func BenchmarkRefuse(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Allow = prefixes("10.0.0.0/8")
	g := newGuard(cfg)
	addr := netip.MustParseAddr("2606:4700::1111")
	for b.Loop() {
		if no := g.refuse(addr, 3333); no != "" {
			b.Fatal(no)
		}
	}
}
