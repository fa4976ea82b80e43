package enrich

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
)

// wire is a shared queue that can be cut off, and counts what comes over it.
type wire struct {
	Queue
	mu                      sync.Mutex
	cut                     error
	calls, offered, largest int
	asking                  int // most workers that were asked for
}

func (w *wire) call(offers, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	w.offered += offers
	w.largest = max(w.largest, offers)
	w.asking = max(w.asking, n)
	return w.cut
}

func (w *wire) set(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.calls, w.offered = err, 0, 0
}

func (w *wire) counted() (calls, offered int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls, w.offered
}

func (w *wire) Offer(ctx context.Context, offers []Offer) (int, error) {
	if err := w.call(len(offers), 0); err != nil {
		return 0, err
	}
	return w.Queue.Offer(ctx, offers)
}

func (w *wire) Take(ctx context.Context, n int, renew []Lease) ([]Lease, error) {
	if err := w.call(0, n); err != nil {
		return nil, err
	}
	return w.Queue.Take(ctx, n, renew)
}

func (w *wire) Done(ctx context.Context, leases []Lease) error {
	if err := w.call(0, 0); err != nil {
		return err
	}
	return w.Queue.Done(ctx, leases)
}

func (w *wire) Counts(ctx context.Context) (QueueCounts, error) {
	if err := w.call(0, 0); err != nil {
		return QueueCounts{}, err
	}
	return w.Queue.Counts(ctx)
}

// verify answers after some time, and counts who asked what.
type verify struct {
	takes time.Duration
	mu    sync.Mutex
	asked map[string]int
	most  int
	now   int
}

func (v *verify) Verify(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error) {
	v.mu.Lock()
	if v.asked == nil {
		v.asked = map[string]int{}
	}
	v.asked[q.Endpoint.String()]++
	v.now++
	v.most = max(v.most, v.now)
	v.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(v.takes):
	}
	v.mu.Lock()
	v.now--
	v.mu.Unlock()
	return minecanary.Verdict{Endpoint: q.Endpoint, Status: minecanary.NotPool, At: time.Now(), Expires: time.Now().Add(time.Hour)}, ctx.Err()
}

func (v *verify) total() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, times := range v.asked {
		n += times
	}
	return n
}

func endpointNo(i int) minecanary.Endpoint {
	return minecanary.NewEndpoint(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 3333, minecanary.TCP)
}

func questionNo(i int) minecanary.Question {
	return minecanary.Question{Endpoint: endpointNo(i), Reply: true, Payload: true}
}

// process is an asker on a shared queue, and an engine that takes in its answers.
type process struct {
	*asker
	wire *wire
	stop func()
	mu   sync.Mutex
	warn []error
}

// startProcess starts one; takeIn false: nobody takes in its answers.
func startProcess(t *testing.T, q Queue, v Verifier, workers int, takeIn bool) *process {
	t.Helper()
	p := &process{asker: newAsker(v, workers, time.Now), wire: &wire{Queue: q}}
	p.queue = p.wire
	p.asker.warn = func(what string, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.warn = append(p.warn, fmt.Errorf("%s: %w", what, err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop := p.start(ctx)
	var wg sync.WaitGroup
	if takeIn {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case a := <-p.answers:
					p.done(a.verdict.Endpoint)
				}
			}
		})
	}
	p.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		stop()
	})
	return p
}

