package app

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/history"
)

// TestBackup wants a copy that opens and has what was there, also over an older one, and nothing left beside it.
func TestBackup(t *testing.T) {
	cfg := config.Default()
	cfg.State.Dir = t.TempDir()
	cfg.Catalogue.Backup = filepath.Join(t.TempDir(), "backup.db")
	d, err := openDirectory(cfg, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, addr := range []string{"9.9.9.1", "9.9.9.2"} {
		at := time.Now()
		err := d.history.Resolved(t.Context(), history.Observation{Name: "a.pool.net", At: at, Addrs: []netip.Addr{netip.MustParseAddr(addr)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.backup(cfg.Catalogue.Backup); err != nil {
			t.Fatal(err)
		}
		db, err := history.Open(cfg.Catalogue.Backup, history.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(v *history.View) error {
			rows, err := v.Addresses("a.pool.net", history.Query{At: at})
			if err != nil || len(rows) != 1 || rows[0].Addrs[0].String() != addr {
				t.Error(rows, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(filepath.Dir(cfg.Catalogue.Backup))
	if err != nil || len(files) != 1 {
		t.Error(files, err)
	}
}
