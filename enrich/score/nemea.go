package score

import (
	"fmt"
	"math/bits"

	"github.com/minecanary/minecanary"
)

const nemeaName = "nemea"

// NemeaThreshold is the seed's default threshold; its maximum is 10 points.
const NemeaThreshold = 7

// Nemea is the aggregate of the seed's Suspect table: CESNET Nemea-Detectors, miner_detector, README "Aggregation".
// Times are whole seconds.
type Nemea struct {
	// Slices whose TCP flags are exactly ACK, exactly ACK|PSH, and all others.
	Ack, AckPush, Other uint64
	// Packets and IP bytes, client → server.
	Packets, Bytes uint64
	// FirstSeen and LastSeen in Unix seconds. LastSeen before FirstSeen counts as no activity.
	FirstSeen, LastSeen int64
}

// nemeaValues are the five measured values, truncated as the seed's integer arithmetic does.
type nemeaValues struct {
	ackShare, bytesPerPacket, packetsPerSlice, packetsPerMinute uint64
	active                                                      uint64
}

func (n *Nemea) values() (v nemeaValues) {
	pure, carryPure := bits.Add64(n.Ack, n.AckPush, 0)
	all, carryAll := bits.Add64(pure, n.Other, 0)
	carryAll += carryPure
	v.ackShare = share(carryPure, pure, carryAll, all)
	if n.Packets > 0 {
		v.bytesPerPacket = n.Bytes / n.Packets
	}
	if carryAll == 0 && all > 0 {
		v.packetsPerSlice = n.Packets / all
	}
	if n.LastSeen > n.FirstSeen {
		v.active = uint64(n.LastSeen) - uint64(n.FirstSeen)
	}
	if v.active > 0 {
		hi, lo := bits.Mul64(n.Packets, 60)
		if hi >= v.active {
			v.packetsPerMinute = ^uint64(0)
		} else {
			v.packetsPerMinute, _ = bits.Div64(hi, lo, v.active)
		}
	}
	return v
}

// share is trunc(100·part/whole) for numbers of up to 66 bits given as carry and low word.
func share(partCarry, part, wholeCarry, whole uint64) uint64 {
	if wholeCarry > 0 {
		// Counts beyond 2^64 slices do not occur; scaling both down keeps the share right to the last per cent but one.
		part = part>>2 | partCarry<<62
		whole = whole>>2 | wholeCarry<<62
	}
	if whole == 0 {
		return 0
	}
	hi, lo := bits.Mul64(part, 100)
	q, _ := bits.Div64(hi, lo, whole)
	return q
}

// The tests of the five criteria. The seed's README says "more than 80 %" and "more than 300 seconds"; its code tests
// "at least", and that is what its authors ran.
func (v *nemeaValues) points() [5]float64 {
	var p [5]float64
	if v.ackShare >= 80 {
		p[0] = 2
	}
	if 50 < v.bytesPerPacket && v.bytesPerPacket < 130 {
		p[1] = 2
	}
	if v.packetsPerSlice < 10 || v.packetsPerSlice > 20 {
		p[2] = 1
	}
	if v.active >= 5 && 8 <= v.packetsPerMinute && v.packetsPerMinute <= 30 {
		p[3] = 2
	}
	if v.active >= 300 {
		p[4] = 3
	}
	return p
}

// Points is the seed's score, 0 to 10.
func (n *Nemea) Points() float64 {
	v := n.values()
	p := v.points()
	return p[0] + p[1] + p[2] + p[3] + p[4]
}

// Explain is the seed's score with each criterion.
func (n *Nemea) Explain(threshold float64) minecanary.Score {
	v := n.values()
	p := v.points()
	c := []minecanary.Criterion{
		{
			Name: "ack_share", Value: float64(v.ackShare), Limit: ">= 80", Points: p[0],
			Reason: fmt.Sprintf("%d %% of the slices carry only ACK or ACK+PSH", v.ackShare),
		},
		{
			Name: "bytes_per_packet", Value: float64(v.bytesPerPacket), Limit: "50 < x < 130", Points: p[1],
			Reason: fmt.Sprintf("%d IP bytes per packet", v.bytesPerPacket),
		},
		{
			Name: "packets_per_slice", Value: float64(v.packetsPerSlice), Limit: "< 10 or > 20", Points: p[2],
			Reason: fmt.Sprintf("%d packets per slice", v.packetsPerSlice),
		},
		{
			Name: "packets_per_minute", Value: float64(v.packetsPerMinute), Limit: "8 <= x <= 30, active >= 5 s", Points: p[3],
			Reason: fmt.Sprintf("%d packets per minute", v.packetsPerMinute),
		},
		{
			Name: "active_time", Value: float64(v.active), Limit: ">= 300", Points: p[4],
			Reason: fmt.Sprintf("active for %d s", v.active),
		},
	}
	sum := p[0] + p[1] + p[2] + p[3] + p[4]
	return minecanary.Score{Scorer: nemeaName, Points: sum, Threshold: threshold, Passed: sum >= threshold, Criteria: c}
}

// nemea scores suspects: only the counted slices, in whole seconds.
type nemea struct{ threshold float64 }

func (nemea) Name() string         { return nemeaName }
func (s nemea) Threshold() float64 { return s.threshold }

func (nemea) Points(_ uint16, a *minecanary.Aggregate) float64 {
	n := nemeaOf(a)
	return n.Points()
}

func (s nemea) Explain(_ uint16, a *minecanary.Aggregate) minecanary.Score {
	n := nemeaOf(a)
	return n.Explain(s.threshold)
}

const microseconds = 1_000_000

func nemeaOf(a *minecanary.Aggregate) Nemea {
	return Nemea{
		Ack: uint64(a.Ack), AckPush: uint64(a.AckPush), Other: uint64(a.Other),
		Packets: a.CountedPackets, Bytes: a.CountedBytes,
		FirstSeen: a.CountedFirst / microseconds, LastSeen: a.CountedLast / microseconds,
	}
}
