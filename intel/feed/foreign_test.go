package feed_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

// tool finds a program that is not ours. test/feed-readers.sh installs them all and sets FEED_READERS; without that a test
// is skipped where its program is missing.
func tool(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("foreign readers take their time")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		absent(t, name)
	}
	return path
}

// python gives the interpreter that has stix2 and pymisp.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("FEED_PYTHON")
	if path == "" {
		absent(t, "FEED_PYTHON, a Python with stix2 and pymisp,")
	}
	return path
}

func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("FEED_READERS") != "" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing; make test-feed gets it", what)
}

// run runs a program in a folder and gives what it printed.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// render puts a form's files into a folder.
func render(t *testing.T, dir string, format feed.Format, entries []feed.Entry) {
	t.Helper()
	files, err := feed.Render(format, entries, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// crowd is what is published in these tests: the friendly entries, one that talks first, and others that carry every
// hostile text in every field and every name there is.
func crowd(t *testing.T) []feed.Entry {
	t.Helper()
	entries := append(friendly(t), feed.Entry{Endpoint: endpoint(t, "198.51.100.11:5555"), Coin: "monero", Verified: verified})
	for i, s := range hostile {
		ep := minecanary.NewEndpoint(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1, minecanary.TCP)
		entries = append(entries, feed.Entry{Endpoint: ep, Coin: s, Dialect: s, Reason: s, URL: s, Verified: verified, Confidence: i},
			feed.Entry{Endpoint: ep, Name: s, Coin: s, Dialect: s, Reason: s, Verified: verified},
			feed.Entry{Endpoint: ep, Name: "h" + strconv.Itoa(i) + ".example", Coin: s, Dialect: s, Reason: s, URL: "https://x.example/" + s, Verified: verified})
	}
	for name := range someNames {
		entries = append(entries, feed.Entry{Endpoint: endpoint(t, "192.0.2.200:443"), Name: name, Verified: verified})
	}
	return entries
}

const suricataConfig = `%YAML 1.1
---
vars:
  address-groups:
    HOME_NET: "[10.0.0.0/8,fd00::/8]"
    EXTERNAL_NET: "any"
default-log-dir: .
classification-file: classification.config
reference-config-file: reference.config
threshold-file: threshold.config
stats:
  enabled: no
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - alert
app-layer:
  protocols:
    tls:
      enabled: yes
      detection-ports:
        dp: 443
    dns:
      udp:
        enabled: yes
        detection-ports:
          dp: 53
stream:
  midstream: true
  checksum-validation: no
reputation-categories-file: iprep-categories.txt
default-reputation-path: .
reputation-files:
  - iprep.list
`

var loaded = regexp.MustCompile(`(\d+) rules successfully loaded, (\d+) rules failed`)

// alerts runs Suricata with a form over a capture and gives what fired: "10.1.0.5 198.51.100.10:3333", and how many rules
// were loaded. The form has to pass -T with every warning an error.
func alerts(t *testing.T, format feed.Format, entries []feed.Entry, capture []byte) (fired []string, rules int) {
	t.Helper()
	program := tool(t, "suricata")
	dir := t.TempDir()
	if m := regexp.MustCompile(`version (\d+)\.`).FindStringSubmatch(run(t, dir, program, "-V")); m == nil || m[1] < "7" && len(m[1]) == 1 {
		absent(t, "Suricata 7 or later")
	}
	render(t, dir, feed.SuricataIPRep, nil) // the configuration names the files
	render(t, dir, format, entries)
	for name, text := range map[string]string{
		"suricata.yaml":         suricataConfig,
		"classification.config": "config classification: coin-mining,Crypto Currency Mining Activity Detected,2\n",
		"reference.config":      "", "threshold.config": "", "in.pcap": string(capture),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-c", "suricata.yaml", "-S", format.FileName(), "-l", ".", "-k", "none", "-v", "--init-errors-fatal"}
	out := run(t, dir, program, append(args, "-T", "--strict-rule-keywords=all")...)
	if strings.Contains(out, "Error") || strings.Contains(out, "Warning") {
		t.Errorf("%s -T says:\n%s", format, out)
	}
	m := loaded.FindStringSubmatch(out)
	if m == nil || m[2] != "0" {
		t.Fatalf("%s: rules failed:\n%s", format, out)
	}
	rules, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, program, append(args, "-r", "in.pcap", "--runmode", "single")...)
	f, err := os.Open(filepath.Join(dir, "eve.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e struct {
			Src     string `json:"src_ip"`
			SrcPort int    `json:"src_port"`
			Dst     string `json:"dest_ip"`
			DstPort int    `json:"dest_port"`
			Alert   struct {
				Signature, Category string
				Metadata            map[string][]string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Alert.Category != "Crypto Currency Mining Activity Detected" || !slices.Equal(e.Alert.Metadata["mitre_technique_id"], []string{"T1496"}) {
			t.Errorf("alert %+v", e)
		}
		// Both addresses in an order of their own: who is the source depends on who spoke first.
		src, dst := fmt.Sprintf("%s:%d", e.Src, e.SrcPort), fmt.Sprintf("%s:%d", e.Dst, e.DstPort)
		if !strings.HasPrefix(src, "10.") && !strings.HasPrefix(src, "fd00:") {
			src, dst = dst, src
		}
		fired = append(fired, src+" "+dst)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(fired)
	return slices.Compact(fired), rules
}

// traffic is a capture of who talks to what is published, and to what looks like it.
func traffic(t *testing.T) []byte {
	t.Helper()
	var p capture
	p.connect("10.1.0.5:1001", "198.51.100.10:3333", []byte("{\"id\":1,\"method\":\"login\"}\n")) // listed
	p.connect("10.1.0.7:1002", "198.51.100.10:8080", []byte("GET / HTTP/1.1\r\n\r\n"))            // listed address, other port
	p.connect("10.1.0.5:1003", "203.0.113.9:3333", []byte("{\"id\":1}\n"))                        // other host
	p.connect("[fd00::5]:1004", "[2001:db8::5]:443", hello(t, "other.example"))                   // listed
	p.connect("10.1.0.5:1005", "203.0.113.7:443", hello(t, "other.example"))                      // shared address, other name
	p.connect("10.1.0.5:1006", "203.0.113.20:443", hello(t, "POOL.example"))                      // listed name
	p.connect("10.1.0.8:1007", "203.0.113.20:443", hello(t, "www.pool.example"))                  // below it
	p.connect("10.1.0.5:1008", "203.0.113.20:443", hello(t, "notpool.example"))                   // ends like it
	p.connect("198.51.100.10:3333", "203.0.113.1:1009", []byte("x"))                              // not ours
	p.ask("10.1.0.5:1010", "10.0.0.53:53", "pool.EXAMPLE")                                        // listed name
	p.ask("10.1.0.8:1011", "10.0.0.53:53", "www.pool.example")
	p.ask("10.1.0.5:1012", "10.0.0.53:53", "pool.example.com")
	// A connection that runs already: the pool is the first to be heard.
	p.tcp("198.51.100.11:5555", "10.1.0.6:1013", flagACK|flagPSH, 5000, 9000, []byte("{\"method\":\"job\"}\n"))
	p.tcp("10.1.0.6:1013", "198.51.100.11:5555", flagACK|flagPSH, 9000, 5017, []byte("{\"method\":\"submit\"}\n"))
	p.tcp("198.51.100.11:5555", "10.1.0.6:1013", flagACK, 5017, 9020, nil)
	p.tcp("198.51.100.12:5555", "10.1.0.6:1014", flagACK|flagPSH, 5000, 9000, []byte("{\"method\":\"job\"}\n"))
	p.tcp("10.1.0.6:1014", "198.51.100.12:5555", flagACK|flagPSH, 9000, 5017, []byte("{\"method\":\"submit\"}\n"))
	return p.Bytes()
}

func TestForeignSuricata(t *testing.T) {
	packets := traffic(t)
	exact := []string{"10.1.0.5:1001 198.51.100.10:3333", "10.1.0.6:1013 198.51.100.11:5555", "fd00:0000:0000:0000:0000:0000:0000:0005:1004 2001:0db8:0000:0000:0000:0000:0000:0005:443"}
	named := []string{"10.1.0.5:1006 203.0.113.20:443", "10.1.0.5:1010 10.0.0.53:53"}
	whole := []string{"10.1.0.7:1002 198.51.100.10:8080"}
	entries := crowd(t)
	published := expected(feed.SuricataRules, entries, namesOf(entries))
	tests := []struct {
		format feed.Format
		want   []string
		rules  int
	}{
		{feed.SuricataRules, slices.Concat(exact, named), len(published)},
		{feed.SuricataDataset, slices.Concat(exact, named, whole), 3},
		{feed.SuricataIPRep, slices.Concat(exact, whole), 1},
	}
	for _, tt := range tests {
		t.Run(string(tt.format), func(t *testing.T) {
			slices.Sort(tt.want)
			fired, rules := alerts(t, tt.format, entries, packets)
			if diff := cmp.Diff(tt.want, fired); diff != "" {
				t.Error(diff)
			}
			if rules != tt.rules {
				t.Errorf("%d rules were loaded, want %d", rules, tt.rules)
			}
		})
	}
	// Of a file without a rule Suricata warns, so the rules of endpoints are not among these.
	for _, format := range []feed.Format{feed.SuricataDataset, feed.SuricataIPRep} {
		t.Run(string(format)+" empty", func(t *testing.T) {
			if fired, _ := alerts(t, format, nil, packets); len(fired) > 0 {
				t.Errorf("fired: %q", fired)
			}
		})
	}
}

// namesOf says what is published of each name.
func namesOf(entries []feed.Entry) map[string]string {
	names := map[string]string{}
	for _, e := range entries {
		if n, ok := feed.HostName(e.Name); ok {
			names[e.Name] = n
		}
	}
	return names
}

func TestForeignCheckzone(t *testing.T) {
	program := tool(t, "named-checkzone")
	dir := t.TempDir()
	entries := crowd(t)
	render(t, dir, feed.RPZ, entries)
	out := run(t, dir, program, "-D", "-k", "fail", "-n", "fail", "minecanary.rpz", "rpz.zone")
	records := 0
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 5 && f[3] == "CNAME" && f[4] == "." {
			records++
		}
	}
	if want := len(expected(feed.RPZ, entries, namesOf(entries))); records != want {
		t.Errorf("the zone has %d triggers, want %d:\n%s", records, want, out)
	}
	if !strings.Contains(out, "loaded serial 1795237506") {
		t.Errorf("no serial in %s", out)
	}
}

func TestForeignSTIX(t *testing.T) {
	interpreter := python(t)
	dir := t.TempDir()
	entries := crowd(t)
	render(t, dir, feed.STIX, entries)
	out := run(t, dir, interpreter, "-c", `
import stix2
bundle = stix2.parse(open("stix.json").read(), allow_custom=False)
assert bundle.type == "bundle", bundle.type
indicators = [o for o in bundle.objects if o.type == "indicator"]
for o in indicators:
    assert o.spec_version == "2.1" and o.valid_from >= o.created and o.object_marking_refs == [stix2.TLP_AMBER.id], o
    assert not o.get("valid_until") or o.valid_until > o.valid_from, o
print(len(indicators), len({o.id for o in indicators}), len({o.pattern for o in indicators}))
`)
	n := len(expected(feed.STIX, entries, namesOf(entries)))
	if want := fmt.Sprintf("%d %d %d\n", n, n, n); out != want {
		t.Errorf("stix2 counts %q, want %q", out, want)
	}
}

func TestForeignMISP(t *testing.T) {
	interpreter := python(t)
	dir := t.TempDir()
	entries := crowd(t)
	render(t, dir, feed.MISP, entries)
	out := run(t, dir, interpreter, "-c", `
import hashlib, json
from pymisp import MISPEvent
manifest = json.load(open("manifest.json"))
(uuid, head), = manifest.items()
event = MISPEvent(strict_validation=False)
event.load_file(uuid + ".json")
assert event.uuid == uuid and event.info == head["info"] and event.Orgc.name == "Minecanary", event
ours = event.manifest
assert ours[uuid]["info"] == head["info"] and ours[uuid]["timestamp"] == int(head["timestamp"]) and ours[uuid]["date"] == head["date"], (ours, head)
assert set(head) == set(ours[uuid]) and uuid in event.to_feed(with_meta=True)["Event"]["uuid"]
# pymisp hashes the ports too.
ports = {hashlib.md5(a.value.split("|")[1].encode()).hexdigest() for a in event.attributes if "|" in a.value}
digests = {line.strip().split(",")[0] for line in open("hashes.csv")}
assert digests == set(event.attributes_hashes("md5")) - ports
for a in event.attributes:
    assert a.to_ids and a.category == "Network activity" and a.first_seen <= a.last_seen and a.comment, a
again = MISPEvent()
again.from_json(event.to_json())
print(len(event.attributes), len({a.uuid for a in event.attributes}), len({a.value for a in again.attributes}))
`)
	n := len(expected(feed.MISP, entries, namesOf(entries)))
	if want := fmt.Sprintf("%d %d %d\n", n, n, n); out != want {
		t.Errorf("pymisp counts %q, want %q", out, want)
	}
}

// zeekTold is a line of testdata/zeek/dump.zeek.
type zeekTold struct {
	What, Key string
	Source    string         // of an indicator
	Meta      map[string]any // of an indicator
	Pool      map[string]any // of an endpoint
	Name      map[string]any // of a name
	Seconds   float64
}

// sensor is a Zeek that has read the feed, and then a capture.
type sensor struct {
	dir        string
	has        []zeekTold // indicators, endpoints and names
	infos      []string
	complaints []string // warnings and errors, and what came on stderr
	took       time.Duration
}

// zeek runs Zeek in a folder with the scripts of load, dump.zeek and what script sets, over a capture. Without one it
// runs until dump.zeek ends it.
func zeek(t *testing.T, dir, load, script string, packets []byte) sensor {
	t.Helper()
	if testing.Short() {
		t.Skip("foreign readers take their time")
	}
	program, err := exec.LookPath("zeek")
	if err != nil {
		t.Skip("zeek is not in PATH, and make test-feed does not get it")
	}
	if m := regexp.MustCompile(`version (\d+)\.`).FindStringSubmatch(run(t, dir, program, "--version")); m == nil || len(m[1]) == 1 && m[1] < "8" {
		t.Skip("Zeek is older than 8")
	}
	args := []string{"-C", "LogAscii::use_json=T"}
	if packets == nil {
		args = append(args, "exit_only_after_terminate=T")
	} else {
		args = append(args, "-r", "in.pcap")
	}
	for _, name := range append(strings.Fields(load), "testdata/zeek/dump.zeek") {
		if strings.HasPrefix(name, "..") || strings.HasPrefix(name, "testdata") {
			if name, err = filepath.Abs(name); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, name)
	}
	for name, text := range map[string][]byte{"sensor.zeek": []byte(script), "in.pcap": packets} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), zeekPatience)
	defer cancel()
	c := exec.CommandContext(ctx, program, append(args, "./sensor.zeek")...)
	c.Dir = dir
	var out, complaints bytes.Buffer
	c.Stdout, c.Stderr = &out, &complaints
	if err := c.Run(); err != nil {
		t.Fatalf("zeek: %v\n%s%s", err, &out, &complaints)
	}
	s := sensor{dir: dir, took: -1}
	for line := range bytes.Lines(out.Bytes()) {
		var told zeekTold
		if err := json.Unmarshal(line, &told); err != nil {
			t.Fatalf("zeek says %q: %v", line, err)
		}
		switch told.What {
		case "took":
			s.took = time.Duration(told.Seconds * float64(time.Second))
		default:
			// Of some IPv6 addresses Zeek writes the end with dots.
			addr, port, _ := strings.Cut(told.Key, " ")
			if a, err := netip.ParseAddr(addr); err == nil {
				told.Key = strings.TrimSpace(a.String() + " " + port)
			}
			s.has = append(s.has, told)
		}
	}
	if s.took < 0 {
		t.Fatalf("Zeek did not read all files:\n%s%s", &out, &complaints)
	}
	for _, row := range s.log(t, "reporter.log") {
		switch message := fmt.Sprint(row["message"]); {
		case row["level"] != "Reporter::INFO":
			s.complaints = append(s.complaints, message)
		case !zeekHabits.MatchString(message):
			s.infos = append(s.infos, message)
		}
	}
	for line := range strings.Lines(complaints.String()) {
		line = strings.TrimSuffix(line, "\n")
		told := func(info string) bool { return strings.HasSuffix(line, ": "+info) }
		if !zeekHabits.MatchString(line) && !slices.ContainsFunc(s.infos, told) {
			s.complaints = append(s.complaints, line)
		}
	}
	return s
}

// zeekHabits are what Zeek says of every run of dump.zeek.
var zeekHabits = regexp.MustCompile(`(processing (suspended|continued)|received termination signal)$`)

// zeekPatience is how long a Zeek may take for a feed.
const zeekPatience = 2 * time.Minute

// words are those of expected, for a form.
func (s *sensor) words(format feed.Format) []string {
	var out []string
	for _, told := range s.has {
		switch {
		case told.What == "pool" && format == feed.ZeekPools:
			addr, port, _ := strings.Cut(told.Key, " ")
			port, transport, _ := strings.Cut(port, "/")
			word := "endpoint " + net.JoinHostPort(addr, port)
			if transport != "tcp" {
				word += "/" + transport
			}
			out = append(out, word)
		case told.What == "name" && format == feed.ZeekNames:
			out = append(out, "name "+told.Key)
		case told.What == "Intel::ADDR" && (format == feed.ZeekIntel || format == feed.ZeekIntelRemoval):
			out = append(out, "addr "+told.Key)
		case told.What == "Intel::DOMAIN" && (format == feed.ZeekIntel || format == feed.ZeekIntelRemoval):
			out = append(out, "name "+told.Key)
		}
	}
	slices.Sort(out)
	return out
}

// columns are the rows as the strict reader of ours finds them and as Zeek has them, by their keys, for a form and the columns that the
// sensor knows.
func (s *sensor) columns(t *testing.T, format feed.Format, known ...string) (ours, theirs map[string]map[string]any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, format.FileName()))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := zeekRead(string(data))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = map[string]map[string]any{}, map[string]map[string]any{}
	for _, row := range rows {
		what := map[string]any{}
		for _, column := range known {
			text, ok := row[column]
			if !ok {
				continue
			}
			switch column = strings.TrimPrefix(column, "meta."); column {
			case "do_notice":
				what[column] = text == "T"
				what["if_in"] = "Intel::IN_ANYWHERE" // what do_notice.zeek has where no column says where
			case "verified":
				if what[column], err = strconv.ParseFloat(text, 64); err != nil {
					t.Fatal(err)
				}
			default:
				what[column] = text
			}
		}
		switch format {
		case feed.ZeekPools:
			ours[row["host"]+" "+row["p"]] = what
		case feed.ZeekNames:
			ours[row["name"]] = what
		default:
			ours[row["indicator_type"]+" "+row["indicator"]] = what
		}
	}
	for _, told := range s.has {
		switch {
		case told.What == "pool" && format == feed.ZeekPools:
			theirs[told.Key] = told.Pool
		case told.What == "name" && format == feed.ZeekNames:
			theirs[told.Key] = told.Name
		case told.Meta != nil && format != feed.ZeekPools && format != feed.ZeekNames:
			if told.Source != feed.Source {
				t.Errorf("Zeek has %s of %q", told.Key, told.Source)
			}
			theirs[told.What+" "+told.Key] = told.Meta
		}
	}
	return ours, theirs
}

