package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/minecanary/minecanary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	addrsEqual = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	noServer   = cmpopts.IgnoreFields(Answer{}, "Server", "At")
)

// theZone has a name for each thing that can be in an answer.
func theZone() zone {
	z := zone{
		"both.pool.example.":  {"both.pool.example. 300 A 192.0.2.2", "both.pool.example. 200 A 192.0.2.1", "both.pool.example. 400 AAAA 2001:db8::1"},
		"four.pool.example.":  {"four.pool.example. 300 A 192.0.2.1", "four.pool.example. 60 SOA a. b. 1 1 1 1 50"},
		"twice.pool.example.": {"twice.pool.example. 300 A 192.0.2.1", "twice.pool.example. 300 A 192.0.2.1", "twice.pool.example. 300 AAAA ::ffff:192.0.2.1"},
		"empty.pool.example.": {"empty.pool.example. 7200 SOA a. b. 1 1 1 1 90"},
		"chain.pool.example.": {"chain.pool.example. 100 CNAME Eu_1.pool.example."},
		"eu_1.pool.example.":  {"eu_1.pool.example. 50 CNAME both.pool.example."},
		"self.pool.example.":  {"self.pool.example. 300 CNAME self.pool.example."},
		"ring.pool.example.":  {"ring.pool.example. 300 CNAME ring2.pool.example."},
		"ring2.pool.example.": {"ring2.pool.example. 300 CNAME ring3.pool.example."},
		"ring3.pool.example.": {"ring3.pool.example. 300 CNAME ring2.pool.example."},
		"odd.pool.example.":   {`odd.pool.example. 300 CNAME e\027vil\ x.example.`, "odd.pool.example. 300 A 192.0.2.1"},
		"root.pool.example.":  {`root.pool.example. 300 CNAME .`},
		"lost.pool.example.":  {"lost.pool.example. 300 CNAME gone.pool.example."},
		"brief.pool.example.": {"brief.pool.example. 0 A 192.0.2.1"},
		"ages.pool.example.":  {"ages.pool.example. 31536000 A 192.0.2.1"},
		"minus.pool.example.": {"minus.pool.example. 4294967295 A 192.0.2.1"},
		"local.pool.example.": {"local.pool.example. 300 CNAME printer.local."},
		"back.pool.example.":  {"back.pool.example. 300 A 10.0.0.1", "back.pool.example. 300 A 127.0.0.1", "back.pool.example. 300 AAAA fd00::1"},
		// A zone may hold names that nobody reaches from the one asked for.
		"xn--bcher-kva.example.": {"xn--bcher-kva.example. 300 A 192.0.2.1"},
	}
	for i := range 17 {
		z[fmt.Sprintf("long%d.pool.example.", i)] = []string{fmt.Sprintf("long%d.pool.example. 300 CNAME long%d.pool.example.", i, i+1)}
	}
	z["long17.pool.example."] = []string{"long17.pool.example. 300 A 192.0.2.1"}
	for i := range 500 {
		z["many.pool.example."] = append(z["many.pool.example."],
			fmt.Sprintf("many.pool.example. 300 A 192.0.%d.%d", 2+i%2, i/2), fmt.Sprintf("many.pool.example. 300 AAAA 2001:db8::%x", i))
		z["many4.pool.example."] = append(z["many4.pool.example."],
			fmt.Sprintf("many4.pool.example. 300 A 192.0.%d.%d", 2+i%4, i/2), fmt.Sprintf("many4.pool.example. 300 A 198.51.%d.%d", i%4, i/2))
	}
	z["many4.pool.example."] = append(z["many4.pool.example."], "many4.pool.example. 300 AAAA 2001:db8::1")
	return z
}

