package redis

import (
	"context"
	"encoding/binary"
	"math"
	"slices"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
	"github.com/minecanary/minecanary/enrich/memory"
)

// gathered is what some batches of different partitions add to the shards.
type gathered struct {
	batches []*enrich.Batch
	scratch *memory.Store
	calls   []call // one for each shard
	// incs are the incarnations that the keys name, and sensors the turn of the sensors' numbers in the segments; whole
	// tells that all sensors had one.
	incs    []string
	sensors uint64
	whole   bool
}

// call is what is added to one shard.
type call struct {
	keys    []string
	blob    []byte
	pairs   []minecanary.Pair
	minLast int64
	// cumulative is how many of the pairs, the last ones, are of a cumulative record each.
	cumulative int
	answer     string
}

func newGathered(cfg Config) *gathered {
	return &gathered{
		calls: make([]call, cfg.Shards),
		scratch: memory.New(memory.Config{
			Max: math.MaxInt32, Clients: memory.Unbounded, Segments: cfg.Segments, Report: cfg.Report, Inactive: cfg.Inactive,
		}),
	}
}

// Apply implements enrich.Store. It goes on trying while Redis is away.
func (s *Store) Apply(ctx context.Context, b *enrich.Batch, touched func(*enrich.Suspect)) (bool, error) {
	out, err := s.Gather([]*enrich.Batch{b})(ctx, touched)
	if err == nil && out[0] == enrich.Stale {
		err = enrich.ErrRestart
	}
	return out[0] == enrich.Applied, err
}

// Gather implements enrich.Joiner: what the batches have in common goes to Redis once.
func (s *Store) Gather(batches []*enrich.Batch) func(context.Context, func(*enrich.Suspect)) ([]enrich.Outcome, error) {
	s.turn++
	g := s.ahead[s.turn%len(s.ahead)]
	s.mu.Lock()
	incs := slices.Clone(s.inc)
	s.mu.Unlock()
	s.gather(g, batches, incs)
	return func(ctx context.Context, touched func(*enrich.Suspect)) ([]enrich.Outcome, error) {
		return s.applyAll(ctx, g, touched)
	}
}

// applyAll applies what was gathered.
func (s *Store) applyAll(ctx context.Context, g *gathered, touched func(*enrich.Suspect)) ([]enrich.Outcome, error) {
	batches := g.batches
	out := make([]enrich.Outcome, len(batches))
	var list []*enrich.Batch
	var places []int
	for i, b := range batches {
		if p, _ := s.started(b.Partition, b.Token); p == nil {
			out[i] = enrich.Stale
			continue
		}
		list, places = append(list, b), append(places, i)
	}
	if len(list) < len(batches) {
		s.gather(g, list, g.incs)
	}
	if len(list) > 1 {
		outcome, one, err := s.together(ctx, g, touched)
		if err != nil || one {
			for _, i := range places {
				out[i] = outcome
			}
			return out, err
		}
	}
	// Alone, each tells what is the matter with it; what was added together in some shards is told as such.
	for k, b := range list {
		if len(list) > 1 {
			s.gather(g, []*enrich.Batch{b}, g.incs)
		}
		outcome, one, err := s.together(ctx, g, touched)
		if err != nil {
			return out, err
		}
		if out[places[k]] = outcome; !one {
			s.stop(b.Partition, b.Token)
			out[places[k]] = enrich.Stale
		}
	}
	return out, nil
}

// gather adds up the slices of batches per suspect and lays out the calls. Cumulative records go one by one, as only the
// state tells what is new in them. It asks nobody: what it does not know it leaves for renewed.
func (s *Store) gather(g *gathered, batches []*enrich.Batch, incs []string) {
	g.batches, g.incs, g.whole = batches, incs, true
	s.sensorsMu.Lock()
	g.sensors = s.sensorsTurn
	s.sensorsMu.Unlock()
	g.scratch.Reset()
	cumulative := false
	for _, b := range batches {
		from := 0
		for i := range b.Slices {
			if b.Slices[i].Repeats() {
				g.scratch.Add(b.Slices[from:i])
				cumulative, from = true, i+1
			}
		}
		g.scratch.Add(b.Slices[from:])
	}
	for i := range g.calls {
		c := &g.calls[i]
		c.keys = append(c.keys[:0], s.key(i, "m"), s.key(i, "v"))
		c.blob, c.pairs, c.minLast, c.cumulative, c.answer = c.blob[:0], c.pairs[:0], math.MaxInt64>>10, 0, ""
	}
	l := s.layout(g)
	g.scratch.View(func(v *enrich.Suspect) {
		c, at := l.begin(&v.Pair)
		for k := range v.Segments {
			seg := &v.Segments[k]
			c.minLast = min(c.minLast, seg.Aggregate.Last)
			c.blob = l.segment(c.blob, &seg.Aggregate, seg.ClientPort, seg.Sensor, seg.UID)
		}
		c.end(at)
	})
	if !cumulative {
		return
	}
	for _, b := range batches {
		for i := range b.Slices {
			sl := &b.Slices[i]
			if !sl.Repeats() {
				continue
			}
			c, at := l.begin(&sl.Pair)
			c.cumulative++
			c.blob = l.record(c.blob, sl)
			c.end(at)
		}
	}
	for i := range g.calls {
		if c := &g.calls[i]; c.cumulative > 0 {
			c.keys = append(c.keys, s.tables(i, incs[i])...)
		}
	}
}

