package flows_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/flows"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// decoder is what both decoders are.
type decoder interface {
	Decode(line []byte, rec *minecanary.Record) consumer.Outcome
}

// records decodes a file, in which nothing may be bad.
func records(t *testing.T, d decoder, file string) (list []minecanary.Record) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range bytes.Split(data, []byte("\n")) {
		rec := junk()
		switch out := d.Decode(line, &rec); out.Kind {
		case consumer.Decoded:
			list = append(list, rec)
		case consumer.Bad:
			t.Errorf("%s:%d: %+v: %s", file, n+1, out, line)
		}
	}
	return list
}

// junk is a record in which nothing must stay what it was.
func junk() minecanary.Record {
	return minecanary.Record{
		Kind: 9, Transport: 9, Orig: netip.IPv6Loopback(), Resp: netip.IPv6Loopback(), OrigPort: 9, RespPort: 9,
		OrigLocal: 9, RespLocal: 9, Start: 9, End: 9, OrigPackets: 9, RespPackets: 9, OrigBytes: 9, RespBytes: 9,
		OrigPayload: 9, RespPayload: 9, OrigFlags: 9, RespFlags: 9, FlagsKnown: true, Handshake: true, Services: 9,
		Final: true, InterimSeq: 9, UID: minecanary.UID{9}, Sensor: "junk",
	}
}

// whole cuts times to seconds, as nfdump 1.6 does.
func whole(list []minecanary.Record) []minecanary.Record {
	const second = 1_000_000
	for i := range list {
		r := &list[i]
		r.End -= r.Start % second
		r.Start -= r.Start % second
	}
	return list
}

// plain leaves out what tells one collector from another.
func plain(list []minecanary.Record, flags bool) []minecanary.Record {
	for i := range list {
		list[i].Sensor = ""
		if !flags {
			list[i].FlagsKnown, list[i].OrigFlags = false, 0
		}
	}
	return list
}

// TestSession checks that all collectors' files say the same of one session, which is what a capture of it says.
func TestSession(t *testing.T) {
	want := func(flags bool) []minecanary.Record {
		return plain(records(t, flows.NewNfdump(nil), "nfdump-1.7.8-chosen.csv"), flags)
	}
	all := want(true)
	start := int64(1751446436_500_000)
	first := []minecanary.Record{
		{
			Kind: minecanary.KindFlow, Transport: minecanary.TCP,
			Orig: netip.MustParseAddr("10.20.1.15"), OrigPort: 47120,
			Resp: netip.MustParseAddr("203.0.113.15"), RespPort: 3333,
			Start: start, End: start + 305_486_000,
			OrigPackets: 31, OrigBytes: 4388, OrigPayload: 4388 - 31*52, OrigFlags: 0x1a, FlagsKnown: true,
		},
		{
			Kind: minecanary.KindFlow, Transport: minecanary.TCP,
			Orig: netip.MustParseAddr("203.0.113.15"), OrigPort: 3333,
			Resp: netip.MustParseAddr("10.20.1.15"), RespPort: 47120,
			Start: start + 12_000, End: start + 12_000 + 245_170_000,
			OrigPackets: 28, OrigBytes: 3497, OrigPayload: 3497 - 28*52, OrigFlags: 0x1a, FlagsKnown: true,
		},
	}
	if diff := cmp.Diff(first, all[:2], addrs); diff != "" {
		t.Errorf("the first rows (-want +got):\n%s", diff)
	}
	var packets, ipBytes uint64
	for i := range all {
		packets += all[i].OrigPackets
		ipBytes += all[i].OrigBytes
	}
	if len(all) != 46 || packets != 705+666 || ipBytes != 85840+101380 {
		t.Errorf("%d rows of %d packets, %d bytes; the capture has 705 and 666 packets of 85840 and 101380 bytes", len(all), packets, ipBytes)
	}
	for _, tt := range []struct {
		file string
		new  func() decoder
		want []minecanary.Record
	}{
		{"nfdump-1.7.8-fast.csv", newNfdump, all},
		{"nfdump-1.7.8.csv", newNfdump, want(false)},
		{"nfdump-1.7.1.csv", newNfdump, whole(want(true))},
		{"goflow2-2.2.6.json", newGoflow2, all},
		{"goflow2-2.2.6-sampled.json", newGoflow2, want(false)[:4]},
		{"goflow2-1.3.7.json", newGoflow2, all[:4]},
		{"goflow2-1.3.7-tag.json", newGoflow2, all[:4]},
	} {
		t.Run(tt.file, func(t *testing.T) {
			got := records(t, tt.new(), tt.file)
			for i := range got {
				if want := map[bool]string{true: "127.0.0.1"}[tt.file[0] == 'g']; got[i].Sensor != want {
					t.Errorf("row %d: sensor %q, want %q", i, got[i].Sensor, want)
				}
			}
			if diff := cmp.Diff(tt.want, plain(got, true), addrs); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func newNfdump() decoder  { return flows.NewNfdump(nil) }
func newGoflow2() decoder { return flows.NewGoflow2() }
