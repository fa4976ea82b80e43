package zeek_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
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
	"github.com/minecanary/minecanary/consumer/zeek"
)

var decoded = consumer.Outcome{Kind: consumer.Decoded}

func skip(reason string) consumer.Outcome {
	return consumer.Outcome{Kind: consumer.Skipped, Reason: reason}
}

func bad(reason string) consumer.Outcome { return consumer.Outcome{Kind: consumer.Bad, Reason: reason} }

// change gives the line with members set to other JSON values ("" takes them away), in a fixed order.
func change(t *testing.T, line string, changes ...string) string {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			delete(m, changes[i])
		} else {
			m[changes[i]] = json.RawMessage(changes[i+1])
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	connLine    = `{"ts":1751446436.5,"uid":"CN9Zc93QHFkOb2MTr9","id.orig_h":"10.20.1.15","id.orig_p":47120,"id.resp_h":"203.0.113.15","id.resp_p":3333,"proto":"tcp","service":"ssl","duration":7200.013000011444,"orig_bytes":49172,"resp_bytes":66740,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":705,"orig_ip_bytes":85840,"resp_pkts":666,"resp_ip_bytes":101380,"ip_proto":6}`
	interimLine = `{"ts":1751446451.1,"uid":"C7MwKA1QSEerQBC5W6","id.orig_h":"10.20.1.17","id.orig_p":46720,"id.resp_h":"198.51.100.17","id.resp_p":14444,"proto":"tcp","service":"stratum","duration":1008.7314531803131,"orig_bytes":539,"resp_bytes":3917,"orig_pkts":13,"orig_ip_bytes":1223,"resp_pkts":12,"resp_ip_bytes":4549,"history":"ShADad","local_orig":true,"local_resp":true,"partial":false,"seq":2,"final":false,"slice_start":1751447288.122701,"slice_end":1751447615.176809,"d_orig_bytes":0,"d_resp_bytes":768,"d_orig_pkts":2,"d_orig_ip_bytes":104,"d_resp_pkts":2,"d_resp_ip_bytes":872}`
)

const (
	fin = minecanary.FIN
	syn = minecanary.SYN
	rst = minecanary.RST
	psh = minecanary.PSH
	ack = minecanary.ACK
)

func connRecord() minecanary.Record {
	return minecanary.Record{
		Kind: minecanary.KindConn, Transport: minecanary.TCP,
		Orig: netip.MustParseAddr("10.20.1.15"), OrigPort: 47120, OrigLocal: minecanary.Local,
		Resp: netip.MustParseAddr("203.0.113.15"), RespPort: 3333, RespLocal: minecanary.Remote,
		Start: 1751446436_500_000, End: 1751446436_500_000 + 7200_013_000,
		OrigPackets: 705, OrigBytes: 85840, OrigPayload: 49172, OrigFlags: syn | ack | psh | fin,
		RespPackets: 666, RespBytes: 101380, RespPayload: 66740, RespFlags: syn | ack | psh | fin,
		FlagsKnown: true, Handshake: true, Services: minecanary.ServiceTLS, UID: minecanary.NewUID([]byte("CN9Zc93QHFkOb2MTr9")),
	}
}

func interimRecord() minecanary.Record {
	return minecanary.Record{
		Kind: minecanary.KindInterim, Transport: minecanary.TCP,
		Orig: netip.MustParseAddr("10.20.1.17"), OrigPort: 46720, OrigLocal: minecanary.Local,
		Resp: netip.MustParseAddr("198.51.100.17"), RespPort: 14444, RespLocal: minecanary.Local,
		Start: 1751447288_122_701, End: 1751447615_176_809,
		OrigPackets: 2, OrigBytes: 104, OrigFlags: ack,
		RespPackets: 2, RespBytes: 872, RespPayload: 768, RespFlags: ack | psh,
		FlagsKnown: true, Handshake: true, Services: minecanary.ServiceStratum, UID: minecanary.NewUID([]byte("C7MwKA1QSEerQBC5W6")),
	}
}

// noFlags takes everything away that history tells.
func noFlags(r *minecanary.Record) {
	r.FlagsKnown, r.Handshake, r.OrigFlags, r.RespFlags = false, false, 0, 0
}

