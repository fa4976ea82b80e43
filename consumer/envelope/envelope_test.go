package envelope_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/envelope"
	"github.com/minecanary/minecanary/consumer/envelope/envelopetest"
	"github.com/minecanary/minecanary/consumer/eve"
	"github.com/minecanary/minecanary/consumer/flows"
	"github.com/minecanary/minecanary/consumer/zeek"
)

const conn = `{"ts":1700000000.25,"uid":"C1","id.orig_h":"192.0.2.5","id.orig_p":40001,"id.resp_h":"198.51.100.10","id.resp_p":3333,"proto":"tcp","orig_pkts":57,"orig_ip_bytes":4791,"resp_pkts":55,"resp_ip_bytes":15503}`

// peel gives all lines of a message, of guesses those that a decoder takes, or none.
func peel(p *envelope.Peeler, topic string, msg []byte, guesses bool) (list []envelope.Line, out consumer.Outcome) {
	d := newDecoders()
	out = p.Peel(topic, msg, func(l *envelope.Line) bool {
		if l.Guess && (!guesses || !d.take(l)) {
			return false
		}
		list = append(list, *l)
		list[len(list)-1].Data = bytes.Clone(l.Data)
		return true
	})
	return list, out
}

// TestGoldenLines: a guess and a look in full say the same, and what they say of the log is what the sensor wrote.
func TestGoldenLines(t *testing.T) {
	logs := []string{"conn", "conn", "conn", "conn", "conn", "conn_interim", "ssl"}
	for _, f := range envelopetest.Forms() {
		t.Run(f.Name, func(t *testing.T) {
			p := envelope.New(envelope.Config{})
			var all []envelope.Line
			for _, msg := range f.Messages {
				before := bytes.Clone(msg)
				guessed, out := peel(p, f.Topic, msg, true)
				if out.Kind != consumer.Decoded {
					t.Fatalf("%+v: %q", out, msg)
				}
				full, out2 := peel(p, f.Topic, msg, false)
				if out2 != out {
					t.Errorf("in full: %+v, guessed: %+v", out2, out)
				}
				if !bytes.Equal(before, msg) {
					t.Errorf("the message was changed")
				}
				for i := range guessed {
					guessed[i].Guess = false
				}
				trim := cmp.Transformer("trim", func(l []byte) string { return strings.TrimSpace(string(l)) })
				if diff := cmp.Diff(full, guessed, trim); diff != "" {
					t.Errorf("in full and guessed differ:\n%s", diff)
				}
				all = append(all, full...)
			}
			if len(all) != len(f.Want) {
				t.Fatalf("%d lines, want %d", len(all), len(f.Want))
			}
			for i, l := range all {
				want := logs[i]
				if f.NoPayload && i == 5 {
					want = "ssl"
				}
				if f.EVE != (l.Form == consumer.FormEVE) || !f.EVE && l.Log != "" && l.Log != want {
					t.Errorf("line %d is of %s %q, want %s", i, l.Form, l.Log, want)
				}
				if l.Sensor != f.Sensor && l.Kind != envelope.Path { // there, it is in the record
					t.Errorf("line %d is of sensor %q, want %q", i, l.Sensor, f.Sensor)
				}
				if !json.Valid(l.Data) || l.Bad != "" {
					t.Errorf("line %d: %s %s", i, l.Bad, l.Data)
				}
			}
		})
	}
}

