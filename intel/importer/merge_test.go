package importer_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/importer"
)

const known = `
coins:
  - {symbol: XMR, name: Monero, algorithm: randomx, dialect: cryptonote}
pools:
  - id: alpha-pool
    name: Alpha
    operator: Alpha Ltd
    source: https://alpha-pool.net/help
    as_of: 2026-01-01
    confidence: high
    servers:
      - name: eu.alpha-pool.net
        endpoints:
          - {port: 3333, coin: XMR}
          - {port: 443, coin: XMR, tls: true}
          - {port: 5555}
  - id: beta
    name: Beta
    source: https://beta-pool.org/
    as_of: 2026-01-01
    confidence: high
    servers:
      - {name: beta-pool.org, endpoints: [{port: 3333, coin: XMR}]}
`

func parse(tb testing.TB, text string) catalog.Layer {
	tb.Helper()
	l, problems := catalog.Parse("x.yaml", []byte(text))
	if len(problems) > 0 {
		tb.Fatal(problems)
	}
	return l
}

// TestMerge adds, changes and leaves alone.
func TestMerge(t *testing.T) {
	const from = "source: https://lists.net/, as_of: 2026-05-01, confidence: low"
	const list = "{id: listed, name: Listed, " + from + ", servers: "
	const alpha = "{id: alpha-pool, name: alpha pool, " + from + ", servers: "
	for _, c := range []struct {
		name, in string
		want     importer.Report
		// host and its endpoints in what comes out.
		host, endpoints string
	}{
		{"all is known", list + "[{name: eu.alpha-pool.net, endpoints: [{port: 3333}, {port: 443, coin: XMR}]}, {name: beta-pool.org}]}", importer.Report{Same: 3}, "", ""},
		{
			"another port of a known server", list + "[{name: eu.alpha-pool.net, endpoints: [{port: 3333}, {port: 7777}]}]}",
			importer.Report{New: 1, Same: 1, Pools: 1},
			"eu.alpha-pool.net", "[{port: 7777}]",
		},
		{
			"another coin of a known port", alpha + "[{name: eu.alpha-pool.net, endpoints: [{port: 3333, coin: BTC}]}]}",
			importer.Report{New: 1, Pools: 1},
			"eu.alpha-pool.net",
			"[{port: 3333, coin: XMR}, {port: 443, coin: XMR, tls: true}, {port: 5555}, {port: 3333, coin: BTC, " + from + "}]",
		},
		{
			"the coin that was unknown", alpha + "[{name: eu.alpha-pool.net, endpoints: [{port: 5555, coin: XMR, dialect: cryptonote}, {port: 5555, coin: BTC}]}]}",
			importer.Report{New: 1, Pools: 1, Changed: []importer.Change{{"alpha-pool", "eu.alpha-pool.net", 5555, "coin unknown → XMR"}}},
			"eu.alpha-pool.net",
			"[{port: 3333, coin: XMR}, {port: 443, coin: XMR, tls: true}, {port: 5555, coin: XMR, " + from + "}, {port: 5555, coin: BTC, " + from + "}]",
		},
		{
			"TLS comes, and does not go", alpha + "[{name: eu.alpha-pool.net, endpoints: [{port: 3333, coin: XMR, tls: true, note: x}, {port: 443, coin: XMR}]}]}",
			importer.Report{Same: 1, Pools: 1, Changed: []importer.Change{{"alpha-pool", "eu.alpha-pool.net", 3333, "note unknown → x, tls false → true"}}},
			"eu.alpha-pool.net",
			"[{port: 3333, coin: XMR, tls: true, note: x, " + from + "}, {port: 443, coin: XMR, tls: true}, {port: 5555}]",
		},
		{
			"what is the coin's is no change", alpha + "[{name: eu.alpha-pool.net, endpoints: [{port: 3333, coin: XMR, dialect: cryptonote, algorithm: randomx}]}]}",
			importer.Report{Same: 1},
			"", "",
		},
		{
			"a region", alpha + "[{name: eu.alpha-pool.net, region: eu}]}",
			importer.Report{Pools: 1, Changed: []importer.Change{{"alpha-pool", "eu.alpha-pool.net", 0, "region unknown → eu"}}},
			"eu.alpha-pool.net",
			"[{port: 3333, coin: XMR}, {port: 443, coin: XMR, tls: true}, {port: 5555}]",
		},
		{"a new server of a known pool", alpha + "[{name: us.alpha-pool.net, endpoints: [{port: 1}]}]}", importer.Report{New: 1, Pools: 1}, "us.alpha-pool.net", "[{port: 1}]"},
		{"a new pool", list + "[{address: 9.9.9.9, endpoints: [{port: 1, coin: XMR}]}, {name: new.net}]}", importer.Report{New: 2, Pools: 1}, "9.9.9.9", "[{port: 1, coin: XMR}]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := catalog.New(parse(t, known))
			out, got := importer.Merge(before, parse(t, "pools: ["+c.in+"]"))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if c.host == "" {
				if len(out.Pools) > 0 {
					t.Error(out)
				}
				return
			}
			var endpoints []catalog.Endpoint
			for _, s := range out.Pools[0].Servers {
				if s.Host() == c.host {
					endpoints = s.Endpoints
				}
			}
			want := parse(t, "{id: x, name: x, servers: [{name: x.net, endpoints: "+c.endpoints+"}]}").Pools[0].Servers[0].Endpoints
			if diff := cmp.Diff(want, endpoints); diff != "" {
				t.Error(diff)
			}
			if p := out.Pools[0]; p.ID == "alpha-pool" && (p.Operator != "Alpha Ltd" || p.Name != "Alpha" || p.Confidence != catalog.High) {
				t.Error(p)
			}
		})
	}
}

