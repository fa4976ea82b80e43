package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
)

// maxFound is how many matches a question shows.
const maxFound = 1000

// search is the first page: one box.
func (c *call) search() error {
	q := c.r.URL.Query()
	body := struct {
		Question, At, Problem string
		Asked                 bool
		Known, More           bool
		Kind                  lookup.QueryKind
		Pools, Endpoints      int
		Table                 table
	}{Question: q.Get("q"), At: q.Get("at")}
	cat := c.cfg.Index.Catalog()
	body.Pools, body.Endpoints = len(cat.Pools()), cat.Len()
	title := "Search"
	if body.Question != "" || body.At != "" {
		body.Asked = true
		question, err := lookup.Parse(body.Question)
		if err == nil {
			question.At, err = parseAt(body.At)
		}
		if err != nil {
			body.Problem = "This cannot be asked: " + brief(err.Error()) + "."
			return c.show("search", title, body)
		}
		title = "Search: " + brief(body.Question)
		r := c.cfg.Index.Find(question, maxFound)
		body.Known, body.More, body.Kind = r.Known, r.More, r.Kind
		var sent bool
		body.Table, sent, err = tabulate(c, table{Caption: "What is known", Empty: "Nothing fits the filter."}, matchColumns(), once(r.Matches), "q", "at")
		if err != nil || sent {
			return err
		}
		body.Table.API = "/api/v1/lookup?" + c.queryOf("q", "at")
	}
	return c.show("search", title, body)
}

// parseAt reads the time that a question is about: what a browser's field gives, a day, or RFC 3339; in UTC.
func parseAt(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			if t.Year() < 1970 || t.Year() > 9999 {
				return time.Time{}, fmt.Errorf("the year %d", t.Year())
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time like 2026-03-03 or 2026-03-03T12:00", s)
}

// queryOf gives parameters of the request for an address of ours.
func (c *call) queryOf(names ...string) string {
	q, out := c.r.URL.Query(), make(map[string][]string)
	for _, n := range names {
		v := q.Get(n)
		if t, err := parseAt(v); n == "at" && err == nil && !t.IsZero() {
			v = t.Format(time.RFC3339)
		}
		if v != "" {
			out[n] = []string{v}
		}
	}
	return encode(out)
}

// listBody is a page that is a table.
type listBody struct {
	Lead  string
	Add   *link
	Table table
}

// list shows a page that is a table.
func list[T any](c *call, title, lead string, add *link, t table, columns []column[T], rows []T) error {
	t.Caption = cmp.Or(t.Caption, title)
	t, sent, err := tabulate(c, t, columns, rows)
	if err != nil || sent {
		return err
	}
	if !c.editable() {
		add = nil
	}
	return c.show("list", title, listBody{lead, add, t})
}

func (c *call) listPools() error {
	type pool = catalog.Pool
	endpoints := func(p *pool) int {
		n := 0
		for i := range p.Servers {
			n += len(p.Servers[i].Endpoints)
		}
		return n
	}
	columns := []column[*pool]{
		{key: "name", label: "Pool", compare: byWord(func(p **pool) string { return (*p).Name }), cell: func(p **pool) cell {
			return cell{Text: brief((*p).Name), Href: poolPath((*p).ID)}
		}},
		{key: "kind", label: "Kind", compare: byWord(func(p **pool) string { return string((*p).Kind) }), filter: true, cell: func(p **pool) cell { return cell{Text: string((*p).Kind)} }},
		{key: "coins", label: "Coins", cell: func(p **pool) cell { return many(coinLinks(coinsOf(*p))) }},
		{key: "servers", label: "Servers", number: true, compare: by(func(p **pool) int { return len((*p).Servers) }), cell: func(p **pool) cell { return number(len((*p).Servers)) }},
		{key: "endpoints", label: "Endpoints", number: true, compare: by(func(p **pool) int { return endpoints(*p) }), cell: func(p **pool) cell { return number(endpoints(*p)) }},
		{key: "url", label: "Web page", compare: byWord(func(p **pool) string { return (*p).URL }), cell: func(p **pool) cell { return cell{Hostile: defang((*p).URL), Tight: true} }},
		{key: "confidence", label: "Confidence", compare: byWord(func(p **pool) string { return string((*p).Confidence) }), filter: true, cell: func(p **pool) cell { return cell{Text: string((*p).Confidence)} }},
		{key: "as_of", label: "As of", compare: byWord(func(p **pool) string { return (*p).AsOf }), cell: func(p **pool) cell { return cell{Text: (*p).AsOf} }},
		{key: "layer", label: "From", compare: byWord(func(p **pool) string { return (*p).Layer }), filter: true, cell: func(p **pool) cell { return cell{Text: brief((*p).Layer)} }},
	}
	t := table{Empty: "No pool fits. Take the filter away, or add a pool.", API: "/api/v1/pools"}
	return list(c, "Pools", "", &link{"Add a pool", "/pools/new"}, t, columns, c.cfg.Index.Catalog().Pools())
}

func coinsOf(p *catalog.Pool) []string {
	symbols := map[string]bool{}
	for i := range p.Servers {
		for _, e := range p.Servers[i].Endpoints {
			symbols[e.Coin] = true
		}
	}
	return slices.Sorted(maps.Keys(symbols))
}

func coinLinks(symbols []string) []link {
	links := make([]link, len(symbols))
	for i, s := range symbols {
		links[i] = link{s, coinPath(s)}
	}
	return links
}

// fact is a row of what is known of something.
type fact struct {
	Name string
	Cell cell
}

func facts(all ...fact) []fact {
	for i := range all {
		all[i].Cell = all[i].Cell.bounded()
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.Cell.text() == "" })
}

