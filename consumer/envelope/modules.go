package envelope

import (
	"math"
	"strconv"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// zeekModule makes a line of conn.log of what the zeek module of Filebeat made of one (7), and a line of ssl.log or
// dns.log. Field names are those of x-pack/filebeat/module/zeek/connection/config/connection.yml, and of ssl.yml and
// dns.yml beside it.
//
// Lost are orig_bytes and resp_bytes, which the module drops: source.bytes is orig_ip_bytes. The decoder estimates the
// payload from that. Lost too is what no record of Minecanary has: tunnel_parents and the like.
func (p *Peeler) zeekModule(object []byte, m *members, c around) string {
	z := m.get(fieldZeek)
	var root [4][]byte
	pick(z, []string{"session_id", "connection", "ssl", "dns"}, root[:])
	for i, log := range [...]string{"ssl", "dns"} {
		if columns := root[2+i]; root[1] == nil && columns != nil {
			if c.log == "" {
				c.log = log
			}
			return p.zeekSide(columns, root[0], m, c)
		}
	}
	if root[1] == nil {
		// Another log, under its own name.
		if c.log == "" {
			each(z, 0, func(key, value []byte) {
				if value[0] == '{' && c.log == "" {
					c.log = p.logName(key)
				}
			})
		}
		if _, skipped := zeek.Skips(c.log); !skipped {
			return ReasonUnknown
		}
		p.emit(object, consumer.FormZeekJSON, c)
		return ""
	}
	if c.log == "" {
		c.log = "conn"
	}
	var conn [7][]byte
	pick(root[1], []string{"ts", "state", "conn_state", "local_orig", "local_resp", "history", "interim_seq"}, conn[:])
	var event [3][]byte
	pick(m.get(fieldEvent), []string{"start", "created", "duration"}, event[:])
	network, source, dest := networkOf(m), sideOf(m, fieldSource), sideOf(m, fieldDestination)
	o := writer{p.plain[:0]}
	o.member("ts", first(number(conn[0]), event[0], number(event[1])))
	o.member("uid", root[0])
	o.member("id.orig_h", source.address)
	o.member("id.orig_p", first(source.port, zero))
	o.member("id.resp_h", dest.address)
	o.member("id.resp_p", first(dest.port, zero))
	o.member("proto", network.transport)
	o.member("service", network.protocol)
	if d := get(m.get(fieldTemp), "duration"); d != nil {
		o.member("duration", number(d))
	} else {
		o.duration(event[2])
	}
	o.member("conn_state", first(conn[1], conn[2]))
	o.member("local_orig", conn[3])
	o.member("local_resp", conn[4])
	o.member("history", conn[5])
	o.member("orig_pkts", source.packets)
	o.member("orig_ip_bytes", source.bytes)
	o.member("resp_pkts", dest.packets)
	o.member("resp_ip_bytes", dest.bytes)
	o.member("interim_seq", conn[6])
	p.plain = o.end()
	p.emit(p.plain, consumer.FormZeekJSON, c)
	return ""
}

// zeekSide makes a line of ssl.log or dns.log of its columns, of which the module has moved the time and the connection's
// ends.
func (p *Peeler) zeekSide(columns, uid []byte, m *members, c around) string {
	names := [...]string{"ts", "server_name", "version", "resumed", "established", "query", "qtype", "qtype_name", "answers", "rejected"}
	var values [len(names)][]byte
	pick(columns, names[:], values[:])
	values[0] = first(number(values[0]), number(get(m.get(fieldEvent), "created")))
	source, dest := sideOf(m, fieldSource), sideOf(m, fieldDestination)
	o := writer{p.plain[:0]}
	o.member("uid", uid)
	o.member("id.orig_h", source.address)
	o.member("id.orig_p", first(source.port, zero))
	o.member("id.resp_h", dest.address)
	o.member("id.resp_p", first(dest.port, zero))
	for i, value := range values {
		o.member(names[i], value)
	}
	p.plain = o.end()
	p.emit(p.plain, consumer.FormZeekJSON, c)
	return ""
}

// suricataModule makes an EVE event of what the suricata module of Filebeat, or the integration of that name, made of
// one (14): what is not under suricata.eve any more was moved to source, destination, network and event
// (x-pack/filebeat/module/suricata/eve/config/eve.yml). Nothing is lost of events that are of use but in_iface and the like, which
// no record of Minecanary has, and vlan if it was moved to network.vlan without its second tag.
func (p *Peeler) suricataModule(m *members, c around) string {
	object := get(m.get(fieldSuricata), "eve")
	if object[0] != '{' {
		return ReasonUnknown
	}
	var eve [19][]byte
	pick(object, []string{
		"timestamp", "flow_id", "event_type", "vlan", "src_ip", "src_port", "dest_ip", "dest_port", "proto", "app_proto",
		"host", "flow", "tcp", "direction", "tls", "dns", "alert", "netflow",
		"metadata",
	}, eve[:])
	if eve[2] == nil {
		return ReasonUnknown
	}
	var flow [10][]byte
	pick(eve[11], []string{
		"pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient", "start", "end",
		"src_ip", "src_port", "dest_ip", "dest_port",
	}, flow[:])
	var event [3][]byte
	pick(m.get(fieldEvent), []string{"start", "end", "duration"}, event[:])
	network, source, dest := networkOf(m), sideOf(m, fieldSource), sideOf(m, fieldDestination)
	start := first(flow[4], event[0])
	o := writer{p.plain[:0]}
	o.member("timestamp", first(eve[0], m.get(fieldLogTime)))
	o.member("flow_id", eve[1])
	o.member("event_type", eve[2])
	o.member("vlan", first(eve[3], get(network.vlan, "id")))
	o.member("src_ip", first(eve[4], source.address))
	o.member("src_port", first(eve[5], source.port))
	o.member("dest_ip", first(eve[6], dest.address))
	o.member("dest_port", first(eve[7], dest.port))
	o.member("proto", first(eve[8], network.transport))
	o.member("app_proto", first(eve[9], network.protocol))
	o.member("host", eve[10])
	if eve[11] != nil {
		o.open("flow")
		o.member("pkts_toserver", first(flow[0], source.packets))
		o.member("pkts_toclient", first(flow[1], dest.packets))
		o.member("bytes_toserver", first(flow[2], source.bytes))
		o.member("bytes_toclient", first(flow[3], dest.bytes))
		o.member("start", start)
		if end := first(flow[5], event[1]); end != nil {
			o.member("end", end)
		} else {
			o.timeAfter("end", start, event[2])
		}
		o.member("src_ip", flow[6])
		o.member("src_port", flow[7])
		o.member("dest_ip", flow[8])
		o.member("dest_port", flow[9])
		o.close()
	}
	o.member("tcp", eve[12])
	o.member("direction", eve[13])
	o.member("tls", eve[14])
	o.member("dns", eve[15])
	o.member("alert", eve[16])
	o.member("netflow", eve[17])
	o.member("metadata", eve[18])
	p.plain = o.end()
	p.emit(p.plain, consumer.FormEVE, c)
	return ""
}

// side is what ECS tells of one end of a connection, under source or destination.
type side struct{ address, port, packets, bytes []byte }

func sideOf(m *members, f field) side {
	var v [5][]byte
	pick(m.get(f), []string{"address", "ip", "port", "packets", "bytes"}, v[:])
	return side{first(v[0], v[1]), v[2], v[3], v[4]}
}

// network is what ECS tells of the protocol.
type network struct{ transport, protocol, vlan []byte }

func networkOf(m *members) network {
	var v [4][]byte
	pick(m.get(fieldNetwork), []string{"transport", "protocol", "application", "vlan"}, v[:])
	return network{v[0], first(v[1], v[2]), v[3]}
}

var zero = []byte("0")

// first gives the first value that is there.
func first(values ...[]byte) []byte {
	for _, v := range values {
		if len(v) > 0 && v[0] != 'n' {
			return v
		}
	}
	return nil
}

// number gives a value without its quotes if there is a number between them.
func number(value []byte) []byte {
	if text := content(value); len(text) > 0 && jsonscan.Number(text, 0) == len(text) {
		return text
	}
	return value
}

// writer writes an object.
type writer struct{ b []byte }

// key writes what stands before a value.
func (w *writer) key(key string) {
	if n := len(w.b); n == 0 {
		w.b = append(w.b, '{')
	} else if w.b[n-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), key...), '"', ':')
}

