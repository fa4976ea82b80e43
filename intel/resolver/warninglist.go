package resolver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// shownEntries is how many bad entries of a warning list are told one by one.
const shownEntries = 3

// warningList is the list.json of a MISP warning list (github.com/MISP/misp-warninglists, schema.json).
type warningList struct {
	Name    string   `json:"name"`
	Version int64    `json:"version"`
	Type    string   `json:"type"`
	List    []string `json:"list"`
}

// isWarningList tells a warning list, which is a JSON object, from a file of marks, which is a YAML sequence.
func isWarningList(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n\ufeff"), []byte("{"))
}

// addWarningList takes a warning list of the types cidr, hostname and string. Such a list does not say what its addresses
// are: one whose name speaks of DNS resolvers is of those, any other of addresses that many share. The date is that of the
// version where it is one (20260811). Bad entries are left out and told.
func (m *Marks) addWarningList(b []byte, file string) []error {
	var l warningList
	if err := json.Unmarshal(bytes.TrimPrefix(bytes.TrimSpace(b), []byte("\ufeff")), &l); err != nil {
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	switch {
	case l.Type != "cidr" && l.Type != "hostname" && l.Type != "string":
		return []error{fmt.Errorf("%s: a warning list of type %s is of no use here, only cidr, hostname and string", file, quote(l.Type))}
	case !isText(l.Name):
		return []error{fmt.Errorf("%s: the list's name must be printable ASCII of 1 to %d characters", file, maxMarkText)}
	case len(l.List) == 0:
		return []error{fmt.Errorf("%s: an empty list", file)}
	}
	var prefixes []netip.Prefix
	var names []string
	var errs []error
	bad := 0
	for i, s := range l.List {
		prefix, name, err := warned(s, l.Type)
		switch {
		case err != nil:
			if bad++; bad <= shownEntries {
				errs = append(errs, fmt.Errorf("%s: entry %d: %w", file, i+1, err))
			}
		case name != "":
			names = append(names, name)
		default:
			prefixes = append(prefixes, prefix)
		}
	}
	if bad > shownEntries {
		errs = append(errs, fmt.Errorf("%s: %d further bad entries", file, bad-shownEntries))
	}
	mark := Mark{Kind: Shared, Owner: l.Name, Source: "MISP warning list, version " + strconv.FormatInt(l.Version, 10)}
	if name := strings.ToLower(l.Name); strings.Contains(name, "dns") && strings.Contains(name, "resolver") {
		mark.Kind = DNS
	}
	if day, err := time.Parse("20060102", strconv.FormatInt(l.Version, 10)); err == nil {
		mark.AsOf = day
	}
	if len(prefixes)+len(names) > 0 {
		m.insert(mark, prefixes, names)
	}
	return errs
}

// warned reads an entry: a network, or a name. The lists have networks with bits behind their length, and names with a dot
// before them.
func warned(s, kind string) (netip.Prefix, string, error) {
	prefix, err := parsePrefix(s)
	if err != nil {
		if p, perr := netip.ParsePrefix(s); perr == nil && !p.Addr().Is4In6() {
			prefix, err = p.Masked(), nil
		}
	}
	switch {
	case err == nil && prefix.Bits() == 0:
		return netip.Prefix{}, "", fmt.Errorf("%s is every address there is", quote(s))
	case err == nil || kind == "cidr":
		return prefix, "", err
	}
	name, err := Normalise(strings.TrimPrefix(s, "."))
	if err != nil {
		return netip.Prefix{}, "", fmt.Errorf("name %s: %w", quote(s), err)
	}
	return netip.Prefix{}, name, nil
}
