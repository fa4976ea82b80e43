package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
)

// Bounds of what is shown of the past.
const (
	// maxIntervals is how many intervals of a track are shown, the newest of them.
	maxIntervals = 500
	// maxLanes is how many lanes a timeline has.
	maxLanes = 40
	// span is the width of a timeline in its own units.
	span = 1000
)

func encode(v map[string][]string) string { return url.Values(v).Encode() }

// timeline is stretches of time drawn as lanes below each other.
type timeline struct {
	Title string
	From  time.Time
	To    time.Time
	Ticks []time.Time
	Lanes []lane
	// More is how many lanes are not drawn.
	More int
	// Words are what the colours mean.
	Words []string
}

type lane struct {
	Label string
	Href  string
	Bars  []stretch
}

// stretch is a part of a lane.
type stretch struct {
	X, Width int
	// Word is the class of the colour, Title says it all.
	Word, Title string

	from, until time.Time
}

// newTimeline draws lanes from their first moment to now.
func newTimeline(title string, now time.Time, lanes []lane) timeline {
	t := timeline{Title: title, To: now}
	for _, l := range lanes {
		for _, b := range l.Bars {
			if t.From.IsZero() || b.from.Before(t.From) {
				t.From = b.from
			}
			if b.from.After(t.To) {
				t.To = b.from
			}
		}
	}
	if len(lanes) > maxLanes {
		lanes, t.More = lanes[:maxLanes], len(lanes)-maxLanes
	}
	all := max(t.To.Sub(t.From), time.Second)
	at := func(x time.Time) int { return int(float64(min(max(x.Sub(t.From), 0), all)) / float64(all) * span) }
	for i := range lanes {
		for j := range lanes[i].Bars {
			b := &lanes[i].Bars[j]
			b.X = min(at(b.from), span-2)
			b.Width = max(at(b.until)-b.X, 2) // what was short is seen, too
			if !slices.Contains(t.Words, b.Word) {
				t.Words = append(t.Words, b.Word)
			}
		}
	}
	slices.Sort(t.Words)
	for i := range 5 {
		t.Ticks = append(t.Ticks, t.From.Add(all/4*time.Duration(i)))
	}
	t.Lanes = lanes
	return t
}

func newStretch(s history.Span, word, what string) stretch {
	return stretch{
		Word: word, Title: fmt.Sprintf("%s from %s until %s, last seen %s", what, stamp(s.From), stamp(s.Until), stamp(s.LastSeen)), from: s.From, until: s.Until,
	}
}

// spanColumns are those of intervals.
func spanColumns[T any](get func(*T) history.Span) []column[T] {
	return []column[T]{
		{key: "from", label: "From", cell: func(r *T) cell { return cell{Time: get(r).From} }},
		{key: "last_seen", label: "Last seen", cell: func(r *T) cell { return cell{Time: get(r).LastSeen} }},
		{key: "until", label: "Until", cell: func(r *T) cell { return cell{Time: get(r).Until} }},
		{key: "learnt", label: "Learnt", cell: func(r *T) cell { return cell{Time: get(r).Learnt} }},
		{key: "disputed", label: "Disputed", cell: func(r *T) cell { return yes(get(r).Disputed) }},
	}
}

// newest gives the newest intervals, the newest first.
func newest[T any](rows []T) []T {
	rows = slices.Clone(rows)
	slices.Reverse(rows)
	return rows
}

// hostIn is the server in the path, in the catalogue's spelling.
func (c *call) hostIn() string {
	h := c.r.PathValue("host")
	if a, err := netip.ParseAddr(h); err == nil {
		return minecanary.CanonicalAddr(a).String()
	}
	return catalog.CanonicalName(h)
}

