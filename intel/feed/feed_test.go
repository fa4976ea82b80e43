package feed_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
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

var verified = time.Date(2026, 11, 21, 4, 5, 6, 0, time.UTC)

func endpoint(tb testing.TB, s string) minecanary.Endpoint {
	tb.Helper()
	var ep minecanary.Endpoint
	if err := ep.UnmarshalText([]byte(s)); err != nil {
		tb.Fatal(err)
	}
	return ep
}

func write(tb testing.TB, format feed.Format, entries ...feed.Entry) string {
	tb.Helper()
	var b bytes.Buffer
	if err := feed.Write(&b, format, entries); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	entries := []feed.Entry{
		{Endpoint: endpoint(t, "[2001:db8::5]:443"), Dialect: "stratum-v1", TLS: true, Verified: verified},
		{Endpoint: endpoint(t, "198.51.100.10:14444"), Coin: "monero", Dialect: "cryptonote", Verified: verified.Add(time.Hour), Reason: "answered login with a job"},
		{Endpoint: endpoint(t, "198.51.100.10:3333"), Coin: "bitcoin-family", Dialect: "stratum-v1", Verified: verified, URL: "https://kibana.example/r/1"},
		// The older of two entries of one endpoint is left out.
		{Endpoint: endpoint(t, "198.51.100.10:3333"), Coin: "zcash", Dialect: "zcash", Verified: verified.Add(-time.Hour)},
	}
	tests := []struct {
		format feed.Format
		want   string
	}{
		{feed.ZeekPools, "#fields\thost\tp\tcoin\tprotocol\tverified\turl\n" +
			"198.51.100.10\t3333/tcp\tbitcoin-family\tstratum-v1\t1795233906.0\thttps://kibana.example/r/1\n" +
			"198.51.100.10\t14444/tcp\tmonero\tcryptonote\t1795237506.0\t-\n" +
			"2001:db8::5\t443/tcp\tunknown\tstratum-v1\t1795233906.0\t-\n"},
		{feed.ZeekIntel, "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\tmeta.url\tmeta.do_notice\tmeta.pool_ports\tmeta.pool_coin\n" +
			"198.51.100.10\tIntel::ADDR\tminecanary\tMining pool (bitcoin-family,monero), answered on 3333/tcp, 14444/tcp, " +
			"last probe 2026-11-21T05:05:06Z: answered login with a job\t-\tT\t3333,14444\tbitcoin-family,monero\n" +
			"2001:db8::5\tIntel::ADDR\tminecanary\tMining pool, answered on 443/tcp with TLS, last probe 2026-11-21T04:05:06Z\t-\tT\t443\t-\n"},
	}
	for _, tt := range tests {
		t.Run(string(tt.format), func(t *testing.T) {
			if diff := cmp.Diff(tt.want, write(t, tt.format, entries...)); diff != "" {
				t.Error(diff)
			}
			reversed := slices.Clone(entries)
			slices.Reverse(reversed)
			if diff := cmp.Diff(tt.want, write(t, tt.format, reversed...)); diff != "" {
				t.Errorf("the order of the entries shows: %s", diff)
			}
		})
	}
}

