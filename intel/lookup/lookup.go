// Package lookup answers whether a name, an address or a port is a known pool's, now or at a time in the past. It joins
// the catalogue (what is publicly said of pools) with the history (which addresses their names had, what their
// endpoints answered), both held in memory.
package lookup

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
)

// Span is a stretch of time in which something held, as far as observations tell.
type Span struct {
	// From is the first observation, LastSeen the last that agreed.
	From     time.Time `json:"from"`
	LastSeen time.Time `json:"last_seen"`
	// Until is the end: an observation that differs, or LastSeen and as long as an observation holds.
	Until time.Time `json:"until"`
	// Learnt is when we came to know it.
	Learnt time.Time `json:"learnt"`
}

// Holds tells whether the time lies in the span.
func (s Span) Holds(at time.Time) bool { return !at.Before(s.From) && at.Before(s.Until) }

// overlaps tells whether any time from begin to end lies in the span.
func (s Span) overlaps(begin, end time.Time) bool {
	return !end.Before(s.From) && begin.Before(s.Until)
}

// Address says that a name had an address.
type Address struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"address"`
	// Mark says what the address is beside the pool's: cdn, shared, reserved, resolver; "" if it is nothing else.
	Mark string `json:"mark,omitempty"`
	Span
}

// Answer says what an endpoint answered when it was asked.
type Answer struct {
	Endpoint minecanary.Endpoint      `json:"-"`
	Status   minecanary.VerdictStatus `json:"status"`
	Dialect  string                   `json:"dialect,omitempty"`
	Coin     string                   `json:"coin,omitempty"`
	TLS      bool                     `json:"tls"`
	Reason   string                   `json:"reason,omitempty"`
	Span
}

// Index answers questions. It is safe for concurrent use.
type Index struct {
	mu      sync.RWMutex
	catalog *catalog.Catalog
	// names has what each name had, addresses the same by address, in order of From.
	names     map[string][]*Address
	addresses map[netip.Addr][]*Address
	answers   map[minecanary.Endpoint][]*Answer
	// ports has the ports of an address that have answers.
	ports map[netip.Addr][]uint16
	// sorted has the keys of addresses and ports in order, for networks; nil if it has to be made.
	sorted []netip.Addr
}

// New makes an index over a catalogue, without history.
func New(c *catalog.Catalog) *Index {
	return &Index{
		catalog: c, names: map[string][]*Address{}, addresses: map[netip.Addr][]*Address{},
		answers: map[minecanary.Endpoint][]*Answer{}, ports: map[netip.Addr][]uint16{},
	}
}

// Catalog gives the catalogue that answers.
func (x *Index) Catalog() *catalog.Catalog {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.catalog
}

// SetCatalog replaces the catalogue.
func (x *Index) SetCatalog(c *catalog.Catalog) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.catalog, x.sorted = c, nil
}

// SetAddresses replaces what is known of a name. The index keeps the slice's elements.
func (x *Index) SetAddresses(name string, spans []Address) {
	x.mu.Lock()
	defer x.mu.Unlock()
	gone, where := map[*Address]bool{}, map[netip.Addr]bool{}
	for _, old := range x.names[name] {
		gone[old], where[old.Addr] = true, true
	}
	for addr := range where {
		rest := slices.DeleteFunc(x.addresses[addr], func(a *Address) bool { return gone[a] })
		if x.addresses[addr] = rest; len(rest) == 0 {
			delete(x.addresses, addr)
			x.sorted = nil
		}
	}
	delete(x.names, name)
	for i := range spans {
		a := &spans[i]
		x.names[name] = append(x.names[name], a)
		if x.addresses[a.Addr] == nil {
			x.sorted = nil
		}
		x.addresses[a.Addr] = append(x.addresses[a.Addr], a)
	}
}

// SetAnswers replaces what is known of an endpoint. Of spans that hold at the same time the later in the slice counts, so
// those of failed probes, which prove nothing, stand first. The index keeps the slice's elements.
func (x *Index) SetAnswers(ep minecanary.Endpoint, spans []Answer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(spans) == 0 {
		x.forget(ep)
		return
	}
	answers := make([]*Answer, len(spans))
	for i := range spans {
		spans[i].Endpoint = ep
		answers[i] = &spans[i]
	}
	if x.answers[ep] == nil {
		if x.ports[ep.Addr] == nil {
			x.sorted = nil
		}
		x.ports[ep.Addr] = append(x.ports[ep.Addr], ep.Port)
		slices.Sort(x.ports[ep.Addr])
	}
	x.answers[ep] = answers
}

// forget removes all that is known of an endpoint, with the lock held.
func (x *Index) forget(ep minecanary.Endpoint) {
	delete(x.answers, ep)
	rest := slices.DeleteFunc(x.ports[ep.Addr], func(p uint16) bool { return p == ep.Port })
	if x.ports[ep.Addr] = rest; len(rest) == 0 {
		delete(x.ports, ep.Addr)
		x.sorted = nil
	}
}

// Prune forgets what had ended at a time, as history.DB.Prune does. Answers for that time and later stay the same, but for
// when an endpoint last proved itself if that was before.
func (x *Index) Prune(before time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	over := func(s Span) bool { return !s.Until.After(before) }
	prune := func(rows []*Address) []*Address {
		return slices.DeleteFunc(rows, func(a *Address) bool { return over(a.Span) })
	}
	for name, rows := range x.names {
		if x.names[name] = prune(rows); len(x.names[name]) == 0 {
			delete(x.names, name)
		}
	}
	for addr, rows := range x.addresses {
		if x.addresses[addr] = prune(rows); len(x.addresses[addr]) == 0 {
			delete(x.addresses, addr)
			x.sorted = nil
		}
	}
	for ep, rows := range x.answers {
		rest := slices.DeleteFunc(rows, func(a *Answer) bool { return over(a.Span) })
		if x.answers[ep] = rest; len(rest) == 0 {
			x.forget(ep)
		}
	}
}

// LayerHistory is the layer of matches that stand in no layer of the catalogue: they are known because they answered.
const LayerHistory = "history"

// Match is one endpoint that answers a question.
type Match struct {
	// Pool is the ID, "" if only the history knows the endpoint. PoolName and so on are the catalogue's.
	Pool      string       `json:"pool,omitempty"`
	PoolName  string       `json:"pool_name,omitempty"`
	Kind      catalog.Kind `json:"kind,omitempty"`
	Server    string       `json:"server,omitempty"`
	Region    string       `json:"region,omitempty"`
	Address   netip.Addr   `json:"address,omitzero"`
	Port      uint16       `json:"port,omitempty"`
	TLS       bool         `json:"tls"`
	Coin      string       `json:"coin,omitempty"`
	CoinName  string       `json:"coin_name,omitempty"`
	Dialect   string       `json:"dialect,omitempty"`
	Algorithm string       `json:"algorithm,omitempty"`
	// Mark says what the address is beside the pool's.
	Mark string `json:"mark,omitempty"`
	// AddressFrom and AddressLastSeen are when the name had the address.
	AddressFrom     time.Time `json:"address_from,omitzero"`
	AddressLastSeen time.Time `json:"address_last_seen,omitzero"`
	// Status is what the endpoint answered, "" if it was not asked; FirstSeen and LastSeen are the first and the last
	// answer of that kind, LastProof is when it last proved to be a pool.
	Status    minecanary.VerdictStatus `json:"status,omitempty"`
	Reason    string                   `json:"reason,omitempty"`
	FirstSeen time.Time                `json:"first_seen,omitzero"`
	LastSeen  time.Time                `json:"last_seen,omitzero"`
	LastProof time.Time                `json:"last_proof,omitzero"`
	catalog.Provenance
	// Layer is where the row stands; LayerHistory for what only the history knows.
	Layer string `json:"layer,omitempty"`
}

// Result is the answer to a question.
type Result struct {
	Query string    `json:"query"`
	Kind  QueryKind `json:"kind"`
	At    time.Time `json:"at,omitzero"`
	// Known tells whether anything matches.
	Known bool `json:"known"`
	// Matches are in order of pool, server, address and port. More tells that there are others beyond the limit.
	Matches []Match `json:"matches"`
	More    bool    `json:"more,omitempty"`
}

// finding gathers matches up to a limit.
type finding struct {
	x       *Index
	at      time.Time
	limit   int
	matches []Match
	more    bool
}

// Find answers a question with at most limit matches (1 or more).
func (x *Index) Find(q Query, limit int) Result {
	x.mu.RLock()
	network := q.Kind == ByPrefix && !q.Prefix.IsSingleIP()
	for network && x.sorted == nil { // it may be gone again before we have the lock
		x.mu.RUnlock()
		x.index()
		x.mu.RLock()
	}
	defer x.mu.RUnlock()
	f := finding{x: x, at: q.At, limit: max(limit, 1)}
	switch q.Kind {
	case ByName:
		f.name(q.Name, q.Port)
	case BySuffix:
		for _, name := range x.catalog.Below(q.Name) {
			f.name(name, q.Port)
		}
	case ByAddress, ByPrefix:
		if !network {
			f.address(q.Prefix.Addr(), q.Port)
			break
		}
		from, _ := slices.BinarySearchFunc(x.sorted, q.Prefix.Addr(), netip.Addr.Compare)
		for _, a := range x.sorted[from:] {
			if !q.Prefix.Contains(a) || f.more {
				break
			}
			f.address(a, q.Port)
		}
	case ByPort:
		f.rows(x.catalog.Port(q.Port))
	case ByWords:
		pools, coins := x.catalog.Words(q.Words)
		for _, p := range pools {
			for i := range p.Servers {
				for j := range p.Servers[i].Endpoints {
					f.row(catalog.Row{Pool: p, Server: &p.Servers[i], Endpoint: &p.Servers[i].Endpoints[j]})
				}
			}
		}
		for _, c := range coins {
			for _, r := range x.catalog.Mined(c.Symbol) {
				if !slices.Contains(pools, r.Pool) {
					f.row(r)
				}
			}
		}
	}
	slices.SortStableFunc(f.matches, func(a, b Match) int {
		return cmp.Or(
			cmp.Compare(a.PoolName, b.PoolName), cmp.Compare(a.Server, b.Server), a.Address.Compare(b.Address),
			cmp.Compare(a.Port, b.Port), cmp.Compare(a.Coin, b.Coin),
		)
	})
	if f.matches == nil {
		f.matches = []Match{}
	}
	return Result{Query: q.Text, Kind: q.Kind, At: q.At, Known: len(f.matches) > 0, Matches: f.matches, More: f.more}
}

// index sorts the addresses if that is needed.
func (x *Index) index() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.sorted != nil {
		return
	}
	x.sorted = make([]netip.Addr, 0, len(x.addresses)+len(x.ports))
	for a := range x.addresses {
		x.sorted = append(x.sorted, a)
	}
	for a := range x.ports {
		x.sorted = append(x.sorted, a)
	}
	for _, host := range x.catalog.Hosts() {
		if a, err := netip.ParseAddr(host); err == nil {
			x.sorted = append(x.sorted, a)
		}
	}
	slices.SortFunc(x.sorted, netip.Addr.Compare)
	x.sorted = slices.Compact(x.sorted)
}

func (f *finding) full() bool {
	f.more = f.more || len(f.matches) >= f.limit
	return f.more
}

// row adds a row of the catalogue, once for each address that its server has at the time; without one the row stands alone
// unless a time is asked about.
func (f *finding) row(r catalog.Row) {
	if r.Server.Address.IsValid() {
		f.match(r, r.Server.Address, nil)
		return
	}
	found := false
	for _, a := range f.x.names[r.Server.Name] {
		if f.holds(a.Span) {
			found = true
			f.match(r, a.Addr, a)
		}
	}
	if !found {
		f.match(r, netip.Addr{}, nil)
	}
}

func (f *finding) rows(rows []catalog.Row) {
	for _, r := range rows {
		f.row(r)
	}
}

// holds tells whether a span counts: at the time that is asked about, else ever.
func (f *finding) holds(s Span) bool { return f.at.IsZero() || s.Holds(f.at) }

func (f *finding) name(name string, port uint16) {
	for _, r := range f.x.catalog.Host(name) {
		if port == 0 || r.Endpoint.Port == port {
			f.row(r)
		}
	}
}

// address adds the rows of the names that had the address, and the endpoints of it that answered as pools do without
// standing in the catalogue.
func (f *finding) address(addr netip.Addr, port uint16) {
	listed := map[uint16]bool{}
	for _, r := range f.x.catalog.Host(addr.String()) {
		if port == 0 || r.Endpoint.Port == port {
			listed[r.Endpoint.Port] = true
			f.match(r, addr, nil)
		}
	}
	for _, a := range f.x.addresses[addr] {
		if !f.holds(a.Span) {
			continue
		}
		for _, r := range f.x.catalog.Host(a.Name) {
			if port == 0 || r.Endpoint.Port == port {
				listed[r.Endpoint.Port] = true
				f.match(r, addr, a)
			}
		}
	}
	for _, p := range f.x.ports[addr] {
		if listed[p] || port != 0 && p != port {
			continue
		}
		m := Match{Address: addr, Port: p, Layer: LayerHistory}
		f.answer(&m)
		if m.Status == minecanary.Confirmed || m.Status == minecanary.Node || f.at.IsZero() && !m.LastProof.IsZero() {
			if f.full() {
				return
			}
			f.matches = append(f.matches, m)
		}
	}
}

func (f *finding) match(r catalog.Row, addr netip.Addr, a *Address) {
	if f.full() {
		return
	}
	m := Match{
		Pool: r.Pool.ID, PoolName: r.Pool.Name, Kind: r.Pool.Kind, Server: r.Server.Name, Region: r.Server.Region, Address: addr,
		Port: r.Endpoint.Port, TLS: r.Endpoint.TLS, Coin: r.Endpoint.Coin, Dialect: r.Endpoint.Dialect, Algorithm: r.Endpoint.Algorithm,
		Provenance: r.Endpoint.Provenance, Layer: r.Pool.Layer,
	}
	if coin := f.x.catalog.Coin(m.Coin); coin != nil {
		m.CoinName = coin.Name
	}
	if a != nil {
		m.Mark, m.AddressFrom, m.AddressLastSeen = a.Mark, a.From, a.LastSeen
	}
	f.answer(&m)
	f.matches = append(f.matches, m)
}

// answer fills in what the endpoint answered at the time, or last.
func (f *finding) answer(m *Match) {
	if !m.Address.IsValid() {
		return
	}
	for _, a := range f.x.answers[minecanary.NewEndpoint(m.Address, m.Port, minecanary.TCP)] {
		if !f.at.IsZero() && a.From.After(f.at) {
			continue
		}
		if a.Status == minecanary.Confirmed {
			last := a.LastSeen
			if !f.at.IsZero() && last.After(f.at) {
				last = f.at
			}
			m.LastProof = last
		}
		if !f.holds(a.Span) {
			continue
		}
		// If no time is asked about, the last that held counts: not a verdict that had ended when the endpoint was still
		// asked in vain.
		if f.at.IsZero() && m.Status != "" && !a.Until.After(m.LastSeen) {
			continue
		}
		m.Status, m.Reason, m.FirstSeen, m.LastSeen = a.Status, a.Reason, a.From, a.LastSeen
		m.Dialect, m.Coin, m.TLS = cmp.Or(m.Dialect, a.Dialect), cmp.Or(m.Coin, a.Coin), m.TLS || m.Pool == "" && a.TLS
	}
}

// Unlisted gives the endpoints that only the history knows: they answered as pools do without standing in the catalogue.
// With a port it is those of that port, with 0 all. They are in order of address and port.
func (x *Index) Unlisted(port uint16) []Match {
	x.mu.RLock()
	defer x.mu.RUnlock()
	f := finding{x: x, limit: math.MaxInt}
	for addr := range x.ports {
		f.address(addr, port)
	}
	out := slices.DeleteFunc(f.matches, func(m Match) bool { return m.Layer != LayerHistory })
	slices.SortFunc(out, func(a, b Match) int { return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port)) })
	return out
}

// Level says how well a flow's server is known as a pool's.
type Level uint8

// The levels.
const (
	// NotKnown: the catalogue and the history do not know the address as a pool's at that time.
	NotKnown Level = iota
	// SharedAddress: a pool's name led to the address, but so do many others' (Address.Mark): nothing follows from it.
	SharedAddress
	// KnownAddress: the address was a pool's, the port is none that the pool is known for.
	KnownAddress
	// KnownPool: address and port were a pool's.
	KnownPool
)

// String gives none, shared-address, pool-address or known-pool.
func (l Level) String() string {
	switch l {
	case KnownPool:
		return "known-pool"
	case KnownAddress:
		return "pool-address"
	case SharedAddress:
		return "shared-address"
	}
	return "none"
}

// Mark tells how well an endpoint is known as a pool's at a time (the zero time: ever), and the row it is known by, nil if
// only the history knows it. It allocates nothing.
func (x *Index) Mark(ep minecanary.Endpoint, at time.Time) (Level, catalog.Row) {
	return x.MarkBetween(ep, at, at)
}

// MarkBetween is Mark for a stretch of time: how well the endpoint was known at its best, from the begin to the end, both
// included. If the begin is the zero time it is ever. It is what a flow costs, so it allocates nothing.
func (x *Index) MarkBetween(ep minecanary.Endpoint, begin, end time.Time) (Level, catalog.Row) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	level, row := NotKnown, catalog.Row{}
	consider := func(rows []catalog.Row, shared bool) bool {
		for _, r := range rows {
			switch {
			case shared:
				if level == NotKnown {
					level, row = SharedAddress, r
				}
			case r.Endpoint.Port == ep.Port:
				level, row = KnownPool, r
				return true
			case level < KnownAddress:
				level, row = KnownAddress, r
			}
		}
		return false
	}
	for _, a := range x.addresses[ep.Addr] {
		if (begin.IsZero() || a.overlaps(begin, end)) && consider(x.catalog.Host(a.Name), a.Mark != "") {
			return level, row
		}
	}
	if consider(x.catalog.Address(ep.Addr), false) {
		return level, row
	}
	for _, a := range x.answers[ep] {
		if a.Status == minecanary.Confirmed && (begin.IsZero() || a.overlaps(begin, end)) {
			if level == SharedAddress {
				row = catalog.Row{} // it need not be that pool which proved itself there
			}
			return KnownPool, row
		}
	}
	return level, row
}

// Addresses is how many addresses names are known to have or to have had.
func (x *Index) Addresses() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.addresses)
}

// AddressesOf gives the addresses that a name has at a time.
func (x *Index) AddressesOf(name string, at time.Time) []Address {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var out []Address
	for _, a := range x.names[name] {
		if a.Holds(at) {
			out = append(out, *a)
		}
	}
	return out
}

// AnswerAt gives what an endpoint answered at a time; "" if nothing that is known of held then.
func (x *Index) AnswerAt(ep minecanary.Endpoint, at time.Time) minecanary.VerdictStatus {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var status minecanary.VerdictStatus
	for _, a := range x.answers[ep] {
		if a.Holds(at) {
			status = a.Status
		}
	}
	return status
}

// LastAnswer gives when an endpoint was last asked with any outcome; the zero time if it never was.
func (x *Index) LastAnswer(ep minecanary.Endpoint) time.Time {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var last time.Time
	for _, a := range x.answers[ep] {
		if a.LastSeen.After(last) {
			last = a.LastSeen
		}
	}
	return last
}
