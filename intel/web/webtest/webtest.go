// Package webtest makes pages with something to see on them: pools of the tests' own, a year of history, hits, suspects
// and users of every role; and the same with hostile strings wherever others could put one.
package webtest

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/intel/accounts"
	"github.com/minecanary/minecanary/intel/catalog"
	"github.com/minecanary/minecanary/intel/changes"
	"github.com/minecanary/minecanary/intel/history"
	"github.com/minecanary/minecanary/intel/lookup"
	"github.com/minecanary/minecanary/intel/sweep"
	"github.com/minecanary/minecanary/intel/web"
)

// Password is that of every user; they are called as their roles.
const Password = "correct horse battery"

// Now is the clock of the pages.
func Now() time.Time { return time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC) }

// Hostile gives strings that a page must not be fooled by.
func Hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg onload=alert(1)>`, `javascript:alert(1)`,
		`{{.}}</title></textarea></svg><a href=https://evil.invalid/>x</a>`,
		"\u202egnp.exe\u202c \u200bzero \u2066x\u2069", "\x1b[31mred\r\nline\x00\xff", `https://evil.invalid/ http://evil.invalid`, "\u00a0 =HYPERLINK(\"https://evil.invalid/\")",
	}
}

// World is what the pages are made of.
type World struct {
	Web      *web.Web
	Register *catalog.Register
	Index    *lookup.Index
	History  *history.DB
	Accounts *accounts.Accounts
	Changes  *changes.Journal
	Sweep    *Sweep
	// Handler is the pages behind the middleware of accounts.
	Handler http.Handler
}

// Options say what is different from the usual.
type Options struct {
	// Say, if set, is put wherever others could put text.
	Say string
	// Shipped adds the shipped catalogue.
	Shipped bool
	// Anonymous is what one may do without a login.
	Anonymous accounts.Role
	// Bare leaves out everything that may be nil.
	Bare bool
}

// Sweep notes what it is told to do.
type Sweep struct {
	mu        sync.Mutex
	Names     []string
	Endpoints []minecanary.Endpoint
}

// Soon implements web.Sweep.
func (s *Sweep) Soon(names []string, endpoints []minecanary.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Names, s.Endpoints = append(s.Names, names...), append(s.Endpoints, endpoints...)
	return nil
}

// Enabled implements web.Sweep.
func (s *Sweep) Enabled() bool { return true }

// Status implements web.Sweep.
func (s *Sweep) Status() sweep.Status { return sweep.Status{Names: 3, Endpoints: 7, LastAsked: Now()} }

// instance is a Local of one hit and one suspect.
type instance struct{ say string }

// text gives what others said: the hostile string, or the usual.
func text(say, usual string) string {
	if say != "" {
		return say
	}
	return usual
}

func (l instance) score() minecanary.Score {
	return minecanary.Score{Scorer: text(l.say, "canary"), Points: 8.5, Threshold: 7, Passed: true, Criteria: []minecanary.Criterion{
		{Name: text(l.say, "packets"), Value: 3.25, Limit: text(l.say, "2 to 40 a minute"), Points: 4, Reason: text(l.say, "3.25 packets a minute, as miners have")},
	}}
}

// Hits implements web.Local.
func (l instance) Hits(_ int, before string) ([]web.HitRow, string, error) {
	if before != "" {
		return nil, "", nil
	}
	now := Now()
	return []web.HitRow{{
		ID: text(l.say, "0123456789abcdef0123456789abcdef"), Client: netip.MustParseAddr("10.1.2.3"), Endpoint: Endpoint(), Status: minecanary.HitConfirmed,
		Verdict: minecanary.Confirmed, Dialect: text(l.say, "cryptonote"), Reason: text(l.say, "a job with blob, job_id and target"),
		FirstSeen: now.Add(-3 * time.Hour), LastSeen: now.Add(-time.Minute), Found: now, Records: 12, Bytes: 34567, Score: l.score(),
		Evidence: []minecanary.Evidence{{Kind: text(l.say, "name"), Strength: minecanary.Strength(text(l.say, "strong")), At: now, Summary: text(l.say, "the name is a pool's")}},
	}}, text(l.say, "older"), nil
}

// Suspects implements web.Local.
func (l instance) Suspects(int) ([]web.SuspectRow, error) {
	now := Now()
	return []web.SuspectRow{{
		Client: netip.MustParseAddr("10.1.2.4"), Endpoint: Endpoint(), Verdict: minecanary.VerdictStatus(text(l.say, "inconclusive")),
		FirstSeen: now.Add(-time.Hour), LastSeen: now, Records: 3, Bytes: 4096, Score: l.score(),
	}}, nil
}

// Endpoint is one with a year of history.
func Endpoint() minecanary.Endpoint {
	return minecanary.NewEndpoint(netip.MustParseAddr("45.60.1.2"), 3333, minecanary.TCP)
}

// Server is the name that has it.
const Server = "xmr.quarry-pool.net"

