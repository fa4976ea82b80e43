package dialect

import (
	"encoding/hex"
	"strconv"
	"unicode/utf8"
)

// cut marks a text that was longer.
const cut = "..."

// Quote gives bytes of a peer as printable ASCII of at most limit bytes (limit ≥ 8): a Go string literal, or "hex …" if
// more than a quarter of them are not printable. No control byte, escape sequence or direction mark gets out.
func Quote(b []byte, limit int) string {
	odd := 0
	for _, c := range b {
		if (c < 0x20 || c > 0x7e) && c != '\n' && c != '\r' && c != '\t' {
			odd++
		}
	}
	if len(b) > limit {
		b = b[:limit] // every byte gives at least one character
	}
	if odd*4 > len(b) && !utf8.Valid(b) || odd*2 > len(b) {
		return shorten("hex "+hex.EncodeToString(b), limit)
	}
	return shorten(strconv.QuoteToASCII(string(b)), limit)
}

// shorten cuts an ASCII text to at most limit bytes.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit-len(cut)] + cut
}
