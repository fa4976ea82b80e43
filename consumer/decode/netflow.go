package decode

import (
	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer/eve"
)

// ReasonCountedAsNetflow is the reason of flow events of Suricata that are skipped, as netflow events of the same flow were
// counted already.
const ReasonCountedAsNetflow = "counted_as_netflow"

// MaxFlows bounds the flows of Suricata that are remembered, so that of one flow only the flow event or the netflow events
// are counted. Suricata writes them one right after the other, so that they meet within a few batches.
const MaxFlows = 1 << 16

// flowRow is a flow or netflow event of Suricata in a batch.
type flowRow struct {
	id      minecanary.UID
	netflow bool
	// slice is the place of what was made of it among the batch's, -1 for none.
	slice          int32
	packets, bytes uint64
	noFlags        bool
}

// flowIDs is a bounded set in two generations.
type flowIDs struct{ young, old map[minecanary.UID]struct{} }

func (f *flowIDs) add(id minecanary.UID) {
	if f.young == nil || len(f.young) >= MaxFlows/2 {
		f.old, f.young = f.young, make(map[minecanary.UID]struct{})
	}
	f.young[id] = struct{}{}
}

func (f *flowIDs) has(id minecanary.UID) bool {
	if _, ok := f.young[id]; ok {
		return true
	}
	_, ok := f.old[id]
	return ok
}

// seenFlows remembers which flows were counted by which of their events. Most sensors write no netflow events: until the
// first comes, the flows seen last are kept as a list, which costs little.
type seenFlows struct {
	byFlow, byNetflow flowIDs
	// recent holds the last flows, oldest at next; nil once there are netflow events.
	recent  []minecanary.UID
	next    int
	netflow bool
}

// flow takes in a flow event, and tells whether it is to be counted.
func (s *seenFlows) flow(id minecanary.UID) bool {
	if s.netflow {
		if s.byNetflow.has(id) {
			return false
		}
		s.byFlow.add(id)
		return true
	}
	if len(s.recent) < MaxFlows/2 {
		s.recent = append(s.recent, id)
		return true
	}
	s.recent[s.next] = id
	s.next = (s.next + 1) % len(s.recent)
	return true
}

// begin is called when the first netflow event has come.
func (s *seenFlows) begin() {
	if s.netflow {
		return
	}
	s.netflow = true
	for _, id := range s.recent {
		s.byFlow.add(id)
	}
	s.recent = nil
}

// settle gives the rows of a batch that are not to be counted. What flow events say counts before netflow events of the
// same batch; between batches what came first counts.
func (s *seenFlows) settle(rows []flowRow) (drop []flowRow) {
	for i := range rows {
		if rows[i].netflow {
			s.begin()
			break
		}
	}
	for i := range rows {
		if !rows[i].netflow && !s.flow(rows[i].id) {
			drop = append(drop, rows[i])
		}
	}
	if !s.netflow {
		return drop
	}
	for i := range rows {
		if !rows[i].netflow {
			continue
		}
		if s.byFlow.has(rows[i].id) {
			drop = append(drop, rows[i])
		} else {
			s.byNetflow.add(rows[i].id)
		}
	}
	return drop
}

// longRow is a record of a running connection since its start: its name, and the place of its slices.
type longRow struct {
	uid   minecanary.UID
	slice int32
}

// repeated gives the places of slices that repeat others, and counts them as such: other events of Suricata, and records of
// running connections of which interim records were seen, which have it all.
func (s *Stage) repeated(j *job) map[int32]struct{} {
	gone := map[int32]struct{}{}
	for _, r := range s.seen.settle(j.flows) {
		j.counts.Records--
		j.counts.Packets -= r.packets
		j.counts.IPBytes -= r.bytes
		if r.noFlags {
			j.counts.NoFlags--
		}
		if r.netflow {
			j.counts.Skipped[eve.ReasonNetflow]++
		} else {
			j.counts.Skipped[ReasonCountedAsNetflow]++
		}
		if r.slice >= 0 {
			j.counts.Slices -= uint64(j.slices[r.slice].Counted())
			gone[r.slice] = struct{}{}
		}
	}
	for _, r := range j.longs {
		if s.interim.has(r.uid) {
			j.counts.Records--
			j.counts.Skipped["interim"]++
			gone[r.slice] = struct{}{}
		}
	}
	return gone
}

// drop takes slices out of a batch, by their places.
func (s *Stage) drop(j *job, gone map[int32]struct{}) {
	if len(gone) == 0 {
		return
	}
	kept := 0
	for i := range j.slices {
		if _, ok := gone[int32(i)]; ok {
			continue
		}
		j.slices[kept] = j.slices[i]
		if s.cfg.KeepOrigin {
			j.origin[kept] = j.origin[i]
		}
		kept++
	}
	j.slices = j.slices[:kept]
	if s.cfg.KeepOrigin {
		j.origin = j.origin[:kept]
	}
}
