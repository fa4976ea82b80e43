//go:build services && linux

package app

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minecanary/minecanary/internal/netns"
)

// Networks that may be asked.
var (
	good4 = netip.MustParsePrefix("8.8.0.0/16")
	good6 = netip.MustParsePrefix("2606:4700:4700::/112")
)

// TestFlippingNames has probe ask names whose answers flip between an address that may be asked and all those that may
// not, from one query to the next and within one answer. No packet goes to any of the latter.
func TestFlippingNames(t *testing.T) {
	if !netns.Inside(t) {
		return
	}
	accepted := netns.Listen(t, "3333")
	queries := flip(t)
	packets := netns.Watch(t)

	const names = 1500
	var list strings.Builder
	for i := range names {
		fmt.Fprintf(&list, "flip%d.example.net:3333\n", i)
	}
	var out, errs bytes.Buffer
	args := []string{"probe", "--json", "--timeout", "200ms", "--audit", t.TempDir() + "/audit.ndjson", "-"}
	if code := Main(t.Context(), args, strings.NewReader(list.String()), &out, &errs, func(string) string { return "" }); code != ExitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	blocked := strings.Count(out.String(), "the address is not public")
	t.Logf("%d names, %d queries, %d connections, %d names had none but addresses that are refused",
		names, queries.Load(), len(accepted()), blocked)
	if queries.Load() < names || blocked < names/10 || len(accepted()) == 0 {
		t.Error("the names did not flip")
	}
	for target, n := range packets.Sent() {
		if !good4.Contains(target.Addr()) && !good6.Contains(target.Addr()) && target.Port() != 53 && !nameServerReply(target) {
			t.Errorf("%d packets to %v", n, target)
		}
	}
	for _, to := range accepted() {
		if !good4.Contains(to.Addr()) && !good6.Contains(to.Addr()) {
			t.Errorf("a connection to %v", to)
		}
	}
}

// nameServerReply tells the answers of the name server, which go to whatever address asked it.
func nameServerReply(target netns.Target) bool { return target.Protocol == 17 && target.Port() > 1024 }

// flip answers every query to the system's name servers: with a good address, with a bad one, or with several of either in
// any order.
func flip(t *testing.T) (queries *atomic.Int64) {
	t.Helper()
	queries = new(atomic.Int64)
	var bad4, bad6 []netip.Addr
	for _, a := range netns.Denied() {
		if a.Is4() {
			bad4 = append(bad4, a)
		} else {
			bad6 = append(bad6, a)
		}
	}
	answer := func(query []byte) []byte {
		const header = 12
		end := bytes.IndexByte(query[min(header, len(query)):], 0)
		if len(query) < header || end < 0 || len(query) < header+end+5 {
			return nil
		}
		question := query[header : header+end+5]
		kind := binary.BigEndian.Uint16(question[end+1:])
		network, bad := good4, bad4
		if kind == 28 { // AAAA
			network, bad = good6, bad6
		}
		raw := network.Addr().AsSlice()
		binary.BigEndian.PutUint16(raw[len(raw)-2:], uint16(rand.Uint32()))
		good, _ := netip.AddrFromSlice(raw)
		var addrs []netip.Addr
		switch rand.IntN(4) {
		case 0:
			addrs = []netip.Addr{good}
		case 1, 2:
			addrs = []netip.Addr{bad[rand.IntN(len(bad))]}
		case 3:
			addrs = []netip.Addr{bad[rand.IntN(len(bad))], good, bad[rand.IntN(len(bad))]}
			rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		}
		out := append([]byte(nil), query[:2]...)
		out = append(out, 0x81, 0x80, 0, 1, 0, byte(len(addrs)), 0, 0, 0, 0)
		out = append(out, question...)
		for _, a := range addrs {
			raw := a.AsSlice()
			out = append(out, 0xc0, header)                  // the name of the question
			out = append(out, question[end+1:]...)           // type and class
			out = append(out, 0, 0, 0, 0, 0, byte(len(raw))) // it holds for no time at all
			out = append(out, raw...)
		}
		return out
	}
	for _, server := range nameServers(t) {
		l, err := net.ListenPacket("udp", net.JoinHostPort(server, "53"))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 1500)
			for {
				n, from, err := l.ReadFrom(buf)
				if err != nil {
					return
				}
				if reply := answer(buf[:n]); reply != nil {
					queries.Add(1)
					if _, err := l.WriteTo(reply, from); err != nil {
						return
					}
				}
			}
		}()
		t.Cleanup(func() {
			_ = l.Close()
			<-done
		})
	}
	return queries
}

// nameServers gives those of /etc/resolv.conf, or what the resolver takes without it.
func nameServers(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			out = append(out, f[1])
		}
	}
	if len(out) == 0 {
		out = []string{"127.0.0.1", "::1"}
	}
	return out
}
