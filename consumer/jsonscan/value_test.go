package jsonscan

import (
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestLine(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"a", "a"},
		{"a\r", "a"},
		{"a\r\r", "a\r"},
		{"\r", ""},
		{"\xEF\xBB\xBFa\r", "a"},
		{"\xEF\xBBa", "\xEF\xBBa"},
		{"a\xEF\xBB\xBF", "a\xEF\xBB\xBF"},
	} {
		if got := string(Line([]byte(tc.in))); got != tc.want {
			t.Errorf("Line(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestHexByte(t *testing.T) {
	for n := range 256 {
		for _, format := range []string{"%02x", "%02X"} {
			if got, ok := HexByte(fmt.Appendf(nil, format, n)); !ok || int(got) != n {
				t.Errorf("HexByte of %d: %d, %v", n, got, ok)
			}
		}
	}
	for _, in := range []string{"", "1", "123", "0x", "g0", "0g"} {
		if got, ok := HexByte([]byte(in)); ok {
			t.Errorf("HexByte(%q) = %d", in, got)
		}
	}
}

func TestUint(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want uint64
		end  int
	}{
		{"0", 0, 1},
		{"0,", 0, 1},
		{"7}", 7, 1},
		{"1234567", 1234567, 7},
		{"1234567,        ", 1234567, 7},
		{"12345678", 12345678, 8},
		{"123456789,      ", 123456789, 9},
		{"999999999999999", 999999999999999, 15},
		{"1000000000000000", 0, fail},
		{"", 0, fail},
		{"x2345678", 0, fail},
		{"-1", 0, fail},
		{"01", 0, fail},
		{"01,      ", 0, fail},
		{"0123456789", 0, fail},
		{"1:345678", 1, 1}, // the characters beside the digits in ASCII
		{"1/345678", 1, 1},
		{"1\x003456789", 1, 1},
		{"1\xff3456789", 1, 1},
		{"12\xb73456789", 12, 2},
	} {
		if got, end := Uint([]byte(tc.in), 0); got != tc.want || end != tc.end {
			t.Errorf("Uint(%q) = %d, %d, want %d, %d", tc.in, got, end, tc.want, tc.end)
		}
	}
}

// TestMicros compares Micros with Scaled, and Scaled with math/big.
func TestMicros(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`(0|[1-9][0-9]{0,11})(\.[0-9]{1,18})?`).Draw(t, "number")
		tail := rapid.SampledFrom([]string{"", ",", `,"uid":"x"`}).Draw(t, "tail")
		want, _, r := Scaled([]byte(number), 6)
		if r != InRange {
			t.Fatalf("Scaled(%s): range %d", number, r)
		}
		got, end := Micros([]byte(number+tail), 0)
		if whole, _, _ := strings.Cut(number, "."); len(whole) > maxSecondDigits {
			if end >= 0 {
				t.Fatalf("Micros(%s) = %d", number, got)
			}
			return
		}
		if got != want || end != len(number) {
			t.Fatalf("Micros(%s) = %d, %d, want %d, %d", number, got, end, want, len(number))
		}
	})
	for _, in := range []string{"", "x", "-1", ".5", "1.", "1.x", "01.5", "12345678901"} {
		if got, end := Micros([]byte(in), 0); end >= 0 {
			t.Errorf("Micros(%q) = %d", in, got)
		}
	}
}

