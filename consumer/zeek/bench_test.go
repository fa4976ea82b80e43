package zeek_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// header is what Zeek 8 writes above a conn.log, with tabs.
const header = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#open\t2026-11-21-03-17-10\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\ttunnel_parents\tip_proto\n" +
	"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tbool\tbool\tcount\tstring\tcount\tcount\tcount\tcount\tset[string]\tcount"

// traffic makes lines of an ordinary network, the same connections as JSON and as TSV: most have all columns, some no
// service, some (unanswered) no duration; one in twenty is IPv6.
func traffic(n int) (asJSON, asTSV [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for range n {
		uid := []byte("C")
		for range 16 + r.IntN(2) {
			uid = append(uid, base62[r.IntN(62)])
		}
		orig := fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256))
		resp := fmt.Sprintf("%d.%d.%d.%d", 1+r.IntN(223), r.IntN(256), r.IntN(256), r.IntN(256))
		if r.IntN(20) == 0 {
			orig = fmt.Sprintf("2001:db8::%x:%x", r.IntN(65536), 1+r.IntN(65535))
			resp = fmt.Sprintf("2a02:26f0:%x::%x", 1+r.IntN(65535), 1+r.IntN(65535))
		}
		proto, number, service, state, history := "tcp", 6, "ssl", "SF", "ShADadFf"
		switch r.IntN(4) {
		case 0:
			proto, number, service, history = "udp", 17, "dns", "Dd"
		case 1:
			service, state, history = "", "S1", "ShADad"
		}
		ts := fmt.Sprintf("%d.%06d", 1751446436+r.IntN(86400), r.IntN(1_000_000))
		duration := r.ExpFloat64() * 30
		origPkts, respPkts := 1+r.IntN(999), r.IntN(999)
		origBytes, respBytes := origPkts*r.IntN(900), respPkts*r.IntN(1400)
		none := r.IntN(8) == 0
		if none {
			service, state, history = "", "S0", "S"
		}

		var j, t strings.Builder
		fmt.Fprintf(&j, `{"ts":%s,"uid":%q,"id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%d,"proto":%q`,
			strings.TrimRight(ts, "0"), uid, orig, 1024+r.IntN(60000), resp, r.IntN(10000), proto)
		fmt.Fprintf(&t, "%s\t%s\t%s\t%d\t%s\t%d\t%s", ts, uid, orig, 1024+r.IntN(60000), resp, r.IntN(10000), proto)
		if service != "" {
			fmt.Fprintf(&j, `,"service":%q`, service)
			fmt.Fprintf(&t, "\t%s", service)
		} else {
			t.WriteString("\t-")
		}
		if !none {
			fmt.Fprintf(&j, `,"duration":%v,"orig_bytes":%d,"resp_bytes":%d`, duration, origBytes, respBytes)
			fmt.Fprintf(&t, "\t%.6f\t%d\t%d", duration, origBytes, respBytes)
		} else {
			t.WriteString("\t-\t-\t-")
		}
		fmt.Fprintf(&j, `,"conn_state":%q,"local_orig":true,"local_resp":false,"missed_bytes":0,"history":%q,"orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d,"ip_proto":%d}`,
			state, history, origPkts, origBytes+52*origPkts, respPkts, respBytes+52*respPkts, number)
		fmt.Fprintf(&t, "\t%s\tT\tF\t0\t%s\t%d\t%d\t%d\t%d\t-\t%d",
			state, history, origPkts, origBytes+52*origPkts, respPkts, respBytes+52*respPkts, number)
		asJSON = append(asJSON, []byte(j.String()))
		asTSV = append(asTSV, []byte(t.String()))
	}
	return asJSON, asTSV
}

