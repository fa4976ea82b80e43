// Package tor tells whether an address was a relay of the Tor network at a time, by files of the operator's. Nothing is
// fetched.
//
// Two forms are read, and told apart by their first character: comma-separated values of our own,
//
//	address,from,to,flags,fingerprint
//	192.0.2.7,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,Exit|Guard,9695DFC35FFEB861329B9F1AB04C46397020CE31
//	2001:db8::7,2026-01-01,
//
// and the details documents of Onionoo (metrics.torproject.org/onionoo.html), of which a history is as many as were kept.
package tor

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/internal/lines"
)

// The bounds of the files.
const (
	// MaxIntervals is how many intervals a table may have, of all files together.
	MaxIntervals = 4_000_000
	// MaxErrors is how many bad rows of a file are reported one by one; the rest is counted in one more error.
	MaxErrors = 1000
	// MaxFile is how many bytes of a file are read.
	MaxFile = 1 << 30

	maxLine  = 4096
	maxFlags = 256 // bytes of a relay's flags
	// validity is how long clients use a consensus: valid-until is three hours after valid-after (dir-spec, section 1.4).
	// A relay that was seen last in a consensus was one for so long.
	validity = 3 * time.Hour
)

// Relay is a relay of Tor at an address.
type Relay struct {
	// Fingerprint is its identity, 40 hexadecimal digits in upper case; "" if the file does not tell.
	Fingerprint string
	// Flags are what the directory authorities said of it, such as Exit and Guard, in the order of the file.
	Flags []string
	// From and To bound the time that it was known for at the address; To is exclusive, and zero for open.
	From, To time.Time
}

// Has tells whether the relay has a flag.
func (r Relay) Has(flag string) bool { return slices.Contains(r.Flags, flag) }

// identity is what several intervals of a relay share.
type identity struct{ fingerprint, flags string }

// interval is a time, in Unix seconds, at which an address was a relay's.
type interval struct {
	addr     netip.Addr
	from, to int64
	// latest is the last end of this and all earlier intervals of the address.
	latest int64
	relay  int32
}

// Relays is a table of relays. It never changes after it was read, so it may be used by several goroutines at once. Nil is
// an empty table.
type Relays struct {
	intervals []interval // by address, start, and then place in the files
	relays    []identity
}

// Len is the number of intervals.
func (t *Relays) Len() int {
	if t == nil {
		return 0
	}
	return len(t.intervals)
}

// At finds the relay that was at an address at a time. Of several it is the one that came last, in time and then in the
// files.
func (t *Relays) At(addr netip.Addr, at time.Time) (Relay, bool) {
	if t == nil || !addr.IsValid() {
		return Relay{}, false
	}
	addr = minecanary.CanonicalAddr(addr)
	second := at.Unix()
	// The first interval that is behind all that could hold the time.
	i, _ := slices.BinarySearchFunc(t.intervals, struct{}{}, func(v interval, _ struct{}) int {
		if c := v.addr.Compare(addr); c != 0 {
			return c
		}
		if v.from <= second {
			return -1
		}
		return 1
	})
	for i--; i >= 0 && t.intervals[i].addr == addr && t.intervals[i].latest > second; i-- {
		v := t.intervals[i]
		if v.to <= second {
			continue
		}
		who := t.relays[v.relay]
		r := Relay{Fingerprint: who.fingerprint, Flags: strings.Fields(who.flags), From: time.Unix(v.from, 0).UTC()}
		if v.to != math.MaxInt64 {
			r.To = time.Unix(v.to, 0).UTC()
		}
		return r, true
	}
	return Relay{}, false
}

// ReadFiles reads files into one table. What is wrong is an error, with file and line where there are lines; the rest is in
// the table, which is never nil.
func ReadFiles(paths []string) (*Relays, []error) {
	b := newBuilder()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			b.errs = append(b.errs, fmt.Errorf("read relays: %w", err))
			continue
		}
		b.read(f, path)
		if err := f.Close(); err != nil {
			b.errs = append(b.errs, fmt.Errorf("read relays: %w", err))
		}
	}
	return b.table(), b.errs
}

// Parse reads one file; name is what errors call it.
func Parse(r io.Reader, name string) (*Relays, []error) {
	b := newBuilder()
	b.read(r, name)
	return b.table(), b.errs
}

// builder collects intervals.
type builder struct {
	t      *Relays
	places map[identity]int32
	errs   []error
	full   bool
	most   int   // intervals
	bytes  int64 // of each file

	// Of the file that is being read.
	name      string
	bad, more int
}

