//go:build services

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary/prober/spar"
)

// The aims of the prober.
const (
	wantProbes   = 1000 // endpoints a second, unthrottled
	wantRSS      = 200  // MB with 10,000 endpoints
	wantCatalog  = 60   // seconds for as many endpoints as sMaSheD looks at
	wantDelay    = 1.1  // time of a probe beside hostile servers to that alone
	smashedSize  = 2284 // address, port and protocol, as sMaSheD has them
	manySize     = 10_000
	manyParallel = manySize
)

// TestProber prints the figures of the prober: bin/minecanary (BENCH_BINARY) asks sparring servers on loopback, an address
// for each endpoint.
func TestProber(t *testing.T) {
	bin, err := filepath.Abs(cmp.Or(os.Getenv("BENCH_BINARY"), "../bin/minecanary"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("the program under test: %v", err)
	}
	innocent := []string{"http", "smtp", "ssh", "redis", "electrum"}
	for _, name := range innocent {
		if !slices.Contains(spar.Others(), name) {
			t.Fatalf("no sparring partner %q among %v", name, spar.Others())
		}
	}
	p := &probers{bin: bin, servers: map[string]int{}, foreign: spar.CloseOn}

	fmt.Printf("\n== prober: sparring servers on loopback\n%-74s %10s %10s\n", "", "measured", "target")
	many := p.endpoints(t, 0, manySize, spar.Pools(), innocent)
	run := p.probe(t, many, manyParallel)
	p.right(t, many, run)
	rate := manySize / run.took.Seconds()
	line("10,000 endpoints, half pools, which close upon other dialects: endpoints/s", rate, wantProbes, rate >= wantProbes)
	line("  CPU, ms/endpoint", run.cpu.Seconds()*1000/manySize, 0, true)
	line("  peak RSS, MB", run.rss, wantRSS, run.rss <= wantRSS)

	p.foreign = spar.AsRecorded
	catalog := p.endpoints(t, manySize, smashedSize, spar.Pools(), innocent)
	run = p.probe(t, catalog, smashedSize)
	p.right(t, catalog, run)
	line("2,284 endpoints, half pools, as recorded, all at once: s", run.took.Seconds(), wantCatalog, run.took.Seconds() <= wantCatalog)
	run = p.probe(t, catalog, 64)
	p.right(t, catalog, run)
	line("2,284 endpoints, 64 at once (the default of probe): s", run.took.Seconds(), 300, run.took.Seconds() <= 300)

	few := p.endpoints(t, 20_000, 200, spar.Pools(), nil)
	alone := p.probe(t, few, len(few))
	p.right(t, few, alone)
	hostile := p.endpoints(t, 30_000, manySize, nil, []string{"drip", "flood", "silent"})
	beside := p.probe(t, slices.Concat(few, hostile), len(few)+len(hostile))
	p.right(t, few, beside)
	for _, e := range hostile {
		if v := beside.verdicts[e.addr]; v.Verdict == "confirmed" {
			t.Errorf("%s %s: %s", e.name, e.addr, v.Verdict)
		}
	}
	ratio := p.median(few, beside) / p.median(few, alone)
	line("200 pools beside 10,000 hostile servers to alone, median", ratio, wantDelay, ratio <= wantDelay)
	line("  peak RSS, MB", beside.rss, 0, true)
	line("  all ended after, s", beside.took.Seconds(), 0, true)
}

// line prints one figure.
func line(what string, value, want float64, kept bool) {
	target := ""
	if want > 0 {
		target = fmt.Sprintf("%g: kept", want)
		if !kept {
			target = fmt.Sprintf("%g: MISSED", want)
		}
	}
	fmt.Printf("%-74s %10.4g %10s\n", what, value, target)
}

// probers asks the same sparring servers again and again, each time at addresses of their own.
type probers struct {
	bin     string
	servers map[string]int // ports
	foreign spar.Foreign   // what pools do with another dialect
}

type endpoint struct {
	name, addr string
	pool       bool
}

// endpoints gives n addresses of sparring servers, half pools, from an offset in 127.0.0.0/8.
func (p *probers) endpoints(t *testing.T, offset, n int, pools, others []string) []endpoint {
	t.Helper()
	out := make([]endpoint, n)
	for i := range out {
		names := pools
		if len(pools) == 0 || len(others) > 0 && i%2 == 1 {
			names = others
		}
		name := names[i/2%len(names)]
		k := offset + i
		out[i] = endpoint{
			name: name, pool: slices.Contains(spar.Pools(), name),
			addr: fmt.Sprintf("127.%d.%d.%d:%d", 1+k/62500, k/250%250, 1+k%250, p.port(t, name)),
		}
	}
	return out
}

func (p *probers) port(t *testing.T, name string) int {
	t.Helper()
	key := fmt.Sprint(name, p.foreign)
	if port, ok := p.servers[key]; ok {
		return port
	}
	s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", All: true, Connections: 1 << 20, Dialect: name, Foreign: p.foreign})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	p.servers[key] = int(s.Addr().Port())
	return p.servers[key]
}

type probeRun struct {
	took, cpu time.Duration
	rss       float64 // MB
	verdicts  map[string]verdict
}

type verdict struct {
	Endpoint   string `json:"endpoint"`
	Verdict    string `json:"verdict"`
	DurationMS int64  `json:"duration_ms"`
}

// probe asks all endpoints with the command.
func (p *probers) probe(t *testing.T, list []endpoint, parallel int) probeRun {
	t.Helper()
	var in bytes.Buffer
	for _, e := range list {
		in.WriteString(e.addr + "\n")
	}
	cmd := exec.CommandContext(t.Context(), p.bin, "probe", "--json", "--allow-probe", "127.0.0.0/8", "--audit", filepath.Join(t.TempDir(), "audit"),
		"--parallel", strconv.Itoa(parallel), "-")
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, peak := make(chan struct{}), make(chan float64, 1)
	go func() { peak <- peakRSS(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	took := time.Since(began)
	close(ended)
	rss := <-peak
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if rss == 0 {
		t.Fatal("the memory of the program is not known")
	}
	run := probeRun{
		took: took, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rss: rss, verdicts: map[string]verdict{},
	}
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v verdict
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		run.verdicts[strings.TrimSuffix(v.Endpoint, "/tcp")] = v
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return run
}

// peakRSS gives a process's highest resident memory in MB until it ended, 0 if it never was to be read. What getrusage
// tells of a child is no less than what its parent had when it started it (Linux, fs/exec.c), here with all the servers.
func peakRSS(pid int, ended <-chan struct{}) (peak float64) {
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // is not there any more at the end
		if _, after, found := strings.Cut(string(status), "VmHWM:"); found {
			var kb float64
			if _, err := fmt.Sscan(after, &kb); err == nil {
				peak = kb / 1024
			}
		}
		select {
		case <-ended:
			return peak
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// right checks that all verdicts are.
func (p *probers) right(t *testing.T, list []endpoint, run probeRun) {
	t.Helper()
	wrong := map[string]int{}
	for _, e := range list {
		v := run.verdicts[e.addr].Verdict
		if e.pool != (v == "confirmed" || v == "node") {
			wrong[e.name+" is "+v]++
		}
	}
	if len(wrong) > 0 {
		t.Errorf("wrong verdicts: %v", wrong)
	}
}

// median is that of the times the probes took, in milliseconds.
func (p *probers) median(list []endpoint, run probeRun) float64 {
	all := make([]int64, len(list))
	for i, e := range list {
		all[i] = run.verdicts[e.addr].DurationMS
	}
	slices.Sort(all)
	return float64(all[len(all)/2])
}
