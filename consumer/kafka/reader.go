package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/minecanary/minecanary/consumer"
)

// maxFetch is the largest fetch, tried where smaller ones bring no message though the partition goes on: a record batch
// whose rest was compacted away can fill a whole fetch.
const maxFetch = 64 << 20

// fastSlack is by how much an answer may exceed Config.MaxBytes and be read the fast way. Brokers send the first record
// batch whole, whatever its size, and there kafka-go takes memory of four times its compressed size at once.
const fastSlack = 4 << 20

// errSlow asks for the next fetch in the slow way.
var errSlow = errors.New("not readable the fast way")

// reader reads one partition in one epoch.
type reader struct {
	ctx   context.Context
	p     *partition
	epoch uint64

	// want is the next offset to read, from where the next batch begins.
	want, from int64
	cuts       []int64
	token      uint64

	cur   *arena
	first int64     // offset of the first message in cur
	since time.Time // when it came

	scratch []byte
	// slow: the next fetch goes through the client, which knows offsets of oversized messages and markers. maxBytes is how
	// much it asks for.
	slow     bool
	maxBytes int
	// outOfRange: the broker does not have want.
	outOfRange bool
}

func newReader(ctx context.Context, p *partition, epoch uint64, start consumer.Start) *reader {
	return &reader{
		ctx: ctx, p: p, epoch: epoch, want: start.Offset, from: start.Offset, cuts: start.Cuts, token: start.Token,
		scratch: make([]byte, consumer.MaxLine), maxBytes: p.s.cfg.MaxBytes,
	}
}

// run reads until the context ends, over as many connections as it takes.
func (r *reader) run() {
	defer func() {
		if r.cur != nil {
			r.p.release(r.cur)()
		}
	}()
	pause := backoff{low: backoffLow, high: backoffHigh}
	failed := 0
	for r.ctx.Err() == nil {
		before := r.want
		err := r.session()
		if r.ctx.Err() != nil {
			return
		}
		if err == nil {
			continue
		}
		if r.want != before {
			failed = 0
			pause.reset()
		}
		// A leader that moved is no news; one that stays away is.
		if failed++; failed > 1 || !retriable(err) {
			r.p.s.report(r.p.name, fmt.Errorf("read at offset %d: %w", r.want, err))
		}
		pause.wait(r.ctx)
	}
}

// session reads over one connection. It returns nil if another is wanted at once.
func (r *reader) session() error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	r.p.mu.Lock()
	r.p.cut = cancel
	r.p.mu.Unlock()

	c, err := r.p.dial(ctx)
	if err != nil {
		return ended(ctx, r.ctx, err)
	}
	defer func() { _ = c.Close() }() // it was only read from
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if r.outOfRange {
		if err := r.findRange(c); err != nil {
			return ended(ctx, r.ctx, err)
		}
	}
	for {
		var err error
		if r.slow {
			err = r.fetchSlow(ctx)
		} else {
			err = r.fetch(c)
		}
		switch {
		case err == nil:
		case errors.Is(err, errSlow):
			r.slow = true
		case errors.Is(err, errTooLarge):
			r.slow = true
			return nil
		case errors.Is(err, kafka.OffsetOutOfRange):
			r.outOfRange = true
			return nil
		default:
			// Whatever the slow way could not read, the other may.
			r.slow = false
			return ended(ctx, r.ctx, err)
		}
	}
}

// ended hides the error of a session that was cut from outside while its epoch goes on.
func ended(session, epoch context.Context, err error) error {
	if session.Err() != nil && epoch.Err() == nil {
		return nil
	}
	return err
}

// findRange goes to the nearest offset that exists.
func (r *reader) findRange(c *kafka.Conn) error {
	first, last, err := c.ReadOffsets()
	if err != nil {
		return err
	}
	r.outOfRange = false
	switch {
	case r.want < first:
		r.p.s.report(r.p.name, fmt.Errorf("messages %d to %d were deleted by the topic's retention before they were read",
			r.want, first-1))
		r.want = first
	case r.want > last:
		r.p.s.report(r.p.name, fmt.Errorf("offset %d is beyond the end %d: the log was truncated or the topic made anew",
			r.want, last))
		r.want = last
	}
	r.p.update(func(v *view) { v.want = r.want })
	return nil
}

