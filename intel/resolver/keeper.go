package resolver

import (
	"net/netip"
	"slices"
	"time"
)

// The defaults of Keeper.
const (
	DefaultMaxStale = 24 * time.Hour
	DefaultApart    = 10 * time.Minute
)

// Keeper says what to believe of a name while its servers flap. It has no state: what it believes goes in and out, so
// that it can be stored. The zero value is ready to use.
//
// The families are judged apart. Addresses in an answer are believed at once. A failure says nothing: the last addresses
// stay until it has lasted MaxStale. "No such name" and "no such addresses" are answers, but a server that flaps gives
// them too: they count once they were heard twice, Apart from each other, with no addresses between.
type Keeper struct {
	// MaxStale is how long addresses outlive the first answer without them; 0 means DefaultMaxStale.
	MaxStale time.Duration
	// Apart is the least time between two denials that end addresses; 0 means DefaultApart.
	Apart time.Duration
}

// Belief is what is held of a name. The zero value knows nothing.
type Belief struct {
	A    Held `json:"a"`
	AAAA Held `json:"aaaa"`
	// Chain are the CNAME targets of the last answer that had addresses.
	Chain []string `json:"chain,omitempty"`
	// Code is how the last question ended, and At when.
	Code Code      `json:"code"`
	At   time.Time `json:"at,omitzero"`
}

// Held are the addresses of one family.
type Held struct {
	Addrs []netip.Addr `json:"addrs,omitempty"`
	// Seen is when a server last gave them; zero if there never were any.
	Seen time.Time `json:"seen,omitzero"`
	// Stale is since when no server gives them; zero while they are fresh, and when there are none.
	Stale time.Time `json:"stale,omitzero"`
	// Denied is when a server first said since Seen that there are none; zero if none did.
	Denied time.Time `json:"denied,omitzero"`
}

// Addrs gives the addresses of both families, sorted. The slice belongs to the caller.
func (b Belief) Addrs() []netip.Addr { return slices.Concat(b.A.Addrs, b.AAAA.Addrs) }

// Next gives what to believe after a new answer. One that is older than the last, or has no time, changes nothing.
// What comes out shares no slices with a.
func (k Keeper) Next(b Belief, a Answer) Belief {
	if a.At.IsZero() || a.At.Before(b.At) {
		return b
	}
	split := len(a.Addrs)
	if i := slices.IndexFunc(a.Addrs, netip.Addr.Is6); i >= 0 {
		split = i
	}
	// A chain that does not end is a mistake in the zone, not the end of a pool.
	failed := !a.Code.Final() || a.Loop
	b.A = k.next(b.A, a.Addrs[:split], failed || a.Missing == A, a.At)
	b.AAAA = k.next(b.AAAA, a.Addrs[split:], failed || a.Missing == AAAA, a.At)
	if len(a.Addrs) > 0 {
		b.Chain = slices.Clone(a.Chain)
	}
	b.Code, b.At = a.Code, a.At
	return b
}

// next is Next for one family.
func (k Keeper) next(h Held, addrs []netip.Addr, failed bool, at time.Time) Held {
	if len(addrs) > 0 {
		return Held{Addrs: slices.Clone(addrs), Seen: at}
	}
	if len(h.Addrs) == 0 {
		return h
	}
	if h.Stale.IsZero() {
		h.Stale = at
	}
	apart, maxStale := k.Apart, k.MaxStale
	setDefault(&apart, DefaultApart)
	setDefault(&maxStale, DefaultMaxStale)
	gone := at.Sub(h.Stale) > maxStale
	if !failed {
		if h.Denied.IsZero() {
			h.Denied = at
		}
		gone = gone || at.Sub(h.Denied) >= apart
	}
	if gone {
		return Held{Seen: h.Seen}
	}
	return h
}

// Trust says how much the addresses of a family are worth at a time: 1 while fresh, then falling evenly to 0 when they
// have been stale for MaxStale; 0 if there are none.
func (k Keeper) Trust(h Held, now time.Time) float64 {
	if len(h.Addrs) == 0 {
		return 0
	}
	if h.Stale.IsZero() || now.Before(h.Stale) {
		return 1
	}
	maxStale := k.MaxStale
	setDefault(&maxStale, DefaultMaxStale)
	return max(0, 1-float64(now.Sub(h.Stale))/float64(maxStale))
}
