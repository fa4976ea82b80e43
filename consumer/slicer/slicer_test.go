package slicer

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
)

const second = int64(time.Second / time.Microsecond)

var (
	miner = netip.MustParseAddr("10.0.0.5")
	pool  = netip.MustParseAddr("198.51.100.10")
)

// conn is an hour's connection from the miner to the pool, handshake to FIN.
func conn(change func(*minecanary.Record)) *minecanary.Record {
	const all = minecanary.SYN | minecanary.ACK | minecanary.PSH | minecanary.FIN
	r := &minecanary.Record{
		Transport: minecanary.TCP, Orig: miner, Resp: pool, OrigPort: 40001, RespPort: 3333,
		Start: 1000 * second, End: 4600 * second,
		OrigPackets: 600, RespPackets: 540, OrigBytes: 60_000, RespBytes: 100_000, OrigPayload: 36_000, RespPayload: 78_400,
		OrigFlags: all, RespFlags: all, FlagsKnown: true, Handshake: true,
	}
	change(r)
	return r
}

func TestSlice(t *testing.T) {
	type counts struct {
		Ack, AckPush, Other uint32
		Packets, Bytes      uint64
		Start               int64 // seconds
	}
	for _, tt := range []struct {
		name   string
		change func(*minecanary.Record)
		want   counts
	}{
		{"SYN slice not counted, FIN slice impure", func(*minecanary.Record) {}, counts{0, 58, 1, 590, 59_000, 1060}},
		{"no payload: ACK only", func(r *minecanary.Record) { r.OrigFlags &^= minecanary.PSH }, counts{58, 0, 1, 590, 59_000, 1060}},
		{"no end seen", func(r *minecanary.Record) { r.OrigFlags &^= minecanary.FIN }, counts{0, 59, 0, 590, 59_000, 1060}},
		{"reset", func(r *minecanary.Record) { r.OrigFlags = r.OrigFlags&^minecanary.FIN | minecanary.RST }, counts{0, 58, 1, 590, 59_000, 1060}},
		{"picked up mid-stream", func(r *minecanary.Record) { r.OrigFlags = minecanary.ACK | minecanary.PSH }, counts{0, 60, 0, 600, 60_000, 1000}},
		{"the server's FIN does not count", func(r *minecanary.Record) {
			r.OrigFlags, r.RespFlags = minecanary.ACK|minecanary.PSH, minecanary.ACK|minecanary.FIN
		}, counts{0, 60, 0, 600, 60_000, 1000}},
		{"flags unknown", func(r *minecanary.Record) { r.FlagsKnown, r.OrigFlags = false, 0 }, counts{0, 60, 0, 600, 60_000, 1000}},
		{"flags unknown, no payload", func(r *minecanary.Record) { r.FlagsKnown, r.OrigFlags, r.OrigPayload = false, 0, 0 }, counts{60, 0, 0, 600, 60_000, 1000}},
		{"short and whole", func(r *minecanary.Record) { r.End = r.Start + 10*second }, counts{0, 0, 1, 600, 60_000, 1000}},
		{"short, mid-stream", func(r *minecanary.Record) {
			r.End, r.OrigFlags = r.Start+10*second, minecanary.ACK|minecanary.PSH
		}, counts{0, 1, 0, 600, 60_000, 1000}},
		{"exactly one virtual slice", func(r *minecanary.Record) { r.End = r.Start + 60*second }, counts{0, 0, 1, 600, 60_000, 1000}},
		{"a little more", func(r *minecanary.Record) { r.End = r.Start + 61*second }, counts{0, 0, 1, 300, 30_000, 1030}},
		{"no slice without a packet", func(r *minecanary.Record) { r.OrigPackets = 3 }, counts{0, 1, 1, 2, 40_000, 2200}},
		{"a client that never sent", func(r *minecanary.Record) { r.OrigPackets, r.OrigBytes = 0, 0 }, counts{}},
		{"interim, first", func(r *minecanary.Record) { r.Kind = minecanary.KindInterim }, counts{}},
		{"interim, middle", func(r *minecanary.Record) {
			r.Kind, r.OrigFlags = minecanary.KindInterim, minecanary.ACK|minecanary.PSH
		}, counts{0, 1, 0, 600, 60_000, 1000}},
		{"interim, last", func(r *minecanary.Record) {
			r.Kind, r.OrigFlags, r.Final = minecanary.KindInterim, minecanary.ACK|minecanary.PSH|minecanary.FIN, true
		}, counts{0, 0, 1, 600, 60_000, 1000}},
		{"interim, first and last", func(r *minecanary.Record) { r.Kind, r.Final = minecanary.KindInterim, true }, counts{0, 0, 1, 600, 60_000, 1000}},
		{"running", long(minecanary.SYN | minecanary.ACK | minecanary.PSH), counts{0, 59, 0, 590, 59_000, 1060}},
		{"running, start not seen", long(minecanary.ACK | minecanary.PSH), counts{0, 60, 0, 600, 60_000, 1000}},
		{"running, no payload", long(minecanary.SYN | minecanary.ACK), counts{59, 0, 0, 590, 59_000, 1060}},
		{"running, for a short time", func(r *minecanary.Record) {
			long(minecanary.SYN | minecanary.ACK | minecanary.PSH)(r)
			r.End = r.Start + 60*second
		}, counts{}},
		{"flow, middle", flow(minecanary.ACK | minecanary.PSH), counts{0, 1, 0, 600, 60_000, 1000}},
		{"flow, only ACK", flow(minecanary.ACK), counts{1, 0, 0, 600, 60_000, 1000}},
		{"flow, SYN slice of a connection that goes on", flow(minecanary.SYN | minecanary.ACK | minecanary.PSH), counts{}},
		{"flow, whole connection", flow(minecanary.SYN | minecanary.ACK | minecanary.PSH | minecanary.FIN), counts{0, 0, 1, 600, 60_000, 1000}},
		{"flow, refused", flow(minecanary.SYN | minecanary.ACK | minecanary.RST), counts{0, 0, 1, 600, 60_000, 1000}},
		{"flow, SYN without an answer", flow(minecanary.SYN), counts{0, 0, 1, 600, 60_000, 1000}},
		{"flow, last", flow(minecanary.ACK | minecanary.FIN), counts{0, 0, 1, 600, 60_000, 1000}},
		{"flow, urgent", flow(minecanary.ACK | minecanary.URG), counts{0, 0, 1, 600, 60_000, 1000}},
		{"flow, flags not known", func(r *minecanary.Record) { flow(0)(r); r.FlagsKnown = false }, counts{0, 0, 1, 600, 60_000, 1000}},
		{"flow, the server's", func(r *minecanary.Record) { flow(minecanary.SYN | minecanary.ACK)(r); swap(r) }, counts{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s minecanary.Slices
			if !New(Config{Virtual: time.Minute}).Slice(conn(tt.change), &s) {
				t.Fatal("no slices")
			}
			got := counts{s.Ack, s.AckPush, s.Other, s.CountedPackets, s.CountedBytes, s.CountedStart / second}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if s.Client != miner || s.Server.Addr != pool || s.Server.Port != 3333 {
				t.Errorf("client %s, server %s", s.Client, s.Server)
			}
		})
	}
}

