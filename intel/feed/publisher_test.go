package feed_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// first is the generation of the first publication on a clock that began with now.
var first = uint64(now.Unix()) + 1

// clock is set by the test.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newPublisher(tb testing.TB, dir string, c *clock, change ...func(*feed.Config)) *feed.Publisher {
	tb.Helper()
	cfg := feed.Config{Dir: dir, Gate: feed.Gate{Reserved: reserved}, Now: c.now}
	for _, f := range change {
		f(&cfg)
	}
	p, err := feed.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func publish(tb testing.TB, p *feed.Publisher, verdicts ...minecanary.Verdict) feed.Report {
	tb.Helper()
	report, err := p.Publish(tb.Context(), verdicts)
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

func rewrite(tb testing.TB, p *feed.Publisher) feed.Report {
	tb.Helper()
	report, err := p.Rewrite(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

func read(tb testing.TB, dir, name string) string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// published gives the endpoints in the pools file.
func published(tb testing.TB, dir string) []string {
	tb.Helper()
	pools, err := poolsOf(read(tb, dir, "pools.dat"))
	if err != nil {
		tb.Fatal(err)
	}
	out := []string{}
	for ep := range pools {
		out = append(out, ep.String())
	}
	return out
}

// names lists the directory without the files that tell of the feed.
func names(tb testing.TB, dir string) []string {
	tb.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, f := range files {
		switch strings.TrimSuffix(f.Name(), feed.PrevSuffix) {
		case feed.SumsFile, feed.StateFile, feed.StatusFile:
		default:
			out = append(out, f.Name())
		}
	}
	return out
}

func TestPublish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "feed")
	c := &clock{t: now}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) {
		cfg.URL = func(ep minecanary.Endpoint) string { return "https://kibana.example/" + ep.String() }
		cfg.Gate.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("New touched the disk: %v", err)
	}
	unknown := confirmed(t, "198.51.100.12:1")
	unknown.Status = minecanary.Inconclusive
	short := confirmed(t, "198.51.100.11:3333")
	short.Expires = now.Add(time.Minute)
	verdicts := []minecanary.Verdict{
		confirmed(t, "198.51.100.10:4444"), confirmed(t, "198.51.100.10:3333"), short, unknown, unknown,
		confirmed(t, "192.168.0.1:3333"), confirmed(t, "10.2.3.4:3333"),
	}
	report := publish(t, p, verdicts...)
	want := feed.Report{
		At: now, Generation: first, Published: 4, Addresses: 3, Lifted: 1, Changed: true, HeldBy: map[feed.HoldReason]int{}, Written: now,
		Refused:  map[feed.Reason]int{feed.NotConfirmed: 2, feed.NotPublic: 1},
		Refusals: []feed.Refusal{{Endpoint: endpoint(t, "192.168.0.1:3333"), Reason: feed.NotPublic, Detail: "reserved in this test"}},
		Files:    []string{filepath.Join(dir, "intel.dat"), filepath.Join(dir, "pools.dat")},
	}
	if diff := cmp.Diff(want, report, cmp.Comparer(func(a, b minecanary.Endpoint) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"intel.dat", "pools.dat"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
	pools, err := poolsOf(read(t, dir, "pools.dat"))
	if err != nil {
		t.Fatal(err)
	}
	if got := pools[endpoint(t, "198.51.100.10:3333")]["url"]; got != "https://kibana.example/198.51.100.10:3333" {
		t.Errorf("url is %q", got)
	}
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o644 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}

	t.Run("a heartbeat with equal content makes new files", func(t *testing.T) {
		before, err := os.Stat(filepath.Join(dir, "intel.dat"))
		if err != nil {
			t.Fatal(err)
		}
		c.advance(30 * time.Second)
		if report := rewrite(t, p); report.Changed || len(report.Files) != 2 {
			t.Errorf("changed %t, files %q", report.Changed, report.Files)
		}
		after, err := os.Stat(filepath.Join(dir, "intel.dat"))
		if err != nil {
			t.Fatal(err)
		}
		if os.SameFile(before, after) || after.ModTime().Before(before.ModTime()) {
			t.Error("the file is the same one")
		}
		if diff := cmp.Diff([]string{"intel.dat", "pools.dat"}, names(t, dir)); diff != "" {
			t.Errorf("equal content has no generation before: %s", diff)
		}
	})

	t.Run("an entry leaves by expiry, the generation before stays", func(t *testing.T) {
		old := read(t, dir, "pools.dat")
		c.advance(30 * time.Second)
		report := rewrite(t, p)
		if !report.Changed || report.Published != 3 || report.Refused[feed.Expired] != 1 {
			t.Errorf("%+v", report)
		}
		if strings.Contains(read(t, dir, "pools.dat"), "198.51.100.11") {
			t.Error("still there")
		}
		if diff := cmp.Diff(old, read(t, dir, "pools.dat.prev")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"intel.dat", "intel.dat.prev", "pools.dat", "pools.dat.prev"}, names(t, dir)); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("the time of the status moves with the files", func(t *testing.T) {
		status, err := feed.ReadStatus(dir)
		if err != nil || !status.Written.Equal(c.now()) || status.Stale(c.now().Add(3*time.Minute)) || !status.Stale(c.now().Add(3*time.Minute+1)) {
			t.Errorf("%+v, %v", status, err)
		}
	})

	t.Run("nothing left is a header", func(t *testing.T) {
		publish(t, p)
		if got := read(t, dir, "pools.dat"); got != "#fields\thost\tp\tcoin\tprotocol\tverified\turl\n" {
			t.Errorf("%q", got)
		}
	})
}

func TestPublishNothingKnownYet(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	publish(t, newPublisher(t, dir, c), confirmed(t, "198.51.100.10:3333"))
	if err := os.Remove(filepath.Join(dir, "intel.dat")); err != nil {
		t.Fatal(err)
	}
	// A crash left these.
	for _, name := range []string{".pools.dat.123.tmp", ".intel.dat.prev.9.tmp", ".other.tmp", "pools.dat.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := newPublisher(t, dir, c)
	report := rewrite(t, p)
	if diff := cmp.Diff([]string{filepath.Join(dir, "intel.dat")}, report.Files); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"198.51.100.10:3333"}, published(t, dir)); diff != "" {
		t.Errorf("a restart emptied the feed: %s", diff)
	}
	if diff := cmp.Diff([]string{".other.tmp", "intel.dat", "pools.dat", "pools.dat.tmp"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestPublishHoldsAJump(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	limit := func(cfg *feed.Config) { cfg.MaxNew = 3 }
	p := newPublisher(t, dir, c, limit)
	many := func(n int) []minecanary.Verdict {
		var out []minecanary.Verdict
		for i := range n {
			v := confirmed(t, fmt.Sprintf("198.51.100.10:%d", 1000+i))
			v.At, v.Expires = c.now(), c.now().Add(24*time.Hour)
			out = append(out, v)
		}
		return out
	}
	approve := func() {
		for _, h := range p.Holds() {
			if n, err := p.Approve("a test", h.Endpoint); err != nil || n != 1 {
				t.Fatal(n, err)
			}
		}
	}
	steps := []struct {
		name                    string
		before                  func()
		n                       int
		wantPublished, wantHeld int
	}{
		{"within the limit", nil, 2, 2, 0},
		{"a jump keeps the old ones", nil, 5, 2, 3},
		{"what is held stays held", nil, 3, 2, 1},
		{"also if it was away", nil, 4, 2, 2},
		{"and over a restart", func() { p = newPublisher(t, dir, c, limit) }, 4, 2, 2},
		{"approved", approve, 4, 4, 0},
		{"the approval was for those", nil, 9, 4, 5},
		{"approved again", approve, 9, 9, 0},
		{"a restart knows what it published", func() { p = newPublisher(t, dir, c, limit) }, 15, 9, 6},
		{"no limit releases nothing", func() {
			p = newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.MaxNew, cfg.MaxChange = -1, -1 })
		}, 40, 34, 6},
		{"a window passes", func() {
			approve()
			publish(t, p, many(40)...)
			p = newPublisher(t, dir, c, limit)
			c.advance(feed.NewWindow)
		}, 43, 43, 0},
	}
	for _, s := range steps {
		if s.before != nil {
			s.before()
		}
		report := publish(t, p, many(s.n)...)
		if report.Published != s.wantPublished || report.Held != s.wantHeld || report.HeldBy[feed.TooManyNew] != s.wantHeld {
			t.Fatalf("%s: published %d, held %d (%v), want %d and %d", s.name, report.Published, report.Held, report.HeldBy, s.wantPublished, s.wantHeld)
		}
		if got := len(published(t, dir)); got != s.wantPublished {
			t.Fatalf("%s: the file has %d", s.name, got)
		}
	}
}

func TestPublishFailureLeavesTheFiles(t *testing.T) {
	dir := t.TempDir()
	p := newPublisher(t, dir, &clock{t: now})
	publish(t, p, confirmed(t, "198.51.100.10:3333"))

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Publish(canceled, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if diff := cmp.Diff([]string{"198.51.100.10:3333"}, published(t, dir)); diff != "" {
		t.Error(diff)
	}

	// A directory in the place of the next generation's file makes the rename fail; root may write everywhere, so modes
	// cannot.
	if err := os.Mkdir(filepath.Join(dir, "pools.dat.prev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pools.dat.prev", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), []minecanary.Verdict{confirmed(t, "198.51.100.11:3333")}); err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff([]string{"198.51.100.10:3333"}, published(t, dir)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"intel.dat", "intel.dat.prev", "pools.dat", "pools.dat.prev"}, names(t, dir)); diff != "" {
		t.Errorf("a temporary file stayed: %s", diff)
	}

	if err := os.RemoveAll(filepath.Join(dir, "pools.dat.prev")); err != nil {
		t.Fatal(err)
	}
	rewrite(t, p)
	if diff := cmp.Diff([]string{"198.51.100.11:3333"}, published(t, dir)); diff != "" {
		t.Errorf("the rewrite did not try again: %s", diff)
	}
}

func TestNewRefuses(t *testing.T) {
	good := feed.Config{Dir: "feed", Gate: feed.Gate{Reserved: reserved}}
	tests := []struct {
		name   string
		change func(*feed.Config)
		want   string
	}{
		{"no directory", func(c *feed.Config) { c.Dir = "" }, "feed: no directory"},
		{"format", func(c *feed.Config) { c.Formats = []feed.Format{"xls"} }, `feed: unknown format "xls"`},
		{"negative", func(c *feed.Config) { c.RewriteEvery = -1 }, "feed: a duration is negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			_, err := feed.New(cfg)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
		})
	}
}

// TestRun runs on the fake clock: files are real, time is not.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var reports []feed.Report
		p, err := feed.New(feed.Config{
			Dir: dir, Gate: feed.Gate{Reserved: reserved}, RewriteEvery: time.Minute,
			Observe: func(r feed.Report, err error) {
				if err != nil {
					t.Error(err)
				}
				reports = append(reports, r)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		v := confirmed(t, "198.51.100.10:3333")
		v.At, v.Expires = time.Now(), time.Now().Add(150*time.Second)
		publish(t, p, v)

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(200 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		var got []int
		for _, r := range reports {
			got = append(got, r.Published)
		}
		if diff := cmp.Diff([]int{1, 1, 1, 0}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPublishToTheWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	// A rename works within one file system only, so the temporary file must not be elsewhere.
	t.Setenv("TMPDIR", filepath.Join(dir, "missing"))
	publish(t, newPublisher(t, ".", &clock{t: now}), confirmed(t, "198.51.100.10:3333"))
	if diff := cmp.Diff([]string{"198.51.100.10:3333"}, published(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestStaleAtStart: a feed that was not written yet gets three heartbeats before it is an alarm.
func TestStaleAtStart(t *testing.T) {
	c := &clock{t: verified}
	p := newPublisher(t, t.TempDir(), c)
	for _, tt := range []struct {
		wait  time.Duration
		stale bool
	}{{0, false}, {feed.StaleAfter * time.Minute, false}, {time.Second, true}} {
		c.advance(tt.wait)
		if r := rewrite(t, p); r.Stale != tt.stale || !r.Written.IsZero() {
			t.Errorf("after %v more: %+v", tt.wait, r)
		}
	}
	publish(t, p)
	if r := rewrite(t, p); r.Stale || r.Written.IsZero() {
		t.Errorf("once it is written: %+v", r)
	}
}
