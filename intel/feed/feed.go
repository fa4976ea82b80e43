// Package feed publishes proven pool endpoints as files that a Zeek reads.
//
// Its law: the feed cannot hurt. Only what the Gate lets through is published, every entry leaves by expiry, no byte of a
// peer's answer can break a line, a reader never sees half a file, and a sudden flood of new endpoints is held back until
// somebody looked.
package feed

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
)

// Format names a form of the feed.
type Format string

// The forms.
const (
	// ZeekIntel is an input file of Zeek's Intel framework, one line an address. The columns of a stock Zeek come first;
	// meta.do_notice, meta.pool_ports and meta.pool_coin are ignored by one that does not load the scripts for them.
	// meta.if_in is left out, as a line with a value unknown to the sensor is lost.
	ZeekIntel Format = "zeek-intel"
	// ZeekPools is the file of Minecanary's pools.zeek (Mining::pools_file), one line an endpoint.
	ZeekPools Format = "zeek-pools"
)

// Formats lists the forms in the order in which they are written.
func Formats() []Format { return []Format{ZeekIntel, ZeekPools} }

// FileName gives the name of the form's file in the feed directory, "" for an unknown form.
func (f Format) FileName() string {
	switch f {
	case ZeekIntel:
		return "intel.dat"
	case ZeekPools:
		return "pools.dat"
	}
	return ""
}

// Source is the constant meta.source of every line: Zeek keeps one set of metadata per source, so a second name would
// leave stale ones behind.
const Source = "minecanary"

// The bounds of a line.
const (
	// MaxField is the longest field in bytes, escapes included.
	MaxField = 256
	// MaxPorts is how many ports of one address meta.pool_ports names, the lowest first: 40 of five digits and their
	// commas stay below MaxField. The pools file has them all.
	MaxPorts = 40
	// maxDescribed is how many ports the description spells out.
	maxDescribed = 4
)

// unset is how Zeek's ASCII reader spells a field without a value (Input ASCII reader, unset_field).
const unset = "-"

// Headers of the two forms. "#fields" and a tab must start the file.
const (
	intelHeader = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\tmeta.url\tmeta.do_notice\tmeta.pool_ports\tmeta.pool_coin\n"
	poolsHeader = "#fields\thost\tp\tcoin\tprotocol\tverified\turl\n"
)

// Entry is one published endpoint.
type Entry struct {
	Endpoint minecanary.Endpoint
	// Coin and Dialect as the verdict has them; "" if unknown.
	Coin, Dialect string
	TLS           bool
	// Reason is the verdict's line for people.
	Reason string
	// Verified is when the endpoint last answered as a pool.
	Verified time.Time
	// URL leads an analyst to more; "" for none.
	URL string
	// Lifted tells that the address rule refused it and the operator's allow list let it through.
	Lifted bool
}

// Write writes the entries in the given form, ordered by address and port, the header first. Of several entries of one
// endpoint the one verified last is written. Nothing is written if an entry has no valid address, no port, or a transport
// other than TCP and UDP. The entries are not changed.
func Write(w io.Writer, format Format, entries []Entry) error {
	sorted := slices.Clone(entries)
	for i := range sorted {
		ep := &sorted[i].Endpoint
		*ep = minecanary.NewEndpoint(ep.Addr, ep.Port, ep.Transport)
		if !ep.Addr.IsValid() || ep.Port == 0 || (ep.Transport != minecanary.TCP && ep.Transport != minecanary.UDP) {
			return fmt.Errorf("feed entry %s is no address and port of tcp or udp", ep)
		}
	}
	sorted = unique(sorted)
	var b bytes.Buffer
	switch format {
	case ZeekIntel:
		b.WriteString(intelHeader)
		for len(sorted) > 0 {
			n := 1
			for n < len(sorted) && sorted[n].Endpoint.Addr == sorted[0].Endpoint.Addr {
				n++
			}
			intelLine(&b, sorted[:n])
			sorted = sorted[n:]
		}
	case ZeekPools:
		b.WriteString(poolsHeader)
		for i := range sorted {
			poolsLine(&b, &sorted[i])
		}
	default:
		return fmt.Errorf("unknown feed format %q", format)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write feed: %w", err)
	}
	return nil
}

// unique orders the entries by endpoint and keeps the one verified last of each; what is left is the same whatever the
// order was. It works in place.
func unique(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(
			a.Endpoint.Compare(b.Endpoint),
			b.Verified.Compare(a.Verified),
			cmp.Compare(a.Coin, b.Coin),
			cmp.Compare(a.Dialect, b.Dialect),
			cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.URL, b.URL),
		)
	})
	return slices.CompactFunc(entries, func(a, b Entry) bool { return a.Endpoint == b.Endpoint })
}

