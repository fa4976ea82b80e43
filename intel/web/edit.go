package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
)

// field is one of a form.
type field struct {
	Name, Label, Hint string
	// Kind is text, select, checkbox or date; "" is text.
	Kind, Value string
	Options     []option
	Required    bool
	Error       string
}

type option struct{ Value, Text string }

// form is a page with a form.
type form struct {
	Title  string
	Fields []field
	// General are the reasons that belong to no field.
	General []string
	// Was is the fingerprint of what is changed: who sends the form has seen that and nothing else.
	Was string
	// Submit is on the button, Cancel the page to go back to.
	Submit, Cancel string
	// Danger tells that the button removes; Losses is what goes with it.
	Danger bool
	Losses []string
}

// wrong says why a row cannot stand in the catalogue.
type wrong struct{ reasons []string }

func (e *wrong) Error() string { return strings.Join(e.reasons, "; ") }

// errChanged says that what a form is about was changed by others since it was shown.
var errChanged = errors.New("it was changed meanwhile by somebody else; go back, look at it and change it again")

// get gives a value of the form, without space around it.
func (f *form) get(name string) string {
	for _, fd := range f.Fields {
		if fd.Name == name {
			return fd.Value
		}
	}
	return ""
}

// read takes the values that were sent.
func (f *form) read(r *http.Request) {
	for i := range f.Fields {
		f.Fields[i].Value = strings.TrimSpace(r.PostForm.Get(f.Fields[i].Name))
	}
}

// ownPart is what Check says before a reason about the one server or endpoint it was asked about.
var ownPart = regexp.MustCompile(`^server 1(, endpoint 1)?: `)

// place puts each reason beside its field.
func (f *form) place(reasons []string) {
	for _, r := range reasons {
		r = ownPart.ReplaceAllString(r, "")
		name, _, _ := strings.Cut(r, " ")
		switch {
		case strings.HasSuffix(r, "must have a name"):
			name = "name"
		case strings.HasPrefix(r, "a server "), strings.HasPrefix(r, "address "), strings.HasPrefix(r, `"`):
			name = "host"
		case strings.Contains(r, "must have a port"):
			name = "port"
		case strings.HasPrefix(r, "the catalogue has no coin"):
			name = "coin"
		}
		i := slices.IndexFunc(f.Fields, func(fd field) bool { return fd.Name == name })
		if i < 0 {
			f.General = append(f.General, brief(r))
			continue
		}
		if f.Fields[i].Error != "" {
			f.Fields[i].Error += "; "
		}
		f.Fields[i].Error += brief(r)
	}
}

