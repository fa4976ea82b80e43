package envelope

import "github.com/minecanary/minecanary/consumer"

// Kind is an envelope.
type Kind uint8

// The kinds. The numbers are those that the golden files of package envelopetest begin with.
const (
	// Plain: none; the line of a sensor is the message (3, 12, 13).
	Plain Kind = iota
	// Path: none, but the line has the columns that Zeek's logging framework adds: _path, _stream, _write_ts (4, 15).
	Path
	// Tagged: the log's path is the only key, as zeek-kafka's tag_json makes it (1).
	Tagged
	// TaggedMore: the same with additional_message_values (2).
	TaggedMore
	// Merged: a shipper's keys stand beside those of the record (6, 9, 11).
	Merged
	// Filebeat: the line is the text of message (5).
	Filebeat
	// Decoded: the record is an object under json (6).
	Decoded
	// FilebeatZeek: the zeek module of Filebeat has moved the record's fields (7).
	FilebeatZeek
	// Agent: Elastic Agent (8).
	Agent
	// Logstash: Logstash (9).
	Logstash
	// Vector: Vector (10).
	Vector
	// FluentBit: Fluent Bit; the line is the text of log (11).
	FluentBit
	// FilebeatSuricata: the suricata module of Filebeat; the event is under suricata.eve (14).
	FilebeatSuricata
	// Text: the line is the text of message or event.original, and nothing tells who made it so.
	Text

	kindCount
)

var kindNames = [kindCount]string{
	Plain: "plain", Path: "path", Tagged: "tagged", TaggedMore: "tagged+", Merged: "merged", Filebeat: "filebeat",
	Decoded: "json", FilebeatZeek: "filebeat-zeek", Agent: "elastic-agent", Logstash: "logstash", Vector: "vector",
	FluentBit: "fluent-bit", FilebeatSuricata: "filebeat-suricata", Text: "text",
}

// String gives the name of the kind, a label of metrics.
func (k Kind) String() string { return kindNames[k] }

// Kinds is the number of kinds.
const Kinds = int(kindCount)

// Forms is the number of forms of records.
const Forms = int(consumer.FormGoflow2) + 1

// Name names what a record came as: the form for lines as sensors write them ("zeek-json"), else envelope and form
// ("filebeat/eve"). There are at most Kinds times Forms names.
func Name(k Kind, f consumer.Form) string { return names[k][f] }

var names = func() (list [Kinds][Forms]string) {
	for k := range list {
		for f := range list[k] {
			list[k][f] = consumer.Form(f).String()
			if Kind(k) != Plain {
				list[k][f] = kindNames[k] + "/" + list[k][f]
			}
		}
	}
	return list
}()
