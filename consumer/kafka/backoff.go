package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff grows a pause from low to high, each with ±20 % of jitter so that many processes do not come back together.
type backoff struct {
	low, high time.Duration
	next      time.Duration
}

// pause gives how long to wait now.
func (b *backoff) pause() time.Duration {
	b.next = min(max(b.next*2, b.low), b.high)
	return b.next - b.next/5 + rand.N(b.next*2/5+1) //nolint:gosec // jitter
}

func (b *backoff) reset() { b.next = 0 }

// wait pauses; false if the context ended first.
func (b *backoff) wait(ctx context.Context) bool { return sleep(ctx, b.pause()) }

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
