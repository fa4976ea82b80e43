package api

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
)

// everything is a limit of matches that is none: an index holds fewer.
const everything = 1 << 30

// poolRow is a pool in a list.
type poolRow struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	URL       string       `json:"url,omitempty"`
	Operator  string       `json:"operator,omitempty"`
	Kind      catalog.Kind `json:"kind"`
	Servers   int          `json:"servers"`
	Endpoints int          `json:"endpoints"`
	Coins     []string     `json:"coins"`
	catalog.Provenance
	Layer string `json:"layer,omitempty"`
}

func poolTable() *table[poolRow] {
	return &table[poolRow]{id: func(r *poolRow) string { return r.ID }, columns: []column[poolRow]{
		words("id", func(r *poolRow) string { return r.ID }),
		words("name", func(r *poolRow) string { return r.Name }),
		words("url", func(r *poolRow) string { return r.URL }),
		words("operator", func(r *poolRow) string { return r.Operator }),
		words("kind", func(r *poolRow) string { return string(r.Kind) }),
		count("servers", func(r *poolRow) int { return r.Servers }),
		count("endpoints", func(r *poolRow) int { return r.Endpoints }),
		several("coins", func(r *poolRow) []string { return r.Coins }),
		words("source", func(r *poolRow) string { return r.Source }),
		words("as_of", func(r *poolRow) string { return r.AsOf }),
		words("confidence", func(r *poolRow) string { return string(r.Confidence) }),
		words("layer", func(r *poolRow) string { return r.Layer }),
	}}
}

// contains tells whether one of the texts has the words, in any case.
func contains(q string, texts ...string) bool {
	return q == "" || strings.Contains(strings.ToLower(strings.Join(texts, "\n")), strings.ToLower(q))
}

func (c *call) pools() error {
	p := params{call: c}
	coin, kind, q := p.form("coin", symbolForm), choice(&p, "kind", catalog.Kinds()...), p.text("q")
	if p.err != nil {
		return p.err
	}
	var rows []poolRow
	for _, p := range c.cfg.Register.Current().Pools() {
		r := poolRow{
			ID: p.ID, Name: p.Name, URL: p.URL, Operator: p.Operator, Kind: p.Kind, Servers: len(p.Servers), Coins: []string{},
			Provenance: p.Provenance, Layer: p.Layer,
		}
		for i := range p.Servers {
			r.Endpoints += len(p.Servers[i].Endpoints)
			for j := range p.Servers[i].Endpoints {
				r.Coins = append(r.Coins, p.Servers[i].Endpoints[j].Coin)
			}
		}
		r.Coins = unique(r.Coins)
		if (coin == "" || slices.Contains(r.Coins, coin)) && (kind == "" || r.Kind == kind) && contains(q, p.ID, p.Name, p.Operator, p.URL) {
			rows = append(rows, r)
		}
	}
	return list(c, poolTable(), rows)
}

// unique sorts words and leaves one of each, without what is open (a row may not tell its coin).
func unique(words []string) []string {
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	slices.Sort(words)
	return slices.Compact(words)
}

func (c *call) pool() error {
	p := c.cfg.Register.Current().Pool(c.r.PathValue("id"))
	if p == nil {
		return problem(http.StatusNotFound, "there is no such pool")
	}
	return c.sendJSON(http.StatusOK, whole(p))
}

// whole is a pool as it is sent: its lists are none but not null.
func whole(p *catalog.Pool) *catalog.Pool {
	out := *p
	out.Servers = slices.Clone(p.Servers)
	for i := range out.Servers {
		if out.Servers[i].Endpoints == nil {
			out.Servers[i].Endpoints = []catalog.Endpoint{}
		}
	}
	if out.Servers == nil {
		out.Servers = []catalog.Server{}
	}
	return &out
}

// serverRow is a server in a list.
type serverRow struct {
	Host      string   `json:"host"`
	Pools     []string `json:"pools"`
	Region    string   `json:"region,omitempty"`
	Endpoints int      `json:"endpoints"`
	Coins     []string `json:"coins"`
	// Addresses are all the server ever had.
	Addresses []netip.Addr `json:"addresses"`
}

