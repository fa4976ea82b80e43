//go:build services

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/kafka"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/redis"
	"github.com/minecanary/minecanary/internal/stack"
	"github.com/minecanary/minecanary/prober/spar"
)

// The size of the chaos runs: records of one day of a network, over 8 partitions.
var (
	chaosRecords = env("CHAOS_RECORDS", 1_000_000)
	chaosKills   = env("CHAOS_KILLS", 20)
)

const (
	chaosPartitions = 8
	chaosReport     = 3600 // seconds, as configured by default
	chaosLateness   = 900
)

func env(name string, standard int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return standard
}

// world is what all chaos runs have in common: the records, the pools, and what an undisturbed embedded run gives.
type world struct {
	bin   string
	dir   string
	log   string // all records, one a line
	limit int64  // the window before which everything is decided in the end
	pools []string
	// seeded are pools that are known to be such from the start; the others are asked.
	seeded map[string]bool
	calm   outcome
	docs   map[string]document // by the ids of reports at seeded pools
}

// document is what is compared of the last report of a hit.
type document struct {
	Status  string
	Scale   int
	Packets uint64
	Bytes   uint64
}

// makeWorld makes the world.
func makeWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{bin: filepath.Join(dir, "minecanary"), dir: dir, log: filepath.Join(dir, "records.json"), seeded: map[string]bool{}}
	if err := os.Symlink(self, w.bin); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		s, err := spar.Start(context.Background(), spar.Options{Addr: fmt.Sprintf("127.20.2.%d:0", 10+i), Dialect: sparring[i%len(sparring)]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		w.pools = append(w.pools, s.Addr().String())
		w.seeded[s.Addr().String()] = i < 4
	}
	newest := writeRecords(t, w.log, chaosRecords, w.pools)
	w.limit = (newest - chaosLateness) / chaosReport
	w.calm, w.docs = embedded(t, w)
	t.Logf("%d records; embedded: %d segments, %d hits, %d feed entries", chaosRecords, len(w.calm.suspects), len(w.calm.hits), len(w.calm.feed))
	if len(w.calm.hits) < 100 || len(w.calm.feed) != len(w.pools) || len(w.calm.suspects) < 100 {
		t.Fatalf("too little happened: %d segments, %d hits, %d feed entries", len(w.calm.suspects), len(w.calm.hits), len(w.calm.feed))
	}
	return w
}

