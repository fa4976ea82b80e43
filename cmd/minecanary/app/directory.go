package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
)

// openDirectory gives the service its catalogue, which the engine asks and tells.
func (s *service) openDirectory(deps *enrich.Deps) error {
	d, err := openDirectory(s.cfg, s.warnDirectory)
	if err != nil {
		return err
	}
	if s.sweeps != nil {
		d.share = s.sweeps
	}
	s.directory = d
	s.close = append(s.close, d)
	if s.cfg.Catalogue.Report {
		deps.Known = d.known
	}
	deps.Sinks = append(deps.Sinks, historySink{d, s.warnDirectory})
	return nil
}

func (s *service) warnDirectory(err error) {
	s.log.Warn("catalogue", slog.Any("error", err))
}

// runDirectory sweeps and prunes.
func (s *service) runDirectory(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error {
		if err := s.directory.sweeper.Run(ctx); err != nil && ctx.Err() == nil {
			s.warnDirectory(err) // finding miners goes on without
		}
		return nil
	})
	g.Go(func() error { return s.directory.keep(ctx, s.warnDirectory) })
	g.Go(func() error { return s.directory.followFiles(ctx, catalogueFilesEvery, s.warnDirectory) })
}

// known implements enrich.Deps.Known: whether an endpoint was a known pool's. One on an address that others share is not,
// even if the catalogue names the address itself, nor one that the pool is not known for, nor one that answered then as no
// pool does: whoever owns a pool's name may have it lead to anybody's server.
func (d *directory) known(ep minecanary.Endpoint, at time.Time) (enrich.Known, bool) {
	level, row := d.index.Mark(ep, at)
	if level != lookup.KnownPool || row == (catalog.Row{}) || row.Endpoint.Port != ep.Port {
		return enrich.Known{}, false
	}
	if row.Server.Address.IsValid() && d.mark(ep.Addr, nil) != "" {
		return enrich.Known{}, false
	}
	answer := d.index.AnswerAt(ep, at)
	if answer == minecanary.NotPool || answer == minecanary.Node {
		return enrich.Known{}, false
	}
	k := enrich.Known{Name: row.Server.Name, Dialect: row.Endpoint.Dialect}
	if slices.Contains(webPorts(), ep.Port) && answer != minecanary.Confirmed {
		return k, true
	}
	k.Reason = fmt.Sprintf("catalogue: %s, %s port %d, %s (%s, %s)",
		row.Pool.Name, row.Server.Host(), row.Endpoint.Port, row.Endpoint.Coin, row.Endpoint.Confidence, row.Endpoint.AsOf)
	return k, true
}

// nameOf gives the name of the catalogue's server at an endpoint, as far as the history knows; "" if there is none.
func (d *directory) nameOf(ep minecanary.Endpoint) string {
	if level, row := d.index.Mark(ep, time.Now()); level == lookup.KnownPool && row.Server != nil {
		return row.Server.Name
	}
	return ""
}

// webPorts are where the pages of pools are as well, often on the same names: who goes there need not mine. What the
// catalogue says of them counts once the endpoint has proved to be a pool.
func webPorts() []uint16 { return []uint16{80, 443, 8080, 8443} }

// historySink writes what the engine's probes found into the history, and lets the other processes know.
type historySink struct {
	d    *directory
	warn func(error)
}

// Write implements enrich.Sink; hits are none of its business.
func (historySink) Write(context.Context, []minecanary.Hit) error { return nil }

// Flush implements enrich.Sink: what Probed took is on disk.
func (historySink) Flush(context.Context) error { return nil }

// Probed implements enrich.VerdictSink.
func (h historySink) Probed(ctx context.Context, verdicts []minecanary.Verdict) error {
	err := h.d.history.Update(ctx, func(tx *history.Tx) error {
		for _, v := range verdicts {
			if v.Status == minecanary.Blocked || v.Status == minecanary.Unknown || v.Status == "" {
				continue // our own refusal says nothing about the endpoint
			}
			err := tx.Probed(history.ProbeOf(v, ""))
			if errors.Is(err, history.ErrInvalid) {
				h.warn(fmt.Errorf("history: %w", err)) // a clock that is wrong must not end the run
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.warn(fmt.Errorf("history: %w", err)) // the state has the verdicts; finding miners goes on
		return nil
	}
	if h.d.sweeper != nil {
		h.d.sweeper.TellVerdicts(verdicts)
	}
	err = h.d.history.View(func(view *history.View) error {
		for _, v := range verdicts {
			if err := h.d.index.LoadEndpoint(view, v.Endpoint); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.warn(fmt.Errorf("history: %w", err))
	}
	return nil
}

// Expired implements enrich.VerdictSink: in the history intervals end by themselves.
func (historySink) Expired(context.Context, []minecanary.Endpoint) error { return nil }
