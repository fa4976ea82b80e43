package feed_test

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

// sidsOf gives the sid of each rule, by what it is for.
func sidsOf(tb rapid.TB, entries []feed.Entry, opts feed.Options) map[string]string {
	tb.Helper()
	files, err := feed.Render(feed.SuricataRules, entries, opts)
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(files[0].Data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseRule(strings.TrimSuffix(line, "\n"))
		if err != nil {
			tb.Fatal(err)
		}
		out[r.proto+" "+r.dst+" "+r.dstPort+" "+r.get("content")] = r.get("sid")
	}
	return out
}

// TestSIDsStay fills a tight range, where most sids are wanted by several, and lets entries come and go.
func TestSIDsStay(t *testing.T) {
	const room = 150
	entry := rapid.Custom(func(t *rapid.T) feed.Entry {
		e := feed.Entry{
			Endpoint: minecanary.NewEndpoint(netip.AddrFrom4([4]byte{198, 51, 100, rapid.Byte().Draw(t, "host")}), 1, minecanary.TCP),
			First:    verified.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "first")) * time.Hour),
		}
		if rapid.IntRange(0, 9).Draw(t, "named") == 0 {
			e.Name = rapid.StringMatching(`[a-c]{1,3}\.example`).Draw(t, "name")
		}
		return e
	})
	opts := feed.Options{SIDBase: 5000, SIDCount: feed.FixedSIDs + room}
	rapid.Check(t, func(t *rapid.T) {
		id := func(e feed.Entry) string { return e.Name + e.Endpoint.String() }
		old := rapid.SliceOfNDistinct(entry, 0, 60, id).Draw(t, "old")
		before := sidsOf(t, old, opts)
		seen := map[string]bool{}
		for key, sid := range before {
			if seen[sid] || sid < "5100" || sid >= "5250" {
				t.Fatalf("%s has %s", key, sid)
			}
			seen[sid] = true
		}

		shuffled := rapid.Permutation(old).Draw(t, "shuffled")
		if diff := cmp.Diff(before, sidsOf(t, shuffled, opts)); diff != "" {
			t.Fatalf("the order shows: %s", diff)
		}

		// Who comes later moves nobody.
		more := slices.Clone(old)
		for _, e := range rapid.SliceOfN(entry, 0, 20).Draw(t, "newcomers") {
			e.First = verified.Add(100 * time.Hour)
			more = append(more, e)
		}
		after := sidsOf(t, more, opts)
		maps.DeleteFunc(after, func(key, _ string) bool { _, was := before[key]; return !was })
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("newcomers moved: %s", diff)
		}
	})
}

// TestSIDsLeave measures how many sids of a feed of usual size move when a tenth of it leaves.
func TestSIDsLeave(t *testing.T) {
	entries := many(5000)
	before := sidsOf(t, entries, feed.Options{})
	after := sidsOf(t, slices.DeleteFunc(slices.Clone(entries), func(e feed.Entry) bool { return e.Endpoint.Port%10 == 0 }), feed.Options{})
	moved := 0
	for key, sid := range after {
		if before[key] != sid {
			moved++
		}
	}
	t.Logf("%d of %d sids moved", moved, len(after))
	if len(after) >= len(before) || moved > 10 {
		t.Errorf("%d of %d sids moved, of %d before", moved, len(after), len(before))
	}
}

func TestSIDsRange(t *testing.T) {
	many := many(1000)
	tests := []struct {
		name        string
		entries     []feed.Entry
		base, count uint32
		want        string
	}{
		{"the least", many[:1], 1, feed.FixedSIDs + 2, ""},
		{"the last", many[:10], math.MaxUint32 - 1000, 1000, ""},
		{"beyond the last", many[:1], math.MaxUint32 - 1000, 1001, "none beyond"},
		{"the most", many, 1, feed.MaxSIDCount, ""},
		{"more than the most", many, 1, feed.MaxSIDCount + 1, "at most"},
		{"fixed ones only", nil, 1, feed.FixedSIDs, "more than 100"},
		{"full", many, 1, 1000, "too many for 1000 sids"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := feed.Render(feed.SuricataRules, tt.entries, feed.Options{SIDBase: tt.base, SIDCount: tt.count})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
}
