//go:build services

package suricata_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/consumer/files"
	"github.com/minecanary/minecanary/consumer/slicer"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/score"
)

// sharedData is a folder of captures of others and their logs, which are not part of the project.
const sharedData = "../../../shared/data"

// pcaps gives the captures that Zeek's logs are at hand of: file and folder of the logs.
func pcaps(t *testing.T) map[string]string {
	t.Helper()
	if _, err := os.Stat(sharedData); err != nil {
		t.Skip("the labelled captures are not here: this test runs only where ../shared/data stands beside the checkout")
	}
	out := map[string]string{}
	for pattern, logs := range map[string]func(name string) string{
		"captures/*.pcap*": func(name string) string { return filepath.Join(sharedData, "zeek", filepath.Base(name)) },
		"ours/*/*.pcap":    func(name string) string { return filepath.Join(filepath.Dir(name), "plain") },
	} {
		found, err := filepath.Glob(filepath.Join(sharedData, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			out[name] = logs(name)
		}
	}
	if len(out) < 25 {
		t.Fatalf("only %d captures", len(out))
	}
	return out
}

// ends are the two ends of a connection, the lesser first: sensors differ on who its client is.
type ends struct{ a, b string }

func endsOf(ip1 string, port1 uint16, ip2 string, port2 uint16) (e ends, turned bool) {
	a, b := net.JoinHostPort(ip1, strconv.Itoa(int(port1))), net.JoinHostPort(ip2, strconv.Itoa(int(port2)))
	if a > b {
		return ends{b, a}, true
	}
	return ends{a, b}, false
}

// packets are those of the first end and of the second.
type packets [2]uint64

func (p packets) add(first, second uint64, turned bool) packets {
	if turned {
		first, second = second, first
	}
	return packets{p[0] + first, p[1] + second}
}

// fromZeek adds up the TCP and UDP rows of conn.log.
func fromZeek(t *testing.T, log string) map[ends]packets {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	out := map[ends]packets{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var row struct {
			Orig     string `json:"id.orig_h"`
			OrigPort uint16 `json:"id.orig_p"`
			Resp     string `json:"id.resp_h"`
			RespPort uint16 `json:"id.resp_p"`
			Proto    string
			OrigPkts uint64 `json:"orig_pkts"`
			RespPkts uint64 `json:"resp_pkts"`
		}
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			t.Fatalf("%s: %v", log, err)
		}
		if row.Proto != "tcp" {
			continue
		}
		k, turned := endsOf(row.Orig, row.OrigPort, row.Resp, row.RespPort)
		out[k] = out[k].add(row.OrigPkts, row.RespPkts, turned)
	}
	return out
}

// fromEVE adds up the TCP flows: of each the greatest counters that a flow event or an alert of the meter has.
func fromEVE(t *testing.T, log string) (sums map[ends]packets, meters int) {
	t.Helper()
	type flow struct {
		ends     ends
		turned   bool
		ts, tc   uint64
		finished bool
	}
	flows := map[uint64]flow{}
	for _, e := range events(t, log) {
		f := flows[e.ID]
		switch {
		case e.Proto != "TCP":
			continue
		case e.Type == "flow":
			f.ends, f.turned = endsOf(e.SrcIP, e.SrcPort, e.DestIP, e.DestPort)
			f.finished = true
		case e.Type == "alert" && (e.Alert.SID == sidMeter || e.Alert.SID == sidMeterTurned):
			f.ends, f.turned = endsOf(e.Flow.SrcIP, e.Flow.SrcPort, e.Flow.DestIP, e.Flow.DestPort)
			meters++
			if f.finished && (e.Flow.ToServer > f.ts || e.Flow.ToClient > f.tc) {
				t.Errorf("the meter knows more than the flow event: %+v", e)
			}
		default:
			continue
		}
		f.ts, f.tc = max(f.ts, e.Flow.ToServer), max(f.tc, e.Flow.ToClient)
		flows[e.ID] = f
	}
	sums = map[ends]packets{}
	for _, f := range flows {
		sums[f.ends] = sums[f.ends].add(f.ts, f.tc, f.turned)
	}
	return sums, meters
}

// TestCaptures reads the captures of others, and ours of two hours, and holds what Suricata makes of them against Zeek.
func TestCaptures(t *testing.T) {
	meters, pairs := 0, 0
	for pcap, logs := range pcaps(t) {
		t.Run(filepath.Base(pcap), func(t *testing.T) {
			log := read(t, pcap)
			meters += flowsAgree(t, filepath.Join(logs, "conn.log"), log)
			pairs += suspectsAgree(t, filepath.Join(logs, "conn.log"), log)
			passiveRulesFire(t, filepath.Base(pcap), log)
		})
	}
	t.Logf("%d alerts of the meter, %d pairs", meters, pairs)
}

