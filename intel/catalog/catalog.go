// Package catalog is what is publicly known of mining pools: which pools there are, on which servers, ports and coins,
// and where that was read. It says nothing of what a server answered or which address a name had; package history does.
//
// The shipped catalogue is embedded; users add files of the same form (docs/catalog.md), and later layers replace pools
// of earlier ones. A Catalog never changes after it was made, so several goroutines may use it at once.
package catalog

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Kind says what sort of pool it is.
type Kind string

// The kinds.
const (
	Public  Kind = "public"  // shares rewards among all who come
	Solo    Kind = "solo"    // who finds the block keeps it
	Proxy   Kind = "proxy"   // hands the work of other pools on, or sells it
	Browser Kind = "browser" // serves miners in web pages
)

// Kinds gives all kinds.
func Kinds() []Kind { return []Kind{Public, Solo, Proxy, Browser} }

// Confidence grades a source.
type Confidence string

// The grades.
const (
	High   Confidence = "high"   // the pool's own page, documentation or repository
	Medium Confidence = "medium" // a maintained list, or the preset of a mining program
	Low    Confidence = "low"    // all else
)

// Confidences gives all grades, the best first.
func Confidences() []Confidence { return []Confidence{High, Medium, Low} }

// Provenance is where a row was read. Rows without one of their own have that of the row above them.
type Provenance struct {
	// Source is a web address, or what an import was told to name; at most MaxText bytes.
	Source string `json:"source,omitempty"`
	// AsOf is the day (UTC) of which the source spoke, in the form 2026-04-21.
	AsOf string `json:"as_of,omitempty"`
	// Confidence grades the source.
	Confidence Confidence `json:"confidence,omitempty"`
}

// over fills what p leaves open with what stands above it.
func (p Provenance) over(above Provenance) Provenance {
	if p.Source == "" {
		p.Source = above.Source
	}
	if p.AsOf == "" {
		p.AsOf = above.AsOf
	}
	if p.Confidence == "" {
		p.Confidence = above.Confidence
	}
	return p
}

// Pool is a mining pool.
type Pool struct {
	// ID is lower-case letters, digits and hyphens, at most 63: the name of the shipped file.
	ID string `json:"id"`
	// Name is what people call it.
	Name string `json:"name"`
	// URL is its web page, "" if unknown. It is told, never fetched.
	URL string `json:"url,omitempty"`
	// Operator runs it, "" if unknown.
	Operator string `json:"operator,omitempty"`
	Kind     Kind   `json:"kind"`
	Note     string `json:"note,omitempty"`
	Provenance
	// Layer is where the pool was loaded from: "shipped", the name of a file, "edited".
	Layer   string   `json:"layer,omitempty"`
	Servers []Server `json:"servers"`
}

// Server is a machine of a pool, by name or by address.
type Server struct {
	// Name is the FQDN in lower case without a trailing dot; "" if Address is set.
	Name string `json:"name,omitempty"`
	// Address is a literal address; the zero value if Name is set.
	Address netip.Addr `json:"address,omitzero"`
	// Region as the pool names it, "" if unknown.
	Region string `json:"region,omitempty"`
	Provenance
	Endpoints []Endpoint `json:"endpoints"`
}

// Host gives the name, or the address as text.
func (s *Server) Host() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Address.String()
}

