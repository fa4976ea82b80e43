package app

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
)

// TestKnown wants only those endpoints known that are a pool's and nobody else's.
func TestKnown(t *testing.T) {
	cfg := config.Default()
	cfg.State.Dir = t.TempDir()
	d, err := openDirectory(cfg, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = d.register.Change(func(_ *catalog.Catalog, l *catalog.Layer) error {
		ports := []catalog.Endpoint{{Port: 443}, {Port: 3333}}
		l.PutPool(catalog.Pool{ID: "test", Name: "Test", Kind: catalog.Public, Servers: []catalog.Server{
			{Name: "a.pool.net", Endpoints: ports},
			{Name: "b.pool.net", Endpoints: ports},
			{Address: netip.MustParseAddr("104.16.2.2"), Endpoints: ports},
			{Address: netip.MustParseAddr("9.9.10.8"), Endpoints: ports},
		}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Minute)
	err = d.history.Update(t.Context(), func(tx *history.Tx) error {
		for name, addr := range map[string]string{"a.pool.net": "9.9.10.7", "b.pool.net": "104.16.1.1"} { // the second is a CDN's
			if err := tx.Resolved(history.Observation{Name: name, At: at, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.history.View(func(v *history.View) error {
		return errors.Join(d.index.LoadName(v, "a.pool.net", d.mark), d.index.LoadName(v, "b.pool.net", d.mark))
	})
	if err != nil {
		t.Fatal(err)
	}
	sink := historySink{d, func(err error) { t.Error(err) }}
	for _, tt := range []struct {
		endpoint string
		answer   minecanary.VerdictStatus
		want     bool
	}{
		{"9.9.10.7:443", "", false}, // perhaps its pages
		{"9.9.10.7:3333", minecanary.Confirmed, true},
		{"9.9.10.7:443", minecanary.Inconclusive, false},
		{"9.9.10.7:443", minecanary.Confirmed, true},
		{"9.9.10.7:3333", minecanary.Inconclusive, true}, // proves nothing
		{"9.9.10.7:443", minecanary.NotPool, false},
		{"9.9.10.7:8443", "", false},
		{"9.9.10.7:8443", minecanary.Confirmed, false}, // proved, but not what the catalogue says
		{"9.9.10.8:3333", "", true},
		{"9.9.10.8:3333", minecanary.Node, false},
		{"104.16.1.1:443", "", false},
		{"104.16.1.1:3333", minecanary.Confirmed, false}, // a neighbour's proof
		{"104.16.2.2:443", "", false},
	} {
		ep, err := minecanary.ParseEndpoint(tt.endpoint)
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Second)
		if tt.answer != "" {
			v := minecanary.Verdict{Endpoint: ep, Status: tt.answer, At: at, Expires: at.Add(time.Hour)}
			if err := sink.Probed(t.Context(), []minecanary.Verdict{v}); err != nil {
				t.Fatal(err)
			}
		}
		if k, ok := d.known(ep, at); (ok && k.Reason != "") != tt.want {
			t.Errorf("%s %s: %v %q", tt.endpoint, tt.answer, ok, k.Reason)
		}
	}
}

// TestSuspectsOfABusyEngine wants one reader to wait for an engine that has no time, and the others to be told.
func TestSuspectsOfABusyEngine(t *testing.T) {
	asked, busy := 0, errors.New("busy")
	l := &local{best: func(context.Context, int) ([]enrich.Ranked, error) { asked++; return nil, busy }}
	for range 3 {
		if _, err := l.Suspects(10); !errors.Is(err, busy) {
			t.Error(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
