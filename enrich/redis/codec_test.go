package redis

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
)

// drawUID gives names as Zeek and Suricata make them, and others.
func drawUID(t *rapid.T, label string) minecanary.UID {
	return minecanary.NewUID([]byte(rapid.OneOf(
		rapid.StringMatching(`C[0-9A-Za-z]{0,17}`), rapid.StringMatching(`[0-9]{0,20}`), rapid.StringMatching(`[ -~]{0,20}`),
	).Draw(t, label)))
}

func drawAggregate(t *rapid.T) minecanary.Aggregate {
	count := func(label string) uint64 { return rapid.Uint64Range(0, 1<<48).Draw(t, label) }
	last := rapid.Int64Range(0, 4e15).Draw(t, "last")
	a := minecanary.Aggregate{
		Last: last, First: last - min(last, rapid.Int64Range(0, 1e13).Draw(t, "length")),
		ClientPackets: count("cp"), ServerPackets: count("sp"), ClientBytes: count("cb"), ServerBytes: count("sb"),
		ClientPayload: count("cy"), ServerPayload: count("sy"),
		Ack: rapid.Uint32().Draw(t, "ack"), AckPush: rapid.Uint32Range(0, 9).Draw(t, "ackpush"), Other: rapid.Uint32Range(0, 9).Draw(t, "other"),
		Records: rapid.Uint32().Draw(t, "records"), Services: minecanary.Services(rapid.Uint8Range(0, 31).Draw(t, "services")),
	}
	if a.Counted() > 0 {
		a.CountedPackets, a.CountedBytes = count("counted packets"), count("counted bytes")
		a.CountedFirst, a.CountedLast = a.First+rapid.Int64Range(-5, 1e9).Draw(t, "counted first"), a.Last-rapid.Int64Range(-5, 1e9).Draw(t, "counted last")
	}
	return a
}

// TestSegments: what is stored comes back.
func TestSegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []segment
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			want = append(want, segment{
				aggregate: drawAggregate(t), reports: rapid.Uint8().Draw(t, "reports"), told: rapid.Uint8Range(0, 3).Draw(t, "told"),
				closed: rapid.Bool().Draw(t, "closed"), reopened: rapid.Bool().Draw(t, "reopened"),
				port: rapid.Uint16().Draw(t, "port"), sensor: rapid.Uint32().Draw(t, "sensor"), uid: drawUID(t, "uid"),
			})
		}
		want[0].marked = rapid.Bool().Draw(t, "marked")
		got, err := decode(string(encode(append([]segment(nil), want...), nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(segment{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestUIDOrder: packed names of connections of one sensor have the order of unpacked ones, as a tie between two records
// is decided by it.
func TestUIDOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawUID(t, "a"), drawUID(t, "b")
		pa, pb := appendUID(nil, a), appendUID(nil, b)
		if readUID(string(pa[1:])) != a {
			t.Fatalf("%q came back as %q", a.String(), readUID(string(pa[1:])).String())
		}
		if len(pa) != len(pb) || len(pa) != 1+zeekUID && len(pa) != 1+eveUID {
			return
		}
		if want, got := strings.Compare(string(a[:]), string(b[:])), strings.Compare(string(pa[1:]), string(pb[1:])); want != got {
			t.Fatalf("%q and %q: order %d, packed %d", a.String(), b.String(), want, got)
		}
	})
}

// TestUsualSize: the usual suspect stays within what keeps its hash a listpack.
func TestUsualSize(t *testing.T) {
	s := segment{
		aggregate: minecanary.Aggregate{
			First: 1_800_000_000_123_456, Last: 1_800_000_312_345_678, ClientPackets: 206, ServerPackets: 204, ClientBytes: 16674,
			ServerBytes: 57070, ClientPayload: 8400, ServerPayload: 46000, CountedPackets: 200, CountedBytes: 16100,
			CountedFirst: 1_800_000_060_123_456, CountedLast: 1_800_000_312_345_678, AckPush: 4, Other: 1, Records: 1, Services: minecanary.ServiceTLS,
		},
		port: 54321, sensor: 1, uid: minecanary.NewUID([]byte("CHhAvVGS1DHFjwGM9")),
	}
	if n := len(encode([]segment{s}, nil)); n > 64 {
		t.Errorf("%d bytes, want at most 64", n)
	}
}

func TestEndpoints(t *testing.T) {
	for _, want := range []minecanary.Endpoint{
		minecanary.NewEndpoint(netip.MustParseAddr("192.0.2.1"), 3333, minecanary.TCP),
		minecanary.NewEndpoint(netip.MustParseAddr("2001:db8::1"), 65535, minecanary.UDP),
	} {
		got, ok := readEndpoint(appendEndpoint(nil, want))
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); !ok || diff != "" {
			t.Errorf("%v\n%s", ok, diff)
		}
	}
	if _, ok := readEndpoint([]byte("short")); ok {
		t.Error("five bytes are no endpoint")
	}
}

// FuzzDecode: whatever stands in Redis, reading it ends without a panic, and what can be read is written the same.
func FuzzDecode(f *testing.F) {
	f.Add(encode([]segment{{uid: minecanary.NewUID([]byte("CabcdefghijklmnopQ"))}}, nil))
	f.Add([]byte{0xcb, 0x43, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		segs, err := decode(string(b), nil)
		if err != nil {
			return
		}
		once := encode(segs, nil)
		again, err := decode(string(once), nil)
		if err != nil || string(encode(again, nil)) != string(once) {
			t.Errorf("%x: %v", once, err)
		}
	})
}
