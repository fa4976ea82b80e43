package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/importer"
)

// entry is what the journal is told of a change; before and after are JSON, or nil.
func (c *call) entry(action, object string, before, after json.RawMessage) changes.Entry {
	return changes.Entry{Time: c.cfg.Now(), Who: c.who.String(), Action: action, Object: object, Before: before, After: after}
}

// journal tells why nothing can be changed here, if so: a change that could not be written down is not made.
func (c *call) journal() error {
	if c.cfg.Changes == nil {
		return problem(http.StatusConflict, "this instance keeps no journal of changes, so nothing can be changed")
	}
	return c.cfg.Changes.Check()
}

// change changes the catalogue and writes down what fn says it did, before it comes true. The edits must be what Parse
// takes back, or the next start would refuse them.
func (c *call) change(fn func(now *catalog.Catalog, edits *catalog.Layer) ([]changes.Entry, error)) error {
	if !c.cfg.Register.Editable() {
		return problem(http.StatusConflict, "the catalogue of this instance cannot be changed")
	}
	if err := c.journal(); err != nil {
		return err
	}
	return c.cfg.Register.Change(func(now *catalog.Catalog, edits *catalog.Layer) error {
		entries, err := fn(now, edits)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := catalog.Write(&b, *edits); err != nil {
			return err
		}
		if _, problems := catalog.Parse(catalog.LayerEdited, b.Bytes()); len(problems) > 0 {
			return unfit(reasons(problems))
		}
		for _, e := range entries {
			if err := c.cfg.Changes.Append(e); err != nil {
				return fmt.Errorf("journal of changes: %w", err)
			}
		}
		return nil
	})
}

func reasons(problems []catalog.Problem) []string {
	out := make([]string, len(problems))
	for i, p := range problems {
		out[i] = p.Reason
	}
	return out
}

// unfit says why a row cannot stand in the catalogue.
func unfit(reasons []string) *Problem {
	p := problem(http.StatusUnprocessableEntity, "this cannot stand in the catalogue")
	p.Reasons = reasons[:min(len(reasons), MaxRefused)]
	return p
}

// condition holds the tag of what is there against If-Match and If-None-Match. A condition that is none is not fulfilled:
// whoever set it did not mean to write without one.
func (c *call) condition(there bool, tag string) error {
	for _, name := range []string{"If-Match", "If-None-Match"} {
		for _, v := range c.r.Header.Values(name) {
			if !tagsForm.MatchString(v) {
				return problem(http.StatusPreconditionFailed, "%s has to be * or ETags", name)
			}
		}
	}
	if match := c.r.Header.Values("If-Match"); len(match) > 0 && (!there || !tagged(match, tag, false)) {
		return problem(http.StatusPreconditionFailed, "it is not, or no more, what If-Match names")
	}
	if none := c.r.Header.Values("If-None-Match"); len(none) > 0 && there && tagged(none, tag, true) {
		return problem(http.StatusPreconditionFailed, "it is what If-None-Match names")
	}
	return nil
}

// with gives a pool as a catalogue with those coins would have it, with what its rows inherit.
func with(coins []catalog.Coin, p catalog.Pool) *catalog.Pool {
	return whole(catalog.New(catalog.Layer{Coins: coins, Pools: []catalog.Pool{p}}).Pool(p.ID))
}

// canonical spells a pool as the catalogue does.
func canonical(p *catalog.Pool) {
	p.Layer = catalog.LayerEdited
	for i := range p.Servers {
		s := &p.Servers[i]
		s.Name = catalog.CanonicalName(s.Name)
		if s.Address.IsValid() && s.Address.Zone() == "" {
			s.Address = minecanary.CanonicalAddr(s.Address)
		}
	}
}

func (c *call) postPool() error { return c.savePool("") }

func (c *call) putPool() error { return c.savePool(c.r.PathValue("id")) }

