// Package enrich turns slices into suspects, scores, verdicts and hits.
//
// The Engine owns the way of a batch: apply it to the suspect state, queue endpoints worth a probe, report what is
// confirmed or known at once and what is decided at the end of each report window. The state lives behind the Store
// contract, sinks and the verifier behind interfaces of this package.
package enrich

import (
	"context"
	"errors"
	"time"

	"github.com/minecanary/minecanary"
)

// Batch is what became of one batch of records: slices, and the position they led to.
type Batch struct {
	// Partition and From, Next are those of the source. A batch is applied only if Next is beyond the stored position.
	Partition  string
	From, Next minecanary.Position
	// Token is that of the start of the partition which the batch belongs to; 0 where nobody gives any.
	Token uint64
	// Slices may name a suspect several times. They belong to the caller again when Apply returns.
	Slices []minecanary.Slices
	// Sightings are what sensors saw beside traffic.
	Sightings []minecanary.Sighting
	// Records are the records that the slices came from, as their sensor wrote them; nil if nobody asked for them. They
	// belong to the caller like the slices.
	Records [][]byte
	// Newest is the latest record end in the batch, Unix microseconds; 0 if it had no record.
	Newest int64
}

// Keep leaves out the slices that keep says no to, each with its record.
func (b *Batch) Keep(keep func(*minecanary.Slices) bool) {
	kept, records := b.Slices[:0], b.Records[:0]
	for i := range b.Slices {
		if !keep(&b.Slices[i]) {
			continue
		}
		kept = append(kept, b.Slices[i])
		if b.Records != nil {
			records = append(records, b.Records[i])
		}
	}
	b.Slices, b.Records = kept, records
}

// Annotated is a record that touches a confirmed or known endpoint, and what is known of it.
type Annotated struct {
	minecanary.Pair
	// Record is the record as its sensor wrote it.
	Record   []byte
	Status   minecanary.HitStatus
	Verdict  minecanary.Verdict
	Evidence []minecanary.Evidence
	// Scorer's Score of the suspect's newest stretch so far, and its Threshold.
	Scorer           string
	Score, Threshold float64
}

// Annotator takes annotated records; the slice and the records are the caller's again when it returns. A repeated batch
// is annotated again.
type Annotator interface {
	Annotate(ctx context.Context, records []Annotated) error
}

// Window numbers the report windows since the epoch.
type Window = uint32

// Segment is what a suspect did in one stretch of one report window: stretches of one window are more than the inactive
// timeout apart. Segments of different windows are never added up in the state, so that what is reported for a window
// depends neither on where batches end nor on the order in which records came.
type Segment struct {
	Window    Window
	Aggregate minecanary.Aggregate
	// ClientPort, UID and Sensor are of the newest record in the segment.
	ClientPort uint16
	UID        minecanary.UID
	Sensor     string
	// Reports is how often this window was reported, Told the strength of the status it was reported with (0: not at
	// all); segments of one window share them by their maximum.
	Reports, Told uint8
	// Closed tells that the window's end was reached and the segment decided. New data opens it again.
	Closed bool
}

// Suspect is a view of one suspect, valid only during the call it is handed to.
type Suspect struct {
	minecanary.Pair
	// Segments are ordered from the newest to the oldest, by window and first packet; never empty. The callee may
	// change Reports, Told and Closed, and cut off segments at the end, but for the first.
	Segments []Segment
	// Marked tells that a window of the suspect reached the threshold; such suspects are kept longer. The callee may
	// change it.
	Marked bool
}

// ErrRestart says that a batch was not applied because the state does not stand where it begins: the state was lost or
// set back, or another process has started the partition. The partition has to be started anew.
var ErrRestart = errors.New("the partition has to be started anew")

// Progress is how far a partition has come.
type Progress struct {
	Partition string
	// Newest is the latest record end, Unix microseconds; 0 if none was seen.
	Newest int64
	// Heard tells that something of the partition was seen.
	Heard bool
	// Idle tells that the partition brings nothing for now: it does not hold back the watermark.
	Idle bool
}

// Shard is a part of the suspects, by endpoint, whose windows are decided together.
type Shard struct {
	ID int
	// Decided is the window before which all were decided; Reopened tells that one of them has got new data.
	Decided  Window
	Reopened bool
	// Progress is how far the partitions have come in this shard.
	Progress []Progress
}

