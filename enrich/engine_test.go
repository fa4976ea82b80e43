package enrich_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/score"
	"github.com/minecanary/minecanary/enrich/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is a sink that keeps what it gets.
type collector struct {
	mu      sync.Mutex
	hits    []minecanary.Hit
	flushed int
}

func (c *collector) Write(_ context.Context, hits []minecanary.Hit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits = append(c.hits, hits...)
	return nil
}

func (c *collector) Flush(context.Context) error { c.flushed = len(c.hits); return nil }

// ids lists what was reported: status, pair, window, sequence, count.
func (c *collector) ids() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, h := range c.hits {
		out = append(out, fmt.Sprintf("%s %s %s w%d #%d x%d", h.Status, h.Client, h.Server, h.Window, h.Sequence, h.EventScale))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// knower answers from a table.
type knower struct {
	mu    sync.Mutex
	pools map[string]minecanary.VerdictStatus
	asked []string
	err   error
}

func (k *knower) Verify(_ context.Context, q minecanary.Question) (minecanary.Verdict, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, q.Endpoint.String())
	if k.err != nil {
		return minecanary.Verdict{}, k.err
	}
	status, ok := k.pools[q.Endpoint.String()]
	if !ok {
		status = minecanary.Inconclusive
	}
	now := time.Now()
	return minecanary.Verdict{Endpoint: q.Endpoint, Status: status, At: now, Expires: now.Add(24 * time.Hour), Reason: "told"}, nil
}

// listed is a pair of lists by endpoint.
type listed struct{ allow, block map[string]bool }

func (l listed) Allowed(ep minecanary.Endpoint, _ time.Time) (string, bool) {
	return "allowed", l.allow[ep.String()]
}

func (l listed) Blocked(ep minecanary.Endpoint, _ time.Time) (string, bool) {
	return "blocked", l.block[ep.String()]
}

func testConfig(finite bool) enrich.Config {
	return enrich.Config{
		Report: storetest.Report, Inactive: storetest.Inactive, Active: time.Hour, Lateness: 15 * time.Minute,
		Keep: 24 * time.Hour, Suspected: true, Finite: finite,
	}
}

func newStore(file string) *memory.Store {
	return memory.New(memory.Config{Report: storetest.Report, Inactive: storetest.Inactive, File: file})
}