// savePool adds a pool, or puts one in the place of an ID.
func (c *call) savePool(id string) error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	var p catalog.Pool
	if err := c.body(&p); err != nil {
		return err
	}
	if id != "" && p.ID == "" {
		p.ID = id
	}
	if id != "" && p.ID != id {
		return problem(http.StatusUnprocessableEntity, "the id of the body is not that of the path")
	}
	canonical(&p)
	var body []byte
	created := false
	err := c.change(func(now *catalog.Catalog, edits *catalog.Layer) ([]changes.Entry, error) {
		old := now.Pool(p.ID)
		before, tag, err := stored(old != nil, func() any { return whole(old) })
		if err != nil {
			return nil, err
		}
		if err := c.condition(old != nil, tag); err != nil {
			return nil, err
		}
		if id == "" && old != nil {
			return nil, problem(http.StatusConflict, "there is such a pool")
		}
		if reasons := p.Check(func(symbol string) bool { return now.Coin(symbol) != nil }); len(reasons) > 0 {
			return nil, unfit(reasons)
		}
		if body, err = document(with(coinsOf(now), p)); err != nil {
			return nil, err
		}
		created = old == nil
		edits.PutPool(p)
		return []changes.Entry{c.entry("pool.put", p.ID, before, body)}, nil
	})
	if err != nil {
		return err
	}
	return c.sendSaved(created, Prefix+"/pools/"+p.ID, body)
}

// stored is what stands in the catalogue as JSON, with its ETag; nothing if it is not there.
func stored(there bool, v func() any) (json.RawMessage, string, error) {
	if !there {
		return nil, "", nil
	}
	body, err := document(v())
	return body, etag(body), err
}

func (c *call) sendSaved(created bool, at string, body []byte) error {
	if !created {
		return c.send(http.StatusOK, typeJSON, body)
	}
	c.w.Header().Set("Location", at)
	c.w.Header().Set("ETag", etag(body))
	return c.send(http.StatusCreated, typeJSON, body)
}

func (c *call) deletePool() error {
	id := c.r.PathValue("id")
	err := c.change(func(now *catalog.Catalog, edits *catalog.Layer) ([]changes.Entry, error) {
		old := now.Pool(id)
		if old == nil {
			return nil, problem(http.StatusNotFound, "there is no such pool")
		}
		before, tag, err := stored(true, func() any { return whole(old) })
		if err != nil {
			return nil, err
		}
		if err := c.condition(true, tag); err != nil {
			return nil, err
		}
		edits.RemovePool(id, true)
		return []changes.Entry{c.entry("pool.remove", id, before, nil)}, nil
	})
	return c.done(err)
}

// done answers a change that leaves nothing to show.
func (c *call) done(err error) error {
	if err == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (c *call) postCoin() error { return c.saveCoin("") }

func (c *call) putCoin() error { return c.saveCoin(c.r.PathValue("symbol")) }

func (c *call) saveCoin(symbol string) error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	var coin catalog.Coin
	if err := c.body(&coin); err != nil {
		return err
	}
	if symbol != "" && coin.Symbol == "" {
		coin.Symbol = symbol
	}
	if symbol != "" && coin.Symbol != symbol {
		return problem(http.StatusUnprocessableEntity, "the symbol of the body is not that of the path")
	}
	var body []byte
	created := false
	err := c.change(func(now *catalog.Catalog, edits *catalog.Layer) ([]changes.Entry, error) {
		old := now.Coin(coin.Symbol)
		before, tag, err := stored(old != nil, func() any { return old })
		if err != nil {
			return nil, err
		}
		if err := c.condition(old != nil, tag); err != nil {
			return nil, err
		}
		if symbol == "" && old != nil {
			return nil, problem(http.StatusConflict, "there is such a coin")
		}
		if reasons := coin.Check(); len(reasons) > 0 {
			slices.Sort(reasons)
			return nil, unfit(reasons)
		}
		if body, err = document(&coin); err != nil {
			return nil, err
		}
		created = old == nil
		edits.PutCoin(coin)
		return []changes.Entry{c.entry("coin.put", coin.Symbol, before, body)}, nil
	})
	if err != nil {
		return err
	}
	return c.sendSaved(created, Prefix+"/coins/"+coin.Symbol, body)
}

