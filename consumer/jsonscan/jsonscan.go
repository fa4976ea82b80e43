// Package jsonscan reads the lines of sensor logs, JSON objects of one schema, and the values in them, without
// allocations: Scanner is told by a Schema which keys hold what, and gives the Values of a line. What its one pass does
// not know it reads again with encoding/json.
//
// The value functions (Uint, Micros, Date, Addr …) read from a line where the value stands; positions are byte offsets,
// and a function that fails gives one below 0. Nothing here keeps a reference to a line beyond the next call.
package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// MaxDepth is the deepest nesting of objects and arrays in a line; the outermost object is depth 1. Sensor logs stay
// below 10.
const MaxDepth = 64

// fail is the position returned by functions that could not read what they were asked for.
const fail = -1

// Patterns for looking at eight bytes at once.
const (
	ones   = 0x0101010101010101
	highs  = 0x8080808080808080
	quotes = ones * '"'
	slopes = ones * '\\'
	blanks = ones * ' '
)

// special marks the bytes of w that end a plain run of string bytes: quotes, backslashes, control bytes. Only the
// lowest mark is exact; a borrow can set marks above it.
func special(w uint64) uint64 {
	q := w ^ quotes
	s := w ^ slopes
	return ((q-ones)&^q | (s-ones)&^s | (w-blanks)&^w) & highs
}

// plain gives the end of the run of plain string bytes that starts at i: the position of the first quote, backslash or
// control byte, or len(b).
func plain(b []byte, i int) int {
	for i+8 <= len(b) {
		if m := special(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) {
		if c := b[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
		i++
	}
	return i
}

// plainEnd gives the position of the closing quote of a string whose first content byte is b[i]. It fails if the string
// does not end, or holds an escape or a control byte.
func plainEnd(b []byte, i int) int {
	end := plain(b, i)
	if end >= len(b) || b[end] != '"' {
		return fail
	}
	return end
}

// Blank gives the position of the first byte at or after i that is not white space (RFC 8259 section 2), or len(b).
func Blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// Literal gives the position after the word, if b holds it at i.
func Literal(b []byte, i int, word string) int {
	if i+len(word) > len(b) || string(b[i:i+len(word)]) != word {
		return fail
	}
	return i + len(word)
}

// Skip gives the position after the JSON value that starts at i, which lies depth containers deep (1 for a member of
// the outermost object). It fails on everything that is not JSON (RFC 8259), and on nesting over MaxDepth.
func Skip(b []byte, i, depth int) int {
	if i >= len(b) {
		return fail
	}
	switch b[i] {
	case '"':
		return skipString(b, i+1)
	case '{', '[':
		return skipContainer(b, i, depth)
	default:
		return skipScalar(b, i)
	}
}

// skipScalar passes a number, true, false or null.
func skipScalar(b []byte, i int) int {
	switch b[i] {
	case 't':
		return Literal(b, i, "true")
	case 'f':
		return Literal(b, i, "false")
	case 'n':
		return Literal(b, i, "null")
	}
	return Number(b, i)
}

// skipString passes a string of any content; i is the position of its first content byte.
func skipString(b []byte, i int) int {
	for {
		for i+8 <= len(b) {
			m := special(binary.LittleEndian.Uint64(b[i:]))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
			if c := b[i]; c == '"' {
				return i + 1
			} else if c != '\\' || i+1 >= len(b) || short[b[i+1]] == 0 {
				break
			}
			i += 2
		}
		i = plain(b, i)
		if i >= len(b) {
			return fail
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i = skipEscape(b, i+1); i < 0 {
				return fail
			}
		default:
			return fail
		}
	}
}

// skipEscape passes what follows a backslash.
func skipEscape(b []byte, i int) int {
	if i >= len(b) {
		return fail
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if i+5 > len(b) {
			return fail
		}
		for _, c := range b[i+1 : i+5] {
			if unhex(c) > 15 {
				return fail
			}
		}
		return i + 5
	}
	return fail
}

// skipContainer passes an object or array. The kinds of the open containers lie in a word of MaxDepth bits, 1 for an
// object.
func skipContainer(b []byte, i, depth int) int {
	var kinds uint64
	outer := depth
	for {
		// Here a value is due.
		if i = Blank(b, i); i >= len(b) {
			return fail
		}
		switch c := b[i]; c {
		case '{', '[':
			if depth++; depth > MaxDepth {
				return fail
			}
			kinds <<= 1
			if c == '{' {
				kinds |= 1
			}
			i = Blank(b, i+1)
			if i < len(b) && b[i] == c+2 { // '}' is '{'+2, ']' is '['+2
				break
			}
			if c == '{' {
				i = skipKey(b, i)
			}
			if i < 0 {
				return fail
			}
			continue
		case '"':
			i = skipString(b, i+1)
		default:
			i = skipScalar(b, i)
		}
		if i < 0 {
			return fail
		}
		// Here a value has ended, or an empty container is about to.
		for {
			if i = Blank(b, i); i >= len(b) {
				return fail
			}
			if c := b[i]; c == ',' {
				if i = Blank(b, i+1); kinds&1 == 1 {
					i = skipKey(b, i)
				}
				break
			} else if (c != '}' || kinds&1 == 0) && (c != ']' || kinds&1 == 1) {
				return fail
			}
			i++
			kinds >>= 1
			if depth--; depth == outer {
				return i
			}
		}
		if i < 0 {
			return fail
		}
	}
}

// skipKey passes a member's name and colon.
func skipKey(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return fail
	}
	if i = skipString(b, i+1); i < 0 {
		return fail
	}
	if i = Blank(b, i); i >= len(b) || b[i] != ':' {
		return fail
	}
	return i + 1
}

// unhex gives the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// HexByte reads two hexadecimal digits.
func HexByte(b []byte) (byte, bool) {
	if len(b) != 2 {
		return 0, false
	}
	h, l := unhex(b[0]), unhex(b[1])
	return h<<4 | l, h < 16 && l < 16
}