func scorer(t *testing.T) score.Scorer {
	t.Helper()
	s, err := score.New("nemea", 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// session is the slices of a connection cut every five minutes, as interim records give them. A miner keeps a steady
// pace of 10 packets a minute; a visitor of 60.
func session(client, server int, start time.Time, length time.Duration, miner bool) []minecanary.Slices {
	var out []minecanary.Slices
	for at := time.Duration(0); at < length; at += 5 * time.Minute {
		s := storetest.Slices(client, server, start.Add(at), min(5*time.Minute, length-at))
		s.AckPush = 1
		s.ClientPackets = 50
		if !miner {
			s.ClientPackets, s.Other, s.AckPush = 750, 1, 0
		}
		s.ClientBytes = s.ClientPackets * 100
		s.CountedPackets, s.CountedBytes = s.ClientPackets, s.ClientBytes
		out = append(out, s)
	}
	return out
}

// batches cuts slices into batches in order of their ends, at random places.
func batches(all []minecanary.Slices, rng *rand.Rand) []*enrich.Batch {
	slices.SortStableFunc(all, func(a, b minecanary.Slices) int { return int(a.End - b.End) })
	var out []*enrich.Batch
	for i, pos := 0, int64(0); i < len(all); pos++ {
		n := min(1+rng.IntN(9), len(all)-i)
		part := slices.Clone(all[i : i+n])
		out = append(out, &enrich.Batch{
			Partition: "conn.log", Next: minecanary.Position{Offset: pos + 1}, Slices: part, Newest: part[n-1].End,
		})
		i += n
	}
	return out
}

// run feeds batches to an engine and waits for it.
func run(ctx context.Context, e *enrich.Engine, in []*enrich.Batch) error {
	ch := make(chan enrich.Input)
	go func() {
		defer close(ch)
		for _, b := range in {
			copied := *b
			copied.Slices = slices.Clone(b.Slices)
			select {
			case ch <- enrich.Input{Batch: &copied}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return e.Run(ctx, ch)
}

func TestFiniteReportsEachWindowOnce(t *testing.T) {
	out := &collector{}
	k := &knower{pools: map[string]minecanary.VerdictStatus{
		"198.51.100.1:3333": minecanary.Confirmed, "198.51.100.2:3333": minecanary.NotPool,
	}}
	all := slices.Concat(
		session(1, 1, storetest.Epoch, 90*time.Minute, true),  // confirmed, two windows
		session(2, 1, storetest.Epoch, 20*time.Minute, false), // below the threshold, but its server is confirmed
		session(3, 2, storetest.Epoch, 90*time.Minute, true),  // looks like a miner, is none
		session(4, 3, storetest.Epoch, 50*time.Minute, true),  // nobody knows
		session(5, 4, storetest.Epoch, 90*time.Minute, false), // ordinary
		session(6, 5, storetest.Epoch, 20*time.Minute, true),  // allowed
		session(7, 6, storetest.Epoch, 20*time.Minute, false), // blocked
	)
	e := enrich.New(testConfig(true), enrich.Deps{
		Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}, Verifier: k, Workers: 2,
		Lists: listed{allow: map[string]bool{"198.51.100.5:3333": true}, block: map[string]bool{"198.51.100.6:3333": true}},
	})
	if err := run(t.Context(), e, batches(all, rand.New(rand.NewPCG(1, 1)))); err != nil {
		t.Fatal(err)
	}
	w := storetest.Epoch.Unix() / 3600
	want := []string{
		fmt.Sprintf("confirmed 10.0.0.1 198.51.100.1:3333 w%d #0 x11", w),
		fmt.Sprintf("confirmed 10.0.0.1 198.51.100.1:3333 w%d #0 x7", w+1),
		fmt.Sprintf("confirmed 10.0.0.2 198.51.100.1:3333 w%d #0 x4", w),
		fmt.Sprintf("known 10.0.0.7 198.51.100.6:3333 w%d #0 x4", w),
		fmt.Sprintf("suspected 10.0.0.4 198.51.100.3:3333 w%d #0 x10", w),
	}
	if diff := cmp.Diff(want, out.ids()); diff != "" {
		t.Errorf("hits (-want +got):\n%s", diff)
	}
	slices.Sort(k.asked)
	if diff := cmp.Diff([]string{"198.51.100.1:3333", "198.51.100.2:3333", "198.51.100.3:3333"}, k.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestKnown: what the catalogue knew at the time of the traffic is reported with its reason, below the threshold too, but
// not against what the server proved; and its name and dialect go into the question.
func TestKnown(t *testing.T) {
	out := &collector{}
	var mu sync.Mutex
	var asked []minecanary.Question
	verify := verifier(func(q minecanary.Question) minecanary.Verdict {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, q)
		status := minecanary.Inconclusive
		if q.Endpoint.String() == "198.51.100.3:3333" {
			status = minecanary.NotPool
		}
		return minecanary.Verdict{Endpoint: q.Endpoint, Status: status, At: time.Now(), Expires: time.Now().Add(time.Hour)}
	})
	until := storetest.Epoch.Add(2 * time.Hour)
	e := enrich.New(testConfig(true), enrich.Deps{
		Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}, Verifier: verify, Workers: 1,
		Known: func(ep minecanary.Endpoint, at time.Time) (enrich.Known, bool) {
			k := enrich.Known{Reason: "catalogue: a pool", Name: "a.pool.net", Dialect: "kaspa"}
			if ep.Addr.As4()[3] == 6 {
				k.Reason = ""
			}
			return k, ep.Addr.As4()[3] != 4 && at.Before(until)
		},
	})
	all := slices.Concat(
		session(6, 6, storetest.Epoch, 20*time.Minute, false),                  // known, but not enough to report
		session(1, 1, storetest.Epoch, 20*time.Minute, false),                  // below the threshold
		session(2, 2, storetest.Epoch.Add(3*time.Hour), 20*time.Minute, false), // when it was no pool any more
		session(3, 3, storetest.Epoch, 90*time.Minute, true),                   // proved to be none
		session(4, 4, storetest.Epoch, 20*time.Minute, true),                   // unknown
		session(5, 5, storetest.Epoch, 20*time.Minute, true),                   // known, and asked
	)
	if err := run(t.Context(), e, batches(all, rand.New(rand.NewPCG(1, 1)))); err != nil {
		t.Fatal(err)
	}
	w := storetest.Epoch.Unix() / 3600
	want := []string{
		fmt.Sprintf("known 10.0.0.1 198.51.100.1:3333 w%d #0 x4", w),
		fmt.Sprintf("known 10.0.0.5 198.51.100.5:3333 w%d #0 x4", w),
		fmt.Sprintf("suspected 10.0.0.4 198.51.100.4:3333 w%d #0 x4", w),
	}
	if diff := cmp.Diff(want, out.ids()); diff != "" {
		t.Error(diff)
	}
	for _, h := range out.hits {
		if h.Status == minecanary.HitKnown && !slices.ContainsFunc(h.Evidence, func(e minecanary.Evidence) bool {
			return e.Kind == "catalogue" && e.Strength == minecanary.Strong && e.Summary == "catalogue: a pool"
		}) {
			t.Errorf("%+v", h.Evidence)
		}
	}
	for _, q := range asked {
		if named := q.Name == "a.pool.net" && q.First == "kaspa"; named != (q.Endpoint.Addr.As4()[3] != 4) {
			t.Errorf("%+v", q)
		}
	}
	if len(asked) != 3 {
		t.Errorf("%d questions", len(asked))
	}
}

// verifier is a function that answers.
type verifier func(minecanary.Question) minecanary.Verdict

func (v verifier) Verify(_ context.Context, q minecanary.Question) (minecanary.Verdict, error) {
	return v(q), nil
}

// traffic is a day's worth of sessions of miners and others, some with gaps.
func traffic(rng *rand.Rand) []minecanary.Slices {
	var all []minecanary.Slices
	for c := range 12 {
		for range 1 + rng.IntN(3) {
			start := storetest.Epoch.Add(time.Duration(rng.IntN(6*3600)) * time.Second)
			length := time.Duration(1+rng.IntN(150)) * time.Minute
			all = append(all, session(c, c%5, start, length, c%3 != 0)...)
		}
	}
	return all
}

// TestBatchesDoNotShow runs the same records in other batches, finite and live, and wants the same hits.
func TestBatchesDoNotShow(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		all := traffic(rng)
		k := map[string]minecanary.VerdictStatus{"198.51.100.1:3333": minecanary.Confirmed}
		var want [2][]string
		for round := range 4 {
			for mode, finite := range []bool{true, false} {
				out := &collector{}
				store := newStore("")
				// A verdict that is there from the start, as its time on the way is wall clock.
				for ep, status := range k {
					e, err := minecanary.ParseEndpoint(ep)
					if err != nil {
						t.Fatal(err)
					}
					v := minecanary.Verdict{Endpoint: e, Status: status, At: time.Now(), Expires: time.Now().Add(time.Hour)}
					if err := store.PutVerdict(t.Context(), v); err != nil {
						t.Fatal(err)
					}
				}
				e := enrich.New(testConfig(finite), enrich.Deps{Store: store, Scorer: scorer(t), Sinks: []enrich.Sink{out}})
				// What comes last moves the watermark over all windows.
				last := session(99, 200, storetest.Epoch.Add(48*time.Hour), time.Minute, false)
				if err := run(t.Context(), e, batches(slices.Concat(all, last), rng)); err != nil {
					t.Fatal(err)
				}
				got := live(out)
				if round == 0 {
					want[mode] = got
					continue
				}
				if diff := cmp.Diff(want[mode], got); diff != "" {
					t.Fatalf("seed %d, finite %v: other batches gave other hits:\n%s", seed, finite, diff)
				}
			}
		}
		if diff := cmp.Diff(firsts(want[0]), firsts(want[1])); diff != "" {
			t.Fatalf("seed %d: detect and serve report different windows:\n%s", seed, diff)
		}
		if len(want[0]) < 5 {
			t.Errorf("seed %d: only %d hits, the traffic is too tame", seed, len(want[0]))
		}
	}
}

// live lists the reports without the count of a first sight, which is whatever had come by then.
func live(c *collector) []string {
	var out []string
	for _, h := range c.hits {
		out = append(out, fmt.Sprintf("%s %s %s w%d #%d", h.Status, h.Client, h.Server, h.Window, h.Sequence))
	}
	slices.Sort(out)
	return out
}

// firsts keeps the first report of each window.
func firsts(ids []string) []string {
	var out []string
	for _, id := range ids {
		if id[len(id)-2:] == "#0" {
			out = append(out, id)
		}
	}
	return out
}

// TestCrash throws the engine away at random moments, with all it had not saved, and feeds what follows the stored
// position: in the end state and hits are those of an undisturbed run.
func TestCrash(t *testing.T) {
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 2))
		all := slices.Concat(traffic(rng), session(99, 200, storetest.Epoch.Add(48*time.Hour), time.Minute, false))
		in := batches(all, rng)
		block := listed{block: map[string]bool{"198.51.100.3:3333": true}}

		calm, calmStore := &collector{}, newStore("")
		e := enrich.New(testConfig(false), enrich.Deps{Store: calmStore, Scorer: scorer(t), Sinks: []enrich.Sink{calm}, Lists: block})
		if err := run(t.Context(), e, in); err != nil {
			t.Fatal(err)
		}

		file := filepath.Join(t.TempDir(), "state")
		out := &collector{}
		for crashes := 0; ; crashes++ {
			store := newStore(file)
			if err := store.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			pos, err := store.Positions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rest := in[pos["conn.log"].Offset:]
			cfg := testConfig(false)
			if rng.IntN(2) == 0 {
				cfg.SaveEvery = time.Nanosecond
			}
			deps := enrich.Deps{Store: crashing{store, rng.IntN(1 + len(rest)/3)}, Scorer: scorer(t), Sinks: []enrich.Sink{out}, Lists: block}
			if crashes == 25 {
				deps.Store = store
			}
			err = run(t.Context(), enrich.New(cfg, deps), rest)
			if err == nil {
				if diff := cmp.Diff(storetest.Dump(t, calmStore), storetest.Dump(t, store)); diff != "" {
					t.Fatalf("seed %d, %d crashes: state (-calm +crashed):\n%s", seed, crashes, diff)
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(slices.Compact(live(calm)), slices.Compact(live(out))); diff != "" {
			t.Fatalf("seed %d: hits (-calm +crashed):\n%s", seed, diff)
		}
	}
}

var errCrash = errors.New("crash")

// crashing is a store whose process dies after some batches.
type crashing struct {
	*memory.Store
	after int
}

func (c crashing) Apply(ctx context.Context, b *enrich.Batch, touched func(*enrich.Suspect)) (bool, error) {
	applied, err := c.Store.Apply(ctx, b, touched)
	if pos, _ := c.Positions(ctx); err == nil && int(pos["conn.log"].Offset)%(c.after+2) == c.after+1 {
		return applied, errCrash
	}
	return applied, err
}

// TestConfirmedReportsAtOnce wants hits of all clients when the verdict comes, not when the window ends.
func TestConfirmedReportsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &collector{}
		k := &knower{pools: map[string]minecanary.VerdictStatus{"198.51.100.1:3333": minecanary.Confirmed}}
		e := enrich.New(testConfig(false), enrich.Deps{Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}, Verifier: k, Workers: 1})
		in := make(chan enrich.Input)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx, in) }()
		all := slices.Concat(session(2, 1, storetest.Epoch, 5*time.Minute, false), session(1, 1, storetest.Epoch, 20*time.Minute, true))
		in <- enrich.Input{Batch: &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: 1}, Slices: all, Newest: all[len(all)-1].End}}
		synctest.Wait()
		w := storetest.Epoch.Unix() / 3600
		want := []string{
			fmt.Sprintf("confirmed 10.0.0.1 198.51.100.1:3333 w%d #0 x4", w),
			fmt.Sprintf("confirmed 10.0.0.2 198.51.100.1:3333 w%d #0 x1", w),
		}
		if diff := cmp.Diff(want, out.ids()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestFailedProbeProvesNothing: a confirmed endpoint stays so through failures, and an inconclusive one stays suspected.
func TestFailedProbeProvesNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status minecanary.VerdictStatus
		err    error
	}{
		{"inconclusive", minecanary.Inconclusive, nil},
		{"blocked", minecanary.Blocked, nil},
		{"error", "", errors.New("no audit trail")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &collector{}
				k := &knower{pools: map[string]minecanary.VerdictStatus{"198.51.100.1:3333": tt.status}, err: tt.err}
				e := enrich.New(testConfig(true), enrich.Deps{Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}, Verifier: k, Workers: 1})
				if err := run(t.Context(), e, batches(session(1, 1, storetest.Epoch, 30*time.Minute, true), rand.New(rand.NewPCG(1, 1)))); err != nil {
					t.Fatal(err)
				}
				w := storetest.Epoch.Unix() / 3600
				if diff := cmp.Diff([]string{fmt.Sprintf("suspected 10.0.0.1 198.51.100.1:3333 w%d #0 x6", w)}, out.ids()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestIdleSuspectsLeave: those nobody was asked about after the inactive timeout, the others after Keep.
func TestIdleSuspectsLeave(t *testing.T) {
	store := newStore("")
	k := &knower{}
	e := enrich.New(testConfig(false), enrich.Deps{Store: store, Scorer: scorer(t), Verifier: k, Workers: 1})
	all := slices.Concat(
		session(1, 1, storetest.Epoch, 30*time.Minute, true),
		session(2, 2, storetest.Epoch, 30*time.Minute, false),
		session(3, 3, storetest.Epoch.Add(5*time.Hour), time.Minute, false),
	)
	if err := run(t.Context(), e, batches(all, rand.New(rand.NewPCG(1, 1)))); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, r := range storetest.Dump(t, store) {
		left = append(left, r.Pair)
	}
	if diff := cmp.Diff([]string{"10.0.0.1 198.51.100.1:3333", "10.0.0.3 198.51.100.3:3333"}, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAcksFollowTheSave: nobody hears that a batch is safe before the state was saved.
func TestAcksFollowTheSave(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state")
	store := newStore(file)
	e := enrich.New(testConfig(false), enrich.Deps{Store: store, Scorer: scorer(t)})
	in := make(chan enrich.Input, 1)
	acked := false
	in <- enrich.Input{
		Batch: &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: 7}, Slices: session(1, 1, storetest.Epoch, time.Minute, true), Newest: 1},
		Ack: func(ctx context.Context, err error) error {
			acked = true
			back := newStore(file)
			if lerr := back.Load(ctx); lerr != nil || err != nil {
				t.Errorf("%v, %v", lerr, err)
			}
			if pos, _ := back.Positions(ctx); pos["p"].Offset != 7 {
				t.Errorf("acknowledged at a saved position of %v", pos["p"])
			}
			return nil
		},
	}
	close(in)
	if err := e.Run(t.Context(), in); err != nil || !acked {
		t.Errorf("acked %v, %v", acked, err)
	}
}

// TestQueueIsBounded offers more endpoints than the queue holds and wants the best scores kept.
func TestQueueIsBounded(t *testing.T) {
	block := make(chan struct{})
	v := verifierFunc(func(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error) {
		select {
		case <-block:
		case <-ctx.Done():
		}
		return minecanary.Verdict{Endpoint: q.Endpoint, Status: minecanary.Inconclusive, Expires: time.Now().Add(time.Hour)}, ctx.Err()
	})
	store := newStore("")
	e := enrich.New(testConfig(false), enrich.Deps{Store: store, Scorer: scorer(t), Verifier: v, Workers: 1})
	const extra = 500
	var all []minecanary.Slices
	for i := range enrich.MaxQueued + extra {
		s := storetest.Slices(1, 1, storetest.Epoch, 30*time.Minute)
		s.ClientPackets, s.CountedPackets = 300, 300
		s.ClientBytes, s.CountedBytes = 30_000, 30_000
		s.Server.Addr = netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
		all = append(all, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	in := make(chan enrich.Input)
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, in) }()
	in <- enrich.Input{Batch: &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: 1}, Slices: all, Newest: 1}}
	in <- enrich.Input{Batch: &enrich.Batch{Partition: "p", Next: minecanary.Position{Offset: 2}}}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(block)
	if s := e.Stats(); s.Pushed < extra-1 || s.Queued > enrich.MaxQueued+1 {
		t.Errorf("%d left out, %d waiting", s.Pushed, s.Queued)
	}
}