func (c *call) showServer() error {
	h := c.hostIn()
	rows := c.cfg.Index.Catalog().Host(h)
	var names []history.Addresses
	var lookups []history.Lookup
	if _, err := netip.ParseAddr(h); err != nil && c.cfg.History != nil {
		err := c.cfg.History.View(func(v *history.View) (err error) {
			if names, err = v.Addresses(h, history.Query{Limit: maxIntervals}); err == nil {
				lookups, err = v.Lookups(h, history.Query{Limit: maxIntervals})
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("history of a name: %w", err)
		}
	}
	if len(rows) == 0 && len(names) == 0 {
		return notFound("Neither the catalogue nor the history knows this server.")
	}
	body := struct {
		Host               string
		Facts              []fact
		Timeline           *timeline
		Addresses, Lookups table
		Table              table
		Resolve            string
		Kept               bool
	}{Host: h, Kept: c.cfg.History != nil}
	var pools []link
	for _, r := range rows {
		if l := (link{brief(r.Pool.Name), poolPath(r.Pool.ID)}); !slices.Contains(pools, l) {
			pools = append(pools, l)
		}
	}
	var now []link
	for _, a := range c.cfg.Index.AddressesOf(h, c.cfg.Now()) {
		now = append(now, link{a.Addr.String(), addressPath(a.Addr)})
	}
	body.Facts = facts(fact{"Pool", many(pools)}, fact{"Addresses now", many(now)})
	if len(rows) > 0 {
		body.Facts = append(body.Facts, facts(fact{"Region", cell{Text: brief(rows[0].Server.Region)}})...)
		body.Facts = append(body.Facts, provenance(rows[0].Server.Provenance)...)
	}
	if len(names) > 0 {
		t := newTimeline("Addresses of "+h, c.cfg.Now(), addressLanes(names))
		body.Timeline = &t
	}
	type addresses = history.Addresses
	body.Addresses = plainTable("Addresses over time", "The name was not looked up yet.", append([]column[addresses]{
		{key: "addresses", label: "Addresses", cell: func(a *addresses) cell {
			if len(a.Addrs) == 0 {
				return cell{Text: "none"}
			}
			var links []link
			for _, x := range a.Addrs {
				links = append(links, link{x.String(), addressPath(x)})
			}
			return many(links)
		}},
		{key: "chain", label: "Aliases (CNAME)", cell: func(a *addresses) cell { return cell{Hostile: chain(a)} }},
	}, spanColumns(func(a *addresses) history.Span { return a.Span })...), newest(names))
	type looked = history.Lookup
	body.Lookups = plainTable("How looking it up went", "The name was not looked up yet.", append([]column[looked]{
		{key: "code", label: "Answer", cell: func(l *looked) cell { return cell{Hostile: l.Code} }},
	}, spanColumns(func(l *looked) history.Span { return l.Span })...), newest(lookups))
	t := table{Caption: "Endpoints", Empty: "The catalogue has no endpoint of it."}
	t, sent, err := tabulate(c, t, slices.DeleteFunc(matchColumns(), func(col column[lookup.Match]) bool { return col.key == "server" }), c.of(rows))
	if err != nil || sent {
		return err
	}
	body.Table = t
	if c.sweeps() && len(rows) > 0 && rows[0].Server.Name != "" {
		body.Resolve = serverPath(h) + "/resolve"
	}
	return c.show("server", h, body)
}

// chain is how a name led to its addresses.
func chain(a *history.Addresses) string {
	if len(a.Chain) == 0 {
		return ""
	}
	names := a.Chain
	if names[0] != a.Name {
		names = append([]string{a.Name}, names...)
	}
	return strings.Join(names, " → ")
}

// addressLanes gives a lane to each address, in the order they were first seen.
func addressLanes(rows []history.Addresses) []lane {
	var lanes []lane
	at := map[netip.Addr]int{}
	for _, r := range rows {
		for _, a := range r.Addrs {
			i, ok := at[a]
			if !ok {
				i = len(lanes)
				at[a] = i
				lanes = append(lanes, lane{Label: a.String(), Href: addressPath(a)})
			}
			word := "address"
			if r.Disputed {
				word = "disputed"
			}
			lanes[i].Bars = append(lanes[i].Bars, newStretch(r.Span, word, a.String()))
		}
	}
	return lanes
}

// endpointIn is the endpoint in the path.
func (c *call) endpointIn() (minecanary.Endpoint, error) {
	a, err := netip.ParseAddr(c.r.PathValue("address"))
	port, portErr := strconv.ParseUint(c.r.PathValue("port"), 10, 16)
	if err != nil || a.Zone() != "" || portErr != nil || port == 0 {
		return minecanary.Endpoint{}, notFound("There is no such endpoint.")
	}
	return minecanary.NewEndpoint(a, uint16(port), minecanary.TCP), nil
}

func (c *call) showEndpoint() error {
	ep, err := c.endpointIn()
	if err != nil {
		return err
	}
	found := once(c.cfg.Index.Find(lookup.Query{Kind: lookup.ByAddress, Prefix: netip.PrefixFrom(ep.Addr, ep.Addr.BitLen()), Port: ep.Port}, maxFound).Matches)
	var states []history.State
	var reach []history.Reach
	var proof history.Proof
	var proven bool
	if c.cfg.History != nil {
		err := c.cfg.History.View(func(v *history.View) (err error) {
			if states, err = v.Endpoint(ep, history.Query{Limit: maxIntervals}); err != nil {
				return err
			}
			if reach, err = v.Availability(ep, history.Query{Limit: maxIntervals}); err != nil {
				return err
			}
			proof, proven, err = v.Proof(ep)
			return err
		})
		if err != nil {
			return fmt.Errorf("history of an endpoint: %w", err)
		}
	}
	if len(found) == 0 && len(states) == 0 && len(reach) == 0 {
		return notFound("Neither the catalogue nor the history knows this endpoint.")
	}
	body := struct {
		Title         string
		Facts         []fact
		Why           []string
		Timeline      *timeline
		States, Reach table
		Table         table
		Proof         *history.Proof
		Ask           string
		Kept          bool
	}{Title: netip.AddrPortFrom(ep.Addr, ep.Port).String(), Kept: c.cfg.History != nil}
	for _, m := range found {
		body.Why = append(body.Why, sentences(m)...)
	}
	if proven {
		body.Proof = &proof
	}
	body.Why = append(body.Why, proofSentences(states, proof)...)
	body.Why = slices.Compact(body.Why)
	status := minecanary.Unknown
	for _, m := range found {
		status = cmp.Or(m.Status, status)
	}
	if n := len(states); n > 0 && status == minecanary.Unknown {
		status = states[n-1].Status
	}
	body.Facts = facts(fact{"Status", cell{Status: string(status)}}, fact{"Which means", cell{Text: verdictText(status)}},
		fact{"Reason", cell{Hostile: lastReason(states, reach)}}, fact{"Last proof", cell{Time: lastProof(found, proof)}})
	if len(states)+len(reach) > 0 {
		t := newTimeline("What "+body.Title+" answered", c.cfg.Now(), answerLanes(states, reach))
		body.Timeline = &t
	}
	type state = history.State
	body.States = plainTable("Verdicts over time", "It was not told yet what it is.", append([]column[state]{
		{key: "verdict", label: "Verdict", cell: func(s *state) cell { return cell{Status: string(s.Status)} }},
		{key: "dialect", label: "Protocol", cell: func(s *state) cell { return cell{Hostile: s.Dialect} }},
		{key: "coin", label: "Coin", cell: func(s *state) cell { return cell{Hostile: s.Coin} }},
		{key: "tls", label: "TLS", cell: func(s *state) cell { return yes(s.TLS) }},
		{key: "name", label: "Asked as", cell: func(s *state) cell { return cell{Hostile: s.Name} }},
		{key: "reason", label: "Last reason", cell: func(s *state) cell { return cell{Hostile: s.LastReason} }},
	}, spanColumns(func(s *state) history.Span { return s.Span })...), newest(states))
	type reached = history.Reach
	body.Reach = plainTable("Whether it answered", "It was not asked yet.", append([]column[reached]{
		{key: "answered", label: "Answered", cell: func(r *reached) cell { return yes(r.Answered) }},
		{key: "status", label: "Outcome", cell: func(r *reached) cell { return cell{Status: string(r.Status)} }},
		{key: "reason", label: "Last reason", cell: func(r *reached) cell { return cell{Hostile: r.LastReason} }},
	}, spanColumns(func(r *reached) history.Span { return r.Span })...), newest(reach))
	body.Table = plainTable("Rows of the catalogue", "The catalogue does not have it; it answered as a pool does.", slices.DeleteFunc(matchColumns(), func(col column[lookup.Match]) bool {
		return col.key == "address" || col.key == "port"
	}), found)
	if level, _ := c.cfg.Index.Mark(ep, time.Time{}); c.sweeps() && level == lookup.KnownPool {
		body.Ask = endpointPath(ep.Addr, ep.Port) + "/ask"
	}
	return c.show("endpoint", body.Title, body)
}

// answerLanes gives a lane to what the endpoint was and one to whether it answered.
func answerLanes(states []history.State, reach []history.Reach) []lane {
	verdict, answered := lane{Label: "Verdict"}, lane{Label: "Answered"}
	for _, s := range states {
		word := string(s.Status)
		if s.Disputed {
			word = "disputed"
		}
		verdict.Bars = append(verdict.Bars, newStretch(s.Span, word, string(s.Status)))
	}
	for _, r := range reach {
		word, what := "answered", "answered"
		if !r.Answered {
			word, what = "silent", "no answer ("+string(r.Status)+")"
		}
		if r.Disputed {
			word = "disputed"
		}
		answered.Bars = append(answered.Bars, newStretch(r.Span, word, what))
	}
	return []lane{verdict, answered}
}

func lastReason(states []history.State, reach []history.Reach) string {
	var reason string
	var at time.Time
	if n := len(states); n > 0 {
		reason, at = states[n-1].LastReason, states[n-1].LastSeen
	}
	if n := len(reach); n > 0 && !reach[n-1].Answered && reach[n-1].LastSeen.After(at) {
		reason = reach[n-1].LastReason
	}
	return reason
}

func lastProof(found []lookup.Match, proof history.Proof) time.Time {
	last := proof.At
	for _, m := range found {
		if m.LastProof.After(last) {
			last = m.LastProof
		}
	}
	return last
}

// proofSentences says what was proven, and what speaks against it.
func proofSentences(states []history.State, proof history.Proof) []string {
	var why []string
	for _, s := range slices.Backward(states) {
		if s.Disputed {
			continue
		}
		how := ""
		if s.Dialect != "" {
			how += " in the protocol " + brief(s.Dialect)
		}
		if s.TLS {
			how += " over TLS"
		}
		switch s.Status {
		case minecanary.Confirmed:
			why = append(why, fmt.Sprintf("It answered as a mining pool does%s from %s to %s: %s.", how, stamp(s.From), stamp(s.LastSeen), strings.TrimSuffix(brief(s.LastReason), ".")))
		default:
			why = append(why, fmt.Sprintf("From %s to %s %s%s: %s.", stamp(s.From), stamp(s.LastSeen), verdictText(s.Status), how, strings.TrimSuffix(brief(s.LastReason), ".")))
		}
		if len(why) == 3 {
			break // the table has the rest
		}
	}
	for _, e := range proof.Evidence {
		why = append(why, fmt.Sprintf("%s evidence of %s: %s", strings.ToUpper(string(e.Strength[:min(1, len(e.Strength))]))+string(e.Strength[min(1, len(e.Strength)):]), stamp(proof.At), visible(e.Summary, maxText)))
	}
	return why
}

func (c *call) resolve() error {
	h := c.hostIn()
	rows := c.cfg.Index.Catalog().Host(h)
	if !c.sweeps() || len(rows) == 0 || rows[0].Server.Name == "" {
		return notFound("Names are not looked up here, or the catalogue does not have this one.")
	}
	if err := c.order("sweep.resolve", h, []string{h}, nil); err != nil {
		return err
	}
	return c.redirect(serverPath(h), "asked")
}

func (c *call) ask() error {
	ep, err := c.endpointIn()
	if err != nil {
		return err
	}
	if !c.sweeps() {
		return notFound("Endpoints are not asked here.")
	}
	// Only what is known as a pool's, and so not by mistake; an analyst can make any public address a pool's, in the journal.
	if level, _ := c.cfg.Index.Mark(ep, time.Time{}); level != lookup.KnownPool {
		return notFound("Neither the catalogue nor the history knows this endpoint as a pool's.")
	}
	if err := c.order("sweep.probe", netip.AddrPortFrom(ep.Addr, ep.Port).String(), nil, []minecanary.Endpoint{ep}); err != nil {
		return err
	}
	return c.redirect(endpointPath(ep.Addr, ep.Port), "asked")
}

// order hands names and endpoints to the sweeps, after it was written down who ordered it.
func (c *call) order(action, object string, names []string, endpoints []minecanary.Endpoint) error {
	if c.cfg.Changes == nil {
		return &refusal{http.StatusConflict, "This instance keeps no journal of changes, so nothing can be ordered."}
	}
	if err := c.cfg.Changes.Append(changes.Entry{Who: c.who.String(), Action: action, Object: object}); err != nil {
		return fmt.Errorf("journal of changes: %w", err)
	}
	switch err := c.cfg.Sweep.Soon(names, endpoints); {
	case errors.Is(err, sweep.ErrNobody) && len(names) > 0:
		return &refusal{http.StatusConflict, "Names are not looked up here; catalogue.resolve in the configuration turns it on."}
	case errors.Is(err, sweep.ErrNobody):
		return &refusal{http.StatusConflict, "Endpoints of the catalogue are not asked here; catalogue.probe in the configuration turns it on."}
	case errors.Is(err, sweep.ErrTooMany):
		return &refusal{http.StatusTooManyRequests, "Too many endpoints wait to be asked; try again in a while."}
	case err != nil:
		return &refusal{http.StatusServiceUnavailable, "It was not done: " + brief(err.Error()) + "."}
	}
	return nil
}