// Endpoint is a port of a server and what is mined there.
type Endpoint struct {
	// Port is 1 to 65535.
	Port uint16 `json:"port"`
	TLS  bool   `json:"tls"`
	// Coin is the symbol of a coin of the catalogue, "" if unknown.
	Coin string `json:"coin,omitempty"`
	// Dialect is one of Dialects, Algorithm the proof of work; they are the coin's if the row has none.
	Dialect   string `json:"dialect,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	Note      string `json:"note,omitempty"`
	Provenance
}

// Coin is a cryptocurrency, or what a pool that pays in another coin lets mine.
type Coin struct {
	// Symbol is upper-case letters and digits, at most 12.
	Symbol string `json:"symbol"`
	Name   string `json:"name"`
	// Algorithm is the proof of work, Dialect what its pools mostly speak.
	Algorithm string `json:"algorithm"`
	Dialect   string `json:"dialect"`
	URL       string `json:"url,omitempty"`
	// Explorer has templates of web addresses by what they show: transaction, address, block, pools. They are shown to
	// people with the brackets around dots and are never fetched.
	Explorer map[string]string `json:"explorer,omitempty"`
	Provenance
}

// Dialects gives the words for mining protocols, those of package prober/dialect.
func Dialects() []string {
	return []string{
		"stratum-v1", "cryptonote", "ethproxy", "zcash", "ethereum-stratum", "ethereum-stratum-2", "kaspa", "alephium", "kawpow",
		"stratum-v2", "grin", "beam", "getblocktemplate", "getwork", "ethereum-getwork", "websocket",
	}
}

// Row is one endpoint with all that stands above it. A server of which no endpoint is known has one row with Port 0. The
// pointers belong to the catalogue and must not be written to.
type Row struct {
	Pool     *Pool
	Server   *Server
	Endpoint *Endpoint
}

// Layer is what one origin holds.
type Layer struct {
	Pools []Pool
	Coins []Coin
	// Removed has the IDs of pools of earlier layers that are no more.
	Removed []string
}

// Catalog is the sum of layers.
type Catalog struct {
	pools []*Pool // by ID
	coins []*Coin // by symbol
	byID  map[string]*Pool
	coin  map[string]*Coin

	hosts    map[string][]Row // by name, or address as text
	literal  map[netip.Addr][]Row
	ports    map[uint16][]Row
	symbols  map[string][]Row // by coin
	reversed []reversedName
	rows     int
}

// reversedName is a name with its labels in reverse order, so that names under one stand together.
type reversedName struct{ key, name string }

// New makes a catalogue of copies; a pool or coin of a later layer replaces that of the same ID or symbol.
func New(layers ...Layer) *Catalog {
	c := &Catalog{
		byID: map[string]*Pool{}, coin: map[string]*Coin{},
		hosts: map[string][]Row{}, literal: map[netip.Addr][]Row{}, ports: map[uint16][]Row{}, symbols: map[string][]Row{},
	}
	for i := range layers {
		for _, id := range layers[i].Removed {
			delete(c.byID, id)
		}
		for j := range layers[i].Pools {
			c.byID[layers[i].Pools[j].ID] = layers[i].Pools[j].clone()
		}
		for j := range layers[i].Coins {
			coin := layers[i].Coins[j]
			coin.Explorer = maps.Clone(coin.Explorer)
			c.coin[coin.Symbol] = &coin
		}
	}
	c.pools = slices.SortedFunc(maps.Values(c.byID), func(a, b *Pool) int { return cmp.Compare(a.ID, b.ID) })
	c.coins = slices.SortedFunc(maps.Values(c.coin), func(a, b *Coin) int { return cmp.Compare(a.Symbol, b.Symbol) })
	for _, p := range c.pools {
		for i := range p.Servers {
			c.index(p, &p.Servers[i])
		}
	}
	for name := range c.hosts {
		if _, err := netip.ParseAddr(name); err != nil {
			c.reversed = append(c.reversed, reversedName{reverse(name), name})
		}
	}
	slices.SortFunc(c.reversed, func(a, b reversedName) int { return cmp.Compare(a.key, b.key) })
	return c
}

// clone copies a pool with its servers and endpoints.
func (p Pool) clone() *Pool {
	p.Servers = slices.Clone(p.Servers)
	for i := range p.Servers {
		p.Servers[i].Endpoints = slices.Clone(p.Servers[i].Endpoints)
	}
	return &p
}

func (c *Catalog) index(p *Pool, s *Server) {
	s.Provenance = s.over(p.Provenance)
	if len(s.Endpoints) == 0 {
		c.host(Row{p, s, &Endpoint{Provenance: s.Provenance}})
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.Provenance = e.over(s.Provenance)
		if coin := c.coin[e.Coin]; coin != nil {
			e.Dialect, e.Algorithm = cmp.Or(e.Dialect, coin.Dialect), cmp.Or(e.Algorithm, coin.Algorithm)
		}
		r := Row{p, s, e}
		c.host(r)
		c.ports[e.Port] = append(c.ports[e.Port], r)
		c.symbols[e.Coin] = append(c.symbols[e.Coin], r)
		c.rows++
	}
}

func (c *Catalog) host(r Row) {
	s := r.Server
	c.hosts[s.Host()] = append(c.hosts[s.Host()], r)
	if s.Address.IsValid() {
		c.literal[s.Address] = append(c.literal[s.Address], r)
	}
}

// reverse gives "com.example.pool." for pool.example.com.
func reverse(name string) string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

// Pools gives all pools by ID. The slice is the catalogue's.
func (c *Catalog) Pools() []*Pool { return c.pools }

// Coins gives all coins by symbol. The slice is the catalogue's.
func (c *Catalog) Coins() []*Coin { return c.coins }

// Pool gives a pool by its ID, nil if there is none.
func (c *Catalog) Pool(id string) *Pool { return c.byID[id] }

// Coin gives a coin by its symbol, nil if there is none.
func (c *Catalog) Coin(symbol string) *Coin { return c.coin[symbol] }

// Len is the number of endpoints.
func (c *Catalog) Len() int { return c.rows }

// Host gives the rows of a server by its exact name in lower case or its literal address. The slice is the catalogue's.
func (c *Catalog) Host(host string) []Row { return c.hosts[host] }

// Address gives the rows of a server that stands in the catalogue by its literal address. The slice is the catalogue's.
func (c *Catalog) Address(addr netip.Addr) []Row { return c.literal[addr] }

// Port gives the rows with a port. The slice is the catalogue's.
func (c *Catalog) Port(port uint16) []Row { return c.ports[port] }

// Mined gives the rows of a coin by its symbol. The slice is the catalogue's.
func (c *Catalog) Mined(symbol string) []Row { return c.symbols[symbol] }

// Ports gives the ports that have a row, in order.
func (c *Catalog) Ports() []uint16 { return slices.Sorted(maps.Keys(c.ports)) }

// Hosts gives the names and literal addresses of all servers, in order.
func (c *Catalog) Hosts() []string { return slices.Sorted(maps.Keys(c.hosts)) }

// Below gives the names of servers that are the domain or lie below it, in order of the reversed labels.
func (c *Catalog) Below(domain string) []string {
	key := reverse(domain)
	i, _ := slices.BinarySearchFunc(c.reversed, key, func(n reversedName, key string) int { return cmp.Compare(n.key, key) })
	var names []string
	for ; i < len(c.reversed) && strings.HasPrefix(c.reversed[i].key, key); i++ {
		names = append(names, c.reversed[i].name)
	}
	return names
}

// Words gives the pools and coins that have every word (in any case) in their ID, name, operator, web page or symbol.
func (c *Catalog) Words(words []string) (pools []*Pool, coins []*Coin) {
	if len(words) == 0 {
		return nil, nil
	}
	all := func(fields ...string) bool {
		text := strings.ToLower(strings.Join(fields, "\n"))
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) })
	}
	for _, p := range c.pools {
		if all(p.ID, p.Name, p.Operator, p.URL) {
			pools = append(pools, p)
		}
	}
	for _, coin := range c.coins {
		if all(coin.Symbol, coin.Name) {
			coins = append(coins, coin)
		}
	}
	return pools, coins
}

// Day gives AsOf as a time, the zero time if it is none.
func (p Provenance) Day() time.Time {
	t, err := time.Parse(time.DateOnly, p.AsOf)
	if err != nil {
		return time.Time{}
	}
	return t
}
