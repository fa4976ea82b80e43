//go:build services

package prober_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	minecanary "github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/prober"
	"github.com/minecanary/minecanary/prober/dialect"
	"github.com/minecanary/minecanary/prober/spar"
)

// TestSRI lets the prober and the sparring pool talk with the crates of the Stratum V2 reference implementation.
func TestSRI(t *testing.T) {
	cargo := exec.CommandContext(t.Context(), "../test/cargo.sh")
	var problems bytes.Buffer
	cargo.Stderr = &problems
	began := time.Now()
	out, err := cargo.Output()
	if err != nil {
		t.Fatalf("test/cargo.sh: %v\n%s", err, problems.String())
	}
	t.Logf("built in %v", time.Since(began).Round(time.Millisecond))
	sri := strings.TrimSpace(string(out))

	t.Run("the vector", func(t *testing.T) {
		got, err := exec.CommandContext(t.Context(), sri, "vector").Output()
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("noise/testdata/sri.json")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("noise/testdata/sri.json is not what they make (-file +made):\n%s", diff)
		}
	})
	t.Run("our prober, their pool", func(t *testing.T) {
		addr, said := respond(t, sri, "0")
		got := newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(addr), prober.ProbeOptions{})
		if got.Status != minecanary.Confirmed || got.Dialect != dialect.StratumV2 || got.Coin != "bitcoin-family" {
			t.Fatalf("got %s %q %q: %s\n%s", got.Status, got.Dialect, got.Coin, got.Reason, transcripts(got))
		}
		t.Logf("%s", got.Reason)
		want := "SetupConnection(protocol: 0, min_version: 2, max_version: 2, flags: 0x00000000, endpoint_host: 127.0.0.1, "
		if line := said(t, "SetupConnection"); !strings.HasPrefix(line, want) || !strings.Contains(line, "vendor: cpuminer/1.0.4,") {
			t.Errorf("it understood %q, want %q…", line, want)
		}
		alone := prober.ProbeOptions{Dialects: []string{dialect.StratumV2}}
		got = newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(addr), alone)
		if got.Status != minecanary.Confirmed || got.Connections != 1 {
			t.Errorf("alone: %s after %d connections: %s\n%s", got.Status, got.Connections, got.Reason, transcripts(got))
		}
		t.Logf("alone in %v", got.Duration)
	})
	t.Run("our prober, their template provider", func(t *testing.T) {
		addr, _ := respond(t, sri, "2")
		got := newProber(t, loopback(), &trail{}).Probe(t.Context(), endpoint(addr), prober.ProbeOptions{})
		if got.Status != minecanary.Node || got.Dialect != dialect.StratumV2 {
			t.Errorf("got %s %q: %s\n%s", got.Status, got.Dialect, got.Reason, transcripts(got))
		}
	})
	key, err := spar.AuthorityKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, server, protocol, want string
	}{
		{"their miner, our pool", "stratum-v2", "0", "success 2 0"},
		{"their job declarator, our pool", "stratum-v2", "1", "error 0 unsupported-protocol"},
		{"their miner, our template provider", "template-provider", "0", "error 0 unsupported-protocol"},
		{"their pool, our template provider", "template-provider", "2", "success 2 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := start(t, spar.Options{Dialect: tt.server, Segments: 5})
			out, err := exec.CommandContext(t.Context(), sri, "initiate", server.Addr().String(), hex.EncodeToString(key[:]), tt.protocol).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("it says %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	t.Run("their miner, another authority", func(t *testing.T) {
		server := start(t, spar.Options{Dialect: "stratum-v2"})
		wrong := "989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f"
		out, err := exec.CommandContext(t.Context(), sri, "initiate", server.Addr().String(), wrong, "0").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "InvalidCertificate") {
			t.Errorf("it says %q, %v; want it to refuse the certificate", out, err)
		}
	})
}

// respond starts a server of theirs. said gives the next line of it that begins so.
func respond(t *testing.T, sri, protocol string) (addr netip.AddrPort, said func(t *testing.T, begin string) string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sri, "respond", protocol)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // that ends it
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("sri respond: %v", err)
		}
	})
	lines := bufio.NewScanner(stdout)
	said = func(t *testing.T, begin string) string {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), begin) {
				return lines.Text()
			}
		}
		t.Fatalf("it ended without a line %s…: %v", begin, lines.Err())
		return ""
	}
	where, _, _ := strings.Cut(said(t, "127."), " ")
	if addr, err = netip.ParseAddrPort(where); err != nil {
		t.Fatal(err)
	}
	return addr, said
}