// Store keeps suspect state with the positions it was made from: both or neither (DESIGN law 1). A store that several
// processes share is divided into shards; its changes are seen by all at once, and those made in a callback with the next
// Save. Until then a crash forgets them, and what caused them comes again.
//
// All methods are called by one goroutine. A callback may look up verdicts, and nothing else of the store.
type Store interface {
	// Positions are the positions applied so far, by partition; the lowest of the shards.
	Positions(ctx context.Context) (map[string]minecanary.Position, error)
	// Apply adds a batch unless it was applied before, and shows every suspect it touches, added or not, once per
	// batch or more often. touched may be nil. A batch that does not follow what was applied gives ErrRestart.
	Apply(ctx context.Context, b *Batch, touched func(*Suspect)) (applied bool, err error)
	// Shards are those whose windows this process has to decide now. own is how far the partitions are that this
	// process knows of. restart names partitions of which the state has lost something.
	Shards(ctx context.Context, own []Progress) (shards []Shard, restart []string, err error)
	// Each shows every suspect of the given shards, of all if nil, in no order; a suspect is removed when the callback
	// returns false.
	Each(ctx context.Context, shards []int, fn func(*Suspect) bool) error
	// Decided notes with the next Save that the windows before a limit were decided in a shard.
	Decided(shard Shard, limit Window)
	// Clients shows every suspect of one endpoint.
	Clients(ctx context.Context, ep minecanary.Endpoint, fn func(*Suspect)) error
	// Verdict is what is known of an endpoint; ok is false for nothing, expired verdicts are returned as well.
	Verdict(ctx context.Context, ep minecanary.Endpoint) (v minecanary.Verdict, ok bool, err error)
	// PutVerdict keeps a verdict.
	PutVerdict(ctx context.Context, v minecanary.Verdict) error
	// Verdicts are all verdicts kept, ordered by endpoint.
	Verdicts(ctx context.Context) ([]minecanary.Verdict, error)
	// VerdictsVersion changes when a confirmed verdict comes or goes.
	VerdictsVersion() uint64
	// DropVerdicts forgets verdicts that expired before the given time.
	DropVerdicts(ctx context.Context, before time.Time) error
	// Stats are the numbers for metrics.
	Stats() StoreStats
	// Save makes everything applied so far durable; a crash afterwards finds exactly that. It does nothing where the
	// state is durable by itself.
	Save(ctx context.Context) error
}

// Outcome is what became of a batch.
type Outcome uint8

// The outcomes of applying a batch.
const (
	// Repeated: it had been applied before.
	Repeated Outcome = iota
	// Applied: it was added.
	Applied
	// Stale: it does not follow what was applied; its partition has to be started anew.
	Stale
)

// Joiner is a Store that applies batches of different partitions together for less than one by one.
type Joiner interface {
	// Gather prepares batches, and gives the function that applies them as Apply would one after the other, in any order.
	// It may be called by another goroutine while the batches gathered before are applied: one group ahead, no more. The
	// batches must not change until they are applied.
	Gather(batches []*Batch) (apply func(ctx context.Context, touched func(*Suspect)) ([]Outcome, error))
}

// StoreStats are numbers of a store.
type StoreStats struct {
	Suspects, Segments, Verdicts int
	// Connections are those that are remembered because of their cumulative records.
	Connections int
	// Dropped counts suspects given up because the bound was reached, DroppedVerdicts verdicts, Joined segments that
	// were added to a younger window's because a suspect had too many, and Overflow suspects that were left out because
	// their endpoint had too many clients, once for each batch.
	Dropped, DroppedVerdicts, Joined, Overflow uint64
	// LeftOut counts cumulative records of running connections that were left out because there was no room to remember
	// the connection, or because it may have been counted and forgotten.
	LeftOut uint64
}

// Verifier answers whether an endpoint is a mining pool. It must bound its own time.
type Verifier interface {
	Verify(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error)
}

// Sink takes hits. Write may be repeated with the same hits after a crash; Flush makes everything written durable. A sink
// behind a network tries again by itself, with back-off, until everything is accepted or the context ends: its error
// ends the run.
type Sink interface {
	Write(ctx context.Context, hits []minecanary.Hit) error
	Flush(ctx context.Context) error
}

// VerdictSink is a sink that takes what is found of endpoints as well.
type VerdictSink interface {
	// Probed takes verdicts that the prober has just given; those that only say that our own guard or budget refused
	// (blocked) are among them.
	Probed(ctx context.Context, verdicts []minecanary.Verdict) error
	// Expired takes confirmed endpoints whose verdict has ended or was withdrawn. It may be repeated.
	Expired(ctx context.Context, endpoints []minecanary.Endpoint) error
}

// Known is what the catalogue says of an endpoint.
type Known struct {
	// Reason is one printable line: the pool, and where that was read; "" if that is not enough to report anybody.
	Reason string
	// Name is the pool's name for the server, Dialect what is spoken there; "" if unknown.
	Name, Dialect string
}

// Publisher publishes the confirmed endpoints.
type Publisher interface {
	Publish(ctx context.Context, verdicts []minecanary.Verdict) error
}

// Lists says what people said of an endpoint beforehand.
type Lists interface {
	// Allowed: never scored, asked or reported. Blocked: always reported. The reason is the list's.
	Allowed(ep minecanary.Endpoint, at time.Time) (reason string, ok bool)
	Blocked(ep minecanary.Endpoint, at time.Time) (reason string, ok bool)
}