// log reads a log of JSON lines; one that is not there is empty.
func (s *sensor) log(t *testing.T, name string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var out []map[string]any
	for line := range bytes.Lines(data) {
		var row map[string]any
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		out = append(out, row)
	}
	return out
}

// The scripts that a sensor loads.
const (
	zeekBare    = "base/frameworks/intel"
	zeekSeen    = "policy/frameworks/intel/seen policy/frameworks/intel/do_notice policy/frameworks/intel/do_expire"
	zeekRemoval = "base/frameworks/intel policy/frameworks/intel/removal"
	zeekOurs    = "../../zeek-scripts/scripts ../../zeek-scripts/scripts/intel-pools.zeek" // the package as it is in this tree
)

// What the sensors read.
const (
	readIntelFile   = "redef Intel::read_files += { \"intel.dat\" };\nredef Intel::item_expiration = 10min;\n"
	readRemovalFile = "redef Intel::read_files += { \"intel-removal.dat\" };\nredef Feed::successors = { [\"intel-removal.dat\"] = \"next.dat\" };\n"
	readAll         = readIntelFile + "redef Mining::pools_file = \"pools.dat\";\nredef Mining::names_file = \"names.dat\";\nredef Feed::files = 3;\n"
)

var zeekColumns = map[feed.Format][]string{
	feed.ZeekPools: {"coin", "protocol", "verified", "url"},
	feed.ZeekNames: {"coin"},
}