// New makes the pages. They live until the test ends.
func New(tb testing.TB, opts Options) *World {
	tb.Helper()
	dir := tb.TempDir()
	s := opts.Say
	prov := catalog.Provenance{Source: text(s, "https://quarry-pool.net/help"), AsOf: "2026-02-01", Confidence: catalog.High}
	base := []catalog.Layer{{
		Coins: []catalog.Coin{
			{
				Symbol: "XMR", Name: text(s, "Monero"), Algorithm: text(s, "rx/0"), Dialect: text(s, "cryptonote"), URL: text(s, "https://www.getmonero.org/"), Provenance: prov,
				Explorer: map[string]string{"transaction": text(s, "https://explorer.quarry-pool.net/tx/{txid}"), "pools": text(s, "https://stats.quarry-pool.net/")},
			},
			{Symbol: "BTC", Name: "Bitcoin", Algorithm: "sha256d", Dialect: "stratum-v1", Provenance: prov},
		},
		Pools: []catalog.Pool{{
			ID: "quarry", Name: text(s, "Quarry"), URL: text(s, "https://quarry-pool.net/"), Operator: text(s, "Quarry Ltd"), Kind: catalog.Kind(text(s, "public")),
			Note: text(s, "a pool of the tests"), Provenance: prov, Layer: text(s, "tests"),
			Servers: []catalog.Server{
				{Name: Server, Region: text(s, "eu"), Endpoints: []catalog.Endpoint{{Port: 3333, Coin: "XMR", Note: text(s, "low difficulty")}, {Port: 443, Coin: "XMR", TLS: true}}},
				{Name: text(s, "btc.quarry-pool.net"), Endpoints: []catalog.Endpoint{{Port: 3333, Coin: "BTC"}, {Port: 25, Coin: text(s, "XMR")}}},
				{Address: netip.MustParseAddr("2a06:1::7"), Endpoints: []catalog.Endpoint{{Port: 7777, Coin: "XMR"}}},
			},
		}},
	}}
	if opts.Shipped {
		shipped, problems := catalog.Shipped()
		for _, p := range problems {
			tb.Fatal(p)
		}
		base = append([]catalog.Layer{shipped}, base[0])
	}
	w := &World{Sweep: &Sweep{}}
	edits := catalog.NewEdits(filepath.Join(dir, "edits.yaml"))
	if err := edits.Open(); err != nil {
		tb.Fatal(err)
	}
	if opts.Bare {
		edits = nil
	}
	w.Register = catalog.NewRegister(edits, func(c *catalog.Catalog) {
		if w.Index == nil {
			w.Index = lookup.New(c)
		}
		w.Index.SetCatalog(c)
	}, base...)
	cfg := web.Config{Register: w.Register, Index: w.Index, Anonymous: opts.Anonymous, Version: "v0.0.0-test", Now: Now}
	if opts.Bare {
		w.Web = web.New(cfg)
		w.Handler = w.Web
		return w
	}
	w.addHistory(tb, filepath.Join(dir, "history.db"), s)
	w.Accounts = accounts.Open(filepath.Join(dir, accounts.FileName), accounts.Options{Cost: accounts.Cost{Time: 1, Memory: 64, Threads: 1}})
	for _, r := range accounts.Roles() {
		if err := w.Accounts.AddUser(string(r), r, Password); err != nil {
			tb.Fatal(err)
		}
	}
	w.Changes = changes.Open(filepath.Join(dir, changes.FileName))
	if s != "" {
		if err := w.Changes.Append(changes.Entry{Who: s, Action: s, Object: s, Before: fmt.Appendf(nil, "%q", "x"), After: []byte(`{"a":"<script>"}`)}); err != nil {
			tb.Fatal(err)
		}
	}
	cfg.History, cfg.Accounts, cfg.Changes, cfg.Local, cfg.Sweep, cfg.API = w.History, w.Accounts, w.Changes, instance{s}, w.Sweep, true
	w.Web = web.New(cfg)
	w.Handler = w.Accounts.Middleware(w.Web)
	return w
}

// addHistory writes a year: the name moves once and an alias comes, the endpoint fails for some weeks and is no pool for
// some others.
func (w *World) addHistory(tb testing.TB, path, say string) {
	tb.Helper()
	db, err := history.Open(path, history.Options{Now: Now, MaxGap: 60 * 24 * time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	w.History = db
	ep := Endpoint()
	err = db.Update(context.Background(), func(tx *history.Tx) error {
		for week := range 52 {
			at := Now().Add(-time.Duration(52-week) * 7 * 24 * time.Hour)
			o := history.Observation{Name: Server, At: at, Addrs: []netip.Addr{netip.MustParseAddr("45.60.9.9")}}
			if week >= 20 {
				o.Addrs = []netip.Addr{ep.Addr, netip.MustParseAddr("2a06:1::5")}
				o.Chain = []string{Server, "edge.quarry-pool.net"}
			}
			if week == 30 {
				o.Addrs, o.Chain, o.Code = nil, nil, text(say, "SERVFAIL")
			}
			if err := tx.Resolved(o); err != nil {
				return err
			}
			p := history.Probe{
				Endpoint: ep, Name: Server, At: at, Status: minecanary.Confirmed, Dialect: text(say, "cryptonote"), Coin: text(say, "monero"),
				Reason: text(say, "a job with blob, job_id and target"),
				Evidence: []minecanary.Evidence{{Kind: text(say, "probe"), Strength: minecanary.Proof, At: at, Summary: text(say, "a job with blob, job_id and target"), Transcript: []string{
					`>> {"id":1,"method":"login"}`, "<< " + text(say, `{"id":1,"result":{"id":"1","job":{"blob":"0e0e…","job_id":"7","target":"b88d0600"}}}`),
				}}},
			}
			switch {
			case week >= 12 && week < 16:
				p.Status, p.Evidence, p.Reason = minecanary.NotPool, nil, text(say, "it speaks HTTP")
			case week >= 33 && week < 40:
				p.Status, p.Evidence, p.Reason = minecanary.Inconclusive, nil, text(say, "the connection timed out")
			}
			if err := tx.Probed(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	err = db.View(func(v *history.View) error {
		return w.Index.Load(v, func(a netip.Addr, _ []string) string {
			if a.Is6() {
				return text(say, "cdn")
			}
			return ""
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
}