// fingerprint tells two states of a row apart.
func fingerprint(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "" // rows are plain values
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// serve shows a form, or does what was sent; action is the journal's word for it, the same as the API's. change gets the
// form with the values that were sent, and gives what the row was and is; to is where to go then.
func (c *call) serve(f form, action, word string, change func(f *form, now *catalog.Catalog, edits *catalog.Layer) (e changes.Entry, to string, err error)) error {
	if !c.editable() {
		return &refusal{http.StatusForbidden, "The catalogue cannot be changed here: the service has no file for changes, or no journal."}
	}
	if c.r.Method != http.MethodPost {
		return c.show("form", f.Title, f)
	}
	if err := c.parseForm(); err != nil {
		return err
	}
	f.read(c.r)
	shown := f.Was
	f.Was = c.r.PostForm.Get("was")
	if err := c.cfg.Changes.Check(); err != nil { // what cannot be noted is not done
		return fmt.Errorf("journal: %w", err)
	}
	var entry changes.Entry
	var to string
	err := c.cfg.Register.Change(func(now *catalog.Catalog, edits *catalog.Layer) (err error) {
		entry, to, err = change(&f, now, edits)
		return err
	})
	var no *wrong
	switch {
	case errors.As(err, &no):
		f.place(no.reasons)
		c.render(http.StatusUnprocessableEntity, "form", f.Title, f)
		return nil
	case errors.Is(err, errChanged):
		f.General = append(f.General, strings.ToUpper(err.Error()[:1])+err.Error()[1:]+".")
		f.Was = shown // what was shown now is what the next try is about
		c.render(http.StatusConflict, "form", f.Title, f)
		return nil
	case err != nil:
		return fmt.Errorf("change the catalogue: %w", err)
	}
	entry.Who, entry.Action = c.who.String(), action
	if err := c.cfg.Changes.Append(entry); err != nil {
		return fmt.Errorf("it is done, but not noted: %w", err)
	}
	return c.redirect(to, word)
}

// entry makes an entry of the journal; nil is no row.
func entry[T any](object string, before, after *T) (changes.Entry, error) {
	e := changes.Entry{Object: object}
	var err error
	if before != nil {
		e.Before, err = json.Marshal(before)
	}
	if after != nil && err == nil {
		e.After, err = json.Marshal(after)
	}
	return e, err
}

// written gives a pool as it stands in a file: rows do not repeat what they have from above.
func written(cat *catalog.Catalog, id string) (catalog.Pool, bool) {
	if cat.Pool(id) == nil {
		return catalog.Pool{}, false
	}
	return cat.Layer(id).Pools[0], true
}

// known tells which coins a catalogue has.
func known(cat *catalog.Catalog) func(symbol string) bool {
	return func(symbol string) bool { return cat.Coin(symbol) != nil }
}

// poolAsShown gives a pool that is still what the form showed, else errChanged.
func (f *form) poolAsShown(now *catalog.Catalog, id string) (catalog.Pool, error) {
	p, ok := written(now, id)
	if !ok || fingerprint(p) != f.Was {
		return p, errChanged
	}
	return p, nil
}

// coinAsShown gives a coin that is still what the form showed, else errChanged.
func (f *form) coinAsShown(now *catalog.Catalog, symbol string) (*catalog.Coin, error) {
	o := now.Coin(symbol)
	if o == nil || fingerprint(o) != f.Was {
		return nil, errChanged
	}
	return o, nil
}

// poolIn gives the pool in the path.
func (c *call) poolIn() (catalog.Pool, error) {
	p, ok := written(c.cfg.Register.Current(), c.r.PathValue("pool"))
	if !ok {
		return p, notFound("The catalogue has no such pool.")
	}
	return p, nil
}

// putPool puts a pool that was made from the one that the form showed.
func (c *call) putPool(f *form, now *catalog.Catalog, edits *catalog.Layer, was catalog.Pool, check catalog.Pool, next catalog.Pool) (changes.Entry, error) {
	old, err := f.poolAsShown(now, was.ID)
	if err != nil {
		return changes.Entry{}, err
	}
	if reasons := check.Check(known(now)); len(reasons) > 0 {
		return changes.Entry{}, &wrong{reasons}
	}
	next.Layer = catalog.LayerEdited
	edits.PutPool(next)
	return entry(was.ID, &old, &next)
}

func options(first option, words ...string) []option {
	all := []option{first}
	for _, w := range words {
		all = append(all, option{w, w})
	}
	return all
}

func provenanceFields(p catalog.Provenance, inherited bool) []field {
	source := field{Name: "source", Label: "Source", Value: p.Source, Hint: "The public page where it was read.", Required: !inherited}
	none := option{"", "Not said"}
	if inherited {
		source.Hint, none.Text = "Empty: as above it.", "As above it"
	}
	var grades []string
	for _, g := range catalog.Confidences() {
		grades = append(grades, string(g))
	}
	return []field{
		source,
		{Name: "as_of", Label: "As of", Kind: "date", Value: p.AsOf, Hint: "The day of which the source speaks."},
		{Name: "confidence", Label: "Confidence", Kind: "select", Value: string(p.Confidence), Options: options(none, grades...)},
	}
}

func (f *form) provenance() catalog.Provenance {
	return catalog.Provenance{Source: f.get("source"), AsOf: f.get("as_of"), Confidence: catalog.Confidence(f.get("confidence"))}
}

// Pools.

func poolFields(p catalog.Pool) []field {
	kinds := make([]option, 0, len(catalog.Kinds()))
	for _, k := range catalog.Kinds() {
		kinds = append(kinds, option{string(k), string(k)})
	}
	return append([]field{
		{Name: "name", Label: "Name", Value: p.Name, Required: true},
		{Name: "kind", Label: "Kind", Kind: "select", Value: string(p.Kind), Options: kinds},
		{Name: "url", Label: "Web page", Value: p.URL, Hint: "It is told, never fetched."},
		{Name: "operator", Label: "Operator", Value: p.Operator},
		{Name: "note", Label: "Note", Value: p.Note},
	}, provenanceFields(p.Provenance, false)...)
}

func (f *form) pool(p catalog.Pool) catalog.Pool {
	p.Name, p.Kind, p.URL, p.Operator, p.Note = f.get("name"), catalog.Kind(f.get("kind")), f.get("url"), f.get("operator"), f.get("note")
	p.Provenance = f.provenance()
	return p
}

// sourced adds a reason if nothing says where the row was read.
func sourced(p catalog.Provenance, reasons []string) []string {
	if p.Source == "" {
		reasons = append(reasons, "source is missing: say where it was read")
	}
	return reasons
}

func (c *call) newPool() error {
	blank := catalog.Pool{Kind: catalog.Public, Provenance: catalog.Provenance{AsOf: c.cfg.Now().UTC().Format("2006-01-02"), Confidence: catalog.Medium}}
	f := form{Title: "Add a pool", Submit: "Add", Cancel: "/pools"}
	f.Fields = append([]field{{Name: "id", Label: "ID", Hint: "Lower-case letters, digits and hyphens; it stands in addresses and does not change.", Required: true}}, poolFields(blank)...)
	return c.serve(f, "pool.put", "added", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		p := f.pool(catalog.Pool{ID: f.get("id"), Layer: catalog.LayerEdited})
		reasons := sourced(p.Provenance, p.Check(known(now)))
		if now.Pool(p.ID) != nil {
			reasons = append(reasons, "id is taken by another pool")
		}
		if len(reasons) > 0 {
			return changes.Entry{}, "", &wrong{reasons}
		}
		edits.PutPool(p)
		e, err := entry(p.ID, nil, &p)
		return e, poolPath(p.ID), err
	})
}

