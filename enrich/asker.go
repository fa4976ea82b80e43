package enrich

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// Bounds and times of asking.
const (
	// finitePatience: a finite run waits for a budget that has room again sooner than this, and takes "blocked" for an
	// answer otherwise.
	finitePatience = 30 * time.Second
	// errorExpiry is how long a verdict stands that could not be had because the verifier itself failed.
	errorExpiry = time.Minute

	// gatherFor is how long offers are gathered before they go to a shared queue, maxOffers at a time.
	gatherFor = 100 * time.Millisecond
	maxOffers = 256
	// pollEvery is how often a shared queue is asked when it was empty, from half to all of it, so that processes spread.
	pollEvery = 500 * time.Millisecond
	// countEvery is how often the size of a shared queue is looked at.
	countEvery = 5 * time.Second
	// An endpoint is not offered to a shared queue again for recentFor to twice that; maxRecent bounds what is remembered.
	recentFor = 15 * time.Second
	maxRecent = 2 * MaxQueued
	// maxUndone bounds the leases whose end could not be told to a shared queue yet; the rest end by themselves.
	maxUndone = MaxQueued
	// A shared queue that fails is tried again after firstRetry, doubled each time up to lastRetry, half of it by chance.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
	// farewell bounds what is told to a shared queue when the run ends.
	farewell = 2 * time.Second
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
	// queue is shared with other processes; nil: local is the queue.
	queue Queue
	// warn hears, from other goroutines, of a shared queue's failures; nil: nobody does.
	warn func(what string, err error)
	// local holds what waits here: everything, or what is gathered for the shared queue.
	local *MemoryQueue

	gathered chan struct{} // something is to be told to the shared queue
	freed    chan struct{} // a worker has become free

	mu     sync.Mutex
	asked  uint64
	pushed uint64                              // dropped by the shared queue because of us
	recent [2]map[minecanary.Endpoint]struct{} // offered lately: since turned, and before
	turned time.Time
	held   map[minecanary.Endpoint]Lease // taken from the shared queue, and not done
	undone []Lease                       // done, and the shared queue was not told
	busy   int                           // workers that are asking
	told   uint64                        // batches of offers that the shared queue took
	there  QueueCounts                   // in the shared queue when it was looked at last
}

func newAsker(v Verifier, workers int, now func() time.Time) *asker {
	return &asker{
		verifier: v, workers: workers, now: now, answers: make(chan answer, workers),
		local:    NewMemoryQueue(0, now),
		gathered: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		held: map[minecanary.Endpoint]Lease{},
	}
}

// offer queues a question; one about an endpoint that waits already raises its score. It never waits for a network.
func (a *asker) offer(q minecanary.Question, points float64) {
	if a.queue == nil {
		a.local.offer(Offer{q, points})
		return
	}
	if a.lately(q.Endpoint) {
		return
	}
	a.local.offer(Offer{q, points})
	poke(a.gathered)
}

// lately tells whether an endpoint was handed to the shared queue a short while ago, or is being asked by us.
func (a *asker) lately(ep minecanary.Endpoint) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.held[ep]; ok {
		return true
	}
	a.turn()
	_, now := a.recent[0][ep]
	_, before := a.recent[1][ep]
	return now || before
}

// turn forgets what was offered some time ago, with the lock held.
func (a *asker) turn() {
	if time.Since(a.turned) >= recentFor || len(a.recent[0]) >= maxRecent/2 {
		a.recent[1], a.recent[0], a.turned = a.recent[0], map[minecanary.Endpoint]struct{}{}, time.Now()
	}
}

// done forgets a question whose answer was taken in, so that the endpoint may be asked again.
func (a *asker) done(ep minecanary.Endpoint) {
	if a.queue == nil {
		a.local.forget(ep)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.held[ep]
	if !ok {
		return
	}
	delete(a.held, ep)
	delete(a.recent[0], ep)
	delete(a.recent[1], ep)
	if len(a.undone) < maxUndone {
		a.undone = append(a.undone, l)
	}
	poke(a.gathered)
}

// idle tells that nothing waits, is being asked, or is answered but not taken. Of a shared queue it tells that nothing is
// left here and that nothing waited there when it was looked at last; what others ask is theirs.
func (a *asker) idle() bool {
	known, _ := a.local.size()
	a.mu.Lock()
	defer a.mu.Unlock()
	return known == 0 && len(a.held) == 0 && a.there.Waiting == 0
}

// counts tells how many endpoints were asked here, how many wait or are being asked (in a shared queue: by anybody, as of
// some seconds ago), and how many were left out because a queue was full.
func (a *asker) counts() (asked, queued, pushed uint64) {
	known, dropped := a.local.size()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked, uint64(known + a.there.Waiting + a.there.Leased), dropped + a.pushed
}

// start starts the workers; the function it returns ends them and waits.
func (a *asker) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if a.queue == nil {
		for range a.workers {
			wg.Go(func() { a.work(ctx) })
		}
	} else {
		leases := make(chan Lease, a.workers)
		for range a.workers {
			wg.Go(func() { a.serve(ctx, leases) })
		}
		wg.Go(func() { a.take(ctx, leases) })
		wg.Go(func() { a.gather(ctx) })
	}
	unhook := context.AfterFunc(ctx, a.local.close)
	return func() {
		cancel()
		wg.Wait()
		unhook()
		if a.queue != nil {
			// Others need not wait for the leases of what was answered, nor find again what was found here.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			if err := a.tell(ctx); err != nil && a.warn != nil {
				a.warn("offer to the probe queue", err)
			}
		}
	}
}

