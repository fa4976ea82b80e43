package lists

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/internal/lines"
)

// The bounds of a list.
const (
	// MaxLine is the longest line in bytes, its newline included.
	MaxLine = 4096
	// MaxEntries is how many entries a file may have.
	MaxEntries = 1_000_000
	// MaxErrors is how many bad lines of a file are reported one by one; the rest is counted in one more error.
	MaxErrors = 1000
	// MaxReason is the longest reason in bytes.
	MaxReason = 512

	maxName  = 253 // RFC 1035 section 2.3.4, without the trailing dot
	maxLabel = 63
)

// LineError is what is wrong with one line of a list.
type LineError struct {
	File string
	Line int
	// Text is the entry as it stands there, at most 80 bytes; "" if it is not to blame.
	Text   string
	Reason string
}

// Error gives file:line: "text": reason.
func (e *LineError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
	}
	return fmt.Sprintf("%s:%d: %q: %s", e.File, e.Line, e.Text, e.Reason)
}

// Parse reads a list; name is what errors call it. Every bad line is an error (a *LineError, or the reader's), the other
// lines are in the list, which is never nil.
func Parse(r io.Reader, name string) (*List, []error) {
	var entries []Entry
	var errs []error
	more := 0
	report := func(err error) {
		if len(errs) < MaxErrors {
			errs = append(errs, err)
		} else {
			more++
		}
	}
	full := false
	err := lines.Each(r, MaxLine, func(number int, line, tooLong string) bool {
		if tooLong != "" {
			report(&LineError{File: name, Line: number, Reason: tooLong})
			return true
		}
		e, ok, bad := parseLine(line)
		switch {
		case bad != nil:
			bad.File, bad.Line = name, number
			report(bad)
		case ok && len(entries) == MaxEntries:
			report(&LineError{File: name, Line: number, Reason: fmt.Sprintf("the list has more than %d entries, the rest is left out", MaxEntries)})
			full = true
		case ok:
			e.File, e.Line = name, number
			entries = append(entries, e)
		}
		return !full
	})
	if full {
		return New(entries), errs
	}
	if err != nil {
		report(fmt.Errorf("read %s: %w", name, err))
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("%s: %d more lines are wrong", name, more))
	}
	return New(entries), errs
}

// parseLine reads one line; ok is false for an empty one or a comment.
func parseLine(line string) (e Entry, ok bool, bad *LineError) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return Entry{}, false, nil
	}
	word, rest := cutWord(line)
	fail := func(text, reason string) (Entry, bool, *LineError) {
		if len(text) > 80 {
			text = text[:80]
		}
		return Entry{}, false, &LineError{Text: text, Reason: reason}
	}
	if !utf8.ValidString(line) {
		return fail(word, "the line is not valid UTF-8")
	}
	if strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) && !unicode.IsSpace(r) }) {
		return fail(word, "the line has a character that cannot be printed")
	}
	e, reason := parseEntry(word)
	if reason != "" {
		return fail(word, reason)
	}
	if when, after := cutWord(rest); strings.HasPrefix(when, "expires=") {
		if e.Expires, ok = parseTime(strings.TrimPrefix(when, "expires=")); !ok {
			return fail(when, "must be a date such as 2026-12-31 or a time such as 2026-12-31T00:00:00Z")
		}
		rest = after
	}
	e.Reason = strings.Join(strings.Fields(strings.TrimLeft(rest, "# \t")), " ")
	if len(e.Reason) > MaxReason {
		return fail(word, fmt.Sprintf("the reason is longer than %d bytes", MaxReason))
	}
	return e, true, nil
}

// cutWord splits at the first blanks.
func cutWord(s string) (word, rest string) {
	i := strings.IndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// parseTime reads a date, which is its midnight in UTC, or a time of RFC 3339.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), !t.IsZero()
		}
	}
	return time.Time{}, false
}

// parseEntry reads an address, a network, either with a port, or a name.
func parseEntry(s string) (e Entry, reason string) {
	host, port := s, ""
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return e, "the ] is missing"
		}
		host = s[1:end]
		if !strings.Contains(host, ":") {
			return e, "brackets are for IPv6"
		}
		rest := s[end+1:]
		if rest != "" {
			if rest[0] != ':' {
				return e, "after the ] comes :port or nothing"
			}
			port = rest
		}
	case strings.Count(s, ":") == 1: // no IPv6 address has a single colon
		i := strings.IndexByte(s, ':')
		host, port = s[:i], s[i:]
	case strings.Contains(s, "/"):
		// 2001:db8::/32:3333 can be told from a network: the length has no colon.
		slash := strings.IndexByte(s, '/')
		if i := strings.IndexByte(s[slash:], ':'); i >= 0 {
			host, port = s[:slash+i], s[slash+i:]
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil {
			return e, fmt.Sprintf("port %q is no number from 1 to 65535", port[1:])
		}
		if n == 0 {
			return e, "port 0 is no port; without one the entry matches every port"
		}
		e.Port = uint16(n)
	}
	switch {
	case strings.Contains(host, "/"):
		e.Prefix, reason = parsePrefix(host)
	case strings.Contains(host, ":") || endsInNumber(strings.TrimSuffix(host, ".")):
		e.Prefix, reason = parseAddr(host)
	default:
		if port != "" {
			return e, "a name has no port here"
		}
		e.Name, e.Below, reason = parseName(host)
	}
	return e, reason
}

func parseAddr(s string) (netip.Prefix, string) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, "this is no address"
	}
	if addr.Zone() != "" {
		return netip.Prefix{}, "an address with a zone is no server's"
	}
	addr = minecanary.CanonicalAddr(addr)
	return netip.PrefixFrom(addr, addr.BitLen()), ""
}

func parsePrefix(s string) (netip.Prefix, string) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, "this is no network"
	}
	if p.Addr().Is4In6() {
		const mapped = 96 // ::ffff:0:0/96, RFC 4291 section 2.5.5.2
		if p.Bits() < mapped {
			return netip.Prefix{}, "write an IPv4 network as such"
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Sprintf("the address has bits beyond the length; write %s", masked)
	}
	return p, ""
}

// endsInNumber tells that the last label is a number or nearly one: no name of the DNS does that, so an address is meant.
func endsInNumber(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// parseName reads a host name of letters, digits, hyphens and underscores; a dot in front means the names below it too.
func parseName(s string) (name string, below bool, reason string) {
	name, below = strings.CutPrefix(s, ".")
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case strings.Contains(name, "*"):
		return "", false, "a wildcard is written as a dot in front: .pool.example"
	case name == "":
		return "", false, "the name is empty"
	case len(name) > maxName:
		return "", false, fmt.Sprintf("the name is longer than %d bytes", maxName)
	case !below && !strings.Contains(name, "."):
		return "", false, "this is no address, and a name has a dot"
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return "", false, fmt.Sprintf("a label of a name has 1 to %d bytes", maxLabel)
		}
		for i := range len(label) {
			c := label[i]
			switch {
			case c >= utf8.RuneSelf:
				return "", false, "write the name in its xn-- form"
			case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_':
			default:
				return "", false, fmt.Sprintf("%q is in no name", c)
			}
		}
	}
	return name, below, ""
}
