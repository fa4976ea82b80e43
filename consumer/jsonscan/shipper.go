package jsonscan

import "slices"

// shipperKeys are the keys that log shippers (Filebeat, Elastic Agent, Logstash, Vector, Fluent Bit, Kafka Connect) add
// beside a record's own in its outermost object. Where one of them is, the line tells more than its sensor wrote: the
// name of the sensor, or of the log.
var shipperKeys = [...]string{
	"@timestamp", "@metadata", "@version", "agent", "beat", "data_stream", "event", "fields", "file", "filename", "host",
	"hostname", "input", "log", "observer", "path", "sensor", "sensor_name", "source_type", "tags",
}

// WithShipperKeys gives the members and those by which field, whose kind must be Mark, tells that a key of a log shipper
// is in the outermost object. Keys that the members have already stay what they are.
func WithShipperKeys(members []Member, field uint8) []Member {
	list := slices.Clone(members)
	for _, key := range shipperKeys {
		if !slices.ContainsFunc(members, func(m Member) bool { return m.Object == 0 && m.Key == key }) {
			list = append(list, Member{Key: key, Field: field})
		}
	}
	return list
}
