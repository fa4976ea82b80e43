package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/audit"
	"github.com/minecanary/minecanary/prober/spar"
)

// TestLeaveOut takes what is ours out of a batch and leaves the records beside the right slices.
func TestLeaveOut(t *testing.T) {
	cfg := config.Default()
	cfg.Network.Probers = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	cfg.Prober.Source = []string{"192.0.2.5", "2001:db8::5"}
	o := newOurs(cfg)
	o.made = func(local, remote netip.AddrPort) bool {
		return local == netip.MustParseAddrPort("10.0.0.5:40000") && remote == netip.MustParseAddrPort("198.51.100.1:3333")
	}
	of := func(client string, server string) minecanary.Slices {
		c := netip.MustParseAddrPort(client)
		s := netip.MustParseAddrPort(server)
		return minecanary.Slices{
			Pair:       minecanary.Pair{Client: c.Addr(), Server: minecanary.NewEndpoint(s.Addr(), s.Port(), minecanary.TCP)},
			ClientPort: c.Port(),
		}
	}
	var b enrich.Batch
	for i, s := range []minecanary.Slices{
		of("10.0.0.5:40000", "198.51.100.1:3333"), // this process made it
		of("10.0.0.5:40001", "198.51.100.1:3333"), // a miner on the same machine
		of("10.0.0.5:40000", "198.51.100.1:3334"),
		of("203.0.113.9:1", "198.51.100.1:3333"),           // a prober elsewhere
		of("[::ffff:192.0.2.5]:1", "198.51.100.1:3333"),    // from prober.source
		of("[2001:db8::5]:1", "[2001:db8:1::1]:3333"),      // from prober.source
		of("[2001:db8::6]:1", "[2001:db8:1::1]:3333"),      //
		of("198.51.100.1:3333", "192.0.2.5:40000"),         // nobody is left out as a server
		of("10.0.0.6:40000", "198.51.100.1:3333"),          //
		of("[::ffff:10.0.0.5]:40000", "198.51.100.1:3333"), // a sensor's other spelling
	} {
		b.Slices = append(b.Slices, s)
		b.Records = append(b.Records, []byte{byte(i)})
	}
	o.leaveOut(&b)
	if diff := cmp.Diff([][]byte{{1}, {2}, {6}, {7}, {8}}, b.Records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if len(b.Slices) != 5 || b.Slices[3].Server.Port != 40000 {
		t.Errorf("slices %v", b.Slices)
	}
	nobody := enrich.Batch{Slices: []minecanary.Slices{of("203.0.113.9:1", "198.51.100.1:3333")}}
	ours{}.leaveOut(&nobody)
	if len(nobody.Slices) != 1 {
		t.Error("without anything of ours something is left out")
	}
}

// seen keeps the audit trail in memory.
type seen struct {
	mu      sync.Mutex
	records []audit.Record
}

// Append implements prober.Auditor.
func (s *seen) Append(rec audit.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, rec)
	return nil
}

