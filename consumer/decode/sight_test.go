package decode

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/envelope"
	"github.com/minecanary/minecanary/consumer/slicer"
)

const (
	miningLine = `{"ts":1700000000.25,"uid":"C7MwKA1QSEerQBC5W6","id.orig_h":"198.51.100.17","id.orig_p":14444,"id.resp_h":"10.20.1.17","id.resp_p":46720,"protocol":"monero","seen":"server","turned":true,"method":"job","agent":"XMRig/6.21.0"}`
	sslNamed   = `{"ts":1700000001.5,"uid":"CcmDEN1VX50JGEUYOg","id.orig_h":"10.20.1.12","id.orig_p":38160,"id.resp_h":"203.0.113.12","id.resp_p":443,"version":"TLSv13","server_name":"pool.example.net","resumed":false,"established":true}`
	dnsLine    = `{"ts":1700000002.75,"uid":"C2y8B935JKcvFQ68U6","id.orig_h":"10.0.2.15","id.orig_p":45956,"id.resp_h":"192.0.2.53","id.resp_p":53,"proto":"udp","trans_id":4822,"query":"pool.example.com","qtype":1,"qtype_name":"A","rcode":0,"answers":["eu.pool.example.net","198.51.100.1"],"TTLs":[495.0,495.0],"rejected":false}`

	eveTLS   = `{"timestamp":"2023-11-14T22:13:20.000000+0000","flow_id":5,"event_type":"tls","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":443,"proto":"TCP","tls":{"sni":"pool.example.net"}}`
	eveDNS   = `{"timestamp":"2023-11-14T22:13:20.000000+0000","flow_id":6,"event_type":"dns","src_ip":"192.0.2.53","src_port":53,"dest_ip":"10.20.1.15","dest_port":40000,"proto":"UDP","dns":{"type":"answer","rcode":"NOERROR","rrname":"pool.example.com","rrtype":"A","rdata":"198.51.100.1"}}`
	eveAlert = `{"timestamp":"2023-11-14T22:13:20.000000+0000","flow_id":7,"event_type":"alert","src_ip":"203.0.113.15","src_port":3333,"dest_ip":"10.20.1.15","dest_port":47120,"proto":"TCP","alert":{"gid":1,"signature_id":9000013,"signature":"a \"job\""}}`
)

// side are lines that give sightings.
var (
	zeekSide = []string{miningLine, sslNamed, dnsLine}
	eveSide  = []string{eveTLS, eveDNS, eveAlert}
)

// member gives a line with a member before its own.
func member(text, line string) string { return "{" + text + "," + line[1:] }

// moved gives what a module of Filebeat makes of a line: fields go from where they were to where ECS has them.
func moved(line, under string, moves ...string) string {
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		panic(err)
	}
	root := map[string]any{"@timestamp": "2023-11-20T14:37:56.612Z", "host": map[string]any{"name": "s1"}}
	put := func(path string, v any) {
		at, keys := root, strings.Split(path, "/")
		for _, key := range keys[:len(keys)-1] {
			if at[key] == nil {
				at[key] = map[string]any{}
			}
			at = at[key].(map[string]any)
		}
		at[keys[len(keys)-1]] = v
	}
	for i := 0; i < len(moves); i += 2 {
		if v, ok := m[moves[i]]; ok {
			put(moves[i+1], v)
			delete(m, moves[i])
		}
	}
	put(under, m)
	b, err := json.Marshal(root)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func zeekModule(line string) string {
	log := "dns"
	if line == sslNamed {
		log = "ssl"
	}
	moves := []string{
		"id.orig_h", "source/address", "id.orig_p", "source/port", "id.resp_h", "destination/address", "id.resp_p", "destination/port",
		"proto", "network/transport", "uid", "zeek/session_id",
	}
	if log == "dns" { // the module leaves the time of ssl.log where it is
		moves = append(moves, "ts", "event/created")
	}
	return moved(line, "zeek/"+log, moves...)
}

func suricataModule(line string) string {
	return moved(line, "suricata/eve", "timestamp", "@timestamp", "src_ip", "source/address", "src_port", "source/port",
		"dest_ip", "destination/address", "dest_port", "destination/port", "proto", "network/transport")
}

