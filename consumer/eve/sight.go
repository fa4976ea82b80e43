package eve

import (
	"bytes"
	"math"
	"net/netip"
	"slices"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/sighting"
)

var (
	sightNeeds = ends | ports | setOf(fieldTimestamp)
	tlsUses    = shared | setOf(fieldTimestamp, fieldSNI)
	dnsUses    = shared | setOf(fieldTimestamp, fieldDNSType, fieldName, fieldNameType, fieldCode, fieldData)
	alertUses  = shared | setOf(fieldTimestamp, fieldDirection)
)

var sighted = consumer.Outcome{Kind: consumer.Sighted}

// seen judges what all sightings have in common and fills it in: the source as client, the destination as server.
func (d *Decoder) seen(s *minecanary.Sighting, uses set) (out consumer.Outcome, ok bool) {
	v := &d.scan.Values
	var rec minecanary.Record
	if out, ok = d.check(&rec, sightNeeds, uses); !ok {
		return out, false
	}
	if s.Time, ok = timeOf(v.Text(fieldTimestamp)); !ok {
		return bad(ReasonField), false
	}
	s.Client, s.ClientPort, s.UID, s.Sensor = rec.Orig, rec.OrigPort, rec.UID, d.sensor()
	s.Server = minecanary.Endpoint{Addr: rec.Resp, Port: rec.RespPort, Transport: rec.Transport}
	return out, true
}

// turn makes the client the server.
func turn(s *minecanary.Sighting) {
	s.Client, s.Server.Addr = s.Server.Addr, s.Client
	s.ClientPort, s.Server.Port = s.Server.Port, s.ClientPort
}

// tls makes the sighting of a tls event, which has the direction of its flow.
func (d *Decoder) tls() consumer.Outcome {
	v := &d.scan.Values
	if v.Has>>fieldSNI&1 == 0 {
		return skipped(ReasonNoName)
	}
	s := minecanary.Sighting{Kind: minecanary.SightedTLS}
	if out, ok := d.seen(&s, tlsUses); !ok {
		return out
	}
	if s.Name = d.sight.Name(v.Text(fieldSNI)); s.Name == "" {
		return skipped(ReasonNoName)
	}
	d.sight.Reset()
	d.sight.Add(&s)
	return sighted
}

// dnsPort is the port of DNS servers.
const dnsPort = 53

// dns makes the sightings of a dns event. Version 1 has an event for each answer, with its name and data; version 2 all
// answers of a response as a list, by type, or both ways; version 3 (Suricata 8) has the queries as a list, too.
func (d *Decoder) dns() consumer.Outcome {
	v := &d.scan.Values
	switch kind := v.Text(fieldDNSType); {
	case set(v.Wrong)&dnsUses != 0:
		return bad(ReasonField)
	case string(kind) != "answer" && string(kind) != "response":
		return skipped(ReasonDNS)
	}
	if code := v.Text(fieldCode); len(code) > 0 && string(code) != "NOERROR" {
		return skipped(ReasonNoAddress)
	}
	s := minecanary.Sighting{Kind: minecanary.SightedDNS}
	out, ok := d.seen(&s, dnsUses)
	if !ok {
		return out
	}
	// Versions 1 and 3 have the direction of the packet, version 2 has that of the flow.
	if server := s.Server.Port; s.ClientPort == dnsPort && server != dnsPort || s.ClientPort < server && server != dnsPort {
		turn(&s)
	}
	d.sight.Reset()
	asked := false
	if v.Has>>fieldName&1 != 0 {
		d.sight.Asked(v.Text(fieldName))
		asked = ofAddress(v.Text(fieldNameType))
	}
	if v.Has>>fieldQueries&1 != 0 {
		if !sighting.Each(v.Text(fieldQueries), func(query []byte) bool {
			ok := d.read(query)
			d.sight.Asked(d.entry.Text(entryName))
			asked = asked || ofAddress(d.entry.Text(entryType))
			return ok
		}) {
			return bad(ReasonField)
		}
	}
	if !asked {
		return skipped(ReasonNoAddress)
	}
	if !d.answers() {
		return bad(ReasonField)
	}
	switch names, addrs := d.sight.DNS(&s); {
	case addrs == 0:
		return skipped(ReasonNoAddress)
	case names == 0:
		return skipped(ReasonNoName)
	}
	return sighted
}

// ofAddress tells whether queries of the type are answered with addresses; see package zeek.
func ofAddress(kind []byte) bool {
	switch string(kind) {
	case "A", "AAAA", "HTTPS":
		return true
	}
	return false
}

