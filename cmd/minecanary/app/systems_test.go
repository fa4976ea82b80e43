package app

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/prober/audit"
)

// TestBudgetOfAutonomousSystem: prober.as_database and prober.per_as_hour reach the prober, and a broken database is an error
// before anybody is asked.
func TestBudgetOfAutonomousSystem(t *testing.T) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-ASN", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	network := &net.IPNet{IP: net.IPv4(127, 0, 0, 0), Mask: net.CIDRMask(8, 32)}
	if err := tree.Insert(network, mmdbtype.Map{"asn": mmdbtype.String("AS64500")}); err != nil {
		t.Fatal(err)
	}
	var database bytes.Buffer
	if _, err := tree.WriteTo(&database); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Prober.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cfg.Prober.ASDatabase = filepath.Join(t.TempDir(), "asn.mmdb")
	cfg.Prober.PerASHour = 1
	if err := os.WriteFile(cfg.Prober.ASDatabase, database.Bytes()[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newProber(cfg, nil, nil, nil); err == nil || !strings.Contains(err.Error(), cfg.Prober.ASDatabase) {
		t.Errorf("half a database: error %v", err)
	}
	if err := os.WriteFile(cfg.Prober.ASDatabase, database.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	trail, err := audit.Open(filepath.Join(t.TempDir(), "audit"))
	if err != nil {
		t.Fatal(err)
	}
	defer trail.Close()
	p, err := newProber(cfg, trail, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "budget of AS64500 (1 probes an hour) is used up", ""} {
		v, err := p.Verify(t.Context(), minecanary.Question{
			// Port 1 has no service here.
			Endpoint: minecanary.NewEndpoint(netip.AddrFrom4([4]byte{127, 20, 9, byte(1 + i)}), 1, minecanary.TCP),
			Client:   netip.MustParseAddr("10.0.0.1"), Reply: true, Payload: true, Catalogue: i == 2,
		})
		if err != nil || strings.Contains(v.Reason, "budget") != (want != "") || !strings.Contains(v.Reason, want) {
			t.Errorf("probe %d: %+v, %v; want %q", i, v, err, want)
		}
	}
}
