package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// Silence is how long running connections have no record before a store may forget them for others.
const Silence = 72 * time.Hour

// Running makes a record of a connection from client 1 to server 1, from Epoch up to a time, with one counted slice, one
// packet of 40 bytes in each direction and 20 bytes of payload for each minute.
func Running(uid string, to time.Duration) minecanary.Slices {
	sl := Slices(1, 1, Epoch, to)
	n := uint64(to / time.Minute)
	sl.Ack, sl.AckPush, sl.Other = 0, uint32(n), 0
	sl.ClientPackets, sl.ServerPackets, sl.ClientBytes, sl.ServerBytes = n, n, 40*n, 40*n
	sl.ClientPayload, sl.ServerPayload, sl.CountedPackets, sl.CountedBytes = 20*n, 20*n, n, 40*n
	sl.UID, sl.Cumulative = minecanary.NewUID([]byte(uid)), true
	return sl
}

// Final is Running for the last record of a connection.
func Final(uid string, to time.Duration) minecanary.Slices {
	sl := Running(uid, to)
	sl.Final = true
	return sl
}

func cumulative(t *testing.T, open func(*testing.T, int) enrich.Store, reopen func(*testing.T, enrich.Store) enrich.Store) {
	t.Helper()
	t.Run("count each maximum once", func(t *testing.T) { maxima(t, open, reopen) })
	t.Run("bring a window what is new", func(t *testing.T) { newInWindow(t, open) })
	t.Run("change nothing without news", func(t *testing.T) { noNews(t, open(t, 100)) })
	t.Run("are not remembered when they overflow", func(t *testing.T) { overflown(t, open(t, 1000)) })
	t.Run("are remembered up to a bound", func(t *testing.T) { remembered(t, open(t, 100), reopen) })
}

// sums are all counters of a suspect.
type sums struct {
	ClientPackets, ServerPackets, ClientBytes, ServerBytes, ClientPayload, ServerPayload, CountedPackets, CountedBytes uint64

	Ack, AckPush, Other uint32
}

func (s *sums) slices(sl *minecanary.Slices) {
	s.aggregate(&minecanary.Aggregate{
		ClientPackets: sl.ClientPackets, ServerPackets: sl.ServerPackets, ClientBytes: sl.ClientBytes, ServerBytes: sl.ServerBytes,
		ClientPayload: sl.ClientPayload, ServerPayload: sl.ServerPayload, CountedPackets: sl.CountedPackets, CountedBytes: sl.CountedBytes,
		Ack: sl.Ack, AckPush: sl.AckPush, Other: sl.Other,
	})
}

func (s *sums) aggregate(a *minecanary.Aggregate) {
	s.ClientPackets += a.ClientPackets
	s.ServerPackets += a.ServerPackets
	s.ClientBytes += a.ClientBytes
	s.ServerBytes += a.ServerBytes
	s.ClientPayload += a.ClientPayload
	s.ServerPayload += a.ServerPayload
	s.CountedPackets += a.CountedPackets
	s.CountedBytes += a.CountedBytes
	s.Ack += a.Ack
	s.AckPush += a.AckPush
	s.Other += a.Other
}

// atLeast raises each counter of a to that of b.
func atLeast(a, b *minecanary.Slices) {
	a.ClientPackets, a.ServerPackets = max(a.ClientPackets, b.ClientPackets), max(a.ServerPackets, b.ServerPackets)
	a.ClientBytes, a.ServerBytes = max(a.ClientBytes, b.ClientBytes), max(a.ServerBytes, b.ServerBytes)
	a.ClientPayload, a.ServerPayload = max(a.ClientPayload, b.ClientPayload), max(a.ServerPayload, b.ServerPayload)
	a.CountedPackets, a.CountedBytes = max(a.CountedPackets, b.CountedPackets), max(a.CountedBytes, b.CountedBytes)
	a.Ack, a.AckPush, a.Other = max(a.Ack, b.Ack), max(a.AckPush, b.AckPush), max(a.Other, b.Other)
}