// deleteCoin takes back what was edited of a coin. A coin of a file stays as the file has it.
func (c *call) deleteCoin() error {
	symbol := c.r.PathValue("symbol")
	err := c.change(func(now *catalog.Catalog, edits *catalog.Layer) ([]changes.Entry, error) {
		old := now.Coin(symbol)
		if old == nil {
			return nil, problem(http.StatusNotFound, "there is no such coin")
		}
		before, tag, err := stored(true, func() any { return old })
		if err != nil {
			return nil, err
		}
		if err := c.condition(true, tag); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(edits.Coins, func(o catalog.Coin) bool { return o.Symbol == symbol })
		if i < 0 {
			return nil, problem(http.StatusConflict, "the coin stands in a file of the catalogue; it can be changed here, not removed")
		}
		if len(now.Mined(symbol)) > 0 {
			return nil, problem(http.StatusConflict, "%d endpoints mine the coin", len(now.Mined(symbol)))
		}
		edits.Coins = slices.Delete(edits.Coins, i, i+1)
		return []changes.Entry{c.entry("coin.remove", symbol, before, nil)}, nil
	})
	return c.done(err)
}

// FormatCatalogue is the format of imports that needs no importer: the catalogue's own YAML.
const FormatCatalogue = "catalogue"

// report is what an import did: IDs of pools and symbols of coins.
type report struct {
	Accepted  []string `json:"accepted"`
	Changed   []string `json:"changed"`
	Removed   []string `json:"removed"`
	Unchanged int      `json:"unchanged"`
	// Refused lists rows that were not taken, at most MaxRefused; RefusedTotal counts all.
	Refused      []catalog.Problem `json:"refused"`
	RefusedTotal int               `json:"refused_total"`
}

// importRows takes rows of a file: what is right unless strict is set, then all or nothing.
func (c *call) importRows() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	format, err := c.form("format", formatForm)
	if err != nil {
		return err
	}
	strict, err := oneOf(c, "strict", "true", "false")
	if err != nil {
		return err
	}
	id, err := c.form("id", idForm)
	if err != nil {
		return err
	}
	if _, err := c.bodyType(typeYAML, typeText, typeCSV, typeJSON, "application/octet-stream"); err != nil {
		return err
	}
	data, err := io.ReadAll(c.r.Body)
	if err != nil {
		return unread(err)
	}
	layer, refused, err := c.parseImport(format, id, data)
	if err != nil {
		return err
	}
	if len(layer.Pools)+len(layer.Coins)+len(layer.Removed) > MaxImport {
		return problem(http.StatusUnprocessableEntity, "there are more than %d pools and coins; import them in parts", MaxImport)
	}
	rep := report{Accepted: []string{}, Changed: []string{}, Removed: []string{}}
	err = c.change(func(now *catalog.Catalog, edits *catalog.Layer) ([]changes.Entry, error) {
		if format != "" && format != FormatCatalogue { // it tells less than a pool is, which must not get lost
			layer, _ = importer.Merge(now, layer)
		}
		entries, wrong, err := c.take(now, edits, layer, &rep)
		if err != nil {
			return nil, err
		}
		refused = append(refused, wrong...)
		if strict == "true" && len(refused) > 0 {
			p := problem(http.StatusUnprocessableEntity, "%d rows are wrong, so nothing was taken", len(refused))
			p.Refused = refused[:min(len(refused), MaxRefused)]
			return nil, p
		}
		return entries, nil
	})
	if err != nil {
		return err
	}
	rep.Refused, rep.RefusedTotal = filled(refused[:min(len(refused), MaxRefused)]), len(refused)
	return c.sendJSON(http.StatusOK, rep)
}

