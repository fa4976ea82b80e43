package lists_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/lists"
)

var at = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)

func parse(tb testing.TB, text string) *lists.List {
	tb.Helper()
	l, errs := lists.Parse(strings.NewReader(text), "test.list")
	if len(errs) > 0 {
		tb.Fatal(errs)
	}
	return l
}

func texts(errs []error) []string {
	var out []string
	for _, err := range errs {
		out = append(out, err.Error())
	}
	return out
}

func TestParse(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("192.0.2.10/32"), netip.MustParsePrefix("2001:db8::1/128")
	newYear := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		line string
		want lists.Entry
		form string // what String gives, if not the line's first word
	}{
		{line: "192.0.2.10", want: lists.Entry{Prefix: v4}},
		{line: "192.0.2.10:3333", want: lists.Entry{Prefix: v4, Port: 3333}},
		{line: "::ffff:192.0.2.10", want: lists.Entry{Prefix: v4}, form: "192.0.2.10"},
		{line: "[::ffff:192.0.2.10]:1", want: lists.Entry{Prefix: v4, Port: 1}, form: "192.0.2.10:1"},
		{line: "192.0.2.0/24", want: lists.Entry{Prefix: netip.MustParsePrefix("192.0.2.0/24")}},
		{line: "192.0.2.0/24:65535", want: lists.Entry{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Port: 65535}},
		{line: "::ffff:192.0.2.0/120", want: lists.Entry{Prefix: netip.MustParsePrefix("192.0.2.0/24")}, form: "192.0.2.0/24"},
		{line: "0.0.0.0/0", want: lists.Entry{Prefix: netip.MustParsePrefix("0.0.0.0/0")}},
		{line: "2001:db8::1", want: lists.Entry{Prefix: v6}},
		{line: "[2001:db8::1]", want: lists.Entry{Prefix: v6}, form: "2001:db8::1"},
		{line: "[2001:db8::1]:443", want: lists.Entry{Prefix: v6, Port: 443}},
		{line: "2001:db8::/32", want: lists.Entry{Prefix: netip.MustParsePrefix("2001:db8::/32")}},
		{line: "[2001:db8::/32]:443", want: lists.Entry{Prefix: netip.MustParsePrefix("2001:db8::/32"), Port: 443}},
		{line: "2001:db8::/32:443", want: lists.Entry{Prefix: netip.MustParsePrefix("2001:db8::/32"), Port: 443}, form: "[2001:db8::/32]:443"},
		{line: "Pool.Example.", want: lists.Entry{Name: "pool.example"}, form: "pool.example"},
		{line: ".pool.example", want: lists.Entry{Name: "pool.example", Below: true}},
		{line: ".onion", want: lists.Entry{Name: "onion", Below: true}},
		{line: "xn--bcher-kva.example", want: lists.Entry{Name: "xn--bcher-kva.example"}},
		{line: "192.0.2.10 our own pool", want: lists.Entry{Prefix: v4, Reason: "our own pool"}},
		{line: "\t192.0.2.10\t#  our   own pool \r", want: lists.Entry{Prefix: v4, Reason: "our own pool"}},
		{line: "192.0.2.10 ticket #12", want: lists.Entry{Prefix: v4, Reason: "ticket #12"}},
		{line: "192.0.2.10 expires=2026-12-31", want: lists.Entry{Prefix: v4, Expires: newYear}},
		{line: "192.0.2.10 expires=2026-12-31T01:00:00+01:00 für Jürgen", want: lists.Entry{Prefix: v4, Expires: newYear, Reason: "für Jürgen"}},
		{line: "192.0.2.10 it expires=never", want: lists.Entry{Prefix: v4, Reason: "it expires=never"}},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			// A comment, an empty line and a byte order mark in front.
			l := parse(t, "\ufeff# comment\r\n\r\n  # comment\n"+tt.line)
			tt.want.File, tt.want.Line = "test.list", 4
			if diff := gocmp.Diff([]lists.Entry{tt.want}, l.Entries(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Fatal(diff)
			}
			word := cmp.Or(tt.form, strings.Fields(tt.line)[0])
			if got := l.Entries()[0].String(); got != word {
				t.Errorf("String is %q, want %q", got, word)
			}
		})
	}
}

