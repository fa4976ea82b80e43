//go:build services

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
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

// randomSlices makes the slices of one partition. Those of one connection are in one partition, as what its records bring
// a window depends on their order.
func randomSlices(rng *rand.Rand, n int) (out []minecanary.Slices) {
	var open []minecanary.Slices
	salt := rng.Uint32()
	for i := range n {
		if len(open) > 0 && rng.IntN(3) == 0 {
			k := rng.IntN(len(open))
			sl := open[k]
			open[k] = goesOn(rng, sl)
			out = append(out, sl)
			if rng.IntN(5) == 0 {
				out[len(out)-1].Final = true
				open = slices.Delete(open, k, k+1)
			}
			if rng.IntN(4) == 0 {
				open = append(open, out[rng.IntN(len(out))]) // comes late, or once more
			}
			continue
		}
		start := storetest.Epoch.Add(time.Duration(rng.IntN(5*3600*1000)) * time.Millisecond)
		sl := storetest.Slices(rng.IntN(40), rng.IntN(9), start, time.Duration(rng.IntN(1500))*time.Second)
		sl.Services = minecanary.Services(1 << rng.IntN(5))
		sl.Sensor = []string{"", "s1", "s2"}[rng.IntN(3)]
		if rng.IntN(3) == 0 {
			sl.AckPush, sl.CountedPackets, sl.CountedBytes, sl.CountedStart = 0, 0, 0, 0
		}
		if rng.IntN(4) == 0 {
			sl.End = sl.Start // ties are decided by the connection's name
			sl.UID = minecanary.NewUID(fmt.Appendf(nil, "C%x", rng.Uint64()))
		}
		if rng.IntN(8) == 0 {
			sl.Cumulative, sl.UID = true, minecanary.NewUID(fmt.Appendf(nil, "C%x%x", salt, i))
			open = append(open, sl)
		}
		out = append(out, sl)
	}
	return out
}

// goesOn gives a later record of a connection.
func goesOn(rng *rand.Rand, sl minecanary.Slices) minecanary.Slices {
	more := func(v *uint64, most uint64) { *v += rng.Uint64N(most) }
	sl.End += rng.Int64N(3600e6)
	for _, v := range []*uint64{&sl.ClientPackets, &sl.ServerPackets, &sl.ClientPayload, &sl.ServerPayload} {
		more(v, 500)
	}
	more(&sl.ClientBytes, 1<<20)
	more(&sl.ServerBytes, 1<<33)
	for _, v := range []*uint32{&sl.Ack, &sl.AckPush, &sl.Other} {
		if rng.IntN(3) == 0 {
			*v += rng.Uint32N(8)
		}
	}
	if sl.Counted() > 0 {
		more(&sl.CountedPackets, 500)
		more(&sl.CountedBytes, 1<<20)
		if sl.CountedStart == 0 {
			sl.CountedStart = sl.Start + rng.Int64N(60e6)
		}
	}
	return sl
}

// masters does something on every master.
func masters(tb testing.TB, c redis.UniversalClient, do func(*redis.Client) error) {
	tb.Helper()
	var err error
	switch c := c.(type) {
	case *redis.Client:
		err = do(c)
	case *redis.ClusterClient:
		err = c.ForEachMaster(context.Background(), func(_ context.Context, c *redis.Client) error { return do(c) })
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// failover cuts the replica off, lets do write what it will never see, and kills the master.
func failover(t *testing.T, svc *stack.Service, do func()) {
	t.Helper()
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: svc.Addrs[0]})
	defer func() { _ = sentinel.Close() }()
	replicas, err := sentinel.Replicas(t.Context(), "mymaster").Result()
	if err != nil || len(replicas) != 1 {
		t.Fatalf("replicas %v, %v", replicas, err)
	}
	replica := redis.NewClient(&redis.Options{Addr: net.JoinHostPort(replicas[0]["ip"], replicas[0]["port"])})
	defer func() { _ = replica.Close() }()
	// Nobody listens on port 1. The sentinels put it right after 8 s.
	if err := replica.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	do()
	if err := svc.Script(t.Context(), "kill-node", "master"); err != nil {
		t.Fatal(err)
	}
}

// schedule is a random run of processes that share the partitions and all that befalls them.
type schedule struct {
	*testing.T
	rng     *rand.Rand
	stores  []*Store
	logs    [][]minecanary.Slices
	readers []assigned
	restarts, told,
	lost int
}

// assigned is who reads a partition, and how far.
type assigned struct {
	s         *Store
	token     uint64
	at        int64
	committed int64
	cuts      []int64
}

func partitionName(p int) string { return fmt.Sprintf("topic/%d", p) }

func (d *schedule) begin(p int) {
	d.Helper()
	r := &d.readers[p]
	r.s = d.stores[d.rng.IntN(len(d.stores))]
	var err error
	r.at, r.cuts, r.token, err = r.s.Claim(d.Context(), partitionName(p), r.committed, func(lost bool) (int64, error) {
		if lost {
			d.lost++
		}
		return 0, nil
	})
	if err != nil {
		d.Fatal(err)
	}
	if r.committed >= 0 && r.at > r.committed {
		d.Fatalf("begins at %d, but only what is below %d was acknowledged", r.at, r.committed)
	}
}

