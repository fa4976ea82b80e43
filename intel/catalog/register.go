package catalog

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Register holds the catalogue that is in use: the shipped one, the files of users, and what users changed through the
// service, in this order. It is safe for concurrent use.
type Register struct {
	edits    *Edits
	onChange func(*Catalog)

	mu      sync.Mutex
	base    []Layer
	current atomic.Pointer[Catalog]
}

// NewRegister makes a register over layers. edits may be nil: then nothing can be changed. onChange is called with every
// new catalogue, one at a time; it may be nil.
func NewRegister(edits *Edits, onChange func(*Catalog), base ...Layer) *Register {
	r := &Register{edits: edits, onChange: onChange, base: base}
	r.rebuild()
	return r
}

// Current gives the catalogue in use.
func (r *Register) Current() *Catalog { return r.current.Load() }

// Editable tells whether Change can succeed.
func (r *Register) Editable() bool { return r.edits != nil }

// Change changes the edits (see Edits.Change) and puts the new catalogue to use. The function sees the catalogue that it
// changes; no other change comes between.
func (r *Register) Change(change func(now *Catalog, edits *Layer) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.edits.Change(func(l *Layer) error { return change(r.Current(), l) }); err != nil {
		return err
	}
	r.rebuild()
	return nil
}

// Replace replaces all layers below the edits, after their files changed.
func (r *Register) Replace(base ...Layer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base = base
	r.rebuild()
}

func (r *Register) rebuild() {
	layers := r.base
	if r.edits != nil {
		layers = append(slices.Clip(layers), r.edits.Layer())
	}
	c := New(layers...)
	r.current.Store(c)
	if r.onChange != nil {
		r.onChange(c)
	}
}
