package minecanary

// Aggregate is what adds up over the slices of one suspect. Adding and merging are commutative and associative, so the
// order and the grouping of records never show. The zero value is empty.
type Aggregate struct {
	// First and Last are the earliest start and latest end of all slices, Unix microseconds.
	First, Last int64

	// Totals of all slices; client means client → server. Bytes are IP bytes.
	ClientPackets, ServerPackets uint64
	ClientBytes, ServerBytes     uint64
	ClientPayload, ServerPayload uint64

	// What the counted slices hold (see Slices).
	CountedPackets, CountedBytes uint64
	CountedFirst, CountedLast    int64

	// Counted slices by the client's TCP flags.
	Ack, AckPush, Other uint32

	// Records is the number of sensor records added.
	Records uint32

	// Services is the union of what the sensors said.
	Services Services
}

// Add adds the slices of one record.
func (a *Aggregate) Add(s *Slices) {
	one := Aggregate{
		First: s.Start, Last: s.End,
		ClientPackets: s.ClientPackets, ServerPackets: s.ServerPackets,
		ClientBytes: s.ClientBytes, ServerBytes: s.ServerBytes,
		ClientPayload: s.ClientPayload, ServerPayload: s.ServerPayload,
		CountedPackets: s.CountedPackets, CountedBytes: s.CountedBytes,
		Ack: s.Ack, AckPush: s.AckPush, Other: s.Other,
		Records: 1, Services: s.Services,
	}
	if s.Counted() > 0 {
		one.CountedFirst, one.CountedLast = s.CountedStart, s.End
	}
	a.Merge(&one)
}

// Merge adds another aggregate.
func (a *Aggregate) Merge(b *Aggregate) {
	if b.Records == 0 {
		return
	}
	if a.Records == 0 {
		*a = *b
		return
	}
	a.First = min(a.First, b.First)
	a.Last = max(a.Last, b.Last)
	a.ClientPackets += b.ClientPackets
	a.ServerPackets += b.ServerPackets
	a.ClientBytes += b.ClientBytes
	a.ServerBytes += b.ServerBytes
	a.ClientPayload += b.ClientPayload
	a.ServerPayload += b.ServerPayload
	// The rest of a cumulative record may have packets for a slice that was counted before.
	a.CountedPackets += b.CountedPackets
	a.CountedBytes += b.CountedBytes
	if b.Counted() > 0 {
		if a.Counted() == 0 {
			a.CountedFirst, a.CountedLast = b.CountedFirst, b.CountedLast
		} else {
			a.CountedFirst = min(a.CountedFirst, b.CountedFirst)
			a.CountedLast = max(a.CountedLast, b.CountedLast)
		}
		a.Ack += b.Ack
		a.AckPush += b.AckPush
		a.Other += b.Other
	}
	a.Records += b.Records
	a.Services |= b.Services
}

// Counted is the number of counted slices.
func (a *Aggregate) Counted() uint32 { return a.Ack + a.AckPush + a.Other }

// Pure is the number of counted slices whose flags were exactly ACK or ACK|PSH. A suspect without any is held, but
// neither scored nor reported on its score.
func (a *Aggregate) Pure() uint32 { return a.Ack + a.AckPush }
