// Package eve turns events of Suricata's EVE JSON log into records (flow, netflow, alerts of Minecanary's meter rules) and
// sightings (tls, dns, alerts of rules for coin mining). Other events are recognised and skipped.
//
// Field names and meanings are those of Suricata 7 and 8 (etc/schema.json, src/output-json-flow.c). A decoder belongs to
// one goroutine. It keeps no reference to a line.
package eve

import (
	"bytes"
	"math"
	"strconv"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/sighting"
)

// The reasons of outcomes.
const (
	// ReasonEmpty: skipped, a line without content.
	ReasonEmpty = "empty"
	// ReasonAlert: skipped, an alert that says nothing of mining.
	ReasonAlert = "alert"
	// ReasonDNS: skipped, a dns event that is no answer.
	ReasonDNS = "dns"
	// ReasonNoName: skipped, a tls event without a server name, or a dns event without the name of a host.
	ReasonNoName = "no_name"
	// ReasonNoAddress: skipped, an answer of dns without an address, or to a query for something else.
	ReasonNoAddress = "no_address"
	// ReasonHTTP: skipped, an http event.
	ReasonHTTP = "http"
	// ReasonNetflow: skipped, a netflow event that repeats one direction of what a flow event said; whoever sees all of
	// the events has to find that out.
	ReasonNetflow = "netflow"
	// ReasonStats: skipped, Suricata's own statistics.
	ReasonStats = "stats"
	// ReasonOtherEvent: skipped, an event of another type.
	ReasonOtherEvent = "other_event"

	// ReasonJSON: bad, not one JSON object.
	ReasonJSON = "json"
	// ReasonDepth: bad, JSON nested over jsonscan.MaxDepth.
	ReasonDepth = "depth"
	// ReasonUnknown: bad, a JSON object without event_type.
	ReasonUnknown = "unknown"
	// ReasonField: bad, a field of an event that is of use is missing or of a wrong type.
	ReasonField = "field"
	// ReasonAddress: bad, an address of an event that is of use cannot be read.
	ReasonAddress = "address"
	// ReasonRange: bad, a number of an event that is of use is out of range.
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

// Config is what is known of the sensor's rules.
type Config struct {
	// MeterSIDs are the numbers of the rules whose alerts are taken for records of running connections; nil: MeterSID
	// and MeterReversedSID.
	MeterSIDs []uint32
}

// Decoder decodes lines of EVE JSON. Of equal keys the last counts; null is the same as absent.
//
// Lines as Suricata writes them are read in one pass without allocations, all others with encoding/json.
type Decoder struct {
	scan   *jsonscan.Scanner
	entry  *jsonscan.Scanner
	names  jsonscan.Interner
	sight  sighting.Maker
	meters []uint32
	// text holds a text free of escapes.
	text []byte
}

// New gives a decoder.
func New(cfg Config) *Decoder {
	d := &Decoder{scan: jsonscan.NewScanner(schema), entry: jsonscan.NewScanner(entries), meters: cfg.MeterSIDs}
	if d.meters == nil {
		d.meters = []uint32{MeterSID, MeterReversedSID}
	}
	return d
}

// Sightings gives what the last line gave if its outcome was Sighted. The slice is used again for the next line.
func (d *Decoder) Sightings() []minecanary.Sighting { return d.sight.List() }

// Decode reads one line, without its newline. If the outcome is Decoded the record is overwritten in full, else its
// content is undefined. A byte order mark at the start and a carriage return at the end are tolerated.
func (d *Decoder) Decode(line []byte, rec *minecanary.Record) consumer.Outcome {
	line = jsonscan.Line(line)
	if d.scan.Scan(line) {
		return d.finish(rec)
	}
	return d.slow(line, rec)
}

// Try is Decode for a line that may have more to it. It gives up (false) where the record is bad or hard to read, and
// where there are keys of a log shipper beside it: whoever called is to look at the line in full then. It costs no more
// than Decode for the lines that Suricata writes.
func (d *Decoder) Try(line []byte, rec *minecanary.Record) (consumer.Outcome, bool) {
	if !d.scan.Scan(line) || d.scan.Has>>fieldShipper&1 != 0 || d.scan.Wrong>>fieldHost&1 != 0 {
		return consumer.Outcome{}, false
	}
	out := d.finish(rec)
	return out, out.Kind != consumer.Bad
}

// slow decodes a line with encoding/json. It defines what Decode must do.
func (d *Decoder) slow(line []byte, rec *minecanary.Record) consumer.Outcome {
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

// set is a set of fields.
type set uint64

func setOf(list ...field) (s set) {
	for _, f := range list {
		s |= 1 << f
	}
	return s
}

var (
	ports = setOf(fieldSrcPort, fieldDestPort)
	ends  = setOf(fieldSrcIP, fieldDestIP, fieldProto)
	// What all events that are of use may have. A host that is no text is what a shipper made of it.
	shared     = ends | ports | setOf(fieldEventType, fieldFlowID)
	recordUses = shared | setOf(fieldAppProto, fieldVLAN)

	counters  = setOf(fieldPacketsToServer, fieldPacketsToClient, fieldBytesToServer, fieldBytesToClient)
	flowNeeds = ends | counters | setOf(fieldFlow, fieldStart, fieldEnd)
	// A tcp that is no object has no flags.
	flowUses = recordUses | flowNeeds | setOf(fieldFlagsToServer, fieldFlagsToClient)

	netflowCounters = setOf(fieldPackets, fieldBytes)
	netflowNeeds    = ends | netflowCounters | setOf(fieldNetflow, fieldNetflowStart, fieldNetflowEnd)
	netflowUses     = recordUses | netflowNeeds | setOf(fieldFlags)

	flowEnds   = setOf(fieldFlowSrcIP, fieldFlowDestIP, fieldFlowSrcPort, fieldFlowDestPort)
	meterNeeds = ends | counters | setOf(fieldFlow, fieldStart, fieldTimestamp)
	meterUses  = recordUses | meterNeeds | flowEnds
)

// finish judges the values of a line, whichever way they were read, and makes of them what they are.
func (d *Decoder) finish(rec *minecanary.Record) consumer.Outcome {
	v := &d.scan.Values
	eventType, ok := d.get(fieldEventType)
	switch {
	case v.Has>>fieldEventType&1 == 0:
		return bad(ReasonUnknown)
	case !ok:
		return bad(ReasonField)
	}
	switch string(eventType) {
	case "flow":
		return d.flow(rec)
	case "alert":
		return d.alert(rec)
	case "tls":
		return d.tls()
	case "dns":
		return d.dns()
	case "netflow":
		return d.netflow(rec)
	case "http":
		return skipped(ReasonHTTP)
	case "stats":
		return skipped(ReasonStats)
	}
	return skipped(ReasonOtherEvent)
}

// flow makes the record of a flow event.
func (d *Decoder) flow(rec *minecanary.Record) consumer.Outcome {
	v := &d.scan.Values
	orig, flagsOK1 := d.flags(fieldFlagsToServer)
	resp, flagsOK2 := d.flags(fieldFlagsToClient)
	if out, ok := d.check(rec, flowNeeds, flowUses); !ok {
		return out
	}
	if !flagsOK1 || !flagsOK2 {
		return bad(ReasonField)
	}
	c := v.Numbers[fieldPacketsToServer:][:4]
	rec.Kind = minecanary.KindConn
	// Suricata has flags only for connections it has a TCP session of; else it writes 00 for both (stream.midstream).
	rec.FlagsKnown = rec.Transport == minecanary.TCP && orig|resp != 0
	rec.OrigFlags, rec.RespFlags, rec.Handshake = 0, 0, false
	if rec.FlagsKnown {
		rec.OrigFlags, rec.RespFlags = orig, resp
		rec.Handshake = (orig | resp).Has(minecanary.SYN)
	}
	return d.common(rec, v.Numbers[fieldStart], v.Numbers[fieldEnd], c[0], c[1], c[2], c[3])
}

// netflow makes the record of a netflow event: one direction of a connection since its start, from source to
// destination.
func (d *Decoder) netflow(rec *minecanary.Record) consumer.Outcome {
	v := &d.scan.Values
	flags, flagsOK := d.flags(fieldFlags)
	if out, ok := d.check(rec, netflowNeeds, netflowUses); !ok {
		return out
	}
	if !flagsOK {
		return bad(ReasonField)
	}
	rec.Kind = minecanary.KindFlow
	rec.FlagsKnown = rec.Transport == minecanary.TCP && flags != 0
	rec.OrigFlags, rec.RespFlags, rec.Handshake = 0, 0, false
	if rec.FlagsKnown {
		rec.OrigFlags = flags
	}
	return d.common(rec, v.Numbers[fieldNetflowStart], v.Numbers[fieldNetflowEnd],
		v.Numbers[fieldPackets], 0, v.Numbers[fieldBytes], 0)
}

// meter makes the record of a running connection since its start of an alert of a meter rule.
func (d *Decoder) meter(rec *minecanary.Record) consumer.Outcome {
	v := &d.scan.Values
	if out, ok := d.check(rec, meterNeeds, meterUses); !ok {
		return out
	}
	stamp, _ := d.get(fieldTimestamp)
	end, ok := timeOf(stamp)
	if !ok {
		return bad(ReasonField)
	}
	if out := d.direct(rec); out.Kind != consumer.Decoded {
		return out
	}
	c := v.Numbers[fieldPacketsToServer:][:4]
	rec.Kind = minecanary.KindLong
	// The rule asks for flows that are established; flags are not among what alerts tell. Unless another rule left its mark,
	// whether the start was seen is not known (stream.midstream), so that nothing says for sure who is the client.
	rec.FlagsKnown = rec.Transport == minecanary.TCP
	rec.Handshake = rec.FlagsKnown && d.handshake()
	rec.OrigFlags, rec.RespFlags = 0, 0
	if rec.FlagsKnown {
		rec.OrigFlags = minecanary.SYN | minecanary.ACK | minecanary.PSH
		rec.RespFlags = rec.OrigFlags
	}
	return d.common(rec, v.Numbers[fieldStart], uint64(end), c[0], c[1], c[2], c[3])
}

// direct turns the record of an alert to the direction of its flow: an alert has that of the packet that raised it.
func (d *Decoder) direct(rec *minecanary.Record) consumer.Outcome {
	v := &d.scan.Values
	if set(v.Has)&flowEnds == flowEnds {
		var ok1, ok2 bool
		rec.Orig, ok1 = jsonscan.Addr(v.Text(fieldFlowSrcIP))
		rec.Resp, ok2 = jsonscan.Addr(v.Text(fieldFlowDestIP))
		src, dest := v.Numbers[fieldFlowSrcPort], v.Numbers[fieldFlowDestPort]
		switch {
		case !ok1 || !ok2:
			return bad(ReasonAddress)
		case src > math.MaxUint16 || dest > math.MaxUint16:
			return bad(ReasonRange)
		}
		rec.OrigPort, rec.RespPort = uint16(src), uint16(dest)
	} else if d.toClient() {
		rec.Orig, rec.Resp, rec.OrigPort, rec.RespPort = rec.Resp, rec.Orig, rec.RespPort, rec.OrigPort
	}
	return consumer.Outcome{Kind: consumer.Decoded}
}

// toClient tells whether the packet of an alert went from the flow's server to its client.
func (d *Decoder) toClient() bool {
	if direction, ok := d.get(fieldDirection); ok {
		return string(direction) == "to_client"
	}
	return d.count(fieldSID) == MeterReversedSID
}

// check judges what all records have in common but times and counters, and fills in addresses, ports and transport.
func (d *Decoder) check(rec *minecanary.Record, needs, uses set) (consumer.Outcome, bool) {
	v := &d.scan.Values
	if set(v.Has)&needs != needs || set(v.Wrong)&uses != 0 {
		return bad(ReasonField), false
	}
	proto := v.Text(fieldProto)
	rec.Transport = transportOf(proto)
	hasPorts := rec.Transport == minecanary.TCP || rec.Transport == minecanary.UDP // others carry icmp_type, icmp_code or nothing
	id, idOK := d.flowID()
	if len(proto) == 0 || hasPorts && set(v.Has)&ports != ports || !idOK {
		return bad(ReasonField), false
	}
	var ok1, ok2 bool
	rec.Orig, ok1 = jsonscan.Addr(v.Text(fieldSrcIP))
	rec.Resp, ok2 = jsonscan.Addr(v.Text(fieldDestIP))
	if !ok1 || !ok2 {
		return bad(ReasonAddress), false
	}
	srcPort, destPort := d.count(fieldSrcPort), d.count(fieldDestPort)
	if set(v.Below|v.Above)&uses != 0 || srcPort > math.MaxUint16 || destPort > math.MaxUint16 {
		return bad(ReasonRange), false
	}
	rec.OrigPort, rec.RespPort = uint16(srcPort), uint16(destPort)
	rec.UID = minecanary.UID{}
	copy(rec.UID[:], id)
	return consumer.Outcome{}, true
}

// common fills in what is left of a record. Orig and resp are what source and destination sent, in packets and in bytes
// of frames.
func (d *Decoder) common(rec *minecanary.Record, start, end, origPackets, respPackets, origFrames, respFrames uint64) consumer.Outcome {
	v := &d.scan.Values
	if start > end || end >= jsonscan.MaxMicros || max(origPackets, respPackets, origFrames, respFrames) > MaxCounter {
		return bad(ReasonRange)
	}
	rec.OrigLocal, rec.RespLocal = minecanary.LocalityUnknown, minecanary.LocalityUnknown
	rec.Start, rec.End = int64(start), int64(end)

	link, header := uint64(frameHeader), uint64(ipHeader4)
	if v.Has>>fieldVLAN&1 != 0 {
		link += vlanTag * vlans(v.Text(fieldVLAN))
	}
	if rec.Orig.Is6() {
		header = ipHeader6
	}
	rec.OrigPackets, rec.RespPackets = origPackets, respPackets
	rec.OrigBytes, rec.OrigPayload = sizes(origPackets, origFrames, link, header)
	rec.RespBytes, rec.RespPayload = sizes(respPackets, respFrames, link, header)

	appProto, _ := d.get(fieldAppProto)
	rec.Services = servicesOf(appProto)
	rec.Final, rec.InterimSeq = false, 0
	rec.Sensor = d.sensor()
	return consumer.Outcome{Kind: consumer.Decoded}
}

// sensor gives the sensor's name, "" if the event has none.
func (d *Decoder) sensor() string {
	if host, ok := d.get(fieldHost); ok {
		return d.names.Intern(host)
	}
	return ""
}

// timeOf reads a time stamp, which is in range if ok.
func timeOf(text []byte) (micros int64, ok bool) {
	if micros, ok = jsonscan.Date(text); !ok {
		micros, ok = jsonscan.AnyDate(string(text))
	}
	return micros, ok && micros >= 0 && micros < jsonscan.MaxMicros
}

// get gives the text of a field, if it is there.
func (d *Decoder) get(f field) ([]byte, bool) {
	v := &d.scan.Values
	if (v.Has&^v.Wrong)>>f&1 == 0 {
		return nil, false
	}
	return v.Text(f), true
}

// count gives a count, 0 if it is not there.
func (d *Decoder) count(f field) uint64 {
	v := &d.scan.Values
	if v.Has>>f&1 == 0 {
		return 0
	}
	return v.Numbers[f]
}

// flowID gives flow_id, a number of 64 bits (which some shippers make a string of), in decimal; nothing if it is not
// there. It fails on anything but digits.
func (d *Decoder) flowID() ([]byte, bool) {
	id, ok := d.get(fieldFlowID)
	if !ok {
		return nil, true
	}
	if len(id) == 0 || len(id) > len(minecanary.UID{}) {
		return nil, false
	}
	for _, c := range id {
		if c-'0' > 9 {
			return nil, false
		}
	}
	return id, true
}

// flags gives the flags of a direction, two hexadecimal digits; none if they are not there.
func (d *Decoder) flags(f field) (minecanary.TCPFlags, bool) {
	digits, ok := d.get(f)
	if !ok {
		return 0, true
	}
	v, ok := jsonscan.HexByte(digits)
	return minecanary.TCPFlags(v), ok
}

// maxVLANs is the number of VLAN tags Suricata looks through (VLAN_MAX_LAYERS in decode-vlan.h).
const maxVLANs = 3

// vlans gives the number of tags in vlan: a list of tags, or before Suricata 5 one tag.
func vlans(value []byte) uint64 {
	if value[0] != '[' {
		return 1
	}
	if value[jsonscan.Blank(value, 1)] == ']' {
		return 0
	}
	return uint64(min(maxVLANs, 1+bytes.Count(value, []byte{','})))
}

const (
	// Suricata counts frames (GET_PKT_LEN in src/flow.c): an Ethernet header and the VLAN tags are in its bytes.
	frameHeader = 14
	vlanTag     = 4
	// The smallest IP headers.
	ipHeader4 = 20
	ipHeader6 = 40
	// The usual TCP header: 20 bytes and the time stamp option with its padding (RFC 7323), 12.
	tcpHeader = 32
)

// sizes gives the IP bytes and the estimated payload of a direction, of which the sensor counted the packets and the
// bytes of their frames. The IP bytes are never below what the packets' IP headers need (a sensor may read from an
// interface without link headers), nor above what the sensor counted. The payload is what IP header and usual TCP header
// leave.
func sizes(packets, frames, link, header uint64) (ipBytes, payload uint64) {
	ipBytes = frames - min(frames, link*packets)
	ipBytes = min(frames, max(ipBytes, header*packets))
	return ipBytes, ipBytes - min(ipBytes, (header+tcpHeader)*packets)
}

// transportOf reads proto: a name, or for protocols Suricata has no name for a number.
func transportOf(proto []byte) minecanary.Transport {
	switch string(proto) {
	case "TCP":
		return minecanary.TCP
	case "UDP":
		return minecanary.UDP
	}
	switch {
	case bytes.EqualFold(proto, []byte("tcp")):
		return minecanary.TCP
	case bytes.EqualFold(proto, []byte("udp")):
		return minecanary.UDP
	case bytes.EqualFold(proto, []byte("icmp")):
		return minecanary.ICMP
	case bytes.EqualFold(proto, []byte("ipv6-icmp")):
		return minecanary.ICMPv6
	}
	if v, err := strconv.ParseUint(string(proto), 10, 8); err == nil {
		return minecanary.Transport(v)
	}
	return minecanary.TransportUnknown
}

// servicesOf reads app_proto.
func servicesOf(name []byte) minecanary.Services {
	switch string(name) {
	case "", "failed", "unknown":
		return minecanary.ServiceUnknown
	case "tls":
		return minecanary.ServiceTLS
	case "http", "http2":
		return minecanary.ServiceHTTP
	}
	return minecanary.ServiceOther
}
