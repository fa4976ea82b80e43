//go:build services

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/prober/spar"
)

// sparring are the pools that are asked: a dialect each.
var sparring = []string{"cryptonote", "ethproxy", "stratum-v1", "zcash"}

// The size of the crash run.
const (
	crashLines = 200_000
	crashKills = 20
)

// TestKill9 kills serve with SIGKILL at random moments while lines are appended and the log is rotated, both ways, and
// wants what an undisturbed run gives: the same suspects, the same hits, the same feed.
func TestKill9(t *testing.T) {
	bin := asCommand(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var pools []string
	for i := range 4 {
		s, err := spar.Start(t.Context(), spar.Options{Addr: fmt.Sprintf("127.20.1.%d:0", 10+i), Dialect: sparring[i]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		pools = append(pools, s.Addr().String())
	}
	lines := crashLog(pools)
	calm := crashRun(t, bin, lines, 0, rand.New(rand.NewPCG(seed, 0)))
	killed := crashRun(t, bin, lines, crashKills, rand.New(rand.NewPCG(seed, 1)))
	if diff := cmp.Diff(calm.suspects, killed.suspects); diff != "" {
		t.Errorf("suspects (-calm +killed):\n%s", diff)
	}
	if diff := cmp.Diff(calm.hits, killed.hits); diff != "" {
		t.Errorf("hits (-calm +killed):\n%s", diff)
	}
	if diff := cmp.Diff(calm.feed, killed.feed); diff != "" {
		t.Errorf("feed (-calm +killed):\n%s", diff)
	}
	t.Logf("%d lines, %d kills: %d suspects, %d hits, %d feed entries", len(lines), crashKills, len(killed.suspects), len(killed.hits), len(killed.feed))
	if len(calm.hits) < 20 || len(calm.feed) != len(pools) || len(calm.suspects) < 100 {
		t.Errorf("too little happened: %d suspects, %d hits, %d feed entries", len(calm.suspects), len(calm.hits), len(calm.feed))
	}
}

// asCommand gives a path that runs this binary as minecanary.
func asCommand(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "minecanary")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// crashLog makes a day of connections in the order in which a sensor ends them: miners that reconnect every ten minutes
// to the pools, somebody who talks to a blocked server, and many others.
func crashLog(pools []string) []string {
	rng := rand.New(rand.NewPCG(99, 99))
	const day = 24 * 3600
	type conn struct {
		end  float64
		line string
	}
	var all []conn
	add := func(start, duration float64, client, server string, port string, packets, bytes int) {
		uid := fmt.Sprintf("C%016x%d", rng.Uint64(), len(all)%10)
		line := fmt.Sprintf(`{"ts":%.6f,"uid":%q,"id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%s,"proto":"tcp","duration":%.6f,"orig_bytes":%d,"resp_bytes":%d,"conn_state":"SF","history":"ShADadFf","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d}`,
			1767225600+start, uid, client, 30000+rng.IntN(30000), server, port, duration, packets*bytes, packets*3*bytes, packets, packets*(bytes+40), packets, packets*(3*bytes+40))
		all = append(all, conn{start + duration, line})
	}
	split := func(pool string) (host, port string) { host, port, _ = strings.Cut(pool, ":"); return host, port }
	for m := range 24 {
		host, port := split(pools[m%len(pools)])
		for at := rng.Float64() * 300; at < day-900; at += 610 {
			add(at, 600, fmt.Sprintf("10.1.0.%d", m+1), host, port, 80, 60)
		}
	}
	for at := 0.0; at < day-900; at += 1800 {
		add(at, 400, "10.1.1.1", "198.51.100.77", "8080", 900, 500)
	}
	for len(all) < crashLines {
		// Servers in the documentation ranges alone (RFC 5737): the prober must have nobody real to ask.
		c, s := rng.IntN(400), rng.IntN(250)+1
		add(rng.Float64()*(day-1000), rng.ExpFloat64()*30, fmt.Sprintf("10.2.%d.%d", c/200, c%200+1),
			fmt.Sprintf("%s.%d", []string{"192.0.2", "198.51.100", "203.0.113"}[rng.IntN(3)], s), strconv.Itoa(8000+rng.IntN(4)), 3+rng.IntN(60), 20+rng.IntN(900))
	}
	slices.SortStableFunc(all, func(a, b conn) int {
		if a.end < b.end {
			return -1
		}
		return 1
	})
	lines := make([]string, len(all))
	for i := range all {
		lines[i] = all[i].line + "\n"
	}
	return lines
}

// outcome is what a run left.
type outcome struct{ suspects, hits, feed []string }

func crashRun(t *testing.T, bin string, lines []string, kills int, rng *rand.Rand) outcome {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "conn.log")
	writeFile(t, filepath.Join(dir, "block.txt"), "198.51.100.77:8080 known for years\n")
	writeFile(t, filepath.Join(dir, "minecanary.yaml"), `
input: {files: [conn.log]}
lists: {block: [block.txt]}
score: {scorer: nemea}
report: {suspected: true}
prober: {mode: auto, contact: noc@example.net, allow: [127.20.1.0/24], per_client_hour: 100, per_network_hour: 100, per_second: 50, answer_timeout: 2s}
feed: {dir: feed, allow: [127.20.1.0/24], rewrite_every: 1s}
state: {snapshot_every: 1s}
http: {listen: "127.0.0.1:0"}
api: {listen: ""}
`)
	start := func() (*exec.Cmd, *strings.Builder) {
		cmd := exec.Command(bin, "serve", "-c", "minecanary.yaml", "--follow")
		cmd.Dir = dir
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &stderr
	}

	// The writer takes a few seconds, so that kills meet every stage: start, probing, snapshots, rotation.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written := make(chan error, 1)
	go func() { written <- appendLines(ctx, log, lines, rng.Uint64()) }()
	cmd, stderr := start()
	for k := range kills {
		time.Sleep(time.Duration(50+rng.IntN(900)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("kill %d: %v\n%s", k, err, stderr)
		}
		cmd, stderr = start()
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	// Everything is read when the newest record is the last one, and asked when nothing waits.
	deadline := time.Now().Add(2 * time.Minute)
	for metric(stderr.String(), "newest_record_timestamp_seconds") < lastEnd(t, lines) || metric(stderr.String(), "probe_queue") != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("not caught up: newest record %f of %f\n%s", metric(stderr.String(), "newest_record_timestamp_seconds"), lastEnd(t, lines), stderr)
		}
		time.Sleep(200 * time.Millisecond)
	}
	time.Sleep(2 * time.Second) // metrics are as of the last second
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, stderr)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("SIGTERM took %s", took)
	}

	var out outcome
	store := memory.New(memory.Config{Report: time.Hour, Inactive: 15 * time.Minute, File: filepath.Join(dir, "state", "suspects.state")})
	if err := store.Peek(); err != nil {
		t.Fatal(err)
	}
	err := store.Each(t.Context(), nil, func(s *enrich.Suspect) bool {
		for _, seg := range s.Segments {
			out.suspects = append(out.suspects, fmt.Sprintf("%s %s %s w%d %+v", s.Client, s.Server, seg.UID, seg.Window, seg.Aggregate))
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out.suspects)
	seen := map[string]bool{}
	for _, line := range readLines(t, filepath.Join(dir, "hits.ndjson")) {
		var d struct {
			Event struct {
				ID       string `json:"id"`
				Sequence int    `json:"sequence"`
			} `json:"event"`
			Minecanary struct {
				Status string `json:"status"`
			} `json:"minecanary"`
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("hits.ndjson: %v: %s", err, line)
		}
		// A window may be told as suspected before a crash and as confirmed after it, as probes run by the wall clock.
		if once := fmt.Sprint(d.Event.ID, d.Event.Sequence, d.Minecanary.Status); seen[once] {
			t.Errorf("hit %s #%d is there twice as %s", d.Event.ID, d.Event.Sequence, d.Minecanary.Status)
		} else {
			seen[once] = true
		}
		out.hits = append(out.hits, d.Event.ID)
	}
	slices.Sort(out.hits)
	out.hits = slices.Compact(out.hits)
	for _, line := range readLines(t, filepath.Join(dir, "feed", "pools.dat")) {
		if f := strings.Split(line, "\t"); !strings.HasPrefix(line, "#") {
			out.feed = append(out.feed, strings.Join(f[:4], " ")) // without the time of the proof
		}
	}
	slices.Sort(out.feed)
	return out
}

// appendLines writes the lines in pieces that end anywhere, and rotates the log a few times: by rename, and by copy and
// truncate.
func appendLines(ctx context.Context, name string, lines []string, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 3))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	rotateAt := map[int]bool{}
	for k := range 4 {
		rotateAt[(k+1)*len(lines)/5/100*100] = true
	}
	rotations := 0
	for i := 0; i < len(lines); i += 100 {
		if rotateAt[i] {
			rotated := fmt.Sprintf("%s.%d", name, rotations)
			rotations++
			if err := f.Close(); err != nil {
				return err
			}
			// A log rotated by copy and truncate loses what is written in between; this writer waits.
			if rotations%2 == 1 {
				err = os.Rename(name, rotated)
			} else if err = copyFile(name, rotated); err == nil {
				err = os.Truncate(name, 0)
			}
			if err != nil {
				return err
			}
			if f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
				return err
			}
		}
		piece := strings.Join(lines[i:min(i+100, len(lines))], "")
		cut := rng.IntN(len(piece))
		for _, part := range []string{piece[:cut], piece[cut:]} {
			if _, err := f.WriteString(part); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rng.IntN(12)) * time.Millisecond):
		}
	}
	return f.Close()
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readLines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		out = append(out, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// lastEnd is the end of the last record.
func lastEnd(t *testing.T, lines []string) float64 {
	t.Helper()
	var last struct {
		TS       float64 `json:"ts"`
		Duration float64 `json:"duration"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	return last.TS + last.Duration - 0.001
}

// metric asks the service for one of its metrics; the log tells where they are. It is -1 if it cannot be had.
func metric(log, name string) float64 {
	for line := range strings.Lines(scrape(log)) {
		var v float64
		if n, _ := fmt.Sscanf(line, "minecanary_"+name+" %g", &v); n == 1 {
			return v
		}
	}
	return -1
}

// scrape gives all metrics of a service, nothing if they cannot be had.
func scrape(log string) string {
	_, after, ok := strings.Cut(log, "msg=listening address=")
	if !ok {
		return ""
	}
	addr, _, _ := strings.Cut(after, "\n")
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get("http://" + strings.TrimSpace(addr) + "/metrics")
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}
