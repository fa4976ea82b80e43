package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/consumer"
)

// TestBatches feeds a reader offsets with gaps and wants that batches follow each other without a hole, end at every cut
// that was passed, respect their bounds and hold every message once.
func TestBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const batchBytes, batchMessages = 64, 7
		s := New(Config{BatchMessages: batchMessages})
		p := newPartition(s, "conn", 3, -1, batchBytes)
		start := consumer.Start{Offset: rapid.Int64Range(0, 20).Draw(t, "start"), Token: 9}
		start.Cuts = rapid.SliceOfNDistinct(rapid.Int64Range(start.Offset+1, start.Offset+80), 0, 6, rapid.ID[int64]).Draw(t, "cuts")
		slices.Sort(start.Cuts)
		offset := start.Offset
		var offsets []int64
		for _, gap := range rapid.SliceOfN(rapid.Int64Range(0, 12), 0, 60).Draw(t, "gaps") {
			offset += gap
			offsets = append(offsets, offset)
			offset++
		}
		end := offset + rapid.Int64Range(0, 5).Draw(t, "gap at the end")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()

		fed := make(chan error, 1)
		go func() {
			r := newReader(ctx, p, 0, start)
			for _, o := range offsets {
				if err := r.add(o, fmt.Appendf(nil, "<%d>", o), false); err != nil {
					fed <- err
					return
				}
			}
			var err error
			for err == nil && r.from < end {
				err = r.flush(end)
			}
			fed <- err
		}()

		next, cuts := start.Offset, start.Cuts
		var got []int64
		for next < end {
			b, ack, err := s.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if b.From.Offset != next || b.Next.Offset <= next || b.Token != 9 || b.Topic != "conn" || b.Partition != "conn/3" {
				t.Fatalf("batch %+v after %d", b, next)
			}
			if len(b.Data) > batchBytes+8 || len(b.Messages) > batchMessages {
				t.Fatalf("%d bytes, %d messages", len(b.Data), len(b.Messages))
			}
			next = b.Next.Offset
			if len(cuts) > 0 && next > cuts[0] {
				t.Fatalf("batch from %d to %d runs over the cut %d", b.From.Offset, next, cuts[0])
			}
			for len(cuts) > 0 && next == cuts[0] {
				cuts = cuts[1:]
			}
			at := 0
			for i, m := range b.Messages {
				if i == 0 && b.FirstLine != m.Offset {
					t.Fatalf("first line %d, first offset %d", b.FirstLine, m.Offset)
				}
				if v := string(b.Data[at:m.End]); v != fmt.Sprintf("<%d>", m.Offset) || m.Offset < b.From.Offset || m.Offset >= next {
					t.Fatalf("message %q at %d in a batch from %d to %d", v, m.Offset, b.From.Offset, next)
				}
				at = m.End
				got = append(got, m.Offset)
			}
			b.Release()
			b.Release() // a second time does no harm
			if err := ack(ctx, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-fed; err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, offsets) {
			t.Fatalf("got %v, want %v", got, offsets)
		}
		if o, ok := p.ledger.due(); end > start.Offset && (!ok || o != end) {
			t.Fatalf("due %d %v, want %d", o, ok, end)
		}
		if len(p.free) != inFlight {
			t.Fatalf("%d of %d buffers came back", len(p.free), inFlight)
		}
	})
}

// TestStaleBatches wants that nothing of an epoch that is over reaches the receiver, and no buffer is lost.
func TestStaleBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{BatchMessages: 1})
		p := newPartition(s, "conn", 0, 4, 1<<20)
		ctx, stop := context.WithCancel(t.Context())
		p.stop = func() {} // not yet: the batch is on its way
		go func() { newReader(ctx, p, 0, consumer.Start{}).feed(3) }()
		_, ack, err := s.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := ack(t.Context(), fmt.Errorf("lost: %w", consumer.ErrRestart)); err != nil {
			t.Fatal(err)
		}
		read, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b, _, err := s.Read(read); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("batch %+v, error %v", b, err)
		}
		stop()
		synctest.Wait()
		if _, ok := p.ledger.due(); ok {
			t.Error("something is due")
		}
		// The first batch was never released.
		if len(p.free) != inFlight-1 {
			t.Errorf("%d buffers are free", len(p.free))
		}
	})
}

