package lookup_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
)

// What a start may cost, with a year of probes every three hours behind it.
const (
	yearNames     = 2000
	yearEndpoints = 10_000
	maxStart      = time.Second
	maxYearFile   = 200 << 20
)

// yearCatalogue has names with the same number of ports each.
func yearCatalogue(names, endpoints int) *catalog.Catalog {
	p := catalog.Pool{ID: "year", Name: "Year", Kind: catalog.Public}
	for n := range names {
		s := catalog.Server{Name: fmt.Sprintf("eu%d.pool%d.example", n%7, n/7)}
		for e := range endpoints / names {
			s.Endpoints = append(s.Endpoints, catalog.Endpoint{Port: uint16(3333 + e)})
		}
		p.Servers = append(p.Servers, s)
	}
	return catalog.New(catalog.Layer{Pools: []catalog.Pool{p}})
}

// flaps are how many of ten thousand answers differ from what the endpoint mostly says.
type flaps struct{ most, some int }

var (
	// fewFlap: one in a thousand answers, and every tenth of 3 % of the endpoints.
	fewFlap = flaps{10, 1000}
	// allFlap: 3 % of all answers.
	allFlap = flaps{300, 300}
)

// yearHistory writes the history of such a catalogue: each endpoint is asked eight times a day, and every name moves once in
// the year. Of answers that agree it writes the first and the last: with a gap of a year the history makes the same rows of
// them as of all. It gives the clock at the end.
func yearHistory(tb testing.TB, path string, c *catalog.Catalog, f flaps) time.Time {
	tb.Helper()
	const every = 3 * time.Hour
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	db, err := history.Open(path, history.Options{Now: func() time.Time { return now }, MaxGap: 400 * 24 * time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(6, 10))
	hosts := c.Hosts()
	moves := make([]int, len(hosts))
	for i := range moves {
		moves[i] = 1 + rnd.IntN(363)
	}
	flapped := map[string]bool{}
	for day := range 365 {
		began := now
		now = now.Add(24 * time.Hour)
		err := db.Update(tb.Context(), func(tx *history.Tx) error {
			for i, host := range hosts {
				addr := netip.AddrFrom4([4]byte{5, 5, byte(i >> 8), byte(i)})
				if day >= moves[i] {
					addr = netip.AddrFrom4([4]byte{5, 6, byte(i >> 8), byte(i)})
				}
				edge := day == 0 || day == 364 || day == moves[i] || day == moves[i]-1
				if !edge && f.most < 100 && i%33 != 0 && rnd.IntN(12) != 0 {
					continue // nothing happens on most days
				}
				if err := tx.Resolved(history.Observation{Name: host, At: began, Addrs: []netip.Addr{addr}}); err != nil {
					return err
				}
				often := f.most
				if i%33 == 0 {
					often = f.some
				}
				if f.most < 100 && i%33 != 0 {
					often *= 12 // on the days that are left
				}
				for _, r := range c.Host(host) {
					key := fmt.Sprint(host, r.Endpoint.Port)
					for probe := range 8 {
						p := history.Probe{
							Endpoint: minecanary.NewEndpoint(addr, r.Endpoint.Port, minecanary.TCP), Name: host,
							At: began.Add(time.Duration(probe)*every + time.Duration(rnd.IntN(600))*time.Second), Status: minecanary.Confirmed,
							Dialect: "stratum-v1", Coin: "bitcoin-family",
							Reason: "stratum-v1: answered mining.subscribe and sent a job of difficulty 65536, as nobody but a pool does",
						}
						flaps := rnd.IntN(10_000) < often
						if flaps && rnd.IntN(3) == 0 {
							p.Status, p.Reason = minecanary.NotPool, "HTTP/1.1 502 Bad Gateway, and nothing that a pool says"
						} else if flaps {
							p.Status, p.Reason = minecanary.Inconclusive, "no dialect got an answer: i/o timeout after 10 s"
						}
						if flaps || flapped[key] || edge && (probe == 0 || probe == 7) {
							if err := tx.Probed(p); err != nil {
								return err
							}
						}
						flapped[key] = flaps
					}
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	return now
}

// start opens a history and loads it, as the program does at its start.
func start(tb testing.TB, path string, c *catalog.Catalog) (x *lookup.Index, opened, loaded time.Duration) {
	tb.Helper()
	began := time.Now()
	db, err := history.Open(path, history.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	opened = time.Since(began)
	x = lookup.New(c)
	if err := db.View(func(v *history.View) error { return x.Load(v, nil) }); err != nil {
		tb.Fatal(err)
	}
	loaded = time.Since(began) - opened
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	return x, opened, loaded
}

// BenchmarkStart prints what a start with 10,000 endpoints and a year of history takes, and how large the file is. It is to
// be run once (-benchtime 1x).
func BenchmarkStart(b *testing.B) {
	c := yearCatalogue(yearNames, yearEndpoints)
	for _, bb := range []struct {
		name  string
		flaps flaps
		held  bool // to the bounds
	}{
		{"few flap", fewFlap, true},
		{"all flap", allFlap, false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "history.db")
			yearHistory(b, path, c, bb.flaps)
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			var opened, loaded []time.Duration
			for b.Loop() {
				for range 3 {
					_, o, l := start(b, path, c)
					opened, loaded = append(opened, o), append(loaded, l)
				}
			}
			o, l := slices.Min(opened), slices.Min(loaded)
			if bb.held && (o+l > maxStart || info.Size() > maxYearFile) {
				b.Errorf("%d bytes, opened in %s, loaded in %s", info.Size(), o, l)
			}
			b.ReportMetric(float64(info.Size())/1e6, "MB")
			b.ReportMetric(float64(o.Milliseconds()), "open-ms")
			b.ReportMetric(float64(l.Milliseconds()), "load-ms")
		})
	}
}
