package history

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/minecanary/minecanary"
)

// day0 is when the tests' clocks begin.
var day0 = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// hours is a time after day0.
func hours(h float64) time.Time { return day0.Add(time.Duration(h * float64(time.Hour))) }

// clock is a clock that tests set.
type clock struct{ now time.Time }

func open(tb testing.TB, opts Options) (*DB, *clock) {
	tb.Helper()
	c := &clock{day0}
	opts.Now = func() time.Time { return c.now }
	db, err := Open(filepath.Join(tb.TempDir(), "history.db"), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Check(); err != nil && !errors.Is(err, ErrClosed) {
			tb.Error(err)
		}
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db, c
}

// ask calls a question of View.
func ask[T any](tb testing.TB, db *DB, fn func(*View) (T, error)) T {
	tb.Helper()
	var out T
	if err := db.View(func(v *View) (err error) {
		out, err = fn(v)
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	return out
}

func addrs(s ...string) []netip.Addr {
	out := make([]netip.Addr, 0, len(s))
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func network(s string) netip.Prefix { return netip.MustParsePrefix(s) }

var compareAddrs = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()}

// resolve tells of lookups, each at the hour when it is learnt.
func resolve(t *testing.T, db *DB, c *clock, o Observation) {
	t.Helper()
	if c.now.Before(o.At) {
		c.now = o.At
	}
	if err := db.Resolved(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func TestNames(t *testing.T) {
	db, c := open(t, Options{})
	a, b := addrs("192.0.2.7"), addrs("::ffff:192.0.2.9", "2001:db8::1", "192.0.2.7", "192.0.2.7")
	resolve(t, db, c, Observation{Name: "Pool.Example.", At: hours(0), Addrs: a})
	resolve(t, db, c, Observation{Name: "pool.example", At: hours(3), Addrs: a, Code: NoError})
	resolve(t, db, c, Observation{Name: "pool.example", At: hours(6), Code: "SERVFAIL", Addrs: addrs("192.0.2.250")})
	resolve(t, db, c, Observation{Name: "pool.example", At: hours(9), Addrs: b, Chain: []string{"Edge.example.", "a\x1bb"}})
	resolve(t, db, c, Observation{Name: "pool.example", At: hours(12), Code: NXDomain})
	resolve(t, db, c, Observation{Name: "eu.pool.example", At: hours(12), Addrs: a})
	resolve(t, db, c, Observation{Name: "pool.example-not", At: hours(12), Addrs: a})

	b = addrs("192.0.2.7", "192.0.2.9", "2001:db8::1")
	span := func(from, seen, until float64) Span {
		return Span{From: hours(from), LastSeen: hours(seen), Until: hours(until), Learnt: hours(from)}
	}
	first := Addresses{Span: span(0, 3, 9), Name: "pool.example", Addrs: a}
	second := Addresses{Span: span(9, 9, 12), Name: "pool.example", Addrs: b, Chain: []string{"edge.example", "a?b"}}
	none := Addresses{Span: span(12, 12, 36), Name: "pool.example"}
	eu := Addresses{Span: span(12, 12, 36), Name: "eu.pool.example", Addrs: a}
	not := Addresses{Span: span(12, 12, 36), Name: "pool.example-not", Addrs: a}
	at := func(h float64) Query { return Query{At: hours(h)} }
	tests := []struct {
		name string
		ask  func(*View) ([]Addresses, error)
		want []Addresses
	}{
		{"all", func(v *View) ([]Addresses, error) { return v.Addresses("POOL.example.", Query{}) }, []Addresses{first, second, none}},
		{"the newest", func(v *View) ([]Addresses, error) { return v.Addresses("pool.example", Query{Limit: 2}) }, []Addresses{second, none}},
		{"before", func(v *View) ([]Addresses, error) { return v.Addresses("pool.example", at(-1)) }, nil},
		{"at the start", func(v *View) ([]Addresses, error) { return v.Addresses("pool.example", at(0)) }, []Addresses{first}},
		{"through a failure", func(v *View) ([]Addresses, error) { return v.Addresses("pool.example", at(8.9)) }, []Addresses{first}},
		{"then", func(v *View) ([]Addresses, error) { return v.Addresses("pool.example", at(9)) }, []Addresses{second}},
		{"said to have none", func(v *View) ([]Addresses, error) { return v.Addresses("pool.example", at(35)) }, []Addresses{none}},
		{"for no longer than the gap", func(v *View) ([]Addresses, error) { return v.Addresses("pool.example", at(36)) }, nil},
		{"as known", func(v *View) ([]Addresses, error) {
			return v.Addresses("pool.example", Query{At: hours(10), KnownAt: hours(8)})
		}, []Addresses{{Span: Span{From: hours(0), LastSeen: hours(3), Until: hours(27), Learnt: hours(0)}, Name: "pool.example", Addrs: a}}},
		{"no name", func(v *View) ([]Addresses, error) { return v.Addresses("a..b", Query{}) }, nil},
		{"below", func(v *View) ([]Addresses, error) { return v.NamesBelow("pool.example", at(12)) }, []Addresses{none, eu}},
		{"below a domain", func(v *View) ([]Addresses, error) { return v.NamesBelow("example", Query{Limit: 2}) }, []Addresses{second, none}},
		{"below nothing", func(v *View) ([]Addresses, error) { return v.NamesBelow("ample", at(12)) }, nil},
		{"by address", func(v *View) ([]Addresses, error) { return v.Names(network("192.0.2.9/32"), Query{}) }, []Addresses{second}},
		{"by an address of several", func(v *View) ([]Addresses, error) { return v.Names(network("192.0.2.7/32"), at(12)) }, []Addresses{not, eu}},
		{"by IPv6", func(v *View) ([]Addresses, error) { return v.Names(network("2001:db8::/32"), at(10)) }, []Addresses{second}},
		{"by network, once", func(v *View) ([]Addresses, error) { return v.Names(network("192.0.2.0/24"), at(10)) }, []Addresses{second}},
		{"by mapped network", func(v *View) ([]Addresses, error) { return v.Names(network("::ffff:192.0.2.0/120"), at(10)) }, []Addresses{second}},
		{"of a failure nothing", func(v *View) ([]Addresses, error) { return v.Names(network("192.0.2.250/32"), Query{}) }, nil},
		{"no network", func(v *View) ([]Addresses, error) { return v.Names(netip.Prefix{}, Query{}) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ask(t, db, tt.ask), compareAddrs); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	t.Run("lookups", func(t *testing.T) {
		want := []Lookup{
			{Span: span(0, 3, 6), Name: "pool.example", Code: NoError},
			{Span: span(6, 6, 9), Name: "pool.example", Code: "SERVFAIL"},
			{Span: span(9, 9, 12), Name: "pool.example", Code: NoError},
			{Span: span(12, 12, 36), Name: "pool.example", Code: NXDomain},
		}
		got := ask(t, db, func(v *View) ([]Lookup, error) { return v.Lookups("pool.example", Query{}) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestEndpoints(t *testing.T) {
	db, c := open(t, Options{})
	ep := minecanary.NewEndpoint(netip.MustParseAddr("192.0.2.7"), 3333, minecanary.TCP)
	other := minecanary.NewEndpoint(netip.MustParseAddr("192.0.2.7"), 443, minecanary.TCP)
	probe := func(h float64, ep minecanary.Endpoint, s minecanary.VerdictStatus, why string) Probe {
		return Probe{Endpoint: ep, Name: "Pool.Example.", At: hours(h), Status: s, Reason: why}
	}
	pool := func(h float64, why string) Probe {
		p := probe(h, ep, minecanary.Confirmed, why)
		p.Dialect, p.Coin, p.TLS = "stratum-v1", "bitcoin-family", true
		p.Evidence = []minecanary.Evidence{{
			Kind: "probe", Strength: minecanary.Proof, At: hours(h), Summary: why + "\x1b[31m", Transcript: []string{"<< \u202e" + strings.Repeat("x", 2*MaxLine)},
		}}
		return p
	}
	for _, p := range []Probe{
		pool(0, "a job"), pool(3, "another job"),
		probe(6, ep, minecanary.Inconclusive, "timeout"), probe(6, other, minecanary.NotPool, "a web server"),
		probe(9, ep, minecanary.Blocked, "budget"), pool(12, "a job\x00"),
		probe(40, ep, minecanary.Inconclusive, "reset"), probe(43, ep, minecanary.Inconclusive, "refused"),
		probe(44, ep, minecanary.Node, "getinfo"),
	} {
		c.now = p.At
		if err := db.Probed(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	span := func(from, seen, until float64) Span {
		return Span{From: hours(from), LastSeen: hours(seen), Until: hours(until), Learnt: hours(from)}
	}
	confirmed := State{
		Span: span(0, 12, 36), Endpoint: ep, Status: minecanary.Confirmed, Dialect: "stratum-v1", Coin: "bitcoin-family",
		TLS: true, Name: "pool.example", FirstReason: "a job", LastReason: "a job?",
	}
	node := State{Span: span(44, 44, 68), Endpoint: ep, Status: minecanary.Node, Name: "pool.example", FirstReason: "getinfo", LastReason: "getinfo"}
	web := State{Span: span(6, 6, 30), Endpoint: other, Status: minecanary.NotPool, Name: "pool.example", FirstReason: "a web server", LastReason: "a web server"}
	tests := []struct {
		name string
		ask  func(*View) ([]State, error)
		want []State
	}{
		{"all", func(v *View) ([]State, error) { return v.Endpoint(ep, Query{}) }, []State{confirmed, node}},
		{"timeouts end nothing", func(v *View) ([]State, error) { return v.Endpoint(ep, Query{At: hours(10)}) }, []State{confirmed}},
		{"but the gap does", func(v *View) ([]State, error) { return v.Endpoint(ep, Query{At: hours(36)}) }, nil},
		{"network", func(v *View) ([]State, error) { return v.Endpoints(network("192.0.2.0/24"), Query{At: hours(10)}) }, []State{web, confirmed}},
		{"network, limited", func(v *View) ([]State, error) { return v.Endpoints(network("192.0.2.0/24"), Query{Limit: 2}) }, []State{web, node}},
		{"other network", func(v *View) ([]State, error) { return v.Endpoints(network("192.0.3.0/24"), Query{}) }, nil},
		{"no endpoint", func(v *View) ([]State, error) { return v.Endpoint(minecanary.Endpoint{}, Query{}) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ask(t, db, tt.ask), compareAddrs); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	t.Run("availability", func(t *testing.T) {
		want := []Reach{
			{Span: span(0, 3, 6), Endpoint: ep, Answered: true},
			{Span: span(6, 6, 9), Endpoint: ep, Status: minecanary.Inconclusive, Name: "pool.example", FirstReason: "timeout", LastReason: "timeout"},
			{Span: span(9, 9, 12), Endpoint: ep, Status: minecanary.Blocked, Name: "pool.example", FirstReason: "budget", LastReason: "budget"},
			{Span: span(12, 12, 36), Endpoint: ep, Answered: true},
			{Span: span(40, 43, 44), Endpoint: ep, Status: minecanary.Inconclusive, Name: "pool.example", FirstReason: "reset", LastReason: "refused"},
			{Span: span(44, 44, 68), Endpoint: ep, Answered: true},
		}
		got := ask(t, db, func(v *View) ([]Reach, error) { return v.Availability(ep, Query{}) })
		if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("proof", func(t *testing.T) {
		want := Proof{At: hours(12), Evidence: []minecanary.Evidence{{
			Kind: "probe", Strength: minecanary.Proof, At: hours(12), Summary: "a job??[31m",
			Transcript: []string{"<< ???" + strings.Repeat("x", MaxLine-6)},
		}}}
		got := ask(t, db, func(v *View) (Proof, error) {
			p, _, err := v.Proof(ep)
			return p, err
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// An import tells of the past what was not known, and cannot change what was seen.
func TestLate(t *testing.T) {
	db, c := open(t, Options{})
	tell := func(learnt, at float64, addr string) {
		t.Helper()
		c.now = hours(learnt)
		if err := db.Resolved(t.Context(), Observation{Name: "a.example", At: hours(at), Addrs: addrs(addr)}); err != nil {
			t.Fatal(err)
		}
	}
	tell(100, 100, "192.0.2.1")
	tell(103, 103, "192.0.2.1")
	tell(106, 106, "192.0.2.2")
	tell(200, 10, "192.0.2.3")  // before all
	tell(201, 101, "192.0.2.4") // disputed
	tell(202, 102, "192.0.2.1") // nothing new
	tell(203, 104, "192.0.2.5") // between two others
	type fact struct {
		From, Seen, Until, Learnt float64
		Addr                      string
		Disputed                  bool
	}
	facts := func(q Query) []fact {
		var out []fact
		for _, a := range ask(t, db, func(v *View) ([]Addresses, error) { return v.Addresses("a.example", q) }) {
			h := func(at time.Time) float64 { return at.Sub(day0).Hours() }
			out = append(out, fact{h(a.From), h(a.LastSeen), h(a.Until), h(a.Learnt), a.Addrs[0].String(), a.Disputed})
		}
		return out
	}
	tests := []struct {
		name string
		q    Query
		want []fact
	}{
		{"all", Query{}, []fact{
			{10, 10, 34, 200, "192.0.2.3", false},
			{100, 103, 104, 100, "192.0.2.1", false},
			{101, 101, 101, 201, "192.0.2.4", true},
			{104, 104, 106, 203, "192.0.2.5", false},
			{106, 106, 130, 106, "192.0.2.2", false},
		}},
		{"then", Query{At: hours(105)}, []fact{{104, 104, 106, 203, "192.0.2.5", false}}},
		{"then, as known before", Query{At: hours(105), KnownAt: hours(202)}, []fact{{100, 103, 106, 100, "192.0.2.1", false}}},
		{"disputed", Query{At: hours(101)}, []fact{{100, 103, 104, 100, "192.0.2.1", false}}},
		{"all as known", Query{KnownAt: hours(200)}, []fact{
			{10, 10, 34, 200, "192.0.2.3", false},
			{100, 103, 106, 100, "192.0.2.1", false},
			{106, 106, 130, 106, "192.0.2.2", false},
		}},
		{"not yet known", Query{At: hours(12), KnownAt: hours(199)}, nil},
		{"the newest", Query{Limit: 3}, []fact{
			{101, 101, 101, 201, "192.0.2.4", true},
			{104, 104, 106, 203, "192.0.2.5", false},
			{106, 106, 130, 106, "192.0.2.2", false},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, facts(tt.q)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestInvalid(t *testing.T) {
	db, c := open(t, Options{})
	c.now = hours(1)
	many := make([]netip.Addr, MaxAddrs+1)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	name := strings.Repeat("a.", MaxName/2) + "b"
	ep := minecanary.NewEndpoint(netip.MustParseAddr("192.0.2.7"), 3333, minecanary.TCP)
	tests := []struct {
		name string
		do   func(*Tx) error
		ok   bool
	}{
		{"longest name", func(tx *Tx) error { return tx.Resolved(Observation{Name: name, At: hours(1)}) }, true},
		{"too long", func(tx *Tx) error { return tx.Resolved(Observation{Name: "a" + name, At: hours(1)}) }, false},
		{"no name", func(tx *Tx) error { return tx.Resolved(Observation{Name: ".", At: hours(1)}) }, false},
		{"zero byte", func(tx *Tx) error { return tx.Resolved(Observation{Name: "a\x00b", At: hours(1)}) }, false},
		{"most addresses", func(tx *Tx) error { return tx.Resolved(Observation{Name: "a", At: hours(1), Addrs: many[1:]}) }, true},
		{"too many addresses", func(tx *Tx) error { return tx.Resolved(Observation{Name: "a", At: hours(1), Addrs: many}) }, false},
		{"too many aliases", func(tx *Tx) error {
			return tx.Resolved(Observation{Name: "a", At: hours(1), Chain: make([]string, MaxChain+1)})
		}, false},
		{"no address", func(tx *Tx) error {
			return tx.Resolved(Observation{Name: "a", At: hours(1), Addrs: []netip.Addr{{}}})
		}, false},
		{"no time", func(tx *Tx) error { return tx.Resolved(Observation{Name: "a"}) }, false},
		{"skew", func(tx *Tx) error { return tx.Resolved(Observation{Name: "c", At: hours(1).Add(MaxSkew)}) }, true},
		{"future", func(tx *Tx) error {
			return tx.Resolved(Observation{Name: "c", At: hours(1).Add(MaxSkew + time.Millisecond)})
		}, false},
		{"no endpoint", func(tx *Tx) error { return tx.Probed(Probe{At: hours(1), Status: minecanary.Node}) }, false},
		{"no status", func(tx *Tx) error { return tx.Probed(Probe{Endpoint: ep, At: hours(1)}) }, false},
		{"long reason", func(tx *Tx) error {
			return tx.Probed(Probe{Endpoint: ep, At: hours(1), Status: minecanary.Node, Reason: strings.Repeat("é", MaxReason), Dialect: strings.Repeat("d", 2*MaxWord)})
		}, true},
		{"document", func(tx *Tx) error { return tx.Put("edits", "1", []byte(`{"a":1}`)) }, true},
		{"no JSON", func(tx *Tx) error { return tx.Put("edits", "1", []byte(`{"a":1`)) }, false},
		{"largest document", func(tx *Tx) error { return tx.Put("edits", "1", []byte(`"`+strings.Repeat("x", MaxDoc-2)+`"`)) }, true},
		{"too large", func(tx *Tx) error { return tx.Put("edits", "1", []byte(`"`+strings.Repeat("x", MaxDoc-1)+`"`)) }, false},
		{"no bucket", func(tx *Tx) error { return tx.Put("", "1", []byte(`1`)) }, false},
		{"zero byte in bucket", func(tx *Tx) error { return tx.Put("a\x00b", "1", []byte(`1`)) }, false},
		{"long key", func(tx *Tx) error { return tx.Put("a", strings.Repeat("k", MaxDocKey+1), []byte(`1`)) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := db.Update(t.Context(), tt.do)
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	got := ask(t, db, func(v *View) ([]State, error) { return v.Endpoint(ep, Query{}) })
	if len(got) != 1 || got[0].FirstReason != strings.Repeat("?", MaxReason) || len(got[0].Dialect) != MaxWord {
		t.Errorf("got %+v", got)
	}
}

func TestDocuments(t *testing.T) {
	db, _ := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	put := func(ctx context.Context, bucket string, keys ...string) error {
		return db.Update(ctx, func(tx *Tx) error {
			for _, key := range keys {
				if err := tx.Put(bucket, key, fmt.Appendf(nil, "%q", bucket+key)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := errors.Join(put(ctx, "edits", "b", "a1", "a2", "a3"), put(ctx, "edit", "s"), put(ctx, "edits2", "a9")); err != nil {
		t.Fatal(err)
	}
	list := func(prefix, after string, limit int) []Doc {
		return ask(t, db, func(v *View) ([]Doc, error) { return v.List("edits", prefix, after, limit) })
	}
	doc := func(key string) Doc { return Doc{key, fmt.Appendf(nil, "%q", "edits"+key)} }
	for _, tt := range []struct {
		prefix, after string
		limit         int
		want          []Doc
	}{
		{"", "", 0, []Doc{doc("a1"), doc("a2"), doc("a3"), doc("b")}},
		{"a", "", 2, []Doc{doc("a1"), doc("a2")}},
		{"a", "a2", 2, []Doc{doc("a3")}},
		{"a", "b", 0, nil},
		{"b", "a2", 0, []Doc{doc("b")}},
	} {
		if diff := cmp.Diff(tt.want, list(tt.prefix, tt.after, tt.limit)); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", tt, diff)
		}
	}
	// What fails writes nothing.
	errOurs := errors.New("ours")
	err := db.Update(ctx, func(tx *Tx) error { return errors.Join(tx.Delete("edits", "a1"), errOurs) })
	if !errors.Is(err, errOurs) {
		t.Error(err)
	}
	err = db.Update(ctx, func(tx *Tx) error {
		cancel()
		return tx.Delete("edits", "a1")
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := db.Update(ctx, func(*Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	get := func(v *View) ([]byte, error) { return v.Get("edits", "a1") }
	if got := ask(t, db, get); string(got) != `"editsa1"` {
		t.Errorf("got %q", got)
	}
	if err := db.Update(t.Context(), func(tx *Tx) error { return tx.Delete("edits", "a1") }); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, db, get); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	if err := os.WriteFile(path+newSuffix, []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+compactSuffix, []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{LockTimeout: time.Millisecond}); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"view": db.View(nil), "update": db.Update(t.Context(), nil), "check": db.Check(), "backup": db.Backup(nil),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := db.Prune(t.Context(), day0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	files, err := filepath.Glob(path + "*")
	if diff := cmp.Diff([]string{path}, files); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if db, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Close(), Verify(path)); err != nil {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(path, "x"), Options{}); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}
