package eve_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/eve"
)

// traffic makes flow events of an ordinary network as Suricata 7 writes them; one in four is UDP.
func traffic(n int) (lines [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	const layout = "2006-01-02T15:04:05.000000-0700"
	for range n {
		start := time.UnixMicro(1751446436_000_000 + r.Int64N(86400_000_000)).UTC()
		end := start.Add(time.Duration(r.ExpFloat64() * float64(time.Minute)))
		toServer, toClient := 1+r.IntN(999), r.IntN(999)
		proto, app, tcp := "TCP", "tls", `,"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1a","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed","ts_max_regions":1,"tc_max_regions":1}`
		switch r.IntN(4) {
		case 0:
			proto, app, tcp = "UDP", "dns", ""
		case 1:
			app = "failed"
		}
		lines = append(lines, fmt.Appendf(nil,
			`{"timestamp":%q,"flow_id":%d,"in_iface":"eth0","event_type":"flow","src_ip":"10.%d.%d.%d","src_port":%d,"dest_ip":"%d.%d.%d.%d","dest_port":%d,"proto":%q,"app_proto":%q,"flow":{"pkts_toserver":%d,"pkts_toclient":%d,"bytes_toserver":%d,"bytes_toclient":%d,"start":%q,"end":%q,"age":%d,"state":"closed","reason":"shutdown","alerted":false}%s}`,
			end.Add(time.Minute).Format(layout), r.Uint64N(1<<51), r.IntN(256), r.IntN(256), r.IntN(256), 1024+r.IntN(60000),
			1+r.IntN(223), r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(10000), proto, app,
			toServer, toClient, toServer*(66+r.IntN(900)), toClient*(66+r.IntN(1400)),
			start.Format(layout), end.Format(layout), int(end.Sub(start).Seconds()), tcp))
	}
	return lines
}

func BenchmarkFlow(b *testing.B) {
	lines := traffic(8192)
	var size int64
	for _, line := range lines {
		size += int64(len(line))
	}
	b.SetBytes(size / int64(len(lines)))
	b.ReportAllocs()
	d := eve.New(eve.Config{})
	var rec minecanary.Record
	n := 0
	for b.Loop() {
		if out := d.Decode(lines[n], &rec); out.Kind != consumer.Decoded {
			b.Fatalf("%+v: %s", out, lines[n])
		}
		if n++; n == len(lines) {
			n = 0
		}
	}
}

// TestNoAllocations checks that flow events as Suricata writes them do not allocate.
func TestNoAllocations(t *testing.T) {
	lines := traffic(64)
	d := eve.New(eve.Config{})
	var rec minecanary.Record
	n := 0
	if got := testing.AllocsPerRun(1000, func() {
		if out := d.Decode(lines[n%len(lines)], &rec); out.Kind != consumer.Decoded {
			t.Fatalf("%+v: %s", out, lines[n%len(lines)])
		}
		n++
	}); got != 0 {
		t.Errorf("%v allocations per record, want 0", got)
	}
}
