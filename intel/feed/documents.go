package feed

import (
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

// maxConfidence is the greatest Entry.Confidence.
const maxConfidence = 100

// appendDated adds a time between two strings, or nothing at all if there is none.
func appendDated(b []byte, t time.Time, before, after string) []byte {
	at, ok := dated(t)
	if !ok {
		return b
	}
	b = append(b, before...)
	b = appendTime(b, at)
	return append(b, after...)
}

// jsonRow is what one entry takes in JSON, stixRow in STIX, mispRow in MISP, for the first guess of a file's size.
const (
	jsonRow = 270
	stixRow = 780
	mispRow = 370
)

// json gives one document, an entry to a line. What is not known of an entry is left out; it has an address or a name.
func (s *set) json() []byte {
	b := s.room(200, jsonRow, 1)
	b = append(b, `{"version":1,"source":"`+Source+`","at":"`...)
	b = appendTime(b, s.opts.At)
	b = append(b, `","entries":[`...)
	b = rows(b, s.all(), func(b []byte, i int, e *Entry) []byte { return appendObject(appendSep(b, i), e) })
	return append(b, "\n]}\n"...)
}

// appendSep adds what comes before item i of a list, each on a line of its own.
func appendSep(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(b, '\n')
}

// appendObject adds the object of an entry.
func appendObject(b []byte, e *Entry) []byte {
	if e.Name == "" {
		b = append(b, `{"address":"`...)
		b = e.Endpoint.Addr.AppendTo(b)
	} else {
		b = append(b, `{"name":"`...)
		b = append(b, e.Name...)
	}
	b = append(b, `","port":`...)
	b = strconv.AppendUint(b, uint64(e.Endpoint.Port), 10)
	b = append(b, `,"transport":"`...)
	b = append(b, e.Endpoint.Transport.String()...)
	b = append(b, `","tls":`...)
	b = strconv.AppendBool(b, e.TLS)
	b = appendMember(b, "coin", e.Coin)
	b = appendMember(b, "dialect", e.Dialect)
	b = appendDated(b, e.First, `,"first":"`, `"`)
	b = appendDated(b, e.Verified, `,"verified":"`, `"`)
	b = appendDated(b, e.Expires, `,"expires":"`, `"`)
	if e.Confidence > 0 {
		b = append(b, `,"confidence":`...)
		b = strconv.AppendInt(b, int64(min(e.Confidence, maxConfidence)), 10)
	}
	if e.Hosts >= 0 {
		b = append(b, `,"hosts":`...)
		b = strconv.AppendInt(b, int64(e.Hosts), 10)
	}
	b = appendMember(b, "url", wholeURL(e.URL))
	b = appendMember(b, "reason", e.Reason)
	return append(b, '}')
}

// appendMember adds a member with a text, if there is one.
func appendMember(b []byte, key, text string) []byte {
	start := len(b)
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, `":"`...)
	empty := len(b)
	if b = appendJSON(b, text); len(b) == empty {
		return b[:start]
	}
	return append(b, '"')
}

// appendAfter adds a text within quotes behind other bytes, or nothing at all if it is empty.
func appendAfter(b []byte, before, text string) []byte {
	start := len(b)
	b = append(b, before...)
	if b = appendJSON(b, text); len(b) == start+len(before) {
		return b[:start]
	}
	return b
}

// tlpAmber is the marking that STIX 2.1 defines for TLP:AMBER (section 7.2.1.4), with the definition it has there.
const (
	tlpAmber       = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
	tlpAmberObject = `{"type":"marking-definition","spec_version":"2.1","id":"` + tlpAmber +
		`","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","name":"TLP:AMBER","definition":{"tlp":"amber"}}`
	// stixIdentity is version 5 of "stix identity" in our name space. It is the same in every bundle, and so is the time at
	// which it was made.
	stixIdentity = "identity--f508e767-9832-50db-b33d-4e36acfd6650"
	stixEpoch    = "2026-01-01T00:00:00Z"
)

// stix gives a bundle: who we are, the marking, and an indicator for each endpoint and name. An indicator keeps its id as
// long as its endpoint or name, so what a reader has of it is updated.
func (s *set) stix() []byte {
	b := s.room(1024, stixRow, 1)
	b = append(b, `{"type":"bundle","id":"bundle--`...)
	b = appendUUID(b, appendTime([]byte("stix bundle "), s.opts.At))
	b = append(b, `","objects":[`+"\n"...)
	b = append(b, `{"type":"identity","spec_version":"2.1","id":"`+stixIdentity+`","created":"`+stixEpoch+`","modified":"`+stixEpoch+
		`","name":"Minecanary","identity_class":"system"},`+"\n"+tlpAmberObject...)
	b = rows(b, s.indicators(), func(b []byte, _ int, e *Entry) []byte { return s.appendIndicator(b, e) })
	return append(b, "\n]}\n"...)
}

