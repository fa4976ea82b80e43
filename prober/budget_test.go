package prober

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober/audit"
	"github.com/minecanary/minecanary/prober/dialect"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func tcp(s string) minecanary.Endpoint {
	ap := netip.MustParseAddrPort(s)
	return minecanary.NewEndpoint(ap.Addr(), ap.Port(), minecanary.TCP)
}

// step is one automatic probe and which budget refuses it, "" for none; until is from the epoch.
type step struct {
	at     time.Duration
	client string
	server string
	refuse string
	until  time.Duration
}

func TestBudgets(t *testing.T) {
	server := func(i int) string { return fmt.Sprintf("8.8.%d.1:3333", i) }
	tests := []struct {
		name  string
		steps []step
	}{
		{"5 of a client in an hour", []step{
			{0, "10.0.0.1", server(0), "", 0},
			{time.Minute, "10.0.0.1", server(1), "", 0},
			{2 * time.Minute, "10.0.0.1", server(2), "", 0},
			{3 * time.Minute, "10.0.0.1", server(3), "", 0},
			{4 * time.Minute, "::ffff:10.0.0.1", server(4), "", 0},
			{5 * time.Minute, "10.0.0.1", server(5), "client", time.Hour},
			{5 * time.Minute, "10.0.0.2", server(5), "", 0},
			{time.Hour, "10.0.0.1", server(6), "", 0},
			{time.Hour, "10.0.0.1", server(7), "client", time.Hour + time.Minute},
		}},
		{"2 of a /24 in an hour", []step{
			{0, "10.0.0.1", "8.8.8.1:3333", "", 0},
			{time.Second, "10.0.0.2", "8.8.8.2:3333", "", 0},
			{2 * time.Second, "10.0.0.3", "8.8.8.255:3333", "network 8.8.8.0/24", time.Hour},
			{2 * time.Second, "10.0.0.3", "8.8.9.0:3333", "", 0},
		}},
		{"2 of a /48 in an hour", []step{
			{0, "10.0.0.1", "[2600:1:2::1]:3333", "", 0},
			{time.Second, "10.0.0.2", "[2600:1:2:ffff::2]:3333", "", 0},
			{2 * time.Second, "10.0.0.3", "[2600:1:2:3::3]:3333", "network 2600:1:2::/48", time.Hour},
			{2 * time.Second, "10.0.0.3", "[2600:1:3::3]:3333", "", 0},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.NetworkPerHour = 2
			b := newBudget(cfg, MaxTracked)
			for i, s := range tt.steps {
				_, no := b.probe(netip.MustParseAddr(s.client), tcp(s.server), epoch.Add(s.at))
				switch {
				case (no == nil) != (s.refuse == ""):
					t.Fatalf("step %d: refusal %+v, want %q", i, no, s.refuse)
				case no != nil && (!strings.Contains(no.reason, s.refuse) || !no.until.Equal(epoch.Add(s.until)) ||
					!strings.Contains(no.reason, "try again at "+no.until.Format(time.RFC3339))):
					t.Errorf("step %d: %q until %v, want %q until %v", i, no.reason, no.until, s.refuse, epoch.Add(s.until))
				}
			}
		})
	}
}

// TestGlobalBudget: a burst of 10, then one a second; what it refuses costs no other budget.
func TestGlobalBudget(t *testing.T) {
	b := newBudget(DefaultConfig(), MaxTracked)
	ask := func(i int, at time.Duration) *refusal {
		_, no := b.probe(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), tcp(fmt.Sprintf("8.8.%d.1:3333", i)), epoch.Add(at))
		return no
	}
	for i := range 10 {
		if no := ask(i, 0); no != nil {
			t.Fatalf("probe %d: %s", i, no.reason)
		}
	}
	for range 20 {
		no := ask(10, 0)
		if no == nil || !strings.Contains(no.reason, "global") || no.until.Sub(epoch) != time.Second {
			t.Fatalf("probe 11: %+v, want a refusal for 1 s", no)
		}
	}
	if no := ask(10, time.Second); no != nil {
		t.Errorf("after 1 s: %s", no.reason)
	}
	if no := ask(11, time.Second); no == nil {
		t.Error("a second one after 1 s")
	}
}

