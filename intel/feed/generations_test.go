package feed_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

// firstOf reads when the first entry of the JSON form was confirmed first.
func firstOf(tb testing.TB, dir string) time.Time {
	tb.Helper()
	var doc struct{ Entries []struct{ First time.Time } }
	if err := json.Unmarshal([]byte(read(tb, dir, "pools.json")), &doc); err != nil {
		tb.Fatal(err)
	}
	return doc.Entries[0].First
}

// sumsOf reads a file of checksums strictly.
func sumsOf(tb testing.TB, data string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for line := range strings.Lines(data) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size || name == "" || !strings.HasSuffix(line, "\n") {
			tb.Fatalf("bad line %q", line)
		}
		out[name] = sum
	}
	return out
}

func hashOf(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

func TestSums(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.Formats = feed.AllFormats() })
	publish(t, p, pools(t, c, 0, 3)...)
	check := func(sums, suffix string, want int) {
		t.Helper()
		got := sumsOf(t, read(t, dir, sums))
		if len(got) != want {
			t.Errorf("%s has %d files, want %d", sums, len(got), want)
		}
		for name, sum := range got {
			data, err := os.ReadFile(filepath.Join(dir, name+suffix))
			if os.IsNotExist(err) && suffix != "" {
				continue // it is as it was
			}
			if err != nil {
				t.Fatal(err)
			}
			if hashOf(string(data)) != sum {
				t.Errorf("%s: %s%s has another sum", sums, name, suffix)
			}
		}
	}
	var all int
	for _, f := range feed.AllFormats() {
		all += len(f.FileNames())
	}
	check(feed.SumsFile, "", all)
	publish(t, p, pools(t, c, 0, 4)...)
	check(feed.SumsFile, "", all)
	check(feed.SumsFile+feed.PrevSuffix, feed.PrevSuffix, all)
	// A heartbeat and a new proof change files, but not what the generation before is.
	before := read(t, dir, "pools.json"+feed.PrevSuffix)
	c.advance(3 * time.Hour)
	rewrite(t, p)
	publish(t, p, pools(t, c, 0, 4)...)
	if diff := cmp.Diff(before, read(t, dir, "pools.json"+feed.PrevSuffix)); diff != "" {
		t.Error(diff)
	}
	// A form that is not asked for any more leaves; a stranger's file stays.
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p = newPublisher(t, dir, c)
	publish(t, p, pools(t, c, 0, 4)...)
	check(feed.SumsFile, "", 2)
	want := []string{"intel.dat", "intel.dat.prev", "mine.txt", "pools.dat", "pools.dat.prev"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestReaderOfAllFiles reads every file while another goroutine publishes a thousand times: none is ever half, and each is
// of a generation whose checksums were or will be told.
func TestReaderOfAllFiles(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	const rewrites = 1000
	dir := t.TempDir()
	c := &clock{t: now}
	formats := []feed.Format{feed.ZeekIntel, feed.ZeekPools}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.MaxNew, cfg.MaxChange, cfg.Formats = -1, -1, formats })
	p.NoSync()
	verdicts := pools(t, c, 0, 50)
	publish(t, p, verdicts...)

	type seen struct{ name, sum string }
	var mu sync.Mutex
	told := map[seen]bool{}
	tell := func() {
		mu.Lock()
		defer mu.Unlock()
		for name, sum := range sumsOf(t, read(t, dir, feed.SumsFile)) {
			told[seen{name, sum}] = true
		}
	}
	tell()
	done := make(chan struct{})
	var reads []seen
	ends := map[string]string{"intel.dat": "\n", "pools.dat": "\n", feed.SumsFile: "\n", feed.StatusFile: "}\n", feed.StateFile: "\n]}\n"}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			for name, end := range ends {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || !strings.HasSuffix(string(data), end) {
					t.Errorf("%s: %v, ends in %.20q", name, err, string(data[max(0, len(data)-20):]))
					return
				}
				switch name {
				case feed.StatusFile:
					if _, err := feed.ReadStatus(dir); err != nil && !strings.Contains(err.Error(), "was replaced") {
						t.Error(err)
					}
				case feed.StateFile, feed.SumsFile:
				default:
					reads = append(reads, seen{name, hashOf(string(data))})
				}
			}
			select {
			case <-done:
				return
			case <-time.After(200 * time.Microsecond): // others want the processor as well
			}
		}
	})
	for i := range rewrites {
		c.advance(time.Second)
		if i%3 == 0 {
			rewrite(t, p)
		} else {
			publish(t, p, verdicts[:1+i%50]...)
		}
		tell()
	}
	close(done)
	wg.Wait()
	different := map[seen]bool{}
	for _, r := range reads {
		different[r] = true
		if !told[r] {
			t.Fatalf("%s was read with a sum that no generation has", r.name)
		}
	}
	t.Logf("%d rewrites, %d reads of %d different files", rewrites, len(reads), len(different))
	if len(different) < 10*len(formats) {
		t.Errorf("the reader saw %d different files", len(different))
	}
}

