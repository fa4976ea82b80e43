package jsonscan

import (
	"bytes"
	"encoding/json"
)

// Flaw says why a line was refused.
type Flaw uint8

// The flaws.
const (
	// Sound: no flaw.
	Sound Flaw = iota
	// NotJSON: the line is not one JSON object (RFC 8259).
	NotJSON
	// TooDeep: brackets are nested over MaxDepth; such a line is not looked at further.
	TooDeep
)

// raw is a JSON value inside of a line.
type raw = json.RawMessage

// object reads a line's outermost object. Keys are compared byte by byte, the last of several equal ones wins, members
// that are null are left out.
func object(line []byte) (map[string]raw, Flaw) {
	if tooDeep(line) {
		return nil, TooDeep
	}
	return members(line)
}

// members is object for any value; what is no object is NotJSON.
func members(value []byte) (map[string]raw, Flaw) {
	if i := Blank(value, 0); i >= len(value) || value[i] != '{' {
		return nil, NotJSON
	}
	var m map[string]raw
	if err := json.Unmarshal(value, &m); err != nil {
		return nil, NotJSON
	}
	for k, v := range m {
		if string(v) == "null" {
			delete(m, k)
		}
	}
	return m, Sound
}

// unquote gives the content of a JSON string: the bytes as they stand if there is no escape among them.
func unquote(value raw) ([]byte, bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return []byte(s), err == nil
}

// join gives the content of an array of strings, separated by commas.
func join(value raw) ([]byte, bool) {
	var list []string
	if json.Unmarshal(value, &list) != nil {
		return nil, false
	}
	var text []byte
	for i, s := range list {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, s...)
	}
	return text, true
}

// tooDeep tells whether brackets outside of strings are nested over MaxDepth.
func tooDeep(b []byte) bool {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case text:
			text = c != '"'
		case c == '"':
			text = true
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// bom is the byte order mark of UTF-8.
var bom = []byte("\xEF\xBB\xBF")

// Line cuts what may stand around a line's content: a byte order mark before it (first line of a file) and a carriage
// return after it.
func Line(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	if len(b) > 0 && b[0] == bom[0] {
		b = bytes.TrimPrefix(b, bom)
	}
	return b
}