func provenance(p catalog.Provenance) []fact {
	return facts(
		fact{"Source", cell{Hostile: defang(p.Source)}}, fact{"As of", cell{Text: p.AsOf}}, fact{"Confidence", cell{Text: string(p.Confidence)}},
	)
}

func (c *call) showPool() error {
	p := c.cfg.Index.Catalog().Pool(c.r.PathValue("pool"))
	if p == nil {
		return notFound("The catalogue has no such pool.")
	}
	type row struct {
		Server                   *catalog.Server
		Edit, Remove, AddAt, Now string
		Endpoints                []catalog.Endpoint
		Path                     string
	}
	body := struct {
		Pool  *catalog.Pool
		Facts []fact
		Table table
		Tree  []row
		Path  string
	}{Pool: p, Path: poolPath(p.ID)}
	body.Facts = append(facts(
		fact{"Kind", cell{Text: string(p.Kind)}}, fact{"Operator", cell{Hostile: p.Operator}}, fact{"Web page", cell{Hostile: defang(p.URL)}},
		fact{"Coins", cell{Links: coinLinks(coinsOf(p))}}, fact{"Note", cell{Hostile: p.Note}}, fact{"Loaded from", cell{Text: brief(p.Layer)}},
	), provenance(p.Provenance)...)
	var rows []catalog.Row
	for i := range p.Servers {
		s := &p.Servers[i]
		for j := range s.Endpoints {
			rows = append(rows, catalog.Row{Pool: p, Server: s, Endpoint: &s.Endpoints[j]})
		}
		body.Tree = append(body.Tree, row{Server: s, Path: body.Path + "/servers/" + pathOf(s.Host()), Endpoints: s.Endpoints})
	}
	columns := slices.DeleteFunc(matchColumns(), func(col column[lookup.Match]) bool { return col.key == "pool" })
	t := table{Caption: "Endpoints", Empty: "No endpoint of the pool fits."}
	t, sent, err := tabulate(c, t, columns, c.of(rows))
	if err != nil || sent {
		return err
	}
	body.Table = t
	return c.show("pool", brief(p.Name), body)
}

// server is a server as the list shows it: all rows of one host.
type server struct {
	host      string
	rows      []catalog.Row
	addresses []lookup.Address
}

func (s *server) last() time.Time {
	var last time.Time
	for _, a := range s.addresses {
		if a.LastSeen.After(last) {
			last = a.LastSeen
		}
	}
	return last
}