func TestApproveFiles(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.MaxNew = 1 })
	verdicts := pools(t, c, 0, 4)
	publish(t, p, verdicts...)
	ep := verdicts[0].Endpoint
	left := func() (files []string) {
		for _, name := range names(t, dir) {
			if strings.HasPrefix(name, "approve") {
				files = append(files, name)
			}
		}
		return files
	}
	write := func(t *testing.T, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	form := func(by string, endpoints ...minecanary.Endpoint) string {
		b, err := json.Marshal(map[string]any{"version": 1, "by": by, "at": now, "endpoints": endpoints})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, hostile := range map[string]func(t *testing.T, name string){
		"empty":   func(t *testing.T, name string) { t.Helper(); write(t, name, "") },
		"no JSON": func(t *testing.T, name string) { t.Helper(); write(t, name, "all") },
		"version": func(t *testing.T, name string) {
			t.Helper()
			write(t, name, `{"version":9,"endpoints":["`+ep.String()+`"]}`)
		},
		"nothing":  func(t *testing.T, name string) { t.Helper(); write(t, name, form("alice")) },
		"who":      func(t *testing.T, name string) { t.Helper(); write(t, name, form("al\nice", ep)) },
		"long who": func(t *testing.T, name string) { t.Helper(); write(t, name, form(strings.Repeat("a", 129), ep)) },
		"a name": func(t *testing.T, name string) {
			t.Helper()
			write(t, name, `{"version":1,"endpoints":["a.example:1"]}`)
		},
		"half bad": func(t *testing.T, name string) {
			t.Helper()
			write(t, name, `{"version":1,"endpoints":["`+ep.String()+`","x"]}`)
		},
		"of nowhen": func(t *testing.T, name string) {
			t.Helper()
			write(t, name, `{"version":1,"by":"alice","endpoints":["`+ep.String()+`"]}`)
		},
		"of the last year": func(t *testing.T, name string) { // in UTC it is one that JSON cannot say
			t.Helper()
			write(t, name, `{"version":1,"by":"alice","at":"9999-12-31T23:59:59-12:00","endpoints":["`+ep.String()+`"]}`)
		},
		"of tomorrow": func(t *testing.T, name string) {
			t.Helper()
			write(t, name, strings.ReplaceAll(form("alice", ep), `"at":"2026-`, `"at":"2027-`))
		},
		"of others": func(t *testing.T, name string) {
			t.Helper()
			write(t, name, form("alice", ep))
			if err := os.Chmod(filepath.Join(dir, name), 0o666); err != nil {
				t.Fatal(err)
			}
		},
		"a link": func(t *testing.T, name string) {
			t.Helper()
			other := filepath.Join(t.TempDir(), "other")
			if err := os.WriteFile(other, []byte(form("alice", ep)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(other, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		},
		"large": func(t *testing.T, name string) {
			t.Helper()
			write(t, name, "")
			if err := os.Truncate(filepath.Join(dir, name), 1<<30); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			hostile(t, "approve-x.json")
			r := rewrite(t, p)
			if len(r.Problems) != 1 || len(r.Approved) != 0 || r.Held != 4 {
				t.Errorf("%+v", r)
			}
			if got := left(); len(got) != 0 {
				t.Errorf("%q stays", got)
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		path := filepath.Join(dir, "approve-y.json")
		if err := os.MkdirAll(filepath.Join(path, "z"), 0o700); err != nil {
			t.Fatal(err)
		}
		if r := rewrite(t, p); len(r.Problems) != 2 || r.Held != 4 {
			t.Errorf("%+v", r)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("what does not wait is not approved", func(t *testing.T) {
		if err := feed.Approve(dir, []minecanary.Endpoint{endpoint(t, "198.51.100.99:1")}, "alice", now); err != nil {
			t.Fatal(err)
		}
		if r := rewrite(t, p); len(r.Approved) != 0 || r.Held != 4 || len(r.Problems) != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("two at once", func(t *testing.T) {
		for i := range 2 {
			if err := feed.Approve(dir, []minecanary.Endpoint{verdicts[i].Endpoint}, fmt.Sprintf("a%d\n", i), now); err != nil {
				t.Fatal(err)
			}
		}
		if r := rewrite(t, p); len(r.Approved) != 2 || r.Held != 2 || r.Published != 2 {
			t.Errorf("%+v", r)
		}
		if got := left(); len(got) != 0 {
			t.Errorf("%q stays", got)
		}
	})
	if err := feed.Approve(dir, nil, "alice", now); err == nil {
		t.Error("approved nothing")
	}
}

// TestForeignFiles has somebody who may write the directory put a link to what only the service may read, a pipe, or
// another file in the place of a feed: none of it is read, kept as the generation before, or served.
func TestForeignFiles(t *testing.T) {
	const word = "hunter2"
	for name, plant := range map[string]func(path, secret string) error{
		"a link":       func(path, secret string) error { return os.Symlink(secret, path) },
		"a pipe":       func(path, _ string) error { return makePipe(path) },
		"another file": func(path, _ string) error { return os.WriteFile(path, []byte(word), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			secret := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(secret, []byte(word), 0o600); err != nil {
				t.Fatal(err)
			}
			swap := func() {
				t.Helper()
				for _, name := range []string{"pools.dat", feed.SumsFile} {
					path := filepath.Join(dir, name)
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
					if err := plant(path, secret); errors.Is(err, errors.ErrUnsupported) {
						t.Skip("no pipes here")
					} else if err != nil {
						t.Fatal(err)
					}
				}
			}
			c := &clock{t: now}
			p := newPublisher(t, dir, c)
			publish(t, p, pools(t, c, 0, 1)...)
			swap()
			for _, name := range []string{"pools.dat", feed.SumsFile} {
				if res := ask(t, p.Handler(), http.MethodGet, feed.PathPrefix+name); res.StatusCode != http.StatusNotFound {
					t.Errorf("%s: %d", name, res.StatusCode)
				}
			}
			publish(t, p, pools(t, c, 0, 2)...)
			for _, name := range []string{"pools.dat", feed.SumsFile} {
				if data, err := os.ReadFile(filepath.Join(dir, name+feed.PrevSuffix)); err == nil && strings.Contains(string(data), word) {
					t.Errorf("%s is kept", name)
				}
			}
			if got := len(published(t, dir)); got != 2 {
				t.Errorf("%d are published", got)
			}
			if name == "another file" {
				return // after a restart it is as good as ours: who may write the directory may write the feed
			}
			// A restart, with the state and without.
			for _, lost := range []bool{false, true} {
				swap()
				if lost {
					if err := os.Remove(filepath.Join(dir, feed.StateFile)); err != nil {
						t.Fatal(err)
					}
				}
				p = newPublisher(t, dir, c)
				if _, err := p.Rewrite(t.Context()); err != nil {
					t.Fatal(err)
				}
				if res := ask(t, p.Handler(), http.MethodGet, "/feeds/pools.dat"); strings.Contains(res.body, word) {
					t.Errorf("%d: %q", res.StatusCode, res.body)
				}
				if r := publish(t, p, pools(t, c, 0, 2)...); r.Published != 2 || len(published(t, dir)) != 2 {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// FuzzApproval wants that no approval file makes a publisher panic or publish what does not wait.
func FuzzApproval(f *testing.F) {
	f.Add([]byte(`{"version":1,"by":"shell alice","at":"2026-11-21T05:00:00Z","endpoints":["198.51.100.0:1000"]}`))
	f.Add([]byte(`{"version":1,"by":"\u202e","endpoints":["8.8.8.8:53/udp","[::]:1"]}`))
	f.Add([]byte("*"))
	dir := f.TempDir()
	c := &clock{t: now}
	p := newPublisher(f, dir, c, func(cfg *feed.Config) { cfg.MaxNew = 1 })
	f.Fuzz(func(t *testing.T, data []byte) {
		publish(t, p, pools(t, c, 0, 2)...)
		if err := os.WriteFile(filepath.Join(dir, "approve-1.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := rewrite(t, p)
		if r.Published+r.Held != 2 || len(r.Approved) > 0 && len(r.Problems) > 0 {
			t.Errorf("%+v", r)
		}
		for _, a := range r.Approved {
			if len(a.By) > 128 || strings.ContainsFunc(a.By, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
				t.Errorf("%q", a.By)
			}
		}
	})
}

func TestHostileStatus(t *testing.T) {
	for _, text := range []string{
		"", "{", "null", `{"version":2}`, `{"version":1,"published":-1}`, `{"version":1,"rewrite_every_seconds":1e300}`,
		`{"version":1,"rewrite_every_seconds":-1}`, `{"version":1,"held":{"\u001b[31m":1}}`, `{"version":1,"refused":{"x":1}}`,
		`{"version":1,"problems":[` + strings.Repeat(`"",`, 10) + `""]}`, strings.Repeat(" ", 1<<17),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, feed.StatusFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := feed.ReadStatus(dir); err == nil {
			t.Errorf("%.60q gives %+v", text, s)
		}
		c := &clock{t: now}
		if r := publish(t, newPublisher(t, dir, c), pools(t, c, 0, 1)...); len(r.Problems) != 1 || r.Published != 1 {
			t.Errorf("%.60q: %+v", text, r)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, feed.StatusFile), []byte(`{"version":1,"problems":["\u001b[31m\n"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := feed.ReadStatus(dir); err != nil || s.Problems[0] != "?[31m" || !s.Stale(now) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestDiff(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	if _, err := feed.ReadDiff(dir, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no feed: %v", err)
	}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.MaxNew = 4 })
	publish(t, p, pools(t, c, 0, 2)...)
	publish(t, p, pools(t, c, 1, 2)...)
	publish(t, p, pools(t, c, 1, 6)...)
	start := now.Unix()
	tests := []struct {
		since                int64
		added, removed, held int
		bad                  bool
	}{
		{since: -1, added: 1, removed: 1, held: 4},
		{since: start, added: 2, removed: 1, held: 4},
		{since: start + 1, added: 1, removed: 1, held: 4},
		{since: start + 2, held: 4},
		{since: start + 3, bad: true},
		{since: start - 1, bad: true},
	}
	for _, tt := range tests {
		d, err := feed.ReadDiff(dir, tt.since)
		if (err != nil) != tt.bad || len(d.Added) != tt.added || len(d.Removed) != tt.removed || len(d.Held) != tt.held {
			t.Errorf("since %d: %+v, %v", tt.since, d, err)
		}
	}
	c.advance(25 * time.Hour)
	publish(t, p, pools(t, c, 1, 2)...)
	if _, err := feed.ReadDiff(dir, start+1); err == nil {
		t.Error("what is forgotten is told")
	}
	if d, err := feed.ReadDiff(dir, -1); err != nil || d.Generation != first+1 {
		t.Errorf("%+v, %v", d, err)
	}
}
