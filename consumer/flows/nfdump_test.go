package flows_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/flows"
)

var decoded = consumer.Outcome{Kind: consumer.Decoded}

func skip(reason string) consumer.Outcome {
	return consumer.Outcome{Kind: consumer.Skipped, Reason: reason}
}

func bad(reason string) consumer.Outcome { return consumer.Outcome{Kind: consumer.Bad, Reason: reason} }

const (
	header = "firstSeen,lastSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,flags,packets,bytes,outPackets,outBytes,routerIP"
	first  = "2025-07-02 08:53:56.500"
	last   = "2025-07-02 08:59:01.986"
)

// with gives a row of the header with some of its columns changed, by name and value.
func with(pairs ...string) string {
	names := strings.Split(header, ",")
	row := []string{first, last, "305.486", "6", "10.20.1.15", "47120", "203.0.113.15", "3333", "...AP...", "31", "4388", "0", "0", "192.0.2.1"}
	for i := 0; i < len(pairs); i += 2 {
		row[slices.Index(names, pairs[i])] = pairs[i+1]
	}
	return strings.Join(row, ",")
}

func rowRecord(change func(*minecanary.Record)) minecanary.Record {
	start := time.Date(2025, 7, 2, 8, 53, 56, 500_000_000, time.UTC).UnixMicro()
	r := minecanary.Record{
		Kind: minecanary.KindFlow, Transport: minecanary.TCP,
		Orig: netip.MustParseAddr("10.20.1.15"), OrigPort: 47120,
		Resp: netip.MustParseAddr("203.0.113.15"), RespPort: 3333,
		Start: start, End: start + 305_486_000,
		OrigPackets: 31, OrigBytes: 4388, OrigPayload: 4388 - 31*52,
		OrigFlags: minecanary.ACK | minecanary.PSH, FlagsKnown: true, Sensor: "192.0.2.1",
	}
	change(&r)
	return r
}

