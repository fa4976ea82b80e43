package resolver

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBundledCoverage has an address of each owner whose front would make an indicator harmful.
func TestBundledCoverage(t *testing.T) {
	m, err := LoadMarks()
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]struct {
		kind  Kind
		owner string
	}{
		"104.16.1.1": {CDN, "Cloudflare"}, "2606:4700::6810:1": {CDN, "Cloudflare"},
		"23.32.1.1": {CDN, "Akamai"}, "104.64.1.1": {CDN, "Akamai"}, "2.16.1.1": {CDN, "Akamai"}, "2600:1406::1": {CDN, "Akamai"}, "2a02:26f0:1::1": {CDN, "Akamai"},
		"151.101.1.1": {CDN, "Fastly"}, "2a04:4e42::1": {CDN, "Fastly"},
		"13.32.1.1": {CDN, "Amazon CloudFront"}, "18.64.1.1": {CDN, "Amazon CloudFront"}, "2600:9000:2000::1": {CDN, "Amazon CloudFront"},
		"142.250.1.1": {CDN, "Google front ends"}, "216.58.200.1": {CDN, "Google front ends"}, "2a00:1450:4001::1": {CDN, "Google front ends"},
		"13.107.246.1": {CDN, "Azure Front Door"}, "2620:1ec:bdf::1": {CDN, "Azure Front Door"},
		"45.60.1.1": {CDN, "Imperva"},
		"8.8.4.4":   {DNS, "Google"}, "9.9.9.9": {DNS, "Quad9"}, "1.0.0.1": {DNS, "Cloudflare"}, "208.67.222.222": {DNS, "OpenDNS"},
		"2a02:6b8::feed:ff": {DNS, "Yandex DNS"}, "76.76.2.0": {DNS, "ControlD"}, "114.114.114.114": {DNS, "114DNS"},
		"119.29.29.29": {DNS, "DNSPod"}, "2610:a1:1018::1": {DNS, "Neustar Recursive DNS"}, "185.228.168.9": {DNS, "CleanBrowsing"},
		// Clouds where an address has one tenant: EC2, Compute Engine, Azure, Hetzner, Linode, OVH, DigitalOcean.
		"3.5.140.1": {}, "52.95.110.1": {}, "54.36.1.1": {}, "34.64.100.1": {}, "35.190.1.1": {}, "20.50.1.1": {}, "5.9.1.1": {}, "172.232.1.1": {}, "45.33.1.1": {},
		"165.227.1.1": {}, "2a01:4f8::1": {},
	} {
		got := m.Of(netip.MustParseAddr(addr), nil)
		if got.Kind != want.kind || got.Owner != want.owner {
			t.Errorf("%s is %q of %q, want %q of %q", addr, got.Kind, got.Owner, want.kind, want.owner)
		}
	}
}