func (r *reader) feed(n int64) {
	for o := range n {
		if r.add(o, []byte("x"), false) != nil {
			return
		}
	}
}

// TestWatchdog wants that exactly the partition without progress is restarted, not one that is held up by its receiver,
// has nothing to read, or goes on.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var reported atomic.Int32
		s := New(Config{Stall: 15 * time.Second, OnError: func(string, error) { reported.Add(1) }})
		parts := map[string]*partition{}
		cuts := map[string]int{}
		for name, v := range map[string]view{
			"stuck/0":  {started: true, want: 10, end: 20, emptyTo: -1},
			"held/0":   {started: true, want: 10, end: 20, emptyTo: -1, waiting: true},
			"ended/0":  {started: true, want: 20, end: 20, emptyTo: -1},
			"empty/0":  {started: true, want: 10, end: 20, emptyTo: 20},
			"moving/0": {started: true, want: 10, end: 1000, emptyTo: -1},
			"before/0": {want: -1, end: 20, emptyTo: -1},
		} {
			p := newPartition(s, name[:len(name)-2], 0, -1, 1)
			p.view = v
			p.cut = func() { cuts[name]++ }
			parts[name] = p
		}
		go s.watchdog(ctx, parts)
		for range 40 {
			time.Sleep(time.Second)
			parts["moving/0"].update(func(v *view) { v.want++ })
		}
		synctest.Wait()
		if len(cuts) != 1 || cuts["stuck/0"] != 2 || s.restarts["stuck/0"] != 2 || reported.Load() != 2 {
			t.Errorf("restarts %v, %v, %d reports; want stuck/0 twice in 40 s", cuts, s.restarts, reported.Load())
		}
	})
}

func TestMaybeMarker(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  bool
	}{
		{"\x00\x00\x00\x00\x00\x07", true},
		{"{\"a\":1", false},
		{"\x00\x01\x00\x00\x00\x07", false},
		{"\x00\x00", false},
		{"", false},
	} {
		if got := maybeMarker([]byte(tt.value)); got != tt.want {
			t.Errorf("%q: %v", tt.value, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{low: 100 * time.Millisecond, high: time.Second}
	for i, base := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		base *= time.Millisecond
		if d := b.pause(); d < base*4/5 || d > base*6/5+1 {
			t.Errorf("pause %d: %s, want about %s", i, d, base)
		}
	}
	b.reset()
	if d := b.pause(); d > 130*time.Millisecond {
		t.Errorf("after reset: %s", d)
	}
}

func TestPermanent(t *testing.T) {
	for _, tt := range []struct {
		err                   error
		permanent, perMessage bool
		hopeless              bool
	}{
		{kafka.MessageSizeTooLarge, true, true, false},
		{fmt.Errorf("x: %w", kafka.TopicAuthorizationFailed), true, false, false},
		{kafka.SASLAuthenticationFailed, false, false, true},
		{kafka.NotLeaderForPartition, false, false, false},
		{kafka.UnknownTopicOrPartition, false, false, false},
		{kafka.NotEnoughReplicas, false, false, false},
		{kafka.RequestTimedOut, false, false, false},
		{context.DeadlineExceeded, false, false, false},
		{errors.New("connection refused"), false, false, false},
	} {
		if permanent(tt.err) != tt.permanent || perMessage(tt.err) != tt.perMessage || hopeless(tt.err) != tt.hopeless {
			t.Errorf("%v: permanent %v, per message %v", tt.err, permanent(tt.err), perMessage(tt.err))
		}
	}
}
