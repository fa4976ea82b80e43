package eve

import "github.com/minecanary/minecanary/consumer/jsonscan"

// The objects whose members are read.
const (
	outermost uint8 = iota
	objectFlow
	objectTCP
	objectTLS
	objectDNS
	objectAlert
	objectNetflow
	objectGrouped
	objectMarks
	objectCount
)

// field is the number of a member this package reads.
type field = uint8

const (
	_ field = iota // what is ignored

	// Counts; those from fieldPacketsToServer on stand in the order sizes are made of.
	fieldSrcPort
	fieldDestPort
	fieldPacketsToServer
	fieldPacketsToClient
	fieldBytesToServer
	fieldBytesToClient
	fieldFlowSrcPort
	fieldFlowDestPort
	fieldPackets
	fieldBytes
	fieldSID
	fieldGID

	fieldStart
	fieldEnd
	fieldNetflowStart
	fieldNetflowEnd

	fieldSrcIP
	fieldDestIP

	// Texts.
	fieldEventType
	fieldProto
	fieldAppProto
	fieldHost
	fieldFlagsToServer
	fieldFlagsToClient
	fieldTimestamp
	fieldDirection
	fieldFlowSrcIP
	fieldFlowDestIP
	fieldFlags
	fieldSNI
	fieldDNSType
	fieldName
	fieldNameType
	fieldCode
	fieldData
	fieldCategory

	// Values as they stand.
	fieldAnswers
	fieldGroupedA
	fieldGroupedAAAA
	fieldGroupedCNAME
	fieldQueries
	fieldSignature
	fieldMetadata
	fieldFlowbits

	fieldFlow
	fieldTCP
	fieldTLS
	fieldDNS
	fieldAlert
	fieldNetflow
	fieldGrouped
	fieldMarks
	fieldVLAN
	fieldFlowID

	// fieldShipper tells that a key of a log shipper is in the line.
	fieldShipper

	fieldCount
)

