//go:build unix

package safefile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestRootMakesFilesForTheOwner has an administrator write beside a service that runs as somebody else.
func TestRootMakesFilesForTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const uid, gid = 4711, 4712
	dir := t.TempDir()
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	replaced, locked, before := filepath.Join(dir, "replaced"), filepath.Join(dir, "locked"), filepath.Join(dir, "before")
	if err := os.WriteFile(before, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(replaced, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Lock(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// What was there is not given away: in a folder of somebody else it may be a hard link to anything.
	old, err := Open(before, os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	for path, want := range map[string][2]uint32{replaced: {uid, gid}, locked: {uid, gid}, before: {0, uint32(os.Getegid())}} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := info.Sys().(*syscall.Stat_t); [2]uint32{s.Uid, s.Gid} != want {
			t.Errorf("%s belongs to %d:%d, want %v", filepath.Base(path), s.Uid, s.Gid, want)
		}
	}
}