func (c *call) listServers() error {
	cat, now := c.cfg.Index.Catalog(), c.cfg.Now()
	rows := make([]server, 0, len(cat.Hosts()))
	for _, h := range cat.Hosts() {
		rows = append(rows, server{h, cat.Host(h), c.cfg.Index.AddressesOf(h, now)})
	}
	columns := []column[server]{
		{key: "server", label: "Server", compare: byWord(func(s *server) string { return s.host }), cell: func(s *server) cell { return cell{Text: s.host, Href: serverPath(s.host)} }},
		{key: "pool", label: "Pool", compare: byWord(func(s *server) string { return s.rows[0].Pool.Name }), cell: func(s *server) cell {
			var links []link
			for _, r := range s.rows {
				if l := (link{brief(r.Pool.Name), poolPath(r.Pool.ID)}); !slices.Contains(links, l) {
					links = append(links, l)
				}
			}
			return many(links)
		}},
		{key: "region", label: "Region", compare: byWord(func(s *server) string { return s.rows[0].Server.Region }), cell: func(s *server) cell { return cell{Text: brief(s.rows[0].Server.Region)} }},
		{key: "ports", label: "Ports and coins", compare: by(func(s *server) int { return len(s.rows) }), cell: func(s *server) cell {
			var links []link
			for _, r := range s.rows {
				links = append(links, link{fmt.Sprintf("%d %s", r.Endpoint.Port, r.Endpoint.Coin), portPath(r.Endpoint.Port)})
			}
			return many(links)
		}},
		{key: "addresses", label: "Addresses now", compare: by(func(s *server) int { return len(s.addresses) }), cell: func(s *server) cell {
			var links []link
			for _, a := range s.addresses {
				links = append(links, link{a.Addr.String(), addressPath(a.Addr)})
			}
			return many(links)
		}},
		{key: "last_seen", label: "Last looked up", compare: byTime((*server).last), cell: func(s *server) cell { return cell{Time: s.last()} }},
	}
	t := table{Empty: "No server fits. Take the filter away, or open a pool and add a server to it.", API: "/api/v1/servers"}
	return list(c, "Servers", "", nil, t, columns, rows)
}

func (c *call) listEndpoints() error {
	t := table{Empty: "No endpoint fits. Take the filter away, or open a pool and add one.", API: "/api/v1/endpoints"}
	return list(c, "Endpoints", "Every port of every server, with each address it ever had.", nil, t, matchColumns(), c.matches())
}

// atAddress is what is known of one address.
type atAddress struct {
	addr         netip.Addr
	names, pools map[string]string
	ports        map[uint16]bool
	mark         string
	from, last   time.Time
	confirmed    int
}

