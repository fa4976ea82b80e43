package minecanary

import (
	"net/netip"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"192.0.2.1:3333", "192.0.2.1:3333"},
		{"[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"[::ffff:192.0.2.1]:3333", "192.0.2.1:3333"},
		{"[fe80::1%eth0]:1", "[fe80::1]:1"},
		{"192.0.2.1:0", ""},
		{"192.0.2.1", ""},
		{"pool.example:3333", ""},
		{"192.0.2.1:65536", ""},
		{"", ""},
	} {
		t.Run(tt.in, func(t *testing.T) {
			ep, err := ParseEndpoint(tt.in)
			if (err != nil) != (tt.want == "") {
				t.Fatalf("error %v", err)
			}
			if err == nil && ep.String() != tt.want {
				t.Errorf("got %s, want %s", ep, tt.want)
			}
		})
	}
}

func TestEndpointText(t *testing.T) {
	for _, ep := range []Endpoint{
		{netip.MustParseAddr("192.0.2.1"), 3333, TCP},
		{netip.MustParseAddr("2001:db8::1"), 53, UDP},
	} {
		b, err := ep.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Endpoint
		if err := back.UnmarshalText(b); err != nil {
			t.Fatal(err)
		}
		if back != ep {
			t.Errorf("%s came back as %s", ep, back)
		}
	}
}

// FuzzParseEndpoint wants that whatever parses prints to something that parses to the same.
func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"192.0.2.1:3333", "[2001:db8::1]:443", "[::ffff:1.2.3.4%1]:1", "x:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ep, err := ParseEndpoint(s)
		if err != nil {
			return
		}
		back, err := ParseEndpoint(ep.String())
		if err != nil || back != ep {
			t.Errorf("%q: %s came back as %s, %v", s, ep, back, err)
		}
	})
}
