// Package eve turns flow events of Suricata's EVE JSON log into records. Other events are recognised and skipped.
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
)

// The reasons of outcomes.
const (
	// ReasonEmpty: skipped, a line without content.
	ReasonEmpty = "empty"
	// ReasonAlert: skipped, an alert.
	ReasonAlert = "alert"
	// ReasonDNS: skipped, a dns event.
	ReasonDNS = "dns"
	// ReasonTLS: skipped, a tls event.
	ReasonTLS = "tls"
	// ReasonHTTP: skipped, an http event.
	ReasonHTTP = "http"
	// ReasonNetflow: skipped, a netflow event; it repeats one direction of what the flow event says.
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
	// ReasonField: bad, a field of a flow event is missing or of a wrong type.
	ReasonField = "field"
	// ReasonAddress: bad, an address of a flow event cannot be read.
	ReasonAddress = "address"
	// ReasonRange: bad, a number of a flow event is out of range.
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

// Decoder decodes lines of EVE JSON. Of equal keys the last counts; null is the same as absent.
//
// Lines as Suricata writes them are read in one pass without allocations, all others with encoding/json.
type Decoder struct {
	scan  *jsonscan.Scanner
	names jsonscan.Interner
}

// New gives a decoder.
func New() *Decoder { return &Decoder{scan: jsonscan.NewScanner(schema)} }

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

const (
	flowNeeds = 1<<fieldSrcIP | 1<<fieldDestIP | 1<<fieldProto | 1<<fieldFlow | 1<<fieldStart | 1<<fieldEnd |
		1<<fieldPacketsToServer | 1<<fieldPacketsToClient | 1<<fieldBytesToServer | 1<<fieldBytesToClient
	ports = 1<<fieldSrcPort | 1<<fieldDestPort
	// What may be of a wrong type: a host that is no text is what a shipper made of it, a tcp that is no object has no
	// flags.
	spare = 1<<fieldHost | 1<<fieldTCP
)

// finish judges the values of a line, whichever way they were read, and makes a record of them.
func (d *Decoder) finish(rec *minecanary.Record) consumer.Outcome {
	v := &d.scan.Values
	eventType, ok := d.text(fieldEventType)
	switch {
	case v.Has>>fieldEventType&1 == 0:
		return bad(ReasonUnknown)
	case !ok:
		return bad(ReasonField)
	case string(eventType) != "flow":
		return skipped(reasonOf(eventType))
	case v.Has&flowNeeds != flowNeeds || v.Wrong&^spare != 0:
		return bad(ReasonField)
	}
	proto, _ := d.text(fieldProto)
	transport := transportOf(proto)
	hasPorts := transport == minecanary.TCP || transport == minecanary.UDP // others carry icmp_type, icmp_code or nothing
	id, idOK := d.flowID()
	orig, flagsOK1 := d.flags(fieldFlagsToServer)
	resp, flagsOK2 := d.flags(fieldFlagsToClient)
	if len(proto) == 0 || hasPorts && v.Has&ports != ports || !idOK || !flagsOK1 || !flagsOK2 {
		return bad(ReasonField)
	}
	var ok1, ok2 bool
	rec.Orig, ok1 = jsonscan.Addr(v.Text(fieldSrcIP))
	rec.Resp, ok2 = jsonscan.Addr(v.Text(fieldDestIP))
	if !ok1 || !ok2 {
		return bad(ReasonAddress)
	}
	srcPort, destPort := d.count(fieldSrcPort), d.count(fieldDestPort)
	start, end := v.Numbers[fieldStart], v.Numbers[fieldEnd]
	c := v.Numbers[fieldPacketsToServer:][:4]
	if v.Below|v.Above != 0 || srcPort > math.MaxUint16 || destPort > math.MaxUint16 ||
		start > end || end >= jsonscan.MaxMicros || max(c[0], c[1], c[2], c[3]) > MaxCounter {
		return bad(ReasonRange)
	}

	rec.Kind = minecanary.KindConn
	rec.Transport = transport
	rec.OrigPort, rec.RespPort = uint16(srcPort), uint16(destPort)
	rec.OrigLocal, rec.RespLocal = minecanary.LocalityUnknown, minecanary.LocalityUnknown
	rec.Start, rec.End = int64(start), int64(end)

	link, header := uint64(frameHeader), uint64(ipHeader4)
	if v.Has>>fieldVLAN&1 != 0 {
		link += vlanTag * vlans(v.Text(fieldVLAN))
	}
	if rec.Orig.Is6() {
		header = ipHeader6
	}
	rec.OrigPackets, rec.RespPackets = c[0], c[1]
	rec.OrigBytes, rec.OrigPayload = sizes(c[0], c[2], link, header)
	rec.RespBytes, rec.RespPayload = sizes(c[1], c[3], link, header)

	// Suricata has flags only for connections it has a TCP session of; else it writes 00 for both (stream.midstream).
	rec.FlagsKnown = transport == minecanary.TCP && orig|resp != 0
	rec.OrigFlags, rec.RespFlags, rec.Handshake = 0, 0, false
	if rec.FlagsKnown {
		rec.OrigFlags, rec.RespFlags = orig, resp
		rec.Handshake = (orig | resp).Has(minecanary.SYN)
	}
	appProto, _ := d.text(fieldAppProto)
	rec.Services = servicesOf(appProto)
	rec.Final, rec.InterimSeq = false, 0
	rec.UID = minecanary.UID{}
	copy(rec.UID[:], id)
	rec.Sensor = ""
	if host, ok := d.text(fieldHost); ok {
		rec.Sensor = d.names.Intern(host)
	}
	return consumer.Outcome{Kind: consumer.Decoded}
}

// text gives the text of a field, if it is there.
func (d *Decoder) text(f field) ([]byte, bool) {
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
	id, ok := d.text(fieldFlowID)
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
	digits, ok := d.text(f)
	if !ok {
		return 0, true
	}
	v, ok := jsonscan.HexByte(digits)
	return minecanary.TCPFlags(v), ok
}

// reasonOf gives the reason an event that is no flow is skipped for.
func reasonOf(eventType []byte) string {
	switch string(eventType) {
	case ReasonAlert:
		return ReasonAlert
	case ReasonDNS:
		return ReasonDNS
	case ReasonTLS:
		return ReasonTLS
	case ReasonHTTP:
		return ReasonHTTP
	case ReasonNetflow:
		return ReasonNetflow
	case ReasonStats:
		return ReasonStats
	}
	return ReasonOtherEvent
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
