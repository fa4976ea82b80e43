package jsonscan

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// Check says what is wrong with a text that should be one JSON object or array, without reading its values.
func Check(b []byte) Flaw {
	i := Blank(b, 0)
	if i < len(b) && (b[i] == '{' || b[i] == '[') {
		if end := Skip(b, i, 0); end >= 0 && Blank(b, end) == len(b) {
			return Sound
		}
	}
	if tooDeep(b) {
		return TooDeep
	}
	return NotJSON
}

// Unescape appends what a JSON string says to dst. Content is what stands between its quotes; it must be sound (see
// Skip). Half a surrogate pair becomes U+FFFD, as in encoding/json. The result is never longer than content.
func Unescape(dst, content []byte) []byte {
	dst, _ = unescape(dst, content, 0)
	return dst
}

// String appends to dst what the JSON string says whose first quote is at i, and gives the place behind the last; below
// 0 if it is not sound. It is Skip and Unescape in one.
func String(dst, b []byte, i int) (text []byte, end int) {
	text, end = unescape(dst, b, i+1)
	if end >= len(b) || b[end] != '"' {
		return dst, fail
	}
	return text, end + 1
}

// unescape appends what stands at i up to the next quote, or what else cannot stand in a string, or the end.
func unescape(dst, b []byte, i int) (text []byte, end int) {
	// Eight bytes are moved at a time, of which the last may be more than there are.
	n := len(dst)
	dst = dst[:cap(dst)]
	for i < len(b) {
		if n+8 > len(dst) {
			dst = slices.Grow(dst[:n], max(8, min(len(b)-i+8, 2*n+256)))
			dst = dst[:cap(dst)]
		}
		if i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			binary.LittleEndian.PutUint64(dst[n:], w)
			m := special(w)
			if m == 0 {
				i += 8
				n += 8
				continue
			}
			run := bits.TrailingZeros64(m) >> 3
			i += run
			n += run
		}
		c := b[i]
		switch {
		case c == '\\':
		case c == '"', c < ' ':
			return dst[:n], i
		default: // near the end
			dst[n] = c
			i++
			n++
			continue
		}
		if i+1 < len(b) {
			if c := short[b[i+1]]; c != 0 {
				// A run of eight bytes may have filled what was there.
				dst = append(dst[:n], c)
				dst = dst[:cap(dst)]
				i += 2
				n++
				continue
			}
		}
		r, size := unicodeEscape(b[i:])
		if size == 0 {
			return dst[:n], i
		}
		i += size
		dst = utf8.AppendRune(dst[:n], r)
		n = len(dst)
		dst = dst[:cap(dst)]
	}
	return dst[:n], i
}

// short holds the bytes that stand for themselves or another behind a backslash.
var short = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// unicodeEscape reads \u and four digits, or two of them if they are a pair; size is 0 if there are none.
func unicodeEscape(b []byte) (r rune, size int) {
	r, ok := codeUnit(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if second, ok := codeUnit(b[6:]); ok {
		if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// codeUnit reads \u and four digits.
func codeUnit(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		h := unhex(c)
		if h > 15 {
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, true
}
