//go:build unix

package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestNamedPipe reads what a shell's <(zcat …) gives.
func TestNamedPipe(t *testing.T) {
	for _, follow := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Skipf("no named pipes here: %v", err)
		}
		s := connect(t, Config{Paths: []string{path}, Follow: follow})
		go func() {
			w, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = w.Close() }() // the reader sees the end
			if _, err := w.Write(gz(t, []byte("1\n2\n"))); err != nil {
				t.Error(err)
			}
		}()
		if _, known := s.Size(); known {
			t.Error("the size of a pipe is known")
		}
		g := drain(t, s)[path]
		if g == nil || string(g.data) != "1\n2\n" || !g.eof {
			t.Errorf("got %+v", g)
		}
	}
}
