package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/minecanary/minecanary"
)

// The buckets of the file. Their names are one byte, which goes into the checksums of what is in them.
const (
	bucketAbout   = 'i' // keyFormat: the version of the layout
	bucketCurrent = 'c' // track: the newest row of a track; the only rows that are written again and again
	bucketPast    = 'p' // track + from: the rows before
	bucketAddrs   = 'a' // address + name: nothing; which names ever had an address
	bucketProofs  = 't' // endpoint: when the last proof was made, and it as JSON
	bucketDocs    = 'd' // bucket + 0 + key: documents of others
)

const (
	keyFormat     = "format"
	formatVersion = 1
	// rowVersion is the first byte of every row.
	rowVersion = 1
)

// buckets are all that a file has, no more and no less.
var buckets = []byte{bucketAbout, bucketCurrent, bucketPast, bucketAddrs, bucketProofs, bucketDocs}

// Tracks, and the first byte of their keys. The order of the tracks of a subject in the file does not matter.
const (
	kindName     = 'n'
	kindEndpoint = 'e'

	trackAnswers  = 1 // of a name: addresses and chain
	trackLookups  = 2 // of a name: codes
	trackVerdicts = 3 // of an endpoint
	trackReach    = 4 // of an endpoint: whether it answers
	// trackDisputed is added for rows in the past that contradict what was seen without a break.
	trackDisputed = 0x80
)

// Times are milliseconds since 1970, in keys 6 bytes, the greatest first.
const (
	timeLen = 6
	maxTime = 1<<47 - 1
	noTime  = 1<<63 - 1
	crcLen  = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum behind a value: over the bucket, the key with its length, and the value.
func sum(bucket byte, key, value []byte) uint32 {
	head := [3]byte{bucket, byte(len(key) >> 8), byte(len(key))}
	return crc32.Update(crc32.Update(crc32.Update(0, castagnoli, head[:]), castagnoli, key), castagnoli, value)
}

// put writes a value with its checksum.
func put(b *bolt.Bucket, bucket byte, key, value []byte) error {
	stored := binary.LittleEndian.AppendUint32(slices.Clone(value), sum(bucket, key, value))
	return b.Put(key, stored)
}

// get reads a value. It is nil if there is none, and dead after the transaction.
func get(b *bolt.Bucket, bucket byte, key []byte) ([]byte, error) {
	stored := b.Get(key)
	if stored == nil {
		return nil, nil
	}
	return opened(bucket, key, stored)
}

// opened is a stored value without its checksum, which must be right.
func opened(bucket byte, key, stored []byte) ([]byte, error) {
	value, ok := checked(bucket, key, stored)
	if !ok {
		return nil, fmt.Errorf("%w: a value of bucket %c has another checksum; %s", ErrDamaged, bucket, restore)
	}
	return value, nil
}

func checked(bucket byte, key, stored []byte) ([]byte, bool) {
	if len(stored) < crcLen {
		return nil, false
	}
	value := stored[:len(stored)-crcLen]
	return value, binary.LittleEndian.Uint32(stored[len(value):]) == sum(bucket, key, value)
}

// row is one interval of a track: seen with one value from from to lastSeen.
type row struct {
	from, lastSeen, learnt int64
	// value is what observations are compared by, extra what else is kept.
	value, extra []byte
	disputed     bool
}

var errRow = errors.New("a row cannot be read")

func (r row) encode() []byte {
	b := make([]byte, 0, 32+len(r.value)+len(r.extra))
	b = append(b, rowVersion)
	b = binary.AppendUvarint(b, uint64(r.from))
	b = binary.AppendUvarint(b, uint64(r.lastSeen-r.from))
	b = binary.AppendVarint(b, r.learnt-r.from)
	b = appendBytes(b, r.value)
	return append(b, r.extra...)
}

// decodeRow reads a row; its bytes belong to b.
func decodeRow(b []byte) (row, error) {
	if len(b) == 0 || b[0] != rowVersion {
		return row{}, fmt.Errorf("%w: its version is not %d", errRow, rowVersion)
	}
	d := decoder{b: b[1:]}
	var r row
	from, seen, learnt := d.uint(), d.uint(), d.int()
	r.value = d.bytes()
	r.extra = d.b
	if d.bad || from > maxTime || seen > maxTime || from+seen > maxTime || learnt < -maxTime || learnt > maxTime {
		return row{}, errRow
	}
	r.from, r.lastSeen, r.learnt = int64(from), int64(from+seen), int64(from)+learnt
	return r, nil
}

// decoder reads numbers and texts one after another; what is wrong makes it bad, and all that follows zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte { return d.take(d.uint()) }
func (d *decoder) text() string  { return string(d.bytes()) }

// count reads how many things follow, each of which takes a byte at least.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

// done tells whether all was read, and nothing is left.
func (d *decoder) done() error {
	if d.bad || len(d.b) > 0 {
		return errRow
	}
	return nil
}

func appendBytes[T []byte | string](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendAddr writes an address so that those of one family are in order: 4 or 6, then its bytes. Addr is canonical.
func appendAddr(b []byte, addr netip.Addr) []byte {
	if addr.Is4() {
		a := addr.As4()
		return append(append(b, '4'), a[:]...)
	}
	a := addr.As16()
	return append(append(b, '6'), a[:]...)
}

func (d *decoder) addr() netip.Addr {
	family := d.take(1)
	switch {
	case len(family) == 1 && family[0] == '4':
		if a := d.take(4); a != nil {
			return netip.AddrFrom4([4]byte(a))
		}
	case len(family) == 1 && family[0] == '6':
		if a := d.take(16); a != nil {
			return netip.AddrFrom16([16]byte(a))
		}
	}
	d.fail()
	return netip.Addr{}
}

// Names in keys have their labels in reverse order, so that those below a suffix lie together; 0 ends them, which sorts
// before every character of a name.
func appendName(b []byte, name string) []byte {
	for name != "" {
		i := strings.LastIndexByte(name, '.')
		b = append(b, name[i+1:]...)
		if i < 0 {
			break
		}
		b, name = append(b, '.'), name[:i]
	}
	return append(b, 0)
}

// name reads what appendName wrote.
func (d *decoder) name() string {
	i := slices.Index(d.b, 0)
	if i < 0 {
		d.fail()
		return ""
	}
	labels := strings.Split(string(d.b[:i]), ".")
	d.b = d.b[i+1:]
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

func appendTime(b []byte, t int64) []byte {
	var a [8]byte
	binary.BigEndian.PutUint64(a[:], uint64(t))
	return append(b, a[8-timeLen:]...)
}

// time reads what appendTime wrote.
func (d *decoder) time() int64 {
	var a [8]byte
	copy(a[8-timeLen:], d.take(timeLen))
	return int64(binary.BigEndian.Uint64(a[:]))
}

func nameKey(name string, track byte) []byte {
	return append(appendName([]byte{kindName}, name), track)
}

func endpointKey(ep minecanary.Endpoint, track byte) []byte {
	return append(appendEndpoint([]byte{kindEndpoint}, ep), track)
}

func appendEndpoint(b []byte, ep minecanary.Endpoint) []byte {
	b = appendAddr(b, ep.Addr)
	b = append(b, byte(ep.Transport))
	return binary.BigEndian.AppendUint16(b, ep.Port)
}

func (d *decoder) endpoint() minecanary.Endpoint {
	ep := minecanary.Endpoint{Addr: d.addr()}
	if b := d.take(3); b != nil {
		ep.Transport, ep.Port = minecanary.Transport(b[0]), binary.BigEndian.Uint16(b[1:])
	}
	return ep
}

// answer is the value of trackAnswers. Addrs are canonical, in order and different.
type answer struct {
	addrs []netip.Addr
	chain []string
}

func (a answer) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(a.addrs)))
	for _, addr := range a.addrs {
		b = appendAddr(b, addr)
	}
	b = binary.AppendUvarint(b, uint64(len(a.chain)))
	for _, name := range a.chain {
		b = appendBytes(b, name)
	}
	return b
}