func TestWarningList(t *testing.T) {
	load := func(text string) (*Marks, error) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "list.json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadMarks(name)
	}
	list := func(name, kind string, version any, entries ...string) string {
		b, err := json.Marshal(map[string]any{
			"name": name, "type": kind, "version": version, "description": "…", "matching_attributes": []string{"ip-dst"}, "list": entries,
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	m, err := load(list("List of known example ranges", "cidr", 20260811, "5.9.0.0/16", "5.10.1.2", "2a01:4f8::/32", "5.11.1.1/16", "104.16.0.0/13"))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]Kind{
		"5.9.1.1": Shared, "5.10.1.2": Shared, "5.10.1.3": Ordinary, "2a01:4f8::1": Shared, "5.11.200.1": Shared,
		"104.16.1.1": Shared, // the user's comes first
		"8.8.8.8":    DNS,
	} {
		got := m.Of(netip.MustParseAddr(addr), nil)
		if got.Kind != want {
			t.Errorf("%s: %+v", addr, got)
		}
		if addr == "5.9.1.1" && (got.Owner != "List of known example ranges" || got.Source != "MISP warning list, version 20260811" || !got.AsOf.Equal(time.Date(2026, 8, 11, 0, 0, 0, 0, time.UTC))) {
			t.Errorf("%+v", got)
		}
	}

	m, err = load("\ufeff \n" + list("List of known IPv4 public DNS resolvers", "cidr", 7, "5.9.0.1"))
	if got := m.Of(netip.MustParseAddr("5.9.0.1"), nil); err != nil || got.Kind != DNS || !got.AsOf.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	for kind, entries := range map[string][]string{"hostname": {"hosting.example.com", "5.9.0.1"}, "string": {".hosting.example.com", "5.9.0.1"}} {
		m, err = load(list("Hosting", kind, 1, entries...))
		if err != nil {
			t.Fatal(err)
		}
		for addr, chain := range map[string][]string{"5.1.1.1": {"a.hosting.example.com"}, "5.9.0.1": nil} {
			if got := m.Of(netip.MustParseAddr(addr), chain); got.Kind != Shared || got.Owner != "Hosting" {
				t.Errorf("%s: %s: %+v", kind, addr, got)
			}
		}
	}

	for text, reason := range map[string]string{
		"{":                                     "list.json: unexpected end",
		"{}":                                    `of type "" is of no use`,
		"{} {}":                                 "list.json: invalid character",
		`{"a":1`:                                "unexpected end",
		list("Hosting", "regex", 1, "."):        `of type "regex" is of no use`,
		list("Hosting", "substring", 1, "."):    `of type "substring" is of no use`,
		list("", "cidr", 1, "5.9.0.1"):          "the list's name",
		list("a\x1bb", "cidr", 1, "5.9.0.1"):    "the list's name",
		list("Hosting", "cidr", 1):              "an empty list",
		list("Hosting", "cidr", "x", "5.9.0.1"): "cannot unmarshal",
		list("Hosting", "cidr", 1, "0.0.0.0/0"): "entry 1: \"0.0.0.0/0\" is every address",
		list("Hosting", "cidr", 1, "a.example.com"):                        "entry 1: prefix",
		list("Hosting", "hostname", 1, "com"):                              "entry 1: name",
		list("Hosting", "string", 1, "a\nb"):                               "entry 1: name",
		list("Hosting", "cidr", 1, "5.9.0.1", "x"):                         "entry 2: prefix",
		list("Hosting", "cidr", 1, strings.Fields("a b c d e 5.9.0.1")...): "2 further bad entries",
	} {
		m, err := load(text)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%.120q: %v, want %q", text, err, reason)
		}
		if m == nil || m.Of(netip.MustParseAddr("104.16.1.1"), nil).Kind != CDN {
			t.Errorf("%.120q: the bundled rows are lost", text)
		} else if got := m.Of(netip.MustParseAddr("5.9.0.1"), nil); strings.HasSuffix(text, `"5.9.0.1"],"matching_attributes":["ip-dst"],"name":"Hosting","type":"cidr","version":1}`) && got.Kind != Shared {
			t.Errorf("%.120q: the good entry is lost", text)
		}
	}
}

// FuzzWarningList wants that no file makes reading it panic, that every row that is taken can be printed, and that none
// marks every address.
func FuzzWarningList(f *testing.F) {
	f.Add([]byte(`{"name":"List of known IPv4 public DNS resolvers","version":20240615,"type":"cidr","list":["1.0.0.1","5.9.0.0/16"]}`))
	f.Add([]byte(`{"name":"x","type":"hostname","list":[".a.example.com","::/0","xn--a.example.com"]}`))
	f.Add([]byte(`{"name":"x","type":"string","version":-1,"list":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		m := &Marks{names: map[string]int{}}
		err := errors.Join(m.addWarningList(b, "own")...)
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 && r != '\n' }) {
			t.Errorf("%q", err)
		}
		for _, row := range m.rows {
			if !isText(row.Owner) || !isText(row.Source) || row.Kind == Ordinary {
				t.Errorf("%+v", row)
			}
		}
		for p := range m.addrs.All() {
			if p.Bits() == 0 {
				t.Errorf("%s", p)
			}
		}
	})
}
