package importer

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/minecanary/minecanary/intel/catalog"
)

// columns says which column fills which field of a row.
type columns map[string]func(r *row, value string) error

func text(field func(*row) *string) func(*row, string) error {
	return func(r *row, v string) error { *field(r) = v; return nil }
}

func parsePort(v string) (uint16, error) {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not 1 to 65535", v[:min(len(v), maxQuoted)])
	}
	return uint16(n), nil
}

func port(r *row, v string) (err error) {
	if v != "" {
		r.port, err = parsePort(v)
	}
	return err
}

func coin(r *row, v string) error { r.coin = strings.ToUpper(v); return nil }

// ignored are columns without a meaning for us.
func ignored(*row, string) error { return nil }

// host takes a name or an address, also with a port behind.
func host(r *row, v string) error {
	if v == "" {
		return nil
	}
	h, p, tls, err := hostPort(v)
	if err != nil {
		return err
	}
	r.host, r.port, r.tls = h, cmp.Or(p, r.port), r.tls || tls
	return nil
}

// address takes an address unless the row has a name: then it is the name's at one time, which is for the resolver to tell.
func address(r *row, v string) error {
	if r.host != "" {
		return nil
	}
	return host(r, v)
}

func ownTLS(r *row, v string) error {
	switch strings.ToLower(v) {
	case "true", "1", "yes", "tls", "ssl":
		r.tls = true
	case "", "false", "0", "no", "tcp", "plain":
	default:
		return fmt.Errorf("tls %q is neither true nor false", v[:min(len(v), maxQuoted)])
	}
	return nil
}

func url(r *row, v string) error { r.urls = append(r.urls, v); return nil }

var ownColumns = columns{
	"pool": text(func(r *row) *string { return &r.pool }), "pool_url": url,
	"kind":   func(r *row, v string) error { r.kind = catalog.Kind(v); return nil },
	"server": host, "host": host, "name": host, "address": address, "port": port, "tls": ownTLS,
	"coin": coin, "dialect": text(func(r *row) *string { return &r.dialect }), "algorithm": text(func(r *row) *string { return &r.algorithm }),
	"region": text(func(r *row) *string { return &r.region }), "note": text(func(r *row) *string { return &r.note }),
	"source": text(func(r *row) *string { return &r.provenance.Source }), "as_of": text(func(r *row) *string { return &r.provenance.AsOf }),
	"confidence": func(r *row, v string) error { r.provenance.Confidence = catalog.Confidence(v); return nil },
}

// smashedColumns are those of content.csv. Its query has two columns url, the pool's and the coin's; where they became one
// column it is the later, the coin's. So the pool's is known only if there are two (see smashedURL).
var smashedColumns = columns{
	"id": ignored, "address": address, "fqdn": host, "pool_name": text(func(r *row) *string { return &r.pool }), "url": url,
	"port_number": port, "crypto_name": ignored, "abbreviation": coin,
}

// smashedURL leaves only a page that is the pool's for sure.
func smashedURL(urls []string) []string {
	if len(urls) == 2 && urls[0] != urls[1] {
		return urls[:1]
	}
	return nil
}

// csv reads RFC 4180 with a header.
func (b *builder) csv(data []byte, known columns) error {
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("no header")
	}
	if err != nil {
		return err
	}
	_, smashed := known["fqdn"]
	named := false
	for i, h := range header {
		header[i] = columnName(h)
		if known[header[i]] == nil {
			return fmt.Errorf("unknown column %q", h[:min(len(h), maxQuoted)])
		}
		named = named || isHost(header[i])
	}
	if !named {
		return errors.New("no column for the server")
	}
	for !b.full {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			b.problem(place{line: bad.StartLine}, "not CSV: %v", bad.Err)
			continue // the reader goes on behind it
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		at := place{line: line}
		if len(record) != len(header) {
			b.problem(at, "%d fields instead of %d", len(record), len(header))
			continue
		}
		out, err := known.row(header, record)
		if err != nil {
			b.problem(at, "%v", err)
			continue
		}
		if smashed {
			out.urls = smashedURL(out.urls)
		}
		b.add(at, out)
	}
	return nil
}

func columnName(h string) string { return strings.ToLower(strings.TrimSpace(h)) }

// isHost tells whether a column names the server.
func isHost(column string) bool {
	switch column {
	case "server", "host", "name", "address", "fqdn":
		return true
	}
	return false
}

// row reads the fields of one record.
func (c columns) row(header, record []string) (row, error) {
	var r row
	for i, v := range record {
		if err := c[header[i]](&r, plain(strings.TrimSpace(v))); err != nil {
			return r, err
		}
	}
	return r, nil
}

// plain takes the apostrophe away that an export, ours too, puts before what a spreadsheet would take for a formula.
func plain(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.IndexByte("=+-@", cell[1]) >= 0 {
		return cell[1:]
	}
	return cell
}

// smashedTables are sMaSheD's tables as its web application shows them under /pool/json and so on, put together in one
// object. Databases differ in whether numbers are quoted. Addresses are those of names, which our resolver learns itself.
type smashedTables struct {
	Pools []struct {
		ID        json.Number
		Name, URL string
	}
	Servers []struct {
		ID     json.Number
		FQDN   string
		PoolID json.Number `json:"pool_id"`
	}
	Ports []struct {
		Number   json.Number
		ServerID json.Number `json:"server_id"`
		CryptoID json.Number `json:"crypto_id"`
	}
	Cryptos []struct {
		ID           json.Number
		Abbreviation string
	}
}

