package app

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/prober/dialect"
)

// TestDialectWords holds the catalogue's words for dialects to the prober's: rooms do not import each other.
func TestDialectWords(t *testing.T) {
	var names []string
	for _, d := range dialect.All() {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, slices.Sorted(slices.Values(catalog.Dialects()))); diff != "" {
		t.Error(diff)
	}
}
