//go:build services

package suricata_test

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	// meterEvery is the interval of the meter, and how old a connection is at least.
	meterEvery = 300 * time.Second
	// talkEvery is the greatest silence of the connections here.
	talkEvery = 30 * time.Second
	// handshake is the mark of connections of which the handshake was seen.
	handshake = "minecanary.handshake"
)

// reading is what a meter alert says of a connection.
type reading struct {
	at                 time.Time
	toServer, toClient uint64
}

// talkFor lets a connection go on for a time, with a message of each side every talkEvery.
func (k *conn) talkFor(d time.Duration) {
	for end := k.at.Add(d); k.at.Before(end); {
		at := k.at
		k.say(server, "a job, of which no rule knows what it is\n")
		k.say(client, "a share\n")
		k.at = at.Add(talkEvery)
	}
}

// readings gives the meter's alerts by connection, client and server as the connections of a capture have them, and the
// flow events.
func readings(t *testing.T, log string) (meter map[uint64][]reading, flows map[uint64]event) {
	t.Helper()
	meter, flows = map[uint64][]reading{}, map[uint64]event{}
	marked := map[uint64][]bool{}
	for _, e := range events(t, log) {
		switch {
		case e.Type == "flow" && e.Proto == "TCP":
			flows[e.ID] = e
		case e.Type == "alert" && (e.Alert.SID == sidMeter || e.Alert.SID == sidMeterTurned):
			meter[e.ID] = append(meter[e.ID], reading{e.at(t), e.Flow.ToServer, e.Flow.ToClient})
			if !netip.MustParsePrefix("10.0.0.0/8").Contains(netip.MustParseAddr(e.SrcIP)) {
				t.Errorf("the meter's alert is not of a packet from inside: %+v", e)
			}
			turned := e.Flow.SrcIP != e.SrcIP
			if wantTurned := e.Alert.SID == sidMeterTurned; turned != wantTurned {
				t.Errorf("sid %d, but the connection has %s as its client: %+v", e.Alert.SID, e.Flow.SrcIP, e)
			}
			marked[e.ID] = append(marked[e.ID], slices.Contains(e.Metadata.FlowBits, handshake))
		}
	}
	// Who opened a connection is told just where Suricata saw the handshake, and in every alert.
	for id, marks := range marked {
		flags, err := strconv.ParseUint(flows[id].TCP.Flags, 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range marks {
			if seen := flags&syn != 0; mark != seen {
				t.Errorf("an alert tells a handshake: %v, the flow event has flags %s", mark, flows[id].TCP.Flags)
			}
		}
	}
	return meter, flows
}

// TestMeter: connections of an hour, met in each way, have an alert every five minutes from the sixth on, each with the
// counters since the start.
func TestMeter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(c *capture) *conn
		want  bool
	}{
		{"opened from inside", func(c *capture) *conn { return c.connect(3333) }, true},
		{"met in the middle", func(c *capture) *conn {
			k := c.midstream(3333)
			k.say(client, "a share\n")
			return k
		}, true},
		{"met in the middle, the server first", func(c *capture) *conn {
			k := c.midstream(3333)
			k.say(server, "a job\n")
			return k
		}, true},
		{"neither end inside", func(c *capture) *conn {
			k := c.connect(3333)
			k.client = netip.MustParseAddrPort("192.0.2.77:40000")
			return k
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c capture
			k := tt.start(&c)
			if !tt.want {
				c.frames, k.packets = nil, [2]uint64{} // those of the address before
			}
			k.talkFor(time.Hour)
			k.bye()
			meter, flows := readings(t, read(t, c.write(t)))
			if len(flows) != 1 {
				t.Fatalf("%d flows", len(flows))
			}
			if !tt.want {
				if len(meter) != 0 {
					t.Errorf("metered: %v", meter)
				}
				return
			}
			for id, flow := range flows {
				checkReadings(t, meter[id], flow, k, 11, meterEvery+2*talkEvery)
			}
		})
	}
}