// beat lets a process hear of what was lost.
func (d *schedule) beat(s *Store) (lost bool) {
	d.Helper()
	s.beaten = time.Time{}
	_, restart, err := s.Shards(d.Context(), nil)
	if err != nil {
		d.Fatal(err)
	}
	for p := range d.readers {
		if d.readers[p].s == s && slices.Contains(restart, partitionName(p)) {
			d.told++
			lost = true
			d.begin(p)
		}
	}
	return lost
}

// step applies a batch of a random partition, of which none may be left.
func (d *schedule) step() {
	d.Helper()
	p := d.rng.IntN(len(d.readers))
	r := &d.readers[p]
	if r.s == nil || d.rng.IntN(15) == 0 {
		d.begin(p)
	}
	if d.rng.IntN(10) == 0 {
		r.committed = max(r.committed, r.at)
	}
	if r.at >= int64(len(d.logs[p])) {
		return
	}
	next := min(r.at+int64(1+d.rng.IntN(80)), int64(len(d.logs[p])))
	for _, c := range r.cuts {
		if c > r.at {
			next = min(next, c)
		}
	}
	b := &enrich.Batch{
		Partition: partitionName(p), Token: r.token, Slices: slices.Clone(d.logs[p][r.at:next]),
		From: minecanary.Position{Offset: r.at}, Next: minecanary.Position{Offset: next},
	}
	if d.rng.IntN(20) == 0 {
		// The pipeline breaks off: some shards have the batch, others do not.
		applyHalf(d.T, r.s, d.rng.IntN(r.s.cfg.Shards), b)
		d.begin(p)
		return
	}
	_, err := r.s.Apply(d.Context(), b, nil)
	switch {
	case errors.Is(err, enrich.ErrRestart):
		d.restarts++
		d.begin(p)
	case err != nil:
		d.Fatal(err)
	default:
		r.at = next
	}
}

// finish goes on until all is applied and nothing is found lost.
func (d *schedule) finish() {
	d.Helper()
	for {
		left := slices.ContainsFunc(d.stores, d.beat)
		for p := range d.readers {
			left = left || d.readers[p].s == nil || d.readers[p].at < int64(len(d.logs[p]))
		}
		if !left {
			return
		}
		for range 50 {
			d.step()
		}
	}
}

// TestAsInMemory: two processes that share the partitions, lose their connection to what they do, and whose Redis loses
// all, a part, or the newest of it, give the state that one store in memory gives.
func TestAsInMemory(t *testing.T) {
	for _, kind := range []stack.RedisKind{stack.Single, stack.Cluster, stack.Sentinel} {
		t.Run(string(kind), func(t *testing.T) {
			svc := stack.Redis(t, kind)
			cfg := ClientConfig{Mode: Mode(kind), Addrs: svc.Addrs}
			if kind == stack.Sentinel {
				cfg.Master = "mymaster"
			}
			client := dial(t, cfg)
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			prefix := "t" + random(4)
			want := memory.New(memory.Config{Report: storetest.Report, Inactive: storetest.Inactive})
			const partitions = 4
			d := &schedule{
				T: t, rng: rand.New(rand.NewPCG(seed, 1)), readers: make([]assigned, partitions), logs: make([][]minecanary.Slices, partitions),
				stores: []*Store{open(t, dial(t, cfg), prefix, 1000).Store, open(t, dial(t, cfg), prefix, 1000).Store},
			}
			for p := range d.logs {
				d.readers[p].committed = -1
				d.logs[p] = randomSlices(d.rng, 700)
				if _, err := want.Apply(t.Context(), &enrich.Batch{Slices: slices.Clone(d.logs[p])}, nil); err != nil {
					t.Fatal(err)
				}
			}
			run := func(steps int) {
				for range steps {
					d.step()
					if d.rng.IntN(30) == 0 {
						d.beat(d.stores[d.rng.IntN(2)])
					}
				}
			}
			flush := func() {
				only := d.rng.IntN(3)
				n := 0
				var mu sync.Mutex
				masters(t, client, func(c *redis.Client) error {
					mu.Lock()
					defer mu.Unlock()
					if n++; kind == stack.Cluster && n-1 != only {
						return nil
					}
					return c.FlushAll(t.Context()).Err()
				})
			}
			run(60)
			masters(t, client, func(c *redis.Client) error { return c.ScriptFlush(t.Context()).Err() })
			run(60)
			flush()
			run(100)
			masters(t, client, func(c *redis.Client) error { return c.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err() })
			run(30)
			if kind == stack.Sentinel {
				var before, after int64
				sum := func(n *int64) {
					for _, pos := range must(d.stores[0].Positions(t.Context()))(t) {
						*n += pos.Offset
					}
				}
				failover(t, svc, func() { run(60); sum(&before) })
				sum(&after)
				if after >= before {
					t.Errorf("the failover lost nothing: offsets %d, then %d", before, after)
				}
			}
			d.finish()
			// When nothing comes any more, the beat finds it out.
			for p := range d.readers {
				d.readers[p].committed = d.readers[p].at
			}
			lost := d.lost
			flush()
			d.finish()
			if d.lost-lost < partitions {
				t.Errorf("%d starts of %d partitions were told of a loss", d.lost-lost, partitions)
			}
			fresh := open(t, dial(t, cfg), prefix, 1000)
			if diff := cmp.Diff(storetest.Dump(t, want), storetest.Dump(t, fresh)); diff != "" {
				t.Errorf("(-memory +redis):\n%s", diff)
			}
			for name, pos := range must(fresh.Positions(t.Context()))(t) {
				if pos.Offset != 700 {
					t.Errorf("%s stands at %d", name, pos.Offset)
				}
			}
			if n := fresh.Stats().Suspects; n != want.Stats().Suspects {
				t.Errorf("%d suspects are counted, %d are there", n, want.Stats().Suspects)
			}
			t.Logf("%d restarts by batches, %d by beats, %d starts told of a loss", d.restarts, d.told, d.lost)
		})
	}
}

