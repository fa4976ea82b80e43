package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/ecs"
)

// Sink writes hits, probes and pools. It implements enrich.Sink and enrich.VerdictSink: its methods return when
// Elasticsearch has everything, or the context ends, or a dead letter cannot be written.
type Sink struct{ c *Client }

// NewSink gives the sink of a client that has a DeadLetter.
func NewSink(c *Client) (*Sink, error) {
	if c.cfg.DeadLetter == nil {
		return nil, errors.New("elasticsearch: documents that are refused have nowhere to go")
	}
	return &Sink{c}, nil
}

// item is a document on its way.
type item struct {
	id  string
	doc []byte
	// notBefore is the earliest time at which the document can have been written under its id; zero if nothing is known.
	notBefore time.Time
	// landed is the backing index in which it was just created though another was thought to be the newest; "" if not.
	landed string
}

// clockMargin is how far the clocks of sensors, of this machine and of Elasticsearch may be apart. Within this time after
// a rollover every write is looked up before.
const clockMargin = 2 * time.Hour

// earliest is when a document that tells of the given time can have been written first. What tells of the future comes
// from a clock that cannot be trusted.
func (c *Client) earliest(of time.Time) time.Time {
	if of.After(c.cfg.Now()) {
		return time.Time{}
	}
	return of.Add(-clockMargin)
}

// Write implements enrich.Sink.
func (s *Sink) Write(ctx context.Context, hits []minecanary.Hit) error {
	items := make([]item, 0, len(hits))
	for i := range hits {
		h := &hits[i]
		doc := ecs.New(h)
		b, err := ecs.Encode(doc)
		if err != nil {
			return fmt.Errorf("encode hit %s: %w", h.ID(), err)
		}
		window := time.Unix(0, int64(h.Window)*int64(h.Report))
		items = append(items, item{id: doc.ID(), doc: b, notBefore: s.c.earliest(window)})
	}
	return s.c.put(ctx, Hits, items)
}

// Flush implements enrich.Sink: Elasticsearch has synced its translog when it answers, so nothing is left to do.
func (s *Sink) Flush(context.Context) error { return nil }

// Probed implements enrich.VerdictSink: each verdict is written as a probe, a confirmed one as a pool as well.
func (s *Sink) Probed(ctx context.Context, verdicts []minecanary.Verdict) error {
	probes := make([]item, 0, len(verdicts))
	var pools []item
	for _, v := range verdicts {
		doc := ecs.NewProbe(v)
		b, err := ecs.Encode(doc)
		if err != nil {
			return fmt.Errorf("encode probe of %s: %w", v.Endpoint, err)
		}
		since := s.c.earliest(v.At)
		probes = append(probes, item{id: doc.ID(), doc: b, notBefore: since})
		if v.Status != minecanary.Confirmed {
			continue
		}
		pool := ecs.NewPool(v)
		if b, err = ecs.Encode(pool); err != nil {
			return fmt.Errorf("encode pool %s: %w", v.Endpoint, err)
		}
		pools = append(pools, item{id: pool.ID(), doc: b, notBefore: since})
	}
	if err := s.c.put(ctx, Probes, probes); err != nil {
		return err
	}
	return s.c.put(ctx, Pools, pools)
}

// Expired implements enrich.VerdictSink. There is nothing to write: data streams are only added to, and each document of
// a pool says when it ends (minecanary.expires); a later probe says what it became.
func (s *Sink) Expired(context.Context, []minecanary.Endpoint) error { return nil }
