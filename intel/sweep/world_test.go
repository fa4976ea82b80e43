package sweep_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/resolver"
	"github.com/minecanary/minecanary/intel/sweep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// day0 is when tests begin.
var day0 = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is moved by the test alone.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// log has when each key was asked, and that none was asked twice at once.
type log[K comparable] struct {
	mu     sync.Mutex
	asked  map[K][]time.Time
	busy   map[K]bool
	now    int
	most   int
	double []K
}

func (l *log[K]) begin(key K, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked == nil {
		l.asked, l.busy = map[K][]time.Time{}, map[K]bool{}
	}
	l.asked[key] = append(l.asked[key], at)
	if l.busy[key] {
		l.double = append(l.double, key)
	}
	l.busy[key] = true
	l.now++
	l.most = max(l.most, l.now)
}

func (l *log[K]) end(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, key)
	l.now--
}

func (l *log[K]) times(key K) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked[key])
}

func (l *log[K]) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, at := range l.asked {
		n += len(at)
	}
	return n
}

// names is a resolver that says what it is told to.
type names struct {
	log[string]
	clock *clock
	// answer may leave out Name and At.
	answer func(ctx context.Context, name string, at time.Time) (resolver.Answer, error)
}

func (n *names) Resolve(ctx context.Context, name string) (resolver.Answer, error) {
	at := n.clock.Now()
	n.begin(name, at)
	defer n.end(name)
	a, err := n.answer(ctx, name, at)
	a.Name = name
	if a.At.IsZero() {
		a.At = at
	}
	return a, err
}

// asker is a verifier that says what it is told to.
type asker struct {
	log[minecanary.Endpoint]
	clock *clock
	// answer may leave out Endpoint and At.
	answer func(ctx context.Context, q minecanary.Question, at time.Time) (minecanary.Verdict, error)

	mu        sync.Mutex
	questions []minecanary.Question
}

func (a *asker) Verify(ctx context.Context, q minecanary.Question) (minecanary.Verdict, error) {
	at := a.clock.Now()
	a.begin(q.Endpoint, at)
	defer a.end(q.Endpoint)
	a.mu.Lock()
	a.questions = append(a.questions, q)
	a.mu.Unlock()
	v, err := a.answer(ctx, q, at)
	v.Endpoint = q.Endpoint
	if v.At.IsZero() {
		v.At = at
	}
	return v, err
}

// world is a sweeper with all that it needs, which can be started anew.
type world struct {
	tb       testing.TB
	clock    *clock
	path     string
	catalog  *catalog.Catalog
	mark     lookup.Marker
	names    *names
	asker    *asker
	warnings []string
	mu       sync.Mutex

	book  *history.DB
	index *lookup.Index
	*sweep.Sweeper
}

// newWorld makes a world in which every name has the address 5.5.0.1 and every endpoint is a pool.
func newWorld(tb testing.TB, dir string, c *catalog.Catalog) *world {
	tb.Helper()
	w := &world{tb: tb, clock: &clock{t: day0}, path: filepath.Join(dir, "history.db"), catalog: c}
	w.names = &names{clock: w.clock, answer: func(context.Context, string, time.Time) (resolver.Answer, error) {
		return resolver.Answer{Code: resolver.NoError, Addrs: addrs("5.5.0.1")}, nil
	}}
	w.asker = &asker{clock: w.clock, answer: func(context.Context, minecanary.Question, time.Time) (minecanary.Verdict, error) {
		return minecanary.Verdict{Status: minecanary.Confirmed, Dialect: "stratum-v1"}, nil
	}}
	return w
}

// start opens the history as a process does at its start; change may change the configuration of the sweeper.
func (w *world) start(change ...func(*sweep.Config)) {
	w.tb.Helper()
	var err error
	if w.book, err = history.Open(w.path, history.Options{Now: w.clock.Now}); err != nil {
		w.tb.Fatal(err)
	}
	w.index = lookup.New(w.catalog)
	if err := w.book.View(func(v *history.View) error { return w.index.Load(v, w.mark) }); err != nil {
		w.tb.Fatal(err)
	}
	cfg := sweep.Config{
		Catalog: w.index.Catalog, Resolver: w.names, Verifier: w.asker, Book: w.book, Index: w.index, Mark: w.mark,
		Now: w.clock.Now, Warn: func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.warnings = append(w.warnings, err.Error())
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	w.Sweeper = sweep.New(cfg)
}

// stop closes the history.
func (w *world) stop() {
	w.tb.Helper()
	if err := w.book.Close(); err != nil {
		w.tb.Fatal(err)
	}
}

// step asks what is due at a time, and gives when something is due next.
func (w *world) step(at time.Time) time.Time {
	w.tb.Helper()
	w.clock.set(at)
	next, err := w.Step(w.tb.Context())
	if err != nil {
		w.tb.Fatal(err)
	}
	return next
}

// open makes a started world that is stopped when the test ends.
func open(tb testing.TB, c *catalog.Catalog, change ...func(*sweep.Config)) *world {
	tb.Helper()
	w := newWorld(tb, tb.TempDir(), c)
	w.start(change...)
	tb.Cleanup(func() { _ = w.book.Close() }) // some tests closed it
	return w
}

// pool makes a catalogue of one pool whose servers, names or literal addresses, all have the same ports.
func pool(hosts []string, ports ...uint16) *catalog.Catalog {
	p := catalog.Pool{ID: "alpha", Name: "Alpha", Kind: catalog.Public}
	for _, host := range hosts {
		s := catalog.Server{Name: host}
		if addr, err := netip.ParseAddr(host); err == nil {
			s = catalog.Server{Address: addr}
		}
		for _, port := range ports {
			s.Endpoints = append(s.Endpoints, catalog.Endpoint{Port: port, TLS: port == 443, Dialect: "stratum-v1"})
		}
		p.Servers = append(p.Servers, s)
	}
	return catalog.New(catalog.Layer{Pools: []catalog.Pool{p}})
}

// numbered gives so many names.
func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("n%04d.example", i)
	}
	return out
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

