package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/internal/budgettest"
	"github.com/minecanary/minecanary/prober/audit"
	"github.com/minecanary/minecanary/prober/dialect"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func tcp(s string) minecanary.Endpoint {
	ap := netip.MustParseAddrPort(s)
	return minecanary.NewEndpoint(ap.Addr(), ap.Port(), minecanary.TCP)
}

func TestMemoryPurse(t *testing.T) {
	budgettest.Run(t, func(_ testing.TB, size int) budgettest.Harness {
		var mu sync.Mutex
		now := epoch
		p := newMemoryPurse(func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}, size)
		return budgettest.Harness{Purse: p, Other: p, Advance: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
		}}
	})
}

// TestTablesAreBounded: nothing is kept beyond the bound, in none of the tables.
func TestTablesAreBounded(t *testing.T) {
	const size = 8
	now := epoch
	m := newMemoryPurse(func() time.Time { return now }, size)
	for i := range 100 {
		c := minecanary.ProbeCost{
			Client: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Endpoint: tcp(fmt.Sprintf("8.8.%d.8:3333", i)), AS: uint32(1 + i),
			PerClient: 5, PerNetwork: 5, PerAS: 5, PerEndpoint: 12,
			Rate: 1000, Burst: 1000, BackoffFirst: time.Hour, BackoffMax: time.Hour,
		}
		c.Network = network(c.Endpoint.Addr)
		catalogue := c
		catalogue.Catalogue = true
		for _, c := range []minecanary.ProbeCost{c, catalogue} {
			if _, err := m.Begin(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.Connect(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, err := m.End(t.Context(), c, false); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{
		"clients": len(m.clients.seen), "endpoints": len(m.connections.seen), "back-offs": len(m.backoff.failed),
		"networks": len(m.suspects.networks.seen), "systems": len(m.suspects.systems.seen),
		"the catalogue's networks": len(m.catalogue.networks.seen), "the catalogue's systems": len(m.catalogue.systems.seen),
	}
	for what, n := range got {
		if n != size {
			t.Errorf("%d %s, want %d", n, what, size)
		}
	}
}

// TestRefusals: the reasons that people read.
func TestRefusals(t *testing.T) {
	cfg := DefaultConfig()
	cfg.AS = func(addr netip.Addr) uint32 {
		if addr.Is4() {
			return 15169
		}
		return 0
	}
	p, err := New(cfg, silentTrail{}, func() time.Time { return epoch })
	if err != nil {
		t.Fatal(err)
	}
	c := p.cost(netip.MustParseAddr("::ffff:10.0.0.1"), tcp("8.8.8.8:3333"))
	if c.Client != netip.MustParseAddr("10.0.0.1") || c.Network != netip.MustParsePrefix("8.8.8.0/24") {
		t.Errorf("charged to %v, %v", c.Client, c.Network)
	}
	if got := p.cost(c.Client, tcp("[2600:1:2:3::4]:3333")); got.Network != netip.MustParsePrefix("2600:1:2::/48") || got.AS != 0 || c.AS != 15169 {
		t.Errorf("network %v, AS%d and AS%d", got.Network, c.AS, got.AS)
	}
	catalogue := p.catalogueCost(tcp("8.8.8.8:3333"))
	if catalogue.Client.IsValid() || catalogue.Rate != cfg.CatalogueRate || catalogue.Burst != cfg.CatalogueBurst || !catalogue.Catalogue {
		t.Errorf("the catalogue's cost is %+v", catalogue)
	}
	tests := []struct {
		cost  minecanary.ProbeCost
		grant minecanary.ProbeGrant
		err   error
		want  string
	}{
		{c, minecanary.ProbeGrant{}, nil, ""},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedBackoff, Wait: time.Hour, Tried: 3}, nil, "back-off of the endpoint after 3 inconclusive in a row; try again at 2026-01-02T04:04:05Z"},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedBackoff, Full: true, Wait: time.Hour}, nil, "too many endpoints are in back-off; try again at 2026-01-02T04:04:05Z"},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedClient, Wait: time.Second}, nil, "budget of the client (5 probes an hour) is used up; try again at 2026-01-02T03:04:06Z"},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedClient, Full: true, Wait: time.Second}, nil, "budget of the client (5 probes an hour): its table is full; try again at 2026-01-02T03:04:06Z"},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedNetwork, Wait: time.Second}, nil, "budget of the network 8.8.8.0/24 (8 probes an hour) is used up; try again at 2026-01-02T03:04:06Z"},
		{catalogue, minecanary.ProbeGrant{Refused: minecanary.RefusedNetwork, Wait: time.Second}, nil, "budget of the network 8.8.8.0/24 for the catalogue (8 probes an hour) is used up; try again at 2026-01-02T03:04:06Z"},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedAS, Wait: time.Second}, nil, "budget of AS15169 (64 probes an hour) is used up; try again at 2026-01-02T03:04:06Z"},
		{catalogue, minecanary.ProbeGrant{Refused: minecanary.RefusedAS, Full: true, Wait: time.Second}, nil, "budget of AS15169 for the catalogue (64 probes an hour): its table is full; try again at 2026-01-02T03:04:06Z"},
		{catalogue, minecanary.ProbeGrant{Refused: minecanary.RefusedCatalogue, Wait: time.Second}, nil, "budget of the catalogue (2 probes a second, burst 10) is used up; try again at 2026-01-02T03:04:06Z"},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedEndpoint, Wait: time.Second}, nil, "budget of the endpoint (12 connections an hour) is used up; try again at 2026-01-02T03:04:06Z"},
		{c, minecanary.ProbeGrant{Refused: minecanary.RefusedGlobal, Wait: time.Second}, nil, "global budget (1 probes a second, burst 10) is used up; try again at 2026-01-02T03:04:06Z"},
		{c, minecanary.ProbeGrant{}, errors.New("no route"), "the budgets cannot be reached (no route); try again at 2026-01-02T03:05:05Z"},
	}
	for _, tt := range tests {
		got := ""
		if no := refused(tt.cost, tt.grant, tt.err, epoch); no != nil {
			got = no.reason
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// silentTrail accepts every record.
type silentTrail struct{}

func (silentTrail) Append(audit.Record) error { return nil }

// TestVerifySaysWhichBudget: a refusal by a budget is blocked, with its reason, until there is room.
func TestVerifySaysWhichBudget(t *testing.T) {
	now := epoch
	cfg := DefaultConfig()
	p, err := New(cfg, silentTrail{}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	// Use up the network's budget without asking anybody.
	ep := tcp("8.8.8.8:3333")
	for i := range cfg.NetworkPerHour {
		g, err := p.purse.Begin(t.Context(), p.cost(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), ep))
		if err != nil || g.Refused != "" {
			t.Fatal(g, err)
		}
	}
	now = now.Add(10 * time.Minute)
	v, err := p.Verify(context.Background(), minecanary.Question{Endpoint: ep, Client: netip.MustParseAddr("10.0.0.9"), Reply: true, Payload: true})
	if err != nil {
		t.Fatal(err)
	}
	want := minecanary.Verdict{
		Endpoint: ep, Status: minecanary.Blocked, At: now, Expires: epoch.Add(time.Hour),
		Reason: "budget of the network 8.8.8.0/24 (8 probes an hour) is used up; try again at 2026-01-02T04:04:05Z",
	}
	if diff := cmp.Diff(want, v, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestControl: the dialer's last word is on the literal address.
func TestControl(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Allow = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	g := newGuard(cfg)
	tests := []struct {
		address string
		ok      bool
	}{
		{"8.8.8.8:3333", true},
		{"[::ffff:8.8.8.8]:3333", true},
		{"10.1.2.3:3333", true},
		{"[::ffff:10.1.2.3]:3333", true},
		{"10.2.2.3:3333", false},
		{"[::ffff:127.0.0.1]:3333", false},
		{"[fe80::1%eth0]:3333", false},
		{"8.8.8.8:22", false},
		{"10.1.2.3:502", false},
		{"pool.example.org:3333", false},
	}
	for _, tt := range tests {
		if err := g.control("tcp", tt.address, nil); (err == nil) != tt.ok {
			t.Errorf("control(%s) = %v, want ok %v", tt.address, err, tt.ok)
		}
	}
	for _, port := range []uint16{
		22, 23, 25, 53, 102, 110, 135, 137, 138, 139, 143, 389, 445, 465, 502, 587, 623, 636, 993, 995,
		1433, 1521, 3306, 3389, 5432, 5900, 9100, 20000, 44818, 47808,
	} {
		if g.refuse(netip.MustParseAddr("8.8.8.8"), port) == "" {
			t.Errorf("port %d is not on the default deny list", port)
		}
	}
	for _, port := range []uint16{80, 443, 3333, 4444, 8332, 8333, 14444, 3357} {
		if no := g.refuse(netip.MustParseAddr("8.8.8.8"), port); no != "" {
			t.Errorf("port %d: %s", port, no)
		}
	}
}

func TestOrder(t *testing.T) {
	asked := dialect.Asked()
	tests := []struct {
		port  uint16
		opts  ProbeOptions
		first string
		all   int
	}{
		{3333, ProbeOptions{}, asked[0].Name, len(asked)},
		{3333, ProbeOptions{skip: 1}, asked[1].Name, len(asked)},
		{3333, ProbeOptions{skip: len(asked) + 1}, asked[1].Name, len(asked)},
		{14444, ProbeOptions{}, dialect.CryptoNote, len(asked)},
		{4444, ProbeOptions{}, dialect.Ethproxy, len(asked)},
		{14444, ProbeOptions{First: dialect.Ethproxy}, dialect.Ethproxy, len(asked)},
		{14444, ProbeOptions{First: "nonsense"}, dialect.CryptoNote, len(asked)},
		{14444, ProbeOptions{First: dialect.Zcash}, dialect.CryptoNote, len(asked)}, // is only recognised
		{14444, ProbeOptions{Dialects: []string{dialect.Ethproxy, "nonsense"}}, dialect.Ethproxy, 1},
	}
	for _, tt := range tests {
		got := map[string]bool{}
		list := order(asked, tt.port, tt.opts)
		for _, d := range list {
			got[d.Name] = true
		}
		if list[0].Name != tt.first || len(list) != tt.all || len(got) != tt.all {
			t.Errorf("order(%d, %+v) has %d different of %d and begins with %s, want %s and %d", tt.port, tt.opts, len(got), len(list), list[0].Name, tt.first, tt.all)
		}
	}
	if list := order(asked, 1, ProbeOptions{Dialects: []string{"nonsense"}}); list != nil {
		t.Errorf("order of nothing: %v", list)
	}
}

func TestIsHostName(t *testing.T) {
	for name, want := range map[string]bool{
		"pool.example.org": true, "pool.example.org.": true, "a_b-c.example": true, "": false, "1.2.3.4": false, "::1": false, "a..b": false,
		"a b": false, "a\r\nX: y": false, strings.Repeat("a", 64) + ".org": false, strings.Repeat("a.", 127) + "b": false, "b\u00fccher.de": false,
	} {
		if got := isHostName(name); got != want {
			t.Errorf("isHostName(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestTranscript(t *testing.T) {
	var tr transcript
	tr.sent([]byte("one\n"))
	tr.received([]byte("tw"))
	tr.received([]byte("o\nthr"))
	tr.received([]byte("ee\n"))
	want := []string{`>> "one\n"`, `<< "two\n"`, `<< "three\n"`}
	if diff := cmp.Diff(want, tr.lines()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tr.received([]byte(strings.Repeat("\x00", 64<<10)))
	for range 100 {
		tr.received([]byte("\n\n"))
	}
	lines := tr.lines()
	if len(lines) != MaxTranscript || slices.ContainsFunc(lines, func(s string) bool { return len(s) > MaxMessage }) {
		t.Errorf("%d lines, want %d of at most %d bytes: %q", len(lines), MaxTranscript, MaxMessage, lines)
	}
	if last := lines[len(lines)-1]; last != "(172 more)" {
		t.Errorf("last line %q", last)
	}
}
