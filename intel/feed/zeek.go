package feed

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/minecanary/minecanary"
)

// unset is how Zeek's ASCII reader spells a field without a value (Input ASCII reader, unset_field).
const unset = "-"

// Headers of Zeek's forms. "#fields" and a tab must start the file.
const (
	intelHeader  = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\tmeta.url\tmeta.do_notice\tmeta.pool_ports\tmeta.pool_coin\n"
	removeHeader = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\tmeta.url\tmeta.do_notice\tmeta.pool_ports\tmeta.pool_coin\tmeta.remove\n"
	poolsHeader  = "#fields\thost\tp\tcoin\tprotocol\tverified\turl\n"
	namesHeader  = "#fields\tname\tcoin\n"
)

// What one line takes, for the first guess of a file's size.
const (
	intelLine = 150
	poolsLine = 80
)

// intel gives the file of the Intel framework, with tombstones if the sensor can bury.
func (s *set) intel(tombstones bool) []byte {
	b := s.room(len(removeHeader), intelLine, 1)
	if tombstones {
		b = s.tombstones(append(b, removeHeader...))
	} else {
		b = append(b, intelHeader...)
	}
	indicators := slices.AppendSeq(slices.Collect(s.byAddr()), s.byName())
	return inParts(b, len(indicators), func(b []byte, from, to int) []byte {
		w := intelWriter{b: b, remove: tombstones}
		for _, entries := range indicators[from:to] {
			w.line(entries)
		}
		return w.b
	})
}

// intelWriter writes lines; its slices are used again for each.
type intelWriter struct {
	b      []byte
	remove bool
	ports  []uint16
	coins  []string
	desc   []byte
}

// line writes the indicator of one address or name, and all that is known of its entries.
func (w *intelWriter) line(entries []*Entry) {
	w.ports, w.coins = w.ports[:0], w.coins[:0]
	newest := entries[0]
	for _, e := range entries {
		if e.Verified.After(newest.Verified) {
			newest = e
		}
		// A port that answers over TCP and UDP is named once; both stand side by side.
		if n := len(w.ports); n < MaxPorts && (n == 0 || w.ports[n-1] != e.Endpoint.Port) {
			w.ports = append(w.ports, e.Endpoint.Port)
		}
		if c := value(e.Coin); c != "" && !slices.Contains(w.coins, c) && len(w.coins) < MaxPorts {
			w.coins = append(w.coins, c)
		}
	}
	slices.Sort(w.coins)

	w.desc = append(w.desc[:0], "Mining pool"...)
	for i, c := range w.coins {
		w.desc = append(w.desc, [...]string{" (", ","}[min(i, 1)]...)
		w.desc = append(w.desc, c...)
	}
	if len(w.coins) > 0 {
		w.desc = append(w.desc, ')')
	}
	w.desc = append(w.desc, ", answered on "...)
	for i, e := range entries[:min(len(entries), maxDescribed)] {
		if i > 0 {
			w.desc = append(w.desc, ", "...)
		}
		w.desc = appendPort(w.desc, e.Endpoint)
		if e.TLS {
			w.desc = append(w.desc, " with TLS"...)
		}
	}
	if more := len(entries) - maxDescribed; more > 0 {
		w.desc = append(w.desc, " and "...)
		w.desc = strconv.AppendInt(w.desc, int64(more), 10)
		w.desc = append(w.desc, " more"...)
	}
	if at, ok := dated(newest.Verified); ok {
		w.desc = append(w.desc, ", last probe "...)
		w.desc = appendTime(w.desc, at)
	}
	if reason := clean(newest.Reason); reason != "" {
		w.desc = append(w.desc, ": "...)
		w.desc = append(w.desc, reason...)
	}

	if newest.Name == "" {
		w.b = newest.Endpoint.Addr.AppendTo(w.b)
		w.b = append(w.b, "\tIntel::ADDR\t"...)
	} else {
		w.b = append(w.b, newest.Name...)
		w.b = append(w.b, "\tIntel::DOMAIN\t"...)
	}
	w.b = append(w.b, Source...)
	w.b = append(w.b, '\t')
	w.b = appendZeek(w.b, w.desc)
	w.b = append(w.b, '\t')
	w.b = append(w.b, orUnset(wholeURL(newest.URL))...)
	w.b = append(w.b, "\tT\t"...)
	for i, p := range w.ports {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = strconv.AppendUint(w.b, uint64(p), 10)
	}
	w.b = append(w.b, '\t')
	if len(w.coins) == 0 {
		w.b = append(w.b, unset...)
	} else {
		w.desc = w.desc[:0]
		for i, c := range w.coins {
			if i > 0 {
				w.desc = append(w.desc, ',')
			}
			w.desc = append(w.desc, c...)
		}
		w.b = appendZeek(w.b, w.desc)
	}
	if w.remove {
		w.b = append(w.b, "\tF"...)
	}
	w.b = append(w.b, '\n')
}