func endpoint(tb testing.TB, s string) minecanary.Endpoint {
	tb.Helper()
	ep, err := minecanary.ParseEndpoint(s)
	if err != nil {
		tb.Fatal(err)
	}
	return ep
}

// heard is what came of one lookup: addresses, a denial (none, and nothing failed), or a failure.
type heard struct {
	at     time.Time
	addrs  []netip.Addr
	failed bool
}

// holds is how long an observation holds at most.
const holds = history.DefaultMaxGap

// heldBy is the plain model of the history of names: which addresses a name had at a time, from the list of all that was
// heard, the oldest first. Addresses hold until others are heard, until it was heard twice that there are none, and at most
// a day.
func heldBy(list []heard, at time.Time) []netip.Addr {
	i, _ := slices.BinarySearchFunc(list, at.Add(1), func(h heard, at time.Time) int { return h.at.Compare(at) })
	list = list[:i]
	var out []netip.Addr
	for _, family := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		denials := 0
		for _, h := range slices.Backward(list) {
			if h.failed {
				continue
			}
			if denials == 2 || at.Sub(h.at) >= holds {
				break
			}
			i := slices.IndexFunc(h.addrs, family)
			if i < 0 {
				denials++
				continue
			}
			for _, a := range h.addrs {
				if family(a) {
					out = append(out, a)
				}
			}
			break
		}
	}
	return out
}

// said is what an endpoint answered once.
type said struct {
	at     time.Time
	status minecanary.VerdictStatus
}

// statusBy is the plain model of the history of endpoints, from all that was answered: a verdict holds until the next one
// and at most a day; without one it counts that the endpoint did not answer.
func statusBy(list []said, at time.Time) (status minecanary.VerdictStatus) {
	first := true
	for _, s := range slices.Backward(list) {
		if s.at.After(at) || s.status == minecanary.Blocked {
			continue
		}
		if at.Sub(s.at) >= holds {
			break
		}
		if s.status != minecanary.Inconclusive {
			return s.status
		}
		if first {
			status = s.status
		}
		first = false
	}
	return status
}

// model is the plain list of events, and what follows from it for a catalogue in which all servers have the same ports.
type model struct {
	ports     []uint16
	names     map[string][]heard
	endpoints map[minecanary.Endpoint][]said
	// mark says what an address of a name is beside the pool's at a time; nil for nothing.
	mark func(addr netip.Addr, name string, at time.Time) string
}

// line is what is told of a match here.
func line(pool, server string, addr netip.Addr, port uint16, mark string, status minecanary.VerdictStatus) string {
	return fmt.Sprintf("%s %s %s:%d %s %s", cmp.Or(pool, "-"), cmp.Or(server, "-"), addr, port, cmp.Or(mark, "-"), cmp.Or(string(status), "-"))
}

// find is what is known of an address and port at a time, in order, and how well.
func (m *model) find(ep minecanary.Endpoint, at time.Time) (lines []string, level lookup.Level) {
	status := statusBy(m.endpoints[ep], at)
	for name, list := range m.names {
		if !slices.Contains(heldBy(list, at), ep.Addr) {
			continue
		}
		mark := ""
		if m.mark != nil {
			mark = m.mark(ep.Addr, name, at)
		}
		listed := slices.Contains(m.ports, ep.Port)
		if listed {
			lines = append(lines, line("alpha", name, ep.Addr, ep.Port, mark, status))
		}
		switch {
		case mark != "":
			level = max(level, lookup.SharedAddress)
		case listed:
			level = lookup.KnownPool
		default:
			level = max(level, lookup.KnownAddress)
		}
	}
	if status == minecanary.Confirmed {
		level = lookup.KnownPool
	}
	if len(lines) == 0 && (status == minecanary.Confirmed || status == minecanary.Node) {
		lines = append(lines, line("", "", ep.Addr, ep.Port, "", status))
	}
	slices.Sort(lines)
	return lines, level
}

// found is what the index tells.
func (w *world) found(ep minecanary.Endpoint, at time.Time) (lines []string, level lookup.Level) {
	r := w.index.Find(lookup.Query{Kind: lookup.ByAddress, Prefix: netip.PrefixFrom(ep.Addr, ep.Addr.BitLen()), Port: ep.Port, At: at}, 1000)
	for _, m := range r.Matches {
		lines = append(lines, line(m.Pool, m.Server, m.Address, m.Port, m.Mark, m.Status))
	}
	slices.Sort(lines)
	level, _ = w.index.Mark(ep, at)
	return lines, level
}
