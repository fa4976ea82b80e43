//go:build services

// Package suricata_test runs a real Suricata with our rules and our part of its configuration over captures of our own
// making, and over captures of others where they are at hand. test/suricata.sh installs it.
package suricata_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	rulesDir  = "../../docker/suricata"
	tracesDir = "../../zeek-scripts/testing/Traces"
	// runTimeout bounds one run of Suricata.
	runTimeout = 2 * time.Minute
)

// Our sids.
const (
	sidMeter       = 9_000_001
	sidMeterTurned = 9_000_002
	sidPassive     = 9_000_010 // the first of the passive rules
	sidHTTP        = 9_000_024 // the first of those for HTTP
)

// part gives one of our parts of a configuration by its full path: Suricata looks for others beside its own.
func part(t *testing.T, name string) string {
	t.Helper()
	full, err := filepath.Abs(filepath.Join(rulesDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// rules gives a file with all our rules.
func rules(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(rulesDir, "*.rules"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of rules, %v", len(files), err)
	}
	var all []byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	name := filepath.Join(t.TempDir(), "all.rules")
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// suricata runs Suricata with its own configuration and our part of it, and gives what it prints. It fails on whatever
// Suricata warns of.
func suricata(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("suricata"); err != nil {
		t.Fatal("no suricata here: test/suricata.sh installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "suricata", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("suricata %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	for line := range strings.Lines(string(out)) {
		// E: and W: are how it marks them where the output is no terminal, Error: and Warning: while it starts.
		if strings.HasPrefix(line, "E") || strings.HasPrefix(line, "W") {
			t.Errorf("suricata %s: %s", strings.Join(args, " "), line)
		}
	}
	return string(out)
}

// read runs Suricata over a capture and gives the log that it writes.
func read(t *testing.T, pcap string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	suricata(t, append([]string{
		"--include", part(t, "minecanary.yaml"), "-S", rules(t), "-r", pcap, "-l", dir, "-k", "none", "--runmode", "single",
	}, args...)...)
	return filepath.Join(dir, "minecanary.json")
}

// event is what the tests look at of an event.
type event struct {
	Timestamp   string
	Type        string `json:"event_type"`
	ID          uint64 `json:"flow_id"`
	Proto       string
	CommunityID string `json:"community_id"`
	SrcIP       string `json:"src_ip"`
	SrcPort     uint16 `json:"src_port"`
	DestIP      string `json:"dest_ip"`
	DestPort    uint16 `json:"dest_port"`
	Direction   string
	Metadata    struct{ FlowBits []string }
	Alert       struct {
		SID      int `json:"signature_id"`
		Category string
		Metadata map[string][]string
	}
	Flow struct {
		ToServer uint64 `json:"pkts_toserver"`
		ToClient uint64 `json:"pkts_toclient"`
		SrcIP    string `json:"src_ip"`
		SrcPort  uint16 `json:"src_port"`
		DestIP   string `json:"dest_ip"`
		DestPort uint16 `json:"dest_port"`
		State    string
	}
	TCP struct {
		Flags string `json:"tcp_flags"`
	}
}

func (e *event) at(t *testing.T) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05.999999-0700", e.Timestamp)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// events reads a log. It knows nothing of the product's decoder.
func events(t *testing.T, name string) []event {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []event
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", sc.Bytes(), err)
		}
		out = append(out, e)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
