package feed_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

var update = flag.Bool("update", false, "write the golden files anew")

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// friendly has one of everything.
func friendly(tb testing.TB) []feed.Entry {
	tb.Helper()
	first := verified.Add(-30 * time.Hour)
	return []feed.Entry{
		{
			Endpoint: endpoint(tb, "198.51.100.10:3333"), Coin: "monero", Dialect: "cryptonote", Verified: verified, First: first,
			Expires: verified.Add(24 * time.Hour), Confidence: 96, Hosts: 3, Reason: `answered login with a job ("RandomX")`,
			URL: "https://minecanary.example/lookup?q=198.51.100.10",
		},
		{Endpoint: endpoint(tb, "198.51.100.10:14444"), Coin: "bitcoin-family", Dialect: "stratum-v1", Verified: verified.Add(time.Hour), Confidence: 100, Hosts: -1},
		{Endpoint: endpoint(tb, "[2001:db8::5]:443"), Dialect: "stratum-v1", TLS: true, Verified: verified, Confidence: 40},
		{Endpoint: endpoint(tb, "203.0.113.7:443"), Name: "Pool.Example.", Coin: "kaspa", Dialect: "stratum-v1", TLS: true, Verified: verified, Confidence: 90},
		{Endpoint: endpoint(tb, "203.0.113.8:443"), Name: "pool.example", Coin: "kaspa", Dialect: "stratum-v1", TLS: true, Verified: verified.Add(-time.Hour), Confidence: 80},
		{Endpoint: endpoint(tb, "203.0.113.8:5555"), Name: "pool.example", Coin: "kaspa", Dialect: "stratum-v1", Verified: verified, Confidence: 80},
	}
}