// flowsAgree holds what Suricata counts with our configuration against what Zeek counted of the same capture, by the ends
// of connections; no code of the product is in between. It gives the number of the meter's alerts.
func flowsAgree(t *testing.T, zeek, eve string) int {
	t.Helper()
	want := fromZeek(t, zeek)
	got, meters := fromEVE(t, eve)
	for k, w := range want {
		if g, ok := got[k]; !ok {
			t.Errorf("only Zeek has %s, %s: %d packets", k.a, k.b, w)
		} else if g != w {
			t.Errorf("%s, %s: %d packets, Zeek %d", k.a, k.b, g, w)
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("only Suricata has %s, %s: %d packets", k.a, k.b, g)
		}
	}
	return meters
}

// suspect is what adds up for a pair.
type suspect struct {
	sum      minecanary.Aggregate
	segments int
}

// suspects reads logs as the product does, up to the table of suspects.
func suspects(t *testing.T, names ...string) (map[minecanary.Pair]suspect, decode.Counts) {
	t.Helper()
	src, err := files.New(files.Config{Paths: names, OnError: func(path string, err error) { t.Errorf("%s: %v", path, err) }})
	if err != nil {
		t.Fatal(err)
	}
	stage := decode.New(decode.Config{
		Marked: decode.DeferMarked, Slicer: slicer.New(slicer.Config{Virtual: time.Minute}),
		OnBad: func(b decode.Bad) error { t.Errorf("%s:%d: %s: %s", b.Name, b.Line, b.Reason, b.Data); return nil },
	})
	store := memory.New(memory.Config{Report: time.Hour, Inactive: 15 * time.Minute})
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	results, failed := make(chan decode.Result), make(chan error, 1)
	go func() { failed <- stage.Run(t.Context(), src, results) }()
	for r := range results {
		store.Add(r.Slices)
		if r.Release != nil {
			r.Release()
		}
		if r.Ack != nil {
			if err := r.Ack(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	out := map[minecanary.Pair]suspect{}
	store.View(func(v *enrich.Suspect) {
		var sum minecanary.Aggregate
		for i := range v.Segments {
			sum.Merge(&v.Segments[i].Aggregate)
		}
		out[v.Pair] = suspect{sum, len(v.Segments)}
	})
	return out, stage.Counts()
}

// suspectsAgree holds what the product makes of Suricata's log, flow events and the meter's alerts together, against what
// it makes of Zeek's: the same clients, endpoints and packets. It prints where the scores differ, and why, and gives the
// number of pairs.
func suspectsAgree(t *testing.T, zeekLog, eveLog string) int {
	t.Helper()
	var scorers []score.Scorer
	for _, name := range []string{"nemea", "canary"} {
		s, err := score.New(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		scorers = append(scorers, s)
	}
	zeek, _ := suspects(t, zeekLog)
	eve, _ := suspects(t, eveLog)
	for pair := range zeek {
		if _, ok := eve[pair]; !ok {
			t.Errorf("only Zeek has %s -> %s: %+v", pair.Client, pair.Server, zeek[pair].sum)
		}
	}
	for pair, e := range eve {
		z, ok := zeek[pair]
		if !ok {
			t.Errorf("only Suricata has %s -> %s: %+v", pair.Client, pair.Server, e.sum)
			continue
		}
		if e.sum.ClientPackets != z.sum.ClientPackets || e.sum.ServerPackets != z.sum.ServerPackets {
			t.Errorf("%s -> %s: %d/%d packets, Zeek %d/%d", pair.Client, pair.Server,
				e.sum.ClientPackets, e.sum.ServerPackets, z.sum.ClientPackets, z.sum.ServerPackets)
		}
		for _, s := range scorers {
			if what := difference(s, pair, z, e); what != "" {
				t.Logf("%s -> %s: %s", pair.Client, pair.Server, what)
			}
		}
	}
	return len(eve)
}

// why explains what differs between the sensors, by criterion.
var why = map[string]string{
	"protocol":           "they recognise different protocols",
	"client_payload":     "Suricata counts frames, of which the payload is an estimate",
	"server_payload":     "Suricata counts frames, of which the payload is an estimate",
	"ack_share":          "slices are made of other records, and an estimated payload of nothing counts as none",
	"packets_per_slice":  "slices are made of other records",
	"packets_per_minute": "Zeek and Suricata end silent connections after different times",
}

// difference says what makes two scores differ; "" if they are the same.
func difference(s score.Scorer, p minecanary.Pair, z, e suspect) string {
	a, b := s.Explain(p.Server.Port, &z.sum), s.Explain(p.Server.Port, &e.sum)
	var parts []string
	for i := range a.Criteria {
		if a.Criteria[i].Points != b.Criteria[i].Points {
			parts = append(parts, fmt.Sprintf("%s %g (%+g) against %g (%+g)", a.Criteria[i].Name, a.Criteria[i].Value, a.Criteria[i].Points, b.Criteria[i].Value, b.Criteria[i].Points))
			if text := why[a.Criteria[i].Name]; text != "" {
				parts = append(parts, text)
			}
		}
	}
	if len(parts) == 0 {
		return ""
	}
	if z.segments != e.segments || z.sum.Records != e.sum.Records {
		parts = append(parts, fmt.Sprintf("Zeek wrote %d records, Suricata %d", z.sum.Records, e.sum.Records))
	}
	return fmt.Sprintf("%s %g from Zeek, %g from Suricata: %s", s.Name(), s.Points(p.Server.Port, &z.sum), s.Points(p.Server.Port, &e.sum), strings.Join(parts, "; "))
}

// TestMeterAloneIsEnough: of connections that still run there are only the meter's alerts. They give the same clients and
// endpoints, and the packets of the last alert.
func TestMeterAloneIsEnough(t *testing.T) {
	log := read(t, filepath.Join(tracesDir, "mining_long.pcap"))
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var meterOnly []byte
	type last struct{ ts, tc uint64 }
	want := map[string]last{}
	for line := range bytes.Lines(b) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != "alert" || e.Alert.SID != sidMeter && e.Alert.SID != sidMeterTurned {
			continue
		}
		meterOnly = append(meterOnly, line...)
		// The alert's packet is one from inside, in both rules.
		key := e.SrcIP + " " + net.JoinHostPort(e.DestIP, strconv.Itoa(int(e.DestPort)))
		n := last{e.Flow.ToServer, e.Flow.ToClient}
		if e.Alert.SID == sidMeterTurned {
			n = last{n.tc, n.ts}
		}
		want[key] = last{max(want[key].ts, n.ts), max(want[key].tc, n.tc)}
	}
	name := filepath.Join(t.TempDir(), "meter.json")
	if err := os.WriteFile(name, meterOnly, 0o600); err != nil {
		t.Fatal(err)
	}
	got, counts := suspects(t, name)
	if len(want) < 5 || len(got) != len(want) {
		t.Errorf("%d pairs, the alerts have %d; %+v", len(got), len(want), counts)
	}
	for pair, s := range got {
		key := pair.Client.String() + " " + net.JoinHostPort(pair.Server.Addr.String(), strconv.Itoa(int(pair.Server.Port)))
		if w := want[key]; s.sum.ClientPackets != w.ts || s.sum.ServerPackets != w.tc {
			t.Errorf("%s: %d/%d packets, the last alert has %v", key, s.sum.ClientPackets, s.sum.ServerPackets, w)
		}
	}
}

// plain are the captures with miners in plain text, and their pools.
var plain = map[string]string{
	"peafowl_monero.pcap":                               "178.32.196.217:9050",
	"zeek-cryptomining_bitcoin-mining.pcap":             "74.84.128.158:3333",
	"zeek-cryptomining_bitcoin-mining-in-progress.pcap": "74.84.128.158:3333",
	"monero.pcap":     "203.0.113.15:3333",
	"monero-iot.pcap": "198.51.100.17:14444",
	"stratum-v1.pcap": "192.0.2.10:3333",
}

// passiveRulesFire: on the captures of miners in plain text the rules of both sides fire, on the others none.
func passiveRulesFire(t *testing.T, name, log string) {
	t.Helper()
	sides := map[string]map[bool]int{}
	for _, e := range events(t, log) {
		if e.Type != "alert" || e.Alert.SID < sidPassive {
			continue
		}
		byServer := e.Alert.SID%2 == 1
		server := net.JoinHostPort(e.DestIP, strconv.Itoa(int(e.DestPort)))
		if byServer {
			server = net.JoinHostPort(e.SrcIP, strconv.Itoa(int(e.SrcPort)))
		}
		if sides[server] == nil {
			sides[server] = map[bool]int{}
		}
		sides[server][byServer]++
	}
	pool, mining := plain[name]
	if mining && len(sides[pool]) != 2 {
		t.Errorf("%s is not seen from both sides: %v", pool, sides)
	}
	if !mining && len(sides) > 0 {
		t.Errorf("fired on %v", sides)
	}
}
