package catalog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/minecanary/minecanary/intel/internal/safefile"
)

// Edits is the layer that users change through the service: a file in the form of any other, replaced as a whole by each
// change, which is on disk when the call returns. It is safe for concurrent use.
type Edits struct {
	file string

	mu    sync.Mutex
	layer Layer
}

// NewEdits gives the edits of a file, which is read by Open.
func NewEdits(file string) *Edits { return &Edits{file: file} }

// Open reads the file; none is no edits. A file with a wrong row is refused whole, because the next change would lose it.
func (e *Edits) Open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	data, err := readFile(e.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("edits of the catalogue: %w", err)
	}
	layer, problems := Parse(e.file, data)
	if len(problems) > 0 {
		return fmt.Errorf("edits of the catalogue: %w (mend the file or move it away)", problems[0])
	}
	for i := range layer.Pools {
		layer.Pools[i].Layer = LayerEdited
	}
	e.layer = layer
	return nil
}

// Layer gives a copy of the edits.
func (e *Edits) Layer() Layer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.layer.clone()
}

func (l Layer) clone() Layer {
	pools := make([]Pool, len(l.Pools))
	for i := range l.Pools {
		pools[i] = *l.Pools[i].clone()
	}
	return Layer{Pools: pools, Coins: slices.Clone(l.Coins), Removed: slices.Clone(l.Removed)}
}

// Change lets a function change a copy of the edits and makes it durable; if either fails nothing has changed. The rows
// must have passed their Check.
func (e *Edits) Change(change func(*Layer) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := e.layer.clone()
	if err := change(&next); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := Write(&b, next); err != nil {
		return err
	}
	if b.Len() > MaxFile {
		return fmt.Errorf("edits of the catalogue: would be larger than %d bytes", MaxFile)
	}
	// What Open would refuse must not be written: the next start would fail on it.
	if _, problems := Parse(e.file, b.Bytes()); len(problems) > 0 {
		return fmt.Errorf("edits of the catalogue: %s", problems[0].Reason)
	}
	if err := safefile.Replace(e.file, b.Bytes(), 0o640); err != nil {
		return fmt.Errorf("edits of the catalogue: %w", err)
	}
	e.layer = next
	return nil
}

// PutPool adds a pool, or replaces that of its ID, in any earlier layer too.
func (l *Layer) PutPool(p Pool) {
	p.Layer = LayerEdited
	l.Removed = slices.DeleteFunc(l.Removed, func(id string) bool { return id == p.ID })
	l.Pools = slices.DeleteFunc(l.Pools, func(o Pool) bool { return o.ID == p.ID })
	l.Pools = append(l.Pools, *p.clone())
	slices.SortFunc(l.Pools, func(a, b Pool) int { return cmp.Compare(a.ID, b.ID) })
}

// RemovePool removes a pool; in earlier layers too if they have it.
func (l *Layer) RemovePool(id string, earlier bool) {
	l.Pools = slices.DeleteFunc(l.Pools, func(o Pool) bool { return o.ID == id })
	if earlier && !slices.Contains(l.Removed, id) {
		l.Removed = append(l.Removed, id)
		slices.Sort(l.Removed)
	}
}

// PutCoin adds a coin, or replaces that of its symbol.
func (l *Layer) PutCoin(c Coin) {
	l.Coins = slices.DeleteFunc(l.Coins, func(o Coin) bool { return o.Symbol == c.Symbol })
	l.Coins = append(l.Coins, c)
	slices.SortFunc(l.Coins, func(a, b Coin) int { return cmp.Compare(a.Symbol, b.Symbol) })
}
