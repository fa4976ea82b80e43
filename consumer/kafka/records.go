package kafka

import (
	"bytes"
	"io"

	"github.com/segmentio/kafka-go"
)

// records gives kafka-go the chosen messages without building a slice of its own.
type records struct {
	messages []Message
	indices  []int

	rec        kafka.Record
	key, value payload
}

// ReadRecord implements kafka.RecordReader.
func (r *records) ReadRecord() (*kafka.Record, error) {
	if len(r.indices) == 0 {
		return nil, io.EOF
	}
	m := &r.messages[r.indices[0]]
	r.indices = r.indices[1:]
	r.rec = kafka.Record{}
	if m.Key != nil {
		r.key.Reset(m.Key)
		r.rec.Key = &r.key
	}
	if m.Value != nil {
		r.value.Reset(m.Value)
		r.rec.Value = &r.value
	}
	return &r.rec, nil
}

// payload is a kafka.Bytes over memory of the caller.
type payload struct{ bytes.Reader }

// Close implements kafka.Bytes.
func (*payload) Close() error { return nil }
