//go:build unix

// Bench measures minecanary detect as a whole process, beside DuckDB's bare group-by over the same file.
//
// Processor seconds are user and system time of the finished process; runs alternate, so that both meet the same
// machine. The median of the ratios pair by pair is the figure to quote.
package main

import (
	"bufio"
	"cmp"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// lines and groups are the size of the generated log: connections, and distinct client, server and port among them.
const (
	lines  = 1_000_000
	groups = 135_000 // drawn from; some 107,000 appear
)

//go:embed duckdb.py
var duckdb string

func main() {
	dir := flag.String("dir", os.TempDir(), "where generated logs are kept")
	binary := flag.String("binary", "bin/minecanary", "the program under test")
	python := flag.String("python", "", "a Python with duckdb; empty leaves DuckDB out")
	runs := flag.Int("n", 5, "counted runs of each command, after one that is not counted")
	only := flag.Bool("flows", false, "measure lookup --flows instead")
	sightings := flag.Bool("sightings", false, "measure what ssl.log, dns.log and mining.log add instead")
	flag.Parse()
	measured := func() error { return run(*dir, *binary, *python, *runs) }
	switch {
	case *only:
		measured = func() error { return runFlows(*dir, *binary, *runs) }
	case *sightings:
		measured = func() error { return runSightings(*dir, *binary, *runs) }
	}
	if err := measured(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(dir, binary, python string, runs int) error {
	jsonLog, tsvLog := filepath.Join(dir, "conn1m.json"), filepath.Join(dir, "conn1m.tsv")
	if err := generate(jsonLog, tsvLog); err != nil {
		return err
	}
	info, err := os.Stat(jsonLog)
	if err != nil {
		return err
	}
	fmt.Printf("%s %s/%s, %d processors; %d connections, %d bytes each\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), lines, info.Size()/lines)
	detect := func(log string) []string {
		return []string{binary, "detect", "--probe", "off", "--scorer", "nemea", log}
	}
	commands := []command{
		{"minecanary detect, JSON", detect(jsonLog)},
		{"minecanary detect, TSV", detect(tsvLog)},
	}
	if python != "" {
		commands = append(commands, command{"DuckDB group-by, JSON", []string{python, "-c", duckdb, jsonLog}})
	}
	results, err := measure(commands, runs)
	if err != nil {
		return err
	}
	table(commands, results)
	ratio := func(a, b int) []float64 {
		var out []float64
		for i := range results[a] {
			out = append(out, results[a][i].cpu.Seconds()/results[b][i].cpu.Seconds())
		}
		slices.Sort(out)
		return out
	}
	r := ratio(1, 0)
	fmt.Printf("\nCPU of TSV / JSON, run by run:      min %.2f  median %.2f  max %.2f\n", r[0], r[len(r)/2], r[len(r)-1])
	if len(commands) > 2 {
		r := ratio(0, 2)
		fmt.Printf("CPU of detect / DuckDB, run by run: min %.2f  median %.2f  max %.2f\n", r[0], r[len(r)/2], r[len(r)-1])
	}
	return nil
}

// measure runs the commands by turns, each once without counting.
func measure(commands []command, runs int) ([][]usage, error) {
	results := make([][]usage, len(commands))
	for i := range runs + 1 {
		for k, c := range commands {
			u, err := c.run()
			if err != nil {
				return nil, err
			}
			if i > 0 {
				results[k] = append(results[k], u)
			}
		}
	}
	return results, nil
}

// table prints what the runs of each command took.
func table(commands []command, results [][]usage) {
	fmt.Printf("\n%-26s %28s %28s %14s\n", "", "CPU s (min median max)", "wall s (min median max)", "peak RSS MB")
	for k, c := range commands {
		cpu := func(u usage) float64 { return u.cpu.Seconds() }
		wall := func(u usage) float64 { return u.wall.Seconds() }
		rss := func(u usage) float64 { return float64(u.rss) / 1e6 }
		fmt.Printf("%-26s %28s %28s %14.0f\n", c.name, spread(results[k], cpu), spread(results[k], wall), slices.Max(values(results[k], rss)))
	}
}

type command struct {
	name string
	args []string
}

type usage struct {
	cpu, wall time.Duration
	rss       int64 // bytes
}

func (c command) run() (usage, error) {
	cmd := exec.Command(c.args[0], c.args[1:]...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(began)
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w\n%s", c.name, err, out)
	}
	state := cmd.ProcessState
	u := usage{cpu: state.UserTime() + state.SystemTime(), wall: wall}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.rss = ru.Maxrss * 1024 // Linux counts in KiB
	}
	return u, nil
}

func values(us []usage, of func(usage) float64) []float64 {
	var out []float64
	for _, u := range us {
		out = append(out, of(u))
	}
	slices.SortFunc(out, cmp.Compare)
	return out
}

func spread(us []usage, of func(usage) float64) string {
	v := values(us, of)
	return fmt.Sprintf("%.2f  %.2f  %.2f", v[0], v[len(v)/2], v[len(v)-1])
}

// generate writes the logs unless they are there already. The same seed gives the same bytes everywhere.
func generate(jsonLog, tsvLog string) (err error) {
	if _, err := os.Stat(jsonLog); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fmt.Fprintln(os.Stderr, "generating", jsonLog, "and", tsvLog)
	var files [2]*os.File
	var out [2]*bufio.Writer
	for i, name := range []string{jsonLog, tsvLog} {
		if files[i], err = os.Create(name + ".tmp"); err != nil {
			return err
		}
		out[i] = bufio.NewWriterSize(files[i], 1<<20)
	}
	fmt.Fprint(out[1], strings.Join([]string{
		`#separator \x09`, "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn", "#open\t2026-01-01-00-00-00",
		"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes",
		"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tbool\tbool\tcount\tstring\tcount\tcount\tcount\tcount",
	}, "\n")+"\n")
	rng := rand.New(rand.NewPCG(385, 1))
	skew := rand.NewZipf(rng, 1.01, 4000, groups-1)
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	ports := []int{443, 443, 443, 80, 80, 53, 22, 993, 3333, 8443, 5223, 14444}
	for i := range lines {
		g := skew.Uint64()
		h := g * 0x9e3779b97f4a7c15 // one client, server and port for each group
		orig := fmt.Sprintf("10.%d.%d.%d", h>>60, h>>52&255, h>>44&255)
		resp := fmt.Sprintf("%d.%d.%d.%d", 11+h>>36&127, h>>28&255, h>>20&255, h>>12&255)
		port := ports[h>>4&0xff%uint64(len(ports))]
		uid := make([]byte, 17)
		for k := range uid {
			uid[k] = letters[rng.IntN(len(letters))]
		}
		ts := 1767225600 + float64(i)*0.0036 + rng.Float64()*0.003
		duration := rng.ExpFloat64() * 20
		op, rp := 3+rng.IntN(40), 2+rng.IntN(60)
		ob, rb := op*rng.IntN(200), rp*rng.IntN(900)
		service, tsvService := "", "-"
		switch port {
		case 443, 993, 8443, 5223:
			service, tsvService = `"service":"ssl",`, "ssl"
		case 80:
			service, tsvService = `"service":"http",`, "http"
		case 22:
			service, tsvService = `"service":"ssh",`, "ssh"
		}
		clientPort := 1024 + rng.IntN(64511)
		fmt.Fprintf(out[0], `{"ts":%.6f,"uid":"C%s","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%d,"proto":"tcp",%s"duration":%.6f,"orig_bytes":%d,"resp_bytes":%d,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d}`+"\n",
			ts, uid, orig, clientPort, resp, port, service, duration, ob, rb, op, ob+40*op, rp, rb+40*rp)
		fmt.Fprintf(out[1], "%.6f\tC%s\t%s\t%d\t%s\t%d\ttcp\t%s\t%.6f\t%d\t%d\tSF\tT\tF\t0\tShADadFf\t%d\t%d\t%d\t%d\n",
			ts, uid, orig, clientPort, resp, port, tsvService, duration, ob, rb, op, ob+40*op, rp, rb+40*rp)
	}
	for i, name := range []string{jsonLog, tsvLog} {
		if err := errors.Join(out[i].Flush(), files[i].Close(), os.Rename(name+".tmp", name)); err != nil {
			return err
		}
	}
	return nil
}
