package dialect

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// blanks are JSON's white space (RFC 8259 section 2), and nothing else: a form feed behind a message is no JSON.
const blanks = " \t\r\n"

// MaxDepth is how deep the JSON of an answer may be nested; it is counted before anything is decoded. No message of a
// pool goes deeper than 6.
const MaxDepth = 64

// message is one JSON object of a server, as far as JSON-RPC 1.0 and 2.0 and the dialects name its members.
type message struct {
	method    string
	hasMethod bool
	id        any
	params    any
	result    any
	hasResult bool
	err       any // nil if absent or null
	hasError  bool
	object    map[string]any // all members, for the dialects that are no JSON-RPC
}

// isAnswer tells an answer from a request or notification.
func (m *message) isAnswer() bool { return !m.hasMethod && (m.hasResult || m.hasError) }

// depth gives how deep the arrays and objects of a JSON text nest; brackets inside strings do not count.
func depth(b []byte) int {
	deep, deepest, inString := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			deep++
			deepest = max(deepest, deep)
		case c == '}' || c == ']':
			deep--
		}
	}
	return deepest
}

// parse reads one line. ok is false if it is not exactly one JSON object, or is nested deeper than MaxDepth.
func parse(line []byte) (m message, ok bool) {
	if len(line) == 0 || line[0] != '{' || depth(line) > MaxDepth {
		return m, false
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return m, false
	}
	if len(bytes.Trim(line[dec.InputOffset():], blanks)) > 0 {
		return m, false
	}
	m.object = object
	m.method, m.hasMethod = object["method"].(string)
	m.id = object["id"]
	m.params = object["params"]
	m.result, m.hasResult = object["result"]
	m.err, m.hasError = object["error"]
	return m, true
}

// The shapes below are what the dialects are told apart by.

// array gives the elements of a JSON array with a length from least to most.
func array(v any, least, most int) ([]any, bool) {
	a, ok := v.([]any)
	return a, ok && len(a) >= least && len(a) <= most
}

// integer gives a JSON number without fraction and exponent.
func integer(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(string(n))
	return i, err == nil
}

// isNumber tells whether v is a JSON number.
func isNumber(v any) bool {
	_, ok := v.(json.Number)
	return ok
}

// isName tells whether v is a string of 1 to 128 bytes: the names of jobs and sessions.
func isName(v any) bool {
	s, ok := v.(string)
	return ok && s != "" && len(s) <= 128
}

// isHex tells whether v is a string of hex digits, an even number of them, from least to most.
func isHex(v any, least, most int) bool {
	s, ok := v.(string)
	return ok && len(s)%2 == 0 && len(s) >= least && len(s) <= most && hexDigits(s)
}

// hexDigits tells whether s has nothing but hex digits.
func hexDigits(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// errorCode gives the code and message of a JSON-RPC error object {"code":…,"message":…}.
func errorCode(v any) (code int, text string, ok bool) {
	object, _ := v.(map[string]any)
	code, ok = integer(object["code"])
	text, _ = object["message"].(string)
	return code, text, ok
}
