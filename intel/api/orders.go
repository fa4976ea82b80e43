package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/holds"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
)

// accepted says how many orders were taken.
type accepted struct {
	Accepted int `json:"accepted"`
}

// held is an endpoint that is not asked for now, as JSON.
type held struct {
	Endpoint minecanary.Endpoint `json:"endpoint"`
	Reason   string              `json:"reason,omitempty"`
	Until    time.Time           `json:"until,omitzero"`
	By       string              `json:"by,omitempty"`
}

// sweepStatus tells how the sweeps go.
type sweepStatus struct {
	Enabled bool `json:"enabled"`
	sweep.Status
}

func (c *call) sweep() error {
	var s sweepStatus
	if c.cfg.Sweep != nil {
		s = sweepStatus{c.cfg.Sweep.Enabled(), c.cfg.Sweep.Status()}
	}
	if s.Probed == nil {
		s.Probed = map[minecanary.VerdictStatus]uint64{}
	}
	return c.sendJSON(http.StatusOK, s)
}

// Where an order is refused because it is turned off: what does it, and the key of the configuration.
const (
	resolving = "looks no names up (catalogue.resolve turns it on)"
	probing   = "asks no endpoints of the catalogue (catalogue.probe turns it on)"
)

// sweeping tells why no order can be taken, if so; off is resolving or probing.
func (c *call) sweeping(off string) error {
	if c.cfg.Sweep == nil {
		return problem(http.StatusConflict, "this instance %s", off)
	}
	return c.journal()
}

// soon hands an order to the sweeps; off is resolving or probing.
func (c *call) soon(names []string, endpoints []minecanary.Endpoint, off string) error {
	err := c.cfg.Sweep.Soon(names, endpoints)
	if errors.Is(err, sweep.ErrNobody) {
		return problem(http.StatusConflict, "this instance %s", off)
	}
	return err
}

// resolve has names looked up soon: those of the catalogue and no others.
func (c *call) resolve() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	var b struct {
		Names []string `json:"names"`
	}
	if err := c.body(&b); err != nil {
		return err
	}
	if len(b.Names) == 0 || len(b.Names) > MaxNamed {
		return problem(http.StatusBadRequest, "there have to be 1 to %d names", MaxNamed)
	}
	if err := c.sweeping(resolving); err != nil {
		return err
	}
	now := c.cfg.Register.Current()
	for i, name := range b.Names {
		b.Names[i] = catalog.CanonicalName(name)
		if rows := now.Host(b.Names[i]); len(rows) == 0 || rows[0].Server.Name == "" {
			return problem(http.StatusUnprocessableEntity, "the catalogue has no server with the name %s", quote(name))
		}
	}
	b.Names = unique(b.Names)
	if err := c.soon(b.Names, nil, resolving); err != nil {
		return err
	}
	return c.ordered("sweep.resolve", len(b.Names), b.Names)
}

// ordered writes an order down and answers it.
func (c *call) ordered(action string, n int, what any) error {
	after, err := json.Marshal(what)
	if err != nil {
		return err
	}
	if err := c.cfg.Changes.Append(c.entry(action, "", nil, after)); err != nil {
		return err
	}
	return c.sendJSON(http.StatusAccepted, accepted{n})
}