// TestSideForms: in whatever envelope, the lines of side logs give the same sightings as the plain log.
func TestSideForms(t *testing.T) {
	inside := func(format string) func(string) string {
		return func(line string) string {
			text, err := json.Marshal(line)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf(format, text)
		}
	}
	around := func(format string) func(string) string {
		return func(line string) string { return fmt.Sprintf(format, line) }
	}
	plain := func(line string) string { return line }
	for _, tt := range []struct {
		name   string
		lines  []string
		wrap   func(string) string
		sensor string
	}{
		{"plain", zeekSide, plain, ""},
		{"tag", zeekSide, func(line string) string {
			return fmt.Sprintf(`{"%s": %s}`, map[string]string{miningLine: "mining", sslNamed: "ssl-2", dnsLine: "dns"}[line], line)
		}, ""},
		{"tag with more", zeekSide, func(line string) string {
			return fmt.Sprintf(`{"%s": %s,"sensor":"s1"}`, map[string]string{miningLine: "mining", sslNamed: "ssl", dnsLine: "dns"}[line], line)
		}, "s1"},
		{"streaming", zeekSide, func(line string) string {
			return member(`"_path":"`+map[string]string{miningLine: "mining", sslNamed: "ssl", dnsLine: "dns"}[line]+`","_system_name":"s1"`, line)
		}, "s1"},
		{"Filebeat", zeekSide, inside(`{"@timestamp":"2023-11-20T14:37:56.612Z","@metadata":{"beat":"filebeat"},"message":%s,"host":{"name":"s1"},"agent":{"type":"filebeat"}}`), "s1"},
		{"Filebeat with fields", zeekSide, around(`{"@timestamp":"2023-11-20T14:37:56.612Z","json":%s,"host":{"name":"s1"},"agent":{"type":"filebeat"}}`), "s1"},
		{"merged", zeekSide, func(line string) string {
			return member(`"@timestamp":"2023-11-20T14:37:56.612Z","host":{"name":"s1"}`, line)
		}, "s1"},
		{"Logstash", zeekSide, inside(`{"@timestamp":"2023-11-20T14:37:56.612Z","@version":"1","message":%s,"host":{"name":"s1"}}`), "s1"},
		{"Vector", zeekSide, inside(`{"file":"/x/current/site.log","host":"s1","message":%s,"source_type":"file"}`), "s1"},
		{"Fluent Bit", zeekSide, inside(`{"@timestamp":1700000000.123456,"log":%s}`), ""},
		{"array", zeekSide, around("[%s]"), ""},
		{"nested", zeekSide, func(line string) string {
			for _, key := range []string{"orig_h", "orig_p", "resp_h", "resp_p"} {
				line = strings.Replace(line, `"id.`+key+`"`, `"id_`+key+`"`, 1)
			}
			return line
		}, ""},
		{"Filebeat's zeek module", zeekSide[1:], zeekModule, "s1"},
		{"EVE", eveSide, plain, ""},
		{"EVE of Filebeat", eveSide, inside(`{"@timestamp":"2023-11-20T14:37:56.612Z","message":%s,"host":{"name":"s1"},"agent":{"type":"filebeat"}}`), "s1"},
		{"EVE of Filebeat's suricata module", eveSide, suricataModule, "s1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := strings.Join(tt.lines, "\n")
			var messages [][]byte
			for _, line := range tt.lines {
				messages = append(messages, []byte(tt.wrap(line)))
			}
			want := run(t, Config{}, []consumer.Batch{{Partition: "f", Name: "f", NewFile: true, FirstLine: 1, Data: []byte(data)}})
			if len(want.sightings) < len(tt.lines) || int(want.counts.Sighted) != len(tt.lines) || want.counts.Records != 0 {
				t.Fatalf("the plain lines are no good: %+v", want.counts)
			}
			for i := range want.sightings {
				want.sightings[i].Sensor = tt.sensor
			}
			got := run(t, Config{Now: func() time.Time { return wall }}, []consumer.Batch{batchOf("t", messages...)})
			if diff := cmp.Diff(want.sightings, got.sightings, addrs); diff != "" {
				t.Errorf("sightings (-plain +messages):\n%s", diff)
			}
			if diff := cmp.Diff(want.counts.Sightings, got.counts.Sightings); diff != "" || len(got.bad) != 0 || int(got.counts.Sighted) != len(tt.lines) {
				t.Errorf("bad %v, counts %+v", got.bad, got.counts)
			}
			if len(got.counts.ByForm) != 0 || len(got.counts.Newest) != 0 {
				t.Errorf("sightings are no records: %+v", got.counts)
			}
		})
	}
}

