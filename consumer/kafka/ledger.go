package kafka

import "sync"

// MaxPending is how many batches of one partition may wait for their acknowledgement; more block reading.
const MaxPending = 1024

// ledger keeps which batches of one partition were handed over and acknowledged. What may be committed is the end of the
// contiguous run of acknowledged batches, and never less than what was committed before.
type ledger struct {
	mu sync.Mutex
	// epoch counts restarts; acknowledgements of earlier epochs are ignored.
	epoch uint64
	// pending are the batches handed over in this epoch and not yet part of the run, in order.
	pending []entry
	// first is the number of pending[0] within the epoch.
	first uint64
	// reached is the end of the run; as long as nothing was acknowledged in this epoch, what is committed.
	reached int64
	// committed is what the group has.
	committed int64
	// stopped: a batch was given up, so that the run cannot grow until the next restart.
	stopped bool
	// closed: the partition is read by somebody else.
	closed bool
	// room is signalled when pending shrinks.
	room chan struct{}
}

type entry struct {
	next  int64
	acked bool
}

// ticket names one batch.
type ticket struct{ epoch, number uint64 }

// newLedger starts with what the group has committed (-1: nothing).
func newLedger(committed int64) *ledger {
	return &ledger{reached: committed, committed: committed, room: make(chan struct{}, 1)}
}

// hand notes a batch that ends at next. Batches are noted in the order of their offsets. It is false if the epoch is
// over.
func (l *ledger) hand(epoch uint64, next int64) (ticket, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || epoch != l.epoch {
		return ticket{}, false
	}
	t := ticket{epoch, l.first + uint64(len(l.pending))}
	if !l.stopped {
		l.pending = append(l.pending, entry{next: next})
	}
	return t, true
}

// full tells that too many batches wait.
func (l *ledger) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) >= MaxPending
}

// settled tells that no batch waits for its acknowledgement.
func (l *ledger) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) == 0
}

// current tells whether an epoch lasts.
func (l *ledger) current(epoch uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.epoch == epoch
}

// currentEpoch gives the epoch's number.
func (l *ledger) currentEpoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// ack takes a batch as safe.
func (l *ledger) ack(t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.stopped || t.epoch != l.epoch || t.number < l.first || t.number-l.first >= uint64(len(l.pending)) {
		return
	}
	l.pending[t.number-l.first].acked = true
	n := 0
	for n < len(l.pending) && l.pending[n].acked {
		l.reached = l.pending[n].next
		n++
	}
	if n > 0 {
		l.pending = append(l.pending[:0], l.pending[n:]...)
		l.first += uint64(n)
		l.signal()
	}
}

// giveUp stops commits until the next restart.
func (l *ledger) giveUp(t ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || t.epoch != l.epoch {
		return
	}
	l.stopped = true
	l.pending = nil
	l.signal()
}

// restart begins a new epoch. It is false if the ticket's epoch is over: somebody else was first.
func (l *ledger) restart(t ticket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || t.epoch != l.epoch {
		return false
	}
	l.epoch++
	l.pending, l.first, l.reached, l.stopped = nil, 0, l.committed, false
	l.signal()
	return true
}

// close ends the ledger: the partition was lost.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.pending = nil
	l.signal()
}

// due gives the offset to commit, if there is a new one.
func (l *ledger) due() (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reached, !l.closed && l.reached > l.committed
}

// done notes what was committed.
func (l *ledger) done(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed = max(l.committed, offset)
}

func (l *ledger) committedOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed
}

func (l *ledger) signal() {
	select {
	case l.room <- struct{}{}:
	default:
	}
}
