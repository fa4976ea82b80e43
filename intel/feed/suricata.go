package feed

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"

	"github.com/minecanary/minecanary"
)

// The sids of Suricata's rules. The default range lies above those of the public rule sets.
const (
	DefaultSIDBase  = 9_100_000
	DefaultSIDCount = 1_000_000
	// MaxSIDCount is the greatest Options.SIDCount; it bounds the table of sids to 16 MiB.
	MaxSIDCount = 1 << 22
	// FixedSIDs is how many sids at the start of the range belong to the rules of lists.
	FixedSIDs = 100
)

// The fixed sids, counted from SIDBase. They never change their meaning.
const (
	sidDataset = iota
	sidDatasetDNS
	sidDatasetTLS
	sidJSON
	sidJSONDNS
	sidJSONTLS
	sidIPRep
)

const (
	// ruleRev is the rev of every rule: the form of the rules, to be raised when that changes. What a rule says of its
	// endpoint may change without it.
	ruleRev = "1"

	// ruleTail ends the options before metadata and sid. One alert a client, rule and hour.
	ruleTail = " threshold:type limit,track by_src,count 1,seconds 3600; classtype:coin-mining;" +
		" metadata:mitre_tactic_id TA0040, mitre_technique_id T1496"

	// listTail is ruleTail for a rule that speaks for many endpoints: one alert a client, server and hour.
	listTail = " threshold:type limit,track by_both,count 1,seconds 3600; classtype:coin-mining;" +
		" metadata:mitre_tactic_id TA0040, mitre_technique_id T1496;"

	// setHash is the number of buckets of a dataset: 65536 is the most that Suricata 8 allows by default.
	setHash = "hashsize 65536"

	// category is the name of the reputation's category, categoryID its number (1 to 59 are free to use).
	category   = "MinecanaryPool"
	categoryID = 1
	// maxScore is the greatest reputation (Suricata's IP reputation format).
	maxScore = 127
)

// What one entry takes, for the first guess of a file's size.
const (
	ruleLine   = 350
	listLine   = 40
	jsonlnLine = 130
)

const rulesComment = "# Minecanary: proven mining pools. Generated; docs/feeds.md says how to load it.\n"

// rules gives one rule for each endpoint and two for each name. No rule has a flow keyword: Suricata takes the sender of
// the first packet for the client, and of a connection that runs already that may be the pool.
func (s *set) rules() ([]byte, error) {
	sids, err := s.sids()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(rulesComment)+ruleLine*len(sids))
	b = append(b, rulesComment...)
	for i, e := range s.addrs {
		b = append(b, "alert "...)
		b = append(b, e.Endpoint.Transport.String()...)
		b = append(b, " $HOME_NET any -> ["...)
		b = e.Endpoint.Addr.AppendTo(b)
		b = append(b, "] "...)
		b = strconv.AppendUint(b, uint64(e.Endpoint.Port), 10)
		b = append(b, ` (msg:"MINECANARY mining pool `...)
		b = e.Endpoint.Addr.AppendTo(b)
		b = append(b, " port "...)
		b = strconv.AppendUint(b, uint64(e.Endpoint.Port), 10)
		b = appendRule(b, e, "", sids[i])
	}
	n := len(s.addrs)
	for entries := range s.byName() {
		e := newest(entries)
		b = append(b, `alert dns $HOME_NET any -> any any (msg:"MINECANARY mining pool in DNS query `...)
		b = append(b, e.Name...)
		b = appendRule(b, e, " dns.query;", sids[n])
		b = append(b, `alert tls $HOME_NET any -> any any (msg:"MINECANARY mining pool in TLS SNI `...)
		b = append(b, e.Name...)
		b = appendRule(b, e, " tls.sni;", sids[n+1])
		n += 2
	}
	return b, nil
}

// appendRule ends a rule whose msg is open.
func appendRule(b []byte, e *Entry, buffer string, sid uint32) []byte {
	b = append(b, " ("...)
	b = append(b, token(e.Coin)...)
	b = append(b, `)";`...)
	if buffer != "" {
		// bsize makes the content the whole of the buffer.
		b = append(b, buffer...)
		b = append(b, ` content:"`...)
		b = append(b, e.Name...)
		b = append(b, `"; nocase; bsize:`...)
		b = strconv.AppendInt(b, int64(len(e.Name)), 10)
		b = append(b, ';')
	}
	b = append(b, ruleTail...)
	b = append(b, ", coin "...)
	b = append(b, token(e.Coin)...)
	b = append(b, ", dialect "...)
	b = append(b, token(e.Dialect)...)
	if at, ok := dated(e.Verified); ok {
		b = append(b, ", verified "...)
		b = appendTime(b, at)[:len(b)+len("2006-01-02")]
	}
	b = append(b, "; sid:"...)
	b = strconv.AppendUint(b, uint64(sid), 10)
	return append(b, "; rev:"+ruleRev+";)\n"...)
}

