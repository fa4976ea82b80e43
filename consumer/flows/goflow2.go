package flows

import (
	"math"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
)

// field is the number of a member of goflow2's JSON.
type field = uint8

const (
	_ field = iota // what is ignored

	// Times, in nanoseconds, milliseconds and seconds.
	fieldStartNanos
	fieldStartMillis
	fieldStart
	fieldEndNanos
	fieldEndMillis
	fieldEnd
	fieldReceivedNanos
	fieldReceived

	fieldSrcPort
	fieldDstPort
	fieldPackets
	fieldBytes
	fieldFlags
	fieldSampling

	fieldSrcAddr
	fieldDstAddr
	fieldSampler
	fieldProto
	fieldType

	// fieldShipper tells that a key of a log shipper is in the line.
	fieldShipper

	fieldCount
)

// schema is what is read of a line of goflow2: pb/flow.proto of version 2 and, with its time_flow_start in seconds, of
// version 1, whose JSON has the names of Go's fields unless it was given -format.tag=json.
var schema = &jsonscan.Schema{
	Fields: func() []jsonscan.Field {
		list := make([]jsonscan.Field, fieldCount)
		fill := func(from, to field, k jsonscan.Kind) {
			for f := from; f <= to; f++ {
				list[f].Kind = k
			}
		}
		// Numbers, or what a renderer of mapping.yaml makes of them: dates, and names of protocols.
		fill(fieldStartNanos, fieldReceived, jsonscan.Token)
		fill(fieldSrcPort, fieldSampling, jsonscan.Count)
		fill(fieldSrcAddr, fieldSampler, jsonscan.Text)
		fill(fieldProto, fieldType, jsonscan.Token)
		list[fieldShipper].Kind = jsonscan.Mark
		return list
	}(),
	Members: jsonscan.WithShipperKeys([]jsonscan.Member{
		{Key: "type", Field: fieldType},
		{Key: "time_received_ns", Field: fieldReceivedNanos},
		{Key: "sampling_rate", Field: fieldSampling},
		{Key: "sampler_address", Field: fieldSampler},
		{Key: "time_flow_start_ns", Field: fieldStartNanos},
		{Key: "time_flow_end_ns", Field: fieldEndNanos},
		{Key: "bytes", Field: fieldBytes},
		{Key: "packets", Field: fieldPackets},
		{Key: "src_addr", Field: fieldSrcAddr},
		{Key: "dst_addr", Field: fieldDstAddr},
		{Key: "proto", Field: fieldProto},
		{Key: "src_port", Field: fieldSrcPort},
		{Key: "dst_port", Field: fieldDstPort},
		{Key: "tcp_flags", Field: fieldFlags},
		{Key: "time_received", Field: fieldReceived},
		{Key: "time_flow_start", Field: fieldStart},
		{Key: "time_flow_end", Field: fieldEnd},
		{Key: "time_flow_start_ms", Field: fieldStartMillis},
		{Key: "time_flow_end_ms", Field: fieldEndMillis},
		{Key: "Type", Field: fieldType},
		{Key: "TimeReceived", Field: fieldReceived},
		{Key: "SamplingRate", Field: fieldSampling},
		{Key: "SamplerAddress", Field: fieldSampler},
		{Key: "TimeFlowStart", Field: fieldStart},
		{Key: "TimeFlowEnd", Field: fieldEnd},
		{Key: "TimeFlowStartMs", Field: fieldStartMillis},
		{Key: "TimeFlowEndMs", Field: fieldEndMillis},
		{Key: "Bytes", Field: fieldBytes},
		{Key: "Packets", Field: fieldPackets},
		{Key: "SrcAddr", Field: fieldSrcAddr},
		{Key: "DstAddr", Field: fieldDstAddr},
		{Key: "Proto", Field: fieldProto},
		{Key: "SrcPort", Field: fieldSrcPort},
		{Key: "DstPort", Field: fieldDstPort},
		{Key: "TCPFlags", Field: fieldFlags},
		{Key: "TcpFlags", Field: fieldFlags},
	}, fieldShipper),
	Objects: 1,
}

// Goflow2 decodes lines of goflow2's JSON, of version 1 and 2. Of equal keys the last counts; null is the same as absent.
//
// Lines as goflow2 writes them are read in one pass without allocations, all others with encoding/json.
type Goflow2 struct {
	scan  *jsonscan.Scanner
	names jsonscan.Interner
}

// NewGoflow2 gives a decoder.
func NewGoflow2() *Goflow2 { return &Goflow2{scan: jsonscan.NewScanner(schema)} }

// Decode reads one line, without its newline. If the outcome is Decoded the record is overwritten in full, else its
// content is undefined. A byte order mark at the start and a carriage return at the end are tolerated.
func (d *Goflow2) Decode(line []byte, rec *minecanary.Record) consumer.Outcome {
	line = jsonscan.Line(line)
	if d.scan.Scan(line) {
		return d.finish(rec)
	}
	return d.slow(line, rec)
}

