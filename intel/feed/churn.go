package feed

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/minecanary/minecanary"
)

// The brake's settings where Config leaves them at zero.
const (
	// DefaultMaxNew is how many endpoints may be new within NewWindow before the publisher holds them back.
	DefaultMaxNew = 500
	// DefaultMaxChange is how many percent of the feed may be new within NewWindow.
	DefaultMaxChange = 20
	// DefaultMaxHosts is how many inside hosts may have talked to the address of a new entry in the last 24 hours. A hundred
	// machines that mine at one pool are an event that somebody wants to look at anyhow; a hundred that went to one address
	// are more often a service that a network needs.
	DefaultMaxHosts = 100
	// NewWindow is how long an endpoint counts as new, and how long one that left is remembered: what returns within it is
	// not new, and what was held is still held.
	NewWindow = 24 * time.Hour
	// MinChange is how many new endpoints, or lost ones, are never too large a share: small feeds double easily.
	MinChange = 20
	// MaxGenerations is how far back a delta may reach.
	MaxGenerations = 1000
	// maxRecords bounds what the publisher remembers: what is published, what waits, and what left.
	maxRecords = 2*MaxEntries + MaxEntries/2
)

// HoldReason says why an entry waits for approval: a constant word, fit as the label of a metric.
type HoldReason string

// The reasons to hold.
const (
	TooManyNew   HoldReason = "too_many_new"     // more than MaxNew new endpoints within NewWindow
	TooMuchNew   HoldReason = "too_large_change" // more than MaxChange percent of the feed is new
	TooManyHosts HoldReason = "too_many_hosts"   // more than MaxHosts inside hosts talked to the address while it was new
)

// holdReasons has them all.
func holdReasons() []HoldReason { return []HoldReason{TooManyNew, TooMuchNew, TooManyHosts} }

// limits are the brake's; none is zero, and one below zero is no limit.
type limits struct{ maxNew, maxChange, maxHosts int }

// state says where an endpoint stands.
type state string

// The states.
const (
	published state = "published"
	held      state = "held"      // it waits for approval
	approved  state = "approved"  // it may be published, but is not among the entries
	gone      state = "gone"      // it was published, and has left
	withdrawn state = "withdrawn" // it has left while it was held
)

// record is what is remembered of an endpoint that passed the gate.
type record struct {
	Endpoint minecanary.Endpoint `json:"endpoint"`
	Name     string              `json:"name,omitempty"`
	State    state               `json:"state"`
	// First is when it was first confirmed without a gap since.
	First time.Time `json:"first,omitzero"`
	// Since is when it was published as a new one, or by its address for the first time; zero if it does not count as new:
	// it was there before, or somebody approved it.
	Since time.Time `json:"since,omitzero"`
	// Generation is the one in which it came, took another name, left, or was held back after it was published; 0 if that
	// was before the first, or it never was published.
	Generation uint64 `json:"generation,omitempty"`
	// Renamed tells that it was published under another name before, which is Before; "" is its address.
	Renamed bool   `json:"renamed,omitempty"`
	Before  string `json:"before,omitempty"`
	// Left is when it left: gone and withdrawn alone.
	Left time.Time `json:"left,omitzero"`
	// Hold says why it waits, Held since when: held and withdrawn alone.
	Hold HoldReason `json:"hold,omitempty"`
	Held time.Time  `json:"held,omitzero"`
	// Hosts is the blast radius when it was seen last; -1 if it is not known.
	Hosts int `json:"hosts"`
	// By approved it, at the time Approved.
	By       string    `json:"by,omitempty"`
	Approved time.Time `json:"approved,omitzero"`
}

// young tells that it counts as new: its blast radius may still show.
func (r *record) young(now time.Time) bool {
	return !r.Since.IsZero() && now.Sub(r.Since) < NewWindow
}

// candidate is a record that may be published, with the state in which it was before.
type candidate struct {
	*record

	was state
}

// book remembers what was published and what waits. It is not safe for concurrent use.
type book struct {
	// generation counts the changes of what is published, changed is the time of the last.
	generation uint64
	changed    time.Time
	// floor is the oldest generation since which all changes are known.
	floor   uint64
	records map[minecanary.Endpoint]*record
}

func newBook() *book { return &book{records: map[minecanary.Endpoint]*record{}} }

// step is what became of the entries.
type step struct {
	publish []Entry
	// held counts those that wait, by reason.
	held map[HoldReason]int
	// added and removed count what came and went with this generation; lost what left within NewWindow and is not back.
	added, removed, lost int
	// dirty tells that the book is not as it was.
	dirty bool
}