// schema is what is read of a line.
var schema = &jsonscan.Schema{
	Fields: func() []jsonscan.Field {
		list := make([]jsonscan.Field, fieldCount)
		fill := func(from, to field, k jsonscan.Kind) {
			for f := from; f <= to; f++ {
				list[f].Kind = k
			}
		}
		fill(fieldSrcPort, fieldGID, jsonscan.Count)
		fill(fieldStart, fieldNetflowEnd, jsonscan.Time)
		// The time stamp too: most events do not need it, and texts are passed over faster.
		fill(fieldSrcIP, fieldCategory, jsonscan.Text)
		fill(fieldAnswers, fieldFlowbits, jsonscan.Raw)
		list[fieldFlow] = jsonscan.Field{Kind: jsonscan.Object, Object: objectFlow}
		list[fieldTCP] = jsonscan.Field{Kind: jsonscan.Object, Object: objectTCP}
		list[fieldTLS] = jsonscan.Field{Kind: jsonscan.Object, Object: objectTLS}
		list[fieldDNS] = jsonscan.Field{Kind: jsonscan.Object, Object: objectDNS}
		list[fieldAlert] = jsonscan.Field{Kind: jsonscan.Object, Object: objectAlert}
		list[fieldNetflow] = jsonscan.Field{Kind: jsonscan.Object, Object: objectNetflow}
		list[fieldGrouped] = jsonscan.Field{Kind: jsonscan.Object, Object: objectGrouped}
		list[fieldMarks] = jsonscan.Field{Kind: jsonscan.Object, Object: objectMarks}
		list[fieldVLAN].Kind = jsonscan.Raw
		list[fieldFlowID].Kind = jsonscan.Token
		list[fieldShipper].Kind = jsonscan.Mark
		return list
	}(),
	Members: jsonscan.WithShipperKeys([]jsonscan.Member{
		{Key: "flow_id", Field: fieldFlowID},
		{Key: "event_type", Field: fieldEventType},
		{Key: "src_ip", Field: fieldSrcIP},
		{Key: "src_port", Field: fieldSrcPort},
		{Key: "dest_ip", Field: fieldDestIP},
		{Key: "dest_port", Field: fieldDestPort},
		{Key: "proto", Field: fieldProto},
		{Key: "app_proto", Field: fieldAppProto},
		{Key: "flow", Field: fieldFlow},
		{Key: "tcp", Field: fieldTCP},
		{Key: "vlan", Field: fieldVLAN},
		{Key: "host", Field: fieldHost},
		{Key: "timestamp", Field: fieldTimestamp},
		{Key: "direction", Field: fieldDirection},
		{Key: "tls", Field: fieldTLS},
		{Key: "dns", Field: fieldDNS},
		{Key: "alert", Field: fieldAlert},
		{Key: "netflow", Field: fieldNetflow},
		{Key: "metadata", Field: fieldMarks},
		{Object: objectFlow, Key: "pkts_toserver", Field: fieldPacketsToServer},
		{Object: objectFlow, Key: "pkts_toclient", Field: fieldPacketsToClient},
		{Object: objectFlow, Key: "bytes_toserver", Field: fieldBytesToServer},
		{Object: objectFlow, Key: "bytes_toclient", Field: fieldBytesToClient},
		{Object: objectFlow, Key: "start", Field: fieldStart},
		{Object: objectFlow, Key: "end", Field: fieldEnd},
		{Object: objectFlow, Key: "src_ip", Field: fieldFlowSrcIP},
		{Object: objectFlow, Key: "dest_ip", Field: fieldFlowDestIP},
		{Object: objectFlow, Key: "src_port", Field: fieldFlowSrcPort},
		{Object: objectFlow, Key: "dest_port", Field: fieldFlowDestPort},
		{Object: objectTCP, Key: "tcp_flags_ts", Field: fieldFlagsToServer},
		{Object: objectTCP, Key: "tcp_flags_tc", Field: fieldFlagsToClient},
		{Object: objectTCP, Key: "tcp_flags", Field: fieldFlags},
		{Object: objectTLS, Key: "sni", Field: fieldSNI},
		{Object: objectDNS, Key: "type", Field: fieldDNSType},
		{Object: objectDNS, Key: "rrname", Field: fieldName},
		{Object: objectDNS, Key: "rrtype", Field: fieldNameType},
		{Object: objectDNS, Key: "rcode", Field: fieldCode},
		{Object: objectDNS, Key: "rdata", Field: fieldData},
		{Object: objectDNS, Key: "answers", Field: fieldAnswers},
		{Object: objectDNS, Key: "grouped", Field: fieldGrouped},
		{Object: objectDNS, Key: "queries", Field: fieldQueries},
		{Object: objectGrouped, Key: "A", Field: fieldGroupedA},
		{Object: objectGrouped, Key: "AAAA", Field: fieldGroupedAAAA},
		{Object: objectGrouped, Key: "CNAME", Field: fieldGroupedCNAME},
		{Object: objectAlert, Key: "signature_id", Field: fieldSID},
		{Object: objectAlert, Key: "gid", Field: fieldGID},
		{Object: objectAlert, Key: "signature", Field: fieldSignature},
		{Object: objectAlert, Key: "category", Field: fieldCategory},
		{Object: objectAlert, Key: "metadata", Field: fieldMetadata},
		{Object: objectMarks, Key: "flowbits", Field: fieldFlowbits},
		{Object: objectNetflow, Key: "pkts", Field: fieldPackets},
		{Object: objectNetflow, Key: "bytes", Field: fieldBytes},
		{Object: objectNetflow, Key: "start", Field: fieldNetflowStart},
		{Object: objectNetflow, Key: "end", Field: fieldNetflowEnd},
	}, fieldShipper),
	Objects: int(objectCount),
}

// The members of a query or an answer in the lists of a dns event.
const (
	_ field = iota
	entryName
	entryType
	entryData
)

// entries is what is read of one.
var entries = &jsonscan.Schema{
	Fields: []jsonscan.Field{
		{}, entryName: {Kind: jsonscan.Text}, entryType: {Kind: jsonscan.Text}, entryData: {Kind: jsonscan.Text},
	},
	Members: []jsonscan.Member{
		{Key: "rrname", Field: entryName},
		{Key: "rrtype", Field: entryType},
		{Key: "rdata", Field: entryData},
	},
	Objects: 1,
}