func TestParseBadLines(t *testing.T) {
	tests := []struct{ line, want string }{
		{"192.0.2.300", `"192.0.2.300": this is no address`},
		{"192.0.2", `"192.0.2": this is no address`},
		{"192.0.2.1.", `"192.0.2.1.": this is no address`},
		{".0.", `".0.": this is no address`},
		{"192.0.2.1.1", `"192.0.2.1.1": this is no address`},
		{"2001:db8::g", `"2001:db8::g": this is no address`},
		{"fe80::1%eth0", `"fe80::1%eth0": an address with a zone is no server's`},
		{"192.0.2.10/33", `"192.0.2.10/33": this is no network`},
		{"192.0.2.10/24", `"192.0.2.10/24": the address has bits beyond the length; write 192.0.2.0/24`},
		{"::ffff:0:0/95", `"::ffff:0:0/95": write an IPv4 network as such`},
		{"::ffff:192.0.2.0/90", `"::ffff:192.0.2.0/90": write an IPv4 network as such`},
		{"192.0.2.10:0", `"192.0.2.10:0": port 0 is no port; without one the entry matches every port`},
		{"192.0.2.10:65536", `"192.0.2.10:65536": port "65536" is no number from 1 to 65535`},
		{"192.0.2.10:", `"192.0.2.10:": port "" is no number from 1 to 65535`},
		{"192.0.2.10:+1", `"192.0.2.10:+1": port "+1" is no number from 1 to 65535`},
		{"192.0.2.0/24:http", `"192.0.2.0/24:http": port "http" is no number from 1 to 65535`},
		{"[2001:db8::1", `"[2001:db8::1": the ] is missing`},
		{"[2001:db8::1]443", `"[2001:db8::1]443": after the ] comes :port or nothing`},
		{"[192.0.2.10]:443", `"[192.0.2.10]:443": brackets are for IPv6`},
		{"pool.example:3333", `"pool.example:3333": a name has no port here`},
		{"*.pool.example", `"*.pool.example": a wildcard is written as a dot in front: .pool.example`},
		{"pool", `"pool": this is no address, and a name has a dot`},
		{".", `".": the name is empty`},
		{"pool..example", `"pool..example": a label of a name has 1 to 63 bytes`},
		{strings.Repeat("a", 64) + ".example", `"` + strings.Repeat("a", 64) + `.example": a label of a name has 1 to 63 bytes`},
		{strings.Repeat("a.", 130) + "example", `"` + strings.Repeat("a.", 40) + `": the name is longer than 253 bytes`},
		{"bücher.example", `"bücher.example": write the name in its xn-- form`},
		{"pool,example.org", `"pool,example.org": ',' is in no name`},
		{"192.0.2.10 expires=tomorrow", `"expires=tomorrow": must be a date such as 2026-12-31 or a time such as 2026-12-31T00:00:00Z`},
		{"192.0.2.10 expires=0001-01-01", `"expires=0001-01-01": must be a date such as 2026-12-31 or a time such as 2026-12-31T00:00:00Z`},
		{"192.0.2.10 \xff", `"192.0.2.10": the line is not valid UTF-8`},
		{"192.0.2.10 a\x00b", `"192.0.2.10": the line has a character that cannot be printed`},
		{"192.0.2.10 a\u202eb", `"192.0.2.10": the line has a character that cannot be printed`},
		{"192.0.2.10 " + strings.Repeat("x", 513), `"192.0.2.10": the reason is longer than 512 bytes`},
		{"192.0.2.10 " + strings.Repeat("x", 10000), `the line is longer than 4096 bytes`},
	}
	var file strings.Builder
	var want []string
	for i, tt := range tests {
		fmt.Fprintf(&file, "%s\n198.51.100.%d\n", tt.line, i)
		sep := ": "
		want = append(want, fmt.Sprintf("test.list:%d%s%s", 2*i+1, sep, tt.want))
	}
	l, errs := lists.Parse(strings.NewReader(file.String()), "test.list")
	if diff := gocmp.Diff(want, texts(errs)); diff != "" {
		t.Error(diff)
	}
	if l.Len() != len(tests) {
		t.Errorf("%d good lines were read, want %d", l.Len(), len(tests))
	}
	var bad *lists.LineError
	if !errors.As(errs[0], &bad) || bad.Line != 1 {
		t.Errorf("first error is %#v", errs[0])
	}
}

