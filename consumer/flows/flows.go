// Package flows turns rows of flow exporters (NetFlow, IPFIX, sFlow) into records, as two collectors write them: nfdump's
// CSV (Nfdump) and goflow2's JSON (Goflow2).
//
// A row is what one host sent another in one stretch of time: one direction, one slice (minecanary.KindFlow). Its flags
// are those the exporter saw. Where it names none, or saw only samples of the packets, they are not known: the row tells
// who talked to whom, but nothing that a score could be made of (docs/decisions/0021). Counters are taken as they are
// written; nothing is multiplied by a sampling rate.
//
// A decoder belongs to one goroutine. It keeps no reference to a line.
package flows

import (
	"bytes"
	"net/netip"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
)

// The reasons of outcomes.
const (
	// ReasonEmpty: skipped, a line without content.
	ReasonEmpty = "empty"
	// ReasonHeader: skipped, a line that names nfdump's columns; bad, one that leaves out a column a flow needs.
	ReasonHeader = "header"
	// ReasonSummary: skipped, the lines nfdump ends with.
	ReasonSummary = "summary"

	// ReasonJSON: bad, not one JSON object.
	ReasonJSON = "json"
	// ReasonDepth: bad, JSON nested over jsonscan.MaxDepth.
	ReasonDepth = "depth"
	// ReasonUnknown: bad, a JSON object without any address of a flow.
	ReasonUnknown = "unknown"
	// ReasonNoHeader: bad, a row before any line that names the columns.
	ReasonNoHeader = "no_header"
	// ReasonColumns: bad, a row with more or fewer columns than are named.
	ReasonColumns = "columns"
	// ReasonField: bad, a field of a flow is missing or cannot be read.
	ReasonField = "field"
	// ReasonAddress: bad, an address of a flow cannot be read.
	ReasonAddress = "address"
	// ReasonRange: bad, a number or time of a flow is out of range.
	ReasonRange = "range"
)

// MaxCounter is the largest packet or byte counter of a record, 2^53 (see zeek.MaxCounter).
const MaxCounter = 1 << 53

func skipped(reason string) consumer.Outcome {
	return consumer.Outcome{Kind: consumer.Skipped, Reason: reason}
}

func bad(reason string) consumer.Outcome {
	return consumer.Outcome{Kind: consumer.Bad, Reason: reason}
}

// row is what a row says, whoever wrote it. Numbers are not judged yet.
type row struct {
	src, dst         []byte // addresses
	srcPort, dstPort uint64
	transport        minecanary.Transport
	start, end       uint64 // Unix microseconds
	packets, bytes   uint64
	// outPackets and outBytes went the other way, where the exporter joins both directions.
	outPackets, outBytes uint64
	// flags of the row; 0 if they are not known.
	flags minecanary.TCPFlags
	// exporter is the address of who exported it, nothing if that is not told.
	exporter []byte
}

// finish judges a row and makes a record of it. names keeps the names of exporters.
func (r *row) finish(rec *minecanary.Record, names *jsonscan.Interner) consumer.Outcome {
	var ok1, ok2 bool
	rec.Orig, ok1 = jsonscan.Addr(r.src)
	rec.Resp, ok2 = jsonscan.Addr(r.dst)
	switch {
	case !ok1 || !ok2:
		return bad(ReasonAddress)
	case r.transport != minecanary.TCP && r.transport != minecanary.UDP:
		r.srcPort, r.dstPort = 0, 0 // whatever stands there, such as type and code of ICMP
	}
	const maxPort = 1<<16 - 1
	if max(r.srcPort, r.dstPort) > maxPort || r.start > r.end || r.end >= jsonscan.MaxMicros ||
		max(r.packets, r.bytes, r.outPackets, r.outBytes) > MaxCounter {
		return bad(ReasonRange)
	}
	rec.Kind = minecanary.KindFlow
	rec.Transport = r.transport
	rec.OrigPort, rec.RespPort = uint16(r.srcPort), uint16(r.dstPort)
	rec.OrigLocal, rec.RespLocal = minecanary.LocalityUnknown, minecanary.LocalityUnknown
	rec.Start, rec.End = int64(r.start), int64(r.end)
	rec.OrigPackets, rec.RespPackets = r.packets, r.outPackets
	rec.OrigBytes, rec.RespBytes = r.bytes, r.outBytes
	rec.OrigPayload = payload(r.packets, r.bytes, rec.Orig)
	rec.RespPayload = payload(r.outPackets, r.outBytes, rec.Orig)

	rec.OrigFlags, rec.RespFlags = 0, 0
	rec.FlagsKnown = r.transport == minecanary.TCP && r.flags != 0
	if rec.FlagsKnown {
		rec.OrigFlags = r.flags
		if r.outPackets > 0 {
			rec.RespFlags = r.flags // a joined row has one set of flags
		}
	}
	// The SYN of a row is OR-ed with all else: the server's looks like the client's.
	rec.Handshake = false
	rec.Services = 0 // exporters do not look into packets
	rec.Final, rec.InterimSeq, rec.UID = false, 0, minecanary.UID{}
	rec.Sensor = sensor(r.exporter, names)
	return consumer.Outcome{Kind: consumer.Decoded}
}

