package feed

import (
	"crypto/sha1"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
)

// The bounds of words.
const (
	// MaxToken is the longest coin or dialect in bytes where a form takes single words only.
	MaxToken = 64
	// MaxName is the longest host name in bytes (RFC 1035, 255 octets on the wire), maxLabel the longest label.
	MaxName  = 253
	maxLabel = 63
)

// namespace is the UUID under which this package names its objects: version 5 of "minecanary" in the name space of
// domain names (RFC 9562 section 6.6).
var namespace = [16]byte{0xb0, 0xed, 0xc0, 0xc3, 0xd6, 0x59, 0x59, 0xd3, 0x85, 0x11, 0x9e, 0xc0, 0x57, 0x53, 0x97, 0xcb}

// clean makes printable ASCII of at most MaxField bytes of a string: blanks that end lines or fields become a space, any
// other character a question mark, and no space is left at either end. A string that is clean already is returned as it is.
func clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if b.Len() == MaxField {
			break
		}
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			b.WriteByte(' ')
		case r >= 0x20 && r <= 0x7e:
			b.WriteByte(byte(r))
		default:
			b.WriteByte('?')
		}
	}
	return strings.Trim(b.String(), " ")
}

func isClean(s string) bool {
	if len(s) > MaxField {
		return false
	}
	for i := range len(s) {
		if s[i]-0x20 > 0x7e-0x20 { // below wraps around
			return false
		}
	}
	return s == "" || (s[0] != ' ' && s[len(s)-1] != ' ')
}

// wholeURL gives the address of a page if it needs no change, "" otherwise: half an address leads nowhere.
func wholeURL(s string) string {
	if len(s) > MaxField || (!strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://")) {
		return ""
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c >= 0x7f, c == '"', c == '\'', c == '\\', c == '<', c == '>':
			return ""
		}
	}
	return s
}

// token makes a single word of letters, digits, dots, dashes and underscores, at most MaxToken bytes, or "unknown" of
// nothing. It is fit for any form without quotes.
func token(s string) string {
	fine := len(s) <= MaxToken
	for i := 0; fine && i < len(s); i++ {
		fine = isTokenByte(s[i])
	}
	if !fine {
		var b strings.Builder
		for _, r := range s {
			if b.Len() == MaxToken {
				break
			}
			if r < 0x80 && isTokenByte(byte(r)) {
				b.WriteByte(byte(r))
			} else {
				b.WriteByte('_')
			}
		}
		s = b.String()
	}
	// The first byte of almost every word is a letter or a digit.
	if s == "" || isTokenMark(s[0]) && strings.Trim(s, "._-") == "" {
		return string(minecanary.Unknown)
	}
	return s
}

func isTokenMark(c byte) bool { return c == '.' || c == '-' || c == '_' }

func isTokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || isTokenMark(c)
}

// HostName gives the form in which a name is published: lower case, without the dot at the end. It is false for anything
// but labels of letters, digits, dashes and underscores (RFC 1123 section 2.1) under a top-level domain of letters or in
// its xn-- form (RFC 3696 section 2). So an address is none, nor is a wildcard, nor a single label, nor a name that a
// policy zone would read as a trigger (rpz-ip).
func HostName(s string) (name string, ok bool) {
	s = strings.TrimSuffix(s, ".")
	if len(s) > MaxName || strings.IndexByte(s, '.') < 0 {
		return "", false
	}
	for i := range len(s) {
		if s[i] >= 0x80 { // some letters beyond ASCII have a lower case within it
			return "", false
		}
	}
	s = strings.ToLower(s)
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", false
			}
		}
		last = label
	}
	if strings.HasPrefix(last, "xn--") {
		return s, true
	}
	for i := range len(last) {
		if last[i] < 'a' || last[i] > 'z' {
			return "", false
		}
	}
	return s, len(last) > 1
}

// dated gives the time if it is one that every form can spell: between the years 1970 and 9999.
func dated(t time.Time) (time.Time, bool) {
	if t.IsZero() || t.Unix() < 0 || t.Unix() > maxUnix {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// maxUnix is the last second of the year 9999.
const maxUnix = 253402300799

// appendTime adds a time of RFC 3339 in whole seconds and UTC, of a year with four digits.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(append2(append2(b, year/100), year%100), '-')
	b = append(append2(b, int(month)), '-')
	b = append(append2(b, day), 'T')
	b = append(append2(b, hour), ':')
	b = append(append2(b, minute), ':')
	return append(append2(b, second), 'Z')
}

// append2 adds a number in two digits.
func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// appendJSON adds a clean string as it stands within the quotes of JSON.
func appendJSON(b []byte, s string) []byte {
	if isPlain(s) {
		return append(b, s...)
	}
	s = clean(s)
	from := 0
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(append(b, s[from:i]...), '\\')
			from = i
		}
	}
	return append(b, s[from:]...)
}

// isPlain is isClean for a string that neither JSON nor a table has to escape, in one pass.
func isPlain(s string) bool {
	if len(s) > MaxField {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c-0x20 > 0x7e-0x20 || c == '"' || c == '\\' || c == ';' {
			return false
		}
	}
	return s == "" || (s[0] != ' ' && s[len(s)-1] != ' ')
}

// appendHostPort adds 1.2.3.4:3333 or [::1]:3333.
func appendHostPort(b []byte, addr netip.Addr, port uint16) []byte {
	if addr.Is4() {
		b = append(addr.AppendTo(b), ':')
	} else {
		b = append(b, '[')
		b = append(addr.AppendTo(b), ']', ':')
	}
	return strconv.AppendUint(b, uint64(port), 10)
}

// appendUUID adds the UUID of version 5 (RFC 9562 section 5.5) that a name has in this package's name space.
func appendUUID(b, name []byte) []byte {
	var room [128]byte
	sum := sha1.Sum(append(append(room[:0], namespace[:]...), name...))
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	text := [36]byte{8: '-', 13: '-', 18: '-', 23: '-'}
	for i, at := range [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		text[at], text[at+1] = digits[u[i]>>4], digits[u[i]&0x0f]
	}
	return append(b, text[:]...)
}

const digits = "0123456789abcdef"
