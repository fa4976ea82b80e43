package redis

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// What is stored of a suspect is a run of segments, newest first, each of 20 values in MessagePack as the scripts pack
// them (apply.lua says which). Differences keep them short: the usual suspect with one segment takes about 60 bytes, and
// with no more than 64 its hash stays a listpack.
const (
	flagServices = 0x1f
	flagClosed   = 1 << 5
	flagMarked   = 1 << 6
	flagReopened = 1 << 7
	toldShift    = 8
	toldMask     = 3
	reportsShift = 10
)

var errValue = errors.New("a stored suspect cannot be read")

// segment is a stored segment. Its window follows from the end of its newest record.
type segment struct {
	aggregate        minecanary.Aggregate
	reports, told    uint8
	closed, reopened bool
	marked           bool // of the suspect: any segment's
	port             uint16
	sensor           uint32
	uid              minecanary.UID
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(b, byte(v))
	case v < 1<<8:
		return append(b, 0xcc, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), min(v, maxExact))
}

// maxExact is the greatest count the scripts hold without loss: their numbers are doubles. Counters stay there.
const maxExact = 1 << 53

func appendInt(b []byte, v int64) []byte {
	if v >= 0 {
		return appendUint(b, uint64(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
}

func (s *segment) append(b []byte) []byte {
	a := &s.aggregate
	b = appendInt(b, a.Last)
	b = appendInt(b, a.Last-a.First)
	if a.Counted() > 0 {
		b = appendInt(b, a.CountedFirst-a.First)
		b = appendInt(b, a.Last-a.CountedLast)
	} else {
		b = append(b, 0, 0)
	}
	b = appendUint(b, a.ClientPackets)
	b = appendUint(b, a.ServerPackets)
	b = appendUint(b, a.ClientBytes)
	b = appendUint(b, a.ServerBytes)
	b = appendUint(b, a.ClientPayload)
	b = appendUint(b, a.ServerPayload)
	b = appendInt(b, int64(a.ClientPackets-a.CountedPackets))
	b = appendInt(b, int64(a.ClientBytes-a.CountedBytes))
	b = appendUint(b, uint64(a.Ack))
	b = appendUint(b, uint64(a.AckPush))
	b = appendUint(b, uint64(a.Other))
	b = appendUint(b, uint64(a.Records))
	flags := uint64(a.Services) & flagServices
	if s.closed {
		flags |= flagClosed
	}
	if s.marked {
		flags |= flagMarked
	}
	if s.reopened {
		flags |= flagReopened
	}
	flags |= uint64(s.told&toldMask)<<toldShift | uint64(s.reports)<<reportsShift
	b = appendUint(b, flags)
	b = appendUint(b, uint64(s.port))
	b = appendUint(b, uint64(s.sensor))
	return appendUID(b, s.uid)
}

// reader takes values off a stored suspect.
type reader struct {
	b   string
	bad bool
}

func (r *reader) int() int64 {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	if c < 0x80 {
		r.b = r.b[1:]
		return int64(c)
	}
	if c >= 0xe0 {
		r.b = r.b[1:]
		return int64(int8(c))
	}
	size := 0
	switch c {
	case 0xcc, 0xd0:
		size = 1
	case 0xcd, 0xd1:
		size = 2
	case 0xce, 0xd2:
		size = 4
	case 0xcf, 0xd3, 0xcb:
		size = 8
	}
	if size == 0 || len(r.b) < 1+size {
		r.bad = true
		return 0
	}
	v := bits(r.b[1 : 1+size])
	r.b = r.b[1+size:]
	switch c {
	case 0xcb: // a number the scripts could not hold as an integer
		return int64(math.Float64frombits(v))
	case 0xd0, 0xd1, 0xd2:
		shift := 64 - 8*size
		return int64(v) << shift >> shift
	}
	return int64(v)
}

func (r *reader) text() string {
	if len(r.b) == 0 {
		r.bad = true
		return ""
	}
	at, n := 1, 0
	switch c := r.b[0]; {
	case c >= 0xa0 && c < 0xc0:
		n = int(c & 0x1f)
	case c == 0xd9 && len(r.b) > 1:
		at, n = 2, int(r.b[1])
	default:
		r.bad = true
		return ""
	}
	if len(r.b) < at+n {
		r.bad = true
		return ""
	}
	v := r.b[at : at+n]
	r.b = r.b[at+n:]
	return v
}

func (r *reader) segment(s *segment) {
	a := &s.aggregate
	last, length := r.int(), r.int()
	first, end := r.int(), r.int()
	a.Last, a.First = last, last-length
	a.ClientPackets, a.ServerPackets = uint64(r.int()), uint64(r.int())
	a.ClientBytes, a.ServerBytes = uint64(r.int()), uint64(r.int())
	a.ClientPayload, a.ServerPayload = uint64(r.int()), uint64(r.int())
	a.CountedPackets = a.ClientPackets - uint64(r.int())
	a.CountedBytes = a.ClientBytes - uint64(r.int())
	a.Ack, a.AckPush, a.Other = uint32(r.int()), uint32(r.int()), uint32(r.int())
	a.Records = uint32(r.int())
	a.CountedFirst, a.CountedLast = 0, 0
	if a.Counted() > 0 {
		a.CountedFirst, a.CountedLast = a.First+first, a.Last-end
	}
	flags := r.int()
	a.Services = minecanary.Services(flags & flagServices)
	s.closed, s.marked, s.reopened = flags&flagClosed != 0, flags&flagMarked != 0, flags&flagReopened != 0
	s.told, s.reports = uint8(flags>>toldShift&toldMask), uint8(flags>>reportsShift)
	s.port, s.sensor = uint16(r.int()), uint32(r.int())
	s.uid = readUID(r.text())
}

// decode reads a stored suspect into list, which is used again.
func decode(b string, list []segment) ([]segment, error) {
	r := reader{b: b}
	list = list[:0]
	for len(r.b) > 0 && !r.bad {
		list = append(list, segment{})
		r.segment(&list[len(list)-1])
	}
	if r.bad || len(list) == 0 {
		return nil, errValue
	}
	return list, nil
}

// encode is the stored form of a suspect; its mark goes to the first segment.
func encode(list []segment, b []byte) []byte {
	marked := false
	for i := range list {
		marked = marked || list[i].marked
		list[i].marked = false
	}
	list[0].marked = marked
	for i := range list {
		b = list[i].append(b)
	}
	return b
}

// Names of connections are stored packed, in the same order as unpacked: Zeek's (C and up to 17 base-62 digits) in 13
// bytes, EVE's (up to 20 decimal digits) in 10, others as they are, never in 13 or 10 bytes. A name that is shorter ends
// in ranks of zero.
const (
	zeekUID   = 13
	zeekChars = 17
	eveUID    = 10
)

const base62Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// base62 is a digit's rank by its byte, from 1; 0 for what is none.
var base62 = func() (rank [256]byte) {
	for i := range len(base62Digits) {
		rank[base62Digits[i]] = byte(i + 1)
	}
	return rank
}()

// eveDigits is the most digits of a packed name of EVE.
const eveDigits = 20

func appendUID(b []byte, uid minecanary.UID) []byte {
	n := len(uid)
	for n > 0 && uid[n-1] == 0 {
		n--
	}
	if n > 1 && uid[0] == 'C' && n <= zeekChars+1 {
		// 17 ranks of 6 bits, 102 of 104 bits.
		var hi, lo uint64
		ok := true
		for i := 1; i <= zeekChars; i++ {
			rank := uint64(0)
			if i < n {
				rank = uint64(base62[uid[i]])
				ok = ok && rank > 0
			}
			hi = hi<<6 | lo>>58
			lo = lo<<6 | rank
		}
		if ok {
			b = append(b, 0xa0|zeekUID, byte(hi>>32), byte(hi>>24), byte(hi>>16), byte(hi>>8), byte(hi))
			return binary.BigEndian.AppendUint64(b, lo)
		}
	}
	if n > 0 {
		// 20 ranks of 4 bits.
		var hi, lo uint64
		ok := true
		for i := range eveDigits {
			rank := uint64(0)
			if i < n {
				ok = ok && uid[i] >= '0' && uid[i] <= '9'
				rank = uint64(uid[i]-'0') + 1
			}
			hi = hi<<4 | lo>>60
			lo = lo<<4 | rank
		}
		if ok {
			return binary.BigEndian.AppendUint64(append(b, 0xa0|eveUID, byte(hi>>8), byte(hi)), lo)
		}
	}
	if n == zeekUID || n == eveUID {
		n++ // a zero byte tells it from a packed one
	}
	return append(append(b, 0xa0|byte(n)), uid[:n]...)
}

// bits reads up to 8 bytes, the highest first.
func bits(s string) (v uint64) {
	for i := range len(s) {
		v = v<<8 | uint64(s[i])
	}
	return v
}

func readUID(s string) (uid minecanary.UID) {
	switch len(s) {
	case zeekUID:
		hi, lo := bits(s[:5]), bits(s[5:])
		uid[0] = 'C'
		for i := zeekChars; i >= 1; i-- {
			if rank := lo & 63; rank > 0 && rank <= uint64(len(base62Digits)) {
				uid[i] = base62Digits[rank-1]
			}
			lo = lo>>6 | hi<<58
			hi >>= 6
		}
	case eveUID:
		hi, lo := bits(s[:2]), bits(s[2:])
		for i := eveDigits - 1; i >= 0; i-- {
			if rank := lo & 15; rank > 0 && rank <= 10 {
				uid[i] = '0' + byte(rank-1)
			}
			lo = lo>>4 | hi<<60
			hi >>= 4
		}
	default:
		copy(uid[:], s)
	}
	return uid
}

// appendAddr writes an address in 4 or 16 bytes.
func appendAddr(b []byte, addr netip.Addr) []byte {
	if addr.Is4() {
		a := addr.As4()
		return append(b, a[:]...)
	}
	a := addr.As16()
	return append(b, a[:]...)
}

func readAddr(b []byte) (netip.Addr, bool) {
	return netip.AddrFromSlice(b)
}

// appendEndpoint writes address, port and transport.
func appendEndpoint(b []byte, ep minecanary.Endpoint) []byte {
	b = appendAddr(b, ep.Addr)
	return append(b, byte(ep.Port>>8), byte(ep.Port), byte(ep.Transport))
}

func readEndpoint(b []byte) (minecanary.Endpoint, bool) {
	if len(b) != 4+3 && len(b) != 16+3 {
		return minecanary.Endpoint{}, false
	}
	n := len(b) - 3
	addr, _ := readAddr(b[:n])
	return minecanary.Endpoint{Addr: addr, Port: binary.BigEndian.Uint16(b[n:]), Transport: minecanary.Transport(b[n+2])}, true
}

// shardOf spreads endpoints over shards: FNV-1a of the endpoint's bytes, the same in every process and version.
func shardOf(endpoint []byte, shards int) int {
	h := uint64(14695981039346656037)
	for _, c := range endpoint {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	return int(h % uint64(shards))
}

// window is the report window of a segment.
func (s *segment) window(report int64) enrich.Window { return enrich.Window(s.aggregate.Last / report) }
