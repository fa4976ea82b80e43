package zeek_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/sighting"
	"github.com/minecanary/minecanary/consumer/zeek"
)

var sighted = consumer.Outcome{Kind: consumer.Sighted}

const (
	miningLine = `{"ts":1751448240.10748,"uid":"C4KwmV2A1CNyCCQNoh","id.orig_h":"10.20.1.17","id.orig_p":46720,"id.resp_h":"198.51.100.17","id.resp_p":14444,"protocol":"monero","seen":"client","turned":false,"method":"login","agent":"XMRig/6.21.0","login":"wallet.worker"}`
	sslLine    = `{"ts":1751446414.664728,"uid":"CcmDEN1VX50JGEUYOg","id.orig_h":"10.20.1.12","id.orig_p":38160,"id.resp_h":"203.0.113.12","id.resp_p":443,"version":"TLSv13","cipher":"TLS_AES_128_GCM_SHA256","curve":"x25519","server_name":"pool.example.net","resumed":false,"established":true,"ssl_history":"CsiI"}`
	dnsLine    = `{"ts":1533304837.583407,"uid":"C2y8B935JKcvFQ68U6","id.orig_h":"10.0.2.15","id.orig_p":45956,"id.resp_h":"192.0.2.53","id.resp_p":53,"proto":"udp","trans_id":4822,"rtt":0.005001068115234375,"query":"pool.example.com","qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","rcode":0,"rcode_name":"NOERROR","AA":false,"TC":false,"RD":true,"RA":true,"Z":0,"answers":["eu.pool.example.net","198.51.100.1","198.51.100.2"],"TTLs":[495.0,495.0,495.0],"rejected":false}`
)

func miningSighting() minecanary.Sighting {
	return minecanary.Sighting{
		Kind: minecanary.SightedMining, Time: 1751448240_107_480, UID: minecanary.NewUID([]byte("C4KwmV2A1CNyCCQNoh")),
		Client: netip.MustParseAddr("10.20.1.17"), ClientPort: 46720, Server: endpoint("198.51.100.17:14444"),
		Protocol: "monero", Method: "login", Agent: "XMRig/6.21.0", Login: "wallet.worker",
	}
}

func sslSighting() minecanary.Sighting {
	return minecanary.Sighting{
		Kind: minecanary.SightedTLS, Time: 1751446414_664_728, UID: minecanary.NewUID([]byte("CcmDEN1VX50JGEUYOg")),
		Client: netip.MustParseAddr("10.20.1.12"), ClientPort: 38160, Server: endpoint("203.0.113.12:443"), Name: "pool.example.net",
	}
}

// dnsSightings gives the sightings of the line of dns.log with other names and addresses.
func dnsSightings(names []string, addrs ...string) (list []minecanary.Sighting) {
	for _, name := range names {
		for _, a := range addrs {
			list = append(list, minecanary.Sighting{
				Kind: minecanary.SightedDNS, Time: 1533304837_583_407, UID: minecanary.NewUID([]byte("C2y8B935JKcvFQ68U6")),
				Client: netip.MustParseAddr("10.0.2.15"), Server: minecanary.Endpoint{Addr: netip.MustParseAddr(a)}, Name: name,
			})
		}
	}
	return list
}

func endpoint(s string) minecanary.Endpoint {
	e, err := minecanary.ParseEndpoint(s)
	if err != nil {
		panic(err)
	}
	return e
}

// dnsWith gives the line of dns.log with other answers.
func dnsWith(t *testing.T, answers ...string) string {
	t.Helper()
	return change(t, dnsLine, "answers", `["`+strings.Join(answers, `","`)+`"]`)
}

