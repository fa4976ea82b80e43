package app

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/slicer"
	"github.com/minecanary/minecanary/consumer/zeek"
	"github.com/minecanary/minecanary/enrich/score"
)

// flowsData holds a session as flow collectors write it.
const flowsData = "../../../consumer/flows/testdata"

// asFlows writes records of running connections as the rows that an exporter with the same active timeout makes of them:
// one per direction that has a packet, in no order, in nfdump's and goflow2's form.
func asFlows(t *testing.T, list []minecanary.Record) (nfdump, goflow2 string) {
	t.Helper()
	var csv, json []string
	row := func(r *minecanary.Record, src, dst netip.AddrPort, packets, size uint64, flags minecanary.TCPFlags) {
		if packets == 0 {
			return
		}
		start, end := time.UnixMicro(r.Start).UTC(), time.UnixMicro(r.End).UTC()
		const date = "2006-01-02 15:04:05.000000"
		csv = append(csv, fmt.Sprintf("%s,%s,%d,%s,%d,%s,%d,%d,%d,%d\n",
			start.Format(date), end.Format(date), r.Transport, src.Addr(), src.Port(), dst.Addr(), dst.Port(), flags, packets, size))
		json = append(json, fmt.Sprintf(`{"type":"IPFIX","sampling_rate":0,"time_flow_start_ns":%d,"time_flow_end_ns":%d,"bytes":%d,"packets":%d,"src_addr":%q,"dst_addr":%q,"proto":%q,"src_port":%d,"dst_port":%d,"tcp_flags":%d}`+"\n",
			r.Start*1000, r.End*1000, size, packets, src.Addr(), dst.Addr(), strings.ToUpper(r.Transport.String()), src.Port(), dst.Port(), flags))
	}
	for i := range list {
		r := &list[i]
		orig, resp := netip.AddrPortFrom(r.Orig, r.OrigPort), netip.AddrPortFrom(r.Resp, r.RespPort)
		row(r, orig, resp, r.OrigPackets, r.OrigBytes, r.OrigFlags)
		row(r, resp, orig, r.RespPackets, r.RespBytes, r.RespFlags)
	}
	for _, rows := range [][]string{csv, json} {
		rng := rand.New(rand.NewPCG(1, 2))
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	return "firstSeen,lastSeen,proto,srcAddr,srcPort,dstAddr,dstPort,flags,packets,bytes\n" + strings.Join(csv, ""), strings.Join(json, "")
}

// interims reads a conn_interim.log.
func interims(t *testing.T, name string) (list []minecanary.Record) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := zeek.NewJSON()
	for line := range bytes.Lines(data) {
		var r minecanary.Record
		if out := d.Decode(bytes.TrimSpace(line), &r); out.Kind == consumer.Decoded && r.Transport == minecanary.TCP {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s holds no record", name)
	}
	return list
}

// TestFlowsScoreAsInterim: connections as rows of a flow exporter add up to what they add up to as conn_interim
// records cut at the same times, and so score the same. What payload there was is estimated.
func TestFlowsScoreAsInterim(t *testing.T) {
	logs := []string{"demo/conn_interim.log"}
	if more, err := filepath.Glob(filepath.Join(sharedData, "ours", "*", "conn_interim.log")); err == nil {
		logs = append(logs, more...)
	}
	scorer, err := score.New("nemea", 0)
	if err != nil {
		t.Fatal(err)
	}
	accused := 0
	for _, log := range logs {
		list := interims(t, log)
		want := map[minecanary.Pair]minecanary.Aggregate{}
		s := slicer.New(slicer.Config{Virtual: time.Minute})
		for i := range list {
			var sl minecanary.Slices
			if s.Slice(&list[i], &sl) {
				a := want[sl.Pair]
				a.Add(&sl)
				want[sl.Pair] = a
			}
		}
		csv, json := asFlows(t, list)
		for form, text := range map[string]string{"flows.csv": csv, "flows.json": json} {
			name := filepath.Join(t.TempDir(), form)
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, counts := suspects(t, name)
			if len(got) != len(want) || counts.NoFlags != 0 {
				t.Fatalf("%s as %s: %d pairs, want %d; %+v", log, form, len(got), len(want), counts)
			}
			for pair, w := range want {
				g := got[pair].sum
				points := scorer.Points(pair.Server.Port, &g)
				if points != scorer.Points(pair.Server.Port, &w) {
					t.Errorf("%s as %s: %v has %g points, as conn_interim %g", log, form, pair, points, scorer.Points(pair.Server.Port, &w))
				}
				if points >= score.NemeaThreshold {
					accused++
				}
				// What flows do not tell, or tell otherwise.
				g.Records, g.Services, g.ClientPayload, g.ServerPayload = w.Records, w.Services, w.ClientPayload, w.ServerPayload
				if diff := cmp.Diff(w, g); diff != "" {
					t.Errorf("%s as %s: %v (-conn_interim +flows):\n%s", log, form, pair, diff)
				}
			}
		}
	}
	if accused == 0 {
		t.Error("nobody has the points of a suspect")
	}
}

// TestFlowsOfTheCapture: what nfdump and goflow2 made of a capture of a miner has the points that Zeek's records of the
// same capture have, and detect says so.
func TestFlowsOfTheCapture(t *testing.T) {
	scorer, err := score.New("nemea", 0)
	if err != nil {
		t.Fatal(err)
	}
	pair := minecanary.Pair{
		Client: netip.MustParseAddr("10.20.1.15"),
		Server: minecanary.Endpoint{Addr: netip.MustParseAddr("203.0.113.15"), Port: 3333, Transport: minecanary.TCP},
	}
	var first minecanary.Aggregate
	for i, file := range []string{"goflow2-2.2.6.json", "nfdump-1.7.8-fast.csv", "nfdump-1.7.8-chosen.csv", "nfdump-1.7.1.csv"} {
		got, _ := suspects(t, filepath.Join(flowsData, file))
		sum := got[pair].sum
		// conn_interim of the capture has 8 points: see TestFlowsScoreAsInterim, which reads it where it is.
		if points := scorer.Points(3333, &sum); points != 8 || len(got) != 1 {
			t.Errorf("%s: %g points, %d pairs", file, points, len(got))
		}
		if sum.ClientPackets != 705 || sum.ServerPackets != 666 || sum.ClientBytes != 85840 || sum.ServerBytes != 101380 {
			t.Errorf("%s: %+v", file, sum)
		}
		switch {
		case i == 0:
			first = sum
		case file != "nfdump-1.7.1.csv": // which has no milliseconds
			if diff := cmp.Diff(first, sum); diff != "" {
				t.Errorf("goflow2 and %s:\n%s", file, diff)
			}
		}
	}
	for _, file := range []string{"nfdump-1.7.8.csv", "goflow2-2.2.6-sampled.json"} {
		got, counts := suspects(t, filepath.Join(flowsData, file))
		sum := got[pair].sum
		if sum.Pure() != 0 || sum.ClientPackets == 0 || counts.NoFlags != counts.Records {
			t.Errorf("%s: %+v, %+v", file, sum, counts)
		}
	}
}