func (c *call) editPool() error {
	p, err := c.poolIn()
	if err != nil {
		return err
	}
	f := form{Title: "Change " + brief(p.Name), Submit: "Save", Cancel: poolPath(p.ID), Fields: poolFields(p), Was: fingerprint(p)}
	return c.serve(f, "pool.put", "changed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		next := f.pool(p)
		check := next
		check.Servers = nil
		if reasons := sourced(next.Provenance, nil); len(reasons) > 0 {
			return changes.Entry{}, "", &wrong{append(check.Check(func(string) bool { return true }), reasons...)}
		}
		e, err := c.putPool(f, now, edits, p, check, next)
		return e, poolPath(p.ID), err
	})
}

func (c *call) removePool() error {
	p, err := c.poolIn()
	if err != nil {
		return err
	}
	f := form{Title: "Remove " + brief(p.Name), Submit: "Remove the pool", Cancel: poolPath(p.ID), Danger: true, Was: fingerprint(p)}
	f.Losses = append(f.Losses, fmt.Sprintf("The pool %s with %d servers. What the history knows of its names and endpoints stays.", brief(p.Name), len(p.Servers)))
	return c.serve(f, "pool.remove", "removed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		old, err := f.poolAsShown(now, p.ID)
		if err != nil {
			return changes.Entry{}, "", err
		}
		edits.RemovePool(p.ID, true)
		e, err := entry(p.ID, &old, nil)
		return e, "/pools", err
	})
}

// Servers.

func serverFields(s catalog.Server) []field {
	h := ""
	if s.Name != "" || s.Address.IsValid() {
		h = s.Host()
	}
	return []field{
		{Name: "host", Label: "Name or address", Value: h, Hint: "A domain name such as pool.example.net, or a literal address.", Required: true},
		{Name: "region", Label: "Region", Value: s.Region, Hint: "As the pool names it."},
	}
}

