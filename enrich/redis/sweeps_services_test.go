//go:build services

package redis

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// TestSweeps has two processes share claims and events, however Redis is run.
func TestSweeps(t *testing.T) {
	kinds(t, func(t *testing.T, client func(testing.TB) redis.UniversalClient) {
		t.Helper()
		prefix := "t" + random(4)
		a, b := NewSweeps(client(t), prefix), NewSweeps(client(t), prefix)
		t.Run("claims", func(t *testing.T) { sweepClaims(t, a, b) })
		t.Run("events", func(t *testing.T) { sweepEvents(t, a, b) })
		t.Run("many at once", func(t *testing.T) { sweepTogether(t, a, b) })
	})
}

func sweepClaims(t *testing.T, a, b *Sweeps) {
	t.Helper()
	ctx := t.Context()
	claims := func(s *Sweeps, key string, lease time.Duration, want bool) {
		t.Helper()
		if ok, _, err := s.Claim(ctx, key, lease); err != nil || ok != want {
			t.Errorf("claim of %s: %t, %v", key, ok, err)
		}
	}
	claims(a, "n:one", time.Hour, true)
	claims(a, "n:one", time.Hour, true) // the reply was lost
	claims(b, "n:one", time.Hour, false)
	claims(b, "n:two", time.Hour, true)
	// Nobody ends the claim of another one.
	if err := b.Tell(ctx, nil, []string{"n:one", "n:two"}); err != nil {
		t.Fatal(err)
	}
	claims(b, "n:one", time.Hour, false)
	claims(a, "n:two", 300*time.Millisecond, true)
	claims(b, "n:two", time.Hour, false)
	if err := a.Tell(ctx, [][]byte{[]byte("done")}, []string{"n:one"}); err != nil {
		t.Fatal(err)
	}
	ok, version, err := b.Claim(ctx, "n:one", time.Hour)
	events, now, err2 := b.Since(ctx, 0)
	if !ok || err != nil || err2 != nil || version == 0 || now != version || len(events) != 1 {
		t.Errorf("claim %t at %d, %q up to %d: %v, %v", ok, version, events, now, err, err2)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if ok, _, err := b.Claim(ctx, "n:two", time.Hour); err != nil || time.Now().After(deadline) {
			t.Fatal("the claim of a process that died holds on", err)
		} else if ok {
			break
		}
	}
}

