package envelope

import (
	"bytes"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// field is a key of an outermost object that tells what the object is.
type field uint8

const (
	fieldOther field = iota

	// Keys of records.
	fieldTS
	fieldUID
	fieldID
	fieldOrigHost
	fieldPath
	fieldExtension
	fieldEventType
	fieldFlowID
	fieldTimestamp
	fieldSrcAddr
	fieldDstAddr
	fieldFlowStart

	// Keys of envelopes that hold records.
	fieldMessage
	fieldLog
	fieldEvent
	fieldOriginal
	fieldJSON
	fieldZeek
	fieldSuricata

	// Keys that tell of the log.
	fieldFile
	fieldFilePath
	fieldDataStream
	fieldDataset
	fieldFields
	fieldTags

	// Keys that tell the sensor, the surest first.
	fieldSensor
	fieldObserver
	fieldHost
	fieldAgent
	fieldBeat

	// Keys that tell the shipper.
	fieldLogTime
	fieldMetadata
	fieldVersion
	fieldSourceType
	fieldInput

	// Keys that records' fields are moved to.
	fieldSource
	fieldDestination
	fieldNetwork
	fieldTemp

	fieldCount
)

// fieldOf tells what a key is.
func fieldOf(key []byte) field {
	switch string(key) {
	case "ts":
		return fieldTS
	case "uid":
		return fieldUID
	case "id":
		return fieldID
	case "id.orig_h", "id_orig_h":
		return fieldOrigHost
	case "_path", "_stream", "__name":
		return fieldPath
	case "_write_ts", "_system_name", "_node":
		return fieldExtension
	case "event_type":
		return fieldEventType
	case "flow_id":
		return fieldFlowID
	case "timestamp":
		return fieldTimestamp
	case "src_addr", "SrcAddr":
		return fieldSrcAddr
	case "dst_addr", "DstAddr":
		return fieldDstAddr
	case "time_flow_start_ns", "time_flow_start", "TimeFlowStart":
		return fieldFlowStart
	case "message":
		return fieldMessage
	case "log":
		return fieldLog
	case "event":
		return fieldEvent
	case "event.original":
		return fieldOriginal
	case "json":
		return fieldJSON
	case "zeek":
		return fieldZeek
	case "suricata":
		return fieldSuricata
	case "file", "path", "filename":
		return fieldFile
	case "log.file.path":
		return fieldFilePath
	case "data_stream":
		return fieldDataStream
	case "event.dataset", "data_stream.dataset":
		return fieldDataset
	case "fields":
		return fieldFields
	case "tags":
		return fieldTags
	case "sensor", "sensor_name":
		return fieldSensor
	case "observer", "observer.name":
		return fieldObserver
	case "host", "hostname", "host.name":
		return fieldHost
	case "agent":
		return fieldAgent
	case "beat":
		return fieldBeat
	case "@timestamp":
		return fieldLogTime
	case "@metadata":
		return fieldMetadata
	case "@version":
		return fieldVersion
	case "source_type":
		return fieldSourceType
	case "input":
		return fieldInput
	case "source":
		return fieldSource
	case "destination":
		return fieldDestination
	case "network":
		return fieldNetwork
	case "temp":
		return fieldTemp
	}
	return fieldOther
}

// set is a set of fields.
type set uint64

func (s set) has(f field) bool { return s>>f&1 != 0 }

func setOf(list ...field) (s set) {
	for _, f := range list {
		s |= 1 << f
	}
	return s
}

// shippers are the keys that sensors do not write.
var shippers = setOf(fieldLogTime, fieldMetadata, fieldVersion, fieldSourceType, fieldInput, fieldAgent, fieldBeat,
	fieldHost, fieldObserver, fieldSensor, fieldFile, fieldFilePath, fieldDataStream, fieldDataset, fieldFields,
	fieldTags, fieldLog, fieldEvent)

// maxTagged is the number of objects under keys that are not known that are looked into.
const maxTagged = 8

// members holds what is known of an object's members. Values are as they stand, with quotes and brackets. Of equal keys
// the last counts; null is as absent.
type members struct {
	has set
	// values are to be asked for by get.
	values [fieldCount][]byte

	// tagged are the objects under other keys, the first maxTagged; labels is the first text under another key.
	tagged [maxTagged]struct{ key, value []byte }
	tags   int
	label  []byte

	// text is what the value of field message or log says that was read last, without its escapes; of is which.
	text []byte
	of   field
}

// get gives the value of a field, nil if it is not there.
func (m *members) get(f field) []byte {
	if !m.has.has(f) {
		return nil
	}
	return m.values[f]
}

// kind gives the first byte of the value of a field, 0 if it is not there.
func (m *members) kind(f field) byte {
	if !m.has.has(f) {
		return 0
	}
	return m.values[f][0]
}

// read reads the object that begins at i, and gives the place behind it; below 0 if it is no JSON.
func (m *members) read(data []byte, i int) (end int) {
	m.has, m.tags, m.label, m.of = 0, 0, nil, fieldOther
	end = eachText(data, i, m, func(key, value []byte) {
		f := fieldOf(key)
		if f == fieldAgent && value[0] == '"' {
			f = fieldOther // the miner's, in mining.log
		}
		switch {
		case f != fieldOther:
			if m.values[f] = value; value[0] == 'n' {
				m.has &^= 1 << f
			} else {
				m.has |= 1 << f
			}
		case value[0] == '{' && m.tags < maxTagged:
			m.tagged[m.tags].key, m.tagged[m.tags].value = key, value
			m.tags++
		case value[0] == '"' && m.label == nil:
			m.label = value
		}
	})
	return end
}

// each gives take the members of the object that begins at i, and gives the place behind it; below 0 if it is no JSON,
// which may be found out after take had some.
func each(data []byte, i int, take func(key, value []byte)) (end int) {
	return eachText(data, i, nil, take)
}

// eachText is each, and leaves in m the text of message or log: such values are long, and would be read twice.
func eachText(data []byte, i int, m *members, take func(key, value []byte)) (end int) {
	for first := true; ; first = false {
		i = jsonscan.Blank(data, i+1) // behind the bracket or comma
		if first && i < len(data) && data[i] == '}' {
			return i + 1
		}
		if i >= len(data) || data[i] != '"' {
			return -1
		}
		quote := jsonscan.Skip(data, i, 1)
		if quote < 0 {
			return -1
		}
		key := data[i+1 : quote-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = jsonscan.Unescape(nil, key)
		}
		if i = jsonscan.Blank(data, quote); i >= len(data) || data[i] != ':' {
			return -1
		}
		i = jsonscan.Blank(data, i+1)
		f := fieldOther
		if m != nil && i < len(data) && data[i] == '"' && len(key) <= len("message") {
			if f = fieldOf(key); f != fieldMessage && f != fieldLog {
				f = fieldOther
			}
		}
		if f != fieldOther {
			m.of = f
			m.text, end = jsonscan.String(m.text[:0], data, i)
		} else {
			end = jsonscan.Skip(data, i, 1)
		}
		if end < 0 {
			return -1
		}
		take(key, data[i:end])
		if i = jsonscan.Blank(data, end); i >= len(data) {
			return -1
		}
		switch data[i] {
		case '}':
			return i + 1
		case ',':
		default:
			return -1
		}
	}
}

// pick gives those of an object's members whose keys are asked for, in one pass. What is not there, or null, stays as it
// was in values.
func pick(object []byte, keys []string, values [][]byte) {
	if len(object) == 0 || object[0] != '{' {
		return
	}
	each(object, 0, func(key, value []byte) {
		for i, want := range keys {
			if string(key) == want && value[0] != 'n' {
				values[i] = value
				return
			}
		}
	})
}

// get gives a value inside of an object, by the keys that lead to it; nil if it is not there, or null.
func get(object []byte, path ...string) []byte {
	for _, want := range path {
		if len(object) == 0 || object[0] != '{' {
			return nil
		}
		var found []byte
		each(object, 0, func(key, value []byte) {
			if string(key) == want {
				found = value
			}
		})
		object = found
	}
	if len(object) > 0 && object[0] == 'n' {
		return nil
	}
	return object
}

// content gives what stands between the quotes of a text, with its escapes; nil for other values.
func content(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	return value[1 : len(value)-1]
}

// object takes the object that begins at i, and gives the place behind it; below 0 if it is no JSON.
func (p *Peeler) object(data []byte, i int, c around) (end int, reason string) {
	m := &p.members[c.layer]
	if end = m.read(data, i); end < 0 {
		return end, ""
	}
	return end, p.peel(data[i:end], m, c.at(i, end))
}

// peel finds out what an object is, and takes what is in it. A record counts before what may be its own raw text, as
// shippers that read a line often leave that beside it; but raw text counts before fields that were moved, which are
// fewer.
func (p *Peeler) peel(object []byte, m *members, c around) string {
	p.hints(m, &c)
	switch {
	case m.isEVE():
		c.become(m.merged(Plain))
		p.emit(object, consumer.FormEVE, c)
		return ""
	case m.isZeek():
		if m.has.has(fieldPath) || m.has.has(fieldExtension) {
			c.become(m.merged(Path))
		} else {
			c.become(m.merged(Plain))
		}
		p.emit(object, consumer.FormZeekJSON, c)
		return ""
	case m.isGoflow2():
		c.become(m.merged(Plain))
		p.emit(object, consumer.FormGoflow2, c)
		return ""
	case m.isZeekModule():
		c.become(FilebeatZeek)
		if reason, ok := p.original(m, c); ok {
			return reason
		}
		return p.zeekModule(object, m, c)
	case get(m.get(fieldSuricata), "eve") != nil:
		c.become(FilebeatSuricata)
		if reason, ok := p.original(m, c); ok {
			return reason
		}
		return p.suricataModule(m, c)
	case m.kind(fieldJSON) == '{':
		c.become(Decoded)
		return p.inner(m.get(fieldJSON), c)
	}
	if reason, ok := p.carried(m, c); ok {
		return reason
	}
	if reason, ok := p.tagged(m, c); ok {
		return reason
	}
	// Logs without connections have a time and little else.
	if m.has.has(fieldTS) || c.log != "" || p.here.Form != consumer.FormUnknown {
		c.become(m.merged(Plain))
		p.emit(object, consumer.FormZeekJSON, c)
		return ""
	}
	return ReasonUnknown
}

// become sets the kind if no envelope around gave one.
func (c *around) become(k Kind) {
	if c.kind == Plain {
		c.kind = k
	}
}

// merged gives Merged if there are keys of shippers, else the kind.
func (m *members) merged(k Kind) Kind {
	has := m.has & shippers
	if m.kind(fieldHost) == '"' && m.isEVE() {
		has &^= 1 << fieldHost // sensor-name of suricata.yaml
	}
	if has != 0 {
		return Merged
	}
	return k
}

func (m *members) isEVE() bool {
	return m.kind(fieldEventType) == '"' && (m.has.has(fieldFlowID) || m.has.has(fieldTimestamp))
}

func (m *members) isZeek() bool {
	return m.kind(fieldPath) == '"' || m.has.has(fieldTS) && m.has.has(fieldUID) || m.has.has(fieldOrigHost) ||
		get(m.get(fieldID), "orig_h") != nil
}

func (m *members) isGoflow2() bool {
	return m.kind(fieldSrcAddr) == '"' && m.kind(fieldDstAddr) == '"' && m.has.has(fieldFlowStart)
}

func (m *members) isZeekModule() bool {
	z := m.get(fieldZeek)
	return get(z, "session_id") != nil || get(z, "connection") != nil
}

// inner takes an object that is a layer further in.
func (p *Peeler) inner(object []byte, c around) string {
	if c.layer++; c.layer > MaxLayers {
		return ReasonLayers
	}
	if p.guess(object, 0, c) {
		return ""
	}
	_, reason := p.object(object, 0, c)
	return reason
}

// tagged takes records under keys that are their logs' paths (1, 2).
func (p *Peeler) tagged(m *members, c around) (reason string, ok bool) {
	more := m.label != nil || m.has != 0
	for _, t := range m.tagged[:m.tags] {
		// Logs that have neither are told by their names, if nothing else is there.
		alone := m.tags == 1 && m.has&^shippers == 0 && zeek.Known(t.key) != ""
		if !alone && !zeekStart(t.value) && !hasTime(t.value) {
			continue
		}
		deeper := c
		deeper.log = p.logName(t.key)
		if more {
			deeper.become(TaggedMore)
		} else {
			deeper.become(Tagged)
		}
		if !m.has.has(fieldSensor) && !m.has.has(fieldHost) && !m.has.has(fieldObserver) {
			p.name(content(m.label), &deeper)
		}
		if r := p.inner(t.value, deeper); r != "" {
			reason = r
		}
		ok = true
	}
	return reason, ok
}

// hasTime tells whether an object is a line of a Zeek log: all have a time, and connections an id.
func hasTime(object []byte) bool {
	found := false
	each(object, 0, func(key, value []byte) {
		switch fieldOf(key) {
		case fieldTS, fieldOrigHost:
			found = true
		case fieldID:
			found = found || value[0] == '{'
		}
	})
	return found
}

// original takes the raw line that modules leave in event.original if they are told to.
func (p *Peeler) original(m *members, c around) (reason string, ok bool) {
	value := get(m.get(fieldEvent), "original")
	if value == nil {
		value = m.get(fieldOriginal)
	}
	if !p.carries(value) {
		return "", false
	}
	return p.quoted(value, c), true
}

// carried takes the line that is a text under message, event.original or log.
func (p *Peeler) carried(m *members, c around) (reason string, ok bool) {
	c.become(m.maker())
	if p.carries(m.get(fieldMessage)) {
		return p.carriedBy(fieldMessage, m, c), true
	}
	if reason, ok := p.original(m, c); ok {
		return reason, true
	}
	if p.carries(m.get(fieldLog)) {
		return p.carriedBy(fieldLog, m, c), true
	}
	return "", false
}

// carriedBy takes the text of message or log, which is read already unless there are several.
func (p *Peeler) carriedBy(f field, m *members, c around) string {
	if m.of != f {
		return p.quoted(m.get(f), c)
	}
	if c.layer++; c.layer > MaxLayers {
		return ReasonLayers
	}
	return p.within(m.text, c)
}

// carries tells whether a value is a text that may hold a record.
func (p *Peeler) carries(value []byte) bool {
	text := content(value)
	if len(text) == 0 {
		return false
	}
	if p.here.Form == consumer.FormZeekTSV {
		return true
	}
	text = bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF"))
	for len(text) > 0 {
		switch text[0] {
		case ' ':
			text = text[1:]
			continue
		case '\\': // a blank or a byte order mark, as an escape; or a quote, for a text in a text
			return len(text) > 1 && bytes.IndexByte([]byte(`tnru"`), text[1]) >= 0
		case '{', '[', '#':
			return true
		}
		break
	}
	return false
}

// maker tells which shipper put the line into a text.
func (m *members) maker() Kind {
	switch {
	case m.has.has(fieldSourceType):
		return Vector
	case m.has.has(fieldVersion):
		return Logstash
	case m.kind(fieldLog) == '"':
		return FluentBit
	case m.has.has(fieldDataStream):
		return Agent
	case m.has&setOf(fieldMetadata, fieldAgent, fieldBeat, fieldInput) != 0:
		return Filebeat
	}
	return Text
}
