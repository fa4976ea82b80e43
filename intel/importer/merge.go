package importer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minecanary/minecanary/intel/catalog"
)

// Change is an endpoint or server of the catalogue of which an import tells more, or something else.
type Change struct {
	Pool, Host string
	// Port is 0 for a server.
	Port uint16
	// What is told, in words: "tls false → true".
	What string
}

// Report says what is new in an import, in servers without a port and endpoints.
type Report struct {
	// New counts those that the catalogue did not have, Same those it had.
	New, Same int
	Changed   []Change
	// Pools counts the pools and Coins the coins that the catalogue did not have, or had otherwise.
	Pools, Coins int
}

// Merge gives what an import adds to a catalogue, as a layer to put on top of it. A pool that the catalogue has comes with
// all that it has there, because a pool of a later layer replaces the earlier: nothing gets lost by an import. A server or
// endpoint that any pool has is not added to another one. What the import does not tell is left as it is; so is TLS where
// the import has none, as most formats cannot tell it.
func Merge(c *catalog.Catalog, in catalog.Layer) (catalog.Layer, Report) {
	m := merger{known: c}
	out := catalog.Layer{Removed: in.Removed}
	for i := range in.Pools {
		if p := m.pool(&in.Pools[i]); p != nil {
			out.Pools = append(out.Pools, *p)
		}
	}
	m.report.Pools = len(out.Pools)
	for i := range in.Coins {
		if old := c.Coin(in.Coins[i].Symbol); old == nil || !sameCoin(*old, in.Coins[i]) {
			out.Coins = append(out.Coins, in.Coins[i])
		}
	}
	m.report.Coins = len(out.Coins)
	return out, m.report
}

func sameCoin(a, b catalog.Coin) bool {
	explorer := maps.Equal(a.Explorer, b.Explorer)
	a.Explorer, b.Explorer = nil, nil
	return explorer && a.Symbol == b.Symbol && a.Name == b.Name && a.Algorithm == b.Algorithm && a.Dialect == b.Dialect &&
		a.URL == b.URL && a.Provenance == b.Provenance
}

type merger struct {
	known  *catalog.Catalog
	report Report
}

// pool gives a pool with what an import adds to it; nil if that is nothing.
func (m *merger) pool(in *catalog.Pool) *catalog.Pool {
	out := *in
	out.Layer, out.Servers = "", nil
	if m.known.Pool(in.ID) != nil {
		out = m.known.Layer(in.ID).Pools[0]
	}
	before := m.report.New + len(m.report.Changed)
	byHost := map[string]int{}
	for i := range out.Servers {
		byHost[out.Servers[i].Host()] = i
	}
	for i := range in.Servers {
		s := in.Servers[i]
		s.Provenance = over(s.Provenance, in.Provenance)
		at, ok := byHost[s.Host()]
		if !ok {
			s.Endpoints = m.unknown(in.ID, &s)
			if s.Endpoints == nil {
				continue
			}
			s.Provenance = without(s.Provenance, out.Provenance)
			byHost[s.Host()] = len(out.Servers)
			out.Servers = append(out.Servers, s)
			continue
		}
		m.server(in.ID, &out, at, &s)
	}
	if before == m.report.New+len(m.report.Changed) {
		return nil
	}
	return &out
}

// unknown gives the endpoints of a server that its pool does not have; nil if there is nothing new, so that the server is
// not needed. A server without endpoints is new if no pool has it.
func (m *merger) unknown(pool string, s *catalog.Server) []catalog.Endpoint {
	if len(s.Endpoints) == 0 {
		if len(m.known.Host(s.Host())) > 0 {
			m.report.Same++
			return nil
		}
		m.report.New++
		return []catalog.Endpoint{}
	}
	var out []catalog.Endpoint
	for _, e := range s.Endpoints {
		if m.elsewhere(pool, s.Host(), &e) {
			m.report.Same++
			continue
		}
		m.report.New++
		out = append(out, e)
	}
	return out
}

// elsewhere tells whether another pool has an endpoint, with the same coin where one is told.
func (m *merger) elsewhere(pool, host string, e *catalog.Endpoint) bool {
	return slices.ContainsFunc(m.known.Host(host), func(r catalog.Row) bool {
		return r.Pool.ID != pool && r.Endpoint.Port == e.Port && (e.Coin == "" || r.Endpoint.Coin == e.Coin)
	})
}

