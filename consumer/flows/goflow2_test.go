package flows_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/flows"
)

// line is what goflow2 2 writes, shortened.
const line = `{"type":"NETFLOW_V9","time_received_ns":1751446799000000001,"sequence_num":1,"sampling_rate":0,"sampler_address":"192.0.2.1",` +
	`"time_flow_start_ns":1751446436500000000,"time_flow_end_ns":1751446741986000000,"bytes":4388,"packets":31,` +
	`"src_addr":"10.20.1.15","dst_addr":"203.0.113.15","etype":"IPv4","proto":"TCP","src_port":47120,"dst_port":3333,"in_if":0,` +
	`"tcp_flags":24,"as_path":[],"next_hop":""}`

// older is the same flow as goflow2 1 writes it.
const older = `{"Type":"NETFLOW_V9","TimeReceived":1751446799,"SamplingRate":0,"SamplerAddress":"192.0.2.1","TimeFlowStart":1751446437,` +
	`"TimeFlowEnd":1751446742,"TimeFlowStartMs":1751446436500,"TimeFlowEndMs":1751446741986,"Bytes":4388,"Packets":31,` +
	`"SrcAddr":"10.20.1.15","DstAddr":"203.0.113.15","Etype":2048,"Proto":6,"SrcPort":47120,"DstPort":3333,"TcpFlags":24}`

// change replaces a part of a line by another.
func change(t *testing.T, line string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(line, pairs[i]) != 1 {
			t.Fatalf("%d times %s in %s", strings.Count(line, pairs[i]), pairs[i], line)
		}
		line = strings.Replace(line, pairs[i], pairs[i+1], 1)
	}
	return line
}

func TestGoflow2Rows(t *testing.T) {
	same := func(*minecanary.Record) {}
	noFlags := func(r *minecanary.Record) { r.OrigFlags, r.FlagsKnown = 0, false }
	for _, tt := range []struct {
		name, of string
		change   []string
		want     func(*minecanary.Record)
	}{
		{"as it is", line, nil, same},
		{"version 1", older, nil, same},
		{"carriage return", line + "\r", nil, same},
		{"protocol as a number", line, []string{`"TCP"`, `6`}, same},
		{"protocol as a text of digits", line, []string{`"TCP"`, `"6"`}, same},
		{"dates", line, []string{`1751446436500000000`, `"2025-07-02T08:53:56.5Z"`, `1751446741986000000`, `"2025-07-02T08:59:01.986Z"`}, same},
		{"numbers as texts", line, []string{`1751446436500000000`, `"1751446436500000000"`}, same},
		{"floating point", line, []string{`1751446436500000000`, `1.7514464365e18`, `:31,`, `:31.0,`}, same},
		{"an escape", line, []string{`"10.20.1.15"`, `"10.20.1.\u0031\u0035"`}, same},
		{"the last of equal keys", line, []string{`"bytes":4388`, `"bytes":7,"bytes":4388`}, same},
		{"null is absent", line, []string{`"in_if":0`, `"bytes":4388,"time_flow_start":null`, `"bytes":4388,"packets"`, `"packets"`}, same},
		{"flags beyond eight bits", line, []string{`"tcp_flags":24`, `"tcp_flags":280`}, same},
		{"no flags", line, []string{`"tcp_flags":24,`, ``}, noFlags},
		{"flags that are zero", line, []string{`"tcp_flags":24`, `"tcp_flags":0`}, noFlags},
		{"every packet", line, []string{`"sampling_rate":0`, `"sampling_rate":1`}, same},
		{"sampled", line, []string{`"sampling_rate":0`, `"sampling_rate":2`}, noFlags},
		{"sampled, version 1", older, []string{`"SamplingRate":0`, `"SamplingRate":1000`}, noFlags},
		{"a sample of sFlow", line, []string{`NETFLOW_V9`, `SFLOW_5`}, noFlags},
		{"a sample of sFlow, version 1", older, []string{`"NETFLOW_V9"`, `1`}, noFlags},
		{"no sampling told", line, []string{`"sampling_rate":0,`, ``}, same},
		{"no exporter", line, []string{`"192.0.2.1"`, `""`}, func(r *minecanary.Record) { r.Sensor = "" }},
		{"an exporter that is no text", line, []string{`"192.0.2.1"`, `7`}, func(r *minecanary.Record) { r.Sensor = "" }},
		{"an exporter that is no address", line, []string{`"192.0.2.1"`, `"x\u001b[31m"`}, func(r *minecanary.Record) { r.Sensor = "" }},
		{"no times but the collector's", line, []string{`"time_flow_start_ns":1751446436500000000,"time_flow_end_ns":1751446741986000000,`, ``}, func(r *minecanary.Record) {
			r.Start = 1751446799_000_000
			r.End = r.Start
		}},
		{"times of zero", line, []string{`1751446436500000000`, `0`, `1751446741986000000`, `0`}, func(r *minecanary.Record) {
			r.Start = 1751446799_000_000
			r.End = r.Start
		}},
		{"no end", line, []string{`"time_flow_end_ns":1751446741986000000,`, ``}, func(r *minecanary.Record) { r.End = r.Start }},
		{"only seconds", older, []string{`"TimeFlowStartMs":1751446436500,"TimeFlowEndMs":1751446741986,`, ``}, func(r *minecanary.Record) {
			r.Start, r.End = 1751446437_000_000, 1751446742_000_000
		}},
		{"milliseconds of zero", older, []string{`1751446436500`, `0`, `1751446741986`, `0`}, func(r *minecanary.Record) {
			r.Start, r.End = 1751446437_000_000, 1751446742_000_000
		}},
		{"ICMP", line, []string{`"TCP"`, `"ICMP"`, `"src_port":47120,"dst_port":3333,`, ``}, func(r *minecanary.Record) {
			r.Transport, r.OrigPort, r.RespPort = minecanary.ICMP, 0, 0
			noFlags(r)
		}},
		{"ICMPv6", line, []string{`"TCP"`, `"IPv6-ICMP"`}, func(r *minecanary.Record) {
			r.Transport, r.OrigPort, r.RespPort = minecanary.ICMPv6, 0, 0
			noFlags(r)
		}},
		{"IPv6", line, []string{`10.20.1.15`, `2001:db8::1`, `203.0.113.15`, `2001:db8::2`}, func(r *minecanary.Record) {
			r.Orig, r.Resp = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
			r.OrigPayload = 4388 - 31*72
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := change(t, tt.of, tt.change...)
			d := flows.NewGoflow2()
			for range 2 {
				got := junk()
				if out := d.Decode([]byte(line), &got); out != decoded {
					t.Fatalf("%+v: %s", out, line)
				}
				if diff := cmp.Diff(rowRecord(tt.want), got, addrs); diff != "" {
					t.Errorf("record of %s (-want +got):\n%s", line, diff)
				}
			}
		})
	}
}

