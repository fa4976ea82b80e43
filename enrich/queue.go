package enrich

import (
	"cmp"
	"container/heap"
	"context"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// Bounds of a queue of questions.
const (
	// MaxQueued bounds the endpoints waiting to be asked; the lowest score goes when it is full.
	MaxQueued = 10_000
	// QueueLease is how long an endpoint that was taken stays with its taker: twice the longest time that a probe of an
	// endpoint takes (45 s), so that two renewals may fail before somebody else asks it.
	QueueLease = 90 * time.Second
)

// Offer is a question and how much it is worth.
type Offer struct {
	minecanary.Question
	// Points is the score; the highest is asked first, the lower endpoint among equals. NaN counts as the lowest.
	Points float64
}

// compare orders offers from the best to the worst.
func (o Offer) compare(p Offer) int {
	if c := cmp.Compare(p.Points, o.Points); c != 0 { // NaN is below everything
		return c
	}
	return o.Endpoint.Compare(p.Endpoint)
}

// Lease is a question that was taken. Nobody else gets the endpoint until the lease ends.
type Lease struct {
	Offer
	// Token tells this lease from earlier and later ones of the endpoint.
	Token string
}

// QueueCounts is what is in a queue.
type QueueCounts struct {
	// Waiting is how many endpoints wait, Leased how many are being asked.
	Waiting, Leased int
}

// Queue holds the endpoints to be asked about, each once, best first, at most MaxQueued waiting. It may be shared by many
// processes, and is safe for concurrent use. A taker that dies loses nothing: what was taken and neither done nor renewed
// waits again when its lease ends.
type Queue interface {
	// Offer queues endpoints. One that waits already gets the better offer, one that is being asked is left alone. When
	// the queue is full the worst go; dropped is how many did, of those offered or of those that waited.
	Offer(ctx context.Context, offers []Offer) (dropped int, err error)
	// Take leases up to n endpoints, the best first, and renews the leases given; with n = 0 it only renews. One that
	// has passed to somebody else is not renewed.
	Take(ctx context.Context, n int, renew []Lease) ([]Lease, error)
	// Done ends leases after the answer was taken in, and the endpoints may be offered again; a shared queue refuses them
	// for some seconds more, until every process has heard of the verdict. A lease that has passed to somebody else is
	// left alone.
	Done(ctx context.Context, leases []Lease) error
	// Counts tells how much is in the queue.
	Counts(ctx context.Context) (QueueCounts, error)
}

// MemoryQueue is the queue of one process.
type MemoryQueue struct {
	lease time.Duration
	now   func() time.Time

	mu      sync.Mutex
	wake    *sync.Cond
	closed  bool
	waiting questions
	known   map[minecanary.Endpoint]*question // waiting or leased
	worst   float64                           // nothing that waits has a lower score
	tokens  uint64
	dropped uint64
}

// NewMemoryQueue gives a queue whose leases end after the given time of the clock now; 0: never.
func NewMemoryQueue(lease time.Duration, now func() time.Time) *MemoryQueue {
	m := &MemoryQueue{lease: lease, now: now, known: map[minecanary.Endpoint]*question{}}
	m.wake = sync.NewCond(&m.mu)
	return m
}

// Offer implements Queue.
func (m *MemoryQueue) Offer(_ context.Context, offers []Offer) (dropped int, err error) {
	m.mu.Lock()
	m.reclaim()
	m.mu.Unlock()
	for _, o := range offers {
		if m.offer(o) {
			dropped++
		}
	}
	return dropped, nil
}

// offer queues one endpoint and tells whether it, or another for it, was dropped.
func (m *MemoryQueue) offer(o Offer) (dropped bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if math.IsNaN(o.Points) {
		o.Points = math.Inf(-1)
	}
	if old, ok := m.known[o.Endpoint]; ok {
		if old.index >= 0 && o.Points > old.Points {
			old.Offer = o
			heap.Fix(&m.waiting, old.index)
		}
		return false
	}
	if len(m.waiting) >= MaxQueued {
		dropped = true
		m.dropped++
		if o.Points <= m.worst {
			return true
		}
		worst := 0
		for i := range m.waiting {
			if m.waiting.Less(worst, i) {
				worst = i
			}
		}
		if m.worst = m.waiting[worst].Points; m.worst >= o.Points {
			return true
		}
		delete(m.known, m.waiting[worst].Endpoint)
		heap.Remove(&m.waiting, worst)
	}
	m.push(&question{Offer: o})
	return dropped
}

// push makes a question wait, with the lock held.
func (m *MemoryQueue) push(q *question) {
	if len(m.waiting) == 0 || q.Points < m.worst {
		m.worst = q.Points
	}
	m.known[q.Endpoint] = q
	heap.Push(&m.waiting, q)
	m.wake.Signal()
}

// Take implements Queue.
func (m *MemoryQueue) Take(_ context.Context, n int, renew []Lease) ([]Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range renew {
		if q := m.held(l); q != nil {
			if q.index >= 0 {
				heap.Remove(&m.waiting, q.index)
			}
			q.until = m.now().Add(m.lease)
		}
	}
	m.reclaim()
	var leases []Lease
	for len(leases) < n && len(m.waiting) > 0 {
		leases = append(leases, m.pop())
	}
	return leases, nil
}

// next leases the best endpoint, and waits for one; it is not ok when the queue was closed. Leases must not end.
func (m *MemoryQueue) next() (l Lease, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.waiting) == 0 && !m.closed {
		m.wake.Wait()
	}
	if m.closed {
		return Lease{}, false
	}
	return m.pop(), true
}

