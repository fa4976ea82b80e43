package spar_test

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary/prober/spar"
)

// dialLines connects to a pool.
func dialLines(t *testing.T, s *spar.Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// TestMining: what the pools whose methods begin with "mining." say to their miners, and to others.
func TestMining(t *testing.T) {
	const two = `{"id":1,"method":"mining.subscribe","params":["cpuminer/1.0.4","EthereumStratum/1.0.0"]}`
	const closed = "closed"
	tests := []struct {
		name, pool, say string
		want            []string // the beginnings of the lines that follow
	}{
		{"miner", "decred", two, []string{`{"id":1,"error":null,"result":[[["mining.set_difficulty","EthereumStratum/1.0.0"],["mining.notify","EthereumStratum/1.0.0"]],"`}},
		{"miner without a name", "decred", `{"id":1,"method":"mining.subscribe","params":["decred-gominer/2.1.0"]}`, []string{`{"id":1,"error":null,"result":[[["mining.set_difficulty","mn`}},
		{"stranger", "decred", `{"id":1,"method":"mining.subscribe","params":["a\"b/1"]}`, []string{`{"id":1,"error":[20,"Other/Unknown: connected miner with id a\"b/1 is unsupported",null]`}},
		{"foreign", "decred", `{"id":1,"method":"mining.configure","params":[]}`, []string{closed}},
		{"worker", "decred", `{"id":1,"method":"mining.authorize","params":["a","x"]}`, []string{`{"result":true`, `{"id":null,"method":"mining.set_difficulty"`, `{"id":null,"method":"mining.notify"`}},
		{"miner", "alephium", two, []string{`{"id":null,"method":"mining.set_difficulty","params":[1]}`, `{"id":1,"result":"result"}`, `{"id":null,"method":"mining.notify","params":[{"jobId":"1","fromGroup":0`}},
		{"miner", "kadena", two, []string{`{"id":1,"result":[null,"`, `{"id":null,"method":"mining.set_target"`, `{"id":null,"method":"mining.notify"`}},
		{"miner", "ergo", two, []string{`{"id":1,"result":[[["mining.set_difficulty","deadbeefcafebabe`, `{"id":null,"method":"mining.set_difficulty"`, `{"id":null,"method":"mining.notify"`}},
		{"miner", "sia", two, []string{`{"id":1,"result":[[["mining.set_difficulty","`, `{"id":null,"method":"mining.set_difficulty"`, `{"id":null,"method":"mining.notify"`}},
		{"miner", "kawpow", two, []string{`{"id":1,"result":[null,"`, `{"id":null,"method":"mining.set_target"`, `{"id":null,"method":"mining.notify"`}},
		{"miner", "ethereum-stratum", two, []string{`{"id":1,"result":[["mining.notify","`}},
		{"another version", "ethereum-stratum", `{"id":1,"method":"mining.subscribe","params":["a","EthereumStratum/2.0.0"]}`, []string{`{"id":1,"result":null,"error":"unsupported stratum version"}`, closed}},
		{"a number", "ethereum-stratum", `{"id":1,"method":"mining.subscribe","params":["a",1]}`, []string{closed}},
		{
			"miner", "ethereum-stratum-2", `{"id":1,"method":"mining.hello","params":{"agent":"a","host":"h","port":"d05","proto":"EthereumStratum/2.0.0"}}`,
			[]string{`{"id":1,"result":{"proto":"EthereumStratum/2.0.0","encoding":"plain",`},
		},
		{"without a greeting", "ethereum-stratum-2", two, []string{`{"id":1,"error":{"code":400`, closed}},
		{"miner", "kaspa", two, []string{`{"id":1,"result":[true,"EthereumStratum/1.0.0"],"error":null}`}},
		{
			"worker", "kaspa", `{"id":2,"method":"mining.authorize","params":["kaspa:` + strings.Repeat("q", 61) + `.rig","x"]}`,
			[]string{`{"id":2,"result":true`, `{"id":null,"jsonrpc":"2.0","method":"set_extranonce"`, `{"id":null,"method":"mining.set_difficulty"`, `{"id":null,"method":"mining.notify"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.pool+"/"+tt.name, func(t *testing.T) {
			s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: tt.pool})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			conn, lines := dialLines(t, s)
			if _, err := conn.Write([]byte(tt.say + "\n")); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				got, err := lines.ReadString('\n')
				if want == closed && err == nil || want != closed && (err != nil || !strings.HasPrefix(got, want)) {
					t.Fatalf("%q, %v; want the beginning %q", got, err, want)
				}
			}
		})
	}
}

// TestKaspaCrashes: a worker that is no address ends the bridge, and the bridge tells who it was.
func TestKaspaCrashes(t *testing.T) {
	s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: "kaspa"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, lines := dialLines(t, s)
	if _, err := conn.Write([]byte(`{"id":2,"method":"mining.authorize","params":["test.worker1","x"]}` + "\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := lines.ReadString('\n'); err == nil {
		t.Errorf("answered %q", got)
	}
	if n := s.Methods()["mining.authorize"]; n != 1 {
		t.Errorf("mining.authorize was seen %d times", n)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		again, err := net.DialTimeout("tcp", s.Addr().String(), time.Second)
		if err != nil {
			break
		}
		_ = again.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still listens")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
