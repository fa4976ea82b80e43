package recognise_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/eve"
	"github.com/minecanary/minecanary/consumer/flows"
	"github.com/minecanary/minecanary/consumer/recognise"
	"github.com/minecanary/minecanary/consumer/zeek"
)

var lines = []struct {
	name, line string
	form       consumer.Form
	log        string
}{
	{"empty", "", consumer.FormUnknown, ""},
	{"text", "hello", consumer.FormUnknown, ""},
	{"comment", "# hello", consumer.FormUnknown, ""},
	{"comment with a longer word", "#opened by x", consumer.FormUnknown, ""},
	{"TSV separator", `#separator \x09`, consumer.FormZeekTSV, ""},
	{"TSV separator after a byte order mark", "\xEF\xBB\xBF#separator \\x09\r", consumer.FormZeekTSV, ""},
	{"TSV set_separator", "#set_separator\t,", consumer.FormZeekTSV, ""},
	{"TSV path", "#path\tconn", consumer.FormZeekTSV, "conn"},
	{"TSV path of a second filter", "#path\thttp-2", consumer.FormZeekTSV, "http"},
	{"TSV open", "#open\t2026-11-21-03-17-10", consumer.FormZeekTSV, ""},
	{"TSV fields", "#fields\tts\tuid\tid.orig_h\tconn_state", consumer.FormZeekTSV, "conn"},
	{"TSV fields of another log", "#fields\tts\tname", consumer.FormZeekTSV, ""},
	{"TSV types", "#types\ttime", consumer.FormZeekTSV, ""},
	{"TSV close", "#close", consumer.FormZeekTSV, ""},
	{"TSV record", "1751446436.5\tC\t1.2.3.4", consumer.FormUnknown, ""},
	{"conn", `{"ts":1.5,"uid":"C","proto":"tcp","conn_state":"SF"}`, consumer.FormZeekJSON, "conn"},
	{"conn, dotted", `{"id.orig_h":"1.2.3.4","proto":"tcp","orig_pkts":1}`, consumer.FormZeekJSON, "conn"},
	{"conn, underscores", `{"id_orig_h":"1.2.3.4","proto":"tcp","orig_ip_bytes":1}`, consumer.FormZeekJSON, "conn"},
	{"conn, nested", `{"id":{"orig_h":"1.2.3.4"},"proto":"tcp","orig_pkts":1}`, consumer.FormZeekJSON, "conn"},
	{"conn, byte order mark", "\xEF\xBB\xBF" + `{"ts":1.5,"uid":"C","proto":"tcp","conn_state":"SF"}` + "\r", consumer.FormZeekJSON, "conn"},
	{"conn_interim", `{"ts":1.5,"uid":"C","proto":"tcp","orig_pkts":1,"seq":1,"slice_end":2}`, consumer.FormZeekJSON, "conn_interim"},
	{"by path", `{"_path":"http"}`, consumer.FormZeekJSON, "http"},
	{"by path of a second filter", `{"_path":"conn-12","ts":1}`, consumer.FormZeekJSON, "conn"},
	{"path with other tails", `{"_path":"conn-x","ts":1}`, consumer.FormZeekJSON, "conn-x"},
	{"by stream", `{"_stream":"files","ts":1,"uid":"C"}`, consumer.FormZeekJSON, "files"},
	{"ssl", `{"ts":1,"uid":"C","resumed":true,"established":false}`, consumer.FormZeekJSON, "ssl"},
	{"dns", `{"ts":1,"uid":"C","trans_id":1,"rejected":false}`, consumer.FormZeekJSON, "dns"},
	{"mining", `{"ts":1,"uid":"C","seen":"client","turned":false}`, consumer.FormZeekJSON, "mining"},
	{"another log", `{"ts":1,"uid":"C"}`, consumer.FormZeekJSON, ""},
	{"ts alone", `{"ts":1}`, consumer.FormUnknown, ""},
	{"null is absent", `{"ts":1,"uid":null,"_path":null,"id":{"orig_h":null}}`, consumer.FormUnknown, ""},
	{"id of something else", `{"id":"x"}`, consumer.FormUnknown, ""},
	{"EVE", `{"timestamp":"2025-07-02T10:53:56.513500+0000","flow_id":1,"event_type":"flow"}`, consumer.FormEVE, ""},
	{"EVE stats", `{"timestamp":"2025-07-02T10:53:56.513500+0000","event_type":"stats"}`, consumer.FormEVE, ""},
	{"EVE without a time", `{"flow_id":1,"event_type":"flow"}`, consumer.FormEVE, ""},
	{"event_type alone", `{"event_type":"flow"}`, consumer.FormUnknown, ""},
	{"nfdump", "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt", consumer.FormNfdump, ""},
	{"nfdump 1.7.5, byte order mark", "\xEF\xBB\xBFfirstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows\r", consumer.FormNfdump, ""},
	{"nfdump without what a flow needs", "srcAddr,dstAddr", consumer.FormNfdump, ""},
	{"nfdump's statistics", "ts,te,td,pr,val,fl,flP,ipkt,ipktP,ibyt,ibytP,ipps,ibps,ibpp", consumer.FormUnknown, ""},
	{"nfdump's row", "2025-07-02 08:53:56.500,305.486,6,10.20.1.15,47120,203.0.113.15,3333,31,4388,1", consumer.FormUnknown, ""},
	{"other CSV", "srcAddress,dstAddr,x", consumer.FormUnknown, ""},
	{"goflow2", `{"type":"IPFIX","time_flow_start_ns":1,"src_addr":"1.2.3.4","dst_addr":"5.6.7.8"}`, consumer.FormGoflow2, ""},
	{"goflow2 1", `{"Type":"IPFIX","TimeFlowStart":1,"SrcAddr":"1.2.3.4","DstAddr":"5.6.7.8"}`, consumer.FormGoflow2, ""},
	{"goflow2 1 with -format.tag=json", `{"time_flow_start":1,"src_addr":"1.2.3.4","dst_addr":"5.6.7.8"}`, consumer.FormGoflow2, ""},
	{"EVE with the names of columns in a text", `{"timestamp":"x,srcAddr,dstAddr,y","event_type":"flow"}`, consumer.FormEVE, ""},
	{"addresses alone", `{"src_addr":"1.2.3.4","dst_addr":"5.6.7.8"}`, consumer.FormUnknown, ""},
	{"EVE with a field of goflow2", `{"timestamp":"x","event_type":"flow","src_addr":"1.2.3.4","dst_addr":"5.6.7.8","time_flow_start":1}`, consumer.FormEVE, ""},
	{"array", `[{"ts":1,"uid":"C"}]`, consumer.FormUnknown, ""},
	{"half a line", `{"ts":1,"uid":"C"`, consumer.FormUnknown, ""},
}

