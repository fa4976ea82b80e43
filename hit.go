package minecanary

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// HitStatus says on what ground a hit is reported.
type HitStatus string

// The statuses of a hit, from the strongest.
const (
	HitConfirmed HitStatus = "confirmed" // the endpoint answered a probe as a pool
	HitKnown     HitStatus = "known"     // block list; later catalogue, payload, name
	HitSuspected HitStatus = "suspected" // the score alone
)

// Strength orders statuses: 1 for suspected to 3 for confirmed, 0 for none.
func (s HitStatus) Strength() uint8 {
	switch s {
	case HitSuspected:
		return 1
	case HitKnown:
		return 2
	case HitConfirmed:
		return 3
	}
	return 0
}

// Criterion is one part of a score, with what was measured and what it was held against.
type Criterion struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Limit  string  `json:"limit"`
	Points float64 `json:"points"`
	Reason string  `json:"reason"`
}

// Score is what a scorer says of an aggregate. Scores of different scorers are never compared.
type Score struct {
	Scorer    string      `json:"scorer"`
	Points    float64     `json:"score"`
	Threshold float64     `json:"threshold"`
	Passed    bool        `json:"passed"`
	Criteria  []Criterion `json:"criteria"`
}

// Hit is a suspect, the reason it is reported, and the evidence.
type Hit struct {
	Pair
	Status  HitStatus
	Verdict Verdict
	Score   Score
	// Evidence behind the status beyond the verdict's own, strongest first.
	Evidence []Evidence

	// Window is the number of the report window since the epoch, Report its length.
	Window uint32
	Report time.Duration
	// Sequence numbers the reports of one window from 0: first sight, then once more with the final count.
	Sequence uint32
	// EventScale is the number of sensor records joined in this report (the seed's EVENT_SCALE).
	EventScale uint32

	// InWindow is what the suspect did in this window, Seen what it did since it is watched without a gap (and at most
	// for the active timeout before): what the score is made of.
	InWindow, Seen Aggregate

	// FirstSeen is when the pair was first seen, LastSeen when last, Unix microseconds.
	FirstSeen, LastSeen int64

	// ClientPort, UID and Sensor are those of the newest connection.
	ClientPort uint16
	UID        UID
	Sensor     string

	// ServerName is the name by which somebody reached the server (SNI, or an answer to a query) as far as sensors saw it;
	// "" if they did not. Who sends a name can send any: it names the server, it proves nothing.
	ServerName string
	// Login is what the client logged in with in clear text, as far as a sensor saw it: a wallet, or an account at the pool.
	Login string

	// Found is when it was decided, wall clock.
	Found time.Time
}

// ID names the hit: the same client, endpoint and report window give the same id on every run. It is 32 hex digits of
// SHA-256.
func (h *Hit) ID() string {
	var b [16 + 16 + 2 + 1 + 4 + 8]byte
	c, s := h.Client.As16(), h.Server.Addr.As16()
	copy(b[0:], c[:])
	copy(b[16:], s[:])
	binary.BigEndian.PutUint16(b[32:], h.Server.Port)
	b[34] = byte(h.Server.Transport)
	binary.BigEndian.PutUint32(b[35:], h.Window)
	binary.BigEndian.PutUint64(b[39:], uint64(h.Report))
	sum := sha256.Sum256(b[:])
	return hex.EncodeToString(sum[:16])
}
