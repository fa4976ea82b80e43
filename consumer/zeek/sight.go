package zeek

import (
	"bytes"
	"math"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/jsonscan"
)

var (
	endFields   = setOf(fieldTS, fieldOrigHost, fieldOrigPort, fieldRespHost, fieldRespPort)
	endUses     = endFields | setOf(fieldUID, fieldSystemName)
	sslUses     = endUses | setOf(fieldServerName, fieldVersion)
	dnsUses     = endUses | setOf(fieldQuery, fieldQueryType, fieldQueryTypeName, fieldRejected)
	miningUses  = endUses | setOf(fieldProtocol, fieldSeen, fieldTurned, fieldMethod, fieldLogin, fieldWorker)
	miningTells = setOf(fieldProtocol, fieldSeen)
)

var sighted = consumer.Outcome{Kind: consumer.Sighted}

// ends judges what all sightings have in common and fills it in: the originator as client, the responder as server.
func (r *row) ends(s *minecanary.Sighting, uses set) (consumer.Outcome, bool) {
	if !set(r.Has).hasAll(endFields) || set(r.Wrong)&uses != 0 {
		return bad(ReasonField), false
	}
	orig, ok1 := jsonscan.Addr(r.Text(fieldOrigHost))
	resp, ok2 := jsonscan.Addr(r.Text(fieldRespHost))
	switch {
	case !ok1 || !ok2:
		return bad(ReasonAddress), false
	case set(r.Below|r.Above)&uses != 0,
		r.Numbers[fieldTS] >= jsonscan.MaxMicros,
		r.Numbers[fieldOrigPort] > math.MaxUint16,
		r.Numbers[fieldRespPort] > math.MaxUint16:
		return bad(ReasonRange), false
	}
	s.Time = int64(r.Numbers[fieldTS])
	s.Client, s.ClientPort = orig, uint16(r.Numbers[fieldOrigPort])
	s.Server = minecanary.Endpoint{Addr: resp, Port: uint16(r.Numbers[fieldRespPort]), Transport: minecanary.TCP}
	s.UID = minecanary.NewUID(r.Text(fieldUID))
	if r.has(fieldSystemName) {
		s.Sensor = r.names.Intern(r.Text(fieldSystemName))
	}
	return consumer.Outcome{}, true
}

// mining makes the sighting of a line of mining.log.
func (r *row) mining() consumer.Outcome {
	if set(r.Has)&miningTells == 0 {
		return skipped(ReasonMining)
	}
	s := minecanary.Sighting{Kind: minecanary.SightedMining}
	if out, ok := r.ends(&s, miningUses); !ok {
		return out
	}
	switch string(r.Text(fieldSeen)) {
	case "client":
	case "server", "both":
		s.ByServer = true
	default:
		return bad(ReasonField)
	}
	if r.has(fieldTurned) && r.Numbers[fieldTurned] != 0 {
		// Nobody saw who opened the connection, and nothing of the client.
		s.Unsure = string(r.Text(fieldSeen)) == "server"
		s.Client, s.Server.Addr = s.Server.Addr, s.Client
		s.ClientPort, s.Server.Port = s.Server.Port, s.ClientPort
	}
	s.Protocol, s.Method = r.sight.Word(r.Text(fieldProtocol)), r.sight.Word(r.Text(fieldMethod))
	// An agent that is no text is a shipper's (Filebeat).
	s.Agent = r.sight.Text(r.Text(fieldAgent))
	login, worker := r.Text(fieldLogin), r.Text(fieldWorker)
	if len(worker) > 0 && !bytes.HasSuffix(login, worker) {
		login = append(append(bytes.Clone(login), '.'), worker...) // as miners write both
	}
	s.Login = r.sight.Text(login)
	r.sight.Reset()
	r.sight.Add(&s)
	return sighted
}

// ssl makes the sighting of a line of ssl.log.
func (r *row) ssl() consumer.Outcome {
	if !r.has(fieldServerName) {
		return skipped(ReasonNoName)
	}
	s := minecanary.Sighting{Kind: minecanary.SightedTLS}
	if out, ok := r.ends(&s, sslUses); !ok {
		return out
	}
	if s.Name = r.sight.Name(r.Text(fieldServerName)); s.Name == "" {
		return skipped(ReasonNoName)
	}
	if bytes.HasPrefix(r.Text(fieldVersion), []byte("DTLS")) {
		s.Server.Transport = minecanary.UDP
	}
	r.sight.Reset()
	r.sight.Add(&s)
	return sighted
}

// dns makes the sightings of a line of dns.log.
func (r *row) dns() consumer.Outcome {
	switch {
	case set(r.Wrong)&dnsUses != 0:
		return bad(ReasonField)
	case r.has(fieldRejected) && r.Numbers[fieldRejected] != 0:
		return skipped(ReasonRejected)
	case !r.has(fieldAnswers) || !r.asksAddress():
		return skipped(ReasonNoAddress)
	}
	s := minecanary.Sighting{Kind: minecanary.SightedDNS}
	if out, ok := r.ends(&s, dnsUses); !ok {
		return out
	}
	r.sight.Reset()
	r.sight.Asked(r.Text(fieldQuery))
	if !r.answers() {
		return bad(ReasonField)
	}
	switch names, addrs := r.sight.DNS(&s); {
	case addrs == 0:
		return skipped(ReasonNoAddress)
	case names == 0:
		return skipped(ReasonNoName)
	}
	return sighted
}

// The types of queries that are answered with addresses: RFC 1035 section 3.2.2, RFC 3596 section 2.1, RFC 9460 section
// 14.1 (its answers are CNAMEs and what servers add).
const (
	typeA     = 1
	typeAAAA  = 28
	typeHTTPS = 65
)

// asksAddress tells whether the query is of a type that is answered with addresses.
func (r *row) asksAddress() bool {
	if r.has(fieldQueryType) {
		n := r.Numbers[fieldQueryType]
		return n == typeA || n == typeAAAA || n == typeHTTPS
	}
	switch string(r.Text(fieldQueryTypeName)) {
	case "A", "AAAA", "HTTPS":
		return true
	}
	return false
}

// answers takes the answers. It is false if they are no list of texts.
func (r *row) answers() bool {
	list := r.Text(fieldAnswers)
	if r.comma == 0 {
		return r.sight.Texts(list, r.sight.Answer)
	}
	for len(list) > 0 {
		answer := list
		if i := bytes.IndexByte(list, r.comma); i >= 0 {
			answer, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		r.sight.Answer(answer)
	}
	return true
}
