package feed_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/feed"
)

// TestGateMark is the table of addresses that are something else too.
func TestGateMark(t *testing.T) {
	const addr = "198.51.100.10:3333"
	mark := func(kind string) func(netip.Addr) (string, string) {
		return func(netip.Addr) (string, string) { return kind, "somebody" }
	}
	named := func(name string) func(minecanary.Endpoint) string {
		return func(minecanary.Endpoint) string { return name }
	}
	tests := []struct {
		name       string
		gate       feed.Gate
		ep         string
		wantReason feed.Reason
		wantDetail string
		wantName   string
	}{
		{"nothing else", feed.Gate{Mark: mark(""), Name: named("pool.example.com")}, addr, "", "", ""},
		{"CDN without a name", feed.Gate{Mark: mark("cdn")}, addr, feed.CDN, "somebody", ""},
		{"CDN, not in the catalogue", feed.Gate{Mark: mark("cdn"), Name: named("")}, addr, feed.CDN, "somebody", ""},
		{"CDN with a name", feed.Gate{Mark: mark("cdn"), Name: named("Pool.Example.com.")}, addr, "", "", "pool.example.com"},
		{"CDN with an address as name", feed.Gate{Mark: mark("cdn"), Name: named("198.51.100.10")}, addr, feed.BadName, "198.51.100.10", ""},
		{"CDN with a hostile name", feed.Gate{Mark: mark("cdn"), Name: named("a.example\n8.8.8.8")}, addr, feed.BadName, "a.example 8.8.8.8", ""},
		{"CDN with a suffix as name", feed.Gate{Mark: mark("cdn"), Name: named("com")}, addr, feed.BadName, "com", ""},
		{"CDN with a wildcard", feed.Gate{Mark: mark("cdn"), Name: named("*.example.com")}, addr, feed.BadName, "*.example.com", ""},
		{"shared without a name", feed.Gate{Mark: mark("shared")}, addr, feed.Shared, "somebody", ""},
		{"shared with a name", feed.Gate{Mark: mark("shared"), Name: named("pool.example.com")}, addr, "", "", "pool.example.com"},
		{"resolver has no name that helps", feed.Gate{Mark: mark("resolver"), Name: named("dns.example.com")}, addr, feed.Resolver, "somebody", ""},
		{"reserved by the mark alone", feed.Gate{Mark: mark("reserved"), Name: named("a.example.com")}, addr, feed.NotPublic, "somebody", ""},
		{"a word of tomorrow", feed.Gate{Mark: mark("moon")}, addr, feed.Listed, "moon somebody", ""},
		{"a laboratory", feed.Gate{Mark: mark("reserved"), Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "10.1.1.1:3333", "", "", ""},
		{"a laboratory's CDN", feed.Gate{Mark: mark("cdn"), Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "10.1.1.1:3333", feed.CDN, "somebody", ""},
		{"own before all", feed.Gate{Mark: mark("cdn"), Name: named("a.example.com"), Own: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, addr, feed.OwnNetwork, "198.51.100.0/24", ""},
		{"refused in spite of a name", feed.Gate{Mark: mark("cdn"), Name: named("a.example.com"), Refuse: func(minecanary.Endpoint) string { return "allow list" }}, addr, feed.Listed, "allow list", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.gate.Reserved = reserved
			entry, refusal, ok := tt.gate.Check(confirmed(t, tt.ep), now)
			got := []string{string(refusal.Reason), refusal.Detail, entry.Name}
			if diff := cmp.Diff([]string{string(tt.wantReason), tt.wantDetail, tt.wantName}, got); diff != "" || ok != (tt.wantReason == "") {
				t.Error(ok, diff)
			}
		})
	}
}

func TestGateSelectBelievesTheLaterAnswer(t *testing.T) {
	gate := feed.Gate{Reserved: reserved}
	at := func(status minecanary.VerdictStatus, after time.Duration) minecanary.Verdict {
		v := confirmed(t, "198.51.100.10:3333")
		v.Status, v.At = status, verified.Add(after)
		return v
	}
	tests := []struct {
		name     string
		verdicts []minecanary.Verdict
		want     int
	}{
		{"confirmed", []minecanary.Verdict{at(minecanary.Confirmed, 0)}, 1},
		{"then no pool", []minecanary.Verdict{at(minecanary.Confirmed, 0), at(minecanary.NotPool, 1)}, 0},
		{"then a node", []minecanary.Verdict{at(minecanary.Node, 1), at(minecanary.Confirmed, 0)}, 0},
		{"at the same time", []minecanary.Verdict{at(minecanary.Confirmed, 0), at(minecanary.NotPool, 0)}, 0},
		{"then a pool again", []minecanary.Verdict{at(minecanary.NotPool, 0), at(minecanary.Confirmed, 1)}, 1},
		{"a failed probe proves nothing", []minecanary.Verdict{at(minecanary.Confirmed, 0), at(minecanary.Inconclusive, 1), at(minecanary.Blocked, 2)}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entries, refused := gate.Select(tt.verdicts, now)
			if len(entries) != tt.want || len(entries)+len(refused) != len(tt.verdicts) {
				t.Errorf("%v, refused %v", entries, refused)
			}
			report := publish(t, newPublisher(t, t.TempDir(), &clock{t: now}), tt.verdicts...)
			if report.Published != tt.want || report.Refused[feed.NotConfirmed] != len(tt.verdicts)-tt.want {
				t.Errorf("%+v", report)
			}
		})
	}
}

func TestConfidence(t *testing.T) {
	const day = 24 * time.Hour
	for age, want := range map[time.Duration]int{
		-time.Hour: 100, 0: 100, time.Hour: 100, 6 * time.Hour: 94, 12 * time.Hour: 75, 18 * time.Hour: 44, 24*time.Hour - 1: 1, day: 1, 2 * day: 1,
	} {
		if got := feed.Confidence(age, day); got != want {
			t.Errorf("after %s: %d, want %d", age, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(0, int64(30*day)).Draw(t, "life"))
		a := time.Duration(rapid.Int64Range(-int64(day), int64(31*day)).Draw(t, "a"))
		b := time.Duration(rapid.Int64Range(int64(a), int64(31*day)).Draw(t, "b"))
		young, old := feed.Confidence(a, life), feed.Confidence(b, life)
		if young < old || old < 1 || young > 100 {
			t.Fatalf("%d at %s, %d at %s", young, a, old, b)
		}
	})
}

// pools gives n confirmed verdicts of now, from the given number on.
func pools(tb testing.TB, c *clock, from, n int) []minecanary.Verdict {
	tb.Helper()
	out := make([]minecanary.Verdict, n)
	for i := range out {
		v := confirmed(tb, "198.51.100.1:1")
		v.Endpoint.Addr = netip.AddrFrom4([4]byte{198, 51, 100, byte((from + i) / 200)})
		v.Endpoint.Port = uint16(1000 + (from+i)%200)
		v.At, v.Expires = c.now(), c.now().Add(24*time.Hour)
		out[i] = v
	}
	return out
}

// approveAll lets in what waits, as the command does.
func approveAll(tb testing.TB, dir string, at time.Time) {
	tb.Helper()
	holds, err := feed.ReadHolds(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var all []minecanary.Endpoint
	for _, h := range holds {
		all = append(all, h.Endpoint)
	}
	if err := feed.Approve(dir, all, "shell alice", at); err != nil {
		tb.Fatal(err)
	}
}

func TestBrakeOnShare(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	p := newPublisher(t, dir, c)
	// The first day of a feed has nothing to compare with.
	if r := publish(t, p, pools(t, c, 0, 200)...); r.Published != 200 {
		t.Fatalf("%+v", r)
	}
	c.advance(25 * time.Hour)
	steps := []struct {
		name                string
		n                   int
		published, held     int
		lost                int
		mass                bool
		advance             time.Duration
		approve, newProcess bool
	}{
		{name: "a day later", n: 200, published: 200},
		{name: "20 percent", n: 240, published: 240},
		{name: "one more", n: 241, published: 240, held: 1},
		{name: "over a restart", n: 241, published: 240, held: 1, newProcess: true},
		{name: "all new ones wait with it", n: 245, published: 240, held: 5},
		{name: "approved", n: 245, approve: true, published: 245},
		{name: "the approved ones are old ones", n: 247, published: 245, held: 2},
		{name: "a day later the share is one of more", n: 247 + 47, advance: 25 * time.Hour, published: 245 + 47, held: 2},
		{name: "what leaves is never held", n: 100, published: 100, lost: 192, mass: true},
		{name: "what returns is not new", n: 245, published: 245, lost: 47},
		{name: "held it was and is", n: 246, published: 245, held: 1, lost: 47},
		{name: "forgotten", n: 245, advance: 25 * time.Hour, published: 245},
	}
	for _, s := range steps {
		c.advance(s.advance)
		if s.newProcess {
			p = newPublisher(t, dir, c)
		}
		if s.approve {
			approveAll(t, dir, c.now())
		}
		r := publish(t, p, pools(t, c, 0, s.n)...)
		got := []any{r.Published, r.Held, r.HeldBy[feed.TooMuchNew], r.Lost, r.MassRemoval}
		if diff := cmp.Diff([]any{s.published, s.held, s.held, s.lost, s.mass}, got); diff != "" {
			t.Fatalf("%s: %s", s.name, diff)
		}
	}
}

func TestBrakeSpareSmallFeeds(t *testing.T) {
	c := &clock{t: now}
	p := newPublisher(t, t.TempDir(), c)
	publish(t, p, pools(t, c, 0, 2)...)
	c.advance(25 * time.Hour)
	publish(t, p, pools(t, c, 0, 2)...)
	if r := publish(t, p, pools(t, c, 0, 2+feed.MinChange)...); r.Published != 2+feed.MinChange {
		t.Errorf("%+v", r)
	}
	if r := publish(t, p, pools(t, c, 0, 3+feed.MinChange)...); r.Held != 1 {
		t.Errorf("%+v", r)
	}
	if r := publish(t, p); r.Published != 0 || r.Lost != 2+feed.MinChange || !r.MassRemoval {
		t.Errorf("%+v", r)
	}
}

// TestBrakeOnDrops offers new ones one at a time, and lets each leave again.
func TestBrakeOnDrops(t *testing.T) {
	c := &clock{t: now}
	p := newPublisher(t, t.TempDir(), c, func(cfg *feed.Config) { cfg.MaxNew = 5 })
	for i := range 8 {
		c.advance(time.Minute)
		r := publish(t, p, pools(t, c, i, 1)...)
		if want := 0; i < 5 {
			want = 1
			if r.Published != want {
				t.Fatalf("%d: %+v", i, r)
			}
		} else if r.Published != want || r.Held != 1 {
			t.Fatalf("%d: %+v", i, r)
		}
	}
}

func TestBlastRadius(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	hosts := map[string]int{"198.51.100.0": 3, "198.51.100.1": 101, "198.51.100.2": 100}
	reach := func(cfg *feed.Config) {
		cfg.Reach = func(addr netip.Addr) (int, bool) { n, ok := hosts[addr.String()]; return n, ok }
		cfg.Gate.Mark = func(addr netip.Addr) (string, string) {
			if addr.String() == "198.51.100.4" {
				return "cdn", "somebody"
			}
			return "", ""
		}
		cfg.Gate.Name = func(minecanary.Endpoint) string { return "pool.example.com" }
		cfg.Formats = []feed.Format{feed.ZeekPools, feed.JSON}
	}
	p := newPublisher(t, dir, c, reach)
	var verdicts []minecanary.Verdict
	for i := range 5 {
		verdicts = append(verdicts, pools(t, c, 200*i, 1)...)
	}
	r := publish(t, p, verdicts...)
	if r.Published != 4 || r.HeldBy[feed.TooManyHosts] != 1 || r.Named != 1 {
		t.Fatalf("%+v", r)
	}
	want := []feed.Hold{{Endpoint: verdicts[1].Endpoint, Reason: feed.TooManyHosts, Since: now, Hosts: 101}}
	same := cmp.Comparer(func(a, b minecanary.Endpoint) bool { return a == b })
	if diff := cmp.Diff(want, p.Holds(), same); diff != "" {
		t.Error(diff)
	}
	// It waits also when fewer talk to it, until somebody looked; then it stays whoever talks to it.
	hosts["198.51.100.1"] = 1
	if r := rewrite(t, p); r.Held != 1 || r.Published != 4 {
		t.Errorf("%+v", r)
	}
	approveAll(t, dir, c.now())
	hosts["198.51.100.1"] = 5000
	r = rewrite(t, p)
	if r.Held != 0 || r.Published != 5 {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff([]feed.Approval{{Endpoint: verdicts[1].Endpoint, By: "shell alice", At: now}}, r.Approved, same); diff != "" {
		t.Error(diff)
	}
	// One that is new goes when many come to talk to it, over a restart as well, and only somebody lets it in again.
	c.advance(feed.NewWindow - time.Second)
	for i := range verdicts {
		verdicts[i].At, verdicts[i].Expires = c.now(), c.now().Add(24*time.Hour)
	}
	p = newPublisher(t, dir, c, reach)
	hosts["198.51.100.0"] = 101
	if r := publish(t, p, verdicts...); r.HeldBy[feed.TooManyHosts] != 1 || r.Published != 4 || r.Lost != 0 {
		t.Errorf("%+v", r)
	}
	if d, err := feed.ReadDiff(dir, -1); err != nil || len(d.Added) != 0 || len(d.Removed) != 1 || d.Removed[0].Endpoint != verdicts[0].Endpoint {
		t.Errorf("%+v, %v", d, err)
	}
	hosts["198.51.100.0"] = 1
	if r := rewrite(t, p); r.Held != 1 || r.Published != 4 {
		t.Errorf("%+v", r)
	}
	approveAll(t, dir, c.now())
	hosts["198.51.100.0"] = 1000
	if r := rewrite(t, p); r.Held != 0 || r.Published != 5 {
		t.Errorf("%+v", r)
	}
	// An older one stays.
	c.advance(time.Second)
	hosts["198.51.100.2"] = 1000
	if r := rewrite(t, p); r.Held != 0 || r.Published != 5 {
		t.Errorf("%+v", r)
	}
	// No limit.
	p = newPublisher(t, t.TempDir(), c, reach, func(cfg *feed.Config) { cfg.MaxHosts = -1 })
	if r := publish(t, p, verdicts...); r.Held != 0 {
		t.Errorf("%+v", r)
	}
}

// TestNameToAddress has endpoints lose the mark that made them entries by name: their addresses are as new.
func TestNameToAddress(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	marked, hosts := true, 5000
	p := newPublisher(t, dir, c, func(cfg *feed.Config) {
		cfg.MaxNew, cfg.Formats = 3, []feed.Format{feed.ZeekPools, feed.JSON}
		cfg.Gate.Mark = func(netip.Addr) (string, string) {
			if marked {
				return "cdn", "somebody"
			}
			return "", ""
		}
		cfg.Gate.Name = func(ep minecanary.Endpoint) string {
			return "pool" + strconv.Itoa(int(ep.Addr.As4()[3])) + ".example.com"
		}
		cfg.Reach = func(netip.Addr) (int, bool) { return hosts, true }
	})
	var verdicts []minecanary.Verdict
	offer := func(n int) feed.Report {
		t.Helper()
		verdicts = verdicts[:0]
		for i := range n {
			verdicts = append(verdicts, pools(t, c, 200*i, 1)...)
		}
		return publish(t, p, verdicts...)
	}
	offer(2)
	c.advance(25 * time.Hour)
	if r := offer(2); r.Named != 2 {
		t.Fatalf("%+v", r)
	}
	// The radius, which is not asked for a name.
	c.advance(25 * time.Hour)
	marked = false
	if r := offer(2); r.Published != 0 || r.HeldBy[feed.TooManyHosts] != 2 {
		t.Fatalf("%+v", r)
	}
	d, err := feed.ReadDiff(dir, -1)
	if err != nil || len(d.Added) != 0 || !slices.ContainsFunc(d.Removed, func(c feed.Change) bool { return c.Name == "pool0.example.com" }) {
		t.Errorf("%+v, %v", d, err)
	}
	approveAll(t, dir, c.now())
	if r := offer(2); r.Published != 2 || r.Named != 0 {
		t.Fatalf("%+v", r)
	}
	// The brake, which had passed the names days ago; who approved a name has not approved its address.
	marked, hosts = true, 1
	for n := 4; n <= 6; n += 2 {
		c.advance(25 * time.Hour)
		if r := offer(n); r.Published != n || r.Named != n {
			t.Fatalf("%+v", r)
		}
	}
	c.advance(25 * time.Hour)
	marked = false
	if r := offer(6); r.Published != 0 || r.HeldBy[feed.TooManyNew] != 6 {
		t.Errorf("%+v", r)
	}
}

// TestFlapping is an endpoint that comes and goes: each time it leaves at once and is no news when it returns, and First is
// the first proof without a gap.
func TestFlapping(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.MaxNew, cfg.Formats = 1, []feed.Format{feed.ZeekPools, feed.JSON} })
	start := uint64(now.Add(time.Hour).Unix()) + 1
	for i := range 10 {
		c.advance(time.Hour)
		begin := c.now()
		for range 2 {
			r := publish(t, p, pools(t, c, 0, 1)...)
			if r.Published != 1 || r.Held != 0 || r.Generation != start+uint64(2*i) {
				t.Fatalf("%d: %+v", i, r)
			}
			if got := firstOf(t, dir); !got.Equal(begin) {
				t.Fatalf("%d: first is %s, want %s", i, got, begin)
			}
			c.advance(time.Hour)
		}
		v := pools(t, c, 0, 1)
		v[0].Status = minecanary.NotPool
		if r := publish(t, p, v...); r.Published != 0 || r.Lost != 1 || r.MassRemoval {
			t.Fatalf("%d: %+v", i, r)
		}
		if got := published(t, dir); len(got) != 0 {
			t.Fatalf("%d: %q stays", i, got)
		}
	}
}

// TestNotProvedAgainIsGone looks at every file, every heartbeat, over the life of an entry.
func TestNotProvedAgainIsGone(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) { cfg.Formats, cfg.Gate.MaxAge = feed.AllFormats(), 2*time.Hour })
	publish(t, p, pools(t, c, 0, 1)...)
	for at := time.Duration(0); at <= 3*time.Hour; at += 30 * time.Minute {
		rewrite(t, p)
		for _, name := range names(t, dir) {
			if filepath.Ext(name) == feed.PrevSuffix || name == "intel-removal.dat" {
				continue // the generation before, and a tombstone
			}
			there := contains(t, dir, name, "198.51.100.0", "0.100.51.198")
			if there && at > 2*time.Hour {
				t.Errorf("after %s it stands in %s", at, name)
			}
			if name == "pools.dat" && there != (at <= 2*time.Hour) {
				t.Errorf("after %s in %s: %t", at, name, there)
			}
		}
		c.advance(30 * time.Minute)
	}
}

