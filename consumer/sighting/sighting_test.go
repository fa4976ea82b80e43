package sighting_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer/sighting"
)

func TestName(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + strings.Repeat("b", 61)
	for _, tt := range []struct{ text, want string }{
		{"pool.example", "pool.example"},
		{"POOL.Example.", "pool.example"},
		{"localhost", "localhost"},
		{"_stratum._tcp.pool.example", "_stratum._tcp.pool.example"},
		{"xn--4ca.example", "xn--4ca.example"},
		{"3.pool1.x9", "3.pool1.x9"},
		{longest, longest},
		{longest + ".", longest},
		{longest + "b", ""},
		{label + "a.example", ""},
		{"", ""},
		{".", ""},
		{"..", ""},
		{".example", ""},
		{"a..example", ""},
		{"example..", ""},
		{"198.51.100.1", ""},
		{"2001:db8::1", ""},
		{"-", ""},
		{"a b", ""},
		{"a,b", ""},
		{"a\nb", ""},
		{"a\x00b", ""},
		{"a/b", ""},
		{"*.example", ""},
		{"é.example", ""},
		{"a\xff.example", ""},
	} {
		var m sighting.Maker
		for range 2 {
			if got := m.Name([]byte(tt.text)); got != tt.want {
				t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
			}
		}
	}
}

func TestText(t *testing.T) {
	long := strings.Repeat("x", minecanary.MaxSightingText)
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"XMRig/6.21.0 (Linux)", "XMRig/6.21.0 (Linux)"},
		{"a\tb\r\nc\x00d\x7fe\u202ef\xff", "abcdef"},
		{long + "y", long},
		{strings.Repeat("ä", 500) + long + "y", long},
	} {
		var m sighting.Maker
		if got := m.Text([]byte(tt.text)); got != tt.want {
			t.Errorf("%q: %q", tt.text, got)
		}
		if got := m.Word([]byte(tt.text)); !strings.HasPrefix(tt.want, got) || len(got) < len(tt.want)-1 {
			t.Errorf("%q: %q", tt.text, got)
		}
	}
}

// TestDNS: each address under each name, once, in their order, and no more than the bounds.
func TestDNS(t *testing.T) {
	var m sighting.Maker
	for range 2 { // the second time nothing of the first is left
		m.Reset()
		m.Asked([]byte("Pool.example"))
		for _, answer := range []string{"cdn.example.", "POOL.example", "198.51.100.1", "::ffff:198.51.100.1", "2001:db8::1", "", "TXT 1 a", "a1.example"} {
			m.Answer([]byte(answer))
		}
		m.Address([]byte("198.51.100.2"))
		m.Address([]byte("x.example")) // no address
		if names, addrs := m.DNS(&minecanary.Sighting{Time: 7}); names != 3 || addrs != 3 {
			t.Fatalf("%d names, %d addresses", names, addrs)
		}
		var got []string
		for _, s := range m.List() {
			if s.Kind != minecanary.SightedDNS || s.Time != 7 || s.Server.Port != 0 {
				t.Errorf("%+v", s)
			}
			got = append(got, s.Name+" "+s.Server.Addr.String())
		}
		want := []string{
			"pool.example 198.51.100.1", "pool.example 2001:db8::1", "pool.example 198.51.100.2",
			"cdn.example 198.51.100.1", "cdn.example 2001:db8::1", "cdn.example 198.51.100.2",
			"a1.example 198.51.100.1", "a1.example 2001:db8::1", "a1.example 198.51.100.2",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	m.Reset()
	for i := range 100 {
		m.Asked([]byte{'a', '.', 'a' + byte(i%26)})
		m.Address(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).AppendTo(nil))
	}
	if m.DNS(&minecanary.Sighting{}); len(m.List()) != sighting.MaxNames*sighting.MaxAddrs {
		t.Errorf("%d sightings", len(m.List()))
	}
}

func TestTexts(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  []string
		ok    bool
	}{
		{`[]`, nil, true},
		{` [ "a" , "b\u0063\"" ] `, []string{"a", `bc"`}, true},
		{`"a,b,,"`, []string{"a", "b", "", ""}, true},
		{`""`, []string{""}, true},
		{`["a",1]`, []string{"a"}, false},
		{`["a"`, []string{"a"}, false},
		{`["a" "b"]`, []string{"a"}, false},
		{`[["a"]]`, nil, false},
		{`{}`, nil, false},
		{`1`, nil, false},
		{``, nil, false},
		{`"a`, nil, false},
		{`["a\x"]`, nil, false},
	} {
		var m sighting.Maker
		var got []string
		ok := m.Texts([]byte(tt.value), func(text []byte) { got = append(got, string(text)) })
		if ok != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.value, got, ok, tt.want, tt.ok)
		}
	}
}

// TestKindNames: each kind has a name of its own.
func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := minecanary.SightedMining; k <= minecanary.SightedRule; k++ {
		seen[sighting.KindName(k)] = true
	}
	if len(seen) != 4 || seen["other"] || sighting.KindName(99) != "other" {
		t.Errorf("%v", seen)
	}
}

// FuzzTexts holds Texts and Name to what encoding/json and the rules of names say.
func FuzzTexts(f *testing.F) {
	for _, s := range []string{`["pool.example","198.51.100.1"]`, `"a,b"`, `["\ud800",""]`, `[ ]`, `["a",]`, `[1]`, "null"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var m sighting.Maker
		var got []string
		ok := m.Texts(value, func(text []byte) { got = append(got, strings.ToValidUTF8(string(text), "\uFFFD")) })
		var list []json.RawMessage
		if json.Valid(value) && json.Unmarshal(value, &list) == nil && list != nil {
			var want []string
			wantOK := true
			for _, element := range list {
				var s *string
				if json.Unmarshal(element, &s) != nil || s == nil {
					wantOK = false
					break
				}
				want = append(want, strings.ToValidUTF8(*s, "\uFFFD"))
			}
			if ok != wantOK || ok && strings.Join(got, "\x00") != strings.Join(want, "\x00") {
				// Runs of bytes that are no UTF-8 become one sign or several.
				if ok != wantOK || !strings.Contains(strings.Join(want, ""), "\uFFFD") {
					t.Errorf("%q, %v; want %q, %v", got, ok, want, wantOK)
				}
			}
		}
		name := m.Name(value)
		if name == "" {
			return
		}
		if again := m.Name([]byte(name)); again != name || len(name) > minecanary.MaxName ||
			strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Errorf("%q, %q", name, again)
		}
		if _, err := netip.ParseAddr(name); err == nil {
			t.Errorf("%q is an address", name)
		}
	})
}
