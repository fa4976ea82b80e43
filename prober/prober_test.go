package prober_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/audit"
	"github.com/minecanary/minecanary/prober/dialect"
	"github.com/minecanary/minecanary/prober/spar"
)

// TestMain lets tests that mostly wait run side by side, however few cores there are.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "64"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var _ prober.Auditor = (*audit.File)(nil)

// trail is an audit trail in memory.
type trail struct {
	mu      sync.Mutex
	records []audit.Record
	err     error
	failAt  int // fail from this record on, if err is set
}

func (t *trail) Append(rec audit.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil && len(t.records) >= t.failAt {
		return t.err
	}
	t.records = append(t.records, rec)
	return nil
}

func (t *trail) all() []audit.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.records)
}

// loopback allows what tests need.
func loopback() prober.Config {
	cfg := prober.DefaultConfig()
	cfg.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	// A test's server may come to listen on any port that the system hands out.
	cfg.DenyPorts = slices.DeleteFunc(cfg.DenyPorts, func(port uint16) bool { return port > 10000 })
	return cfg
}

// hasty is loopback with short times.
func hasty() prober.Config {
	cfg := loopback()
	cfg.Connect = time.Second
	cfg.Listen = 50 * time.Millisecond
	cfg.Quiet = 150 * time.Millisecond
	cfg.Settle = 200 * time.Millisecond
	cfg.Handshake = 1200 * time.Millisecond
	cfg.Timeout = time.Second
	cfg.ConnectionTime = 4 * time.Second
	cfg.EndpointTime = 6 * time.Second
	return cfg
}

// trial is a test that notes what is wrong instead of failing.
type trial struct {
	testing.TB
	wrong []string
}

func (t *trial) Errorf(format string, args ...any) {
	t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
}

// twice checks with short times, and once more with the prober's own if anything was wrong: on a loaded machine an
// answer or an end may come too late for short times, which is no fault of the prober. Short times that are kept save
// minutes where servers say nothing.
func twice(t *testing.T, check func(testing.TB, prober.Config)) {
	t.Helper()
	first := &trial{TB: t}
	check(first, hasty())
	if len(first.wrong) == 0 {
		return
	}
	t.Logf("with short times: %s", strings.Join(first.wrong, "\n"))
	check(t, loopback())
}

