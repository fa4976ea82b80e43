package zeek

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// jsonSeeds are lines of conn.log and conn_interim.log in all spellings, and lines beside the road.
var jsonSeeds = []string{
	``, ` `, `{}`, `[]`, `null`, `{"ts":1}`, `#fields	ts`,
	`{"ts":1751446436.5,"uid":"CN9Zc93QHFkOb2MTr9","id.orig_h":"10.20.1.15","id.orig_p":47120,"id.resp_h":"203.0.113.15","id.resp_p":3333,"proto":"tcp","service":"ssl,-http","duration":7200.013000011444,"orig_bytes":49172,"resp_bytes":66740,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":705,"orig_ip_bytes":85840,"resp_pkts":666,"resp_ip_bytes":101380,"ip_proto":6,"interim_seq":3}`,
	`{"_path":"conn","_system_name":"s1","_write_ts":"2023-11-14T22:13:25.100000Z","ts":"2023-11-14T22:13:20.0000005Z","id":{"orig_h":"fe80::1","orig_p":1,"resp_h":"::ffff:1.2.3.4","resp_p":2,"ctx":{"vlan":5}},"proto":"unknown_transport","ip_proto":47,"duration":9.5e-05,"history":null,"orig_pkts":1,"orig_ip_bytes":60,"resp_pkts":0,"resp_ip_bytes":0,"tunnel_parents":["a",{"b":[1,-2.5e+3,true,null]}]}`,
	`{"ts":1700000000123,"id_orig_h":"1.2.3.4","id_orig_p":8,"id_resp_h":"5.6.7.8","id_resp_p":0,"proto":"icmp","orig_pkts":1,"orig_ip_bytes":84,"resp_pkts":1,"resp_ip_bytes":84,"conn_state":"OTH"}`,
	`{"ts":1751446436.5,"uid":"C1","id.orig_h":"10.20.1.15","id.orig_p":47120,"id.resp_h":"203.0.113.15","id.resp_p":3333,"proto":"tcp","orig_pkts":5,"seq":2,"final":false,"slice_start":1751447100.686928,"slice_end":1751447406.804857,"d_orig_bytes":2547,"d_resp_bytes":0,"d_orig_pkts":35,"d_orig_ip_bytes":4367,"d_resp_pkts":32,"d_resp_ip_bytes":4590,"d_history":"Ff"}`,
	`{"ts":1,"uid":"\u0043","id.orig_h":"1.2.3.4","id.orig_p":1.0e1,"id.resp_h":"5.6.7.8","id.resp_p":2,"proto":"TCP","service":["ssl","x"],"orig_pkts":1,"orig_ip_bytes":84,"resp_pkts":1,"resp_ip_bytes":84,"orig_bytes":18446744073709551615}`,
	`{"ts":-1,"ts":99999999999.9,"duration":1e400,"conn_state":"S0","id.orig_h":"256.1.1.1"}`,
	`{"_stream":"dns","_path":7,"query":"x"}`,
}

// FuzzJSONFastVersusSlow holds the one-pass decoder to what encoding/json says.
func FuzzJSONFastVersusSlow(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		d := NewJSON()
		var want minecanary.Record
		wantOut := d.slow(line, &want)
		// A second time with the keys learnt.
		for range 2 {
			// What stands in the record must not shine through.
			got := minecanary.Record{Kind: 7, OrigFlags: 1, RespFlags: 2, FlagsKnown: true, Handshake: true, Final: true, InterimSeq: 9, Sensor: "x"}
			if !d.scan.Scan(line) {
				continue
			}
			out := d.finish(&got)
			if out != wantOut {
				t.Fatalf("fast: %+v, slow: %+v", out, wantOut)
			}
			if out.Kind == consumer.Decoded && got != want {
				t.Fatalf("records differ (-slow +fast):\n%s", cmp.Diff(want, got, addrs))
			}
		}
		if out := d.Decode(line, &want); out.Kind == consumer.Decoded {
			checkRecord(t, want)
		}
	})
}

// FuzzTSV feeds a header and a record of any content.
func FuzzTSV(f *testing.F) {
	f.Add([]byte("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"+
		"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"+
		"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tset[string]\tinterval\tcount\tcount\tstring\tstring\tcount\tcount\tcount\tcount"),
		[]byte("1721749298.243731\tCAp1\\x09T\t192.168.12.156\t41133\t2001:db8::1\t443\ttcp\tssl,http\t1.134798\t2863\t-\tSF\tDd\t21\t3451\t10\t5807"))
	f.Add([]byte("#fields\tseq\tslice_end"), []byte("nan\t-inf"))
	f.Add([]byte("#separator ;\n#fields;ts;ts\n#close;x"), []byte("(empty);-"))
	f.Fuzz(func(t *testing.T, head, line []byte) {
		d := NewTSV(nil)
		var rec minecanary.Record
		for len(head) > 0 {
			var one []byte
			one, head, _ = cut(head)
			d.Decode(one, &rec)
		}
		h := d.Header()
		out := d.Decode(line, &rec)
		if out.Kind == consumer.Decoded {
			checkRecord(t, rec)
		}
		if out.Kind == consumer.Decoded != (out.Reason == "") {
			t.Errorf("outcome %+v", out)
		}
		// Another decoder that was handed the header says the same.
		var again minecanary.Record
		if got := NewTSV(h).Decode(line, &again); got != out || out.Kind == consumer.Decoded && again != rec {
			t.Errorf("second decoder: %+v, want %+v", got, out)
		}
	})
}

func cut(b []byte) (line, rest []byte, found bool) {
	for i, c := range b {
		if c == '\n' {
			return b[:i], b[i+1:], true
		}
	}
	return b, nil, false
}

// checkRecord checks what Record promises.
func checkRecord(t *testing.T, r minecanary.Record) {
	t.Helper()
	if !r.Orig.IsValid() || !r.Resp.IsValid() || r.Orig != minecanary.CanonicalAddr(r.Orig) ||
		r.Resp != minecanary.CanonicalAddr(r.Resp) {
		t.Errorf("addresses %v, %v", r.Orig, r.Resp)
	}
	if r.Start < 0 || r.Start > r.End || r.End >= 1<<32*1_000_000 {
		t.Errorf("times %d, %d", r.Start, r.End)
	}
	if max(r.OrigPackets, r.OrigBytes, r.OrigPayload, r.RespPackets, r.RespBytes, r.RespPayload) > MaxCounter {
		t.Errorf("counters %+v", r)
	}
	if !r.FlagsKnown && (r.Handshake || r.OrigFlags|r.RespFlags != 0) || r.FlagsKnown && r.Transport != minecanary.TCP {
		t.Errorf("flags %+v", r)
	}
	if r.Services == 0 {
		t.Errorf("no services")
	}
	if r.Kind == minecanary.KindConn && r.Final || r.Kind == minecanary.KindInterim && r.InterimSeq != 0 {
		t.Errorf("record %+v", r)
	}
}