func TestNfdumpRows(t *testing.T) {
	same := func(*minecanary.Record) {}
	flags := func(f minecanary.TCPFlags) func(*minecanary.Record) {
		return func(r *minecanary.Record) { r.OrigFlags, r.FlagsKnown = f, f != 0 }
	}
	noPorts := func(transport minecanary.Transport) func(*minecanary.Record) {
		return func(r *minecanary.Record) {
			r.Transport, r.OrigPort, r.RespPort, r.OrigFlags, r.FlagsKnown = transport, 0, 0, 0, false
		}
	}
	for _, tt := range []struct {
		name, line string
		want       func(*minecanary.Record)
	}{
		{"as it is", with(), same},
		{"carriage return", with() + "\r", same},
		{"byte order mark", "\xEF\xBB\xBF" + with(), same},
		{"padded", with("packets", "   31", "bytes", "4388  ", "proto", "TCP  ", "srcAddr", " 10.20.1.15"), same},
		{"names of protocols", with("proto", "TCP"), same},
		{"small letters", with("proto", "tcp"), same},
		{"UDP", with("proto", "UDP"), func(r *minecanary.Record) { r.Transport = minecanary.UDP; flags(0)(r) }},
		{"ICMP has type and code for a port", with("proto", "1", "srcPort", "0", "dstPort", "8.0"), noPorts(minecanary.ICMP)},
		{"ICMPv6 by name", with("proto", "ICMP6", "dstPort", "128.0"), noPorts(minecanary.ICMPv6)},
		{"another protocol", with("proto", "132"), noPorts(132)},
		{"another name", with("proto", "ESP"), noPorts(minecanary.TransportUnknown)},
		{"a name that begins with a digit", with("proto", "3PC"), noPorts(minecanary.TransportUnknown)},
		{"IPv6", with("srcAddr", "2001:db8::1", "dstAddr", "2001:db8::2"), func(r *minecanary.Record) {
			r.Orig, r.Resp = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
			r.OrigPayload = 4388 - 31*72
		}},
		{"IPv4-mapped", with("srcAddr", "::ffff:10.20.1.15"), same},
		{"all flags", with("flags", "CEUAPRSF"), flags(0xFF)},
		{"eight places", with("flags", "CE...R.F"), flags(0xC5)},
		{"six places", with("flags", ".AP.SF"), flags(0x1B)},
		{"hexadecimal", with("flags", "0xda"), flags(0xDA)},
		{"decimal", with("flags", "24"), flags(0x18)},
		{"none told", with("flags", "........"), flags(0)},
		{"empty", with("flags", ""), flags(0)},
		{"seconds", with("firstSeen", "1751446436.500"), same},
		{"milliseconds", with("firstSeen", "1751446436500"), same},
		{"no duration", with("duration", ""), same},
		{"no duration, milliseconds", with("duration", "", "lastSeen", "1751446741986"), same},
		{"neither", with("duration", "", "lastSeen", ""), func(r *minecanary.Record) { r.End = r.Start }},
		{"the duration counts", with("lastSeen", "2025-07-02 07:59:01.986"), same},
		{"with a T", with("firstSeen", "2025-07-02T08:53:56.500"), same},
		{"with a zone", with("firstSeen", "2025-07-02T10:53:56.500+02:00"), same},
		{"nanoseconds", with("firstSeen", "2025-07-02 08:53:56.500000000"), same},
		{"no exporter", with("routerIP", "0.0.0.0"), func(r *minecanary.Record) { r.Sensor = "" }},
		{"an exporter that is no address", with("routerIP", "x\x1b[31m"), func(r *minecanary.Record) { r.Sensor = "" }},
		{"an exporter with a zone", with("routerIP", "fe80::1%\x1b"), func(r *minecanary.Record) { r.Sensor = "" }},
		{"both directions", with("outPackets", "28", "outBytes", "3497"), func(r *minecanary.Record) {
			r.RespPackets, r.RespBytes, r.RespPayload, r.RespFlags = 28, 3497, 3497-28*52, r.OrigFlags
		}},
		{"bytes below what headers need", with("bytes", "100"), func(r *minecanary.Record) { r.OrigBytes, r.OrigPayload = 100, 0 }},
		{"the most", with("packets", "9007199254740992", "bytes", "9007199254740992"), func(r *minecanary.Record) {
			r.OrigPackets, r.OrigBytes, r.OrigPayload = flows.MaxCounter, flows.MaxCounter, 0
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := flows.NewNfdump(nil)
			got := junk()
			if out := d.Decode([]byte(header), &got); out != skip(flows.ReasonHeader) {
				t.Fatalf("header: %+v", out)
			}
			if out := d.Decode([]byte(tt.line), &got); out != decoded {
				t.Fatalf("%+v: %s", out, tt.line)
			}
			if diff := cmp.Diff(rowRecord(tt.want), got, addrs); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNfdumpOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       consumer.Outcome
	}{
		{"nothing", "", skip("empty")},
		{"blanks", "  \r", skip("empty")},
		{"summary", "Summary", skip("summary")},
		{"its columns", "flows,bytes,packets,avg_bps,avg_pps,avg_bpp", skip("summary")},
		{"its numbers", "244,187220,1371,208,0,136", skip("summary")},
		{"five numbers", "244,187220,1371,208,0", bad("columns")},
		{"an empty number", "244,,1371,208,0,136", bad("columns")},
		{"six words", "a,b,c,d,e,f", bad("columns")},
		{"no flows", "No matching flows", skip("summary")},
		{"header again", header, skip("header")},
		{"header of statistics", "ts,te,td,pr,val,fl,flP,ipkt,ipktP,ibyt,ibytP,ipps,ibps,ibpp", bad("field")},
		{"header without bytes", strings.Replace(header, "bytes", "bits", 1), bad("header")},
		{"a column too many", with() + ",", bad("columns")},
		{"a column too few", with()[:strings.LastIndexByte(with(), ',')], bad("columns")},
		{"no address", with("srcAddr", ""), bad("address")},
		{"not an address", with("dstAddr", "pool.example"), bad("address")},
		{"quotes", with("dstAddr", `"203.0.113.15"`), bad("address")},
		{"address out of range", with("dstAddr", "203.0.113.256"), bad("address")},
		{"no protocol", with("proto", ""), bad("field")},
		{"protocol out of range", with("proto", "256"), bad("field")},
		{"port is a word", with("dstPort", "https"), bad("field")},
		{"port is missing", with("dstPort", ""), bad("field")},
		{"port is a fraction", with("dstPort", "8.5"), bad("field")},
		{"port out of range", with("dstPort", "65536"), bad("range")},
		{"port below zero", with("srcPort", "-1"), bad("range")},
		{"packets are scaled", with("packets", "1.2 M"), bad("field")},
		{"packets out of range", with("packets", "9007199254740993"), bad("range")},
		{"bytes beyond all", with("bytes", "99999999999999999999"), bad("range")},
		{"flags in another order", with("flags", "...PA..."), bad("field")},
		{"seven flags", with("flags", "......."), bad("field")},
		{"flags out of range", with("flags", "256"), bad("field")},
		{"no time", with("firstSeen", ""), bad("field")},
		{"nfdump's no time", with("firstSeen", "0000-00-00 00:00:00.000"), bad("field")},
		{"no such day", with("firstSeen", "2025-02-29 00:00:00"), bad("field")},
		{"a long date", with("firstSeen", "2025-07-02 08:53:56.500000000000000000000000"), bad("field")},
		{"before 1970", with("firstSeen", "-1"), bad("range")},
		{"after 2105", with("firstSeen", "4294967296.0"), bad("range")},
		{"a word for a duration", with("duration", "00:05:05"), bad("field")},
		{"negative duration", with("duration", "-1.000"), bad("range")},
		{"endless", with("duration", "9e99"), bad("range")},
		{"ends before it starts", with("duration", "", "lastSeen", "2025-07-02 08:53:56.499"), bad("range")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := flows.HeaderAfter(nil, []byte(header+"\n"))
			for range 2 {
				var rec minecanary.Record
				if out := flows.NewNfdump(h).Decode([]byte(tt.line), &rec); out != tt.want {
					t.Errorf("outcome %+v, want %+v: %s", out, tt.want, tt.line)
				}
			}
		})
	}
}

// TestNfdumpHeaders checks which columns count from where on.
func TestNfdumpHeaders(t *testing.T) {
	const chosen = "dstPort,srcPort,dstAddr,srcAddr,proto,bytes,packets,packets,firstSeen"
	broken := strings.Replace(header, "bytes", "bits", 1)
	d := flows.NewNfdump(nil)
	var rec minecanary.Record
	for _, step := range []struct {
		line string
		want consumer.Outcome
	}{
		{with(), bad("no_header")},
		{"244,187220,1371,208,0,136", skip("summary")},
		{header, skip("header")},
		{with(), decoded},
		{"\xEF\xBB\xBF" + chosen + "\r", skip("header")},
		{with(), bad("columns")},
		{"3333,47120,203.0.113.15,10.20.1.15,6,4388,31,77," + first, decoded},
		{broken, bad("header")},
		{with(), bad("no_header")},
		{header, skip("header")},
		{with(), decoded},
	} {
		if out := d.Decode([]byte(step.line), &rec); out != step.want {
			t.Fatalf("outcome %+v, want %+v: %s", out, step.want, step.line)
		}
		if step.want == decoded && (rec.OrigPackets != 31 || rec.OrigPort != 47120) {
			t.Fatalf("%+v of %s", rec, step.line)
		}
	}
	if many := "srcAddr,dstAddr" + strings.Repeat(",x", flows.MaxColumns-1); flows.IsHeader([]byte(many)) {
		t.Errorf("a header of more than %d columns", flows.MaxColumns)
	}
	if most := "srcAddr,dstAddr" + strings.Repeat(",x", flows.MaxColumns-2); !flows.IsHeader([]byte(most)) {
		t.Errorf("no header of %d columns", flows.MaxColumns)
	}
}

// TestHeaderAfter wants a reader that looks for headers alone to know what one knows that reads every line.
func TestHeaderAfter(t *testing.T) {
	pieces := []string{
		header, header + "\r", with(), "Summary", "244,187220,1371,208,0,136", "", "srcAddr", "sa,da,", "a,srcAddr,b",
		strings.Replace(header, "bytes", "bits", 1), "\xEF\xBB\xBF" + header, "ts,td,sa,da,sp,dp,pr,ipkt,ibyt", "srcAddr,dstAddr",
	}
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "lines")
		text := strings.Join(lines, "\n")
		if rapid.Bool().Draw(t, "ends in a newline") && len(lines) > 0 {
			text += "\n"
		}
		checkHeaders(t, []byte(text))
	})
}