func newProber(tb testing.TB, cfg prober.Config, auditor prober.Auditor) *prober.Prober {
	tb.Helper()
	p, err := prober.New(cfg, auditor, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func start(tb testing.TB, opts spar.Options) *spar.Server {
	tb.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	s, err := spar.Start(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func endpoint(ap netip.AddrPort) minecanary.Endpoint {
	return minecanary.NewEndpoint(ap.Addr(), ap.Port(), minecanary.TCP)
}

// coins are what our pools' answers tell.
var coins = map[string]string{
	"stratum-v1": "bitcoin-family", "cryptonote": "monero", "ethproxy": "ethereum-family", "zcash": "zcash",
	"decred": "decred", "alephium": "alephium", "kadena": "kadena", "ergo": "ergo", "sia": "siacoin", "kawpow": "ravencoin-family",
	"ethereum-stratum": "ethereum-family", "ethereum-stratum-2": "ethereum-family", "kaspa": "kaspa",
	"grin": "grin", "beam": "beam", "stratum-v2": "bitcoin-family", "xmrig-proxy": "monero", "p2pool": "monero",
	"ethereum-getwork": "ethereum-family", "getwork": "bitcoin-family", "getblocktemplate": "bitcoin-family",
	"websocket": "cryptonote-family", "websocket-raw": "monero",
}

// late are the pools whose question comes so late that a slow or silent server has used up the time of a probe by then.
var late = []string{
	"beam", "ethereum-getwork", "ethereum-stratum-2", "getblocktemplate", "getwork", "grin", "stratum-v2", "websocket", "websocket-raw",
}

// TestPools asks each pool in each guise with the default times.
func TestPools(t *testing.T) {
	t.Parallel()
	rows := byPool(t)
	guises := []struct {
		name string
		opts spar.Options
	}{
		{"plain", spar.Options{}},
		{"two segments", spar.Options{Segments: 2}},
		{"many segments", spar.Options{Segments: 25}},
		{"after 8 s", spar.Options{Delay: 8 * time.Second}},
		{"after 8 s, closing on foreign", spar.Options{Delay: 8 * time.Second, Foreign: spar.CloseOn}},
		{"after 8 s over TLS", spar.Options{Delay: 8 * time.Second, TLS: spar.Only, Foreign: spar.CloseOn}},
		{"TLS", spar.Options{TLS: spar.Only}},
		{"TLS in two segments", spar.Options{TLS: spar.Only, Segments: 2}},
		{"TLS found out", spar.Options{TLS: spar.Auto}},
		{"TLS, silent on foreign", spar.Options{TLS: spar.Only, Foreign: spar.SilentOn}},
		{"error triple", spar.Options{Foreign: spar.Triple}},
		{"silent on foreign", spar.Options{Foreign: spar.SilentOn}},
		{"closing on foreign", spar.Options{Foreign: spar.CloseOn}},
		{"server first", spar.Options{ServerFirst: true}},
		{"wallet checked", spar.Options{CheckWallet: true}},
	}
	for _, name := range spar.Pools() {
		for _, guise := range guises {
			if slices.Contains(late, name) && (guise.opts.Delay > 0 || guise.opts.Foreign == spar.SilentOn || guise.opts.Foreign == spar.Triple) {
				continue
			}
			if name == "websocket-raw" && guise.opts.CheckWallet {
				continue // a refusal is all that it says then
			}
			t.Run(name+"/"+guise.name, func(t *testing.T) {
				t.Parallel()
				opts := guise.opts
				opts.Dialect = name
				server := start(t, opts)
				log := &trail{}
				got := newProber(t, loopback(), log).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
				if want := rows[name]; got.Status != want.verdict || got.Dialect != want.dialect {
					t.Fatalf("got %s %q, want %s %q: %s\n%s", got.Status, got.Dialect, want.verdict, want.dialect, got.Reason, transcripts(got))
				}
				wantCoin := coins[name]
				if opts.CheckWallet && name == "cryptonote" {
					wantCoin = "cryptonote-family"
				}
				if got.Coin != wantCoin {
					t.Errorf("coin %q, want %q", got.Coin, wantCoin)
				}
				if opts.TLS == spar.Only && (!got.TLS || !strings.Contains(evidence(got), "certificate sha256 ")) {
					t.Errorf("TLS %v with evidence %s, want the certificate", got.TLS, evidence(got))
				}
				for method, n := range server.Methods() {
					if strings.Contains(method, "authorize") || strings.Contains(strings.ToLower(method), "submit") && method != "eth_submitLogin" {
						t.Errorf("%s was said %d times", method, n)
					}
				}
				checkBounds(t, server, got, log)
			})
		}
	}
}

func transcripts(r prober.Result) string {
	var b strings.Builder
	for _, talk := range r.Talks {
		fmt.Fprintf(&b, "%s tls=%v %s after %v, %d bytes: %v\n  %s\n", talk.Dialect, talk.TLS, talk.Outcome,
			talk.Duration.Round(time.Millisecond), talk.BytesRead, talk.Finding, strings.Join(talk.Transcript, "\n  "))
	}
	return b.String()
}

func evidence(r prober.Result) string {
	var b strings.Builder
	for _, e := range r.Evidence {
		fmt.Fprintf(&b, "[%s %s] ", e.Strength, e.Summary)
	}
	return b.String()
}

// checkBounds checks what must hold of every probe.
func checkBounds(tb testing.TB, server *spar.Server, r prober.Result, log *trail) {
	tb.Helper()
	// The same as the server saw it, which may take note of an end a moment later.
	if seen := server.Seen(); seen.Bytes > prober.MaxSent || seen.Time > prober.MaxConnectionTime+2*time.Second {
		tb.Errorf("the server saw %+v", seen)
	}
	if accepted := server.Accepted(); accepted != r.Connections || accepted > prober.MaxConnections {
		tb.Errorf("%d connections accepted, %d told", accepted, r.Connections)
	}
	for _, talk := range r.Talks {
		atOnce := 0
		for _, other := range r.Talks {
			if !other.Started.After(talk.Started) && other.Started.Add(other.Duration).After(talk.Started) {
				atOnce++
			}
		}
		if atOnce > prober.MaxParallel {
			tb.Errorf("%d connections at once", atOnce)
		}
	}
	if r.Duration > prober.MaxEndpointTime+2*time.Second {
		tb.Errorf("took %v", r.Duration)
	}
	for _, talk := range r.Talks {
		if talk.BytesRead > prober.MaxRead || talk.BytesSent > prober.MaxSent || talk.Duration > prober.MaxConnectionTime+2*time.Second {
			tb.Errorf("connection out of bounds: %+v", talk)
		}
	}
	for _, e := range r.Evidence {
		printable(tb, e.Summary, 512)
		if len(e.Transcript) > prober.MaxTranscript {
			tb.Errorf("transcript of %d lines", len(e.Transcript))
		}
		for _, line := range e.Transcript {
			printable(tb, line, prober.MaxMessage)
		}
	}
	printable(tb, r.Reason, 512)
	records := log.all()
	if len(records) != 1+r.Connections || records[0].Event != audit.EventProbe {
		tb.Errorf("%d audit records for %d connections, want one more: %+v", len(records), r.Connections, records)
	}
	for _, rec := range records[min(1, len(records)):] {
		if rec.Event != audit.EventConnection || rec.Endpoint != r.Endpoint.String() || rec.Outcome == "" || rec.Verdict == "" {
			tb.Errorf("audit record %+v", rec)
		}
	}
}

func printable(tb testing.TB, s string, most int) {
	tb.Helper()
	if len(s) > most {
		tb.Errorf("%d bytes, want at most %d: %.80q", len(s), most, s)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			tb.Errorf("byte %#x in %q", s[i], s)
			return
		}
	}
}

// verdicts are what must come of all that is no pool.
var verdicts = map[string]minecanary.VerdictStatus{
	"electrum": minecanary.NotPool, "json-rpc": minecanary.NotPool, "redis": minecanary.NotPool, "http": minecanary.NotPool,
	"http2": minecanary.NotPool, "ssh": minecanary.NotPool, "smtp": minecanary.NotPool, "ftp": minecanary.NotPool,
	"imap": minecanary.NotPool, "pop": minecanary.NotPool,
	"http-accept-all": minecanary.NotPool, "http-keywords": minecanary.NotPool,
	"redirect":          minecanary.NotPool,
	"template-provider": minecanary.Node, "ethereum-node": minecanary.Node,
}

func wantOther(name string) minecanary.VerdictStatus {
	if v, ok := verdicts[name]; ok {
		return v
	}
	return minecanary.Inconclusive
}

// TestOthers asks all that is no pool.
func TestOthers(t *testing.T) {
	t.Parallel()
	for _, name := range spar.Others() {
		for _, mode := range []spar.TLS{spar.Plain, spar.Only} {
			t.Run(fmt.Sprintf("%s/%d", name, mode), func(t *testing.T) {
				t.Parallel()
				twice(t, func(tb testing.TB, cfg prober.Config) {
					tb.Helper()
					askOther(tb, name, mode, cfg)
				})
			})
		}
	}
}

// askOther asks one that is no pool.
func askOther(tb testing.TB, name string, mode spar.TLS, cfg prober.Config) {
	tb.Helper()
	server := start(tb, spar.Options{Dialect: name, TLS: mode})
	log := &trail{}
	got := newProber(tb, cfg, log).Probe(tb.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
	// Of those that say more than is read it depends on TLS's own bytes which bound they reach first.
	endless := slices.Contains([]string{"http-gzip-bomb", "http-headers", "http-chunks"}, name) && got.Status == minecanary.NotPool
	if want := wantOther(name); got.Status != want && !endless {
		tb.Errorf("got %s %s, want %s: %s\n%s", got.Status, got.Dialect, want, got.Reason, transcripts(got))
	}
	if (got.Dialect != "" || got.Coin != "") && got.Status != minecanary.Node {
		tb.Errorf("dialect %q, coin %q of no pool", got.Dialect, got.Coin)
	}
	if got.Duration > cfg.EndpointTime+time.Second {
		tb.Errorf("took %v", got.Duration)
	}
	checkBounds(tb, server, got, log)
}

// TestRandom asks 1,000 random partners and wants no wrong verdict.
func TestRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("1,000 probes")
	}
	t.Parallel()
	const runs, parallel = 1000, 48
	rows := byPool(t)
	names := append(spar.Pools(), spar.Pools()...)
	names = append(append(names, names...), spar.Others()...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var confirmed, others atomic.Int64
	var missed []spar.Options
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, parallel)
	cfg := hasty()
	cfg.EndpointTime, cfg.Timeout, cfg.Quiet = 10*time.Second, 1200*time.Millisecond, 100*time.Millisecond
	cfg.Handshake, cfg.Connect, cfg.Settle = time.Second, 3*time.Second, time.Second
	for run := range runs {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			r := rand.New(rand.NewPCG(seed, uint64(run)))
			name := names[r.IntN(len(names))]
			opts := spar.Options{
				Addr: fmt.Sprintf("127.0.%d.%d:0", run/250, run%250+1), Dialect: name, TLS: spar.TLS(r.IntN(3)),
				Segments: 1 + r.IntN(6), Delay: time.Duration(r.IntN(100)) * time.Millisecond,
				Foreign: spar.Foreign(r.IntN(4)), ServerFirst: r.IntN(4) == 0, CheckWallet: r.IntN(4) == 0 && name != "websocket-raw",
			}
			server, err := spar.Start(t.Context(), opts)
			if err != nil {
				t.Error(err)
				return
			}
			defer server.Close()
			p, err := prober.New(cfg, &trail{}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			got := p.Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{TLS: r.IntN(2) == 0})
			isPool := slices.Contains(spar.Pools(), name)
			switch {
			case isPool && got.Status == rows[name].verdict && got.Dialect == rows[name].dialect:
				confirmed.Add(1)
			// Until KawPow's job comes it looks like ZIP 301's.
			case isPool && got.Status == minecanary.Inconclusive, name == "kawpow" && got.Dialect == dialect.Zcash && got.Coin == "":
				mu.Lock()
				missed = append(missed, opts)
				mu.Unlock()
			case !isPool && (got.Status == wantOther(name) || got.Status == minecanary.Inconclusive || strings.HasPrefix(name, "http-") && got.Status == minecanary.NotPool):
				others.Add(1)
			default:
				t.Errorf("wrong: %+v is %s %s: %s\n%s", opts, got.Status, got.Dialect, got.Reason, transcripts(got))
			}
		})
	}
	wg.Wait()
	t.Logf("%d pools confirmed, %d missed, %d others", confirmed.Load(), len(missed), others.Load())
	// No verdict was wrong. On a loaded machine an answer may come too late for the short times, which are no fault of
	// the prober: with its own times it has to find these pools, too.
	for _, opts := range missed {
		wg.Go(func() {
			server, err := spar.Start(t.Context(), opts)
			if err != nil {
				t.Error(err)
				return
			}
			defer server.Close()
			p, err := prober.New(loopback(), &trail{}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			got := p.Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
			if want := rows[opts.Dialect]; got.Status != want.verdict || got.Dialect != want.dialect {
				t.Errorf("missed again: %+v: %s\n%s", opts, got.Reason, transcripts(got))
			}
		})
	}
	wg.Wait()
}

// TestAtOnce asks 64 endpoints at once with one Prober.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	const endpoints = 64
	rows := byPool(t)
	// Every one of them is a pool, so that patience costs nothing on a machine with time and saves the test on one without.
	cfg := hasty()
	cfg.Connect, cfg.Handshake, cfg.Timeout, cfg.Settle, cfg.ConnectionTime = 5*time.Second, 5*time.Second, 6*time.Second, 4*time.Second, 15*time.Second
	cfg.EndpointTime = prober.MaxEndpointTime
	p := newProber(t, cfg, &trail{})
	var wg sync.WaitGroup
	began := time.Now()
	for i := range endpoints {
		name := spar.Pools()[i%len(spar.Pools())]
		server := start(t, spar.Options{Addr: fmt.Sprintf("127.1.0.%d:0", i+1), Dialect: name, Delay: 500 * time.Millisecond, Foreign: spar.CloseOn})
		wg.Go(func() {
			got := p.Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
			if want := rows[name]; got.Status != want.verdict || got.Dialect != want.dialect {
				t.Errorf("%s: %s %s: %s", name, got.Status, got.Dialect, got.Reason)
			}
		})
	}
	wg.Wait()
	// One after the other would take 64 delays of an answer at least, which are 32 s.
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v: they waited for each other", took)
	}
}

