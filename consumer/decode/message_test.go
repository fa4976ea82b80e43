package decode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/envelope"
	"github.com/minecanary/minecanary/consumer/envelope/envelopetest"
	"github.com/minecanary/minecanary/consumer/slicer"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// batchOf makes a batch of messages, with offsets that have gaps.
func batchOf(topic string, messages ...[]byte) consumer.Batch {
	b := consumer.Batch{
		Partition: topic + "/0", Name: topic + "/0", Topic: topic, FirstLine: 100, Messages: []consumer.Message{},
	}
	for i, m := range messages {
		b.Data = append(b.Data, m...)
		b.Messages = append(b.Messages, consumer.Message{End: len(b.Data), Offset: 100 + 2*int64(i)})
	}
	return b
}

// plain decodes lines as a file.
func plain(t *testing.T, lines [][]byte) outcome {
	t.Helper()
	var text strings.Builder
	for _, l := range lines {
		text.Write(l)
		text.WriteByte('\n')
	}
	return run(t, Config{}, []consumer.Batch{{Partition: "f", Name: "f", NewFile: true, FirstLine: 1, Data: []byte(text.String())}})
}

// TestForms: in whatever envelope, records become the same slices as the plain log.
func TestForms(t *testing.T) {
	for _, f := range envelopetest.Forms() {
		t.Run(f.Name, func(t *testing.T) {
			want := plain(t, f.Want)
			// The line of ssl.log among Zeek's has no name; all of Suricata's are of use.
			skipped := uint64(1)
			if f.EVE {
				skipped = 0
			}
			if len(want.slices) == 0 || len(want.bad) != 0 || Total(want.counts.Skipped) != skipped {
				t.Fatalf("the plain lines are no good: %+v", want.counts)
			}
			got := run(t, Config{Workers: 2, KeepOrigin: true}, []consumer.Batch{batchOf(f.Topic, f.Messages...)})
			for i := range want.slices {
				want.slices[i].Sensor = f.Sensor
			}
			if f.NoPayload {
				for _, o := range []outcome{want, got} {
					for i := range o.slices {
						o.slices[i].ClientPayload, o.slices[i].ServerPayload = 0, 0
					}
				}
			}
			if diff := cmp.Diff(want.slices, got.slices, addrs); diff != "" {
				t.Errorf("slices (-plain +messages):\n%s", diff)
			}
			if len(got.bad) != 0 || got.counts.Records != want.counts.Records || Total(got.counts.Skipped) != skipped {
				t.Errorf("bad %v, counts %+v", got.bad, got.counts)
			}
			if got.counts.Lines != uint64(len(f.Want)) || got.counts.Messages != uint64(len(f.Messages)) {
				t.Errorf("%d lines, %d messages; want %d, %d", got.counts.Lines, got.counts.Messages, len(f.Want), len(f.Messages))
			}
			if newest := slices.Collect(maps.Keys(got.counts.Newest)); len(newest) != 1 || newest[0] != f.Sensor {
				t.Errorf("newest records of %q", newest)
			}
			if n := Total(got.counts.ByForm); n != got.counts.Records {
				t.Errorf("%d records by form: %v", n, got.counts.ByForm)
			}
		})
	}
}

// TestFormNames: each golden file counts under the name of its envelope.
func TestFormNames(t *testing.T) {
	want := map[string]string{
		"01-tag-json": "tagged/zeek-json", "02-tag-json-values": "tagged+/zeek-json", "03-untagged": "zeek-json",
		"04-json-streaming": "path/zeek-json", "05-filebeat": "filebeat/zeek-json", "06-filebeat-json": "json/zeek-json",
		"06-filebeat-merged": "merged/zeek-json", "07-filebeat-zeek": "filebeat-zeek/zeek-json",
		"07-filebeat-zeek-older": "filebeat-zeek/zeek-json", "08-elastic-agent": "elastic-agent/zeek-json",
		"09-logstash": "logstash/zeek-json", "09-logstash-decoded": "merged/zeek-json", "10-vector": "vector/zeek-json",
		"11-fluent-bit": "fluent-bit/zeek-json", "11-fluent-bit-decoded": "merged/zeek-json",
		"12-nested-ids": "zeek-json", "12-renamed-ids": "zeek-json", "13-eve": "eve", "14-eve-filebeat": "filebeat/eve",
		"14-eve-json": "json/eve", "14-eve-suricata": "filebeat-suricata/eve", "14-eve-moved": "filebeat-suricata/eve",
		"15-tenzir": "path/zeek-json",
	}
	for _, f := range envelopetest.Forms() {
		if strings.Contains(f.Name, ",") {
			continue
		}
		got := run(t, Config{}, []consumer.Batch{batchOf(f.Topic, f.Messages...)})
		if names := slices.Collect(maps.Keys(got.counts.ByForm)); len(names) != 1 || names[0] != want[f.Name] {
			t.Errorf("%s counts as %v, want %s", f.Name, names, want[f.Name])
		}
		delete(want, f.Name)
	}
	if len(want) != 0 {
		t.Errorf("no form named %v", slices.Collect(maps.Keys(want)))
	}
}

