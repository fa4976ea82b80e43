//go:build services

package redis

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/queuetest"
	"github.com/minecanary/minecanary/internal/stack"
)

// spaces numbers the prefixes, so that every test has keys of its own.
var spaces atomic.Int64

func ownPrefix() string { return fmt.Sprintf("t%d:", spaces.Add(1)) }

// connect gives two clients, as two processes have.
func connect(t *testing.T, kind stack.RedisKind) (one, two goredis.UniversalClient) {
	t.Helper()
	service := stack.Redis(t, kind)
	options := &goredis.UniversalOptions{Addrs: service.Addrs, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true}
	if kind == stack.Sentinel {
		options.MasterName = "mymaster"
	}
	open := func() goredis.UniversalClient {
		c := goredis.NewUniversalClient(options)
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	return open(), open()
}

// slack is how far the clock of Redis may go on in one test.
const slack = 25 * time.Second

// clock is a shift that tests advance.
type clock struct {
	mu sync.Mutex
	by time.Duration
}

func (c *clock) shift() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

func TestQueueContract(t *testing.T) {
	for _, kind := range []stack.RedisKind{stack.Single, stack.Cluster, stack.Sentinel} {
		t.Run(string(kind), func(t *testing.T) {
			one, two := connect(t, kind)
			queuetest.Run(t, func(testing.TB) queuetest.Harness {
				prefix, c := ownPrefix(), &clock{}
				a, b := NewQueue(one, prefix), NewQueue(two, prefix)
				a.shift, b.shift = c.shift, c.shift
				return queuetest.Harness{Queue: a, Other: b, Advance: c.advance, Settle: queueSettle}
			})
		})
	}
}

// TestQueueSurvives: scripts that the server has forgotten, a server that has forgotten everything, and one whose keys
// hold something else.
func TestQueueSurvives(t *testing.T) {
	for _, kind := range []stack.RedisKind{stack.Single, stack.Cluster} {
		t.Run(string(kind), func(t *testing.T) {
			client, _ := connect(t, kind)
			q := NewQueue(client, ownPrefix())
			each := func(fn func(*goredis.Client) error) {
				t.Helper()
				var err error
				switch c := client.(type) {
				case *goredis.ClusterClient:
					err = c.ForEachMaster(t.Context(), func(_ context.Context, c *goredis.Client) error { return fn(c) })
				case *goredis.Client:
					err = fn(c)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			offer := func(n ...int) {
				t.Helper()
				for _, i := range n {
					if _, err := q.Offer(t.Context(), []enrich.Offer{queuetest.Offer(i, float64(i))}); err != nil {
						t.Fatal(err)
					}
				}
			}
			take := func(n int, renew ...enrich.Lease) []enrich.Lease {
				t.Helper()
				leases, err := q.Take(t.Context(), n, renew)
				if err != nil {
					t.Fatal(err)
				}
				return leases
			}
			offer(1, 2, 3)
			each(func(c *goredis.Client) error { return c.ScriptFlush(t.Context()).Err() })
			leases := take(1)
			if len(leases) != 1 || leases[0].Endpoint != queuetest.Endpoint(3) {
				t.Fatalf("after SCRIPT FLUSH: %v", leases)
			}
			each(func(c *goredis.Client) error { return c.FlushAll(t.Context()).Err() })
			if got := take(5, leases...); len(got) != 0 {
				t.Fatalf("after FLUSHALL: %v", got)
			}
			offer(3) // another process asks it now
			again := take(1)
			if len(again) != 1 || again[0].Token == leases[0].Token {
				t.Fatalf("after FLUSHALL and an offer: %v", again)
			}
			if err := q.Done(t.Context(), leases); err != nil {
				t.Fatal(err)
			}
			if counts, err := q.Counts(t.Context()); err != nil || counts != (enrich.QueueCounts{Leased: 1}) {
				t.Errorf("a lease of before FLUSHALL was done: %+v, %v", counts, err)
			}
			if err := q.Done(t.Context(), again); err != nil {
				t.Fatal(err)
			}

			// Strange members are dropped, once and for all, and nothing else is lost.
			offer(4)
			for _, member := range []string{"", "x", "\x04\x01", "\x05abcdefgh", strings.Repeat("y", 300)} {
				if err := client.ZAdd(t.Context(), q.keys[0], goredis.Z{Score: -100, Member: member}).Err(); err != nil {
					t.Fatal(err)
				}
				if err := client.HSet(t.Context(), q.keys[2], member, "{").Err(); err != nil {
					t.Fatal(err)
				}
			}
			if got := append(take(6), take(6)...); len(got) != 1 || got[0].Endpoint != queuetest.Endpoint(4) {
				t.Errorf("among strange members: %v", got)
			}
			if counts, err := q.Counts(t.Context()); err != nil || counts != (enrich.QueueCounts{Leased: 1}) {
				t.Errorf("%+v, %v", counts, err)
			}
			// A key of another type is an error and no panic.
			if err := client.Set(t.Context(), q.keys[0], "text", 0).Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := q.Take(t.Context(), 1, nil); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
				t.Errorf("a key of another type: %v", err)
			}
		})
	}
}

// TestQueueKeys: everything lies in one hash slot and nothing is left of what was done.
func TestQueueKeys(t *testing.T) {
	client, _ := connect(t, stack.Single)
	prefix, c := ownPrefix(), &clock{}
	q := NewQueue(client, prefix)
	q.shift = c.shift
	var offers []enrich.Offer
	for i := range 300 {
		offers = append(offers, queuetest.Offer(i, float64(i)))
	}
	if _, err := q.Offer(t.Context(), offers); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		leases, err := q.Take(t.Context(), 150, nil)
		if err != nil || len(leases) != 150 {
			t.Fatal(len(leases), err)
		}
		if err := q.Done(t.Context(), leases); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := client.Keys(t.Context(), prefix+"*").Result()
	if diff := cmp.Diff([]string{prefix + "{queue}:leased"}, keys); err != nil || diff != "" {
		t.Errorf("%v, keys (-want +got):\n%s", err, diff)
	}
	c.advance(queueSettle)
	if _, err := q.Counts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys, err := client.Keys(t.Context(), prefix+"*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("left: %v, %v", keys, err)
	}
}

// TestFailover: queue and purse go on with the new master after the old one was killed.
func TestFailover(t *testing.T) {
	service := stack.Redis(t, stack.Sentinel)
	client := goredis.NewUniversalClient(&goredis.UniversalOptions{
		Addrs: service.Addrs, MasterName: "mymaster", Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		PoolSize: 1, // WAIT is about its own connection
	})
	defer client.Close()
	q, p := NewQueue(client, "f:"), NewPurse(client, "f:")
	cost := minecanary.ProbeCost{
		Client: netip.MustParseAddr("10.0.0.1"), Network: netip.MustParsePrefix("8.8.8.0/24"), Endpoint: queuetest.Endpoint(1),
		PerClient: 2, PerNetwork: 10, PerEndpoint: 12, Rate: 100, Burst: 100, BackoffFirst: time.Hour, BackoffMax: time.Hour,
	}
	if _, err := p.Begin(t.Context(), cost); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Offer(t.Context(), []enrich.Offer{queuetest.Offer(1, 1)}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; { // the replica may have just begun
		if n, err := client.Do(t.Context(), "WAIT", 1, 1000).Int(); err != nil || time.Now().After(deadline) {
			t.Fatal("the replica does not follow", n, err)
		} else if n == 1 {
			break
		}
	}
	if err := service.Script(t.Context(), "kill-node", "master"); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	failed := 0
	for {
		leases, err := q.Take(t.Context(), 1, nil)
		if err == nil {
			if len(leases) != 1 {
				t.Errorf("the replica knew of %d endpoints", len(leases))
			}
			break
		}
		failed++
		// In between nothing is granted.
		if g, err := p.Begin(t.Context(), cost); err == nil && g.Refused == "" {
			break // the new master came in the meantime
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d failures until the new master answered", failed)
	granted := 0
	for range 5 {
		g, err := p.Begin(t.Context(), cost)
		if err != nil {
			t.Fatal(err)
		}
		if g.Refused == "" {
			granted++
		}
	}
	if granted > 1 {
		t.Errorf("%d more probes of a client that had one of two", granted)
	}
}
