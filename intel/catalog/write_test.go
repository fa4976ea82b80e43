package catalog_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/intel/catalog"
)

var same = cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(catalog.Pool{}, "Layer"), cmpopts.EquateComparable(netip.Addr{})}

// TestWrite wants that what is written is read back, whatever the texts look like.
func TestWrite(t *testing.T) {
	word := rapid.SampledFrom([]string{"", "x", "true", "null", "~", "2026-04-21", "1e3", "0x1f", "a: b", "- a", "#a", "'", `"`, "é ü", "{a}", " a ", "yes", "=", "<<"})
	rapid.Check(t, func(t *rapid.T) {
		provenance := func() catalog.Provenance {
			return catalog.Provenance{
				Source: word.Draw(t, "source"), AsOf: rapid.SampledFrom([]string{"", "2026-04-21"}).Draw(t, "as of"),
				Confidence: rapid.SampledFrom([]catalog.Confidence{"", catalog.Low}).Draw(t, "confidence"),
			}
		}
		var l catalog.Layer
		for range rapid.IntRange(0, 3).Draw(t, "pools") {
			p := catalog.Pool{
				ID: rapid.SampledFrom([]string{"a", "1", "0x1", "null", "true"}).Draw(t, "id"), Name: "n" + word.Draw(t, "name"), Operator: word.Draw(t, "operator"),
				Kind: catalog.Solo, Note: word.Draw(t, "note"), Provenance: provenance(),
			}
			for range rapid.IntRange(0, 2).Draw(t, "servers") {
				s := catalog.Server{Region: word.Draw(t, "region"), Provenance: provenance()}
				if rapid.Bool().Draw(t, "literal") {
					s.Address = netip.MustParseAddr("2620:fe::9")
				} else {
					s.Name = "a.b.net"
				}
				for range rapid.IntRange(0, 2).Draw(t, "endpoints") {
					s.Endpoints = append(s.Endpoints, catalog.Endpoint{
						Port: rapid.Uint16Range(1, 65535).Draw(t, "port"), TLS: rapid.Bool().Draw(t, "tls"), Coin: rapid.SampledFrom([]string{"XMR", "1", "NULL", "0X1"}).Draw(t, "coin"),
						Dialect: "kaspa", Note: word.Draw(t, "note"), Provenance: provenance(),
					})
				}
				p.Servers = append(p.Servers, s)
			}
			l.Pools = append(l.Pools, p)
		}
		if rapid.Bool().Draw(t, "coin") {
			l.Coins = append(l.Coins, catalog.Coin{
				Symbol: "1", Name: "n" + word.Draw(t, "name"), Algorithm: "x11", Dialect: "kaspa", Provenance: provenance(),
				Explorer: map[string]string{"block": "https://a.net/{height}"},
			})
		}
		if rapid.Bool().Draw(t, "removed") {
			l.Removed = []string{"null", "1"}
		}
		var b bytes.Buffer
		if err := catalog.Write(&b, l); err != nil {
			t.Fatal(err)
		}
		got, problems := catalog.Parse("x.yaml", b.Bytes())
		if diff := cmp.Diff(l, got, same); diff != "" || len(problems) > 0 {
			t.Fatalf("%s\n%v\n%s", diff, problems, b.String())
		}
	})
}

// TestShippedWrites reads the whole shipped catalogue back.
func TestShippedWrites(t *testing.T) {
	l, _ := catalog.Shipped()
	var b bytes.Buffer
	if err := catalog.Write(&b, l); err != nil {
		t.Fatal(err)
	}
	got, problems := catalog.Parse("x.yaml", b.Bytes())
	if diff := cmp.Diff(l, got, same); diff != "" || len(problems) > 0 {
		t.Fatal(diff, problems)
	}
}

// TestLayer wants that a catalogue comes back from what it is written as, without what rows repeat.
func TestLayer(t *testing.T) {
	c := shipped(t)
	var b bytes.Buffer
	if err := catalog.Write(&b, c.Layer()); err != nil {
		t.Fatal(err)
	}
	l, problems := catalog.Parse("x.yaml", b.Bytes())
	again := catalog.New(l)
	if diff := cmp.Diff(c.Pools(), again.Pools(), same); diff != "" || len(problems) > 0 {
		t.Fatal(diff, problems)
	}
	if l := c.Layer(c.Pools()[0].ID); len(l.Pools) != 1 || len(l.Coins) != 0 || l.Pools[0].Servers[0].Endpoints[0].Source != "" {
		t.Error(l)
	}
}

// TestEdits changes, reopens, refuses.
func TestEdits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "edits.yaml")
	e := catalog.NewEdits(file)
	if err := e.Open(); err != nil {
		t.Fatal(err)
	}
	base := parse(t, "a-pool.yaml", good)
	pool := base.Pools[0]
	pool.Name = "Edited"
	for _, change := range []func(*catalog.Layer) error{
		func(l *catalog.Layer) error { l.RemovePool("a-pool", true); return nil },
		func(l *catalog.Layer) error { l.PutPool(pool); return nil },
		func(l *catalog.Layer) error {
			l.PutCoin(catalog.Coin{Symbol: "A", Name: "A", Algorithm: "a", Dialect: "grin"})
			return nil
		},
	} {
		if err := e.Change(change); err != nil {
			t.Fatal(err)
		}
	}
	refused := errors.New("no")
	if err := e.Change(func(l *catalog.Layer) error { l.Pools = nil; return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	again := catalog.NewEdits(file)
	if err := again.Open(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Layer(), again.Layer(), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	c := catalog.New(base, again.Layer())
	if p := c.Pool("a-pool"); p == nil || p.Name != "Edited" || p.Layer != catalog.LayerEdited || c.Coin("A") == nil {
		t.Error(p)
	}
	if err := again.Change(func(l *catalog.Layer) error { l.RemovePool("a-pool", true); return nil }); err != nil {
		t.Fatal(err)
	}
	if c := catalog.New(base, again.Layer()); c.Pool("a-pool") != nil {
		t.Error("still there")
	}
	if err := os.WriteFile(file, []byte("pools: [{id: A}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := catalog.NewEdits(file).Open(); err == nil || !strings.Contains(err.Error(), "edits.yaml:1: ") {
		t.Error(err)
	}
	if left, err := filepath.Glob(file + ".*"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