func (b *builder) smashed(data []byte) error {
	var t smashedTables
	if err := json.Unmarshal(data, &t); err != nil {
		return err
	}
	if len(t.Servers) == 0 {
		return errors.New("no table of servers")
	}
	// The keys are what JSON holds, of which a database writes one form.
	pools, coins, ports, servers := map[json.Number]row{}, map[json.Number]string{}, map[json.Number][]row{}, map[json.Number]bool{}
	for _, p := range t.Pools {
		pools[p.ID] = row{pool: p.Name, urls: []string{p.URL}}
	}
	for _, c := range t.Cryptos {
		coins[c.ID] = strings.ToUpper(c.Abbreviation)
	}
	for _, s := range t.Servers {
		servers[s.ID] = true
	}
	for i, p := range t.Ports {
		at := place{row: fmt.Sprintf("ports, row %d", i+1)}
		number, err := parsePort(p.Number.String())
		coin, ok := coins[p.CryptoID]
		switch {
		case err != nil:
			b.problem(at, "%v", err)
		case !servers[p.ServerID]:
			b.problem(at, "no server has the id %q", short(p.ServerID))
		case !ok:
			b.problem(at, "no crypto has the id %q", short(p.CryptoID))
		default:
			ports[p.ServerID] = append(ports[p.ServerID], row{port: number, coin: coin})
		}
	}
	for i, s := range t.Servers {
		at := place{row: fmt.Sprintf("servers, row %d", i+1)}
		r, ok := pools[s.PoolID]
		if !ok {
			b.problem(at, "no pool has the id %q", short(s.PoolID))
			continue
		}
		if err := host(&r, s.FQDN); err != nil {
			b.problem(at, "%v", err)
			continue
		}
		if len(ports[s.ID]) == 0 {
			b.add(at, r)
		}
		for _, p := range ports[s.ID] {
			r.port, r.coin = p.port, p.coin
			b.add(at, r)
		}
		delete(ports, s.ID) // a second server of the same id has none
	}
	return nil
}

// short bounds a number for people.
func short(n json.Number) string { return string(n[:min(len(n), maxQuoted)]) }

// mispEvent is what we read of an event: draft-00 of the MISP core format, sections 2.2.1, 2.4 and 2.6.
type mispEvent struct {
	Attribute []mispAttribute
	Object    []struct{ Attribute []mispAttribute }
}

type mispAttribute struct {
	Type, Value string
	Deleted     bool
	// Relation says what the attribute is to its object.
	Relation string `json:"object_relation"`
}

// misp reads {"Event": …}, a list of such, or {"response": [...]}.
func (b *builder) misp(data []byte) error {
	type wrapped struct{ Event *mispEvent }
	var events []wrapped
	var one struct {
		Event    *mispEvent
		Response []wrapped
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		if err := json.Unmarshal(data, &events); err != nil {
			return err
		}
	} else {
		if err := json.Unmarshal(data, &one); err != nil {
			return err
		}
		events = append(one.Response, wrapped{one.Event})
	}
	n := 0
	for _, e := range events {
		if e.Event == nil {
			continue
		}
		n = b.attributes(n, e.Event.Attribute, nil)
		for _, o := range e.Event.Object {
			n = b.attributes(n, o.Attribute, objectPorts(o.Attribute))
		}
	}
	if n == 0 {
		return errors.New("no attributes of an event")
	}
	return nil
}

// objectPorts gives the ports of an object's server: those of the templates ip-port and domain-ip.
func objectPorts(all []mispAttribute) []string {
	var ports []string
	for _, a := range all {
		if a.Type == "port" && !a.Deleted && (a.Relation == "dst-port" || a.Relation == "port") {
			ports = append(ports, a.Value)
		}
	}
	return ports
}

// maxObjectPorts is how many ports of one object count.
const maxObjectPorts = 100

// attributes takes what names a server; other types are passed over. n is how many attributes of the file came before,
// and with these is given back. ports are for those that have none of their own.
func (b *builder) attributes(n int, all []mispAttribute, ports []string) int {
	ports = ports[:min(len(ports), maxObjectPorts)]
	for _, a := range all {
		n++
		if a.Deleted {
			continue
		}
		at := place{row: fmt.Sprintf("attribute %d", n)}
		r, number, ok, err := mispRow(a)
		switch {
		case err == nil && !ok:
			continue
		case err == nil && number == "" && r.port == 0 && len(ports) > 0:
			for _, p := range ports {
				if err := port(&r, p); err != nil {
					b.problem(at, "%v", err)
				} else {
					b.add(at, r)
				}
			}
			continue
		case err == nil:
			err = port(&r, number)
		}
		if err != nil {
			b.problem(at, "%v", err)
			continue
		}
		b.add(at, r)
	}
	return n
}

// mispRow reads an attribute that names a server, as a destination; ok is false for all others.
func mispRow(a mispAttribute) (r row, port string, ok bool, err error) {
	first, second, _ := strings.Cut(a.Value, "|")
	switch a.Type {
	case "domain", "hostname", "ip-dst", "domain|ip":
		return row{host: first}, "", true, nil
	case "hostname|port", "ip-dst|port":
		return row{host: first}, second, true, nil
	case "url", "uri":
		r.host, r.port, r.tls, err = hostPort(a.Value)
		return r, "", true, err
	}
	return r, "", false, nil
}
