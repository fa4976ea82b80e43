package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/minecanary/minecanary/enrich"
)

// The bounds of the file of facts.
const (
	// maxFactLine is how long a line may be, in bytes; those of ours have at most half of it.
	maxFactLine = 8192
	// factsSlack is how many times enrich.MaxFacts lines the file may have before it is written anew.
	factsSlack = 2
)

// Facts keeps what sightings say (enrich.Facts) in a file of one JSON object a line, to which it appends.
type Facts struct {
	path string

	mu      sync.Mutex
	file    *os.File
	lines   int
	version uint64
	// fresh are those put since the last look at them.
	fresh []enrich.Fact
}

// OpenFacts reads the file, or makes it. A line that cannot be read is left out: a crash may have cut off the last one.
func OpenFacts(path string) (*Facts, error) {
	f := &Facts{path: path, version: 1}
	if err := f.load(); err != nil {
		return nil, err
	}
	if err := f.rewrite(); err != nil {
		return nil, err
	}
	return f, nil
}

// load reads the file; of one key the last line counts.
func (f *Facts) load() error {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was sighted: %w", err)
	}
	at := map[string]int{}
	for line := range bytes.Lines(data) {
		var fact enrich.Fact
		if len(line) > maxFactLine || json.Unmarshal(line, &fact) != nil || !fact.Addr.IsValid() {
			continue
		}
		key := fact.Key()
		i, ok := at[key]
		if !ok {
			i = len(f.fresh)
			at[key] = i
			f.fresh = append(f.fresh, fact)
		}
		f.fresh[i] = fact
	}
	if over := len(f.fresh) - enrich.MaxFacts; over > 0 {
		slices.SortStableFunc(f.fresh, func(a, b enrich.Fact) int { return enrich.Lighter(&a, &b) })
		f.fresh = f.fresh[over:]
	}
	return nil
}

// rewrite replaces the file by one with a line for each fact, and opens it for more.
func (f *Facts) rewrite() error {
	text, err := lines(f.fresh)
	if err == nil {
		err = replace(f.path, func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	var file *os.File
	if err == nil {
		file, err = os.OpenFile(f.path, os.O_APPEND|os.O_WRONLY, 0)
	}
	if err != nil {
		return fmt.Errorf("write what was sighted: %w", err)
	}
	if f.file != nil {
		_ = f.file.Close() // it is no longer the file of that name
	}
	f.file, f.lines = file, len(f.fresh)
	return nil
}

func lines(facts []enrich.Fact) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range facts {
		if err := enc.Encode(&facts[i]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// Put implements enrich.FactKeeper.
func (f *Facts) Put(_ context.Context, facts []enrich.Fact) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := lines(facts)
	if err == nil {
		_, err = f.file.Write(text)
	}
	if err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("keep what was sighted: %w", err)
	}
	f.lines += len(facts)
	if f.lines < factsSlack*enrich.MaxFacts {
		return nil
	}
	held := f.fresh
	f.fresh = nil
	err = f.load()
	if err == nil {
		err = f.rewrite()
	}
	f.fresh = held
	return err
}

// Since implements enrich.FactKeeper. Nobody else puts any, so that after the first time there is nothing new.
func (f *Facts) Since(_ context.Context, version uint64) ([]enrich.Fact, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if version >= f.version {
		return nil, f.version, nil
	}
	facts := f.fresh
	f.fresh = nil
	return facts, f.version, nil
}

// Close closes the file.
func (f *Facts) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
