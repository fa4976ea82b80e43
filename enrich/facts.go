package enrich

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// The bounds of facts.
const (
	// MaxFacts is how many facts an engine holds; beyond it a quarter leaves, what says least and ended longest ago first.
	MaxFacts = 100_000
	// maxFactsOfPair bounds the facts of one client and server, maxFactsOfClient those of one client: nobody can fill the
	// table alone.
	maxFactsOfPair, maxFactsOfClient = 8, MaxFacts / 20
	// maxFactText is the length of an evidence's line, as minecanary.Evidence has it.
	maxFactText = 512
	// tellFactEvery is how much later (event time) a fact has to be seen again to be kept anew.
	tellFactEvery = 10 * time.Minute
	// factLife is how long after it was seen last (event time) a fact still speaks of a client and a server.
	factLife = 7 * 24 * time.Hour
	// nameLife is how long after an answer a client may go to the address of a name: most clients keep what they have
	// longer than its TTL says.
	nameLife = 24 * time.Hour
	// nameSlack is how much earlier than the answer a connection may seem to start: sensors write the time of the query
	// or of the answer.
	nameSlack = 5 * time.Second
	// pullFactsEvery is how often (wall clock) the facts of other processes are looked at.
	pullFactsEvery = 5 * time.Second
)

// Fact is what the sightings of one kind say of a client and a server, joined. Facts of one key merge in any order and
// any number to the same.
type Fact struct {
	Kind minecanary.SightingKind `json:"kind"`
	// Client talked to Addr, at Port; port 0 stands for all (SightedDNS). An unset client stands for all clients.
	Client netip.Addr `json:"client,omitzero"`
	Addr   netip.Addr `json:"addr"`
	Port   uint16     `json:"port,omitempty"`
	// Name is that of a known pool.
	Name string `json:"name,omitempty"`
	// The rest is as in minecanary.Sighting, of the latest.
	ByServer bool   `json:"by_server,omitempty"`
	Unsure   bool   `json:"unsure,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Method   string `json:"method,omitempty"`
	Agent    string `json:"agent,omitempty"`
	Login    string `json:"login,omitempty"`
	Rule     uint32 `json:"rule,omitempty"`
	Text     string `json:"text,omitempty"`
	// First and Last are when it was seen, Unix microseconds.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// FactKeeper keeps facts beyond this process.
type FactKeeper interface {
	// Put makes facts durable, before the position moves beyond the records that they came from. It may be repeated.
	Put(ctx context.Context, facts []Fact) error
	// Since gives the facts that anybody put after a version, and the version as of now; 0 asks for all.
	Since(ctx context.Context, version uint64) (facts []Fact, now uint64, err error)
}

type factKey struct {
	client, addr netip.Addr
	port         uint16
}

// same tells whether two facts of one pair are of the same key.
func (f *Fact) same(o *Fact) bool {
	return f.Kind == o.Kind && f.ByServer == o.ByServer && f.Unsure == o.Unsure && f.Name == o.Name && f.Rule == o.Rule
}

// Key names what the fact is of, for those who keep facts: two facts of one key are to be merged, and the one put last
// has it all.
func (f *Fact) Key() string {
	return fmt.Sprintf("%d|%t|%t|%s|%s|%d|%s|%d", f.Kind, f.ByServer, f.Unsure, f.Client, f.Addr, f.Port, f.Name, f.Rule)
}

// merge joins two facts of one key, and tells whether that says something else than before, but for the times.
func (f *Fact) merge(o *Fact) (other bool) {
	before := *f
	texts := [...]struct{ mine, theirs *string }{
		{&f.Protocol, &o.Protocol}, {&f.Method, &o.Method}, {&f.Agent, &o.Agent}, {&f.Login, &o.Login}, {&f.Text, &o.Text},
	}
	for _, t := range texts {
		// Of equal times the greater text holds, so that order does not matter.
		newer := o.Last > f.Last || o.Last == f.Last && *t.theirs > *t.mine
		if *t.mine == "" || newer && *t.theirs != "" {
			*t.mine = *t.theirs
		}
	}
	f.First, f.Last = min(f.First, o.First), max(f.Last, o.Last)
	before.First, before.Last = f.First, f.Last
	return before != *f
}

// Weight orders facts by how much they say: 0 for what anybody can have a sensor see with a packet of his own, 1 for names,
// 2 for what a server said.
func (f *Fact) Weight() int {
	switch {
	case f.Kind == minecanary.SightedMining && f.ByServer && !f.Unsure:
		return 2
	case f.Kind == minecanary.SightedTLS || f.Kind == minecanary.SightedDNS:
		return 1
	}
	return 0
}

// Lighter orders facts: who says less, and of those who was seen longer ago, comes first.
func Lighter(a, b *Fact) int {
	return cmp.Or(cmp.Compare(a.Weight(), b.Weight()), cmp.Compare(a.Last, b.Last))
}

// heldFact is a fact in the table.
type heldFact struct {
	Fact
	// told is its Last when it was news.
	told int64
}

// factTable holds the facts. Its methods may be called by several goroutines at once.
type factTable struct {
	mu      sync.Mutex
	pairs   map[factKey][]heldFact
	clients map[netip.Addr]int
	count   int
	dropped uint64
}

func newFactTable() *factTable {
	return &factTable{pairs: map[factKey][]heldFact{}, clients: map[netip.Addr]int{}}
}

// learn joins a fact, which becomes what is known then, and tells whether it is news: new, with other texts, or seen again
// after a while. kept tells that it comes from where news are kept.
func (t *factTable) learn(f *Fact, kept bool) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := factKey{f.Client, f.Addr, f.Port}
	list := t.pairs[key]
	for i := range list {
		held := &list[i]
		if !held.same(f) {
			continue
		}
		other := held.merge(f)
		*f = held.Fact
		if kept {
			held.told = max(held.told, f.Last)
			return false
		}
		if !other && held.Last-held.told < tellFactEvery.Microseconds() {
			return false
		}
		held.told = held.Last
		return true
	}
	if t.count >= MaxFacts {
		t.forget()
		list = t.pairs[key]
	}
	most := maxFactsOfClient
	if !f.Client.IsValid() {
		most = MaxFacts / 4 // all that resolvers were told
	}
	if t.clients[f.Client] >= most {
		t.dropped++
		return false
	}
	if len(list) >= maxFactsOfPair {
		least := slices.IndexFunc(list, func(h heldFact) bool {
			return !slices.ContainsFunc(list, func(o heldFact) bool { return Lighter(&o.Fact, &h.Fact) < 0 })
		})
		t.dropped++
		if Lighter(f, &list[least].Fact) <= 0 {
			return false
		}
		list[least] = heldFact{*f, f.Last}
		return true
	}
	t.pairs[key] = append(list, heldFact{*f, f.Last})
	t.clients[f.Client]++
	t.count++
	return true
}

// forget drops the lightest quarter.
func (t *factTable) forget() {
	all := t.list()
	slices.SortFunc(all, func(a, b Fact) int { return Lighter(&a, &b) })
	for _, f := range all[:len(all)/4] {
		key := factKey{f.Client, f.Addr, f.Port}
		list := slices.DeleteFunc(t.pairs[key], func(h heldFact) bool { return h.same(&f) })
		if t.pairs[key] = list; len(list) == 0 {
			delete(t.pairs, key)
		}
		if t.clients[f.Client]--; t.clients[f.Client] == 0 {
			delete(t.clients, f.Client)
		}
		t.count--
		t.dropped++
	}
}

// list gives all facts; the lock is held.
func (t *factTable) list() (all []Fact) {
	all = make([]Fact, 0, t.count)
	for _, list := range t.pairs {
		for i := range list {
			all = append(all, list[i].Fact)
		}
	}
	return all
}

// all gives all facts.
func (t *factTable) all() []Fact {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list()
}

// of gives what is known of a client and a server; names of the address are among it.
func (t *factTable) of(p minecanary.Pair) (facts []Fact) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == 0 {
		return nil
	}
	for _, key := range [...]factKey{
		{p.Client, p.Server.Addr, p.Server.Port}, {p.Client, p.Server.Addr, 0}, {netip.Addr{}, p.Server.Addr, 0},
	} {
		for i := range t.pairs[key] {
			facts = append(facts, t.pairs[key][i].Fact)
		}
	}
	return facts
}

// said gives what a client logged in with at a server last, and the pool's name by which it went there; "" if that was
// not seen.
func (t *factTable) said(p minecanary.Pair) (login, name string) {
	lastLogin, lastName := int64(-1), int64(-1)
	for _, f := range t.of(p) {
		if f.Login != "" && f.Last > lastLogin {
			login, lastLogin = f.Login, f.Last
		}
		if f.Name != "" && f.Last > lastName {
			name, lastName = f.Name, f.Last
		}
	}
	return login, name
}

// len gives how many facts there are, and how many were dropped for the bounds.
func (t *factTable) len() (held int, dropped uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count, t.dropped
}

// fact gives what is worth remembering of a sighting: mining, alerts, and names of known pools.
func (e *Engine) fact(s *minecanary.Sighting) (f Fact, ok bool) {
	f = Fact{
		Kind: s.Kind, Client: s.Client, Addr: s.Server.Addr, Port: s.Server.Port, ByServer: s.ByServer, Unsure: s.Unsure,
		Protocol: s.Protocol, Method: s.Method, Agent: s.Agent, Login: s.Login, Rule: s.Rule, Text: s.Text,
		First: s.Time, Last: s.Time,
	}
	switch s.Kind {
	case minecanary.SightedMining, minecanary.SightedRule:
		return f, true
	case minecanary.SightedTLS, minecanary.SightedDNS:
		if e.poolName == nil {
			return f, false
		}
		f.Name = s.Name
		_, ok := e.poolName(s.Name, s.Server.Port, time.UnixMicro(s.Time))
		if s.Kind == minecanary.SightedDNS && e.resolver != nil && e.resolver(s.Client) {
			f.Client = netip.Addr{} // it asked for others
		}
		return f, ok
	}
	return f, false
}

// sight takes in what sensors saw beside traffic. Whoever mines by what its payload says is a suspect from then on, even
// if there never is a record of the connection.
func (e *Engine) sight(ctx context.Context, b *Batch) error {
	if len(b.Sightings) == 0 {
		return nil
	}
	var news []Fact
	now := e.cfg.Now()
	ahead := now.Add(maxAhead).UnixMicro()
	for i := range b.Sightings {
		s := &b.Sightings[i]
		if s.Time > ahead {
			continue // a clock that is wrong
		}
		// What is decided of a time waits for what was sighted then.
		b.Newest = max(b.Newest, s.Time)
		if e.lists != nil {
			if _, ok := e.lists.Allowed(s.Server, now); ok {
				e.allowed.Add(1)
				continue
			}
		}
		if s.Kind == minecanary.SightedTLS || s.Kind == minecanary.SightedDNS {
			e.names.learn(s.Server, s.Name, s.Time)
		}
		f, ok := e.fact(s)
		if !ok {
			continue
		}
		if e.facts.learn(&f, false) {
			news = append(news, f)
		}
		if s.Kind == minecanary.SightedMining {
			b.Slices = append(b.Slices, minecanary.Slices{
				Pair: minecanary.Pair{Client: s.Client, Server: s.Server}, ClientPort: s.ClientPort, Start: s.Time, End: s.Time,
				Services: minecanary.ServiceStratum, UID: s.UID, Sensor: s.Sensor,
			})
			if b.Records != nil {
				b.Records = append(b.Records, nil)
			}
		}
	}
	if e.keeper == nil || len(news) == 0 {
		return nil
	}
	if err := e.keeper.Put(ctx, news); err != nil {
		return fmt.Errorf("keep what was sighted: %w", err)
	}
	return nil
}

// pullFacts takes what other processes, or this one before its restart, have learnt.
func (e *Engine) pullFacts(ctx context.Context) error {
	if e.keeper == nil {
		return nil
	}
	facts, now, err := e.keeper.Since(ctx, e.factsVersion)
	if err != nil {
		return fmt.Errorf("look for what was sighted: %w", err)
	}
	lost := now < e.factsVersion
	e.factsVersion = now
	for i := range facts {
		e.facts.learn(&facts[i], true)
	}
	if !lost {
		return nil
	}
	// The keeper has lost what it had (a failover): what is known here is put again.
	if err := e.keeper.Put(ctx, e.facts.all()); err != nil {
		return fmt.Errorf("keep what was sighted: %w", err)
	}
	return nil
}

// sighted is what facts say of a suspect.
type sighted struct {
	evidence []minecanary.Evidence
	// known tells that it is enough to report the client. payload tells that the server said it itself: no other verdict
	// takes that away.
	known, payload bool
	// ask tells that the server is worth a question whatever the score, and why; but none is asked without a record of a
	// session that went both ways.
	ask string
}

// sightedOf judges the facts of a suspect.
func (e *Engine) sightedOf(s *Suspect) (out sighted) {
	facts := e.facts.of(s.Pair)
	if len(facts) == 0 {
		return out
	}
	first, last := int64(0), latest(s)
	for i := range s.Segments {
		if at := s.Segments[i].Aggregate.First; i == 0 || at < first {
			first = at
		}
	}
	add := func(f *Fact, kind string, strength minecanary.Strength, summary string) {
		if len(summary) > maxFactText {
			summary = strings.ToValidUTF8(summary[:maxFactText], "")
		}
		out.evidence = append(out.evidence, minecanary.Evidence{Kind: kind, Strength: strength, At: time.UnixMicro(f.Last).UTC(), Summary: summary})
	}
	for i := range facts {
		f := &facts[i]
		life := factLife
		if f.Kind == minecanary.SightedDNS {
			life = nameLife
		}
		if last < f.First-nameSlack.Microseconds() || first > f.Last+life.Microseconds() {
			continue // another time
		}
		switch f.Kind {
		case minecanary.SightedMining:
			out.ask = "mining protocol in clear text"
			if f.ByServer && (!f.Unsure || twoWay(s)) {
				out.known, out.payload = true, true
				add(f, "payload", minecanary.Strong, "the server speaks a mining protocol: "+f.said())
			} else if f.ByServer {
				add(f, "payload", minecanary.Weak, "somebody, perhaps the server, speaks a mining protocol: "+f.said())
			} else {
				add(f, "payload", minecanary.Weak, "the client speaks a mining protocol: "+f.said())
			}
		case minecanary.SightedRule:
			if out.ask == "" {
				out.ask = "alert of a rule for coin mining"
			}
			add(f, "rule", minecanary.Weak, fmt.Sprintf("alert %d: %s", f.Rule, f.Text))
		case minecanary.SightedTLS, minecanary.SightedDNS:
			if e.poolName == nil {
				continue
			}
			why, ok := e.poolName(f.Name, s.Server.Port, time.UnixMicro(f.Last))
			if !ok {
				continue
			}
			how := "asked for " + f.Name + " and went to its address"
			if f.Kind == minecanary.SightedTLS {
				how = "asked the server for " + f.Name + " in TLS"
			}
			if spoke(s) {
				out.known = true
			}
			if out.ask == "" {
				out.ask = "name of a known pool"
			}
			add(f, "name", minecanary.Strong, how+": "+why)
		}
	}
	return out
}

// said is one line of what a mining connection said.
func (f *Fact) said() string {
	var b strings.Builder
	b.WriteString(f.Protocol)
	for _, part := range [...]struct{ name, text string }{{"method", f.Method}, {"agent", f.Agent}, {"login", f.Login}} {
		if part.text != "" {
			fmt.Fprintf(&b, ", %s %s", part.name, part.text)
		}
	}
	return b.String()
}