// TestVerdictToFile shows that a proof is in the files when Publish returns, with a feed of 10,000 and every form.
func TestVerdictToFile(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	all := make([]minecanary.Verdict, 10_000)
	for i := range all {
		v := confirmed(t, "198.51.100.10:3333")
		v.Endpoint.Addr = netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)})
		all[i] = v
	}
	p := newPublisher(t, dir, c, func(cfg *feed.Config) {
		cfg.Gate.Reserved, cfg.MaxNew, cfg.Formats = func(netip.Addr) string { return "" }, -1, feed.AllFormats()
	})
	publish(t, p, all[1:]...)
	begin := time.Now()
	r := publish(t, p, all...)
	took := time.Since(begin)
	if r.Published != len(all) || !contains(t, dir, "pools.dat", "20.0.0.0\t") {
		t.Fatalf("%+v", r)
	}
	t.Logf("from a verdict to %d files of %d endpoints: %s", len(r.Files), r.Published, took)
	if took > 2*time.Second*slack {
		t.Errorf("it took %s", took)
	}
}

// slack is how much slower a loaded machine with the race detector may be.
const slack = 5

func contains(tb testing.TB, dir, name string, words ...string) bool {
	tb.Helper()
	data := read(tb, dir, name)
	for _, s := range words {
		if strings.Contains(data, s) {
			return true
		}
	}
	return false
}

