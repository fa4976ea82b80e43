package catalog_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/intel/catalog"
)

func shipped(tb testing.TB) *catalog.Catalog {
	tb.Helper()
	layer, problems := catalog.Shipped()
	for _, p := range problems {
		tb.Error(p)
	}
	return catalog.New(layer)
}

// TestShipped holds the shipped catalogue to what README says of it.
func TestShipped(t *testing.T) {
	c := shipped(t)
	for _, p := range c.Lint() {
		t.Error(p)
	}
	monero := c.Mined("XMR")
	pools := map[string]bool{}
	for _, r := range monero {
		pools[r.Pool.ID] = true
	}
	t.Logf("%d pools, %d coins, %d servers, %d endpoints; Monero: %d pools, %d endpoints", len(c.Pools()), len(c.Coins()), len(c.Hosts()), c.Len(), len(pools), len(monero))
	if len(c.Pools()) < 60 || len(c.Coins()) < 25 || c.Len() < 400 || len(pools) < 12 {
		t.Error("fewer than 60 pools, 25 coins, 400 endpoints or 12 pools of Monero")
	}
	for _, p := range c.Pools() {
		for i := range p.Servers {
			for _, e := range p.Servers[i].Endpoints {
				if !strings.HasPrefix(e.Source, "https://") && !strings.HasPrefix(e.Source, "http://") {
					t.Errorf("%s %s:%d: source %q is no web address", p.ID, p.Servers[i].Host(), e.Port, e.Source)
				}
				if e.Dialect == "" || e.Algorithm == "" {
					t.Errorf("%s %s:%d: no dialect or algorithm", p.ID, p.Servers[i].Host(), e.Port)
				}
			}
		}
	}
}

const good = `name: A Pool
url: https://a-pool.net/
kind: solo
source: https://a-pool.net/help
as_of: 2026-04-21
confidence: high
servers:
  - name: EU.a-pool.net.
    region: eu
    endpoints:
      - {port: 3333, coin: XMR}
      - {port: 443, coin: XMR, tls: true, confidence: low}
  - address: 8.8.4.4
    source: https://a-pool.net/list
    endpoints:
      - {port: 3333, coin: BTC, dialect: stratum-v2, algorithm: sha256d, note: "hidden"}
`

const coins = `coins:
  - {symbol: XMR, name: Monero, algorithm: randomx, dialect: cryptonote, explorer: {block: "https://xmr.net/{height}"}}
  - {symbol: BTC, name: Bitcoin, algorithm: sha256d, dialect: stratum-v1}
`

