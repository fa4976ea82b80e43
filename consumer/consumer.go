// Package consumer is where records come from and what a record means: sources hand over batches with a position,
// decoders turn lines into records, the slicer normalises direction and cuts slices.
//
// This package holds the contract; sources and decoders are sub-packages.
package consumer

import (
	"context"
	"errors"

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
	// Header holds what names the columns of a file whose first batch does not start at its beginning (NewFile with
	// LineStart over 0): the lines beginning with # at its head, which a decoder of Zeek's TSV needs, or else its first
	// line if that begins with a letter, which one of nfdump's CSV needs; nil if there are none.
	Header []byte
	// EOF tells that the partition has ended for good; Data may be empty.
	EOF bool
	// TooLongLines names lines over MaxLine that were left out. A batch that has some has no Data.
	TooLongLines []int64
	// Messages tells where the messages of a batch from Kafka lie in Data; nil for files, whose records are lines.
	Messages []Message
	// Topic is the topic of such a batch, Token that of the Start it came from.
	Topic string
	Token uint64
}

// MaxSample is how much of a message that cannot be used is kept for people, in bytes.
const MaxSample = 4 << 10

// Message is one message of a batch from Kafka. It begins in Data where the one before it ends; nothing stands between.
type Message struct {
	// End is where it ends in Data.
	End int
	// Offset is its offset in the partition. Offsets grow, with gaps.
	Offset int64
	// Cut tells that it was longer than MaxLine; Data holds its first bytes, at most MaxSample.
	Cut bool
}

// Start is where reading a partition begins.
type Start struct {
	// Offset of the first message handed over.
	Offset int64
	// Cuts are offsets above it at which a batch must end, in rising order: parts of the state have applied the partition
	// up to there, and a batch is applied to each part as a whole or not at all.
	Cuts []int64
	// Token is handed over again with every batch of the partition until it is started anew.
	Token uint64
}

// StartFunc tells where to begin a partition ("topic/partition") that was just assigned. committed is the group's
// committed offset, -1 if there is none. resolve gives the offset that the configuration names for a partition that was
// never read (lost false), or for one whose state was lost (lost true).
type StartFunc func(ctx context.Context, partition string, committed int64, resolve func(lost bool) (int64, error)) (Start, error)

// ErrRestart is the error that an AckFunc is given if the partition has to be started anew, by its StartFunc: the state
// lost something that it had applied, or another process has started it in between. Every batch that was handed over
// before is given up. A partition that was given away in the meantime is left alone.
var ErrRestart = errors.New("the partition has to be started anew")

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
	// Skipped: recognised and of no use here (http.log, EVE stats, comment lines of TSV, empty lines).
	Skipped
	// Bad: not a record.
	Bad
	// Sighted: no record, but one or more sightings (mining.log, EVE dns), which the decoder holds until its next line.
	Sighted
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
	FormNfdump
	FormGoflow2
)

// Forms gives all forms but FormUnknown.
func Forms() []Form { return []Form{FormZeekJSON, FormZeekTSV, FormEVE, FormNfdump, FormGoflow2} }

// String gives the name used by --format.
func (f Form) String() string {
	switch f {
	case FormZeekJSON:
		return "zeek-json"
	case FormZeekTSV:
		return "zeek-tsv"
	case FormEVE:
		return "eve"
	case FormNfdump:
		return "nfdump"
	case FormGoflow2:
		return "goflow2"
	}
	return "auto"
}
