package flows

import (
	"bytes"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
)

var addrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// seed adds the first lines of real files.
func seed(f *testing.F, files ...string) {
	f.Helper()
	for _, file := range files {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		lines := bytes.SplitAfter(data, []byte("\n"))
		f.Add(bytes.Join(lines[:min(4, len(lines))], nil))
		f.Add(lines[len(lines)-2])
	}
}

// FuzzNfdump reads whole files: whatever stands in them, the header in force is found by one who looks for headers alone,
// no line leaves anything of itself behind but that, and records are what Record promises.
func FuzzNfdump(f *testing.F) {
	seed(f, "nfdump-1.7.1.csv", "nfdump-1.7.8.csv", "nfdump-1.7.8-fast.csv", "nfdump-1.7.8-chosen.csv")
	f.Add([]byte("sa,da,sp,dp,pr,flg,ipkt,ibyt,opkt,obyt,ts,te,td,ra\nfe80::1%x,::1,1,2,TCP,0x5a,1e3,1.0,2,3,1,2,,::1\n\n1,2,3,4,5,6\nSummary\r\n"))
	f.Add([]byte("srcAddr,dstAddr\nsrcAddr,dstAddr,srcPort,dstPort,proto,flags,packets,bytes,firstSeen,lastSeen\n1.2.3.4,5.6.7.8,1,2,17,.AP.SF,1,2,2024-02-29 23:59:59.9999995,4291747199999"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := NewNfdump(nil)
		var h *Header
		for rest := text; len(rest) > 0; {
			line := rest
			if i := bytes.IndexByte(rest, '\n'); i >= 0 {
				line, rest = rest[:i], rest[i+1:]
			} else {
				rest = nil
			}
			var fresh minecanary.Record
			used := minecanary.Record{Kind: 7, OrigFlags: 1, RespFlags: 2, FlagsKnown: true, Handshake: true, Final: true, InterimSeq: 9, Sensor: "x", UID: minecanary.UID{1}}
			want := NewNfdump(h).Decode(line, &fresh)
			out := d.Decode(line, &used)
			if out != want {
				t.Fatalf("%+v, by itself %+v: %q", out, want, line)
			}
			if out.Kind == consumer.Decoded {
				if diff := cmp.Diff(fresh, used, addrs); diff != "" {
					t.Fatalf("what stood in the record shines through: %s", diff)
				}
				checkRecord(t, &used)
			}
			h = HeaderAfter(h, line)
		}
		unexported := cmp.AllowUnexported(Header{})
		if diff := cmp.Diff(d.Header(), h, unexported); diff != "" {
			t.Fatalf("header line by line (-Decode +HeaderAfter):\n%s", diff)
		}
		if diff := cmp.Diff(h, HeaderAfter(nil, text), unexported); diff != "" {
			t.Fatalf("header (-line by line +at once):\n%s", diff)
		}
		if h != nil && len(h.columns) > MaxColumns {
			t.Fatalf("%d columns", len(h.columns))
		}
	})
}

// FuzzTimes holds the short ways of reading numbers to the long ones.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"0", "499", "500", "1751446436500000500", "9999999999999999999", "99999999999", "100000000000", "1751446436500", "01", "1e3", "-1", "1.5", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if jsonscan.Number(text, 0) != len(text) || len(text) == 0 {
			return
		}
		want, in := jsonscan.Epoch(text)
		got, reason := moment(text)
		if (reason == "") != (in == jsonscan.InRange) || reason == "" && got != uint64(want) {
			t.Errorf("%q: %d %s, Epoch says %d %d", text, got, reason, want, in)
		}
		line := append(append([]byte(`{"time_flow_start_ns":`), text...), '}')
		d := NewGoflow2()
		if !d.scan.Scan(line) {
			return
		}
		nanos, ok := d.time(fieldStartNanos, 0, 0)
		whole, _, in := jsonscan.Scaled(text, -3)
		switch in {
		case jsonscan.TooLarge:
			ok = ok && nanos >= jsonscan.MaxMicros
		case jsonscan.InRange:
			ok = ok && nanos == uint64(whole)
		default:
			ok = !ok
		}
		if !ok {
			t.Errorf("%q: %d, Scaled says %d %d", text, nanos, whole, in)
		}
	})
}

// FuzzGoflow2 holds the one-pass decoder to what encoding/json says.
func FuzzGoflow2(f *testing.F) {
	seed(f, "goflow2-2.2.6.json", "goflow2-2.2.6-sampled.json", "goflow2-1.3.7.json", "goflow2-1.3.7-tag.json")
	f.Add([]byte(`{"type":4,"src_addr":"fe80::1%eth0","SrcAddr":"1.2.3.4","dst_addr":"::ffff:1.2.3.4","proto":"17","src_port":1e1,"dst_port":2.0,"packets":0,"bytes":-0,"time_flow_start":"2025-07-02 08:53:56","time_flow_end_ms":1.5e12,"tcp_flags":65535}`))
	f.Add([]byte(`{"src_addr":"1.2.3.4","dst_addr":"5.6.7.8","proto":6,"src_port":1,"dst_port":2,"packets":1,"bytes":1,"bytes":2,"time_received_ns":1751446436500000000,"sampler_address":"a\u0062"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		line = jsonscan.Line(line)
		d := NewGoflow2()
		var want minecanary.Record
		wantOut := d.slow(line, &want)
		// A second time with the keys learnt.
		for range 2 {
			got := minecanary.Record{Kind: 7, OrigFlags: 1, RespFlags: 2, FlagsKnown: true, Handshake: true, Final: true, InterimSeq: 9, Sensor: "x", UID: minecanary.UID{1}}
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
			checkRecord(t, &want)
		}
	})
}

// checkRecord checks what Record promises.
func checkRecord(t *testing.T, r *minecanary.Record) {
	t.Helper()
	if !r.Orig.IsValid() || !r.Resp.IsValid() || r.Orig != minecanary.CanonicalAddr(r.Orig) ||
		r.Resp != minecanary.CanonicalAddr(r.Resp) {
		t.Errorf("addresses %v, %v", r.Orig, r.Resp)
	}
	if r.Kind != minecanary.KindFlow || r.Start < 0 || r.Start > r.End || r.End >= jsonscan.MaxMicros {
		t.Errorf("kind %d, times %d, %d", r.Kind, r.Start, r.End)
	}
	if r.OrigPayload > r.OrigBytes || r.RespPayload > r.RespBytes || max(r.OrigPackets, r.OrigBytes, r.RespPackets, r.RespBytes) > MaxCounter {
		t.Errorf("counters %+v", r)
	}
	if !r.FlagsKnown && r.OrigFlags|r.RespFlags != 0 || r.FlagsKnown && (r.Transport != minecanary.TCP || r.OrigFlags == 0) || r.Handshake {
		t.Errorf("flags %+v", r)
	}
	if r.Sensor != "" {
		if _, err := netip.ParseAddr(r.Sensor); err != nil {
			t.Errorf("sensor %q", r.Sensor)
		}
	}
}
