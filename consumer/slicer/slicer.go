// Package slicer turns a record into slices: it says who is the client, and cuts a whole connection into the row of
// slices that a NetFlow exporter with an active timeout would have made, because the score was made for those.
package slicer

import (
	"net/netip"
	"time"

	"github.com/minecanary/minecanary"
)

// MinVirtual is the shortest virtual slice that makes sense: below it every packet would be a slice.
const MinVirtual = time.Second

// MinCumulative is how long a connection lasts at least of which running records may exist (minecanary.KindLong): the
// shortest interval at which their sources can be told to write them. Shorter ones are spared the remembering of what
// was counted already.
const MinCumulative = time.Minute

// Config is how to slice.
type Config struct {
	// Virtual is the length of a virtual slice of a whole-connection record; at least MinVirtual.
	Virtual time.Duration
	// Local are the networks whose hosts are clients; they replace the log's own flags. Empty: the log's flags.
	Local []netip.Prefix
	// Plain tells that no sensor writes records of running connections since their start (minecanary.KindLong): those there
	// are make no slices, and no others are Cumulative.
	Plain bool
}

// Slicer cuts records. It has no state and may be used by several goroutines.
type Slicer struct {
	virtual int64 // microseconds
	local   []netip.Prefix
	plain   bool
}

// New gives a slicer.
func New(cfg Config) *Slicer {
	return &Slicer{virtual: max(cfg.Virtual, MinVirtual).Microseconds(), local: cfg.Local, plain: cfg.Plain}
}

// Slice fills out with the slices of rec. It is false if the record makes none: not TCP, no packet at all, or a running
// connection of Config.Plain or without a name, whose records cannot be told to repeat each other.
func (s *Slicer) Slice(rec *minecanary.Record, out *minecanary.Slices) bool {
	if rec.Transport != minecanary.TCP || rec.OrigPackets+rec.RespPackets == 0 ||
		rec.Kind == minecanary.KindLong && (s.plain || rec.UID == (minecanary.UID{})) {
		return false
	}
	flags := rec.OrigFlags
	if s.turned(rec) {
		flags = rec.RespFlags
		out.Client, out.ClientPort = rec.Resp, rec.RespPort
		out.Server = minecanary.Endpoint{Addr: rec.Orig, Port: rec.OrigPort, Transport: minecanary.TCP}
		out.ClientPackets, out.ServerPackets = rec.RespPackets, rec.OrigPackets
		out.ClientBytes, out.ServerBytes = rec.RespBytes, rec.OrigBytes
		out.ClientPayload, out.ServerPayload = rec.RespPayload, rec.OrigPayload
	} else {
		out.Client, out.ClientPort = rec.Orig, rec.OrigPort
		out.Server = minecanary.Endpoint{Addr: rec.Resp, Port: rec.RespPort, Transport: minecanary.TCP}
		out.ClientPackets, out.ServerPackets = rec.OrigPackets, rec.RespPackets
		out.ClientBytes, out.ServerBytes = rec.OrigBytes, rec.RespBytes
		out.ClientPayload, out.ServerPayload = rec.OrigPayload, rec.RespPayload
	}
	out.Services, out.UID, out.Sensor = rec.Services, rec.UID, rec.Sensor
	out.Cumulative = !s.plain && cumulative(rec)
	out.Final = out.Cumulative && rec.Kind != minecanary.KindLong
	out.Start, out.End = rec.Start, rec.End
	out.Ack, out.AckPush, out.Other = 0, 0, 0
	out.CountedPackets, out.CountedBytes, out.CountedStart = out.ClientPackets, out.ClientBytes, rec.Start

	// A slice without a packet of the client does not exist: an exporter has nothing to export.
	if out.ClientPackets == 0 {
		out.CountedBytes, out.CountedStart = 0, 0
		return true
	}
	if !rec.FlagsKnown {
		// Picked up without a handshake by a sensor that does not follow such connections: nothing says that an end
		// of it was seen, so it is the middle of one.
		flags = minecanary.ACK
		if out.ClientPayload > 0 {
			flags |= minecanary.PSH
		}
	}
	if !rec.FlagsKnown && rec.Kind == minecanary.KindFlow {
		// The exporter did not tell, or saw samples: nothing says what slice this is, so nothing may be made of it.
		out.Other = 1
		return true
	}
	n := int64(1)
	if rec.Kind == minecanary.KindConn || rec.Kind == minecanary.KindLong {
		n = max(1, (rec.End-rec.Start+s.virtual-1)/s.virtual)
		if uint64(n) > out.ClientPackets {
			n = int64(out.ClientPackets)
		}
	}
	pure := uint32(n)
	if n == 1 {
		switch {
		case flags == minecanary.ACK, flags == minecanary.ACK|minecanary.PSH:
		case flags.Has(minecanary.SYN) && goesOn(rec, flags):
			out.CountedPackets, out.CountedBytes, out.CountedStart = 0, 0, 0
			return true
		default:
			pure, out.Other = 0, 1
		}
	} else {
		if flags.Has(minecanary.SYN) {
			// The first slice holds the SYN and the connection goes on: not counted.
			pure--
			out.CountedPackets -= out.ClientPackets / uint64(n)
			out.CountedBytes -= out.ClientBytes / uint64(n)
			out.CountedStart += (rec.End - rec.Start) / n
		}
		if flags.Has(minecanary.FIN | minecanary.RST) {
			pure--
			out.Other = 1
		}
	}
	if flags.Has(minecanary.PSH) {
		out.AckPush = pure
	} else {
		out.Ack = pure
	}
	return true
}

