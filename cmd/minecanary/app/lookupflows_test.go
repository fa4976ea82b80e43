package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/history"
)

// stretch is one of time in which a name had an address.
type stretch struct {
	name        string
	addr        string
	from, until time.Time
}

// pastOf writes a history in which names had addresses at times, observed every hour and at the end.
func pastOf(t *testing.T, all ...stretch) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "history.db")
	db, err := history.Open(file, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(tx *history.Tx) error {
		for _, h := range all {
			o := history.Observation{Name: h.name, Addrs: []netip.Addr{netip.MustParseAddr(h.addr)}}
			for o.At = h.from; o.At.Before(h.until); o.At = o.At.Add(time.Hour) {
				if err := tx.Resolved(o); err != nil {
					return err
				}
			}
			if err := tx.Resolved(history.Observation{Name: h.name, At: h.until, Code: history.NXDomain}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// poolsFile writes a catalogue in which names are servers with port 3333.
func poolsFile(t *testing.T, names ...string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("name: Alpha Pool\nservers:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  - {name: %s, endpoints: [{port: 3333, coin: XMR}]}\n", name)
	}
	file := filepath.Join(t.TempDir(), "alpha-pool.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// marksOf runs lookup --flows over files and gives the best mark of each client, server and port.
func marksOf(t *testing.T, pools, past string, files ...string) map[string]string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := append([]string{"lookup", "--flows", "--json", "--all", "--catalogue", pools, "--history", past}, files...)
	if code := Main(t.Context(), args, nil, &stdout, &stderr, func(string) string { return "" }); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	rank := map[string]int{"none": 0, "shared-address": 1, "pool-address": 2, "known-pool": 3}
	marks := map[string]string{}
	for line := range bytes.Lines(stdout.Bytes()) {
		var f markedFlow
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatal(err)
		}
		pair := fmt.Sprintf("%s %s", f.Client.Addr(), f.Server)
		if old, ok := marks[pair]; !ok || rank[f.Mark] > rank[old] {
			marks[pair] = f.Mark
		}
	}
	if len(marks) == 0 {
		t.Fatalf("%v: no flow: %s", files, stderr.String())
	}
	return marks
}

// captured gives files with what Zeek, nfdump and goflow2 made of one capture: Zeek the record of the whole connection,
// alone and with those of its parts. The server's documentation address, which could be no pool's, is replaced.
func captured(t *testing.T) []string {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	whole := read("demo/conn.log")
	logs := map[string][]byte{"conn.log": whole, "both.log": slices.Concat(read("demo/conn_interim.log"), whole)}
	for name, log := range logs {
		logs[name] = nil
		for line := range bytes.Lines(log) {
			if bytes.Contains(line, []byte(`"203.0.113.15"`)) {
				logs[name] = append(logs[name], line...)
			}
		}
	}
	for _, name := range []string{"goflow2-2.2.6.json", "nfdump-1.7.8-fast.csv", "nfdump-1.7.8-chosen.csv", "nfdump-1.7.8.csv", "nfdump-1.7.1.csv"} {
		logs[name] = read(filepath.Join(flowsData, name))
	}
	dir := t.TempDir()
	var files []string
	for _, name := range []string{
		"conn.log", "goflow2-2.2.6.json", "nfdump-1.7.8-fast.csv", "both.log", "nfdump-1.7.8-chosen.csv", "nfdump-1.7.8.csv", "nfdump-1.7.1.csv",
	} {
		log := bytes.ReplaceAll(logs[name], []byte("203.0.113.15"), []byte("9.9.9.15"))
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[len(files)-1], log, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestFlowMarksOfTheCapture: what nfdump, goflow2 and Zeek made of one capture gets the same marks, whenever in its two
// hours the server was a pool's.
func TestFlowMarksOfTheCapture(t *testing.T) {
	files := captured(t)
	begin := time.Date(2025, 7, 2, 8, 53, 56, 0, time.UTC)
	end := begin.Add(2 * time.Hour)
	pool := func(from, until time.Time) []stretch {
		return []stretch{{"eu.alpha-pool.net", "9.9.9.15", from, until}}
	}
	for _, c := range []struct {
		name string
		past []stretch
		want string
	}{
		{"all the time", pool(begin.Add(-time.Hour), end.Add(time.Hour)), "known-pool"},
		{"it had ended", pool(begin.Add(-3*time.Hour), begin.Add(-time.Minute)), "none"},
		{"it began later", pool(end.Add(time.Minute), end.Add(time.Hour)), "none"},
		{"from the middle on", pool(begin.Add(time.Hour), end.Add(time.Hour)), "known-pool"},
		{"until the middle", pool(begin.Add(-time.Hour), begin.Add(time.Hour)), "known-pool"},
		{"for minutes", pool(begin.Add(71*time.Minute), begin.Add(84*time.Minute)), "known-pool"},
		{"another address", []stretch{{"eu.alpha-pool.net", "9.9.9.16", begin, end}}, "none"},
		{"a name without ports", []stretch{{"www.alpha-pool.net", "9.9.9.15", begin, end}}, "pool-address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pools := poolsFile(t, "eu.alpha-pool.net", "www.alpha-pool.net")
			if c.want == "pool-address" {
				data, err := os.ReadFile(pools)
				if err == nil {
					err = os.WriteFile(pools, bytes.ReplaceAll(data, []byte("3333"), []byte("4444")), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			past := pastOf(t, c.past...)
			want := map[string]string{"10.20.1.15 9.9.9.15:3333": c.want}
			for i, file := range files {
				if i >= 3 && c.name != "for minutes" {
					continue // the other spellings of nfdump differ in nothing that a mark is made of
				}
				if diff := cmp.Diff(want, marksOf(t, pools, past, file)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", filepath.Base(file), diff)
				}
			}
		})
	}
}

// TestFlowMarks: traffic of a network, UDP and ICMP among it, as conn.log and as rows of both directions in any order, gets
// the same marks for each client and server, with a history in which servers come and go.
func TestFlowMarks(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	begin := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	var names []string
	var past []stretch
	for i := range 20 {
		name := fmt.Sprintf("n%d.alpha-pool.net", i)
		from := begin.Add(time.Duration(rng.IntN(16*60)) * time.Minute)
		names = append(names, name)
		past = append(past, stretch{name, fmt.Sprintf("9.9.9.%d", 20+i), from, from.Add(time.Duration(60+rng.IntN(12*60)) * time.Minute)})
	}
	var list []minecanary.Record
	var conn strings.Builder
	for i := range 400 {
		r := minecanary.Record{
			Orig: netip.MustParseAddr(fmt.Sprintf("10.1.%d.%d", rng.IntN(4), 1+rng.IntN(20))), OrigPort: uint16(50000 + i),
			Resp: netip.MustParseAddr(fmt.Sprintf("9.9.9.%d", 20+rng.IntN(25))), RespPort: []uint16{3333, 3333, 443, 45560}[rng.IntN(4)],
			Transport: []minecanary.Transport{minecanary.TCP, minecanary.TCP, minecanary.TCP, minecanary.UDP, minecanary.ICMP}[rng.IntN(5)],
		}
		minutes := 1 + rng.IntN(90)
		start := begin.Add(time.Duration(rng.IntN(24*3600)) * time.Second)
		fmt.Fprintf(&conn, `{"ts":%.6f,"uid":"C%017d","id.orig_h":%q,"id.orig_p":%d,"id.resp_h":%q,"id.resp_p":%d,"proto":%q,"duration":%d.0,"orig_bytes":100,"resp_bytes":100,"conn_state":"SF","history":"ShADadFf","orig_pkts":%d,"orig_ip_bytes":%d,"resp_pkts":%d,"resp_ip_bytes":%d}`+"\n",
			float64(start.UnixMicro())/1e6, i, r.Orig, r.OrigPort, r.Resp, r.RespPort, r.Transport, minutes*60, minutes, minutes*60, minutes, minutes*60)
		for m := range minutes {
			r.Start = start.Add(time.Duration(m) * time.Minute).UnixMicro()
			r.End = start.Add(time.Duration(m+1) * time.Minute).UnixMicro()
			r.OrigPackets, r.RespPackets, r.OrigBytes, r.RespBytes = 1, 1, 60, 60
			r.OrigFlags, r.RespFlags = minecanary.ACK, minecanary.ACK
			list = append(list, r)
		}
	}
	nfdump, goflow2 := asFlows(t, list)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	pools, history := poolsFile(t, names...), pastOf(t, past...)
	want := marksOf(t, pools, history, write("conn.log", conn.String()))
	counts := map[string]int{}
	for _, mark := range want {
		counts[mark]++
	}
	if counts["none"] < 20 || counts["known-pool"] < 20 || counts["pool-address"] < 20 {
		t.Errorf("too few of a mark: %v", counts)
	}
	for _, file := range []string{write("flows.csv", nfdump), write("flows.json", goflow2)} {
		if diff := cmp.Diff(want, marksOf(t, pools, history, file)); diff != "" {
			t.Errorf("%s (-conn.log +flows):\n%s", filepath.Base(file), diff)
		}
	}
}
