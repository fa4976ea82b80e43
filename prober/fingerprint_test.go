package prober_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/jarm"
	"github.com/minecanary/minecanary/prober/spar"
)

// fingerprinting is loopback with the fingerprint.
func fingerprinting() prober.Config {
	cfg := loopback()
	cfg.JARM = true
	return cfg
}

// direct takes the fingerprint without the prober.
func direct(t *testing.T, server netip.AddrPort) string {
	t.Helper()
	var answers [jarm.Hellos]jarm.Answer
	for i, hello := range jarm.Hello(server.Addr().String()) {
		conn, err := net.Dial("tcp", server.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(hello); err != nil {
			t.Fatal(err)
		}
		if answers[i], err = jarm.Read(conn); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return jarm.Hash(answers)
}

// TestJARM: who is confirmed over TLS is fingerprinted if that is wanted, within the endpoint's budget, and nobody else.
func TestJARM(t *testing.T) {
	t.Parallel()
	const noRoom = "no JARM: the endpoint's budget ("
	tests := []struct {
		name    string
		off     bool
		perHour int
		server  spar.Options
		opts    prober.ProbeOptions
		status  minecanary.VerdictStatus
		line    string // its beginning
		made    int
	}{
		{"pool", false, 12, spar.Options{Dialect: "stratum-v1", TLS: spar.Only}, prober.ProbeOptions{TLS: true}, minecanary.Confirmed, "JARM ", 11},
		{"pool, IPv6", false, 12, spar.Options{Addr: "[::1]:0", Dialect: "stratum-v1", TLS: spar.Only}, prober.ProbeOptions{TLS: true}, minecanary.Confirmed, "JARM ", 11},
		{"pool, TLS found out", false, 12, spar.Options{Dialect: "stratum-v1", TLS: spar.Only}, prober.ProbeOptions{}, minecanary.Confirmed, "JARM ", 12},
		{"node", false, 12, spar.Options{Dialect: "getblocktemplate", TLS: spar.Only}, prober.ProbeOptions{TLS: true, Dialects: []string{"getblocktemplate"}}, minecanary.Node, "JARM ", 11},
		{"just room", false, 11, spar.Options{Dialect: "stratum-v1", TLS: spar.Only}, prober.ProbeOptions{TLS: true}, minecanary.Confirmed, "JARM ", 11},
		{"no room", false, 10, spar.Options{Dialect: "stratum-v1", TLS: spar.Only}, prober.ProbeOptions{TLS: true}, minecanary.Confirmed, noRoom, 1},
		{"never room", false, 9, spar.Options{Dialect: "stratum-v1", TLS: spar.Only}, prober.ProbeOptions{TLS: true}, minecanary.Confirmed, noRoom, 1},
		{"not wanted", true, 12, spar.Options{Dialect: "stratum-v1", TLS: spar.Only}, prober.ProbeOptions{TLS: true}, minecanary.Confirmed, "", 1},
		{"plain", false, 12, spar.Options{Dialect: "stratum-v1"}, prober.ProbeOptions{}, minecanary.Confirmed, "", 1},
		{"no pool", false, 12, spar.Options{Dialect: "http", TLS: spar.Only}, prober.ProbeOptions{TLS: true, Dialects: []string{"stratum-v1"}}, "", "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := start(t, tt.server)
			cfg := fingerprinting()
			cfg.JARM, cfg.ConnectionsPerHour = !tt.off, tt.perHour
			log := &trail{}
			p := newProber(t, cfg, log)
			got := p.Probe(t.Context(), endpoint(server.Addr()), tt.opts)
			if tt.status != "" && got.Status != tt.status || tt.status == "" && (got.Status == minecanary.Confirmed || got.Status == minecanary.Node) {
				t.Fatalf("got %s, want %s: %s\n%s", got.Status, tt.status, got.Reason, transcripts(got))
			}
			checkBounds(t, server, got, log)
			if !strings.HasPrefix(got.JARM, tt.line) || (got.JARM == "") != (tt.line == "") || got.Connections != tt.made {
				t.Errorf("%q in %d connections, want %q in %d", got.JARM, got.Connections, tt.line, tt.made)
			}
			if strings.Contains(evidence(got), "JARM") != (tt.line != "") || !strings.Contains(evidence(got), got.JARM) {
				t.Errorf("evidence %s", evidence(got))
			}
			for _, talk := range got.Talks {
				if !p.Made(talk.Local, server.Addr()) {
					t.Errorf("%v is not known as ours", talk.Local)
				}
			}
			if tt.line != "JARM " {
				return
			}
			if want := "JARM " + direct(t, server.Addr()); got.JARM != want {
				t.Errorf("%s, want %s", got.JARM, want)
			}
			began := 0
			for _, rec := range log.all() {
				if rec.Dialect == "jarm" && rec.TLS && rec.Verdict == string(minecanary.Inconclusive) {
					began++
				}
			}
			if began != jarm.Hellos {
				t.Errorf("%d connections of the fingerprint in the audit trail: %+v", began, log.all())
			}
			// Within the hour there is no room for another.
			if again := p.Probe(t.Context(), endpoint(server.Addr()), tt.opts); strings.HasPrefix(again.JARM, "JARM ") || server.Accepted() > tt.perHour+jarm.Hellos {
				t.Errorf("again: %q", again.JARM)
			}
		})
	}
}

// TestJARMName: the hellos bear the server's name, or the address as the reference does it.
func TestJARMName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "pool.example.org"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
			var mu sync.Mutex
			var names []string
			front := between(t, server.Addr(), func(conn net.Conn, _ int) bool {
				hello := make([]byte, 2048)
				n, err := conn.Read(hello)
				if err != nil {
					return true
				}
				_ = tls.Server(&replayed{Conn: conn, first: hello[:n]}, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
					mu.Lock()
					defer mu.Unlock()
					names = append(names, info.ServerName)
					return nil, errors.New("no more")
				}}).Handshake()
				return true
			})
			newProber(t, fingerprinting(), &trail{}).Probe(t.Context(), endpoint(front), prober.ProbeOptions{TLS: true, Name: name})
			want := slices.Repeat([]string{name}, jarm.Hellos)
			if name == "" {
				want = slices.Repeat([]string{"127.0.0.1"}, jarm.Hellos)
			}
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(want, names); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// replayed gives the first bytes once more.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(b, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}

