package sweep_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/resolver/dnstest"
	"github.com/minecanary/minecanary/intel/sweep"
)

// block gives so many addresses, the lowest first.
func block(third byte, n int) []netip.Addr {
	out := make([]netip.Addr, n)
	for i := range out {
		out[i] = netip.AddrFrom4([4]byte{5, 5, third + byte(i>>8), byte(i)})
	}
	return out
}

// told is what the server says of each name so many days after day0.
type told map[string]func(days float64) dnstest.Answer

// chance gives an even number below n that is the same for the whole half hour.
func chance(days float64, n uint64) uint64 {
	return rand.New(rand.NewPCG(uint64(days*48), 7)).Uint64N(n)
}

// theYear has a name for everything that happens to names.
func theYear() told {
	is := func(list ...string) dnstest.Answer { return dnstest.Answer{Addrs: addrs(list...)} }
	between := func(days, from, until float64) bool { return days >= from && days < until }
	return told{
		"steady.example": func(float64) dnstest.Answer { return is("5.5.0.1") },
		"dual.example":   func(float64) dnstest.Answer { return is("5.5.0.2", "2a00:5::2") },
		"six.example":    func(float64) dnstest.Answer { return is("2a00:5::3") },
		"moving.example": func(days float64) dnstest.Answer { return is(fmt.Sprintf("5.5.1.%d", int(days/27.3))) },
		// From the one family to the other.
		"modern.example": func(days float64) dnstest.Answer {
			if days < 111.1 {
				return is("5.5.0.4")
			}
			return is("2a00:5::4")
		},
		// All at once in turn, and for three weeks some of them in turn.
		"round.example": func(days float64) dnstest.Answer {
			all := block(2, 8)
			turn := int(chance(days, 8))
			all = append(all[turn:], all[:turn]...)
			if between(days, 40, 61) {
				all = all[:3]
			}
			return dnstest.Answer{Addrs: all}
		},
		"flapping.example": func(days float64) dnstest.Answer {
			if chance(days, 5) < 2 {
				return dnstest.Answer{Code: dnstest.ServFail}
			}
			return is("5.5.0.5")
		},
		"outage.example": func(days float64) dnstest.Answer {
			if between(days, 50, 50.3) || between(days, 52, 52.9) || between(days, 200, 203) {
				return dnstest.Answer{Code: []dnstest.Code{dnstest.ServFail, dnstest.Refused}[chance(days, 2)]}
			}
			return is("5.5.0.6")
		},
		"blinking.example": func(days float64) dnstest.Answer {
			if minutes := int(days*24*60) % 300; minutes < 20 { // every five hours, for 20 minutes
				return dnstest.Answer{Code: dnstest.NXDomain}
			}
			return is("5.5.0.7")
		},
		"denied.example": func(days float64) dnstest.Answer { // for weeks all that can be, in any order
			n := chance(days, 4)
			if days >= 20 {
				n = 0
			}
			switch n {
			case 0:
				return is("5.5.0.8")
			case 1:
				return dnstest.Answer{Code: dnstest.ServFail}
			case 2:
				return dnstest.Answer{}
			}
			return dnstest.Answer{Code: dnstest.NXDomain}
		},
		"gone.example": func(days float64) dnstest.Answer {
			if days >= 130 {
				return dnstest.Answer{Code: dnstest.NXDomain}
			}
			return is("5.5.0.9")
		},
		"back.example": func(days float64) dnstest.Answer {
			if between(days, 90, 120) {
				return dnstest.Answer{}
			}
			return is("5.5.0.10")
		},
		"loop.example": func(days float64) dnstest.Answer {
			if between(days, 60, 70) || between(days, 80, 80.4) {
				return dnstest.Answer{Alias: "loop2.example"}
			}
			return is("5.5.0.11")
		},
		"loop2.example": func(float64) dnstest.Answer { return dnstest.Answer{Alias: "loop.example"} },
		"thousand.example": func(days float64) dnstest.Answer {
			if between(days, 100, 107) {
				return dnstest.Answer{Addrs: block(16, 1000)}
			}
			return is("5.5.0.12")
		},
		"truncated.example": func(days float64) dnstest.Answer {
			if between(days, 30, 60) {
				return dnstest.Answer{Addrs: block(32, 60)}
			}
			return is("5.5.0.13")
		},
		"rebinding.example": func(days float64) dnstest.Answer {
			if between(days, 70, 90) {
				return is([]string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "5.5.0.14"}[chance(days, 5)])
			}
			return is("5.5.0.14")
		},
		"cdn.example": func(days float64) dnstest.Answer {
			if days >= 150 {
				return dnstest.Answer{Alias: "pool.cdn.cloudflare.net"}
			}
			return is("5.5.0.15") // which stays the same behind the CDN
		},
		"pool.cdn.cloudflare.net": func(float64) dnstest.Answer { return is("5.5.0.15") },
		"alias.example":           func(float64) dnstest.Answer { return dnstest.Answer{Alias: "steady.example", TTL: 5 * time.Minute} },
	}
}

