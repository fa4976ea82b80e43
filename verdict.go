package minecanary

import (
	"fmt"
	"net/netip"
	"time"
)

// VerdictStatus is what is known of an endpoint.
type VerdictStatus string

// The verdicts. A failed probe proves nothing: only a protocol answer that cannot come from a pool is NotPool.
const (
	Unknown      VerdictStatus = "unknown"
	Confirmed    VerdictStatus = "confirmed"    // it answered as a mining pool does
	Node         VerdictStatus = "node"         // a coin daemon, not a pool
	NotPool      VerdictStatus = "not-pool"     // a protocol answer that cannot come from a pool
	Inconclusive VerdictStatus = "inconclusive" // timeouts, resets, closes, answers that fit nothing
	Blocked      VerdictStatus = "blocked"      // our guard or budget refused, or nobody could be reached
)

// Strength grades evidence.
type Strength string

// The grades, from facts that need no other to facts that only add.
const (
	Proof  Strength = "proof"
	Strong Strength = "strong"
	Weak   Strength = "weak"
)

// Evidence is one fact behind a verdict or a hit.
type Evidence struct {
	// Kind is where it comes from: probe, score, block-list, allow-list; later payload, name, catalogue, rule.
	Kind     string    `json:"kind"`
	Strength Strength  `json:"strength"`
	At       time.Time `json:"at"`
	// Summary is one line of printable text, at most 512 bytes; bytes of a peer are quoted.
	Summary string `json:"summary"`
	// Transcript is what was said, one element a message, ">> " ours and "<< " theirs, quoted and capped.
	Transcript []string `json:"transcript,omitempty"`
}

// Job is what a pool told of its work, as far as it did. It says which pool stands behind a proxy: both hand out work on
// the same block with the same marks.
type Job struct {
	// Algorithm is the proof of work as the pool names it, "" if it does not.
	Algorithm string `json:"algorithm,omitempty"`
	// Height is the block's, 0 if unknown.
	Height uint64 `json:"height,omitempty"`
	// Difficulty is what one share takes, in the dialect's own unit; 0 if unknown.
	Difficulty float64 `json:"difficulty,omitempty"`
	// PreviousHash is the block before as it stands in the job: hex of at most 64 digits, "" if unknown.
	PreviousHash string `json:"previous_hash,omitempty"`
	// Template is the SHA-256 (hex) of what the job says of the block, without what changes from miner to miner; "" if
	// there is none.
	Template string `json:"template,omitempty"`
	// Tag is the printable text in the coinbase, at most 100 bytes: most pools sign there; "" if there is none.
	Tag string `json:"tag,omitempty"`
	// Software is what the answer tells of the pool's program, "" if nothing.
	Software string `json:"software,omitempty"`
}

// Verdict is what is known of an endpoint, why, and for how long.
type Verdict struct {
	Endpoint Endpoint      `json:"endpoint"`
	Status   VerdictStatus `json:"verdict"`
	// Dialect is the mining protocol that answered: see prober/dialect; "" if none.
	Dialect string `json:"dialect,omitempty"`
	// Coin as far as the answer tells it: bitcoin-family, monero, ethereum, zcash; "" if unknown.
	Coin string `json:"coin,omitempty"`
	TLS  bool   `json:"tls"`
	// Proxy tells that it is a proxy of miners, with a pool behind it.
	Proxy bool `json:"proxy,omitempty"`
	// Job is what it told of its work.
	Job Job `json:"job,omitzero"`
	// Reason is one printable line for people.
	Reason   string     `json:"reason"`
	Evidence []Evidence `json:"evidence,omitempty"`
	At       time.Time  `json:"at"`
	Expires  time.Time  `json:"expires"`
	// FirstConfirmed is when the endpoint was first confirmed without a gap since; zero if it is not confirmed.
	FirstConfirmed time.Time `json:"first_confirmed,omitzero"`
}

// Valid tells whether the verdict still holds at the given time.
func (v Verdict) Valid(now time.Time) bool { return v.Status != "" && now.Before(v.Expires) }

// Question is what a verifier is asked: is this endpoint a mining pool?
type Question struct {
	Endpoint Endpoint
	// Client is on whose behalf the question is asked: the suspect with the best score. It is unset for the catalogue.
	Client netip.Addr
	// Catalogue tells that the catalogue's schedule asks, not a client: the operator wants it known whether the endpoint
	// is still a pool. There is no session then that anybody saw, and budgets of its own hold (ProbeCost).
	Catalogue bool
	// Reply tells that packets were seen from the server, Payload that it sent data: a real two-way session.
	Reply, Payload bool
	// TLS tells that the sensor saw TLS; only a hint for what to try first.
	TLS bool
	// Name is the server name the client used (SNI), "" if unknown.
	Name string
	// First is the dialect to try first, as the catalogue has it; "" if it has none.
	First string
	// Why is one line for the audit record.
	Why string
}

// String gives a line for logs.
func (q Question) String() string { return fmt.Sprintf("%s for %s: %s", q.Endpoint, q.Client, q.Why) }