// fetch reads what one request brings, the fast way. kafka-go panics on some record batches that compaction emptied.
func (r *reader) fetch(c *kafka.Conn) (err error) {
	defer func() {
		if e := recover(); e != nil {
			r.slow = true
			err = fmt.Errorf("kafka-go: %v", e)
		}
	}()
	// Not where the last batch left it: at the end of an empty batch kafka-go goes back to offset 1.
	if _, err := c.Seek(r.want, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
		return err
	}
	b := c.ReadBatchWith(kafka.ReadBatchConfig{
		MinBytes: r.p.s.cfg.MinBytes, MaxBytes: r.p.s.cfg.MaxBytes, MaxWait: r.p.s.cfg.MaxWait,
	})
	before := r.want
	err = r.readAll(b)
	end := b.HighWaterMark()
	if errors.Is(err, io.EOF) {
		// The rest of the last record batch may have been compacted away.
		r.want = max(r.want, b.Offset())
	}
	if e := b.Close(); e != nil && (err == nil || errors.Is(err, io.EOF)) {
		err = e
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, kafka.RequestTimedOut):
		return r.fetched(before, end)
	case errors.Is(err, io.ErrShortBuffer):
		return errSlow
	}
	return err
}

// readAll takes messages until there are none.
func (r *reader) readAll(b *kafka.Batch) error {
	for {
		n, err := b.Read(r.scratch)
		if err != nil {
			return err
		}
		offset := b.Offset() - 1
		// The broker sends whole record batches, which may begin before the offset asked for.
		if offset < r.want {
			continue
		}
		if maybeMarker(r.scratch[:n]) {
			return errSlow
		}
		if err := r.add(offset, r.scratch[:n], false); err != nil {
			return err
		}
	}
}

// maybeMarker tells whether a value could be that of a transaction's end: a version, 0, and the coordinator's epoch.
// The fast way does not tell control records apart; the slow way does.
func maybeMarker(value []byte) bool {
	return len(value) == 6 && binary.BigEndian.Uint16(value) == 0
}

// fetched ends a fetch that came well.
func (r *reader) fetched(before, end int64) error {
	r.p.update(func(v *view) {
		v.fetched, v.want, v.end = true, r.want, end
		if r.want == before && r.want < end && r.maxBytes >= maxFetch {
			v.emptyTo = end
		}
	})
	if r.want == before && r.want < end {
		r.slow, r.maxBytes = true, min(4*r.maxBytes, maxFetch)
	} else {
		r.maxBytes = r.p.s.cfg.MaxBytes
	}
	if r.cur != nil && (r.want >= end || time.Since(r.since) >= r.p.s.cfg.BatchWait) {
		return r.flush(r.want)
	}
	return nil
}