func TestParseBounds(t *testing.T) {
	t.Run("errors", func(t *testing.T) {
		_, errs := lists.Parse(strings.NewReader(strings.Repeat("bad\n", lists.MaxErrors+7)), "x")
		if len(errs) != lists.MaxErrors+1 || errs[lists.MaxErrors].Error() != "x: 7 more lines are wrong" {
			t.Errorf("%d errors, the last is %v", len(errs), errs[len(errs)-1])
		}
	})
	t.Run("entries", func(t *testing.T) {
		l, errs := lists.Parse(strings.NewReader(strings.Repeat("a.b\n", lists.MaxEntries+2)), "x")
		want := []string{fmt.Sprintf("x:%d: the list has more than %d entries, the rest is left out", lists.MaxEntries+1, lists.MaxEntries)}
		if diff := gocmp.Diff(want, texts(errs)); diff != "" || l.Len() != lists.MaxEntries {
			t.Errorf("%d entries, %s", l.Len(), diff)
		}
	})
	t.Run("the longest line", func(t *testing.T) {
		line := "a.b" + strings.Repeat(" ", lists.MaxLine-4)
		if l := parse(t, line+"\n"+line+"\n"); l.Len() != 2 {
			t.Errorf("%d entries", l.Len())
		}
	})
	t.Run("a failing reader", func(t *testing.T) {
		r := io.MultiReader(strings.NewReader("a.b\nc.d"), iotest.ErrReader(errors.New("disk")))
		l, errs := lists.Parse(r, "x")
		if diff := gocmp.Diff([]string{"read x: disk"}, texts(errs)); diff != "" || l.Len() != 2 {
			t.Errorf("%d entries, %s", l.Len(), diff)
		}
	})
}

func TestMatch(t *testing.T) {
	l := parse(t, `
192.0.2.0/24            net
192.0.2.0/24:3333       net with port
192.0.2.10:4444         address with port
192.0.2.10:5555         expires=2026-11-21T04:00:00Z gone
192.0.2.10              expires=2026-11-21T05:00:00Z soon
192.0.2.20:1            first
192.0.2.20:1            second
192.0.2.128/25:7        quarter
2001:db8::/32           six
[2001:db8::1]:443       six with port
0.0.0.0/0:9             anywhere
`)
	tests := []struct {
		ep, want string
		later    time.Duration
	}{
		{ep: "192.0.2.10:4444", want: "address with port"},
		{ep: "192.0.2.10:5555", want: "soon"},
		{ep: "192.0.2.10:3333", want: "soon"},
		{ep: "192.0.2.10:3333", want: "net with port", later: time.Hour},
		{ep: "192.0.2.10:1", want: "net", later: time.Hour},
		{ep: "192.0.2.11:3333", want: "net with port"},
		{ep: "192.0.2.20:1", want: "first"},
		{ep: "192.0.2.129:7", want: "quarter"},
		{ep: "192.0.2.129:3333", want: "net with port"},
		{ep: "192.0.2.129:9", want: "net"},
		{ep: "203.0.113.1:9", want: "anywhere"},
		{ep: "203.0.113.1:10"},
		{ep: "[2001:db8::1]:443", want: "six with port"},
		{ep: "[2001:db8::1]:444", want: "six"},
		{ep: "[2001:db9::1]:443"},
	}
	for _, tt := range tests {
		t.Run(tt.ep+" "+tt.later.String(), func(t *testing.T) {
			ep, err := minecanary.ParseEndpoint(tt.ep)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := l.Match(ep, at.Add(tt.later))
			if got.Reason != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q (%t), want %q", got.Reason, ok, tt.want)
			}
		})
	}
	for name, empty := range map[string]*lists.List{"nil": nil, "zero": {}, "no lines": parse(t, "")} {
		t.Run(name, func(t *testing.T) {
			if _, ok := empty.Match(minecanary.Endpoint{}, at); ok {
				t.Error("an empty list matches")
			}
			if _, ok := empty.Match(minecanary.NewEndpoint(netip.MustParseAddr("192.0.2.1"), 1, minecanary.TCP), at); ok {
				t.Error("an empty list matches")
			}
			if _, ok := empty.MatchName("pool.example", at); ok || empty.Len() != 0 || len(empty.Entries()) != 0 {
				t.Error("an empty list is not empty")
			}
		})
	}
}

