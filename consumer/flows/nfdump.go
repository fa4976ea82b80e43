package flows

import (
	"bytes"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
)

// MaxColumns is the largest number of columns of nfdump's CSV that are read; nfdump 1.6 writes 48.
const MaxColumns = 256

// column says what a column of nfdump's CSV holds.
type column uint8

const (
	columnIgnored column = iota

	// What every row needs.
	columnStart
	columnProto
	columnSrcAddr
	columnDstAddr
	columnSrcPort
	columnDstPort
	columnPackets
	columnBytes

	columnEnd
	columnDuration
	columnFlags
	columnOutPackets
	columnOutBytes
	columnExporter

	columnCount
)

// columnNames are the names of columns: those of nfdump 1.6 to 1.7.4, whose columns are always the same
// (bin/output_csv.c), and those of 1.7.5 and later, whose user chooses (csvHeader of src/output/output_csv.c; csv-fast
// uses the same).
var columnNames = map[string]column{
	"ts": columnStart, "firstSeen": columnStart,
	"te": columnEnd, "lastSeen": columnEnd,
	"td": columnDuration, "duration": columnDuration,
	"pr": columnProto, "proto": columnProto,
	"sa": columnSrcAddr, "srcAddr": columnSrcAddr,
	"da": columnDstAddr, "dstAddr": columnDstAddr,
	"sp": columnSrcPort, "srcPort": columnSrcPort,
	"dp": columnDstPort, "dstPort": columnDstPort,
	"flg": columnFlags, "flags": columnFlags,
	"ipkt": columnPackets, "packets": columnPackets, "inPackets": columnPackets,
	"ibyt": columnBytes, "bytes": columnBytes, "inBytes": columnBytes,
	"opkt": columnOutPackets, "outPackets": columnOutPackets,
	"obyt": columnOutBytes, "outBytes": columnOutBytes,
	"ra": columnExporter, "routerIP": columnExporter,
}

// Header is what the first line of nfdump's CSV says of the rows that follow: their columns. It never changes, so that
// goroutines may share it.
type Header struct {
	columns []column
	has     uint32
}

// needed are the columns without which no row is a flow.
const needed = 1<<columnStart | 1<<columnProto | 1<<columnSrcAddr | 1<<columnDstAddr | 1<<columnSrcPort |
	1<<columnDstPort | 1<<columnPackets | 1<<columnBytes

// Parts of all header lines of rows with addresses, by which HeaderAfter finds them.
var (
	newSign = []byte("srcAddr")
	oldSign = []byte("sa,da,")
)

// IsHeader tells whether a line names the columns of nfdump's CSV, those of both addresses among them.
func IsHeader(line []byte) bool { return sign(line) >= 0 && headerOf(line) != nil }

// headerOf reads a line as a header; nil if it is none.
func headerOf(line []byte) *Header {
	line = jsonscan.Line(line)
	// JSON, and rows, begin with something else than a letter: no text in them makes a header of them.
	if len(line) == 0 || line[0]|0x20 < 'a' || line[0]|0x20 > 'z' {
		return nil
	}
	names := bytes.Split(line, []byte(","))
	if len(names) > MaxColumns {
		return nil
	}
	h := &Header{columns: make([]column, len(names))}
	for i, name := range names {
		c := columnNames[string(bytes.TrimSpace(name))]
		if h.has>>c&1 == 1 {
			c = columnIgnored // of equal columns the first counts
		}
		h.columns[i] = c
		h.has |= 1 << c &^ 1
	}
	const both = 1<<columnSrcAddr | 1<<columnDstAddr
	if h.has&both != both {
		return nil
	}
	return h
}

// orNil gives the header, nil if a column that every flow needs is missing.
func (h *Header) orNil() *Header {
	if h.has&needed != needed {
		return nil
	}
	return h
}

// HeaderAfter gives the header in force after whole lines, if h was before them; nil for none. It reads only the lines
// that may be headers.
func HeaderAfter(h *Header, data []byte) *Header {
	for {
		i := sign(data)
		if i < 0 {
			return h
		}
		begin := bytes.LastIndexByte(data[:i], '\n') + 1
		line := data[begin:]
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line, data = line[:n], line[n+1:]
		} else {
			data = nil
		}
		if next := headerOf(line); next != nil {
			h = next.orNil()
		}
	}
}

