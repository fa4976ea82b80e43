package feed

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/minecanary/minecanary"
)

// The bounds of the gate.
const (
	// DefaultMaxAge is how old the proof behind an entry may be: the verdict's own life.
	DefaultMaxAge = 24 * time.Hour
	// MaxSkew is how far in the future a verdict may have been made; clocks of two machines differ a little.
	MaxSkew = 5 * time.Minute
	// MaxEntries is how many endpoints the feed holds; beyond it those verified last stay.
	MaxEntries = 100_000
)

// Reason says why the gate refused a verdict. It is a constant word, fit as the label of a metric.
type Reason string

// The reasons, in the order in which they are tested.
const (
	NotConfirmed Reason = "not_confirmed" // any verdict but confirmed
	NotTCP       Reason = "not_tcp"       // another transport, or no port
	Expired      Reason = "expired"       // the verdict no longer holds
	Stale        Reason = "stale"         // proven longer ago than MaxAge
	Future       Reason = "future"        // made later than now, by more than MaxSkew
	OwnNetwork   Reason = "own_network"   // an address of the network that is watched
	NotPublic    Reason = "not_public"    // no public unicast address
	Listed       Reason = "listed"        // Refuse said no: allow list, CDN, resolver
	TooMany      Reason = "too_many"      // beyond MaxEntries
)

// Refusal is a verdict that is not published.
type Refusal struct {
	Endpoint minecanary.Endpoint
	Reason   Reason
	// Detail is one more word for people, such as what an address is reserved for; "" if there is none.
	Detail string
}

// Gate decides what may be published. The zero value is ready to use.
type Gate struct {
	// MaxAge is the greatest age of the proof; 0 means DefaultMaxAge.
	MaxAge time.Duration
	// Own are the networks that are watched: a pool there is news, but no indicator.
	Own []netip.Prefix
	// Allow lifts the rule of public addresses, and that alone, for a laboratory.
	Allow []netip.Prefix
	// Reserved names what an address is reserved for, "" for public unicast; nil means minecanary.Reserved.
	Reserved func(netip.Addr) string
	// Refuse, if set, gives a further reason against an endpoint ("" for none): the operator's allow list, addresses of
	// a CDN, a resolver. Allow does not lift it.
	Refuse func(minecanary.Endpoint) string
}

// Check gives the entry of a verdict, or the reason why there is none (then ok is false).
func (g Gate) Check(v minecanary.Verdict, now time.Time) (entry Entry, refusal Refusal, ok bool) {
	ep := minecanary.NewEndpoint(v.Endpoint.Addr, v.Endpoint.Port, v.Endpoint.Transport)
	refuse := func(reason Reason, detail string) (Entry, Refusal, bool) {
		return Entry{}, Refusal{Endpoint: ep, Reason: reason, Detail: detail}, false
	}
	age := now.Sub(v.At)
	switch {
	case v.Status != minecanary.Confirmed:
		return refuse(NotConfirmed, string(v.Status))
	case ep.Transport != minecanary.TCP || ep.Port == 0:
		return refuse(NotTCP, ep.Transport.String())
	case !v.Valid(now):
		return refuse(Expired, "")
	case age > cmp.Or(g.MaxAge, DefaultMaxAge):
		return refuse(Stale, "")
	case age < -MaxSkew:
		return refuse(Future, "")
	case !ep.Addr.IsValid():
		return refuse(NotPublic, "no address")
	}
	for _, p := range g.Own {
		if p.Contains(ep.Addr) {
			return refuse(OwnNetwork, p.String())
		}
	}
	reserved := g.Reserved
	if reserved == nil {
		reserved = minecanary.Reserved
	}
	why := reserved(ep.Addr)
	lifted := why != "" && slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(ep.Addr) })
	if why != "" && !lifted {
		return refuse(NotPublic, why)
	}
	if g.Refuse != nil {
		if why := g.Refuse(ep); why != "" {
			return refuse(Listed, why)
		}
	}
	return Entry{
		Endpoint: ep,
		Coin:     v.Coin,
		Dialect:  v.Dialect,
		TLS:      v.TLS,
		Reason:   v.Reason,
		Verified: v.At,
		Lifted:   lifted,
	}, Refusal{}, true
}

// Select passes the verdicts through the gate. The entries are ordered by endpoint, one each, at most MaxEntries; the
// refusals are in the order of the verdicts.
func (g Gate) Select(verdicts []minecanary.Verdict, now time.Time) ([]Entry, []Refusal) {
	var entries []Entry
	var refusals []Refusal
	for _, v := range verdicts {
		if e, r, ok := g.Check(v, now); ok {
			entries = append(entries, e)
		} else {
			refusals = append(refusals, r)
		}
	}
	entries = unique(entries)
	if len(entries) > MaxEntries {
		slices.SortStableFunc(entries, func(a, b Entry) int { return b.Verified.Compare(a.Verified) })
		for _, e := range entries[MaxEntries:] {
			refusals = append(refusals, Refusal{Endpoint: e.Endpoint, Reason: TooMany})
		}
		entries = unique(entries[:MaxEntries])
	}
	return entries, refusals
}