func TestJSONRecords(t *testing.T) {
	type edit = func(r *minecanary.Record)
	for _, tc := range []struct {
		name    string
		line    string
		changes []string
		edit    edit
	}{
		{name: "as Zeek writes it", line: connLine},
		{name: "underscores", line: connLine, changes: []string{
			"id.orig_h", "", "id.orig_p", "", "id.resp_h", "", "id.resp_p", "",
			"id_orig_h", `"10.20.1.15"`, "id_orig_p", "47120", "id_resp_h", `"203.0.113.15"`, "id_resp_p", "3333",
		}},
		{name: "nested", line: connLine, changes: []string{
			"id.orig_h", "", "id.orig_p", "", "id.resp_h", "", "id.resp_p", "",
			"id", `{"orig_h":"10.20.1.15","orig_p":47120,"resp_h":"203.0.113.15","resp_p":3333,"ctx":{"vlan":5}}`,
		}},
		{name: "dots before underscores before nested", line: connLine, changes: []string{
			"id.resp_h", "", "id.resp_p", "null", "id_orig_h", `"1.1.1.1"`, "id_resp_h", `"203.0.113.15"`,
			"id", `{"orig_h":"2.2.2.2","orig_p":1,"resp_h":"2.2.2.2","resp_p":3333}`,
		}},
		{name: "context columns", line: connLine, changes: []string{"id.ctx.vlan", "5", "id.ctx.inner", `{"a":1}`}},
		{name: "unset fields as null", line: connLine, changes: []string{
			"tunnel_parents", "null", "interim_seq", "null", "_path", "null", "d_orig_pkts", "null", "seq", "null", "slice_end", "null",
		}},
		{name: "extension columns", line: connLine, changes: []string{
			"_path", `"conn"`, "_system_name", `"sensor1"`, "_write_ts", `"2023-11-14T22:13:25.100000Z"`, "_node", `"worker-02"`,
		}, edit: func(r *minecanary.Record) { r.Sensor = "sensor1" }},
		{name: "second filter", line: connLine, changes: []string{"_path", `"conn-2"`}},
		{name: "stream", line: connLine, changes: []string{"_stream", `"conn"`, "_path", `""`}},
		{name: "ISO time", line: connLine, changes: []string{"ts", `"2025-07-02T08:53:56.500000Z"`}},
		{
			name: "ISO time, zone, no fraction", line: connLine, changes: []string{"ts", `"2025-07-02T10:53:56+02:00"`},
			edit: func(r *minecanary.Record) { r.Start -= 500_000; r.End -= 500_000 },
		},
		{name: "milliseconds", line: connLine, changes: []string{"ts", `1751446436500`}},
		{name: "time in exponent form", line: connLine, changes: []string{"ts", `1.7514464365e+09`}},
		{
			name: "duration in exponent form", line: connLine, changes: []string{"duration", `9.5e-05`},
			edit: func(r *minecanary.Record) { r.End = r.Start + 95 },
		},
		{
			name: "duration is rounded half up", line: connLine, changes: []string{"duration", `0.0000015`},
			edit: func(r *minecanary.Record) { r.End = r.Start + 2 },
		},
		{
			name: "no duration, no payload", line: connLine, changes: []string{"duration", "", "orig_bytes", "", "resp_bytes", ""},
			edit: func(r *minecanary.Record) {
				r.End, r.OrigPayload, r.RespPayload = r.Start, 85840-705*40, 101380-666*40
			},
		},
		{
			name: "estimate is not negative", line: connLine, changes: []string{"orig_bytes", "", "orig_ip_bytes", "41"},
			edit: func(r *minecanary.Record) { r.OrigBytes, r.OrigPayload = 41, 0 },
		},
		{
			name: "payload counter wrapped", line: connLine, changes: []string{"orig_bytes", "18446744073709551615", "resp_bytes", "9007199254740993"},
			edit: func(r *minecanary.Record) { r.OrigPayload, r.RespPayload = 85840-705*40, 101380-666*40 },
		},
		{
			name: "largest counter", line: connLine, changes: []string{"orig_ip_bytes", "9007199254740992"},
			edit: func(r *minecanary.Record) { r.OrigBytes = zeek.MaxCounter },
		},
		{
			name: "IPv6", line: connLine, changes: []string{"id.orig_h", `"2001:db8::1"`, "id.resp_h", `"2001:DB8:0::2"`, "resp_bytes", ""},
			edit: func(r *minecanary.Record) {
				r.Orig, r.Resp = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
				r.RespPayload = 101380 - 666*60
			},
		},
		{
			name: "mapped address and zone", line: connLine, changes: []string{"id.orig_h", `"::ffff:10.20.1.15"`, "id.resp_h", `"fe80::1%eth0"`},
			edit: func(r *minecanary.Record) { r.Resp = netip.MustParseAddr("fe80::1") },
		},
		{name: "escaped texts", line: connLine, changes: []string{"uid", `"\u0043N9Zc93QHFkOb2MTr9"`, "proto", `"t\u0063p"`}},
		{
			name: "long uid is cut", line: connLine, changes: []string{"uid", `"C23456789012345678901234567890"`},
			edit: func(r *minecanary.Record) { r.UID = minecanary.NewUID([]byte("C2345678901234567890")) },
		},
		{name: "no uid", line: connLine, changes: []string{"uid", ""}, edit: func(r *minecanary.Record) { r.UID = minecanary.UID{} }},
		{name: "proto in capitals", line: connLine, changes: []string{"proto", `"TCP"`}},
		{
			name: "UDP has no flags", line: connLine, changes: []string{"proto", `"udp"`, "history", `"Dd"`, "ip_proto", "17"},
			edit: func(r *minecanary.Record) {
				noFlags(r)
				r.Transport = minecanary.UDP
			},
		},
		{
			name: "ICMP", line: connLine, changes: []string{"proto", `"icmp"`, "id.orig_p", "8", "id.resp_p", "0", "ip_proto", ""},
			edit: func(r *minecanary.Record) {
				noFlags(r)
				r.Transport = minecanary.ICMP
				r.OrigPort, r.RespPort = 8, 0
			},
		},
		{
			name: "ICMPv6", line: connLine, changes: []string{"proto", `"icmp"`, "id.orig_h", `"fe80::1"`, "id.resp_h", `"ff02::2"`},
			edit: func(r *minecanary.Record) {
				noFlags(r)
				r.Transport = minecanary.ICMPv6
				r.Orig, r.Resp = netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::2")
			},
		},
		{
			name: "unknown transport", line: connLine, changes: []string{"proto", `"unknown_transport"`, "ip_proto", "47"},
			edit: func(r *minecanary.Record) {
				noFlags(r)
				r.Transport = 47
			},
		},
		{
			name: "unknown transport before 7.1", line: connLine, changes: []string{"proto", `"unknown_transport"`, "ip_proto", ""},
			edit: func(r *minecanary.Record) {
				noFlags(r)
				r.Transport = 0
			},
		},
		{
			name: "no local nets", line: connLine, changes: []string{"local_orig", "", "local_resp", ""},
			edit: func(r *minecanary.Record) { r.OrigLocal, r.RespLocal = 0, 0 },
		},
		{
			name: "no service", line: connLine, changes: []string{"service", ""},
			edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceUnknown },
		},
		{
			name: "empty service", line: connLine, changes: []string{"service", `""`},
			edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceUnknown },
		},
		{
			name: "dropped analyzer only", line: connLine, changes: []string{"service", `"-ssl"`},
			edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceUnknown },
		},
		{
			name: "list of services", line: connLine, changes: []string{"service", `"http,-dns,stratum"`},
			edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceHTTP | minecanary.ServiceStratum },
		},
		{
			name: "array of services", line: connLine, changes: []string{"service", `["http","quic"]`},
			edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceHTTP | minecanary.ServiceOther },
		},
		{
			name: "other service", line: connLine, changes: []string{"service", `"quic"`},
			edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceOther },
		},
		{
			name: "no history", line: connLine, changes: []string{"history", ""},
			edit: noFlags,
		},
		{
			name: "empty history", line: connLine, changes: []string{"history", `""`},
			edit: noFlags,
		},
		{
			name: "history of a running connection", line: connLine, changes: []string{"history", `"DadA"`},
			edit: func(r *minecanary.Record) { r.Handshake, r.OrigFlags, r.RespFlags = false, ack|psh, ack|psh },
		},
		{
			name: "history of a scan", line: connLine, changes: []string{"history", `"Sr"`, "orig_bytes", "0", "resp_bytes", "0"},
			edit: func(r *minecanary.Record) {
				r.OrigFlags, r.RespFlags, r.OrigPayload, r.RespPayload = syn, rst, 0, 0
			},
		},
		{
			name: "history with all else", line: connLine, changes: []string{"history", `"^HcCgGtTwWxXnNIq"`, "orig_bytes", "0", "resp_bytes", "0"},
			edit: func(r *minecanary.Record) {
				r.Handshake = false
				r.OrigFlags, r.RespFlags, r.OrigPayload, r.RespPayload = syn|ack|fin, syn|fin, 0, 0
			},
		},
		{
			name: "payload means data segments", line: connLine, changes: []string{"history", `"Aa"`},
			edit: func(r *minecanary.Record) { r.Handshake, r.OrigFlags, r.RespFlags = false, ack|psh, ack|psh },
		},
		{
			name: "answer alone", changes: []string{"history", `"had"`}, line: connLine,
			edit: func(r *minecanary.Record) { r.OrigFlags, r.RespFlags = ack|psh, syn|ack|psh },
		},
		{
			name: "turned", changes: []string{"history", `"sHad"`}, line: connLine,
			edit: func(r *minecanary.Record) { r.Handshake, r.OrigFlags, r.RespFlags = false, syn|ack|psh, syn|ack|psh },
		},
		{
			name: "estimated payload does not", line: connLine, changes: []string{"history", `"Sh"`, "orig_bytes", "", "resp_bytes", ""},
			edit: func(r *minecanary.Record) {
				r.OrigFlags, r.RespFlags, r.OrigPayload, r.RespPayload = syn, syn|ack, 85840-705*40, 101380-666*40
			},
		},
		{name: "interim_seq", line: connLine, changes: []string{"interim_seq", "22"}, edit: func(r *minecanary.Record) { r.InterimSeq = 22 }},
		{name: "foreign columns of interim names", line: connLine, changes: []string{"seq", `"x"`, "final", "7"}},
		{name: "counts as floats", line: connLine, changes: []string{"orig_pkts", "705.0", "id.resp_p", "3.333e3"}},

		{name: "interim as Zeek writes it", line: interimLine},
		{name: "interim of a second filter", line: interimLine, changes: []string{"_path", `"conn_interim-2"`}},
		{name: "interim without the cumulative columns", line: interimLine, changes: []string{
			"ts", "", "duration", "", "orig_pkts", "", "orig_ip_bytes", "", "resp_pkts", "", "resp_ip_bytes", "", "history", "",
		}, edit: func(r *minecanary.Record) { r.Handshake = false }},
		{
			name: "interim, first of its connection", line: interimLine, changes: []string{"history", "", "d_history", `"ShA"`},
			edit: func(r *minecanary.Record) { r.OrigFlags, r.RespFlags = syn|ack, syn|ack|psh },
		},
		{
			name: "interim, new letters", line: interimLine, changes: []string{"d_history", `"Fr"`, "final", "true"},
			edit: func(r *minecanary.Record) { r.OrigFlags, r.RespFlags, r.Final = ack|fin, ack|psh|rst, true },
		},
		{
			name: "interim, idle direction", line: interimLine, changes: []string{"d_orig_pkts", "0", "d_orig_ip_bytes", "0"},
			edit: func(r *minecanary.Record) { r.OrigFlags, r.OrigPackets, r.OrigBytes = 0, 0, 0 },
		},
		{
			name: "interim without payload counters", line: interimLine, changes: []string{"d_orig_bytes", "", "d_resp_bytes", ""},
			edit: func(r *minecanary.Record) {
				r.OrigPayload, r.RespPayload, r.RespFlags = 104-80, 872-80, ack
			},
		},
		{name: "interim in ISO times", line: interimLine, changes: []string{
			"slice_start", `"2025-07-02T09:08:08.122701Z"`, "slice_end", `"2025-07-02T09:13:35.176809Z"`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := connRecord()
			if tc.line == interimLine {
				want = interimRecord()
			}
			if tc.edit != nil {
				tc.edit(&want)
			}
			line := change(t, tc.line, tc.changes...)
			d := zeek.NewJSON()
			for _, line := range []string{line, line, "\xEF\xBB\xBF" + line + "\r"} {
				got := minecanary.Record{Kind: 9, Final: true, InterimSeq: 9, Sensor: "old", UID: minecanary.UID{1}, OrigFlags: 255}
				if out := d.Decode([]byte(line), &got); out != decoded {
					t.Fatalf("outcome %+v: %s", out, line)
				}
				if diff := cmp.Diff(want, got, addrs); diff != "" {
					t.Errorf("record (-want +got):\n%s\n%s", diff, line)
				}
			}
		})
	}
}