// counter is a listener that counts connections and says nothing.
func counter(t *testing.T, addr string) (ap netip.AddrPort, count *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	count = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return netip.MustParseAddrPort(l.Addr().String()), count
}

// TestGuard checks that what is refused gets no packet.
func TestGuard(t *testing.T) {
	t.Parallel()
	open, opened := counter(t, "127.0.0.1:0")
	tests := []struct {
		name     string
		change   func(*prober.Config)
		endpoint minecanary.Endpoint
		reason   string
	}{
		{"loopback", nil, endpoint(open), "loopback"},
		{"mapped loopback", nil, minecanary.Endpoint{Addr: netip.AddrFrom16(open.Addr().As16()), Port: open.Port(), Transport: minecanary.TCP}, "loopback"},
		{"port list", func(c *prober.Config) {
			c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			c.DenyPorts = []uint16{open.Port()}
		}, endpoint(open), "deny list"},
		{"deny before allow", func(c *prober.Config) {
			c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			c.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		}, endpoint(open), "deny list"},
		{"UDP", func(c *prober.Config) {
			c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}, minecanary.NewEndpoint(open.Addr(), open.Port(), minecanary.UDP), "only TCP"},
		{"metadata", nil, endpoint(netip.MustParseAddrPort("169.254.169.254:80")), "link-local"},
		{"NAT64", nil, endpoint(netip.MustParseAddrPort("[64:ff9b::127.0.0.1]:3333")), "NAT64"},
		{"zero", nil, minecanary.Endpoint{Port: 3333, Transport: minecanary.TCP}, "invalid"},
		{"port 0", nil, minecanary.NewEndpoint(netip.MustParseAddr("8.8.8.8"), 0, minecanary.TCP), "port 0"},
		{"allowed by another family", func(c *prober.Config) {
			c.Allow = []netip.Prefix{netip.MustParsePrefix("::/0")}
		}, endpoint(open), "loopback"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := prober.DefaultConfig()
			if tt.change != nil {
				tt.change(&cfg)
			}
			log := &trail{}
			p := newProber(t, cfg, log)
			got := p.Probe(t.Context(), tt.endpoint, prober.ProbeOptions{})
			if got.Status != minecanary.Blocked || !strings.Contains(got.Reason, tt.reason) || got.Connections != 0 {
				t.Errorf("Probe = %s, %d connections: %s; want blocked for %q", got.Status, got.Connections, got.Reason, tt.reason)
			}
			v, err := p.Verify(t.Context(), minecanary.Question{Endpoint: tt.endpoint, Reply: true, Payload: true})
			if err != nil || v.Status != minecanary.Blocked || !strings.Contains(v.Reason, tt.reason) || !v.Expires.After(v.At) {
				t.Errorf("Verify = %+v, %v; want blocked for %q", v, err, tt.reason)
			}
			if n := len(log.all()); n != 0 {
				t.Errorf("%d audit records of no probe", n)
			}
		})
	}
	if n := opened.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestBriefSettling: what may follow an answer is waited for once; the connection that only confirms it does not wait as long
