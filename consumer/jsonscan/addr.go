package jsonscan

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Addr reads an IPv4 or IPv6 address in text form, as netip.ParseAddr does. A zone is dropped, IPv4-mapped addresses
// come out as IPv4 (minecanary.CanonicalAddr). It does not allocate, unless there is a zone or dots in an IPv6 address.
func Addr(b []byte) (netip.Addr, bool) {
	if a, ok := fastAddr(b); ok {
		return a, true
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap().WithZone(""), err == nil
}

// fastAddr knows IPv4 in dotted form and IPv6 without dots or zone.
func fastAddr(b []byte) (netip.Addr, bool) {
	if a, ok := addr4(b); ok {
		return a, true
	}
	return addr6(b)
}

// The lengths of an IPv4 address in dotted form.
const (
	minAddr4 = len("0.0.0.0")
	maxAddr4 = len("255.255.255.255")
)

// addr4 reads an IPv4 address; as in netip, a leading zero is an error. It works without a branch that depends on how
// many digits there are, as that cannot be predicted.
func addr4(b []byte) (netip.Addr, bool) {
	n := len(b)
	if n < minAddr4 || n > maxAddr4 {
		return netip.Addr{}, false
	}
	// The text as a number of 128 bits, first character lowest, and a dot behind it.
	var low, high uint64
	if n == minAddr4 {
		low = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[3:]))<<24 | '.'<<56
	} else {
		low = binary.LittleEndian.Uint64(b)
		high = binary.LittleEndian.Uint64(b[n-8:])>>(8*(16-n)) | '.'<<(8*(n-8))
	}
	const dots = ones * '.'
	var addr uint32
	for range 4 {
		// Only dots in the first four characters matter.
		x := low ^ dots
		size := bits.TrailingZeros64((x-ones)&^x&highs) >> 3
		if size-1 > 2 || size == 0 {
			return netip.Addr{}, false
		}
		// The masks of the shifts change nothing, but save the processor from looking for larger ones.
		digits := (uint32(low) ^ zeros&0xFFFFFFFF) << ((32 - 8*size) & 31)
		value := digits>>24 + digits>>16&0xFF*10 + digits>>8&0xFF*100
		if (digits+0x76767676|digits)&0x80808080 != 0 || value > 255 || value < leastValue[size&3] {
			return netip.Addr{}, false
		}
		addr = addr<<8 | value
		shift := 8 * (size + 1)
		low = low>>(shift&63) | high<<((64-shift)&63)
		high >>= shift & 63
	}
	if low|high != 0 {
		return netip.Addr{}, false
	}
	var raw [4]byte
	binary.BigEndian.PutUint32(raw[:], addr)
	return netip.AddrFrom4(raw), true
}

// leastValue is the least number of one, two and three digits without a leading zero.
var leastValue = [4]uint32{1: 0, 2: 10, 3: 100}

// addr6 reads an IPv6 address of hexadecimal groups with at most one "::".
func addr6(b []byte) (netip.Addr, bool) {
	var raw [16]byte
	n, gap := 0, -1
	i := 0
	if len(b) >= 2 && b[0] == ':' {
		if b[1] != ':' {
			return netip.Addr{}, false
		}
		gap, i = 0, 2
	}
	for i < len(b) {
		if n == 16 {
			return netip.Addr{}, false
		}
		var v uint16
		first := i
		for i < len(b) && i < first+4 {
			h := unhex(b[i])
			if h > 15 {
				break
			}
			v = v<<4 | uint16(h)
			i++
		}
		if i == first {
			return netip.Addr{}, false
		}
		binary.BigEndian.PutUint16(raw[n:], v)
		n += 2
		if i == len(b) {
			break
		}
		if b[i] != ':' || i+1 == len(b) {
			return netip.Addr{}, false
		}
		i++
		if b[i] == ':' {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap = n
			i++
		}
	}
	if gap < 0 && n != 16 || gap >= 0 && n == 16 {
		return netip.Addr{}, false
	}
	if gap >= 0 {
		tail := n - gap
		copy(raw[16-tail:], raw[gap:n])
		clear(raw[gap : 16-tail])
	}
	return netip.AddrFrom16(raw).Unmap(), true
}
