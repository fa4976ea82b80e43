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
	StratumV1        = "stratum-v1"
	CryptoNote       = "cryptonote"
	Ethproxy         = "ethproxy"
	Zcash            = "zcash"            // only recognised: its pools take Stratum V1's mining.subscribe
	EthereumStratum  = "ethereum-stratum" // only recognised: its answer to mining.subscribe has a shape of its own
	EthereumStratum2 = "ethereum-stratum-2"
	Kaspa            = "kaspa"    // only recognised, like EthereumStratum
	Alephium         = "alephium" // only recognised: its pool speaks first
	Kawpow           = "kawpow"   // only recognised: it subscribes as ZIP 301 does
	StratumV2        = "stratum-v2"
	Grin             = "grin"
	Beam             = "beam"
	GetBlockTemplate = "getblocktemplate"
	GetWork          = "getwork"
	EthereumGetWork  = "ethereum-getwork"
	WebSocket        = "websocket"
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
	// Node tells that the proof is of a coin's daemon or the like, which miners may use as well, but which is no pool.
	Node bool
	// Proxy tells that the proof is of a proxy of miners, with a pool behind it.
	Proxy bool
	// Job is what the answer told of the work; the zero value if nothing.
	Job Job
	// Summary is one printable line; bytes of the peer in it are quoted.
	Summary string
}

// Job is what a pool told of its work.
type Job = minecanary.Job

// over tells whether f outweighs g: a higher level, or the same with a coin told more exactly. Dialects share their
// subscriptions, and only the job that follows tells which one it is.
func (f Finding) over(g Finding) bool {
	return f.Level > g.Level || f.Level == g.Level && f.exactness() > g.exactness()
}

// exactness tells how exactly the coin is known: not at all, by its family, by its name.
func (f Finding) exactness() int {
	switch {
	case f.Coin == "":
		return 0
	case strings.HasSuffix(f.Coin, "-family"):
		return 1
	}
	return 2
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
	// Session, if set, leads a connection of a dialect that is not spoken in lines; Ask is nil then.
	Session func(Target) Session
	// HTTP tells that the Session begins with an HTTP request.
	HTTP bool
	// judge grades one message, given what the connection said before. The zero Finding means: not mine.
	judge func(*message, *seen) Finding
}

// Session is our side of one connection of a dialect that is not spoken in lines. It does no I/O, holds at most MaxSession
// bytes, and is used by one goroutine.
type Session interface {
	// Open gives what is said first, in one write.
	Open() []byte
	// Take takes what came, however it was cut in segments, and does not keep b. It gives what is to be said next, in one
	// write; nil for nothing. done tells that nothing more is of interest.
	Take(b []byte) (say []byte, done bool)
	// End tells that nothing more comes.
	End()
	// Finding is what was found so far; the zero value says nothing was, and what came is judged like that of any other
	// connection.
	Finding() Finding
}

// MaxSession is how much a Session keeps of what came, in bytes: all that is read from a connection.
const MaxSession = 64 << 10

// All gives the dialects in the order of harmlessness in which they are asked.
func All() []Dialect {
	return []Dialect{
		stratum(), alephium(), kawpow(), zcash(), ethereumStratum(), kaspa(), cryptoNote(), ethproxy(), ethereumStratum2(), grin(), beam(), stratumV2(),
		getBlockTemplate(), getWork(), ethereumGetWork(), webSocket(),
	}
}

// Asked gives the dialects that have a question of their own, in the order of All.
func Asked() []Dialect {
	var asked []Dialect
	for _, d := range All() {
		if d.Ask != nil || d.Session != nil {
			asked = append(asked, d)
		}
	}
	return asked
}

// jsonLine makes a request of a JSON text.
func jsonLine(method string, parts ...string) Request {
	return Request{Method: method, Line: []byte(strings.Join(parts, "") + "\n")}
}