// TestGoflow2: what goflow2 sends to a topic, as it is and as shippers wrap it.
func TestGoflow2(t *testing.T) {
	const row = `{"type":"NETFLOW_V9","sampling_rate":0,"sampler_address":"192.0.2.1","time_flow_start_ns":1751446436500000000,"time_flow_end_ns":1751446741986000000,"bytes":4388,"packets":31,"src_addr":"10.20.1.15","dst_addr":"203.0.113.15","proto":"TCP","src_port":47120,"dst_port":3333,"tcp_flags":24}`
	older := strings.NewReplacer("time_flow_start_ns", "TimeFlowStartMs", "500000000", "500", "time_flow_end_ns", "TimeFlowEndMs", "986000000", "986",
		"bytes", "Bytes", "packets", "Packets", "src_addr", "SrcAddr", "dst_addr", "DstAddr", "proto", "Proto", "src_port", "SrcPort", "dst_port", "DstPort",
		"tcp_flags", "TcpFlags", "sampler_address", "SamplerAddress", `"type"`, `"TimeFlowStart":1751446437,"Type"`).Replace(row)
	want := plain(t, [][]byte{[]byte(row)})
	if len(want.slices) != 1 || want.slices[0].AckPush != 1 || want.slices[0].Sensor != "192.0.2.1" || want.counts.ByForm["goflow2"] != 1 {
		t.Fatalf("%+v", want)
	}
	for _, tt := range []struct {
		name, topic, msg, form string
		topics                 map[string]envelope.Topic
	}{
		{"as it is", "flows", row, "goflow2", nil},
		{"version 1", "flows", older, "goflow2", nil},
		{"other keys first", "flows", strings.Replace(row, `{"type":"NETFLOW_V9",`, `{`, 1), "goflow2", nil},
		{"in a line of text", "flows", filebeat(row), "filebeat/goflow2", nil},
		{"with a shipper's keys", "flows", strings.Replace(row, `{`, `{"@timestamp":"2025-07-02T08:59:01Z",`, 1), "merged/goflow2", nil},
		{"with a shipper's keys behind", "flows", row[:len(row)-1] + `,"@timestamp":"2025-07-02T08:59:01Z"}`, "merged/goflow2", nil},
		{"in an array", "flows", "[" + row + "]", "goflow2", nil},
		{"a topic of goflow2", "netflow", row, "goflow2", map[string]envelope.Topic{"netflow": {Form: consumer.FormGoflow2}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, Config{Topics: tt.topics}, []consumer.Batch{batchOf(tt.topic, []byte(tt.msg), []byte(tt.msg))})
			if diff := cmp.Diff(append(want.slices, want.slices...), got.slices, addrs); diff != "" {
				t.Errorf("slices (-plain +messages):\n%s", diff)
			}
			if len(got.bad) != 0 || got.counts.ByForm[tt.form] != 2 || got.counts.NoFlags != 0 {
				t.Errorf("bad %v, counts %+v", got.bad, got.counts)
			}
		})
	}
	broken := run(t, Config{}, []consumer.Batch{batchOf("flows", []byte(strings.Replace(row, "4388", "-1", 1)))})
	if broken.counts.Bad["range"] != 1 || broken.counts.Records != 0 {
		t.Errorf("%+v", broken.counts)
	}
}