// TestForeignZeek has Zeek read hostile entries, without our package and with it, and then a capture.
func TestForeignZeek(t *testing.T) {
	packets := traffic(t)
	entries := crowd(t)
	random := entryGen()
	for seed := range 500 {
		entries = append(entries, random.Example(seed))
	}
	// Whom the notices and intel.log name: of the four of a connection "10.1.0.5:1001 198.51.100.10:3333", as it began.
	addresses := []string{
		"10.1.0.5:1001 198.51.100.10:3333", "10.1.0.7:1002 198.51.100.10:8080", "[fd00::5]:1004 [2001:db8::5]:443",
		"198.51.100.10:3333 203.0.113.1:1009",
	}
	names := []string{"10.1.0.5:1006 203.0.113.20:443", "10.1.0.5:1010 10.0.0.53:53"}
	below := []string{"10.1.0.8:1007 203.0.113.20:443", "10.1.0.8:1011 10.0.0.53:53"}
	running := []string{"198.51.100.11:5555 10.1.0.6:1013"} // the pool spoke first
	endpoints := []string{"10.1.0.5:1001 198.51.100.10:3333", "198.51.100.10:3333 203.0.113.1:1009", "[fd00::5]:1004 [2001:db8::5]:443"}
	tests := []struct {
		name, load, script string
		forms              []feed.Format
		columns            []string // of intel.dat
		// What is in intel.log and raises notices: Intel::Notice, Mining::Pool_Connection and Mining::Pool_Name.
		intel, connections, names []string
		infos                     int
	}{
		{
			name: "bare", load: zeekBare, script: readIntelFile, forms: []feed.Format{feed.ZeekIntel},
			columns: []string{"meta.source", "meta.desc", "meta.url"},
		},
		{
			name: "stock", load: zeekSeen, script: readIntelFile, forms: []feed.Format{feed.ZeekIntel},
			columns: []string{"meta.source", "meta.desc", "meta.url", "meta.do_notice"},
			intel:   slices.Concat(addresses, names),
		},
		{
			name: "ours", load: zeekOurs, script: readAll, forms: []feed.Format{feed.ZeekIntel, feed.ZeekPools, feed.ZeekNames},
			columns:     []string{"meta.source", "meta.desc", "meta.url", "meta.do_notice", "meta.pool_ports", "meta.pool_coin"},
			intel:       slices.Concat(addresses, names, running),
			connections: slices.Concat(endpoints, running), names: slices.Concat(names, below), infos: 2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, format := range tt.forms {
				render(t, dir, format, entries)
			}
			s := zeek(t, dir, tt.load, tt.script, packets)
			s.quiet(t, tt.infos)
			for _, format := range tt.forms {
				if diff := cmp.Diff(expected(format, entries, namesOf(entries)), s.words(format)); diff != "" {
					t.Errorf("%s: %s", format, diff)
				}
				columns := zeekColumns[format]
				if columns == nil {
					columns = tt.columns
				}
				ours, theirs := s.columns(t, format, columns...)
				if diff := cmp.Diff(ours, theirs); diff != "" {
					t.Errorf("%s: %s", format, diff)
				}
				for key, row := range theirs {
					for column, value := range row {
						if text, ok := value.(string); ok && !printable.MatchString(text) {
							t.Errorf("%s: %s of %s is %q", format, column, key, text)
						}
					}
				}
				if format != feed.ZeekPools {
					continue
				}
				// What needs no cleaning arrives as it was.
				for i, text := range hostile {
					if !printable.MatchString(text) || strings.TrimSpace(text) != text || text == "-" || text == "(empty)" {
						continue
					}
					if row := theirs["192.0.2."+strconv.Itoa(i)+" 1/tcp"]; row["coin"] != text || row["protocol"] != text {
						t.Errorf("%q became %v", text, row)
					}
				}
			}
			for what, want := range map[string][]string{
				"intel.log": tt.intel, "Intel::Notice": tt.intel, "Mining::Pool_Connection": tt.connections, "Mining::Pool_Name": tt.names,
			} {
				slices.Sort(want)
				if diff := cmp.Diff(want, s.connections(t, what), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: %s", what, diff)
				}
			}
		})
	}
}

