package tor_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary/intel/tor"
)

const print1 = "9695DFC35FFEB861329B9F1AB04C46397020CE31"

func date(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }

func TestCSV(t *testing.T) {
	relays, errs := tor.Parse(strings.NewReader("\ufeffaddress,from,to,flags,fingerprint\r\n# comment\r\n\r\n"+
		"192.0.2.7,2026-01-10,2026-01-20,Exit|Guard,"+strings.ToLower(print1)+"\r\n"+
		"192.0.2.7, 2026-01-12T01:00:00+01:00 , 2026-01-14 00:00:00 ,Fast Running\n"+
		"192.0.2.7,2026-01-15,2026-01-16\n"+
		"::ffff:192.0.2.8,2026-01-10,,,\n"+
		"2001:db8::7,2026-01-10,2026-01-20,Exit,"+print1), "x.csv")
	if len(errs) > 0 || relays.Len() != 5 {
		t.Fatal(relays.Len(), errs)
	}
	both := tor.Relay{Fingerprint: print1, Flags: []string{"Exit", "Guard"}, From: date(10), To: date(20)}
	tests := []struct {
		addr string
		at   time.Time
		want tor.Relay
	}{
		{"192.0.2.7", date(10), both},
		{"192.0.2.7", date(10).Add(-time.Second), tor.Relay{}},
		{"192.0.2.7", date(12), tor.Relay{Flags: []string{"Fast", "Running"}, From: date(12), To: date(14)}},
		{"::ffff:192.0.2.7", date(14), both},
		{"192.0.2.7", date(15), tor.Relay{From: date(15), To: date(16)}},
		{"192.0.2.7", date(20).Add(-time.Second), both},
		{"192.0.2.7", date(20), tor.Relay{}},
		{"192.0.2.8", date(31), tor.Relay{From: date(10)}},
		{"192.0.2.9", date(15), tor.Relay{}},
		{"2001:db8::7", date(15), tor.Relay{Fingerprint: print1, Flags: []string{"Exit"}, From: date(10), To: date(20)}},
	}
	for _, tt := range tests {
		got, ok := relays.At(netip.MustParseAddr(tt.addr), tt.at)
		if len(got.Flags) == 0 {
			got.Flags = nil
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || ok == tt.want.From.IsZero() {
			t.Errorf("%s at %v: %v, %s", tt.addr, tt.at, ok, diff)
		}
	}
	if !both.Has("Exit") || both.Has("Fast") {
		t.Error("flags")
	}
	if _, ok := relays.At(netip.Addr{}, date(15)); ok {
		t.Error("no address is a relay")
	}
	var none *tor.Relays
	if _, ok := none.At(netip.MustParseAddr("192.0.2.7"), date(15)); ok || none.Len() != 0 {
		t.Error("no table has relays")
	}
}

func TestCSVBad(t *testing.T) {
	tests := []struct{ line, want string }{
		{"192.0.2.7,2026-01-10", "a row has address,from,to and perhaps flags,fingerprint"},
		{"192.0.2.7,2026-01-10,,,,", "a row has address,from,to and perhaps flags,fingerprint"},
		{"192.0.2.300,2026-01-10,", `"192.0.2.300" is no address`},
		{"fe80::1%eth0,2026-01-10,", `"fe80::1%eth0" is no address`},
		{"192.0.2.7,,", `"" is no time such as 2026-12-31T00:00:00Z`},
		{"192.0.2.7,yesterday,", `"yesterday" is no time such as 2026-12-31T00:00:00Z`},
		{"192.0.2.7,2026-01-10,\x1b", `"\x1b" is no time such as 2026-12-31T00:00:00Z`},
		{"192.0.2.7,1960-01-10,", `"1960-01-10" is no time such as 2026-12-31T00:00:00Z`},
		{"192.0.2.7,2026-01-10,2026-01-10", "it ends before it begins"},
		{"192.0.2.7,2026-01-10,,Exit;Guard", `"Exit;Guard" are no flags`},
		{"192.0.2.7,2026-01-10,,Exit,123", `"123" is no fingerprint`},
		{strings.Repeat("x", 5000), "the line is longer than 4096 bytes"},
		{strings.Repeat("x", 100_000), "the line is longer than 4096 bytes"},
	}
	var file strings.Builder
	var want, got []string
	for i, tt := range tests {
		file.WriteString(tt.line + "\n192.0.2.1,2026-01-10,\n")
		want = append(want, fmt.Sprintf("x:%d: %s", 2*i+1, tt.want))
	}
	relays, errs := tor.Parse(strings.NewReader(file.String()), "x")
	for _, err := range errs {
		got = append(got, err.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" || relays.Len() != len(tests) {
		t.Errorf("%d rows, %s", relays.Len(), diff)
	}
	_, errs = tor.Parse(strings.NewReader(strings.Repeat("bad\n", tor.MaxErrors+2)), "x")
	if len(errs) != tor.MaxErrors+1 || errs[tor.MaxErrors].Error() != "x: 2 more rows are wrong" {
		t.Errorf("%d errors", len(errs))
	}
	boom := errors.New("boom")
	if _, errs = tor.Parse(iotest.ErrReader(boom), "x"); len(errs) != 1 || !errors.Is(errs[0], boom) {
		t.Error(errs)
	}
}

// A document as Onionoo's protocol describes it.
const details = ` {"version":"8.0","build_revision":"06113f2","relays_published":"2026-01-20 14:00:00","relays":[
{"nickname":"moria1","fingerprint":"` + print1 + `","or_addresses":["192.0.2.34:9101","[2001:db8::34]:9101"],"exit_addresses":["192.0.2.35"],
"last_seen":"2026-01-20 14:00:00","last_changed_address_or_port":"2026-01-18 23:00:00","first_seen":"2010-01-18 23:00:00","running":true,"flags":["Authority","Running"]},
{"or_addresses":["192.0.2.36:1","no address"],"first_seen":"2026-01-10 00:00:00","last_seen":"2026-01-11 00:00:00"},
{"or_addresses":["192.0.2.37:1"],"first_seen":"never","last_seen":"2026-01-11 00:00:00"}
],"bridges_published":"2026-01-20 14:00:00","bridges":[{"relays":[1]}]}`

func TestOnionoo(t *testing.T) {
	dir := t.TempDir()
	file, csv := filepath.Join(dir, "details.json"), filepath.Join(dir, "x.csv")
	for name, text := range map[string]string{file: details, csv: "192.0.2.34,2026-01-01,2026-01-02\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	relays, errs := tor.ReadFiles([]string{file, csv, filepath.Join(dir, "missing")})
	if len(errs) != 3 || relays.Len() != 5 {
		t.Errorf("%d intervals, %v", relays.Len(), errs)
	}
	moria := tor.Relay{Fingerprint: print1, Flags: []string{"Authority", "Running"}, From: time.Date(2026, 1, 18, 23, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 20, 17, 0, 0, 0, time.UTC)}
	for _, addr := range []string{"192.0.2.34", "192.0.2.35", "2001:db8::34"} {
		got, ok := relays.At(netip.MustParseAddr(addr), time.Date(2026, 1, 20, 16, 59, 59, 0, time.UTC))
		if diff := cmp.Diff(moria, got); diff != "" || !ok {
			t.Error(addr, diff)
		}
		// Where it was before it changed is not told.
		if _, ok := relays.At(netip.MustParseAddr(addr), date(15)); ok {
			t.Errorf("%s was a relay before", addr)
		}
	}
	if _, ok := relays.At(netip.MustParseAddr("192.0.2.34"), date(1)); !ok {
		t.Error("the other file is missing")
	}
	if _, ok := relays.At(netip.MustParseAddr("192.0.2.36"), date(10)); !ok {
		t.Error("a relay with one wrong address is missing")
	}
	for _, broken := range []string{`{"relays":7}`, `{"relays":[7]}`, `{"relays":[`, `{"relays":[]`, `{"`, `{"foo":1}`, `{"x":{"relays":[]}}`, details[:700]} {
		if _, errs := tor.Parse(strings.NewReader(broken), "x"); len(errs) == 0 {
			t.Errorf("%.20s… is taken", broken)
		}
	}
}

// Asked at any time, the table answers as the plain list of its rows does.
func TestAtProperty(t *testing.T) {
	type row struct {
		addr     netip.Addr
		from, to int
	}
	rapid.Check(t, func(t *rapid.T) {
		addr := rapid.Custom(func(t *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(0, 4).Draw(t, "addr"))})
		})
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
			from := rapid.IntRange(0, 30).Draw(t, "from")
			return row{addr.Draw(t, "addr"), from, from + rapid.IntRange(1, 30).Draw(t, "for")}
		}), 0, 40).Draw(t, "rows")
		var file strings.Builder
		zero := time.Unix(1_700_000_000, 0).UTC()
		at := func(second int) time.Time { return zero.Add(time.Duration(second) * time.Second) }
		for i, r := range rows {
			fmt.Fprintf(&file, "%s,%s,%s,F%d\n", r.addr, at(r.from).Format(time.RFC3339), at(r.to).Format(time.RFC3339), i)
		}
		relays, errs := tor.Parse(strings.NewReader(file.String()), "x")
		if len(errs) > 0 || relays.Len() != len(rows) {
			t.Fatal(errs)
		}
		for second := range 62 {
			who := addr.Draw(t, "asked")
			want := -1
			for i, r := range rows {
				if r.addr == who && r.from <= second && second < r.to && (want < 0 || r.from >= rows[want].from) {
					want = i
				}
			}
			got, ok := relays.At(who, at(second))
			if ok != (want >= 0) || ok && !got.Has(fmt.Sprintf("F%d", want)) {
				t.Fatalf("%s at %d: %+v, want row %d", who, second, got, want)
			}
		}
	})
}