// server reads host and region of the form.
func (f *form) server(s catalog.Server) catalog.Server {
	s.Name, s.Address, s.Region = "", netip.Addr{}, f.get("region")
	if a, err := netip.ParseAddr(strings.Trim(f.get("host"), "[]")); err == nil && a.Zone() == "" {
		s.Address = minecanary.CanonicalAddr(a)
	} else {
		s.Name = catalog.CanonicalName(f.get("host"))
	}
	return s
}

// serverIn gives the place of the server in the path among those of the pool.
func (c *call) serverIn(p catalog.Pool) (int, error) {
	h := c.hostIn()
	i := slices.IndexFunc(p.Servers, func(s catalog.Server) bool { return s.Host() == h })
	if i < 0 {
		return 0, notFound("The pool has no such server.")
	}
	return i, nil
}

// set gives a copy of rows with another one in a place, or at the end if the place is behind it.
func set[T any](rows []T, i int, row T) []T {
	rows = slices.Clone(rows)
	if i == len(rows) {
		return append(rows, row)
	}
	rows[i] = row
	return rows
}

// with gives the pool with another server in a place, or at the end if the place is behind it.
func with(p catalog.Pool, i int, s catalog.Server) catalog.Pool {
	p.Servers = set(p.Servers, i, s)
	return p
}

// alone gives the pool with that server alone, to be checked.
func alone(p catalog.Pool, s catalog.Server) catalog.Pool {
	p.Servers = []catalog.Server{s}
	return p
}

// taken says why a server cannot have its endpoints: others have them. self is the server it replaces.
func taken(now *catalog.Catalog, pool, self string, s catalog.Server) []string {
	var reasons []string
	for _, e := range s.Endpoints {
		for _, r := range now.Host(s.Host()) {
			if r.Endpoint.Port == e.Port && r.Endpoint.Coin == e.Coin && (r.Pool.ID != pool || r.Server.Host() != self) {
				reasons = append(reasons, fmt.Sprintf("port %d of %s with %s is in the catalogue already, at %s", e.Port, s.Host(), e.Coin, r.Pool.ID))
			}
		}
	}
	return reasons
}

func (c *call) newServer() error {
	p, err := c.poolIn()
	if err != nil {
		return err
	}
	f := form{Title: "Add a server to " + brief(p.Name), Submit: "Add", Cancel: poolPath(p.ID), Was: fingerprint(p)}
	f.Fields = append(serverFields(catalog.Server{}), c.endpointFields(catalog.Endpoint{})...)
	return c.serve(f, "pool.put", "added", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		s := f.server(catalog.Server{})
		e, bad := f.endpoint()
		s.Endpoints = []catalog.Endpoint{e}
		reasons := append(bad, taken(now, p.ID, "", s)...)
		if slices.ContainsFunc(p.Servers, func(o catalog.Server) bool { return o.Host() == s.Host() }) {
			reasons = append(reasons, "a server of that name is in the pool already; add an endpoint to it")
		}
		if len(reasons) > 0 {
			check := alone(p, s)
			return changes.Entry{}, "", &wrong{append(reasons, check.Check(known(now))...)}
		}
		en, err := c.putPool(f, now, edits, p, alone(p, s), with(p, len(p.Servers), s))
		return en, serverPath(s.Host()), err
	})
}

func (c *call) editServer() error {
	p, err := c.poolIn()
	if err != nil {
		return err
	}
	i, err := c.serverIn(p)
	if err != nil {
		return err
	}
	old := p.Servers[i]
	f := form{Title: "Change " + old.Host(), Submit: "Save", Cancel: poolPath(p.ID), Was: fingerprint(p)}
	f.Fields = append(serverFields(old), provenanceFields(old.Provenance, true)...)
	return c.serve(f, "pool.put", "changed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		s := f.server(old)
		s.Provenance = f.provenance()
		reasons := taken(now, p.ID, old.Host(), s)
		if s.Host() != old.Host() && slices.ContainsFunc(p.Servers, func(o catalog.Server) bool { return o.Host() == s.Host() }) {
			reasons = append(reasons, "a server of that name is in the pool already")
		}
		if len(reasons) > 0 {
			return changes.Entry{}, "", &wrong{reasons}
		}
		en, err := c.putPool(f, now, edits, p, alone(p, s), with(p, i, s))
		return en, poolPath(p.ID), err
	})
}