// TestForeignZeekComplains: what the tests take for silence is one.
func TestForeignZeekComplains(t *testing.T) {
	dir := t.TempDir()
	text := "#fields\tindicator\tindicator_type\tmeta.source\n192.0.2.1\tIntel::ADDR\tminecanary\n192.0.2.2\n"
	if err := os.WriteFile(filepath.Join(dir, feed.ZeekIntel.FileName()), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := zeek(t, dir, zeekBare, readIntelFile, nil)
	if len(s.complaints) == 0 {
		t.Error("Zeek does not complain of half a line")
	}
	if diff := cmp.Diff([]string{"addr 192.0.2.1"}, s.words(feed.ZeekIntel)); diff != "" {
		t.Error(diff)
	}
}

// TestForeignZeekRemoval: what left the feed leaves a sensor that buries.
func TestForeignZeekRemoval(t *testing.T) {
	dir := t.TempDir()
	entries := crowd(t)
	rest := entries[:len(entries)/2]
	files, err := feed.Render(feed.ZeekIntelRemoval, rest, feed.Options{Removed: entries[len(rest):]})
	if err != nil {
		t.Fatal(err)
	}
	render(t, dir, feed.ZeekIntelRemoval, entries)
	if err := os.WriteFile(filepath.Join(dir, "next.dat"), files[0].Data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := zeek(t, dir, zeekRemoval, readRemovalFile, nil)
	s.quiet(t, 0)
	want := expected(feed.ZeekIntelRemoval, rest, namesOf(entries))
	if diff := cmp.Diff(want, s.words(feed.ZeekIntelRemoval)); diff != "" {
		t.Error(diff)
	}
	if all := expected(feed.ZeekIntelRemoval, entries, namesOf(entries)); len(all) == len(want) {
		t.Errorf("nothing left: %d indicators before and after", len(all))
	}
}

// TestForeignZeekSizes: a large feed is read whole and without a word, and so is an empty one.
func TestForeignZeekSizes(t *testing.T) {
	for _, n := range []int{0, 20_000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			dir := t.TempDir()
			entries := many(n)
			forms := []feed.Format{feed.ZeekIntel, feed.ZeekPools, feed.ZeekNames}
			for _, format := range forms {
				render(t, dir, format, entries)
			}
			s := zeek(t, dir, zeekOurs, readAll, nil)
			s.quiet(t, 2)
			for _, format := range forms {
				if diff := cmp.Diff(expected(format, entries, namesOf(entries)), s.words(format)); diff != "" {
					t.Errorf("%s: %s", format, diff)
				}
			}
			t.Logf("Zeek has %d entries in three files %v after it began", n, s.took.Round(time.Millisecond))
		})
	}
}

