package app

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/resolver/dnstest"
	"github.com/minecanary/minecanary/intel/sweep"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/spar"
)

// act is what listens on a port from an hour on; nothing if the dialect is "".
type act struct {
	hour    int
	dialect string
	tls     spar.TLS
	status  minecanary.VerdictStatus
}

// TestSweepOfPools has the real resolver and the real prober sweep almost three days: a DNS server whose names move, and servers
// that are pools for a while, something else, or nothing. The history says afterwards what each was when.
func TestSweepOfPools(t *testing.T) {
	const hours, every = 66, 3 // a round each three hours
	start := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	hour := 0
	var now atomic.Int64 // the same for the clock, which a server's late goroutine may still look at
	clock := func() time.Time { return start.Add(time.Duration(now.Load()) * time.Hour) }
	stage := [][]act{
		{{0, "stratum-v1", spar.Plain, minecanary.Confirmed}},
		{{0, "", spar.Plain, minecanary.Inconclusive}, {12, "xmrig-proxy", spar.Only, minecanary.Confirmed}, {60, "http", spar.Plain, minecanary.NotPool}},
		{{0, "cryptonote", spar.Plain, minecanary.Confirmed}, {21, "", spar.Plain, minecanary.Inconclusive}, {27, "cryptonote", spar.Plain, minecanary.Confirmed}, {33, "", spar.Plain, minecanary.Inconclusive}},
	}
	servers := make([]*spar.Server, len(stage))
	ports := make([]uint16, len(stage))
	// play puts on the stage what is due now. A port keeps its number, whoever listens there.
	play := func() {
		for i, acts := range stage {
			for _, a := range acts {
				if a.hour != hour {
					continue
				}
				if servers[i] != nil {
					servers[i].Close()
					servers[i] = nil
				}
				dialect := cmp.Or(a.dialect, "stratum-v1") // only to have a port
				if a.dialect == "" && ports[i] != 0 {
					continue
				}
				s, err := spar.Start(t.Context(), spar.Options{Addr: fmt.Sprintf("127.0.0.1:%d", ports[i]), All: true, Dialect: dialect, TLS: a.tls})
				if err != nil {
					t.Fatal(err)
				}
				ports[i] = s.Addr().Port()
				if servers[i] = s; a.dialect == "" {
					s.Close()
					servers[i] = nil
				}
			}
		}
	}
	play()
	defer func() {
		for _, s := range servers {
			if s != nil {
				s.Close()
			}
		}
	}()
	// The pool moves after a day and a half.
	addr := func(at time.Time) netip.Addr {
		if at.Before(start.Add(36 * time.Hour)) {
			return netip.MustParseAddr("127.0.0.1")
		}
		return netip.MustParseAddr("127.0.0.2")
	}
	server := catalog.Server{Name: "eu.pool.example"}
	for i, p := range ports {
		server.Endpoints = append(server.Endpoints, catalog.Endpoint{Port: p, TLS: i == 1})
	}
	known := catalog.New(catalog.Layer{Pools: []catalog.Pool{{ID: "alpha", Name: "Alpha", Servers: []catalog.Server{server}}}})
	dns, err := resolver.New(resolver.Config{
		Servers: []string{dnstest.Serve(t, func(string) dnstest.Answer { return dnstest.Answer{Addrs: []netip.Addr{addr(clock())}} })},
		PerZone: resolver.Unlimited, Now: clock, Timeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := prober.DefaultConfig()
	cfg.Allow, cfg.DenyPorts = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, nil
	cfg.Listen, cfg.Settle = 200*time.Millisecond, 300*time.Millisecond // nobody here is far away
	asker, err := prober.New(cfg, &seen{}, clock)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), historyFile)
	book, err := history.Open(path, history.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	sweeper := sweep.New(sweep.Config{
		Catalog: func() *catalog.Catalog { return known }, Resolver: dns, Verifier: asker, Book: book, Index: lookup.New(known),
		ResolveEvery: 25 * time.Minute, ProbeEvery: 150 * time.Minute, Now: clock, Warn: func(err error) { t.Error(err) },
	})
	for ; hour < hours; hour += every {
		now.Store(int64(hour))
		if hour > 0 {
			play()
		}
		if _, err := sweeper.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	now.Store(int64(hour))
	if err := dns.Close(); err != nil {
		t.Error(err)
	}
	// Those that were refused are of the pause after failures.
	if s := sweeper.Status(); s.Probed[minecanary.Confirmed] < 36 || s.Probed[minecanary.NotPool] == 0 || s.Probed[minecanary.Inconclusive] == 0 {
		t.Errorf("status %+v", s)
	}
	if err := book.Close(); err != nil {
		t.Fatal(err)
	}

	// Another process answers.
	if book, err = history.Open(path, history.Options{Now: clock}); err != nil {
		t.Fatal(err)
	}
	x := lookup.New(known)
	if err := book.View(func(v *history.View) error { return x.Load(v, nil) }); err != nil {
		t.Fatal(err)
	}
	if err := book.Close(); err != nil {
		t.Fatal(err)
	}
	for at := start; at.Before(start.Add(hours * time.Hour)); at = at.Add(47 * time.Minute) {
		for i, acts := range stage {
			// A round sees what is there then, and it holds until the next: a verdict also through failures, for a day.
			want, dialect, proved := minecanary.VerdictStatus(""), "", time.Time{}
			for round := range int(at.Sub(start)/time.Hour)/every + 1 {
				then := start.Add(time.Duration(round*every) * time.Hour)
				if addr(then) != addr(at.Truncate(every*time.Hour)) {
					continue
				}
				var now act
				for _, a := range acts {
					if a.hour <= round*every {
						now = a
					}
				}
				if now.status != minecanary.Inconclusive || proved.IsZero() || at.Sub(proved) >= history.DefaultMaxGap {
					want, dialect = now.status, now.dialect
				}
				if now.status != minecanary.Inconclusive {
					proved = then
				}
			}
			if want != minecanary.Confirmed {
				dialect = ""
			}
			if dialect == "xmrig-proxy" {
				dialect = "cryptonote" // whose server that is
			}
			q := lookup.Query{Kind: lookup.ByName, Name: server.Name, Port: ports[i], At: at}
			r := x.Find(q, 10)
			if len(r.Matches) != 1 {
				t.Fatalf("%d matches at %s", len(r.Matches), at)
			}
			m := r.Matches[0]
			if m.Status != want || m.Dialect != dialect || m.Address != addr(at.Truncate(every*time.Hour)) {
				t.Errorf("port %d after %s: %s is %s %s (%s), want %s %s", i, at.Sub(start), m.Address, m.Status, m.Dialect, m.Reason, want, dialect)
			}
			if level, _ := x.Mark(minecanary.NewEndpoint(m.Address, m.Port, minecanary.TCP), at); level != lookup.KnownPool {
				t.Errorf("port %d after %s: %s", i, at.Sub(start), level)
			}
		}
	}
}