// between listens before a server and hands the first connection on to it. Of each later one, counted from 1, then
// decides: it handles the connection and returns true, or has it handed on, too.
func between(t *testing.T, server netip.AddrPort, then func(conn net.Conn, n int) bool) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				defer stop()
				defer func() { _ = conn.Close() }()
				if n > 0 && then(conn, n) {
					return
				}
				behind, err := net.Dial("tcp", server.String())
				if err != nil {
					return
				}
				wg.Go(func() {
					_, _ = io.Copy(conn, behind)
					_ = conn.Close()
				})
				_, _ = io.Copy(behind, conn)
				_ = behind.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		cancel()
		wg.Wait()
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}

// TestHostileJARM: whatever a proven pool does to the hellos, it stays confirmed, and all bounds hold.
func TestHostileJARM(t *testing.T) {
	t.Parallel()
	// begun is a ServerHello that promises as much as is read at most.
	begun := []byte{22, 3, 3, 0x40, 0, 2, 0, 5, 0xc3, 3, 3}
	send := func(b ...byte) func(net.Conn, int) bool {
		return func(conn net.Conn, _ int) bool {
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write(b)
			return true
		}
	}
	tests := []struct {
		name string
		then func(conn net.Conn, n int) bool
		want string
		made int
	}{
		{"stall", func(conn net.Conn, _ int) bool {
			_, _ = io.Copy(io.Discard, conn)
			return true
		}, "no JARM: hello 1 of 10: silent", 2},
		{"drip", func(conn net.Conn, _ int) bool {
			for _, b := range slices.Concat(begun, make([]byte, 1000)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			return true
		}, "no JARM: hello 1 of 10: silent", 2},
		{"flood", func(conn net.Conn, _ int) bool {
			for _, err := conn.Write(begun); err == nil; _, err = conn.Write(bytes.Repeat([]byte{0xff}, 64<<10)) {
			}
			return true
		}, "no JARM: none of 10 hellos drew a ServerHello", 11},
		{"stall at the seventh", func(conn net.Conn, n int) bool {
			if n == 7 {
				_, _ = io.Copy(io.Discard, conn)
			}
			return n == 7
		}, "no JARM: hello 7 of 10: silent", 8},
		{"close at once", func(net.Conn, int) bool { return true }, "no JARM: none of 10 hellos drew a ServerHello", 11},
		{"reset", func(conn net.Conn, _ int) bool {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).SetLinger(0)
			return true
		}, "no JARM: none of 10 hellos drew a ServerHello", 11},
		{"alert", send(21, 3, 3, 0, 2, 2, 40), "no JARM: none of 10 hellos drew a ServerHello", 11},
		{"text", send([]byte("\x1b[31mJARM\n")...), "no JARM: none of 10 hellos drew a ServerHello", 11},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
			log := &trail{}
			got := newProber(t, fingerprinting(), log).Probe(t.Context(), endpoint(between(t, server.Addr(), tt.then)), prober.ProbeOptions{TLS: true})
			if got.Status != minecanary.Confirmed || got.Dialect != "stratum-v1" || got.JARM != tt.want || got.Connections != tt.made {
				t.Errorf("got %s %s, %q in %d connections; want it confirmed, %q in %d\n%s", got.Status, got.Dialect, got.JARM, got.Connections, tt.want, tt.made, transcripts(got))
			}
			for _, talk := range got.Talks[min(1, len(got.Talks)):] {
				if talk.BytesRead > jarm.MaxAnswer || talk.BytesSent > 700 || talk.Duration > prober.JARMTime+time.Second {
					t.Errorf("out of bounds: %+v", talk)
				}
			}
			if records := log.all(); len(records) != 1+got.Connections {
				t.Errorf("%d audit records for %d connections", len(records), got.Connections)
			}
		})
	}
}

