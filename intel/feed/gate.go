package feed

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
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
	NotConfirmed Reason = "not_confirmed" // any verdict but confirmed, or one that a later answer contradicts
	NotTCP       Reason = "not_tcp"       // another transport, or no port
	Expired      Reason = "expired"       // the verdict no longer holds
	Stale        Reason = "stale"         // proven longer ago than MaxAge
	Future       Reason = "future"        // made later than now, by more than MaxSkew
	OwnNetwork   Reason = "own_network"   // an address of the network that is watched
	NotPublic    Reason = "not_public"    // no public unicast address
	Resolver     Reason = "resolver"      // Mark: a public DNS resolver
	CDN          Reason = "cdn"           // Mark: a content delivery network or a cloud's front, and no name to publish
	Shared       Reason = "shared"        // Mark: many names on one address, and no name to publish
	BadName      Reason = "bad_name"      // the catalogue's name for such an address is no HostName, so no form could have it
	Listed       Reason = "listed"        // Refuse said no, or Mark with another word
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
	// Mark, if set, tells what an address is besides a pool's, and whose: the words cdn, shared, resolver and reserved;
	// "" if it is nothing else. An address of a cloud that has one tenant at a time is nothing else.
	Mark func(netip.Addr) (kind, owner string)
	// Name, if set, gives the name of a pool's server that an endpoint on an address of many has in the catalogue, ""
	// if there is none. It must not come from what a client or a server said: a client may name anybody.
	Name func(minecanary.Endpoint) string
	// Refuse, if set, gives a further reason against an endpoint ("" for none), such as the operator's allow list. Allow
	// does not lift it.
	Refuse func(minecanary.Endpoint) string
}

// Check gives the entry of a verdict, or the reason why there is none (then ok is false).
func (g Gate) Check(v minecanary.Verdict, now time.Time) (entry Entry, refusal Refusal, ok bool) {
	ep := minecanary.NewEndpoint(v.Endpoint.Addr, v.Endpoint.Port, v.Endpoint.Transport)
	refuse := func(reason Reason, detail string) (Entry, Refusal, bool) {
		return Entry{}, Refusal{Endpoint: ep, Reason: reason, Detail: detail}, false
	}
	maxAge := cmp.Or(g.MaxAge, DefaultMaxAge)
	age := now.Sub(v.At)
	switch {
	case v.Status != minecanary.Confirmed:
		return refuse(NotConfirmed, string(v.Status))
	case ep.Transport != minecanary.TCP || ep.Port == 0:
		return refuse(NotTCP, ep.Transport.String())
	case !v.Valid(now):
		return refuse(Expired, "")
	case age > maxAge:
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
	name, reason, detail := g.marked(ep, lifted)
	if reason != "" {
		return refuse(reason, detail)
	}
	if g.Refuse != nil {
		if why := g.Refuse(ep); why != "" {
			return refuse(Listed, why)
		}
	}
	expires := v.At.Add(maxAge)
	if v.Expires.Before(expires) {
		expires = v.Expires
	}
	return Entry{
		Endpoint:   ep,
		Name:       name,
		Coin:       v.Coin,
		Dialect:    v.Dialect,
		TLS:        v.TLS,
		Reason:     v.Reason,
		First:      v.At,
		Verified:   v.At,
		Expires:    expires,
		Confidence: Confidence(age, expires.Sub(v.At)),
		Hosts:      -1,
		Lifted:     lifted,
	}, Refusal{}, true
}

// marked asks Mark. It gives a reason against the endpoint, or the name to publish instead of an address that many share.
func (g Gate) marked(ep minecanary.Endpoint, lifted bool) (name string, reason Reason, detail string) {
	if g.Mark == nil {
		return "", "", ""
	}
	kind, owner := g.Mark(ep.Addr)
	switch kind {
	case "":
		return "", "", ""
	case "reserved":
		if lifted { // the same rule by another source
			return "", "", ""
		}
		return "", NotPublic, owner
	case string(Resolver):
		return "", Resolver, owner
	case string(CDN), string(Shared):
		found := ""
		if g.Name != nil {
			found = g.Name(ep)
		}
		if found == "" {
			return "", Reason(kind), owner
		}
		if name, ok := HostName(found); ok {
			return name, "", ""
		}
		return "", BadName, clean(found)
	}
	return "", Listed, strings.TrimSpace(kind + " " + owner)
}

// Select passes the verdicts through the gate. A confirmed verdict is refused if the endpoint has a later one that says it
// is no pool. The entries are ordered by endpoint, one each, at most MaxEntries; the refusals are in the order of the
// verdicts.
func (g Gate) Select(verdicts []minecanary.Verdict, now time.Time) ([]Entry, []Refusal) {
	var entries []Entry
	var refusals []Refusal
	denied := denials(verdicts)
	for _, v := range verdicts {
		if denied.contradict(v) {
			refusals = append(refusals, Refusal{Endpoint: v.Endpoint, Reason: NotConfirmed, Detail: "a later answer was no pool's"})
		} else if e, r, ok := g.Check(v, now); ok {
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

// denial says when endpoints last answered as no pool does.
type denial map[minecanary.Endpoint]time.Time

// denials collects the answers that deny a pool. A failed probe proves nothing and is none.
func denials(verdicts []minecanary.Verdict) denial {
	var d denial
	for _, v := range verdicts {
		if v.Status != minecanary.NotPool && v.Status != minecanary.Node {
			continue
		}
		if d == nil {
			d = denial{}
		}
		if v.At.After(d[v.Endpoint]) {
			d[v.Endpoint] = v.At
		}
	}
	return d
}

// contradict tells whether a confirmed verdict has been overtaken.
func (d denial) contradict(v minecanary.Verdict) bool {
	at, ok := d[v.Endpoint]
	return ok && v.Status == minecanary.Confirmed && !at.Before(v.At)
}
