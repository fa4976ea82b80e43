package memory

import (
	"math"
	"time"

	"github.com/minecanary/minecanary"
)

// The bounds on connections that are remembered because their records are cumulative.
const (
	// DefaultConnections is the default bound on them. Running ones and ended ones have a half of it each. One takes about
	// 200 bytes (TestMemoryPerConnection).
	DefaultConnections = 200_000
	// Silence is how long running connections must have had no record before they may be forgotten for others. Zeek's
	// conn_long has up to two days between two records of a connection.
	Silence = 72 * time.Hour
)

// connection names a connection.
type connection struct {
	Suspect key
	UID     minecanary.UID
}

// totals are the highest counters seen of a connection, and its latest end.
type totals struct {
	End int64
	// Counts are packets, bytes and payload of client and server, then the packets and bytes of counted slices.
	Counts [8]uint64
	// Slices are counted slices: ACK, ACK|PSH, others.
	Slices [3]uint32
}

func totalsOf(sl *minecanary.Slices) totals {
	return totals{
		End: sl.End,
		Counts: [8]uint64{
			sl.ClientPackets, sl.ServerPackets, sl.ClientBytes, sl.ServerBytes, sl.ClientPayload, sl.ServerPayload,
			sl.CountedPackets, sl.CountedBytes,
		},
		Slices: [3]uint32{sl.Ack, sl.AckPush, sl.Other},
	}
}

// raise takes over what is higher in o, and leaves in o what it is higher by; more tells whether a counter is.
func (t *totals) raise(o *totals) (more bool) {
	t.End = max(t.End, o.End)
	for i, v := range o.Counts {
		higher := max(v, t.Counts[i])
		o.Counts[i] = higher - t.Counts[i]
		t.Counts[i] = higher
		more = more || o.Counts[i] > 0
	}
	for i, v := range o.Slices {
		higher := max(v, t.Slices[i])
		o.Slices[i] = higher - t.Slices[i]
		t.Slices[i] = higher
		more = more || o.Slices[i] > 0
	}
	return more
}

// generations remember connections: those that had a record since the generations were turned are young, the others old,
// and the old ones are forgotten together.
type generations struct {
	young, old map[connection]totals
	most       int
	// silence is how long the old ones must have been silent to be forgotten, microseconds.
	silence int64
	last    ends
}

// ends are the latest ends of the young, of the old, and of those that were forgotten, Unix microseconds.
type ends struct {
	Young, Old, Gone int64
}

func newGenerations(most int, silence int64) generations {
	return generations{young: map[connection]totals{}, old: map[connection]totals{}, most: max(2, most), silence: silence}
}

func (g *generations) len() int { return len(g.young) + len(g.old) }

func (g *generations) find(c *connection) (t totals, ok bool) {
	if t, ok = g.young[*c]; !ok {
		t, ok = g.old[*c]
	}
	return t, ok
}

// room tells whether there is room for one more, at an event time. It forgets the old ones for that if it may.
func (g *generations) room(at int64) bool {
	if (2*len(g.young) >= g.most || g.len() >= g.most) && (len(g.old) == 0 || g.last.Old+g.silence < at) {
		g.turn()
	}
	return g.len() < g.most
}

func (g *generations) turn() {
	if len(g.old) > 0 {
		g.last.Gone = max(g.last.Gone, g.last.Old)
	}
	g.old, g.last.Old = g.young, g.last.Young
	g.young, g.last.Young = map[connection]totals{}, 0
}

// shrink forgets what there are too many of, after the bound was lowered.
func (g *generations) shrink() {
	for g.len() > g.most {
		g.turn()
	}
}

func (g *generations) put(c *connection, t *totals, at int64) {
	delete(g.old, *c)
	g.young[*c] = *t
	g.last.Young = max(g.last.Young, at)
}

func (g *generations) remove(c *connection) {
	delete(g.young, *c)
	delete(g.old, *c)
}

// connections tell what is new in cumulative records. What they remember is as durable as the positions.
type connections struct {
	running, ended generations
	now            func() time.Time
	leftOut        uint64

	// What beyond found.
	next  connection
	sum   totals
	final bool
	news  minecanary.Slices
}

func newConnections(most int, now func() time.Time) connections {
	// The ended ones are forgotten whenever there is no room: see accepts for what comes late.
	const anyTime = math.MinInt64 / 2
	return connections{
		running: newGenerations(most/2, Silence.Microseconds()), ended: newGenerations(most/2, anyTime), now: now,
	}
}

// tables are all connections, in the order of a snapshot.
func (c *connections) tables() [4]map[connection]totals {
	return [4]map[connection]totals{c.running.old, c.running.young, c.ended.old, c.ended.young}
}

func (c *connections) len() int { return c.running.len() + c.ended.len() }

// beyond gives what a cumulative record has beyond those before it, and whether there is anything to add. It stays until
// the next call; remember has to be called if it was added.
func (c *connections) beyond(k *key, sl *minecanary.Slices) (news *minecanary.Slices, add bool) {
	c.next, c.final = connection{*k, sl.UID}, sl.Final
	was, running := c.running.find(&c.next)
	known := running
	if !running {
		was, known = c.ended.find(&c.next)
	}
	delta := totalsOf(sl)
	c.sum = was
	add = c.sum.raise(&delta)
	if !known {
		if add && !sl.Final && !c.accepts(sl) {
			c.leftOut++
			add = false
		}
		return sl, add
	}
	c.final = sl.Final || !running
	if !add {
		if c.sum.End != was.End || running && c.final {
			c.remember()
		}
		return sl, false
	}
	c.news = *sl
	n := &c.news
	n.Start = min(max(n.Start, was.End), n.End)
	n.ClientPackets, n.ServerPackets, n.ClientBytes, n.ServerBytes = delta.Counts[0], delta.Counts[1], delta.Counts[2], delta.Counts[3]
	n.ClientPayload, n.ServerPayload, n.CountedPackets, n.CountedBytes = delta.Counts[4], delta.Counts[5], delta.Counts[6], delta.Counts[7]
	n.Ack, n.AckPush, n.Other = delta.Slices[0], delta.Slices[1], delta.Slices[2]
	if n.CountedStart = max(n.CountedStart, n.Start); n.Counted() == 0 {
		n.CountedStart = 0
	}
	return n, true
}

// accepts tells whether the first record that is known of a running connection may be counted: it is remembered, and it
// was not counted and forgotten before. A connection that was forgotten ended had no record after the latest end of those;
// one that was forgotten running had begun by then.
func (c *connections) accepts(sl *minecanary.Slices) bool {
	return sl.End > c.ended.last.Gone && sl.Start > c.running.last.Gone && c.running.room(c.at(sl.End))
}

// remember notes what beyond gave as counted.
func (c *connections) remember() {
	at := c.at(c.sum.End)
	if !c.final {
		c.running.put(&c.next, &c.sum, at)
		return
	}
	c.running.remove(&c.next)
	c.ended.room(at)
	c.ended.put(&c.next, &c.sum, at)
}

// at is the event time of a record. One from the future must not make all others late.
func (c *connections) at(end int64) int64 { return min(end, c.now().UnixMicro()) }
