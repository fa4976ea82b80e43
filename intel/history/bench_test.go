package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
)

// year writes a year of sweeps every three hours over so many endpoints with a name each, a few percent of which change
// what they answer or do not answer at all, and some names their address. It gives the clock at its end.
func year(tb testing.TB, path string, endpoints int) time.Time {
	tb.Helper()
	now := day0
	db, err := Open(path, Options{Now: func() time.Time { return now }, noSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	proof := []minecanary.Evidence{{
		Kind: "probe", Strength: minecanary.Proof, Summary: "answered mining.subscribe with a session and mining.notify with a job",
		Transcript: []string{">> " + strings.Repeat("s", 120), "<< " + strings.Repeat("n", 200), ">> " + strings.Repeat("a", 150), "<< " + strings.Repeat("j", 900)},
	}}
	for range 365 * 8 {
		now = now.Add(3 * time.Hour)
		err := db.Update(tb.Context(), func(tx *Tx) error {
			for i := range endpoints {
				at := now.Add(-time.Duration(rnd.IntN(600)) * time.Second)
				p := Probe{
					Endpoint: endpoint(i), Name: fmt.Sprintf("eu%d.pool%d.example", i%7, i/7), At: at, Status: minecanary.Confirmed,
					Dialect: "stratum-v1", Coin: "bitcoin-family", TLS: i%5 == 0, Evidence: proof,
					Reason: "stratum-v1: answered mining.subscribe and sent a job of difficulty 65536, as nobody but a pool does",
				}
				switch rnd.IntN(100) { // 3 %
				case 0, 1:
					p.Status, p.Reason = minecanary.Inconclusive, "no dialect got an answer: i/o timeout after 10 s"
				case 2:
					p.Status, p.Reason = minecanary.NotPool, "HTTP/1.1 502 Bad Gateway, and nothing that a pool says"
				}
				o := Observation{Name: p.Name, At: at, Addrs: []netip.Addr{p.Endpoint.Addr, netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})}}
				if rnd.IntN(100) == 0 { // 1 %
					o.Addrs[1] = endpoint(1<<16 + rnd.IntN(1<<12)).Addr
				}
				if err := errors.Join(tx.Probed(p), tx.Resolved(o)); err != nil {
					return err
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

// Limits of a year of 2,000 endpoints.
const (
	yearEndpoints = 2000
	maxYearSize   = 200 << 20
	maxOpen       = time.Second
)

// TestYear writes a year of a part of the endpoints; BenchmarkYear of all.
func TestYear(t *testing.T) {
	const part = 100
	path := filepath.Join(t.TempDir(), "history.db")
	now := year(t, path, yearEndpoints/part)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB, so %.0f MB for %d endpoints", float64(info.Size())/1e6, float64(info.Size())/1e6*part, yearEndpoints)
	if info.Size() > maxYearSize/part {
		t.Errorf("%d bytes", info.Size())
	}
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The whole year is told, and the same back to its first day.
	for _, at := range []time.Time{day0.Add(4 * time.Hour), now} {
		states := ask(t, db, func(v *View) ([]State, error) { return v.Endpoints(network("192.0.0.0/16"), Query{At: at}) })
		if len(states) < yearEndpoints/part*9/10 {
			t.Errorf("%d endpoints at %s", len(states), at)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkYear prints how large a year is, and how long opening and checking it takes. It is to be run once
// (-benchtime 1x).
func BenchmarkYear(b *testing.B) {
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "history.db")
		year(b, path, yearEndpoints)
		start := time.Now()
		db, err := Open(path, Options{})
		took := time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
		s, err := db.Stats()
		if err := errors.Join(err, db.Close()); err != nil {
			b.Fatal(err)
		}
		if s.Size > maxYearSize || took > maxOpen {
			b.Errorf("%d bytes, opened in %s", s.Size, took)
		}
		b.ReportMetric(float64(s.Size)/1e6, "MB")
		b.ReportMetric(float64(s.Free)/1e6, "MB-free")
		b.ReportMetric(float64(s.Rows), "rows")
		b.ReportMetric(float64(took.Milliseconds()), "open-ms")
	}
}

// BenchmarkLookup asks a year of a tenth of the endpoints.
func BenchmarkLookup(b *testing.B) {
	const endpoints = yearEndpoints / 10
	path := filepath.Join(b.TempDir(), "history.db")
	now := year(b, path, endpoints)
	db, err := Open(path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	past := now.Add(-200 * 24 * time.Hour)
	for _, bb := range []struct {
		name string
		ask  func(*View, int) (int, error)
	}{
		{"name now", func(v *View, i int) (int, error) {
			a, err := v.Addresses(fmt.Sprintf("eu%d.pool%d.example", i%7, i/7), Query{At: now})
			return len(a), err
		}},
		{"name then", func(v *View, i int) (int, error) {
			a, err := v.Addresses(fmt.Sprintf("eu%d.pool%d.example", i%7, i/7), Query{At: past})
			return len(a), err
		}},
		{"address then", func(v *View, i int) (int, error) {
			a, err := v.Names(prefixOf(endpoint(i).Addr), Query{At: past})
			return len(a), err
		}},
		{"endpoint now", func(v *View, i int) (int, error) {
			s, err := v.Endpoint(endpoint(i), Query{At: now})
			return len(s), err
		}},
		{"endpoint then", func(v *View, i int) (int, error) {
			s, err := v.Endpoint(endpoint(i), Query{At: past})
			return len(s), err
		}},
		{"endpoint, all", func(v *View, i int) (int, error) {
			s, err := v.Endpoint(endpoint(i), Query{})
			return len(s), err
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			i, found := 0, 0
			for b.Loop() {
				err := db.View(func(v *View) error {
					n, err := bb.ask(v, i%endpoints)
					found += n
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
				i++
			}
			if found < i*9/10 {
				b.Errorf("%d answers to %d questions", found, i)
			}
		})
	}
	if err := db.Close(); err != nil {
		b.Error(err)
	}
}
