package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// Scanner reads lines of one schema. Scan does it in one pass without allocations, for lines as the sensors write them;
// Read does it with encoding/json, for all lines, and defines what Scan must do. A Scanner belongs to one goroutine.
type Scanner struct {
	Values
	schema *Schema
	keys   []*keys
	// line holds the line Scan reads, or the texts that Read has found.
	line []byte
}

// NewScanner gives a Scanner. Its lines must be shorter than 2^31 bytes; sources cut them at consumer.MaxLine.
func NewScanner(schema *Schema) *Scanner {
	s := &Scanner{schema: schema}
	members := make([]map[string]uint8, schema.Objects)
	for o := range members {
		members[o] = make(map[string]uint8)
		s.keys = append(s.keys, newKeys(schema.Fields, members[o]))
	}
	for _, m := range schema.Members {
		members[m.Object][m.Key] = m.Field
	}
	return s
}

// padding is the number of zero bytes behind the copy of a line that is scanned. No zero byte can stand in JSON, so that
// the scan ends there at the latest, and never has to ask whether it may load the next eight bytes, or the next key.
const padding = 32

// Scan reads a line in one pass. It gives up (false) on lines that are no JSON object, and where it has doubts: escapes
// in texts that are asked for, numbers and times in unusual spellings, keys that are repeated. Values then is undefined,
// and Read is to be called.
func (s *Scanner) Scan(line []byte) bool {
	var zeros [padding]byte
	s.line = append(append(s.line[:0], line...), zeros[:]...)
	s.Reset(s.line)
	i := Blank(s.line, 0)
	if s.line[i] != '{' {
		return false
	}
	rest := s.object(s.line[i:], 0, 1)
	return len(rest) >= padding && Blank(rest, 0) == len(rest)-padding
}

// object reads the object that opens at the start of b and gives what follows its closing bracket, or nil where it has
// doubts. This is where the time goes; hence all in one function.
func (s *Scanner) object(b []byte, o uint8, depth int) []byte {
	k := s.keys[o]
	v := &s.Values
	has := v.Has
	at := uint8(startEntry)
	for {
		// The key, guessed to be the one that followed last time.
		n := k.entries[at].next
		e := &k.entries[n]
		if len(b) < guessed {
			return nil
		}
		if (binary.LittleEndian.Uint64(b)^e.text[0])&e.mask[0]|
			(binary.LittleEndian.Uint64(b[8:])^e.text[1])&e.mask[1]|
			(binary.LittleEndian.Uint64(b[16:])^e.text[2])&e.mask[2] == 0 {
			b = b[e.size:]
		} else {
			var end int
			if n, end = k.search(b, at); end < 0 {
				return nil
			}
			b = b[end:]
			if n == closeEntry {
				v.Has = has
				return b
			}
			e = &k.entries[n]
		}
		at = n
		if has&e.bit != 0 || len(b) < 8 {
			return nil // repeated
		}

		w := binary.LittleEndian.Uint64(b)
		c := byte(w)
		if c <= ' ' {
			if b = b[Blank(b, 0):]; len(b) < 8 {
				return nil
			}
			w = binary.LittleEndian.Uint64(b)
			c = byte(w)
		}
		switch {
		case c == '"' && e.kind <= Token:
			// The quote does not count: 'x' stands for it.
			size := 0
			if m := special(w ^ '"' ^ 'x'); m != 0 {
				size = bits.TrailingZeros64(m) >> 3
			} else if len(b) < 24 {
				size = plain(b, 8)
			} else if m := special(binary.LittleEndian.Uint64(b[8:])); m != 0 {
				size = 8 + bits.TrailingZeros64(m)>>3
			} else if m := special(binary.LittleEndian.Uint64(b[16:])); m != 0 {
				size = 16 + bits.TrailingZeros64(m)>>3
			} else {
				size = plain(b, 24)
			}
			if b[size] != '"' {
				break // an escape
			}
			from := len(s.line) - len(b)
			v.spans[e.field] = span{int32(from + 1), int32(from + size)}
			has |= e.bit
			b = b[size+1:]
			continue

		case c-'0' <= 9 && e.kind == Count:
			if digits, values := digitRun(w); digits < 8 && (digits == 1 || c != '0') {
				v.Numbers[e.field] = eight(values << ((64 - 8*digits) & 63))
				has |= e.bit
				b = b[digits:]
				continue
			}

		case c-'0' <= 9 && e.kind == Ignored:
			if digits, _ := digitRun(w); digits < 8 && b[digits] == ',' && (digits == 1 || c != '0') {
				b = b[digits:]
				continue
			}

		case uint16(w) == '['|']'<<8 && e.kind == Ignored:
			b = b[2:]
			continue

		case c-'0' <= 9 && (e.kind == Time || e.kind == Seconds):
			if micros, end := Micros(b, 0); end >= 0 && b[end]|0x20 != 'e' {
				v.Numbers[e.field] = uint64(micros)
				has |= e.bit
				b = b[end:]
				continue
			}

		case uint32(w) == 't'|'r'<<8|'u'<<16|'e'<<24 && (e.kind == Bool || e.kind == Ignored):
			v.Numbers[e.field] = 1
			has |= e.bit
			b = b[4:]
			continue

		case w<<24 == 'f'<<24|'a'<<32|'l'<<40|'s'<<48|'e'<<56 && (e.kind == Bool || e.kind == Ignored):
			v.Numbers[e.field] = 0
			has |= e.bit
			b = b[5:]
			continue
		}
		v.Has = has
		if b = s.value(b, e, depth); b == nil {
			return nil
		}
		has = v.Has
	}
}