func parse(t *testing.T, name, text string) catalog.Layer {
	t.Helper()
	l, problems := catalog.Parse(name, []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return l
}

// TestCatalog asks the ways to find rows, with what they inherit.
func TestCatalog(t *testing.T) {
	c := catalog.New(parse(t, "coins.yaml", coins), parse(t, "dir/a-pool.yaml", good))
	rows := c.Host("eu.a-pool.net")
	if len(rows) != 2 || rows[0].Pool.ID != "a-pool" || rows[0].Pool.Layer != "dir/a-pool.yaml" {
		t.Fatal(rows)
	}
	want := catalog.Endpoint{Port: 443, TLS: true, Coin: "XMR", Dialect: "cryptonote", Algorithm: "randomx", Provenance: catalog.Provenance{
		Source: "https://a-pool.net/help", AsOf: "2026-04-21", Confidence: catalog.Low,
	}}
	if diff := cmp.Diff(want, *rows[1].Endpoint); diff != "" {
		t.Error(diff)
	}
	if rows := c.Host("8.8.4.4"); len(rows) != 1 || rows[0].Endpoint.Source != "https://a-pool.net/list" || rows[0].Endpoint.Dialect != "stratum-v2" {
		t.Error(rows)
	}
	if len(c.Port(3333)) != 2 || len(c.Port(1)) != 0 || len(c.Mined("BTC")) != 1 || c.Len() != 3 {
		t.Error(c.Port(3333), c.Mined("BTC"), c.Len())
	}
	for domain, want := range map[string][]string{
		"a-pool.net": {"eu.a-pool.net"}, "net": {"eu.a-pool.net"}, "eu.a-pool.net": {"eu.a-pool.net"}, "pool.net": nil, "u.a-pool.net": nil,
	} {
		if diff := cmp.Diff(want, c.Below(domain)); diff != "" {
			t.Error(domain, diff)
		}
	}
	pools, found := c.Words([]string{"a", "POOL"})
	if len(pools) != 1 || len(found) != 0 {
		t.Error(pools, found)
	}
	if _, found = c.Words([]string{"moner"}); len(found) != 1 || found[0].Explorer["block"] == "" {
		t.Error(found)
	}
}

// TestLayers wants that later layers replace and remove.
func TestLayers(t *testing.T) {
	first := parse(t, "coins.yaml", coins)
	c := catalog.New(first, parse(t, "a.yaml", strings.ReplaceAll(good, "A Pool", "First")), parse(t, "b.yaml", good), parse(t, "own.yaml", `
pools:
  - {id: a, name: Second, servers: [{name: x.second.net, endpoints: [{port: 1, coin: BTC}]}]}
removed: [b]
`))
	if c.Pool("a").Name != "Second" || c.Pool("b") != nil || len(c.Pools()) != 1 || len(c.Host("eu.a-pool.net")) != 0 {
		t.Error(c.Pools())
	}
}

// TestProblems wants wrong rows named by line, and the rest loaded.
func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		rows             int
	}{
		{"empty", "", "x.yaml: is empty", 0},
		{"no mapping", "- 1", "x.yaml:1: a catalogue file must be a mapping", 0},
		{"syntax", "name: [", "x.yaml:1: not YAML: did not find expected node content", 0},
		{"second document", good + "---\nname: B\n", "x.yaml:17: one YAML document is enough, here is a second one", 0},
		{"unknown", strings.Replace(good, "kind: solo", "kinds: solo", 1), `x.yaml:3: unknown field "kinds"`, 0},
		{"twice", "name: A\nname: B\n", "x.yaml:2: name is here twice", 0},
		{"kind", strings.Replace(good, "solo", "bank", 1), `x.yaml:1: kind "bank" is none of public, solo, proxy, browser`, 0},
		{"port", strings.Replace(good, "port: 443", "port: 70000", 1), `x.yaml:12: port "70000" is not 1 to 65535`, 2},
		{"port 0", strings.Replace(good, "port: 443", "port: 0", 1), `x.yaml:12: an endpoint must have a port from 1 to 65535`, 2},
		{"tls", strings.Replace(good, "tls: true", "tls: yes please", 1), `x.yaml:12: tls must be true or false`, 2},
		{"coin", strings.Replace(good, "coin: XMR, tls", "coin: x mr, tls", 1), `x.yaml:12: coin "x mr" is no symbol of upper-case letters and digits`, 2},
		{"dialect", strings.Replace(good, "stratum-v2", "stratum", 1), `x.yaml:16: dialect "stratum" is unknown`, 2},
		{"address", strings.Replace(good, "8.8.4.4", "10.0.0.1", 1), `x.yaml:13: address 10.0.0.1 is reserved: private (RFC 1918)`, 2},
		{"no address", strings.Replace(good, "8.8.4.4", "8.8.4", 1), `x.yaml:13: address "8.8.4" is none`, 2},
		{"name", strings.Replace(good, "EU.a-pool.net.", "localhost", 1), `x.yaml:8: "localhost" is no fully qualified domain name`, 1},
		{"reserved", strings.Replace(good, "EU.a-pool.net.", "a.example", 1), `x.yaml:8: "a.example" is a reserved name (.example)`, 1},
		{"day", strings.Replace(good, "2026-04-21", "21.4.2026", 1), `x.yaml:1: as_of "21.4.2026" is no day like 2026-04-21`, 0},
		{"bidi", strings.Replace(good, "A Pool", "A \u202ePool", 1), "x.yaml:1: name has characters that cannot be printed", 0},
		{"long", strings.Replace(good, "A Pool", strings.Repeat("a", 301), 1), "x.yaml:1: name is longer than 300 bytes", 0},
		{"url", strings.Replace(good, "https://a-pool.net/\n", "javascript:alert(1)\n", 1), `x.yaml:1: url "javascript:alert(1)" is no web address`, 0},
		{"removed", "removed: [A B]", "x.yaml:1: removed must have IDs of pools", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, problems := catalog.Parse("x.yaml", []byte(tt.text))
			var got []string
			for _, p := range problems {
				got = append(got, p.Error())
			}
			if !slices.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if n := catalog.New(l).Len(); n != tt.rows {
				t.Errorf("%d rows are left, want %d", n, tt.rows)
			}
		})
	}
	if _, problems := catalog.Parse("x.yaml", make([]byte, catalog.MaxFile+1)); len(problems) != 1 {
		t.Error(problems)
	}
	many := "name: A\nservers:\n- name: a.pool.net\n  endpoints:\n" + strings.Repeat("  - {port: 1, coin: BTC}\n", catalog.MaxRows+1)
	if l, problems := catalog.Parse("x.yaml", []byte(many)); len(problems) != 1 || len(l.Pools[0].Servers[0].Endpoints) != catalog.MaxRows {
		t.Error(problems)
	}
}

