// Package queuetest is the contract suite that every queue of questions passes.
package queuetest

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// Harness is a queue under test.
type Harness struct {
	// Queue is new and empty; Other is the same queue as another process sees it, and may be Queue itself.
	Queue, Other enrich.Queue
	// Advance makes the queue's clock go on; it may go on by itself, too, but for less than slack in a test.
	Advance func(time.Duration)
	// Settle is how long a done endpoint is refused.
	Settle time.Duration
}

// Lease is the time of leases that queues under test are made with.
const Lease = enrich.QueueLease

// slack is what the tests leave to a clock that goes on by itself; times are multiples of it.
const slack = 15 * time.Second

// Run runs the suite. open gives a new queue; it must be usable with any testing.TB.
func Run(t *testing.T, open func(tb testing.TB) Harness) {
	t.Run("gives the best first and each once", func(t *testing.T) { bestFirst(t, open(t)) })
	t.Run("keeps a question whole", func(t *testing.T) { whole(t, open(t)) })
	t.Run("takes up a better offer", func(t *testing.T) { raises(t, open(t)) })
	t.Run("does not queue what is being asked", func(t *testing.T) { asking(t, open(t)) })
	t.Run("gives back what a taker left", func(t *testing.T) { lapses(t, open(t)) })
	t.Run("renews leases", func(t *testing.T) { renews(t, open(t)) })
	t.Run("leaves alone what passed to another", func(t *testing.T) { passed(t, open(t)) })
	t.Run("is bounded", func(t *testing.T) { bounded(t, open(t)) })
	t.Run("takes what is no number for the worst", func(t *testing.T) { noNumber(t, open(t)) })
	t.Run("gives no endpoint to two takers", func(t *testing.T) { concurrent(t, open(t)) })
	t.Run("does what the model does", func(t *testing.T) { model(t, open) })
}

// Endpoint gives endpoint number i; lower numbers are lower endpoints.
func Endpoint(i int) minecanary.Endpoint {
	return minecanary.NewEndpoint(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 3333, minecanary.TCP)
}

// Offer gives an offer of endpoint number i.
func Offer(i int, points float64) enrich.Offer {
	return enrich.Offer{
		Question: minecanary.Question{
			Endpoint: Endpoint(i), Client: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Reply: true, Payload: true,
			Why: fmt.Sprintf("score %g", points),
		},
		Points: points,
	}
}

func offer(tb testing.TB, q enrich.Queue, offers ...enrich.Offer) (dropped int) {
	tb.Helper()
	dropped, err := q.Offer(tb.Context(), offers)
	if err != nil {
		tb.Fatal(err)
	}
	return dropped
}

func take(tb testing.TB, q enrich.Queue, n int, renew ...enrich.Lease) []enrich.Lease {
	tb.Helper()
	leases, err := q.Take(tb.Context(), n, renew)
	if err != nil {
		tb.Fatal(err)
	}
	return leases
}

func done(tb testing.TB, q enrich.Queue, leases ...enrich.Lease) {
	tb.Helper()
	if err := q.Done(tb.Context(), leases); err != nil {
		tb.Fatal(err)
	}
}

func names(leases []enrich.Lease) []string {
	var out []string
	for _, l := range leases {
		out = append(out, l.Endpoint.Addr.String())
	}
	return out
}