func (c *call) parseImport(format, id string, data []byte) (catalog.Layer, []catalog.Problem, error) {
	if format == "" || format == FormatCatalogue {
		if id == "" {
			id = "import"
		}
		layer, refused := catalog.Parse(id+".yaml", data)
		layer, wrong := importer.Vet(layer)
		return layer, append(refused, wrong...), nil
	}
	if c.cfg.Importer == nil {
		return catalog.Layer{}, nil, problem(http.StatusUnprocessableEntity, "there is no format %s", quote(format))
	}
	layer, refused, err := c.cfg.Importer(format, data)
	if err != nil {
		return layer, nil, problem(http.StatusUnprocessableEntity, "the import cannot be read: %s", quote(err.Error()))
	}
	return layer, refused, nil
}

// take puts the rows of an import into the edits, those that are right and new.
func (c *call) take(now *catalog.Catalog, edits *catalog.Layer, in catalog.Layer, rep *report) (
	entries []changes.Entry, refused []catalog.Problem, err error,
) {
	refuse := func(object string, reasons []string) {
		for _, r := range reasons {
			refused = append(refused, catalog.Problem{File: object, Reason: r})
		}
	}
	put := func(action, object string, old bool, before, after json.RawMessage) bool {
		switch {
		case bytes.Equal(before, after):
			rep.Unchanged++
			return false
		case old:
			rep.Changed = append(rep.Changed, object)
		default:
			rep.Accepted = append(rep.Accepted, object)
		}
		entries = append(entries, c.entry(action, object, before, after))
		return true
	}
	var coins []catalog.Coin
	for _, coin := range in.Coins {
		if reasons := coin.Check(); len(reasons) > 0 {
			slices.Sort(reasons)
			refuse(coin.Symbol, reasons)
			continue
		}
		old := now.Coin(coin.Symbol)
		before, _, err := stored(old != nil, func() any { return old })
		if err != nil {
			return nil, nil, err
		}
		after, err := document(&coin)
		if err != nil {
			return nil, nil, err
		}
		coins = append(coins, coin)
		if put("coin.import", coin.Symbol, old != nil, before, after) {
			edits.PutCoin(coin)
		}
	}
	for _, id := range in.Removed {
		old := now.Pool(id)
		if old == nil {
			refuse(id, []string{"there is no such pool to remove"})
			continue
		}
		before, _, err := stored(true, func() any { return whole(old) })
		if err != nil {
			return nil, nil, err
		}
		rep.Removed = append(rep.Removed, id)
		entries = append(entries, c.entry("pool.import", id, before, nil))
		edits.RemovePool(id, true)
	}
	all := catalog.New(catalog.Layer{Coins: coinsOf(now)}, catalog.Layer{Coins: coins})
	for _, p := range in.Pools {
		canonical(&p)
		if reasons := p.Check(func(symbol string) bool { return all.Coin(symbol) != nil }); len(reasons) > 0 {
			refuse(p.ID, reasons)
			continue
		}
		old := now.Pool(p.ID)
		before, _, err := stored(old != nil, func() any { return edited(old) })
		if err != nil {
			return nil, nil, err
		}
		after, err := document(with(coinsOf(all), p))
		if err != nil {
			return nil, nil, err
		}
		if put("pool.import", p.ID, old != nil, before, after) {
			edits.PutPool(p)
		}
	}
	return entries, refused, nil
}

// edited is a pool as if it had been edited, to compare.
func edited(p *catalog.Pool) *catalog.Pool {
	out := whole(p)
	out.Layer = catalog.LayerEdited
	return out
}

func coinsOf(c *catalog.Catalog) []catalog.Coin {
	out := make([]catalog.Coin, 0, len(c.Coins()))
	for _, coin := range c.Coins() {
		out = append(out, *coin)
	}
	return out
}
