package resolver

import (
	"context"
	"sync"
	"time"
)

// maxZones is how many zones the limiter remembers. One that was not asked for a while is forgotten; should so many be
// busy at once, the others share one turn.
const maxZones = 1 << 16

// limiter spaces the queries of each registered zone. It goes by the real clock, whatever Config.Now says.
type limiter struct {
	every time.Duration

	mu    sync.Mutex
	next  map[string]time.Time
	swept time.Time
}

// newLimiter allows rate queries a second and zone; nil, which never waits, if rate is not positive.
func newLimiter(rate float64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{every: time.Duration(float64(time.Second) / rate), next: map[string]time.Time{}}
}

// wait returns when a query about the zone may be sent. A turn that comes after the deadline of ctx is not taken.
func (l *limiter) wait(ctx context.Context, zone string) error {
	if l == nil {
		return ctx.Err()
	}
	at, ok := l.turn(ctx, zone)
	if !ok {
		return context.DeadlineExceeded
	}
	delay := time.Until(at)
	if delay <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn takes the next turn of a zone; ok is false if it comes too late for ctx.
func (l *limiter) turn(ctx context.Context, zone string) (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if _, known := l.next[zone]; !known && len(l.next) >= maxZones {
		l.sweep(now)
		if len(l.next) >= maxZones {
			zone = ""
		}
	}
	at = now
	if next := l.next[zone]; next.After(at) {
		at = next
	}
	if deadline, has := ctx.Deadline(); has && at.After(deadline) {
		return time.Time{}, false
	}
	l.next[zone] = at.Add(l.every)
	return at, true
}

// sweep forgets zones whose turn is past, at most once in a while: it looks at all of them.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < l.every {
		return
	}
	l.swept = now
	for zone, next := range l.next {
		if !next.After(now) {
			delete(l.next, zone)
		}
	}
}
