package minecanary

import "net/netip"

// SightingKind says what sort of thing a sensor saw.
type SightingKind uint8

// The kinds of sightings.
const (
	// SightedMining: a mining protocol in the payload (mining.log of our Zeek package, alerts of our Suricata rules).
	SightedMining SightingKind = iota
	// SightedTLS: the server name a client asked for in a TLS handshake (ssl.log, EVE tls).
	SightedTLS
	// SightedDNS: an address that a query was answered with (dns.log, EVE dns).
	SightedDNS
	// SightedRule: an alert of somebody's rule for coin mining (EVE alert).
	SightedRule
)

// The bounds of a sighting's texts, in bytes. Decoders cut there, and leave nothing but printable ASCII.
const (
	// MaxName is the length of a name (RFC 1035 section 2.3.4, without the dot at the end).
	MaxName = 253
	// MaxSightingText is that of all other texts.
	MaxSightingText = 256
)

// Sighting is what a sensor saw of a client and a server beside traffic. It counts nothing: seen twice it says the same.
// A client can make a sensor see whatever it likes, so that no sighting proves what a server is. It holds no reference to
// the input buffer.
type Sighting struct {
	Kind SightingKind
	// Time is when, Unix microseconds, 0 ≤ Time < 2^32 seconds.
	Time int64
	// Client is who mined, said hello or asked; for SightedDNS that may be a resolver on behalf of others.
	Client netip.Addr
	// ClientPort is its port; 0 if it is not known, and for SightedDNS.
	ClientPort uint16
	// Server is the other end. For SightedDNS it is the address in the answer, with port 0.
	Server Endpoint
	// Name is the server name or the name that was asked for, in lower case without the dot at the end; for SightedDNS
	// also each name on the way of CNAMEs, as a sighting of its own. "" for SightedMining and SightedRule.
	Name string

	// Protocol is what mining.log calls it: stratum-v1, monero, ethproxy, getwork, eth-getwork; zcash, ethereum-stratum, grin,
	// beam, getblocktemplate by Suricata's rules alone; "" if unknown.
	Protocol string
	// ByServer tells that a line of the server gave the protocol away, not (only) the client's.
	ByServer bool
	// Unsure tells that nothing shows that it was the server who said it: a single packet with any sender would look the
	// same. The records of the connection may show it.
	Unsure bool
	// Method, Agent and Login as far as they were seen; Login is a wallet, or an account at the pool.
	Method, Agent, Login string

	// Rule is the number of the rule that gave the alert (Suricata's sid), Text what it says of itself.
	Rule uint32
	Text string

	// UID and Sensor as in Record.
	UID    UID
	Sensor string
}
