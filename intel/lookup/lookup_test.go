package lookup_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
)

const pools = `
coins:
  - {symbol: XMR, name: Monero, algorithm: randomx, dialect: cryptonote}
  - {symbol: BTC, name: Bitcoin, algorithm: sha256d, dialect: stratum-v1}
pools:
  - id: alpha
    name: Alpha Pool
    source: https://alpha.net/help
    as_of: 2026-04-21
    confidence: high
    servers:
      - name: eu.alpha.net
        endpoints: [{port: 3333, coin: XMR}, {port: 443, coin: XMR, tls: true}]
      - name: us.alpha.net
        endpoints: [{port: 3333, coin: XMR}]
  - id: beta
    name: Beta
    servers:
      - address: 9.9.9.20
        endpoints: [{port: 3333, coin: BTC}]
`

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func span(from, until int) lookup.Span {
	return lookup.Span{From: day(from), LastSeen: day(until).Add(-time.Hour), Until: day(until), Learnt: day(from)}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func endpoint(tb testing.TB, s string) minecanary.Endpoint {
	tb.Helper()
	ep, err := minecanary.ParseEndpoint(s)
	if err != nil {
		tb.Fatal(err)
	}
	return ep
}

func index(tb testing.TB) *lookup.Index {
	tb.Helper()
	l, problems := catalog.Parse("x.yaml", []byte(pools))
	if len(problems) > 0 {
		tb.Fatal(problems)
	}
	x := lookup.New(catalog.New(l))
	x.SetAddresses("eu.alpha.net", []lookup.Address{
		{Name: "eu.alpha.net", Addr: addr("9.9.9.1"), Span: span(1, 10)},
		{Name: "eu.alpha.net", Addr: addr("9.9.9.2"), Mark: "cdn", Span: span(10, 20)},
		{Name: "eu.alpha.net", Addr: addr("2620:fe::9"), Span: span(1, 20)},
	})
	x.SetAnswers(endpoint(tb, "9.9.9.1:3333"), []lookup.Answer{
		{Status: minecanary.Confirmed, Dialect: "cryptonote", Coin: "monero", Reason: "a job", Span: span(2, 5)},
		{Status: minecanary.Inconclusive, Reason: "timeout", Span: span(5, 9)},
	})
	x.SetAnswers(endpoint(tb, "9.9.9.50:8080"), []lookup.Answer{{Status: minecanary.Confirmed, Coin: "monero", TLS: true, Span: span(3, 4)}})
	x.SetAnswers(endpoint(tb, "9.9.9.51:80"), []lookup.Answer{{Status: minecanary.NotPool, Span: span(3, 4)}})
	return x
}

// line is a match as short as it can be told.
func line(m lookup.Match) string {
	status := ""
	if m.Status != "" {
		status = " " + string(m.Status)
	}
	proof := ""
	if !m.LastProof.IsZero() {
		proof = " proof " + m.LastProof.Format("2T15")
	}
	at := "?"
	if m.Address.IsValid() {
		at = m.Address.String()
	}
	return fmt.Sprintf("%s %s %s:%d %s%s%s%s", m.Pool, m.Server, at, m.Port, m.Coin, m.Mark, status, proof)
}

func TestFind(t *testing.T) {
	x := index(t)
	for _, tt := range []struct {
		question string
		at       int
		kind     lookup.QueryKind
		want     []string
	}{
		{"eu.alpha.net", 0, lookup.ByName, []string{
			"alpha eu.alpha.net 9.9.9.1:443 XMR", "alpha eu.alpha.net 9.9.9.1:3333 XMR inconclusive proof 4T23",
			"alpha eu.alpha.net 9.9.9.2:443 XMRcdn", "alpha eu.alpha.net 9.9.9.2:3333 XMRcdn",
			"alpha eu.alpha.net 2620:fe::9:443 XMR", "alpha eu.alpha.net 2620:fe::9:3333 XMR",
		}},
		{"EU.Alpha.net.:3333", 3, lookup.ByName, []string{
			"alpha eu.alpha.net 9.9.9.1:3333 XMR confirmed proof 3T00", "alpha eu.alpha.net 2620:fe::9:3333 XMR",
		}},
		{"stratum+tcp://eu.alpha.net:443/x", 12, lookup.ByName, []string{"alpha eu.alpha.net 9.9.9.2:443 XMRcdn", "alpha eu.alpha.net 2620:fe::9:443 XMR"}},
		{"us.alpha.net", 0, lookup.ByName, []string{"alpha us.alpha.net ?:3333 XMR"}},
		{".alpha.net:3333", 15, lookup.BySuffix, []string{
			"alpha eu.alpha.net 9.9.9.2:3333 XMRcdn", "alpha eu.alpha.net 2620:fe::9:3333 XMR", "alpha us.alpha.net ?:3333 XMR",
		}},
		{"*.NET", 15, lookup.BySuffix, []string{
			"alpha eu.alpha.net 9.9.9.2:443 XMRcdn", "alpha eu.alpha.net 9.9.9.2:3333 XMRcdn", "alpha eu.alpha.net 2620:fe::9:443 XMR",
			"alpha eu.alpha.net 2620:fe::9:3333 XMR", "alpha us.alpha.net ?:3333 XMR",
		}},
		{"9.9.9.1", 0, lookup.ByAddress, []string{"alpha eu.alpha.net 9.9.9.1:443 XMR", "alpha eu.alpha.net 9.9.9.1:3333 XMR inconclusive proof 4T23"}},
		{"::ffff:9.9.9.1", 15, lookup.ByAddress, nil},
		{"9.9.9.1:3333", 4, lookup.ByAddress, []string{"alpha eu.alpha.net 9.9.9.1:3333 XMR confirmed proof 4T00"}},
		{"9.9.9.1:3333", 1, lookup.ByAddress, []string{"alpha eu.alpha.net 9.9.9.1:3333 XMR"}},
		{"[2620:fe::9]:443", 0, lookup.ByAddress, []string{"alpha eu.alpha.net 2620:fe::9:443 XMR"}},
		{"2620:fe::/32", 0, lookup.ByPrefix, []string{"alpha eu.alpha.net 2620:fe::9:443 XMR", "alpha eu.alpha.net 2620:fe::9:3333 XMR"}},
		{"9.9.9.20", 3, lookup.ByAddress, []string{"beta  9.9.9.20:3333 BTC"}},
		{"9.9.9.50", 0, lookup.ByAddress, []string{"  9.9.9.50:8080 monero confirmed proof 3T23"}},
		{"9.9.9.50", 5, lookup.ByAddress, nil},
		{"9.9.9.50", 2, lookup.ByAddress, nil},
		{"9.9.9.51", 0, lookup.ByAddress, nil},
		{"9.9.9.0/24", 3, lookup.ByPrefix, []string{
			"  9.9.9.50:8080 monero confirmed proof 3T00", "alpha eu.alpha.net 9.9.9.1:443 XMR",
			"alpha eu.alpha.net 9.9.9.1:3333 XMR confirmed proof 3T00", "beta  9.9.9.20:3333 BTC",
		}},
		{":3333", 3, lookup.ByPort, []string{
			"alpha eu.alpha.net 9.9.9.1:3333 XMR confirmed proof 3T00", "alpha eu.alpha.net 2620:fe::9:3333 XMR",
			"alpha us.alpha.net ?:3333 XMR", "beta  9.9.9.20:3333 BTC",
		}},
		{"443", 12, lookup.ByPort, []string{"alpha eu.alpha.net 9.9.9.2:443 XMRcdn", "alpha eu.alpha.net 2620:fe::9:443 XMR"}},
		{"bitcoin", 0, lookup.ByWords, []string{"beta  9.9.9.20:3333 BTC"}},
		{"BETA", 0, lookup.ByWords, []string{"beta  9.9.9.20:3333 BTC"}},
		{"alpha beta", 0, lookup.ByWords, nil},
		{"no.such.net", 0, lookup.ByName, nil},
	} {
		t.Run(tt.question+" "+strconv.Itoa(tt.at), func(t *testing.T) {
			q, err := lookup.Parse(tt.question)
			if err != nil {
				t.Fatal(err)
			}
			if tt.at > 0 {
				q.At = day(tt.at)
			}
			r := x.Find(q, 100)
			var got []string
			for _, m := range r.Matches {
				got = append(got, line(m))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || r.Kind != tt.kind || r.Known != (len(tt.want) > 0) || r.More {
				t.Error(diff, r.Kind, r.Known, r.More)
			}
			if len(tt.want) > 1 {
				if r := x.Find(q, len(tt.want)-1); len(r.Matches) != len(tt.want)-1 || !r.More {
					t.Errorf("%d matches, more %v", len(r.Matches), r.More)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "  ", strings.Repeat("a", 301), "a.net:0", "a.net:70000", "a.net:x", "a b c d e f g h i", "10.0.0.1:99999", "999.1.1.1", "10.0.0.1/40", "70000", "::1::2"} {
		if q, err := lookup.Parse(s); err == nil {
			t.Errorf("%q is %+v", s, q)
		}
	}
}

// TestSet replaces and takes back.
func TestSet(t *testing.T) {
	x := index(t)
	x.SetAddresses("eu.alpha.net", nil)
	x.SetAnswers(endpoint(t, "9.9.9.50:8080"), nil)
	x.SetAnswers(endpoint(t, "9.9.9.1:3333"), nil)
	for _, s := range []string{"9.9.9.1", "9.9.9.0/28", "9.9.9.50", "9.9.9.50/31"} {
		q, _ := lookup.Parse(s)
		if r := x.Find(q, 10); r.Known {
			t.Errorf("%s: %+v", s, r)
		}
	}
}

// TestMark holds Mark, which flows use, against Find.
// TestPrune forgets what ended, and nothing that held at the time or later.
func TestPrune(t *testing.T) {
	x := index(t)
	ask := func(q lookup.Query) (lines []string) {
		for _, m := range x.Find(q, 1000).Matches {
			lines = append(lines, line(m))
		}
		return lines
	}
	all := lookup.Query{Kind: lookup.ByPrefix, Prefix: netip.MustParsePrefix("0.0.0.0/0")}
	var before [][]string
	for h := range 25 {
		at := all
		at.At = day(h)
		before = append(before, ask(at))
	}
	x.Prune(day(4))
	for h := range 25 {
		at := all
		at.At = day(h)
		if diff := cmp.Diff(before[h], ask(at)); h >= 4 && diff != "" {
			t.Errorf("at %d: %s", h, diff)
		}
	}
	if got := x.Unlisted(8080); len(got) != 0 {
		t.Errorf("9.9.9.50 proved itself until 4, and is still there: %+v", got)
	}
	x.Prune(day(1000))
	if n := x.Addresses(); n != 0 {
		t.Errorf("%d addresses are left", n)
	}
	if got := x.LastAnswer(endpoint(t, "9.9.9.1:3333")); !got.IsZero() {
		t.Errorf("an answer of %s is left", got)
	}
	if got := x.Unlisted(0); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}

// TestUnlisted is of what answered as a pool and stands in no catalogue.
func TestUnlisted(t *testing.T) {
	x := index(t)
	got := x.Unlisted(0)
	if len(got) != 1 || got[0].Address.String() != "9.9.9.50" || got[0].Port != 8080 || got[0].Layer != lookup.LayerHistory || got[0].Pool != "" {
		t.Errorf("unlisted: %+v", got)
	}
	if got := x.Unlisted(80); len(got) != 0 {
		t.Errorf("of port 80: %+v", got)
	}
}

func TestMark(t *testing.T) {
	x := index(t)
	rapid.Check(t, func(t *rapid.T) {
		a := addr(rapid.SampledFrom([]string{"9.9.9.1", "9.9.9.2", "9.9.9.20", "9.9.9.50", "9.9.9.51", "2620:fe::9", "8.8.8.8"}).Draw(t, "address"))
		ep := minecanary.NewEndpoint(a, rapid.SampledFrom([]uint16{3333, 443, 8080, 80, 1}).Draw(t, "port"), minecanary.TCP)
		at := day(1).Add(time.Duration(rapid.IntRange(-48, 24*22).Draw(t, "hour")) * time.Hour)
		if rapid.Bool().Draw(t, "ever") {
			at = time.Time{}
		}
		level, row := x.Mark(ep, at)
		find := func(text string) []lookup.Match {
			q, err := lookup.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			q.At = at
			return x.Find(q, 100).Matches
		}
		exact := find(netip.AddrPortFrom(ep.Addr, ep.Port).String())
		listed := slices.ContainsFunc(exact, func(m lookup.Match) bool { return m.Pool != "" && m.Mark == "" })
		proved := slices.ContainsFunc(exact, func(m lookup.Match) bool {
			return m.Pool == "" && (m.Status == minecanary.Confirmed || at.IsZero() && !m.LastProof.IsZero())
		})
		own := slices.ContainsFunc(find(a.String()), func(m lookup.Match) bool { return m.Pool != "" && m.Mark == "" })
		known := slices.ContainsFunc(find(a.String()), func(m lookup.Match) bool { return m.Pool != "" })
		want := lookup.NotKnown
		switch {
		case listed, proved:
			want = lookup.KnownPool
		case own:
			want = lookup.KnownAddress
		case known:
			want = lookup.SharedAddress
		}
		if level != want || (row.Pool != nil) != known {
			t.Fatalf("%s at %s: %s with %v, want %s with %v", ep, at, level, row.Pool, want, known)
		}
	})
	if n := testing.AllocsPerRun(100, func() { x.Mark(endpoint(t, "9.9.9.1:3333"), day(3)) }); n > 1 { // ParseEndpoint's
		t.Errorf("%v allocations", n)
	}
}

// FuzzQuery wants that every question is answered or refused.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"eu.alpha.net", "*.alpha.net:3333", "9.9.9.0/24", "[::1]:3333", "stratum+tcp://a.net:1/", ":3333", "::ffff:1.2.3.0/120", "::/0", "a b", "fe80::1%eth0"} {
		f.Add(s)
	}
	x := index(f)
	f.Fuzz(func(t *testing.T, s string) {
		q, err := lookup.Parse(s)
		if err != nil {
			return
		}
		if r := x.Find(q, 5); len(r.Matches) > 5 || r.Known != (len(r.Matches) > 0) {
			t.Fatal(r)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	layer, _ := catalog.Shipped()
	x := lookup.New(catalog.New(layer))
	hosts := x.Catalog().Hosts()
	for i, h := range hosts {
		a := netip.AddrFrom4([4]byte{9, byte(i >> 16), byte(i >> 8), byte(i)})
		x.SetAddresses(h, []lookup.Address{{Name: h, Addr: a, Span: span(1, 20)}})
	}
	for _, bb := range []struct{ name, text string }{{"name", hosts[len(hosts)/2]}, {"address", "9.0.0.77"}, {"endpoint", "9.0.0.77:3333"}, {"miss", "8.8.8.8"}} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				q, err := lookup.Parse(bb.text)
				if err != nil {
					b.Fatal(err)
				}
				x.Find(q, 100)
			}
		})
	}
	b.Run("mark", func(b *testing.B) {
		ep := minecanary.NewEndpoint(addr("9.0.0.77"), 3333, minecanary.TCP)
		at := day(3)
		b.ReportAllocs()
		for b.Loop() {
			x.Mark(ep, at)
		}
	})
}

// TestMarkBetween holds the mark of a stretch of time against the best of its hours.
func TestMarkBetween(t *testing.T) {
	x := index(t)
	rapid.Check(t, func(t *rapid.T) {
		a := addr(rapid.SampledFrom([]string{"9.9.9.1", "9.9.9.2", "9.9.9.20", "9.9.9.50", "9.9.9.51", "2620:fe::9", "8.8.8.8"}).Draw(t, "address"))
		ep := minecanary.NewEndpoint(a, rapid.SampledFrom([]uint16{3333, 443, 8080, 80, 1}).Draw(t, "port"), minecanary.TCP)
		begin := day(1).Add(time.Duration(rapid.IntRange(-48, 24*22).Draw(t, "begin")) * time.Hour)
		end := begin.Add(time.Duration(rapid.IntRange(0, 72).Draw(t, "hours")) * time.Hour)
		best := lookup.NotKnown
		for at := begin; !at.After(end); at = at.Add(time.Hour) {
			level, _ := x.Mark(ep, at)
			best = max(best, level)
		}
		if level, _ := x.MarkBetween(ep, begin, end); level != best {
			t.Fatalf("%s from %s to %s: %s, want %s", ep, begin, end, level, best)
		}
	})
}