// again.
func TestBriefSettling(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "kaspa"})
	cfg := hasty()
	cfg.Settle, cfg.Quiet, cfg.Timeout = 2*time.Second, 3*time.Second, 4*time.Second
	r := newProber(t, cfg, &trail{}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
	if r.Status != minecanary.Confirmed || len(r.Talks) != 2 {
		t.Fatalf("%s after %d connections: %s", r.Status, len(r.Talks), r.Reason)
	}
	if first, second := r.Talks[0].Duration, r.Talks[1].Duration; first < cfg.Settle || second < cfg.Settle/4 || second > cfg.Settle-cfg.Settle/4 {
		t.Errorf("the connections took %v and %v, want more than %v and about %v", first, second, cfg.Settle, cfg.Settle/4)
	}
}

// TestVerifyForCatalogue: the catalogue is asked without a session, in the name of no client; the guard holds all the same.
func TestVerifyForCatalogue(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "stratum-v1"})
	log := &trail{}
	cfg := hasty()
	cfg.ClientPerHour, cfg.GlobalRate, cfg.GlobalBurst = 1, 0.001, 1
	p := newProber(t, cfg, log)
	for i := range 3 { // more than a client or the rate of all would pay for
		v, err := p.Verify(t.Context(), minecanary.Question{
			Endpoint: endpoint(server.Addr()), Catalogue: true, Client: netip.MustParseAddr("192.0.2.1"), Why: "catalogue: f2pool",
		})
		if err != nil || v.Status != minecanary.Confirmed {
			t.Fatalf("Verify %d = %+v, %v; want confirmed", i, v, err)
		}
	}
	for _, rec := range log.all() {
		if rec.Why != "catalogue: f2pool" || rec.Client != "" {
			t.Errorf("the record is of %q because of %q", rec.Client, rec.Why)
		}
	}
	for _, server := range []string{"8.8.8.8:22", "10.9.9.9:3333"} {
		v, err := p.Verify(t.Context(), minecanary.Question{Endpoint: endpoint(netip.MustParseAddrPort(server)), Catalogue: true})
		if err != nil || v.Status != minecanary.Blocked {
			t.Errorf("Verify of %s = %s, %v; want blocked", server, v.Status, err)
		}
	}
}