type verifierFunc func(context.Context, minecanary.Question) (minecanary.Verdict, error)

func (f verifierFunc) Verify(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error) {
	return f(ctx, q)
}

// inOrder makes a batch of each slice, in the order given.
func inOrder(partition string, all ...minecanary.Slices) []*enrich.Batch {
	var out []*enrich.Batch
	for i := range all {
		out = append(out, &enrich.Batch{
			Partition: partition, Next: minecanary.Position{Offset: int64(i + 1)}, Slices: all[i : i+1], Newest: all[i].End,
		})
	}
	return out
}

// hits runs batches and gives what was reported.
func hits(t *testing.T, cfg enrich.Config, deps enrich.Deps, in []*enrich.Batch) []string {
	t.Helper()
	out := &collector{}
	deps.Sinks = []enrich.Sink{out}
	if deps.Store == nil {
		deps.Store = newStore("")
	}
	deps.Scorer = scorer(t)
	if err := run(t.Context(), enrich.New(cfg, deps), in); err != nil {
		t.Fatal(err)
	}
	return out.ids()
}

// TestWatermark: neither a wrong clock nor a file without connection records keeps windows from being decided, and a
// file that was not heard of yet does, so that nothing is told with half its count.
func TestWatermark(t *testing.T) {
	miner := session(1, 1, storetest.Epoch, 50*time.Minute, true)
	other := session(2, 2, storetest.Epoch.Add(5*time.Hour), time.Minute, false)
	future := storetest.Slices(9, 9, time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), time.Minute)
	want := fmt.Sprintf("suspected 10.0.0.1 198.51.100.1:3333 w%d #0 x10", storetest.Epoch.Unix()/3600)
	find := func(got []string) bool { return slices.Contains(got, want) }

	if got := hits(t, testConfig(false), enrich.Deps{}, inOrder("p", slices.Concat(miner, other)...)); !find(got) {
		t.Errorf("plain: %v", got)
	}
	e := enrich.New(testConfig(false), enrich.Deps{Store: newStore(""), Scorer: scorer(t)})
	if err := run(t.Context(), e, inOrder("p", slices.Concat(miner, other, []minecanary.Slices{future})...)); err != nil {
		t.Fatal(err)
	}
	if e.Stats().Future != 1 {
		t.Errorf("%d batches from the future", e.Stats().Future)
	}
	without := slices.Insert(inOrder("conn.log", slices.Concat(miner, other)...), 0, &enrich.Batch{Partition: "ssl.log", Next: minecanary.Position{Offset: 1}})
	if got := hits(t, testConfig(false), enrich.Deps{}, without); !find(got) {
		t.Errorf("beside a file without records: %v", got)
	}
	// Half of the miner's records come by a second file that is read after the first.
	cfg := testConfig(false)
	cfg.Partitions = func() []string { return []string{"a", "b"} }
	cfg.AtEnd = func(string) bool { return false }
	var a, b []minecanary.Slices
	for i, s := range miner {
		if i%2 == 0 {
			a = append(a, s)
		} else {
			b = append(b, s)
		}
	}
	two := slices.Concat(inOrder("a", append(a, other...)...), inOrder("b", append(b, other...)...))
	if got := hits(t, cfg, enrich.Deps{}, two); !find(got) || len(got) != 1 {
		t.Errorf("two files: %v", got)
	}
}

