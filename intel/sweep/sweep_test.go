package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/sweep"
)

// gaps gives the least and the largest time between two questions.
func gaps(asked []time.Time) (least, most time.Duration) {
	for i := 1; i < len(asked); i++ {
		gap := asked[i].Sub(asked[i-1])
		if i == 1 || gap < least {
			least = gap
		}
		most = max(most, gap)
	}
	return least, most
}

// TestSchedule follows the schedule for three days, from one due time to the next.
func TestSchedule(t *testing.T) {
	hosts := append(numbered(5), "5.5.9.9")
	w := open(t, pool(hosts, 3333, 443))
	next := w.step(day0)
	if n, e := w.names.count(), w.asker.count(); n != 5 || e != 4 {
		t.Fatalf("%d names and %d endpoints were asked at once, want 5 and 4", n, e)
	}
	for end := day0.Add(72 * time.Hour); next.Before(end); {
		before := w.names.count() + w.asker.count()
		w.step(next.Add(-time.Millisecond))
		if w.names.count()+w.asker.count() != before {
			t.Fatalf("something was asked before %s", next)
		}
		after := w.step(next)
		if w.names.count()+w.asker.count() == before {
			t.Fatalf("nothing was asked at %s, when it is due", next)
		}
		if !after.After(next) {
			t.Fatalf("at %s something is due at %s", next, after)
		}
		next = after
	}
	within := func(what string, asked []time.Time, every time.Duration) {
		t.Helper()
		low, high := time.Duration(float64(every)*(1-sweep.Jitter)), time.Duration(float64(every)*(1+sweep.Jitter))
		least, most := gaps(asked)
		if least < low || most > high {
			t.Errorf("%s was asked every %s to %s, want %s to %s", what, least, most, low, high)
		}
		if most-least < (high-low)/2 {
			t.Errorf("%s was asked every %s to %s: that is no jitter", what, least, most)
		}
	}
	for _, name := range hosts[:5] {
		within(name, w.names.times(name), sweep.DefaultResolveEvery)
	}
	for _, ep := range []string{"5.5.0.1:3333", "5.5.0.1:443", "5.5.9.9:3333", "5.5.9.9:443"} {
		within(ep, w.asker.times(endpoint(t, ep)), sweep.DefaultProbeEvery)
	}
	if w.names.times("5.5.9.9") != nil {
		t.Error("an address was looked up")
	}
	q := w.asker.questions[0]
	want := minecanary.Question{
		Endpoint: q.Endpoint, Catalogue: true, TLS: q.Endpoint.Port == 443, First: "stratum-v1", Why: "the catalogue has it as a server of Alpha",
	}
	if q.Endpoint.Addr == addrs("5.5.0.1")[0] {
		want.Name = hosts[0]
	}
	if q != want {
		t.Errorf("the question is %+v, want %+v", q, want)
	}
}