// TestVerifyNeedsTwoWay: without a two-way session nothing is asked, by hand it is.
func TestVerifyNeedsTwoWay(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "stratum-v1"})
	p := newProber(t, hasty(), &trail{})
	for _, q := range []minecanary.Question{{}, {Reply: true}, {Payload: true}} {
		q.Endpoint = endpoint(server.Addr())
		v, err := p.Verify(t.Context(), q)
		if err != nil || v.Status != minecanary.Blocked {
			t.Errorf("Verify(%+v) = %s, %v; want blocked", q, v.Status, err)
		}
	}
	if n := server.Accepted(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	v, err := p.Verify(t.Context(), minecanary.Question{
		Endpoint: endpoint(server.Addr()), Reply: true, Payload: true,
		Client: netip.MustParseAddr("192.0.2.1"), Why: "test",
	})
	if err != nil || v.Status != minecanary.Confirmed || v.Expires.Sub(v.At) != 24*time.Hour || v.FirstConfirmed != v.At {
		t.Errorf("Verify = %+v, %v; want confirmed for 24 h", v, err)
	}
}

// TestConnectionBudget: no endpoint sees more than 12 connections in an hour, by hand either.
func TestConnectionBudget(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "close-on-line"})
	p := newProber(t, hasty(), &trail{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { p.Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{}) })
	}
	wg.Wait()
	if n := server.Accepted(); n != prober.MaxConnections {
		t.Errorf("%d connections, want %d", n, prober.MaxConnections)
	}
	got := p.Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
	if got.Status != minecanary.Blocked || got.Connections != 0 || got.Until.Before(time.Now().Add(50*time.Minute)) {
		t.Errorf("got %s until %v: %s; want blocked for about an hour", got.Status, got.Until, got.Reason)
	}
}

