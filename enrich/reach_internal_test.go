package enrich

import (
	"math"
	"net/netip"
	"testing"

	"github.com/minecanary/minecanary"
)

func reachSlices(client netip.Addr, server netip.Addr, end int64) minecanary.Slices {
	return minecanary.Slices{Pair: minecanary.Pair{Client: client, Server: minecanary.NewEndpoint(server, 443, minecanary.TCP)}, End: end, ServerPackets: 1, ClientPayload: 1}
}

// TestReach counts clients of an address, forgets them after two generations, and says what it does not know.
func TestReach(t *testing.T) {
	day := reachSpan.Microseconds()
	server, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, clients := range []int{0, 1, 5, 50, 100, 500, 1000} {
		r := newReach()
		client := netip.MustParseAddr("10.0.0.0")
		for range clients {
			client = client.Next()
			s := reachSlices(client, server, 1)
			r.see([]minecanary.Slices{s, s}, math.MaxInt64)
		}
		n, ok := r.hosts(server)
		// Six standard errors of linear counting: the hashes are other ones in each run.
		load := float64(clients) / reachBits
		most := 2 + 6*math.Sqrt(reachBits*(math.Exp(load)-load-1))
		if math.Abs(float64(n-clients)) > most || ok != (clients > 0) {
			t.Errorf("%d clients are %d, %t; want them to within %.0f", clients, n, ok, most)
		}
	}
	r := newReach()
	silent := reachSlices(other, other, 1)
	silent.ClientPayload = 0
	r.see([]minecanary.Slices{reachSlices(other, server, 1), silent}, math.MaxInt64)
	if n, _ := r.hosts(other); n != 0 {
		t.Error("who sent no data talked to it")
	}
	// A clock that is wrong by years does not stop the turning.
	r.see([]minecanary.Slices{reachSlices(other, other, 9999*day)}, 1+day)
	if n, _ := r.hosts(server); n != 1 {
		t.Errorf("after a day %d", n)
	}
	if _, ok := r.hosts(netip.MustParseAddr("192.0.2.3")); !ok {
		t.Error("after a day nothing is known of an address that nobody went to")
	}
	r.see([]minecanary.Slices{reachSlices(other, other, 2+2*day)}, math.MaxInt64)
	if n, _ := r.hosts(server); n != 0 {
		t.Errorf("after two days %d", n)
	}
	client := netip.MustParseAddr("2001:db8::")
	for range MaxReach + 10 {
		client = client.Next()
		r.see([]minecanary.Slices{reachSlices(server, client, 3+2*day)}, math.MaxInt64)
	}
	if _, ok := r.hosts(server); ok || len(r.young) > MaxReach {
		t.Errorf("%d addresses are followed; one that may not be is said to be known", len(r.young))
	}
}

func BenchmarkReach(b *testing.B) {
	r := newReach()
	all := make([]minecanary.Slices, 4096)
	server, client := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.0")
	for i := range all {
		client, server = client.Next(), server.Next()
		all[i] = reachSlices(client, server, 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.see(all, math.MaxInt64)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/record")
}
