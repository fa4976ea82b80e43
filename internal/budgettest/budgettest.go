// Package budgettest is the contract suite that every purse of the prober's budgets passes (prober.Purse). It stands
// apart from the rooms, so that each can test its own implementation with it.
package budgettest

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
)

// Purse is prober.Purse.
type Purse interface {
	Begin(ctx context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error)
	Connect(ctx context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error)
	End(ctx context.Context, c minecanary.ProbeCost, conclusive bool) (wait time.Duration, err error)
}

// Harness is a purse under test.
type Harness struct {
	// Purse is new and full of money; Other is the same purse as another process sees it, and may be Purse itself.
	Purse, Other Purse
	// Advance makes the purse's clock go on.
	Advance func(time.Duration)
	// Slack is how much further the purse's clock may go by itself in a test; less than half a minute.
	Slack time.Duration
}

// Run runs the suite. open gives a purse with room for size keys in each table.
func Run(t *testing.T, open func(tb testing.TB, size int) Harness) {
	const size = 1000
	t.Run("holds the limits of an hour", func(t *testing.T) { hours(t, func(tb testing.TB) Harness { return open(tb, size) }) })
	t.Run("bounds the rate of all", func(t *testing.T) { global(t, open(t, size)) })
	t.Run("keeps the catalogue apart", func(t *testing.T) { catalogue(t, open(t, size)) })
	t.Run("takes all or nothing", func(t *testing.T) { allOrNothing(t, open(t, size)) })
	t.Run("counts connections", func(t *testing.T) { connections(t, open(t, size)) })
	t.Run("doubles the back-off", func(t *testing.T) { backoff(t, open(t, size)) })
	t.Run("forgets old failures", func(t *testing.T) { forgets(t, open(t, size)) })
	t.Run("bounds its tables", func(t *testing.T) { bounded(t, open) })
	t.Run("holds between concurrent takers", func(t *testing.T) { concurrent(t, open(t, size)) })
	t.Run("never gives more in any hour", func(t *testing.T) { sliding(t, func(tb testing.TB) Harness { return open(tb, size) }) })
	t.Run("never gives more than burst and rate", func(t *testing.T) { bucket(t, func(tb testing.TB) Harness { return open(tb, size) }) })
}

// cost gives a cost with wide limits.
func cost(client, server string) minecanary.ProbeCost {
	ap := netip.MustParseAddrPort(server)
	bits := 48
	if ap.Addr().Is4() {
		bits = 24
	}
	return minecanary.ProbeCost{
		Client: netip.MustParseAddr(client), Network: netip.PrefixFrom(ap.Addr(), bits).Masked(),
		Endpoint:  minecanary.NewEndpoint(ap.Addr(), ap.Port(), minecanary.TCP),
		PerClient: 5, PerNetwork: 1000, PerAS: 1000, PerEndpoint: 12, Rate: 1000, Burst: 1000, BackoffFirst: time.Hour, BackoffMax: 24 * time.Hour,
	}
}

func client(i int) string { return fmt.Sprintf("10.0.%d.%d", i>>8, i&255) }
func server(i int) string { return fmt.Sprintf("8.%d.%d.1:3333", i>>8, i&255) }