func TestAnswers(t *testing.T) {
	h := &counted{Handler: theZone()}
	r := newResolver(t, Config{Servers: []string{serve(t, "127.0.0.1", h)}})
	sixteen := make([]string, MaxChain)
	for i := range sixteen {
		sixteen[i] = fmt.Sprintf("long%d.pool.example", i+1)
	}
	for _, tt := range []struct {
		name string
		want Answer
	}{
		{"both.pool.example", Answer{Code: NoError, Addrs: addrs("192.0.2.1", "192.0.2.2", "2001:db8::1"), TTL: 200 * time.Second}},
		{"four.pool.example", Answer{Code: NoError, Addrs: addrs("192.0.2.1"), TTL: 50 * time.Second}},
		{"twice.pool.example", Answer{Code: NoError, Addrs: addrs("192.0.2.1"), TTL: 300 * time.Second}},
		{"empty.pool.example", Answer{Code: NoError, TTL: 90 * time.Second}},
		{"absent.pool.example", Answer{Code: NXDomain, TTL: MinTTL}},
		{"chain.pool.example", Answer{
			Code: NoError, Chain: []string{"eu_1.pool.example", "both.pool.example"},
			Addrs: addrs("192.0.2.1", "192.0.2.2", "2001:db8::1"), TTL: 50 * time.Second,
		}},
		{"self.pool.example", Answer{Code: NoError, TTL: 300 * time.Second, Loop: true}},
		{"ring.pool.example", Answer{Code: NoError, Chain: []string{"ring2.pool.example", "ring3.pool.example"}, TTL: 300 * time.Second, Loop: true}},
		{"long0.pool.example", Answer{Code: NoError, Chain: sixteen, TTL: 300 * time.Second, Loop: true}},
		{"long1.pool.example", Answer{
			Code: NoError, Chain: append(slices.Clone(sixteen[1:]), "long17.pool.example"),
			Addrs: addrs("192.0.2.1"), TTL: MinTTL,
		}},
		{"odd.pool.example", Answer{Code: Failed, TTL: MinTTL}},
		{"root.pool.example", Answer{Code: Failed, TTL: MinTTL}},
		{"lost.pool.example", Answer{Code: NXDomain, Chain: []string{"gone.pool.example"}, TTL: MinTTL}},
		{"brief.pool.example", Answer{Code: NoError, Addrs: addrs("192.0.2.1"), TTL: MinTTL}},
		{"local.pool.example", Answer{Code: NXDomain, Chain: []string{"printer.local"}, TTL: MinTTL}},
		{"Bücher.example.", Answer{Code: NoError, Addrs: addrs("192.0.2.1"), TTL: MinTTL}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := r.Resolve(t.Context(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Name, _ = Normalise(tt.name)
			if diff := cmp.Diff(tt.want, got, addrsEqual, noServer, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if time.Since(got.At) > time.Minute || got.Server == "" {
				t.Errorf("at %s from %q", got.At, got.Server)
			}
		})
	}
	if n := h.tcp.Load(); n != 0 {
		t.Errorf("%d questions by TCP", n)
	}
}

// TestTTLBounds wants that the longest TTL is MaxTTL, and that one with the highest bit set is none.
func TestTTLBounds(t *testing.T) {
	for ttl, want := range map[uint32]time.Duration{
		0: MinTTL, 29: MinTTL, 31: 31 * time.Second, 86400: MaxTTL, 86401: MaxTTL, 1<<31 - 1: MaxTTL, 1 << 31: MinTTL, 1<<32 - 1: MinTTL,
	} {
		a, aaaa := &walk{code: NoError}, &walk{code: NoError}
		a.lower(ttl)
		if got := merge("pool.example", a, aaaa).TTL; got != want {
			t.Errorf("TTL %d: %s, want %s", ttl, got, want)
		}
	}
}

// TestThousandRecords wants TCP after truncation, and MaxAddrs addresses of both families, whatever their order.
func TestThousandRecords(t *testing.T) {
	h := &counted{Handler: theZone()}
	r := newResolver(t, Config{Servers: []string{serve(t, "127.0.0.1", h)}})
	for name, want := range map[string][2]int{"many.pool.example": {32, 32}, "many4.pool.example": {63, 1}} {
		a, err := r.Resolve(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		four := slices.IndexFunc(a.Addrs, netip.Addr.Is6)
		if len(a.Addrs) != MaxAddrs || four != want[0] || !a.Capped || !slices.IsSortedFunc(a.Addrs, netip.Addr.Compare) {
			t.Errorf("%s: %d addresses, %d of IPv4, capped %v: %s", name, len(a.Addrs), four, a.Capped, a.Addrs)
		}
	}
	if udp, tcp := h.udp.Load(), h.tcp.Load(); udp != 4 || tcp != 3 {
		t.Errorf("%d questions by UDP and %d by TCP, want 4 and 3", udp, tcp)
	}
	a, four := addrs("192.0.2.3", "192.0.2.1", "192.0.2.2"), addrs("192.0.2.1", "192.0.2.2", "192.0.2.3")
	if got, capped := capAddrs(a, nil); capped || !slices.Equal(got, four) {
		t.Errorf("got %s, capped %v", got, capped)
	}
}

// TestChainFollowed has a server that gives one link at a time, as one does that is not asked to follow.
func TestChainFollowed(t *testing.T) {
	z := theZone()
	h := &counted{Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		for _, text := range z[q.Question[0].Name] {
			if rr, err := dns.NewRR(text); err == nil && (rr.Header().Rrtype == dns.TypeCNAME || rr.Header().Rrtype == q.Question[0].Qtype) {
				m.Answer = append(m.Answer, rr)
			}
		}
		// What nobody asked about must not count.
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "bank.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(192, 0, 2, 66)})
		m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(192, 0, 2, 66)})
		_ = w.WriteMsg(m)
	})}
	r := newResolver(t, Config{Servers: []string{serve(t, "127.0.0.1", h)}})
	for _, tt := range []struct {
		name  string
		links int
		addrs int
		loop  bool
		asked int32
	}{
		{"chain.pool.example", 2, 3, false, 6},
		{"long0.pool.example", MaxChain, 0, true, 34},
		{"long1.pool.example", MaxChain, 1, false, 34},
		{"ring.pool.example", 2, 0, true, 6},
		{"local.pool.example", 1, 0, false, 2},
		{"empty.pool.example", 0, 0, false, 2},
	} {
		h.udp.Store(0)
		a, err := r.Resolve(t.Context(), tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Chain) != tt.links || len(a.Addrs) != tt.addrs || a.Loop != tt.loop || a.Code != NoError || h.udp.Load() != tt.asked {
			t.Errorf("%s: %+v after %d questions", tt.name, a, h.udp.Load())
		}
	}
}