// TestSightingsInOrder: sightings come in the order of the source with the batch they stand in, whatever decodes them.
func TestSightingsInOrder(t *testing.T) {
	var text strings.Builder
	for i := range 300 {
		switch i % 3 {
		case 0:
			text.WriteString(conn(i % 250))
		default:
			text.WriteString(strings.Replace(sslNamed, "pool.", fmt.Sprintf("p%d.", i), 1) + "\n")
		}
	}
	got := run(t, Config{Workers: 4}, cut("f", text.String(), rand.New(rand.NewPCG(1, 1))))
	if len(got.sightings) != 200 || len(got.slices) != 100 || got.counts.Sightings["tls"] != 200 || got.counts.Sighted != 200 {
		t.Fatalf("%d sightings, %+v", len(got.sightings), got.counts)
	}
	for i, s := range got.sightings {
		if want := fmt.Sprintf("p%d.example.net", i+i/2+1); s.Name != want {
			t.Fatalf("sighting %d is of %s, want %s", i, s.Name, want)
		}
	}
}

// TestSightingsOfTheFuture: what a message says of a time to come is bad, as of records.
func TestSightingsOfTheFuture(t *testing.T) {
	now := time.Unix(1700000000, 0)
	late := strings.Replace(dnsLine, "1700000002.75", strconv.FormatInt(now.Add(MaxAhead+time.Minute).Unix(), 10), 1)
	soon := strings.Replace(dnsLine, "1700000002.75", strconv.FormatInt(now.Add(MaxAhead-time.Minute).Unix(), 10), 1)
	cfg := Config{Now: func() time.Time { return now }}
	got := run(t, cfg, []consumer.Batch{batchOf("t", []byte(late), []byte(soon), []byte(filebeat(late)))})
	if len(got.sightings) != 2 || got.counts.Bad[ReasonFuture] != 2 || got.counts.Sighted != 1 || got.counts.Lines != 3 {
		t.Errorf("%d sightings, %v, %+v", len(got.sightings), got.bad, got.counts)
	}
}

// TestBadSightings: rows of side logs that are broken are told like all others.
func TestBadSightings(t *testing.T) {
	broken := strings.Replace(miningLine, "198.51.100.17", "pool", 1)
	got := run(t, Config{}, []consumer.Batch{batchOf("t", []byte(broken), []byte(miningLine))})
	if diff := cmp.Diff([]string{`t/0:0:100 address "{\"ts\":170000"`}, got.bad); diff != "" || len(got.sightings) != 1 {
		t.Errorf("%s\n%+v", diff, got.counts)
	}
}

// TestRunningConnections: rows of conn_long.log are told by the file's name, the topic's, or their own.
func TestRunningConnections(t *testing.T) {
	for _, tt := range []struct {
		name       string
		batch      consumer.Batch
		cum, final bool
	}{
		{"file", consumer.Batch{Partition: "/x/conn_long.log", Name: "/x/conn_long.log", NewFile: true, Data: []byte(goodConn)}, true, false},
		{"rotated file", consumer.Batch{Partition: "f", Name: "x/conn_long.00:00:00-01:00:00.log.gz", NewFile: true, Data: []byte(goodConn)}, true, false},
		{"its own word", consumer.Batch{Partition: "f", Name: "f", NewFile: true, Data: []byte(member(`"_path":"conn_long"`, goodConn))}, true, false},
		{"topic", batchOf("zeek_conn_long", []byte(goodConn)), true, false},
		{"whole connections", batchOf("zeek_conn", []byte(goodConn)), true, true},
		{"short ones", batchOf("zeek_conn", []byte(with("898.5", "59.999999"))), false, false},
		{"short ones that run", batchOf("zeek_conn_long", []byte(with("898.5", "59.999999"))), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, Config{}, []consumer.Batch{tt.batch})
			if len(got.slices) != 1 || got.slices[0].Cumulative != tt.cum || got.slices[0].Final != tt.final || got.counts.Records != 1 {
				t.Fatalf("%+v, %+v", got.slices, got.counts)
			}
			if running := tt.cum && !tt.final; running != (got.counts.Packets == 0) {
				t.Errorf("%d packets counted", got.counts.Packets)
			}
		})
	}
}