func TestRenderGolden(t *testing.T) {
	opts := feed.Options{Removed: []feed.Entry{
		{Endpoint: endpoint(t, "198.51.100.99:1")},
		{Endpoint: endpoint(t, "198.51.100.10:9")},
		{Endpoint: endpoint(t, "203.0.113.8:1"), Name: "gone.example"},
		{Name: "pool.example"},
		{Name: "not a name"},
	}}
	seen := map[string]bool{}
	for _, format := range feed.AllFormats() {
		t.Run(string(format), func(t *testing.T) {
			files, err := feed.Render(format, friendly(t), opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if seen[f.Name] {
					t.Errorf("two forms write %s", f.Name)
				}
				seen[f.Name] = true
				path := filepath.Join("testdata", "golden", f.Name)
				if *update {
					if err := os.WriteFile(path, f.Data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(f.Data)); diff != "" {
					t.Errorf("%s: %s", f.Name, diff)
				}
			}
			if _, _, err := filesOf(format, friendly(t), opts); err != nil {
				t.Errorf("the strict reader: %v", err)
			}
		})
	}
}

// expected says what the strict reader of a form has to find, by the entries alone.
func expected(format feed.Format, entries []feed.Entry, names map[string]string) []string {
	set := map[string]bool{}
	for _, e := range entries {
		ep := e.Endpoint.String()
		name := names[e.Name]
		switch {
		case e.Name != "" && name == "":
			continue
		case e.Name != "":
			port := ep[strings.LastIndexByte(ep, ':')+1:]
			switch format {
			case feed.ZeekIntel, feed.ZeekIntelRemoval, feed.ZeekNames, feed.SuricataDataset, feed.SuricataDatasetJSON, feed.Domains, feed.STIX, feed.MISP, feed.RPZ:
				set["name "+name] = true
			case feed.SuricataRules:
				set["dns "+name], set["tls "+name] = true, true
			case feed.CSV, feed.JSON:
				set["named "+name+":"+port] = true
			}
		default:
			switch format {
			case feed.ZeekIntel, feed.ZeekIntelRemoval, feed.SuricataDataset, feed.SuricataDatasetJSON, feed.SuricataIPRep, feed.Addresses, feed.RPZ:
				set["addr "+e.Endpoint.Addr.String()] = true
			case feed.ZeekPools, feed.SuricataRules, feed.Endpoints, feed.CSV, feed.JSON, feed.STIX, feed.MISP:
				set["endpoint "+ep] = true
			}
		}
	}
	var out []string
	for word := range set {
		out = append(out, word)
	}
	slices.Sort(out)
	return out
}

// check renders the entries in every form and reads them back.
func check(entries []feed.Entry, names map[string]string) error {
	for _, format := range feed.AllFormats() {
		got, files, err := filesOf(format, entries, feed.Options{})
		if err != nil {
			text := fmt.Errorf("%s: %w", format, err)
			for _, f := range files {
				text = fmt.Errorf("%w\n%s:\n%q", text, f.Name, f.Data[:min(len(f.Data), 2000)])
			}
			return text
		}
		if want := expected(format, entries, names); !slices.Equal(got, want) {
			return fmt.Errorf("%s:\n got %q\nwant %q", format, got, want)
		}
		for _, f := range files {
			if limit := 1000 * (len(entries) + 3); len(f.Data) > limit {
				return fmt.Errorf("%s has %d bytes, want at most %d", f.Name, len(f.Data), limit)
			}
		}
	}
	return nil
}

// hostile are texts that break what is put together carelessly.
var hostile = []string{
	"-", "(empty)", "", "unknown", "\n#fields\tindicator\tindicator_type\n8.8.8.8\tIntel::ADDR\tx", `\x0a8.8.8.8`, `\x09`, "\n-\n", "\r\n8.8.8.8:53\r\n",
	`"; sid:1; rev:1;)` + "\n" + `drop ip any any -> any any (msg:"`, `"`, `'`, `\`, `\\`, `\"`, ";", ";;", ",", "|", "a,b;c|d", "(", ")", "${IFS}", "%s%n",
	`=cmd|'/C calc'!A0`, `+1`, `-1`, `@SUM(A1)`, "\t=1", "\r=1", ` =1`, `;=1`, `";=1`, "\uff1d1", `"=1`, `'=1`,
	`","to_ids":false,"value":"8.8.8.8`, "</script>", "\u2028", "\u202e8.8.8.8\u202c", "\x00", "a\x00b", "\xff\xfe", "\x7f", "\x1b[2J",
	"' OR [ipv4-addr:value = '8.8.8.8'] OR '", "\n8.8.8.8 CNAME .\n", "$INCLUDE /etc/passwd", "$ORIGIN .", "@", "#", "# x", "[", "]",
	"{", "}", ":", "coin: x", "metadata x", "a b", "1,1,127", strings.Repeat("x", 300), strings.Repeat(`\`, 300), strings.Repeat(`"`, 300), strings.Repeat(";", 300),
	strings.Repeat("\u202e\n\t\"';\\", 1<<17),
}

// hostileNames are none that may be published. Where a name is one, it is there with what is published.
var someNames = map[string]string{
	"pool.example": "pool.example", "POOL.Example.": "pool.example", "eu_1.pool.example": "eu_1.pool.example", "a.xn--p1ai": "a.xn--p1ai",
	strings.Repeat("a.", 90) + "com": strings.Repeat("a.", 90) + "com",
	"32.1.0.0.127.rpz-ip":            "", "example": "", "*.example": "", ".": "", "..": "", "a..example": "", "8.8.8.8": "", "::1": "", "pool.example\n": "", "pool.example CNAME": "",
	"pool.example\tx.example": "", `pool".example`: "", "pool;.example": "", "\u202epool.example": "", "p\u00f6ol.example": "", "-a.example": "", "a-.example": "",
	strings.Repeat("a", 64) + ".example": "", strings.Repeat("a.", 130) + "example": "", "pool.example\x00": "", " pool.example": "", "pool.example.123": "", "pool.\u212a": "",
}

func entryGen() *rapid.Generator[feed.Entry] {
	text := rapid.OneOf(
		rapid.SampledFrom(hostile),
		rapid.String(),
		rapid.StringOf(rapid.SampledFrom([]rune("\t\n\r\\x09-#(empty)fields \"';:,|={}[]"))),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
	names := make([]string, 0, len(someNames))
	for n := range someNames {
		names = append(names, n)
	}
	slices.Sort(names)
	at := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-1e12, 1e12).Draw(t, "unix"), 0)
	})
	return rapid.Custom(func(t *rapid.T) feed.Entry {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "v4") {
			addr = netip.AddrFrom4([4]byte{198, 51, 100, rapid.ByteRange(0, 3).Draw(t, "host")})
		} else {
			var words [16]byte
			for i := range 8 { // runs of zeros are common
				if rapid.Bool().Draw(t, "word") {
					words[2*i] = rapid.Byte().Draw(t, "hi")
					words[2*i+1] = rapid.Byte().Draw(t, "lo")
				}
			}
			addr = netip.AddrFrom16(words)
		}
		name := ""
		if rapid.IntRange(0, 2).Draw(t, "named") == 0 {
			name = rapid.SampledFrom(names).Draw(t, "name")
		}
		return feed.Entry{
			Endpoint:   minecanary.NewEndpoint(addr, rapid.Uint16Range(1, 4).Draw(t, "port"), minecanary.TCP),
			Name:       name,
			Coin:       text.Draw(t, "coin"),
			Dialect:    text.Draw(t, "dialect"),
			Reason:     text.Draw(t, "reason"),
			URL:        text.Draw(t, "url"),
			TLS:        rapid.Bool().Draw(t, "tls"),
			First:      at.Draw(t, "first"),
			Verified:   at.Draw(t, "verified"),
			Expires:    at.Draw(t, "expires"),
			Confidence: rapid.IntRange(-10, 1000).Draw(t, "confidence"),
			Hosts:      rapid.IntRange(-10, 1000).Draw(t, "hosts"),
		}
	})
}

