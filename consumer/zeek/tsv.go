package zeek

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/sighting"
)

// MaxColumns is the largest number of columns a TSV header may name; Zeek's widest log has fewer than 100.
const MaxColumns = 512

// Header is what the comment lines at the start of a TSV log say of the lines that follow: separators, the words for
// unset and empty, the log and its columns. It never changes, so that goroutines may share it.
type Header struct {
	separator, setSeparator byte
	empty                   string
	// unsetText is the word for unset with a separator behind it, first character lowest; unsetMask tells which bytes
	// count.
	unset                string
	unsetText, unsetMask uint64
	unsetSize            int
	path                 string
	columns              []column
	log                  log
}

// column is a column of a TSV log.
type column struct {
	field field
	kind  jsonscan.Kind
	// container is set for sets and vectors, whose elements are separated by #set_separator.
	container bool
}

// Path gives the log's name as #path has it, such as "conn"; "" if there was no such line.
func (h *Header) Path() string { return h.path }

// newHeader gives the header before the first comment line, with the defaults of Zeek's
// base/frameworks/logging/writers/ascii.zeek.
func newHeader() *Header {
	return &Header{separator: '\t', setSeparator: ',', unset: "-", empty: "(empty)"}
}

// with gives the header that has taken in one more comment line. It fails if the line is broken.
func (h *Header) with(line []byte) (*Header, bool) {
	if rest, ok := bytes.CutPrefix(line, []byte("#separator ")); ok {
		next := newHeader()
		next.separator, ok = separatorOf(rest)
		return next, ok && next.setUnset()
	}
	next := newHeader()
	if h != nil {
		*next = *h
	}
	name, rest, found := bytes.Cut(line[1:], []byte{next.separator})
	ok := true
	switch string(name) {
	case "set_separator":
		next.setSeparator, ok = separatorOf(rest)
	case "empty_field":
		next.empty = string(rest)
	case "unset_field":
		next.unset = string(rest)
	case "path":
		next.path = string(rest)
	case "fields":
		ok = found && next.setColumns(rest)
	case "types":
		ok = next.setTypes(rest)
	default: // #open, #close and whatever people write
		return h, true
	}
	next.setLog()
	return next, ok && next.setUnset()
}

// maxUnset is the longest word for unset, in bytes. Zeek's own is a dash.
const maxUnset = 7

// setUnset makes the word for unset ready to be compared.
func (h *Header) setUnset() bool {
	if len(h.unset) > maxUnset {
		return false
	}
	var text, mask [8]byte
	h.unsetSize = copy(text[:], h.unset+string([]byte{h.separator}))
	for i := range h.unsetSize {
		mask[i] = 0xFF
	}
	h.unsetText, h.unsetMask = binary.LittleEndian.Uint64(text[:]), binary.LittleEndian.Uint64(mask[:])
	return true
}

// setColumns takes the names of #fields.
func (h *Header) setColumns(list []byte) bool {
	names := bytes.Split(list, []byte{h.separator})
	if len(names) > MaxColumns {
		return false
	}
	h.columns = make([]column, len(names))
	var seen set
	for i, name := range names {
		f := columns[string(name)]
		if seen.has(f) {
			f = fieldIgnored // of equal columns the first counts
		}
		h.columns[i] = column{field: f, kind: schema.Fields[f].Kind}
		seen |= setOf(f) &^ 1
	}
	return true
}

// setTypes takes the types of #types.
func (h *Header) setTypes(list []byte) bool {
	types := bytes.Split(list, []byte{h.separator})
	if len(types) != len(h.columns) {
		return false
	}
	h.columns = slices.Clone(h.columns)
	for i, t := range types {
		h.columns[i].container = bytes.HasPrefix(t, []byte("set[")) || bytes.HasPrefix(t, []byte("vector["))
	}
	return true
}

// setLog finds out which log the header is of: by #path, else by the columns.
func (h *Header) setLog() {
	if h.log = logOf([]byte(h.path)); h.log != logNone {
		return
	}
	var has set
	for _, c := range h.columns {
		has |= setOf(c.field) &^ 1
	}
	h.log = shape(has)
}

// separatorOf reads a separator, which must be one byte, plain or as \x09.
func separatorOf(b []byte) (byte, bool) {
	if len(b) == 4 && b[0] == '\\' && b[1] == 'x' {
		c, ok := jsonscan.HexByte(b[2:])
		return c, ok && mayseparate(c)
	}
	if len(b) != 1 {
		return 0, false
	}
	return b[0], mayseparate(b[0])
}

// mayseparate refuses what cannot separate columns, as it is part of values, ends lines, or begins comments and escapes.
func mayseparate(c byte) bool {
	letter := c|0x20 >= 'a' && c|0x20 <= 'z'
	digit := c >= '0' && c <= '9'
	return !letter && !digit && c < 0x80 && bytes.IndexByte([]byte("\x00\n\r#\\.:-_+%()"), c) < 0
}

// TSV decodes lines of Zeek's tab-separated logs. The columns may stand in any order; a header may come at any line and
// counts from there on.
type TSV struct {
	header *Header
	values jsonscan.Values
	names  jsonscan.Interner
	sight  sighting.Maker
	// line holds the line that is read, text a value without its escapes.
	line, text []byte
}

// NewTSV gives a decoder that knows the header already, which may be nil.
func NewTSV(h *Header) *TSV { return &TSV{header: h} }

// Header gives the header that counts for the next line; nil before the first comment line. It may be handed to another
// decoder.
func (d *TSV) Header() *Header { return d.header }

// Sightings gives what the last line gave if its outcome was Sighted. The slice is used again for the next line.
func (d *TSV) Sightings() []minecanary.Sighting { return d.sight.List() }

