package jsonscan

import "encoding/binary"

const (
	// MaxKeys is the number of different keys of one object that are remembered; later ones are looked up each time.
	MaxKeys = 253
	// maxKeyLen is the longest key that is remembered, in bytes.
	maxKeyLen = 64
	slots     = 1024
)

// The entries that are no remembered keys.
const (
	startEntry   = 0   // the start of an object
	closeEntry   = 254 // its end
	unknownEntry = 255 // the last key read that is not remembered
)

// keys reads the names of an object's members. It remembers which key followed which, so that for lines of one schema a
// key costs one comparison. Columns that come and go (Zeek leaves out what is unset) are covered by a second guess; all
// else is found in a hash table.
type keys struct {
	fields  []Field
	members map[string]uint8
	entries [256]entry
	used    uint8
	// names and leads hold the entries' keys and what stands before them: a bracket or a comma.
	names [256]string
	leads [256]byte
	// table holds indices into entries by hash, 0 for none.
	table [slots]uint8
}

// guessed is the number of bytes that are compared to guess a key: ,"orig_ip_bytes": has 17, and no key of the sensors'
// connection records has more than 24. Longer ones are guessed by search.
const guessed = 24

// entry is a key.
type entry struct {
	// text is the key as it stands in a line: bracket or comma, quote, key, quote, colon. Mask tells which bytes count.
	text, mask [guessed / 8]uint64
	size       uint32
	field      uint8
	kind       Kind
	// next and other are the entries that followed last and before that.
	next, other uint8
	// bit is the field's bit in Values, 0 for field 0 and for marks, which may be repeated.
	bit uint64
}

func newKeys(fields []Field, members map[string]uint8) *keys {
	k := &keys{fields: fields, members: members}
	// What is no remembered key must not be guessed: no line is full of bytes 255 where a key may stand.
	for _, n := range []uint8{startEntry, closeEntry, unknownEntry} {
		k.entries[n].never()
	}
	return k
}

// never makes the entry one that matches nothing.
func (e *entry) never() {
	for i := range e.text {
		e.text[i], e.mask[i] = ^uint64(0), ^uint64(0)
	}
}

// set makes the entry that of a field.
func (k *keys) set(n, field uint8) {
	e := &k.entries[n]
	e.field, e.kind = field, k.fields[field].Kind
	if e.bit = 1 << field; field == 0 || e.kind == Mark {
		e.bit = 0
	}
}

// search reads what stands at the start of b after the key of entry last and its value, if the first guess was wrong: a
// comma (after the start of an object: its bracket), a key and a colon; or the closing bracket. It gives the entry that
// stands for it and the position after it. It fails on anything else, also on a key with an escape. B must be longer
// than guessed.
func (k *keys) search(b []byte, last uint8) (n uint8, end int) {
	if b[0] == '}' && last != startEntry {
		return closeEntry, 1
	}
	if n = k.entries[last].next; k.long(b, n) {
		return n, int(k.entries[n].size)
	}
	n = k.entries[last].other
	e := &k.entries[n]
	if (binary.LittleEndian.Uint64(b)^e.text[0])&e.mask[0]|
		(binary.LittleEndian.Uint64(b[8:])^e.text[1])&e.mask[1]|
		(binary.LittleEndian.Uint64(b[16:])^e.text[2])&e.mask[2] == 0 {
		return n, int(e.size)
	}
	return k.find(b, 0, last)
}

// long tells whether the key of an entry that is too long for the first guess stands at the start of b.
func (k *keys) long(b []byte, n uint8) bool {
	size := int(k.entries[n].size)
	return size > guessed && size <= len(b) && b[0] == k.leads[n] && b[1] == '"' && string(b[2:size-2]) == k.names[n] &&
		b[size-2] == '"' && b[size-1] == ':'
}

// find reads a key that was not guessed.
func (k *keys) find(b []byte, i int, last uint8) (n uint8, end int) {
	first := last == startEntry
	if i = Blank(b, i); i >= len(b) {
		return 0, fail
	}
	switch c := b[i]; {
	case first && c == '{', !first && c == ',':
		i = Blank(b, i+1)
	case !first && c == '}':
		return closeEntry, i + 1
	default:
		return 0, fail
	}
	if i >= len(b) {
		return 0, fail
	}
	if first && b[i] == '}' {
		return closeEntry, i + 1
	}
	if b[i] != '"' {
		return 0, fail
	}
	quote := plainEnd(b, i+1)
	if quote < 0 {
		return 0, fail
	}
	colon := Blank(b, quote+1)
	if colon >= len(b) || b[colon] != ':' {
		return 0, fail
	}
	return k.named(b[i+1:quote], last), colon + 1
}

// named gives the entry of a key, and remembers that it followed the last.
func (k *keys) named(key []byte, last uint8) uint8 {
	if len(key) > maxKeyLen {
		return k.unknown(key)
	}
	lead := byte(',')
	if last == startEntry {
		lead = '{'
	}
	slot := hash(key, lead)
	for k.table[slot] != 0 {
		n := k.table[slot]
		if k.leads[n] == lead && k.names[n] == string(key) {
			k.learn(n, last)
			return n
		}
		slot = (slot + 1) % slots
	}
	if k.used == MaxKeys {
		return k.unknown(key)
	}
	k.used++
	n := k.used
	k.names[n], k.leads[n] = string(key), lead
	k.entries[n] = newEntry(string(lead) + `"` + string(key) + `":`)
	k.set(n, k.members[string(key)])
	k.table[slot] = n
	k.learn(n, last)
	return n
}

func newEntry(text string) entry {
	e := entry{size: uint32(len(text))}
	if len(text) > guessed {
		e.never()
		return e
	}
	var bytes, mask [guessed]byte
	for i := range copy(bytes[:], text) {
		mask[i] = 0xFF
	}
	for i := range e.text {
		e.text[i], e.mask[i] = binary.LittleEndian.Uint64(bytes[8*i:]), binary.LittleEndian.Uint64(mask[8*i:])
	}
	return e
}

// unknown gives the entry for a key that is not remembered.
func (k *keys) unknown(key []byte) uint8 {
	k.set(unknownEntry, k.members[string(key)])
	return unknownEntry
}

// learn remembers that entry n followed the last.
func (k *keys) learn(n, last uint8) {
	e := &k.entries[last]
	e.other, e.next = e.next, n
}

// hash spreads keys over the slots (FNV-1a).
func hash(key []byte, lead byte) int {
	h := uint32(2166136261) ^ uint32(lead)
	for _, c := range key {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h>>16^h) % slots
}