// TestFailures has servers that fail in each way, alone and before one that does not.
func TestFailures(t *testing.T) {
	good := serve(t, "127.0.0.1", theZone())
	rcode := func(code int) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			_ = w.WriteMsg(m.SetRcode(q, code))
		})
	}
	silent := dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) {})
	for _, tt := range []struct {
		name string
		h    dns.Handler
		want Code
	}{
		{"servfail", rcode(dns.RcodeServerFailure), ServFail},
		{"refused", rcode(dns.RcodeRefused), Refused},
		{"notauth", rcode(dns.RcodeNotAuth), Failed},
		{"formerr", rcode(dns.RcodeFormatError), Failed},
		{"silent", silent, Timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &counted{Handler: tt.h}
			bad := serve(t, "127.0.0.1", h)
			r := newResolver(t, Config{Servers: []string{bad}, Timeout: 100 * time.Millisecond, Attempts: 3})
			a, err := r.Resolve(t.Context(), "both.pool.example")
			if err != nil || a.Code != tt.want || len(a.Addrs) > 0 || a.TTL != MinTTL {
				t.Errorf("got %+v, %v", a, err)
			}
			if h.udp.Load() != 6 {
				t.Errorf("%d questions, want 6", h.udp.Load())
			}
			r = newResolver(t, Config{Servers: []string{bad, "udp://" + good}, Timeout: time.Second})
			if a, err = r.Resolve(t.Context(), "both.pool.example"); err != nil || a.Code != NoError || a.Server != "udp://"+good || len(a.Addrs) != 3 {
				t.Errorf("with a good server behind: %+v, %v", a, err)
			}
			h.udp.Store(0)
			if a, err = r.Resolve(t.Context(), "four.pool.example"); err != nil || a.Code != NoError || h.udp.Load() != 0 {
				t.Errorf("the good server is not asked first: %+v, %v", a, err)
			}
		})
	}
}

// TestUnreachable wants an error, not an answer, when nobody listens.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, scheme := range []string{"udp", "tcp", "tls"} {
		r := newResolver(t, Config{Servers: []string{scheme + "://" + l.Addr().String()}, Timeout: time.Second})
		if a, err := r.Resolve(t.Context(), "pool.example"); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %+v, %v", scheme, a, err)
		}
	}
}

// TestMissing has a server that fails for one type only.
func TestMissing(t *testing.T) {
	z := theZone()
	for _, tt := range []struct {
		name  string
		fails uint16
		want  Answer
	}{
		{"both.pool.example", dns.TypeAAAA, Answer{Code: NoError, Missing: AAAA, Addrs: addrs("192.0.2.1", "192.0.2.2"), TTL: MinTTL}},
		{"both.pool.example", dns.TypeA, Answer{Code: NoError, Missing: A, Addrs: addrs("2001:db8::1"), TTL: MinTTL}},
		{"four.pool.example", dns.TypeA, Answer{Code: NoError, Missing: A, TTL: MinTTL}},
		{"absent.pool.example", dns.TypeA, Answer{Code: NXDomain, TTL: MinTTL}},
	} {
		addr := serve(t, "127.0.0.1", dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Qtype == tt.fails {
				m := new(dns.Msg)
				_ = w.WriteMsg(m.SetRcode(q, dns.RcodeServerFailure))
				return
			}
			z.ServeDNS(w, q)
		}))
		got, err := newResolver(t, Config{Servers: []string{addr}}).Resolve(t.Context(), tt.name)
		if err != nil {
			t.Fatal(err)
		}
		tt.want.Name = tt.name
		if diff := cmp.Diff(tt.want, got, addrsEqual, noServer, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestOldServer has one that knows no EDNS0, and leaves the question out of its complaint.
func TestOldServer(t *testing.T) {
	z := theZone()
	addr := serve(t, "127.0.0.1", dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			m := new(dns.Msg)
			m.SetRcode(q, dns.RcodeFormatError)
			m.Question = nil
			_ = w.WriteMsg(m)
			return
		}
		z.ServeDNS(w, q)
	}))
	a, err := newResolver(t, Config{Servers: []string{addr}}).Resolve(t.Context(), "both.pool.example")
	if err != nil || len(a.Addrs) != 3 {
		t.Errorf("got %+v, %v", a, err)
	}
}

