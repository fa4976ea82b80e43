package eve

import "github.com/minecanary/minecanary/consumer/jsonscan"

// The objects whose members are read.
const (
	outermost uint8 = iota
	objectFlow
	objectTCP
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

	fieldStart
	fieldEnd

	fieldSrcIP
	fieldDestIP

	// Texts.
	fieldEventType
	fieldProto
	fieldAppProto
	fieldHost
	fieldFlagsToServer
	fieldFlagsToClient

	fieldFlow
	fieldTCP
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
		fill(fieldSrcPort, fieldBytesToClient, jsonscan.Count)
		fill(fieldStart, fieldEnd, jsonscan.Time)
		fill(fieldSrcIP, fieldFlagsToClient, jsonscan.Text)
		list[fieldFlow] = jsonscan.Field{Kind: jsonscan.Object, Object: objectFlow}
		list[fieldTCP] = jsonscan.Field{Kind: jsonscan.Object, Object: objectTCP}
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
		{Object: objectFlow, Key: "pkts_toserver", Field: fieldPacketsToServer},
		{Object: objectFlow, Key: "pkts_toclient", Field: fieldPacketsToClient},
		{Object: objectFlow, Key: "bytes_toserver", Field: fieldBytesToServer},
		{Object: objectFlow, Key: "bytes_toclient", Field: fieldBytesToClient},
		{Object: objectFlow, Key: "start", Field: fieldStart},
		{Object: objectFlow, Key: "end", Field: fieldEnd},
		{Object: objectTCP, Key: "tcp_flags_ts", Field: fieldFlagsToServer},
		{Object: objectTCP, Key: "tcp_flags_tc", Field: fieldFlagsToClient},
	}, fieldShipper),
	Objects: int(objectCount),
}