func TestStateSurvives(t *testing.T) {
	dir := t.TempDir()
	c := &clock{t: now}
	limit := func(cfg *feed.Config) { cfg.MaxNew = 3 }
	publish(t, newPublisher(t, dir, c, limit), pools(t, c, 0, 2)...)
	publish(t, newPublisher(t, dir, c, limit), pools(t, c, 0, 5)...)

	// Approved while no service runs, and before its first publication.
	approveAll(t, dir, c.now())
	p := newPublisher(t, dir, c, limit)
	if r := rewrite(t, p); len(r.Approved) != 3 || len(p.Holds()) != 0 {
		t.Errorf("%+v", r)
	}
	p = newPublisher(t, dir, c, limit)
	if r := publish(t, p, pools(t, c, 0, 5)...); r.Published != 5 || r.Held != 0 || len(r.Approved) != 0 {
		t.Errorf("%+v", r)
	}
	if r := publish(t, p, pools(t, c, 0, 7)...); r.Published != 5 || r.Held != 2 {
		t.Errorf("what was new before the restart counts no more: %+v", r)
	}

	// Without a state what stands in the files is known, and nothing else.
	if err := os.Remove(filepath.Join(dir, feed.StateFile)); err != nil {
		t.Fatal(err)
	}
	if r := publish(t, newPublisher(t, dir, c, limit), pools(t, c, 0, 9)...); r.Published != 5 || r.Held != 4 {
		t.Errorf("%+v", r)
	}
}

