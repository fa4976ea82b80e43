package ecs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/minecanary/minecanary"
)

// Probe is the document of one probe: an endpoint was asked, whatever it said. It is an event, never an alert.
type Probe struct {
	Timestamp   Time         `json:"@timestamp"`
	ECS         ecsVersion   `json:"ecs"`
	DataStream  dataStream   `json:"data_stream"`
	Event       VerdictEvent `json:"event"`
	Message     string       `json:"message"`
	Destination target       `json:"destination"`
	Server      ipPort       `json:"server"`
	Network     probeNetwork `json:"network"`
	Related     related      `json:"related"`
	Minecanary  *Finding     `json:"minecanary"`
}

// VerdictEvent is ECS event.* of a probe and of a pool. ID is the same for every document of one verdict.
type VerdictEvent struct {
	Kind     string   `json:"kind"`
	Category []string `json:"category"`
	Type     []string `json:"type"`
	Module   string   `json:"module"`
	Dataset  string   `json:"dataset"`
	Provider string   `json:"provider"`
	Action   string   `json:"action"`
	ID       string   `json:"id"`
	// Outcome of a probe: success if the answer decides (confirmed, node, not-pool), failure if our guard or budget
	// refused to ask or nobody could be reached (blocked), unknown for everything else. "" for a pool.
	Outcome string `json:"outcome,omitempty"`
	Reason  string `json:"reason"`
}

type target struct {
	Address string `json:"address"`
	IP      string `json:"ip"`
	Port    uint16 `json:"port"`
}

type probeNetwork struct {
	Transport string `json:"transport"`
	Protocol  string `json:"protocol,omitempty"`
	Type      string `json:"type"`
}

// Finding is what ECS has no field for in the documents of probes and pools.
type Finding struct {
	Endpoint minecanary.Endpoint      `json:"endpoint"`
	Verdict  minecanary.VerdictStatus `json:"verdict"`
	Dialect  string                   `json:"dialect,omitempty"`
	Coin     string                   `json:"coin,omitempty"`
	TLS      bool                     `json:"tls"`
	Reason   string                   `json:"reason"`
	Evidence []minecanary.Evidence    `json:"evidence"`
	// Expires is when the verdict ends unless a new one is had before.
	Expires        Time  `json:"expires"`
	FirstConfirmed *Time `json:"first_confirmed,omitempty"`
}

// NewProbe makes the document of a verdict that the prober has just given.
func NewProbe(v minecanary.Verdict) *Probe {
	server := v.Endpoint.Addr.String()
	p := &Probe{
		Timestamp:  Time(v.At),
		ECS:        ecsVersion{Version},
		DataStream: dataStream{"logs", "minecanary.probe", "default"},
		Event: VerdictEvent{
			Kind: "event", Category: []string{"network"}, Type: []string{"connection", "info"},
			Module: "minecanary", Dataset: "minecanary.probe", Provider: "minecanary",
			Action: "mining-pool-probe", ID: verdictID(v), Outcome: outcome(v.Status), Reason: v.Reason,
		},
		Message:     fmt.Sprintf("%s was asked: %s", v.Endpoint, v.Status),
		Destination: target{server, server, v.Endpoint.Port},
		Server:      ipPort{server, v.Endpoint.Port},
		Network:     probeNetwork{Transport: v.Endpoint.Transport.String(), Type: networkType(v.Endpoint.Addr)},
		Related:     related{IP: []string{server}},
		Minecanary:  newFinding(v),
	}
	if v.Status == minecanary.Confirmed {
		p.Network.Protocol = "stratum"
	}
	return p
}

// ID names the document: a hash of the endpoint and the time of the verdict. A repeat has the same.
func (p *Probe) ID() string { return p.Event.ID }

// Pool is the document of a proven pool, an indicator as the rules of Elastic Security read it (event.kind enrichment,
// event.category threat, event.type indicator, event.module ti_*).
type Pool struct {
	Timestamp  Time         `json:"@timestamp"`
	ECS        ecsVersion   `json:"ecs"`
	DataStream dataStream   `json:"data_stream"`
	Event      VerdictEvent `json:"event"`
	Message    string       `json:"message"`
	Threat     poolThreat   `json:"threat"`
	Related    related      `json:"related"`
	Minecanary *Finding     `json:"minecanary"`
}