// writeRecords writes n records in the order of their ends, but up to 10 minutes out of it: miners that reconnect every
// ten minutes, a blocked server, and many others; 2 in 100 as two conn_interim records and a conn row that repeats them,
// 1 in 100 twice. It gives the newest end, in seconds.
func writeRecords(t *testing.T, name string, n int, pools []string) (newest int64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(2026, uint64(n)))
	const day, epoch = 24 * 3600, 1767225600
	type conn struct {
		start, duration float64
		client, server  string
		packets, bytes  int
		uid             string
	}
	uid := func() string { return fmt.Sprintf("C%016x%d", rng.Uint64(), rng.IntN(10)) }
	var conns []conn
	for m := range 48 {
		for at := rng.Float64() * 300; at < day-1300; at += 610 {
			conns = append(conns, conn{at, 600, fmt.Sprintf("10.1.0.%d", m+1), pools[m%len(pools)], 80, 60, uid()})
		}
	}
	for at := 0.0; at < day-900; at += 1800 {
		conns = append(conns, conn{at, 400, "10.1.1.1", "198.51.100.77:8080", 900, 500, uid()})
	}
	for len(conns) < n*96/100 {
		c, s := rng.IntN(400), rng.IntN(250)+1
		conns = append(conns, conn{
			rng.Float64() * (day - 1000), min(900, rng.ExpFloat64()*30), fmt.Sprintf("10.2.%d.%d", c/200, c%200+1),
			fmt.Sprintf("%s.%d:%d", []string{"192.0.2", "198.51.100", "203.0.113"}[rng.IntN(3)], s, 8000+rng.IntN(4)),
			3 + rng.IntN(60), 20 + rng.IntN(900), uid(),
		})
	}
	type line struct {
		at   float64
		conn int
		part uint8 // 0 whole, 1 and 2 interim, 3 the row that repeats them
	}
	var lines []line
	for i := range conns {
		c := &conns[i]
		end := c.start + c.duration
		late := func() float64 { return rng.Float64() * 600 }
		if i%50 == 7 && c.duration > 1 {
			lines = append(lines, line{end - c.duration/2 + late(), i, 1}, line{end + late(), i, 2}, line{end + late(), i, 3})
			continue
		}
		lines = append(lines, line{end + late(), i, 0})
		if i%100 == 13 {
			lines = append(lines, line{end + late(), i, 0})
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	for _, l := range lines {
		c := &conns[l.conn]
		host, port, _ := strings.Cut(c.server, ":")
		head := fmt.Sprintf(`"uid":%q,"id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%s,"proto":"tcp"`, c.uid, c.client, 30000+l.conn%30000, host, port)
		half := c.packets / 2
		newest = max(newest, int64(epoch+c.start+c.duration))
		switch l.part {
		case 1, 2:
			p, from, to := half, c.start, c.start+c.duration/2
			if l.part == 2 {
				p, from, to = c.packets-half, to, c.start+c.duration
			}
			fmt.Fprintf(out, `{"ts":%.6f,%s,"duration":%.6f,"orig_bytes":%d,"resp_bytes":%d,"history":"ShADad","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d,"partial":false,"seq":%d,"final":%t,"slice_start":%.6f,"slice_end":%.6f,"d_orig_bytes":%d,"d_resp_bytes":%d,"d_orig_pkts":%d,"d_orig_ip_bytes":%d,"d_resp_pkts":%d,"d_resp_ip_bytes":%d}`+"\n",
				epoch+c.start, head, to-c.start, p*c.bytes, 3*p*c.bytes, p, p*(c.bytes+40), p, p*(3*c.bytes+40), l.part, l.part == 2, epoch+from, epoch+to, p*c.bytes, 3*p*c.bytes, p, p*(c.bytes+40), p, p*(3*c.bytes+40))
		default:
			interim := ""
			if l.part == 3 {
				interim = `,"interim_seq":2`
			}
			p := c.packets
			fmt.Fprintf(out, `{"ts":%.6f,%s,"duration":%.6f,"orig_bytes":%d,"resp_bytes":%d,"conn_state":"SF","history":"ShADadFf","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d%s}`+"\n",
				epoch+c.start, head, c.duration, p*c.bytes, 3*p*c.bytes, p, p*(c.bytes+40), p, p*(3*c.bytes+40), interim)
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return newest
}

// chaosConfig is the configuration that embedded and distributed runs share. With 10 M records a late watermark holds more
// suspects than the bound of suspect.max by default, and what is dropped would differ from run to run.
const chaosConfig = `
suspect: {max: 10000000}
lists: {block: [block.txt]}
score: {scorer: nemea}
report: {suspected: true}
prober: {mode: auto, contact: noc@example.net, allow: [127.20.2.0/24], per_client_hour: 100, per_network_hour: 100, per_second: 50, answer_timeout: 2s}
feed: {dir: feed, allow: [127.20.2.0/24], rewrite_every: 1s}
http: {listen: "127.0.0.1:0"}
api: {listen: ""}
`

// chaosDir makes a folder to run in.
func chaosDir(t *testing.T, dir, config string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "block.txt"), "198.51.100.77:8080 known for years\n")
	writeFile(t, filepath.Join(dir, "minecanary.yaml"), chaosConfig+config)
}

// seededVerdicts are what is known from the start.
func (w *world) seededVerdicts(t *testing.T) (out []minecanary.Verdict) {
	t.Helper()
	now := time.Now().Truncate(time.Second).UTC()
	for _, p := range w.pools {
		if w.seeded[p] {
			ap := netip.MustParseAddrPort(p)
			out = append(out, minecanary.Verdict{
				Endpoint: minecanary.NewEndpoint(ap.Addr(), ap.Port(), minecanary.TCP), Status: minecanary.Confirmed,
				Dialect: "stratum-v1", Coin: "bitcoin-family", Reason: "known from the start", At: now, Expires: now.Add(24 * time.Hour), FirstConfirmed: now,
			})
		}
	}
	return out
}

// embedded is the undisturbed run of one process over one file.
func embedded(t *testing.T, w *world) (outcome, map[string]document) {
	t.Helper()
	dir := filepath.Join(w.dir, "embedded")
	chaosDir(t, dir, "input: {files: ["+w.log+"]}\n")
	state := filepath.Join(dir, "state", "suspects.state")
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		t.Fatal(err)
	}
	store := memory.New(memory.Config{Report: time.Hour, Inactive: 15 * time.Minute, File: state})
	for _, v := range w.seededVerdicts(t) {
		if err := store.PutVerdict(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := runServe(t, w.bin, dir)
	waitUntil(t, 5*time.Minute, func() string {
		if got := p.metric("decided_timestamp_seconds"); got < float64(w.limit*chaosReport) {
			return fmt.Sprintf("decided up to %f of %d\n%s", got, w.limit*chaosReport, p.stderr)
		}
		if p.metric("probe_queue") != 0 {
			return "questions wait"
		}
		return ""
	})
	time.Sleep(2 * time.Second)
	p.stop(t)
	store = memory.New(memory.Config{Report: time.Hour, Inactive: 15 * time.Minute, File: state})
	if err := store.Peek(); err != nil {
		t.Fatal(err)
	}
	out := outcome{suspects: segments(t, store), feed: feedOf(t, dir)}
	hits := map[string]bool{}
	docs := map[string]document{}
	for _, line := range readLines(t, filepath.Join(dir, "hits.ndjson")) {
		w.collect(t, []byte(line), hits, docs)
	}
	out.hits = slices.Sorted(maps.Keys(hits))
	return out, docs
}

// collect notes a hit's document: its id, and for seeded pools what the report says.
func (w *world) collect(t *testing.T, line []byte, hits map[string]bool, docs map[string]document) {
	t.Helper()
	var d struct {
		Event struct {
			ID       string
			Sequence int
			Action   string
		}
		Source struct{ IP string }
		Server struct {
			IP   string
			Port int
		}
		Network struct{ Packets, Bytes uint64 }
		Canary  struct {
			Status string
			Scale  int `json:"event_scale"`
		} `json:"minecanary"`
	}
	if err := json.Unmarshal(line, &d); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	// The id stands for a window of a pair; the name is for people who read a difference.
	hits[fmt.Sprintf("%s %s>%s:%d", d.Event.ID, d.Source.IP, d.Server.IP, d.Server.Port)] = true
	if w.seeded[fmt.Sprintf("%s:%d", d.Server.IP, d.Server.Port)] {
		key := fmt.Sprintf("%s-%d-%s", d.Event.ID, d.Event.Sequence, d.Event.Action)
		doc := document{Status: d.Canary.Status}
		if d.Event.Sequence > 0 { // the first report tells what was there at that moment
			doc = document{d.Canary.Status, d.Canary.Scale, d.Network.Packets, d.Network.Bytes}
		}
		if old, ok := docs[key]; ok && old != doc {
			t.Errorf("report %s came as %+v and as %+v", key, old, doc)
		}
		docs[key] = doc
	}
}

// segments lists the state of a store.
func segments(t *testing.T, store enrich.Store) (out []string) {
	t.Helper()
	err := store.Each(t.Context(), nil, func(s *enrich.Suspect) bool {
		for _, seg := range s.Segments {
			out = append(out, fmt.Sprintf("%s %s w%d marked %t %s %+v", s.Client, s.Server, seg.Window, s.Marked, seg.UID, seg.Aggregate))
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// feedOf lists the entries of a published feed without the time of the proof.
func feedOf(t *testing.T, dir string) (out []string) {
	t.Helper()
	for _, line := range readLines(t, filepath.Join(dir, "feed", "pools.dat")) {
		if f := strings.Split(line, "\t"); !strings.HasPrefix(line, "#") {
			out = append(out, strings.Join(f[:4], " "))
		}
	}
	slices.Sort(out)
	return out
}

// process is a running serve.
type process struct {
	cmd    *exec.Cmd
	dir    string
	stderr *lockedBuffer
}

// lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 4<<20 {
		return len(p), nil
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func runServe(t *testing.T, bin, dir string) *process {
	t.Helper()
	p := &process{dir: dir, stderr: &lockedBuffer{}}
	p.cmd = exec.Command(bin, "serve", "-c", "minecanary.yaml")
	p.cmd.Dir = dir
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *process) metric(name string) float64 { return metric(p.stderr.String(), name) }

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err == nil || p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it ended by itself: %v\n%s", err, p.stderr)
	}
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("SIGTERM: %v\n%s", err, p.stderr)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("SIGTERM took %s", took)
	}
}

// waitUntil waits until nothing is wrong any more.
func waitUntil(t *testing.T, limit time.Duration, wrong func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		what := wrong()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %s", limit, what)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// deployment is a distributed run.
type deployment struct {
	w       *world
	dir     string
	kafka   kafka.Client
	redis   redis.ClientConfig
	elastic string // URL, "" for none
	made    int
	// elasticFor is the URL that the processes are given, if it is another one.
	elasticFor string
	dead       int // hits that Elasticsearch refused

	mu    sync.Mutex
	procs []*process
}

func (d *deployment) config() string {
	c := fmt.Sprintf("kafka: {brokers: [%s], topics: [zeek], enriched_topic: minecanary.enriched}\nhits: {file: \"\"}\n", strings.Join(d.kafka.Brokers, ", "))
	c += fmt.Sprintf("redis: {mode: %s, addresses: [%s], master: %q}\n", d.redis.Mode, strings.Join(d.redis.Addrs, ", "), d.redis.Master)
	if u := cmp.Or(d.elasticFor, d.elastic); u != "" {
		c += "elasticsearch: {urls: [\"" + u + "\"]}\n"
	}
	return c
}

// start starts one more process, in a folder of its own.
func (d *deployment) start(t *testing.T) *process {
	t.Helper()
	dir := filepath.Join(d.dir, strconv.Itoa(d.made))
	d.made++
	chaosDir(t, dir, d.config())
	p := runServe(t, d.w.bin, dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.procs = append(d.procs, p)
	return p
}

// restart starts a process again where it was.
func (d *deployment) restart(t *testing.T, i int) {
	t.Helper()
	p := runServe(t, d.w.bin, d.procs[i].dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.procs[i] = p
}

// setup makes the topics and what is known from the start.
func (d *deployment) setup(t *testing.T) {
	t.Helper()
	chaosDir(t, filepath.Join(d.dir, "setup"), d.config())
	what := []string{"kafka"}
	if d.elastic != "" {
		what = append(what, "elasticsearch")
	}
	for _, name := range what {
		for again := range 2 {
			cmd := exec.Command(d.w.bin, "setup", name, "-c", "minecanary.yaml")
			cmd.Dir = filepath.Join(d.dir, "setup")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("setup %s: %v\n%s", name, err, out)
			}
			if again == 1 && !strings.Contains(string(out), "nothing to change") {
				t.Errorf("setup %s for the second time says: %s", name, out)
			}
		}
	}
	_, err := kafka.EnsureTopics(t.Context(), d.kafka, []kafka.TopicSpec{{Name: "zeek", Partitions: chaosPartitions, Replication: -1}})
	if err != nil {
		t.Fatal(err)
	}
	store := d.store(t)
	for _, v := range d.w.seededVerdicts(t) {
		if err := store.PutVerdict(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// store opens the shared state.
func (d *deployment) store(t *testing.T) *redis.Store {
	t.Helper()
	d.redis.Timeout = 5 * time.Second
	client, err := redis.Connect(d.redis)
	if err != nil {
		t.Fatal(err)
	}
	s, err := redis.New(client, redis.Config{Report: time.Hour, Inactive: 15 * time.Minute, OnError: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// produce writes all records, each to a partition of chance, in the order of the file within each.
// They come over the given time.
func (d *deployment) produce(t *testing.T, over time.Duration) (done <-chan error) {
	t.Helper()
	out := make(chan error, 1)
	go func() { out <- d.write(t.Context(), over/time.Duration(chaosRecords)) }()
	return out
}

func (d *deployment) write(ctx context.Context, each time.Duration) error {
	f, err := os.Open(d.w.log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	p := kafka.NewProducer(kafka.ProducerConfig{Client: d.kafka})
	defer func() { _ = p.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	began, n := time.Now(), 0
	var batch []kafka.Message
	for {
		more := lines.Scan()
		if more {
			batch = append(batch, kafka.Message{Topic: "zeek", Value: bytes.Clone(lines.Bytes())})
		}
		if len(batch) == 1000 || !more {
			if err := p.Produce(ctx, batch); err != nil {
				return err
			}
			n += len(batch)
			batch = batch[:0]
			if ahead := time.Duration(n)*each - time.Since(began); ahead > 0 {
				time.Sleep(ahead)
			}
		}
		if !more {
			return lines.Err()
		}
	}
}

// finish waits until everything is decided, stops the processes, and compares.
func (d *deployment) finish(t *testing.T) {
	t.Helper()
	want := float64(d.w.limit * chaosReport)
	waitUntil(t, 5*time.Minute, func() string {
		for _, p := range d.procs {
			if got := p.metric("decided_timestamp_seconds"); got < want {
				return fmt.Sprintf("decided up to %f of %f\n%s", got, want, tail(p.stderr.String()))
			}
			if p.metric("probe_queue") != 0 {
				return "questions wait"
			}
		}
		return ""
	})
	time.Sleep(3 * time.Second)
	for _, p := range d.procs {
		if n := p.metric("suspects_dropped_total"); n > 0 {
			t.Errorf("%g suspects were dropped", n)
		}
		p.stop(t)
	}
	store := d.store(t)
	got := outcome{suspects: segments(t, store), feed: feedOf(t, d.procs[0].dir)}
	shards, _, err := store.Shards(t.Context(), []enrich.Progress{{Partition: "zeek/0"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, sh := range shards {
		if sh.Reopened || int64(sh.Decided) != d.w.limit {
			t.Errorf("shard %d: decided up to window %d of %d, reopened %t", sh.ID, sh.Decided, d.w.limit, sh.Reopened)
		}
	}
	positions, err := store.Positions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, p := range positions {
		total += p.Offset
	}
	hits, docs := map[string]bool{}, map[string]document{}
	sent := d.topic(t, "minecanary.hits")
	for _, m := range sent {
		d.w.collect(t, m, hits, docs)
	}
	got.hits = slices.Sorted(maps.Keys(hits))
	compare := func(what string, want, got []string) {
		t.Helper()
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-embedded +distributed):\n%s", what, head(diff))
		}
	}
	compare("suspects", d.w.calm.suspects, got.suspects)
	compare("hits", d.w.calm.hits, got.hits)
	compare("feed", d.w.calm.feed, got.feed)
	if diff := gocmp.Diff(d.w.docs, docs); diff != "" {
		t.Errorf("reports at pools known from the start (-embedded +distributed):\n%s", head(diff))
	}
	if d.elastic != "" {
		ids := d.indexed(t)
		for _, m := range d.topic(t, "minecanary.dead") {
			ids = append(ids, d.refused(t, m)...)
		}
		slices.Sort(ids)
		if diff := gocmp.Diff(d.w.calm.hits, slices.Compact(ids)); diff != "" {
			t.Errorf("hits in Elasticsearch (-embedded +distributed):\n%s", head(diff))
		}
	}
	t.Logf("%d offsets applied, %d segments, %d hits in %d messages, %d feed entries", total, len(got.suspects), len(got.hits), len(sent), len(got.feed))
}

// topic reads everything in a topic.
func (d *deployment) topic(t *testing.T, name string) (out [][]byte) {
	t.Helper()
	src := kafka.New(kafka.Config{Client: d.kafka, Topics: []string{name}, Group: "test-" + strconv.FormatInt(time.Now().UnixNano(), 36)})
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	atEnd := func() bool {
		parts := src.Partitions()
		for _, p := range parts {
			if !src.AtEnd(p) {
				return false
			}
		}
		return len(parts) > 0 && src.Ready()
	}
	deadline := time.Now().Add(time.Minute)
	for !atEnd() {
		if time.Now().After(deadline) {
			t.Fatalf("topic %s could not be read to its end", name)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		b, ack, err := src.Read(ctx)
		cancel()
		if err != nil {
			continue
		}
		out = append(out, messages(b)...)
		b.Release()
		if err := ack(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func messages(b consumer.Batch) (out [][]byte) {
	at := 0
	for _, m := range b.Messages {
		out = append(out, bytes.Clone(b.Data[at:m.End]))
		at = m.End
	}
	return out
}

// indexed gives the ids of all hits in the data stream; a document that is there twice fails the test.
func (d *deployment) indexed(t *testing.T) []string {
	t.Helper()
	ask(t, http.MethodPost, d.elastic+"/logs-minecanary.hit-default/_refresh", "", nil)
	seen, ids := map[string]bool{}, map[string]bool{}
	after := ""
	for {
		var page struct {
			Hits struct {
				Hits []struct {
					ID     string `json:"_id"`
					Source struct {
						Event          struct{ ID string }
						Source, Server struct {
							IP   string
							Port int
						}
					} `json:"_source"`
					Sort []any `json:"sort"`
				} `json:"hits"`
			} `json:"hits"`
		}
		body := `{"size":1000,"_source":["event.id","source","server"],"sort":[{"event.id":"asc"},{"event.sequence":"asc"},{"event.action":"asc"}]` + after + `}`
		ask(t, http.MethodPost, d.elastic+"/logs-minecanary.hit-default/_search", body, &page)
		if len(page.Hits.Hits) == 0 {
			return slices.Sorted(maps.Keys(ids))
		}
		for _, h := range page.Hits.Hits {
			if seen[h.ID] {
				t.Errorf("%s is there twice", h.ID)
			}
			seen[h.ID] = true
			ids[fmt.Sprintf("%s %s>%s:%d", h.Source.Event.ID, h.Source.Source.IP, h.Source.Server.IP, h.Source.Server.Port)] = true
			b, err := json.Marshal(h.Sort)
			if err != nil {
				t.Fatal(err)
			}
			after = `,"search_after":` + string(b)
		}
	}
}

func ask(t *testing.T, method, url, body string, answer any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %v\n%s", method, url, resp.Status, err, b)
	}
	if answer != nil {
		if err := json.Unmarshal(b, answer); err != nil {
			t.Fatal(err)
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-3000):] }

func head(s string) string {
	if len(s) > 6000 {
		return s[:6000] + "\n…"
	}
	return s
}

// TestChaos streams a day of records through Kafka, Redis and Elasticsearch, does the worst to all of them and to the
// processes, and wants what one undisturbed embedded run gives.
func TestChaos(t *testing.T) {
	w := makeWorld(t)
	t.Run("kill9", w.kill9)
	t.Run("failover", w.failover)
	t.Run("storm", w.storm)
}

// kill9 kills one of two processes with SIGKILL every few seconds.
func (w *world) kill9(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	d := &deployment{
		w: w, dir: t.TempDir(), kafka: kafka.Client{Brokers: stack.Kafka(t, 1).Addrs},
		redis:   redis.ClientConfig{Mode: redis.Single, Addrs: stack.Redis(t, stack.Single).Addrs},
		elastic: "http://" + stack.Elasticsearch(t).Addrs[0],
	}
	d.setup(t)
	d.start(t)
	d.start(t)
	done := d.produce(t, time.Duration(chaosKills)*2500*time.Millisecond)
	for k := range chaosKills {
		time.Sleep(time.Duration(1000+rng.IntN(3000)) * time.Millisecond)
		i := rng.IntN(2)
		d.procs[i].kill(t)
		d.restart(t, i)
		t.Logf("kill %d of process %d", k+1, i)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	d.finish(t)
}

// refused gives the hit of a dead letter of Elasticsearch.
func (d *deployment) refused(t *testing.T, letter []byte) []string {
	t.Helper()
	var l struct{ Index, Reason, Error, Sample string }
	if err := json.Unmarshal(letter, &l); err != nil {
		t.Fatalf("%v: %s", err, letter)
	}
	if l.Reason != "elasticsearch_refused" || !strings.Contains(l.Error, "document_parsing_exception") {
		t.Errorf("dead letter: %s", letter)
	}
	if l.Index != "logs-minecanary.hit-default" {
		return nil
	}
	hits := map[string]bool{}
	d.w.collect(t, []byte(l.Sample), hits, map[string]document{})
	d.dead += len(hits)
	return slices.Collect(maps.Keys(hits))
}

// watch looks at the partitions every half second until the test ends: the group's offset must not go back, and a
// partition that has more to give must not stand still for longer than 30 s while nothing is broken.
func (d *deployment) watch(t *testing.T, broken func() bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		type state struct {
			committed float64
			since     time.Time
		}
		seen := map[string]state{}
		longest := time.Duration(0)
		for ctx.Err() == nil {
			now := time.Now()
			for _, p := range d.running() {
				lag := p.partitions("kafka_lag")
				for name, committed := range p.partitions("kafka_committed_offset") {
					s, ok := seen[name]
					if ok && committed < s.committed {
						t.Errorf("the committed offset of %s went from %.0f back to %.0f", name, s.committed, committed)
					}
					if !ok || committed > s.committed || lag[name] == 0 || broken() {
						s.since = now
					}
					if s.committed = max(s.committed, committed); !ok {
						s.committed = committed
					}
					if stood := now.Sub(s.since); stood > 30*time.Second {
						t.Errorf("%s stands at %.0f for %s with a lag of %.0f\n%s", name, committed, stood, lag[name], tail(p.stderr.String()))
						s.since = now
					} else {
						longest = max(longest, stood)
					}
					seen[name] = s
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
		t.Logf("no partition stood still for longer than %s", longest.Round(100*time.Millisecond))
	})
	return func() { cancel(); wg.Wait() }
}

// partitions gives a metric by partition.
func (p *process) partitions(name string) map[string]float64 {
	out := map[string]float64{}
	for line := range strings.Lines(scrape(p.stderr.String())) {
		rest, ok := strings.CutPrefix(line, "minecanary_"+name+`{partition="`)
		if !ok {
			continue
		}
		partition, value, _ := strings.Cut(rest, `"} `)
		if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
			out[partition] = v
		}
	}
	return out
}

// running gives the processes of this moment.
func (d *deployment) running() []*process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.procs)
}

// failover kills brokers, the master of Redis with what its replica does not have yet, and Elasticsearch.
func (w *world) failover(t *testing.T) {
	const times = 5
	brokers, sentinels, es := stack.Kafka(t, 3), stack.Redis(t, stack.Sentinel), stack.Elasticsearch(t)
	faults := newFaultyElastic(t, "http://"+es.Addrs[0])
	d := &deployment{
		w: w, dir: t.TempDir(), kafka: kafka.Client{Brokers: brokers.Addrs},
		redis:   redis.ClientConfig{Mode: redis.Sentinel, Addrs: sentinels.Addrs, Master: "mymaster"},
		elastic: "http://" + es.Addrs[0],
	}
	d.setup(t)
	d.elasticFor = faults.url
	d.start(t)
	d.start(t)
	var down sync.Map // what is broken at the moment
	broken := func() (is bool) { down.Range(func(_, _ any) bool { is = true; return false }); return is }
	stop := d.watch(t, broken)
	done := d.produce(t, 110*time.Second)

	var wg sync.WaitGroup
	wg.Go(func() { // brokers, one after the other; among three each leads some partitions
		for k := range times {
			time.Sleep(6 * time.Second)
			id := strconv.Itoa(k%3 + 1)
			down.Store("broker", true)
			run(t, brokers, "kill-node", id)
			time.Sleep(8 * time.Second)
			run(t, brokers, "start-node", id)
			down.Delete("broker")
			t.Logf("broker %s was killed and came back", id)
		}
	})
	wg.Go(func() {
		for range times {
			time.Sleep(8 * time.Second)
			down.Store("redis", true)
			loseWrites(t, sentinels)
			down.Delete("redis")
		}
	})
	wg.Go(func() {
		time.Sleep(5 * time.Second)
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			down.Store("elasticsearch", true)
			faults.status.Store(int64(status))
			time.Sleep(5 * time.Second)
			faults.status.Store(0)
			down.Delete("elasticsearch")
			time.Sleep(5 * time.Second)
		}
		down.Store("elasticsearch", true)
		run(t, es, "stop")
		time.Sleep(60 * time.Second)
		run(t, es, "start")
		down.Delete("elasticsearch")
		t.Log("Elasticsearch was away for 60 s")
	})
	wg.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	stop()
	// A producer whose broker dies may write twice what it was not told of. What counts is what is in the topic.
	again := *w
	again.log = filepath.Join(d.dir, "topic.json")
	if n := d.dump(t, again.log); n < chaosRecords {
		t.Fatalf("%d records in the topic", n)
	}
	again.dir = d.dir
	again.calm, again.docs = embedded(t, &again)
	d.w = &again
	d.finish(t)
	t.Logf("%d hits refused by Elasticsearch", d.dead)
	if d.dead == 0 {
		t.Error("Elasticsearch refused nothing")
	}
}

// dump writes the records of the topic to a file, in the order of their ends, and tells how many there are.
func (d *deployment) dump(t *testing.T, name string) int {
	t.Helper()
	type record struct {
		end  float64
		line []byte
	}
	var all []record
	for _, m := range d.topic(t, "zeek") {
		var r struct {
			TS, Duration float64
			End          float64 `json:"slice_end"`
		}
		if err := json.Unmarshal(m, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, record{cmp.Or(r.End, r.TS+r.Duration), m})
	}
	slices.SortFunc(all, func(a, b record) int { return cmp.Compare(a.end, b.end) })
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	for _, r := range all {
		_, _ = out.Write(append(r.line, '\n'))
	}
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func run(t *testing.T, s *stack.Service, args ...string) {
	t.Helper()
	if err := s.Script(context.Background(), args...); err != nil {
		t.Error(err)
	}
}

// loseWrites cuts the replica off, lets a second of writes go to the master alone, and kills it. The replica becomes the
// master, and the old one comes back as its replica.
func loseWrites(t *testing.T, s *stack.Service) {
	t.Helper()
	names := map[string]string{strconv.Itoa(s.Port): "master", strconv.Itoa(s.Port + 1): "replica"}
	master := masterOf(t, s)
	replica := strconv.Itoa(s.Port)
	if master == replica {
		replica = strconv.Itoa(s.Port + 1)
	}
	waitUntil(t, 30*time.Second, func() string {
		if info := cli(t, replica, "info", "replication"); !strings.Contains(info, "master_link_status:up") {
			return "the replica does not follow:\n" + info
		}
		return ""
	})
	offset := func(port string) string {
		for line := range strings.Lines(cli(t, port, "info", "replication")) {
			if v, ok := strings.CutPrefix(line, "master_repl_offset:"); ok {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	cli(t, replica, "replicaof", "127.0.0.1", "1")
	time.Sleep(time.Second)
	has, had := offset(replica), offset(master)
	run(t, s, "kill-node", names[master])
	waitUntil(t, 30*time.Second, func() string {
		if masterOf(t, s) != replica {
			return "no failover"
		}
		return ""
	})
	run(t, s, "start-node", names[master])
	t.Logf("Redis failed over from %s to %s, from offset %s to %s", master, replica, had, has)
}

func masterOf(t *testing.T, s *stack.Service) string {
	t.Helper()
	_, port, _ := strings.Cut(s.Addrs[0], ":")
	fields := strings.Fields(cli(t, port, "sentinel", "get-master-addr-by-name", "mymaster"))
	if len(fields) != 2 {
		return ""
	}
	return fields[1]
}

func cli(t *testing.T, port string, args ...string) string {
	t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Logf("redis-cli -p %s %v: %v %s", port, args, err, out)
	}
	return string(out)
}

// faultyElastic stands before Elasticsearch: it answers with a status for a while, and spoils one hit in 300 so that
// Elasticsearch refuses it.
type faultyElastic struct {
	url    string
	status atomic.Int64
}

func newFaultyElastic(t *testing.T, target string) *faultyElastic {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyElastic{}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := f.status.Load(); s != 0 {
			w.WriteHeader(int(s))
			return
		}
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			if err := spoil(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

var eventID = regexp.MustCompile(`"id":"([0-9a-f]{32})"`)

// spoil breaks one hit in 300, always the same ones.
func spoil(r *http.Request) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return err
		}
		body = z
		r.Header.Del("Content-Encoding")
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for line := range bytes.Lines(b) {
		if m := eventID.FindSubmatch(line); m != nil && bytes.Contains(line, []byte(`"kind":"`)) {
			if n, err := strconv.ParseUint(string(m[1][:8]), 16, 64); err == nil && n%300 == 1 {
				line = bytes.Replace(line, []byte(`"event_scale":`), []byte(`"event_scale":"many","was":`), 1)
			}
		}
		out.Write(line)
	}
	r.Body, r.ContentLength = io.NopCloser(&out), int64(out.Len())
	return nil
}

// storm lets a process join or leave every two seconds.
func (w *world) storm(t *testing.T) {
	const times = 30
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	d := &deployment{
		w: w, dir: t.TempDir(), kafka: kafka.Client{Brokers: stack.Kafka(t, 1).Addrs},
		redis: redis.ClientConfig{Mode: redis.Cluster, Addrs: stack.Redis(t, stack.Cluster).Addrs},
	}
	d.setup(t)
	d.start(t)
	stop := d.watch(t, func() bool { return true }) // partitions may wait for the group all the time
	done := d.produce(t, 2*times*time.Second)
	for range times {
		time.Sleep(2 * time.Second)
		n := len(d.running())
		if n == 1 || n < 4 && rng.IntN(2) == 0 {
			d.start(t)
			continue
		}
		i := rng.IntN(n)
		p := d.leave(i)
		if rng.IntN(2) == 0 {
			p.kill(t)
		} else {
			p.stop(t)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	d.finish(t)
	stop()
}

// leave takes a process out of those that run.
func (d *deployment) leave(i int) *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.procs[i]
	d.procs = slices.Delete(slices.Clone(d.procs), i, i+1)
	return p
}
