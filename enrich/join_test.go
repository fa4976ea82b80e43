package enrich_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/score"
)

// joining is a store that takes batches together, slowly, and looks at what it is given.
type joining struct {
	*memory.Store
	t      *testing.T
	next   map[string]int64
	joined int
	ahead  atomic.Int32 // groups gathered and not applied
}

func (j *joining) Apply(ctx context.Context, b *enrich.Batch, touched func(*enrich.Suspect)) (bool, error) {
	_, err := j.Gather([]*enrich.Batch{b})(ctx, touched)
	return true, err
}

func (j *joining) Gather(batches []*enrich.Batch) func(context.Context, func(*enrich.Suspect)) ([]enrich.Outcome, error) {
	if ahead := j.ahead.Add(1); ahead > 2 {
		j.t.Errorf("%d groups were gathered before the first was applied", ahead)
	}
	return func(context.Context, func(*enrich.Suspect)) ([]enrich.Outcome, error) { return j.apply(batches) }
}

func (j *joining) apply(batches []*enrich.Batch) ([]enrich.Outcome, error) {
	time.Sleep(time.Millisecond)
	defer j.ahead.Add(-1)
	seen := map[string]bool{}
	out := make([]enrich.Outcome, len(batches))
	for i, b := range batches {
		if seen[b.Partition] {
			j.t.Errorf("%s is there twice", b.Partition)
		}
		seen[b.Partition] = true
		if b.From.Offset != j.next[b.Partition] {
			j.t.Errorf("%s: a batch from %d after one to %d", b.Partition, b.From.Offset, j.next[b.Partition])
		}
		j.next[b.Partition] = b.Next.Offset
		out[i] = enrich.Applied
	}
	if len(batches) > 1 {
		j.joined++
	}
	return out, nil
}

// TestJoin: batches of different partitions are applied together, those of one in their order, and all are acknowledged.
func TestJoin(t *testing.T) {
	const partitions, each = 3, 60
	store := &joining{Store: memory.New(memory.Config{Report: time.Hour}), t: t, next: map[string]int64{}}
	scorer, err := score.New("canary", 0)
	if err != nil {
		t.Fatal(err)
	}
	e := enrich.New(enrich.Config{Report: time.Hour, SaveEvery: time.Millisecond}, enrich.Deps{Store: store, Scorer: scorer})
	in := make(chan enrich.Input, e.Joins())
	acked := 0
	go func() {
		defer close(in)
		for i := range int64(each) {
			for p := range partitions {
				// One partition comes in bursts.
				burst := int64(1)
				if p == 1 {
					burst = 2
					if i%2 == 1 {
						continue
					}
				}
				for k := range burst {
					in <- enrich.Input{
						Batch: &enrich.Batch{
							Partition: fmt.Sprint("t/", p), From: minecanary.Position{Offset: i + k}, Next: minecanary.Position{Offset: i + k + 1},
						},
						Ack: func(context.Context, error) error { acked++; return nil },
					}
				}
			}
		}
	}()
	if err := e.Run(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if acked != partitions*each {
		t.Errorf("%d of %d batches were acknowledged", acked, partitions*each)
	}
	if store.joined == 0 {
		t.Error("none were joined")
	}
}