// TestRunningConnectionsWithoutName: what cannot be told from other records of the same connection does not count.
func TestRunningConnectionsWithoutName(t *testing.T) {
	got := run(t, Config{}, []consumer.Batch{batchOf("zeek_conn_long", []byte(with(`"uid":"C1",`, "")))})
	if len(got.slices) != 0 || got.counts.Records != 1 {
		t.Errorf("%+v", got)
	}
}

// flowOf and netflowOf make events of flow n as Suricata writes them: one line, and one for each direction.
func flowOf(n int) string {
	return fmt.Sprintf(`{"timestamp":"2023-11-14T23:13:30.000000+0000","flow_id":%d,"event_type":"flow","src_ip":"192.0.2.5","src_port":40001,"dest_ip":"198.51.100.10","dest_port":3333,"proto":"TCP","flow":{"pkts_toserver":206,"pkts_toclient":204,"bytes_toserver":19558,"bytes_toclient":59926,"start":"2023-11-14T22:13:20.000000+0000","end":"2023-11-14T23:13:21.040000+0000"},"tcp":{"tcp_flags_ts":"1b","tcp_flags_tc":"1b"}}`+"\n", n)
}

func netflowOf(n int) string {
	const line = `{"timestamp":"2023-11-14T23:13:30.000000+0000","flow_id":%d,"event_type":"netflow","src_ip":"%s","src_port":%d,"dest_ip":"%s","dest_port":%d,"proto":"TCP","netflow":{"pkts":%d,"bytes":%d,"start":"2023-11-14T22:13:20.000000+0000","end":"2023-11-14T23:13:21.040000+0000"},"tcp":{"tcp_flags":"1b"}}` + "\n"
	return fmt.Sprintf(line, n, "192.0.2.5", 40001, "198.51.100.10", 3333, 206, 19558) +
		fmt.Sprintf(line, n, "198.51.100.10", 3333, "192.0.2.5", 40001, 204, 59926)
}

// TestNetflow: of one flow its flow event or its netflow events count, whichever came first; in one batch the flow event.
func TestNetflow(t *testing.T) {
	udp := func(s string) string { return strings.ReplaceAll(s, `"TCP"`, `"UDP"`) }
	unnamed := func(s string) string { return strings.ReplaceAll(s, `"flow_id":1,`, `"flow_id":null,`) }
	var many strings.Builder
	for n := range MaxFlows + 10 {
		many.WriteString(flowOf(1000 + n))
	}
	for _, tt := range []struct {
		name    string
		batches []string
		// records, and what was left out by reason.
		records, netflow, flow uint64
	}{
		{"only flow", []string{flowOf(1) + flowOf(2)}, 2, 0, 0},
		{"only netflow", []string{netflowOf(1) + netflowOf(2)}, 4, 0, 0},
		{"flow, then netflow", []string{flowOf(1) + netflowOf(1)}, 1, 2, 0},
		{"netflow, then flow, in one batch", []string{netflowOf(1) + flowOf(1)}, 1, 2, 0},
		{"flow, then netflow in the next batch", []string{flowOf(1) + flowOf(2), netflowOf(1), netflowOf(2)}, 2, 4, 0},
		{"netflow, then flow in the next batch", []string{netflowOf(1), flowOf(1) + flowOf(2)}, 3, 0, 1},
		{"torn apart", []string{netflowOf(1), flowOf(1) + netflowOf(1) + netflowOf(2), flowOf(2)}, 6, 0, 2},
		{"UDP", []string{udp(flowOf(1)) + udp(netflowOf(1))}, 1, 2, 0},
		{"no flow_id", []string{unnamed(flowOf(1)) + unnamed(netflowOf(1))}, 3, 0, 0},
		{"long ago", []string{flowOf(1), many.String(), netflowOf(1)}, MaxFlows + 10 + 1 + 2, 0, 0},
		{"not long ago", []string{many.String(), flowOf(1), netflowOf(1) + netflowOf(1000)}, MaxFlows + 10 + 1 + 2, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var batches []consumer.Batch
			all := strings.Join(tt.batches, "")
			for i, b := range tt.batches {
				batches = append(batches, consumer.Batch{Partition: "f", Name: "f", NewFile: i == 0, Data: []byte(b)})
			}
			got := run(t, Config{Workers: 2}, batches)
			if got.counts.Records != tt.records || got.counts.Skipped["netflow"] != tt.netflow || got.counts.Skipped[ReasonCountedAsNetflow] != tt.flow {
				t.Fatalf("%d records, skipped %v", got.counts.Records, got.counts.Skipped)
			}
			if lines := uint64(strings.Count(all, "\n")); got.counts.Records+tt.netflow+tt.flow != lines {
				t.Errorf("%d lines", lines)
			}
			// Each flow has its packets once, in the slices as in the counts.
			var packets, slices uint64
			for i := range got.slices {
				packets += got.slices[i].ClientPackets + got.slices[i].ServerPackets
				slices += uint64(got.slices[i].Counted())
			}
			if tt.name != "UDP" && (packets != got.counts.Packets || slices != got.counts.Slices) {
				t.Errorf("%d packets and %d slices, counted as %d and %d", packets, slices, got.counts.Packets, got.counts.Slices)
			}
		})
	}
}

