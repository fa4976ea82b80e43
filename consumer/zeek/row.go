package zeek

import (
	"bytes"
	"math"
	"net/netip"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/sighting"
)

// row judges the values of a line, whichever way they were read, and makes a record of them.
type row struct {
	*jsonscan.Values
	names *jsonscan.Interner
	sight *sighting.Maker
	// comma stands between the elements of lists as TSV has them; 0 for lists as JSON has them.
	comma byte
}

func (r *row) has(f field) bool { return r.Has>>f&1 != 0 }

var (
	// What conn and conn_interim records have in common.
	tupleFields  = setOf(fieldOrigHost, fieldOrigPort, fieldRespHost, fieldRespPort, fieldProto)
	sharedFields = tupleFields |
		setOf(fieldUID, fieldService, fieldSystemName, fieldLocalOrig, fieldLocalResp, fieldIPProto)

	connNeeds = tupleFields | setOf(fieldTS)
	connUses  = connNeeds | connCounters | sharedFields |
		setOf(fieldDuration, fieldHistory, fieldOrigBytes, fieldRespBytes, fieldInterimSeq)
	connCounters = setOf(fieldOrigPackets, fieldOrigIPBytes, fieldRespPackets, fieldRespIPBytes)

	interimNeeds = tupleFields | setOf(fieldSliceStart, fieldSliceEnd)
	interimUses  = interimNeeds | interimCounters | sharedFields |
		setOf(fieldDeltaHistory, fieldDeltaOrigBytes, fieldDeltaRespBytes, fieldSeq, fieldFinal)
	interimCounters = setOf(fieldDeltaOrigPackets, fieldDeltaOrigIPBytes, fieldDeltaRespPackets, fieldDeltaRespIPBytes)

	payloads = setOf(fieldOrigBytes, fieldRespBytes, fieldDeltaOrigBytes, fieldDeltaRespBytes)
)

// log gives the log the line is of: what _path says, else _stream (the extension columns of Zeek's logging framework),
// else what the columns say.
func (r *row) log() log {
	if r.Has&(1<<fieldPath|1<<fieldStream) == 0 {
		return shape(set(r.Has))
	}
	if l := r.named(); l != logNone {
		return l
	}
	return shape(set(r.Has))
}

// named gives the log that _path or _stream says.
func (r *row) named() log {
	for _, f := range [...]field{fieldPath, fieldStream} {
		if l := logOf(r.Text(f)); l != logNone {
			return l
		}
	}
	return logNone
}

// hinted gives the log the line is of if a hint is known; see JSON.DecodeAs.
func (r *row) hinted(hint Hint) log {
	h := logOf([]byte(hint.Log))
	if hint.Forced && h != logNone {
		return h
	}
	if l := r.named(); l != logNone {
		return l
	}
	l := shape(set(r.Has))
	switch h {
	case logNone:
		return l
	case logConn:
		if l == logNone || l == logOther {
			return logConn
		}
		return l
	default:
		return h
	}
}

// finish judges the row as one of the log and fills in the record, which is complete only if the outcome is Decoded.
func (r *row) finish(of log, rec *minecanary.Record) consumer.Outcome {
	switch of {
	case logConn:
		return r.conn(rec, minecanary.KindConn)
	case logInterim:
		return r.interim(rec)
	case logConnLong:
		return r.conn(rec, minecanary.KindLong)
	case logSSL:
		return r.ssl()
	case logDNS:
		return r.dns()
	case logMining:
		return r.mining()
	case logNone:
		return bad(ReasonUnknown)
	}
	return skipped(ReasonOtherLog)
}

// check judges what conn and interim records have in common, and fills in the addresses.
func (r *row) check(rec *minecanary.Record, needs, uses, counters set) (consumer.Outcome, bool) {
	// Payload that is too large to be held is as good as none (see common).
	wild := r.Above & uint64(payloads)
	r.Has &^= wild
	r.Above &^= wild

	if !set(r.Has).hasAll(needs) || set(r.Wrong)&uses != 0 || len(r.Text(fieldProto)) == 0 {
		return bad(ReasonField), false
	}
	var ok1, ok2 bool
	rec.Orig, ok1 = jsonscan.Addr(r.Text(fieldOrigHost))
	rec.Resp, ok2 = jsonscan.Addr(r.Text(fieldRespHost))
	switch {
	case !ok1 || !ok2:
		return bad(ReasonAddress), false
	case set(r.Below|r.Above)&uses != 0,
		r.Numbers[fieldOrigPort] > math.MaxUint16,
		r.Numbers[fieldRespPort] > math.MaxUint16,
		r.has(fieldIPProto) && r.Numbers[fieldIPProto] > math.MaxUint8:
		return bad(ReasonRange), false
	case !set(r.Has).hasAll(counters):
		return skipped(ReasonNoCounters), false
	}
	return consumer.Outcome{}, true
}

