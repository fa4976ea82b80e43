package envelope

import (
	"bytes"
	"strings"

	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// hints takes from an object what it tells of the log and the sensor. What is nearer to the record counts more.
func (p *Peeler) hints(m *members, c *around) {
	if m.has&shippers == 0 {
		return
	}
	if log := m.log(); log != "" {
		c.log = log
	}
	for f := fieldSensor; f <= fieldBeat; f++ {
		if m.has.has(f) && p.name(sensorIn(m.get(f)), c) {
			return
		}
	}
	if m.has.has(fieldFields) {
		if name := get(m.get(fieldFields), "sensor"); name != nil {
			p.name(content(name), c)
		} else {
			p.name(content(get(m.get(fieldFields), "sensor_name")), c)
		}
	}
}

// sensorIn gives the name in the value of host, observer, agent or sensor: a text, or an object with name or hostname.
func sensorIn(value []byte) []byte {
	if value[0] != '{' {
		return content(value)
	}
	var name, hostname []byte
	each(value, 0, func(key, value []byte) {
		switch string(key) {
		case "name":
			name = content(value)
		case "hostname":
			hostname = content(value)
		}
	})
	if len(name) > 0 {
		return name
	}
	return hostname
}

// name takes the content of a text as the sensor's name.
func (p *Peeler) name(text []byte, c *around) bool {
	if len(text) == 0 {
		return false
	}
	if bytes.IndexByte(text, '\\') >= 0 {
		text = jsonscan.Unescape(nil, text)
	}
	c.sensor = p.sensors.Intern(text)
	return true
}

// log gives the name of the log as far as the object tells: by the file, the data set, or what people wrote into fields
// and tags.
func (m *members) log() string {
	const told = 1<<fieldLog | 1<<fieldFile | 1<<fieldFilePath | 1<<fieldDataStream | 1<<fieldDataset | 1<<fieldEvent |
		1<<fieldFields | 1<<fieldTags
	if m.has&told == 0 {
		return ""
	}
	if log := fileLog(content(get(m.get(fieldLog), "file", "path"))); log != "" {
		return log
	}
	if log := fileLog(content(m.get(fieldFilePath))); log != "" {
		return log
	}
	file := m.get(fieldFile)
	if m.kind(fieldFile) == '{' {
		file = get(file, "path")
	}
	if log := fileLog(content(file)); log != "" {
		return log
	}
	for _, value := range [...][]byte{
		m.get(fieldDataset), get(m.get(fieldDataStream), "dataset"), get(m.get(fieldEvent), "dataset"),
	} {
		if log := datasetLog(content(value)); log != "" {
			return log
		}
	}
	found := ""
	if m.kind(fieldFields) == '{' {
		each(m.get(fieldFields), 0, func(_, value []byte) {
			if found == "" {
				found = wordLog(content(value))
			}
		})
	}
	if m.has.has(fieldTags) && found == "" {
		for tag := range bytes.SplitSeq(m.get(fieldTags), []byte{'"'}) {
			if found = wordLog(tag); found != "" {
				break
			}
		}
	}
	return found
}

// FileLog gives the name of the Zeek log that a file holds by its own name, "" if that is not a known one.
func FileLog(path string) string { return fileLog([]byte(path)) }

// fileLog gives the log that a file is of by its name, such as /opt/zeek/logs/current/conn.log or
// conn.00:00:00-01:00:00.log; "" if it is not one of the known names.
func fileLog(path []byte) string {
	if i := bytes.LastIndexAny(path, `/\`); i >= 0 {
		path = path[i+1:]
	}
	if i := bytes.IndexByte(path, '.'); i >= 0 {
		path = path[:i]
	}
	return zeek.Known(path)
}

// datasetLog gives the log of a data set of Elastic's Zeek integration and module, such as zeek.connection.
func datasetLog(name []byte) string {
	name, ok := bytes.CutPrefix(name, []byte("zeek."))
	if !ok {
		return ""
	}
	if string(name) == "connection" {
		return "conn"
	}
	return zeek.Known(name)
}

// maxWord is the longest word that is looked at for the name of a log: the longest name a topic can have.
const maxWord = 249

// wordLog gives the log of connections that a word of people names, such as a tag or a topic: the words conn,
// connection, conn_interim or conn_long at its end, by themselves or behind a dot, dash or underscore. Other logs are
// told by their columns.
func wordLog(word []byte) string {
	if len(word) > maxWord || len(word) < len("conn") {
		return ""
	}
	s := string(word)
	for _, end := range [...]struct{ word, log string }{
		{"conn", "conn"},
		{"connection", "conn"},
		{"connections", "conn"},
		{"conn_interim", "conn_interim"},
		{"conn-interim", "conn_interim"},
		{"conn.interim", "conn_interim"},
		{"conn_long", "conn_long"},
		{"conn-long", "conn_long"},
		{"conn.long", "conn_long"},
	} {
		rest, ok := strings.CutSuffix(s, end.word)
		if ok && (rest == "" || strings.HasSuffix(rest, "_") || strings.HasSuffix(rest, "-") || strings.HasSuffix(rest, ".")) {
			return end.log
		}
	}
	return ""
}

// topicLog gives the log that a topic's name tells: zeek_conn, conn; "" for bro-raw and all others.
func topicLog(topic string) string { return wordLog([]byte(topic)) }