func begin(tb testing.TB, p Purse, c minecanary.ProbeCost) minecanary.ProbeGrant {
	tb.Helper()
	g, err := p.Begin(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func connect(tb testing.TB, p Purse, c minecanary.ProbeCost) minecanary.ProbeGrant {
	tb.Helper()
	g, err := p.Connect(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func end(tb testing.TB, p Purse, c minecanary.ProbeCost, conclusive bool) time.Duration {
	tb.Helper()
	wait, err := p.End(tb.Context(), c, conclusive)
	if err != nil {
		tb.Fatal(err)
	}
	return wait
}

// rounding is how much a wait may be off in any purse.
const rounding = time.Millisecond

// check wants a grant, whose wait may be shorter by the slack.
func (h Harness) check(tb testing.TB, what string, got, want minecanary.ProbeGrant) {
	tb.Helper()
	if got.Wait <= want.Wait+rounding && got.Wait >= want.Wait-h.Slack-rounding && (got.Wait > 0) == (want.Refused != "") {
		got.Wait = want.Wait
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// step is one probe at a time of its test.
type step struct {
	at             time.Duration
	client, server string
	want           minecanary.ProbeGrant
	as             uint32
}

func hours(t *testing.T, open func(tb testing.TB) Harness) {
	tests := []struct {
		name  string
		steps []step
	}{
		{"5 of a client in an hour", []step{
			{0, "10.0.0.1", server(0), minecanary.ProbeGrant{}, 0},
			{1 * time.Minute, "10.0.0.1", server(1), minecanary.ProbeGrant{}, 0},
			{2 * time.Minute, "10.0.0.1", server(2), minecanary.ProbeGrant{}, 0},
			{3 * time.Minute, "10.0.0.1", server(3), minecanary.ProbeGrant{}, 0},
			{4 * time.Minute, "10.0.0.1", server(4), minecanary.ProbeGrant{}, 0},
			{5 * time.Minute, "10.0.0.1", server(5), minecanary.ProbeGrant{Refused: "client", Wait: 55 * time.Minute}, 0},
			{5 * time.Minute, "10.0.0.2", server(5), minecanary.ProbeGrant{}, 0},
			{60 * time.Minute, "10.0.0.1", server(6), minecanary.ProbeGrant{}, 0},
			{60 * time.Minute, "10.0.0.1", server(7), minecanary.ProbeGrant{Refused: "client", Wait: time.Minute}, 0},
		}},
		{"2 of a /24 in an hour", []step{
			{0, "10.0.0.1", "8.8.8.1:3333", minecanary.ProbeGrant{}, 0},
			{time.Minute, "10.0.0.2", "8.8.8.2:3333", minecanary.ProbeGrant{}, 0},
			{2 * time.Minute, "10.0.0.3", "8.8.8.255:3333", minecanary.ProbeGrant{Refused: "network", Wait: 58 * time.Minute}, 0},
			{2 * time.Minute, "10.0.0.3", "8.8.9.0:3333", minecanary.ProbeGrant{}, 0},
		}},
		{"2 of a /48 in an hour", []step{
			{0, "10.0.0.1", "[2600:1:2::1]:3333", minecanary.ProbeGrant{}, 0},
			{time.Minute, "10.0.0.2", "[2600:1:2:ffff::2]:3333", minecanary.ProbeGrant{}, 0},
			{2 * time.Minute, "10.0.0.3", "[2600:1:2:3::3]:3333", minecanary.ProbeGrant{Refused: "network", Wait: 58 * time.Minute}, 0},
			{2 * time.Minute, "10.0.0.3", "[2600:1:3::3]:3333", minecanary.ProbeGrant{}, 0},
		}},
		{"3 of an autonomous system in an hour", []step{
			{0, "10.0.0.1", server(1), minecanary.ProbeGrant{}, 64500},
			{time.Minute, "10.0.0.2", server(2), minecanary.ProbeGrant{}, 64500},
			{2 * time.Minute, "10.0.0.3", "[2600:1:2::1]:3333", minecanary.ProbeGrant{}, 64500},
			{3 * time.Minute, "10.0.0.4", server(4), minecanary.ProbeGrant{Refused: "as", Wait: 57 * time.Minute}, 64500},
			{3 * time.Minute, "10.0.0.4", server(4), minecanary.ProbeGrant{}, 4294967295},
			{60 * time.Minute, "10.0.0.5", server(5), minecanary.ProbeGrant{}, 64500},
			{60 * time.Minute, "10.0.0.6", server(6), minecanary.ProbeGrant{Refused: "as", Wait: time.Minute}, 64500},
		}},
		{"no budget of an unknown one", []step{
			{0, "10.0.0.1", server(1), minecanary.ProbeGrant{}, 0},
			{0, "10.0.0.2", server(2), minecanary.ProbeGrant{}, 0},
			{0, "10.0.0.3", server(3), minecanary.ProbeGrant{}, 0},
			{0, "10.0.0.4", server(4), minecanary.ProbeGrant{}, 0},
			{0, "10.0.0.5", server(5), minecanary.ProbeGrant{}, 0},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t)
			at := time.Duration(0)
			for i, s := range tt.steps {
				h.Advance(s.at - at)
				at = s.at
				c := cost(s.client, s.server)
				c.PerNetwork, c.PerAS, c.AS = 2, 3, s.as
				h.check(t, fmt.Sprintf("step %d", i), begin(t, []Purse{h.Purse, h.Other}[i%2], c), s.want)
			}
		})
	}
}

func global(t *testing.T, h Harness) {
	ask := func(i int) minecanary.ProbeGrant {
		c := cost(client(i), server(i))
		c.Rate, c.Burst = 1.0/60, 10
		return begin(t, []Purse{h.Purse, h.Other}[i%2], c)
	}
	for i := range 10 {
		h.check(t, "burst", ask(i), minecanary.ProbeGrant{})
	}
	for range 20 {
		h.check(t, "probe 11", ask(10), minecanary.ProbeGrant{Refused: "global", Wait: time.Minute})
	}
	h.Advance(time.Minute)
	h.check(t, "after a minute", ask(10), minecanary.ProbeGrant{})
	h.check(t, "a second one after a minute", ask(11), minecanary.ProbeGrant{Refused: "global", Wait: time.Minute})
	h.Advance(24 * time.Hour)
	for i := range 10 {
		h.check(t, "burst a day later", ask(20+i), minecanary.ProbeGrant{})
	}
	if g := ask(30); g.Refused != "global" {
		t.Errorf("the bucket holds more than the burst: %+v", g)
	}
}

// catalogue: what the catalogue asks takes nothing from clients, and clients nothing from it; but for what protects one server.
func catalogue(t *testing.T, h Harness) {
	ask := func(i int, of bool) minecanary.ProbeGrant {
		c := cost(client(i), fmt.Sprintf("8.8.8.%d:3333", i))
		c.PerClient, c.PerNetwork, c.PerAS, c.AS, c.Catalogue = 1, 2, 3, 64500, of
		if of {
			c.Client = netip.Addr{}
		}
		return begin(t, []Purse{h.Purse, h.Other}[i%2], c)
	}
	for _, of := range []bool{true, false} {
		h.check(t, "first", ask(1, of), minecanary.ProbeGrant{})
		h.check(t, "second", ask(2, of), minecanary.ProbeGrant{})
		h.check(t, "third of the network", ask(3, of), minecanary.ProbeGrant{Refused: "network", Wait: time.Hour})
		c := cost(client(4), server(4))
		c.PerAS, c.AS, c.Catalogue = 3, 64500, of
		h.check(t, "another network", begin(t, h.Purse, c), minecanary.ProbeGrant{})
		c = cost(client(5), server(5))
		c.PerAS, c.AS, c.Catalogue = 3, 64500, of
		h.check(t, "fourth of the autonomous system", begin(t, h.Other, c), minecanary.ProbeGrant{Refused: "as", Wait: time.Hour})
	}

	// Nobody is the client of the catalogue, and nobody pays as one.
	for i := range 20 {
		c := cost("10.9.9.9", server(100+i))
		c.PerClient, c.Catalogue = 1, true
		h.check(t, "no client", begin(t, h.Purse, c), minecanary.ProbeGrant{})
	}
	c := cost("10.9.9.9", server(120))
	c.PerClient = 1
	h.check(t, "the client itself", begin(t, h.Purse, c), minecanary.ProbeGrant{})

	// The rates are two, and each has its limits.
	h.Advance(24 * time.Hour)
	for i := range 3 {
		c := cost(client(i), server(200+i))
		c.Rate, c.Burst, c.Catalogue = 1.0/60, 3, true
		h.check(t, "burst of the catalogue", begin(t, h.Other, c), minecanary.ProbeGrant{})
	}
	c = cost(client(3), server(203))
	c.Rate, c.Burst, c.Catalogue = 1.0/60, 3, true
	h.check(t, "beyond it", begin(t, h.Purse, c), minecanary.ProbeGrant{Refused: "catalogue", Wait: time.Minute})
	for i := range 2 {
		c := cost(client(i), server(210+i))
		c.Rate, c.Burst = 1.0/60, 2
		h.check(t, "burst of clients", begin(t, h.Purse, c), minecanary.ProbeGrant{})
	}
	c = cost(client(2), server(212))
	c.Rate, c.Burst = 1.0/60, 2
	h.check(t, "beyond it", begin(t, h.Other, c), minecanary.ProbeGrant{Refused: "global", Wait: time.Minute})

	// Connections and back-off are the endpoint's, whoever asks.
	h.Advance(24 * time.Hour)
	c = cost(client(1), server(300))
	c.PerEndpoint = 1
	h.check(t, "connection because of a client", connect(t, h.Purse, c), minecanary.ProbeGrant{})
	c.Catalogue = true
	no := minecanary.ProbeGrant{Refused: "endpoint", Wait: time.Hour}
	h.check(t, "connection for the catalogue", connect(t, h.Purse, c), no)
	h.check(t, "probe for the catalogue", begin(t, h.Other, c), no)
	c = cost(client(1), server(301))
	c.Catalogue = true
	end(t, h.Purse, c, false)
	c.Catalogue = false
	h.check(t, "back-off", begin(t, h.Other, c), minecanary.ProbeGrant{Refused: "back-off", Wait: time.Hour, Tried: 1})
}

// allOrNothing lets each account refuse, and wants the others to have their money still.
func allOrNothing(t *testing.T, h Harness) {
	// The rate refuses: neither the client nor the network pays.
	c := cost(client(1), server(1))
	c.PerClient, c.PerNetwork, c.Rate, c.Burst = 2, 2, 1.0/60, 1
	h.check(t, "first", begin(t, h.Purse, c), minecanary.ProbeGrant{})
	for range 5 {
		if g := begin(t, h.Other, c); g.Refused != "global" {
			t.Fatalf("want the rate to refuse, got %+v", g)
		}
	}
	h.Advance(time.Minute)
	h.check(t, "second", begin(t, h.Purse, c), minecanary.ProbeGrant{})
	h.Advance(time.Minute)
	h.check(t, "third", begin(t, h.Purse, c), minecanary.ProbeGrant{Refused: "client", Wait: 58 * time.Minute})
	// The client refuses: the rate does not pay.
	other := cost(client(2), server(2))
	other.Rate, other.Burst = c.Rate, c.Burst
	h.check(t, "after a refused client", begin(t, h.Purse, other), minecanary.ProbeGrant{})
	// The network refuses: the new client does not pay.
	h.Advance(time.Minute)
	third := cost(client(3), server(1))
	third.PerClient, third.PerNetwork, third.Rate, third.Burst = 1, 2, c.Rate, c.Burst
	h.check(t, "network", begin(t, h.Purse, third), minecanary.ProbeGrant{Refused: "network", Wait: 57 * time.Minute})
	elsewhere := cost(client(3), server(3))
	elsewhere.PerClient, elsewhere.Rate, elsewhere.Burst = 1, c.Rate, c.Burst
	h.check(t, "after a refused network", begin(t, h.Purse, elsewhere), minecanary.ProbeGrant{})
	// The autonomous system refuses: neither the client nor the network pays.
	h.Advance(time.Minute)
	system := cost(client(5), server(6))
	system.AS, system.PerAS, system.Rate, system.Burst = 64500, 1, c.Rate, c.Burst
	h.check(t, "of a system", begin(t, h.Purse, system), minecanary.ProbeGrant{})
	h.Advance(time.Minute)
	system = cost(client(6), server(7))
	system.AS, system.PerAS, system.PerClient, system.PerNetwork, system.Rate, system.Burst = 64500, 1, 1, 1, c.Rate, c.Burst
	h.check(t, "system", begin(t, h.Other, system), minecanary.ProbeGrant{Refused: "as", Wait: 59 * time.Minute})
	system.AS = 64501
	h.check(t, "after a refused system", begin(t, h.Other, system), minecanary.ProbeGrant{})
	// The endpoint's connections refuse: nobody pays.
	h.Advance(time.Minute)
	full := cost(client(4), server(4))
	full.PerClient, full.PerEndpoint, full.Rate, full.Burst = 1, 1, c.Rate, c.Burst
	h.check(t, "connection", connect(t, h.Purse, full), minecanary.ProbeGrant{})
	h.check(t, "endpoint", begin(t, h.Purse, full), minecanary.ProbeGrant{Refused: "endpoint", Wait: time.Hour})
	full.Endpoint = cost(client(4), server(5)).Endpoint
	h.check(t, "after a refused endpoint", begin(t, h.Purse, full), minecanary.ProbeGrant{})
}

func connections(t *testing.T, h Harness) {
	c := cost(client(1), server(1))
	hand := c
	hand.ByHand = true
	for i := range 12 {
		h.check(t, "by hand", begin(t, h.Other, hand), minecanary.ProbeGrant{})
		h.check(t, fmt.Sprintf("connection %d", i), connect(t, []Purse{h.Purse, h.Other}[i%2], c), minecanary.ProbeGrant{})
		h.Advance(time.Minute)
	}
	no := minecanary.ProbeGrant{Refused: "endpoint", Wait: 48 * time.Minute}
	h.check(t, "connection 13", connect(t, h.Purse, c), no)
	h.check(t, "by hand", begin(t, h.Purse, hand), no)
	h.check(t, "automatic", begin(t, h.Purse, c), no)
	other := c
	other.Endpoint.Port++
	h.check(t, "another endpoint", connect(t, h.Purse, other), minecanary.ProbeGrant{})
	h.Advance(48 * time.Minute)
	h.check(t, "after an hour", connect(t, h.Purse, c), minecanary.ProbeGrant{})
	h.check(t, "the next after an hour", connect(t, h.Purse, c), minecanary.ProbeGrant{Refused: "endpoint", Wait: time.Minute})
	// By hand nothing of the client's was taken, and nothing is in the way but connections.
	for i := range 5 {
		c := cost(client(1), server(100+i))
		h.check(t, "client", begin(t, h.Purse, c), minecanary.ProbeGrant{})
		end(t, h.Purse, c, false)
		c.ByHand = true
		h.check(t, "by hand in back-off", begin(t, h.Purse, c), minecanary.ProbeGrant{})
	}
}

func backoff(t *testing.T, h Harness) {
	c := cost(client(1), server(1))
	for i, hours := range []int{1, 2, 4, 8, 16, 24, 24} {
		p := []Purse{h.Purse, h.Other}[i%2]
		h.check(t, fmt.Sprintf("probe %d", i), begin(t, p, c), minecanary.ProbeGrant{Tried: i})
		want := time.Duration(hours) * time.Hour
		if got := end(t, p, c, false); got != want {
			t.Fatalf("back-off %d is %v, want %v", i, got, want)
		}
		h.Advance(want - time.Minute)
		h.check(t, "before the end", begin(t, h.Other, c), minecanary.ProbeGrant{Refused: "back-off", Wait: time.Minute, Tried: i + 1})
		h.Advance(time.Minute)
	}
	h.check(t, "last", begin(t, h.Purse, c), minecanary.ProbeGrant{Tried: 7})
	if got := end(t, h.Purse, c, true); got != 0 {
		t.Errorf("a conclusive end waits %v", got)
	}
	h.check(t, "after a conclusive answer", begin(t, h.Other, c), minecanary.ProbeGrant{})
	if got := end(t, h.Other, c, false); got != time.Hour {
		t.Errorf("a new back-off is %v, want 1h", got)
	}
}

func forgets(t *testing.T, h Harness) {
	c := cost(client(1), server(1))
	end(t, h.Purse, c, false)
	end(t, h.Purse, c, false) // 2 h
	h.Advance(25 * time.Hour)
	h.check(t, "a day later", begin(t, h.Purse, c), minecanary.ProbeGrant{Tried: 2})
	h.Advance(time.Hour)
	h.check(t, "a day after the back-off", begin(t, h.Purse, c), minecanary.ProbeGrant{})
	if got := end(t, h.Purse, c, false); got != time.Hour {
		t.Errorf("a new back-off is %v, want 1h", got)
	}
}

func bounded(t *testing.T, open func(tb testing.TB, size int) Harness) {
	const size = 8
	with := func(c minecanary.ProbeCost, as int, catalogue bool) minecanary.ProbeCost {
		c.AS, c.Catalogue = uint32(as), catalogue
		return c
	}
	tests := []struct {
		name, refused string
		ask           func(h Harness, i int) minecanary.ProbeGrant
	}{
		{"client", "client", func(h Harness, i int) minecanary.ProbeGrant { return begin(t, h.Purse, cost(client(i), server(0))) }},
		{"network", "network", func(h Harness, i int) minecanary.ProbeGrant {
			return begin(t, h.Other, cost(client(i%size), server(i)))
		}},
		{"autonomous system", "as", func(h Harness, i int) minecanary.ProbeGrant {
			return begin(t, h.Other, with(cost(client(i%size), server(i%size)), 1+i, false))
		}},
		{"endpoint", "endpoint", func(h Harness, i int) minecanary.ProbeGrant { return connect(t, h.Purse, cost(client(0), server(i))) }},
		{"network of the catalogue", "network", func(h Harness, i int) minecanary.ProbeGrant {
			return begin(t, h.Other, with(cost(client(0), server(i)), 0, true))
		}},
		{"autonomous system of the catalogue", "as", func(h Harness, i int) minecanary.ProbeGrant {
			return begin(t, h.Other, with(cost(client(0), server(0)), 1+i, true))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := open(t, size)
			for i := range 60 {
				want := minecanary.ProbeGrant{}
				if i >= size {
					want = minecanary.ProbeGrant{Refused: tt.refused, Full: true, Wait: time.Hour - time.Duration(min(i, 50))*time.Minute}
				}
				h.check(t, fmt.Sprintf("newcomer %d", i), tt.ask(h, i), want)
				if i < 50 {
					h.Advance(time.Minute)
				}
			}
			h.check(t, "one that is known", tt.ask(h, 3), minecanary.ProbeGrant{})
			h.Advance(10 * time.Minute)
			h.check(t, "after an hour", tt.ask(h, 99), minecanary.ProbeGrant{})
			h.Advance(2 * time.Hour)
			for i := range size {
				h.check(t, "much later", tt.ask(h, 200+i), minecanary.ProbeGrant{})
			}
		})
	}
	t.Run("back-off", func(t *testing.T) {
		h := open(t, size)
		for i := range 60 {
			if got := end(t, h.Purse, cost(client(i), server(i)), false); got != time.Hour {
				t.Fatalf("back-off %d is %v", i, got)
			}
		}
		h.check(t, "newcomer", begin(t, h.Purse, cost(client(100), server(100))), minecanary.ProbeGrant{Refused: "back-off", Full: true, Wait: 25 * time.Hour})
		h.Advance(2 * time.Hour)
		h.check(t, "one that is known", begin(t, h.Purse, cost(client(100), server(3))), minecanary.ProbeGrant{Tried: 1})
		h.check(t, "newcomer", begin(t, h.Purse, cost(client(100), server(100))), minecanary.ProbeGrant{Refused: "back-off", Full: true, Wait: 23 * time.Hour})
		if g := begin(t, h.Purse, cost(client(101), server(59))); !g.Full {
			t.Errorf("an endpoint that found no place is known: %+v", g)
		}
		h.Advance(23 * time.Hour)
		h.check(t, "a day later", begin(t, h.Purse, cost(client(100), server(100))), minecanary.ProbeGrant{})
	})
}

// concurrent lets two processes ask from several goroutines at once; together they get what one would.
func concurrent(t *testing.T, h Harness) {
	race := func(times int, ask func(p Purse, i int) (minecanary.ProbeGrant, error)) (granted int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := g; i < times; i += 8 {
					got, err := ask([]Purse{h.Purse, h.Other}[g%2], i)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					if err == nil && got.Refused == "" {
						granted++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		return granted
	}
	if n := race(64, func(p Purse, i int) (minecanary.ProbeGrant, error) {
		return p.Begin(t.Context(), cost(client(1), server(i)))
	}); n != 5 {
		t.Errorf("a client got %d probes, want 5", n)
	}
	if n := race(64, func(p Purse, i int) (minecanary.ProbeGrant, error) {
		c := cost(client(100+i), server(500))
		c.PerNetwork = 8
		return p.Begin(t.Context(), c)
	}); n != 8 {
		t.Errorf("a network got %d probes, want 8", n)
	}
	if n := race(64, func(p Purse, i int) (minecanary.ProbeGrant, error) {
		c := cost(client(400+i), server(1000+i))
		c.AS, c.PerAS = 64500, 7
		return p.Begin(t.Context(), c)
	}); n != 7 {
		t.Errorf("an autonomous system got %d probes, want 7", n)
	}
	if n := race(64, func(p Purse, _ int) (minecanary.ProbeGrant, error) {
		return p.Connect(t.Context(), cost(client(1), server(600)))
	}); n != 12 {
		t.Errorf("an endpoint got %d connections, want 12", n)
	}
	h.Advance(24 * time.Hour)
	if n := race(64, func(p Purse, i int) (minecanary.ProbeGrant, error) {
		c := cost(client(200+i), server(700+i))
		c.Rate, c.Burst = 1.0/60, 10
		return p.Begin(t.Context(), c)
	}); n != 10 {
		t.Errorf("%d probes in a burst, want 10", n)
	}
	// Each of several inconclusive ends at once counts.
	c := cost(client(300), server(900))
	race(3, func(p Purse, _ int) (minecanary.ProbeGrant, error) {
		_, err := p.End(t.Context(), c, false)
		return minecanary.ProbeGrant{}, err
	})
	h.check(t, "after three", begin(t, h.Purse, c), minecanary.ProbeGrant{Refused: "back-off", Wait: 4 * time.Hour, Tried: 3})
}

// sliding: no account gives more than its limit in any hour, and none refuses while it has something left, whatever the
// times. Times are whole minutes, so that the slack does not show.
func sliding(t *testing.T, open func(tb testing.TB) Harness) {
	rapid.Check(t, func(rt *rapid.T) {
		h := open(t)
		now := time.Duration(0)
		limits := map[string]int{
			"client": rapid.IntRange(1, 4).Draw(rt, "per client"), "network": rapid.IntRange(1, 5).Draw(rt, "per network"),
			"as": rapid.IntRange(1, 6).Draw(rt, "per system"), "endpoint": rapid.IntRange(1, 3).Draw(rt, "per endpoint"),
		}
		spent := map[string][]time.Duration{}
		within := func(key string) (n int) {
			for _, at := range spent[key] {
				if at+time.Hour > now {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 40).Draw(rt, "events") {
			gap := time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 7, 29, 30, 31, 60}).Draw(rt, "gap")) * time.Minute
			h.Advance(gap)
			now += gap
			c := cost(client(rapid.IntRange(0, 2).Draw(rt, "client")),
				fmt.Sprintf("8.8.%d.%d:3333", rapid.IntRange(0, 1).Draw(rt, "network"), rapid.IntRange(1, 2).Draw(rt, "host")))
			c.PerClient, c.PerNetwork, c.PerAS, c.PerEndpoint = limits["client"], limits["network"], limits["as"], limits["endpoint"]
			c.AS = rapid.SampledFrom([]uint32{0, 64500, 64501}).Draw(rt, "system")
			c.Catalogue = rapid.IntRange(0, 3).Draw(rt, "catalogue") == 0
			own := strconv.FormatBool(c.Catalogue)
			keys := map[string]string{
				"client": "c" + c.Client.String(), "network": own + "n" + c.Network.String(), "as": own + "a" + strconv.FormatUint(uint64(c.AS), 10),
				"endpoint": "e" + c.Endpoint.String(),
			}
			p := []Purse{h.Purse, h.Other}[rapid.IntRange(0, 1).Draw(rt, "process")]
			var accounts []string
			if !c.Catalogue {
				accounts = append(accounts, "client")
			}
			accounts = append(accounts, "network")
			if c.AS != 0 {
				accounts = append(accounts, "as")
			}
			accounts = append(accounts, "endpoint")
			var g minecanary.ProbeGrant
			var err error
			if rapid.IntRange(0, 2).Draw(rt, "what") == 0 {
				accounts = accounts[len(accounts)-1:]
				g, err = p.Connect(t.Context(), c)
			} else {
				g, err = p.Begin(t.Context(), c)
			}
			if err != nil {
				rt.Fatal(err)
			}
			want := ""
			for _, a := range accounts {
				if want == "" && within(keys[a]) >= limits[a] {
					want = a
				}
			}
			if g.Refused != want {
				rt.Fatalf("at %v: refused by %q, want %q", now, g.Refused, want)
			}
			if g.Refused != "" {
				continue
			}
			if len(accounts) > 1 {
				accounts = accounts[:len(accounts)-1] // Begin takes no connection
			}
			for _, a := range accounts {
				spent[keys[a]] = append(spent[keys[a]], now)
			}
		}
	})
}

// bucket: between any two times no more probes begin than the burst and what the rate gives in between.
func bucket(t *testing.T, open func(tb testing.TB) Harness) {
	rapid.Check(t, func(rt *rapid.T) {
		h := open(t)
		which := rapid.SampledFrom([]string{"global", "catalogue"}).Draw(rt, "rate")
		burst, every := rapid.IntRange(1, 5).Draw(rt, "burst"), time.Duration(rapid.IntRange(2, 9).Draw(rt, "minutes"))*time.Minute
		now := time.Duration(0)
		var granted []time.Duration
		for n := range rapid.IntRange(1, 30).Draw(rt, "events") {
			gap := time.Duration(rapid.IntRange(0, 12).Draw(rt, "gap")) * time.Minute
			h.Advance(gap)
			now += gap
			c := cost(client(n), server(n))
			c.Rate, c.Burst, c.Catalogue = 1/every.Seconds(), burst, which == "catalogue"
			g := begin(t, []Purse{h.Purse, h.Other}[n%2], c)
			switch g.Refused {
			case "":
				granted = append(granted, now)
			case which:
				if len(granted) < burst {
					rt.Fatalf("refused with %d of a burst of %d", len(granted), burst)
				}
			default:
				rt.Fatalf("%+v", g)
			}
			for i := range granted {
				most := burst + int((now-granted[i]+h.Slack)/every)
				if got := len(granted) - i; got > most {
					rt.Fatalf("%d probes within %v, at most %d", got, now-granted[i], most)
				}
			}
		}
	})
}