// checkHeaders compares the header after all lines with that of a decoder that has read them.
func checkHeaders(t interface{ Fatalf(string, ...any) }, text []byte) {
	d := flows.NewNfdump(nil)
	var rec minecanary.Record
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		d.Decode(line, &rec)
	}
	if diff := cmp.Diff(d.Header(), flows.HeaderAfter(nil, text), cmp.AllowUnexported(flows.Header{})); diff != "" {
		t.Fatalf("header after %q (-Decode +HeaderAfter):\n%s", text, diff)
	}
}

// lastMilli is in the last year that dates are read of.
const lastMilli = 4291747199_000

// TestNfdumpAgainstCSV writes random flows by encoding/csv in columns of any order, and wants them back.
func TestNfdumpAgainstCSV(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type flow struct {
			start, duration                         int64 // milliseconds
			src, dst                                netip.Addr
			srcPort, dstPort                        uint16
			flags                                   uint8
			packets, ipBytes, outPackets, outIPByte uint64
		}
		addr := rapid.Custom(func(t *rapid.T) netip.Addr {
			b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
			if rapid.Bool().Draw(t, "IPv4") {
				b = b[:4]
			}
			a, _ := netip.AddrFromSlice(b)
			return a.Unmap()
		})
		counter := rapid.Uint64Range(0, flows.MaxCounter)
		f := flow{
			rapid.Int64Range(0, lastMilli).Draw(t, "start"), rapid.Int64Range(0, 999).Draw(t, "duration"),
			addr.Draw(t, "source"), addr.Draw(t, "destination"),
			rapid.Uint16().Draw(t, "source port"), rapid.Uint16().Draw(t, "destination port"), rapid.Uint8().Draw(t, "flags"),
			counter.Draw(t, "packets"), counter.Draw(t, "bytes"), counter.Draw(t, "packets back"), counter.Draw(t, "bytes back"),
		}
		letters := []byte("CEUAPRSF")
		for i := range letters {
			if f.flags>>(7-i)&1 == 0 {
				letters[i] = '.'
			}
		}
		values := map[string]string{
			"firstSeen": time.UnixMilli(f.start).UTC().Format("2006-01-02 15:04:05.000"),
			"duration":  fmt.Sprintf("%.3f", float64(f.duration)/1000),
			"proto":     "6", "srcAddr": f.src.String(), "dstAddr": f.dst.String(),
			"srcPort": strconv.Itoa(int(f.srcPort)), "dstPort": strconv.Itoa(int(f.dstPort)), "flags": string(letters),
			"packets": strconv.FormatUint(f.packets, 10), "bytes": strconv.FormatUint(f.ipBytes, 10),
			"outPackets": strconv.FormatUint(f.outPackets, 10), "outBytes": strconv.FormatUint(f.outIPByte, 10),
			"input": "7", "label": "a;b", "nextIP": "0.0.0.0",
		}
		names := make([]string, 0, len(values))
		for name := range values {
			names = append(names, name)
		}
		slices.Sort(names)
		names = rapid.Permutation(names).Draw(t, "columns")
		row := make([]string, len(names))
		for i, name := range names {
			row[i] = values[name]
		}
		var buf bytes.Buffer
		w := csv.NewWriter(&buf)
		if err := w.WriteAll([][]string{names, row}); err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(buf.Bytes(), []byte("\n"))
		d := flows.NewNfdump(nil)
		got := junk()
		if out := d.Decode(lines[0], &got); out != skip("header") {
			t.Fatalf("%+v: %s", out, lines[0])
		}
		if out := d.Decode(lines[1], &got); out != decoded {
			t.Fatalf("%+v: %s", out, lines[1])
		}
		back := flow{
			got.Start / 1000, (got.End - got.Start) / 1000, got.Orig, got.Resp, got.OrigPort, got.RespPort, uint8(got.OrigFlags),
			got.OrigPackets, got.OrigBytes, got.RespPackets, got.RespBytes,
		}
		if f != back {
			t.Fatalf("wrote %+v, read %+v", f, back)
		}
	})
}