func TestMatchName(t *testing.T) {
	l := parse(t, `
pool.example            exact
.pool.example           below
eu.pool.example         expires=2026-11-21T05:00:00Z exact eu
.asia.pool.example      below asia
.onion                  hidden
`)
	tests := []struct {
		name, want string
		later      time.Duration
	}{
		{name: "pool.example", want: "exact"},
		{name: "POOL.Example.", want: "exact"},
		{name: "eu.pool.example", want: "exact eu"},
		{name: "eu.pool.example", want: "below", later: time.Hour},
		{name: "a.b.eu.pool.example", want: "below"},
		{name: "asia.pool.example", want: "below asia"},
		{name: "x.asia.pool.example", want: "below asia"},
		{name: "whirlpool.example"},
		{name: "example"},
		{name: "x.onion", want: "hidden"},
		{name: "onion", want: "hidden"},
		{name: ""},
		{name: "."},
		{name: "..onion", want: "hidden"},
		{name: strings.Repeat("a.", 200) + "onion"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := l.MatchName(tt.name, at.Add(tt.later))
			if got.Reason != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q (%t), want %q", got.Reason, ok, tt.want)
			}
		})
	}
}

// TestMatchAgainstScan compares with a plain walk over all entries.
func TestMatchAgainstScan(t *testing.T) {
	addr := rapid.Custom(func(t *rapid.T) netip.Addr {
		// Few bits, so that networks nest and meet.
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 128, 255}), 4, 4).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "v4") {
			return netip.AddrFrom4([4]byte(b))
		}
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, b[0], b[1], b[2], b[3]})
	})
	port := rapid.Uint16Range(0, 3)
	entry := rapid.Custom(func(t *rapid.T) lists.Entry {
		a := addr.Draw(t, "addr")
		p, err := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
		if err != nil {
			t.Fatal(err)
		}
		e := lists.Entry{Prefix: p, Port: port.Draw(t, "port"), Line: rapid.IntRange(1, 1e6).Draw(t, "line")}
		if rapid.Bool().Draw(t, "ends") {
			e.Expires = at.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "hours")) * time.Hour)
		}
		return e
	})
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(entry, 0, 40).Draw(t, "entries")
		ep := minecanary.NewEndpoint(addr.Draw(t, "server"), port.Draw(t, "server port"), minecanary.TCP)
		candidates := slices.DeleteFunc(slices.Clone(entries), func(e lists.Entry) bool {
			return !e.Prefix.Contains(ep.Addr) || (e.Port != 0 && e.Port != ep.Port) || !e.Valid(at)
		})
		slices.SortStableFunc(candidates, func(a, b lists.Entry) int {
			return cmp.Or(b.Prefix.Bits()-a.Prefix.Bits(), cmp.Compare(min(b.Port, 1), min(a.Port, 1)))
		})
		got, ok := lists.New(entries).Match(ep, at)
		if ok != (len(candidates) > 0) || (ok && got != candidates[0]) {
			t.Fatalf("got %+v (%t), want one of %+v", got, ok, candidates)
		}
	})
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "192.0.2.1 a\nbad\n", "b": "192.0.2.1 b\n192.0.2.2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	l, errs := lists.ReadFiles([]string{"a", "missing", "b"})
	want := []string{
		`a:2: "bad": this is no address, and a name has a dot`,
		"read list: open missing: no such file or directory",
	}
	if diff := gocmp.Diff(want, texts(errs)); diff != "" {
		t.Error(diff)
	}
	if e, _ := l.Match(minecanary.NewEndpoint(netip.MustParseAddr("192.0.2.1"), 1, minecanary.TCP), at); l.Len() != 3 || e.Reason != "a" || e.File != "a" {
		t.Errorf("%d entries, matched %+v", l.Len(), e)
	}
	if got := lists.Join(nil, l).Len(); got != 3 {
		t.Errorf("joined list has %d entries", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("192.0.2.10:3333 expires=2026-12-31 reason\n[2001:db8::/32]:443\n.pool.example # x\n", "EU.pool.example.")
	f.Add("\ufeff::ffff:1.2.3.4\r\n0.0.0.0/0\n::/0 expires=2026-12-31T00:00:00Z", "..")
	f.Add("[]:1\n[::]\n:1\n/\n.\n1:2:3/4:5\n", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		l, errs := lists.Parse(strings.NewReader(text), "f")
		for _, err := range errs {
			if strings.ContainsRune(err.Error(), '\n') {
				t.Errorf("an error of two lines: %q", err)
			}
		}
		for _, e := range l.Entries() {
			again, errs := lists.Parse(strings.NewReader(e.String()), e.File)
			if len(errs) > 0 || again.Len() != 1 {
				t.Fatalf("%q is not read again: %v", e.String(), errs)
			}
			got := again.Entries()[0]
			got.Line, got.Reason, got.Expires = e.Line, e.Reason, e.Expires
			if got != e {
				t.Fatalf("%q is read as %+v, was %+v", e.String(), got, e)
			}
			if !e.Valid(at) {
				continue
			}
			if e.Name == "" {
				if _, ok := l.Match(minecanary.NewEndpoint(e.Prefix.Addr(), e.Port, minecanary.TCP), at); !ok {
					t.Fatalf("%s does not match itself", e)
				}
			} else if _, ok := l.MatchName(e.Name, at); !ok {
				t.Fatalf("%s does not match itself", e)
			}
		}
		l.MatchName(name, at)
	})
}