// sign gives the first place of what header lines hold, -1 for none.
func sign(data []byte) int {
	i := bytes.Index(data, newSign)
	if i >= 0 {
		data = data[:i]
	}
	if j := bytes.Index(data, oldSign); j >= 0 {
		return j
	}
	return i
}

// Nfdump decodes lines of nfdump's CSV, of the columns that a header line has named; a header may come at any line and
// counts from there on. Times without a zone are taken as UTC; nfdump writes them in the zone of its environment.
type Nfdump struct {
	header *Header
	names  jsonscan.Interner
}

// NewNfdump gives a decoder that knows the header already, which may be nil.
func NewNfdump(h *Header) *Nfdump { return &Nfdump{header: h} }

// Header gives the header that counts for the next line; nil before the first. It may be handed to another decoder.
func (d *Nfdump) Header() *Header { return d.header }

// Decode reads one line, without its newline. If the outcome is Decoded the record is overwritten in full, else its
// content is undefined. A header line is skipped and taken in; one that lacks a column every flow needs is bad and ends
// the header before it. The lines of nfdump's summary are skipped.
func (d *Nfdump) Decode(line []byte, rec *minecanary.Record) consumer.Outcome {
	line = jsonscan.Line(line)
	if sign(line) >= 0 {
		if h := headerOf(line); h != nil {
			if d.header = h.orNil(); d.header == nil {
				return bad(ReasonHeader)
			}
			return skipped(ReasonHeader)
		}
	}
	var cells [columnCount][]byte
	switch split := d.header.split(line, &cells); {
	case jsonscan.Blank(line, 0) == len(line):
		return skipped(ReasonEmpty)
	case !split && isSummary(line):
		return skipped(ReasonSummary)
	case d.header == nil:
		return bad(ReasonNoHeader)
	case !split:
		return bad(ReasonColumns)
	}
	var r row
	if reason := r.read(&cells); reason != "" {
		return bad(reason)
	}
	return r.finish(rec, &d.names)
}

// summaryColumns is the number of numbers in the last line of nfdump's summary.
const summaryColumns = 6

// isSummary tells whether a line is one that nfdump writes behind the rows (PrintSummary of src/nfdump/nfdump.c), or
// instead of them.
func isSummary(line []byte) bool {
	switch string(line) {
	case "Summary", "flows,bytes,packets,avg_bps,avg_pps,avg_bpp", "No matching flows", "No matched flows":
		return true
	}
	if bytes.Count(line, []byte(",")) != summaryColumns-1 {
		return false
	}
	last := byte(',')
	for _, c := range line {
		if c-'0' > 9 && (c != ',' || last == ',') {
			return false
		}
		last = c
	}
	return last != ','
}

// split finds the values of a row, without the blanks around them. It fails if their number is not the header's.
func (h *Header) split(line []byte, cells *[columnCount][]byte) bool {
	if h == nil {
		return false
	}
	last := len(h.columns) - 1
	for n, c := range h.columns {
		end := bytes.IndexByte(line, ',')
		if end < 0 != (n == last) {
			return false
		}
		if n == last {
			end = len(line)
		}
		if c != columnIgnored {
			cells[c] = trim(line[:end])
		}
		if n < last {
			line = line[end+1:]
		}
	}
	return true
}

