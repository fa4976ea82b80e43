// Package feed publishes proven pool endpoints as files that sensors and people read.
//
// Its law: the feed cannot hurt. Only what the Gate lets through is published, every entry leaves by expiry, no byte of a
// peer's answer can break a line, a reader never sees half a file, and a sudden flood of new endpoints is held back until
// somebody looked.
package feed

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minecanary/minecanary"
)

// Format names a form of the feed. docs/feeds.md says who reads which.
type Format string

// The forms.
const (
	// ZeekIntel is an input file of Zeek's Intel framework, one line an address or name. The columns of a stock Zeek come
	// first; meta.do_notice, meta.pool_ports and meta.pool_coin are ignored by one that does not load the scripts for them.
	// meta.if_in is left out, as a line with a value unknown to the sensor is lost.
	ZeekIntel Format = "zeek-intel"
	// ZeekIntelRemoval is ZeekIntel with tombstones, for sensors that load frameworks/intel/removal. A sensor without it
	// takes a tombstone for an indicator.
	ZeekIntelRemoval Format = "zeek-intel-removal"
	// ZeekPools is the file of Minecanary's pools.zeek (Mining::pools_file), one line an endpoint.
	ZeekPools Format = "zeek-pools"
	// ZeekNames is the other file of pools.zeek (Mining::names_file), one line a name.
	ZeekNames Format = "zeek-names"
	// SuricataRules has a rule for each endpoint and two for each name.
	SuricataRules Format = "suricata-rules"
	// SuricataDataset has lists of addresses and names and the rules that load them, for Suricata 7 and later.
	SuricataDataset Format = "suricata-dataset"
	// SuricataDatasetJSON is SuricataDataset with coin, ports and time of the proof in the alert, for Suricata 8 and later.
	SuricataDatasetJSON Format = "suricata-dataset-json"
	// SuricataIPRep has Suricata's IP reputation: categories, scores by confidence, and a rule.
	SuricataIPRep Format = "suricata-iprep"
	// Addresses, Endpoints and Domains are plain lists, one to a line.
	Addresses Format = "addresses"
	Endpoints Format = "endpoints"
	Domains   Format = "domains"
	// CSV is a table (RFC 4180) and JSON one document; both have all that is known of an entry.
	CSV  Format = "csv"
	JSON Format = "json"
	// STIX is a bundle of indicators (STIX 2.1).
	STIX Format = "stix"
	// MISP is a feed as MISP fetches it: a manifest, one event, and hashes of its values.
	MISP Format = "misp"
	// RPZ is a response policy zone of DNS.
	RPZ Format = "rpz"
)

// Formats lists the forms that are written unless others are asked for.
func Formats() []Format { return []Format{ZeekIntel, ZeekPools} }

// AllFormats lists every form.
func AllFormats() []Format {
	return []Format{
		ZeekIntel, ZeekIntelRemoval, ZeekPools, ZeekNames, SuricataRules, SuricataDataset, SuricataDatasetJSON, SuricataIPRep,
		Addresses, Endpoints, Domains, CSV, JSON, STIX, MISP, RPZ,
	}
}

// FileNames gives the names of the form's files in the feed directory, in the order in which they are to be written: the
// one that leads to the others is the last. No two forms share a name, and none has a folder. It is nil for an unknown form.
func (f Format) FileNames() []string {
	switch f {
	case ZeekIntel:
		return []string{"intel.dat"}
	case ZeekIntelRemoval:
		return []string{"intel-removal.dat"}
	case ZeekPools:
		return []string{"pools.dat"}
	case ZeekNames:
		return []string{"names.dat"}
	case SuricataRules:
		return []string{"pools.rules"}
	case SuricataDataset:
		return []string{"dataset-addresses.lst", "dataset-names.lst", "dataset.rules"}
	case SuricataDatasetJSON:
		return []string{"dataset-json-addresses.ndjson", "dataset-json-names.ndjson", "dataset-json.rules"}
	case SuricataIPRep:
		return []string{"iprep-categories.txt", "iprep.list", "iprep.rules"}
	case Addresses:
		return []string{"addresses.txt"}
	case Endpoints:
		return []string{"endpoints.txt"}
	case Domains:
		return []string{"domains.txt"}
	case CSV:
		return []string{"pools.csv"}
	case JSON:
		return []string{"pools.json"}
	case STIX:
		return []string{"stix.json"}
	case MISP:
		return []string{mispEvent + ".json", "hashes.csv", "manifest.json"}
	case RPZ:
		return []string{"rpz.zone"}
	}
	return nil
}