func TestGoflow2Outcomes(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       consumer.Outcome
	}{
		{"nothing", "", skip("empty")},
		{"text", "type=IPFIX src_addr=10.0.0.1", bad("json")},
		{"array", "[" + line + "]", bad("json")},
		{"half a line", line[:100], bad("json")},
		{"two records", line + line, bad("json")},
		{"deep", strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), bad("depth")},
		{"another object", `{"ts":1,"uid":"C"}`, bad("unknown")},
		{"one address", change(t, line, `"src_addr":"10.20.1.15",`, ``), bad("field")},
		{"an address of digits", change(t, line, `"10.20.1.15"`, `10`), bad("field")},
		{"an empty address", change(t, line, `"10.20.1.15"`, `""`), bad("address")},
		{"not an address", change(t, line, `10.20.1.15`, `pool.example`), bad("address")},
		{"no protocol", change(t, line, `"proto":"TCP",`, ``), bad("field")},
		{"an empty protocol", change(t, line, `"TCP"`, `""`), bad("field")},
		{"protocol out of range", change(t, line, `"TCP"`, `256`), bad("field")},
		{"no port", change(t, line, `"dst_port":3333,`, ``), bad("field")},
		{"port out of range", change(t, line, `3333`, `65536`), bad("range")},
		{"no packets", change(t, line, `"packets":31,`, ``), bad("field")},
		{"packets as a text", change(t, line, `:31,`, `:"31",`), bad("field")},
		{"half a packet", change(t, line, `:31,`, `:30.5,`), bad("field")},
		{"packets below zero", change(t, line, `:31,`, `:-31,`), bad("range")},
		{"bytes out of range", change(t, line, `4388`, `9007199254740993`), bad("range")},
		{"bytes beyond all", change(t, line, `4388`, `99999999999999999999`), bad("range")},
		{"a time that is a word", change(t, line, `1751446436500000000`, `"now"`), bad("field")},
		{"a time that is an object", change(t, line, `1751446436500000000`, `{}`), bad("field")},
		{"a time below zero", change(t, line, `1751446436500000000`, `-5`), bad("field")},
		{"a time after 2105", change(t, line, `1751446741986000000`, `4294967296000000000`), bad("range")},
		{"a time beyond all", change(t, line, `1751446741986000000`, `1e99`), bad("range")},
		{"ends before it starts", change(t, line, `1751446741986000000`, `1751446436499999000`), bad("range")},
		{"no time at all", change(t, line, `"time_received_ns":1751446799000000001,`, ``, `1751446436500000000`, `0`), bad("range")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := flows.NewGoflow2()
			var rec minecanary.Record
			for _, l := range []string{tt.line, tt.line, line, tt.line} {
				if out := d.Decode([]byte(l), &rec); l == tt.line && out != tt.want {
					t.Errorf("outcome %+v, want %+v: %s", out, tt.want, l)
				}
			}
		})
	}
}

