package resolver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// The bounds of a name, RFC 1035 section 2.3.4; maxName is without the trailing dot.
const (
	maxName  = 253
	maxLabel = 63
	// maxRawName bounds what is handed to the IDN conversion, in bytes: a name in UTF-8 is shorter than four times its
	// ASCII form.
	maxRawName = 4 * maxName
)

// ErrName is why a name is not asked for: it is none, it is an address, or it is reserved.
var ErrName = errors.New("no public host name")

// reservedNames are top-level names that no DNS server is asked about: RFC 6761 (localhost, invalid), RFC 6762 (local),
// RFC 7686 (onion), RFC 9476 (alt) and RFC 3172 (arpa). RFC 6761 wants example and test to be asked like any other.
var reservedNames = []string{"localhost", "invalid", "local", "onion", "alt", "arpa"}

// Normalise gives the one spelling of a host name: ASCII, lower case, no trailing dot, international names in their
// xn-- form (UTS 46). The error wraps ErrName for what is no public host name: wrong letters or lengths, an address in
// any spelling, a single label, a reserved name. Underscores are allowed, for they are in use.
func Normalise(name string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", fmt.Errorf("%w: %s", ErrName, why)
	}
	if len(name) > maxRawName {
		return refuse("too long")
	}
	host := strings.TrimSuffix(name, ".")
	if !isASCII(host) {
		var err error
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return refuse("not an international name")
		}
		host = strings.TrimSuffix(host, ".") // a full stop of another script became one of ours
	}
	host = strings.ToLower(host)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return refuse("an address")
	}
	if !isHost(host) {
		return refuse("not letters, digits and hyphens between dots")
	}
	last := strings.LastIndexByte(host, '.')
	if last < 0 {
		return refuse("a single label")
	}
	if top := host[last+1:]; isNumber(top) {
		return refuse("an address")
	}
	if isReservedName(host) {
		return refuse("a reserved name")
	}
	return host, nil
}

// isReservedName tells whether a host name belongs to a reserved top-level name.
func isReservedName(host string) bool {
	return slices.Contains(reservedNames, host[strings.LastIndexByte(host, '.')+1:])
}

// isHost tells whether a name in lower case consists of labels of letters, digits, underscores and inner hyphens.
func isHost(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// isNumber tells whether a last label makes the whole an IPv4 address to some programs: digits, or 0x and hex digits.
func isNumber(label string) bool {
	digits, set := label, "0123456789"
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		digits, set = rest, "0123456789abcdef"
	}
	return strings.Trim(digits, set) == ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// zoneOf gives the registered zone of a host name, by the public suffix list that golang.org/x/net carries. A name that
// is a public suffix itself is its own zone.
func zoneOf(host string) string {
	zone, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}
	return zone
}
