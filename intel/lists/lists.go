// Package lists reads allow and block lists of addresses, networks, endpoints and names, and looks them up.
//
// A list is one entry a line:
//
//	# what follows the entry on its line is the reason
//	192.0.2.10
//	192.0.2.0/24          our own proxies
//	192.0.2.10:3333       expires=2026-12-31 seen by the desk
//	[2001:db8::1]:3333
//	[2001:db8::/32]:3333  expires=2026-12-31T12:00:00Z
//	pool.example          that name
//	.pool.example         that name and every name below it
//
// A list never changes after it was parsed, so it may be used by several goroutines at once.
package lists

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gaissmai/bart"

	"github.com/minecanary/minecanary"
)

// Entry is one line of a list. Either Prefix or Name is set.
type Entry struct {
	// Prefix is the network; an address is a network of one.
	Prefix netip.Prefix
	// Port is the server port; 0 matches every port.
	Port uint16
	// Name is a domain name in lower case without a trailing dot. With Below the names below it match too.
	Name  string
	Below bool

	// Reason is the operator's text; "" if there is none.
	Reason string
	// Expires is when the entry ends; zero for never.
	Expires time.Time

	// File and Line tell where the entry stands.
	File string
	Line int
}

// String gives the entry in the form of a list file, without expiry and reason.
func (e Entry) String() string {
	switch {
	case e.Name != "" && e.Below:
		return "." + e.Name
	case e.Name != "":
		return e.Name
	}
	s := e.Prefix.String()
	if e.Prefix.IsSingleIP() {
		s = e.Prefix.Addr().String()
	}
	if e.Port == 0 {
		return s
	}
	if e.Prefix.Addr().Is6() {
		s = "[" + s + "]"
	}
	return s + ":" + strconv.Itoa(int(e.Port))
}

// Valid tells whether the entry still counts at the given time.
func (e Entry) Valid(at time.Time) bool { return e.Expires.IsZero() || at.Before(e.Expires) }

// List is what a file, or several, hold. The zero value and nil are empty lists.
type List struct {
	entries []Entry
	nets    bart.Table[*node]
	names   map[string][]int32
	below   map[string][]int32
}

// node is one network: its entries, those with a port first, and the next wider network of the list.
type node struct {
	entries []int32
	wider   *node
}

// New makes a list of entries. They are taken as they are; Parse is what checks text.
func New(entries []Entry) *List {
	l := &List{entries: slices.Clone(entries), names: map[string][]int32{}, below: map[string][]int32{}}
	var nodes []netip.Prefix
	for i, e := range l.entries {
		i := int32(i)
		switch {
		case e.Name != "" && e.Below:
			l.below[e.Name] = append(l.below[e.Name], i)
		case e.Name != "":
			l.names[e.Name] = append(l.names[e.Name], i)
		default:
			n, ok := l.nets.Get(e.Prefix)
			if !ok {
				n = &node{}
				l.nets.Insert(e.Prefix, n)
				nodes = append(nodes, e.Prefix)
			}
			n.entries = append(n.entries, i)
		}
	}
	for _, p := range nodes {
		n, _ := l.nets.Get(p)
		slices.SortStableFunc(n.entries, func(a, b int32) int {
			return cmp.Compare(min(l.entries[b].Port, 1), min(l.entries[a].Port, 1))
		})
		if p.Bits() > 0 {
			n.wider, _ = l.nets.LookupPrefix(netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked())
		}
	}
	return l
}

// Join makes one list of several; of entries that are equally specific the one of the earlier list wins. Nil lists are
// empty.
func Join(lists ...*List) *List {
	var all []Entry
	for _, l := range lists {
		if l != nil {
			all = append(all, l.entries...)
		}
	}
	return New(all)
}

// ReadFiles reads files into one list. The errors name file and line; what could be read is in the list.
func ReadFiles(paths []string) (*List, []error) {
	var all []*List
	var errs []error
	for _, path := range paths {
		l, more, err := readFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("read list: %w", err))
			continue
		}
		all = append(all, l)
		errs = append(errs, more...)
	}
	return Join(all...), errs
}

func readFile(path string) (*List, []error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	l, errs := Parse(f, path)
	return l, errs, f.Close()
}

// Len is the number of entries, the expired ones included.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.entries)
}

// Entries gives a copy of all entries, in the order of the files.
func (l *List) Entries() []Entry {
	if l == nil {
		return nil
	}
	return slices.Clone(l.entries)
}

// Match finds the most specific entry for an endpoint that is valid at the given time: of the longest prefix, there one
// with the port before one for every port, there the first. The endpoint's address is canonical (see
// minecanary.NewEndpoint); the transport does not matter. It does not allocate.
func (l *List) Match(ep minecanary.Endpoint, at time.Time) (Entry, bool) {
	if l == nil || !ep.Addr.IsValid() {
		return Entry{}, false
	}
	n, _ := l.nets.Lookup(ep.Addr)
	for ; n != nil; n = n.wider {
		for _, i := range n.entries {
			if e := &l.entries[i]; (e.Port == 0 || e.Port == ep.Port) && e.Valid(at) {
				return *e, true
			}
		}
	}
	return Entry{}, false
}

// MatchName finds the most specific entry for a name that is valid at the given time: the name itself, then the longest
// suffix. Case and a trailing dot do not matter. It does not allocate.
func (l *List) MatchName(name string, at time.Time) (Entry, bool) {
	name = strings.TrimSuffix(name, ".")
	if l == nil || len(l.names)+len(l.below) == 0 || len(name) > maxName {
		return Entry{}, false
	}
	var buf [maxName]byte
	lower := buf[:len(name)]
	for i := range len(name) {
		lower[i] = lowerByte(name[i])
	}
	if e := l.first(l.names[string(lower)], at); e != nil {
		return *e, true
	}
	for len(lower) > 0 {
		if e := l.first(l.below[string(lower)], at); e != nil {
			return *e, true
		}
		for len(lower) > 0 && lower[0] != '.' {
			lower = lower[1:]
		}
		if len(lower) > 0 {
			lower = lower[1:]
		}
	}
	return Entry{}, false
}

// first gives the first valid one of some entries.
func (l *List) first(indices []int32, at time.Time) *Entry {
	for _, i := range indices {
		if e := &l.entries[i]; e.Valid(at) {
			return e
		}
	}
	return nil
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
