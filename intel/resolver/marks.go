package resolver

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gaissmai/bart"
	"go.yaml.in/yaml/v3"

	"github.com/minecanary/minecanary"
)

// The bounds of a file of marks.
const (
	// MaxMarksFile is its size in bytes.
	MaxMarksFile = 16 << 20
	// maxMarkText is how long owner and source may be, in bytes.
	maxMarkText = 300
)

// Kind is what an address is besides an address: one constant word, fit as the label of a metric.
type Kind string

// The kinds. Only an Ordinary address stands for who lives there.
const (
	Ordinary Kind = ""         // nothing is known against it
	Reserved Kind = "reserved" // no public unicast address
	DNS      Kind = "resolver" // a public DNS resolver
	CDN      Kind = "cdn"      // a content delivery network, or another proxy in front of many
	Shared   Kind = "shared"   // many names on one address: hosting of pages, parked domains
)

// Mark is what is known of an address. The zero value is an ordinary one.
type Mark struct {
	Kind Kind
	// Owner is who runs it, or what it is reserved for; printable ASCII.
	Owner string
	// Source is the page where that was read; "" for reserved addresses.
	Source string
	// AsOf is the day of the source; zero for reserved addresses, and for a list that does not tell.
	AsOf time.Time
	// Name is the name whose owner decided it, if that was not the address.
	Name string
}

// Marks tells kinds of addresses. It never changes, so it may be used by several goroutines at once.
type Marks struct {
	rows  []Mark
	addrs bart.Table[int]
	names map[string]int
}

//go:embed marks.yaml
var bundled []byte

// LoadMarks reads the bundled marks, which carry their sources and dates, and the user's own files, which come first (but
// take no resolver's mark away): in the form of the bundled one, or as the list.json of a MISP warning list. The error joins what is wrong with single rows, as
// file:line: reason; then the marks have the other rows. They are nil only if a file could not be read.
func LoadMarks(files ...string) (*Marks, error) {
	m := &Marks{names: map[string]int{}}
	var errs []error
	for _, name := range files {
		b, err := readBounded(name)
		if err != nil {
			return nil, fmt.Errorf("read marks: %w", err)
		}
		if isWarningList(b) {
			errs = append(errs, m.addWarningList(b, name)...)
		} else {
			errs = append(errs, m.add(b, name)...)
		}
	}
	errs = append(errs, m.add(bundled, "marks.yaml")...)
	return m, errors.Join(errs...)
}

// readBounded reads a file of at most MaxMarksFile bytes.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, MaxMarksFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxMarksFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, MaxMarksFile)
	}
	return b, nil
}

// markRow is a row of a file.
type markRow struct {
	Kind     Kind     `yaml:"kind"`
	Owner    string   `yaml:"owner"`
	Source   string   `yaml:"source"`
	AsOf     string   `yaml:"as_of"`
	Prefixes []string `yaml:"prefixes"`
	Names    []string `yaml:"names"`
}

// add takes the rows of a file. A row with an error is left out whole.
func (m *Marks) add(b []byte, file string) []error {
	var nodes []yaml.Node
	if err := yaml.Unmarshal(b, &nodes); err != nil {
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	var errs []error
	for i := range nodes {
		if err := m.addRow(&nodes[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, nodes[i].Line, err))
		}
	}
	return errs
}

func (m *Marks) addRow(node *yaml.Node) error {
	row, err := decodeRow(node)
	if err != nil {
		return err
	}
	asOf, err := time.Parse(time.DateOnly, row.AsOf)
	switch {
	case row.Kind != DNS && row.Kind != CDN && row.Kind != Shared:
		return fmt.Errorf("kind %s: only %s, %s and %s are known", quote(string(row.Kind)), CDN, Shared, DNS)
	case !isText(row.Owner) || !isText(row.Source):
		return fmt.Errorf("owner and source must be printable ASCII of 1 to %d characters", maxMarkText)
	case err != nil:
		return fmt.Errorf("as_of %s is no date like 2026-01-31", quote(row.AsOf))
	case len(row.Prefixes)+len(row.Names) == 0:
		return errors.New("neither prefixes nor names")
	}
	prefixes := make([]netip.Prefix, len(row.Prefixes))
	for i, s := range row.Prefixes {
		if prefixes[i], err = parsePrefix(s); err != nil {
			return err
		}
	}
	names := make([]string, len(row.Names))
	for i, s := range row.Names {
		if names[i], err = Normalise(s); err != nil {
			return fmt.Errorf("name %s: %w", quote(s), err)
		}
	}
	m.insert(Mark{Kind: row.Kind, Owner: row.Owner, Source: row.Source, AsOf: asOf}, prefixes, names)
	return nil
}

// insert takes a mark. What came first stays, the user's rows before the bundled ones; but nothing takes a resolver's mark
// away, for what resolves names must never count as a pool.
func (m *Marks) insert(mark Mark, prefixes []netip.Prefix, names []string) {
	n := len(m.rows)
	m.rows = append(m.rows, mark)
	for _, p := range prefixes {
		if before, taken := m.addrs.Get(p); !taken || m.stronger(mark, before) {
			m.addrs.Insert(p, n)
		}
	}
	for _, name := range names {
		if before, taken := m.names[name]; !taken || m.stronger(mark, before) {
			m.names[name] = n
		}
	}
}

// stronger tells whether a mark takes the place of the row that was before it.
func (m *Marks) stronger(mark Mark, before int) bool {
	return mark.Kind == DNS && m.rows[before].Kind != DNS
}

// decodeRow reads a row and refuses keys that it does not know, which yaml.Node.Decode cannot.
func decodeRow(node *yaml.Node) (markRow, error) {
	var row markRow
	b, err := yaml.Marshal(node)
	if err != nil {
		return row, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&row); err != nil {
		var typed *yaml.TypeError
		if errors.As(err, &typed) && len(typed.Errors) > 0 {
			_, reason, _ := strings.Cut(typed.Errors[0], ": ") // the line is that of the copy
			return row, errors.New(reason)
		}
		return row, err
	}
	return row, nil
}

// parsePrefix reads an address or a network; one with bits behind its length is refused, for it is a slip.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = minecanary.CanonicalAddr(addr)
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("prefix %s is neither an address nor a network", quote(s))
	}
	return p, nil
}

func isText(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= maxMarkText
}

// Of gives the mark of an address to which a name led over a chain (of Answer, the name itself before it if it may be
// one of a CDN). Reserved comes first, then the narrowest network of resolvers around the address, then the narrowest
// network of another kind, then the last name of the chain that is known.
func (m *Marks) Of(addr netip.Addr, chain []string) Mark {
	addr = minecanary.CanonicalAddr(addr)
	if why := minecanary.Reserved(addr); why != "" {
		return Mark{Kind: Reserved, Owner: why}
	}
	if n, ok := m.addrs.Lookup(addr); ok {
		if m.rows[n].Kind != DNS {
			for _, wider := range m.addrs.Supernets(netip.PrefixFrom(addr, addr.BitLen())) { // the narrowest first
				if m.rows[wider].Kind == DNS {
					return m.rows[wider]
				}
			}
		}
		return m.rows[n]
	}
	for _, target := range slices.Backward(chain) {
		if mark := m.OfName(target); mark.Kind != Ordinary {
			return mark
		}
	}
	return Mark{}
}

// OfName gives the mark of a name in the spelling of Normalise: that of the name itself, or of the longest name above it
// that is known, a resolver's first. The zero Mark says that none is.
func (m *Marks) OfName(name string) Mark {
	var found Mark
	for above, more := name, true; more; _, above, more = strings.Cut(above, ".") {
		n, ok := m.names[above]
		if !ok || found.Kind != Ordinary && m.rows[n].Kind != DNS {
			continue
		}
		found = m.rows[n]
		found.Name = name
		if found.Kind == DNS {
			break
		}
	}
	return found
}