func FuzzRelays(f *testing.F) {
	f.Add(details)
	f.Add("address,from,to\n192.0.2.7,2026-01-10,2026-01-20,Exit|Guard," + print1 + "\n")
	f.Add(" \t{\"relays\":[{}]}")
	f.Fuzz(func(t *testing.T, file string) {
		relays, errs := tor.Parse(strings.NewReader(file), "x")
		if relays.Len() > len(file) || len(errs) > tor.MaxErrors+3 {
			t.Fatalf("%d intervals and %d errors of %d bytes", relays.Len(), len(errs), len(file))
		}
		for _, err := range errs {
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\n\r\x00") {
				t.Fatalf("an error is %q", err)
			}
		}
		relays.At(netip.MustParseAddr("192.0.2.7"), date(15))
	})
}

// A year of a network of 10,000 relays, each of which comes and goes once a week.
func BenchmarkLoadYear(b *testing.B) {
	var file strings.Builder
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for week := range 52 {
		from := start.AddDate(0, 0, 7*week)
		for i := range 10_000 {
			fmt.Fprintf(&file, "10.0.%d.%d,%s,%s,Fast|Running|Valid,%040X\n", i/250, i%250, from.Format(time.RFC3339), from.AddDate(0, 0, 6).Format(time.RFC3339), i)
		}
	}
	b.SetBytes(int64(file.Len()))
	var relays *tor.Relays
	for b.Loop() {
		var errs []error
		if relays, errs = tor.Parse(strings.NewReader(file.String()), "x"); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
	if relays.Len() != 520_000 {
		b.Fatal(relays.Len())
	}
}