// long makes the record one of a running connection since its start.
func long(flags minecanary.TCPFlags) func(*minecanary.Record) {
	return func(r *minecanary.Record) {
		r.Kind, r.OrigFlags, r.RespFlags, r.UID = minecanary.KindLong, flags, flags, minecanary.NewUID([]byte("C1"))
	}
}

// TestCumulative: what other records of the connection may repeat is told, in a buffer that was used before, too.
func TestCumulative(t *testing.T) {
	uid := minecanary.NewUID([]byte("C1"))
	s := New(Config{Virtual: time.Minute})
	for _, tt := range []struct {
		name              string
		kind              minecanary.Kind
		uid               minecanary.UID
		length            int64
		cumulative, final bool
	}{
		{"whole", minecanary.KindConn, uid, 60 * second, true, true},
		{"whole and short", minecanary.KindConn, uid, 60*second - 1, false, false},
		{"whole without a name", minecanary.KindConn, minecanary.UID{}, 3600 * second, false, false},
		{"running", minecanary.KindLong, uid, 3600 * second, true, false},
		{"running for a short time", minecanary.KindLong, uid, second, true, false},
		{"interim", minecanary.KindInterim, uid, 3600 * second, false, false},
		{"a row of an exporter", minecanary.KindFlow, minecanary.UID{}, 3600 * second, false, false},
		{"a netflow event", minecanary.KindFlow, uid, 3600 * second, true, true},
		{"a short netflow event", minecanary.KindFlow, uid, second, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := conn(func(r *minecanary.Record) { r.Kind, r.UID, r.End = tt.kind, tt.uid, r.Start+tt.length })
			for _, junk := range []bool{true, false} {
				out := minecanary.Slices{Cumulative: junk, Final: junk}
				if !s.Slice(r, &out) || out.Cumulative != tt.cumulative || out.Final != tt.final {
					t.Errorf("%+v", out)
				}
			}
		})
	}
	r := conn(func(r *minecanary.Record) { r.Kind = minecanary.KindLong })
	if s.Slice(r, new(minecanary.Slices)) {
		t.Error("a running connection without a name makes slices")
	}
}