func (c *call) removeServer() error {
	p, err := c.poolIn()
	if err != nil {
		return err
	}
	i, err := c.serverIn(p)
	if err != nil {
		return err
	}
	s := p.Servers[i]
	f := form{Title: "Remove " + s.Host(), Submit: "Remove the server", Cancel: poolPath(p.ID), Danger: true, Was: fingerprint(p)}
	f.Losses = append(f.Losses, fmt.Sprintf("The server %s of %s with %d endpoints. What the history knows stays.", s.Host(), brief(p.Name), len(s.Endpoints)))
	return c.serve(f, "pool.put", "removed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		next := p
		next.Servers = slices.Delete(slices.Clone(p.Servers), i, i+1)
		en, err := c.putPool(f, now, edits, p, alone(p, catalog.Server{Name: s.Name, Address: s.Address}), next)
		return en, poolPath(p.ID), err
	})
}

// Endpoints.

func (c *call) endpointFields(e catalog.Endpoint) []field {
	coins := []option{{"", "Choose a coin"}}
	for _, o := range c.cfg.Register.Current().Coins() {
		coins = append(coins, option{o.Symbol, brief(o.Symbol) + " " + brief(o.Name)})
	}
	port, tls := "", ""
	if e.Port != 0 {
		port = strconv.Itoa(int(e.Port))
	}
	if e.TLS {
		tls = "yes"
	}
	return append([]field{
		{Name: "port", Label: "Port", Value: port, Hint: "1 to 65535.", Required: true},
		{Name: "tls", Label: "TLS", Kind: "checkbox", Value: tls},
		{Name: "coin", Label: "Coin", Kind: "select", Value: e.Coin, Options: coins, Required: true},
		{Name: "dialect", Label: "Protocol", Kind: "select", Value: e.Dialect, Options: options(option{"", "The coin's"}, catalog.Dialects()...)},
		{Name: "algorithm", Label: "Algorithm", Value: e.Algorithm, Hint: "Empty: the coin's."},
		{Name: "note", Label: "Note", Value: e.Note},
	}, provenanceFields(e.Provenance, true)...)
}

// endpoint reads an endpoint; reasons say what is no endpoint's.
func (f *form) endpoint() (e catalog.Endpoint, reasons []string) {
	n, err := strconv.ParseUint(f.get("port"), 10, 16)
	if err != nil && f.get("port") != "" {
		reasons = append(reasons, "port has to be a number from 1 to 65535")
		n = 1 // so that it is told once
	}
	return catalog.Endpoint{
		Port: uint16(n), TLS: f.get("tls") != "", Coin: f.get("coin"), Dialect: f.get("dialect"), Algorithm: f.get("algorithm"), Note: f.get("note"), //nolint:gosec // ParseUint bounds it
		Provenance: f.provenance(),
	}, reasons
}

// endpointOf gives pool, place of the server and place of the endpoint in the path.
func (c *call) endpointOf() (p catalog.Pool, i, j int, err error) {
	if p, err = c.poolIn(); err != nil {
		return p, 0, 0, err
	}
	if i, err = c.serverIn(p); err != nil {
		return p, 0, 0, err
	}
	j = slices.IndexFunc(p.Servers[i].Endpoints, func(e catalog.Endpoint) bool {
		return strconv.Itoa(int(e.Port)) == c.r.PathValue("port") && e.Coin == c.r.PathValue("coin")
	})
	if j < 0 {
		return p, 0, 0, notFound("The server has no such endpoint.")
	}
	return p, i, j, nil
}

// withEndpoint gives a server with another endpoint in a place, or at the end.
func withEndpoint(s catalog.Server, j int, e catalog.Endpoint) catalog.Server {
	s.Endpoints = set(s.Endpoints, j, e)
	return s
}