func sweepEvents(t *testing.T, a, b *Sweeps) {
	t.Helper()
	ctx := t.Context()
	_, version, err := b.Since(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 3*maxSweepsRead + 7 {
		want = append(want, fmt.Sprintf("%d \x00\xff %s", i, strings.Repeat("x", i%9)))
	}
	for some := range slices.Chunk(want, 300) {
		var list [][]byte
		for _, e := range some {
			list = append(list, []byte(e))
		}
		if err := a.Tell(ctx, list, nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for {
		events, now, err := b.Since(ctx, version)
		if err != nil || len(events) > maxSweepsRead || now < version {
			t.Fatalf("%d events after %d, up to %d: %v", len(events), version, now, err)
		}
		if len(events) == 0 {
			if now != version {
				t.Errorf("nothing came after %d, up to %d", version, now)
			}
			break
		}
		version = now
		for _, e := range events {
			got = append(got, string(e))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// When everything was lost it begins anew, and no version comes a second time.
	for _, key := range []string{a.log, a.meta} {
		if err := a.client.Del(ctx, key).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if events, now, err := b.Since(ctx, version); err != nil || len(events) != 0 || now != 0 {
		t.Errorf("of nothing %q up to %d: %v", events, now, err)
	}
	if err := a.Tell(ctx, [][]byte{[]byte("anew")}, nil); err != nil {
		t.Fatal(err)
	}
	if events, now, err := b.Since(ctx, version); err != nil || len(events) != 1 || now <= version {
		t.Errorf("afterwards %q up to %d, before %d: %v", events, now, version, err)
	}
	// One whose clock was ahead when everything was lost.
	if events, _, err := b.Since(ctx, maxSweepVersion); err != nil || len(events) != 1 {
		t.Errorf("from the future %q: %v", events, err)
	}
}

// sweepTogether has both claim all keys at once: each is had by one.
func sweepTogether(t *testing.T, a, b *Sweeps) {
	t.Helper()
	const n = 200
	var mu sync.Mutex
	had := map[string]int{}
	var wg sync.WaitGroup
	for _, s := range []*Sweeps{a, b} {
		for part := range 4 {
			wg.Go(func() {
				for i := part; i < n; i += 4 {
					key := fmt.Sprintf("e:%d", i)
					ok, _, err := s.Claim(t.Context(), key, time.Hour)
					if err != nil {
						t.Error(err)
						return
					}
					if ok {
						mu.Lock()
						had[key]++
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	for key, times := range had {
		if times != 1 {
			t.Errorf("%s was claimed by %d", key, times)
		}
	}
	if len(had) != n {
		t.Errorf("%d keys were claimed", len(had))
	}
}

// TestSweepBounds tells more than is kept, in number and in bytes: the newest stay.
func TestSweepBounds(t *testing.T) {
	one, _ := connect(t, "single")
	ctx := t.Context()
	for _, tt := range []struct {
		name           string
		events, bytes  int
		size, tell     int
		least, atMost  int
		lastMustRemain bool
	}{
		{"in number", 100, 1 << 20, 10, 250, 100, 100, true},
		{"in bytes", 1000, 10_000, 200, 250, 40, 50, true},
		{"one that is too long", 1000, 1000, 5000, 3, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewSweeps(one, ownPrefix())
			if s.events != MaxSweepEvents || s.bytes != MaxSweepBytes {
				t.Errorf("bounds %d and %d", s.events, s.bytes)
			}
			s.events, s.bytes = tt.events, tt.bytes
			for i := range tt.tell {
				e := append(fmt.Appendf(nil, "%d ", i), bytes.Repeat([]byte("x"), tt.size)...)
				if err := s.Tell(ctx, [][]byte{e}, nil); err != nil {
					t.Fatal(err)
				}
			}
			events, now, err := s.Since(ctx, 0)
			if err != nil || now == 0 || len(events) < tt.least || len(events) > tt.atMost {
				t.Errorf("%d events are kept, up to %d: %v", len(events), now, err)
			}
			if tt.lastMustRemain && !bytes.HasPrefix(events[len(events)-1], fmt.Appendf(nil, "%d ", tt.tell-1)) {
				t.Errorf("the newest is %.20q", events[len(events)-1])
			}
			bytesKept, err := one.HGet(ctx, s.meta, "bytes").Int()
			if err != nil || bytesKept > tt.bytes || bytesKept < 0 || len(events) > 0 && bytesKept == 0 {
				t.Errorf("%d bytes are kept: %v", bytesKept, err)
			}
			if again, same, err := s.Since(ctx, now); err != nil || len(again) != 0 || same != now {
				t.Errorf("after %d %d events up to %d: %v", now, len(again), same, err)
			}
			for _, key := range []string{s.log, s.meta} {
				if ttl := one.TTL(ctx, key).Val(); len(events) > 0 && (ttl <= 0 || ttl > sweepsTTL) {
					t.Errorf("%s stays for %s", key, ttl)
				}
			}
		})
	}
	t.Run("an ended context", func(t *testing.T) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		s := NewSweeps(one, ownPrefix())
		if _, _, err := s.Claim(ended, "n:x", time.Minute); err == nil {
			t.Error("claimed")
		}
		if err := s.Tell(ended, nil, nil); err == nil {
			t.Error("told")
		}
		if _, _, err := s.Since(ended, 0); err == nil {
			t.Error("heard")
		}
	})
	t.Run("of another kind", func(t *testing.T) {
		s := NewSweeps(one, ownPrefix())
		for _, v := range []any{"perhaps", "-1", "1e300"} {
			if err := one.HSet(ctx, s.meta, "last", v).Err(); err != nil {
				t.Fatal(err)
			}
			if _, now, err := s.Since(ctx, 7); err == nil || now != 7 {
				t.Errorf("%v: up to %d: %v", v, now, err)
			}
		}
	})
}