// trim cuts blanks off both ends; nfdump pads some numbers.
func trim(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// read reads the values of a row, and gives the reason why it cannot, "" if it can.
func (r *row) read(cells *[columnCount][]byte) string {
	r.src, r.dst, r.exporter = cells[columnSrcAddr], cells[columnDstAddr], cells[columnExporter]
	var ok bool
	if r.transport, ok = transportOf(cells[columnProto]); !ok {
		return ReasonField
	}
	if r.transport == minecanary.TCP || r.transport == minecanary.UDP {
		for _, c := range [...]struct {
			to   *uint64
			text []byte
		}{{&r.srcPort, cells[columnSrcPort]}, {&r.dstPort, cells[columnDstPort]}} {
			if reason := count(c.to, c.text); reason != "" {
				return reason
			}
		}
	}
	for _, c := range [...]struct {
		to   *uint64
		text []byte
	}{
		{&r.packets, cells[columnPackets]},
		{&r.bytes, cells[columnBytes]},
		{&r.outPackets, cells[columnOutPackets]},
		{&r.outBytes, cells[columnOutBytes]},
	} {
		if c.text == nil {
			continue // no such column
		}
		if reason := count(c.to, c.text); reason != "" {
			return reason
		}
	}
	if r.flags, ok = flagsOf(cells[columnFlags]); !ok {
		return ReasonField
	}
	return r.times(cells)
}

// times reads when the flow was. The duration counts before the time of the last packet: that jumps where the zone's
// clocks are changed, and nfdump 1.6 writes it without its fraction.
func (r *row) times(cells *[columnCount][]byte) (reason string) {
	if r.start, reason = moment(cells[columnStart]); reason != "" {
		return reason
	}
	switch text := cells[columnDuration]; {
	case len(text) > 0:
		if jsonscan.Number(text, 0) != len(text) {
			return ReasonField
		}
		v, _, in := jsonscan.Scaled(text, microDigits)
		if in != jsonscan.InRange {
			return ReasonRange
		}
		// Both are below 2^63.
		r.end = r.start + uint64(v)
	case len(cells[columnEnd]) > 0:
		r.end, reason = moment(cells[columnEnd])
	default:
		r.end = r.start
	}
	return reason
}

// microDigits is the number of digits that a microsecond lies behind a second.
const microDigits = 6

// millisFrom is the number from which on jsonscan.Epoch takes numbers for milliseconds.
const millisFrom = 1e11

// moment reads a time: a date, or seconds or milliseconds after 1970 (%tsr, csv-fast).
func moment(text []byte) (uint64, string) {
	if v, ok := date(text); ok {
		return v, ""
	}
	// What Epoch says of milliseconds, at once.
	if v, end := jsonscan.Uint(text, 0); end == len(text) && v >= millisFrom {
		return v * 1000, ""
	}
	if len(text) == 0 || jsonscan.Number(text, 0) != len(text) {
		return 0, ReasonField
	}
	v, in := jsonscan.Epoch(text)
	if in != jsonscan.InRange {
		return 0, ReasonRange
	}
	return uint64(v), ""
}

// count reads a number.
func count(to *uint64, text []byte) (reason string) {
	if v, end := jsonscan.Uint(text, 0); end == len(text) {
		*to = v
		return ""
	}
	if len(text) == 0 || jsonscan.Number(text, 0) != len(text) {
		return ReasonField
	}
	v, in := jsonscan.Whole(text)
	switch in {
	case jsonscan.InRange:
		*to = uint64(v)
		return ""
	case jsonscan.NotWhole:
		return ReasonField
	}
	return ReasonRange
}

// The letters of flags, first to last: since nfdump 1.6.18 all eight, before that the last six.
const (
	flagLetters  = "CEUAPRSF"
	oldFlagCount = 6
)

// flagsOf reads TCP flags: letters and dots ("...AP.SF"), or a number, which nfdump before 1.6.18 writes in hexadecimal
// ("0x5a") where CWR or ECE is set. No text is no flags.
func flagsOf(text []byte) (minecanary.TCPFlags, bool) {
	switch n := len(text); {
	case n == 0:
		return 0, true
	case n == 4 && text[0] == '0' && text[1] == 'x':
		v, ok := jsonscan.HexByte(text[2:])
		return minecanary.TCPFlags(v), ok
	case n == len(flagLetters), n == oldFlagCount:
		var flags minecanary.TCPFlags
		for i, c := range text {
			bit := n - 1 - i
			switch c {
			case flagLetters[len(flagLetters)-1-bit]:
				flags |= 1 << bit
			case '.':
			default:
				return 0, false
			}
		}
		return flags, true
	}
	v, end := jsonscan.Uint(text, 0)
	return minecanary.TCPFlags(v), end == len(text) && v <= 0xFF
}
