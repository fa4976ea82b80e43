//go:build services

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/storetest"
	"github.com/minecanary/minecanary/internal/stack"
)

func fromZero(bool) (int64, error) { return 0, nil }

// batchOf makes the batch of a partition "topic/0" between two offsets.
func batchOf(token uint64, from, next int64, sl ...minecanary.Slices) *enrich.Batch {
	b := &enrich.Batch{
		Partition: "topic/0", Token: token, Slices: sl, From: minecanary.Position{Offset: from}, Next: minecanary.Position{Offset: next},
	}
	for i := range sl {
		b.Newest = max(b.Newest, sl[i].End)
	}
	return b
}

func claim(tb testing.TB, s *Store) (from int64, token uint64) {
	tb.Helper()
	from, _, token, err := s.Claim(tb.Context(), "topic/0", -1, fromZero)
	if err != nil {
		tb.Fatal(err)
	}
	return from, token
}

func applyOK(tb testing.TB, s *Store, b *enrich.Batch) {
	tb.Helper()
	if _, err := s.Apply(tb.Context(), b, nil); err != nil {
		tb.Fatal(err)
	}
}

func beatNow(tb testing.TB, s *Store, own ...enrich.Progress) ([]enrich.Shard, []string) {
	tb.Helper()
	s.beaten = time.Time{}
	shards, restart, err := s.Shards(tb.Context(), own)
	if err != nil {
		tb.Fatal(err)
	}
	return shards, restart
}

// TestShared are tests of several processes at one server.
func TestShared(t *testing.T) {
	svc := stack.Redis(t, stack.Single)
	client := func(tb testing.TB) redis.UniversalClient {
		tb.Helper()
		return dial(tb, ClientConfig{Mode: Single, Addrs: svc.Addrs})
	}
	two := func(t *testing.T) (a, b *Store) {
		t.Helper()
		prefix := "t" + random(4)
		return open(t, client(t), prefix, 1000).Store, open(t, client(t), prefix, 1000).Store
	}
	t.Run("who was replaced is refused", func(t *testing.T) { fenced(t, two) })
	t.Run("a log that is cut off", func(t *testing.T) { cutOff(t, two) })
	t.Run("duties", func(t *testing.T) {
		prefix := "t" + random(4)
		duties(t, func() *Store { return open(t, client(t), prefix, 1000).Store })
	})
	t.Run("the watermark's partitions", func(t *testing.T) { progress(t, two) })
	t.Run("changes under contention", func(t *testing.T) { contention(t, two) })
	t.Run("removal under contention", func(t *testing.T) { removal(t, two) })
	t.Run("late data while windows are decided", func(t *testing.T) { lateData(t, two) })
	t.Run("verdicts that were lost", func(t *testing.T) { lostVerdicts(t, two) })
	t.Run("sensors that were lost", func(t *testing.T) { lostSensors(t, two) })
	t.Run("many segments", func(t *testing.T) { manySegments(t, client(t)) })
	t.Run("dropping by a sample", func(t *testing.T) { sampled(t, client(t)) })
	t.Run("lifetimes", func(t *testing.T) { lifetimes(t, two) })
}

