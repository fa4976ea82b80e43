package enrich

import (
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"github.com/minecanary/minecanary"
)

// The bounds of how far an address reaches.
const (
	// MaxReach is how many server addresses are followed in each generation, some 100 bytes each.
	MaxReach = 100_000
	// reachSpan is how long a generation lasts; there are two.
	reachSpan = 24 * time.Hour
	// reachBits is the size of an address's bitmap. It tells apart counts up to some 3,000.
	reachBits = 512
)

// reach estimates how many inside hosts talked to each server address in the last 24 to 48 hours, by linear counting
// (Whang, Vander-Zanden and Taylor 1990): each client sets one bit of a bitmap, and the share of bits that are not set
// tells how many there were, to within some 5 % at a few hundred. A feed of addresses matches all of them, miners or not.
// Its methods may be called by several goroutines at once.
type reach struct {
	seed maphash.Seed

	mu         sync.Mutex
	young, old map[netip.Addr]*[reachBits / 64]uint64
	// turn is when the young generation becomes old, Unix microseconds of the records.
	turn int64
	// began is when the first record ended.
	began int64
	// full tells that an address could not be followed in a generation.
	full, oldFull bool
}

func newReach() *reach { return &reach{seed: maphash.MakeSeed()} }

// see takes in the slices of a batch in which the client sent data: a packet that a server sends to anybody says nothing.
// Times beyond ahead (Unix microseconds) count as that.
func (r *reach) see(all []minecanary.Slices, ahead int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range all {
		s := &all[i]
		if s.ClientPayload == 0 {
			continue
		}
		end := min(s.End, ahead)
		if r.young == nil {
			r.began = end
		}
		if r.young == nil || end >= r.turn {
			r.old, r.oldFull = r.young, r.full
			r.young, r.full = map[netip.Addr]*[reachBits / 64]uint64{}, false
			r.turn = end + reachSpan.Microseconds()
		}
		set := r.young[s.Server.Addr]
		if set == nil {
			if len(r.young) >= MaxReach {
				r.full = true
				continue
			}
			set = new([reachBits / 64]uint64)
			r.young[s.Server.Addr] = set
		}
		bit := maphash.Comparable(r.seed, s.Client) % reachBits
		set[bit/64] |= 1 << (bit % 64)
	}
}

// hosts estimates how many hosts talked to an address; ok is false if it may not have been followed.
func (r *reach) hosts(addr netip.Addr) (n int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var set [reachBits / 64]uint64
	for _, generation := range [...]map[netip.Addr]*[reachBits / 64]uint64{r.young, r.old} {
		if s := generation[addr]; s != nil {
			ok = true
			for i := range set {
				set[i] |= s[i]
			}
		}
	}
	zeros := reachBits
	for _, word := range set {
		zeros -= bits.OnesCount64(word)
	}
	n = int(math.Round(reachBits * math.Log(reachBits/math.Max(float64(zeros), 0.5))))
	// Nobody yet says little before a day of records was seen.
	return n, ok || !r.full && !r.oldFull && r.turn-r.began >= 2*reachSpan.Microseconds()
}

// Hosts estimates how many inside hosts talked to a server address in the last 24 to 48 hours of records, as far as this
// process has seen them since it began; ok is false if that is not known. It is safe for concurrent use.
func (e *Engine) Hosts(addr netip.Addr) (n int, ok bool) {
	if e.reach == nil {
		return 0, false
	}
	return e.reach.hosts(addr)
}