// TestMergeCoins takes coins that are new or other, and removals.
func TestMergeCoins(t *testing.T) {
	c := catalog.New(parse(t, known))
	in := parse(t, "removed: [beta]\ncoins:\n- {symbol: XMR, name: Monero, algorithm: randomx, dialect: cryptonote}\n- {symbol: BTC, name: Bitcoin, algorithm: sha256d, dialect: stratum-v1}\n")
	out, report := importer.Merge(c, in)
	if len(out.Coins) != 1 || out.Coins[0].Symbol != "BTC" || report.Coins != 1 || cmp.Diff([]string{"beta"}, out.Removed) != "" {
		t.Error(out, report)
	}
	in.Coins[0].Explorer = map[string]string{"block": "https://x.net/{height}"}
	if out, _ = importer.Merge(c, in); len(out.Coins) != 2 {
		t.Error(out.Coins)
	}
}

// TestMergeAgain wants, of whatever is merged: nothing of the catalogue is lost, all of the import can be found, and a
// second time nothing is new.
func TestMergeAgain(t *testing.T) {
	l := parse(t, known)
	rapid.Check(t, func(t *rapid.T) {
		in := catalog.Layer{}
		for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"alpha-pool", "beta", "new"}), 0, 3, rapid.ID[string]).Draw(t, "pools") {
			p := catalog.Pool{ID: id, Name: id, Kind: catalog.Public, Provenance: told}
			for _, host := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"eu.alpha-pool.net", "beta-pool.org", "new.net", ""}), 0, 3, rapid.ID[string]).Draw(t, "hosts") {
				s := catalog.Server{Name: host, Region: rapid.SampledFrom([]string{"", "eu"}).Draw(t, "region")}
				if host == "" {
					s.Address = netip.MustParseAddr("9.9.9.9")
				}
				seen := map[string]bool{}
				for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
					e := catalog.Endpoint{
						Port: rapid.SampledFrom([]uint16{3333, 443, 5555}).Draw(t, "port"), TLS: rapid.Bool().Draw(t, "tls"),
						Coin: rapid.SampledFrom([]string{"", "XMR", "BTC"}).Draw(t, "coin"), Note: rapid.SampledFrom([]string{"", "x"}).Draw(t, "note"),
					}
					// An importer gives each port and coin once.
					if key := string(rune(e.Port)) + e.Coin; !seen[key] {
						seen[key] = true
						s.Endpoints = append(s.Endpoints, e)
					}
				}
				p.Servers = append(p.Servers, s)
			}
			in.Pools = append(in.Pools, p)
		}
		before := catalog.New(l)
		was := before.Layer()
		out, report := importer.Merge(before, in)
		if diff := cmp.Diff(was, before.Layer(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Fatal("the catalogue changed:", diff)
		}
		var b bytes.Buffer
		if err := catalog.Write(&b, out); err != nil {
			t.Fatal(err)
		}
		read, problems := catalog.Parse("x.yaml", b.Bytes())
		if len(problems) > 0 {
			t.Fatal(problems, b.String())
		}
		after := catalog.New(l, read)
		for _, host := range before.Hosts() {
			for _, r := range before.Host(host) {
				if !has(after, host, r.Endpoint.Port, r.Endpoint.Coin) && r.Endpoint.Coin != "" {
					t.Fatalf("lost %s:%d %s", host, r.Endpoint.Port, r.Endpoint.Coin)
				}
			}
		}
		for _, p := range in.Pools {
			for i := range p.Servers {
				s := &p.Servers[i]
				for _, e := range s.Endpoints {
					if !has(after, s.Host(), e.Port, e.Coin) {
						t.Fatalf("%s:%d %s did not arrive", s.Host(), e.Port, e.Coin)
					}
				}
			}
		}
		_, again := importer.Merge(after, in)
		if again.New > 0 || len(again.Changed) > 0 {
			t.Fatalf("%+v, then %+v", report, again)
		}
	})
}

// has tells whether a catalogue has an endpoint; an unknown coin is any.
func has(c *catalog.Catalog, host string, port uint16, coin string) bool {
	for _, r := range c.Host(host) {
		if r.Endpoint.Port == port && (coin == "" || r.Endpoint.Coin == coin) {
			return true
		}
	}
	return false
}
