package enrich

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"

	"github.com/minecanary/minecanary"
)

// The bounds of the names that addresses were reached by: 1 M of them take some 60 MB.
const (
	// MaxNames is how many are held; beyond it the half learnt first is forgotten.
	MaxNames = 1_000_000
	// maxNameText is how many bytes of names are held, in pieces of namePiece.
	maxNameText = 36 << 20
	namePiece   = 1 << 16
)

// nameTable remembers by which name an address, or a server on it, was last reached. Nobody's verdict rests on it: it
// says which name to greet a server with, and how to call it. Its methods may be called by several goroutines at once.
type nameTable struct {
	seed maphash.Seed

	mu         sync.Mutex
	young, old names
}

// names is one generation. Keys are hashed: two servers of one hash in 2^64 would share a name.
type names struct {
	at map[uint64]nameRef
	// text has each name behind a byte with its length, none across two pieces.
	text [][]byte
}

type nameRef struct {
	offset uint32 // piece * namePiece + place in it
	seen   uint32 // seconds since the epoch
}

type nameKey struct {
	addr netip.Addr
	port uint16
}

func newNameTable() *nameTable { return &nameTable{seed: maphash.MakeSeed()} }

// learn notes that a server, or all of an address (port 0), was reached by a name, at a time (Unix microseconds).
func (t *nameTable) learn(ep minecanary.Endpoint, name string, at int64) {
	if name == "" || len(name) > minecanary.MaxName {
		return
	}
	seen := uint32(min(max(at/1e6, 0), math.MaxUint32))
	hash := maphash.Comparable(t.seed, nameKey{ep.Addr, ep.Port})
	t.mu.Lock()
	defer t.mu.Unlock()
	if ref, ok := t.young.at[hash]; ok {
		if seen < ref.seen {
			return
		}
		if t.young.name(ref) == name {
			t.young.at[hash] = nameRef{ref.offset, seen}
			return
		}
	}
	if t.young.at == nil || len(t.young.at) >= MaxNames/2 || len(t.young.text) >= maxNameText/2/namePiece {
		t.old, t.young = t.young, names{at: map[uint64]nameRef{}}
	}
	t.young.at[hash] = nameRef{t.young.add(name), seen}
}

// of gives the name that a server was reached by, else the one of its address; "" if none is known.
func (t *nameTable) of(ep minecanary.Endpoint) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.young.at)+len(t.old.at) == 0 {
		return ""
	}
	for _, port := range [...]uint16{ep.Port, 0} {
		hash := maphash.Comparable(t.seed, nameKey{ep.Addr, port})
		for _, n := range [...]*names{&t.young, &t.old} {
			if ref, ok := n.at[hash]; ok {
				return n.name(ref)
			}
		}
	}
	return ""
}

// len gives how many names there are.
func (t *nameTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.young.at) + len(t.old.at)
}

// add keeps a name and tells where.
func (n *names) add(name string) (offset uint32) {
	last := len(n.text) - 1
	if last < 0 || len(n.text[last])+1+len(name) > namePiece {
		n.text = append(n.text, make([]byte, 0, namePiece))
		last++
	}
	piece := n.text[last]
	n.text[last] = append(append(piece, byte(len(name))), name...)
	return uint32(last*namePiece + len(piece))
}

func (n *names) name(ref nameRef) string {
	b := n.text[ref.offset/namePiece][ref.offset%namePiece:]
	return string(b[1 : 1+int(b[0])])
}