func newBuilder() *builder {
	return &builder{t: &Relays{}, places: map[identity]int32{}, most: MaxIntervals, bytes: MaxFile}
}

// read reads one file of either form.
func (b *builder) read(r io.Reader, name string) {
	b.name, b.bad, b.more = name, 0, 0
	limited := &io.LimitedReader{R: r, N: b.bytes}
	br := bufio.NewReaderSize(limited, 64<<10)
	if bom, err := br.Peek(3); err == nil && string(bom) == "\ufeff" {
		_, _ = br.Discard(len(bom)) // just peeked at
	}
	first, _ := br.Peek(1)
	for len(first) > 0 && (first[0] == ' ' || first[0] == '\t' || first[0] == '\r') {
		_, _ = br.Discard(1) // just peeked at
		first, _ = br.Peek(1)
	}
	if len(first) > 0 && first[0] == '{' {
		b.onionoo(br)
	} else {
		b.rows(struct{ io.Reader }{br}) // hidden, because lines are bounded by a buffer of their own
	}
	if limited.N == 0 {
		b.errs = append(b.errs, fmt.Errorf("%s: the file is larger than %d bytes, the rest is left out", name, b.bytes))
	}
	if b.more > 0 {
		b.errs = append(b.errs, fmt.Errorf("%s: %d more rows are wrong", name, b.more))
	}
}

// fail reports what is wrong with a place, such as ":7".
func (b *builder) fail(place, reason string) {
	if b.bad++; b.bad > MaxErrors {
		b.more++
		return
	}
	b.errs = append(b.errs, fmt.Errorf("%s%s: %s", b.name, place, reason))
}

// rows reads comma-separated values.
func (b *builder) rows(r io.Reader) {
	err := lines.Each(r, maxLine, func(number int, line, reason string) bool {
		line = strings.TrimSpace(line)
		header := number == 1 && strings.HasPrefix(strings.ToLower(line), "address,")
		if reason == "" && line != "" && line[0] != '#' && !header {
			reason = b.row(line)
		}
		if reason != "" {
			b.fail(fmt.Sprintf(":%d", number), reason)
		}
		return !b.full
	})
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("read %s: %w", b.name, err))
	}
}

// row reads one row.
func (b *builder) row(line string) (reason string) {
	const least, most = 3, 5
	var fields [most]string
	n := 0
	for f := range strings.SplitSeq(line, ",") {
		if n == most {
			n++
			break
		}
		fields[n] = strings.TrimSpace(f)
		n++
	}
	if n < least || n > most {
		return "a row has address,from,to and perhaps flags,fingerprint"
	}
	addr, err := netip.ParseAddr(fields[0])
	if err != nil || addr.Zone() != "" {
		return fmt.Sprintf("%+q is no address", clip(fields[0]))
	}
	from, ok := parseTime(fields[1])
	if !ok {
		return fmt.Sprintf("%+q is no time such as 2026-12-31T00:00:00Z", clip(fields[1]))
	}
	to := int64(math.MaxInt64)
	if fields[2] != "" {
		if to, ok = parseTime(fields[2]); !ok {
			return fmt.Sprintf("%+q is no time such as 2026-12-31T00:00:00Z", clip(fields[2]))
		}
	}
	who := identity{fields[4], fields[3]}
	if strings.Contains(who.flags, "|") {
		who.flags = strings.ReplaceAll(who.flags, "|", " ")
	}
	return b.add(addr, from, to, who)
}

// add takes one interval; reason tells why not.
func (b *builder) add(addr netip.Addr, from, to int64, who identity) (reason string) {
	place, known := b.places[who]
	if !known {
		spelled := identity{strings.ToUpper(who.fingerprint), who.flags}
		if spelled.fingerprint != "" && (len(spelled.fingerprint) != 40 || strings.Trim(spelled.fingerprint, "0123456789ABCDEF") != "") {
			return fmt.Sprintf("%+q is no fingerprint", clip(who.fingerprint))
		}
		if len(who.flags) > maxFlags || strings.ContainsFunc(who.flags, func(r rune) bool {
			return r != ' ' && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
		}) {
			return fmt.Sprintf("%+q are no flags", clip(who.flags))
		}
		place = int32(len(b.t.relays))
		b.t.relays = append(b.t.relays, spelled)
		b.places[who] = place
	}
	if to <= from {
		return "it ends before it begins"
	}
	if len(b.t.intervals) == b.most {
		b.full = true
		return fmt.Sprintf("there are more than %d intervals, the rest is left out", b.most)
	}
	b.t.intervals = append(b.t.intervals, interval{addr: minecanary.CanonicalAddr(addr), from: from, to: to, relay: place})
	return ""
}