// answers takes what the event has of answers, in all forms. It is false where one is broken.
func (d *Decoder) answers() bool {
	v := &d.scan.Values
	d.sight.Address(v.Text(fieldData))
	if v.Has>>fieldAnswers&1 != 0 {
		return sighting.Each(v.Text(fieldAnswers), func(answer []byte) bool {
			ok := d.read(answer)
			switch string(d.entry.Text(entryType)) {
			case "A", "AAAA":
				d.sight.Address(d.entry.Text(entryData))
			case "CNAME":
				d.sight.Asked(d.entry.Text(entryData))
			}
			return ok
		})
	}
	for f := fieldGroupedA; f <= fieldGroupedCNAME; f++ {
		take := d.sight.Address
		if f == fieldGroupedCNAME {
			take = d.sight.Asked
		}
		if v.Has>>f&1 != 0 && !d.sight.Texts(v.Text(f), take) {
			return false
		}
	}
	return true
}

// read reads a query or an answer.
func (d *Decoder) read(entry []byte) bool {
	return d.entry.Scan(entry) || d.entry.Read(entry) == jsonscan.Sound
}

// alert makes of an alert what its rule says.
func (d *Decoder) alert(rec *minecanary.Record) consumer.Outcome {
	v := &d.scan.Values
	if set(v.Wrong|v.Below|v.Above)&setOf(fieldSID, fieldGID) != 0 {
		return bad(ReasonField)
	}
	// Rules of the detection engine have generator 1, which is not always told.
	sid := d.count(fieldSID)
	if gid := d.count(fieldGID); gid > 1 || sid > math.MaxUint32 {
		return skipped(ReasonAlert)
	}
	if slices.Contains(d.meters, uint32(sid)) {
		return d.meter(rec)
	}
	s := minecanary.Sighting{Rule: uint32(sid)}
	rule, ours := passiveRule(sid)
	if ours {
		s.Kind, s.Protocol, s.ByServer = minecanary.SightedMining, rule.Protocol, rule.Server
	} else if s.Kind = minecanary.SightedRule; !d.ofMining() {
		return skipped(ReasonAlert)
	}
	out, ok := d.seen(&s, alertUses)
	if !ok {
		return out
	}
	appProto, _ := d.get(fieldAppProto)
	if s.Server.Transport != minecanary.TCP || string(appProto) == "dns" || s.ClientPort == dnsPort || s.Server.Port == dnsPort {
		// The other end is a resolver.
		return skipped(ReasonAlert)
	}
	fromServer := d.fromServer(s.Client, s.ClientPort)
	if ours && rule.Server && !fromServer && d.handshake() {
		return skipped(ReasonAlert) // who opened the connection is no pool: a visitor says what pools say
	}
	// A single packet can have any sender: only the far end of a flow with two sides shows what a server says.
	s.Unsure = s.ByServer && (!fromServer || !d.twoSided())
	if ours && rule.Server || !ours && fromServer {
		turn(&s)
	}
	d.text = jsonscan.Unescape(d.text[:0], content(v.Text(fieldSignature)))
	s.Text = d.sight.Word(d.text)
	d.sight.Reset()
	d.sight.Add(&s)
	return sighted
}

// handshake tells whether a rule of ours saw the opening of the flow, so that its source is the client.
func (d *Decoder) handshake() bool {
	return bytes.Contains(d.scan.Text(fieldFlowbits), []byte(handshakeMark))
}

// twoSided tells whether the flow of an alert has packets of both sides.
func (d *Decoder) twoSided() bool {
	v := &d.scan.Values
	both := setOf(fieldPacketsToServer, fieldPacketsToClient)
	return set(v.Has)&^set(v.Wrong|v.Below|v.Above)&both == both && v.Numbers[fieldPacketsToServer] > 0 && v.Numbers[fieldPacketsToClient] > 0
}

// fromServer tells whether the packet of an alert, whose source is given, came from the server.
func (d *Decoder) fromServer(src netip.Addr, port uint16) bool {
	v := &d.scan.Values
	if (set(v.Has)&^set(v.Wrong|v.Below|v.Above))&flowEnds == flowEnds {
		a, ok := jsonscan.Addr(v.Text(fieldFlowSrcIP))
		return ok && (a != src || v.Numbers[fieldFlowSrcPort] != uint64(port))
	}
	return d.toClient()
}

// content gives what stands between the quotes of a JSON text; nothing for other values.
func content(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	return value[1 : len(value)-1]
}

// category is what Suricata's classification.config calls classtype coin-mining.
const category = "Crypto Currency Mining Activity Detected"

// signatures are what the names of rules for mining begin with in the rule sets of Emerging Threats.
var signatures = [...][]byte{[]byte("ET COINMINER "), []byte("ETPRO COINMINER ")}

// ofMining tells whether the alert's rule is one for mining. What it looks at comes from the rule, not from the traffic.
func (d *Decoder) ofMining() bool {
	v := &d.scan.Values
	name := content(v.Text(fieldSignature))
	return string(v.Text(fieldCategory)) == category ||
		bytes.HasPrefix(name, signatures[0]) || bytes.HasPrefix(name, signatures[1]) ||
		bytes.Contains(v.Text(fieldMetadata), []byte(`"coin-mining"`))
}