func TestWriteFields(t *testing.T) {
	ep := endpoint(t, "198.51.100.10:3333")
	tests := []struct {
		name, in, want string
	}{
		{"plain", "monero", "monero"},
		{"empty", "", "unknown"},
		{"unset", "-", "unknown"},
		{"unset after cleaning", "\t-\n", "unknown"},
		{"literal empty", "(empty)", "unknown"},
		{"only controls", "\r\n\t", "unknown"},
		{"tab", "a\tb", "a b"},
		{"newline and an indicator", "x\n8.8.8.8\tIntel::ADDR", "x 8.8.8.8 Intel::ADDR"},
		{"mid-file header", "\n#fields\t8.8.8.8", "#fields 8.8.8.8"},
		{"backslash", `\x0a`, `\x5cx0a`},
		{"two backslashes", `\\x41`, `\x5c\x5cx41`},
		{"control and beyond ASCII", "a\x00b\x7fc\u202ed\xff", "a?b?c?d?"},
		{"long", strings.Repeat("m", 300), strings.Repeat("m", 256)},
		{"no half escape", strings.Repeat("m", 254) + `\tail`, strings.Repeat("m", 254)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := write(t, feed.ZeekPools, feed.Entry{Endpoint: ep, Coin: tt.in, Dialect: tt.in, Verified: verified})
			want := "#fields\thost\tp\tcoin\tprotocol\tverified\turl\n198.51.100.10\t3333/tcp\t" + tt.want + "\t" + tt.want + "\t1795233906.0\t-\n"
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWriteURLOnlyWhole(t *testing.T) {
	for _, url := range []string{"https://x.example/\n", "https://x.example/" + strings.Repeat("a", 256), `https://x.example/\x41`} {
		rows, err := zeekRead(write(t, feed.ZeekPools, feed.Entry{Endpoint: endpoint(t, "198.51.100.10:3333"), URL: url}))
		if err != nil {
			t.Fatal(err)
		}
		if got, there := rows[0]["url"]; there {
			t.Errorf("%q became %q, want none", url, got)
		}
	}
}

func TestWriteManyPorts(t *testing.T) {
	var entries []feed.Entry
	for port := range uint16(100) {
		entries = append(entries, feed.Entry{
			Endpoint: minecanary.NewEndpoint(netip.MustParseAddr("198.51.100.10"), 65000+port, minecanary.TCP),
			Coin:     "coin-" + strconv.Itoa(int(port)), Verified: verified,
		})
	}
	rows, err := intelOf(write(t, feed.ZeekIntel, entries...))
	if err != nil {
		t.Fatal(err)
	}
	row := rows[netip.MustParseAddr("198.51.100.10")]
	ports := strings.Split(row["meta.pool_ports"], ",")
	if len(ports) != feed.MaxPorts || ports[0] != "65000" || ports[feed.MaxPorts-1] != "65039" {
		t.Errorf("ports are %q", ports)
	}
	pools, err := poolsOf(write(t, feed.ZeekPools, entries...))
	if err != nil {
		t.Fatal(err)
	}
	if len(pools) != 100 {
		t.Errorf("the pools file has %d endpoints, want 100", len(pools))
	}
}

func TestWriteRefuses(t *testing.T) {
	good := endpoint(t, "198.51.100.10:3333")
	tests := []struct {
		name   string
		format feed.Format
		ep     minecanary.Endpoint
	}{
		{"no address", feed.ZeekIntel, minecanary.Endpoint{Port: 1, Transport: minecanary.TCP}},
		{"no port", feed.ZeekPools, minecanary.NewEndpoint(good.Addr, 0, minecanary.TCP)},
		{"icmp", feed.ZeekPools, minecanary.NewEndpoint(good.Addr, 1, minecanary.ICMP)},
		{"unknown format", "xls", good},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := feed.Write(&b, tt.format, []feed.Entry{{Endpoint: good}, {Endpoint: tt.ep}}); err == nil {
				t.Error("no error")
			}
			if b.Len() != 0 {
				t.Errorf("wrote %q", b.String())
			}
		})
	}
	if err := feed.Write(failing{}, feed.ZeekPools, nil); !errors.Is(err, errDisk) {
		t.Errorf("error of the writer is %v", err)
	}
}

var errDisk = errors.New("disk")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errDisk }

