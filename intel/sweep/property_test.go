package sweep_test

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/sweep"
)

// TestProperty: whatever short list of things happens to names and endpoints, at whatever times, with restarts in between,
// the answers about any moment are those of the plain list, while the process runs and after the file was opened again.
func TestProperty(t *testing.T) {
	dir := fastDir(t)
	hosts := []string{"a.example", "b.example"}
	ports := []uint16{3333, 443}
	// Of one family each: how the two are judged apart is the resolver's own.
	pools := [][]netip.Addr{addrs("5.5.0.1", "5.5.0.2", "5.5.0.3"), addrs("2a00:5::1", "2a00:5::2")}
	rapid.Check(t, func(r *rapid.T) {
		sub, err := os.MkdirTemp(dir, "property") //nolint:usetesting // one for each of many runs, in memory
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(sub) }()
		w := newWorld(t, sub, pool(hosts, ports...))
		plain := &model{ports: ports, names: map[string][]heard{}, endpoints: map[minecanary.Endpoint][]said{}}
		now := map[string]resolver.Answer{}
		w.names.answer = func(_ context.Context, name string, _ time.Time) (resolver.Answer, error) { return now[name], nil }
		statuses := map[minecanary.Endpoint]minecanary.VerdictStatus{}
		w.asker.answer = func(_ context.Context, q minecanary.Question, at time.Time) (minecanary.Verdict, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			plain.endpoints[q.Endpoint] = append(plain.endpoints[q.Endpoint], said{at, statuses[q.Endpoint]})
			return minecanary.Verdict{Status: statuses[q.Endpoint]}, nil
		}
		start := func() {
			w.start(func(c *sweep.Config) { c.Parallel = 1 })
		}
		start()
		at := day0
		moments := []time.Time{day0.Add(-time.Millisecond)}
		for range rapid.IntRange(1, 12).Draw(r, "events") {
			// Longer than the interval of lookups, so that every name is due at each event; at times longer than anything holds.
			at = at.Add(rapid.SampledFrom([]time.Duration{
				34 * time.Minute, time.Hour, 3*time.Hour + 31*time.Minute, 23 * time.Hour, 24 * time.Hour, 24*time.Hour + time.Millisecond, 60 * time.Hour,
			}).Draw(r, "later"))
			for i, name := range hosts {
				a := resolver.Answer{Code: rapid.SampledFrom([]resolver.Code{
					resolver.NoError, resolver.NoError, resolver.NoError, resolver.NXDomain, resolver.ServFail, resolver.Timeout, "loop",
				}).Draw(r, "code")}
				h := heard{at: at, failed: !a.Code.Final()}
				switch a.Code {
				case "loop":
					a.Code, a.Loop = resolver.NoError, true
				case resolver.NoError:
					a.Addrs = rapid.SliceOfDistinct(rapid.SampledFrom(pools[i]), rapid.ID).Draw(r, "addresses")
					slices.SortFunc(a.Addrs, netip.Addr.Compare)
					h.addrs = a.Addrs
				}
				now[name], plain.names[name] = a, append(plain.names[name], h)
				for _, addr := range pools[i] {
					for _, port := range ports {
						statuses[minecanary.NewEndpoint(addr, port, minecanary.TCP)] = rapid.SampledFrom([]minecanary.VerdictStatus{
							minecanary.Confirmed, minecanary.Confirmed, minecanary.Node, minecanary.NotPool, minecanary.Inconclusive, minecanary.Blocked,
						}).Draw(r, "status")
					}
				}
			}
			w.step(at)
			moments = append(moments, at.Add(-time.Millisecond), at, at.Add(holds-time.Millisecond), at.Add(holds))
			if rapid.IntRange(0, 4).Draw(r, "restart") == 0 {
				w.stop()
				start()
			}
		}
		check := func(when string) {
			for _, addr := range slices.Concat(pools...) {
				for _, port := range append([]uint16{1}, ports...) {
					ep := minecanary.NewEndpoint(addr, port, minecanary.TCP)
					for _, moment := range moments {
						want, level := plain.find(ep, moment)
						got, gotLevel := w.found(ep, moment)
						if diff := cmp.Diff(want, got); diff != "" || level != gotLevel {
							r.Fatalf("%s: %s %s after the begin: level %s, want %s\n%s", when, ep, moment.Sub(day0), gotLevel, level, diff)
						}
					}
				}
			}
		}
		check("while it runs")
		w.stop()
		w.start()
		check("after a restart")
		w.stop()
		if w.names.double != nil || w.asker.double != nil {
			r.Fatalf("asked twice at once: %v, %v", w.names.double, w.asker.double)
		}
	})
}
