package feed_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
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

func TestForeignSuricata(t *testing.T) {
	var p capture
	p.connect("10.1.0.5:1001", "198.51.100.10:3333", []byte("{\"id\":1,\"method\":\"login\"}\n")) // listed
	p.connect("10.1.0.7:1002", "198.51.100.10:8080", []byte("GET / HTTP/1.1\r\n\r\n"))            // listed address, other port
	p.connect("10.1.0.5:1003", "203.0.113.9:3333", []byte("{\"id\":1}\n"))                        // other host
	p.connect("[fd00::5]:1004", "[2001:db8::5]:443", hello(t, "other.example"))                   // listed
	p.connect("10.1.0.5:1005", "203.0.113.7:443", hello(t, "other.example"))                      // shared address, other name
	p.connect("10.1.0.5:1006", "203.0.113.20:443", hello(t, "POOL.example"))                      // listed name
	p.connect("10.1.0.5:1007", "203.0.113.20:443", hello(t, "www.pool.example"))                  // below it
	p.connect("10.1.0.5:1008", "203.0.113.20:443", hello(t, "notpool.example"))                   // ends like it
	p.connect("198.51.100.10:3333", "203.0.113.1:1009", []byte("x"))                              // not ours
	p.ask("10.1.0.5:1010", "10.0.0.53:53", "pool.EXAMPLE")                                        // listed name
	p.ask("10.1.0.5:1011", "10.0.0.53:53", "www.pool.example")
	p.ask("10.1.0.5:1012", "10.0.0.53:53", "pool.example.com")
	// A connection that runs already: the pool is the first to be heard.
	p.tcp("198.51.100.11:5555", "10.1.0.6:1013", flagACK|flagPSH, 5000, 9000, []byte("{\"method\":\"job\"}\n"))
	p.tcp("10.1.0.6:1013", "198.51.100.11:5555", flagACK|flagPSH, 9000, 5017, []byte("{\"method\":\"submit\"}\n"))
	p.tcp("198.51.100.11:5555", "10.1.0.6:1013", flagACK, 5017, 9020, nil)
	p.tcp("198.51.100.12:5555", "10.1.0.6:1014", flagACK|flagPSH, 5000, 9000, []byte("{\"method\":\"job\"}\n"))
	p.tcp("10.1.0.6:1014", "198.51.100.12:5555", flagACK|flagPSH, 9000, 5017, []byte("{\"method\":\"submit\"}\n"))

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
			fired, rules := alerts(t, tt.format, entries, p.Bytes())
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
			if fired, _ := alerts(t, format, nil, p.Bytes()); len(fired) > 0 {
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
