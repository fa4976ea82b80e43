package app

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/history"
)

// TestKeep wants a checked copy of the history, and what is over forgotten in the file and in memory.
func TestKeep(t *testing.T) {
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
	const name = "pool.supportxmr.com"
	old, now := time.Now().Add(-2*cfg.Catalogue.Retention), time.Now()
	err = d.history.Update(t.Context(), func(tx *history.Tx) error {
		for at, addr := range map[time.Time]string{old: "9.9.9.1", now: "9.9.9.2"} {
			if err := tx.Resolved(history.Observation{Name: name, At: at, Addrs: []netip.Addr{netip.MustParseAddr(addr)}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = d.history.View(func(v *history.View) error { return d.index.Load(v, d.mark) })
	}
	if err != nil || d.index.Addresses() != 2 {
		t.Fatal(err, d.index.Addresses())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.keep(ctx, func(err error) { t.Error(err) }) }()
	for deadline := time.Now().Add(time.Minute); d.index.Addresses() != 1 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := d.index.AddressesOf(name, now); d.index.Addresses() != 1 || len(got) != 1 || got[0].Addr.String() != "9.9.9.2" {
		t.Errorf("%d addresses are known; now: %+v", d.index.Addresses(), got)
	}
	if err := history.Verify(cfg.Catalogue.Backup); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(filepath.Dir(cfg.Catalogue.Backup))
	if err != nil || len(files) != 1 {
		t.Error(files, err)
	}
}