func TestBackoff(t *testing.T) {
	b := newBudget(DefaultConfig(), MaxTracked)
	ep, client, now := tcp("8.8.8.8:3333"), netip.MustParseAddr("10.0.0.1"), epoch
	for i, hours := range []int{1, 2, 4, 8, 16, 24, 24} {
		tried, no := b.probe(client, ep, now)
		if no != nil || tried != i {
			t.Fatalf("probe %d: tried %d, refusal %+v", i, tried, no)
		}
		until := b.inconclusive(ep, now)
		if want := now.Add(time.Duration(hours) * time.Hour); !until.Equal(want) {
			t.Errorf("back-off %d ends %v, want %v", i, until, want)
		}
		if _, no := b.probe(client, ep, until.Add(-time.Second)); no == nil || !strings.Contains(no.reason, "back-off") || !no.until.Equal(until) {
			t.Errorf("before the end: %+v, want a refusal by the back-off", no)
		}
		now = until
	}
	b.conclusive(ep)
	if tried, no := b.probe(client, ep, now.Add(time.Hour)); no != nil || tried != 0 {
		t.Errorf("after a conclusive answer: tried %d, refusal %+v", tried, no)
	}
}

// TestTablesAreBounded: a full table refuses newcomers, keeps what it has, and has room again when something is over.
func TestTablesAreBounded(t *testing.T) {
	const size = 8
	cfg := DefaultConfig()
	cfg.GlobalRate, cfg.GlobalBurst, cfg.NetworkPerHour = 1000, 10000, 10000
	b := newBudget(cfg, size)
	ask := func(i int, at time.Duration) *refusal {
		_, no := b.probe(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), tcp("8.8.8.8:3333"), epoch.Add(at))
		return no
	}
	for i := range 100 {
		no := ask(i, time.Duration(i)*time.Second)
		if (no == nil) != (i < size) {
			t.Fatalf("client %d: %+v", i, no)
		}
		if no != nil && (!strings.Contains(no.reason, "full") || !no.until.Equal(epoch.Add(time.Hour))) {
			t.Errorf("client %d: %+v, want a full table until %v", i, no, epoch.Add(time.Hour))
		}
	}
	if no := ask(100, time.Hour); no != nil {
		t.Errorf("after an hour: %s", no.reason)
	}
	if n := len(b.clients.seen); n > size {
		t.Errorf("%d clients are kept, want at most %d", n, size)
	}
	for i := range 100 {
		b.inconclusive(tcp(fmt.Sprintf("8.8.%d.8:3333", i)), epoch)
	}
	if n := len(b.backoff.failed); n != size {
		t.Errorf("%d endpoints are in back-off, want %d", n, size)
	}
	if _, no := b.probe(netip.MustParseAddr("10.0.0.1"), tcp("9.9.9.9:3333"), epoch.Add(2*time.Hour)); no == nil || !strings.Contains(no.reason, "too many endpoints") {
		t.Errorf("new endpoint with a full back-off: %+v", no)
	}
	if _, no := b.probe(netip.MustParseAddr("10.0.0.1"), tcp("9.9.9.9:3333"), epoch.Add(26*time.Hour)); no != nil {
		t.Errorf("a day later: %s", no.reason)
	}
}

// TestWindow: never more than limit events in any hour, whatever the times.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		w := newWindow[int](limit, 4)
		now := epoch
		counted := map[int][]time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1800).Draw(t, "gap")) * time.Second)
			key := rapid.IntRange(0, 7).Draw(t, "key")
			at, full := w.next(key, now)
			if at.IsZero() {
				w.add(key, now)
				counted[key] = append(counted[key], now)
			} else if !at.After(now) || full && len(w.seen) < 4 {
				t.Fatalf("refused at %v until %v, full %v", now, at, full)
			}
			within := 0
			for _, e := range counted[key] {
				if e.Add(span).After(now) {
					within++
				}
			}
			if within > limit {
				t.Fatalf("%d events within an hour, limit %d", within, limit)
			}
			if !at.IsZero() && !full && within < limit {
				t.Fatalf("refused with %d of %d events", within, limit)
			}
		}
		if len(w.seen) > 4 {
			t.Fatalf("%d keys", len(w.seen))
		}
	})
}

// silentTrail accepts every record.
type silentTrail struct{}

func (silentTrail) Append(audit.Record) error { return nil }

