package spar_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/minecanary/minecanary/prober/spar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStartRefuses(t *testing.T) {
	tests := []struct{ name, addr, dialect string }{
		{"any address", "0.0.0.0:0", "stratum-v1"},
		{"a public address", "192.0.2.1:3333", "stratum-v1"},
		{"a name", "localhost:3333", "stratum-v1"},
		{"an unknown dialect", "127.0.0.1:0", "gopher"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := spar.Start(t.Context(), spar.Options{Addr: tt.addr, Dialect: tt.dialect}); err == nil {
				s.Close()
				t.Error("Start = nil, want an error")
			}
		})
	}
}

// TestPools says to each pool what its miners say.
func TestPools(t *testing.T) {
	tests := []struct {
		dialect, say string
		want         []string // the beginnings of the lines that follow
	}{
		{
			"stratum-v1", `{"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.11.1"]}`,
			[]string{`{"result":[[["mining.notify","`, `{"params":[1000000]`, `{"params":["`},
		},
		{
			"zcash", `{"id": 1, "method": "mining.subscribe", "params": ["MagicBean/1.0.0", null, "127.0.0.1", 13370]}`,
			[]string{`{"id":1,"result":[null,"`, `{"id":null,"method":"mining.set_target"`, `{"id":null,"method":"mining.notify"`},
		},
		{
			"cryptonote", `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"x","pass":"x","agent":"XMRig/6.21.0"}}`,
			[]string{`{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"`},
		},
		{"ethproxy", `{"id":5,"jsonrpc":"2.0","method":"eth_getWork","params":[]}`, []string{`{"id":5,"jsonrpc":"2.0","result":["0x`}},
	}
	for _, tt := range tests {
		for _, mode := range []spar.TLS{spar.Plain, spar.Only, spar.Auto} {
			t.Run(tt.dialect, func(t *testing.T) {
				s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: tt.dialect, TLS: mode, Segments: 3})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				conn, err := net.DialTimeout("tcp", s.Addr().String(), 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				if mode != spar.Plain {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				if _, err := conn.Write([]byte(tt.say + "\n")); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewReader(conn)
				for _, want := range tt.want {
					got, err := lines.ReadString('\n')
					if err != nil || !strings.HasPrefix(got, want) {
						t.Fatalf("%q, %v; want the beginning %q", got, err, want)
					}
				}
			})
		}
	}
}

// TestEnd: the end of the context ends every connection.
func TestEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := spar.Start(ctx, spar.Options{Addr: "127.0.0.1:0", Dialect: "silent"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := net.DialTimeout("tcp", s.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("Read = %v, want the end of the connection", err)
	}
}