// TestGoflow2Try wants a guess given up where the line may have more to it.
func TestGoflow2Try(t *testing.T) {
	for name, tt := range map[string]struct {
		line string
		ok   bool
	}{
		"as it is":   {line, true},
		"shipped":    {change(t, line, `"in_if":0`, `"@timestamp":"2025-07-02T08:59:01Z"`), false},
		"not whole":  {line[:200], false},
		"no address": {change(t, line, `203.0.113.15`, `x`), false},
	} {
		t.Run(name, func(t *testing.T) {
			var rec minecanary.Record
			if out, ok := flows.NewGoflow2().Try([]byte(tt.line), &rec); ok != tt.ok || ok && out != decoded {
				t.Errorf("%+v, %t", out, ok)
			}
		})
	}
}

// TestGoflow2AgainstJSON writes random flows by encoding/json, and wants them back.
func TestGoflow2AgainstJSON(t *testing.T) {
	type flow struct {
		Type     string `json:"type"`
		Start    uint64 `json:"time_flow_start_ns"`
		End      uint64 `json:"time_flow_end_ns"`
		Src      string `json:"src_addr"`
		Dst      string `json:"dst_addr"`
		Proto    uint8  `json:"proto"`
		SrcPort  uint16 `json:"src_port"`
		DstPort  uint16 `json:"dst_port"`
		Flags    uint8  `json:"tcp_flags"`
		Packets  uint64 `json:"packets"`
		Bytes    uint64 `json:"bytes"`
		Exporter string `json:"sampler_address"`
		NextHop  string `json:"next_hop"`
	}
	addr := rapid.Custom(func(t *rapid.T) string {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		if rapid.Bool().Draw(t, "IPv4") {
			b = b[:4]
		}
		a, _ := netip.AddrFromSlice(b)
		return a.Unmap().String()
	})
	d := flows.NewGoflow2()
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64Range(1, lastMilli*1000-1).Draw(t, "start")
		counter := rapid.Uint64Range(0, flows.MaxCounter)
		f := flow{
			"IPFIX", start * 1000, rapid.Uint64Range(start, lastMilli*1000).Draw(t, "end") * 1000,
			addr.Draw(t, "source"), addr.Draw(t, "destination"), 6, rapid.Uint16().Draw(t, "source port"),
			rapid.Uint16().Draw(t, "destination port"), rapid.Uint8().Draw(t, "flags"), counter.Draw(t, "packets"),
			counter.Draw(t, "bytes"), "192.0.2.1", rapid.String().Draw(t, "a text that is not read"),
		}
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		got := junk()
		if out := d.Decode(text, &got); out != decoded {
			t.Fatalf("%+v: %s", out, text)
		}
		back := flow{
			"IPFIX", uint64(got.Start) * 1000, uint64(got.End) * 1000, got.Orig.String(), got.Resp.String(), uint8(got.Transport),
			got.OrigPort, got.RespPort, uint8(got.OrigFlags), got.OrigPackets, got.OrigBytes, got.Sensor, f.NextHop,
		}
		if f != back {
			t.Fatalf("wrote %+v, read %+v", f, back)
		}
	})
}
