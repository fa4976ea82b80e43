package eve_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/eve"
	"github.com/minecanary/minecanary/consumer/sighting"
)

var sighted = consumer.Outcome{Kind: consumer.Sighted}

// Events in the forms of Suricata 7 and 8 (etc/schema.json), with addresses of RFC 5737.
const (
	tlsLine = `{"timestamp":"2025-07-02T08:53:56.500000+0000","flow_id":77,"in_iface":"eth0","event_type":"tls","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":443,"proto":"TCP","pkt_src":"wire/pcap","tls":{"subject":"CN=x","issuerdn":"CN=y","serial":"01","fingerprint":"a0:b1","sni":"Pool.example.net","version":"TLS 1.2","notbefore":"2025-01-01T00:00:00","notafter":"2026-01-01T00:00:00"}}`

	dns1Line = `{"timestamp":"2025-07-02T08:53:56.500000+0000","flow_id":77,"event_type":"dns","src_ip":"192.0.2.53","src_port":53,"dest_ip":"10.20.1.15","dest_port":40000,"proto":"UDP","dns":{"type":"answer","id":1,"rcode":"NOERROR","rrname":"pool.example.com","rrtype":"A","ttl":8,"rdata":"198.51.100.1"}}`
	dns2Line = `{"timestamp":"2025-07-02T08:53:56.500000+0000","flow_id":77,"event_type":"dns","src_ip":"10.20.1.15","src_port":40000,"dest_ip":"192.0.2.53","dest_port":53,"proto":"UDP","dns":{"version":2,"type":"answer","id":1,"flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":"pool.example.com","rrtype":"A","rcode":"NOERROR","answers":[{"rrname":"pool.example.com","rrtype":"CNAME","ttl":60,"rdata":"eu.pool.example.net"},{"rrname":"eu.pool.example.net","rrtype":"A","ttl":60,"rdata":"198.51.100.1"},{"rrname":"eu.pool.example.net","rrtype":"A","ttl":60,"rdata":"198.51.100.2"}],"grouped":{"CNAME":["eu.pool.example.net"],"A":["198.51.100.1","198.51.100.2"]}}}`
	dns3Line = `{"timestamp":"2025-07-02T08:53:56.500000+0000","flow_id":77,"event_type":"dns","src_ip":"192.0.2.53","src_port":53,"dest_ip":"10.20.1.15","dest_port":40000,"proto":"UDP","ip_v":4,"dns":{"version":3,"type":"response","tx_id":1,"id":4711,"flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rcode":"NOERROR","queries":[{"rrname":"pool.example.com","rrtype":"A"}],"answers":[{"rrname":"pool.example.com","rrtype":"CNAME","ttl":300,"rdata":"eu.pool.example.net"},{"rrname":"eu.pool.example.net","rrtype":"A","ttl":60,"rdata":"198.51.100.1"},{"rrname":"eu.pool.example.net","rrtype":"A","ttl":60,"rdata":"198.51.100.2"}]}}`

	meterLine   = `{"timestamp":"2025-07-02T09:53:56.500000+0000","flow_id":1303060119387842,"in_iface":"eth0","event_type":"alert","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333,"proto":"TCP","pkt_src":"wire/pcap","alert":{"action":"allowed","gid":1,"signature_id":9000001,"rev":1,"signature":"MINECANARY meter","category":"Not Suspicious Traffic","severity":3},"app_proto":"failed","direction":"to_server","flow":{"pkts_toserver":705,"pkts_toclient":666,"bytes_toserver":95710,"bytes_toclient":110704,"start":"2025-07-02T08:53:56.500000+0000","src_ip":"10.20.1.15","dest_ip":"203.0.113.15","src_port":47120,"dest_port":3333}}`
	netflowLine = `{"timestamp":"2025-07-02T10:54:56.513500+0000","flow_id":1303060119387842,"in_iface":"eth0","event_type":"netflow","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333,"proto":"TCP","app_proto":"failed","netflow":{"pkts":705,"bytes":95710,"start":"2025-07-02T08:53:56.500000+0000","end":"2025-07-02T10:53:56.513500+0000","age":7200,"min_ttl":64,"max_ttl":64},"tcp":{"tcp_flags":"1b","syn":true,"fin":true,"psh":true,"ack":true}}`
	minerLine   = `{"timestamp":"2025-07-02T08:53:56.500000+0000","flow_id":77,"in_iface":"eth0","event_type":"alert","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333,"proto":"TCP","alert":{"action":"allowed","gid":1,"signature_id":2024792,"rev":5,"signature":"ET COINMINER Win32\/Miner \"Checkin\"","category":"Crypto Currency Mining Activity Detected","severity":2,"metadata":{"created_at":["2017_10_02"]}},"app_proto":"failed","direction":"to_server","flow":{"pkts_toserver":4,"pkts_toclient":3,"bytes_toserver":900,"bytes_toclient":300,"start":"2025-07-02T08:53:56.400000+0000","src_ip":"10.20.1.15","dest_ip":"203.0.113.15","src_port":47120,"dest_port":3333}}`
)