// TestRestart stops after a day; the next process goes on as if it had been the same.
func TestRestart(t *testing.T) {
	w := newWorld(t, t.TempDir(), pool(append(numbered(3), "5.5.9.9"), 3333))
	w.asker.answer = func(_ context.Context, q minecanary.Question, _ time.Time) (minecanary.Verdict, error) {
		if q.Name == "" { // it never gives a verdict
			return minecanary.Verdict{Status: minecanary.Inconclusive}, nil
		}
		return minecanary.Verdict{Status: minecanary.Confirmed}, nil
	}
	w.start()
	now := day0
	for next := now; next.Before(day0.Add(24 * time.Hour)); {
		now = next
		next = w.step(now)
	}
	names, endpoints := w.names.count(), w.asker.count()
	w.stop()
	w.start()
	next := w.step(now)
	// The jitter is another one now, so that one or two may be due; when, the gaps tell below.
	if n, e := w.names.count()-names, w.asker.count()-endpoints; n == 3 || e == 4 {
		t.Errorf("after the restart %d of 3 names and %d of 4 endpoints were asked at once", n, e)
	}
	if next.Sub(now) > sweep.DefaultResolveEvery*11/10 {
		t.Errorf("the next is due in %s", next.Sub(now))
	}
	for ; next.Before(day0.Add(48 * time.Hour)); next = w.step(next) {
	}
	for name, asked := range w.names.asked {
		if least, most := gaps(asked); least < 27*time.Minute || most > 33*time.Minute {
			t.Errorf("%s was asked every %s to %s", name, least, most)
		}
	}
	for ep, asked := range w.asker.asked {
		if least, most := gaps(asked); least < 162*time.Minute || most > 198*time.Minute {
			t.Errorf("%s was asked every %s to %s", ep, least, most)
		}
	}
	// What was believed before holds on: a first "no such name" ends nothing, the second does.
	w.names.answer = func(context.Context, string, time.Time) (resolver.Answer, error) {
		return resolver.Answer{Code: resolver.NXDomain}, nil
	}
	for i, want := range []int{1, 0} {
		now = now.Add(24*time.Hour + time.Duration(i+1)*time.Hour)
		w.names.answer = answers(resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1")})
		w.step(now)
		w.names.answer = answers(resolver.Answer{Code: resolver.NXDomain})
		for range i + 1 {
			now = now.Add(time.Hour)
			w.step(now)
			w.stop()
			w.start()
		}
		if got := len(w.index.AddressesOf("n0000.example", now)); got != want {
			t.Errorf("after %d denials with a restart behind each there are %d addresses, want %d", i+1, got, want)
		}
	}
	w.stop()
}

// answers says the same of every name.
func answers(a resolver.Answer) func(context.Context, string, time.Time) (resolver.Answer, error) {
	return func(context.Context, string, time.Time) (resolver.Answer, error) { return a, nil }
}

// TestCached: the resolver gives an answer again while its TTL lasts. That is no reason to ask at once again.
func TestCached(t *testing.T) {
	w := open(t, pool(numbered(1)))
	w.names.answer = answers(resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1"), At: day0})
	for next := w.step(day0); next.Before(day0.Add(12 * time.Hour)); {
		after := w.step(next)
		if after.Sub(next) < 27*time.Minute {
			t.Fatalf("asked at %s, and due again at %s", next, after)
		}
		next = after
	}
}

// TestFailures: what has no answer is asked again soon, and says nothing.
func TestFailures(t *testing.T) {
	refused := errors.New("no server")
	for _, tt := range []struct {
		name     string
		verdict  minecanary.Verdict
		err      error
		from, to time.Duration
	}{
		{"blocked", minecanary.Verdict{Status: minecanary.Blocked}, nil, 54 * time.Second, 66 * time.Second},
		{"blocked for a while", minecanary.Verdict{Status: minecanary.Blocked, Expires: day0.Add(10 * time.Minute)}, nil, 9 * time.Minute, 11 * time.Minute},
		{"blocked for long", minecanary.Verdict{Status: minecanary.Blocked, Expires: day0.Add(24 * time.Hour)}, nil, 54 * time.Minute, 66 * time.Minute},
		{"unknown", minecanary.Verdict{Status: minecanary.Unknown}, nil, 54 * time.Second, 66 * time.Second},
		{"nothing", minecanary.Verdict{}, nil, 54 * time.Second, 66 * time.Second},
		{"error", minecanary.Verdict{Status: minecanary.Confirmed}, refused, 54 * time.Second, 66 * time.Second},
		{"no status", minecanary.Verdict{Status: "perhaps"}, nil, 162 * time.Minute, 198 * time.Minute},
		{"from the future", minecanary.Verdict{Status: minecanary.Confirmed, At: day0.Add(time.Hour)}, nil, 162 * time.Minute, 198 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t, pool([]string{"5.5.0.1"}, 3333))
			w.asker.answer = func(context.Context, minecanary.Question, time.Time) (minecanary.Verdict, error) {
				return tt.verdict, tt.err
			}
			next := w.step(day0)
			if in := next.Sub(day0); in < tt.from || in > tt.to {
				t.Errorf("asked again in %s, want %s to %s", in, tt.from, tt.to)
			}
			if at := w.index.LastAnswer(endpoint(t, "5.5.0.1:3333")); !at.IsZero() {
				t.Errorf("it was recorded at %s", at)
			}
			if warned := len(w.warnings) > 0; warned != (tt.err != nil || tt.from > 2*time.Hour) {
				t.Errorf("warnings %q", w.warnings)
			}
			if n := w.Status().Probed[cmp0(tt.err != nil, minecanary.Blocked, tt.verdict.Status)]; n != 1 {
				t.Errorf("status %+v", w.Status())
			}
		})
	}
	t.Run("names", func(t *testing.T) {
		w := open(t, pool(numbered(1), 3333))
		w.names.answer = func(context.Context, string, time.Time) (resolver.Answer, error) { return resolver.Answer{}, refused }
		next := w.step(day0)
		if in := next.Sub(day0); in < 270*time.Second || in > 330*time.Second {
			t.Errorf("asked again in %s, want about 5 minutes", in)
		}
		if s := w.Status(); s.Resolved != 1 || s.Unresolved != 1 || len(w.warnings) != 1 {
			t.Errorf("status %+v, warnings %q", s, w.warnings)
		}
		// A failure of the servers is an answer: it is written, and asked again in its time.
		w.names.answer = answers(resolver.Answer{Code: resolver.ServFail})
		if in := w.step(next).Sub(next); in < 27*time.Minute || in > 33*time.Minute {
			t.Errorf("asked again in %s", in)
		}
		if s := w.Status(); s.Resolved != 2 || s.Unresolved != 2 || !s.LastResolved.Equal(next) {
			t.Errorf("status %+v", s)
		}
		err := w.book.View(func(v *history.View) error {
			l, err := v.Lookups("n0000.example", history.Query{})
			if err == nil && (len(l) != 1 || l[0].Code != "SERVFAIL") {
				t.Errorf("lookups %+v", l)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func cmp0[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// TestCatalogueChanges: what leaves the catalogue is not asked any more, what comes is asked at once, the rest stays on its
// schedule.
func TestCatalogueChanges(t *testing.T) {
	w := open(t, pool([]string{"a.example", "b.example", "5.5.9.1"}, 3333))
	w.names.answer = func(_ context.Context, name string, _ time.Time) (resolver.Answer, error) {
		return resolver.Answer{Code: resolver.NoError, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{5, 5, 0, name[0] - 'a' + 1})}}, nil
	}
	w.step(day0)
	w.index.SetCatalog(pool([]string{"b.example", "c.example", "5.5.9.2"}, 3333))
	w.step(day0.Add(time.Minute))
	w.step(day0.Add(4 * time.Hour))
	for name, want := range map[string]int{"a.example": 1, "b.example": 2, "c.example": 2} {
		if got := len(w.names.times(name)); got != want {
			t.Errorf("%s was looked up %d times, want %d", name, got, want)
		}
	}
	for ep, want := range map[string]int{"5.5.0.1:3333": 1, "5.5.0.2:3333": 2, "5.5.0.3:3333": 2, "5.5.9.1:3333": 1, "5.5.9.2:3333": 2} {
		if got := len(w.asker.times(endpoint(t, ep))); got != want {
			t.Errorf("%s was asked %d times, want %d", ep, got, want)
		}
	}
	if s := w.Status(); s.Names != 2 || s.Endpoints != 3 {
		t.Errorf("status %+v", s)
	}
	// A name leaves while it is looked up.
	w.names.answer = func(context.Context, string, time.Time) (resolver.Answer, error) {
		w.index.SetCatalog(pool(nil))
		if _, err := w.Step(t.Context()); err != nil {
			t.Error(err)
		}
		return resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.7")}, nil
	}
	if next := w.step(day0.Add(8 * time.Hour)); !next.IsZero() {
		t.Errorf("of an empty catalogue something is due at %s", next)
	}
}

// TestMarked: an address that is somebody else's too is never asked on the schedule.
func TestMarked(t *testing.T) {
	marks, err := resolver.LoadMarks()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, t.TempDir(), pool([]string{"a.example", "cdn.example"}, 3333))
	w.mark = func(addr netip.Addr, chain []string) string { return string(marks.Of(addr, chain).Kind) }
	w.names.answer = func(_ context.Context, name string, _ time.Time) (resolver.Answer, error) {
		if name == "cdn.example" {
			return resolver.Answer{Code: resolver.NoError, Chain: []string{"x.cdn.cloudflare.net"}, Addrs: addrs("5.5.0.2")}, nil
		}
		return resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1", "10.0.0.1", "127.0.0.1", "169.254.169.254", "9.9.9.9", "::1", "fd00::1")}, nil
	}
	w.start()
	defer w.stop()
	for at := day0; at.Before(day0.Add(24 * time.Hour)); at = at.Add(time.Hour) {
		w.step(at)
	}
	if len(w.asker.asked) != 1 || w.asker.times(endpoint(t, "5.5.0.1:3333")) == nil {
		t.Errorf("asked %v, want 5.5.0.1:3333 alone", w.asker.asked)
	}
	if got := len(w.index.AddressesOf("a.example", w.clock.Now())); got != 7 {
		t.Errorf("%d addresses are known, want all", got)
	}
}

// TestNobody: a sweeper without a resolver, or a verifier, does nothing of that kind.
func TestNobody(t *testing.T) {
	c := pool([]string{"a.example", "5.5.9.9"}, 3333)
	ep := endpoint(t, "5.5.9.9:3333")
	w := open(t, c, func(cfg *sweep.Config) { cfg.Resolver = nil })
	w.step(day0)
	if w.names.count() != 0 || w.asker.count() != 1 {
		t.Errorf("%d names, %d endpoints", w.names.count(), w.asker.count())
	}
	if err := w.Resolve(t.Context(), "a.example"); !errors.Is(err, sweep.ErrNobody) {
		t.Error(err)
	}
	if err := w.Soon([]string{"a.example"}, nil); !errors.Is(err, sweep.ErrNobody) {
		t.Error(err)
	}
	w = open(t, c, func(cfg *sweep.Config) { cfg.Verifier = nil })
	w.step(day0)
	if w.names.count() != 1 || w.asker.count() != 0 {
		t.Errorf("%d names, %d endpoints", w.names.count(), w.asker.count())
	}
	if err := w.Ask(t.Context(), ep); !errors.Is(err, sweep.ErrNobody) {
		t.Error(err)
	}
	if err := w.Soon(nil, []minecanary.Endpoint{ep}); !errors.Is(err, sweep.ErrNobody) {
		t.Error(err)
	}
}

// TestSoon: what somebody wants asked is due at once, once, also before the first round of a process.
func TestSoon(t *testing.T) {
	known, other := endpoint(t, "5.5.9.9:3333"), endpoint(t, "5.5.9.10:3333")
	w := newWorld(t, t.TempDir(), pool([]string{"a.example", "5.5.9.9"}, 3333))
	w.start()
	w.step(day0)
	for range 2 {
		names, endpoints := w.names.count(), w.asker.count()
		if err := w.Soon([]string{"a.example", "unknown.example"}, []minecanary.Endpoint{known, other}); err != nil {
			t.Fatal(err)
		}
		if s := w.Status(); s.NamesDue != 1 || s.EndpointsDue != 2 {
			t.Errorf("status %+v", s)
		}
		w.step(day0.Add(time.Minute))
		w.step(day0.Add(2 * time.Minute))
		if n, e := w.names.count()-names, w.asker.count()-endpoints; n != 1 || e != 2 {
			t.Errorf("%d names and %d endpoints were asked, want 1 and 2", n, e)
		}
		w.stop()
		w.start()
	}
	// One that comes into the catalogue meanwhile is still asked.
	asked := len(w.asker.times(other))
	if err := w.Soon(nil, []minecanary.Endpoint{other}); err != nil {
		t.Fatal(err)
	}
	w.index.SetCatalog(pool([]string{"a.example", "5.5.9.9", "5.5.9.10"}, 3333))
	w.step(day0.Add(3 * time.Minute))
	w.step(day0.Add(4 * time.Minute))
	if got := len(w.asker.times(other)) - asked; got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
	q := w.asker.questions[len(w.asker.questions)-1]
	if !q.Catalogue {
		t.Errorf("question %+v", q)
	}
	w.stop()
}

// TestMaxExtra: only so many may wait.
func TestMaxExtra(t *testing.T) {
	w := open(t, pool(nil))
	all := make([]minecanary.Endpoint, sweep.MaxExtra+1)
	for i := range all {
		all[i] = minecanary.NewEndpoint(netip.AddrFrom4([4]byte{5, 5, byte(i >> 8), byte(i)}), 3333, minecanary.TCP)
	}
	if err := w.Soon(nil, all[:sweep.MaxExtra]); err != nil {
		t.Fatal(err)
	}
	if err := w.Soon(nil, all[:1]); err != nil {
		t.Errorf("one that waits already: %v", err)
	}
	if err := w.Soon(nil, all[sweep.MaxExtra-1:]); !errors.Is(err, sweep.ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	w.step(day0)
	if got := w.asker.count(); got != sweep.MaxExtra {
		t.Errorf("%d were asked", got)
	}
	if err := w.Soon(nil, all[sweep.MaxExtra:]); err != nil {
		t.Error(err)
	}
}

// TestMaxEndpoints: what is beyond the bound is counted.
func TestMaxEndpoints(t *testing.T) {
	ports := make([]uint16, 3200)
	for i := range ports {
		ports[i] = uint16(i + 1)
	}
	many := make([]netip.Addr, resolver.MaxAddrs)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{5, 5, 1, byte(i)})
	}
	w := open(t, pool(numbered(1), ports...), func(cfg *sweep.Config) { cfg.Verifier = nil })
	w.names.answer = answers(resolver.Answer{Code: resolver.NoError, Addrs: many})
	w.step(day0)
	w.step(day0.Add(time.Minute))
	if s := w.Status(); s.Endpoints != sweep.MaxEndpoints || s.Left != len(ports)*len(many)-sweep.MaxEndpoints {
		t.Errorf("%d endpoints are on the schedule and %d left", s.Endpoints, s.Left)
	}
}

// TestParallel: so many are asked at once, and no more.
func TestParallel(t *testing.T) {
	const parallel = 3
	w := open(t, pool(numbered(20)), func(cfg *sweep.Config) { cfg.Parallel = parallel })
	var waiting atomic.Int32
	all := make(chan struct{})
	w.names.answer = func(context.Context, string, time.Time) (resolver.Answer, error) {
		if waiting.Add(1) == parallel {
			close(all)
		}
		<-all
		return resolver.Answer{Code: resolver.NoError}, nil
	}
	w.step(day0)
	if w.names.most != parallel || w.names.count() != 20 {
		t.Errorf("%d names, %d at once, want 20 and %d", w.names.count(), w.names.most, parallel)
	}
}

// TestContextEnds: what was answered when the context ended is written, the rest is due as before.
func TestContextEnds(t *testing.T) {
	const parallel, asked = 1, 7
	w := open(t, pool(numbered(20), 3333), func(cfg *sweep.Config) { cfg.Parallel = parallel })
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	w.names.answer = func(_ context.Context, name string, _ time.Time) (resolver.Answer, error) {
		if n++; n == asked {
			cancel()
			return resolver.Answer{}, ctx.Err()
		}
		return resolver.Answer{Code: resolver.NoError, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{5, 5, 0, name[4]})}}, nil
	}
	if _, err := w.Step(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	written := 0
	for _, name := range numbered(20) {
		written += len(w.index.AddressesOf(name, day0))
	}
	if written != asked-1 || w.asker.count() != 0 {
		t.Errorf("%d names were written, want %d; %d endpoints asked", written, asked-1, w.asker.count())
	}
	if s := w.Status(); s.NamesDue != 20-written || s.Unresolved != 0 || len(w.warnings) != 0 {
		t.Errorf("status %+v, warnings %q", s, w.warnings)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	w.names.answer = answers(resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1", "5.5.0.2", "5.5.0.3", "5.5.0.4")})
	n = 0
	w.asker.answer = func(context.Context, minecanary.Question, time.Time) (minecanary.Verdict, error) {
		if n++; n == 3 {
			cancel()
		}
		return minecanary.Verdict{Status: minecanary.Confirmed}, nil
	}
	if err := w.Resolve(t.Context(), numbered(20)...); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Step(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if s := w.Status(); s.Probed[minecanary.Confirmed] != 2 || s.EndpointsDue != s.Endpoints-2 {
		t.Errorf("status %+v", s)
	}
}

// TestHistoryErrors: a history that cannot be written ends the round at once, and nothing counts as asked.
func TestHistoryErrors(t *testing.T) {
	const all = 2000
	for _, tt := range []struct {
		name  string
		hosts []string
		asked func(*world) int
	}{
		{"names", numbered(all), func(w *world) int { return w.names.count() }},
		{"endpoints", literals(all), func(w *world) int { return w.asker.count() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t, pool(tt.hosts, 3333), func(cfg *sweep.Config) { cfg.Parallel = 1 })
			w.names.answer = func(context.Context, string, time.Time) (resolver.Answer, error) {
				return resolver.Answer{Code: resolver.NoError}, w.book.Close()
			}
			w.asker.answer = func(context.Context, minecanary.Question, time.Time) (minecanary.Verdict, error) {
				return minecanary.Verdict{Status: minecanary.Confirmed}, w.book.Close()
			}
			if _, err := w.Step(t.Context()); !errors.Is(err, history.ErrClosed) {
				t.Fatalf("error %v", err)
			}
			if n := tt.asked(w); n > all/2 {
				t.Errorf("%d were asked for nothing", n)
			}
			if s := w.Status(); s.NamesDue+s.EndpointsDue != all {
				t.Errorf("status %+v", s)
			}
			if err := w.Soon(nil, nil); err != nil {
				t.Error(err) // what is known is in memory
			}
		})
	}
	w := open(t, pool(numbered(1), 3333))
	w.stop()
	if _, err := w.Step(t.Context()); !errors.Is(err, history.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := w.Soon(numbered(1), nil); !errors.Is(err, history.ErrClosed) {
		t.Errorf("error %v", err)
	}
	w = open(t, pool(numbered(1), 3333))
	err := w.book.Update(t.Context(), func(tx *history.Tx) error { return tx.Put("belief", "n0000.example", []byte(`{"at":5}`)) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "belief of n0000.example") {
		t.Errorf("error %v", err)
	}
}

// literals gives so many addresses.
func literals(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("5.5.%d.%d", i>>8, i&255)
	}
	return out
}

// TestTogether has Step, Soon, Resolve and Ask run at once: nothing is asked twice at the same time, and on the schedule
// nothing before its time.
func TestTogether(t *testing.T) {
	hosts := numbered(30)
	w := open(t, pool(hosts, 3333))
	w.names.answer = func(_ context.Context, name string, _ time.Time) (resolver.Answer, error) {
		time.Sleep(50 * time.Microsecond)
		return resolver.Answer{Code: resolver.NoError, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{5, 5, name[3], name[4]})}}, nil
	}
	w.step(day0)
	endpoints := make([]minecanary.Endpoint, 0, len(w.asker.asked))
	for ep := range w.asker.asked {
		endpoints = append(endpoints, ep)
	}
	// Steppers alone: each is asked once.
	w.clock.set(day0.Add(4 * time.Hour))
	names, asked := w.names.count(), w.asker.count()
	together(t, 4, func() error { _, err := w.Step(t.Context()); return err })
	if n, e := w.names.count()-names, w.asker.count()-asked; n != len(hosts) || e != len(endpoints) {
		t.Errorf("four rounds at once asked %d names and %d endpoints, want %d and %d", n, e, len(hosts), len(endpoints))
	}
	var wg sync.WaitGroup
	for _, do := range []func() error{
		func() error { _, err := w.Step(t.Context()); return err },
		func() error { return w.Soon(hosts, endpoints) },
		func() error { return w.Resolve(t.Context(), hosts...) },
		func() error { return w.Ask(t.Context(), endpoints...) },
		func() error { w.index.SetCatalog(pool(hosts, 3333)); _ = w.Status(); return nil },
		func() error { w.clock.set(w.clock.Now().Add(time.Minute)); return nil },
	} {
		wg.Go(func() {
			for range 20 {
				if err := do(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if w.names.double != nil || w.asker.double != nil {
		t.Errorf("asked twice at once: %v, %v", w.names.double, w.asker.double)
	}
}

// together runs a function so many times at once.
func together(t *testing.T, n int, do func() error) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := do(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestLongRound: what somebody asked for while a round was under way is not asked again in it.
func TestLongRound(t *testing.T) {
	hosts := numbered(3)
	w := open(t, pool(hosts), func(cfg *sweep.Config) { cfg.Parallel = 1 })
	first := true
	w.names.answer = func(context.Context, string, time.Time) (resolver.Answer, error) {
		if first {
			first = false
			if err := w.Resolve(t.Context(), hosts...); err != nil {
				t.Error(err)
			}
		}
		return resolver.Answer{Code: resolver.NoError}, nil
	}
	w.step(day0)
	if got := w.names.count(); got != len(hosts) {
		t.Errorf("%d questions, want %d", got, len(hosts))
	}
}

// TestRun: it sweeps until its context ends, and Soon wakes it.
func TestRun(t *testing.T) {
	w := open(t, pool([]string{"a.example", "5.5.9.9"}, 3333), func(cfg *sweep.Config) { cfg.Now = nil })
	w.names.clock, w.asker.clock, w.clock.t = &clock{}, &clock{}, time.Now() // the history needs a clock that is not behind
	asked := make(chan minecanary.Endpoint, 10)
	w.names.answer = func(context.Context, string, time.Time) (resolver.Answer, error) {
		return resolver.Answer{Code: resolver.NoError, At: time.Now()}, nil
	}
	w.asker.answer = func(_ context.Context, q minecanary.Question, _ time.Time) (minecanary.Verdict, error) {
		asked <- q.Endpoint
		return minecanary.Verdict{Status: minecanary.Confirmed, At: time.Now()}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	if ep := <-asked; ep != endpoint(t, "5.5.9.9:3333") {
		t.Errorf("%s was asked", ep)
	}
	if err := w.Soon(nil, []minecanary.Endpoint{endpoint(t, "5.5.9.10:3333")}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if ep := <-asked; ep != endpoint(t, "5.5.9.10:3333") {
		t.Errorf("%s was asked", ep)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Soon took %s", took)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("to be ended is no error, but %v", err)
	}
	// A history that is gone ends it, too, with an error.
	w = open(t, pool([]string{"5.5.9.9"}, 3333))
	w.stop()
	if err := w.Run(t.Context()); !errors.Is(err, history.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

// TestPace: endpoints are begun at a rate, as the prober allows.
func TestPace(t *testing.T) {
	w := open(t, pool(literals(6), 3333), func(cfg *sweep.Config) { cfg.PerSecond = 50 })
	began := time.Now()
	w.step(day0)
	if took := time.Since(began); took < 90*time.Millisecond {
		t.Errorf("6 endpoints at 50 a second took %s", took)
	}
}

// TestStatus: what it did, and what is due.
func TestStatus(t *testing.T) {
	w := open(t, pool([]string{"a.example", "5.5.9.9"}, 3333))
	if diff := cmp.Diff(sweep.Status{Probed: map[minecanary.VerdictStatus]uint64{}}, w.Status()); diff != "" {
		t.Error(diff)
	}
	w.asker.answer = func(_ context.Context, q minecanary.Question, _ time.Time) (minecanary.Verdict, error) {
		return minecanary.Verdict{Status: cmp0(q.Name == "", minecanary.NotPool, minecanary.Confirmed)}, nil
	}
	w.step(day0)
	w.clock.set(day0.Add(time.Hour))
	want := sweep.Status{
		Names: 1, NamesDue: 1, Endpoints: 2, Resolved: 1, LastResolved: day0, LastAsked: day0,
		Probed: map[minecanary.VerdictStatus]uint64{minecanary.NotPool: 1, minecanary.Confirmed: 1},
	}
	got := w.Status()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got.Probed[minecanary.Node] = 1
	if diff := cmp.Diff(want, w.Status()); diff != "" {
		t.Errorf("a status is the sweeper's own: %s", diff)
	}
}

// TestNoPort: a server of which no port is known is looked up, and not asked.
func TestNoPort(t *testing.T) {
	c := catalog.New(catalog.Layer{Pools: []catalog.Pool{{ID: "a", Servers: []catalog.Server{{Name: "a.example"}, {Address: addrs("5.5.9.9")[0]}}}}})
	w := open(t, c)
	w.step(day0)
	if w.names.count() != 1 || w.asker.count() != 0 || slices.Contains(w.warnings, "") {
		t.Errorf("%d names, %d endpoints", w.names.count(), w.asker.count())
	}
}

// TestWords: what the history is told of each lookup.
func TestWords(t *testing.T) {
	w := open(t, pool(numbered(1)))
	at := day0
	for _, tt := range []struct {
		answer resolver.Answer
		want   string
	}{
		{resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1")}, "NOERROR"},
		{resolver.Answer{Code: resolver.NoError, Chain: []string{"b.example"}, Loop: true}, "LOOP"},
		{resolver.Answer{Code: resolver.Timeout}, "TIMEOUT"},
		{resolver.Answer{Code: resolver.NoError}, "DENIED"},
		{resolver.Answer{Code: resolver.Refused}, "REFUSED"},
		{resolver.Answer{Code: resolver.NXDomain}, "NXDOMAIN"},
		{resolver.Answer{Code: resolver.NoError}, "NOERROR"},
		{resolver.Answer{Code: resolver.NoError, Loop: true}, "LOOP"},
	} {
		w.names.answer = answers(tt.answer)
		w.step(at)
		err := w.book.View(func(v *history.View) error {
			l, err := v.Lookups("n0000.example", history.Query{At: at})
			if err == nil && (len(l) != 1 || l[0].Code != tt.want) {
				t.Errorf("of %+v is written %+v, want %s", tt.answer, l, tt.want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Hour)
	}
}