// benchmark decodes the lines round and round; an operation is a line.
func benchmark(b *testing.B, d decoder, lines [][]byte) {
	b.Helper()
	var size int64
	for _, line := range lines {
		size += int64(len(line))
	}
	b.SetBytes(size / int64(len(lines)))
	b.ReportAllocs()
	var rec minecanary.Record
	n := 0
	for b.Loop() {
		if out := d.Decode(lines[n], &rec); out.Kind != consumer.Decoded {
			b.Fatalf("%+v: %s", out, lines[n])
		}
		if n++; n == len(lines) {
			n = 0
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	lines, _ := traffic(8192)
	benchmark(b, zeek.NewJSON(), lines)
}

func BenchmarkTSV(b *testing.B) {
	_, lines := traffic(8192)
	benchmark(b, headed(b), lines)
}

// headed gives a TSV decoder that has read the header.
func headed(tb testing.TB) *zeek.TSV {
	tb.Helper()
	d := zeek.NewTSV(nil)
	var rec minecanary.Record
	for line := range strings.SplitSeq(header, "\n") {
		if out := d.Decode([]byte(line), &rec); out.Kind != consumer.Skipped {
			tb.Fatalf("%+v: %s", out, line)
		}
	}
	return d
}

// queries makes lines of dns.log of an ordinary network, which asks for one name a hundred times as often as for another,
// the same as JSON and as TSV.
func queries(n int) (asJSON, asTSV [][]byte) {
	r := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(r, 1.1, 8, 100_000)
	for range n {
		host := zipf.Uint64()
		ts := fmt.Sprintf("%d.%06d", 1751446436+r.IntN(86400), r.IntN(1_000_000))
		client, port, id := fmt.Sprintf("10.%d.%d.%d", r.IntN(4), r.IntN(256), r.IntN(256)), 1024+r.IntN(60000), r.IntN(65536)
		query := fmt.Sprintf("www%d.host%d.example", host%3, host)
		answers, ttls := []string{}, []string{}
		if host%2 == 0 {
			answers, ttls = append(answers, fmt.Sprintf("edge%d.cdn%d.example.net", host%50, host%7)), append(ttls, "300.0")
		}
		for i := range 1 + host%3 {
			answers, ttls = append(answers, fmt.Sprintf("203.0.%d.%d", host%256, i)), append(ttls, "60.0")
		}
		asJSON = append(asJSON, fmt.Appendf(nil,
			`{"ts":%s,"uid":"CC2y8B935JKcvFQ%d","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":"10.0.0.53","id.resp_p":53,"proto":"udp","trans_id":%d,"rtt":0.034820079803466797,"query":%q,"qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","rcode":0,"rcode_name":"NOERROR","AA":false,"TC":false,"RD":true,"RA":true,"Z":0,"answers":["%s"],"TTLs":[%s],"rejected":false}`,
			strings.TrimRight(ts, "0"), r.IntN(1000), client, port, id, query, strings.Join(answers, `","`), strings.Join(ttls, ",")))
		asTSV = append(asTSV, []byte(sideRow("dns", map[string]string{
			"ts": ts, "uid": "CC2y8B935JKcvFQ1", "id.orig_h": client, "id.orig_p": strconv.Itoa(port), "id.resp_h": "10.0.0.53", "id.resp_p": "53",
			"proto": "udp", "trans_id": strconv.Itoa(id), "rtt": "0.034820", "query": query, "qclass": "1", "qclass_name": "C_INTERNET",
			"qtype": "1", "qtype_name": "A", "rcode": "0", "rcode_name": "NOERROR", "AA": "F", "TC": "F", "RD": "T", "RA": "T", "Z": "0",
			"answers": strings.Join(answers, ","), "TTLs": strings.Join(ttls, ","), "rejected": "F",
		})))
	}
	return asJSON, asTSV
}

// benchmarkSightings is benchmark for lines that give sightings, which are copied as package decode does.
func benchmarkSightings(b *testing.B, d sighter, lines [][]byte) {
	b.Helper()
	b.ReportAllocs()
	var rec minecanary.Record
	var scratch, batch []minecanary.Sighting
	n := 0
	for b.Loop() {
		if out := d.Decode(lines[n], &rec); out.Kind != consumer.Sighted {
			b.Fatalf("%+v: %s", out, lines[n])
		}
		scratch = append(scratch, d.Sightings()...)
		if n++; n%700 == 0 { // as many as stand in a batch of a file
			batch, scratch = slices.Clone(scratch), scratch[:0]
		}
		if n == len(lines) {
			n = 0
		}
	}
	runtime.KeepAlive(batch)
}

func BenchmarkDNS(b *testing.B) {
	lines, _ := queries(8192)
	benchmarkSightings(b, zeek.NewJSON(), lines)
}

func BenchmarkDNSTSV(b *testing.B) {
	_, lines := queries(8192)
	benchmarkSightings(b, sideTSV(b, "dns"), lines)
}

// BenchmarkMixed decodes lines of conn.log among lines of dns.log, as a topic of all logs has them; an operation is a
// line of each.
func BenchmarkMixed(b *testing.B) {
	conns, _ := traffic(8192)
	names, _ := queries(8192)
	d := zeek.NewJSON()
	b.ReportAllocs()
	var rec minecanary.Record
	n := 0
	for b.Loop() {
		if d.Decode(conns[n], &rec).Kind != consumer.Decoded || d.Decode(names[n], &rec).Kind != consumer.Sighted {
			b.Fatal(string(conns[n]), string(names[n]))
		}
		if n++; n == len(conns) {
			n = 0
		}
	}
}