// hear is the plain list's way to say what the server told.
func (t told) hear(name string, at time.Time) heard {
	days := at.Sub(day0).Hours() / 24
	for range 3 {
		a := t[name](days)
		switch {
		case a.Alias != "":
			name = a.Alias
			continue
		case a.Code == dnstest.ServFail || a.Code == dnstest.Refused:
			return heard{at: at, failed: true}
		}
		slices.SortFunc(a.Addrs, netip.Addr.Compare)
		return heard{at: at, addrs: a.Addrs[:min(len(a.Addrs), resolver.MaxAddrs)]}
	}
	return heard{at: at, failed: true} // it goes round in circles
}

// service is what an endpoint is so many days after day0: each behaves in a way that its address and port tell.
func service(ep minecanary.Endpoint, days float64) minecanary.VerdictStatus {
	n := ep.Addr.AsSlice()
	kind := (int(n[len(n)-1]) + int(ep.Port)) % 8
	switch {
	case kind == 0 && days >= 180: // it ends
		return minecanary.Inconclusive
	case kind == 1 && days >= 100 && days < 140: // somebody else's for a while
		return minecanary.NotPool
	case kind == 2:
		return []minecanary.VerdictStatus{minecanary.Confirmed, minecanary.Inconclusive, minecanary.Blocked}[chance(float64(int(days*0.7)), 3)]
	case kind == 3:
		return minecanary.Node
	case kind == 4 && days >= 20 && days < 23:
		return minecanary.Inconclusive
	}
	return minecanary.Confirmed
}

