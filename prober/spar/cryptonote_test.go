package spar_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary/prober/spar"
)

// exchanges are what is said to a pool on a connection of its own, and what comes back.
type exchanges []struct {
	name, pool, say string
	// want has what each line has to contain; one that is empty means that the pool closes, "silent" that it says nothing.
	want []string
}

// silence is how long a pool has to say nothing to be called silent.
const silence = 150 * time.Millisecond

func (e exchanges) test(t *testing.T) {
	t.Helper()
	for _, tt := range e {
		t.Run(tt.pool+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := spar.Start(t.Context(), spar.Options{Addr: "127.0.0.1:0", Dialect: tt.pool, Segments: 3})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			conn, lines := dialLines(t, s)
			if _, err := io.WriteString(conn, tt.say); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if want == "silent" {
					if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
						t.Fatal(err)
					}
				}
				got, err := lines.ReadString('\n')
				switch {
				case want == "silent" && !errors.Is(err, os.ErrDeadlineExceeded):
					t.Fatalf("%q, %v; want silence", got, err)
				case want == "" && (got != "" || err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)):
					t.Fatalf("%q, %v; want the end", got, err)
				case want != "silent" && !strings.Contains(got, want):
					t.Fatalf("%q, %v; want %q in it", got, err, want)
				}
			}
		})
	}
}

// TestCryptoNotes: what was recorded of xmrig-proxy, and p2pool's source.
func TestCryptoNotes(t *testing.T) {
	t.Parallel()
	const login = `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"x","pass":"x"}}` + "\n"
	exchanges{
		{"login", "xmrig-proxy", login, []string{`"extensions":["algo","nicehash","connect","tls","keepalive"]`}},
		{"any login", "xmrig-proxy", `{"id":1,"method":"login","params":{}}` + "\n", []string{`"status":"OK"`}},
		{"keepalived", "xmrig-proxy", login + `{"id":2,"method":"keepalived","params":{}}` + "\n", []string{`"job"`, `"status":"KEEPALIVED"`}},
		{"a string for an id", "xmrig-proxy", `{"id":"1","method":"login","params":{}}` + "\n", []string{""}},
		{"no id", "xmrig-proxy", `{"method":"login","params":{}}` + "\n", []string{""}},
		{"another method", "xmrig-proxy", `{"id":1,"method":"mining.subscribe","params":[]}` + "\n", []string{""}},
		{"HTTP", "xmrig-proxy", "GET / HTTP/1.1\r\n\r\n", []string{""}},
		{"login", "p2pool", login, []string{`"extensions":["algo"],"status":"OK"}}`}},
		{"another method", "p2pool", `{"id":1,"method":"mining.subscribe","params":[]}` + "\n", []string{""}},
		{"a string for an id", "p2pool", `{"id":"1","method":"login","params":{}}` + "\n", []string{""}},
	}.test(t)
}