// appendIndicator adds the indicator of an endpoint, or of a name whatever the ports.
func (s *set) appendIndicator(b []byte, e *Entry) []byte {
	created, modified := s.times(e)
	b = append(b, ",\n"+`{"type":"indicator","spec_version":"2.1","id":"indicator--`...)
	var room [keySize]byte
	key := appendKey(room[:0], e)
	b = appendUUID(b, key)
	b = append(b, `","created_by_ref":"`+stixIdentity+`","created":"`...)
	start := len(b)
	b = appendTime(b, created)
	end := len(b)
	b = append(b, `","modified":"`...)
	b = appendTime(b, modified)
	b = append(b, `","name":"Mining pool `...)
	b = append(b, key...)
	b = appendAfter(b, `","description":"`, e.Reason)
	b = append(b, `","indicator_types":["anomalous-activity"],"pattern_type":"stix","pattern":"`...)
	b = appendPattern(b, e)
	b = append(b, `","valid_from":"`...)
	b = append(b, b[start:end]...)
	if until, ok := dated(e.Expires); ok && until.Unix() > created.Unix() {
		b = append(b, `","valid_until":"`...)
		b = appendTime(b, until)
	}
	b = append(b, `","labels":["coin:`...)
	b = append(b, token(e.Coin)...)
	b = append(b, `","dialect:`...)
	b = append(b, token(e.Dialect)...)
	b = append(b, `"]`...)
	if e.Confidence > 0 {
		b = append(b, `,"confidence":`...)
		b = strconv.AppendInt(b, int64(min(e.Confidence, maxConfidence)), 10)
	}
	if url := wholeURL(e.URL); url != "" {
		b = append(b, `,"external_references":[{"source_name":"`+Source+`","url":"`...)
		b = append(b, url...)
		b = append(b, `"}]`...)
	}
	return append(b, `,"object_marking_refs":["`+tlpAmber+`"]}`...)
}

// times gives since when an entry is known and when it was proved last, never before that.
func (s *set) times(e *Entry) (created, modified time.Time) {
	modified, ok := dated(e.Verified)
	if !ok {
		modified = s.opts.At
	}
	created, ok = dated(e.First)
	if !ok || created.After(modified) {
		created = modified
	}
	return created, modified
}

// keySize has room for the longest key and more.
const keySize = 300

// appendKey adds what an indicator is known by: 1.2.3.4:3333/tcp, or a name.
func appendKey(b []byte, e *Entry) []byte {
	if e.Name != "" {
		return append(b, e.Name...)
	}
	b = appendHostPort(b, e.Endpoint.Addr, e.Endpoint.Port)
	b = append(b, '/')
	return append(b, e.Endpoint.Transport.String()...)
}

// appendPattern adds a STIX pattern: the address, for readers that know nothing else, and traffic to address and port.
func appendPattern(b []byte, e *Entry) []byte {
	if e.Name != "" {
		b = append(b, "[domain-name:value = '"...)
		b = append(b, e.Name...)
		return append(b, "']"...)
	}
	kind := "[ipv6-addr:value = '"
	if e.Endpoint.Addr.Is4() {
		kind = "[ipv4-addr:value = '"
	}
	b = append(b, kind...)
	start := len(b)
	b = e.Endpoint.Addr.AppendTo(b)
	end := len(b)
	b = append(b, "'] AND [network-traffic:dst_ref.value = '"...)
	b = append(b, b[start:end]...)
	b = append(b, "' AND network-traffic:dst_port = "...)
	b = strconv.AppendUint(b, uint64(e.Endpoint.Port), 10)
	return append(b, ']')
}

// The UUIDs of MISP: version 5 of "misp event" and "misp organisation" in our name space.
const (
	mispEvent = "63ab4f82-c59b-5823-af4f-1a2d5a60ee62"
	mispOrg   = "c97e6158-0d50-5017-86d8-461bd81f8a0b"
	mispInfo  = "Minecanary: proven mining pools"
	mispTags  = `[{"name":"tlp:amber","colour":"#ffc000"}]`
)

// misp gives the event, the hashes and the manifest.
func (s *set) misp() [][]byte {
	at := strconv.AppendInt(nil, s.opts.At.Unix(), 10)
	date := appendTime(nil, s.opts.At)[:len("2006-01-02")]
	head := `"info":"` + mispInfo + `","date":"` + string(date) + `","threat_level_id":"3","analysis":"2","timestamp":"` + string(at) +
		`","Orgc":{"name":"Minecanary","uuid":"` + mispOrg + `"},"Tag":` + mispTags

	hashes := make(chan []byte, 1)
	go func() { hashes <- s.mispHashes() }()
	event := s.room(1024, mispRow, 1)
	event = append(event, `{"Event":{"uuid":"`+mispEvent+`","published":true,"publish_timestamp":"`...)
	event = append(event, at...)
	event = append(event, `",`+head+`,"Attribute":[`...)
	event = rows(event, s.indicators(), func(b []byte, i int, e *Entry) []byte { return s.appendAttribute(appendSep(b, i), e) })
	event = append(event, "\n]}}\n"...)

	manifest := []byte(`{"` + mispEvent + `":{` + head + "}}\n")
	return [][]byte{event, <-hashes, manifest}
}

