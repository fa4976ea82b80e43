package prober

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	minecanary "github.com/minecanary/minecanary"
)

// window counts events per key over the last hour, exactly: no more than limit in any hour. It holds at most size keys;
// a full window refuses new keys until the oldest leaves, so that nobody can flush it.
type window[K comparable] struct {
	limit, size int
	seen        map[K][]time.Time // in order, at most limit each
	full        time.Time         // until then no place is free
}

// span is the time over which budgets count.
const span = time.Hour

func newWindow[K comparable](limit, size int) *window[K] {
	return &window[K]{limit: limit, size: size, seen: make(map[K][]time.Time)}
}

// next gives when the key may have its next event: the zero time for now. why tells what is used up.
func (w *window[K]) next(key K, now time.Time) (at time.Time, full bool) {
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
	if len(times) < w.limit || !times[0].Add(span).After(now) {
		return time.Time{}, false
	}
	return times[0].Add(span), false
}

// add counts an event; next must have agreed.
func (w *window[K]) add(key K, now time.Time) {
	times := w.seen[key]
	if len(times) == w.limit {
		copy(times, times[1:])
		times = times[:w.limit-1]
	}
	w.seen[key] = append(times, now)
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
	first, longest time.Duration
	size           int
	failed         map[minecanary.Endpoint]failure
	full           time.Time
}

type failure struct {
	count int
	until time.Time
}

// forget is how long after its back-off an endpoint's failures are remembered.
const forget = 24 * time.Hour

func (b *backoff) next(ep minecanary.Endpoint, now time.Time) (f failure, full time.Time) {
	f, known := b.failed[ep]
	if known || len(b.failed) < b.size {
		return f, time.Time{}
	}
	if !now.Before(b.full) {
		b.full = now.Add(forget + b.longest)
		for ep, f := range b.failed {
			if over := f.until.Add(forget); !over.After(now) {
				delete(b.failed, ep)
			} else if over.Before(b.full) {
				b.full = over
			}
		}
	}
	if len(b.failed) < b.size {
		return failure{}, time.Time{}
	}
	return failure{}, b.full
}

// fail counts an inconclusive answer and gives when to ask again. If the table has been filled up in the meantime the
// endpoint is not remembered; its other budgets still hold.
func (b *backoff) fail(ep minecanary.Endpoint, now time.Time) time.Time {
	f, known := b.failed[ep]
	wait := b.first
	for range f.count {
		wait = min(2*wait, b.longest)
	}
	f = failure{count: f.count + 1, until: now.Add(wait)}
	if known || len(b.failed) < b.size {
		b.failed[ep] = f
	}
	return f.until
}

// budget is the prober's purse. It is safe for concurrent use.
type budget struct {
	mu          sync.Mutex
	clients     *window[netip.Addr]
	networks    *window[netip.Prefix]
	connections *window[minecanary.Endpoint]
	backoff     backoff
	global      *rate.Limiter
	rate        float64
}

func newBudget(cfg Config, size int) *budget {
	return &budget{
		clients:     newWindow[netip.Addr](cfg.ClientPerHour, size),
		networks:    newWindow[netip.Prefix](cfg.NetworkPerHour, size),
		connections: newWindow[minecanary.Endpoint](cfg.ConnectionsPerHour, size),
		backoff: backoff{
			first: cfg.BackoffFirst, longest: cfg.BackoffMax, size: size,
			failed: make(map[minecanary.Endpoint]failure),
		},
		global: rate.NewLimiter(rate.Limit(cfg.GlobalRate), cfg.GlobalBurst),
		rate:   cfg.GlobalRate,
	}
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

// refusal is a budget's no.
type refusal struct {
	reason string
	until  time.Time
}

// probe takes what one automatic probe costs: everything or, with a refusal, nothing. tried is how many probes of the
// endpoint have been inconclusive in a row.
func (b *budget) probe(client netip.Addr, ep minecanary.Endpoint, now time.Time) (tried int, no *refusal) {
	client = minecanary.CanonicalAddr(client)
	net := network(ep.Addr)
	b.mu.Lock()
	defer b.mu.Unlock()
	failed, full := b.backoff.next(ep, now)
	if !full.IsZero() {
		return 0, refuse("too many endpoints are in back-off", full)
	}
	if now.Before(failed.until) {
		return 0, refuse(fmt.Sprintf("back-off of the endpoint after %d inconclusive in a row", failed.count), failed.until)
	}
	for _, w := range []struct {
		name string
		next func() (time.Time, bool)
	}{
		{
			fmt.Sprintf("budget of the client (%d probes an hour)", b.clients.limit),
			func() (time.Time, bool) { return b.clients.next(client, now) },
		},
		{
			fmt.Sprintf("budget of the network %s (%d probes an hour)", net, b.networks.limit),
			func() (time.Time, bool) { return b.networks.next(net, now) },
		},
	} {
		at, full := w.next()
		switch {
		case full:
			return 0, refuse(w.name+": its table is full", at)
		case !at.IsZero():
			return 0, refuse(w.name+" is used up", at)
		}
	}
	if no := b.connectionFree(ep, now); no != nil {
		return 0, no
	}
	if !b.global.AllowN(now, 1) {
		wait := time.Duration((1 - b.global.TokensAt(now)) / b.rate * float64(time.Second))
		return 0, refuse(fmt.Sprintf("global budget (%v probes a second, burst %d) is used up", b.rate, b.global.Burst()),
			now.Add(max(wait, time.Millisecond)))
	}
	b.clients.add(client, now)
	b.networks.add(net, now)
	return failed.count, nil
}

// connection takes one connection of the endpoint.
func (b *budget) connection(ep minecanary.Endpoint, now time.Time) *refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	if no := b.connectionFree(ep, now); no != nil {
		return no
	}
	b.connections.add(ep, now)
	return nil
}

// room tells whether the endpoint may see a connection, without taking it.
func (b *budget) room(ep minecanary.Endpoint, now time.Time) *refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connectionFree(ep, now)
}

// connectionFree is room with the lock held.
func (b *budget) connectionFree(ep minecanary.Endpoint, now time.Time) *refusal {
	at, full := b.connections.next(ep, now)
	name := fmt.Sprintf("budget of the endpoint (%d connections an hour)", b.connections.limit)
	switch {
	case full:
		return refuse(name+": its table is full", at)
	case !at.IsZero():
		return refuse(name+" is used up", at)
	}
	return nil
}

// inconclusive starts or doubles the back-off and gives when it ends.
func (b *budget) inconclusive(ep minecanary.Endpoint, now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backoff.fail(ep, now)
}

// conclusive ends the back-off.
func (b *budget) conclusive(ep minecanary.Endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.backoff.failed, ep)
}

func refuse(reason string, until time.Time) *refusal {
	return &refusal{reason: reason + "; try again at " + until.UTC().Format(time.RFC3339), until: until}
}