// TestNetflowOrigin: what is left keeps its origin.
func TestNetflowOrigin(t *testing.T) {
	data := netflowOf(1) + flowOf(1) + flowOf(2) + netflowOf(2) + flowOf(3)
	s := New(Config{KeepOrigin: true, Slicer: slicer.New(slicer.Config{Virtual: time.Minute})})
	out := make(chan Result, 1)
	if err := s.Run(t.Context(), &source{[]consumer.Batch{{Partition: "f", Name: "f", NewFile: true, Data: []byte(data)}}}, out); err != nil {
		t.Fatal(err)
	}
	r := <-out
	if len(r.Slices) != 3 || len(r.Origin) != 3 {
		t.Fatalf("%d slices, %d origins", len(r.Slices), len(r.Origin))
	}
	for i, o := range r.Origin {
		if want := strings.TrimSpace(flowOf(i + 1)); string(r.Data[o.Begin:o.End]) != want || r.Slices[i].UID.String() != strconv.Itoa(i+1) {
			t.Errorf("slices %d are of %s: %s", i, r.Slices[i].UID, r.Data[o.Begin:o.End])
		}
	}
}

// TestTopicOfSideLogs: the name of a log in an envelope counts where the line tells nothing.
func TestTopicOfSideLogs(t *testing.T) {
	bare := strings.Replace(sslNamed, `,"resumed":false,"established":true`, "", 1)
	for _, msg := range []string{
		`{"ssl": ` + bare + `}`,
		`{"file":"/logs/ssl.log","message":` + fmt.Sprintf("%q", bare) + `,"source_type":"file"}`,
		`{"message":` + fmt.Sprintf("%q", bare) + `,"data_stream":{"dataset":"zeek.ssl"}}`,
		member(`"_path":"ssl"`, bare),
	} {
		if got := run(t, Config{}, []consumer.Batch{batchOf("t", []byte(msg))}); len(got.sightings) != 1 {
			t.Errorf("%s: %+v", msg, got.counts)
		}
	}
	known := map[string]envelope.Topic{"t": {Log: "ssl"}}
	if got := run(t, Config{Topics: known}, []consumer.Batch{batchOf("t", []byte(bare))}); len(got.sightings) != 1 {
		t.Errorf("by the configuration: %+v", got.counts)
	}
	kinds := slices.Collect(func(yield func(minecanary.SightingKind) bool) {
		for _, s := range run(t, Config{}, []consumer.Batch{batchOf("conn", []byte(miningLine), []byte(goodConn), []byte(dnsLine))}).sightings {
			if !yield(s.Kind) {
				return
			}
		}
	})
	if want := []minecanary.SightingKind{minecanary.SightedMining, minecanary.SightedDNS, minecanary.SightedDNS}; !slices.Equal(kinds, want) {
		t.Errorf("in a topic of conn: %v", kinds)
	}
}

// BenchmarkSides measures the whole stage on one worker with lines of conn.log alone, and with lines of side logs among
// them; an operation is a message.
func BenchmarkSides(b *testing.B) {
	for _, side := range []string{"", miningLine, sslNamed, dnsLine} {
		var messages [][]byte
		for range 1000 {
			messages = append(messages, []byte(goodConn))
			if side != "" {
				messages = append(messages, []byte(side))
			}
		}
		name := map[string]string{"": "conn", miningLine: "conn and mining", sslNamed: "conn and ssl", dnsLine: "conn and dns"}[side]
		benchmarkStage(b, name, batchOf("bro-raw", messages...))
	}
}