// work asks what waits in this process.
func (a *asker) work(ctx context.Context) {
	for {
		l, ok := a.local.next()
		if !ok || !a.answer(ctx, l.Question) {
			return
		}
	}
}

// serve asks what was taken from the shared queue.
func (a *asker) serve(ctx context.Context, leases <-chan Lease) {
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-leases:
			if !a.answer(ctx, l.Question) {
				return
			}
			a.mu.Lock()
			a.busy--
			a.mu.Unlock()
			poke(a.freed)
		}
	}
}

// answer asks and hands the answer over. It is not ok when the context ended.
func (a *asker) answer(ctx context.Context, q minecanary.Question) (ok bool) {
	v, ok := a.ask(ctx, q)
	if !ok {
		return false
	}
	// The engine knows the question by the endpoint of its answer.
	v.Endpoint = q.Endpoint
	a.mu.Lock()
	a.asked++
	a.mu.Unlock()
	select {
	case a.answers <- answer{v}:
		return true
	case <-ctx.Done():
		return false
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

// take leases as many endpoints of the shared queue as there are free workers, and renews leases until they are done.
func (a *asker) take(ctx context.Context, leases chan<- Lease) {
	renewed, counted := time.Now(), time.Time{}
	failures := 0
	for wait := time.Duration(0); pause(ctx, wait, a.freed); {
		wait = jitter(pollEvery)
		var renew []Lease
		a.mu.Lock()
		free := a.workers - a.busy
		due := time.Since(renewed) >= QueueLease/3
		if due {
			renew = slices.Collect(maps.Values(a.held))
		}
		a.mu.Unlock()
		if free > 0 || len(renew) > 0 {
			got, err := a.queue.Take(ctx, free, renew)
			if err != nil {
				wait = a.failed(ctx, "take from the probe queue", err, &failures)
				continue
			}
			a.begin(got, leases)
		}
		if due {
			renewed = time.Now()
		}
		if time.Since(counted) >= countEvery {
			if err := a.count(ctx); err != nil {
				wait = a.failed(ctx, "count the probe queue", err, &failures)
				continue
			}
			counted = time.Now()
		}
		failures = 0
	}
}

// begin hands leases to free workers. An endpoint whose lease was lost and that came back to us while it is still being
// asked only gets its new lease.
func (a *asker) begin(got []Lease, leases chan<- Lease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range got {
		_, asking := a.held[l.Endpoint]
		a.held[l.Endpoint] = l
		if !asking {
			a.busy++
			leases <- l // has room for all workers
		}
	}
}

// count looks at the size of the shared queue.
func (a *asker) count(ctx context.Context) error {
	a.mu.Lock()
	told := a.told
	a.mu.Unlock()
	counts, err := a.queue.Counts(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if told == a.told { // otherwise it may be of before
		a.there = counts
	}
	return nil
}

// gather brings to the shared queue what was offered and done in a short while.
func (a *asker) gather(ctx context.Context) {
	failures := 0
	for wait := gatherFor; ; {
		select {
		case <-ctx.Done():
			return
		case <-a.gathered:
		}
		if !pause(ctx, wait, nil) {
			return
		}
		wait = gatherFor
		if err := a.tell(ctx); err != nil {
			wait = a.failed(ctx, "offer to the probe queue", err, &failures)
			poke(a.gathered)
			continue
		}
		failures = 0
	}
}

// tell tells the shared queue everything that there is to tell.
func (a *asker) tell(ctx context.Context) error {
	for {
		a.mu.Lock()
		undone := a.undone[:min(len(a.undone), maxOffers)]
		a.mu.Unlock()
		if len(undone) == 0 {
			break
		}
		if err := a.queue.Done(ctx, undone); err != nil {
			return err
		}
		a.mu.Lock()
		a.undone = a.undone[len(undone):]
		a.mu.Unlock()
	}
	for {
		leases, _ := a.local.Take(ctx, maxOffers, nil) // it does not fail
		if len(leases) == 0 {
			return nil
		}
		offers := make([]Offer, len(leases))
		for i, l := range leases {
			offers[i] = l.Offer
		}
		dropped, err := a.queue.Offer(ctx, offers)
		if err != nil {
			a.local.giveBack(leases)
			return err
		}
		a.mu.Lock()
		a.pushed += uint64(dropped)
		a.told++
		a.there.Waiting = max(a.there.Waiting, 1)
		a.turn()
		for _, l := range leases {
			a.recent[0][l.Endpoint] = struct{}{}
		}
		a.mu.Unlock()
		_ = a.local.Done(ctx, leases) // it does not fail
	}
}

// failed tells of a failure of the shared queue and gives how long to leave it alone.
func (a *asker) failed(ctx context.Context, what string, err error, failures *int) time.Duration {
	if a.warn != nil && ctx.Err() == nil {
		a.warn(what, err)
	}
	wait := lastRetry
	if *failures < 10 {
		wait = min(firstRetry<<*failures, lastRetry)
	}
	*failures++
	return jitter(wait)
}

// jitter gives from half to all of a duration.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// poke wakes whoever listens, now or when it listens next.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits for some time or a poke; it is false when the context has ended.
func pause(ctx context.Context, d time.Duration, poked <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-poked:
	case <-timer.C:
	}
	return ctx.Err() == nil
}