func TestRenderHostile(t *testing.T) {
	entry := entryGen()
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(entry, 0, 20).Draw(t, "entries")
		if err := check(entries, someNames); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRenderOrderDoesNotShow(t *testing.T) {
	entry := entryGen()
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(entry, 0, 12).Draw(t, "entries")
		shuffled := rapid.Permutation(entries).Draw(t, "shuffled")
		for _, format := range feed.AllFormats() {
			a, err := feed.Render(format, entries, feed.Options{})
			if err != nil {
				t.Fatal(err)
			}
			b, err := feed.Render(format, shuffled, feed.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range a {
				if !bytes.Equal(a[i].Data, b[i].Data) {
					t.Fatalf("%s: %s", a[i].Name, cmp.Diff(string(a[i].Data), string(b[i].Data)))
				}
			}
		}
	})
}

func FuzzRender(f *testing.F) {
	for i, s := range hostile {
		if len(s) < 1000 {
			f.Add([]byte{198, 51, 100, byte(i)}, uint16(i+1), s, hostile[(i+7)%len(hostile)][:min(20, len(hostile[(i+7)%len(hostile)]))], s, s, s)
		}
	}
	f.Add(make([]byte, 16), uint16(1), "pool.example", "a", "b", "c", "d")
	f.Fuzz(func(t *testing.T, raw []byte, port uint16, name, coin, dialect, reason, url string) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok || port == 0 {
			t.Skip()
		}
		names := map[string]string{}
		if n, ok := feed.HostName(name); ok {
			if _, err := host(n); err != nil {
				t.Fatal(err)
			}
			if len(n) > 190 {
				t.Skip() // the zone leaves it out
			}
			names[name] = n
		}
		e := feed.Entry{
			Endpoint: minecanary.NewEndpoint(addr, port, minecanary.TCP), Coin: coin, Dialect: dialect, Reason: reason, URL: url,
			Verified: verified, Confidence: 50,
		}
		named := e
		named.Name = name
		if name == "" {
			named.Name = "x.example"
		}
		if name == "" {
			names["x.example"] = "x.example"
		}
		if err := check([]feed.Entry{e, named}, names); err != nil {
			t.Fatal(err)
		}
	})
}

func TestHostName(t *testing.T) {
	for raw, want := range someNames {
		got, ok := feed.HostName(raw)
		if got != want || ok != (want != "") {
			t.Errorf("HostName(%q) is %q, %t; want %q", raw, got, ok, want)
		}
	}
}

// many makes n entries as the gate gives them, every tenth with a name.
func many(n int) []feed.Entry {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]feed.Entry, 0, n)
	coins := []string{"monero", "bitcoin-family", "kaspa", "ethereum-classic", "zcash", ""}
	for i := range n {
		ip := netip.AddrFrom4([4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), byte(r.Uint32())})
		if i%5 == 4 {
			ip = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 15: byte(r.Uint32())})
		}
		at := verified.Add(-time.Duration(r.IntN(86400)) * time.Second)
		e := feed.Entry{
			Endpoint: minecanary.NewEndpoint(ip, uint16(1+r.IntN(65535)), minecanary.TCP), Coin: coins[r.IntN(len(coins))], Dialect: "stratum-v1",
			Reason: "answered mining.subscribe with a job; extranonce of 4 bytes", TLS: i%7 == 0, Verified: at, First: at.Add(-time.Duration(r.IntN(1e6)) * time.Second),
			Expires: at.Add(24 * time.Hour), Confidence: 1 + r.IntN(100), Hosts: r.IntN(5), URL: "https://minecanary.example/endpoints/" + ip.String(),
		}
		if i%10 == 0 {
			e.Name = "pool-" + strconv.Itoa(i) + ".example"
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b feed.Entry) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return a.Endpoint.Compare(b.Endpoint)
	})
	return out
}

func BenchmarkRender(b *testing.B) {
	entries := many(feed.MaxEntries)
	shuffled := slices.Clone(entries)
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, format := range feed.AllFormats() {
		b.Run(string(format), func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				files, err := feed.Render(format, entries, feed.Options{})
				if err != nil {
					b.Fatal(err)
				}
				size = 0
				for _, f := range files {
					size += len(f.Data)
				}
			}
			b.ReportMetric(float64(size)/1e6, "MB/feed")
		})
	}
	b.Run("endpoints-unordered", func(b *testing.B) {
		for b.Loop() {
			if _, err := feed.Render(feed.Endpoints, shuffled, feed.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestParts: a file made in parts at once is the same as one made in one go, whatever the guess of its size was.
func TestParts(t *testing.T) {
	entries := many(5000)
	for i := range entries {
		entries[i].Reason += strings.Repeat(`\"`, i%100)
	}
	render := func(processors int, format feed.Format) [][]byte {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		files, err := feed.Render(format, entries, feed.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var out [][]byte
		for _, f := range files {
			out = append(out, f.Data)
		}
		return out
	}
	for _, format := range feed.AllFormats() {
		if one, four := render(1, format), render(4, format); !slices.EqualFunc(one, four, bytes.Equal) {
			t.Errorf("%s depends on the number of processors", format)
		}
	}
}
