package prober

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	minecanary "github.com/minecanary/minecanary"
)

// Purse keeps the budgets. It may be shared by many processes, which together stay within the limits, and is safe for
// concurrent use. Each method is all or nothing. An error means that nothing is known, and the probe or the connection is
// not made.
type Purse interface {
	// Begin takes what one automatic probe costs but for its connections: one of the client, of the network, of the
	// autonomous system and of the rate, if no back-off of the endpoint holds and it may see a connection. The catalogue
	// has no client, and a network, an autonomous system and a rate of its own. By hand nothing is taken.
	Begin(ctx context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error)
	// Connect takes one connection of the endpoint.
	Connect(ctx context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error)
	// End notes how the probe ended. An inconclusive one starts or doubles the back-off, and wait is how long it lasts; a
	// conclusive one ends it.
	End(ctx context.Context, c minecanary.ProbeCost, conclusive bool) (wait time.Duration, err error)
}

// window counts events per key over the last hour, exactly: no more than the limit in any hour. It holds at most size
// keys; a full window refuses new keys until the oldest leaves, so that nobody can flush it.
type window[K comparable] struct {
	size int
	seen map[K][]time.Time // in order
	full time.Time         // until then no place is free
}

// span is the time over which budgets count.
const span = time.Hour

func newWindow[K comparable](size int) *window[K] {
	return &window[K]{size: size, seen: make(map[K][]time.Time)}
}

// next gives when the key may have its next event: the zero time for now.
func (w *window[K]) next(key K, limit int, now time.Time) (at time.Time, full bool) {
	times, known := w.seen[key]
	if !known {
		if len(w.seen) < w.size {
			return time.Time{}, false
		}
		w.sweep(now)
		if len(w.seen) < w.size {
			return time.Time{}, false
		}
		return w.full, true
	}
	if len(times) < limit {
		return time.Time{}, false
	}
	if at := times[len(times)-limit].Add(span); at.After(now) {
		return at, false
	}
	return time.Time{}, false
}

// add counts an event; next must have agreed.
func (w *window[K]) add(key K, now time.Time) {
	times := w.seen[key]
	over := 0
	for over < len(times) && !times[over].Add(span).After(now) {
		over++
	}
	w.seen[key] = append(times[:copy(times, times[over:])], now)
}

// sweep drops the keys whose events are all over, at most once until the first of the rest leaves.
func (w *window[K]) sweep(now time.Time) {
	if now.Before(w.full) {
		return
	}
	w.full = now.Add(span)
	for key, times := range w.seen {
		over := times[len(times)-1].Add(span)
		if !over.After(now) {
			delete(w.seen, key)
		} else if over.Before(w.full) {
			w.full = over
		}
	}
}

// backoff remembers endpoints that gave no conclusive answer.
type backoff struct {
	size   int
	failed map[minecanary.Endpoint]failure
	full   time.Time
}

type failure struct {
	count int
	until time.Time
}

// forget is how long after its back-off an endpoint's failures are remembered.
const forget = 24 * time.Hour

// next gives the failures of an endpoint; full is when a place will be free if there is none.
func (b *backoff) next(ep minecanary.Endpoint, now time.Time) (f failure, full time.Time) {
	if f, known := b.failed[ep]; known {
		if f.until.Add(forget).After(now) {
			return f, time.Time{}
		}
		delete(b.failed, ep)
	}
	if len(b.failed) < b.size {
		return failure{}, time.Time{}
	}
	if !now.Before(b.full) {
		first := true
		for ep, f := range b.failed {
			if over := f.until.Add(forget); !over.After(now) {
				delete(b.failed, ep)
			} else if first || over.Before(b.full) {
				b.full, first = over, false
			}
		}
	}
	if len(b.failed) < b.size {
		return failure{}, time.Time{}
	}
	return failure{}, b.full
}

// fail counts an inconclusive answer and gives how long to wait. If the table has been filled up in the meantime the
// endpoint is not remembered; its other budgets still hold.
func (b *backoff) fail(ep minecanary.Endpoint, first, longest time.Duration, now time.Time) time.Duration {
	f, full := b.next(ep, now)
	wait := first
	for range f.count {
		if wait = min(2*wait, longest); wait == longest {
			break
		}
	}
	if full.IsZero() {
		b.failed[ep] = failure{count: f.count + 1, until: now.Add(wait)}
	}
	return wait
}

