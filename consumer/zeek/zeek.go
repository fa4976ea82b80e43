// Package zeek turns lines of Zeek logs into records: conn.log and the conn_interim.log of Minecanary's Zeek package, as
// JSON (JSON) and as tab-separated text (TSV). Lines of other logs are recognised and skipped.
//
// Names follow Zeek's Conn::Info (scripts/base/protocols/conn/main.zeek) and the ConnInterim module of the Zeek package.
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
	// ReasonSSL: skipped, a line of ssl.log.
	ReasonSSL = "ssl"
	// ReasonDNS: skipped, a line of dns.log.
	ReasonDNS = "dns"
	// ReasonMining: skipped, a line of mining.log.
	ReasonMining = "mining"
	// ReasonConnLong: skipped, a line of conn_long.log (package zeek-long-connections), which repeats what conn.log has.
	ReasonConnLong = "conn_long"
	// ReasonOtherLog: skipped, a line of another Zeek log.
	ReasonOtherLog = "other_log"

	// ReasonJSON: bad, not one JSON object.
	ReasonJSON = "json"
	// ReasonDepth: bad, JSON nested over jsonscan.MaxDepth.
	ReasonDepth = "depth"
	// ReasonUnknown: bad, a JSON object that is no Zeek log.
	ReasonUnknown = "unknown"
	// ReasonField: bad, a field of a connection is missing or of a wrong type.
	ReasonField = "field"
	// ReasonAddress: bad, an address of a connection cannot be read.
	ReasonAddress = "address"
	// ReasonRange: bad, a number of a connection is out of range.
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