// close lets next return.
func (m *MemoryQueue) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.wake.Broadcast()
}

// pop leases the best endpoint, with the lock held.
func (m *MemoryQueue) pop() Lease {
	q := heap.Pop(&m.waiting).(*question)
	m.tokens++
	q.token, q.until = strconv.FormatUint(m.tokens, 10), m.now().Add(m.lease)
	return Lease{Offer: q.Offer, Token: q.token}
}

// reclaim lets everything wait again whose lease has ended, with the lock held.
func (m *MemoryQueue) reclaim() {
	if m.lease == 0 || len(m.known) == len(m.waiting) {
		return
	}
	now := m.now()
	for _, q := range m.known {
		if q.index < 0 && !q.until.After(now) {
			m.push(q)
		}
	}
	m.trim()
}

// trim drops the worst that are too many, with the lock held.
func (m *MemoryQueue) trim() {
	for len(m.waiting) > MaxQueued {
		worst := slices.MaxFunc(m.waiting, func(a, b *question) int { return a.compare(b.Offer) })
		delete(m.known, worst.Endpoint)
		heap.Remove(&m.waiting, worst.index)
		m.dropped++
	}
}

// held gives the question of a lease, nil if it has passed to somebody else; with the lock held.
func (m *MemoryQueue) held(l Lease) *question {
	if q, ok := m.known[l.Endpoint]; ok && q.token == l.Token {
		return q
	}
	return nil
}

// Done implements Queue.
func (m *MemoryQueue) Done(_ context.Context, leases []Lease) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range leases {
		if q := m.held(l); q != nil {
			if q.index >= 0 {
				heap.Remove(&m.waiting, q.index)
			}
			delete(m.known, l.Endpoint)
		}
	}
	return nil
}

// forget ends whatever lease an endpoint has.
func (m *MemoryQueue) forget(ep minecanary.Endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q, ok := m.known[ep]; ok && q.index < 0 {
		delete(m.known, ep)
	}
}

// giveBack lets what was leased wait again.
func (m *MemoryQueue) giveBack(leases []Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range leases {
		if q := m.held(l); q != nil && q.index < 0 {
			m.push(q)
		}
	}
	m.trim()
}

// Counts implements Queue.
func (m *MemoryQueue) Counts(context.Context) (QueueCounts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reclaim()
	return QueueCounts{Waiting: len(m.waiting), Leased: len(m.known) - len(m.waiting)}, nil
}

// size is how many endpoints wait or are leased, and how many were dropped so far.
func (m *MemoryQueue) size() (known int, dropped uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.known), m.dropped
}

// question is an offer in a MemoryQueue.
type question struct {
	Offer
	index int // among those that wait, -1 when leased
	token string
	until time.Time // of the lease
}

// questions is a heap with the best on top.
type questions []*question

func (q questions) Len() int           { return len(q) }
func (q questions) Less(i, j int) bool { return q[i].compare(q[j].Offer) < 0 }
func (q questions) Swap(i, j int)      { q[i], q[j] = q[j], q[i]; q[i].index, q[j].index = i, j }

func (q *questions) Push(x any) {
	item := x.(*question)
	item.index = len(*q)
	*q = append(*q, item)
}

func (q *questions) Pop() any {
	old := *q
	item := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	item.index = -1
	return item
}