func TestScaled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?`).Draw(t, "number")
		shift := rapid.SampledFrom([]int{0, 3, 6}).Draw(t, "shift")
		exact, ok := new(big.Rat).SetString(number)
		if !ok {
			t.Fatalf("%s is no number", number)
		}
		exact.Mul(exact, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(shift)), nil)))
		rounded := new(big.Rat).Add(exact, big.NewRat(1, 2))
		want := new(big.Int).Div(rounded.Num(), rounded.Denom())
		got, whole, r := Scaled([]byte(number), shift)
		switch {
		case exact.Sign() < 0:
			if r != Negative {
				t.Fatalf("%s: range %d, want Negative", number, r)
			}
		case !want.IsInt64():
			if r != TooLarge {
				t.Fatalf("%s: range %d, want TooLarge", number, r)
			}
		case r != InRange || got != want.Int64() || whole != exact.IsInt():
			t.Fatalf("Scaled(%s, %d) = %d, %v, %d, want %d, %v", number, shift, got, whole, r, want, exact.IsInt())
		}
	})
	for _, tc := range []struct {
		in   string
		want Range
	}{
		{"1e999999999999999999999", TooLarge},
		{"1e-999999999999999999999", InRange},
		{"0e999999999999999999999", InRange},
		{"-1e999999999999999999999", Negative},
	} {
		if got, _, r := Scaled([]byte(tc.in), 6); r != tc.want || got != 0 {
			t.Errorf("Scaled(%s) = %d, %d", tc.in, got, r)
		}
	}
}

// TestNumber compares the grammar with encoding/json's.
func TestNumber(t *testing.T) {
	for _, in := range []string{"0", "-0", "10", "-1.5", "1e5", "1E+5", "1.25e-5", "123456789012345678901234567890"} {
		if end := Number([]byte(in+","), 0); end != len(in) {
			t.Errorf("Number(%q) = %d", in, end)
		}
	}
	for _, in := range []string{"", "-", ".5", "1.", "1.e5", "1e", "1e+", "+1", "nan", "e5"} {
		if end := Number([]byte(in), 0); end == len(in) {
			t.Errorf("Number(%q) = %d", in, end)
		}
	}
}

// TestDate goes through all days Date knows, and compares with package time.
func TestDate(t *testing.T) {
	for day := time.Date(1970, 1, 1, 23, 59, 58, 999_999_000, time.UTC); day.Year() < 2106; day = day.AddDate(0, 0, 1) {
		for _, layout := range dateLayouts {
			text := day.Format(layout)
			if got, ok := Date([]byte(text)); !ok || got != day.UnixMicro() {
				t.Fatalf("Date(%s) = %d, %v, want %d", text, got, ok, day.UnixMicro())
			}
		}
	}
	for _, in := range []string{
		"", "2023-11-14", "2023-11-14T22:13:20", "2023-11-14 22:13:20Z", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20z",
		"2023-11-14T22:13:60Z", "2023-11-14T22:60:00Z", "2023-11-14T24:00:00Z", "2023-00-14T22:13:20Z", "2023-13-14T22:13:20Z",
		"2023-11-00T22:13:20Z", "2023-11-31T22:13:20Z", "2023-02-29T22:13:20Z", "2100-02-29T22:13:20Z",
		"1969-12-31T23:59:59Z", "1970-01-01T00:00:00+0001", "2023-11-14T22:13:20+01", "2023-11-14T22:13:20+24:00",
		"2023-11-14T22:13:20+01:60", "2023-11-14T22:13:20~0100", "2023-11-14T22:13:20ZZ", "+023-11-14T22:13:20Z",
	} {
		if got, ok := Date([]byte(in)); ok {
			t.Errorf("Date(%q) = %d", in, got)
		}
	}
}

// TestDateAgainstTime draws times near the borders: Date takes what package time takes, for the same. (Package time also
// takes zones of 24 hours.)
func TestDateAgainstTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`(1970|2000|20[0-9][0-9]|210[0-5])-(0[0-9]|1[0-3])-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,12})?(Z|[-+]([01][0-9]|2[0-3]):?[0-5][0-9])`).Draw(t, "date")
		got, ok := Date([]byte(in))
		want, wantOK := AnyDate(in)
		if ok && (!wantOK || got != want) {
			t.Fatalf("Date(%s) = %d, AnyDate %d, %v", in, got, want, wantOK)
		}
		if !ok && wantOK && want >= 0 {
			t.Fatalf("Date does not take %s", in)
		}
	})
}

func TestAddr(t *testing.T) {
	for _, tc := range []struct {
		in, want string
		slow     bool
	}{
		{in: "0.0.0.0", want: "0.0.0.0"},
		{in: "1.2.3.4", want: "1.2.3.4"},
		{in: "10.2.3.4", want: "10.2.3.4"},
		{in: "255.255.255.255", want: "255.255.255.255"},
		{in: "203.0.113.15", want: "203.0.113.15"},
		{in: "::", want: "::"},
		{in: "::1", want: "::1"},
		{in: "1::", want: "1::"},
		{in: "fe80::1", want: "fe80::1"},
		{in: "2001:db8:1:2:3:4:5:6", want: "2001:db8:1:2:3:4:5:6"},
		{in: "2001:0DB8:0000:0000:0000:0000:0000:0001", want: "2001:db8::1"},
		{in: "1:2:3:4:5:6:7::", want: "1:2:3:4:5:6:7:0"},
		{in: "::ffff:102:304", want: "1.2.3.4"},
		{in: "::ffff:1.2.3.4", want: "1.2.3.4", slow: true},
		{in: "fe80::1%eth0", want: "fe80::1", slow: true},
	} {
		got, ok := Addr([]byte(tc.in))
		if !ok || got != netip.MustParseAddr(tc.want) {
			t.Errorf("Addr(%s) = %v, %v", tc.in, got, ok)
		}
		if _, ok := fastAddr([]byte(tc.in)); ok == tc.slow {
			t.Errorf("fastAddr(%s): %v", tc.in, ok)
		}
	}
	for _, in := range []string{
		"", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.1.1.256", "01.2.3.4", "1.2.3.04", "1.2.3.", ".1.2.3.4", "1..2.3.4", "1.2.3.4 ",
		"a.b.c.d", "1.2.3.4:5", "1000.1.1.1", "1.2.3.4444", "1/2/3/4", "1.2.3.:", ":", ":::", "1:2", "1::2::3", "12345::", "g::",
		"1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", ":1:2:3:4:5:6:7", "1:", "[::1]", "example.com",
	} {
		if got, ok := Addr([]byte(in)); ok {
			t.Errorf("Addr(%q) = %v", in, got)
		}
	}
}

// TestAddrAgainstNetip compares with package netip on all sorts of near misses.
func TestAddrAgainstNetip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(
			rapid.StringMatching(`[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}`),
			rapid.StringMatching(`[0-9.:/]{5,16}`),
			rapid.StringMatching(`([0-9a-fA-F]{0,5}:){1,8}[0-9a-f]{0,4}`),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) string { return netip.AddrFrom4([4]byte(b)).String() }),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) string { return netip.AddrFrom16([16]byte(b)).String() }),
		).Draw(t, "address")
		want, err := netip.ParseAddr(in)
		got, ok := fastAddr([]byte(in))
		if ok && (err != nil || got != want.Unmap()) {
			t.Fatalf("fastAddr(%q) = %v, netip: %v, %v", in, got, want, err)
		}
		mixed := strings.Contains(in, ":") && strings.Contains(in, ".")
		if !ok && err == nil && !mixed {
			t.Fatalf("fastAddr does not take %q", in)
		}
	})
}

func TestInterner(t *testing.T) {
	var n Interner
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"s1", "s1"},
		{"s2", "s2"},
		{"s1", "s1"},
		{"a\xffb", "a\uFFFDb"},
		{strings.Repeat("ä", 200), strings.Repeat("ä", 127)},
		{strings.Repeat("\xff", 200), "\uFFFD"},
	} {
		for range 2 {
			if got := n.Intern([]byte(tc.in)); got != tc.want || !utf8.ValidString(got) || len(got) > MaxInternedLen {
				t.Errorf("Intern(%q) = %q", tc.in, got)
			}
		}
	}
	a, b := []byte("sensor-a"), []byte("sensor-b")
	n.Intern(a)
	n.Intern(b)
	if got := testing.AllocsPerRun(100, func() { n.Intern(a); n.Intern(b) }); got != 0 {
		t.Errorf("%v allocations for known strings", got)
	}
	for i := range 3 * MaxInterned {
		if s := fmt.Sprint("name", i); n.Intern([]byte(s)) != s {
			t.Fatalf("Intern(%s)", s)
		}
		if len(n.known) > MaxInterned {
			t.Fatalf("%d strings are kept", len(n.known))
		}
	}
}
