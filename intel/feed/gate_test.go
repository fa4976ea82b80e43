package feed_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

// now is after verified, within the life of a verdict.
var now = verified.Add(time.Hour)

// reserved takes the documentation network 198.51.100.0/24 for public, and nothing else.
func reserved(addr netip.Addr) string {
	if netip.MustParsePrefix("198.51.100.0/24").Contains(addr) {
		return ""
	}
	return "reserved in this test"
}

func confirmed(tb testing.TB, ep string) minecanary.Verdict {
	tb.Helper()
	return minecanary.Verdict{
		Endpoint: endpoint(tb, ep), Status: minecanary.Confirmed, Dialect: "stratum-v1", Coin: "bitcoin-family",
		Reason: "answered mining.subscribe", At: verified, Expires: verified.Add(24 * time.Hour),
	}
}

func TestGateCheck(t *testing.T) {
	gate := feed.Gate{
		MaxAge:   2 * time.Hour,
		Own:      []netip.Prefix{netip.MustParsePrefix("198.51.100.128/25"), netip.MustParsePrefix("10.1.0.0/16")},
		Allow:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Reserved: reserved,
		Refuse: func(ep minecanary.Endpoint) string {
			if ep.Port == 443 {
				return "CDN"
			}
			return ""
		},
	}
	tests := []struct {
		name       string
		change     func(*minecanary.Verdict)
		wantReason feed.Reason
		wantDetail string
	}{
		{"passes", func(*minecanary.Verdict) {}, "", ""},
		{"passes at the greatest age", func(v *minecanary.Verdict) { v.At = now.Add(-2 * time.Hour) }, "", ""},
		{"passes with a small skew", func(v *minecanary.Verdict) { v.At = now.Add(feed.MaxSkew) }, "", ""},
		{"node", func(v *minecanary.Verdict) { v.Status = minecanary.Node }, feed.NotConfirmed, "node"},
		{"inconclusive", func(v *minecanary.Verdict) { v.Status = minecanary.Inconclusive }, feed.NotConfirmed, "inconclusive"},
		{"zero verdict", func(v *minecanary.Verdict) { *v = minecanary.Verdict{} }, feed.NotConfirmed, ""},
		{"udp", func(v *minecanary.Verdict) { v.Endpoint.Transport = minecanary.UDP }, feed.NotTCP, "udp"},
		{"no port", func(v *minecanary.Verdict) { v.Endpoint.Port = 0 }, feed.NotTCP, "tcp"},
		{"expires now", func(v *minecanary.Verdict) { v.Expires = now }, feed.Expired, ""},
		{"never told when it expires", func(v *minecanary.Verdict) { v.Expires = time.Time{} }, feed.Expired, ""},
		{"stale", func(v *minecanary.Verdict) { v.At = now.Add(-2*time.Hour - 1) }, feed.Stale, ""},
		{"never told when it was made", func(v *minecanary.Verdict) { v.At = time.Time{} }, feed.Stale, ""},
		{"from the future", func(v *minecanary.Verdict) { v.At = now.Add(feed.MaxSkew + 1) }, feed.Future, ""},
		{"no address", func(v *minecanary.Verdict) { v.Endpoint.Addr = netip.Addr{} }, feed.NotPublic, "no address"},
		{"own", func(v *minecanary.Verdict) { v.Endpoint.Addr = netip.MustParseAddr("198.51.100.200") }, feed.OwnNetwork, "198.51.100.128/25"},
		{"own, spelt as IPv6", func(v *minecanary.Verdict) { v.Endpoint.Addr = netip.MustParseAddr("::ffff:198.51.100.200") }, feed.OwnNetwork, "198.51.100.128/25"},
		{"not public", func(v *minecanary.Verdict) { v.Endpoint.Addr = netip.MustParseAddr("192.168.0.1") }, feed.NotPublic, "reserved in this test"},
		{"refused", func(v *minecanary.Verdict) { v.Endpoint.Port = 443 }, feed.Listed, "CDN"},
		{"allow does not lift own", func(v *minecanary.Verdict) { v.Endpoint.Addr = netip.MustParseAddr("10.1.2.3") }, feed.OwnNetwork, "10.1.0.0/16"},
		{"allow does not lift refuse", func(v *minecanary.Verdict) {
			v.Endpoint = endpoint(t, "10.9.9.9:443")
		}, feed.Listed, "CDN"},
		{"allow does not lift age", func(v *minecanary.Verdict) {
			v.Endpoint, v.At = endpoint(t, "10.9.9.9:3333"), now.Add(-3*time.Hour)
		}, feed.Stale, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := confirmed(t, "198.51.100.10:3333")
			tt.change(&v)
			entry, refusal, ok := gate.Check(v, now)
			if diff := cmp.Diff([]string{string(tt.wantReason), tt.wantDetail}, []string{string(refusal.Reason), refusal.Detail}); diff != "" {
				t.Error(diff)
			}
			if ok != (tt.wantReason == "") {
				t.Errorf("ok is %t", ok)
			}
			if !ok {
				return
			}
			want := feed.Entry{
				Endpoint: v.Endpoint, Coin: "bitcoin-family", Dialect: "stratum-v1", Reason: "answered mining.subscribe",
				First: v.At, Verified: v.At, Expires: v.At.Add(2 * time.Hour), Confidence: feed.Confidence(now.Sub(v.At), 2*time.Hour), Hosts: -1,
			}
			if diff := cmp.Diff(want, entry, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}

	t.Run("allow lifts the address rule and says so", func(t *testing.T) {
		entry, _, ok := gate.Check(confirmed(t, "10.9.9.9:3333"), now)
		if !ok || !entry.Lifted {
			t.Errorf("ok %t, lifted %t", ok, entry.Lifted)
		}
	})
	t.Run("the zero gate has the rule of public addresses", func(t *testing.T) {
		if _, r, ok := (feed.Gate{}).Check(confirmed(t, "198.51.100.10:3333"), now); ok || r.Reason != feed.NotPublic {
			t.Errorf("ok %t, reason %q", ok, r.Reason)
		}
		if _, r, ok := (feed.Gate{}).Check(confirmed(t, "45.76.1.2:3333"), now); !ok {
			t.Errorf("refused for %q", r.Reason)
		}
	})
}

func TestGateSelectKeepsTheNewest(t *testing.T) {
	gate := feed.Gate{Reserved: func(netip.Addr) string { return "" }}
	verdicts := make([]minecanary.Verdict, 0, feed.MaxEntries+3)
	for i := range feed.MaxEntries + 2 {
		v := confirmed(t, "198.51.100.10:3333")
		v.Endpoint.Addr = netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)})
		v.At = verified.Add(time.Duration(i) * time.Millisecond)
		verdicts = append(verdicts, v)
	}
	verdicts = append(verdicts, verdicts[5])
	entries, refusals := gate.Select(verdicts, now)
	if len(entries) != feed.MaxEntries || len(refusals) != 2 {
		t.Fatalf("%d entries, %d refusals", len(entries), len(refusals))
	}
	for _, r := range refusals {
		if r.Reason != feed.TooMany {
			t.Errorf("reason is %q", r.Reason)
		}
	}
	if got, want := entries[0].Endpoint, verdicts[2].Endpoint; got != want {
		t.Errorf("first is %s, want %s", got, want)
	}
}