const goodConn = `{"ts":1700000000.25,"uid":"C1","id.orig_h":"192.0.2.5","id.orig_p":40001,"id.resp_h":"198.51.100.10","id.resp_p":3333,"proto":"tcp","duration":898.5,"orig_bytes":2511,"resp_bytes":13303,"conn_state":"SF","history":"ShADadFf","orig_pkts":57,"orig_ip_bytes":4791,"resp_pkts":55,"resp_ip_bytes":15503}`

// with changes the good line.
func with(old, now string) string {
	if !strings.Contains(goodConn, old) {
		panic(old)
	}
	return strings.Replace(goodConn, old, now, 1)
}

func filebeat(text string) string {
	return fmt.Sprintf(`{"@timestamp":"2023-11-20T14:37:56.612Z","@metadata":{"beat":"filebeat"},"message":%q,"log":{"file":{"path":"/x/conn.log"}}}`, text)
}

// poison is what comes by topics beside records.
var poison = []struct {
	name, msg string
	// bad or skipped is the reason; neither: it is a record.
	bad, skipped string
}{
	{"nothing (a tombstone)", "", "", "empty"},
	{"blanks", " \r\n\t", "", "empty"},
	{"not JSON", "hello", "json", ""},
	{"a word of JSON", "true", "json", ""},
	{"a number", "17", "json", ""},
	{"a list of numbers", "[17]", "unknown", ""},
	{"a text", `"hello"`, "json", ""},
	{"binary", "\x00\x01\x02\xff\xfe", "json", ""},
	{"NUL before", "\x00" + goodConn, "json", ""},
	{"NUL in a text", with(`"C1"`, "\"C\x001\""), "json", ""},
	{"cut short", goodConn[:200], "json", ""},
	{"no quote at the end", goodConn[:16] + `"x`, "json", ""},
	{"empty object", "{}", "unknown", ""},
	{"empty array", "[]", "", "empty"},
	{"some object", `{"a":1,"b":{"c":[]}}`, "unknown", ""},
	{"a syslog line of Filebeat", `{"@timestamp":"2023-11-20T14:37:56.612Z","message":"sshd[1]: hello","host":{"name":"x"}}`, "unknown", ""},
	{"NaN", with("898.5", "NaN"), "json", ""},
	{"Infinity", with("898.5", "-Infinity"), "json", ""},
	{"NaN as a text", with("898.5", `"NaN"`), "field", ""},
	{"a number of 1000 digits", with("4791", strings.Repeat("9", 1000)), "range", ""},
	{"exponent", with("4791", "1e400"), "range", ""},
	{"a text for a number", with("57", `"57"`), "field", ""},
	{"an object for a text", with(`"tcp"`, `{"tcp":1}`), "field", ""},
	{"a list for an address", with(`"192.0.2.5"`, `["192.0.2.5"]`), "field", ""},
	{"an address that is none", with("192.0.2.5", "192.0.2.555"), "address", ""},
	{"a port that is none", with("40001", "140001"), "range", ""},
	{"a negative duration", with("898.5", "-898.5"), "range", ""},
	{"negative packets", with("57", "-57"), "range", ""},
	{"a time before 1970", with("1700000000.25", "-1700000000.25"), "range", ""},
	{"ten years ahead", with("1700000000.25", "2015360000.25"), "future", ""},
	{"a week ahead", with("1700000000.25", "1700604800.25"), "future", ""},
	{"ten years back", with("1700000000.25", "1384640000.25"), "", ""},
	{"invalid UTF-8 in a name", with(`"C1"`, "\"C\xff\xfe1\""), "", ""},
	{"invalid UTF-8 in an address", with("192.0.2.5", "192.0.2.\xff"), "address", ""},
	{"equal keys, the last good", with(`"orig_pkts":57`, `"orig_pkts":"x","orig_pkts":57`), "", ""},
	{"equal keys, the last bad", with(`"orig_pkts":57`, `"orig_pkts":57,"orig_pkts":"x"`), "field", ""},
	{"equal keys of an envelope", `{"message":"x","message":` + fmt.Sprintf("%q", goodConn) + `}`, "", ""},
	{"100,000 arrays deep", strings.Repeat("[", 100_000), "depth", ""},
	{"100,000 arrays deep and back", strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "depth", ""},
	{"100,000 objects deep", strings.Repeat(`{"a":`, 100_000), "depth", ""},
	{"a record with a field 100 deep", with(`"SF"`, strings.Repeat("[", 100)+strings.Repeat("]", 100)), "depth", ""},
	{"1 MiB of nothing", strings.Repeat("x", consumer.MaxLine), "json", ""},
	{"1 MiB of text", `{"message":"` + strings.Repeat("x", consumer.MaxLine-14) + `"}`, "unknown", ""},
	{"1 MiB of keys", "{" + strings.Repeat(`"a":1,`, consumer.MaxLine/6-1) + `"a":1}`, "unknown", ""},
	{"1 MiB in a record", with(`"C1"`, `"`+strings.Repeat(`\u0041`, 170_000)+`"`), "", ""},
	{"five layers", filebeat(filebeat(filebeat(filebeat(filebeat(goodConn))))), "layers", ""},
	{"four layers", filebeat(filebeat(filebeat(filebeat(goodConn)))), "", ""},
	{"lists in lists", "[[[[[]]]]]", "layers", ""},
	{"broken inside", filebeat(goodConn[:100]), "json", ""},
	{"bad inside", filebeat(with("57", `"57"`)), "field", ""},
	{"gzip of garbage", string(envelopetest.Gzip([]byte("hello"))), "json", ""},
	{"gzip cut short", string(envelopetest.Gzip([]byte(goodConn))[:150]), "gzip", ""},
	{"gzip that is none", "\x1f\x8bhello", "gzip", ""},
	{"gzip with a wrong sum", func() string {
		z := envelopetest.Gzip([]byte(goodConn))
		z[len(z)-6] ^= 1
		return string(z)
	}(), "gzip", ""},
	{"gzip of gzip", string(envelopetest.Gzip(envelopetest.Gzip([]byte(goodConn)))), "json", ""},
	{"gzip of very much", string(envelopetest.Gzip(make([]byte, envelope.MaxInflated+1))), "inflated", ""},
	{"gzip of much", string(envelopetest.Gzip([]byte(goodConn + strings.Repeat(" ", 1<<20)))), "inflated", ""},
	{"http.log", `{"ts":1700000000.0,"uid":"C1","id.orig_h":"192.0.2.5","id.orig_p":1,"id.resp_h":"192.0.2.6","id.resp_p":80,"trans_depth":1,"method":"GET","host":"x.example"}`, "", "other_log"},
	{"tagged http.log", `{"http": {"ts":1700000000.0,"uid":"C1","id.orig_h":"192.0.2.5"}}`, "", "other_log"},
	{"a tag nobody knows", `{"site_log": ` + goodConn + `}`, "", "other_log"},
	{"a path nobody knows", `{"_path":"site_log",` + goodConn[1:], "", "other_log"},
	{"capture_loss.log", `{"ts":1700000000.0,"ts_delta":900.0,"peer":"worker-1","gaps":0,"acks":0,"percent_lost":0.0}`, "", "other_log"},
	{"loaded_scripts.log with a tag", `{"loaded_scripts": {"name":"/opt/zeek/x.zeek"}}`, "", "other_log"},
	{"ssl.log in front of conn.log", `{"ssl": ` + goodConn + `}{"conn": ` + goodConn + `}`, "", "no_name"},
	{"broken ssl.log with a tag", `{"ssl": ` + goodConn[:45] + `}}`, "json", ""},
	{"conn_long.log with a tag", `{"conn_long": ` + goodConn + `}`, "", ""},
	{"conn_long.log of Vector", `{"file":"/logs/conn_long.log","message":` + fmt.Sprintf("%q", goodConn) + `,"source_type":"file"}`, "", ""},
	{"conn_long.log, decoded", `{"file":"/logs/conn_long.log",` + goodConn[1:], "", ""},
	{"conn_long.log, decoded, with the file last", goodConn[:len(goodConn)-1] + `,"path":"/logs/conn_long.log"}`, "", ""},
	{"an alert", `{"timestamp":"2023-11-14T22:18:21.000000+0000","flow_id":1,"event_type":"alert"}`, "", "alert"},
	{"a type of event nobody knows", `{"timestamp":"2023-11-14T22:18:21.000000+0000","flow_id":1,"event_type":"zebra"}`, "", "other_event"},
	{"a flow without its flow", `{"timestamp":"2023-11-14T22:18:21.000000+0000","flow_id":1,"event_type":"flow"}`, "field", ""},
	{"TSV without a header", "1751446436.4\tC1\t192.0.2.1\t40000\t203.0.113.1\t3333\ttcp", "json", ""},
	{"a comment", "# hello", "json", ""},
	{"Filebeat's zeek module with nothing in it", `{"zeek":{"session_id":"C1","connection":{}}}`, "field", ""},
	{"suricata.eve with nothing in it", `{"suricata":{"eve":{}}}`, "unknown", ""},
	{"suricata.eve of another type", `{"suricata":{"eve":[1]}}`, "unknown", ""},
}