func (c *call) listAddresses() error {
	at := map[netip.Addr]*atAddress{}
	for _, m := range c.matches() {
		if !m.Address.IsValid() {
			continue
		}
		a := at[m.Address]
		if a == nil {
			a = &atAddress{addr: m.Address, names: map[string]string{}, pools: map[string]string{}, ports: map[uint16]bool{}}
			at[m.Address] = a
		}
		if m.Server != "" {
			a.names[m.Server] = serverPath(m.Server)
		}
		if m.Pool != "" {
			a.pools[brief(m.PoolName)] = poolPath(m.Pool)
		}
		if m.Status == minecanary.Confirmed && !a.ports[m.Port] {
			a.confirmed++
		}
		a.ports[m.Port] = true
		a.mark = cmp.Or(a.mark, m.Mark)
		if !m.AddressFrom.IsZero() && (a.from.IsZero() || m.AddressFrom.Before(a.from)) {
			a.from = m.AddressFrom
		}
		if m.AddressLastSeen.After(a.last) {
			a.last = m.AddressLastSeen
		}
	}
	rows := slices.SortedFunc(maps.Values(at), func(a, b *atAddress) int { return a.addr.Compare(b.addr) })
	links := func(m map[string]string) cell {
		var out []link
		for _, k := range slices.Sorted(maps.Keys(m)) {
			out = append(out, link{k, m[k]})
		}
		return many(out)
	}
	columns := []column[*atAddress]{
		{key: "address", label: "Address", compare: byAddress(func(a **atAddress) netip.Addr { return (*a).addr }), cell: func(a **atAddress) cell {
			return cell{Text: (*a).addr.String(), Href: addressPath((*a).addr)}
		}},
		{key: "servers", label: "Servers", cell: func(a **atAddress) cell { return links((*a).names) }},
		{key: "pools", label: "Pools", cell: func(a **atAddress) cell { return links((*a).pools) }},
		{key: "ports", label: "Ports", cell: func(a **atAddress) cell {
			var out []link
			for _, p := range slices.Sorted(maps.Keys((*a).ports)) {
				out = append(out, link{strconv.Itoa(int(p)), endpointPath((*a).addr, p)})
			}
			return many(out)
		}},
		{key: "confirmed", label: "Confirmed ports", number: true, compare: by(func(a **atAddress) int { return (*a).confirmed }), cell: func(a **atAddress) cell { return number((*a).confirmed) }},
		{key: "mark", label: "Also", compare: byWord(func(a **atAddress) string { return (*a).mark }), filter: true, cell: func(a **atAddress) cell { return cell{Text: (*a).mark} }},
		{key: "first_seen", label: "First seen", compare: byTime(func(a **atAddress) time.Time { return (*a).from }), cell: func(a **atAddress) cell { return cell{Time: (*a).from} }},
		{key: "last_seen", label: "Last seen", compare: byTime(func(a **atAddress) time.Time { return (*a).last }), cell: func(a **atAddress) cell { return cell{Time: (*a).last} }},
	}
	t := table{Empty: "No address is known yet. They come when names are looked up: turn the sweeps on.", API: "/api/v1/addresses"}
	return list(c, "Addresses", "The addresses that names of pools had, and those that answered as pools do.", nil, t, columns, rows)
}

func (c *call) listPorts() error {
	type port struct {
		number uint16
		rows   []catalog.Row
	}
	cat := c.cfg.Index.Catalog()
	var rows []port
	for _, p := range cat.Ports() {
		rows = append(rows, port{p, cat.Port(p)})
	}
	columns := []column[port]{
		{key: "port", label: "Port", number: true, compare: by(func(p *port) uint16 { return p.number }), cell: func(p *port) cell {
			return cell{Text: strconv.Itoa(int(p.number)), Href: portPath(p.number)}
		}},
		{key: "coins", label: "Coins", cell: func(p *port) cell {
			symbols := map[string]bool{}
			for _, r := range p.rows {
				symbols[r.Endpoint.Coin] = true
			}
			return many(coinLinks(slices.Sorted(maps.Keys(symbols))))
		}},
		{key: "pools", label: "Pools", cell: func(p *port) cell {
			var links []link
			for _, r := range p.rows {
				if l := (link{brief(r.Pool.Name), poolPath(r.Pool.ID)}); !slices.Contains(links, l) {
					links = append(links, l)
				}
			}
			return many(links)
		}},
		{key: "endpoints", label: "Endpoints", number: true, compare: by(func(p *port) int { return len(p.rows) }), cell: func(p *port) cell { return number(len(p.rows)) }},
	}
	t := table{Empty: "No port fits. Take the filter away.", API: "/api/v1/ports"}
	return list(c, "Ports", "Which coins are mined through which port.", nil, t, columns, rows)
}

