package resolver

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/minecanary/minecanary"
)

// The bounds of an answer.
const (
	// MaxAddrs is how many addresses an answer has. The rest is left out, and Capped says so.
	MaxAddrs = 64
	// MaxChain is how many CNAMEs in a row are followed.
	MaxChain = 16
	// MinTTL and MaxTTL are for how long an answer is given again at least and at most, whatever its records say.
	// MinTTL also holds for failures (RFC 9520 section 3.2 asks for 1 s to 5 min) and for negative answers without SOA.
	// MaxTTL is less than the day for which the history takes an answer to hold, so that none leaves a hole.
	MinTTL = 30 * time.Second
	MaxTTL = 12 * time.Hour
)

// Code is how a question ended: one constant word, fit as the label of a metric.
type Code string

// The codes. NoError and NXDomain are answers; all others are failures, which say nothing about the name.
const (
	NoError  Code = "noerror"  // the name exists, perhaps without addresses
	NXDomain Code = "nxdomain" // the name does not exist
	ServFail Code = "servfail" // the server could not find out
	Refused  Code = "refused"  // the server does not want to answer
	Timeout  Code = "timeout"  // no reply that belongs to the question
	Failed   Code = "failed"   // any other response code, or a reply that makes no sense

	// unreachable is inside of this package: the question could not be put, or the connection broke.
	unreachable Code = "unreachable"
)

// Final tells whether the code is an answer: NoError or NXDomain.
func (c Code) Final() bool { return c == NoError || c == NXDomain }

// Family names one of the two questions about a name.
type Family string

// The families.
const (
	NoFamily Family = ""
	A        Family = "A"    // IPv4
	AAAA     Family = "AAAA" // IPv6
)

// Answer is what is known about a name after its A and AAAA were asked for.
type Answer struct {
	// Name is what was asked for, as Normalise spells it.
	Name string
	// Code is the better of the two questions' codes: NoError, then NXDomain, then failures.
	Code Code
	// Missing is the family of which nothing is known, because its question failed while the other was answered.
	Missing Family
	// Chain has the CNAME targets in order, without Name, in lower case; letters, digits, hyphens, underscores and dots
	// only, at most MaxChain. Should A and AAAA have different chains, targets of AAAA alone come behind.
	Chain []string
	// Addrs are the addresses of both families, sorted (IPv4 first), each once, IPv4-mapped ones as IPv4, at most
	// MaxAddrs. They may be any addresses: see Marks.
	Addrs []netip.Addr
	// TTL is for how long after At the answer is given again: the lowest TTL of chain and records, or what the SOA says
	// of a negative answer (RFC 2308), within MinTTL and MaxTTL; MinTTL if something failed.
	TTL time.Duration
	// At is when the server answered, by Config.Now.
	At time.Time
	// Server is the server that answered last, as it was configured; "" if none did.
	Server string
	// Capped says that there were more addresses.
	Capped bool
	// Loop says that the chain comes back to a name it had, or is longer than MaxChain. There are no addresses behind.
	Loop bool
}

// question is a name, without trailing dot, and a type (dns.TypeA or dns.TypeAAAA).
type question struct {
	name  string
	qtype uint16
}

// reply is how one question ended.
type reply struct {
	code      Code
	msg       *dns.Msg // nil unless the server replied
	server    string
	truncated bool // to be asked again by TCP
	noEDNS    bool // to be asked again without EDNS0 (RFC 6891 section 7)
}

// decode makes a reply of the bytes that a server sent under the id of a question. It is false if they are no reply to
// this very question.
func decode(b []byte, q question) (reply, bool) {
	m := new(dns.Msg)
	err := m.Unpack(b)
	if !m.Response || m.Opcode != dns.OpcodeQuery {
		return reply{}, false
	}
	switch len(m.Question) {
	case 0:
		// Old servers leave the question out when they cannot read it. Such a reply holds nothing but its code.
		if err != nil || m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError {
			return reply{}, false
		}
	case 1:
		asked := m.Question[0]
		if asked.Qtype != q.qtype || asked.Qclass != dns.ClassINET || !sameName(asked.Name, q.name) {
			return reply{}, false
		}
	default:
		return reply{}, false
	}
	if m.Truncated {
		return reply{code: Failed, truncated: true}, true
	}
	if err != nil {
		return reply{}, false
	}
	r := reply{msg: m}
	switch m.Rcode {
	case dns.RcodeSuccess:
		r.code = NoError
	case dns.RcodeNameError:
		r.code = NXDomain
	case dns.RcodeServerFailure:
		r.code = ServFail
	case dns.RcodeRefused:
		r.code = Refused
	default:
		r.code = Failed
		r.noEDNS = m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeBadVers
	}
	return r, true
}

// sameName compares a name of a message, absolute and in any case, with one of ours.
func sameName(fqdn, name string) bool {
	return len(fqdn) == len(name)+1 && fqdn[len(name)] == '.' && strings.EqualFold(fqdn[:len(name)], name)
}

// walk follows one type of a name through its CNAMEs, over as many replies as that takes.
type walk struct {
	question // what to ask next

	chain  []string
	addrs  []netip.Addr
	ttl    uint32 // seconds
	hasTTL bool
	server string

	code Code // once done
	loop bool
	done bool
}

