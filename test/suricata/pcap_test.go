//go:build services

package suricata_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// capture makes a pcap file of TCP connections over Ethernet, without checksums.
type capture struct {
	frames []frame
	conns  int
}

type frame struct {
	at  time.Time
	raw []byte
}

// began is when a capture begins.
var began = time.Unix(1_700_000_000, 0).UTC()

// The flags of a segment.
const (
	fin = 1 << iota
	syn
	_
	psh
	ack
)

// side is who sends.
type side bool

const (
	client side = true
	server side = false
)

// conn is a connection of a capture.
type conn struct {
	c              *capture
	client, server netip.AddrPort
	at             time.Time
	clientSeq      uint32
	serverSeq      uint32
	packets        [2]uint64 // of the client, of the server
}

// connect gives a connection of a pair of addresses of its own that begins with the handshake.
func (c *capture) connect(port uint16) *conn {
	k := c.midstream(port)
	k.segment(client, syn, nil)
	k.segment(server, syn|ack, nil)
	k.segment(client, ack, nil)
	return k
}

// midstream gives a connection of which the handshake is not in the capture.
func (c *capture) midstream(port uint16) *conn {
	c.conns++
	n := byte(c.conns) // a capture has fewer than 250
	return &conn{
		c: c, at: began.Add(time.Duration(c.conns) * time.Second), clientSeq: 1000, serverSeq: 5000,
		client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, n}), 40000+uint16(n)),
		server: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), port),
	}
}

// segment sends one segment, 10 ms after the one before.
func (k *conn) segment(from side, flags byte, data []byte) {
	src, dst, seq, acked := k.client, k.server, &k.clientSeq, k.serverSeq
	if from == server {
		src, dst, seq, acked = k.server, k.client, &k.serverSeq, k.clientSeq
		k.packets[1]++
	} else {
		k.packets[0]++
	}
	if flags&ack == 0 {
		acked = 0
	}
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.BigEndian, v) } // a buffer takes everything
	put([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0})
	put([]byte{0x45, 0})
	put(uint16(40 + len(data)))
	put([]byte{0, 1, 0, 0, 64, 6, 0, 0})
	put(src.Addr().As4())
	put(dst.Addr().As4())
	put(src.Port())
	put(dst.Port())
	put(*seq)
	put(acked)
	put([]byte{0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0})
	put(data)
	*seq += uint32(len(data))
	if flags&(syn|fin) != 0 {
		*seq++
	}
	k.c.frames = append(k.c.frames, frame{k.at, b.Bytes()})
	k.at = k.at.Add(10 * time.Millisecond)
}

// say sends data in one segment, which the other side acknowledges.
func (k *conn) say(from side, data string) {
	k.segment(from, psh|ack, []byte(data))
	k.segment(!from, ack, nil)
}

// bye ends the connection.
func (k *conn) bye() {
	k.segment(client, fin|ack, nil)
	k.segment(server, fin|ack, nil)
	k.segment(client, ack, nil)
}

// write writes the capture to a file, in order of time.
func (c *capture) write(t *testing.T) string {
	t.Helper()
	slices.SortStableFunc(c.frames, func(a, b frame) int { return a.at.Compare(b.at) })
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	put([]uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 1 << 16, 1})
	for _, f := range c.frames {
		put([]uint32{uint32(f.at.Unix()), uint32(f.at.Nanosecond() / 1000), uint32(len(f.raw)), uint32(len(f.raw))})
		put(f.raw)
	}
	name := filepath.Join(t.TempDir(), "capture.pcap")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