// newest gives the entry that was verified last.
func newest(entries []*Entry) *Entry {
	n := entries[0]
	for _, e := range entries[1:] {
		if e.Verified.After(n.Verified) {
			n = e
		}
	}
	return n
}

// sids gives each rule its sid: first those of the endpoints, then two for each name.
//
// A sid is the first free one in a sequence that depends on the endpoint or name alone. If two want the same one the entry
// that is known longer keeps it (Entry.First, then the order of hashes), so a newcomer moves nobody, and one that leaves
// moves only those that had to give way to it. The result does not depend on the order of the entries.
func (s *set) sids() ([]uint32, error) {
	type want struct {
		hash  uint64
		first int64
		next  uint32
	}
	base, count := s.opts.SIDBase, s.opts.SIDCount
	if count > MaxSIDCount || count <= FixedSIDs || base > math.MaxUint32-count {
		return nil, fmt.Errorf("sids from %d on, %d of them: want more than %d, at most %d, and none beyond %d",
			base, count, FixedSIDs, MaxSIDCount, uint32(math.MaxUint32))
	}
	wants := make([]want, 0, len(s.addrs)+2*len(s.names))
	for _, e := range s.addrs {
		wants = append(wants, want{hash: hashEndpoint(e.Endpoint), first: first(e)})
	}
	for entries := range s.byName() {
		since := first(entries[0])
		for _, e := range entries {
			since = min(since, first(e))
		}
		wants = append(wants, want{hash: hashName("dns", entries[0].Name), first: since}, want{hash: hashName("tls", entries[0].Name), first: since})
	}
	room := count - FixedSIDs
	// Beyond that probing for a free sid takes long.
	if uint64(len(wants))*10 > uint64(room)*9 {
		return nil, fmt.Errorf("%d rules are too many for %d sids", len(wants), count)
	}
	// owner has the rule of each sid, counted from 1. Whoever is known longer takes the place, the other looks on.
	owner := make([]uint32, room)
	for i := range wants {
		for who := uint32(i); ; {
			w := &wants[who]
			at := slot(w.hash, w.next, room)
			w.next++
			held := owner[at]
			if held == 0 {
				owner[at] = who + 1
				break
			}
			h := &wants[held-1]
			if w.first < h.first || w.first == h.first && (w.hash < h.hash || w.hash == h.hash && who < held-1) {
				owner[at] = who + 1
				who = held - 1
			}
		}
	}
	out := make([]uint32, len(wants))
	for at, who := range owner {
		if who > 0 {
			out[who-1] = base + FixedSIDs + uint32(at)
		}
	}
	return out, nil
}

// first gives the second from which on the entry is known.
func first(e *Entry) int64 {
	if e.First.IsZero() {
		return e.Verified.Unix()
	}
	return e.First.Unix()
}

// slot gives the n-th place that a hash would like to have: every one of them is as likely as any other.
func slot(hash uint64, n, room uint32) uint32 {
	hi, _ := bits.Mul64(mix(hash+uint64(n)*0x9e3779b97f4a7c15), uint64(room))
	return uint32(hi)
}

// mix spreads the bits of a number (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hashEndpoint(e minecanary.Endpoint) uint64 {
	a := e.Addr.As16()
	x := mix(binary.BigEndian.Uint64(a[:8]))
	x = mix(x ^ binary.BigEndian.Uint64(a[8:]))
	return mix(x ^ uint64(e.Transport)<<16 ^ uint64(e.Port))
}

func hashName(what, name string) uint64 {
	x := uint64(14695981039346656037) // FNV-1a
	for _, s := range [...]string{what, "|", name} {
		for i := range len(s) {
			x = (x ^ uint64(s[i])) * 1099511628211
		}
	}
	return mix(x)
}

// dataset gives the list of addresses, the list of names in base64 as a dataset of strings has it, and the rules.
func (s *set) dataset() [][]byte {
	addrs := s.addressList()
	names := make([]byte, 0, listLine*len(s.names))
	for entries := range s.byName() {
		names = base64.StdEncoding.AppendEncode(names, []byte(entries[0].Name))
		names = append(names, '\n')
	}
	rules := []byte(rulesComment)
	rules = s.appendSetRule(rules, "ip", "", "ip.dst;", "minecanary-addresses", "type ip,load dataset-addresses.lst,"+setHash, sidDataset)
	rules = s.appendSetRule(rules, "dns", " in DNS query", "dns.query; to_lowercase;", "minecanary-names", "type string,load dataset-names.lst,"+setHash, sidDatasetDNS)
	rules = s.appendSetRule(rules, "tls", " in TLS SNI", "tls.sni; to_lowercase;", "minecanary-names", "type string,load dataset-names.lst,"+setHash, sidDatasetTLS)
	return [][]byte{addrs, names, rules}
}

