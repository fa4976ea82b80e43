// Package zeek turns lines of Zeek logs into records (conn.log, the conn_interim.log of Minecanary's Zeek package, the
// conn_long.log of package zeek-long-connections) and sightings (ssl.log, dns.log, the mining.log of Minecanary's Zeek
// package), as JSON (JSON) and as tab-separated text (TSV). Lines of other logs are recognised and skipped.
//
// Names follow Zeek's Conn::Info, SSL::Info and DNS::Info (scripts/base/protocols/*/main.zeek) and the modules ConnInterim
// and Mining of the Zeek package.
// A decoder belongs to one goroutine. It keeps no reference to a line.
package zeek

import "github.com/minecanary/minecanary/consumer"

// The reasons of outcomes.
const (
	// ReasonEmpty: skipped, a line without content.
	ReasonEmpty = "empty"
	// ReasonHeader: skipped, a comment line of a TSV log; bad, a header line that cannot be understood.
	ReasonHeader = "header"
	// ReasonNoCounters: skipped, a connection without packet and IP byte counters (use_conn_size_analyzer=F).
	ReasonNoCounters = "no_counters"
	// ReasonNoName: skipped, a line of ssl.log without a server name, or of dns.log without the name of a host.
	ReasonNoName = "no_name"
	// ReasonNoAddress: skipped, a line of dns.log that asks for no address, or was answered with none.
	ReasonNoAddress = "no_address"
	// ReasonRejected: skipped, a line of dns.log whose query was rejected.
	ReasonRejected = "rejected"
	// ReasonMining: skipped, a line of a mining.log that is not of Minecanary's Zeek package.
	ReasonMining = "mining"
	// ReasonOtherLog: skipped, a line of another Zeek log.
	ReasonOtherLog = "other_log"

	// ReasonJSON: bad, not one JSON object.
	ReasonJSON = "json"
	// ReasonDepth: bad, JSON nested over jsonscan.MaxDepth.
	ReasonDepth = "depth"
	// ReasonUnknown: bad, a JSON object that is no Zeek log.
	ReasonUnknown = "unknown"
	// ReasonField: bad, a field of a connection or sighting is missing or of a wrong type.
	ReasonField = "field"
	// ReasonAddress: bad, an address of a connection or sighting cannot be read.
	ReasonAddress = "address"
	// ReasonRange: bad, a number of a connection or sighting is out of range.
	ReasonRange = "range"
	// ReasonNoHeader: bad, a TSV record before any #fields line.
	ReasonNoHeader = "no_header"
	// ReasonColumns: bad, a TSV record with more or fewer columns than the header names.
	ReasonColumns = "columns"
)

// MaxCounter is the largest packet or byte counter of a record, 2^53: the largest whole number up to which doubles, and
// so all JSON tools on the way, are exact. Sums of a thousand of them still fit in 64 bits.
const MaxCounter = 1 << 53

func skipped(reason string) consumer.Outcome {
	return consumer.Outcome{Kind: consumer.Skipped, Reason: reason}
}

func bad(reason string) consumer.Outcome {
	return consumer.Outcome{Kind: consumer.Bad, Reason: reason}
}