// intelLine writes one address with all its ports.
func intelLine(b *bytes.Buffer, entries []Entry) {
	var ports, spelt, coins []string
	newest := &entries[0]
	for i := range entries {
		e := &entries[i]
		if e.Verified.After(newest.Verified) {
			newest = e
		}
		// A port that answers over TCP and UDP is named once.
		if p := strconv.Itoa(int(e.Endpoint.Port)); len(ports) < MaxPorts && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
		if len(spelt) < maxDescribed {
			s := portText(e.Endpoint)
			if e.TLS {
				s += " with TLS"
			}
			spelt = append(spelt, s)
		}
		if c := known(e.Coin); c != "" && !slices.Contains(coins, c) {
			coins = append(coins, c)
		}
	}
	slices.Sort(coins)
	coin := strings.Join(coins, ",")

	desc := "Mining pool"
	if coin != "" {
		desc += " (" + coin + ")"
	}
	desc += ", answered on " + strings.Join(spelt, ", ")
	if more := len(entries) - len(spelt); more > 0 {
		desc += fmt.Sprintf(" and %d more", more)
	}
	if !newest.Verified.IsZero() {
		desc += ", last probe " + newest.Verified.UTC().Format(time.RFC3339)
	}
	if newest.Reason != "" {
		desc += ": " + newest.Reason
	}
	line(b,
		entries[0].Endpoint.Addr.String(),
		"Intel::ADDR",
		Source,
		text(desc),
		urlField(newest.URL),
		"T",
		strings.Join(ports, ","),
		orUnset(known(coin)),
	)
}

// poolsLine writes one endpoint. The columns coin and protocol are not optional in pools.zeek, an unset one would cost
// the line.
func poolsLine(b *bytes.Buffer, e *Entry) {
	verified := unset
	if s := e.Verified.Unix(); !e.Verified.IsZero() && s >= 0 {
		verified = strconv.FormatInt(s, 10) + ".0"
	}
	line(b,
		e.Endpoint.Addr.String(),
		portText(e.Endpoint),
		cmp.Or(known(e.Coin), string(minecanary.Unknown)),
		cmp.Or(known(e.Dialect), string(minecanary.Unknown)),
		verified,
		urlField(e.URL),
	)
}

// line writes fields that are safe already.
func line(b *bytes.Buffer, fields ...string) {
	b.WriteString(strings.Join(fields, "\t"))
	b.WriteByte('\n')
}

// portText is Zeek's spelling of a port: 3333/tcp.
func portText(e minecanary.Endpoint) string {
	return strconv.Itoa(int(e.Port)) + "/" + e.Transport.String()
}

func orUnset(s string) string { return cmp.Or(s, unset) }

// urlField leaves out what would have to be changed: half an address leads nowhere.
func urlField(s string) string {
	if known(s) != s {
		return unset
	}
	return orUnset(s)
}

// known makes a safe field, or "" where nothing is left or where the reader could take what is left for "no value".
func known(s string) string {
	s = text(s)
	if s == unset || s == "(empty)" {
		return ""
	}
	return s
}

// text makes a string safe as a field: printable ASCII stays, a backslash becomes \x5c (the reader decodes \xHH and knows
// no other escape), blanks that end lines or fields become a space, any other character a question mark. The result is at
// most MaxField bytes and never ends within an escape. text of a result may escape its backslashes again, so it is
// applied to raw strings only.
func text(s string) string {
	var b strings.Builder
	for _, r := range s {
		piece := "?"
		switch {
		case r == '\\':
			piece = `\x5c`
		case r == '\t' || r == '\n' || r == '\r':
			piece = " "
		case r >= 0x20 && r <= 0x7e:
			piece = string(r)
		}
		if b.Len()+len(piece) > MaxField {
			break
		}
		b.WriteString(piece)
	}
	return strings.Trim(b.String(), " ")
}

// readEndpoints finds the endpoints in a file that Write wrote; lines it cannot read are left out. It serves the
// publisher's brake on new endpoints after a restart, so an incomplete answer is safe.
func readEndpoints(data []byte, format Format) []minecanary.Endpoint {
	var out []minecanary.Endpoint
	add := func(addr netip.Addr, port string) {
		name, transport := port, minecanary.TCP
		if rest, ok := strings.CutSuffix(port, "/udp"); ok {
			name, transport = rest, minecanary.UDP
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(name, "/tcp"), 10, 16)
		if err == nil && n > 0 {
			out = append(out, minecanary.NewEndpoint(addr, uint16(n), transport))
		}
	}
	for row := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		switch {
		case format == ZeekPools && len(fields) > 1:
			add(addr, fields[1])
		case format == ZeekIntel && len(fields) > 6:
			for port := range strings.SplitSeq(fields[6], ",") {
				add(addr, port)
			}
		}
	}
	return out
}