var printable = regexp.MustCompile(`^[ -~]{1,256}$`)

// quiet wants no complaint, and so many messages that are none.
func (s *sensor) quiet(t *testing.T, infos int) {
	t.Helper()
	if len(s.complaints) > 0 {
		t.Errorf("Zeek complains: %q", s.complaints)
	}
	if len(s.infos) != infos {
		t.Errorf("Zeek says %q", s.infos)
	}
}

// connections are those that intel.log or a notice names, as they began.
func (s *sensor) connections(t *testing.T, what string) []string {
	t.Helper()
	log := "notice.log"
	if what == "intel.log" {
		log = what
	}
	var out []string
	for _, row := range s.log(t, log) {
		if log == what || row["note"] == what {
			out = append(out, fmt.Sprintf("%s %s", hostPort(row["id.orig_h"], row["id.orig_p"]), hostPort(row["id.resp_h"], row["id.resp_p"])))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func hostPort(addr, port any) string { return net.JoinHostPort(fmt.Sprint(addr), fmt.Sprint(port)) }

// hello gives a TLS ClientHello for a name.
func hello(t *testing.T, name string) []byte {
	t.Helper()
	here, there := net.Pipe()
	c := tls.Client(here, &tls.Config{ServerName: name})
	go func() { _ = c.Handshake() }() // fails when the pipe closes
	buf := make([]byte, 4096)
	if err := there.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for n < 5 || n < 5+int(binary.BigEndian.Uint16(buf[3:])) {
		m, err := there.Read(buf[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if err := here.Close(); err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

const (
	flagSYN = 2
	flagPSH = 8
	flagACK = 16
)

// capture writes a pcap file of raw IP packets, a millisecond between them.
type capture struct {
	buf     bytes.Buffer
	packets int
}

// Bytes gives the file.
func (c *capture) Bytes() []byte { return c.buf.Bytes() }

// connect writes a handshake, a payload and its acknowledgement.
func (c *capture) connect(from, to string, payload []byte) {
	c.tcp(from, to, flagSYN, 1000, 0, nil)
	c.tcp(to, from, flagSYN|flagACK, 2000, 1001, nil)
	c.tcp(from, to, flagACK, 1001, 2001, nil)
	c.tcp(from, to, flagACK|flagPSH, 1001, 2001, payload)
	c.tcp(to, from, flagACK, 2001, 1001+uint32(len(payload)), nil)
}

// ask writes a DNS query for the address of a name.
func (c *capture) ask(from, to, name string) {
	q := []byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, 1, 0, 1)
	src, dst := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(q)))
	c.packet(src.Addr(), dst.Addr(), minecanary.UDP, append(append(b, 0, 0), q...))
}

func (c *capture) tcp(from, to string, flags byte, seq, ack uint32, payload []byte) {
	src, dst := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	c.packet(src.Addr(), dst.Addr(), minecanary.TCP, append(b, payload...))
}

func (c *capture) packet(src, dst netip.Addr, proto minecanary.Transport, payload []byte) {
	const linkRaw = 101 // packets begin with their IP header
	if c.packets == 0 {
		for _, word := range []uint32{0xa1b2c3d4, 2<<16 | 4, 0, 0, 65535, linkRaw} {
			c.buf.Write(binary.BigEndian.AppendUint32(nil, word))
		}
	}
	var ip []byte
	if src.Is4() {
		ip = append(ip, 0x45, 0)
		ip = binary.BigEndian.AppendUint16(ip, uint16(20+len(payload)))
		ip = append(ip, 0, byte(c.packets), 0x40, 0, 64, byte(proto), 0, 0)
	} else {
		ip = append(ip, 0x60, 0, 0, 0)
		ip = binary.BigEndian.AppendUint16(ip, uint16(len(payload)))
		ip = append(ip, byte(proto), 64)
	}
	ip = append(append(append(ip, src.AsSlice()...), dst.AsSlice()...), payload...)
	c.packets++
	for _, word := range []int{int(verified.Unix()), c.packets * 1000, len(ip), len(ip)} {
		c.buf.Write(binary.BigEndian.AppendUint32(nil, uint32(word)))
	}
	c.buf.Write(ip)
}
