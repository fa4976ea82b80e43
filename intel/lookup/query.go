package lookup

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
)

// MaxQuery is the longest question in bytes, MaxWords the most words in one.
const (
	MaxQuery = 300
	MaxWords = 8
)

// QueryKind says what a question is about.
type QueryKind string

// The kinds of questions.
const (
	ByName    QueryKind = "name"    // pool.example.net, also with a port
	BySuffix  QueryKind = "suffix"  // .example.net or *.example.net: the name and all below
	ByAddress QueryKind = "address" // 192.0.2.1, 192.0.2.1:3333, [2001:db8::1]:3333
	ByPrefix  QueryKind = "prefix"  // 192.0.2.0/24
	ByPort    QueryKind = "port"    // 3333 or :3333
	ByWords   QueryKind = "words"   // words of the names of pools and coins
)

// Query is a question to the catalogue and its history.
type Query struct {
	// Text is the question as it was asked.
	Text string
	Kind QueryKind
	// Name is in lower case without a trailing dot, for ByName and BySuffix.
	Name string
	// Prefix is the network; an address is a network of one.
	Prefix netip.Prefix
	// Port is 0 for any.
	Port uint16
	// Words are in the case they came in.
	Words []string
	// At is the time that is asked about; the zero time means now, with all that ever was.
	At time.Time
}

// Parse reads a question. What is neither name, address, network nor port is words.
func Parse(text string) (Query, error) {
	q := Query{Text: text}
	s := strings.TrimSpace(text)
	switch {
	case s == "":
		return q, errors.New("an empty question")
	case len(s) > MaxQuery:
		return q, fmt.Errorf("a question of more than %d bytes", MaxQuery)
	}
	// A miner's setting is a question, too.
	if _, rest, ok := strings.Cut(s, "://"); ok && !strings.ContainsAny(s, " \t") {
		s, _, _ = strings.Cut(rest, "/")
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		q.Kind, q.Prefix = ByPrefix, canonical(p)
		return q, nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		q.Kind, q.Prefix, q.Port = ByAddress, single(ap.Addr()), ap.Port()
		return q, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		q.Kind, q.Prefix = ByAddress, single(a)
		return q, nil
	}
	if port, err := strconv.ParseUint(strings.TrimPrefix(s, ":"), 10, 16); err == nil && port > 0 {
		q.Kind, q.Port = ByPort, uint16(port)
		return q, nil
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	rest, suffix := strings.CutPrefix(host, "*.")
	if !suffix {
		rest, suffix = strings.CutPrefix(host, ".")
	}
	name := catalog.CanonicalName(rest)
	if catalog.IsName(name) || suffix && catalog.IsName("a."+name) {
		q.Kind, q.Name = ByName, name
		if suffix {
			q.Kind = BySuffix
		}
		if port != "" {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return q, fmt.Errorf("%q is no port", port)
			}
			q.Port = uint16(n)
		}
		return q, nil
	}
	if strings.Trim(s, "0123456789./:") == "" || strings.Contains(s, ":") && strings.Trim(s, "0123456789abcdefABCDEF.:/[]") == "" {
		return q, fmt.Errorf("%q is no address, network or port", s)
	}
	if q.Words = strings.Fields(s); len(q.Words) > MaxWords {
		return q, fmt.Errorf("more than %d words", MaxWords)
	}
	q.Kind = ByWords
	return q, nil
}

// single gives the network of one address.
func single(a netip.Addr) netip.Prefix {
	a = minecanary.CanonicalAddr(a)
	return netip.PrefixFrom(a, a.BitLen())
}

// canonical masks a network; one of IPv4-mapped addresses becomes one of IPv4.
func canonical(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}
