package minecanary

import "net/netip"

// Pair is who is suspected: a client and the server endpoint it talks to.
type Pair struct {
	Client netip.Addr
	Server Endpoint
}

// Compare orders pairs by server, then client.
func (p Pair) Compare(o Pair) int {
	if c := p.Server.Compare(o.Server); c != 0 {
		return c
	}
	return p.Client.Compare(o.Client)
}

// Slices is what one client sent one server in the time of one record, as the row of slices an exporter with an active
// timeout would have made of it: direction normalised, flags per slice. It is a value without references to the input
// buffer.
type Slices struct {
	Pair
	ClientPort uint16
	Services   Services

	// Start and End of the whole stretch, Unix microseconds.
	Start, End int64

	// Slices by the OR of the client's TCP flags: exactly ACK, exactly ACK|PSH, anything else. The SYN slice of a
	// connection that goes on is in none of them, as the seed's table is entered by a pure slice only.
	Ack, AckPush, Other uint32

	// Totals of all slices, the uncounted one included. Client means client → server.
	ClientPackets, ServerPackets uint64
	ClientBytes, ServerBytes     uint64
	ClientPayload, ServerPayload uint64

	// What the counted slices hold of the client's packets and IP bytes, and when the first of them starts
	// (Unix microseconds). Zero if no slice is counted.
	CountedPackets, CountedBytes uint64
	CountedStart                 int64

	// Cumulative tells that all counters count from the start of the connection that UID names: another record of it
	// repeats them, with more. Of all such records of one connection each counter's maximum counts, once. Without a UID
	// it means nothing.
	Cumulative bool
	// Final tells that the connection has ended with this record. It matters only for cumulative ones: a store that has
	// no room to remember a connection counts its final record whole and leaves the others out, so whoever marks the
	// last record of a connection as cumulative has to mark it as final, too.
	Final bool

	UID    UID
	Sensor string
}

// Counted is the number of counted slices.
func (s *Slices) Counted() uint32 { return s.Ack + s.AckPush + s.Other }

// Repeats tells whether other records of the same connection repeat the counters: they are cumulative, and the connection
// has a name by which the others are known.
func (s *Slices) Repeats() bool { return s.Cumulative && s.UID != UID{} }