// value reads any value, of any kind, and gives what follows it, or nil where it has doubts.
func (s *Scanner) value(b []byte, e *entry, depth int) []byte {
	v := &s.Values
	c := b[0]
	if c == '{' && e.kind == Object {
		v.Has |= e.bit
		return s.object(b, s.schema.Fields[e.field].Object, depth+1)
	}
	end := Skip(b, 0, depth)
	if end < 0 {
		return nil
	}
	rest := b[end:]
	if c == 'n' || e.kind == Ignored {
		return rest
	}
	from := len(s.line) - len(b)
	text, number := c == '"', c == '-' || c-'0' <= 9
	switch k := e.kind; {
	case k == Presence, k == Mark:
		v.Has |= 1 << e.field
	case k == Raw, k == Token && number:
		v.SetText(e.field, from, from+end)
	case k == Texts, text && (k == Text || k == Token):
		return nil // an escape, or a list
	case text && k == Time:
		n, ok := Date(b[1 : end-1])
		if !ok {
			return nil
		}
		v.SetNumber(e.field, uint64(n))
	case number && (k == Count || k == Seconds || k == Time):
		v.Parse(e.field, k, b[:end])
	case k == Bool && (c == 't' || c == 'f'):
		v.SetNumber(e.field, uint64(end)&1^1)
	default:
		v.SetWrong(e.field)
	}
	return rest
}

// Read reads a line with encoding/json.
func (s *Scanner) Read(line []byte) Flaw {
	s.Reset(nil)
	s.line = s.line[:0]
	outer, flaw := object(line)
	if flaw != Sound {
		return flaw
	}
	objects := make([]map[string]raw, s.schema.Objects)
	objects[0] = outer
	// Objects come before their members in the list of members' own object.
	for _, m := range s.schema.Members {
		if f := s.schema.Fields[m.Field]; f.Kind == Object {
			if value, ok := objects[m.Object][m.Key]; ok {
				objects[f.Object], _ = members(value)
			}
		}
	}
	for _, m := range s.schema.Members {
		if value, ok := objects[m.Object][m.Key]; ok && s.Has>>m.Field&1 == 0 {
			s.readValue(m.Field, value)
		}
	}
	s.text = s.line
	return Sound
}

// readValue takes the JSON value of a field; it is not null.
func (s *Scanner) readValue(field uint8, value raw) {
	v := &s.Values
	content, text := unquote(value)
	number := value[0] == '-' || value[0]-'0' <= 9
	switch k := s.schema.Fields[field].Kind; {
	case k == Presence, k == Mark, k == Object && value[0] == '{':
		v.Has |= 1 << field
	case k == Raw, k == Token && number:
		s.keep(field, value)
	case text && (k == Text || k == Texts || k == Token):
		s.keep(field, content)
	case text && k == Time:
		v.ParseDate(field, content)
	case number && (k == Count || k == Seconds || k == Time):
		v.Parse(field, k, value)
	case k == Bool && (value[0] == 't' || value[0] == 'f'):
		v.SetNumber(field, uint64(len(value))&1^1)
	case k == Texts && value[0] == '[':
		list, ok := join(value)
		if !ok {
			v.SetWrong(field)
			return
		}
		s.keep(field, list)
	default:
		v.SetWrong(field)
	}
}

// keep makes a copy of the text that of the field.
func (s *Scanner) keep(field uint8, text []byte) {
	from := len(s.line)
	s.line = append(s.line, text...)
	s.SetText(field, from, len(s.line))
}
