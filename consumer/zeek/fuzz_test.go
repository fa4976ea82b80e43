package zeek

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/sighting"
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
	`{"ts":1751448240.10748,"uid":"C4","id.orig_h":"198.51.100.17","id.orig_p":14444,"id.resp_h":"10.20.1.17","id.resp_p":46720,"protocol":"monero","seen":"server","turned":true,"method":"job","agent":"a\u0000\"b","login":"x\ty"}`,
	`{"ts":1751446414.6,"uid":"C5","id.orig_h":"10.20.1.12","id.orig_p":38160,"id.resp_h":"203.0.113.12","id.resp_p":443,"version":"DTLSv12","server_name":"Pool.example.net.","resumed":false,"established":true,"_system_name":"s\u00e4"}`,
	`{"ts":1533304837.5,"uid":"C6","id.orig_h":"10.0.2.15","id.orig_p":45956,"id.resp_h":"192.0.2.53","id.resp_p":53,"proto":"udp","trans_id":4822,"query":"pool.example.com","qtype":1,"qtype_name":"A","answers":["eu.p\u006fol.example.net","198.51.100.1",  "::1","TXT 3 a,b"],"TTLs":[495.0,1e3],"rejected":false}`,
	`{"_path":"dns","ts":1,"id_orig_h":"1.1.1.1","id_orig_p":1,"id_resp_h":"2.2.2.2","id_resp_p":2,"query":"a","qtype_name":"HTTPS","answers":"b,3.3.3.3"}`,
	`{"_path":"mining","agent":{"name":"s1"},"seen":1,"turned":"T","answers":[1,{}],"rejected":null,"qtype":1.5}`,
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
		wantSightings := slices.Clone(d.Sightings())
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
			if out.Kind == consumer.Sighted && !slices.Equal(wantSightings, d.Sightings()) {
				t.Fatalf("sightings differ (-slow +fast):\n%s", cmp.Diff(wantSightings, d.Sightings(), addrs))
			}
		}
		switch out := d.Decode(line, &want); out.Kind {
		case consumer.Decoded:
			checkRecord(t, want)
		case consumer.Sighted:
			checkSightings(t, d.Sightings())
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
	f.Add([]byte("#path\tmining\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tprotocol\tseen\tturned\tagent"),
		[]byte("1751448240.1\tC4\t10.0.0.1\t1\t198.51.100.1\t3333\tmonero\tboth\tF\ta\\x09b"))
	f.Add([]byte("#path\tdns\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tquery\tqtype\tanswers\trejected"),
		[]byte("1\t10.0.0.1\t1\t192.0.2.53\t53\tpool.example\t1\ta\\x2cb,x.example,198.51.100.1\tF"))
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
		if out.Kind == consumer.Sighted {
			checkSightings(t, d.Sightings())
		}
		if (out.Kind == consumer.Decoded || out.Kind == consumer.Sighted) != (out.Reason == "") {
			t.Errorf("outcome %+v", out)
		}
		// Another decoder that was handed the header says the same.
		var again minecanary.Record
		other := NewTSV(h)
		if got := other.Decode(line, &again); got != out || out.Kind == consumer.Decoded && again != rec ||
			out.Kind == consumer.Sighted && !slices.Equal(d.Sightings(), other.Sightings()) {
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

// checkSightings checks what Sighting promises.
func checkSightings(t *testing.T, list []minecanary.Sighting) {
	t.Helper()
	if len(list) == 0 || len(list) > sighting.MaxNames*sighting.MaxAddrs {
		t.Errorf("%d sightings", len(list))
	}
	for _, s := range list {
		if s.Time < 0 || s.Time >= 1<<32*1_000_000 || s.Client != minecanary.CanonicalAddr(s.Client) || !s.Client.IsValid() ||
			s.Server.Addr != minecanary.CanonicalAddr(s.Server.Addr) || !s.Server.Addr.IsValid() {
			t.Errorf("%+v", s)
		}
		if named := s.Kind == minecanary.SightedTLS || s.Kind == minecanary.SightedDNS; named != (s.Name != "") ||
			len(s.Name) > minecanary.MaxName || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Errorf("name %q of %+v", s.Name, s)
		}
		if s.Kind == minecanary.SightedDNS && s.Server.Port != 0 {
			t.Errorf("%+v", s)
		}
		for _, text := range []string{s.Protocol, s.Method, s.Agent, s.Login, s.Text} {
			if len(text) > minecanary.MaxSightingText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("text %q", text)
			}
		}
	}
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