// checkReadings holds the readings of a connection against its packets and those that the flow event has.
func checkReadings(t *testing.T, got []reading, flow event, k *conn, atLeast int, longest time.Duration) {
	t.Helper()
	packets := k.packets
	if flow.SrcIP == k.server.Addr().String() {
		packets[0], packets[1] = packets[1], packets[0]
	}
	if flow.Flow.ToServer != packets[0] || flow.Flow.ToClient != packets[1] {
		t.Errorf("the flow event has %d/%d packets, the capture %v", flow.Flow.ToServer, flow.Flow.ToClient, packets)
	}
	// The hour has twelve intervals; the first alert comes when the first is over, and each waits for a packet.
	if len(got) < atLeast {
		t.Errorf("%d alerts: %v", len(got), got)
	}
	var last reading
	for i, r := range got {
		if i > 0 && (r.at.Sub(last.at) < meterEvery || r.at.Sub(last.at) > longest) {
			t.Errorf("%v between two alerts", r.at.Sub(last.at))
		}
		if r.toServer <= last.toServer || r.toClient <= last.toClient || r.toServer > packets[0] || r.toClient > packets[1] {
			t.Errorf("%d/%d packets after %d/%d, of %v", r.toServer, r.toClient, last.toServer, last.toClient, packets)
		}
		last = r
	}
	// Two messages and two acknowledgements a talkEvery.
	if behind := packets[0] - last.toServer; behind > uint64(2*(longest/talkEvery)+3) {
		t.Errorf("the last alert is %d packets behind", behind)
	}
}

// TestMeterOfTwins: connections between the same two addresses share the alerts under Suricata 7. None is counted wrong.
func TestMeterOfTwins(t *testing.T) {
	var c capture
	a, b := c.connect(3333), c.connect(4444)
	b.client = netip.AddrPortFrom(a.client.Addr(), 50000)
	b.server = netip.AddrPortFrom(a.server.Addr(), 4444)
	c.frames, c.conns, a.packets, b.packets = nil, 0, [2]uint64{}, [2]uint64{}
	b.at = a.at.Add(7 * time.Second)
	for _, k := range []*conn{a, b} {
		k.segment(client, syn, nil)
		k.segment(server, syn|ack, nil)
		k.segment(client, ack, nil)
		k.talkFor(time.Hour)
		k.bye()
	}
	meter, flows := readings(t, read(t, c.write(t)))
	if len(flows) != 2 {
		t.Fatalf("%d flows", len(flows))
	}
	n := 0
	for id, flow := range flows {
		k := a
		if flow.DestPort == 4444 {
			k = b
		}
		n += len(meter[id])
		t.Logf("port %d: %d alerts", flow.DestPort, len(meter[id]))
		checkReadings(t, meter[id], flow, k, 0, 24*time.Hour)
	}
	if n < 11 || n > 12 {
		t.Errorf("%d alerts of both", n)
	}
}

// TestMeterOnTrace: the two-hour capture of the Zeek scripts has miners and others, one met in the middle and one that is
// silent for seven minutes at a time. Those older than five minutes are metered, whoever they are.
func TestMeterOnTrace(t *testing.T) {
	meter, flows := readings(t, read(t, filepath.Join(tracesDir, "mining_long.pcap")))
	metered, alerts := 0, 0
	for id, flow := range flows {
		got := meter[id]
		for _, r := range got {
			if r.toServer > flow.Flow.ToServer || r.toClient > flow.Flow.ToClient {
				t.Errorf("%+v exceeds the flow's %+v", r, flow)
			}
		}
		if len(got) > 0 {
			metered++
			alerts += len(got)
		}
	}
	if metered < 5 || len(flows) <= metered {
		t.Errorf("%d of %d connections are metered", metered, len(flows))
	}
	t.Logf("%d alerts of %d connections", alerts, metered)
}