// memoryPurse is the purse of one process.
type memoryPurse struct {
	now func() time.Time

	mu                  sync.Mutex
	clients             *window[netip.Addr]
	suspects, catalogue *accounts
	connections         *window[minecanary.Endpoint]
	backoff             backoff
}

// accounts are what the suspects and the catalogue have each for themselves.
type accounts struct {
	networks *window[netip.Prefix]
	systems  *window[uint32]
	rate     *rate.Limiter // nil until it is known
}

func newAccounts(size int) *accounts {
	return &accounts{networks: newWindow[netip.Prefix](size), systems: newWindow[uint32](size)}
}

// bucket gives the token bucket of all probes, with the limits that hold now.
func (a *accounts) bucket(c minecanary.ProbeCost, now time.Time) *rate.Limiter {
	if limit := rate.Limit(c.Rate); a.rate == nil {
		a.rate = rate.NewLimiter(limit, c.Burst)
	} else if a.rate.Limit() != limit || a.rate.Burst() != c.Burst {
		a.rate.SetLimitAt(now, limit)
		a.rate.SetBurstAt(now, c.Burst)
	}
	return a.rate
}

// newMemoryPurse gives a purse whose tables hold at most size keys each.
func newMemoryPurse(now func() time.Time, size int) *memoryPurse {
	return &memoryPurse{
		now:         now,
		clients:     newWindow[netip.Addr](size),
		suspects:    newAccounts(size),
		catalogue:   newAccounts(size),
		connections: newWindow[minecanary.Endpoint](size),
		backoff:     backoff{size: size, failed: make(map[minecanary.Endpoint]failure)},
	}
}

// Begin implements Purse.
func (m *memoryPurse) Begin(_ context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if c.ByHand {
		return m.connectionFree(c, now), nil
	}
	failed, full := m.backoff.next(c.Endpoint, now)
	if !full.IsZero() {
		return minecanary.ProbeGrant{Refused: minecanary.RefusedBackoff, Full: true, Wait: full.Sub(now)}, nil
	}
	if now.Before(failed.until) {
		return minecanary.ProbeGrant{Refused: minecanary.RefusedBackoff, Wait: failed.until.Sub(now), Tried: failed.count}, nil
	}
	own, who := m.suspects, minecanary.RefusedGlobal
	if c.Catalogue {
		own, who = m.catalogue, minecanary.RefusedCatalogue
	} else if at, full := m.clients.next(c.Client, c.PerClient, now); !at.IsZero() {
		return minecanary.ProbeGrant{Refused: minecanary.RefusedClient, Full: full, Wait: at.Sub(now)}, nil
	}
	if at, full := own.networks.next(c.Network, c.PerNetwork, now); !at.IsZero() {
		return minecanary.ProbeGrant{Refused: minecanary.RefusedNetwork, Full: full, Wait: at.Sub(now)}, nil
	}
	if c.AS != 0 {
		if at, full := own.systems.next(c.AS, c.PerAS, now); !at.IsZero() {
			return minecanary.ProbeGrant{Refused: minecanary.RefusedAS, Full: full, Wait: at.Sub(now)}, nil
		}
	}
	if g := m.connectionFree(c, now); g.Refused != "" {
		return g, nil
	}
	if bucket := own.bucket(c, now); !bucket.AllowN(now, 1) {
		wait := time.Duration((1 - bucket.TokensAt(now)) / c.Rate * float64(time.Second))
		return minecanary.ProbeGrant{Refused: who, Wait: max(wait, time.Millisecond)}, nil
	}
	if !c.Catalogue {
		m.clients.add(c.Client, now)
	}
	own.networks.add(c.Network, now)
	if c.AS != 0 {
		own.systems.add(c.AS, now)
	}
	return minecanary.ProbeGrant{Tried: failed.count}, nil
}

// Connect implements Purse.
func (m *memoryPurse) Connect(_ context.Context, c minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	g := m.connectionFree(c, now)
	if g.Refused == "" {
		m.connections.add(c.Endpoint, now)
	}
	return g, nil
}

// connectionFree tells whether the endpoint may see a connection, with the lock held.
func (m *memoryPurse) connectionFree(c minecanary.ProbeCost, now time.Time) minecanary.ProbeGrant {
	if at, full := m.connections.next(c.Endpoint, c.PerEndpoint, now); !at.IsZero() {
		return minecanary.ProbeGrant{Refused: minecanary.RefusedEndpoint, Full: full, Wait: at.Sub(now)}
	}
	return minecanary.ProbeGrant{}
}