// TestLongRecordAfterADecision: a record that began before a window was decided and came after it gives the same hits
// whether it comes in a batch of its own, in one batch with all others, or in a finished file.
func TestLongRecordAfterADecision(t *testing.T) {
	short := storetest.Slices(1, 1, storetest.Epoch.Add(25*time.Minute), 4*time.Minute)
	short.AckPush, short.ClientPackets, short.CountedPackets, short.ClientBytes, short.CountedBytes = 1, 4, 4, 160, 160
	long := storetest.Slices(1, 1, storetest.Epoch.Add(40*time.Minute), 48*time.Minute)
	long.AckPush, long.Other, long.ClientPackets, long.CountedPackets, long.ClientBytes, long.CountedBytes = 0, 1, 600, 600, 60000, 60000
	tick := func(minute int) minecanary.Slices {
		return storetest.Slices(50, 50, storetest.Epoch.Add(time.Duration(minute)*time.Minute), time.Minute)
	}
	all := []minecanary.Slices{short, tick(80), long, tick(300)}
	each := hits(t, testConfig(false), enrich.Deps{}, inOrder("p", all...))
	one := hits(t, testConfig(false), enrich.Deps{}, []*enrich.Batch{{Partition: "p", Next: minecanary.Position{Offset: 1}, Slices: all, Newest: all[3].End}})
	finite := hits(t, testConfig(true), enrich.Deps{}, inOrder("p", all...))
	if diff := cmp.Diff(each, one); diff != "" {
		t.Errorf("each and one batch:\n%s", diff)
	}
	if diff := cmp.Diff(each, finite); diff != "" {
		t.Errorf("live and finite:\n%s", diff)
	}
}

