// Package ecs makes the documents that leave the service: hits, probes and pools in Elastic Common Schema 8.11 with ours
// flat under "minecanary", dead letters, and the object that annotates a record. The same document goes to every sink;
// docs/schema holds a JSON Schema of each.
package ecs

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // Community ID is defined with SHA-1; nothing secret depends on it.
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
)

// Version is the version of ECS the documents follow.
const Version = "8.11.0"

// Document is the document of one hit. Field names are those of ECS; see elastic/ecs.
type Document struct {
	Timestamp   Time        `json:"@timestamp"`
	ECS         ecsVersion  `json:"ecs"`
	DataStream  dataStream  `json:"data_stream"`
	Event       Event       `json:"event"`
	Message     string      `json:"message"`
	Rule        rule        `json:"rule"`
	Source      Side        `json:"source"`
	Destination Side        `json:"destination"`
	Client      ip          `json:"client"`
	Server      ipPort      `json:"server"`
	Network     Network     `json:"network"`
	Observer    observer    `json:"observer"`
	Related     related     `json:"related"`
	Threat      *threat     `json:"threat,omitempty"`
	Zeek        *zeek       `json:"zeek,omitempty"`
	Minecanary  *Minecanary `json:"minecanary"`
}

// ID names the document of one report: event.id, event.sequence and event.action, so that a repeat after a crash has the
// id it had before. The action is part of it because a window that was told as suspected before a crash may be told as
// confirmed after it, under the same sequence, and both are news.
func (d *Document) ID() string {
	return d.Event.ID + "-" + strconv.FormatUint(uint64(d.Event.Sequence), 10) + "-" + d.Event.Action
}

// Time is written with milliseconds and Z, as Elasticsearch shows dates.
type Time time.Time

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z"), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Time) UnmarshalText(b []byte) error {
	v, err := time.Parse(time.RFC3339Nano, string(b))
	*t = Time(v)
	return err
}

type ecsVersion struct {
	Version string `json:"version"`
}

type dataStream struct {
	Type      string `json:"type"`
	Dataset   string `json:"dataset"`
	Namespace string `json:"namespace"`
}

// Event is ECS event.*. ID is the same for all reports of one client, endpoint and window; Sequence numbers them.
type Event struct {
	Kind      string   `json:"kind"`
	Category  []string `json:"category"`
	Type      []string `json:"type"`
	Module    string   `json:"module"`
	Dataset   string   `json:"dataset"`
	Provider  string   `json:"provider"`
	Action    string   `json:"action"`
	ID        string   `json:"id"`
	Sequence  uint32   `json:"sequence"`
	Severity  int      `json:"severity"`
	RiskScore float64  `json:"risk_score"`
	Start     Time     `json:"start"`
	End       Time     `json:"end"`
	Duration  int64    `json:"duration"` // nanoseconds
	Reason    string   `json:"reason"`
}

type rule struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Category  string `json:"category"`
	Reference string `json:"reference"`
}

// reference is where the rules are explained.
const reference = "https://github.com/minecanary/minecanary#readme"

// Side is ECS source.* and destination.*; bytes are IP bytes.
type Side struct {
	Address string `json:"address"`
	IP      string `json:"ip"`
	Port    uint16 `json:"port"`
	Bytes   uint64 `json:"bytes"`
	Packets uint64 `json:"packets"`
	// Domain is the name by which the server was reached, as far as sensors saw it.
	Domain string `json:"domain,omitempty"`
}

type ip struct {
	IP string `json:"ip"`
}

type ipPort struct {
	IP   string `json:"ip"`
	Port uint16 `json:"port"`
}

// Network is ECS network.*.
type Network struct {
	Transport   string `json:"transport"`
	Protocol    string `json:"protocol,omitempty"`
	Type        string `json:"type"`
	Direction   string `json:"direction"`
	CommunityID string `json:"community_id"`
	Bytes       uint64 `json:"bytes"`
	Packets     uint64 `json:"packets"`
}