func TestSightings(t *testing.T) {
	one := func(s minecanary.Sighting, edit func(s *minecanary.Sighting)) []minecanary.Sighting {
		if edit != nil {
			edit(&s)
		}
		return []minecanary.Sighting{s}
	}
	mining := func(edit func(s *minecanary.Sighting), changes ...string) (string, []minecanary.Sighting) {
		return change(t, miningLine, changes...), one(miningSighting(), edit)
	}
	ssl := func(edit func(s *minecanary.Sighting), changes ...string) (string, []minecanary.Sighting) {
		return change(t, sslLine, changes...), one(sslSighting(), edit)
	}
	names := []string{"pool.example.com", "eu.pool.example.net"}
	long := strings.Repeat("x", minecanary.MaxSightingText)
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + strings.Repeat("b", 61)

	type row struct {
		name string
		line string
		want []minecanary.Sighting
	}
	var rows []row
	add := func(name string) func(line string, want []minecanary.Sighting) {
		return func(line string, want []minecanary.Sighting) { rows = append(rows, row{name, line, want}) }
	}
	add("mining as Zeek writes it")(miningLine, one(miningSighting(), nil))
	add("mining, the server's line")(mining(func(s *minecanary.Sighting) { s.ByServer = true }, "seen", `"server"`))
	add("mining, lines of both")(mining(func(s *minecanary.Sighting) { s.ByServer = true }, "seen", `"both"`))
	add("mining, turned")(mining(nil, "turned", "true", "id.orig_h", `"198.51.100.17"`, "id.orig_p", "14444", "id.resp_h", `"10.20.1.17"`, "id.resp_p", "46720"))
	add("mining without details")(mining(func(s *minecanary.Sighting) { s.Method, s.Agent, s.Login = "", "", "" }, "method", "", "agent", "null", "login", ""))
	add("mining, nested")(mining(nil, "id.orig_h", "", "id.orig_p", "", "id.resp_h", "", "id.resp_p", "",
		"id", `{"orig_h":"10.20.1.17","orig_p":46720,"resp_h":"198.51.100.17","resp_p":14444}`))
	add("mining, underscores and extension columns")(mining(func(s *minecanary.Sighting) { s.Sensor = "s1" }, "id.orig_h", "", "id.resp_h", "",
		"id_orig_h", `"10.20.1.17"`, "id_resp_h", `"198.51.100.17"`, "_path", `"mining-2"`, "_system_name", `"s1"`, "ts", `"2025-07-02T09:24:00.107480Z"`))
	add("mining, texts of an attacker")(mining(func(s *minecanary.Sighting) { s.Agent, s.Login, s.Protocol = "a<b>", "xy", "mon" }, "agent", `"a<b>\t\u202e\u0000"`, "login", `"x\r\ny\u007f"`, "protocol", `"m\u0001on"`))
	add("mining, long texts")(mining(func(s *minecanary.Sighting) { s.Agent, s.Login = long, long }, "agent", `"`+long+`y"`, "login", `"`+strings.Repeat("\u00e4", 999)+long+`yyy"`))
	add("mining, the agent is Filebeat's")(mining(func(s *minecanary.Sighting) { s.Agent = "" }, "agent", `{"name":"s1","type":"filebeat"}`))
	add("ssl as Zeek writes it")(sslLine, one(sslSighting(), nil))
	add("ssl, capitals and a dot")(ssl(nil, "server_name", `"POOL.Example.NET."`))
	add("ssl, underscore")(ssl(func(s *minecanary.Sighting) { s.Name = "_x.a-b.example" }, "server_name", `"_x.a-b.example"`))
	add("ssl, no dot")(ssl(func(s *minecanary.Sighting) { s.Name = "pool" }, "server_name", `"pool"`))
	add("ssl, longest name")(ssl(func(s *minecanary.Sighting) { s.Name = longest }, "server_name", `"`+longest+`."`))
	add("ssl, DTLS")(ssl(func(s *minecanary.Sighting) { s.Server.Transport = minecanary.UDP }, "version", `"DTLSv12"`))
	add("dns as Zeek writes it")(dnsLine, dnsSightings(names, "198.51.100.1", "198.51.100.2"))
	add("dns, AAAA")(change(t, dnsLine, "qtype", "28", "qtype_name", `"AAAA"`, "answers", `["2001:db8::1","::ffff:198.51.100.1"]`),
		dnsSightings(names[:1], "2001:db8::1", "198.51.100.1"))
	add("dns, HTTPS without a number")(change(t, dnsLine, "qtype", "", "qtype_name", `"HTTPS"`), dnsSightings(names, "198.51.100.1", "198.51.100.2"))
	add("dns, capitals, repeats and other answers")(
		change(t, dnsLine, "query", `"POOL.example.COM"`, "answers", `["pool.EXAMPLE.com.","TXT 9 a,1.2.3.4","<unknown type=65>","198.51.100.1","","198.51.100.1",".","a..b"]`),
		dnsSightings(names[:1], "198.51.100.1"))
	add("dns, a query that is no name")(change(t, dnsLine, "query", `"a b"`), dnsSightings(names[1:], "198.51.100.1", "198.51.100.2"))
	add("dns, no columns but those of use")(`{"_path":"dns","ts":1533304837.583407,"uid":"C2y8B935JKcvFQ68U6","id.orig_h":"10.0.2.15","id.orig_p":1,"id.resp_h":"192.0.2.53","id.resp_p":53,"query":"pool.example.com","qtype":1,"answers":"198.51.100.1,198.51.100.2"}`,
		dnsSightings(names[:1], "198.51.100.1", "198.51.100.2"))
	add("dns, a name with a digit at its end")(dnsWith(t, "a1", "198.51.100.1"), dnsSightings([]string{names[0], "a1"}, "198.51.100.1"))

	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			d := zeek.NewJSON()
			var rec minecanary.Record
			for range 2 {
				if out := d.Decode([]byte(tc.line), &rec); out != sighted {
					t.Fatalf("outcome %+v: %s", out, tc.line)
				}
				if diff := cmp.Diff(tc.want, d.Sightings(), addrs); diff != "" {
					t.Errorf("sightings (-want +got):\n%s", diff)
				}
				// With the keys of other lines learnt.
				d.Decode([]byte(connLine), &rec)
			}
		})
	}
}