func TestHostileState(t *testing.T) {
	const one = `{"endpoint":"198.51.100.1:1","state":"published","hosts":-1}`
	for name, text := range map[string]string{
		"empty":      "",
		"no JSON":    "{",
		"version":    `{"version":2,"records":[]}`,
		"null":       `{"version":1,"records":[null]}`,
		"no port":    `{"version":1,"records":[{"endpoint":"198.51.100.1:0","state":"published"}]}`,
		"no address": `{"version":1,"records":[{"state":"published"}]}`,
		"state":      `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"x"}]}`,
		"held":       `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"held"}]}`,
		"reason":     `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"held","hold":"\n"}]}`,
		"gone":       `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"gone"}]}`,
		"name":       `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"published","name":"a\nb.example.com"}]}`,
		"by":         `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"published","by":"\u202e"}]}`,
		"hosts":      `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"published","hosts":-2}]}`,
		"twice":      `{"version":1,"records":[` + one + "," + one + `]}`,
		"generation": `{"version":1,"generation":1,"records":[{"endpoint":"198.51.100.1:1","state":"published","generation":2}]}`,
		"floor":      `{"version":1,"generation":1,"floor":2,"records":[]}`,
		"no number":  `{"version":1,"generation":9007199254740992,"records":[]}`,
		"changed":    `{"version":1,"changed":"9999-12-31T23:59:59-12:00","records":[]}`,
		"since":      `{"version":1,"records":[{"endpoint":"198.51.100.1:1","state":"published","hosts":-1,"since":"9999-12-31T23:59:59-12:00"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, feed.StateFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := feed.ReadHolds(dir); err == nil {
				t.Error("a command believes it")
			}
			c := &clock{t: now}
			p := newPublisher(t, dir, c)
			r := publish(t, p, pools(t, c, 0, 3)...)
			if r.Published != 3 || len(r.Problems) != 1 {
				t.Errorf("%+v", r)
			}
			if got := read(t, dir, feed.StateFile+".bad"); got != text {
				t.Errorf("set aside is %q", got)
			}
			status, err := feed.ReadStatus(dir)
			if err != nil || len(status.Problems) != 1 {
				t.Errorf("%+v, %v", status, err)
			}
		})
	}
}

// FuzzState wants that no state makes a publisher panic, publish what the gate did not let through, or fail.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"generation":7,"changed":"2026-11-21T05:00:00Z","floor":2,"records":[
{"endpoint":"198.51.100.0:1000","state":"held","hold":"too_many_new","held":"2026-11-21T05:00:00Z","hosts":-1},
{"endpoint":"198.51.100.9:1000","name":"a.example.com","state":"gone","generation":7,"left":"2026-11-21T05:00:00Z","hosts":0,"renamed":true}]}`))
	f.Add([]byte(`{"version":1,"records":[{"endpoint":"198.51.100.0:1000","state":"approved","by":"x","approved":"2026-11-21T05:00:00Z"}]}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, state []byte) {
		if len(state) > 1<<14 {
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, feed.StateFile), state, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := feed.ReadHolds(dir); err != nil {
			return // it is set aside, TestHostileState shows
		}
		c := &clock{t: now}
		p := newPublisher(t, dir, c)
		r := publish(t, p, pools(t, c, 0, 2)...)
		if r.Published+r.Held != 2 {
			t.Errorf("%+v", r)
		}
		for _, ep := range published(t, dir) {
			if ep != "198.51.100.0:1000" && ep != "198.51.100.0:1001" {
				t.Errorf("%s was published", ep)
			}
		}
		if _, err := feed.ReadDiff(dir, -1); err != nil {
			t.Error(err)
		}
	})
}