// fastDir gives a folder for files whose every change waits for the disk: in memory if the system has such a folder.
func fastDir(tb testing.TB) string {
	tb.Helper()
	const memory = "/dev/shm"
	dir, err := os.MkdirTemp(memory, "sweep") //nolint:usetesting // in memory
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// TestYear lets a year go by, half hour by half hour, over a real resolver and a DNS server to which everything happens,
// and asks a year of questions about it: the answers are those that follow from the plain list of what was told. In short
// mode it is 25 days.
func TestYear(t *testing.T) {
	const tick = 30 * time.Minute
	days := 365
	if testing.Short() {
		days = 25
	}
	script := theYear()
	marks, err := resolver.LoadMarks()
	if err != nil {
		t.Fatal(err)
	}
	ports := []uint16{3333, 443}
	var hosts []string
	for name := range script {
		if strings.HasSuffix(name, ".example") && name != "loop2.example" {
			hosts = append(hosts, name)
		}
	}
	slices.Sort(hosts)
	w := newWorld(t, fastDir(t), pool(hosts, ports...))
	w.mark = func(addr netip.Addr, chain []string) string { return string(marks.Of(addr, chain).Kind) }
	dns, err := resolver.New(resolver.Config{
		Servers: []string{dnstest.Serve(t, func(name string) dnstest.Answer {
			if say := script[name]; say != nil {
				return say(w.clock.Now().Sub(day0).Hours() / 24)
			}
			return dnstest.Answer{Code: dnstest.NXDomain}
		})},
		PerZone: resolver.Unlimited, Now: w.clock.Now, Timeout: 20 * time.Second, Attempts: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dns.Close(); err != nil {
			t.Error(err)
		}
	}()
	w.names.answer = func(ctx context.Context, name string, _ time.Time) (resolver.Answer, error) {
		return dns.Resolve(ctx, name)
	}
	plain := &model{
		ports: ports, names: map[string][]heard{}, endpoints: map[minecanary.Endpoint][]said{},
		mark: func(addr netip.Addr, name string, at time.Time) string {
			switch {
			case minecanary.Reserved(addr) != "":
				return "reserved"
			case name == "cdn.example" && at.Sub(day0) >= 150*24*time.Hour:
				return "cdn"
			}
			return ""
		},
	}
	w.asker.answer = func(_ context.Context, q minecanary.Question, at time.Time) (minecanary.Verdict, error) {
		s := service(q.Endpoint, at.Sub(day0).Hours()/24)
		w.mu.Lock()
		defer w.mu.Unlock()
		plain.endpoints[q.Endpoint] = append(plain.endpoints[q.Endpoint], said{at, s})
		return minecanary.Verdict{Status: s, Dialect: "stratum-v1"}, nil
	}
	// Every name is due at every tick, so what the server told at ticks is all that can be known.
	intervals := func(c *sweep.Config) { c.ResolveEvery, c.ProbeEvery = 27*time.Minute, 160*time.Minute }
	w.start(intervals)
	began := time.Now()
	end := day0.Add(time.Duration(days) * 24 * time.Hour)
	for at := day0; at.Before(end); at = at.Add(tick) {
		for _, name := range hosts {
			plain.names[name] = append(plain.names[name], script.hear(name, at))
		}
		w.step(at)
		if at.Sub(day0)%(60*24*time.Hour) == 0 { // the process is started anew now and then
			w.stop()
			w.start(intervals)
		}
	}
	t.Logf("%d days: %d lookups and %d probes in %s", days, w.names.count(), w.asker.count(), time.Since(began))
	if len(w.warnings) > 0 {
		t.Errorf("warnings %q", w.warnings[:min(len(w.warnings), 5)])
	}
	if got, want := w.names.count(), len(hosts)*days*48; got != want {
		t.Errorf("%d lookups, want %d", got, want)
	}
	for ep := range w.asker.asked {
		if why := minecanary.Reserved(ep.Addr); why != "" {
			t.Errorf("%s was asked, which is %s", ep, why)
		}
	}
	for _, at := range w.asker.times(endpoint(t, "5.5.0.15:3333")) {
		if at.After(day0.Add(150 * 24 * time.Hour)) {
			t.Fatalf("the address behind the CDN was asked at %s", at)
		}
	}
	for _, name := range []string{"5.5.0.1:3333", "5.5.0.1:443", "[2a00:5::3]:443"} {
		if least, most := gaps(w.asker.times(endpoint(t, name))); strings.Contains(string(service(endpoint(t, name), 1)), "confirmed") &&
			(least < 144*time.Minute || most > 176*time.Minute+tick) {
			t.Errorf("%s was asked every %s to %s", name, least, most)
		}
	}
	check := func(when string) {
		t.Helper()
		plain.check(t, w, when, end, 4000)
	}
	check("while it runs")
	w.stop()
	w.start()
	check("after a restart")
	w.stop()

	// What a person would say of the year, in plain words.
	day := func(d float64) time.Time { return day0.Add(time.Duration(d * 24 * float64(time.Hour))) }
	for _, tt := range []struct {
		addr string
		days float64
		want lookup.Level
	}{
		{"5.5.0.1", 0.01, lookup.KnownPool},
		{"5.5.0.1", -0.01, lookup.NotKnown},
		{"5.5.0.6", 50.2, lookup.KnownPool}, // an outage of a quarter of a day ends nothing
		{"5.5.0.6", 52.8, lookup.KnownPool},
		{"5.5.0.9", 129.9, lookup.KnownPool},
		{"5.5.0.10", 105, lookup.NotKnown},
		{"5.5.0.10", 121, lookup.KnownPool},
		{"5.5.0.11", 65, lookup.NotKnown},
		{"5.5.0.11", 80.3, lookup.KnownPool},
		{"5.5.16.63", 103, lookup.KnownPool},
		{"5.5.16.64", 103, lookup.NotKnown}, // there are limits
		{"5.5.32.59", 45, lookup.KnownPool},
		{"10.0.0.1", 60, lookup.NotKnown},
		{"5.5.0.9", 132, lookup.NotKnown},
		{"5.5.0.15", 149, lookup.KnownPool},
		{"5.5.0.15", 170, lookup.SharedAddress},
		{"5.5.0.6", 201.5, lookup.NotKnown}, // one of three days does, after the first
		{"5.5.0.6", 204, lookup.KnownPool},
	} {
		if day(tt.days).After(end) {
			continue
		}
		ep := minecanary.NewEndpoint(addrs(tt.addr)[0], 3333, minecanary.TCP)
		if got, row := w.index.Mark(ep, day(tt.days)); got != tt.want || got == lookup.KnownPool && row.Pool == nil {
			t.Errorf("%s on day %g is %s, want %s", ep, tt.days, got, tt.want)
		}
	}
}

// check asks n questions about random times and endpoints.
func (m *model) check(t *testing.T, w *world, when string, end time.Time, n int) {
	t.Helper()
	seen := map[netip.Addr]bool{}
	for _, list := range m.names {
		for _, h := range list {
			for _, a := range h.addrs {
				seen[a] = true
			}
		}
	}
	all := make([]netip.Addr, 0, len(seen))
	for a := range seen {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	rnd := rand.New(rand.NewPCG(1, 2))
	span := end.Sub(day0) + 50*time.Hour
	bad := 0
	for range n {
		at := day0.Add(-time.Hour + time.Duration(rnd.Int64N(int64(span)))).Truncate(time.Millisecond)
		if rnd.IntN(3) == 0 {
			at = at.Truncate(30 * time.Minute) // ends and beginnings
		}
		ep := minecanary.NewEndpoint(all[rnd.IntN(len(all))], append([]uint16{1}, m.ports...)[rnd.IntN(len(m.ports)+1)], minecanary.TCP)
		want, level := m.find(ep, at)
		got, gotLevel := w.found(ep, at)
		if diff := cmp.Diff(want, got); diff != "" || level != gotLevel {
			t.Errorf("%s: %s at %s (day %.3f): level %s, want %s\n%s", when, ep, at, at.Sub(day0).Hours()/24, gotLevel, level, diff)
			if bad++; bad == 5 {
				t.FailNow()
			}
		}
	}
}