func counts(t *testing.T, q Queue) QueueCounts {
	t.Helper()
	c, err := q.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSharedQueue: two processes are offered the same endpoints, and each is asked once by one of them.
func TestSharedQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const endpoints, workers = 1000, 3
		q := NewMemoryQueue(QueueLease, time.Now)
		verifiers := []*verify{{takes: time.Second}, {takes: time.Second}}
		var ps []*process
		for _, v := range verifiers {
			p := startProcess(t, q, v, workers, true)
			defer p.stop()
			ps = append(ps, p)
		}
		for i := range endpoints {
			for _, p := range ps {
				p.offer(questionNo(i), float64(i))
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for i, p := range ps {
			if !p.idle() {
				t.Errorf("process %d is not idle", i)
			}
			asked, queued, pushed := p.counts()
			if queued != 0 || pushed != 0 || asked < endpoints/3 {
				t.Errorf("process %d: %d asked, %d queued, %d pushed", i, asked, queued, pushed)
			}
			if verifiers[i].most != workers || p.wire.asking > workers {
				t.Errorf("process %d: %d at the same time, %d taken at once, want %d", i, verifiers[i].most, p.wire.asking, workers)
			}
			if p.wire.largest > maxOffers {
				t.Errorf("%d offers at once", p.wire.largest)
			}
		}
		if n := verifiers[0].total() + verifiers[1].total(); n != endpoints {
			t.Errorf("%d questions, want %d", n, endpoints)
		}
		if c := counts(t, q); c != (QueueCounts{}) {
			t.Errorf("left in the queue: %+v", c)
		}
	})
}

// TestSharedQueueCrash: what a process that ended had taken and not finished is asked by another when the leases end,
// and not before; what nobody took in counts as not finished.
func TestSharedQueueCrash(t *testing.T) {
	for name, takes := range map[string]time.Duration{"while asking": time.Hour, "answers not taken in": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := NewMemoryQueue(QueueLease, time.Now)
				first, second := &verify{takes: takes}, &verify{takes: time.Second}
				dying := startProcess(t, q, first, 2, false)
				dying.offer(questionNo(1), 1)
				dying.offer(questionNo(2), 2)
				time.Sleep(10 * time.Second)
				if n := first.total(); n != 2 {
					t.Fatalf("%d asked, want 2", n)
				}
				dying.stop()
				p := startProcess(t, q, second, 2, true)
				defer p.stop()
				time.Sleep(QueueLease - 12*time.Second)
				if n := second.total(); n != 0 {
					t.Errorf("%d asked within the lease", n)
				}
				time.Sleep(12*time.Second + 2*pollEvery)
				synctest.Wait()
				if diff := cmp.Diff(map[string]int{endpointNo(1).String(): 1, endpointNo(2).String(): 1}, second.asked); diff != "" {
					t.Errorf("asked after the lease (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestSharedQueueRenews: a question that takes long, or whose answer waits long, stays with its process.
func TestSharedQueueRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMemoryQueue(QueueLease, time.Now)
		slow, other := &verify{takes: 10 * time.Minute}, &verify{takes: time.Second}
		a := startProcess(t, q, slow, 1, false)
		defer a.stop()
		a.offer(questionNo(1), 1)
		time.Sleep(time.Second)
		b := startProcess(t, q, other, 1, true)
		defer b.stop()
		for range 100 {
			b.offer(questionNo(1), 5)
			time.Sleep(10 * time.Second)
		}
		if slow.total() != 1 || other.total() != 0 {
			t.Errorf("%d and %d questions, want 1 and 0", slow.total(), other.total())
		}
		// Once the answer is taken in it may be asked again.
		v := <-a.answers
		a.done(v.verdict.Endpoint)
		time.Sleep(3 * recentFor)
		b.offer(questionNo(1), 5)
		time.Sleep(2 * time.Second)
		if slow.total()+other.total() != 2 {
			t.Errorf("%d and %d questions, want 2", slow.total(), other.total())
		}
	})
}

// TestSharedQueueDown: nothing spins or grows while the queue is out of reach, and all goes on afterwards.
func TestSharedQueueDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMemoryQueue(QueueLease, time.Now)
		v := &verify{takes: 100 * time.Millisecond}
		p := startProcess(t, q, v, 4, true)
		defer p.stop()
		p.offer(questionNo(1), 1)
		time.Sleep(time.Second)
		gone := errors.New("gone")
		p.wire.set(gone)
		const most = 600 / 7 * 2 // ten minutes, two loops, at least half of lastRetry between calls
		for i := range MaxQueued + 500 {
			p.offer(questionNo(2+i), float64(i))
			if i%100 == 0 {
				time.Sleep(6 * time.Second)
			}
		}
		if calls, _ := p.wire.counted(); calls > most+20 || calls < 40 {
			t.Errorf("%d calls in ten minutes, want at most %d", calls, most)
		}
		_, queued, pushed := p.counts()
		if queued > MaxQueued+1 || pushed < 500 {
			t.Errorf("%d queued, %d pushed", queued, pushed)
		}
		p.mu.Lock()
		if len(p.warn) < 40 || !errors.Is(p.warn[0], gone) {
			t.Errorf("%d warnings, want one for each call", len(p.warn))
		}
		p.mu.Unlock()
		if p.idle() {
			t.Error("idle with a full queue")
		}
		p.wire.set(nil)
		time.Sleep(lastRetry + time.Hour)
		if n := v.total(); n != MaxQueued+1 {
			t.Errorf("%d asked, want %d", n, MaxQueued+1)
		}
		if c := counts(t, q); c != (QueueCounts{}) {
			t.Errorf("left in the queue: %+v", c)
		}
	})
}

