package enrich

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
)

var (
	factClient = netip.MustParseAddr("10.0.0.1")
	factServer = minecanary.NewEndpoint(netip.MustParseAddr("192.0.2.1"), 3333, minecanary.TCP)
)

// TestFactsMerge: facts come to the same in any order, with any repeats.
func TestFactsMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Fact {
			at := rapid.Int64Range(1, 5).Draw(t, "at")
			return Fact{
				Kind: minecanary.SightedMining, Client: factClient, Addr: factServer.Addr, Port: 3333,
				ByServer: rapid.Bool().Draw(t, "by server"), Protocol: rapid.SampledFrom([]string{"", "monero", "stratum-v1"}).Draw(t, "protocol"),
				Login: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "login"), First: at, Last: at,
			}
		}), 1, 8).Draw(t, "facts")
		pair := minecanary.Pair{Client: factClient, Server: factServer}
		learn := func(list []Fact) map[string]Fact {
			table := newFactTable()
			for i := range list {
				f := list[i]
				table.learn(&f, false)
			}
			out := map[string]Fact{}
			for _, f := range table.of(pair) {
				out[f.Key()] = f
			}
			return out
		}
		shuffled := append(rapid.Permutation(facts).Draw(t, "order"), facts[0])
		for key, want := range learn(facts) {
			got := learn(shuffled)[key]
			// Texts of one time fill up from one another; only times must agree to the last.
			if got.First != want.First || got.Last != want.Last || (got.Login == "") != (want.Login == "") {
				t.Fatal(cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})))
			}
		}
	})
}

// TestFactsAreBounded learns more than are held.
func TestFactsAreBounded(t *testing.T) {
	table := newFactTable()
	client := netip.MustParseAddr("10.0.0.0")
	for i := range MaxFacts + 10_000 {
		client = client.Next()
		f := Fact{Kind: minecanary.SightedRule, Client: client, Addr: factServer.Addr, Port: 1, First: int64(i), Last: int64(i)}
		table.learn(&f, false)
	}
	held, dropped := table.len()
	if held > MaxFacts || held < MaxFacts/2 || dropped == 0 {
		t.Errorf("%d held, %d dropped", held, dropped)
	}
	// Those of long ago leave first.
	f := Fact{Kind: minecanary.SightedRule, Client: factClient, Addr: factServer.Addr, Port: 2, Last: (72 * time.Hour).Microseconds()}
	for i := range MaxFacts {
		f.Addr = f.Addr.Next()
		g := f
		g.Rule = uint32(i)
		table.learn(&g, false)
	}
	if held, _ := table.len(); held > MaxFacts {
		t.Errorf("%d held", held)
	}
	for i := range maxFactsOfPair + 3 {
		g := Fact{Kind: minecanary.SightedRule, Client: factClient, Addr: factClient, Port: 9, Rule: uint32(i)}
		table.learn(&g, false)
	}
	if n := len(table.pairs[factKey{factClient, factClient, 9}]); n > maxFactsOfPair {
		t.Errorf("%d facts of one pair", n)
	}
}

// TestFactsAreToldAgain: what goes on is told anew every now and then, so that those who keep facts do not think that it
// has ended.
func TestFactsAreToldAgain(t *testing.T) {
	table := newFactTable()
	told := 0
	for minute := range 24 * 60 {
		f := Fact{Kind: minecanary.SightedDNS, Client: factClient, Addr: factServer.Addr, Name: "pool.example", Last: int64(minute) * 60e6}
		if table.learn(&f, false) {
			told++
		}
	}
	if told != 24*6 {
		t.Errorf("told %d times in a day", told)
	}
}

// TestJunkDoesNotHide: what says more stays, however much of the other there is.
func TestJunkDoesNotHide(t *testing.T) {
	table := newFactTable()
	pair := minecanary.Pair{Client: factClient, Server: factServer}
	of := func(f Fact) Fact {
		f.Client, f.Addr, f.Port = factClient, factServer.Addr, factServer.Port
		return f
	}
	for i := range 3 * maxFactsOfPair {
		f := of(Fact{Kind: minecanary.SightedRule, Rule: uint32(i), Last: int64(100 + i)})
		table.learn(&f, false)
	}
	line := of(Fact{Kind: minecanary.SightedMining, ByServer: true, Last: 1})
	if !table.learn(&line, false) {
		t.Error("alerts keep out what the server said")
	}
	for i := range 3 * maxFactsOfPair {
		f := of(Fact{Kind: minecanary.SightedRule, Rule: uint32(1000 + i), Last: int64(1000 + i)})
		table.learn(&f, false)
	}
	here := func() bool {
		for _, f := range table.of(pair) {
			if f.ByServer {
				return true
			}
		}
		return false
	}
	if !here() {
		t.Error("alerts pushed out what the server said")
	}
	client := netip.MustParseAddr("10.1.0.0")
	junk := func(n int, f Fact) {
		for i := range n {
			f.Addr, f.Port, f.Rule, f.Last = factClient, 1, uint32(i), int64(1e6+i)
			f.Addr = netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
			g := f
			table.learn(&g, false)
		}
	}
	junk(2*MaxFacts, Fact{Kind: minecanary.SightedRule, Client: client})
	if n := table.clients[client]; n > maxFactsOfClient {
		t.Errorf("one client has %d facts", n)
	}
	for range 30 {
		client = client.Next()
		junk(maxFactsOfClient, Fact{Kind: minecanary.SightedRule, Client: client})
	}
	if held, _ := table.len(); held > MaxFacts || !here() {
		t.Errorf("%d facts; what the server said is there: %t", held, here())
	}
	sum := 0
	for _, n := range table.clients {
		sum += n
	}
	if held, _ := table.len(); sum != held {
		t.Errorf("clients have %d facts, the table has %d", sum, held)
	}
}

// TestNames: the newest name counts, one of the server before one of its address.
func TestNames(t *testing.T) {
	table := newNameTable()
	all := factServer
	all.Port = 0
	if got := table.of(factServer); got != "" {
		t.Errorf("an empty table says %q", got)
	}
	table.learn(all, "b.example", 2e6)
	table.learn(all, "a.example", 1e6)
	if got := table.of(factServer); got != "b.example" {
		t.Errorf("of the address: %q", got)
	}
	table.learn(factServer, "c.example", 1e6)
	table.learn(factServer, strings.Repeat("x", minecanary.MaxName+1), 9e6)
	if got := table.of(factServer); got != "c.example" {
		t.Errorf("of the server: %q", got)
	}
}

// TestNamesAreBounded holds a million names and the memory they take.
func TestNamesAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	const most = 64 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table := newNameTable()
	ep := factServer
	ep.Port = 0
	for i := range MaxNames + MaxNames/2 { // two full generations
		ep.Addr = ep.Addr.Next()
		table.learn(ep, fmt.Sprintf("host-%07d.cdn.example.com", i), int64(i)*1e6)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := table.len(); n > MaxNames || n < MaxNames/2 {
		t.Errorf("%d names", n)
	}
	if used := after.HeapAlloc - before.HeapAlloc; used > most {
		t.Errorf("%d names take %d MB", table.len(), used>>20)
	} else {
		t.Logf("%d names take %d MB", table.len(), used>>20)
	}
	if table.of(ep) == "" {
		t.Error("the newest is gone")
	}
}

func BenchmarkNames(b *testing.B) {
	table := newNameTable()
	ep := factServer
	var names [1024]string
	for i := range names {
		names[i] = fmt.Sprintf("host-%07d.cdn.example.com", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		ep.Addr = ep.Addr.Next()
		table.learn(ep, names[i%len(names)], int64(i)*1e6)
	}
}