// TestOwnProbesAreNoMiners probes a pool, shows the pipeline the records that a sensor on the way out would write of it,
// and those of a miner on the same machine: the miner alone is there.
func TestOwnProbesAreNoMiners(t *testing.T) {
	pool, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: "stratum-v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	cfg := prober.DefaultConfig()
	cfg.Allow, cfg.DenyPorts = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, nil
	trail := &seen{}
	p, err := prober.New(cfg, trail, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := minecanary.NewEndpoint(pool.Addr().Addr(), pool.Addr().Port(), minecanary.TCP)
	if r := p.Probe(t.Context(), server, prober.ProbeOptions{}); r.Status != minecanary.Confirmed {
		t.Fatalf("%s: %s", r.Status, r.Reason)
	}
	o := ours{made: p.Made}
	var b enrich.Batch
	locals := 0
	for _, rec := range trail.records {
		if rec.Local == "" {
			continue
		}
		locals++
		local := netip.MustParseAddrPort(rec.Local)
		for _, port := range []uint16{local.Port(), local.Port() ^ 0x4000} {
			b.Slices = append(b.Slices, minecanary.Slices{Pair: minecanary.Pair{Client: local.Addr(), Server: server}, ClientPort: port})
		}
	}
	o.leaveOut(&b)
	if locals == 0 || len(b.Slices) != locals {
		t.Errorf("%d slices of %d connections are left, want those of the miner alone", len(b.Slices), locals)
	}
}

// TestFlood sends a million made-up flows through detect: an attacker inside has a whole range scanned, if the prober
// lets him. Without an answer of the victims not one is asked, nor if they answered with packets alone; with data from
// them the budgets hold.
func TestFlood(t *testing.T) {
	flows := 1_000_000
	if testing.Short() {
		flows = 100_000
	}
	probes := func(t *testing.T, n int, flow func(i int) string) (endpoints map[string]string, stderr string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "audit.ndjson")
		r, w := net.Pipe()
		go func() {
			var b bytes.Buffer
			for i := range n {
				b.WriteString(flow(i))
				if b.Len() > 1<<20 || i == n-1 {
					if _, err := w.Write(b.Bytes()); err != nil {
						return
					}
					b.Reset()
				}
			}
			_ = w.Close()
		}()
		var out, errs bytes.Buffer
		args := []string{"detect", "--probe", "auto", "--allow-probe", "127.0.0.0/8", "--audit", file, "--json", "--suspects", "-"}
		code := Main(t.Context(), args, r, &out, &errs, func(string) string { return "" })
		_ = r.Close()
		if code != ExitOK {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		reports, err := audit.VerifyFiles(file)
		if err != nil || reports[0].Broken != nil {
			t.Fatalf("%v, %v", reports, err)
		}
		endpoints = map[string]string{}
		for line := range strings.Lines(read(t, file)) {
			var rec audit.Record
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatal(err)
			}
			if rec.Event == audit.EventProbe {
				endpoints[rec.Endpoint] = rec.Client
			}
		}
		return endpoints, errs.String()
	}
	// A miner's flow as far as its sender can make it so: an hour, a packet every half minute.
	const mined = `{"ts":%d.5,"uid":"C%d","id.orig_h":"10.0.%d.%d","id.orig_p":%d,"id.resp_h":"127.64.%d.%d","id.resp_p":%d,"proto":"tcp",` +
		`"duration":3600.0,"orig_bytes":9000,"resp_bytes":%d,"conn_state":"%s","history":"%s","orig_pkts":120,"orig_ip_bytes":15240,` +
		`"resp_pkts":%d,"resp_ip_bytes":%d}` + "\n"
	oneWay := []struct {
		state, history string
		packets, bytes int
	}{
		{"S0", "S", 0, 0},                // never answered
		{"OTH", "DADA", 0, 0},            // as if from the middle of a session
		{"S0", "SADADADA", 0, 0},         // as if answered
		{"REJ", "Sr", 1, 40},             // refused
		{"RSTOS0", "SR", 0, 0},           //
		{"OTH", "DADAr", 60, 2400},       // each packet drew a reset
		{"S1", "ShADADA", 120, 120 * 40}, // the victim's stack answers, its service says nothing
	}
	t.Run("one way", func(t *testing.T) {
		got, stderr := probes(t, flows, func(i int) string {
			w := oneWay[i%len(oneWay)]
			return fmt.Sprintf(mined, 1_700_000_000+i%3600, i, i>>4&255, i&255, 1024+i%60000, i>>8&255, i&255, 3333+i>>16, 0, w.state, w.history, w.packets, w.bytes)
		})
		if len(got) != 0 {
			t.Errorf("%d endpoints were asked", len(got))
		}
		if !strings.Contains(stderr, fmt.Sprintf("%d records", flows)) || !strings.Contains(stderr, ", 0 probed") {
			t.Errorf("standard error:\n%s", stderr)
		}
	})
	t.Run("both ways", func(t *testing.T) {
		// Two clients, two networks: ten probes at most, and the burst of the global budget has just as many.
		got, stderr := probes(t, 10_000, func(i int) string {
			return fmt.Sprintf(mined, 1_700_000_000+i%3600, i, 0, i%2, 1024+i%60000, i>>8&1, i&255, 3333, 90_000, "S1", "ShADda", 120, 95_000)
		})
		clients, networks := map[string]int{}, map[string]int{}
		for ep, client := range got {
			clients[client]++
			networks[ep[:strings.LastIndexByte(ep, '.')]]++
		}
		if len(got) < 8 || len(got) > 10 {
			t.Errorf("%d endpoints were asked, want 8 to 10; standard error:\n%s", len(got), stderr)
		}
		for client, n := range clients {
			if n > 5 {
				t.Errorf("%d endpoints were asked because of %s, want at most 5", n, client)
			}
		}
		for network, n := range networks {
			if n > 8 {
				t.Errorf("%d endpoints were asked in %s.0/24, want at most 8", n, network)
			}
		}
	})
}

// read gives the text of a file.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
