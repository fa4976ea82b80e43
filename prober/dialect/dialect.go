// Package dialect knows the mining protocols that are spoken in lines: what is said to a server, and what its answer
// proves. It does no I/O.
//
// The law: an answer is judged by its structure, never by the question and never by words inside a string. A Reader
// shows every message to every dialect, so that a server which answers anything with its own protocol is found by the
// first question. Only structure that nobody but a pool sends is Proof; only a protocol answer that cannot come from a
// pool is Negative.
package dialect

import (
	"strings"

	minecanary "github.com/minecanary/minecanary"
)

// The names of the dialects, as they stand in verdicts.
const (
	StratumV1       = "stratum-v1"
	CryptoNote      = "cryptonote"
	Ethproxy        = "ethproxy"
	Zcash           = "zcash"
	EthereumStratum = "ethereum-stratum" // only recognised: its answer to mining.subscribe has a shape of its own
	Kaspa           = "kaspa"            // only recognised, like EthereumStratum
)

// Level grades what a connection said; a higher level outweighs a lower one.
type Level uint8

// The levels, in the order of their weight.
const (
	// Nothing: no byte came.
	Nothing Level = iota
	// Noise: bytes came that fit nothing, or our own words came back.
	Noise
	// Foreign: a JSON-RPC 2.0 standard error. It tells for not-pool only if nothing else was ever answered, because
	// a pool that follows JSON-RPC would answer the words of another dialect so.
	Foreign
	// Weak: what a pool may say, and anything else too.
	Weak
	// Negative: a protocol that no pool speaks.
	Negative
	// Strong: what only the software of pools is known to say, but without a job or subscription.
	Strong
	// Proof: a job or a subscription of the dialect.
	Proof
)

// String gives the lower-case name.
func (l Level) String() string {
	switch l {
	case Nothing:
		return "nothing"
	case Noise:
		return "noise"
	case Foreign:
		return "foreign"
	case Weak:
		return "weak"
	case Negative:
		return "negative"
	case Strong:
		return "strong"
	case Proof:
		return "proof"
	}
	return "unknown"
}

// Strength gives the grade of evidence for a finding of this level. A Negative proves as much as a Proof does.
func (l Level) Strength() minecanary.Strength {
	switch l {
	case Proof, Negative:
		return minecanary.Proof
	case Strong, Foreign:
		return minecanary.Strong
	}
	return minecanary.Weak
}

// Finding is what an answer tells.
type Finding struct {
	Level Level
	// Dialect and Coin as far as the answer tells; "" if it does not.
	Dialect, Coin string
	// Summary is one printable line; bytes of the peer in it are quoted.
	Summary string
}

// over tells whether f outweighs g: a higher level, or the same with a coin where g has none.
func (f Finding) over(g Finding) bool {
	return f.Level > g.Level || f.Level == g.Level && f.Dialect == g.Dialect && f.Coin != "" && g.Coin == ""
}

// Request is one message of ours, sent in one write.
type Request struct {
	// Method is the JSON-RPC method of the message, "" for HTTP. An answer that has it as its own method is an echo.
	Method string
	// Line is the message with its line end.
	Line []byte
}

// Target is what a dialect may need to know to ask.
type Target struct {
	// Agent replaces the native name of the mining program; "" for the native one.
	Agent string
	// Host is the name or address of the server, Port its port in decimal.
	Host, Port string
}

// agent gives the name to use where the native one would be native.
func (t Target) agent(native string) string {
	if t.Agent != "" {
		return t.Agent
	}
	return native
}

// Dialect is one mining protocol: what to say, and how an answer is judged.
type Dialect struct {
	// Name as it stands in verdicts.
	Name string
	// Ask gives the messages of a connection; the next is sent when the one before was answered.
	Ask func(Target) []Request
	// Again is another form to ask, on another connection, of a server that closed on Ask without a byte; nil if
	// there is none.
	Again func(Target) []Request
	// Confirm asks for a proof, on another connection, where Ask drew only a strong answer; nil if there is none.
	Confirm func(Target) []Request
	// judge grades one message, given what the connection said before. The zero Finding means: not mine.
	judge func(*message, *seen) Finding
}

// All gives the dialects in the order of harmlessness in which they are asked.
func All() []Dialect {
	return []Dialect{stratum(), cryptoNote(), ethproxy(), zcash(), ethereumStratum(), kaspa()}
}

// Asked gives the dialects that have a question of their own, in the order of All.
func Asked() []Dialect {
	var asked []Dialect
	for _, d := range All() {
		if d.Ask != nil {
			asked = append(asked, d)
		}
	}
	return asked
}

// jsonLine makes a request of a JSON text.
func jsonLine(method string, parts ...string) Request {
	return Request{Method: method, Line: []byte(strings.Join(parts, "") + "\n")}
}
