package resolver

import (
	"errors"
	"strings"
	"testing"
)

func TestNormalise(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	full := strings.Repeat(long+".", 3) + strings.Repeat("a", maxName-3*(maxLabel+1))
	for _, tt := range []struct{ in, want string }{
		{"pool.example", "pool.example"},
		{"Pool.EXAMPLE.", "pool.example"},
		{"eu1-a.pool_x.example", "eu1-a.pool_x.example"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"pool。example", "pool.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"1.2.3.4.example", "1.2.3.4.example"},
		{long + ".example", long + ".example"},
		{full, full},
		{full + ".", full},
		{full + "a", ""},
		{long + "a.example", ""},
		{strings.Repeat("ü", maxRawName), ""},
		{"", ""},
		{".", ""},
		{"pool", ""},
		{"pool..example", ""},
		{".pool.example", ""},
		{"pool.example..", ""},
		{"-pool.example", ""},
		{"pool-.example", ""},
		{"po ol.example", ""},
		{"pool.example\n", ""},
		{"pool.example\x00", ""},
		{"pool\\.example", ""},
		{"*.pool.example", ""},
		{"pool.example:3333", ""},
		{"a\u202eb.example", ""},
		{"192.0.2.1", ""},
		{"192.0.2.1.", ""},
		{"2001:db8::1", ""},
		{"[2001:db8::1]", ""},
		{"127.1", ""},
		{"pool.0x7f", ""},
		{"0x7f.0.0.0x1", ""},
		{"１２７.0.0.1", ""},
		{"localhost", ""},
		{"a.localhost", ""},
		{"printer.local", ""},
		{"abc.onion", ""},
		{"ABC.Onion.", ""},
		{"1.2.0.192.in-addr.arpa", ""},
		{"x.invalid", ""},
		{"x.alt", ""},
	} {
		got, err := Normalise(tt.in)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%.40q: got %q, %v; want %q", tt.in, got, err, tt.want)
		}
		if err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%.40q: error %v", tt.in, err)
		}
	}
}

// FuzzNormalise wants that what comes out is a host name, and its own spelling.
func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"pool.example", "Bücher.example.", "127.0.0.1", "a.onion", "..", "xn--a.example", "pool。example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := Normalise(s)
		if err != nil {
			return
		}
		if !isHost(host) || !strings.Contains(host, ".") {
			t.Errorf("%q became %q", s, host)
		}
		if again, err := Normalise(host + "."); again != host || err != nil {
			t.Errorf("%q became %q, and that %q, %v", s, host, again, err)
		}
		if zone := zoneOf(host); zone != host && !strings.HasSuffix(host, "."+zone) {
			t.Errorf("%q is said to be in %q", host, zone)
		}
	})
}
