package zeek

import "github.com/minecanary/minecanary/consumer/jsonscan"

// field is the number of a column this package reads.
type field = uint8

const (
	fieldIgnored field = iota
	// fieldID is the object of the nested spelling, "id":{"orig_h":…}.
	fieldID

	// Times and intervals, read as microseconds.
	fieldTS
	fieldSliceStart
	fieldSliceEnd
	fieldDuration

	// Counts.
	fieldOrigPort
	fieldRespPort
	fieldIPProto
	fieldInterimSeq
	fieldSeq
	fieldOrigPackets
	fieldOrigIPBytes
	fieldRespPackets
	fieldRespIPBytes
	fieldOrigBytes
	fieldRespBytes
	fieldDeltaOrigPackets
	fieldDeltaOrigIPBytes
	fieldDeltaRespPackets
	fieldDeltaRespIPBytes
	fieldDeltaOrigBytes
	fieldDeltaRespBytes
	fieldQueryType

	fieldOrigHost
	fieldRespHost

	// Texts.
	fieldUID
	fieldProto
	fieldService
	fieldHistory
	fieldDeltaHistory
	fieldSystemName
	fieldPath
	fieldStream
	fieldServerName
	fieldVersion
	fieldQuery
	fieldQueryTypeName
	fieldProtocol
	fieldSeen
	fieldMethod
	fieldAgent
	fieldLogin
	fieldWorker

	// Lists of texts.
	fieldAnswers

	// Booleans.
	fieldLocalOrig
	fieldLocalResp
	fieldFinal
	fieldRejected
	fieldTurned

	// Columns that only tell by being there which log a line is of.
	fieldConnState
	fieldResumed
	fieldEstablished
	fieldTransID

	// fieldShipper tells that a key of a log shipper is in the line.
	fieldShipper

	fieldCount
)

// set is a set of fields.
type set uint64

func setOf(list ...field) (s set) {
	for _, f := range list {
		s |= 1 << f
	}
	return s
}

func (s set) has(f field) bool { return s>>f&1 != 0 }

func (s set) hasAll(o set) bool { return s&o == o }

// The objects of a line.
const (
	outermost uint8 = iota
	objectID
	objectCount
)

// schema is what is read of a line. Of the three spellings of the connection's addresses the first one counts.
var schema = &jsonscan.Schema{
	Fields: func() []jsonscan.Field {
		list := make([]jsonscan.Field, fieldCount)
		fill := func(from, to field, k jsonscan.Kind) {
			for f := from; f <= to; f++ {
				list[f].Kind = k
			}
		}
		list[fieldID] = jsonscan.Field{Kind: jsonscan.Object, Object: objectID}
		fill(fieldTS, fieldSliceEnd, jsonscan.Time)
		fill(fieldDuration, fieldDuration, jsonscan.Seconds)
		fill(fieldOrigPort, fieldQueryType, jsonscan.Count)
		fill(fieldOrigHost, fieldWorker, jsonscan.Text)
		// Shippers that split the comma list exist.
		fill(fieldService, fieldService, jsonscan.Texts)
		fill(fieldAnswers, fieldAnswers, jsonscan.Raw)
		fill(fieldLocalOrig, fieldTurned, jsonscan.Bool)
		fill(fieldConnState, fieldTransID, jsonscan.Presence)
		fill(fieldShipper, fieldShipper, jsonscan.Mark)
		return list
	}(),
	Members: jsonscan.WithShipperKeys([]jsonscan.Member{
		{Key: "ts", Field: fieldTS},
		{Key: "uid", Field: fieldUID},
		{Key: "id", Field: fieldID},
		{Key: "id.orig_h", Field: fieldOrigHost},
		{Key: "id.orig_p", Field: fieldOrigPort},
		{Key: "id.resp_h", Field: fieldRespHost},
		{Key: "id.resp_p", Field: fieldRespPort},
		{Key: "proto", Field: fieldProto},
		{Key: "service", Field: fieldService},
		{Key: "duration", Field: fieldDuration},
		{Key: "orig_bytes", Field: fieldOrigBytes},
		{Key: "resp_bytes", Field: fieldRespBytes},
		{Key: "conn_state", Field: fieldConnState},
		{Key: "local_orig", Field: fieldLocalOrig},
		{Key: "local_resp", Field: fieldLocalResp},
		{Key: "history", Field: fieldHistory},
		{Key: "orig_pkts", Field: fieldOrigPackets},
		{Key: "orig_ip_bytes", Field: fieldOrigIPBytes},
		{Key: "resp_pkts", Field: fieldRespPackets},
		{Key: "resp_ip_bytes", Field: fieldRespIPBytes},
		{Key: "ip_proto", Field: fieldIPProto},
		{Key: "interim_seq", Field: fieldInterimSeq},
		{Key: "seq", Field: fieldSeq},
		{Key: "final", Field: fieldFinal},
		{Key: "slice_start", Field: fieldSliceStart},
		{Key: "slice_end", Field: fieldSliceEnd},
		{Key: "d_orig_pkts", Field: fieldDeltaOrigPackets},
		{Key: "d_orig_ip_bytes", Field: fieldDeltaOrigIPBytes},
		{Key: "d_resp_pkts", Field: fieldDeltaRespPackets},
		{Key: "d_resp_ip_bytes", Field: fieldDeltaRespIPBytes},
		{Key: "d_orig_bytes", Field: fieldDeltaOrigBytes},
		{Key: "d_resp_bytes", Field: fieldDeltaRespBytes},
		{Key: "d_history", Field: fieldDeltaHistory},
		{Key: "_path", Field: fieldPath},
		{Key: "_stream", Field: fieldStream},
		{Key: "_system_name", Field: fieldSystemName},
		{Key: "resumed", Field: fieldResumed},
		{Key: "established", Field: fieldEstablished},
		{Key: "rejected", Field: fieldRejected},
		{Key: "trans_id", Field: fieldTransID},
		{Key: "seen", Field: fieldSeen},
		{Key: "turned", Field: fieldTurned},
		{Key: "server_name", Field: fieldServerName},
		{Key: "version", Field: fieldVersion},
		{Key: "query", Field: fieldQuery},
		{Key: "qtype", Field: fieldQueryType},
		{Key: "qtype_name", Field: fieldQueryTypeName},
		{Key: "answers", Field: fieldAnswers},
		{Key: "protocol", Field: fieldProtocol},
		{Key: "method", Field: fieldMethod},
		{Key: "agent", Field: fieldAgent},
		{Key: "login", Field: fieldLogin},
		{Key: "worker", Field: fieldWorker},
		{Key: "id_orig_h", Field: fieldOrigHost},
		{Key: "id_orig_p", Field: fieldOrigPort},
		{Key: "id_resp_h", Field: fieldRespHost},
		{Key: "id_resp_p", Field: fieldRespPort},
		{Object: objectID, Key: "orig_h", Field: fieldOrigHost},
		{Object: objectID, Key: "orig_p", Field: fieldOrigPort},
		{Object: objectID, Key: "resp_h", Field: fieldRespHost},
		{Object: objectID, Key: "resp_p", Field: fieldRespPort},
	}, fieldShipper),
	Objects: int(objectCount),
}

// columns holds the fields of TSV columns by name.
var columns = func() map[string]field {
	m := make(map[string]field)
	for _, member := range schema.Members {
		switch schema.Fields[member.Field].Kind {
		case jsonscan.Object, jsonscan.Mark:
			continue
		}
		if member.Object == outermost {
			m[member.Key] = member.Field
		}
	}
	return m
}()
