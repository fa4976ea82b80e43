package eve_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/eve"
)

var decoded = consumer.Outcome{Kind: consumer.Decoded}

func skip(reason string) consumer.Outcome {
	return consumer.Outcome{Kind: consumer.Skipped, Reason: reason}
}

func bad(reason string) consumer.Outcome { return consumer.Outcome{Kind: consumer.Bad, Reason: reason} }

const flowLine = `{"timestamp":"2025-07-02T10:53:56.513500+0000","flow_id":1303060119387842,"in_iface":"eth0","event_type":"flow","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333,"proto":"TCP","app_proto":"failed","flow":{"pkts_toserver":705,"pkts_toclient":666,"bytes_toserver":95710,"bytes_toclient":110704,"start":"2025-07-02T08:53:56.500000+0000","end":"2025-07-02T10:53:56.513500+0000","age":7200,"state":"closed","reason":"shutdown","alerted":false},"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1a","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed","ts_max_regions":1,"tc_max_regions":1}}`

func flowRecord() minecanary.Record {
	return minecanary.Record{
		Transport: minecanary.TCP,
		Orig:      netip.MustParseAddr("10.20.1.15"), OrigPort: 47120,
		Resp: netip.MustParseAddr("203.0.113.15"), RespPort: 3333,
		Start: 1751446436_500_000, End: 1751453636_513_500,
		OrigPackets: 705, OrigBytes: 85840, OrigPayload: 49180, OrigFlags: 0x1b,
		RespPackets: 666, RespBytes: 101380, RespPayload: 66748, RespFlags: 0x1a,
		FlagsKnown: true, Handshake: true, Services: minecanary.ServiceUnknown, UID: minecanary.NewUID([]byte("1303060119387842")),
	}
}

// change gives the line with members set to other JSON values ("" takes them away); "flow.end" is a member of flow.
func change(t *testing.T, line string, changes ...string) string {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		key, value := changes[i], changes[i+1]
		outer, inner, nested := strings.Cut(key, ".")
		switch {
		case nested:
			m[outer] = json.RawMessage(change(t, string(m[outer]), inner, value))
		case value == "":
			delete(m, key)
		default:
			m[key] = json.RawMessage(value)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		line = string(b)
	}
	return line
}

