// Package enrich turns slices into suspects, scores, verdicts and hits.
//
// The Engine owns the way of a batch: apply it to the suspect state, queue endpoints worth a probe, report what is
// confirmed or known at once and what is decided at the end of each report window. The state lives behind the Store
// contract, sinks and the verifier behind interfaces of this package.
package enrich

import (
	"context"
	"time"

	"github.com/minecanary/minecanary"
)

// Batch is what became of one batch of lines: slices, and the position they led to.
type Batch struct {
	// Partition and From, Next are those of the source. A batch is applied only if Next is beyond the stored position.
	Partition  string
	From, Next minecanary.Position
	// Slices may name a suspect several times. They belong to the caller again when Apply returns.
	Slices []minecanary.Slices
	// Newest is the latest record end in the batch, Unix microseconds; 0 if it had no record.
	Newest int64
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

// Store keeps suspect state with the positions it was made from: both or neither (DESIGN law 1).
//
// All methods are called by one goroutine. A callback may look up verdicts, and nothing else of the store.
type Store interface {
	// Positions are the positions applied so far, by partition.
	Positions(ctx context.Context) (map[string]minecanary.Position, error)
	// Apply adds a batch unless it was applied before, and shows every suspect it touches, added or not, once per
	// batch or more often. touched may be nil.
	Apply(ctx context.Context, b *Batch, touched func(*Suspect)) (applied bool, err error)
	// Each shows every suspect, in no order; a suspect is removed when the callback returns false.
	Each(ctx context.Context, fn func(*Suspect) bool) error
	// Clients shows every suspect of one endpoint.
	Clients(ctx context.Context, ep minecanary.Endpoint, fn func(*Suspect)) error
	// Verdict is what is known of an endpoint; ok is false for nothing, expired verdicts are returned as well.
	Verdict(ctx context.Context, ep minecanary.Endpoint) (v minecanary.Verdict, ok bool, err error)
	// PutVerdict keeps a verdict.
	PutVerdict(ctx context.Context, v minecanary.Verdict) error
	// Verdicts are all verdicts kept, ordered by endpoint.
	Verdicts(ctx context.Context) ([]minecanary.Verdict, error)
	// DropVerdicts forgets verdicts that expired before the given time.
	DropVerdicts(ctx context.Context, before time.Time) error
	// Stats are the numbers for metrics.
	Stats() StoreStats
	// Save makes everything applied so far durable; a crash afterwards finds exactly that. It does nothing where the
	// state is durable by itself.
	Save(ctx context.Context) error
}

// StoreStats are numbers of a store.
type StoreStats struct {
	Suspects, Segments, Verdicts int
	// Dropped counts suspects given up because the bound was reached, DroppedVerdicts verdicts, and Joined segments that
	// were added to a younger window's because a suspect had too many.
	Dropped, DroppedVerdicts, Joined uint64
}

// Verifier answers whether an endpoint is a mining pool. It must bound its own time.
type Verifier interface {
	Verify(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error)
}

// Sink takes hits. Write may be repeated with the same hits after a crash; Flush makes everything written durable.
type Sink interface {
	Write(ctx context.Context, hits []minecanary.Hit) error
	Flush(ctx context.Context) error
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
