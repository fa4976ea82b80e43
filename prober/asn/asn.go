// Package asn tells which autonomous system announces an address, by a database file of the operator's.
package asn

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/minecanary/minecanary"
)

// Bounds of a database.
const (
	// MaxFile is the largest file in bytes. Databases of autonomous systems alone have about 10 MB, those with countries
	// about 60.
	MaxFile = 256 << 20
	// maxNetworks is how many networks are looked at when a file is checked, and aliases count: an IPv6 database has all
	// of IPv4 several times. A file with more is none, or its tree runs in circles.
	maxNetworks = 1 << 26
	// every is how old the last look at the file may be when somebody asks.
	every = 10 * time.Second
)

// Database is a file in MaxMind's format (MaxMind DB File Format Specification 2.0) whose records name autonomous systems:
// autonomous_system_number as GeoLite2-ASN and DB-IP have it, or asn, a number or a text such as "AS64500", as IPinfo has
// it. The file is read again when it changes; a new version that is broken does not take effect. It is safe for concurrent
// use.
type Database struct {
	path string
	now  func() time.Time
	warn func(error)
	data atomic.Pointer[maxminddb.Reader]

	mu     sync.Mutex
	looked time.Time
	seen   os.FileInfo // of the version that was looked at last, good or bad; nil if there was none
}

// Open reads the file and checks all of it. now is the clock that says when the file is looked at again, nil for time.Now;
// warn hears of each later version that is bad, and of a file that is gone.
func Open(path string, now func() time.Time, warn func(error)) (*Database, error) {
	if now == nil {
		now = time.Now
	}
	d := &Database{path: path, now: now, warn: warn, looked: now()}
	if err := d.look(); err != nil {
		return nil, err
	}
	return d, nil
}

// Number gives the number of the autonomous system that announces the address, 0 if the database does not know it.
func (d *Database) Number(addr netip.Addr) uint32 {
	d.refresh()
	return number(d.data.Load().Lookup(minecanary.CanonicalAddr(addr)))
}

// refresh looks whether the file has changed, if the last look is old. One caller does it; the others go on with what there
// is.
func (d *Database) refresh() {
	if !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	now := d.now()
	if age := now.Sub(d.looked); age >= 0 && age < every {
		return
	}
	d.looked = now
	if err := d.look(); err != nil {
		d.warn(fmt.Errorf("what was read of it before holds on: %w", err))
	}
}

// look reads the file if it has changed. The error tells once what is wrong with a new version.
func (d *Database) look() error {
	info, err := os.Stat(d.path)
	if err != nil {
		if d.seen == nil && d.data.Load() != nil {
			return nil
		}
		d.seen = nil
		return fmt.Errorf("autonomous systems: %w", err)
	}
	if d.seen != nil && os.SameFile(d.seen, info) && d.seen.Size() == info.Size() && d.seen.ModTime().Equal(info.ModTime()) {
		return nil
	}
	// What was looked at is noted before it is read: what changes meanwhile is read again.
	d.seen = info
	text, err := read(d.path, info)
	if err != nil {
		return fmt.Errorf("autonomous systems: %w", err)
	}
	data, err := parse(text, maxNetworks)
	if err != nil {
		return fmt.Errorf("autonomous systems: %s: %w", d.path, err)
	}
	d.data.Store(data)
	return nil
}

// read reads the file. It is not mapped into memory: what is written over in place would change or end below the reader.
func read(path string, info os.FileInfo) ([]byte, error) {
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Size() > MaxFile:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, MaxFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}

// parse checks a database of at most so many networks, and gives it. The bytes are the reader's from then on.
func parse(text []byte, most int) (*maxminddb.Reader, error) {
	// The cache of strings is of no use: a record is read for its number.
	data, err := maxminddb.OpenBytes(text, maxminddb.DisableStringCache())
	if err != nil {
		return nil, err
	}
	records := map[uintptr]bool{}
	networks, known := 0, false
	// Aliases and empty networks are walked as well, so that every way through the tree counts.
	for result := range data.Networks(maxminddb.IncludeAliasedNetworks(), maxminddb.IncludeNetworksWithoutData()) {
		if err := result.Err(); err != nil {
			return nil, err
		}
		if networks++; networks > most {
			return nil, fmt.Errorf("more than %d networks", most)
		}
		if at := result.Offset(); result.Found() && !records[at] {
			records[at] = true
			n, err := decode(result)
			if err != nil {
				return nil, err
			}
			known = known || n != 0
		}
	}
	if !known {
		return nil, errors.New("no record names an autonomous system")
	}
	return data, nil
}

// number gives the number of a lookup, 0 if there is none.
func number(result maxminddb.Result) uint32 {
	n, err := decode(result)
	if err != nil {
		return 0 // an IPv6 address in a database of IPv4; the records were checked
	}
	return n
}

// decode gives the number in a record, 0 if it has none. The error is that of a record that cannot be read.
func decode(result maxminddb.Result) (uint32, error) {
	for _, key := range []string{"autonomous_system_number", "asn"} {
		var v any
		if err := result.DecodePath(&v, key); err != nil {
			return 0, err
		}
		if n := value(v); n != 0 {
			return n, nil
		}
	}
	return 0, nil
}

// value reads a number as databases write it, 0 if it is none (RFC 7607) or has more than 32 bits (RFC 6793).
func value(v any) uint32 {
	var text string
	switch v := v.(type) {
	case string:
		text = v
		if len(v) > 2 && strings.EqualFold(v[:2], "AS") {
			text = v[2:]
		}
	case uint64, uint32, uint16, int32, int:
		text = fmt.Sprint(v)
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
