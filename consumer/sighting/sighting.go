// Package sighting makes sightings of what the decoders of sensor logs read: it bounds and cleans names and texts, and
// joins the addresses of a DNS answer with the names that led to them.
package sighting

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer/jsonscan"
)

// The bounds of what one answer to a DNS query gives. Pools have a handful of addresses, and a chain of CNAMEs is
// rarely longer than three; what is beyond is left out.
const (
	// MaxAddrs is the number of addresses of an answer that are looked at.
	MaxAddrs = 8
	// MaxNames is the number of names: the one that was asked for and those of CNAMEs.
	MaxNames = 4
)

// maxLabel is the longest label of a name, in bytes (RFC 1035 section 2.3.4).
const maxLabel = 63

// KindName gives the name of a kind of sightings, a label of metrics.
func KindName(k minecanary.SightingKind) string {
	switch k {
	case minecanary.SightedMining:
		return "mining"
	case minecanary.SightedTLS:
		return "tls"
	case minecanary.SightedDNS:
		return "dns"
	case minecanary.SightedRule:
		return "rule"
	}
	return "other"
}

// Maker makes the sightings of one line after the other. It belongs to one goroutine. What it gives holds no reference
// to the line.
type Maker struct {
	list []minecanary.Sighting

	names, words jsonscan.Interner
	// text holds the text that is cleaned, line one free of escapes.
	text, line []byte

	dnsNames []string
	dnsAddrs []netip.Addr
}

// Reset forgets the sightings of the line before.
func (m *Maker) Reset() { m.list, m.dnsNames, m.dnsAddrs = m.list[:0], m.dnsNames[:0], m.dnsAddrs[:0] }

// Add takes a sighting.
func (m *Maker) Add(s *minecanary.Sighting) { m.list = append(m.list, *s) }

// List gives the sightings since Reset. The slice is used again for the next line, what is in it may be copied.
func (m *Maker) List() []minecanary.Sighting { return m.list }

// Name gives a name in lower case without the dot at its end; "" for what is not the name of a host: other characters
// than letters, digits, hyphens, underscores and dots, labels that are empty or too long, more than minecanary.MaxName
// bytes, and a last label without a letter (addresses).
func (m *Maker) Name(b []byte) string {
	if n := len(b); n > 0 && b[n-1] == '.' {
		b = b[:n-1]
	}
	if len(b) == 0 || len(b) > minecanary.MaxName {
		return ""
	}
	m.text = append(m.text[:0], b...)
	label, letters := 0, 0
	for i, c := range m.text {
		switch class[c] {
		case upper:
			m.text[i] = c | 0x20
			label++
			letters++
		case lower:
			label++
			letters++
		case other:
			label++
		case dot:
			if label == 0 {
				return ""
			}
			label, letters = 0, 0
		default:
			return ""
		}
		if label > maxLabel {
			return ""
		}
	}
	if letters == 0 {
		return ""
	}
	return m.names.Intern(m.text)
}

// The classes of a name's characters.
const (
	lower = iota + 1
	upper
	other
	dot
)

var class = func() (table [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		table[c], table[c&^0x20] = lower, upper
	}
	for c := '0'; c <= '9'; c++ {
		table[c] = other
	}
	table['-'], table['_'], table['.'] = other, other, dot
	return table
}()

// Text gives the printable ASCII characters of a text, at most minecanary.MaxSightingText of them.
func (m *Maker) Text(b []byte) string { return string(m.printable(b)) }

// Word is Text for texts of few different values, which it keeps.
func (m *Maker) Word(b []byte) string { return m.words.Intern(m.printable(b)) }

func (m *Maker) printable(b []byte) []byte {
	m.text = m.text[:0]
	for _, c := range b {
		if len(m.text) == minecanary.MaxSightingText {
			break
		}
		if c >= ' ' && c <= '~' {
			m.text = append(m.text, c)
		}
	}
	return m.text
}

// Asked takes the name of a query, or the name of an answer.
func (m *Maker) Asked(name []byte) {
	if len(m.dnsNames) == MaxNames {
		return
	}
	if s := m.Name(name); s != "" && !slices.Contains(m.dnsNames, s) {
		m.dnsNames = append(m.dnsNames, s)
	}
}

// Address takes the data of an answer with an address. Everything else is passed over.
func (m *Maker) Address(data []byte) { m.address(data) }

// address is Address, and tells whether it was one.
func (m *Maker) address(data []byte) bool {
	a, ok := jsonscan.Addr(data)
	if ok && len(m.dnsAddrs) < MaxAddrs && !slices.Contains(m.dnsAddrs, a) {
		m.dnsAddrs = append(m.dnsAddrs, a)
	}
	return ok
}

// Answer takes the data of an answer of any type: an address, or the name that a CNAME leads to. Everything else is
// passed over.
func (m *Maker) Answer(data []byte) {
	if len(data) == 0 {
		return
	}
	// Most names are told from addresses by their last letter, which is cheaper than to try.
	last := class[data[len(data)-1]]
	if (last == lower || last == upper) && bytes.IndexByte(data, ':') < 0 || !m.address(data) {
		m.Asked(data)
	}
}

// DNS adds a sighting like s for each of the addresses under each of the names since Reset, and tells how many of both
// there were. Without a name or without an address it adds none.
func (m *Maker) DNS(s *minecanary.Sighting) (names, addrs int) {
	for _, name := range m.dnsNames {
		for _, a := range m.dnsAddrs {
			m.list = append(m.list, *s)
			last := &m.list[len(m.list)-1]
			last.Kind, last.Name, last.ClientPort, last.Server = minecanary.SightedDNS, name, 0, minecanary.Endpoint{Addr: a}
		}
	}
	return len(m.dnsNames), len(m.dnsAddrs)
}

// Texts gives take the texts of a JSON array of texts, or the parts of one text between commas. It is false for
// everything else. A text counts until take returns.
func (m *Maker) Texts(value []byte, take func(text []byte)) bool {
	i := jsonscan.Blank(value, 0)
	if i < len(value) && value[i] == '"' {
		var end int
		if m.line, end = jsonscan.String(m.line[:0], value, i); end < 0 {
			return false
		}
		for text := range bytes.SplitSeq(m.line, []byte{','}) {
			take(text)
		}
		return true
	}
	return Each(value, func(element []byte) bool {
		if element[0] != '"' {
			return false
		}
		var end int
		m.line, end = jsonscan.String(m.line[:0], element, 0)
		take(m.line)
		return end >= 0
	})
}

// Each gives take the elements of a JSON array as they stand, until it answers false. It is false then, and for what is
// no array.
func Each(value []byte, take func(element []byte) bool) bool {
	i := jsonscan.Blank(value, 0)
	if i >= len(value) || value[i] != '[' {
		return false
	}
	if i = jsonscan.Blank(value, i+1); i < len(value) && value[i] == ']' {
		return true
	}
	for {
		end := jsonscan.Skip(value, i, 1)
		if end < 0 || !take(value[i:end]) {
			return false
		}
		if i = jsonscan.Blank(value, end); i >= len(value) || value[i] != ',' {
			return i < len(value) && value[i] == ']'
		}
		i = jsonscan.Blank(value, i+1)
	}
}
