// Package consumer is where records come from and what a record means: sources hand over batches with a position,
// decoders turn lines into records, the slicer normalises direction and cuts slices.
//
// This package holds the contract; sources and decoders are sub-packages.
package consumer

import (
	"context"

	"github.com/minecanary/minecanary"
)

// MaxLine is the longest line a source hands over, in bytes. A longer one is cut out and counted as bad (line too long).
const MaxLine = 1 << 20

// Position says how far a partition was read; see minecanary.Position.
type Position = minecanary.Position

// Batch is a run of whole lines of one partition.
type Batch struct {
	// Partition names what the position counts in: an absolute file path, "-", or "topic/partition".
	Partition string
	// Name is what messages to people call the input: the path as given, "-", or "topic/partition".
	Name string
	// Data holds whole lines; only the last may lack its newline. It belongs to the receiver until Release is called.
	Data []byte
	// Release gives Data back to the source, once, from any goroutine; nil if the source does not need it back. It says
	// nothing about what became of the records: that is the AckFunc's.
	Release func()
	// FirstLine is the number of the first line, from 1; for Kafka the first offset.
	FirstLine int64
	// LineStart is the byte offset of Data in its file.
	LineStart int64
	// From and Next are the positions before and after the batch.
	From, Next Position
	// NewFile is set on the first batch of a file (of each generation): what was learnt of its form is forgotten.
	NewFile bool
	// Header holds the lines beginning with # at the head of a file whose first batch does not start at its beginning
	// (NewFile with LineStart over 0), which a decoder of Zeek's TSV needs; nil if there are none.
	Header []byte
	// EOF tells that the partition has ended for good; Data may be empty.
	EOF bool
	// TooLongLines names lines over MaxLine that were left out. A batch that has some has no Data.
	TooLongLines []int64
}

// AckFunc tells the source that everything a batch caused is safe (err nil), or that it was given up. It may be called
// from any goroutine, once, in any order, long after Release.
type AckFunc func(ctx context.Context, err error) error

// Source hands over batches. Connect does the first I/O; Read blocks until a batch is there, the context ends, or
// everything was read (io.EOF). Read is called by one goroutine at a time. Batches of one partition come in order;
// those of different partitions in any. Close ends everything; a Read under way returns an error.
//
// At-least-once: a source that is started again begins at the position it is told, and hands over all that follows.
type Source interface {
	Connect(ctx context.Context) error
	Read(ctx context.Context) (Batch, AckFunc, error)
	Close() error
}

// OutcomeKind says what became of a line.
type OutcomeKind uint8

// The outcomes of decoding one line.
const (
	// Decoded: the record is filled in.
	Decoded OutcomeKind = iota
	// Skipped: recognised and of no use here (ssl.log, EVE alert, comment lines of TSV, empty lines).
	Skipped
	// Bad: not a record.
	Bad
)

// Outcome is what became of a line; Reason is a constant word in snake case ("json", "time_range", "ssl"), a label of
// metrics, so its values are few and never taken from input.
type Outcome struct {
	Kind   OutcomeKind
	Reason string
}

// Form is how a file's lines are written.
type Form uint8

// The forms. FormUnknown is found out from the first recognised line.
const (
	FormUnknown Form = iota
	FormZeekJSON
	FormZeekTSV
	FormEVE
)

// String gives the name used by --format.
func (f Form) String() string {
	switch f {
	case FormZeekJSON:
		return "zeek-json"
	case FormZeekTSV:
		return "zeek-tsv"
	case FormEVE:
		return "eve"
	}
	return "auto"
}
