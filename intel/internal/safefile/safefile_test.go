package safefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return strings.Join(all, " ")
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	for _, text := range []string{"one", "two", ""} {
		if err := Replace(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	if err := Replace(filepath.Join(dir, "nowhere", "a.json"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
}

// TestCrash ends between the temporary file and the rename: the old file holds, and the next write cleans up, but leaves
// the files of others alone.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	if err := Replace(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".b.json.1.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tmp, err := stage(path, []byte("new"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, path) + read(t, tmp); got != "oldnew" {
		t.Errorf("got %q", got)
	}
	if err := Replace(path, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "newer" {
		t.Errorf("got %q", got)
	}
	if got, want := names(t, dir), ".b.json.1.tmp a.json"; got != want {
		t.Errorf("folder holds %s, want %s", got, want)
	}
}

// TestReplaceIsAtomic reads while another writes: never a mixture, never a part.
func TestReplaceIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	texts := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
	if err := Replace(path, texts[0], 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 30 {
			if err := Replace(path, texts[i%2], 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, texts[0]) && !bytes.Equal(b, texts[1]) {
			t.Fatalf("read %d bytes that nobody wrote", len(b))
		}
	}
	wg.Wait()
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var wg sync.WaitGroup
	var inside, n atomic.Int32
	for range 4 {
		wg.Go(func() {
			for range 25 {
				f, err := Lock(path)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two are in")
				}
				runtime.Gosched()
				inside.Add(-1)
				n.Add(1)
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n.Load() != 100 {
		t.Errorf("counted %d, want 100", n.Load())
	}
}

func TestOpenFollowsNoLink(t *testing.T) {
	if noFollow == 0 {
		t.Skip("links are followed on this system")
	}
	dir := t.TempDir()
	victim, link := filepath.Join(dir, "victim"), filepath.Join(dir, "link")
	if err := os.WriteFile(victim, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{victim, filepath.Join(dir, "nowhere")} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if f, err := Open(link, os.O_RDWR, 0o600); err == nil {
			t.Errorf("opened a link to %s", target)
			f.Close()
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, dir); got != "victim" {
		t.Errorf("folder holds %s", got)
	}
}