const at = 1751446436_500_000

func endpoint(s string) minecanary.Endpoint {
	e, err := minecanary.ParseEndpoint(s)
	if err != nil {
		panic(err)
	}
	return e
}

// sightingOf makes one of the events' ends.
func sightingOf(kind minecanary.SightingKind, server string, edit func(s *minecanary.Sighting)) minecanary.Sighting {
	s := minecanary.Sighting{
		Kind: kind, Time: at, Client: netip.MustParseAddr("10.20.1.15"), Server: endpoint(server), UID: minecanary.NewUID([]byte("77")),
	}
	if kind != minecanary.SightedDNS {
		s.ClientPort = 47120
	}
	if edit != nil {
		edit(&s)
	}
	return s
}

// answersOf gives what an answer gives.
func answersOf(names []string, addrs ...string) (list []minecanary.Sighting) {
	for _, name := range names {
		for _, a := range addrs {
			s := sightingOf(minecanary.SightedDNS, "192.0.2.53:53", nil)
			s.Name, s.Server = name, minecanary.Endpoint{Addr: netip.MustParseAddr(a)}
			list = append(list, s)
		}
	}
	return list
}

func TestSightings(t *testing.T) {
	names := []string{"pool.example.com", "eu.pool.example.net"}
	both := answersOf(names, "198.51.100.1", "198.51.100.2")
	tls := func(edit func(s *minecanary.Sighting)) []minecanary.Sighting {
		return []minecanary.Sighting{sightingOf(minecanary.SightedTLS, "203.0.113.15:443", func(s *minecanary.Sighting) {
			s.Name = "pool.example.net"
			if edit != nil {
				edit(s)
			}
		})}
	}
	rule := func(edit func(s *minecanary.Sighting)) []minecanary.Sighting {
		return []minecanary.Sighting{sightingOf(minecanary.SightedRule, "203.0.113.15:3333", func(s *minecanary.Sighting) {
			s.Rule, s.Text = 2024792, `ET COINMINER Win32/Miner "Checkin"`
			if edit != nil {
				edit(s)
			}
		})}
	}
	passive := func(sid int, edit func(s *minecanary.Sighting)) []minecanary.Sighting {
		return []minecanary.Sighting{sightingOf(minecanary.SightedMining, "203.0.113.15:3333", func(s *minecanary.Sighting) {
			s.Rule, s.Text = uint32(sid), `ET COINMINER Win32/Miner "Checkin"`
			edit(s)
		})}
	}
	swapped := []string{"src_ip", `"203.0.113.15"`, "src_port", "3333", "dest_ip", `"10.20.1.15"`, "dest_port", "47120"}
	with := func(list []string, more ...string) []string { return append(slices.Clone(list), more...) }
	for _, tc := range []struct {
		name, line string
		changes    []string
		want       []minecanary.Sighting
	}{
		{"tls", tlsLine, nil, tls(nil)},
		{"tls with a sensor", tlsLine, []string{"host", `"s1"`}, tls(func(s *minecanary.Sighting) { s.Sensor = "s1" })},
		{"tls, flow_id as a text", tlsLine, []string{"flow_id", `"77"`}, tls(nil)},
		{"tls without flow_id", tlsLine, []string{"flow_id", ""}, tls(func(s *minecanary.Sighting) { s.UID = minecanary.UID{} })},
		{"tls, an hour east", tlsLine, []string{"timestamp", `"2025-07-02T09:53:56.500000+0100"`}, tls(nil)},
		{"tls, Zulu", tlsLine, []string{"timestamp", `"2025-07-02T08:53:56.5Z"`}, tls(nil)},
		{"dns version 1", dns1Line, nil, answersOf(names[:1], "198.51.100.1")},
		{"dns version 1, AAAA", dns1Line, []string{"dns.rrtype", `"AAAA"`, "dns.rdata", `"2001:db8::1"`}, answersOf(names[:1], "2001:db8::1")},
		{"dns version 2", dns2Line, nil, both},
		{"dns version 2, grouped", dns2Line, []string{"dns.answers", ""}, answersOf(names, "198.51.100.1", "198.51.100.2")},
		{"dns version 2, direction of the packet", dns2Line, []string{"src_ip", `"192.0.2.53"`, "src_port", "53", "dest_ip", `"10.20.1.15"`, "dest_port", "40000"}, both},
		{"dns version 3", dns3Line, nil, both},
		{"dns version 3, direction of the flow", dns3Line, []string{"src_ip", `"10.20.1.15"`, "src_port", "40000", "dest_ip", `"192.0.2.53"`, "dest_port", "53"}, both},
		{"dns version 3 at another port", dns3Line, []string{"src_port", "5300"}, both},
		{"dns from server to server", dns3Line, []string{"src_ip", `"10.20.1.15"`, "src_port", "53", "dest_ip", `"192.0.2.53"`, "dest_port", "53"}, both},
		{"dns version 3, grouped", dns3Line, []string{"dns.answers", "", "dns.grouped", `{"A":["198.51.100.1","198.51.100.2"],"TXT":[1]}`}, answersOf(names[:1], "198.51.100.1", "198.51.100.2")},
		{"dns over TCP", dns3Line, []string{"proto", `"TCP"`}, both},
		{
			"dns, other answers", dns3Line,
			[]string{"dns.answers", `[{"rrname":"x","rrtype":"TXT","rdata":"a\"b"},{"rrname":"x","rrtype":"SOA","soa":{"mname":"a"}},{"rrname":"pool.example.com","rrtype":"A","rdata":"198.51.100.1"},{"rrtype":"A","rdata":"-"}]`},
			answersOf(names[:1], "198.51.100.1"),
		},
		{"a rule for mining", minerLine, nil, rule(nil)},
		{"a rule by its name", minerLine, []string{"alert.category", `"Misc activity"`}, rule(nil)},
		{"a rule by its class", minerLine, []string{"alert.signature", `"site rule"`}, rule(func(s *minecanary.Sighting) { s.Text = "site rule" })},
		{
			"a rule by its metadata", minerLine,
			[]string{"alert.category", `""`, "alert.signature", `"x"`, "alert.metadata", `{"tag":["coin-mining"]}`},
			rule(func(s *minecanary.Sighting) { s.Text = "x" }),
		},
		{"a rule, the server's packet", minerLine, with(swapped, "direction", `"to_client"`), rule(nil)},
		{"a rule, the server's packet, by the direction alone", minerLine, with(swapped, "direction", `"to_client"`, "flow.src_ip", ""), rule(nil)},
		{"a rule, Suricata 5", minerLine, []string{"direction", "", "flow", ""}, rule(nil)},
		{"a rule of no generator", minerLine, []string{"alert.gid", ""}, rule(nil)},
		{"our rule for a line of the client", minerLine, []string{"alert.signature_id", "9000012"}, passive(9000012, func(s *minecanary.Sighting) { s.Protocol = "monero" })},
		{
			"our rule for a line of the server", minerLine,
			with(swapped, "alert.signature_id", "9000011", "direction", `"to_client"`),
			passive(9000011, func(s *minecanary.Sighting) { s.Protocol, s.ByServer = "stratum-v1", true }),
		},
		{
			"our rule for a line of the server that stands as the client", minerLine,
			with(swapped, "alert.signature_id", "9000011", "flow.src_ip", `"203.0.113.15"`, "flow.src_port", "3333", "flow.dest_ip", `"10.20.1.15"`, "flow.dest_port", "47120"),
			// A packet with any sender could be that.
			passive(9000011, func(s *minecanary.Sighting) { s.Protocol, s.ByServer, s.Unsure = "stratum-v1", true, true }),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			line := change(t, tc.line, tc.changes...)
			d := eve.New(eve.Config{})
			var rec minecanary.Record
			for range 2 {
				if out := d.Decode([]byte(line), &rec); out != sighted {
					t.Fatalf("outcome %+v: %s", out, line)
				}
				byName := func(a, b minecanary.Sighting) int {
					return strings.Compare(a.Name+a.Server.String(), b.Name+b.Server.String())
				}
				got := slices.SortedFunc(slices.Values(d.Sightings()), byName)
				want := slices.SortedFunc(slices.Values(tc.want), byName)
				if diff := cmp.Diff(want, got, addrs); diff != "" {
					t.Errorf("sightings (-want +got):\n%s", diff)
				}
				d.Decode([]byte(flowLine), &rec)
			}
		})
	}
}

func TestSightingOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		changes    []string
		want       consumer.Outcome
	}{
		{"tls without a name", tlsLine, []string{"tls.sni", ""}, skip("no_name")},
		{"tls, no name of a host", tlsLine, []string{"tls.sni", `"a b"`}, skip("no_name")},
		{"tls, a name that is no text", tlsLine, []string{"tls.sni", `1`}, bad("field")},
		{"tls without time", tlsLine, []string{"timestamp", ""}, bad("field")},
		{"tls, no time", tlsLine, []string{"timestamp", `"x"`}, bad("field")},
		{"tls before 1970", tlsLine, []string{"timestamp", `"1969-12-31T23:59:59.999999+0000"`}, bad("field")},
		{"tls without source", tlsLine, []string{"src_ip", ""}, bad("field")},
		{"tls, address", tlsLine, []string{"src_ip", `"x"`}, bad("address")},
		{"tls, port", tlsLine, []string{"dest_port", `65536`}, bad("range")},
		{"dns, a query", dns3Line, []string{"dns.type", `"request"`}, skip("dns")},
		{"dns, a query of version 2", dns2Line, []string{"dns.type", `"query"`}, skip("dns")},
		{"dns, no such name", dns2Line, []string{"dns.rcode", `"NXDOMAIN"`}, skip("no_address")},
		{"dns version 1, an alias", dns1Line, []string{"dns.rrtype", `"CNAME"`, "dns.rdata", `"x.example"`}, skip("no_address")},
		{"dns for text", dns3Line, []string{"dns.queries", `[{"rrname":"x","rrtype":"TXT"}]`}, skip("no_address")},
		{"dns without answers", dns3Line, []string{"dns.answers", ""}, skip("no_address")},
		{"dns without a name", dns1Line, []string{"dns.rrname", `"."`}, skip("no_name")},
		{"dns, queries are no list", dns3Line, []string{"dns.queries", `{}`}, bad("field")},
		{"dns, answers are no list", dns3Line, []string{"dns.answers", `"198.51.100.1"`}, bad("field")},
		{"dns, answers are texts", dns3Line, []string{"dns.answers", `["198.51.100.1"]`}, bad("field")},
		{"dns, grouped numbers", dns2Line, []string{"dns.answers", "", "dns.grouped", `{"A":[1]}`}, bad("field")},
		{"dns, a name that is no text", dns2Line, []string{"dns.rrname", `[]`}, bad("field")},
		{"a rule for something else", minerLine, []string{"alert.category", `"Misc activity"`, "alert.signature", `"ET INFO COINMINER"`}, skip("alert")},
		{"what a client wrote is no rule", minerLine, []string{"alert.category", `""`, "alert.signature", `"x"`, "payload_printable", `"ET COINMINER coin-mining"`}, skip("alert")},
		{"a rule for mining over DNS", minerLine, []string{"proto", `"UDP"`, "dest_port", "53", "app_proto", `"dns"`}, skip("alert")},
		{"a rule for mining over DNS and TCP", minerLine, []string{"dest_port", "5353", "app_proto", `"dns"`}, skip("alert")},
		{"a rule for mining over UDP", minerLine, []string{"proto", `"UDP"`}, skip("alert")},
		{"our number, another generator", minerLine, []string{"alert.signature_id", "9000012", "alert.gid", "3"}, skip("alert")},
		{"the number after ours", minerLine, []string{"alert.signature_id", "9000031", "alert.category", `""`, "alert.signature", `""`}, skip("alert")},
		{"a number that is none", minerLine, []string{"alert.signature_id", `"x"`}, bad("field")},
		{"a rule without source", minerLine, []string{"src_ip", ""}, bad("field")},
		{"a rule without time", minerLine, []string{"timestamp", ""}, bad("field")},
		{"the meter without its flow", meterLine, []string{"flow", ""}, bad("field")},
		{"the meter without start", meterLine, []string{"flow.start", ""}, bad("field")},
		{"the meter before the start", meterLine, []string{"timestamp", `"2025-07-02T08:53:56.499999+0000"`}, bad("range")},
		{"the meter, address", meterLine, []string{"flow.src_ip", `"x"`}, bad("address")},
		{"the meter, port", meterLine, []string{"flow.src_port", "70000"}, bad("range")},
		{"the meter, too many packets", meterLine, []string{"flow.pkts_toserver", "9007199254740993"}, bad("range")},
		{"netflow without times", netflowLine, []string{"netflow.start", ""}, bad("field")},
		{"netflow, flags", netflowLine, []string{"tcp.tcp_flags", `"x"`}, bad("field")},
		{"netflow, end before start", netflowLine, []string{"netflow.end", `"2025-07-02T08:53:56.499999+0000"`}, bad("range")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			line := change(t, tc.line, tc.changes...)
			d := eve.New(eve.Config{})
			var rec minecanary.Record
			for range 2 {
				if out := d.Decode([]byte(line), &rec); out != tc.want {
					t.Errorf("outcome %+v, want %+v: %s", out, tc.want, line)
				}
			}
		})
	}
}