// flow makes the record a row of a flow exporter, of the miner's direction.
func flow(flags minecanary.TCPFlags) func(*minecanary.Record) {
	return func(r *minecanary.Record) {
		r.Kind, r.Handshake, r.FlagsKnown, r.OrigFlags, r.RespFlags = minecanary.KindFlow, false, true, flags, 0
		r.RespPackets, r.RespBytes, r.RespPayload = 0, 0, 0
	}
}

// TestFlowDirections wants both rows of a connection to be of one pair, whoever sent them, and to add up.
func TestFlowDirections(t *testing.T) {
	own := netip.MustParsePrefix("198.51.100.0/24")
	rapid.Check(t, func(t *rapid.T) {
		addr := rapid.SampledFrom([]netip.Addr{miner, pool, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2001:db8::1")})
		port := rapid.SampledFrom([]uint16{0, 22, 443, 3333, 8443, 12345, 20000, 50000, 65535})
		there := conn(flow(minecanary.TCPFlags(rapid.Uint8().Draw(t, "flags"))))
		there.Orig, there.Resp = addr.Draw(t, "a"), addr.Draw(t, "b")
		there.OrigPort, there.RespPort = port.Draw(t, "port a"), port.Draw(t, "port b")
		back := *there
		back.Orig, back.Resp, back.OrigPort, back.RespPort = there.Resp, there.Orig, there.RespPort, there.OrigPort
		cfg := Config{Virtual: time.Minute}
		if rapid.Bool().Draw(t, "networks known") {
			cfg.Local = []netip.Prefix{own}
		}
		var a, b minecanary.Slices
		if !New(cfg).Slice(there, &a) || !New(cfg).Slice(&back, &b) {
			t.Fatal("no slices")
		}
		if there.Orig == there.Resp && there.OrigPort == there.RespPort {
			return // both rows are the same
		}
		if a.Pair != b.Pair || a.ClientPort != b.ClientPort {
			t.Fatalf("%v %d and %v %d", a.Pair, a.ClientPort, b.Pair, b.ClientPort)
		}
		if a.ClientPackets+b.ClientPackets != 600 || a.ServerPackets+b.ServerPackets != 600 || a.Counted()+b.Counted() > 1 {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
}

func TestFlowClient(t *testing.T) {
	visitor := netip.MustParseAddr("203.0.113.9")
	for _, tt := range []struct {
		name                 string
		local                string
		client, server       netip.Addr
		clientPort, servPort uint16
	}{
		{"a server's port", "", miner, pool, 40001, 3333},
		{"a visitor of an inside server", "10.0.0.0/8", visitor, miner, 50000, 443},
		{"private, a pool's high port", "", miner, pool, 12000, 20580},
		{"our networks, a pool's high port", "203.0.113.0/24", visitor, pool, 12000, 20580},
		{"our networks count, not the private ones", "203.0.113.0/24", visitor, miner, 12000, 20580},
		{"nothing but ports", "", visitor, pool, 20580, 12000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Virtual: time.Minute}
			if tt.local != "" {
				cfg.Local = []netip.Prefix{netip.MustParsePrefix(tt.local)}
			}
			r := conn(flow(minecanary.ACK))
			r.Orig, r.Resp, r.OrigPort, r.RespPort = tt.server, tt.client, tt.servPort, tt.clientPort
			var s minecanary.Slices
			if !New(cfg).Slice(r, &s) || s.Client != tt.client || s.ClientPackets != 0 || s.ServerPackets != 600 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestNoSlices(t *testing.T) {
	for name, change := range map[string]func(*minecanary.Record){
		"UDP":       func(r *minecanary.Record) { r.Transport = minecanary.UDP },
		"no packet": func(r *minecanary.Record) { r.OrigPackets, r.RespPackets = 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			var s minecanary.Slices
			if New(Config{}).Slice(conn(change), &s) {
				t.Errorf("slices: %+v", s)
			}
		})
	}
}

// swap makes the pool the originator, as in about half of the connections that ran before the sensor did.
func swap(r *minecanary.Record) {
	r.Orig, r.Resp, r.OrigPort, r.RespPort = r.Resp, r.Orig, r.RespPort, r.OrigPort
	r.OrigPackets, r.RespPackets, r.OrigBytes, r.RespBytes = r.RespPackets, r.OrigPackets, r.RespBytes, r.OrigBytes
	r.OrigPayload, r.RespPayload, r.OrigFlags, r.RespFlags = r.RespPayload, r.OrigPayload, r.RespFlags, r.OrigFlags
	r.OrigLocal, r.RespLocal = r.RespLocal, r.OrigLocal
}

func TestDirection(t *testing.T) {
	own := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name   string
		local  []netip.Prefix
		change func(*minecanary.Record)
		client netip.Addr
	}{
		{"handshake", nil, func(*minecanary.Record) {}, miner},
		{"handshake against odd ports", nil, func(r *minecanary.Record) { r.OrigPort, r.RespPort = 3333, 50000 }, miner},
		{"a visitor from outside stays the client", own, swap, pool},
		{"turned, our networks", own, func(r *minecanary.Record) { swap(r); r.Handshake = false; r.OrigPort, r.RespPort = 50000, 40001 }, miner},
		{"turned, the log's flags", nil, func(r *minecanary.Record) {
			r.OrigLocal, r.RespLocal = minecanary.Local, minecanary.Remote
			swap(r)
			r.Handshake, r.OrigPort, r.RespPort = false, 50000, 40001
		}, miner},
		{"our networks replace the log's flags", own, func(r *minecanary.Record) {
			r.OrigLocal, r.RespLocal = minecanary.Remote, minecanary.Local
			swap(r)
			r.Handshake = false
		}, miner},
		{"turned, both local, pool's port", nil, func(r *minecanary.Record) {
			r.OrigLocal, r.RespLocal = minecanary.Local, minecanary.Local
			swap(r)
			r.Handshake = false
		}, miner},
		{"turned, pool's high port", nil, func(r *minecanary.Record) { r.RespPort = 45700; swap(r); r.Handshake = false }, miner},
		{"turned, well-known port", nil, func(r *minecanary.Record) { r.RespPort = 443; swap(r); r.Handshake = false }, miner},
		{"turned, the lower port", nil, func(r *minecanary.Record) { r.RespPort = 12345; swap(r); r.Handshake = false }, miner},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s minecanary.Slices
			if !New(Config{Virtual: time.Minute, Local: tt.local}).Slice(conn(tt.change), &s) {
				t.Fatal("no slices")
			}
			if s.Client != tt.client {
				t.Errorf("client %s, want %s", s.Client, tt.client)
			}
		})
	}
}

// TestTurnedGivesTheSame wants a turned mid-stream record to give the slices of the straight one.
func TestTurnedGivesTheSame(t *testing.T) {
	midStream := func(r *minecanary.Record) {
		r.Handshake, r.OrigFlags, r.RespFlags = false, minecanary.ACK|minecanary.PSH, minecanary.ACK
	}
	s := New(Config{Virtual: time.Minute})
	var straight, turned minecanary.Slices
	s.Slice(conn(midStream), &straight)
	s.Slice(conn(func(r *minecanary.Record) { midStream(r); swap(r) }), &turned)
	if diff := cmp.Diff(straight, turned, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

// TestCountsAreWithinTotals holds for any record: no more slices than time or packets allow, nothing counted that was
// not there, and every slot of the buffer written.
func TestCountsAreWithinTotals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := conn(func(r *minecanary.Record) {
			r.Kind = minecanary.Kind(rapid.IntRange(0, 3).Draw(t, "kind"))
			r.UID = minecanary.NewUID([]byte("C1"))
			r.End = r.Start + rapid.Int64Range(0, 1<<40).Draw(t, "duration")
			r.OrigPackets = rapid.Uint64Range(0, 1<<40).Draw(t, "packets")
			r.OrigBytes = rapid.Uint64Range(0, 1<<50).Draw(t, "bytes")
			r.OrigFlags = minecanary.TCPFlags(rapid.Uint8().Draw(t, "flags"))
			r.FlagsKnown = rapid.Bool().Draw(t, "known")
			r.Final = rapid.Bool().Draw(t, "final")
		})
		virtual := time.Duration(rapid.Int64Range(0, 3600).Draw(t, "virtual")) * time.Second
		junk := minecanary.Slices{Ack: 9, AckPush: 9, Other: 9, CountedPackets: 1 << 60, CountedBytes: 1 << 60, CountedStart: -1}
		if !New(Config{Virtual: virtual}).Slice(r, &junk) {
			t.Fatal("no slices")
		}
		s := junk
		if uint64(s.Counted()) > s.ClientPackets || s.CountedPackets > s.ClientPackets || s.CountedBytes > s.ClientBytes {
			t.Fatalf("counted more than there is: %+v", s)
		}
		if s.Counted() > 0 && (s.CountedStart < s.Start || s.CountedStart > s.End) {
			t.Fatalf("counted slices start at %d, outside of %d to %d", s.CountedStart, s.Start, s.End)
		}
		if s.Counted() == 0 && (s.CountedPackets != 0 || s.CountedBytes != 0 || s.CountedStart != 0) {
			t.Fatalf("no slice counted, but something in it: %+v", s)
		}
		if most := (r.End-r.Start)/max(virtual, MinVirtual).Microseconds() + 1; int64(s.Counted()) > most {
			t.Fatalf("%d slices in the time of %d", s.Counted(), most)
		}
	})
}
