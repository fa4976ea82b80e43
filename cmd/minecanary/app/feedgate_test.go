package app

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/enrich/memory"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/feed"
	"github.com/minecanary/minecanary/intel/history"
)

// putFile writes a file into a folder and gives its path.
func putFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fill puts pools' servers into the catalogue of a service, each on port 3333, and has their names lead to addresses.
func fill(t *testing.T, cfg *config.Config, names map[string]string, use func(*directory)) {
	t.Helper()
	d, err := openDirectory(cfg, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	pool := catalog.Pool{ID: "test", Name: "Test", Kind: catalog.Public}
	for name := range names {
		pool.Servers = append(pool.Servers, catalog.Server{Name: name, Endpoints: []catalog.Endpoint{{Port: 3333}}})
	}
	err = d.register.Change(func(_ *catalog.Catalog, l *catalog.Layer) error {
		l.PutPool(pool)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.history.Update(t.Context(), func(tx *history.Tx) error {
		for name, addr := range names {
			seen := history.Observation{Name: name, At: time.Now().Add(-time.Minute), Addrs: []netip.Addr{netip.MustParseAddr(addr)}}
			if err := tx.Resolved(seen); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = d.history.View(func(v *history.View) error {
			var errs []error
			for name := range names {
				errs = append(errs, d.index.LoadName(v, name, d.mark))
			}
			return errors.Join(errs...)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	if use != nil {
		use(d)
	}
}

// TestFeedNames has names of servers behind a CDN: the catalogue's is published, unless a list protects it.
func TestFeedNames(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.State.Dir = filepath.Dir(putFile(t, dir, "state/.keep", ""))
	cfg.Catalogue.Marks = []string{putFile(t, dir, "list.json", `{"name":"Top 1000","version":20260811,"type":"hostname","list":["many.net"]}`)}
	cfg.Lists.Allow = []string{putFile(t, dir, "allow.txt", "ours.pool.net\n")}
	allowed, err := readLists(cfg.Lists)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, cfg, map[string]string{
		"a.pool.net": "104.16.1.1", "many.net": "104.16.1.2", "www.many.net": "104.16.1.3", "ours.pool.net": "104.16.1.4",
		"b.pool.net": "104.16.1.5", "c.pool.net": "104.16.1.5",
	}, func(d *directory) {
		gate := feed.Gate{Mark: feedMark(d.marks, d.index), Name: feedName(d.index, d.marks, allowed)}
		for addr, want := range map[string]string{
			"104.16.1.1": "a.pool.net", "104.16.1.2": "", "104.16.1.3": "", "104.16.1.4": "", "104.16.1.5": "", "104.16.1.6": "",
		} {
			now := time.Now()
			ep := minecanary.NewEndpoint(netip.MustParseAddr(addr), 3333, minecanary.TCP)
			v := minecanary.Verdict{Endpoint: ep, Status: minecanary.Confirmed, At: now, Expires: now.Add(time.Hour)}
			entry, refusal, ok := gate.Check(v, now)
			if ok != (want != "") || entry.Name != want || !ok && refusal.Reason != feed.CDN {
				t.Errorf("%s: %t, %q, %+v", addr, ok, entry.Name, refusal)
			}
		}
	})
}

// TestFeedPrintGate has feed print refuse what the service with the same configuration refuses, and keep back what waits.
func TestFeedPrintGate(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default()
	cfg.State.Dir = filepath.Dir(putFile(t, dir, "state/.keep", ""))
	fill(t, cfg, map[string]string{"a.pool.net": "104.16.1.1"}, nil)
	store := memory.New(memory.Config{File: filepath.Join(cfg.State.Dir, stateFile)})
	for _, s := range []string{
		"9.9.10.1:3333", "9.9.10.2:3333", "9.9.10.3:3333", "9.9.10.4:3333", "9.9.10.5:3333", "9.9.10.6:3333", "104.16.1.1:3333",
	} {
		ep, err := minecanary.ParseEndpoint(s)
		if err != nil {
			t.Fatal(err)
		}
		v := minecanary.Verdict{Endpoint: ep, Status: minecanary.Confirmed, At: time.Now(), Expires: time.Now().Add(time.Hour)}
		if err := store.PutVerdict(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	const state = `{"version":1,"records":[
{"endpoint":"9.9.10.5:3333","state":"held","hold":"too_many_hosts","held":"2026-11-21T05:00:00Z","hosts":500},
{"endpoint":"9.9.10.6:3333","state":"withdrawn","hold":"too_many_new","left":"2026-11-21T05:00:00Z","hosts":-1}]}`
	putFile(t, dir, "feed/state.json", state)
	putFile(t, dir, "empty/x", "")
	yaml := `state: {dir: ` + cfg.State.Dir + `}
network: {local: [9.9.10.2/32]}
lists: {allow: [` + putFile(t, dir, "allow.txt", "9.9.10.3:3333\n") + `]}
catalogue: {marks: [` + putFile(t, dir, "list.json", `{"name":"Top","version":1,"type":"cidr","list":["9.9.10.4/32"]}`) + `]}
`
	conf := putFile(t, dir, "c.yaml", yaml+"feed: {dir: "+filepath.Join(dir, "feed")+"}\n")
	young := putFile(t, dir, "young.yaml", yaml+"feed: {dir: "+filepath.Join(dir, "empty")+"}\n")
	all := []string{"9.9.10.1:3333", "9.9.10.2:3333", "9.9.10.3:3333", "9.9.10.4:3333", "9.9.10.5:3333", "9.9.10.6:3333"}
	tests := []struct {
		name   string
		args   []string
		want   []string
		code   int
		stderr []string
	}{
		{"without", []string{"--state", cfg.State.Dir}, all, 0, []string{"104.16.1.1:3333 is left out: cdn Cloudflare"}},
		{"with what waits", []string{"--state", cfg.State.Dir, "--dir", filepath.Join(dir, "feed")}, all[:4], 0, []string{"9.9.10.5:3333 is left out: it waits for approval, too_many_hosts"}},
		{"the same gate", []string{"-c", conf}, all[:1], 0, []string{"9.9.10.2:3333 is left out: own_network", "9.9.10.3:3333 is left out: listed allow list", "9.9.10.4:3333 is left out: shared Top", "9.9.10.6:3333 is left out: it waits"}},
		{"a name", []string{"-c", conf, "--format", "domains"}, []string{"a.pool.net"}, 0, nil},
		{"nobody has published", []string{"-c", young}, []string{all[0], all[4], all[5]}, 0, nil},
		{"no feed there", []string{"--state", cfg.State.Dir, "--dir", filepath.Join(dir, "empty")}, nil, ExitFailed, []string{"no service has published"}},
		{"no state there", []string{"-c", conf, "--state", dir}, nil, ExitFailed, []string{"holds no state"}},
		{"a flag before the file", []string{"-c", conf, "--max-age", "1ns"}, nil, 0, []string{"9.9.10.1:3333 is left out: stale"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"feed", "print", "--format", "endpoints"}, tt.args...)
			code := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
			if diff := cmp.Diff(tt.want, strings.Fields(stdout.String())); diff != "" && len(tt.want)+stdout.Len() > 0 || code != tt.code {
				t.Errorf("exit %d: %s\n%s", code, diff, stderr.String())
			}
			for _, words := range tt.stderr {
				if !strings.Contains(stderr.String(), words) {
					t.Errorf("%q is not told:\n%s", words, stderr.String())
				}
			}
		})
	}
	t.Run("the service runs", func(t *testing.T) {
		db, err := history.Open(cfg.HistoryFile(), history.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		var stdout, stderr bytes.Buffer
		code := Main(t.Context(), []string{"feed", "print", "-c", conf}, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
		if code == 0 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "keeps the feed in feed.dir") {
			t.Errorf("exit %d: %s%s", code, stdout.String(), stderr.String())
		}
	})
}