// TestAuditFails: without an audit trail no probe is made; when it fails under way the probe ends.
// brokenPurse is a shared purse that cannot be reached: after some connections, or at all.
type brokenPurse struct {
	connections atomic.Int64
	broken      error
	begins      bool
	ends        []bool
}

func (b *brokenPurse) Begin(context.Context, minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	if b.begins {
		return minecanary.ProbeGrant{}, nil
	}
	return minecanary.ProbeGrant{}, b.broken
}

func (b *brokenPurse) Connect(context.Context, minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	if b.connections.Add(-1) >= 0 {
		return minecanary.ProbeGrant{}, nil
	}
	return minecanary.ProbeGrant{}, b.broken
}

func (b *brokenPurse) End(_ context.Context, _ minecanary.ProbeCost, conclusive bool) (time.Duration, error) {
	b.ends = append(b.ends, conclusive)
	return 0, b.broken
}

// TestNoPurse: without an answer of the purse nothing is sent; what was begun is not gone on with.
func TestNoPurse(t *testing.T) {
	t.Parallel()
	const gone = "the budgets cannot be reached (gone); try again at "
	tests := []struct {
		name        string
		begins      bool
		connections int64
		silent      bool // the server; otherwise it is a pool
		status      minecanary.VerdictStatus
		expiry      time.Duration
		talks       int
	}{
		{"at the begin", false, 100, false, minecanary.Blocked, time.Minute, 0},
		{"at the first connection", true, 0, false, minecanary.Blocked, time.Minute, 0},
		{"at the second connection", true, 1, true, minecanary.Inconclusive, time.Hour, 1},
		{"at the end of a conclusive one", true, 100, false, minecanary.Confirmed, 24 * time.Hour, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			addr := netip.MustParseAddrPort(ln.Addr().String())
			if !tt.silent {
				addr = start(t, spar.Options{Dialect: dialect.StratumV1}).Addr()
			}
			purse := &brokenPurse{broken: errors.New("gone"), begins: tt.begins}
			purse.connections.Store(tt.connections)
			var auditor trail
			cfg := hasty()
			cfg.Purse = purse
			if !tt.silent { // an answer that is late by less than this is no reason for a second connection
				cfg.Quiet, cfg.Timeout, cfg.Settle = 4*time.Second, 5*time.Second, 4*time.Second
			}
			v, err := newProber(t, cfg, &auditor).Verify(t.Context(), minecanary.Question{
				Endpoint: endpoint(addr), Client: netip.MustParseAddr("10.0.0.1"), Reply: true, Payload: true,
			})
			if err != nil || v.Status != tt.status {
				t.Fatalf("%s: %s, %v", v.Status, v.Reason, err)
			}
			if got := v.Expires.Sub(v.At).Round(time.Second); got != tt.expiry {
				t.Errorf("expires after %v, want %v", got, tt.expiry)
			}
			if v.Status != minecanary.Confirmed && !strings.Contains(v.Reason, gone) {
				t.Errorf("reason %q", v.Reason)
			}
			talks := 0
			for _, rec := range auditor.all() {
				if rec.Event == audit.EventConnection {
					talks++
				}
			}
			if talks != tt.talks {
				t.Errorf("%d connections, want %d", talks, tt.talks)
			}
			r := newProber(t, cfg, &auditor).Probe(t.Context(), endpoint(addr), prober.ProbeOptions{})
			if !tt.begins && r.Status != minecanary.Blocked {
				t.Errorf("by hand: %s", r.Status)
			}
		})
	}
}

func TestAuditFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no space left on device")
	server := start(t, spar.Options{Dialect: "close-on-line"})
	q := minecanary.Question{Endpoint: endpoint(server.Addr()), Reply: true, Payload: true}
	p := newProber(t, hasty(), &trail{err: broken})
	if got := p.Probe(t.Context(), q.Endpoint, prober.ProbeOptions{}); got.Status != minecanary.Blocked || !strings.Contains(got.Reason, "audit") {
		t.Errorf("Probe = %s: %s; want blocked", got.Status, got.Reason)
	}
	if v, err := p.Verify(t.Context(), q); !errors.Is(err, broken) || v.Status != minecanary.Blocked {
		t.Errorf("Verify = %s, %v; want blocked, %v", v.Status, err, broken)
	}
	if n := server.Accepted(); n != 0 {
		t.Fatalf("%d connections were made", n)
	}
	cfg := hasty()
	cfg.Quiet = cfg.ConnectionTime // no second connection because the first one is late
	p = newProber(t, cfg, &trail{err: broken, failAt: 1})
	if _, err := p.Verify(t.Context(), q); !errors.Is(err, broken) {
		t.Errorf("Verify = %v, want %v", err, broken)
	}
	if n := server.Accepted(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestUnreachable: a refused connect proves nothing and is tried once.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ep := endpoint(netip.MustParseAddrPort(l.Addr().String()))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := newProber(t, hasty(), &trail{})
	v, err := p.Verify(t.Context(), minecanary.Question{Endpoint: ep, Reply: true, Payload: true})
	if err != nil || v.Status != minecanary.Inconclusive || v.Expires.Sub(v.At) != time.Hour || !strings.Contains(v.Reason, "refused") {
		t.Errorf("Verify = %s for %v, %v: %s; want inconclusive for 1 h", v.Status, v.Expires.Sub(v.At), err, v.Reason)
	}
	v, err = p.Verify(t.Context(), minecanary.Question{Endpoint: ep, Reply: true, Payload: true})
	if err != nil || v.Status != minecanary.Blocked || !strings.Contains(v.Reason, "back-off") {
		t.Errorf("Verify = %s, %v: %s; want blocked by the back-off", v.Status, err, v.Reason)
	}
}