// fenced: the former owner's batches are refused, whether they repeat or go on, and change nothing.
func fenced(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, b := two(t)
	want := memory.New(memory.Config{Report: storetest.Report, Inactive: storetest.Inactive})
	one := func(i int64) minecanary.Slices {
		return storetest.Slices(int(i%7), int(i%3), storetest.Epoch.Add(time.Duration(i)*time.Minute), time.Minute)
	}
	from, token := claim(t, a)
	applyOK(t, a, batchOf(token, from, 1, one(0)))
	former, formerToken := a, token
	for i := int64(1); i < 40; i++ {
		next := a
		if former == a {
			next = b
		}
		from, token := claim(t, next)
		if from != i {
			t.Fatalf("begins at %d, want %d", from, i)
		}
		for _, stale := range []*enrich.Batch{batchOf(formerToken, i, i+1, one(i)), batchOf(formerToken, i, i+1, one(i))} {
			if _, err := former.Apply(t.Context(), stale, nil); !errors.Is(err, enrich.ErrRestart) {
				t.Fatalf("a replaced owner's batch gave %v", err)
			}
		}
		applyOK(t, next, batchOf(token, i, i+1, one(i)))
		former, formerToken = next, token
	}
	for i := range int64(40) {
		if _, err := want.Apply(t.Context(), &enrich.Batch{Slices: []minecanary.Slices{one(i)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(storetest.Dump(t, want), storetest.Dump(t, a)); diff != "" {
		t.Errorf("(-memory +redis):\n%s", diff)
	}
	// The beat tells an owner that it was replaced, too.
	claim(t, a)
	if _, restart := beatNow(t, b); !slices.Equal(restart, []string{"topic/0"}) {
		t.Errorf("the beat names %v", restart)
	}
}

// cutOff: a batch that ends before it begins sets the position back, once.
func cutOff(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, _ := two(t)
	from, token := claim(t, a)
	one := storetest.Slices(1, 1, storetest.Epoch, time.Minute)
	applyOK(t, a, batchOf(token, from, 100, one))
	for range 2 { // the second is a repetition
		applyOK(t, a, batchOf(token, 100, 40, one))
	}
	applyOK(t, a, batchOf(token, 40, 50, one))
	applyOK(t, a, batchOf(token, 40, 50, one))
	if _, restart := beatNow(t, a); restart != nil {
		t.Errorf("the beat names %v", restart)
	}
	if n := storetest.Dump(t, a)[0].Segments[0].Aggregate.Records; n != 3 {
		t.Errorf("%d records, want 3", n)
	}
	stands := func(offset int64, records uint32) {
		t.Helper()
		if pos, err := a.Positions(t.Context()); err != nil || pos["topic/0"].Offset != offset {
			t.Errorf("%v, %v, want %d", pos, err, offset)
		}
		if n := storetest.Dump(t, a)[0].Segments[0].Aggregate.Records; n != records {
			t.Errorf("%d records, want %d", n, records)
		}
	}
	stands(50, 3)
	applyOK(t, a, batchOf(token, 50, 50, one)) // a batch that leads nowhere adds nothing
	stands(50, 3)
	// Shards that were ahead go back as well.
	applyHalf(t, a, DefaultShards/2, batchOf(token, 50, 200))
	from, token = claim(t, a)
	applyOK(t, a, batchOf(token, from, 20, one))
	applyOK(t, a, batchOf(token, 20, 30, one))
	stands(30, 5)
}

// duties: the shards are shared evenly by those who live, with or without a partition.
func duties(t *testing.T, open func() *Store) {
	t.Helper()
	const lease = 400 * time.Millisecond
	var all []*Store
	add := func() *Store {
		s := open()
		s.duty, s.beatEvery = lease, 0
		all = append(all, s)
		return s
	}
	shared := func(within int, wantMost int) {
		t.Helper()
		var held []int
		for range within {
			held = held[:0]
			owner := map[int]int{}
			for _, s := range all {
				shards, _ := beatNow(t, s)
				held = append(held, len(shards))
				for _, sh := range shards {
					owner[sh.ID]++
				}
			}
			for id, n := range owner {
				if n != 1 {
					t.Fatalf("shard %d is decided by %d", id, n)
				}
			}
			if len(owner) == DefaultShards && slices.Max(held)-slices.Min(held) <= 1 && slices.Max(held) == wantMost {
				return
			}
			time.Sleep(lease / 20)
		}
		t.Fatalf("after %d beats they hold %v", within, held)
	}
	claim(t, add())
	shared(1, 64)
	add() // it has no partition
	shared(4, 32)
	add()
	shared(4, 22)
	// One dies.
	all = all[1:]
	shared(80, 32)
	// One leaves.
	last := all[1]
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	last.client = client0{last.client} // it is closed once more when the test ends
	all = all[:1]
	shared(2, 64)
	// The state is lost. Who has no partition hears from the state how it goes on.
	for i := range DefaultShards {
		if err := all[0].client.Del(t.Context(), all[0].key(i, "m")).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if shards, restart := beatNow(t, all[0]); shards != nil || restart != nil {
		t.Fatalf("of a state that was lost: %v, %v", shards, restart)
	}
	claim(t, add())
	shared(4, 32)
}

// client0 closes as often as one likes.
type client0 struct{ redis.UniversalClient }

func (client0) Close() error { return nil }

// progress: a process sees how far the others are, and that a partition brings nothing, as long as its owner says so.
func progress(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, b := two(t)
	a.beatEvery, b.beatEvery = 0, 0
	a.idleLease = 300 * time.Millisecond
	from, token := claim(t, a)
	look := func(own ...enrich.Progress) []enrich.Progress {
		t.Helper()
		shards, _ := beatNow(t, b, own...)
		for _, sh := range shards[1:] {
			if diff := cmp.Diff(shards[0].Progress, sh.Progress); diff != "" {
				t.Fatal(diff)
			}
		}
		return shards[0].Progress
	}
	want := func(what string, idle, heard bool, newest int64) {
		t.Helper()
		got := look(enrich.Progress{Partition: "topic/0"})
		if diff := cmp.Diff([]enrich.Progress{{Partition: "topic/0", Newest: newest, Heard: heard, Idle: idle}}, got); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	want("never heard of", false, false, 0)
	if got := look(enrich.Progress{Partition: "topic/0"}, enrich.Progress{Partition: "topic/1"}); len(got) != 2 {
		t.Errorf("a partition that nobody has started yet: %+v", got)
	}
	beatNow(t, a, enrich.Progress{Partition: "topic/0", Idle: true})
	want("idle before anything came", true, false, 0)
	applyOK(t, a, batchOf(token, from, 1))
	want("a batch without records", false, true, 0)
	sl := storetest.Slices(1, 1, storetest.Epoch, time.Minute)
	applyOK(t, a, batchOf(token, 1, 2, sl))
	want("a batch", false, true, sl.End)
	beatNow(t, a, enrich.Progress{Partition: "topic/0", Idle: true})
	want("idle", true, true, sl.End)
	time.Sleep(a.idleLease + 50*time.Millisecond)
	want("its owner is silent", false, true, sl.End)
	beatNow(t, a, enrich.Progress{Partition: "topic/0", Idle: true})
	applyOK(t, a, batchOf(token, 2, 3))
	want("it brings something again", false, true, sl.End)
}

// contention: one process adds to suspects that another one decides, marks and removes.
func contention(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, b := two(t)
	const batches, suspects = 150, 30
	from, token := claim(t, a)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		defer close(stop)
		for i := range int64(batches) {
			var sl []minecanary.Slices
			for c := range suspects {
				sl = append(sl, storetest.Slices(c, c%4, storetest.Epoch.Add(time.Duration(i)*time.Minute), time.Minute))
			}
			if _, err := a.Apply(t.Context(), batchOf(token, from+i, from+i+1, sl...), nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	rounds := 0
	rng := rand.New(rand.NewPCG(2, 2))
	for done := false; !done; rounds++ {
		select {
		case <-stop:
			done = true
		default:
		}
		var ids []int
		shards, _ := beatNow(t, b)
		for _, sh := range shards {
			ids = append(ids, sh.ID)
		}
		err := b.Each(t.Context(), ids, func(v *enrich.Suspect) bool {
			v.Marked = true
			v.Segments[0].Reports++
			v.Segments[0].Told = 2
			for i := range v.Segments {
				v.Segments[i].Closed = true
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if rng.IntN(3) == 0 {
			if err := b.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	if err := b.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := storetest.Dump(t, a)
	if len(rows) != suspects {
		t.Fatalf("%d suspects, want %d", len(rows), suspects)
	}
	for _, r := range rows {
		var records, reports uint64
		for _, seg := range r.Segments {
			records += uint64(seg.Aggregate.Records)
			reports = max(reports, uint64(seg.Reports))
		}
		if records != batches || !r.Marked || reports == 0 || reports > uint64(rounds) {
			t.Errorf("%s: %d records of %d, %d reports in %d rounds, marked %t", r.Pair, records, batches, reports, rounds, r.Marked)
		}
	}
}

// removal: one process removes suspects that another one adds to: a suspect goes only as it was seen.
func removal(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, b := two(t)
	const batches, suspects = 200, 30
	from, token := claim(t, a)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(stop)
		for i := range int64(batches) {
			var sl []minecanary.Slices
			for c := range suspects { // one segment each
				sl = append(sl, storetest.Slices(c, c%4, storetest.Epoch.Add(time.Duration(i)*time.Second), time.Minute))
			}
			if _, err := a.Apply(t.Context(), batchOf(token, from+i, from+i+1, sl...), nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if err := b.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, grown := 0, 0
	for done := false; !done; {
		select {
		case <-stop:
			done = true
		default:
		}
		var due []change
		var seen []int
		err := b.suspectKeys(t.Context(), slices.Repeat([]bool{true}, DefaultShards), func(endpoints []change) error {
			return b.read(t.Context(), endpoints, func(c change) error {
				segs, err := decode(c.raw, nil)
				if err == nil {
					c.mark = &mark{gone: []minecanary.Aggregate{segs[0].aggregate}}
					due, seen = append(due, c), append(seen, int(segs[0].aggregate.Records))
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range due {
			if i%3 != 0 {
				continue
			}
			switch n := must(b.settle(t.Context(), due[i:i+1]))(t); n {
			case 1:
				gone += seen[i]
			default:
				grown++
			}
		}
	}
	wg.Wait()
	left, rows := 0, storetest.Dump(t, a)
	for _, r := range rows {
		left += int(r.Segments[0].Aggregate.Records)
	}
	if gone+left != batches*suspects {
		t.Errorf("%d records were removed and %d are left, want %d together", gone, left, batches*suspects)
	}
	if gone == 0 || grown == 0 {
		t.Errorf("%d records were removed, %d suspects had grown", gone, grown)
	}
	if beatNow(t, b); b.suspects() != len(rows) {
		t.Errorf("%d suspects are counted, %d are there", b.suspects(), len(rows))
	}
}

// lateData comes for windows that another process has passed by but not decided yet: it is decided the next time.
func lateData(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, b := two(t)
	a.beatEvery, b.beatEvery = 0, 0
	from, token := claim(t, a)
	applyOK(t, a, batchOf(token, from, 1, storetest.Slices(1, 1, storetest.Epoch, time.Minute), storetest.Slices(2, 2, storetest.Epoch, time.Minute)))
	applyOK(t, a, batchOf(token, 1, 2, storetest.Slices(9, 9, storetest.Epoch.Add(2*time.Hour), time.Minute)))
	limit := enrich.Window(storetest.Epoch.Unix()/3600) + 1
	decide := func() (open []string) {
		t.Helper()
		shards, _ := beatNow(t, b)
		var ids []int
		for _, sh := range shards {
			ids = append(ids, sh.ID)
		}
		err := b.Each(t.Context(), ids, func(v *enrich.Suspect) bool {
			for i := range v.Segments {
				if v.Segments[i].Window < limit && !v.Segments[i].Closed {
					open = append(open, v.Client.String())
					v.Segments[i].Closed = true
				}
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, sh := range shards {
			b.Decided(sh, limit)
		}
		slices.Sort(open)
		return open
	}
	if diff := cmp.Diff([]string{"10.0.0.1", "10.0.0.2"}, decide()); diff != "" {
		t.Fatal(diff)
	}
	// An old suspect grows and a new one comes, after the look and before it is stored.
	applyOK(t, a, batchOf(token, 2, 3, storetest.Slices(1, 1, storetest.Epoch.Add(2*time.Minute), time.Minute), storetest.Slices(3, 1, storetest.Epoch, time.Minute)))
	if err := b.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	reopened := 0
	shards, _ := beatNow(t, b)
	for _, sh := range shards {
		if sh.Decided != limit {
			t.Fatalf("shard %d is decided up to %d, want %d", sh.ID, sh.Decided, limit)
		}
		if sh.Reopened {
			reopened++
		}
	}
	if reopened != 1 {
		t.Errorf("%d shards were opened again, want 1", reopened)
	}
	if diff := cmp.Diff([]string{"10.0.0.1", "10.0.0.3"}, decide()); diff != "" {
		t.Error(diff)
	}
	if err := b.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if open := decide(); open != nil {
			t.Errorf("%v are still open", open)
		}
		if err := b.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	shards, _ = beatNow(t, b)
	if slices.ContainsFunc(shards, func(sh enrich.Shard) bool { return sh.Reopened }) {
		t.Error("a shard is still open")
	}
}

// lostVerdicts: confirmed verdicts that Redis loses, or finds an older one of, come back from those who know them.
func lostVerdicts(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, b := two(t)
	now := time.Now().UTC().Truncate(time.Second)
	found := func(server int, status minecanary.VerdictStatus, at, expires time.Duration) minecanary.Verdict {
		return minecanary.Verdict{
			Endpoint: storetest.Slices(0, server, storetest.Epoch, 0).Server, Status: status, At: now.Add(at), Expires: now.Add(expires),
		}
	}
	put := func(s *Store, v minecanary.Verdict) {
		t.Helper()
		if err := s.PutVerdict(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	look := func(s *Store) (out []string) {
		t.Helper()
		claim(t, s)
		beatNow(t, s)
		for _, v := range must(s.Verdicts(t.Context()))(t) {
			out = append(out, fmt.Sprintf("%s %s %s", v.Endpoint, v.Status, v.At.Sub(now)))
		}
		return out
	}
	claim(t, a)
	put(a, found(1, minecanary.Confirmed, -time.Minute, time.Hour))
	put(a, found(2, minecanary.NotPool, -time.Minute, time.Hour))
	put(a, found(3, minecanary.Confirmed, -time.Hour, -time.Minute)) // expired
	put(a, found(4, minecanary.Confirmed, -time.Minute, time.Hour))
	put(a, found(5, minecanary.Confirmed, -time.Hour, time.Hour))
	known := look(b)
	if len(known) != 5 || !slices.Equal(known, look(a)) {
		t.Fatalf("%v", known)
	}
	version := b.VerdictsVersion()
	for i := range a.shards {
		if err := a.client.Del(t.Context(), a.key(i, "v")).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// What others said in between: newer stands, older does not.
	c := must(New(a.client, a.cfg))(t)
	put(c, found(4, minecanary.Confirmed, -2*time.Minute, time.Hour))
	put(c, found(5, minecanary.NotPool, -time.Second, time.Hour))
	want := []string{"198.51.100.1:3333 confirmed -1m0s", "198.51.100.4:3333 confirmed -1m0s", "198.51.100.5:3333 not-pool -1s"}
	for _, s := range []*Store{b, a, b} {
		if diff := cmp.Diff(want, look(s)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if b.VerdictsVersion() == version {
		t.Error("confirmed verdicts went, and the version says nothing of it")
	}
}

// lostSensors: names of sensors come back from those who know them, and no number gets another's name.
func lostSensors(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, b := two(t)
	from, token := claim(t, a)
	one := storetest.Slices(1, 1, storetest.Epoch, time.Minute)
	applyOK(t, a, batchOf(token, from, 1, one))
	beatNow(t, a)
	if err := a.client.Del(t.Context(), a.key(-1, "sensors")).Err(); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Dump(t, b)[0].Segments[0].Sensor; got != "" {
		t.Fatalf("the sensor's name is %q, but was lost", got)
	}
	other := one
	other.Sensor, other.Client = "s2", other.Client.Next()
	from, token = claim(t, b)
	applyOK(t, b, batchOf(token, from, 2, other))
	beatNow(t, a)
	beatNow(t, b)
	for _, s := range []*Store{a, b} {
		rows := storetest.Dump(t, s)
		if got := rows[0].Segments[0].Sensor + rows[1].Segments[0].Sensor; got != "s1s2" {
			t.Errorf("the sensors are %q", got)
		}
	}
	// Names beyond the bound are told as "", and asked for no more.
	b.sensorsFull = true
	n, err := b.sensor(t.Context(), "another")
	if n != 0 || err != nil {
		t.Errorf("number %d, %v", n, err)
	}
}

// manySegments: a suspect may have as many segments as can be configured.
func manySegments(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	s, err := New(client, Config{Prefix: "t" + random(4), Segments: MaxSegments, Report: storetest.Report, Inactive: storetest.Inactive})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	from, token := claim(t, s)
	const n = MaxSegments + 50
	for i := range int64(n) {
		sl := storetest.Slices(1, 1, storetest.Epoch.Add(time.Duration(i)*time.Hour), time.Minute)
		sl.ClientPackets, sl.ServerPackets, sl.ClientBytes, sl.ServerBytes = 1<<40, 1<<40, 1<<44, 1<<44
		sl.ClientPayload, sl.ServerPayload, sl.CountedPackets, sl.CountedBytes = 1<<44, 1<<44, 1<<39, 1<<43
		sl.UID = minecanary.NewUID([]byte("-- no known name --"))
		applyOK(t, s, batchOf(token, from+i, from+i+1, sl))
	}
	segments := storetest.Dump(t, s)[0].Segments
	records := uint32(0)
	for _, seg := range segments {
		records += seg.Aggregate.Records
	}
	if len(segments) != MaxSegments || records != n {
		t.Errorf("%d segments with %d records, want %d with %d", len(segments), records, MaxSegments, n)
	}
	if _, err := New(client, Config{Segments: MaxSegments + 1}); err == nil {
		t.Error("more segments were accepted")
	}
}

// sampled: a store too large for a whole comparison gives up those that a sample finds least suspicious.
func sampled(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	const limit = 8000
	s := open(t, client, "t"+random(4), limit).Store
	s.dropSample = 2000
	from, token := claim(t, s)
	for i := range int64(10) {
		var sl []minecanary.Slices
		for k := range 1000 {
			c := int(i)*1000 + k
			one := storetest.Slices(c, c%250, storetest.Epoch, time.Duration(1+c%100)*time.Minute)
			one.Server.Port = uint16(c / 250)
			sl = append(sl, one)
		}
		applyOK(t, s, batchOf(token, from+i, from+i+1, sl...))
	}
	if beatNow(t, s); s.suspects() > limit || s.suspects() < limit*8/10 {
		t.Errorf("%d suspects, want up to %d", s.suspects(), limit)
	}
	if int(s.Stats().Dropped)+s.suspects() != 10_000 {
		t.Errorf("%d dropped, %d left", s.Stats().Dropped, s.suspects())
	}
	suspicious := 0
	for _, r := range storetest.Dump(t, s) {
		if r.Segments[0].Aggregate.AckPush > 50 {
			suspicious++
		}
	}
	if suspicious < 4995 {
		t.Errorf("%d of the more suspicious half of 5000 are left", suspicious)
	}
}

// lifetimes: what is in use never ends before what it stands on, and garbage does.
func lifetimes(t *testing.T, two func(*testing.T) (a, b *Store)) {
	t.Helper()
	a, _ := two(t)
	now := time.Now()
	a.cfg.Now = func() time.Time { return now }
	from, token := claim(t, a)
	applyOK(t, a, batchOf(token, from, 1, storetest.Slices(1, 1, storetest.Epoch, time.Minute), storetest.Running("Ca", time.Minute)))
	all := must(a.client.Keys(t.Context(), a.cfg.Prefix+"{*").Result())(t)
	for _, key := range all {
		if ttl := must(a.client.TTL(t.Context(), key).Result())(t); ttl <= 0 && !strings.Contains(key, "{all}") {
			t.Errorf("%q never ends", key)
		}
	}
	beatNow(t, a)
	all = must(a.client.Keys(t.Context(), a.cfg.Prefix+"{*").Result())(t)
	set := func(d time.Duration) {
		t.Helper()
		for _, key := range all {
			if err := a.client.Expire(t.Context(), key, d).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(refreshed bool) {
		t.Helper()
		tables := 0
		defer func() {
			if refreshed && tables != 1 {
				t.Errorf("%d tables of connections, want 1", tables)
			}
		}()
		for _, key := range all {
			ttl := must(a.client.TTL(t.Context(), key).Result())(t)
			least := time.Duration(0)
			switch {
			case !refreshed:
			case strings.Contains(key, "}e"):
				least = keyLife - time.Hour
			case strings.Contains(key, "}k"):
				least = keyLife - time.Hour
				tables++
			case strings.HasSuffix(key, "}m"):
				least = keyLife - 25*time.Hour
			}
			if ttl < least || !refreshed && ttl > time.Hour {
				t.Errorf("%q ends in %s", key, ttl)
			}
		}
	}
	set(time.Hour)
	now = now.Add(refreshEvery / 2)
	beatNow(t, a)
	want(false)
	now = now.Add(refreshEvery)
	beatNow(t, a)
	want(true)
}

// TestEachFailover: a failover in the midst of a look at all suspects leaves none out, as the next server's scan has another
// order.
func TestEachFailover(t *testing.T) {
	svc := stack.Redis(t, stack.Sentinel)
	client := dial(t, ClientConfig{Mode: Sentinel, Addrs: svc.Addrs, Master: "mymaster"})
	const n = 5000
	s := open(t, client, "t"+random(4), 2*n).Store
	from, token := claim(t, s)
	sl := make([]minecanary.Slices, n)
	for i := range sl {
		sl[i] = storetest.Slices(i, i, storetest.Epoch, time.Minute)
		sl[i].Server.Port = uint16(i)
	}
	applyOK(t, s, batchOf(token, from, 1, sl...))
	if replicas, err := client.Do(t.Context(), "WAIT", 1, 5000).Int(); err != nil || replicas != 1 {
		t.Fatalf("%d replicas, %v", replicas, err)
	}
	seen := map[minecanary.Pair]int{}
	err := s.Each(t.Context(), nil, func(v *enrich.Suspect) bool {
		if len(seen) == n/2 {
			if err := svc.Script(t.Context(), "kill-node", "master"); err != nil {
				t.Error(err)
			}
		}
		seen[v.Pair]++
		return true
	})
	if err != nil || len(seen) != n {
		t.Errorf("%d of %d suspects were shown, %v", len(seen), n, err)
	}
}

// TestMaxMemory: a server that is full keeps what is most suspicious, the verdicts and the positions, and work goes on.
func TestMaxMemory(t *testing.T) {
	svc := stack.Redis(t, stack.Single)
	client := dial(t, ClientConfig{Mode: Single, Addrs: svc.Addrs})
	s := open(t, client, "t"+random(4), 10_000_000).Store
	from, token := claim(t, s)
	for i := range 100 {
		v := minecanary.Verdict{Endpoint: storetest.Slices(0, i, storetest.Epoch, 0).Server, Status: minecanary.NotPool, At: storetest.Epoch}
		if err := s.PutVerdict(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	used := usedMemory(t, client)
	if err := client.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used+4<<20)).Err(); err != nil {
		t.Fatal(err)
	}
	const batches, size = 30, 2000
	for i := range int64(batches) {
		sl := make([]minecanary.Slices, size)
		for k := range sl {
			c := int(i)*size + k
			length := time.Minute
			if c < 100 {
				length = time.Hour
			}
			sl[k] = storetest.Slices(c, c%100, storetest.Epoch.Add(time.Duration(i)*time.Second), length)
			sl[k].Server.Port = uint16(c / 10_000)
		}
		applyOK(t, s, batchOf(token, from+i, from+i+1, sl...))
		if i%5 == 0 {
			beatNow(t, s)
		}
	}
	st := s.Stats()
	if beatNow(t, s); st.Dropped == 0 || st.Suspects+int(st.Dropped) != batches*size {
		t.Errorf("%d suspects and %d dropped, want %d together", st.Suspects, st.Dropped, batches*size)
	}
	best := 0
	for _, r := range storetest.Dump(t, s) {
		if r.Segments[0].Aggregate.AckPush == 60 {
			best++
		}
	}
	if best != 100 {
		t.Errorf("%d of the 100 most suspicious are left", best)
	}
	if n := int(must(client.DBSize(t.Context()).Result())(t)); n == 0 {
		t.Error("nothing is left")
	}
	// Completely full: a partition can be started, a beat told, a verdict kept and a decision stored.
	if err := client.ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, _, _, err := s.Claim(ctx, "topic/1", -1, fromZero); err != nil {
		t.Error(err)
	}
	s.beaten = time.Time{}
	shards, restart, err := s.Shards(ctx, nil)
	if err != nil || len(shards) != DefaultShards || restart != nil {
		t.Errorf("%d shards, %v, %v", len(shards), restart, err)
	}
	v := minecanary.Verdict{Endpoint: storetest.Slices(0, 100, storetest.Epoch, 0).Server, Status: minecanary.Confirmed, At: storetest.Epoch}
	if err := s.PutVerdict(ctx, v); err != nil {
		t.Error(err)
	}
	s.Decided(shards[0], 5)
	told := 0
	ep := storetest.Slices(0, 1, storetest.Epoch, 0).Server
	ep.Port = 0
	err = s.Clients(ctx, ep, func(v *enrich.Suspect) {
		v.Segments[0].Reports, v.Segments[0].Told = 200, 2
		told++
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.Save(ctx); err != nil {
		t.Error(err)
	}
	before := s.suspects()
	if err := s.drop(ctx, 100); err != nil || before-s.suspects() != 100 || told == 0 {
		t.Errorf("%d were dropped, want 100; %d told; %v", before-s.suspects(), told, err)
	}
	if n := len(must(open(t, dial(t, ClientConfig{Mode: Single, Addrs: svc.Addrs}), s.cfg.Prefix, 0).Verdicts(t.Context()))(t)); n != 101 {
		t.Errorf("%d verdicts, want 101", n)
	}
	// No room at all: the store waits, and works on when there is some.
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	applyOK(t, s, batchOf(token, batches, batches+1, storetest.Slices(1, 1, storetest.Epoch, time.Minute)))

	for policy, fit := range map[string]bool{"allkeys-lru": false, "volatile-ttl": false, noEviction: true} {
		if err := client.ConfigSet(t.Context(), "maxmemory-policy", policy).Err(); err != nil {
			t.Fatal(err)
		}
		if err := Check(t.Context(), client); fit != (err == nil) || !fit && !errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", policy, err)
		}
	}
}

func usedMemory(tb testing.TB, client redis.UniversalClient) int {
	tb.Helper()
	info := must(client.Info(tb.Context(), "memory").Result())(tb)
	_, rest, _ := strings.Cut(info, "used_memory:")
	line, _, _ := strings.Cut(rest, "\r")
	return must(strconv.Atoi(line))(tb)
}

// TestMemoryPerConnection measures what a connection takes that is remembered.
func TestMemoryPerConnection(t *testing.T) {
	svc := stack.Redis(t, stack.Single)
	client := dial(t, ClientConfig{Mode: Single, Addrs: svc.Addrs})
	s := open(t, client, "mc", 0).Store
	s.cfg.Connections = DefaultConnections
	from, token := claim(t, s)
	const size = 20_000
	list := func(i int, uid string) []minecanary.Slices {
		sl := make([]minecanary.Slices, size)
		for k := range sl {
			sl[k] = storetest.Running(fmt.Sprintf("C%s%011d", uid, int(i)*size+k), 5*time.Hour)
			sl[k].Server.Port = uint16(k)
			sl[k].End += int64(k) // 300 packets and 12,000 bytes in 5 h
		}
		return sl
	}
	applyOK(t, s, batchOf(token, from, from+1, list(0, "first0")...)) // the suspects
	before := usedMemory(t, client)
	const n = 300_000
	for i := range n / size {
		at := from + 1 + int64(i)
		applyOK(t, s, batchOf(token, at, at+1, list(i, "second")...))
	}
	per := float64(usedMemory(t, client)-before) / n
	t.Logf("%.1f bytes of Redis per connection", per)
	if got := s.Stats().Connections; got != n+size || per > 250 {
		t.Errorf("%.1f bytes for each of %d connections", per, got)
	}
}

// TestMemoryPerSuspect holds the promise of at most 250 bytes of Redis for each of a million suspects.
func TestMemoryPerSuspect(t *testing.T) {
	million := 1_000_000
	if testing.Short() {
		million = 100_000
	}
	svc := stack.Redis(t, stack.Single)
	for _, c := range []struct {
		clients, windows int
		listpack         string // hash-max-listpack-value; its default is 64
		most             float64
	}{
		{1, 1, "64", 250}, {10, 1, "64", 250}, {1000, 1, "64", 0}, {1, 2, "64", 0}, {1, 2, "256", 0}, {10, 2, "64", 0}, {10, 2, "256", 0},
	} {
		clients := c.clients
		t.Run(fmt.Sprintf("%d clients of each endpoint, %d windows, listpack %s", clients, c.windows, c.listpack), func(t *testing.T) {
			n := million
			if c.most == 0 {
				n = min(n, 100_000) // for the figure alone
			}
			client := dial(t, ClientConfig{Mode: Single, Addrs: svc.Addrs})
			if err := client.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if err := client.ConfigSet(t.Context(), "hash-max-listpack-value", c.listpack).Err(); err != nil {
				t.Fatal(err)
			}
			s, err := New(client, Config{Prefix: "mc", Report: storetest.Report, Inactive: storetest.Inactive})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			before := usedMemory(t, client)
			from, token := claim(t, s)
			rng := rand.New(rand.NewPCG(1, 1))
			addr, server := netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("1.0.0.0")
			const size = 20_000
			longest := 0
			for i := range int64(n / size) {
				sl := make([]minecanary.Slices, size)
				for k := range sl {
					one := storetest.Slices(0, 0, storetest.Epoch.Add(time.Duration(rng.IntN(3_000_000))*time.Microsecond), 50*time.Minute)
					if (int(i)*size+k)%clients == 0 {
						server = server.Next()
					}
					addr = addr.Next()
					one.Client, one.Server.Addr = addr, server
					one.ClientPort = uint16(32768 + rng.IntN(28000))
					// The usual suspect (TestUsualSize), more or less.
					one.ClientPackets, one.ServerPackets = uint64(150+rng.IntN(100)), uint64(150+rng.IntN(80))
					one.ClientBytes, one.ServerBytes = one.ClientPackets*81, one.ServerPackets*280
					one.ClientPayload, one.ServerPayload = one.ClientPackets*41, one.ServerPackets*225
					one.CountedPackets, one.CountedBytes = one.ClientPackets-6, one.ClientBytes-480
					one.AckPush, one.CountedStart = 4, one.Start+60_000_000
					one.UID = minecanary.NewUID(fmt.Appendf(nil, "C%017d", rng.Uint64()%1e17))
					sl[k] = one
					if c.windows > 1 {
						one.Start, one.End, one.CountedStart = one.Start+3_600_000_000, one.End+3_600_000_000, one.CountedStart+3_600_000_000
						sl = append(sl, one)
					}
				}
				_, err := s.Apply(t.Context(), batchOf(token, from+i, from+i+1, sl...), nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range s.ahead[s.turn%len(s.ahead)].calls {
					if rest := c.answer; len(rest) > 2 {
						longest = max(longest, int(rest[0])<<8|int(rest[1]))
					}
				}
			}
			per := float64(usedMemory(t, client)-before) / float64(n)
			t.Logf("%.1f bytes of Redis per suspect at %d suspects; the longest value seen has %d bytes", per, n, longest)
			if s.suspects() != n || c.most > 0 && per > c.most {
				t.Errorf("%.1f bytes for each of %d suspects", per, s.suspects())
			}
			if c.windows == 1 && longest > 64 {
				t.Errorf("a value of %d bytes, want at most 64", longest)
			}
		})
	}
}
