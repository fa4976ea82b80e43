package web

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/lookup"
)

// Addresses of pages.

// pathOf makes a part of a path. What is longer than any name is cut: it leads nowhere.
func pathOf(s string) string { return url.PathEscape(s[:min(len(s), catalog.MaxText)]) }

func poolPath(id string) string     { return "/pools/" + pathOf(id) }
func serverPath(host string) string { return "/servers/" + pathOf(host) }
func coinPath(symbol string) string { return "/coins/" + pathOf(symbol) }
func portPath(port uint16) string   { return "/?q=" + url.QueryEscape(":"+strconv.Itoa(int(port))) }
func addressPath(a netip.Addr) string {
	return "/?q=" + url.QueryEscape(a.String())
}

func endpointPath(a netip.Addr, port uint16) string {
	return "/endpoints/" + url.PathEscape(a.String()) + "/" + strconv.Itoa(int(port))
}

// matches gives every endpoint that is known: those of the catalogue with each address they ever had, and those that
// only the history knows.
func (c *call) matches() []lookup.Match {
	x := c.cfg.Index
	var all []lookup.Match
	for _, network := range []string{"0.0.0.0/0", "::/0"} {
		found := x.Find(lookup.Query{Kind: lookup.ByPrefix, Prefix: netip.MustParsePrefix(network)}, maxRows)
		all = append(all, found.Matches...)
	}
	cat := x.Catalog()
	for _, host := range cat.Hosts() {
		rows := cat.Host(host)
		if rows[0].Server.Name == "" {
			continue
		}
		for _, m := range x.Find(lookup.Query{Kind: lookup.ByName, Name: host}, maxRows).Matches {
			if !m.Address.IsValid() {
				all = append(all, m)
			}
		}
	}
	return once(all)
}

// once joins matches that differ only in when a name had the address.
func once(all []lookup.Match) []lookup.Match {
	type key struct {
		pool, server string
		addr         netip.Addr
		port         uint16
		coin         string
		tls          bool
	}
	seen := map[key]int{}
	out := all[:0:0]
	for _, m := range all {
		k := key{m.Pool, m.Server, m.Address, m.Port, m.Coin, m.TLS}
		i, ok := seen[k]
		if !ok {
			seen[k] = len(out)
			out = append(out, m)
			continue
		}
		if !m.AddressFrom.IsZero() && m.AddressFrom.Before(out[i].AddressFrom) {
			out[i].AddressFrom = m.AddressFrom
		}
		if m.AddressLastSeen.After(out[i].AddressLastSeen) {
			out[i].AddressLastSeen, out[i].Mark = m.AddressLastSeen, m.Mark
		}
	}
	return out
}

// of gives the matches of rows of the catalogue.
func (c *call) of(rows []catalog.Row) []lookup.Match {
	want := map[*catalog.Endpoint]bool{}
	hosts := map[string]bool{}
	var all []lookup.Match
	for _, r := range rows {
		want[r.Endpoint] = true
		if hosts[r.Server.Host()] {
			continue
		}
		hosts[r.Server.Host()] = true
		q := lookup.Query{Kind: lookup.ByName, Name: r.Server.Name}
		if a := r.Server.Address; a.IsValid() {
			q = lookup.Query{Kind: lookup.ByAddress, Prefix: netip.PrefixFrom(a, a.BitLen())}
		}
		all = append(all, c.cfg.Index.Find(q, maxRows).Matches...)
	}
	type place struct {
		pool, host string
		port       uint16
		coin       string
	}
	places := map[place]bool{}
	for _, r := range rows {
		places[place{r.Pool.ID, r.Server.Host(), r.Endpoint.Port, r.Endpoint.Coin}] = true
	}
	out := all[:0:0]
	for _, m := range all {
		if places[place{m.Pool, host(m), m.Port, m.Coin}] {
			out = append(out, m)
		}
	}
	return once(out)
}

// host is the name of a match's server, or its address where the catalogue has it by that.
func host(m lookup.Match) string {
	if m.Server == "" && m.Pool != "" {
		return m.Address.String()
	}
	return m.Server
}