// TestLint finds what no single row shows.
func TestLint(t *testing.T) {
	c := catalog.New(parse(t, "coins.yaml", coins), parse(t, "a.yaml", good), parse(t, "b.yaml", `
name: a-Pool!
servers:
  - name: eu.a-pool.net
    endpoints: [{port: 3333, coin: XMR}, {port: 3334, coin: NIX}]
  - name: www.binance.com
    endpoints: [{port: 1, coin: BTC}]
  - name: bs.poolbinance.com
    endpoints: [{port: 1, coin: BTC, source: "https://x.net", as_of: 2026-01-01, confidence: low}]
  - name: sha256.poolbinance.com
`))
	var got []string
	for _, p := range c.Lint() {
		got = append(got, p.Error())
	}
	want := []string{
		"b.yaml: b has the name of a",
		"b.yaml: eu.a-pool.net:3333 with XMR is in a already",
		"b.yaml: eu.a-pool.net:3333 does not say source, as_of and confidence",
		"b.yaml: eu.a-pool.net:3334 mines NIX, which no coin of the catalogue is",
		"b.yaml: eu.a-pool.net:3334 does not say source, as_of and confidence",
		"b.yaml: www.binance.com is an exchange's, a wallet's or a shop's, not a pool's",
		"b.yaml: www.binance.com:1 does not say source, as_of and confidence",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestLoad reads a folder and wants errors for files that are not there.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.yaml": good, "b.yml": strings.Replace(good, "port: 443", "port: x", 1), "c.txt": "no"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, problems, err := catalog.Load(dir)
	if err != nil || len(l.Pools) != 2 || len(problems) != 2 || problems[0].Line != 12 {
		t.Error(l.Pools, problems, err)
	}
	if _, _, err := catalog.Load(filepath.Join(dir, "none.yaml")); err == nil {
		t.Error("no error")
	}
}

// TestBelow holds the search for names below a domain against looking at every name.
func TestBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.SampledFrom([]string{"a", "b", "a-b", "ab"})
		name := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "labels"), ".") + ".net"
		})
		names := rapid.SliceOf(name).Draw(t, "names")
		var l catalog.Layer
		p := catalog.Pool{ID: "p"}
		for _, n := range names {
			p.Servers = append(p.Servers, catalog.Server{Name: n, Endpoints: []catalog.Endpoint{{Port: 1}}})
		}
		l.Pools = append(l.Pools, p)
		domain := name.Draw(t, "domain")
		var want []string
		for _, n := range names {
			if n == domain || strings.HasSuffix(n, "."+domain) {
				want = append(want, n)
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		got := catalog.New(l).Below(domain)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Fatalf("%s of %q: %q, want %q", domain, names, got, want)
		}
	})
}

// FuzzCatalog wants that no file makes it fail, and that what was taken passes the checks of the API.
func FuzzCatalog(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(coins))
	f.Add([]byte("pools:\n- &a {id: a, name: A, servers: [{name: a.b.net, endpoints: [{port: 1, coin: XMR}]}]}\n- *a\n"))
	f.Add([]byte("? [a]\n: b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, problems := catalog.Parse("x.yaml", data)
		c := catalog.New(l)
		for _, p := range c.Pools() {
			if r := p.Check(func(string) bool { return true }); len(r) > 0 {
				t.Fatal(r)
			}
		}
		for _, p := range problems {
			if p.Reason == "" || p.Line < 0 {
				t.Fatal(p)
			}
		}
		c.Lint()
	})
}
