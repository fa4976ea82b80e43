// Package memory is the suspect store of the embedded mode: everything in the process's memory, with a snapshot on disk
// that holds the state and the positions it was made from.
//
// Suspects and segments lie in slabs without pointers, found through an open-addressing index: at a million suspects a
// map of pointers would cost twice the memory and a garbage collection that walks it.
package memory

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// Bounds of the store.
const (
	// DefaultMax is the default bound on suspects.
	DefaultMax = 1_000_000
	// DefaultClients is the default bound on the clients of one endpoint.
	DefaultClients = 10_000
	// Unbounded as Config.Clients: the clients of an endpoint are not bounded.
	Unbounded = -1
	// DefaultSegments is the default bound on the segments of one suspect; beyond it the two oldest become one.
	DefaultSegments = 64
	// MaxSegments is the highest such bound.
	MaxSegments = 4096
	// MaxVerdicts bounds the verdicts kept; beyond it those go that are not confirmed and expire first.
	MaxVerdicts = 100_000
	// dropShare: a full store gives up one suspect in this many at a time, so that the search for the least suspicious
	// is paid for once per many insertions.
	dropShare = 16
	// MaxSensors bounds the sensor names kept; further ones are told as "".
	MaxSensors = 4096
)

// Config is how a store is set up.
type Config struct {
	// Max bounds the suspects; 0 means DefaultMax. Segments bounds the segments of each; 0 means DefaultSegments.
	Max, Segments int
	// Clients bounds the clients of each endpoint, at most MaxClients; further ones are left out and counted as overflow,
	// until others leave. 0 means DefaultClients.
	Clients int
	// Connections bounds those that are remembered because of their cumulative records; 0 means DefaultConnections.
	Connections int
	// Report is the length of a report window, Inactive the gap that ends a stretch.
	Report, Inactive time.Duration
	// Rank says how suspicious a suspect is, to choose who goes when the store is full: the lowest first, and among
	// equals the one that was seen last the longest time ago. Nil: by time alone.
	Rank func(*enrich.Suspect) float64
	// File is the snapshot; "" means that Save does nothing.
	File string
	// Now is the wall clock, which bounds the event time of records; nil means time.Now.
	Now func() time.Time
}

// key is client, server, port and transport, addresses in 16-byte form.
type key [35]byte

func keyOf(p minecanary.Pair) (k key) {
	c, s := p.Client.As16(), p.Server.Addr.As16()
	copy(k[:16], c[:])
	copy(k[16:32], s[:])
	k[32], k[33], k[34] = byte(p.Server.Port>>8), byte(p.Server.Port), byte(p.Server.Transport)
	return k
}

func (k *key) pair() minecanary.Pair {
	return minecanary.Pair{
		Client: netip.AddrFrom16([16]byte(k[:16])).Unmap(),
		Server: minecanary.Endpoint{
			Addr:      netip.AddrFrom16([16]byte(k[16:32])).Unmap(),
			Port:      uint16(k[32])<<8 | uint16(k[33]),
			Transport: minecanary.Transport(k[34]),
		},
	}
}

// suspect is one row; 40 bytes.
type suspect struct {
	key   key
	flags uint8
	head  uint32 // newest segment
}

const (
	flagUsed uint8 = 1 << iota
	flagMarked
)

// segment is one enrich.Segment in a list from new to old.
type segment struct {
	aggregate     minecanary.Aggregate
	window        enrich.Window
	next          uint32 // older segment, none
	uid           minecanary.UID
	clientPort    uint16
	sensor        uint16
	reports, told uint8
	closed        bool
}

// none is the end of a list.
const none = math.MaxUint32

// Store is the in-memory store. It is used by one goroutine.
type Store struct {
	cfg      Config
	report   int64 // microseconds
	inactive int64

	seed     maphash.Seed
	index    []uint64 // hash's upper half, number of the suspect; 0 is free, so numbers are stored plus one
	suspects slab[suspect]
	segments slab[segment]
	clients  tally
	left     map[key]struct{} // suspects that the present batch has left out

	connections connections

	sensors     []string
	sensorIndex map[string]uint16

	positions map[string]minecanary.Position
	verdicts  map[minecanary.Endpoint]minecanary.Verdict
	version   uint64 // of the verdicts
	decided   enrich.Window
	reopened  bool
	stats     enrich.StoreStats

	segs []enrich.Segment
}

var _ enrich.Store = (*Store)(nil)

