package score

import (
	"fmt"
	"math"

	"github.com/minecanary/minecanary"
)

const canaryName = "canary"

// CanaryThreshold is what a suspect needs: all five shape criteria together, or a mining protocol seen in the payload.
const CanaryThreshold = 9

// The shape of a mining session, from labelled captures (16 real sessions and some 3,700 captures without mining). A miner's
// connection is long, thin and chatty on both sides: a job every so often from the pool, a share every so often from
// the miner, nearly every segment acknowledged by one from the other side. Bounds stand outside the ranges seen.
const (
	canaryActive = 280 // seconds; sessions from 290 s on are to be found

	// Mean payload per packet, bytes. Below the lower bounds there are only keepalives (MQTT ping, BGP, push channels);
	// above the upper ones somebody moves data.
	canaryClientPayloadMin, canaryClientPayloadMax = 9, 400
	canaryServerPayloadMin, canaryServerPayloadMax = 25, 1000

	// Client packets per server packet; seen 0.91 to 1.62.
	canaryRatioMin, canaryRatioMax = 0.8, 1.8

	// Client packets per minute. Pools push 0.5 to 4.3 jobs per minute; there is no upper bound that miners keep (the
	// authors of the seed's second paper had a median of 154), only one for what is no conversation any more.
	canaryRateMin, canaryRateMax = 0.4, 1200
)

type canary struct{ threshold float64 }

func (canary) Name() string         { return canaryName }
func (s canary) Threshold() float64 { return s.threshold }

// canaryValues are the measured values.
type canaryValues struct {
	active, clientPayload, serverPayload, ratio, rate float64
}

func canaryOf(a *minecanary.Aggregate) (v canaryValues) {
	v.active = float64(a.Last-a.First) / microseconds
	if a.ClientPackets > 0 {
		v.clientPayload = float64(payload(a.ClientPayload, a.ClientBytes, a.ClientPackets)) / float64(a.ClientPackets)
	}
	if a.ServerPackets > 0 {
		v.serverPayload = float64(payload(a.ServerPayload, a.ServerBytes, a.ServerPackets)) / float64(a.ServerPackets)
		v.ratio = float64(a.ClientPackets) / float64(a.ServerPackets)
	}
	if v.active > 0 {
		v.rate = float64(a.ClientPackets) * 60 / v.active
	}
	return v
}

// headers is the least that IP and TCP headers take of a packet (RFC 791, RFC 9293).
const headers = 40

// payload bounds what a sensor says of payload by what its IP bytes leave room for: payload counts come from sequence
// numbers, which are wrong after a gap.
func payload(payload, bytes, packets uint64) uint64 {
	if bytes < packets*headers {
		return 0
	}
	return min(payload, bytes-packets*headers)
}

func (v *canaryValues) points(port uint16, a *minecanary.Aggregate) (p [7]float64) {
	if v.active >= canaryActive {
		p[0] = 3
	}
	if canaryClientPayloadMin <= v.clientPayload && v.clientPayload <= canaryClientPayloadMax {
		p[1] = 2
	}
	if canaryServerPayloadMin <= v.serverPayload && v.serverPayload <= canaryServerPayloadMax {
		p[2] = 2
	}
	if canaryRatioMin <= v.ratio && v.ratio <= canaryRatioMax {
		p[3] = 1
	}
	if canaryRateMin <= v.rate && v.rate <= canaryRateMax {
		p[4] = 1
	}
	switch {
	case a.Services&minecanary.ServiceStratum != 0:
		p[5] = CanaryThreshold
	case a.Services&minecanary.ServiceOther != 0:
		p[5] = -4
	case a.Services&minecanary.ServiceHTTP != 0:
		p[5] = -3
	}
	if a.Services&minecanary.ServiceStratum == 0 && otherPort(port) {
		p[6] = -2
	}
	return p
}

func sum(p [7]float64) (total float64) {
	for _, x := range p {
		total += x
	}
	return total
}

// otherPort tells whether another long-lived protocol is at home on a server port: the well-known ports (RFC 6335) but
// those of the web, and registered ones that the labelled captures and IANA's register name.
func otherPort(port uint16) bool {
	switch port {
	case 0, 80, 443: // 0: not told
		return false
	case 1194, 1433, 1521, 1883, 3306, 3389, 5060, 5061, 5222, 5223, 5228, 5269, 5432, 5671, 5672, 5900, 5938, 6379,
		8333, 8883, 9042, 9092, 9100, 9200, 20000, 27017, 44818, 47808:
		return true
	}
	return port < 1024
}

func (s canary) Points(port uint16, a *minecanary.Aggregate) float64 {
	v := canaryOf(a)
	p := v.points(port, a)
	return sum(p)
}

func (s canary) Explain(port uint16, a *minecanary.Aggregate) minecanary.Score {
	v := canaryOf(a)
	p := v.points(port, a)
	reason := "the sensor recognised no other protocol"
	switch {
	case a.Services&minecanary.ServiceStratum != 0:
		reason = "the sensor saw a mining protocol in the payload"
	case a.Services&minecanary.ServiceOther != 0:
		reason = "the sensor recognised a protocol that is not mining"
	case a.Services&minecanary.ServiceHTTP != 0:
		reason = "the sensor recognised HTTP"
	case a.Services&minecanary.ServiceTLS != 0:
		reason = "TLS hides what is said"
	}
	c := []minecanary.Criterion{
		{
			Name: "active_time", Value: round(v.active), Limit: fmt.Sprintf(">= %d", canaryActive), Points: p[0],
			Reason: fmt.Sprintf("active for %.0f s", v.active),
		},
		{
			Name: "client_payload", Value: round(v.clientPayload), Points: p[1],
			Limit:  fmt.Sprintf("%d <= x <= %d", canaryClientPayloadMin, canaryClientPayloadMax),
			Reason: fmt.Sprintf("the client sends %.1f payload bytes per packet", v.clientPayload),
		},
		{
			Name: "server_payload", Value: round(v.serverPayload), Points: p[2],
			Limit:  fmt.Sprintf("%d <= x <= %d", canaryServerPayloadMin, canaryServerPayloadMax),
			Reason: fmt.Sprintf("the server sends %.1f payload bytes per packet", v.serverPayload),
		},
		{
			Name: "packet_ratio", Value: round(v.ratio), Limit: fmt.Sprintf("%.1f <= x <= %.1f", canaryRatioMin, canaryRatioMax), Points: p[3],
			Reason: fmt.Sprintf("%.2f client packets per server packet", v.ratio),
		},
		{
			Name: "packet_rate", Value: round(v.rate), Limit: fmt.Sprintf("%.1f <= x <= %d", canaryRateMin, canaryRateMax), Points: p[4],
			Reason: fmt.Sprintf("%.1f client packets per minute", v.rate),
		},
		{Name: "protocol", Value: float64(a.Services), Limit: "no other protocol", Points: p[5], Reason: reason},
		{
			Name: "port", Value: float64(port), Limit: "no other protocol's port", Points: p[6],
			Reason: portReason(port),
		},
	}
	total := sum(p)
	return minecanary.Score{Scorer: canaryName, Points: total, Threshold: s.threshold, Passed: total >= s.threshold, Criteria: c}
}

func portReason(port uint16) string {
	if otherPort(port) {
		return fmt.Sprintf("port %d belongs to another protocol", port)
	}
	return fmt.Sprintf("port %d belongs to no other long-lived protocol", port)
}

// round keeps three decimals, enough for people and short in JSON.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }
