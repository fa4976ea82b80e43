// Package importer reads what others know of pools into the form of the catalogue: sMaSheD's tables, plain lists and hosts
// files, CSV, and MISP's events. What a row does not tell (coin, port) stays open; nothing is guessed. Merge tells what is
// new in an import.
package importer

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
)

// Bounds of an import.
const (
	// MaxData is the largest file in bytes.
	MaxData = 64 << 20
	// MaxRows is how many servers and endpoints are taken from a file, as many as a catalogue file may have endpoints.
	MaxRows = catalog.MaxRows
	// MaxProblems is how many wrong rows a file may have: reading ends there, and a last problem says so.
	MaxProblems = 10_000
	// maxQuoted is how many bytes of a value a problem quotes.
	maxQuoted = 100
)

// Format is a form of file.
type Format string

// The formats.
const (
	Catalogue   Format = "catalogue"    // our own YAML
	SmashedJSON Format = "smashed-json" // an object of sMaSheD's tables: pools, servers, ports, cryptos
	SmashedCSV  Format = "smashed-csv"  // content.csv of its api-server
	List        Format = "list"         // a name, an address, a network of one, or host:port a line
	Hosts       Format = "hosts"        // hosts(5), as blockers use it: 0.0.0.0 name
	CSV         Format = "csv"          // a header of our field names
	MISP        Format = "misp"         // MISP's JSON: an event, or events
)

// Formats gives all formats.
func Formats() []Format {
	return []Format{Catalogue, SmashedJSON, SmashedCSV, List, Hosts, CSV, MISP}
}

// Options say what a file does not tell by itself.
type Options struct {
	// Name is what problems call the file; "" is "import".
	Name string
	// Pool is the ID and PoolName the name of the pool for rows that name none; "" is "imported" and "Imported".
	Pool, PoolName string
	// Provenance is for rows that have none of their own.
	catalog.Provenance
}

// Import reads a file. Wrong rows are problems by line, in JSON by the row's number, and are left out. The error is for a
// file that cannot be read at all. The rows of the layer have passed the catalogue's checks, but for whether it has the coin.
func Import(format Format, data []byte, o Options) (catalog.Layer, []catalog.Problem, error) {
	if len(data) > MaxData {
		return catalog.Layer{}, nil, fmt.Errorf("import: larger than %d bytes", MaxData)
	}
	o.Name = cmp.Or(o.Name, "import")
	o.Pool, o.PoolName = cmp.Or(o.Pool, "imported"), cmp.Or(o.PoolName, "Imported")
	b := builder{options: o, pools: map[string]*pool{}}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var err error
	switch format {
	case Catalogue:
		layer, problems := catalog.Parse(o.Name, data)
		for i := range layer.Pools {
			layer.Pools[i].Provenance = over(layer.Pools[i].Provenance, o.Provenance)
		}
		layer, wrong := Vet(layer)
		return layer, append(problems, wrong...), nil
	case SmashedJSON:
		err = b.smashed(data)
	case SmashedCSV:
		err = b.csv(data, smashedColumns)
	case CSV:
		err = b.csv(data, ownColumns)
	case List:
		b.list(data)
	case Hosts:
		b.hosts(data)
	case MISP:
		err = b.misp(data)
	default:
		return catalog.Layer{}, nil, fmt.Errorf("import: unknown format %q", format)
	}
	if err != nil {
		return catalog.Layer{}, nil, fmt.Errorf("import %s: %w", format, err)
	}
	return b.layer(), b.problems, nil
}

// posing tells why a name is no pool's although lists take it for one: it is an exchange's, a wallet's or a shop's. "" if it
// may be.
func posing(name string) string {
	if name == "" {
		return ""
	}
	alone := catalog.Pool{ID: "x", Name: "x", Servers: []catalog.Server{{Name: name}}}
	if problems := catalog.New(catalog.Layer{Pools: []catalog.Pool{alone}}).Lint(); len(problems) > 0 {
		return problems[0].Reason // of a name alone it has nothing else to say
	}
	return ""
}

// Vet takes the servers out of a layer that exchanges, wallets and shops have, with the pools that have no other, and says
// which. Import has done so.
func Vet(l catalog.Layer) (catalog.Layer, []catalog.Problem) {
	var problems []catalog.Problem
	pools := l.Pools
	l.Pools = nil
	for _, p := range pools {
		var servers []catalog.Server
		for _, s := range p.Servers {
			if reason := posing(s.Name); reason != "" {
				problems = append(problems, catalog.Problem{File: p.Layer, Reason: reason})
			} else {
				servers = append(servers, s)
			}
		}
		if len(servers) > 0 || len(p.Servers) == 0 {
			p.Servers = servers
			l.Pools = append(l.Pools, p)
		}
	}
	return l, problems
}

// row is one fact, as far as the file tells it.
type row struct {
	pool, region       string
	urls               []string // of the pool, and in sMaSheD's CSV of the coin
	kind               catalog.Kind
	host               string // a name or a literal address
	port               uint16
	tls                bool
	coin               string
	dialect, algorithm string
	note               string
	provenance         catalog.Provenance
}

// place is where a row stands: a line, or in JSON the name and number of the row.
type place struct {
	line int
	row  string
}

// pool is a pool that is being gathered, with where its servers and endpoints stand.
type pool struct {
	catalog.Pool
	servers   map[string]int
	endpoints map[endpoint]bool
}

type endpoint struct {
	server int
	port   uint16
	coin   string
}

// builder gathers rows into pools.
type builder struct {
	options  Options
	pools    map[string]*pool
	problems []catalog.Problem
	rows     int
	// full tells that a bound was reached: no more is read.
	full bool
}

func (b *builder) problem(at place, format string, args ...any) {
	if b.full {
		return
	}
	reason := fmt.Sprintf(format, args...)
	if at.row != "" {
		reason = at.row + ": " + reason
	}
	b.problems = append(b.problems, catalog.Problem{File: b.options.Name, Line: at.line, Reason: reason})
	if len(b.problems) == MaxProblems {
		b.stop(at, "%d rows are wrong; no more is read", MaxProblems)
	}
}

// stop ends the reading with a reason.
func (b *builder) stop(at place, format string, args ...any) {
	b.problems = append(b.problems, catalog.Problem{File: b.options.Name, Line: at.line, Reason: fmt.Sprintf(format, args...)})
	b.full = true
}

// add takes a row, or says what is wrong with it.
func (b *builder) add(at place, r row) {
	if b.full {
		return
	}
	id, name := b.options.Pool, b.options.PoolName
	if r.pool != "" {
		id, name = slug(r.pool), r.pool
	}
	s := catalog.Server{Region: r.region}
	if addr, err := netip.ParseAddr(r.host); err == nil {
		s.Address = minecanary.CanonicalAddr(addr)
	} else if s.Name = catalog.CanonicalName(r.host); len(s.Name) > maxQuoted && catalog.BadName(s.Name) != "" {
		b.problem(at, "%q… is no fully qualified domain name", strings.ToValidUTF8(s.Name[:maxQuoted], "?"))
		return
	}
	if r.port == 0 {
		// What does not tell the port cannot stand as an endpoint.
		s.Provenance = r.provenance
	} else {
		s.Endpoints = []catalog.Endpoint{{
			Port: r.port, TLS: r.tls, Coin: r.coin, Dialect: r.dialect, Algorithm: r.algorithm, Note: r.note, Provenance: r.provenance,
		}}
	}
	url := ""
	if len(r.urls) > 0 {
		url = r.urls[0]
	}
	one := catalog.Pool{
		ID: id, Name: name, URL: url, Kind: cmp.Or(r.kind, catalog.Public), Provenance: b.options.Provenance, Servers: []catalog.Server{s},
	}
	if reasons := one.Check(func(string) bool { return true }); len(reasons) > 0 {
		b.problem(at, "%s", strings.TrimPrefix(strings.TrimPrefix(reasons[0], "server 1: "), "server 1, endpoint 1: "))
		return
	}
	p := b.pools[id]
	if p == nil {
		one.Servers = nil
		p = &pool{Pool: one, servers: map[string]int{}, endpoints: map[endpoint]bool{}}
		b.pools[id] = p
	}
	p.URL = cmp.Or(p.URL, url)
	b.server(at, p, s)
}

// server adds a server or what is new of it.
func (b *builder) server(at place, p *pool, s catalog.Server) {
	i, ok := p.servers[s.Host()]
	if !ok {
		if reason := posing(s.Name); reason != "" {
			b.problem(at, "%s", reason)
			return
		}
		if !b.room(at) {
			return
		}
		i = len(p.Servers)
		p.servers[s.Host()] = i
		p.Servers = append(p.Servers, s)
		p.Servers[i].Endpoints = nil
	}
	for _, e := range s.Endpoints {
		key := endpoint{i, e.Port, e.Coin}
		if p.endpoints[key] {
			continue
		}
		if !b.room(at) {
			return
		}
		p.endpoints[key] = true
		p.Servers[i].Endpoints = append(p.Servers[i].Endpoints, e)
	}
}

// room counts what is taken.
func (b *builder) room(at place) bool {
	if b.rows++; b.rows > MaxRows {
		b.stop(at, "there are more than %d servers and endpoints; no more is read", MaxRows)
	}
	return !b.full
}

// layer gives the pools by ID.
func (b *builder) layer() catalog.Layer {
	var l catalog.Layer
	for _, p := range b.pools {
		if len(p.Servers) > 0 {
			l.Pools = append(l.Pools, p.Pool)
		}
	}
	slices.SortFunc(l.Pools, func(a, b catalog.Pool) int { return cmp.Compare(a.ID, b.ID) })
	return l
}

// maxSlug is the length of the longest ID.
const maxSlug = 63

// slug makes an ID of a name.
func slug(name string) string {
	var out []byte
	for _, c := range []byte(strings.ToLower(name)) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			out = append(out, c)
		case len(out) > 0 && out[len(out)-1] != '-':
			out = append(out, '-')
		}
	}
	return strings.Trim(string(out[:min(len(out), maxSlug)]), "-")
}

// hostPort takes host, host:port, [v6]:port or a miner's URL apart; number is 0 if there is no port. Of a URL the user and
// what follows the port are left out.
func hostPort(s string) (host string, number uint16, tls bool, err error) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			rest = rest[:i]
		}
		s = rest[strings.LastIndexByte(rest, '@')+1:]
		tls = secure(scheme)
	}
	if p, err := netip.ParsePrefix(s); err == nil && p.IsSingleIP() {
		return p.Addr().String(), 0, tls, nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 {
		return ap.Addr().String(), ap.Port(), tls, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.String(), 0, tls, nil
	}
	host, text, found := strings.Cut(s, ":")
	if !found {
		return host, 0, tls, nil
	}
	number, err = parsePort(text)
	return host, number, tls, err
}

// secure tells whether a miner's scheme asks for TLS: stratum+ssl, stratum2+tls, stratums, stratums1, ssl, https, wss.
func secure(scheme string) bool {
	scheme = strings.ToLower(scheme)
	return strings.HasSuffix(scheme, "ssl") || strings.HasSuffix(scheme, "tls") || strings.HasPrefix(scheme, "stratums") ||
		scheme == "https" || scheme == "wss"
}

// separators stand between the entries of a list.
const separators = " \t,\r\n"

func fieldsOf(line string) []string {
	return strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(separators, r) })
}

// list reads entries by line; what follows # is a comment.
func (b *builder) list(data []byte) {
	at := place{}
	for line := range bytes.Lines(data) {
		at.line++
		text, _, _ := strings.Cut(string(line), "#")
		for _, field := range fieldsOf(text) {
			host, port, tls, err := hostPort(field)
			if err != nil {
				b.problem(at, "%v", err)
			} else {
				b.add(at, row{host: host, port: port, tls: tls})
			}
			if b.full {
				return
			}
		}
	}
}

// hosts reads hosts(5): the address is that of nowhere, the names count. Names of the machine itself are passed over.
func (b *builder) hosts(data []byte) {
	at := place{}
	for line := range bytes.Lines(data) {
		at.line++
		text, _, _ := strings.Cut(string(line), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if _, err := netip.ParseAddr(fields[0]); err != nil || len(fields) < 2 {
			b.problem(at, "not an address and names behind it")
		}
		for _, name := range fields[1:] {
			if _, err := netip.ParseAddr(fields[0]); err == nil && !ofMachine(name) {
				b.add(at, row{host: name})
			}
		}
		if b.full {
			return
		}
	}
}

// ofMachine tells whether a name of a hosts file is the machine's own: localhost, broadcasthost, ip6-allnodes,
// localhost.localdomain, and the line "0.0.0.0 0.0.0.0" of blockers.
func ofMachine(name string) bool {
	return !strings.Contains(name, ".") || strings.HasPrefix(name, "localhost.") || name == "0.0.0.0"
}