// matchColumns are those of endpoints.
func matchColumns() []column[lookup.Match] {
	type match = lookup.Match
	return []column[match]{
		{key: "pool", label: "Pool", compare: byWord(func(m *match) string { return m.PoolName }), filter: true, cell: func(m *match) cell {
			if m.Pool == "" {
				return cell{Text: "not in the catalogue"}
			}
			return cell{Text: brief(m.PoolName), Href: poolPath(m.Pool)}
		}},
		{key: "server", label: "Server", compare: byWord(func(m *match) string { return host(*m) }), cell: func(m *match) cell {
			if host(*m) == "" {
				return cell{}
			}
			return cell{Text: brief(host(*m)), Href: serverPath(host(*m))}
		}},
		{key: "address", label: "Address", compare: byAddress(func(m *match) netip.Addr { return m.Address }), cell: func(m *match) cell {
			if !m.Address.IsValid() {
				return cell{}
			}
			return cell{Text: m.Address.String(), Href: endpointPath(m.Address, m.Port)}
		}},
		{key: "port", label: "Port", number: true, compare: by(func(m *match) uint16 { return m.Port }), cell: func(m *match) cell {
			return cell{Text: strconv.Itoa(int(m.Port)), Href: portPath(m.Port)}
		}},
		{key: "tls", label: "TLS", compare: byWord(func(m *match) string { return yes(m.TLS).Text }), filter: true, cell: func(m *match) cell { return yes(m.TLS) }},
		{key: "coin", label: "Coin", compare: byWord(func(m *match) string { return m.Coin }), filter: true, cell: func(m *match) cell {
			if m.CoinName == "" {
				return cell{Text: m.Coin}
			}
			return cell{Text: m.Coin, Href: coinPath(m.Coin)}
		}},
		{key: "dialect", label: "Protocol", compare: byWord(func(m *match) string { return m.Dialect }), filter: true, cell: func(m *match) cell { return cell{Text: m.Dialect} }},
		{key: "status", label: "Status", compare: byWord(func(m *match) string { return string(m.Status) }), filter: true, cell: func(m *match) cell {
			return cell{Status: cmp.Or(string(m.Status), "not asked")}
		}},
		{key: "first_seen", label: "First seen", compare: byTime(func(m *match) time.Time { return m.FirstSeen }), cell: func(m *match) cell { return cell{Time: m.FirstSeen} }},
		{key: "last_seen", label: "Last seen", compare: byTime(func(m *match) time.Time { return m.LastSeen }), cell: func(m *match) cell { return cell{Time: m.LastSeen} }},
		{key: "last_proof", label: "Last proof", compare: byTime(func(m *match) time.Time { return m.LastProof }), cell: func(m *match) cell { return cell{Time: m.LastProof} }},
		{key: "mark", label: "Also", compare: byWord(func(m *match) string { return m.Mark }), cell: func(m *match) cell { return cell{Text: m.Mark} }},
		{key: "confidence", label: "Confidence", compare: byWord(func(m *match) string { return string(m.Confidence) }), filter: true, cell: func(m *match) cell { return cell{Text: string(m.Confidence)} }},
		{key: "source", label: "Source", compare: byWord(func(m *match) string { return m.Source }), cell: func(m *match) cell { return cell{Hostile: defang(m.Source), Tight: true} }},
		{key: "as_of", label: "As of", compare: byWord(func(m *match) string { return m.AsOf }), cell: func(m *match) cell { return cell{Text: m.AsOf} }},
	}
}

// sentences says why an endpoint is taken for a pool's.
func sentences(m lookup.Match) []string {
	var why []string
	if m.Pool != "" {
		s := fmt.Sprintf("The catalogue says that %s has %s with port %d", brief(m.PoolName), brief(host(m)), m.Port)
		if m.Coin != "" {
			s += " for " + brief(cmp.Or(m.CoinName, m.Coin))
		}
		if m.TLS {
			s += ", over TLS"
		}
		if m.Source != "" {
			s += "; read in " + visible(defang(m.Source), maxText)
			if m.AsOf != "" {
				s += " as of " + m.AsOf
			}
		}
		if m.Confidence != "" {
			s += fmt.Sprintf(" (confidence %s)", m.Confidence)
		}
		why = append(why, s+".")
	}
	if !m.AddressFrom.IsZero() {
		s := fmt.Sprintf("%s had the address %s from %s, last seen %s", m.Server, m.Address, stamp(m.AddressFrom), stamp(m.AddressLastSeen))
		if m.Mark != "" {
			s += fmt.Sprintf("; the address is also %s, so others may be behind it", markText(m.Mark))
		}
		why = append(why, s+".")
	}
	return why
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func markText(mark string) string {
	switch mark {
	case "cdn":
		return "a content delivery network's"
	case "shared":
		return "shared by many names"
	case "resolver":
		return "a public DNS resolver's"
	}
	return brief(mark)
}

// verdictText says what a verdict means.
func verdictText(s minecanary.VerdictStatus) string {
	switch s {
	case minecanary.Confirmed:
		return "it answered as a mining pool does"
	case minecanary.Node:
		return "it is a coin's node, not a pool"
	case minecanary.NotPool:
		return "it answered as no pool can"
	case minecanary.Inconclusive:
		return "nothing could be told from what it answered"
	case minecanary.Blocked:
		return "it could not be asked"
	}
	return "it was not asked"
}