// datasetJSON gives the same with a JSON object for each line, which the alert repeats as context. A set without a line is
// an error there, so then there is no rule either.
func (s *set) datasetJSON() [][]byte {
	addrs := make([]byte, 0, jsonlnLine*len(s.addrs))
	for entries := range s.byAddr() {
		addrs = append(addrs, `{"ip":"`...)
		addrs = entries[0].Endpoint.Addr.AppendTo(addrs)
		addrs = appendContext(addrs, entries)
	}
	names := make([]byte, 0, jsonlnLine*len(s.names))
	for entries := range s.byName() {
		names = append(names, `{"name":"`...)
		names = append(names, entries[0].Name...)
		names = appendContext(names, entries)
	}
	const addrSet = "type ip,load dataset-json-addresses.ndjson,format ndjson,context_key pool,value_key ip," + setHash
	const nameSet = "type string,load dataset-json-names.ndjson,format ndjson,context_key pool,value_key name," + setHash
	rules := []byte(rulesComment)
	if len(addrs) > 0 {
		rules = s.appendSetRule(rules, "ip", "", "ip.dst;", "minecanary-json-addresses", addrSet, sidJSON)
	}
	if len(names) > 0 {
		rules = s.appendSetRule(rules, "dns", " in DNS query", "dns.query; to_lowercase;", "minecanary-json-names", nameSet, sidJSONDNS)
		rules = s.appendSetRule(rules, "tls", " in TLS SNI", "tls.sni; to_lowercase;", "minecanary-json-names", nameSet, sidJSONTLS)
	}
	return [][]byte{addrs, names, rules}
}

// appendContext ends an object that has its key: coin, dialect and time of the last proof, and the ports.
func appendContext(b []byte, entries []*Entry) []byte {
	e := newest(entries)
	b = append(b, `","coin":"`...)
	b = append(b, token(e.Coin)...)
	b = append(b, `","dialect":"`...)
	b = append(b, token(e.Dialect)...)
	b = append(b, '"')
	if at, ok := dated(e.Verified); ok {
		b = append(b, `,"verified":"`...)
		b = appendTime(b, at)
		b = append(b, '"')
	}
	b = append(b, `,"ports":[`...)
	last, n := uint16(0), 0
	for _, e := range entries {
		if n < MaxPorts && e.Endpoint.Port != last {
			if n > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(e.Endpoint.Port), 10)
			last = e.Endpoint.Port
			n++
		}
	}
	return append(b, "]}\n"...)
}

// appendSetRule adds a rule that looks a buffer up in a dataset.
func (s *set) appendSetRule(b []byte, protocol, where, buffer, name, options string, sid uint32) []byte {
	b = append(b, "alert "+protocol+` $HOME_NET any -> any any (msg:"MINECANARY mining pool`+where+`"; `+buffer...)
	b = append(b, " dataset:isset,"+name+","+options+";"...)
	return s.appendFixed(append(b, listTail...), sid)
}

// appendFixed ends a rule of the fixed sids.
func (s *set) appendFixed(b []byte, sid uint32) []byte {
	b = append(b, " sid:"...)
	b = strconv.AppendUint(b, uint64(s.opts.SIDBase+sid), 10)
	return append(b, "; rev:"+ruleRev+";)\n"...)
}

// iprep gives the categories, the addresses with their score, and the rule.
func (s *set) iprep() [][]byte {
	categories := strconv.AppendInt(nil, categoryID, 10)
	categories = append(categories, ","+category+",Proven mining pool\n"...)
	list := make([]byte, 0, listLine*len(s.addrs))
	for entries := range s.byAddr() {
		score := 1
		for _, e := range entries {
			score = max(score, min(e.Confidence, maxScore))
		}
		list = entries[0].Endpoint.Addr.AppendTo(list)
		list = append(list, ',')
		list = strconv.AppendInt(list, categoryID, 10)
		list = append(list, ',')
		list = strconv.AppendInt(list, int64(score), 10)
		list = append(list, '\n')
	}
	rules := append([]byte(rulesComment), `alert ip $HOME_NET any -> any any (msg:"MINECANARY mining pool by reputation"; iprep:dst,`+category+`,>,0;`...)
	rules = s.appendFixed(append(rules, listTail...), sidIPRep)
	return [][]byte{categories, list, rules}
}