type poolThreat struct {
	Feed      named         `json:"feed"`
	Indicator poolIndicator `json:"indicator"`
}

type named struct {
	Name string `json:"name"`
}

type poolIndicator struct {
	Type        string  `json:"type"`
	Name        string  `json:"name"`
	IP          string  `json:"ip"`
	Port        uint16  `json:"port"`
	Description string  `json:"description"`
	Confidence  string  `json:"confidence"`
	Provider    string  `json:"provider"`
	FirstSeen   Time    `json:"first_seen"`
	LastSeen    Time    `json:"last_seen"`
	Marking     marking `json:"marking"`
}

type marking struct {
	TLP string `json:"tlp"`
}

// NewPool makes the document of a confirmed verdict. ECS has no expiry of an indicator; it is minecanary.expires.
func NewPool(v minecanary.Verdict) *Pool {
	server := v.Endpoint.Addr.String()
	first := v.FirstConfirmed
	if first.IsZero() {
		first = v.At
	}
	what := v.Dialect
	if v.Coin != "" {
		what += ", " + v.Coin
	}
	return &Pool{
		Timestamp:  Time(v.At),
		ECS:        ecsVersion{Version},
		DataStream: dataStream{"logs", "ti_minecanary.pool", "default"},
		Event: VerdictEvent{
			Kind: "enrichment", Category: []string{"threat"}, Type: []string{"indicator"},
			Module: "ti_minecanary", Dataset: "ti_minecanary.pool", Provider: "minecanary",
			Action: Action(minecanary.HitConfirmed), ID: verdictID(v), Reason: v.Reason,
		},
		Message: fmt.Sprintf("%s is a mining pool (%s)", v.Endpoint, what),
		Threat: poolThreat{
			Feed: named{"Minecanary"},
			Indicator: poolIndicator{
				Type: indicatorType(v.Endpoint.Addr), Name: v.Endpoint.String(), IP: server, Port: v.Endpoint.Port,
				Description: fmt.Sprintf("Mining pool (%s), answered a probe", what), Confidence: "High", Provider: "minecanary",
				FirstSeen: Time(first), LastSeen: Time(v.At), Marking: marking{"AMBER"},
			},
		},
		Related:    related{IP: []string{server}},
		Minecanary: newFinding(v),
	}
}

// ID names the document: a hash of the endpoint and the time of the verdict. A repeat has the same.
func (p *Pool) ID() string { return p.Event.ID }

func newFinding(v minecanary.Verdict) *Finding {
	f := &Finding{
		Endpoint: v.Endpoint, Verdict: v.Status, Dialect: v.Dialect, Coin: v.Coin, TLS: v.TLS, Reason: v.Reason,
		Evidence: v.Evidence, Expires: Time(v.Expires),
	}
	if f.Evidence == nil {
		f.Evidence = []minecanary.Evidence{}
	}
	if !v.FirstConfirmed.IsZero() {
		first := Time(v.FirstConfirmed)
		f.FirstConfirmed = &first
	}
	return f
}

func outcome(s minecanary.VerdictStatus) string {
	switch s {
	case minecanary.Confirmed, minecanary.Node, minecanary.NotPool:
		return "success"
	case minecanary.Blocked:
		return "failure"
	case minecanary.Inconclusive, minecanary.Unknown:
	}
	return "unknown"
}

// verdictID is 32 hex digits of SHA-256 over the endpoint and the time of the verdict in milliseconds, which is what
// every store keeps of it.
func verdictID(v minecanary.Verdict) string {
	var b [16 + 2 + 1 + 8]byte
	a := v.Endpoint.Addr.As16()
	copy(b[:], a[:])
	binary.BigEndian.PutUint16(b[16:], v.Endpoint.Port)
	b[18] = byte(v.Endpoint.Transport)
	binary.BigEndian.PutUint64(b[19:], uint64(v.At.UnixMilli()))
	sum := sha256.Sum256(b[:])
	return hex.EncodeToString(sum[:16])
}