// TestSightingBounds wants no more names and addresses of a row than the bounds, the first ones.
func TestSightingBounds(t *testing.T) {
	var answers, addresses []string
	for i := range 20 {
		answers = append(answers, fmt.Sprintf("n%d.example", i))
	}
	for i := range 20 {
		addresses = append(addresses, fmt.Sprintf("198.51.100.%d", i))
	}
	d := zeek.NewJSON()
	var rec minecanary.Record
	if out := d.Decode([]byte(dnsWith(t, append(answers, addresses...)...)), &rec); out != sighted {
		t.Fatalf("outcome %+v", out)
	}
	want := dnsSightings(append([]string{"pool.example.com"}, answers[:sighting.MaxNames-1]...), addresses[:sighting.MaxAddrs]...)
	if diff := cmp.Diff(want, d.Sightings(), addrs); diff != "" {
		t.Errorf("sightings (-want +got):\n%s", diff)
	}
}

func TestSightingOutcomes(t *testing.T) {
	mining := func(changes ...string) string { return change(t, miningLine, changes...) }
	ssl := func(changes ...string) string { return change(t, sslLine, changes...) }
	dns := func(changes ...string) string { return change(t, dnsLine, changes...) }
	for _, tc := range []struct {
		name, line string
		want       consumer.Outcome
	}{
		{"mining without time", mining("ts", ""), bad("field")},
		{"mining without client", mining("id.orig_h", ""), bad("field")},
		{"mining without port", mining("id.resp_p", "null"), bad("field")},
		{"mining seen by nobody", mining("seen", `"x"`), bad("field")},
		{"mining not seen", mining("seen", "", "_path", `"mining"`), bad("field")},
		{"mining, a login that is no text", mining("login", "5"), bad("field")},
		{"mining, turned is no truth value", mining("turned", `"T"`), bad("field")},
		{"mining, address", mining("id.resp_h", `"pool"`), bad("address")},
		{"mining, port", mining("id.resp_p", "65536"), bad("range")},
		{"mining, before 1970", mining("ts", "-1"), bad("range")},
		{"mining, after 2106", mining("ts", "4294967296"), bad("range")},
		{"mining of somebody else", `{"_path":"mining","ts":1,"coin":"x"}`, skip("mining")},
		{"ssl without a name", ssl("server_name", ""), skip("no_name")},
		{"ssl with an empty name", ssl("server_name", `""`), skip("no_name")},
		{"ssl, a dot", ssl("server_name", `"."`), skip("no_name")},
		{"ssl, an address", ssl("server_name", `"203.0.113.12"`), skip("no_name")},
		{"ssl, an IPv6 address", ssl("server_name", `"2001:db8::1"`), skip("no_name")},
		{"ssl, a line break", ssl("server_name", `"a\n.example"`), skip("no_name")},
		{"ssl, quotes", ssl("server_name", `"a\".example"`), skip("no_name")},
		{"ssl, no ASCII", ssl("server_name", `"\u00e4.example"`), skip("no_name")},
		{"ssl, empty label", ssl("server_name", `"a..example"`), skip("no_name")},
		{"ssl, long label", ssl("server_name", `"`+strings.Repeat("a", 64)+`.example"`), skip("no_name")},
		{"ssl, long name", ssl("server_name", `"`+strings.Repeat("a.", 126)+`bc"`), skip("no_name")},
		{"ssl, a name that is no text", ssl("server_name", `7`), bad("field")},
		{"ssl without server", ssl("id.resp_h", ""), bad("field")},
		{"ssl, address", ssl("id.orig_h", `""`), bad("address")},
		{"dns without answers", dns("answers", ""), skip("no_address")},
		{"dns, answers null", dns("answers", "null"), skip("no_address")},
		{"dns, empty answers", dns("answers", "[]"), skip("no_address")},
		{"dns, an alias to nowhere", dnsWith(t, "x.example"), skip("no_address")},
		{"dns rejected", dns("rejected", "true"), skip("rejected")},
		{"dns, TXT", dns("qtype", "16"), skip("no_address")},
		{"dns, all types", dns("qtype", "255", "qtype_name", `"*"`), skip("no_address")},
		{"dns, no type", dns("qtype", "", "qtype_name", ""), skip("no_address")},
		{"dns without a name", dns("query", "", "answers", `["198.51.100.1"]`), skip("no_name")},
		{"dns, the query is no text", dns("query", "1"), bad("field")},
		{"dns, the type is no number", dns("qtype", `"A"`), bad("field")},
		{"dns, rejected is no truth value", dns("rejected", "1"), bad("field")},
		{"dns, answers are an object", dns("answers", "{}"), bad("field")},
		{"dns, answers are numbers", dns("answers", "[1]"), bad("field")},
		{"dns, a number", dns("answers", "1"), bad("field")},
		{"dns without client", dns("id.orig_h", ""), bad("field")},
		{"dns, address", dns("id.orig_h", `"x"`), bad("address")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := zeek.NewJSON()
			var rec minecanary.Record
			for range 2 {
				if out := d.Decode([]byte(tc.line), &rec); out != tc.want {
					t.Errorf("outcome %+v, want %+v: %s", out, tc.want, tc.line)
				}
			}
		})
	}
}

