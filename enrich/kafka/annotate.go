package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync/atomic"
	"unicode/utf8"

	"github.com/minecanary/minecanary/enrich/ecs"
)

// Annotated is a record and what is to be said of it.
type Annotated struct {
	// Record is the record as the sensor wrote it. It belongs to the caller again when Annotate returns.
	Record []byte
	// Client is the client's address: the message's key.
	Client netip.Addr
	Note   ecs.Annotation
}

// member is the name of the member that is put into a record.
const member = "minecanary"

// Annotator writes records, unchanged but for one more member "minecanary", for those who want their own stream of
// connections annotated. It may be used by several goroutines.
type Annotator struct {
	outlet  outlet
	topic   string
	tooLong atomic.Uint64
}

// NewAnnotator gives an annotator for a topic; "" writes nothing. failed is told of each failed try; it may be nil.
func NewAnnotator(p Producer, topic string, failed func(error)) *Annotator {
	a := &Annotator{topic: topic}
	a.outlet = outlet{p, failed, func(context.Context, Message, error) error {
		a.tooLong.Add(1)
		return nil
	}}
	return a
}

// TooLong counts records that were left out because with what is added they are larger than MaxMessage or than
// the brokers take.
func (a *Annotator) TooLong() uint64 { return a.tooLong.Load() }

// Annotate writes records and returns when all are acknowledged; it tries again until then, or until the context ends.
func (a *Annotator) Annotate(ctx context.Context, records []Annotated) error {
	if a.topic == "" {
		return nil
	}
	var msgs []Message
	size := 0
	for i := range records {
		r := &records[i]
		value, err := annotate(r.Record, &r.Note)
		if err != nil {
			return fmt.Errorf("annotate a record of %s: %w", r.Client, err)
		}
		if len(value) > MaxMessage {
			a.tooLong.Add(1)
			continue
		}
		msgs = append(msgs, Message{a.topic, []byte(r.Client.String()), value})
		if size += len(value); size >= maxBytes || len(msgs) >= maxMessages {
			if err := a.outlet.deliver(ctx, msgs); err != nil {
				return err
			}
			msgs, size = msgs[:0], 0
		}
	}
	return a.outlet.deliver(ctx, msgs)
}

// wrapped is a record that cannot take another member, as text or, if it is not UTF-8, in base64.
type wrapped struct {
	Record       *string        `json:"record,omitempty"`
	RecordBase64 []byte         `json:"record_base64,omitempty"`
	Minecanary   ecs.Annotation `json:"minecanary"`
}

// annotate gives a new message: the record with the annotation as its last member, every other byte as it was, or, if it
// is no JSON object or has such a member, both in a new object.
func annotate(record []byte, note *ecs.Annotation) ([]byte, error) {
	added, err := ecs.Encode(note)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	// null is decoded without an error as well.
	if err := json.Unmarshal(record, &members); err != nil || members == nil {
		return wrap(record, note)
	}
	if _, ok := members[member]; ok {
		return wrap(record, note)
	}
	end := bytes.LastIndexByte(record, '}')
	out := make([]byte, 0, len(record)+len(member)+len(`,"":`)+len(added))
	out = append(out, record[:end]...)
	if len(members) > 0 {
		out = append(out, ',')
	}
	out = append(out, `"`+member+`":`...)
	out = append(out, added...)
	return append(out, record[end:]...), nil
}

func wrap(record []byte, note *ecs.Annotation) ([]byte, error) {
	w := wrapped{Minecanary: *note}
	if text := string(record); utf8.ValidString(text) {
		w.Record = &text
	} else {
		w.RecordBase64 = record
	}
	return ecs.Encode(w)
}