// fetchSlow reads what one request brings through the client: it holds the whole answer in memory, knows each message's
// offset whatever its size, and which are markers. One partition at a time does so.
func (r *reader) fetchSlow(ctx context.Context) error {
	r.waiting(true)
	select {
	case r.p.s.oversized <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.p.s.oversized }()
	r.waiting(false)

	before, oversized := r.want, false
	res, err := r.p.s.client.Fetch(ctx, &kafka.FetchRequest{
		Topic: r.p.topic, Partition: r.p.id, Offset: r.want, MinBytes: 1, MaxBytes: int64(r.maxBytes), MaxWait: r.p.s.cfg.MaxWait,
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return err
	}
	batches := []protocol.RecordReader{res.Records}
	if stream, ok := res.Records.(*protocol.RecordStream); ok {
		batches = stream.Records
	}
	for _, batch := range batches {
		_, control := batch.(*protocol.ControlBatch)
		for {
			rec, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			cut, err := r.take(rec, control)
			if err != nil {
				return err
			}
			oversized = oversized || cut
		}
	}
	r.slow = oversized // the next ones are likely to be like it
	return r.fetched(before, res.HighWatermark)
}

// take adds a record of the slow way and gives its memory back.
func (r *reader) take(rec *protocol.Record, control bool) (cut bool, err error) {
	if rec.Key != nil {
		defer func() { _ = rec.Key.Close() }() // memory
	}
	size := 0
	if rec.Value != nil {
		defer func() { _ = rec.Value.Close() }() // memory
		size = rec.Value.Len()
	}
	switch {
	case rec.Offset < r.want:
		return false, nil
	case control:
		r.want = rec.Offset + 1
		return false, nil
	}
	if cut = size > consumer.MaxLine; cut {
		size = consumer.MaxSample
	}
	value := r.scratch[:size]
	if size > 0 {
		if _, err := io.ReadFull(rec.Value, value); err != nil {
			return cut, err
		}
	}
	return cut, r.add(rec.Offset, value, cut)
}

// add takes one message into the batch and hands over what is complete.
func (r *reader) add(offset int64, value []byte, cut bool) error {
	if len(r.cuts) > 0 {
		for len(r.cuts) > 0 && offset >= r.cuts[0] {
			if err := r.flush(r.cuts[0]); err != nil {
				return err
			}
		}
	}
	if r.cur == nil {
		a, err := r.acquire()
		if err != nil {
			return err
		}
		r.cur, r.first, r.since = a, offset, time.Now()
		r.p.update(func(v *view) { v.gathering = true })
	}
	r.cur.append(value)
	r.cur.messages = append(r.cur.messages, consumer.Message{End: len(r.cur.data), Offset: offset, Cut: cut})
	r.want = offset + 1
	if len(r.cur.data) >= r.p.batchBytes || len(r.cur.messages) >= r.p.s.cfg.BatchMessages ||
		len(r.cuts) > 0 && r.want == r.cuts[0] {
		return r.flush(r.want)
	}
	return nil
}

// acquire waits for a buffer: this is where a slow receiver stops fetching.
func (r *reader) acquire() (*arena, error) {
	var a *arena
	select {
	case a = <-r.p.free:
	default:
		r.waiting(true)
		defer r.waiting(false)
		select {
		case a = <-r.p.free:
		case <-r.ctx.Done():
			return nil, r.ctx.Err()
		}
	}
	if a == nil {
		a = &arena{}
	}
	return a, nil
}

func (r *reader) waiting(yes bool) { r.p.update(func(v *view) { v.waiting = yes }) }

// flush hands over the batch from where the last one ended to next, or to a cut before it. All messages gathered lie
// before the first cut.
func (r *reader) flush(next int64) error {
	for len(r.cuts) > 0 && r.cuts[0] <= next {
		next, r.cuts = r.cuts[0], r.cuts[1:]
		if next > r.from {
			break
		}
	}
	if next <= r.from && r.cur == nil {
		return nil
	}
	a := r.cur
	if a == nil {
		var err error
		if a, err = r.acquire(); err != nil {
			return err
		}
		r.first = r.from
	}
	r.cur = nil
	release := r.p.release(a)
	if err := r.deliver(a, next, release); err != nil {
		release()
		return err
	}
	r.from = next
	return nil
}

// deliver waits until the batch was taken.
func (r *reader) deliver(a *arena, next int64, release func()) error {
	r.p.update(func(v *view) { v.waiting, v.want = true, r.want })
	for r.p.ledger.full() {
		select {
		case <-r.p.ledger.room:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
	t, ok := r.p.ledger.hand(r.epoch, next)
	if !ok {
		return context.Canceled
	}
	it := item{
		part: r.p, epoch: r.epoch,
		batch: consumer.Batch{
			Partition: r.p.name, Name: r.p.name, Topic: r.p.topic, Token: r.token,
			Data: a.data, Messages: a.messages, Release: release,
			FirstLine: r.first,
			From:      consumer.Position{Offset: r.from}, Next: consumer.Position{Offset: next},
		},
		ack: func(_ context.Context, err error) error {
			r.p.acked(t, err)
			return nil
		},
	}
	select {
	case r.p.s.out <- it:
		r.p.update(func(v *view) { v.waiting, v.gathering, v.handed, v.want = false, false, next, r.want })
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// retriable tells errors that a new connection usually mends.
func retriable(err error) bool {
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return code.Temporary() || code == kafka.BrokerNotAvailable || code == kafka.ReplicaNotAvailable
	}
	return true
}