// raw runs a UDP server whose answer hands over raw datagrams, and gives its address.
func raw(t *testing.T, answer func(q *dns.Msg, send func([]byte))) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, maxMessage)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) == nil {
				answer(q, func(b []byte) { _, _ = pc.WriteTo(b, from) })
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return pc.LocalAddr().String()
}

// forged makes an answer to q with one address, after change.
func forged(q *dns.Msg, addr string, change func(*dns.Msg)) []byte {
	m := new(dns.Msg)
	m.SetReply(q)
	h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 300}
	if q.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.ParseIP(addr)}}
	}
	if change != nil {
		change(m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// TestSpoofed sends what answers another question, or none, before the answer, or instead of it.
func TestSpoofed(t *testing.T) {
	forgeries := map[string]func(*dns.Msg){
		"other id":        func(m *dns.Msg) { m.Id++ },
		"a question":      func(m *dns.Msg) { m.Response = false },
		"other name":      func(m *dns.Msg) { m.Question[0].Name = "bank.example." },
		"longer name":     func(m *dns.Msg) { m.Question[0].Name = "a." + m.Question[0].Name },
		"other type":      func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
		"other class":     func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question":     func(m *dns.Msg) { m.Question = nil },
		"two questions":   func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"other operation": func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
	}
	for name, change := range forgeries {
		t.Run(name, func(t *testing.T) {
			addr := raw(t, func(q *dns.Msg, send func([]byte)) {
				send(forged(q, "192.0.2.66", change))
				send(forged(q, "192.0.2.1", nil))
			})
			r := newResolver(t, Config{Servers: []string{addr}, Timeout: 5 * time.Second})
			a, err := r.Resolve(t.Context(), "pool.example")
			if err != nil || !slices.Equal(a.Addrs, addrs("192.0.2.1")) {
				t.Errorf("before the answer: %+v, %v", a, err)
			}
			addr = raw(t, func(q *dns.Msg, send func([]byte)) { send(forged(q, "192.0.2.66", change)) })
			r = newResolver(t, Config{Servers: []string{addr}, Timeout: 50 * time.Millisecond, Attempts: 1})
			if a, err = r.Resolve(t.Context(), "pool.example"); err != nil || a.Code != Timeout || len(a.Addrs) > 0 {
				t.Errorf("instead of it: %+v, %v", a, err)
			}
		})
	}
}

// TestGarbage sends what is no message at all: it is passed over, and the answer behind it counts.
func TestGarbage(t *testing.T) {
	addr := raw(t, func(q *dns.Msg, send func([]byte)) {
		whole := forged(q, "192.0.2.1", nil)
		send(nil)
		send([]byte{0})
		send(whole[:2])
		send(whole[:11])
		send(whole[:len(whole)-1])
		// A name that points at itself, and counts that promise more than there is.
		send(append(slices.Clone(whole[:12]), 0xc0, 0x0c, 0, 1, 0, 1))
		send(append(append(slices.Clone(whole[:4]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), whole[12:]...))
		send(whole)
		send(whole)
	})
	r := newResolver(t, Config{Servers: []string{addr}, Timeout: 5 * time.Second})
	a, err := r.Resolve(t.Context(), "pool.example")
	if err != nil || !slices.Equal(a.Addrs, addrs("192.0.2.1")) {
		t.Errorf("got %+v, %v", a, err)
	}
}

// TestSocketsChange wants another port after so many queries, and when somebody seems to guess.
func TestSocketsChange(t *testing.T) {
	var mu sync.Mutex
	ports := map[string]bool{}
	addr := serve(t, "127.0.0.1", dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		ports[w.RemoteAddr().String()] = true
		mu.Unlock()
		benchServer(w, q)
	}))
	r := newResolver(t, Config{Servers: []string{addr}, Sockets: 1})
	for i := range socketQueries + 1 {
		if a, err := r.Resolve(t.Context(), fmt.Sprintf("n%d.pool.example", i)); err != nil || len(a.Addrs) != 2 {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
	mu.Lock()
	if len(ports) != 3 {
		t.Errorf("%d questions came from %d ports, want 3", 2*(socketQueries+1), len(ports))
	}
	mu.Unlock()

	var asked atomic.Int32
	from := ""
	addr = raw(t, func(q *dns.Msg, send func([]byte)) {
		if asked.Add(1) == 1 {
			for range socketOdd {
				send(forged(q, "192.0.2.66", func(m *dns.Msg) { m.Question[0].Name = "bank.example." }))
			}
		}
		send(forged(q, "192.0.2.1", nil))
	})
	r = newResolver(t, Config{Servers: []string{addr}, Sockets: 1, Timeout: 5 * time.Second})
	for i := range 2 {
		if _, err := r.Resolve(t.Context(), fmt.Sprintf("n%d.pool.example", i)); err != nil {
			t.Fatal(err)
		}
		sv := r.servers[0]
		sv.mu.Lock()
		local := sv.sockets[0].net.LocalAddr().String()
		sv.mu.Unlock()
		if local == from {
			t.Errorf("the port %s stays", local)
		}
		from = local
	}
}

// TestSlow wants that a slow server costs an attempt, not the answer, and that ctx is heeded.
func TestSlow(t *testing.T) {
	z := theZone()
	var asked atomic.Int32
	release := make(chan struct{})
	slow := serve(t, "127.0.0.1", dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if asked.Add(1) <= 2 {
			<-release
		}
		z.ServeDNS(w, q)
	}))
	r := newResolver(t, Config{Servers: []string{slow}, Timeout: 300 * time.Millisecond, Sockets: 1, Attempts: 5})
	if a, err := r.Resolve(t.Context(), "both.pool.example"); err != nil || len(a.Addrs) != 3 {
		t.Errorf("got %+v, %v", a, err)
	}
	close(release) // the late replies now come to a socket that is still in use
	if a, err := r.Resolve(t.Context(), "four.pool.example"); err != nil || len(a.Addrs) != 1 {
		t.Errorf("after the late replies: %+v, %v", a, err)
	}

	for _, scheme := range []string{"udp", "tcp", "tls"} {
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			t.Skip(err)
		}
		r = newResolver(t, Config{Servers: []string{scheme + "://" + l.Addr().String()}, Timeout: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begun := time.Now()
		if a, err := r.Resolve(ctx, "pool.example"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %+v, %v", scheme, a, err)
		}
		if d := time.Since(begun); d > 20*time.Second {
			t.Errorf("%s: ctx was heeded after %s", scheme, d)
		}
		cancel()
		waiting := make(chan error)
		go func() {
			_, err := r.Resolve(context.WithoutCancel(ctx), "pool.example")
			waiting <- err
		}()
		time.Sleep(20 * time.Millisecond)
		_ = r.Close()
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Close while waiting gives %v", scheme, err)
		}
		l.Close()
		pc.Close()
	}
}

// TestOtherWays asks over IPv6, TCP and TLS.
func TestOtherWays(t *testing.T) {
	z := theZone()
	h := &counted{Handler: z}
	tlsAddr, pool := serveTLS(t, "dns.test", h)
	plain := serve(t, "127.0.0.1", h)
	six := serve(t, "::1", h)
	for _, tt := range []struct {
		server string
		cfg    Config
		want   int
	}{
		{"tls://" + tlsAddr + "#dns.test", Config{RootCAs: pool}, 3},
		{"tls://" + tlsAddr + "#other.test", Config{RootCAs: pool}, 0},
		{"tls://" + tlsAddr, Config{RootCAs: pool}, 0},
		{"tls://" + tlsAddr + "#dns.test", Config{}, 0},
		{"tcp://" + plain, Config{}, 3},
		{six, Config{}, 3},
		{"tcp://" + six, Config{}, 3},
		{plain, Config{Source: netip.MustParseAddr("127.0.0.2")}, 3},
		{"tcp://" + plain, Config{Source: netip.MustParseAddr("127.0.0.2")}, 3},
	} {
		tt.cfg.Servers, tt.cfg.Timeout = []string{tt.server}, 5*time.Second
		r := newResolver(t, tt.cfg)
		a, err := r.Resolve(t.Context(), "both.pool.example")
		if tt.want == 0 {
			if !errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: %+v, %v", tt.server, a, err)
			}
			continue
		}
		if err != nil || len(a.Addrs) != tt.want || a.Server != tt.server {
			t.Errorf("%s: %+v, %v", tt.server, a, err)
			continue
		}
		if r.servers[0].stream {
			was := r.servers[0].tcp
			if a, err = r.Resolve(t.Context(), "many.pool.example"); err != nil || len(a.Addrs) != MaxAddrs || r.servers[0].tcp != was {
				t.Errorf("%s: not on the same connection: %+v, %v", tt.server, a, err)
			}
			was.fail() // as if the server had closed it
			if a, err = r.Resolve(t.Context(), "four.pool.example"); err != nil || len(a.Addrs) != 1 {
				t.Errorf("%s: after the connection ended: %+v, %v", tt.server, a, err)
			}
		}
	}
}