func decodeAnswer(b []byte) (answer, error) {
	d := decoder{b: b}
	var a answer
	for range d.count() {
		a.addrs = append(a.addrs, d.addr())
	}
	for range d.count() {
		a.chain = append(a.chain, d.text())
	}
	return a, d.done()
}

// verdict is the value of trackVerdicts.
type verdict struct {
	status, dialect, coin string
	tls                   bool
}

func (v verdict) encode() []byte {
	b := appendBytes(appendBytes(appendBytes(nil, v.status), v.dialect), v.coin)
	if v.tls {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeVerdict(b []byte) (verdict, error) {
	d := decoder{b: b}
	v := verdict{status: d.text(), dialect: d.text(), coin: d.text()}
	tls := d.uint()
	v.tls = tls == 1
	if tls > 1 {
		d.fail()
	}
	return v, d.done()
}

// why is the extra of rows of endpoints: by which name it was asked last, and the reasons of the first and the last
// observation. A last reason equal to the first is not written.
type why struct{ name, first, last string }

func (w why) encode() []byte {
	b := appendBytes(appendBytes(nil, w.name), w.first)
	if w.last != w.first {
		b = appendBytes(b, w.last)
	}
	return b
}

func decodeWhy(b []byte) (why, error) {
	d := decoder{b: b}
	w := why{name: d.text(), first: d.text()}
	w.last = w.first
	if len(d.b) > 0 {
		w.last = d.text()
	}
	return w, d.done()
}
