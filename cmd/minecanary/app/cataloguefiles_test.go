package app

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
)

const ownPool = `
id: our-pool
name: Our pool
url: https://pool.example.net/
kind: public
servers:
  - name: xmr.pool.example.net
    endpoints:
      - {port: 3333, tls: false, dialect: cryptonote, coin: XMR}
source: https://pool.example.net/
as_of: 2026-01-01
confidence: high
`

// TestFollowFiles: a new version of a catalogue file holds after a while, and one that cannot be read changes nothing.
func TestFollowFiles(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "pools")
	if err := os.Mkdir(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.State.Dir, cfg.Catalogue.Files = dir, []string{folder}
	var warned atomic.Int32
	warn := func(err error) { t.Log(err); warned.Add(1) }
	d, err := openDirectory(cfg, warn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.followFiles(ctx, 5*time.Millisecond, warn) }()
	here := func() bool { return d.register.Current().Pool("our-pool") != nil }
	if here() {
		t.Fatal("the pool is there before its file")
	}
	file := filepath.Join(folder, "our.yaml")
	if err := os.WriteFile(file, []byte(ownPool), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the pool", here)
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	until(t, "the warning", func() bool { return warned.Load() > 0 })
	if !here() {
		t.Error("a folder that is away takes its pools with it")
	}
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until(t, "the pool's end", func() bool { return !here() })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