func TestRecognise(t *testing.T) {
	for _, tc := range lines {
		t.Run(tc.name, func(t *testing.T) {
			form, ok := recognise.Recognise([]byte(tc.line))
			if form != tc.form || ok != (tc.form != consumer.FormUnknown) {
				t.Errorf("Recognise: %v, %v, want %v", form, ok, tc.form)
			}
			if got := recognise.LogName([]byte(tc.line)); got != tc.log {
				t.Errorf("LogName: %q, want %q", got, tc.log)
			}
		})
	}
}

// TestCaptures checks the first lines of logs of real traffic, which lie beside the checkout.
func TestCaptures(t *testing.T) {
	for pattern, want := range map[string]consumer.Form{
		"zeek/*/*.log":     consumer.FormZeekJSON,
		"zeek-tsv/*/*.log": consumer.FormZeekTSV,
		"eve/*.json":       consumer.FormEVE,
		"ours/*/*.log":     consumer.FormZeekJSON,
		"ours/*/eve.json":  consumer.FormEVE,
	} {
		t.Run(pattern, func(t *testing.T) {
			paths, err := filepath.Glob(filepath.Join("../../../shared/data", pattern))
			if err != nil {
				t.Fatal(err)
			}
			if len(paths) == 0 {
				t.Skipf("no captures: ../../../shared/data/%s is not there", pattern)
			}
			for _, path := range paths {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				first, _, _ := bytes.Cut(data, []byte("\n"))
				if form, ok := recognise.Recognise(first); !ok || form != want {
					t.Errorf("%s: %v, %v, want %v", path, form, ok, want)
				}
			}
		})
	}
}

// FuzzRecognise checks that what a decoder takes is recognised as its form.
func FuzzRecognise(f *testing.F) {
	for _, tc := range lines {
		f.Add([]byte(tc.line))
	}
	f.Add([]byte(`{"ts":1,"uid":"C","id.orig_h":"1.2.3.4","id.orig_p":1,"id.resp_h":"5.6.7.8","id.resp_p":2,"proto":"tcp","orig_pkts":1,"orig_ip_bytes":1,"resp_pkts":1,"resp_ip_bytes":1}`))
	f.Add([]byte(`{"timestamp":"","event_type":"flow","src_ip":"1.2.3.4","src_port":1,"dest_ip":"5.6.7.8","dest_port":2,"proto":"TCP","flow":{"pkts_toserver":1,"pkts_toclient":1,"bytes_toserver":1,"bytes_toclient":1,"start":"2025-07-02T08:53:56.5Z","end":"2025-07-02T08:53:56.5Z"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		form, ok := recognise.Recognise(line)
		if ok == (form == consumer.FormUnknown) {
			t.Errorf("form %v, %v", form, ok)
		}
		recognise.LogName(line)
		var rec minecanary.Record
		isZeek := zeek.NewJSON().Decode(line, &rec).Kind == consumer.Decoded
		isGoflow2 := flows.NewGoflow2().Decode(line, &rec).Kind == consumer.Decoded
		if isGoflow2 && (form == consumer.FormZeekTSV || form == consumer.FormNfdump) {
			t.Errorf("the decoder of goflow2 takes %q, which is recognised as %v", line, form)
		}
		if out := flows.NewNfdump(nil).Decode(line, &rec); form == consumer.FormNfdump && out.Reason != "header" {
			t.Errorf("the decoder of nfdump says %+v to %q", out, line)
		}
		isEVE := eve.New(eve.Config{}).Decode(line, &rec).Kind == consumer.Decoded
		if isEVE && form == consumer.FormZeekTSV {
			t.Errorf("the EVE decoder takes %q, which is recognised as %v", line, form)
		}
		if isZeek && form != consumer.FormZeekJSON && form != consumer.FormEVE {
			t.Errorf("the Zeek decoder takes %q, which is recognised as %v", line, form)
		}
		if out := zeek.NewTSV(nil).Decode(line, &rec); form == consumer.FormZeekTSV && out.Reason != "header" {
			t.Errorf("the TSV decoder says %+v to %q", out, line)
		}
	})
}
