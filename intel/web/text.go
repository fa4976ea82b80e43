package web

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is shown of one text, in characters.
const (
	// briefText is what stands in a line; the rest unfolds.
	briefText = 160
	tightText = 40
	// maxText is all that is shown.
	maxText = 4096
)

// visible gives a text in which every character can be seen: those that control how others are shown (line breaks,
// terminal escapes, changes of direction, what has no width) stand as their escapes. It is at most limit characters of
// the text and says how much is missing.
func visible(s string, limit int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n == limit {
			fmt.Fprintf(&b, " … (%d bytes more)", len(s)-i)
			break
		}
		n++
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
				continue
			}
		}
		escape(&b, r)
	}
	return b.String()
}

// hidden tells whether a character is not what is seen of it. Combining marks and the space that does not break are.
func hidden(r rune) bool {
	return r == utf8.RuneError || r != ' ' && !unicode.IsPrint(r) && r != 0xa0 || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) ||
		unicode.Is(unicode.Variation_Selector, r)
}

func escape(b *strings.Builder, r rune) {
	switch {
	case !hidden(r):
		b.WriteRune(r)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < 0x100:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// brief gives a text for one line.
func brief(s string) string { return visible(s, briefText) }

// longText is a text in two parts: what stands in a line, and all of it, which unfolds; "" if the line has it all.
type longText struct{ Brief, All string }

func long(s string) longText { return fold(s, briefText) }

// tight is long for a cell of which a page has many.
func tight(s string) longText { return fold(s, tightText) }

func fold(s string, limit int) longText {
	n := 0
	for i := range s {
		if n == limit {
			return longText{visible(s[:i], limit) + "…", visible(s, maxText)}
		}
		n++
	}
	return longText{Brief: visible(s, limit)}
}

// printable replaces in a page what must not be in it whatever the template says: characters that change how others are
// shown. It is the net below visible, for fields that are expected to be harmless.
func printable(page []byte) []byte {
	clean := true
	for _, r := range string(page) {
		if r != '\n' && hidden(r) {
			clean = false
			break
		}
	}
	if clean {
		return page
	}
	var b strings.Builder
	b.Grow(len(page))
	for _, r := range string(page) {
		if r == '\n' {
			b.WriteByte('\n')
			continue
		}
		escape(&b, r)
	}
	return []byte(b.String())
}

// defang gives a web address as text that no program takes for one.
func defang(s string) string { return strings.ReplaceAll(s, ".", "[.]") }

// functions are those of the templates.
func functions() template.FuncMap {
	return template.FuncMap{
		"brief": brief,
		"path":  pathOf,
		"long":  long,
		"tight": tight,
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"clock": func(t time.Time) string { return t.UTC().Format("15:04") },
		"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	}
}
