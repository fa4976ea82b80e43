package lookup_test

import (
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
)

// TestLoad: what a history knows is the same whether it was read at once, or after each observation.
func TestLoad(t *testing.T) {
	now := day(1)
	db, err := history.Open(filepath.Join(t.TempDir(), "history.db"), history.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	l, problems := catalog.Parse("x.yaml", []byte(pools))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c := catalog.New(l)
	mark := func(_ netip.Addr, chain []string) string {
		if len(chain) > 0 {
			return "cdn"
		}
		return ""
	}
	const name = "eu.alpha.net"
	step := lookup.New(c)
	for _, tt := range []struct {
		hours int
		addrs []string
		chain []string
		code  string
		want  []string // address, mark, and the hours in which it was had
	}{
		{0, []string{"9.9.9.1"}, nil, "", []string{"9.9.9.1  0-24"}},
		{1, []string{"9.9.9.1"}, nil, "", []string{"9.9.9.1  0-25"}},
		{2, nil, nil, "SERVFAIL", []string{"9.9.9.1  0-25"}},
		{3, []string{"9.9.9.2", "9.9.9.1"}, nil, "", []string{"9.9.9.1  0-27", "9.9.9.2  3-27"}},
		{4, []string{"9.9.9.2", "9.9.9.1"}, nil, "", []string{"9.9.9.1  0-28", "9.9.9.2  3-28"}},
		{5, []string{"9.9.9.2"}, nil, "", []string{"9.9.9.1  0-5", "9.9.9.2  3-29"}},
		// The same address, behind somebody else now.
		{6, []string{"9.9.9.2"}, []string{"x.cdn.net"}, "", []string{"9.9.9.1  0-5", "9.9.9.2  3-6", "9.9.9.2 cdn 6-30"}},
		{7, []string{"9.9.9.2"}, []string{"x.cdn.net"}, "", []string{"9.9.9.1  0-5", "9.9.9.2  3-6", "9.9.9.2 cdn 6-31"}},
		{8, nil, nil, "NXDOMAIN", []string{"9.9.9.1  0-5", "9.9.9.2  3-6", "9.9.9.2 cdn 6-8"}},
		{9, nil, nil, "NXDOMAIN", []string{"9.9.9.1  0-5", "9.9.9.2  3-6", "9.9.9.2 cdn 6-8"}},
		{10, []string{"9.9.9.2"}, []string{"x.cdn.net"}, "", []string{"9.9.9.1  0-5", "9.9.9.2  3-6", "9.9.9.2 cdn 6-8", "9.9.9.2 cdn 10-34"}},
		{40, []string{"9.9.9.2"}, []string{"x.cdn.net"}, "", []string{
			"9.9.9.1  0-5", "9.9.9.2  3-6", "9.9.9.2 cdn 6-8", "9.9.9.2 cdn 10-34", "9.9.9.2 cdn 40-64",
		}},
	} {
		now = day(1).Add(time.Duration(tt.hours) * time.Hour)
		o := history.Observation{Name: name, At: now, Chain: tt.chain, Code: tt.code}
		for _, a := range tt.addrs {
			o.Addrs = append(o.Addrs, addr(a))
		}
		if err := db.Resolved(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		whole := lookup.New(c)
		err := db.View(func(v *history.View) error {
			if err := step.UpdateName(v, name, mark); err != nil {
				return err
			}
			return whole.Load(v, mark)
		})
		if err != nil {
			t.Fatal(err)
		}
		for when, x := range map[string]*lookup.Index{"step by step": step, "at once": whole} {
			seen := map[string]bool{}
			var got []string
			for h := range 70 * 2 {
				for _, a := range x.AddressesOf(name, day(1).Add(time.Duration(h)*30*time.Minute)) {
					from, until := a.From.Sub(day(1)).Hours(), a.Until.Sub(day(1)).Hours()
					if s := a.Addr.String() + " " + a.Mark + " " + hours(from) + "-" + hours(until); !seen[s] {
						seen[s] = true
						got = append(got, s)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("after %d hours, %s: %s", tt.hours, when, diff)
			}
		}
	}
}

func hours(h float64) string { return strconv.Itoa(int(h)) }

// TestLoadEndpoints: an endpoint of the catalogue that never gave a verdict is known to have been asked, and one outside of
// it by its verdict.
func TestLoadEndpoints(t *testing.T) {
	now := day(2)
	db, err := history.Open(filepath.Join(t.TempDir(), "history.db"), history.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	l, problems := catalog.Parse("x.yaml", []byte(pools))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	err = db.Update(t.Context(), func(tx *history.Tx) error {
		if err := tx.Resolved(history.Observation{Name: "eu.alpha.net", At: day(1), Addrs: []netip.Addr{addr("9.9.9.1")}}); err != nil {
			return err
		}
		for ep, status := range map[string]minecanary.VerdictStatus{
			"9.9.9.1:3333": minecanary.Inconclusive, "9.9.9.20:3333": minecanary.Inconclusive, "9.9.9.77:1": minecanary.Confirmed,
		} {
			if err := tx.Probed(history.Probe{Endpoint: endpoint(t, ep), At: day(1), Status: status}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	x := lookup.New(catalog.New(l))
	if err := db.View(func(v *history.View) error { return x.Load(v, nil) }); err != nil {
		t.Fatal(err)
	}
	for _, ep := range []string{"9.9.9.1:3333", "9.9.9.20:3333", "9.9.9.77:1"} {
		if at := x.LastAnswer(endpoint(t, ep)); !at.Equal(day(1)) {
			t.Errorf("%s was asked at %s", ep, at)
		}
	}
}

// TestLastCounts: without a time the last that held counts: a pool that does not answer any more is none by its old
// verdict, but one failure does not undo it.
func TestLastCounts(t *testing.T) {
	x := index(t)
	for _, tt := range []struct {
		failed lookup.Span
		want   minecanary.VerdictStatus
	}{
		{lookup.Span{From: day(5), LastSeen: day(5), Until: day(6)}, minecanary.Confirmed}, // the verdict held then
		{lookup.Span{From: day(5), LastSeen: day(8), Until: day(9)}, minecanary.Inconclusive},
		{lookup.Span{From: day(1), LastSeen: day(1), Until: day(2)}, minecanary.Confirmed},
	} {
		x.SetAnswers(endpoint(t, "9.9.9.1:3333"), []lookup.Answer{ // failures first, as LoadEndpoint does
			{Status: minecanary.Inconclusive, Span: tt.failed},
			{Status: minecanary.NotPool, Span: lookup.Span{From: day(2), LastSeen: day(3), Until: day(4)}},
			{Status: minecanary.Confirmed, Span: lookup.Span{From: day(4), LastSeen: day(5), Until: day(6)}},
		})
		q, err := lookup.Parse("9.9.9.1:3333")
		if err != nil {
			t.Fatal(err)
		}
		r := x.Find(q, 10)
		if len(r.Matches) != 1 || r.Matches[0].Status != tt.want || !r.Matches[0].LastProof.Equal(day(5)) {
			t.Errorf("failed from %s to %s: %+v, want %s", tt.failed.From, tt.failed.LastSeen, r.Matches, tt.want)
		}
	}
}

// TestNetworks: questions about networks see a new catalogue, and miss nothing while addresses change.
func TestNetworks(t *testing.T) {
	x := index(t)
	q, err := lookup.Parse("9.9.9.0/24")
	if err != nil {
		t.Fatal(err)
	}
	has := func(host string) bool {
		for _, m := range x.Find(q, 1000).Matches {
			if m.Address == addr(host) {
				return true
			}
		}
		return false
	}
	if !has("9.9.9.20") || has("9.9.9.33") {
		t.Fatal("before")
	}
	l, problems := catalog.Parse("y.yaml", []byte(pools+"\n  - id: gamma\n    name: Gamma\n    source: https://gamma.net/\n"+
		"    as_of: 2026-04-21\n    confidence: high\n    servers:\n      - address: 9.9.9.33\n        endpoints: [{port: 1, coin: BTC}]\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	x.SetCatalog(catalog.New(l))
	if !has("9.9.9.33") {
		t.Error("the new catalogue's address is not found")
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 2000 {
			x.SetAddresses("us.alpha.net", []lookup.Address{{Name: "us.alpha.net", Addr: netip.AddrFrom4([4]byte{8, 1, 1, byte(i)}), Span: span(1, 2)}})
		}
	})
	for range 2000 {
		if !has("9.9.9.20") {
			t.Error("an address is missed while others change")
			break
		}
	}
	wg.Wait()
}