// TestSightingHints: what is known of the log from elsewhere counts where the line says nothing, and a line of Filebeat
// that only looks like Zeek's own is left to whoever knows it.
func TestSightingHints(t *testing.T) {
	bare := change(t, sslLine, "resumed", "", "established", "")
	d := zeek.NewJSON()
	var rec minecanary.Record
	for _, tc := range []struct {
		name, line string
		hint       zeek.Hint
		want       consumer.Outcome
		refused    bool
	}{
		{"columns", sslLine, zeek.Hint{}, sighted, false},
		{"hint", bare, zeek.Hint{Log: "ssl"}, sighted, false},
		{"another hint", bare, zeek.Hint{Log: "http"}, skip("other_log"), false},
		{"columns of a side log in a topic of conn", dnsLine, zeek.Hint{Log: "conn"}, sighted, false},
		{"the configuration knows better", sslLine, zeek.Hint{Log: "http", Forced: true}, skip("other_log"), false},
		{"the miner's agent", miningLine, zeek.Hint{}, sighted, false},
		{"the shipper's agent", change(t, miningLine, "agent", `{"name":"s1"}`), zeek.Hint{}, sighted, true},
		{"the shipper's agent as a text", change(t, connLine, "agent", `"s1"`), zeek.Hint{}, decoded, true},
		{"conn_long", connLine, zeek.Hint{Log: "conn_long"}, decoded, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if out := d.DecodeAs([]byte(tc.line), tc.hint, &rec); out != tc.want {
				t.Errorf("outcome %+v, want %+v", out, tc.want)
			}
			out, ok := d.Try([]byte(tc.line), tc.hint, &rec)
			if ok == tc.refused || ok && out != tc.want {
				t.Errorf("guessed: %+v, %v", out, ok)
			}
		})
	}
	if rec.Kind != minecanary.KindLong {
		t.Errorf("kind %d", rec.Kind)
	}
}

