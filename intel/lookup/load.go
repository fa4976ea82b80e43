package lookup

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/history"
)

const (
	// maxSpans is how many stretches of time of one name or endpoint an index holds; the oldest are left out beyond it.
	maxSpans = 10_000
	// maxStates is how many stretches of all endpoints together are looked through for endpoints.
	maxStates = math.MaxInt32
)

// Marker says what an address is beside a pool's; "" for nothing else. chain are the names that led to it.
type Marker func(addr netip.Addr, chain []string) string

// Load takes in all that a history knows of the catalogue's names and their endpoints, and of all other endpoints that ever
// had a verdict. mark may be nil.
func (x *Index) Load(v *history.View, mark Marker) error {
	done := map[minecanary.Endpoint]bool{}
	load := func(ep minecanary.Endpoint) error {
		if done[ep] || ep.Port == 0 {
			return nil
		}
		done[ep] = true
		return x.LoadEndpoint(v, ep)
	}
	known := x.Catalog()
	for _, host := range known.Hosts() {
		rows := known.Host(host)
		addrs := []netip.Addr{rows[0].Server.Address}
		if rows[0].Server.Name != "" {
			if err := x.LoadName(v, host, mark); err != nil {
				return err
			}
			addrs = x.everOf(host)
		}
		for _, addr := range addrs {
			for _, r := range rows {
				if err := load(minecanary.NewEndpoint(addr, r.Endpoint.Port, minecanary.TCP)); err != nil {
					return err
				}
			}
		}
	}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		states, err := v.Endpoints(netip.MustParsePrefix(all), history.Query{Limit: maxStates})
		if err != nil {
			return fmt.Errorf("history of endpoints: %w", err)
		}
		for i := range states {
			if err := load(states[i].Endpoint); err != nil {
				return err
			}
		}
	}
	return nil
}

// everOf gives the addresses that a name ever had, each once.
func (x *Index) everOf(name string) []netip.Addr {
	x.mu.RLock()
	defer x.mu.RUnlock()
	seen := map[netip.Addr]bool{}
	for _, a := range x.names[name] {
		seen[a.Addr] = true
	}
	return slices.SortedFunc(maps.Keys(seen), netip.Addr.Compare)
}

// LoadName takes in what a history knows of one name.
func (x *Index) LoadName(v *history.View, name string, mark Marker) error {
	rows, err := v.Addresses(name, history.Query{Limit: maxSpans})
	if err != nil {
		return fmt.Errorf("history of %s: %w", name, err)
	}
	x.SetAddresses(name, flatten(name, rows, mark))
	return nil
}

// UpdateName takes in that a name was just looked up. That is little if the answer was the one before; of what came into
// the past it need not learn.
func (x *Index) UpdateName(v *history.View, name string, mark Marker) error {
	rows, err := v.Addresses(name, history.Query{Limit: 1})
	if err != nil {
		return fmt.Errorf("history of %s: %w", name, err)
	}
	if len(rows) == 1 && x.extend(rows[0], mark) {
		return nil
	}
	return x.LoadName(v, name, mark)
}

// extend makes the newest stretches of a name longer. It is false if they are not those of the row.
func (x *Index) extend(r history.Addresses, mark Marker) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	var open []*Address
	for _, a := range x.names[r.Name] {
		if a.Until.After(r.From) {
			open = append(open, a)
		}
	}
	for _, a := range open {
		if !slices.Contains(r.Addrs, a.Addr) || mark != nil && mark(a.Addr, r.Chain) != a.Mark {
			return false
		}
	}
	if r.Disputed || len(open) != len(r.Addrs) {
		return false
	}
	for _, a := range open {
		a.LastSeen, a.Until = r.LastSeen, r.Until
	}
	return true
}

// flatten makes one list of stretches for each address out of the sets that a name had one after the other.
func flatten(name string, rows []history.Addresses, mark Marker) []Address {
	var out []Address
	last := map[netip.Addr]int{}
	for _, r := range rows {
		if r.Disputed {
			continue
		}
		for _, a := range r.Addrs {
			what := ""
			if mark != nil {
				what = mark(a, r.Chain)
			}
			if i, ok := last[a]; ok && out[i].Until.Equal(r.From) && out[i].Mark == what {
				out[i].LastSeen, out[i].Until = r.LastSeen, r.Until
				continue
			}
			last[a] = len(out)
			out = append(out, Address{Name: name, Addr: a, Mark: what, Span: span(r.Span)})
		}
	}
	return out
}

func span(s history.Span) Span {
	return Span{From: s.From, LastSeen: s.LastSeen, Until: s.Until, Learnt: s.Learnt}
}

// LoadEndpoint takes in what a history knows of one endpoint.
func (x *Index) LoadEndpoint(v *history.View, ep minecanary.Endpoint) error {
	states, err := v.Endpoint(ep, history.Query{Limit: maxSpans})
	if err != nil {
		return fmt.Errorf("history of %s: %w", ep, err)
	}
	reach, err := v.Availability(ep, history.Query{Limit: maxSpans})
	if err != nil {
		return fmt.Errorf("history of %s: %w", ep, err)
	}
	answers := make([]Answer, 0, len(states)+len(reach))
	for _, r := range reach {
		if !r.Answered && !r.Disputed {
			answers = append(answers, Answer{Status: r.Status, Reason: r.LastReason, Span: span(r.Span)})
		}
	}
	for _, s := range states {
		if !s.Disputed {
			answers = append(answers, Answer{
				Status: s.Status, Dialect: s.Dialect, Coin: s.Coin, TLS: s.TLS, Reason: s.LastReason, Span: span(s.Span),
			})
		}
	}
	x.SetAnswers(ep, answers)
	return nil
}