// conn makes the record of a whole connection, or of a running one since its start.
func (r *row) conn(rec *minecanary.Record, kind minecanary.Kind) consumer.Outcome {
	if out, ok := r.check(rec, connNeeds, connUses, connCounters); !ok {
		return out
	}
	start, duration := r.Numbers[fieldTS], uint64(0)
	if r.has(fieldDuration) {
		duration = r.Numbers[fieldDuration]
	}
	rec.Kind = kind
	rec.InterimSeq = 0
	if r.has(fieldInterimSeq) {
		if r.Numbers[fieldInterimSeq] > math.MaxUint32 {
			return bad(ReasonRange)
		}
		rec.InterimSeq = uint32(r.Numbers[fieldInterimSeq])
	}
	rec.Final = false
	rec.FlagsKnown = len(r.Text(fieldHistory)) > 0 // Zeek leaves an empty history out
	return r.common(rec, start, start+duration, fieldOrigPackets, fieldHistory)
}

// interim makes the record of a stretch of a running connection.
func (r *row) interim(rec *minecanary.Record) consumer.Outcome {
	if out, ok := r.check(rec, interimNeeds, interimUses, interimCounters); !ok {
		return out
	}
	rec.Kind = minecanary.KindInterim
	rec.InterimSeq = 0
	rec.Final = r.has(fieldFinal) && r.Numbers[fieldFinal] != 0
	rec.FlagsKnown = true
	return r.common(rec, r.Numbers[fieldSliceStart], r.Numbers[fieldSliceEnd], fieldDeltaOrigPackets, fieldDeltaHistory)
}

// common fills in what conn and interim records have in common. The six counters stand one after the other from
// packets on. Start and end are below 2^64: each of the numbers they are made of is below 2^63.
func (r *row) common(rec *minecanary.Record, start, end uint64, packets, history field) consumer.Outcome {
	if start > end || end >= jsonscan.MaxMicros {
		return bad(ReasonRange)
	}
	rec.Start, rec.End = int64(start), int64(end)
	rec.OrigPort, rec.RespPort = uint16(r.Numbers[fieldOrigPort]), uint16(r.Numbers[fieldRespPort])
	rec.OrigLocal, rec.RespLocal = r.locality(fieldLocalOrig), r.locality(fieldLocalResp)

	c := r.Numbers[packets:][:6]
	rec.OrigPackets, rec.OrigBytes, rec.OrigPayload = c[0], c[1], c[4]
	rec.RespPackets, rec.RespBytes, rec.RespPayload = c[2], c[3], c[5]
	// Zeek counts payload by sequence numbers, which goes wrong at a gap or a wrap: too much is as good as no number.
	origTold := r.has(packets+4) && c[4] <= MaxCounter
	respTold := r.has(packets+5) && c[5] <= MaxCounter
	if !origTold {
		rec.OrigPayload = payload(rec.OrigBytes, rec.OrigPackets, rec.Orig)
	}
	if !respTold {
		rec.RespPayload = payload(rec.RespBytes, rec.RespPackets, rec.Orig)
	}
	if max(c[0], c[1], c[2], c[3], rec.OrigPayload, rec.RespPayload) > MaxCounter {
		return bad(ReasonRange)
	}

	rec.Transport = r.transport(rec.Orig)
	rec.OrigFlags, rec.RespFlags, rec.Handshake = 0, 0, false
	if rec.Transport != minecanary.TCP {
		rec.FlagsKnown = false
	} else if rec.FlagsKnown {
		f := flagsOf(r.Text(history))
		running := rec.Kind != minecanary.KindConn
		rec.Handshake = f&handshake != 0 || running && flagsOf(r.Text(fieldHistory))&handshake != 0
		rec.OrigFlags = f.orig() | implied(rec.OrigPackets, rec.OrigPayload, origTold, running)
		rec.RespFlags = f.resp() | implied(rec.RespPackets, rec.RespPayload, respTold, running)
	}
	rec.Services = servicesOf(r.Text(fieldService))
	rec.UID = minecanary.UID{}
	copy(rec.UID[:], r.Text(fieldUID))
	rec.Sensor = ""
	if r.has(fieldSystemName) {
		rec.Sensor = r.names.Intern(r.Text(fieldSystemName))
	}
	return consumer.Outcome{Kind: consumer.Decoded}
}

