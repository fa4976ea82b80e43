package minecanary

import "cmp"

// Position says how far a partition of a source was read. Positions of one partition are ordered; they are stored with
// the state they led to, so that a batch is applied once whatever is killed.
type Position struct {
	// Generation counts the files that stood at one path (rotation); 0 where the source never rotates (Kafka).
	Generation uint64 `json:"generation"`
	// Offset is the byte after the batch (of the decompressed text), or the Kafka offset after it.
	Offset int64 `json:"offset"`
	// Ident lets a file source find the same file again after a restart; opaque to everybody else.
	Ident string `json:"ident,omitempty"`
}

// Compare orders positions by generation, then offset.
func (p Position) Compare(o Position) int {
	if c := cmp.Compare(p.Generation, o.Generation); c != 0 {
		return c
	}
	return cmp.Compare(p.Offset, o.Offset)
}