// putEndpoint puts an endpoint in a place of a server.
func (c *call) putEndpoint(f *form, now *catalog.Catalog, edits *catalog.Layer, p catalog.Pool, i, j int) (changes.Entry, string, error) {
	s := p.Servers[i]
	e, reasons := f.endpoint()
	for k, o := range s.Endpoints {
		if k != j && o.Port == e.Port && o.Coin == e.Coin {
			reasons = append(reasons, "port has that coin at the server already")
		}
	}
	single := s
	single.Endpoints = []catalog.Endpoint{e}
	reasons = append(reasons, taken(now, p.ID, s.Host(), single)...)
	if len(reasons) > 0 {
		check := alone(p, single)
		return changes.Entry{}, "", &wrong{append(reasons, check.Check(known(now))...)}
	}
	en, err := c.putPool(f, now, edits, p, alone(p, single), with(p, i, withEndpoint(s, j, e)))
	return en, poolPath(p.ID), err
}

func (c *call) newEndpoint() error {
	p, err := c.poolIn()
	if err != nil {
		return err
	}
	i, err := c.serverIn(p)
	if err != nil {
		return err
	}
	f := form{Title: "Add an endpoint to " + p.Servers[i].Host(), Submit: "Add", Cancel: poolPath(p.ID), Was: fingerprint(p), Fields: c.endpointFields(catalog.Endpoint{})}
	return c.serve(f, "pool.put", "added", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		return c.putEndpoint(f, now, edits, p, i, len(p.Servers[i].Endpoints))
	})
}

func (c *call) editEndpoint() error {
	p, i, j, err := c.endpointOf()
	if err != nil {
		return err
	}
	e := p.Servers[i].Endpoints[j]
	f := form{Title: fmt.Sprintf("Change port %d of %s", e.Port, p.Servers[i].Host()), Submit: "Save", Cancel: poolPath(p.ID), Was: fingerprint(p), Fields: c.endpointFields(e)}
	return c.serve(f, "pool.put", "changed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		return c.putEndpoint(f, now, edits, p, i, j)
	})
}

func (c *call) removeEndpoint() error {
	p, i, j, err := c.endpointOf()
	if err != nil {
		return err
	}
	s := p.Servers[i]
	e := s.Endpoints[j]
	f := form{Title: fmt.Sprintf("Remove port %d of %s", e.Port, s.Host()), Submit: "Remove the endpoint", Cancel: poolPath(p.ID), Danger: true, Was: fingerprint(p)}
	f.Losses = append(f.Losses, fmt.Sprintf("Port %d of %s with %s. What the history knows stays.", e.Port, s.Host(), e.Coin))
	if len(s.Endpoints) == 1 {
		f.Losses = append(f.Losses, "It is the server's last endpoint, so the server goes with it.")
	}
	return c.serve(f, "pool.put", "removed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		next := p
		next.Servers = slices.Clone(p.Servers)
		if len(s.Endpoints) == 1 {
			next.Servers = slices.Delete(next.Servers, i, i+1)
		} else {
			next.Servers[i].Endpoints = slices.Delete(slices.Clone(s.Endpoints), j, j+1)
		}
		en, err := c.putPool(f, now, edits, p, alone(p, catalog.Server{Name: s.Name, Address: s.Address}), next)
		return en, poolPath(p.ID), err
	})
}

// Coins.

func coinFields(o catalog.Coin) []field {
	fields := []field{
		{Name: "name", Label: "Name", Value: o.Name, Required: true},
		{Name: "algorithm", Label: "Algorithm", Value: o.Algorithm, Hint: "The proof of work in lower case, such as rx/0.", Required: true},
		{Name: "dialect", Label: "Protocol", Kind: "select", Value: o.Dialect, Options: options(option{"", "Choose a protocol"}, catalog.Dialects()...), Required: true},
		{Name: "url", Label: "Web page", Value: o.URL},
	}
	for _, k := range catalog.ExplorerKeys() {
		fields = append(fields, field{
			Name: "explorer." + k, Label: "Template for " + k, Value: o.Explorer[k], Hint: "A web address with what is asked for in braces; it is shown, never fetched.",
		})
	}
	return append(fields, provenanceFields(o.Provenance, false)...)
}

