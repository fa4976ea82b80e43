// Package test holds the examples against the consumer: what the shippers write with these configurations is
// read with the right log and the sensor's name.
package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/envelope"
)

// lines are what Zeek writes into the logs that the examples ship.
var lines = map[string]string{
	"conn":         `{"ts":1700000000.25,"uid":"C1","id.orig_h":"192.0.2.5","id.orig_p":40001,"id.resp_h":"198.51.100.10","id.resp_p":3333,"proto":"tcp","orig_pkts":57,"orig_ip_bytes":4791,"resp_pkts":55,"resp_ip_bytes":15503}`,
	"conn_interim": `{"ts":1700000000.25,"uid":"C1","id.orig_h":"192.0.2.5","id.orig_p":40001,"id.resp_h":"198.51.100.10","id.resp_p":3333,"proto":"tcp","seq":2,"final":false,"slice_start":1700000600.0,"slice_end":1700000900.0,"d_orig_pkts":17,"d_orig_ip_bytes":1496,"d_resp_pkts":16,"d_resp_ip_bytes":4656}`,
	"mining":       `{"ts":1700000000.5,"uid":"C1","id.orig_h":"192.0.2.5","id.orig_p":40001,"id.resp_h":"198.51.100.10","id.resp_p":3333,"protocol":"monero","seen":"both","turned":false,"method":"login","agent":"XMRig/6.21.0","worker":"rig-7"}`,
	"ssl":          `{"ts":1700000000.3,"uid":"C2","id.orig_h":"192.0.2.5","id.orig_p":40002,"id.resp_h":"198.51.100.11","id.resp_p":443,"version":"TLSv12","server_name":"pool.example","resumed":false,"established":true}`,
	"dns":          `{"ts":1700000000.1,"uid":"C3","id.orig_h":"192.0.2.5","id.orig_p":40003,"id.resp_h":"192.0.2.53","id.resp_p":53,"proto":"udp","query":"pool.example","qtype_name":"A","answers":["198.51.100.11"],"TTLs":[60.0],"rejected":false}`,
}

const host = "sensor-1"

// config reads an example; nothing of it is used but what the test asks for.
func config[T any](t *testing.T, name string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func TestExamples(t *testing.T) {
	filebeat := config[struct {
		Inputs []struct{ Paths []string } `yaml:"filebeat.inputs"`
		Kafka  struct{ Topic string }     `yaml:"output.kafka"`
	}](t, "filebeat.yml")
	vector := config[struct {
		Sources map[string]struct{ Include []string }
		Sinks   map[string]struct {
			Topic    string
			Encoding struct{ Codec string }
		}
	}](t, "vector.yaml")
	fluentBit := config[struct {
		Env      map[string]string
		Pipeline struct {
			Inputs []struct {
				Path    string
				PathKey string `yaml:"path_key"`
			}
			Filters []struct{ Record string }
			Outputs []struct {
				Topics, Format string
				TimestampKey   string `yaml:"timestamp_key"`
			}
		}
	}](t, "fluent-bit.yaml")
	if len(filebeat.Inputs) != 1 || len(fluentBit.Pipeline.Inputs) != 1 || len(fluentBit.Pipeline.Outputs) != 1 || len(fluentBit.Pipeline.Filters) != 1 {
		t.Fatal("an example has not one input, or not one output")
	}
	sink, input, output := vector.Sinks["minecanary"], fluentBit.Pipeline.Inputs[0], fluentBit.Pipeline.Outputs[0]
	if sink.Encoding.Codec != "json" || output.Format != "json" {
		t.Fatal("a shipper does not write JSON")
	}
	added, name, _ := strings.Cut(fluentBit.Pipeline.Filters[0].Record, " ")
	name = os.Expand(name, func(key string) string { return fluentBit.Env[key] })

	for _, tt := range []struct {
		name, topic string
		kind        envelope.Kind
		paths       []string
		wrap        func(path, line string) string
	}{
		{
			"filebeat.yml", filebeat.Kafka.Topic, envelope.Filebeat, filebeat.Inputs[0].Paths,
			func(path, line string) string {
				return fmt.Sprintf(`{"@timestamp":"2023-11-20T14:37:56.612Z","@metadata":{"beat":"filebeat","type":"_doc","version":"8.19.0"},"log":{"offset":1761,"file":{"path":%q}},"message":%s,"input":{"type":"filestream"},"ecs":{"version":"8.0.0"},"host":{"name":%q},"agent":{"name":%[3]q,"type":"filebeat"}}`, path, strconv.Quote(line), host)
			},
		},
		{
			"vector.yaml", sink.Topic, envelope.Vector, vector.Sources["zeek"].Include,
			func(path, line string) string {
				return fmt.Sprintf(`{"file":%q,"host":%q,"message":%s,"source_type":"file","timestamp":"2023-11-20T14:37:56.612345678Z"}`, path, host, strconv.Quote(line))
			},
		},
		{
			"fluent-bit.yaml", output.Topics, envelope.FluentBit, strings.Split(input.Path, ","),
			func(path, line string) string {
				return fmt.Sprintf(`{%q:1700000000.123456,%q:%q,"log":%s,%q:%q}`, output.TimestampKey, input.PathKey, path, strconv.Quote(line), added, name)
			},
		},
		{
			"kafka.zeek", "zeek", envelope.TaggedMore, logsOfKafka(t),
			func(path, line string) string {
				return fmt.Sprintf(`{%q: %s,"sensor": %q}`, strings.TrimSuffix(path, ".log"), line, host)
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.topic != "zeek" {
				t.Errorf("ships to the topic %q", tt.topic)
			}
			seen := map[string]bool{}
			for _, path := range tt.paths {
				log := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".log")
				line, ok := lines[log]
				if !ok || seen[log] {
					t.Fatalf("ships %s, which is none of the logs that are read, or twice", path)
				}
				seen[log] = true
				found := 0
				out := envelope.New(envelope.Config{}).Peel(tt.topic, []byte(tt.wrap(path, line)), func(l *envelope.Line) bool {
					if l.Guess {
						return false
					}
					found++
					if string(l.Data) != line || l.Log != log || l.Sensor != host || l.Kind != tt.kind || l.Bad != "" {
						t.Errorf("log %q of sensor %q as %s (%q): %s", l.Log, l.Sensor, l.Kind, l.Bad, l.Data)
					}
					return true
				})
				if out.Kind != consumer.Decoded || found != 1 {
					t.Errorf("%s: %d lines, %+v", log, found, out)
				}
			}
			if len(seen) != len(lines) {
				t.Errorf("ships %d logs of %d", len(seen), len(lines))
			}
		})
	}
}

// logsOfKafka gives the logs that kafka.zeek sends, by the paths their streams have.
func logsOfKafka(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../kafka.zeek")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"ConnInterim": "conn_interim", "Mining": "mining", "SSL": "ssl", "DNS": "dns"}
	list := []string{"conn.log"} // by a filter of its own
	if !strings.Contains(string(data), "Log::add_filter(Conn::LOG, ") {
		t.Error("kafka.zeek does not send conn.log")
	}
	_, rest, _ := strings.Cut(string(data), "Kafka::logs_to_send = {")
	set, _, ok := strings.Cut(rest, "}")
	if !ok {
		t.Fatal("kafka.zeek has no logs_to_send")
	}
	for id := range strings.SplitSeq(set, ",") {
		path, known := paths[strings.TrimSuffix(strings.TrimSpace(id), "::LOG")]
		if !known {
			t.Fatalf("kafka.zeek sends %s", id)
		}
		list = append(list, path+".log")
	}
	return list
}