func TestJSONOutcomes(t *testing.T) {
	conn := func(changes ...string) string { return change(t, connLine, changes...) }
	interim := func(changes ...string) string { return change(t, interimLine, changes...) }
	for _, tc := range []struct {
		name, line string
		want       consumer.Outcome
	}{
		{"empty", ``, skip("empty")},
		{"blank", " \t\r", skip("empty")},
		{"comment", `#separator \x09`, bad("json")},
		{"no JSON", `ts=1`, bad("json")},
		{"half a line", connLine[:200], bad("json")},
		{"array", `[` + connLine + `]`, bad("json")},
		{"null", `null`, bad("json")},
		{"two objects", connLine + connLine, bad("json")},
		{"deep", `{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, bad("depth")},
		{"empty object", `{}`, bad("unknown")},
		{"EVE", `{"timestamp":"2025-07-02T10:53:56.513500+0000","flow_id":1,"event_type":"flow","proto":"TCP"}`, bad("unknown")},

		{"ssl by name", `{"_path":"ssl","ts":1,"uid":"C"}`, skip("no_name")},
		{"ssl by shape", `{"ts":1,"uid":"C","resumed":false,"established":true}`, skip("no_name")},
		{"dns by name", `{"_path":"dns-2","ts":1}`, skip("no_address")},
		{"dns by shape", `{"ts":1,"uid":"C","proto":"udp","trans_id":7,"rejected":false}`, skip("no_address")},
		{"mining by name", `{"_path":"mining"}`, skip("mining")},
		{"mining by shape", `{"ts":1,"uid":"C","seen":"client","turned":false}`, bad("field")},
		{"conn_long by name", conn("_path", `"conn_long"`), decoded},
		{"stats", `{"ts":1,"peer":"zeek","mem":5}`, skip("other_log")},
		{"http by name", `{"_path":"http","ts":"x","id.orig_h":5}`, skip("other_log")},
		{"wrong types of other logs", `{"ts":1,"uid":5,"service":["HTTP"],"duration":"x","history":7}`, skip("other_log")},
		{"conn as to its columns, not as to its name", conn("_path", `"connections"`), skip("other_log")},
		{"name is no text", conn("_path", `7`), decoded},
		{"conn by name alone", `{"_path":"conn"}`, bad("field")},
		{"interim by name alone", `{"_path":"conn_interim"}`, bad("field")},

		{"no ts", conn("ts", ""), bad("field")},
		{"ts null", conn("ts", "null"), bad("field")},
		{"ts no time", conn("ts", `"yesterday"`), bad("field")},
		{"ts as text", conn("ts", `"1751446436.5"`), bad("field")},
		{"ts of a wrong type", conn("ts", `true`), bad("field")},
		{"no originator", conn("id.orig_h", ""), bad("field")},
		{"no originator port", conn("id.orig_p", ""), bad("field")},
		{"no responder", conn("id.resp_h", ""), bad("field")},
		{"no responder port", conn("id.resp_p", ""), bad("field")},
		{"no proto", conn("proto", ""), bad("field")},
		{"empty proto", conn("proto", `""`), bad("field")},
		{"proto is no text", conn("proto", `6`), bad("field")},
		{"address is no text", conn("id.resp_h", `1`), bad("field")},
		{"port is no number", conn("id.resp_p", `"3333"`), bad("field")},
		{"port is not whole", conn("id.resp_p", `1.5`), bad("field")},
		{"counter is no number", conn("resp_pkts", `"1"`), bad("field")},
		{"counter is not whole", conn("resp_pkts", `1.5`), bad("field")},
		{"duration is no number", conn("duration", `"1"`), bad("field")},
		{"local is no boolean", conn("local_orig", `"T"`), bad("field")},
		{"history is no text", conn("history", `[]`), bad("field")},
		{"services are no texts", conn("service", `[1]`), bad("field")},

		{"originator is no address", conn("id.orig_h", `"host"`), bad("address")},
		{"responder is no address", conn("id.resp_h", `"203.0.113.256"`), bad("address")},
		{"empty address", conn("id.resp_h", `""`), bad("address")},

		{"negative ts", conn("ts", `-1`), bad("range")},
		{"ts before 1970", conn("ts", `"1969-12-31T23:59:59Z"`), bad("range")},
		{"ts too large", conn("ts", `4294967296`), bad("range")},
		{"ts too large in milliseconds", conn("ts", `4294967296000`), bad("range")},
		{"ts too large to be held", conn("ts", `1e300`), bad("range")},
		{"end too large", conn("ts", `4294967295`, "duration", "1"), bad("range")},
		{"negative duration", conn("duration", `-0.5`), bad("range")},
		{"duration too large", conn("duration", `1e12`), bad("range")},
		{"duration too large to be held", conn("duration", `1e300`), bad("range")},
		{"ts and duration too large together", conn("ts", `9223372036854`, "duration", "9223372036854"), bad("range")},
		{"negative counter", conn("resp_pkts", `-1`), bad("range")},
		{"counter too large", conn("resp_pkts", `9007199254740993`), bad("range")},
		{"counter too large to be held", conn("resp_pkts", `18446744073709551615`), bad("range")},
		{"negative payload", conn("orig_bytes", `-1`), bad("range")},
		{"port too large", conn("id.orig_p", `65536`), bad("range")},
		{"negative port", conn("id.orig_p", `-1`), bad("range")},
		{"protocol number too large", conn("ip_proto", `256`), bad("range")},
		{"interim_seq too large", conn("interim_seq", `4294967296`), bad("range")},
		{"interim ends before it starts", interim("slice_end", `1751447288.1227`), bad("range")},

		{"last second", conn("ts", `4294967295`, "duration", "0.999999"), decoded},
		{"1970", conn("ts", `0`), decoded},

		{"no counters", conn("orig_pkts", "", "orig_ip_bytes", "", "resp_pkts", "", "resp_ip_bytes", ""), skip("no_counters")},
		{"one counter is missing", conn("resp_ip_bytes", "null"), skip("no_counters")},
		{"no counters of the interim", interim("d_resp_pkts", ""), skip("no_counters")},
		{"interim without its start", interim("slice_start", ""), bad("field")},
		{"interim with a text for its number", interim("seq", `"2"`), bad("field")},
		{"interim with a number for final", interim("final", `1`), bad("field")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := zeek.NewJSON()
			var rec minecanary.Record
			// The second time the keys are known, the third time others were read in between.
			for _, line := range []string{tc.line, tc.line, connLine, interimLine, tc.line} {
				if out := d.Decode([]byte(line), &rec); line == tc.line && out != tc.want {
					t.Errorf("outcome %+v, want %+v: %s", out, tc.want, line)
				}
			}
		})
	}
}

// TestKeepsNothing checks that a record does not change when the line's memory is used again.
func TestKeepsNothing(t *testing.T) {
	line := []byte(change(t, connLine, "_system_name", `"sensor1"`))
	_, tsv := traffic(1)
	for _, tc := range []struct {
		name string
		d    decoder
		line []byte
	}{{"JSON", zeek.NewJSON(), line}, {"TSV", headed(t), tsv[0]}} {
		t.Run(tc.name, func(t *testing.T) {
			var rec minecanary.Record
			if out := tc.d.Decode(tc.line, &rec); out != decoded {
				t.Fatalf("outcome %+v", out)
			}
			was := rec
			for i := range tc.line {
				tc.line[i] = 'x'
			}
			tc.d.Decode(tc.line, new(minecanary.Record))
			if diff := cmp.Diff(was, rec, addrs); diff != "" {
				t.Errorf("record changed:\n%s", diff)
			}
		})
	}
}

// TestNoAllocations checks that ordinary lines do not allocate.
func TestNoAllocations(t *testing.T) {
	asJSON, asTSV := traffic(64)
	odd := [][]byte{
		[]byte(interimLine),
		[]byte(change(t, connLine, "ts", `"2023-11-14T22:13:20.000000Z"`, "_system_name", `"s1"`, "_path", `"conn"`)),
		[]byte(change(t, connLine, "duration", `9.5e-05`, "id", `{"ctx":1}`, "community_id", "null", "tunnel_parents", `["a"]`)),
		[]byte(`{"_path":"ssl","ts":1751446436.5,"uid":"C","cert_chain_fps":["a","b"]}`),
	}
	for _, tc := range []struct {
		name  string
		d     decoder
		lines [][]byte
	}{{"JSON", zeek.NewJSON(), asJSON}, {"JSON beside conn", zeek.NewJSON(), odd}, {"TSV", headed(t), asTSV}} {
		t.Run(tc.name, func(t *testing.T) {
			var rec minecanary.Record
			n := 0
			if got := testing.AllocsPerRun(1000, func() {
				if out := tc.d.Decode(tc.lines[n%len(tc.lines)], &rec); out.Kind == consumer.Bad {
					t.Fatalf("outcome %+v: %s", out, tc.lines[n%len(tc.lines)])
				}
				n++
			}); got != 0 {
				t.Errorf("%v allocations per record, want 0", got)
			}
		})
	}
}

// TestTrafficAgrees checks that JSON and TSV lines of one connection give one record.
func TestTrafficAgrees(t *testing.T) {
	asJSON, asTSV := traffic(2000)
	fromJSON, fromTSV := zeek.NewJSON(), headed(t)
	for n := range asJSON {
		var a, b minecanary.Record
		if out := fromJSON.Decode(asJSON[n], &a); out != decoded {
			t.Fatalf("outcome %+v: %s", out, asJSON[n])
		}
		if out := fromTSV.Decode(asTSV[n], &b); out != decoded {
			t.Fatalf("outcome %+v: %s", out, asTSV[n])
		}
		// The generator draws ports twice, and JSON has more digits.
		b.OrigPort, b.RespPort = a.OrigPort, a.RespPort
		if d := a.End - b.End; d < -1 || d > 1 {
			t.Errorf("ends %d and %d", a.End, b.End)
		}
		b.End = a.End
		if diff := cmp.Diff(a, b, addrs); diff != "" {
			t.Fatalf("records differ (-JSON +TSV):\n%s\n%s\n%s", diff, asJSON[n], asTSV[n])
		}
	}
}

// drawRecord draws a record a line of Zeek can express.
func drawRecord(t *rapid.T) minecanary.Record {
	addr := rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "v4") {
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
		}
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))).Unmap()
	})
	count := rapid.OneOf(rapid.Uint64Max(99), rapid.Uint64Max(zeek.MaxCounter))
	micros := rapid.Int64Range(0, 1<<32*1_000_000-1)
	a, b := micros.Draw(t, "time"), micros.Draw(t, "time")
	return minecanary.Record{
		Kind:      rapid.SampledFrom([]minecanary.Kind{minecanary.KindConn, minecanary.KindInterim}).Draw(t, "kind"),
		Transport: rapid.SampledFrom([]minecanary.Transport{minecanary.TCP, minecanary.UDP}).Draw(t, "transport"),
		Orig:      addr.Draw(t, "orig"), Resp: addr.Draw(t, "resp"),
		OrigPort: rapid.Uint16().Draw(t, "port"), RespPort: rapid.Uint16().Draw(t, "port"),
		OrigLocal: minecanary.Locality(rapid.IntRange(0, 2).Draw(t, "local")),
		RespLocal: minecanary.Locality(rapid.IntRange(0, 2).Draw(t, "local")),
		Start:     min(a, b), End: max(a, b),
		OrigPackets: count.Draw(t, "count"), RespPackets: count.Draw(t, "count"),
		OrigBytes: count.Draw(t, "count"), RespBytes: count.Draw(t, "count"),
		OrigPayload: count.Draw(t, "count"), RespPayload: count.Draw(t, "count"),
		Services: rapid.SampledFrom([]minecanary.Services{
			minecanary.ServiceUnknown, minecanary.ServiceTLS, minecanary.ServiceHTTP | minecanary.ServiceStratum, minecanary.ServiceOther,
		}).Draw(t, "services"),
		UID:    minecanary.NewUID([]byte(rapid.StringMatching(`C[0-9a-zA-Z]{16,17}`).Draw(t, "uid"))),
		Sensor: rapid.SampledFrom([]string{"", "sensor-1", "Fühler"}).Draw(t, "sensor"),
	}
}

// member is a column with its JSON value.
type member struct{ key, value string }

// render writes a record as Zeek would, and sets the record's flags to what the line's history and payload mean.
func render(t *rapid.T, r *minecanary.Record, at func(micros int64) string) (list []member) {
	add := func(key string, value any) {
		if s, ok := value.(string); ok {
			b, _ := json.Marshal(s)
			value = string(b)
		}
		list = append(list, member{key, fmt.Sprint(value)})
	}
	number := func(key string, value uint64) { add(key, value) }
	prefix, history := "", "history"
	letters := map[byte]minecanary.TCPFlags{'S': syn, 'H': syn | ack, 'A': ack, 'D': ack | psh, 'F': fin, 'R': rst, 'Q': syn | fin, '^': 0, 'T': 0}
	if r.Kind == minecanary.KindInterim {
		prefix, history = "d_", "d_history"
		r.Final = rapid.Bool().Draw(t, "final")
		list = append(list, member{"slice_start", at(r.Start)}, member{"slice_end", at(r.End)}, member{"final", strconv.FormatBool(r.Final)})
		number("seq", uint64(rapid.Uint32().Draw(t, "seq")))
	} else {
		list = append(list, member{"ts", at(r.Start)})
		d := r.End - r.Start
		list = append(list, member{"duration", fmt.Sprintf("%d.%06d", d/1_000_000, d%1_000_000)})
		r.InterimSeq = rapid.SampledFrom([]uint32{0, 1, 1<<32 - 1}).Draw(t, "interim_seq")
		number("interim_seq", uint64(r.InterimSeq))
		add("conn_state", "SF")
	}
	text := rapid.StringOf(rapid.SampledFrom([]rune("ShHAaDdFfRrQq^T"))).Draw(t, "history")
	r.FlagsKnown = r.Transport == minecanary.TCP && (text != "" || r.Kind == minecanary.KindInterim)
	if text != "" {
		add(history, text)
	}
	whole := text
	if r.Kind == minecanary.KindInterim && rapid.Bool().Draw(t, "whole") {
		whole += rapid.SampledFrom([]string{"ShAD", "DadA"}).Draw(t, "history before")
		add("history", whole)
	}
	r.Handshake = r.FlagsKnown && strings.ContainsAny(whole, "Sh")
	if r.FlagsKnown {
		for _, c := range []byte(text) {
			if f, ok := letters[c]; ok {
				r.OrigFlags |= f
			} else {
				r.RespFlags |= letters[c-0x20]
			}
		}
		for _, dir := range []struct {
			flags            *minecanary.TCPFlags
			packets, payload uint64
		}{{&r.OrigFlags, r.OrigPackets, r.OrigPayload}, {&r.RespFlags, r.RespPackets, r.RespPayload}} {
			if dir.packets > 0 && r.Kind == minecanary.KindInterim {
				*dir.flags |= ack
			}
			if dir.packets > 0 && dir.payload > 0 {
				*dir.flags |= ack | psh
			}
		}
	}
	add("uid", r.UID.String())
	add("proto", r.Transport.String())
	for _, l := range []struct {
		key string
		v   minecanary.Locality
	}{{"local_orig", r.OrigLocal}, {"local_resp", r.RespLocal}} {
		if l.v != minecanary.LocalityUnknown {
			add(l.key, l.v == minecanary.Local)
		}
	}
	switch r.Services {
	case minecanary.ServiceTLS:
		add("service", "ssl")
	case minecanary.ServiceHTTP | minecanary.ServiceStratum:
		add("service", "stratum,http")
	case minecanary.ServiceOther:
		add("service", "ssh")
	}
	if r.Sensor != "" {
		add("_system_name", r.Sensor)
	}
	for _, c := range []struct {
		key string
		v   uint64
	}{
		{"orig_pkts", r.OrigPackets},
		{"orig_ip_bytes", r.OrigBytes},
		{"orig_bytes", r.OrigPayload},
		{"resp_pkts", r.RespPackets},
		{"resp_ip_bytes", r.RespBytes},
		{"resp_bytes", r.RespPayload},
	} {
		number(prefix+c.key, c.v)
	}
	return list
}

// TestSpellings draws records, writes them in all spellings, and expects them back.
func TestSpellings(t *testing.T) {
	d := zeek.NewJSON()
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecord(t)
		form := rapid.IntRange(0, 3).Draw(t, "time form")
		if form == 3 {
			want.Start -= want.Start % 1000
			if want.Kind == minecanary.KindInterim {
				want.End -= want.End % 1000
			}
			// Below 10^11 a number means seconds.
			if want.Start < 1e14 {
				form = 0
			}
		}
		list := render(t, &want, func(micros int64) string {
			switch form {
			case 1:
				return time.UnixMicro(micros).UTC().Format(`"2006-01-02T15:04:05.000000Z"`)
			case 2:
				return time.UnixMicro(micros).In(time.FixedZone("", -5400)).Format(`"2006-01-02T15:04:05.999999Z07:00"`)
			case 3:
				return strconv.FormatInt(micros/1000, 10)
			}
			return fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000)
		})
		id := []member{
			{"orig_h", strconv.Quote(want.Orig.String())},
			{"orig_p", port(want.OrigPort)},
			{"resp_h", strconv.Quote(want.Resp.String())},
			{"resp_p", port(want.RespPort)},
		}
		space := rapid.SampledFrom([]string{"", "", " "}).Draw(t, "space")
		switch rapid.SampledFrom([]string{".", "_", "{}"}).Draw(t, "spelling") {
		case ".":
			for _, m := range id {
				list = append(list, member{"id." + m.key, m.value})
			}
		case "_":
			for _, m := range id {
				list = append(list, member{"id_" + m.key, m.value})
			}
		default:
			list = append(list, member{"id", object(id, space)})
		}
		list = append(list, member{"vlan", "5"}, member{"tunnel_parents", `["C1"]`}, member{"community_id", "null"})
		if rapid.Bool().Draw(t, "in order") {
			list = rapid.Permutation(list).Draw(t, "order")
		}
		line := object(list, space)
		var got minecanary.Record
		if out := d.Decode([]byte(line), &got); out != decoded {
			t.Fatalf("outcome %+v: %s", out, line)
		}
		if diff := cmp.Diff(want, got, addrs); diff != "" {
			t.Fatalf("record (-want +got):\n%s\n%s", diff, line)
		}
	})
}

func object(list []member, space string) string {
	var parts []string
	for _, m := range list {
		parts = append(parts, strconv.Quote(m.key)+":"+space+m.value)
	}
	return "{" + strings.Join(parts, ","+space) + "}"
}

// TestMixedLogs checks that a stream of several logs, in any order, gives the same as each line alone.
func TestMixedLogs(t *testing.T) {
	asJSON, _ := traffic(200)
	pool := slices.Concat(asJSON, [][]byte{
		[]byte(interimLine), []byte(`{"ts":1,"uid":"C","resumed":false,"established":true}`), []byte(`{"ts":1,"peer":"x"}`),
		[]byte(`{"_path":"dns","ts":1751446436.5,"query":"a\"b"}`), []byte(connLine[:100]), []byte(`{}`), nil,
	})
	d, r := zeek.NewJSON(), rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		line := pool[r.IntN(len(pool))]
		var got, want minecanary.Record
		out, wantOut := d.Decode(line, &got), zeek.NewJSON().Decode(line, &want)
		if out != wantOut || out == decoded && got != want {
			t.Fatalf("%+v %+v, alone %+v %+v: %s", out, got, wantOut, want, line)
		}
	}
}