// drawRecord draws a record whose counters need not fit those of any other.
func drawRecord(t *rapid.T, client, server int) minecanary.Slices {
	start := Epoch.Add(time.Duration(rapid.IntRange(0, 4*3600).Draw(t, "start")) * time.Second)
	sl := Slices(client, server, start, time.Duration(rapid.IntRange(0, 3*3600).Draw(t, "length"))*time.Second)
	count := func(label string, most uint64) uint64 { return rapid.Uint64Range(0, most).Draw(t, label) }
	sl.ClientPackets, sl.ServerPackets = 1+count("client packets", 300), count("server packets", 300)
	sl.ClientBytes, sl.ServerBytes = count("client bytes", 1<<40), count("server bytes", 1<<20)
	sl.ClientPayload, sl.ServerPayload = count("client payload", 1<<20), count("server payload", 70_000)
	sl.Ack, sl.AckPush, sl.Other = uint32(count("ack", 3)), uint32(count("ack+push", 30)), uint32(count("other", 1))
	sl.CountedPackets, sl.CountedBytes, sl.CountedStart = 0, 0, 0
	if sl.Counted() > 0 {
		sl.CountedPackets, sl.CountedBytes = count("counted packets", 300), count("counted bytes", 1<<20)
		sl.CountedStart = sl.Start + (sl.End-sl.Start)/4
	}
	sl.Services = minecanary.Services(1 << rapid.IntRange(0, 4).Draw(t, "service"))
	return sl
}

// maxima: whatever the order, the repetition, the batches and the restarts, the counters of a suspect are the sum of its
// connections' maxima and its other records.
func maxima(t *testing.T, open func(*testing.T, int) enrich.Store, reopen func(*testing.T, enrich.Store) enrich.Store) {
	t.Helper()
	var s enrich.Store
	round, used, restarts, pos := 0, 0, 0, int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		if s == nil || used > Connections/4 || restarts > 10 {
			s, used, restarts, pos = open(t, 1000), 0, 0, 0
		}
		round++
		server := 1 + round%200
		want := map[minecanary.Pair]*sums{}
		sum := func(sl *minecanary.Slices) {
			if want[sl.Pair] == nil {
				want[sl.Pair] = &sums{}
			}
			want[sl.Pair].slices(sl)
		}
		var all []minecanary.Slices
		for range rapid.IntRange(0, 3).Draw(rt, "others") {
			sl := drawRecord(rt, 2*round+rapid.IntRange(0, 1).Draw(rt, "client"), server)
			sum(&sl)
			all = append(all, sl)
		}
		for c := range rapid.IntRange(1, 4).Draw(rt, "connections") {
			used++
			client := 2*round + rapid.IntRange(0, 1).Draw(rt, "client")
			var highest minecanary.Slices
			for range rapid.IntRange(1, 5).Draw(rt, "records") {
				sl := drawRecord(rt, client, server)
				sl.Cumulative, sl.UID = true, minecanary.NewUID(fmt.Appendf(nil, "C%d", c))
				sl.Final = rapid.IntRange(0, 3).Draw(rt, "final") == 0
				highest.Pair = sl.Pair
				atLeast(&highest, &sl)
				all = append(all, slices.Repeat([]minecanary.Slices{sl}, rapid.IntRange(1, 2).Draw(rt, "times"))...)
			}
			sum(&highest)
		}
		all = rapid.Permutation(all).Draw(rt, "order")
		put := func(b *enrich.Batch) bool {
			applied, err := s.Apply(t.Context(), b, nil)
			if err != nil {
				rt.Fatal(err)
			}
			return applied
		}
		for len(all) > 0 {
			n := rapid.IntRange(1, len(all)).Draw(rt, "batch")
			b := batch(pos+1, all[:n]...)
			all, pos = all[n:], pos+1
			if !put(b) {
				rt.Fatalf("batch %d was not applied", pos)
			}
			switch rapid.IntRange(0, 20).Draw(rt, "then") {
			case 0:
				if reopen == nil {
					break
				}
				if err := s.Save(t.Context()); err != nil {
					rt.Fatal(err)
				}
				s = reopen(t, s)
				restarts++
				fallthrough
			case 1, 2, 3:
				if put(b) {
					rt.Fatal("a repeated batch was applied")
				}
			}
		}
		got := map[minecanary.Pair]*sums{}
		for pair := range want {
			err := s.Clients(t.Context(), pair.Server, func(v *enrich.Suspect) {
				if v.Pair != pair {
					return
				}
				got[pair] = &sums{}
				for i := range v.Segments {
					got[pair].aggregate(&v.Segments[i].Aggregate)
				}
			})
			if err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(want[pair], got[pair]); diff != "" {
				rt.Fatalf("%s: %s", pair.Client, diff)
			}
		}
	})
	if st := s.Stats(); st.LeftOut != 0 || st.Connections == 0 {
		t.Errorf("%d records were left out, %d connections are remembered", st.LeftOut, st.Connections)
	}
}