// The headers of a usual segment: the smallest IP header, and the TCP header with the time stamp option and its padding
// (RFC 7323).
const (
	headers4 = 20 + 32
	headers6 = 40 + 32
)

// payload estimates the payload of a direction from its IP bytes, which is what exporters count (octetDeltaCount,
// RFC 5102 section 5.10.1).
func payload(packets, ipBytes uint64, addr netip.Addr) uint64 {
	headers := uint64(headers4)
	if addr.Is6() {
		headers = headers6
	}
	return ipBytes - min(ipBytes, packets*headers)
}

// sensor gives the name of an exporter: its address, as it is written; "" for none and the unspecified one.
func sensor(text []byte, names *jsonscan.Interner) string {
	if len(text) == 0 || bytes.IndexByte(text, '%') >= 0 {
		return "" // zones of addresses may hold anything
	}
	if a, ok := jsonscan.Addr(text); !ok || a.IsUnspecified() {
		return ""
	}
	return names.Intern(text)
}

// transportOf reads a protocol: a number, or a name as nfdump and goflow2 write it. Names of others are unknown.
func transportOf(text []byte) (t minecanary.Transport, ok bool) {
	switch string(text) {
	case "TCP":
		return minecanary.TCP, true
	case "UDP":
		return minecanary.UDP, true
	case "":
		return minecanary.TransportUnknown, false
	}
	if text[0]-'0' <= 9 {
		n, end := jsonscan.Uint(text, 0)
		if end == len(text) && n <= 255 {
			return minecanary.Transport(n), true
		}
		// Names that begin with a digit exist: 3PC.
		return minecanary.TransportUnknown, end != len(text)
	}
	switch {
	case bytes.EqualFold(text, []byte("tcp")):
		return minecanary.TCP, true
	case bytes.EqualFold(text, []byte("udp")):
		return minecanary.UDP, true
	case bytes.EqualFold(text, []byte("icmp")):
		return minecanary.ICMP, true
	case bytes.EqualFold(text, []byte("icmp6")), bytes.EqualFold(text, []byte("icmpv6")),
		bytes.EqualFold(text, []byte("ipv6-icmp")):
		return minecanary.ICMPv6, true
	}
	return minecanary.TransportUnknown, true
}

// dateLength is that of 2006-01-02T15:04:05 without a fraction; maxDate that of the longest that is read.
const (
	dateLength = len("2006-01-02T15:04:05")
	maxDate    = dateLength + len(".123456789")
)

// date reads a date and time of day, with a blank or a T between them and no zone, as UTC, in microseconds after 1970.
// With a zone it is read as that says.
func date(text []byte) (uint64, bool) {
	if len(text) < dateLength {
		return 0, false
	}
	var buf [maxDate + len("+00:00")]byte
	if len(text) >= len(buf) {
		return 0, false
	}
	n := copy(buf[:], text)
	if buf[len("2006-01-02")] == ' ' {
		buf[len("2006-01-02")] = 'T'
	}
	if c := buf[n-1]; c-'0' <= 9 && bytes.IndexByte(buf[dateLength:n], '+') < 0 && bytes.IndexByte(buf[dateLength:n], '-') < 0 {
		buf[n] = 'Z'
		n++
	}
	v, ok := jsonscan.Date(buf[:n])
	return uint64(v), ok
}
