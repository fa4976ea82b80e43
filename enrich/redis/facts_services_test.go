//go:build services

package redis

import (
	"context"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/internal/stack"
)

// TestFacts has two processes put facts and read each other's.
func TestFacts(t *testing.T) {
	client := dial(t, ClientConfig{Mode: Single, Addrs: stack.Redis(t, stack.Single).Addrs})
	ctx := t.Context()
	failing := func(err error) { t.Error(err) }
	a, b := NewFacts(client, "x:", failing), NewFacts(client, "x:", failing)
	if facts, now, err := a.Since(ctx, 0); err != nil || len(facts) != 0 || now != 0 {
		t.Fatal(facts, now, err)
	}
	mining := enrich.Fact{
		Kind: minecanary.SightedMining, Client: netip.MustParseAddr("10.0.0.1"), Addr: netip.MustParseAddr("192.0.2.1"), Port: 3333,
		ByServer: true, Protocol: "monero", Login: "wallet", First: 5, Last: 7,
	}
	name := enrich.Fact{Kind: minecanary.SightedDNS, Addr: netip.MustParseAddr("2001:db8::1"), Name: "pool.example", First: 1, Last: 2}
	if err := a.Put(ctx, []enrich.Fact{mining}); err != nil {
		t.Fatal(err)
	}
	got, version, err := b.Since(ctx, 0)
	if diff := cmp.Diff([]enrich.Fact{mining}, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	if err := b.Put(ctx, []enrich.Fact{name, name}); err != nil {
		t.Fatal(err)
	}
	got, version2, err := a.Since(ctx, version)
	if diff := cmp.Diff([]enrich.Fact{name}, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil || version2 <= version {
		t.Fatal(diff, err, version2)
	}
	if got, same, err := a.Since(ctx, version2); len(got) > 0 || same != version2 || err != nil {
		t.Fatal(got, same, err)
	}
	// A database that was lost is read from its start.
	client.FlushAll(ctx)
	if err := b.Put(ctx, []enrich.Fact{mining}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := a.Since(ctx, version2); len(got) != 1 || err != nil {
		t.Fatal(got, err)
	}
	// An ended context ends the attempts.
	ended, cancel := context.WithCancel(ctx)
	cancel()
	quiet := NewFacts(client, "x:", func(error) {})
	if err := quiet.Put(ended, []enrich.Fact{mining}); err == nil {
		t.Error("an ended context put a fact")
	}
}

// TestFactsBound puts more than are kept.
func TestFactsBound(t *testing.T) {
	client := dial(t, ClientConfig{Mode: Single, Addrs: stack.Redis(t, stack.Single).Addrs})
	ctx := t.Context()
	f := NewFacts(client, "y:", func(err error) { t.Error(err) })
	facts := make([]enrich.Fact, 0, 5000)
	strong := enrich.Fact{Kind: minecanary.SightedMining, ByServer: true, Addr: netip.MustParseAddr("192.0.2.1"), Port: 1}
	if err := f.Put(ctx, []enrich.Fact{strong}); err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range maxWeakFacts + 5000 {
		addr = addr.Next()
		facts = append(facts, enrich.Fact{Kind: minecanary.SightedRule, Client: addr, Addr: netip.MustParseAddr("192.0.2.1"), Port: 1, Last: int64(i)})
		if len(facts) == cap(facts) {
			if err := f.Put(ctx, facts); err != nil {
				t.Fatal(err)
			}
			facts = facts[:0]
		}
	}
	if n, err := client.HLen(ctx, f.kept[0].hash).Result(); err != nil || n != maxWeakFacts {
		t.Errorf("%d facts are kept: %v", n, err)
	}
	// What the server said is still there.
	if got, _, err := f.Since(ctx, 0); err != nil || len(got) != maxWeakFacts+1 || !got[len(got)-1].ByServer {
		t.Errorf("%d facts: %v", len(got), err)
	}
}
