package minecanary

import "net/netip"

// Kind says what sort of record a sensor wrote.
type Kind uint8

// The kinds of connection records.
const (
	// KindConn is a whole connection: Zeek conn, Suricata EVE flow.
	KindConn Kind = iota
	// KindInterim is one stretch of a running connection with real deltas: conn_interim of our Zeek script.
	KindInterim
	// KindFlow is a row of a flow exporter: one direction of a connection, Orig to Resp, in one stretch of time as the
	// exporter cut it.
	KindFlow
	// KindLong is a running connection since its start, with counters that repeat those of earlier records of it and are
	// repeated by its conn record: Zeek conn_long, alerts of the Suricata meter rule.
	KindLong
)

// TCPFlags are the flag bits of RFC 9293 section 3.1, OR-ed over the packets of one direction.
type TCPFlags uint8

// The flag bits.
const (
	FIN TCPFlags = 0x01
	SYN TCPFlags = 0x02
	RST TCPFlags = 0x04
	PSH TCPFlags = 0x08
	ACK TCPFlags = 0x10
	URG TCPFlags = 0x20
	ECE TCPFlags = 0x40
	CWR TCPFlags = 0x80
)

// Has tells whether any of the bits is set.
func (f TCPFlags) Has(bits TCPFlags) bool { return f&bits != 0 }

// Locality says whether a sensor counts an address as local; sensors may leave it out.
type Locality uint8

// The values of Locality.
const (
	LocalityUnknown Locality = iota
	Local
	Remote
)

// Services is a set of what a sensor's protocol detection said of connections (Zeek service, EVE app_proto).
// Several connections of one suspect OR together.
type Services uint8

// The members of Services.
const (
	// ServiceStratum: a mining protocol was seen in the payload.
	ServiceStratum Services = 1 << iota
	// ServiceTLS: TLS.
	ServiceTLS
	// ServiceHTTP: HTTP in clear text; mining over HTTP (getwork) exists.
	ServiceHTTP
	// ServiceOther: a confirmed protocol that is none of the above (ssh, smtp, irc, modbus …).
	ServiceOther
	// ServiceUnknown: the sensor looked and could not tell (Zeek leaves service out, EVE says failed).
	ServiceUnknown
)

// UID is the sensor's own name of a connection: Zeek's uid, or EVE's flow_id in decimal; shorter names end in zero bytes.
// Longer ones are cut.
type UID [20]byte

// NewUID copies at most 20 bytes.
func NewUID(b []byte) (u UID) {
	copy(u[:], b)
	return u
}

// String gives the name without the filling zero bytes.
func (u UID) String() string {
	n := len(u)
	for n > 0 && u[n-1] == 0 {
		n--
	}
	return string(u[:n])
}

// Record is one connection record, freed from its sensor's spelling, with the direction as the sensor saw it:
// Orig is Zeek's originator or EVE's source. It holds no reference to the input buffer.
//
// For KindInterim and KindFlow the counters and flags cover only the stretch from Start to End. For KindFlow Orig is who
// sent, client or not; what Resp sent is mostly another record.
type Record struct {
	Kind      Kind
	Transport Transport

	Orig, Resp         netip.Addr
	OrigPort, RespPort uint16
	OrigLocal          Locality
	RespLocal          Locality

	// Start and End are the times of the first and last packet, Unix microseconds, 0 ≤ Start ≤ End < 2^32 seconds.
	Start, End int64

	// Packets and IP bytes (IP total length, headers included) per direction.
	OrigPackets, RespPackets uint64
	OrigBytes, RespBytes     uint64
	// Payload bytes per direction; estimated from IP bytes where the sensor does not tell (EVE).
	OrigPayload, RespPayload uint64

	// Flags per direction. Valid only if FlagsKnown; Zeek's are inferred from history (PSH stands for "had payload").
	OrigFlags, RespFlags TCPFlags
	FlagsKnown           bool
	// Handshake tells that a SYN of this connection was seen at any time (for an interim record: in the history since
	// its start, not only in this stretch), so that Orig is the client beyond doubt.
	Handshake bool

	// Services as far as the sensor told.
	Services Services

	// Final is set on the last interim record of a connection.
	Final bool
	// InterimSeq is the number of interim records that already hold what this conn row repeats; 0 for none.
	InterimSeq uint32

	UID UID
	// Sensor is the sensor's name (_system_name, host), "" if the record has none. The decoder interns it.
	Sensor string
}