// checkRoundTrip writes the entries in both forms and reads them as Zeek does.
func checkRoundTrip(entries []feed.Entry) error {
	want := map[minecanary.Endpoint]bool{}
	byAddr := map[netip.Addr]map[uint16]bool{}
	for _, e := range entries {
		want[e.Endpoint] = true
		if byAddr[e.Endpoint.Addr] == nil {
			byAddr[e.Endpoint.Addr] = map[uint16]bool{}
		}
		byAddr[e.Endpoint.Addr][e.Endpoint.Port] = true
	}
	var b bytes.Buffer
	if err := feed.Write(&b, feed.ZeekPools, entries); err != nil {
		return err
	}
	pools, err := poolsOf(b.String())
	if err != nil {
		return fmt.Errorf("pools: %w in %q", err, b.String())
	}
	if len(pools) != len(want) {
		return fmt.Errorf("%d lines for %d endpoints: %q", len(pools), len(want), b.String())
	}
	for ep := range pools {
		if !want[ep] {
			return fmt.Errorf("%s came from nowhere", ep)
		}
	}

	b.Reset()
	if err := feed.Write(&b, feed.ZeekIntel, entries); err != nil {
		return err
	}
	intel, err := intelOf(b.String())
	if err != nil {
		return fmt.Errorf("intel: %w in %q", err, b.String())
	}
	if len(intel) != len(byAddr) {
		return fmt.Errorf("%d lines for %d addresses: %q", len(intel), len(byAddr), b.String())
	}
	for addr, row := range intel {
		ports := strings.Split(row["meta.pool_ports"], ",")
		if len(ports) != min(len(byAddr[addr]), feed.MaxPorts) {
			return fmt.Errorf("%s has ports %q, want %v", addr, ports, byAddr[addr])
		}
		for _, p := range ports {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || !byAddr[addr][uint16(n)] {
				return fmt.Errorf("%s has port %q", addr, p)
			}
		}
	}
	if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\t' && r != '\n' && (r < 0x20 || r > 0x7e) }) {
		return fmt.Errorf("a byte that is not printable: %q", b.String())
	}
	return nil
}

func TestWriteRoundTrip(t *testing.T) {
	hostile := rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.SampledFrom([]rune("\t\n\r\\x09-#(empty)fields "))),
		rapid.SampledFrom([]string{"-", "(empty)", "", "\n#fields\t1.2.3.4", "\n1.2.3.4\tIntel::ADDR\tx", `\x0a`, "\n-\n"}),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
	entry := rapid.Custom(func(t *rapid.T) feed.Entry {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "v4") {
			addr = netip.AddrFrom4([4]byte{198, 51, 100, rapid.ByteRange(0, 3).Draw(t, "host")})
		} else {
			addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")))
		}
		return feed.Entry{
			Endpoint: minecanary.NewEndpoint(addr, rapid.Uint16Min(1).Draw(t, "port"), minecanary.TCP),
			Coin:     hostile.Draw(t, "coin"),
			Dialect:  hostile.Draw(t, "dialect"),
			Reason:   hostile.Draw(t, "reason"),
			URL:      hostile.Draw(t, "url"),
			TLS:      rapid.Bool().Draw(t, "tls"),
			Verified: time.Unix(rapid.Int64Range(-1e10, 1e11).Draw(t, "verified"), 0),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		if err := checkRoundTrip(rapid.SliceOfN(entry, 0, 60).Draw(t, "entries")); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzWrite(f *testing.F) {
	f.Add([]byte{198, 51, 100, 10}, uint16(3333), "monero", "cryptonote", "answered", "https://x.example/")
	f.Add([]byte{198, 51, 100, 10}, uint16(1), "-", "(empty)", "\n#fields\t8.8.8.8", "\t")
	f.Add(make([]byte, 16), uint16(65535), `\x0a8.8.8.8`, "\x00\xff", strings.Repeat(`\`, 400), "#")
	f.Fuzz(func(t *testing.T, address []byte, port uint16, coin, dialect, reason, url string) {
		addr, ok := netip.AddrFromSlice(address)
		if !ok || port == 0 {
			t.Skip()
		}
		e := feed.Entry{
			Endpoint: minecanary.NewEndpoint(addr, port, minecanary.TCP),
			Coin:     coin, Dialect: dialect, Reason: reason, URL: url, Verified: verified,
		}
		other := feed.Entry{Endpoint: minecanary.NewEndpoint(addr, port%65535+1, minecanary.TCP), Coin: dialect, Dialect: coin}
		if err := checkRoundTrip([]feed.Entry{e, other}); err != nil {
			t.Fatal(err)
		}
	})
}