// TestJARMEnds: the time of the endpoint, the guard and the audit trail hold in the middle of a fingerprint.
func TestJARMEnds(t *testing.T) {
	t.Parallel()
	slow := func(net.Conn, int) bool {
		time.Sleep(700 * time.Millisecond)
		return false
	}
	t.Run("time", func(t *testing.T) {
		t.Parallel()
		server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
		cfg := fingerprinting()
		cfg.EndpointTime = 4500 * time.Millisecond // the proof takes up to Settle
		got := newProber(t, cfg, &trail{}).Probe(t.Context(), endpoint(between(t, server.Addr(), slow)), prober.ProbeOptions{TLS: true})
		if got.Status != minecanary.Confirmed || !strings.HasSuffix(got.JARM, ": cut-off") || got.Duration > cfg.EndpointTime+time.Second {
			t.Errorf("got %s in %v: %q", got.Status, got.Duration, got.JARM)
		}
	})
	t.Run("guard", func(t *testing.T) {
		t.Parallel()
		server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
		cfg := fingerprinting()
		var held atomic.Bool
		cfg.Refuse = func(minecanary.Endpoint) string {
			if held.Load() {
				return "on hold"
			}
			return ""
		}
		front := between(t, server.Addr(), func(_ net.Conn, n int) bool {
			held.Store(n == 3)
			return false
		})
		got := newProber(t, cfg, &trail{}).Probe(t.Context(), endpoint(front), prober.ProbeOptions{TLS: true})
		if got.Status != minecanary.Confirmed || got.JARM != "no JARM: hello 4 of 10: guarded" {
			t.Errorf("got %s: %q", got.Status, got.JARM)
		}
	})
	t.Run("audit", func(t *testing.T) {
		t.Parallel()
		server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
		got := newProber(t, fingerprinting(), &trail{err: errors.New("disk full"), failAt: 4}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{TLS: true})
		if got.Status != minecanary.Blocked || !strings.Contains(got.Reason, "disk full") || got.Connections != 4 {
			t.Errorf("got %s in %d connections: %s", got.Status, got.Connections, got.Reason)
		}
	})
	t.Run("purse", func(t *testing.T) {
		t.Parallel()
		server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
		for _, tt := range []struct {
			begins, connects int64
			want             string
			made             int
		}{
			{1, 100, "no JARM: the budgets cannot be reached (gone); try again at ", 1},
			{2, 4, "no JARM: before hello 4 of 10: the budgets cannot be reached (gone); try again at ", 4},
		} {
			cfg := fingerprinting()
			purse := &failing{}
			purse.begins.Store(tt.begins)
			purse.connects.Store(tt.connects)
			cfg.Purse = purse
			got := newProber(t, cfg, &trail{}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{TLS: true})
			if got.Status != minecanary.Confirmed || !strings.HasPrefix(got.JARM, tt.want) || got.Connections != tt.made {
				t.Errorf("got %s in %d connections: %q, want %q in %d", got.Status, got.Connections, got.JARM, tt.want, tt.made)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		server := start(t, spar.Options{Dialect: "stratum-v1", TLS: spar.Only})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		front := between(t, server.Addr(), func(conn net.Conn, n int) bool {
			if n == 2 {
				cancel()
				_, _ = io.Copy(io.Discard, conn)
			}
			return n == 2
		})
		got := newProber(t, fingerprinting(), &trail{}).Probe(ctx, endpoint(front), prober.ProbeOptions{TLS: true})
		if got.Status != minecanary.Confirmed || got.JARM != "no JARM: hello 2 of 10: cut-off" || got.Connections != 3 {
			t.Errorf("got %s in %d connections: %q", got.Status, got.Connections, got.JARM)
		}
	})
}

// failing is a purse that answers so many times and then fails.
type failing struct{ begins, connects atomic.Int64 }

func (f *failing) Begin(context.Context, minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	if f.begins.Add(-1) < 0 {
		return minecanary.ProbeGrant{}, errors.New("gone")
	}
	return minecanary.ProbeGrant{}, nil
}

func (f *failing) Connect(context.Context, minecanary.ProbeCost) (minecanary.ProbeGrant, error) {
	if f.connects.Add(-1) < 0 {
		return minecanary.ProbeGrant{}, errors.New("gone")
	}
	return minecanary.ProbeGrant{}, nil
}

func (f *failing) End(context.Context, minecanary.ProbeCost, bool) (time.Duration, error) {
	return 0, nil
}