// New gives an empty store. Load fills it from the snapshot.
func New(cfg Config) *Store {
	if cfg.Max <= 0 {
		cfg.Max = DefaultMax
	}
	if cfg.Segments <= 0 {
		cfg.Segments = DefaultSegments
	}
	cfg.Segments = min(cfg.Segments, MaxSegments)
	if cfg.Clients == 0 {
		cfg.Clients = DefaultClients
	}
	cfg.Clients = min(cfg.Clients, MaxClients)
	if cfg.Connections <= 0 {
		cfg.Connections = DefaultConnections
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{
		cfg:         cfg,
		report:      max(1, cfg.Report.Microseconds()),
		inactive:    cfg.Inactive.Microseconds(),
		seed:        maphash.MakeSeed(),
		index:       make([]uint64, 1024),
		clients:     newTally(),
		left:        map[key]struct{}{},
		connections: newConnections(cfg.Connections, cfg.Now),
		sensors:     []string{""},
		sensorIndex: map[string]uint16{"": 0},
		positions:   map[string]minecanary.Position{},
		verdicts:    map[minecanary.Endpoint]minecanary.Verdict{},
	}
}

// Positions implements enrich.Store.
func (s *Store) Positions(context.Context) (map[string]minecanary.Position, error) {
	return maps.Clone(s.positions), nil
}

// Apply implements enrich.Store.
func (s *Store) Apply(_ context.Context, b *enrich.Batch, touched func(*enrich.Suspect)) (bool, error) {
	pos, seen := s.positions[b.Partition]
	fresh := !seen || b.Next.Compare(pos) > 0
	clear(s.left)
	for i := range b.Slices {
		sl, add := &b.Slices[i], fresh
		k := keyOf(sl.Pair)
		cumulative := fresh && sl.Repeats()
		if cumulative {
			sl, add = s.connections.beyond(&k, sl)
		}
		n := s.find(&k, add && s.cfg.Clients < 0)
		if n == none && add {
			if s.clients.count(&k) >= s.cfg.Clients {
				s.left[k] = struct{}{}
				continue
			}
			n = s.find(&k, true)
		}
		if n == none {
			continue // a repeated batch or record whose suspect has left
		}
		if add {
			s.add(n, sl)
			if cumulative {
				s.connections.remember()
			}
		}
		if touched != nil {
			s.show(n, touched)
		}
	}
	s.stats.Overflow += uint64(len(s.left))
	if fresh && b.Partition != "" {
		s.positions[b.Partition] = b.Next
	}
	return fresh, nil
}

// Add adds slices that belong to no partition.
func (s *Store) Add(list []minecanary.Slices) {
	_, _ = s.Apply(context.Background(), &enrich.Batch{Slices: list}, nil) // without a callback nothing fails
}

// View shows every suspect, in no order; the callback must not change anything.
func (s *Store) View(fn func(*enrich.Suspect)) {
	var v enrich.Suspect
	for n := range s.suspects.len() {
		if s.suspects.at(n).flags&flagUsed != 0 {
			s.view(n, &v)
			fn(&v)
		}
	}
}

// view makes v a view of a suspect.
func (s *Store) view(n uint32, v *enrich.Suspect) {
	row := s.suspects.at(n)
	v.Pair, v.Marked, v.Segments = row.key.pair(), row.flags&flagMarked != 0, v.Segments[:0]
	for i := row.head; i != none; {
		seg := s.segments.at(i)
		v.Segments = append(v.Segments, enrich.Segment{
			Window: seg.window, Aggregate: seg.aggregate, Reports: seg.reports, Told: seg.told, Closed: seg.closed,
			ClientPort: seg.clientPort, UID: seg.uid, Sensor: s.sensors[seg.sensor],
		})
		i = seg.next
	}
}

// show calls fn with a view of a suspect and takes over what it changed.
func (s *Store) show(n uint32, fn func(*enrich.Suspect)) {
	row := s.suspects.at(n)
	v := enrich.Suspect{Segments: s.segs}
	s.view(n, &v)
	s.segs = v.Segments
	fn(&v)
	row.flags &^= flagMarked
	if v.Marked {
		row.flags |= flagMarked
	}
	i := row.head
	for k := range v.Segments {
		seg := s.segments.at(i)
		seg.reports, seg.told, seg.closed = v.Segments[k].Reports, v.Segments[k].Told, v.Segments[k].Closed
		if k == len(v.Segments)-1 {
			s.freeList(seg.next)
			seg.next = none
		}
		i = seg.next
	}
}

// add adds slices to suspect n.
func (s *Store) add(n uint32, sl *minecanary.Slices) {
	row := s.suspects.at(n)
	window := enrich.Window(sl.End / s.report)
	s.reopened = s.reopened || window < s.decided
	if row.head != none {
		// The common case: the newest segment takes it.
		head := s.segments.at(row.head)
		if head.window == window && s.joins(&head.aggregate, sl.Start, sl.End) &&
			(head.next == none || s.segments.at(head.next).window != window) {
			if head.older(sl.End, sl.UID) {
				head.uid, head.clientPort, head.sensor = sl.UID, sl.ClientPort, s.sensor(sl.Sensor)
			}
			head.aggregate.Add(sl)
			head.closed = false
			return
		}
	}
	seg := segment{window: window, next: none, uid: sl.UID, clientPort: sl.ClientPort, sensor: s.sensor(sl.Sensor)}
	seg.aggregate.Add(sl)
	s.insert(row, seg)
}

// older tells whether a segment's newest record ended before the given end; among equals the greater UID is the newer,
// so that order does not matter.
func (g *segment) older(end int64, uid minecanary.UID) bool {
	return g.aggregate.Last < end || g.aggregate.Last == end && string(g.uid[:]) < string(uid[:])
}

// swallow adds another segment of the same suspect.
func (g *segment) swallow(o *segment) {
	if g.older(o.aggregate.Last, o.uid) {
		g.uid, g.clientPort, g.sensor = o.uid, o.clientPort, o.sensor
	}
	g.aggregate.Merge(&o.aggregate)
	g.reports, g.told = max(g.reports, o.reports), max(g.told, o.told)
}

// joins tells whether a stretch is at most the inactive timeout away from an aggregate.
func (s *Store) joins(a *minecanary.Aggregate, start, end int64) bool {
	return start-a.Last <= s.inactive && a.First-end <= s.inactive
}

// insert puts a segment into a suspect's list: it swallows the segments of its window that it reaches, until it reaches
// no more, which makes the result independent of the order of insertion.
func (s *Store) insert(row *suspect, seg segment) {
	for again := true; again; {
		again = false
		prev := uint32(none)
		for i := row.head; i != none; {
			cur := s.segments.at(i)
			next := cur.next
			if cur.window == seg.window && s.joins(&cur.aggregate, seg.aggregate.First, seg.aggregate.Last) {
				seg.swallow(cur)
				if prev == none {
					row.head = next
				} else {
					s.segments.at(prev).next = next
				}
				s.segments.free(i)
				again = true
			} else {
				prev = i
			}
			i = next
		}
	}
	prev, count := uint32(none), 0
	i := row.head
	for i != none {
		cur := s.segments.at(i)
		if cur.window < seg.window || cur.window == seg.window && cur.aggregate.First < seg.aggregate.First {
			break
		}
		prev, i = i, cur.next
		count++
	}
	seg.next = i
	n := s.segments.take()
	*s.segments.at(n) = seg
	if prev == none {
		row.head = n
	} else {
		s.segments.at(prev).next = n
	}
	for ; i != none; i = s.segments.at(i).next {
		count++
	}
	if count+1 > s.cfg.Segments {
		s.joinOldest(row)
		s.stats.Joined++
	}
}

// joinOldest makes the two oldest segments one, in the younger one's window.
func (s *Store) joinOldest(row *suspect) {
	i := row.head
	for {
		cur := s.segments.at(i)
		if old := s.segments.at(cur.next); old.next == none {
			cur.swallow(old)
			s.segments.free(cur.next)
			cur.next = none
			return
		}
		i = cur.next
	}
}

func (s *Store) sensor(name string) uint16 {
	if n, ok := s.sensorIndex[name]; ok {
		return n
	}
	if len(s.sensors) >= MaxSensors {
		return 0
	}
	n := uint16(len(s.sensors))
	s.sensors = append(s.sensors, name)
	s.sensorIndex[name] = n
	return n
}

// Shards implements enrich.Store: there is one.
func (s *Store) Shards(_ context.Context, own []enrich.Progress) ([]enrich.Shard, []string, error) {
	return []enrich.Shard{{Decided: s.decided, Reopened: s.reopened, Progress: own}}, nil, nil
}

// Decided implements enrich.Store.
func (s *Store) Decided(_ enrich.Shard, limit enrich.Window) {
	s.decided, s.reopened = max(s.decided, limit), false
}

// Each implements enrich.Store.
func (s *Store) Each(_ context.Context, _ []int, fn func(*enrich.Suspect) bool) error {
	for n := range s.suspects.len() {
		if s.suspects.at(n).flags&flagUsed == 0 {
			continue
		}
		keep := true
		s.show(n, func(v *enrich.Suspect) { keep = fn(v) })
		if !keep {
			s.remove(n)
		}
	}
	return nil
}

// Clients implements enrich.Store. It looks at every suspect: an endpoint is confirmed rarely, and an index of all
// endpoints would cost more than it saves.
func (s *Store) Clients(_ context.Context, ep minecanary.Endpoint, fn func(*enrich.Suspect)) error {
	want := keyOf(minecanary.Pair{Client: netip.IPv6Unspecified(), Server: ep})
	for n := range s.suspects.len() {
		row := s.suspects.at(n)
		if row.flags&flagUsed != 0 && [19]byte(row.key[16:]) == [19]byte(want[16:]) {
			s.show(n, fn)
		}
	}
	return nil
}

// Verdict implements enrich.Store.
func (s *Store) Verdict(_ context.Context, ep minecanary.Endpoint) (minecanary.Verdict, bool, error) {
	v, ok := s.verdicts[ep]
	return v, ok, nil
}

// PutVerdict implements enrich.Store.
func (s *Store) PutVerdict(_ context.Context, v minecanary.Verdict) error {
	if !v.Endpoint.Addr.IsValid() {
		return errors.New("verdict without an endpoint")
	}
	old, ok := s.verdicts[v.Endpoint]
	if !ok && len(s.verdicts) >= MaxVerdicts {
		s.dropEarliest()
	}
	if v.Status == minecanary.Confirmed || old.Status == minecanary.Confirmed {
		s.version++
	}
	s.verdicts[v.Endpoint] = v
	return nil
}

// dropEarliest gives up the verdicts that are not confirmed and expire first, one in dropShare of all.
func (s *Store) dropEarliest() {
	all := slices.SortedFunc(maps.Values(s.verdicts), func(a, b minecanary.Verdict) int {
		confirmed := func(v minecanary.Verdict) int {
			if v.Status == minecanary.Confirmed {
				return 1
			}
			return 0
		}
		return cmp.Or(confirmed(a)-confirmed(b), a.Expires.Compare(b.Expires), a.Endpoint.Compare(b.Endpoint))
	})
	for _, v := range all[:max(1, len(all)/dropShare)] {
		delete(s.verdicts, v.Endpoint)
		s.stats.DroppedVerdicts++
	}
}

// Verdicts implements enrich.Store.
func (s *Store) Verdicts(context.Context) ([]minecanary.Verdict, error) {
	return slices.SortedFunc(maps.Values(s.verdicts), func(a, b minecanary.Verdict) int {
		return a.Endpoint.Compare(b.Endpoint)
	}), nil
}

// VerdictsVersion implements enrich.Store.
func (s *Store) VerdictsVersion() uint64 { return s.version }

// Reset empties the suspects and keeps the memory for the next ones; verdicts, positions and connections stay.
func (s *Store) Reset() {
	clear(s.index)
	if s.cfg.Clients >= 0 {
		s.clients = newTally()
	}
	s.suspects.reset()
	s.segments.reset()
}

// DropVerdicts implements enrich.Store.
func (s *Store) DropVerdicts(_ context.Context, before time.Time) error {
	maps.DeleteFunc(s.verdicts, func(_ minecanary.Endpoint, v minecanary.Verdict) bool { return v.Expires.Before(before) })
	return nil
}

// Stats implements enrich.Store.
func (s *Store) Stats() enrich.StoreStats {
	st := s.stats
	st.Suspects, st.Segments, st.Verdicts = s.suspects.used, s.segments.used, len(s.verdicts)
	st.Connections, st.LeftOut = s.connections.len(), s.connections.leftOut
	return st
}

// dropLeast gives up the least suspicious suspects, one in dropShare of all.
func (s *Store) dropLeast() {
	type candidate struct {
		rank float64
		last int64
		n    uint32
	}
	all := make([]candidate, 0, s.suspects.used)
	for n := range s.suspects.len() {
		row := s.suspects.at(n)
		if row.flags&flagUsed == 0 {
			continue
		}
		c := candidate{n: n, last: s.segments.at(row.head).aggregate.Last}
		if s.cfg.Rank != nil {
			s.show(n, func(v *enrich.Suspect) { c.rank = s.cfg.Rank(v) })
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.last, b.last), cmp.Compare(a.n, b.n))
	})
	for _, c := range all[:max(1, len(all)/dropShare)] {
		s.remove(c.n)
		s.stats.Dropped++
	}
}