type observer struct {
	Type    string `json:"type"`
	Product string `json:"product,omitempty"`
	Name    string `json:"name,omitempty"`
}

type related struct {
	IP    []string `json:"ip"`
	Hosts []string `json:"hosts,omitempty"`
}

type threat struct {
	Framework   string       `json:"framework"`
	Tactic      idName       `json:"tactic"`
	Technique   idName       `json:"technique"`
	Enrichments []enrichment `json:"enrichments,omitempty"`
}

type idName struct {
	ID   []string `json:"id"`
	Name []string `json:"name"`
}

type enrichment struct {
	Indicator indicator `json:"indicator"`
	Matched   matched   `json:"matched"`
}

type indicator struct {
	Type       string `json:"type"`
	IP         string `json:"ip"`
	Port       uint16 `json:"port"`
	Confidence string `json:"confidence"`
	FirstSeen  Time   `json:"first_seen"`
	LastSeen   Time   `json:"last_seen"`
	Provider   string `json:"provider"`
}

type matched struct {
	Atomic string `json:"atomic"`
	Field  string `json:"field"`
	Type   string `json:"type"`
}

type zeek struct {
	SessionID string `json:"session_id"`
}

// Minecanary is what ECS has no field for.
type Minecanary struct {
	Status    minecanary.HitStatus     `json:"status"`
	Verdict   minecanary.VerdictStatus `json:"verdict"`
	Scorer    string                   `json:"scorer"`
	Score     float64                  `json:"score"`
	Threshold float64                  `json:"threshold"`
	Criteria  []minecanary.Criterion   `json:"criteria"`
	Evidence  []minecanary.Evidence    `json:"evidence"`
	Coin      string                   `json:"coin,omitempty"`
	Dialect   string                   `json:"dialect,omitempty"`
	TLS       bool                     `json:"tls"`
	// Login is what the client logged in with in clear text: a wallet, or an account at the pool.
	Login      string `json:"login,omitempty"`
	EventScale uint32 `json:"event_scale"`
	Slices     uint32 `json:"slices"`
	FirstSeen  Time   `json:"first_seen"`
	LastSeen   Time   `json:"last_seen"`
}

func at(micro int64) Time { return Time(time.UnixMicro(micro)) }