// TestSharedQueueTraffic: an endpoint offered again and again goes over the network now and then, and an idle process
// asks at a modest pace.
func TestSharedQueueTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMemoryQueue(QueueLease, time.Now)
		p := startProcess(t, q, &verify{takes: time.Hour}, 1, true)
		defer p.stop()
		time.Sleep(time.Minute)
		p.wire.set(nil)
		time.Sleep(10 * time.Minute)
		if calls, _ := p.wire.counted(); calls < 600*2 || calls > 600*4+600/5+10 {
			t.Errorf("%d calls in ten idle minutes", calls)
		}
		p.wire.set(nil)
		p.offer(questionNo(0), 9) // occupies the worker
		for range 600 {
			for i := range 50 {
				p.offer(questionNo(1+i), 1)
			}
			time.Sleep(time.Second)
		}
		if _, offered := p.wire.counted(); offered < 50*600/30 || offered > 50*(600/15+1)+1 {
			t.Errorf("%d offers of 50 endpoints in ten minutes", offered)
		}
		for i := range 2 * maxRecent {
			p.offer(questionNo(i), 1)
			if i%1000 == 0 {
				time.Sleep(time.Second)
			}
		}
		p.asker.mu.Lock()
		defer p.asker.mu.Unlock()
		if n := len(p.recent[0]) + len(p.recent[1]); n > maxRecent+2*maxOffers {
			t.Errorf("%d endpoints are remembered, want at most %d", n, maxRecent)
		}
	})
}

// TestSharedQueueFarewell: what was offered or done in the last moment is told.
func TestSharedQueueFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMemoryQueue(QueueLease, time.Now)
		p := startProcess(t, q, &verify{}, 2, false)
		p.offer(questionNo(1), 1)
		time.Sleep(time.Second)
		a := <-p.answers
		p.done(a.verdict.Endpoint)
		p.offer(questionNo(2), 2)
		p.offer(questionNo(3), 3)
		p.stop()
		if diff := cmp.Diff(QueueCounts{Waiting: 2}, counts(t, q)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestLostLease: an endpoint that comes back to the process that is still asking it is not asked twice at once.
func TestLostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMemoryQueue(QueueLease, time.Now)
		v := &verify{takes: 10 * time.Minute}
		p := startProcess(t, q, v, 2, true)
		defer p.stop()
		p.offer(questionNo(1), 1)
		time.Sleep(time.Second)
		p.wire.set(errors.New("gone"))
		time.Sleep(3 * time.Minute)
		if _, err := q.Take(t.Context(), 0, nil); err != nil || q.waiting.Len() != 1 {
			t.Fatalf("the lease has not ended: %v", err)
		}
		p.wire.set(nil)
		time.Sleep(5 * time.Minute)
		if n := v.total(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(time.Hour)
		if c := counts(t, q); c != (QueueCounts{}) || v.total() != 1 {
			t.Errorf("left %+v, asked %d times", c, v.total())
		}
	})
}