// TestLogNames: what names of files, data sets, tags, fields and topics say of the log.
func TestLogNames(t *testing.T) {
	text, err := json.Marshal(conn)
	if err != nil {
		t.Fatal(err)
	}
	in := func(more string) string { return fmt.Sprintf(`{"message":%s,%s}`, text, more) }
	for _, tt := range []struct{ name, topic, msg, want string }{
		{"nothing", "t", conn, ""},
		{"topic", "conn", conn, "conn"},
		{"topic with a maker", "zeek_conn", conn, "conn"},
		{"topic of a site", "hq.zeek-connection", conn, "conn"},
		{"topic of interim records", "zeek-conn-interim", conn, "conn_interim"},
		{"topic of cumulative records", "zeek.conn_long", conn, "conn_long"},
		{"topic of all logs", "bro-raw", conn, ""},
		{"topic whose name ends alike", "disconn", conn, ""},
		{"topic of other logs", "ssl", conn, ""},
		{"tag before topic", "conn", `{"conn_interim": ` + conn + `}`, "conn_interim"},
		{"second filter", "t", `{"conn-2": ` + conn + `}`, "conn"},
		{"no second filter", "t", `{"conn-x": ` + conn + `}`, "conn-x"},
		{"file", "t", in(`"log":{"file":{"path":"/logs/current/conn.log"}}`), "conn"},
		{"rotated file", "t", in(`"log":{"file":{"path":"/logs/conn_long.00:00:00-01:00:00.log.gz"}}`), "conn_long"},
		{"file of Windows", "t", in(`"log":{"file":{"path":"C:\\logs\\conn.log"}}`), "conn"},
		{"file with a dot in its key", "t", in(`"log.file.path":"/logs/conn.log"`), "conn"},
		{"file nobody knows", "t", in(`"file":"/logs/site1.log"`), ""},
		{"file as an object", "t", in(`"file":{"path":"conn.log"}`), "conn"},
		{"data set", "t", in(`"data_stream":{"dataset":"zeek.connection"}`), "conn"},
		{"data set of another", "t", in(`"event":{"dataset":"zeek.ssl"}`), "ssl"},
		{"data set of another maker", "t", in(`"event":{"dataset":"nginx.access"}`), ""},
		{"fields", "t", in(`"fields":{"site":"hq","log_type":"zeek_conn"}`), "conn"},
		{"tags", "t", in(`"tags":["prod","zeek-conn"]`), "conn"},
		{"tags that are none", "t", in(`"tags":{"conn":1}`), "conn"},
		{"file before topic", "conn", in(`"path":"/logs/conn_long.log"`), "conn_long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, out := peel(envelope.New(envelope.Config{}), tt.topic, []byte(tt.msg), true)
			if len(got) != 1 || got[0].Log != tt.want {
				t.Errorf("got %+v, %+v; want log %q", got, out, tt.want)
			}
		})
	}
}

// TestPlaces: Begin and End tell the object of the message that a line came in.
func TestPlaces(t *testing.T) {
	tag := `{"conn": ` + conn + `}`
	for _, tt := range []struct {
		name, msg string
		want      []string
	}{
		{"alone", conn, []string{conn}},
		{"blanks around", " " + conn + " \n", []string{conn}},
		{"byte order mark", "\xEF\xBB\xBF" + conn, []string{conn}},
		{"tag", tag, []string{tag}},
		{"lines", conn + "\n" + tag + "\r\n\n" + conn + "\n", []string{conn, tag, conn}},
		{"in a row", conn + tag + conn, []string{conn, tag, conn}},
		{"list", "[" + conn + " , " + tag + "]\n" + conn, []string{conn, tag, conn}},
		{"list of lists", "[[" + conn + "],[" + tag + "]]", []string{conn, tag}},
		{"lines in a text", `{"log":"{\"ts\":1,\"uid\":\"C1\"}\n{\"ts\":2,\"uid\":\"C2\"}"}`, []string{
			`{"log":"{\"ts\":1,\"uid\":\"C1\"}\n{\"ts\":2,\"uid\":\"C2\"}"}`,
			`{"log":"{\"ts\":1,\"uid\":\"C1\"}\n{\"ts\":2,\"uid\":\"C2\"}"}`,
		}},
		{"TSV", "\n#fields\tts\n1\n\n2", []string{"#fields\tts", "1", "2"}},
		{"bad line", conn + "\nbad\n" + conn, []string{conn, "bad", conn}},
	} {
		for _, taken := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, guesses taken: %v", tt.name, taken), func(t *testing.T) {
				lines, out := peel(envelope.New(envelope.Config{}), "t", []byte(tt.msg), taken)
				var got []string
				for _, l := range lines {
					got = append(got, tt.msg[l.Begin:l.End])
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%+v\n%s", out, diff)
				}
			})
		}
	}
}