func (c *call) listCoins() error {
	type coin = catalog.Coin
	cat := c.cfg.Index.Catalog()
	pools := func(s string) int {
		ids := map[string]bool{}
		for _, r := range cat.Mined(s) {
			ids[r.Pool.ID] = true
		}
		return len(ids)
	}
	columns := []column[*coin]{
		{key: "symbol", label: "Symbol", compare: byWord(func(o **coin) string { return (*o).Symbol }), cell: func(o **coin) cell {
			return cell{Text: (*o).Symbol, Href: coinPath((*o).Symbol)}
		}},
		{key: "name", label: "Name", compare: byWord(func(o **coin) string { return (*o).Name }), cell: func(o **coin) cell { return cell{Text: brief((*o).Name)} }},
		{key: "algorithm", label: "Algorithm", compare: byWord(func(o **coin) string { return (*o).Algorithm }), filter: true, cell: func(o **coin) cell { return cell{Text: (*o).Algorithm} }},
		{key: "dialect", label: "Protocol", compare: byWord(func(o **coin) string { return (*o).Dialect }), filter: true, cell: func(o **coin) cell { return cell{Text: (*o).Dialect} }},
		{key: "pools", label: "Pools", number: true, compare: by(func(o **coin) int { return pools((*o).Symbol) }), cell: func(o **coin) cell { return number(pools((*o).Symbol)) }},
		{key: "endpoints", label: "Endpoints", number: true, compare: by(func(o **coin) int { return len(cat.Mined((*o).Symbol)) }), cell: func(o **coin) cell { return number(len(cat.Mined((*o).Symbol))) }},
		{key: "url", label: "Web page", compare: byWord(func(o **coin) string { return (*o).URL }), cell: func(o **coin) cell { return cell{Hostile: defang((*o).URL), Tight: true} }},
	}
	t := table{Empty: "No coin fits. Take the filter away, or add a coin.", API: "/api/v1/coins"}
	return list(c, "Coins", "", &link{"Add a coin", "/coins/new"}, t, columns, cat.Coins())
}

func (c *call) showCoin() error {
	cat := c.cfg.Index.Catalog()
	coin := cat.Coin(c.r.PathValue("symbol"))
	if coin == nil {
		return notFound("The catalogue has no such coin.")
	}
	body := struct {
		Coin      *catalog.Coin
		Facts     []fact
		Templates []fact
		Table     table
		Path      string
	}{Coin: coin, Path: coinPath(coin.Symbol)}
	body.Facts = append(facts(
		fact{"Name", cell{Text: brief(coin.Name)}}, fact{"Algorithm", cell{Text: coin.Algorithm}}, fact{"Protocol", cell{Text: coin.Dialect}},
		fact{"Web page", cell{Hostile: defang(coin.URL)}},
	), provenance(coin.Provenance)...)
	for _, k := range catalog.ExplorerKeys() {
		if v := coin.Explorer[k]; v != "" {
			body.Templates = append(body.Templates, fact{strings.ToUpper(k[:1]) + k[1:], cell{Hostile: defang(v)}})
		}
	}
	columns := slices.DeleteFunc(matchColumns(), func(col column[lookup.Match]) bool { return col.key == "coin" })
	t := table{Caption: "Endpoints", Empty: "No pool of the catalogue mines it."}
	t, sent, err := tabulate(c, t, columns, c.of(cat.Mined(coin.Symbol)))
	if err != nil || sent {
		return err
	}
	body.Table = t
	return c.show("coin", coin.Symbol+" "+brief(coin.Name), body)
}

// bar is one of a chart. Width is of 1000.
type bar struct {
	Text, Href string
	Count      int
	Width      int
}

// chart is counts drawn as bars, the largest first.
type chart struct {
	Title string
	Unit  string
	Bars  []bar
	// Others counts what is not drawn.
	Others int
}

// maxBars is how many bars a chart has.
const maxBars = 25

func newChart(title, unit string, counts map[string]int, href func(string) string) chart {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	ch := chart{Title: title, Unit: unit}
	for i, k := range keys {
		if i >= maxBars {
			ch.Others += counts[k]
			continue
		}
		ch.Bars = append(ch.Bars, bar{Text: cmp.Or(brief(k), "not said"), Href: href(k[:min(len(k), catalog.MaxText)]), Count: counts[k], Width: max(1, 1000*counts[k]/max(1, counts[keys[0]]))})
	}
	return ch
}

