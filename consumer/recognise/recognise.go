// Package recognise tells how a file's lines are written from the first line that says so.
package recognise

import (
	"bytes"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/flows"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// Recognise gives the form a line is written in; ok is false if the line does not tell (it is empty, or nothing known).
// A byte order mark and a carriage return around the line are tolerated.
//
// A comment line of Zeek's ASCII writer (#separator, #fields, …) means TSV. A JSON object with event_type, and with it
// timestamp or flow_id, is EVE. One with _path, with ts and uid, or with an id in one of the three spellings is Zeek's.
// One with two addresses and a start of a flow as goflow2 spells them is goflow2's. A line that names the columns of both
// addresses as nfdump does is the header of nfdump's CSV.
func Recognise(line []byte) (form consumer.Form, ok bool) {
	line = jsonscan.Line(line)
	if len(line) > 0 && line[0] == '#' {
		if headerWord(line) == "" {
			return consumer.FormUnknown, false
		}
		return consumer.FormZeekTSV, true
	}
	if flows.IsHeader(line) {
		return consumer.FormNfdump, true
	}
	scan := jsonscan.NewScanner(schema)
	if scan.Read(line) != jsonscan.Sound {
		return consumer.FormUnknown, false
	}
	has := func(fields ...uint8) bool {
		for _, f := range fields {
			if scan.Has>>f&1 == 0 {
				return false
			}
		}
		return true
	}
	switch {
	case has(fieldEventType, fieldTimestamp), has(fieldEventType, fieldFlowID):
		return consumer.FormEVE, true
	case has(fieldPath), has(fieldTS, fieldUID), has(fieldOrigHost):
		return consumer.FormZeekJSON, true
	case has(fieldSrcAddr, fieldDstAddr, fieldFlowStart):
		return consumer.FormGoflow2, true
	}
	return consumer.FormUnknown, false
}

// The fields that tell a form.
const (
	fieldEventType = iota + 1
	fieldTimestamp
	fieldFlowID
	fieldPath
	fieldTS
	fieldUID
	fieldOrigHost
	fieldID
	fieldSrcAddr
	fieldDstAddr
	fieldFlowStart
	fieldCount
)

var schema = func() *jsonscan.Schema {
	fields := make([]jsonscan.Field, fieldCount)
	for f := 1; f < fieldCount; f++ {
		fields[f].Kind = jsonscan.Presence
	}
	fields[fieldID] = jsonscan.Field{Kind: jsonscan.Object, Object: 1}
	return &jsonscan.Schema{
		Fields: fields,
		Members: []jsonscan.Member{
			{Key: "event_type", Field: fieldEventType},
			{Key: "timestamp", Field: fieldTimestamp},
			{Key: "flow_id", Field: fieldFlowID},
			{Key: "_path", Field: fieldPath},
			{Key: "ts", Field: fieldTS},
			{Key: "uid", Field: fieldUID},
			{Key: "id", Field: fieldID},
			{Key: "id.orig_h", Field: fieldOrigHost},
			{Key: "id_orig_h", Field: fieldOrigHost},
			{Object: 1, Key: "orig_h", Field: fieldOrigHost},
			{Key: "src_addr", Field: fieldSrcAddr},
			{Key: "SrcAddr", Field: fieldSrcAddr},
			{Key: "dst_addr", Field: fieldDstAddr},
			{Key: "DstAddr", Field: fieldDstAddr},
			{Key: "time_flow_start_ns", Field: fieldFlowStart},
			{Key: "time_flow_start", Field: fieldFlowStart},
			{Key: "TimeFlowStart", Field: fieldFlowStart},
		},
		Objects: 2,
	}
}()

// headerWords are the words Zeek's ASCII writer begins comment lines with.
var headerWords = [...]string{
	"separator", "set_separator", "empty_field", "unset_field", "path", "open", "fields", "types", "close",
}

// headerWord gives the word a comment line begins with, "" if it is none of Zeek's.
func headerWord(line []byte) string {
	for _, word := range headerWords {
		rest, ok := bytes.CutPrefix(line[1:], []byte(word))
		// Behind the word stands the separator, which may be anything but a part of a word.
		if ok && (len(rest) == 0 || rest[0] != '_' && (rest[0]|0x20 < 'a' || rest[0]|0x20 > 'z')) {
			return word
		}
	}
	return ""
}

// LogName gives the name of the Zeek log a line is of: what _path, _stream or #path says (without the "-2" of a second
// filter), else what the columns say, as far as they do: conn, conn_interim, ssl, dns, mining. It gives "" for lines
// that do not tell and for those of other makers.
func LogName(line []byte) string { return zeek.LogName(line) }
