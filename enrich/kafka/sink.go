package kafka

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/ecs"
)

// Sink writes hits, probes and pools as the documents that the NDJSON file has, one a message. Its methods return when
// everything is acknowledged; they try again until then, or until the context ends.
type Sink struct {
	outlet    outlet
	names     Names
	shortened atomic.Uint64
}

// NewSink gives a sink for the topics that have a name. Documents that no broker takes go to the dead letters, whose
// Flush is the caller's. failed is told of each failed try, from the goroutine that writes; it may be nil.
func NewSink(p Producer, names Names, dead *DeadLetters, failed func(error)) *Sink {
	s := &Sink{names: names}
	s.outlet = outlet{p, failed, func(ctx context.Context, m Message, err error) error {
		return dead.Add(ctx, Dead{Index: m.Topic, ID: string(m.Key), Reason: "refused", Error: err.Error(), Sample: m.Value})
	}}
	return s
}

// Shortened counts documents that left out transcripts because they were larger than MaxMessage.
func (s *Sink) Shortened() uint64 { return s.shortened.Load() }

// Write implements enrich.Sink. The key is event.id, which several reports of one window share: event.sequence and
// event.action tell them apart.
func (s *Sink) Write(ctx context.Context, hits []minecanary.Hit) error {
	if s.names.Hits == "" {
		return nil
	}
	for len(hits) > 0 {
		part := hits[:min(len(hits), maxMessages)]
		hits = hits[len(part):]
		msgs := make([]Message, len(part))
		for i := range part {
			h := &part[i]
			value, err := ecs.Encode(ecs.New(h))
			if err == nil && len(value) > MaxMessage {
				short := *h
				short.Evidence, short.Verdict = s.shorten(h.Evidence), s.shortenVerdict(h.Verdict)
				value, err = ecs.Encode(ecs.New(&short))
			}
			id := h.ID()
			if err != nil {
				return fmt.Errorf("encode hit %s: %w", id, err)
			}
			msgs[i] = Message{s.names.Hits, []byte(id), value}
		}
		if err := s.outlet.deliver(ctx, msgs); err != nil {
			return err
		}
	}
	return nil
}

// Flush implements enrich.Sink; there is nothing left to do.
func (s *Sink) Flush(context.Context) error { return nil }

// Probed implements enrich.VerdictSink: every verdict goes to the probes, confirmed ones to the pools as well.
func (s *Sink) Probed(ctx context.Context, verdicts []minecanary.Verdict) error {
	for len(verdicts) > 0 {
		part := verdicts[:min(len(verdicts), maxMessages)]
		verdicts = verdicts[len(part):]
		var msgs []Message
		for _, v := range part {
			if s.names.Probes != "" {
				value, err := s.verdict(v, func(v minecanary.Verdict) any { return ecs.NewProbe(v) })
				if err != nil {
					return fmt.Errorf("encode probe of %s: %w", v.Endpoint, err)
				}
				msgs = append(msgs, Message{s.names.Probes, []byte(v.Endpoint.String()), value})
			}
			if s.names.Pools != "" && v.Status == minecanary.Confirmed {
				value, err := s.verdict(v, func(v minecanary.Verdict) any { return ecs.NewPool(v) })
				if err != nil {
					return fmt.Errorf("encode pool %s: %w", v.Endpoint, err)
				}
				msgs = append(msgs, Message{s.names.Pools, []byte(v.Endpoint.String()), value})
			}
		}
		if err := s.outlet.deliver(ctx, msgs); err != nil {
			return err
		}
	}
	return nil
}

// Expired implements enrich.VerdictSink: a tombstone removes the pool.
func (s *Sink) Expired(ctx context.Context, endpoints []minecanary.Endpoint) error {
	if s.names.Pools == "" {
		return nil
	}
	msgs := make([]Message, len(endpoints))
	for i, ep := range endpoints {
		msgs[i] = Message{Topic: s.names.Pools, Key: []byte(ep.String())}
	}
	return s.outlet.deliver(ctx, msgs)
}

// verdict encodes a verdict's document.
func (s *Sink) verdict(v minecanary.Verdict, document func(minecanary.Verdict) any) ([]byte, error) {
	value, err := ecs.Encode(document(v))
	if err == nil && len(value) > MaxMessage {
		value, err = ecs.Encode(document(s.shortenVerdict(v)))
	}
	return value, err
}

// shortenVerdict gives a copy without transcripts.
func (s *Sink) shortenVerdict(v minecanary.Verdict) minecanary.Verdict {
	s.shortened.Add(1)
	v.Evidence = s.shorten(v.Evidence)
	return v
}

// maxEvidence is how many facts a shortened document keeps.
const maxEvidence = 16

// shorten leaves out what a peer could make long: transcripts, and what goes beyond maxEvidence. A summary is short
// (minecanary.Evidence).
func (s *Sink) shorten(evidence []minecanary.Evidence) []minecanary.Evidence {
	short := make([]minecanary.Evidence, min(len(evidence), maxEvidence))
	copy(short, evidence)
	for i := range short {
		short[i].Transcript = nil
	}
	return short
}