// member writes a member, unless the value is nil.
func (w *writer) member(key string, value []byte) {
	if value != nil {
		w.key(key)
		w.b = append(w.b, value...)
	}
}

func (w *writer) open(key string) {
	w.key(key)
	w.b = append(w.b, '{')
}

func (w *writer) close() { w.b = append(w.b, '}') }

// end gives the object.
func (w *writer) end() []byte {
	if len(w.b) == 0 {
		w.b = append(w.b, '{')
	}
	w.close()
	return w.b
}

// minNanos is the whole number from which event.duration is taken for nanoseconds, as ECS has it; below it is what older
// versions of the module wrote, seconds: 10^6 s are eleven days, 10^6 ns a millisecond.
const minNanos = 1_000_000

// duration writes event.duration as seconds.
func (w *writer) duration(value []byte) {
	value = number(value)
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < minNanos {
		w.member("duration", value)
		return
	}
	w.key("duration")
	w.b = appendSeconds(w.b, n/1000)
}

// timeAfter writes the time that is a number of nanoseconds after the other, as Unix seconds.
func (w *writer) timeAfter(key string, start, nanos []byte) {
	from, ok := jsonscan.AnyDate(string(content(start)))
	n, err := strconv.ParseInt(string(nanos), 10, 64)
	if !ok || err != nil || from < 0 || n < 0 || from > math.MaxInt64-n/1000 {
		return
	}
	w.key(key)
	w.b = appendSeconds(w.b, from+n/1000)
}

// appendSeconds writes microseconds as seconds.
func appendSeconds(b []byte, micros int64) []byte {
	b = append(strconv.AppendInt(b, micros/1e6, 10), '.')
	digits := strconv.AppendInt(nil, micros%1e6+1e6, 10)
	return append(b, digits[1:]...)
}