// FileName gives the last of FileNames, "" for an unknown form.
func (f Format) FileName() string {
	names := f.FileNames()
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
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

// Entry is one published endpoint.
type Entry struct {
	Endpoint minecanary.Endpoint
	// Name, if set, is the server's name in the catalogue, published instead of the address, which others share (a CDN).
	// It is never what a client or a server said.
	Name string
	// Coin and Dialect as the verdict has them; "" if unknown.
	Coin, Dialect string
	TLS           bool
	// Reason is the verdict's line for people.
	Reason string
	// First is when the endpoint was first confirmed without a gap since, Verified when it last answered as a pool, and
	// Expires when the entry leaves unless it is proved again.
	First, Verified, Expires time.Time
	// Confidence is 1 to 100: it decays from the proof on.
	Confidence int
	// Hosts is how many inside hosts talked to the address in the last 24 hours; -1 if that is not known.
	Hosts int
	// URL leads an analyst to more; "" for none.
	URL string
	// Lifted tells that the address rule refused it and the operator's allow list let it through.
	Lifted bool
}

// File is one file of a rendered form.
type File struct {
	// Name is the file's name in the feed directory, without a folder.
	Name string
	Data []byte
}

// Options is what Render needs beside the entries. The zero value is ready to use.
type Options struct {
	// At is the time of this generation of the feed. It gives the forms with a version of their own (STIX, MISP, the serial
	// of RPZ) a new one, so it is best kept while the entries stay the same. The zero time means the newest proof.
	At time.Time
	// Removed are entries of earlier generations for which ZeekIntelRemoval writes tombstones. One whose address or name is
	// still published gets none. Only Endpoint.Addr and Name are looked at.
	Removed []Entry
	// SIDBase is the first sid of Suricata's rules, SIDCount how many there may be from it on; 0 means DefaultSIDBase and
	// DefaultSIDCount.
	SIDBase, SIDCount uint32
}

// Render gives the files of a form, named and ordered as FileNames says. The entries may come in any order, those that the
// Gate gave are already in the fastest. Of several entries of one endpoint the one verified last is taken. An entry with a
// Name is left out where a form has addresses only, and everywhere if HostName refuses the name. Nothing is rendered, and
// an error returned, if an entry has no valid address, no port, or a transport other than TCP and UDP, and if Options has
// no room for the rules. The entries are not changed, the files are the caller's.
func Render(format Format, entries []Entry, opts Options) ([]File, error) {
	set, err := newSet(entries, opts)
	if err != nil {
		return nil, err
	}
	var data [][]byte
	switch format {
	case ZeekIntel:
		data = [][]byte{set.intel(false)}
	case ZeekIntelRemoval:
		data = [][]byte{set.intel(true)}
	case ZeekPools:
		data = [][]byte{set.pools()}
	case ZeekNames:
		data = [][]byte{set.poolNames()}
	case SuricataRules:
		rules, err := set.rules()
		if err != nil {
			return nil, err
		}
		data = [][]byte{rules}
	case SuricataDataset:
		data = set.dataset()
	case SuricataDatasetJSON:
		data = set.datasetJSON()
	case SuricataIPRep:
		data = set.iprep()
	case Addresses:
		data = [][]byte{set.addressList()}
	case Endpoints:
		data = [][]byte{set.endpointList()}
	case Domains:
		data = [][]byte{set.domainList()}
	case CSV:
		data = [][]byte{set.csv()}
	case JSON:
		data = [][]byte{set.json()}
	case STIX:
		data = [][]byte{set.stix()}
	case MISP:
		data = set.misp()
	case RPZ:
		data = [][]byte{set.rpz()}
	default:
		return nil, fmt.Errorf("unknown feed format %q", format)
	}
	names := format.FileNames()
	files := make([]File, len(names))
	for i, name := range names {
		files[i] = File{Name: name, Data: data[i]}
	}
	return files, nil
}

// Write writes the last file that Render gives with the zero Options; for most forms it is the only one. Nothing is written
// if Render fails.
func Write(w io.Writer, format Format, entries []Entry) error {
	files, err := Render(format, entries, Options{})
	if err != nil {
		return err
	}
	if _, err := w.Write(files[len(files)-1].Data); err != nil {
		return fmt.Errorf("write feed: %w", err)
	}
	return nil
}

// set is what is rendered: valid, ordered, each once.
type set struct {
	// addrs are the entries without a name, ordered by endpoint.
	addrs []*Entry
	// names are the entries with a name, ordered by name, port and transport, their addresses zero: others share those.
	names []*Entry
	opts  Options
	// text is how many bytes reasons and addresses of pages may take, for the first guess of a file's size.
	text int
}

// room gives an empty buffer for a file with so many bytes before all and for each entry, and the texts so many times.
func (s *set) room(head, entry, texts int) []byte {
	return make([]byte, 0, head+entry*(len(s.addrs)+len(s.names))+texts*s.text)
}

// partSize is how many items a part of a file has. A part of the longest form fits into a processor's cache.
const partSize = 512

// rows adds to b what row gives for each entry and its number, in parts.
func rows(b []byte, entries []*Entry, row func(b []byte, i int, e *Entry) []byte) []byte {
	return inParts(b, len(entries), func(b []byte, from, to int) []byte {
		for i := from; i < to; i++ {
			b = row(b, i, entries[i])
		}
		return b
	})
}

// inParts adds to b what part gives for n items from one number to another. The parts are made at once, one to a
// processor, and added in their order.
func inParts(b []byte, n int, part func(b []byte, from, to int) []byte) []byte {
	count := (n + partSize - 1) / partSize
	makers := min(runtime.GOMAXPROCS(0), count)
	if makers < 2 {
		return part(b, 0, n)
	}
	made := make([]chan []byte, count)
	for i := range made {
		made[i] = make(chan []byte, 1)
	}
	// Whoever has a buffer takes the next part, so that the part that is waited for always has one.
	buffers := make(chan []byte, 2*makers)
	size := (cap(b) - len(b)) / count
	for range cap(buffers) {
		buffers <- make([]byte, 0, size+size/8)
	}
	var next atomic.Int64
	for range makers {
		go func() {
			for buf := range buffers {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				made[i] <- part(buf[:0], i*partSize, min((i+1)*partSize, n))
			}
		}()
	}
	for _, ready := range made {
		buf := <-ready
		b = append(b, buf...)
		buffers <- buf
	}
	close(buffers)
	return b
}

// newSet checks, cleans and orders the entries, and fills in the options.
func newSet(entries []Entry, opts Options) (*set, error) {
	s := &set{opts: opts, addrs: make([]*Entry, 0, len(entries))}
	s.opts.SIDBase, s.opts.SIDCount = cmp.Or(opts.SIDBase, DefaultSIDBase), cmp.Or(opts.SIDCount, DefaultSIDCount)
	for i := range entries {
		e := &entries[i]
		ep := minecanary.NewEndpoint(e.Endpoint.Addr, e.Endpoint.Port, e.Endpoint.Transport)
		if !ep.Addr.IsValid() || ep.Port == 0 || (ep.Transport != minecanary.TCP && ep.Transport != minecanary.UDP) {
			return nil, fmt.Errorf("feed entry %s is no address and port of tcp or udp", ep)
		}
		s.text += min(len(e.Reason), MaxField) + min(len(e.URL), MaxField)
		if opts.At.IsZero() && e.Verified.After(s.opts.At) {
			s.opts.At = e.Verified
		}
		if e.Name != "" {
			name, ok := HostName(e.Name)
			if !ok {
				continue
			}
			ep.Addr = netip.Addr{}
			named := *e
			named.Name, named.Endpoint = name, ep
			s.names = append(s.names, &named)
			continue
		}
		if ep != e.Endpoint {
			canonical := *e
			canonical.Endpoint = ep
			e = &canonical
		}
		s.addrs = append(s.addrs, e)
	}
	if at, ok := dated(s.opts.At); ok {
		s.opts.At = at
	} else {
		s.opts.At = time.Unix(0, 0).UTC()
	}
	s.addrs, s.names = sorted(s.addrs), sorted(s.names)
	return s, nil
}

// byAddr gives the entries of each address, byName those of each name.
func (s *set) byAddr() iter.Seq[[]*Entry] {
	return groups(s.addrs, func(a, b *Entry) bool { return a.Endpoint.Addr == b.Endpoint.Addr })
}

func (s *set) byName() iter.Seq[[]*Entry] {
	return groups(s.names, func(a, b *Entry) bool { return a.Name == b.Name })
}

// all gives every entry, first those of addresses; indicators gives one entry for each name instead of one a port.
func (s *set) all() []*Entry { return slices.Concat(s.addrs, s.names) }

func (s *set) indicators() []*Entry {
	out := slices.Clone(s.addrs)
	for entries := range s.byName() {
		out = append(out, newest(entries))
	}
	return out
}

func groups(entries []*Entry, same func(a, b *Entry) bool) iter.Seq[[]*Entry] {
	return func(yield func([]*Entry) bool) {
		for len(entries) > 0 {
			n := 1
			for n < len(entries) && same(entries[0], entries[n]) {
				n++
			}
			if !yield(entries[:n]) {
				return
			}
			entries = entries[n:]
		}
	}
}

// sorted orders the entries and keeps the one verified last of each name and endpoint; what is left is the same whatever
// the order was. It works in place.
func sorted(entries []*Entry) []*Entry {
	if !slices.IsSortedFunc(entries, compare) {
		slices.SortFunc(entries, compare)
	}
	return slices.CompactFunc(entries, func(a, b *Entry) bool { return a.Name == b.Name && a.Endpoint == b.Endpoint })
}

// unique is sorted for the entries themselves.
func unique(entries []Entry) []Entry {
	slices.SortFunc(entries, func(a, b Entry) int { return compare(&a, &b) })
	return slices.CompactFunc(entries, func(a, b Entry) bool { return a.Name == b.Name && a.Endpoint == b.Endpoint })
}

// compare orders by name and endpoint, then the one verified last first, then by what else shows in a form.
func compare(a, b *Entry) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	if c := a.Endpoint.Compare(b.Endpoint); c != 0 {
		return c
	}
	if c := b.Verified.Compare(a.Verified); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Coin, b.Coin),
		cmp.Compare(a.Dialect, b.Dialect),
		cmp.Compare(a.Reason, b.Reason),
		cmp.Compare(a.URL, b.URL),
		a.First.Compare(b.First),
		a.Expires.Compare(b.Expires),
		cmp.Compare(a.Confidence, b.Confidence),
		cmp.Compare(a.Hosts, b.Hosts),
		compareBool(a.TLS, b.TLS),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
