package sweep_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/resolver/dnstest"
	"github.com/minecanary/minecanary/intel/sweep"
)

// board is what a few processes share, by the clock of the test.
type board struct {
	clock *clock
	mu    sync.Mutex
	// claims has who holds a key and until when, events are all that was told.
	claims map[string]held
	events [][]byte
}

type held struct {
	by    *seat
	until time.Time
}

// seat is the share of one process. While it is down every call fails.
type seat struct {
	*board
	down  error
	calls int
	lease time.Duration
}

func (b *board) seat() *seat { return &seat{board: b} }

func newBoard(c *clock) *board { return &board{clock: c, claims: map[string]held{}} }

func (s *seat) cut(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *seat) Claim(_ context.Context, key string, lease time.Duration) (bool, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.lease = lease
	if s.down != nil {
		return false, 0, s.down
	}
	now := s.clock.Now()
	h, ok := s.claims[key]
	mine := !ok || h.by == s || !h.until.After(now)
	if mine {
		s.claims[key] = held{s, now.Add(lease)}
	}
	return mine, uint64(len(s.events)), nil
}

func (s *seat) Tell(_ context.Context, events [][]byte, done []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.down != nil {
		return s.down
	}
	for _, e := range events {
		s.events = append(s.events, slices.Clone(e))
	}
	for _, key := range done {
		if s.claims[key].by == s {
			delete(s.claims, key)
		}
	}
	return nil
}

func (s *seat) Since(_ context.Context, version uint64) ([][]byte, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.down != nil {
		return nil, version, s.down
	}
	if version > uint64(len(s.events)) {
		version = 0
	}
	some := s.events[version:]
	some = some[:min(len(some), 7)] // there is more than one page
	return some, version + uint64(len(some)), nil
}

// party are several processes on one clock, who ask the same servers.
type party struct {
	clock  *clock
	board  *board
	seats  []*seat
	worlds []*world
	names  names
	asker  asker
}

