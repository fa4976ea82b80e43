package memory

import "hash/maphash"

// slab is a growing array in chunks, so that growth copies nothing and wastes at most a chunk; freed places are used
// again. T holds no pointers.
type slab[T any] struct {
	chunks [][]T
	next   uint32 // first place never used
	holes  []uint32
	used   int
}

const (
	chunkBits = 12
	chunkSize = 1 << chunkBits
)

func (s *slab[T]) at(n uint32) *T { return &s.chunks[n>>chunkBits][n&(chunkSize-1)] }

// len is the number of places ever used.
func (s *slab[T]) len() uint32 { return s.next }

func (s *slab[T]) take() uint32 {
	s.used++
	if n := len(s.holes); n > 0 {
		place := s.holes[n-1]
		s.holes = s.holes[:n-1]
		return place
	}
	if s.next>>chunkBits == uint32(len(s.chunks)) {
		s.chunks = append(s.chunks, make([]T, chunkSize))
	}
	s.next++
	return s.next - 1
}

func (s *slab[T]) free(n uint32) {
	var zero T
	*s.at(n) = zero
	s.holes = append(s.holes, n)
	s.used--
}

// reset makes every place free without giving memory back. Places are written as a whole before they are read.
func (s *slab[T]) reset() {
	s.next, s.used, s.holes = 0, 0, s.holes[:0]
}

// The index maps a key's hash to a suspect's number by linear probing. A slot holds the upper 32 bits of the hash and
// the number plus one; the home slot comes from those same bits, so that growing touches no suspect.
func slotOf(hash uint64, number uint32) uint64 { return hash>>32<<32 | uint64(number+1) }

func (s *Store) home(slot uint64) uint64 { return slot >> 32 & uint64(len(s.index)-1) }

// find gives the number of a key's suspect; it makes one if create is set, and gives none otherwise.
func (s *Store) find(k *key, create bool) uint32 {
	hash := maphash.Bytes(s.seed, k[:])
	mask := uint64(len(s.index) - 1)
	for i := hash >> 32 & mask; ; i = (i + 1) & mask {
		slot := s.index[i]
		if slot == 0 {
			break
		}
		if slot>>32 == hash>>32 {
			if n := uint32(slot) - 1; s.suspects.at(n).key == *k {
				return n
			}
		}
	}
	if !create {
		return none
	}
	if s.suspects.used >= s.cfg.Max {
		s.dropLeast()
	}
	n := s.suspects.take()
	*s.suspects.at(n) = suspect{key: *k, flags: flagUsed, head: none}
	if s.suspects.used*4 > len(s.index)*3 {
		s.grow()
	}
	s.place(slotOf(hash, n))
	if s.cfg.Clients >= 0 {
		s.clients.add(k)
	}
	return n
}

func (s *Store) place(slot uint64) {
	mask := uint64(len(s.index) - 1)
	i := s.home(slot)
	for s.index[i] != 0 {
		i = (i + 1) & mask
	}
	s.index[i] = slot
}

func (s *Store) grow() {
	old := s.index
	s.index = make([]uint64, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			s.place(slot)
		}
	}
}

// remove takes a suspect out, and closes the gap in the index by moving back what was pushed on.
func (s *Store) remove(n uint32) {
	row := s.suspects.at(n)
	hash := maphash.Bytes(s.seed, row.key[:])
	mask := uint64(len(s.index) - 1)
	i := hash >> 32 & mask
	for s.index[i] != slotOf(hash, n) {
		i = (i + 1) & mask
	}
	for j := i; ; {
		j = (j + 1) & mask
		if s.index[j] == 0 {
			break
		}
		if (j-s.home(s.index[j]))&mask >= (j-i)&mask {
			s.index[i] = s.index[j]
			i = j
		}
	}
	s.index[i] = 0
	if s.cfg.Clients >= 0 {
		s.clients.remove(&row.key)
	}
	s.freeList(row.head)
	s.suspects.free(n)
}

func (s *Store) freeList(i uint32) {
	for i != none {
		next := s.segments.at(i).next
		s.segments.free(i)
		i = next
	}
}