// server adds to a server that the pool has.
func (m *merger) server(id string, p *catalog.Pool, at int, in *catalog.Server) {
	s := &p.Servers[at]
	if in.Region != "" && in.Region != s.Region {
		m.change(id, s.Host(), 0, differs("region", s.Region, in.Region))
		s.Region = in.Region
	} else if len(in.Endpoints) == 0 {
		m.report.Same++
	}
	ports := map[uint16][]int{}
	for i := range s.Endpoints {
		ports[s.Endpoints[i].Port] = append(ports[s.Endpoints[i].Port], i)
	}
	for _, e := range in.Endpoints {
		e.Provenance = over(e.Provenance, in.Provenance)
		switch i := match(s.Endpoints, ports[e.Port], e.Coin); {
		case e.Coin == "" && m.elsewhere(id, s.Host(), &e):
			m.report.Same++ // whose coin it would be is not told
		case i >= 0:
			m.endpoint(id, p, s, i, &e)
		case m.elsewhere(id, s.Host(), &e):
			m.report.Same++
		default:
			m.report.New++
			e.Provenance = without(e.Provenance, over(s.Provenance, p.Provenance))
			ports[e.Port] = append(ports[e.Port], len(s.Endpoints))
			s.Endpoints = append(s.Endpoints, e)
		}
	}
}

// match gives which of the endpoints of a port has the coin, else the first where either side does not tell the coin; -1 if
// none.
func match(endpoints []catalog.Endpoint, ofPort []int, coin string) int {
	found := -1
	for _, i := range ofPort {
		has := endpoints[i].Coin
		if has == coin {
			return i
		}
		if found < 0 && (has == "" || coin == "") {
			found = i
		}
	}
	return found
}

// endpoint changes an endpoint by what an import tells, if that differs.
func (m *merger) endpoint(id string, p *catalog.Pool, s *catalog.Server, at int, in *catalog.Endpoint) {
	e := &s.Endpoints[at]
	var what []string
	// What the row leaves to its coin is compared with what the coin says.
	dialect, algorithm := e.Dialect, e.Algorithm
	if coin := m.known.Coin(cmp.Or(e.Coin, in.Coin)); coin != nil {
		dialect, algorithm = cmp.Or(dialect, coin.Dialect), cmp.Or(algorithm, coin.Algorithm)
	}
	for _, f := range []struct {
		name     string
		old      string
		field    *string
		imported string
	}{
		{"coin", e.Coin, &e.Coin, in.Coin},
		{"dialect", dialect, &e.Dialect, in.Dialect},
		{"algorithm", algorithm, &e.Algorithm, in.Algorithm},
		{"note", e.Note, &e.Note, in.Note},
	} {
		if f.imported != "" && f.imported != f.old {
			what = append(what, differs(f.name, f.old, f.imported))
			*f.field = f.imported
		}
	}
	if in.TLS && !e.TLS {
		what = append(what, differs("tls", "false", "true"))
		e.TLS = true
	}
	if len(what) == 0 {
		m.report.Same++
		return
	}
	e.Provenance = without(over(in.Provenance, over(e.Provenance, over(s.Provenance, p.Provenance))), over(s.Provenance, p.Provenance))
	m.change(id, s.Host(), e.Port, strings.Join(what, ", "))
}

func (m *merger) change(pool, host string, port uint16, what string) {
	m.report.Changed = append(m.report.Changed, Change{pool, host, port, what})
}

func differs(field, old, now string) string {
	return fmt.Sprintf("%s %s → %s", field, cmp.Or(old, "unknown"), now)
}

// over fills what p leaves open with what stands above it.
func over(p, above catalog.Provenance) catalog.Provenance {
	return catalog.Provenance{
		Source: cmp.Or(p.Source, above.Source), AsOf: cmp.Or(p.AsOf, above.AsOf), Confidence: cmp.Or(p.Confidence, above.Confidence),
	}
}

// without leaves out what stands above.
func without(p, above catalog.Provenance) catalog.Provenance {
	if p.Source == above.Source {
		p.Source = ""
	}
	if p.AsOf == above.AsOf {
		p.AsOf = ""
	}
	if p.Confidence == above.Confidence {
		p.Confidence = ""
	}
	return p
}