func (c *call) dashboard() error {
	cat := c.cfg.Index.Catalog()
	all := c.matches()
	body := struct {
		Counts []fact
		Charts []chart
		Sweep  *sweep.Status
	}{}
	coins, pools, statuses, dialects, ports, kinds := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	servers, perPool := map[string]int{}, map[string]int{}
	ids := map[string]string{}
	for _, p := range cat.Pools() {
		ids[p.Name] = p.ID
		servers[p.Name] += len(p.Servers)
		kinds[string(p.Kind)]++
		for i := range p.Servers {
			for _, e := range p.Servers[i].Endpoints {
				coins[e.Coin]++
				pools[p.Name]++
				dialects[e.Dialect]++
				ports[strconv.Itoa(int(e.Port))]++
			}
		}
	}
	type held struct {
		pool string
		addr netip.Addr
	}
	addresses, ofPool, known := map[netip.Addr]bool{}, map[held]bool{}, 0
	for _, m := range all {
		if m.Address.IsValid() {
			addresses[m.Address] = true
			if h := (held{m.PoolName, m.Address}); m.Pool != "" && !ofPool[h] {
				ofPool[h] = true
				perPool[m.PoolName]++
			}
			known++
			statuses[cmp.Or(string(m.Status), "not asked")]++
		}
	}
	count := func(n int, href string) cell { return cell{Text: strconv.Itoa(n), Href: href} }
	body.Counts = []fact{
		{"pools", count(len(cat.Pools()), "/pools")},
		{"coins", count(len(cat.Coins()), "/coins")},
		{"servers", count(len(cat.Hosts()), "/servers")},
		{"endpoints in the catalogue", count(cat.Len(), "/endpoints")},
		{"ports", count(len(cat.Ports()), "/ports")},
		{"addresses", count(len(addresses), "/addresses")},
		{"endpoints with an address", count(known, "/endpoints")},
		{"confirmed", count(statuses[string(minecanary.Confirmed)], "/endpoints?status=confirmed")},
	}
	filter := func(key string) func(string) string {
		return func(v string) string { return "/endpoints?" + encode(map[string][]string{key: {v}}) }
	}
	toPool := func(name string) string { return poolPath(ids[name]) }
	if len(statuses) > 0 {
		body.Charts = append(body.Charts, newChart("Status of endpoints with an address", "endpoints", statuses, filter("status")))
	}
	body.Charts = append(body.Charts,
		newChart("Endpoints per coin", "endpoints", coins, coinPath),
		newChart("Endpoints per pool", "endpoints", pools, toPool), newChart("Servers per pool", "servers", servers, toPool),
		newChart("Addresses per pool", "addresses", perPool, toPool),
		newChart("Endpoints per protocol", "endpoints", dialects, filter("dialect")),
		newChart("Most used ports", "endpoints", ports, func(p string) string { return "/?q=%3A" + p }),
		newChart("Kinds of pools", "pools", kinds, func(k string) string { return "/pools?" + encode(map[string][]string{"kind": {k}}) }),
	)
	if c.cfg.Sweep != nil && c.cfg.Sweep.Enabled() {
		s := c.cfg.Sweep.Status()
		body.Sweep = &s
	}
	return c.show("dashboard", "Dashboard", body)
}

func (c *call) about() error {
	sources := map[string]int{}
	if c.may(accounts.Viewer) {
		cat := c.cfg.Index.Catalog()
		for _, p := range cat.Pools() {
			for i := range p.Servers {
				for _, e := range p.Servers[i].Endpoints {
					sources[e.Source]++
				}
			}
		}
	}
	type source struct {
		name  string
		count int
	}
	var rows []source
	for _, s := range slices.SortedFunc(maps.Keys(sources), func(a, b string) int { return cmp.Or(cmp.Compare(sources[b], sources[a]), cmp.Compare(a, b)) }) {
		rows = append(rows, source{s, sources[s]})
	}
	columns := []column[source]{
		{key: "source", label: "Source", cell: func(s *source) cell { return cell{Hostile: defang(cmp.Or(s.name, "none given"))} }},
		{key: "endpoints", label: "Endpoints", number: true, cell: func(s *source) cell { return number(s.count) }},
	}
	return c.show("about", "About", struct {
		API     bool
		Sources int
		Table   table
	}{c.cfg.API, len(rows), plainTable("Where the endpoints of the catalogue were read", "", columns, rows)})
}
