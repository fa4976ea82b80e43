package memory

import "hash/maphash"

// tally counts the clients of each endpoint. An endpoint is known by 48 bits of its hash, which share a slot of eight bytes
// with its count: a million endpoints take 11 to 21 bytes each. Two of a million are taken for one with a chance of
// 1 in 500; then they share the room of one.
type tally struct {
	seed  maphash.Seed
	slots []uint64 // linear probing; the hash's bits, the count in the lower 16; 0 is free
	used  int
}

const (
	countBits = 16
	// MaxClients is the highest bound on the clients of one endpoint.
	MaxClients = 1<<countBits - 1
)

func newTally() tally { return tally{seed: maphash.MakeSeed(), slots: make([]uint64, 256)} }

// find gives the slot of a suspect's endpoint, or the free one that it would take.
func (t *tally) find(k *key) (slot int, finger uint64) {
	finger = maphash.Bytes(t.seed, k[16:]) >> countBits
	mask := uint64(len(t.slots) - 1)
	i := finger & mask
	for t.slots[i] != 0 && t.slots[i]>>countBits != finger {
		i = (i + 1) & mask
	}
	return int(i), finger
}

func (t *tally) count(k *key) int {
	slot, _ := t.find(k)
	return int(t.slots[slot] & MaxClients)
}

// add counts one client more.
func (t *tally) add(k *key) {
	slot, finger := t.find(k)
	switch c := t.slots[slot]; {
	case c == 0:
		t.slots[slot] = finger<<countBits | 1
		if t.used++; t.used*4 > len(t.slots)*3 {
			t.grow()
		}
	case c&MaxClients < MaxClients:
		t.slots[slot]++
	}
}

// remove counts one client less; the last one's gap is closed by moving back what was pushed on.
func (t *tally) remove(k *key) {
	slot, _ := t.find(k)
	switch t.slots[slot] & MaxClients {
	case 0:
		return
	case 1:
	default:
		t.slots[slot]--
		return
	}
	t.used--
	mask := uint64(len(t.slots) - 1)
	i := uint64(slot)
	for j := i; ; {
		j = (j + 1) & mask
		if t.slots[j] == 0 {
			break
		}
		if home := t.slots[j] >> countBits & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
}

func (t *tally) grow() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	mask := uint64(len(t.slots) - 1)
	for _, c := range old {
		if c == 0 {
			continue
		}
		i := c >> countBits & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = c
	}
}