// TestStreamShared wants that a name which gets no answer does not take the connection from others, and that a
// connection on which nothing comes at all gives way.
func TestStreamShared(t *testing.T) {
	z := theZone()
	var mute atomic.Bool
	addr := serve(t, "127.0.0.1", dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if !mute.Load() && q.Question[0].Name != "ring.pool.example." {
			z.ServeDNS(w, q)
		}
	}))
	r := newResolver(t, Config{Servers: []string{"tcp://" + addr}, Timeout: time.Second, Attempts: 1, Cache: 1})
	ask := func(name string, want Code) *conn {
		t.Helper()
		if a, err := r.Resolve(t.Context(), name); err != nil || a.Code != want {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		r.servers[0].mu.Lock()
		defer r.servers[0].mu.Unlock()
		return r.servers[0].tcp
	}
	first := ask("both.pool.example", NoError)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ask("ring.pool.example", Timeout)
	}()
	for waiting := true; waiting; {
		ask("both.pool.example", NoError)
		ask("four.pool.example", NoError)
		select {
		case <-done:
			waiting = false
		case <-time.After(100 * time.Millisecond): // not so often that the connection has had enough
		}
	}
	if ask("both.pool.example", NoError) != first {
		t.Error("a slow name took the connection from others")
	}
	mute.Store(true)
	ask("four.pool.example", Timeout)
	mute.Store(false)
	if ask("both.pool.example", NoError) == first {
		t.Error("a dead connection stays")
	}
}