var wall = time.Unix(1700086400, 0)

// TestPoison: what is bad or of no use is told for a reason each, and the records around it are not touched.
func TestPoison(t *testing.T) {
	cfg := Config{Workers: 1, Now: func() time.Time { return wall }}
	want := run(t, cfg, []consumer.Batch{batchOf("bro-raw", []byte(goodConn))})
	for _, tt := range poison {
		t.Run(tt.name, func(t *testing.T) {
			records := 2
			if tt.bad+tt.skipped == "" || strings.HasSuffix(tt.name, "in front of conn.log") {
				records = 3
			}
			started := time.Now()
			got := run(t, cfg, []consumer.Batch{batchOf("bro-raw", []byte(goodConn), []byte(tt.msg), []byte(goodConn))})
			if took := time.Since(started); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
			if int(got.counts.Records) != records || len(got.slices) != records {
				t.Fatalf("%d records, want %d: %+v, bad %v", got.counts.Records, records, got.counts, got.bad)
			}
			if diff := cmp.Diff([]minecanary.Slices{want.slices[0], want.slices[0]}, []minecanary.Slices{got.slices[0], got.slices[records-1]}, addrs); diff != "" {
				t.Errorf("the records around it:\n%s", diff)
			}
			var bad []string
			skipped := map[string]uint64{}
			if tt.bad != "" {
				bad = []string{fmt.Sprintf("bro-raw/0:0:102 %s %.12q", tt.bad, tt.msg[:min(len(tt.msg), consumer.MaxSample)])}
			}
			if tt.skipped != "" {
				skipped[tt.skipped] = 1
			}
			if tt.msg != "" && tt.msg[0] == '[' && len(got.bad) == 1 {
				// What is bad is inside of the list.
				bad[0], got.bad[0] = tt.bad, strings.Fields(got.bad[0])[1]
			}
			if diff := cmp.Diff(bad, got.bad); diff != "" {
				t.Errorf("bad:\n%s", diff)
			}
			if diff := cmp.Diff(skipped, got.counts.Skipped); diff != "" {
				t.Errorf("skipped:\n%s", diff)
			}
		})
	}
}

