package history

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// TestBackupFile wants a copy that opens and has what was there, over an older one and over what a killed one left.
func TestBackupFile(t *testing.T) {
	db, c := open(t, Options{noSync: true})
	path := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".backup.db.tmp"), bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"9.9.9.1", "9.9.9.2"} {
		c.now = c.now.Add(time.Hour)
		if err := db.Resolved(t.Context(), Observation{Name: "a.pool.net", At: c.now, Addrs: addrs(addr)}); err != nil {
			t.Fatal(err)
		}
		if err := db.BackupFile(path); err != nil {
			t.Fatal(err)
		}
		copied, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		rows := ask(t, copied, func(v *View) ([]Addresses, error) { return v.Addresses("a.pool.net", Query{At: c.now}) })
		if len(rows) != 1 || rows[0].Addrs[0].String() != addr {
			t.Errorf("got %+v", rows)
		}
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Error(files, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != fileMode {
		t.Error(info, err)
	}
}

// TestBackupFileRefuses: nothing but the copy's own file is written to, and one copies at a time.
func TestBackupFileRefuses(t *testing.T) {
	db, _ := open(t, Options{noSync: true})
	dir := t.TempDir()
	path, temp := filepath.Join(dir, "backup.db"), filepath.Join(dir, ".backup.db.tmp")
	other := filepath.Join(dir, "precious")
	if err := errors.Join(os.WriteFile(other, []byte("text"), 0o600), os.Symlink(other, temp)); err != nil {
		t.Fatal(err)
	}
	if err := db.BackupFile(path); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("over a link: %v", err)
	}
	if text, err := os.ReadFile(other); err != nil || string(text) != "text" {
		t.Errorf("%q %v", text, err)
	}
	f, err := lockedFile(temp, os.O_RDWR|os.O_CREATE, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.BackupFile(path); err == nil || !strings.Contains(err.Error(), "another process does so") {
		t.Errorf("while another one copies: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.BackupFile(filepath.Join(dir, "nowhere", "backup.db")); err == nil {
		t.Error("into a folder that is not there")
	}
}

// TestWritersWait: who waits for another writer, or a compaction, waits no longer than his context.
func TestWritersWait(t *testing.T) {
	db, c := open(t, Options{noSync: true})
	if err := db.startWriting(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := db.Resolved(ctx, Observation{Name: "a.net", At: c.now}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a writer: %v", err)
	}
	if _, err := db.compact(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a compaction: %v", err)
	}
	if err := db.View(func(*View) error { return nil }); err != nil {
		t.Errorf("a reader: %v", err)
	}
	db.stopWriting()
	if err := db.Resolved(t.Context(), Observation{Name: "a.net", At: c.now}); err != nil {
		t.Error(err)
	}
}

// TestCompactGivesUp: a compaction that takes too long, or that readers keep out, leaves all as it was.
func TestCompactGivesUp(t *testing.T) {
	db, c := open(t, Options{noSync: true})
	fill(t, db, c, 3000)
	before, err := everything(db)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.View(func(v *View) error {
		fresh := filepath.Join(t.TempDir(), "fresh")
		f, err := lockedFile(fresh, os.O_RDWR|os.O_CREATE, time.Now())
		if err != nil {
			return err
		}
		to, err := openBolt(f, true)
		if err != nil {
			return err
		}
		return errors.Join(refill(over, to, v.tx), to.Close())
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("a copy that is too slow: %v", err)
	}
	// A reader that stays keeps the copy from taking the place; other readers do not wait for that.
	temp := db.path + compactSuffix
	f, err := lockedFile(temp, os.O_RDWR|os.O_CREATE, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := openBolt(f, true)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := db.View(func(*View) error {
		swapped := make(chan error, 1)
		go func() { swapped <- db.swap(short, fresh, f) }()
		for {
			select {
			case err := <-swapped:
				return err
			default:
				if err := db.View(func(*View) error { return nil }); err != nil {
					return err
				}
			}
		}
	}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a reader: %v", err)
	}
	if _, err := os.Stat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is left: %v", err)
	}
	if after, err := everything(db); err != nil || after != before {
		t.Errorf("it is not what it was: %v", err)
	}
	if got, err := db.Prune(t.Context(), hours(114)); err != nil || !got.Compacted {
		t.Errorf("afterwards: %+v %v", got, err)
	}
}

// BenchmarkCompact is what writers wait for at worst, on a file of 20,000 names and endpoints.
func BenchmarkCompact(b *testing.B) {
	db, c := open(b, Options{})
	fill(b, db, c, 20_000)
	b.SetBytes(func() int64 { s, _ := db.Stats(); return s.Size }())
	for b.Loop() {
		err := db.View(func(v *View) error {
			f, err := lockedFile(filepath.Join(b.TempDir(), "fresh"), os.O_RDWR|os.O_CREATE, time.Now())
			if err != nil {
				return err
			}
			var to *bolt.DB
			if to, err = openBolt(f, true); err != nil {
				return err
			}
			return errors.Join(refill(b.Context(), to, v.tx), to.Sync(), to.Close())
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func TestInUse(t *testing.T) {
	db, c := open(t, Options{noSync: true})
	if used, err := InUse(db.path); err != nil || !used {
		t.Errorf("open: %v %v", used, err)
	}
	if err := db.Resolved(t.Context(), Observation{Name: "a.net", At: c.now}); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{db.path, db.path + ".none"} {
		if used, err := InUse(path); err != nil || used {
			t.Errorf("%s: %v %v", path, used, err)
		}
	}
	again, err := Open(db.path, Options{LockTimeout: time.Millisecond})
	if err != nil {
		t.Fatal("the lock was kept:", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