// TestConnLong: a running connection since its start is like a whole one that goes on.
func TestConnLong(t *testing.T) {
	line := change(t, connLine, "_path", `"conn_long"`, "history", `"ShADad"`)
	var got minecanary.Record
	if out := zeek.NewJSON().Decode([]byte(line), &got); out != decoded {
		t.Fatalf("outcome %+v", out)
	}
	want := connRecord()
	want.Kind = minecanary.KindLong
	want.OrigFlags, want.RespFlags = syn|ack|psh, syn|ack|psh
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	tsv := zeek.NewTSV(nil)
	outs, rec := feed(tsv, strings.ReplaceAll(header, "#path\tconn", "#path\tconn_long")+"\n"+withColumns(t))
	if out := outs[len(outs)-1]; out != decoded || rec.Kind != minecanary.KindLong {
		t.Errorf("TSV: %+v, %+v", out, rec)
	}
}

// sighter is a decoder whose lines may give sightings.
type sighter interface {
	decoder
	Sightings() []minecanary.Sighting
}

// sightingsOf gives the sightings of all lines, and the outcomes of those that gave none.
func sightingsOf(lines [][]byte, d sighter) (list []minecanary.Sighting, others map[consumer.Outcome]int) {
	others = map[consumer.Outcome]int{}
	var rec minecanary.Record
	for _, line := range lines {
		if out := d.Decode(line, &rec); out == sighted {
			list = append(list, d.Sightings()...)
		} else {
			others[out]++
		}
	}
	return list, others
}

