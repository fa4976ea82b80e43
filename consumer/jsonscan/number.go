package jsonscan

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// maxUintDigits is the number of digits Uint reads: below 10^15 a count is exact in a double too, so that no shipper
// that passes numbers through floating point can have changed it.
const maxUintDigits = 15

// zeros is eight times the digit 0; a digit's low nibble is its value, so XOR turns digits into values.
const zeros = ones * '0'

// digitRun gives the number of digits at the start of the eight characters w (first character lowest), at most 8, and
// their values, one per byte; bytes after the run are undefined.
func digitRun(w uint64) (n int, values uint64) {
	values = w ^ zeros
	// Adding 0x76 to a byte sets its high bit from 10 on. A carry can only spoil bytes after the first that is no digit.
	stop := (values + ones*0x76 | values) & highs
	return bits.TrailingZeros64(stop) >> 3, values
}

// eight gives the number whose eight digits' values stand in v, the first lowest: pairs, then fours, then all.
func eight(v uint64) uint64 {
	const (
		mask   = 0x000000FF000000FF
		first  = 100 + 1_000_000<<32
		second = 1 + 10_000<<32
	)
	v = v*10 + v>>8
	return uint64(uint32((v&mask*first + v>>16&mask*second) >> 32))
}

// Uint reads the digits at i as a whole number below 10^15 and gives the position after them. It fails on anything
// else, also on a leading zero; what follows the digits (a fraction, an exponent) is the caller's to look at.
func Uint(b []byte, i int) (v uint64, end int) {
	if i+8 <= len(b) {
		if n, values := digitRun(binary.LittleEndian.Uint64(b[i:])); n < 8 {
			if n == 0 || n > 1 && b[i] == '0' {
				return 0, fail
			}
			return eight(values << ((64 - 8*n) & 63)), i + n
		}
	}
	return longUint(b, i)
}

// longUint is Uint for numbers of eight digits or more, and for the end of a line.
func longUint(b []byte, i int) (v uint64, end int) {
	start := i
	for i < len(b) {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		v = v*10 + uint64(c)
		i++
	}
	n := i - start
	if n == 0 || n > maxUintDigits || n > 1 && b[start] == '0' {
		return 0, fail
	}
	return v, i
}

// Number gives the position after the JSON number (RFC 8259 section 6) that starts at i.
func Number(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b):
		return fail
	case b[i] == '0':
		i++
	default:
		if i = digits(b, i); i < 0 {
			return fail
		}
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return fail
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits gives the position after one or more digits.
func digits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return fail
	}
	return i
}

// Range says how a number lies to what can be held.
type Range uint8

// The values of Range.
const (
	// InRange: the number is held.
	InRange Range = iota
	// NotWhole: the number has a fraction where none may be.
	NotWhole
	// Negative: the number is below zero, even if it rounds to zero.
	Negative
	// TooLarge: the number is above math.MaxInt64.
	TooLarge
)

// maxExponent bounds the exponents Scaled counts with; beyond it a number is zero or too large anyway, as a line has at
// most 2^20 digits.
const maxExponent = 1 << 24

// Scaled gives the decimal number b, which must satisfy Number, times 10^shift, exactly and rounded half up; whole tells
// whether nothing was rounded away. Seconds are read as microseconds with shift 6.
func Scaled(b []byte, shift int) (v int64, whole bool, r Range) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	mantissa, exponent := b, 0
	for i, c := range b {
		if c|0x20 == 'e' {
			mantissa, exponent = b[:i], parseExponent(b[i+1:])
			break
		}
	}
	point := len(mantissa)
	for i, c := range mantissa {
		if c == '.' {
			point = i
			break
		}
	}
	// Digits before position keep are whole, the one at keep rounds.
	keep := point + exponent + shift
	var u uint64
	k, zero, round := 0, true, false
	whole = true
	for _, c := range mantissa {
		if c == '.' {
			continue
		}
		d := uint64(c - '0')
		if d != 0 {
			zero = false
		}
		switch {
		case k < keep:
			if u > (math.MaxInt64-d)/10 {
				return 0, false, sign(negative, TooLarge)
			}
			u = u*10 + d
		case d != 0:
			whole = false
			round = round || k == keep && d >= 5
		}
		k++
	}
	if zero {
		return 0, true, InRange
	}
	for ; k < keep && u != 0; k++ {
		if u > math.MaxInt64/10 {
			return 0, false, sign(negative, TooLarge)
		}
		u *= 10
	}
	if round {
		u++
	}
	if u > math.MaxInt64 {
		return 0, false, sign(negative, TooLarge)
	}
	return int64(u), whole, sign(negative, InRange)
}

// sign gives Negative for a negative number, else r.
func sign(negative bool, r Range) Range {
	if negative {
		return Negative
	}
	return r
}

// parseExponent reads an exponent, cut to ±maxExponent.
func parseExponent(b []byte) int {
	negative := false
	if b[0] == '+' || b[0] == '-' {
		negative = b[0] == '-'
		b = b[1:]
	}
	e := 0
	for _, c := range b {
		e = min(e*10+int(c-'0'), maxExponent)
	}
	if negative {
		return -e
	}
	return e
}

// Whole reads a JSON number as a whole number; 1.0 and 1e3 are whole.
func Whole(b []byte) (int64, Range) {
	v, whole, r := Scaled(b, 0)
	if r == InRange && !whole {
		return 0, NotWhole
	}
	return v, r
}