// TestMeter: an alert of the meter rule is a running connection since its start, in the direction of its flow.
func TestMeter(t *testing.T) {
	want := flowRecord()
	want.Kind, want.End, want.Handshake = minecanary.KindLong, want.Start+3600_000_000, false
	want.OrigFlags, want.RespFlags = minecanary.SYN|minecanary.ACK|minecanary.PSH, minecanary.SYN|minecanary.ACK|minecanary.PSH
	swapped := []string{"src_ip", `"203.0.113.15"`, "src_port", "3333", "dest_ip", `"10.20.1.15"`, "dest_port", "47120"}
	noEnds := []string{"flow.src_ip", "", "flow.dest_ip", "", "flow.src_port", "", "flow.dest_port", ""}
	for _, tc := range []struct {
		name    string
		cfg     eve.Config
		changes []string
		skipped bool
		seen    bool
	}{
		{name: "as Suricata writes it"},
		{name: "the handshake was seen", changes: []string{"metadata", `{"flowbits":["x","minecanary.handshake"]}`}, seen: true},
		{name: "another mark", changes: []string{"metadata", `{"flowbits":["minecanary.handshake2"],"flowints":{"a":1}}`}},
		{name: "marks that are none", changes: []string{"metadata", `[]`}},
		{name: "a packet of the server", changes: append(slices.Clone(swapped), "alert.signature_id", "9000002", "direction", `"to_client"`)},
		{name: "Suricata 6", changes: noEnds},
		{name: "Suricata 6, a packet of the server", changes: append(append(slices.Clone(swapped), noEnds...), "alert.signature_id", "9000002", "direction", "")},
		{name: "a number of the site", cfg: eve.Config{MeterSIDs: []uint32{1, 77}}, changes: []string{"alert.signature_id", "77"}},
		{name: "not a number of the site", cfg: eve.Config{MeterSIDs: []uint32{1, 77}}, skipped: true},
		{name: "none", cfg: eve.Config{MeterSIDs: []uint32{}}, skipped: true},
		{name: "another generator", changes: []string{"alert.gid", "2"}, skipped: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := minecanary.Record{Final: true, InterimSeq: 9, Sensor: "junk"}
			out := eve.New(tc.cfg).Decode([]byte(change(t, meterLine, tc.changes...)), &got)
			if tc.skipped {
				if out != skip("alert") {
					t.Errorf("outcome %+v", out)
				}
				return
			}
			if out != decoded {
				t.Fatalf("outcome %+v", out)
			}
			want := want
			want.Handshake = tc.seen
			if diff := cmp.Diff(want, got, addrs); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNetflow: the two events of a flow hold what its flow event holds.
func TestNetflow(t *testing.T) {
	whole := flowRecord()
	want := whole
	want.Kind, want.RespPackets, want.RespBytes, want.RespPayload, want.RespFlags, want.Handshake = minecanary.KindFlow, 0, 0, 0, 0, false
	got := minecanary.Record{Handshake: true, RespFlags: 9}
	if out := eve.New(eve.Config{}).Decode([]byte(netflowLine), &got); out != decoded {
		t.Fatalf("outcome %+v", out)
	}
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	back := change(t, netflowLine, "src_ip", `"203.0.113.15"`, "src_port", "3333", "dest_ip", `"10.20.1.15"`, "dest_port", "47120",
		"netflow.pkts", "666", "netflow.bytes", "110704", "tcp.tcp_flags", `"00"`)
	if out := eve.New(eve.Config{}).Decode([]byte(back), &got); out != decoded {
		t.Fatalf("outcome %+v", out)
	}
	if got.OrigPackets != whole.RespPackets || got.OrigBytes != whole.RespBytes || got.OrigPayload != whole.RespPayload || got.FlagsKnown {
		t.Errorf("%+v", got)
	}
}

// TestRules: the numbers are what docs/suricata.md and its rules say.
func TestRules(t *testing.T) {
	rules := eve.PassiveRules()
	for i, r := range rules {
		if int(r.SID) != eve.FirstPassiveSID+i || r.SID > eve.LastPassiveSID || r.Protocol == "" || r.Server != (i%2 == 1) {
			t.Errorf("%+v", r)
		}
	}
	if len(rules) != 21 || eve.MeterSID != 9000001 || eve.MeterReversedSID != 9000002 {
		t.Errorf("%d rules", len(rules))
	}
	rules[0].SID = 0
	if eve.PassiveRules()[0].SID == 0 {
		t.Error("the table can be changed")
	}
}

// TestSightingBounds wants no more names and addresses of an event than the bounds.
func TestSightingBounds(t *testing.T) {
	var answers []string
	for i := range 20 {
		answers = append(answers, fmt.Sprintf(`{"rrtype":"CNAME","rdata":"n%d.example"},{"rrtype":"A","rdata":"198.51.100.%d"}`, i, i))
	}
	d := eve.New(eve.Config{})
	var rec minecanary.Record
	if out := d.Decode([]byte(change(t, dns3Line, "dns.answers", "["+strings.Join(answers, ",")+"]")), &rec); out != sighted {
		t.Fatalf("outcome %+v", out)
	}
	if n := len(d.Sightings()); n != sighting.MaxAddrs*sighting.MaxNames {
		t.Errorf("%d sightings", n)
	}
}

// TestPoolsLine: what makes a line the server's, and not a packet that anybody could have sent.
func TestPoolsLine(t *testing.T) {
	const (
		head = `{"timestamp":"2025-07-02T08:54:30.0+0000","flow_id":7,"event_type":"alert","src_ip":"203.0.113.15","src_port":3333,"dest_ip":"10.20.1.15","dest_port":47120,"proto":"TCP","alert":{"gid":1,"signature_id":9000011,"signature":"x"}`
		flow = `,"flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":400,"bytes_toclient":154,"start":"2025-07-02T08:53:56.0+0000"`
		ours = `,"src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333}}`
		his  = `,"src_ip":"203.0.113.15","src_port":3333,"dest_ip":"10.20.1.15","dest_port":47120}}`
		seen = `,"metadata":{"flowbits":["minecanary.handshake"]}`
	)
	for _, tt := range []struct {
		name, line string
		sightings  int
		sure       bool
	}{
		{"the far end's", head + flow + ours, 1, true},
		{"the far end's, opened before our eyes", head + seen + flow + ours, 1, true},
		{"no flow", head + `}`, 1, false},
		{"one side", head + strings.Replace(flow, `"pkts_toserver":3`, `"pkts_toserver":0`, 1) + ours, 1, false},
		{"whose came first", head + flow + his, 1, false},
		{"who opened the connection", head + seen + flow + his, 0, false},
	} {
		d := eve.New(eve.Config{})
		var rec minecanary.Record
		if out := d.Decode([]byte(tt.line), &rec); out.Kind == consumer.Bad {
			t.Errorf("%s: %v", tt.name, out)
			continue
		}
		got := d.Sightings()
		if tt.sightings == 0 {
			if out := d.Decode([]byte(tt.line), &rec); out.Kind != consumer.Skipped {
				t.Errorf("%s: %v", tt.name, out)
			}
			continue
		}
		if len(got) != 1 || !got[0].ByServer || got[0].Unsure == tt.sure || got[0].Client.String() != "10.20.1.15" {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