// TestStrongerStatusIsTold: who was reported as suspected is reported again when the server is confirmed.
func TestStrongerStatusIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &collector{}
		answer, now := make(chan struct{}), storetest.Epoch.Add(4*time.Hour)
		v := verifierFunc(func(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error) {
			select {
			case <-answer:
			case <-ctx.Done():
			}
			return minecanary.Verdict{Endpoint: q.Endpoint, Status: minecanary.Confirmed, At: now, Expires: now.Add(24 * time.Hour)}, ctx.Err()
		})
		cfg := testConfig(false)
		cfg.Now = func() time.Time { return now }
		e := enrich.New(cfg, enrich.Deps{Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}, Verifier: v, Workers: 1})
		in := make(chan enrich.Input)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx, in) }()
		for _, b := range inOrder("p", slices.Concat(session(1, 1, storetest.Epoch, 50*time.Minute, true), session(2, 2, storetest.Epoch.Add(3*time.Hour), time.Minute, false))...) {
			in <- enrich.Input{Batch: b}
		}
		synctest.Wait()
		w := storetest.Epoch.Unix() / 3600
		suspected := fmt.Sprintf("suspected 10.0.0.1 198.51.100.1:3333 w%d #0 x10", w)
		if diff := cmp.Diff([]string{suspected}, out.ids()); diff != "" {
			t.Errorf("before the verdict:\n%s", diff)
		}
		close(answer)
		synctest.Wait()
		if diff := cmp.Diff([]string{fmt.Sprintf("confirmed 10.0.0.1 198.51.100.1:3333 w%d #1 x10", w), suspected}, out.ids()); diff != "" {
			t.Errorf("after the verdict:\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWhoIsAskedAbout: the stretch that looks like mining need not be the newest; who sees one direction asks for
// nobody and stands in nobody's way; what the allow list names is not asked, even if the state knows it from before.
func TestWhoIsAskedAbout(t *testing.T) {
	const pool = "198.51.100.1:3333"
	miner := session(1, 1, storetest.Epoch, 50*time.Minute, true)
	short := session(1, 1, storetest.Epoch.Add(3*time.Hour), time.Minute, false)
	oneWay := session(3, 1, storetest.Epoch, 50*time.Minute, true)
	for i := range oneWay {
		oneWay[i].ServerPackets, oneWay[i].ServerPayload, oneWay[i].ServerBytes = 0, 0, 0
	}
	for _, tt := range []struct {
		name  string
		all   []minecanary.Slices
		lists enrich.Lists
		want  []string
	}{
		{"newest last", slices.Concat(miner, short), nil, []string{pool}},
		{"newest first", slices.Concat(short, miner), nil, []string{pool}},
		{"one-way alone", oneWay, nil, nil},
		{"one-way first", slices.Concat(oneWay, miner), nil, []string{pool}},
		{"allowed", miner, listed{allow: map[string]bool{pool: true}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &knower{pools: map[string]minecanary.VerdictStatus{pool: minecanary.Confirmed}}
			hits(t, testConfig(true), enrich.Deps{Verifier: k, Workers: 1, Lists: tt.lists}, inOrder("p", tt.all...))
			if diff := cmp.Diff(tt.want, k.asked); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("allowed later", func(t *testing.T) {
		store := newStore("")
		hits(t, testConfig(false), enrich.Deps{Store: store}, inOrder("p", miner...))
		k := &knower{}
		hits(t, testConfig(false), enrich.Deps{Store: store, Verifier: k, Workers: 1, Lists: listed{allow: map[string]bool{pool: true}}}, nil)
		if k.asked != nil {
			t.Errorf("asked %v", k.asked)
		}
	})
}

// TestConfirmedIsRenewed: a verdict near its end is asked for again as long as anybody talks to the endpoint.
func TestConfirmedIsRenewed(t *testing.T) {
	store := newStore("")
	ep, err := minecanary.ParseEndpoint("198.51.100.1:3333")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := store.PutVerdict(t.Context(), minecanary.Verdict{Endpoint: ep, Status: minecanary.Confirmed, At: now.Add(-23 * time.Hour), Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	k := &knower{pools: map[string]minecanary.VerdictStatus{ep.String(): minecanary.Confirmed}}
	hits(t, testConfig(false), enrich.Deps{Store: store, Verifier: k, Workers: 1}, inOrder("p", session(2, 1, storetest.Epoch, 20*time.Minute, false)...))
	if diff := cmp.Diff([]string{ep.String()}, k.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestKnownIsAsked: in a live run, too, an endpoint that the catalogue knows is asked if a score says so, though it is
// reported already: when nobody has asked it, and when an old verdict has ended.
func TestKnownIsAsked(t *testing.T) {
	ep, err := minecanary.ParseEndpoint("198.51.100.1:3333")
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Now().Add(-time.Hour)
	for _, old := range []minecanary.VerdictStatus{"", minecanary.Confirmed, minecanary.NotPool} {
		store := newStore("")
		if old != "" {
			if err := store.PutVerdict(t.Context(), minecanary.Verdict{Endpoint: ep, Status: old, At: ended.Add(-24 * time.Hour), Expires: ended}); err != nil {
				t.Fatal(err)
			}
		}
		asked := make(chan minecanary.Question, 1)
		verify := verifierFunc(func(_ context.Context, q minecanary.Question) (minecanary.Verdict, error) {
			asked <- q
			return minecanary.Verdict{Status: minecanary.Confirmed, At: time.Now(), Expires: time.Now().Add(24 * time.Hour)}, nil
		})
		e := enrich.New(testConfig(false), enrich.Deps{
			Store: store, Scorer: scorer(t), Verifier: verify, Workers: 1,
			Known: func(minecanary.Endpoint, time.Time) (enrich.Known, bool) { return enrich.Known{Reason: "a pool"}, true },
		})
		ctx, cancel := context.WithCancel(t.Context())
		in := make(chan enrich.Input) // stays open: at its end everybody is asked
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx, in) }()
		for _, b := range inOrder("p", session(1, 1, storetest.Epoch, 50*time.Minute, true)...) {
			in <- enrich.Input{Batch: b}
		}
		select {
		case <-asked:
		case <-time.After(5 * time.Second):
			t.Errorf("old verdict %q: not asked", old)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestPublisherFailure: a feed that cannot be written does not end a live run, and is told.
func TestPublisherFailure(t *testing.T) {
	var told []string
	cfg := testConfig(false)
	cfg.Warn = func(what string, err error) { told = append(told, what+": "+err.Error()) }
	got := hits(t, cfg, enrich.Deps{Publisher: failing{}}, inOrder("p", session(1, 1, storetest.Epoch, 50*time.Minute, true)...))
	if len(got) != 1 || len(told) == 0 || told[0] != "publish: disk full" {
		t.Errorf("hits %v, told %v", got, told)
	}
}

type failing struct{}

func (failing) Publish(context.Context, []minecanary.Verdict) error { return errors.New("disk full") }

// TestCancelledIsNotFinished: a run that is told to stop decides nothing that has not ended.
func TestCancelledIsNotFinished(t *testing.T) {
	for range 50 {
		out := &collector{}
		e := enrich.New(testConfig(true), enrich.Deps{Store: newStore(""), Scorer: scorer(t), Sinks: []enrich.Sink{out}})
		ctx, cancel := context.WithCancel(t.Context())
		in := make(chan enrich.Input, 64)
		for _, b := range inOrder("p", session(1, 1, storetest.Epoch, 50*time.Minute, true)...) {
			in <- enrich.Input{Batch: b}
		}
		cancel()
		close(in)
		if err := e.Run(ctx, in); err != nil || len(out.hits) > 0 {
			t.Fatalf("%d hits, %v", len(out.hits), err)
		}
	}
}

// TestBest gives the best suspects of a running engine, and only those.
func TestBest(t *testing.T) {
	store := newStore("")
	e := enrich.New(testConfig(false), enrich.Deps{Store: store, Scorer: scorer(t)})
	all := slices.Concat(
		session(1, 1, storetest.Epoch, 90*time.Minute, true), session(2, 2, storetest.Epoch, 50*time.Minute, true),
		session(3, 3, storetest.Epoch, 90*time.Minute, false),
	)
	in := make(chan enrich.Input)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, in) }()
	for _, b := range batches(all, rand.New(rand.NewPCG(1, 1))) {
		in <- enrich.Input{Batch: b}
	}
	want := map[int]int{}
	for _, n := range []int{1, 2, 100} {
		best, err := e.Best(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(best, func(a, b enrich.Ranked) int { return int(b.Score.Points - a.Score.Points) }) {
			t.Errorf("%+v", best)
		}
		for _, r := range best {
			if len(r.Score.Criteria) == 0 || r.Score.Scorer == "" || r.Seen.Records == 0 {
				t.Errorf("%+v", r)
			}
		}
		if len(best) > 0 && best[0].Client.As4()[3] == 3 {
			t.Error("the ordinary one is first")
		}
		want[n] = len(best)
	}
	if want[1] != 1 || want[2] != 2 || want[100] < 2 || want[100] > 3 {
		t.Error(want)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := e.Best(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