func serverTable() *table[serverRow] {
	return &table[serverRow]{id: func(r *serverRow) string { return r.Host }, columns: []column[serverRow]{
		words("host", func(r *serverRow) string { return r.Host }),
		several("pools", func(r *serverRow) []string { return r.Pools }),
		words("region", func(r *serverRow) string { return r.Region }),
		count("endpoints", func(r *serverRow) int { return r.Endpoints }),
		several("coins", func(r *serverRow) []string { return r.Coins }),
		several("addresses", func(r *serverRow) []string { return texts(r.Addresses) }),
	}}
}

func texts(addrs []netip.Addr) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

func (c *call) servers() error {
	p := params{call: c}
	pool, q := p.form("pool", idForm), p.text("q")
	if p.err != nil {
		return p.err
	}
	now := c.cfg.Register.Current()
	var rows []serverRow
	for _, host := range now.Hosts() {
		if !contains(q, host) {
			continue
		}
		if r := c.serverRow(host, now.Host(host)); pool == "" || slices.Contains(r.Pools, pool) {
			rows = append(rows, r)
		}
	}
	return list(c, serverTable(), rows)
}

func (c *call) serverRow(host string, rows []catalog.Row) serverRow {
	r := serverRow{Host: host, Endpoints: len(rows), Addresses: []netip.Addr{}}
	for _, row := range rows {
		r.Pools = append(r.Pools, row.Pool.ID)
		r.Coins = append(r.Coins, row.Endpoint.Coin)
		r.Region = cmp.Or(r.Region, row.Server.Region)
	}
	r.Pools, r.Coins = unique(r.Pools), unique(r.Coins)
	for _, m := range c.matches(host, 0) {
		if m.Address.IsValid() {
			r.Addresses = append(r.Addresses, m.Address)
		}
	}
	slices.SortFunc(r.Addresses, netip.Addr.Compare)
	r.Addresses = slices.Compact(r.Addresses)
	return r
}

// matches gives what the index has of a server, by name or literal address, at all times.
func (c *call) matches(host string, port uint16) []lookup.Match {
	q := lookup.Query{Kind: lookup.ByName, Name: host, Port: port}
	return c.cfg.Index.Find(q, everything).Matches
}

// endpointTable is of matches: an endpoint of the catalogue, once for each address that its server ever had.
func endpointTable() *table[lookup.Match] {
	id := func(m *lookup.Match) string {
		return strings.Join([]string{m.Pool, m.Server, addressKey(m.Address), portKey(m.Port), m.Coin, m.Dialect}, "\x00")
	}
	return &table[lookup.Match]{id: id, columns: matchColumns()}
}

// portKey orders ports by number.
func portKey(port uint16) string { return fmt.Sprintf("%05d", port) }

func matchColumns() []column[lookup.Match] {
	type m = lookup.Match
	return []column[m]{
		words("pool", func(r *m) string { return r.Pool }),
		words("pool_name", func(r *m) string { return r.PoolName }),
		words("kind", func(r *m) string { return string(r.Kind) }),
		words("server", func(r *m) string { return r.Server }),
		words("region", func(r *m) string { return r.Region }),
		address("address", func(r *m) netip.Addr { return r.Address }),
		count("port", func(r *m) int { return int(r.Port) }),
		yes("tls", func(r *m) bool { return r.TLS }),
		words("coin", func(r *m) string { return r.Coin }),
		words("coin_name", func(r *m) string { return r.CoinName }),
		words("dialect", func(r *m) string { return r.Dialect }),
		words("algorithm", func(r *m) string { return r.Algorithm }),
		words("mark", func(r *m) string { return r.Mark }),
		moment("address_from", func(r *m) time.Time { return r.AddressFrom }),
		moment("address_last_seen", func(r *m) time.Time { return r.AddressLastSeen }),
		words("status", func(r *m) string { return string(r.Status) }),
		words("reason", func(r *m) string { return r.Reason }),
		moment("first_seen", func(r *m) time.Time { return r.FirstSeen }),
		moment("last_seen", func(r *m) time.Time { return r.LastSeen }),
		moment("last_proof", func(r *m) time.Time { return r.LastProof }),
		words("source", func(r *m) string { return r.Source }),
		words("as_of", func(r *m) string { return r.AsOf }),
		words("confidence", func(r *m) string { return string(r.Confidence) }),
		words("layer", func(r *m) string { return r.Layer }),
	}
}

