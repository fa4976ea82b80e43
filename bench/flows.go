//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
)

// poolShare is one of how many flows goes to an address of a pool's name.
const poolShare = 100

// flowsSince is when the flows begin, a day long; historySince when the names were looked up first, from then on daily.
var (
	flowsSince   = time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC)
	historySince = flowsSince.AddDate(0, 0, -19)
)

// runFlows measures minecanary lookup --flows over the same flows in three forms, with the shipped catalogue and a history
// in which each of its names has two addresses.
func runFlows(dir, binary string, runs int) error {
	names := []string{filepath.Join(dir, "flows1m.json"), filepath.Join(dir, "flows1m.csv"), filepath.Join(dir, "flows1m.goflow2.json")}
	past := filepath.Join(dir, "flows-history.db")
	pools, err := writeHistory(past)
	if err != nil {
		return err
	}
	if err := generateFlows(names, pools); err != nil {
		return err
	}
	var commands []command
	for i, form := range []string{"Zeek JSON", "nfdump csv-fast", "goflow2 JSON"} {
		commands = append(commands, command{"lookup --flows, " + form, []string{binary, "lookup", "--flows", "--history", past, names[i]}})
	}
	results, err := measure(commands, runs)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d flows, one in %d to a pool, against %d addresses of names of the shipped catalogue\n", lines, poolShare, len(pools))
	table(commands, results)
	return nil
}

// writeHistory makes the history and gives the addresses in it.
func writeHistory(file string) ([]netip.Addr, error) {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	db, err := history.Open(file, history.Options{})
	if err != nil {
		return nil, err
	}
	layer, _ := catalog.Shipped()
	var all []netip.Addr
	err = db.Update(context.Background(), func(tx *history.Tx) error {
		next := netip.MustParseAddr("9.9.16.1") // reserved ones would be known as that; nobody is asked
		for _, name := range catalog.New(layer).Hosts() {
			if _, err := netip.ParseAddr(name); err == nil {
				continue
			}
			o := history.Observation{Name: name, Addrs: []netip.Addr{next, next.Next()}}
			next = next.Next().Next()
			all = append(all, o.Addrs...)
			for at := historySince; at.Before(flowsSince.AddDate(0, 0, 2)); at = at.AddDate(0, 0, 1) {
				o.At = at
				if err := tx.Resolved(o); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return all, errors.Join(err, db.Close())
}

// generateFlows writes the flows unless they are there already: of Zeek one record a connection, of the collectors a row.
func generateFlows(names []string, pools []netip.Addr) (err error) {
	if _, err := os.Stat(names[len(names)-1]); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fmt.Fprintln(os.Stderr, "generating", names)
	files, out := make([]*os.File, len(names)), make([]*bufio.Writer, len(names))
	for i, name := range names {
		if files[i], err = os.Create(name + ".tmp"); err != nil {
			return err
		}
		out[i] = bufio.NewWriterSize(files[i], 1<<20)
	}
	fmt.Fprintln(out[1], "cnt,af,firstSeen,lastSeen,proto,srcAddr,srcPort,dstAddr,dstPort,srcAS,dstAS,input,output,flags,srcTos,packets,bytes")
	rng := rand.New(rand.NewPCG(385, 6))
	ports := []int{443, 443, 443, 80, 80, 53, 22, 993, 3333, 8443, 5223, 14444}
	for i := range lines {
		src := fmt.Sprintf("10.%d.%d.%d", rng.IntN(4), rng.IntN(256), rng.IntN(256))
		dst := fmt.Sprintf("%d.%d.%d.%d", 11+rng.IntN(90), rng.IntN(256), rng.IntN(256), rng.IntN(256))
		if rng.IntN(poolShare) == 0 {
			dst = pools[rng.IntN(len(pools))].String()
		}
		srcPort, dstPort, packets := 1024+rng.IntN(64511), ports[rng.IntN(len(ports))], 3+rng.IntN(40)
		size := packets * (52 + rng.IntN(1000))
		start := flowsSince.Add(time.Duration(i) * 80 * time.Millisecond)
		end := start.Add(time.Duration(rng.IntN(60_000)) * time.Millisecond)
		fmt.Fprintf(out[0], `{"ts":%.6f,"uid":"C%016x","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%d,"proto":"tcp","duration":%.6f,"orig_bytes":%d,"resp_bytes":%d,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d}`+"\n",
			float64(start.UnixMilli())/1e3, rng.Uint64(), src, srcPort, dst, dstPort, end.Sub(start).Seconds(), size-packets*52, size, packets, size, packets, size)
		fmt.Fprintf(out[1], "1,2,%d,%d,6,%s,%d,%s,%d,0,0,0,0,...AP...,0,%d,%d\n", start.UnixMilli(), end.UnixMilli(), src, srcPort, dst, dstPort, packets, size)
		fmt.Fprintf(out[2], `{"type":"IPFIX","time_received_ns":%d,"sequence_num":0,"sampling_rate":0,"sampler_address":"127.0.0.1",`+
			`"time_flow_start_ns":%d,"time_flow_end_ns":%d,"bytes":%d,"packets":%d,"src_addr":%q,"dst_addr":%q,"etype":"IPv4","proto":"TCP",`+
			`"src_port":%d,"dst_port":%d,"in_if":0,"out_if":0,"src_mac":"00:00:00:00:00:00","dst_mac":"00:00:00:00:00:00",`+
			`"src_vlan":0,"dst_vlan":0,"vlan_id":0,"ip_tos":0,"forwarding_status":0,"ip_ttl":0,"ip_flags":0,"tcp_flags":24,`+
			`"icmp_type":0,"icmp_code":0,"ipv6_flow_label":0,"fragment_id":0,"fragment_offset":0,"src_as":0,"dst_as":0,"next_hop":"",`+
			`"next_hop_as":0,"src_net":"0.0.0.0/0","dst_net":"0.0.0.0/0","bgp_next_hop":"","bgp_communities":[],"as_path":[],`+
			`"mpls_ttl":[],"mpls_label":[],"mpls_ip":[],"observation_domain_id":7,"observation_point_id":0,"layer_stack":[],`+
			`"layer_size":[],"ipv6_routing_header_addresses":[],"ipv6_routing_header_seg_left":0}`+"\n",
			end.UnixNano(), start.UnixNano(), end.UnixNano(), size, packets, src, dst, srcPort, dstPort)
	}
	for i, name := range names {
		if err := errors.Join(out[i].Flush(), files[i].Close(), os.Rename(name+".tmp", name)); err != nil {
			return err
		}
	}
	return nil
}
