package holds_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minecanary/minecanary/intel/holds"
)

// FuzzHolds wants that every file is read or refused, and that what was read is written back so that it can be read.
func FuzzHolds(f *testing.F) {
	f.Add([]byte("198.51.100.1:3333 expires=2027-01-01 by user a: why\n[2001:db8::1]:1 by : \n"))
	f.Add([]byte("# nothing\n"))
	f.Add([]byte("198.51.100.1:3333 # expires=soon " + strings.Repeat("long ", 95) + "\n"))
	f.Add([]byte("# " + strings.Repeat("é", 700)))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), holds.FileName)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := holds.Open(file)
		if err != nil {
			return
		}
		if err := h.Put(t.Context(), holds.Hold{Endpoint: endpoint(1), Reason: string(data), By: string(data)}); err != nil {
			t.Fatal(err)
		}
		if _, err := holds.Open(file); err != nil {
			t.Fatal(err)
		}
	})
}
