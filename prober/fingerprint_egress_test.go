package prober

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/jarm"
	"github.com/minecanary/minecanary/prober/spar"
)

// TestJARMEgress: the connections of a fingerprint take the configured way out.
func TestJARMEgress(t *testing.T) {
	t.Parallel()
	pool, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: "stratum-v1", TLS: spar.Only})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	source := netip.MustParseAddr("127.0.0.77")
	from := proxied(netip.AddrPort{}, "", "")
	from.Proxy, from.Source = SOCKS5{}, []netip.Addr{source}
	var way *proxy
	for name, configure := range map[string]func() Config{
		"SOCKS5": func() Config {
			way = &proxy{user: "u", password: "secret"}
			return proxied(serve(t, way.serve), "u", "secret")
		},
		"source": func() Config { return from },
	} {
		var r Result
		// On a loaded machine one of the ten may take longer than JARMTime.
		for try := 0; try < 4 && !strings.HasPrefix(r.JARM, "JARM "); try++ {
			cfg := configure()
			cfg.JARM = true
			p, err := New(cfg, silentTrail{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r = p.Probe(t.Context(), minecanary.NewEndpoint(pool.Addr().Addr(), pool.Addr().Port(), minecanary.TCP), ProbeOptions{TLS: true})
		}
		if r.Status != minecanary.Confirmed || !strings.HasPrefix(r.JARM, "JARM ") || r.Connections != 1+jarm.Hellos {
			t.Errorf("%s: %s in %d connections: %s, %q", name, r.Status, r.Connections, r.Reason, r.JARM)
		}
		for _, talk := range r.Talks {
			if name == "source" && talk.Local.Addr() != source {
				t.Errorf("asked from %s", talk.Local)
			}
		}
	}
	if diff := cmp.Diff(slices.Repeat([]string{pool.Addr().String()}, 1+jarm.Hellos), way.requests()); diff != "" {
		t.Error(diff)
	}
}
