package minecanary

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawSlices draws the slices of one record; small ranges make equal times likely.
func drawSlices(t *rapid.T) Slices {
	start := rapid.Int64Range(0, 1000).Draw(t, "start")
	s := Slices{
		Start: start, End: start + rapid.Int64Range(0, 1000).Draw(t, "length"),
		Ack:     rapid.Uint32Range(0, 2).Draw(t, "ack"),
		AckPush: rapid.Uint32Range(0, 2).Draw(t, "ackpush"),
		Other:   rapid.Uint32Range(0, 1).Draw(t, "other"),

		ClientPackets: rapid.Uint64Range(0, 100).Draw(t, "client packets"),
		ServerPackets: rapid.Uint64Range(0, 100).Draw(t, "server packets"),
		ClientBytes:   rapid.Uint64Range(0, 100).Draw(t, "client bytes"),
		ServerBytes:   rapid.Uint64Range(0, 100).Draw(t, "server bytes"),
		ClientPayload: rapid.Uint64Range(0, 100).Draw(t, "client payload"),
		ServerPayload: rapid.Uint64Range(0, 100).Draw(t, "server payload"),
		Services:      Services(rapid.Uint8().Draw(t, "services")),
	}
	if s.Counted() > 0 {
		s.CountedPackets, s.CountedBytes, s.CountedStart = s.ClientPackets/2, s.ClientBytes/2, start+1
	}
	return s
}

// TestAggregateIsOrderFree adds the same slices in another order and grouping and wants the same sum.
func TestAggregateIsOrderFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(drawSlices), 1, 12).Draw(t, "slices")
		var want Aggregate
		for i := range all {
			want.Add(&all[i])
		}
		cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var left, right Aggregate
		for i := range all[:cut] {
			left.Add(&all[i])
		}
		for i := range all[cut:] {
			right.Add(&all[cut+i])
		}
		left.Merge(&right)
		if diff := cmp.Diff(want, left); diff != "" {
			t.Fatalf("another order gives another sum (-want +got):\n%s", diff)
		}
	})
}