// TestOurs reads what our script and Zeek 8.0.10 wrote of connections of our own making.
func TestOurs(t *testing.T) {
	type told struct{ Client, Server, Protocol, Name string }
	read := func(path string) (list []told) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := slices.Collect(func(yield func([]byte) bool) {
			for l := range strings.Lines(string(data)) {
				if !yield([]byte(strings.TrimSpace(l))) {
					return
				}
			}
		})
		sightings, others := sightingsOf(lines, zeek.NewJSON())
		if len(others) != 0 {
			t.Errorf("%s: %v", path, others)
		}
		for _, s := range sightings {
			by := s.Protocol
			if s.ByServer {
				by += " by the server"
			}
			if s.Unsure {
				by += ", perhaps"
			}
			list = append(list, told{s.Client.String(), s.Server.String(), by, s.Name})
		}
		return list
	}
	want := []told{
		{"10.20.1.10", "192.0.2.10:3333", "stratum-v1 by the server", ""},
		{"10.20.1.15", "203.0.113.15:3333", "monero", ""},
		{"10.20.1.17", "198.51.100.17:14444", "monero", ""},
		{"10.20.1.17", "198.51.100.17:14444", "monero by the server, perhaps", ""}, // nobody saw who opened it
		{"10.20.1.17", "198.51.100.17:14444", "monero by the server, perhaps", ""}, // nobody saw who opened it
		{"10.20.1.18", "203.0.113.18:4444", "ethproxy by the server", ""},
		{"10.20.1.12", "203.0.113.12:443", "", "pool.example.net"},
		{"10.20.1.39", "203.0.113.39:5223", "", "push.example.com"},
		{"10.20.1.33", "203.0.113.33:853", "", "dns.example.net"},
	}
	if diff := cmp.Diff(want, append(read("testdata/ours-mining.log"), read("testdata/ours-ssl.log")...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCapturedSightings reads what Zeek wrote of captures from the field.
func TestCapturedSightings(t *testing.T) {
	for _, tc := range []struct {
		pattern, log string
		kind         minecanary.SightingKind
		reasons      []string
	}{
		{"zeek/*/mining.log", "mining", minecanary.SightedMining, nil},
		{"ours/*/mining.log", "mining", minecanary.SightedMining, nil},
		{"zeek/*/ssl.log", "ssl", minecanary.SightedTLS, []string{"no_name"}},
		{"ours/*/ssl.log", "ssl", minecanary.SightedTLS, nil},
		{"zeek/*/dns.log", "dns", minecanary.SightedDNS, []string{"no_address", "no_name", "rejected"}},
	} {
		t.Run(tc.pattern, func(t *testing.T) {
			total := 0
			for _, path := range glob(t, tc.pattern) {
				list, others := sightingsOf(lines(t, path), zeek.NewJSON())
				for out := range others {
					if out.Kind != consumer.Skipped || !slices.Contains(tc.reasons, out.Reason) {
						t.Errorf("%s: %+v", path, out)
					}
				}
				for _, s := range list {
					if s.Kind != tc.kind || s.UID == (minecanary.UID{}) || !s.Client.IsValid() {
						t.Errorf("%s: %+v", path, s)
					}
				}
				for _, line := range lines(t, path) {
					if got := zeek.LogName(line); got != tc.log {
						t.Errorf("%s: LogName is %q, want %q: %s", path, got, tc.log, line)
					}
				}
				total += len(list)
			}
			if total == 0 {
				t.Error("no sightings")
			}
		})
	}
}

// columns of the three logs as Zeek 8 and our script write them above TSV.
var sideHeaders = map[string][2]string{
	"mining": {
		"ts uid id.orig_h id.orig_p id.resp_h id.resp_p protocol seen turned method agent login",
		"time string addr port addr port string string bool string string string",
	},
	"ssl": {
		"ts uid id.orig_h id.orig_p id.resp_h id.resp_p version cipher curve server_name resumed last_alert next_protocol established ssl_history cert_chain_fps client_cert_chain_fps sni_matches_cert",
		"time string addr port addr port string string string string bool string string bool string vector[string] vector[string] bool",
	},
	"dns": {
		"ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id rtt query qclass qclass_name qtype qtype_name rcode rcode_name AA TC RD RA Z answers TTLs rejected",
		"time string addr port addr port enum count interval string count string count string count string bool bool bool bool count vector[string] vector[interval] bool",
	},
}

// sideTSV gives a decoder that has read the header of a log.
func sideTSV(tb interface{ Fatalf(string, ...any) }, log string) *zeek.TSV {
	d := zeek.NewTSV(nil)
	var rec minecanary.Record
	h := sideHeaders[log]
	for _, line := range []string{
		`#separator \x09`, "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\t" + log,
		"#fields\t" + strings.ReplaceAll(h[0], " ", "\t"), "#types\t" + strings.ReplaceAll(h[1], " ", "\t"),
	} {
		if out := d.Decode([]byte(line), &rec); out.Reason != "header" {
			tb.Fatalf("%+v: %s", out, line)
		}
	}
	return d
}

// sideRow gives a row of TSV of values by column.
func sideRow(log string, values map[string]string) string {
	var row []string
	for name := range strings.FieldsSeq(sideHeaders[log][0]) {
		v, ok := values[name]
		if !ok {
			v = "-"
		}
		row = append(row, v)
	}
	return strings.Join(row, "\t")
}

// escape writes a text as Zeek's TSV does; a comma only inside of a list.
func escape(s string, list bool) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '\\':
			b.WriteString(`\\`)
		case c < ' ' || c > '~' || list && c == ',':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// quoteJSON writes a text as JSON.
func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestSightingsTSV: rows of the three logs say as TSV what they say as JSON.
func TestSightingsTSV(t *testing.T) {
	decoders := map[string]*zeek.TSV{}
	for log := range sideHeaders {
		decoders[log] = sideTSV(t, log)
	}
	asJSON := zeek.NewJSON()
	rapid.Check(t, func(t *rapid.T) {
		log := rapid.SampledFrom([]string{"mining", "ssl", "dns"}).Draw(t, "log")
		name := rapid.SampledFrom([]string{"pool.example", "A.Example.", "198.51.100.1", "2001:db8::1", "a,b", "a b", `x\y`, "", "é", "-x", "t1"})
		values, members := map[string]string{}, []string{}
		text := func(column, s string) {
			if s == "" || s == "-" {
				return
			}
			values[column] = escape(s, false)
			members = append(members, fmt.Sprintf("%q:%s", column, quoteJSON(s)))
		}
		plain := func(column, s, j string) {
			values[column] = s
			members = append(members, fmt.Sprintf("%q:%s", column, j))
		}
		truth := func(column string) {
			v := rapid.Bool().Draw(t, column)
			plain(column, map[bool]string{true: "T", false: "F"}[v], strconv.FormatBool(v))
		}
		ts := fmt.Sprintf("%d.%06d", rapid.IntRange(0, 1<<33).Draw(t, "seconds"), rapid.IntRange(0, 999_999).Draw(t, "micros"))
		plain("ts", ts, ts)
		text("uid", "C1")
		text("id.orig_h", rapid.SampledFrom([]string{"192.0.2.1", "2001:db8::5", "x"}).Draw(t, "orig"))
		plain("id.orig_p", "40000", "40000")
		text("id.resp_h", "198.51.100.2")
		plain("id.resp_p", "3333", "3333")
		switch log {
		case "mining":
			text("protocol", rapid.SampledFrom([]string{"monero", "stratum-v1"}).Draw(t, "protocol"))
			text("seen", rapid.SampledFrom([]string{"client", "server", "both", "x"}).Draw(t, "seen"))
			truth("turned")
			text("method", name.Draw(t, "method"))
			text("agent", name.Draw(t, "agent"))
			text("login", name.Draw(t, "login"))
		case "ssl":
			text("version", rapid.SampledFrom([]string{"TLSv13", "DTLSv12"}).Draw(t, "version"))
			text("server_name", name.Draw(t, "name"))
			truth("resumed")
			truth("established")
		case "dns":
			text("query", name.Draw(t, "query"))
			n := rapid.SampledFrom([]string{"1", "28", "65", "16"}).Draw(t, "type")
			plain("qtype", n, n)
			truth("rejected")
			plain("trans_id", "7", "7")
			answers := rapid.SliceOfN(name.Filter(func(s string) bool { return s != "" }), 0, 12).Draw(t, "answers")
			var tsv, list []string
			for _, a := range answers {
				tsv, list = append(tsv, escape(a, true)), append(list, quoteJSON(a))
			}
			if len(tsv) == 0 {
				tsv = []string{"(empty)"}
			}
			plain("answers", strings.Join(tsv, ","), "["+strings.Join(list, ",")+"]")
		}
		line := "{" + strings.Join(members, ",") + "}"
		var rec minecanary.Record
		row := sideRow(log, values)
		want, got := asJSON.Decode([]byte(line), &rec), decoders[log].Decode([]byte(row), &rec)
		if want != got {
			t.Fatalf("JSON %+v, TSV %+v\n%s\n%s", want, got, line, row)
		}
		if want != sighted {
			return
		}
		if diff := cmp.Diff(asJSON.Sightings(), decoders[log].Sightings(), addrs); diff != "" {
			t.Fatalf("(-JSON +TSV):\n%s\n%s\n%s", diff, line, row)
		}
	})
}

// TestSightingsKeepNothing: what was given does not change with the line it was read from.
func TestSightingsKeepNothing(t *testing.T) {
	for _, line := range []string{miningLine, sslLine, dnsLine} {
		d := zeek.NewJSON()
		buf := []byte(line)
		var rec minecanary.Record
		if out := d.Decode(buf, &rec); out != sighted {
			t.Fatalf("outcome %+v", out)
		}
		got := slices.Clone(d.Sightings())
		want := fmt.Sprintf("%+v", got)
		for i := range buf {
			buf[i] = 'x'
		}
		for range 3 {
			d.Decode([]byte(strings.ReplaceAll(connLine, "s", "q")), &rec)
			d.Decode([]byte(strings.ReplaceAll(line, "p", "z")), &rec)
		}
		if now := fmt.Sprintf("%+v", got); now != want {
			t.Errorf("was %s, is %s", want, now)
		}
	}
}
