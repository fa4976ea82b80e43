package resolver

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
)

func TestMarks(t *testing.T) {
	m, err := LoadMarks()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		addr  string
		chain []string
		kind  Kind
		owner string
	}{
		{"104.16.1.1", nil, CDN, "Cloudflare"},
		{"2606:4700:3030::1", nil, CDN, "Cloudflare"},
		{"::ffff:104.16.1.1", nil, CDN, "Cloudflare"},
		{"104.15.255.255", nil, Ordinary, ""},
		{"104.28.0.0", nil, Ordinary, ""},
		{"151.101.1.1", nil, CDN, "Fastly"},
		{"1.1.1.1", nil, DNS, "Cloudflare"},
		{"1.1.1.4", nil, Ordinary, ""},
		{"2606:4700:4700::1111", nil, DNS, "Cloudflare"}, // inside of a network of the CDN
		{"8.8.8.8", nil, DNS, "Google"},
		{"185.199.108.153", nil, Shared, "GitHub Pages"},
		{"185.199.108.154", nil, Ordinary, ""},
		{"199.59.243.1", nil, Shared, "parked domains"},
		{"10.0.0.1", nil, Reserved, "private (RFC 1918)"},
		{"10.0.0.1", []string{"x.cloudfront.net"}, Reserved, "private (RFC 1918)"},
		{"5.9.1.1", []string{"d1.cloudfront.net"}, CDN, "Amazon CloudFront"},
		{"5.9.1.1", []string{"cloudfront.net"}, CDN, "Amazon CloudFront"},
		{"5.9.1.1", []string{"evilcloudfront.net"}, Ordinary, ""},
		{"5.9.1.1", []string{"cloudfront.net.example"}, Ordinary, ""},
		{"5.9.1.1", []string{"pool.example.edgekey.net", "e1.a.akamaiedge.net"}, CDN, "Akamai"},
		{"5.9.1.1", []string{"pool.example.edgekey.net", "pool.example"}, CDN, "Akamai"},
		{"5.9.1.1", []string{"net", "", "."}, Ordinary, ""},
		{"5.9.1.1", nil, Ordinary, ""},
	} {
		got := m.Of(netip.MustParseAddr(tt.addr), tt.chain)
		if got.Kind != tt.kind || got.Owner != tt.owner {
			t.Errorf("%s over %v: %+v", tt.addr, tt.chain, got)
		}
		if bundled := got.Kind != Ordinary && got.Kind != Reserved; bundled != (got.Source != "" && !got.AsOf.IsZero()) {
			t.Errorf("%s: source %q of %s", tt.addr, got.Source, got.AsOf)
		}
		if (got.Name != "") != (got.Kind == CDN && strings.HasPrefix(tt.addr, "5.")) {
			t.Errorf("%s: decided by %q", tt.addr, got.Name)
		}
	}
	if got := m.Of(netip.Addr{}, nil); got.Kind != Reserved {
		t.Errorf("no address: %+v", got)
	}
}

// TestBundled looks over the rows that ship: sources, dates, and no reserved network or public suffix of a country.
func TestBundled(t *testing.T) {
	m, err := LoadMarks()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range m.rows {
		if !strings.HasPrefix(row.Source, "https://") || row.AsOf.Year() < 2024 || row.AsOf.After(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", row)
		}
	}
	for p := range m.addrs.All() {
		if why := minecanary.Reserved(p.Addr()); why != "" || p.Addr().Is4() && p.Bits() < 10 || p.Addr().Is6() && p.Bits() < 24 {
			t.Errorf("%s: %q", p, why)
		}
	}
	if len(m.rows) < 15 || len(m.names) < 10 {
		t.Errorf("%d rows and %d names", len(m.rows), len(m.names))
	}
}

