package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/minecanary/minecanary/consumer"
)

// Pauses between attempts.
const (
	backoffLow  = 200 * time.Millisecond
	backoffHigh = 5 * time.Second
)

// partition is one assigned partition in one generation.
type partition struct {
	s          *Source
	topic      string
	id         int
	name       string
	batchBytes int
	ledger     *ledger
	// free are the buffers nobody uses; nil stands for one that was not made yet.
	free chan *arena

	mu   sync.Mutex
	view view
	// stop ends reading in the current epoch, cut the current connection.
	stop, cut context.CancelFunc
}

// view is what others may see of a partition.
type view struct {
	// started: it is known where to begin.
	started bool
	// fetched: there was at least one answer.
	fetched bool
	// gathering: messages were read and not yet handed over.
	gathering bool
	// waiting: the receiver, or the state store, holds reading up.
	waiting bool
	// want is the next offset to read, handed that after the last batch, end the partition's end.
	want, handed, end int64
	// emptyTo is an end up to which there is nothing to read though offsets remain (all was compacted away).
	emptyTo int64
}

func (v view) behind() int64 {
	if v.end <= v.emptyTo {
		return 0
	}
	return max(v.end-v.want, 0)
}

type arena struct {
	data     []byte
	messages []consumer.Message
}

// append copies b; buffers double, and are kept when they come back.
func (a *arena) append(b []byte) {
	if need := len(a.data) + len(b); need > cap(a.data) {
		grown := make([]byte, len(a.data), max(need, 2*cap(a.data), minArena))
		copy(grown, a.data)
		a.data = grown
	}
	a.data = append(a.data, b...)
}

const minArena = 64 << 10

func newPartition(s *Source, topic string, id int, committed int64, batchBytes int) *partition {
	p := &partition{
		s: s, topic: topic, id: id, name: partitionName(topic, id), batchBytes: batchBytes,
		ledger: newLedger(committed), free: make(chan *arena, inFlight),
		view: view{want: -1, handed: -1, end: -1, emptyTo: -1},
	}
	for range inFlight {
		p.free <- nil
	}
	return p
}

func (p *partition) snapshot() view {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view
}

func (p *partition) update(f func(*view)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.view)
}

func (p *partition) sawEnd(end int64) { p.update(func(v *view) { v.end = max(v.end, end) }) }

// restart makes the reader open a new connection.
func (p *partition) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut != nil {
		p.cut()
	}
}

// run finds out where to begin and reads, again and again if it has to be started anew, until the context ends.
func (p *partition) run(ctx context.Context) {
	pause := backoff{low: backoffLow, high: backoffHigh}
	for ctx.Err() == nil {
		p.mu.Lock()
		epochCtx, stop := context.WithCancel(ctx)
		p.stop = stop
		epoch := p.ledger.currentEpoch()
		p.view.started, p.view.gathering = false, false
		p.mu.Unlock()
		began := time.Now()
		if start, ok := p.begin(epochCtx); ok {
			p.update(func(v *view) {
				v.started, v.waiting, v.want, v.handed = true, false, start.Offset, start.Offset
			})
			newReader(epochCtx, p, epoch, start).run()
		}
		stop()
		// State that refuses every batch must not make this spin.
		if time.Since(began) > backoffHigh {
			pause.reset()
		} else {
			pause.wait(ctx)
		}
	}
}

// begin asks the StartFunc until it answers.
func (p *partition) begin(ctx context.Context) (consumer.Start, bool) {
	pause := backoff{low: backoffLow, high: backoffHigh}
	for {
		var start consumer.Start
		var err error
		committed := p.ledger.committedOffset()
		resolve := func(lost bool) (int64, error) { return p.resolve(ctx, lost) }
		switch {
		case p.s.cfg.Start != nil:
			start, err = p.s.cfg.Start(ctx, p.name, committed, resolve)
		case committed >= 0:
			start.Offset = committed
		default:
			start.Offset, err = resolve(false)
		}
		if err == nil && start.Offset < 0 {
			err = fmt.Errorf("offset %d is negative", start.Offset)
		}
		if ctx.Err() != nil {
			return start, false
		}
		if err == nil {
			return start, true
		}
		p.s.report(p.name, fmt.Errorf("find out where to begin: %w", err))
		if !pause.wait(ctx) {
			return start, false
		}
	}
}

// resolve gives the offset that the configuration names.
func (p *partition) resolve(ctx context.Context, lost bool) (int64, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }() // it was only read from
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	switch {
	case lost && p.s.cfg.Rebuild > 0:
		offset, err := c.ReadOffset(time.Now().Add(-p.s.cfg.Rebuild))
		if err != nil || offset >= 0 {
			return offset, err
		}
		// Nothing is that new.
		return c.ReadLastOffset()
	case !lost && p.s.cfg.From == FromLatest:
		return c.ReadLastOffset()
	}
	return c.ReadFirstOffset()
}

// dial connects to the partition's leader, whom any broker knows.
func (p *partition) dial(ctx context.Context) (*kafka.Conn, error) {
	dialer := p.s.net.dialer(idleTimeout, p.s.cfg.MaxBytes+fastSlack)
	brokers := p.s.brokerList()
	rand.Shuffle(len(brokers), func(i, j int) { brokers[i], brokers[j] = brokers[j], brokers[i] })
	var errs []error
	for _, broker := range brokers {
		c, err := func() (*kafka.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*p.s.cfg.Client.dialTimeout())
			defer cancel()
			found, err := dialer.LookupPartition(ctx, "tcp", broker, p.topic, p.id)
			if err != nil {
				return nil, err
			}
			return dialer.DialPartition(ctx, "tcp", broker, found)
		}()
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// acked is the AckFunc of one batch.
func (p *partition) acked(t ticket, err error) {
	switch {
	case err == nil:
		p.ledger.ack(t)
	case errors.Is(err, consumer.ErrRestart):
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.ledger.restart(t) && p.stop != nil {
			p.stop()
		}
	default:
		p.ledger.giveUp(t)
	}
}

// release gives a buffer back, once.
func (p *partition) release(a *arena) func() {
	var once atomic.Bool
	return func() {
		if once.CompareAndSwap(false, true) {
			a.data, a.messages = a.data[:0], a.messages[:0]
			p.free <- a
		}
	}
}