func (c *call) endpoints() error {
	p := params{call: c}
	pool, coin, port := p.form("pool", idForm), p.form("coin", symbolForm), p.port("port")
	tls, dialect := choice(&p, "tls", "true", "false"), choice(&p, "dialect", catalog.Dialects()...)
	status, kind, q := choice(&p, "status", statuses()...), choice(&p, "kind", catalog.Kinds()...), p.text("q")
	if p.err != nil {
		return p.err
	}
	var rows []lookup.Match
	for _, m := range c.all(port) {
		if (pool == "" || m.Pool == pool) && (coin == "" || m.Coin == coin) && (tls == "" || m.TLS == (tls == "true")) &&
			(dialect == "" || m.Dialect == dialect) && (kind == "" || m.Kind == kind) &&
			(status == "" || cmp.Or(m.Status, minecanary.Unknown) == status) && contains(q, m.Pool, m.PoolName, m.Server, m.CoinName) {
			rows = append(rows, m)
		}
	}
	return list(c, endpointTable(), rows)
}

func statuses() []minecanary.VerdictStatus {
	return []minecanary.VerdictStatus{
		minecanary.Unknown, minecanary.Confirmed, minecanary.Node, minecanary.NotPool, minecanary.Inconclusive, minecanary.Blocked,
	}
}

// all gives every endpoint of the catalogue at every address, and those that only the history knows; those of one port
// alone if it is not 0.
func (c *call) all(port uint16) []lookup.Match {
	var rows []lookup.Match
	for _, host := range c.cfg.Register.Current().Hosts() {
		rows = append(rows, c.matches(host, port)...)
	}
	return append(rows, c.cfg.Index.Unlisted(port)...)
}