func (f *form) coin(symbol string) catalog.Coin {
	o := catalog.Coin{Symbol: symbol, Name: f.get("name"), Algorithm: f.get("algorithm"), Dialect: f.get("dialect"), URL: f.get("url"), Provenance: f.provenance()}
	for _, k := range catalog.ExplorerKeys() {
		if v := f.get("explorer." + k); v != "" {
			if o.Explorer == nil {
				o.Explorer = map[string]string{}
			}
			o.Explorer[k] = v
		}
	}
	return o
}

func (c *call) newCoin() error {
	f := form{Title: "Add a coin", Submit: "Add", Cancel: "/coins"}
	f.Fields = append([]field{{Name: "symbol", Label: "Symbol", Hint: "Upper-case letters and digits.", Required: true}}, coinFields(catalog.Coin{})...)
	return c.serve(f, "coin.put", "added", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		o := f.coin(f.get("symbol"))
		reasons := sourced(o.Provenance, o.Check())
		if now.Coin(o.Symbol) != nil {
			reasons = append(reasons, "symbol is taken by another coin")
		}
		if len(reasons) > 0 {
			return changes.Entry{}, "", &wrong{reasons}
		}
		edits.PutCoin(o)
		e, err := entry(o.Symbol, nil, &o)
		return e, coinPath(o.Symbol), err
	})
}

// coinIn gives the coin in the path.
func (c *call) coinIn() (*catalog.Coin, error) {
	o := c.cfg.Register.Current().Coin(c.r.PathValue("symbol"))
	if o == nil {
		return nil, notFound("The catalogue has no such coin.")
	}
	return o, nil
}

func (c *call) editCoin() error {
	o, err := c.coinIn()
	if err != nil {
		return err
	}
	f := form{Title: "Change " + o.Symbol, Submit: "Save", Cancel: coinPath(o.Symbol), Fields: coinFields(*o), Was: fingerprint(o)}
	return c.serve(f, "coin.put", "changed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		old, err := f.coinAsShown(now, o.Symbol)
		if err != nil {
			return changes.Entry{}, "", err
		}
		next := f.coin(o.Symbol)
		if reasons := sourced(next.Provenance, next.Check()); len(reasons) > 0 {
			return changes.Entry{}, "", &wrong{reasons}
		}
		edits.PutCoin(next)
		e, err := entry(o.Symbol, old, &next)
		return e, coinPath(o.Symbol), err
	})
}

// removeCoin removes what users said of a coin. A coin of the shipped catalogue or of a file is then again what it was
// there; a layer has no way to take one away.
func (c *call) removeCoin() error {
	o, err := c.coinIn()
	if err != nil {
		return err
	}
	f := form{Title: "Remove " + o.Symbol, Submit: "Remove the coin", Cancel: coinPath(o.Symbol), Danger: true, Was: fingerprint(o)}
	f.Losses = append(f.Losses, fmt.Sprintf("What was added or changed here of %s %s. If the shipped catalogue or a file has the coin, that stands again.", o.Symbol, brief(o.Name)))
	return c.serve(f, "coin.remove", "removed", func(f *form, now *catalog.Catalog, edits *catalog.Layer) (changes.Entry, string, error) {
		old, err := f.coinAsShown(now, o.Symbol)
		if err != nil {
			return changes.Entry{}, "", err
		}
		if !slices.ContainsFunc(edits.Coins, func(x catalog.Coin) bool { return x.Symbol == o.Symbol }) {
			return changes.Entry{}, "", &wrong{[]string{"the coin comes from the shipped catalogue or a file; it can be changed, not removed"}}
		}
		if used := now.Mined(o.Symbol); len(used) > 0 {
			return changes.Entry{}, "", &wrong{[]string{fmt.Sprintf("%d endpoints mine it; remove or change them first", len(used))}}
		}
		edits.Coins = slices.DeleteFunc(edits.Coins, func(x catalog.Coin) bool { return x.Symbol == o.Symbol })
		e, err := entry(o.Symbol, old, nil)
		return e, "/coins", err
	})
}