// benchList has 100,000 entries of all kinds.
func benchList() *lists.List {
	var entries []lists.Entry
	for i := range 100_000 {
		a := netip.AddrFrom4([4]byte{byte(20 + i%40), byte(i >> 16), byte(i >> 8), byte(i)})
		p, _ := a.Prefix(32 - 8*(i%3/2))
		entries = append(entries, lists.Entry{Prefix: p, Port: uint16(i % 2 * 3333), Reason: "bench"})
	}
	entries = append(entries,
		lists.Entry{Prefix: netip.MustParsePrefix("20.0.0.0/8"), Port: 1, Reason: "wide"},
		lists.Entry{Name: "pool.example", Below: true})
	return lists.New(entries)
}

func TestMatchDoesNotAllocate(t *testing.T) {
	l := benchList()
	ep := minecanary.NewEndpoint(netip.MustParseAddr("20.0.0.0"), 1, minecanary.TCP)
	allocs := testing.AllocsPerRun(100, func() {
		if _, ok := l.Match(ep, at); !ok {
			t.Error("no match")
		}
		if _, ok := l.MatchName("EU.stratum.pool.example.", at); !ok {
			t.Error("no match")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkMatch(b *testing.B) {
	l := benchList()
	for _, bench := range []struct{ name, ep string }{
		{"hit", "20.0.0.0:80"}, {"miss", "203.0.113.1:3333"}, {"miss after two networks", "20.0.0.40:9"},
	} {
		ep, err := minecanary.ParseEndpoint(bench.ep)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Match(ep, at)
			}
		})
	}
	b.Run("name", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.MatchName("EU.stratum.pool.example.", at)
		}
	})
}