// New makes the document of a hit.
func New(h *minecanary.Hit) *Document {
	client, server := h.Client.String(), h.Server.Addr.String()
	w := &h.InWindow
	d := &Document{
		Timestamp:  Time(h.Found),
		ECS:        ecsVersion{Version},
		DataStream: dataStream{"logs", "minecanary.hit", "default"},
		Event: Event{
			Kind: "alert", Category: []string{"network", "intrusion_detection"}, Type: []string{"connection", "info"},
			Module: "minecanary", Dataset: "minecanary.hit", Provider: "minecanary",
			Action: Action(h.Status), ID: h.ID(), Sequence: h.Sequence,
			Start: at(w.First), End: at(w.Last), Duration: (w.Last - w.First) * 1000,
			Reason: Reason(h),
		},
		Source:      Side{client, client, h.ClientPort, w.ClientBytes, w.ClientPackets, ""},
		Destination: Side{server, server, h.Server.Port, w.ServerBytes, w.ServerPackets, h.ServerName},
		Client:      ip{client},
		Server:      ipPort{server, h.Server.Port},
		Network: Network{
			Transport: h.Server.Transport.String(), Type: networkType(h.Server.Addr), Direction: direction(h),
			CommunityID: CommunityID(h.Client, h.ClientPort, h.Server),
			Bytes:       w.ClientBytes + w.ServerBytes, Packets: w.ClientPackets + w.ServerPackets,
		},
		Observer: observer{Type: "ids", Name: h.Sensor},
		Related:  related{IP: []string{client, server}},
		Minecanary: &Minecanary{
			Status: h.Status, Verdict: cmp.Or(h.Verdict.Status, minecanary.Unknown),
			Scorer: h.Score.Scorer, Score: h.Score.Points, Threshold: h.Score.Threshold, Criteria: h.Score.Criteria,
			Evidence: evidence(h), Login: h.Login, EventScale: h.EventScale, Slices: h.Seen.Counted(),
			FirstSeen: at(h.FirstSeen), LastSeen: at(h.LastSeen),
		},
	}
	if h.ServerName != "" {
		d.Related.Hosts = []string{h.ServerName}
	}
	switch uid := h.UID.String(); {
	case strings.HasPrefix(uid, "C"):
		d.Zeek, d.Observer.Product = &zeek{uid}, "zeek"
	case uid != "":
		d.Observer.Product = "suricata" // EVE's flow_id is a number
	}
	if d.Minecanary.Criteria == nil {
		d.Minecanary.Criteria = []minecanary.Criterion{}
	}
	mitre := &threat{
		Framework: "MITRE ATT&CK",
		Tactic:    idName{[]string{"TA0040"}, []string{"Impact"}},
		Technique: idName{[]string{"T1496"}, []string{"Resource Hijacking"}},
	}
	m := d.Minecanary
	switch h.Status {
	case minecanary.HitConfirmed:
		m.Coin, m.Dialect, m.TLS = h.Verdict.Coin, h.Verdict.Dialect, h.Verdict.TLS
		d.Event.Severity, d.Event.RiskScore = 73, 92
		d.Rule = rule{"minecanary-confirmed", "Connection to a verified mining pool", "Crypto Currency Mining Activity Detected", reference}
		d.Message = fmt.Sprintf("%s mines at %s (%s)", client, h.Server, m.Dialect)
		d.Network.Protocol = "stratum"
		d.Threat = mitre
		mitre.Enrichments = []enrichment{{
			Indicator: indicator{indicatorType(h.Server.Addr), server, h.Server.Port, "High", Time(h.Verdict.FirstConfirmed), Time(h.Verdict.At), "minecanary"},
			Matched:   matched{server, "destination.ip", "indicator_match_rule"},
		}}
	case minecanary.HitKnown:
		d.Event.Severity, d.Event.RiskScore = 60, 75
		d.Rule = rule{"minecanary-known", "Connection to a known mining pool", "Crypto Currency Mining Activity Detected", reference}
		d.Message = fmt.Sprintf("%s talks to %s, a known mining pool", client, h.Server)
		if len(h.Evidence) > 0 && h.Evidence[0].Kind == "payload" {
			d.Message = fmt.Sprintf("%s mines at %s by what the sensor saw of their talk", client, h.Server)
			d.Network.Protocol = "stratum"
		}
		d.Threat = mitre
	case minecanary.HitSuspected:
		d.Event.Kind, d.Event.Category, d.Event.Type = "event", []string{"network"}, []string{"connection", "info"}
		d.Event.Severity, d.Event.RiskScore = 21, suspicion(h)
		d.Rule = rule{"minecanary-suspected", "Traffic shaped like mining", "Crypto Currency Mining Activity Suspected", reference}
		d.Message = fmt.Sprintf("%s may mine at %s (%s score %g of %g)", client, h.Server, h.Score.Scorer, h.Score.Points, h.Score.Threshold)
	}
	return d
}