// locality reads local_orig and local_resp, which Zeek leaves out if Site::local_nets is empty.
func (r *row) locality(f field) minecanary.Locality {
	switch {
	case !r.has(f):
		return minecanary.LocalityUnknown
	case r.Numbers[f] != 0:
		return minecanary.Local
	}
	return minecanary.Remote
}

// transport makes the protocol number of proto, and of ip_proto (Zeek 7.1 and later) where proto says nothing.
func (r *row) transport(orig netip.Addr) minecanary.Transport {
	switch t := transportOf(r.Text(fieldProto)); {
	case t == minecanary.ICMP && orig.Is6():
		return minecanary.ICMPv6
	case t == minecanary.TransportUnknown && r.has(fieldIPProto):
		return minecanary.Transport(r.Numbers[fieldIPProto])
	default:
		return t
	}
}

// The smallest headers a TCP segment can have, IP and TCP together.
const (
	headers4 = 20 + 20
	headers6 = 40 + 20
)

// payload estimates the payload of a direction from its IP bytes, where Zeek does not tell it (it does not for
// connections without a duration). TCP options are taken for payload.
func payload(ipBytes, packets uint64, addr netip.Addr) uint64 {
	headers := uint64(headers4)
	if addr.Is6() {
		headers = headers6
	}
	if packets > ipBytes/headers {
		return 0
	}
	return ipBytes - packets*headers
}

// implied gives the flags packets must have had even if history does not show a new letter: data segments ACK and, by
// all common stacks, PSH; packets of a running connection ACK. Payload counts only if Zeek told it.
func implied(packets, payload uint64, told, running bool) minecanary.TCPFlags {
	switch {
	case packets == 0:
		return 0
	case told && payload > 0:
		return minecanary.ACK | minecanary.PSH
	case running:
		return minecanary.ACK
	}
	return 0
}

// flagPair holds the flags of the originator in the lowest byte, those of the responder in the next, and above them
// whether the originator opened the connection.
type flagPair uint32

// handshake marks the letters that only the opening of a connection by its originator has: its SYN, and the SYN+ACK of
// the responder. The other way round (s, H) the roles are turned, and I and Q may be anything.
const handshake flagPair = 1 << 16

func (p flagPair) orig() minecanary.TCPFlags { return minecanary.TCPFlags(p & 0xFF) }
func (p flagPair) resp() minecanary.TCPFlags { return minecanary.TCPFlags(p >> 8 & 0xFF) }

// letters maps the letters of history to flags: capitals are the originator's. Letters that say nothing of flags (C, G,
// T, W, X, ^) map to none. I and Q are segments with flags that do not belong together, such as SYN and FIN.
var letters = func() (m [256]flagPair) {
	for letter, flags := range map[byte]minecanary.TCPFlags{
		'S': minecanary.SYN,
		'H': minecanary.SYN | minecanary.ACK,
		'F': minecanary.FIN,
		'R': minecanary.RST,
		'A': minecanary.ACK,
		'D': minecanary.ACK | minecanary.PSH,
		'I': minecanary.SYN | minecanary.FIN,
		'Q': minecanary.SYN | minecanary.FIN,
	} {
		m[letter] = flagPair(flags)
		m[letter|0x20] = flagPair(flags) << 8
	}
	m['S'] |= handshake
	m['h'] |= handshake
	return m
}()

// flagsOf reads a history.
func flagsOf(history []byte) (p flagPair) {
	for _, c := range history {
		p |= letters[c]
	}
	return p
}

// transportOf reads proto; everything but the three names Zeek uses is unknown.
func transportOf(proto []byte) minecanary.Transport {
	switch string(proto) {
	case "tcp":
		return minecanary.TCP
	case "udp":
		return minecanary.UDP
	case "icmp":
		return minecanary.ICMP
	}
	// Shippers that write the names in capitals exist.
	switch {
	case bytes.EqualFold(proto, []byte("tcp")):
		return minecanary.TCP
	case bytes.EqualFold(proto, []byte("udp")):
		return minecanary.UDP
	case bytes.EqualFold(proto, []byte("icmp")):
		return minecanary.ICMP
	}
	return minecanary.TransportUnknown
}

// servicesOf reads service, a comma list; a dash marks an analyzer that was tried and dropped.
func servicesOf(list []byte) (s minecanary.Services) {
	for len(list) > 0 {
		name := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			name, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if len(name) == 0 || name[0] == '-' {
			continue
		}
		switch string(name) {
		case "stratum":
			s |= minecanary.ServiceStratum
		case "ssl":
			s |= minecanary.ServiceTLS
		case "http":
			s |= minecanary.ServiceHTTP
		default:
			s |= minecanary.ServiceOther
		}
	}
	if s == 0 {
		return minecanary.ServiceUnknown
	}
	return s
}