// Decode reads one line, without its newline. If the outcome is Decoded the record is overwritten in full, else its
// content is undefined. A comment line (#) is skipped and taken into the header; a broken one is bad and ends the
// header, so that no record is read by the wrong columns.
func (d *TSV) Decode(line []byte, rec *minecanary.Record) consumer.Outcome {
	line = jsonscan.Line(line)
	h := d.header
	switch {
	case len(line) == 0:
		return skipped(ReasonEmpty)
	case line[0] == '#':
		next, ok := h.with(line)
		if !ok {
			d.header = nil
			return bad(ReasonHeader)
		}
		d.header = next
		return skipped(ReasonHeader)
	case h == nil || len(h.columns) == 0:
		if jsonscan.Blank(line, 0) == len(line) {
			return skipped(ReasonEmpty)
		}
		return bad(ReasonNoHeader)
	}
	if h.log == logOther {
		return skipped(ReasonOtherLog)
	}
	if !d.read(line) {
		if jsonscan.Blank(line, 0) == len(line) {
			return skipped(ReasonEmpty)
		}
		return bad(ReasonColumns)
	}
	r := row{Values: &d.values, names: &d.names, sight: &d.sight, comma: h.setSeparator}
	if h.log == logNone {
		return r.finish(r.log(), rec)
	}
	return r.finish(h.log, rec)
}

// padding is the number of zero bytes behind the copy of a line that is read, so that eight bytes may be loaded anywhere
// in it.
const padding = 8

// read reads the line's values. It fails if their number is not the header's.
func (d *TSV) read(line []byte) bool {
	h, v := d.header, &d.values
	var zeros [padding]byte
	// Each value ends in a separator, the last one too.
	d.line = append(append(append(d.line[:0], line...), h.separator), zeros[:]...)
	v.Reset(d.line)
	rest := d.line
	for n := range h.columns {
		c := &h.columns[n]
		if len(rest) <= padding {
			return false
		}
		if (binary.LittleEndian.Uint64(rest)^h.unsetText)&h.unsetMask == 0 {
			rest = rest[h.unsetSize:]
			continue
		}
		switch c.kind {
		case jsonscan.Count:
			if number, end := jsonscan.Uint(rest, 0); end >= 0 && rest[end] == h.separator {
				v.SetNumber(c.field, number)
				rest = rest[end+1:]
				continue
			}
		case jsonscan.Time, jsonscan.Seconds:
			if micros, end := jsonscan.Micros(rest, 0); end >= 0 && rest[end] == h.separator {
				v.SetNumber(c.field, uint64(micros))
				rest = rest[end+1:]
				continue
			}
		}
		size := bytes.IndexByte(rest, h.separator)
		if size < 0 {
			return false
		}
		if c.field != fieldIgnored {
			from := len(d.line) - len(rest)
			d.value(c, from, from+size)
		}
		rest = rest[size+1:]
	}
	return len(rest) == padding
}

// value reads the value of a column that is set, bytes from to to of the line.
func (d *TSV) value(c *column, from, to int) {
	v, f := &d.values, c.field
	value := d.line[from:to]
	switch c.kind {
	case jsonscan.Text, jsonscan.Texts:
		d.setText(c, from, to)
		return
	case jsonscan.Raw:
		// A list as it stands: what needs escapes is no part of one that is of use.
		if string(value) == d.header.empty {
			to = from
		}
		v.SetText(f, from, to)
		return
	case jsonscan.Presence:
		v.SetNumber(f, 1)
		return
	case jsonscan.Bool:
		if len(value) == 1 && (value[0] == 'T' || value[0] == 'F') {
			v.SetNumber(f, uint64(value[0])>>1&1^1) // T is 0x54, F 0x46
			return
		}
	case jsonscan.Count, jsonscan.Seconds, jsonscan.Time:
		switch {
		case jsonscan.Number(value, 0) == len(value):
			v.Parse(f, c.kind, value)
			return
		case notFinite(value) && c.kind != jsonscan.Count:
			v.SetAbove(f)
			return
		case c.kind == jsonscan.Time:
			v.ParseDate(f, value)
			return
		}
	}
	v.SetWrong(f)
}

// notFinite tells whether the text is a number as C prints it that is none: nan, inf, with or without a sign.
func notFinite(value []byte) bool {
	value = bytes.TrimPrefix(value, []byte("-"))
	return string(value) == "nan" || string(value) == "inf"
}

// setText takes a text, and removes Zeek's escapes from it: \x09 for a byte, \\ for a backslash. The elements of a
// container come out separated by commas, an empty one as an empty text.
func (d *TSV) setText(c *column, from, to int) {
	h, value := d.header, d.line[from:to]
	if len(value) == len(h.empty) && string(value) == h.empty {
		d.values.SetText(c.field, from, from)
		return
	}
	split := c.container && h.setSeparator != ','
	if !split && bytes.IndexByte(value, '\\') < 0 {
		d.values.SetText(c.field, from, to)
		return
	}
	d.text = d.text[:0]
	for i := 0; i < len(value); i++ {
		b := value[i]
		if split && b == h.setSeparator {
			b = ','
		}
		if b == '\\' && i+1 < len(value) {
			if value[i+1] == '\\' {
				i++
			} else if value[i+1] == 'x' && i+4 <= len(value) {
				if v, ok := jsonscan.HexByte(value[i+2 : i+4]); ok {
					b = v
					i += 3
				}
			}
		}
		d.text = append(d.text, b)
	}
	// What is left is never longer than what was there.
	copy(d.line[from:], d.text)
	d.values.SetText(c.field, from, from+len(d.text))
}