// TestBadMessage: a Bad tells where it comes from, and holds the first 4 KiB.
func TestBadMessage(t *testing.T) {
	b := batchOf("t", []byte("x"+strings.Repeat("y", 10_000)), []byte(goodConn), []byte("z"+strings.Repeat("z", 5000)),
		[]byte("["+goodConn+", 17, "+goodConn+"]"), []byte(goodConn+"\nrubbish\n"+goodConn+"\n"+with("57", `""`)), []byte(`[`+goodConn+`, {`),
		[]byte("{\n\"a\": 1\nx\n}\n"+goodConn+"\x00"))
	b.Messages[2].Cut = true
	var got []Bad
	s := New(Config{Slicer: slicer.New(slicer.Config{}), Workers: 1, OnBad: func(b Bad) error {
		b.Data = []byte(fmt.Sprintf("%d %.9s", len(b.Data), b.Data))
		got = append(got, b)
		return nil
	}})
	out := make(chan Result, 1)
	if err := s.Run(t.Context(), &source{[]consumer.Batch{b}}, out); err != nil {
		t.Fatal(err)
	}
	bad := func(offset int64, record int, reason, data string) Bad {
		return Bad{Name: "t/0", Partition: "t/0", Topic: "t", Offset: offset, Record: record, Reason: reason, Data: []byte(data)}
	}
	want := []Bad{
		bad(100, 0, "json", "4096 xyyyyyyyy"),
		bad(104, 0, "too_long", "4096 zzzzzzzzz"),
		bad(106, 2, "unknown", "2 17"),
		bad(108, 2, "json", "7 rubbish"),
		bad(108, 4, "field", fmt.Sprintf(`%d {"ts":170`, len(goodConn))),
		bad(110, 2, "json", "1 {"),
		bad(112, 1, "json", "12 {\n\"a\": 1\n"),
		bad(112, 3, "json", "1 \x00"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c := s.Counts(); c.Records != 7 || c.Lines != 15 || c.Messages != 7 {
		t.Errorf("%+v", c)
	}
}

// TestManyBadParts: rubbish by the thousand in one message does not become thousands of letters.
func TestManyBadParts(t *testing.T) {
	text := strings.Repeat("rubbish\n", 100_000) + goodConn + "\n" + strings.Repeat("{\n[\n", 1000) + goodConn
	got := run(t, Config{}, []consumer.Batch{batchOf("t", []byte(text))})
	if got.counts.Records != 2 || got.counts.Bad["json"] != envelope.MaxBad || got.counts.Bad["many_bad"] != 1 {
		t.Errorf("%+v", got.counts)
	}
}

// TestTopics: what is configured for a topic counts more than what its messages tell.
func TestTopics(t *testing.T) {
	const header = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"
	const row = "1751446436.4\tC1\t192.0.2.1\t40000\t203.0.113.1\t3333\ttcp\t100\t9000\t90\t8000"
	renamed := `{"_path":"site_conn",` + goodConn[1:]
	for _, tt := range []struct {
		name, topic string
		known       envelope.Topic
		msg         string
		records     int
		reason      string
	}{
		{"a name for a log", "t", envelope.Topic{Log: "conn"}, renamed, 1, ""},
		{"a name for a log in an envelope", "t", envelope.Topic{Log: "conn"}, filebeat(renamed), 1, ""},
		{"a name for a log with a tag", "t", envelope.Topic{Log: "conn"}, `{"site": ` + goodConn + `}`, 1, ""},
		{"a log of no use", "t", envelope.Topic{Log: "http"}, goodConn, 0, "other_log"},
		{"running connections", "t", envelope.Topic{Log: "conn_long"}, goodConn, 1, ""},
		{"Zeek where EVE is due", "t", envelope.Topic{Form: consumer.FormEVE}, goodConn, 0, "unknown"},
		{"JSON where TSV is due", "t", envelope.Topic{Form: consumer.FormZeekTSV}, goodConn, 0, "no_header"},
		{"TSV where TSV is due", "t", envelope.Topic{Form: consumer.FormZeekTSV}, header + row, 1, ""},
		{"TSV where TSV is due, without a header", "t", envelope.Topic{Form: consumer.FormZeekTSV}, row, 0, "no_header"},
		{"TSV in an envelope", "t", envelope.Topic{Form: consumer.FormZeekTSV}, filebeat(header + row), 1, ""},
		{"TSV with its header", "t", envelope.Topic{}, header + row + "\n\n" + row + "\n", 2, ""},
		{"the topic's name tells the log", "zeek_conn_long", envelope.Topic{}, goodConn, 1, ""},
		{"the topic's name tells nothing", "bro-raw", envelope.Topic{}, goodConn, 1, ""},
		{"the topic's name and the columns", "zeek-conn", envelope.Topic{}, fmt.Sprintf(interimLine, 1, 1), 1, ""},
		{"a row without counters by the topic's name", "conn", envelope.Topic{}, `{"ts":1,"uid":"C1","id.orig_h":"192.0.2.1","id.orig_p":1,"id.resp_h":"192.0.2.2","id.resp_p":2,"proto":"tcp"}`, 0, "no_counters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, Config{Topics: map[string]envelope.Topic{"t": tt.known}}, []consumer.Batch{batchOf(tt.topic, []byte(tt.msg))})
			if int(got.counts.Records) != tt.records {
				t.Errorf("%d records, want %d: %+v", got.counts.Records, tt.records, got.counts)
			}
			if tt.reason != "" && got.counts.Bad[tt.reason]+got.counts.Skipped[tt.reason] != 1 {
				t.Errorf("want reason %s: %+v", tt.reason, got.counts)
			}
		})
	}
}

// TestSensors: who sent a record is told by what is nearest to it.
func TestSensors(t *testing.T) {
	for _, tt := range []struct{ name, msg, want string }{
		{"none", goodConn, ""},
		{"the record's own", `{"_system_name":"own","host":{"name":"x"},` + goodConn[1:], "own"},
		{"Filebeat's host", `{"message":` + fmt.Sprintf("%q", goodConn) + `,"agent":{"name":"a"},"host":{"name":"h"}}`, "h"},
		{"Filebeat's agent", `{"message":` + fmt.Sprintf("%q", goodConn) + `,"agent":{"name":"a"}}`, "a"},
		{"observer before host", `{"message":` + fmt.Sprintf("%q", goodConn) + `,"host":"h","observer":{"hostname":"o"}}`, "o"},
		{"fields", `{"message":` + fmt.Sprintf("%q", goodConn) + `,"fields":{"sensor":"f"}}`, "f"},
		{"a host behind the record", goodConn[:len(goodConn)-1] + `,"host":"last"}`, "last"},
		{"sensor behind the record", goodConn[:len(goodConn)-1] + `,"sensor":"last","tags":["x"]}`, "last"},
		{"a label of any name", `{"conn": ` + goodConn + `,"site":"hq"}`, "hq"},
		{"the label that says so", `{"site":"hq","conn": ` + goodConn + `,"sensor":"s"}`, "s"},
		{"inside counts more", filebeat(`{"conn": ` + goodConn + `,"sensor":"s"}`), "s"},
		{"with an escape", `{"conn": ` + goodConn + `,"sensor":"\u00e9\""}`, `é"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := run(t, Config{}, []consumer.Batch{batchOf("t", []byte(tt.msg))})
			if len(got.slices) != 1 || got.slices[0].Sensor != tt.want {
				t.Fatalf("got %+v, bad %v, want %q", got.slices, got.bad, tt.want)
			}
			if diff := cmp.Diff(map[string]int64{tt.want: 1700000898750000}, got.counts.Newest); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSensorsAreBounded: beyond MaxSensors no further sensor is remembered.
func TestSensorsAreBounded(t *testing.T) {
	var batches []consumer.Batch
	for i := range 3 {
		var messages [][]byte
		for k := range 2000 {
			messages = append(messages, []byte(fmt.Sprintf(`{"conn": %s,"sensor":"s%d"}`, goodConn, i*2000+k)))
		}
		batches = append(batches, batchOf("t", messages...))
	}
	got := run(t, Config{}, batches)
	if len(got.counts.Newest) != MaxSensors || got.counts.Records != 6000 {
		t.Errorf("%d sensors, %d records", len(got.counts.Newest), got.counts.Records)
	}
}

// TestOrigin: every slice tells the line or message it comes from, and the batch is given back with the result.
func TestOrigin(t *testing.T) {
	marked := with(`"SF"`, `"SF","interim_seq":1`)
	udp := with("tcp", "udp")
	messages := []string{
		goodConn, "rubbish", udp, filebeat(goodConn), "[" + goodConn + ", 3, " + filebeat(goodConn) + "]",
		"\xEF\xBB\xBF" + goodConn + "\n\n" + marked + "\n" + goodConn, string(envelopetest.Gzip([]byte(goodConn + goodConn))),
	}
	var bytes [][]byte
	for _, m := range messages {
		bytes = append(bytes, []byte(m))
	}
	want := []string{goodConn, filebeat(goodConn), goodConn, filebeat(goodConn), goodConn, goodConn, messages[6], messages[6]}
	file := consumer.Batch{Partition: "f", Name: "f", NewFile: true, Data: []byte(goodConn + "\nrubbish\n" + goodConn)}
	for _, tt := range []struct {
		name  string
		batch consumer.Batch
		mode  Marked
		want  []string
	}{
		{"messages", batchOf("t", bytes...), SkipMarked, want},
		{"messages, rows held back", batchOf("t", bytes...), DeferMarked, append(slices.Clone(want), "")},
		{"file", file, SkipMarked, []string{goodConn, goodConn}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			released := 0
			tt.batch.Release = func() { released++ }
			s := New(Config{Slicer: slicer.New(slicer.Config{}), KeepOrigin: true, Marked: tt.mode})
			out := make(chan Result)
			done := make(chan error, 1)
			go func() { done <- s.Run(t.Context(), &source{[]consumer.Batch{tt.batch}}, out) }()
			var got []string
			for r := range out {
				if released != 0 {
					t.Error("given back too early")
				}
				if r.Release == nil { // what was held back, at the end
					got = append(got, make([]string, len(r.Slices))...)
					continue
				}
				if len(r.Origin) != len(r.Slices) {
					t.Fatalf("%d origins of %d slices", len(r.Origin), len(r.Slices))
				}
				for _, o := range r.Origin {
					got = append(got, string(r.Data[o.Begin:o.End]))
				}
				r.Release()
				if released != 1 {
					t.Errorf("released %d times", released)
				}
				released = 0
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// endless hands over the same messages again and again.
type endless struct {
	batch consumer.Batch
	left  int
}

func (e *endless) Connect(context.Context) error { return nil }
func (e *endless) Close() error                  { return nil }

func (e *endless) Read(context.Context) (consumer.Batch, consumer.AckFunc, error) {
	if e.left--; e.left < 0 {
		return consumer.Batch{}, nil, io.EOF
	}
	return e.batch, nil, nil
}

// TestStopReleases: a result nobody took gives its batch back.
func TestStopReleases(t *testing.T) {
	released := make(chan struct{}, 1)
	b := batchOf("t", []byte(goodConn))
	b.Release = func() { released <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	s := New(Config{Slicer: slicer.New(slicer.Config{}), KeepOrigin: true, OnBad: func(Bad) error { return nil }})
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, &endless{b, 1}, make(chan Result)) }()
	time.Sleep(20 * time.Millisecond)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case <-released:
	default:
		t.Error("the batch was not given back")
	}
}

// FuzzMessages throws anything at the stage as messages: every part is a record, gives sightings, is skipped
// or bad.
func FuzzMessages(f *testing.F) {
	for _, tt := range poison {
		if len(tt.msg) < 10_000 {
			f.Add([]byte(tt.msg))
		}
	}
	for _, form := range envelopetest.Forms() {
		f.Add(form.Messages[0])
	}
	for _, line := range []string{miningLine, dnsLine, sslNamed, eveTLS} {
		f.Add([]byte(line))
		f.Add([]byte(filebeat(line)))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		cfg := Config{Workers: 1, KeepOrigin: true, Now: func() time.Time { return wall }}
		o := run(t, cfg, []consumer.Batch{batchOf("bro-raw", []byte(goodConn), msg, []byte(goodConn))})
		if got := o.counts.Records + o.counts.Sighted + Total(o.counts.Skipped) + Total(o.counts.Bad); got != o.counts.Lines || o.counts.Lines < 3 {
			t.Errorf("%d lines, %d accounted for: %+v", o.counts.Lines, got, o.counts)
		}
		if o.counts.Records < 2 {
			t.Errorf("the records around it are lost: %+v", o.counts)
		}
	})
}

// BenchmarkForms measures the whole stage, on one worker, by form; an operation is a record.
func BenchmarkForms(b *testing.B) {
	var conn []byte
	for _, f := range envelopetest.Forms() {
		if strings.Contains(f.Name, ",") {
			continue
		}
		conn = f.Messages[0]
		var messages [][]byte
		for range 2000 {
			messages = append(messages, conn)
		}
		benchmarkStage(b, f.Name, batchOf(f.Topic, messages...))
	}
}

// BenchmarkPoison measures plain lines of which one in a hundred is not JSON; compare with 03-untagged of BenchmarkForms.
func BenchmarkPoison(b *testing.B) {
	for _, every := range []int{0, 100} {
		var messages [][]byte
		for i := range 2000 {
			m := []byte(goodConn)
			if every > 0 && i%every == 0 {
				m = m[:200]
			}
			messages = append(messages, m)
		}
		benchmarkStage(b, fmt.Sprintf("every=%d", every), batchOf("bro-raw", messages...))
	}
}

func benchmarkStage(b *testing.B, name string, batch consumer.Batch) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		n := len(batch.Messages)
		s := New(Config{Slicer: slicer.New(slicer.Config{Virtual: time.Minute}), Workers: 1})
		out := make(chan Result, 1)
		done := make(chan error, 1)
		go func() { done <- s.Run(b.Context(), &endless{batch, (b.N + n - 1) / n}, out) }()
		for r := range out {
			r.Release()
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	})
}