// onionooRelay is what we read of a relay in a details document.
type onionooRelay struct {
	Fingerprint   string   `json:"fingerprint"`
	OrAddresses   []string `json:"or_addresses"`
	ExitAddresses []string `json:"exit_addresses"`
	FirstSeen     string   `json:"first_seen"`
	LastSeen      string   `json:"last_seen"`
	Changed       string   `json:"last_changed_address_or_port"`
	Flags         []string `json:"flags"`
}

// onionoo reads a details document. It tells a relay's addresses since they last changed; what they were before is in older
// documents alone.
func (b *builder) onionoo(r io.Reader) {
	d := json.NewDecoder(r)
	depth, listed := 0, false
	for !b.full {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && depth > 0 {
			err = io.ErrUnexpectedEOF
		}
		if errors.Is(err, io.EOF) {
			if !listed {
				b.fail("", "there is no list of relays in it")
			}
			return
		}
		if err != nil {
			b.errs = append(b.errs, fmt.Errorf("read %s: %w", b.name, err))
			return
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		case "relays":
			if depth != 1 {
				continue
			}
			if token, err = d.Token(); err != nil || token != json.Delim('[') {
				b.fail("", "relays is no list")
				return
			}
			listed = true
			for number := 0; d.More() && !b.full; number++ {
				var relay onionooRelay
				if err := d.Decode(&relay); err != nil {
					b.errs = append(b.errs, fmt.Errorf("read %s: relay %d: %w", b.name, number, err))
					return
				}
				b.onionooRelay(relay, fmt.Sprintf(": relay %d", number))
			}
			if _, err = d.Token(); err != nil {
				b.errs = append(b.errs, fmt.Errorf("read %s: %w", b.name, err))
				return
			}
		}
	}
}

func (b *builder) onionooRelay(relay onionooRelay, place string) {
	from, ok := parseTime(cmp.Or(relay.Changed, relay.FirstSeen))
	first, also := parseTime(relay.FirstSeen)
	to, last := parseTime(relay.LastSeen)
	if !ok || !also || !last {
		b.fail(place, "first_seen, last_seen or last_changed_address_or_port is no time")
		return
	}
	from, to = max(from, first), to+int64(validity/time.Second)
	who := identity{relay.Fingerprint, strings.Join(relay.Flags, " ")}
	var have []netip.Addr
	for _, text := range relay.OrAddresses {
		p, err := netip.ParseAddrPort(text)
		if err != nil {
			b.fail(place, fmt.Sprintf("%+q is no address and port", clip(text)))
			continue
		}
		have = append(have, p.Addr())
	}
	for _, text := range relay.ExitAddresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			b.fail(place, fmt.Sprintf("%+q is no address", clip(text)))
			continue
		}
		have = append(have, addr)
	}
	slices.SortFunc(have, netip.Addr.Compare)
	for _, addr := range slices.Compact(have) {
		if reason := b.add(addr, from, to, who); reason != "" {
			b.fail(place, reason)
			return
		}
	}
}

// table sorts what was read.
func (b *builder) table() *Relays {
	t := b.t
	slices.SortStableFunc(t.intervals, func(x, y interval) int {
		return cmp.Or(x.addr.Compare(y.addr), cmp.Compare(x.from, y.from))
	})
	for i := range t.intervals {
		v := &t.intervals[i]
		v.latest = v.to
		if i > 0 && t.intervals[i-1].addr == v.addr {
			v.latest = max(v.to, t.intervals[i-1].latest)
		}
	}
	return t
}

// parseTime reads a time of RFC 3339, one as Onionoo writes it (UTC), or a date, which is its midnight in UTC. The year is
// one of Unix time.
func parseTime(s string) (int64, bool) {
	layout := time.RFC3339
	switch {
	case len(s) == len(time.DateOnly):
		layout = time.DateOnly
	case len(s) == len(time.DateTime) && s[len(time.DateOnly)] == ' ':
		layout = time.DateTime
	}
	t, err := time.Parse(layout, s)
	return t.Unix(), err == nil && t.Unix() >= 0
}

// clip bounds what is repeated in an error.
func clip(s string) string { return s[:min(len(s), 80)] }