func want(tb testing.TB, what string, leases []enrich.Lease, numbers ...int) {
	tb.Helper()
	var expect []string
	for _, i := range numbers {
		expect = append(expect, Endpoint(i).Addr.String())
	}
	if diff := cmp.Diff(expect, names(leases)); diff != "" {
		tb.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func waiting(tb testing.TB, q enrich.Queue, n int) {
	tb.Helper()
	counts, err := q.Counts(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if counts.Waiting != n {
		tb.Fatalf("%d wait, want %d", counts.Waiting, n)
	}
}

func bestFirst(t *testing.T, h Harness) {
	offer(t, h.Queue, Offer(3, 5), Offer(1, 5), Offer(4, 7.25), Offer(2, 5), Offer(5, -1), Offer(6, 0), Offer(7, 1e-9), Offer(1, 5))
	waiting(t, h.Other, 7)
	want(t, "first", take(t, h.Other, 3), 4, 1, 2)
	want(t, "the rest", take(t, h.Queue, 100), 3, 7, 6, 5)
	want(t, "none", take(t, h.Queue, 100))
	counts, err := h.Queue.Counts(t.Context())
	if diff := cmp.Diff(enrich.QueueCounts{Leased: 7}, counts); err != nil || diff != "" {
		t.Errorf("%v, counts (-want +got):\n%s", err, diff)
	}
}

func whole(t *testing.T, h Harness) {
	var offers []enrich.Offer
	for i, ep := range []minecanary.Endpoint{
		Endpoint(1),
		minecanary.NewEndpoint(netip.MustParseAddr("2001:db8::1"), 65535, minecanary.TCP),
		minecanary.NewEndpoint(netip.MustParseAddr("198.51.100.1"), 53, minecanary.UDP),
		minecanary.NewEndpoint(netip.MustParseAddr("255.255.255.255"), 1, 132),
	} {
		offers = append(offers, enrich.Offer{
			Question: minecanary.Question{
				Endpoint: ep, Client: netip.MustParseAddr("2001:db8::2"), Reply: i&1 == 0, Payload: i&2 == 0, TLS: i&1 == 1,
				Name: "pool.example.org", Why: "canary score 0.91 of 0.5; \"quoted\"\nand \x00 more",
			},
			Points: 1 / float64(i+3),
		})
	}
	offers[3].Client, offers[3].Catalogue = netip.Addr{}, true
	offer(t, h.Queue, offers...)
	var got []enrich.Offer
	for _, l := range take(t, h.Queue, 10) {
		if l.Token == "" {
			t.Error("a lease without a token")
		}
		got = append(got, l.Offer)
	}
	if diff := cmp.Diff(offers, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func raises(t *testing.T, h Harness) {
	offer(t, h.Queue, Offer(1, 1), Offer(2, 2), Offer(3, 3))
	better := Offer(1, 2.5)
	better.Client = netip.MustParseAddr("10.9.9.9")
	offer(t, h.Other, better, Offer(3, 0.5))
	waiting(t, h.Queue, 3)
	got := take(t, h.Queue, 3)
	want(t, "raised", got, 3, 1, 2)
	if diff := cmp.Diff(better, got[1].Offer, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("the better offer (-want +got):\n%s", diff)
	}
	if got[0].Points != 3 {
		t.Errorf("a worse offer was taken: %v", got[0].Points)
	}
}

func asking(t *testing.T, h Harness) {
	offer(t, h.Queue, Offer(1, 1))
	leases := take(t, h.Queue, 1)
	offer(t, h.Other, Offer(1, 9))
	waiting(t, h.Queue, 0)
	want(t, "taken twice", take(t, h.Other, 1))
	done(t, h.Queue, leases...)
	want(t, "after done", take(t, h.Other, 1))
	h.Advance(h.Settle)
	offer(t, h.Other, Offer(1, 1))
	want(t, "offered again", take(t, h.Queue, 1), 1)
}

func lapses(t *testing.T, h Harness) {
	offer(t, h.Queue, Offer(1, 1), Offer(2, 2), Offer(3, 3))
	want(t, "first", take(t, h.Queue, 2), 3, 2)
	h.Advance(Lease - slack)
	want(t, "within the lease", take(t, h.Other, 3), 1)
	h.Advance(slack)
	want(t, "after the lease", take(t, h.Other, 3), 3, 2)
	h.Advance(Lease)
	// An offer finds it waiting again, too.
	offer(t, h.Queue, Offer(1, 10), Offer(2, 1))
	waiting(t, h.Queue, 3)
	got := take(t, h.Queue, 3)
	want(t, "a better offer after the lease", got, 1, 3, 2)
	if got[2].Points != 2 {
		t.Errorf("came back with %v points, want 2", got[2].Points)
	}
}

func renews(t *testing.T, h Harness) {
	offer(t, h.Queue, Offer(1, 1), Offer(2, 2))
	leases := take(t, h.Queue, 2)
	h.Advance(Lease * 2 / 3)
	want(t, "renewing", take(t, h.Queue, 0, leases[0]))
	h.Advance(Lease * 2 / 3)
	want(t, "the one that was not renewed", take(t, h.Other, 5), 1)
	h.Advance(Lease / 3)
	want(t, "after the renewed lease", take(t, h.Other, 5), 2)
	// A lease that has ended, and that nobody has taken, can be renewed still.
	h.Advance(2 * Lease)
	offer(t, h.Queue, Offer(3, 3))
	waiting(t, h.Queue, 3)
	ended := take(t, h.Queue, 3)
	h.Advance(2 * Lease)
	want(t, "renewed late", take(t, h.Queue, 5, ended[0], ended[1]), 1)
	waiting(t, h.Queue, 0)
}

func passed(t *testing.T, h Harness) {
	offer(t, h.Queue, Offer(1, 1))
	first := take(t, h.Queue, 1)
	h.Advance(Lease)
	second := take(t, h.Other, 1)
	want(t, "second taker", second, 1)
	h.Advance(Lease - slack)
	take(t, h.Queue, 0, first...)
	done(t, h.Queue, first...)
	offer(t, h.Queue, Offer(1, 9))
	waiting(t, h.Queue, 0)
	h.Advance(slack)
	third := take(t, h.Queue, 1)
	want(t, "after the second's lease", third, 1)
	// What the third says is done stays done, though its lease ended before.
	h.Advance(Lease)
	waitingAfter(t, h, third[0])
}

// waitingAfter wants a late done to count as long as nobody else has taken the endpoint.
func waitingAfter(t *testing.T, h Harness, late enrich.Lease) {
	t.Helper()
	take(t, h.Other, 0)
	done(t, h.Queue, late)
	waiting(t, h.Queue, 0)
	want(t, "done late", take(t, h.Other, 1))
	done(t, h.Queue, late, late)
	done(t, h.Queue, enrich.Lease{Offer: Offer(77, 1), Token: "unheard of"})
	h.Advance(h.Settle)
	offer(t, h.Queue, Offer(1, 1))
	waiting(t, h.Queue, 1)
}

func bounded(t *testing.T, h Harness) {
	const extra = 300
	var offers []enrich.Offer
	for i := range enrich.MaxQueued {
		offers = append(offers, Offer(i, float64(100+i)))
	}
	for chunk := range slices.Chunk(offers, 500) {
		if dropped := offer(t, h.Queue, chunk...); dropped != 0 {
			t.Fatalf("%d dropped before the queue is full", dropped)
		}
	}
	leases := take(t, h.Queue, 2)
	want(t, "the best", leases, enrich.MaxQueued-1, enrich.MaxQueued-2)
	if dropped := offer(t, h.Queue, Offer(60000, 1), Offer(60001, 2)); dropped != 0 {
		t.Fatalf("%d dropped while there is room", dropped)
	}
	// No better than the worst: left out. Better: the worst go.
	offers = offers[:0]
	for i := range extra {
		offers = append(offers, Offer(50000+i, 1))
	}
	if dropped := offer(t, h.Queue, offers...); dropped != extra {
		t.Errorf("%d dropped, want %d", dropped, extra)
	}
	for i := range extra {
		offers[i] = Offer(50000+i, 1e6+float64(extra-i))
	}
	if dropped := offer(t, h.Other, offers...); dropped != extra {
		t.Errorf("%d dropped, want %d", dropped, extra)
	}
	waiting(t, h.Queue, enrich.MaxQueued)
	// What comes back pushes out the worst as well.
	h.Advance(Lease)
	got := take(t, h.Other, extra+3)
	waiting(t, h.Queue, enrich.MaxQueued-extra-3)
	var numbers []int
	for i := range extra {
		numbers = append(numbers, 50000+i)
	}
	want(t, "the best", got, append(numbers, enrich.MaxQueued-1, enrich.MaxQueued-2, enrich.MaxQueued-3)...)
	rest := take(t, h.Other, enrich.MaxQueued)
	if worst := rest[len(rest)-1]; worst.Points != 100+extra {
		t.Errorf("the worst left has %v points, want %d", worst.Points, 100+extra)
	}
}

func noNumber(t *testing.T, h Harness) {
	offer(t, h.Queue, Offer(1, math.NaN()), Offer(2, math.Inf(-1)), Offer(3, -5), Offer(4, math.Inf(1)))
	got := take(t, h.Queue, 4)
	want(t, "order", got, 4, 3, 1, 2)
	if !math.IsInf(got[0].Points, 1) || !math.IsInf(got[2].Points, -1) {
		t.Errorf("points %v and %v", got[0].Points, got[2].Points)
	}
}

func concurrent(t *testing.T, h Harness) {
	const endpoints = 400
	var mu sync.Mutex
	taken := map[minecanary.Endpoint]int{}
	var wg sync.WaitGroup
	for p, q := range []enrich.Queue{h.Queue, h.Other, h.Queue, h.Other} {
		wg.Go(func() {
			for i := p; i < endpoints; i += 2 { // each endpoint is offered by two
				if _, err := q.Offer(t.Context(), []enrich.Offer{Offer(i, float64(i%7))}); err != nil {
					t.Error(err)
				}
				leases, err := q.Take(t.Context(), 1+i%3, nil)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, l := range leases {
					taken[l.Endpoint]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, l := range take(t, h.Queue, endpoints) {
		taken[l.Endpoint]++
	}
	if len(taken) != endpoints {
		t.Errorf("%d endpoints were taken, want %d", len(taken), endpoints)
	}
	for ep, n := range taken {
		if n != 1 {
			t.Errorf("%s was taken %d times", ep, n)
		}
	}
}

// model compares random runs with the plainest queue there is.
func model(t *testing.T, open func(tb testing.TB) Harness) {
	type entry struct {
		points float64
		token  string    // of the last lease
		until  time.Time // leased; zero: waiting
	}
	h := open(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		base := runs * 8 // endpoints of its own
		now := time.Unix(0, 0)
		state := map[int]*entry{}
		byEndpoint := func(ep minecanary.Endpoint) int {
			for i := range 8 {
				if Endpoint(base+i) == ep {
					return i
				}
			}
			rt.Fatalf("%s is none of ours", ep)
			return 0
		}
		var past []enrich.Lease // of all times
		lapse := func() {
			for _, e := range state {
				if !e.until.IsZero() && !e.until.After(now) {
					e.until = time.Time{}
				}
			}
		}
		q := func() enrich.Queue {
			if rapid.Bool().Draw(rt, "other") {
				return h.Other
			}
			return h.Queue
		}
		end := func(l enrich.Lease) {
			if i := byEndpoint(l.Endpoint); state[i] != nil && state[i].token == l.Token {
				delete(state, i)
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0, 1:
				i, points := rapid.IntRange(0, 7).Draw(rt, "endpoint"), float64(rapid.IntRange(0, 5).Draw(rt, "points"))
				offer(t, q(), Offer(base+i, points))
				lapse()
				switch e := state[i]; {
				case e == nil:
					state[i] = &entry{points: points}
				case e.until.IsZero() && points > e.points:
					e.points = points
				}
			case 2:
				n := rapid.IntRange(0, 4).Draw(rt, "n")
				var renew []enrich.Lease
				if len(past) > 0 && rapid.Bool().Draw(rt, "renew") {
					renew = append(renew, rapid.SampledFrom(past).Draw(rt, "lease"))
				}
				for _, l := range renew {
					if e := state[byEndpoint(l.Endpoint)]; e != nil && e.token == l.Token {
						e.until = now.Add(Lease)
					}
				}
				lapse()
				var expect []int
				for i, e := range state {
					if e.until.IsZero() {
						expect = append(expect, i)
					}
				}
				slices.SortFunc(expect, func(a, b int) int {
					if d := state[b].points - state[a].points; d != 0 {
						return int(d)
					}
					return a - b
				})
				expect = expect[:min(n, len(expect))]
				got := take(t, q(), n, renew...)
				var numbers []int
				for _, l := range got {
					i := byEndpoint(l.Endpoint)
					numbers = append(numbers, i)
					if e := state[i]; e != nil {
						e.until, e.token = now.Add(Lease), l.Token
					}
				}
				if !slices.Equal(expect, numbers) {
					rt.Fatalf("took %v, want %v", numbers, expect)
				}
				past = append(past, got...)
			case 3:
				if len(past) == 0 {
					continue
				}
				l := rapid.SampledFrom(past).Draw(rt, "lease")
				done(t, q(), l)
				end(l)
				h.Advance(h.Settle)
				now = now.Add(h.Settle)
			case 4:
				d := time.Duration(rapid.IntRange(0, 8).Draw(rt, "quarter minutes")) * slack
				h.Advance(d)
				now = now.Add(d)
			case 5:
				counts, err := h.Other.Counts(t.Context())
				if err != nil {
					rt.Fatal(err)
				}
				if counts.Waiting+counts.Leased != len(state) {
					rt.Fatalf("%+v, want %d in all", counts, len(state))
				}
			}
		}
		// Leave nothing to the next run.
		h.Advance(2 * Lease)
		done(t, h.Queue, take(t, h.Queue, 8)...)
		h.Advance(2 * Lease)
		take(t, h.Queue, 0)
		waiting(t, h.Queue, 0)
	})
	if runs == 0 {
		t.Error("nothing was run")
	}
}