// must gives the value of a call, for the test that the second call names.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// applyHalf sends the calls of the first shards alone.
func applyHalf(t *testing.T, s *Store, shards int, b *enrich.Batch) {
	t.Helper()
	p, incs := s.started(b.Partition, b.Token)
	if p == nil {
		return
	}
	g := newGathered(s.cfg)
	s.gather(g, []*enrich.Batch{b}, incs)
	if err := s.renewed(t.Context(), g, incs); err != nil {
		t.Fatal(err)
	}
	g.calls = g.calls[:shards]
	if err := s.send(t.Context(), g, []*partition{p}, func(int, redis.Cmder) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func zipf(n, suspects int) []minecanary.Slices {
	rng := rand.New(rand.NewPCG(5, 5))
	z := rand.NewZipf(rng, 1.1, 50, uint64(suspects-1))
	out := make([]minecanary.Slices, n)
	for i := range out {
		k := int(z.Uint64()) * 7919 % suspects
		sl := storetest.Slices(k&0xffff, k>>16, storetest.Epoch.Add(time.Duration(i)*time.Millisecond), 5*time.Minute)
		a := sl.Server.Addr.As4()
		a[1], a[2] = byte(k>>8), byte(k)
		sl.Server.Addr = netip.AddrFrom4(a)
		sl.UID = minecanary.NewUID(fmt.Appendf(nil, "C%016x", rng.Uint64()))
		out[i] = sl
	}
	return out
}

// usedCPU is the processor time that a server has used, in seconds.
func usedCPU(tb testing.TB, client redis.UniversalClient) (sum float64) {
	tb.Helper()
	info := must(client.Info(tb.Context(), "cpu").Result())(tb)
	for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
		_, rest, _ := strings.Cut(info, name)
		line, _, _ := strings.Cut(rest, "\r")
		sum += must(strconv.ParseFloat(line, 64))(tb)
	}
	return sum
}

// BenchmarkApply applies batches of 10,000 records, Zipf-distributed over 200,000 suspects, and shows each suspect. It prints
// the processor time of this process, the server's apart.
func BenchmarkApply(b *testing.B) { benchmarkApply(b, 0) }

// BenchmarkApplyCumulative is BenchmarkApply with every tenth record cumulative, and the last of its connection.
func BenchmarkApplyCumulative(b *testing.B) { benchmarkApply(b, 10) }

func benchmarkApply(b *testing.B, cumulative int) {
	b.Helper()
	svc := stack.Redis(b, stack.Single)
	s := open(b, dial(b, ClientConfig{Mode: Single, Addrs: svc.Addrs}), "b", 0).Store
	const size = 10_000
	all := zipf(50*size, 200_000)
	for i := range all {
		all[i].Cumulative = cumulative > 0 && i%cumulative == 0
		all[i].Final = all[i].Cumulative
	}
	at, _, token, err := s.Claim(b.Context(), "t/0", -1, func(bool) (int64, error) { return 0, nil })
	if err != nil {
		b.Fatal(err)
	}
	shown := 0
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	server := usedCPU(b, s.client)
	for i := 0; b.Loop(); i++ {
		k := i % 50 * size
		_, err := s.Apply(context.Background(), &enrich.Batch{
			Partition: "t/0", Token: token, Slices: all[k : k+size], From: minecanary.Position{Offset: at}, Next: minecanary.Position{Offset: at + size},
		}, func(*enrich.Suspect) { shown++ })
		if err != nil {
			b.Fatal(err)
		}
		at += size
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(cpu)/float64(b.N*size)/1000, "client-CPU-µs/record")
	b.ReportMetric((usedCPU(b, s.client)-server)/float64(b.N*size)*1e6, "server-CPU-µs/record")
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(shown)/float64(b.N*size), "updates/record")
}
