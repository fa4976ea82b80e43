package enrich

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// Bounds of the queue of questions.
const (
	// MaxQueued bounds the endpoints waiting to be asked; the lowest score goes when it is full.
	MaxQueued = 10_000
	// finitePatience: a finite run waits for a budget that has room again sooner than this, and takes "blocked" for an
	// answer otherwise.
	finitePatience = 30 * time.Second
	// errorExpiry is how long a verdict stands that could not be had because the verifier itself failed.
	errorExpiry = time.Minute
)

// answer is what became of a question.
type answer struct{ verdict minecanary.Verdict }

// asker asks about endpoints, best score first, several at a time, each once.
type asker struct {
	verifier Verifier
	workers  int
	now      func() time.Time
	answers  chan answer
	// patience: a question refused for less than this long is asked again instead of answered.
	patience time.Duration

	mu            sync.Mutex
	wake          *sync.Cond
	queue         questions
	known         map[minecanary.Endpoint]*question // waiting or being asked
	worst         float64                           // no score in a full queue was lower when it was looked at last
	closed        bool
	asked, pushed uint64
}

func newAsker(v Verifier, workers int, now func() time.Time) *asker {
	a := &asker{verifier: v, workers: workers, now: now, answers: make(chan answer, workers), known: map[minecanary.Endpoint]*question{}}
	a.wake = sync.NewCond(&a.mu)
	return a
}

// offer queues a question; one about an endpoint that waits already raises its score.
func (a *asker) offer(q minecanary.Question, points float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.known[q.Endpoint]; ok {
		if old.index >= 0 && points > old.points {
			old.points, old.Question = points, q
			heap.Fix(&a.queue, old.index)
		}
		return
	}
	if len(a.queue) >= MaxQueued {
		if points <= a.worst {
			a.pushed++
			return
		}
		worst := 0
		for i := range a.queue {
			if a.queue.Less(worst, i) {
				worst = i
			}
		}
		a.pushed++
		if a.worst = a.queue[worst].points; a.worst >= points {
			return
		}
		delete(a.known, a.queue[worst].Endpoint)
		heap.Remove(&a.queue, worst)
	}
	item := &question{Question: q, points: points}
	a.known[q.Endpoint] = item
	heap.Push(&a.queue, item)
	a.wake.Signal()
}

// idle tells that nothing waits, is being asked, or is answered but not taken.
func (a *asker) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known) == 0
}

func (a *asker) counts() (asked, queued, pushed uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked, uint64(len(a.known)), a.pushed
}

// start starts the workers; the function it returns ends them and waits.
func (a *asker) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range a.workers {
		wg.Go(func() { a.work(ctx) })
	}
	unhook := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		a.closed = true
		a.mu.Unlock()
		a.wake.Broadcast()
	})
	return func() {
		cancel()
		wg.Wait()
		unhook()
	}
}

func (a *asker) take() *question {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) == 0 && !a.closed {
		a.wake.Wait()
	}
	if a.closed {
		return nil
	}
	return heap.Pop(&a.queue).(*question)
}

func (a *asker) work(ctx context.Context) {
	for {
		q := a.take()
		if q == nil {
			return
		}
		v, ok := a.ask(ctx, q.Question)
		if !ok {
			return
		}
		a.mu.Lock()
		a.asked++
		a.mu.Unlock()
		select {
		case a.answers <- answer{v}:
		case <-ctx.Done():
			return
		}
	}
}

// ask puts one question, again as long as a budget asks for a little patience. It is not ok when the context ended.
func (a *asker) ask(ctx context.Context, q minecanary.Question) (minecanary.Verdict, bool) {
	for {
		v, err := a.verifier.Verify(ctx, q)
		if ctx.Err() != nil {
			return v, false
		}
		now := a.now()
		if err != nil {
			v = minecanary.Verdict{
				Endpoint: q.Endpoint, Status: minecanary.Blocked, Reason: "could not be asked: " + err.Error(),
				At: now, Expires: now.Add(errorExpiry),
			}
		}
		if err != nil || v.Status != minecanary.Blocked || v.Expires.Sub(now) >= a.patience {
			return v, true
		}
		select {
		case <-ctx.Done():
			return v, false
		case <-time.After(max(v.Expires.Sub(now), 10*time.Millisecond)):
		}
	}
}

// done forgets a question whose answer was taken in, so that the endpoint may be asked again.
func (a *asker) done(ep minecanary.Endpoint) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, ep)
}

type question struct {
	minecanary.Question
	points float64
	index  int // in the queue, -1 when taken out
}

// questions is a heap with the highest score on top; among equals the lower endpoint, so that order is stable.
type questions []*question

func (q questions) Len() int { return len(q) }
func (q questions) Less(i, j int) bool {
	if q[i].points != q[j].points {
		return q[i].points > q[j].points
	}
	return q[i].Endpoint.Compare(q[j].Endpoint) < 0
}
func (q questions) Swap(i, j int) { q[i], q[j] = q[j], q[i]; q[i].index, q[j].index = i, j }

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
