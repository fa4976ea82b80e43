package asn

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// write makes a database of these records.
func write(tb testing.TB, version int, records map[string]mmdbtype.DataType) []byte {
	tb.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "Test-ASN", Description: map[string]string{"en": "test"}, IPVersion: version, RecordSize: 24,
		IncludeReservedNetworks: true, BuildEpoch: 1,
	})
	if err != nil {
		tb.Fatal(err)
	}
	// A network goes in before those inside of it.
	prefixes := slices.SortedFunc(maps.Keys(records), func(a, b string) int {
		return netip.MustParsePrefix(a).Bits() - netip.MustParsePrefix(b).Bits()
	})
	for _, prefix := range prefixes {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			tb.Fatal(err)
		}
		if err := tree.Insert(network, records[prefix]); err != nil {
			tb.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// geolite is a record as GeoLite2-ASN has it, ipinfo as IPinfo Lite.
func geolite(n uint32) mmdbtype.DataType {
	return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(n), "autonomous_system_organization": mmdbtype.String("Example")}
}

func ipinfo(text string) mmdbtype.DataType {
	return mmdbtype.Map{"asn": mmdbtype.String(text), "as_name": mmdbtype.String("Example"), "country": mmdbtype.String("X")}
}

// mixed holds every spelling.
func mixed(tb testing.TB) []byte {
	tb.Helper()
	return write(tb, 6, map[string]mmdbtype.DataType{
		"203.0.113.0/24":     geolite(64500),
		"203.0.113.128/25":   geolite(4294967295),
		"198.51.100.0/24":    ipinfo("AS64501"),
		"198.51.101.0/24":    ipinfo("as64502"),
		"198.51.102.0/24":    ipinfo("64503"),
		"198.51.103.0/24":    ipinfo("AS4294967296"),
		"198.51.104.0/24":    ipinfo("AS-1"),
		"198.51.105.0/24":    ipinfo(""),
		"198.51.106.0/24":    ipinfo("AS0"),
		"198.51.107.0/24":    mmdbtype.Map{"asn": mmdbtype.Uint16(64504)},
		"198.51.108.0/24":    mmdbtype.Map{"asn": mmdbtype.Uint64(64505)},
		"198.51.109.0/24":    mmdbtype.Map{"asn": mmdbtype.Int32(64506)},
		"198.51.110.0/24":    mmdbtype.Map{"asn": mmdbtype.Uint64(1 << 32)},
		"198.51.111.0/24":    mmdbtype.Map{"asn": mmdbtype.Int32(-1)},
		"198.51.112.0/24":    mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(0), "asn": mmdbtype.String("AS64507")},
		"198.51.113.0/24":    mmdbtype.Map{"asn": mmdbtype.Map{"asn": mmdbtype.Uint32(1)}},
		"198.51.114.0/24":    mmdbtype.Map{},
		"2001:db8::/32":      geolite(64510),
		"2001:db8:ffff::/48": ipinfo("AS64511"),
	})
}

// numbers are what mixed says.
var numbers = map[string]uint32{
	"203.0.113.1": 64500, "203.0.113.129": 4294967295, "::ffff:203.0.113.1": 64500, "198.51.100.1": 64501, "198.51.101.1": 64502,
	"198.51.102.1": 64503, "198.51.103.1": 0, "198.51.104.1": 0, "198.51.105.1": 0, "198.51.106.1": 0, "198.51.107.1": 64504,
	"198.51.108.1": 64505, "198.51.109.1": 64506, "198.51.110.1": 0, "198.51.111.1": 0, "198.51.112.1": 64507, "198.51.113.1": 0,
	"198.51.114.1": 0, "192.0.2.1": 0, "2001:db8::1": 64510, "2001:db8:ffff::1": 64511, "2001:db9::1": 0, "fe80::1%eth0": 0,
}

// file is a database on disk, with a clock and what was told of it.
type file struct {
	path string
	now  time.Time
	told []string
}

func newFile(tb testing.TB, text []byte) *file {
	tb.Helper()
	f := &file{path: filepath.Join(tb.TempDir(), "asn.mmdb"), now: time.Unix(1_800_000_000, 0)}
	f.write(tb, text)
	return f
}

// write puts a new file in the place of the one before, as those who fetch such files do.
func (f *file) write(tb testing.TB, text []byte) {
	tb.Helper()
	if err := os.WriteFile(f.path+".new", text, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		tb.Fatal(err)
	}
}

func (f *file) open() (*Database, error) {
	return Open(f.path, func() time.Time { return f.now }, func(err error) { f.told = append(f.told, err.Error()) })
}