// apply decides which entries are published. They come from the gate, one for each endpoint, with their hosts.
func (b *book) apply(entries []Entry, now time.Time, lim limits) step {
	s := step{held: map[HoldReason]int{}}
	now = second(now)
	present := make(map[minecanary.Endpoint]bool, len(entries))
	var touched []*record
	var fresh []candidate
	// hold keeps one back; it leaves the feed if it is there.
	hold := func(c candidate, why HoldReason) {
		c.State, c.Hold, c.Held, c.Since = held, why, now, time.Time{}
		s.dirty = true
		if c.was == published {
			touched = append(touched, c.record)
			s.removed++
		}
	}
	wide := func(e *Entry) bool { return lim.maxHosts >= 0 && e.Hosts > lim.maxHosts }
	for i := range entries {
		e := &entries[i]
		present[e.Endpoint] = true
		r := b.records[e.Endpoint]
		if r == nil {
			r = &record{Endpoint: e.Endpoint, Name: e.Name, First: second(e.Verified), Hosts: e.Hosts}
			b.records[e.Endpoint] = r
			s.dirty = true
			if c := (candidate{record: r}); wide(e) {
				hold(c, TooManyHosts)
			} else {
				fresh = append(fresh, c)
			}
			continue
		}
		was, name := r.State, r.Name
		r.Hosts, r.Name = e.Hosts, e.Name
		switch was {
		case withdrawn:
			r.State, r.Left, r.First = held, time.Time{}, second(e.Verified)
		case gone: // it returns within NewWindow: nothing new, but there was a gap
			r.State, r.Left, r.First = published, time.Time{}, second(e.Verified)
		case approved:
			r.State = published
		}
		if (was == published || was == gone || r.Generation > 0) && name != e.Name {
			if r.Renamed { // only one name is remembered
				b.floor = max(b.floor, r.Generation)
			}
			r.Renamed, r.Before = true, name
		}
		if r.State == published {
			c := candidate{r, was}
			bare := name != "" && e.Name == "" // nobody looked at its address so far, nor approved it
			if bare {
				r.By, r.Approved = "", time.Time{}
			}
			switch {
			case (bare || r.young(now)) && wide(e):
				hold(c, TooManyHosts)
				continue
			case bare:
				r.State, r.Since = "", time.Time{}
				fresh = append(fresh, c)
				s.dirty = true
				continue
			}
		}
		if r.State == published && (was != published || name != e.Name) {
			touched = append(touched, r)
			s.added++
		}
		s.dirty = s.dirty || r.State != was || r.Name != name
	}
	if len(fresh) > 0 {
		why := b.brake(len(fresh), now, lim)
		for _, c := range fresh {
			if why != "" {
				hold(c, why)
				continue
			}
			c.State, c.Since = published, now
			touched = append(touched, c.record)
			s.added++
		}
	}
	for ep, r := range b.records {
		if present[ep] {
			continue
		}
		switch r.State {
		case published:
			r.State, r.Left = gone, now
			touched = append(touched, r)
			s.removed++
			s.dirty = true
		case held:
			r.State, r.Left = withdrawn, now
			s.dirty = true
		}
	}
	if len(touched) > 0 {
		b.generation++
		b.changed = now
		for _, r := range touched {
			r.Generation = b.generation
		}
	}
	s.dirty = b.forget(now) || s.dirty
	for _, r := range b.records {
		switch r.State {
		case held:
			s.held[r.Hold]++
		case gone:
			s.lost++
		}
	}
	s.publish = make([]Entry, 0, len(entries))
	for _, e := range entries {
		if r := b.records[e.Endpoint]; r.State == published {
			e.First = r.First
			s.publish = append(s.publish, e)
		}
	}
	return s
}

// brake says why so many new entries have to wait; "" if they need not. What waits already counts as well, and what came
// and went within the window: else a flood would pass in drops.
func (b *book) brake(fresh int, now time.Time, lim limits) HoldReason {
	recent, old := fresh, 0
	for _, r := range b.records {
		switch r.State {
		case held:
			if r.Hold != TooManyHosts {
				recent++
			}
		case published, gone:
			if r.young(now) {
				recent++
			} else {
				old++
			}
		}
	}
	switch {
	case lim.maxNew >= 0 && recent > lim.maxNew:
		return TooManyNew
	case lim.maxChange >= 0 && old > 0 && recent > MinChange && recent*100 > lim.maxChange*old:
		return TooMuchNew
	}
	return ""
}

// forget drops what is over, the oldest first if there is too much, and tells whether it dropped any.
func (b *book) forget(now time.Time) bool {
	before := len(b.records)
	drop := func(r *record) {
		b.floor = max(b.floor, r.Generation)
		delete(b.records, r.Endpoint)
	}
	over := func(r *record) (time.Time, bool) {
		switch r.State {
		case gone, withdrawn:
			return r.Left, true
		case approved:
			return r.Approved, true
		}
		return time.Time{}, false
	}
	var waning []*record
	for _, r := range b.records {
		if since, ok := over(r); ok && now.Sub(since) >= NewWindow {
			drop(r)
		} else if ok {
			waning = append(waning, r)
		}
	}
	if n := len(b.records) - maxRecords; n > 0 {
		slices.SortFunc(waning, func(a, b *record) int {
			since, _ := over(a)
			then, _ := over(b)
			return cmp.Or(since.Compare(then), a.Endpoint.Compare(b.Endpoint))
		})
		for _, r := range waning[:min(n, len(waning))] {
			drop(r)
		}
	}
	if b.generation > MaxGenerations {
		b.floor = max(b.floor, b.generation-MaxGenerations)
	}
	return len(b.records) != before
}

// approve lets an endpoint that waits be published at the next apply; it does not count as new then. It is false if the
// endpoint does not wait.
func (b *book) approve(ep minecanary.Endpoint, by string, at time.Time) bool {
	r := b.records[ep]
	if r == nil || r.State != held && r.State != withdrawn {
		return false
	}
	r.State, r.Hold, r.Held, r.Left = approved, "", time.Time{}, time.Time{}
	r.By, r.Approved = by, second(at)
	return true
}

// sorted gives the records for which the function is true, by endpoint.
func (b *book) sorted(want func(*record) bool) []*record {
	out := make([]*record, 0, len(b.records))
	for r := range maps.Values(b.records) {
		if want(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *record) int { return a.Endpoint.Compare(b.Endpoint) })
	return out
}

// second is a time as the book keeps it.
func second(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}