// End implements Purse.
func (m *memoryPurse) End(_ context.Context, c minecanary.ProbeCost, conclusive bool) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if conclusive {
		delete(m.backoff.failed, c.Endpoint)
		return 0, nil
	}
	return m.backoff.fail(c.Endpoint, c.BackoffFirst, c.BackoffMax, m.now()), nil
}

// Prefix lengths of the networks that have a budget.
const (
	networkBits4 = 24
	networkBits6 = 48
)

// network gives the network of an address that has a budget.
func network(addr netip.Addr) netip.Prefix {
	bits := networkBits6
	if addr.Is4() {
		bits = networkBits4
	}
	p, err := addr.Prefix(bits)
	if err != nil { // the zero Addr, which the guard refuses before
		return netip.Prefix{}
	}
	return p
}

// purseExpiry is how long a probe is refused when the purse did not answer.
const purseExpiry = time.Minute

// refusal is a budget's no.
type refusal struct {
	reason string
	until  time.Time
}

// cost gives what a probe of an endpoint on behalf of a client is charged to. No client is a client, too.
func (p *Prober) cost(client netip.Addr, ep minecanary.Endpoint) minecanary.ProbeCost {
	c := minecanary.ProbeCost{
		Client: minecanary.CanonicalAddr(client), Network: network(ep.Addr), Endpoint: ep,
		PerClient: p.cfg.ClientPerHour, PerNetwork: p.cfg.NetworkPerHour, PerAS: p.cfg.ASPerHour, PerEndpoint: p.cfg.ConnectionsPerHour,
		Rate: p.cfg.GlobalRate, Burst: p.cfg.GlobalBurst,
		BackoffFirst: p.cfg.BackoffFirst, BackoffMax: p.cfg.BackoffMax,
	}
	if p.cfg.AS != nil {
		c.AS = p.cfg.AS(ep.Addr)
	}
	return c
}

// catalogueCost gives what a probe of an endpoint for the catalogue is charged to.
func (p *Prober) catalogueCost(ep minecanary.Endpoint) minecanary.ProbeCost {
	c := p.cost(netip.Addr{}, ep)
	c.Catalogue, c.Rate, c.Burst = true, p.cfg.CatalogueRate, p.cfg.CatalogueBurst
	return c
}

// refused turns a purse's answer into a refusal, nil for a yes.
func refused(c minecanary.ProbeCost, g minecanary.ProbeGrant, err error, now time.Time) *refusal {
	if err != nil {
		return refuse("the budgets cannot be reached ("+err.Error()+")", now.Add(purseExpiry))
	}
	if g.Refused == "" {
		return nil
	}
	whose := ""
	if c.Catalogue {
		whose = " for the catalogue"
	}
	var name string
	switch g.Refused {
	case minecanary.RefusedBackoff:
		name = fmt.Sprintf("back-off of the endpoint after %d inconclusive in a row", g.Tried)
		if g.Full {
			name = "too many endpoints are in back-off"
		}
		return refuse(name, now.Add(g.Wait))
	case minecanary.RefusedClient:
		name = fmt.Sprintf("budget of the client (%d probes an hour)", c.PerClient)
	case minecanary.RefusedNetwork:
		name = fmt.Sprintf("budget of the network %s%s (%d probes an hour)", c.Network, whose, c.PerNetwork)
	case minecanary.RefusedAS:
		name = fmt.Sprintf("budget of AS%d%s (%d probes an hour)", c.AS, whose, c.PerAS)
	case minecanary.RefusedEndpoint:
		name = fmt.Sprintf("budget of the endpoint (%d connections an hour)", c.PerEndpoint)
	case minecanary.RefusedGlobal:
		name = fmt.Sprintf("global budget (%v probes a second, burst %d)", c.Rate, c.Burst)
	case minecanary.RefusedCatalogue:
		name = fmt.Sprintf("budget of the catalogue (%v probes a second, burst %d)", c.Rate, c.Burst)
	default:
		name = "budget " + g.Refused
	}
	if g.Full {
		return refuse(name+": its table is full", now.Add(g.Wait))
	}
	return refuse(name+" is used up", now.Add(g.Wait))
}

func refuse(reason string, until time.Time) *refusal {
	return &refusal{reason: reason + "; try again at " + until.UTC().Format(time.RFC3339), until: until}
}