// take takes the reply to the walk's question. Afterwards the walk is done, or has another question.
func (w *walk) take(origin string, r reply) {
	if r.server != "" {
		w.server = r.server
	}
	w.code, w.done = r.code, true
	if r.msg == nil || !r.code.Final() {
		return
	}
	asked := w.name
	for {
		target, ttl, ok := cname(r.msg.Answer, w.name)
		if !ok {
			break
		}
		if !isHost(target) {
			w.code = Failed
			return
		}
		w.lower(ttl)
		if target == origin || slices.Contains(w.chain, target) || len(w.chain) == MaxChain {
			w.loop = true
			return
		}
		w.chain = append(w.chain, target)
		w.name = target
	}
	if r.code == NXDomain {
		w.negative(r.msg) // it is the end of the chain that does not exist (RFC 6604 section 3)
		return
	}
	for _, rr := range r.msg.Answer {
		if h := rr.Header(); h.Class != dns.ClassINET || h.Rrtype != w.qtype || !sameName(h.Name, w.name) {
			continue
		}
		var addr netip.Addr
		switch rr := rr.(type) {
		case *dns.A:
			addr, _ = netip.AddrFromSlice(rr.A)
		case *dns.AAAA:
			addr, _ = netip.AddrFromSlice(rr.AAAA)
		}
		if addr.IsValid() {
			w.addrs = append(w.addrs, minecanary.CanonicalAddr(addr))
			w.lower(rr.Header().Ttl)
		}
	}
	if len(w.addrs) > 0 {
		return
	}
	// The server stopped at a CNAME: its target may have addresses that it did not fetch.
	if w.name != asked && !isReservedName(w.name) {
		w.done = false
		return
	}
	w.negative(r.msg)
}

// cname gives the target of a name, in lower case without trailing dot.
func cname(answer []dns.RR, name string) (target string, ttl uint32, ok bool) {
	for _, rr := range answer {
		if c, is := rr.(*dns.CNAME); is && c.Hdr.Class == dns.ClassINET && sameName(c.Hdr.Name, name) {
			return strings.ToLower(strings.TrimSuffix(c.Target, ".")), c.Hdr.Ttl, true
		}
	}
	return "", 0, false
}

// lower takes the TTL of a record, in seconds. One with the highest bit set counts as 0 (RFC 2181 section 8).
func (w *walk) lower(ttl uint32) {
	if ttl >= 1<<31 {
		ttl = 0
	}
	if !w.hasTTL || ttl < w.ttl {
		w.ttl, w.hasTTL = ttl, true
	}
}

// negative takes the TTL of an answer without addresses: RFC 2308 section 5.
func (w *walk) negative(m *dns.Msg) {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			w.lower(min(soa.Hdr.Ttl, soa.Minttl))
			return
		}
	}
	w.lower(0)
}

// rank orders codes by how much they tell, the best first.
func rank(c Code) int {
	switch c {
	case NoError:
		return 0
	case NXDomain:
		return 1
	case ServFail, Refused, Failed:
		return 2
	case Timeout:
		return 3
	}
	return 4
}

// merge makes the answer of the two walks; At is left to the caller.
func merge(name string, a, aaaa *walk) Answer {
	best, other := a, aaaa
	if rank(aaaa.code) < rank(a.code) {
		best, other = aaaa, a
	}
	out := Answer{
		Name:   name,
		Code:   best.code,
		Chain:  a.chain,
		TTL:    MinTTL,
		Server: best.server,
		Loop:   a.loop || aaaa.loop,
	}
	for _, target := range aaaa.chain {
		if len(out.Chain) < MaxChain && !slices.Contains(out.Chain, target) {
			out.Chain = append(out.Chain, target)
		}
	}
	// A name that does not exist has neither type, so a failure of the other question leaves nothing open.
	if best.code == NoError && !other.code.Final() {
		out.Missing = A
		if other == aaaa {
			out.Missing = AAAA
		}
	}
	out.Addrs, out.Capped = capAddrs(a.addrs, aaaa.addrs)
	if out.Code.Final() && out.Missing == NoFamily {
		ttl := a.ttl
		if aaaa.hasTTL && (!a.hasTTL || aaaa.ttl < ttl) {
			ttl = aaaa.ttl
		}
		out.TTL = min(max(time.Duration(ttl)*time.Second, MinTTL), MaxTTL)
	}
	return out
}

// capAddrs joins the addresses of two questions. If there are too many, neither takes more than half from the other.
// What stays does not depend on the order of the records.
func capAddrs(a, aaaa []netip.Addr) (addrs []netip.Addr, capped bool) {
	unique := func(s []netip.Addr) []netip.Addr {
		slices.SortFunc(s, netip.Addr.Compare)
		return slices.Compact(s)
	}
	a, aaaa = unique(a), unique(aaaa)
	keepA := min(len(a), max(MaxAddrs/2, MaxAddrs-len(aaaa)))
	keepAAAA := min(len(aaaa), MaxAddrs-keepA)
	capped = keepA < len(a) || keepAAAA < len(aaaa)
	addrs = make([]netip.Addr, 0, keepA+keepAAAA)
	addrs = append(append(addrs, a[:keepA]...), aaaa[:keepAAAA]...)
	return unique(addrs), capped
}