func TestRecords(t *testing.T) {
	type edit = func(r *minecanary.Record)
	noFlags := func(r *minecanary.Record) { r.FlagsKnown, r.Handshake, r.OrigFlags, r.RespFlags = false, false, 0, 0 }
	for _, tc := range []struct {
		name    string
		changes []string
		edit    edit
	}{
		{name: "as Suricata writes it"},
		{name: "one VLAN tag", changes: []string{"vlan", "[100]"}, edit: func(r *minecanary.Record) {
			r.OrigBytes, r.RespBytes = 95710-705*18, 110704-666*18
			r.OrigPayload, r.RespPayload = r.OrigBytes-705*52, r.RespBytes-666*52
		}},
		{name: "two VLAN tags", changes: []string{"vlan", "[100, 7]"}, edit: func(r *minecanary.Record) {
			r.OrigBytes, r.RespBytes = 95710-705*22, 110704-666*22
			r.OrigPayload, r.RespPayload = r.OrigBytes-705*52, r.RespBytes-666*52
		}},
		{name: "more VLAN tags than there are", changes: []string{"vlan", "[1,2,3,4,5,6]"}, edit: func(r *minecanary.Record) {
			r.OrigBytes, r.RespBytes = 95710-705*26, 110704-666*26
			r.OrigPayload, r.RespPayload = r.OrigBytes-705*52, r.RespBytes-666*52
		}},
		{name: "VLAN tag of Suricata 4", changes: []string{"vlan", "100"}, edit: func(r *minecanary.Record) {
			r.OrigBytes, r.RespBytes = 95710-705*18, 110704-666*18
			r.OrigPayload, r.RespPayload = r.OrigBytes-705*52, r.RespBytes-666*52
		}},
		{name: "no VLAN tag", changes: []string{"vlan", "[ ]"}},
		{name: "smallest frames", changes: []string{"flow.bytes_toserver", "23970", "flow.bytes_toclient", "22644"}, edit: func(r *minecanary.Record) {
			// 34 bytes a packet: an Ethernet header and an IP header.
			r.OrigBytes, r.RespBytes, r.OrigPayload, r.RespPayload = 705*20, 666*20, 0, 0
		}},
		{name: "no link header", changes: []string{"flow.bytes_toserver", "15000", "flow.bytes_toclient", "100"}, edit: func(r *minecanary.Record) {
			r.OrigBytes, r.RespBytes, r.OrigPayload, r.RespPayload = 705*20, 100, 0, 0
		}},
		{name: "IPv6", changes: []string{"src_ip", `"2001:0db8:0000:0000:0000:0000:0000:0001"`, "dest_ip", `"fe80::2"`}, edit: func(r *minecanary.Record) {
			r.Orig, r.Resp = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::2")
			r.OrigPayload, r.RespPayload = 85840-705*72, 101380-666*72
		}},
		{name: "mapped address", changes: []string{"src_ip", `"::ffff:10.20.1.15"`}},
		{name: "no flags", changes: []string{"tcp.tcp_flags_ts", `"00"`, "tcp.tcp_flags_tc", `"00"`}, edit: noFlags},
		{name: "no TCP session", changes: []string{"tcp", ""}, edit: noFlags},
		{name: "no flags in the session", changes: []string{"tcp", "{}"}, edit: noFlags},
		{name: "session is no object", changes: []string{"tcp", "true"}, edit: noFlags},
		{name: "flags of one direction", changes: []string{"tcp.tcp_flags_tc", ""}, edit: func(r *minecanary.Record) { r.RespFlags = 0 }},
		{name: "midstream", changes: []string{"tcp.tcp_flags_ts", `"18"`, "tcp.tcp_flags_tc", `"18"`}, edit: func(r *minecanary.Record) {
			r.Handshake, r.OrigFlags, r.RespFlags = false, 0x18, 0x18
		}},
		{name: "all flags", changes: []string{"tcp.tcp_flags_ts", `"FF"`}, edit: func(r *minecanary.Record) { r.OrigFlags = 0xff }},
		{name: "UDP", changes: []string{"proto", `"UDP"`, "tcp", ""}, edit: func(r *minecanary.Record) { noFlags(r); r.Transport = minecanary.UDP }},
		{name: "UDP with flags", changes: []string{"proto", `"udp"`}, edit: func(r *minecanary.Record) { noFlags(r); r.Transport = minecanary.UDP }},
		{name: "ICMP", changes: []string{"proto", `"ICMP"`, "tcp", "", "src_port", "", "dest_port", "", "icmp_type", "8"}, edit: func(r *minecanary.Record) {
			noFlags(r)
			r.Transport, r.OrigPort, r.RespPort = minecanary.ICMP, 0, 0
		}},
		{name: "ICMPv6", changes: []string{"proto", `"IPv6-ICMP"`}, edit: func(r *minecanary.Record) { noFlags(r); r.Transport = minecanary.ICMPv6 }},
		{name: "protocol without a name", changes: []string{"proto", `"047"`}, edit: func(r *minecanary.Record) { noFlags(r); r.Transport = 47 }},
		{name: "protocol with another name", changes: []string{"proto", `"SCTP"`}, edit: func(r *minecanary.Record) { noFlags(r); r.Transport = 0 }},
		{name: "TLS", changes: []string{"app_proto", `"tls"`}, edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceTLS }},
		{name: "HTTP", changes: []string{"app_proto", `"http"`}, edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceHTTP }},
		{name: "HTTP/2", changes: []string{"app_proto", `"http2"`}, edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceHTTP }},
		{name: "SSH", changes: []string{"app_proto", `"ssh"`}, edit: func(r *minecanary.Record) { r.Services = minecanary.ServiceOther }},
		{name: "app_proto unknown", changes: []string{"app_proto", `"unknown"`}},
		{name: "no app_proto", changes: []string{"app_proto", ""}},
		{name: "app_proto null", changes: []string{"app_proto", "null"}},
		{name: "sensor", changes: []string{"host", `"sensor1"`}, edit: func(r *minecanary.Record) { r.Sensor = "sensor1" }},
		{name: "sensor of a shipper", changes: []string{"host", `{"name":"s1"}`}},
		{name: "no flow_id", changes: []string{"flow_id", ""}, edit: func(r *minecanary.Record) { r.UID = minecanary.UID{} }},
		{name: "flow_id as text", changes: []string{"flow_id", `"1303060119387842"`}},
		{name: "largest flow_id", changes: []string{"flow_id", `18446744073709551615`}, edit: func(r *minecanary.Record) { r.UID = minecanary.NewUID([]byte("18446744073709551615")) }},
		{name: "time zone", changes: []string{"flow.start", `"2025-07-02T10:53:56.5+0200"`, "flow.end", `"2025-07-02T09:53:56.513500-01:00"`}},
		{name: "escapes", changes: []string{"event_type", `"\u0066low"`, "src_ip", `"10.20\u002e1.15"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := flowRecord()
			if tc.edit != nil {
				tc.edit(&want)
			}
			line := change(t, flowLine, tc.changes...)
			d := eve.New(eve.Config{})
			for _, line := range []string{line, line, "\xEF\xBB\xBF" + line + "\r"} {
				got := minecanary.Record{Kind: 9, Final: true, InterimSeq: 9, Sensor: "old", UID: minecanary.UID{1}, OrigFlags: 255, OrigLocal: 2}
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

func TestOutcomes(t *testing.T) {
	flow := func(changes ...string) string { return change(t, flowLine, changes...) }
	for _, tc := range []struct {
		name, line string
		want       consumer.Outcome
	}{
		{"empty", ``, skip("empty")},
		{"blank", " \r", skip("empty")},
		{"no JSON", `flow`, bad("json")},
		{"half a line", flowLine[:300], bad("json")},
		{"array", `[` + flowLine + `]`, bad("json")},
		{"deep", `{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, bad("depth")},
		{"Zeek", `{"ts":1,"uid":"C","id.orig_h":"1.2.3.4"}`, bad("unknown")},
		{"event_type null", `{"event_type":null}`, bad("unknown")},
		{"event_type is no text", `{"event_type":1}`, bad("field")},
		{"alert", `{"event_type":"alert","flow":{"start":"x"},"alert":{"signature":"a\"b"}}`, skip("alert")},
		{"dns", `{"event_type":"dns"}`, skip("dns")},
		{"tls", `{"event_type":"tls"}`, skip("no_name")},
		{"http", `{"event_type":"http"}`, skip("http")},
		{"netflow", `{"event_type":"netflow"}`, bad("field")},
		{"stats", `{"event_type":"stats","stats":{"uptime":1}}`, skip("stats")},
		{"fileinfo", `{"event_type":"fileinfo"}`, skip("other_event")},
		{"empty event_type", `{"event_type":""}`, skip("other_event")},

		{"no flow", flow("flow", ""), bad("field")},
		{"flow is no object", flow("flow", "[]"), bad("field")},
		{"no start", flow("flow.start", ""), bad("field")},
		{"no end", flow("flow.end", "null"), bad("field")},
		{"start is no time", flow("flow.start", `"now"`), bad("field")},
		{"no packets", flow("flow.pkts_toclient", ""), bad("field")},
		{"packets are no number", flow("flow.pkts_toclient", `"1"`), bad("field")},
		{"bytes are not whole", flow("flow.bytes_toclient", `1.5`), bad("field")},
		{"no source", flow("src_ip", ""), bad("field")},
		{"no destination", flow("dest_ip", ""), bad("field")},
		{"no proto", flow("proto", ""), bad("field")},
		{"empty proto", flow("proto", `""`), bad("field")},
		{"no port", flow("src_port", ""), bad("field")},
		{"port is no number", flow("dest_port", `"1"`), bad("field")},
		{"flags are not hexadecimal", flow("tcp.tcp_flags_ts", `"xy"`), bad("field")},
		{"flags are no text", flow("tcp.tcp_flags_ts", `27`), bad("field")},
		{"flow_id is no number", flow("flow_id", `"x"`), bad("field")},
		{"flow_id is negative", flow("flow_id", `-1`), bad("field")},
		{"flow_id is too long", flow("flow_id", `"123456789012345678901"`), bad("field")},
		{"address", flow("dest_ip", `"host"`), bad("address")},
		{"port too large", flow("dest_port", `65536`), bad("range")},
		{"negative packets", flow("flow.pkts_toserver", `-1`), bad("range")},
		{"bytes too large", flow("flow.bytes_toserver", `9007199254740993`), bad("range")},
		{"bytes too large to be held", flow("flow.bytes_toserver", `1e99`), bad("range")},
		{"end before start", flow("flow.end", `"2025-07-02T08:53:56.499999+0000"`), bad("range")},
		{"before 1970", flow("flow.start", `"1969-12-31T23:59:59.999999+0000"`), bad("range")},
		{"after 2106", flow("flow.end", `"2106-02-07T06:28:16.000000+0000"`), bad("range")},
		{"last time", flow("flow.end", `"2106-02-07T06:28:15.999999+0000"`), decoded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := eve.New(eve.Config{})
			var rec minecanary.Record
			for _, line := range []string{tc.line, tc.line, flowLine, tc.line} {
				if out := d.Decode([]byte(line), &rec); line == tc.line && out != tc.want {
					t.Errorf("outcome %+v, want %+v: %s", out, tc.want, line)
				}
			}
		})
	}
}
