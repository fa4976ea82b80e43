package flows_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/flows"
)

// traffic makes n flows of an ordinary network, one in four UDP, in a form.
func traffic(n int, form func(start, end time.Time, src, dst string, proto, srcPort, dstPort, flags, packets, size int) []byte) (lines [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		start := time.UnixMilli(1751446436_000 + r.Int64N(86400_000)).UTC()
		end := start.Add(time.Duration(r.Int64N(60_000)) * time.Millisecond)
		proto, flags := 6, 0x1b&(0x10|r.IntN(0x20))
		if r.IntN(4) == 0 {
			proto, flags = 17, 0
		}
		packets := 1 + r.IntN(999)
		lines = append(lines, form(start, end, fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)),
			fmt.Sprintf("%d.%d.%d.%d", 1+r.IntN(223), r.IntN(256), r.IntN(256), r.IntN(256)),
			proto, 1024+r.IntN(60000), r.IntN(10000), flags, packets, packets*(52+r.IntN(1400))))
	}
	return lines
}

func flagText(flags int) string {
	letters := []byte("CEUAPRSF")
	for i := range letters {
		if flags>>(7-i)&1 == 0 {
			letters[i] = '.'
		}
	}
	return string(letters)
}

const longHeader = "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out,sas,das,smk,dmk,dtos,dir,nh,nhb,svln,dvln,ismc,odmc,idmc,osmc,mpls1,mpls2,mpls3,mpls4,mpls5,mpls6,mpls7,mpls8,mpls9,mpls10,cl,sl,al,ra,eng,exid,tr"

// forms are what is measured: a decoder that knows its header, and its lines.
func forms(n int) map[string]struct {
	decoder decoder
	lines   [][]byte
} {
	const date = "2006-01-02 15:04:05"
	return map[string]struct {
		decoder decoder
		lines   [][]byte
	}{
		"nfdump-1.6": {
			flows.NewNfdump(flows.HeaderAfter(nil, []byte(longHeader))),
			traffic(n, func(start, end time.Time, src, dst string, proto, srcPort, dstPort, flags, packets, size int) []byte {
				return fmt.Appendf(nil, "%s,%s,%.3f,%s,%s,%d,%d,%s,%s,0,0,%d,%d,0,0,0,0,0,0,0,0,0,0,0.0.0.0,0.0.0.0,0,0,"+
					"02:00:00:43:84:b0,02:00:00:00:00:01,00:00:00:00:00:00,00:00:00:00:00:00,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,0-0-0,"+
					"   12.200,    0.000,   67.500,192.0.2.1,0/0,1,2025-07-02 08:59:01.986",
					start.Format(date), end.Format(date), end.Sub(start).Seconds(), src, dst, srcPort, dstPort,
					map[int]string{6: "TCP", 17: "UDP"}[proto], flagText(flags), packets, size)
			}),
		},
		"nfdump-fast": {
			flows.NewNfdump(flows.HeaderAfter(nil, []byte("cnt,af,firstSeen,lastSeen,proto,srcAddr,srcPort,dstAddr,dstPort,srcAS,dstAS,input,output,flags,srcTos,packets,bytes"))),
			traffic(n, func(start, end time.Time, src, dst string, proto, srcPort, dstPort, flags, packets, size int) []byte {
				return fmt.Appendf(nil, "1,2,%d,%d,%d,%s,%d,%s,%d,0,0,0,0,%s,0,%d,%d",
					start.UnixMilli(), end.UnixMilli(), proto, src, srcPort, dst, dstPort, flagText(flags), packets, size)
			}),
		},
		"goflow2": {
			flows.NewGoflow2(),
			traffic(n, func(start, end time.Time, src, dst string, proto, srcPort, dstPort, flags, packets, size int) []byte {
				return fmt.Appendf(nil, `{"type":"IPFIX","time_received_ns":%d,"sequence_num":0,"sampling_rate":0,"sampler_address":"127.0.0.1",`+
					`"time_flow_start_ns":%d,"time_flow_end_ns":%d,"bytes":%d,"packets":%d,"src_addr":%q,"dst_addr":%q,"etype":"IPv4","proto":%q,`+
					`"src_port":%d,"dst_port":%d,"in_if":0,"out_if":0,"src_mac":"00:00:00:00:00:00","dst_mac":"00:00:00:00:00:00",`+
					`"src_vlan":0,"dst_vlan":0,"vlan_id":0,"ip_tos":0,"forwarding_status":0,"ip_ttl":0,"ip_flags":0,"tcp_flags":%d,`+
					`"icmp_type":0,"icmp_code":0,"ipv6_flow_label":0,"fragment_id":0,"fragment_offset":0,"src_as":0,"dst_as":0,"next_hop":"",`+
					`"next_hop_as":0,"src_net":"0.0.0.0/0","dst_net":"0.0.0.0/0","bgp_next_hop":"","bgp_communities":[],"as_path":[],`+
					`"mpls_ttl":[],"mpls_label":[],"mpls_ip":[],"observation_domain_id":7,"observation_point_id":0,"layer_stack":[],`+
					`"layer_size":[],"ipv6_routing_header_addresses":[],"ipv6_routing_header_seg_left":0}`,
					end.UnixNano(), start.UnixNano(), end.UnixNano(), size, packets, src, dst,
					map[int]string{6: "TCP", 17: "UDP"}[proto], srcPort, dstPort, flags)
			}),
		},
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, f := range forms(8192) {
		b.Run(name, func(b *testing.B) {
			var size int64
			for _, line := range f.lines {
				size += int64(len(line))
			}
			b.SetBytes(size / int64(len(f.lines)))
			b.ReportAllocs()
			var rec minecanary.Record
			n := 0
			for b.Loop() {
				if out := f.decoder.Decode(f.lines[n], &rec); out.Kind != consumer.Decoded {
					b.Fatalf("%+v: %s", out, f.lines[n])
				}
				if n++; n == len(f.lines) {
					n = 0
				}
			}
		})
	}
}

// TestNoAllocations checks that rows as the collectors write them do not allocate.
func TestNoAllocations(t *testing.T) {
	for name, f := range forms(64) {
		t.Run(name, func(t *testing.T) {
			var rec minecanary.Record
			n := 0
			if got := testing.AllocsPerRun(1000, func() {
				if out := f.decoder.Decode(f.lines[n%len(f.lines)], &rec); out.Kind != consumer.Decoded {
					t.Fatalf("%+v: %s", out, f.lines[n%len(f.lines)])
				}
				n++
			}); got != 0 {
				t.Errorf("%v allocations per record, want 0", got)
			}
		})
	}
}