// TestBoundsOfCompression: as much as is allowed comes out, and a byte more does not.
func TestBoundsOfCompression(t *testing.T) {
	fill := func(n int) []byte {
		// Shrinks to a fifth or so.
		var b bytes.Buffer
		for i := 0; b.Len() < n-300; i++ {
			fmt.Fprintf(&b, `{"ts":%d,"uid":"C%x"}`+"\n", 1700000000+i, uint64(i)*0x9E3779B97F4A7C15)
		}
		b.Write(bytes.Repeat([]byte(" "), n-b.Len()))
		return b.Bytes()
	}
	type row struct {
		name string
		msg  []byte
		want consumer.Outcome
	}
	rows := []row{
		{"64 KiB of one byte", append([]byte(conn), bytes.Repeat([]byte(" "), 64<<10-len(conn))...), consumer.Outcome{Kind: consumer.Decoded}},
		{"1 MiB of one byte", append([]byte(conn), bytes.Repeat([]byte(" "), 1<<20)...), consumer.Outcome{Kind: consumer.Bad, Reason: envelope.ReasonInflated}},
		{"nothing", nil, consumer.Outcome{Kind: consumer.Skipped, Reason: envelope.ReasonEmpty}},
	}
	if !testing.Short() { // it takes a second, and many with the race detector
		rows = append(
			rows,
			row{"all", fill(envelope.MaxInflated), consumer.Outcome{Kind: consumer.Decoded}},
			row{"a byte more", fill(envelope.MaxInflated + 1), consumer.Outcome{Kind: consumer.Bad, Reason: envelope.ReasonInflated}},
		)
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			out := envelope.New(envelope.Config{}).Peel("t", envelopetest.Gzip(tt.msg), func(*envelope.Line) bool { return true })
			if out != tt.want {
				t.Errorf("got %+v, want %+v", out, tt.want)
			}
		})
	}
}

// TestTimeIsBounded: no message of a megabyte takes long, however often its brackets open.
func TestTimeIsBounded(t *testing.T) {
	for name, unit := range map[string]string{
		"open lists": "[", "open lists on lines": "[\n", "lists that go on": "[],\n", "open objects": "{\"a\":\n",
		"open texts": "\"{\n", "objects that go on": "{\"a\":1},\n", "tags": "{\"a\":{\"ts\":1}}", "texts": `"{\"ts\":1}"`,
	} {
		t.Run(name, func(t *testing.T) {
			msg := []byte("[\n" + strings.Repeat(unit, consumer.MaxLine/len(unit)))
			n := 0
			envelope.New(envelope.Config{}).Peel("t", msg, func(*envelope.Line) bool { n++; return false })
			if n > len(msg) {
				t.Errorf("%d lines of %d bytes", n, len(msg))
			}
		})
	}
}

// TestNames: names are labels, each by itself.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for k := range envelope.Kinds {
		for f := range envelope.Forms {
			name := envelope.Name(envelope.Kind(k), consumer.Form(f))
			if name == "" || seen[name] || strings.Contains(name, "//") || strings.HasPrefix(name, "/") {
				t.Errorf("name %q", name)
			}
			seen[name] = true
		}
	}
}

// decoders read lines as package decode does.
type decoders struct {
	json    *zeek.JSON
	eve     *eve.Decoder
	goflow2 *flows.Goflow2
	rec     minecanary.Record
}

func newDecoders() *decoders {
	return &decoders{json: zeek.NewJSON(), eve: eve.New(eve.Config{}), goflow2: flows.NewGoflow2()}
}

func (d *decoders) take(l *envelope.Line) bool {
	if l.Form == consumer.FormEVE {
		if l.Guess {
			_, ok := d.eve.Try(l.Data, &d.rec)
			return ok
		}
		d.eve.Decode(l.Data, &d.rec)
		return true
	}
	if l.Form == consumer.FormGoflow2 {
		if l.Guess {
			_, ok := d.goflow2.Try(l.Data, &d.rec)
			return ok
		}
		d.goflow2.Decode(l.Data, &d.rec)
		return true
	}
	hint := zeek.Hint{Log: l.Log, Forced: l.Forced}
	if l.Guess {
		_, ok := d.json.Try(l.Data, hint, &d.rec)
		return ok
	}
	d.json.DecodeAs(l.Data, hint, &d.rec)
	return true
}

