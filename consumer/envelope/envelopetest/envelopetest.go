// Package envelopetest holds messages in all the envelopes that are known from the field, each form of the same records,
// for the tests of whoever reads or carries messages.
package envelopetest

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"strconv"
	"strings"
)

// The golden files hold one message per line. They follow the samples of producers' own documents and sources, with
// addresses of RFC 5737 and RFC 3849.
//
//go:embed testdata
var files embed.FS

// Form is one way in which sensors' lines come as messages.
type Form struct {
	// Name is that of the golden file, or says what was made of one. It begins with the number of the envelope.
	Name string
	// Topic is the topic such messages come by.
	Topic    string
	Messages [][]byte
	// Want are the plain lines that the messages stand for, in their order; those of no use (ssl, alert) included.
	Want [][]byte
	// EVE tells that they are Suricata's, not Zeek's.
	EVE bool
	// Sensor is the sensor's name that the messages tell, "" if they do not.
	Sensor string
	// NoPayload tells that the messages lack orig_bytes and resp_bytes, which Filebeat's zeek module drops, so that the
	// payload is estimated.
	NoPayload bool
}

// Forms gives all forms: those of the table of envelopes, and arrays, several lines in a message, compression, byte order
// marks and so on made of them.
func Forms() []Form {
	list := []Form{
		{Name: "01-tag-json", Topic: "zeek"},
		{Name: "02-tag-json-values", Topic: "zeek", Sensor: "s1"},
		{Name: "03-untagged", Topic: "bro-raw"},
		{Name: "04-json-streaming", Topic: "corelight", Sensor: "s1"},
		{Name: "05-filebeat", Topic: "beats", Sensor: "s1"},
		{Name: "06-filebeat-json", Topic: "beats", Sensor: "s1"},
		{Name: "06-filebeat-merged", Topic: "beats", Sensor: "s1"},
		{Name: "07-filebeat-zeek", Topic: "beats", Sensor: "s1", NoPayload: true},
		{Name: "07-filebeat-zeek-older", Topic: "beats", Sensor: "s1", NoPayload: true},
		{Name: "08-elastic-agent", Topic: "agent", Sensor: "s1"},
		{Name: "09-logstash", Topic: "logstash", Sensor: "s1"},
		{Name: "09-logstash-decoded", Topic: "logstash", Sensor: "s1"},
		{Name: "10-vector", Topic: "vector", Sensor: "s1"},
		{Name: "11-fluent-bit", Topic: "fluent"},
		{Name: "11-fluent-bit-decoded", Topic: "fluent"},
		{Name: "12-nested-ids", Topic: "zeek-json"},
		{Name: "12-renamed-ids", Topic: "zeek-json"},
		{Name: "13-eve", Topic: "suricata", EVE: true},
		{Name: "14-eve-filebeat", Topic: "beats", EVE: true, Sensor: "s1"},
		{Name: "14-eve-json", Topic: "beats", EVE: true, Sensor: "s1"},
		{Name: "14-eve-suricata", Topic: "beats", EVE: true, Sensor: "s1"},
		{Name: "14-eve-moved", Topic: "beats", EVE: true, Sensor: "s1"},
		{Name: "15-tenzir", Topic: "tenzir"},
	}
	for i := range list {
		f := &list[i]
		f.Messages = messages(f.Name)
		switch {
		case f.EVE:
			f.Want = messages("plain-eve")
		case f.NoPayload: // the module knows no conn_interim
			f.Want = messages("plain-zeek")
			f.Want = append(f.Want[:5:5], f.Want[6:]...)
		default:
			f.Want = messages("plain-zeek")
		}
	}
	made := func(of, name string, change func(messages [][]byte) [][]byte) {
		for _, f := range list {
			if f.Name == of {
				f.Name += ", " + name
				f.Messages = change(f.Messages)
				list = append(list, f)
				return
			}
		}
	}
	lines := func(m [][]byte) [][]byte { return [][]byte{bytes.Join(m, []byte("\n"))} }
	array := func(m [][]byte) [][]byte { return [][]byte{[]byte("[" + string(bytes.Join(m, []byte(", "))) + "]")} }
	one := func(wrap func([]byte) []byte) func(m [][]byte) [][]byte {
		return func(m [][]byte) (out [][]byte) {
			for _, msg := range m {
				out = append(out, wrap(msg))
			}
			return out
		}
	}
	for _, f := range list {
		made(f.Name, "lines", lines)
		made(f.Name, "array", array)
		made(f.Name, "gzip", one(Gzip))
	}
	made("03-untagged", "gzip of lines", func(m [][]byte) [][]byte { return one(Gzip)(lines(m)) })
	made("05-filebeat", "gzip of an array", func(m [][]byte) [][]byte { return one(Gzip)(array(m)) })
	made("01-tag-json", "byte order mark", one(func(m []byte) []byte { return []byte("\xEF\xBB\xBF" + string(m)) }))
	made("13-eve", "CRLF", one(func(m []byte) []byte { return []byte(string(m) + "\r\n") }))
	made("03-untagged", "CRLF lines", func(m [][]byte) [][]byte { return [][]byte{bytes.Join(m, []byte("\r\n"))} })
	made("03-untagged", "text", one(func(m []byte) []byte { return []byte(strconv.Quote(string(m))) }))
	made("03-untagged", "lines in a text", one(func(m []byte) []byte {
		return []byte(`{"log":` + strconv.Quote("\n"+string(m)+"\n\n") + `}`)
	}))
	made("12-renamed-ids", "spread over lines", one(func(m []byte) []byte {
		return []byte(strings.ReplaceAll(string(m), `,"`, ",\n  \""))
	}))
	return list
}

// messages reads a golden file.
func messages(name string) [][]byte {
	data, err := files.ReadFile("testdata/" + name + ".json")
	if err != nil {
		panic(fmt.Sprintf("the list of forms names a file that is not there: %v", err))
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// Gzip gives the message compressed.
func Gzip(msg []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	// Writing to memory does not fail.
	_, _ = w.Write(msg)
	_ = w.Close()
	return buf.Bytes()
}
