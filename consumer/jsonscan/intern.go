package jsonscan

import (
	"bytes"
	"unicode/utf8"
)

// Interner keeps one copy of each of a bounded number of strings. It belongs to one goroutine.
type Interner struct {
	last  string
	known map[string]string
}

const (
	// MaxInterned is the number of strings an Interner keeps; one more and it starts anew.
	MaxInterned = 1024
	// MaxInternedLen is the longest string an Interner gives, in bytes; longer ones are cut, between runes.
	MaxInternedLen = 255
)

// Intern gives the text as a string, without an allocation if it is known. A run of bytes that are no UTF-8 becomes
// U+FFFD.
func (n *Interner) Intern(b []byte) string {
	if n.last == string(b) {
		return n.last
	}
	s, ok := n.known[string(b)]
	if !ok {
		s = clean(b)
		if len(b) > MaxInternedLen {
			return s
		}
		if n.known == nil || len(n.known) == MaxInterned {
			n.known = make(map[string]string)
		}
		n.known[string(b)] = s
	}
	if s == string(b) {
		n.last = s
	}
	return s
}

// clean makes a valid string of at most MaxInternedLen bytes.
func clean(b []byte) string {
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	s := string(b)
	if len(s) <= MaxInternedLen {
		return s
	}
	n := MaxInternedLen
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