// mispHashes gives the hash of each address and name. That of a port alone would find every other attribute with that
// port.
func (s *set) mispHashes() []byte {
	b := make([]byte, 0, 70*(len(s.addrs)+len(s.names)))
	var room []byte
	hash := func() {
		sum := md5.Sum(room)
		b = hex.AppendEncode(b, sum[:])
		b = append(b, ","+mispEvent+"\n"...)
	}
	for entries := range s.byAddr() {
		room = entries[0].Endpoint.Addr.AppendTo(room[:0])
		hash()
	}
	for entries := range s.byName() {
		room = append(room[:0], entries[0].Name...)
		hash()
	}
	return b
}

// appendAttribute adds the attribute of an endpoint, or of a name whatever the ports.
func (s *set) appendAttribute(b []byte, e *Entry) []byte {
	if e.Name == "" {
		b = append(b, `{"type":"ip-dst|port","value":"`...)
		b = e.Endpoint.Addr.AppendTo(b)
		b = append(b, '|')
		b = strconv.AppendUint(b, uint64(e.Endpoint.Port), 10)
	} else {
		b = append(b, `{"type":"domain","value":"`...)
		b = append(b, e.Name...)
	}
	var room [keySize]byte
	b = append(b, `","uuid":"`...)
	b = appendUUID(b, appendKey(append(room[:0], "misp "...), e))
	b = append(b, `","category":"Network activity","to_ids":true,"disable_correlation":false,"timestamp":"`...)
	created, modified := s.times(e)
	b = strconv.AppendInt(b, modified.Unix(), 10)
	b = append(b, `","first_seen":"`...)
	b = appendTime(b, created)
	b = append(b, `","last_seen":"`...)
	b = appendTime(b, modified)
	b = append(b, `","comment":"`...)
	b = append(b, token(e.Coin)...)
	b = append(b, ' ')
	b = append(b, token(e.Dialect)...)
	b = appendAfter(b, ": ", e.Reason)
	return append(b, `"}`...)
}

const (
	// rpzTTL is how many seconds an answer made by the zone may be kept.
	rpzTTL = 60
	// maxRPZName leaves room for the zone's own name behind a trigger.
	maxRPZName = 190
	// rpzRow is what one trigger takes, for the first guess of the zone's size.
	rpzRow = 50
)

// rpz gives a zone whose triggers answer that the name does not exist: names, and addresses in answers. The owner names
// are relative to the zone, whose name the server's configuration has. Names beyond maxRPZName are left out.
func (s *set) rpz() []byte {
	b := make([]byte, 0, 512+rpzRow*(len(s.addrs)+len(s.names)))
	b = append(b, "; Minecanary: proven mining pools. Generated; docs/feeds.md says how to load it.\n$TTL "...)
	b = strconv.AppendInt(b, rpzTTL, 10)
	b = append(b, "\n@ SOA localhost. hostmaster.localhost. "...)
	// A serial counts in 32 bits and around (RFC 1982).
	b = strconv.AppendUint(b, uint64(uint32(s.opts.At.Unix())), 10)
	b = append(b, " 60 60 86400 60\n@ NS localhost.\n"...)
	for entries := range s.byName() {
		if name := entries[0].Name; len(name) <= maxRPZName {
			b = append(b, name...)
			b = append(b, " CNAME .\n"...)
		}
	}
	for entries := range s.byAddr() {
		if a := entries[0].Endpoint.Addr; a.Is4() {
			b = append(b, "32."...)
			four := a.As4()
			for _, octet := range slices.Backward(four[:]) {
				b = strconv.AppendUint(b, uint64(octet), 10)
				b = append(b, '.')
			}
		} else {
			b = append(b, "128."...)
			b = appendWords(b, a.As16())
		}
		b = append(b, "rpz-ip CNAME .\n"...)
	}
	return b
}

// appendWords adds the words of an IPv6 address from the last to the first, each with a dot, zz for the longest run of
// zeros (of equals the first in the address, and two at least), as RPZ wants it.
func appendWords(b []byte, a [16]byte) []byte {
	var words [8]uint16
	for i := range words {
		words[i] = uint16(a[2*i])<<8 | uint16(a[2*i+1])
	}
	from, length := 0, 1
	for i := 0; i < len(words); i++ {
		n := 0
		for i+n < len(words) && words[i+n] == 0 {
			n++
		}
		if n > length {
			from, length = i, n
		}
		i += n
	}
	for i := len(words) - 1; i >= 0; i-- {
		if length > 1 && i == from+length-1 {
			b = append(b, "zz."...)
			i = from
			continue
		}
		b = strconv.AppendUint(b, uint64(words[i]), 16)
		b = append(b, '.')
	}
	return b
}