// TestVerifySaysWhichBudget: a refusal by a budget is blocked, with its reason, until there is room.
func TestVerifySaysWhichBudget(t *testing.T) {
	now := epoch
	cfg := DefaultConfig()
	p, err := New(cfg, silentTrail{}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	// Use up the network's budget without asking anybody.
	ep := tcp("8.8.8.8:3333")
	for i := range cfg.NetworkPerHour {
		if _, no := p.budget.probe(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), ep, now); no != nil {
			t.Fatal(no.reason)
		}
	}
	now = now.Add(10 * time.Minute)
	v, err := p.Verify(context.Background(), minecanary.Question{Endpoint: ep, Client: netip.MustParseAddr("10.0.0.9"), Reply: true, Payload: true})
	if err != nil {
		t.Fatal(err)
	}
	want := minecanary.Verdict{
		Endpoint: ep, Status: minecanary.Blocked, At: now, Expires: epoch.Add(time.Hour),
		Reason: "budget of the network 8.8.8.0/24 (8 probes an hour) is used up; try again at 2026-01-02T04:04:05Z",
	}
	if diff := cmp.Diff(want, v, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestControl: the dialer's last word is on the literal address.
func TestControl(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Allow = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	g := newGuard(cfg)
	tests := []struct {
		address string
		ok      bool
	}{
		{"8.8.8.8:3333", true},
		{"[::ffff:8.8.8.8]:3333", true},
		{"10.1.2.3:3333", true},
		{"[::ffff:10.1.2.3]:3333", true},
		{"10.2.2.3:3333", false},
		{"[::ffff:127.0.0.1]:3333", false},
		{"[fe80::1%eth0]:3333", false},
		{"8.8.8.8:22", false},
		{"10.1.2.3:502", false},
		{"pool.example.org:3333", false},
	}
	for _, tt := range tests {
		if err := g.control("tcp", tt.address, nil); (err == nil) != tt.ok {
			t.Errorf("control(%s) = %v, want ok %v", tt.address, err, tt.ok)
		}
	}
	for _, port := range []uint16{
		22, 23, 25, 53, 102, 110, 135, 137, 138, 139, 143, 389, 445, 465, 502, 587, 623, 636, 993, 995,
		1433, 1521, 3306, 3389, 5432, 5900, 9100, 20000, 44818, 47808,
	} {
		if g.refuse(netip.MustParseAddr("8.8.8.8"), port) == "" {
			t.Errorf("port %d is not on the default deny list", port)
		}
	}
	for _, port := range []uint16{80, 443, 3333, 4444, 8332, 8333, 14444, 3357} {
		if no := g.refuse(netip.MustParseAddr("8.8.8.8"), port); no != "" {
			t.Errorf("port %d: %s", port, no)
		}
	}
}

func TestOrder(t *testing.T) {
	tests := []struct {
		port  uint16
		tried int
		want  []string
	}{
		{3333, 0, []string{dialect.StratumV1, dialect.CryptoNote, dialect.Ethproxy, dialect.Zcash}},
		{3333, 1, []string{dialect.CryptoNote, dialect.Ethproxy, dialect.Zcash, dialect.StratumV1}},
		{3333, 5, []string{dialect.CryptoNote, dialect.Ethproxy, dialect.Zcash, dialect.StratumV1}},
		{14444, 0, []string{dialect.CryptoNote, dialect.StratumV1, dialect.Ethproxy, dialect.Zcash}},
		{4444, 0, []string{dialect.Ethproxy, dialect.StratumV1, dialect.CryptoNote, dialect.Zcash}},
	}
	for _, tt := range tests {
		var got []string
		for _, d := range order(tt.port, tt.tried) {
			got = append(got, d.Name)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("order(%d, %d) (-want +got):\n%s", tt.port, tt.tried, diff)
		}
	}
}

func TestIsHostName(t *testing.T) {
	for name, want := range map[string]bool{
		"pool.example.org": true, "pool.example.org.": true, "a_b-c.example": true, "": false, "1.2.3.4": false, "::1": false, "a..b": false,
		"a b": false, "a\r\nX: y": false, strings.Repeat("a", 64) + ".org": false, strings.Repeat("a.", 127) + "b": false, "b\u00fccher.de": false,
	} {
		if got := isHostName(name); got != want {
			t.Errorf("isHostName(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestTranscript(t *testing.T) {
	var tr transcript
	tr.sent([]byte("one\n"))
	tr.received([]byte("tw"))
	tr.received([]byte("o\nthr"))
	tr.received([]byte("ee\n"))
	want := []string{`>> "one\n"`, `<< "two\n"`, `<< "three\n"`}
	if diff := cmp.Diff(want, tr.lines()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tr.received([]byte(strings.Repeat("\x00", 64<<10)))
	for range 100 {
		tr.received([]byte("\n\n"))
	}
	lines := tr.lines()
	if len(lines) != MaxTranscript || slices.ContainsFunc(lines, func(s string) bool { return len(s) > MaxMessage }) {
		t.Errorf("%d lines, want %d of at most %d bytes: %q", len(lines), MaxTranscript, MaxMessage, lines)
	}
	if last := lines[len(lines)-1]; last != "(172 more)" {
		t.Errorf("last line %q", last)
	}
}