// TestStreamsChange asks more of a stream than the server allows (128 questions a connection), many at once.
func TestStreamsChange(t *testing.T) {
	r := newResolver(t, Config{Servers: []string{"tcp://" + serve(t, "127.0.0.1", dns.HandlerFunc(benchServer))}, Attempts: 1, Timeout: 20 * time.Second})
	var wg sync.WaitGroup
	for g := range 40 {
		wg.Go(func() {
			for i := range 20 {
				if a, err := r.Resolve(t.Context(), fmt.Sprintf("n%d.pool%d.example", i, g)); err != nil || len(a.Addrs) != 2 {
					t.Errorf("got %+v, %v", a, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestBadStream has a server on TCP that sends bytes which are no answer.
func TestBadStream(t *testing.T) {
	for name, b := range map[string][]byte{
		"text":       []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"no message": {0, 0},
		"id alone":   {0, 2, 1, 1},
		"short":      {0, 20, 0},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 2))
				_, _ = c.Write(b)
				c.Close()
			}
		}()
		r := newResolver(t, Config{Servers: []string{"tcp://" + l.Addr().String()}, Timeout: 200 * time.Millisecond})
		if a, err := r.Resolve(t.Context(), "pool.example"); err == nil && a.Code != Timeout || err != nil && !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		l.Close()
		<-done
	}
}

// TestCache wants an answer again until its TTL ends, by the clock of the configuration, and few of them.
func TestCache(t *testing.T) {
	h := &counted{Handler: theZone()}
	var clock atomic.Int64
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return begun.Add(time.Duration(clock.Load())) }
	r := newResolver(t, Config{Servers: []string{serve(t, "127.0.0.1", h)}, Now: now, Cache: 3})
	ask := func(name string, after time.Duration, asked bool) {
		t.Helper()
		before := h.udp.Load()
		clock.Store(int64(after))
		a, err := r.Resolve(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.udp.Load() > before; got != asked {
			t.Errorf("%s after %s: asked %v, want %v", name, after, got, asked)
		}
		clear(a.Addrs) // what is ours is not the cache's
		clear(a.Chain)
	}
	ask("both.pool.example", 0, true)
	ask("BOTH.pool.example.", 199*time.Second, false)
	ask("both.pool.example", 200*time.Second, true)
	ask("both.pool.example", 199*time.Second, true) // the clock was set back
	ask("absent.pool.example", time.Hour, true)
	ask("absent.pool.example", time.Hour+29*time.Second, false)
	ask("absent.pool.example", time.Hour+30*time.Second, true)
	ask("empty.pool.example", 2*time.Hour, true)
	ask("four.pool.example", 2*time.Hour, true) // the fourth name: the oldest leaves
	ask("four.pool.example", 2*time.Hour, false)
	ask("both.pool.example", 2*time.Hour, true)
	if len(r.cache.answers) != 3 || len(r.cache.order) != 3 {
		t.Errorf("%d answers are kept, want 3", len(r.cache.answers))
	}
	if a, _ := r.Resolve(t.Context(), "four.pool.example"); !slices.Equal(a.Addrs, addrs("192.0.2.1")) {
		t.Errorf("the cache has %v", a.Addrs)
	}
}

// TestPerZone wants the queries about one registered zone spaced, whatever name and server, and others not.
func TestPerZone(t *testing.T) {
	const rate = 20
	var mu sync.Mutex
	var at []time.Time
	z := theZone()
	addr := serve(t, "127.0.0.1", dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		at = append(at, time.Now())
		mu.Unlock()
		z.ServeDNS(w, q)
	}))
	r := newResolver(t, Config{Servers: []string{addr}, PerZone: rate})
	begun := time.Now()
	var wg sync.WaitGroup
	for _, name := range []string{"both.pool.example", "four.pool.example", "many.pool.example"} {
		wg.Go(func() {
			if a, err := r.Resolve(t.Context(), name); err != nil || len(a.Addrs) == 0 {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	// Two each, and two more by TCP: the eighth may go out 7 turns after the first.
	if d := time.Since(begun); len(at) != 8 || d < 7*time.Second/rate {
		t.Errorf("%d questions in %s", len(at), d)
	}
}

// TestLimiterBounded wants that a limiter forgets zones, and that the ones it has no room for share a turn.
func TestLimiterBounded(t *testing.T) {
	l := newLimiter(1.0 / 3600)
	ctx := t.Context()
	for i := range maxZones {
		if at, ok := l.turn(ctx, fmt.Sprintf("z%d.example", i)); !ok || time.Until(at) > 0 {
			t.Fatal("a new zone has to wait")
		}
	}
	first, _ := l.turn(ctx, "more.example")
	second, _ := l.turn(ctx, "evenmore.example")
	if len(l.next) > maxZones+1 || second.Sub(first) < l.every {
		t.Errorf("%d zones, turns %s apart", len(l.next), second.Sub(first))
	}
	for zone := range l.next {
		l.next[zone] = time.Now().Add(-time.Second)
	}
	l.swept = time.Time{}
	if _, _ = l.turn(ctx, "later.example"); len(l.next) > 1 {
		t.Errorf("%d zones after all were past", len(l.next))
	}
	soon, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := l.wait(soon, "later.example"); !errors.Is(err, context.DeadlineExceeded) || soon.Err() != nil {
		t.Errorf("a turn in an hour, a deadline in a minute: %v", err)
	}
	if l := newLimiter(Unlimited); l.wait(ctx, "pool.example") != nil {
		t.Error("no limit waits")
	}
}

func TestZones(t *testing.T) {
	for name, want := range map[string]string{
		"eu.pool.example": "pool.example", "pool.example": "pool.example", "a.b.pool.co.uk": "pool.co.uk",
		"co.uk": "co.uk", "me.github.io": "me.github.io", "x.me.github.io": "me.github.io",
	} {
		if got := zoneOf(name); got != want {
			t.Errorf("%s is in %s, want %s", name, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:53", "fe80::1%lo", "udp://127.0.0.1", "tcp://127.0.0.1:53", "tls://1.1.1.1", "tls://[::1]:853#dns.example",
	} {
		if _, err := New(Config{Servers: []string{s}}); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "dns.example", "dns.example:53", "https://1.1.1.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1#name", "tls://1.1.1.1#", "tls://dns.example",
	} {
		if _, err := New(Config{Servers: []string{s}}); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	for i, cfg := range []Config{
		{Timeout: -1},
		{Attempts: -1},
		{Sockets: -1},
		{Cache: -1},
		{Attempts: MaxAttempts + 1},
		{Sockets: MaxSockets + 1},
		{Cache: MaxCache + 1},
		{Servers: slices.Repeat([]string{"127.0.0.1"}, MaxServers+1)},
		{Servers: []string{"127.0.0.1"}, Source: netip.IPv6Loopback()},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("configuration %d is taken", i)
		}
	}
}

// TestSystem reads the system's servers when they are needed, not before.
func TestSystem(t *testing.T) {
	r := newResolver(t, Config{})
	r.system = filepath.Join(t.TempDir(), "resolv.conf")
	if _, err := r.Resolve(t.Context(), "pool.example"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	for text, want := range map[string]string{
		"nameserver 127.0.0.1\nnameserver ::1\n":               "127.0.0.1 ::1",
		"# nothing\n":                                          "",
		strings.Repeat("nameserver 127.0.0.1\n", MaxServers+1): strings.Repeat("127.0.0.1 ", MaxServers-1) + "127.0.0.1",
	} {
		r = newResolver(t, Config{})
		r.system = filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(r.system, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := r.ready()
		var got []string
		for _, s := range r.servers {
			got = append(got, s.label)
		}
		if strings.Join(got, " ") != want || (err != nil) != (want == "") {
			t.Errorf("%.40q: %s, %v", text, got, err)
		}
	}
}

func TestRefused(t *testing.T) {
	h := &counted{Handler: theZone()}
	r := newResolver(t, Config{Servers: []string{serve(t, "127.0.0.1", h)}})
	for _, name := range []string{"192.0.2.1", "localhost", "a.onion", "pool", "\x1b[31m" + strings.Repeat("x", 5000)} {
		_, err := r.Resolve(t.Context(), name)
		if !errors.Is(err, ErrName) || len(err.Error()) > 500 || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Resolve(ctx, "both.pool.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_ = r.Close()
	if _, err := r.Resolve(t.Context(), "four.pool.example"); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if h.udp.Load() > 0 {
		t.Errorf("%d questions went out", h.udp.Load())
	}
}

// TestRebinding wants private addresses told, and marked.
func TestRebinding(t *testing.T) {
	r := newResolver(t, Config{Servers: []string{serve(t, "127.0.0.1", theZone())}})
	a, err := r.Resolve(t.Context(), "back.pool.example")
	if err != nil || len(a.Addrs) != 3 {
		t.Fatalf("got %+v, %v", a, err)
	}
	m, err := LoadMarks()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range a.Addrs {
		if got := m.Of(addr, a.Chain); got.Kind != Reserved || got.Owner != minecanary.Reserved(addr) {
			t.Errorf("%s is marked %+v", addr, got)
		}
	}
}

// TestConcurrent has many goroutines ask many names of a server that fails now and then; nothing may be mixed up.
func TestConcurrent(t *testing.T) {
	var n atomic.Int64
	addr := serve(t, "127.0.0.1", dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		if n.Add(1)%10 == 0 {
			_ = w.WriteMsg(m.SetRcode(q, dns.RcodeServerFailure))
			return
		}
		var id uint16
		_, _ = fmt.Sscanf(q.Question[0].Name, "n%d.", &id)
		ip := binary.BigEndian.AppendUint16([]byte{192, 0}, id)
		if q.Question[0].Qtype == dns.TypeA {
			_ = w.WriteMsg(mustUnpack(forged(q, net.IP(ip).String(), nil)))
			return
		}
		_ = w.WriteMsg(m.SetReply(q))
	}))
	r := newResolver(t, Config{Servers: []string{addr}, Sockets: 2, Attempts: MaxAttempts, Timeout: 5 * time.Second})
	var wg sync.WaitGroup
	for g := range 200 {
		wg.Go(func() {
			for i := range 5 {
				id := uint16(g*5 + i)
				a, err := r.Resolve(t.Context(), fmt.Sprintf("n%d.pool.example", id))
				want := netip.AddrFrom4([4]byte{192, 0, byte(id >> 8), byte(id)})
				if err != nil || a.Code != NoError || len(a.Addrs) != 1 || a.Addrs[0] != want {
					t.Errorf("name %d: %+v, %v", id, a, err)
				}
			}
		})
	}
	wg.Wait()
}

func mustUnpack(b []byte) *dns.Msg {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		panic(err)
	}
	return m
}

// FuzzAnswer hands arbitrary bytes over as the server's replies to the A and AAAA question, over and over.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("pool.example.", dns.TypeA)
	question, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(question)
	f.Add(forged(q, "192.0.2.1", nil))
	f.Add(forged(q, "192.0.2.1", func(m *dns.Msg) { m.Truncated = true }))
	f.Add(forged(q, "192.0.2.1", func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }))
	for _, text := range []string{
		"pool.example. 1 CNAME pool.example.", "pool.example. 4294967295 CNAME b.example.", `pool.example. 1 CNAME \000\255.example.`,
		"pool.example. 1 DNAME b.example.", "pool.example. 1 SOA a. b. 1 1 1 1 1", "pool.example. 1 AAAA ::ffff:10.0.0.1",
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(forged(q, "192.0.2.1", func(m *dns.Msg) { m.Answer, m.Ns = append(m.Answer, rr), append(m.Ns, rr) }))
	}
	codes := []Code{NoError, NXDomain, ServFail, Refused, Failed}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxMessage {
			return
		}
		walks := []*walk{{question: question2(dns.TypeA)}, {question: question2(dns.TypeAAAA)}}
		for _, w := range walks {
			for range MaxChain + 2 {
				if w.done {
					break
				}
				r, ok := decode(b, w.question)
				if !ok {
					w.take("pool.example", reply{code: Failed})
					break
				}
				if b[2]&0x80 == 0 {
					t.Fatal("a question is taken for its answer")
				}
				w.take("pool.example", r)
			}
			if !w.done {
				t.Fatal("the chain has no end")
			}
		}
		a := merge("pool.example", walks[0], walks[1])
		if len(a.Addrs) > MaxAddrs || len(a.Chain) > MaxChain || a.TTL < MinTTL || a.TTL > MaxTTL || !slices.Contains(codes, a.Code) {
			t.Errorf("out of bounds: %+v", a)
		}
		if !slices.IsSortedFunc(a.Addrs, netip.Addr.Compare) || len(slices.Compact(slices.Clone(a.Addrs))) != len(a.Addrs) {
			t.Errorf("not sorted, or twice: %s", a.Addrs)
		}
		for _, addr := range a.Addrs {
			if addr != minecanary.CanonicalAddr(addr) || !addr.IsValid() {
				t.Errorf("address %s", addr)
			}
		}
		for _, target := range a.Chain {
			if !isHost(target) {
				t.Errorf("target %q", target)
			}
		}
	})
}

func question2(qtype uint16) question { return question{"pool.example", qtype} }