func TestOwnMarks(t *testing.T) {
	write := func(text string) string {
		name := filepath.Join(t.TempDir(), "own.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	row := func(kind, more string) string {
		return "- {kind: " + kind + ", owner: us, source: a paper, as_of: 2026-01-31, " + more + "}\n"
	}
	own := write(row("shared", "prefixes: [104.16.0.0/13, 5.9.0.0/16], names: [Hosting.Example.]"))
	m, err := LoadMarks(own)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]Kind{"104.16.1.1": Shared, "5.9.1.1": Shared, "151.101.1.1": CDN} {
		if got := m.Of(netip.MustParseAddr(addr), nil); got.Kind != want {
			t.Errorf("%s: %+v", addr, got)
		}
	}
	if got := m.Of(netip.MustParseAddr("9.8.7.6"), []string{"a.hosting.example"}); got.Kind != Shared || got.Owner != "us" {
		t.Errorf("own name: %+v", got)
	}
	good := row("cdn", "prefixes: [5.9.0.0/16]")
	for text, reason := range map[string]string{
		"":                                       "",
		good:                                     "",
		"a: b\n":                                 "cannot unmarshal",
		"[":                                      "did not find",
		"- a\n" + good:                           "own.yaml:1: cannot unmarshal",
		good + "- {kind: 1}\n":                   "own.yaml:2: kind",
		good + row("pool", "names: [a.example]"): `own.yaml:2: kind "pool"`,
		good + row("cdn", "color: red"):          "own.yaml:2: field color not found",
		good + row("cdn", "names: []"):           "own.yaml:2: neither",
		good + row("cdn", "prefixes: [1.2.3.4/16]"):                                    "own.yaml:2: prefix",
		good + row("cdn", "prefixes: [x]"):                                             "own.yaml:2: prefix",
		good + row("cdn", "prefixes: ['::ffff:1.2.3.0/120']"):                          "own.yaml:2: prefix",
		good + row("cdn", "names: [com]"):                                              "own.yaml:2: name",
		good + row("cdn", "names: ['*.a.example']"):                                    "own.yaml:2: name",
		good + strings.ReplaceAll(good, "2026-01-31", "soon"):                          "own.yaml:2: as_of",
		good + strings.ReplaceAll(good, "us", `"a\eb"`):                                "own.yaml:2: owner",
		good + strings.ReplaceAll(good, "a paper", strings.Repeat("x", maxMarkText+1)): "own.yaml:2: owner",
	} {
		m, err := LoadMarks(write(text))
		if (err != nil) != (reason != "") || err != nil && !strings.Contains(err.Error(), reason) {
			t.Errorf("%.120q: %v, want %q", text, err, reason)
		}
		if m == nil || m.Of(netip.MustParseAddr("104.16.1.1"), nil).Kind != CDN {
			t.Errorf("%.120q: the other rows are lost", text)
		} else if strings.Contains(text, good) && m.Of(netip.MustParseAddr("5.9.1.1"), nil).Kind != CDN {
			t.Errorf("%.120q: the good row is lost", text)
		}
	}
	if m, err := LoadMarks(filepath.Join(t.TempDir(), "absent")); m != nil || err == nil {
		t.Errorf("a missing file: %v, %v", m, err)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, MaxMarksFile+1); err != nil {
		t.Fatal(err)
	}
	if m, err := LoadMarks(big); m != nil || err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a file that is too large: %v, %v", m, err)
	}
}

// TestMarksOfResolversStay has a user's lists say other things of a resolver's address, and of a network around or inside
// of resolvers.
func TestMarksOfResolversStay(t *testing.T) {
	write := func(text string) string {
		name := filepath.Join(t.TempDir(), "own")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	list := write(`{"name":"List of known google ranges","version":20260811,"type":"cidr","list":["8.8.8.8/32","8.8.0.0/16"]}`)
	names := write(`{"name":"Top","version":1,"type":"hostname","list":["dns.example.com","example.com"]}`)
	own := write(`
- {kind: cdn, owner: us, source: a paper, as_of: 2026-01-31, prefixes: [1.1.1.1, 5.9.1.1]}
- {kind: resolver, owner: ours, source: a paper, as_of: 2026-01-31, prefixes: [5.9.0.0/16, 5.9.1.0/24], names: [dns.example.com]}
- {kind: shared, owner: us, source: a paper, as_of: 2026-01-31, prefixes: [5.9.1.0/24, 5.9.1.2]}
`)
	m, err := LoadMarks(list, names, own)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]Kind{
		"8.8.8.8": DNS, "8.8.9.9": Shared, "1.1.1.1": DNS, "5.9.1.1": DNS, "5.9.1.2": DNS, "5.9.1.3": DNS, "104.16.1.1": CDN,
	} {
		if got := m.Of(netip.MustParseAddr(addr), nil); got.Kind != want {
			t.Errorf("%s: %+v", addr, got)
		}
	}
	for name, want := range map[string]Mark{
		"dns.example.com":     {Kind: DNS, Owner: "ours"},
		"eu.dns.example.com":  {Kind: DNS, Owner: "ours"},
		"pool.example.com":    {Kind: Shared, Owner: "Top"},
		"example.com":         {Kind: Shared, Owner: "Top"},
		"d1.cloudfront.net":   {Kind: CDN, Owner: "Amazon CloudFront"},
		"pool.example":        {},
		"evilexample.com":     {},
		"example.com.invalid": {},
		"":                    {},
	} {
		got := m.OfName(name)
		if got.Kind != want.Kind || got.Owner != want.Owner || got.Kind != Ordinary && got.Name != name {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// FuzzMarks wants that no file makes reading it panic, and that every row that is taken can be printed.
func FuzzMarks(f *testing.F) {
	f.Add([]byte("- {kind: cdn, owner: us, source: a paper, as_of: 2026-01-31, prefixes: [5.9.0.0/16], names: [a.example]}\n"))
	f.Add([]byte("- &a {kind: cdn}\n- *a\n- <<: *a\n"))
	f.Add([]byte("- !!binary x\n- ? [a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		m := &Marks{names: map[string]int{}}
		for _, err := range m.add(b, "own") {
			if !strings.HasPrefix(err.Error(), "own") {
				t.Error(err)
			}
		}
		for _, row := range m.rows {
			if !isText(row.Owner) || !isText(row.Source) || row.Kind == Ordinary || row.AsOf.IsZero() {
				t.Errorf("%+v", row)
			}
		}
	})
}