// newParty starts so many processes.
func newParty(tb testing.TB, n int, c *catalog.Catalog, change ...func(i int, cfg *sweep.Config)) *party {
	tb.Helper()
	p := &party{clock: &clock{t: day0}}
	p.board = newBoard(p.clock)
	p.names = names{clock: p.clock, answer: answers(resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1")})}
	p.asker = asker{clock: p.clock, answer: func(context.Context, minecanary.Question, time.Time) (minecanary.Verdict, error) {
		return minecanary.Verdict{Status: minecanary.Confirmed, Dialect: "stratum-v1"}, nil
	}}
	for i := range n {
		w := newWorld(tb, fastDir(tb), c)
		w.clock, w.names.clock, w.asker.clock = p.clock, p.clock, p.clock
		// Each has a log of its own beside the common one.
		w.names.answer, w.asker.answer = p.names.pass, p.asker.pass
		s := p.board.seat()
		p.seats, p.worlds = append(p.seats, s), append(p.worlds, w)
		w.start(func(cfg *sweep.Config) {
			cfg.Share = s
			for _, f := range change {
				f(i, cfg)
			}
		})
		tb.Cleanup(func() { _ = w.book.Close() })
	}
	return p
}

func (n *names) pass(ctx context.Context, name string, _ time.Time) (resolver.Answer, error) {
	return n.Resolve(ctx, name)
}

func (a *asker) pass(ctx context.Context, q minecanary.Question, _ time.Time) (minecanary.Verdict, error) {
	return a.Verify(ctx, q)
}

// step lets processes step at the same time, and gives when something is due next in one of them.
func (p *party) step(tb testing.TB, at time.Time, worlds ...*world) (next time.Time) {
	tb.Helper()
	p.clock.set(at)
	var wg sync.WaitGroup
	all := make([]time.Time, len(worlds))
	for i, w := range worlds {
		wg.Go(func() {
			var err error
			if all[i], err = w.Step(tb.Context()); err != nil {
				tb.Error(err)
			}
		})
	}
	wg.Wait()
	for _, at := range all {
		if next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// past is all that a history knows of names and endpoints.
type past struct {
	Addresses map[string][]history.Addresses
	Lookups   any
	States    any
	Reach     any
	Proofs    any
	Beliefs   []string
}

func (w *world) past(hosts []string, endpoints []minecanary.Endpoint) past {
	w.tb.Helper()
	p := past{Addresses: map[string][]history.Addresses{}}
	lookups, states, reach, proofs := map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	err := w.book.View(func(v *history.View) (err error) {
		q := history.Query{Limit: 10_000}
		for _, h := range hosts {
			if p.Addresses[h], err = v.Addresses(h, q); err != nil {
				return err
			}
			if lookups[h], err = v.Lookups(h, q); err != nil {
				return err
			}
		}
		for _, ep := range endpoints {
			if states[ep.String()], err = v.Endpoint(ep, q); err != nil {
				return err
			}
			if reach[ep.String()], err = v.Availability(ep, q); err != nil {
				return err
			}
			if proofs[ep.String()], _, err = v.Proof(ep); err != nil {
				return err
			}
		}
		docs, err := v.List("belief", "", "", 10_000)
		for _, d := range docs {
			p.Beliefs = append(p.Beliefs, d.Key+" "+string(d.JSON))
		}
		return err
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	p.Lookups, p.States, p.Reach, p.Proofs = lookups, states, reach, proofs
	return p
}

// alike leaves out when a process learnt of something: that is its own.
var alike = cmp.Options{cmpopts.IgnoreFields(history.Span{}, "Learnt"), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// TestShared has three processes sweep the same for three days over a real resolver each: every name and endpoint is asked
// once in its interval by all of them together, and all know the same.
func TestShared(t *testing.T) {
	const members = 3
	script := theYear()
	var hosts []string
	for name := range script {
		if strings.HasSuffix(name, ".example") && name != "loop2.example" && name != "thousand.example" {
			hosts = append(hosts, name)
		}
	}
	slices.Sort(hosts)
	days := func(at time.Time) float64 { return 39 + at.Sub(day0).Hours()/24 } // the third day is not as the first
	c := &clock{t: day0}
	server := dnstest.Serve(t, func(name string) dnstest.Answer {
		if say := script[name]; say != nil {
			return say(days(c.Now()))
		}
		return dnstest.Answer{Code: dnstest.NXDomain}
	})
	p := newParty(t, members, pool(hosts, 3333))
	for _, w := range p.worlds {
		dns, err := resolver.New(resolver.Config{
			Servers: []string{server}, PerZone: resolver.Unlimited, Now: p.clock.Now, Timeout: 20 * time.Second, Attempts: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := dns.Close(); err != nil {
				t.Error(err)
			}
		}()
		w.names.answer = func(ctx context.Context, name string, at time.Time) (resolver.Answer, error) {
			p.names.begin(name, at)
			defer p.names.end(name)
			return dns.Resolve(ctx, name)
		}
	}
	p.asker.answer = func(_ context.Context, q minecanary.Question, at time.Time) (minecanary.Verdict, error) {
		v := minecanary.Verdict{Status: service(q.Endpoint, days(at)), Dialect: "stratum-v1", Reason: "it said so"}
		if v.Status == minecanary.Blocked {
			v.Status = minecanary.Inconclusive // our own refusal is no answer, and tells nobody anything
		}
		if v.Status == minecanary.Confirmed {
			v.Evidence = []minecanary.Evidence{{Kind: "probe", Strength: minecanary.Proof, At: at, Summary: at.String(), Transcript: []string{">> hello"}}}
		}
		return v, nil
	}
	at := day0
	for end := day0.Add(72 * time.Hour); at.Before(end); {
		c.set(at)
		next := p.step(t, at, p.worlds...)
		if !next.After(at) {
			t.Fatalf("at %s something is due at %s", at, next)
		}
		at = next
	}
	c.set(at)
	p.step(t, at, p.worlds...) // and hear of the last
	for _, w := range p.worlds {
		if _, err := w.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	within := func(what string, asked []time.Time, every time.Duration) {
		t.Helper()
		least, most := gaps(asked)
		// Beside the jitter a minute until another process looks again at what was being asked.
		if low, high := every*9/10, every*11/10+time.Minute; len(asked) < 5 || least < low || most > high {
			t.Errorf("%s was asked %d times, every %s to %s, want %s to %s", what, len(asked), least, most, low, high)
		}
	}
	for _, name := range hosts {
		within(name, p.names.times(name), sweep.DefaultResolveEvery)
	}
	endpoints := make([]minecanary.Endpoint, 0, len(p.asker.asked))
	for ep := range p.asker.asked {
		endpoints = append(endpoints, ep)
	}
	slices.SortFunc(endpoints, minecanary.Endpoint.Compare)
	if least, _ := gaps(p.asker.times(endpoint(t, "5.5.0.1:3333"))); least < 162*time.Minute {
		t.Errorf("an endpoint was asked again after %s", least)
	}
	for _, ep := range endpoints {
		if least, _ := gaps(p.asker.times(ep)); len(p.asker.times(ep)) > 1 && least < 162*time.Minute {
			t.Errorf("%s was asked again after %s", ep, least)
		}
	}
	if p.names.double != nil || p.asker.double != nil {
		t.Errorf("asked by two at once: %v, %v", p.names.double, p.asker.double)
	}
	first := p.worlds[0].past(hosts, endpoints)
	for i, w := range p.worlds {
		if diff := cmp.Diff(first, w.past(hosts, endpoints), alike); diff != "" {
			t.Errorf("process %d knows something else (-first +it):\n%s", i, diff)
		}
		s := w.Status()
		if share := w.names.count() * 100 / p.names.count(); share < 5 || s.Heard == 0 || s.Untold != 0 {
			t.Errorf("process %d did %d %% of the work, %+v", i, share, s)
		}
		if len(w.warnings) > 0 {
			t.Errorf("warnings %q", w.warnings[:min(len(w.warnings), 5)])
		}
	}
	for _, ep := range endpoints {
		want, level := p.worlds[0].found(ep, at)
		for i, w := range p.worlds {
			if got, gotLevel := w.found(ep, at); !slices.Equal(got, want) || gotLevel != level {
				t.Errorf("process %d says of %s %v %s, the first %v %s", i, ep, got, gotLevel, want, level)
			}
		}
	}
	size := 0
	for _, e := range p.board.events {
		size += len(e)
	}
	t.Logf("%d lookups, %d probes, %d events of %d bytes", p.names.count(), p.asker.count(), len(p.board.events), size/len(p.board.events))
}

// TestDies: of a process that dies in the middle the others do the rest, once its claims have run out, and nothing that it
// had told again.
func TestDies(t *testing.T) {
	hosts := numbered(20)
	dead, release := errors.New("killed"), make(chan struct{})
	p := newParty(t, 2, pool(hosts, 3333), func(i int, c *sweep.Config) {
		c.Parallel = 4
		if i == 0 {
			c.Verifier = nil
		}
	})
	a, b := p.worlds[0], p.worlds[1]
	var reached sync.WaitGroup
	reached.Add(4)
	a.names.answer = func(_ context.Context, name string, _ time.Time) (resolver.Answer, error) {
		if name >= hosts[4] {
			reached.Done()
			<-release
		}
		return p.names.Resolve(t.Context(), name)
	}
	ctx, kill := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = a.Step(ctx)
	}()
	reached.Wait() // of the first four the answers are there, or told within a second
	for p.told() < 4 {
		time.Sleep(10 * time.Millisecond)
	}
	p.seats[0].cut(dead)
	next := p.step(t, day0.Add(time.Second), b)
	if n := p.names.count(); n != 16 {
		t.Errorf("%d names were asked while four were claimed, want 16", n)
	}
	for limit := day0.Add(sweep.ClaimFor); next.Before(limit); {
		if n := p.names.count(); n != 16 {
			t.Fatalf("%d names were asked by %s", n, next.Sub(day0))
		}
		next = p.step(t, next, b)
	}
	p.step(t, day0.Add(sweep.ClaimFor+time.Minute+time.Second), b)
	for _, name := range hosts {
		if n := len(p.names.times(name)); n != 1 {
			t.Errorf("%s was asked %d times", name, n)
		}
	}
	if p.seats[0].lease != sweep.ClaimFor {
		t.Errorf("claimed for %s", p.seats[0].lease)
	}
	kill()
	close(release)
	<-ended
	if s := b.Status(); s.Heard != 4 || s.Resolved != 16 || s.NamesDue != 0 {
		t.Errorf("%+v", s)
	}
}

// told is how many events there are.
func (p *party) told() int {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	return len(p.board.events)
}

// TestShareAway: without the share everybody sweeps alone, and is not held up; what was found is told when it is back.
func TestShareAway(t *testing.T) {
	hosts := numbered(50)
	p := newParty(t, 2, pool(hosts, 3333))
	for _, s := range p.seats {
		s.cut(errors.New("connection refused"))
	}
	p.step(t, day0, p.worlds...)
	if n, e := p.names.count(), p.asker.count(); n != 100 || e != 2 {
		t.Errorf("%d names and %d endpoints were asked by two who know nothing of each other", n, e)
	}
	for i, w := range p.worlds {
		if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "going on alone: connection refused") {
			t.Errorf("warnings %q", w.warnings)
		}
		// One call that failed for all who were about to ask, at most.
		if p.seats[i].calls > sweep.DefaultParallel+2 {
			t.Errorf("%d calls of a share that is away", p.seats[i].calls)
		}
		if s := w.Status(); s.Untold != 51 {
			t.Errorf("%d events wait to be told", s.Untold)
		}
		p.seats[i].cut(nil)
	}
	p.step(t, day0.Add(sweep.ShareAgain), p.worlds...)
	p.step(t, day0.Add(sweep.ShareAgain+time.Second), p.worlds...)
	if n := p.told(); n != 102 {
		t.Errorf("%d events were told", n)
	}
	eps := []minecanary.Endpoint{endpoint(t, "5.5.0.1:3333")}
	if diff := cmp.Diff(p.worlds[0].past(hosts, eps), p.worlds[1].past(hosts, eps), alike); diff != "" {
		t.Error(diff)
	}
	for _, w := range p.worlds {
		if s := w.Status(); s.Untold != 0 || s.Heard != 51 {
			t.Errorf("%+v", s)
		}
	}
}

// TestUntold bounds what waits for a share that never comes back.
func TestUntold(t *testing.T) {
	p := newParty(t, 1, pool(nil))
	p.seats[0].cut(errors.New("away"))
	p.step(t, day0, p.worlds...)
	ep := endpoint(t, "5.5.0.1:3333")
	proof := minecanary.Evidence{Kind: "probe", Strength: minecanary.Proof, At: day0, Transcript: []string{strings.Repeat("x", 60<<10)}}
	last := day0.Add(300 * time.Second)
	for i := range 301 {
		p.worlds[0].TellVerdicts([]minecanary.Verdict{
			{Endpoint: ep, Status: minecanary.Confirmed, At: day0.Add(time.Duration(i) * time.Second), Evidence: []minecanary.Evidence{proof}},
			{Endpoint: ep, Status: minecanary.Blocked, At: day0},
			{Endpoint: ep, At: day0},
		})
	}
	if n := p.worlds[0].Status().Untold; n < 100 || n*(60<<10) > sweep.MaxUntold {
		t.Errorf("%d events of 60 KiB wait", n)
	}
	p.worlds[0].TellVerdicts([]minecanary.Verdict{{Endpoint: ep, Status: minecanary.Confirmed, At: last, Reason: "short", Evidence: slices.Repeat([]minecanary.Evidence{proof}, 3)}})
	p.worlds[0].TellVerdicts([]minecanary.Verdict{{Endpoint: ep, Status: minecanary.Confirmed, At: last, Reason: strings.Repeat("x", sweep.MaxEvent)}})
	p.seats[0].cut(nil)
	p.step(t, day0.Add(time.Hour), p.worlds...)
	var newest struct{ Probe history.Probe }
	if err := json.Unmarshal(p.board.events[len(p.board.events)-1], &newest); err != nil {
		t.Fatal(err)
	}
	if newest.Probe.Reason != "short" || newest.Probe.Evidence != nil || !newest.Probe.At.Equal(last) {
		t.Errorf("the newest event is %.200s", p.board.events[len(p.board.events)-1])
	}
	if w := p.worlds[0].warnings; len(w) != 2 || !strings.Contains(w[1], "may be told") {
		t.Errorf("warnings %.300q", w)
	}
}

// TestHearVerdicts: what suspicion had one process ask the others know too, without a change of their schedule.
func TestHearVerdicts(t *testing.T) {
	p := newParty(t, 2, pool([]string{"5.5.9.9"}, 3333), func(i int, c *sweep.Config) {
		if i == 1 {
			c.Resolver, c.Verifier = nil, nil // it sweeps nothing, and hears all the same
		}
	})
	a, b := p.worlds[0], p.worlds[1]
	next := p.step(t, day0, a)
	ep, at := endpoint(t, "6.6.6.6:4444"), day0.Add(time.Minute)
	a.TellVerdicts([]minecanary.Verdict{
		{Endpoint: ep, Status: minecanary.Confirmed, At: at, Dialect: "stratum-v1"},
		{Endpoint: endpoint(t, "5.5.9.9:3333"), Status: minecanary.NotPool, At: at},
	})
	if got := p.step(t, at, a); !got.Equal(next) {
		t.Errorf("due at %s, and now at %s", next, got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); b.Status().Heard < 3 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if got := b.index.AnswerAt(ep, at); got != minecanary.Confirmed {
		t.Errorf("the other says %q", got)
	}
	if got := b.index.AnswerAt(endpoint(t, "5.5.9.9:3333"), at); got != minecanary.NotPool {
		t.Errorf("the other says %q", got)
	}
	// It knows after a restart what it heard, and where to go on.
	b.stop()
	calls := p.board.events
	b.start(func(c *sweep.Config) { c.Share, c.Resolver, c.Verifier = p.seats[1], nil, nil })
	if got := b.index.AnswerAt(ep, at); got != minecanary.Confirmed {
		t.Errorf("after a restart it says %q", got)
	}
	p.step(t, at, b)
	if s := b.Status(); s.Heard != 0 || len(calls) != 3 {
		t.Errorf("%d of %d events were heard again", s.Heard, len(calls))
	}
}

// TestWanted: what somebody wants asked now is not done with what another process asked before.
func TestWanted(t *testing.T) {
	p := newParty(t, 2, pool([]string{"a.example", "5.5.9.9"}, 3333))
	a, b := p.worlds[0], p.worlds[1]
	p.step(t, day0, a) // b has not heard of it yet
	extra := endpoint(t, "6.6.6.6:1")
	p.clock.set(day0.Add(time.Minute))
	if err := b.Soon([]string{"a.example"}, []minecanary.Endpoint{endpoint(t, "5.5.9.9:3333"), extra}); err != nil {
		t.Fatal(err)
	}
	p.step(t, day0.Add(time.Minute), b)
	for _, ep := range []minecanary.Endpoint{endpoint(t, "5.5.9.9:3333"), extra} {
		if asked := p.asker.times(ep); len(asked) == 0 || !asked[len(asked)-1].Equal(day0.Add(time.Minute)) {
			t.Errorf("%s was asked at %s", ep, asked)
		}
	}
	if asked := p.names.times("a.example"); len(asked) != 2 {
		t.Errorf("the name was asked at %s", asked)
	}
	if asked := p.asker.times(endpoint(t, "5.5.0.1:3333")); len(asked) != 1 {
		t.Errorf("what nobody wanted was asked at %s", asked)
	}
	// What another one asked since does do.
	p.clock.set(day0.Add(2 * time.Minute))
	for _, w := range p.worlds {
		if err := w.Soon([]string{"a.example"}, []minecanary.Endpoint{extra}); err != nil {
			t.Fatal(err)
		}
	}
	p.step(t, day0.Add(2*time.Minute), a)
	p.step(t, day0.Add(2*time.Minute), b)
	if n, e := len(p.names.times("a.example")), len(p.asker.times(extra)); n != 3 || e != 2 {
		t.Errorf("asked %d and %d times, want 3 and 2", n, e)
	}
	if s := b.Status(); s.NamesDue != 0 || s.EndpointsDue != 0 {
		t.Errorf("%+v", s)
	}
}

// TestOldAnswer: an answer that a resolver kept is not told over what another process was told since.
func TestOldAnswer(t *testing.T) {
	p := newParty(t, 2, pool([]string{"a.example"}))
	a, b := p.worlds[0], p.worlds[1]
	p.step(t, day0, a)
	p.names.answer = answers(resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.2")})
	later := day0.Add(time.Hour)
	p.step(t, later, a)
	p.names.answer = answers(resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1"), At: day0.Add(30 * time.Minute)})
	p.step(t, later.Add(time.Hour), b)
	if diff := cmp.Diff(a.past([]string{"a.example"}, nil), b.past([]string{"a.example"}, nil), alike); diff != "" {
		t.Error(diff)
	}
	if got := b.index.AddressesOf("a.example", later); len(got) != 1 || got[0].Addr != addrs("5.5.0.2")[0] {
		t.Errorf("it has %+v", got)
	}
}

// TestStrangeEvents: what is no event, or none that can be, changes nothing and holds nothing up.
func TestStrangeEvents(t *testing.T) {
	good := `{"v":1,"by":"x","done":"2025-01-01T00:00:00Z","name":{"name":"a.example","at":"2025-01-01T00:00:00Z","code":"NOERROR","belief":{"a":{"addrs":["5.5.0.9"]},"aaaa":{},"code":"noerror","at":"2025-01-01T00:00:00Z"}}}`
	for _, tt := range []struct{ name, event string }{
		{"nothing", ""},
		{"no JSON", "hello"},
		{"an empty object", "{}"},
		{"of another version", strings.Replace(good, `"v":1`, `"v":2`, 1)},
		{"of nothing", `{"v":1,"by":"x","done":"2025-01-01T00:00:00Z"}`},
		{"of two", strings.Replace(good, `"name":{`, `"probe":{"Endpoint":"5.5.9.9:3333","At":"2025-01-01T00:00:00Z","Status":"not-pool"},"name":{`, 1)},
		{"without a time", strings.Replace(good, `"done":"2025-01-01T00:00:00Z",`, "", 1)},
		{"of a name that is none", strings.Replace(good, "a.example", "a..example", 1)},
		{"of an address that is none", strings.Replace(good, "5.5.0.9", "", 1)},
		{"from the future", strings.Replace(good, `"at":"2025-01-01T00:00:00Z","code":"NOERROR"`, `"at":"2026-01-01T00:00:00Z","code":"NOERROR"`, 1)},
		{"of no status", `{"v":1,"by":"x","done":"2025-01-01T00:00:00Z","swept":true,"probe":{"Endpoint":"5.5.9.9:3333","At":"2025-01-01T00:00:00Z","Status":"perhaps"}}`},
		{"of no endpoint", `{"v":1,"by":"x","done":"2025-01-01T00:00:00Z","probe":{"At":"2025-01-01T00:00:00Z","Status":"confirmed"}}`},
		{"too long", strings.Replace(good, `"x"`, `"`+strings.Repeat("x", sweep.MaxEvent)+`"`, 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newParty(t, 1, pool([]string{"a.example", "5.5.9.9"}, 3333), func(_ int, c *sweep.Config) { c.Resolver, c.Verifier = nil, nil })
			w := p.worlds[0]
			p.board.events = [][]byte{[]byte(tt.event)}
			hear(t, w)
			if got := w.past([]string{"a.example"}, []minecanary.Endpoint{endpoint(t, "5.5.9.9:3333")}); len(got.Addresses["a.example"])+len(got.Beliefs) > 0 {
				t.Errorf("it believes %+v", got)
			}
			if s := w.Status(); s.Heard != 0 || len(w.warnings) != 1 || len(w.warnings[0]) > 1000 {
				t.Errorf("%+v, warnings %.300q", s, w.warnings)
			}
			// What comes behind is taken in all the same, and but once.
			p.board.events = append(p.board.events, []byte(good), []byte(good))
			hear(t, w)
			if got := w.index.AddressesOf("a.example", day0); len(got) != 1 || len(w.warnings) != 1 {
				t.Errorf("it has %+v, warnings %.300q", got, w.warnings)
			}
		})
	}
}

// hear takes in what others told, as Run does.
func hear(tb testing.TB, w *world) {
	tb.Helper()
	if err := w.Exchange(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// TestHeardTwice: a share that lost its memory tells everything again; that changes nothing, whatever the order.
func TestHeardTwice(t *testing.T) {
	hosts := []string{"a.example", "b.example"}
	p := newParty(t, 2, pool(hosts, 3333))
	a, b := p.worlds[0], p.worlds[1]
	for i := range 40 {
		p.names.answer = answers(resolver.Answer{Code: resolver.NoError, Addrs: addrs(fmt.Sprintf("5.5.0.%d", i/3))})
		p.step(t, day0.Add(time.Duration(i)*time.Hour), a)
	}
	hear(t, b)
	eps := make([]minecanary.Endpoint, 0, len(p.asker.asked))
	for ep := range p.asker.asked {
		eps = append(eps, ep)
	}
	before := b.past(hosts, eps)
	if diff := cmp.Diff(a.past(hosts, eps), before, alike); diff != "" {
		t.Error(diff)
	}
	p.clock.set(day0.Add(50 * time.Hour))
	all := p.board.events
	slices.Reverse(all)
	p.board.events = all[:len(all)-1] // fewer than were heard: it begins anew
	hear(t, b)
	hear(t, b)
	if s := b.Status(); s.Heard != uint64(2*len(all)-1) {
		t.Errorf("%d events were heard of %d", s.Heard, 2*len(all)-1)
	}
	if diff := cmp.Diff(before, b.past(hosts, eps), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("to hear it twice changed something, or when it was learnt:\n%s", diff)
	}
}

// BenchmarkHear takes in events of others, one page a time.
func BenchmarkHear(b *testing.B) {
	c := &clock{t: day0}
	board := newBoard(c)
	book, err := history.Open(filepath.Join(fastDir(b), "history.db"), history.Options{Now: c.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = book.Close() }()
	hosts := numbered(500)
	index := lookup.New(pool(hosts, 3333))
	s := sweep.New(sweep.Config{Catalog: index.Catalog, Book: book, Index: index, Share: board.seat(), Now: c.Now})
	for b.Loop() {
		b.StopTimer()
		now := c.Now().Add(time.Hour)
		c.set(now)
		for i, host := range hosts {
			board.events = append(board.events, fmt.Appendf(nil, `{"v":1,"by":"x","done":%q,"name":{"name":%q,"at":%[1]q,"code":"NOERROR","belief":{"a":{"addrs":["5.5.0.%[3]d"]},"aaaa":{},"code":"noerror","at":%[1]q}}}`,
				now.Format(time.RFC3339), host, i%250))
		}
		b.StartTimer()
		if err := s.Exchange(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(hosts)), "µs/event")
}