// probe has endpoints asked soon: those of the catalogue, at addresses that its names had, and those asked before.
func (c *call) probe() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	var b struct {
		Endpoints []string `json:"endpoints"`
	}
	if err := c.body(&b); err != nil {
		return err
	}
	if len(b.Endpoints) == 0 || len(b.Endpoints) > MaxNamed {
		return problem(http.StatusBadRequest, "there have to be 1 to %d endpoints", MaxNamed)
	}
	if err := c.sweeping(probing); err != nil {
		return err
	}
	endpoints := make([]minecanary.Endpoint, 0, len(b.Endpoints))
	err := c.view(func(v *history.View) error {
		for _, text := range b.Endpoints {
			ap, err := netip.ParseAddrPort(text)
			if err != nil || ap.Port() == 0 || ap.Addr().Zone() != "" {
				return problem(http.StatusUnprocessableEntity, "%s is no endpoint", quote(text))
			}
			ep := minecanary.NewEndpoint(ap.Addr(), ap.Port(), minecanary.TCP)
			level, _ := c.cfg.Index.Mark(ep, time.Time{})
			asked, err := everAsked(v, ep)
			if err != nil {
				return err
			}
			if level != lookup.KnownPool && !asked {
				return problem(http.StatusUnprocessableEntity, "%s is not known as a pool's", ep)
			}
			endpoints = append(endpoints, ep)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(endpoints, minecanary.Endpoint.Compare)
	endpoints = slices.Compact(endpoints)
	if err := c.soon(nil, endpoints, probing); err != nil {
		return err
	}
	return c.ordered("sweep.probe", len(endpoints), endpoints)
}

func holdTable() *table[held] {
	id := func(r *held) string { return addressKey(r.Endpoint.Addr) + portKey(r.Endpoint.Port) }
	return &table[held]{id: id, columns: []column[held]{
		{"endpoint", func(r *held) string { return r.Endpoint.String() }, id},
		words("reason", func(r *held) string { return r.Reason }),
		moment("until", func(r *held) time.Time { return r.Until }),
		words("by", func(r *held) string { return r.By }),
	}}
}

func (c *call) holds() error {
	var rows []held
	if c.cfg.Hold != nil {
		all, err := c.cfg.Hold.List(c.r.Context())
		if err != nil {
			return err
		}
		for _, h := range all {
			rows = append(rows, held(h))
		}
	}
	return list(c, holdTable(), rows)
}

// held finds what holds an endpoint; nil if nothing does.
func (c *call) held(ep minecanary.Endpoint) (*held, error) {
	if c.cfg.Hold == nil {
		return nil, problem(http.StatusConflict, "this instance asks no endpoints")
	}
	if err := c.journal(); err != nil {
		return nil, err
	}
	all, err := c.cfg.Hold.List(c.r.Context())
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(h holds.Hold) bool { return h.Endpoint == ep }); i >= 0 {
		h := held(all[i])
		return &h, nil
	}
	return nil, nil
}

func (c *call) putHold() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	ep, err := c.endpoint()
	if err != nil {
		return err
	}
	var b struct {
		Reason string  `json:"reason"`
		Until  *string `json:"until"`
	}
	if err := c.body(&b); err != nil {
		return err
	}
	h := held{Endpoint: ep, Reason: b.Reason, By: c.who.String()}
	if !plain(b.Reason) {
		return problem(http.StatusUnprocessableEntity, "the reason has to be at most %d characters that can be printed", MaxText)
	}
	if b.Until != nil {
		if h.Until, err = parseTime("until", *b.Until); err != nil {
			return err
		}
		if !h.Until.After(c.cfg.Now()) {
			return problem(http.StatusUnprocessableEntity, "until has to be ahead")
		}
	}
	old, err := c.held(ep)
	if err != nil {
		return err
	}
	before, _, err := stored(old != nil, func() any { return old })
	if err != nil {
		return err
	}
	body, err := document(h)
	if err != nil {
		return err
	}
	if err := c.cfg.Hold.Put(c.r.Context(), holds.Hold(h)); err != nil {
		return err
	}
	if err := c.cfg.Changes.Append(c.entry("hold.put", ep.String(), before, body)); err != nil {
		return err
	}
	return c.send(http.StatusOK, typeJSON, body)
}

func (c *call) deleteHold() error {
	ep, err := c.endpoint()
	if err != nil {
		return err
	}
	old, err := c.held(ep)
	if err != nil {
		return err
	}
	if old == nil {
		return problem(http.StatusNotFound, "the endpoint is not held")
	}
	before, _, err := stored(true, func() any { return old })
	if err != nil {
		return err
	}
	if err := c.cfg.Hold.Remove(c.r.Context(), ep); err != nil {
		return err
	}
	return c.done(c.cfg.Changes.Append(c.entry("hold.remove", ep.String(), before, nil)))
}