// TestJSON pins the keys of `minecanary probe --json`.
func TestJSON(t *testing.T) {
	r := prober.Result{
		Endpoint: endpoint(netip.MustParseAddrPort("[::1]:3333")), Status: minecanary.Inconclusive, Reason: "no proof",
		Connections: 2, BytesRead: 3, Duration: 1500 * time.Millisecond,
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"endpoint":"[::1]:3333","verdict":"inconclusive","dialect":"","coin":"","tls":false,"evidence":[],"reason":"no proof","connections":2,"bytes_read":3,"duration_ms":1500}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

// TestConfig: what may not be configured is refused.
func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		change func(*prober.Config)
		ok     bool
	}{
		{"default", func(*prober.Config) {}, true},
		{"no timeout", func(c *prober.Config) { c.Timeout = 0 }, false},
		{"endpoint time", func(c *prober.Config) { c.EndpointTime = prober.MaxEndpointTime + 1 }, false},
		{"connection time", func(c *prober.Config) { c.ConnectionTime = prober.MaxConnectionTime + 1 }, false},
		{"connections", func(c *prober.Config) { c.ConnectionsPerHour = prober.MaxConnections + 1 }, false},
		{"no rate", func(c *prober.Config) { c.GlobalRate = 0 }, false},
		{"no rate of the catalogue", func(c *prober.Config) { c.CatalogueRate = 0 }, false},
		{"no burst of the catalogue", func(c *prober.Config) { c.CatalogueBurst = 0 }, false},
		{"no probes of a system", func(c *prober.Config) { c.ASPerHour = 0 }, false},
		{"back-off", func(c *prober.Config) { c.BackoffMax = time.Minute }, false},
		{"agent", func(c *prober.Config) { c.Agent = "a\nb" }, false},
		{"long agent", func(c *prober.Config) { c.Agent = strings.Repeat("a", 129) }, false},
		{"mapped network", func(c *prober.Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")} }, false},
		{"zero network", func(c *prober.Config) { c.Allow = []netip.Prefix{{}} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := prober.DefaultConfig()
			tt.change(&cfg)
			if _, err := prober.New(cfg, &trail{}, nil); (err == nil) != tt.ok {
				t.Errorf("New = %v, want ok %v", err, tt.ok)
			}
		})
	}
	if _, err := prober.New(prober.DefaultConfig(), nil, nil); err == nil {
		t.Error("New without audit trail = nil, want an error")
	}
}

// TestCancel: the end of the context ends a probe at once and is no inconclusive verdict to keep.
func TestCancel(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "silent"})
	p := newProber(t, loopback(), &trail{})
	ctx, cancel := contextWithTimeout(t, 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := p.Verify(ctx, minecanary.Question{Endpoint: endpoint(server.Addr()), Reply: true, Payload: true})
	if err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("Verify = %v after %v, want the context's error at once", err, time.Since(began))
	}
}

// TestAgent: a configured name is what the pool gets to see.
func TestAgent(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "stratum-v1"})
	cfg := hasty()
	cfg.Agent = "minecanary (abuse@example.org)"
	got := newProber(t, cfg, &trail{}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
	if !strings.Contains(transcripts(got), cfg.Agent) || strings.Contains(transcripts(got), "cpuminer") {
		t.Errorf("transcript without the agent:\n%s", transcripts(got))
	}
}

// TestNoSecondQuestion: a pool that gave its proof is not asked anything else.
func TestNoSecondQuestion(t *testing.T) {
	t.Parallel()
	for _, name := range []string{dialect.StratumV1, dialect.Zcash} {
		server := start(t, spar.Options{Dialect: name})
		got := newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
		if diff := cmp.Diff(map[string]int{"mining.subscribe": 1}, server.Methods()); diff != "" || got.Connections != 1 {
			t.Errorf("%s: %d connections (-want +got):\n%s", name, got.Connections, diff)
		}
	}
}