// networkType is ECS network.type.
func networkType(a netip.Addr) string {
	if a.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

// indicatorType is ECS threat.indicator.type, a name of STIX 2.
func indicatorType(a netip.Addr) string { return networkType(a) + "-addr" }

// Action is event.action of a status.
func Action(s minecanary.HitStatus) string {
	switch s {
	case minecanary.HitConfirmed:
		return "mining-pool-verified"
	case minecanary.HitKnown:
		return "mining-pool-known"
	}
	return "mining-suspected"
}

// suspicion maps a score that only accuses to 25 at the threshold and less than 50 whatever it is.
func suspicion(h *minecanary.Hit) float64 {
	if h.Score.Threshold <= 0 {
		return 25
	}
	return math.Round(min(49, 25*h.Score.Points/h.Score.Threshold)*10) / 10
}

// evidence is what a hit rests on, strongest first, never empty.
func evidence(h *minecanary.Hit) []minecanary.Evidence {
	var out []minecanary.Evidence
	if cmp.Or(h.Verdict.Status, minecanary.Unknown) != minecanary.Unknown {
		out = append(out, h.Verdict.Evidence...)
	}
	out = append(out, h.Evidence...)
	if h.Score.Passed && h.Seen.Pure() > 0 {
		out = append(out, minecanary.Evidence{
			Kind: "score", Strength: minecanary.Weak, At: h.Found,
			Summary: fmt.Sprintf("%s score %g of %g", h.Score.Scorer, h.Score.Points, h.Score.Threshold),
		})
	}
	if out == nil {
		out = []minecanary.Evidence{}
	}
	return out
}

// Reason says in one line why a hit is reported.
func Reason(h *minecanary.Hit) string {
	span := time.Duration(h.LastSeen-h.FirstSeen) * time.Microsecond
	traffic := fmt.Sprintf("%s has sent to it for %s", h.Client, Span(span))
	if h.Seen.ClientPackets+h.Seen.ServerPackets == 0 {
		traffic = fmt.Sprintf("%s was seen there, without a record of its traffic yet", h.Client)
	}
	switch h.Status {
	case minecanary.HitConfirmed:
		over := ""
		if h.Verdict.TLS {
			over = " over TLS"
		}
		return fmt.Sprintf("%s answered %s%s as a pool; %s", h.Server, h.Verdict.Dialect, over, traffic)
	case minecanary.HitKnown:
		why := "it is on a list"
		if len(h.Evidence) > 0 {
			why = h.Evidence[0].Summary
			if h.Evidence[0].Kind == "payload" {
				return fmt.Sprintf("%s: %s; %s", h.Server, why, traffic)
			}
		}
		return fmt.Sprintf("%s is a known pool (%s); %s", h.Server, why, traffic)
	}
	var parts []string
	for _, c := range h.Score.Criteria {
		if c.Points > 0 {
			parts = append(parts, c.Reason)
		}
	}
	verdict := ""
	switch {
	case cmp.Or(h.Verdict.Status, minecanary.Unknown) == minecanary.Unknown:
		verdict = "not asked"
	case h.Verdict.Reason != "":
		verdict = string(h.Verdict.Status) + ": " + h.Verdict.Reason
	default:
		verdict = string(h.Verdict.Status)
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, "; "), verdict)
}

// Span writes a duration for people: the two largest of days, hours, minutes, seconds.
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	days, hours, minutes, seconds := d/(24*time.Hour), d/time.Hour%24, d/time.Minute%60, d/time.Second%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min %d s", minutes, seconds)
	}
	return fmt.Sprintf("%d s", seconds)
}

// direction is ECS network.direction as far as addresses alone tell it.
func direction(h *minecanary.Hit) string {
	client, server := h.Client.IsPrivate(), h.Server.Addr.IsPrivate()
	switch {
	case client && server:
		return "internal"
	case client:
		return "outbound"
	case server:
		return "inbound"
	}
	return "unknown"
}

// CommunityID is Community ID version 1 with seed 0 (github.com/corelight/community-id-spec) of a TCP or UDP
// connection: the same for Zeek, Suricata, Arkime and Packetbeat.
func CommunityID(client netip.Addr, port uint16, server minecanary.Endpoint) string {
	a, b := client.AsSlice(), server.Addr.AsSlice()
	pa, pb := port, server.Port
	if c := strings.Compare(string(a), string(b)); c > 0 || c == 0 && pa > pb {
		a, b, pa, pb = b, a, pb, pa
	}
	buf := make([]byte, 2, 2+16+16+2+4)
	buf = append(buf, a...)
	buf = append(buf, b...)
	buf = append(buf, byte(server.Transport), 0)
	buf = binary.BigEndian.AppendUint16(buf, pa)
	buf = binary.BigEndian.AppendUint16(buf, pb)
	sum := sha1.Sum(buf) //nolint:gosec // see the import
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}
