package api

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
)

// span is a stretch of time as JSON.
type span struct {
	From     time.Time `json:"from"`
	LastSeen time.Time `json:"last_seen"`
	Until    time.Time `json:"until"`
	Learnt   time.Time `json:"learnt"`
	Disputed bool      `json:"disputed,omitempty"`
}

func spanOf(s history.Span) span {
	return span{s.From.UTC(), s.LastSeen.UTC(), s.Until.UTC(), s.Learnt.UTC(), s.Disputed}
}

// resolved is which addresses a name had.
type resolved struct {
	span
	Addresses []netip.Addr `json:"addresses"`
	Chain     []string     `json:"chain"`
}

// looked is how looking a name up went.
type looked struct {
	span
	Code string `json:"code"`
}

// serverAnswer is a server with its past.
type serverAnswer struct {
	serverRow
	Matches []lookup.Match `json:"matches"`
	// Resolved and Lookups are the past of the name, the oldest first.
	Resolved []resolved `json:"resolved"`
	Lookups  []looked   `json:"lookups"`
}

// past reads at, known_at and limit, which questions about the past take.
func (c *call) past() (q history.Query, err error) {
	if q.At, err = c.moment("at"); err != nil {
		return q, err
	}
	if q.KnownAt, err = c.moment("known_at"); err != nil {
		return q, err
	}
	q.Limit, err = c.number("limit", MaxPage, MaxPage)
	return q, err
}

// view calls fn with the history, if one is kept.
func (c *call) view(fn func(*history.View) error) error {
	if c.cfg.History == nil {
		return nil
	}
	return c.cfg.History.View(fn)
}

func (c *call) server() error {
	q, err := c.past()
	if err != nil {
		return err
	}
	host := c.host()
	rows := c.cfg.Register.Current().Host(host)
	if len(rows) == 0 {
		return problem(http.StatusNotFound, "there is no such server")
	}
	find := lookup.Query{Kind: lookup.ByName, Name: host, At: q.At}
	matches := c.cfg.Index.Find(find, MaxPage).Matches
	out := serverAnswer{serverRow: c.serverRow(host, rows), Matches: matches, Resolved: []resolved{}, Lookups: []looked{}}
	err = c.view(func(v *history.View) error {
		if rows[0].Server.Address.IsValid() {
			return nil // it has no name
		}
		addresses, err := v.Addresses(host, q)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			out.Resolved = append(out.Resolved, resolved{spanOf(a.Span), filled(a.Addrs), filled(a.Chain)})
		}
		lookups, err := v.Lookups(host, q)
		for _, l := range lookups {
			out.Lookups = append(out.Lookups, looked{spanOf(l.Span), l.Code})
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.sendJSON(http.StatusOK, out)
}

// filled makes a list that is none one that is empty, for JSON.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// state is what an endpoint was.
type state struct {
	span
	Status      minecanary.VerdictStatus `json:"status"`
	Dialect     string                   `json:"dialect,omitempty"`
	Coin        string                   `json:"coin,omitempty"`
	TLS         bool                     `json:"tls"`
	Name        string                   `json:"name,omitempty"`
	FirstReason string                   `json:"first_reason,omitempty"`
	LastReason  string                   `json:"last_reason,omitempty"`
}

// reach is whether an endpoint answered.
type reach struct {
	span
	Answered    bool                     `json:"answered"`
	Status      minecanary.VerdictStatus `json:"status,omitempty"`
	Name        string                   `json:"name,omitempty"`
	FirstReason string                   `json:"first_reason,omitempty"`
	LastReason  string                   `json:"last_reason,omitempty"`
}

// endpointPast is what is known of an endpoint.
type endpointPast struct {
	Endpoint minecanary.Endpoint `json:"endpoint"`
	// States and Availability are the past, the oldest first.
	States       []state `json:"states"`
	Availability []reach `json:"availability"`
	// Proof is what proved it to be a pool the last time, if anything did.
	Proof *history.Proof `json:"proof,omitempty"`
}

func (c *call) endpointHistory() error {
	ep, err := c.endpoint()
	if err != nil {
		return err
	}
	q, err := c.past()
	if err != nil {
		return err
	}
	out := endpointPast{Endpoint: ep, States: []state{}, Availability: []reach{}}
	asked := false
	err = c.view(func(v *history.View) error {
		if asked, err = everAsked(v, ep); err != nil || !asked {
			return err
		}
		states, err := v.Endpoint(ep, q)
		if err != nil {
			return err
		}
		for _, s := range states {
			row := state{spanOf(s.Span), s.Status, s.Dialect, s.Coin, s.TLS, s.Name, s.FirstReason, s.LastReason}
			out.States = append(out.States, row)
		}
		reached, err := v.Availability(ep, q)
		if err != nil {
			return err
		}
		for _, r := range reached {
			row := reach{spanOf(r.Span), r.Answered, r.Status, r.Name, r.FirstReason, r.LastReason}
			out.Availability = append(out.Availability, row)
		}
		proof, found, err := v.Proof(ep)
		if found && (q.KnownAt.IsZero() || !proof.At.After(q.KnownAt)) {
			proof.At = proof.At.UTC()
			proof.Evidence = filled(proof.Evidence)
			out.Proof = &proof
		}
		return err
	})
	if err != nil {
		return err
	}
	if level, _ := c.cfg.Index.Mark(ep, time.Time{}); !asked && level != lookup.KnownPool {
		return problem(http.StatusNotFound, "there is no such endpoint")
	}
	return c.sendJSON(http.StatusOK, out)
}

// everAsked tells whether the history knows an endpoint.
func everAsked(v *history.View, ep minecanary.Endpoint) (bool, error) {
	one := history.Query{Limit: 1}
	states, err := v.Endpoint(ep, one)
	if err != nil || len(states) > 0 {
		return len(states) > 0, err
	}
	reached, err := v.Availability(ep, one)
	return len(reached) > 0, err
}