func TestNumber(t *testing.T) {
	d, err := newFile(t, mixed(t)).open()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint32{}
	for addr := range numbers {
		got[addr] = d.Number(netip.MustParseAddr(addr))
	}
	if diff := cmp.Diff(numbers, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := d.Number(netip.Addr{}); n != 0 {
		t.Errorf("no address is in AS%d", n)
	}
}

// TestIPv4Alone: a database of IPv4 knows no IPv6 address.
func TestIPv4Alone(t *testing.T) {
	d, err := newFile(t, write(t, 4, map[string]mmdbtype.DataType{"203.0.113.0/24": geolite(64500)})).open()
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]uint32{"203.0.113.1": 64500, "::ffff:203.0.113.1": 64500, "2001:db8::1": 0, "192.0.2.1": 0} {
		if n := d.Number(netip.MustParseAddr(addr)); n != want {
			t.Errorf("%s is in AS%d, want AS%d", addr, n, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	good := mixed(t)
	long := newFile(t, good)
	if err := os.Truncate(long.path, MaxFile+1); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		file *file
		want string
	}{
		{"empty", newFile(t, nil), "invalid MaxMind DB file"},
		{"text", newFile(t, []byte("64500 203.0.113.0/24\n")), "invalid MaxMind DB file"},
		{"cut off", newFile(t, good[:len(good)-200]), "invalid"},
		{"without its tree", newFile(t, good[len(good)/2:]), "invalid"},
		{"of countries", newFile(t, write(t, 6, map[string]mmdbtype.DataType{
			"203.0.113.0/24": mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("DE")}},
		})), "no record names an autonomous system"},
		{"of nothing", newFile(t, write(t, 6, nil)), "no record names an autonomous system"},
		{"of texts", newFile(t, write(t, 6, map[string]mmdbtype.DataType{"203.0.113.0/24": mmdbtype.String("AS64500")})), "asn.mmdb: "},
		{"with a tree of noise", newFile(t, noisy(good)), "asn.mmdb: "},
		{"too long", long, "is larger than"},
		{"a folder", &file{path: t.TempDir()}, "is no file"},
		{"missing", &file{path: filepath.Join(t.TempDir(), "none.mmdb")}, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.file.open(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "autonomous systems: ") {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// noisy has the first nodes of the tree point anywhere.
func noisy(text []byte) []byte {
	b := bytes.Clone(text)
	for i := range 60 {
		b[i] = byte(37 * i)
	}
	return b
}

// TestNetworksAreBounded: a small file may have a tree with more ways through it than anybody can walk.
func TestNetworksAreBounded(t *testing.T) {
	text := write(t, 4, map[string]mmdbtype.DataType{"203.0.0.0/16": geolite(64500)})
	const nodes = 16 // of the prefix
	// Both sides of each node lead to the next one.
	for i := range nodes - 1 {
		copy(text[6*i:], []byte{0, 0, byte(i + 1), 0, 0, byte(i + 1)})
	}
	for most, want := range map[int]string{1 << 16: "", 1<<16 - 1: "more than 65535 networks", 1000: "more than 1000 networks"} {
		if _, err := parse(text, most); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("at most %d: error %v, want %q", most, err, want)
		}
	}
}

// TestReload: a new version takes effect within ten seconds, a broken one does not and is told once.
func TestReload(t *testing.T) {
	version := func(n uint32) []byte {
		return write(t, 6, map[string]mmdbtype.DataType{"203.0.113.0/24": geolite(n)})
	}
	f := newFile(t, version(64500))
	d, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("203.0.113.1")
	check := func(what string, want uint32, told ...string) {
		t.Helper()
		if n := d.Number(addr); n != want {
			t.Errorf("%s: AS%d, want AS%d", what, n, want)
		}
		if len(f.told) != len(told) {
			t.Errorf("%s: told %q, want %q", what, f.told, told)
		}
		for i := range min(len(f.told), len(told)) {
			if !strings.Contains(f.told[i], told[i]) || !strings.Contains(f.told[i], "holds on") {
				t.Errorf("%s: told %q, want %q", what, f.told[i], told[i])
			}
		}
		f.told = nil
	}
	f.write(t, version(64501))
	f.now = f.now.Add(every - 1)
	check("a moment later", 64500)
	f.now = f.now.Add(1)
	check("ten seconds later", 64501)
	f.write(t, version(64502)[:100])
	f.now = f.now.Add(every)
	check("half a file", 64501, "invalid")
	f.now = f.now.Add(every)
	check("half a file still", 64501)
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(every)
	check("gone", 64501, "no such file")
	f.now = f.now.Add(every)
	check("gone still", 64501)
	f.write(t, version(64503))
	f.now = f.now.Add(-time.Hour)
	check("there again, and the clock was set back", 64503)
	// In place, of the same length.
	if err := os.WriteFile(f.path, version(64504), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(f.path, later, later); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(every)
	check("written over", 64504)
}

// TestConcurrent: many ask while the file changes; each gets a number that is, or was a moment ago.
func TestConcurrent(t *testing.T) {
	f := newFile(t, write(t, 6, map[string]mmdbtype.DataType{"203.0.113.0/24": geolite(64500)}))
	var mu sync.Mutex
	now := f.now
	d, err := Open(f.path, func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(every)
		return now
	}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	second := write(t, 6, map[string]mmdbtype.DataType{"203.0.113.0/24": geolite(64501)})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if n := d.Number(netip.MustParseAddr("203.0.113.1")); n != 64500 && n != 64501 {
					t.Errorf("AS%d", n)
				}
			}
		})
	}
	f.write(t, second)
	wg.Wait()
	if n := d.Number(netip.MustParseAddr("203.0.113.1")); n != 64501 {
		t.Errorf("AS%d at the end, want AS64501", n)
	}
}

// FuzzParse: whatever the file holds is a database or an error, soon.
func FuzzParse(f *testing.F) {
	good := mixed(f)
	f.Add(good)
	f.Add(noisy(good))
	f.Add(good[:len(good)-1])
	f.Add(good[len(good)/2:])
	f.Add(write(f, 4, map[string]mmdbtype.DataType{"203.0.113.0/24": ipinfo("AS64500")}))
	f.Add([]byte("\xAB\xCD\xEFMaxMind.com"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		data, err := parse(text, 1<<16)
		if err != nil {
			return
		}
		for addr := range numbers {
			_ = number(data.Lookup(netip.MustParseAddr(addr)))
		}
	})
}

// BenchmarkNumber is one lookup.
func BenchmarkNumber(b *testing.B) {
	d, err := newFile(b, mixed(b)).open()
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.MustParseAddr("203.0.113.1")
	for b.Loop() {
		if d.Number(addr) != 64500 {
			b.Fatal("not found")
		}
	}
}