// addressRow is an address of a server.
type addressRow struct {
	Address netip.Addr `json:"address"`
	// Name is the server's, "" if it stands in the catalogue by its address.
	Name     string    `json:"name,omitempty"`
	Mark     string    `json:"mark,omitempty"`
	Pools    []string  `json:"pools"`
	From     time.Time `json:"from,omitzero"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	// Layer is lookup.LayerHistory if no server of the catalogue ever had the address, else "".
	Layer string `json:"layer,omitempty"`
}

func addressTable() *table[addressRow] {
	id := func(r *addressRow) string { return addressKey(r.Address) + "\x00" + r.Name }
	return &table[addressRow]{id: id, columns: []column[addressRow]{
		address("address", func(r *addressRow) netip.Addr { return r.Address }),
		words("name", func(r *addressRow) string { return r.Name }),
		words("mark", func(r *addressRow) string { return r.Mark }),
		several("pools", func(r *addressRow) []string { return r.Pools }),
		moment("from", func(r *addressRow) time.Time { return r.From }),
		moment("last_seen", func(r *addressRow) time.Time { return r.LastSeen }),
		words("layer", func(r *addressRow) string { return r.Layer }),
	}}
}

func (c *call) addresses() error {
	name, err := c.form("name", nameForm)
	if err != nil {
		return err
	}
	hosts := c.cfg.Register.Current().Hosts()
	if c.has("name") {
		hosts = []string{catalog.CanonicalName(name)}
	}
	var rows []addressRow
	for _, host := range hosts {
		rows = append(rows, addressRows(c.matches(host, 0))...)
	}
	if !c.has("name") {
		rows = append(rows, c.unlisted(rows)...)
	}
	return list(c, addressTable(), rows)
}

// unlisted gives the addresses that only the history knows: none of the rows has them. They were seen when an endpoint
// there answered.
func (c *call) unlisted(listed []addressRow) []addressRow {
	has := map[netip.Addr]bool{}
	for _, r := range listed {
		has[r.Address] = true
	}
	matches := c.cfg.Index.Unlisted(0)
	matches = slices.DeleteFunc(matches, func(m lookup.Match) bool { return has[m.Address] })
	for i := range matches {
		m := &matches[i]
		m.AddressFrom, m.AddressLastSeen = m.FirstSeen, m.LastSeen
	}
	return addressRows(matches)
}

// addressRows gives the addresses of one server, each once: from when it was first seen to when it was last.
func addressRows(matches []lookup.Match) []addressRow {
	byAddress := map[netip.Addr]*addressRow{}
	for i := range matches {
		m := &matches[i]
		if !m.Address.IsValid() {
			continue
		}
		r := byAddress[m.Address]
		if r == nil {
			r = &addressRow{Address: m.Address, Name: m.Server, Pools: []string{}, From: m.AddressFrom, LastSeen: m.AddressLastSeen}
			byAddress[m.Address] = r
		}
		if m.Layer == lookup.LayerHistory {
			r.Layer = m.Layer
		} else {
			r.Pools = append(r.Pools, m.Pool)
		}
		r.Mark = cmp.Or(r.Mark, m.Mark)
		if m.AddressFrom.Before(r.From) {
			r.From = m.AddressFrom
		}
		if m.AddressLastSeen.After(r.LastSeen) {
			r.LastSeen = m.AddressLastSeen
		}
	}
	rows := make([]addressRow, 0, len(byAddress))
	for _, a := range slices.SortedFunc(maps.Keys(byAddress), netip.Addr.Compare) {
		r := byAddress[a]
		r.Pools = unique(r.Pools)
		rows = append(rows, *r)
	}
	return rows
}

// coinRow is a coin in a list.
type coinRow struct {
	catalog.Coin
	Pools     int `json:"pools"`
	Endpoints int `json:"endpoints"`
}

func coinTable() *table[coinRow] {
	return &table[coinRow]{id: func(r *coinRow) string { return r.Symbol }, columns: []column[coinRow]{
		words("symbol", func(r *coinRow) string { return r.Symbol }),
		words("name", func(r *coinRow) string { return r.Name }),
		words("algorithm", func(r *coinRow) string { return r.Algorithm }),
		words("dialect", func(r *coinRow) string { return r.Dialect }),
		words("url", func(r *coinRow) string { return r.URL }),
		count("pools", func(r *coinRow) int { return r.Pools }),
		count("endpoints", func(r *coinRow) int { return r.Endpoints }),
		words("source", func(r *coinRow) string { return r.Source }),
		words("as_of", func(r *coinRow) string { return r.AsOf }),
		words("confidence", func(r *coinRow) string { return string(r.Confidence) }),
	}}
}

func (c *call) coins() error {
	q, err := c.text("q")
	if err != nil {
		return err
	}
	now := c.cfg.Register.Current()
	var rows []coinRow
	for _, coin := range now.Coins() {
		if contains(q, coin.Symbol, coin.Name) {
			mined := now.Mined(coin.Symbol)
			rows = append(rows, coinRow{*coin, poolsOf(mined), len(mined)})
		}
	}
	return list(c, coinTable(), rows)
}

func poolsOf(rows []catalog.Row) int {
	pools := map[string]bool{}
	for _, r := range rows {
		pools[r.Pool.ID] = true
	}
	return len(pools)
}

func (c *call) coin() error {
	coin := c.cfg.Register.Current().Coin(c.r.PathValue("symbol"))
	if coin == nil {
		return problem(http.StatusNotFound, "there is no such coin")
	}
	return c.sendJSON(http.StatusOK, coin)
}

// portRow is a port and what is mined there.
type portRow struct {
	Port      int      `json:"port"`
	Coins     []string `json:"coins"`
	Pools     []string `json:"pools"`
	Endpoints int      `json:"endpoints"`
	// TLS is how many of the endpoints speak TLS.
	TLS int `json:"tls"`
}

func portTable() *table[portRow] {
	id := func(r *portRow) string { return portKey(uint16(r.Port)) }
	return &table[portRow]{id: id, columns: []column[portRow]{
		count("port", func(r *portRow) int { return r.Port }),
		several("coins", func(r *portRow) []string { return r.Coins }),
		several("pools", func(r *portRow) []string { return r.Pools }),
		count("endpoints", func(r *portRow) int { return r.Endpoints }),
		count("tls", func(r *portRow) int { return r.TLS }),
	}}
}

func (c *call) ports() error {
	coin, err := c.form("coin", symbolForm)
	if err != nil {
		return err
	}
	now := c.cfg.Register.Current()
	var rows []portRow
	for _, port := range now.Ports() {
		r := portRow{Port: int(port)}
		for _, row := range now.Port(port) {
			if coin == "" || row.Endpoint.Coin == coin {
				r.Coins = append(r.Coins, row.Endpoint.Coin)
				r.Pools = append(r.Pools, row.Pool.ID)
				r.Endpoints++
				if row.Endpoint.TLS {
					r.TLS++
				}
			}
		}
		if r.Coins, r.Pools = unique(r.Coins), unique(r.Pools); r.Endpoints > 0 {
			rows = append(rows, r)
		}
	}
	return list(c, portTable(), rows)
}

// Export is the whole catalogue, as GET /export sends it: pools have what their rows inherit.
type Export struct {
	Coins []catalog.Coin  `json:"coins"`
	Pools []*catalog.Pool `json:"pools"`
}

// export sends the whole catalogue as JSON, or as a file that import takes.
func (c *call) export() error {
	format, err := c.accept(typeJSON, typeYAML)
	if err != nil {
		return err
	}
	now := c.cfg.Register.Current()
	if format == typeYAML {
		var b bytes.Buffer
		if err := catalog.Write(&b, now.Layer()); err != nil {
			return err
		}
		return c.send(http.StatusOK, typeYAML, b.Bytes())
	}
	out := Export{Coins: coinsOf(now), Pools: []*catalog.Pool{}}
	for _, p := range now.Pools() {
		out.Pools = append(out.Pools, whole(p))
	}
	return c.sendJSON(http.StatusOK, out)
}

// stats counts what there is.
type stats struct {
	Version   string `json:"version,omitempty"`
	Pools     int    `json:"pools"`
	Coins     int    `json:"coins"`
	Servers   int    `json:"servers"`
	Endpoints int    `json:"endpoints"`
	// Unlisted are endpoints that only the history knows.
	Unlisted  int `json:"unlisted"`
	Ports     int `json:"ports"`
	Addresses int `json:"addresses"`
	// Statuses counts endpoints at their addresses by what they answered last, unknown for those that were not asked.
	Statuses map[minecanary.VerdictStatus]int `json:"statuses"`
	// Kinds counts pools, Mined the endpoints of each coin.
	Kinds map[catalog.Kind]int `json:"kinds"`
	Mined map[string]int       `json:"mined"`
}

func (c *call) stats() error {
	now := c.cfg.Register.Current()
	s := stats{
		Version: c.cfg.Version, Pools: len(now.Pools()), Coins: len(now.Coins()), Servers: len(now.Hosts()), Endpoints: now.Len(),
		Ports:    len(now.Ports()),
		Statuses: map[minecanary.VerdictStatus]int{}, Kinds: map[catalog.Kind]int{}, Mined: map[string]int{},
	}
	for _, p := range now.Pools() {
		s.Kinds[p.Kind]++
	}
	for _, coin := range now.Coins() {
		if n := len(now.Mined(coin.Symbol)); n > 0 {
			s.Mined[coin.Symbol] = n
		}
	}
	seen := map[netip.Addr]bool{}
	for _, m := range c.all(0) {
		if m.Address.IsValid() {
			seen[m.Address] = true
			s.Statuses[cmp.Or(m.Status, minecanary.Unknown)]++
		}
		if m.Layer == lookup.LayerHistory {
			s.Unlisted++
		}
	}
	s.Addresses = len(seen)
	return c.sendJSON(http.StatusOK, s)
}
