package ecs

import (
	"time"
	"unicode/utf8"

	"github.com/minecanary/minecanary"
)

// Dead is the dead-letter document: what could not be used, where it stood, and why. What stands in
// no topic, no file or no index leaves those fields out.
type Dead struct {
	Timestamp Time `json:"@timestamp"`
	// Topic, Partition and Offset are where a message stood. Offset alone is the byte in a file.
	Topic     string `json:"topic,omitempty"`
	Partition *int32 `json:"partition,omitempty"`
	Offset    *int64 `json:"offset,omitempty"`
	// File and Line are where a line stood.
	File string `json:"file,omitempty"`
	Line int64  `json:"line,omitempty"`
	// Index and ID name a document of our own that a sink refused; then Sample is all of it.
	Index string `json:"index,omitempty"`
	ID    string `json:"id,omitempty"`
	// Reason is a word in snake case, a label of metrics; Error says more, for people.
	Reason string `json:"reason"`
	Error  string `json:"error,omitempty"`
	// Sample is the message, or as much of it as was kept, if it is UTF-8; SampleBase64 if it is not.
	Sample       string `json:"sample,omitempty"`
	SampleBase64 []byte `json:"sample_base64,omitempty"`
}

// NewDead makes a dead letter without a place, which is the caller's to fill in. It keeps no reference to sample.
func NewDead(at time.Time, reason, message string, sample []byte) *Dead {
	d := &Dead{Timestamp: Time(at), Reason: reason, Error: message}
	if utf8.Valid(sample) {
		d.Sample = string(sample)
	} else {
		d.SampleBase64 = append([]byte(nil), sample...)
	}
	return d
}

// Annotation is the object under "minecanary" in a record that touches a confirmed or known endpoint.
type Annotation struct {
	Status   minecanary.HitStatus `json:"status"`
	Endpoint minecanary.Endpoint  `json:"endpoint"`
	// Pool is its name in the catalogue or on the list, "" if it has none.
	Pool    string `json:"pool,omitempty"`
	Coin    string `json:"coin,omitempty"`
	Dialect string `json:"dialect,omitempty"`
	// Score is the suspect's so far, Threshold what it is held against, Scorer who gave it.
	Score     float64 `json:"score"`
	Threshold float64 `json:"threshold"`
	Scorer    string  `json:"scorer"`
}
