// Package kafka makes the messages that go out to Kafka: hits, pools, probes, dead letters and annotated records. It
// speaks to a Producer of its own; the driver is elsewhere.
//
// What is promised is at least once: a message whose acknowledgement was lost is sent again under the same key.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Message is what goes to a topic. A nil Value is a tombstone: it removes the key from a compacted topic.
type Message struct {
	Topic      string
	Key, Value []byte
}

// Producer writes messages. Produce returns nil only if every message was acknowledged by all in-sync replicas, and a
// *Refused if all were but those it names; after any other error some may be written, and all are written again.
// Messages of one key keep their order. The producer does not keep the slice or what is in it.
type Producer interface {
	Produce(ctx context.Context, msgs []Message) error
}

// Refused is the error of messages that no broker will ever take, because of what they are: larger than the topic
// allows, say. That a topic may not be written is no such error: it lasts until somebody mends it, and so does the
// waiting.
type Refused struct {
	// Messages are their places in the slice given to Produce.
	Messages []int
	Err      error
}

// Error implements error.
func (r *Refused) Error() string {
	return fmt.Sprintf("%d messages refused: %v", len(r.Messages), r.Err)
}

// Unwrap gives the reason.
func (r *Refused) Unwrap() error { return r.Err }

// The bounds of what is handed to a Producer at once.
const (
	// maxMessages is the largest number of messages of one call, maxBytes what their keys and values add up to unless a
	// single message is larger.
	maxMessages = 1000
	maxBytes    = 4 << 20
	// MaxMessage is the largest value in bytes. A broker's default for the largest record batch is 1,048,588 bytes
	// (message.max.bytes); the rest is for key and headers.
	MaxMessage = 1_000_000
)

// The pause after the first failed call, and the longest; each doubles the one before, less up to half by chance.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// outlet writes to a producer until it has accepted everything.
type outlet struct {
	producer Producer
	// failed is told of each call that failed; it may be nil.
	failed func(error)
	// refused is what becomes of a message that is refused for good. Its error ends the delivery.
	refused func(ctx context.Context, m Message, err error) error
}

// tell tells of a failure.
func (o *outlet) tell(topic string, err error) {
	if o.failed != nil {
		o.failed(fmt.Errorf("write to topic %s: %w", topic, err))
	}
}

// deliver calls the producer until it has accepted the messages or the context ends, in parts of at most maxMessages and
// maxBytes.
func (o *outlet) deliver(ctx context.Context, msgs []Message) error {
	for len(msgs) > 0 {
		n, size := 0, 0
		for n < len(msgs) && n < maxMessages {
			size += len(msgs[n].Key) + len(msgs[n].Value)
			if n > 0 && size > maxBytes {
				break
			}
			n++
		}
		if err := o.insist(ctx, msgs[:n]); err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

// insist repeats one call until it succeeds.
func (o *outlet) insist(ctx context.Context, msgs []Message) error {
	topic := msgs[0].Topic
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := o.producer.Produce(ctx, msgs)
		if err == nil {
			return nil
		}
		if refused, ok := errors.AsType[*Refused](err); ok {
			o.tell(topic, err)
			for _, i := range refused.Messages {
				if err := o.refused(ctx, msgs[i], refused.Err); err != nil {
					return err
				}
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("write to topic %s: %w", topic, ctx.Err())
		}
		o.tell(topic, err)
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("write to topic %s: %w", topic, ctx.Err())
		case <-timer.C:
		}
	}
}

// Names are the names of the topics. An empty one switches the topic off.
type Names struct {
	// Hits takes the documents of hits, keyed by event.id.
	Hits string
	// Pools is compacted and holds the document of each pool that is confirmed now, keyed by endpoint.
	Pools string
	// Probes takes the document of each verdict of the prober, keyed by endpoint.
	Probes string
	// Dead takes what could not be used.
	Dead string
	// Enriched takes the records that touch a confirmed or known endpoint, annotated, keyed by client.
	Enriched string
}

// DefaultNames are minecanary.hits, minecanary.pools, minecanary.probes and minecanary.dead; annotated records are off.
func DefaultNames() Names {
	return Names{Hits: "minecanary.hits", Pools: "minecanary.pools", Probes: "minecanary.probes", Dead: "minecanary.dead"}
}

// DefaultEnriched is the name of the topic of annotated records for those who switch it on.
const DefaultEnriched = "minecanary.enriched"

// TopicSpec is a topic to create.
type TopicSpec struct {
	Name       string
	Partitions int
	// Config are the topic's settings as the broker names them; those that are not named have the broker's default.
	Config map[string]string
}

const day = 24 * time.Hour

// Topics are the topics that are switched on, as they should be created. Pools has one partition, so that who follows it
// from its start sees one order and knows when all was read.
func (n Names) Topics() []TopicSpec {
	all := []TopicSpec{
		{n.Hits, 4, deleted(30 * day)},
		{n.Pools, 1, map[string]string{
			"cleanup.policy": "compact",
			// Who was away for less than a week still sees that a pool is gone.
			"delete.retention.ms": millis(7 * day),
			// The cleaner leaves the newest segment alone: with a few pools an hour it would grow for years.
			"segment.ms":                millis(day),
			"max.compaction.lag.ms":     millis(day),
			"min.cleanable.dirty.ratio": "0.1",
		}},
		{n.Probes, 1, deleted(30 * day)},
		{n.Dead, 1, with(deleted(14*day), "retention.bytes", strconv.Itoa(1<<30))}, // a flood of rubbish must not fill the disk
		{n.Enriched, 8, deleted(7 * day)},
	}
	var on []TopicSpec
	for _, t := range all {
		if t.Name != "" {
			on = append(on, t)
		}
	}
	return on
}

func deleted(after time.Duration) map[string]string {
	return map[string]string{"cleanup.policy": "delete", "retention.ms": millis(after)}
}

func with(m map[string]string, key, value string) map[string]string {
	m[key] = value
	return m
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