// FuzzPeel throws anything at a Peeler: it does not fall, gives no more than there is, and says the same twice, whatever
// came before.
func FuzzPeel(f *testing.F) {
	for _, form := range envelopetest.Forms() {
		f.Add("zeek_conn", form.Messages[0])
		f.Add("t", form.Messages[len(form.Messages)-1])
	}
	for _, s := range []string{
		"", "\xEF\xBB\xBF", "\x1f\x8b", "[", "[[[[[[", `{"conn": {"ts":1,"uid":"x"}}`, `{"a":{"ts":1},"b":{"ts":2}}`, `{"message":"\ud800{"}`,
		`{"zeek":{"connection":{"ts":"1"}},"event":{"duration":99999999999999999999}}`, `{"suricata":{"eve":{"flow":{}}},"event":{"start":"x","duration":-1}}`,
		`{"suricata":{"eve":{"flow":{}}},"event":{"start":"2023-11-14T22:14:20Z","duration":9223372036854775807}}`, "#fields\tts\n1\n",
		`{"type":"NETFLOW_V9","time_flow_start_ns":1751446436500000000,"src_addr":"192.0.2.5","dst_addr":"198.51.100.10","proto":"TCP","src_port":1,"dst_port":2,"bytes":1,"packets":1}`,
		`{"type":"IPFIX","@timestamp":"x","SrcAddr":"","DstAddr":"","TimeFlowStart":0}`,
		`{"host":null,"log":{"file":{"path":null}},"tags":[null],"fields":{"a":1},"ts":1}`, `{"id":{"orig_h":null}}`, `[1,{},"x"]`,
	} {
		f.Add("t", []byte(s))
	}
	old := envelope.New(envelope.Config{})
	warm := newDecoders()
	f.Fuzz(func(t *testing.T, topic string, msg []byte) {
		before := bytes.Clone(msg)
		run := func(p *envelope.Peeler, d *decoders) (lines []envelope.Line, out consumer.Outcome) {
			out = p.Peel(topic, msg, func(l *envelope.Line) bool {
				if l.Bad == "" && !d.take(l) {
					if !l.Guess {
						t.Errorf("refused, and no guess: %+v", l)
					}
					return false
				}
				lines = append(lines, *l)
				lines[len(lines)-1].Data = bytes.Clone(l.Data)
				return true
			})
			return lines, out
		}
		first, out := run(envelope.New(envelope.Config{}), newDecoders())
		if !bytes.Equal(before, msg) {
			t.Errorf("the message was changed")
		}
		if (out.Kind == consumer.Decoded) != (len(first) > 0) || (out.Kind == consumer.Decoded) != (out.Reason == "") {
			t.Errorf("%+v with %d lines", out, len(first))
		}
		most := len(msg)
		if bytes.HasPrefix(msg, []byte("\x1f\x8b")) {
			most = envelope.MaxInflated
		}
		total, bad := 0, 0
		for _, l := range first {
			if l.Begin < 0 || l.Begin > l.End || l.End > len(msg) {
				t.Fatalf("line of %d to %d in %d bytes", l.Begin, l.End, len(msg))
			}
			total += len(l.Data)
			if l.Bad != "" {
				bad++
			} else if l.Form != consumer.FormZeekTSV && !json.Valid(l.Data) && !l.Guess {
				t.Errorf("no JSON: %q", l.Data)
			}
		}
		// What modules moved is written again with its keys.
		if total > most+400*len(first) || bad > envelope.MaxBad+1 {
			t.Errorf("%d bytes, %d bad parts of %d bytes", total, bad, len(msg))
		}
		second, out2 := run(old, warm)
		if diff := cmp.Diff(clean(first), clean(second)); diff != "" || out != out2 {
			t.Errorf("the second time %+v, not %+v:\n%s", out2, out, diff)
		}
	})
}

func clean(lines []envelope.Line) []envelope.Line {
	lines = slices.Clone(lines)
	for i := range lines {
		lines[i].Guess = false
	}
	return lines
}

// BenchmarkPeel measures a message of each form; "decode" is peeling and decoding, "alone" the decoding of the plain
// lines. An operation is a message.
func BenchmarkPeel(b *testing.B) {
	for _, f := range envelopetest.Forms() {
		if strings.Contains(f.Name, ",") && !strings.HasPrefix(f.Name, "03") {
			continue
		}
		msg, plain := f.Messages[0], f.Want[0]
		b.Run("form="+f.Name+"/of=peel", func(b *testing.B) {
			p, taken := envelope.New(envelope.Config{}), func(l *envelope.Line) bool { return !l.Guess || l.Form != 0 }
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if out := p.Peel(f.Topic, msg, taken); out.Kind != consumer.Decoded {
					b.Fatal(out)
				}
			}
		})
		b.Run("form="+f.Name+"/of=decode", func(b *testing.B) {
			p, d := envelope.New(envelope.Config{}), newDecoders()
			take := d.take
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if out := p.Peel(f.Topic, msg, take); out.Kind != consumer.Decoded {
					b.Fatal(out)
				}
			}
		})
		b.Run("form="+f.Name+"/of=alone", func(b *testing.B) {
			d := newDecoders()
			l := &envelope.Line{Data: plain, Form: consumer.FormZeekJSON}
			if f.EVE {
				l.Form = consumer.FormEVE
			}
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				d.take(l)
			}
		})
	}
}