// tables are the keys of the connections that a shard remembers.
func (s *Store) tables(shard int, inc string) []string {
	key := s.key(shard, "k"+inc)
	return []string{key + "a", key + "b", key + "c", key + "d"}
}

// layout lays out calls. It remembers the last sensor's number.
type layout struct {
	s         *Store
	g         *gathered
	key       []byte // of an endpoint, up to base the same but for shard and incarnation
	base, tag int
	sensor    string
	number    uint32
}

func (s *Store) layout(g *gathered) layout {
	key := []byte(s.cfg.Prefix + "{00}e000000")
	return layout{s: s, g: g, key: key, base: len(key), tag: len(s.cfg.Prefix) + 1}
}

// begin lays out key and client of a suspect, and room for a length, which it gives the place of.
func (l *layout) begin(p *minecanary.Pair) (c *call, at int) {
	const hex = "0123456789abcdef"
	l.key = appendEndpoint(l.key[:l.base], p.Server)
	i := shardOf(l.key[l.base:], l.s.cfg.Shards)
	l.key[l.tag], l.key[l.tag+1] = hex[i>>4], hex[i&15]
	copy(l.key[l.base-6:l.base], l.g.incs[i])
	c = &l.g.calls[i]
	c.keys = append(c.keys, string(l.key))
	c.pairs = append(c.pairs, *p)
	at = len(c.blob)
	c.blob = append(c.blob, 0)
	c.blob = appendAddr(c.blob, p.Client)
	c.blob[at] = byte(len(c.blob) - at - 1)
	at = len(c.blob)
	c.blob = append(c.blob, 0, 0)
	return c, at
}

// end fills in the length at a place.
func (c *call) end(at int) { binary.BigEndian.PutUint16(c.blob[at:], uint16(len(c.blob)-at-2)) }

func (l *layout) segment(b []byte, a *minecanary.Aggregate, port uint16, sensor string, uid minecanary.UID) []byte {
	if sensor != l.sensor {
		var known bool
		l.number, known = l.s.knownSensor(sensor)
		l.sensor, l.g.whole = sensor, l.g.whole && known
	}
	one := segment{aggregate: *a, port: port, sensor: l.number, uid: uid}
	return one.append(b)
}

// record lays out a cumulative record: whether it is the last of its connection, the connection's endpoint and name, and
// the record as a segment.
func (l *layout) record(b []byte, sl *minecanary.Slices) []byte {
	final := byte(0)
	if sl.Final {
		final = 1
	}
	at := len(b) + 1
	b = append(b, final, 0, 0)
	b = appendEndpoint(b, sl.Server)
	b[at+1] = byte(len(b) - at - 2)
	b = appendUID(b, sl.UID)
	b[at] = byte(len(b) - at - 1)
	var a minecanary.Aggregate
	a.Add(sl)
	return l.segment(b, &a, sl.ClientPort, sl.Sensor, sl.UID)
}

// renewed gathers once more what was gathered before something was known that matters: which incarnation of the shards
// is the present one, and what the sensors' numbers are.
func (s *Store) renewed(ctx context.Context, g *gathered, incs []string) error {
	if g.whole && g.sensors == s.sensorsTurn && slices.Equal(g.incs, incs) {
		return nil
	}
	for _, b := range g.batches {
		for i := range b.Slices {
			if i > 0 && b.Slices[i].Sensor == b.Slices[i-1].Sensor {
				continue
			}
			if _, err := s.sensor(ctx, b.Slices[i].Sensor); err != nil {
				return err
			}
		}
	}
	s.gather(g, g.batches, incs)
	return nil
}
