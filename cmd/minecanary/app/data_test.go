package app

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/consumer/files"
	"github.com/minecanary/minecanary/consumer/slicer"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/enrich/score"
)

// sharedData is a folder of captures of others and their logs, which are not part of the project.
const sharedData = "../../../../shared/data"

func needData(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(sharedData); err != nil {
		t.Skip("the labelled captures are not here: this test runs only where ../shared/data stands beside the checkout")
	}
}

// command runs a command line in this process.
func command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(stdin), &out, &errs, func(string) string { return "" })
	return code, out.String(), errs.String()
}

// suspect is what adds up for a pair over everything read.
type suspect struct {
	sum      minecanary.Aggregate
	segments []enrich.Segment
}

// suspects reads files through source, decoder, slicer and store, without expiry.
func suspects(t *testing.T, names ...string) (map[minecanary.Pair]suspect, decode.Counts) {
	t.Helper()
	src, err := files.New(files.Config{Paths: names, OnError: func(path string, err error) { t.Errorf("%s: %v", path, err) }})
	if err != nil {
		t.Fatal(err)
	}
	stage := decode.New(decode.Config{
		Marked: decode.DeferMarked, Slicer: slicer.New(slicer.Config{Virtual: time.Minute}),
		OnBad: func(b decode.Bad) error { t.Errorf("%s:%d: %s: %s", b.Name, b.Line, b.Reason, b.Data); return nil },
	})
	store := memory.New(memory.Config{Report: time.Hour, Inactive: 15 * time.Minute})
	s, err := score.New("nemea", 0)
	if err != nil {
		t.Fatal(err)
	}
	engine := enrich.New(enrich.Config{Report: time.Hour, Inactive: 15 * time.Minute, Active: time.Hour, Finite: true}, enrich.Deps{Store: store, Scorer: s})
	if err := pump(t.Context(), src, stage, engine, ours{}, nil); err != nil {
		t.Fatal(err)
	}
	out := map[minecanary.Pair]suspect{}
	err = store.Each(t.Context(), nil, func(v *enrich.Suspect) bool {
		var sum minecanary.Aggregate
		for i := range v.Segments {
			sum.Merge(&v.Segments[i].Aggregate)
		}
		out[v.Pair] = suspect{sum, slices.Clone(v.Segments)}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, stage.Counts()
}

func logsBelow(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".log") || strings.HasSuffix(path, ".json")) {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDetectReadsEveryLog(t *testing.T) {
	needData(t)
	logs := logsBelow(t, sharedData)
	if len(logs) < 130 {
		t.Fatalf("only %d logs", len(logs))
	}
	for _, name := range logs {
		if code, _, stderr := command(t, "", "detect", "--suspects", name); code != ExitOK {
			t.Errorf("%s: exit code %d\n%s", name, code, stderr)
		}
	}
	if code, _, stderr := command(t, "", append([]string{"detect", "--suspects"}, logs...)...); code != ExitOK {
		t.Errorf("all at once: exit code %d\n%s", code, stderr)
	}
}

// TestInterimAddsNothing: conn.log with conn_interim.log gives the totals of conn.log alone, in either order and
// through one stream.
func TestInterimAddsNothing(t *testing.T) {
	needData(t)
	interims, err := filepath.Glob(filepath.Join(sharedData, "*", "*", "conn_interim.log"))
	if err != nil || len(interims) < 15 {
		t.Fatalf("%d interim logs, %v", len(interims), err)
	}
	for _, interim := range interims {
		conn := filepath.Join(filepath.Dir(interim), "conn.log")
		alone, aloneCounts := suspects(t, conn)
		for _, order := range [][]string{{conn, interim}, {interim, conn}} {
			both, counts := suspects(t, order...)
			if counts.Packets != aloneCounts.Packets || counts.IPBytes != aloneCounts.IPBytes {
				t.Errorf("%v: %d packets, %d IP bytes; conn.log alone %d, %d", order, counts.Packets, counts.IPBytes, aloneCounts.Packets, aloneCounts.IPBytes)
			}
			if counts.Skipped["interim"] == 0 {
				t.Errorf("%v: no conn row was left out for its interim records", order)
			}
			for pair, want := range alone {
				got := both[pair]
				if got.sum.ClientPackets != want.sum.ClientPackets || got.sum.ServerPackets != want.sum.ServerPackets ||
					got.sum.ClientBytes != want.sum.ClientBytes || got.sum.ServerBytes != want.sum.ServerBytes ||
					got.sum.ClientPayload != want.sum.ClientPayload || got.sum.ServerPayload != want.sum.ServerPayload {
					t.Errorf("%s: %s -> %s\n alone %+v\n both  %+v", filepath.Dir(interim), pair.Client, pair.Server, want.sum, got.sum)
				}
			}
			if len(both) != len(alone) {
				t.Errorf("%s: %d pairs, alone %d", filepath.Dir(interim), len(both), len(alone))
			}
		}
		a, err := os.ReadFile(conn)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(interim)
		if err != nil {
			t.Fatal(err)
		}
		_, _, fromFiles := command(t, "", "detect", conn, interim)
		_, _, fromStream := command(t, string(a)+string(b), "detect", "-")
		if f, s := strings.Split(fromFiles, "\n")[0], strings.Split(fromStream, "\n")[0]; f != s {
			t.Errorf("%s: summary of the files and of one stream differ:\n%s\n%s", filepath.Dir(interim), f, s)
		}
	}
}

// TestEVEAgreesWithZeek holds Suricata's view of a capture against Zeek's: the same clients and endpoints, the same
// packets, and IP bytes but for the padding of short frames.
func TestEVEAgreesWithZeek(t *testing.T) {
	needData(t)
	type capture struct{ name, zeek, eve string }
	var captures []capture
	for _, pattern := range []struct{ eve, zeek string }{
		{"eve/*.json", "zeek/%s/conn.log"},
		{"ours/*/eve.json", "ours/%s/plain/conn.log"},
	} {
		found, err := filepath.Glob(filepath.Join(sharedData, pattern.eve))
		if err != nil {
			t.Fatal(err)
		}
		for _, eve := range found {
			name := strings.TrimSuffix(filepath.Base(eve), ".json")
			if name == "eve" {
				name = filepath.Base(filepath.Dir(eve))
			}
			captures = append(captures, capture{name, filepath.Join(sharedData, fmt.Sprintf(pattern.zeek, name)), eve})
		}
	}
	nemea, err := score.New("nemea", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range captures {
		t.Run(c.name, func(t *testing.T) {
			zeek, _ := suspects(t, c.zeek)
			eve, _ := suspects(t, c.eve)
			for pair := range zeek {
				if _, ok := eve[pair]; !ok {
					t.Errorf("only Zeek has %s -> %s: %+v", pair.Client, pair.Server, zeek[pair].sum)
				}
			}
			for pair, e := range eve {
				z, ok := zeek[pair]
				if !ok {
					t.Errorf("only Suricata has %s -> %s: %+v", pair.Client, pair.Server, e.sum)
					continue
				}
				if e.sum.ClientPackets != z.sum.ClientPackets || e.sum.ServerPackets != z.sum.ServerPackets {
					t.Errorf("%s -> %s: %d/%d packets, Zeek %d/%d", pair.Client, pair.Server,
						e.sum.ClientPackets, e.sum.ServerPackets, z.sum.ClientPackets, z.sum.ServerPackets)
				}
				// A frame of at least 60 bytes holds at most 6 bytes of padding behind 40 of headers.
				for _, side := range []struct {
					what          string
					e, z, packets uint64
				}{
					{"client", e.sum.ClientBytes, z.sum.ClientBytes, z.sum.ClientPackets},
					{"server", e.sum.ServerBytes, z.sum.ServerBytes, z.sum.ServerPackets},
				} {
					if side.e < side.z || side.e > side.z+6*side.packets {
						t.Errorf("%s -> %s: %d IP bytes of the %s, Zeek %d in %d packets", pair.Client, pair.Server, side.e, side.what, side.z, side.packets)
					}
				}
				if a, b := nemea.Points(pair.Server.Port, &z.sum), nemea.Points(pair.Server.Port, &e.sum); a != b {
					t.Logf("%s -> %s: score %g from Zeek, %g from Suricata: %s", pair.Client, pair.Server, a, b, difference(nemea, pair, z, e))
				}
			}
		})
	}
}

// difference says what makes two scores differ.
func difference(s score.Scorer, p minecanary.Pair, z, e suspect) string {
	var parts []string
	a, b := s.Explain(p.Server.Port, &z.sum), s.Explain(p.Server.Port, &e.sum)
	for i := range a.Criteria {
		if a.Criteria[i].Points != b.Criteria[i].Points {
			parts = append(parts, fmt.Sprintf("%s %g (%+g) against %g (%+g)", a.Criteria[i].Name, a.Criteria[i].Value, a.Criteria[i].Points, b.Criteria[i].Value, b.Criteria[i].Points))
		}
	}
	if z.sum.Other > e.sum.Other {
		parts = append(parts, "Suricata has no flags of a connection that it met without a handshake, so its FIN is not seen as one")
	}
	if len(z.segments) != len(e.segments) || z.sum.Records != e.sum.Records {
		parts = append(parts, fmt.Sprintf("Zeek wrote %d records, Suricata %d: they end a silent connection after different times", z.sum.Records, e.sum.Records))
	}
	return strings.Join(parts, "; ")
}

// label is a row of labels.csv.
type label struct {
	folder, name, client, server string
	port                         uint16
	mining                       bool
	longest                      float64
}

func labels(t *testing.T) []label {
	t.Helper()
	f, err := os.Open(filepath.Join(sharedData, "labels.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []label
	for _, r := range rows[1:] {
		port, err := strconv.ParseUint(r[4], 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		longest, err := strconv.ParseFloat(r[7], 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, label{r[0], r[1], r[2], r[3], uint16(port), r[5] == "mining", longest})
	}
	return out
}

// longEnough is the shortest session that a score is held to.
const longEnough = 290

// accused runs detect and gives the pairs it accuses, as "client server:port".
func accused(t *testing.T, scorer string, logs ...string) map[string]bool {
	t.Helper()
	code, stdout, stderr := command(t, "", append([]string{"detect", "--suspects", "--scorer", scorer}, logs...)...)
	if code != ExitOK {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	out := map[string]bool{}
	for line := range strings.Lines(stdout) {
		if f := strings.Fields(line); len(f) > 3 && f[0] == "SUSPECTED" {
			out[f[1]+" "+f[3]] = true
		}
	}
	return out
}

// TestScorersOnLabels prints what both scorers find on the labelled sessions, and holds canary to finding every miner of
// at least 290 s with fewer false suspects than nemea.
func TestScorersOnLabels(t *testing.T) {
	needData(t)
	all := labels(t)
	for _, input := range []struct {
		name string
		logs func(l label) []string
	}{
		{"whole connections", func(l label) []string {
			if l.folder == "ours" {
				return []string{filepath.Join(sharedData, l.folder, l.name, "plain", "conn.log")}
			}
			return []string{filepath.Join(sharedData, l.folder, l.name, "conn.log")}
		}},
		{"with interim records", func(l label) []string {
			logs := []string{filepath.Join(sharedData, l.folder, l.name, "conn.log")}
			if interim := filepath.Join(sharedData, l.folder, l.name, "conn_interim.log"); exists(interim) {
				logs = append(logs, interim)
			}
			return logs
		}},
		{"Suricata", func(l label) []string {
			if l.folder == "ours" {
				return []string{filepath.Join(sharedData, l.folder, l.name, "eve.json")}
			}
			return []string{filepath.Join(sharedData, "eve", l.name+".json")}
		}},
	} {
		t.Run(input.name, func(t *testing.T) {
			false2 := map[string]int{}
			for _, scorer := range []string{"nemea", "canary"} {
				found := map[string]map[string]bool{}
				var miners, caught, others, wrong, wrongShort int
				var missed, falsely []string
				for _, l := range all {
					key := l.folder + "/" + l.name
					if found[key] == nil {
						found[key] = accused(t, scorer, input.logs(l)...)
					}
					pair := fmt.Sprintf("%s %s:%d", l.client, l.server, l.port)
					hit := found[key][pair]
					switch {
					case l.mining && l.longest >= longEnough:
						miners++
						if hit {
							caught++
						} else {
							missed = append(missed, l.name+" "+pair)
						}
					case l.mining:
					case l.longest >= longEnough:
						others++
						if hit {
							wrong++
							falsely = append(falsely, l.name+" "+pair)
						}
					case hit:
						wrongShort++
					}
				}
				t.Logf("%-6s finds %d of %d miners, and suspects %d of %d others (and %d shorter than %d s)",
					scorer, caught, miners, wrong, others, wrongShort, longEnough)
				for _, m := range missed {
					t.Logf("       missed  %s", m)
				}
				for _, f := range falsely {
					t.Logf("       falsely %s", f)
				}
				false2[scorer] = wrong + wrongShort
				if scorer == "canary" && caught != miners {
					t.Errorf("canary misses %d of %d miners", miners-caught, miners)
				}
			}
			if false2["canary"] >= false2["nemea"] {
				t.Errorf("canary suspects %d others, nemea %d", false2["canary"], false2["nemea"])
			}
		})
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
