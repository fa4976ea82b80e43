package memory

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// TestFacts puts facts, cuts the file as a crash would, and reads them again.
func TestFacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sightings.ndjson")
	f, err := OpenFacts(path)
	if err != nil {
		t.Fatal(err)
	}
	one := enrich.Fact{
		Kind: minecanary.SightedMining, Client: netip.MustParseAddr("10.0.0.1"), Addr: netip.MustParseAddr("192.0.2.1"), Port: 3333,
		Protocol: "monero", First: 1, Last: 2,
	}
	later := one
	later.Last, later.Login = 9, "wallet"
	other := enrich.Fact{Kind: minecanary.SightedDNS, Addr: netip.MustParseAddr("2001:db8::1"), Name: "pool.example", First: 3, Last: 3}
	for _, facts := range [][]enrich.Fact{{one}, {other, later}} {
		if err := f.Put(t.Context(), facts); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	half, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.WriteString(`{"kind":0,"addr":"192.0.2.9","po`); err != nil {
		t.Fatal(err)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = OpenFacts(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, version, err := f.Since(t.Context(), 0)
	if diff := cmp.Diff([]enrich.Fact{later, other}, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, again, err := f.Since(t.Context(), version); len(got) > 0 || again != version || err != nil {
		t.Error(got, again, err)
	}
}
