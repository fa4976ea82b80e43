//go:build services

package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/storetest"
	"github.com/minecanary/minecanary/internal/stack"
)

func dial(tb testing.TB, cfg ClientConfig) redis.UniversalClient {
	tb.Helper()
	cfg.Timeout = 5 * time.Second
	c, err := Connect(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// kinds runs a test on every way to run Redis.
func kinds(t *testing.T, test func(t *testing.T, client func(testing.TB) redis.UniversalClient)) {
	t.Helper()
	for _, kind := range []stack.RedisKind{stack.Single, stack.Cluster, stack.Sentinel} {
		t.Run(string(kind), func(t *testing.T) {
			svc := stack.Redis(t, kind)
			cfg := ClientConfig{Mode: Mode(kind), Addrs: svc.Addrs}
			if kind == stack.Sentinel {
				cfg.Master = "mymaster"
			}
			test(t, func(tb testing.TB) redis.UniversalClient {
				tb.Helper()
				return dial(tb, cfg)
			})
		})
	}
}

// claimed claims partitions by itself and lets batches follow each other, as a source would.
type claimed struct {
	*Store
	t testing.TB
}

func (c *claimed) Apply(ctx context.Context, b *enrich.Batch, touched func(*enrich.Suspect)) (bool, error) {
	if c.parts[b.Partition] == nil {
		_, _, _, err := c.Claim(ctx, b.Partition, -1, func(lost bool) (int64, error) {
			if lost {
				return 0, errors.New("state was lost")
			}
			return 0, nil
		})
		if err != nil {
			return false, err
		}
	}
	p := c.parts[b.Partition]
	b.Token = p.token
	if b.Next.Offset > p.offset {
		b.From.Offset = p.offset
	}
	return c.Store.Apply(ctx, b, touched)
}

func (c *claimed) Stats() enrich.StoreStats {
	c.beaten = time.Time{}
	if _, _, err := c.Shards(context.Background(), nil); err != nil {
		c.t.Error(err)
	}
	return c.Store.Stats()
}

func open(tb testing.TB, client redis.UniversalClient, prefix string, limit int) *claimed {
	tb.Helper()
	s, err := New(client, Config{
		Prefix: prefix, Max: limit, Clients: storetest.Clients, Connections: DefaultShards * storetest.Connections, Report: storetest.Report, Inactive: storetest.Inactive,
		Rank:    func(v *enrich.Suspect) float64 { return float64(v.Segments[0].Aggregate.ClientPackets) },
		OnError: func(err error) { tb.Log(err) },
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &claimed{s, tb}
}

func TestStoreContract(t *testing.T) {
	kinds(t, func(t *testing.T, client func(testing.TB) redis.UniversalClient) {
		t.Helper()
		storetest.Run(t,
			func(t *testing.T, limit int) enrich.Store {
				t.Helper()
				return open(t, client(t), "t"+random(4), limit)
			},
			func(t *testing.T, s enrich.Store) enrich.Store {
				t.Helper()
				return open(t, client(t), s.(*claimed).cfg.Prefix, 1000)
			})
	})
}
