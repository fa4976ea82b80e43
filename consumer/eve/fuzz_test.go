package eve

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

// seeds are flows and lines beside the road.
var seeds = []string{
	``, `{}`, `{"event_type":"stats"}`,
	`{"timestamp":"2025-07-02T10:53:56.513500+0000","flow_id":1303060119387842,"event_type":"flow","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333,"proto":"TCP","app_proto":"failed","flow":{"pkts_toserver":705,"pkts_toclient":666,"bytes_toserver":95710,"bytes_toclient":110704,"start":"2025-07-02T08:53:56.500000+0000","end":"2025-07-02T10:53:56.513500+0000","age":7200,"state":"closed","reason":"shutdown","alerted":false},"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed","ts_max_regions":1,"tc_max_regions":1}}`,
	`{"timestamp":"2025-07-02T10:53:56.5135-0130","flow_id":"12","in_iface":"eth0","event_type":"flow","vlan":[100,7],"src_ip":"fe80::1%eth0","src_port":0,"dest_ip":"2001:db8:0:0:0:0:0:1","dest_port":65535,"proto":"UDP","app_proto":"dns","host":"s\u0031","flow":{"pkts_toserver":1,"pkts_toclient":0,"bytes_toserver":1e3,"bytes_toclient":0,"start":"2024-02-29T23:59:59.9999995Z","end":"2024-03-01T00:00:00+00:00"}}`,
	` {"event_type" : "flow" , "proto":"IPv6-ICMP","icmp_type":128,"icmp_code":0, "src_ip":"::ffff:1.2.3.4","dest_ip":"::1","vlan":5,"host":{"name":"x"},"flow":{"pkts_toserver":2,"pkts_toclient":null,"pkts_toclient":3,"bytes_toserver":3,"bytes_toclient":0,"start":"1970-01-01T00:00:00Z","end":"2105-12-31T23:59:59.999999+0000"},"tcp":null}`,
	`{"event_type":"alert","alert":{"signature":"a\"b","metadata":{"x":[1,2.5e-3,{"y":[]}]}},"payload":"AAAA\/\\"}`,
	`{"event_type":"flow","event_type":"dns"}`,
	`{"timestamp":"2025-07-02T08:53:56.500000+0000","flow_id":77,"event_type":"tls","src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":443,"proto":"TCP","tls":{"sni":"Pool.ex\u0061mple.net"}}`,
	`{"timestamp":"2025-07-02T08:53:56.5Z","flow_id":77,"event_type":"dns","src_ip":"192.0.2.53","src_port":53,"dest_ip":"10.20.1.15","dest_port":40000,"proto":"UDP","dns":{"type":"answer","rcode":"NOERROR","rrname":"pool.example.com","rrtype":"A","rdata":"198.51.100.1"}}`,
	`{"timestamp":"2025-07-02T08:53:56.5Z","event_type":"dns","src_ip":"10.20.1.15","src_port":40000,"dest_ip":"192.0.2.53","dest_port":53,"proto":"UDP","dns":{"type":"answer","rrname":"a","rrtype":"HTTPS","grouped":{"CNAME":["\u0062"],"A":["198.51.100.1"],"AAAA":"::1,::2"}}}`,
	`{"timestamp":"2025-07-02T08:53:56.5Z","event_type":"dns","src_ip":"192.0.2.53","src_port":53,"dest_ip":"10.20.1.15","dest_port":40000,"proto":"UDP","dns":{"type":"response","queries":[{"rrname":"a","rrtype":"A"}],"answers":[{"rrtype":"CNAME","rdata":"b"},{"rrtype":"A","rdata":"198.51.100.1","rrtype":"A"}]}}`,
	`{"timestamp":"2025-07-02T09:53:56.500000+0000","flow_id":13,"event_type":"alert","src_ip":"203.0.113.15","src_port":3333,"dest_ip":"10.20.1.15","dest_port":47120,"proto":"TCP","alert":{"gid":1,"signature_id":9000002,"signature":"m","category":"c"},"direction":"to_client","flow":{"pkts_toserver":705,"pkts_toclient":666,"bytes_toserver":95710,"bytes_toclient":110704,"start":"2025-07-02T08:53:56.500000+0000","src_ip":"10.20.1.15","dest_ip":"203.0.113.15","src_port":47120,"dest_port":3333}}`,
	`{"timestamp":"2025-07-02T09:53:56.5+0000","event_type":"alert","src_ip":"203.0.113.15","src_port":3333,"dest_ip":"10.20.1.15","dest_port":47120,"proto":"TCP","alert":{"signature_id":2024792,"signature":"ET COINMINER x\/\"y\u0000","metadata":{"a":["coin-mining"]}}}`,
	`{"event_type":"netflow","flow_id":1,"src_ip":"10.20.1.15","src_port":47120,"dest_ip":"203.0.113.15","dest_port":3333,"proto":"TCP","netflow":{"pkts":7,"bytes":957,"start":"2025-07-02T08:53:56.5Z","end":"2025-07-02T08:53:57Z"},"tcp":{"tcp_flags":"1b"}}`,
	`{"event_type":"flow","flow":{"start":"1969-12-31T23:59:59.9Z"}}`,
}

// FuzzEVEFastVersusSlow holds the one-pass decoder to what encoding/json says.
func FuzzEVEFastVersusSlow(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		d := New(Config{})
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
		if len(s.Text) > minecanary.MaxSightingText || strings.ContainsFunc(s.Text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("text %q", s.Text)
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
	if r.OrigPayload > r.OrigBytes || r.RespPayload > r.RespBytes || max(r.OrigPackets, r.OrigBytes, r.RespPackets, r.RespBytes) > MaxCounter {
		t.Errorf("counters %+v", r)
	}
	if !r.FlagsKnown && (r.Handshake || r.OrigFlags|r.RespFlags != 0) || r.FlagsKnown && r.Transport != minecanary.TCP {
		t.Errorf("flags %+v", r)
	}
	if r.Services == 0 {
		t.Errorf("no services")
	}
}