// stretch is a segment as newInWindow compares it: times in minutes from Epoch.
type stretch struct {
	Window, First, Last, Packets, Slices, CountedFirst, CountedLast, Records int
}

// newInWindow: a window gets what is new beyond the records before it, from the end of the last one.
func newInWindow(t *testing.T, open func(*testing.T, int) enrich.Store) {
	t.Helper()
	const m = time.Minute
	a, b, c := Running("Ca", 20*m), Running("Ca", 80*m), Final("Ca", 130*m)
	other := Running("Cb", 30*m)
	same := Final("Ca", 80*m)
	idle := a
	idle.End += (30 * m).Microseconds()
	fewer := b // one counter is higher than in any other record
	fewer.ClientPackets, fewer.ServerBytes, fewer.AckPush = 1, 1<<40, 1
	nameless := func(sl minecanary.Slices) minecanary.Slices {
		sl.UID = minecanary.UID{}
		return sl
	}
	for _, tc := range []struct {
		name    string
		records []minecanary.Slices
		want    []stretch
	}{
		{"one", []minecanary.Slices{a}, []stretch{{0, 0, 20, 20, 20, 0, 20, 1}}},
		{"in order", []minecanary.Slices{a, b, c}, []stretch{
			{2, 80, 130, 50, 50, 80, 130, 1}, {1, 20, 80, 60, 60, 20, 80, 1}, {0, 0, 20, 20, 20, 0, 20, 1},
		}},
		{"repeated", []minecanary.Slices{a, a, b, a, b, c, c, c, a}, []stretch{
			{2, 80, 130, 50, 50, 80, 130, 1}, {1, 20, 80, 60, 60, 20, 80, 1}, {0, 0, 20, 20, 20, 0, 20, 1},
		}},
		{"conn row first", []minecanary.Slices{c, a, b}, []stretch{{2, 0, 130, 130, 130, 0, 130, 1}}},
		{"conn row between", []minecanary.Slices{a, c, b}, []stretch{{2, 20, 130, 110, 110, 20, 130, 1}, {0, 0, 20, 20, 20, 0, 20, 1}}},
		{"late running record", []minecanary.Slices{b, a, c}, []stretch{{2, 80, 130, 50, 50, 80, 130, 1}, {1, 0, 80, 80, 80, 0, 80, 1}}},
		{"conn row without news", []minecanary.Slices{a, b, same}, []stretch{{1, 20, 80, 60, 60, 20, 80, 1}, {0, 0, 20, 20, 20, 0, 20, 1}}},
		{"idle", []minecanary.Slices{a, idle, b}, []stretch{{1, 50, 80, 60, 60, 50, 80, 1}, {0, 0, 20, 20, 20, 0, 20, 1}}},
		{"two connections", []minecanary.Slices{a, other, b}, []stretch{{1, 20, 80, 60, 60, 20, 80, 1}, {0, 0, 30, 50, 50, 0, 30, 2}}},
		{"in one window", []minecanary.Slices{a, Running("Ca", 50*m)}, []stretch{{0, 0, 50, 50, 50, 0, 50, 2}}},
		{"no slice more", []minecanary.Slices{b, c, fewer}, []stretch{
			{2, 80, 130, 50, 50, 80, 130, 1}, {1, 0, 80, 80, 80, 0, 80, 2},
		}},
		{"without a name", []minecanary.Slices{nameless(a), nameless(b)}, []stretch{{1, 0, 80, 80, 80, 0, 80, 1}, {0, 0, 20, 20, 20, 0, 20, 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, one := range []bool{true, false} {
				s := open(t, 100)
				if one {
					apply(t, s, batch(1, slices.Clone(tc.records)...))
				} else {
					for i, sl := range tc.records {
						apply(t, s, batch(int64(i+1), sl))
					}
				}
				var got []stretch
				rows := Dump(t, s)
				if len(rows) != 1 {
					t.Fatalf("%d suspects, want 1", len(rows))
				}
				minutes := func(at int64) int { return int((at - Epoch.UnixMicro()) / m.Microseconds()) }
				for _, seg := range rows[0].Segments {
					g := &seg.Aggregate
					got = append(got, stretch{
						int(seg.Window) - int(Epoch.Unix()/3600), minutes(g.First), minutes(g.Last), int(g.ClientPackets), int(g.Counted()),
						minutes(g.CountedFirst), minutes(g.CountedLast), int(g.Records),
					})
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("in one batch %t (-want +got):\n%s", one, diff)
				}
			}
		})
	}
}

// noNews: a record without news opens no window and makes no suspect; its suspect is shown.
func noNews(t *testing.T, s enrich.Store) {
	t.Helper()
	apply(t, s, batch(1, Running("Ca", 20*time.Minute), Running("Ca", 30*time.Minute)))
	each := func(fn func(v *enrich.Suspect) bool) {
		t.Helper()
		if err := s.Each(t.Context(), nil, fn); err != nil {
			t.Fatal(err)
		}
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	each(func(v *enrich.Suspect) bool { v.Segments[0].Reports, v.Segments[0].Closed = 1, true; return true })
	want := Dump(t, s)
	shown := 0
	applied, err := s.Apply(t.Context(), batch(2, Running("Ca", 20*time.Minute), Final("Ca", 30*time.Minute)), func(v *enrich.Suspect) {
		if shown++; v.Segments[0].Aggregate.ClientPackets != 30 {
			t.Errorf("shown with %d packets", v.Segments[0].Aggregate.ClientPackets)
		}
	})
	if err != nil || !applied || shown == 0 {
		t.Errorf("applied %v, %v, shown %d times", applied, err, shown)
	}
	if diff := cmp.Diff(want, Dump(t, s)); diff != "" || !want[0].Segments[0].Closed {
		t.Errorf("the state has changed: %s", diff)
	}
	each(func(*enrich.Suspect) bool { return false })
	apply(t, s, batch(3, Running("Ca", 25*time.Minute)))
	if rows := Dump(t, s); len(rows) != 0 {
		t.Errorf("a record without news made a suspect: %+v", rows)
	}
	apply(t, s, batch(4, Running("Ca", 40*time.Minute)))
	if rows := Dump(t, s); len(rows) != 1 || rows[0].Segments[0].Aggregate.ClientPackets != 10 {
		t.Errorf("want a suspect with the 10 new packets: %+v", rows)
	}
}

// overflown: what was left out as its endpoint had too many clients is counted when there is room.
func overflown(t *testing.T, s enrich.Store) {
	t.Helper()
	var crowd []minecanary.Slices
	for c := range Clients {
		crowd = append(crowd, Slices(2+c, 1, Epoch, time.Minute))
	}
	apply(t, s, batch(1, crowd...))
	ordinary := Slices(1, 1, Epoch, time.Minute)
	apply(t, s, batch(2, ordinary, Running("Ca", 20*time.Minute), Running("Cb", 20*time.Minute), Final("Ca", 30*time.Minute)))
	if st := s.Stats(); st.Overflow != 1 || st.Suspects != Clients || st.Connections != 0 || st.LeftOut != 0 {
		t.Errorf("%+v, want one overflown suspect and nothing remembered", st)
	}
	if err := s.Each(t.Context(), nil, func(*enrich.Suspect) bool { return false }); err != nil {
		t.Fatal(err)
	}
	apply(t, s, batch(3, Final("Ca", 40*time.Minute)))
	if rows := Dump(t, s); len(rows) != 1 || rows[0].Segments[0].Aggregate.ClientPackets != 40 {
		t.Errorf("want a suspect with all 40 packets: %+v", rows)
	}
}

// remembered fills the running connections of a store, then the ended ones.
func remembered(t *testing.T, s enrich.Store, reopen func(*testing.T, enrich.Store) enrich.Store) {
	t.Helper()
	const half, m = Connections / 2, time.Minute
	pos := int64(0)
	name := func(i int) string { return fmt.Sprintf("C%d", i) }
	// put applies records and wants that they bring so many packets, and that so many more are left out.
	packets, left := 0, uint64(0)
	put := func(what string, more int, out uint64, list ...minecanary.Slices) {
		t.Helper()
		pos++
		apply(t, s, batch(pos, list...))
		packets, left = packets+more, left+out
		got := 0
		for _, r := range Dump(t, s) {
			for _, seg := range r.Segments {
				got += int(seg.Aggregate.ClientPackets)
			}
		}
		if st := s.Stats(); got != packets || st.LeftOut != left || st.Connections > Connections {
			t.Fatalf("%s: %d packets, want %d; %d left out, want %d; %d connections", what, got, packets, st.LeftOut, left, st.Connections)
		}
	}
	many := func(from, to int, of func(string, time.Duration) minecanary.Slices, length time.Duration) (list []minecanary.Slices) {
		for i := from; i < to; i++ {
			list = append(list, of(name(i), length))
		}
		return list
	}
	put("as many as there is room for", 10*half, 0, many(0, half, Running, 10*m)...)
	put("one too many", 0, 1, Running(name(half), 11*m))
	put("one that is known goes on", 5, 0, Running(name(0), 15*m))
	put("the end of the one too many", 20, 0, Final(name(half), 20*m))
	put("it is remembered", 0, 0, Running(name(half), 12*m), Final(name(half), 20*m))
	put("many that end", 20*half, 0, many(half+1, 2*half+1, Final, 20*m)...)
	put("one that ended and was forgotten", 0, 1, Running(name(half), 12*m))
	put("one that ended lately", 0, 0, Running(name(2*half), 12*m))
	put("running ones are not forgotten for ended ones", 2*half-2, 0, many(0, half, Running, 12*m)...)
	if n := s.Stats().Connections; n < half+half/2 {
		t.Errorf("%d connections are remembered, want more than half of the ended ones", n)
	}
	put("the end of one makes room", 18, 0, Final(name(1), 30*m))
	put("one that ended and was forgotten is still known as such", 0, 1, Running(name(half), 12*m))
	put("others are new", 40, 0, Running(name(5000), 40*m))
	put("one too many again", 0, 1, Running(name(5001), 40*m))
	put("an end without news makes room as well", 40, 0, Final(name(3), 12*m), Running(name(5002), 40*m))
	if reopen != nil {
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s)
		put("after a restart", 0, 1, Running(name(2), 12*m), Running(name(5000), 40*m), Final(name(2*half), 20*m), Running(name(5001), 41*m))
	}
	// Those that go on are known still when the others were silent for long enough.
	long, late := 20*time.Hour, Silence+time.Hour
	put("half of them go on", (1200-12)*half/2, 0, many(half/2, half, Running, long)...)
	put("all are needed yet", 0, 1, Running(name(6000), Silence-m))
	put("the silent ones leave", int(late/m), 0, begins(Running(name(6001), late), late-m))
	put("one that goes on is known", int(late/m)-1200, 0, Running(name(half-1), late))
	put("a silent one may have been counted", 0, 1, Running(name(2), late))
	put("the end of a silent one is counted", int(late/m), 0, Final(name(2), late))
}

// begins lets a record begin later, with the same counters.
func begins(sl minecanary.Slices, after time.Duration) minecanary.Slices {
	sl.Start += after.Microseconds()
	sl.CountedStart = sl.Start
	return sl
}
