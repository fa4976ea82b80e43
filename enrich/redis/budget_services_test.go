//go:build services

package redis

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/queuetest"
	"github.com/minecanary/minecanary/internal/budgettest"
	"github.com/minecanary/minecanary/internal/stack"
)

func TestPurseContract(t *testing.T) {
	for _, kind := range []stack.RedisKind{stack.Single, stack.Cluster, stack.Sentinel} {
		t.Run(string(kind), func(t *testing.T) {
			one, two := connect(t, kind)
			budgettest.Run(t, func(_ testing.TB, size int) budgettest.Harness {
				prefix, c := ownPrefix(), &clock{}
				a, b := NewPurse(one, prefix), NewPurse(two, prefix)
				a.shift, b.shift, a.size, b.size = c.shift, c.shift, size, size
				return budgettest.Harness{Purse: a, Other: b, Advance: c.advance, Slack: slack}
			})
		})
	}
}

func testCost(i int) minecanary.ProbeCost {
	return minecanary.ProbeCost{
		Client: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Network: netip.MustParsePrefix("198.51.100.0/24"), Endpoint: queuetest.Endpoint(i),
		PerClient: 5, PerNetwork: 100, PerEndpoint: 12, Rate: 100, Burst: 100, BackoffFirst: time.Hour, BackoffMax: 24 * time.Hour,
	}
}

// TestPurseKeys: every key goes by itself, not before it may, and all lie in one hash slot.
func TestPurseKeys(t *testing.T) {
	client, _ := connect(t, stack.Single)
	prefix := ownPrefix()
	p := NewPurse(client, prefix)
	for i := range 3 {
		c := testCost(i)
		for range 2 {
			if g, err := p.Begin(t.Context(), c); err != nil || g.Refused != "" {
				t.Fatal(g, err)
			}
			if g, err := p.Connect(t.Context(), c); err != nil || g.Refused != "" {
				t.Fatal(g, err)
			}
		}
		if _, err := p.End(t.Context(), c, false); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := client.Keys(t.Context(), prefix+"*").Result()
	if err != nil || len(keys) != 4+3+1+3+3+1 {
		t.Errorf("%d keys, %v: %v", len(keys), err, keys)
	}
	for _, key := range keys {
		least, most := time.Hour-slack, time.Hour+slack
		if strings.Contains(key, "backoff") {
			least, most = 25*time.Hour-slack, 25*time.Hour
		}
		if !strings.HasPrefix(key, prefix+"{budget}:") {
			t.Errorf("key %q is in another slot", key)
		}
		if ttl := client.PTTL(t.Context(), key).Val(); ttl < least || ttl > most {
			t.Errorf("%s lives for %v, want %v to %v", key, ttl, least, most)
		}
	}
}

// TestPurseSurvives: forgotten scripts cost nothing; a key of another type is an error, not a yes.
func TestPurseSurvives(t *testing.T) {
	client, _ := connect(t, stack.Single)
	p := NewPurse(client, ownPrefix())
	c := testCost(1)
	for i := range 7 {
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if g, err := p.Begin(t.Context(), c); err != nil || (g.Refused == "") != (i < 5) {
			t.Fatalf("probe %d: %+v, %v", i, g, err)
		}
	}
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if g, err := p.Begin(t.Context(), c); err != nil || g.Refused != "" {
		t.Fatalf("after FLUSHALL: %+v, %v", g, err)
	}
	if err := client.Set(t.Context(), p.prefix+"client", "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if g, err := p.Begin(t.Context(), c); err == nil {
		t.Errorf("a key of another type: %+v", g)
	}
	if err := client.Set(t.Context(), p.prefix+"backoff:"+c.Endpoint.String(), "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.End(t.Context(), c, false); err != nil {
		t.Errorf("what is no back-off counts as none: %v", err)
	}
}

// TestPurseClockSetBack: the rate does not stand still until the clock has caught up.
func TestPurseClockSetBack(t *testing.T) {
	client, _ := connect(t, stack.Single)
	shift := &clock{}
	p := NewPurse(client, ownPrefix())
	p.shift = shift.shift
	c := testCost(1)
	c.Rate, c.Burst = 1.0/60, 2
	for range 2 {
		if g, err := p.Begin(t.Context(), c); err != nil || g.Refused != "" {
			t.Fatal(g, err)
		}
	}
	shift.advance(-24 * time.Hour)
	c = testCost(2)
	c.Rate, c.Burst = 1.0/60, 2
	if g, err := p.Begin(t.Context(), c); err != nil || g.Refused != "global" || g.Wait > time.Minute {
		t.Errorf("%+v, %v, want a minute at most", g, err)
	}
	shift.advance(time.Minute)
	if g, err := p.Begin(t.Context(), c); err != nil || g.Refused != "" {
		t.Errorf("a minute later: %+v, %v", g, err)
	}
}
