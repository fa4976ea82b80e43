package prober_test

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/dialect"
	"github.com/minecanary/minecanary/prober/spar"
)

// TestMining: one mining.subscribe finds every dialect whose methods begin with "mining." but the one that wants a
// greeting first, tells the coin and the work, and nobody is authorized.
func TestMining(t *testing.T) {
	t.Parallel()
	const height = 900000
	tests := []struct {
		pool, dialect, coin string
		// job is what is told of the work; the hashes are new each time, only whether they are known is compared.
		job                    minecanary.Job
		previousHash, template bool
		alone                  bool // one connection is enough
	}{
		{"stratum-v1", dialect.StratumV1, "bitcoin-family", minecanary.Job{Height: height, Difficulty: 1e6, Tag: "ckpool /sparring pool/", Software: "ckpool"}, true, true, true},
		{"decred", dialect.StratumV1, "decred", minecanary.Job{Software: "dcrpool"}, false, false, true},
		{"alephium", dialect.Alephium, "alephium", minecanary.Job{Height: height, Difficulty: 1}, true, true, true},
		{"kadena", dialect.StratumV1, "kadena", minecanary.Job{Height: height, Difficulty: 0x1p256 / (0xffff * 0x1p200)}, true, true, true},
		{"ergo", dialect.StratumV1, "ergo", minecanary.Job{Height: height, Difficulty: 8, Software: "NOMP"}, false, true, true},
		{"sia", dialect.StratumV1, "siacoin", minecanary.Job{Difficulty: 0.999, Tag: `Pool name: "sparring pool"`}, true, true, true},
		{"kawpow", dialect.Kawpow, "ravencoin-family", minecanary.Job{Height: height, Difficulty: 0x1p256 / (0xffff * 0x1p208)}, false, true, true},
		{"zcash", dialect.Zcash, "zcash", minecanary.Job{Difficulty: 0x1p256 / (0x009fffec * 0x1p224)}, true, true, true},
		{"ethereum-stratum", dialect.EthereumStratum, "ethereum-family", minecanary.Job{}, false, false, true},
		{"ethereum-stratum-2", dialect.EthereumStratum2, "ethereum-family", minecanary.Job{Software: "Geth/v1.10.26"}, false, false, false},
		{"kaspa", dialect.Kaspa, "kaspa", minecanary.Job{}, false, false, true},
	}
	for _, tt := range tests {
		for _, mode := range []spar.TLS{spar.Plain, spar.Only} {
			name := tt.pool + "/plain"
			if mode == spar.Only {
				name = tt.pool + "/TLS"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				server := start(t, spar.Options{Dialect: tt.pool, TLS: mode, Segments: 3})
				got := newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{TLS: mode == spar.Only})
				if got.Status != minecanary.Confirmed || got.Dialect != tt.dialect || got.Coin != tt.coin {
					t.Fatalf("got %s %q %q, want confirmed %q %q: %s\n%s", got.Status, got.Dialect, got.Coin, tt.dialect, tt.coin, got.Reason, transcripts(got))
				}
				job := got.Job
				if (job.PreviousHash != "") != tt.previousHash || (job.Template != "") != tt.template {
					t.Errorf("previous hash %q, template %q", job.PreviousHash, job.Template)
				}
				job.PreviousHash, job.Template = "", ""
				if math.Abs(job.Difficulty-tt.job.Difficulty) < 1e-9*tt.job.Difficulty {
					job.Difficulty = tt.job.Difficulty
				}
				if diff := cmp.Diff(tt.job, job); diff != "" {
					t.Errorf("job (-want +got):\n%s", diff)
				}
				methods := server.Methods()
				for method := range methods {
					if strings.Contains(method, "authorize") || strings.Contains(method, "mining.submit") {
						t.Errorf("%s was said", method)
					}
				}
				if tt.alone {
					questions := 1
					if tt.dialect == dialect.Kaspa {
						questions = 2 // its first answer may be our own version come back
					}
					if diff := cmp.Diff(map[string]int{"mining.subscribe": questions}, methods); diff != "" || got.Connections != questions {
						t.Errorf("%d connections (-want +got):\n%s", got.Connections, diff)
					}
				}
			})
		}
	}
}

// TestAgentRefused: a pool that refuses the configured agent is asked again with the native one.
func TestAgentRefused(t *testing.T) {
	t.Parallel()
	server := start(t, spar.Options{Dialect: "decred"})
	cfg := loopback()
	cfg.Agent = "minecanary (abuse@example.org)"
	got := newProber(t, cfg, &trail{}).Probe(t.Context(), endpoint(server.Addr()), prober.ProbeOptions{})
	if got.Status != minecanary.Confirmed || got.Coin != "decred" || got.Connections != 2 {
		t.Fatalf("got %s %q after %d connections, want confirmed decred after 2: %s\n%s", got.Status, got.Coin, got.Connections, got.Reason, transcripts(got))
	}
	if said := transcripts(got); !strings.Contains(said, cfg.Agent) || !strings.Contains(said, "cpuminer/1.0.4") || !strings.Contains(said, "is unsupported") {
		t.Errorf("transcript:\n%s", said)
	}
}

// TestBothOnOnePort: a pool that answers HTTP, too, is found in lines although it was asked over HTTP first.
func TestBothOnOnePort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // nothing is left to be written
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer := "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
				line, _ := bufio.NewReader(conn).ReadString('\n') // one that is not whole is no question
				if strings.HasPrefix(line, "{") {
					answer = `{"id":1,"result":[[["mining.notify","ae"]],"4ef7006b",8],"error":null}` + "\n"
				}
				_, _ = io.WriteString(conn, answer) // the prober may have closed
			}()
		}
	}()
	addr, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	got := newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(addr), prober.ProbeOptions{First: dialect.GetBlockTemplate})
	if got.Status != minecanary.Confirmed || got.Dialect != dialect.StratumV1 {
		t.Errorf("got %s %q, want confirmed: %s\n%s", got.Status, got.Dialect, got.Reason, transcripts(got))
	}
}