// Try is Decode for a line that may have more to it. It gives up (false) where the record is bad or hard to read, and
// where there are keys of a log shipper beside it: whoever called is to look at the line in full then.
func (d *Goflow2) Try(line []byte, rec *minecanary.Record) (consumer.Outcome, bool) {
	if !d.scan.Scan(line) || d.scan.Has>>fieldShipper&1 != 0 {
		return consumer.Outcome{}, false
	}
	out := d.finish(rec)
	return out, out.Kind != consumer.Bad
}

// slow decodes a line with encoding/json. It defines what Decode must do.
func (d *Goflow2) slow(line []byte, rec *minecanary.Record) consumer.Outcome {
	if jsonscan.Blank(line, 0) == len(line) {
		return skipped(ReasonEmpty)
	}
	switch flaw := d.scan.Read(line); flaw {
	case jsonscan.NotJSON:
		return bad(ReasonJSON)
	case jsonscan.TooDeep:
		return bad(ReasonDepth)
	}
	return d.finish(rec)
}

// finish judges the values of a line, whichever way they were read, and makes a record of them.
func (d *Goflow2) finish(rec *minecanary.Record) consumer.Outcome {
	const (
		addresses = 1<<fieldSrcAddr | 1<<fieldDstAddr
		needs     = addresses | 1<<fieldProto | 1<<fieldPackets | 1<<fieldBytes
		ports     = 1<<fieldSrcPort | 1<<fieldDstPort
		// What may be of a wrong type: it is not read.
		spare = 1<<fieldType | 1<<fieldSampler
	)
	v := &d.scan.Values
	if v.Has&addresses == 0 {
		return bad(ReasonUnknown)
	}
	transport, known := transportOf(v.Text(fieldProto))
	if v.Has&needs != needs || v.Wrong&^spare != 0 || !known ||
		(transport == minecanary.TCP || transport == minecanary.UDP) && v.Has&ports != ports {
		return bad(ReasonField)
	}
	if v.Below|v.Above != 0 {
		return bad(ReasonRange)
	}
	r := row{
		src: v.Text(fieldSrcAddr), dst: v.Text(fieldDstAddr), transport: transport,
		srcPort: d.number(fieldSrcPort), dstPort: d.number(fieldDstPort),
		packets: d.number(fieldPackets), bytes: d.number(fieldBytes),
		exporter: v.Text(fieldSampler),
	}
	// The flags of a sampled row are those of the packets that were picked, of an sFlow sample those of one packet.
	if d.number(fieldSampling) <= 1 && !sFlow(v.Text(fieldType)) {
		// IPFIX has flags of 16 bits (RFC 7125); the lower eight are those of RFC 9293.
		r.flags = minecanary.TCPFlags(d.number(fieldFlags) & math.MaxUint8)
	}
	received, ok1 := d.time(fieldReceivedNanos, 0, fieldReceived)
	start, ok2 := d.time(fieldStartNanos, fieldStartMillis, fieldStart)
	end, ok3 := d.time(fieldEndNanos, fieldEndMillis, fieldEnd)
	if !ok1 || !ok2 || !ok3 {
		return bad(ReasonField)
	}
	// An exporter that tells no times leaves that of the collector.
	if start == 0 {
		start = received
	}
	if end == 0 {
		end = start
	}
	if start == 0 {
		return bad(ReasonRange)
	}
	r.start, r.end = start, end
	return r.finish(rec, &d.names)
}

// number gives a number, 0 if it is not there.
func (d *Goflow2) number(f field) uint64 {
	v := &d.scan.Values
	if v.Has>>f&1 == 0 {
		return 0
	}
	return v.Numbers[f]
}

// sFlow tells whether a row's type is a sample of sFlow.
func sFlow(name []byte) bool { return string(name) == "SFLOW_5" || string(name) == "1" }

// halfMicro is half a microsecond in nanoseconds: from there on times are rounded up.
const halfMicro = 500

// maxDigits is the number of digits that always fit in 64 bits; nanoseconds after 1970 have 19 until the year 2286.
const maxDigits = 19

// digits reads a whole number as JSON writes it, without sign or exponent, of at most maxDigits digits.
func digits(text []byte) (v uint64, ok bool) {
	if len(text) > maxDigits || len(text) == 0 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	for _, c := range text {
		if c-'0' > 9 {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, true
}

// time gives a time in microseconds after 1970 of the first of three fields that is there and not zero; 0 for none.
func (d *Goflow2) time(nanos, millis, seconds field) (uint64, bool) {
	for _, f := range [...]struct {
		field field
		shift int // of the decimal point, to microseconds
	}{{nanos, -3}, {millis, 3}, {seconds, 6}} {
		text := d.scan.Text(f.field)
		if len(text) == 0 {
			continue
		}
		// What Scaled says of digits alone, at once.
		if n, ok := digits(text); ok && f.field == nanos {
			if n >= halfMicro {
				return (n + halfMicro) / (2 * halfMicro), true
			}
			continue
		}
		if jsonscan.Number(text, 0) != len(text) {
			return date(text)
		}
		v, _, in := jsonscan.Scaled(text, f.shift)
		if in == jsonscan.TooLarge {
			return math.MaxUint64, true // out of range, as finish finds
		}
		if in != jsonscan.InRange {
			return 0, false
		}
		if v != 0 {
			return uint64(v), true
		}
	}
	return 0, true
}