// cumulative tells whether other records may repeat what this one holds. Those of a connection are told by its name:
// where it has none, nothing can be compared. A row of a flow exporter has none; Suricata's netflow events do, and hold
// all of one direction since the start.
func cumulative(rec *minecanary.Record) bool {
	switch {
	case rec.Kind == minecanary.KindInterim, rec.UID == minecanary.UID{}:
		return false
	case rec.Kind == minecanary.KindLong:
		return true
	}
	return rec.End-rec.Start >= MinCumulative.Microseconds()
}

// goesOn tells whether the connection goes on after a slice with a SYN of the client. An exporter does not say: it does
// unless an end was seen, or the SYN drew no answer that the client acknowledged.
func goesOn(rec *minecanary.Record, flags minecanary.TCPFlags) bool {
	switch rec.Kind {
	case minecanary.KindLong:
		return true
	case minecanary.KindInterim:
		return !rec.Final
	case minecanary.KindFlow:
		return flags.Has(minecanary.ACK) && !flags.Has(minecanary.FIN|minecanary.RST)
	}
	return false
}

// turned tells whether the record's responder is the client.
//
// A handshake that was seen settles it: sensors make the sender of the SYN the originator. Without one the sender of the first packet seen stands as originator, and that
// is the pool about as often as the miner, so in this order: our own or the log's local networks if they tell the two
// apart, ports that servers are known for, the lower port.
func (s *Slicer) turned(rec *minecanary.Record) bool {
	if rec.Kind == minecanary.KindFlow {
		return s.turnedFlow(rec)
	}
	if rec.Handshake {
		return false
	}
	origLocal, respLocal := rec.OrigLocal == minecanary.Local, rec.RespLocal == minecanary.Local
	if len(s.local) > 0 {
		origLocal, respLocal = contains(s.local, rec.Orig), contains(s.local, rec.Resp)
	} else if rec.OrigLocal == minecanary.LocalityUnknown || rec.RespLocal == minecanary.LocalityUnknown {
		origLocal, respLocal = false, false
	}
	if origLocal != respLocal {
		return respLocal
	}
	if o, r := serverPort(rec.OrigPort), serverPort(rec.RespPort); o != r {
		return o
	}
	return rec.OrigPort < rec.RespPort
}

// turnedFlow is turned for a row of a flow exporter, which never tells who opened the connection: the flags of a row are
// OR-ed, so that the server's SYN looks like the client's. Ports come first: with networks first every visitor of an
// inside server would stand as a server. Both rows of a connection come out the same.
func (s *Slicer) turnedFlow(rec *minecanary.Record) bool {
	if o, r := serverPort(rec.OrigPort), serverPort(rec.RespPort); o != r {
		return o
	}
	if o, r := s.inside(rec.Orig), s.inside(rec.Resp); o != r {
		return r
	}
	if rec.OrigPort != rec.RespPort {
		return rec.OrigPort < rec.RespPort
	}
	return rec.Orig.Less(rec.Resp)
}

// inside tells whether an address is one of ours: of our networks, or private (RFC 1918, RFC 4193) if none are known.
func (s *Slicer) inside(a netip.Addr) bool {
	if len(s.local) > 0 {
		return contains(s.local, a)
	}
	return a.IsPrivate()
}

func contains(nets []netip.Prefix, a netip.Addr) bool {
	for _, p := range nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