// tombstones writes a line for each removed indicator that is not published. They come before the others: of two lines of
// one indicator the last counts.
func (s *set) tombstones(b []byte) []byte {
	addrs, names := map[netip.Addr]bool{}, map[string]bool{}
	for _, e := range s.addrs {
		addrs[e.Endpoint.Addr] = true
	}
	for _, e := range s.names {
		names[e.Name] = true
	}
	var deadAddrs []netip.Addr
	var deadNames []string
	for i := range s.opts.Removed {
		e := &s.opts.Removed[i]
		addr := minecanary.CanonicalAddr(e.Endpoint.Addr)
		if e.Name != "" {
			if name, ok := HostName(e.Name); ok && !names[name] {
				names[name] = true
				deadNames = append(deadNames, name)
			}
		} else if addr.IsValid() && !addrs[addr] {
			addrs[addr] = true
			deadAddrs = append(deadAddrs, addr)
		}
	}
	slices.SortFunc(deadAddrs, netip.Addr.Compare)
	slices.Sort(deadNames)
	const rest = "\t" + Source + "\tRemoved\t-\tF\t-\t-\tT\n"
	for _, a := range deadAddrs {
		b = append(a.AppendTo(b), "\tIntel::ADDR"+rest...)
	}
	for _, n := range deadNames {
		b = append(append(b, n...), "\tIntel::DOMAIN"+rest...)
	}
	return b
}

// pools gives the file of pools.zeek. The columns coin and protocol are not optional there, an unset one would cost the
// line.
func (s *set) pools() []byte {
	b := s.room(len(poolsHeader), poolsLine, 1)
	b = append(b, poolsHeader...)
	for _, e := range s.addrs {
		b = e.Endpoint.Addr.AppendTo(b)
		b = append(b, '\t')
		b = appendPort(b, e.Endpoint)
		b = append(b, '\t')
		b = appendZeek(b, cmp.Or(value(e.Coin), string(minecanary.Unknown)))
		b = append(b, '\t')
		b = appendZeek(b, cmp.Or(value(e.Dialect), string(minecanary.Unknown)))
		b = append(b, '\t')
		if at, ok := dated(e.Verified); ok {
			b = strconv.AppendInt(b, at.Unix(), 10)
			b = append(b, ".0"...)
		} else {
			b = append(b, unset...)
		}
		b = append(b, '\t')
		b = append(b, orUnset(wholeURL(e.URL))...)
		b = append(b, '\n')
	}
	return b
}

// poolNames gives the names for pools.zeek.
func (s *set) poolNames() []byte {
	b := make([]byte, 0, len(namesHeader)+listLine*len(s.names))
	b = append(b, namesHeader...)
	for entries := range s.byName() {
		b = append(b, entries[0].Name...)
		b = append(b, '\t')
		b = appendZeek(b, cmp.Or(value(newest(entries).Coin), string(minecanary.Unknown)))
		b = append(b, '\n')
	}
	return b
}

// appendPort adds Zeek's spelling of a port: 3333/tcp.
func appendPort(b []byte, e minecanary.Endpoint) []byte {
	b = strconv.AppendUint(b, uint64(e.Port), 10)
	b = append(b, '/')
	return append(b, e.Transport.String()...)
}

func orUnset(s string) string { return cmp.Or(s, unset) }

// value is clean, or "" where the reader could take what is left for "no value".
func value(s string) string {
	s = clean(s)
	if s == unset || s == "(empty)" {
		return ""
	}
	return s
}

// appendZeek adds clean text with each backslash as \x5c (the reader decodes \xHH and knows no other escape), at most
// MaxField bytes and never half an escape. A space that the cut leaves at the end goes too.
func appendZeek[T string | []byte](b []byte, s T) []byte {
	const escape = `\x5c`
	start, from := len(b), 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		if len(b)-start > MaxField {
			b = b[:start+MaxField]
			break
		}
		if i == len(s) || len(b)-start+len(escape) > MaxField {
			break
		}
		b = append(b, escape...)
		from = i + 1
	}
	for len(b) > start && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
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
